/* What a clone of a template must renew: the random pool, the clock, the machine's identity. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#include "cmd/agent/agent.h"
#include "sys/fd.h"

enum { SEED_MAX = 512 };

static int reseed(const struct pb_bytes *seed, struct err *e)
{
	_Alignas(struct rand_pool_info) char b[sizeof(struct rand_pool_info) + SEED_MAX] = "";
	struct rand_pool_info *i = (void *)b;
	if (!seed->n || seed->n > SEED_MAX)
		return err_set(e, EINVAL, "wake: a seed of %zu bytes; 1 to %d are allowed", seed->n, SEED_MAX);
	_cleanup_close_ int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open /dev/urandom");
	i->entropy_count = (int)(seed->n * 8);
	i->buf_size = (int)seed->n;
	memcpy(b + sizeof *i, seed->p, seed->n);
	/* RNDADDENTROPY mixes and credits, RNDRESEEDCRNG (4.14) makes the generator take it at once: random(4). */
	if (ioctl(fd, RNDADDENTROPY, i) < 0 || (ioctl(fd, RNDRESEEDCRNG) < 0 && errno != EINVAL))
		return err_sys(e, errno, "reseed the random pool");
	explicit_bzero(b, sizeof b);
	return 0;
}

int agent_wake(const struct agent_wake *w, struct err *e)
{
	struct timespec ts = { (time_t)(w->realtime_ns / 1000000000), (long)(w->realtime_ns % 1000000000) };
	int r = reseed(&w->seed, e);
	if (r < 0)
		return r;
	if (w->realtime_ns && clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_sys(e, errno, "set the clock");
	if (w->machine_id) {
		char line[64];
		int n = snprintf(line, sizeof line, "%s\n", w->machine_id);
		if (n < 0 || (size_t)n >= sizeof line)
			return err_set(e, EINVAL, "wake: machine id too long");
		_cleanup_close_ int etc = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = etc < 0 ? -errno : file_replace_at(etc, "machine-id", line, (size_t)n, 0444, false);
		if (r < 0)
			return err_sys(e, r, "write /etc/machine-id");
	}
	if (w->hostname && sethostname(w->hostname, strlen(w->hostname)) < 0)
		return err_sys(e, errno, "set the hostname");
	return 0;
}

int agent_hello(struct arena *a, struct agent_hello *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct utsname u;
	struct sysinfo si;
	if (uname(&u) < 0 || sysinfo(&si) < 0)
		return err_sys(e, errno, "hello");
	int r = file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b, 64);
	if (r < 0)
		return err_sys(e, r, "read boot_id");
	*ret = (struct agent_hello){ AGENT_VERSION, arena_strdup(a, u.release), arena_strndup(a, b.s, strcspn(b.s, "\n")), si.totalram * (uint64_t)si.mem_unit,
		(uint64_t)get_nprocs() };
	return ret->release && ret->boot_id ? 0 : err_set(e, ENOMEM, "hello");
}

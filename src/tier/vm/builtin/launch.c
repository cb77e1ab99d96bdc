/* Every file is opened here and inherited: the monitor opens nothing but /dev/kvm, and its jail is empty. */
#include "tier/vm/builtin/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/arena.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/vm/agent/proto.h"
#include "tier/vm/builtin/config.h"
#include "tier/vm/jail.h"

/* Where the child finds them. Sockets come first. */
enum { FD_CTL = 3, FD_FUSE, FD_CONSOLE, FD_CONTROL, FD_SOCKETS_END, FD_KERNEL = FD_SOCKETS_END, FD_INITRD, FD_DISK, FD_MEMORY, FD_STATE, FD_TAP, FD_END = FD_TAP + CONFIG_TAPS_MAX };
enum { WORDS_MAX = 40 };
#define EMPTY_DISK (1ull << 40) /* a template's disk: as large as any, so that a clone's guest need not look again when the real one is there */

char *builtin_program(const struct assets *a)
{
	static const char *const at[] = { "", "/../../.." };
	const char *slash = strrchr(a->agent, '/');
	char *found = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(at) && !found; i++) {
		char p[PATH_MAX + 64];
		snprintf(p, sizeof p, "%.*s%s/tierce-vmm", (int)(slash - a->agent), a->agent, at[i]);
		found = realpath(p, NULL);
	}
	return found;
}

bool builtin_net(void)
{
	return access("/dev/net/tun", R_OK | W_OK) == 0;
}

void builtin_kernel_args(const struct machine_config *c, struct strbuf *out)
{
	/* There is no PCI, no timer but KVM's clock and the local APIC's, whose rate KVM tells. */
	strbuf_puts(out, "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests lsm=landlock audit=0 pci=off no_timer_check tsc=reliable");
	if (c->kernel_args)
		strbuf_printf(out, " %s", c->kernel_args);
}

/* ---- words ---- */

struct words { struct arena *a; char *v[WORDS_MAX + 1]; size_t n; bool failed; };

static void PRINTF(2, 3) word(struct words *w, const char *fmt, ...)
{
	char b[4096];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(b, sizeof b, fmt, ap);
	va_end(ap);
	char *s = n < 0 || (size_t)n >= sizeof b || w->n == WORDS_MAX ? NULL : arena_strdup(w->a, b);
	if (!s)
		w->failed = true;
	else
		w->v[w->n++] = s;
}

static void write_words(struct words *w, const struct machine_config *c, const char *program, bool clone)
{
	_cleanup_strbuf_ struct strbuf args = STRBUF_INIT;
	word(w, "%s", program);
	word(w, "--memory=%llu", (unsigned long long)(c->memory >> 20));
	word(w, "--cpus=%u", c->cpus);
	word(w, "--console=%d", FD_CONSOLE);
	word(w, "--control=%d", FD_CONTROL);
	word(w, "--port=" AGENT_PORT ":%d", FD_CTL);
	word(w, "--fs=" AGENT_FS_TAG ":%d", FD_FUSE);
	word(w, "--disk=%d", FD_DISK);
	word(w, "--balloon");
	if (builtin_net()) {
		word(w, "--tap=%d", FD_TAP);
		if (c->mac)
			word(w, "--mac=%s", c->mac);
	}
	for (size_t i = 0; i < c->n_more_taps; i++) {
		word(w, "--tap=%d", FD_TAP + 1 + (int)i);
		word(w, "--mac=%s", c->more_macs[i]);
	}
	if (clone) {
		word(w, "--memory-file=%d", FD_MEMORY);
		word(w, "--state=%d", FD_STATE);
	} else {
		word(w, "--kernel=%d", FD_KERNEL);
		word(w, "--initrd=%d", FD_INITRD);
		builtin_kernel_args(c, &args);
		word(w, "--cmdline=%s", strbuf_str(&args));
	}
	if (c->confine)
		word(w, "--uid=%u", c->uid);
	w->failed |= args.failed;
}

/* ---- the child ---- */

/* Without a network the interface leads into a namespace that nobody else is in. */
static int lonely_tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0)
		close(TAKE_FD(fd));
	return fd;
}

static NORETURN void child(const struct machine_config *c, char **argv, const int fds[FD_END], pid_t parent)
{
	sigset_t none;
	int high[FD_END], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = FD_CTL; i < FD_END; i++) {
		int fd = i == FD_TAP && fds[i] < 0 && builtin_net() ? lonely_tap() : fds[i];
		high[i] = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, FD_END + 1) : -EBADF;
	}
	dup2(null, 0);
	dup2(null, 1);
	dup2(high[FD_CONSOLE], 2);
	for (int i = FD_CTL; i < FD_END; i++)
		if (high[i] >= 0)
			dup2(high[i], i);
		else
			close(i);
	cloexec_from(FD_END);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!c->confine && getppid() != parent)
		_exit(125);
	execve(argv[0], argv, (char *[]){ NULL });
	dprintf(2, "exec %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* ---- the parent ---- */

static int open_disk(const struct machine_config *c, struct err *e)
{
	if (c->root_image) {
		int fd = open(c->root_image, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? err_sys(e, errno, "%s", c->root_image) : fd;
	}
	int fd = memfd_create("disk", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)EMPTY_DISK) < 0) {
		int r = err_sys(e, errno, "empty disk");
		if (fd >= 0)
			close(fd);
		return r;
	}
	return fd;
}

static int open_kernel(const struct machine_config *c, int fds[FD_END], struct err *e)
{
	fds[FD_KERNEL] = open(c->assets->vmlinux, O_RDONLY | O_CLOEXEC);
	if (fds[FD_KERNEL] < 0)
		return err_sys(e, errno, "%s", c->assets->vmlinux);
	fds[FD_INITRD] = open(c->assets->initramfs, O_RDONLY | O_CLOEXEC);
	return fds[FD_INITRD] < 0 ? err_sys(e, errno, "%s", c->assets->initramfs) : 0;
}

struct ends { int mine[FD_SOCKETS_END], theirs[FD_END]; };

static void ends_clear(struct ends *x)
{
	for (int i = FD_CTL; i < FD_SOCKETS_END; i++)
		cleanup_close(&x->mine[i]);
	for (int i = FD_CTL; i < FD_END; i++)
		if (i < FD_TAP && i != FD_MEMORY && i != FD_STATE) /* those are the caller's */
			cleanup_close(&x->theirs[i]);
}

static int open_ends(struct ends *x, struct err *e)
{
	for (int i = FD_CTL; i < FD_SOCKETS_END; i++) {
		int v[2], type = i == FD_CONTROL ? SOCK_SEQPACKET : SOCK_STREAM | SOCK_NONBLOCK;
		if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, v) < 0)
			return err_sys(e, errno, "socketpair");
		x->mine[i] = v[0];
		x->theirs[i] = v[1];
	}
	return 0;
}

int builtin_launch(const struct machine_config *c, int memory, int state, struct machine *ret, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_free_ char *program = builtin_program(c->assets);
	CLEANUP(ends_clear) struct ends x;
	struct words w = { .a = &a };
	for (int i = 0; i < FD_END; i++)
		x.theirs[i] = -EBADF;
	for (int i = 0; i < FD_SOCKETS_END; i++)
		x.mine[i] = -EBADF;
	if (c->n_more_taps >= CONFIG_TAPS_MAX)
		return err_set(e, E2BIG, "more than %d interfaces", CONFIG_TAPS_MAX);
	if (!program)
		return err_set(e, ENOENT, "tierce-vmm is not beside tierce-agent");
	write_words(&w, c, program, state >= 0);
	if (w.failed)
		return err_set(e, ENOMEM, "tierce-vmm's command line");
	int r = open_ends(&x, e);
	if (r >= 0 && state < 0)
		r = open_kernel(c, x.theirs, e);
	if (r >= 0)
		r = x.theirs[FD_DISK] = open_disk(c, e);
	if (r < 0)
		return r;
	x.theirs[FD_TAP] = c->tap_fd;
	for (size_t i = 0; i < c->n_more_taps; i++)
		x.theirs[FD_TAP + 1 + i] = c->more_taps[i];
	x.theirs[FD_MEMORY] = memory;
	x.theirs[FD_STATE] = state;
	int pidfd = -EBADF;
	struct clone_args ca = { .flags = CLONE_PIDFD | (c->confine ? JAIL_CLONE_FLAGS : 0), .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	pid_t parent = getpid(), pid = sys_clone3(&ca);
	if (pid == 0)
		child(c, w.v, x.theirs, parent);
	if (pid < 0)
		return err_sys(e, errno, "fork");
	*ret = (struct machine){ pid, pidfd, TAKE_FD(x.mine[FD_CTL]), TAKE_FD(x.mine[FD_FUSE]), TAKE_FD(x.mine[FD_CONSOLE]), TAKE_FD(x.mine[FD_CONTROL]), false };
	return 0;
}

void builtin_stop(struct machine *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	int *fds[] = { &m->pidfd, &m->ctl_fd, &m->fuse_fd, &m->console_fd, &m->qmp_fd };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	*m = (struct machine)MACHINE_INIT;
}

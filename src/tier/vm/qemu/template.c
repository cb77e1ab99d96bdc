/* Templates of QEMU machines. */
#include "tier/vm/qemu/template.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/arena.h"
#include "base/str.h"
#include "sys/fd.h"
#include "tier/vm/agent/chan.h"
#include "tier/vm/call.h"
#include "tier/vm/qemu/launch.h"
#include "tier/vm/qemu/qmp.h"

enum { LAYOUT = 3 /* raise when the machine's devices change */, BOOT_MS = 180000, QMP_MS = 30000, LOAD_MS = 20000 };

int template_path(const struct machine_config *c, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf boot = STRBUF_INIT;
	const char *program = qemu_program();
	struct stat st;
	struct key k;
	char text[KEY_TEXT];
	if (!program || stat(program, &st) < 0)
		return err_set(e, ENOENT, "qemu is not installed");
	int r = file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot, 64);
	if (r < 0)
		return err_sys(e, r, "read boot_id");
	key_init(&k);
	key_add_u64(&k, LAYOUT);
	key_add_str(&k, c->assets->key);
	key_add_str(&k, program);
	key_add_u64(&k, (uint64_t)st.st_size);
	key_add_u64(&k, (uint64_t)st.st_mtim.tv_sec);
	key_add_str(&k, c->machine);
	_cleanup_strbuf_ struct strbuf args = STRBUF_INIT;
	qemu_kernel_args(c, &args);
	key_add_str(&k, strbuf_str(&args));
	key_add_u64(&k, c->memory);
	key_add_u64(&k, c->cpus);
	key_add_u64(&k, c->kvm);
	key_add_str(&k, strbuf_str(&boot));
	key_text(&k, text);
	return asprintf(ret, "%s/template-%s", c->cache, text) < 0 ? err_set(e, ENOMEM, "template") : 0;
}

/* ---- removal -------------------------------------------------------------------------------------------------------- */

static void remove_dir(const char *dir)
{
	static const char *const names[] = { "mem", "state" };
	_cleanup_free_ char *gone = NULL;
	/* Renamed first: nobody may find half of a template. */
	if (asprintf(&gone, "%s.gone-%d", dir, (int)getpid()) < 0 || rename(dir, gone) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *p = NULL;
		if (asprintf(&p, "%s/%s", gone, names[i]) >= 0)
			unlink(p);
	}
	rmdir(gone);
}

void template_remove(const struct machine_config *c)
{
	_cleanup_free_ char *dir = NULL;
	if (template_path(c, &dir, NULL) >= 0)
		remove_dir(dir);
}

/* Keep the most recently used, and sweep what crashed builders left. The caller holds the build lock. */
static void bound(const char *cache, const char *keep)
{
	_cleanup_free_ char *pattern = NULL;
	glob_t g;
	if (asprintf(&pattern, "%s/template-*", cache) < 0 || glob(pattern, GLOB_ONLYDIR, NULL, &g) != 0)
		return;
	size_t left = 0;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		if (strchr(strrchr(g.gl_pathv[i], '/'), '.'))
			remove_dir(g.gl_pathv[i]);
		else
			left++;
	}
	for (; left > TEMPLATES_KEEP; left--) {
		const char *oldest = NULL;
		time_t when = 0;
		struct stat st;
		for (size_t i = 0; i < g.gl_pathc; i++)
			if (strcmp(g.gl_pathv[i], keep) != 0 && stat(g.gl_pathv[i], &st) == 0 && (!oldest || st.st_mtim.tv_sec < when)) {
				oldest = g.gl_pathv[i];
				when = st.st_mtim.tv_sec;
			}
		if (!oldest)
			break;
		remove_dir(oldest);
	}
	globfree(&g);
}

/* ---- QMP pieces ------------------------------------------------------------------------------------------------------- */

/* Hand a descriptor to QEMU under a name. */
static int give_fd(struct qmp *q, struct arena *a, const char *name, int fd, struct err *e)
{
	_cleanup_strbuf_ struct strbuf args = STRBUF_INIT;
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } cm;
	char byte = ' '; /* JSON lets whitespace stand before the command that follows; the descriptor waits for "getfd" */
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof cm };
	memset(&cm, 0, sizeof cm);
	cm.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&cm.h), &fd, sizeof fd);
	if (sendmsg(q->fd, &mh, MSG_NOSIGNAL) != 1)
		return err_sys(e, errno, "qemu: send a descriptor");
	strbuf_printf(&args, "{\"fdname\":\"%s\"}", name);
	return qmp_call(q, a, "getfd", strbuf_str(&args), QMP_MS, NULL, e);
}

static int ignore_shared(struct qmp *q, struct arena *a, struct err *e)
{
	return qmp_call(q, a, "migrate-set-capabilities", "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true}]}", QMP_MS, NULL, e);
}

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Ask until `command`'s status is the wanted one. */
static int until_status(struct qmp *q, struct arena *a, const char *command, const char *wanted, int timeout_ms, struct err *e)
{
	int64_t until = now_ms() + timeout_ms;
	for (;;) {
		struct json *v;
		int r = qmp_call(q, a, command, NULL, QMP_MS, &v, e);
		if (r < 0)
			return r;
		const char *s = json_str(v, "status", "");
		if (streq(s, wanted))
			return 0;
		if (streq(s, "failed") || now_ms() > until)
			return err_set(e, EIO, "qemu: %s says \"%s\": %s", command, s, json_str(v, "error-desc", ""));
		nanosleep(&(struct timespec){ 0, 500000 }, NULL);
	}
}

/* ---- build ------------------------------------------------------------------------------------------------------------ */

static int save(struct machine *m, const char *state, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_qmp_ struct qmp q = QMP_INIT;
	_cleanup_close_ int fd = open(state, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "create %s", state);
	int r = qmp_open(&q, TAKE_FD(m->qmp_fd), QMP_MS, e);
	if (r >= 0)
		r = qmp_call(&q, &a, "stop", NULL, QMP_MS, NULL, e);
	if (r >= 0)
		r = ignore_shared(&q, &a, e);
	if (r >= 0)
		r = give_fd(&q, &a, "state", fd, e);
	if (r >= 0)
		r = qmp_call(&q, &a, "migrate", "{\"uri\":\"fd:state\"}", QMP_MS, NULL, e);
	if (r >= 0)
		r = until_status(&q, &a, "query-migrate", "completed", QMP_MS, e);
	return r;
}

static int boot_and_save(const struct machine_config *c, const char *tmp, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_free_ char *mem = NULL, *state = NULL;
	struct machine_config mc = *c;
	struct machine m = MACHINE_INIT;
	struct chan ch = CHAN_INIT;
	struct agent_hello hello;
	if (asprintf(&mem, "%s/mem", tmp) < 0 || asprintf(&state, "%s/state", tmp) < 0)
		return err_set(e, ENOMEM, "template");
	mc.root_image = NULL;
	mc.tap_fd = -EBADF;
	mc.mac = NULL;
	int r = 0, fd = open(mem, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)c->memory) < 0) {
		r = err_sys(e, errno, "create %s", mem);
		if (fd >= 0)
			close(fd);
		return r;
	}
	if (c->confine && fchown(fd, c->uid, c->gid) < 0)
		r = err_sys(e, errno, "chown %s", mem);
	close(fd);
	if (r < 0)
		return r;
	r = qemu_launch(&mc, QEMU_TEMPLATE, mem, &m, e);
	if (r >= 0) {
		ch.fd = m.ctl_fd;
		r = agent_call(&ch, 1, "Hello", NULL, NULL, &agent_hello_desc, &hello, &a, BOOT_MS, e);
		if (r >= 0)
			r = save(&m, state, e);
	}
	chan_clear(&ch);
	qemu_stop(&m);
	/* From now on it is read only: clones read it as users of their own. */
	if (r >= 0 && (chown(mem, 0, 0) < 0 || chmod(mem, c->preload ? 0444 : 0666) < 0))
		r = err_sys(e, errno, "chown %s", mem);
	return r;
}

int template_build(const struct machine_config *c, bool wait, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *tmp = NULL, *lock_path = NULL;
	int r = template_path(c, &dir, e);
	if (r < 0)
		return r;
	if (asprintf(&tmp, "%s.tmp", dir) < 0 || asprintf(&lock_path, "%s/template.lock", c->cache) < 0)
		return err_set(e, ENOMEM, "template");
	_cleanup_close_ int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return err_sys(e, errno, "open %s", lock_path);
	while (flock(lock, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0)
		if (errno != EINTR)
			return err_sys(e, errno == EWOULDBLOCK ? EBUSY : errno, "lock %s", lock_path);
	if (access(dir, X_OK) == 0)
		return 0;
	bound(c->cache, dir); /* sweeps a crashed builder's tmp, too: the lock is ours */
	if (mkdir(tmp, 0700) < 0)
		return err_sys(e, errno, "mkdir %s", tmp);
	r = boot_and_save(c, tmp, e);
	if (r >= 0 && rename(tmp, dir) < 0)
		r = err_sys(e, errno, "rename to %s", dir);
	if (r < 0)
		remove_dir(tmp);
	else
		bound(c->cache, dir);
	return r;
}

/* ---- clone ------------------------------------------------------------------------------------------------------------ */

static int load(struct machine *m, int state, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_qmp_ struct qmp q = QMP_INIT;
	int r = qmp_open(&q, fcntl(m->qmp_fd, F_DUPFD_CLOEXEC, 3), QMP_MS, e);
	if (r >= 0)
		r = ignore_shared(&q, &a, e);
	if (r >= 0)
		r = give_fd(&q, &a, "state", state, e);
	if (r >= 0)
		r = qmp_call(&q, &a, "migrate-incoming", "{\"uri\":\"fd:state\"}", QMP_MS, NULL, e);
	if (r >= 0)
		r = until_status(&q, &a, "query-status", "paused", LOAD_MS, e);
	if (r >= 0)
		r = qmp_call(&q, &a, "cont", NULL, QMP_MS, NULL, e);
	return r;
}

int template_clone(const struct machine_config *c, struct machine *ret, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *mem = NULL, *state = NULL;
	int r = template_path(c, &dir, e);
	if (r < 0)
		return r;
	if (asprintf(&mem, "%s/mem", dir) < 0 || asprintf(&state, "%s/state", dir) < 0)
		return err_set(e, ENOMEM, "template");
	_cleanup_close_ int fd = open(state, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "template");
	utimensat(AT_FDCWD, dir, NULL, 0);
	r = qemu_launch(c, QEMU_CLONE, mem, ret, e);
	if (r < 0)
		return r;
	r = load(ret, fd, e);
	if (r < 0)
		qemu_stop(ret);
	return r;
}

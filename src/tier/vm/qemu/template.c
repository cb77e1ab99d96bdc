/* Templates of QEMU machines. */
#include "tier/vm/qemu/template.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

enum { LAYOUT = 4 /* raise when the machine's devices change */, BOOT_MS = 180000, QMP_MS = 30000 };

static int template_key(const struct machine_config *c, struct key *k, struct err *e)
{
	_cleanup_strbuf_ struct strbuf args = STRBUF_INIT;
	const char *program = qemu_program();
	struct stat st;
	if (!program || stat(program, &st) < 0)
		return err_set(e, ENOENT, "qemu is not installed");
	key_add_u64(k, LAYOUT);
	key_add_str(k, program);
	key_add_u64(k, (uint64_t)st.st_size);
	key_add_u64(k, (uint64_t)st.st_mtim.tv_sec);
	key_add_str(k, c->machine);
	qemu_kernel_args(c, &args);
	key_add_str(k, strbuf_str(&args));
	key_add_u64(k, c->kvm);
	return 0;
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
	/* Not stopped by us: the state then says that it ran, and a clone runs as soon as it has it. QEMU stops the machine for the last part. */
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
	r = qemu_launch(&mc, QEMU_TEMPLATE, mem, -EBADF, &m, e);
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

const struct template_kind template_qemu = { template_key, boot_and_save };

/* ---- clone ------------------------------------------------------------------------------------------------------------ */

int template_clone(const struct machine_config *c, struct machine *ret, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *mem = NULL, *state = NULL;
	int r = templates_path(&template_qemu, c, &dir, e);
	if (r < 0)
		return r;
	if (asprintf(&mem, "%s/mem", dir) < 0 || asprintf(&state, "%s/state", dir) < 0)
		return err_set(e, ENOMEM, "template");
	_cleanup_close_ int fd = open(state, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "template");
	utimensat(AT_FDCWD, dir, NULL, 0);
	return qemu_launch(c, QEMU_CLONE, mem, fd, ret, e);
}

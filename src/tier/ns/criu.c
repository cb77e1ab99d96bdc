/* The conversation with criu: starting a worker, requests, notifications, what its log says when it fails. */
#include "tier/ns/criu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sys/fd.h"
#include "sys/kernel.h"

enum {
	WORKER_SOCKET = 3,
	MESSAGE_MAX = 1 << 20, /* criu's messages are some hundred bytes; what it answers is parsed */
	LOG_MAX = 64 << 20,
	LIST_MAX = 4096,       /* mounts of one container */
};

PB_DESC_LOCAL(page_server_desc, criu_page_server, PB_F(1, PB_STR, struct criu_page_server, address), PB_F(2, PB_I64, struct criu_page_server, port));
PB_DESC_LOCAL(mount_desc, criu_mount, PB_F(1, PB_STR, struct criu_mount, key), PB_F(2, PB_STR, struct criu_mount, val));
PB_DESC_LOCAL(cg_root_desc, criu_cg_root, PB_F(1, PB_STR, struct criu_cg_root, ctrl), PB_F(2, PB_STR, struct criu_cg_root, path));
PB_DESC_LOCAL(inherit_desc, criu_inherit, PB_F(1, PB_STR, struct criu_inherit, key), PB_F(2, PB_I64, struct criu_inherit, fd));
#define O(number, type, member) PB_F(number, type, struct criu_opts, member)
PB_DESC_LOCAL(opts_desc, criu_opts,
	O(1, PB_I64, images_dir_fd), O(2, PB_I64, pid), O(3, PB_BOOL, leave_running), O(4, PB_BOOL, ext_unix_sk), O(5, PB_BOOL, tcp_established),
	O(6, PB_BOOL, evasive_devices), O(7, PB_BOOL, shell_job), O(8, PB_BOOL, file_locks), O(9, PB_I64, log_level), O(10, PB_STR, log_file),
	PB_M(11, struct criu_opts, ps, &page_server_desc), O(12, PB_BOOL, notify_scripts), O(13, PB_STR, root), O(14, PB_STR, parent_img),
	O(15, PB_BOOL, track_mem), O(16, PB_BOOL, auto_dedup), O(17, PB_I64, work_dir_fd), O(18, PB_BOOL, link_remap),
	PB_RM(23, struct criu_opts, ext_mnt, &mount_desc), O(24, PB_BOOL, manage_cgroups), PB_RM(25, struct criu_opts, cg_root, &cg_root_desc),
	O(26, PB_BOOL, rst_sibling), PB_RM(27, struct criu_opts, inherit_fd, &inherit_desc), O(34, PB_I64, manage_cgroups_mode),
	PB_R(37, PB_STR, struct criu_opts, external), O(38, PB_U64, empty_ns), O(44, PB_STR, freeze_cgroup), O(46, PB_BOOL, tcp_skip_in_flight),
	O(48, PB_BOOL, lazy_pages), O(50, PB_BOOL, orphan_pts_master), O(51, PB_STR, config_file), O(52, PB_BOOL, tcp_close), O(53, PB_STR, lsm_profile),
	O(64, PB_STR, lsm_mount_context));
#undef O
PB_DESC_LOCAL(request_desc, criu_request, PB_F(1, PB_I64, struct criu_request, type), PB_M(2, struct criu_request, opts, &opts_desc),
	PB_F(3, PB_BOOL, struct criu_request, notify_success));
PB_DESC_LOCAL(version_desc, criu_version, PB_F(1, PB_I64, struct criu_version, major), PB_F(2, PB_I64, struct criu_version, minor),
	PB_F(4, PB_I64, struct criu_version, sublevel));
PB_DESC_LOCAL(notify_desc, criu_notify, PB_F(1, PB_STR, struct criu_notify, script), PB_F(2, PB_I64, struct criu_notify, pid));
PB_DESC_LOCAL(restored_desc, criu_restored, PB_F(1, PB_I64, struct criu_restored, pid));
PB_DESC_LOCAL(response_desc, criu_response, PB_F(1, PB_I64, struct criu_response, type), PB_F(2, PB_BOOL, struct criu_response, success),
	PB_M(4, struct criu_response, restore, &restored_desc), PB_M(5, struct criu_response, notify, &notify_desc),
	PB_F(7, PB_I64, struct criu_response, cr_errno), PB_F(9, PB_STR, struct criu_response, cr_errmsg), PB_M(10, struct criu_response, version, &version_desc));

/* ---- lists ---------------------------------------------------------------------------------------------------------------- */

static void *grow(struct criu *x, struct pb_list *l, size_t size)
{
	if (l->n >= LIST_MAX)
		return NULL;
	if ((l->n & (l->n - 1)) == 0) { /* at each power of two */
		void *v = arena_calloc(&x->arena, l->n ? l->n * 2 : 1, size);
		if (!v)
			return NULL;
		if (l->n)
			memcpy(v, l->v, l->n * size);
		l->v = v;
	}
	return (char *)l->v + size * l->n++;
}

int criu_add_mount(struct criu *x, const char *key, const char *val)
{
	struct criu_mount *m = grow(x, &x->opts.ext_mnt, sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = (struct criu_mount){ arena_strdup(&x->arena, key), arena_strdup(&x->arena, val) };
	return m->key && m->val ? 0 : -ENOMEM;
}

int criu_add_external(struct criu *x, const char *fmt, ...)
{
	const char **s = grow(x, &x->opts.external, sizeof(*s));
	char text[256];
	va_list ap;

	if (!s)
		return -ENOMEM;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*s = arena_strdup(&x->arena, text);
	return *s ? 0 : -ENOMEM;
}

int criu_pass(struct criu *x, int fd)
{
	if (x->n_pass == ARRAY_SIZE(x->pass))
		return -EMFILE;
	x->pass[x->n_pass] = fd;
	return WORKER_SOCKET + 1 + (int)x->n_pass++;
}

int criu_add_inherit(struct criu *x, const char *key, int fd)
{
	struct criu_inherit *i = grow(x, &x->opts.inherit_fd, sizeof(*i));
	int n = criu_pass(x, fd);

	if (!i || n < 0)
		return -ENOMEM;
	*i = (struct criu_inherit){ arena_strdup(&x->arena, key), n };
	return i->key ? 0 : -ENOMEM;
}

const char *criu_external_ns(int flag, const char **ret_kind)
{
	if (flag == CLONE_NEWNET)
		return *ret_kind = "net", "extRootNetNS";
	if (flag == CLONE_NEWPID)
		return *ret_kind = "pid", "extRootPidNS";
	return NULL;
}

/* ---- directories and options that both ways share -------------------------------------------------------------------------- */

static int open_dir(struct criu *x, const char *path, bool make, const char **ret_path, struct err *e)
{
	char cwd[4096];

	if (path[0] != '/') {
		if (!getcwd(cwd, sizeof(cwd)))
			return err_sys(e, errno, "current directory");
		path = arena_printf(&x->arena, "%s/%s", cwd, path);
	} else {
		path = arena_strdup(&x->arena, path);
	}
	if (!path)
		return err_sys(e, ENOMEM, "criu");
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "mkdir %s", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	*ret_path = path;
	return fd;
}

/* The annotation, else our own settings, else those that crun and runc would read. */
static const char *config_file(const struct oci_spec *s)
{
	static const char *const files[] = { "/etc/criu/tierce.conf", "/etc/criu/crun.conf", "/etc/criu/runc.conf" };
	const char *v = oci_annotation(s, "org.criu.config");

	for (size_t i = 0; !v && i < ARRAY_SIZE(files); i++)
		v = access(files[i], R_OK) == 0 ? files[i] : NULL;
	return v && *v ? v : NULL;
}

int criu_begin(struct criu *x, struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e)
{
	static const struct { const char *name; enum criu_cg_mode mode; } modes[] = { { "soft", CRIU_CG_SOFT }, { "full", CRIU_CG_FULL },
		{ "strict", CRIU_CG_STRICT }, { "ignore", CRIU_CG_IGNORE } };
	const char *mode = o->manage_cgroups_mode ? o->manage_cgroups_mode : "soft";
	int fd;

	*x = (struct criu){ .c = c, .arena = ARENA_INIT, .sock = -EBADF, .image_fd = -EBADF, .work_fd = -EBADF };
	if ((fd = open_dir(x, o->image_path, true, &x->image_path, e)) < 0)
		return err_wrap(e, fd, "image path");
	x->image_fd = fd;
	if ((fd = open_dir(x, o->work_path ? o->work_path : o->image_path, true, &x->work_path, e)) < 0)
		return err_wrap(e, fd, "work path");
	x->work_fd = fd;
	struct criu_opts *p = &x->opts;
	p->images_dir_fd = criu_pass(x, x->image_fd);
	p->work_dir_fd = criu_pass(x, x->work_fd);
	p->log_level = 4;
	p->notify_scripts = p->orphan_pts_master = true;
	p->leave_running = o->leave_running;
	p->ext_unix_sk = o->ext_unix_sk;
	p->tcp_established = o->tcp_established;
	p->tcp_skip_in_flight = o->tcp_skip_in_flight;
	p->tcp_close = o->tcp_close;
	p->shell_job = o->shell_job;
	p->file_locks = o->file_locks;
	p->auto_dedup = o->auto_dedup;
	p->link_remap = o->link_remap;
	p->lazy_pages = o->lazy_pages;
	p->empty_ns = o->empty_ns;
	p->config_file = config_file(c->spec);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (streq(mode, modes[i].name))
			p->manage_cgroups_mode = modes[i].mode;
	p->manage_cgroups = p->manage_cgroups_mode != CRIU_CG_IGNORE; /* ignore is 0, which is not sent: criu's own default then */
	return 0;
}

void criu_end(struct criu *x)
{
	cleanup_close(&x->sock);
	if (x->worker > 0)
		while (waitpid(x->worker, NULL, 0) < 0 && errno == EINTR)
			;
	cleanup_close(&x->image_fd);
	cleanup_close(&x->work_fd);
	arena_free(&x->arena);
}

/* ---- the worker ---------------------------------------------------------------------------------------------------------------- */

/* criu wants its root to be a mount point. In a namespace of our own nothing has to be unmounted afterwards, whoever dies. The two directories are
 * opened again in there: criu makes mounts below its working directory, which must be of the same namespace. */
static void own_mounts(struct criu *x)
{
	if (sys_unshare(CLONE_NEWNS) < 0 || sys_mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 || sys_mount(x->c->rootfs, x->bind_root, NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    sys_mount(NULL, x->bind_root, NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(125);
	x->pass[0] = open(x->image_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	x->pass[1] = open(x->work_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->pass[0] < 0 || x->pass[1] < 0)
		_exit(125);
}

static int send_socket(int to, int fd)
{
	union { char raw[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { .raw = { 0 } };
	struct iovec iov = { &fd, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	*h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(to, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/*
 * In the child: the conversation's socket, fds to their places, criu. criu opens the directories as /proc/<pid>/fd/<number> of whoever made the socket
 * (SO_PEERCRED), so the child makes it and hands the other end back: then all numbers are the worker's own.
 */
static NORETURN void worker(struct criu *x, int back, const char *program)
{
	int high[ARRAY_SIZE(x->pass) + 1], sv[2];
	sigset_t none;

	if (x->bind_root)
		own_mounts(x);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0 || send_socket(back, sv[0]) < 0)
		_exit(126);
	/* First out of the way, so that no place is taken by a source that is still needed. */
	for (size_t i = 0; i <= x->n_pass; i++) {
		high[i] = fcntl(i ? x->pass[i - 1] : sv[1], F_DUPFD_CLOEXEC, 64);
		if (high[i] < 0)
			_exit(126);
	}
	for (size_t i = 0; i <= x->n_pass; i++)
		if (dup2(high[i], WORKER_SOCKET + (int)i) < 0)
			_exit(126);
	cloexec_from((unsigned)(WORKER_SOCKET + 1 + x->n_pass));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execlp(program, "criu", "swrk", "3", (char *)NULL);
	_exit(errno == ENOENT ? 127 : 126);
}

static int worker_gone(struct criu *x, struct err *e)
{
	int st = 0;

	while (waitpid(x->worker, &st, 0) < 0 && errno == EINTR)
		;
	x->worker = 0;
	int code = WIFEXITED(st) ? WEXITSTATUS(st) : 0;
	return err_set(e, code == 127 ? ENOENT : EPIPE, code == 127 ? "criu is not installed (executable file not found in $PATH)" :
		code == 125 ? "criu: the root filesystem could not be bound for the restore" : "criu ended without an answer");
}

/* One packet with at most one descriptor; 0 at the end. */
static ssize_t receive_packet(int sock, void *buf, size_t size, int *ret_fd)
{
	union { char raw[CMSG_SPACE(sizeof(int) * 4)]; struct cmsghdr align; } control;
	struct iovec iov = { buf, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n;

	*ret_fd = -EBADF;
	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	for (struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			cleanup_close(ret_fd);
			memcpy(ret_fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
		}
	}
	return n;
}

int criu_spawn(struct criu *x, const char *program, struct err *e)
{
	int back[2];
	char c;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, back) < 0)
		return err_sys(e, errno, "socketpair");
	x->worker = fork();
	if (x->worker == 0)
		worker(x, back[1], program && *program ? program : "criu");
	close(back[1]);
	int r = x->worker < 0 ? err_sys(e, errno, "fork") : receive_packet(back[0], &c, 1, &x->sock) <= 0 || x->sock < 0 ? worker_gone(x, e) : 0;
	close(back[0]);
	return r;
}

/* What the log says went wrong: criu's answer is often only an errno. */
static void quote_log(struct criu *x, const char *log, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *last[3] = { NULL };

	if (file_read_at(x->work_fd, log, &b, LOG_MAX) < 0)
		return;
	/* Not every "Error" ends the work; the last ones do, and behind them stands only that it has failed. */
	for (const char *p = strbuf_str(&b); (p = strstr(p, "Error (")); p++) {
		size_t n = strcspn(p, "\n");
		if (memmem(p, n, "FAILED", 6))
			continue;
		last[0] = last[1];
		last[1] = last[2];
		last[2] = p;
	}
	for (size_t i = 0; i < 3; i++)
		if (last[i])
			strbuf_printf(out, "%s %.*s", i && last[i - 1] ? ";" : ":", (int)MIN(strcspn(last[i], "\n"), (size_t)200), last[i]);
}

static int send_request(struct criu *x, const struct criu_request *q, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = pb_encode(&request_desc, q, &b);

	if (r < 0)
		return err_sys(e, r, "criu request");
	if (send(x->sock, b.s, b.len, MSG_NOSIGNAL) < 0)
		return errno == EPIPE || errno == ECONNRESET ? worker_gone(x, e) : err_sys(e, errno, "criu request");
	return 0;
}

static int receive(struct criu *x, struct criu_response *ret, int *ret_fd, struct err *e)
{
	char *buf = arena_alloc(&x->arena, MESSAGE_MAX);
	ssize_t n = buf ? receive_packet(x->sock, buf, MESSAGE_MAX, ret_fd) : 0;

	if (!buf)
		return err_sys(e, ENOMEM, "criu answer");
	if (n <= 0)
		return worker_gone(x, e);
	int r = pb_decode(&response_desc, &x->arena, buf, (size_t)n, ret, e);
	if (r < 0) {
		cleanup_close(ret_fd);
		*ret_fd = -EBADF;
		return err_wrap(e, r, "criu answer");
	}
	return 0;
}

int criu_talk(struct criu *x, enum criu_type type, const char *log, struct criu_response *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct criu_request q = { .type = type, .opts = &x->opts };
	int r = send_request(x, &q, e);

	for (;;) {
		int fd = -EBADF;
		if (r < 0 || (r = receive(x, ret, &fd, e)) < 0)
			return r;
		if (ret->type != CRIU_NOTIFY) {
			cleanup_close(&fd);
			break;
		}
		r = ret->notify && ret->notify->script && x->notified ? x->notified(x, ret->notify, fd, e) : (cleanup_close(&fd), 0);
		int keep = r;
		struct criu_request yes = { .type = CRIU_NOTIFY, .notify_success = r >= 0 };
		_cleanup_err_ struct err ignored = ERR_INIT;
		r = send_request(x, &yes, keep < 0 ? &ignored : e);
		if (keep < 0)
			return keep;
	}
	if (ret->success)
		return 0;
	if (ret->cr_errmsg)
		strbuf_printf(&why, ": %s", ret->cr_errmsg);
	else
		quote_log(x, log, &why);
	return err_set(e, ret->cr_errno > 0 && ret->cr_errno < 4096 ? (int)ret->cr_errno : EIO, "criu failed: type %s errno %lld%s (log file: %s/%s)",
		type == CRIU_RESTORE ? "RESTORE" : type == CRIU_PRE_DUMP ? "PRE_DUMP" : "DUMP", (long long)ret->cr_errno, strbuf_str(&why), x->work_path, log);
}

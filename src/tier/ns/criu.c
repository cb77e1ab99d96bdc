/* Running criu: see criu.h. */
#include "tier/ns/criu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sys/fd.h"
#include "sys/kernel.h"

enum { CRIU_LOG_TAIL = 64 * 1024 };

void criu_call_free(struct criu_call *c) {
	for (size_t i = 0; i < c->n; i++)
		free(c->argv[i]);
	free(c->argv);
	cleanup_close(&c->image);
	*c = (struct criu_call)CRIU_CALL_INIT;
}

void criu_arg(struct criu_call *c, const char *fmt, ...) {
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int r = vasprintf(&s, fmt, ap);
	va_end(ap);
	char **v = r < 0 ? NULL : reallocarray(c->argv, c->n + 2, sizeof(*v));
	if (!v) {
		if (r >= 0)
			free(s);
		c->failed = true;
		return;
	}
	c->argv = v;
	v[c->n++] = s;
	v[c->n] = NULL;
}

static int make_dir(const char *path, struct err *e) {
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "create %s", path);
	return 0;
}

/* Host paths of criu's own settings: the annotation, else what crun and runc read. */
static void config_file(struct criu_call *c, const struct tier_container *t) {
	static const char *const files[] = { "/etc/criu/crun.conf", "/etc/criu/runc.conf" };
	const char *given = t->spec ? oci_annotation(t->spec, "org.criu.config") : NULL;
	if (given && *given)
		criu_arg(c, "--config=%s", given);
	for (size_t i = 0; !given && i < ARRAY_SIZE(files); i++)
		if (access(files[i], R_OK) == 0) {
			criu_arg(c, "--config=%s", files[i]);
			return;
		}
}

int criu_common(struct criu_call *c, const char *verb, const struct tier_container *t, const struct tier_checkpoint_options *o, struct err *e) {
	static const struct { size_t offset; const char *flag; } flags[] = {
		{ offsetof(struct tier_checkpoint_options, tcp_established), "--tcp-established" },
		{ offsetof(struct tier_checkpoint_options, tcp_close), "--tcp-close" },
		{ offsetof(struct tier_checkpoint_options, ext_unix_sk), "--ext-unix-sk" },
		{ offsetof(struct tier_checkpoint_options, shell_job), "--shell-job" },
		{ offsetof(struct tier_checkpoint_options, file_locks), "--file-locks" },
		{ offsetof(struct tier_checkpoint_options, lazy_pages), "--lazy-pages" },
		{ offsetof(struct tier_checkpoint_options, auto_dedup), "--auto-dedup" },
		{ offsetof(struct tier_checkpoint_options, link_remap), "--link-remap" },
	};
	const char *work = o->work_path ? o->work_path : o->image_path;
	bool restore = streq(verb, "restore");
	int r = restore ? 0 : make_dir(o->image_path, e);
	if (r == 0 && o->work_path)
		r = make_dir(o->work_path, e);
	if (r < 0)
		return r;
	c->image = open(o->image_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->image < 0)
		return err_sys(e, errno, "open image directory %s", o->image_path);
	c->log = restore ? "restore.log" : "dump.log";
	criu_arg(c, "%s", o->criu_path ? o->criu_path : "criu");
	criu_arg(c, "%s", verb);
	criu_arg(c, "--images-dir=%s", o->image_path);
	criu_arg(c, "--work-dir=%s", work);
	criu_arg(c, "--log-file=%s", c->log);
	criu_arg(c, "-v4");
	config_file(c, t);
	criu_arg(c, "--manage-cgroups=%s", o->manage_cgroups_mode ? o->manage_cgroups_mode : "soft");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (*(const bool *)((const char *)o + flags[i].offset))
			criu_arg(c, "%s", flags[i].flag);
	if (o->empty_ns & CLONE_NEWNET)
		criu_arg(c, "--empty-ns=net");
	if (o->empty_ns & ~(uint64_t)CLONE_NEWNET)
		return err_set(e, ENOTSUP, "criu can leave the network namespace empty only");
	if (o->status_fd >= 0)
		criu_arg(c, "--status-fd=%d", o->status_fd);
	return 0;
}

/* The last line with "Error" of the log: what a human would look for first. */
static void last_error(const char *work, const char *name, char *buf, size_t size) {
	char path[4096];
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	buf[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", work, name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (end < 0 || lseek(fd, end > CRIU_LOG_TAIL ? end - CRIU_LOG_TAIL : 0, SEEK_SET) < 0 || fd_read_rest(fd, &text, 2 * CRIU_LOG_TAIL) < 0)
		return;
	/* The first cause comes before what it makes fail: the earliest of the lines is the one that tells. */
	const char *at = strstr(strbuf_str(&text), "Error (");
	if (at)
		snprintf(buf, size, "%.*s", (int)MIN(strcspn(at, "\n"), size - 1), at);
}

int criu_run(struct criu_call *c, const struct tier_checkpoint_options *o, int (*inside)(const struct tier_container *t, struct err *e),
	const struct tier_container *t, const int *keep, size_t n_keep, struct err *e) {
	int pair[2], status = 0;
	struct ns_message m;
	if (c->failed)
		return err_set(e, ENOMEM, "out of memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "socketpair");
	pid_t pid = fork();
	if (pid == 0) {
		struct err inner = ERR_INIT;
		close(pair[0]);
		int r = inside ? inside(t, &inner) : 0;
		for (size_t i = 0; i < n_keep; i++)
			if (keep[i] >= 0)
				fcntl(keep[i], F_SETFD, 0);
		if (r == 0) {
			ns_reset_signals();
			execvp(c->argv[0], c->argv);
			err_sys(&inner, errno, "execute %s", c->argv[0]);
		}
		ns_send(pair[1], NS_MSG_ERROR, inner.code, err_msg(&inner), -EBADF);
		_exit(1);
	}
	int r = pid < 0 ? err_sys(e, errno, "fork") : 0;
	close(pair[1]);
	if (r == 0) {
		_cleanup_err_ struct err inner = ERR_INIT;
		r = ns_recv(pair[0], &m, NULL, &inner);
		if (r == -ECONNRESET)
			r = 0; /* close-on-exec: criu runs */
		else if (r < 0)
			err_move(e, &inner);
	}
	close(pair[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status))) {
		char text[512];
		const char *work = o->work_path ? o->work_path : o->image_path;
		last_error(work, c->log, text, sizeof(text));
		return err_set(e, EIO, "criu failed: %s %d%s%s\nlog file: %s/%s", WIFEXITED(status) ? "exit status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), text[0] ? ": " : "", text, work, c->log);
	}
	return r;
}

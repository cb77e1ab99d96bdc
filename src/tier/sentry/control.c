/* The sentry's end of the control socket: start, signals, exec from outside. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tier/sentry/config.h"
#include "tier/sentry/control.h"
#include "tier/sentry/fs/hoststat.h"
#include "tier/sentry/service.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

enum { MAX_FDS = 4 };
struct conn { int fd; struct sentry_message m; int fds[MAX_FDS]; unsigned n_fds; };
/* Under the lock: the status of a process that ends at once waits until the request was answered. */
struct control_exec { int fd; bool answered, ended; int status; };

static void reply(int fd, int value, const char *text)
{
	struct sentry_message m = { .value = value };
	snprintf(m.text, sizeof(m.text), "%s", text ? text : "");
	if (write(fd, &m, sizeof(m)) < 0)
		return; /* the asker is gone; SIGPIPE is blocked in every thread */
}

static void say_ended(struct control_exec *x)
{
	reply(x->fd, x->status, NULL);
	shutdown(x->fd, SHUT_RDWR); /* the connection's thread ends */
}

void control_exec_done(struct process *p, int status)
{
	struct control_exec *x = p->hostctx;
	p->hostctx = NULL;
	x->ended = true;
	x->status = status;
	if (x->answered)
		say_ended(x);
}

static int read_config(int fd, struct arena *a, struct sentry_options *o, struct err *e)
{
	struct stat st;
	if (host_stat(fd, "", &st) < 0 || st.st_size <= 0 || st.st_size > SENTRY_CONFIG_MAX)
		return err_set(e, EINVAL, "configuration of bad size");
	_cleanup_free_ char *buf = malloc((size_t)st.st_size);
	if (!buf || pread(fd, buf, (size_t)st.st_size, 0) != st.st_size)
		return err_set(e, EIO, "configuration cannot be read");
	return sentry_config_parse(a, buf, (size_t)st.st_size, o, e);
}

static void signal_all(int sig, bool all)
{
	struct guest_siginfo si = { .signo = sig, .code = SI_USER };
	if (!all) {
		send_signal_process(K.init, sig, &si);
		return;
	}
	for (struct process *p = process_next(0), *n; p; p = n) {
		int id = p->pid;
		send_signal_process(p, sig, &si);
		n = process_next(id);
	}
}

/* Signals for an exec'd process come on its connection until it ends. */
static void serve_exec(struct conn *c, int pid)
{
	struct sentry_message m;
	while (read(c->fd, &m, sizeof(m)) == sizeof(m)) {
		if (m.type != SENTRY_SIGNAL)
			continue;
		kernel_lock();
		struct process *p = process_by_pid(pid);
		struct guest_siginfo si = { .signo = m.value, .code = SI_USER };
		if (p && p->hostctx)
			send_signal_process(p, m.value, &si);
		kernel_unlock();
	}
}

static int do_exec(struct conn *c)
{
	struct arena a = ARENA_INIT;
	struct sentry_options o = { .log_fd = -EBADF };
	_cleanup_err_ struct err e = ERR_INIT;
	struct control_exec x = { .fd = c->fd };
	int pid = 0, rc = c->n_fds == MAX_FDS ? read_config(c->fds[0], &a, &o, &e) : err_set(&e, EINVAL, "exec without its descriptors");
	if (!rc) {
		kernel_lock();
		rc = pid = container_exec(&o, c->fds + 1, &x, &e);
	} else {
		kernel_lock();
	}
	reply(c->fd, rc, rc < 0 ? err_msg(&e) : NULL);
	x.answered = true;
	if (x.ended && rc > 0)
		say_ended(&x);
	kernel_unlock();
	if (rc > 0)
		serve_exec(c, pid);
	kernel_lock();
	struct process *p = pid > 0 ? process_by_pid(pid) : NULL;
	if (p && p->hostctx == &x)
		p->hostctx = NULL;
	kernel_unlock();
	arena_free(&a);
	return rc;
}

static void *serve(void *arg)
{
	struct conn *c = arg;
	_cleanup_err_ struct err e = ERR_INIT;
	int rc;
	switch (c->m.type) {
	case SENTRY_START:
		rc = container_start(&e);
		reply(c->fd, rc, rc < 0 ? err_msg(&e) : NULL);
		break;
	case SENTRY_SIGNAL:
		kernel_lock();
		signal_all(c->m.value, c->m.value2);
		kernel_unlock();
		reply(c->fd, 0, NULL);
		break;
	case SENTRY_PIDS:
		kernel_lock();
		K.pids_limit = c->m.value > 0 ? (uint32_t)c->m.value : 0;
		kernel_unlock();
		reply(c->fd, 0, NULL);
		break;
	case SENTRY_EXEC:
		do_exec(c);
		break;
	default:
		reply(c->fd, -EPROTO, "unknown request");
	}
	for (unsigned i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	close(c->fd);
	free(c);
	return NULL;
}

static void *accept_main(void *arg)
{
	int listener = (int)(intptr_t)arg;
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return NULL;
		}
		struct conn *c = calloc(1, sizeof(*c));
		union { struct cmsghdr h; char space[CMSG_SPACE(MAX_FDS * sizeof(int))]; } cm = { 0 };
		struct iovec iov = { c ? &c->m : NULL, sizeof(c->m) };
		struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof(cm) };
		if (!c || recvmsg(fd, &mh, MSG_CMSG_CLOEXEC) != sizeof(c->m)) {
			free(c);
			close(fd);
			continue;
		}
		c->fd = fd;
		for (struct cmsghdr *h = CMSG_FIRSTHDR(&mh); h; h = CMSG_NXTHDR(&mh, h)) {
			if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
				continue;
			c->n_fds = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(c->fds, CMSG_DATA(h), c->n_fds * sizeof(int));
		}
		if (service_thread(serve, c) < 0)
			serve(c);
	}
}

int control_serve(int listener, struct err *e)
{
	int rc = service_thread(accept_main, (void *)(intptr_t)listener);
	return rc < 0 ? err_sys(e, rc, "control thread") : 0;
}

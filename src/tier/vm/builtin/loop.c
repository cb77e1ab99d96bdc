/* Epoll loop. Callbacks run without the lock, so that they may watch and unwatch. */
#include "tier/vm/builtin/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 32 };

static void on_call(void *ctx, uint32_t events)
{
	struct loop *l = ctx;
	uint64_t n;
	(void)events;
	(void)!read(l->call_fd, &n, sizeof n);
	pthread_mutex_lock(&l->lock);
	void (*fn)(void *) = l->call;
	void *arg = l->call_arg;
	pthread_mutex_unlock(&l->lock);
	if (fn)
		fn(arg);
	pthread_mutex_lock(&l->lock);
	l->call = NULL;
	pthread_cond_signal(&l->done);
	pthread_mutex_unlock(&l->lock);
}

int loop_init(struct loop *l, struct err *e)
{
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->done, NULL);
	l->call = NULL;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll < 0 || l->call_fd < 0)
		return err_sys(e, errno, "epoll");
	int r = loop_watch(l, l->call_fd, EPOLLIN, on_call, l);
	return r < 0 ? err_sys(e, r, "epoll") : 0;
}

int loop_watch(struct loop *l, int fd, uint32_t events, loop_cb *cb, void *ctx)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };
	if (fd < 0 || fd >= LOOP_FDS_MAX)
		return -EBADF;
	pthread_mutex_lock(&l->lock);
	bool known = l->watch[fd].cb != NULL;
	l->watch[fd] = (struct loop_watch){ cb, ctx };
	int r = epoll_ctl(l->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
	if (r == -ENOENT) /* closed and opened again meanwhile */
		r = epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
	if (r < 0)
		l->watch[fd] = (struct loop_watch){ NULL, NULL };
	pthread_mutex_unlock(&l->lock);
	return r;
}

void loop_unwatch(struct loop *l, int fd)
{
	if (fd < 0 || fd >= LOOP_FDS_MAX)
		return;
	pthread_mutex_lock(&l->lock);
	if (l->watch[fd].cb)
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
	l->watch[fd] = (struct loop_watch){ NULL, NULL };
	pthread_mutex_unlock(&l->lock);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	uint64_t one = 1;
	pthread_mutex_lock(&l->lock);
	l->call = fn;
	l->call_arg = arg;
	(void)!write(l->call_fd, &one, sizeof one);
	while (l->call)
		pthread_cond_wait(&l->done, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

void loop_run(struct loop *l)
{
	struct epoll_event ev[BATCH];
	for (;;) {
		int n = epoll_wait(l->epoll, ev, BATCH, -1);
		for (int i = 0; i < n; i++) {
			pthread_mutex_lock(&l->lock);
			struct loop_watch w = l->watch[ev[i].data.fd];
			pthread_mutex_unlock(&l->lock);
			if (w.cb)
				w.cb(w.ctx, ev[i].events);
		}
	}
}

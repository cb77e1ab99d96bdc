/* Rate limiter with a timerfd. */
#include "tier/vm/virtio/throttle.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int throttle_init(struct throttle *t, struct virtio_device *d, unsigned queue, const struct limiter_config *c, struct err *e)
{
	*t = (struct throttle){ .device = d, .queue = queue, .fd = -EBADF };
	int r = limiter_init(&t->limiter, c, now());
	if (r < 0)
		return err_set(e, -r, "rate limit: a size needs a refill time, a burst a size; at most 2^40 tokens and an hour");
	if (!limiter_limits(&t->limiter))
		return 0;
	t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return t->fd < 0 ? err_sys(e, errno, "timer") : 0;
}

void throttle_free(struct throttle *t)
{
	throttle_stop(t);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -EBADF;
}

static void due(void *ctx, uint32_t events)
{
	struct throttle *t = ctx;
	struct virtio_device *d = t->device;
	uint64_t n;
	(void)events;
	virtio_lock(d);
	if (t->waiting && read(t->fd, &n, sizeof n) == sizeof n) {
		throttle_stop(t);
		if (virtio_working(d) && d->queue[t->queue].running)
			d->ops->kick(d, t->queue);
	}
	virtio_unlock(d);
}

bool throttle_pass(struct throttle *t, uint64_t n)
{
	uint64_t wait;
	if (t->fd < 0)
		return true;
	if (t->waiting)
		return false;
	if (limiter_take(&t->limiter, n, now(), &wait))
		return true;
	struct itimerspec at = { .it_value = { (time_t)(wait / 1000000000), (long)(wait % 1000000000) } };
	timerfd_settime(t->fd, 0, &at, NULL);
	const struct virtio_host *h = t->device->host;
	t->waiting = true;
	if (h->watch(h->arg, t->fd, EPOLLIN, due, t) < 0) {
		t->waiting = false;
		return true; /* without a way to come back, rather too fast than never */
	}
	return false;
}

void throttle_stop(struct throttle *t)
{
	if (!t->waiting)
		return;
	t->device->host->unwatch(t->device->host->arg, t->fd);
	t->waiting = false;
}

/* The main thread: control requests as rows. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tier/vm/builtin/control.h"
#include "tier/vm/builtin/filter.h"
#include "tier/vm/builtin/ram.h"
#include "tier/vm/builtin/snapshot.h"
#include "tier/vm/builtin/vmm.h"
#include "tier/vm/virtio/devices.h"

struct call { struct vmm *m; struct vmm_request q; int fd; struct vmm_answer a; struct strbuf *bytes; };

static int send_all(int sock, const void *p, size_t n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t k;
	do
		k = sendmsg(sock, &mh, MSG_NOSIGNAL);
	while (k < 0 && errno == EINTR);
	return k == (ssize_t)n ? 0 : -EPIPE;
}

static int do_ping(struct call *c, struct err *e)
{
	(void)c;
	(void)e;
	return 0;
}

static int do_pause(struct call *c, struct err *e)
{
	(void)e;
	vmm_pause(c->m);
	return 0;
}

static int do_resume(struct call *c, struct err *e)
{
	(void)e;
	vmm_resume(c->m);
	return 0;
}

static int do_snapshot(struct call *c, struct err *e)
{
	if (!c->m->paused)
		return err_set(e, EBUSY, "snapshot: the machine is not paused");
	if (c->fd < 0)
		return err_set(e, EBADF, "snapshot: no memory file");
	int r = snapshot_save(c->m, c->bytes, e);
	if (r >= 0)
		r = ram_save(&c->m->mem, c->fd, e);
	return r;
}

struct wish { struct virtio_device *d; uint64_t bytes, given; };

static void wish(void *arg)
{
	struct wish *w = arg;
	struct balloon_stats s;
	virtio_balloon_set(w->d, w->bytes);
	virtio_balloon_stats(w->d, &s);
	w->given = s.actual;
}

static int do_balloon(struct call *c, struct err *e)
{
	struct wish w = { c->m->balloon, c->q.value, 0 };
	if (!w.d)
		return err_set(e, EOPNOTSUPP, "the machine has no balloon");
	if (w.bytes > c->m->c->memory)
		return err_set(e, ERANGE, "balloon of %llu bytes: the machine has %llu", (unsigned long long)w.bytes, (unsigned long long)c->m->c->memory);
	if (c->m->paused)
		return err_set(e, EBUSY, "balloon: the machine is paused");
	loop_call(&c->m->loop, wish, &w);
	c->a.value = w.given;
	return 0;
}

static NORETURN void stop(void)
{
	_exit(0);
}

static int do_stop(struct call *c, struct err *e)
{
	(void)c;
	(void)e;
	stop();
}

static int (*const ops[])(struct call *c, struct err *e) = {
	[VMM_PING] = do_ping, [VMM_PAUSE] = do_pause, [VMM_RESUME] = do_resume, [VMM_SNAPSHOT] = do_snapshot, [VMM_BALLOON] = do_balloon,
	[VMM_STOP] = do_stop,
};

/* One request with at most one descriptor. */
static int receive(int sock, struct call *c)
{
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } cm;
	struct iovec v = { &c->q, sizeof c->q };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof cm };
	ssize_t n;
	do
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *h = CMSG_FIRSTHDR(&mh);
	if (n > 0 && h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&c->fd, CMSG_DATA(h), sizeof c->fd);
	if (n <= 0)
		return -ECONNRESET;
	return n == sizeof c->q && !(mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && !c->q.zero ? 0 : -EBADMSG;
}

static int answer(int sock, struct call *c, int status, const struct err *e)
{
	char head[sizeof c->a + 512];
	size_t n = 0;
	c->a.status = status;
	if (status < 0) {
		n = MIN(strlen(err_msg(e)), sizeof head - sizeof c->a);
		memcpy(head + sizeof c->a, err_msg(e), n);
	} else if (c->q.op == VMM_SNAPSHOT)
		c->a.value = c->bytes->len;
	c->a.len = (uint32_t)n;
	memcpy(head, &c->a, sizeof c->a);
	int r = send_all(sock, head, sizeof c->a + n);
	for (size_t at = 0; r >= 0 && status >= 0 && at < c->bytes->len; at += VMM_PART)
		r = send_all(sock, c->bytes->s + at, MIN((size_t)VMM_PART, c->bytes->len - at));
	return r;
}

static int serve_one(struct vmm *m, int sock)
{
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct call c = { .m = m, .fd = -EBADF, .bytes = &bytes };
	int r = receive(sock, &c);
	if (r < 0)
		return r;
	if (c.q.op >= ARRAY_SIZE(ops) || !ops[c.q.op])
		return -EBADMSG;
	r = ops[c.q.op](&c, &e);
	if (c.fd >= 0)
		close(c.fd);
	return answer(sock, &c, r, &e);
}

void vmm_serve(struct vmm *m)
{
	int sock = m->c->control;
	filter_enter(FILTER_API);
	for (;;) {
		struct pollfd p = { sock, POLLIN, 0 };
		if (poll(&p, sock >= 0 ? 1 : 0, -1) < 0 && errno != EINTR)
			stop();
		if (p.revents && serve_one(m, sock) < 0)
			stop(); /* the parent is gone, or talks nonsense */
	}
}

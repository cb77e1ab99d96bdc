/* Seccomp listeners on their way from the container to the agent: see ns.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif
enum { SPINS = 100 * 1000 * 1000 }; /* a pause is 40-140 cycles: some seconds */

enum { AGENT_MAX = 64 * 1024 };

int ns_agent_save(int state_fd, const struct seccomp_filter *f, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	if (!f->present || !f->notify)
		return 0;
	if (!f->listener_path)
		return err_set(e, EINVAL, "seccomp notification without a listenerPath");
	strbuf_add(&b, f->listener_path, strlen(f->listener_path) + 1);
	if (f->listener_metadata)
		strbuf_add(&b, f->listener_metadata, strlen(f->listener_metadata) + 1);
	if (b.failed || b.len > AGENT_MAX)
		return err_set(e, b.failed ? ENOMEM : E2BIG, "seccomp listener metadata");
	int r = file_replace_at(state_fd, "ns.notify", b.s, b.len, 0600, 0);
	return r < 0 ? err_sys(e, r, "write ns.notify") : 0;
}

/* 1: there is an agent. */
static int agent_load(int state_fd, struct strbuf *text, struct seccomp_filter *f, struct err *e) {
	int r = file_read_at(state_fd, "ns.notify", text, AGENT_MAX);
	if (r == -ENOENT)
		return 0;
	if (r < 0 || !text->len || text->s[text->len - 1])
		return err_sys(e, r < 0 ? r : EBADMSG, "read ns.notify");
	f->notify = true;
	f->listener_path = text->s;
	size_t n = strlen(text->s) + 1;
	f->listener_metadata = n < text->len ? text->s + n : NULL;
	return 1;
}

void ns_handover_close(struct ns_handover *h) {
	cleanup_close(&h->fd);
	if (h->word)
		munmap((void *)(uintptr_t)h->word, sizeof(*h->word));
	*h = (struct ns_handover)NS_HANDOVER_NONE;
}

int ns_handover_map(int fd, struct ns_handover *ret, struct err *e) {
	ret->fd = fd;
	void *p = mmap(NULL, sizeof(*ret->word), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "map shared page");
	ret->word = p;
	return 0;
}

int ns_handover_new(struct ns_handover *ret, struct err *e) {
	/* Sealed against shrinking: the other side must not be able to take the page away under us. */
	_cleanup_close_ int fd = memfd_create("tierce-start", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, sizeof(uint32_t)) < 0 || fcntl(fd, 1033 /* F_ADD_SEALS */, 1 | 2 | 4) < 0)
		return err_sys(e, errno, "shared page");
	return ns_handover_map(TAKE_FD(fd), ret, e);
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void ns_handover_offer(struct ns_handover *h, int listener) {
	if (!h->word)
		return; /* nobody will ever answer: the agent was not configured, the kernel then fails notified calls with ENOSYS */
	atomic_store(h->word, (uint32_t)listener + 1);
	for (uint32_t i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(h->word, memory_order_acquire) == NS_HANDOVER_DONE)
			return;
		relax();
	}
	__builtin_trap(); /* the starter died. Even exit_group(2) could wait for the agent that never came. */
}

/* 1: taken and handed on; 0: the channel has something to say; negative errno. */
static int take(struct tier_container *c, int channel, pid_t pid, int pidfd, struct ns_handover *h, struct err *e) {
	struct pollfd p = { .fd = channel, .events = POLLIN };
	uint32_t word;
	/* A child that is about to load its filter needs microseconds; the poll is there for when it fails instead. */
	while ((word = atomic_load(h->word)) == 0)
		if (poll(&p, 1, 1) > 0 && atomic_load(h->word) == 0)
			return 0;
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)word - 1, 0);
	if (fd < 0)
		return err_sys(e, errno, "take the seccomp listener from the container's process");
	struct seccomp_filter f = SECCOMP_FILTER_INIT;
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT, agent = STRBUF_INIT;
	int r = agent_load(c->state_fd, &agent, &f, e);
	if (r <= 0 || !c->state_json)
		return r < 0 ? r : err_set(e, EINVAL, "no agent for the seccomp listener");
	r = c->state_json(c, pid == c->init_pid ? "creating" : "running", &state);
	if (r < 0)
		return err_sys(e, r, "state");
	if ((r = seccomp_notify_send(&f, fd, pidfd, pid, strbuf_str(&state), e)) < 0)
		return r;
	atomic_store(h->word, NS_HANDOVER_DONE);
	return 1;
}

int ns_watch(struct tier_container *c, int channel, pid_t pid, int pidfd, struct ns_handover *h, struct tier_stdio *io, struct err *e) {
	bool wanted = h && h->word;
	for (;;) {
		struct ns_message m;
		_cleanup_close_ int fd = -EBADF;
		_cleanup_err_ struct err inner = ERR_INIT;
		if (wanted) {
			int t = take(c, channel, pid, pidfd, h, e);
			if (t < 0)
				return t;
			wanted = t == 0;
		}
		int r = ns_recv(channel, &m, &fd, &inner);
		if (r == -ECONNRESET)
			return 0; /* close-on-exec: the user's program runs */
		if (r < 0) {
			err_move(e, &inner);
			return r;
		}
		if (m.type == NS_MSG_TERMINAL && fd >= 0 && io)
			io->terminal = TAKE_FD(fd);
		else
			return err_set(e, EPROTO, "unexpected message %u from the container's process", m.type);
	}
}

int ns_go(struct tier_container *c, int channel, pid_t pid, int pidfd, struct tier_stdio *io, struct err *e) {
	struct ns_handover h = NS_HANDOVER_NONE;
	int r = faccessat(c->state_fd, "ns.notify", F_OK, 0) == 0 ? ns_handover_new(&h, e) : 0;
	if (r < 0)
		return r;
	r = ns_send(channel, NS_MSG_GO, 0, NULL, h.fd);
	if (r == -EPIPE)
		r = err_set(e, ESRCH, "the container's process is gone");
	else if (r < 0)
		err_sys(e, r, "let the container's process go on");
	else
		r = ns_watch(c, channel, pid, pidfd, &h, io, e);
	ns_handover_close(&h);
	return r;
}

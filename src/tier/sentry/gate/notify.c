/*
 * Notifier: the one host call of the guest that needs a file descriptor (mmap of a file) is suspended by seccomp until this thread has compared
 * it with what the sentry granted. The arguments are registers, so nothing can change between the check and the kernel's own
 * reading of them (the usual objection to SECCOMP_USER_NOTIF_FLAG_CONTINUE is about memory behind pointers).
 *
 * New threads and processes identify themselves here too: the kernel supplies their pid, a 32-bit secret in the upper half of the fd argument (which
 * mmap ignores) tells which of the prepared tasks they are.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/gate/notify.h"
#include "tier/sentry/service.h"

struct grant {
	bool used;
	int kind, fd;
	struct task *task;
	uint32_t secret;
	uint64_t args[6];
};
enum { MAX_GRANTS = 512 /* clones and mmaps under way at once; more answer EAGAIN */, FD_BASE = 16 };
static struct grant grants[MAX_GRANTS];
static int listener = -EBADF;

struct grant *grant_new(struct task *t, int kind, int fd, const uint64_t args[6])
{
	static unsigned hint;
	for (unsigned n = 0; n < MAX_GRANTS; n++) {
		struct grant *g = &grants[hint++ % MAX_GRANTS];
		if (g->used)
			continue;
		*g = (struct grant){ .used = true, .kind = kind, .fd = fd, .task = t };
		if (getrandom(&g->secret, sizeof(g->secret), 0) != sizeof(g->secret))
			abort();
		if (!g->secret)
			g->secret = 1;
		if (args)
			memcpy(g->args, args, sizeof(g->args));
		return g;
	}
	return NULL;
}

uint64_t grant_cookie(const struct grant *g)
{
	return (uint64_t)g->secret << 32 | (uint64_t)(FD_BASE + (g - grants));
}

void grant_drop(struct grant *g)
{
	if (g)
		g->used = false;
}

static bool pid_is_new_process(int pid)
{
	struct host_as *as;
	list_for_each(as, &all_as, node)
		if (as->pid == pid && !as->gone)
			return false;
	return syscall(SYS_tgkill, pid, pid, 0) == 0; /* refuses a pid that is no thread-group leader */
}

static int check(const struct seccomp_notif *n, struct grant **ret)
{
	uint64_t cookie = n->data.args[4], i = (uint32_t)cookie - FD_BASE;
	if (i >= MAX_GRANTS || !grants[i].used || grants[i].secret != cookie >> 32)
		return -EPERM;
	struct grant *g = &grants[i];
	switch (g->kind) {
	case GRANT_THREAD:
		if (!g->task->as->pid)
			return -EPERM;
		break;
	case GRANT_VFORK:
	case GRANT_FORK:
		if (!pid_is_new_process((int)n->pid))
			return -EPERM;
		break;
	default:
		if (g->task->host_tid != (int)n->pid)
			return -EPERM;
		for (unsigned a = 0; a < 6; a++)
			if (a != 4 && g->args[a] != n->data.args[a])
				return -EPERM;
	}
	*ret = g;
	return 0;
}

static void answer(const struct seccomp_notif *n)
{
	struct seccomp_notif_resp resp = { .id = n->id };
	struct grant *g = NULL;
	resp.error = check(n, &g);
	if (g) {
		if (g->fd >= 0) {
			struct seccomp_notif_addfd add = { .id = n->id, .flags = SECCOMP_ADDFD_FLAG_SETFD, .srcfd = (uint32_t)g->fd,
				.newfd = (uint32_t)(FD_BASE + (g - grants)) };
			if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0)
				resp.error = -errno;
			else
				resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		}
		if (!resp.error && g->kind != GRANT_MMAP) {
			struct task *t = g->task;
			t->host_tid = (int)n->pid;
			if (g->kind != GRANT_THREAD) {
				t->as->pid = (int)n->pid;
				if (t->dying)
					as_kill(t->as);
			}
			t->grant = NULL;
			grant_drop(g);
		}
	}
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp); /* ENOENT: the caller died meanwhile */
}

static void *notifier(void *arg)
{
	(void)arg;
	for (;;) {
		struct seccomp_notif n = { 0 };
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			return NULL;
		}
		kernel_lock();
		answer(&n);
		kernel_unlock();
	}
}

void notifier_set(int fd) { listener = fd; }

int notifier_start(struct err *e)
{
	int rc = service_thread(notifier, NULL);
	if (rc)
		return err_sys(e, rc, "notifier thread");
	return 0;
}

void grants_drop_task(struct task *t)
{
	for (unsigned i = 0; i < MAX_GRANTS; i++)
		if (grants[i].used && grants[i].task == t)
			grants[i].used = false;
}

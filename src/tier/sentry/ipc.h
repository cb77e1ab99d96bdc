/* What the three kinds of System V IPC share: namespace, identifiers, permissions. */
#ifndef TIERCE_SENTRY_IPC_H
#define TIERCE_SENTRY_IPC_H

#include "base/str.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

enum {
	IPC_MAX = 32768,            /* indexes of a kind (IPCMNI of Linux); the limits below are what may exist at once */
	IPC_BYTES_MAX = 64 << 20,   /* all queued messages of the sandbox together: a loop must not fill the sentry */
	SEMVMX_ = 32767,
};

struct ipc_perm_k { int key, id; uint32_t uid, gid, cuid, cgid, mode; uint16_t seq; };
struct guest_ipc_perm { int32_t key; uint32_t uid, gid, cuid, cgid; uint16_t mode, pad1, seq, pad2; uint32_t pad3; uint64_t unused1, unused2; };
_Static_assert(sizeof(struct guest_ipc_perm) == 48, "struct ipc64_perm of x86-64");

/* Objects begin with their struct ipc_perm_k. Identifiers are sequence << 15 | index, as in Linux, so that a stale id of a removed object is EINVAL and not
 * somebody else's. */
struct ipc_table { struct ipc_perm_k **v; unsigned n, cap; uint16_t seq; int next_id; /* kernel.sem_next_id and the like; -1: none */ };
struct ipcns {
	unsigned refs;
	uint32_t inum;
	struct userns *user;
	struct ipc_table sem, msg, shm;
	int sem_ctls[4];            /* SEMMSL, SEMMNS, SEMOPM, SEMMNI */
	int msg_max, msg_mnb, msg_mni, shm_mni;
	uint64_t shm_max, shm_all, shm_pages;
};
static inline struct ipcns *ipc_of(const struct task *t) { return t->ns->ipc; }

int ipc_permission(const struct task *t, const struct ipc_perm_k *p, unsigned want);
bool ipc_owner(const struct task *t, const struct ipc_perm_k *p);
/* The object's id, or -ENOSPC, -ENOMEM. limit: how many may exist. */
int ipc_table_add(struct ipc_table *tb, struct ipc_perm_k *perm, unsigned limit);
struct ipc_perm_k *ipc_table_get(const struct ipc_table *tb, int id); /* NULL: -EINVAL */
/* By table index (SEM_STAT and the like). */
struct ipc_perm_k *ipc_table_at(const struct ipc_table *tb, int index);
int ipc_table_top(const struct ipc_table *tb); /* highest index in use, 0 when none */
void ipc_table_del(struct ipc_table *tb, const struct ipc_perm_k *perm);
/* xxxget() of something that exists: its id, or -EEXIST, -EACCES, *ret the object; 0 and *ret NULL: make it; -ENOENT. */
int ipc_find(struct task *t, const struct ipc_table *tb, int key, int flags, struct ipc_perm_k **ret);
void ipc_perm_init(struct task *t, struct ipc_perm_k *p, int key, unsigned mode);
void ipc_perm_out(const struct task *t, const struct ipc_perm_k *p, struct guest_ipc_perm *g);
/* IPC_SET. -EPERM, -EINVAL (ids that are not mapped). */
int ipc_perm_set(struct task *t, struct ipc_perm_k *p, const struct guest_ipc_perm *g);
static inline int64_t ipc_seconds(void) { return now_ns(CLOCK_REALTIME) / 1000000000; }

/* The last task of a namespace is gone. */
void sem_table_free(struct ipcns *n);
void msg_table_free(struct ipcns *n);
void shm_table_free(struct ipcns *n);
/* /proc/sysvipc. */
int sem_list(struct task *t, struct strbuf *b);
int msg_list(struct task *t, struct strbuf *b);
int shm_list(struct task *t, struct strbuf *b);

#endif

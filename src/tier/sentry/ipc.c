/* System V IPC: namespace, identifiers, permissions. */
#include "tier/sentry/ipc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>

int ipc_permission(const struct task *t, const struct ipc_perm_k *p, unsigned want)
{
	const struct cred *c = t->cred;
	unsigned mode = p->mode;
	if (c->euid == p->uid || c->euid == p->cuid)
		mode >>= 6;
	else if (c->egid == p->gid || c->egid == p->cgid || cred_in_group(c, p->gid) || cred_in_group(c, p->cgid))
		mode >>= 3;
	return (want & ~(mode & 7)) == 0 || ns_capable(t, ipc_of(t)->user, CAP_IPC_OWNER) ? 0 : -EACCES;
}

bool ipc_owner(const struct task *t, const struct ipc_perm_k *p)
{
	return t->cred->euid == p->uid || t->cred->euid == p->cuid || ns_capable(t, ipc_of(t)->user, CAP_SYS_ADMIN);
}

int ipc_table_add(struct ipc_table *tb, struct ipc_perm_k *perm, unsigned limit)
{
	unsigned i = 0;
	if (tb->n >= limit || tb->n >= IPC_MAX)
		return -ENOSPC;
	if (tb->next_id >= 0) { /* ipc(7): a wish that is kept when the index is free */
		unsigned want = (unsigned)tb->next_id % IPC_MAX;
		tb->seq = (uint16_t)((unsigned)tb->next_id / IPC_MAX);
		tb->next_id = -1;
		i = want < tb->cap && !tb->v[want] ? want : 0;
	}
	while (i < tb->cap && tb->v[i])
		i++;
	if (i == tb->cap) {
		unsigned cap = tb->cap ? tb->cap * 2 : 16;
		struct ipc_perm_k **v = realloc(tb->v, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		memset(v + tb->cap, 0, (cap - tb->cap) * sizeof(*v));
		tb->v = v;
		tb->cap = cap;
	}
	tb->v[i] = perm;
	tb->n++;
	perm->seq = tb->seq;
	tb->seq = (uint16_t)((tb->seq + 1) & 0x7fff);
	return perm->id = perm->seq * IPC_MAX + (int)i;
}

struct ipc_perm_k *ipc_table_at(const struct ipc_table *tb, int index)
{
	return index >= 0 && (unsigned)index < tb->cap ? tb->v[index] : NULL;
}

struct ipc_perm_k *ipc_table_get(const struct ipc_table *tb, int id)
{
	struct ipc_perm_k *p = id < 0 ? NULL : ipc_table_at(tb, id % IPC_MAX);
	return p && p->id == id ? p : NULL;
}

int ipc_table_top(const struct ipc_table *tb)
{
	for (unsigned i = tb->cap; i-- > 0;)
		if (tb->v[i])
			return (int)i;
	return 0;
}

void ipc_table_del(struct ipc_table *tb, const struct ipc_perm_k *perm)
{
	if (ipc_table_get(tb, perm->id) != perm)
		return;
	tb->v[perm->id % IPC_MAX] = NULL;
	tb->n--;
}

int ipc_find(struct task *t, const struct ipc_table *tb, int key, int flags, struct ipc_perm_k **ret)
{
	*ret = NULL;
	for (unsigned i = 0; key != IPC_PRIVATE && i < tb->cap; i++) {
		struct ipc_perm_k *p = tb->v[i];
		if (!p || p->key != key)
			continue;
		if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
			return -EEXIST;
		int rc = ipc_permission(t, p, ((unsigned)flags >> 6 | (unsigned)flags >> 3 | (unsigned)flags) & 7);
		if (rc)
			return rc;
		*ret = p;
		return p->id;
	}
	return key == IPC_PRIVATE || (flags & IPC_CREAT) ? 0 : -ENOENT;
}

void ipc_perm_init(struct task *t, struct ipc_perm_k *p, int key, unsigned mode)
{
	*p = (struct ipc_perm_k){ .key = key, .uid = t->cred->euid, .gid = t->cred->egid, .cuid = t->cred->euid, .cgid = t->cred->egid, .mode = mode & 0777 };
}

void ipc_perm_out(const struct task *t, const struct ipc_perm_k *p, struct guest_ipc_perm *g)
{
	*g = (struct guest_ipc_perm){ .key = p->key, .uid = uid_shown(t, p->uid), .gid = gid_shown(t, p->gid), .cuid = uid_shown(t, p->cuid),
		.cgid = gid_shown(t, p->cgid), .mode = (uint16_t)p->mode, .seq = p->seq };
}

int ipc_perm_set(struct task *t, struct ipc_perm_k *p, const struct guest_ipc_perm *g)
{
	uint32_t uid = ns_from_uid(t->cred->user, g->uid), gid = ns_from_gid(t->cred->user, g->gid);
	if (!ipc_owner(t, p))
		return -EPERM;
	if (uid == NO_ID || gid == NO_ID)
		return -EINVAL;
	p->uid = uid;
	p->gid = gid;
	p->mode = (p->mode & ~0777u) | (g->mode & 0777);
	return 0;
}

/* ---- namespace ------------------------------------------------------------------------------------------------------------- */

struct ipcns *ipcns_new(struct userns *user)
{
	struct ipcns *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	/* defaults of ipc/util.h and include/uapi/linux/{sem,msg,shm}.h */
	*n = (struct ipcns){ .refs = 1, .inum = user == &init_userns && !user->parent ? 0xefffffffu : ns_inum(), .user = userns_get(user),
		.sem = { .next_id = -1 }, .msg = { .next_id = -1 }, .shm = { .next_id = -1 }, .sem_ctls = { 32000, 1024000000, 500, 32000 },
		.msg_max = 8192, .msg_mnb = 16384, .msg_mni = 32000, .shm_mni = 4096, .shm_max = 18446744073692774399ull, .shm_all = 18446744073692774399ull };
	static bool first_made;
	if (first_made)
		n->inum = ns_inum();
	first_made = true;
	return n;
}

struct ipcns *ipcns_get(struct ipcns *n)
{
	n->refs++;
	return n;
}

uint32_t ipcns_inum(const struct ipcns *n) { return n->inum; }
struct userns *ipcns_user(const struct ipcns *n) { return n->user; }

void ipcns_put(struct ipcns *n)
{
	if (--n->refs)
		return;
	sem_table_free(n);
	msg_table_free(n);
	shm_table_free(n);
	free(n->sem.v);
	free(n->msg.v);
	free(n->shm.v);
	userns_put(n->user);
	free(n);
}

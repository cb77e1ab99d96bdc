/* Identity: uids, gids, groups, capabilities. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

#define ID(name, show, field) long sys_##name(struct task *t, const uint64_t *a) { (void)a; return show(t, t->cred->field); }
ID(getuid, uid_shown, uid)
ID(geteuid, uid_shown, euid)
ID(getgid, gid_shown, gid)
ID(getegid, gid_shown, egid)

/* What the guest gives to a global id; an id that its namespace does not map is NO_ID, like -1. */
static uint32_t uid_in(const struct task *t, uint64_t v) { return ns_from_uid(t->cred->user, (uint32_t)v); }
static uint32_t gid_in(const struct task *t, uint64_t v) { return ns_from_gid(t->cred->user, (uint32_t)v); }
/* Given, but not mapped. */
static bool stray(uint64_t v, uint32_t id) { return (uint32_t)v != NO_ID && id == NO_ID; }

/* Capabilities when user ids change (capabilities(7), "Effect of user ID changes"). */
static void fix_caps(const struct cred *o, struct cred *c)
{
	const uint32_t root = ns_from_uid(c->user, 0);
	bool root_before = o->uid == root || o->euid == root || o->suid == root, root_now = c->uid == root || c->euid == root || c->suid == root;
	if (c->securebits & 4) /* NO_SETUID_FIXUP */
		return;
	if (root_before && !root_now) {
		if (!(c->securebits & 16)) { /* KEEP_CAPS */
			c->cap_permitted = 0;
			c->cap_effective = 0;
		}
		c->cap_ambient = 0;
	}
	if (o->euid == root && c->euid != root)
		c->cap_effective = 0;
	if (o->euid != root && c->euid == root)
		c->cap_effective = c->cap_permitted;
}

static void fix_fs_caps(const struct cred *o, struct cred *c)
{
	const uint64_t fs = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH | 1ull << CAP_FOWNER | 1ull << CAP_FSETID |
		1ull << CAP_LINUX_IMMUTABLE | 1ull << CAP_MKNOD | 1ull << CAP_MAC_OVERRIDE;
	if (c->securebits & 4)
		return;
	const uint32_t root = ns_from_uid(c->user, 0);
	if (o->fsuid == root && c->fsuid != root)
		c->cap_effective &= ~fs;
	if (o->fsuid != root && c->fsuid == root)
		c->cap_effective |= c->cap_permitted & fs;
}

static long install(struct task *t, struct cred *c)
{
	fix_caps(t->cred, c);
	if (t->cred->euid != c->euid || t->cred->egid != c->egid)
		t->proc->dumpable = false;
	cred_install(t, c);
	return 0;
}

#define NONE NO_ID

long sys_setuid(struct task *t, const uint64_t *a)
{
	uint32_t id = uid_in(t, a[0]);
	struct cred *c = cred_dup(t->cred);
	if (!c)
		return -ENOMEM;
	if (id == NONE || (!ns_capable_here(t, CAP_SETUID) && id != c->uid && id != c->suid)) {
		cred_put(c);
		return id == NONE ? -EINVAL : -EPERM;
	}
	if (ns_capable_here(t, CAP_SETUID))
		c->uid = c->suid = id;
	c->euid = c->fsuid = id;
	return install(t, c);
}

long sys_setgid(struct task *t, const uint64_t *a)
{
	uint32_t id = gid_in(t, a[0]);
	struct cred *c = cred_dup(t->cred);
	if (!c)
		return -ENOMEM;
	if (id == NONE || (!ns_capable_here(t, CAP_SETGID) && id != c->gid && id != c->sgid)) {
		cred_put(c);
		return id == NONE ? -EINVAL : -EPERM;
	}
	if (ns_capable_here(t, CAP_SETGID))
		c->gid = c->sgid = id;
	c->egid = c->fsgid = id;
	return install(t, c);
}

long sys_setresuid(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint32_t v[3] = { uid_in(t, a[0]), uid_in(t, a[1]), uid_in(t, a[2]) };
	if (stray(a[0], v[0]) || stray(a[1], v[1]) || stray(a[2], v[2]))
		return -EINVAL;
	for (unsigned i = 0; i < 3; i++)
		if (v[i] != NONE && !ns_capable_here(t, CAP_SETUID) && v[i] != o->uid && v[i] != o->euid && v[i] != o->suid)
			return -EPERM;
	struct cred *c = cred_dup(o);
	if (!c)
		return -ENOMEM;
	if (v[0] != NONE)
		c->uid = v[0];
	if (v[1] != NONE)
		c->euid = v[1];
	if (v[2] != NONE)
		c->suid = v[2];
	c->fsuid = c->euid;
	return install(t, c);
}

long sys_setresgid(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint32_t v[3] = { gid_in(t, a[0]), gid_in(t, a[1]), gid_in(t, a[2]) };
	if (stray(a[0], v[0]) || stray(a[1], v[1]) || stray(a[2], v[2]))
		return -EINVAL;
	for (unsigned i = 0; i < 3; i++)
		if (v[i] != NONE && !ns_capable_here(t, CAP_SETGID) && v[i] != o->gid && v[i] != o->egid && v[i] != o->sgid)
			return -EPERM;
	struct cred *c = cred_dup(o);
	if (!c)
		return -ENOMEM;
	if (v[0] != NONE)
		c->gid = v[0];
	if (v[1] != NONE)
		c->egid = v[1];
	if (v[2] != NONE)
		c->sgid = v[2];
	c->fsgid = c->egid;
	return install(t, c);
}

long sys_setreuid(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint32_t r = uid_in(t, a[0]), e = uid_in(t, a[1]);
	if (stray(a[0], r) || stray(a[1], e))
		return -EINVAL;
	bool cap = ns_capable_here(t, CAP_SETUID);
	if (r != NONE && !cap && r != o->uid && r != o->euid)
		return -EPERM;
	if (e != NONE && !cap && e != o->uid && e != o->euid && e != o->suid)
		return -EPERM;
	struct cred *c = cred_dup(o);
	if (!c)
		return -ENOMEM;
	if (r != NONE)
		c->uid = r;
	if (e != NONE)
		c->euid = e;
	if (r != NONE || (e != NONE && e != o->uid))
		c->suid = c->euid;
	c->fsuid = c->euid;
	return install(t, c);
}

long sys_setregid(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint32_t r = gid_in(t, a[0]), e = gid_in(t, a[1]);
	if (stray(a[0], r) || stray(a[1], e))
		return -EINVAL;
	bool cap = ns_capable_here(t, CAP_SETGID);
	if (r != NONE && !cap && r != o->gid && r != o->egid)
		return -EPERM;
	if (e != NONE && !cap && e != o->gid && e != o->egid && e != o->sgid)
		return -EPERM;
	struct cred *c = cred_dup(o);
	if (!c)
		return -ENOMEM;
	if (r != NONE)
		c->gid = r;
	if (e != NONE)
		c->egid = e;
	if (r != NONE || (e != NONE && e != o->gid))
		c->sgid = c->egid;
	c->fsgid = c->egid;
	return install(t, c);
}

static long three(struct task *t, const uint64_t *a, uint32_t x, uint32_t y, uint32_t z)
{
	return copyout(t, a[0], &x, 4) < 0 || copyout(t, a[1], &y, 4) < 0 || copyout(t, a[2], &z, 4) < 0 ? -EFAULT : 0;
}
long sys_getresuid(struct task *t, const uint64_t *a) { return three(t, a, uid_shown(t, t->cred->uid), uid_shown(t, t->cred->euid), uid_shown(t, t->cred->suid)); }
long sys_getresgid(struct task *t, const uint64_t *a) { return three(t, a, gid_shown(t, t->cred->gid), gid_shown(t, t->cred->egid), gid_shown(t, t->cred->sgid)); }

long sys_setfsuid(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint32_t id = uid_in(t, a[0]), old = uid_shown(t, o->fsuid);
	struct cred *c;
	if (id == NONE || (!ns_capable_here(t, CAP_SETUID) && id != o->uid && id != o->euid && id != o->suid && id != o->fsuid) || !(c = cred_dup(o)))
		return old;
	c->fsuid = id;
	fix_fs_caps(o, c);
	cred_install(t, c);
	return old;
}

long sys_setfsgid(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint32_t id = gid_in(t, a[0]), old = gid_shown(t, o->fsgid);
	struct cred *c;
	if (id == NONE || (!ns_capable_here(t, CAP_SETGID) && id != o->gid && id != o->egid && id != o->sgid && id != o->fsgid) || !(c = cred_dup(o)))
		return old;
	c->fsgid = id;
	cred_install(t, c);
	return old;
}

long sys_getgroups(struct task *t, const uint64_t *a)
{
	int n = (int)a[0];
	if (n < 0)
		return -EINVAL;
	if (!n)
		return t->cred->n_groups;
	if ((uint32_t)n < t->cred->n_groups)
		return -EINVAL;
	for (uint32_t i = 0; i < t->cred->n_groups; i++) {
		uint32_t g = gid_shown(t, t->cred->groups[i]);
		if (copyout(t, a[1] + 4ull * i, &g, 4) < 0)
			return -EFAULT;
	}
	return t->cred->n_groups;
}

/* Heap sort: qsort() asks for the machine's memory when there is much to sort, a call that the filter does not know. */
static void sort_groups(uint32_t *g, uint64_t n)
{
	for (uint64_t end = n, root = n / 2; end > 1;) {
		if (root) {
			root--;
		} else {
			uint32_t last = g[--end];
			g[end] = g[0];
			g[0] = last;
		}
		for (uint64_t i = root, c; (c = 2 * i + 1) < end; i = c) {
			c += c + 1 < end && g[c + 1] > g[c];
			if (g[i] >= g[c])
				break;
			uint32_t v = g[i];
			g[i] = g[c];
			g[c] = v;
		}
	}
}

long sys_setgroups(struct task *t, const uint64_t *a)
{
	uint64_t n = (uint32_t)a[0];
	if (!ns_capable_here(t, CAP_SETGID) || t->cred->user->setgroups_denied || (t->cred->user->parent && !t->cred->user->gid.n))
		return -EPERM;
	if (n > NGROUPS_MAX_)
		return -EINVAL;
	uint32_t *g = calloc(n ? n : 1, 4);
	struct cred *c = g ? cred_dup(t->cred) : NULL;
	if (!c) {
		free(g);
		return -ENOMEM;
	}
	if (copyin(t, g, a[1], 4 * n) < 0) {
		free(g);
		cred_put(c);
		return -EFAULT;
	}
	for (uint64_t i = 0; i < n; i++)
		if ((g[i] = gid_in(t, g[i])) == NO_ID) {
			free(g);
			cred_put(c);
			return -EINVAL;
		}
	sort_groups(g, n); /* Linux sorts too */
	free(c->groups);
	c->groups = g;
	c->n_groups = (uint32_t)n;
	cred_install(t, c);
	return 0;
}

/* ---- capabilities ------------------------------------------------------------------------------------------------------- */

static int cap_words(struct task *t, uint64_t hdr, int *ret_pid)
{
	struct { uint32_t version; int pid; } h;
	if (copyin(t, &h, hdr, sizeof(h)) < 0)
		return -EFAULT;
	*ret_pid = h.pid;
	switch (h.version) {
	case _LINUX_CAPABILITY_VERSION_1: return 1;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3: return 2;
	}
	h.version = _LINUX_CAPABILITY_VERSION_3;
	return copyout(t, hdr, &h.version, 4) < 0 ? -EFAULT : 0;
}

long sys_capget(struct task *t, const uint64_t *a)
{
	struct { uint32_t eff, perm, inh; } d[2];
	int pid, words = cap_words(t, a[0], &pid);
	if (words <= 0)
		return words < 0 ? words : a[1] ? -EINVAL : 0;
	if (pid < 0)
		return -EINVAL;
	const struct task *o = pid ? task_by_tid(pid) : t;
	if (!o)
		return -ESRCH;
	if (!a[1])
		return 0;
	for (int i = 0; i < words; i++) {
		d[i].eff = (uint32_t)(o->cred->cap_effective >> 32 * i);
		d[i].perm = (uint32_t)(o->cred->cap_permitted >> 32 * i);
		d[i].inh = (uint32_t)(o->cred->cap_inheritable >> 32 * i);
	}
	return copyout(t, a[1], d, 12u * (unsigned)words);
}

long sys_capset(struct task *t, const uint64_t *a)
{
	struct { uint32_t eff, perm, inh; } d[2] = { 0 };
	const struct cred *o = t->cred;
	int pid, words = cap_words(t, a[0], &pid);
	if (words <= 0)
		return words < 0 ? words : -EINVAL;
	if (pid && pid != t->tid)
		return -EPERM;
	if (copyin(t, d, a[1], 12u * (unsigned)words) < 0)
		return -EFAULT;
	uint64_t e = d[0].eff | (uint64_t)d[1].eff << 32, p = d[0].perm | (uint64_t)d[1].perm << 32, i = d[0].inh | (uint64_t)d[1].inh << 32;
	e &= CAP_ALL_, p &= CAP_ALL_, i &= CAP_ALL_;
	if (p & ~o->cap_permitted || e & ~p)
		return -EPERM;
	if (i & ~(o->cap_inheritable | o->cap_permitted) && !ns_capable_here(t, CAP_SETPCAP))
		return -EPERM;
	if (i & ~(o->cap_inheritable | o->cap_bounding))
		return -EPERM;
	struct cred *c = cred_dup(o);
	if (!c)
		return -ENOMEM;
	c->cap_effective = e;
	c->cap_permitted = p;
	c->cap_inheritable = i;
	c->cap_ambient &= p & i;
	cred_install(t, c);
	return 0;
}

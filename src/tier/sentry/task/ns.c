/* User namespaces (id maps, capabilities over them) and the set of namespaces of a task. */
#include "tier/sentry/task/ns.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/task/task.h"

/* Numbers as Linux's first namespaces have them (include/linux/proc_ns.h); later ones count up from there. */
struct userns init_userns = { .refs = 1, .inum = 0xeffffffdu };
static uint32_t next_inum = 0xf0000100u;

uint32_t ns_inum(void) { return next_inum++; }

struct userns *userns_get(struct userns *u)
{
	u->refs++;
	return u;
}

void userns_put(struct userns *u)
{
	while (u && --u->refs == 0) {
		struct userns *parent = u->parent;
		free(u->uid.v);
		free(u->gid.v);
		free(u);
		u = parent;
	}
}

static uint32_t map_down(const struct userns *u, const struct idmap *m, uint32_t id)
{
	if (!u->parent)
		return id;
	for (unsigned i = 0; i < m->n; i++)
		if (id - m->v[i].first < m->v[i].count && id >= m->v[i].first)
			return m->v[i].lower + (id - m->v[i].first);
	return NO_ID;
}

static uint32_t map_up(const struct userns *u, const struct idmap *m, uint32_t id)
{
	if (!u->parent)
		return id;
	for (unsigned i = 0; i < m->n; i++)
		if (id >= m->v[i].lower && id - m->v[i].lower < m->v[i].count)
			return m->v[i].first + (id - m->v[i].lower);
	return NO_ID;
}

uint32_t ns_from_uid(const struct userns *u, uint32_t id) { return map_down(u, &u->uid, id); }
uint32_t ns_from_gid(const struct userns *u, uint32_t id) { return map_down(u, &u->gid, id); }
uint32_t ns_to_uid(const struct userns *u, uint32_t id) { return map_up(u, &u->uid, id); }
uint32_t ns_to_gid(const struct userns *u, uint32_t id) { return map_up(u, &u->gid, id); }

uint32_t uid_shown(const struct task *t, uint32_t id)
{
	uint32_t v = ns_to_uid(t->cred->user, id);
	return v == NO_ID ? OVERFLOW_ID : v;
}

uint32_t gid_shown(const struct task *t, uint32_t id)
{
	uint32_t v = ns_to_gid(t->cred->user, id);
	return v == NO_ID ? OVERFLOW_ID : v;
}

/* capabilities(7) and user_namespaces(7): a capability counts in its own namespace and in all below; the maker of a namespace who sits in its parent
 * has all of them over it. */
static bool cred_over(const struct cred *c, const struct userns *u, unsigned cap)
{
	for (;; u = u->parent) {
		if (u == c->user)
			return cred_cap(c, cap);
		if (u->level <= c->user->level)
			return false;
		if (u->parent == c->user && u->owner == c->euid)
			return true;
	}
}

bool ns_capable(const struct task *t, const struct userns *u, unsigned cap) { return cred_over(t->cred, u, cap); }
bool ns_capable_here(const struct task *t, unsigned cap) { return cred_cap(t->cred, cap); }

bool capable_over(const struct task *t, unsigned cap, uint32_t uid, uint32_t gid)
{
	const struct userns *u = t->cred->user;
	return cred_cap(t->cred, cap) && ns_to_uid(u, uid) != NO_ID && ns_to_gid(u, gid) != NO_ID;
}

int userns_create(struct task *t, struct cred *c)
{
	struct userns *p = c->user, *u;
	if (p->level >= USERNS_DEPTH)
		return -ENOSPC;
	if (t->fs->root.d != t->fs->ns->root->root || t->fs->root.mnt != t->fs->ns->root) /* chroot must not be left through a new namespace */
		return -EPERM;
	if (ns_to_uid(p, c->euid) == NO_ID || ns_to_gid(p, c->egid) == NO_ID)
		return -EPERM;
	if (!(u = calloc(1, sizeof(*u))))
		return -ENOMEM;
	*u = (struct userns){ .refs = 1, .parent = p, .owner = c->euid, .group = c->egid, .inum = ns_inum(), .level = p->level + 1,
		.setgroups_denied = p->setgroups_denied, .parent_had_setfcap = cred_cap(c, CAP_SETFCAP) };
	c->user = u; /* the reference to p moves into u->parent */
	c->securebits = 0;
	c->cap_inheritable = c->cap_ambient = 0;
	c->cap_permitted = c->cap_effective = c->cap_bounding = CAP_ALL_;
	return 0;
}

/* ---- maps in /proc ------------------------------------------------------------------------------------------------------ */

int idmap_show(const struct task *reader, const struct userns *u, bool gid, struct strbuf *b)
{
	const struct userns *view = reader->cred->user == u && u->parent ? u->parent : reader->cred->user;
	const struct idmap *m = gid ? &u->gid : &u->uid;
	if (!u->parent)
		return strbuf_printf(b, "%10u %10u %10u\n", 0u, 0u, 4294967295u);
	for (unsigned i = 0; i < m->n; i++)
		strbuf_printf(b, "%10u %10u %10u\n", m->v[i].first, gid ? ns_to_gid(view, m->v[i].lower) : ns_to_uid(view, m->v[i].lower), m->v[i].count);
	return 0;
}

static bool overlap(const struct idmap *m, const struct id_extent *e)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct id_extent *o = &m->v[i];
		if ((e->first <= o->first + (o->count - 1) && o->first <= e->first + (e->count - 1)) ||
		    (e->lower <= o->lower + (o->count - 1) && o->lower <= e->lower + (e->count - 1)))
			return true;
	}
	return false;
}

static int parse_map(const char *s, struct idmap *m)
{
	while (*s) {
		struct id_extent e;
		char *end;
		uint64_t v[3];
		for (unsigned i = 0; i < 3; i++) {
			s += strspn(s, " \t");
			if (*s < '0' || *s > '9')
				return -EINVAL;
			v[i] = strtoull(s, &end, 10);
			s = end;
			if (v[i] > UINT32_MAX)
				return -EINVAL;
		}
		s += strspn(s, " \t");
		if (*s && *s != '\n')
			return -EINVAL;
		s += *s == '\n';
		e = (struct id_extent){ (uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2] };
		if (!e.count || e.first == NO_ID || e.lower == NO_ID || e.first + e.count <= e.first || e.lower + e.count <= e.lower || overlap(m, &e) || m->n == IDMAP_EXTENTS)
			return -EINVAL;
		m->v[m->n++] = e;
	}
	return m->n ? 0 : -EINVAL;
}

/* user_namespaces(7), "Defining user and group ID mappings"; the id 0 of the parent needs CAP_SETFCAP there (Linux 5.12). */
static bool map_permitted(const struct task *w, const struct userns *u, bool gid, const struct idmap *m)
{
	const struct cred *c = w->cred;
	const struct userns *p = u->parent;
	for (unsigned i = 0; i < m->n; i++)
		if (!gid && m->v[i].lower == 0 && !(c->user == u ? u->parent_had_setfcap : ns_capable(w, p, CAP_SETFCAP)))
			return false;
	if (m->n == 1 && m->v[0].count == 1 && u->owner == c->euid) {
		uint32_t id = gid ? ns_from_gid(p, m->v[0].lower) : ns_from_uid(p, m->v[0].lower);
		if (!gid && id == c->euid)
			return true;
		if (gid && id == c->egid && u->setgroups_denied)
			return true;
	}
	return ns_capable(w, p, gid ? CAP_SETGID : CAP_SETUID);
}

ssize_t idmap_store(struct task *w, struct userns *u, bool gid, const char *buf, size_t n)
{
	struct idmap *dst = gid ? &u->gid : &u->uid, m = { 0, calloc(IDMAP_EXTENTS, sizeof(*m.v)) };
	int rc = m.v ? 0 : -ENOMEM;
	if (!rc && (!u->parent || dst->n || (w->cred->user != u && w->cred->user != u->parent) || !ns_capable(w, u, CAP_SYS_ADMIN)))
		rc = -EPERM;
	if (!rc && !(rc = parse_map(buf, &m)) && !map_permitted(w, u, gid, &m))
		rc = -EPERM;
	for (unsigned i = 0; !rc && i < m.n; i++) {
		uint32_t first = m.v[i].lower, last = first + (m.v[i].count - 1);
		uint32_t lo = gid ? ns_from_gid(u->parent, first) : ns_from_uid(u->parent, first), hi = gid ? ns_from_gid(u->parent, last) : ns_from_uid(u->parent, last);
		if (lo == NO_ID || hi == NO_ID || hi - lo != last - first)
			rc = -EPERM;
		m.v[i].lower = lo;
	}
	if (rc) {
		free(m.v);
		return rc;
	}
	*dst = m;
	for (struct process *p = process_next(0); p; p = process_next(p->pid)) {
		struct task *o;
		list_for_each(o, &p->threads, thread_node)
			if (o->cred->user == u)
				gate_unpublish(o);
	}
	return (ssize_t)n;
}

ssize_t setgroups_store(struct task *w, struct userns *u, const char *buf, size_t n)
{
	size_t k = strcspn(buf, "\n");
	bool allow = k == 5 && !strncmp(buf, "allow", 5), deny = k == 4 && !strncmp(buf, "deny", 4);
	if (!ns_capable(w, u, CAP_SYS_ADMIN))
		return -EPERM;
	if (!allow && !deny)
		return -EINVAL;
	if (allow && u->setgroups_denied)
		return -EPERM;
	if (deny && (!u->parent || u->gid.n))
		return -EPERM;
	u->setgroups_denied = deny;
	return (ssize_t)n;
}

/* ---- the set of a task ---------------------------------------------------------------------------------------------------- */

static struct utsns *uts_new(const struct utsns *from, struct userns *user, uint32_t inum)
{
	struct utsns *u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	*u = (struct utsns){ .refs = 1, .inum = inum, .user = userns_get(user) };
	if (from) {
		memcpy(u->nodename, from->nodename, sizeof(u->nodename));
		memcpy(u->domainname, from->domainname, sizeof(u->domainname));
	}
	return u;
}

static struct cgroupns *cgroupns_new(struct userns *user, uint32_t inum)
{
	struct cgroupns *c = calloc(1, sizeof(*c));
	if (c)
		*c = (struct cgroupns){ 1, inum, userns_get(user) };
	return c;
}

struct nsproxy *nsproxy_get(struct nsproxy *n)
{
	n->refs++;
	return n;
}

void nsproxy_put(struct nsproxy *n)
{
	if (!n || --n->refs)
		return;
	if (n->uts && --n->uts->refs == 0) {
		userns_put(n->uts->user);
		free(n->uts);
	}
	if (n->cgroup && --n->cgroup->refs == 0) {
		userns_put(n->cgroup->user);
		free(n->cgroup);
	}
	if (n->ipc)
		ipcns_put(n->ipc);
	free(n);
}

struct nsproxy *nsproxy_copy(struct nsproxy *o, uint64_t flags, struct userns *user)
{
	struct nsproxy *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->refs = 1;
	if ((n->uts = flags & CLONE_NEWUTS ? uts_new(o->uts, user, ns_inum()) : o->uts) == o->uts)
		o->uts->refs++;
	if ((n->cgroup = flags & CLONE_NEWCGROUP ? cgroupns_new(user, ns_inum()) : o->cgroup) == o->cgroup)
		o->cgroup->refs++;
	n->ipc = flags & CLONE_NEWIPC ? ipcns_new(user) : ipcns_get(o->ipc);
	if (!n->uts || !n->cgroup || !n->ipc) {
		nsproxy_put(n);
		return NULL;
	}
	return n;
}

struct nsproxy *nsproxy_first(void)
{
	static struct nsproxy first = { .refs = 1 };
	if (!first.uts) {
		first.uts = uts_new(NULL, &init_userns, 0xeffffffeu);
		first.cgroup = cgroupns_new(&init_userns, 0xeffffffbu);
		first.ipc = ipcns_new(&init_userns);
		if (!first.uts || !first.cgroup || !first.ipc)
			abort(); /* at start, before any guest runs */
		memcpy(first.uts->nodename, K.uts.nodename, sizeof(K.uts.nodename));
		memcpy(first.uts->domainname, K.uts.domainname, sizeof(K.uts.domainname));
	}
	return &first;
}

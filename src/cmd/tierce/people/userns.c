/* --userns: which user namespace a container gets, and so who owns its files. See people.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>

#include "cmd/tierce/people/people.h"
#include "cmd/tierce/people/rootless.h"
#include "confine/mount.h"
#include "store/snapshot.h"
#include "sys/userns.h"

/* The range that --userns=auto of root is taken from belongs to this name (podman's convention as well). */
static const char auto_owner[] = "containers";
enum { AUTO_ROOT = 65536, AUTO_USER = 4096, AUTO_MIN = 1, SLOTS_MAX = 4096 }; /* ids of a namespace by default: a user has only 65536 in all */

static int oom(struct err *e) {
	return err_sys(e, -ENOMEM, "plan the user namespace");
}

static int map_words(struct arena *a, const char *option, const struct opt_list *l, struct oci_id_map **ret, size_t *n, struct err *e) {
	struct oci_id_map *v = arena_array(a, l->n + 1, struct oci_id_map);
	if (!v)
		return oom(e);
	for (size_t i = 0; i < l->n; i++) {
		unsigned c, h, s = 1;
		if (sscanf(l->v[i], "%u:%u:%u", &c, &h, &s) < 2 || !s)
			return err_set(e, -EINVAL, "%s \"%s\" is not CONTAINER:HOST:SIZE", option, l->v[i]);
		v[i] = (struct oci_id_map){ c, h, s };
	}
	*ret = v;
	*n = l->n;
	return 0;
}

static int one_map(struct arena *a, struct userns_plan *ret, struct oci_id_map uids, struct oci_id_map gids, struct err *e) {
	struct oci_id_map *m = arena_array(a, 2, struct oci_id_map);
	if (!m)
		return oom(e);
	m[0] = uids;
	m[1] = gids;
	ret->own = true;
	ret->uids = (struct oci_id_maps){ &m[0], 1 };
	ret->gids = (struct oci_id_maps){ &m[1], 1 };
	return 0;
}

/* ---- auto: ranges are links DATA/userns-FIRST-SIZE -> container id, given out under a lock ----------------------------------------- */

struct slot { uint32_t first, size; };

static size_t taken_slots(struct pctr *c, struct slot *v, struct slot *own) {
	DIR *d = opendir(c->p->data_dir);
	size_t n = 0;
	for (struct dirent *ent; d && n < SLOTS_MAX && (ent = readdir(d));) {
		char holder[80], path[4096];
		struct slot s;
		struct pctr *other;
		if (sscanf(ent->d_name, "userns-%u-%u", &s.first, &s.size) != 2)
			continue;
		snprintf(path, sizeof(path), "%s/%.60s", c->p->data_dir, ent->d_name);
		ssize_t len = readlink(path, holder, sizeof(holder) - 1);
		holder[len > 0 ? len : 0] = '\0';
		if (streq(holder, c->id))
			*own = s;
		else if (pctr_find(c->p, holder, &other, NULL) < 0)
			unlink(path);
		else
			v[n++] = s;
	}
	if (d)
		closedir(d);
	return n;
}

/* The lowest range that overlaps none; it is the container's for life. */
static int take_slot(struct pctr *c, uint32_t first, uint32_t count, uint32_t size, uint32_t *ret, struct err *e) {
	struct slot *taken = arena_array(&c->p->arena, SLOTS_MAX, struct slot), own = { 0 };
	char path[4096];
	snprintf(path, sizeof(path), "%s/userns.lock", c->p->data_dir);
	_cleanup_close_ int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (!taken || lock < 0 || flock(lock, LOCK_EX) < 0)
		return err_sys(e, errno, "lock %s", path);
	size_t n = taken_slots(c, taken, &own);
	if (own.size == size && own.first >= first && own.first - first <= count - size) {
		*ret = own.first;
		return 0;
	}
	for (uint32_t at = first; at - first <= count - size;) {
		uint32_t next = at;
		for (size_t i = 0; i < n; i++)
			if (at < taken[i].first + taken[i].size && taken[i].first < at + size)
				next = MAX(next, taken[i].first + taken[i].size);
		if (next != at) {
			at = next;
			continue;
		}
		snprintf(path, sizeof(path), "%s/userns-%u-%u", c->p->data_dir, at, size);
		if (symlink(c->id, path) < 0)
			return err_sys(e, errno, "make %s", path);
		*ret = at;
		return 0;
	}
	return err_set(e, -ENOSPC, "--userns auto: no %u ids in a row are left of the %u; give auto:size=N, or remove containers", size, count);
}

static int plan_auto(struct pctr *c, const char *options, struct userns_plan *ret, struct err *e) {
	uint32_t first = 1, count = 0, gfirst = 1, gcount = 0, size = c->p->rootless ? AUTO_USER : AUTO_ROOT, at;
	char *copy = arena_strdup(&c->p->arena, options ? options : "");
	for (char *save = NULL, *w = copy ? strtok_r(copy, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save))
		if (!str_has_prefix(w, "size=") || parse_u32(w + 5, &size) < 0 || size < AUTO_MIN)
			return err_set(e, -EINVAL, "--userns auto: \"%s\" is not size=N", w);
	int r = 0;
	if (c->p->rootless) {
		/* Inside the user's own namespace the subordinate ids are 1 and up. */
		while (count < UINT16_MAX + 1u && outer_id("uid_map", count + 1) != (uint32_t)-1)
			count += 1;
		while (gcount < UINT16_MAX + 1u && outer_id("gid_map", gcount + 1) != (uint32_t)-1)
			gcount += 1;
		if (!count || !gcount)
			r = err_set(e, -ENOENT, "--userns auto needs subordinate ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER (and newuidmap)");
	} else if ((r = rootless_range("/etc/subuid", auto_owner, UINT32_MAX, &first, &count, e)) == 0) {
		r = rootless_range("/etc/subgid", auto_owner, UINT32_MAX, &gfirst, &gcount, e);
	}
	if (r < 0)
		return r;
	if (size > count || size > gcount)
		return err_set(e, -EINVAL, "--userns auto: size %u does not fit into the %u subordinate ids", size, MIN(count, gcount));
	r = take_slot(c, first, MIN(count, gcount), size, &at, e);
	return r < 0 ? r : one_map(&c->p->arena, ret, (struct oci_id_map){ 0, at, size }, (struct oci_id_map){ 0, gfirst + (at - first), size }, e);
}

/* ---- keep-id, nomap: an ordinary user's ---------------------------------------------------------------------------------------------- */

static uint32_t mapped_ids(const char *map) {
	uint32_t n = 0;
	while (n < UINT16_MAX + 1u && outer_id(map, n + 1) != (uint32_t)-1)
		n++;
	return n;
}

/* The user (0 in the namespace of all commands) is `id` inside; the subordinate ids (1 and up) fill the rest in order. */
static size_t keep_one(struct oci_id_map *m, uint32_t id, uint32_t subordinate) {
	size_t n = 0;
	uint32_t below = MIN(id, subordinate);
	if (below)
		m[n++] = (struct oci_id_map){ 0, 1, below };
	m[n++] = (struct oci_id_map){ id, 0, 1 };
	if (subordinate > below)
		m[n++] = (struct oci_id_map){ id + 1, below + 1, subordinate - below };
	return n;
}

static int plan_keep_id(struct pctr *c, const char *options, struct userns_plan *ret, struct err *e) {
	uint32_t uid = rootless_uid(), gid = rootless_gid();
	char *copy = arena_strdup(&c->p->arena, options ? options : "");
	if (!c->p->rootless)
		return err_set(e, -EINVAL, "--userns keep-id is for ordinary users");
	for (char *save = NULL, *w = copy ? strtok_r(copy, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save))
		if ((!str_has_prefix(w, "uid=") || parse_u32(w + 4, &uid) < 0) && (!str_has_prefix(w, "gid=") || parse_u32(w + 4, &gid) < 0))
			return err_set(e, -EINVAL, "--userns keep-id: \"%s\" is neither uid=N nor gid=N", w);
	struct oci_id_map *m = arena_array(&c->p->arena, 6, struct oci_id_map);
	if (!m)
		return oom(e);
	ret->own = true;
	ret->uids = (struct oci_id_maps){ m, keep_one(m, uid, mapped_ids("uid_map")) };
	ret->gids = (struct oci_id_maps){ m + 3, keep_one(m + 3, gid, mapped_ids("gid_map")) };
	ret->keep_id = true;
	ret->uid = uid;
	ret->gid = gid;
	return 0;
}

static int plan_nomap(struct pctr *c, struct userns_plan *ret, struct err *e) {
	uint32_t uids = mapped_ids("uid_map"), gids = mapped_ids("gid_map");
	if (!c->p->rootless)
		return err_set(e, -EINVAL, "--userns nomap is for ordinary users");
	if (!uids || !gids)
		return err_set(e, -ENOENT, "--userns nomap needs subordinate ids in /etc/subuid and /etc/subgid");
	return one_map(&c->p->arena, ret, (struct oci_id_map){ 0, 1, uids }, (struct oci_id_map){ 0, 1, gids }, e);
}

static int plan_container(struct pctr *c, const char *who, struct userns_plan *ret, struct err *e) {
	struct pctr *other;
	int r = pctr_find(c->p, who, &other, e);
	if (r < 0)
		return err_wrap(e, r, "--userns");
	if (!other->pid)
		return err_set(e, -ESRCH, "--userns: container %s is not running", other->name);
	r = userns_plan(other, ret, e);
	if (r < 0 || (!ret->own && !ret->path))
		return r;
	ret->own = false;
	ret->path = arena_printf(&c->p->arena, "/proc/%d/ns/user", (int)other->pid);
	return ret->path ? 0 : oom(e);
}

int userns_check(const char *mode, struct err *e) {
	static const char *const words[] = { "", "host", "private", "auto", "keep-id", "nomap" };
	size_t n = strcspn(mode ? mode : "", ":");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!mode || (strlen(words[i]) == n && strncmp(mode, words[i], n) == 0))
			return 0;
	if ((str_has_prefix(mode, "container:") || str_has_prefix(mode, "ns:")) && mode[n + 1])
		return 0;
	return err_set(e, -EINVAL, "--userns \"%s\" is not one of host, auto[:size=N], keep-id[:uid=N,gid=N], nomap, container:ID, ns:PATH", mode);
}

int userns_plan(struct pctr *c, struct userns_plan *ret, struct err *e) {
	const struct run_opts *o = &c->opts;
	const char *mode = o->userns ? o->userns : "";
	struct arena *a = &c->p->arena;
	*ret = (struct userns_plan){ 0 };
	if (o->uidmap.n || o->gidmap.n || o->subuidname || o->subgidname) {
		struct opt_list from[2] = { o->uidmap, o->gidmap };
		static const char *const files[] = { "/etc/subuid", "/etc/subgid" }, *const options[] = { "--uidmap", "--gidmap" };
		const char *const names[] = { o->subuidname ? o->subuidname : o->subgidname, o->subgidname ? o->subgidname : o->subuidname };
		struct oci_id_maps *to[] = { &ret->uids, &ret->gids };
		ret->own = true;
		for (int i = 0; i < 2; i++) {
			const struct opt_list *l = from[i].n ? &from[i] : &from[!i];
			uint32_t first, count;
			int r;
			if (l->n) {
				r = map_words(a, options[i], l, &to[i]->v, &to[i]->n, e);
			} else if ((r = rootless_range(files[i], names[i], UINT32_MAX, &first, &count, e)) == 0) {
				struct oci_id_map *m = arena_new(a, struct oci_id_map);
				if (!m)
					return oom(e);
				*m = (struct oci_id_map){ 0, first, count };
				*to[i] = (struct oci_id_maps){ m, 1 };
			}
			if (r < 0)
				return r;
		}
		return 0;
	}
	if (!*mode || streq(mode, "host") || streq(mode, "private"))
		return 0;
	size_t n = strcspn(mode, ":");
	const char *rest = mode[n] ? mode + n + 1 : NULL;
	if (strncmp(mode, "auto", n) == 0 && n == 4)
		return plan_auto(c, rest, ret, e);
	if (strncmp(mode, "keep-id", n) == 0 && n == 7)
		return plan_keep_id(c, rest, ret, e);
	if (streq(mode, "nomap"))
		return plan_nomap(c, ret, e);
	if (str_has_prefix(mode, "container:"))
		return plan_container(c, rest, ret, e);
	if (str_has_prefix(mode, "ns:") && *rest) {
		ret->path = rest;
		return 0;
	}
	return userns_check(mode, e);
}

void userns_forget(struct pctr *c) {
	DIR *d = opendir(c->p->data_dir);
	for (struct dirent *ent; d && (ent = readdir(d));) {
		char holder[80], path[4096];
		if (!str_has_prefix(ent->d_name, "userns-"))
			continue;
		snprintf(path, sizeof(path), "%s/%.60s", c->p->data_dir, ent->d_name);
		ssize_t len = readlink(path, holder, sizeof(holder) - 1);
		holder[len > 0 ? len : 0] = '\0';
		if (streq(holder, c->id))
			unlink(path);
	}
	if (d)
		closedir(d);
}

uint32_t userns_outside(const struct oci_id_maps *m, uint32_t id) {
	for (size_t i = 0; i < m->n; i++)
		if (id >= m->v[i].container_id && id - m->v[i].container_id < m->v[i].size)
			return m->v[i].host_id + (id - m->v[i].container_id);
	return m->n ? (uint32_t)-1 : id;
}

int userns_ids(struct pctr *c, struct snapshot_ids *ret, struct err *e) {
	struct userns_plan plan;
	*ret = (struct snapshot_ids){ .userns = -EBADF };
	int r = userns_plan(c, &plan, e);
	if (r < 0 || !plan.uids.n)
		return r;
	struct snapshot_id_range *v = arena_array(&c->p->arena, plan.uids.n + plan.gids.n, struct snapshot_id_range);
	if (!v)
		return oom(e);
	for (size_t i = 0; i < plan.uids.n; i++)
		v[i] = (struct snapshot_id_range){ plan.uids.v[i].container_id, plan.uids.v[i].host_id, plan.uids.v[i].size };
	for (size_t i = 0; i < plan.gids.n; i++)
		v[plan.uids.n + i] = (struct snapshot_id_range){ plan.gids.v[i].container_id, plan.gids.v[i].host_id, plan.gids.v[i].size };
	ret->uids = v;
	ret->n_uids = plan.uids.n;
	ret->gids = v + plan.uids.n;
	ret->n_gids = plan.gids.n;
	/* File systems of the host may only be idmapped by the host's root (mount_setattr(2)). */
	if (!c->p->rootless) {
		ret->userns = mount_idmap_userns(&plan.uids, &plan.gids, e);
		if (ret->userns < 0)
			return ret->userns;
	}
	return 0;
}

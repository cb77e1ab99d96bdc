/* Checkpoint: what of the container is outside of it (mounts, namespaces, standard files) is named to criu, then criu dumps. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "confine/cgroup.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/criu.h"
#include "wire/json.h"

/* Standard files by the names that /proc gives them: restore hands criu new ends for the pipes among them (runc's file of the same name). */
static int save_descriptors(struct criu *x, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;

	jw_init(&w, &b, 0);
	jw_array(&w);
	for (int i = 0; i < 3; i++) {
		char path[64], target[4096];
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)x->c->init_pid, i);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = 0;
		jw_string(&w, target);
	}
	jw_array_end(&w);
	int r = jw_finish(&w);
	if (r == 0)
		r = file_replace_at(x->image_fd, "descriptors.json", b.s, b.len, 0600, 0);
	return r < 0 ? err_sys(e, r, "write %s/descriptors.json", x->image_path) : 0;
}

static int external_mounts(struct criu *x, struct err *e)
{
	const struct oci_spec *s = x->c->spec;
	_cleanup_free_ struct cgroup_mount *cg = NULL;
	size_t n;
	int r = 0;

	for (size_t i = 0; i < s->n_mounts && r == 0; i++) {
		const struct oci_mount *m = &s->mounts[i];
		if (m->bind || m->recursive_bind)
			r = criu_add_mount(x, m->destination, m->destination);
		if (!m->type || (!streq(m->type, "cgroup") && !streq(m->type, "cgroup2")) || !x->c->cgroup)
			continue;
		if ((r = cgroup_mounts(x->c->cgroup, oci_namespace(s, CLONE_NEWCGROUP) != NULL, &cg, &n, e)) < 0)
			return r;
		for (size_t k = 0; k < n && r == 0; k++) {
			const char *where = cg[k].name[0] ? arena_printf(&x->arena, "%s/%s", m->destination, cg[k].name) : m->destination;
			if (!cg[k].link && !streq(cg[k].fstype, "tmpfs"))
				r = where ? criu_add_mount(x, where, where) : -ENOMEM;
		}
	}
	for (size_t i = 0; i < s->masked_paths.n && r == 0; i++) {
		char path[4096];
		struct stat st;
		snprintf(path, sizeof(path), "/proc/%d/root%s", (int)x->c->init_pid, s->masked_paths.v[i]);
		if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode)) /* directories are masked by tmpfs, which criu dumps itself */
			r = criu_add_mount(x, s->masked_paths.v[i], "/dev/null");
	}
	for (size_t i = 0; i < s->n_devices && r == 0; i++)
		r = criu_add_mount(x, s->devices[i].path, s->devices[i].path);
	return r < 0 ? err_sys(e, r, "external mounts") : 0;
}

static int external_namespaces(struct criu *x, struct err *e)
{
	const struct oci_spec *s = x->c->spec;

	for (size_t i = 0; i < s->n_namespaces; i++) {
		const char *kind, *key = s->namespaces[i].path ? criu_external_ns(s->namespaces[i].flag, &kind) : NULL;
		struct stat st;
		if (!key)
			continue;
		if (stat(s->namespaces[i].path, &st) < 0)
			return err_sys(e, errno, "namespace %s", s->namespaces[i].path);
		if (criu_add_external(x, "%s[%lu]:%s", kind, (unsigned long)st.st_ino, key) < 0)
			return err_sys(e, ENOMEM, "external namespaces");
	}
	return 0;
}

/* "address:port" */
static int page_server(struct criu *x, const char *text, struct err *e)
{
	const char *colon = strrchr(text, ':');
	uint32_t port;
	struct criu_page_server *ps = arena_new(&x->arena, struct criu_page_server);

	if (!colon || colon == text || parse_u32(colon + 1, &port) < 0 || port == 0 || port > 65535)
		return err_set(e, EINVAL, "Use --page-server ADDRESS:PORT to specify page server");
	if (!ps || !(ps->address = arena_strndup(&x->arena, text, (size_t)(colon - text))))
		return err_sys(e, ENOMEM, "page server");
	ps->port = port;
	x->opts.ps = ps;
	return 0;
}

static int parent_images(struct criu *x, const char *parent, struct err *e)
{
	struct stat st;

	if (parent[0] == '/')
		return err_set(e, EINVAL, "--parent-path %s must be relative to the image path", parent);
	if (fstatat(x->image_fd, parent, &st, 0) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ENOENT, "--parent-path %s: no directory below %s", parent, x->image_path);
	x->opts.parent_img = parent;
	return 0;
}

struct dump { int status_fd; };

static int notified(struct criu *x, const struct criu_notify *n, int fd, struct err *e)
{
	struct dump *d = x->arg;

	cleanup_close(&fd);
	if (!streq(n->script, "status-ready") || d->status_fd < 0)
		return 0;
	int r = write(d->status_fd, "", 1) < 0 ? err_sys(e, errno, "write to --status-fd") : 0;
	d->status_fd = -EBADF;
	return r;
}

int ns_op_checkpoint(struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e)
{
	_cleanup_criu_ struct criu x = { .sock = -EBADF, .image_fd = -EBADF, .work_fd = -EBADF };
	struct dump d = { o->status_fd };
	struct criu_response a;
	int r = criu_begin(&x, c, o, e);

	if (r == 0 && o->parent_path)
		r = parent_images(&x, o->parent_path, e);
	if (r == 0 && o->page_server)
		r = page_server(&x, o->page_server, e);
	if (r == 0 && o->lazy_pages && !o->page_server)
		r = err_set(e, EINVAL, "--lazy-pages needs --page-server");
	if (r == 0)
		r = external_namespaces(&x, e);
	if (r == 0 && !o->pre_dump && (r = external_mounts(&x, e)) == 0)
		r = save_descriptors(&x, e);
	if (r < 0)
		return r;
	struct criu_opts *p = &x.opts;
	p->pid = c->init_pid;
	p->root = c->rootfs;
	p->log_file = "dump.log";
	p->track_mem = o->pre_dump || o->parent_path;
	/* v2 first: it is where processes really freeze; criu looks for cgroup.freeze or freezer.state by the host's layout */
	if (c->cgroup && cgroup_active(c->cgroup))
		p->freeze_cgroup = cgroup_dir(c->cgroup, CGROUP_FREEZER);
	x.notified = notified;
	x.arg = &d;
	if ((r = criu_spawn(&x, o->criu_path, e)) < 0)
		return r;
	return criu_talk(&x, o->pre_dump ? CRIU_PRE_DUMP : CRIU_DUMP, "dump.log", &a, e);
}

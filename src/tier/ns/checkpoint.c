/* Checkpoint and restore through criu. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "confine/rootfs.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/criu.h"
#include "wire/json.h"

/* Names of the standard files as /proc/PID/fd shows them: pipes are replaced at restore by those that we are given then. The file is runc's and
 * podman's: a JSON array of three strings. */
#define DESCRIPTORS "descriptors.json"

static int save_descriptors(const struct tier_container *c, int image, struct err *e) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	char path[64], name[CRIU_NAME_MAX];
	struct json_writer w;
	jw_init(&w, &out, 0);
	jw_array(&w);
	for (int i = 0; i < CRIU_STDIO; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)c->init_pid, i);
		ssize_t n = readlink(path, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = '\0';
		jw_string(&w, name);
	}
	jw_array_end(&w);
	if (jw_finish(&w) < 0)
		return err_set(e, ENOMEM, "out of memory");
	int r = file_replace_at(image, DESCRIPTORS, out.s, out.len, 0600, 0);
	return r < 0 ? err_sys(e, r, "write %s", DESCRIPTORS) : 0;
}

/* What lies outside of the images: binds of the host's files, and whatever masks a path. */
static void external_mounts(struct criu_call *k, const struct oci_spec *s, bool restore, const char *bundle) {
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct oci_mount *m = &s->mounts[i];
		if (!mount_is_bind(m))
			continue;
		if (!restore)
			criu_arg(k, "--external=mnt[%s]:%s", m->destination, m->destination);
		else if (m->source[0] == '/')
			criu_arg(k, "--external=mnt[%s]:%s", m->destination, m->source);
		else
			criu_arg(k, "--external=mnt[%s]:%s/%s", m->destination, bundle, m->source);
	}
	/* Files under masks are binds of /dev/null; directories are tmpfs, which criu dumps itself. */
	for (size_t i = 0; i < s->masked_paths.n; i++)
		criu_arg(k, "--external=mnt[%s]:%s", s->masked_paths.v[i], restore ? "/dev/null" : s->masked_paths.v[i]);
}

static const struct { int flag; const char *kind, *key; } external_ns[] = {
	{ CLONE_NEWNET, "net", "extRootNetNS" }, { CLONE_NEWPID, "pid", "extRootPidNS" },
};

int ns_op_checkpoint(struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e) {
	struct criu_call k = CRIU_CALL_INIT;
	const char *freezer = c->cgroup ? cgroup_dir(c->cgroup, CGROUP_FREEZER) : NULL;
	int r = criu_common(&k, o->pre_dump ? "pre-dump" : "dump", c, o, e);
	if (r == 0) {
		criu_arg(&k, "--tree=%d", (int)c->init_pid);
		criu_arg(&k, "--root=%s", c->rootfs);
		if (freezer)
			criu_arg(&k, "--freeze-cgroup=%s", freezer);
		external_mounts(&k, c->spec, false, c->bundle);
		for (size_t i = 0; i < ARRAY_SIZE(external_ns); i++) {
			const struct oci_namespace *ns = oci_namespace(c->spec, external_ns[i].flag);
			struct stat st;
			if (ns && ns->path && stat(ns->path, &st) == 0)
				criu_arg(&k, "--external=%s[%lu]:%s", external_ns[i].kind, (unsigned long)st.st_ino, external_ns[i].key);
		}
		if (o->pre_dump || o->parent_path)
			criu_arg(&k, "--track-mem");
		if (o->parent_path)
			criu_arg(&k, "--prev-images-dir=%s", o->parent_path);
		if (o->leave_running && !o->pre_dump)
			criu_arg(&k, "--leave-running");
		if (o->tcp_skip_in_flight)
			criu_arg(&k, "--skip-in-flight");
		if (o->page_server) {
			const char *colon = strrchr(o->page_server, ':');
			if (!o->lazy_pages)
				criu_arg(&k, "--page-server");
			criu_arg(&k, "--address=%.*s", (int)(colon ? colon - o->page_server : 0), o->page_server);
			criu_arg(&k, "--port=%s", colon ? colon + 1 : "");
		}
		/* Devices may have other paths on the next host; character devices of the container are looked up by number. */
		criu_arg(&k, "--evasive-devices");
		if (!o->pre_dump)
			r = save_descriptors(c, k.image, e);
	}
	if (r == 0)
		r = criu_run(&k, o, NULL, c, &o->status_fd, 1, e);
	criu_call_free(&k);
	return r < 0 ? err_wrap(e, r, "checkpoint") : 0;
}

/* ---- restore ------------------------------------------------------------------------------------------------------ */

/* criu wants the root to be a mount point. In a mount namespace of its own, so that nothing stays behind however it ends. */
static int prepare_root(const struct tier_container *c, struct err *e) {
	if (sys_unshare(CLONE_NEWNS) < 0)
		return err_sys(e, errno, "new mount namespace");
	int r = rootfs_isolate(0, e);
	_cleanup_close_ int root = r < 0 ? r : rootfs_bind(c->rootfs, -EBADF, -EBADF, false, e);
	return root < 0 ? root : 0;
}

/* Mount points that the images do not hold: criu mounts onto what is there. */
static int make_mount_points(const struct tier_container *c, struct err *e) {
	_cleanup_close_ int root = open(c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, errno, "open rootfs %s", c->rootfs);
	for (size_t i = 0; i < c->spec->n_mounts; i++) {
		const struct oci_mount *m = &c->spec->mounts[i];
		struct stat st = { .st_mode = S_IFDIR };
		_cleanup_free_ char *rel = NULL;
		if (mount_is_bind(m)) {
			if (m->source[0] != '/' && asprintf(&rel, "%s/%s", c->bundle, m->source) < 0)
				return err_set(e, ENOMEM, "out of memory");
			if (stat(rel ? rel : m->source, &st) < 0)
				return err_sys(e, errno, "bind source %s", m->source);
		}
		/* Below another mount of the container it is part of the images. */
		int fd = mount_destination(root, m->destination, S_ISDIR(st.st_mode), false, e);
		if (fd < 0 && fd != -EROFS)
			return fd;
		err_clear(e);
		cleanup_close(&fd);
	}
	return 0;
}

static int inherit_descriptors(struct criu_call *k, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	int r = file_read_at(k->image, DESCRIPTORS, &text, 3 * CRIU_NAME_MAX * 6);
	if (r == -ENOENT)
		return 0;
	struct json *doc = NULL;
	if (r < 0 || (r = json_parse(&a, strbuf_str(&text), text.len, &doc, e)) < 0)
		return err_wrap(e, r, "read %s", DESCRIPTORS);
	size_t i = 0;
	for (const struct json *j = json_first(doc); j && i < CRIU_STDIO; j = j->next, i++)
		if (j->type == JSON_STRING && strstr(j->text, "pipe:"))
			criu_arg(k, "--inherit-fd=fd[%zu]:%s", i, j->text);
	return 0;
}

static void cgroup_roots(struct criu_call *k, struct tier_container *c) {
	static const struct { enum cgroup_controller c; const char *name; } v1[] = {
		{ CGROUP_CPU, "cpu" }, { CGROUP_CPUACCT, "cpuacct" }, { CGROUP_CPUSET, "cpuset" }, { CGROUP_MEMORY, "memory" }, { CGROUP_BLKIO, "blkio" },
		{ CGROUP_PIDS, "pids" }, { CGROUP_HUGETLB, "hugetlb" }, { CGROUP_DEVICES, "devices" }, { CGROUP_FREEZER, "freezer" },
		{ CGROUP_NET_CLS, "net_cls" }, { CGROUP_NET_PRIO, "net_prio" }, { CGROUP_PERF_EVENT, "perf_event" },
	};
	struct cgroup_saved s;
	if (!c->cgroup || !cgroup_active(c->cgroup))
		return;
	cgroup_save(c->cgroup, &s);
	const char *v2 = cgroup_dir_v2(c->cgroup);
	for (size_t i = 0; i < ARRAY_SIZE(v1); i++) {
		const char *dir = cgroup_dir(c->cgroup, v1[i].c);
		if (dir && !(v2 && streq(dir, v2)))
			criu_arg(k, "--cgroup-root=%s:%s", v1[i].name, s.path);
	}
	if (v2 && cgroup_host_mode() == CGROUP_MODE_V2)
		criu_arg(k, "--cgroup-root=%s", s.path);
}

static int read_pid(struct tier_container *c, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint32_t pid;
	int r = file_read_at(c->state_fd, "ns.criu.pid", &text, 64);
	unlinkat(c->state_fd, "ns.criu.pid", 0);
	if (r < 0)
		return err_sys(e, r, "read criu's pid file");
	if (text.s)
		text.s[strcspn(text.s, "\n")] = '\0';
	if (parse_u32(strbuf_str(&text), &pid) < 0 || !pid)
		return err_set(e, EBADMSG, "criu's pid file is malformed");
	c->init_pid = (pid_t)pid;
	c->init_pidfd = sys_pidfd_open(c->init_pid, 0);
	return c->init_pidfd < 0 ? err_sys(e, errno, "open the restored process") : 0;
}

static int restore_args(struct tier_container *c, const struct tier_checkpoint_options *o, struct criu_call *k, int fds[], size_t *n_fds, struct err *e) {
	criu_arg(k, "--root=%s", c->rootfs);
	/* Detached and our child, as if we had cloned it: run waits for it, detached callers leave it to their subreaper. */
	criu_arg(k, "--restore-detached");
	criu_arg(k, "--restore-sibling");
	criu_arg(k, "--pidfile=%s/ns.criu.pid", c->state_dir);
	external_mounts(k, c->spec, true, c->bundle);
	for (size_t i = 0; i < ARRAY_SIZE(external_ns); i++) {
		const struct oci_namespace *ns = oci_namespace(c->spec, external_ns[i].flag);
		if (!ns || !ns->path)
			continue;
		int fd = open(ns->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "open namespace %s", ns->path);
		fds[(*n_fds)++] = fd;
		criu_arg(k, "--inherit-fd=fd[%d]:%s", fd, external_ns[i].key);
	}
	if (o->lsm_profile)
		criu_arg(k, "--lsm-profile=%s", o->lsm_profile);
	if (o->lsm_mount_context)
		criu_arg(k, "--lsm-mount-context=%s", o->lsm_mount_context);
	cgroup_roots(k, c);
	int r = inherit_descriptors(k, e);
	return r < 0 ? r : make_mount_points(c, e);
}

int ns_op_restore(struct tier_container *c, struct tier_checkpoint_options *o, struct err *e) {
	struct criu_call k = CRIU_CALL_INIT;
	int fds[ARRAY_SIZE(external_ns) + 1] = { o->status_fd };
	size_t n_fds = 1;
	/* The master of a restored pty comes over criu's RPC only. */
	if (c->spec->process.terminal)
		return err_set(e, ENOTSUP, "restore: a container with a terminal cannot be restored");
	int r = criu_common(&k, "restore", c, o, e);
	if (r == 0)
		r = restore_args(c, o, &k, fds, &n_fds, e);
	if (r == 0)
		r = criu_run(&k, o, prepare_root, c, fds, n_fds, e);
	if (r == 0)
		r = read_pid(c, e);
	if (r == 0 && o->create && o->create->created)
		r = o->create->created(c, o->create->arg, e);
	if (r < 0 && c->init_pidfd >= 0)
		sys_pidfd_send_signal(c->init_pidfd, SIGKILL);
	for (size_t i = 1; i < n_fds; i++)
		close(fds[i]);
	criu_call_free(&k);
	return r < 0 ? err_wrap(e, r, "restore") : 0;
}

/* Restore: criu builds the container again from its images; we give it the root, what is outside, and new ends for its files. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "confine/cgroup.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/criu.h"
#include "wire/json.h"

struct restore { struct tier_checkpoint_options *o; bool known; };

/* Pipes that were standard files get our own standard files. */
static int standard_files(struct criu *x, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json *doc;
	int i = 0, r = file_read_at(x->image_fd, "descriptors.json", &b, 1 << 20);

	if (r == -ENOENT) /* images that criu itself made */
		return 0;
	if (r < 0)
		return err_sys(e, r, "read %s/descriptors.json", x->image_path);
	if ((r = json_parse(&x->arena, strbuf_str(&b), b.len, &doc, e)) < 0)
		return err_wrap(e, r, "%s/descriptors.json", x->image_path);
	for (struct json *j = json_first(doc); j && i < 3; j = j->next, i++)
		if (j->type == JSON_STRING && str_has_prefix(j->text, "pipe:") && criu_add_inherit(x, j->text, i) < 0)
			return err_sys(e, ENOMEM, "standard files");
	return 0;
}

/* A mount point that is not in the images' root filesystem any more is made again, below the root and nowhere else. */
static void make_point(int root, const char *destination, const char *source)
{
	struct stat st;
	int fd;

	if (source && stat(source, &st) == 0 && !S_ISDIR(st.st_mode)) {
		char dir[4096];
		const char *slash = strrchr(destination, '/');
		snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - destination) : 0, destination);
		fd = mkdir_p_in_root(root, *dir ? dir : "/", 0755);
		cleanup_close(&fd);
		fd = open_in_root(root, destination, O_CREAT | O_RDONLY | O_NOCTTY | O_NONBLOCK, 0644);
	} else {
		fd = mkdir_p_in_root(root, destination, 0755);
	}
	cleanup_close(&fd);
}

static int cgroup_binds(struct criu *x, const char *destination, struct err *e)
{
	_cleanup_free_ struct cgroup_mount *cg = NULL;
	size_t n;
	int r = cgroup_mounts(x->c->cgroup, false, &cg, &n, e);

	for (size_t k = 0; k < n && r == 0; k++) {
		const char *where = cg[k].name[0] ? arena_printf(&x->arena, "%s/%s", destination, cg[k].name) : destination;
		if (!cg[k].link && streq(cg[k].fstype, "bind"))
			r = where && criu_add_mount(x, where, cg[k].source) == 0 ? 0 : err_sys(e, ENOMEM, "external mounts");
	}
	return r;
}

static int external_mounts(struct criu *x, struct err *e)
{
	const struct oci_spec *s = x->c->spec;
	_cleanup_close_ int root = open(x->c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (root < 0)
		return err_sys(e, errno, "open %s", x->c->rootfs);
	for (size_t i = 0; i < s->n_mounts && r == 0; i++) {
		const struct oci_mount *m = &s->mounts[i];
		bool bind = m->bind || m->recursive_bind;
		make_point(root, m->destination, bind ? m->source : NULL);
		if (bind && m->source) {
			const char *source = m->source[0] == '/' ? m->source : arena_printf(&x->arena, "%s/%s", x->c->bundle, m->source);
			r = source && criu_add_mount(x, m->destination, source) == 0 ? 0 : err_sys(e, ENOMEM, "external mounts");
		} else if (m->type && (streq(m->type, "cgroup") || streq(m->type, "cgroup2")) && x->c->cgroup) {
			r = cgroup_binds(x, m->destination, e);
		}
	}
	if (r == 0 && s->masked_paths.n && criu_add_mount(x, "/dev/null", "/dev/null") < 0)
		r = err_sys(e, ENOMEM, "external mounts");
	for (size_t i = 0; i < s->n_devices && r == 0; i++)
		if (criu_add_mount(x, s->devices[i].path, s->devices[i].path) < 0)
			r = err_sys(e, ENOMEM, "external mounts");
	return r;
}

static int external_namespaces(struct criu *x, int fds[], size_t *n, struct err *e)
{
	const struct oci_spec *s = x->c->spec;

	for (size_t i = 0; i < s->n_namespaces; i++) {
		const char *kind, *key = s->namespaces[i].path ? criu_external_ns(s->namespaces[i].flag, &kind) : NULL;
		if (!key)
			continue;
		int fd = open(s->namespaces[i].path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "namespace %s", s->namespaces[i].path);
		fds[(*n)++] = fd;
		if (criu_add_inherit(x, key, fd) < 0)
			return err_sys(e, ENOMEM, "external namespaces");
	}
	return 0;
}

/* Every restored cgroup goes below the one that the engine made, whatever it was called when the images were taken. */
static int cgroup_root(struct criu *x, struct err *e)
{
	struct cgroup_saved s;

	if (!x->c->cgroup || !cgroup_active(x->c->cgroup) || x->opts.manage_cgroups_mode == CRIU_CG_IGNORE)
		return 0;
	cgroup_save(x->c->cgroup, &s);
	struct criu_cg_root *root = arena_new(&x->arena, struct criu_cg_root);
	if (!root)
		return err_sys(e, ENOMEM, "cgroup root");
	root->path = s.path;
	x->opts.cg_root = (struct pb_list){ root, 1 };
	return 0;
}

static bool has_hooks(const struct oci_spec *s, enum oci_hook_point p) { return s->hooks[p].n > 0; }

static int send_master(struct tier_stdio *io, int fd, struct err *e)
{
	union { char raw[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { .raw = { 0 } };
	static char name[] = "/dev/ptmx";
	struct iovec iov = { name, sizeof(name) - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	if (io->console_socket < 0) {
		cleanup_close(&io->terminal);
		io->terminal = fd;
		return 0;
	}
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	*h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	int r = sendmsg(io->console_socket, &m, MSG_NOSIGNAL) < 0 ? err_sys(e, errno, "send the terminal to the console socket") : 0;
	cleanup_close(&fd);
	return r;
}

/* The process exists (its number in our pid namespace is known): the engine writes it down. */
static int known(struct criu *x, struct restore *t, pid_t pid, struct err *e)
{
	struct tier_create_options *o = t->o->create;

	if (t->known)
		return 0;
	if (pid <= 0)
		return err_set(e, EPROTO, "criu named no process");
	x->c->init_pid = pid;
	x->c->init_pidfd = sys_pidfd_open(pid, 0);
	if (x->c->init_pidfd < 0)
		return err_sys(e, errno, "pidfd of the restored process");
	t->known = true;
	return o->created ? o->created(x->c, o->arg, e) : 0;
}

static int notified(struct criu *x, const struct criu_notify *n, int fd, struct err *e)
{
	struct restore *t = x->arg;
	struct tier_create_options *o = t->o->create;
	const struct oci_spec *s = x->c->spec;
	int r = 0;

	if (streq(n->script, "orphan-pts-master") && fd >= 0)
		return send_master(&o->stdio, fd, e);
	cleanup_close(&fd);
	if (streq(n->script, "setup-namespaces")) {
		if ((r = known(x, t, (pid_t)n->pid, e)) == 0 && o->run_hooks && has_hooks(s, OCI_HOOK_PRESTART))
			r = o->run_hooks(x->c, OCI_HOOK_PRESTART, o->arg, e);
		if (r == 0 && o->run_hooks && has_hooks(s, OCI_HOOK_CREATE_RUNTIME))
			r = o->run_hooks(x->c, OCI_HOOK_CREATE_RUNTIME, o->arg, e);
	} else if (streq(n->script, "post-restore")) {
		r = known(x, t, (pid_t)n->pid, e);
	}
	return r;
}

static int talk(struct criu *x, struct restore *t, struct err *e)
{
	struct criu_response a;
	char dir[4096];
	int r;

	/* A mount point in the state directory; the mount itself is in the worker's namespace alone. */
	snprintf(dir, sizeof(dir), "%s/criu-root", x->c->state_dir);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "mkdir %s", dir);
	x->bind_root = x->opts.root = dir;
	x->notified = notified;
	x->arg = t;
	r = criu_spawn(x, t->o->criu_path, e);
	if (r == 0)
		r = criu_talk(x, CRIU_RESTORE, "restore.log", &a, e);
	(void)rmdir(dir);
	return r == 0 ? known(x, t, a.restore ? (pid_t)a.restore->pid : 0, e) : r;
}

int ns_op_restore(struct tier_container *c, struct tier_checkpoint_options *o, struct err *e)
{
	_cleanup_criu_ struct criu x = { .sock = -EBADF, .image_fd = -EBADF, .work_fd = -EBADF };
	struct restore t = { o, false };
	int fds[8], r;
	size_t n = 0;

	if (access(o->image_path, F_OK) < 0)
		return err_sys(e, errno, "image path %s", o->image_path);
	if ((r = criu_begin(&x, c, o, e)) < 0)
		return r;
	struct criu_opts *p = &x.opts;
	p->log_file = "restore.log";
	p->evasive_devices = true;
	p->rst_sibling = true; /* our child, not the worker's: we can wait for it */
	p->lsm_profile = o->lsm_profile;
	p->lsm_mount_context = o->lsm_mount_context;
	p->leave_running = false;
	r = standard_files(&x, e);
	if (r == 0)
		r = external_mounts(&x, e);
	if (r == 0)
		r = external_namespaces(&x, fds, &n, e);
	if (r == 0)
		r = cgroup_root(&x, e);
	if (r == 0)
		r = talk(&x, &t, e);
	while (n)
		cleanup_close(&fds[--n]);
	if (r < 0 && c->init_pidfd >= 0)
		(void)sys_pidfd_send_signal(c->init_pidfd, SIGKILL);
	return r;
}

/* create: one transaction from a bundle to a container that waits for start; a failure at any step undoes all of it. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "confine/caps.h"
#include "confine/intelrdt.h"
#include "engine/create.h"
#include "sys/fd.h"

/* ---- before anything exists --------------------------------------------------------------------------------------- */

/* The bundle as an absolute path, "." and ".." taken out by name only: who gave a symbolic link finds it again in the state. */
static const char *absolute_bundle(struct arena *a, const char *bundle, struct err *e) {
	char cwd[PATH_MAX] = "";
	if (*bundle != '/' && !getcwd(cwd, sizeof(cwd)))
		return err_sys(e, errno, "getcwd"), NULL;
	char *path = arena_printf(a, "%s/%s", cwd, bundle), *out = path;
	if (!path)
		return err_set(e, ENOMEM, "out of memory"), NULL;
	for (char *p = path; *p;) {
		while (*p == '/')
			p++;
		size_t n = strcspn(p, "/");
		if (n == 0)
			break;
		char *next = p + n;
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (out > path && *--out != '/')
				;
		} else if (!(n == 1 && *p == '.')) {
			*out++ = '/';
			memmove(out, p, n); /* out never overtakes p */
			out += n;
		}
		p = next;
	}
	if (out == path)
		*out++ = '/';
	*out = 0;
	return path;
}

static int load_config(struct transaction *t, struct err *e) {
	struct ctr *c = t->c;
	const char *name = t->o->config ? t->o->config : "config.json", *real = absolute_bundle(&c->arena, t->o->bundle, e);
	char root[PATH_MAX];
	if (!real)
		return e && e->code ? e->code : -ENOMEM;
	c->rec.bundle = real;
	c->tc.bundle_fd = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->tc.bundle_fd < 0)
		return err_sys(e, errno, "bundle %s", real);
	int r = file_read_at(*name == '/' ? AT_FDCWD : c->tc.bundle_fd, name, &t->config, OCI_CONFIG_MAX);
	if (r == -ENOENT)
		return err_set(e, r, "JSON specification file %s not found: no such file or directory (bundle %s)", name, real);
	if (r < 0)
		return err_sys(e, r, "open %s/%s", real, name);
	struct json *doc;
	r = json_parse(&c->arena, t->config.s, t->config.len, &doc, e);
	if (r < 0)
		return err_wrap(e, r, "%s", name);
	r = oci_spec_from_json(&c->arena, doc, &c->spec, e);
	if (r < 0)
		return r;
	if (!c->spec->has_process)
		return err_set(e, EINVAL, "process property must not be empty");
	if (!c->spec->root_path)
		return err_set(e, EINVAL, "Root must be specified");
	c->rec.rootfs = *c->spec->root_path == '/' ? c->spec->root_path : arena_printf(&c->arena, "%s/%s", real, c->spec->root_path);
	if (!c->rec.rootfs || !c->rec.bundle)
		return err_set(e, ENOMEM, "out of memory");
	if (realpath(c->rec.rootfs, root) && !(c->rec.rootfs = arena_strdup(&c->arena, root)))
		return err_set(e, ENOMEM, "out of memory");
	c->tc.spec = c->spec;
	return 0;
}

static int choose_tier(struct transaction *t, struct err *e) {
	struct engine *eng = t->c->eng;
	const char *annotation = oci_annotation(t->c->spec, "dev.tierce.isolation");
	const char *name = eng->isolation ? eng->isolation : annotation ? annotation : eng->isolation_default ? eng->isolation_default : "ns";
	const struct tier_ops *tier = engine_tier(eng, name);
	if (!tier) {
		if (!streq(name, "ns") && !streq(name, "sentry") && !streq(name, "vm"))
			return err_set(e, EINVAL, "isolation \"%s\" is not one of ns, sentry, vm", name);
		return err_set(e, ENOTSUP, "isolation \"%s\" is not available: this program was built without that tier", name);
	}
	struct tier_probe probe = { 0 };
	/* The ns tier's steps report by themselves what the kernel lacks; probing it would cost every start. */
	if (!streq(tier->name, "ns") && tier->probe) {
		int r = tier->probe(&probe);
		if (r < 0 || !probe.usable)
			return err_set(e, ENOTSUP, "isolation \"%s\" cannot run here: %s", name, probe.reason[0] ? probe.reason : "probe failed");
	}
	t->c->tier = tier;
	t->c->rec.tier = tier->name;
	return 0;
}

static int check_terminal(const struct create_options *o, const struct oci_spec *spec, struct err *e) {
	bool terminal = spec->process.terminal;
	if (o->detach && terminal && !o->console_socket)
		return err_set(e, EINVAL, "cannot allocate tty if runtime will detach without setting console socket");
	if ((!o->detach || !terminal) && o->console_socket)
		return err_set(e, EINVAL, "cannot use console socket if runtime will not detach or allocate tty");
	return 0;
}

/* fds that are to be handed on must be open before we open any of our own, else ours would be taken for them. */
int preserved_fds_check(unsigned listen_fds, unsigned preserve, struct err *e) {
	for (unsigned i = 0; i < preserve; i++) {
		int fd = 3 + (int)(listen_fds + i);
		if (fd < 0 || fcntl(fd, F_GETFD) < 0)
			return err_set(e, EBADF, "unable to stat preserved-fd %u (of %u): no such file descriptor %d", i, preserve, fd);
	}
	return 0;
}

/* Socket activation (sd_listen_fds(3)); LISTEN_PID may be missing, as when an engine execs through a wrapper. */
static unsigned listen_fds(void) {
	const char *n = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	uint64_t count, who;
	if (!n || parse_u64(n, &count) < 0 || count > 1024)
		return 0;
	if (pid && (parse_u64(pid, &who) < 0 || who != (uint64_t)getpid()))
		return 0;
	return (unsigned)count;
}

static int add_listen_env(struct transaction *t, struct err *e) {
	struct oci_strings *env = &t->c->spec->process.env;
	if (!t->stdio.listen_fds)
		return 0;
	char **v = arena_array(&t->c->arena, env->n + 3, char *);
	char *count = arena_printf(&t->c->arena, "LISTEN_FDS=%u", t->stdio.listen_fds), *pid = arena_strdup(&t->c->arena, "LISTEN_PID=1");
	if (!v || !count || !pid)
		return err_set(e, ENOMEM, "out of memory");
	size_t n = 0;
	for (size_t i = 0; i < env->n; i++)
		if (!str_has_prefix(env->v[i], "LISTEN_FDS=") && !str_has_prefix(env->v[i], "LISTEN_PID="))
			v[n++] = env->v[i];
	v[n++] = count;
	v[n++] = pid;
	env->v = v;
	env->n = n;
	return 0;
}

static int connect_sockets(struct transaction *t, struct err *e) {
	const char *receiver = oci_annotation(t->c->spec, "run.oci.pidfd_receiver");
	if (t->o->console_socket) {
		t->console = unix_connect(t->o->console_socket, e);
		if (t->console < 0)
			return err_wrap(e, t->console, "console socket");
	}
	const char *pidfd = t->o->pidfd_socket ? t->o->pidfd_socket : receiver;
	if (pidfd) {
		t->pidfd_socket = unix_connect(pidfd, e);
		if (t->pidfd_socket < 0)
			return err_wrap(e, t->pidfd_socket, "pidfd socket");
	}
	return 0;
}

/* ---- the directory ------------------------------------------------------------------------------------------------ */

static int make_root(struct engine *eng, struct err *e) {
	_cleanup_free_ char *path = strdup(eng->root);
	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		bool last = !*p;
		*p = 0;
		if (mkdir(path, last ? 0700 : 0755) == 0) {
			/* Sticky: XDG_RUNTIME_DIR is swept of files without it (XDG base directory specification). */
			if (last && eng->rootless && chmod(path, 01700) < 0)
				return err_sys(e, errno, "chmod %s", path);
		} else if (errno != EEXIST && last)
			return err_sys(e, errno, "mkdir %s", path);
		if (last)
			return 0;
		*p = '/';
	}
}

static int make_directory(struct transaction *t, struct err *e) {
	struct ctr *c = t->c;
	int r = mkdir(c->dir, 0700);
	if (r < 0 && errno == ENOENT) {
		r = make_root(c->eng, e);
		if (r < 0)
			return r;
		r = mkdir(c->dir, 0700);
	}
	if (r < 0 && errno == EEXIST)
		return err_set(e, EEXIST, "container with given ID already exists (container \"%s\" already exists)", c->rec.id);
	if (r < 0)
		return err_sys(e, errno, "mkdir %s", c->dir);
	t->undo = true;
	c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->dir_fd < 0)
		return err_sys(e, errno, "open %s", c->dir);
	/* Somebody's delete --force may have it for a moment: then the container is gone before it was. */
	if (flock(c->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, errno, "lock %s", c->dir);
	c->locked = true;
	c->tc.state_fd = c->dir_fd;
	c->tc.state_dir = c->dir;
	return 0;
}

static bool cgroup_is_writable_inside(const struct oci_spec *spec) {
	for (size_t i = 0; i < spec->n_mounts; i++)
		if (streq(spec->mounts[i].destination, "/sys/fs/cgroup"))
			return !(spec->mounts[i].flags_set & 1 /* MS_RDONLY */);
	return false;
}

static uint32_t host_id(const struct oci_id_maps *maps) {
	for (size_t i = 0; i < maps->n; i++)
		if (maps->v[i].container_id == 0 && maps->v[i].size)
			return maps->v[i].host_id;
	return 0;
}

static int plan_cgroup(struct transaction *t, struct err *e) {
	struct ctr *c = t->c;
	const struct oci_spec *spec = c->spec;
	struct cgroup_request req = { .manager = c->eng->cgroup_manager, .id = c->rec.id, .cgroups_path = spec->cgroups_path,
		.rootless = c->eng->rootless, .annotations = &spec->annotations, .resources = &spec->resources };
	const struct oci_namespace *userns = oci_namespace(spec, CLONE_NEWUSER);
	if (userns && oci_namespace(spec, CLONE_NEWCGROUP) && cgroup_is_writable_inside(spec)) {
		req.chown = true;
		req.owner_uid = host_id(&spec->uid_mappings);
		req.owner_gid = host_id(&spec->gid_mappings);
	}
	int r = cgroup_plan(&req, &c->cgroup, e);
	if (r < 0)
		return r;
	cgroup_save(c->cgroup, &c->rec.cgroup);
	c->tc.cgroup = c->cgroup;
	return 0;
}

static const char *owner_name(struct arena *a, uint32_t uid) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	if (file_read_at(AT_FDCWD, "/etc/passwd", &b, 4 << 20) == 0) {
		for (const char *p = strbuf_str(&b); p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
			const char *colon = p + strcspn(p, ":\n"), *second = *colon == ':' ? colon + 1 + strcspn(colon + 1, ":\n") : colon;
			if (*second == ':' && strtoul(second + 1, NULL, 10) == uid && second[1] >= '0' && second[1] <= '9')
				return arena_strndup(a, p, (size_t)(colon - p));
		}
	}
	return arena_printf(a, "#%u", uid);
}

static int first_record(struct transaction *t, struct err *e) {
	struct ctr *c = t->c;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	const struct oci_namespace *pidns = oci_namespace(c->spec, CLONE_NEWPID);
	c->rec.status = CTR_CREATING;
	c->rec.created = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
	c->rec.oci_version = c->spec->version ? c->spec->version : "1.0.0";
	c->rec.owner = owner_name(&c->arena, geteuid());
	c->rec.annotations = c->spec->annotations;
	c->rec.own_pidns = pidns && !pidns->path;
	c->rec.systemd = c->eng->cgroup_manager == CGROUP_MANAGER_SYSTEMD;
	c->rec.rootless = c->eng->rootless;
	c->rec.poststart = c->spec->hooks[OCI_HOOK_POSTSTART].n > 0;
	c->rec.poststop = c->spec->hooks[OCI_HOOK_POSTSTOP].n > 0;
	c->rec.rdt = c->spec->intel_rdt.set;
	if (!c->rec.owner)
		return err_set(e, ENOMEM, "out of memory");
	int r = ctr_save(c, e);
	if (r < 0)
		return r;
	/* exec, hooks and delete read this copy: the bundle may change or go. */
	r = file_replace_at(c->dir_fd, "config.json", t->config.s, t->config.len, 0600, 0);
	return r < 0 ? err_sys(e, r, "write %s/config.json", c->dir) : 0;
}

/* ---- the processes ------------------------------------------------------------------------------------------------ */

static int remember_init(struct ctr *c, struct err *e) {
	c->rec.init_pid = c->tc.init_pid;
	int r = proc_start_time(c->rec.init_pid, &c->rec.start_time, NULL, NULL);
	if (r < 0)
		return err_set(e, r, "the container's first process died while it was created");
	c->tc.init_start_time = c->rec.start_time;
	return 0;
}

/* What init runs while it waits: when that has changed, start has happened, whatever the record says. */
static void remember_program(struct ctr *c) {
	char path[32];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d/exe", c->rec.init_pid);
	if (streq(c->rec.tier, "ns") && stat(path, &st) == 0) {
		c->rec.exe_dev = st.st_dev;
		c->rec.exe_ino = st.st_ino;
	}
}

/* Called by the tier with the first process known, blocked, and inside its cgroups. */
static int on_created(struct tier_container *tc, void *arg, struct err *e) {
	(void)tc;
	struct transaction *t = arg;
	struct ctr *c = t->c;
	int r = remember_init(c, e);
	if (r == 0)
		r = cgroup_ready(c->cgroup, e);
	if (r == 0)
		r = intelrdt_join(NULL, &c->spec->intel_rdt, c->rec.id, c->rec.init_pid, e);
	if (r < 0)
		return r;
	cgroup_save(c->cgroup, &c->rec.cgroup);
	t->poststop = c->spec->hooks[OCI_HOOK_PRESTART].n || c->spec->hooks[OCI_HOOK_CREATE_RUNTIME].n || c->spec->hooks[OCI_HOOK_CREATE_CONTAINER].n;
	engine_debug(c->eng, "create: pid %d: child process in init()", c->rec.init_pid);
	return ctr_save(c, e);
}

/* Called by the tier: here for the points that belong outside, in the container's process for the others. */
static int on_hooks(struct tier_container *tc, enum oci_hook_point point, void *arg, struct err *e) {
	(void)tc;
	struct transaction *t = arg;
	bool outside = point == OCI_HOOK_PRESTART || point == OCI_HOOK_CREATE_RUNTIME;
	return hooks_run(t->c, t->c->spec, point, outside ? "creating" : "created", outside ? t->c->rec.init_pid : getpid(), e);
}

static void fill_tier(struct transaction *t) {
	struct ctr *c = t->c;
	c->tc.id = c->rec.id;
	c->tc.bundle = c->rec.bundle;
	c->tc.rootfs = c->rec.rootfs;
	t->stdio.console_socket = t->console;
	t->stdio.pidfd_socket = t->pidfd_socket;
	c->tc.start_fd = -EBADF;
	ctr_fill_callbacks(c);
	t->stdio.terminal = -EBADF;
	t->tier = (struct tier_create_options){ .stdio = t->stdio, .no_pivot = t->o->no_pivot, .no_new_keyring = t->o->no_new_keyring,
		.start_follows = t->o->run, .state_root_fd = t->root_fd, .created = on_created, .run_hooks = on_hooks, .arg = t };
}

static int build(struct transaction *t, struct err *e) {
	struct ctr *c = t->c;
	int r = make_directory(t, e);
	if (r == 0)
		r = plan_cgroup(t, e);
	if (r == 0)
		r = first_record(t, e);
	if (r == 0)
		r = notify_prepare(c, c->spec, e);
	if (r == 0)
		r = cgroup_create(c->cgroup, e);
	if (r < 0)
		return r;
	t->cgroup_made = c->rec.cgroup_ours = true;
	cgroup_save(c->cgroup, &c->rec.cgroup);
	r = cgroup_apply(c->cgroup, &c->spec->resources, CGROUP_APPLY_NEW, e);
	if (r < 0)
		return r;
	if (c->spec->intel_rdt.set && (r = intelrdt_create(NULL, &c->spec->intel_rdt, c->rec.id, &c->rec.rdt_created, e)) < 0)
		return r;
	if (c->spec->seccomp.set)
		t->root_fd = open(c->eng->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* without it filters are compiled each time */
	fill_tier(t);
	forget_affinity();
	engine_debug(c->eng, "create: %s under isolation %s: nsexec container setup", c->rec.id, c->rec.tier); /* words that scripts look for */
	r = t->build(t, e);
	if (r < 0)
		return r;
	c->pidfd = c->tc.init_pidfd; /* from here on the container object owns it */
	t->terminal = t->tier.stdio.terminal;
	if (t->o->pid_file)
		r = pid_file_write(t->o->pid_file, c->rec.init_pid, e);
	if (!t->o->run)
		remember_program(c);
	if (r == 0 && !t->o->run)
		r = ctr_set_status(c, CTR_CREATED, e);
	return r;
}

static int build_by_tier(struct transaction *t, struct err *e) {
	return t->c->tier->create(&t->c->tc, &t->tier, e);
}

/* ---- the transaction ---------------------------------------------------------------------------------------------- */

static void undo(struct transaction *t) {
	struct ctr *c = t->c;
	if (t->terminal >= 0)
		close(t->terminal);
	t->terminal = -EBADF;
	if (!t->undo)
		return;
	struct err ignored = ERR_INIT; /* the first error is the one that the user sees */
	if (!t->cgroup_made) { /* it may be somebody else's */
		c->rec.cgroup = (struct cgroup_saved){ "disabled", "", "", "" };
		cgroup_free(c->cgroup);
		c->cgroup = c->tc.cgroup = NULL;
	}
	if (c->dir_fd >= 0)
		(void)ctr_purge(c, &ignored);
	else
		(void)rmdir(c->dir);
	if (t->poststop)
		(void)hooks_run(c, c->spec, OCI_HOOK_POSTSTOP, "stopped", 0, &ignored);
	err_clear(&ignored);
}

void caps_warn(const struct engine *eng, const struct oci_caps *caps) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	if (!eng->warn || caps_warnings(caps, &b) < 0 || !b.len)
		return;
	for (char *rest = b.s, *line; (line = strsep(&rest, "\n"));)
		if (*line)
			engine_warn(eng, "%s", line);
}

int transaction_run(struct engine *eng, struct transaction *t, struct created *ret, struct err *e) {
	t->console = t->pidfd_socket = t->terminal = t->root_fd = -EBADF;
	t->stdio.listen_fds = listen_fds();
	t->stdio.preserve_fds = t->o->preserve_fds;
	if (!t->build)
		t->build = build_by_tier;
	int r = ctr_id_valid(t->o->id, e);
	if (r == 0)
		r = preserved_fds_check(t->stdio.listen_fds, t->stdio.preserve_fds, e);
	if (r < 0)
		return r;
	struct ctr *c = t->c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->eng = eng;
	c->dir_fd = c->pidfd = c->tc.init_pidfd = c->tc.bundle_fd = c->tc.start_fd = -EBADF;
	c->rec.id = t->o->id;
	c->rec.cgroup = (struct cgroup_saved){ "disabled", "", "", "" };
	c->dir = arena_printf(&c->arena, "%s/%s", eng->root, t->o->id);
	r = c->dir ? load_config(t, e) : err_set(e, ENOMEM, "out of memory");
	if (r == 0)
		r = check_terminal(t->o, c->spec, e);
	if (r == 0)
		caps_warn(eng, &c->spec->process.caps);
	if (r == 0 && !t->o->detach)
		terminal_size_from_stdin(&c->spec->process);
	if (r == 0)
		r = choose_tier(t, e);
	if (r == 0)
		r = add_listen_env(t, e);
	if (r == 0)
		r = connect_sockets(t, e);
	if (r == 0)
		r = build(t, e);
	if (r < 0)
		undo(t);
	cleanup_close(&t->console);
	cleanup_close(&t->pidfd_socket);
	cleanup_close(&t->root_fd);
	strbuf_free(&t->config);
	if (r < 0) {
		ctr_free(c);
		t->c = NULL;
		return r;
	}
	*ret = (struct created){ .ctr = c, .terminal = t->terminal, .notify_fd = -EBADF };
	return 0;
}

int engine_create(struct engine *eng, const struct create_options *o, struct created *ret, struct err *e) {
	struct transaction t = { .o = o };
	return transaction_run(eng, &t, ret, e);
}

/* Containers in this machine: the namespace tier of the host's runtime, with the agent in the engine's place. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cmd/agent/agent.h"
#include "cmd/agent/wall.h"
#include "engine/hookrun.h"
#include "spec/state.h"
#include "sys/fd.h"
#include "wire/json.h"

#define GUEST_DIR "/run/tierce"

struct guest *guest_find(struct agent *a, const char *id)
{
	for (struct guest *g = a->guests; g && id; g = g->next)
		if (streq(g->id, id))
			return g;
	return NULL;
}

static struct proc *find_proc(struct guest *g, const char *exec_id)
{
	for (struct proc *p = g->procs; p; p = p->next)
		if (exec_id && *exec_id ? p->exec_id && streq(p->exec_id, exec_id) : !p->exec_id)
			return p;
	return NULL;
}

struct proc *guest_proc(struct agent *a, const char *id, const char *exec_id, struct err *e)
{
	struct guest *g = guest_find(a, id);
	struct proc *p = g ? find_proc(g, exec_id) : NULL;
	if (!p)
		err_set(e, g ? ESRCH : ENOENT, g ? "no such process in container %s" : "no container %s here", id ? id : "");
	return p;
}

static struct proc *proc_new(struct guest *g, const char *exec_id)
{
	struct proc *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->guest = g;
	p->in = p->out = p->err = p->pidfd = -EBADF;
	if (exec_id && !(p->exec_id = strdup(exec_id))) {
		free(p);
		return NULL;
	}
	return p;
}

static void proc_link(struct proc *p)
{
	struct proc **at = &p->guest->procs;
	while (*at)
		at = &(*at)->next;
	*at = p;
}

static void proc_unlink(struct proc *p)
{
	for (struct proc **at = &p->guest->procs; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			return;
		}
}

static void guest_free(struct agent *a, struct guest *g)
{
	for (struct guest **at = &a->guests; *at; at = &(*at)->next)
		if (*at == g) {
			*at = g->next;
			break;
		}
	while (g->procs) {
		struct proc *p = g->procs;
		g->procs = p->next;
		proc_free(p);
	}
	wall_cgroup_remove(g);
	if (g->dir)
		guest_root_unmount(g);
	if (g->tc.bundle_fd >= 0)
		close(g->tc.bundle_fd);
	if (g->tc.state_fd >= 0)
		close(g->tc.state_fd);
	arena_free(&g->arena);
	free(g->id);
	free(g->dir);
	free(g);
}

/* The tier gives a process the caller's 0, 1 and 2: put the child's ends there for the time of the call. */
static int with_stdio(struct proc_fds *f, int (*call)(void *arg, struct err *e), void *arg, struct err *e)
{
	int saved[3], r;
	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		dup2(f->child[i], i);
	}
	r = call(arg, e);
	for (int i = 0; i < 3; i++) {
		if (saved[i] >= 0) {
			dup2(saved[i], i);
			close(saved[i]);
		}
	}
	return r;
}

int guest_remove(struct agent *a, const char *id, struct err *e)
{
	_cleanup_err_ struct err ignored = ERR_INIT;
	struct guest *g = guest_find(a, id);
	if (!g)
		return err_set(e, ENOENT, "no container %s here", id ? id : "");
	(void)!wall->signal(&g->tc, SIGKILL, true, &ignored); /* what shares the pod's process namespace does not die with its init */
	guest_free(a, g);
	return 0;
}

/* Where later containers of the pod find the namespaces that they share with the first. */
static void publish_namespaces(pid_t pid)
{
	static const char *const names[] = { "pid", "ipc", "uts", "cgroup" };
	if (mkdir(AGENT_POD_NS, 0700) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char to[64], link[64];
		snprintf(to, sizeof to, "/proc/%d/ns/%s", (int)pid, names[i]);
		snprintf(link, sizeof link, AGENT_POD_NS "/%s", names[i]);
		(void)!symlink(to, link); /* one that is missing makes the join fail by name */
	}
}

struct create_call { struct guest *g; struct tier_create_options *o; };
static int call_create(void *arg, struct err *e)
{
	struct create_call *c = arg;
	return wall->create(&c->g->tc, c->o, e);
}

static int parse_config(struct guest *g, const struct pb_bytes *config, struct err *e)
{
	struct json *doc;
	int r = json_parse(&g->arena, config->p, config->n, &doc, e);
	if (r >= 0)
		r = oci_spec_from_json(&g->arena, doc, &g->spec, e);
	if (r < 0)
		return r;
	return g->spec->has_process ? 0 : err_set(e, EINVAL, "config.json: no process");
}

static int prepare(struct guest *g, const struct agent_create *q, struct err *e)
{
	char rootfs[600];
	if ((mkdir(GUEST_DIR, 0700) < 0 && errno != EEXIST) || asprintf(&g->dir, GUEST_DIR "/%s", q->id) < 0 || (mkdir(g->dir, 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "make the container's directory");
	int r = parse_config(g, &q->config, e);
	if (r >= 0 && (q->shares || (q->root && (q->root->share || q->root->layers.n))))
		r = shares_mount(e);
	if (r >= 0)
		r = guest_root_mount(g, q->root, e);
	if (r >= 0)
		r = wall_cgroup_make(g, e);
	if (r < 0)
		return r;
	snprintf(rootfs, sizeof rootfs, "%s/rootfs", g->dir);
	g->tc = (struct tier_container){ .id = g->id, .bundle = g->dir, .rootfs = arena_strdup(&g->arena, rootfs), .state_dir = g->dir, .spec = g->spec,
		.cgroup = g->cgroup, .init_pidfd = -EBADF, .start_fd = -EBADF };
	g->tc.bundle_fd = open(g->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	g->tc.state_fd = open(g->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return g->tc.bundle_fd < 0 || g->tc.state_fd < 0 || !g->tc.rootfs ? err_sys(e, errno, "open %s", g->dir) : 0;
}

static int no_op(struct tier_container *c, void *arg, struct err *e)
{
	(void)c, (void)arg, (void)e;
	return 0;
}

/* startContainer, in the container's own first process. The others are the host's. */
static int run_hooks(struct tier_container *c, enum oci_hook_point point, void *arg, struct err *e)
{
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
	const struct oci_hooks *h = &c->spec->hooks[point];
	struct oci_state s = { .version = c->spec->version, .id = c->id, .status = "created", .bundle = "/", .pid = getpid(), .annotations = &c->spec->annotations };
	(void)arg;
	int r = oci_state_write(&state, &s);
	for (size_t i = 0; r >= 0 && i < h->n; i++) {
		r = hook_run(c->spec, "/", point, &h->v[i], &state, e);
		if (r < 0)
			return err_wrap(e, r, "error running %s hook #%zu", oci_hook_point_names[point], i);
	}
	return r < 0 ? err_sys(e, r, "hooks") : 0;
}

int guest_create(struct agent *a, const struct agent_create *q, pid_t *ret_pid, struct err *e)
{
	struct proc_fds f;
	if (guest_find(a, q->id))
		return err_set(e, EEXIST, "container %s exists in this machine", q->id);
	struct guest *g = calloc(1, sizeof *g);
	if (!g || !(g->id = strdup(q->id))) {
		free(g);
		return err_set(e, ENOMEM, "create");
	}
	g->tc.bundle_fd = g->tc.state_fd = -EBADF;
	g->oom = (struct cgroup_oom)CGROUP_OOM_INIT;
	g->next = a->guests;
	a->guests = g;
	struct proc *p = proc_new(g, NULL);
	int r = p ? prepare(g, q, e) : err_set(e, ENOMEM, "create");
	if (p)
		proc_link(p);
	if (r >= 0)
		r = proc_open(p, q->terminal, &f, e);
	if (r >= 0) {
		struct tier_create_options o = { .stdio = { .console_socket = f.console[1], .terminal = -EBADF, .pidfd_socket = -EBADF }, .state_root_fd = -EBADF,
			.created = no_op, .run_hooks = run_hooks, .start_follows = true };
		struct create_call c = { g, &o };
		r = with_stdio(&f, call_create, &c, e);
		if (r >= 0) {
			p->pid = g->tc.init_pid;
			p->pidfd = g->tc.init_pidfd;
			r = proc_opened(p, &f, q->width, q->height, e);
		} else {
			proc_fds_close(&f);
		}
	}
	if (r < 0) {
		if (g->tc.init_pid > 0)
			kill(g->tc.init_pid, SIGKILL);
		guest_free(a, g);
		return r;
	}
	publish_namespaces(p->pid);
	*ret_pid = p->pid;
	return 0;
}

int guest_start(struct agent *a, const struct agent_ref *q, struct err *e)
{
	struct guest *g = guest_find(a, q->id);
	if (!g)
		return err_set(e, ENOENT, "no container %s here", q->id ? q->id : "");
	if (q->exec_id && *q->exec_id)
		return wall->exec_start ? wall->exec_start(&g->tc, q->exec_id, e) : err_set(e, EOPNOTSUPP, "exec in two phases");
	if (g->started)
		return err_set(e, EINVAL, "container %s is started already", g->id);
	int r = wall->start(&g->tc, e);
	g->started = r >= 0;
	return r;
}

struct exec_call { struct guest *g; struct tier_exec_options *o; pid_t pid; int pidfd; };
static int call_exec(void *arg, struct err *e)
{
	struct exec_call *c = arg;
	return wall->exec(&c->g->tc, c->o, &c->pid, &c->pidfd, e);
}

int guest_exec(struct agent *a, const struct agent_exec *q, pid_t *ret_pid, struct err *e)
{
	struct guest *g = guest_find(a, q->id);
	struct proc_fds f;
	struct json *doc;
	if (!g)
		return err_set(e, ENOENT, "no container %s here", q->id ? q->id : "");
	if (!q->exec_id || !*q->exec_id || find_proc(g, q->exec_id))
		return err_set(e, EEXIST, "exec id missing or taken");
	if (cgroup_frozen(g->cgroup) == 1) /* the new process would stop half-way, and we with it */
		return err_set(e, EBUSY, "container is paused: in a virtual machine nothing can be started in it before it is resumed");
	struct proc *p = proc_new(g, q->exec_id);
	if (!p)
		return err_set(e, ENOMEM, "exec");
	int r = json_parse(&p->arena, q->process.p, q->process.n, &doc, e);
	if (r >= 0)
		r = oci_process_from_json(&p->arena, doc, &p->process, e);
	if (r >= 0)
		r = proc_open(p, q->terminal, &f, e);
	if (r < 0) {
		proc_free(p);
		return r;
	}
	struct tier_exec_options o = { .stdio = { .console_socket = f.console[1], .terminal = -EBADF, .pidfd_socket = -EBADF }, .process = &p->process,
		.cgroup_sub = q->cgroup_sub, .exec_id = q->two_phase ? p->exec_id : NULL, .state_root_fd = -EBADF };
	struct exec_call c = { g, &o, 0, -EBADF };
	r = with_stdio(&f, call_exec, &c, e);
	if (r < 0) {
		proc_fds_close(&f);
	} else {
		p->pid = c.pid;
		p->pidfd = c.pidfd;
		r = proc_opened(p, &f, q->width, q->height, e);
	}
	if (r < 0) {
		if (p->pid > 0)
			kill(p->pid, SIGKILL);
		proc_free(p);
		return r;
	}
	proc_link(p);
	*ret_pid = p->pid;
	return 0;
}

int guest_signal(struct agent *a, const struct agent_signal *q, struct err *e)
{
	struct proc *p = guest_proc(a, q->id, q->exec_id, e);
	if (!p)
		return e->code;
	if (q->signal > 64)
		return err_set(e, EINVAL, "signal %llu", (unsigned long long)q->signal);
	if (!q->signal) /* only asks */
		return p->exited ? err_set(e, ESRCH, "process already finished") : 0;
	if (q->all || !p->exec_id)
		return wall->signal(&p->guest->tc, (int)q->signal, q->all, e);
	if (p->exited || kill(p->pid, (int)q->signal) < 0)
		return err_set(e, ESRCH, "process already finished");
	return 0;
}

int guest_update(struct agent *a, const struct agent_update *q, struct err *e)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT;
	struct guest *g = guest_find(a, q->id);
	struct oci_resources res;
	struct json *doc;
	if (!g)
		return err_set(e, ENOENT, "no container %s here", q->id ? q->id : "");
	int r = json_parse(&arena, q->resources.p, q->resources.n, &doc, e);
	if (r >= 0)
		r = oci_resources_from_json(&arena, doc, &res, e);
	return r < 0 ? r : wall_cgroup_update(g, &res, e);
}

int guest_mounts(struct agent *a, const struct agent_mounts *q, struct err *e)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT;
	struct guest *g = guest_find(a, q->id);
	struct oci_spec *spec;
	struct json *doc;
	if (!g)
		return err_set(e, ENOENT, "no container %s here", q->id ? q->id : "");
	int r = json_parse(&arena, q->config.p, q->config.n, &doc, e);
	if (r >= 0)
		r = oci_spec_from_json(&arena, doc, &spec, e);
	if (r >= 0 && q->shares)
		r = shares_mount(e);
	if (r < 0)
		return r;
	return (q->remove ? wall->mounts_remove : wall->mounts_add)(&g->tc, spec->mounts, spec->n_mounts, e);
}

int guest_freeze(struct agent *a, const char *id, bool frozen, struct err *e)
{
	struct guest *g = guest_find(a, id);
	return g ? wall_cgroup_freeze(g, frozen, e) : err_set(e, ENOENT, "no container %s here", id ? id : "");
}

int guest_stats(struct agent *a, const char *id, struct strbuf *out, struct err *e)
{
	struct guest *g = guest_find(a, id);
	return g ? wall_cgroup_stats(g, out, e) : err_set(e, ENOENT, "no container %s here", id ? id : "");
}

void guest_oom(struct agent *a, struct guest *g)
{
	struct proc *init = find_proc(g, NULL);
	int64_t kills = g->oom.fd >= 0 ? cgroup_oom_read(&g->oom) : 0;
	if (kills < 0) {
		cgroup_oom_close(&g->oom);
		kills = 0;
	}
	g->oom_kills += (uint64_t)kills;
	if (g->oom_kills == g->oom_told || !init || !init->stream)
		return;
	chan_io(&a->ctl, init->stream, IO_OOM, NULL, 0, g->oom_kills);
	g->oom_told = g->oom_kills;
}

void guest_reaped(struct agent *a, pid_t pid, int status)
{
	for (struct guest *g = a->guests; g; g = g->next)
		for (struct proc *p = g->procs; p; p = p->next)
			if (p->pid == pid && !p->exited) {
				p->exited = true;
				p->status = status;
			}
	/* Processes of exec whose end has been told are forgotten at the next chance; the init stays with its container. */
	for (struct guest *g = a->guests; g; g = g->next)
		for (struct proc *p = g->procs, *next; p; p = next) {
			next = p->next;
			if (p->exec_id && p->exit_sent) {
				proc_unlink(p);
				proc_free(p);
			}
		}
}

/* pod run FILE.yaml, kube play, kube down: the pod of a file, its readiness, and the foreground as a service. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "cmd/tierce/people/kube.h"
#include "sys/fd.h"

/* ---- the pod -------------------------------------------------------------------------------------------------------------------------------- */

static int find_pod_spec(struct kube *k) {
	const struct json *d = kube_doc(k, "Pod", NULL), *dep = kube_doc(k, "Deployment", NULL);
	if (!d && !dep)
		return err_set(k->e, -EINVAL, "the file has no Pod and no Deployment");
	if (d) {
		k->meta = json_get(d, "metadata");
		k->spec = json_get(d, "spec");
	} else {
		const struct json *t = json_get(json_get(dep, "spec"), "template");
		int64_t replicas = 1;
		(void)!json_i64(json_get(json_get(dep, "spec"), "replicas"), &replicas);
		if (replicas != 1)
			return err_set(k->e, -ENOTSUP, "Deployment with %lld replicas: only one is supported here (Kubernetes itself runs more)", (long long)replicas);
		k->meta = json_get(dep, "metadata");
		k->spec = json_get(t, "spec");
	}
	if (!json_str(k->meta, "name", NULL))
		return err_set(k->e, -EINVAL, "metadata.name is missing");
	if (!json_first(json_get(k->spec, "containers")))
		return err_set(k->e, -EINVAL, "spec.containers is missing or empty");
	if (kube_truth(k->spec, "shareProcessNamespace"))
		return err_set(k->e, -ENOTSUP, "shareProcessNamespace is not supported");
	return 0;
}

struct run_pod_opts { bool detach, replace, down, quiet, play; const char *network; struct opt_list publish; };

static int pod_options(struct kube *k, const struct run_pod_opts *o, struct pod_opts *po) {
	int r = 0;
	*po = (struct pod_opts){ .name = json_str(k->meta, "name", NULL), .hostname = json_str(k->spec, "hostname", NULL), .replace = o->replace, .publish = o->publish };
	if (kube_truth(k->spec, "hostNetwork"))
		r = kube_push(k, &po->network, "host");
	else if (o->network)
		r = kube_push(k, &po->network, o->network);
	for (const struct json *c = json_first(json_get(k->spec, "containers")); c && r == 0; c = c->next)
		for (const struct json *m = json_first(json_get(c, "ports")); m && r == 0; m = m->next) {
			const char *host = kube_text(k, json_get(m, "hostPort")), *inside = kube_text(k, json_get(m, "containerPort")), *ip = json_str(m, "hostIP", NULL);
			char proto[8];
			snprintf(proto, sizeof(proto), "%s", json_str(m, "protocol", "TCP"));
			for (char *s = proto; *s; s++)
				*s |= 32;
			if (host && inside)
				r = kube_push(k, &po->publish, arena_printf(&k->p->arena, "%s%s%s:%s/%s", ip ? ip : "", ip ? ":" : "", host, inside, proto));
		}
	for (const struct json *m = json_first(json_get(k->spec, "hostAliases")); m && r == 0; m = m->next)
		for (const struct json *h = json_first(json_get(m, "hostnames")); h && r == 0; h = h->next)
			r = kube_push(k, &po->add_host, arena_printf(&k->p->arena, "%s:%s", kube_text(k, h), json_str(m, "ip", "")));
	for (const struct json *m = json_first(json_get(k->meta, "labels")); m && r == 0; m = m->next)
		r = kube_push(k, &po->label, arena_printf(&k->p->arena, "%s=%s", m->key, kube_text(k, m) ? kube_text(k, m) : ""));
	return r;
}

static int run_init(struct kube *k) {
	int r = 0, fd;
	for (const struct json *c = json_first(json_get(k->spec, "initContainers")); c && r == 0; c = c->next) {
		struct pctr *ctr;
		r = kube_container(k, c, true, &ctr);
		if (r == 0)
			r = pctr_start(ctr, NULL, &fd, k->e);
		if (r < 0)
			break;
		int code = pctr_wait(ctr, k->e);
		if (code < 0)
			return code;
		if (code != 0)
			return err_set(k->e, -ECHILD, "init container %s ended with %d: see tierce logs %s", json_str(c, "name", ""), code, ctr->name);
	}
	return r;
}

static int bring_up(struct kube *k, const struct run_pod_opts *o) {
	struct pod_opts po;
	int r = pod_options(k, o, &po), fd;
	if (r == 0)
		r = pod_create(k->p, &po, &k->pod, k->e);
	if (r < 0)
		return r;
	r = pod_up(k->pod, k->e);
	if (r == 0)
		r = run_init(k);
	for (const struct json *c = json_first(json_get(k->spec, "containers")); c && r == 0; c = c->next) {
		struct pctr *ctr;
		r = kube_container(k, c, false, &ctr);
		if (r == 0)
			r = pctr_start(ctr, NULL, &fd, k->e);
	}
	if (r < 0) {
		/* Half a pod is no pod: nothing stays. */
		(void)!pod_remove(k->pod, true, NULL);
	}
	return r;
}

static void notify(const char *text) {
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (!path || strlen(path) >= sizeof(sa.sun_path))
		return;
	strcpy(sa.sun_path, path);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

/* ---- readiness: startup and readiness probes, run from here by `tierce exec` ------------------------------------------------------------------ */

struct ready { struct pctr *ctr; const char *command[2]; int64_t period, successes, needed; uint64_t next; };
enum { READY_MAX = 64 };

static uint64_t now_ms(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* A row per container with a startupProbe or readinessProbe. */
static int ready_rows(struct kube *k, struct ready *v, size_t *n) {
	static const char *const probes[] = { "startupProbe", "readinessProbe" };
	*n = 0;
	for (const struct json *c = json_first(json_get(k->spec, "containers")); c && *n < READY_MAX; c = c->next) {
		struct ready row = { .period = 1, .needed = 1 };
		for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
			const struct json *p = json_get(c, probes[i]);
			if (!p)
				continue;
			row.command[i] = kube_probe_command(k, c, probes[i]);
			if (!row.command[i])
				return -ENOTSUP;
			row.period = MAX(kube_probe_number(k, p, "periodSeconds", 10), (int64_t)1);
			row.needed = MAX(kube_probe_number(k, p, "successThreshold", 1), (int64_t)1);
			row.next = now_ms() + (uint64_t)MAX(kube_probe_number(k, p, "initialDelaySeconds", 0), (int64_t)0) * 1000;
		}
		if (!row.command[0] && !row.command[1])
			continue;
		int r = pctr_find(k->p, arena_printf(&k->p->arena, "%s-%s", k->pod->name, json_str(c, "name", "")), &row.ctr, k->e);
		if (r < 0)
			return r;
		v[(*n)++] = row;
	}
	return 0;
}

static bool probe_succeeds(struct kube *k, struct pctr *c, const char *command) {
	const char *args[80];
	size_t n = 0;
	struct json *words;
	_cleanup_err_ struct err e = ERR_INIT;
	args[n++] = k->p->self;
	args[n++] = "--noout";
	args[n++] = "--root";
	args[n++] = k->p->data_dir;
	args[n++] = "--runroot";
	args[n++] = k->p->run_dir;
	args[n++] = "exec";
	args[n++] = c->id;
	if (command[0] == '[' && json_parse(&k->p->arena, command, strlen(command), &words, NULL) == 0) {
		for (const struct json *m = json_first(words); m && n < ARRAY_SIZE(args) - 1; m = m->next)
			args[n++] = m->text;
	} else {
		args[n++] = "sh";
		args[n++] = "-c";
		args[n++] = command;
	}
	args[n] = NULL;
	return spawn_quiet(args, &e) == 0;
}

/* Looks at every row whose time has come. True when all have succeeded. */
static bool all_ready(struct kube *k, struct ready *v, size_t n) {
	bool all = true;
	for (size_t i = 0; i < n; i++) {
		if (v[i].successes >= v[i].needed)
			continue;
		if (now_ms() >= v[i].next) {
			v[i].next = now_ms() + (uint64_t)v[i].period * 1000;
			if (v[i].command[0] && probe_succeeds(k, v[i].ctr, v[i].command[0]))
				v[i].command[0] = NULL;
			if (!v[i].command[0])
				v[i].successes = !v[i].command[1] ? v[i].needed : probe_succeeds(k, v[i].ctr, v[i].command[1]) ? v[i].successes + 1 : 0;
		}
		all &= v[i].successes >= v[i].needed;
	}
	return all;
}

/* The foreground: we are the service. Ends on a signal (the pod is stopped) or when every container has ended. */
static int stay(struct kube *k) {
	sigset_t set;
	const char *usec = getenv("WATCHDOG_USEC");
	int watchdog = usec ? (int)(atoll(usec) / 2000) : -1, code = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	_cleanup_close_ int sig = signalfd(-1, &set, SFD_CLOEXEC);
	struct ready rows[READY_MAX];
	size_t n_rows;
	bool ready = false;
	int ok = ready_rows(k, rows, &n_rows);
	if (ok < 0) {
		(void)!pod_remove(k->pod, true, NULL);
		return ok;
	}
	for (;;) {
		if (!ready && (ready = all_ready(k, rows, n_rows)))
			notify("READY=1\nSTATUS=pod is ready");
		struct pollfd p = { sig, POLLIN, 0 };
		int wait = watchdog > 0 ? MIN(watchdog, 1000) : ready ? 1000 : 200;
		if (poll(&p, 1, wait) > 0)
			break;
		struct pctr **v;
		size_t n, alive = 0;
		if (pod_members(k->pod, &v, &n, NULL) == 0) {
			for (size_t i = 0; i < n; i++) {
				alive += v[i]->pid || streq(v[i]->state, "restarting");
				if (!v[i]->pid && v[i]->status.exit_code)
					code = v[i]->status.exit_code;
			}
			if (!alive)
				break;
		}
		if (watchdog > 0)
			notify("WATCHDOG=1");
		code = alive ? 0 : code;
	}
	notify("STOPPING=1");
	int r = pod_remove(k->pod, true, k->e);
	k->t->exit_code = code;
	return r;
}

static const struct opt run_rows[] = {
	{ .name = "detach", .short_name = 'd', .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, detach), .help = "return when it runs" },
	{ .name = "down", .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, down), .help = "remove the pod of this file instead" },
	{ .name = "network", .kind = OPT_STRING, .offset = offsetof(struct run_pod_opts, network), .arg = "NETWORK", .help = "network of the pod" },
	{ .name = "publish", .short_name = 'p', .kind = OPT_LIST, .offset = offsetof(struct run_pod_opts, publish), .arg = "PORT", .help = "publish a port besides those of the file" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, quiet), .help = "no output of pulls" },
	{ .name = "replace", .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, replace), .help = "remove a pod of the same name first" },
};

static int print_played(struct kube *k) {
	struct pctr **v;
	size_t n;
	int r = pod_members(k->pod, &v, &n, k->e);
	if (r < 0)
		return r;
	printf("Pod:\n%s\nContainer%s:\n", k->pod->id, n == 1 ? "" : "s");
	for (size_t i = 0; i < n; i++)
		puts(v[i]->id);
	return 0;
}

static int c_run(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct run_pod_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = tierce_people(t, &p, e);
	struct kube k = { .t = t, .p = &p, .e = e, .quiet = o->quiet };
	if (r == 0) {
		r = streq(argv[0], "-") ? fd_read_rest(0, &text, YAML_MAX) : file_read_at(AT_FDCWD, argv[0], &text, YAML_MAX);
		if (r < 0)
			err_sys(e, r, "read %s", argv[0]);
	}
	if (r == 0)
		r = yaml_parse(&p.arena, text.s, text.len, &k.docs, e);
	if (r == 0)
		r = find_pod_spec(&k);
	if (r == 0 && o->down) {
		r = pod_find(&p, json_str(k.meta, "name", ""), &k.pod, e);
		if (r == 0)
			r = pod_remove(k.pod, true, e);
	} else if (r == 0) {
		r = bring_up(&k, o);
		if (r == 0 && o->detach)
			puts(k.pod->id);
		else if (r == 0 && o->play)
			r = print_played(&k);
		else if (r == 0)
			r = stay(&k);
	}
	if (r < 0)
		err_wrap(e, r, "%s", argv[0]);
	people_close(&p);
	return r;
}

const struct command cmd_pod_run = { .name = "pod run", .operands = "FILE.yaml|-", .summary = "Run a Kubernetes Pod from a file", OPTS(run_rows), .min_args = 1, .max_args = 1, .operand_kind = 'f', .run = c_run,
	.description = "Pod, or Deployment of one replica, with ConfigMap, Secret and PersistentVolumeClaim from the same file. In the foreground the command is the service: it tells\n"
		       "systemd when the pod is ready, feeds the watchdog, stops the pod on SIGTERM, and ends when all containers have ended." };

/* podman's words for the same: in the background, and removal by the file. */
static int c_play(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct run_pod_opts o = *(const struct run_pod_opts *)opts;
	o.play = true;
	return c_run(t, &o, argc, argv, e);
}

static int c_down(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct run_pod_opts o = *(const struct run_pod_opts *)opts;
	o.down = true;
	return c_run(t, &o, argc, argv, e);
}

const struct command cmd_kube_play = { .name = "kube play", .operands = "FILE.yaml|-", .summary = "Run a Kubernetes Pod from a file in the background", OPTS(run_rows), .min_args = 1, .max_args = 1,
	.operand_kind = 'f', .run = c_play };
const struct command cmd_kube_down = { .name = "kube down", .operands = "FILE.yaml|-", .summary = "Stop and remove the Pod of a file", .opts = run_rows, .n_opts = 0, .min_args = 1, .max_args = 1,
	.operand_kind = 'f', .run = c_down };

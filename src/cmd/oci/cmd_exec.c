/* exec and exec-start: a further process in a running container. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"

struct exec_cmd {
	const char *process, *console_socket, *pidfd_socket, *cwd, *user, *pid_file, *process_label, *apparmor, *exec_id;
	struct opt_list env, gids, caps, cgroup;
	uint32_t preserve_fds;
	bool tty, detach, no_new_privs, ignore_paused, no_subreaper, no_new_keyring;
};
OPTION_FITS(struct exec_cmd);
#define AT(m) offsetof(struct exec_cmd, m)
static const struct opt opts_[] = {
	{ "process", 'p', OPT_STRING, 0, COMPLETE_FILE, AT(process), "FILE", "path to the process.json", NULL },
	{ "console-socket", 0, OPT_STRING, 0, COMPLETE_FILE, AT(console_socket), "PATH", "AF_UNIX socket which will receive the master of the console's pseudo-terminal", NULL },
	{ "pidfd-socket", 0, OPT_STRING, 0, COMPLETE_FILE, AT(pidfd_socket), "PATH", "AF_UNIX socket which will receive a pidfd of the exec process", NULL },
	{ "cwd", 0, OPT_STRING, 0, 0, AT(cwd), "DIR", "current working directory in the container", NULL },
	{ "env", 'e', OPT_LIST, 0, 0, AT(env), "NAME=VALUE", "set environment variables", NULL },
	{ "tty", 't', OPT_FLAG, 0, 0, AT(tty), NULL, "allocate a pseudo-TTY", NULL },
	{ "user", 'u', OPT_STRING, 0, 0, AT(user), "UID[:GID]", "user and group of the process", NULL },
	{ "additional-gids", 'g', OPT_LIST, OPT_CLUSTER, 0, AT(gids), "GID", "additional group ids", NULL },
	{ "detach", 'd', OPT_FLAG, 0, 0, AT(detach), NULL, "detach from the container's process", NULL },
	{ "pid-file", 0, OPT_STRING, 0, COMPLETE_FILE, AT(pid_file), "FILE", "file to write the process id to", NULL },
	{ "process-label", 0, OPT_STRING, 0, 0, AT(process_label), "LABEL", "SELinux label of the process", NULL },
	{ "apparmor", 0, OPT_STRING, 0, 0, AT(apparmor), "PROFILE", "AppArmor profile of the process", NULL },
	{ "no-new-privs", 0, OPT_FLAG, 0, 0, AT(no_new_privs), NULL, "set the no new privileges value for the process", NULL },
	{ "cap", 'c', OPT_LIST, 0, 0, AT(caps), "CAP", "add a capability to the bounding, effective, permitted and ambient sets", NULL },
	{ "preserve-fds", 0, OPT_U32, 0, 0, AT(preserve_fds), "N", "pass N additional file descriptors to the process", NULL },
	{ "cgroup", 0, OPT_LIST, 0, 0, AT(cgroup), "[CONTROLLER:]PATH", "run the process in an (existing) sub-cgroup", NULL },
	{ "ignore-paused", 0, OPT_FLAG, 0, 0, AT(ignore_paused), NULL, "allow exec in a paused container", NULL },
	{ "exec-id", 0, OPT_STRING, 0, 0, AT(exec_id), "ID", "create the process only, under this name; \"exec-start\" lets it run. Implies --detach", NULL },
	{ "no-subreaper", 0, OPT_FLAG, OPT_HIDDEN, 0, AT(no_subreaper), NULL, "do not become the subreaper", NULL },
	{ "no-new-keyring", 0, OPT_FLAG, OPT_HIDDEN, 0, AT(no_new_keyring), NULL, "do not create a new session keyring", NULL },
};

/* Strictly numbers: names would have to be looked up in files that the container controls (CVE-2022-29162 and its kin). */
static int parse_user(const char *s, struct oci_user *u, struct err *e) {
	_cleanup_free_ char *copy = strdup(s);
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	char *colon = strchr(copy, ':');
	if (colon)
		*colon++ = 0;
	if (parse_u32(copy, &u->uid) < 0 || u->uid == UINT32_MAX)
		return err_set(e, EINVAL, "parsing %s as int for uid failed: expected a number below 4294967295", copy);
	if (colon && (parse_u32(colon, &u->gid) < 0 || u->gid == UINT32_MAX))
		return err_set(e, EINVAL, "parsing %s as int for gid failed: expected a number below 4294967295", colon);
	u->additional_gids = NULL; /* the container's own groups belong to its own user */
	u->n_additional_gids = 0;
	return 0;
}

static int add_gids(struct arena *a, const struct opt_list *l, struct oci_user *u, struct err *e) {
	size_t max = u->n_additional_gids;
	for (size_t i = 0; i < l->n; i++)
		max += strlen(l->v[i]) / 2 + 1;
	uint32_t *v = arena_array(a, max + 1, uint32_t);
	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	if (u->n_additional_gids)
		memcpy(v, u->additional_gids, u->n_additional_gids * sizeof(*v));
	size_t n = u->n_additional_gids;
	for (size_t i = 0; i < l->n; i++) {
		char *copy = arena_strdup(a, l->v[i]), *rest = copy, *word;
		while (copy && (word = strsep(&rest, ",")))
			if (parse_u32(word, &v[n]) < 0 || v[n++] == UINT32_MAX)
				return err_set(e, EINVAL, "additional gid \"%s\" is not a number below 4294967295", word);
	}
	u->additional_gids = v;
	u->n_additional_gids = n;
	return 0;
}

/* A variable that is there already is replaced. */
static int add_env(struct arena *a, const struct opt_list *l, struct oci_strings *env, struct err *e) {
	if (!l->n)
		return 0;
	char **v = arena_array(a, env->n + l->n + 1, char *);
	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	size_t n = env->n;
	if (n)
		memcpy(v, env->v, n * sizeof(*v));
	for (size_t i = 0; i < l->n; i++) {
		size_t len = strcspn(l->v[i], "="), k;
		if (len == 0)
			return err_set(e, EINVAL, "invalid environment variable \"%s\": name is empty", l->v[i]);
		for (k = 0; k < n && !(strncmp(v[k], l->v[i], len) == 0 && (v[k][len] == '=' || !v[k][len])); k++)
			;
		v[k] = (char *)(uintptr_t)l->v[i];
		n = MAX(n, k + 1);
	}
	env->v = v;
	env->n = n;
	return 0;
}

/* Unknown names are warned about, as in the configuration. */
static void add_caps(struct engine *eng, const struct opt_list *l, struct oci_process *p) {
	for (size_t i = 0; i < l->n; i++) {
		char name[64];
		snprintf(name, sizeof(name), "%s%s", strncasecmp(l->v[i], "CAP_", 4) == 0 ? "" : "CAP_", l->v[i]);
		int n = oci_capability_number(name);
		p->caps.set = true;
		if (n < 0) {
			engine_warn(eng, "ignoring unknown or unavailable capabilities: [%s]", l->v[i]);
			continue;
		}
		uint64_t bit = 1ULL << n;
		p->caps.bounding |= bit;
		p->caps.effective |= bit;
		p->caps.permitted |= bit;
		/* Ambient needs inheritable; a process of root gets them without either, and an inheritable set of its own would leak (CVE-2022-29162). */
		if (p->user.uid != 0) {
			p->caps.inheritable |= bit;
			p->caps.ambient |= bit;
		}
	}
}

static int load_process(struct ctr *c, const char *path, struct oci_process *ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json *doc;
	int r = streq(path, "-") ? fd_read_rest(0, &b, OCI_CONFIG_MAX) : file_read_at(AT_FDCWD, path, &b, OCI_CONFIG_MAX);
	if (r < 0)
		return err_sys(e, r, "open %s", path);
	r = json_parse(&c->arena, b.s, b.len, &doc, e);
	if (r == 0)
		r = oci_process_from_json(&c->arena, doc, ret, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	/* What the document leaves out of these is the container's (runc): an exec is no way round its confinement. */
	const struct oci_process *of = &c->spec->process;
	if (!ret->caps.set)
		ret->caps = of->caps;
	ret->apparmor_profile = ret->apparmor_profile ?: of->apparmor_profile;
	ret->selinux_label = ret->selinux_label ?: of->selinux_label;
	if (!ret->n_rlimits) {
		ret->rlimits = of->rlimits;
		ret->n_rlimits = of->n_rlimits;
	}
	if (!ret->scheduler.set)
		ret->scheduler = of->scheduler;
	if (!ret->io_priority_set) {
		ret->io_priority_set = of->io_priority_set;
		ret->io_class = of->io_class;
		ret->io_priority = of->io_priority;
	}
	return 0;
}

static int build_process(struct ctr *c, const struct exec_cmd *o, int argc, char **argv, struct oci_process *p, struct err *e) {
	int r = ctr_load_spec(c, e);
	if (r < 0)
		return r;
	if (o->process)
		return load_process(c, o->process, p, e);
	*p = c->spec->process;
	p->args.v = argv;
	p->args.n = (size_t)argc;
	p->terminal = o->tty;
	p->console_width.set = p->console_height.set = false;
	if (o->cwd)
		p->cwd = o->cwd;
	if (o->apparmor)
		p->apparmor_profile = o->apparmor;
	if (o->process_label)
		p->selinux_label = o->process_label;
	if (o->no_new_privs)
		p->no_new_privileges = true;
	if (o->user)
		r = parse_user(o->user, &p->user, e);
	if (r == 0)
		r = add_gids(&c->arena, &o->gids, &p->user, e);
	if (r == 0)
		r = add_env(&c->arena, &o->env, &p->env, e);
	if (r == 0)
		add_caps(c->eng, &o->caps, p);
	return r;
}

static int join_lines(struct arena *a, const struct opt_list *l, const char **ret) {
	*ret = NULL;
	for (size_t i = 0; i < l->n; i++)
		if (!(*ret = *ret ? arena_printf(a, "%s\n%s", *ret, l->v[i]) : l->v[i]))
			return -ENOMEM;
	return 0;
}

static int do_exec(struct cli *cli, const struct exec_cmd *o, int argc, char **argv, struct err *e) {
	_cleanup_ctr_ struct ctr *c = NULL;
	struct oci_process p = { 0 };
	if (argc < 2 && !o->process)
		return err_set(e, EINVAL, "process args cannot be empty");
	int r = preserved_fds_check(0, o->preserve_fds, e);
	if (r == 0)
		r = ctr_open(&cli->eng, argv[0], 0, &c, e);
	if (r == 0)
		r = build_process(c, o, argc - 1, argv + 1, &p, e);
	if (r < 0)
		return r;
	struct exec_options eo = { .process = &p, .console_socket = o->console_socket && *o->console_socket ? o->console_socket : NULL,
		.pidfd_socket = o->pidfd_socket && *o->pidfd_socket ? o->pidfd_socket : NULL, .pid_file = o->pid_file && *o->pid_file ? o->pid_file : NULL,
		.exec_id = o->exec_id, .preserve_fds = o->preserve_fds, .detach = o->detach || o->exec_id, .ignore_paused = o->ignore_paused,
		.no_new_keyring = o->no_new_keyring };
	if (o->exec_id && ctr_id_valid(o->exec_id, e) < 0)
		return err_wrap(e, EINVAL, "--exec-id");
	if (join_lines(&c->arena, &o->cgroup, &eo.cgroup) < 0)
		return err_set(e, ENOMEM, "out of memory");
	struct executed x;
	r = engine_exec(c, &eo, &x, e);
	if (r < 0)
		return r;
	if (!eo.detach) {
		foreground_prepare(false);
		struct foreground f = { .pid = x.pid, .pidfd = x.pidfd, .terminal = x.terminal, .notify_fd = -EBADF, .forward_signals = true,
			.width = (unsigned)p.console_width.v, .height = (unsigned)p.console_height.v };
		r = foreground_wait(&f, e);
		x.terminal = f.terminal;
		if (r >= 0) {
			cli->exit_code = r;
			r = 0;
		}
	}
	cleanup_close(&x.pidfd);
	cleanup_close(&x.terminal);
	return r;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	int r = do_exec(cli, opts, argc, argv, e);
	return r < 0 && !str_has_prefix(err_msg(e), "exec failed: ") ? err_wrap(e, r, "exec failed") : r;
}

static int run_start(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], 0, &c, e);
	if (r == 0)
		r = ctr_id_valid(argv[1], e);
	if (r == 0)
		r = engine_exec_start(c, argv[1], e);
	return r < 0 ? err_wrap(e, r, "exec-start failed") : 0;
}

const struct command cmd_exec = { "exec", "<container-id> <command> [args]", "execute new process inside the container",
	"Runs a further process in a running container. Options end at the container id. The exit status is the process's; 255 says that the runtime failed.\n\n"
	"With --exec-id the process is created, placed in its namespaces and cgroup, and its pid file written, but it does not run before exec-start names it.",
	opts_, ARRAY_SIZE(opts_), CMD_STOP_AT_OPERAND | CMD_EXIT_255 | CMD_ENTERS, 1, -1, 'c', run };
const struct command cmd_exec_start = { "exec-start", "<container-id> <exec-id>", "let a process that \"exec --exec-id\" created run",
	"The second phase of an exec in two phases. An error of the program's execve is reported here.", NULL, 0, CMD_EXIT_255, 2, 2, 'c', run_start };

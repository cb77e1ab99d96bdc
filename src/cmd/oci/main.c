/* tierce-oci: the OCI runtime's command line. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "cmd/oci/cli.h"
#include "confine/exe.h"
#include "version.h"

extern const struct tier_ops tier_ns, tier_sentry, tier_vm;
static const struct tier_ops *const tiers[] = {
#ifdef HAVE_TIER_NS
	&tier_ns,
#endif
#ifdef HAVE_TIER_SENTRY
	&tier_sentry,
#endif
#ifdef HAVE_TIER_VM
	&tier_vm,
#endif
	NULL,
};

static void on_debug(void *arg, const char *msg) { cli_log(arg, LOG_DEBUG, msg); }
static void on_warn(void *arg, const char *msg) { cli_log(arg, LOG_WARN, msg); }

static int fail(struct cli *cli, int code, const struct err *e) {
	cli_log(cli, LOG_ERROR, err_msg(e));
	return code;
}

static void print_version(const struct cli *cli) {
	printf("%s version %s\ncommit: %s\nspec: 1.3.0\n+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU +LANDLOCK\n", cli->prog, TIERCE_VERSION,
		TIERCE_COMMIT);
}

static int choose_manager(struct cli *cli, const struct engine_conf *conf, struct err *e) {
	static const struct { const char *name; enum cgroup_manager m; } names[] = {
		{ "cgroupfs", CGROUP_MANAGER_CGROUPFS }, { "systemd", CGROUP_MANAGER_SYSTEMD }, { "disabled", CGROUP_MANAGER_DISABLED },
	};
	const char *want = cli->global.cgroup_manager ? cli->global.cgroup_manager : conf->cgroup_manager;
	cli->eng.cgroup_manager = CGROUP_MANAGER_CGROUPFS;
	if (cli->global.systemd_cgroup && !cli->global.cgroup_manager)
		want = "systemd";
	for (size_t i = 0; want && i < ARRAY_SIZE(names); i++)
		if (streq(names[i].name, want)) {
			cli->eng.cgroup_manager = names[i].m;
			return 0;
		}
	return want ? err_set(e, EINVAL, "unknown cgroup manager \"%s\": cgroupfs, systemd or disabled", want) : 0;
}

static int absolute_root(struct cli *cli, struct err *e) {
	const char *root = cli->global.root;
	char buf[PATH_MAX];
	if (!root || !*root) {
		int r = engine_default_root(buf, sizeof(buf), e);
		if (r < 0)
			return r;
		cli->eng.root_default = true;
		root = buf;
	}
	if (*root == '/') {
		cli->eng.root = arena_strdup(&cli->arena, root);
	} else {
		char cwd[PATH_MAX];
		if (!getcwd(cwd, sizeof(cwd)))
			return err_sys(e, errno, "getcwd");
		cli->eng.root = arena_printf(&cli->arena, "%s/%s", cwd, root);
	}
	return cli->eng.root ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* A caller that closed one of 0-2 must not have a descriptor of ours handed to the container in its place. */
static int standard_fds(void) {
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
			return -errno;
	return 0;
}

static int setup_engine(struct cli *cli, const struct command *c, struct err *e) {
	struct engine_conf conf = { 0 };
	const char *path = getenv("TIERCE_CONF");
	int r = engine_conf_load(&cli->arena, path ? path : TIERCE_CONF_PATH, &conf, e);
	if (r == 0)
		r = absolute_root(cli, e);
	if (r == 0)
		r = choose_manager(cli, &conf, e);
	if (r < 0)
		return r;
	cli->eng.rootless = c->flags & CMD_ENTERS && engine_is_rootless();
	if (cli->global.rootless && (streq(cli->global.rootless, "true") || streq(cli->global.rootless, "1")))
		cli->eng.rootless = true;
	cli->eng.criu_path = cli->global.criu ? cli->global.criu : conf.criu;
	cli->eng.tiers = tiers;
	cli->eng.isolation = cli->global.isolation;
	cli->eng.isolation_default = str_has_suffix(cli->prog, "-sentry") ? "sentry" : str_has_suffix(cli->prog, "-vm") ? "vm" : conf.isolation;
	cli->eng.debug = cli->level >= LOG_DEBUG ? on_debug : NULL;
	cli->eng.warn = on_warn;
	cli->eng.debug_arg = cli;
	return 0;
}

static int check_operands(const struct cli *cli, const struct command *c, int argc, struct err *e) {
	const char *kind = NULL;
	int want = c->min_args;
	if (argc < c->min_args)
		kind = c->max_args == c->min_args ? "exactly" : "a minimum of";
	else if (c->max_args >= 0 && argc > c->max_args) {
		kind = c->max_args == c->min_args ? "exactly" : "a maximum of";
		want = c->max_args;
	}
	if (!kind)
		return 0;
	return err_set(e, EINVAL, "%s: \"%s\" requires %s %d argument%s", cli->prog, c->name, kind, want, want == 1 ? "" : "s");
}

static int run_command(struct cli *cli, const struct command *c, int argc, char **argv) {
	_Alignas(max_align_t) char opts[COMMAND_MAX_OPTIONS_SIZE] = { 0 };
	_cleanup_err_ struct err e = ERR_INIT;
	struct opt_parse p;
	int failed = c->flags & CMD_EXIT_255 ? 255 : 1;
	int r = opt_parse(c->opts, c->n_opts, opts, c->flags & CMD_STOP_AT_OPERAND, argc, argv, &p, &e);
	if (r == 0 && p.help) {
		help_command(cli->prog, c, stdout);
		opt_release(c->opts, c->n_opts, opts);
		return 0;
	}
	if (r == 0) {
		r = check_operands(cli, c, p.argc, &e);
		if (r < 0) {
			printf("Incorrect Usage.\n\n");
			help_command(cli->prog, c, stdout);
			failed = 1;
		}
	} else
		failed = 1;
	if (r == 0)
		r = setup_engine(cli, c, &e);
	if (r == 0 && c->flags & CMD_ENTERS)
		r = exe_reexec(cli->argv, &e);
	if (r == 0)
		r = c->run(cli, opts, p.argc, p.argv, &e);
	opt_release(c->opts, c->n_opts, opts);
	return r < 0 ? fail(cli, failed, &e) : cli->exit_code;
}

static int no_topic(struct cli *cli, const char *name) {
	_cleanup_err_ struct err e = ERR_INIT;
	err_set(&e, EINVAL, "No help topic for '%s'", name);
	return fail(cli, 3, &e);
}

int main(int argc, char **argv) {
	struct cli cli = { .prog = argc && argv[0] ? argv[0] : "tierce-oci" };
	_cleanup_err_ struct err e = ERR_INIT;
	struct opt_parse p;
	if (standard_fds() < 0)
		return 1;
	const char *slash = strrchr(cli.prog, '/');
	if (slash)
		cli.prog = slash + 1;
	/* The parser reorders operands in place; executing ourselves anew needs the words as they were. */
	cli.argv = arena_array(&cli.arena, (size_t)argc + 1, char *);
	if (!cli.argv)
		return 1;
	memcpy(cli.argv, argv, (size_t)argc * sizeof(*argv));
	int r = opt_parse(global_opts, n_global_opts, &cli.global, true, argc > 0 ? argc - 1 : 0, argv + (argc > 0), &p, &e);
	if (r == 0)
		r = cli_log_setup(&cli, &e);
	if (r < 0)
		return fail(&cli, 1, &e);
	if (cli.global.version) {
		print_version(&cli);
		return 0;
	}
	if (p.argc && (streq(p.argv[0], "help") || streq(p.argv[0], "h")))
		p = (struct opt_parse){ p.argc - 1, p.argv + 1, true };
	if (p.argc == 0) {
		help_program(cli.prog, stdout);
		return 0;
	}
	const struct command *c = command_find(p.argv[0]);
	if (!c)
		return no_topic(&cli, p.argv[0]);
	if (p.help) {
		help_command(cli.prog, c, stdout);
		return 0;
	}
	r = run_command(&cli, c, p.argc - 1, p.argv + 1);
	arena_free(&cli.arena);
	if (fflush(stdout) != 0 && r == 0)
		r = 1;
	return r;
}

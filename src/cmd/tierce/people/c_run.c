/* run, create, start, attach, exec. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "cmd/tierce/people/people.h"
#include "cmd/tierce/people/tiers.h"
#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

int tierce_people(struct cli *t, struct people *p, struct err *e) {
	*p = (struct people){ .arena = ARENA_INIT };
	p->eng.tiers = tierce_tiers;
	p->cli = t;
	return people_open(p, t->global.root, t->global.runroot, e);
}

static int write_id_file(const char *path, const char *id, struct err *e) {
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, errno, errno == EEXIST ? "container ID file found, make sure the other container isn't running or delete %s" : "--cidfile %s", path);
	int r = fd_write_all(fd, id, strlen(id));
	return r < 0 ? err_sys(e, r, "--cidfile %s", path) : 0;
}

int container_new(struct cli *t, struct people *p, struct run_opts *o, int argc, char **argv, struct pctr **ret, struct err *e) {
	struct image_pick pick = { 0 };
	const char *const *command = (const char *const *)argv;
	size_t n = (size_t)argc;
	int r = 0;
	if (!o->isolation)
		o->isolation = t->global.isolation;
	if (o->pod && strlen(o->pod) != 64 && (r = pod_resolve(p, o, e)) < 0)
		return r;
	if (o->cidfile && access(o->cidfile, F_OK) == 0)
		return err_set(e, -EEXIST, "container ID file found, make sure the other container isn't running or delete %s", o->cidfile);
	if (o->rmi)
		o->rm = true;
	if ((r = labels_from_files(p, o, e)) < 0)
		return r;
	/* Mistakes in the options are said before an image is fetched for them. */
	struct pctr probe = { .p = p, .opts = *o, .id = "", .name = o->name ? o->name : "", .image = "", .image_id = "", .dir = p->data_dir, .pod_id = o->pod,
		.command = command + 1, .n_command = n ? n - 1 : 0 };
	if ((r = bundle_check(&probe, e)) < 0)
		return r;
	const char *rootfs = NULL;
	if (!o->rootfs_flag) {
		r = image_pick(p, argv[0], o, &pick, e);
		if (r < 0)
			return r;
		command++;
		n--;
	} else {
		char *real = realpath(argv[0], NULL);
		if (!real)
			return err_sys(e, errno, "--rootfs %s", argv[0]);
		rootfs = arena_strdup(&p->arena, real);
		free(real);
		command++;
		n--;
	}
	const char *net = o->network.n ? o->network.v[0] : "";
	if ((o->publish.n || o->publish_all) && streq(net, "host"))
		fputs("Port mappings have been discarded as one of the Host, Container, Pod, and None network modes are in use\n", stderr);
	if (o->replace && o->name) {
		struct pctr *old;
		if (pctr_find(p, o->name, &old, NULL) == 0 && streq(old->name, o->name) && (r = pctr_remove(old, true, false, -1, e)) < 0)
			return r;
	}
	r = pctr_create(p, o, rootfs ? rootfs : pick.ref, pick.id, pick.config, command, n, ret, e);
	if (r < 0)
		return r;
	r = bundle_check(*ret, e);
	if (r == 0)
		r = rootfs_create(*ret, e);
	if (r == 0 && o->cidfile)
		r = write_id_file(o->cidfile, (*ret)->id, e);
	if (r < 0) {
		(void)!rootfs_remove(*ret, NULL);
		(void)!pctr_forget(*ret, NULL);
		return r;
	}
	event_container(*ret, "create");
	return 0;
}

static int wanted_streams(const struct run_opts *o, struct attach_io *io, struct err *e) {
	*io = (struct attach_io){ .tty = o->tty, .detach_keys = o->detach_keys };
	int r = parse_bool("--sig-proxy", o->sig_proxy, true, &io->sig_proxy, e);
	if (r < 0)
		return r;
	if (o->tty && o->interactive)
		io->sig_proxy = false; /* the terminal's own keys make the signals inside */
	if (!o->attach.n) {
		io->in = o->interactive;
		io->out = io->err = true;
	}
	for (size_t i = 0; i < o->attach.n; i++) {
		const char *s = o->attach.v[i];
		if (!strcasecmp(s, "stdin"))
			io->in = true;
		else if (!strcasecmp(s, "stdout"))
			io->out = true;
		else if (!strcasecmp(s, "stderr"))
			io->err = true;
		else
			return err_set(e, -EINVAL, "--attach \"%s\" is not one of stdin, stdout, stderr", s);
	}
	return 0;
}

/* The cleanup process may still be at work when the last byte arrives: `run --rm` returns when nothing is left. */
static void wait_removed(struct people *p, const char *dir) {
	for (int i = 0; i < 1000 && access(dir, F_OK) == 0; i++)
		poll(NULL, 0, i < 20 ? 2 : 10);
	(void)p;
}

static int start_code(const struct err *e) {
	const char *m = err_msg(e);
	return strstr(m, "executable file not found") || (strstr(m, "no such file or directory") && strstr(m, "exec")) ? 127 : (strstr(m, "permission denied") || strstr(m, "is a directory") || strstr(m, "exec format error")) && strstr(m, "exec") ? 126 : 125;
}

static int c_run(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct run_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	struct pctr *c;
	struct attach_io io;
	int fd = -EBADF;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = wanted_streams(o, &io, e);
	if (r == 0 && o->detach && o->attach.n)
		r = err_set(e, -EINVAL, "--detach and --attach cannot be combined");
	if (r == 0 && o->tty && o->interactive && !o->detach && !isatty(0))
		fputs("Warning: The input device is not a TTY. The --tty and --interactive flags might not work properly\n", stderr);
	if (r == 0)
		r = container_new(t, &p, o, argc, argv, &c, e);
	if (r < 0)
		return r;
	r = pctr_start(c, o->detach ? NULL : &io, &fd, e);
	if (r < 0) {
		t->exit_code = start_code(e);
		if (o->rm)
			(void)!pctr_remove(c, true, true, 0, NULL);
		people_close(&p);
		return r;
	}
	if (o->detach) {
		puts(c->id);
	} else {
		int code = pctr_relay(c, fd, &io, e);
		close(fd);
		if (code >= 0) {
			t->exit_code = code;
			if (o->rm)
				wait_removed(&p, c->dir);
		} else if (code != -ECANCELED) {
			r = code;
		}
	}
	people_close(&p);
	return r;
}

static int c_create(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = container_new(t, &p, (void *)(uintptr_t)opts, argc, argv, &c, e);
	if (r == 0)
		puts(c->id);
	people_close(&p);
	return r;
}

/* ---- start, attach ---------------------------------------------------------------------------------------------------------------- */

struct start_opts { bool attach, interactive, all, latest; struct opt_list filter; const char *detach_keys, *sig_proxy; };
static const struct opt start_rows[] = {
	{ .name = "attach", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct start_opts, attach), .help = "attach to stdout and stderr" },
	{ .name = "interactive", .short_name = 'i', .kind = OPT_FLAG, .offset = offsetof(struct start_opts, interactive), .help = "attach to stdin as well" },
	{ .name = "all", .kind = OPT_FLAG, .offset = offsetof(struct start_opts, all), .help = "start every container that does not run" },
	{ .name = "filter", .short_name = 'f', .kind = OPT_LIST, .offset = offsetof(struct start_opts, filter), .arg = "KEY=VALUE", .help = "only those that match, as in ps" },
	{ .name = "latest", .short_name = 'l', .kind = OPT_FLAG, .offset = offsetof(struct start_opts, latest), .help = "the container made last" },
	{ .name = "detach-keys", .kind = OPT_STRING, .offset = offsetof(struct start_opts, detach_keys), .arg = "KEYS", .help = "keys that detach" },
	{ .name = "sig-proxy", .kind = OPT_STRING, .offset = offsetof(struct start_opts, sig_proxy), .arg = "BOOL", .help = "pass signals on (default true)" },
};

static int c_start(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct start_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e), fd = -EBADF;
	bool many = o->all || o->filter.n;
	if (r == 0 && o->all && argc)
		r = err_set(e, -EINVAL, "either start all containers or the container(s) provided in the arguments");
	if (r == 0 && many && o->attach)
		r = err_set(e, -EINVAL, "you cannot start and attach all containers at once");
	if (r == 0 && o->latest && argc)
		r = err_set(e, -EINVAL, "--latest and containers cannot be used together");
	if (r == 0 && o->attach && !o->latest && argc != 1)
		r = err_set(e, -EINVAL, "you cannot start and attach multiple containers at once");
	if (r == 0 && !many && !o->latest && !argc)
		r = err_set(e, -EINVAL, "start requires at least one argument");
	if (r < 0)
		return r;
	struct pctr **all = NULL;
	size_t n = (size_t)argc;
	if (!argc && (r = pctr_list(&p, &all, &n, e)) < 0)
		return r;
	if (o->latest)
		n = MIN(n, (size_t)1);
	for (size_t i = 0; i < n && r == 0; i++) {
		bool fits = true;
		r = all ? (c = all[i], 0) : pctr_find(&p, argv[i], &c, e);
		if (r == 0)
			r = pctr_filter(c, &o->filter, &p, &fits, e);
		if (r < 0 || !fits || (many && all && c->pid))
			continue;
		struct attach_io io = { .in = o->interactive, .out = true, .err = true, .tty = c->opts.tty, .detach_keys = o->detach_keys };
		r = parse_bool("--sig-proxy", o->sig_proxy, true, &io.sig_proxy, e);
		if (c->opts.tty && o->interactive)
			io.sig_proxy = false;
		bool attach = o->attach || o->interactive;
		if (r == 0)
			r = pctr_start(c, attach ? &io : NULL, &fd, e);
		if (r < 0)
			break;
		if (!attach) {
			puts(argc ? argv[i] : c->id);
			continue;
		}
		int code = pctr_relay(c, fd, &io, e);
		close(fd);
		if (code >= 0)
			t->exit_code = code;
		else if (code != -ECANCELED)
			r = code;
	}
	people_close(&p);
	return r;
}

struct attach_opts { bool no_stdin; const char *detach_keys, *sig_proxy; };
static const struct opt attach_rows[] = {
	{ .name = "no-stdin", .kind = OPT_FLAG, .offset = offsetof(struct attach_opts, no_stdin), .help = "do not attach stdin" },
	{ .name = "detach-keys", .kind = OPT_STRING, .offset = offsetof(struct attach_opts, detach_keys), .arg = "KEYS", .help = "keys that detach" },
	{ .name = "sig-proxy", .kind = OPT_STRING, .offset = offsetof(struct attach_opts, sig_proxy), .arg = "BOOL", .help = "pass signals on (default true)" },
};

static int c_attach(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	struct attach_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	struct pctr *c;
	int fd = -EBADF;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0 && !c->pid)
		r = err_set(e, -EINVAL, "you can only attach to running containers: container state improper");
	if (r < 0)
		return r;
	struct attach_io io = { .in = !o->no_stdin && c->opts.interactive, .out = true, .err = true, .tty = c->opts.tty, .detach_keys = o->detach_keys };
	r = parse_bool("--sig-proxy", o->sig_proxy, !c->opts.tty, &io.sig_proxy, e);
	if (r == 0)
		r = pctr_start(c, &io, &fd, e);
	if (r == 0) {
		int code = pctr_relay(c, fd, &io, e);
		close(fd);
		if (code >= 0)
			t->exit_code = code;
		else if (code != -ECANCELED)
			r = code;
	}
	people_close(&p);
	return r;
}

/* ---- exec -------------------------------------------------------------------------------------------------------------------------- */

struct exec_opts { bool detach, interactive, tty, privileged, latest; const char *user, *workdir, *detach_keys, *preserve_fds; struct opt_list env, env_file; };
static const struct opt exec_rows[] = {
	{ .name = "detach", .short_name = 'd', .kind = OPT_FLAG, .offset = offsetof(struct exec_opts, detach), .help = "run in the background" },
	{ .name = "detach-keys", .kind = OPT_STRING, .offset = offsetof(struct exec_opts, detach_keys), .arg = "KEYS", .help = "keys that detach" },
	{ .name = "env", .short_name = 'e', .kind = OPT_LIST, .offset = offsetof(struct exec_opts, env), .arg = "NAME=VALUE", .help = "set an environment variable" },
	{ .name = "env-file", .kind = OPT_LIST, .offset = offsetof(struct exec_opts, env_file), .arg = "FILE", .help = "read environment variables from a file" },
	{ .name = "interactive", .short_name = 'i', .kind = OPT_FLAG, .offset = offsetof(struct exec_opts, interactive), .help = "keep stdin open" },
	{ .name = "preserve-fds", .kind = OPT_STRING, .offset = offsetof(struct exec_opts, preserve_fds), .arg = "N", .help = "pass N further descriptors" },
	{ .name = "privileged", .kind = OPT_FLAG, .offset = offsetof(struct exec_opts, privileged), .help = "give all capabilities" },
	{ .name = "tty", .short_name = 't', .kind = OPT_FLAG, .offset = offsetof(struct exec_opts, tty), .help = "give the process a terminal" },
	{ .name = "user", .short_name = 'u', .kind = OPT_STRING, .offset = offsetof(struct exec_opts, user), .arg = "USER[:GROUP]", .help = "user to run as" },
	{ .name = "workdir", .short_name = 'w', .kind = OPT_STRING, .offset = offsetof(struct exec_opts, workdir), .arg = "DIR", .help = "working directory" },
};

/* process.json of an exec: the container's own process with the options' changes, as docker and podman do it. */
static int exec_process(struct people *p, struct pctr *c, struct ctr *k, const struct exec_opts *o, int argc, char **argv, struct oci_process *ret, struct err *e) {
	struct bundle *b = arena_new(&p->arena, struct bundle);
	int r = ctr_load_spec(k, e);
	if (r < 0)
		return r;
	char **args = arena_array(&p->arena, (size_t)argc + 1, char *);
	if (!args)
		return err_sys(e, -ENOMEM, "prepare the process");
	memcpy(args, argv, (size_t)argc * sizeof(*args));
	*ret = k->spec->process;
	ret->args = (struct oci_strings){ args, (size_t)argc };
	ret->terminal = o->tty;
	ret->console_height = ret->console_width = (struct opt_u64){ 0 };
	if (o->workdir)
		ret->cwd = o->workdir;
	if (ret->cwd[0] != '/')
		return err_set(e, -EINVAL, "--workdir \"%s\" is not absolute", ret->cwd);
	*b = (struct bundle){ .a = &p->arena, .c = c };
	b->env = (const char **)(uintptr_t)ret->env.v;
	b->n_env = ret->env.n;
	r = bundle_exec_env(b, &o->env, &o->env_file, o->tty, e);
	if (r < 0)
		return r;
	ret->env = (struct oci_strings){ (char **)(uintptr_t)b->env, b->n_env };
	if (o->user) {
		struct user_pick u;
		char root[64];
		snprintf(root, sizeof(root), "/proc/%d/root", (int)k->rec.init_pid);
		r = user_lookup(&p->arena, root, o->user, NULL, &u, e);
		if (r < 0)
			return r;
		ret->user = (struct oci_user){ .uid = u.uid, .gid = u.gid, .additional_gids = u.groups, .n_additional_gids = u.n_groups, .umask = ret->user.umask };
		/* HOME belongs to the user: the one of the container's process is wrong for another. */
		for (size_t i = 0; i < ret->env.n; i++)
			if (str_has_prefix(ret->env.v[i], "HOME="))
				ret->env.v[i] = arena_printf(&p->arena, "HOME=%s", u.home);
		uint64_t held = u.uid == 0 ? ret->caps.bounding : 0;
		ret->caps.permitted = ret->caps.effective = held;
		ret->caps.inheritable = ret->caps.ambient = 0;
	}
	if (o->privileged) {
		uint64_t all = ~(uint64_t)0;
		ret->caps = (struct oci_caps){ .set = true, .bounding = all, .permitted = all, .effective = all };
		ret->no_new_privileges = false;
	}
	return 0;
}

/* Relay of a terminal between us and the process, until it has ended. */
static int exec_terminal(int master, int pidfd, bool in) {
	struct termios saved, raw;
	struct winsize ws;
	sigset_t set, old;
	bool is_raw = false, open_in = in, ended = false;
	if (ioctl(0, TIOCGWINSZ, &ws) == 0 || ioctl(1, TIOCGWINSZ, &ws) == 0)
		ioctl(master, TIOCSWINSZ, &ws);
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, &old);
	_cleanup_close_ int sig = signalfd(-1, &set, SFD_CLOEXEC);
	if (in && tcgetattr(0, &saved) == 0) {
		raw = saved;
		cfmakeraw(&raw);
		is_raw = tcsetattr(0, TCSANOW, &raw) == 0;
	}
	for (;;) {
		char buf[16384];
		struct pollfd p[4] = { { master, POLLIN, 0 }, { ended ? -1 : pidfd, POLLIN, 0 }, { open_in ? 0 : -1, POLLIN, 0 }, { sig, POLLIN, 0 } };
		int n = poll(p, 4, ended ? 50 : -1);
		if (n < 0 && errno != EINTR)
			break;
		if (n == 0)
			break;
		if (p[3].revents) {
			struct signalfd_siginfo si;
			if (read(sig, &si, sizeof(si)) == sizeof(si) && ioctl(0, TIOCGWINSZ, &ws) == 0)
				ioctl(master, TIOCSWINSZ, &ws);
		}
		if (p[2].revents) {
			ssize_t k = read(0, buf, sizeof(buf));
			if (k > 0)
				fd_write_all(master, buf, (size_t)k);
			else
				open_in = false;
		}
		if (p[0].revents) {
			ssize_t k = read(master, buf, sizeof(buf));
			if (k > 0)
				fd_write_all(1, buf, (size_t)k);
			else if (k == 0 || errno != EINTR)
				break;
		} else if (p[1].revents) {
			ended = true;
		}
	}
	if (is_raw)
		tcsetattr(0, TCSADRAIN, &saved);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return 0;
}

static int wait_child(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 255;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int c_exec(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct exec_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	struct pctr *c;
	struct ctr *k = NULL;
	struct oci_process process;
	struct executed run = { .pidfd = -EBADF, .terminal = -EBADF };
	int64_t fds = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0 && (!c->pid || streq(c->state, "paused")))
		r = err_set(e, -EINVAL, "can only create exec sessions on running containers: container %s is %s: container state improper", c->name, c->state);
	if (r == 0 && o->preserve_fds)
		r = parse_number("--preserve-fds", o->preserve_fds, 0, 1000, &fds, e);
	if (r == 0)
		r = engine_open(c, false, &k, e);
	if (r == 0)
		r = exec_process(&p, c, k, o, argc - 1, argv + 1, &process, e);
	if (r == 0 && (!o->interactive || o->detach)) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (!o->interactive && !o->tty)
			dup2(null, 0);
		if (o->detach) {
			dup2(null, 0);
			dup2(null, 1);
			dup2(null, 2);
		}
		close(null);
	}
	if (r == 0) {
		struct exec_options x = { .process = &process, .preserve_fds = (uint32_t)fds, .detach = o->detach };
		r = engine_exec(k, &x, &run, e);
		if (r < 0)
			t->exit_code = start_code(e);
	}
	if (r == 0 && !o->detach) {
		if (run.terminal >= 0)
			exec_terminal(run.terminal, run.pidfd, o->interactive);
		t->exit_code = wait_child(run.pid);
	}
	if (k)
		ctr_free(k);
	people_close(&p);
	return r;
}

const struct command cmd_run = { .name = "run", .operands = "IMAGE [COMMAND [ARG...]]", .summary = "Create a container from an image and start it", .opts = run_option_rows, .n_opts = RUN_OPTION_ROWS, .flags = CMD_STOP_AT_OPERAND, .min_args = 1, .max_args = -1, .operand_kind = 0, .run = c_run };
const struct command cmd_create = { .name = "create", .operands = "IMAGE [COMMAND [ARG...]]", .summary = "Create a container without starting it", .opts = run_option_rows, .n_opts = RUN_OPTION_ROWS, .flags = CMD_STOP_AT_OPERAND, .min_args = 1, .max_args = -1, .operand_kind = 0, .run = c_create };
const struct command cmd_start = { .name = "start", .operands = "CONTAINER...", .summary = "Start containers", OPTS(start_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_start };
const struct command cmd_attach = { .name = "attach", .operands = "CONTAINER", .summary = "Attach to a running container", OPTS(attach_rows), .min_args = 1, .max_args = 1, .operand_kind = 'c', .run = c_attach };
const struct command cmd_exec = { .name = "exec", .operands = "CONTAINER COMMAND [ARG...]", .summary = "Run a command in a running container", OPTS(exec_rows), .flags = CMD_STOP_AT_OPERAND, .min_args = 2, .max_args = -1, .operand_kind = 'c', .run = c_exec };

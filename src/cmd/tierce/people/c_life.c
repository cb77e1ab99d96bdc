/* stop, kill, restart, pause, unpause, rm, wait, rename, update, prune. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

/* ---- the containers a command is about: operands, --all, --latest, --filter -------------------------------------------------------- */

struct pick { bool all, ignore, latest, precise; struct opt_list filter, cidfile; }; /* precise: exit codes of rm */

/* podman-rm(1): 1 when a container did not exist, 2 when one was running, and nothing else failed. */
static int failure_code(const struct pick *pick, int before, int r) {
	int code = !pick->precise ? 125 : r == -ENOENT ? 1 : r == -EBUSY ? 2 : 125;
	return before && before != code ? 125 : code;
}

static const char *id_from_file(struct people *p, const char *path, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = file_read_at(AT_FDCWD, path, &text, 4096);
	if (r < 0) {
		err_sys(e, r, "--cidfile %s", path);
		return NULL;
	}
	return arena_strndup(&p->arena, strbuf_str(&text), strcspn(strbuf_str(&text), " \r\n"));
}

static int each(struct cli *t, struct people *p, const struct pick *pick, int argc, char **argv, bool only_running, int (*fn)(struct pctr *c, void *arg, struct err *e), void *arg,
	struct err *e) {
	struct pctr **v, *c;
	size_t n;
	int r = tierce_people(t, p, e), code = 0;
	if (r < 0)
		return r;
	bool all = pick->all || pick->filter.n;
	if (!argc && !all && !pick->latest && !pick->cidfile.n)
		return err_set(e, -EINVAL, "you must provide at least one name or id (or --all)");
	if (argc && (pick->all || pick->latest))
		return err_set(e, -EINVAL, "--all and --latest cannot be used together with names");
	if (all || pick->latest) {
		r = pctr_list(p, &v, &n, e);
		if (r < 0)
			return r;
		for (size_t i = 0; i < (pick->latest && n ? 1 : n); i++) {
			bool fits;
			if (all && only_running && !v[i]->pid && !streq(v[i]->state, "restarting"))
				continue;
			r = pctr_filter(v[i], &pick->filter, p, &fits, e);
			if (r < 0)
				return r;
			if (!fits)
				continue;
			_cleanup_err_ struct err one = ERR_INIT;
			r = fn(v[i], arg, &one);
			if (r < 0) {
				fprintf(stderr, "Error: %s\n", err_msg(&one));
				code = failure_code(pick, code, r);
			} else {
				puts(v[i]->id);
			}
		}
	}
	for (int i = 0; i < argc + (int)pick->cidfile.n; i++) {
		_cleanup_err_ struct err one = ERR_INIT;
		const char *who = i < argc ? argv[i] : id_from_file(p, pick->cidfile.v[i - argc], &one);
		r = who ? pctr_find(p, who, &c, &one) : -ENOENT;
		if (r == -ENOENT && pick->ignore)
			continue;
		if (r == 0)
			r = fn(c, arg, &one);
		if (r < 0) {
			fprintf(stderr, "Error: %s\n", err_msg(&one));
			code = failure_code(pick, code, r);
		} else {
			puts(who);
		}
	}
	t->exit_code = code;
	return 0;
}

#define PICK_ROWS(type) PICK_ROWS_F(type, 'f')
#define PICK_ROWS_LONG(type) PICK_ROWS_F(type, 0)
#define PICK_ROWS_F(type, f_) \
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct type, pick.all), .help = "all containers" }, \
	{ .name = "ignore", .kind = OPT_FLAG, .offset = offsetof(struct type, pick.ignore), .help = "a container that does not exist is no error", .short_name = 'i' }, \
	{ .name = "latest", .kind = OPT_FLAG, .offset = offsetof(struct type, pick.latest), .help = "the container made last", .short_name = 'l' }, \
	{ .name = "filter", .kind = OPT_LIST, .offset = offsetof(struct type, pick.filter), .arg = "KEY=VALUE", .help = "all that match, as in ps", .short_name = f_ }, \
	{ .name = "cidfile", .kind = OPT_LIST, .offset = offsetof(struct type, pick.cidfile), .arg = "FILE", .help = "the container whose id is in the file" }

/* ---- stop, restart ------------------------------------------------------------------------------------------------------------------ */

struct stop_opts { struct pick pick; const char *time, *signal; int64_t seconds; bool force, volumes, depend; };
static const struct opt stop_rows[] = {
	PICK_ROWS(stop_opts),
	{ .name = "time", .short_name = 't', .kind = OPT_STRING, .offset = offsetof(struct stop_opts, time), .arg = "SECONDS", .help = "time before the kill (default 10)", .alias = "timeout" },
};

static int seconds_of(struct stop_opts *o, struct err *e) {
	o->seconds = -1;
	return o->time ? parse_number("--time", o->time, -1, INT32_MAX / 1000, &o->seconds, e) : 0;
}

static int stop_one(struct pctr *c, void *arg, struct err *e) {
	return pctr_stop(c, ((struct stop_opts *)arg)->seconds, true, e);
}

static int c_stop(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct stop_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	int r = seconds_of(o, e);
	return r < 0 ? r : each(t, &p, &o->pick, argc, argv, true, stop_one, o, e);
}

static int restart_one(struct pctr *c, void *arg, struct err *e) {
	int fd, r = 0;
	pctr_refresh(c);
	if (c->pid || streq(c->state, "restarting"))
		r = pctr_stop(c, ((struct stop_opts *)arg)->seconds, true, e);
	for (int i = 0; r == 0 && i < 500; i++) {
		pctr_refresh(c);
		if (!c->monitored)
			break;
		usleep(5000);
	}
	if (r == 0)
		(void)!pctr_cleanup(c, NULL);
	return r < 0 ? r : pctr_start(c, NULL, &fd, e);
}

static int c_restart(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct stop_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	int r = seconds_of(o, e);
	return r < 0 ? r : each(t, &p, &o->pick, argc, argv, false, restart_one, o, e);
}

/* ---- kill, pause -------------------------------------------------------------------------------------------------------------------- */

static const struct opt kill_rows[] = {
	PICK_ROWS(stop_opts),
	{ .name = "signal", .short_name = 's', .kind = OPT_STRING, .offset = offsetof(struct stop_opts, signal), .arg = "SIGNAL", .help = "signal to send (default KILL)" },
};

static int kill_one(struct pctr *c, void *arg, struct err *e) {
	if (!c->pid)
		return err_set(e, -EINVAL, "can only kill running containers. %s is in state %s: container state improper", c->id, c->state);
	return pctr_kill(c, (int)((struct stop_opts *)arg)->seconds, e);
}

static int c_kill(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct stop_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	o->seconds = oci_signal_number(o->signal ? o->signal : "KILL");
	if (o->seconds <= 0)
		return err_set(e, -EINVAL, "invalid signal: %s", o->signal);
	return each(t, &p, &o->pick, argc, argv, true, kill_one, o, e);
}

static int pause_one(struct pctr *c, void *arg, struct err *e) {
	bool pause = *(const bool *)arg;
	struct ctr *k;
	int r = engine_open(c, true, &k, e);
	if (r < 0)
		return r;
	r = pause ? engine_pause(k, e) : engine_resume(k, e);
	ctr_free(k);
	if (r == 0)
		event_container(c, pause ? "pause" : "unpause");
	return r;
}

static const struct opt pause_rows[] = { PICK_ROWS(stop_opts) };

static int c_pause(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct people p;
	bool pause = true;
	return each(t, &p, &((struct stop_opts *)(uintptr_t)opts)->pick, argc, argv, true, pause_one, &pause, e);
}

static int c_unpause(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct people p;
	bool pause = false;
	return each(t, &p, &((struct stop_opts *)(uintptr_t)opts)->pick, argc, argv, true, pause_one, &pause, e);
}

/* ---- rm ------------------------------------------------------------------------------------------------------------------------------ */

static const struct opt rm_rows[] = {
	PICK_ROWS_LONG(stop_opts), /* -f is --force here */
	{ .name = "depend", .kind = OPT_FLAG, .offset = offsetof(struct stop_opts, depend), .help = "remove the containers that depend on it first" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct stop_opts, force), .help = "stop it first when it runs" },
	{ .name = "time", .short_name = 't', .kind = OPT_STRING, .offset = offsetof(struct stop_opts, time), .arg = "SECONDS", .help = "time before the kill (default 10)" },
	{ .name = "volumes", .short_name = 'v', .kind = OPT_FLAG, .offset = offsetof(struct stop_opts, volumes), .help = "remove its anonymous volumes too" },
};

/* "container:WHO" of a namespace option names c. */
static bool joins(const char *mode, const struct pctr *c) {
	if (!mode || !str_has_prefix(mode, "container:"))
		return false;
	return streq(mode + 10, c->name) || (strlen(mode) - 10 >= 12 && str_has_prefix(c->id, mode + 10));
}

static bool depends_on(const struct pctr *other, const struct pctr *c) {
	const struct run_opts *o = &other->opts;
	bool yes = joins(o->pid, c) || joins(o->ipc, c) || joins(o->uts, c) || joins(o->userns, c) || joins(o->cgroupns, c);
	for (size_t i = 0; i < o->network.n; i++)
		yes |= joins(o->network.v[i], c);
	return yes;
}

static int rm_one(struct pctr *c, void *arg, struct err *e) {
	const struct stop_opts *o = arg;
	struct pctr **v;
	size_t n;
	int r = pctr_list(c->p, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (streq(v[i]->id, c->id) || !depends_on(v[i], c))
			continue;
		if (!o->depend)
			return err_set(e, -EEXIST, "container %s has dependent containers which must be removed before it: %s: container already exists", c->id, v[i]->id);
		r = rm_one(v[i], arg, e);
		if (r == 0)
			puts(v[i]->id);
	}
	if (r < 0)
		return r;
	return pctr_remove(c, o->force, o->volumes, o->seconds, e);
}

static int c_rm(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct stop_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	int r = seconds_of(o, e);
	o->pick.ignore |= o->force;
	o->pick.precise = true;
	return r < 0 ? r : each(t, &p, &o->pick, argc, argv, false, rm_one, o, e);
}

/* ---- wait ---------------------------------------------------------------------------------------------------------------------------- */

struct wait_opts { bool ignore; const char *condition, *interval; };
static const struct opt wait_rows[] = {
	{ .name = "condition", .kind = OPT_STRING, .offset = offsetof(struct wait_opts, condition), .arg = "STATE", .help = "stopped (default), running, exited, removed, healthy, unhealthy" },
	{ .name = "ignore", .kind = OPT_FLAG, .offset = offsetof(struct wait_opts, ignore), .help = "a container that does not exist is no error (prints -1)" },
	{ .name = "interval", .short_name = 'i', .kind = OPT_STRING, .offset = offsetof(struct wait_opts, interval), .arg = "TIME", .help = "time between looks (conditions other than stopped)" },
};

static bool condition_holds(struct pctr *c, const char *want) {
	char path[4200];
	snprintf(path, sizeof(path), "%s/container.json", c->dir);
	if (streq(want, "removed"))
		return access(path, F_OK) < 0;
	pctr_refresh(c);
	if (streq(want, "healthy") || streq(want, "unhealthy"))
		return c->status.health && streq(c->status.health, want);
	return streq(c->state, want);
}

static int c_wait(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct wait_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	const char *want = o->condition ? o->condition : "stopped";
	uint64_t interval = 250000000;
	static const char *const known[] = { "stopped", "running", "exited", "removed", "healthy", "unhealthy", "paused", "created" };
	size_t k = 0;
	while (k < ARRAY_SIZE(known) && !streq(known[k], want))
		k++;
	if (k == ARRAY_SIZE(known))
		return err_set(e, -EINVAL, "--condition \"%s\" is not known", want);
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->interval)
		r = parse_duration("--interval", o->interval, &interval, e);
	for (int i = 0; r == 0 && i < argc; i++) {
		struct pctr *c;
		r = pctr_find(&p, argv[i], &c, e);
		if (r == -ENOENT && o->ignore) {
			puts("-1");
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		if (streq(want, "stopped") || streq(want, "exited")) {
			r = pctr_wait(c, e);
		} else {
			while (!condition_holds(c, want))
				usleep((useconds_t)MAX(interval / 1000, (uint64_t)1000));
			r = c->status.exit_code;
		}
		if (r >= 0) {
			printf("%d\n", r);
			r = 0;
		}
	}
	people_close(&p);
	return r;
}

/* ---- rename, update ------------------------------------------------------------------------------------------------------------------- */

static int c_rename(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0)
		r = pctr_rename(c, argv[1], e);
	if (r == 0)
		net_refresh_hosts(&p);
	if (r == 0)
		event_container(c, "rename");
	people_close(&p);
	return r;
}

#define UPDATE_STRINGS(X) \
	X("blkio-weight", blkio_weight) X("cpu-period", cpu_period) X("cpu-quota", cpu_quota) X("cpu-shares", cpu_shares) X("cpus", cpus) X("cpuset-cpus", cpuset_cpus) \
	X("cpuset-mems", cpuset_mems) X("memory", memory) X("memory-reservation", memory_reservation) X("memory-swap", memory_swap) X("memory-swappiness", memory_swappiness) \
	X("pids-limit", pids_limit) X("restart", restart)
#define UPDATE_ROW(name_, member_) { .name = name_, .kind = OPT_STRING, .offset = offsetof(struct run_opts, member_), .arg = "VALUE", .help = "as in run" },
static const struct opt update_rows[] = { UPDATE_STRINGS(UPDATE_ROW) };

static int c_update(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	struct run_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r < 0)
		return r;
#define UPDATE_TAKE(name_, member_) if (o->member_) c->opts.member_ = o->member_;
	UPDATE_STRINGS(UPDATE_TAKE)
	if (o->cpus)
		c->opts.cpu_quota = c->opts.cpu_period = NULL;
	r = bundle_check(c, e);
	if (r == 0 && c->pid) {
		struct bundle *b = arena_new(&p.arena, struct bundle);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct oci_resources res;
		struct json *doc;
		struct ctr *k = NULL;
		*b = (struct bundle){ .a = &p.arena, .c = c };
		r = bundle_resources(b, e);
		if (r == 0)
			r = specgen_write_resources(&b->g, &text, e);
		if (r == 0)
			r = json_parse(&p.arena, text.s, text.len, &doc, e);
		if (r == 0)
			r = oci_resources_from_json(&p.arena, doc, &res, e);
		if (r == 0)
			r = engine_open(c, true, &k, e);
		if (r == 0)
			r = engine_update(k, &res, e);
		if (k)
			ctr_free(k);
	}
	if (r == 0)
		r = pctr_save(c, e);
	if (r == 0)
		puts(c->id);
	people_close(&p);
	return r;
}

/* ---- what the monitor runs at the end, and prune ---------------------------------------------------------------------------------------- */

static int c_cleanup(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	fcntl(CLEANUP_LOCK_FD, F_SETFD, FD_CLOEXEC);
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r < 0)
		return r;
	if (!c->pid) {
		event_container(c, "died");
		r = c->opts.rm ? pctr_remove(c, true, true, 0, e) : pctr_cleanup(c, e);
		if (r == 0 && c->opts.rmi)
			image_drop(c);
		net_refresh_hosts(&p);
	}
	people_close(&p);
	return r;
}

static int c_exists(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	if (r < 0)
		return r;
	r = pctr_find(&p, argv[0], &c, e);
	if (r == -ENOENT) {
		t->exit_code = 1;
		r = 0;
	}
	people_close(&p);
	return r;
}

struct prune_opts { bool force; struct opt_list filter; };
static const struct opt prune_rows[] = {
	{ .name = "filter", .kind = OPT_LIST, .offset = offsetof(struct prune_opts, filter), .arg = "KEY=VALUE", .help = "only those that match: label=, until=" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct prune_opts, force), .help = "do not ask" },
};

static int c_prune(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	struct prune_opts *o = (void *)(uintptr_t)opts;
	struct people p;
	struct pctr **v;
	size_t n;
	int r = tierce_people(t, &p, e);
	if (r == 0 && !o->force) {
		puts("WARNING! This will remove all non running containers.");
		if (!confirmed()) {
			people_close(&p);
			return 0;
		}
	}
	if (r == 0)
		r = pctr_list(&p, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_err_ struct err one = ERR_INIT;
		bool fits;
		if (v[i]->pid || streq(v[i]->state, "restarting"))
			continue;
		r = pctr_filter(v[i], &o->filter, &p, &fits, e);
		if (r < 0 || !fits)
			continue;
		if (pctr_remove(v[i], false, true, 0, &one) < 0)
			fprintf(stderr, "Error: %s\n", err_msg(&one));
		else
			puts(v[i]->id);
	}
	people_close(&p);
	return r;
}

const struct command cmd_stop = { .name = "stop", .operands = "CONTAINER...", .summary = "Stop containers", OPTS(stop_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_stop };
const struct command cmd_restart = { .name = "restart", .operands = "CONTAINER...", .summary = "Stop containers and start them again", OPTS(stop_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_restart };
const struct command cmd_kill = { .name = "kill", .operands = "CONTAINER...", .summary = "Send a signal to containers", OPTS(kill_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_kill };
const struct command cmd_pause = { .name = "pause", .operands = "CONTAINER...", .summary = "Freeze all processes of containers", OPTS(pause_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_pause };
const struct command cmd_unpause = { .name = "unpause", .operands = "CONTAINER...", .summary = "Thaw containers", OPTS(pause_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_unpause };
const struct command cmd_rm = { .name = "rm", .operands = "CONTAINER...", .summary = "Remove containers", OPTS(rm_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_rm };
const struct command cmd_wait = { .name = "wait", .operands = "CONTAINER...", .summary = "Wait for containers and print their exit codes", OPTS(wait_rows), .min_args = 1, .max_args = -1, .operand_kind = 'c', .run = c_wait };
const struct command cmd_rename = { .name = "rename", .operands = "CONTAINER NAME", .summary = "Give a container another name", .min_args = 2, .max_args = 2, .operand_kind = 'c', .run = c_rename };
const struct command cmd_update = { .name = "update", .operands = "CONTAINER", .summary = "Change limits and the restart policy", OPTS(update_rows), .min_args = 1, .max_args = 1, .operand_kind = 'c', .run = c_update };
const struct command cmd_container_prune = { .name = "container prune", .operands = "", .summary = "Remove all containers that do not run", OPTS(prune_rows), .min_args = 0, .max_args = 0, .operand_kind = 0, .run = c_prune };
const struct command cmd_container_cleanup = { .name = "container-cleanup", .operands = "ID", .summary = "What is left to do when a container has ended", .flags = CMD_HIDDEN, .min_args = 1, .max_args = 1, .operand_kind = 0, .run = c_cleanup };
const struct command cmd_container_exists = { .name = "container exists", .operands = "CONTAINER", .summary = "Exit with 0 when a container exists, else with 1", .min_args = 1, .max_args = 1, .operand_kind = 'c', .run = c_exists };

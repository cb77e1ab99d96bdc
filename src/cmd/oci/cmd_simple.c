/* start, state, pause, resume, kill, delete: commands without much of their own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cmd/oci/cli.h"
#include "cmd/oci/match.h"
#include "wire/json.h"

/* ---- start -------------------------------------------------------------------------------------------------------- */

static int run_start(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	_cleanup_ctr_ struct ctr *c = NULL;
	_cleanup_close_ int notify = -EBADF;
	int r = ctr_open(&cli->eng, argv[0], CTR_LOCK, &c, e);
	if (r == 0)
		r = notify_bind(c, &notify, e);
	if (r == 0)
		r = engine_start(c, e);
	if (r == 0 && notify >= 0) {
		ctr_unlock(c);
		r = notify_wait(c, notify, e);
	}
	return r;
}

/* ---- state -------------------------------------------------------------------------------------------------------- */

static void write_time(struct json_writer *w, uint64_t ns) {
	char text[64];
	struct tm tm;
	time_t s = (time_t)(ns / 1000000000U);
	gmtime_r(&s, &tm);
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%09" PRIu64 "Z", ns % 1000000000U);
	jw_kv_string(w, "created", text);
}

void write_state_json(struct json_writer *w, struct ctr *c) {
	enum ctr_status s = ctr_status(c);
	jw_object(w);
	jw_kv_string(w, "ociVersion", *c->rec.oci_version ? c->rec.oci_version : "1.3.0");
	jw_kv_string(w, "id", c->rec.id);
	jw_kv_i64(w, "pid", s == CTR_STOPPED ? 0 : c->rec.init_pid);
	jw_kv_string(w, "status", ctr_status_names[s]);
	jw_kv_string(w, "bundle", c->rec.bundle);
	jw_kv_string(w, "rootfs", c->rec.rootfs);
	write_time(w, c->rec.created);
	if (c->rec.annotations.n) {
		jw_key(w, "annotations");
		jw_object(w);
		for (size_t i = 0; i < c->rec.annotations.n; i++)
			jw_kv_string(w, c->rec.annotations.v[i].key, c->rec.annotations.v[i].value);
		jw_object_end(w);
	}
	jw_kv_string(w, "owner", c->rec.owner);
	jw_object_end(w);
}

static int run_state(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], 0, &c, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 2);
	write_state_json(&w, c);
	r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write state");
	fputs(b.s, stdout); /* ends with a newline */
	return 0;
}

/* ---- pause, resume ------------------------------------------------------------------------------------------------ */

static int run_pause(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], CTR_LOCK, &c, e);
	return r < 0 ? r : engine_pause(c, e);
}

static int run_resume(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], CTR_LOCK, &c, e);
	return r < 0 ? r : engine_resume(c, e);
}

/* ---- kill and delete, by name or by pattern ------------------------------------------------------------------------- */

struct many_cmd { bool all, force, regex; };
OPTION_FITS(struct many_cmd);
#define AT(m) offsetof(struct many_cmd, m)
static const struct opt kill_opts[] = {
	{ "all", 'a', OPT_FLAG, 0, 0, AT(all), NULL, "send the signal to all processes of the container", NULL },
	{ "regex", 'r', OPT_FLAG, 0, 0, AT(regex), NULL, "the operand is a regular expression: every container whose id matches", NULL },
};
static const struct opt delete_opts[] = {
	{ "force", 'f', OPT_FLAG, 0, 0, AT(force), NULL, "delete the container even if it is running (SIGKILL), and do not fail when it does not exist", NULL },
	{ "regex", 'r', OPT_FLAG, 0, 0, AT(regex), NULL, "the operand is a regular expression: every container whose id matches", NULL },
};

/* fn for every container whose id matches; the first error is returned after all were tried. */
static int each_match(struct cli *cli, const char *pattern, int (*fn)(struct cli *, const char *, void *, struct err *), void *arg, struct err *e) {
	char **ids = NULL;
	size_t n = 0;
	if (match_check(pattern) < 0)
		return err_set(e, EINVAL, "\"%s\" is not a regular expression", pattern);
	int r = engine_list(&cli->eng, &ids, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (match(pattern, ids[i])) {
			int one = fn(cli, ids[i], arg, e);
			if (one < 0 && one != -ENOENT)
				r = one;
		}
	strv_free(ids);
	return r;
}

struct kill_request { int sig; bool all; };

static int kill_one(struct cli *cli, const char *id, void *arg, struct err *e) {
	const struct kill_request *k = arg;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, id, 0, &c, e);
	if (r < 0)
		return r;
	/* Of a container that has stopped there is nobody left: with --all that is no error (runc). */
	if (k->all && ctr_status(c) == CTR_STOPPED)
		return 0;
	return engine_kill(c, k->sig, k->all, e);
}

static int run_kill(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct many_cmd *o = opts;
	const char *name = argc > 1 ? argv[1] : "SIGTERM";
	if (*name == '-')
		name++;
	struct kill_request k = { streq(name, "0") ? 0 : oci_signal_number(name), o->all }; /* 0: only asks whether it could be signalled */
	if (k.sig < 0)
		return err_set(e, EINVAL, "unknown signal \"%s\"", name);
	return o->regex ? each_match(cli, argv[0], kill_one, &k, e) : kill_one(cli, argv[0], &k, e);
}

static int delete_one(struct cli *cli, const char *id, void *arg, struct err *e) {
	bool force = ((const struct many_cmd *)arg)->force;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = force ? engine_delete_prepare(&cli->eng, id) : 0;
	if (r == 0)
		r = ctr_open(&cli->eng, id, CTR_LOCK | (force ? CTR_DAMAGED : 0), &c, e);
	if (r == -ENOENT && force)
		return 0;
	return r < 0 ? r : engine_delete(c, force, e);
}

static int run_delete(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	struct many_cmd o = *(const struct many_cmd *)opts;
	return o.regex ? each_match(cli, argv[0], delete_one, &o, e) : delete_one(cli, argv[0], &o, e);
}

const struct command cmd_start = { "start", "<container-id>", "executes the user defined process in a created container",
	"Lets a container that \"create\" built run its program. poststart hooks run before the command returns.", NULL, 0, 0, 1, 1, 'c', run_start };
const struct command cmd_state = { "state", "<container-id>", "output the state of a container",
	"Prints the state as JSON: ociVersion, id, pid, status, bundle, rootfs, created, annotations, owner. The pid is 0 once the container has stopped.",
	NULL, 0, 0, 1, 1, 'c', run_state };
const struct command cmd_pause = { "pause", "<container-id>", "pause suspends all processes inside the container",
	"Freezes every process of the container. \"resume\" thaws them.", NULL, 0, 0, 1, 1, 'c', run_pause };
const struct command cmd_resume = { "resume", "<container-id>", "resumes all processes that have been previously paused",
	"Thaws a paused container.", NULL, 0, 0, 1, 1, 'c', run_resume };
const struct command cmd_kill = { "kill", "<container-id> [signal]", "kill sends the specified signal (default: SIGTERM) to the container's init process",
	"The signal is a name with or without SIG, a number, or RTMIN+n.", kill_opts, ARRAY_SIZE(kill_opts), 0, 1, 2, 'c', run_kill };
const struct command cmd_delete = { "delete", "<container-id>", "delete any resources held by the container often used with detached container",
	"Removes a stopped (or merely created) container: cgroup, mounts, state. poststop hooks run.", delete_opts, ARRAY_SIZE(delete_opts), 0, 1, 1, 'c', run_delete };

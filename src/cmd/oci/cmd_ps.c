/* ps: the processes of a container, as the host's ps shows them or as a list of pids. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"
#include "wire/json.h"

struct ps_cmd { const char *format; };
OPTION_FITS(struct ps_cmd);
static const struct opt opts_[] = {
	{ "format", 'f', OPT_STRING, 0, COMPLETE_WORDS, offsetof(struct ps_cmd, format), "table|json", "select one of: table or json", NULL },
};

enum { PS_OUTPUT_MAX = 64 << 20 }; /* bytes of ps output that are looked through */

static int run_ps(char **args, struct strbuf *out, struct err *e) {
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(p[1], 1);
		execvp("ps", args);
		fprintf(stderr, "exec: \"ps\": executable file not found in $PATH\n");
		_exit(127);
	}
	close(p[1]);
	_cleanup_close_ int reader = p[0];
	int status = 0, r = pid < 0 ? -errno : fd_read_rest(reader, out, PS_OUTPUT_MAX);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_sys(e, r, "run ps");
	return status ? err_set(e, ECHILD, "ps failed: exit status %d", WEXITSTATUS(status)) : 0;
}

/* Index of the column named PID in the head line, or -1. */
static int pid_column(const char *line) {
	for (int i = 0; *line && *line != '\n'; i++) {
		while (*line == ' ')
			line++;
		size_t n = strcspn(line, " \n");
		if (n == 3 && memcmp(line, "PID", 3) == 0)
			return i;
		line += n;
	}
	return -1;
}

static pid_t pid_in(const char *line, int column) {
	for (int i = 0;; i++) {
		while (*line == ' ')
			line++;
		if (i == column)
			return isdigit((unsigned char)*line) ? (pid_t)strtol(line, NULL, 10) : -1;
		line += strcspn(line, " \n");
		if (!*line || *line == '\n')
			return -1;
	}
}

static int print_table(const pid_t *pids, size_t n, char **args, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = run_ps(args, &b, e);
	if (r < 0)
		return r;
	const char *line = strbuf_str(&b);
	int column = pid_column(line);
	if (column < 0)
		return err_set(e, EINVAL, "couldn't find PID field in ps output");
	for (bool head = true; *line; head = false) {
		size_t len = strcspn(line, "\n");
		pid_t pid = pid_in(line, column);
		bool show = head;
		for (size_t i = 0; i < n && !show; i++)
			show = pids[i] == pid;
		if (show)
			printf("%.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
	return 0;
}

static int print_json(const pid_t *pids, size_t n, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_array(&w);
	for (size_t i = 0; i < n; i++)
		jw_i64(&w, pids[i]);
	jw_array_end(&w);
	int r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write pids");
	puts(b.s);
	return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct ps_cmd *o = opts;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], 0, &c, e);
	if (r < 0)
		return r;
	const char *format = o->format;
	/* -f after the id is ours as well when json or table follows: runc takes options up to the id only, engines write both */
	if (argc >= 3 && (streq(argv[1], "-f") || streq(argv[1], "--format")) && (streq(argv[2], "json") || streq(argv[2], "table"))) {
		format = argv[2];
		argv[2] = argv[0];
		argv += 2;
		argc -= 2;
	} else if (argc >= 2 && str_has_prefix(argv[1], "--format=")) {
		format = argv[1] + 9;
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	if (format && !streq(format, "json") && !streq(format, "table"))
		return err_set(e, EINVAL, "invalid format option \"%s\": table or json", format);
	r = ctr_load_tier(c, false, e);
	if (r < 0)
		return r;
	if (c->tier->processes && !(format && streq(format, "json"))) { /* json is for engines, which look the pids up in the host's /proc */
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		if (argc > 1)
			return err_set(e, EOPNOTSUPP, "options are for the host's ps, which does not see into a container of tier %s", c->tier->name);
		r = c->tier->processes(&c->tc, &b, e);
		if (r == 0)
			fputs(strbuf_str(&b), stdout);
		return r;
	}
	r = ctr_load_cgroup(c, e);
	if (r < 0)
		return r;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	if (cgroup_active(c->cgroup)) {
		r = cgroup_pids(c->cgroup, &pids, &n, e);
		if (r < 0)
			return r;
	} else if (ctr_live_pid(c)) {
		pids = malloc(sizeof(*pids));
		if (!pids)
			return err_set(e, ENOMEM, "out of memory");
		pids[n++] = c->rec.init_pid;
	}
	if (format && streq(format, "json"))
		return print_json(pids, n, e);
	static char ps[] = "ps", ef[] = "-ef";
	char *defaults[] = { ps, ef, NULL };
	if (argc > 1)
		argv[0] = ps;
	return print_table(pids, n, argc > 1 ? argv : defaults, e);
}

const struct command cmd_ps = { "ps", "<container-id> [ps options]", "ps displays the processes running inside a container",
	"Runs the host's ps with the given options (-ef by default) and shows the lines of the container's processes. With --format json only their pids are printed.",
	opts_, ARRAY_SIZE(opts_), CMD_STOP_AT_OPERAND, 1, -1, 'c', run };

/* logs, stats: what containers said and use. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "cmd/tierce/people/logread.h"
#include "sys/fd.h"

/* ---- logs ----------------------------------------------------------------------------------------------------------------------------- */

struct logs_opts { bool follow, timestamps, names, color, latest; const char *tail, *since, *until; };
#define AT(m) offsetof(struct logs_opts, m)
static const struct opt logs_rows[] = {
	{ .name = "follow", .short_name = 'f', .kind = OPT_FLAG, .offset = AT(follow), .help = "go on until the container ends" },
	{ .name = "names", .short_name = 'n', .kind = OPT_FLAG, .offset = AT(names), .help = "put the container's name before each line" },
	{ .name = "since", .kind = OPT_STRING, .offset = AT(since), .arg = "TIME", .help = "only lines since then (a date, or a time ago such as 10m)" },
	{ .name = "tail", .kind = OPT_STRING, .offset = AT(tail), .arg = "N", .help = "the last N lines (all)" },
	{ .name = "timestamps", .short_name = 't', .kind = OPT_FLAG, .offset = AT(timestamps), .help = "put the time before each line" },
	{ .name = "until", .kind = OPT_STRING, .offset = AT(until), .arg = "TIME", .help = "only lines until then" },
};
#undef AT

struct log_view { const struct logs_opts *o; const char *name; int64_t since, until; bool mid_line[2]; };

static void show_record(struct log_view *v, const char *line, size_t n) {
	struct log_record r;
	if (!log_record_parse(line, n, &r) || r.when < v->since || r.when > v->until)
		return;
	FILE *out = r.err ? stderr : stdout;
	if (!v->mid_line[r.err]) {
		if (v->o->names)
			fprintf(out, "%s ", v->name);
		if (v->o->timestamps)
			fprintf(out, "%s ", r.stamp);
	}
	fwrite(r.text, 1, r.len, out);
	v->mid_line[r.err] = r.partial;
	if (!r.partial)
		putc('\n', out);
}

/* Show whole records of a buffer; returns how many bytes were used. */
static size_t show_records(struct log_view *v, const char *s, size_t n) {
	size_t used = 0;
	for (const char *nl; (nl = memchr(s + used, '\n', n - used)); used = (size_t)(nl - s) + 1)
		show_record(v, s + used, (size_t)(nl - s) - used);
	return used;
}

enum { LOG_READ_MAX = 1 << 30 }; /* bytes of a log that are taken into memory for --tail; more is cut at the front */

/* Rotated files, oldest first, then the current one. */
static int read_all(const char *path, struct strbuf *out, struct err *e) {
	char name[4200];
	for (int i = 1000; i >= 0; i--) {
		snprintf(name, sizeof(name), i ? "%s.%d" : "%s", path, i);
		if (i && access(name, F_OK) < 0)
			continue;
		int r = file_read_at(AT_FDCWD, name, out, LOG_READ_MAX);
		if (r < 0 && r != -ENOENT)
			return err_sys(e, r, "read %s", name);
	}
	return 0;
}

/* New records as they come, until the container has ended; the file may be rotated away under us. */
static int follow(struct log_view *v, struct pctr *c, const char *path, off_t at, struct err *e) {
	_cleanup_strbuf_ struct strbuf rest = STRBUF_INIT;
	_cleanup_close_ int note = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (note >= 0)
		inotify_add_watch(note, c->dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE);
	for (;;) {
		char buf[65536];
		ssize_t n = pread(fd, buf, sizeof(buf), at);
		if (n > 0) {
			at += n;
			strbuf_add(&rest, buf, (size_t)n);
			size_t used = show_records(v, rest.s, rest.len);
			memmove(rest.s, rest.s + used, rest.len - used);
			rest.len -= used;
			fflush(stdout);
			continue;
		}
		struct stat here, there;
		if (fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_ino != there.st_ino) {
			int next = open(path, O_RDONLY | O_CLOEXEC);
			if (next >= 0) {
				dup3(next, fd, O_CLOEXEC);
				close(next);
				at = 0;
				continue;
			}
		}
		pctr_refresh(c);
		if (!c->pid && !c->monitored)
			return 0;
		struct pollfd p = { note, POLLIN, 0 };
		poll(&p, note >= 0, 200);
		while (note >= 0 && read(note, buf, sizeof(buf)) > 0)
			;
	}
}

static int c_logs(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct logs_opts *o = opts;
	struct people p;
	int64_t tail = -1;
	struct log_view v = { .o = o, .until = INT64_MAX };
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->tail && !streq(o->tail, "all"))
		r = parse_number("--tail", o->tail, -1, INT64_MAX, &tail, e);
	if (r == 0 && o->since)
		r = parse_since("--since", o->since, &v.since, e);
	if (r == 0 && o->until)
		r = parse_since("--until", o->until, &v.until, e);
	for (int i = 0; r == 0 && i < argc; i++) {
		struct pctr *c;
		struct stat st;
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		r = pctr_find(&p, argv[i], &c, e);
		if (r < 0)
			break;
		v.name = c->name;
		const char *driver = c->opts.log_driver ? c->opts.log_driver : "k8s-file", *path = arena_printf(&p.arena, "%s/ctr.log", c->dir);
		for (size_t k = 0; k < c->opts.log_opt.n; k++)
			if (str_has_prefix(c->opts.log_opt.v[k], "path="))
				path = c->opts.log_opt.v[k] + 5;
		if (streq(driver, "none") || streq(driver, "passthrough")) {
			r = err_set(e, -ENOTSUP, "this container is using the '%s' log driver, cannot read logs: this container is not logging output", driver);
			break;
		}
		if (streq(driver, "journald")) {
			r = err_set(e, -ENOTSUP, "the logs of %s are in the journal: journalctl CONTAINER_NAME=%s", c->name, c->name);
			break;
		}
		r = read_all(path, &text, e);
		size_t from = tail >= 0 ? log_tail_offset(strbuf_str(&text), text.len, tail) : 0;
		if (r == 0 && text.len)
			show_records(&v, text.s + from, text.len - from);
		fflush(stdout);
		if (r == 0 && o->follow)
			r = follow(&v, c, path, stat(path, &st) == 0 ? st.st_size : 0, e);
	}
	people_close(&p);
	return r;
}

/* ---- stats ------------------------------------------------------------------------------------------------------------------------------ */

struct stats_opts { bool all, no_stream, no_reset, no_trunc; const char *format, *interval; };
#define AT(m) offsetof(struct stats_opts, m)
static const struct opt stats_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = AT(all), .help = "also containers that do not run" },
	{ .name = "format", .kind = OPT_STRING, .offset = AT(format), .arg = "FORMAT", .help = "json, or a template such as {{.Name}} {{.MemUsage}}" },
	{ .name = "interval", .short_name = 'i', .kind = OPT_STRING, .offset = AT(interval), .arg = "SECONDS", .help = "time between looks (default 5)" },
	{ .name = "no-reset", .kind = OPT_FLAG, .offset = AT(no_reset), .help = "do not clear the screen between looks" },
	{ .name = "no-stream", .kind = OPT_FLAG, .offset = AT(no_stream), .help = "one look only" },
	{ .name = "no-trunc", .kind = OPT_FLAG, .offset = AT(no_trunc), .help = "whole ids" },
};
#undef AT
static const struct fmt_column stats_columns[] = { { "ID", "ID" }, { "Name", "NAME" }, { "CPUPerc", "CPU %" }, { "MemUsage", "MEM USAGE / LIMIT" }, { "MemPerc", "MEM %" }, { "NetIO", "NET IO" },
	{ "BlockIO", "BLOCK IO" }, { "PIDs", "PIDS" } };

static uint64_t number_at(const struct json *j, const char *const *path) {
	uint64_t v = 0;
	for (; *path; path++)
		j = json_get(j, *path);
	return json_u64(j, &v) == 0 ? v : 0;
}
#define NUMBER(j, ...) number_at(j, (const char *const[]){ __VA_ARGS__, NULL })

static uint64_t host_memory(void) {
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Bytes over all interfaces but lo, read in the container's network namespace through /proc/PID/net/dev. */
static void net_bytes(pid_t pid, uint64_t *in, uint64_t *out) {
	char path[64], line[512];
	snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
	FILE *f = fopen(path, "re");
	*in = *out = 0;
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long long v[9];
		char *colon = strchr(line, ':');
		if (!colon || strstr(line, " lo:") || str_has_prefix(line, "lo:"))
			continue;
		if (sscanf(colon + 1, "%llu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8]) == 9) {
			*in += v[0];
			*out += v[8];
		}
	}
	if (f)
		fclose(f);
}

static int stats_row(struct fmt *f, struct pctr *c, const struct stats_opts *o, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct json_writer w;
	struct json *j = NULL;
	struct ctr *k = NULL;
	uint64_t net_in = 0, net_out = 0, rd = 0, wr = 0;
	jw_init(&w, &text, 0);
	jw_object(&w);
	int r = c->pid ? engine_open(c, false, &k, NULL) : -ENOENT;
	if (r == 0)
		r = ctr_load_cgroup(k, NULL);
	if (r == 0)
		r = cgroup_stats(k->cgroup, &w, NULL);
	jw_object_end(&w);
	if (k)
		ctr_free(k);
	if (r == 0)
		r = json_parse(&c->p->arena, text.s, text.len, &j, NULL);
	if (r < 0)
		j = NULL;
	if (c->pid)
		net_bytes(c->pid, &net_in, &net_out);
	uint64_t cpu = NUMBER(j, "cpu", "usage", "total"), mem = NUMBER(j, "memory", "usage", "usage"), limit = NUMBER(j, "memory", "usage", "limit"), pids = NUMBER(j, "pids", "current");
	for (const struct json *m = json_first(json_get(json_get(j, "blkio"), "ioServiceBytesRecursive")); m; m = m->next) {
		uint64_t v = NUMBER(m, "value");
		if (!strcasecmp(json_str(m, "op", ""), "read"))
			rd += v;
		if (!strcasecmp(json_str(m, "op", ""), "write"))
			wr += v;
	}
	if (!limit || limit > host_memory())
		limit = host_memory();
	/* Average since the start, as podman prints without a stream. */
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, lived = now_ns > c->status.started ? now_ns - c->status.started : 1;
	char id[65], cpu_perc[16], mem_perc[16], usage[80], net[80], block[80], pids_text[24], s1[32], s2[32];
	snprintf(id, sizeof(id), "%.*s", o->no_trunc ? 64 : 12, c->id);
	snprintf(cpu_perc, sizeof(cpu_perc), "%.2f%%", 100.0 * (double)cpu / (double)lived);
	snprintf(mem_perc, sizeof(mem_perc), "%.2f%%", 100.0 * (double)mem / (double)limit);
	snprintf(usage, sizeof(usage), "%s / %s", human_size(mem, s1), human_size(limit, s2));
	snprintf(net, sizeof(net), "%s / %s", human_size(net_in, s1), human_size(net_out, s2));
	snprintf(block, sizeof(block), "%s / %s", human_size(rd, s1), human_size(wr, s2));
	snprintf(pids_text, sizeof(pids_text), "%llu", (unsigned long long)pids);
	struct fmt_value v[] = { { "ID", id, NULL, "id" }, { "Container", id, NULL, NULL }, { "Name", c->name, NULL, "name" }, { "CPUPerc", cpu_perc, NULL, "cpu_percent" },
		{ "MemUsage", usage, NULL, "mem_usage" }, { "MemPerc", mem_perc, NULL, "mem_percent" }, { "NetIO", net, NULL, "net_io" }, { "BlockIO", block, NULL, "block_io" },
		{ "PIDs", pids_text, NULL, "pids" } };
	return fmt_row(f, v, ARRAY_SIZE(v), e);
}

static int c_stats(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct stats_opts *o = opts;
	struct people p;
	int64_t seconds = 5;
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->interval)
		r = parse_number("--interval", o->interval, 1, 86400, &seconds, e);
	for (bool again = true; r == 0 && again; again = !o->no_stream) {
		struct pctr **v = NULL, *c;
		struct fmt f;
		size_t n = (size_t)argc;
		r = fmt_init(&f, o->format, stats_columns, ARRAY_SIZE(stats_columns), true, e);
		if (r == 0 && !argc)
			r = pctr_list(&p, &v, &n, e);
		for (size_t i = 0; r == 0 && i < n; i++) {
			r = argc ? pctr_find(&p, argv[i], &c, e) : (c = v[i], 0);
			if (r == 0 && (argc || c->pid || o->all))
				r = stats_row(&f, c, o, e);
		}
		if (r < 0)
			break;
		if (!o->no_stream && !o->no_reset && isatty(1))
			fputs("\033[H\033[2J", stdout);
		r = fmt_end(&f, stdout, e);
		fflush(stdout);
		if (!o->no_stream)
			sleep((unsigned)seconds);
	}
	people_close(&p);
	return r;
}

const struct command cmd_logs = { .name = "logs", .operands = "CONTAINER...", .summary = "Show what containers wrote", OPTS(logs_rows), .min_args = 1, .max_args = -1, .operand_kind = 'c', .run = c_logs };
const struct command cmd_stats = { .name = "stats", .operands = "[CONTAINER...]", .summary = "Show what containers use", OPTS(stats_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c', .run = c_stats };

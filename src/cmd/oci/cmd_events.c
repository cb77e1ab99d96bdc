/* events: statistics at an interval, and OOM kills, one JSON object a line. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "cmd/oci/cli.h"
#include "confine/intelrdt.h"
#include "sys/fd.h"
#include "wire/json.h"

struct events_cmd { const char *interval; bool stats; };
OPTION_FITS(struct events_cmd);
#define AT(m) offsetof(struct events_cmd, m)
static const struct opt opts_[] = {
	{ "interval", 0, OPT_STRING, 0, 0, AT(interval), "DURATION", "stats collection interval, defaults to 5s", NULL },
	{ "stats", 0, OPT_FLAG, 0, 0, AT(stats), NULL, "display the container's stats, then exit", NULL },
};

/* Go's durations: "1h30m", "1.5s", "100ms"; 0 or -EINVAL. */
static int parse_duration(const char *s, int64_t *ret_ms) {
	static const struct { const char *unit; double ms; } units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 36e5 } };
	double total = 0;
	if (streq(s, "0")) {
		*ret_ms = 0;
		return 0;
	}
	if (!*s)
		return -EINVAL;
	while (*s) {
		char *end;
		if (!isdigit((unsigned char)*s) && *s != '.')
			return -EINVAL;
		double v = strtod(s, &end);
		size_t n = strspn(end, "nsumh"), i;
		for (i = 0; i < ARRAY_SIZE(units) && (strlen(units[i].unit) != n || strncmp(units[i].unit, end, n) != 0); i++)
			;
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		total += v * units[i].ms;
		s = end + n;
	}
	if (total > 1e12)
		return -EINVAL;
	*ret_ms = (int64_t)(total + 0.999);
	return 0;
}

/* Traffic of every interface in init's network namespace, from its /proc/PID/net/dev. */
static void network(struct json_writer *w, pid_t pid) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char path[40];
	snprintf(path, sizeof(path), "/proc/%d/net/dev", pid);
	if (file_read_at(AT_FDCWD, path, &b, 1 << 20) < 0)
		return;
	jw_key(w, "network_interfaces");
	jw_array(w);
	char *rest = b.s, *line;
	for (int i = 0; (line = strsep(&rest, "\n")); i++) {
		char name[64];
		unsigned long long rx[4], tx[4];
		char *colon = strchr(line, ':');
		if (i < 2 || !colon)
			continue;
		*colon = 0;
		if (sscanf(line, " %63s", name) != 1)
			continue;
		if (sscanf(colon + 1, "%llu %llu %llu %llu %*u %*u %*u %*u %llu %llu %llu %llu", &rx[0], &rx[1], &rx[2], &rx[3], &tx[0], &tx[1], &tx[2], &tx[3]) != 8)
			continue;
		jw_object(w);
		jw_kv_string(w, "Name", name);
		static const char *const rx_names[] = { "RxBytes", "RxPackets", "RxErrors", "RxDropped" }, *const tx_names[] = { "TxBytes", "TxPackets", "TxErrors", "TxDropped" };
		for (int k = 0; k < 4; k++)
			jw_kv_u64(w, rx_names[k], rx[k]);
		for (int k = 0; k < 4; k++)
			jw_kv_u64(w, tx_names[k], tx[k]);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static int print_stats(struct ctr *c, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_object(&w);
	jw_kv_string(&w, "type", "stats");
	jw_kv_string(&w, "id", c->rec.id);
	jw_key(&w, "data");
	jw_object(&w);
	int r = cgroup_active(c->cgroup) ? cgroup_stats(c->cgroup, &w, e) : 0;
	if (r == 0 && c->tier->stats)
		r = c->tier->stats(&c->tc, &w, e);
	if (r == 0 && c->rec.rdt && ctr_load_spec(c, NULL) == 0)
		r = intelrdt_stats(NULL, &c->spec->intel_rdt, c->rec.id, &w, e);
	if (r < 0)
		return r;
	network(&w, c->rec.init_pid);
	jw_object_end(&w);
	jw_object_end(&w);
	r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write stats");
	puts(b.s);
	fflush(stdout);
	return 0;
}

static void print_oom(const char *id) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_object(&w);
	jw_kv_string(&w, "type", "oom");
	jw_kv_string(&w, "id", id);
	jw_object_end(&w);
	if (jw_finish(&w) == 0)
		puts(b.s);
	fflush(stdout);
}

static int64_t now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until the container ends: pidfd for its end, the cgroup's OOM source, the interval for statistics. */
static int watch(struct ctr *c, int64_t interval, struct cgroup_oom *oom, int inside, struct err *e) {
	int64_t next = now_ms() + interval, seen = inside >= 0 ? c->tier->oom_kills(&c->tc) : 0;
	for (;;) {
		struct pollfd p[3] = { { c->pidfd, POLLIN, 0 }, { oom->fd, POLLIN, 0 }, { inside, POLLIN, 0 } };
		int64_t left = next - now_ms();
		int n = poll(p, 3, left > 0 ? (int)MIN(left, (int64_t)INT32_MAX) : 0);
		if (n < 0 && errno != EINTR)
			return err_sys(e, errno, "poll");
		if (n > 0 && p[1].revents) {
			int64_t kills = cgroup_oom_read(oom);
			for (int64_t i = 0; i < kills; i++)
				print_oom(c->rec.id);
			if (kills < 0)
				cgroup_oom_close(oom);
		}
		if (n > 0 && (p[2].revents || (inside >= 0 && p[0].revents))) {
			char drop[4096];
			(void)!read(inside, drop, sizeof(drop));
			for (int64_t kills = c->tier->oom_kills(&c->tc); seen < kills; seen++)
				print_oom(c->rec.id);
		}
		if (n > 0 && p[0].revents)
			return 0;
		if (now_ms() >= next) {
			int r = print_stats(c, e);
			if (r < 0)
				return ctr_live_pid(c) ? r : 0;
			next += interval;
		}
	}
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	const struct events_cmd *o = opts;
	int64_t interval = 5000;
	if (o->interval && parse_duration(o->interval, &interval) < 0)
		return err_set(e, EINVAL, "invalid duration \"%s\" for --interval: expected a number and a unit (ms, s, m, h)", o->interval);
	if (interval <= 0)
		return err_set(e, EINVAL, "duration interval must be greater than 0");
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], 0, &c, e);
	if (r < 0)
		return r;
	if (ctr_status(c) == CTR_STOPPED)
		return err_set(e, ESRCH, "container with id %s is not running", c->rec.id);
	r = ctr_load_tier(c, false, e);
	if (r < 0)
		return r;
	if (o->stats)
		return print_stats(c, e);
	r = ctr_open_pidfd(c, e);
	if (r < 0)
		return r;
	struct cgroup_oom oom = CGROUP_OOM_INIT;
	struct err no_oom = ERR_INIT; /* without a memory controller there are no OOM events, but there are statistics */
	if (cgroup_active(c->cgroup) && cgroup_oom_open(c->cgroup, &oom, &no_oom) < 0)
		engine_debug(&cli->eng, "events: %s", err_msg(&no_oom));
	err_clear(&no_oom);
	_cleanup_close_ int inside = c->tier->oom_watch ? c->tier->oom_watch(&c->tc, e) : -EBADF;
	r = inside < 0 && c->tier->oom_watch ? inside : watch(c, interval, &oom, inside, e);
	if (oom.fd >= 0)
		cgroup_oom_close(&oom);
	return r;
}

const struct command cmd_events = { "events", "<container-id>", "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
	"Prints one JSON object a line: {\"type\": \"stats\", \"id\", \"data\"} at every interval and {\"type\": \"oom\", \"id\"} for every OOM kill, until the container ends.",
	opts_, ARRAY_SIZE(opts_), 0, 1, 1, 'c', run };

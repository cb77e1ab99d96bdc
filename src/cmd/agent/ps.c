/* The processes of a container as "ps -ef" would show them; there is no ps in this machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/agent/agent.h"
#include "sys/fd.h"

enum { CMDLINE_MAX = 4096 };

struct row { char state; int ppid, tty; uint64_t cpu_ticks, start_ticks; unsigned uid; char comm[32]; };

/* proc(5): "PID (COMM) STATE PPID ..."; the name may hold anything. */
static int read_row(pid_t pid, struct row *ret)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char path[64];
	struct stat st;
	unsigned long long utime, stime, start;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (stat(path, &st) < 0 || file_read_at(AT_FDCWD, path, &b, 4096) < 0)
		return -ESRCH;
	const char *s = strbuf_str(&b), *open = strchr(s, '('), *close = strrchr(s, ')');
	if (!open || !close || sscanf(close + 1, " %c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu", &ret->state, &ret->ppid, &ret->tty, &utime,
		&stime, &start) != 6)
		return -EBADMSG;
	snprintf(ret->comm, sizeof ret->comm, "%.*s", (int)(close - open - 1), open + 1);
	ret->cpu_ticks = utime + stime;
	ret->start_ticks = start;
	ret->uid = st.st_uid;
	return 0;
}

static void command(pid_t pid, const struct row *r, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	if (file_read_at(AT_FDCWD, path, &b, CMDLINE_MAX) < 0 || !b.len) {
		strbuf_printf(out, "[%s]", r->comm);
		return;
	}
	for (size_t i = 0; i + 1 < b.len; i++)
		if (b.s[i] == 0 || b.s[i] == '\n')
			b.s[i] = ' ';
	strbuf_puts(out, strbuf_str(&b));
}

int guest_processes(struct agent *a, const char *id, struct strbuf *out, struct err *e)
{
	struct guest *g = guest_find(a, id);
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	if (!g)
		return err_set(e, ENOENT, "no container %s here", id ? id : "");
	int r = cgroup_pids(g->cgroup, &pids, &n, e);
	if (r < 0)
		return r;
	struct timespec now, boot;
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	strbuf_puts(out, "UID          PID    PPID  C STIME TTY          TIME CMD\n");
	for (size_t i = 0; i < n; i++) {
		struct row row;
		struct tm tm;
		char tty[32] = "?", stime[16];
		if (read_row(pids[i], &row) < 0)
			continue; /* gone meanwhile */
		time_t start = now.tv_sec - boot.tv_sec + (time_t)(row.start_ticks / hz);
		uint64_t lived = (uint64_t)boot.tv_sec - MIN((uint64_t)boot.tv_sec, row.start_ticks / hz), cpu = row.cpu_ticks / hz;
		gmtime_r(&start, &tm);
		strftime(stime, sizeof stime, "%H:%M", &tm);
		if (row.tty)
			snprintf(tty, sizeof tty, "pts/%d", (row.tty & 0xff) | (row.tty >> 12 & 0xfff00));
		strbuf_printf(out, "%-8u %7d %7d %2llu %s %-8s %02llu:%02llu:%02llu ", row.uid, (int)pids[i], row.ppid, (unsigned long long)(lived ? cpu * 100 / lived : 0), stime, tty,
			(unsigned long long)(cpu / 3600), (unsigned long long)(cpu / 60 % 60), (unsigned long long)(cpu % 60));
		command(pids[i], &row, out);
		strbuf_puts(out, "\n");
	}
	return out->failed ? err_set(e, ENOMEM, "ps") : 0;
}

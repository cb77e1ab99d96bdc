/* Resource usage, asked of the host's procfs for the host threads. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"

static void add_time(struct timeval *a, const struct timeval *b)
{
	a->tv_sec += b->tv_sec;
	a->tv_usec += b->tv_usec;
	if (a->tv_usec >= 1000000) {
		a->tv_usec -= 1000000;
		a->tv_sec++;
	}
}

void rusage_add(struct rusage *a, const struct rusage *b)
{
	add_time(&a->ru_utime, &b->ru_utime);
	add_time(&a->ru_stime, &b->ru_stime);
	a->ru_maxrss = MAX(a->ru_maxrss, b->ru_maxrss);
	a->ru_minflt += b->ru_minflt;
	a->ru_majflt += b->ru_majflt;
	a->ru_nvcsw += b->ru_nvcsw;
	a->ru_nivcsw += b->ru_nivcsw;
}

/* Fields 10, 12, 14, 15, 24 of /proc/PID/task/TID/stat (proc(5)). */
void task_rusage(struct task *t, struct rusage *ru)
{
	char path[64], buf[512];
	unsigned long minflt, majflt, utime, stime;
	long rss = 0;
	memset(ru, 0, sizeof(*ru));
	if (!t->as || !t->as->pid || t->as->gone || !t->host_tid || K.proc_fd < 0)
		return;
	snprintf(path, sizeof(path), "%d/task/%d/stat", t->as->pid, t->host_tid);
	int fd = openat(K.proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return;
	buf[n] = 0;
	const char *s = strrchr(buf, ')');
	if (!s || sscanf(s + 1, " %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
	                 &minflt, &majflt, &utime, &stime, &rss) < 4)
		return;
	ru->ru_utime = (struct timeval){ (time_t)(utime / 100), (suseconds_t)(utime % 100 * 10000) };
	ru->ru_stime = (struct timeval){ (time_t)(stime / 100), (suseconds_t)(stime % 100 * 10000) };
	ru->ru_minflt = (long)minflt;
	ru->ru_majflt = (long)majflt;
	ru->ru_maxrss = rss * 4;
}

void process_rusage(struct process *p, struct rusage *ru)
{
	struct task *t;
	*ru = p->ru_dead_threads;
	list_for_each(t, &p->threads, thread_node) {
		struct rusage one;
		task_rusage(t, &one);
		rusage_add(ru, &one);
	}
}

/* Times commands of OCI runtimes: posix_spawn and wait4 around each one, runs of all runtimes interleaved. Prints JSON. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum op { OP_RUN, OP_CREATE, OP_STATE, OP_START, OP_EXEC, OP_KILL, OP_DELETE, OP_LIST, N_OPS };
static const char *const op_name[N_OPS] = { "run", "create", "state", "start", "exec", "kill", "delete", "list" };

enum { MAX_RUNTIMES = 16, MAX_ROUNDS = 5000, MAX_ARGS = 24 };

struct sample { int64_t wall_ns, cpu_us, rss_kib; };
struct series { size_t n; struct sample *v; };

struct runtime {
	const char *label, *path, *bundle; /* bundle/true runs and ends, bundle/pause stays */
	const char *tier;                  /* --isolation, NULL: not ours */
	const char *floor_flag;            /* "floor:-c": one flag for bench/floor */
	bool floor;                        /* bench/floor: `run` only */
	bool hide_unified;                 /* crun refuses hosts where v2 has controllers beside v1 */
	bool failed;
	char root[128], error[512];
	struct series op[N_OPS];
};

extern char **environ;
static char work[64];
static int ns_home = -1, ns_hidden = -1;

static int64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
	fprintf(stderr, "drive: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void make_hidden_ns(void) {
	int go[2];
	char c;
	if (ns_hidden >= 0)
		return;
	if (pipe(go) < 0 || (ns_home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)) < 0)
		die("mount namespace");
	pid_t p = fork();
	if (p == 0) {
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
			_exit(1);
		umount2("/sys/fs/cgroup/unified", MNT_DETACH);
		if (write(go[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(go[1]);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", p);
	if (p < 0 || read(go[0], &c, 1) != 1 || (ns_hidden = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		die("mount namespace without the v2 hierarchy");
	close(go[0]);
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
}

/* Run argv to its end. Returns its wait status. */
static int timed(struct runtime *r, const char *const argv[], struct sample *ret) {
	posix_spawn_file_actions_t fa;
	char log[96];
	struct rusage u;
	int status = -1;
	pid_t pid;

	snprintf(log, sizeof(log), "%s/log", work);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (r->hide_unified && setns(ns_hidden, CLONE_NEWNS) < 0)
		die("setns");
	int64_t begin = now_ns();
	int rc = posix_spawn(&pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, environ);
	if (rc == 0)
		while (wait4(pid, &status, 0, &u) < 0 && errno == EINTR)
			;
	int64_t end = now_ns();
	if (r->hide_unified && setns(ns_home, CLONE_NEWNS) < 0)
		die("setns");
	posix_spawn_file_actions_destroy(&fa);
	if (rc) {
		errno = rc;
		snprintf(r->error, sizeof(r->error), "%s: %s", argv[0], strerror(rc));
		return -1;
	}
	if (ret) {
		ret->wall_ns = end - begin;
		ret->cpu_us = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
		ret->rss_kib = u.ru_maxrss;
	}
	if (status != 0) {
		int fd = open(log, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, r->error, sizeof(r->error) - 1);
		if (fd >= 0)
			close(fd);
		r->error[n > 0 ? n : 0] = 0;
		r->error[strcspn(r->error, "\n")] = 0;
		if (!r->error[0])
			snprintf(r->error, sizeof(r->error), "%s: status %#x", argv[0], status);
	}
	return status;
}

static pid_t read_pid(const char *file) {
	char b[32] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, b, sizeof(b) - 1) <= 0)
		b[0] = 0;
	if (fd >= 0)
		close(fd);
	return atoi(b);
}

/* One command on one container. */
static int op(struct runtime *r, enum op o, const char *id, bool detach, struct sample *ret) {
	const char *argv[MAX_ARGS];
	char bundle[512], pidfile[160];
	int n = 0;
	argv[n++] = r->path;
	snprintf(pidfile, sizeof(pidfile), "%s/pid-%s", work, id);
	if (r->floor) {
		snprintf(bundle, sizeof(bundle), "%s/rootfs", r->bundle);
		if (r->floor_flag)
			argv[n++] = r->floor_flag;
		argv[n++] = bundle;
		argv[n++] = "/true";
		argv[n] = NULL;
		return o == OP_RUN ? timed(r, argv, ret) : -1;
	}
	argv[n++] = "--root";
	argv[n++] = r->root;
	if (r->tier && (o == OP_RUN || o == OP_CREATE)) {
		argv[n++] = "--isolation";
		argv[n++] = r->tier;
	}
	argv[n++] = op_name[o];
	if (o == OP_RUN || o == OP_CREATE) {
		snprintf(bundle, sizeof(bundle), "%s/%s", r->bundle, o == OP_RUN && !detach ? "true" : "pause");
		if (o == OP_CREATE || detach) {
			argv[n++] = "--pid-file";
			argv[n++] = pidfile;
		}
		if (detach)
			argv[n++] = "--detach";
		argv[n++] = "--bundle";
		argv[n++] = bundle;
	}
	if (o == OP_LIST)
		argv[n++] = "-q";
	else
		argv[n++] = id;
	if (o == OP_EXEC)
		argv[n++] = "/true";
	if (o == OP_KILL)
		argv[n++] = "KILL";
	argv[n] = NULL;
	return timed(r, argv, ret);
}

static void reap(const char *id) {
	char pidfile[160];
	snprintf(pidfile, sizeof(pidfile), "%s/pid-%s", work, id);
	pid_t pid = read_pid(pidfile);
	if (pid > 1 && waitpid(pid, NULL, 0) < 0)
		for (int i = 0; i < 2000 && kill(pid, 0) == 0; i++)
			usleep(1000);
	unlink(pidfile);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static int keep(struct runtime *r, enum op o, const char *id, bool detach, bool count) {
	struct sample s;
	if (op(r, o, id, detach, &s) != 0) {
		r->failed = true;
		fprintf(stderr, "drive: %s %s: %s\n", r->label, op_name[o], r->error);
		return -1;
	}
	if (count && r->op[o].n < MAX_ROUNDS)
		r->op[o].v[r->op[o].n++] = s;
	return 0;
}

static void cycle_once(struct runtime *r, unsigned ops, bool count, int round) {
	char id[64];
	snprintf(id, sizeof(id), "bench-%d-%d", (int)getpid(), round);
	if ((ops & 1u << OP_RUN) && keep(r, OP_RUN, id, false, count) < 0)
		return;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (r->floor || !(ops & ~(1u << OP_RUN)))
		return;
	if (keep(r, OP_CREATE, id, false, count) == 0 && keep(r, OP_STATE, id, false, count) == 0 && keep(r, OP_START, id, false, count) == 0) {
		(void)keep(r, OP_EXEC, id, false, count);
		(void)keep(r, OP_KILL, id, false, count);
		reap(id);
		if (keep(r, OP_DELETE, id, false, count) == 0)
			return;
	}
	const char *argv[] = { r->path, "--root", r->root, "delete", "-f", id, NULL };
	if (!r->floor)
		(void)timed(r, argv, NULL);
}

static int by_wall(const void *a, const void *b) {
	const struct sample *x = a, *y = b;
	return x->wall_ns < y->wall_ns ? -1 : x->wall_ns > y->wall_ns;
}

static void print_string(const char *s) {
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		if ((unsigned char)*s >= 0x20)
			putchar(*s);
	}
	putchar('"');
}

static void print_runtime(struct runtime *r, bool last) {
	bool first = true;
	printf("  {\"label\": ");
	print_string(r->label);
	if (r->failed) {
		printf(", \"error\": ");
		print_string(r->error);
	}
	printf(", \"commands\": {");
	for (int o = 0; o < N_OPS; o++) {
		struct series *s = &r->op[o];
		if (!s->n)
			continue;
		qsort(s->v, s->n, sizeof(*s->v), by_wall);
		int64_t rss = 0, cpu = 0, total = 0;
		for (size_t i = 0; i < s->n; i++) {
			rss = s->v[i].rss_kib > rss ? s->v[i].rss_kib : rss;
			cpu += s->v[i].cpu_us;
			total += s->v[i].wall_ns;
		}
		printf("%s\n    \"%s\": {\"runs\": %zu, \"median_us\": %.1f, \"min_us\": %.1f, \"p90_us\": %.1f, \"cpu_us\": %.1f, \"total_us\": %.1f, \"max_rss_kib\": %lld}",
		       first ? "" : ",", op_name[o], s->n, (double)s->v[s->n / 2].wall_ns / 1e3, (double)s->v[0].wall_ns / 1e3,
		       (double)s->v[s->n * 9 / 10].wall_ns / 1e3, (double)cpu / (double)s->n, (double)total / 1e3, (long long)rss);
		first = false;
	}
	printf("}}%s\n", last ? "" : ",");
}

static int64_t mem_available_kib(void) {
	char line[128];
	long long v = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lld", &v) == 1)
			break;
	if (f)
		fclose(f);
	return v;
}

static int64_t pss_kib(pid_t pid) {
	char path[64], line[128];
	long long v = 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %lld", &v) == 1)
			break;
	if (f)
		fclose(f);
	return v;
}

/* n containers alive at once: how start, state and list grow; memory of each. One JSON object per runtime. */
static void alive(struct runtime *r, int n, bool last) {
	static const int marks[] = { 1, 10, 50, 100, 200, 300, 400, 500, 1000, 2000 };
	char id[64], pidfile[160];
	int started = 0;
	int64_t before = mem_available_kib(), total = 0, pss = 0;
	printf("  {\"label\": ");
	print_string(r->label);
	printf(", \"growth\": [");
	struct sample recent[100];
	for (int i = 1; i <= n; i++) {
		struct sample s;
		snprintf(id, sizeof(id), "bench-%d-%d", (int)getpid(), i);
		if (op(r, OP_RUN, id, true, &s) != 0) {
			r->failed = true;
			fprintf(stderr, "drive: %s: container %d: %s\n", r->label, i, r->error);
			break;
		}
		started = i;
		total += s.wall_ns;
		recent[(i - 1) % 100] = s;
		for (size_t m = 0; m < sizeof(marks) / sizeof(*marks); m++) {
			if (i != marks[m])
				continue;
			struct sample state[15], list[15], window[100];
			int w = i < 20 ? i : 20;
			for (int k = 0; k < w; k++)
				window[k] = recent[(i - 1 - k) % 100];
			qsort(window, (size_t)w, sizeof(*window), by_wall);
			snprintf(id, sizeof(id), "bench-%d-%d", (int)getpid(), (i + 1) / 2);
			for (int k = 0; k < 15; k++)
				if (op(r, OP_STATE, id, false, &state[k]) != 0 || op(r, OP_LIST, "", false, &list[k]) != 0)
					fprintf(stderr, "drive: %s: %s\n", r->label, r->error);
			qsort(state, 15, sizeof(*state), by_wall);
			qsort(list, 15, sizeof(*list), by_wall);
			printf("%s\n    {\"containers\": %d, \"start_us\": %.1f, \"state_us\": %.1f, \"list_us\": %.1f, \"list_max_rss_kib\": %lld}", m ? "," : "",
			       i, (double)window[w / 2].wall_ns / 1e3, (double)state[7].wall_ns / 1e3, (double)list[7].wall_ns / 1e3, (long long)list[14].rss_kib);
			fflush(stdout);
		}
	}
	int64_t after = mem_available_kib();
	for (int i = 1; i <= started; i++) {
		snprintf(pidfile, sizeof(pidfile), "%s/pid-bench-%d-%d", work, (int)getpid(), i);
		pss += pss_kib(read_pid(pidfile));
	}
	int64_t begin = now_ns();
	for (int i = 1; i <= started; i++) {
		snprintf(id, sizeof(id), "bench-%d-%d", (int)getpid(), i);
		if (op(r, OP_KILL, id, false, NULL) != 0)
			fprintf(stderr, "drive: %s kill: %s\n", r->label, r->error);
		reap(id);
		if (op(r, OP_DELETE, id, false, NULL) != 0) {
			const char *argv[] = { r->path, "--root", r->root, "delete", "-f", id, NULL };
			(void)timed(r, argv, NULL);
		}
	}
	printf("],\n   \"containers\": %d, \"start_total_ms\": %.1f, \"delete_total_ms\": %.1f, \"init_pss_kib_each\": %.1f, \"machine_kib_each\": %.1f}%s\n", started,
	       (double)total / 1e6, (double)(now_ns() - begin) / 1e6, started ? (double)pss / started : 0,
	       started ? (double)(before - after) / started : 0, last ? "" : ",");
	fflush(stdout);
}

static unsigned parse_ops(char *list) {
	unsigned ops = 0;
	for (char *w = strtok(list, ","); w; w = strtok(NULL, ","))
		for (int o = 0; o < N_OPS; o++)
			if (strcmp(w, op_name[o]) == 0)
				ops |= 1u << o;
	return ops;
}

static int usage(void) {
	fprintf(stderr, "usage: drive [-n ROUNDS] [-o run,create,...] [-a CONTAINERS] LABEL KIND PATH BUNDLE ...\n"
			"KIND: peer, hybrid-peer (without the v2 hierarchy), floor, floor:FLAG, or the tier of tierce-oci\n");
	return 2;
}

int main(int argc, char **argv) {
	static struct runtime rt[MAX_RUNTIMES];
	int rounds = 20, containers = 0, c, n = 0;
	unsigned ops = ~0u;
	bool failed = false;

	while ((c = getopt(argc, argv, "+n:o:a:")) != -1) {
		if (c == 'n')
			rounds = atoi(optarg);
		else if (c == 'a')
			containers = atoi(optarg);
		else if (c == 'o')
			ops = parse_ops(optarg);
		else
			return usage();
	}
	if ((argc - optind) % 4 || argc == optind || rounds < 1 || rounds > MAX_ROUNDS)
		return usage();
	snprintf(work, sizeof(work), "/run/tierce-bench-%d", (int)getpid());
	if (mkdir(work, 0700) < 0)
		die(work);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = optind; i < argc && n < MAX_RUNTIMES; i += 4, n++) {
		struct runtime *r = &rt[n];
		const char *kind = argv[i + 1];
		r->label = argv[i], r->path = argv[i + 2], r->bundle = argv[i + 3];
		r->floor = strncmp(kind, "floor", 5) == 0;
		r->floor_flag = strchr(kind, ':') ? strchr(kind, ':') + 1 : NULL;
		r->hide_unified = strcmp(kind, "hybrid-peer") == 0;
		if (!r->floor && !strstr(kind, "peer"))
			r->tier = kind;
		if (r->hide_unified)
			make_hidden_ns();
		snprintf(r->root, sizeof(r->root), "%s/%d", work, n);
		for (int o = 0; o < N_OPS; o++)
			if (!(r->op[o].v = calloc((size_t)rounds, sizeof(struct sample))))
				die("memory");
	}
	printf("[\n");
	if (containers) {
		for (int i = 0; i < n; i++)
			alive(&rt[i], containers, i == n - 1);
	} else {
		for (int round = -2; round < rounds; round++)
			for (int i = 0; i < n; i++) {
				struct runtime *r = &rt[(i + round + 2) % n]; /* nobody always follows the same neighbour */
				if (!r->failed)
					cycle_once(r, ops, round >= 0, round + 2);
			}
		for (int i = 0; i < n; i++)
			print_runtime(&rt[i], i == n - 1);
	}
	printf("]\n");
	for (int i = 0; i < n; i++)
		failed |= rt[i].failed && rt[i].tier;
	char log[96];
	snprintf(log, sizeof(log), "%s/log", work);
	unlink(log);
	for (int i = 0; i < n; i++)
		rmdir(rt[i].root);
	rmdir(work);
	return failed;
}

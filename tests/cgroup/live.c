/* Proves the cgroup library on the real cgroups of the machine it runs on (v1, hybrid or v2), as TAP. Static, so that it is the init program of a test
 * machine as well. Usage: live NAME-PREFIX [CHECK...] */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "confine/cgroup.h"
#include "sys/fd.h"
#include "wire/json.h"

static int number, failed;
static const char *prefix = "cgroup-live";

static void ok(bool good, const char *what, const struct err *e)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
	if (!good) {
		failed++;
		printf("# errno %d %s\n", errno, e ? err_msg(e) : "");
	}
	fflush(stdout);
}

static void skip(const char *what, const char *why) { printf("ok %d - %s # SKIP %s\n", ++number, what, why); }

/* Value of a controller's file, "" when absent. */
static const char *value(struct cgroup *cg, enum cgroup_controller c, const char *file)
{
	static char path[4096];
	static struct strbuf b;

	strbuf_clear(&b);
	snprintf(path, sizeof(path), "%s/%s", cgroup_dir(cg, c) ? cgroup_dir(cg, c) : "", file);
	if (file_read_at(AT_FDCWD, path, &b, 65536) < 0)
		return "";
	if (b.len && b.s[b.len - 1] == '\n')
		b.s[b.len - 1] = 0;
	return strbuf_str(&b);
}

static bool is_v2(struct cgroup *cg, enum cgroup_controller c)
{
	return cgroup_dir(cg, c) && cgroup_dir_v2(cg) && streq(cgroup_dir(cg, c), cgroup_dir_v2(cg));
}

static struct cgroup *make(const char *name, const struct oci_resources *r, struct err *e)
{
	char path[256];
	struct cgroup *cg = NULL;
	struct cgroup_request q = { .manager = CGROUP_MANAGER_CGROUPFS, .id = name, .cgroups_path = path, .resources = r };

	snprintf(path, sizeof(path), "/%s/%s", prefix, name);
	if (cgroup_plan(&q, &cg, e) < 0)
		return NULL;
	if (cgroup_create(cg, e) < 0) {
		cgroup_free(cg);
		return NULL;
	}
	return cg;
}

/* A child inside, running f(arg); it never returns from here. */
static pid_t spawn(struct cgroup *cg, const char *sub, int (*f)(void *), void *arg, struct err *e)
{
	struct cgroup_join j;
	int fd = -EBADF;

	if (cgroup_exec_fd(cg, sub, 0, &fd, e) < 0 || cgroup_exec_join(cg, sub, 0, &j, e) < 0)
		return -1;
	struct clone_args a = { .exit_signal = SIGCHLD };
	if (fd >= 0) {
		a.flags = CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)fd;
	}
	int in[2];
	char c;
	if (pipe2(in, O_CLOEXEC) < 0)
		return -1;
	fflush(stdout);
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
	if (pid == 0) {
		int r = cgroup_join_self(&j);
		close(in[0]);
		close(in[1]);
		_exit(r < 0 ? 90 : f(arg));
	}
	close(in[1]);
	if (read(in[0], &c, 1) < 0) /* end of file: it has joined */
		return -1;
	close(in[0]);
	cgroup_join_close(&j);
	cleanup_close(&fd);
	return pid;
}

static NORETURN void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static int idle(void *arg)
{
	(void)arg;
	sleep_for_ever();
}

static int status_of(pid_t pid)
{
	int st = -1;
	waitpid(pid, &st, 0);
	return st;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	status_of(pid);
}

/* ---- checks ------------------------------------------------------------------------------------------------------------ */

static void check_life(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct cgroup_saved s;
	struct cgroup *again = NULL;
	struct oci_resources none = { 0 };
	struct cgroup *cg = make("life", &none, &e);
	struct stat st;
	char file[64];

	ok(cg != NULL, "create", &e);
	if (!cg)
		return;
	pid_t pid = spawn(cg, NULL, idle, NULL, &e);
	ok(pid > 0, "spawn by clone into v2 and self-join on v1", &e);
	for (int i = 0; i < 200; i++) { /* the child joins v1 by itself; no notification for that */
		snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
		strbuf_clear(&b);
		file_read_at(AT_FDCWD, file, &b, 65536);
		size_t lines = 0, mine = 0;
		for (const char *p = strbuf_str(&b); *p; p++)
			lines += *p == '\n';
		for (const char *p = strbuf_str(&b); (p = strstr(p, "/life\n")); p++)
			mine++;
		if (lines == mine || i == 199) {
			ok(lines && lines == mine, "member of every hierarchy", &e);
			break;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	ok(cgroup_populated(cg) == 1, "populated", NULL);
	ok(make("life", &none, &e) == NULL && e.code == -EEXIST, "a cgroup that holds processes is not taken over", &e);
	cgroup_save(cg, &s);
	ok(cgroup_load(&s, &again, &e) == 0, "load from saved strings", &e);
	pid_t *pids;
	size_t n;
	ok(cgroup_pids(again, &pids, &n, &e) == 0 && n == 1 && pids[0] == pid, "pids", &e);
	free(pids);
	ok(cgroup_kill(again, SIGTERM, NULL, &e) == 0 && WTERMSIG(status_of(pid)) == SIGTERM, "kill with SIGTERM", &e);
	pid = spawn(again, NULL, idle, NULL, &e);
	pid_t other = fork();
	if (other == 0)
		idle(NULL);
	ok(cgroup_add(again, other, false, &e) == 0, "add by pid", &e);
	ok(cgroup_pids(again, &pids, &n, &e) == 0 && n == 2, "two pids", &e);
	free(pids);
	ok(cgroup_kill(again, SIGKILL, NULL, &e) == 0, "kill all", &e);
	/* not reaped yet: removal must cope with processes on their way out */
	ok(cgroup_remove(again, &e) == 0, "remove while the last process dies", &e);
	ok(stat(cgroup_dir(again, CGROUP_DEVICES), &st) < 0 && errno == ENOENT, "nothing is left", NULL);
	ok(cgroup_remove(again, &e) == 0 && cgroup_populated(again) == 0 && cgroup_frozen(again) == 0, "remove and queries are idempotent", &e);
	status_of(pid);
	status_of(other);
	cgroup_free(cg);
	cgroup_free(again);
}

static void check_limits(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_resources r = { .set = true }, u = { .set = true };
	const int64_t M = 1 << 20;

	r.memory.limit = (struct opt_i64){ true, 64 * M };
	r.memory.swap = (struct opt_i64){ true, 96 * M };
	r.cpu.shares = (struct opt_u64){ true, 512 };
	r.cpu.quota = (struct opt_i64){ true, 20000 };
	r.cpu.period = (struct opt_u64){ true, 50000 };
	r.cpu.burst = (struct opt_u64){ true, 10000 };
	r.cpu.cpus = "0";
	r.pids_limit = (struct opt_i64){ true, 20 };
	struct cgroup *cg = make("limits", &r, &e);
	ok(cg && cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e) == 0, "apply limits", &e);
	if (!cg)
		return;
	bool m2 = is_v2(cg, CGROUP_MEMORY), c2 = is_v2(cg, CGROUP_CPU);
	const char *max = m2 ? "memory.max" : "memory.limit_in_bytes";
	ok(streq(value(cg, CGROUP_MEMORY, max), "67108864"), "memory limit", NULL);
	if (m2 && !*value(cg, CGROUP_MEMORY, "memory.swap.max"))
		skip("swap limit", "no swap accounting");
	else
		ok(streq(value(cg, CGROUP_MEMORY, m2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes"), m2 ? "33554432" : "100663296"), "swap limit", NULL);
	ok(streq(value(cg, CGROUP_CPU, c2 ? "cpu.weight" : "cpu.shares"), c2 ? "59" : "512"), "cpu weight", NULL);
	ok(streq(value(cg, CGROUP_CPU, c2 ? "cpu.max" : "cpu.cfs_quota_us"), c2 ? "20000 50000" : "20000"), "cpu quota", NULL);
	ok(streq(value(cg, CGROUP_CPU, c2 ? "cpu.max.burst" : "cpu.cfs_burst_us"), "10000"), "cpu burst", NULL);
	ok(streq(value(cg, CGROUP_CPUSET, "cpuset.cpus"), "0"), "cpuset", NULL);
	ok(streq(value(cg, CGROUP_PIDS, "pids.max"), "20"), "pids limit", NULL);
	/* up past the old memory+swap, then down below it: both orders of the two writes are needed on v1 */
	u.memory.limit = (struct opt_i64){ true, 256 * M };
	u.memory.swap = (struct opt_i64){ true, 512 * M };
	ok(cgroup_apply(cg, &u, CGROUP_APPLY_UPDATE, &e) == 0 && streq(value(cg, CGROUP_MEMORY, max), "268435456"), "raise memory and swap", &e);
	u.memory.limit.v = 32 * M;
	u.memory.swap.v = 40 * M;
	ok(cgroup_apply(cg, &u, CGROUP_APPLY_UPDATE, &e) == 0 && streq(value(cg, CGROUP_MEMORY, max), "33554432"), "lower memory and swap", &e);
	u.memory.swap.v = 16 * M;
	ok(cgroup_apply(cg, &u, CGROUP_APPLY_UPDATE, &e) == -EINVAL, "memory+swap below memory is refused", NULL);
	u.memory.swap.v = -1;
	u.memory.limit.v = -1;
	ok(cgroup_apply(cg, &u, CGROUP_APPLY_UPDATE, &e) == 0, "unlimited again", &e);
	struct oci_resources p = { .set = true };
	p.cpu.period = (struct opt_u64){ true, 100000 };
	ok(cgroup_apply(cg, &p, CGROUP_APPLY_UPDATE, &e) == 0 && streq(value(cg, CGROUP_CPU, c2 ? "cpu.max" : "cpu.cfs_quota_us"), c2 ? "20000 100000" : "20000"),
		"a period alone keeps the quota", &e);
	/* all three at once to values that no fixed order of writes accepts */
	p.cpu.quota = (struct opt_i64){ true, 5000 };
	p.cpu.burst = (struct opt_u64){ true, 2000 };
	p.cpu.idle = (struct opt_i64){ true, 1 };
	p.cpu.shares = (struct opt_u64){ true, 1024 };
	ok(cgroup_apply(cg, &p, CGROUP_APPLY_UPDATE, &e) == 0 && streq(value(cg, CGROUP_CPU, c2 ? "cpu.max.burst" : "cpu.cfs_burst_us"), "2000"), "lower quota below the old burst", &e);
	ok(streq(value(cg, CGROUP_CPU, "cpu.idle"), "1"), "cpu idle", NULL);
	struct oci_resources n = { .set = true };
	n.net_class_id = (struct opt_u64){ true, 1 };
	err_clear(&e);
	int q = cgroup_apply(cg, &n, CGROUP_APPLY_UPDATE, &e);
	ok(cgroup_dir(cg, CGROUP_NET_CLS) && !is_v2(cg, CGROUP_NET_CLS) ? q == 0 : q == -ENOTSUP && strstr(err_msg(&e), "net_cls"), "a missing controller is named", &e);
	struct oci_resources h = { .set = true };
	struct oci_hugepage page = { "2MB", 4 << 20 };
	h.hugepages = &page;
	h.n_hugepages = 1;
	q = cgroup_apply(cg, &h, CGROUP_APPLY_UPDATE, &e);
	ok(q == 0 && streq(value(cg, CGROUP_HUGETLB, is_v2(cg, CGROUP_HUGETLB) ? "hugetlb.2MB.max" : "hugetlb.2MB.limit_in_bytes"), "4194304"),
		"hugetlb, switched on where it lives when it is first needed", &e);
	page.page_size = "../x";
	ok(cgroup_apply(cg, &h, CGROUP_APPLY_UPDATE, &e) == -EINVAL, "a page size that is a path is refused", NULL);
	struct oci_resources x = { .set = true };
	struct oci_map_entry un[] = { { "cgroup.max.descendants", "77" }, { "nothere.max", "1" }, { "../cgroup.kill", "1" } };
	x.unified = (struct oci_map){ un, 1 };
	if (cgroup_dir_v2(cg)) {
		ok(cgroup_apply(cg, &x, CGROUP_APPLY_UPDATE, &e) == 0, "unified", &e);
		x.unified.v = un + 1;
		ok(cgroup_apply(cg, &x, CGROUP_APPLY_UPDATE, &e) == -ENOTSUP, "unified: an unknown file is refused", NULL);
		x.unified.v = un + 2;
		ok(cgroup_apply(cg, &x, CGROUP_APPLY_UPDATE, &e) == -EINVAL, "unified: a path is refused", NULL);
	}
	ok(cgroup_remove(cg, &e) == 0, "remove", &e);
	cgroup_free(cg);
}

static int fork_many(void *arg)
{
	int made = 0;
	(void)arg;
	for (int i = 0; i < 30; i++) {
		pid_t p = fork();
		if (p == 0)
			idle(NULL);
		made += p > 0;
	}
	return made;
}

static void check_pids(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_resources r = { .set = true, .pids_limit = { true, 10 } };
	struct cgroup *cg = make("pids", &r, &e);

	ok(cg && cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e) == 0, "apply pids limit", &e);
	if (!cg)
		return;
	int st = status_of(spawn(cg, NULL, fork_many, NULL, &e));
	ok(WIFEXITED(st) && WEXITSTATUS(st) == 9, "the tenth process is the last", NULL);
	ok(cgroup_kill(cg, SIGKILL, NULL, &e) == 0 && cgroup_remove(cg, &e) == 0, "orphans are killed and the cgroup removed", &e);
	cgroup_free(cg);
}

/* ---- devices ------------------------------------------------------------------------------------------------------------- */

static char node_dir[] = "/tmp/cgroup-live-XXXXXX";

/* Bits: 1 null opens, 2 zero opens, 4 kmsg (1:11) opens for reading, 8 urandom opens. */
static int try_devices(void *arg)
{
	static const unsigned minors[] = { 3, 5, 11, 9 };
	int bits = 0;
	(void)arg;
	for (unsigned i = 0; i < 4; i++) {
		char p[128];
		snprintf(p, sizeof(p), "%s/%u", node_dir, minors[i]);
		int fd = open(p, (i == 2 ? O_RDONLY | O_NONBLOCK : O_RDWR) | O_CLOEXEC);
		bits |= fd >= 0 ? 1 << i : 0;
		cleanup_close(&fd);
	}
	return bits;
}

struct window { volatile int stop, bad, rounds; };

static int hammer(void *arg)
{
	struct window *w = arg;
	char p[128];

	snprintf(p, sizeof(p), "%s/3", node_dir);
	while (!w->stop) {
		int fd = open(p, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			w->bad++;
		w->rounds++;
		cleanup_close(&fd);
		if (w->rounds % 64 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
	return 0;
}

static int devices_now(struct cgroup *cg, struct err *e)
{
	int st = status_of(spawn(cg, NULL, try_devices, NULL, e));
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static void check_devices(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	static const unsigned minors[] = { 3, 5, 11, 9 };
	struct oci_device_rule deny = { false, 'a', { 0 }, { 0 }, "rwm" };
	struct oci_device_rule kmsg[] = { { false, 'a', { 0 }, { 0 }, "rwm" }, { true, 'c', { true, 1 }, { true, 11 }, "r" } };
	struct oci_device_rule all[] = { { true, 'a', { 0 }, { 0 }, "rwm" } };
	struct oci_resources r = { .set = true, .devices = &deny, .n_devices = 1 };
	char p[128];

	if (!mkdtemp(node_dir))
		return ok(false, "mkdtemp", NULL);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(p, sizeof(p), "%s/%u", node_dir, minors[i]);
		if (mknod(p, S_IFCHR | 0666, makedev(1, minors[i])) < 0)
			ok(false, "mknod", NULL);
	}
	struct cgroup *cg = make("devices", &r, &e);
	ok(cg && cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e) == 0, is_v2(cg, CGROUP_DEVICES) ? "device rules by eBPF" : "device rules on v1", &e);
	ok(devices_now(cg, &e) == (1 | 2 | 8), "default devices open, kmsg does not", &e);
	r.devices = kmsg;
	r.n_devices = 2;
	ok(cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e) == 0 && devices_now(cg, &e) == 15, "kmsg allowed by update", &e);
	struct window *w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*w = (struct window){ 0 };
	pid_t pid = spawn(cg, NULL, hammer, w, &e);
	int bad = 0;
	for (int i = 0; i < 60; i++) {
		r.devices = i % 2 ? kmsg : &deny;
		r.n_devices = i % 2 ? 2 : 1;
		bad |= cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e) < 0;
	}
	for (int i = 0; i < 500 && w->rounds < 64; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	w->stop = 1;
	status_of(pid);
	ok(!bad && w->rounds > 0 && w->bad == 0, "60 updates on a live container: null never refused", &e);
	r.devices = &deny;
	r.n_devices = 1;
	ok(cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e) == 0 && devices_now(cg, &e) == 11, "kmsg taken away again", &e);
	r.devices = all;
	ok(cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e) == 0 && devices_now(cg, &e) == 15, "everything allowed", &e);
	r.devices = &deny;
	ok(cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e) == 0 && devices_now(cg, &e) == 11, "and denied", &e);
	ok(cgroup_remove(cg, &e) == 0, "remove", &e);
	cgroup_free(cg);
	munmap(w, 4096);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(p, sizeof(p), "%s/%u", node_dir, minors[i]);
		unlink(p);
	}
	rmdir(node_dir);
}

/* ---- freezing, sub-cgroups, statistics, OOM ------------------------------------------------------------------------------- */

static int count_up(void *arg)
{
	volatile unsigned long *n = arg;
	while (++*n)
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	return 0;
}

static void check_freeze(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_resources none = { 0 };
	struct cgroup *cg = make("freeze", &none, &e);
	volatile unsigned long *n = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!cg)
		return ok(false, "create", &e);
	pid_t pid = spawn(cg, NULL, count_up, (void *)(uintptr_t)n, &e);
	while (!*n)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ok(cgroup_frozen(cg) == 0 && cgroup_freeze(cg, true, &e) == 0 && cgroup_frozen(cg) == 1, "freeze", &e);
	unsigned long a = *n;
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	ok(*n == a, "nothing runs while frozen", NULL);
	ok(cgroup_freeze(cg, false, &e) == 0 && cgroup_frozen(cg) == 0, "thaw", &e);
	for (int i = 0; i < 1000 && *n == a; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	ok(*n > a, "runs again", NULL);
	ok(cgroup_freeze(cg, true, &e) == 0 && cgroup_kill(cg, SIGKILL, NULL, &e) == 0 && WTERMSIG(status_of(pid)) == SIGKILL, "a frozen container is killed", &e);
	ok(cgroup_remove(cg, &e) == 0, "remove", &e);
	cgroup_free(cg);
	munmap((void *)(uintptr_t)n, 4096);
}

static void check_exec(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_resources none = { 0 };
	struct cgroup *cg = make("exec", &none, &e);
	char p[4096];
	pid_t *pids;
	size_t n;
	int fd;

	if (!cg)
		return ok(false, "create", &e);
	for (enum cgroup_controller c = 0; c < CGROUP_CONTROLLERS; c++)
		if (cgroup_dir(cg, c)) {
			snprintf(p, sizeof(p), "%s/sub", cgroup_dir(cg, c));
			mkdir(p, 0755);
		}
	if (cgroup_dir_v2(cg)) {
		snprintf(p, sizeof(p), "%s/sub", cgroup_dir_v2(cg));
		mkdir(p, 0755);
	}
	pid_t a = spawn(cg, NULL, idle, NULL, &e);
	pid_t b = spawn(cg, is_v2(cg, CGROUP_PIDS) ? ":sub" : cgroup_dir_v2(cg) ? "pids:sub\n:sub" : "pids:sub", idle, NULL, &e);
	ok(a > 0 && b > 0, "spawn into a sub-cgroup", &e);
	ok(cgroup_pids(cg, &pids, &n, &e) == 0 && n == 2, "pids counts sub-cgroups", &e);
	free(pids);
	ok(cgroup_exec_fd(cg, "../elsewhere", 0, &fd, &e) == (cgroup_dir_v2(cg) ? -EINVAL : 0), "a way out by .. is refused", NULL);
	ok(cgroup_exec_fd(cg, "missing", 0, &fd, &e) == (cgroup_dir_v2(cg) ? -ENOENT : 0), "a missing sub-cgroup is an error", NULL);
	ok(cgroup_kill(cg, SIGKILL, NULL, &e) == 0, "kill reaches sub-cgroups", &e);
	status_of(a);
	status_of(b);
	ok(cgroup_remove(cg, &e) == 0, "remove with sub-cgroups", &e);
	cgroup_free(cg);
}

/* The container's processes live one below the cgroup that holds its limits. */
static void check_delegate(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_map_entry note = { "run.oci.delegate-cgroup", "inner" };
	struct oci_map map = { &note, 1 };
	struct oci_resources r = { .set = true, .pids_limit = { true, 12 } };
	struct cgroup_request q = { .id = "delegate", .resources = &r, .annotations = &map, .chown = true, .owner_uid = 1234, .owner_gid = 1234 };
	struct cgroup *cg = NULL, *again = NULL;
	struct cgroup_saved s;
	char path[256], file[4096];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/%s/delegate", prefix);
	q.cgroups_path = path;
	if (cgroup_host_mode() != CGROUP_MODE_V2) {
		ok(cgroup_plan(&q, &cg, &e) == -ENOTSUP, "delegation is refused where v2 is not alone", &e);
		return;
	}
	ok(cgroup_plan(&q, &cg, &e) == 0 && cgroup_create(cg, &e) == 0 && cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e) == 0, "create with a delegated cgroup", &e);
	cgroup_save(cg, &s);
	ok(cgroup_load(&s, &again, &e) == 0, "load", &e);
	pid_t pid = spawn(again, NULL, idle, NULL, &e);
	snprintf(file, sizeof(file), "%s/inner/cgroup.procs", cgroup_dir_v2(cg));
	struct strbuf b = STRBUF_INIT;
	file_read_at(AT_FDCWD, file, &b, 4096);
	ok(pid > 0 && atoi(strbuf_str(&b)) == pid, "the process is in the delegated cgroup", &e);
	strbuf_free(&b);
	ok(stat(file, &st) == 0 && st.st_uid == 1234, "which belongs to the container's root", NULL);
	snprintf(file, sizeof(file), "%s/pids.max", cgroup_dir_v2(cg));
	ok(stat(file, &st) == 0 && st.st_uid == 0 && streq(value(cg, CGROUP_PIDS, "pids.max"), "12"), "while the limits do not", NULL);
	ok(cgroup_exec_fd(cg, NULL, pid, &fd, &e) == 0 && fd >= 0, "exec goes there too", &e);
	cleanup_close(&fd);
	end(pid);
	ok(cgroup_remove(again, &e) == 0, "remove", &e);
	cgroup_free(cg);
	cgroup_free(again);
}

static int burn(void *arg)
{
	volatile unsigned long n = 0;
	(void)arg;
	volatile char *m = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < 8 << 20; i += 4096)
		m[i] = 1;
	while (n < 30000000)
		n = n + 1;
	return idle(NULL);
}

static uint64_t stat_of(const struct json *d, const char *a, const char *b, const char *c)
{
	uint64_t v = 0;
	const struct json *j = json_get(json_get(d, a), b);
	if (c)
		j = json_get(j, c);
	return j && json_u64(j, &v) == 0 ? v : 0;
}

static void check_stats(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_arena_ struct arena arena = ARENA_INIT;
	struct oci_resources r = { .set = true };
	struct json *doc = NULL;
	r.memory.limit = (struct opt_i64){ true, 64 << 20 };
	r.pids_limit = (struct opt_i64){ true, 33 };
	struct cgroup *cg = make("stats", &r, &e);

	if (!cg || cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e) < 0)
		return ok(false, "create", &e);
	pid_t pid = spawn(cg, NULL, burn, NULL, &e);
	bool good = false;
	for (int i = 0; i < 300 && !good; i++) {
		struct strbuf b = STRBUF_INIT;
		struct json_writer w;
		jw_init(&w, &b, 0);
		jw_object(&w);
		if (cgroup_stats(cg, &w, &e) < 0)
			break;
		jw_object_end(&w);
		if (jw_finish(&w) < 0 || json_parse(&arena, b.s, b.len, &doc, &e) < 0)
			break;
		good = stat_of(doc, "memory", "usage", "usage") > (4 << 20) && stat_of(doc, "cpu", "usage", "total") > 1000000;
		if (good || i == 299)
			printf("# %s\n", b.s);
		strbuf_free(&b);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	ok(good, "stats see memory and cpu", &e);
	ok(stat_of(doc, "memory", "usage", "limit") == 64 << 20, "stats: memory limit", NULL);
	ok(stat_of(doc, "pids", "current", NULL) == 1 && stat_of(doc, "pids", "limit", NULL) == 33, "stats: pids", NULL);
	ok(json_get(json_get(doc, "memory"), "raw") && json_get(doc, "blkio") && json_get(doc, "hugetlb") && json_get(doc, "cpuset"), "stats: all members", NULL);
	if (access("/proc/pressure/cpu", F_OK) == 0 && cgroup_dir_v2(cg))
		ok(json_get(json_get(json_get(json_get(doc, "cpu"), "psi"), "some"), "avg10") != NULL, "stats: pressure", NULL);
	else
		skip("stats: pressure", "no PSI here");
	end(pid);
	ok(cgroup_remove(cg, &e) == 0, "remove", &e);
	cgroup_free(cg);
}

static int eat(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < 256; i++) {
		char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (m != MAP_FAILED)
			memset(m, 1, 1 << 20);
	}
	return 0;
}

static void check_oom(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_resources r = { .set = true };
	struct cgroup_oom w = CGROUP_OOM_INIT;
	r.memory.limit = r.memory.swap = (struct opt_i64){ true, 16 << 20 };
	struct cgroup *cg = make("oom", &r, &e);

	if (!cg || cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e) < 0 || cgroup_oom_open(cg, &w, &e) < 0)
		return ok(false, "watch", &e);
	pid_t pid = spawn(cg, NULL, eat, NULL, &e);
	int64_t kills = 0;
	for (int i = 0; i < 20 && kills == 0; i++) {
		struct pollfd p = { .fd = w.fd, .events = POLLIN };
		if (poll(&p, 1, 5000) <= 0)
			break;
		kills = cgroup_oom_read(&w);
	}
	ok(kills >= 1, "an OOM kill is told", &e);
	ok(WTERMSIG(status_of(pid)) == SIGKILL && cgroup_oom_count(cg) >= 1, "and counted", NULL);
	int64_t last = 0;
	ok(cgroup_remove(cg, &e) == 0, "remove", &e);
	for (int i = 0; i < 20 && last != -ENODEV; i++) {
		struct pollfd p = { .fd = w.fd, .events = POLLIN };
		if (poll(&p, 1, 5000) <= 0)
			break;
		last = cgroup_oom_read(&w);
	}
	ok(last == -ENODEV, "the watch ends with the cgroup", NULL);
	cgroup_oom_close(&w);
	cgroup_free(cg);
}

static const struct { const char *name; void (*f)(void); } checks[] = {
	{ "life", check_life }, { "limits", check_limits }, { "pids", check_pids }, { "devices", check_devices }, { "freeze", check_freeze },
	{ "exec", check_exec }, { "delegate", check_delegate }, { "stats", check_stats }, { "oom", check_oom },
};

int main(int argc, char **argv)
{
	static const char *const modes[] = { "none", "v1", "hybrid", "v2" };
	struct cgroup *top = NULL;
	char path[128];

	if (argc > 1)
		prefix = argv[1];
	printf("# host mode %s\n", modes[cgroup_host_mode()]);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		bool want = argc < 3;
		for (int k = 2; k < argc; k++)
			want |= streq(argv[k], checks[i].name);
		if (want)
			checks[i].f();
	}
	snprintf(path, sizeof(path), "/%s", prefix);
	struct cgroup_request q = { .manager = CGROUP_MANAGER_CGROUPFS, .id = prefix, .cgroups_path = path };
	_cleanup_err_ struct err e = ERR_INIT;
	ok(cgroup_plan(&q, &top, &e) == 0 && cgroup_remove(top, &e) == 0, "the parent is removed, so nothing was left below it", &e);
	cgroup_free(top);
	printf("1..%d\n", number);
	return failed != 0;
}

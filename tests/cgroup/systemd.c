/* Proves the systemd manager on a machine where systemd is init, as TAP. Static; tierce-systemd lies beside it. Usage: cgroup-systemd */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "confine/cgroup.h"
#include "sys/fd.h"

static int number, failed;

static void ok(bool good, const char *what, const struct err *e)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
	if (!good) {
		failed++;
		printf("# %s\n", e ? err_msg(e) : "");
	}
	fflush(stdout);
}

static NORETURN void sleep_for_ever(void)
{
	for (;;)
		pause();
}

/* First line of a command's output. */
static const char *ask(const char *fmt, ...) PRINTF(1, 2);
static const char *ask(const char *fmt, ...)
{
	static char line[512];
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	line[0] = 0;
	FILE *f = popen(cmd, "r");
	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = 0;
		pclose(f);
	}
	line[strcspn(line, "\n")] = 0;
	return line;
}

static bool is(const char *unit, const char *property, const char *value)
{
	const char *v = ask("systemctl show --value -p %s %s", property, unit);
	if (!streq(v, value))
		printf("# %s of %s is \"%s\"\n", property, unit, v);
	return streq(v, value);
}

struct box { struct cgroup *cg; pid_t pid; };

static int up(struct cgroup_request *q, struct box *b, struct err *e)
{
	struct oci_resources none = { 0 };
	int r;

	q->manager = CGROUP_MANAGER_SYSTEMD;
	if ((r = cgroup_plan(q, &b->cg, e)) < 0 || (r = cgroup_create(b->cg, e)) < 0 || (r = cgroup_apply(b->cg, q->resources ? q->resources : &none, CGROUP_APPLY_NEW, e)) < 0)
		return r;
	struct clone_args a = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup_fd(b->cg) };
	fflush(stdout);
	b->pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
	if (b->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleep_for_ever();
	}
	if (b->pid < 0)
		return err_sys(e, errno, "clone3");
	return cgroup_ready(b->cg, e);
}

static int down(struct box *b, struct err *e)
{
	if (b->pid > 0) {
		kill(b->pid, SIGKILL);
		waitpid(b->pid, NULL, 0);
	}
	int r = b->cg ? cgroup_remove(b->cg, e) : 0;
	cgroup_free(b->cg);
	*b = (struct box){ 0 };
	return r;
}

static void check_scope(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_map_entry notes[] = { { "org.systemd.property.TimeoutStopSec", "7" }, { "org.systemd.property.CollectMode", "'inactive-or-failed'" },
		{ "org.systemd.property.Documentation", "['man:true(1)', 'man:false(1)']" }, { "org.systemd.property.RuntimeMaxUSec", "uint64 77000000" } };
	struct oci_map map = { notes, 4 };
	struct oci_resources r = { .set = true }, u = { .set = true };
	struct cgroup_saved s;
	struct box b = { 0 };
	struct stat st;

	r.memory.limit = (struct opt_i64){ true, 64 << 20 };
	r.pids_limit = (struct opt_i64){ true, 50 };
	r.cpu.shares = (struct opt_u64){ true, 2048 };
	r.cpu.quota = (struct opt_i64){ true, 33333 };
	r.cpu.cpus = "0";
	struct cgroup_request q = { .id = "one", .cgroups_path = "up-down.slice:box:one", .annotations = &map, .resources = &r };
	ok(up(&q, &b, &e) == 0, "start a scope", &e);
	if (!b.cg)
		return;
	cgroup_save(b.cg, &s);
	ok(streq(s.path, "/up.slice/up-down.slice/box-one.scope") && streq(s.unit, "box-one.scope") && streq(s.manager, "systemd"), "slices are expanded", NULL);
	printf("# %s\n", s.path);
	ok(is("box-one.scope", "ActiveState", "active") && is("box-one.scope", "ControlGroup", s.path) && is("box-one.scope", "Delegate", "yes"), "the unit is active and delegated", NULL);
	ok(is("box-one.scope", "MemoryMax", "67108864") && is("box-one.scope", "TasksMax", "50") && is("box-one.scope", "CPUWeight", "174") &&
		is("box-one.scope", "CPUQuotaPerSecUSec", "340ms") && is("box-one.scope", "AllowedCPUs", "0"), "limits are unit properties", NULL);
	ok(is("box-one.scope", "TimeoutStopUSec", "7s") && is("box-one.scope", "CollectMode", "inactive-or-failed") &&
		is("box-one.scope", "Documentation", "\"man:true(1)\" \"man:false(1)\"") && is("box-one.scope", "RuntimeMaxUSec", "1min 17s"), "annotations are unit properties", NULL);
	ok(streq(ask("cat %s/memory.max", cgroup_dir_v2(b.cg)), "67108864") && streq(ask("cat %s/cpu.max", cgroup_dir_v2(b.cg)), "33333 100000"), "the cgroup has the exact values", NULL);
	ok(atoi(ask("cat %s/cgroup.procs", cgroup_dir_v2(b.cg))) == b.pid && streq(ask("wc -l <%s/cgroup.procs", cgroup_dir_v2(b.cg)), "1"), "the helper has left", NULL);
	u.memory.limit = (struct opt_i64){ true, 96 << 20 };
	u.cpu.cpus = "0-1";
	ok(cgroup_apply(b.cg, &u, CGROUP_APPLY_UPDATE, &e) == 0, "update", &e);
	ask("systemctl daemon-reload");
	ok(is("box-one.scope", "MemoryMax", "100663296") && streq(ask("cat %s/memory.max", cgroup_dir_v2(b.cg)), "100663296"), "the update survives daemon-reload", NULL);
	struct cgroup *again = NULL;
	ok(cgroup_load(&s, &again, &e) == 0 && cgroup_kill(again, SIGKILL, NULL, &e) == 0 && cgroup_remove(again, &e) == 0, "remove from saved strings", &e);
	ok(is("box-one.scope", "LoadState", "not-found") && stat(cgroup_dir_v2(again), &st) < 0, "unit and cgroup are gone", NULL);
	ok(cgroup_remove(again, &e) == 0, "remove is idempotent", &e);
	cgroup_free(again);
	down(&b, &e);
}

static void check_subgroup(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_map_entry note = { "run.oci.systemd.subgroup", "container" };
	struct oci_map map = { &note, 1 };
	struct oci_resources r = { .set = true, .pids_limit = { true, 40 } };
	struct cgroup_request q = { .id = "two", .annotations = &map, .resources = &r };
	struct cgroup_saved s;
	struct box b = { 0 };

	ok(up(&q, &b, &e) == 0, "start with a subgroup", &e);
	if (!b.cg)
		return;
	cgroup_save(b.cg, &s);
	ok(streq(s.path, "/system.slice/tierce-two.scope/container"), "default slice and prefix", NULL);
	ok(streq(ask("cat %s/pids.max", cgroup_dir_v2(b.cg)), "40"), "limits stand on the subgroup", NULL);
	ok(down(&b, &e) == 0 && is("tierce-two.scope", "LoadState", "not-found"), "remove", &e);
}

static void check_refusals(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	static const char *const paths[] = { "/a/b", "a:b", "x.slice:p:n:q", "../x.slice:p:n", "a--b.slice:p:n", "a.slice:p:..%2f/x", "nothing:p:n", "a.slice:p:" };
	struct oci_map_entry notes[] = { { "org.systemd.property.MemoryMax", "uint64 12x" }, { "org.systemd.property.Mem.Max", "true" }, { "org.systemd.property.NoSuchThing", "true" } };
	struct cgroup *cg = NULL;
	struct box b = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct cgroup_request q = { .manager = CGROUP_MANAGER_SYSTEMD, .id = "bad", .cgroups_path = paths[i] };
		ok(cgroup_plan(&q, &cg, &e) == -EINVAL, paths[i], &e);
	}
	for (size_t i = 0; i < 2; i++) {
		struct oci_map map = { &notes[i], 1 };
		struct cgroup_request q = { .manager = CGROUP_MANAGER_SYSTEMD, .id = "bad", .annotations = &map };
		ok(cgroup_plan(&q, &cg, &e) == -EINVAL, notes[i].key, &e);
	}
	struct oci_map map = { &notes[2], 1 };
	struct cgroup_request q = { .id = "bad", .annotations = &map };
	ok(up(&q, &b, &e) < 0, "a property that systemd does not know is refused by it", &e);
	printf("# %s\n", err_msg(&e));
	down(&b, NULL);
	ok(is("tierce-bad.scope", "LoadState", "not-found"), "and leaves nothing", NULL);
}

static void check_burst(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	enum { N = 30 };
	pid_t pids[N];
	int good = 0, gone = 0, st;

	for (int i = 0; i < N; i++) {
		fflush(stdout);
		pids[i] = fork();
		if (pids[i] == 0) {
			char id[32];
			struct box b = { 0 };
			snprintf(id, sizeof(id), "burst%d", i);
			struct cgroup_request q = { .id = id };
			int r = up(&q, &b, &e);
			if (r < 0)
				printf("# %s\n", err_msg(&e));
			fflush(stdout);
			int d = down(&b, &e);
			_exit(r < 0 ? 1 : d < 0 ? 2 : 0);
		}
	}
	for (int i = 0; i < N; i++)
		if (waitpid(pids[i], &st, 0) == pids[i] && WIFEXITED(st)) {
			good += WEXITSTATUS(st) != 1;
			gone += WEXITSTATUS(st) == 0;
		}
	ok(good == N, "30 starts at once", NULL);
	ok(gone == N && streq(ask("systemctl list-units --all --plain --no-legend 'tierce-burst*' | wc -l"), "0"), "and none is left", NULL);
}

static void check_killed_helper(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct cgroup_request q = { .manager = CGROUP_MANAGER_SYSTEMD, .id = "lost" };
	struct cgroup *cg = NULL;

	ok(cgroup_plan(&q, &cg, &e) == 0 && cgroup_create(cg, &e) == 0, "a scope without its container", &e);
	if (!cg)
		return;
	ok(atoi(ask("cat %s/cgroup.procs", cgroup_dir_v2(cg))) > 0, "is held by the helper", NULL);
	kill(atoi(ask("cat %s/cgroup.procs", cgroup_dir_v2(cg))), SIGKILL);
	bool gone = false;
	for (int i = 0; i < 100 && !gone; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
		gone = !streq(ask("systemctl is-active tierce-lost.scope"), "active");
	}
	ok(gone, "and ends with it", NULL);
	ok(cgroup_remove(cg, &e) == 0 && is("tierce-lost.scope", "LoadState", "not-found"), "remove", &e);
	cgroup_free(cg);
}

/* As an ordinary user with a systemd of their own. */
static int user_part(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_resources r = { .set = true, .pids_limit = { true, 30 } };
	struct cgroup_request q = { .id = "mine", .rootless = true, .resources = &r };
	struct cgroup_saved s;
	struct box b = { 0 };
	struct stat st;

	q.manager = CGROUP_MANAGER_SYSTEMD;
	if (cgroup_plan(&q, &b.cg, &e) < 0 || cgroup_create(b.cg, &e) < 0 || cgroup_apply(b.cg, &r, CGROUP_APPLY_NEW, &e) < 0) {
		printf("# %s\n", err_msg(&e));
		return 1;
	}
	cgroup_save(b.cg, &s);
	printf("# %s %s\n", s.manager, s.path);
	bool good = streq(s.manager, "systemd-user") && strstr(s.path, "/user@1000.service/") && streq(ask("cat %s/pids.max", cgroup_dir_v2(b.cg)), "30");
	/* The caller sits outside the user's tree, so CLONE_INTO_CGROUP would cross a boundary that is not ours; an engine inside a session does not. */
	char path[512];
	snprintf(path, sizeof(path), "%s", cgroup_dir_v2(b.cg));
	if (cgroup_remove(b.cg, &e) < 0) {
		printf("# %s\n", err_msg(&e));
		good = false;
	}
	cgroup_free(b.cg);
	return good && stat(path, &st) < 0 ? 0 : 1;
}

static void check_user(void)
{
	int st;

	ask("useradd -m -u 1000 someone; mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/someone; systemctl start user@1000.service");
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
		setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus", 1);
		if (setgid(1000) < 0 || setuid(1000) < 0)
			_exit(9);
		int r = user_part();
		fflush(stdout);
		_exit(r);
	}
	waitpid(pid, &st, 0);
	ok(WIFEXITED(st) && WEXITSTATUS(st) == 0, "a scope of the user's own manager, rootless", NULL);
}

int main(void)
{
	check_scope();
	check_subgroup();
	check_refusals();
	check_burst();
	check_killed_helper();
	check_user();
	printf("1..%d\n", number);
	return failed != 0;
}

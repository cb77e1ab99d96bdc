/* What single steps of starting a container cost on this machine: median and lowest decile in microseconds, as JSON. Needs root.
 * Usage: calls DIRECTORY     a scratch directory on the file system of the state root */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { ROUNDS = 100, RECORD = 600 };
static char scratch[PATH_MAX - 64], cgroup[128], record[RECORD];
static int own_net = -1;

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static const char *in_scratch(const char *name, char path[PATH_MAX]) {
	snprintf(path, PATH_MAX, "%s/%s", scratch, name);
	return path;
}

static int child(uint64_t flags) {
	struct clone_args a = { .flags = flags, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &a, sizeof(a));
	int status = -1;
	if (pid == 0)
		_exit(0);
	return pid < 0 || waitpid((pid_t)pid, &status, 0) < 0 ? -1 : status;
}

static int put(const char *name, int flags) {
	char path[PATH_MAX];
	int fd = open(in_scratch(name, path), O_WRONLY | O_CLOEXEC | flags, 0600);
	int r = fd < 0 || write(fd, record, sizeof(record)) != (ssize_t)sizeof(record) ? -1 : 0;
	if (fd >= 0)
		close(fd);
	return r;
}

/* ---- the steps; each returns -1 where it is not to be had ------------------------------------------------------------- */

static int fork_wait(void) { return child(0); }
static int fork_namespaces(void) { return child(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC); }
static int fork_mount_namespace(void) { return child(CLONE_NEWNS); }
static int net_namespace(void) { return unshare(CLONE_NEWNET) < 0 ? -1 : setns(own_net, CLONE_NEWNET); }
static int cgroup_made(void) { return mkdir(cgroup, 0755) < 0 ? -1 : rmdir(cgroup); }
static int record_new(void) {
	char path[PATH_MAX];
	return put("new", O_CREAT | O_TRUNC) < 0 ? -1 : unlink(in_scratch("new", path));
}
static int record_renamed(void) {
	char from[PATH_MAX], to[PATH_MAX];
	return put(".state", O_CREAT | O_TRUNC) < 0 ? -1 : rename(in_scratch(".state", from), in_scratch("state", to));
}
static int record_overwritten(void) { return put("state", 0); }
static int tree_cloned(void) {
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | O_CLOEXEC);
	return fd < 0 ? -1 : close(fd);
}
static int mounted(const char *type) {
	int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), r = -1;
	if (fs >= 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
		int m = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
		r = m < 0 ? -1 : (int)syscall(SYS_move_mount, m, "", AT_FDCWD, scratch, MOVE_MOUNT_F_EMPTY_PATH);
		if (m >= 0)
			close(m);
	}
	if (fs >= 0)
		close(fs);
	return r < 0 ? -1 : umount2(scratch, MNT_DETACH);
}
static int mount_tmpfs(void) { return mounted("tmpfs"); }
static int mount_proc(void) { return mounted("proc"); }
static int mount_mqueue(void) { return mounted("mqueue"); }
static int cpuid_leaf(void) {
#if defined(__x86_64__)
	unsigned a, b, c, d;
	__cpuid_count(4, 0, a, b, c, d);
	return 0;
#else
	return -1;
#endif
}

static const struct { const char *name; int (*run)(void); } steps[] = {
	{ "fork, exit, wait", fork_wait },
	{ "the same with a mount namespace", fork_mount_namespace },
	{ "the same with mount, pid, uts, ipc namespaces", fork_namespaces },
	{ "network namespace, and back", net_namespace },
	{ "a cgroup made and removed", cgroup_made },
	{ "a record in a new file, removed", record_new },
	{ "a record renamed over another", record_renamed },
	{ "a record overwritten", record_overwritten },
	{ "a mount cloned and let go", tree_cloned },
	{ "CPUID", cpuid_leaf },
	/* in a mount namespace of our own from here on */
	{ "tmpfs mounted and detached", mount_tmpfs },
	{ "procfs mounted and detached", mount_proc },
	{ "mqueue mounted and detached", mount_mqueue },
};

static void choose_cgroup(void) {
	static const char *const tops[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };
	for (size_t i = 0; i < sizeof(tops) / sizeof(*tops); i++) {
		snprintf(cgroup, sizeof(cgroup), "%s/tierce-bench-%d", tops[i], (int)getpid());
		if (cgroup_made() == 0)
			return;
	}
}

int main(int argc, char **argv) {
	uint64_t taken[ROUNDS];
	char path[PATH_MAX];
	bool first = true, isolated = false;
	if (argc != 2 || strlen(argv[1]) >= sizeof(scratch))
		return fprintf(stderr, "usage: calls DIRECTORY\n"), 2;
	strcpy(scratch, argv[1]);
	choose_cgroup();
	own_net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (put("state", O_CREAT | O_TRUNC) < 0)
		return perror(scratch), 1;
	printf("{");
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		int r = 0;
		if (steps[i].run == mount_tmpfs && !isolated)
			isolated = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
		for (int k = 0; k < ROUNDS && r == 0; k++) {
			uint64_t begin = now();
			r = steps[i].run();
			taken[k] = now() - begin;
		}
		if (r != 0)
			continue;
		qsort(taken, ROUNDS, sizeof(*taken), compare);
		printf("%s\n\"%s\": [%.1f, %.1f]", first ? "" : ",", steps[i].name, (double)taken[ROUNDS / 2] / 1e3, (double)taken[ROUNDS / 10] / 1e3);
		first = false;
	}
	printf("\n}\n");
	unlink(in_scratch("state", path));
	return 0;
}

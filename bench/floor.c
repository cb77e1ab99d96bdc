/* The least that `run` of the default spec can cost: the kernel calls alone, without configuration, checks or error texts.
 * Usage: floor [-c] [-n] ROOTFS PROGRAM [ARG...]     -c: without cgroups, -n: without a network namespace (for the breakdown)
 *
 * State directory and file; one cgroup in every hierarchy with the default device rules; clone into new namespaces; proc, dev,
 * devpts, shm, mqueue, sysfs and cgroup mounts; device nodes and links; masked and read-only paths; pivot_root; hostname,
 * rlimit, capabilities, no_new_privs; execve; wait; removal of cgroups and state. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(x) do { if ((long)(x) < 0) { fprintf(stderr, "floor: %s: %s\n", #x, strerror(errno)); _exit(126); } } while (0)

static const char *const v1_names[] = { "cpu", "cpuacct", "cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
	"hugetlb", "net_cls", "net_prio", "net_cls,net_prio", "perf_event", "rdma", "misc", "systemd", "unified" };
enum { N_V1 = sizeof(v1_names) / sizeof(*v1_names) };

static const char *const device_rules[] = { "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm", "c 1:5 rwm", "c 1:9 rwm",
	"c 5:1 rwm", "c 136:* rwm", "c 5:2 rwm" };
static const char *const masked_files[] = { "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug" };
static const char *const masked_dirs[] = { "proc/acpi", "proc/asound", "sys/firmware", "proc/scsi" };
static const char *const readonly_paths[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
#define EACH(p, a) for (const char *const *p = (a); p < (a) + sizeof(a) / sizeof(*(a)); p++)

static bool cgroups = true, network = true, v2;
static char id[32], group[N_V1][96];
static int procs[N_V1], n_groups;

static void write_file(const char *path, const char *text, int flags) {
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0 && errno != EINVAL)
			fprintf(stderr, "floor: %s: %s\n", path, strerror(errno));
		close(fd);
	}
}

static void make_cgroups(void) {
	struct statfs s;
	char path[160];
	v2 = statfs("/sys/fs/cgroup", &s) == 0 && s.f_type == 0x63677270;
	for (int i = 0; i < (v2 ? 1 : N_V1); i++) {
		if (v2)
			snprintf(group[n_groups], sizeof(group[0]), "/sys/fs/cgroup/%s", id);
		else
			snprintf(group[n_groups], sizeof(group[0]), "/sys/fs/cgroup/%s/%s", v1_names[i], id);
		if (mkdir(group[n_groups], 0755) < 0)
			continue; /* no such hierarchy here */
		if (!v2 && strcmp(v1_names[i], "devices") == 0) {
			snprintf(path, sizeof(path), "%s/devices.deny", group[n_groups]);
			write_file(path, "a", 0);
			snprintf(path, sizeof(path), "%s/devices.allow", group[n_groups]);
			EACH(rule, device_rules)
				write_file(path, *rule, 0);
		}
		if (!v2 && strcmp(v1_names[i], "cpuset") == 0) { /* a v1 cpuset refuses tasks until it has cpus and mems */
			static const char *const copy[] = { "cpuset.cpus", "cpuset.mems" };
			EACH(name, copy) {
				char value[256] = "";
				snprintf(path, sizeof(path), "/sys/fs/cgroup/cpuset/%s", *name);
				int fd = open(path, O_RDONLY | O_CLOEXEC);
				if (fd < 0 || read(fd, value, sizeof(value) - 1) < 0)
					value[0] = 0;
				close(fd);
				snprintf(path, sizeof(path), "%s/%s", group[n_groups], *name);
				write_file(path, value, 0);
			}
		}
		if (v2)
			MUST(procs[n_groups] = open(group[n_groups], O_PATH | O_DIRECTORY | O_CLOEXEC));
		else {
			snprintf(path, sizeof(path), "%s/cgroup.procs", group[n_groups]);
			MUST(procs[n_groups] = open(path, O_WRONLY | O_CLOEXEC));
		}
		n_groups++;
	}
}

static void mount_cgroups(void) {
	char to[64];
	if (v2) {
		MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
		return;
	}
	MUST(mount("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755"));
	for (int i = 0; i < n_groups; i++) {
		const char *name = group[i] + strlen("/sys/fs/cgroup/");
		snprintf(to, sizeof(to), "sys/fs/cgroup/%.*s", (int)strcspn(name, "/"), name);
		MUST(mkdir(to, 0755));
		MUST(mount(group[i], to, NULL, MS_BIND, NULL));
		MUST(mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	}
	MUST(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
}

static void make_mounts(const char *rootfs) {
	static const struct { const char *path; unsigned major, minor; } nodes[] = {
		{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 }, { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };
	static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
		{ "/proc/self/fd/2", "dev/stderr" }, { "/proc/kcore", "dev/core" }, { "pts/ptmx", "dev/ptmx" } };

	MUST(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
	MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(rootfs));
	MUST(mount("proc", "proc", "proc", 0, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mkdir("dev/shm", 0755));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	MUST(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	if (network)
		MUST(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
	else
		MUST(mount("/sys", "sys", NULL, MS_BIND | MS_REC, NULL));
	if (cgroups)
		mount_cgroups();
	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
		MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		MUST(symlink(links[i][0], links[i][1]));
	EACH(p, masked_files)
		if (mount("dev/null", *p, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
			MUST(-1);
	EACH(p, masked_dirs)
		if (mount("tmpfs", *p, "tmpfs", MS_RDONLY, "size=0k") < 0 && errno != ENOENT)
			MUST(-1);
	EACH(p, readonly_paths)
		if (mount(*p, *p, NULL, MS_BIND | MS_REC, NULL) == 0)
			MUST(mount(NULL, *p, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	MUST(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
}

static void drop_privileges(void) {
	struct rlimit files = { 1024, 1024 };
	uint64_t keep = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { (uint32_t)keep, (uint32_t)keep, 0 }, { 0, 0, 0 } };
	MUST(sethostname("floor", 5));
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	for (unsigned long c = 0; c < 64; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			break;
	MUST(setgid(0));
	MUST(setuid(0));
	MUST(syscall(SYS_capset, &h, d));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int main(int argc, char **argv) {
	char state[64], file[96];
	int c, status = 0;
	while ((c = getopt(argc, argv, "+cn")) != -1) {
		if (c == 'c')
			cgroups = false;
		else if (c == 'n')
			network = false;
	}
	if (argc - optind < 2)
		return 2;
	snprintf(id, sizeof(id), "floor-%d", (int)getpid());
	snprintf(state, sizeof(state), "/run/%s", id);
	snprintf(file, sizeof(file), "%s/state", state);
	MUST(mkdir(state, 0700));
	write_file(file, "created", O_CREAT);
	if (cgroups)
		make_cgroups();
	struct clone_args args = { .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | (network ? CLONE_NEWNET : 0), .exit_signal = SIGCHLD };
	if (v2 && cgroups)
		args.flags |= CLONE_INTO_CGROUP, args.cgroup = (uint64_t)procs[0];
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	MUST(pid);
	if (pid == 0) {
		for (int i = 0; i < n_groups && !v2; i++)
			MUST(write(procs[i], "0", 1));
		make_mounts(argv[optind]);
		drop_privileges();
		execv(argv[optind + 1], argv + optind + 1);
		_exit(127);
	}
	write_file(file, "running", O_TRUNC);
	while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR)
		;
	for (int i = 0; i < n_groups; i++)
		MUST(rmdir(group[i]));
	MUST(unlink(file));
	MUST(rmdir(state));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

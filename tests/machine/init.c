/* First process of a test machine: mounts what a program expects (cgroup v2 alone; v1 alone with the kernel parameter cgroups=v1), runs /test with the words of the kernel parameter test=a,b,c,
 * prints its exit status and reboots, which ends QEMU (-no-reboot). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void mnt(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL) < 0)
		printf("# mount %s on %s: %s\n", type, where, strerror(errno));
}

/* The usual hierarchies of a v1 host, two of them with two controllers. */
static void mount_v1(void)
{
	static const char *const names[] = { "cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls,net_prio", "perf_event", "hugetlb" };
	char where[64];

	mnt("tmpfs", "/sys/fs/cgroup");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(where, sizeof(where), "/sys/fs/cgroup/%s", names[i]);
		mkdir(where, 0755);
		if (mount("cgroup", where, "cgroup", 0, names[i]) < 0) {
			printf("# mount %s: %s\n", where, strerror(errno));
			rmdir(where);
		}
	}
}

int main(void)
{
	static char program[] = "/test";
	char *argv[16] = { program, NULL }, line[2048] = "";
	int n = 1, st = -1;

	mnt("proc", "/proc");
	mnt("sysfs", "/sys");
	mnt("devtmpfs", "/dev");
	mnt("bpf", "/sys/fs/bpf");
	mnt("tmpfs", "/tmp");
	mnt("tmpfs", "/run");
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, line, sizeof(line) - 1) > 0) {
		if (strstr(line, "cgroups=v1"))
			mount_v1();
		else
			mnt("cgroup2", "/sys/fs/cgroup");
		char *t = strstr(line, "test=");
		if (t) {
			t += 5;
			t[strcspn(t, " \n")] = 0;
			for (char *w = strtok(t, ","); w && n < 15; w = strtok(NULL, ","))
				argv[n++] = w;
		}
	}
	close(fd);
	pid_t pid = fork();
	if (pid == 0) {
		execv("/test", argv);
		printf("not ok 1 - exec /test: %s\n", strerror(errno));
		_exit(127);
	}
	while (wait(&st) != pid)
		;
	printf("\nTEST-EXIT %d\n", WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st));
	fflush(stdout);
	sync();
	reboot(RB_AUTOBOOT);
	return 0;
}

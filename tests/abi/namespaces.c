/* unshare, setns, clone with namespaces; user namespaces with maps; what they allow. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <grp.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), n, e;
	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	e = errno;
	close(fd);
	errno = e;
	return n;
}
static void show_file(const char *path)
{
	char buf[200];
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	buf[n < 0 ? 0 : n] = 0;
	printf("%s: %s", path, buf);
}
static ino_t ns(const char *name)
{
	struct stat st;
	char path[100];
	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return stat(path, &st) ? 0 : st.st_ino;
}
static void in_child(void (*fn)(void))
{
	fflush(stdout);
	if (fork() == 0) {
		fn();
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void uts(void)
{
	struct utsname u;
	ino_t before = ns("uts");
	int fd = open("/proc/self/ns/uts", O_RDONLY);
	sethostname("outer", 5);
	SHOW(unshare(CLONE_NEWUTS));
	SHOW(ns("uts") != before);
	uname(&u);
	printf("%s\n", u.nodename);
	SHOW(sethostname("inner", 5));
	uname(&u);
	printf("%s\n", u.nodename);
	SHOW(setns(fd, CLONE_NEWIPC));
	SHOW(setns(fd, CLONE_NEWUTS));
	uname(&u);
	printf("%s\n", u.nodename);
	SHOW(ns("uts") == before);
	SHOW(setns(0x7fff, 0));
	int null = open("/dev/null", O_RDONLY);
	SHOW(setns(null, 0));
	SHOW(sethostname("x", -1));
	SHOW(sethostname("x", 65));
	SHOW(sethostname((char *)8, 5));
}

static void ipc(void)
{
	int id = msgget(0x77001, IPC_CREAT | 0600);
	SHOW(id >= 0);
	SHOW(unshare(CLONE_NEWIPC));
	SHOW(msgget(0x77001, 0600));
	SHOW(msgget(0x77001, IPC_CREAT | 0600) >= 0);
}

static void flags(void)
{
	SHOW(unshare(0));
	SHOW(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM));
	SHOW(unshare(1));
	SHOW(unshare(CLONE_SETTLS));
	SHOW(unshare(CLONE_THREAD));
	SHOW(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_NEWUSER | CLONE_FS | SIGCHLD, 0, 0, 0, 0));
}

static void user_root(void)
{
	struct stat st;
	SHOW(unshare(CLONE_NEWUSER));
	printf("%d %d\n", getuid(), getgid());
	show_file("/proc/self/setgroups");
	SHOW(put("/proc/self/uid_map", "0 0 10\n"));
	SHOW(put("/proc/self/uid_map", "0 0 1\n"));
	SHOW(put("/proc/self/gid_map", "0 0 1\n"));
	SHOW(put("/proc/self/setgroups", "deny"));
	SHOW(put("/proc/self/gid_map", "0 0 1\n"));
	SHOW(put("/proc/self/setgroups", "allow"));
	printf("%d %d\n", getuid(), getgid());
	show_file("/proc/self/uid_map");
	SHOW(setgroups(0, NULL));
	SHOW(setuid(5));
	SHOW(sethostname("x", 1));
	SHOW(unshare(CLONE_NEWUTS));
	SHOW(sethostname("x", 1));
	SHOW(unshare(CLONE_NEWNS));
	SHOW(mount("t", "/tmp", "tmpfs", 0, NULL));
	SHOW(stat("/tmp", &st));
	printf("%d\n", st.st_uid);
	SHOW(mknod("/tmp/dev", S_IFCHR | 0600, 0x103));
}

/* As an ordinary user, mapped to root inside: what bubblewrap and unshare -r do. */
static void user_nobody(void)
{
	struct stat st;
	mkdir("/tmp/ns-test", 0777);
	chmod("/tmp/ns-test", 0777);
	close(open("/tmp/ns-test/roots", O_CREAT, 0644));
	chmod("/tmp/ns-test/roots", 0600);
	setgroups(0, NULL);
	setgid(1000);
	setuid(1000);
	prctl(PR_SET_DUMPABLE, 1);
	SHOW(unshare(CLONE_NEWUSER | CLONE_NEWNS));
	printf("%d %d\n", getuid(), getgid());
	SHOW(put("/proc/self/uid_map", "0 1001 1"));
	SHOW(put("/proc/self/uid_map", "0 1000 2"));
	SHOW(put("/proc/self/uid_map", "nonsense"));
	SHOW(put("/proc/self/uid_map", "0 1000 1"));
	SHOW(put("/proc/self/uid_map", "0 1000 1"));
	SHOW(put("/proc/self/gid_map", "0 1000 1"));
	SHOW(put("/proc/self/setgroups", "deny"));
	SHOW(put("/proc/self/gid_map", "0 1000 1"));
	printf("%d %d %d\n", getuid(), geteuid(), getgid());
	SHOW(stat("/tmp/ns-test/roots", &st));
	printf("owner %d\n", st.st_uid);
	SHOW(open("/tmp/ns-test/roots", O_RDONLY));
	SHOW(chown("/tmp/ns-test/roots", 0, 0));
	int fd = open("/tmp/ns-test/mine", O_CREAT | O_WRONLY, 0600);
	SHOW(fd >= 0);
	SHOW(fstat(fd, &st));
	printf("owner %d\n", st.st_uid);
	SHOW(fchown(fd, 0, 0));
	SHOW(fchown(fd, 7, 0));
	SHOW(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	SHOW(mount("t", "/tmp/ns-test", "tmpfs", 0, NULL));
	SHOW(mkdir("/tmp/ns-test/dir", 0755));
	SHOW(mount("/tmp", "/tmp/ns-test/dir", NULL, MS_BIND | MS_REC, NULL));
	SHOW(chroot("/tmp/ns-test"));
	SHOW(chdir("/"));
	SHOW(access("/dir", F_OK));
	SHOW(setuid(1));
	SHOW(setresuid(0, 0, 0));
	SHOW(kill(1, 0));
	SHOW(prctl(PR_CAPBSET_READ, 21));
	SHOW(unshare(CLONE_NEWUSER));
}

static void parent_maps(void)
{
	int go[2], done[2];
	char c, path[64];
	pipe(go);
	pipe(done);
	fflush(stdout);
	pid_t p = fork();
	if (p == 0) {
		SHOW(unshare(CLONE_NEWUSER));
		write(go[1], "x", 1);
		read(done[0], &c, 1);
		printf("%d %d\n", getuid(), getgid());
		SHOW(setresgid(5, 5, 5));
		SHOW(setresuid(5, 5, 5));
		printf("%d %d\n", getuid(), getgid());
		SHOW(setuid(20));
		SHOW(seteuid(0));
		show_file("/proc/self/uid_map");
		fflush(stdout);
		_exit(0);
	}
	read(go[0], &c, 1);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", p);
	SHOW(put(path, "0 0 10\n100 5000 10\n"));
	snprintf(path, sizeof(path), "/proc/%d/gid_map", p);
	SHOW(put(path, "0 0 10\n"));
	write(done[1], "x", 1);
	waitpid(p, NULL, 0);
}

int main(void)
{
	umask(022);
	in_child(uts);
	in_child(ipc);
	in_child(flags);
	in_child(user_root);
	in_child(user_nobody);
	in_child(parent_maps);
	return 0;
}

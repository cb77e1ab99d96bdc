/* Mounts in a namespace of one's own: new file systems, bind, remount, move, propagation, umount, pivot_root, overlay, errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <dirent.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static int put(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	if (fd < 0)
		return -1;
	int n = write(fd, text, strlen(text));
	close(fd);
	return n;
}
static const char *get(const char *path)
{
	static char buf[100];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n < 0)
		return strerrorname_np(errno);
	buf[n] = 0;
	return buf;
}
static void names(const char *dir)
{
	struct dirent **v;
	int n = scandir(dir, &v, NULL, alphasort);
	printf("%s:", dir);
	for (int i = 0; i < n; i++)
		if (*v[i]->d_name != '.')
			printf(" %s", v[i]->d_name);
	printf("\n");
}

static void basics(void)
{
	struct statfs sf;
	mkdir("a", 0755);
	mkdir("b", 0755);
	put("file", "x");
	SHOW(mount("t", "a", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=700"));
	SHOW(statfs("a", &sf));
	printf("type %lx flags %lx\n", (long)sf.f_type, (long)sf.f_flags & 15);
	SHOW(put("a/one", "1"));
	SHOW(mount("a", "b", NULL, MS_BIND, NULL));
	printf("%s\n", get("b/one"));
	SHOW(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	SHOW(put("b/two", "2"));
	SHOW(put("a/two", "2"));
	SHOW(mkdir("b/dir", 0755));
	SHOW(access("b/two", W_OK));
	SHOW(umount("a"));
	SHOW(umount("a"));
	SHOW(umount("b"));
	SHOW(umount("nothing"));
	SHOW(mount("t", "file", "tmpfs", 0, NULL));
	SHOW(mount("t", "a", "nosuchfs", 0, NULL));
	SHOW(mount("t", "a", NULL, 0, NULL));
	SHOW(mount("t", "nothing", "tmpfs", 0, NULL));
	SHOW(mount("t", "a", "tmpfs", 0, "nonsense=1"));
	SHOW(mount("nothing", "a", NULL, MS_BIND, NULL));
	SHOW(mount(NULL, "a", NULL, MS_REMOUNT, NULL));
	SHOW(mount("a", "file", NULL, MS_BIND, NULL));
	SHOW(umount2("a", 0x100));
	SHOW(umount2("a", MNT_EXPIRE | MNT_FORCE));
	SHOW(mount("t", (char *)8, "tmpfs", 0, NULL));
	SHOW(mount("t", "a", (char *)8, 0, NULL));
}

static void busy(void)
{
	SHOW(mount("t", "a", "tmpfs", 0, NULL));
	int fd = open("a/held", O_CREAT | O_RDWR, 0600);
	SHOW(umount("a"));
	SHOW(umount2("a", MNT_EXPIRE));
	SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	close(fd);
	SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	SHOW(put("a/x", "x"));
	SHOW(mount(NULL, "a", NULL, MS_REMOUNT, NULL));
	SHOW(put("a/x", "x"));
	mkdir("a/sub", 0755);
	SHOW(mount("t", "a/sub", "tmpfs", 0, NULL));
	SHOW(umount("a"));
	SHOW(umount2("a/sub", MNT_EXPIRE));
	SHOW(umount2("a/sub", MNT_EXPIRE));
	fd = open("a/x", O_RDONLY);
	SHOW(umount2("a", MNT_DETACH));
	char c = 0;
	SHOW(read(fd, &c, 1));
	printf("%c\n", c);
	close(fd);
	SHOW(access("a/x", F_OK));
}

static void moving(void)
{
	SHOW(mount("t", "a", "tmpfs", 0, NULL));
	put("a/here", "h");
	SHOW(mount("a", "b", NULL, MS_MOVE, NULL));
	printf("%s\n", get("b/here"));
	SHOW(access("a/here", F_OK));
	SHOW(mount("a", "b", NULL, MS_MOVE, NULL));
	SHOW(umount("b"));
}

static void rbind(void)
{
	SHOW(mount("t", "a", "tmpfs", 0, NULL));
	mkdir("a/in", 0755);
	SHOW(mount("u", "a/in", "tmpfs", 0, NULL));
	put("a/in/deep", "d");
	SHOW(mount("a", "b", NULL, MS_BIND, NULL));
	SHOW(access("b/in/deep", F_OK));
	SHOW(umount("b"));
	SHOW(mount("a", "b", NULL, MS_BIND | MS_REC, NULL));
	SHOW(access("b/in/deep", F_OK));
	SHOW(umount2("b", MNT_DETACH));
	SHOW(access("a/in/deep", F_OK));
	SHOW(umount2("a", MNT_DETACH));
}

static void propagation(void)
{
	SHOW(mount("t", "a", "tmpfs", 0, NULL));
	mkdir("a/m", 0755);
	SHOW(mount(NULL, "a", NULL, MS_SHARED, NULL));
	SHOW(mount("a", "b", NULL, MS_BIND, NULL));
	SHOW(mount("u", "a/m", "tmpfs", 0, NULL));
	put("a/m/seen", "s");
	SHOW(access("b/m/seen", F_OK));
	SHOW(umount("b/m"));
	SHOW(access("a/m/seen", F_OK));
	SHOW(mount(NULL, "b", NULL, MS_SLAVE, NULL));
	SHOW(mount("u", "a/m", "tmpfs", 0, NULL));
	put("a/m/seen", "s");
	SHOW(access("b/m/seen", F_OK));
	SHOW(umount("a/m"));
	SHOW(access("b/m/seen", F_OK));
	SHOW(mount("u", "b/m", "tmpfs", 0, NULL));
	put("b/m/mine", "s");
	SHOW(access("a/m/mine", F_OK));
	SHOW(umount("b/m"));
	SHOW(mount(NULL, "b", NULL, MS_PRIVATE, NULL));
	SHOW(mount("u", "a/m", "tmpfs", 0, NULL));
	put("a/m/seen", "s");
	SHOW(access("b/m/seen", F_OK));
	SHOW(mount(NULL, "b", NULL, MS_UNBINDABLE, NULL));
	mkdir("c", 0755);
	SHOW(mount("b", "c", NULL, MS_BIND, NULL));
	SHOW(mount(NULL, "b", NULL, MS_SHARED | MS_PRIVATE, NULL));
	SHOW(mount(NULL, "c", NULL, MS_SHARED, NULL));
	/* another namespace: shared mounts stay peers */
	fflush(stdout);
	if (fork() == 0) {
		SHOW(unshare(CLONE_NEWNS));
		mkdir("a/n", 0755);
		SHOW(mount("u", "a/n", "tmpfs", 0, NULL));
		put("a/n/far", "f");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	SHOW(access("a/n/far", F_OK));
	SHOW(umount2("b", MNT_DETACH));
	SHOW(umount2("a", MNT_DETACH));
}

static void layers(void)
{
	struct stat st;
	char buf[100];
	mkdir("ov", 0755);
	SHOW(mount("t", "a", "tmpfs", 0, NULL));
	const char *dirs[] = { "a/low", "a/low/d", "a/low2", "a/low2/d", "a/up", "a/work", NULL };
	for (int i = 0; dirs[i]; i++)
		mkdir(dirs[i], 0755);
	put("a/low/f", "low");
	put("a/low/gone", "g");
	put("a/low/d/1", "1");
	put("a/low2/d/2", "2");
	put("a/low2/f", "hidden");
	symlink("f", "a/low/link");
	SHOW(mount("o", "ov", "overlay", 0, "lowerdir=a/low:a/low2,upperdir=a/up,workdir=a/work"));
	names("ov");
	names("ov/d");
	printf("%s\n", get("ov/f"));
	printf("%s\n", get("ov/link"));
	SHOW(put("ov/f", "changed"));
	printf("%s %s\n", get("ov/f"), "");
	printf("%s\n", get("a/low/f"));
	SHOW(unlink("ov/gone"));
	SHOW(access("ov/gone", F_OK));
	SHOW(access("a/low/gone", F_OK));
	SHOW(lstat("a/up/gone", &st));
	printf("whiteout %d %d\n", S_ISCHR(st.st_mode), (int)st.st_rdev);
	SHOW(put("ov/gone", "again"));
	printf("%s\n", get("ov/gone"));
	SHOW(rmdir("ov/d"));
	SHOW(unlink("ov/d/1"));
	SHOW(unlink("ov/d/2"));
	SHOW(rmdir("ov/d"));
	SHOW(mkdir("ov/d", 0755));
	names("ov/d");
	SHOW(rename("ov/f", "ov/d/f2"));
	names("ov");
	printf("%s\n", get("ov/d/f2"));
	SHOW(chmod("ov/d/f2", 0600));
	SHOW(stat("ov/d/f2", &st));
	printf("%o\n", st.st_mode);
	SHOW(link("ov/d/f2", "ov/hard"));
	SHOW(stat("ov/hard", &st));
	printf("nlink %d\n", (int)st.st_nlink);
	SHOW(mkdir("ov/new", 0755));
	SHOW(rename("ov/new", "ov/new2"));
	put("ov/new2/x", "x");
	SHOW(rmdir("ov/new2"));
	SHOW(readlink("ov/link", buf, sizeof(buf)));
	SHOW(umount("ov"));
	names("a/up");
	SHOW(mount("o", "ov", "overlay", 0, "lowerdir=a/low:a/low2"));
	SHOW(put("ov/x", "x"));
	SHOW(umount("ov"));
	SHOW(mount("o", "ov", "overlay", 0, "upperdir=a/up,workdir=a/work"));
	SHOW(mount("o", "ov", "overlay", 0, "lowerdir=a/none,upperdir=a/up,workdir=a/work"));
	SHOW(umount("a"));
}

static void pivot(void)
{
	char buf[200];
	fflush(stdout);
	if (fork() == 0) {
		unshare(CLONE_NEWNS);
		mount("t", "a", "tmpfs", 0, NULL);
		mkdir("a/old", 0755);
		put("a/inside", "i");
		SHOW(syscall(SYS_pivot_root, "b", "b"));
		SHOW(syscall(SYS_pivot_root, "a", "b"));
		chdir("a");
		SHOW(syscall(SYS_pivot_root, ".", "old"));
		SHOW(chdir("/"));
		printf("%s\n", getcwd(buf, sizeof(buf)));
		names("/");
		SHOW(umount2("/old", MNT_DETACH));
		SHOW(access("/old/tmp", F_OK));
		names("/");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void nobody(void)
{
	fflush(stdout);
	if (fork() == 0) {
		setgid(65534);
		setuid(65534);
		SHOW(mount("t", "a", "tmpfs", 0, NULL));
		SHOW(umount("a"));
		SHOW(unshare(CLONE_NEWNS));
		SHOW(unshare(CLONE_NEWUTS));
		SHOW(syscall(SYS_pivot_root, "a", "b"));
		SHOW(chroot("a"));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

int main(void)
{
	char dir[] = "/tmp/mounts-XXXXXX";
	umask(022);
	SHOW(unshare(CLONE_NEWNS));
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("t", "/tmp", "tmpfs", 0, NULL) || !mkdtemp(dir) || chmod(dir, 0755) || chdir(dir))
		return 1;
	basics();
	busy();
	moving();
	rbind();
	propagation();
	layers();
	pivot();
	nobody();
	return 0;
}

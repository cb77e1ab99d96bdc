/* Mounts by descriptor: fsopen, fsconfig, fsmount, move_mount, open_tree, fspick, mount_setattr. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
#define SIGN(x) do { long r_ = (x); printf("%s %s%s\n", #x, r_ >= 0 ? "ok" : "failed ", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define CONFIG(...) syscall(SYS_fsconfig, __VA_ARGS__)
#define ATTR(dfd, path, flags, ...) ({ struct mount_attr m_ = { __VA_ARGS__ }; syscall(SYS_mount_setattr, dfd, path, flags, &m_, sizeof(m_)); })

static int put(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0644);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int main(void)
{
	char dir[] = "/tmp/mountfds-XXXXXX";
	struct statfs sf;
	umask(022);
	SHOW(unshare(CLONE_NEWNS));
	mount(NULL, "/", NULL, (1 << 14) | (1 << 18), NULL);
	if (mount("t", "/tmp", "tmpfs", 0, NULL) || !mkdtemp(dir) || chdir(dir))
		return 1;
	mkdir("a", 0755);
	mkdir("b", 0755);
	mkdir("c", 0755);
	put("file");
	SHOW(syscall(SYS_fsopen, "nosuchfs", 0));
	SHOW(syscall(SYS_fsopen, "tmpfs", 8));
	int fs = syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	SIGN(fs);
	SHOW(syscall(SYS_fsmount, fs, 0, 0));
	SHOW(CONFIG(fs, FSCONFIG_SET_STRING, "size", "1m", 0));
	SHOW(CONFIG(fs, FSCONFIG_SET_STRING, "size", NULL, 0));
	SHOW(CONFIG(fs, FSCONFIG_SET_FLAG, "ro", "x", 0));
	SHOW(CONFIG(fs, 99, NULL, NULL, 0));
	SHOW(CONFIG(fs, FSCONFIG_CMD_CREATE, "x", NULL, 0));
	SHOW(CONFIG(-1, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	SHOW(CONFIG(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	SHOW(syscall(SYS_fsmount, fs, 8, 0));
	SHOW(syscall(SYS_fsmount, fs, 0, 0x70));
	int m = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
	SIGN(m);
	close(fs);
	int in = openat(m, "inside", O_CREAT | O_WRONLY, 0600);
	SIGN(in);
	close(in);
	SHOW(syscall(SYS_move_mount, m, "", AT_FDCWD, "file", MOVE_MOUNT_F_EMPTY_PATH));
	SHOW(syscall(SYS_move_mount, m, "", AT_FDCWD, "a", 0x1000));
	SHOW(syscall(SYS_move_mount, m, "", AT_FDCWD, "none", MOVE_MOUNT_F_EMPTY_PATH));
	SHOW(syscall(SYS_move_mount, m, "", AT_FDCWD, "a", MOVE_MOUNT_F_EMPTY_PATH));
	SHOW(access("a/inside", F_OK));
	statfs("a", &sf);
	printf("%lx blocks %ld\n", (long)sf.f_flags, (long)sf.f_blocks);
	close(m);
	SHOW(access("a/inside", F_OK));
	SHOW(syscall(SYS_open_tree, AT_FDCWD, "a", 0x8000));
	SHOW(syscall(SYS_open_tree, AT_FDCWD, "a", 0x4000000));
	int t = syscall(SYS_open_tree, AT_FDCWD, "a", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	SIGN(t);
	SHOW(ATTR(t, "", AT_EMPTY_PATH, .attr_set = MOUNT_ATTR_RDONLY));
	SHOW(syscall(SYS_move_mount, t, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH));
	SHOW(put("b/x"));
	SHOW(put("a/x"));
	close(t);
	t = syscall(SYS_open_tree, AT_FDCWD, "a", OPEN_TREE_CLONE);
	close(t);
	SHOW(syscall(SYS_move_mount, AT_FDCWD, "b", AT_FDCWD, "c", 0));
	SHOW(access("c/inside", F_OK));
	SHOW(access("b/inside", F_OK));
	SHOW(ATTR(AT_FDCWD, "c", 0, .attr_clr = MOUNT_ATTR_RDONLY, .attr_set = MOUNT_ATTR_NOEXEC));
	SHOW(put("c/y"));
	SHOW(ATTR(AT_FDCWD, "c", 0, .attr_set = MOUNT_ATTR_NOATIME));
	SHOW(ATTR(AT_FDCWD, "c", 0, .attr_clr = MOUNT_ATTR__ATIME, .attr_set = MOUNT_ATTR_STRICTATIME));
	statfs("c", &sf);
	printf("%lx\n", (long)sf.f_flags);
	SHOW(ATTR(AT_FDCWD, "c", 0, .attr_set = 1ull << 40));
	SHOW(ATTR(AT_FDCWD, "c", 0, .propagation = 1 << 20));
	SHOW(ATTR(AT_FDCWD, "c", 0, .propagation = 3));
	SHOW(ATTR(AT_FDCWD, "file", 0, .attr_set = MOUNT_ATTR_RDONLY));
	SHOW(ATTR(AT_FDCWD, "c", 0x1, .attr_set = MOUNT_ATTR_RDONLY));
	SHOW(syscall(SYS_mount_setattr, AT_FDCWD, "c", 0, "", 8));
	SHOW(syscall(SYS_mount_setattr, AT_FDCWD, "c", 0, "", 10000));
	int held = open("c/held", O_CREAT | O_WRONLY, 0600);
	SHOW(ATTR(AT_FDCWD, "c", 0, .attr_set = MOUNT_ATTR_RDONLY));
	close(held);
	SHOW(ATTR(AT_FDCWD, "c", 0x8000, .attr_set = MOUNT_ATTR_RDONLY));
	SHOW(put("c/z"));
	int pick = syscall(SYS_fspick, AT_FDCWD, "a", FSPICK_CLOEXEC);
	SIGN(pick);
	SHOW(CONFIG(pick, FSCONFIG_SET_STRING, "size", "2m", 0));
	SHOW(CONFIG(pick, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
	statfs("a", &sf);
	printf("blocks %ld\n", (long)sf.f_blocks);
	SHOW(syscall(SYS_fspick, AT_FDCWD, "file", 0));
	SHOW(umount2("c", 0));
	SHOW(umount2("a", 0));
	return 0;
}

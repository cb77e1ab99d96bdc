/* System calls that the C library does not wrap (or that musl lacks): clone3, pidfds, the mount API. Thin, errno style, no policy. */
#ifndef TIERCE_SYS_KERNEL_H
#define TIERCE_SYS_KERNEL_H

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* <linux/mount.h> and glibc's <sys/mount.h> cannot be included together: whoever needs this header takes mount(2) and umount2(2) from here. */

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef UMOUNT_NOFOLLOW
#define UMOUNT_NOFOLLOW 8
#endif

static inline pid_t sys_clone3(struct clone_args *a) { return (pid_t)syscall(SYS_clone3, a, sizeof(*a)); }
static inline int sys_pidfd_open(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static inline int sys_pidfd_send_signal(int pidfd, int sig) { return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0); }
static inline int sys_setns(int fd, int flags) { return (int)syscall(SYS_setns, fd, flags); }
static inline int sys_unshare(uint64_t flags) { return (int)syscall(SYS_unshare, flags); }

static inline int sys_open_tree(int dfd, const char *path, unsigned flags) { return (int)syscall(SYS_open_tree, dfd, path, flags); }
static inline int sys_move_mount(int fromfd, const char *from, int tofd, const char *to, unsigned flags) {
	return (int)syscall(SYS_move_mount, fromfd, from, tofd, to, flags);
}
static inline int sys_fsopen(const char *type, unsigned flags) { return (int)syscall(SYS_fsopen, type, flags); }
static inline int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux) {
	return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}
static inline int sys_fsmount(int fd, unsigned flags, unsigned attr) { return (int)syscall(SYS_fsmount, fd, flags, attr); }
static inline int sys_mount_setattr(int dfd, const char *path, unsigned flags, const struct mount_attr *a) {
	return (int)syscall(SYS_mount_setattr, dfd, path, flags, a, sizeof(*a));
}
static inline int sys_mount(const char *src, const char *dst, const char *type, unsigned long flags, const void *data) {
	return (int)syscall(SYS_mount, src, dst, type, flags, data);
}
static inline int sys_umount2(const char *path, int flags) { return (int)syscall(SYS_umount2, path, flags); }
static inline int sys_pivot_root(const char *new_root, const char *put_old) { return (int)syscall(SYS_pivot_root, new_root, put_old); }

#endif

/* stat of the host through statx alone: one call less in the sentry's filter. */
#ifndef TIERCE_SENTRY_HOSTSTAT_H
#define TIERCE_SENTRY_HOSTSTAT_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* name "" is the fd itself; links are not followed. -1 and errno as stat(2). */
static inline int host_stat(int fd, const char *name, struct stat *st)
{
	struct statx x;
	if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x) < 0)
		return -1;
	*st = (struct stat){ .st_ino = x.stx_ino, .st_dev = makedev(x.stx_dev_major, x.stx_dev_minor), .st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
		.st_mode = x.stx_mode, .st_nlink = x.stx_nlink, .st_uid = x.stx_uid, .st_gid = x.stx_gid, .st_size = (off_t)x.stx_size,
		.st_blksize = (blksize_t)x.stx_blksize, .st_blocks = (blkcnt_t)x.stx_blocks, .st_atim = { x.stx_atime.tv_sec, x.stx_atime.tv_nsec },
		.st_mtim = { x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec }, .st_ctim = { x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec } };
	return 0;
}

#endif

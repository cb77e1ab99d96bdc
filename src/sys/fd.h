/* File descriptors: whole reads and writes, atomic files, safe path resolution below a root. */
#ifndef TIERCE_SYS_FD_H
#define TIERCE_SYS_FD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* Write all n bytes, restarting on EINTR and short writes. 0 or negative errno. */
int fd_write_all(int fd, const void *data, size_t n);
/* Read until n bytes or end of file; returns the count or negative errno. */
ssize_t fd_read_full(int fd, void *buf, size_t n);
/* Append the rest of fd to out; -EFBIG above max bytes. */
int fd_read_rest(int fd, struct strbuf *out, size_t max);
/* Whole file below dirfd (AT_FDCWD allowed); -EFBIG above max. */
int file_read_at(int dirfd, const char *path, struct strbuf *out, size_t max);
/* One write(2) to an existing file (cgroup and proc files take a value per write). 0 or negative errno. */
int file_write_at(int dirfd, const char *path, const char *value);
/* Create or replace atomically: temporary name, write, fsync when durable, rename. 0 or negative errno. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t n, mode_t mode, int durable);
/* The same for a small file that is written again and again and whose readers detect a half-written one: where the length stays, its first page is
 * overwritten by one pwrite(2), which a signal cannot cut within a page (generic_perform_write() looks for one between pages). A rename over a file makes
 * ext4 write the new one out at once (auto_da_alloc): 0.2 ms against 4 us. Everything else is file_replace_at(). */
enum { FILE_OVERWRITE_MAX = 4096 };
int file_overwrite_at(int dirfd, const char *name, const void *data, size_t n, mode_t mode) MUST_CHECK;
/* openat2(2) with RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS, retried on EAGAIN (a rename raced the walk, openat2(2)); falls back to a walk of
 * O_PATH|O_NOFOLLOW steps where the call is missing (before Linux 5.6) or filtered. O_CLOEXEC is added. Returns an fd or negative errno. */
int open_in_root(int rootfd, const char *path, int flags, mode_t mode);
/* mkdir -p of path inside the root with the same resolution; returns an O_PATH|O_DIRECTORY fd of the last component or negative errno. */
int mkdir_p_in_root(int rootfd, const char *path, mode_t mode);
/* Path of an fd through /proc/self/fd, for calls without an fd form. buf holds at least 32 bytes. Returns buf. */
char *fd_proc_path(int fd, char buf[32]);
/* close_range(first, ~0, CLOEXEC) with a fallback over /proc/self/fd. */
int cloexec_from(unsigned first);

#endif

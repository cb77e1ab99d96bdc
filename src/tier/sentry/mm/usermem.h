/* The one door to guest memory: the window of a fast call, or process_vm_readv/writev by the host pid of the task's process. Called with or without the lock. */
#ifndef TIERCE_SENTRY_USERMEM_H
#define TIERCE_SENTRY_USERMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/macro.h"

struct task;

/* 0 or -EFAULT; all or nothing as far as the caller can tell. */
int copyin(struct task *t, void *dst, uint64_t src, size_t n) MUST_CHECK;
int copyout(struct task *t, uint64_t dst, const void *src, size_t n) MUST_CHECK;
/* Bytes copied (may be short at a bad page), or -EFAULT when none. */
ssize_t copyin_some(struct task *t, void *dst, uint64_t src, size_t n);
ssize_t copyout_some(struct task *t, uint64_t dst, const void *src, size_t n);
/* NUL-terminated string: its length, -EFAULT, or `too_long` when no NUL within size bytes. */
ssize_t copyin_str(struct task *t, char *dst, uint64_t src, size_t size, int too_long) MUST_CHECK;
/* A path (PATH_MAX, -ENAMETOOLONG). */
int copyin_path(struct task *t, char dst[4096], uint64_t src) MUST_CHECK;
int zero_user(struct task *t, uint64_t dst, size_t n) MUST_CHECK;

/* Room in the window for up to *n bytes that go to dst when the call returns (*n is what there is), NULL: copy instead. Fill it, then commit. */
void *window_out(struct task *t, uint64_t dst, size_t *n);
void window_commit(struct task *t, uint64_t dst, size_t n);

/* A run of guest memory that a read or write works through: plain buffer, iovec, or sentry memory (when task is NULL). */
struct uio {
	struct task *t;          /* NULL: base addresses are sentry pointers (internal I/O) */
	struct iovec *iov;       /* iov_base are guest addresses */
	size_t n_iov;
	size_t left;             /* bytes not yet transferred */
	size_t done;
	struct iovec one;        /* storage for the plain case */
	struct iovec *heap;      /* owned */
};
enum { UIO_MAXIOV_ = 1024 };
#define UIO_MAX_RW 0x7ffff000ull /* MAX_RW_COUNT of Linux */
#define _cleanup_uio_ CLEANUP(uio_free)

void uio_init(struct uio *u, struct task *t, uint64_t addr, size_t n);
void uio_init_kernel(struct uio *u, void *p, size_t n);
/* Import an iovec array: -EINVAL (count, overflow), -EFAULT, -ENOMEM. */
int uio_import(struct uio *u, struct task *t, uint64_t iov, uint64_t count) MUST_CHECK;
void uio_free(struct uio *u);
/* Sentry -> guest; advances. Bytes taken (short at a bad page) or -EFAULT when none. */
ssize_t uio_put(struct uio *u, const void *src, size_t n);
/* Guest -> sentry; advances. */
ssize_t uio_get(struct uio *u, void *dst, size_t n);
ssize_t uio_zero(struct uio *u, size_t n);
/* Where the next bytes of u may be put directly: window room (at most want, *n of it; 0: none, use uio_put). uio_filled() takes them over. */
void *uio_room(struct uio *u, size_t want, size_t *n);
void uio_filled(struct uio *u, size_t n);
/* Marshalled input at the current place: *n bytes (at most want), advanced over by uio_skip(); NULL: use uio_get. */
const void *uio_input(struct uio *u, size_t want, size_t *n);
void uio_skip(struct uio *u, size_t n);
/* Undo the last n bytes of progress (a peer took less than was read). */
void uio_back(struct uio *u, size_t n);

#endif

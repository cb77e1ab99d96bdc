/* Wrong arguments, call by call: the error of each must be Linux's. Values in a row: what the call gets; S: a string, B: a buffer, P: a bad pointer. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

static char B[65536] __attribute__((aligned(4096)));
static char longname[5000], long_component[300];
#define S(x) ((long)(x))
#define BUF ((long)B)
#define BAD 8L
#define DIR_ 10L   /* descriptors that main() prepares */
#define FIL 11L
#define PIPR 12L
#define PIPW 13L
#define SOCK_ 14L
#define RDO 15L
#define EPO 16L
#define OPATH 17L
#define WRO 18L
#define LISTEN 19L
#define EVT 20L
#define TMR 21L
#define SFD 22L
#define INO 23L
#define NOPE 77L
static struct timespec ts_bad = { 0, 2000000000 }, ts_neg = { -1, 0 }, ts_zero = { 0, 0 };
static struct timeval tv_bad = { 0, 2000000 };
static struct iovec iov_neg[2] = { { B, (size_t)-1 }, { B, 1 } }, iov_bad[1] = { { (void *)8, 16 } };
static struct rlimit rl_bad = { 10, 5 };
static struct sigevent sev_bad = { .sigev_notify = 77 }, sev_sig = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99 };
static struct epoll_event ev = { .events = EPOLLIN }, ev_excl = { .events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT };
static struct sockaddr sa_unspec = { 77 };
static struct { uint64_t flags, mode, resolve; } how_bad = { 0, 0, 1 << 20 }, how_mode = { O_RDONLY, 0644, 0 };
static struct itimerval itv_bad = { { 0, 0 }, { 0, 1000000 } };
static struct itimerspec its_bad = { { 0, 0 }, { 0, 1000000000 } };

struct row { const char *what; long nr, a[6]; };
#define R(n, ...) { #n " " #__VA_ARGS__, SYS_##n, { __VA_ARGS__ } }
static const struct row rows[] = {
	R(read, -1, BUF, 1), R(read, DIR_, BUF, 1), R(read, FIL, BAD, 10), R(read, PIPW, BUF, 1), R(read, OPATH, BUF, 1), R(read, FIL, BUF, 0), R(read, EVT, BUF, 4), R(read, TMR, BUF, 4),
	R(read, SFD, BUF, 4), R(read, INO, BUF, 1), R(read, EPO, BUF, 1),
	R(write, -1, BUF, 1), R(write, RDO, BUF, 1), R(write, FIL, BAD, 10), R(write, DIR_, BUF, 1), R(write, PIPR, BUF, 1), R(write, EVT, BUF, 4), R(write, EVT, S("\xff\xff\xff\xff\xff\xff\xff\xff"), 8),
	R(write, TMR, BUF, 8), R(write, SFD, BUF, 8), R(write, EPO, BUF, 8), R(write, PIPW, BAD, 1),
	R(pread64, PIPR, BUF, 1, 0), R(pread64, FIL, BUF, 1, -1), R(pread64, DIR_, BUF, 1, 0), R(pwrite64, PIPW, BUF, 1, 0), R(pwrite64, FIL, BUF, 1, -1), R(pwrite64, RDO, BUF, 1, 0),
	R(readv, FIL, BUF, -1), R(readv, FIL, BUF, 1025), R(readv, FIL, S(iov_neg), 2), R(readv, FIL, S(iov_bad), 1), R(readv, FIL, BAD, 1), R(readv, FIL, BUF, 0), R(writev, FIL, S(iov_neg), 2),
	R(writev, FIL, S(iov_bad), 1), R(writev, RDO, BUF, 0), R(preadv, FIL, BUF, 1, -1), R(preadv, PIPR, BUF, 1, 0), R(preadv2, FIL, BUF, 1, 0, 0, 0x1000), R(pwritev2, FIL, BUF, 1, 0, 0, 0x1000),
	R(open, BAD, O_RDONLY), R(open, S(""), O_RDONLY), R(open, S("/tmp/err.d"), O_WRONLY), R(open, S("/tmp/err.f/x"), O_RDONLY), R(open, S("/tmp/none/x"), O_RDONLY), R(open, S("/tmp/err.loop"), O_RDONLY),
	R(open, S(longname), O_RDONLY), R(open, S(long_component), O_RDONLY), R(open, S("/tmp/err.f"), O_CREAT | O_EXCL, 0644), R(open, S("/tmp/err.d"), O_CREAT, 0644), R(open, S("/tmp/err.f"), O_DIRECTORY),
	R(open, S("/tmp/err.l"), O_NOFOLLOW), R(open, S("/tmp/err.f/"), O_RDONLY), R(open, S("/tmp/new/"), O_CREAT | O_WRONLY, 0644), R(open, S("/tmp/err.fifo"), O_WRONLY | O_NONBLOCK), R(open, S("/tmp/err.sock"), O_RDWR),
	R(open, S("/tmp/err.d"), O_TMPFILE | O_RDONLY), R(open, S("/tmp/err.f"), O_TMPFILE | O_RDWR), R(open, S("/tmp/none"), O_TMPFILE | O_RDWR), R(open, S("/tmp/err.dangling"), O_CREAT | O_EXCL, 0600),
	R(openat, NOPE, S("x"), 0), R(openat, FIL, S("x"), 0), R(openat, NOPE, S("/tmp/err.none"), 0), R(openat2, AT_FDCWD, S("/tmp"), S(&how_bad), 24), R(openat2, AT_FDCWD, S("/tmp"), S(&how_mode), 24),
	R(openat2, AT_FDCWD, S("/tmp"), BUF, 8), R(openat2, AT_FDCWD, S("/tmp"), BAD, 24), R(openat2, AT_FDCWD, S("/tmp"), BUF, 5000),
	R(creat, S("/tmp/err.d"), 0), R(close, -1), R(close, NOPE), R(dup, NOPE), R(dup2, NOPE, 5), R(dup2, FIL, -1), R(dup2, FIL, 10000000), R(dup3, FIL, FIL, 0), R(dup3, FIL, 30, 1), R(dup3, FIL, -1, 0),
	R(stat, BAD, BUF), R(stat, S("/tmp/err.none"), BUF), R(stat, S("/tmp/err.f"), BAD), R(stat, S("/tmp/err.loop"), BUF), R(lstat, S(""), BUF), R(fstat, NOPE, BUF), R(fstat, FIL, BAD), R(newfstatat, NOPE, S("x"), BUF, 0),
	R(newfstatat, AT_FDCWD, S("x"), BUF, 0xff0000), R(newfstatat, FIL, S("x"), BUF, 0), R(statx, AT_FDCWD, S("/tmp"), 0x6000, 0, BUF), R(statx, AT_FDCWD, S("/tmp"), 0, 0x80000000, BUF),
	R(statx, AT_FDCWD, S("/tmp"), 0x10000, 0, BUF), R(statx, AT_FDCWD, BAD, 0, 0, BUF), R(statx, AT_FDCWD, S("/tmp"), 0, 0, BAD), R(statfs, S("/tmp/err.none"), BUF), R(statfs, S("/tmp"), BAD), R(fstatfs, NOPE, BUF),
	R(access, S("/tmp/err.f"), 99), R(access, BAD, 0), R(access, S("/tmp/err.f/x"), 0), R(access, S("/tmp/err.f"), X_OK), R(faccessat, NOPE, S("x"), 0), R(faccessat2, AT_FDCWD, S("/tmp"), 0, 0x8000),
	R(lseek, NOPE, 0, 0), R(lseek, FIL, 0, 9), R(lseek, FIL, -1, SEEK_SET), R(lseek, PIPR, 0, SEEK_CUR), R(lseek, FIL, 0x7fffffffffffffff, SEEK_END), R(lseek, FIL, 1 << 20, SEEK_DATA), R(lseek, SOCK_, 0, 0), R(lseek, EPO, 0, 0), R(lseek, EVT, 0, 0),
	R(ftruncate, FIL, -1), R(ftruncate, RDO, 0), R(ftruncate, NOPE, 0), R(ftruncate, PIPW, 0), R(ftruncate, DIR_, 0), R(truncate, S("/tmp/err.d"), 0), R(truncate, S("/tmp/err.f"), -1), R(truncate, BAD, 0), R(truncate, S("/tmp/err.fifo"), 0),
	R(fallocate, FIL, 0, -1, 1), R(fallocate, FIL, 0, 0, 0), R(fallocate, RDO, 0, 0, 1), R(fallocate, FIL, 0x80, 0, 1), R(fallocate, PIPW, 0, 0, 1), R(fallocate, DIR_, 0, 0, 1), R(fallocate, FIL, 2, 0, 1), R(fallocate, FIL, 0, 0x7fffffffffffff00, 0x1000), R(fallocate, NOPE, 0, 0, 1),
	R(getdents64, FIL, BUF, 100), R(getdents64, DIR_, BUF, 5), R(getdents64, NOPE, BUF, 100), R(getdents64, DIR_, BAD, 1000), R(chdir, S("/tmp/err.f")), R(chdir, S("/tmp/err.none")), R(chdir, BAD), R(fchdir, FIL), R(fchdir, NOPE), R(chroot, S("/tmp/err.f")), R(chroot, BAD),
	R(getcwd, BUF, 1), R(getcwd, BAD, 100), R(mkdir, S("/tmp/err.d"), 0755), R(mkdir, S("/tmp/err.f/x"), 0755), R(mkdir, S("/tmp/none/x"), 0755), R(mkdir, BAD, 0), R(mkdir, S("/"), 0), R(mkdir, S(""), 0), R(mkdir, S("/tmp/err.dangling"), 0), R(mkdir, S("."), 0),
	R(rmdir, S("/tmp/err.f")), R(rmdir, S("/tmp/err.d/.")), R(rmdir, S("/tmp/err.d/..")), R(rmdir, S("/")), R(rmdir, S("/tmp/err.none")), R(rmdir, S("/tmp/err.l")), R(rmdir, S("/tmp/err.full")),
	R(unlink, S("/tmp/err.d")), R(unlink, S("/tmp/err.f/")), R(unlink, S("/tmp/err.none")), R(unlink, S("")), R(unlink, BAD), R(unlink, S("/tmp/err.f/x")), R(unlinkat, AT_FDCWD, S("/tmp/err.f"), 0x1), R(unlinkat, NOPE, S("x"), 0), R(unlinkat, AT_FDCWD, S("/tmp/err.f"), AT_REMOVEDIR),
	R(link, S("/tmp/err.f"), S("/tmp/err.f")), R(link, S("/tmp/err.d"), S("/tmp/err.dd")), R(link, S("/tmp/err.none"), S("/tmp/x")), R(link, S("/tmp/err.f"), S("/tmp/none/x")), R(link, S("/tmp/err.f"), S("/tmp/new/")), R(link, BAD, S("/tmp/x")), R(linkat, AT_FDCWD, S("/tmp/err.f"), AT_FDCWD, S("/tmp/x"), 1),
	R(symlink, S("x"), S("/tmp/err.f")), R(symlink, S(""), S("/tmp/x")), R(symlink, S("x"), S("/tmp/none/x")), R(symlink, S(longname), S("/tmp/x")), R(symlink, BAD, S("/tmp/x")), R(readlink, S("/tmp/err.f"), BUF, 10), R(readlink, S("/tmp/err.l"), BUF, 0), R(readlink, S("/tmp/err.l"), BUF, -1),
	R(readlink, S("/tmp/err.l"), BAD, 10), R(readlink, S("/tmp/err.none"), BUF, 10), R(readlink, S(""), BUF, 10), R(readlinkat, FIL, S(""), BUF, 10), R(readlinkat, NOPE, S("x"), BUF, 10),
	R(rename, S("/tmp/err.none"), S("/tmp/x")), R(rename, S("/tmp/err.d"), S("/tmp/err.d/sub")), R(rename, S("/tmp/err.f"), S("/tmp/err.d")), R(rename, S("/tmp/err.d"), S("/tmp/err.f")), R(rename, S("/tmp/err.d"), S("/tmp/err.full")), R(rename, S("/tmp/err.f"), S("/tmp/none/x")), R(rename, S("/tmp/err.f"), S("/tmp/x/")),
	R(rename, S("/tmp/.."), S("/tmp/x")), R(rename, S("/tmp/err.f"), BAD), R(renameat2, AT_FDCWD, S("/tmp/err.f"), AT_FDCWD, S("/tmp/err.d"), 1), R(renameat2, AT_FDCWD, S("/tmp/err.f"), AT_FDCWD, S("/tmp/x"), 2), R(renameat2, AT_FDCWD, S("/tmp/err.f"), AT_FDCWD, S("/tmp/x"), 3),
	R(renameat2, AT_FDCWD, S("/tmp/err.f"), AT_FDCWD, S("/tmp/x"), 8), R(mknod, S("/tmp/err.f"), S_IFREG, 0), R(mknod, S("/tmp/x"), S_IFDIR, 0), R(mknod, S("/tmp/x"), 0150000, 0), R(mknod, S("/tmp/none/x"), S_IFIFO, 0), R(mknod, BAD, S_IFREG, 0), R(mknod, S(""), S_IFREG, 0),
	R(chmod, S("/tmp/err.none"), 0), R(chmod, BAD, 0), R(fchmod, NOPE, 0), R(fchmod, OPATH, 0), R(fchmodat, NOPE, S("x"), 0), R(chown, S("/tmp/err.none"), 0, 0), R(fchown, NOPE, 0, 0), R(fchown, OPATH, 0, 0), R(fchownat, AT_FDCWD, S("/tmp/err.f"), 0, 0, 0x8000), R(lchown, BAD, 0, 0),
	R(utimensat, AT_FDCWD, S("/tmp/err.f"), S(&ts_bad), 0), R(utimensat, AT_FDCWD, S("/tmp/err.f"), 0, 0x8000), R(utimensat, AT_FDCWD, S("/tmp/err.none"), 0, 0), R(utimensat, NOPE, 0, 0, 0), R(utimensat, AT_FDCWD, 0, 0, 0), R(utimes, S("/tmp/err.f"), S(&tv_bad)), R(utime, S("/tmp/err.none"), 0), R(futimesat, NOPE, S("x"), 0),
	R(fsync, NOPE), R(fsync, PIPR), R(fsync, SOCK_), R(fdatasync, PIPW), R(fdatasync, EPO), R(syncfs, NOPE), R(sync_file_range, FIL, -1, 1, 2), R(sync_file_range, FIL, 0, 1, 0x100), R(sync_file_range, PIPR, 0, 1, 2), R(readahead, WRO, 0, 1), R(readahead, PIPR, 0, 1), R(readahead, NOPE, 0, 1),
	R(fadvise64, PIPR, 0, 1, 0), R(fadvise64, FIL, 0, 1, 77), R(fadvise64, NOPE, 0, 1, 0), R(fadvise64, FIL, 0, -1, 0), R(flock, NOPE, 1), R(flock, FIL, 99), R(flock, FIL, 0), R(fcntl, NOPE, F_GETFD), R(fcntl, FIL, 9999), R(fcntl, FIL, F_DUPFD, -1), R(fcntl, FIL, F_DUPFD, 100000000), R(fcntl, FIL, F_SETSIG, 200),
	R(fcntl, FIL, F_GETLK, BAD), R(fcntl, FIL, F_SETLK, BUF), R(fcntl, FIL, F_GETPIPE_SZ), R(fcntl, PIPR, F_SETPIPE_SZ, 0), R(fcntl, OPATH, F_SETFL, 0), R(fcntl, FIL, F_GET_SEALS), R(ioctl, NOPE, 0x5401, BUF), R(ioctl, FIL, 0x5401, BUF), R(ioctl, PIPR, 0x541b, BAD), R(ioctl, DIR_, 0x5413, BUF), R(ioctl, FIL, 0x12345, 0),
	R(pipe2, BUF, 0x10), R(pipe2, BAD, 0), R(eventfd2, 0, 0x10), R(epoll_create, 0), R(epoll_create, -1), R(epoll_create1, 0x10), R(epoll_ctl, EPO, EPOLL_CTL_ADD, NOPE, S(&ev)), R(epoll_ctl, FIL, EPOLL_CTL_ADD, PIPR, S(&ev)), R(epoll_ctl, EPO, EPOLL_CTL_ADD, EPO, S(&ev)), R(epoll_ctl, EPO, EPOLL_CTL_ADD, FIL, S(&ev)),
	R(epoll_ctl, EPO, EPOLL_CTL_MOD, PIPR, S(&ev)), R(epoll_ctl, EPO, EPOLL_CTL_DEL, PIPR, 0), R(epoll_ctl, EPO, 77, PIPR, S(&ev)), R(epoll_ctl, EPO, EPOLL_CTL_ADD, PIPR, BAD), R(epoll_ctl, EPO, EPOLL_CTL_ADD, PIPR, S(&ev_excl)), R(epoll_ctl, NOPE, EPOLL_CTL_ADD, PIPR, S(&ev)), R(epoll_wait, EPO, BUF, 0, 0), R(epoll_wait, EPO, BUF, -1, 0), R(epoll_wait, FIL, BUF, 1, 0), R(epoll_wait, NOPE, BUF, 1, 0), R(epoll_wait, EPO, BAD, 1, 0),
	R(epoll_pwait, EPO, BUF, 1, 0, BUF, 7), R(epoll_pwait, EPO, BUF, 1, 0, BAD, 8), R(epoll_pwait2, EPO, BUF, 1, S(&ts_bad), 0, 8), R(poll, BAD, 1, 0), R(poll, BUF, 10000000, 0), R(ppoll, BUF, 0, S(&ts_bad), 0, 8), R(ppoll, BUF, 0, S(&ts_zero), BUF, 7), R(select, -1, 0, 0, 0, 0), R(select, 1, BAD, 0, 0, 0), R(select, 0, 0, 0, 0, S(&ts_neg)), R(pselect6, 0, 0, 0, 0, S(&ts_bad), 0),
	R(signalfd4, -1, BUF, 7, 0), R(signalfd4, -1, BUF, 8, 0x10), R(signalfd4, NOPE, BUF, 8, 0), R(signalfd4, FIL, BUF, 8, 0), R(signalfd4, -1, BAD, 8, 0), R(timerfd_create, 99, 0), R(timerfd_create, 0, 0x10), R(timerfd_settime, TMR, 0x10, S(&its_bad), 0), R(timerfd_settime, TMR, 0, S(&its_bad), 0), R(timerfd_settime, TMR, 0, BAD, 0), R(timerfd_settime, FIL, 0, BUF, 0), R(timerfd_settime, NOPE, 0, BUF, 0), R(timerfd_gettime, FIL, BUF), R(timerfd_gettime, TMR, BAD),
	R(inotify_init1, 0x10), R(inotify_add_watch, INO, S("/tmp/err.none"), 1), R(inotify_add_watch, INO, S("/tmp"), 0), R(inotify_add_watch, FIL, S("/tmp"), 1), R(inotify_add_watch, NOPE, S("/tmp"), 1), R(inotify_add_watch, INO, BAD, 1), R(inotify_add_watch, INO, S("/tmp/err.f"), 0x01000001), R(inotify_rm_watch, INO, 99), R(inotify_rm_watch, FIL, 1), R(inotify_rm_watch, NOPE, 1), R(inotify_add_watch, INO, S("/tmp"), 0x30000001),
	R(mmap, 0, 0, 3, 0x22, -1, 0), R(mmap, 0, 4096, 3, 0x20, -1, 0), R(mmap, 0, 4096, 3, 2, NOPE, 0), R(mmap, 0, 4096, 3, 2, FIL, 1), R(mmap, 0, 4096, 3, 1, RDO, 0), R(mmap, 0, 4096, 1, 2, WRO, 0), R(mmap, 0, 4096, 1, 2, DIR_, 0), R(mmap, 0, 4096, 1, 2, PIPR, 0), R(mmap, 1, 4096, 3, 0x32, -1, 0), R(mmap, 0, -4096, 3, 0x22, -1, 0), R(mmap, 0, 4096, 3, 2, OPATH, 0),
	R(munmap, BUF + 1, 4096), R(munmap, BUF, 0), R(mprotect, BUF + 1, 4096, 1), R(mprotect, 4096, 4096, 1), R(mprotect, BUF, 4096, 0x3000000), R(mprotect, BUF, 4096, 0x100), R(mremap, BUF + 1, 4096, 4096, 0), R(mremap, BUF, 4096, 0, 0), R(mremap, BUF, 4096, 8192, 8), R(mremap, 4096, 4096, 8192, 1), R(mremap, BUF, 4096, 4096, 2, BUF),
	R(madvise, BUF + 1, 4096, 4), R(madvise, BUF, 4096, 999), R(madvise, 4096, 4096, 4), R(msync, BUF + 1, 4096, 4), R(msync, BUF, 4096, 5), R(msync, BUF, 4096, 8), R(msync, 4096, 4096, 4), R(mincore, BUF + 1, 4096, BUF), R(mincore, 4096, 4096, BUF), R(mincore, BUF, 4096, BAD), R(mlock, 4096, 4096), R(munlock, 4096, 4096), R(mlockall, 0), R(mlockall, 8), R(mlockall, 4), R(mlock2, BUF, 4096, 2), R(memfd_create, S("x"), 0x100), R(memfd_create, BAD, 0), R(memfd_create, S(long_component), 0), R(remap_file_pages, BUF, 4096, 1, 0, 0), R(remap_file_pages, BUF, 4096, 0, 0, 0), R(brk, 1) ,
	R(rt_sigaction, 0, 0, 0, 8), R(rt_sigaction, 65, 0, 0, 8), R(rt_sigaction, SIGKILL, BUF, 0, 8), R(rt_sigaction, SIGUSR1, BAD, 0, 8), R(rt_sigaction, SIGUSR1, 0, BAD, 8), R(rt_sigaction, SIGUSR1, 0, 0, 7), R(rt_sigprocmask, 99, BUF, 0, 8), R(rt_sigprocmask, 0, BAD, 0, 8), R(rt_sigprocmask, 0, BUF, 0, 7), R(rt_sigpending, BUF, 9), R(rt_sigpending, BAD, 8), R(rt_sigtimedwait, BUF, 0, S(&ts_bad), 8), R(rt_sigtimedwait, BUF, 0, S(&ts_zero), 7), R(rt_sigtimedwait, BAD, 0, S(&ts_zero), 8), R(rt_sigtimedwait, BUF, 0, S(&ts_zero), 8), R(rt_sigsuspend, BUF, 7), R(rt_sigsuspend, BAD, 8),
	R(sigaltstack, BAD, 0), R(sigaltstack, 0, BAD), R(kill, 0x7ffffff, 0), R(kill, 1, 65), R(kill, 1, -1), R(kill, -0x7ffffff, 0), R(tkill, 0, 1), R(tkill, -1, 1), R(tkill, 0x7ffffff, 0), R(tgkill, -1, 1, 0), R(tgkill, 1, -1, 0), R(rt_sigqueueinfo, 1, 0, BAD), R(rt_sigqueueinfo, 0x7ffffff, 0, BUF), R(pidfd_open, -1, 0), R(pidfd_open, 0x7ffffff, 0), R(pidfd_open, 1, 1), R(pidfd_send_signal, FIL, 0, 0, 0), R(pidfd_send_signal, NOPE, 0, 0, 0), R(pidfd_getfd, FIL, 0, 0), R(pidfd_getfd, NOPE, 0, 0), R(pidfd_getfd, NOPE, 0, 1),
	R(wait4, -1, 0, 0x100, 0), R(wait4, -1, 0, 0, 0), R(wait4, 0x7ffffff, 0, 0, 0), R(wait4, -0x80000000L, 0, 0, 0), R(waitid, 9, 0, 0, 4, 0), R(waitid, 0, 0, 0, 0, 0), R(waitid, 0, 0, 0, 4, 0), R(waitid, 1, -1, 0, 4, 0), R(waitid, 1, 0, 0, 4, 0), R(waitid, 0, 0, 0, 0x100, 0), R(waitid, 3, NOPE, 0, 4, 0), R(waitid, 3, FIL, 0, 4, 0),
	R(execve, BAD, 0, 0), R(execve, S("/tmp/err.none"), 0, 0), R(execve, S("/tmp/err.f"), 0, 0), R(execve, S("/tmp/err.d"), 0, 0), R(execve, S("/tmp/err.x"), 0, 0), R(execve, S("/tmp/err.script"), 0, 0), R(execve, S("/tmp/err.loop"), 0, 0), R(execve, S("/tmp/err.f/x"), 0, 0), R(execve, S(""), 0, 0), R(execveat, NOPE, S("x"), 0, 0, 0), R(execveat, AT_FDCWD, S("/tmp/err.l"), 0, 0, AT_SYMLINK_NOFOLLOW), R(execveat, AT_FDCWD, S("x"), 0, 0, 0x8), R(execveat, DIR_, S(""), 0, 0, AT_EMPTY_PATH), R(execve, S("/tmp/err.x"), BAD, 0),
	R(setpgid, -1, 0), R(setpgid, 0, -1), R(setpgid, 0x7ffffff, 0), R(setpgid, 0, 0x7ffffff), R(getpgid, -1), R(getpgid, 0x7ffffff), R(getsid, 0x7ffffff), R(getsid, -1), R(getpriority, 9, 0), R(getpriority, 0, 0x7ffffff), R(setpriority, 9, 0, 0), R(setpriority, 0, 0x7ffffff, 0), R(sched_setscheduler, 0, 99, BUF), R(sched_setscheduler, -1, 0, BUF), R(sched_setscheduler, 0x7ffffff, 0, BUF), R(sched_setscheduler, 0, 0, BAD), R(sched_setscheduler, 0, 0, 0), R(sched_getscheduler, -1), R(sched_getscheduler, 0x7ffffff), R(sched_getparam, 0, 0), R(sched_getparam, 0, BAD), R(sched_getparam, -1, BUF), R(sched_setparam, 0, 0), R(sched_setparam, 0x7ffffff, BUF), R(sched_get_priority_max, 99), R(sched_get_priority_min, -1), R(sched_rr_get_interval, -1, BUF), R(sched_rr_get_interval, 0x7ffffff, BUF), R(sched_rr_get_interval, 0, BAD), R(sched_getaffinity, 0, 1, BUF), R(sched_getaffinity, 0x7ffffff, 128, BUF), R(sched_getaffinity, 0, 128, BAD), R(sched_setaffinity, 0, 128, BAD), R(sched_setaffinity, 0x7ffffff, 128, S("\1")), R(sched_setaffinity, 0, 8, S("\0\0\0\0\0\0\0\0")), R(sched_getattr, 0, 0, 48, 0), R(sched_getattr, 0, BUF, 10, 0), R(sched_getattr, 0, BUF, 48, 1), R(sched_getattr, 0x7ffffff, BUF, 48, 0), R(sched_setattr, 0, 0, 0), R(sched_setattr, 0, BUF, 1), R(sched_setattr, 0, BAD, 0),
	R(ioprio_get, 9, 0), R(ioprio_get, 1, 0x7ffffff), R(ioprio_set, 9, 0, 0), R(ioprio_set, 1, 0, 7 << 13), R(getrlimit, 99, BUF), R(getrlimit, 0, BAD), R(setrlimit, 99, BUF), R(setrlimit, 0, BAD), R(setrlimit, 7, S(&rl_bad)), R(prlimit64, 0x7ffffff, 0, 0, BUF), R(prlimit64, 0, 99, 0, BUF), R(prlimit64, 0, 0, BAD, 0), R(getrusage, 9, BUF), R(getrusage, 0, BAD), R(times, BAD), R(setuid, -1), R(setgid, -1), R(getgroups, -1, BUF), R(setgroups, 65537, BUF), R(setgroups, 1, BAD), R(getresuid, BAD, BUF, BUF), R(capget, BAD, 0), R(capget, BUF, 0), R(capset, BAD, 0),
	R(clock_gettime, 99, BUF), R(clock_gettime, 0, BAD), R(clock_getres, 99, 0), R(clock_nanosleep, 99, 0, S(&ts_zero), 0), R(clock_nanosleep, 0, 0, S(&ts_bad), 0), R(clock_nanosleep, 0, 0, S(&ts_neg), 0), R(clock_nanosleep, 3, 0, S(&ts_zero), 0), R(clock_nanosleep, 4, 0, S(&ts_zero), 0), R(nanosleep, S(&ts_bad), 0), R(nanosleep, BAD, 0), R(gettimeofday, BAD, 0), R(time, BAD), R(getitimer, 9, BUF), R(getitimer, 0, BAD), R(setitimer, 9, BUF, 0), R(setitimer, 0, S(&itv_bad), 0), R(setitimer, 0, BAD, 0), R(timer_create, 99, 0, BUF), R(timer_create, 0, S(&sev_bad), BUF), R(timer_create, 0, S(&sev_sig), BUF), R(timer_create, 0, 0, BAD), R(timer_settime, 99, 0, BUF, 0), R(timer_gettime, 99, BUF), R(timer_getoverrun, 99), R(timer_delete, 99), R(adjtimex, BAD), R(clock_adjtime, 99, BUF),
	R(socket, 99, 1, 0), R(socket, 1, 99, 0), R(socket, 1, 1, 99), R(socket, 2, 1, 17), R(socket, 2, 2, 6), R(socketpair, 2, 1, 0, BUF), R(socketpair, 1, 1, 0, BAD), R(bind, NOPE, BUF, 16), R(bind, FIL, BUF, 16), R(bind, SOCK_, BAD, 16), R(bind, SOCK_, BUF, -1), R(bind, SOCK_, BUF, 1), R(connect, SOCK_, S(&sa_unspec), 16), R(connect, FIL, BUF, 16), R(connect, NOPE, BUF, 16), R(listen, NOPE, 1), R(listen, FIL, 1), R(accept, NOPE, 0, 0), R(accept, FIL, 0, 0), R(accept, SOCK_, 0, 0), R(accept4, LISTEN, 0, 0, 0x10), R(accept, LISTEN, 0, 0), R(getsockname, SOCK_, BUF, BAD), R(getsockname, FIL, BUF, BUF), R(getpeername, SOCK_, BUF, BUF + 4096), R(getpeername, NOPE, BUF, BUF),
	R(getsockopt, SOCK_, 1, 9999, BUF, BUF + 4096), R(getsockopt, SOCK_, 1, 3, BAD, BUF + 4096), R(getsockopt, FIL, 1, 3, BUF, BUF), R(getsockopt, NOPE, 1, 3, BUF, BUF), R(setsockopt, SOCK_, 1, 9999, BUF, 4), R(setsockopt, SOCK_, 1, 2, BUF, 1), R(setsockopt, SOCK_, 1, 2, BAD, 4), R(setsockopt, FIL, 1, 2, BUF, 4), R(shutdown, SOCK_, 9), R(shutdown, NOPE, 0), R(shutdown, FIL, 0), R(sendto, NOPE, BUF, 1, 0, 0, 0), R(sendto, FIL, BUF, 1, 0, 0, 0), R(recvfrom, NOPE, BUF, 1, 0, 0, 0), R(recvfrom, FIL, BUF, 1, 0, 0, 0), R(sendmsg, SOCK_, BAD, 0), R(recvmsg, SOCK_, BAD, 0), R(recvmsg, NOPE, BUF, 0), R(sendmmsg, NOPE, BUF, 1, 0), R(recvmmsg, SOCK_, BUF, 1, 0, S(&ts_bad)), R(recvfrom, SOCK_, BUF, 1, MSG_OOB, 0, 0),
	R(sendfile, FIL, PIPR, 0, 1), R(sendfile, RDO, FIL, 0, 1), R(sendfile, NOPE, FIL, 0, 1), R(sendfile, FIL, WRO, 0, 1), R(sendfile, PIPW, FIL, BAD, 1), R(splice, FIL, 0, WRO, 0, 1, 0), R(splice, PIPR, BUF, PIPW, 0, 1, 0), R(splice, NOPE, 0, PIPW, 0, 1, 0), R(splice, FIL, 0, PIPW, 0, 1, 0x100), R(splice, PIPR, 0, PIPW, 0, 1, 0), R(tee, FIL, PIPW, 1, 0), R(tee, PIPR, PIPW, 1, 0), R(vmsplice, PIPW, BUF, 1025, 0), R(copy_file_range, FIL, 0, RDO, 0, 1, 0), R(copy_file_range, FIL, 0, DIR_, 0, 1, 0), R(copy_file_range, FIL, 0, WRO, 0, 1, 1), R(copy_file_range, PIPR, 0, WRO, 0, 1, 0), R(copy_file_range, NOPE, 0, WRO, 0, 1, 0),
	R(setxattr, S("/tmp/err.f"), S("bad"), BUF, 1, 0), R(setxattr, S("/tmp/err.f"), S("user."), BUF, 1, 0), R(setxattr, S("/tmp/err.f"), S(""), BUF, 1, 0), R(setxattr, S("/tmp/err.f"), S(long_component), BUF, 1, 0), R(setxattr, S("/tmp/err.f"), S("user.x"), BUF, 70000, 0), R(setxattr, S("/tmp/err.f"), S("user.x"), BUF, 1, 99), R(getxattr, S("/tmp/err.none"), S("user.x"), BUF, 1), R(getxattr, S("/tmp/err.f"), S("user.none"), BUF, 1), R(removexattr, S("/tmp/err.f"), S("user.none")), R(fgetxattr, NOPE, S("user.x"), BUF, 1), R(fsetxattr, OPATH, S("user.x"), BUF, 1, 0), R(flistxattr, NOPE, BUF, 1), R(listxattr, BAD, BUF, 1), R(setxattr, S("/tmp/err.fifo"), S("user.x"), BUF, 1, 0),
	R(futex, BUF + 1, 0, 0, 0, 0, 0), R(futex, BAD, 0, 0, 0, 0, 0), R(futex, BUF, 0, 5, 0, 0, 0), R(futex, BUF, 0, 0, S(&ts_bad), 0, 0), R(futex, BUF, 77, 0, 0, 0, 0), R(futex, BUF, 9, 0, 0, 0, 0), R(futex, BUF, 10, 1, 0, 0, 0), R(futex, BUF, 4, 1, 1, BUF + 64, 7), R(futex, BUF, 3, -1, 1, BUF + 64, 0), R(set_robust_list, BUF, 1), R(get_robust_list, 0x7ffffff, BUF, BUF), R(get_robust_list, 0, BAD, BUF), R(membarrier, 999, 0, 0), R(membarrier, 0, 1, 0), R(membarrier, 8, 0, 0), R(getrandom, BUF, 1, 8), R(getrandom, BAD, 1, 0), R(getrandom, BUF, 1, 6), R(getcpu, BAD, 0, 0), R(uname, BAD), R(sysinfo, BAD), R(sethostname, BAD, 3), R(sethostname, S("x"), 65), R(setdomainname, S("x"), -1), R(personality, 0xffffffff), R(syslog, 99, 0, 0), R(syslog, 3, 0, 10), R(syslog, 10, 0, 0),
	R(prctl, 9999, 0, 0, 0, 0), R(prctl, PR_SET_PDEATHSIG, 99, 0, 0, 0), R(prctl, PR_GET_PDEATHSIG, BAD, 0, 0, 0), R(prctl, PR_SET_DUMPABLE, 9, 0, 0, 0), R(prctl, PR_SET_NAME, BAD, 0, 0, 0), R(prctl, PR_GET_NAME, BAD, 0, 0, 0), R(prctl, PR_SET_TIMING, 1, 0, 0, 0), R(prctl, PR_GET_TIMING, 0, 0, 0, 0), R(prctl, PR_SET_SECCOMP, 99, 0, 0, 0), R(prctl, PR_SET_SECCOMP, 2, BAD, 0, 0), R(prctl, PR_CAPBSET_READ, 999, 0, 0, 0), R(prctl, PR_CAPBSET_DROP, 999, 0, 0, 0), R(prctl, PR_SET_KEEPCAPS, 2, 0, 0, 0), R(prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), R(prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), R(prctl, PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0), R(prctl, PR_SET_THP_DISABLE, 0, 1, 0, 0), R(prctl, PR_GET_THP_DISABLE, 1, 0, 0, 0), R(prctl, PR_CAP_AMBIENT, 9, 0, 0, 0), R(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 999, 0, 0), R(prctl, PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), R(prctl, PR_SET_ENDIAN, 0, 0, 0, 0), R(prctl, PR_SET_FPEMU, 0, 0, 0, 0), R(prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), R(prctl, PR_MCE_KILL, 9, 0, 0, 0), R(prctl, PR_SET_TSC, 9, 0, 0, 0), R(prctl, PR_SET_SECUREBITS, 0x1000, 0, 0, 0),
	R(semget, 1, -1, 0), R(semget, 0x99887, 1, 0), R(semget, 0, 0, 01000), R(semop, -1, BUF, 1), R(semop, 99, BUF, 0), R(semop, 99, BUF, 1000), R(semctl, 99, 0, 12), R(semctl, 0, 0, 999), R(msgget, 0x99887, 0), R(msgsnd, 99, BUF, 1, 0), R(msgsnd, -1, BUF, 1, 0), R(msgrcv, 99, BUF, 1, 0, 0), R(msgctl, 99, 2, BUF), R(shmget, 0x99887, 1, 0), R(shmget, 0, 0, 01000), R(shmat, 99, 0, 0), R(shmdt, BUF + 1), R(shmdt, BUF), R(shmctl, 99, 2, BUF), R(mq_open, S("x/y"), 0, 0, 0), R(mq_open, S("none"), 0, 0, 0), R(mq_open, S(""), 0, 0, 0), R(mq_open, S(long_component), 0, 0, 0), R(mq_unlink, S("none")), R(mq_timedsend, FIL, BUF, 1, 0, 0), R(mq_timedreceive, NOPE, BUF, 1, 0, 0), R(mq_notify, FIL, 0), R(mq_getsetattr, FIL, 0, BUF),
	R(clone, 0x10000 | SIGCHLD, 0, 0, 0, 0), R(clone, 0x800 | SIGCHLD, 0, 0, 0, 0), R(clone3, BUF, 8), R(clone3, BUF, 5000), R(clone3, BAD, 64), R(unshare, 1), R(setns, FIL, 0), R(setns, NOPE, 0), R(kcmp, 1, 0x7ffffff, 0, 0, 0), R(process_vm_readv, 1, BUF, 0, BUF, 0, 1), R(process_vm_readv, 0x7ffffff, BUF, 1, BUF, 1, 0), R(process_madvise, NOPE, BUF, 0, 20, 0), R(process_madvise, FIL, BUF, 0, 20, 1), R(close_range, 10, 5, 0), R(close_range, 100, 200, 0x100), R(umask, 0), R(alarm, 0),
};

static void at(int fd, int want) { if (fd != want) { dup2(fd, want); close(fd); } }

int main(void)
{
	int p[2];
	struct sigaction ign = { .sa_handler = SIG_IGN };
	sigaction(SIGPIPE, &ign, NULL);
	umask(022);
	memset(longname, 'x', sizeof(longname) - 1);
	longname[0] = '/';
	memset(long_component, 'y', sizeof(long_component) - 1);
	unlink("/tmp/err.sock");
	mkdir("/tmp/err.d", 0755);
	mkdir("/tmp/err.full", 0755);
	mkdir("/tmp/err.full/x", 0755);
	symlink("err.loop", "/tmp/err.loop");
	symlink("err.f", "/tmp/err.l");
	symlink("err.nowhere", "/tmp/err.dangling");
	mkfifo("/tmp/err.fifo", 0644);
	int fd = open("/tmp/err.f", O_CREAT | O_RDWR | O_TRUNC, 0644);
	write(fd, "content", 7);
	at(fd, FIL);
	fd = open("/tmp/err.x", O_CREAT | O_RDWR, 0755);
	write(fd, "\x7f" "ELF nonsense", 13);
	close(fd);
	fd = open("/tmp/err.script", O_CREAT | O_RDWR, 0755);
	write(fd, "#!/no/such/interpreter\n", 23);
	close(fd);
	at(open("/tmp/err.d", O_RDONLY | O_DIRECTORY), DIR_);
	pipe2(p, O_NONBLOCK);
	at(p[0], PIPR);
	at(p[1], PIPW);
	at(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), SOCK_);
	at(open("/tmp/err.f", O_RDONLY), RDO);
	at(epoll_create1(0), EPO);
	at(open("/tmp/err.f", O_PATH), OPATH);
	at(open("/tmp/err.f", O_WRONLY), WRO);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct { unsigned short f; char n[20]; } un = { AF_UNIX, "/tmp/err.sock" };
	bind(fd, (void *)&un, sizeof(un));
	listen(fd, 5);
	at(fd, LISTEN);
	at(eventfd(0, EFD_NONBLOCK), EVT);
	at(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), TMR);
	sigset_t none;
	sigemptyset(&none);
	at(signalfd(-1, &none, SFD_NONBLOCK), SFD);
	at(inotify_init1(IN_NONBLOCK), INO);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		memset(B, 0, sizeof(B));
		errno = 0;
		long v = syscall(r->nr, r->a[0], r->a[1], r->a[2], r->a[3], r->a[4], r->a[5]);
		printf("%s: %s\n", r->what, v == -1 ? strerrorname_np(errno) : v == 0 ? "0" : "positive");
		fflush(stdout);
	}
	return 0;
}

/* The system calls that devices make once the machine runs, each with who makes it and why: rows of the device thread's seccomp filter. What constructors
 * do is over by then; so is a file server in this process (dev/fs.c), which opens files: it is for monitors without a filter. Processor threads make
 * VIRTIO_CALLS_CPU only. tests/unit/virtio_calls.c drives every device under a filter of these rows. */
#ifndef TIERCE_TIER_VM_VIRTIO_HOSTCALLS_H
#define TIERCE_TIER_VM_VIRTIO_HOSTCALLS_H

#include <sys/syscall.h>

#ifdef __NR_poll
#define VIRTIO_CALL_POLL poll
#else
#define VIRTIO_CALL_POLL ppoll /* newer architectures have only this */
#endif

/* X(call, who, why) */
#define VIRTIO_CALLS_DEVICE(X) \
	X(futex,           "all",                  "a device's lock that a processor thread holds") \
	X(read,            "throttle, net",        "expired timers; frames of the tap") \
	X(writev,          "net",                  "frames to the tap") \
	X(timerfd_settime, "throttle",             "when a limited queue goes on") \
	X(clock_gettime,   "throttle",             "the limiter's clock, where the vDSO has none") \
	X(preadv,          "blk",                  "reads of the guest") \
	X(pwritev,         "blk",                  "writes of the guest") \
	X(fdatasync,       "blk, pmem",            "flushes of the guest") \
	X(fallocate,       "blk",                  "discard and write-zeroes") \
	X(recvmsg,         "console, vsock",       "bytes of the host's programs, straight into guest memory") \
	X(sendmsg,         "console, net, vsock",  "bytes of the guest; frames to a datagram socket") \
	X(recvfrom,        "fs, vsock",            "replies of the file server; the line CONNECT") \
	X(sendto,          "fs, vsock",            "requests to the file server; the line OK") \
	X(VIRTIO_CALL_POLL, "fs, vsock",           "a snapshot waits for replies; is a socket closed or shut down") \
	X(accept4,         "vsock",                "programs of the host") \
	X(socket,          "vsock",                "connections of the guest: AF_UNIX only") \
	X(connect,         "vsock",                "connections of the guest") \
	X(shutdown,        "vsock",                "the guest is done writing") \
	X(close,           "vsock",                "connections that ended") \
	X(getrandom,       "rng",                  "random bytes for the guest") \
	X(madvise,         "balloon",              "pages that the guest gave up: MADV_DONTNEED and MADV_REMOVE only") \
	X(ioctl,           "net",                  "TUNSETOFFLOAD, when a driver accepted features") \
	X(brk,             "fs, vsock, log lines", "malloc: the list of a request's buffers, a slow connection's 64 KiB") \
	X(mmap,            "fs, vsock, log lines", "malloc: anonymous, never executable") \
	X(munmap,          "fs, vsock, log lines", "malloc")

#define VIRTIO_CALLS_CPU(X) \
	X(futex,           "all",                  "a device's lock that the device thread holds")

#endif

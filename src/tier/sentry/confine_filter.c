/*
 * The sentry's own filter: every host call that it can make once the container is prepared, each with its reason. Anything else ends the sentry (and with
 * it the container's pid namespace) with one SIGSYS in the host's log. Rows of one call are tried in order.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/confine.h"
#include "tier/sentry/gate/host.h"

struct row { int nr; const char *name, *reason; int arg; uint32_t mask, value, action; };
#define ANY(n, why) { SYS_##n, #n, why, -1, 0, 0, SECCOMP_RET_ALLOW }
#define IF(n, a, m, v, why) { SYS_##n, #n, why, a, (uint32_t)(m), (uint32_t)(v), SECCOMP_RET_ALLOW }
#define FAIL(n, e, why) { SYS_##n, #n, why, -1, 0, 0, SECCOMP_RET_ERRNO | (e) }
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static const struct row rows[] = {
	/* hot first: the program is searched from the front */
	ANY(futex, "locks, wake-ups, mailboxes"),
	ANY(process_vm_readv, "guest memory, by the one door"),
	ANY(process_vm_writev, "guest memory, by the one door"),
	ANY(sched_yield, "mailbox waiting"),
	ANY(pread64, "files of the rootfs and volumes"),
	ANY(pwrite64, "files of the rootfs and volumes"),
	ANY(read, "standard streams, procfs, signalfd"),
	ANY(write, "standard streams, log, strace"),
	ANY(openat, "files below O_PATH descriptors of the roots; own procfs"),
	ANY(close, "descriptors"),
	ANY(statx, "attributes of files"),
	ANY(recvmsg, "host sockets, control socket"),
	ANY(sendmsg, "host sockets"),
	ANY(poll, "readiness of a host descriptor"),
	ANY(epoll_wait, "a sleeping twin, for all that wait for host descriptors"),
	ANY(epoll_ctl, "host descriptors come and go"),
	ANY(tgkill, "kick, kill and probe of guest threads in our pid namespace"),
	ANY(waitid, "reaping guest processes"),
	IF(mmap, 2, PROT_EXEC, 0, "mailbox slots, heap, stacks; never executable"),
	ANY(munmap, "the same going away"),
	IF(mprotect, 2, PROT_EXEC, 0, "heap arenas, stack guards; never executable"),
	ANY(madvise, "stacks of ended threads"),
	IF(clone, 0, THREAD, THREAD, "twin threads; no processes, no namespaces"),
	FAIL(clone3, ENOSYS, "its flags lie in memory: the C library falls back to clone"),
	ANY(exit, "threads end"),
	ANY(exit_group, "the container ended"),
	ANY(rt_sigprocmask, "the C library around thread creation"),
	ANY(restart_syscall, "a timed wait goes on after the cgroup was frozen"),
	IF(ioctl, 1, ~0u, SECCOMP_IOCTL_NOTIF_RECV, "notifier"),
	IF(ioctl, 1, ~0u, SECCOMP_IOCTL_NOTIF_SEND, "notifier"),
	IF(ioctl, 1, ~0u, SECCOMP_IOCTL_NOTIF_ADDFD, "notifier"),
	IF(ioctl, 1, 0xffffff00u, 0x8900, "queries of sockets and interfaces; changes are refused before, and need capabilities that are gone"),
	IF(ioctl, 1, 0x0000ff00u, 0x5400, "terminals, FIONREAD, TCGETS2 and its like"),
	ANY(lseek, "directories, holes, shared offsets of standard streams"),
	ANY(getdents64, "directories"),
	ANY(fcntl, "duplicates of standard streams, O_APPEND"),
	ANY(fsync, "fsync of the guest"),
	ANY(ftruncate, "sizes of files and memory files"),
	ANY(fallocate, "allocation and holes"),
	ANY(mkdirat, "rootfs and volumes"),
	ANY(mknodat, "rootfs and volumes; device nodes are never opened"),
	ANY(unlinkat, "rootfs and volumes"),
	ANY(renameat2, "rootfs and volumes"),
	ANY(linkat, "rootfs and volumes"),
	ANY(symlinkat, "rootfs and volumes"),
	ANY(readlinkat, "rootfs and volumes"),
	ANY(fchownat, "rootfs and volumes"),
	ANY(fchmodat, "rootfs and volumes"),
	ANY(utimensat, "rootfs and volumes"),
	ANY(fstatfs, "rootfs and volumes"),
	ANY(fgetxattr, "rootfs and volumes"),
	ANY(fsetxattr, "rootfs and volumes"),
	ANY(flistxattr, "rootfs and volumes"),
	ANY(fremovexattr, "rootfs and volumes"),
	ANY(memfd_create, "arenas, large tmpfs files, shared memory"),
	ANY(getrandom, "secrets of grants, getrandom of the guest"),
	IF(socket, 0, ~0u, AF_INET, "host sockets in the sandbox's network namespace"),
	IF(socket, 0, ~0u, AF_INET6, "host sockets in the sandbox's network namespace"),
	IF(socket, 0, ~0u, AF_NETLINK, "route queries"),
	ANY(bind, "host sockets"),
	ANY(listen, "host sockets"),
	ANY(connect, "host sockets"),
	ANY(accept4, "host sockets, control socket"),
	ANY(getsockname, "host sockets"),
	ANY(getpeername, "host sockets"),
	ANY(setsockopt, "host sockets"),
	ANY(getsockopt, "host sockets"),
	ANY(shutdown, "host sockets, control socket"),
	FAIL(brk, 0, "a break of 0 is how brk fails (an errno would be taken for an address): the heap falls back to mmap"),
	FAIL(mremap, ENOSYS, "realloc() of large blocks copies"),
	FAIL(set_robust_list, ENOSYS, "new threads do without"),
	FAIL(rseq, ENOSYS, "switched off by GLIBC_TUNABLES at start"),
};

int sentry_filter_without = -1;

static unsigned compile(struct sock_filter *f)
{
	unsigned n = 0;
#define PUT(...) (f[n++] = (struct sock_filter)__VA_ARGS__)
	PUT({ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch) });
	PUT({ BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64 });
	PUT({ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS });
	PUT({ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) });
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		if ((int)i == sentry_filter_without)
			continue;
		if (r->arg < 0) {
			PUT({ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)r->nr });
		} else {
			PUT({ BPF_JMP | BPF_JEQ | BPF_K, 0, 5, (uint32_t)r->nr });
			PUT({ BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args) + 8 * (uint32_t)r->arg });
			PUT({ BPF_ALU | BPF_AND | BPF_K, 0, 0, r->mask });
			PUT({ BPF_JMP | BPF_JEQ | BPF_K, 1, 0, r->value });
			PUT({ BPF_JMP | BPF_JA, 0, 0, 1 });
		}
		PUT({ BPF_RET | BPF_K, 0, 0, r->action });
		if (r->arg >= 0)
			PUT({ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) });
	}
	PUT({ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS });
#undef PUT
	return n;
}

int confine_filter(const struct sentry_options *o, struct err *e)
{
	struct sock_filter f[ARRAY_SIZE(rows) * 7 + 8];
	struct sock_fprog prog = { .filter = f };
	if (!o->confine)
		return 0;
	prog.len = (unsigned short)compile(f);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) != 0)
		return err_sys(e, errno, "filter of the sentry");
	return 0;
}

int sentry_filter_print(struct strbuf *out)
{
	unsigned calls = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		const char *what = r->action == SECCOMP_RET_ALLOW ? "allow" : "errno";
		calls += r->action == SECCOMP_RET_ALLOW && (!i || rows[i - 1].nr != r->nr);
		if (r->arg < 0)
			strbuf_printf(out, "  %-18s %-26s %s  %s\n", r->name, "any", what, r->reason);
		else
			strbuf_printf(out, "  %-18s a%d&0x%08x==0x%-8x %s  %s\n", r->name, r->arg, r->mask, r->value, what, r->reason);
	}
	strbuf_printf(out, "sentry: %u host calls\n", calls);
	return (int)calls;
}

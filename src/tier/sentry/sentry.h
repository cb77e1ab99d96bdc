/*
 * The sentry: a kernel in user space. This header is the design; read it before any file of the room.
 *
 * Processes
 * ---------
 *   tierce-sentry (host process, pid 1 of its own pid namespace when namespaces are on)
 *    |- twin threads        one per guest thread: sleeps on the thread's mailbox, answers its calls, may block on its behalf; one of
 *    |                      those that sleep waits in one epoll over all host fds and wakes our wait queues (kernel.c)
 *    |- reaper thread       waitid() over all host children; tells processes that died without asking
 *    |- notifier thread     seccomp listener: hands file descriptors over for exactly one mmap (gate/notify.c)
 *    |- zygote              a guest process that never runs guest code; new address spaces are cloned from it
 *    `- guest processes     all of them direct children of the sentry (CLONE_PARENT), so that their pids cannot be reused before we
 *                           reap them: process_vm_*() and tgkill() by pid can never hit a stranger
 *
 * A guest process is a host process, a guest thread a host thread; memory is private and native. What the guest sees (pids, fds, signals,
 * credentials, mounts, terminals, sockets) exists only in the sentry. The host's view of a guest process: no fds, no handlers but the gate's.
 *
 * A call's way, by trap (about 8 us on one core; docs/sentry.md has what each way costs):
 *   guest `syscall` -> seccomp RET_TRAP -> SIGSYS on the slot's alternate stack -> gate_signal() posts a request in the mailbox (shared futex)
 *   -> twin wakes, takes the kernel lock, sys_*() answers through the table of abi/syscalls.def -> reply -> gate resumes by rt_sigreturn.
 * By a patched site (gate/patch.c, after a dozen traps): guest -> trampoline -> gate_fast (gate/fast.c), which answers itself or copies the operands into the
 *   slot's window and posts MB_FASTCALL -> twin as above, copyin()/copyout() work on the window -> gate copies out and returns.
 * The signal frame lies in shared memory, so registers are read and changed in place (struct gate_regs *): signal delivery, restart, clone and execve
 * need no further machinery. What only the guest itself can do (mmap, munmap, mprotect, clone, exit) the twin makes it do: gate_call() posts
 * an action and waits for the result; it is as untrusted as everything else the guest says.
 * A fast call has no frame. Calls that need one (clone, execve, rt_sigreturn) go by the `syscall` instruction that the patch left; when a signal is to be
 * delivered after a fast call, the gate makes a frame by a trap of its own (gate_frame()).
 *
 * Life of address spaces and threads:
 *   start     fork of the sentry before it has threads -> zygote maps gate and arena, installs handlers and filter, traps. The sentry then unmaps the rest.
 *   thread    CLONE_VM|CLONE_THREAD...: next free slot of the same arena; the frame is copied there first, rax = 0; the new host thread says
 *             hello through the notifier (kernel-supplied tid, secret in the upper half of an argument).
 *   fork      new arena memfd, same slot number, frame copied before the clone; the child remaps the arena before it touches its stack; the
 *             notifier identifies it by the kernel's pid and a secret that only the parent's mailbox held.
 *   vfork     CLONE_VM without CLONE_THREAD: a slot of the parent's arena; parent blocks in the sentry until exec or exit. On execve the task
 *             moves to a new host process cloned from the zygote; the old host process exits.
 *   execve    all other threads are told to leave; munmap of all but gate, arena, vDSO; own ELF loader; registers are set in the frame.
 *   exit      duties (robust list, clear_child_tid, rusage), then SIGKILL for the host process; a thread exits by gate_call(exit). The host
 *             thread-group leader never exits before its process: it stays parked in the gate, so that tgid stays valid.
 *   SIGKILL   mark, kill(host pid); twins notice by their flags. If the sentry dies, the pid namespace dies.
 *
 * Guest signals are virtual: the host's masks and handlers of a guest thread never change. GATE_KICK (SIGUSR1) makes a running
 * thread enter its mailbox, where pending signals are delivered by writing a frame and changing registers (task/sigframe.c).
 *
 * Locking
 * -------
 * One kernel lock (K.lock, "the lock"). Every handler, wait queue callback and object is under it. It is dropped only in
 *   - task_sleep() and everything that calls it,
 *   - gate_call() while the guest acts,
 *   - sections between kernel_unlock() and kernel_lock() around host calls that may take long (pread of a disk file, fsync, connect):
 *     the object must be held by a reference of your own, and everything is re-read afterwards.
 * Further locks, taken in this order, none while waiting for another process's guest:
 *   mm->map_lock (sleeping; address space changes of one mm; before K.lock) > K.lock > nothing. Leaf: slot tables use the lock too.
 * Why one lock: two cores were measured to lose more on cross-core wakes (15-18 us) than on the lock (held ~1 us a call); what is
 * served in the gate never takes it. Split it by subsystem only with a measurement.
 *
 * Sleeping: waitq_add(&q, &w); loop { if (condition) break; r = task_sleep(t, deadline); if (r) break; } waitq_del(&w). A wake-up
 * between the check and the sleep cannot be lost, because both happen under the lock. -EINTR from task_sleep() means "signal pending": return
 * -ERESTARTSYS (restarted under SA_RESTART), -ERESTARTNOHAND (poll, select, pause: restarted only when no handler ran) or -EINTR.
 *
 * Guest memory: one door, mm/usermem.h. Copy once, validate, use the copy. A bad pointer is -EFAULT, a partial copy keeps Linux's rules.
 *
 * How to add a call
 * -----------------
 * 1. Row in abi/syscalls.def: SYSCALL(number, name, handler, "signature", LEVEL, "note"); the row generates dispatch, --strace, docs/syscalls.md
 *    and the counters. Arity is the length of the signature; its letters are listed there.
 * 2. long sys_name(struct task *t, const uint64_t *a) in the family's sys_*.c; prototypes are generated from the list. Return value or
 *    -errno (or -ERESTART*). It is called with the lock held.
 * 3. A plain C program in tests/abi/ that prints what it sees, natively and under the sentry (same output).
 *
 * Files of the room
 *   abi/    list of calls, guest structs, strace          gate/  blob, slots, zygote, filters, notifier
 *   task/   tasks, clone, exec, exit, wait, signals, ids  mm/    guest memory door, mappings, ELF, futex
 *   vfs/    inodes, dentries, mounts, walk, files, fds    fs/    host, tmpfs, proc, sys, dev, pipe, pty, event fds
 *   net/    host sockets, unix sockets, netlink           sys_*.c  handlers by family: decode, validate, call the above
 *   ops.c   the tier contract   control.c  the socket that the tier speaks to   main.c  start order
 */
#ifndef TIERCE_SENTRY_SENTRY_H
#define TIERCE_SENTRY_SENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sock_filter;

/* What to run: filled from the command line or from the OCI bundle. */
struct sentry_mount_opt {
	const char *source, *target, *type; /* type "bind": host path; else tmpfs, proc, sysfs, devtmpfs, devpts, mqueue */
	const char *data;
	unsigned long flags; /* MS_RDONLY ... */
	int fd;              /* source opened O_PATH before confinement, -EBADF: open by path */
};
struct sentry_cover { const char *path; bool masked; }; /* else read-only */
struct sentry_options {
	const char *rootfs;
	bool rootfs_readonly;
	enum { OVERLAY_NONE, OVERLAY_MEMORY, OVERLAY_SELF } overlay; /* changes stay in memory; large files among them in unnamed files of the rootfs's disk */
	char **argv, **envp;           /* NULL-terminated */
	const char *cwd, *hostname, *domainname;
	uint32_t uid, gid, umask;
	const uint32_t *groups;
	size_t n_groups;
	bool caps_set;                 /* false: root has all, others none */
	uint64_t cap_bounding, cap_effective, cap_permitted, cap_inheritable, cap_ambient;
	bool no_new_privs;
	const struct sock_filter *seccomp; /* linux.seccomp as a program, checked when it is taken over; NULL: none */
	size_t n_seccomp;
	int oom_score_adj;
	uint32_t pids_limit;           /* tasks of the container; 0: none */
	struct { int resource; uint64_t soft, hard; } rlimits[16];
	size_t n_rlimits;
	const struct sentry_mount_opt *mounts;
	size_t n_mounts;
	const struct sentry_cover *covers; /* linux.maskedPaths and readonlyPaths; those that are not there are left out */
	size_t n_covers;
	bool default_mounts;           /* /proc /sys /dev /dev/pts /dev/shm /tmp as a plain run wants them */
	int strace;                    /* 0 off, 1 text, 2 JSON */
	int strace_fd, log_fd;         /* -EBADF: none */
	int stats_fd;                  /* counters are written here at the end, -EBADF: none */
	bool is_init;                  /* we are pid 1 of fresh namespaces already (made by the tier) */
	bool confine;                  /* namespaces, empty root, capabilities, filter */
	bool terminal;                 /* fd 0 is a terminal that becomes the init's controlling one */
	int control_fd;                /* listening socket of the tier, -EBADF: none */
	int ready_fd;                  /* told when everything is prepared, or why not; -EBADF: none */
};

/* Run a container; returns the wait status of its init, or a negative errno before the guest started. */
int sentry_run(const struct sentry_options *o, struct err *e);

#endif

/* OCI seccomp section -> BPF program -> kernel, with an on-disk cache and user notification. */
#ifndef TIERCE_CONFINE_SECCOMP_H
#define TIERCE_CONFINE_SECCOMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "confine/bpf.h"
#include "spec/oci.h"

/*
 * How a tier uses it:
 *   parent, before clone3:  seccomp_prepare(spec, cache_fd, &f, e)      compile or map from the cache
 *   child:                  see seccomp_early(): load with seccomp_load() at the early or the late point
 *   child, when f.notify:   announce the listener's number by one write(2) (the only call that a profile may not catch with SCMP_ACT_NOTIFY)
 *   parent, when f.notify:  fetch it by pidfd_getfd(2), seccomp_notify_send() with the container process state, close the fd
 * A spec without seccomp (and without the raw annotation) gives f.present == false; seccomp_filter_load() is then a no-op.
 */
struct seccomp_filter {
	bool present;
	bool notify;              /* a rule uses SECCOMP_RET_USER_NOTIF: load yields a listener fd */
	unsigned int flags;       /* SECCOMP_FILTER_FLAG_* to load with */
	struct bpf_prog prog;
	bool from_cache;
	const char *listener_path, *listener_metadata; /* from the spec or run.oci.seccomp.receiver; NULL: none */
	struct strbuf warnings;   /* newline-separated, one per ignored name; only when compiled, for --debug */
};
#define SECCOMP_FILTER_INIT { .prog = BPF_PROG_INIT, .warnings = STRBUF_INIT }
#define _cleanup_seccomp_ CLEANUP(seccomp_filter_free)
void seccomp_filter_free(struct seccomp_filter *f);

/*
 * Everything that can be done outside of the container. cache_fd: the state root (O_DIRECTORY), -EBADF for no cache; the cache lives in
 * ".seccomp-cache" below it (0700, owner checked; a foreign or corrupt entry is ignored and rewritten; at most
 * SECCOMP_CACHE_MAX entries). Annotations: run.oci.seccomp_bpf_data (base64 of struct sock_filter[], used in place of the section, as crun does),
 * run.oci.seccomp.receiver (listener path when the section names none).
 */
enum { SECCOMP_CACHE_MAX = 128 }; /* hostile bundles must not fill /run; an entry of a usual profile has 15 KiB */
int seccomp_prepare(const struct oci_spec *spec, int cache_fd, struct seccomp_filter *ret, struct err *e) MUST_CHECK;
/* The same for a section alone (exec uses the container's spec). */
int seccomp_compile(const struct oci_seccomp *s, struct seccomp_filter *ret, struct err *e) MUST_CHECK;
/* A profile that forbids execve(2) forbids the container's program: told late, by a process that may not even write any more, it would look as if the
 * program had run. -EPERM and a message then. For tiers whose filter is on before execve. */
int seccomp_check_start(const struct seccomp_filter *f, struct err *e) MUST_CHECK;
/*
 * Without no_new_privs, seccomp(2) needs CAP_SYS_ADMIN in the user namespace, so the filter is loaded before capabilities drop
 * ("early"); with it, as late as possible, right before execve. True: load early.
 */
bool seccomp_early(const struct oci_process *p);
/* In the child, single-threaded. 0, or the listener fd (CLOEXEC) when f->notify, or negative errno. Makes one system call. */
#define seccomp_load seccomp_filter_load /* libseccomp exports the short name */
int seccomp_filter_load(const struct seccomp_filter *f, struct err *e) MUST_CHECK;
/*
 * Send the container process state (runtime-spec "containerprocessstate") and the fds to the agent's AF_UNIX stream socket.
 * state_json: the container's state document as "state" prints it; pid: of the process the filter is on, as the runtime sees it; pid_fd: -EBADF or
 * a pidfd to pass along. Fd names: "seccompFd" first, then "pidFd".
 */
int seccomp_notify_send(const struct seccomp_filter *f, int listener_fd, int pid_fd, pid_t pid, const char *state_json, struct err *e) MUST_CHECK;

/* ---- probes for "features" ---------------------------------------------------------------------------------------- */
/* SECCOMP_FILTER_FLAG_* that the kernel accepts (asked once by seccomp(2) with a NULL program; nothing is loaded). */
unsigned int seccomp_kernel_flags(void);
/* Kernel has SECCOMP_MODE_FILTER and the action (SECCOMP_GET_ACTION_AVAIL). */
bool seccomp_kernel_action(uint32_t action);

/* ---- shared with tests ------------------------------------------------------------------------------------------------- */
/* Number of a system call by name on an SCMP_ARCH_* token ("AUDIT_ARCH_*" value, x32 as SCMP_ARCH_X32); -1 unknown, other
 * negative values as libseccomp's pseudo numbers (multiplexed by socketcall/ipc on that architecture). */
int seccomp_syscall_number(uint32_t arch, const char *name);
/* "SCMP_ARCH_X86" -> libseccomp's token; 0 when unknown. */
uint32_t seccomp_arch_token(const char *name);
/* base64 (RFC 4648, padding optional, no white space) -> bytes in out; -EINVAL. */
int base64_decode(const char *s, size_t n, struct strbuf *out);

#endif

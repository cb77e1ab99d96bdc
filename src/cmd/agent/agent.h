/* tierce-agent: init of the microVM. One thread, one poll loop; requests come over one ttrpc channel. */
#ifndef TIERCE_CMD_AGENT_AGENT_H
#define TIERCE_CMD_AGENT_AGENT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "confine/cgroup.h"
#include "spec/oci.h"
#include "tier/tier.h"
#include "tier/vm/agent/chan.h"

struct agent;
struct guest;

/* A process with its streams. fds are non-blocking ends of ours: pipes, or three times the pty's master. */
struct proc {
	struct proc *next;
	struct guest *guest;
	char *exec_id;        /* NULL: the container's init */
	pid_t pid;
	int pidfd;
	uint32_t stream;      /* Attach's stream, 0: not attached yet */
	int in, out, err;     /* -EBADF: none or closed */
	bool terminal;
	struct strbuf in_buf; /* from the host, not yet taken by the process */
	size_t in_at;
	bool in_eof;          /* close `in` once in_buf is through */
	uint64_t unacked_out, unacked_err;
	bool out_eof_sent, err_eof_sent, exited, exit_sent;
	int status;
	struct arena arena;   /* of its process document (exec) */
	struct oci_process process;
};

/* A container in this machine. */
struct guest {
	struct guest *next;
	char *id, *dir;       /* /run/tierce/ID */
	struct arena arena;
	struct oci_spec *spec;
	struct tier_container tc;
	struct cgroup *cgroup;
	struct cgroup_oom oom;
	uint64_t oom_kills, oom_told;
	struct proc *procs;
	bool started;
};

struct agent {
	struct chan ctl;
	int sigfd;
	struct guest *guests;
	bool shutdown;
};

/* boot.c: what init does before anything else; find a virtio-serial port by its name (an open fd or -ENOENT). */
int boot_mounts(struct err *e) MUST_CHECK;
int boot_modules(struct err *e) MUST_CHECK;
int boot_port(const char *name, int flags);
/* wake.c */
int agent_hello(struct arena *a, struct agent_hello *ret, struct err *e) MUST_CHECK;
int agent_wake(const struct agent_wake *w, struct err *e) MUST_CHECK;

/* root.c: mount the root filesystem of a new container below its directory, and take it down. */
int guest_root_mount(struct guest *g, const struct agent_root *r, struct err *e) MUST_CHECK;
void guest_root_unmount(struct guest *g);

/* fuse.c: mount the host's directories at AGENT_SHARES, once. */
int shares_mount(struct err *e) MUST_CHECK;

/* guest.c */
struct guest *guest_find(struct agent *a, const char *id);
struct proc *guest_proc(struct agent *a, const char *id, const char *exec_id, struct err *e);
int guest_create(struct agent *a, const struct agent_create *q, pid_t *ret_pid, struct err *e) MUST_CHECK;
int guest_remove(struct agent *a, const char *id, struct err *e) MUST_CHECK;
int guest_start(struct agent *a, const struct agent_ref *q, struct err *e) MUST_CHECK;
int guest_exec(struct agent *a, const struct agent_exec *q, pid_t *ret_pid, struct err *e) MUST_CHECK;
int guest_signal(struct agent *a, const struct agent_signal *q, struct err *e) MUST_CHECK;
int guest_update(struct agent *a, const struct agent_update *q, struct err *e) MUST_CHECK;
int guest_mounts(struct agent *a, const struct agent_mounts *q, struct err *e) MUST_CHECK;
int guest_freeze(struct agent *a, const char *id, bool frozen, struct err *e) MUST_CHECK;
/* Tell the host of processes that were killed for want of memory. */
void guest_oom(struct agent *a, struct guest *g);
int guest_processes(struct agent *a, const char *id, struct strbuf *out, struct err *e) MUST_CHECK;
int guest_stats(struct agent *a, const char *id, struct strbuf *out, struct err *e) MUST_CHECK;
/* A child is gone; remembers the status with whom it concerns. */
void guest_reaped(struct agent *a, pid_t pid, int status);

/* io.c: streams of one process. */
struct proc_fds { int child[3]; int console[2]; }; /* console: socketpair for the master; -EBADF without a terminal */
int proc_open(struct proc *p, bool terminal, struct proc_fds *ret, struct err *e) MUST_CHECK;
int proc_opened(struct proc *p, struct proc_fds *f, uint64_t width, uint64_t height, struct err *e) MUST_CHECK; /* after creation: takes the master, closes the child's ends */
void proc_fds_close(struct proc_fds *f);
void proc_free(struct proc *p);
int proc_resize(struct proc *p, uint64_t width, uint64_t height, struct err *e) MUST_CHECK;
unsigned proc_poll(struct agent *a, struct proc *p, struct pollfd *ret); /* up to 3 rows */
void proc_pump(struct agent *a, struct proc *p);
void proc_io(struct agent *a, struct proc *p, const struct agent_io *io);

/* service.c */
void service_frame(struct agent *a, const struct ttrpc_frame *f);
/* net.c */
int net_apply(const struct agent_network *n, struct err *e) MUST_CHECK;

#endif

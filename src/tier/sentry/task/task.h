/* Guest threads (struct task), processes (struct process), pids, sessions. Everything under the lock. */
#ifndef TIERCE_SENTRY_TASK_H
#define TIERCE_SENTRY_TASK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "tier/sentry/gate/gate.h"
#include "tier/sentry/kernel.h"
#include "tier/sentry/task/cputime.h"
#include "tier/sentry/task/cred.h"
#include "tier/sentry/task/signal.h"

struct fdtable;
struct fs_context;
struct mm;
struct tty;
struct host_as;
struct grant;
struct nsproxy;
struct seccomp_filter;

enum { PID_MAX_ = 32768 /* as Linux's default: a full table makes fork fail with EAGAIN, not the sentry grow */ };

/* Snapshot of what the gate marshalled for the current call (mm/usermem.c). */
struct window {
	uint32_t n_in, n_out, n_copy, used; /* used: bytes of the window that are taken */
	struct gate_range in[GATE_RANGES], out[GATE_RANGES];
};

struct session { unsigned refs; int sid; struct tty *tty; };
struct pgrp { unsigned refs; int pgid; struct session *session; struct list procs; struct list hash; };

struct itimer { struct ktimer timer; int64_t interval, deadline; struct process *proc; };

struct process {
	int pid;
	struct process *parent;       /* NULL for init */
	struct list children, sibling;
	struct list threads;          /* struct task.thread_node */
	unsigned n_threads;
	struct task *leader;          /* guest leader (tid == pid); may have exited (zombie leader) */
	struct pgrp *pgrp;
	struct list pgrp_node;
	struct waitq child_wait;      /* wait4 of this process, and signal stop/cont changes of its children */
	struct sigpending shared_pending;
	struct rlimit rlim[16];
	struct itimer itimer_real;
	struct { struct cpu_alarm alarm; int64_t interval; } itimer_cpu[2]; /* ITIMER_VIRTUAL, ITIMER_PROF */
	struct cpu_alarm *cpu_limit;  /* owned; RLIMIT_CPU */
	int64_t cpu_dead_ns;          /* of threads that are gone */
	struct list posix_timers;     /* sys_timer.c */
	int next_timer_id;
	bool outside_signal;          /* a default-fatal signal came from the engine: init obeys */
	bool auto_reap;               /* nobody waits for it */
	bool exiting, zombie, execed; /* execed: setpgid by the parent is refused */
	uint32_t uid;                 /* real uid, kept for the zombie */
	int exit_status;              /* wait status */
	int exit_signal;              /* to the parent: usually SIGCHLD */
	bool stopped, stop_reported, cont_reported; int stop_sig;
	bool dumpable, no_new_privs_inherited, child_subreaper;
	int pdeath_signal;
	struct waitq vfork_wait;      /* parent of a vfork child sleeps here (in the child) */
	bool vfork_pending;           /* the parent still waits for us */
	struct waitq signalfd_wait;   /* signalfds of this process: something was queued */
	struct waitq exec_wait;       /* execve waits for other threads to leave */
	struct task *execing;
	int64_t start_ns;             /* since our boot */
	struct rusage ru_children, ru_dead_threads;
	char *exe_path, *cmdline; size_t cmdline_len; /* guest names, owned */
	uint64_t mm_args[4];          /* arg_start, arg_end, env_start, env_end */
	int oom_score_adj, nice;
	void *hostctx;                /* exec from outside: struct control_exec, told the status */
};

struct task {
	int tid;
	struct process *proc;
	struct list thread_node;
	struct list hash;
	char comm[16];
	/* host side */
	struct host_as *as;           /* address space: host process, arena */
	unsigned slot;
	struct mailbox *mb;           /* our mapping of the slot */
	uint64_t slot_va;             /* where the guest has it */
	struct gate_regs *regs;       /* registers of the frame in the slot; NULL when the guest is not in a trap */
	struct gate_uc *uc;
	int host_tid;                 /* kernel-supplied, 0 before hello */
	struct grant *grant;          /* until hello */
	pthread_t thread;
	unsigned entries;             /* how often it came in: membarrier */
	bool in_guest;                /* the guest thread runs (kick it), else its twin is serving */
	bool fastcall;                /* this request came without a frame: regs points to fast_regs */
	struct gate_regs fast_regs;
	struct window window;
	uint64_t bulk_dst, bulk_src, bulk_len; /* with the next answer: gate/filemap.c */
	bool no_bulk;
	bool poked;                   /* told to look at its flags while waiting for the mailbox */
	/* sleeping */
	pthread_cond_t cond;
	bool woken, sleeping;
	struct list follower;         /* sleeping tasks that a host descriptor may wake (kernel.c) */
	/* life */
	bool unborn;                  /* the cloning thread is not done with us yet: wait for it before leaving */
	bool dying;                   /* leave at the next chance */
	bool exited;
	int exit_code;
	int thread_exit_status;
	/* shared things */
	struct cred *cred;
	struct fdtable *files;
	struct fs_context *fs;
	struct nsproxy *ns;
	struct mm *mm;
	struct sighand *sighand;
	struct sigpending pending;
	uint64_t blocked, saved_mask;
	bool restore_mask;            /* saved_mask is put back after delivery (sigsuspend, ppoll) */
	uint64_t forced;              /* synchronous signals of this trap: fatal to init too */
	uint64_t altstack_sp, altstack_size; uint32_t altstack_flags;
	uint64_t clear_child_tid, set_child_tid, robust_list;
	bool never_ran;               /* clone failed after the twin was made */
	bool no_new_privs;
	int seccomp_mode; struct seccomp_filter *seccomp; /* sys_seccomp.c; referenced */
	/* current call */
	uint64_t nr, args[6];
	bool in_syscall, no_result;   /* no_result: registers were set by the handler (sigreturn, execve) */
	long (*restart_fn)(struct task *, const uint64_t *); uint64_t restart_args[6];
	int64_t start_ns;
	unsigned long personality;
	int pdeath_signal;
	unsigned timer_slack;
	struct rusage ru_last;        /* at exit */
	char sched_policy, sched_prio;
	unsigned short ioprio;
	bool sched_reset_on_fork;
	cpu_set_t *affinity;          /* owned; NULL: all */
	void (*first)(struct task *); /* run by the twin before it serves (exec from outside) */
	void *first_arg;
	const struct cred *published; /* whose ids the gate answers with */
	int published_tid;
	uint64_t race_at; unsigned races; /* gate/patch.c */
	unsigned spin;                /* how long the twin waits awake: see gate_wait() */
	void *buf;                    /* I/O bounce buffer, TASK_BUF bytes, allocated on first use */
};
enum { TASK_BUF = 65536 };
extern __thread struct task *current_task; /* of a twin; NULL in service threads */
void *task_buf(struct task *t); /* NULL: no memory */

/* ---- ids --------------------------------------------------------------------------------------------------------- */
void pids_init(void);
int pid_alloc(void);                   /* or -EAGAIN */
int pid_last(void);                    /* given out last */
void pid_free(int pid);
void pid_bind(int pid, struct task *t);
void process_bind(int pid, struct process *p);
struct task *task_by_tid(int tid);
struct process *process_by_pid(int pid);
struct pgrp *pgrp_by_id(int pgid);
struct pgrp *pgrp_new(int pgid, struct session *s);
struct session *session_new(int sid);
struct session *session_get(struct session *s);
void session_put(struct session *s);
void process_set_pgrp(struct process *p, struct pgrp *g);
/* Iterate all processes: next pid > after, NULL at the end. */
struct process *process_next(int after);

/* ---- life -------------------------------------------------------------------------------------------------------- */
struct task *task_alloc(struct process *p);
struct process *process_alloc(void);
void task_free(struct task *t);
/* Start the twin; the task is visible from now on. */
int task_start(struct task *t);
/* Thread body of a twin. */
void *twin_main(void *arg);
/* All threads of p leave; status is the wait status. */
void process_kill(struct process *p, int status);
/* This task leaves (its twin finishes when it next looks at its flags). */
void task_mark_dying(struct task *t);
/* The twin's last act: exit duties, zombie, parent notification. Does not return to the call path. */
void task_exit(struct task *t);
void process_reparent_children(struct process *p);
void process_reap(struct process *p);   /* zombie collected: frees it */
void process_notify_parent(struct process *p, int code, int status);
/* Host died under us (reaper). */
void process_host_death(int host_pid, int status);
static inline bool task_is_leader(const struct task *t) { return t->proc->leader == t; }

struct clone_args_k { uint64_t flags, parent_tid, child_tid, stack, tls; int exit_signal; uint64_t pidfd; const int *set_tid; int n_set_tid; bool clear_sighand; };
long task_clone(struct task *t, const struct clone_args_k *c);
/* argv/envp in sentry memory; on success registers are set and no_result is true. */
struct file;
long task_exec(struct task *t, struct file *exe, const char *path, char **argv, char **envp, bool path_inaccessible);
void task_set_comm(struct task *t, const char *path);

void task_rusage(struct task *t, struct rusage *ru);
void process_rusage(struct process *p, struct rusage *ru);
void rusage_add(struct rusage *a, const struct rusage *b);

/* Check of kill(2) permission. */
bool may_signal(const struct task *t, const struct process *p, int sig);

/* Call dispatch (abi/dispatch.c). */
long dispatch(struct task *t);

#endif

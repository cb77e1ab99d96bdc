/* What other families do when a task or process ends. */
#ifndef TIERCE_SENTRY_EXIT_H
#define TIERCE_SENTRY_EXIT_H

#include "tier/sentry/task/task.h"

void process_vfork_done(struct process *p);
void process_exit_duties(struct task *t);          /* exit_group: what can still touch the guest, before it is killed */
int pidfd_pid(struct task *t, int fd);             /* sys_pidfd.c: pid behind a pidfd or -EBADF */
long pidfd_new(struct task *t, struct process *p, unsigned nonblock); /* a descriptor in t's table */
void pidfd_exited(void);                           /* somebody became a zombie */
void mq_process_exit(struct process *p);           /* sys_mq.c */
struct mq_limits { int msg_default, msg_max, msgsize_default, msgsize_max, queues_max; };
extern struct mq_limits mq_limits; /* /proc/sys/fs/mqueue */
void tty_session_gone(struct session *s);          /* fs/tty.c: SIGHUP to the foreground group, terminal freed */
void posix_timers_drop(struct process *p);         /* sys_timer.c */
void control_exec_done(struct process *p, int status); /* control.c */
void signalfd_notify(struct process *p);           /* fs/eventfds.c: something was queued */
struct seccomp_filter;
void seccomp_put(struct seccomp_filter *f);        /* sys_seccomp.c */
struct seccomp_filter *seccomp_get(struct seccomp_filter *f);
/* Does the task's filter let its call through? false: *ret is the answer (or the task is on its way out). */
bool seccomp_allows(struct task *t, long *ret);
struct sock_filter;
/* The profile of the configuration, for a task that has not run yet: holds from its first call. */
int seccomp_profile(struct task *t, const struct sock_filter *insn, size_t n);
unsigned seccomp_count(const struct seccomp_filter *f);
long seccomp_prctl(struct task *t, uint64_t mode, uint64_t prog);
void ipc_task_exit(struct task *t, bool last);     /* sys_sem.c: semaphore undo */
void sem_undo_now(struct task *t);
struct mm;
void aio_mm_gone(struct mm *m);                    /* sys_aio.c */
struct shm_segment;
void shm_attached(struct shm_segment *s);          /* sys_shm.c */
void shm_detached(struct shm_segment *s);

#endif

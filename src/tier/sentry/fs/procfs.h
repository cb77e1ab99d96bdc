/* procfs inside the room: nodes are rows of tables, content is made when a file is opened. */
#ifndef TIERCE_SENTRY_PROCFS_H
#define TIERCE_SENTRY_PROCFS_H

#include "base/str.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* Whose file: process pid (and thread tid, fd number) when they are not 0. */
struct proc_ctx { struct task *reader; int pid, tid, fd; };

struct proc_entry {
	const char *name;
	uint32_t mode;                                   /* type and permission */
	int (*show)(const struct proc_ctx *c, struct strbuf *out);
	ssize_t (*store)(const struct proc_ctx *c, const char *buf, size_t n);
	const struct proc_entry *children;               /* static directory */
	int (*dynamic)(const struct proc_ctx *c, int after); /* directory of numbers: next one > after, or -1 */
	const struct proc_entry *each;                   /* row of every such number (its name is ignored) */
	int (*jump)(const struct proc_ctx *c, struct path *ret);            /* magic link */
	ssize_t (*text)(const struct proc_ctx *c, char *buf, size_t size);  /* link text */
};
enum { PROC_KEY_PID = 1, PROC_KEY_TID, PROC_KEY_FD };

extern const struct proc_entry proc_root_entries[], proc_pid_entry, proc_task_entry, proc_sys_entries[], proc_net_entries[];
struct process *proc_process(const struct proc_ctx *c); /* NULL: gone */
struct task *proc_task(const struct proc_ctx *c);       /* the thread, or one that stands for the process */
int procfs_dir_pid(const struct file *f); /* of a descriptor of /proc/PID; 0: none */
int proc_copy_host(const char *name, struct strbuf *out);

#endif

/* Families that are not here yet: each function moves to its own file when the family is built. */
#include <errno.h>

#include "tier/sentry/fs/hosttty.h"
#include "tier/sentry/fs/tty.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

/* vfs/locks.c */
void locks_release_file(struct task *t, struct file *f) { (void)t, (void)f; }
void locks_release_owner(struct task *t, struct inode *i) { (void)t, (void)i; }
/* fs/inotify.c */
void inotify_event(struct inode *dir, const char *name, struct inode *i, uint32_t mask, uint32_t cookie) { (void)dir, (void)name, (void)i, (void)mask, (void)cookie; }
/* sys_timer.c */
void posix_timers_drop(struct process *p) { (void)p; }
/* sys_seccomp.c */
void seccomp_task_exit(struct task *t) { (void)t; }
/* sys_ipc.c */
void ipc_task_exit(struct task *t, bool last) { (void)t, (void)last; }
/* fs/tty.c */
void tty_session_gone(struct session *s) { s->tty = NULL; }
int tty_open_current(struct task *t, struct inode *i, struct file *f) { (void)t, (void)i, (void)f; return -ENXIO; }
int tty_open_console(struct task *t, struct inode *i, struct file *f) { (void)t, (void)i, (void)f; return -ENXIO; }
int ptmx_open(struct task *t, struct inode *i, struct file *f) { (void)t, (void)i, (void)f; return -ENXIO; }
int pts_open(struct task *t, unsigned n, struct file *f) { (void)t, (void)n, (void)f; return -ENXIO; }
int hosttty_check(struct task *t, struct file *f, bool write) { (void)t, (void)f, (void)write; return 0; }
/* sys_pidfd.c */
int pidfd_pid(struct task *t, int fd) { (void)t, (void)fd; return -EBADF; }
struct super *devpts_mount(void) { int rc; return tmpfs_mount("", &rc); }
/* vfs/locks.c */
long fcntl_lock(struct task *t, struct file *f, unsigned cmd, uint64_t arg) { (void)t, (void)f, (void)cmd, (void)arg; return 0; }
int tty_adopt_host(struct task *t, struct file *f) { (void)t, (void)f; return 0; }
struct super *overlay_mount(struct super *lower) { return lower; }
#include "tier/sentry/confine.h"
bool hosttty_signal(int sig, bool from_kernel) { (void)sig, (void)from_kernel; return false; }

/* Families that are not here yet: each function moves to its own file when the family is built. */
#include <errno.h>

#include "tier/sentry/fs/hosttty.h"
#include "tier/sentry/fs/tty.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

/* sys_seccomp.c */
void seccomp_task_exit(struct task *t) { (void)t; }
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
int tty_adopt_host(struct task *t, struct file *f) { (void)t, (void)f; return 0; }
struct super *overlay_mount(struct super *lower) { return lower; }
#include "tier/sentry/confine.h"
bool hosttty_signal(int sig, bool from_kernel) { (void)sig, (void)from_kernel; return false; }

/* Terminals: host terminals handed in from outside and the sentry's own ptys. */
#ifndef TIERCE_SENTRY_TTY_H
#define TIERCE_SENTRY_TTY_H

#include "tier/sentry/vfs/vfs.h"

struct session;
struct tty;
int tty_open_slave(struct task *t, struct tty *y, unsigned flags, struct file **ret); /* TIOCGPTPEER */
int tty_open_current(struct task *t, struct inode *i, struct file *f); /* /dev/tty */
int tty_open_console(struct task *t, struct inode *i, struct file *f); /* /dev/console */
int ptmx_open(struct task *t, struct inode *i, struct file *f);
int pts_open(struct task *t, unsigned n, struct file *f);
/* The host terminal of fd 0 of a container with a terminal becomes the session's controlling one. */
int tty_adopt_host(struct task *t, struct file *f);
struct dentry *pinned_node(struct dentry *dir, const char *name, uint32_t mode, uint32_t rdev);

#endif

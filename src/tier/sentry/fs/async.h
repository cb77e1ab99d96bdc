/* Signals of files. */
#ifndef TIERCE_SENTRY_ASYNC_H
#define TIERCE_SENTRY_ASYNC_H

#include "tier/sentry/vfs/vfs.h"

enum { OWNER_NONE, OWNER_PID, OWNER_PGRP, OWNER_TID };
/* To the owner of the file: the signal of F_SETSIG with details, or `fallback` without. */
void file_signal(struct file *f, int fd, int fallback, int code, int band);
int async_set(struct file *f, int fd, bool on); /* O_ASYNC changed */
void async_forget(struct file *f);              /* last reference */
void file_default_owner(struct task *t, struct file *f);
long file_setown(struct task *t, struct file *f, int who);
long file_setown_ex(struct task *t, struct file *f, uint64_t arg);
long file_getown_ex(struct task *t, const struct file *f, uint64_t arg);

/* vfs/lease.c: F_SETLEASE, F_GETLEASE, and the waiting of whoever breaks one. */
long lease_set(struct task *t, struct file *f, int fd, int type);
int lease_get(const struct file *f);
/* Before an open or truncate: 0, -EAGAIN (O_NONBLOCK), -ERESTARTSYS. */
int lease_break(struct task *t, struct inode *i, unsigned flags);
void lease_forget(struct file *f);
/* F_NOTIFY on a directory. */
long dnotify_set(struct task *t, struct file *f, int fd, uint64_t mask);
void dnotify_event(struct inode *dir, uint32_t inotify_mask);
void dnotify_forget(struct file *f);

#endif

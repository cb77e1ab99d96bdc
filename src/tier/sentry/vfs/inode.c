/* Inodes: life, attributes, permissions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

struct inode *inode_new(struct super *sb, uint32_t mode, const struct inode_ops *ops, const struct file_ops *fops)
{
	struct inode *i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	i->refs = 1;
	i->sb = sb;
	i->ops = ops;
	i->fops = fops;
	i->mode = mode;
	i->nlink = S_ISDIR(mode) ? 2 : 1;
	i->ino = sb ? ++sb->next_ino : 0;
	list_init(&i->locks);
	list_init(&i->watches);
	list_init(&i->leases);
	waitq_init(&i->lock_wait);
	inode_touch(i, ATTR_ATIME | ATTR_MTIME);
	i->btime = i->mtime;
	return i;
}

struct inode *inode_get(struct inode *i)
{
	i->refs++;
	return i;
}

void inode_put(struct inode *i)
{
	if (!i || --i->refs)
		return;
	if (i->ops && i->ops->release)
		i->ops->release(i);
	free(i);
}

void inode_touch(struct inode *i, unsigned which)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (which & ATTR_ATIME)
		i->atime = now;
	if (which & ATTR_MTIME)
		i->mtime = i->ctime = now;
	if (which & (ATTR_MODE | ATTR_UID | ATTR_GID))
		i->ctime = now;
}

void inode_drop_privs(struct task *t, struct inode *i)
{
	struct kstat st;
	if (!t || !is_reg(i) || !(i->mode & (S_ISUID | S_ISGID)) || inode_getattr(i, &st) < 0)
		return;
	uint32_t drop = (st.mode & S_ISUID) | (st.mode & S_IXGRP ? st.mode & S_ISGID : 0);
	if (!drop || capable(t, CAP_FSETID) || !i->ops || !i->ops->setattr)
		return;
	struct iattr a = { .valid = ATTR_MODE, .mode = st.mode & 07777 & ~drop };
	i->ops->setattr(t, i, &a);
	i->mode &= ~drop;
}

void file_accessed(struct file *f)
{
	struct inode *i = f->inode;
	unsigned long flags = f->path.mnt ? f->path.mnt->flags : MS_RELATIME;
	if ((f->flags & O_NOATIME) || (flags & MS_NOATIME) || ((flags & MS_NODIRATIME) && is_dir(i)) || (f->path.mnt && mnt_want_write(&f->path) < 0))
		return;
	if (flags & MS_RELATIME) { /* at most once a day unless the file changed since (mount(8)) */
		struct timespec now;
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (ts_ns(i->atime) > ts_ns(i->mtime) && ts_ns(i->atime) > ts_ns(i->ctime) && now.tv_sec - i->atime.tv_sec < 86400)
			return;
	}
	inode_touch(i, ATTR_ATIME);
}

void stat_to_kstat(const struct stat *st, struct kstat *k)
{
	*k = (struct kstat){ .ino = st->st_ino, .nlink = st->st_nlink, .size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks,
		.blksize = (uint64_t)st->st_blksize, .dev = (uint32_t)st->st_dev, .mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev, .atime = st->st_atim, .mtime = st->st_mtim, .ctime = st->st_ctim };
}

int inode_getattr(struct inode *i, struct kstat *st)
{
	if (i->ops && i->ops->getattr)
		return i->ops->getattr(i, st);
	*st = (struct kstat){ .ino = i->ino, .nlink = i->nlink, .size = (uint64_t)i->size, .blocks = (uint64_t)(i->size + 511) / 512, .blksize = 4096,
		.dev = i->sb ? i->sb->dev : 0, .mode = i->mode, .uid = i->uid, .gid = i->gid, .rdev = i->rdev,
		.atime = i->atime, .mtime = i->mtime, .ctime = i->ctime, .btime = i->btime };
	return 0;
}

int cred_permission(const struct cred *c, struct inode *i, int mask)
{
	struct kstat st;
	int rc = inode_getattr(i, &st);
	if (rc)
		return rc;
	unsigned bits = st.mode & 7;
	if (c->fsuid == st.uid)
		bits = st.mode >> 6 & 7;
	else if (cred_in_group(c, st.gid))
		bits = st.mode >> 3 & 7;
	if ((bits & (unsigned)mask) == (unsigned)mask)
		return 0;
	if (ns_to_uid(c->user, st.uid) == NO_ID || ns_to_gid(c->user, st.gid) == NO_ID)
		return -EACCES; /* no capability of a user namespace reaches owners that it does not map */
	if (S_ISDIR(st.mode)) {
		if (cred_cap(c, CAP_DAC_OVERRIDE))
			return 0;
		if (!(mask & W_OK) && cred_cap(c, CAP_DAC_READ_SEARCH))
			return 0;
		return -EACCES;
	}
	if (mask == R_OK && cred_cap(c, CAP_DAC_READ_SEARCH))
		return 0;
	if ((!(mask & X_OK) || (st.mode & 0111)) && cred_cap(c, CAP_DAC_OVERRIDE))
		return 0;
	return -EACCES;
}

int inode_permission(struct task *t, struct inode *i, int mask)
{
	if (!mask)
		return 0;
	if (i->ops && i->ops->permission)
		return i->ops->permission(t, i, mask);
	return cred_permission(t->cred, i, mask);
}

bool inode_owner_or_cap(const struct task *t, const struct inode *i)
{
	struct kstat st;
	struct inode *w = container_of(&i->refs, struct inode, refs);
	if (inode_getattr(w, &st) < 0)
		return false;
	return t->cred->fsuid == st.uid || (ns_to_uid(t->cred->user, st.uid) != NO_ID && ns_capable_here(t, CAP_FOWNER));
}

void inode_new_owner(struct task *t, struct inode *dir, uint32_t *mode, uint32_t *uid, uint32_t *gid)
{
	struct kstat st;
	*uid = t->cred->fsuid;
	*gid = t->cred->fsgid;
	if (inode_getattr(dir, &st) == 0 && (st.mode & S_ISGID)) {
		*gid = st.gid;
		if (S_ISDIR(*mode))
			*mode |= S_ISGID;
	}
	if (!S_ISDIR(*mode) && (*mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !cred_in_group(t->cred, *gid) && !capable_over(t, CAP_FSETID, *uid, *gid))
		*mode &= ~(uint32_t)S_ISGID;
}

int dir_may_delete(struct task *t, struct inode *dir, struct inode *victim)
{
	struct kstat d, v;
	int rc = inode_permission(t, dir, W_OK | X_OK);
	if (rc || (rc = inode_getattr(dir, &d)) || (rc = inode_getattr(victim, &v)))
		return rc;
	if ((d.mode & S_ISVTX) && t->cred->fsuid != v.uid && t->cred->fsuid != d.uid && !capable_over(t, CAP_FOWNER, v.uid, v.gid))
		return -EPERM;
	return 0;
}

static void attr_fields(struct inode *i, const struct iattr *a)
{
	if (a->valid & ATTR_MODE)
		i->mode = (i->mode & S_IFMT) | (a->mode & 07777);
	if (a->valid & ATTR_UID)
		i->uid = a->uid;
	if (a->valid & ATTR_GID)
		i->gid = a->gid;
	if (a->valid & ATTR_ATIME)
		i->atime = a->atime;
	if (a->valid & ATTR_MTIME)
		i->mtime = a->mtime;
	clock_gettime(CLOCK_REALTIME_COARSE, &i->ctime);
}

int inode_setattr(struct task *t, struct inode *i, struct iattr *a)
{
	struct kstat st;
	int rc = inode_getattr(i, &st);
	if (rc)
		return rc;
	if ((a->valid & (ATTR_MODE | ATTR_UID | ATTR_GID)) && (i->inode_flags & INODE_IMMUTABLE))
		return -EPERM;
	if (a->valid & ATTR_MODE) {
		if (t->cred->fsuid != st.uid && !capable_over(t, CAP_FOWNER, st.uid, st.gid))
			return -EPERM;
		if (!cred_in_group(t->cred, a->valid & ATTR_GID ? a->gid : st.gid) && !capable_over(t, CAP_FSETID, st.uid, st.gid))
			a->mode &= ~(uint32_t)S_ISGID;
	}
	bool may_chown = capable_over(t, CAP_CHOWN, st.uid, st.gid);
	if ((a->valid & ATTR_UID) && !may_chown && (t->cred->fsuid != st.uid || a->uid != st.uid))
		return -EPERM;
	if ((a->valid & ATTR_GID) && !may_chown &&
	    (t->cred->fsuid != st.uid || (a->gid != st.gid && !cred_in_group(t->cred, a->gid))))
		return -EPERM;
	if ((a->valid & (ATTR_UID | ATTR_GID)) && !(a->valid & ATTR_MODE) && S_ISREG(st.mode)) {
		uint32_t drop = S_ISUID | (st.mode & S_IXGRP ? S_ISGID : 0);
		if (st.mode & drop) { /* chown takes set-id bits away */
			a->valid |= ATTR_MODE;
			a->mode = st.mode & ~drop;
		}
	}
	if (i->ops && i->ops->setattr)
		return i->ops->setattr(t, i, a);
	if (a->valid & ATTR_SIZE)
		return -EINVAL;
	attr_fields(i, a);
	return 0;
}

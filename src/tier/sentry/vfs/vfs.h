/*
 * The virtual file system: inodes, dentries, mounts, open files, fd tables. Everything under the kernel lock.
 *
 * An inode is an object with identity (locks, watches, pipes and sockets hang on it). A dentry is a name in a directory; dentries of in-memory file systems
 * are authoritative and pinned while the file exists, dentries of host directories are a cache that is revalidated at each walk
 * (SUPER_REVALIDATE), so that other writers of a volume are seen. A mount attaches a root dentry to a dentry of another mount.
 * A path is (mount, dentry), both referenced.
 *
 * References: X_get() adds one, X_put() drops one; functions that return a pointer through ret_/return value hand over a reference unless
 * "borrowed" is said.
 */
#ifndef TIERCE_SENTRY_VFS_H
#define TIERCE_SENTRY_VFS_H

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "tier/sentry/kernel.h"
#include "tier/sentry/list.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/cred.h"

struct task;
struct userns;
struct super;
struct pipe;
struct unix_sock;
struct file;
struct inode;
struct dentry;
struct mount;

enum { DT_CHR_ = 2, DT_DIR_ = 4 };
enum { NAME_MAX_ = 255, PATH_MAX_ = 4096, SYMLINKS_MAX = 40, FD_MAX = 1 << 20 /* bounds a table */ };

/* ---- super blocks and mounts --------------------------------------------------------------------------------------- */

enum {
	SUPER_REVALIDATE = 1, /* names are checked with ops->revalidate at each walk */
	SUPER_RDONLY = 2, SUPER_NODEV = 4,
	SUPER_STABLE = 16,    /* nobody but us changes names: checked once a clock tick */
	SUPER_PINNED = 8,     /* dentries are the directory: they live until unlinked */
};
struct super_ops {
	bool (*revalidate)(struct inode *dir, const char *name, struct inode *i);
	int (*statfs)(struct super *sb, struct statfs *st);
	void (*destroy)(struct super *sb);
	int (*show_options)(struct super *sb, char *buf, size_t size);
};
struct super {
	unsigned refs;
	const char *type;           /* "tmpfs", static */
	const struct super_ops *ops;
	unsigned flags;
	uint32_t dev;               /* st_dev, major:minor as 0:N */
	struct inode *root;
	struct dentry *root_dentry; /* shared by all mounts of this super */
	uint64_t next_ino;
	void *priv;
};
struct mount {
	unsigned refs;
	int id;
	struct super *sb;
	struct dentry *root;
	struct mount *parent;       /* NULL: root of the tree */
	struct dentry *point;       /* in parent */
	unsigned long flags;        /* MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC|MS_NOATIME... */
	char *source;
	struct mntns *ns;           /* NULL: detached */
	struct list ns_node, all;
	int group, master;          /* peer group, group that it is a slave of; 0: none */
	bool unbindable, expiring;
	unsigned writers;           /* files open for writing: no change to read-only */
	bool locked_atime;          /* so is how access times are kept */
	bool locked;                /* came from a more privileged namespace: neither removed nor (locked_flags) loosened here */
	unsigned long locked_flags;
};
struct mntns { unsigned refs; uint32_t inum; struct userns *user; struct mount *root; struct list mounts; unsigned n_mounts; };

struct path { struct mount *mnt; struct dentry *d; };
#define PATH_NONE { NULL, NULL }
#define _cleanup_path_ CLEANUP(path_put)
void path_get(const struct path *p);
void path_put(struct path *p);      /* clears; NULL members are fine */
struct path path_copy(const struct path *p);

struct super *super_new(const char *type, const struct super_ops *ops, unsigned flags);
void super_put(struct super *sb);
/* New mount of sb at `at` (NULL: becomes the root of ns). */
int mntns_attach(struct mntns *ns, struct super *sb, struct dentry *root, const struct path *at, unsigned long flags, const char *source, struct mount **ret_borrowed);
/* refs_of_caller: references that do not make it busy. Peers of its place lose theirs too. */
int mount_detach(struct mount *m, bool lazy, unsigned refs_of_caller);
enum { MOUNTS_MAX = 100000 /* fs.mount-max of Linux */, COPY_TREE = 1, COPY_UNBINDABLE = 2, COPY_LOCK = 4 };
/* A detached copy of m from `root` on (COPY_TREE: with what is mounted below) as a tree of its own. */
int mount_copy(struct mount *m, struct dentry *root, unsigned how, struct userns *user, struct mntns **ret, struct path *fixup[], size_t n_fixup);
/* Attach a detached tree; takes it, even on failure. Propagates to the peers of the place. */
int mount_graft(struct mntns *tree, const struct path *at);
int mount_lift(struct mount *top, struct mntns **ret);
void mntns_swap(struct mntns *ns, struct mntns *tree, struct mntns *rest);
void mount_set_propagation(struct mount *m, unsigned long type); /* MS_SHARED ... */
struct mount *mount_get(struct mount *m);
void mount_put(struct mount *m);
struct mntns *mntns_new(struct userns *user);
/* A copy that belongs to `user`; paths into the old one (roots, working directories) are moved to the copies. */
struct mntns *mntns_dup(struct mntns *ns, struct userns *user, struct path *fixup[], size_t n_fixup);
void mntns_put(struct mntns *ns);
struct mount *mount_at(const struct path *p); /* topmost mounted on p, borrowed, or NULL */

/* ---- inodes ---------------------------------------------------------------------------------------------------------- */

struct iattr { unsigned valid; uint32_t mode, uid, gid; int64_t size; struct timespec atime, mtime; bool kill_priv; };
enum { ATTR_MODE = 1, ATTR_UID = 2, ATTR_GID = 4, ATTR_SIZE = 8, ATTR_ATIME = 16, ATTR_MTIME = 32 };

struct kstat {
	uint64_t ino, nlink, size, blocks, blksize;
	uint32_t dev, mode, uid, gid, rdev;
	struct timespec atime, mtime, ctime, btime;
};

/* NULL members: the operation does not exist (-EPERM for changes of directories, -EINVAL/-ENODATA/-EOPNOTSUPP as Linux does). Names are
 * single components, valid length, not "." or "..". Permission was checked by the caller (vfs), sticky bits included. */
struct inode_ops {
	int (*lookup)(struct inode *dir, const char *name, struct inode **ret);
	int (*create)(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret);
	int (*mkdir)(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret);
	int (*mknod)(struct task *t, struct inode *dir, const char *name, uint32_t mode, uint32_t rdev, struct inode **ret);
	int (*symlink)(struct task *t, struct inode *dir, const char *name, const char *target, struct inode **ret);
	int (*link)(struct inode *dir, const char *name, struct inode *target);
	int (*unlink)(struct inode *dir, const char *name, struct inode *victim);
	int (*rmdir)(struct inode *dir, const char *name, struct inode *victim);
	/* victim: what is replaced, or NULL; flags RENAME_* */
	int (*rename)(struct inode *od, const char *on, struct inode *nd, const char *nn, struct inode *what, struct inode *victim, unsigned flags);
	int (*tmpfile)(struct task *t, struct inode *dir, uint32_t mode, struct inode **ret);
	ssize_t (*readlink)(struct task *t, struct inode *i, char *buf, size_t size);  /* NUL not added */
	int (*magic)(struct task *t, struct inode *i, struct path *ret);               /* /proc/PID/{fd/N,exe,cwd,root}: jumps instead of readlink */
	int (*getattr)(struct inode *i, struct kstat *st);                             /* NULL: from the inode's fields */
	int (*setattr)(struct task *t, struct inode *i, const struct iattr *a);        /* NULL: fields only, no size change */
	int (*permission)(struct task *t, struct inode *i, int mask);                  /* NULL: mode bits */
	int (*open)(struct task *t, struct inode *i, struct file *f);                  /* sets f->ops, f->priv; NULL: inode's fops */
	ssize_t (*getxattr)(struct inode *i, const char *name, void *buf, size_t size);
	int (*setxattr)(struct inode *i, const char *name, const void *buf, size_t size, int flags);
	ssize_t (*listxattr)(struct inode *i, char *buf, size_t size);
	int (*removexattr)(struct inode *i, const char *name);
	int (*fsync)(struct inode *i);
	void (*release)(struct inode *i);                                              /* last reference */
};

struct inode {
	unsigned refs;
	struct super *sb;           /* not referenced: the super outlives its inodes */
	const struct inode_ops *ops;
	const struct file_ops *fops;
	uint64_t ino;
	uint32_t mode, uid, gid, rdev, nlink;
	int64_t size;
	struct timespec atime, mtime, ctime, btime;
	void *priv;
	struct pipe *pipe;          /* opened FIFO */
	struct unix_sock *sock;     /* bound socket */
	struct list locks;          /* struct file_lock: flock, POSIX, OFD (vfs/locks.c) */
	struct list watches;        /* inotify (fs/inotify.c) */
	struct list leases;         /* vfs/lease.c */
	unsigned opens;             /* open files of a regular file: leases */
	struct waitq lock_wait;
	int writers;                /* open for writing, < 0: running as a program (ETXTBSY) */
	unsigned seals;             /* memfd */
	unsigned inode_flags;
};
enum { INODE_IMMUTABLE = 1, INODE_APPEND = 2, INODE_MEMFD = 4, INODE_ANON = 8 };

struct inode *inode_new(struct super *sb, uint32_t mode, const struct inode_ops *ops, const struct file_ops *fops);
struct inode *inode_get(struct inode *i);
void inode_put(struct inode *i);
void file_accessed(struct file *f);                /* atime, as the mount wants it (noatime, relatime) */
void inode_drop_privs(struct task *t, struct inode *i); /* its content was changed by somebody who may not keep set-id bits */
void inode_touch(struct inode *i, unsigned which); /* ATTR_ATIME|ATTR_MTIME: now; ctime with mtime */
int inode_getattr(struct inode *i, struct kstat *st);
int inode_setattr(struct task *t, struct inode *i, struct iattr *a); /* with permission checks of chmod/chown/truncate */
int inode_permission(struct task *t, struct inode *i, int mask);     /* R_OK|W_OK|X_OK by fsuid and capabilities */
int cred_permission(const struct cred *c, struct inode *i, int mask);
/* Owner and mode of something new in dir: fs ids, set-group-ID directories; mode already has the umask applied. */
void inode_new_owner(struct task *t, struct inode *dir, uint32_t *mode, uint32_t *uid, uint32_t *gid);
int dir_may_delete(struct task *t, struct inode *dir, struct inode *victim); /* write + search + sticky */
bool inode_owner_or_cap(const struct task *t, const struct inode *i);

/* ---- dentries -------------------------------------------------------------------------------------------------------- */

struct dentry {
	unsigned refs;
	struct dentry *parent;      /* referenced; itself for a root */
	struct inode *inode;        /* referenced; never NULL */
	struct list children, sibling, hash;
	struct super *sb;
	uint64_t seq;               /* readdir position of pinned dentries */
	bool unlinked, pinned;
	unsigned mounted;           /* mounts on it */
	char *name;
	struct list lru;            /* host directories: kept for the next walk, with a reference */
	int64_t checked;            /* SUPER_STABLE: the clock tick in which the name was last compared with the host */
};
void dentry_lru_flush(const struct super *sb);
struct dentry *dentry_root(struct super *sb, struct inode *root);
struct dentry *dentry_get(struct dentry *d);
void dentry_put(struct dentry *d);
/* Child by name: cache, then lookup. -ENOENT. */
int dentry_lookup(struct dentry *dir, const char *name, struct dentry **ret);
/* Add a child that was just created; takes the inode reference. For pinned file systems the dentry keeps itself alive. */
struct dentry *dentry_add(struct dentry *dir, const char *name, struct inode *inode);
void dentry_drop(struct dentry *d);   /* unlinked or replaced: no longer found by name */
void dentry_move(struct dentry *d, struct dentry *newdir, const char *name);
void dentry_forget_children(struct dentry *d);

/* ---- walking --------------------------------------------------------------------------------------------------------- */

enum {
	WALK_FOLLOW = 1,       /* follow a symlink in the last component */
	WALK_DIRECTORY = 2,    /* result must be a directory */
	WALK_EMPTY = 4,        /* "" is the start itself (AT_EMPTY_PATH) */
	WALK_BENEATH = 8, WALK_IN_ROOT = 16, WALK_NO_XDEV = 32, WALK_NO_MAGIC = 64, WALK_NO_SYMLINKS = 128, /* openat2 */
	WALK_PARENT_SLASH = 256,
	WALK_EFFECTIVE_REAL = 512, /* access(2): real ids */
};
/* start: where relative paths begin (NULL: cwd). */
int path_walk(struct task *t, const struct path *start, const char *name, unsigned flags, struct path *ret);
/* The parent directory of the last component, which is copied to last (255 bytes and NUL); *ret_slash: it ended in '/'.
 * "." and ".." and "/" as last component are returned as such in last ("" for "/"). */
int path_parent(struct task *t, const struct path *start, const char *name, unsigned flags, struct path *ret, char last[256], bool *ret_slash);
/* dirfd of an *at call -> start path (referenced). AT_FDCWD: cwd. -EBADF; -ENOTDIR is left to the walk. */
int path_at(struct task *t, int dirfd, const char *name, struct path *ret);
/* path_at and walk together, path in guest memory. */
int path_user(struct task *t, int dirfd, uint64_t name, unsigned flags, struct path *ret);
/* Absolute name as seen from `root`; "(unreachable)" prefix and " (deleted)" suffix as Linux writes them. Length or -ENAMETOOLONG. */
int path_name(const struct path *p, const struct path *root, char *buf, size_t size);
struct path path_parent_of(const struct path *p, const struct path *root); /* ".." across mounts */
/* Down through mounts on p. */
void path_enter_mounts(struct path *p);
int mnt_want_write(const struct path *p); /* -EROFS */

/* ---- open files ------------------------------------------------------------------------------------------------------ */

struct poll_table {
	void (*add)(struct poll_table *pt, struct waitq *q); /* NULL: only the state is asked for */
	unsigned want;                                       /* the events that matter, 0: all; others may be left out of the answer */
};
static inline void poll_wait(struct poll_table *pt, struct waitq *q) { if (pt && pt->add) pt->add(pt, q); }

struct dirctx { int (*emit)(struct dirctx *c, const char *name, size_t len, uint64_t ino, unsigned type, int64_t next_off); }; /* non-zero: full, stop */

struct file_ops {
	/* pos: NULL for streams; the vfs passes &f->pos or a local copy (pread). Result: bytes or -errno. Blocking is the op's own
	 * business: honour O_NONBLOCK in f->flags, sleep with task_sleep(), return -ERESTARTSYS when nothing was transferred. */
	ssize_t (*read)(struct task *t, struct file *f, struct uio *u, int64_t *pos);
	ssize_t (*write)(struct task *t, struct file *f, struct uio *u, int64_t *pos);
	int (*readdir)(struct task *t, struct file *f, struct dirctx *c); /* from f->pos on */
	unsigned (*poll)(struct file *f, struct poll_table *pt);          /* NULL: always POLLIN|POLLOUT */
	long (*ioctl)(struct task *t, struct file *f, unsigned cmd, uint64_t arg); /* -ENOTTY */
	int (*mmap_fd)(struct file *f, int prot, int flags);              /* borrowed host fd for the mapping; NULL: -ENODEV */
	int64_t (*llseek)(struct task *t, struct file *f, int64_t off, int whence); /* NULL: generic by size */
	int (*fsync)(struct file *f, bool datasync);
	long (*fallocate)(struct task *t, struct file *f, int mode, int64_t off, int64_t len);
	int (*flags_changed)(struct file *f, unsigned old);               /* F_SETFL */
	int (*flush)(struct task *t, struct file *f);                     /* each close(2) */
	void (*release)(struct file *f);
	/* a line for /proc/PID/fdinfo */
	int (*fdinfo)(struct file *f, char *buf, size_t size);
};

struct file {
	unsigned refs;
	const struct file_ops *ops;
	struct path path;           /* may be empty for anonymous objects */
	struct inode *inode;        /* referenced, never NULL */
	unsigned flags;             /* O_ACCMODE|O_APPEND|O_NONBLOCK|O_DIRECT|O_PATH|... */
	bool can_read, can_write, stream; /* stream: no position, lseek is ESPIPE */
	int64_t pos;
	void *priv;
	int host_fd;                /* -EBADF when there is none */
	struct list epolls;         /* struct epitem that watch it (fs/epoll.c) */
	int owner, owner_sig, owner_type; /* F_SETOWN, F_SETSIG: fs/async.h */
	uint32_t owner_uid, owner_euid;   /* of who set it */
	struct async *async;        /* O_ASYNC */
	char *anon_name;            /* "pipe:[17]", "anon_inode:[eventpoll]"; owned; NULL: path */
	unsigned reads;             /* host files: gate/filemap.c */
	bool noctty;                /* O_NOCTTY of the open that makes it */
	bool deny_write;            /* an execve's reference */
	bool counted;               /* among its mount's writers */
	bool opened;                /* among its inode's opens; its close is told to watchers */
	struct mntns *tree;         /* open_tree, fsmount: a detached tree that goes with this file; owned */
};
struct file *file_new(struct inode *i, const struct file_ops *ops, unsigned flags); /* takes the inode reference, even on failure */
struct file *file_get(struct file *f);
void file_put(struct file *f);
/* Open what is at p. flags O_*; permission is checked unless O_PATH or `checked`. */
int file_open(struct task *t, const struct path *p, unsigned flags, bool checked, struct file **ret);
/* openat2 in whole. resolve: WALK_* bits. */
int file_openat(struct task *t, const struct path *start, const char *name, unsigned flags, uint32_t mode, unsigned resolve, struct file **ret);
/* For inner use: as the sentry (no checks), absolute from the task's root. */
int file_mmap_fd(struct file *f, int prot, int flags);
ssize_t file_pread_kernel(struct task *t, struct file *f, void *buf, size_t n, int64_t off);
unsigned file_poll(struct file *f, struct poll_table *pt);
ssize_t file_read(struct task *t, struct file *f, struct uio *u, int64_t *pos);
ssize_t file_write(struct task *t, struct file *f, struct uio *u, int64_t *pos);
/* An inode without a place: pipes, sockets, event fds. */
struct inode *anon_inode_new(uint32_t mode);
struct file *anon_file_new(const char *name, const struct file_ops *ops, void *priv, unsigned flags); /* NULL: no memory */
extern struct super *anon_super;
/* A path for an object without one, so that /proc/PID/fd/N can be opened and stat'ed. */
int file_anon_path(const struct file *f, struct path *ret);

/* ---- fd tables ------------------------------------------------------------------------------------------------------- */

struct fdslot { struct file *f; bool cloexec; };
struct fdtable { unsigned refs; struct fdslot *v; unsigned cap, hint; };
struct fdtable *fdtable_new(void);
struct fdtable *fdtable_dup(struct fdtable *ft);
void fdtable_put(struct task *t, struct fdtable *ft);
void fdtable_close_exec(struct task *t);
/* Borrowed until the lock is dropped; take file_get() to keep it. NULL: -EBADF. O_PATH files are hidden by fd_file(). */
struct file *fd_file(struct task *t, int fd);
struct file *fd_file_any(struct task *t, int fd);
/* Lowest free >= min within RLIMIT_NOFILE; takes the file reference on success. fd or -EMFILE. */
int fd_install(struct task *t, struct file *f, bool cloexec, int min);
int fd_replace(struct task *t, int fd, struct file *f, bool cloexec);
int fd_close(struct task *t, int fd);
/* Install or drop: for constructors. f may be NULL (-ENOMEM). */
int fd_give(struct task *t, struct file *f, unsigned o_flags);

struct fs_context { unsigned refs; struct path root, cwd; uint32_t umask; struct mntns *ns; };
struct fs_context *fs_context_dup(struct fs_context *f);
void fs_context_put(struct fs_context *f);
int fs_unshare_mounts(struct fs_context *f, struct userns *user); /* a mount namespace of its own */

/* ---- hooks of other families ----------------------------------------------------------------------------------------- */
long fcntl_lock(struct task *t, struct file *f, unsigned cmd, uint64_t arg); /* vfs/locks.c */
void locks_release_file(struct task *t, struct file *f);     /* flock, OFD: last close */
void locks_release_owner(struct task *t, struct inode *i);   /* POSIX locks: any close by the process */
void inotify_event(struct inode *dir, const char *name, struct inode *i, uint32_t mask, uint32_t cookie);
/* The same for an object that was reached by a path: its directory hears of it too. */
void file_event(const struct path *p, struct inode *i, uint32_t mask);
void epoll_forget_file(struct file *f);

/* ---- file systems ---------------------------------------------------------------------------------------------------- */
struct super *hostfs_mount(int o_path_fd, bool readonly);    /* takes the fd */
/* A new file system of a type that needs no device (vfs/fstypes.c). NULL: *rc. t: who asks, NULL: the container's configuration. */
struct super *fs_make(struct task *t, const char *type, const char *data, int *rc);
bool fs_type_known(const char *type);
int fs_reconfigure(struct super *sb, const char *data); /* mount -o remount,DATA */
void tmpfs_spill(struct super *sb, int dir_fd); /* large files go to unnamed files in this directory of the host; takes the fd */
int tmpfs_reconfigure(struct super *sb, const char *data);
struct super *overlay_mount(struct task *t, const char *data, int *rc);
struct super *tmpfs_mount(const char *data, int *rc);
struct super *procfs_mount(void);
struct super *sysfs_mount(void);
struct super *devfs_mount(void);
struct super *devpts_mount(void);
int devices_open(struct task *t, struct inode *i, struct file *f); /* character devices by rdev */
int fifo_open(struct task *t, struct inode *i, struct file *f);
int simple_readdir(struct task *t, struct file *f, struct dirctx *c); /* pinned dentries */
int64_t generic_llseek(struct task *t, struct file *f, int64_t off, int whence);
void stat_to_kstat(const struct stat *st, struct kstat *k);
struct file *hostfile_new(int host_fd, unsigned flags, const char *name); /* stdio handed in from outside; takes the fd */
struct inode *tmpfs_memfd(const char *name, struct file **ret);

/* File by host fd for mapping and reading, used by tmpfs and shared memory. */
static inline bool is_dir(const struct inode *i) { return S_ISDIR(i->mode); }
static inline bool is_lnk(const struct inode *i) { return S_ISLNK(i->mode); }
static inline bool is_reg(const struct inode *i) { return S_ISREG(i->mode); }

#endif

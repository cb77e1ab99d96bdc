/* One mount of the container: see mount.h. */
#include "confine/mount.h"

#include <sys/syscall.h>
#include <linux/openat2.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/broken.h"
#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"

#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif
enum { PROC_ROOT_INO = 1 }; /* include/linux/proc_ns.h */

void mount_ctx_close(struct mount_ctx *c) {
	cleanup_close(&c->proc);
	cleanup_close(&c->root);
	c->proc = c->root = -EBADF;
}

/* ---- new file systems --------------------------------------------------------------------------------------------- */

/* First message of the fs context's log ("e tmpfs: Unknown parameter 'x'"), without its severity; "" when there is none. */
static void fs_log(int fs, char *buf, size_t size) {
	ssize_t n = read(fs, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	if (n > 2 && buf[1] == ' ')
		memmove(buf, buf + 2, (size_t)n - 1);
	buf[strcspn(buf, "\n")] = '\0';
}

static int fs_error(int fs, const char *type, const char *what, int code, struct err *e) {
	char log[256];
	fs_log(fs, log, sizeof(log));
	if (log[0])
		return err_sys(e, code, "%s: %s: %s", type, what, log);
	return err_sys(e, code, "%s: %s", type, what);
}

/* One option of the data string: "key=value" or a bare key. Commas inside double quotes (SELinux categories) do not separate. */
static size_t option_len(const char *p) {
	bool quoted = false;
	size_t n = 0;
	for (; p[n] && (quoted || p[n] != ','); n++)
		if (p[n] == '"')
			quoted = !quoted;
	return n;
}

static int fs_option(int fs, const char *type, const char *p, size_t n, struct err *e) {
	char buf[PATH_MAX * 2]; /* overlay's lowerdir is the longest in practice; the kernel itself stops at 4096 */
	if (n >= sizeof(buf))
		return err_set(e, E2BIG, "%s: mount option too long", type);
	memcpy(buf, p, n);
	buf[n] = '\0';
	char *v = strchr(buf, '=');
	if (v)
		*v++ = '\0';
	if (v && *v == '"' && v[strlen(v) - 1] == '"' && strlen(v) > 1) {
		v[strlen(v) - 1] = '\0';
		v++;
	}
	/* An empty value is not the same as no value ("key="), fsconfig(2). */
	if (sys_fsconfig(fs, v ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, buf, v, 0) < 0)
		return fs_error(fs, type, buf, errno, e);
	return 0;
}

static int fs_options(int fs, const char *type, const char *data, struct err *e) {
	for (const char *p = data; p && *p;) {
		size_t n = option_len(p);
		int r = n ? fs_option(fs, type, p, n, e) : 0;
		if (r < 0)
			return r;
		p += n;
		p += *p == ',';
	}
	return 0;
}

int mount_new_fs(const char *type, const char *source, const char *data, unsigned attr, struct err *e) {
	_cleanup_close_ int fs = sys_fsopen(type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return err_sys(e, errno, "file system type %s", type);
	if (source && *source && sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fs_error(fs, type, "source", errno, e);
	int r = fs_options(fs, type, data, e);
	if (r < 0)
		return r;
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(fs, type, "create", errno, e);
	int mnt = sys_fsmount(fs, FSMOUNT_CLOEXEC, attr);
	if (mnt < 0)
		return fs_error(fs, type, "mount", errno, e);
	return mnt;
}

/* Superblock flags that fsconfig takes by name; the others are attributes of the mount. ro is both (mount(2) sets both), but a
 * superblock that the kernel shares with the host (sysfs, mqueue, cgroup) must not be turned read-only. */
static const struct { unsigned long flag; const char *name; } sb_flags[] = {
	{ MS_SYNCHRONOUS, "sync" }, { MS_DIRSYNC, "dirsync" }, { MS_LAZYTIME, "lazytime" }, { MS_MANDLOCK, "mand" },
};
static const char *const mount_only_ro[] = { "proc", "sysfs", "tmpfs", "ramfs", "mqueue", "devpts", "cgroup", "cgroup2", "devtmpfs", "binder" };

static void sb_options(const struct oci_mount *m, struct strbuf *out) {
	for (size_t i = 0; i < ARRAY_SIZE(sb_flags); i++)
		if (m->flags_set & sb_flags[i].flag)
			strbuf_printf(out, "%s%s", out->len ? "," : "", sb_flags[i].name);
	bool ro = m->flags_set & MS_RDONLY;
	for (size_t i = 0; ro && i < ARRAY_SIZE(mount_only_ro); i++)
		ro = !streq(m->type, mount_only_ro[i]);
	if (ro)
		strbuf_printf(out, "%sro", out->len ? "," : "");
}

static bool gid_is_mapped(const struct mount_ctx *c, uint32_t gid) {
	if (!c->gid_maps || !c->gid_maps->n)
		return true;
	for (size_t i = 0; i < c->gid_maps->n; i++)
		if (gid >= c->gid_maps->v[i].container_id && gid - c->gid_maps->v[i].container_id < c->gid_maps->v[i].size)
			return true;
	return false;
}

/* Data with the label added and, on devpts, a gid that has no mapping left out (the kernel would answer EINVAL; runc and crun drop it). */
static int fs_data(const struct mount_ctx *c, const struct oci_mount *m, const char *extra, bool no_gid, struct strbuf *out, struct err *e) {
	sb_options(m, out);
	if (extra)
		strbuf_printf(out, "%s%s", out->len ? "," : "", extra);
	for (const char *p = m->data; p && *p;) {
		size_t n = option_len(p);
		char num[16];
		uint32_t gid;
		bool drop = false;
		if (streq(m->type, "devpts") && n > 4 && n - 4 < sizeof(num) && memcmp(p, "gid=", 4) == 0) {
			memcpy(num, p + 4, n - 4);
			num[n - 4] = '\0';
			drop = no_gid || (parse_u32(num, &gid) == 0 && !gid_is_mapped(c, gid));
		}
		if (n && !drop) {
			if (out->len)
				strbuf_putc(out, ',');
			strbuf_add(out, p, n);
		}
		p += n;
		p += *p == ',';
	}
	/* These have no inodes of their own to label, or take none (runc and crun leave them alone). */
	static const char *const unlabelled[] = { "proc", "sysfs", "mqueue", "cgroup", "cgroup2" };
	bool label = c->label != NULL;
	for (size_t i = 0; label && i < ARRAY_SIZE(unlabelled); i++)
		label = !streq(m->type, unlabelled[i]);
	if (label && !strstr(strbuf_str(out), "context="))
		strbuf_printf(out, "%s%s=\"%s\"", out->len ? "," : "", c->label_type ? c->label_type : "context", c->label);
	return out->failed ? err_set(e, ENOMEM, "out of memory") : 0;
}

/* ---- attributes --------------------------------------------------------------------------------------------------- */

static int set_attrs(int tree, uint64_t set, uint64_t clr, bool recursive, bool in_userns, struct err *e) {
	struct mount_attr a = { .attr_set = set, .attr_clr = clr };
	if (!set && !clr)
		return 0;
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
	if (sys_mount_setattr(tree, "", flags, &a) == 0)
		return 0;
	/* Flags of a mount that came from a more privileged namespace are locked: they cannot be cleared, and access time cannot change
	 * (mount_setattr(2), EPERM). What can be added still is; staying stricter than asked is not a hole. */
	if (errno == EPERM && in_userns && clr) {
		a.attr_clr = 0;
		a.attr_set = set & ~(uint64_t)MOUNT_ATTR__ATIME;
		if (!a.attr_set || sys_mount_setattr(tree, "", flags, &a) == 0)
			return 0;
	}
	return err_sys(e, errno, "mount_setattr");
}

static int set_propagation(int tree, unsigned long propagation, struct err *e) {
	struct mount_attr a = { .propagation = propagation & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE) };
	if (!a.propagation)
		return 0;
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | (propagation & MS_REC ? AT_RECURSIVE : 0), &a) < 0)
		return err_sys(e, errno, "set propagation");
	return 0;
}

void mount_source_close(struct mount_source *s) {
	cleanup_close(&s->tree);
	cleanup_close(&s->userns);
	s->tree = s->userns = -EBADF;
}

bool mount_is_idmapped(const struct oci_mount *m) {
	return m->ext & (OCI_MOUNT_IDMAP | OCI_MOUNT_RIDMAP) || m->uid_mappings.n || m->gid_mappings.n || m->idmap_option;
}

int mount_prepare_idmap(const struct mount_ctx *c, const struct oci_mount *m, struct mount_source *s, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	if (!mount_is_idmapped(m) || s->userns >= 0)
		return 0;
	struct oci_id_maps u = m->uid_mappings, g = m->gid_mappings;
	int r = m->idmap_option ? idmap_option_parse(&a, m->idmap_option, c->uid_maps, c->gid_maps, &u, &g, e) : 0;
	if (r < 0)
		return r;
	if (!u.n && c->uid_maps)
		u = *c->uid_maps;
	if (!g.n && c->gid_maps)
		g = *c->gid_maps;
	if (!u.n || !g.n)
		return err_set(e, EINVAL, "idmap needs uidMappings and gidMappings, of the mount or of a user namespace");
	s->userns = mount_idmap_userns(&u, &g, e);
	return s->userns < 0 ? err_wrap(e, s->userns, "user namespace for idmap") : 0;
}

static int apply_idmap(const struct oci_mount *m, int tree, int userns, struct err *e) {
	if (userns < 0)
		return 0;
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | (m->ext & OCI_MOUNT_RIDMAP ? AT_RECURSIVE : 0), &a) < 0)
		return err_sys(e, errno, "failed to set MOUNT_ATTR_IDMAP (maybe the source filesystem doesn't support idmap mounts on this kernel?)");
	return 0;
}

/* ---- binds -------------------------------------------------------------------------------------------------------- */

bool mount_is_bind(const struct oci_mount *m) {
	return m->bind || (m->type && streq(m->type, "bind"));
}

/* Relative sources are the bundle's. A path, not a descriptor: open_tree(2) clones only what lies in the caller's mount namespace. */
static const char *source_path(const struct mount_ctx *c, const struct oci_mount *m, char **owned) {
	*owned = NULL;
	if (m->source[0] == '/' || !c->bundle)
		return m->source;
	return asprintf(owned, "%s/%s", c->bundle, m->source) < 0 ? NULL : *owned;
}

int mount_prepare_tree(const struct mount_ctx *c, const struct oci_mount *m, struct mount_source *s, struct err *e) {
	_cleanup_free_ char *owned = NULL;
	if (s->tree >= 0 || !mount_is_bind(m) || m->remount || !m->source || (m->ext & OCI_MOUNT_COPY_SYMLINK))
		return 0;
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (m->recursive_bind ? AT_RECURSIVE : 0);
	if (m->ext & OCI_MOUNT_SRC_NOFOLLOW)
		flags |= AT_SYMLINK_NOFOLLOW;
	const char *path = source_path(c, m, &owned);
	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	_cleanup_close_ int whole = -EBADF;
	if (m->ext & OCI_MOUNT_SRC_NOSYMLINKS) {
		struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
		whole = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
		if (whole < 0)
			return err_sys(e, errno, "bind source %s (src-nosymlinks)", m->source);
	}
	_cleanup_close_ int tree = whole >= 0 ? sys_open_tree(whole, "", flags | AT_EMPTY_PATH) : sys_open_tree(AT_FDCWD, path, flags);
	if (tree < 0)
		return err_sys(e, errno, "bind source %s", m->source);
	int r = apply_idmap(m, tree, s->userns, e);
	if (r == 0)
		r = set_attrs(tree, m->attr_set, m->attr_clr, false, c->in_userns, e);
	if (r == 0)
		r = set_attrs(tree, m->rec_attr_set, m->rec_attr_clr, true, c->in_userns, e);
	if (r < 0)
		return r;
	s->tree = TAKE_FD(tree);
	return 0;
}

/* ---- destinations ------------------------------------------------------------------------------------------------- */

int mount_attach(int tree, int dest, struct err *e) {
	if (sys_move_mount(tree, "", dest, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(e, errno, "attach");
	return 0;
}

int mount_destination(int root, const char *path, bool dir, bool nofollow, struct err *e) {
	int flags = O_PATH | (nofollow ? O_NOFOLLOW : 0);
	int fd = open_in_root(root, path, flags, 0);
	if (fd == -ENOENT && dir && !nofollow)
		fd = mkdir_p_in_root(root, path, 0755);
	else if (fd == -ENOENT) {
		_cleanup_free_ char *parent = strdup(path);
		if (!parent)
			return err_set(e, ENOMEM, "out of memory");
		size_t n = strlen(parent);
		while (n > 1 && parent[n - 1] == '/')
			parent[--n] = '\0';
		char *slash = strrchr(parent, '/');
		if (slash)
			*slash = '\0';
		_cleanup_close_ int at = mkdir_p_in_root(root, slash ? parent : ".", 0755);
		if (at < 0)
			return err_sys(e, at, "create parent of %s in the root", path);
		/* Again through the root: the last name may be a dangling link, whose target is then made inside the root. */
		_cleanup_close_ int made = dir ? -EBADF : open_in_root(root, path, O_WRONLY | O_CREAT | O_NOCTTY | (nofollow ? O_NOFOLLOW : 0), 0755);
		if (dir && mkdirat(at, slash ? slash + 1 : parent, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "create %s in the root", path);
		if (!dir && made < 0)
			return err_sys(e, made, "create %s in the root", path);
		fd = open_in_root(root, path, flags, 0);
	}
	if (fd < 0)
		return err_sys(e, fd, "%s in the root", path);
	return fd;
}

/* Path of an open object below the root, "/..." in buf; "" when it is the root itself or lies elsewhere. */
static const char *path_below(int root, int fd, char buf[PATH_MAX]) {
	char link[32], top[PATH_MAX];
	ssize_t n = readlink(fd_proc_path(fd, link), buf, PATH_MAX - 1), t = readlink(fd_proc_path(root, link), top, sizeof(top) - 1);
	if (n < 0 || t < 0)
		return "";
	buf[n] = top[t] = '\0';
	if (t == 1)
		return buf;
	if (n <= t || memcmp(buf, top, (size_t)t) != 0 || buf[t] != '/')
		return "";
	memmove(buf, buf + t, (size_t)(n - t) + 1);
	return buf;
}

/* Once a procfs lies on /proc, whatever would go over or into one resolves to an object of it: one call tells. */
static int check_proc(const struct mount_ctx *c, int dest, const struct oci_mount *m, int tree, struct err *e) {
	struct statfs fs;
	if (c->proc >= 0 && fstatfs(dest, &fs) == 0 && fs.f_type != PROC_SUPER_MAGIC)
		return 0;
	return mount_check_proc(c->root, dest, m, tree, e);
}

int mount_check_proc(int root, int dest, const struct oci_mount *m, int tree, struct err *e) {
	/* Files below /proc that engines (lxcfs and others) are known to put a view of their own over: the list of runc. */
	static const char *const allowed[] = { "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
		"net/dev", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled" };
	struct statfs fs;
	struct stat st;
	char buf[PATH_MAX];
	if (broken("over-proc"))
		return 0;
	bool source_is_proc = tree >= 0 && fstatfs(tree, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && fstat(tree, &st) == 0 &&
			      st.st_ino == PROC_ROOT_INO;
	const char *path = path_below(root, dest, buf);
	if (streq(path, "/proc"))
		return source_is_proc ? 0 : err_set(e, EPERM, "\"%s\" cannot be mounted because it is not of type proc", m->destination);
	if (!str_has_prefix(path, "/proc/")) {
		/* A procfs that was mounted elsewhere in the container is not covered by the names below. */
		if (fstatfs(dest, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && fstat(dest, &st) == 0 && st.st_ino != PROC_ROOT_INO)
			return err_set(e, EPERM, "\"%s\" cannot be mounted because it is inside a procfs", m->destination);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (streq(path + strlen("/proc/"), allowed[i]))
			return 0;
	return err_set(e, EPERM, "\"%s\" cannot be mounted because it is inside /proc", m->destination);
}

/* ---- one entry ---------------------------------------------------------------------------------------------------- */

/* Refused in a user namespace that owns neither the pid, ipc nor network namespace: the host's own is bound in its place, as crun does. */
static int bind_from_host(const struct mount_ctx *c, const struct oci_mount *m, int why) {
	static const struct { const char *type, *path; } host[] = { { "proc", "/proc" }, { "sysfs", "/sys" }, { "mqueue", "/dev/mqueue" } };
	if (why != -EPERM || !c->in_userns)
		return why;
	for (size_t i = 0; i < ARRAY_SIZE(host); i++)
		if (streq(m->type, host[i].type)) {
			int fd = sys_open_tree(AT_FDCWD, host[i].path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
			if (fd < 0)
				return why;
			if (set_attrs(fd, m->attr_set, m->attr_clr, false, true, NULL) < 0) {
				close(fd);
				return why;
			}
			return fd;
		}
	return why;
}

/* tmpfs takes the mode of what it covers unless the options name one (runc and crun). */
static void tmpfs_mode(const struct oci_mount *m, int dest, char buf[16]) {
	struct stat st;
	buf[0] = '\0';
	if (streq(m->type, "tmpfs") && !str_has_prefix(m->data, "mode=") && !strstr(m->data, ",mode=") && fstat(dest, &st) == 0)
		snprintf(buf, 16, "mode=%04o", (unsigned)st.st_mode & 07777);
}

static int new_tree(struct mount_ctx *c, const struct oci_mount *m, int userns, int dest, int *ret, struct err *e) {
	char mode[16] = "";
	_cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
	if (dest >= 0)
		tmpfs_mode(m, dest, mode);
	int r = fs_data(c, m, mode[0] ? mode : NULL, false, &data, e);
	if (r < 0)
		return r;
	bool copy = (m->ext & OCI_MOUNT_TMPCOPYUP) && streq(m->type, "tmpfs");
	unsigned attr = (unsigned)(copy ? m->attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY : m->attr_set);
	_cleanup_close_ int tree = mount_new_fs(m->type, m->source, strbuf_str(&data), attr, e);
	if (tree == -EINVAL && c->in_userns && streq(m->type, "devpts")) {
		/* The group of terminals has no id in a user namespace that we were started in. */
		strbuf_clear(&data);
		if ((r = fs_data(c, m, NULL, true, &data, e)) < 0)
			return r;
		tree = mount_new_fs(m->type, m->source, strbuf_str(&data), attr, e);
	}
	if (tree == -EPERM)
		tree = bind_from_host(c, m, tree);
	if (tree < 0)
		return tree;
	err_clear(e);
	if (copy && dest >= 0) {
		r = copy_tree(dest, tree, e);
		if (r < 0)
			return err_wrap(e, r, "tmpcopyup");
		r = set_attrs(tree, m->attr_set & MOUNT_ATTR_RDONLY, 0, false, false, e);
	}
	if (r == 0)
		r = apply_idmap(m, tree, userns, e);
	if (r == 0)
		r = set_attrs(tree, m->rec_attr_set, m->rec_attr_clr, true, c->in_userns, e);
	if (r < 0)
		return r;
	*ret = TAKE_FD(tree);
	return 0;
}

static int remount_entry(struct mount_ctx *c, const struct oci_mount *m, struct err *e) {
	_cleanup_close_ int dest = open_in_root(c->root, m->destination, O_PATH, 0);
	if (dest < 0)
		return err_sys(e, dest, "%s in the root", m->destination);
	int r = set_attrs(dest, m->attr_set, m->attr_clr, false, c->in_userns, e);
	if (r == 0)
		r = set_attrs(dest, m->rec_attr_set, m->rec_attr_clr, true, c->in_userns, e);
	return r == 0 ? set_propagation(dest, m->propagation, e) : r;
}

/* crun's copy-symlink: a source that is a link becomes the same link in the container. 1: done, 0: not a link. */
static int copy_symlink(struct mount_ctx *c, const struct oci_mount *m, struct err *e) {
	char target[PATH_MAX];
	_cleanup_free_ char *owned = NULL;
	const char *path = source_path(c, m, &owned);
	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return errno == EINVAL ? 0 : err_sys(e, errno, "read link %s", m->source);
	target[n] = '\0';
	_cleanup_free_ char *parent = strdup(m->destination);
	if (!parent)
		return err_set(e, ENOMEM, "out of memory");
	char *slash = strrchr(parent, '/'), *name = slash ? slash + 1 : parent;
	if (slash)
		*slash = '\0';
	_cleanup_close_ int at = mkdir_p_in_root(c->root, slash && *parent ? parent : ".", 0755);
	if (at < 0)
		return err_sys(e, at, "create parent of %s", m->destination);
	if (symlinkat(target, at, name) < 0 && errno != EEXIST)
		return err_sys(e, errno, "symlink %s", m->destination);
	return 1;
}

/* The tree of a bind: the caller's, or opened here (a source that was to be copied as a link turned out not to be one). */
static int bind_tree(struct mount_ctx *c, const struct oci_mount *m, struct mount_source *own, const struct mount_source *s, bool *dir, struct err *e) {
	struct oci_mount plain = *m;
	struct stat st;
	plain.ext &= ~(uint32_t)OCI_MOUNT_COPY_SYMLINK;
	int tree = s ? s->tree : -EBADF;
	if (tree < 0) {
		struct mount_source tmp = { -EBADF, s && s->userns >= 0 ? s->userns : own->userns };
		int r = mount_prepare_tree(c, &plain, &tmp, e);
		if (r < 0)
			return r;
		tree = own->tree = tmp.tree;
	}
	if (tree < 0 || fstat(tree, &st) < 0)
		return err_set(e, EINVAL, "bind mount without source");
	*dir = S_ISDIR(st.st_mode);
	return tree;
}

static int attach(struct mount_ctx *c, const struct oci_mount *m, struct mount_source *own, const struct mount_source *s, struct err *e) {
	bool dir = true, bind = mount_is_bind(m);
	int tree = bind ? bind_tree(c, m, own, s, &dir, e) : -EBADF;
	if (bind && tree < 0)
		return tree;
	/* An image whose /proc is a link would have what belongs there mounted elsewhere, and masks and checks by path miss it (CVE-2019-19921). */
	bool plain = !bind && (streq(m->type, "proc") || streq(m->type, "sysfs"));
	_cleanup_close_ int dest = mount_destination(c->root, m->destination, dir, plain || m->ext & OCI_MOUNT_DEST_NOFOLLOW, e);
	if (dest < 0)
		return dest;
	struct stat st;
	if (plain && fstat(dest, &st) == 0 && !S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "filesystem \"%s\" must be mounted on ordinary directory", m->type);
	int r = 0;
	if (!bind && (r = new_tree(c, m, s && s->userns >= 0 ? s->userns : own->userns, dest, &own->tree, e)) == 0)
		tree = own->tree;
	if (r == 0)
		r = check_proc(c, dest, m, tree, e);
	if (r == 0)
		r = mount_attach(tree, dest, e);
	if (r == 0)
		r = set_propagation(tree, m->propagation, e);
	if (r == 0 && c->proc < 0 && !bind && streq(m->type, "proc"))
		c->proc = TAKE_FD(own->tree);
	return r;
}

static int entry(struct mount_ctx *c, const struct oci_mount *m, const struct mount_source *s, struct err *e) {
	struct mount_source own = MOUNT_SOURCE_NONE;
	if (m->remount)
		return remount_entry(c, m, e);
	if (m->ext & OCI_MOUNT_COPY_SYMLINK && m->source) {
		int r = copy_symlink(c, m, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	if (!mount_is_bind(m) && !m->type)
		return err_set(e, EINVAL, "mount without type");
	if (!mount_is_bind(m) && (streq(m->type, "cgroup") || streq(m->type, "cgroup2")))
		return mount_cgroups(c, m, e);
	int r = s && s->userns >= 0 ? 0 : mount_prepare_idmap(c, m, &own, e);
	if (r == 0)
		r = attach(c, m, &own, s, e);
	mount_source_close(&own);
	return r;
}

int mount_entry(struct mount_ctx *c, const struct oci_mount *m, const struct mount_source *s, struct err *e) {
	int r = entry(c, m, s, e);
	if (r < 0)
		return err_wrap(e, r, "error mounting \"%s\" to rootfs at \"%s\"", m->source ? m->source : m->type ? m->type : "none", m->destination);
	return 0;
}

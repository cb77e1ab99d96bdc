/* cp, diff, commit, export. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd/tierce/people/commands.h"
#include "confine/mount.h"
#include "store/snapshot.h"
#include "sys/fd.h"

/* The root of a container, mounted for the moment when it does not run. */
struct root_ref { struct pctr *c; int fd; bool mounted; };

/* User namespace in which the container's files have the owners that it sees; -EBADF: the caller's is the one. */
static int owners_of(struct pctr *c, struct err *e) {
	struct userns_plan plan;
	int r = userns_plan(c, &plan, e);
	return r < 0 ? r : plan.uids.n ? mount_idmap_userns(&plan.uids, &plan.gids, e) : -EBADF;
}

static int root_open(struct pctr *c, struct root_ref *ret, struct err *e) {
	char path[64];
	const char *rootfs;
	*ret = (struct root_ref){ .c = c, .fd = -EBADF };
	if (c->pid) {
		snprintf(path, sizeof(path), "/proc/%d/root", (int)c->pid);
		rootfs = path;
	} else {
		int r = rootfs_mount(c, &rootfs, e);
		if (r < 0)
			return r;
		ret->mounted = true;
	}
	ret->fd = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return ret->fd < 0 ? err_sys(e, errno, "open the root of %s", c->name) : 0;
}

static void root_close(struct root_ref *r) {
	if (r->fd >= 0)
		close(r->fd);
	if (r->mounted)
		rootfs_unmount(r->c, NULL);
}

/* ---- cp ------------------------------------------------------------------------------------------------------------------------------- */

/* tar(1) of the host packs and unpacks, in a directory that was opened below the container's root. Links that lie in its way it replaces (tar(1): a
 * directory of the archive takes the place of a symbolic link); nothing moves meanwhile, see freeze(). */
static pid_t run_tar(int dirfd, struct pctr *c, const char *const *args, int in, int out) {
	_cleanup_close_ int owners = c ? owners_of(c, NULL) : -EBADF;
	if (owners < 0 && owners != -EBADF)
		return -1;
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	if (fchdir(dirfd) < 0)
		_exit(125);
	if (owners >= 0 && (setns(owners, CLONE_NEWUSER) < 0 || setgid(0) < 0 || setuid(0) < 0))
		_exit(126);
	if (in >= 0)
		dup2(in, 0);
	if (out >= 0)
		dup2(out, 1);
	execvp("tar", (char *const *)(uintptr_t)args);
	_exit(127);
}

static int finish(pid_t a, pid_t b, struct err *e) {
	int sa = 0, sb = 0;
	while (a > 0 && waitpid(a, &sa, 0) < 0 && errno == EINTR)
		;
	while (b > 0 && waitpid(b, &sb, 0) < 0 && errno == EINTR)
		;
	return a < 0 || b < 0 || sa || sb ? err_set(e, -EIO, "tar failed") : 0;
}

struct side { struct pctr *c; const char *path, *typed; struct root_ref root; int dir; char name[NAME_MAX + 1]; bool is_dir, exists, contents; };

/* "CONTAINER:PATH", else a path here ("-": a tar stream). A name before the colon that is no container is an error, except for paths with a slash first. */
static int side_parse(struct people *p, const char *text, struct side *s, struct err *e) {
	const char *colon = strchr(text, ':');
	*s = (struct side){ .path = text, .typed = text, .dir = -EBADF, .root = { .fd = -EBADF } };
	if (!colon || text[0] == '/' || text[0] == '.')
		return 0;
	int r = pctr_find(p, arena_strndup(&p->arena, text, (size_t)(colon - text)), &s->c, e);
	s->path = s->typed = colon + 1;
	/* Relative to the working directory, as podman has it (docker: to the root). */
	if (r == 0 && s->path[0] != '/') {
		const char *cwd = s->c->opts.workdir ? s->c->opts.workdir : json_str(s->c->image_config, "WorkingDir", "/");
		s->path = arena_printf(&p->arena, "%s/%s", cwd, *s->path ? s->path : ".");
	}
	return r;
}

/*
 * A running container is frozen while tar works in its tree: a link that takes the place of a folder between tar's look and its step would lead it out
 * of the container (CVE-2018-15664).
 */
static struct ctr *freeze(struct pctr *c) {
	struct ctr *k = NULL;
	if (!c || !c->pid || streq(c->state, "paused") || engine_open(c, true, &k, NULL) < 0)
		return NULL;
	if (engine_pause(k, NULL) == 0)
		return k;
	ctr_free(k);
	return NULL;
}

static void thaw(struct ctr *k) {
	if (!k)
		return;
	(void)!engine_resume(k, NULL);
	ctr_free(k);
}

/* Open the folder that holds the last component; see whether the whole exists. */
static int side_open(struct side *s, bool destination, struct err *e) {
	struct stat st;
	char path[PATH_MAX];
	int root = AT_FDCWD;
	if (s->c) {
		int r = root_open(s->c, &s->root, e);
		if (r < 0)
			return r;
		root = s->root.fd;
	}
	size_t n = strlen(s->path);
	bool slash = n && s->path[n - 1] == '/', dot = n >= 2 && s->path[n - 1] == '.' && s->path[n - 2] == '/';
	s->contents = dot || streq(s->path, ".");
	int whole = s->c ? open_in_root(root, s->path, O_PATH, 0) : open(s->path, O_PATH | O_CLOEXEC);
	s->exists = whole >= 0;
	if (whole >= 0 && fstat(whole, &st) == 0)
		s->is_dir = S_ISDIR(st.st_mode);
	if (!s->exists && (!destination || slash)) {
		if (whole >= 0)
			close(whole);
		return err_set(e, -ENOENT, "\"%s\" could not be found on %s%s: no such file or directory", s->typed, s->c ? "container " : "the host", s->c ? s->c->name : "");
	}
	if (s->is_dir && (destination || s->contents)) {
		/* the folder itself, opened for reading through what was resolved */
		char via[32];
		s->dir = open(fd_proc_path(whole, via), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		strcpy(s->name, ".");
		close(whole);
		return s->dir < 0 ? err_sys(e, errno, "open %s", s->path) : 0;
	}
	if (whole >= 0)
		close(whole);
	snprintf(path, sizeof(path), "%s", s->path);
	for (n = strlen(path); n > 1 && path[n - 1] == '/';)
		path[--n] = '\0';
	char *last = strrchr(path, '/');
	snprintf(s->name, sizeof(s->name), "%s", last ? last + 1 : path);
	if (last)
		last[last == path] = '\0';
	const char *parent = last ? path : s->c ? "/" : ".";
	s->dir = s->c ? open_in_root(root, parent, O_RDONLY | O_DIRECTORY, 0) : open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->dir < 0 ? err_sys(e, s->c ? s->dir : errno, "open %s", parent) : 0;
}

static void side_close(struct side *s) {
	if (s->dir >= 0)
		close(s->dir);
	root_close(&s->root);
}

struct cp_opts { bool archive, overwrite; const char *pause; };
static const struct opt cp_rows[] = {
	{ .name = "archive", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct cp_opts, archive), .help = "keep owner and group (default)", .flags = OPT_ACCEPTED },
	{ .name = "pause", .kind = OPT_OPTSTR, .offset = offsetof(struct cp_opts, pause), .arg = "BOOL", .help = "freeze a running container meanwhile (default true)" },
	{ .name = "overwrite", .kind = OPT_FLAG, .offset = offsetof(struct cp_opts, overwrite), .help = "a file may take the place of a directory and the other way round" },
};

static int copy_sides(struct side *from, struct side *to, const struct cp_opts *o, struct err *e) {
	int p[2];
	/* A file or folder that is to get another name: tar renames the first component. */
	const char *rename = NULL;
	if (!to->is_dir)
		rename = to->name;
	if (from->is_dir && to->exists && !to->is_dir)
		return err_set(e, -ENOTDIR, "destination must be a directory when copying a directory: \"%s\" is a file", to->typed);
	const char *pack[16], *unpack[16];
	char transform[2 * NAME_MAX + 64], source[NAME_MAX + 3];
	size_t n = 0, m = 0;
	pack[n++] = "tar";
	pack[n++] = "-cf";
	pack[n++] = "-";
	pack[n++] = "--numeric-owner";
	if (rename || from->contents) {
		if (strpbrk(from->name, "|\\") || (rename && strpbrk(rename, "|\\&")))
			return err_set(e, -EINVAL, "names with | \\ & cannot be copied under another name");
		if (!from->contents)
			snprintf(transform, sizeof(transform), "--transform=flags=r;s|^\\./%s\\(/\\|$\\)|./%s\\1|", from->name, rename);
		else
			snprintf(transform, sizeof(transform), "--transform=flags=r;s|^\\.|./%s|", rename ? rename : ".");
		/* the name is text, not a pattern */
		pack[n++] = transform;
	}
	pack[n++] = "--";
	snprintf(source, sizeof(source), "./%s", from->name);
	pack[n++] = streq(from->name, ".") ? "." : source;
	pack[n] = NULL;
	unpack[m++] = "tar";
	unpack[m++] = "-xf";
	unpack[m++] = "-";
	unpack[m++] = "--numeric-owner";
	unpack[m++] = "-p";
	unpack[m++] = "--no-overwrite-dir";
	if (!to->c && geteuid() == 0)
		unpack[m++] = "--no-same-owner";
	if (o->overwrite)
		unpack[m++] = "--recursive-unlink";
	unpack[m] = NULL;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	pid_t a = run_tar(from->dir, from->c, pack, -1, p[1]), b = run_tar(to->dir, to->c, unpack, p[0], -1);
	close(p[0]);
	close(p[1]);
	return finish(a, b, e);
}

static int c_cp(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct cp_opts *o = opts;
	struct people p;
	struct side from, to;
	bool pause;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = parse_bool("--pause", o->pause, true, &pause, e);
	if (r == 0)
		r = side_parse(&p, argv[0], &from, e);
	if (r == 0)
		r = side_parse(&p, argv[1], &to, e);
	if (r < 0)
		return r;
	if (!from.c && !to.c)
		return err_set(e, -EINVAL, "one of source and destination must be CONTAINER:PATH");
	struct ctr *frozen[2] = { pause ? freeze(from.c) : NULL, NULL };
	if (pause && to.c && !(from.c && streq(from.c->id, to.c->id)))
		frozen[1] = freeze(to.c);
	if (!from.c && streq(from.path, "-")) {
		const char *const unpack[] = { "tar", "-xpf", "-", "--numeric-owner", NULL };
		r = side_open(&to, true, e);
		if (r == 0 && !to.is_dir)
			r = err_set(e, -ENOTDIR, "destination must be a directory when copying from stdin");
		if (r == 0)
			r = finish(run_tar(to.dir, to.c, unpack, -1, -1), 0, e);
	} else {
		r = side_open(&from, false, e);
		if (r == 0 && !to.c && streq(to.path, "-")) {
			const char *const pack[] = { "tar", "-cf", "-", "--numeric-owner", "--", from.name, NULL };
			r = finish(run_tar(from.dir, from.c, pack, -1, -1), 0, e);
		} else if (r == 0) {
			r = side_open(&to, true, e);
			if (r == 0)
				r = copy_sides(&from, &to, o, e);
		}
		side_close(&from);
	}
	side_close(&to);
	thaw(frozen[0]);
	thaw(frozen[1]);
	people_close(&p);
	return r;
}

/* ---- diff, export, commit --------------------------------------------------------------------------------------------------------------- */

static int print_change(void *ctx UNUSED, char kind, const char *path) {
	printf("%c %s\n", kind, path);
	return 0;
}

static int c_diff(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0)
		r = rootfs_diff(c, print_change, NULL, e);
	people_close(&p);
	return r;
}

struct out_opts { const char *output; };
static const struct opt export_rows[] = { { .name = "output", .short_name = 'o', .kind = OPT_STRING, .offset = offsetof(struct out_opts, output), .arg = "FILE", .help = "write to a file (default: standard output)" } };

static int c_export(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct out_opts *o = opts;
	static const char *const pack[] = { "tar", "-cf", "-", "--numeric-owner", "--one-file-system", "--xattrs", ".", NULL };
	struct people p;
	struct pctr *c;
	struct root_ref root = { .fd = -EBADF };
	int r = tierce_people(t, &p, e), out = -EBADF;
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0 && !o->output && isatty(1))
		r = err_set(e, -EINVAL, "refusing to write a tar archive to a terminal: use -o FILE or a pipe");
	if (r == 0)
		r = root_open(c, &root, e);
	if (r == 0 && o->output) {
		out = open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (out < 0)
			r = err_sys(e, errno, "open %s", o->output);
	}
	if (r == 0) {
		char via[32];
		_cleanup_close_ int dir = open(fd_proc_path(root.fd, via), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = dir < 0 ? err_sys(e, errno, "open the root") : finish(run_tar(dir, c, pack, -1, out), 0, e);
	}
	if (out >= 0)
		close(out);
	if (r < 0 && o->output)
		unlink(o->output);
	if (root.fd >= 0)
		root_close(&root);
	people_close(&p);
	return r;
}

struct commit_rows_opts { const char *author, *message, *pause, *format, *iidfile; struct opt_list change; bool quiet; };
static const struct opt commit_rows[] = {
	{ .name = "author", .short_name = 'a', .kind = OPT_STRING, .offset = offsetof(struct commit_rows_opts, author), .arg = "NAME", .help = "author of the image" },
	{ .name = "change", .short_name = 'c', .kind = OPT_LIST, .offset = offsetof(struct commit_rows_opts, change), .arg = "INSTRUCTION", .help = "Dockerfile instruction (CMD, ENV, LABEL, USER, WORKDIR ...)" },
	{ .name = "iidfile", .kind = OPT_STRING, .offset = offsetof(struct commit_rows_opts, iidfile), .arg = "FILE", .help = "write the image's id to a file" },
	{ .name = "message", .short_name = 'm', .kind = OPT_STRING, .offset = offsetof(struct commit_rows_opts, message), .arg = "TEXT", .help = "commit message" },
	{ .name = "pause", .short_name = 'p', .kind = OPT_OPTSTR, .offset = offsetof(struct commit_rows_opts, pause), .arg = "BOOL", .help = "pause the container meanwhile" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct commit_rows_opts, quiet), .help = "print the id only" },
};

static int c_commit(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct commit_rows_opts *o = opts;
	struct people p;
	struct pctr *c;
	struct ctr *k = NULL;
	const char *id = NULL;
	bool pause = false;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0)
		r = parse_bool("--pause", o->pause, false, &pause, e);
	char **changes = r == 0 ? arena_array(&p.arena, o->change.n + 1, char *) : NULL;
	for (size_t i = 0; changes && i < o->change.n; i++)
		changes[i] = (char *)(uintptr_t)o->change.v[i];
	struct commit_opts co = { .name = argc > 1 ? argv[1] : NULL, .author = o->author, .message = o->message, .changes = changes };
	bool frozen = false;
	if (r == 0 && pause && c->pid && !streq(c->state, "paused") && engine_open(c, true, &k, NULL) == 0) {
		frozen = engine_pause(k, NULL) == 0;
	}
	if (r == 0)
		r = rootfs_commit(c, &co, &id, e);
	if (k) {
		if (frozen)
			(void)!engine_resume(k, NULL);
		ctr_free(k);
	}
	if (r == 0 && o->iidfile) {
		FILE *f = fopen(o->iidfile, "we");
		if (!f || fputs(id, f) < 0 || fclose(f) != 0)
			r = err_sys(e, errno, "write %s", o->iidfile);
	}
	if (r == 0) {
		puts(id);
		event_container(c, "commit");
	}
	people_close(&p);
	return r;
}

const struct command cmd_cp = { .name = "cp", .operands = "[CONTAINER:]PATH [CONTAINER:]PATH", .summary = "Copy files between a container and here", OPTS(cp_rows), .min_args = 2, .max_args = 2, .run = c_cp };
const struct command cmd_diff = { .name = "diff", .operands = "CONTAINER", .summary = "Show what a container changed in its file system", .min_args = 1, .max_args = 1, .operand_kind = 'c', .run = c_diff };
const struct command cmd_export = { .name = "export", .operands = "CONTAINER", .summary = "Write a container's file system as a tar archive", OPTS(export_rows), .min_args = 1, .max_args = 1, .operand_kind = 'c',
	.run = c_export };
const struct command cmd_commit = { .name = "commit", .operands = "CONTAINER [IMAGE]", .summary = "Make an image from a container", OPTS(commit_rows), .min_args = 1, .max_args = 2, .operand_kind = 'c', .run = c_commit };

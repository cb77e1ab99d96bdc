/* The image behind a container, and its root file system: between the store and the container commands. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cmd/tierce/people/commands.h"
#include "cmd/tierce/remote.h"
#include "store/pull.h"
#include "store/snapshot.h"

static int open_store(struct people *p, struct store **ret, struct err *e) {
	/* One handle for the life of the command. */
	if (!p->store) {
		int r = store_open(p->data_dir, &p->store, e);
		if (r < 0)
			return r;
	}
	*ret = p->store;
	return 0;
}

static int pull(struct people *p, struct store *s, const char *ref, const struct run_opts *o, struct err *e) {
	struct pull_opts opts = { .platform = o->platform };
	struct platform here;
	platform_host(&here);
	if (!o->platform && (o->arch || o->variant))
		opts.platform = arena_printf(&p->arena, "linux/%s%s%s", o->arch ? o->arch : here.arch, o->variant ? "/" : "", o->variant ? o->variant : "");
	struct remote_options remote = { .authfile = o->authfile, .tls_verify = o->tls_verify };
	struct progress pr;
	char id[DIGEST_MAX];
	int r = remote_setup(p->cli, &remote, &opts.registry, e);
	if (r >= 0)
		r = progress_init(&pr, o->progress, o->quiet, e);
	if (r < 0)
		return r;
	opts.progress.event = progress_event;
	opts.progress.ctx = &pr;
	r = store_pull(s, ref, &opts, id, e);
	progress_end(&pr);
	return r < 0 ? err_wrap(e, r, "pull %s", ref) : 0;
}

int image_pick(struct people *p, const char *ref, const struct run_opts *o, struct image_pick *ret, struct err *e) {
	const char *policy = o->pull ? o->pull : "missing";
	struct store *s;
	struct image_row row;
	char name[REF_MAX];
	bool always = streq(policy, "always") || streq(policy, "newer") || streq(policy, "true"), never = streq(policy, "never") || streq(policy, "false");
	if (!always && !never && !streq(policy, "missing") && !streq(policy, "ifnotpresent"))
		return err_set(e, -EINVAL, "--pull \"%s\" is not one of always, missing, never, newer", policy);
	int r = open_store(p, &s, e);
	if (r < 0)
		return r;
	if (always && (r = pull(p, s, ref, o, e)) < 0) {
		/* "newer" is content with what is here when the registry cannot be asked. */
		if (!streq(policy, "newer") || index_find(s, ref, &row, name, NULL) < 0)
			return r;
		err_clear(e);
		image_row_clear(&row);
	}
	r = index_find(s, ref, &row, name, e);
	if (r == -ENOENT && never)
		return err_set(e, -ENOENT, "%s: image not known (and --pull never)", ref);
	if (r == -ENOENT) {
		err_clear(e);
		r = pull(p, s, ref, o, e);
		if (r == 0)
			r = index_find(s, ref, &row, name, e);
	}
	if (r < 0)
		return r;
	/* The whole command uses it: freed with the process. */
	struct image_config *cfg = arena_new(&p->arena, struct image_config);
	if (!cfg)
		return err_sys(e, -ENOMEM, "read the image");
	r = image_config_load(s, row.id, cfg, e);
	if (r == 0)
		*ret = (struct image_pick){ .id = arena_strdup(&p->arena, row.id), .ref = arena_strdup(&p->arena, *name ? name : ref), .config = json_get(cfg->raw, "config") };
	image_row_clear(&row);
	return r;
}

int rootfs_create(struct pctr *c, struct err *e) {
	struct store *s;
	if (c->opts.rootfs_flag)
		return 0;
	int r = open_store(c->p, &s, e);
	return r < 0 ? r : snapshot_create(s, c->id, c->image_id, e);
}

int rootfs_mount(struct pctr *c, const char **ret, struct err *e) {
	struct store *s;
	char *path;
	if (c->opts.rootfs_flag) {
		*ret = c->image;
		return 0;
	}
	struct snapshot_ids ids = { .userns = -EBADF };
	struct snapshot_opts o = { .flags = c->opts.rm ? SNAPSHOT_VOLATILE : 0, .ids = &ids };
	int r = open_store(c->p, &s, e);
	if (r == 0)
		r = userns_ids(c, &ids, e);
	if (r == 0)
		r = snapshot_mount(s, c->id, &o, &path, e);
	cleanup_close(&ids.userns);
	if (r < 0)
		return r;
	*ret = arena_strdup(&c->p->arena, path);
	free(path);
	return *ret ? 0 : err_sys(e, -ENOMEM, "mount the root file system");
}

/* Images that are mounted into the container: their snapshots are named in DIR/image-mounts, one a line, before they are made. */
static const char *mounts_file(struct pctr *c) {
	return arena_printf(&c->p->arena, "%s/image-mounts", c->dir);
}

static int each_image_mount(struct pctr *c, struct store *s, int (*fn)(struct store *s, const char *id, struct err *e), struct err *e) {
	char line[160];
	int r = 0;
	FILE *f = fopen(mounts_file(c), "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		int k = fn(s, line, r == 0 ? e : NULL);
		r = r < 0 || k == -ENOENT ? r : k;
	}
	if (f)
		fclose(f);
	return r;
}

static bool noted(const char *path, const char *id) {
	char line[160];
	bool found = false;
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		found = streq(line, id);
	}
	if (f)
		fclose(f);
	return found;
}

int image_mount(struct pctr *c, const char *image, const char *dest, bool writable, const char **ret, struct err *e) {
	struct image_pick pick;
	struct store *s;
	struct run_opts pull = { .pull = "missing", .quiet = true };
	char id[160], *path;
	unsigned h = 5381;
	for (const char *p = dest; *p; p++)
		h = h * 33 + (unsigned char)*p;
	/* Not a name that begins like the container's id: it would be found by its prefix. */
	snprintf(id, sizeof(id), "mnt-%08x-%s", h, c->id);
	int r = image_pick(c->p, image, &pull, &pick, e);
	if (r == 0)
		r = open_store(c->p, &s, e);
	if (r == 0 && !noted(mounts_file(c), id)) {
		FILE *f = fopen(mounts_file(c), "ae");
		if (!f || fprintf(f, "%s\n", id) < 0 || fclose(f) != 0)
			r = err_sys(e, errno, "write %s", mounts_file(c));
	}
	struct snapshot_ids ids = { .userns = -EBADF };
	struct snapshot_opts o = { .flags = writable ? 0 : SNAPSHOT_READONLY, .ids = &ids };
	if (r == 0)
		r = userns_ids(c, &ids, e);
	if (r == 0)
		r = snapshot_create(s, id, pick.id, e);
	if (r == 0)
		r = snapshot_mount(s, id, &o, &path, e);
	cleanup_close(&ids.userns);
	if (r < 0)
		return r;
	*ret = arena_strdup(&c->p->arena, path);
	free(path);
	return *ret ? 0 : err_sys(e, -ENOMEM, "mount the image");
}

int rootfs_unmount(struct pctr *c, struct err *e) {
	struct store *s;
	if (c->opts.rootfs_flag && access(mounts_file(c), F_OK) < 0)
		return 0;
	int r = open_store(c->p, &s, e);
	if (r < 0)
		return r;
	r = each_image_mount(c, s, snapshot_unmount, e);
	int k = c->opts.rootfs_flag ? 0 : snapshot_unmount(s, c->id, r == 0 ? e : NULL);
	return r < 0 ? r : k;
}

int rootfs_remove(struct pctr *c, struct err *e) {
	struct store *s;
	if (c->opts.rootfs_flag && access(mounts_file(c), F_OK) < 0)
		return 0;
	int r = open_store(c->p, &s, e);
	if (r == 0)
		r = each_image_mount(c, s, snapshot_remove, e);
	if (r == 0 && !c->opts.rootfs_flag)
		r = snapshot_remove(s, c->id, e);
	return r;
}

void image_drop(struct pctr *c) {
	struct store *s;
	struct gc_result gc;
	if (c->opts.rootfs_flag || open_store(c->p, &s, NULL) < 0)
		return;
	if (index_remove_image(s, c->image_id, true, NULL) >= 0)
		(void)!store_gc(s, &gc, NULL);
}

int rootfs_diff(struct pctr *c, int (*cb)(void *ctx, char kind, const char *path), void *ctx, struct err *e) {
	struct store *s;
	if (c->opts.rootfs_flag)
		return err_set(e, -ENOTSUP, "%s was made from a directory: there is no image to compare with", c->name);
	int r = open_store(c->p, &s, e);
	return r < 0 ? r : snapshot_diff(s, c->id, cb, ctx, e);
}

int rootfs_commit(struct pctr *c, const struct commit_opts *o, const char **ret_id, struct err *e) {
	struct store *s;
	char id[DIGEST_MAX];
	struct snapshot_ids ids = { .userns = -EBADF };
	struct commit_opts with = *o;
	if (c->opts.rootfs_flag)
		return err_set(e, -ENOTSUP, "%s was made from a directory: there is no image to build on", c->name);
	int r = open_store(c->p, &s, e);
	if (r == 0)
		r = userns_ids(c, &ids, e);
	with.ids = &ids;
	char name[REF_MAX];
	if (r == 0 && o->name) {
		r = ref_local_name(o->name, name, e);
		with.name = name;
	}
	if (r == 0)
		r = snapshot_commit(s, c->id, &with, id, e);
	cleanup_close(&ids.userns);
	if (r < 0)
		return r;
	*ret_id = arena_strdup(&c->p->arena, id);
	return 0;
}

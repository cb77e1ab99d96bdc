/* The tree that the EROFS writer keeps until its directories go out: paths, replacement, links. */
#include <errno.h>

#include "wire/erofs_write_priv.h"

static uint32_t hash_of(const struct erofs_node *parent, const char *name, size_t n) {
	uint64_t h = (uint64_t)(uintptr_t)parent * 0x9E3779B97F4A7C15u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001B3u;
	return (uint32_t)(h ^ h >> 32);
}

static int table_grow(struct erofs_writer *w) {
	size_t size = w->table_size ? w->table_size * 2 : 1024;
	struct erofs_node **t = calloc(size, sizeof(*t));
	if (!t)
		return -ENOMEM;
	for (size_t i = 0; i < w->table_size; i++)
		for (struct erofs_node *n = w->table[i], *next; n; n = next) {
			next = n->hash_next;
			n->hash_next = t[n->hash & (size - 1)];
			t[n->hash & (size - 1)] = n;
		}
	free(w->table);
	w->table = t;
	w->table_size = size;
	return 0;
}

struct erofs_node *tree_child(struct erofs_writer *w, struct erofs_node *dir, const char *name, size_t n) {
	uint32_t h = hash_of(dir, name, n);
	for (struct erofs_node *c = w->table[h & (w->table_size - 1)]; c; c = c->hash_next)
		if (c->hash == h && c->parent == dir && !c->dead && strncmp(c->name, name, n) == 0 && c->name[n] == '\0')
			return c;
	return NULL;
}

void link_add(struct erofs_writer *w, uint64_t nid, int delta, int *ret_err) {
	*ret_err = 0;
	if (w->n_links * 2 >= w->links_size) {
		size_t size = w->links_size ? w->links_size * 2 : 64;
		struct erofs_link *l = calloc(size, sizeof(*l));
		if (!l) {
			*ret_err = -ENOMEM;
			return;
		}
		for (size_t i = 0; i < w->links_size; i++)
			if (w->links[i].nid) {
				size_t k = w->links[i].nid * 0x9E3779B1u & (size - 1);
				while (l[k].nid)
					k = (k + 1) & (size - 1);
				l[k] = w->links[i];
			}
		free(w->links);
		w->links = l;
		w->links_size = size;
	}
	size_t k = nid * 0x9E3779B1u & (w->links_size - 1);
	while (w->links[k].nid && w->links[k].nid != nid)
		k = (k + 1) & (w->links_size - 1);
	if (!w->links[k].nid) {
		if (delta < 0)
			return; /* a single name that goes: its inode is simply not reached any more */
		w->links[k] = (struct erofs_link){ nid, 1 };
		w->n_links++;
	}
	w->links[k].count = (uint32_t)((int64_t)w->links[k].count + delta);
}

static struct erofs_node *node_new(struct erofs_writer *w, struct erofs_node *parent, const char *name, size_t n, enum erofs_ftype type) {
	struct erofs_node *c = arena_alloc(&w->arena, sizeof(*c) + n + 1);
	if (!c)
		return NULL;
	memcpy(c->name, name, n);
	c->ftype = (uint8_t)type;
	c->parent = parent;
	if (type == EROFS_FT_DIR) {
		c->dir = arena_new(&w->arena, struct erofs_dir);
		if (!c->dir)
			return NULL;
		c->dir->mode = 0755;
	}
	w->n_nodes++;
	return c;
}

int tree_init(struct erofs_writer *w) {
	int r = table_grow(w);
	if (r < 0)
		return r;
	w->root = node_new(w, NULL, "", 0, EROFS_FT_DIR);
	if (!w->root)
		return -ENOMEM;
	w->root->dir->implied = true;
	return 0;
}

int tree_insert_at(struct erofs_writer *w, struct erofs_node *dir, const char *name, size_t len, enum erofs_ftype type,
		   struct erofs_node **ret, struct err *e) {
	if (len > EROFS_NAME_LEN)
		return err_set(e, ENAMETOOLONG, "name of more than %d bytes: %.*s...", EROFS_NAME_LEN, 40, name);
	struct erofs_node *old = tree_child(w, dir, name, len);
	if (old && old->ftype == EROFS_FT_DIR && type == EROFS_FT_DIR) {
		*ret = old;
		return 0;
	}
	if (w->n_nodes >= EROFS_MAX_ENTRIES)
		return err_set(e, E2BIG, "layer has more than %d entries", EROFS_MAX_ENTRIES);
	if (w->n_nodes >= w->table_size) {
		int r = table_grow(w);
		if (r < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	bool hides = false;
	if (old) {
		int r;
		old->dead = true;
		hides = old->whiteout;
		dir->dir->n_children--;
		if (old->ftype == EROFS_FT_DIR)
			dir->dir->n_subdirs--;
		else
			link_add(w, old->nid, -1, &r);
	}
	struct erofs_node *c = node_new(w, dir, name, len, type);
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->hash = hash_of(dir, name, len);
	c->hash_next = w->table[c->hash & (w->table_size - 1)];
	w->table[c->hash & (w->table_size - 1)] = c;
	c->sibling = dir->dir->first;
	dir->dir->first = c;
	dir->dir->n_children++;
	if (type == EROFS_FT_DIR) {
		dir->dir->n_subdirs++;
		c->dir->opaque = hides; /* the whiteout came first: nothing of the layers below shows through */
	}
	*ret = c;
	return 0;
}

/* Modes of directories that an archive uses without naming them; layers below usually have them so. */
static uint16_t implied_mode(const struct erofs_node *dir, const char *name, size_t n) {
	bool top = !dir->parent, in_var = dir->parent && !dir->parent->parent && streq(dir->name, "var");
	if (n == 3 && memcmp(name, "tmp", 3) == 0 && (top || in_var))
		return 01777;
	if (n == 4 && memcmp(name, "root", 4) == 0 && top)
		return 0700;
	return 0755;
}

struct walk {
	unsigned links, depth;
};

static int walk_dir(struct erofs_writer *w, struct walk *k, struct erofs_node **at, const char *path, size_t len, bool make, struct err *e);

/* One component that is not the last: descends, makes, or follows a symbolic link. */
static int step(struct erofs_writer *w, struct walk *k, struct erofs_node **at, const char *name, size_t n, bool make, struct err *e) {
	struct erofs_node *dir = *at;
	if (n == 0 || (n == 1 && name[0] == '.'))
		return 0;
	if (n == 2 && name[0] == '.' && name[1] == '.') {
		if (!dir->parent)
			return -EXDEV;
		*at = dir->parent;
		return 0;
	}
	struct erofs_node *c = tree_child(w, dir, name, n);
	if (c && c->ftype == EROFS_FT_DIR) {
		*at = c;
		return 0;
	}
	if (c && c->ftype == EROFS_FT_LNK) {
		if (++k->links > EROFS_MAX_SYMLINKS)
			return -ELOOP;
		if (c->target[0] == '/')
			*at = w->root;
		return walk_dir(w, k, at, c->target, strlen(c->target), make, e);
	}
	if (!make)
		return c ? -ENOTDIR : -ENOENT;
	int r = tree_insert_at(w, dir, name, n, EROFS_FT_DIR, &c, e);
	if (r < 0)
		return r;
	c->dir->mode = implied_mode(dir, name, n);
	c->dir->implied = true;
	*at = c;
	return 0;
}

static int walk_dir(struct erofs_writer *w, struct walk *k, struct erofs_node **at, const char *path, size_t len, bool make, struct err *e) {
	unsigned nested = ++k->depth;
	if (nested > EROFS_MAX_SYMLINKS + 1)
		return -ELOOP;
	int r = 0;
	for (size_t i = 0; r >= 0 && i < len;) {
		size_t n = 0;
		while (i + n < len && path[i + n] != '/')
			n++;
		r = step(w, k, at, path + i, n, make, e);
		i += n + 1;
	}
	k->depth--;
	return r;
}

static int walk_error(int r, const char *path, struct err *e) {
	switch (r) {
	case -EXDEV:
		return err_set(e, EXDEV, "entry %s leaves the root of the image", path);
	case -ELOOP:
		return err_set(e, ELOOP, "entry %s goes through a loop of symbolic links", path);
	case -ENOENT:
	case -ENOTDIR:
		return r;
	default:
		return e && e->code ? r : err_sys(e, r, "entry %s", path);
	}
}

/* Splits off the last component, ignoring slashes and "." at the end. */
static int split_last(const char *path, size_t *ret_dir, const char **ret_name, size_t *ret_len) {
	size_t end = strlen(path);
	for (;;) {
		while (end && path[end - 1] == '/')
			end--;
		if (end && path[end - 1] == '.' && (end == 1 || path[end - 2] == '/'))
			end--;
		else
			break;
	}
	size_t begin = end;
	while (begin && path[begin - 1] != '/')
		begin--;
	*ret_dir = begin;
	*ret_name = path + begin;
	*ret_len = end - begin;
	return end - begin == 2 && path[begin] == '.' && path[begin + 1] == '.' ? -EXDEV : 0;
}

static int find_parent(struct erofs_writer *w, const char *path, bool make, struct erofs_node **ret_dir, const char **ret_name, size_t *ret_len,
		       struct err *e) {
	struct walk k = { .links = 0 };
	size_t dirlen;
	struct erofs_node *at = w->root;
	int r = split_last(path, &dirlen, ret_name, ret_len);
	if (r >= 0)
		r = walk_dir(w, &k, &at, path, dirlen, make, e);
	if (r < 0)
		return walk_error(r, path, e);
	unsigned depth = 0;
	for (struct erofs_node *p = at; p; p = p->parent)
		if (++depth > EROFS_MAX_DEPTH)
			return err_set(e, E2BIG, "directories nested deeper than %d", EROFS_MAX_DEPTH);
	*ret_dir = at;
	return 0;
}

int tree_parent(struct erofs_writer *w, const char *path, struct erofs_node **ret_dir, const char **ret_name, size_t *ret_len, struct err *e) {
	return find_parent(w, path, true, ret_dir, ret_name, ret_len, e);
}

int tree_lookup(struct erofs_writer *w, const char *path, struct erofs_node **ret, struct err *e) {
	struct erofs_node *dir;
	const char *name;
	size_t n;
	int r = find_parent(w, path, false, &dir, &name, &n, e);
	if (r == -ENOENT || r == -ENOTDIR) {
		*ret = NULL;
		return 0;
	}
	if (r < 0)
		return r;
	*ret = n ? tree_child(w, dir, name, n) : dir;
	return 0;
}

int tree_insert(struct erofs_writer *w, const char *path, enum erofs_ftype type, struct erofs_node **ret, struct err *e) {
	struct erofs_node *dir;
	const char *name;
	size_t n;
	int r = find_parent(w, path, true, &dir, &name, &n, e);
	if (r < 0)
		return r;
	if (n == 0) { /* the root itself */
		if (type != EROFS_FT_DIR)
			return err_set(e, EINVAL, "the root of the image is no directory");
		*ret = dir;
		return 0;
	}
	return tree_insert_at(w, dir, name, n, type, ret, e);
}

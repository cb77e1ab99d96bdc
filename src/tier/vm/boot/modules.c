/* Module resolution by the "depends=" entries of .modinfo, since Debian's packages carry no modules.dep (depmod makes it on installation). */
#include "tier/vm/boot/modules.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "sys/fd.h"

enum { MODULE_MAX = 64 << 20, TREE_DEPTH = 16, CHAIN_DEPTH = 32 };

struct resolver {
	struct arena *a;
	const char *tree;
	struct module *index; /* every .ko below the tree */
	size_t n_index, cap;
	char *builtin;        /* text of modules.builtin */
	struct modules out;
	struct err *e;
};

static bool same_name(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!b[i] || (a[i] == '-' ? '_' : a[i]) != (b[i] == '-' ? '_' : b[i]))
			return false;
	return b[n] == 0;
}

const char *module_info(const void *elf, size_t n, const char *key)
{
	const char *base = elf;
	Elf64_Ehdr h;
	if (n < sizeof h || memcmp(elf, ELFMAG, SELFMAG) != 0)
		return NULL;
	memcpy(&h, elf, sizeof h);
	if (h.e_shentsize != sizeof(Elf64_Shdr) || h.e_shoff > n || (size_t)h.e_shnum * sizeof(Elf64_Shdr) > n - h.e_shoff || h.e_shstrndx >= h.e_shnum)
		return NULL;
	Elf64_Shdr str, s;
	memcpy(&str, base + h.e_shoff + h.e_shstrndx * sizeof str, sizeof str);
	if (str.sh_offset > n || str.sh_size > n - str.sh_offset)
		return NULL;
	for (unsigned i = 0; i < h.e_shnum; i++) {
		memcpy(&s, base + h.e_shoff + i * sizeof s, sizeof s);
		if (s.sh_name > str.sh_size || str.sh_size - s.sh_name < sizeof ".modinfo" || s.sh_offset > n || s.sh_size > n - s.sh_offset || s.sh_type == SHT_NOBITS)
			continue;
		if (memcmp(base + str.sh_offset + s.sh_name, ".modinfo", sizeof ".modinfo") != 0)
			continue;
		const char *p = base + s.sh_offset, *end = p + s.sh_size;
		size_t k = strlen(key);
		while (p < end) {
			const char *z = memchr(p, 0, (size_t)(end - p));
			if (!z)
				break;
			if ((size_t)(z - p) > k && memcmp(p, key, k) == 0 && p[k] == '=')
				return p + k + 1;
			p = z + 1;
		}
	}
	return NULL;
}

static int index_tree(struct resolver *x, const char *rel, unsigned depth)
{
	_cleanup_free_ char *dir = NULL;
	if (depth > TREE_DEPTH || asprintf(&dir, "%s/%s", x->tree, rel) < 0)
		return -ENOMEM;
	DIR *d = opendir(dir);
	if (!d)
		return err_sys(x->e, errno, "kernel modules: open %s", dir);
	int r = 0;
	for (struct dirent *ent; r >= 0 && (ent = readdir(d));) {
		if (ent->d_name[0] == '.')
			continue;
		const char *sub = arena_printf(x->a, "%s/%s", rel, ent->d_name);
		if (!sub) {
			r = -ENOMEM;
		} else if (ent->d_type == DT_DIR) {
			r = index_tree(x, sub, depth + 1);
		} else if (str_has_suffix(ent->d_name, ".ko")) {
			if (x->n_index == x->cap) {
				size_t cap = x->cap ? x->cap * 2 : 512;
				struct module *v = arena_array(x->a, cap, struct module);
				if (!v) {
					r = -ENOMEM;
					break;
				}
				if (x->n_index)
					memcpy(v, x->index, x->n_index * sizeof *v);
				x->index = v;
				x->cap = cap;
			}
			const char *name = arena_strndup(x->a, ent->d_name, strlen(ent->d_name) - 3);
			if (!name)
				r = -ENOMEM;
			else
				x->index[x->n_index++] = (struct module){ name, sub };
		}
	}
	closedir(d);
	return r;
}

/* "kernel/fs/ext4/ext4.ko" per line */
static bool is_builtin(const struct resolver *x, const char *name, size_t n)
{
	for (const char *p = x->builtin; p && *p;) {
		const char *eol = strchrnul(p, '\n'), *base = memrchr(p, '/', (size_t)(eol - p));
		base = base ? base + 1 : p;
		if ((size_t)(eol - base) == n + 3) {
			char line[256] = "";
			if (n < sizeof line) {
				memcpy(line, base, n);
				if (same_name(name, line, n))
					return true;
			}
		}
		p = *eol ? eol + 1 : eol;
	}
	return false;
}

static int add(struct resolver *x, const char *name, size_t n, unsigned depth)
{
	bool optional = n && name[0] == '?';
	if (optional) {
		name++;
		n--;
	}
	for (size_t i = 0; i < x->out.n; i++)
		if (same_name(name, x->out.v[i].name, n))
			return 0;
	const struct module *m = NULL;
	for (size_t i = 0; i < x->n_index && !m; i++)
		if (same_name(name, x->index[i].name, n))
			m = &x->index[i];
	if (!m) {
		if (optional || is_builtin(x, name, n))
			return 0;
		return err_set(x->e, ENOENT, "kernel modules: %.*s is neither in %s nor built in", (int)n, name, x->tree);
	}
	if (depth > CHAIN_DEPTH)
		return err_set(x->e, ELOOP, "kernel modules: the dependencies of %s run in a circle", m->name);
	_cleanup_strbuf_ struct strbuf ko = STRBUF_INIT;
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/%s", x->tree, m->path) < 0)
		return -ENOMEM;
	int r = file_read_at(AT_FDCWD, path, &ko, MODULE_MAX);
	if (r < 0)
		return err_sys(x->e, r, "kernel modules: read %s", path);
	const char *dep = module_info(ko.s, ko.len, "depends");
	while (dep && *dep) {
		const char *comma = strchrnul(dep, ',');
		r = add(x, dep, (size_t)(comma - dep), depth + 1);
		if (r < 0)
			return r;
		dep = *comma ? comma + 1 : comma;
	}
	x->out.v[x->out.n++] = *m;
	return 0;
}

int modules_resolve(struct arena *a, const char *tree, const char *const *wanted, struct modules *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf builtin = STRBUF_INIT;
	_cleanup_free_ char *path = NULL;
	struct resolver x = { .a = a, .tree = tree, .e = e };
	int r = index_tree(&x, "kernel", 0);
	if (r < 0)
		return e && e->code ? r : err_sys(e, r, "kernel modules below %s", tree);
	if (asprintf(&path, "%s/modules.builtin", tree) < 0)
		return -ENOMEM;
	if (file_read_at(AT_FDCWD, path, &builtin, 16 << 20) >= 0)
		x.builtin = builtin.s;
	x.out.v = arena_array(a, x.n_index + 1, struct module);
	if (!x.out.v)
		return -ENOMEM;
	for (; *wanted; wanted++) {
		r = add(&x, *wanted, strlen(*wanted), 0);
		if (r < 0)
			return r;
	}
	*ret = x.out;
	return 0;
}

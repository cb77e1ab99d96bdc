/* Compiled seccomp programs on disk, below the state root. An entry is used only if root (or who runs us) alone could have written it and its key is
 * byte for byte ours; everything else is recompiled. A cache that fails is no cache: nothing here is an error. See seccomp_internal.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "confine/seccomp_internal.h"
#include "sys/fd.h"

#ifndef TIERCE_VERSION
#error "TIERCE_VERSION comes from meson.build"
#endif

enum {
	CODE_REVISION = 1,         /* raise when the same profile compiles to another program */
	ENTRY_MAX = 256 * 1024,    /* larger profiles are compiled each time: they bound the folder to 32 MiB with SECCOMP_CACHE_MAX */
};

struct header {
	char magic[8];
	uint64_t sum;              /* of all that follows the header */
	uint32_t key_len, n_insns;
};
static const char magic[8] = "tbpf\r\n\x1a\1";

/* FNV-1a, 8 bytes a step: a name for the file and a guard against torn or rotten entries, not against forgery. */
static uint64_t hash(const void *data, size_t n) {
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325ULL ^ n, v;
	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		h = (h ^ v) * 0x100000001b3ULL;
		h ^= h >> 29;
	}
	for (; n; n--)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return h ^ h >> 32;
}

/* The tree as type, length, key, text: unambiguous, and cheaper than JSON text. */
static void add_tree(struct strbuf *out, const struct json *j) {
	unsigned char head[5] = { (unsigned char)j->type };
	memcpy(head + 1, &j->len, 4);
	strbuf_add(out, head, sizeof(head));
	if (j->key)
		strbuf_add(out, j->key, strlen(j->key) + 1);
	if (j->type == JSON_STRING || j->type == JSON_NUMBER)
		strbuf_add(out, j->text, j->len);
	else if (j->type == JSON_BOOL)
		strbuf_putc(out, j->boolean ? 't' : 'f');
	for (const struct json *m = json_first(j); m; m = m->next)
		add_tree(out, m);
}

int seccomp_cache_key(const struct oci_seccomp *s, struct strbuf *out) {
	struct utsname u;
	if (!s->json)
		return -ENOENT;
	if (uname(&u) < 0)
		return -errno;
	strbuf_printf(out, "tierce %s %d %s %s%c", TIERCE_VERSION, CODE_REVISION, u.release, u.machine, 0);
	add_tree(out, s->json);
	if (out->failed)
		strbuf_clear(out);
	return out->failed ? -ENOMEM : 0;
}

static bool private_to_us(int fd, mode_t type, mode_t forbidden, off_t *size) {
	struct stat st;
	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != type || st.st_uid != geteuid() || st.st_mode & forbidden)
		return false;
	if (size)
		*size = st.st_size;
	return true;
}

static int open_dir(int root_fd, bool make) {
	enum { OTHERS = 077 };
	if (make && mkdirat(root_fd, ".seccomp-cache", 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(root_fd, ".seccomp-cache", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (private_to_us(fd, S_IFDIR, OTHERS, NULL))
		return fd;
	close(fd);
	return -EPERM;
}

static void entry_name(const struct strbuf *key, char name[24]) { snprintf(name, 24, "%016llx", (unsigned long long)hash(key->s, key->len)); }

int seccomp_cache_get(int root_fd, const struct strbuf *key, struct bpf_prog *ret) {
	enum { WRITABLE = 022 };
	char name[24];
	off_t size;
	struct header h;
	_cleanup_close_ int dir = open_dir(root_fd, false);
	if (dir < 0)
		return dir;
	entry_name(key, name);
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!private_to_us(fd, S_IFREG, WRITABLE, &size) || size < (off_t)sizeof(h) || size > ENTRY_MAX)
		return -EPERM;
	_cleanup_free_ char *buf = malloc((size_t)size);
	if (!buf)
		return -ENOMEM;
	if (fd_read_full(fd, buf, (size_t)size) != size)
		return -EIO;
	memcpy(&h, buf, sizeof(h));
	size_t body = (size_t)size - sizeof(h);
	if (memcmp(h.magic, magic, sizeof(magic)) != 0 || h.n_insns == 0 || h.n_insns > BPF_MAXINSNS || h.key_len != key->len
		|| body != h.key_len + h.n_insns * sizeof(struct sock_filter) || hash(buf + sizeof(h), body) != h.sum
		|| memcmp(buf + sizeof(h), key->s, key->len) != 0)
		return -EBADMSG;
	struct sock_filter *insns = malloc(h.n_insns * sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	memcpy(insns, buf + sizeof(h) + key->len, h.n_insns * sizeof(*insns));
	*ret = (struct bpf_prog){ insns, h.n_insns, true };
	return 0;
}

/* Room for one more: the entry that was written longest ago goes when the folder is full. */
static void make_room(int dir) {
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		if (copy >= 0)
			close(copy);
		return;
	}
	char oldest[NAME_MAX + 1] = "";
	struct timespec when = { 0, 0 };
	struct dirent *ent;
	size_t n = 0;
	while ((ent = readdir(d))) {
		struct stat st;
		if (streq(ent->d_name, ".") || streq(ent->d_name, "..") || fstatat(dir, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		n++;
		if (!*oldest || st.st_mtim.tv_sec < when.tv_sec || (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec < when.tv_nsec)) {
			when = st.st_mtim;
			snprintf(oldest, sizeof(oldest), "%s", ent->d_name);
		}
	}
	closedir(d);
	if (n >= SECCOMP_CACHE_MAX && *oldest)
		unlinkat(dir, oldest, 0);
}

void seccomp_cache_put(int root_fd, const struct strbuf *key, const struct bpf_prog *p) {
	struct header h = { .key_len = (uint32_t)key->len, .n_insns = (uint32_t)p->n };
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char name[24];
	memcpy(h.magic, magic, sizeof(magic));
	strbuf_add(&b, &h, sizeof(h));
	strbuf_add(&b, key->s, key->len);
	strbuf_add(&b, p->insns, p->n * sizeof(*p->insns));
	if (b.failed || b.len > ENTRY_MAX)
		return;
	h.sum = hash(b.s + sizeof(h), b.len - sizeof(h));
	memcpy(b.s, &h, sizeof(h));
	_cleanup_close_ int dir = open_dir(root_fd, true);
	if (dir < 0)
		return;
	make_room(dir);
	entry_name(key, name);
	(void)!file_replace_at(dir, name, b.s, b.len, 0600, 0);
}

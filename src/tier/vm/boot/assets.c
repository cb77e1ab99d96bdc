/* Guest kernel and initramfs in the cache. */
#include "tier/vm/boot/assets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/arena.h"
#include "base/str.h"
#include "sys/fd.h"
#include "tier/vm/boot/cpio.h"
#include "tier/vm/boot/fetch.h"
#include "tier/vm/boot/kernel.h"
#include "tier/vm/boot/modules.h"

enum { AGENT_MAX = 64 << 20, MODULE_MAX = 64 << 20, FORMAT = 2 /* raise when the initramfs is laid out anew */ };

/* In the order of need; '?' marks what a leaner kernel may lack. */
static const char *const wanted[] = { "virtio_mmio", "?virtio_pci", "virtio_console", "virtio_blk", "?virtio_net", "?virtio-rng", "?virtio_balloon",
	"erofs", "overlay", "?fuse", "?virtiofs", "?vmw_vsock_virtio_transport", "?loop", NULL };

void assets_clear(struct assets *a)
{
	free(a->vmlinux);
	free(a->initramfs);
	free(a->agent);
	free(a->preload);
	*a = (struct assets){ 0 };
}

int make_dirs(const char *path, struct err *e)
{
	char p[PATH_MAX];
	if ((size_t)snprintf(p, sizeof p, "%s", path) >= sizeof p)
		return err_set(e, ENAMETOOLONG, "path too long: %s", path);
	for (char *s = p + 1;; s++) {
		if (*s && *s != '/')
			continue;
		char c = *s;
		*s = 0;
		if (mkdir(p, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make directory %s", p);
		*s = c;
		if (!c)
			return 0;
	}
}

int cache_lock(const char *cache, const char *name, struct err *e)
{
	char p[PATH_MAX];
	if ((size_t)snprintf(p, sizeof p, "%s/%s.lock", cache, name) >= sizeof p)
		return err_set(e, ENAMETOOLONG, "path too long: %s", cache);
	_cleanup_close_ int fd = open(p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "open %s", p);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "lock %s", p);
	return TAKE_FD(fd);
}

/* Atomically, by the directory's fd. */
static int replace_path(const char *path, const void *data, size_t n)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : file_replace_at(fd, slash + 1, data, n, 0644, false);
}

static int key_file(struct key *k, const char *path, struct err *e)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return err_sys(e, errno, "%s", path);
	key_add_u64(k, (uint64_t)st.st_dev);
	key_add_u64(k, (uint64_t)st.st_ino);
	key_add_u64(k, (uint64_t)st.st_size);
	key_add_u64(k, (uint64_t)st.st_mtim.tv_sec);
	key_add_u64(k, (uint64_t)st.st_mtim.tv_nsec);
	return 0;
}

/* ---- kernel ----------------------------------------------------------------------------------------------------- */

/* "6.1.0-56-cloud-amd64 (who) #1 ..." stands at the offset in 0x20e (boot protocol). */
static int bzimage_release(const uint8_t *p, size_t n, char *ret, size_t cap)
{
	size_t at = 0x200 + ((size_t)p[0x20e] | (size_t)p[0x20f] << 8), i = 0;
	for (; at + i < n && i + 1 < cap && p[at + i] > ' ' && p[at + i] < 127 && p[at + i] != '/'; i++)
		ret[i] = (char)p[at + i];
	ret[i] = 0;
	return i ? 0 : -EBADMSG;
}

struct kernel_file { const uint8_t *p; size_t n; };
static void kernel_file_unmap(struct kernel_file *k)
{
	if (k->p)
		munmap((void *)(uintptr_t)k->p, k->n);
}

static int map_file(const char *path, struct kernel_file *ret, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "kernel %s", path);
	if (st.st_size <= 0 || st.st_size > KERNEL_MAX)
		return err_set(e, EFBIG, "kernel %s: %lld bytes", path, (long long)st.st_size);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "map kernel %s", path);
	*ret = (struct kernel_file){ p, (size_t)st.st_size };
	return 0;
}

/* Release of a vmlinux: from its "Linux version " string. */
static int elf_release(const struct kernel_file *k, char *ret, size_t cap)
{
	const char *s = memmem(k->p, k->n, "Linux version ", 14);
	size_t i = 0;
	if (!s)
		return -EBADMSG;
	for (s += 14; s + i < (const char *)k->p + k->n && i + 1 < cap && s[i] > ' ' && s[i] < 127 && s[i] != '/'; i++)
		ret[i] = s[i];
	ret[i] = 0;
	return i ? 0 : -EBADMSG;
}

/* The ELF form of `kernel` in the cache (or the file itself when it is one); release is filled. */
static int unpack_kernel(const char *cache, const char *kernel, const char *key, char release[128], char **ret, struct err *e)
{
	__attribute__((cleanup(kernel_file_unmap))) struct kernel_file k = { NULL, 0 };
	struct kernel_elf elf;
	int r = map_file(kernel, &k, e);
	if (r < 0)
		return r;
	if (!kernel_is_bzimage(k.p, k.n)) {
		r = kernel_elf_parse(k.p, k.n, &elf, e);
		if (r < 0)
			return err_wrap(e, r, "%s", kernel);
		if (elf_release(&k, release, 128) < 0)
			return err_set(e, EBADMSG, "%s: no \"Linux version\" in it", kernel);
		*ret = strdup(kernel);
		return *ret ? 0 : -ENOMEM;
	}
	if (bzimage_release(k.p, k.n, release, 128) < 0)
		return err_set(e, EBADMSG, "%s: no release in its header", kernel);
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/vmlinux-%s-%.12s", cache, release, key) < 0)
		return -ENOMEM;
	if (access(path, R_OK) < 0) {
		_cleanup_free_ uint8_t *out = NULL;
		size_t n;
		r = kernel_from_bzimage(k.p, k.n, &out, &n, e);
		if (r < 0)
			return err_wrap(e, r, "%s", kernel);
		r = kernel_elf_parse(out, n, &elf, e);
		if (r < 0)
			return err_wrap(e, r, "%s", kernel);
		r = replace_path(path, out, n);
		if (r < 0)
			return err_sys(e, r, "write %s", path);
	}
	*ret = TAKE(path);
	return 0;
}

/* ---- initramfs -------------------------------------------------------------------------------------------------- */

static const struct { const char *path; mode_t mode; unsigned major, minor; } skeleton[] = {
	{ "dev", S_IFDIR | 0755, 0, 0 }, { "proc", S_IFDIR | 0755, 0, 0 }, { "sys", S_IFDIR | 0755, 0, 0 }, { "run", S_IFDIR | 0755, 0, 0 },
	{ "tmp", S_IFDIR | 0755, 0, 0 }, { "modules", S_IFDIR | 0755, 0, 0 }, { "etc", S_IFDIR | 0755, 0, 0 },
	{ "dev/console", S_IFCHR | 0600, 5, 1 }, /* the kernel opens it for init before devtmpfs is mounted */
};

static int write_initramfs(const char *path, const char *agent, const char *tree, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, file = STRBUF_INIT;
	struct modules m;
	int r = modules_resolve(&a, tree, wanted, &m, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(skeleton) && r >= 0; i++)
		r = cpio_add(&out, skeleton[i].path, skeleton[i].mode, makedev(skeleton[i].major, skeleton[i].minor), NULL, 0);
	for (size_t i = 0; i < m.n && r >= 0; i++) {
		_cleanup_free_ char *src = NULL;
		const char *to = arena_printf(&a, "modules/%02zu-%s.ko", i, m.v[i].name);
		if (!to || asprintf(&src, "%s/%s", tree, m.v[i].path) < 0)
			return -ENOMEM;
		strbuf_clear(&file);
		r = file_read_at(AT_FDCWD, src, &file, MODULE_MAX);
		if (r < 0)
			return err_sys(e, r, "read %s", src);
		r = cpio_add(&out, to, S_IFREG | 0600, 0, file.s, file.len);
	}
	if (r < 0)
		return err_sys(e, r, "initramfs");
	strbuf_clear(&file);
	r = file_read_at(AT_FDCWD, agent, &file, AGENT_MAX);
	if (r < 0)
		return err_sys(e, r, "read %s", agent);
	r = cpio_add(&out, "init", S_IFREG | 0755, 0, file.s, file.len);
	if (r >= 0)
		r = cpio_end(&out);
	if (r >= 0)
		r = replace_path(path, out.s, out.len);
	return r < 0 ? err_sys(e, r, "write %s", path) : 0;
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

/* The build tree keeps links to everything at its top, two or three folders above a program's own. */
static int find_agent(const char *given, char **ret, struct err *e)
{
	static const char *const near[] = { "tierce-agent", "../libexec/tierce/tierce-agent", "../../../tierce-agent", "../../tierce-agent" };
	static const char *const fixed[] = { "/usr/local/libexec/tierce/tierce-agent", "/usr/libexec/tierce/tierce-agent" };
	char self[PATH_MAX], p[PATH_MAX + 64];
	const char *env = getenv("TIERCE_AGENT");
	if (!given)
		given = env;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = 0;
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; !given && slash && i < ARRAY_SIZE(near); i++) {
		snprintf(p, sizeof p, "%s/%s", self, near[i]);
		if (access(p, X_OK) == 0)
			given = p;
	}
	for (size_t i = 0; !given && i < ARRAY_SIZE(fixed); i++)
		if (access(fixed[i], X_OK) == 0)
			given = fixed[i];
	if (!given)
		return err_set(e, ENOENT, "tierce-agent is neither beside the program nor in libexec; TIERCE_AGENT names it");
	*ret = realpath(given, NULL);
	return *ret ? 0 : err_sys(e, errno, "%s", given);
}

static void find_preload(struct assets *a)
{
	static const char *const at[] = { "", "/../../.." };
	const char *slash = strrchr(a->agent, '/');
	for (size_t i = 0; i < ARRAY_SIZE(at) && !a->preload; i++) {
		char p[PATH_MAX + 64];
		snprintf(p, sizeof p, "%.*s%s/tierce-qemu.so", (int)(slash - a->agent), a->agent, at[i]);
		a->preload = realpath(p, NULL);
	}
}

static int module_tree(const struct asset_options *o, const char *kernel, const char *release, char **ret, struct err *e)
{
	_cleanup_free_ char *beside = NULL, *host = NULL;
	if (o->modules) {
		*ret = strdup(o->modules);
		return *ret ? 0 : -ENOMEM;
	}
	/* .../boot/vmlinuz-X -> .../lib/modules/X */
	const char *slash = strrchr(kernel, '/');
	if (asprintf(&beside, "%.*s/../lib/modules/%s", slash ? (int)(slash - kernel) : 1, slash ? kernel : ".", release) < 0 ||
	    asprintf(&host, "/lib/modules/%s", release) < 0)
		return -ENOMEM;
	if (access(beside, X_OK) == 0)
		*ret = TAKE(beside);
	else if (access(host, X_OK) == 0)
		*ret = TAKE(host);
	else
		return err_set(e, ENOENT, "no modules for kernel %s: neither %s nor %s", release, beside, host);
	return 0;
}

int assets_prepare(const struct asset_options *o, struct assets *ret, struct err *e)
{
	_cleanup_assets_ struct assets a = { 0 };
	_cleanup_free_ char *kernel = NULL, *tree = NULL;
	_cleanup_close_ int lock = -EBADF;
	const char *cache = o->cache ? o->cache : VM_CACHE_DIR;
	char release[128];
	struct key k;
	int r = make_dirs(cache, e);
	if (r < 0)
		return r;
	lock = cache_lock(cache, "assets", e);
	if (lock < 0)
		return lock;
	r = find_agent(o->agent, &a.agent, e);
	if (r < 0)
		return r;
	find_preload(&a);
	if (o->kernel)
		kernel = strdup(o->kernel);
	else if ((r = fetch_debian_kernel(cache, &kernel, e)) < 0)
		return r;
	if (!kernel)
		return -ENOMEM;
	key_init(&k);
	key_add_u64(&k, FORMAT);
	if ((r = key_file(&k, kernel, e)) < 0)
		return r;
	struct key kernel_key = k;
	char text[KEY_TEXT];
	key_text(&kernel_key, text);
	r = unpack_kernel(cache, kernel, text, release, &a.vmlinux, e);
	if (r < 0 || (r = module_tree(o, kernel, release, &tree, e)) < 0 || (r = key_file(&k, a.agent, e)) < 0)
		return r;
	key_add_str(&k, tree);
	for (size_t i = 0; wanted[i]; i++)
		key_add_str(&k, wanted[i]);
	key_text(&k, a.key);
	if (asprintf(&a.initramfs, "%s/initramfs-%.16s.cpio", cache, a.key) < 0)
		return -ENOMEM;
	if (access(a.initramfs, R_OK) < 0 && (r = write_initramfs(a.initramfs, a.agent, tree, e)) < 0)
		return r;
	*ret = a;
	a = (struct assets){ 0 };
	return 0;
}

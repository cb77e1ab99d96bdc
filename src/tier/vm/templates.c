/* The store of templates, the same for every hypervisor. */
#include "tier/vm/templates.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/str.h"
#include "sys/fd.h"

int templates_path(const struct template_kind *t, const struct machine_config *c, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf boot = STRBUF_INIT;
	struct key k;
	char text[KEY_TEXT];
	int r = file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot, 64);
	if (r < 0)
		return err_sys(e, r, "read boot_id");
	key_init(&k);
	key_add_str(&k, c->assets->key);
	key_add_u64(&k, c->memory);
	key_add_u64(&k, c->cpus);
	key_add_str(&k, strbuf_str(&boot));
	r = t->key(c, &k, e);
	if (r < 0)
		return r;
	key_text(&k, text);
	return asprintf(ret, "%s/template-%s", c->cache, text) < 0 ? err_set(e, ENOMEM, "template") : 0;
}

bool templates_there(const struct template_kind *t, const struct machine_config *c)
{
	_cleanup_free_ char *dir = NULL;
	return templates_path(t, c, &dir, NULL) >= 0 && access(dir, X_OK) == 0;
}

static void remove_dir(const char *dir)
{
	static const char *const names[] = { "mem", "state" };
	_cleanup_free_ char *gone = NULL;
	/* Renamed first: nobody may find half of a template. */
	if (asprintf(&gone, "%s.gone-%d", dir, (int)getpid()) < 0 || rename(dir, gone) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *p = NULL;
		if (asprintf(&p, "%s/%s", gone, names[i]) >= 0)
			unlink(p);
	}
	rmdir(gone);
}

void templates_remove(const struct template_kind *t, const struct machine_config *c)
{
	_cleanup_free_ char *dir = NULL;
	if (templates_path(t, c, &dir, NULL) >= 0)
		remove_dir(dir);
}

/* Keep the most recently used, and sweep what crashed builders left. The caller holds the build lock. */
static void bound(const char *cache, const char *keep)
{
	_cleanup_free_ char *pattern = NULL;
	glob_t g;
	if (asprintf(&pattern, "%s/template-*", cache) < 0 || glob(pattern, GLOB_ONLYDIR, NULL, &g) != 0)
		return;
	size_t left = 0;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		if (strchr(strrchr(g.gl_pathv[i], '/'), '.'))
			remove_dir(g.gl_pathv[i]);
		else
			left++;
	}
	for (; left > TEMPLATES_KEEP; left--) {
		const char *oldest = NULL;
		time_t when = 0;
		struct stat st;
		for (size_t i = 0; i < g.gl_pathc; i++)
			if (strcmp(g.gl_pathv[i], keep) != 0 && stat(g.gl_pathv[i], &st) == 0 && (!oldest || st.st_mtim.tv_sec < when)) {
				oldest = g.gl_pathv[i];
				when = st.st_mtim.tv_sec;
			}
		if (!oldest)
			break;
		remove_dir(oldest);
	}
	globfree(&g);
}

int templates_build(const struct template_kind *t, const struct machine_config *c, bool wait, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *tmp = NULL, *lock_path = NULL;
	int r = templates_path(t, c, &dir, e);
	if (r < 0)
		return r;
	if (asprintf(&tmp, "%s.tmp", dir) < 0 || asprintf(&lock_path, "%s/template.lock", c->cache) < 0)
		return err_set(e, ENOMEM, "template");
	_cleanup_close_ int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return err_sys(e, errno, "open %s", lock_path);
	while (flock(lock, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0)
		if (errno != EINTR)
			return err_sys(e, errno == EWOULDBLOCK ? EBUSY : errno, "lock %s", lock_path);
	if (access(dir, X_OK) == 0)
		return 0;
	bound(c->cache, dir); /* sweeps a crashed builder's tmp, too: the lock is ours */
	if (mkdir(tmp, 0700) < 0)
		return err_sys(e, errno, "mkdir %s", tmp);
	r = t->make(c, tmp, e);
	if (r >= 0 && rename(tmp, dir) < 0)
		r = err_sys(e, errno, "rename to %s", dir);
	if (r < 0)
		remove_dir(tmp);
	else
		bound(c->cache, dir);
	return r;
}

/* Debian's cloud kernel. The package is fetched with apt-get, which checks the archive's signatures, and unpacked with dpkg-deb. */
#include "tier/vm/boot/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/str.h"
#include "sys/fd.h"
#include "tier/vm/boot/assets.h"

extern char **environ;

#if defined __x86_64__
#define META "linux-image-cloud-amd64"
#else
#define META "linux-image-cloud-arm64"
#endif

/* Spawn with stdin and stdout on /dev/null (or stdout on out_fd), stderr on /dev/null: a runtime's streams belong to the container. */
static int spawn_wait(const char *const *argv, int out_fd, const char *cwd, struct err *e)
{
	posix_spawn_file_actions_t fa;
	pid_t pid;
	int status = 0;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (out_fd >= 0)
		posix_spawn_file_actions_adddup2(&fa, out_fd, 1);
	else
		posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	if (cwd)
		posix_spawn_file_actions_addchdir_np(&fa, cwd);
	int r = posix_spawnp(&pid, argv[0], &fa, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return err_sys(e, r, "start %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "wait for %s", argv[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, EIO, "%s failed with %s %d", argv[0], WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return 0;
}

int run_program(const char *const *argv, const char *cwd, struct err *e)
{
	return spawn_wait(argv, -EBADF, cwd, e);
}

/* Last match (names sort by version well enough among Debian's ABI numbers of one release), malloc'ed. */
static char *last_match(const char *pattern)
{
	glob_t g;
	char *ret = NULL;
	if (glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc)
		ret = strdup(g.gl_pathv[g.gl_pathc - 1]);
	globfree(&g);
	return ret;
}

/* The package that the meta package stands for: first "Depends: linux-image-..." of apt-cache. */
static int real_package(char *ret, size_t cap, struct err *e)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	_cleanup_close_ int rd = p[0];
	int r = spawn_wait((const char *const[]){ "apt-cache", "depends", META, NULL }, p[1], NULL, e);
	close(p[1]);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	r = fd_read_rest(rd, &out, 65536); /* the pipe holds it whole, the writer is gone */
	const char *s = r < 0 ? NULL : strstr(strbuf_str(&out), "Depends: linux-image-");
	if (!s)
		return err_set(e, ENOENT, "apt-cache knows no package behind %s", META);
	s += strlen("Depends: ");
	size_t n = strcspn(s, " \n");
	if (n >= cap)
		return err_set(e, ENAMETOOLONG, "package name too long");
	memcpy(ret, s, n);
	ret[n] = 0;
	return 0;
}

static int download(const char *cache, struct err *e)
{
	_cleanup_free_ char *tmp = NULL, *deb = NULL, *x = NULL, *to = NULL, *pattern = NULL;
	char name[128];
	int r = real_package(name, sizeof name, e);
	if (r < 0)
		return r;
	if (asprintf(&tmp, "%s/fetch.tmp", cache) < 0 || asprintf(&x, "%s/x", tmp) < 0 || asprintf(&to, "%s/kernel-%s", cache, name) < 0 ||
	    asprintf(&pattern, "%s/*.deb", tmp) < 0)
		return -ENOMEM;
	r = run_program((const char *const[]){ "rm", "-rf", tmp, NULL }, NULL, e); /* a crashed predecessor's */
	if (r >= 0)
		r = make_dirs(tmp, e);
	if (r >= 0)
		r = run_program((const char *const[]){ "apt-get", "download", name, NULL }, tmp, e);
	if (r < 0)
		return r;
	deb = last_match(pattern);
	if (!deb)
		return err_set(e, ENOENT, "apt-get download %s left no package", name);
	r = run_program((const char *const[]){ "dpkg-deb", "-x", deb, x, NULL }, NULL, e);
	if (r >= 0 && rename(x, to) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		r = err_sys(e, errno, "rename to %s", to);
	_cleanup_err_ struct err ignored = ERR_INIT;
	int r2 = run_program((const char *const[]){ "rm", "-rf", tmp, NULL }, NULL, &ignored);
	(void)r2;
	return r;
}

int fetch_debian_kernel(const char *cache, char **ret, struct err *e)
{
	_cleanup_free_ char *pattern = NULL;
	if (asprintf(&pattern, "%s/kernel-*/boot/vmlinuz-*", cache) < 0)
		return -ENOMEM;
	char *k = last_match(pattern);
	if (!k)
		k = last_match("/boot/vmlinuz-*-cloud-*");
	if (!k) {
		int r = download(cache, e);
		if (r < 0)
			return err_wrap(e, r, "no guest kernel: fetching Debian's %s (or give one with the annotation dev.tierce.vm.kernel)", META);
		k = last_match(pattern);
	}
	if (!k)
		return err_set(e, ENOENT, "no guest kernel in %s", cache);
	*ret = k;
	return 0;
}

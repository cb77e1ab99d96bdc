/* Drives the ns tier without the engine: nsrun BUNDLE [ITERATIONS]. For tests of the tier alone and for looking at its system calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "confine/cgroup.h"
#include "confine/exe.h"
#include "sys/fd.h"
#include "tier/tier.h"

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* $NSRUN_EXEC through the container's shell, then the container is killed. */
static int exec_in(struct tier_container *c, struct err *e) {
	const char *env[] = { "PATH=/bin", NULL }, *args[] = { "/bin/sh", "-c", getenv("NSRUN_EXEC"), NULL };
	struct oci_process p = c->spec->process;
	struct tier_exec_options o = { .stdio = { .console_socket = -EBADF, .terminal = -EBADF, .pidfd_socket = -EBADF }, .process = &p, .state_root_fd = -EBADF,
		.exec_id = getenv("NSRUN_TWO") ? "one" : NULL };
	p.args = (struct oci_strings){ (char **)(uintptr_t)args, 3 };
	p.env = (struct oci_strings){ (char **)(uintptr_t)env, 1 };
	pid_t pid = 0;
	int pidfd = -EBADF, status = 0, n = getenv("NSRUN_N") ? atoi(getenv("NSRUN_N")) : 1;
	double t0 = now();
	for (int i = 0; i < n; i++) {
		int r = tier_ns.exec(c, &o, &pid, &pidfd, e);
		if (r < 0 || (o.exec_id && (r = tier_ns.exec_start(c, o.exec_id, e)) < 0))
			return r;
		waitpid(pid, &status, 0);
		close(pidfd);
	}
	if (n > 1)
		printf("%.3f ms each exec\n", (now() - t0) / n);
	return 0;
}

int main(int argc, char **argv) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct oci_spec *s;
	char dir[] = "/tmp/nsroom.XXXXXX", rootfs[4096];
	if (argc < 2 || !mkdtemp(dir))
		return 2;
	if (exe_reexec(argv, &e) < 0)
		goto bad;
	int bundle = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC), state = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (oci_spec_load(&a, bundle, "config.json", &s, &e) < 0)
		goto bad;
	if (s->root_path[0] == '/')
		snprintf(rootfs, sizeof(rootfs), "%s", s->root_path);
	else
		snprintf(rootfs, sizeof(rootfs), "%s/%s", argv[1], s->root_path);
	int n = argc > 2 ? atoi(argv[2]) : 1, status = 0;
	double t0 = now();
	for (int i = 0; i < n; i++) {
		_cleanup_cgroup_ struct cgroup *cg = NULL;
		const struct cgroup_request req = { .id = "nsroom-run", .cgroups_path = "/nsroom-run", .resources = &s->resources };
		if (!getenv("NSRUN_NOCG") && (cgroup_plan(&req, &cg, &e) < 0 || cgroup_create(cg, &e) < 0 || cgroup_apply(cg, &s->resources, CGROUP_APPLY_NEW, &e) < 0))
			goto bad;
		struct tier_container c = { .id = "nsrun", .bundle = argv[1], .bundle_fd = bundle, .rootfs = rootfs, .state_fd = state, .state_dir = dir,
			.spec = s, .cgroup = cg, .init_pidfd = -EBADF, .start_fd = -EBADF };
		struct tier_create_options o = { .stdio = { .console_socket = -EBADF, .terminal = -EBADF, .pidfd_socket = -EBADF }, .start_follows = !getenv("NSRUN_TWO"), .state_root_fd = -EBADF };
		if (tier_ns.create(&c, &o, &e) < 0 || tier_ns.start(&c, &e) < 0)
			goto bad;
		if (getenv("NSRUN_EXEC")) {
			if (exec_in(&c, &e) < 0)
				goto bad;
			tier_ns.signal(&c, 9, false, &e);
		}
		waitpid(c.init_pid, &status, 0);
		close(c.init_pidfd);
		if (cg && cgroup_remove(cg, &e) < 0)
			goto bad;
	}
	if (n > 1)
		printf("%.3f ms each\n", (now() - t0) / n);
	rmdir(dir);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
bad:
	fprintf(stderr, "%s\n", err_msg(&e));
	rmdir(dir);
	return 125;
}

/* Drives the ns tier without the engine: nsrun BUNDLE [ITERATIONS]. For tests of the tier alone and for looking at its system calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "confine/exe.h"
#include "sys/fd.h"
#include "tier/tier.h"

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
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
		struct tier_container c = { .id = "nsrun", .bundle = argv[1], .bundle_fd = bundle, .rootfs = rootfs, .state_fd = state, .state_dir = dir,
			.spec = s, .init_pidfd = -EBADF, .start_fd = -EBADF };
		struct tier_create_options o = { .stdio = { .console_socket = -EBADF, .terminal = -EBADF, .pidfd_socket = -EBADF }, .start_follows = !getenv("NSRUN_TWO"), .state_root_fd = -EBADF };
		if (tier_ns.create(&c, &o, &e) < 0 || tier_ns.start(&c, &e) < 0)
			goto bad;
		waitpid(c.init_pid, &status, 0);
		close(c.init_pidfd);
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

/* Drives the vm tier like the engine would, for tests and measurements without it: drive BUNDLE ID -> exit code of the container. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tier/tier.h"

static double ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct oci_spec *spec;
	char state[256], rootfs[4096];
	if (argc != 3)
		return 2;
	snprintf(state, sizeof state, "/tmp/vm/state-%s", argv[2]);
	mkdir(state, 0700);
	snprintf(rootfs, sizeof rootfs, "%s/rootfs", argv[1]);
	int bfd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (oci_spec_load(&a, bfd, "config.json", &spec, &e) < 0) {
		fprintf(stderr, "%s\n", err_msg(&e));
		return 1;
	}
	struct tier_container c = { .id = argv[2], .bundle = argv[1], .bundle_fd = bfd, .rootfs = rootfs, .state_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.state_dir = state, .spec = spec, .init_pidfd = -EBADF, .start_fd = -EBADF };
	struct tier_create_options o = { .stdio = { .console_socket = -EBADF, .terminal = -EBADF, .pidfd_socket = -EBADF }, .state_root_fd = -EBADF };
	double t0 = ms();
	if (tier_vm.create(&c, &o, &e) < 0) {
		fprintf(stderr, "create: %s\n", err_msg(&e));
		return 1;
	}
	double t1 = ms();
	if (tier_vm.start(&c, &e) < 0) {
		fprintf(stderr, "start: %s\n", err_msg(&e));
		return 1;
	}
	double t2 = ms();
	int status;
	waitpid(c.init_pid, &status, 0);
	fprintf(stderr, "create %.0f ms, start %.0f ms, run %.0f ms, status %x\n", t1 - t0, t2 - t1, ms() - t2, (unsigned)status);
	tier_vm.destroy(&c, &e);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

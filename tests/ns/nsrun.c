/*
 * Drives the ns tier without the engine, for tests of the tier alone and for looking at its system calls.
 *   nsrun --spec              prints the default configuration
 *   nsrun BUNDLE [ITERATIONS] runs it; exit status of the program, 125 for errors of ours
 * Environment: NSRUN_EXEC=COMMAND runs it in the container by exec (NSRUN_N times), then kills the container; NSRUN_TWO=1 two phases of both; NSRUN_NOCG=1 without
 * cgroups; NSRUN_MOUNT="SOURCE DESTINATION" adds a bind before the exec, NSRUN_UMOUNT=DESTINATION takes a mount away before the exec; NSRUN_TTY=1 prints
 * what comes out of the terminal; NSRUN_NOPIVOT=1.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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

/* What the program writes to its terminal, until it is gone. */
static void relay(int master) {
	char buf[512];
	ssize_t n;
	if (master < 0)
		return;
	while ((n = read(master, buf, sizeof(buf))) > 0)
		if (fd_write_all(1, buf, (size_t)n) < 0)
			break;
	close(master);
}

/* $NSRUN_EXEC through the container's shell, then the container is killed. */
static int exec_in(struct tier_container *c, struct err *e) {
	char source[256], dest[256];
	struct oci_mount m = { .destination = dest, .source = source, .type = "bind", .bind = true, .data = "" };
	if (getenv("NSRUN_MOUNT") && sscanf(getenv("NSRUN_MOUNT"), "%255s %255s", source, dest) == 2) {
		int r = tier_ns.mounts_add(c, &m, 1, e);
		if (r < 0)
			return r;
	}
	if (getenv("NSRUN_UMOUNT")) {
		m.destination = getenv("NSRUN_UMOUNT");
		int r = tier_ns.mounts_remove(c, &m, 1, e);
		if (r < 0)
			return r;
	}
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
		relay(o.stdio.terminal);
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
	if (argc > 1 && streq(argv[1], "--spec")) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		if (oci_spec_write_default(&out, false, 0, 0) < 0)
			return 1;
		fputs(strbuf_str(&out), stdout);
		return 0;
	}
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
	char name[64];
	snprintf(name, sizeof(name), "/nsroom-%d", (int)getpid());
	int n = argc > 2 ? atoi(argv[2]) : 1, status = 0;
	double t0 = now();
	for (int i = 0; i < n; i++) {
		_cleanup_cgroup_ struct cgroup *cg = NULL;
		const struct cgroup_request req = { .id = name + 1, .cgroups_path = name, .resources = &s->resources };
		if (!getenv("NSRUN_NOCG") && (cgroup_plan(&req, &cg, &e) < 0 || cgroup_create(cg, &e) < 0 || cgroup_apply(cg, &s->resources, CGROUP_APPLY_NEW, &e) < 0))
			goto bad;
		struct tier_container c = { .id = "nsrun", .bundle = argv[1], .bundle_fd = bundle, .rootfs = rootfs, .state_fd = state, .state_dir = dir,
			.spec = s, .cgroup = cg, .init_pidfd = -EBADF, .start_fd = -EBADF };
		struct tier_create_options o = { .stdio = { .console_socket = -EBADF, .terminal = -EBADF, .pidfd_socket = -EBADF }, .start_follows = !getenv("NSRUN_TWO"), .state_root_fd = -EBADF,
			.no_pivot = getenv("NSRUN_NOPIVOT") };
		if (tier_ns.create(&c, &o, &e) < 0 || tier_ns.start(&c, &e) < 0) {
			if (c.init_pid > 0) {
				kill(c.init_pid, 9);
				waitpid(c.init_pid, NULL, 0);
			}
			if (cg && cgroup_remove(cg, NULL) < 0)
				fprintf(stderr, "cgroup stays\n");
			goto bad;
		}
		if (getenv("NSRUN_EXEC")) {
			int r = exec_in(&c, &e);
			tier_ns.signal(&c, 9, false, NULL);
			if (r < 0)
				goto bad;
		}
		relay(o.stdio.terminal);
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

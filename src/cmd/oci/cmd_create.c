/* create, run, restore. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

#include "cmd/oci/cli.h"
#include "cmd/oci/criu_opts.h"

struct create_cmd {
	const char *bundle, *config, *console_socket, *pidfd_socket, *pid_file;
	uint32_t preserve_fds;
	bool no_pivot, no_new_keyring, detach, keep, no_subreaper;
	/* restore */
	struct criu_opts criu;
	const char *lsm_profile, *lsm_mount_context;
	struct opt_list ignored;
};
OPTION_FITS(struct create_cmd);

#define AT(m) offsetof(struct create_cmd, m)
#define BUNDLE_OPTS \
	{ "bundle", 'b', OPT_STRING, 0, COMPLETE_DIR, AT(bundle), "DIR", "path to the root of the bundle directory, defaults to the current directory", NULL }, \
	{ "console-socket", 0, OPT_STRING, 0, COMPLETE_FILE, AT(console_socket), "PATH", "AF_UNIX socket which will receive the master of the console's pseudo-terminal", NULL }, \
	{ "pidfd-socket", 0, OPT_STRING, 0, COMPLETE_FILE, AT(pidfd_socket), "PATH", "AF_UNIX socket which will receive a pidfd of the init process", NULL }, \
	{ "pid-file", 0, OPT_STRING, 0, COMPLETE_FILE, AT(pid_file), "FILE", "file to write the process id to", NULL }, \
	{ "no-pivot", 0, OPT_FLAG, 0, 0, AT(no_pivot), NULL, "do not use pivot_root to jail the process inside the rootfs (for a rootfs on top of a ramdisk)", NULL }, \
	{ "no-new-keyring", 0, OPT_FLAG, 0, 0, AT(no_new_keyring), NULL, "do not create a new session keyring for the container", NULL }, \
	{ "preserve-fds", 0, OPT_U32, 0, 0, AT(preserve_fds), "N", "pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)", NULL }, \
	{ "config", 'f', OPT_STRING, 0, COMPLETE_FILE, AT(config), "FILE", "name of the configuration file in the bundle, defaults to config.json", NULL }
#define SUBREAPER_OPT { "no-subreaper", 0, OPT_FLAG, 0, 0, AT(no_subreaper), NULL, "do not become the subreaper of the container's processes", NULL }
#define DETACH_OPT(what) { "detach", 'd', OPT_FLAG, 0, 0, AT(detach), NULL, what, NULL }

static const struct opt create_opts[] = { BUNDLE_OPTS,
	{ "no-subreaper", 0, OPT_FLAG, OPT_HIDDEN, 0, AT(no_subreaper), NULL, "accepted: create waits for nothing", NULL },
};
static const struct opt run_opts[] = { BUNDLE_OPTS,
	DETACH_OPT("detach from the container's process"),
	{ "keep", 0, OPT_FLAG, 0, 0, AT(keep), NULL, "do not delete the container after it exits", NULL },
	SUBREAPER_OPT,
};
static const struct opt restore_opts[] = { BUNDLE_OPTS,
	DETACH_OPT("detach from the container's process"), SUBREAPER_OPT, CRIU_OPTS(struct create_cmd, criu),
	{ "lsm-profile", 0, OPT_STRING, 0, 0, AT(lsm_profile), "TYPE:NAME", "LSM profile to restore the processes with instead of the one that was dumped", NULL },
	{ "lsm-mount-context", 0, OPT_STRING, 0, 0, AT(lsm_mount_context), "CONTEXT", "LSM mount context to restore with instead of the one that was dumped", NULL },
};

static struct create_options translate(const struct create_cmd *o, const char *id, bool detach) {
	return (struct create_options){ .id = id, .bundle = o->bundle && *o->bundle ? o->bundle : ".", .config = o->config,
		.console_socket = o->console_socket && *o->console_socket ? o->console_socket : NULL,
		.pidfd_socket = o->pidfd_socket && *o->pidfd_socket ? o->pidfd_socket : NULL,
		.pid_file = o->pid_file && *o->pid_file ? o->pid_file : NULL,
		.no_pivot = o->no_pivot, .no_new_keyring = o->no_new_keyring, .preserve_fds = o->preserve_fds, .detach = detach };
}

static int run_create(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	struct create_options o = translate(opts, argv[0], true);
	struct created c;
	int r = engine_create(&cli->eng, &o, &c, e);
	if (r < 0)
		return err_wrap(e, r, "%s create failed", cli->prog);
	ctr_free(c.ctr);
	return 0;
}

/* The container runs: stay with it, or leave it. */
static int attend(struct cli *cli, struct created *c, const struct create_cmd *o, struct err *e) {
	struct ctr *ctr = c->ctr;
	int r;
	if (o->detach) {
		r = c->notify_fd >= 0 ? notify_wait(ctr, c->notify_fd, e) : 0;
		return r;
	}
	ctr_unlock(ctr);
	struct foreground f = { .pid = ctr->rec.init_pid, .pidfd = ctr->pidfd, .terminal = c->terminal, .notify_fd = c->notify_fd, .forward_signals = true };
	if (ctr->spec) {
		f.width = (unsigned)(ctr->spec->process.console_width.set ? ctr->spec->process.console_width.v : 0);
		f.height = (unsigned)(ctr->spec->process.console_height.set ? ctr->spec->process.console_height.v : 0);
	}
	r = foreground_wait(&f, e);
	c->notify_fd = f.notify_fd;
	c->terminal = f.terminal; /* either may have been closed */
	if (r < 0)
		return r;
	cli->exit_code = r;
	if (o->keep)
		return 0;
	struct ctr *again; /* somebody may have deleted it meanwhile */
	r = ctr_open(&cli->eng, ctr->rec.id, CTR_LOCK, &again, e);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = engine_delete(again, true, e);
	ctr_free(again);
	return r;
}

static void close_created(struct created *c) {
	cleanup_close(&c->terminal);
	cleanup_close(&c->notify_fd);
	ctr_free(c->ctr);
}

static int run_run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	const struct create_cmd *o = opts;
	struct create_options create = translate(o, argv[0], o->detach);
	create.run = true;
	struct created c;
	int r = engine_create(&cli->eng, &create, &c, e);
	if (r < 0)
		return err_wrap(e, r, "%s run failed", cli->prog);
	if (!o->detach)
		foreground_prepare(!o->no_subreaper);
	r = notify_bind(c.ctr, &c.notify_fd, e);
	if (r == 0)
		r = engine_start(c.ctr, e);
	if (r < 0) {
		if (!c.ctr->locked) { /* poststart hooks run without the lock */
			struct ctr *again;
			if (ctr_open(&cli->eng, argv[0], CTR_LOCK, &again, NULL) == 0) {
				(void)!engine_delete(again, true, NULL);
				ctr_free(again);
			}
		} else
			(void)!engine_delete(c.ctr, true, NULL);
		close_created(&c);
		return err_wrap(e, r, "%s run failed", cli->prog);
	}
	r = attend(cli, &c, o, e);
	close_created(&c);
	return r;
}

static int run_restore(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	const struct create_cmd *o = opts;
	struct restore_options ro = { .create = translate(o, argv[0], o->detach) };
	int r = criu_translate(cli, &o->criu, &ro.criu, e);
	if (r < 0)
		return r;
	ro.criu.lsm_profile = o->lsm_profile;
	ro.criu.lsm_mount_context = o->lsm_mount_context;
	struct created c;
	r = engine_restore(&cli->eng, &ro, &c, e);
	if (r < 0)
		return err_wrap(e, r, "%s restore failed", cli->prog);
	if (!o->detach)
		foreground_prepare(!o->no_subreaper);
	r = attend(cli, &c, o, e);
	close_created(&c);
	return r;
}

const struct command cmd_create = { "create", "<container-id>", "create a container",
	"Builds the container that the bundle's config.json describes and stops before the user's program. \"start\" lets it run.\n\n"
	"The container id must be unique below the state root and may have letters, digits, '_', '+', '-' and '.'.",
	create_opts, ARRAY_SIZE(create_opts), CMD_ENTERS, 1, 1, 0, run_create };
const struct command cmd_run = { "run", "<container-id>", "create and run a container",
	"Creates the container, starts it, and unless --detach is given stays with it: signals and the terminal are passed on, the exit status is the "
	"process's, and the container is deleted at the end (--keep leaves it).",
	run_opts, ARRAY_SIZE(run_opts), CMD_ENTERS, 1, 1, 0, run_run };
const struct command cmd_restore = { "restore", "<container-id>", "restore a container from a previous checkpoint",
	"Restores the saved state of the container instance that was previously saved using the checkpoint command. The bundle is the one that it was made from.",
	restore_opts, ARRAY_SIZE(restore_opts), CMD_ENTERS, 1, 1, 0, run_restore };

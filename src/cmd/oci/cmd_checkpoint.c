/* checkpoint, and the options that it shares with restore. */
#include <errno.h>
#include <fcntl.h>

#include "cmd/oci/criu_opts.h"

struct checkpoint_cmd { struct criu_opts criu; };
OPTION_FITS(struct checkpoint_cmd);
#define AT(f) CRIU_AT(struct checkpoint_cmd, criu, f)

static const struct opt opts_[] = { CRIU_OPTS(struct checkpoint_cmd, criu),
	{ "parent-path", 0, OPT_STRING, 0, COMPLETE_DIR, AT(parent_path), "DIR", "path of the previous images, relative to image-path, for a pre-dump's successor", NULL },
	{ "leave-running", 0, OPT_FLAG, 0, 0, AT(leave_running), NULL, "leave the process running after checkpointing", NULL },
	{ "tcp-skip-in-flight", 0, OPT_FLAG, 0, 0, AT(tcp_skip_in_flight), NULL, "skip in-flight TCP connections", NULL },
	{ "page-server", 0, OPT_STRING, 0, 0, AT(page_server), "ADDRESS:PORT", "page server to send memory to", NULL },
	{ "status-fd", 0, OPT_STRING, 0, 0, AT(status_fd), "FD", "criu writes a zero byte to this descriptor when lazy-pages is ready", NULL },
	{ "pre-dump", 0, OPT_FLAG, 0, 0, AT(pre_dump), NULL, "dump the container's memory only, leave it running", NULL },
};

int criu_translate(struct cli *cli, const struct criu_opts *o, struct tier_checkpoint_options *ret, struct err *e) {
	static const char *const modes[] = { "soft", "full", "strict", "ignore" };
	*ret = (struct tier_checkpoint_options){ .image_path = o->image_path ? o->image_path : "checkpoint", .work_path = o->work_path, .parent_path = o->parent_path,
		.leave_running = o->leave_running, .tcp_established = o->tcp_established, .tcp_skip_in_flight = o->tcp_skip_in_flight, .tcp_close = o->tcp_close,
		.ext_unix_sk = o->ext_unix_sk, .shell_job = o->shell_job, .lazy_pages = o->lazy_pages, .file_locks = o->file_locks, .pre_dump = o->pre_dump,
		.auto_dedup = o->auto_dedup, .link_remap = o->link_remap, .status_fd = -EBADF, .page_server = o->page_server,
		.manage_cgroups_mode = o->manage_cgroups_mode, .criu_path = cli->eng.criu_path };
	size_t i;
	for (i = 0; o->manage_cgroups_mode && i < ARRAY_SIZE(modes) && !streq(modes[i], o->manage_cgroups_mode); i++)
		;
	if (i == ARRAY_SIZE(modes))
		return err_set(e, EINVAL, "Invalid manage-cgroups-mode value \"%s\": soft, full, strict or ignore", o->manage_cgroups_mode);
	for (i = 0; i < o->empty_ns.n; i++) {
		int flag = oci_namespace_flag(o->empty_ns.v[i]);
		if (flag < 0)
			return err_set(e, EINVAL, "namespace \"%s\" is not supported", o->empty_ns.v[i]);
		ret->empty_ns |= (uint64_t)flag;
	}
	if (o->page_server && !strrchr(o->page_server, ':'))
		return err_set(e, EINVAL, "Use --page-server ADDRESS:PORT to specify page server");
	if (o->status_fd) {
		uint64_t fd;
		if (parse_u64(o->status_fd, &fd) < 0 || fd > INT32_MAX || fcntl((int)fd, F_GETFD) < 0)
			return err_set(e, EBADF, "--status-fd %s is no open file descriptor", o->status_fd);
		ret->status_fd = (int)fd;
	}
	return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	const struct checkpoint_cmd *o = opts;
	struct tier_checkpoint_options t;
	int r = criu_translate(cli, &o->criu, &t, e);
	if (r < 0)
		return r;
	_cleanup_ctr_ struct ctr *c = NULL;
	r = ctr_open(&cli->eng, argv[0], CTR_LOCK, &c, e);
	return r < 0 ? r : engine_checkpoint(c, &t, e);
}

const struct command cmd_checkpoint = { "checkpoint", "<container-id>", "checkpoint a running container",
	"Saves the state of the container instance with criu (https://criu.org). Unless --leave-running or --pre-dump is given the container ends.",
	opts_, ARRAY_SIZE(opts_), 0, 1, 1, 'c', run };

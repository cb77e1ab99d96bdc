/* Options that checkpoint and restore share. */
#ifndef TIERCE_CMD_OCI_CRIU_OPTS_H
#define TIERCE_CMD_OCI_CRIU_OPTS_H

#include "cmd/oci/cli.h"

struct criu_opts {
	const char *image_path, *work_path, *parent_path, *page_server, *status_fd, *manage_cgroups_mode;
	struct opt_list empty_ns;
	bool leave_running, tcp_established, tcp_skip_in_flight, tcp_close, ext_unix_sk, shell_job, lazy_pages, file_locks, pre_dump, auto_dedup, link_remap;
};

#define CRIU_AT(t, m, f) offsetof(t, m) + offsetof(struct criu_opts, f)
#define CRIU_OPTS(t, m) \
	{ "image-path", 0, OPT_STRING, 0, COMPLETE_DIR, CRIU_AT(t, m, image_path), "DIR", "path of criu's image files, defaults to ./checkpoint", NULL }, \
	{ "work-path", 0, OPT_STRING, 0, COMPLETE_DIR, CRIU_AT(t, m, work_path), "DIR", "path of criu's work files and logs", NULL }, \
	{ "tcp-established", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, tcp_established), NULL, "allow open TCP connections", NULL }, \
	{ "tcp-close", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, tcp_close), NULL, "close open TCP connections", NULL }, \
	{ "ext-unix-sk", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, ext_unix_sk), NULL, "allow external unix sockets", NULL }, \
	{ "shell-job", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, shell_job), NULL, "allow shell jobs", NULL }, \
	{ "file-locks", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, file_locks), NULL, "allow file locks", NULL }, \
	{ "lazy-pages", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, lazy_pages), NULL, "use userfaultfd to migrate memory pages on demand", NULL }, \
	{ "auto-dedup", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, auto_dedup), NULL, "deduplicate memory images", NULL }, \
	{ "link-remap", 0, OPT_FLAG, 0, 0, CRIU_AT(t, m, link_remap), NULL, "allow remapping of links to unlinked files", NULL }, \
	{ "manage-cgroups-mode", 0, OPT_STRING, 0, COMPLETE_WORDS, CRIU_AT(t, m, manage_cgroups_mode), "soft|full|strict|ignore", "how criu treats cgroups, defaults to soft", NULL }, \
	{ "empty-ns", 0, OPT_LIST, 0, 0, CRIU_AT(t, m, empty_ns), "NAMESPACE", "create a namespace, but do not restore its properties", NULL }

/* Check values and translate; empty-ns names become bits. */
int criu_translate(struct cli *cli, const struct criu_opts *o, struct tier_checkpoint_options *ret, struct err *e) MUST_CHECK;

#endif

/* criu's service protocol (criu/images/rpc.proto, "criu swrk"): messages as structs, one conversation with a worker that we start. */
#ifndef TIERCE_TIER_NS_CRIU_H
#define TIERCE_TIER_NS_CRIU_H

#include "tier/tier.h"
#include "wire/pb.h"

enum criu_type { CRIU_DUMP = 1, CRIU_RESTORE = 2, CRIU_PRE_DUMP = 4, CRIU_NOTIFY = 6, CRIU_VERSION = 10 };
enum criu_cg_mode { CRIU_CG_IGNORE, CRIU_CG_NONE, CRIU_CG_PROPS, CRIU_CG_SOFT, CRIU_CG_FULL, CRIU_CG_STRICT };

struct criu_page_server { const char *address; int64_t port; };
struct criu_mount { const char *key, *val; };
struct criu_cg_root { const char *ctrl, *path; };
struct criu_inherit { const char *key; int64_t fd; };

struct criu_opts {
	int64_t images_dir_fd, pid, log_level, work_dir_fd;
	bool leave_running, ext_unix_sk, tcp_established, evasive_devices, shell_job, file_locks, notify_scripts, track_mem, auto_dedup, link_remap, rst_sibling,
		manage_cgroups, tcp_skip_in_flight, lazy_pages, orphan_pts_master, tcp_close;
	const char *log_file, *root, *parent_img, *freeze_cgroup, *config_file, *lsm_profile, *lsm_mount_context;
	struct criu_page_server *ps;
	struct pb_list ext_mnt, cg_root, inherit_fd, external; /* criu_mount, criu_cg_root, criu_inherit, const char * */
	int64_t manage_cgroups_mode;
	uint64_t empty_ns;
};

struct criu_request { int64_t type; struct criu_opts *opts; bool notify_success; };
struct criu_version { int64_t major, minor, sublevel; };
struct criu_notify { const char *script; int64_t pid; };
struct criu_restored { int64_t pid; };
struct criu_response {
	int64_t type;
	bool success;
	struct criu_restored *restore;
	struct criu_notify *notify;
	int64_t cr_errno;
	const char *cr_errmsg;
	struct criu_version *version;
};

struct criu {
	struct tier_container *c;
	struct arena arena;
	int sock;                    /* SOCK_SEQPACKET to the worker */
	pid_t worker;
	struct criu_opts opts;
	int image_fd, work_fd;
	const char *image_path, *work_path;
	/* fds that the worker gets, at 4 and up in this order (3 is the socket) */
	int pass[24];
	size_t n_pass;
	const char *bind_root;       /* restore: bind the rootfs here in the worker's own mount namespace */
	/* Called for each notification with the fd that came along or -EBADF (the callee's to close); negative refuses. */
	int (*notified)(struct criu *x, const struct criu_notify *n, int fd, struct err *e);
	void *arg;
};
#define _cleanup_criu_ CLEANUP(criu_end)

/* Directories, the options that dump and restore share; e names the missing piece. */
int criu_begin(struct criu *x, struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e) MUST_CHECK;
/* Number that a passed fd will have in the worker; negative errno when there are too many. */
int criu_pass(struct criu *x, int fd);
/* Start the worker ("criu swrk 3"). */
int criu_spawn(struct criu *x, const char *program, struct err *e) MUST_CHECK;
/* One request and its notifications until the response. log: file in the work directory that an error quotes. */
int criu_talk(struct criu *x, enum criu_type type, const char *log, struct criu_response *ret, struct err *e) MUST_CHECK;
void criu_end(struct criu *x);

/* Appends one element to a list that grows in the arena. */
int criu_add_mount(struct criu *x, const char *key, const char *val);
int criu_add_external(struct criu *x, const char *fmt, ...) PRINTF(2, 3);
int criu_add_inherit(struct criu *x, const char *key, int fd);

int ns_op_checkpoint(struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e);
int ns_op_restore(struct tier_container *c, struct tier_checkpoint_options *o, struct err *e);

/* Names under which a namespace that is not the container's own is left out of the images. NULL: criu has no such thing for this kind. */
const char *criu_external_ns(int flag, const char **ret_kind);

#endif

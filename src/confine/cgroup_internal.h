/* What the files of the cgroup library share; nobody else includes this. */
#ifndef TIERCE_CONFINE_CGROUP_INTERNAL_H
#define TIERCE_CONFINE_CGROUP_INTERNAL_H

#include "confine/cgroup.h"

/* One hierarchy of this host and the container's place in it. */
struct cgroup_hier {
	char *names;          /* as in /proc/self/cgroup: "cpu,cpuacct", "name=systemd"; "" for v2 */
	char *mount;          /* mount point; NULL after cgroup_load() */
	char *self;           /* the calling process's own path in it; NULL after cgroup_load() */
	char *dir;            /* the container's directory, absolute */
	uint32_t controllers; /* bits; v2 after cgroup_load(): all that no v1 hierarchy has */
	bool v2;
	int fd;               /* dir, O_PATH|O_DIRECTORY, or -EBADF */
	bool made; /* its directory is of this cgroup_create(), which takes it away again when it fails */
};

struct cgroup_layout {
	enum cgroup_mode mode;
	struct cgroup_hier h[CGROUP_HIERARCHIES_MAX];
	size_t n;
};

struct cgroup {
	enum cgroup_manager manager;
	enum cgroup_mode mode;
	bool user, rootless, chown, active;
	uint32_t owner_uid, owner_gid;
	uint32_t want;        /* controllers that the resources need */
	char *path, *unit, *slice, *sub, *helper;
	char *join;           /* v2: directory that processes enter when it is not dir (run.oci.delegate-cgroup), else NULL */
	char *dirs;           /* cgroup_save() */
	char **props;         /* systemd: "Name=value" from annotations */
	size_t n_props;
	struct cgroup_hier h[CGROUP_HIERARCHIES_MAX];
	size_t n;
	int join_fd;
	signed char may_enter; /* cgroup_may_enter(): 0 not asked yet, 1 yes, -1 no */
	int helper_fd;        /* socket to the helper that holds the scope open */
	pid_t helper_pid;
};

/* Where the library looks. Tests point it at a directory tree of their own; then file system magics are not compared. */
struct cgroup_host {
	const char *top;         /* "/sys/fs/cgroup" */
	const char *self_cgroup; /* "/proc/self/cgroup" */
	bool fake;
	bool fake_v2;            /* what top is when fake */
};
extern struct cgroup_host cgroup_host;

extern const char *const cgroup_controller_names[CGROUP_CONTROLLERS];
/* Bits for a comma- or space-separated list of names ("io" is blkio); unknown names are skipped. */
uint32_t cgroup_controllers_parse(const char *list);

/* cgroup_layout.c. self: fill h[].self as well (costs one read of /proc/self/cgroup on v2). */
int cgroup_layout(struct cgroup_layout *ret, bool self, struct err *e);
void cgroup_layout_free(struct cgroup_layout *l);

/* cgroup.c */
struct cgroup_hier *cgroup_v2(struct cgroup *cg);
/* The hierarchy that has the controller, NULL when none has. */
struct cgroup_hier *cgroup_hier(struct cgroup *cg, enum cgroup_controller c);
/* Open dir once; negative errno when it is not there. */
int cgroup_hier_fd(struct cgroup_hier *h);

/* Controllers that the resources need, as bits. */
uint32_t cgroup_wanted(const struct oci_resources *r);
/* Another path for the whole tree (the systemd manager learned it). */
int cgroup_replan(struct cgroup *cg, const char *path, struct err *e);

/* cgroup_file.c: one value per write, as cgroup files want it. */
int cgroup_write(struct cgroup_hier *h, const char *file, const char *value);
int cgroup_write_err(struct cgroup_hier *h, const char *file, const char *value, struct err *e);
/* At most size-1 bytes, NUL-terminated, trailing newline removed. Length or negative errno. */
ssize_t cgroup_read(struct cgroup_hier *h, const char *file, char *buf, size_t size);
ssize_t cgroup_readat(int dirfd, const char *file, char *buf, size_t size);
int cgroup_read_u64(struct cgroup_hier *h, const char *file, uint64_t *ret); /* "max" is UINT64_MAX */
/* Value of "key value" in a flat keyed file that was read into text. */
bool cgroup_flat_key(const char *text, const char *key, uint64_t *ret);
/* Wait until "key value" stands in the hierarchy's cgroup.events; -ETIMEDOUT. */
int cgroup_wait_event(struct cgroup_hier *h, const char *key, uint64_t value, int timeout_ms);

/* cgroup_tree.c */
int cgroup_enable_v2(struct cgroup *cg, struct cgroup_hier *h, uint32_t want);

/* cgroup_attach.c: may the caller move a process from its own v2 cgroup into ours? Always for root. */
bool cgroup_may_enter(struct cgroup *cg);

/* cgroup_device.c, cgroup_bpf.c */
struct cgroup_device_rule { bool allow; char type; int64_t major, minor; /* -1: any */ uint8_t access; };
enum { CGROUP_ACC_MKNOD = 1, CGROUP_ACC_READ = 2, CGROUP_ACC_WRITE = 4, CGROUP_ACC_ALL = 7 }; /* BPF_DEVCG_ACC_* */
int cgroup_devices(struct cgroup *cg, const struct oci_resources *r, bool fresh, struct err *e);
struct bpf_insn;
/* Program for the rules (last match wins, bit by bit; default deny) into ret[max]; number of instructions or -E2BIG. */
int cgroup_bpf_build(const struct cgroup_device_rule *rules, size_t n, struct bpf_insn *ret, size_t max);
int cgroup_bpf_attach(int dirfd, const struct cgroup_device_rule *rules, size_t n, struct err *e);
/* v1: reduce rules to a default and exceptions; -ENOTSUP when v1 cannot say it. Array is malloc'ed. */
int cgroup_device_reduce(const struct cgroup_device_rule *rules, size_t n, bool *ret_default, struct cgroup_device_rule **ret, size_t *ret_n, struct err *e);
/* Rules of r behind a "deny all", in front of the default allow list; malloc'ed. */
int cgroup_device_rules(const struct oci_resources *r, struct cgroup_device_rule **ret, size_t *ret_n, struct err *e);

/* cgroup_io.c, cgroup_misc.c: parts of cgroup_apply() */
int cgroup_apply_io(struct cgroup *cg, const struct oci_resources *r, struct err *e);
int cgroup_apply_rest(struct cgroup *cg, const struct oci_resources *r, struct err *e); /* hugetlb, rdma, net, unified */
int cgroup_no_controller(enum cgroup_controller c, const char *what, struct err *e);    /* sets and returns -ENOTSUP */
uint64_t cgroup_shares_to_weight(uint64_t shares);
uint64_t cgroup_blkio_to_io_weight(uint64_t weight);
int cgroup_swap_to_v2(int64_t swap, int64_t limit, int64_t *ret, struct err *e); /* -1: max */

/* cgroup_systemd.c */
int cgroup_systemd_plan(struct cgroup *cg, const struct cgroup_request *req, struct err *e);
int cgroup_systemd_start(struct cgroup *cg, struct err *e);
int cgroup_systemd_apply(struct cgroup *cg, const struct oci_resources *r, struct err *e);
int cgroup_systemd_attach(struct cgroup *cg, const char *sub, pid_t pid, struct err *e);
int cgroup_systemd_stop(struct cgroup *cg, struct err *e);
void cgroup_systemd_release(struct cgroup *cg);
int cgroup_slice_path(const char *slice, struct strbuf *out, struct err *e);

#endif

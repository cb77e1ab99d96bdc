/*
 * Containers for people: what the container commands of `tierce` share.
 *
 * On disk, below the data directory (/var/lib/tierce):
 *   containers/ID/container.json   what was asked for: id, name, image, options as typed, the image's configuration. Replaced atomically.
 *   containers/ID/{config.json,monitor.json,hosts,resolv.conf,hostname,rootfs/,...}  derived at each start
 *   names/NAME -> ../containers/ID symbolic link: made with symlink(2), so that a name can be taken only once
 *   volumes/NAME/_data, volumes/NAME/volume.json
 *   secrets/NAME (0600)
 *   networks/NAME.conflist
 * and below the run directory (/run/tierce-people): MONITOR/{ctl,lock}, ID/stop, netns/ID.
 * The engine's state root is its own default, so that `tierce-oci list` shows these containers too.
 *
 * There is no daemon and no database: a container exists when its container.json does; it runs when its monitor holds its lock or its init lives.
 */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_H
#define TIERCE_CMD_TIERCE_PEOPLE_H

#include "cmd/tierce/people/runopts.h"
#include "engine/engine.h"
#include "engine/specgen.h"
#include "monitor/monitor.h"
#include "net/cni.h"
#include "spec/oci.h"

struct cli;
struct store;

struct people {
	struct arena arena;
	struct engine eng;
	const char *data_dir, *run_dir, *state_root;
	const char *libexec;        /* folder of tierce-monitor and tierce-init */
	const char *self;           /* path of this program, for cleanup */
	struct cni_dirs cni;
	bool rootless;
	struct cli *cli;
	struct store *store;        /* opened on first use */
};

/* Fill from the environment and --root/--runroot (NULL: default); makes the directories. */
int people_open(struct people *p, const char *root, const char *runroot, struct err *e) MUST_CHECK;
void people_close(struct people *p);
/* Only the paths, nothing is made. */
int people_paths(struct people *p, const char *root, const char *runroot, struct err *e) MUST_CHECK;
/* An ordinary user's command goes on as root of the user's namespaces (rootless.h). Call before there are threads. */
int people_enter(const char *root, const char *runroot, struct err *e) MUST_CHECK;

/* ---- container records (record.c) ------------------------------------------------------------------------------------ */

struct pctr {
	struct people *p;
	const char *id, *name, *image, *image_id, *created; /* created: RFC 3339 */
	const char *dir;            /* data_dir/containers/ID */
	struct run_opts opts;
	const char *const *command; /* words behind the image, NULL-terminated */
	size_t n_command;
	struct json *image_config;  /* the image's "config" object: Env, Entrypoint, ...; NULL for --rootfs */
	struct json *doc;           /* container.json */
	const char *pod_id;         /* NULL: stand-alone */
	const char *infra;          /* "infra" role of pods; unused for containers */
	struct monitor_status status;
	bool monitored;             /* its monitor is alive */
	const char *state;          /* "created", "running", "paused", "exited", "restarting" as people see it */
	pid_t pid;                  /* of a live init, else 0 */
};

/* New id and record; the name is taken (or made up). On failure nothing stays. */
int pctr_create(struct people *p, const struct run_opts *o, const char *image, const char *image_id, struct json *image_config, const char *const *command,
	size_t n_command, struct pctr **ret, struct err *e) MUST_CHECK;
/* By full name, full id or unique prefix of an id. -ENOENT "no such container". */
int pctr_find(struct people *p, const char *who, struct pctr **ret, struct err *e) MUST_CHECK;
/* All, newest first. Damaged directories are skipped (system check reports them). */
int pctr_list(struct people *p, struct pctr ***ret, size_t *n, struct err *e) MUST_CHECK;
/* Ask monitor and kernel again. */
void pctr_refresh(struct pctr *c);
int pctr_save(struct pctr *c, struct err *e) MUST_CHECK;
int pctr_rename(struct pctr *c, const char *name, struct err *e) MUST_CHECK;
/* Remove the record, its files and its name. It must not run. */
int pctr_forget(struct pctr *c, struct err *e) MUST_CHECK;
bool name_ok(const char *name);
int remove_tree(int dirfd, const char *name, struct err *e);

/* ---- image of a container (image.c) ------------------------------------------------------------------------------------ */

struct image_pick { const char *id, *ref; struct json *config; /* the "config" member of the image configuration */ };
int image_pick(struct people *p, const char *ref, const struct run_opts *o, struct image_pick *ret, struct err *e) MUST_CHECK;
/* Mount the container's root file system at DIR/rootfs (idempotent) and give its path; unmount. */
int rootfs_create(struct pctr *c, struct err *e) MUST_CHECK;
int rootfs_mount(struct pctr *c, const char **ret, struct err *e) MUST_CHECK;
int rootfs_unmount(struct pctr *c, struct err *e);
/* Mount another image for the container (dest tells several apart); unmounted and removed with the root file system. */
int image_mount(struct pctr *c, const char *image, const char *dest, bool writable, const char **ret, struct err *e) MUST_CHECK;
int rootfs_remove(struct pctr *c, struct err *e) MUST_CHECK;
int rootfs_diff(struct pctr *c, int (*cb)(void *ctx, char kind, const char *path), void *ctx, struct err *e) MUST_CHECK;
/* --rmi: remove its image when nothing else uses it. */
void image_drop(struct pctr *c);
struct commit_opts;
int rootfs_commit(struct pctr *c, const struct commit_opts *o, const char **ret_id, struct err *e) MUST_CHECK;

/* ---- user namespaces (userns.c) ------------------------------------------------------------------------------------------- */

struct userns_plan {
	bool own;                        /* a new one with these maps; else path, or the caller's */
	struct oci_id_maps uids, gids;   /* known also for "container:"; empty: ids are the caller's */
	const char *path;
	bool keep_id;
	uint32_t uid, gid;               /* with keep_id: who the caller is inside */
};
/* What --userns, --uidmap and so on mean. Idempotent: what auto gives a container is its own until userns_forget(). */
int userns_plan(struct pctr *c, struct userns_plan *ret, struct err *e) MUST_CHECK;
void userns_forget(struct pctr *c);
/* The mode's word alone. */
int userns_check(const char *mode, struct err *e) MUST_CHECK;
/* Id outside of an id inside; (uint32_t)-1: not mapped. */
uint32_t userns_outside(const struct oci_id_maps *m, uint32_t id);
/* The same for the store: who owns the container's files. ret->userns is the caller's to close. */
struct snapshot_ids;
int userns_ids(struct pctr *c, struct snapshot_ids *ret, struct err *e) MUST_CHECK;

/* ---- from options to a bundle (bundle*.c) ------------------------------------------------------------------------------ */

struct bundle {
	struct arena *a;
	struct pctr *c;
	struct specgen g;
	const char *rootfs;
	struct oci_map annotations, sysctl;
	struct specgen_mount mounts[128];
	size_t n_mounts;
	bool by_option, asked[128]; /* mounts that an option of the user names: no two for one place */
	struct specgen_device devices[64];
	size_t n_devices;
	struct specgen_rlimit rlimits[32];
	const char **env;
	size_t n_env;
	const char *netns;   /* path of the namespace to join, NULL: none or host */
	struct userns_plan ids;
};
enum { BUNDLE_MOUNTS_MAX = 128, BUNDLE_DEVICES_MAX = 64 };

/* Checks that need no running container: every option's value. Called by create, so that mistakes show there. */
int bundle_check(struct pctr *c, struct err *e) MUST_CHECK;
/* Write config.json, monitor.json, hosts ... The root file system is mounted, the network is made. */
int bundle_write(struct pctr *c, const char *rootfs, const char *netns, struct err *e) MUST_CHECK;
int bundle_process(struct bundle *b, struct err *e) MUST_CHECK;      /* args, env, cwd, user, capabilities, limits */
int bundle_files(struct bundle *b, struct err *e) MUST_CHECK;        /* volumes, mounts, tmpfs, devices, secrets, hosts */
int bundle_namespaces(struct bundle *b, struct err *e) MUST_CHECK;
int bundle_resources(struct bundle *b, struct err *e) MUST_CHECK;
int bundle_extra(struct bundle *b, struct err *e) MUST_CHECK;        /* --tz, --systemd, /etc/passwd */
int bundle_extra_check(struct bundle *b, struct err *e) MUST_CHECK;
int bundle_block_io(struct bundle *b, struct err *e) MUST_CHECK;
/* Is the command a system manager, or said to be one? */
int container_systemd(struct pctr *c, bool *ret, struct err *e) MUST_CHECK;
/* --label-file into --label. */
int labels_from_files(struct people *p, struct run_opts *o, struct err *e) MUST_CHECK;
/* A file of the container's directory that its root owns. */
int bundle_write_file(struct bundle *b, const char *name, const struct strbuf *text, struct err *e) MUST_CHECK;
int capabilities_check(struct bundle *b, struct err *e) MUST_CHECK;  /* values of --cap-add, --cap-drop, --ulimit */
int bundle_add_mount(struct bundle *b, const char *dest, const char *type, const char *source, const char *const *options, struct err *e) MUST_CHECK;
const char *bundle_env(struct bundle *b, const char *name);
int bundle_exec_env(struct bundle *b, const struct opt_list *env, const struct opt_list *files, bool tty, struct err *e) MUST_CHECK;

/* Values as people type them; messages name the option. */
int parse_size(const char *option, const char *s, int64_t *ret, struct err *e) MUST_CHECK;        /* 512m, 1g, 1.5g; "-1" */
int parse_duration(const char *option, const char *s, uint64_t *ret_ns, struct err *e) MUST_CHECK; /* 30s, 1m30s, 500ms; plain number: seconds */
int parse_bool(const char *option, const char *s, bool dflt, bool *ret, struct err *e) MUST_CHECK;
int parse_number(const char *option, const char *s, int64_t min, int64_t max, int64_t *ret, struct err *e) MUST_CHECK;
int parse_port(struct arena *a, const char *s, struct cni_port **v, size_t *n, struct err *e) MUST_CHECK; /* appends; ranges; host 0: any */

/* Users in the container's own files, read below the mounted root. */
struct user_pick { uint32_t uid, gid; uint32_t *groups; size_t n_groups; const char *home, *name; };
int user_lookup(struct arena *a, const char *rootfs, const char *user, const struct opt_list *group_add, struct user_pick *ret, struct err *e) MUST_CHECK;

/* ---- volumes (volume.c) -------------------------------------------------------------------------------------------------- */
/* New, with "labels" and "options" of extra (may be NULL); owner is the container of an anonymous one, else NULL. Exists already: left as it is. */
int volume_make(struct people *p, const char *name, const char *owner, const struct json *extra, const char **ret_path, struct err *e) MUST_CHECK;
/* The directory of a volume that is made on first use; for one with options type=bind its device. */
int volume_ensure(struct people *p, const char *name, bool anonymous, const char *owner, const char **ret_path, struct err *e) MUST_CHECK;
/* A volume that is still empty belongs to the container's root. */
void volume_own(const char *path, uint32_t uid, uint32_t gid);
/* The whole tree, links themselves: option U. */
int volume_chown(const char *path, uint32_t uid, uint32_t gid, struct err *e) MUST_CHECK;
/* Copy what the image has at dest into an empty volume, once (docker's copy-up). */
int volume_copy_up(struct people *p, const char *volume_path, const char *rootfs, const char *dest, struct err *e) MUST_CHECK;

/* ---- network (netsetup.c) ------------------------------------------------------------------------------------------------ */
enum net_mode { NET_BRIDGE, NET_NONE, NET_HOST, NET_CONTAINER, NET_PATH, NET_SLIRP, NET_PASTA, NET_POD };
struct net_plan { enum net_mode mode; const char *arg; const char *names[16]; size_t n; };
int net_plan(struct pctr *c, struct net_plan *ret, struct err *e) MUST_CHECK;
/* Make the namespace and attach it; *ret_netns: path or NULL. Idempotent for a container that is up. */
int net_up(struct pctr *c, const char **ret_netns, struct err *e) MUST_CHECK;
int net_down(struct pctr *c, struct err *e);
/* Where net_up() binds the user namespace of a container that has its own. */
const char *net_userns_path(struct pctr *c);
/* Addresses and ports of a container that is up, from net.json in its directory. NULL when none. */
struct json *net_state(struct pctr *c);
int net_write_files(struct bundle *b, struct err *e) MUST_CHECK; /* hosts, resolv.conf, hostname */
/* network create --internal: no way out. */
bool net_is_internal(struct people *p, const char *network);
bool net_is_default(const char *network);
/* A further network for a container: word is NAME[:ip=..,ip6=..,mac=..,alias=..]. A running one gets it at once. net_disconnect: -ENOTCONN. */
int net_connect(struct pctr *c, const char *name, const char *word, struct err *e) MUST_CHECK;
int net_disconnect(struct pctr *c, const char *name, struct err *e) MUST_CHECK;
int net_ensure_default(struct people *p, struct err *e) MUST_CHECK;
/* Rewrite what the monitors' resolvers know (monitor/dns.h). */
void net_refresh_names(struct people *p);
/* Rewrite the hosts files and the names of all containers that share a network with c (it came or went). */
void net_refresh_hosts(struct people *p);

/* ---- life (life.c) -------------------------------------------------------------------------------------------------------- */
struct attach_io { bool in, out, err, tty, sig_proxy; const char *detach_keys; };
/* Start; with io (may be NULL) attach before the first byte is written. *ret_fd: the connection, or -EBADF without io. */
int pctr_start(struct pctr *c, const struct attach_io *io, int *ret_fd, struct err *e) MUST_CHECK;
/* Relay until the end or detach: exit code, or -ECANCELED when detached. */
int pctr_relay(struct pctr *c, int fd, const struct attach_io *io, struct err *e) MUST_CHECK;
int pctr_connect(struct pctr *c, struct err *e) MUST_CHECK; /* control socket */
int pctr_wait(struct pctr *c, struct err *e) MUST_CHECK;    /* exit code */
int pctr_stop(struct pctr *c, int64_t timeout_s, bool ignore, struct err *e) MUST_CHECK;
int pctr_kill(struct pctr *c, int sig, struct err *e) MUST_CHECK;
int pctr_remove(struct pctr *c, bool force, bool volumes, int64_t timeout_s, struct err *e) MUST_CHECK;
/* What is left to do when a container has ended: network, mounts, and with --rm everything. */
int pctr_cleanup(struct pctr *c, struct err *e) MUST_CHECK;
int engine_open(struct pctr *c, bool lock, struct ctr **ret, struct err *e) MUST_CHECK;

/* ---- events (events.c) ------------------------------------------------------------------------------------------------------ */
/* Best effort: an event that cannot be written does not fail what it tells about. With --events-backend none nothing is written. */
void event_write(struct people *p, const char *type, const char *action, const char *id, const char *name);
/* With image, labels, and for "died" the exit code. */
void event_container(const struct pctr *c, const char *action);

#endif

/* The options of run and create: one table that parses them, prints their help, and writes them into container.json and back. */
#ifndef TIERCE_CMD_TIERCE_RUNOPTS_H
#define TIERCE_CMD_TIERCE_RUNOPTS_H

#include "cmd/oci/opt.h"
#include "wire/json.h"

struct run_opts {
	/* how it is started and shown */
	bool rootfs_flag, detach, interactive, tty, rm, init, replace, quiet, rmi, no_hosts, no_healthcheck;
	const char *name, *cidfile, *pidfile, *conmon_pidfile, *detach_keys, *pull, *platform, *arch, *os, *sig_proxy, *tls_verify, *authfile, *pod, *isolation, *progress;
	struct opt_list attach;
	/* process */
	struct opt_list env, env_file, label, label_file, annotation, group_add, ulimit, sysctl, requires;
	bool env_host;
	struct opt_list env_merge, hostuser;
	const char *passwd, *passwd_entry, *cgroups, *gpus, *variant, *health_on_failure;
	struct opt_list unsetenv;
	const char *workdir, *user, *entrypoint, *hostname, *umask, *timezone, *stop_signal, *stop_timeout, *timeout, *restart, *init_path, *http_proxy, *sdnotify, *systemd, *domainname;
	/* security */
	bool privileged, read_only;
	const char *read_only_tmpfs;
	struct opt_list cap_add, cap_drop, security_opt, device, device_cgroup_rule;
	/* namespaces */
	const char *userns, *pid, *ipc, *uts, *cgroupns, *cgroup_parent, *subuidname, *subgidname;
	struct opt_list uidmap, gidmap;
	/* files */
	struct opt_list volume, mount, tmpfs, volumes_from, secret;
	const char *shm_size, *image_volume;
	/* network */
	struct opt_list network, publish, expose, dns, dns_search, dns_option, add_host, network_alias;
	bool publish_all;
	const char *ip, *ip6, *mac_address;
	/* resources */
	const char *memory, *memory_swap, *memory_reservation, *memory_swappiness, *kernel_memory, *cpus, *cpu_shares, *cpu_period, *cpu_quota, *cpuset_cpus,
		*cpuset_mems, *pids_limit, *oom_score_adj, *blkio_weight;
	bool oom_kill_disable;
	struct opt_list cgroup_conf, blkio_weight_device, device_read_bps, device_write_bps, device_read_iops, device_write_iops;
	/* logs and health */
	const char *log_driver, *health_cmd, *health_interval, *health_timeout, *health_retries, *health_start_period;
	struct opt_list log_opt;
};

extern const struct opt run_option_rows[];
enum { RUN_OPTION_ROWS = 126 };

/* Write every option that is set as a member named like the long option; read them back (strings point into the document). */
void run_opts_write(struct json_writer *w, const struct run_opts *o);
int run_opts_read(struct arena *a, const struct json *j, struct run_opts *ret, struct err *e) MUST_CHECK;

#endif

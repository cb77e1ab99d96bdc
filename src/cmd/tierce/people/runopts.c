/* The rows of run and create: see runopts.h. */
#include "cmd/tierce/people/runopts.h"

#include <errno.h>

#define ROW(long_, short_, kind_, member_, arg_, help_, alias_) \
	{ .name = long_, .short_name = short_, .kind = OPT_##kind_, .offset = offsetof(struct run_opts, member_), .arg = arg_, .help = help_, .alias = alias_ }

const struct opt run_option_rows[] = {
	ROW("add-host", 0, LIST, add_host, "HOST:IP", "add a line to /etc/hosts", NULL),
	ROW("annotation", 0, LIST, annotation, "KEY=VALUE", "add an annotation to the container's configuration", NULL),
	ROW("arch", 0, STRING, arch, "ARCH", "use this architecture instead of the host's", NULL),
	ROW("attach", 'a', LIST, attach, "STREAM", "attach to stdin, stdout or stderr", NULL),
	ROW("authfile", 0, STRING, authfile, "FILE", "credentials for registries", NULL),
	ROW("blkio-weight", 0, STRING, blkio_weight, "WEIGHT", "block I/O weight, 10 to 1000", NULL),
	ROW("blkio-weight-device", 0, LIST, blkio_weight_device, "DEVICE:WEIGHT", "block I/O weight of a device", NULL),
	ROW("cap-add", 0, LIST, cap_add, "CAP", "give a capability (or ALL)", NULL),
	ROW("cap-drop", 0, LIST, cap_drop, "CAP", "take a capability away (or ALL)", NULL),
	ROW("cgroup-conf", 0, LIST, cgroup_conf, "KEY=VALUE", "write a value to a cgroup v2 file", NULL),
	ROW("cgroup-parent", 0, STRING, cgroup_parent, "PATH", "cgroup to put the container's below", NULL),
	ROW("cgroupns", 0, STRING, cgroupns, "MODE", "cgroup namespace: private, host", NULL),
	ROW("cgroups", 0, STRING, cgroups, "enabled|disabled|no-conmon", "whether the container gets cgroups of its own (default enabled)", NULL),
	ROW("cidfile", 0, STRING, cidfile, "FILE", "write the container's id to a file", NULL),
	ROW("conmon-pidfile", 0, STRING, conmon_pidfile, "FILE", "write the pid of the container's monitor to a file", NULL),
	ROW("cpu-period", 0, STRING, cpu_period, "US", "CFS period in microseconds", NULL),
	ROW("cpu-quota", 0, STRING, cpu_quota, "US", "CFS quota in microseconds", NULL),
	ROW("cpu-shares", 'c', STRING, cpu_shares, "N", "relative CPU weight", NULL),
	ROW("cpus", 0, STRING, cpus, "N", "number of CPUs, for instance 1.5", NULL),
	ROW("cpuset-cpus", 0, STRING, cpuset_cpus, "LIST", "CPUs that may be used (0-3, 0,1)", NULL),
	ROW("cpuset-mems", 0, STRING, cpuset_mems, "LIST", "memory nodes that may be used", NULL),
	ROW("detach", 'd', FLAG, detach, NULL, "run in the background and print the id", NULL),
	ROW("detach-keys", 0, STRING, detach_keys, "KEYS", "keys that detach from the terminal (default ctrl-p,ctrl-q)", NULL),
	ROW("device", 0, LIST, device, "HOST[:CONTAINER[:rwm]]", "give access to a host device", NULL),
	ROW("device-cgroup-rule", 0, LIST, device_cgroup_rule, "RULE", "add a rule to the allowed devices", NULL),
	ROW("device-read-bps", 0, LIST, device_read_bps, "DEVICE:SIZE", "bytes a second that may be read from a device", NULL),
	ROW("device-read-iops", 0, LIST, device_read_iops, "DEVICE:N", "reads a second of a device", NULL),
	ROW("device-write-bps", 0, LIST, device_write_bps, "DEVICE:SIZE", "bytes a second that may be written to a device", NULL),
	ROW("device-write-iops", 0, LIST, device_write_iops, "DEVICE:N", "writes a second of a device", NULL),
	ROW("dns", 0, LIST, dns, "ADDRESS", "DNS server", NULL),
	ROW("dns-option", 0, LIST, dns_option, "OPTION", "resolver option", "dns-opt"),
	ROW("dns-search", 0, LIST, dns_search, "DOMAIN", "search domain", NULL),
	ROW("domainname", 0, STRING, domainname, "NAME", "NIS domain name", NULL),
	ROW("entrypoint", 0, STRING, entrypoint, "COMMAND", "replace the image's entry point (a JSON array or one word; \"\" removes it)", NULL),
	ROW("env", 'e', LIST, env, "NAME[=VALUE]", "set an environment variable (NAME alone: the host's value)", NULL),
	ROW("env-file", 0, LIST, env_file, "FILE", "read environment variables from a file", NULL),
	ROW("env-host", 0, FLAG, env_host, NULL, "pass the whole environment of the host", NULL),
	ROW("env-merge", 0, LIST, env_merge, "NAME=VALUE", "like --env, with ${NAME} for what the image has", NULL),
	ROW("expose", 0, LIST, expose, "PORT[/PROTO]", "note a port without publishing it", NULL),
	ROW("gidmap", 0, LIST, gidmap, "C:H:N", "map group ids in a new user namespace", NULL),
	ROW("gpus", 0, STRING, gpus, "N|all", "refused: there is no CDI here", NULL),
	ROW("group-add", 0, LIST, group_add, "GROUP", "additional group of the user (keep-groups: the caller's)", NULL),
	ROW("health-cmd", 0, STRING, health_cmd, "COMMAND", "command that checks the container's health (none: no check)", NULL),
	ROW("health-interval", 0, STRING, health_interval, "TIME", "time between checks (default 30s)", NULL),
	ROW("health-on-failure", 0, STRING, health_on_failure, "none|kill|restart", "what to do with an unhealthy container (default none)", NULL),
	ROW("health-retries", 0, STRING, health_retries, "N", "failures in a row before unhealthy (default 3)", NULL),
	ROW("health-start-period", 0, STRING, health_start_period, "TIME", "time in which failures do not count (default 0s)", NULL),
	ROW("health-timeout", 0, STRING, health_timeout, "TIME", "longest time of a check (default 30s)", NULL),
	ROW("hostname", 'h', STRING, hostname, "NAME", "host name inside", NULL),
	ROW("hostuser", 0, LIST, hostuser, "USER", "add a user of the host to /etc/passwd", NULL),
	ROW("http-proxy", 0, STRING, http_proxy, "BOOL", "pass proxy variables of the host (default true)", NULL),
	ROW("image-volume", 0, STRING, image_volume, "MODE", "the image's volumes: anonymous, tmpfs, ignore (default anonymous)", NULL),
	ROW("init", 0, FLAG, init, NULL, "run a small init that forwards signals and reaps", NULL),
	ROW("init-path", 0, STRING, init_path, "FILE", "init program for --init", NULL),
	ROW("interactive", 'i', FLAG, interactive, NULL, "keep stdin open", NULL),
	ROW("ip", 0, STRING, ip, "ADDRESS", "static IPv4 address", NULL),
	ROW("ip6", 0, STRING, ip6, "ADDRESS", "static IPv6 address", NULL),
	ROW("ipc", 0, STRING, ipc, "MODE", "IPC namespace: private, host, shareable, container:ID, ns:PATH", NULL),
	ROW("isolation", 0, STRING, isolation, "ns|sentry|vm", "the wall around the container", NULL),
	ROW("kernel-memory", 0, STRING, kernel_memory, "SIZE", "kernel memory limit (cgroup v1)", NULL),
	ROW("label", 'l', LIST, label, "KEY=VALUE", "set a label", NULL),
	ROW("label-file", 0, LIST, label_file, "FILE", "read labels from a file", NULL),
	ROW("log-driver", 0, STRING, log_driver, "DRIVER", "k8s-file (json-file is the same), journald, none, passthrough", NULL),
	ROW("log-opt", 0, LIST, log_opt, "KEY=VALUE", "log option: path, max-size, max-file, tag", NULL),
	ROW("mac-address", 0, STRING, mac_address, "ADDRESS", "MAC address", NULL),
	ROW("memory", 'm', STRING, memory, "SIZE", "memory limit", NULL),
	ROW("memory-reservation", 0, STRING, memory_reservation, "SIZE", "soft memory limit", NULL),
	ROW("memory-swap", 0, STRING, memory_swap, "SIZE", "memory plus swap (-1: no limit)", NULL),
	ROW("memory-swappiness", 0, STRING, memory_swappiness, "N", "0 to 100", NULL),
	ROW("mount", 0, LIST, mount, "type=TYPE,...", "attach a mount: bind, volume, tmpfs, image, devpts", NULL),
	ROW("name", 0, STRING, name, "NAME", "name of the container", NULL),
	ROW("network", 0, LIST, network, "NETWORK", "network to join: bridge, NAME[:ip=..,alias=..], none, host, container:ID, ns:PATH, slirp4netns, pasta", "net"),
	ROW("network-alias", 0, LIST, network_alias, "NAME", "further name on the network", NULL),
	ROW("no-healthcheck", 0, FLAG, no_healthcheck, NULL, "ignore the image's health check", NULL),
	ROW("no-hosts", 0, FLAG, no_hosts, NULL, "leave the image's /etc/hosts alone", NULL),
	ROW("oom-kill-disable", 0, FLAG, oom_kill_disable, NULL, "do not kill on lack of memory (cgroup v1)", NULL),
	ROW("oom-score-adj", 0, STRING, oom_score_adj, "N", "-1000 to 1000", NULL),
	ROW("os", 0, STRING, os, "OS", "use this operating system's image", NULL),
	ROW("passwd", 0, STRING, passwd, "BOOL", "add the user to /etc/passwd when it is missing (default true)", NULL),
	ROW("passwd-entry", 0, STRING, passwd_entry, "LINE", "line for /etc/passwd; $USERNAME, $UID, $GID, $NAME, $HOME are replaced", NULL),
	ROW("pid", 0, STRING, pid, "MODE", "PID namespace: private, host, container:ID, ns:PATH", NULL),
	ROW("pidfile", 0, STRING, pidfile, "FILE", "write the pid of the container's first process to a file", NULL),
	ROW("pids-limit", 0, STRING, pids_limit, "N", "number of processes (default 2048, -1: no limit)", NULL),
	ROW("platform", 0, STRING, platform, "OS/ARCH[/VARIANT]", "platform of the image", NULL),
	ROW("pod", 0, STRING, pod, "POD", "run in a pod (new:NAME makes one)", NULL),
	ROW("privileged", 0, FLAG, privileged, NULL, "no confinement but namespaces", NULL),
	ROW("progress", 0, STRING, progress, "auto|plain|json|none", "how pulling an image reports", NULL),
	ROW("publish", 'p', LIST, publish, "[[IP:]HOST:]CONTAINER[/PROTO]", "publish a port or range of ports", NULL),
	ROW("publish-all", 'P', FLAG, publish_all, NULL, "publish all exposed ports to free host ports", NULL),
	ROW("pull", 0, STRING, pull, "always|missing|never|newer", "when to pull the image (default missing)", NULL),
	ROW("quiet", 'q', FLAG, quiet, NULL, "no output of the pull", NULL),
	ROW("read-only", 0, FLAG, read_only, NULL, "mount the root file system read-only", NULL),
	ROW("read-only-tmpfs", 0, STRING, read_only_tmpfs, "BOOL", "with --read-only: writable tmpfs on /run, /tmp, /var/tmp (default true)", NULL),
	ROW("replace", 0, FLAG, replace, NULL, "remove a container of the same name first", NULL),
	ROW("requires", 0, LIST, requires, "CONTAINER", "start these containers first", NULL),
	ROW("restart", 0, STRING, restart, "POLICY", "no, on-failure[:N], always, unless-stopped", NULL),
	ROW("rm", 0, FLAG, rm, NULL, "remove the container when it ends", NULL),
	ROW("rmi", 0, FLAG, rmi, NULL, "with --rm: remove the image as well when nobody else uses it", NULL),
	ROW("rootfs", 0, FLAG, rootfs_flag, NULL, "the operand is a directory to use as root file system, not an image", NULL),
	ROW("sdnotify", 0, STRING, sdnotify, "container|conmon|ignore", "who tells systemd that the service is ready (default container)", NULL),
	ROW("secret", 0, LIST, secret, "NAME[,opt=..]", "secret from `tierce secret` as file or variable", NULL),
	ROW("security-opt", 0, LIST, security_opt, "OPTION", "seccomp=FILE|unconfined, apparmor=PROFILE, label=.., no-new-privileges, mask=PATHS, unmask=PATHS, landlock=JSON", NULL),
	ROW("shm-size", 0, STRING, shm_size, "SIZE", "size of /dev/shm (default 64m)", NULL),
	ROW("sig-proxy", 0, STRING, sig_proxy, "BOOL", "pass signals on to the container (default true)", NULL),
	ROW("stop-signal", 0, STRING, stop_signal, "SIGNAL", "signal that stop sends (default TERM)", NULL),
	ROW("stop-timeout", 0, STRING, stop_timeout, "SECONDS", "time before stop kills (default 10)", NULL),
	ROW("subgidname", 0, STRING, subgidname, "NAME", "name in /etc/subgid for --userns", NULL),
	ROW("subuidname", 0, STRING, subuidname, "NAME", "name in /etc/subuid for --userns", NULL),
	ROW("sysctl", 0, LIST, sysctl, "KEY=VALUE", "set a kernel parameter of the container's namespaces", NULL),
	ROW("systemd", 0, STRING, systemd, "true|false|always", "prepare for systemd as init (default true: when the command is an init)", NULL),
	ROW("timeout", 0, STRING, timeout, "SECONDS", "longest run time", NULL),
	ROW("tls-verify", 0, STRING, tls_verify, "BOOL", "check the registry's certificate (default true)", NULL),
	ROW("tmpfs", 0, LIST, tmpfs, "PATH[:OPTIONS]", "mount a tmpfs", NULL),
	ROW("tty", 't', FLAG, tty, NULL, "give the container a terminal", NULL),
	ROW("tz", 0, STRING, timezone, "ZONE", "time zone (local: the host's)", NULL),
	ROW("uidmap", 0, LIST, uidmap, "C:H:N", "map user ids in a new user namespace", NULL),
	ROW("ulimit", 0, LIST, ulimit, "NAME=SOFT[:HARD]", "resource limit (host: the caller's)", NULL),
	ROW("umask", 0, STRING, umask, "MODE", "umask inside (default 0022)", NULL),
	ROW("unsetenv", 0, LIST, unsetenv, "NAME", "remove a variable of the image", NULL),
	ROW("user", 'u', STRING, user, "USER[:GROUP]", "user to run as", NULL),
	ROW("userns", 0, STRING, userns, "MODE", "user namespace: host, auto[:size=N], keep-id[:uid=..,gid=..], nomap, container:ID, ns:PATH", NULL),
	ROW("uts", 0, STRING, uts, "MODE", "UTS namespace: private, host, container:ID, ns:PATH", NULL),
	ROW("variant", 0, STRING, variant, "VARIANT", "use this variant of the architecture", NULL),
	ROW("volume", 'v', LIST, volume, "[SOURCE:]PATH[:OPTIONS]", "bind a directory or volume", NULL),
	ROW("volumes-from", 0, LIST, volumes_from, "CONTAINER[:OPTIONS]", "mount the volumes of another container", NULL),
	ROW("workdir", 'w', STRING, workdir, "DIR", "working directory inside", NULL),
};
_Static_assert(ARRAY_SIZE(run_option_rows) == RUN_OPTION_ROWS, "runopts.h states the number of rows");

/* Options that concern one start alone and are not kept. */
static bool transient(const char *name) {
	static const char *const names[] = { "detach", "replace", "quiet", "cidfile", "pull", "progress", "authfile", "tls-verify", "attach", "sig-proxy", "detach-keys" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], name))
			return true;
	return false;
}

void run_opts_write(struct json_writer *w, const struct run_opts *o) {
	jw_object(w);
	for (size_t i = 0; i < RUN_OPTION_ROWS; i++) {
		const struct opt *row = &run_option_rows[i];
		const void *at = (const char *)o + row->offset;
		if (transient(row->name))
			continue;
		if (row->kind == OPT_FLAG && *(const bool *)at) {
			jw_kv_bool(w, row->name, true);
		} else if (row->kind == OPT_STRING && *(const char *const *)at) {
			jw_kv_string(w, row->name, *(const char *const *)at);
		} else if (row->kind == OPT_LIST && ((const struct opt_list *)at)->n) {
			const struct opt_list *l = at;
			jw_key(w, row->name);
			jw_array(w);
			for (size_t k = 0; k < l->n; k++)
				jw_string(w, l->v[k]);
			jw_array_end(w);
		}
	}
	jw_object_end(w);
}

int run_opts_read(struct arena *a, const struct json *j, struct run_opts *ret, struct err *e) {
	*ret = (struct run_opts){ 0 };
	for (size_t i = 0; i < RUN_OPTION_ROWS; i++) {
		const struct opt *row = &run_option_rows[i];
		void *at = (char *)ret + row->offset;
		const struct json *m = json_get(j, row->name);
		if (!m)
			continue;
		if (row->kind == OPT_FLAG && m->type == JSON_BOOL) {
			*(bool *)at = m->boolean;
		} else if (row->kind == OPT_STRING && m->type == JSON_STRING) {
			*(const char **)at = m->text;
		} else if (row->kind == OPT_LIST && m->type == JSON_ARRAY) {
			struct opt_list *l = at;
			l->v = arena_array(a, (size_t)m->len + 1, const char *);
			if (!l->v)
				return err_sys(e, -ENOMEM, "read container.json");
			for (const struct json *x = json_first(m); x; x = x->next)
				if (x->type == JSON_STRING)
					l->v[l->n++] = x->text;
		} else {
			return err_set(e, -EINVAL, "container.json: options.%s has the wrong type", row->name);
		}
	}
	return 0;
}

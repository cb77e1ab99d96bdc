/* Contents of /proc outside of the process directories. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "tier/sentry/fs/procfs.h"
#include "tier/sentry/ipc.h"
#include "tier/sentry/net/socket.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"

#define SHOW(name) static int name(const struct proc_ctx *c, struct strbuf *b)
#define LINE(name, ...) SHOW(name) { (void)c; return strbuf_printf(b, __VA_ARGS__); }
#define F(n, fn) { n, S_IFREG | 0444, .show = fn }
#define W(n, fn, st) { n, S_IFREG | 0644, .show = fn, .store = st }
#define D(n, ch) { n, S_IFDIR | 0555, .children = ch }

SHOW(show_cpuinfo) { (void)c; return proc_copy_host("cpuinfo", b); }
SHOW(show_meminfo) { (void)c; return proc_copy_host("meminfo", b); }
SHOW(show_loadavg) { (void)c; return strbuf_printf(b, "0.00 0.00 0.00 1/%llu %d\n", (unsigned long long)K.n_tasks, pid_last()); }
LINE(show_version, "%s version %s (tierce) %s\n", K.uts.sysname, K.uts.release, K.uts.version)
LINE(show_cmdline, "tierce\n")
LINE(show_filesystems, "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\tramfs\nnodev\tcgroup2\nnodev\toverlay\nnodev\tmqueue\n")
LINE(show_devices, "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n")
LINE(show_empty, "%s", "")

SHOW(show_uptime)
{
	int64_t up = now_ns(CLOCK_BOOTTIME) - K.boot_ns;
	(void)c;
	return strbuf_printf(b, "%lld.%02lld 0.00\n", (long long)(up / 1000000000), (long long)(up % 1000000000 / 10000000));
}

SHOW(show_stat)
{
	long n = (long)K.n_cpus;
	int64_t boot = time(NULL) - (now_ns(CLOCK_BOOTTIME) - K.boot_ns) / 1000000000;
	(void)c;
	strbuf_puts(b, "cpu  0 0 0 0 0 0 0 0 0 0\n");
	for (long i = 0; i < n; i++)
		strbuf_printf(b, "cpu%ld 0 0 0 0 0 0 0 0 0 0\n", i);
	return strbuf_printf(b, "intr 0\nctxt 0\nbtime %lld\nprocesses %llu\nprocs_running 1\nprocs_blocked 0\n", (long long)boot, (unsigned long long)K.forks + 1);
}

static int uuid(struct strbuf *b, const uint8_t *r)
{
	char s[40];
	unsigned at = 0;
	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			s[at++] = '-';
		uint8_t v = i == 6 ? (r[i] & 15) | 0x40 : i == 8 ? (r[i] & 0x3f) | 0x80 : r[i];
		at += (unsigned)snprintf(s + at, sizeof(s) - at, "%02x", v);
	}
	return strbuf_printf(b, "%s\n", s);
}
SHOW(show_uuid)
{
	uint8_t r[16];
	(void)c;
	return getrandom(r, sizeof(r), 0) == sizeof(r) ? uuid(b, r) : -EIO;
}
SHOW(show_boot_id)
{
	static uint8_t r[16];
	static bool have;
	(void)c;
	if (!have && getrandom(r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	have = true;
	return uuid(b, r);
}

LINE(show_ostype, "%s\n", K.uts.sysname)
LINE(show_osrelease, "%s\n", K.uts.release)
LINE(show_kversion, "%s\n", K.uts.version)
LINE(show_hostname, "%s\n", c->reader->ns->uts->nodename)
LINE(show_domainname, "%s\n", c->reader->ns->uts->domainname)
static ssize_t store_name(const struct proc_ctx *c, const char *s, size_t n, char dst[65])
{
	size_t k = strcspn(s, "\n");
	if (!ns_capable(c->reader, c->reader->ns->uts->user, CAP_SYS_ADMIN))
		return -EPERM;
	if (k > 64)
		return -EINVAL;
	memcpy(dst, s, k);
	dst[k] = 0;
	return (ssize_t)n;
}
static ssize_t store_hostname(const struct proc_ctx *c, const char *s, size_t n) { return store_name(c, s, n, c->reader->ns->uts->nodename); }
static ssize_t store_domainname(const struct proc_ctx *c, const char *s, size_t n) { return store_name(c, s, n, c->reader->ns->uts->domainname); }
/* settings that programs write at start and that mean nothing here */
static ssize_t store_ignore(const struct proc_ctx *c, const char *s, size_t n) { (void)s; return capable(c->reader, CAP_SYS_ADMIN) ? (ssize_t)n : -EPERM; }

LINE(show_pid_max, "%d\n", PID_MAX_)
LINE(show_cap_last, "%d\n", CAP_LAST_CAP)
LINE(show_ngroups, "%d\n", NGROUPS_MAX_)
LINE(show_overflow, "65534\n")
LINE(show_0, "0\n")
LINE(show_1, "1\n")
LINE(show_2, "2\n")
LINE(show_60, "60\n")
LINE(show_256, "256\n")
LINE(show_4096, "4096\n")
LINE(show_65530, "65530\n")
LINE(show_65536, "65536\n")
LINE(show_nr_open, "1048576\n")
LINE(show_file_max, "9223372036854775807\n")
LINE(show_file_nr, "0\t0\t9223372036854775807\n")
LINE(show_core_pattern, "core\n")
/* ---- limits of System V IPC: of the reader's namespace, written by whoever is privileged over it ------------------------------------ */

static int may_tune(const struct proc_ctx *c) { return ns_capable(c->reader, ipc_of(c->reader)->user, CAP_SYS_ADMIN) ? 0 : -EPERM; }

/* One number within [lo, hi]. */
static ssize_t store_number(const struct proc_ctx *c, const char *s, size_t n, uint64_t lo, uint64_t hi, uint64_t *ret)
{
	char *end;
	uint64_t v = strtoull(s, &end, 10);
	int rc = may_tune(c);
	if (!rc && (end == s || (*end && *end != '\n') || *s == '-' || v < lo || v > hi))
		rc = -EINVAL;
	if (!rc)
		*ret = v;
	return rc ? rc : (ssize_t)n;
}
#define IPC_NUMBER(name, field, lo, hi) \
	SHOW(show_##name) { return strbuf_printf(b, "%lld\n", (long long)ipc_of(c->reader)->field); } \
	static ssize_t store_##name(const struct proc_ctx *c, const char *s, size_t n) \
	{ \
		uint64_t v; \
		ssize_t r = store_number(c, s, n, lo, hi, &v); \
		if (r > 0) \
			ipc_of(c->reader)->field = (__typeof__(ipc_of(c->reader)->field))v; \
		return r; \
	}
IPC_NUMBER(msgmax, msg_max, 0, INT32_MAX)
IPC_NUMBER(msgmnb, msg_mnb, 0, INT32_MAX)
IPC_NUMBER(msgmni, msg_mni, 0, IPC_MAX)
IPC_NUMBER(shmmni, shm_mni, 0, IPC_MAX)
IPC_NUMBER(msg_next_id, msg.next_id, 0, INT32_MAX)
IPC_NUMBER(sem_next_id, sem.next_id, 0, INT32_MAX)
IPC_NUMBER(shm_next_id, shm.next_id, 0, INT32_MAX)
#define IPC_SIZE(name, field) \
	SHOW(show_##name) { return strbuf_printf(b, "%llu\n", (unsigned long long)ipc_of(c->reader)->field); } \
	static ssize_t store_##name(const struct proc_ctx *c, const char *s, size_t n) { return store_number(c, s, n, 0, UINT64_MAX, &ipc_of(c->reader)->field); }
IPC_SIZE(shmmax, shm_max)
IPC_SIZE(shmall, shm_all)
SHOW(show_sem)
{
	const int *v = ipc_of(c->reader)->sem_ctls;
	return strbuf_printf(b, "%d\t%d\t%d\t%d\n", v[0], v[1], v[2], v[3]);
}
static ssize_t store_sem(const struct proc_ctx *c, const char *s, size_t n)
{
	int v[4], rc = may_tune(c);
	if (!rc && (sscanf(s, "%d %d %d %d", &v[0], &v[1], &v[2], &v[3]) != 4 || v[0] < 0 || v[1] < 0 || v[2] < 0 || v[3] < 0 || v[3] > IPC_MAX))
		rc = -EINVAL;
	if (!rc)
		memcpy(ipc_of(c->reader)->sem_ctls, v, sizeof(v));
	return rc ? rc : (ssize_t)n;
}
#define IPC_FILE(n) W(#n, show_##n, store_##n)
LINE(show_ports, "32768\t60999\n")
LINE(show_threads, "%d\n", PID_MAX_)

LINE(show_100, "100\n")
LINE(show_printk, "4\t4\t1\t7\n")
SHOW(show_last_pid) { (void)c; return strbuf_printf(b, "%d\n", pid_last()); }
static const struct proc_entry random_dir[] = { F("boot_id", show_boot_id), F("entropy_avail", show_256), F("poolsize", show_256), F("uuid", show_uuid), { 0 } };
static const struct proc_entry keys_dir[] = { F("maxkeys", show_0), { 0 } };
LINE(show_actions, "kill_process kill_thread trap errno trace log allow\n")
static const struct proc_entry seccomp_dir[] = { F("actions_avail", show_actions), F("actions_logged", show_actions), { 0 } };
static const struct proc_entry kernel_dir[] = {
	F("cap_last_cap", show_cap_last), W("core_pattern", show_core_pattern, store_ignore), W("domainname", show_domainname, store_domainname),
	W("hostname", show_hostname, store_hostname), F("dmesg_restrict", show_1), F("hung_task_timeout_secs", show_0), F("io_uring_disabled", show_2), D("keys", keys_dir), F("kptr_restrict", show_1),
	F("modules_disabled", show_1), F("ns_last_pid", show_last_pid), F("panic", show_0), F("panic_on_oops", show_0), F("printk", show_printk), F("sched_rr_timeslice_ms", show_100),
	F("sysrq", show_0), F("tainted", show_0), F("core_uses_pid", show_0), IPC_FILE(msg_next_id), IPC_FILE(msgmax), IPC_FILE(msgmnb),
	IPC_FILE(msgmni), F("ngroups_max", show_ngroups), F("osrelease", show_osrelease), F("ostype", show_ostype), F("overflowgid", show_overflow),
	F("overflowuid", show_overflow), F("perf_event_paranoid", show_2), F("pid_max", show_pid_max), D("random", random_dir), F("randomize_va_space", show_2),
	D("seccomp", seccomp_dir), IPC_FILE(sem), IPC_FILE(sem_next_id), IPC_FILE(shm_next_id), IPC_FILE(shmall), IPC_FILE(shmmax), IPC_FILE(shmmni), F("threads-max", show_threads),
	F("unprivileged_userns_clone", show_1), F("version", show_kversion), F("yama", show_1), { 0 } };
static const struct proc_entry inotify_dir[] = { F("max_queued_events", show_4096), F("max_user_instances", show_256), F("max_user_watches", show_65536), { 0 } };
#define MQ_NUMBER(name, lo, hi) \
	SHOW(show_mq_##name) { (void)c; return strbuf_printf(b, "%d\n", mq_limits.name); } \
	static ssize_t store_mq_##name(const struct proc_ctx *c, const char *s, size_t n) \
	{ \
		uint64_t v; \
		ssize_t r = store_number(c, s, n, lo, hi, &v); \
		if (r > 0) \
			mq_limits.name = (int)v; \
		return r; \
	}
MQ_NUMBER(msg_default, 1, 65536)
MQ_NUMBER(msg_max, 1, 65536)
MQ_NUMBER(msgsize_default, 128, 16777216)
MQ_NUMBER(msgsize_max, 128, 16777216)
MQ_NUMBER(queues_max, 0, INT32_MAX)
#define MQ_FILE(n) W(#n, show_mq_##n, store_mq_##n)
static const struct proc_entry mqueue_dir[] = { MQ_FILE(msg_default), MQ_FILE(msg_max), MQ_FILE(msgsize_default), MQ_FILE(msgsize_max), MQ_FILE(queues_max), { 0 } };
static const struct proc_entry epoll_dir[] = { F("max_user_watches", show_nr_open), { 0 } };
LINE(show_pipe_max, "1048576\n")
LINE(show_45, "45\n")
LINE(show_100000, "100000\n")
LINE(show_16384, "16384\n")
LINE(show_dentries, "0\t0\t45\t0\t0\t0\n")
LINE(show_inodes, "0\t0\n")
static const struct proc_entry fs_dir[] = { D("epoll", epoll_dir), F("file-max", show_file_max), F("file-nr", show_file_nr), D("inotify", inotify_dir),
	D("mqueue", mqueue_dir), F("nr_open", show_nr_open), F("aio-max-nr", show_65536), F("aio-nr", show_0), F("dentry-state", show_dentries), F("inode-nr", show_inodes), F("lease-break-time", show_45), F("leases-enable", show_1),
	F("mount-max", show_100000), F("overflowgid", show_overflow), F("overflowuid", show_overflow), F("pipe-max-size", show_pipe_max), F("pipe-user-pages-hard", show_0),
	F("pipe-user-pages-soft", show_16384), F("protected_fifos", show_0), F("protected_regular", show_0), F("protected_hardlinks", show_0),
	F("protected_symlinks", show_0), F("suid_dumpable", show_0), { 0 } };
LINE(show_10, "10\n")
LINE(show_20, "20\n")
static const struct proc_entry vm_dir[] = { F("max_map_count", show_65530), F("mmap_min_addr", show_65536), F("compact_unevictable_allowed", show_1), F("dirty_background_ratio", show_10), F("dirty_ratio", show_20), F("min_free_kbytes", show_4096), F("nr_hugepages", show_0),
	F("nr_overcommit_hugepages", show_0), F("overcommit_kbytes", show_0), W("overcommit_memory", show_0, store_ignore), F("page-cluster", show_0),
	F("unprivileged_userfaultfd", show_0), F("zone_reclaim_mode", show_0),
	F("overcommit_ratio", show_60), W("swappiness", show_60, store_ignore), W("drop_caches", show_0, store_ignore), { 0 } };
static const struct proc_entry core_dir[] = { F("somaxconn", show_4096), F("rmem_max", show_65536), F("wmem_max", show_65536), { 0 } };
LINE(show_tcpmem, "4096\t131072\t6291456\n")
LINE(show_cc, "cubic\n")
static const struct proc_entry ipv4_dir[] = { F("ip_local_port_range", show_ports), F("tcp_rmem", show_tcpmem), F("tcp_wmem", show_tcpmem), F("tcp_fin_timeout", show_60),
	F("tcp_syncookies", show_1), F("ip_forward", show_0), F("tcp_congestion_control", show_cc), { 0 } };
static const struct proc_entry net_unix_dir[] = { F("max_dgram_qlen", show_256), { 0 } };
static const struct proc_entry sysnet_dir[] = { D("core", core_dir), D("ipv4", ipv4_dir), D("unix", net_unix_dir), { 0 } };
static const struct proc_entry user_dir[] = { F("max_ipc_namespaces", show_65536), F("max_mnt_namespaces", show_65536), F("max_user_namespaces", show_65536),
	F("max_uts_namespaces", show_65536), { 0 } };
const struct proc_entry proc_sys_entries[] = { D("fs", fs_dir), D("kernel", kernel_dir), D("net", sysnet_dir), D("user", user_dir), D("vm", vm_dir), { 0 } };

static int host_net(const char *name, struct strbuf *b)
{
	char path[64];
	snprintf(path, sizeof(path), "net/%s", name);
	return proc_copy_host(path, b); /* the sandbox's network namespace is the sentry's */
}
#define NET(n) SHOW(show_net_##n) { (void)c; return host_net(#n, b); }
NET(dev)
NET(route)
NET(tcp)
NET(tcp6)
NET(udp)
NET(udp6)
NET(if_inet6)
NET(arp)
NET(snmp)
NET(netstat)
NET(sockstat)
NET(ipv6_route)
SHOW(show_net_unix) { (void)c; return unix_list(b); }
const struct proc_entry proc_net_entries[] = { F("arp", show_net_arp), F("dev", show_net_dev), F("if_inet6", show_net_if_inet6), F("ipv6_route", show_net_ipv6_route),
	F("netstat", show_net_netstat), F("packet", show_empty), F("raw", show_empty), F("route", show_net_route), F("snmp", show_net_snmp),
	F("sockstat", show_net_sockstat), F("tcp", show_net_tcp), F("tcp6", show_net_tcp6), F("udp", show_net_udp), F("udp6", show_net_udp6),
	F("unix", show_net_unix), { 0 } };

static ssize_t text_self(const struct proc_ctx *c, char *buf, size_t size) { return snprintf(buf, size, "%d", c->reader->proc->pid); }
static ssize_t text_thread(const struct proc_ctx *c, char *buf, size_t size) { return snprintf(buf, size, "%d/task/%d", c->reader->proc->pid, c->reader->tid); }
static ssize_t text_mounts(const struct proc_ctx *c, char *buf, size_t size) { (void)c; return snprintf(buf, size, "self/mounts"); }
static ssize_t text_net(const struct proc_ctx *c, char *buf, size_t size) { (void)c; return snprintf(buf, size, "self/net"); }

SHOW(show_sem_list) { return sem_list(c->reader, b); }
SHOW(show_msg_list) { return msg_list(c->reader, b); }
SHOW(show_shm_list) { return shm_list(c->reader, b); }
static const struct proc_entry sysvipc_dir[] = { F("msg", show_msg_list), F("sem", show_sem_list), F("shm", show_shm_list), { 0 } };

const struct proc_entry proc_root_entries[] = {
	F("cgroups", show_empty), F("cmdline", show_cmdline), F("cpuinfo", show_cpuinfo), F("devices", show_devices), F("filesystems", show_filesystems),
	F("loadavg", show_loadavg), F("meminfo", show_meminfo), F("modules", show_empty), { "mounts", S_IFLNK | 0777, .text = text_mounts },
	{ "net", S_IFLNK | 0777, .text = text_net }, F("partitions", show_empty), { "self", S_IFLNK | 0777, .text = text_self }, F("stat", show_stat),
	F("swaps", show_empty), D("sys", proc_sys_entries), D("sysvipc", sysvipc_dir), { "thread-self", S_IFLNK | 0777, .text = text_thread }, F("uptime", show_uptime),
	F("version", show_version), F("vmstat", show_empty), { 0 } };

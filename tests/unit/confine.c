/* confine: capabilities, process attributes, Landlock, LSM writes and network devices, against the running kernel. Tests that change the
 * process do so in a child. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "confine/caps.h"
#include "confine/landlock.h"
#include "confine/lsm.h"
#include "confine/netdev.h"
#include "confine/sched.h"
#include "sys/fd.h"
#include "sys/netlink.h"
#include "emulated.h"

/* Run body in a child; its value is the test's result: 0, or the line that failed. */
#define CHECK(x) do { if (!(x)) return __LINE__; } while (0)
#define CHECK_ERR(x) do { if (!(x)) { fprintf(stderr, "%s\n", err_msg(&e)); return __LINE__; } } while (0)
static void in_child(int (*body)(void)) {
	pid_t pid = fork();
	if (pid == 0) {
		int line = body();
		if (line)
			fprintf(stderr, "child: line %d, errno %d\n", line, errno);
		_exit(line != 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}
#define REAL_CHILD_TEST(name, reason) static void test_##name(void **state UNUSED) { NOT_EMULATED(reason); if (geteuid() != 0) skip(); in_child(name); }
#define CHILD_TEST(name) static void test_##name(void **state UNUSED) { if (geteuid() != 0) skip(); in_child(name); }

/* ---- capabilities ------------------------------------------------------------------------------------------------- */

static int ambient(int cap) { return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0); }

static int identity(void) {
	const uint64_t chown = 1ULL << CAP_CHOWN, kill = 1ULL << CAP_KILL, net = 1ULL << CAP_NET_BIND_SERVICE;
	uint32_t groups[] = { 7, 8 };
	struct oci_process p = {
		.user = { .uid = 1234, .gid = 2345, .additional_gids = groups, .n_additional_gids = 2, .umask = { true, 027 } },
		.caps = { .set = true, .bounding = chown | kill | net, .permitted = chown | kill | net, .effective = chown, .inheritable = net | kill, .ambient = net },
	};
	struct err e = ERR_INIT;
	uint64_t effective, permitted, inheritable;
	CHECK(creds_apply(&p, 0, &e) == 0);
	CHECK(caps_get(&effective, &permitted, &inheritable) == 0);
	CHECK(effective == chown && permitted == (chown | kill | net) && inheritable == (net | kill));
	for (unsigned cap = 0; cap <= caps_last(); cap++)
		CHECK(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == (int)(p.caps.bounding >> cap & 1));
	CHECK(ambient(CAP_NET_BIND_SERVICE) == 1 && ambient(CAP_KILL) == 0);
	uid_t r, ef, s;
	CHECK(getresuid(&r, &ef, &s) == 0 && r == 1234 && ef == 1234 && s == 1234);
	gid_t got[8];
	CHECK(getresgid(&r, &ef, &s) == 0 && r == 2345 && s == 2345);
	CHECK(getgroups(8, got) == 2 && got[0] == 7 && got[1] == 8);
	CHECK(umask(0) == 027);
	CHECK(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 0);
	return 0;
}
CHILD_TEST(identity)

/* CVE-2022-29162: an exec must not carry inheritable capabilities beyond the ambient ones. */
static int exec_identity(void) {
	const uint64_t net = 1ULL << CAP_NET_BIND_SERVICE, chown = 1ULL << CAP_CHOWN;
	struct oci_process p = { .caps = { .set = true, .bounding = net | chown, .permitted = net | chown, .effective = net | chown,
		.inheritable = net | chown, .ambient = net } };
	uint64_t inheritable;
	CHECK(creds_apply(&p, CREDS_EXEC, NULL) == 0);
	CHECK(caps_get(NULL, NULL, &inheritable) == 0 && inheritable == net);
	CHECK(umask(0) == 022);
	return 0;
}
CHILD_TEST(exec_identity)

/* A document without "capabilities" has none. */
static int absent_caps(void) {
	struct oci_process p = { .user = { .uid = 0 } };
	uint64_t effective, permitted;
	CHECK(creds_apply(&p, 0, NULL) == 0);
	CHECK(caps_get(&effective, &permitted, NULL) == 0 && effective == 0 && permitted == 0);
	CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) == 0);
	return 0;
}
CHILD_TEST(absent_caps)

static int no_caps_left(void) {
	struct err e = ERR_INIT;
	uint64_t effective, permitted;
	CHECK(caps_have(CAP_CHOWN));
	CHECK(caps_drop_all(&e) == 0);
	CHECK(!caps_have(CAP_CHOWN));
	CHECK(caps_get(&effective, &permitted, NULL) == 0 && effective == 0 && permitted == 0);
	CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) == 0);
	/* and what is gone cannot be had again, with the name of what is missing in the message */
	CHECK(caps_set(1ULL << CAP_KILL, 1ULL << CAP_KILL, 0, 0, &e) == -EPERM);
	CHECK(strstr(err_msg(&e), "CAP_KILL"));
	return 0;
}
CHILD_TEST(no_caps_left)

static void test_cap_warnings(void **state UNUSED) {
	char name[] = "CAP_NO_SUCH";
	char *names[] = { name, NULL };
	struct oci_caps c = { .set = true, .unknown = { names, 1 } };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	assert_int_equal(caps_warnings(&c, &out), 0);
	assert_string_equal(strbuf_str(&out), "ignoring unknown or unavailable capability \"CAP_NO_SUCH\"\n");
	assert_true(caps_last() >= CAP_AUDIT_READ && caps_last() < 64);
}

/* ---- attributes --------------------------------------------------------------------------------------------------- */

static void test_cpu_list(void **state UNUSED) {
	static const char *const bad[] = { "", ",", "1,", ",1", "a", "1-", "-1", "3-1", "1 ", " 1", "1,,2", "8192", "99999999999999999999", "1-2-3", "0x1" };
	struct cpu_set_list set;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(cpu_list_parse(bad[i], &set) < 0);
	assert_int_equal(cpu_list_parse("0-2,64,8191", &set), 0);
	assert_int_equal(set.bits[0], 7);
	assert_int_equal(set.bits[1], 1);
	assert_true(set.bits[127] == 1ULL << 63);
}

static int affinity(void) {
	struct err e = ERR_INIT;
	cpu_set_t all, now;
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	CHECK(cpu_affinity_apply(0, "0", "initial", &e) == 0);
	CHECK(sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_COUNT(&now) == 1 && CPU_ISSET(0, &now));
	CHECK(cpu_affinity_reset(0) == 0);
	CHECK(sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_EQUAL(&now, &all));
	CHECK(cpu_affinity_apply(0, NULL, "final", &e) == 0);
	CHECK(cpu_affinity_apply(0, "8000", "final", &e) == -EINVAL && strstr(err_msg(&e), "final CPU affinity"));
	CHECK(cpu_affinity_apply(0, "0,", "final", &e) == -EINVAL && strstr(err_msg(&e), "process.execCPUAffinity.final"));
	return 0;
}
CHILD_TEST(affinity)

static int attributes(void) {
	struct err e = ERR_INIT;
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct oci_rlimit limits[] = { { RLIMIT_NOFILE, 100, 200 }, { RLIMIT_CORE, 0, 0 } };
	struct oci_process p = {
		.rlimits = limits, .n_rlimits = 2, .oom_score_adj = { true, 321 }, .no_new_privileges = true,
		.scheduler = { .set = true, .policy = SCHED_BATCH, .nice = 3 }, .io_priority_set = true, .io_class = 2, .io_priority = 6,
	};
	struct oci_spec s = { .memory_policy = { .set = true, .mode = 1 /* MPOL_PREFERRED */, .nodes = "0" } };
	struct process_attrs a = { .proc_fd = proc, .keyring_id = "confine-test" };
	CHECK(personality(ADDR_NO_RANDOMIZE) >= 0);
	CHECK(rlimits_apply(0, &p, &e) == 0 && no_new_privs_apply(&p, &e) == 0);
	CHECK(process_attrs_apply(&s, &p, &a, &e) == 0);
	struct rlimit now;
	CHECK(getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == 100 && now.rlim_max == 200);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(sched_getscheduler(0) == SCHED_BATCH && getpriority(PRIO_PROCESS, 0) == 3);
	CHECK(syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6));
	CHECK(personality(0xffffffff) == PER_LINUX);
	int mode = -1;
	CHECK(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) < 0 || mode == 1); /* a kernel without NUMA has no policy to read */
	struct strbuf text = STRBUF_INIT;
	CHECK(file_read_at(proc, "self/oom_score_adj", &text, 64) == 0 && streq(strbuf_str(&text), "321\n"));
	/* the ring is the named one, and a second process may join it */
	char ring[256] = "";
	CHECK(syscall(SYS_keyctl, 6 /* DESCRIBE */, -3, ring, sizeof(ring) - 1, 0) > 0 && strstr(ring, ";_ses.confine-test"));
	CHECK_ERR(keyring_apply(proc, "confine-test", NULL, false, &e) == 0);
	CHECK(dumpable_set(false, &e) == 0 && prctl(PR_GET_DUMPABLE) == 0);
	limits[0].resource = 9999;
	CHECK(rlimits_apply(0, &p, &e) == -EINVAL && strstr(err_msg(&e), "rlimit type 9999"));
	s.memory_policy.nodes = "0-";
	CHECK(mempolicy_apply(&s.memory_policy, &e) == -EINVAL && strstr(err_msg(&e), "linux.memoryPolicy.nodes"));
	return 0;
}
REAL_CHILD_TEST(attributes, "the emulator has no set_mempolicy(2)")

/* CVE-2019-16884, CVE-2025-52881: a file that somebody mounted over a proc file is not written. */
static int proc_redirect(void) {
	struct err e = ERR_INIT;
	CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	char trap[] = "/tmp/confine-trap.XXXXXX", target[64];
	int fd = mkstemp(trap);
	CHECK(fd >= 0);
	snprintf(target, sizeof(target), "/proc/%d/task/%d/oom_score_adj", getpid(), getpid());
	CHECK(mount(trap, target, NULL, MS_BIND, NULL) == 0);
	unlink(trap);
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct oci_process p = { .oom_score_adj = { true, 5 } };
	CHECK(oom_score_apply(proc, &p, true, &e) == -EXDEV && strstr(err_msg(&e), "mounted over"));
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size == 0);
	/* and a tree that is no procfs at all */
	int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(mkdir("/tmp/confine-fake-proc", 0700) == 0 || errno == EEXIST);
	int fake = openat(tmp, "confine-fake-proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(mkdirat(fake, "self", 0700) == 0 || errno == EEXIST);
	CHECK(close(openat(fake, "self/oom_score_adj", O_CREAT | O_WRONLY, 0600)) == 0);
	int r = oom_score_apply(fake, &p, true, &e);
	unlinkat(fake, "self/oom_score_adj", 0), unlinkat(fake, "self", AT_REMOVEDIR), rmdir("/tmp/confine-fake-proc");
	CHECK(r == -EXDEV);
	return 0;
}
REAL_CHILD_TEST(proc_redirect, "the emulator opens parts of /proc/self by itself, whatever is mounted there")

static void test_lsm(void **state UNUSED) {
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	assert_int_equal(lsm_apply_exec(proc, NULL, NULL, &e), 0);
	if (!apparmor_enabled()) {
		assert_true(lsm_apply_exec(proc, "no-such-profile", NULL, &e) < 0);
		assert_non_null(strstr(err_msg(&e), "apparmor: config provided but apparmor not supported"));
		assert_int_equal(lsm_apply_exec(proc, "unconfined", NULL, &e), 0);
	}
	if (!selinux_enabled()) {
		assert_true(lsm_apply_exec(proc, NULL, "a:b:c:d", &e) < 0);
		assert_non_null(strstr(err_msg(&e), "selinux label is specified in config, but selinux is disabled or not supported"));
		assert_int_equal(selinux_mount_data("mode=755", "a:b:c:d", NULL, &out, &e), 0);
		assert_string_equal(strbuf_str(&out), "mode=755");
	}
	assert_int_equal(selinux_mount_data("", "x", "nocontext", &out, &e), -EINVAL);
	assert_int_equal(proc_write_self(proc, "attr/no-such", "x", &e), -ENOENT);
}

/* ---- Landlock ----------------------------------------------------------------------------------------------------- */

static void test_landlock_syntax(void **state UNUSED) {
	static const char *const bad[] = {
		"", "[]", "{}", "{\"paths\":{}}", "{\"path\":[]}", "{\"paths\":[{}]}", "{\"paths\":[{\"path\":\"/a\"}]}",
		"{\"paths\":[{\"path\":\"a\",\"access\":[\"read\"]}]}", "{\"paths\":[{\"path\":\"/a\",\"access\":[\"reed\"]}]}",
		"{\"paths\":[{\"path\":\"/a\",\"access\":[]}]}", "{\"paths\":[{\"path\":\"/a\",\"access\":[\"read\"],\"optional\":1}]}",
		"{\"bind\":80}", "{\"bind\":[-1]}", "{\"bind\":[65536]}", "{\"bind\":[\"9-8\"]}", "{\"connect\":[\"1-65535\"]}", "{\"bind\":[null]}",
		"{\"scope\":[\"x\"]}", "{\"scope\":\"signal\"}", "{\"abi\":0,\"bind\":[]}", "{\"abi\":\"x\",\"bind\":[]}", "{\"bind\":[],\"log\":{\"x\":true}}",
	};
	struct landlock_policy p;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		assert_true(landlock_parse(&a, bad[i], &p, &e) < 0);
		assert_non_null(strstr(err_msg(&e), LANDLOCK_ANNOTATION));
	}
	_cleanup_arena_ struct arena a = ARENA_INIT;
	assert_int_equal(landlock_parse(&a, "{\"abi\":\"require\",\"paths\":[{\"path\":[\"/usr\",\"/lib\"],\"access\":[\"execute\"]}],\"bind\":[80,\"8000-8001\"],"
		"\"connect\":[],\"scope\":[\"signal\"],\"log\":{\"new-exec\":true,\"subdomains\":true}}", &p, NULL), 0);
	assert_true(p.present && p.require);
	assert_int_equal(p.n_paths, 2);
	assert_string_equal(p.paths[1].path, "/lib");
	assert_int_equal(p.paths[0].access, 1 | 4 | 8);
	assert_int_equal(p.n_ports, 2);
	assert_int_equal(p.handled_net, 3);
	assert_int_equal(p.ports[1].last, 8001);
	assert_int_equal(p.scoped, 2);
	assert_int_equal(p.restrict_flags, 2);
}

static int bind_port(uint16_t port) {
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	return bind(fd, (const struct sockaddr *)&in, sizeof(in)) < 0 ? -errno : 0;
}

static int landlock_holds(void) {
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct landlock_policy p;
	unsigned int abi = landlock_abi();
	/* Files of our own: what others do to /etc meanwhile does not matter. */
	char dir[] = "/tmp/confine-landlock.XXXXXX", file[64], named[] = "/tmp/confine-named.XXXXXX", other[] = "/tmp/confine-other.XXXXXX";
	CHECK(mkdtemp(dir) && close(mkstemp(named)) == 0 && close(mkstemp(other)) == 0);
	snprintf(file, sizeof(file), "%s/f", dir);
	CHECK(landlock_parse(&a, arena_printf(&a, "{\"paths\":[{\"path\":\"%s\",\"access\":[\"read\",\"write\",\"create\"]},"
		"{\"path\":\"/no/such\",\"access\":[\"read\"],\"optional\":true},{\"path\":\"%s\",\"access\":[\"all\"]}]%s}", dir, named,
		abi >= 4 ? ",\"bind\":[\"40100-40110\"]" : ""), &p, &e) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK_ERR(landlock_apply(&p, &e) == 0);
	CHECK(close(open(file, O_CREAT | O_RDWR, 0600)) == 0);
	CHECK(close(open(named, O_RDONLY)) == 0);
	CHECK(open(other, O_RDONLY) < 0 && errno == EACCES);
	CHECK(unlink(file) == 0);
	CHECK(abi < 4 || bind_port(40099) == -EACCES);
	CHECK(abi < 4 || bind_port(40105) != -EACCES);
	CHECK(landlock_parse(&a, "{\"abi\":999,\"paths\":[]}", &p, &e) == 0 && landlock_apply(&p, &e) == -EOPNOTSUPP);
	CHECK(landlock_parse(&a, "{\"paths\":[{\"path\":\"/no/such\",\"access\":[\"read\"]}]}", &p, &e) == 0 && landlock_apply(&p, &e) == -ENOENT);
	return 0;
}
static void test_landlock_holds(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct landlock_policy p;
	if (landlock_abi() > 0) {
		in_child(landlock_holds);
		return;
	}
	/* Without Landlock: best effort runs, a demand is refused. */
	assert_int_equal(landlock_parse(&a, "{\"paths\":[]}", &p, &e), 0);
	assert_int_equal(landlock_apply(&p, &e), 0);
	assert_int_equal(landlock_parse(&a, "{\"paths\":[],\"abi\":\"require\"}", &p, &e), 0);
	assert_int_equal(landlock_apply(&p, &e), -EOPNOTSUPP);
}

/* ---- network devices ---------------------------------------------------------------------------------------------- */

/* CVE-2021-43784: a value beyond 16 bits of length must not wrap into further attributes. */
static void test_netlink_lengths(void **state UNUSED) {
	static char big[70000];
	struct nl_request r;
	nl_init(&r, RTM_NEWLINK, 0, NULL, 0);
	nl_attr(&r, IFLA_IFNAME, big, sizeof(big));
	assert_int_equal(r.failed, -E2BIG);
	nl_init(&r, RTM_NEWLINK, 0, NULL, 0);
	for (int i = 0; i < 100; i++)
		nl_attr(&r, IFLA_IFNAME, big, 100);
	assert_int_equal(r.failed, -E2BIG);
	assert_true(r.len <= sizeof(r.buf));
	assert_int_equal(nl_call(-EBADF, &r, NULL, NULL, NULL), -E2BIG);
	/* attributes that lie about their length end the walk */
	struct nlattr lie[2] = { { .nla_len = 200 }, { .nla_len = 4 } };
	assert_null(nl_next(lie, sizeof(lie), NULL));
	lie[0].nla_len = 3;
	assert_null(nl_next(lie, sizeof(lie), NULL));
	lie[0].nla_len = 4;
	assert_ptr_equal(nl_next(lie, sizeof(lie), NULL), &lie[0]);
	assert_ptr_equal(nl_next(lie, sizeof(lie), &lie[0]), &lie[1]);
	assert_null(nl_next(lie, sizeof(lie), &lie[1]));
}

static int add_veth(int nl, struct err *e) {
	struct nl_request r;
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	nl_init(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	nl_attr_str(&r, IFLA_IFNAME, "conf0");
	size_t info = nl_nest(&r, IFLA_LINKINFO);
	nl_attr(&r, IFLA_INFO_KIND, "dummy", 5);
	nl_nest_end(&r, info);
	int code = nl_call(nl, &r, NULL, NULL, e);
	if (code == 0)
		return 0;
	err_clear(e);
	nl_init(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	nl_attr_str(&r, IFLA_IFNAME, "conf0");
	info = nl_nest(&r, IFLA_LINKINFO);
	nl_attr(&r, IFLA_INFO_KIND, "veth", 4);
	nl_nest_end(&r, info);
	return nl_call(nl, &r, NULL, NULL, e);
}

static int set_up(const char *name, const char *address) {
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(ifr.ifr_name, name);
	struct sockaddr_in in = { .sin_family = AF_INET };
	inet_pton(AF_INET, address, &in.sin_addr);
	memcpy(&ifr.ifr_addr, &in, sizeof(in));
	CHECK(ioctl(fd, 0x8916 /* SIOCSIFADDR */, &ifr) == 0);
	CHECK(ioctl(fd, 0x8913, &ifr) == 0);
	ifr.ifr_flags |= IFF_UP;
	CHECK(ioctl(fd, 0x8914, &ifr) == 0);
	return close(fd);
}

static int move_device(void) {
	struct err e = ERR_INIT;
	/* "host" and "container" are both fresh namespaces, so that a failure leaves nothing on the machine */
	CHECK(unshare(CLONE_NEWNET) == 0);
	int container = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(netdev_lo_up(&e) == 0 && netdev_lo_up(&e) == 0);
	CHECK(bind_port(40200) == 0);
	CHECK(unshare(CLONE_NEWNET) == 0);
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int nl = netlink_open();
	CHECK(nl >= 0);
	if (add_veth(nl, &e) < 0)
		return e.code == -EOPNOTSUPP ? 0 : __LINE__;
	CHECK(set_up("conf0", "10.9.8.7") == 0);
	CHECK(netdev_move("nodev0", NULL, container, &e) == -ENODEV && strstr(err_msg(&e), "nodev0"));
	CHECK(netdev_move("conf0", "lo", container, &e) == -EEXIST);
	struct oci_net_device dev = { "conf0", "inner0" };
	CHECK_ERR(netdev_move_all(&dev, 1, container, &e) == 0);
	CHECK(if_nametoindex("conf0") == 0);
	/* we came back */
	struct stat a, b;
	CHECK(fstat(home, &a) == 0 && stat("/proc/self/ns/net", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(setns(container, CLONE_NEWNET) == 0);
	struct ifreq ifr = { .ifr_name = "inner0" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(ioctl(fd, 0x8913, &ifr) == 0 && ifr.ifr_flags & IFF_UP);
	CHECK(ioctl(fd, 0x8915 /* SIOCGIFADDR */, &ifr) == 0);
	struct sockaddr_in in;
	memcpy(&in, &ifr.ifr_addr, sizeof(in));
	CHECK(in.sin_addr.s_addr == inet_addr("10.9.8.7"));
	return 0;
}
CHILD_TEST(move_device)

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity), cmocka_unit_test(test_exec_identity), cmocka_unit_test(test_absent_caps), cmocka_unit_test(test_no_caps_left), cmocka_unit_test(test_cap_warnings),
		cmocka_unit_test(test_cpu_list), cmocka_unit_test(test_affinity), cmocka_unit_test(test_attributes), cmocka_unit_test(test_proc_redirect),
		cmocka_unit_test(test_lsm), cmocka_unit_test(test_landlock_syntax), cmocka_unit_test(test_landlock_holds),
		cmocka_unit_test(test_netlink_lengths), cmocka_unit_test(test_move_device),
	};
	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}

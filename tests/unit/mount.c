/* Parts of the mount and rootfs code that need no privileges: id maps, sysctl names, copies of trees, program lookup. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "confine/mount.h"
#include "confine/rootfs.h"
#include "confine/userns.h"
#include "sys/fd.h"

static void host_ids(void **state) {
	(void)state;
	struct oci_id_map v[] = { { 0, 1000, 1 }, { 1, 100000, 65536 } };
	struct oci_id_maps m = { v, 2 };
	assert_int_equal(userns_host_id(&m, 0), 1000);
	assert_int_equal(userns_host_id(&m, 1), 100000);
	assert_int_equal(userns_host_id(&m, 65536), 165535);
	assert_int_equal(userns_host_id(&m, 65537), (uint32_t)-1);
	assert_int_equal(userns_host_id(NULL, 7), 7);
}

static void idmap_options(void **state) {
	(void)state;
	struct arena a = ARENA_INIT;
	struct oci_id_map c[] = { { 0, 100000, 1000 } };
	struct oci_id_maps container = { c, 1 }, u = { NULL, 0 }, g = { NULL, 0 };
	assert_int_equal(idmap_option_parse(&a, "uids=0-1000-10#20-@5-1;gids=@3-7-2", &container, &container, &u, &g, NULL), -EINVAL);
	assert_int_equal(idmap_option_parse(&a, "uids=0-1000-10#@20-5-1;gids=@3-7-2", &container, &container, &u, &g, NULL), 0);
	assert_int_equal(u.n, 2);
	assert_int_equal(u.v[0].host_id, 1000);
	assert_int_equal(u.v[1].container_id, 20);
	assert_int_equal(u.v[1].host_id, 100005);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.v[0].host_id, 100007);
	static const char *const bad[] = { "uids=", "uids=1-2", "uids=1-2-3-4", "uids=1-2-0", "uids=a-1-1", "pids=0-0-1", "uids=@0-5000-1", "uids=0-1-99999999999" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(idmap_option_parse(&a, bad[i], &container, &container, &u, &g, NULL) < 0);
	arena_free(&a);
}

static int check(const char *name, unsigned long own, bool domainname) {
	struct oci_map_entry v = { name, "1" };
	struct oci_map m = { &v, 1 };
	return sysctl_check(&m, own, domainname, NULL);
}

static void sysctl_names(void **state) {
	(void)state;
	assert_int_equal(check("net.ipv4.ip_forward", CLONE_NEWNET, false), 0);
	assert_int_equal(check("net/ipv4/conf/eth0.1/forwarding", CLONE_NEWNET, false), 0);
	assert_true(check("net.ipv4.ip_forward", 0, false) < 0);
	assert_int_equal(check("kernel.shmmax", CLONE_NEWIPC, false), 0);
	assert_int_equal(check("fs.mqueue.msg_max", CLONE_NEWIPC, false), 0);
	assert_true(check("kernel.shmmax", CLONE_NEWNET, false) < 0);
	assert_int_equal(check("kernel.domainname", CLONE_NEWUTS, false), 0);
	assert_true(check("kernel.domainname", CLONE_NEWUTS, true) < 0);
	assert_true(check("kernel.hostname", CLONE_NEWUTS, false) < 0);
	assert_true(check("kernel.core_pattern", ~0UL, false) < 0);
	assert_true(check("net..//sys", CLONE_NEWNET, false) < 0);
	assert_true(check("net/../../self/attr/exec", CLONE_NEWNET, false) < 0);
	assert_true(check("", ~0UL, false) < 0);
}

static void trees(void **state) {
	(void)state;
	char dir[] = "/tmp/tierce-mount.XXXXXX", text[64];
	assert_non_null(mkdtemp(dir));
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "a", 0755), 0);
	assert_int_equal(mkdirat(top, "b", 0755), 0);
	assert_int_equal(mkdirat(top, "a/d", 0700), 0);
	int fd = openat(top, "a/d/f", O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	assert_int_equal(fd_write_all(fd, "content", 7), 0);
	close(fd);
	assert_int_equal(symlinkat("/etc/passwd", top, "a/link"), 0);
	assert_int_equal(mknodat(top, "a/pipe", S_IFIFO | 0600, 0), 0);
	int from = openat(top, "a", O_PATH | O_DIRECTORY | O_CLOEXEC), to = openat(top, "b", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(copy_tree(from, to, NULL), 0);
	struct stat st;
	assert_int_equal(fstatat(top, "b/d", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(top, "b/d/f", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_size, 7);
	ssize_t n = readlinkat(top, "b/link", text, sizeof(text));
	assert_int_equal(n, 11);
	assert_int_equal(fstatat(top, "b/pipe", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISFIFO(st.st_mode));
	close(from);
	close(to);
	close(top);
	snprintf(text, sizeof(text), "rm -rf %s", dir);
	assert_int_equal(system(text), 0);
}

static void destinations(void **state) {
	(void)state;
	char dir[] = "/tmp/tierce-mount.XXXXXX", text[64];
	assert_non_null(mkdtemp(dir));
	int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	struct stat st;
	assert_true((fd = mount_destination(root, "/x/y/z", true, false, NULL)) >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	close(fd);
	assert_true((fd = mount_destination(root, "new/file", false, false, NULL)) >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	close(fd);
	/* A dangling link that climbs: its target is made inside the root. */
	assert_int_equal(symlinkat("../../../../new/target", root, "climb"), 0);
	assert_true((fd = mount_destination(root, "climb", false, false, NULL)) >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "new/target", &st, AT_SYMLINK_NOFOLLOW), 0);
	/* Not following: the link itself. */
	assert_true((fd = mount_destination(root, "climb", false, true, NULL)) >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	close(fd);
	close(root);
	snprintf(text, sizeof(text), "rm -rf %s", dir);
	assert_int_equal(system(text), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = { cmocka_unit_test(host_ids), cmocka_unit_test(idmap_options), cmocka_unit_test(sysctl_names),
		cmocka_unit_test(trees), cmocka_unit_test(destinations) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

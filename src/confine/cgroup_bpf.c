/* Device rules on cgroup v2: a BPF_PROG_TYPE_CGROUP_DEVICE program made of the rules, swapped in one step on a live container. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "confine/cgroup_internal.h"

enum {
	INSNS_PER_RULE = 8,
	PROGS_MAX = 64, /* the kernel allows 64 programs per cgroup and attach type (BPF_CGROUP_MAX_PROGS) */
	LOG_SIZE = 16 << 10,
};
static const char prog_name[] = "tierce_device";

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (int16_t)(o), .imm = (int32_t)(i) })
#define LOAD_W(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define MOV_REG(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define AND_IMM(d, i) INSN(BPF_ALU64 | BPF_AND | BPF_K, d, 0, 0, i)
#define RSH_IMM(d, i) INSN(BPF_ALU64 | BPF_RSH | BPF_K, d, 0, 0, i)
#define JMP_IMM(op, d, i, o) INSN(BPF_JMP | (op) | BPF_K, d, 0, o, i)
#define EXIT() INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/*
 * r2 type, r3 accesses that no rule has decided yet, r4 major, r5 minor (struct bpf_cgroup_dev_ctx). Rules are asked from the last to the first, so that the
 * last match wins for each access by itself: an allowing rule strikes its accesses off and allows when none is left, a denying one
 * refuses when it names one that is left.
 */
int cgroup_bpf_build(const struct cgroup_device_rule *rules, size_t n, struct bpf_insn *p, size_t max)
{
	size_t k = 0;

	if (n > (max - 16) / INSNS_PER_RULE)
		return -E2BIG;
	p[k++] = LOAD_W(BPF_REG_2, BPF_REG_1, 0);
	p[k++] = MOV_REG(BPF_REG_3, BPF_REG_2);
	p[k++] = AND_IMM(BPF_REG_2, 0xffff);
	p[k++] = RSH_IMM(BPF_REG_3, 16);
	p[k++] = LOAD_W(BPF_REG_4, BPF_REG_1, 4);
	p[k++] = LOAD_W(BPF_REG_5, BPF_REG_1, 8);
	for (size_t i = n; i-- > 0;) {
		const struct cgroup_device_rule *r = &rules[i];
		size_t jumps[4], nj = 0;
		if (r->major > INT32_MAX || r->minor > INT32_MAX)
			continue; /* names no device: numbers have 12 and 20 bits */
		if (r->type != 'a') {
			jumps[nj++] = k;
			p[k++] = JMP_IMM(BPF_JNE, BPF_REG_2, r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, 0);
		}
		if (r->major >= 0) {
			jumps[nj++] = k;
			p[k++] = JMP_IMM(BPF_JNE, BPF_REG_4, r->major, 0);
		}
		if (r->minor >= 0) {
			jumps[nj++] = k;
			p[k++] = JMP_IMM(BPF_JNE, BPF_REG_5, r->minor, 0);
		}
		if (r->access != CGROUP_ACC_ALL && r->allow) {
			p[k++] = AND_IMM(BPF_REG_3, ~(int32_t)r->access);
			jumps[nj++] = k;
			p[k++] = JMP_IMM(BPF_JNE, BPF_REG_3, 0, 0);
		} else if (r->access != CGROUP_ACC_ALL) {
			p[k++] = JMP_IMM(BPF_JSET, BPF_REG_3, r->access, 1);
			jumps[nj++] = k;
			p[k++] = JMP_IMM(BPF_JA, 0, 0, 0);
		}
		p[k++] = MOV_IMM(BPF_REG_0, r->allow);
		p[k++] = EXIT();
		for (size_t j = 0; j < nj; j++)
			p[jumps[j]].off = (int16_t)(k - jumps[j] - 1);
		if (!nj)
			return (int)k; /* everything matches: the verifier refuses what could never be reached */
	}
	p[k++] = MOV_IMM(BPF_REG_0, 0);
	p[k++] = EXIT();
	return (int)k;
}

static long sys_bpf(int cmd, union bpf_attr *a) { return syscall(SYS_bpf, cmd, a, sizeof(*a)); }

static int load(const struct cgroup_device_rule *rules, size_t n, struct err *e)
{
	size_t max = n * INSNS_PER_RULE + 16;
	_cleanup_free_ struct bpf_insn *p = calloc(max, sizeof(*p));
	_cleanup_free_ char *log = NULL;
	int k;

	if (!p)
		return err_sys(e, ENOMEM, "device rules");
	if ((k = cgroup_bpf_build(rules, n, p, max)) < 0)
		return err_sys(e, k, "device rules");
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE };
	a.insns = (uintptr_t)p;
	a.insn_cnt = (uint32_t)k;
	a.license = (uintptr_t)"Apache-2.0"; /* calls no helper, so that no GPL-only one matters */
	memcpy(a.prog_name, prog_name, sizeof(prog_name));
	int fd = (int)sys_bpf(BPF_PROG_LOAD, &a);
	if (fd >= 0)
		return fd;
	int err = errno;
	if (err == EINVAL || err == EACCES) { /* ask again with the verifier's words */
		log = calloc(1, LOG_SIZE);
		a.log_buf = (uintptr_t)log;
		a.log_size = log ? LOG_SIZE : 0;
		a.log_level = log ? 1 : 0;
		fd = (int)sys_bpf(BPF_PROG_LOAD, &a);
		if (fd >= 0)
			return fd;
	}
	return err_sys(e, err, "load device program%s%s", log && *log ? ": " : "", log && *log ? log : "");
}

/* fd of the program of ours that is attached already, or -ENOENT. */
static int find_ours(int dirfd)
{
	uint32_t ids[PROGS_MAX] = { 0 };
	union bpf_attr q = { 0 };

	q.query.target_fd = (uint32_t)dirfd;
	q.query.attach_type = BPF_CGROUP_DEVICE;
	q.query.prog_ids = (uintptr_t)ids;
	q.query.prog_cnt = PROGS_MAX;
	if (sys_bpf(BPF_PROG_QUERY, &q) < 0)
		return -errno;
	for (uint32_t i = 0; i < q.query.prog_cnt && i < PROGS_MAX; i++) {
		struct bpf_prog_info info = { 0 };
		union bpf_attr a = { 0 }, b = { 0 };
		a.prog_id = ids[i];
		int fd = (int)sys_bpf(BPF_PROG_GET_FD_BY_ID, &a);
		if (fd < 0)
			continue;
		b.info.bpf_fd = (uint32_t)fd;
		b.info.info_len = sizeof(info);
		b.info.info = (uintptr_t)&info;
		if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &b) == 0 && strncmp(info.name, prog_name, sizeof(info.name)) == 0)
			return fd;
		cleanup_close(&fd);
	}
	return -ENOENT;
}

int cgroup_bpf_attach(int dir, const struct cgroup_device_rule *rules, size_t n, struct err *e)
{
	/* BPF_PROG_ATTACH resolves the cgroup by fget(), which knows no O_PATH. */
	_cleanup_close_ int dirfd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(e, errno, "open cgroup");
	_cleanup_close_ int prog = load(rules, n, e);
	if (prog < 0)
		return prog;
	_cleanup_close_ int old = find_ours(dirfd);
	union bpf_attr a = { 0 };
	a.target_fd = (uint32_t)dirfd;
	a.attach_bpf_fd = (uint32_t)prog;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (old >= 0) { /* Linux 5.6: the swap is atomic, no access sees neither or both */
		a.attach_flags |= BPF_F_REPLACE;
		a.replace_bpf_fd = (uint32_t)old;
	}
	if (sys_bpf(BPF_PROG_ATTACH, &a) == 0)
		return 0;
	if (old < 0 || errno != EINVAL)
		return err_sys(e, errno, "attach device program");
	/* Before 5.6: all attached programs must agree, so for a moment both old and new rules hold, never neither. */
	a.attach_flags = BPF_F_ALLOW_MULTI;
	a.replace_bpf_fd = 0;
	if (sys_bpf(BPF_PROG_ATTACH, &a) < 0)
		return err_sys(e, errno, "attach device program");
	union bpf_attr d = { 0 };
	d.target_fd = (uint32_t)dirfd;
	d.attach_bpf_fd = (uint32_t)old;
	d.attach_type = BPF_CGROUP_DEVICE;
	return sys_bpf(BPF_PROG_DETACH, &d) < 0 ? err_sys(e, errno, "detach old device program") : 0;
}

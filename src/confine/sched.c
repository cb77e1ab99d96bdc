/* Scheduler, I/O priority, NUMA policy, CPU lists: see sched.h. */
#include "confine/sched.h"

#include <errno.h>
#include <sys/syscall.h>

enum {
	IOPRIO_WHO_SELF = 1,      /* IOPRIO_WHO_PROCESS: linux/ioprio.h clashes with old C libraries */
	IOPRIO_SHIFT = 13,
	NODE_LIST_MAX = 1023,     /* the kernel's MAX_NUMNODES bound (NODES_SHIFT <= 10) */
};

/* struct sched_attr of linux/sched/types.h, which older C libraries cannot include beside <sched.h>. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct attr) == 48, "SCHED_ATTR_SIZE_VER0");

int sched_apply(const struct oci_scheduler *s, struct err *e) {
	if (!s->set)
		return 0;
	struct attr attr = {
		.size = sizeof(attr), .policy = s->policy, .flags = s->flags, .nice = s->nice, .priority = (uint32_t)s->priority,
		.runtime = s->runtime, .deadline = s->deadline, .period = s->period,
	};
	if (syscall(SYS_sched_setattr, 0, &attr, 0) == 0)
		return 0;
	int code = errno;
	/* A deadline task must be free to run on every CPU of its root domain (sched(7)). */
	if (code == EPERM && s->policy == 6 /* SCHED_DEADLINE */)
		return err_sys(e, code, "error setting scheduler (SCHED_DEADLINE cannot be used together with a cpuset)");
	return err_sys(e, code, "error setting scheduler");
}

int ioprio_apply(const struct oci_process *p, struct err *e) {
	if (!p->io_priority_set)
		return 0;
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_SELF, 0, p->io_class << IOPRIO_SHIFT | p->io_priority) < 0)
		return err_sys(e, errno, "failed to set io priority");
	return 0;
}

/* "a", "a-b", joined by commas, into a bitmap of max + 1 bits. */
static int list_parse(const char *text, unsigned int max, uint64_t *bits) {
	const char *p = text;
	if (!*p)
		return -EINVAL;
	for (;;) {
		unsigned long v[2] = { 0, 0 };
		for (int i = 0; i < 2; i++) {
			if (*p < '0' || *p > '9')
				return -EINVAL;
			for (; *p >= '0' && *p <= '9'; p++) {
				v[i] = v[i] * 10 + (unsigned long)(*p - '0');
				if (v[i] > max)
					return -ERANGE;
			}
			if (i == 0 && *p != '-') {
				v[1] = v[0];
				break;
			}
			if (i == 0)
				p++;
		}
		if (v[1] < v[0])
			return -EINVAL;
		for (unsigned long n = v[0]; n <= v[1]; n++)
			bits[n / 64] |= 1ULL << (n % 64);
		if (!*p)
			return 0;
		if (*p++ != ',')
			return -EINVAL;
	}
}

int mempolicy_apply(const struct oci_memory_policy *m, struct err *e) {
	if (!m->set)
		return 0;
	uint64_t nodes[(NODE_LIST_MAX + 1) / 64] = { 0 };
	if (m->nodes && *m->nodes) {
		int r = list_parse(m->nodes, NODE_LIST_MAX, nodes);
		if (r < 0)
			return err_set(e, r, "linux.memoryPolicy.nodes: \"%s\" is not a list of nodes such as 0-3,7", m->nodes);
	}
	bool any = false;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		any |= nodes[i] != 0;
	/* The kernel looks at one bit less than it is told (get_nodes() in mm/mempolicy.c), hence the 1. */
	if (syscall(SYS_set_mempolicy, m->mode | (int)m->flags, any ? nodes : NULL, any ? NODE_LIST_MAX + 1 + 1 : 0) < 0)
		return err_sys(e, errno, "error setting memory policy");
	return 0;
}

int cpu_list_parse(const char *text, struct cpu_set_list *ret) {
	struct cpu_set_list set = { { 0 } };
	int r = list_parse(text, CPU_LIST_MAX, set.bits);
	if (r < 0)
		return r;
	*ret = set;
	return 0;
}

int cpu_affinity_apply(pid_t pid, const char *text, const char *what, struct err *e) {
	struct cpu_set_list set;
	if (!text)
		return 0;
	int r = cpu_list_parse(text, &set);
	if (r < 0)
		return err_set(e, r, "process.execCPUAffinity.%s: \"%s\" is not a list of CPUs such as 0-3,7", what, text);
	if (syscall(SYS_sched_setaffinity, pid, sizeof(set), &set) < 0)
		return err_sys(e, errno, "error setting %s CPU affinity to \"%s\"", what, text);
	return 0;
}

int cpu_affinity_reset(pid_t pid) {
	struct cpu_set_list set;
	memset(&set, 0xff, sizeof(set));
	return syscall(SYS_sched_setaffinity, pid, sizeof(set), &set) < 0 ? -errno : 0;
}

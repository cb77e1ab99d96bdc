/* "process": what runs in the container, as whom, under which limits. */
#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <stdio.h>

#include "base/str.h"
#include "spec/oci_internal.h"

static const struct name_value io_classes[] = {
	{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT }, { "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE }, { "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE }, { NULL, 0 },
};

/* SCHED_ISO is named by the specification; no kernel has it, sched_setattr(2) answers EINVAL. */
enum { POLICY_ISO = 4 };
static const struct name_value sched_policies[] = {
	{ "SCHED_OTHER", SCHED_NORMAL }, { "SCHED_FIFO", SCHED_FIFO }, { "SCHED_RR", SCHED_RR }, { "SCHED_BATCH", SCHED_BATCH },
	{ "SCHED_ISO", POLICY_ISO }, { "SCHED_IDLE", SCHED_IDLE }, { "SCHED_DEADLINE", SCHED_DEADLINE }, { NULL, 0 },
};

static const struct name_value sched_flags[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK }, { "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM },
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN }, { "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS }, { "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX }, { NULL, 0 },
};

static const struct field console_fields[] = {
	FIELD("height", FIELD_OPT_U16, struct oci_process, console_height),
	FIELD("width", FIELD_OPT_U16, struct oci_process, console_width),
	FIELD_END,
};

static int read_console_size(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	return decode_object(d, p, j, console_fields, obj);
}

static int read_gids(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_user *u = obj;
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array of group ids", j);
	u->additional_gids = arena_array(d->a, j->len, uint32_t);
	if (!u->additional_gids)
		return decode_oom(d);
	struct decode_path here = { .up = p };
	for (struct json *m = j->first; m; m = m->next, here.index++) {
		uint64_t v;
		if (json_u64(m, &v) < 0 || v >= UINT32_MAX)
			return decode_type_error(d, &here, "group id (0 to 4294967294)", m);
		u->additional_gids[u->n_additional_gids++] = (uint32_t)v;
	}
	return 0;
}

static const struct field user_fields[] = {
	FIELD("uid", FIELD_U32, struct oci_user, uid),
	FIELD("gid", FIELD_U32, struct oci_user, gid),
	FIELD("umask", FIELD_OPT_U32, struct oci_user, umask),
	FIELD("username", FIELD_TEXT, struct oci_user, username),
	FIELD_FN("additionalGids", read_gids),
	FIELD_END,
};

static int check_user(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	const struct oci_user *u = obj;
	if (u->uid == UINT32_MAX || u->gid == UINT32_MAX)
		return decode_fail(d, p, "id 4294967295 means \"no change\" to the kernel and is not a user or group");
	return 0;
}

struct rlimit_row { const char *type; uint64_t soft, hard; };
static const struct field rlimit_fields[] = {
	FIELD_REQ("type", FIELD_STRING, struct rlimit_row, type),
	FIELD_REQ("soft", FIELD_U64, struct rlimit_row, soft),
	FIELD_REQ("hard", FIELD_U64, struct rlimit_row, hard),
	FIELD_END,
};

static int read_rlimits(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_process *proc = obj;
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array", j);
	proc->rlimits = arena_array(d->a, j->len, struct oci_rlimit);
	if (!proc->rlimits)
		return decode_oom(d);
	struct decode_path here = { .up = p };
	for (struct json *m = j->first; m; m = m->next, here.index++) {
		struct rlimit_row row = { 0 };
		int r = decode_object(d, &here, m, rlimit_fields, &row);
		if (r < 0)
			return r;
		int resource = oci_rlimit_number(row.type);
		if (resource < 0)
			return decode_fail(d, &here, "invalid rlimit type \"%.40s\" (expected RLIMIT_NOFILE, RLIMIT_NPROC, ...: getrlimit(2))", row.type);
		for (size_t i = 0; i < proc->n_rlimits; i++)
			if (proc->rlimits[i].resource == resource)
				return decode_fail(d, &here, "%s is given twice", row.type);
		if (row.soft > row.hard)
			return decode_fail(d, &here, "soft limit %llu is above hard limit %llu", (unsigned long long)row.soft, (unsigned long long)row.hard);
		proc->rlimits[proc->n_rlimits++] = (struct oci_rlimit){ resource, row.soft, row.hard };
	}
	return 0;
}

static int read_cap_set(struct decoder *d, const struct decode_path *p, struct json *j, struct oci_caps *caps, uint64_t *ret) {
	struct oci_strings names;
	int r = decode_strings(d, p, j, &names);
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.n; i++) {
		int n = oci_capability_number(names.v[i]);
		if (n >= 0) {
			*ret |= (uint64_t)1 << n;
			continue;
		}
		char **v = arena_array(d->a, caps->unknown.n + 2, char *);
		if (!v)
			return decode_oom(d);
		if (caps->unknown.n)
			memcpy(v, caps->unknown.v, caps->unknown.n * sizeof(*v));
		v[caps->unknown.n++] = names.v[i];
		caps->unknown.v = v;
	}
	return 0;
}

enum { MAX_UNKNOWN_CAPS = 64 }; /* collecting them is quadratic: a config of a million bad names must not take minutes */

static int read_caps(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_caps *caps = &((struct oci_process *)obj)->caps;
	const struct { const char *key; uint64_t *set; } sets[] = {
		{ "bounding", &caps->bounding }, { "effective", &caps->effective }, { "inheritable", &caps->inheritable },
		{ "permitted", &caps->permitted }, { "ambient", &caps->ambient },
	};
	if (j->type != JSON_OBJECT)
		return decode_type_error(d, p, "object", j);
	caps->set = true;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct decode_path here = { .up = p, .key = sets[i].key };
		struct json *m = json_get(j, sets[i].key);
		if (!m || m->type == JSON_NULL)
			continue;
		int r = read_cap_set(d, &here, m, caps, sets[i].set);
		if (r < 0)
			return r;
		if (caps->unknown.n > MAX_UNKNOWN_CAPS)
			return decode_fail(d, &here, "more than %d unknown capabilities", MAX_UNKNOWN_CAPS);
	}
	return 0;
}

static int read_sched_policy(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	int64_t v;
	int r = decode_name(d, p, j, sched_policies, &v);
	if (r == 0)
		((struct oci_scheduler *)obj)->policy = (uint32_t)v;
	return r;
}

static int read_sched_flags(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array of strings", j);
	struct decode_path here = { .up = p };
	for (struct json *m = j->first; m; m = m->next, here.index++) {
		int64_t v;
		int r = decode_name(d, &here, m, sched_flags, &v);
		if (r < 0)
			return r;
		((struct oci_scheduler *)obj)->flags |= (uint64_t)v;
	}
	return 0;
}

static const struct field scheduler_fields[] = {
	{ .key = "policy", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_sched_policy },
	FIELD("nice", FIELD_I32, struct oci_scheduler, nice),
	FIELD("priority", FIELD_I32, struct oci_scheduler, priority),
	FIELD_FN("flags", read_sched_flags),
	FIELD("runtime", FIELD_U64, struct oci_scheduler, runtime),
	FIELD("deadline", FIELD_U64, struct oci_scheduler, deadline),
	FIELD("period", FIELD_U64, struct oci_scheduler, period),
	FIELD_END,
};

/* The rules that sched_setattr(2) would answer with a bare EINVAL, in words. */
static int check_scheduler(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	struct oci_scheduler *s = obj;
	bool realtime = s->policy == SCHED_FIFO || s->policy == SCHED_RR;
	s->set = true;
	if (s->nice < -20 || s->nice > 19)
		return decode_fail(d, p, "invalid scheduler.nice: %d (expected -20 to 19)", s->nice);
	if (s->nice != 0 && s->policy != SCHED_NORMAL && s->policy != SCHED_BATCH)
		return decode_fail(d, p, "scheduler.nice can only be specified for SCHED_OTHER or SCHED_BATCH policies");
	if (s->priority != 0 && !realtime)
		return decode_fail(d, p, "scheduler.priority can only be specified for SCHED_FIFO or SCHED_RR policies");
	if (realtime && (s->priority < 0 || s->priority > 99))
		return decode_fail(d, p, "invalid scheduler.priority: %d (expected 1 to 99)", s->priority);
	if (s->policy != SCHED_DEADLINE && (s->runtime || s->deadline || s->period))
		return decode_fail(d, p, "scheduler runtime/deadline/period can only be specified for SCHED_DEADLINE policy");
	return 0;
}

static int read_io_class(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	int64_t v;
	int r = decode_name(d, p, j, io_classes, &v);
	if (r == 0)
		((struct oci_process *)obj)->io_class = (int)v;
	return r;
}

static const struct field io_fields[] = {
	{ .key = "class", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_io_class },
	FIELD("priority", FIELD_I32, struct oci_process, io_priority),
	FIELD_END,
};

static int read_io_priority(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_process *proc = obj;
	int r = decode_object(d, p, j, io_fields, proc);
	if (r < 0)
		return r;
	if (proc->io_priority < 0 || proc->io_priority > 7)
		return decode_fail(d, p, "priority %d is out of range (0 to 7)", proc->io_priority);
	proc->io_priority_set = true;
	return 0;
}

static const struct field affinity_fields[] = {
	FIELD("initial", FIELD_TEXT, struct oci_process, cpu_affinity_initial),
	FIELD("final", FIELD_TEXT, struct oci_process, cpu_affinity_final),
	FIELD_END,
};

/* "0-3,7": the list format of cpuset(7). */
static bool is_cpu_list(const char *s) {
	for (;;) {
		char *end;
		if (*s < '0' || *s > '9')
			return false;
		unsigned long first = strtoul(s, &end, 10), last = first;
		if (*end == '-') {
			s = end + 1;
			if (*s < '0' || *s > '9')
				return false;
			last = strtoul(s, &end, 10);
		}
		if (last < first || last > 65535)
			return false;
		if (!*end)
			return true;
		if (*end != ',')
			return false;
		s = end + 1;
		while (*s == ' ')
			s++;
	}
}

static int read_affinity(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_process *proc = obj;
	int r = decode_object(d, p, j, affinity_fields, proc);
	if (r < 0)
		return r;
	const char *bad = proc->cpu_affinity_initial && !is_cpu_list(proc->cpu_affinity_initial) ? proc->cpu_affinity_initial
		: proc->cpu_affinity_final && !is_cpu_list(proc->cpu_affinity_final) ? proc->cpu_affinity_final : NULL;
	if (bad)
		return decode_fail(d, p, "invalid CPU affinity \"%.40s\" (expected a list such as 0-3,7)", bad);
	return 0;
}

const struct field oci_process_fields[] = {
	FIELD("terminal", FIELD_BOOL, struct oci_process, terminal),
	FIELD_FN("consoleSize", read_console_size),
	FIELD_SUB_FN("user", struct oci_process, user, user_fields, check_user),
	FIELD("args", FIELD_STRINGS, struct oci_process, args),
	FIELD("env", FIELD_STRINGS, struct oci_process, env),
	FIELD("cwd", FIELD_STRING, struct oci_process, cwd),
	FIELD_FN("capabilities", read_caps),
	FIELD_FN("rlimits", read_rlimits),
	FIELD("noNewPrivileges", FIELD_BOOL, struct oci_process, no_new_privileges),
	FIELD("apparmorProfile", FIELD_TEXT, struct oci_process, apparmor_profile),
	FIELD("selinuxLabel", FIELD_TEXT, struct oci_process, selinux_label),
	FIELD("oomScoreAdj", FIELD_OPT_I64, struct oci_process, oom_score_adj),
	FIELD_SUB_FN("scheduler", struct oci_process, scheduler, scheduler_fields, check_scheduler),
	FIELD_FN("ioPriority", read_io_priority),
	FIELD_FN("execCPUAffinity", read_affinity),
	FIELD_END,
};

int oci_check_process(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	struct oci_process *proc = obj;
	if (!proc->args.v || !proc->env.v) {
		char **none = arena_array(d->a, 1, char *);
		if (!none)
			return decode_oom(d);
		proc->args.v = proc->args.v ? proc->args.v : none;
		proc->env.v = proc->env.v ? proc->env.v : none;
	}
	if (proc->args.n == 0)
		return decode_fail(d, p, "args must not be empty");
	if (!proc->cwd || !*proc->cwd)
		return decode_fail(d, p, "cwd property must not be empty");
	if (proc->cwd[0] != '/')
		return decode_fail(d, p, "cwd \"%.200s\" must be an absolute path", proc->cwd);
	if (proc->oom_score_adj.set && (proc->oom_score_adj.v < -1000 || proc->oom_score_adj.v > 1000))
		return decode_fail(d, p, "oomScoreAdj %lld is out of range (-1000 to 1000)", (long long)proc->oom_score_adj.v);
	for (size_t i = 0; i < proc->env.n; i++) {
		const char *eq = strchr(proc->env.v[i], '=');
		if (!eq || eq == proc->env.v[i])
			return decode_fail(d, p, "env[%zu]: \"%.80s\" is not NAME=VALUE", i, proc->env.v[i]);
	}
	return 0;
}

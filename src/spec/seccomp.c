/* "linux.seccomp": the profile as rows; compiling it is confine's work. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>

#include "base/str.h"
#include "spec/oci_internal.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV /* Linux 5.19 */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static const struct name_value actions[] = {
	{ "SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD }, { "SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS },
	{ "SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD }, { "SCMP_ACT_TRAP", SECCOMP_RET_TRAP }, { "SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO },
	{ "SCMP_ACT_TRACE", SECCOMP_RET_TRACE }, { "SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW }, { "SCMP_ACT_LOG", SECCOMP_RET_LOG },
	{ "SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF }, { NULL, 0 },
};

static const struct name_value operators[] = {
	{ "SCMP_CMP_NE", OCI_CMP_NE }, { "SCMP_CMP_LT", OCI_CMP_LT }, { "SCMP_CMP_LE", OCI_CMP_LE }, { "SCMP_CMP_EQ", OCI_CMP_EQ },
	{ "SCMP_CMP_GE", OCI_CMP_GE }, { "SCMP_CMP_GT", OCI_CMP_GT }, { "SCMP_CMP_MASKED_EQ", OCI_CMP_MASKED_EQ }, { NULL, 0 },
};

static const struct name_value flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC }, { "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV }, { NULL, 0 },
};

const char *const oci_seccomp_arch_names[] = {
	"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",
	"SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE",
	"SCMP_ARCH_RISCV64", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", NULL,
};

const char *const oci_seccomp_action_names[] = {
	"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY",
	"SCMP_ACT_TRACE", "SCMP_ACT_TRAP", NULL,
};
const char *const oci_seccomp_operator_names[] = {
	"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE", NULL,
};
const char *const oci_seccomp_flag_names[] = {
	"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL,
};
static int read_action(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	int64_t v;
	int r = decode_name(d, p, j, actions, &v);
	if (r == 0)
		((struct oci_seccomp_rule *)obj)->action = (uint32_t)v;
	return r;
}

static int read_default_action(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	int64_t v;
	int r = decode_name(d, p, j, actions, &v);
	if (r == 0)
		((struct oci_seccomp *)obj)->default_action = (uint32_t)v;
	return r;
}

static int read_operator(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	int64_t v;
	int r = decode_name(d, p, j, operators, &v);
	if (r == 0)
		((struct oci_seccomp_arg *)obj)->op = (uint32_t)v;
	return r;
}

static const struct field arg_fields[] = {
	FIELD_REQ("index", FIELD_U32, struct oci_seccomp_arg, index),
	FIELD_REQ("value", FIELD_U64, struct oci_seccomp_arg, value),
	FIELD("valueTwo", FIELD_U64, struct oci_seccomp_arg, value_two),
	{ .key = "op", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_operator },
	FIELD_END,
};

static int check_arg(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	if (((struct oci_seccomp_arg *)obj)->index > 5)
		return decode_fail(d, p, "index %u is out of range (0 to 5)", ((struct oci_seccomp_arg *)obj)->index);
	return 0;
}

static const struct field rule_fields[] = {
	FIELD_REQ("names", FIELD_STRINGS, struct oci_seccomp_rule, names),
	{ .key = "action", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_action },
	FIELD("errnoRet", FIELD_OPT_U32, struct oci_seccomp_rule, errno_ret),
	FIELD_ARRAY_FN("args", struct oci_seccomp_rule, args, n_args, struct oci_seccomp_arg, arg_fields, check_arg),
	FIELD_END,
};

enum { MAX_ERRNO = 4095 }; /* include/linux/err.h: larger values are no errors to user space */

static int check_rule(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	struct oci_seccomp_rule *r = obj;
	if (r->names.n == 0)
		return decode_fail(d, p, "names must list at least one system call");
	if (r->errno_ret.set && r->action != SECCOMP_RET_ERRNO && r->action != SECCOMP_RET_TRACE)
		return decode_fail(d, p, "errnoRet goes only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE");
	if (r->errno_ret.set && r->errno_ret.v > (r->action == SECCOMP_RET_ERRNO ? MAX_ERRNO : UINT16_MAX))
		return decode_fail(d, p, "errnoRet %llu is out of range", (unsigned long long)r->errno_ret.v);
	return 0;
}

static int read_flags(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array of strings", j);
	struct decode_path here = { .up = p };
	for (struct json *m = j->first; m; m = m->next, here.index++) {
		int64_t v;
		int r = decode_name(d, &here, m, flags, &v);
		if (r < 0)
			return r;
		((struct oci_seccomp *)obj)->flags |= (uint64_t)v;
	}
	return 0;
}

static int read_architectures(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_strings *s = &((struct oci_seccomp *)obj)->architectures;
	int r = decode_strings(d, p, j, s);
	for (size_t i = 0; r == 0 && i < s->n; i++) {
		const char *const *a = oci_seccomp_arch_names;
		while (*a && !streq(*a, s->v[i]))
			a++;
		if (!*a)
			return decode_fail(d, p, "unknown architecture \"%.40s\" (expected SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64, ...: see `features`)", s->v[i]);
	}
	return r;
}

const struct field oci_seccomp_fields[] = {
	{ .key = "defaultAction", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_default_action },
	FIELD("defaultErrnoRet", FIELD_OPT_U32, struct oci_seccomp, default_errno_ret),
	FIELD_FN("architectures", read_architectures),
	FIELD_FN("flags", read_flags),
	FIELD("listenerPath", FIELD_TEXT, struct oci_seccomp, listener_path),
	FIELD("listenerMetadata", FIELD_TEXT, struct oci_seccomp, listener_metadata),
	FIELD_ARRAY_FN("syscalls", struct oci_seccomp, rules, n_rules, struct oci_seccomp_rule, rule_fields, check_rule),
	FIELD_END,
};

int oci_check_seccomp(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_seccomp *s = obj;
	bool notify = s->default_action == SECCOMP_RET_USER_NOTIF;
	s->set = true;
	s->json = j;
	if (s->default_errno_ret.set && s->default_errno_ret.v > MAX_ERRNO)
		return decode_fail(d, p, "defaultErrnoRet %llu is out of range (0 to %d)", (unsigned long long)s->default_errno_ret.v, MAX_ERRNO);
	if (notify)
		return decode_fail(d, p, "SCMP_ACT_NOTIFY cannot be used as default action");
	for (size_t i = 0; i < s->n_rules; i++) {
		if (s->rules[i].action != SECCOMP_RET_USER_NOTIF)
			continue;
		notify = true;
		/* The runtime itself sends the notification fd with sendmsg and write after the filter is loaded: stopping them would hang. */
		for (size_t k = 0; k < s->rules[i].names.n; k++)
			if (streq(s->rules[i].names.v[k], "write"))
				return decode_fail(d, p, "SCMP_ACT_NOTIFY cannot be used for the write syscall");
	}
	if (s->listener_metadata && !s->listener_path)
		return decode_fail(d, p, "listenerMetadata goes only with listenerPath");
	if (notify && !s->listener_path)
		return decode_fail(d, p, "SCMP_ACT_NOTIFY needs listenerPath");
	return 0;
}

/* confine: the seccomp compiler against libseccomp over every call of every architecture, the policy builder, the cache, notification, and
 * the kernel's opinion. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "confine/seccomp.h"
#include "sys/fd.h"
#include "wire/json.h"
#include "emulated.h"

static struct oci_spec *parse(struct arena *a, const char *section) {
	_cleanup_err_ struct err e = ERR_INIT;
	char *text = arena_printf(a, "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":%s}}", section);
	struct json *doc;
	struct oci_spec *s = NULL;
	if (json_parse(a, text, strlen(text), &doc, &e) < 0 || oci_spec_from_json(a, doc, &s, &e) < 0)
		fail_msg("%s", err_msg(&e));
	return s;
}

/* ---- the oracle: libseccomp, driven as runc drives it, and runc's rule for calls that are too new ------------------------- */

static uint32_t lib_action(uint32_t action, const struct opt_u64 *ret) {
	uint32_t data = ret->set ? (uint32_t)ret->v : EPERM;
	switch (action) {
	case SECCOMP_RET_ALLOW: return SCMP_ACT_ALLOW;
	case SECCOMP_RET_ERRNO: return SCMP_ACT_ERRNO(data);
	case SECCOMP_RET_TRACE: return SCMP_ACT_TRACE(data);
	case SECCOMP_RET_LOG: return SCMP_ACT_LOG;
	case SECCOMP_RET_TRAP: return SCMP_ACT_TRAP;
	case SECCOMP_RET_USER_NOTIF: return SCMP_ACT_NOTIFY;
	case SECCOMP_RET_KILL_THREAD: return SCMP_ACT_KILL_THREAD;
	default: return SCMP_ACT_KILL_PROCESS;
	}
}

static void lib_rule(scmp_filter_ctx ctx, const struct oci_seccomp_rule *r, uint32_t action, int nr) {
	static const enum scmp_compare ops[] = { [OCI_CMP_NE] = SCMP_CMP_NE, [OCI_CMP_LT] = SCMP_CMP_LT, [OCI_CMP_LE] = SCMP_CMP_LE, [OCI_CMP_EQ] = SCMP_CMP_EQ,
		[OCI_CMP_GE] = SCMP_CMP_GE, [OCI_CMP_GT] = SCMP_CMP_GT, [OCI_CMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ };
	struct scmp_arg_cmp cmp[16];
	unsigned int seen = 0, n = 0;
	bool repeated = false;
	for (size_t i = 0; i < r->n_args; i++) {
		cmp[n++] = (struct scmp_arg_cmp){ r->args[i].index, ops[r->args[i].op], r->args[i].value, r->args[i].value_two };
		repeated |= seen >> r->args[i].index & 1;
		seen |= 1u << r->args[i].index;
	}
	if (!repeated)
		assert_int_equal(seccomp_rule_add_array(ctx, action, nr, n, cmp), 0);
	for (unsigned int i = 0; repeated && i < n; i++)
		assert_int_equal(seccomp_rule_add_array(ctx, action, nr, 1, &cmp[i]), 0);
}

static struct bpf_prog lib_compile(const struct oci_seccomp *s) {
	uint32_t dflt = lib_action(s->default_action, &s->default_errno_ret);
	scmp_filter_ctx ctx = seccomp_init(dflt);
	assert_non_null(ctx);
	for (size_t i = 0; i < s->architectures.n; i++) {
		int r = seccomp_arch_add(ctx, seccomp_arch_token(s->architectures.v[i]));
		assert_true(r == 0 || r == -EEXIST);
	}
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, s->n_rules > 32 ? 2 : 1);
	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].names.n; k++) {
			uint32_t action = lib_action(s->rules[i].action, &s->rules[i].errno_ret);
			int nr = seccomp_syscall_resolve_name(s->rules[i].names.v[k]);
			if (action != dflt && nr != __NR_SCMP_ERROR)
				lib_rule(ctx, &s->rules[i], action, nr);
		}
	int fd = memfd_create("bpf", MFD_CLOEXEC);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	seccomp_release(ctx);
	struct bpf_prog p = { NULL, 0, true };
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	p.n = (size_t)st.st_size / 8;
	p.insns = malloc((size_t)st.st_size);
	assert_non_null(p.insns);
	assert_int_equal(pread(fd, p.insns, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	return p;
}

/* Largest number that the profile names on an architecture; 0 when none. */
static uint32_t largest(const struct oci_seccomp *s, uint32_t token) {
	int max = 0;
	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].names.n; k++)
			max = MAX(max, seccomp_syscall_resolve_name_arch(token, s->rules[i].names.v[k]));
	return (uint32_t)max;
}

struct oracle { const struct oci_seccomp *s; struct bpf_prog lib; bool stub; bool x32; uint32_t last_x32; struct { uint32_t audit, last; } archs[32]; size_t n; };

static void oracle_init(struct oracle *o, const struct oci_seccomp *s) {
	*o = (struct oracle){ .s = s, .lib = lib_compile(s) };
	o->stub = s->default_action != SECCOMP_RET_ALLOW && s->default_action != SECCOMP_RET_LOG && s->default_action != SECCOMP_RET_TRACE
		&& !(s->default_errno_ret.set && s->default_errno_ret.v == ENOSYS);
	o->archs[o->n].audit = seccomp_arch_native();
	o->archs[o->n++].last = largest(s, seccomp_arch_native());
	for (size_t i = 0; i < s->architectures.n; i++) {
		uint32_t token = seccomp_arch_token(s->architectures.v[i]);
		if (token == SCMP_ARCH_X32) {
			o->x32 = true;
			o->last_x32 = largest(s, token);
		} else if (token != seccomp_arch_native()) {
			o->archs[o->n].audit = token;
			o->archs[o->n++].last = largest(s, token);
		}
	}
}

static uint32_t oracle_ask(const struct oracle *o, const struct seccomp_data *d) {
	for (size_t i = 0; i < o->n && o->stub; i++) {
		uint32_t last = o->archs[i].last, nr = (uint32_t)d->nr;
		if (d->arch != o->archs[i].audit)
			continue;
		if (d->arch == AUDIT_ARCH_X86_64 && nr >= 0x40000000) {
			/* runc's stub looks at bit 30 alone; above it there are no calls at all, and libseccomp's own answer will do */
			if (!o->x32)
				break;
			last = o->last_x32;
		}
		if (last && nr > last)
			return SECCOMP_RET_ERRNO | ENOSYS;
	}
	return bpf_run(&o->lib, d);
}

/* Values worth trying for every argument: those of the rules, their neighbours, with and without an upper half. */
static size_t values(const struct oci_seccomp *s, uint64_t *v, size_t max) {
	size_t n = 0;
	v[n++] = 0, v[n++] = 1, v[n++] = UINT64_MAX, v[n++] = 0x100000000ULL;
	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].n_args; k++) {
			const struct oci_seccomp_arg *a = &s->rules[i].args[k];
			const uint64_t tries[] = { a->value, a->value + 1, a->value - 1, a->value | 1ULL << 32, a->value ^ 1ULL << 63, a->value_two, a->value_two | 1ULL << 40, ~a->value };
			for (size_t t = 0; t < ARRAY_SIZE(tries) && n < max; t++)
				v[n++] = tries[t];
		}
	return n;
}

static void compare(const char *what, const struct oci_seccomp *s) {
	struct oracle o;
	uint64_t v[64];
	size_t n = values(s, v, ARRAY_SIZE(v));
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	if (seccomp_compile(s, &f, &e) < 0)
		fail_msg("%s: %s", what, err_msg(&e));
	assert_true(bpf_check_valid(f.prog.insns, f.prog.n));
	oracle_init(&o, s);
	static const uint32_t firsts[] = { 0, 0x40000000, 4000, 5000, 6000, 0x0f0000, 0x7fffff00, 0xffffff00 };
	uint32_t random = 12345;
	for (size_t a = 0; a <= o.n; a++)
		for (size_t b = 0; b < ARRAY_SIZE(firsts); b++)
			for (uint32_t i = 0; i < (b < 2 || a == o.n ? 600 : 300); i++)
				for (size_t k = 0; k < n * 4; k++) {
					struct seccomp_data d = { .nr = (int)(firsts[b] + i), .arch = a < o.n ? o.archs[a].audit : 0x1234 };
					if (firsts[b] + i < firsts[b])
						continue;
					for (int arg = 0; arg < 6; arg++) {
						random = random * 1664525 + 1013904223;
						/* first all arguments alike, then mixed */
						d.args[arg] = k < n ? v[k] : v[(random >> 8) % n];
					}
					uint32_t want = oracle_ask(&o, &d), got = bpf_run(&f.prog, &d);
					if (want != got)
						fail_msg("%s: arch %#x call %u (%#x) args %#llx %#llx %#llx: ours %#x, libseccomp's %#x", what, d.arch, (unsigned)d.nr, (unsigned)d.nr,
							(unsigned long long)d.args[0], (unsigned long long)d.args[1], (unsigned long long)d.args[2], got, want);
				}
	print_message("%s: %zu instructions, libseccomp's %zu\n", what, f.prog.n, o.lib.n);
	bpf_prog_free(&o.lib);
}

/* ---- profiles ----------------------------------------------------------------------------------------------------- */

/* A profile of the size and shape of Docker's: nearly all calls by name, some left out, conditions on a few. */
static const char *docker_like(struct arena *a, const char *archs) {
	static const char *const denied[] = { "mount", "umount2", "reboot", "bpf", "kexec_load", "init_module", "ptrace", "personality", "clone", "clone3", "socket",
		"setns", "unshare", "keyctl", "add_key", "perf_event_open", "userfaultfd", "pivot_root", "swapon", "quotactl", NULL };
	struct strbuf b = STRBUF_INIT;
	strbuf_printf(&b, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"architectures\":[%s],\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"socketcall\",\"ipc\",\"_llseek\",\"send\",\"recv\"", archs);
	for (int nr = 0; nr < 452; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);
		bool deny = !name;
		for (size_t i = 0; denied[i] && !deny; i++)
			deny = streq(denied[i], name);
		if (!deny)
			strbuf_printf(&b, ",\"%s\"", name);
		free(name);
	}
	static const char rest[] =
		"]},{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":0,\"op\":\"SCMP_CMP_EQ\"}]},"
		"{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":4294967295,\"op\":\"SCMP_CMP_EQ\"}]},"
		"{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
		"{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38},"
		"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":40,\"op\":\"SCMP_CMP_NE\"}]},"
		"{\"names\":[\"no_such_call\"],\"action\":\"SCMP_ACT_ALLOW\"}]}";
	strbuf_puts(&b, rest);
	const char *text = arena_strdup(a, strbuf_str(&b));
	strbuf_free(&b);
	return text;
}

static void test_docker(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	compare("docker-like", &parse(&a, docker_like(&a, "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\""))->seccomp);
	compare("docker-like, native", &parse(&a, docker_like(&a, ""))->seccomp);
}

/* The profile that podman installs, reduced as podman reduces it for an amd64 host and its default capabilities. */
static bool listed(const struct json *list, const char *const *have) {
	for (const struct json *m = json_first(list); m; m = m->next)
		for (size_t i = 0; have[i]; i++)
			if (streq(have[i], m->text))
				return true;
	return false;
}
static bool applies(const struct json *rule) {
	static const char *const arches[] = { "amd64", NULL };
	static const char *const caps[] = { "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_KILL", NULL };
	const struct json *in = json_get(rule, "includes"), *ex = json_get(rule, "excludes"), *l;
	if (((l = json_get(in, "arches")) && json_first(l) && !listed(l, arches)) || ((l = json_get(in, "caps")) && json_first(l) && !listed(l, caps)))
		return false;
	return !listed(json_get(ex, "arches"), arches) && !listed(json_get(ex, "caps"), caps);
}
static void test_podman(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
	struct json *doc;
	if (file_read_at(AT_FDCWD, "/usr/share/containers/seccomp.json", &in, 1 << 20) < 0)
		skip();
	assert_int_equal(json_parse(&a, in.s, in.len, &doc, NULL), 0);
	struct json_writer w;
	jw_init(&w, &out, 0);
	jw_object(&w);
	jw_kv_string(&w, "defaultAction", "SCMP_ACT_ERRNO");
	jw_kv_u64(&w, "defaultErrnoRet", EPERM);
	jw_key(&w, "architectures");
	jw_array(&w);
	jw_string(&w, "SCMP_ARCH_X86_64"), jw_string(&w, "SCMP_ARCH_X86"), jw_string(&w, "SCMP_ARCH_X32");
	jw_array_end(&w);
	jw_key(&w, "syscalls");
	jw_array(&w);
	for (const struct json *r = json_first(json_get(doc, "syscalls")); r; r = r->next) {
		if (!applies(r))
			continue;
		jw_object(&w);
		static const char *const keys[] = { "names", "action", "args", "errnoRet" };
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (json_get(r, keys[i]) && json_get(r, keys[i])->type != JSON_NULL) {
				jw_key(&w, keys[i]);
				jw_value(&w, json_get(r, keys[i]));
			}
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	assert_int_equal(jw_finish(&w), 0);
	compare("podman's", &parse(&a, strbuf_str(&out))->seccomp);
}

static void test_operators(void **state UNUSED) {
	static const char *const ops[] = { "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ" };
	static const char *const vals[] = { "0", "1", "4294967295", "4294967296", "81985529216486895", "18446744073709551615" };
	for (size_t o = 0; o < ARRAY_SIZE(ops); o++)
		for (size_t i = 0; i < ARRAY_SIZE(vals); i++) {
			_cleanup_arena_ struct arena a = ARENA_INIT;
			char *what = arena_printf(&a, "%s %s", ops[o], vals[i]);
			compare(what, &parse(&a, arena_printf(&a, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86\"],\"syscalls\":[{\"names\":[\"read\"],"
				"\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":1,\"value\":%s,\"valueTwo\":%s,\"op\":\"SCMP_CMP_%s\"}]}]}", vals[i], vals[(i * 5 + 2) % 6], ops[o]))->seccomp);
		}
}

static void test_shapes(void **state UNUSED) {
	NOT_EMULATED("without seccomp(2) libseccomp refuses the newer actions that ours is compared with");
	static const struct { const char *what, *section; } t[] = {
		{ "empty", "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}" },
		{ "two conditions", "{\"defaultAction\":\"SCMP_ACT_KILL\",\"syscalls\":[{\"names\":[\"read\",\"ioctl\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_EQ\"},{\"index\":2,\"value\":9,\"op\":\"SCMP_CMP_LE\"}]}]}" },
		{ "one argument twice", "{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_LOG\",\"args\":[{\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_EQ\"},{\"index\":0,\"value\":5,\"op\":\"SCMP_CMP_EQ\"}]}]}" },
		{ "condition, then none", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_EQ\"}]},{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"}]}" },
		{ "none, then condition", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_EQ\"}]}]}" },
		{ "all actions", "{\"defaultAction\":\"SCMP_ACT_TRACE\",\"defaultErrnoRet\":7,\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRAP\"},{\"names\":[\"open\"],\"action\":\"SCMP_ACT_KILL_THREAD\"},"
			"{\"names\":[\"close\"],\"action\":\"SCMP_ACT_KILL_PROCESS\"},{\"names\":[\"stat\"],\"action\":\"SCMP_ACT_LOG\"},{\"names\":[\"fstat\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":9},{\"names\":[\"poll\"],\"action\":\"SCMP_ACT_TRACE\"},"
			"{\"names\":[\"lseek\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":4094},{\"names\":[\"mmap\"],\"action\":\"SCMP_ACT_ALLOW\"}]}" },
		{ "same as default", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ERRNO\"},{\"names\":[\"write\",\"read\"],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[\"write\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1}]}" },
		{ "deny list", "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":[{\"names\":[\"mkdir\",\"socket\",\"msgget\",\"semtimedop\",\"accept\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":30}]}" },
		{ "muxed with conditions", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":[{\"names\":[\"socket\",\"bind\",\"shmget\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2,\"op\":\"SCMP_CMP_EQ\"}]}]}" },
		{ "other architectures", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_ARM\",\"SCMP_ARCH_AARCH64\",\"SCMP_ARCH_MIPSEL64\",\"SCMP_ARCH_MIPSEL64N32\",\"SCMP_ARCH_PPC64LE\",\"SCMP_ARCH_RISCV64\"],"
			"\"syscalls\":[{\"names\":[\"read\",\"write\",\"openat\",\"socket\",\"connect\",\"futex\",\"set_tls\",\"statx\",\"semtimedop\",\"msgget\"],\"action\":\"SCMP_ACT_ALLOW\"}]}" },
		{ "mips o32", "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_MIPSEL\"],\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"}]}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		compare(t[i].what, &parse(&a, t[i].section)->seccomp);
	}
}

/* What libseccomp cannot be asked about. */
static uint32_t ask(const struct bpf_prog *p, uint32_t arch, uint32_t nr) {
	struct seccomp_data d = { .nr = (int)nr, .arch = arch };
	return bpf_simulate(p, &d);
}

static void test_beyond_libseccomp(void **state UNUSED) {
#if !defined(__x86_64__)
	print_message("[  REASON  ] %s: asks about the native calls of x86-64\n", __func__);
	skip();
#endif
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	assert_int_equal(seccomp_compile(&parse(&a, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X32\",\"SCMP_ARCH_LOONGARCH64\",\"SCMP_ARCH_S390X\"],"
		"\"syscalls\":[{\"names\":[\"mseal\",\"read\",\"uretprobe\",\"bogus\"],\"action\":\"SCMP_ACT_ALLOW\"}]}")->seccomp, &f, NULL), 0);
	assert_int_equal(ask(&f.prog, AUDIT_ARCH_X86_64, 462), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f.prog, AUDIT_ARCH_X86_64, 335), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f.prog, AUDIT_ARCH_X86_64, 0x40000000 + 462), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f.prog, AUDIT_ARCH_X86_64, 461), SECCOMP_RET_ERRNO | EPERM);
	assert_int_equal(ask(&f.prog, AUDIT_ARCH_X86_64, 463), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(ask(&f.prog, AUDIT_ARCH_I386, 3), SECCOMP_RET_KILL_THREAD);
	assert_non_null(strstr(strbuf_str(&f.warnings), "unknown seccomp syscall \"bogus\" ignored"));
	assert_null(strstr(strbuf_str(&f.warnings), "\"mseal\""));
	assert_non_null(strstr(strbuf_str(&f.warnings), "SCMP_ARCH_LOONGARCH64"));
	assert_int_equal(seccomp_syscall_number(SCMP_ARCH_MIPSEL64N32, "mseal"), 6462);
	assert_int_equal(seccomp_syscall_number(SCMP_ARCH_X86_64, "nonsense"), -1);
}

/* The spec refuses some of this already; a section that is made by hand meets the same rules. */
static void test_notify_rules(void **state UNUSED) {
	char write_name[] = "write", mkdir_name[] = "mkdirat"; /* mkdir is not everywhere */
	char *writes[] = { write_name, NULL }, *mkdirs[] = { mkdir_name, NULL };
	struct oci_seccomp_rule on_write = { .names = { writes, 1 }, .action = SECCOMP_RET_USER_NOTIF }, on_mkdir = { .names = { mkdirs, 1 }, .action = SECCOMP_RET_USER_NOTIF };
	const struct { struct oci_seccomp s; const char *text; } bad[] = {
		{ { .set = true, .default_action = SECCOMP_RET_USER_NOTIF }, "SCMP_ACT_NOTIFY cannot be used as default action" },
		{ { .set = true, .default_action = SECCOMP_RET_ALLOW, .listener_path = "/x", .rules = &on_write, .n_rules = 1 }, "SCMP_ACT_NOTIFY cannot be used for the write syscall" },
		{ { .set = true, .default_action = SECCOMP_RET_ALLOW, .rules = &on_mkdir, .n_rules = 1 }, "linux.seccomp.listenerPath is needed" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_err_ struct err e = ERR_INIT;
		struct seccomp_filter f = SECCOMP_FILTER_INIT;
		assert_int_equal(seccomp_compile(&bad[i].s, &f, &e), -EINVAL);
		assert_non_null(strstr(err_msg(&e), bad[i].text));
	}
}

static void test_flags(void **state UNUSED) {
	NOT_EMULATED("no seccomp(2)");
	static const struct { const char *flags; unsigned int want; } t[] = {
		{ "", SECCOMP_FILTER_FLAG_SPEC_ALLOW }, { "\"flags\":[],", 0 }, { "\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\",\"SECCOMP_FILTER_FLAG_TSYNC\"],", SECCOMP_FILTER_FLAG_LOG },
		{ "\"flags\":[\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],", 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
		assert_int_equal(seccomp_compile(&parse(&a, arena_printf(&a, "{%s\"defaultAction\":\"SCMP_ACT_ALLOW\"}", t[i].flags))->seccomp, &f, NULL), 0);
		assert_int_equal(f.flags, t[i].want & seccomp_kernel_flags());
	}
	assert_true(seccomp_kernel_action(SECCOMP_RET_ALLOW));
	assert_false(seccomp_kernel_action(0x12340000));
}

/* ---- the kernel agrees -------------------------------------------------------------------------------------------- */

static int child_status(void (*body)(const struct seccomp_filter *), const struct seccomp_filter *f) {
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		body(f);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void enter(const struct seccomp_filter *f) {
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || seccomp_load(f, NULL) != 0)
		_exit(98);
}
static void uses_calls(const struct seccomp_filter *f) {
	enter(f);
	syscall(SYS_exit_group, syscall(SYS_mkdirat, -100, "/", 0) == -1 && errno == 71 && syscall(SYS_getppid) > 0 && syscall(460) == -1 && errno == ENOSYS ? 0 : 1);
}
static void is_killed(const struct seccomp_filter *f) {
	enter(f);
	syscall(SYS_uname, NULL);
}

static void test_kernel(void **state UNUSED) {
	NOT_EMULATED("no seccomp(2)");
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	assert_int_equal(seccomp_compile(&parse(&a, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"getppid\",\"exit_group\",\"exit\"],\"action\":\"SCMP_ACT_ALLOW\"},"
		"{\"names\":[\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":71},{\"names\":[\"uname\"],\"action\":\"SCMP_ACT_KILL_PROCESS\"}]}")->seccomp, &f, NULL), 0);
	assert_int_equal(child_status(uses_calls, &f), 0);
	int status = child_status(is_killed, &f);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* ---- cache -------------------------------------------------------------------------------------------------------- */

static size_t entries(int root) {
	_cleanup_strbuf_ struct strbuf b UNUSED = STRBUF_INIT;
	char cmd[64];
	snprintf(cmd, sizeof(cmd), "ls /proc/%d/fd/%d/.seccomp-cache | wc -l", getpid(), root);
	FILE *p = popen(cmd, "r");
	int n = 0;
	assert_int_equal(fscanf(p, "%d", &n), 1);
	pclose(p);
	return (size_t)n;
}

static bool from_cache(struct oci_spec *s, int root) {
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	assert_int_equal(seccomp_prepare(s, root, &f, NULL), 0);
	assert_true(f.present && f.prog.n > 0);
	return f.from_cache;
}

static void damage(int root, off_t at, const char *bytes) {
	char cmd[160];
	snprintf(cmd, sizeof(cmd), "for f in /proc/%d/fd/%d/.seccomp-cache/*; do printf '%s' | dd of=$f bs=1 seek=%ld conv=notrunc status=none; done", getpid(), root, bytes, (long)at);
	assert_int_equal(system(cmd), 0);
}

static void test_cache(void **state UNUSED) {
	char dir[] = "/tmp/confine-cache.XXXXXX";
	_cleanup_arena_ struct arena a = ARENA_INIT;
	assert_non_null(mkdtemp(dir));
	_cleanup_close_ int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct oci_spec *s = parse(&a, docker_like(&a, "\"SCMP_ARCH_X86\""));
	assert_false(from_cache(s, root));
	assert_true(from_cache(s, root));
	assert_false(from_cache(parse(&a, docker_like(&a, "")), root));
	/* a damaged entry, whichever byte it is, is compiled anew and repaired */
	static const off_t where[] = { 0, 9, 16, 20, 30, 4000 };
	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		damage(root, where[i], "\\377\\376");
		assert_false(from_cache(s, root));
		assert_true(from_cache(s, root));
	}
	/* others' folders and files are not believed */
	assert_int_equal(fchmodat(root, ".seccomp-cache", 0777, 0), 0);
	assert_false(from_cache(s, root));
	assert_int_equal(fchmodat(root, ".seccomp-cache", 0700, 0), 0);
	assert_true(from_cache(s, root));
	if (geteuid() == 0) {
		assert_int_equal(fchownat(root, ".seccomp-cache", 1, 1, 0), 0);
		assert_false(from_cache(s, root));
		assert_int_equal(fchownat(root, ".seccomp-cache", 0, 0, 0), 0);
	}
	assert_int_equal(renameat(root, ".seccomp-cache", root, "real"), 0);
	assert_int_equal(symlinkat("real", root, ".seccomp-cache"), 0);
	assert_false(from_cache(s, root));
	assert_int_equal(unlinkat(root, ".seccomp-cache", 0), 0);
	/* bounded */
	for (int i = 0; i < SECCOMP_CACHE_MAX + 5; i++)
		assert_false(from_cache(parse(&a, arena_printf(&a, "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":%d}", i + 1)), root));
	assert_int_equal(entries(root), SECCOMP_CACHE_MAX);
	char cmd[64];
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* ---- raw programs, base64 ----------------------------------------------------------------------------------------- */

static void test_raw(void **state UNUSED) {
	/* ld arch; ret errno 5 -- and the same cut, with a bad jump, with a bad opcode */
	static const struct { const char *text; int r; } t[] = {
		{ "IAAAAAQAAAAGAAAABQAFAA==", 0 }, { "IAAAAAQAAAAGAAAABQAFAA", 0 }, { "", -EINVAL }, { "IAAAAAQAAAAGAAAABQAF", -EINVAL }, { "****", -EINVAL },
		{ "FQBkZAAAAAAGAAAABQAFAA==", -EINVAL }, { "//8AAAAAAAAGAAAABQAFAA==", -EINVAL }, { "IAAAAAQAAAAgAAAABAAAAA==", -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		_cleanup_arena_ struct arena a UNUSED = ARENA_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
		struct oci_map_entry note = { "run.oci.seccomp_bpf_data", t[i].text };
		struct oci_spec s = { .annotations = { &note, 1 } };
		assert_int_equal(seccomp_prepare(&s, -EBADF, &f, &e), t[i].r);
		if (t[i].r == 0) {
			assert_true(f.present && !f.notify);
			assert_int_equal(ask(&f.prog, 1, 2), SECCOMP_RET_ERRNO | 5);
		}
	}
	static const struct { const char *in, *out; } b64[] = { { "", "" }, { "Zg==", "f" }, { "Zg", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" }, { "Z", NULL }, { "Zh==", NULL },
		{ "Zm9v====", NULL }, { "Z=g=", NULL }, { "Zm 9v", NULL }, { "Zg=", NULL } };
	for (size_t i = 0; i < ARRAY_SIZE(b64); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		int r = base64_decode(b64[i].in, strlen(b64[i].in), &out);
		assert_int_equal(r, b64[i].out ? 0 : -EINVAL);
		if (r == 0)
			assert_string_equal(strbuf_str(&out), b64[i].out);
	}
}

/* ---- notification ------------------------------------------------------------------------------------------------- */

static int agent_receive(int listening, struct strbuf *text) {
	union { char buf[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } control;
	char buf[4096];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	_cleanup_close_ int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	assert_true(n > 0);
	strbuf_add(text, buf, (size_t)n);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (!c)
		fail_msg("no fd came");
	assert_int_equal(c ? c->cmsg_len : 0, CMSG_LEN(sizeof(int)));
	int got;
	memcpy(&got, control.buf + CMSG_LEN(0), sizeof(got));
	return got;
}

static void test_notify(void **state UNUSED) {
	NOT_EMULATED("no seccomp(2)");
	/* a long path, so that the way round sun_path is taken */
	char dir[] = "/tmp/confine-notify.XXXXXX", sub[200], path[210], cmd[80];
	assert_non_null(mkdtemp(dir));
	snprintf(sub, sizeof(sub), "%s/%0100d", dir, 0);
	assert_int_equal(mkdir(sub, 0700), 0);
	snprintf(path, sizeof(path), "%s/s", sub);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	_cleanup_close_ int sub_fd = open(sub, O_PATH | O_CLOEXEC);
	snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/s", sub_fd);
	_cleanup_close_ int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listening, (const struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(listening, 1), 0);

	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	assert_int_equal(seccomp_compile(&parse(&a, arena_printf(&a, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"%s\",\"listenerMetadata\":\"x\\\"y\","
		"\"syscalls\":[{\"names\":[\"mkdirat\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}", path))->seccomp, &f, &e), 0);
	assert_true(f.notify && f.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER);
	int pipes[2];
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			_exit(98);
		int fd = seccomp_load(&f, NULL);
		if (fd < 0 || write(pipes[1], &fd, sizeof(fd)) != sizeof(fd))
			_exit(97);
		_exit(syscall(SYS_mkdirat, -100, "/", 0) == -1 && errno == 77 ? 0 : 1);
	}
	close(pipes[1]); /* a child that fails is an end of file, not a wait for ever */
	int number;
	assert_int_equal(read(pipes[0], &number, sizeof(number)), sizeof(number));
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_close_ int listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	assert_true(listener >= 0);
	assert_int_equal(seccomp_notify_send(&f, listener, -EBADF, 4242, "{\"id\":\"c\",\"status\":\"creating\"}", &e), 0);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_close_ int got = agent_receive(listening, &text);
	assert_string_equal(strbuf_str(&text), "{\"ociVersion\":\"1.3.0\",\"fds\":[\"seccompFd\"],\"pid\":4242,\"metadata\":\"x\\\"y\",\"state\":{\"id\":\"c\",\"status\":\"creating\"}}");
	struct seccomp_notif req = { 0 };
	assert_int_equal(ioctl(got, SECCOMP_IOCTL_NOTIF_RECV, &req), 0);
	assert_int_equal(req.data.nr, SYS_mkdirat);
	struct seccomp_notif_resp resp = { .id = req.id, .error = -77 };
	assert_int_equal(ioctl(got, SECCOMP_IOCTL_NOTIF_SEND, &resp), 0);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pipes[0]), close(pipes[1]);
	f.listener_path = "/no/such/socket";
	assert_int_equal(seccomp_notify_send(&f, listener, -EBADF, 1, "{}", &e), -ENOENT);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* ---- own policies ------------------------------------------------------------------------------------------------- */

static const uint32_t some[] = { 5, 7, 9 };
static const struct bpf_rule rows[] = {
	{ BPF_SYS(read), "reads", 0, { { 0 } } },
	{ BPF_SYS(mmap), "anonymous, never executable", 0, { { 3, BPF_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS, NULL }, { 2, BPF_MASKED32, PROT_EXEC, 0, NULL } } },
	{ BPF_SYS(mmap), "or at one place", SECCOMP_RET_LOG, { { 0, BPF_RANGE, 0x700000000000, 0x700000000fff, NULL } } },
	{ BPF_SYS(futex), "some operations", 0, { { 1, BPF_IN32, 0, ARRAY_SIZE(some), some } } },
	{ BPF_SYS(ioctl), "one request of one fd", 0, { { 0, BPF_EQ32, 4, 0, NULL }, { 1, BPF_EQ, 0x5413, 0, NULL } } },
	{ BPF_SYS(getpid), "from the gate", 0, { { BPF_IP, BPF_RANGE, 0x1000, 0x1fff, NULL } } },
	{ BPF_SYS(exit_group), "ends", 0, { { 0 } } },
};
static const struct bpf_policy policy = { "test", SECCOMP_RET_TRAP, SECCOMP_RET_KILL_PROCESS, rows, ARRAY_SIZE(rows) };

static uint32_t call(const struct bpf_prog *p, int nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t ip) {
	struct seccomp_data d = { .nr = nr, .arch = bpf_native_arch(), .instruction_pointer = ip, .args = { a0, a1, a2, a3 } };
	return bpf_simulate(p, &d);
}

static void test_policy(void **state UNUSED) {
	_cleanup_bpf_ struct bpf_prog p = BPF_PROG_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	assert_int_equal(bpf_policy_compile(&policy, &p, &e), 0);
	assert_true(bpf_check_valid(p.insns, p.n));
	assert_int_equal(call(&p, SYS_read, 1, 2, 3, 4, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(&p, SYS_write, 1, 2, 3, 4, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_mmap, 0, 1, PROT_READ, MAP_ANONYMOUS | MAP_PRIVATE, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(&p, SYS_mmap, 0, 1, PROT_READ | PROT_EXEC, MAP_ANONYMOUS | MAP_PRIVATE, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_mmap, 0, 1, PROT_READ, MAP_PRIVATE, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_mmap, 0x700000000000, 1, 7, 0, 0), SECCOMP_RET_LOG);
	assert_int_equal(call(&p, SYS_mmap, 0x700000000fff, 1, 7, 0, 0), SECCOMP_RET_LOG);
	assert_int_equal(call(&p, SYS_mmap, 0x700000001000, 1, 7, 0, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_mmap, 0x6fffffffffff, 1, 7, 0, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_futex, 0, 7, 0, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(&p, SYS_futex, 0, 0xdead00000007, 0, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(&p, SYS_futex, 0, 6, 0, 0, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_ioctl, 0xffffffff00000004, 0x5413, 0, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(call(&p, SYS_ioctl, 4, 0x100005413, 0, 0, 0), SECCOMP_RET_TRAP);
	assert_int_equal(call(&p, SYS_getpid, 0, 0, 0, 0, 0x1fff), SECCOMP_RET_ALLOW);
	assert_int_equal(call(&p, SYS_getpid, 0, 0, 0, 0, 0x2000), SECCOMP_RET_TRAP);
	assert_int_equal(ask(&p, 0x1234, SYS_read), SECCOMP_RET_KILL_PROCESS);
#ifdef __x86_64__
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, 0x40000000), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, UINT32_MAX), SECCOMP_RET_TRAP);
#endif
	assert_int_equal(bpf_policy_count(&policy), 6);
	assert_int_equal(bpf_policy_print(&policy, &out), 0);
	assert_non_null(strstr(strbuf_str(&out), "(u32)a0 == 0x4, a1 == 0x5413  # one request of one fd"));
	assert_non_null(strstr(strbuf_str(&out), "test: 6 calls in 7 rows"));
	/* a row without a reason is refused */
	struct bpf_rule lazy = { BPF_SYS(read), "", 0, { { 0 } } };
	struct bpf_policy without = { "lazy", SECCOMP_RET_TRAP, SECCOMP_RET_KILL_PROCESS, &lazy, 1 };
	assert_int_equal(bpf_policy_compile(&without, &p, &e), -EINVAL);
}

/* Every number of a large sparse table, across the 8-bit reach of jumps. */
static void test_far_jumps(void **state UNUSED) {
	struct bpf_rule *r = calloc(400, sizeof(*r));
	for (int i = 0; i < 400; i++)
		r[i] = (struct bpf_rule){ i * 2, "x", "test", SECCOMP_RET_ERRNO | (uint32_t)(i + 1), { { 0, BPF_EQ, (uint64_t)i << 33 | 1, 0, NULL } } };
	struct bpf_policy big = { "big", SECCOMP_RET_TRAP, SECCOMP_RET_KILL_PROCESS, r, 400 };
	_cleanup_bpf_ struct bpf_prog p = BPF_PROG_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	if (bpf_policy_compile(&big, &p, &e) < 0)
		fail_msg("%s", err_msg(&e));
	for (int i = 0; i < 900; i++) {
		bool hit = i % 2 == 0 && i < 800;
		assert_int_equal(call(&p, i, (uint64_t)(i / 2) << 33 | 1, 0, 0, 0, 0), hit ? SECCOMP_RET_ERRNO | (unsigned)(i / 2 + 1) : SECCOMP_RET_TRAP);
		assert_int_equal(call(&p, i, (uint64_t)(i / 2) << 33, 0, 0, 0, 0), SECCOMP_RET_TRAP);
	}
	/* beyond the kernel's bound: one clear error */
	r = realloc(r, 3000 * sizeof(*r));
	for (int i = 400; i < 3000; i++)
		r[i] = (struct bpf_rule){ i * 2, "x", "test", SECCOMP_RET_ERRNO | (uint32_t)(i + 1), { { 0 } } };
	big.rules = r, big.n_rules = 3000;
	assert_int_equal(bpf_policy_compile(&big, &p, &e), -E2BIG);
	free(r);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_docker), cmocka_unit_test(test_podman), cmocka_unit_test(test_operators), cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_beyond_libseccomp), cmocka_unit_test(test_notify_rules), cmocka_unit_test(test_flags), cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_cache), cmocka_unit_test(test_raw), cmocka_unit_test(test_notify), cmocka_unit_test(test_policy), cmocka_unit_test(test_far_jumps),
	};
	return cmocka_run_group_tests_name("seccomp", tests, NULL, NULL);
}

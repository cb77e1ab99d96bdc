/* Machine options. */
#include "tier/vm/options.h"

#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/str.h"
#include "tier/vm/boot/assets.h"

#define PREFIX "dev.tierce.vm."

enum {
	MEMORY_DEFAULT = 512, MEMORY_OVERHEAD = 96, /* MiB: the guest's kernel, agent and page tables beside the container's own limit */
	MEMORY_MIN = 128, MEMORY_MAX = 1 << 20, MEMORY_STEP = 128, /* few sizes, since each has a template of its own */
	CPUS_MAX = 64,
};

struct parse { struct vm_options *o; const char *key, *value; struct err *e; };

static int bad(const struct parse *p, const char *allowed)
{
	return err_set(p->e, EINVAL, "annotation %s: \"%s\" is not %s", p->key, p->value, allowed);
}

static int one_of(const struct parse *p, const char *const *words, const char *allowed, const char **ret)
{
	for (; *words; words++)
		if (streq(*words, p->value)) {
			*ret = p->value;
			return 0;
		}
	return bad(p, allowed);
}

static int set_hypervisor(const struct parse *p) { return one_of(p, (const char *const[]){ "auto", "qemu", "builtin", NULL }, "auto, qemu or builtin", &p->o->hypervisor); }
static int set_machine(const struct parse *p) { return one_of(p, (const char *const[]){ "microvm", "q35", NULL }, "microvm or q35", &p->o->machine); }
static int set_accel(const struct parse *p) { return one_of(p, (const char *const[]){ "auto", "kvm", "tcg", NULL }, "auto, kvm or tcg", &p->o->accel); }

static int absolute(const struct parse *p, const char **ret)
{
	if (p->value[0] != '/')
		return bad(p, "an absolute path");
	*ret = p->value;
	return 0;
}

static int set_kernel(const struct parse *p) { return absolute(p, &p->o->kernel); }
static int set_modules(const struct parse *p) { return absolute(p, &p->o->modules); }
static int set_cache(const struct parse *p) { return absolute(p, &p->o->cache); }

static int set_kernel_args(const struct parse *p)
{
	if (strlen(p->value) > 1024)
		return bad(p, "at most 1024 bytes");
	p->o->kernel_args = p->value;
	return 0;
}

static int set_bool(const struct parse *p, bool *ret)
{
	if (!streq(p->value, "on") && !streq(p->value, "off"))
		return bad(p, "on or off");
	*ret = streq(p->value, "on");
	return 0;
}

static int set_template(const struct parse *p)
{
	const char *v = NULL;
	int r = one_of(p, (const char *const[]){ "on", "off", "wait", NULL }, "on, off or wait", &v);
	if (r >= 0) {
		p->o->template_on = !streq(v, "off");
		p->o->template_wait = streq(v, "wait");
	}
	return r;
}
static int set_confine(const struct parse *p) { return set_bool(p, &p->o->confine); }

static int set_memory(const struct parse *p)
{
	uint64_t v;
	if (parse_u64(p->value, &v) < 0 || v < MEMORY_MIN || v > MEMORY_MAX)
		return bad(p, "a number of MiB from 128 to 1048576");
	p->o->memory = v << 20;
	return 0;
}

static int set_cpus(const struct parse *p)
{
	uint64_t v;
	if (parse_u64(p->value, &v) < 0 || v < 1 || v > CPUS_MAX)
		return bad(p, "a number from 1 to 64");
	p->o->cpus = (unsigned)v;
	return 0;
}

static int set_root(const struct parse *p)
{
	const char *v = NULL;
	int r = one_of(p, (const char *const[]){ "image", "shared", NULL }, "image or shared", &v);
	if (r >= 0)
		p->o->root_shared = streq(v, "shared");
	return r;
}

static int set_sandbox(const struct parse *p)
{
	if (!*p->value || strchr(p->value, '/') || p->value[0] == '.')
		return bad(p, "the id of a container");
	p->o->sandbox = p->value;
	return 0;
}

static const struct { const char *name; int (*set)(const struct parse *p); } rows[] = {
	{ "accel", set_accel }, { "cache", set_cache }, { "confine", set_confine }, { "cpus", set_cpus }, { "hypervisor", set_hypervisor },
	{ "kernel", set_kernel }, { "kernel-args", set_kernel_args }, { "machine", set_machine }, { "memory", set_memory },
	{ "modules", set_modules }, { "root", set_root }, { "sandbox", set_sandbox }, { "template", set_template },
};

static void from_limits(const struct oci_resources *r, struct vm_options *o)
{
	if (r->memory.limit.set && r->memory.limit.v > 0) {
		uint64_t mib = ((uint64_t)r->memory.limit.v >> 20) + 1 + MEMORY_OVERHEAD;
		mib = MIN((mib + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP, (uint64_t)MEMORY_MAX);
		o->memory = mib << 20;
	}
	if (r->cpu.quota.set && r->cpu.quota.v > 0) {
		uint64_t period = r->cpu.period.set && r->cpu.period.v ? r->cpu.period.v : 100000;
		uint64_t n = ((uint64_t)r->cpu.quota.v + period - 1) / period, most = (uint64_t)MIN(get_nprocs(), (int)CPUS_MAX);
		n = MIN(n, most);
		o->cpus = n ? (unsigned)n : 1;
	}
}

/* What CRI engines say about pods, under the names that Kata's runtime reads as well. */
static const struct { const char *type, *sandbox_id; } pod_keys[] = {
	{ "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id" },         /* containerd */
	{ "io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID" },       /* CRI-O, podman */
	{ "io.kubernetes.docker.type", "io.kubernetes.sandbox.id" },                    /* dockershim */
};

static int from_pod(const struct oci_spec *s, struct vm_options *o, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(pod_keys); i++) {
		const char *type = oci_annotation(s, pod_keys[i].type), *id = oci_annotation(s, pod_keys[i].sandbox_id);
		if (!type || !streq(type, "container") || !id)
			continue;
		int r = set_sandbox(&(struct parse){ o, pod_keys[i].sandbox_id, id, e });
		if (r < 0)
			return r;
	}
	return 0;
}

/* containerd tells the sandbox what its containers will need together. */
static void from_sandbox_size(const struct oci_spec *s, struct oci_resources *r)
{
	const char *memory = oci_annotation(s, "io.kubernetes.cri.sandbox-memory"), *quota = oci_annotation(s, "io.kubernetes.cri.sandbox-cpu-quota"),
		*period = oci_annotation(s, "io.kubernetes.cri.sandbox-cpu-period");
	uint64_t v;
	if (memory && parse_u64(memory, &v) >= 0 && v && v <= INT64_MAX)
		r->memory.limit = (struct opt_i64){ true, (int64_t)v };
	if (quota && parse_u64(quota, &v) >= 0 && v && v <= INT64_MAX)
		r->cpu.quota = (struct opt_i64){ true, (int64_t)v };
	if (period && parse_u64(period, &v) >= 0 && v)
		r->cpu.period = (struct opt_u64){ true, v };
}

int vm_options(const struct oci_spec *s, struct vm_options *ret, struct err *e)
{
	const char *cache = getenv("TIERCE_VM_CACHE");
	struct vm_options o = { .cache = cache && cache[0] == '/' ? cache : VM_CACHE_DIR, .hypervisor = "auto", .machine = "microvm", .accel = "auto",
		.template_on = true, .memory = (uint64_t)MEMORY_DEFAULT << 20, .cpus = 1, .confine = true };
	struct oci_resources asked = s->resources;
	from_sandbox_size(s, &asked);
	from_limits(&asked, &o);
	int x = from_pod(s, &o, e);
	if (x < 0)
		return x;
	for (size_t i = 0; i < s->annotations.n; i++) {
		struct parse p = { &o, s->annotations.v[i].key, s->annotations.v[i].value, e };
		if (!str_has_prefix(p.key, PREFIX))
			continue;
		size_t k = 0;
		while (k < ARRAY_SIZE(rows) && !streq(rows[k].name, p.key + strlen(PREFIX)))
			k++;
		if (k == ARRAY_SIZE(rows))
			return err_set(e, EINVAL, "annotation %s: unknown; known are %saccel, cache, confine, cpus, hypervisor, kernel, kernel-args, machine, memory, modules, root, sandbox, template",
				p.key, PREFIX);
		int r = rows[k].set(&p);
		if (r < 0)
			return r;
	}
	*ret = o;
	return 0;
}

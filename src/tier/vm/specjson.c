/* JSON of a process and of resources. */
#include "tier/vm/specjson.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

static void strings(struct json_writer *w, const char *key, const struct oci_strings *s)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < s->n; i++)
		jw_string(w, s->v[i]);
	jw_array_end(w);
}

static void caps(struct json_writer *w, const struct oci_caps *c)
{
	const struct { const char *key; uint64_t set; } sets[] = { { "bounding", c->bounding }, { "effective", c->effective },
		{ "inheritable", c->inheritable }, { "permitted", c->permitted }, { "ambient", c->ambient } };
	jw_key(w, "capabilities");
	jw_object(w);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		jw_key(w, sets[i].key);
		jw_array(w);
		for (unsigned n = 0; n < 64; n++)
			if (sets[i].set >> n & 1 && oci_capability_name(n))
				jw_string(w, oci_capability_name(n));
		jw_array_end(w);
	}
	jw_object_end(w);
}

static const char *const rlimit_names[] = {
	[RLIMIT_CPU] = "RLIMIT_CPU", [RLIMIT_FSIZE] = "RLIMIT_FSIZE", [RLIMIT_DATA] = "RLIMIT_DATA", [RLIMIT_STACK] = "RLIMIT_STACK",
	[RLIMIT_CORE] = "RLIMIT_CORE", [RLIMIT_RSS] = "RLIMIT_RSS", [RLIMIT_NPROC] = "RLIMIT_NPROC", [RLIMIT_NOFILE] = "RLIMIT_NOFILE",
	[RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK", [RLIMIT_AS] = "RLIMIT_AS", [RLIMIT_LOCKS] = "RLIMIT_LOCKS", [RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING",
	[RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE", [RLIMIT_NICE] = "RLIMIT_NICE", [RLIMIT_RTPRIO] = "RLIMIT_RTPRIO", [RLIMIT_RTTIME] = "RLIMIT_RTTIME",
};

static void rlimits(struct json_writer *w, const struct oci_process *p)
{
	jw_key(w, "rlimits");
	jw_array(w);
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct oci_rlimit *l = &p->rlimits[i];
		if (l->resource < 0 || (size_t)l->resource >= ARRAY_SIZE(rlimit_names))
			continue;
		jw_object(w);
		jw_key(w, "type");
		jw_string(w, rlimit_names[l->resource]);
		jw_key(w, "soft");
		jw_u64(w, l->soft);
		jw_key(w, "hard");
		jw_u64(w, l->hard);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void user(struct json_writer *w, const struct oci_user *u)
{
	jw_key(w, "user");
	jw_object(w);
	jw_key(w, "uid");
	jw_u64(w, u->uid);
	jw_key(w, "gid");
	jw_u64(w, u->gid);
	if (u->umask.set) {
		jw_key(w, "umask");
		jw_u64(w, u->umask.v);
	}
	jw_key(w, "additionalGids");
	jw_array(w);
	for (size_t i = 0; i < u->n_additional_gids; i++)
		jw_u64(w, u->additional_gids[i]);
	jw_array_end(w);
	jw_object_end(w);
}

int specjson_process(const struct oci_process *p, struct strbuf *out)
{
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_key(&w, "terminal");
	jw_bool(&w, p->terminal);
	user(&w, &p->user);
	strings(&w, "args", &p->args);
	strings(&w, "env", &p->env);
	jw_key(&w, "cwd");
	jw_string(&w, p->cwd ? p->cwd : "/");
	if (p->caps.set)
		caps(&w, &p->caps);
	rlimits(&w, p);
	jw_key(&w, "noNewPrivileges");
	jw_bool(&w, p->no_new_privileges);
	if (p->io_priority_set) {
		static const char *const classes[] = { "IOPRIO_CLASS_RT", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE" };
		jw_key(&w, "ioPriority");
		jw_object(&w);
		jw_key(&w, "class");
		jw_string(&w, classes[p->io_class & 3]);
		jw_key(&w, "priority");
		jw_i64(&w, p->io_priority);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	return w.failed || out->failed ? -ENOMEM : 0;
}

static void opt_i64(struct json_writer *w, const char *key, const struct opt_i64 *v)
{
	if (v->set) {
		jw_key(w, key);
		jw_i64(w, v->v);
	}
}

static void opt_u64(struct json_writer *w, const char *key, const struct opt_u64 *v)
{
	if (v->set) {
		jw_key(w, key);
		jw_u64(w, v->v);
	}
}

static void text(struct json_writer *w, const char *key, const char *v)
{
	if (v) {
		jw_key(w, key);
		jw_string(w, v);
	}
}

int specjson_resources(const struct oci_resources *r, struct strbuf *out)
{
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_key(&w, "memory");
	jw_object(&w);
	opt_i64(&w, "limit", &r->memory.limit);
	opt_i64(&w, "reservation", &r->memory.reservation);
	opt_i64(&w, "swap", &r->memory.swap);
	jw_object_end(&w);
	jw_key(&w, "cpu");
	jw_object(&w);
	opt_u64(&w, "shares", &r->cpu.shares);
	opt_i64(&w, "quota", &r->cpu.quota);
	opt_u64(&w, "period", &r->cpu.period);
	opt_u64(&w, "burst", &r->cpu.burst);
	opt_i64(&w, "idle", &r->cpu.idle);
	jw_object_end(&w);
	if (r->pids_limit.set) {
		jw_key(&w, "pids");
		jw_object(&w);
		opt_i64(&w, "limit", &r->pids_limit);
		jw_object_end(&w);
	}
	if (r->unified.n) {
		jw_key(&w, "unified");
		jw_object(&w);
		for (size_t i = 0; i < r->unified.n; i++)
			text(&w, r->unified.v[i].key, r->unified.v[i].value);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	return w.failed || out->failed ? -ENOMEM : 0;
}

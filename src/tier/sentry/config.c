/* Records of the tier -> options. */
#include "tier/sentry/config.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

struct build {
	struct arena *a;
	struct sentry_options *o;
	char **argv, **envp;
	size_t n_argv, n_envp, n_mounts, n_groups;
	struct sentry_mount_opt *mounts;
	struct sentry_cover *covers;
	size_t n_covers;
	uint32_t *groups;
};

static int push(struct build *b, char ***v, size_t *n, const char *s)
{
	char **nv = arena_array(b->a, *n + 2, char *); /* quadratic, but for a few hundred entries of one container */
	if (!nv)
		return -ENOMEM;
	if (*n)
		memcpy(nv, *v, *n * sizeof(*nv));
	nv[(*n)++] = arena_strdup(b->a, s);
	*v = nv;
	return nv[*n - 1] ? 0 : -ENOMEM;
}

static int mount_record(struct build *b, const char *s)
{
	char *copy = arena_strdup(b->a, s), *f[5] = { NULL };
	for (unsigned i = 0; copy && i < 5; i++) {
		f[i] = copy;
		copy = strchr(copy, '\001');
		if (copy)
			*copy++ = 0;
	}
	if (!f[4])
		return -EINVAL;
	struct sentry_mount_opt *nv = arena_array(b->a, b->n_mounts + 1, struct sentry_mount_opt);
	if (!nv)
		return -ENOMEM;
	if (b->n_mounts)
		memcpy(nv, b->mounts, b->n_mounts * sizeof(*nv));
	nv[b->n_mounts++] = (struct sentry_mount_opt){ .type = f[0], .source = f[1], .target = f[2], .flags = strtoul(f[3], NULL, 10), .data = f[4], .fd = -EBADF };
	b->mounts = nv;
	return 0;
}

static int cover_record(struct build *b, const char *path, bool masked)
{
	struct sentry_cover *nv = arena_array(b->a, b->n_covers + 1, struct sentry_cover);
	if (!nv)
		return -ENOMEM;
	if (b->n_covers)
		memcpy(nv, b->covers, b->n_covers * sizeof(*nv));
	nv[b->n_covers++] = (struct sentry_cover){ arena_strdup(b->a, path), masked };
	b->covers = nv;
	return nv[b->n_covers - 1].path ? 0 : -ENOMEM;
}

static int rlimit_record(struct build *b, const char *s)
{
	char *end;
	size_t n = b->o->n_rlimits;
	if (n >= ARRAY_SIZE(b->o->rlimits))
		return -EINVAL;
	b->o->rlimits[n].resource = (int)strtol(s, &end, 10);
	b->o->rlimits[n].soft = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
	b->o->rlimits[n].hard = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
	b->o->n_rlimits++;
	return *end ? -EINVAL : 0;
}

static int caps_record(struct build *b, const char *s)
{
	uint64_t v[5];
	for (unsigned i = 0; i < 5; i++) {
		char *end;
		v[i] = strtoull(s, &end, 16);
		if (end == s)
			return -EINVAL;
		s = *end ? end + 1 : end;
	}
	b->o->caps_set = true;
	b->o->cap_bounding = v[0];
	b->o->cap_effective = v[1];
	b->o->cap_permitted = v[2];
	b->o->cap_inheritable = v[3];
	b->o->cap_ambient = v[4];
	return 0;
}

static int group_record(struct build *b, const char *s)
{
	uint32_t *nv = arena_array(b->a, b->n_groups + 1, uint32_t);
	if (!nv)
		return -ENOMEM;
	if (b->n_groups)
		memcpy(nv, b->groups, b->n_groups * sizeof(*nv));
	nv[b->n_groups++] = (uint32_t)strtoul(s, NULL, 10);
	b->groups = nv;
	return 0;
}

static int nibble(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* A program as hexadecimal digits; whether it is a sound one is checked where it is installed. */
static int seccomp_record(struct build *b, const char *s)
{
	size_t n = strlen(s) / 2;
	if (strlen(s) % 2 || n % sizeof(struct sock_filter) || !n)
		return -EINVAL;
	uint8_t *p = (uint8_t *)arena_array(b->a, n / sizeof(struct sock_filter), struct sock_filter);
	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int hi = nibble(s[2 * i]), lo = nibble(s[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	b->o->seccomp = (const struct sock_filter *)(const void *)p;
	b->o->n_seccomp = n / sizeof(struct sock_filter);
	return 0;
}

static int record(struct build *b, const char *key, size_t n, const char *v)
{
	struct sentry_options *o = b->o;
#define IS(k) (n == strlen(k) && memcmp(key, k, n) == 0)
	if (IS("arg"))
		return push(b, &b->argv, &b->n_argv, v);
	if (IS("env"))
		return push(b, &b->envp, &b->n_envp, v);
	if (IS("mount"))
		return mount_record(b, v);
	if (IS("masked") || IS("readonly-path"))
		return cover_record(b, v, IS("masked"));
	if (IS("seccomp"))
		return seccomp_record(b, v);
	if (IS("oom")) {
		b->o->oom_score_adj = (int)strtol(v, NULL, 10);
		return b->o->oom_score_adj < -1000 || b->o->oom_score_adj > 1000 ? -EINVAL : 0;
	}
	if (IS("rlimit"))
		return rlimit_record(b, v);
	if (IS("caps"))
		return caps_record(b, v);
	if (IS("group"))
		return group_record(b, v);
	const char **s = IS("rootfs") ? &o->rootfs : IS("cwd") ? &o->cwd : IS("hostname") ? &o->hostname : IS("domainname") ? &o->domainname : NULL;
	if (s)
		return (*s = arena_strdup(b->a, v)) ? 0 : -ENOMEM;
	if (IS("overlay")) {
		o->overlay = !strcmp(v, "memory") ? OVERLAY_MEMORY : !strcmp(v, "self") ? OVERLAY_SELF : OVERLAY_NONE;
		return o->overlay ? 0 : -EINVAL;
	}
	uint32_t *u = IS("uid") ? &o->uid : IS("gid") ? &o->gid : IS("umask") ? &o->umask : IS("pids") ? &o->pids_limit : NULL;
	if (u) {
		*u = (uint32_t)strtoul(v, NULL, 10);
		return 0;
	}
	bool *f = IS("readonly") ? &o->rootfs_readonly : IS("nnp") ? &o->no_new_privs : IS("terminal") ? &o->terminal : NULL;
	if (f)
		*f = true;
	return f ? 0 : -EINVAL;
#undef IS
}

int sentry_config_parse(struct arena *a, const char *data, size_t len, struct sentry_options *o, struct err *e)
{
	struct build b = { .a = a, .o = o };
	while (len) {
		const char *end = memchr(data, 0, len), *eq = end ? memchr(data, '=', (size_t)(end - data)) : NULL;
		int rc = eq ? record(&b, data, (size_t)(eq - data), eq + 1) : -EINVAL;
		if (rc < 0)
			return err_sys(e, rc, "configuration record \"%.40s\"", end ? data : "(cut off)");
		len -= (size_t)(end + 1 - data);
		data = end + 1;
	}
	if (!b.argv || (!b.envp && !(b.envp = arena_array(a, 1, char *))))
		return err_set(e, EINVAL, "configuration without arguments");
	o->argv = b.argv;
	o->envp = b.envp;
	o->mounts = b.mounts;
	o->n_mounts = b.n_mounts;
	o->covers = b.covers;
	o->n_covers = b.n_covers;
	o->groups = b.groups;
	o->n_groups = b.n_groups;
	return 0;
}

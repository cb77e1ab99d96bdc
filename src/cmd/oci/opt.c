/* Option parser: see opt.h. */
#include "cmd/oci/opt.h"

#include <errno.h>
#include <stdlib.h>

static const struct opt *find_long(const struct opt *opts, size_t n, const char *name, size_t len) {
	for (size_t i = 0; i < n; i++) {
		if (strlen(opts[i].name) == len && memcmp(opts[i].name, name, len) == 0)
			return &opts[i];
		if (opts[i].alias && strlen(opts[i].alias) == len && memcmp(opts[i].alias, name, len) == 0)
			return &opts[i];
	}
	return NULL;
}

static const struct opt *find_short(const struct opt *opts, size_t n, char c) {
	for (size_t i = 0; i < n; i++)
		if (opts[i].short_name == c && c)
			return &opts[i];
	return NULL;
}

static int parse_bool(const char *s, bool *ret) {
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" }, *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (streq(s, yes[i])) {
			*ret = true;
			return 0;
		}
		if (streq(s, no[i])) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

static int list_push(struct opt_list *l, const char *s) {
	/* grows by powers of two: n is a power of two exactly when the array is full */
	if ((l->n & (l->n - 1)) == 0) {
		const char **v = reallocarray(l->v, l->n ? l->n * 2 : 1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
	}
	l->v[l->n++] = s;
	return 0;
}

static int store(const struct opt *o, void *base, const char *value, struct err *e) {
	void *p = (char *)base + o->offset;
	uint64_t u;
	switch ((enum opt_kind)o->kind) {
	case OPT_FLAG:
		if (value == NULL)
			*(bool *)p = true;
		else if (parse_bool(value, p) < 0)
			return err_set(e, EINVAL, "invalid boolean value \"%s\" for --%s", value, o->name);
		return 0;
	case OPT_OPTSTR:
		*(const char **)p = value ? value : "true";
		return 0;
	case OPT_STRING:
		*(const char **)p = value;
		return 0;
	case OPT_LIST:
		if (list_push(p, value) < 0)
			return err_set(e, ENOMEM, "out of memory");
		return 0;
	case OPT_U32:
		if (parse_u64(value, &u) < 0 || u > UINT32_MAX)
			return err_set(e, EINVAL, "invalid value \"%s\" for --%s: expected a number from 0 to %u", value, o->name, UINT32_MAX);
		*(uint32_t *)p = (uint32_t)u;
		return 0;
	}
	return err_set(e, EINVAL, "--%s: unknown kind", o->name);
}

static bool takes_value(const struct opt *o) { return o->kind != OPT_FLAG && o->kind != OPT_OPTSTR; }

/* -abc value: short options; *i is moved past a value taken from the next word. */
static int parse_cluster(const struct opt *opts, size_t n, void *base, int argc, char **argv, int *i, bool *help, struct err *e) {
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct opt *o = find_short(opts, n, *p);
		if (!o && *p == 'h') {
			*help = true;
			continue;
		}
		if (!o)
			return err_set(e, EINVAL, "flag provided but not defined: -%s", argv[*i] + 1);
		if (!takes_value(o)) {
			const char *v = p[1] == '=' ? p + 2 : NULL;
			int r = store(o, base, v, e);
			if (r < 0 || v)
				return r;
			continue;
		}
		if (p[1])
			return store(o, base, p[1] == '=' ? p + 2 : p + 1, e);
		if (*i + 1 >= argc)
			return err_set(e, EINVAL, "flag needs an argument: option -%c (--%s) requires an argument", *p, o->name);
		return store(o, base, argv[++*i], e);
	}
	return 0;
}

static int parse_word(const struct opt *opts, size_t n, void *base, int argc, char **argv, int *i, bool *help, struct err *e) {
	const char *word = argv[*i];
	bool two = word[1] == '-';
	const char *name = word + 1 + two, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct opt *o = len > 1 ? find_long(opts, n, name, len) : NULL;
	if (!o && len == 1)
		o = find_short(opts, n, *name);
	if (!o && ((len == 4 && memcmp(name, "help", 4) == 0) || (len == 1 && *name == 'h'))) {
		*help = true;
		return 0;
	}
	if (!o && !two)
		return parse_cluster(opts, n, base, argc, argv, i, help, e);
	if (!o)
		return err_set(e, EINVAL, "flag provided but not defined: -%.*s (unknown option --%.*s)", (int)len, name, (int)len, name);
	if (eq)
		return store(o, base, eq + 1, e);
	if (!takes_value(o))
		return store(o, base, NULL, e);
	if (*i + 1 >= argc)
		return err_set(e, EINVAL, "flag needs an argument: option --%s requires an argument", o->name);
	return store(o, base, argv[++*i], e);
}

int opt_parse(const struct opt *opts, size_t n, void *base, bool stop, int argc, char **argv, struct opt_parse *ret, struct err *e) {
	struct opt_parse p = { .argv = argv };
	int i;
	for (i = 0; i < argc; i++) {
		const char *w = argv[i];
		if (streq(w, "--")) {
			i++;
			break;
		}
		if (w[0] != '-' || !w[1] || (w[1] >= '0' && w[1] <= '9')) {
			if (stop)
				break;
			argv[p.argc++] = argv[i]; /* p.argc <= i: operands move down over words that were read */
			continue;
		}
		int r = parse_word(opts, n, base, argc, argv, &i, &p.help, e);
		if (r < 0)
			return r;
	}
	for (; i < argc; i++)
		argv[p.argc++] = argv[i];
	/* What moved down must end where it ends: exec hands the rest of the line to execve(2). */
	if (p.argc < argc)
		argv[p.argc] = NULL;
	*ret = p;
	return 0;
}

void opt_release(const struct opt *opts, size_t n, void *base) {
	for (size_t i = 0; i < n; i++)
		if (opts[i].kind == OPT_LIST) {
			struct opt_list *l = (void *)((char *)base + opts[i].offset);
			free(l->v);
			l->v = NULL;
			l->n = 0;
		}
}

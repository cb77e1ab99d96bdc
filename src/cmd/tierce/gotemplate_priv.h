/* What the reader of templates and its functions share. */
#ifndef TIERCE_CMD_TIERCE_GOTEMPLATE_PRIV_H
#define TIERCE_CMD_TIERCE_GOTEMPLATE_PRIV_H

#include "base/arena.h"
#include "cmd/tierce/gotemplate.h"

enum { TEMPLATE_ARGS_MAX = 16 };

struct template_variable { const char *name; size_t len; const struct json *value; };
struct template_value {
	const struct json *j;  /* NULL: nil */
	const char *shown;     /* how it is printed, NULL: by its value */
	const char *path;      /* the field that is not there, NULL: none is missing */
	size_t path_len;
};
struct template {
	const char *p;
	struct strbuf *out;
	struct err *e;
	struct arena a;
	const struct json *root;
	const struct template_shown *shown;
	size_t n_shown;
	struct template_variable vars[TEMPLATE_VARIABLES_MAX];
	size_t n_vars, steps;
	unsigned depth;
	bool skip;
};

bool template_truth(const struct json *j);
struct json *template_string(struct template *t, const char *s, size_t n);
struct json *template_bool(struct template *t, bool v);
struct json *template_number(struct template *t, long long v);
/* gotemplate_func.c */
int template_call(struct template *t, const char *name, size_t len, const struct template_value *args, size_t n, struct template_value *ret) MUST_CHECK;

#endif

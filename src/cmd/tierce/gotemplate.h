/*
 * The part of Go's text/template that people use with --format, over a JSON value: fields, variables, pipelines, if, with, range, else, comments, trimming, and the
 * functions json, join, split, lower, upper, title, truncate, len, index, slice of strings, print, println, printf, eq, ne, lt, le, gt, ge, and, or, not.
 * \t and \n outside of actions are a tab and a line end, as docker and podman have it.
 */
#ifndef TIERCE_CMD_TIERCE_GOTEMPLATE_H
#define TIERCE_CMD_TIERCE_GOTEMPLATE_H

#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

enum {
	TEMPLATE_DEPTH_MAX = 64,      /* of blocks and brackets: the reader is recursive */
	TEMPLATE_STEPS_MAX = 1000000, /* actions that are run: loops in loops end */
	TEMPLATE_OUTPUT_MAX = 64 << 20,
	TEMPLATE_VARIABLES_MAX = 32,
};

/* A field whose printed form is not its value ("12.3 MB" for 12345678). */
struct template_shown { const char *name, *text; };

/* Run text over root; shown: printed forms of root's members (n_shown 0: none; then names that root does not have are an error that names all). */
int go_template(const char *text, const struct json *root, const struct template_shown *shown, size_t n_shown, struct strbuf *out, struct err *e) MUST_CHECK;
/* A value as Go prints it: strings bare, [a b], map[k:v]. */
void template_print(const struct json *j, struct strbuf *out);

#endif

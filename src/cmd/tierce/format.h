/* Output of lists: tables, JSON, and the part of Go's templates that people use with --format. */
#ifndef TIERCE_CMD_TIERCE_FORMAT_H
#define TIERCE_CMD_TIERCE_FORMAT_H

#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

struct fmt_value {
	const char *name; /* field: "Repository" */
	const char *text; /* as people read it */
	const char *json; /* JSON text for --format json and {{json .}}; NULL: text as a string */
	const char *key;  /* member name in JSON; NULL: name */
};

struct fmt_column {
	const char *field, *header;
};

/*
 * format: NULL (the table of the columns), "json", "table {{.A}}\t{{.B}}" or "{{.A}} {{.B}}": templates as gotemplate.h has them.
 */
struct fmt {
	const char *template;
	const struct fmt_column *columns;
	size_t n_columns;
	bool json, table, heading;
	char ***rows; /* owned cells of a table */
	size_t n_rows;
	struct strbuf out;
	size_t count;
};

int fmt_init(struct fmt *f, const char *format, const struct fmt_column *columns, size_t n_columns, bool heading, struct err *e);
int fmt_row(struct fmt *f, const struct fmt_value *v, size_t n, struct err *e);
/* Prints everything and releases f. */
int fmt_end(struct fmt *f, FILE *out, struct err *e);
void fmt_free(struct fmt *f);

/* "12.3 MB" (decimal, as docker and podman show sizes). */
const char *human_size(uint64_t n, char buf[32]);
/* "3 weeks ago" */
const char *human_ago(int64_t unix_seconds, char buf[40]);
/* RFC 3339 in UTC */
const char *rfc3339(int64_t unix_seconds, char buf[40]);

#endif

/* Output of lists: see format.h. */
#include "cmd/tierce/format.h"

#include "cmd/tierce/gotemplate.h"

#include <ctype.h>
#include <errno.h>
#include <time.h>

#include "wire/json.h"

enum { CELLS_MAX = 32 };

int fmt_init(struct fmt *f, const char *format, const struct fmt_column *columns, size_t n_columns, bool heading, struct err *e) {
	*f = (struct fmt){ .columns = columns, .n_columns = n_columns, .heading = heading };
	if (!format || streq(format, "table"))
		f->table = true;
	else if (streq(format, "json"))
		f->json = true;
	else if (str_has_prefix(format, "table ")) {
		f->table = true;
		f->template = format + 6;
	} else
		f->template = format;
	if (f->template && !strstr(f->template, "{{") && !f->table)
		return err_set(e, EINVAL, "--format %s: want json, table or a template such as '{{.ID}}'", format);
	return 0;
}

static const struct fmt_value *find(const struct fmt_value *v, size_t n, const char *name, size_t len) {
	for (size_t i = 0; i < n; i++)
		if (strlen(v[i].name) == len && strncmp(v[i].name, name, len) == 0)
			return &v[i];
	return NULL;
}

static void put_json(struct strbuf *b, const struct fmt_value *v) {
	struct json_writer w;
	if (v->json) {
		strbuf_puts(b, v->json);
		return;
	}
	jw_init(&w, b, 0);
	jw_string(&w, v->text);
	jw_finish(&w);
}

static void put_object(struct strbuf *b, const struct fmt_value *v, size_t n, const char *sep, const char *end) {
	strbuf_putc(b, '{');
	for (size_t i = 0; i < n; i++) {
		struct fmt_value key = { .text = v[i].key ? v[i].key : v[i].name };
		strbuf_puts(b, i ? "," : "");
		strbuf_puts(b, sep);
		put_json(b, &key);
		strbuf_puts(b, *sep ? ": " : ":");
		put_json(b, &v[i]);
	}
	strbuf_puts(b, end);
	strbuf_putc(b, '}');
}

static const char *header_of(const struct fmt *f, const char *name, struct strbuf *scratch) {
	for (size_t i = 0; i < f->n_columns; i++)
		if (streq(f->columns[i].field, name))
			return f->columns[i].header;
	strbuf_clear(scratch);
	for (const char *p = name; *p; p++)
		strbuf_putc(scratch, (char)toupper((unsigned char)*p));
	return strbuf_str(scratch);
}

/* The template over a row's values; header: over the columns' titles instead. */
static int expand(const struct fmt *f, struct strbuf *b, const struct fmt_value *v, size_t n, bool header, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, title = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct template_shown *shown = arena_array(&a, n + 1, struct template_shown);
	struct json *root;
	if (!shown)
		return err_set(e, ENOMEM, "out of memory");
	strbuf_putc(&text, '{');
	for (size_t i = 0; i < n; i++) {
		const char *heading = header ? header_of(f, v[i].name, &title) : NULL;
		struct fmt_value key = { .text = v[i].name }, value = { .text = heading };
		shown[i] = (struct template_shown){ v[i].name, arena_strdup(&a, header ? heading : v[i].text ? v[i].text : "") };
		strbuf_puts(&text, i ? "," : "");
		put_json(&text, &key);
		strbuf_putc(&text, ':');
		put_json(&text, header ? &value : &v[i]);
	}
	strbuf_putc(&text, '}');
	int r = text.failed ? err_set(e, ENOMEM, "out of memory") : json_parse(&a, text.s, text.len, &root, e);
	return r < 0 ? r : go_template(f->template, root, shown, n, b, e);
}

static int add_row(struct fmt *f, char **cells, struct err *e) {
	char ***rows = reallocarray(f->rows, f->n_rows + 1, sizeof(*rows));
	if (!rows || !cells) {
		strv_free(cells);
		return err_set(e, ENOMEM, "out of memory");
	}
	f->rows = rows;
	f->rows[f->n_rows++] = cells;
	return 0;
}

static int template_row(struct fmt *f, const struct fmt_value *v, size_t n, bool header, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char **cells = NULL, *save = NULL;
	size_t k = 0;
	int r = expand(f, &b, v, n, header, e);
	if (r < 0)
		return r;
	for (char *c = b.s; c; c = save) {
		save = strchr(c, '\t');
		if (save)
			*save++ = '\0';
		if (strv_push(&cells, &k, c) < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	return add_row(f, cells, e);
}

static int column_row(struct fmt *f, const struct fmt_value *v, size_t n, bool header, struct err *e) {
	char **cells = NULL;
	size_t k = 0;
	for (size_t i = 0; i < f->n_columns; i++) {
		const struct fmt_value *x = find(v, n, f->columns[i].field, strlen(f->columns[i].field));
		if (strv_push(&cells, &k, header ? f->columns[i].header : x && x->text ? x->text : "") < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	return add_row(f, cells, e);
}

int fmt_row(struct fmt *f, const struct fmt_value *v, size_t n, struct err *e) {
	int r = 0;
	if (f->json) {
		strbuf_puts(&f->out, f->count++ ? ",\n     " : "\n     ");
		put_object(&f->out, v, n, "\n          ", "\n     ");
		return f->out.failed ? err_set(e, ENOMEM, "out of memory") : 0;
	}
	if (!f->table) {
		f->count++;
		r = expand(f, &f->out, v, n, false, e);
		strbuf_putc(&f->out, '\n');
		return r;
	}
	if (!f->count++ && f->heading)
		r = f->template ? template_row(f, v, n, true, e) : column_row(f, v, n, true, e);
	if (r >= 0)
		r = f->template ? template_row(f, v, n, false, e) : column_row(f, v, n, false, e);
	return r;
}

void fmt_free(struct fmt *f) {
	for (size_t i = 0; i < f->n_rows; i++)
		strv_free(f->rows[i]);
	free(f->rows);
	strbuf_free(&f->out);
	f->rows = NULL;
	f->n_rows = 0;
}

static void print_table(const struct fmt *f, FILE *out) {
	size_t width[CELLS_MAX] = { 0 };
	for (size_t i = 0; i < f->n_rows; i++)
		for (size_t k = 0; f->rows[i][k] && k < CELLS_MAX; k++)
			width[k] = MAX(width[k], strlen(f->rows[i][k]));
	for (size_t i = 0; i < f->n_rows; i++) {
		for (size_t k = 0; f->rows[i][k] && k < CELLS_MAX; k++)
			if (f->rows[i][k + 1])
				fprintf(out, "%-*s  ", (int)width[k], f->rows[i][k]);
			else
				fputs(f->rows[i][k], out);
		fputc('\n', out);
	}
}

int fmt_end(struct fmt *f, FILE *out, struct err *e) {
	int r = 0;
	if (f->table && f->heading && !f->count && !f->template)
		r = column_row(f, NULL, 0, true, e);
	if (f->json)
		fprintf(out, "[%s%s]\n", strbuf_str(&f->out), f->count ? "\n" : "");
	else if (f->table)
		print_table(f, out);
	else
		fputs(strbuf_str(&f->out), out);
	fmt_free(f);
	return r;
}

const char *human_size(uint64_t n, char buf[32]) {
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double)n;
	size_t i = 0;
	while (v >= 999.5 && i + 1 < ARRAY_SIZE(unit)) {
		v /= 1000;
		i++;
	}
	snprintf(buf, 32, "%.*f %s", i == 0 ? 0 : v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, unit[i]);
	return buf;
}

const char *human_ago(int64_t t, char buf[40]) {
	static const struct {
		int64_t below, unit;
		const char *name;
	} steps[] = { { 60, 1, "second" }, { 3600, 60, "minute" }, { 86400, 3600, "hour" }, { 14 * 86400, 86400, "day" }, { 60 * 86400, 7 * 86400, "week" },
		      { 2 * 365 * 86400, 30 * 86400, "month" }, { INT64_MAX, 365 * 86400, "year" } };
	int64_t d = (int64_t)time(NULL) - t;
	d = d < 0 ? 0 : d;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (d < steps[i].below) {
			int64_t n = d / steps[i].unit;
			snprintf(buf, 40, "%lld %s%s ago", (long long)n, steps[i].name, n == 1 ? "" : "s");
			break;
		}
	return buf;
}

const char *rfc3339(int64_t t, char buf[40]) {
	time_t tt = (time_t)t;
	struct tm tm;
	if (!gmtime_r(&tt, &tm) || !strftime(buf, 40, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(buf, 40, "%lld", (long long)t);
	return buf;
}

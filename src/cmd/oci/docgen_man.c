/* Man pages from the option tables, and the generator's command line: see docgen.h. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/oci/docgen.h"

static void roff(const char *s, FILE *f)
{
	for (bool begin = true; *s; s++) {
		if (begin && (*s == '.' || *s == '\''))
			fputs("\\&", f);
		begin = *s == '\n';
		if (*s == '\\')
			fputs("\\e", f);
		else if (*s == '-')
			fputs("\\-", f);
		else if (begin && s[1] == '\n') {
			fputs("\n.PP\n", f);
			s++;
		} else
			fputc(*s, f);
	}
}

/* "system df" of tierce is tierce-system-df(1). */
static void page_name(const struct docgen *d, const char *command, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s", d->prog, command ? "-" : "", command ? command : "");
	for (char *p = out; *p; p++)
		if (*p == ' ')
			*p = '-';
}

static void title(const struct docgen *d, const char *name, FILE *f)
{
	fputs(".TH ", f);
	for (const char *p = name; *p; p++)
		fputs((char[]){ (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p), 0 }, f);
	fprintf(f, " 1 \"\" \"Tierce %s\" \"Tierce\"\n.SH NAME\n", d->version);
	roff(name, f);
	fputs(" \\- ", f);
}

static void man_opts(const struct opt *o, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++) {
		if (o[i].flags & OPT_HIDDEN)
			continue;
		fputs(".TP\n\\fB", f);
		if (o[i].short_name)
			fprintf(f, "\\-%c\\fR, \\fB", o[i].short_name);
		fputs("\\-\\-", f);
		roff(o[i].name, f);
		fputs("\\fR", f);
		if (o[i].arg) {
			fputs(" \\fI", f);
			roff(o[i].arg, f);
			fputs("\\fR", f);
		}
		fputc('\n', f);
		roff(o[i].help, f);
		fputs(".\n", f);
	}
	fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nshow help.\n", f);
}

static void man_program(const struct docgen *d, FILE *f)
{
	char name[96];
	title(d, d->prog, f);
	roff(d->one_line, f);
	fputs("\n.SH SYNOPSIS\n.B ", f);
	roff(d->prog, f);
	fputs("\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]\n.SH DESCRIPTION\n", f);
	roff(d->description, f);
	fputs("\n.SH COMMANDS\n", f);
	for (const struct command *const *c = d->commands; *c; c++) {
		if ((*c)->flags & CMD_HIDDEN)
			continue;
		page_name(d, (*c)->name, name, sizeof(name));
		fputs(".TP\n\\fB", f);
		roff(name, f);
		fputs("\\fR(1)\n", f);
		roff((*c)->summary, f);
		fputs(".\n", f);
	}
	fputs(".SH GLOBAL OPTIONS\n", f);
	man_opts(d->global_opts, d->n_global_opts, f);
	fprintf(f, ".SH FILES\n%s.SH EXIT STATUS\n", d->files);
	roff(d->exit_status, f);
	fputc('\n', f);
}

static void man_command(const struct docgen *d, const struct command *c, FILE *f)
{
	char name[96];
	page_name(d, c->name, name, sizeof(name));
	title(d, name, f);
	roff(c->summary, f);
	fputs("\n.SH SYNOPSIS\n.B ", f);
	roff(d->prog, f);
	fputc(' ', f);
	roff(c->name, f);
	fputs("\n[\\fIoptions\\fR] ", f);
	roff(c->operands ? c->operands : "", f);
	fputs("\n.SH DESCRIPTION\n", f);
	roff(c->description && *c->description ? c->description : c->summary, f);
	fputs("\n.SH OPTIONS\n", f);
	man_opts(c->opts, c->n_opts, f);
	fputs(".SH SEE ALSO\n\\fB", f);
	roff(d->prog, f);
	fputs("\\fR(1)\n", f);
}

static int has_page(const char *name, int n, char **pages)
{
	size_t l = strlen(name);
	for (int i = 0; i < n; i++) {
		const char *base = strrchr(pages[i], '/') ? strrchr(pages[i], '/') + 1 : pages[i];
		if (strncmp(base, name, l) == 0 && streq(base + l, ".1"))
			return i;
	}
	return -ENOENT;
}

static int write_page(const struct docgen *d, const struct command *c, const char *path)
{
	FILE *f = fopen(path, "w");
	if (!f)
		return -errno;
	if (c)
		man_command(d, c, f);
	else
		man_program(d, f);
	return fclose(f) == 0 ? 0 : -errno;
}

/* The page of one command (NULL: of the program) goes to the place that the build wants it at and, under its own name, into dir. */
static int one_page(const struct docgen *d, const struct command *c, const char *dir, int n, char **pages)
{
	char name[96], path[4096];
	page_name(d, c ? c->name : NULL, name, sizeof(name));
	int i = has_page(name, n, pages);
	if (i < 0) {
		fprintf(stderr, "%s.1 is missing in the build's list of pages\n", name);
		return i;
	}
	snprintf(path, sizeof(path), "%s/%s.1", dir, name);
	int r = write_page(d, c, pages[i]);
	return r < 0 ? r : write_page(d, c, path);
}

int docgen_man(const struct docgen *d, const char *dir, int n, char **pages)
{
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	int written = 1, r = one_page(d, NULL, dir, n, pages);
	for (const struct command *const *c = d->commands; r >= 0 && *c; c++) {
		if ((*c)->flags & CMD_HIDDEN)
			continue;
		r = one_page(d, *c, dir, n, pages);
		written++;
	}
	if (r < 0 || written == n)
		return r;
	fprintf(stderr, "the build lists %d pages, there are %d\n", n, written);
	return -EINVAL;
}

int docgen_main(const struct docgen *d, int argc, char **argv)
{
	static const struct { const char *name; void (*fn)(const struct docgen *, FILE *); } shells[] = {
		{ "bash", docgen_bash }, { "zsh", docgen_zsh }, { "fish", docgen_fish },
	};
	if (argc >= 4 && streq(argv[1], "man")) {
		int r = docgen_man(d, argv[2], argc - 3, argv + 3);
		if (r < 0)
			fprintf(stderr, "man pages of %s: %s\n", d->prog, strerror(-r));
		return r < 0;
	}
	for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(shells); i++)
		if (streq(argv[1], shells[i].name)) {
			FILE *f = fopen(argv[2], "w");
			if (!f) {
				fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
				return 1;
			}
			shells[i].fn(d, f);
			return fclose(f) != 0;
		}
	fprintf(stderr, "usage: %s-gen man DIR PAGE... | bash|zsh|fish FILE\n", d->prog);
	return 2;
}

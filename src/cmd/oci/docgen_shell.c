/* Completions for bash, zsh and fish from the option tables: see docgen.h. */
#include <string.h>

#include "cmd/oci/docgen.h"

/* ---- what the tables say -------------------------------------------------------------------------------------------- */

/* "pod create" is the command "create" of the group "pod": the length of the group's name, 0 for a command of its own. */
static size_t group_length(const struct command *c)
{
	const char *space = strchr(c->name, ' ');
	return space ? (size_t)(space - c->name) : 0;
}

/* The group of c is met here for the first time. */
static bool opens_group(const struct docgen *d, const struct command *const *c)
{
	size_t n = group_length(*c);
	for (const struct command *const *b = d->commands; n && b < c; b++)
		if (group_length(*b) == n && strncmp((*b)->name, (*c)->name, n) == 0 && !((*b)->flags & CMD_HIDDEN))
			return false;
	return n > 0;
}

static bool in_group(const struct command *c, const char *group, size_t n)
{
	return !(c->flags & CMD_HIDDEN) && group_length(c) == n && strncmp(c->name, group, n) == 0;
}

/* Operands that begin with fixed words ("add|remove <container-id>"). */
static size_t fixed_words(const struct command *c)
{
	size_t n = c->operands ? strcspn(c->operands, " ") : 0;
	return n && c->operands[0] >= 'a' && c->operands[0] <= 'z' && memchr(c->operands, '|', n) ? n : 0;
}

/* Index of the row of names for the first operand, -1: files. */
static int names_of(const struct docgen *d, const struct command *c)
{
	const char *operands = c->operands ? c->operands + (c->operands[0] == '[') : "";
	size_t g = group_length(c);
	for (size_t i = 0; i < d->n_names; i++) {
		const struct docgen_names *n = &d->names[i];
		if (n->group && !(strlen(n->group) == g && strncmp(n->group, c->name, g) == 0))
			continue;
		if (n->kind && n->kind != c->operand_kind)
			continue;
		if (!n->operand || strncmp(operands, n->operand, strlen(n->operand)) == 0)
			return n->list ? (int)i : -1;
	}
	return -1;
}

static void words(const char *s, char from, char to, FILE *f)
{
	for (; *s; s++)
		fputc(*s == from ? to : *s, f);
}

/* ---- bash --------------------------------------------------------------------------------------------------------- */

static void bash_values(const struct opt *o, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++) {
		if (o[i].kind == OPT_FLAG || o[i].flags & OPT_HIDDEN)
			continue;
		fprintf(f, "\t\t--%s", o[i].name);
		if (o[i].short_name)
			fprintf(f, "|-%c", o[i].short_name);
		fputs(") ", f);
		if (o[i].complete == COMPLETE_WORDS) {
			fputs("COMPREPLY=($(compgen -W \"", f);
			words(o[i].arg, '|', ' ', f);
			fputs("\" -- \"$cur\"))", f);
		} else if (o[i].complete == COMPLETE_DIR)
			fputs("COMPREPLY=($(compgen -d -- \"$cur\"))", f);
		else if (o[i].complete == COMPLETE_FILE)
			fputs("COMPREPLY=($(compgen -f -- \"$cur\"))", f);
		else
			fputc(':', f);
		fputs("; return;;\n", f);
	}
}

static void bash_names(const struct opt *o, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++)
		if (!(o[i].flags & OPT_HIDDEN))
			fprintf(f, "--%s ", o[i].name);
	fputs("--help", f);
}

static void bash_command(const struct docgen *d, const struct command *c, FILE *f)
{
	fprintf(f, "\t'%s')\n\t\tcase $prev in\n", c->name);
	bash_values(c->opts, c->n_opts, f);
	fputs("\t\tesac\n\t\tif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"", f);
	bash_names(c->opts, c->n_opts, f);
	fputs("\" -- \"$cur\"))", f);
	int names = names_of(d, c);
	size_t fixed = fixed_words(c);
	if (fixed) {
		fputs("; else COMPREPLY=($(compgen -W \"", f);
		for (size_t i = 0; i < fixed; i++)
			fputc(c->operands[i] == '|' ? ' ' : c->operands[i], f);
		fputs("\" -- \"$cur\"))", f);
	} else if (names >= 0)
		fprintf(f, "; else COMPREPLY=($(compgen -W \"$(%s \"${root[@]}\" %s 2>/dev/null)\" -- \"$cur\"))", d->prog, d->names[names].list);
	fputs("; fi;;\n", f);
}

/* Sets cmd to the command's name, of one word or two, and root to the --root that was given. */
static void bash_find_command(const struct docgen *d, FILE *f)
{
	fputs("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t--root) root=(--root \"${COMP_WORDS[i+1]}\"); ((i++));;\n", f);
	for (size_t i = 0; i < d->n_global_opts; i++)
		if (d->global_opts[i].kind != OPT_FLAG && !streq(d->global_opts[i].name, "root"))
			fprintf(f, "\t\t--%s) ((i++));;\n", d->global_opts[i].name);
	fputs("\t\t-*) ;;\n\t\t*) cmd=${COMP_WORDS[i]}; break;;\n\t\tesac\n\tdone\n", f);
	bool any = false;
	for (const struct command *const *c = d->commands; *c; c++)
		if (!((*c)->flags & CMD_HIDDEN) && opens_group(d, c)) {
			fprintf(f, any ? "|%.*s" : "\tcase $cmd in\n\t%.*s", (int)group_length(*c), (*c)->name);
			any = true;
		}
	if (any)
		fputs(") for ((i++; i < COMP_CWORD; i++)); do [[ ${COMP_WORDS[i]} == -* ]] || { cmd+=\" ${COMP_WORDS[i]}\"; break; }; done;;\n\tesac\n", f);
}

void docgen_bash(const struct docgen *d, FILE *f)
{
	char function[64];
	snprintf(function, sizeof(function), "_%s", d->prog);
	for (char *p = function; *p; p++)
		if (*p == '-')
			*p = '_';
	fprintf(f, "# bash completion for %s\n%s() {\n\tlocal cur prev cmd= i root=()\n\tCOMPREPLY=()\n\tcur=${COMP_WORDS[COMP_CWORD]}\n"
		"\tprev=${COMP_WORDS[COMP_CWORD-1]}\n", d->prog, function);
	bash_find_command(d, f);
	fputs("\tcase $cmd in\n\t'')\n\t\tcase $prev in\n", f);
	bash_values(d->global_opts, d->n_global_opts, f);
	fputs("\t\tesac\n\t\tif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"", f);
	bash_names(d->global_opts, d->n_global_opts, f);
	fputs("\" -- \"$cur\")); else COMPREPLY=($(compgen -W \"", f);
	for (const struct command *const *c = d->commands; *c; c++)
		if (!((*c)->flags & CMD_HIDDEN) && (!group_length(*c) || opens_group(d, c)))
			fprintf(f, "%.*s ", (int)strcspn((*c)->name, " "), (*c)->name);
	fputs("help\" -- \"$cur\")); fi;;\n", f);
	for (const struct command *const *c = d->commands; *c; c++) {
		size_t n = group_length(*c);
		if ((*c)->flags & CMD_HIDDEN)
			continue;
		if (opens_group(d, c)) {
			fprintf(f, "\t%.*s) COMPREPLY=($(compgen -W \"", (int)n, (*c)->name);
			for (const struct command *const *m = d->commands; *m; m++)
				if (in_group(*m, (*c)->name, n))
					fprintf(f, "%s ", (*m)->name + n + 1);
			fputs("\" -- \"$cur\"));;\n", f);
		}
		bash_command(d, *c, f);
	}
	fprintf(f, "\tesac\n}\ncomplete -o default -F %s %s %s\n", function, d->prog, d->also);
}

/* ---- zsh ---------------------------------------------------------------------------------------------------------- */

static void zsh_text(const char *s, FILE *f)
{
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", f);
		else if (*s == '[' || *s == ']' || *s == ':')
			fprintf(f, "\\%c", *s);
		else
			fputc(*s, f);
	}
}

static void zsh_opts(const struct opt *o, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++) {
		if (o[i].flags & OPT_HIDDEN)
			continue;
		for (int s = 0; s < (o[i].short_name ? 2 : 1); s++) {
			fputs(" \\\n\t\t\t'", f);
			if (o[i].kind == OPT_LIST)
				fputc('*', f);
			if (s)
				fprintf(f, "-%c", o[i].short_name);
			else
				fprintf(f, "--%s%s", o[i].name, o[i].kind == OPT_FLAG ? "" : "=");
			fputc('[', f);
			zsh_text(o[i].help, f);
			fputc(']', f);
			if (o[i].kind != OPT_FLAG) {
				fputs(":value:", f);
				if (o[i].complete == COMPLETE_WORDS) {
					fputc('(', f);
					words(o[i].arg, '|', ' ', f);
					fputc(')', f);
				} else if (o[i].complete)
					fputs(o[i].complete == COMPLETE_DIR ? "_files -/" : "_files", f);
			}
			fputc('\'', f);
		}
	}
}

static void zsh_described(const char *name, const char *summary, FILE *f)
{
	fprintf(f, "\t\t'%s:", name);
	zsh_text(summary, f);
	fputs("'\n", f);
}

static void zsh_arguments(const struct docgen *d, const struct command *c, const char *function, FILE *f)
{
	fprintf(f, "\t\t%s) _arguments", c->name + (group_length(c) ? group_length(c) + 1 : 0));
	zsh_opts(c->opts, c->n_opts, f);
	int names = names_of(d, c);
	size_t fixed = fixed_words(c);
	if (fixed) {
		fputs(" '1:action:(", f);
		for (size_t i = 0; i < fixed; i++)
			fputc(c->operands[i] == '|' ? ' ' : c->operands[i], f);
		fputs(")'", f);
	}
	if (names >= 0)
		fprintf(f, " '%s:name:%s_names_%d'", strstr(c->operands, "...") && !(c->flags & CMD_STOP_AT_OPERAND) ? "*" : fixed ? "2" : "1", function, names);
	else
		fputs(" '*:argument:_files'", f);
	fputs(";;\n", f);
}

/* A function per group: the group's words, then the options of the word that was typed. */
static void zsh_group(const struct docgen *d, const char *group, size_t n, const char *function, FILE *f)
{
	fprintf(f, "%s_group_%.*s() {\n\tlocal -a cmds\n\tlocal state line\n\tcmds=(\n", function, (int)n, group);
	for (const struct command *const *c = d->commands; *c; c++)
		if (in_group(*c, group, n))
			zsh_described((*c)->name + n + 1, (*c)->summary, f);
	fputs("\t)\n\t_arguments -C '1:command:->command' '*::argument:->argument'\n\tcase $state in\n\tcommand) _describe command cmds;;\n\targument)\n\t\tcase $line[1] in\n", f);
	for (const struct command *const *c = d->commands; *c; c++)
		if (in_group(*c, group, n))
			zsh_arguments(d, *c, function, f);
	fputs("\t\tesac;;\n\tesac\n}\n", f);
}

void docgen_zsh(const struct docgen *d, FILE *f)
{
	char function[64];
	snprintf(function, sizeof(function), "_%s", d->prog);
	fprintf(f, "#compdef %s %s\n", d->prog, d->also);
	for (size_t i = 0; i < d->n_names; i++)
		if (d->names[i].list)
			fprintf(f, "%s_names_%zu() {\n\tlocal -a ids\n\tids=(${(f)\"$(%s %s 2>/dev/null)\"})\n\tcompadd -a ids\n}\n", function, i, d->prog, d->names[i].list);
	for (const struct command *const *c = d->commands; *c; c++)
		if (!((*c)->flags & CMD_HIDDEN) && opens_group(d, c))
			zsh_group(d, (*c)->name, group_length(*c), function, f);
	fprintf(f, "%s() {\n\tlocal -a cmds\n\tlocal state line\n\tcmds=(\n", function);
	for (const struct command *const *c = d->commands; *c; c++) {
		char group[32];
		if ((*c)->flags & CMD_HIDDEN)
			continue;
		if (!group_length(*c))
			zsh_described((*c)->name, (*c)->summary, f);
		else if (opens_group(d, c)) {
			snprintf(group, sizeof(group), "%.*s", (int)group_length(*c), (*c)->name);
			zsh_described(group, "commands of their own", f);
		}
	}
	fputs("\t)\n\t_arguments -C", f);
	zsh_opts(d->global_opts, d->n_global_opts, f);
	fputs(" \\\n\t\t\t'1:command:->command' '*::argument:->argument'\n\tcase $state in\n\tcommand) _describe command cmds;;\n\targument)\n\t\tcase $line[1] in\n", f);
	for (const struct command *const *c = d->commands; *c; c++) {
		if ((*c)->flags & CMD_HIDDEN)
			continue;
		if (!group_length(*c))
			zsh_arguments(d, *c, function, f);
		else if (opens_group(d, c))
			fprintf(f, "\t\t%.*s) %s_group_%.*s;;\n", (int)group_length(*c), (*c)->name, function, (int)group_length(*c), (*c)->name);
	}
	fprintf(f, "\t\tesac;;\n\tesac\n}\n%s \"$@\"\n", function);
}

/* ---- fish --------------------------------------------------------------------------------------------------------- */

static void fish_text(const char *s, FILE *f)
{
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
	}
}

static void fish_opts(const struct docgen *d, const char *condition, const struct opt *o, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++) {
		if (o[i].flags & OPT_HIDDEN)
			continue;
		fprintf(f, "complete -c %s -n '%s' -l %s", d->prog, condition, o[i].name);
		if (o[i].short_name)
			fprintf(f, " -s %c", o[i].short_name);
		if (o[i].kind != OPT_FLAG)
			fputs(o[i].complete == COMPLETE_FILE || o[i].complete == COMPLETE_DIR ? " -r -F" : " -x", f);
		if (o[i].complete == COMPLETE_WORDS) {
			fputs(" -a '", f);
			words(o[i].arg, '|', ' ', f);
			fputc('\'', f);
		}
		fputs(" -d '", f);
		fish_text(o[i].help, f);
		fputs("'\n", f);
	}
}

static void fish_offer(const struct docgen *d, const char *condition, const char *word, size_t n, const char *summary, FILE *f)
{
	fprintf(f, "complete -c %s -n '%s' -a %.*s -d '", d->prog, condition, (int)n, word);
	fish_text(summary, f);
	fputs("'\n", f);
}

static void fish_command(const struct docgen *d, const struct command *c, FILE *f)
{
	char condition[192];
	size_t n = group_length(c);
	if (n)
		snprintf(condition, sizeof(condition), "__%s_at \"%s\"", d->prog, c->name);
	else
		snprintf(condition, sizeof(condition), "__%s_at %s", d->prog, c->name);
	fish_opts(d, condition, c->opts, c->n_opts, f);
	int names = names_of(d, c);
	size_t fixed = fixed_words(c);
	if (fixed) {
		fprintf(f, "complete -c %s -n '%s' -a '", d->prog, condition);
		for (size_t i = 0; i < fixed; i++)
			fputc(c->operands[i] == '|' ? ' ' : c->operands[i], f);
		fputs("'\n", f);
	} else if (names >= 0)
		fprintf(f, "complete -c %s -n '%s' -a '(%s %s 2>/dev/null)'\n", d->prog, condition, d->prog, d->names[names].list);
	else if (c->max_args != 0)
		fprintf(f, "complete -c %s -n '%s' -F\n", d->prog, condition);
}

void docgen_fish(const struct docgen *d, FILE *f)
{
	char condition[128];
	fprintf(f, "# fish completion for %s\n"
		"# True when the words typed so far, options left out, are the command $argv[1] (of one word or two) and what follows it.\n"
		"function __%s_at\n\tset -l words (string match -v -- \"-*\" (commandline -opc))[2..-1]\n\tset -l want (string split \" \" -- $argv[1])\n"
		"\ttest (count $words) -ge (count $want); and test \"$words[1..\"(count $want)\"]\" = \"$argv[1]\"\nend\n"
		"function __%s_none\n\tset -l words (string match -v -- \"-*\" (commandline -opc))\n\ttest (count $words) -le 1\nend\n"
		"function __%s_group\n\tset -l words (string match -v -- \"-*\" (commandline -opc))\n\ttest (count $words) -eq 2; and test \"$words[2]\" = \"$argv[1]\"\nend\n"
		"complete -c %s -f\n", d->prog, d->prog, d->prog, d->prog, d->prog);
	snprintf(condition, sizeof(condition), "__%s_none", d->prog);
	fish_opts(d, condition, d->global_opts, d->n_global_opts, f);
	for (const struct command *const *c = d->commands; *c; c++) {
		size_t n = group_length(*c);
		if ((*c)->flags & CMD_HIDDEN)
			continue;
		snprintf(condition, sizeof(condition), "__%s_none", d->prog);
		if (!n)
			fish_offer(d, condition, (*c)->name, strlen((*c)->name), (*c)->summary, f);
		else if (opens_group(d, c))
			fish_offer(d, condition, (*c)->name, n, "commands of their own", f);
		if (n) {
			snprintf(condition, sizeof(condition), "__%s_group %.*s", d->prog, (int)n, (*c)->name);
			fish_offer(d, condition, (*c)->name + n + 1, strlen((*c)->name) - n - 1, (*c)->summary, f);
		}
		fish_command(d, *c, f);
	}
}

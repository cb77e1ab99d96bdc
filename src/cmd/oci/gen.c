/* Build-time generator: man pages and completions for bash, zsh and fish from the option tables. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cmd/oci/cli.h"
#include "version.h"

static const char prog[] = "tierce-oci";

/* ---- man pages ---------------------------------------------------------------------------------------------------- */

static void roff(const char *s, FILE *f) {
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

static void man_opts(const struct opt *o, size_t n, FILE *f) {
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

static void man_program(FILE *f) {
	fprintf(f, ".TH TIERCE\\-OCI 1 \"\" \"Tierce %s\" \"Tierce\"\n.SH NAME\ntierce\\-oci \\- Open Container Initiative runtime\n.SH SYNOPSIS\n"
		".B tierce\\-oci\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]\n.SH DESCRIPTION\n", TIERCE_VERSION);
	roff("tierce-oci runs containers that an OCI bundle describes. It takes the command lines of runc and of crun, so that container engines use it in their "
		"place. The wall around each container is chosen by --isolation, by the annotation dev.tierce.isolation, by the name the program is called by "
		"(tierce-oci-sentry, tierce-oci-vm), or by the configuration file.\n", f);
	fputs(".SH COMMANDS\n", f);
	for (const struct command *const *c = commands; *c; c++) {
		fputs(".TP\n\\fBtierce\\-oci\\-", f);
		roff((*c)->name, f);
		fputs("\\fR(1)\n", f);
		roff((*c)->summary, f);
		fputs(".\n", f);
	}
	fputs(".SH GLOBAL OPTIONS\n", f);
	man_opts(global_opts, n_global_opts, f);
	fputs(".SH FILES\n.TP\n.I /run/tierce\nstate of the containers of root.\n.TP\n.I /etc/tierce/tierce.conf\nlines \\fIkey\\fR = \\fIvalue\\fR; keys are isolation, "
		"cgroup\\-manager and criu.\n.SH EXIT STATUS\nrun and exec exit with the status of the container's process, 128+n when signal n ended it. An error of the "
		"runtime itself is 1, for exec 255.\n", f);
}

static void man_command(const struct command *c, FILE *f) {
	fprintf(f, ".TH TIERCE\\-OCI\\-%s 1 \"\" \"Tierce %s\" \"Tierce\"\n.SH NAME\ntierce\\-oci\\-", c->name, TIERCE_VERSION);
	roff(c->name, f);
	fputs(" \\- ", f);
	roff(c->summary, f);
	fputs("\n.SH SYNOPSIS\n.B tierce\\-oci ", f);
	roff(c->name, f);
	fputs("\n[\\fIoptions\\fR] ", f);
	roff(c->operands, f);
	fputs("\n.SH DESCRIPTION\n", f);
	roff(c->description, f);
	fputs("\n.SH OPTIONS\n", f);
	man_opts(c->opts, c->n_opts, f);
	fputs(".SH SEE ALSO\n\\fBtierce\\-oci\\fR(1)\n", f);
}

static int man(const char *dir, int argc, char **argv) {
	char path[4096];
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	for (int i = 0; i < argc; i++) {
		const char *base = strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i];
		char name[64] = "";
		if (sscanf(base, "tierce-oci-%63[a-z-].1", name) == 1 && !command_find(name))
			return -ENOENT;
		for (int where = 0; where < 2; where++) {
			snprintf(path, sizeof(path), "%s/%s", dir, base);
			FILE *f = fopen(where ? argv[i] : path, "w");
			if (!f)
				return -errno;
			if (*name)
				man_command(command_find(name), f);
			else
				man_program(f);
			if (fclose(f) != 0)
				return -errno;
		}
	}
	return 0;
}

/* ---- bash --------------------------------------------------------------------------------------------------------- */

static void words(const char *s, char from, char to, FILE *f) {
	for (; *s; s++)
		fputc(*s == from ? to : *s, f);
}

static void bash_values(const struct opt *o, size_t n, FILE *f) {
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

static void bash_names(const struct opt *o, size_t n, FILE *f) {
	for (size_t i = 0; i < n; i++)
		if (!(o[i].flags & OPT_HIDDEN))
			fprintf(f, "--%s ", o[i].name);
	fputs("--help", f);
}

static void bash(FILE *f) {
	fputs("# bash completion for tierce-oci\n_tierce_oci() {\n\tlocal cur prev cmd= i root=()\n\tCOMPREPLY=()\n\tcur=${COMP_WORDS[COMP_CWORD]}\n"
		"\tprev=${COMP_WORDS[COMP_CWORD-1]}\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t--root) root=(--root \"${COMP_WORDS[i+1]}\"); ((i++));;\n"
		"\t\t--log|--log-format|--log-level|--criu|--cgroup-manager|--rootless|--isolation) ((i++));;\n\t\t-*) ;;\n\t\t*) cmd=${COMP_WORDS[i]}; break;;\n\t\tesac\n\tdone\n"
		"\tcase $cmd in\n\t'')\n\t\tcase $prev in\n", f);
	bash_values(global_opts, n_global_opts, f);
	fputs("\t\tesac\n\t\tif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"", f);
	bash_names(global_opts, n_global_opts, f);
	fputs("\" -- \"$cur\")); else COMPREPLY=($(compgen -W \"", f);
	for (const struct command *const *c = commands; *c; c++)
		fprintf(f, "%s ", (*c)->name);
	fputs("help\" -- \"$cur\")); fi;;\n", f);
	for (const struct command *const *c = commands; *c; c++) {
		fprintf(f, "\t%s)\n\t\tcase $prev in\n", (*c)->name);
		bash_values((*c)->opts, (*c)->n_opts, f);
		fputs("\t\tesac\n\t\tif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"", f);
		bash_names((*c)->opts, (*c)->n_opts, f);
		fputs("\" -- \"$cur\"))", f);
		if ((*c)->operand_kind == 'c')
			fprintf(f, "; else COMPREPLY=($(compgen -W \"$(%s \"${root[@]}\" list -q 2>/dev/null)\" -- \"$cur\"))", prog);
		else if ((*c)->operand_kind == 's')
			fputs("; else COMPREPLY=($(compgen -W \"add remove\" -- \"$cur\"))", f);
		fputs("; fi;;\n", f);
	}
	fputs("\tesac\n}\ncomplete -F _tierce_oci tierce-oci tierce-oci-sentry tierce-oci-vm\n", f);
}

/* ---- zsh ---------------------------------------------------------------------------------------------------------- */

static void zsh_text(const char *s, FILE *f) {
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", f);
		else if (*s == '[' || *s == ']' || *s == ':')
			fprintf(f, "\\%c", *s);
		else
			fputc(*s, f);
	}
}

static void zsh_opts(const struct opt *o, size_t n, FILE *f) {
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

static void zsh(FILE *f) {
	fputs("#compdef tierce-oci tierce-oci-sentry tierce-oci-vm\n_tierce_oci_containers() {\n\tlocal -a ids\n\tids=(${(f)\"$(tierce-oci list -q 2>/dev/null)\"})\n"
		"\tcompadd -a ids\n}\n_tierce_oci() {\n\tlocal -a cmds\n\tlocal state line\n\tcmds=(\n", f);
	for (const struct command *const *c = commands; *c; c++) {
		fprintf(f, "\t\t'%s:", (*c)->name);
		zsh_text((*c)->summary, f);
		fputs("'\n", f);
	}
	fputs("\t)\n\t_arguments -C", f);
	zsh_opts(global_opts, n_global_opts, f);
	fputs(" \\\n\t\t\t'1:command:->command' '*::argument:->argument'\n\tcase $state in\n\tcommand) _describe command cmds;;\n\targument)\n\t\tcase $line[1] in\n", f);
	for (const struct command *const *c = commands; *c; c++) {
		fprintf(f, "\t\t%s) _arguments", (*c)->name);
		zsh_opts((*c)->opts, (*c)->n_opts, f);
		fputs((*c)->operand_kind == 'c' ? " '1:container:_tierce_oci_containers';;\n" : (*c)->operand_kind == 's' ? " '1:action:(add remove)' '2:container:_tierce_oci_containers';;\n" : " '*:argument:_files';;\n", f);
	}
	fputs("\t\tesac;;\n\tesac\n}\n_tierce_oci \"$@\"\n", f);
}

/* ---- fish --------------------------------------------------------------------------------------------------------- */

static void fish_text(const char *s, FILE *f) {
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
	}
}

static void fish_opts(const char *condition, const struct opt *o, size_t n, FILE *f) {
	for (size_t i = 0; i < n; i++) {
		if (o[i].flags & OPT_HIDDEN)
			continue;
		fprintf(f, "complete -c tierce-oci -n '%s' -l %s", condition, o[i].name);
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

static void fish(FILE *f) {
	char condition[128];
	fputs("# fish completion for tierce-oci\ncomplete -c tierce-oci -f\n", f);
	fish_opts("__fish_use_subcommand", global_opts, n_global_opts, f);
	for (const struct command *const *c = commands; *c; c++) {
		fprintf(f, "complete -c tierce-oci -n __fish_use_subcommand -a %s -d '", (*c)->name);
		fish_text((*c)->summary, f);
		fputs("'\n", f);
		snprintf(condition, sizeof(condition), "__fish_seen_subcommand_from %s", (*c)->name);
		fish_opts(condition, (*c)->opts, (*c)->n_opts, f);
		if ((*c)->operand_kind == 'c')
			fprintf(f, "complete -c tierce-oci -n '%s' -a '(tierce-oci list -q 2>/dev/null)'\n", condition);
		else if ((*c)->operand_kind == 's')
			fprintf(f, "complete -c tierce-oci -n '%s' -a 'add remove'\n", condition);
	}
}

int main(int argc, char **argv) {
	static const struct { const char *name; void (*fn)(FILE *); } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
	if (argc >= 4 && streq(argv[1], "man")) {
		int r = man(argv[2], argc - 3, argv + 3);
		if (r < 0)
			fprintf(stderr, "man pages: %s\n", strerror(-r));
		return r < 0;
	}
	for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(shells); i++)
		if (streq(argv[1], shells[i].name)) {
			FILE *f = fopen(argv[2], "w");
			if (!f)
				break;
			shells[i].fn(f);
			return fclose(f) != 0;
		}
	fprintf(stderr, "usage: tierce-oci-gen man DIR PAGE... | bash|zsh|fish FILE\n");
	return 2;
}

/* Options that every command shares which talks to a registry, and the progress of transfers. */
#ifndef TIERCE_CMD_TIERCE_REMOTE_H
#define TIERCE_CMD_TIERCE_REMOTE_H

#include "cmd/tierce/cli.h"
#include "store/pull.h"

struct remote_options {
	const char *authfile, *creds, *cert_dir, *tls_verify;
};

#define REMOTE_OPTS(type, m) \
	{ "authfile", 0, OPT_STRING, 0, COMPLETE_FILE, offsetof(type, m.authfile), "FILE", "credentials, defaults to auth.json of podman or config.json of docker", NULL }, \
	{ "creds", 0, OPT_STRING, 0, 0, offsetof(type, m.creds), "USER:PASSWORD", "credentials for this time only", NULL }, \
	{ "cert-dir", 0, OPT_STRING, 0, COMPLETE_DIR, offsetof(type, m.cert_dir), "DIR", "folder of HOST/hosts.toml or HOST/*.crt, defaults to certs.d in /etc", NULL }, \
	{ "tls-verify", 0, OPT_OPTSTR, 0, COMPLETE_WORDS, offsetof(type, m.tls_verify), "true|false", "false: accept any certificate, and plain http", NULL }

/* Fills o; words live in the arena of cli. */
int remote_setup(struct cli *cli, const struct remote_options *r, struct registry_opts *o, struct err *e);

enum progress_kind { PROGRESS_BARS, PROGRESS_LINES, PROGRESS_JSON, PROGRESS_QUIET };
struct progress {
	enum progress_kind kind;
	const char *verb; /* "Copying" */
	size_t n, shown;  /* layers, lines on the screen */
	struct progress_line *lines;
	uint64_t last_draw;
	unsigned columns;
};

/* option: NULL (by the terminal), "json", "plain", "tty", "none". */
int progress_init(struct progress *p, const char *option, bool quiet, struct err *e);
void progress_end(struct progress *p);
/* For struct pull_progress: ctx is the struct progress. */
void progress_event(void *ctx, enum pull_event ev, size_t layer, size_t n_layers, const struct descriptor *d, uint64_t bytes);
/* A line of its own between the bars. */
void progress_say(struct progress *p, const char *what);

#endif

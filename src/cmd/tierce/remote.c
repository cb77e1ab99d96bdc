/* Registry options and progress: see remote.h. Progress goes to standard error, so that what is printed can be used by scripts. */
#include "cmd/tierce/remote.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cmd/tierce/format.h"
#include "wire/json.h"

int remote_setup(struct cli *cli, const struct remote_options *r, struct registry_opts *o, struct err *e) {
	*o = (struct registry_opts){ .authfile = r->authfile, .certs_dir = r->cert_dir };
	if (r->tls_verify) {
		if (streq(r->tls_verify, "false") || streq(r->tls_verify, "0"))
			o->insecure = true;
		else if (!streq(r->tls_verify, "true") && !streq(r->tls_verify, "1"))
			return err_set(e, EINVAL, "--tls-verify=%s: want true or false", r->tls_verify);
	}
	if (r->creds) {
		char *both = arena_strdup(&cli->arena, r->creds), *colon = both ? strchr(both, ':') : NULL;
		if (!both)
			return err_set(e, ENOMEM, "out of memory");
		if (!colon)
			return err_set(e, EINVAL, "--creds: want USER:PASSWORD");
		*colon = '\0';
		o->user = both;
		o->password = colon + 1;
	}
	return 0;
}

enum { DRAW_MS = 100, LINES_MAX = 40 };

struct progress_line {
	char id[13];
	uint64_t size, bytes;
	const char *state;
	bool busy;
};

static uint64_t now_ms(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int progress_init(struct progress *p, const char *option, bool quiet, struct err *e) {
	static const struct {
		const char *word;
		enum progress_kind kind;
	} words[] = { { "json", PROGRESS_JSON }, { "plain", PROGRESS_LINES }, { "tty", PROGRESS_BARS }, { "none", PROGRESS_QUIET } };
	*p = (struct progress){ .kind = isatty(2) ? PROGRESS_BARS : PROGRESS_LINES };
	bool found = !option || streq(option, "auto");
	for (size_t i = 0; !found && i < ARRAY_SIZE(words); i++)
		if (streq(words[i].word, option)) {
			p->kind = words[i].kind;
			found = true;
		}
	if (quiet)
		p->kind = PROGRESS_QUIET;
	struct winsize ws;
	p->columns = ioctl(2, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 20 ? ws.ws_col : 80;
	return found ? 0 : err_set(e, EINVAL, "--progress %s: want auto, tty, plain, json or none", option);
}

static void draw_line(const struct progress *p, const struct progress_line *l) {
	char a[32], b[32], text[160];
	if (!l->busy) {
		fprintf(stderr, "\r\033[K%s %s\n", l->id, l->state ? l->state : "waiting");
		return;
	}
	snprintf(text, sizeof(text), "%s / %s", human_size(l->bytes, a), human_size(l->size, b));
	int width = (int)p->columns - 14 - 24 - 3;
	width = width < 8 ? 8 : width > 60 ? 60 : width;
	int full = l->size ? (int)((double)width * (double)MIN(l->bytes, l->size) / (double)l->size) : 0;
	fprintf(stderr, "\r\033[K%s [", l->id);
	for (int i = 0; i < width; i++)
		fputc(i < full ? '=' : i == full ? '>' : ' ', stderr);
	fprintf(stderr, "] %s\n", text);
}

static void draw(struct progress *p, bool force) {
	uint64_t t = now_ms();
	if (p->kind != PROGRESS_BARS || !p->n || (!force && t - p->last_draw < DRAW_MS))
		return;
	p->last_draw = t;
	if (p->shown)
		fprintf(stderr, "\033[%zuA", p->shown);
	p->shown = 0;
	/* More layers than lines: the finished ones are summed up in one line. */
	size_t done = 0;
	for (size_t i = 0; i < p->n; i++)
		done += !p->lines[i].busy && p->lines[i].state != NULL;
	bool many = p->n > LINES_MAX;
	if (many) {
		fprintf(stderr, "\r\033[K%zu of %zu layers done\n", done, p->n);
		p->shown++;
	}
	for (size_t i = 0; i < p->n; i++)
		if (!many || p->lines[i].busy) {
			draw_line(p, &p->lines[i]);
			p->shown++;
		}
	fputs("\033[J", stderr);
	fflush(stderr);
}

static void json_event(const char *status, const struct progress_line *l, const char *digest) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_object(&w);
	jw_kv_string(&w, "status", status);
	jw_kv_string(&w, "id", digest);
	jw_kv_u64(&w, "current", l->bytes);
	jw_kv_u64(&w, "total", l->size);
	jw_object_end(&w);
	if (jw_finish(&w) >= 0)
		fprintf(stderr, "%s\n", b.s);
}

static void line_event(const struct progress *p, const struct progress_line *l, const char *digest, const char *state) {
	char a[32];
	if (p->kind == PROGRESS_JSON)
		json_event(state, l, digest);
	else if (p->kind == PROGRESS_LINES)
		fprintf(stderr, "%s blob %s (%s)\n", state, l->id, human_size(l->size, a));
}

void progress_event(void *ctx, enum pull_event ev, size_t i, size_t n, const struct descriptor *d, uint64_t bytes) {
	struct progress *p = ctx;
	if (p->kind == PROGRESS_QUIET)
		return;
	if (!p->lines) {
		p->lines = calloc(n ? n : 1, sizeof(*p->lines));
		if (!p->lines) {
			p->kind = PROGRESS_QUIET;
			return;
		}
		p->n = n;
	}
	if (i >= p->n)
		return;
	struct progress_line *l = &p->lines[i];
	snprintf(l->id, sizeof(l->id), "%.12s", digest_hex(d->digest));
	l->size = d->size;
	l->bytes = ev == PULL_DONE || ev == PULL_HAVE ? d->size : bytes;
	switch (ev) {
	case PULL_START:
		l->busy = true;
		line_event(p, l, d->digest, "Copying");
		break;
	case PULL_BYTES:
		if (p->kind == PROGRESS_JSON && now_ms() - p->last_draw >= 5 * DRAW_MS) {
			p->last_draw = now_ms();
			json_event("Copying", l, d->digest);
		}
		break;
	case PULL_HAVE:
		l->busy = false;
		l->state = "already there";
		line_event(p, l, d->digest, "Already there:");
		break;
	case PULL_DONE:
		l->busy = false;
		l->state = "done";
		line_event(p, l, d->digest, "Done with");
		break;
	case PULL_RESOLVED:
		break;
	}
	draw(p, ev != PULL_BYTES);
}

void progress_say(struct progress *p, const char *what) {
	if (p->kind == PROGRESS_LINES || p->kind == PROGRESS_BARS)
		fprintf(stderr, "%s\n", what);
	p->shown = 0;
}

void progress_end(struct progress *p) {
	draw(p, true);
	free(p->lines);
	p->lines = NULL;
	p->n = p->shown = 0;
}

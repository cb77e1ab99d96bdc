/* The log: a file, the journal or syslog, as text or as one JSON object a line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"
#include "wire/json.h"

static const struct { const char *name; enum log_level level; int priority; } levels[] = {
	{ "error", LOG_ERROR, 3 }, { "warning", LOG_WARN, 4 }, { "info", LOG_INFO, 6 }, { "debug", LOG_DEBUG, 7 },
	{ "fatal", LOG_ERROR, 3 }, { "panic", LOG_ERROR, 3 }, { "warn", LOG_WARN, 4 }, { "trace", LOG_DEBUG, 7 },
};

int cli_log_setup(struct cli *cli, struct err *e) {
	const struct global_options *g = &cli->global;
	cli->json = g->log_format && streq(g->log_format, "json");
	/* Engines parse the whole file as one document (podman): only errors there, unless more is asked for. */
	cli->level = g->log && cli->json ? LOG_ERROR : LOG_WARN;
	if (g->log_format && !cli->json && !streq(g->log_format, "text"))
		return err_set(e, EINVAL, "invalid log-format: \"%s\" (text or json)", g->log_format);
	size_t scheme = g->log ? strcspn(g->log, ":/") : 0;
	if (g->log && g->log[scheme] == ':' && !str_has_prefix(g->log, "file:") && !str_has_prefix(g->log, "journald:") && !str_has_prefix(g->log, "syslog:"))
		return err_set(e, EINVAL, "unknown log type: \"%.*s\" (file, journald or syslog)", (int)scheme, TAKE(cli->global.log));
	if (g->log_level) {
		size_t i;
		for (i = 0; i < ARRAY_SIZE(levels) && !streq(levels[i].name, g->log_level); i++)
			;
		if (i == ARRAY_SIZE(levels))
			return err_set(e, EINVAL, "invalid log-level: \"%s\" (error, warning, info, debug)", g->log_level);
		cli->level = levels[i].level;
	}
	if (g->debug)
		cli->level = LOG_DEBUG;
	return 0;
}

static void timestamp(char out[40]) {
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(out, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void quote(struct strbuf *b, const char *s) {
	strbuf_putc(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_putc(b, '\\');
		if (*s == '\n')
			strbuf_puts(b, "\\n");
		else if (*s == '\t')
			strbuf_puts(b, "\\t");
		else if ((unsigned char)*s < ' ')
			strbuf_printf(b, "\\x%02x", *s);
		else
			strbuf_putc(b, *s);
	}
	strbuf_putc(b, '"');
}

static void format(struct strbuf *b, bool json, enum log_level level, const char *msg) {
	char when[40];
	timestamp(when);
	if (json) {
		struct json_writer w;
		jw_init(&w, b, 0);
		jw_object(&w);
		jw_kv_string(&w, "level", levels[level].name);
		jw_kv_string(&w, "msg", msg);
		jw_kv_string(&w, "time", when);
		jw_object_end(&w);
		(void)jw_finish(&w);
	} else {
		strbuf_printf(b, "time=\"%s\" level=%s msg=", when, levels[level].name);
		quote(b, msg);
	}
	strbuf_putc(b, '\n');
}

static void send_datagram(const char *path, const struct strbuf *b) {
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, b->s, b->len, MSG_NOSIGNAL, (struct sockaddr *)&sa, sizeof(sa));
}

/* Native protocol of the journal: KEY=value lines; a value with a newline would need a length prefix, so newlines become spaces. */
static void to_journal(const char *ident, enum log_level level, const char *msg) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	strbuf_printf(&b, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=", levels[level].priority, ident);
	for (; *msg; msg++)
		strbuf_putc(&b, *msg == '\n' ? ' ' : *msg);
	strbuf_putc(&b, '\n');
	send_datagram("/run/systemd/journal/socket", &b);
}

static void to_syslog(const char *ident, enum log_level level, const char *msg) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	strbuf_printf(&b, "<%d>%s[%d]: %s", 1 << 3 /* LOG_USER */ | levels[level].priority, ident, getpid(), msg);
	send_datagram("/dev/log", &b);
}

void cli_log(struct cli *cli, enum log_level level, const char *msg) {
	const char *log = cli->global.log;
	if (level > cli->level)
		return;
	if (log && level == LOG_ERROR)
		fprintf(stderr, "%s\n", msg);
	if (log && str_has_prefix(log, "journald:")) {
		to_journal(log[9] ? log + 9 : cli->prog, level, msg);
		return;
	}
	if (log && str_has_prefix(log, "syslog:")) {
		to_syslog(log[7] ? log + 7 : cli->prog, level, msg);
		return;
	}
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	format(&b, cli->json, level, msg);
	if (!log) {
		(void)fd_write_all(2, b.s, b.len);
		return;
	}
	if (str_has_prefix(log, "file:"))
		log += 5;
	/* Opened for each line: it happens once or never, and no descriptor of ours may stand where an engine's preserved ones would. */
	_cleanup_close_ int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd < 0)
		fprintf(stderr, "open log %s: %s\n", log, strerror(errno));
	else
		(void)fd_write_all(fd, b.s, b.len);
}

/* Log files: lines with time and stream, split, rotated, bounded; or the journal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "monitor/monitor.h"
#include "sys/fd.h"

static int open_file(struct log *l) {
	struct stat st;
	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->fd < 0)
		return -errno;
	l->size = fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

static int open_journal(struct log *l) {
	/* systemd's native protocol: one datagram of NAME=value lines (systemd.io, JOURNAL_NATIVE_PROTOCOL). */
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	l->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	if (connect(l->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return 0;
}

int log_open(struct log *l, struct err *e) {
	int r = 0;
	l->fd = -EBADF;
	if (l->driver == LOG_FILE && (r = open_file(l)) < 0)
		return err_sys(e, r, "open log file %s", l->path);
	if (l->driver == LOG_JOURNALD && (r = open_journal(l)) < 0)
		return err_sys(e, r, "connect to the journal (is systemd-journald running?)");
	return 0;
}

/* path -> path.1 -> path.2 ...; the oldest falls off the end. */
static int rotate(struct log *l) {
	char from[4096], to[4096];
	for (uint32_t i = l->max_files; i > 0; i--) {
		if (i == 1)
			snprintf(from, sizeof(from), "%s", l->path);
		else
			snprintf(from, sizeof(from), "%s.%u", l->path, i - 1);
		snprintf(to, sizeof(to), "%s.%u", l->path, i);
		rename(from, to);
	}
	if (l->max_files == 0)
		unlink(l->path);
	return log_reopen(l);
}

int log_reopen(struct log *l) {
	if (l->driver != LOG_FILE)
		return 0;
	if (l->fd >= 0)
		close(l->fd);
	return open_file(l);
}

static int write_journal(struct log *l, int stream, const char *line, size_t n) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	uint64_t size = n; /* little-endian length: the form for values that may hold newlines; all our architectures are little-endian */
	strbuf_printf(&b, "PRIORITY=%d\nCONTAINER_ID_FULL=%s\nCONTAINER_ID=%.12s\nCONTAINER_NAME=%s\nSYSLOG_IDENTIFIER=%s\nMESSAGE\n", stream == 2 ? 3 : 6, l->id, l->id,
		l->name ? l->name : "", l->tag && *l->tag ? l->tag : l->name && *l->name ? l->name : l->id);
	strbuf_add(&b, &size, sizeof(size));
	strbuf_add(&b, line, n);
	strbuf_putc(&b, '\n');
	if (b.failed)
		return -ENOMEM;
	ssize_t w = send(l->fd, b.s, b.len, MSG_NOSIGNAL);
	return w < 0 ? -errno : 0;
}

static int write_line(struct log *l, int stream, bool full, const char *line, size_t n) {
	if (l->driver == LOG_NONE || l->fd < 0)
		return 0;
	if (l->driver == LOG_JOURNALD)
		return write_journal(l, stream, line, n);
	struct timespec ts;
	struct tm tm;
	char head[64], day[32];
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	int h = snprintf(head, sizeof(head), "%s.%09ldZ %s %c ", day, ts.tv_nsec, stream == 2 ? "stderr" : "stdout", full ? 'F' : 'P');
	if (l->max_size && l->size && l->size + (uint64_t)h + n + 1 > l->max_size) {
		int r = rotate(l);
		if (r < 0)
			return r;
	}
	struct iovec v[3] = { { head, (size_t)h }, { (void *)(uintptr_t)line, n }, { (void *)(uintptr_t)"\n", 1 } };
	/* O_APPEND and one call: a reader never sees half a line unless the disk is full. */
	ssize_t w = writev(l->fd, v, 3);
	if (w < 0)
		return -errno;
	l->size += (uint64_t)w;
	return 0;
}

int log_write(struct log *l, int stream, const char *data, size_t n) {
	__typeof__(&l->stream[0]) s = &l->stream[stream == 2];
	int r = 0;
	if (l->driver == LOG_NONE)
		return 0;
	while (n) {
		const char *nl = memchr(data, '\n', n);
		size_t take = nl ? (size_t)(nl - data) : n;
		if (s->len == 0 && nl && take <= LOG_LINE_MAX) {
			r = write_line(l, stream, true, data, take);
			data += take + 1;
			n -= take + 1;
			continue;
		}
		if (!s->buf && !(s->buf = malloc(LOG_LINE_MAX)))
			return -ENOMEM;
		if (take > LOG_LINE_MAX - s->len) {
			take = LOG_LINE_MAX - s->len;
			nl = NULL;
		}
		memcpy(s->buf + s->len, data, take);
		s->len += take;
		data += take;
		n -= take;
		if (nl) {
			r = write_line(l, stream, true, s->buf, s->len);
			data++;
			n--;
		} else if (s->len == LOG_LINE_MAX) {
			r = write_line(l, stream, false, s->buf, s->len);
		} else {
			return r;
		}
		s->len = 0;
		/* An idle stream keeps no buffer: five quiet containers must not cost five times two lines. */
		free(TAKE(s->buf));
	}
	return r;
}

void log_flush(struct log *l) {
	for (int i = 0; i < 2; i++) {
		if (l->stream[i].len)
			write_line(l, i + 1, false, l->stream[i].buf, l->stream[i].len);
		l->stream[i].len = 0;
		free(TAKE(l->stream[i].buf));
	}
}

void log_close(struct log *l) {
	log_flush(l);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -EBADF;
	free(TAKE(l->path));
	free(TAKE(l->tag));
	free(TAKE(l->id));
	free(TAKE(l->name));
}

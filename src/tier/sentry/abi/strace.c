/* Decoding of calls for --strace. One line per call, written when it returns (or at once when it does not). */
#include "tier/sentry/abi/strace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "tier/sentry/abi/abi.h"
#include "tier/sentry/mm/usermem.h"
#include "wire/json.h"

enum { SHOW_BYTES = 64 };

static void put_escaped(struct strbuf *b, const char *s, size_t n, bool more)
{
	strbuf_putc(b, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c == '"' || c == '\\')
			strbuf_printf(b, "\\%c", c);
		else if (c == '\n')
			strbuf_puts(b, "\\n");
		else if (c < 32 || c > 126)
			strbuf_printf(b, "\\x%02x", c);
		else
			strbuf_putc(b, (char)c);
	}
	strbuf_puts(b, more ? "\"..." : "\"");
}

static void put_string(struct task *t, struct strbuf *b, uint64_t p)
{
	char s[256];
	if (!p) {
		strbuf_puts(b, "NULL");
		return;
	}
	ssize_t n = copyin_str(t, s, p, sizeof(s), -ENAMETOOLONG);
	if (n == -EFAULT)
		strbuf_printf(b, "%#llx", (unsigned long long)p);
	else
		put_escaped(b, s, n < 0 ? sizeof(s) : (size_t)n, n < 0);
}

static void put_bytes(struct task *t, struct strbuf *b, uint64_t p, uint64_t n)
{
	char s[SHOW_BYTES];
	ssize_t k = copyin_some(t, s, p, MIN(n, (uint64_t)sizeof(s)));
	if (k < 0)
		strbuf_printf(b, "%#llx", (unsigned long long)p);
	else
		put_escaped(b, s, (size_t)k, n > sizeof(s));
}

static void put_vector(struct task *t, struct strbuf *b, uint64_t p)
{
	strbuf_putc(b, '[');
	for (unsigned i = 0; p && i < 32; i++) {
		uint64_t s;
		if (copyin(t, &s, p + 8 * i, 8) < 0 || !s)
			break;
		if (i)
			strbuf_puts(b, ", ");
		put_string(t, b, s);
	}
	strbuf_putc(b, ']');
}

struct flag { uint64_t v; const char *name; };
static void put_flags(struct strbuf *b, uint64_t v, const struct flag *f, size_t n)
{
	const char *sep = "";
	for (size_t i = 0; i < n; i++) {
		if ((v & f[i].v) != f[i].v || !f[i].v)
			continue;
		strbuf_printf(b, "%s%s", sep, f[i].name);
		sep = "|";
		v &= ~f[i].v;
	}
	if (v || !*sep)
		strbuf_printf(b, "%s%#llx", sep, (unsigned long long)v);
}

static const struct flag open_flags[] = { { O_CREAT, "O_CREAT" }, { O_EXCL, "O_EXCL" }, { O_NOCTTY, "O_NOCTTY" }, { O_TRUNC, "O_TRUNC" },
	{ O_APPEND, "O_APPEND" }, { O_NONBLOCK, "O_NONBLOCK" }, { O_TMPFILE, "O_TMPFILE" }, { O_DIRECTORY, "O_DIRECTORY" }, { O_NOFOLLOW, "O_NOFOLLOW" },
	{ O_CLOEXEC, "O_CLOEXEC" }, { O_PATH, "O_PATH" }, { O_DIRECT, "O_DIRECT" }, { O_SYNC, "O_SYNC" } };
static const struct flag prot_flags[] = { { 1, "PROT_READ" }, { 2, "PROT_WRITE" }, { 4, "PROT_EXEC" } };
static const struct flag map_flags[] = { { 1, "MAP_SHARED" }, { 2, "MAP_PRIVATE" }, { 0x10, "MAP_FIXED" }, { 0x20, "MAP_ANONYMOUS" },
	{ 0x4000, "MAP_NORESERVE" }, { 0x20000, "MAP_STACK" }, { 0x800, "MAP_DENYWRITE" } };
static const struct flag clone_flags[] = { { 0x100, "CLONE_VM" }, { 0x200, "CLONE_FS" }, { 0x400, "CLONE_FILES" }, { 0x800, "CLONE_SIGHAND" },
	{ 0x4000, "CLONE_VFORK" }, { 0x8000, "CLONE_PARENT" }, { 0x10000, "CLONE_THREAD" }, { 0x40000, "CLONE_SYSVSEM" }, { 0x80000, "CLONE_SETTLS" },
	{ 0x100000, "CLONE_PARENT_SETTID" }, { 0x200000, "CLONE_CHILD_CLEARTID" }, { 0x1000000, "CLONE_CHILD_SETTID" } };

static void put_arg(struct task *t, struct strbuf *b, char kind, const uint64_t *a, unsigned i, long result, bool done)
{
	uint64_t v = a[i];
	switch (kind) {
	case 'f': case 'd': strbuf_printf(b, "%d", (int)v); break;
	case 'F':
		if ((int)v == AT_FDCWD)
			strbuf_puts(b, "AT_FDCWD");
		else
			strbuf_printf(b, "%d", (int)v);
		break;
	case 'l': strbuf_printf(b, "%lld", (long long)v); break;
	case 'u': strbuf_printf(b, "%u", (unsigned)v); break;
	case 'z': strbuf_printf(b, "%llu", (unsigned long long)v); break;
	case 'o': strbuf_printf(b, "%#o", (unsigned)v); break;
	case 's': put_string(t, b, v); break;
	case 'a': put_vector(t, b, v); break;
	case 'b': put_bytes(t, b, v, a[i + 1]); break;
	case 'B':
		if (done && result > 0)
			put_bytes(t, b, v, (uint64_t)result);
		else
			strbuf_printf(b, "%#llx", (unsigned long long)v);
		break;
	case 'O':
		strbuf_puts(b, (v & O_ACCMODE) == O_RDONLY ? "O_RDONLY" : (v & O_ACCMODE) == O_WRONLY ? "O_WRONLY" : "O_RDWR");
		if (v & ~(uint64_t)O_ACCMODE) {
			strbuf_putc(b, '|');
			put_flags(b, v & ~(uint64_t)O_ACCMODE, open_flags, ARRAY_SIZE(open_flags));
		}
		break;
	case 'g': {
		const char *n = sigabbrev_np((int)v);
		if (n)
			strbuf_printf(b, "SIG%s", n);
		else
			strbuf_printf(b, "%d", (int)v);
		break;
	}
	case 'm': put_flags(b, v, prot_flags, ARRAY_SIZE(prot_flags)); break;
	case 'M': put_flags(b, v, map_flags, ARRAY_SIZE(map_flags)); break;
	case 'c': put_flags(b, v & ~0xffull, clone_flags, ARRAY_SIZE(clone_flags)); strbuf_printf(b, "|%u", (unsigned)v & 0xff); break;
	case 't': {
		struct timespec ts;
		if (v && copyin(t, &ts, v, sizeof(ts)) == 0)
			strbuf_printf(b, "{%lld, %ld}", (long long)ts.tv_sec, ts.tv_nsec);
		else
			strbuf_printf(b, "%#llx", (unsigned long long)v);
		break;
	}
	default: strbuf_printf(b, "%#llx", (unsigned long long)v);
	}
}

static void emit(struct task *t, const struct syscall_row *row, long r, bool done)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	char number[32];
	const char *name = row && row->name ? row->name : (snprintf(number, sizeof(number), "call_%llu", (unsigned long long)t->nr), number);
	const char *sig = row && row->sig ? row->sig : "xxxxxx";
	const char *error = done && r < 0 && r > -4096 ? strerrorname_np((int)-r) : NULL;
	if (K.opt->strace == 2) {
		struct json_writer w;
		jw_init(&w, &line, 0);
		jw_object(&w);
		jw_kv_i64(&w, "pid", t->proc->pid);
		jw_kv_i64(&w, "tid", t->tid);
		jw_kv_string(&w, "comm", t->comm);
		jw_kv_string(&w, "call", name);
		jw_key(&w, "args");
		jw_array(&w);
		for (unsigned i = 0; sig[i]; i++) {
			_cleanup_strbuf_ struct strbuf one = STRBUF_INIT;
			put_arg(t, &one, sig[i], t->args, i, r, done);
			jw_string(&w, strbuf_str(&one));
		}
		jw_array_end(&w);
		if (done)
			jw_kv_i64(&w, "result", r);
		if (error)
			jw_kv_string(&w, "error", error);
		jw_object_end(&w);
		if (jw_finish(&w) < 0)
			return;
	} else {
		strbuf_printf(&line, "[%d] %s(", t->tid, name);
		for (unsigned i = 0; sig[i]; i++) {
			if (i)
				strbuf_puts(&line, ", ");
			put_arg(t, &line, sig[i], t->args, i, r, done);
		}
		strbuf_puts(&line, ")");
		if (!done)
			strbuf_puts(&line, " ...");
		else if (r < 0 && r > -4096 && -r >= ERESTARTSYS && -r <= ERESTART_RESTARTBLOCK)
			strbuf_puts(&line, " = ? (interrupted)");
		else if (error)
			strbuf_printf(&line, " = -1 %s", error);
		else
			strbuf_printf(&line, r > 0x100000 ? " = %#lx" : " = %ld", r);
	}
	strbuf_putc(&line, '\n');
	if (!line.failed && K.opt->strace_fd >= 0 && write(K.opt->strace_fd, line.s, line.len) < 0)
		return;
}

void strace_enter(struct task *t, const struct syscall_row *row)
{
	/* calls that do not come back, and those whose arguments are gone afterwards */
	if (t->nr == 59 || t->nr == 60 || t->nr == 231 || t->nr == 15 || t->nr == 322)
		emit(t, row, 0, false);
}

void strace_leave(struct task *t, const struct syscall_row *row, long result)
{
	if (t->nr != 15)
		emit(t, row, result, true);
}

void strace_note(struct task *t, const char *what)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	if (K.opt->strace != 1 || K.opt->strace_fd < 0)
		return;
	strbuf_printf(&line, "[%d] --- %s ---\n", t->tid, what);
	if (!line.failed && write(K.opt->strace_fd, line.s, line.len) < 0)
		return;
}

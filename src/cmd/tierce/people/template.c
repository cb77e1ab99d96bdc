/* Fields of a JSON object by a template, for inspect and for lists. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"

int64_t rfc3339_seconds(const char *s) {
	struct tm tm = { 0 };
	const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	return end ? (int64_t)timegm(&tm) : 0;
}

void json_text(const struct json *j, struct strbuf *out) {
	struct json_writer w;
	if (!j || j->type == JSON_NULL) {
		strbuf_puts(out, "<no value>");
	} else if (j->type == JSON_STRING || j->type == JSON_NUMBER) {
		strbuf_puts(out, j->text);
	} else if (j->type == JSON_ARRAY) {
		strbuf_putc(out, '[');
		for (const struct json *m = json_first(j); m; m = m->next) {
			json_text(m, out);
			if (m->next)
				strbuf_putc(out, ' ');
		}
		strbuf_putc(out, ']');
	} else if (j->type == JSON_OBJECT) {
		strbuf_puts(out, "map[");
		for (const struct json *m = json_first(j); m; m = m->next) {
			strbuf_printf(out, "%s:", m->key);
			json_text(m, out);
			if (m->next)
				strbuf_putc(out, ' ');
		}
		strbuf_putc(out, ']');
	} else {
		jw_init(&w, out, 0);
		jw_value(&w, j);
	}
}

static const struct json *member(const struct json *o, const char *name, size_t n) {
	for (const struct json *m = json_first(o); m; m = m->next)
		if (m->key && strlen(m->key) == n && memcmp(m->key, name, n) == 0)
			return m;
	for (const struct json *m = json_first(o); m; m = m->next)
		if (m->key && strlen(m->key) == n && strncasecmp(m->key, name, n) == 0)
			return m;
	return NULL;
}

/* ".A.B" from the object; "." is the whole. */
static const struct json *path(const struct json *o, const char *p, size_t n) {
	const char *end = p + n;
	while (p < end && o) {
		if (*p == '.') {
			p++;
			continue;
		}
		size_t k = 0;
		while (p + k < end && p[k] != '.')
			k++;
		o = member(o, p, k);
		p += k;
	}
	return o;
}

static int action(const char *p, size_t n, const struct json *object, struct strbuf *out, struct err *e) {
	bool as_json = false;
	const struct json *j;
	while (n && (*p == ' ' || *p == '-')) {
		p++;
		n--;
	}
	while (n && (p[n - 1] == ' ' || p[n - 1] == '-'))
		n--;
	if (n > 6 && strncmp(p, "index ", 6) == 0) {
		/* index .Config.Labels "name" */
		const char *q = memchr(p, '"', n);
		const char *end = q ? memchr(q + 1, '"', n - (size_t)(q + 1 - p)) : NULL;
		if (!end)
			return err_set(e, -EINVAL, "--format: cannot read \"%.*s\"", (int)n, p);
		j = path(object, p + 6, strcspn(p + 6, " "));
		json_text(member(j, q + 1, (size_t)(end - q - 1)), out);
		return 0;
	}
	if (n > 5 && strncmp(p, "json ", 5) == 0) {
		as_json = true;
		p += 5;
		n -= 5;
	}
	if (!n || *p != '.')
		return err_set(e, -EINVAL, "--format: \"{{%.*s}}\" is not supported (fields as {{.Name}} or {{.A.B}}, {{json .Name}}, {{index .Map \"key\"}})", (int)n, p);
	j = path(object, p, n);
	if (!j)
		return err_set(e, -EINVAL, "--format: there is no field \"%.*s\"", (int)n, p);
	if (as_json) {
		struct json_writer w;
		jw_init(&w, out, 0);
		jw_value(&w, j);
	} else {
		json_text(j, out);
	}
	return 0;
}

int format_template(const char *t, const struct json *object, struct strbuf *out, struct err *e) {
	while (*t) {
		if (t[0] == '{' && t[1] == '{') {
			const char *end = strstr(t, "}}");
			if (!end)
				return err_set(e, -EINVAL, "--format: \"{{\" without \"}}\"");
			int r = action(t + 2, (size_t)(end - t - 2), object, out, e);
			if (r < 0)
				return r;
			t = end + 2;
		} else if (t[0] == '\\' && (t[1] == 't' || t[1] == 'n')) {
			strbuf_putc(out, t[1] == 't' ? '\t' : '\n');
			t += 2;
		} else {
			strbuf_putc(out, *t++);
		}
	}
	return 0;
}

bool confirmed(void) {
	char answer[16] = "";
	fputs("Are you sure you want to continue? [y/N] ", stdout);
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] | 32) == 'y';
}

int spawn_wait(const char *const *args, bool wait, struct err *e) {
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		execvp(args[0], (char *const *)(uintptr_t)args);
		_exit(127);
	}
	if (pid < 0)
		return err_sys(e, errno, "fork");
	while (wait && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return wait && status != 0 ? err_set(e, -EIO, "%s failed", args[0]) : 0;
}

int spawn_quiet(const char *const *args, struct err *e) {
	pid_t pid = fork();
	int status = 0;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execvp(args[0], (char *const *)(uintptr_t)args);
		_exit(127);
	}
	if (pid < 0)
		return err_sys(e, errno, "fork");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : err_set(e, -EIO, "%s failed", args[0]);
}

void wait_children(void) {
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

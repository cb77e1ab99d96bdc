/* Fields of a JSON object by a template, for inspect and for lists. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/tierce/gotemplate.h"
#include "cmd/tierce/people/commands.h"

int64_t rfc3339_seconds(const char *s) {
	struct tm tm = { 0 };
	const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	return end ? (int64_t)timegm(&tm) : 0;
}

void json_text(const struct json *j, struct strbuf *out) {
	template_print(j, out);
}

int format_template(const char *t, const struct json *object, struct strbuf *out, struct err *e) {
	return go_template(t, object, NULL, 0, out, e);
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

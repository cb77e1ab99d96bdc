/* tierce login, logout */
#include <errno.h>
#include <string.h>
#include <termios.h>

#include "cmd/tierce/remote.h"
#include "store/auth.h"

struct login_options {
	struct remote_options remote;
	const char *user, *password;
	bool password_stdin, get_login, all;
};

static const struct opt login_opts[] = {
	{ "username", 'u', OPT_STRING, 0, 0, offsetof(struct login_options, user), "NAME", "user name", NULL },
	{ "password", 'p', OPT_STRING, 0, 0, offsetof(struct login_options, password), "WORD", "password (others can see it: better --password-stdin)", NULL },
	{ "password-stdin", 0, OPT_FLAG, 0, 0, offsetof(struct login_options, password_stdin), NULL, "read the password from standard input", NULL },
	{ "get-login", 0, OPT_FLAG, 0, 0, offsetof(struct login_options, get_login), NULL, "print who is logged in", NULL },
	REMOTE_OPTS(struct login_options, remote),
};

static int read_line(const char *prompt, bool hidden, char *buf, size_t size, struct err *e) {
	struct termios old, quiet;
	bool tty = isatty(0);
	if (tty) {
		fputs(prompt, stderr);
		fflush(stderr);
	}
	bool changed = tty && hidden && tcgetattr(0, &old) == 0;
	if (changed) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(0, TCSAFLUSH, &quiet);
	}
	char *line = fgets(buf, (int)size, stdin);
	if (changed) {
		tcsetattr(0, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	if (!line)
		return err_set(e, EINVAL, "no %s given", hidden ? "password" : "user name");
	buf[strcspn(buf, "\r\n")] = '\0';
	return 0;
}

static int show_login(const struct login_options *o, const char *host, struct err *e) {
	_cleanup_creds_ struct creds c = { NULL, NULL, NULL };
	int r = creds_find(o->remote.authfile, host, "", &c, e);
	if (r < 0)
		return r;
	if (!c.user)
		return err_set(e, ENOENT, "not logged into %s", host);
	printf("%s\n", c.user);
	return 0;
}

/* "https://host/v1/" and "host/path" are the host. */
static const char *host_of(struct cli *cli, const char *arg) {
	const char *p = strstr(arg, "://");
	p = p ? p + 3 : arg;
	return arena_strndup(&cli->arena, p, strcspn(p, "/"));
}

static int login(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct login_options *o = opts;
	char user[256], password[4096];
	const char *host = argc ? host_of(cli, argv[0]) : "docker.io";
	if (!host)
		return err_set(e, ENOMEM, "out of memory");
	if (o->get_login)
		return show_login(o, host, e);
	int r = 0;
	snprintf(user, sizeof(user), "%s", o->user ? o->user : "");
	snprintf(password, sizeof(password), "%s", o->password ? o->password : "");
	if (!o->user)
		r = o->password_stdin ? err_set(e, EINVAL, "--password-stdin wants --username") : read_line("Username: ", false, user, sizeof(user), e);
	if (r >= 0 && !o->password)
		r = read_line("Password: ", true, password, sizeof(password), e);
	if (r >= 0 && (!user[0] || strchr(user, ':')))
		r = err_set(e, EINVAL, "a user name is not empty and has no colon");
	struct registry_opts ro;
	if (r >= 0)
		r = remote_setup(cli, &o->remote, &ro, e);
	if (r < 0)
		return r;
	ro.user = user;
	ro.password = password;
	struct registry *reg = NULL;
	struct http *h = NULL;
	r = registry_open(&ro, host, &reg, e);
	if (r >= 0 && !(h = http_new()))
		r = err_set(e, ENOMEM, "out of memory");
	if (r >= 0)
		r = registry_ping(reg, h, e);
	http_free(h);
	registry_close(reg);
	if (r >= 0) {
		struct creds c = { user, password, NULL };
		r = creds_store(o->remote.authfile, host, &c, e);
	}
	explicit_bzero(password, sizeof(password));
	if (r < 0)
		return err_wrap(e, r, "log into %s", host);
	printf("Login Succeeded!\n");
	return 0;
}

struct logout_options {
	const char *authfile;
};

static const struct opt logout_opts[] = {
	{ "authfile", 0, OPT_STRING, 0, COMPLETE_FILE, offsetof(struct logout_options, authfile), "FILE", "file of the credentials", NULL },
};

static int logout(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct logout_options *o = opts;
	const char *host = argc ? host_of(cli, argv[0]) : "docker.io";
	int r = host ? creds_remove(o->authfile, host, e) : err_set(e, ENOMEM, "out of memory");
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "not logged into %s", host);
	printf("Removed login credentials for %s\n", host);
	return 0;
}

const struct command cmd_login = { .name = "login", .operands = "[REGISTRY]", .summary = "Remember credentials for a registry", OPTS(login_opts), .min_args = 0, .max_args = 1, .run = login };
const struct command cmd_logout = { .name = "logout", .operands = "[REGISTRY]", .summary = "Forget credentials for a registry", OPTS(logout_opts), .min_args = 0, .max_args = 1, .run = logout };

/* Credentials of registries: see auth.h. File format: containers-auth.json(5), docker's config.json; helpers: docker-credential-helpers. */
#include "store/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sys/fd.h"
#include "wire/json.h"

extern char **environ;

void creds_free(struct creds *c) {
	free(c->user);
	free(c->password);
	free(c->identity_token);
	*c = (struct creds){ NULL, NULL, NULL };
}

static char *base64(const char *s, size_t n) {
	char *out = malloc(4 * ((n + 2) / 3) + 1);
	if (out)
		EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)s, (int)n);
	return out;
}

char *creds_basic(const struct creds *c) {
	_cleanup_free_ char *both = NULL;
	int n = asprintf(&both, "%s:%s", c->user, c->password);
	return n < 0 ? NULL : base64(both, (size_t)n);
}

/* Runs docker-credential-NAME VERB with input on stdin; output up to 64 kB. 0, or -ENOENT when the helper has nothing. */
static int helper(const char *name, const char *verb, const char *input, struct strbuf *out, struct err *e) {
	char prog[256];
	int in[2], ou[2];
	if (strchr(name, '/') || snprintf(prog, sizeof(prog), "docker-credential-%s", name) >= (int)sizeof(prog))
		return err_set(e, EINVAL, "invalid name of a credential helper: %.60s", name);
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	if (pipe2(ou, O_CLOEXEC) < 0) {
		close(in[0]);
		close(in[1]);
		return err_sys(e, EMFILE, "pipe");
	}
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, ou[1], 1);
	char *argv[] = { prog, strdup(verb), NULL };
	pid_t pid = -1;
	int r = -posix_spawnp(&pid, prog, &fa, NULL, argv, environ);
	free(argv[1]);
	posix_spawn_file_actions_destroy(&fa);
	close(in[0]);
	close(ou[1]);
	if (r >= 0) {
		fd_write_all(in[1], input, strlen(input));
		close(in[1]);
		r = fd_read_rest(ou[0], out, 64 * 1024);
		int status;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (r >= 0 && (!WIFEXITED(status) || WEXITSTATUS(status)))
			r = -ENOENT;
	} else {
		close(in[1]);
		err_sys(e, r, "run %s", prog);
	}
	close(ou[0]);
	return r;
}

static int helper_get(const char *name, const char *server, struct creds *ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	int r = helper(name, "get", server, &out, e);
	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r >= 0)
		r = json_parse(&a, strbuf_str(&out), out.len, &j, e);
	if (r < 0)
		return err_wrap(e, r, "credential helper %s", name);
	const char *user = json_str(j, "Username", ""), *secret = json_str(j, "Secret", "");
	if (streq(user, "<token>"))
		ret->identity_token = strdup(secret);
	else if (*user) {
		ret->user = strdup(user);
		ret->password = strdup(secret);
	}
	return 1;
}

static int decode_auth(const char *b64, struct creds *ret, const char *host, struct err *e) {
	size_t n = strlen(b64);
	_cleanup_free_ char *text = malloc(n / 4 * 3 + 4);
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	int k = n % 4 || n > 64 * 1024 ? -1 : EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)b64, (int)n);
	if (k < 0)
		return err_set(e, EINVAL, "auth file: the entry of %s is not base64", host);
	while (n && b64[n - 1] == '=' && k) {
		n--;
		k--;
	}
	text[k] = '\0';
	char *colon = strchr(text, ':');
	if (!colon)
		return err_set(e, EINVAL, "auth file: the entry of %s is not user:password", host);
	*colon = '\0';
	ret->user = strdup(text);
	ret->password = strdup(colon + 1);
	return ret->user && ret->password ? 1 : err_set(e, ENOMEM, "out of memory");
}

/* The entry "host/a/b" before "host/a" before "host"; docker.io also by its old address. */
static struct json *auths_entry(struct json *auths, const char *host, const char *path, char *key, size_t size) {
	snprintf(key, size, "%s/%s", host, path ? path : "");
	for (;;) {
		struct json *j = json_get(auths, key);
		if (j)
			return j;
		char *slash = strrchr(key, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	static const struct {
		const char *before, *after;
	} forms[] = { { "https://", "" }, { "https://", "/v1/" }, { "https://", "/v2/" }, { "http://", "" } };
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		snprintf(key, size, "%s%s%s", forms[i].before, host, forms[i].after);
		struct json *j = json_get(auths, key);
		if (j)
			return j;
	}
	return streq(host, "docker.io") ? json_get(auths, "https://index.docker.io/v1/") : NULL;
}

static int from_json(struct json *j, const char *host, const char *path, struct creds *ret, struct err *e) {
	char key[1024];
	const char *server = streq(host, "docker.io") ? "https://index.docker.io/v1/" : host;
	const char *name = json_str(json_get(j, "credHelpers"), host, NULL);
	if (name)
		return helper_get(name, server, ret, e);
	struct json *entry = auths_entry(json_get(j, "auths"), host, path, key, sizeof(key));
	const char *auth = json_str(entry, "auth", ""), *token = json_str(entry, "identitytoken", "");
	if (*token) {
		ret->identity_token = strdup(token);
		return 1;
	}
	if (*auth)
		return decode_auth(auth, ret, host, e);
	name = json_str(j, "credsStore", NULL);
	return name && *name ? helper_get(name, server, ret, e) : 0;
}

static int load(const char *file, struct arena *a, struct json **ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = file_read_at(AT_FDCWD, file, &text, AUTH_FILE_MAX);
	if (r == -ENOENT || r == -ENOTDIR || r == -EACCES)
		return 0;
	if (r < 0)
		return err_sys(e, r, "read %s", file);
	if (!text.len)
		return 0;
	r = json_parse(a, strbuf_str(&text), text.len, ret, e);
	return r < 0 ? err_wrap(e, r, "%s", file) : 1;
}

/* The i-th usual place; NULL at the end, "" when it does not apply here. */
static const char *place(unsigned i, char buf[4096]) {
	const char *v, *home = getenv("HOME");
	buf[0] = '\0';
	switch (i) {
	case 0:
		if ((v = getenv("REGISTRY_AUTH_FILE")) && *v)
			snprintf(buf, 4096, "%s", v);
		return buf;
	case 1:
		if ((v = getenv("XDG_RUNTIME_DIR")) && *v)
			snprintf(buf, 4096, "%s/containers/auth.json", v);
		return buf;
	case 2:
		snprintf(buf, 4096, "/run/containers/%u/auth.json", (unsigned)getuid());
		return buf;
	case 3:
		if ((v = getenv("XDG_CONFIG_HOME")) && *v)
			snprintf(buf, 4096, "%s/containers/auth.json", v);
		else if (home)
			snprintf(buf, 4096, "%s/.config/containers/auth.json", home);
		return buf;
	case 4:
		if ((v = getenv("DOCKER_CONFIG")) && *v)
			snprintf(buf, 4096, "%s/config.json", v);
		else if (home)
			snprintf(buf, 4096, "%s/.docker/config.json", home);
		return buf;
	default:
		return NULL;
	}
}

int creds_find(const char *authfile, const char *host, const char *path, struct creds *ret, struct err *e) {
	char buf[4096];
	*ret = (struct creds){ NULL, NULL, NULL };
	for (unsigned i = 0;; i++) {
		const char *file = authfile && i == 0 ? authfile : place(i, buf);
		if (!file)
			return 0;
		_cleanup_arena_ struct arena a = ARENA_INIT;
		struct json *j;
		int r = *file ? load(file, &a, &j, e) : 0;
		if (r > 0)
			r = from_json(j, host, path, ret, e);
		if (r != 0)
			return MIN(r, 0);
		if (authfile)
			return 0;
	}
}

/* Where login writes: the file given, $REGISTRY_AUTH_FILE, or the first place of this session. */
static const char *write_place(const char *authfile, char buf[4096]) {
	if (authfile)
		return authfile;
	for (unsigned i = 0; i < 3; i++)
		if (*place(i, buf))
			return buf;
	return NULL;
}

static int make_parent(const char *file) {
	_cleanup_free_ char *dir = strdup(file);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (mkdir(dir, 0700) < 0 && errno == ENOENT && make_parent(dir) >= 0)
		mkdir(dir, 0700);
	return 0;
}

/* Copies the document with the entry of host replaced or left out; returns 1 when there was one. */
static int rewrite(const char *file, struct json *j, const char *host, const char *auth, struct err *e) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	bool had = json_get(json_get(j, "auths"), host) != NULL;
	if (!auth && !had)
		return 0;
	jw_init(&w, &out, 4);
	jw_object(&w);
	jw_key(&w, "auths");
	jw_object(&w);
	for (struct json *m = json_first(json_get(j, "auths")); m; m = m->next)
		if (!streq(m->key, host)) {
			jw_key(&w, m->key);
			jw_value(&w, m);
		}
	if (auth) {
		jw_key(&w, host);
		jw_object(&w);
		jw_kv_string(&w, "auth", auth);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	for (struct json *m = json_first(j); m; m = m->next)
		if (!streq(m->key, "auths")) {
			jw_key(&w, m->key);
			jw_value(&w, m);
		}
	jw_object_end(&w);
	if (jw_finish(&w) < 0 || strbuf_putc(&out, '\n') < 0)
		return err_set(e, ENOMEM, "out of memory");
	make_parent(file);
	int r = file_replace_at(AT_FDCWD, file, out.s, out.len, 0600, 1);
	return r < 0 ? err_sys(e, r, "write %s", file) : had;
}

static int change(const char *authfile, const char *host, const struct creds *c, struct err *e) {
	char buf[4096];
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j = NULL;
	const char *file = write_place(authfile, buf);
	if (!file)
		return err_set(e, ENOENT, "no place for credentials: give --authfile");
	int r = load(file, &a, &j, e);
	if (r < 0)
		return r;
	const char *name = json_str(json_get(j, "credHelpers"), host, NULL);
	if (!name)
		name = json_str(j, "credsStore", NULL);
	if (name && *name) {
		_cleanup_strbuf_ struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
		struct json_writer w;
		if (!c)
			return helper(name, "erase", host, &out, e) < 0 ? 0 : 1;
		jw_init(&w, &in, 0);
		jw_object(&w);
		jw_kv_string(&w, "ServerURL", host);
		jw_kv_string(&w, "Username", c->user);
		jw_kv_string(&w, "Secret", c->password);
		jw_object_end(&w);
		if (jw_finish(&w) < 0)
			return err_set(e, ENOMEM, "out of memory");
		r = helper(name, "store", in.s, &out, e);
		return r == -ENOENT ? err_set(e, EIO, "credential helper %s refused to store", name) : r;
	}
	_cleanup_free_ char *auth = c ? creds_basic(c) : NULL;
	if (c && !auth)
		return err_set(e, ENOMEM, "out of memory");
	return rewrite(file, j, host, auth, e);
}

int creds_store(const char *authfile, const char *host, const struct creds *c, struct err *e) {
	int r = change(authfile, host, c, e);
	return MIN(r, 0);
}

int creds_remove(const char *authfile, const char *host, struct err *e) {
	return change(authfile, host, NULL, e);
}

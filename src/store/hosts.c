/* Endpoints of a registry: see hosts.h. Format facts: containerd docs/hosts.md, containers-certs.d(5). */
#include "store/hosts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/fd.h"

void endpoints_free(struct endpoints *eps) {
	for (size_t i = 0; i < eps->n; i++) {
		struct endpoint *p = &eps->v[i];
		free(p->base);
		free(p->host);
		free(p->tls.ca);
		free(p->tls.cert);
		free(p->tls.key);
		strv_free(p->headers);
	}
	eps->n = 0;
}

static bool is_loopback(const char *host) {
	char name[256];
	snprintf(name, sizeof(name), "%s", host);
	if (name[0] == '[')
		return str_has_prefix(name, "[::1]");
	char *colon = strrchr(name, ':');
	if (colon)
		*colon = '\0';
	unsigned a, b, c, d;
	char rest;
	return streq(name, "localhost") || (sscanf(name, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 && a == 127);
}

/* "https://host:port/path" (or just "host") into an endpoint. */
static int endpoint_from_url(const char *url, bool override_path, struct endpoint *p, struct err *e) {
	const char *rest = url, *scheme = "https";
	if (str_has_prefix(url, "http://")) {
		scheme = "http";
		rest = url + 7;
	} else if (str_has_prefix(url, "https://"))
		rest = url + 8;
	size_t n = strcspn(rest, "/?#");
	if (!n || strchr(rest, '@') || strpbrk(rest, "?# \t"))
		return err_set(e, EINVAL, "invalid registry address '%s'", url);
	size_t path = strlen(rest + n);
	while (path && rest[n + path - 1] == '/')
		path--;
	bool v2 = path >= 3 && memcmp(rest + n + path - 3, "/v2", 3) == 0;
	p->host = strndup(rest, n);
	p->http = scheme[4] == '\0';
	if (!p->host || asprintf(&p->base, "%s://%.*s%s", scheme, (int)(n + path), rest, override_path || v2 ? "" : "/v2") < 0) {
		p->base = NULL;
		return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

/* ---- the part of TOML that hosts.toml uses: tables, strings, booleans, arrays of strings ---- */

struct toml {
	char *p;
	unsigned line;
	const char *dir;
};

static void blank(struct toml *t, bool lines) {
	for (;;) {
		if (*t->p == '#')
			t->p += strcspn(t->p, "\n");
		else if (*t->p == '\n' && lines) {
			t->p++;
			t->line++;
		} else if (*t->p == ' ' || *t->p == '\t' || *t->p == '\r')
			t->p++;
		else
			return;
	}
}

static int toml_error(const struct toml *t, struct err *e) {
	return err_set(e, EINVAL, "hosts.toml: line %u is not understood", t->line);
}

/* A quoted string, unescaped in place; the text is cut behind it. */
static char *toml_string(struct toml *t) {
	char q = *t->p;
	if (q != '"' && q != '\'')
		return NULL;
	char *s = ++t->p, *w = s;
	for (; *t->p && *t->p != q && *t->p != '\n'; t->p++) {
		if (*t->p == '\\' && q == '"' && (t->p[1] == '"' || t->p[1] == '\\'))
			t->p++;
		*w++ = *t->p;
	}
	if (*t->p != q)
		return NULL;
	t->p++;
	*w = '\0';
	return s;
}

static int toml_strings(struct toml *t, char **v, size_t max, size_t *ret_n) {
	size_t n = 0;
	if (*t->p != '[') {
		v[0] = toml_string(t);
		*ret_n = 1;
		return v[0] ? 0 : -EINVAL;
	}
	t->p++;
	for (blank(t, true); *t->p != ']'; blank(t, true)) {
		if (n == max)
			return -EINVAL;
		if (*t->p == '[') { /* client = [["cert", "key"]] */
			size_t k;
			int r = toml_strings(t, v + n, max - n, &k);
			if (r < 0)
				return r;
			n += k;
		} else if (!(v[n++] = toml_string(t)))
			return -EINVAL;
		blank(t, true);
		if (*t->p == ',')
			t->p++;
		else if (*t->p != ']')
			return -EINVAL;
	}
	t->p++;
	*ret_n = n;
	return 0;
}

static char *in_dir(const char *dir, const char *file) {
	char *s = NULL;
	if (file[0] == '/')
		return strdup(file);
	return asprintf(&s, "%s/%s", dir, file) < 0 ? NULL : s;
}

static int host_key(struct toml *t, struct endpoint *p, const char *key, bool *override, struct err *e) {
	char *v[16];
	size_t n;
	blank(t, false);
	if (streq(key, "skip_verify") || streq(key, "override_path")) {
		bool yes = str_has_prefix(t->p, "true");
		if (!yes && !str_has_prefix(t->p, "false"))
			return toml_error(t, e);
		t->p += yes ? 4 : 5;
		if (key[0] == 's')
			p->tls.skip_verify = yes;
		else
			*override = yes;
		return 0;
	}
	if (toml_strings(t, v, ARRAY_SIZE(v), &n) < 0)
		return toml_error(t, e);
	if (streq(key, "capabilities")) {
		p->caps = 0;
		for (size_t i = 0; i < n; i++)
			p->caps |= streq(v[i], "pull") ? HOST_PULL : streq(v[i], "resolve") ? HOST_RESOLVE : streq(v[i], "push") ? HOST_PUSH : 0;
	} else if (streq(key, "ca") && n) {
		free(p->tls.ca);
		p->tls.ca = in_dir(t->dir, v[0]);
	} else if (streq(key, "client") && n) {
		free(p->tls.cert);
		free(p->tls.key);
		p->tls.cert = in_dir(t->dir, v[0]);
		p->tls.key = n > 1 ? in_dir(t->dir, v[1]) : NULL;
	}
	return 0;
}

/* "[host."URL"]" and "[host."URL".header]": the URL, and whether headers follow. */
static char *table_name(struct toml *t, bool *ret_header) {
	t->p++;
	blank(t, false);
	if (!str_has_prefix(t->p, "host"))
		return NULL;
	t->p += 4;
	blank(t, false);
	if (*t->p != '.')
		return NULL;
	t->p++;
	blank(t, false);
	char *url = toml_string(t);
	if (!url)
		return NULL;
	blank(t, false);
	*ret_header = str_has_prefix(t->p, ".header");
	t->p += *ret_header ? 7 : 0;
	blank(t, false);
	if (*t->p != ']')
		return NULL;
	t->p++;
	return url;
}

static int add_mirror(struct endpoints *ret, const char *url, struct endpoint **cur, struct err *e) {
	for (size_t i = 0; i < ret->n; i++) {
		size_t n = strlen(ret->v[i].base);
		if (strncmp(ret->v[i].base, url, strlen(url)) == 0 && n >= strlen(url)) {
			*cur = &ret->v[i];
			return 0;
		}
	}
	if (ret->n + 1 >= HOSTS_MAX)
		return err_set(e, E2BIG, "hosts.toml: more than %d hosts", HOSTS_MAX - 1);
	struct endpoint *p = &ret->v[ret->n];
	memset(p, 0, sizeof(*p));
	p->caps = HOST_PULL | HOST_RESOLVE | HOST_PUSH;
	p->mirror = true;
	ret->n++;
	*cur = p;
	return endpoint_from_url(url, false, p, e);
}

int hosts_toml_parse(char *text, const char *dir, const char *host, struct endpoints *ret, struct err *e) {
	struct toml t = { text, 1, dir };
	struct endpoint *cur = NULL;
	struct endpoint server = { .caps = HOST_PULL | HOST_RESOLVE | HOST_PUSH };
	const char *server_url = NULL;
	bool header = false, server_override = false;
	int r = 0;
	for (blank(&t, true); r >= 0 && *t.p; blank(&t, true)) {
		if (*t.p == '[') {
			char *url = table_name(&t, &header);
			r = url ? add_mirror(ret, url, &cur, e) : toml_error(&t, e);
			continue;
		}
		char *key = t.p;
		char *quoted = *t.p == '"' ? toml_string(&t) : NULL;
		if (!quoted)
			t.p += strspn(t.p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
		char *end = t.p;
		blank(&t, false);
		if (end == key || *t.p != '=') {
			r = toml_error(&t, e);
			break;
		}
		t.p++;
		if (!quoted)
			*end = '\0';
		key = quoted ? quoted : key;
		blank(&t, false);
		if (cur && header) {
			char *v[16], *line = NULL;
			size_t n, len = strv_len(cur->headers);
			r = toml_strings(&t, v, ARRAY_SIZE(v), &n);
			for (size_t i = 0; r >= 0 && i < n; i++) {
				if (asprintf(&line, "%s: %s", key, v[i]) < 0)
					return err_set(e, ENOMEM, "out of memory");
				r = strv_push(&cur->headers, &len, line);
				free(line);
			}
			r = r < 0 ? toml_error(&t, e) : 0;
		} else if (!cur && streq(key, "server"))
			r = (server_url = toml_string(&t)) ? 0 : toml_error(&t, e);
		else {
			bool override = false;
			r = host_key(&t, cur ? cur : &server, key, cur ? &override : &server_override, e);
			size_t n = cur ? strlen(cur->base) : 0;
			if (override && n > 3 && str_has_suffix(cur->base, "/v2"))
				cur->base[n - 3] = '\0';
		}
	}
	if (r >= 0) {
		struct endpoint *p = &ret->v[ret->n++];
		*p = server;
		return endpoint_from_url(server_url ? server_url : host, server_override, p, e);
	}
	free(server.tls.ca);
	free(server.tls.cert);
	free(server.tls.key);
	return r;
}

/* podman's and docker's way: files by suffix in the folder of the host. */
static int cert_files(const char *dir, struct http_tls *tls) {
	DIR *d = opendir(dir);
	if (!d)
		return -errno;
	for (struct dirent *de; (de = readdir(d));) {
		char **to = str_has_suffix(de->d_name, ".crt") ? &tls->ca : str_has_suffix(de->d_name, ".cert") ? &tls->cert
			: str_has_suffix(de->d_name, ".key") ? &tls->key : NULL;
		if (to && !*to)
			*to = in_dir(dir, de->d_name);
	}
	closedir(d);
	return 0;
}

static int from_folder(const char *folder, const char *host, struct endpoints *ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *dir = NULL, *file = NULL;
	if (asprintf(&dir, "%s/%s", folder, host) < 0 || asprintf(&file, "%s/hosts.toml", dir) < 0)
		return err_set(e, ENOMEM, "out of memory");
	int r = file_read_at(AT_FDCWD, file, &text, HOSTS_FILE_MAX);
	if (r >= 0) {
		if (!text.s)
			return 0;
		r = hosts_toml_parse(text.s, dir, host, ret, e);
		return r < 0 ? err_wrap(e, r, "%s", dir) : 1;
	}
	if (r != -ENOENT && r != -ENOTDIR)
		return err_sys(e, r, "read %s", file);
	struct http_tls tls = { .ca = NULL };
	if (cert_files(dir, &tls) < 0)
		return 0;
	struct endpoint *p = &ret->v[ret->n];
	memset(p, 0, sizeof(*p));
	p->tls = tls;
	p->caps = HOST_PULL | HOST_RESOLVE | HOST_PUSH;
	ret->n++;
	r = endpoint_from_url(host, false, p, e);
	return r < 0 ? r : 1;
}

int endpoints_find(const char *certs_dir, const char *host, bool insecure, struct endpoints *ret, struct err *e) {
	static const char *const usual[] = { "/etc/tierce/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d", "/etc/containerd/certs.d" };
	const char *address = streq(host, "docker.io") ? "registry-1.docker.io" : host;
	int r = 0;
	ret->n = 0;
	if (certs_dir)
		r = from_folder(certs_dir, host, ret, e);
	else
		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(usual); i++)
			r = from_folder(usual[i], host, ret, e);
	if (r == 0) {
		struct endpoint *p = &ret->v[0];
		memset(p, 0, sizeof(*p));
		p->caps = HOST_PULL | HOST_RESOLVE | HOST_PUSH;
		ret->n = 1;
		r = endpoint_from_url(address, false, p, e);
	}
	for (size_t i = 0; r >= 0 && i < ret->n; i++) {
		struct endpoint *p = &ret->v[i];
		p->try_http = !p->http && (insecure || is_loopback(p->host));
		if (insecure)
			p->tls.skip_verify = true;
		if (p->http && !p->mirror && !insecure && !is_loopback(p->host))
			r = err_set(e, EPERM, "%s would be spoken to over plain http: allow it with --tls-verify=false", p->host);
	}
	return MIN(r, 0);
}

/* New configs and manifests: see edit.h. */
#include "store/edit.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "store/registry.h"
#include "wire/json.h"

/* What the changes say, collected before anything is written. */
struct pending {
	struct arena arena;
	struct json *cmd, *entrypoint;   /* arrays */
	const char *user, *workdir, *stop_signal;
	char *env[CHANGES_MAX + 1], *labels[CHANGES_MAX + 1], *ports[CHANGES_MAX + 1], *volumes[CHANGES_MAX + 1], *onbuild[CHANGES_MAX + 1];
	size_t n_env, n_labels, n_ports, n_volumes, n_onbuild;
};

static int push(struct pending *p, char **v, size_t *n, const char *s, size_t len, struct err *e) {
	if (*n == CHANGES_MAX)
		return err_set(e, E2BIG, "more than %d changes", CHANGES_MAX);
	v[*n] = arena_strndup(&p->arena, s, len);
	if (!v[*n])
		return err_set(e, ENOMEM, "out of memory");
	++*n;
	return 0;
}

/* ["a", "b"], or a line for the shell. */
static int words(struct pending *p, const char *v, struct json **ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	if (*v == '[' && json_parse(&p->arena, v, strlen(v), ret, NULL) >= 0)
		return 0;
	jw_init(&w, &b, 0);
	jw_array(&w);
	jw_string(&w, "/bin/sh");
	jw_string(&w, "-c");
	jw_string(&w, v);
	jw_array_end(&w);
	char *text = jw_finish(&w) < 0 ? NULL : arena_strdup(&p->arena, b.s);
	return text ? json_parse(&p->arena, text, strlen(text), ret, e) : err_set(e, ENOMEM, "out of memory");
}

/* Words or a JSON array, each pushed. */
static int list(struct pending *p, char **v, size_t *n, const char *s, struct err *e) {
	struct json *j;
	if (*s == '[' && json_parse(&p->arena, s, strlen(s), &j, NULL) >= 0) {
		int r = 0;
		for (struct json *m = json_first(j); r >= 0 && m; m = m->next)
			r = m->type == JSON_STRING ? push(p, v, n, m->text, m->len, e) : err_set(e, EINVAL, "change '%s': want strings", s);
		return r;
	}
	while (*s) {
		size_t k = strcspn(s, " \t");
		int r = push(p, v, n, s, k, e);
		if (r < 0)
			return r;
		s += k;
		s += strspn(s, " \t");
	}
	return 0;
}

/* "k=v", "k v" or 'k="v w"'; several pairs need k=v. */
static int pair(struct pending *p, char **v, size_t *n, const char *s, struct err *e) {
	size_t k = strcspn(s, "= \t");
	if (!k || !s[k])
		return err_set(e, EINVAL, "change: want KEY=VALUE, not '%s'", s);
	char *text = arena_printf(&p->arena, "%.*s=%s", (int)k, s, s + k + 1);
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	size_t len = strlen(text);
	if (len > k + 2 && text[k + 1] == '"' && text[len - 1] == '"') {
		memmove(text + k + 1, text + k + 2, len - k - 2);
		text[len - 2] = '\0';
	}
	return push(p, v, n, text, strlen(text), e);
}

static int change(struct pending *p, const char *line, struct err *e) {
	size_t k = strcspn(line, " \t=");
	const char *v = line + k;
	v += strspn(v, " \t=");
	if (!*v)
		return err_set(e, EINVAL, "change '%s': want an instruction and a value", line);
#define IS(word) (strlen(word) == k && strncasecmp(line, word, k) == 0)
	if (IS("CMD"))
		return words(p, v, &p->cmd, e);
	if (IS("ENTRYPOINT"))
		return words(p, v, &p->entrypoint, e);
	if (IS("ENV"))
		return pair(p, p->env, &p->n_env, v, e);
	if (IS("LABEL"))
		return pair(p, p->labels, &p->n_labels, v, e);
	if (IS("EXPOSE"))
		return list(p, p->ports, &p->n_ports, v, e);
	if (IS("VOLUME"))
		return list(p, p->volumes, &p->n_volumes, v, e);
	if (IS("ONBUILD"))
		return push(p, p->onbuild, &p->n_onbuild, v, strlen(v), e);
	const char **to = IS("USER") ? &p->user : IS("WORKDIR") ? &p->workdir : IS("STOPSIGNAL") ? &p->stop_signal : NULL;
#undef IS
	if (!to)
		return err_set(e, EINVAL, "change '%s': unknown; there are CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR", line);
	*to = v;
	return 0;
}

static size_t key_len(const char *s) { return strcspn(s, "="); }

static bool overridden(char *const *v, size_t n, const char *s) {
	for (size_t i = 0; i < n; i++)
		if (key_len(v[i]) == key_len(s) && strncmp(v[i], s, key_len(s)) == 0)
			return true;
	return false;
}

static void write_env(struct json_writer *w, const struct json *old, const struct pending *p) {
	jw_key(w, "Env");
	jw_array(w);
	for (struct json *m = json_first(old); m; m = m->next)
		if (m->type == JSON_STRING && !overridden(p->env, p->n_env, m->text))
			jw_string(w, m->text);
	for (size_t i = 0; i < p->n_env; i++)
		if (!overridden(p->env + i + 1, p->n_env - i - 1, p->env[i])) /* the last of several counts */
			jw_string(w, p->env[i]);
	jw_array_end(w);
}

static void write_labels(struct json_writer *w, const struct json *old, const struct pending *p) {
	jw_key(w, "Labels");
	jw_object(w);
	for (struct json *m = json_first(old); m; m = m->next)
		if (!overridden(p->labels, p->n_labels, m->key)) {
			jw_key(w, m->key);
			jw_value(w, m);
		}
	for (size_t i = 0; i < p->n_labels; i++)
		if (!overridden(p->labels + i + 1, p->n_labels - i - 1, p->labels[i])) {
			char key[512];
			snprintf(key, sizeof(key), "%.*s", (int)key_len(p->labels[i]), p->labels[i]);
			jw_kv_string(w, key, p->labels[i] + key_len(p->labels[i]) + 1);
		}
	jw_object_end(w);
}

/* Sets are objects with empty members. */
static void write_set(struct json_writer *w, const char *key, const struct json *old, char *const *v, size_t n, bool port) {
	jw_key(w, key);
	jw_object(w);
	for (struct json *m = json_first(old); m; m = m->next) {
		jw_key(w, m->key);
		jw_object(w);
		jw_object_end(w);
	}
	for (size_t i = 0; i < n; i++) {
		char name[512];
		snprintf(name, sizeof(name), "%s%s", v[i], port && !strchr(v[i], '/') ? "/tcp" : "");
		if (json_get(old, name))
			continue;
		jw_key(w, name);
		jw_object(w);
		jw_object_end(w);
	}
	jw_object_end(w);
}

static void write_process(struct json_writer *w, const struct json *old, const struct pending *p) {
	static const char *const merged[] = { "Env", "Labels", "ExposedPorts", "Volumes", "OnBuild" };
	jw_object(w);
	for (struct json *m = json_first(old); m; m = m->next) {
		bool skip = (p->cmd && streq(m->key, "Cmd")) || (p->entrypoint && (streq(m->key, "Entrypoint") || (streq(m->key, "Cmd") && !p->cmd))) ||
			(p->user && streq(m->key, "User")) || (p->workdir && streq(m->key, "WorkingDir")) || (p->stop_signal && streq(m->key, "StopSignal"));
		for (size_t i = 0; i < ARRAY_SIZE(merged); i++)
			skip |= streq(m->key, merged[i]);
		if (skip)
			continue;
		jw_key(w, m->key);
		jw_value(w, m);
	}
	if (p->cmd) {
		jw_key(w, "Cmd");
		jw_value(w, p->cmd);
	}
	if (p->entrypoint) {
		jw_key(w, "Entrypoint");
		jw_value(w, p->entrypoint);
	}
	if (p->user)
		jw_kv_string(w, "User", p->user);
	if (p->workdir)
		jw_kv_string(w, "WorkingDir", p->workdir);
	if (p->stop_signal)
		jw_kv_string(w, "StopSignal", p->stop_signal);
	if (p->n_env || json_get(old, "Env"))
		write_env(w, json_get(old, "Env"), p);
	if (p->n_labels || json_get(old, "Labels"))
		write_labels(w, json_get(old, "Labels"), p);
	if (p->n_ports || json_get(old, "ExposedPorts"))
		write_set(w, "ExposedPorts", json_get(old, "ExposedPorts"), p->ports, p->n_ports, true);
	if (p->n_volumes || json_get(old, "Volumes"))
		write_set(w, "Volumes", json_get(old, "Volumes"), p->volumes, p->n_volumes, false);
	if (p->n_onbuild || json_get(old, "OnBuild")) {
		jw_key(w, "OnBuild");
		jw_array(w);
		for (struct json *m = json_first(json_get(old, "OnBuild")); m; m = m->next)
			jw_value(w, m);
		for (size_t i = 0; i < p->n_onbuild; i++)
			jw_string(w, p->onbuild[i]);
		jw_array_end(w);
	}
	jw_object_end(w);
}

static void write_rootfs(struct json_writer *w, const struct json *old, const char *diffid) {
	jw_key(w, "rootfs");
	jw_object(w);
	jw_kv_string(w, "type", "layers");
	jw_key(w, "diff_ids");
	jw_array(w);
	for (struct json *m = json_first(json_get(old, "diff_ids")); m; m = m->next)
		jw_value(w, m);
	if (diffid)
		jw_string(w, diffid);
	jw_array_end(w);
	jw_object_end(w);
}

static void write_history(struct json_writer *w, const struct json *old, const struct config_edit *ed, const char *now) {
	jw_key(w, "history");
	jw_array(w);
	for (struct json *m = json_first(old); m; m = m->next)
		jw_value(w, m);
	jw_object(w);
	jw_kv_string(w, "created", now);
	if (ed->created_by)
		jw_kv_string(w, "created_by", ed->created_by);
	if (ed->author)
		jw_kv_string(w, "author", ed->author);
	if (ed->message)
		jw_kv_string(w, "comment", ed->message);
	if (!ed->diffid)
		jw_kv_bool(w, "empty_layer", true);
	jw_object_end(w);
	jw_array_end(w);
}

static void now_text(char buf[64]) {
	/* SOURCE_DATE_EPOCH makes images reproducible (reproducible-builds.org). */
	const char *fixed = getenv("SOURCE_DATE_EPOCH");
	struct timespec ts;
	uint64_t t;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (fixed && parse_u64(fixed, &t) >= 0) {
		ts.tv_sec = (time_t)t;
		ts.tv_nsec = 0;
	}
	gmtime_r(&ts.tv_sec, &tm);
	size_t n = strftime(buf, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, 64 - n, ".%09ldZ", ts.tv_nsec);
}

int config_edit(const struct config_edit *ed, struct strbuf *out, struct err *e) {
	static const char *const own[] = { "created", "author", "config", "rootfs", "history", "container", "container_config", "docker_version" };
	struct pending *p = calloc(1, sizeof(*p));
	struct platform host;
	struct json_writer w;
	char now[64];
	int r = p ? 0 : err_set(e, ENOMEM, "out of memory");
	for (char *const *c = ed->changes; r >= 0 && c && *c; c++)
		r = change(p, *c, e);
	if (r >= 0) {
		now_text(now);
		platform_host(&host);
		const struct platform *pl = ed->platform ? ed->platform : &host;
		jw_init(&w, out, 0);
		jw_object(&w);
		jw_kv_string(&w, "created", now);
		if (ed->author)
			jw_kv_string(&w, "author", ed->author);
		if (!ed->base) {
			jw_kv_string(&w, "architecture", pl->arch);
			if (pl->variant[0])
				jw_kv_string(&w, "variant", pl->variant);
			jw_kv_string(&w, "os", pl->os);
		}
		for (struct json *m = json_first(ed->base); m; m = m->next) {
			bool skip = false;
			for (size_t i = 0; i < ARRAY_SIZE(own); i++)
				skip |= streq(m->key, own[i]) && !(i == 1 && !ed->author);
			if (skip)
				continue;
			jw_key(&w, m->key);
			jw_value(&w, m);
		}
		jw_key(&w, "config");
		write_process(&w, json_get(ed->base, "config"), p);
		write_rootfs(&w, json_get(ed->base, "rootfs"), ed->diffid);
		write_history(&w, json_get(ed->base, "history"), ed, now);
		jw_object_end(&w);
		if (jw_finish(&w) < 0)
			r = err_set(e, ENOMEM, "out of memory");
	}
	if (p)
		arena_free(&p->arena);
	free(p);
	return r;
}

int manifest_build(const char *config, size_t config_len, const struct layer_row *layers, size_t n, struct strbuf *out, struct err *e) {
	struct json_writer w;
	char digest[DIGEST_MAX];
	digest_of(config, config_len, digest);
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_kv_u64(&w, "schemaVersion", 2);
	jw_kv_string(&w, "mediaType", "application/vnd.oci.image.manifest.v1+json");
	jw_key(&w, "config");
	jw_object(&w);
	jw_kv_string(&w, "mediaType", "application/vnd.oci.image.config.v1+json");
	jw_kv_string(&w, "digest", digest);
	jw_kv_u64(&w, "size", config_len);
	jw_object_end(&w);
	jw_key(&w, "layers");
	jw_array(&w);
	for (size_t i = 0; i < n; i++) {
		bool packed = layers[i].digest[0] && layers[i].media_type[0];
		jw_object(&w);
		jw_kv_string(&w, "mediaType", packed ? layers[i].media_type : "application/vnd.oci.image.layer.v1.tar");
		jw_kv_string(&w, "digest", packed ? layers[i].digest : layers[i].diffid);
		jw_kv_u64(&w, "size", packed ? layers[i].blob_size : layers[i].tar_size);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	return jw_finish(&w) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

/* Image configs: see snapshot.h (struct image_config). Strings live in the config's arena, next to the JSON tree. */
#include <errno.h>
#include <stdio.h>

#include "store/image.h"
#include "store/snapshot.h"
#include "wire/json.h"

static int string_list(struct arena *a, const struct json *j, char ***ret, const char *what, struct err *e) {
	*ret = NULL;
	if (!j || j->type == JSON_NULL)
		return 0;
	if (j->type != JSON_ARRAY)
		return err_set(e, EBADMSG, "image config: %s is no list of strings", what);
	if (j->len > CONFIG_STRINGS_MAX)
		return err_set(e, E2BIG, "image config: %s has more than %d entries (CONFIG_STRINGS_MAX)", what, CONFIG_STRINGS_MAX);
	char **v = arena_array(a, (size_t)j->len + 1, char *);
	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	size_t n = 0;
	for (struct json *m = json_first(j); m; m = m->next) {
		if (m->type != JSON_STRING)
			return err_set(e, EBADMSG, "image config: %s holds something that is no string", what);
		v[n++] = (char *)(uintptr_t)m->text;
	}
	*ret = v;
	return 0;
}

/* Objects used as sets ({"80/tcp": {}}) and as maps of strings (labels). */
static int object_keys(struct arena *a, const struct json *j, char ***ret_keys, char ***ret_values, const char *what, struct err *e) {
	*ret_keys = NULL;
	if (!j || j->type == JSON_NULL)
		return 0;
	if (j->type != JSON_OBJECT)
		return err_set(e, EBADMSG, "image config: %s is no object", what);
	if (j->len > CONFIG_STRINGS_MAX)
		return err_set(e, E2BIG, "image config: %s has more than %d entries (CONFIG_STRINGS_MAX)", what, CONFIG_STRINGS_MAX);
	char **k = arena_array(a, (size_t)j->len + 1, char *), **v = ret_values ? arena_array(a, (size_t)j->len + 1, char *) : NULL;
	if (!k || (ret_values && !v))
		return err_set(e, ENOMEM, "out of memory");
	size_t n = 0;
	for (struct json *m = json_first(j); m; m = m->next, n++) {
		k[n] = (char *)(uintptr_t)m->key;
		if (ret_values) {
			if (m->type != JSON_STRING)
				return err_set(e, EBADMSG, "image config: %s of %.60s is no string", what, m->key);
			v[n] = (char *)(uintptr_t)m->text;
		}
	}
	*ret_keys = k;
	if (ret_values)
		*ret_values = v;
	return 0;
}

static int health(struct image_config *c, const struct json *h, struct err *e) {
	if (!h || h->type != JSON_OBJECT)
		return 0;
	const struct {
		const char *key;
		int64_t *to;
	} numbers[] = { { "Interval", &c->health_interval_ns }, { "Timeout", &c->health_timeout_ns }, { "StartPeriod", &c->health_start_period_ns },
			{ "Retries", &c->health_retries } };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct json *n = json_get(h, numbers[i].key);
		if (n && json_i64(n, numbers[i].to) < 0)
			return err_set(e, EBADMSG, "image config: Healthcheck.%s is no number", numbers[i].key);
	}
	return string_list(&c->arena, json_get(h, "Test"), &c->health_test, "Healthcheck.Test", e);
}

static int process_part(struct image_config *c, const struct json *p, struct err *e) {
	struct arena *a = &c->arena;
	const struct {
		const char *key;
		char ***to;
	} lists[] = { { "Env", &c->env }, { "Entrypoint", &c->entrypoint }, { "Cmd", &c->cmd }, { "Shell", &c->shell }, { "OnBuild", &c->onbuild } };
	if (p && p->type != JSON_OBJECT && p->type != JSON_NULL)
		return err_set(e, EBADMSG, "image config: config is no object");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		int r = string_list(a, json_get(p, lists[i].key), lists[i].to, lists[i].key, e);
		if (r < 0)
			return r;
	}
	c->user = json_str(p, "User", "");
	c->workdir = json_str(p, "WorkingDir", "");
	c->stop_signal = json_str(p, "StopSignal", "");
	int r = object_keys(a, json_get(p, "Volumes"), &c->volumes, NULL, "Volumes", e);
	if (r >= 0)
		r = object_keys(a, json_get(p, "ExposedPorts"), &c->exposed_ports, NULL, "ExposedPorts", e);
	if (r >= 0)
		r = object_keys(a, json_get(p, "Labels"), &c->label_keys, &c->label_values, "Labels", e);
	return r < 0 ? r : health(c, json_get(p, "Healthcheck"), e);
}

int image_config_parse(const char *data, size_t n, struct image_config *c, struct err *e) {
	struct json *j = NULL;
	if (n > CONFIG_MAX)
		return err_set(e, EFBIG, "image config of more than %d MiB (CONFIG_MAX)", CONFIG_MAX >> 20);
	int r = json_parse(&c->arena, data, n, &j, e);
	if (r < 0)
		return err_wrap(e, r, "image config");
	if (j->type != JSON_OBJECT)
		return err_set(e, EBADMSG, "image config: not a JSON object");
	c->raw = j;
	c->os = json_str(j, "os", "linux");
	c->arch = json_str(j, "architecture", "");
	c->variant = json_str(j, "variant", "");
	c->author = json_str(j, "author", "");
	c->created = json_str(j, "created", "");
	struct json *rootfs = json_get(j, "rootfs");
	r = string_list(&c->arena, json_get(rootfs, "diff_ids"), &c->diffids, "rootfs.diff_ids", e);
	if (r < 0)
		return r;
	c->n_layers = strv_len(c->diffids);
	if (!c->diffids)
		return err_set(e, EBADMSG, "image config: no rootfs.diff_ids");
	for (size_t i = 0; i < c->n_layers; i++)
		if (!digest_valid(c->diffids[i]))
			return err_set(e, EBADMSG, "image config: invalid diff id '%.80s'", c->diffids[i]);
	return process_part(c, json_get(j, "config"), e);
}

int image_config_load(struct store *s, const char *id, struct image_config *ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = store_get_blob(s, id, &b, e);
	if (r >= 0)
		r = image_config_parse(strbuf_str(&b), b.len, ret, e);
	if (r >= 0)
		ret->id = arena_strdup(&ret->arena, id);
	return r;
}

void image_config_free(struct image_config *c) {
	arena_free(&c->arena);
	memset(c, 0, sizeof(*c));
}

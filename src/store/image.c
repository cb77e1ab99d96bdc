/* Manifests and indexes: see image.h. */
#include "store/image.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "wire/json.h"

/* uname's machine -> Go's words, which images use. */
static const struct {
	const char *machine, *arch, *variant;
} machines[] = {
	{ "x86_64", "amd64", "" }, { "aarch64", "arm64", "v8" }, { "armv7l", "arm", "v7" }, { "armv6l", "arm", "v6" }, { "i686", "386", "" },
	{ "i386", "386", "" }, { "riscv64", "riscv64", "" }, { "ppc64le", "ppc64le", "" }, { "s390x", "s390x", "" }, { "loongarch64", "loong64", "" },
};

static void set(char *to, size_t size, const char *s) {
	size_t n = MIN(strlen(s), size - 1);
	memcpy(to, s, n);
	to[n] = '\0';
}

void platform_host(struct platform *ret) {
	struct utsname u;
	memset(ret, 0, sizeof(*ret));
	set(ret->os, sizeof(ret->os), "linux");
	if (uname(&u) < 0)
		return;
	set(ret->arch, sizeof(ret->arch), u.machine);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (streq(machines[i].machine, u.machine)) {
			set(ret->arch, sizeof(ret->arch), machines[i].arch);
			set(ret->variant, sizeof(ret->variant), machines[i].variant);
		}
}

int platform_parse(const char *s, struct platform *ret, struct err *e) {
	char buf[96];
	memset(ret, 0, sizeof(*ret));
	if (strlen(s) >= sizeof(buf) || !*s || s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-")])
		return err_set(e, EINVAL, "invalid platform '%.80s': want os/arch[/variant]", s);
	memcpy(buf, s, strlen(s) + 1);
	char *a = strchr(buf, '/'), *v = a ? strchr(a + 1, '/') : NULL;
	if (!a) { /* one word: an architecture, unless it names the system */
		platform_host(ret);
		if (streq(buf, "linux"))
			return 0;
		ret->variant[0] = '\0';
		set(ret->arch, sizeof(ret->arch), buf);
	} else {
		*a++ = '\0';
		if (v)
			*v++ = '\0';
		set(ret->os, sizeof(ret->os), buf);
		set(ret->arch, sizeof(ret->arch), a);
		set(ret->variant, sizeof(ret->variant), v ? v : "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (streq(machines[i].machine, ret->arch)) {
			set(ret->arch, sizeof(ret->arch), machines[i].arch);
			if (!ret->variant[0])
				set(ret->variant, sizeof(ret->variant), machines[i].variant);
		}
	return 0;
}

static const struct {
	const char *type;
	int kind; /* enum manifest_kind, or -1: refused */
	const char *why;
} kinds[] = {
	{ "application/vnd.oci.image.index.v1+json", MANIFEST_INDEX, NULL },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", MANIFEST_INDEX, NULL },
	{ "application/vnd.oci.image.manifest.v1+json", MANIFEST_IMAGE, NULL },
	{ "application/vnd.docker.distribution.manifest.v2+json", MANIFEST_IMAGE, NULL },
	{ "application/vnd.docker.distribution.manifest.v1+json", -1, "docker's schema 1, which is obsolete: push the image again with a current tool" },
	{ "application/vnd.docker.distribution.manifest.v1+prettyjws", -1, "docker's schema 1, which is obsolete: push the image again with a current tool" },
	{ "application/vnd.oci.artifact.manifest.v1+json", -1, "an artifact, not an image" },
};

static int parse_object(struct arena *a, const char *body, size_t n, struct json **ret, const char *what, struct err *e) {
	struct json *j = NULL;
	int r = json_parse(a, body, n, &j, e);
	if (r < 0)
		return err_wrap(e, r, "%s", what);
	if (j->type != JSON_OBJECT)
		return err_set(e, EBADMSG, "%s: not a JSON object", what);
	*ret = j;
	return 0;
}

int manifest_kind(const char *body, size_t n, const char *content_type, enum manifest_kind *ret, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j = NULL;
	int r = parse_object(&a, body, n, &j, "manifest", e);
	if (r < 0)
		return r;
	const char *type = json_str(j, "mediaType", content_type ? content_type : "");
	int64_t version = 0;
	if (json_get(j, "schemaVersion"))
		json_i64(json_get(j, "schemaVersion"), &version);
	if (version == 1)
		type = kinds[4].type;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kinds[i].type, type)) {
			if (kinds[i].kind < 0)
				return err_set(e, EOPNOTSUPP, "the manifest is %s", kinds[i].why);
			*ret = (enum manifest_kind)kinds[i].kind;
			return 0;
		}
	bool manifests = json_get(j, "manifests") != NULL, layers = json_get(j, "layers") != NULL;
	if (version != 2 || manifests == layers)
		return err_set(e, EBADMSG, "neither an image manifest nor an index (type '%.80s')", type);
	*ret = manifests ? MANIFEST_INDEX : MANIFEST_IMAGE;
	return 0;
}

static int descriptor_parse(const struct json *j, struct descriptor *ret, const char *what, struct err *e) {
	const char *digest = json_str(j, "digest", "");
	memset(ret, 0, sizeof(*ret));
	if (!j || j->type != JSON_OBJECT)
		return err_set(e, EBADMSG, "manifest: %s is no descriptor", what);
	if (!digest_valid(digest))
		return err_set(e, EBADMSG, "manifest: %s has the invalid digest '%.80s'", what, digest);
	if (!json_get(j, "size") || json_u64(json_get(j, "size"), &ret->size) < 0 || ret->size > INT64_MAX / 2)
		return err_set(e, EBADMSG, "manifest: %s has no valid size", what);
	memcpy(ret->digest, digest, strlen(digest) + 1);
	set(ret->media_type, sizeof(ret->media_type), json_str(j, "mediaType", ""));
	struct json *urls = json_get(j, "urls");
	if (urls && urls->type == JSON_ARRAY && urls->len && strstr(ret->media_type, "foreign"))
		return err_set(e, EOPNOTSUPP, "manifest: %s is a foreign layer, kept elsewhere", what);
	return 0;
}

static const char *const layer_types[] = {
	"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd",
	"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.zstd",
	"application/vnd.docker.container.image.rootfs.diff+x-gtar", "",
};

static bool known(const char *const *v, size_t n, const char *s) {
	for (size_t i = 0; i < n; i++)
		if (streq(v[i], s))
			return true;
	return false;
}

static const char *const config_types[] = { "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json", "",
					    "application/octet-stream" };

int manifest_parse(struct arena *a, const char *body, size_t n, struct manifest *ret, struct err *e) {
	struct json *j = NULL;
	int r = parse_object(a, body, n, &j, "manifest", e);
	if (r < 0)
		return r;
	r = descriptor_parse(json_get(j, "config"), &ret->config, "the config", e);
	if (r < 0)
		return r;
	if (!known(config_types, ARRAY_SIZE(config_types), ret->config.media_type))
		return err_set(e, EOPNOTSUPP, "an artifact of type %.100s, not an image", *json_str(j, "artifactType", "") ? json_str(j, "artifactType", "")
			       : ret->config.media_type);
	if (ret->config.size > CONFIG_MAX)
		return err_set(e, EFBIG, "manifest: config of more than %d MiB (CONFIG_MAX)", CONFIG_MAX >> 20);
	struct json *layers = json_get(j, "layers");
	if (!layers || layers->type != JSON_ARRAY)
		return err_set(e, EBADMSG, "manifest: no list of layers");
	if (layers->len > LAYERS_MAX)
		return err_set(e, E2BIG, "manifest: %u layers, more than %d (LAYERS_MAX)", layers->len, LAYERS_MAX);
	ret->layers = arena_array(a, layers->len, struct descriptor);
	ret->n_layers = layers->len;
	if (!ret->layers)
		return err_set(e, ENOMEM, "out of memory");
	size_t i = 0;
	for (struct json *l = json_first(layers); l; l = l->next, i++) {
		char what[32];
		snprintf(what, sizeof(what), "layer %zu", i + 1);
		r = descriptor_parse(l, &ret->layers[i], what, e);
		if (r < 0)
			return r;
		if (!known(layer_types, ARRAY_SIZE(layer_types), ret->layers[i].media_type))
			return err_set(e, EOPNOTSUPP, "manifest: %s is of type %.100s, which is no file system layer", what, ret->layers[i].media_type);
	}
	return 0;
}

/* How well an entry fits: 0 not at all. An arm v7 machine runs v6; an entry without a variant is taken for the base one. */
static int fits(const struct platform *want, const struct json *p) {
	const char *variant = json_str(p, "variant", "");
	if (!streq(json_str(p, "os", ""), want->os) || !streq(json_str(p, "architecture", ""), want->arch))
		return 0;
	if (streq(variant, want->variant))
		return 100;
	if (!*variant)
		return 50;
	if (streq(want->arch, "arm64") && streq(variant, "v8"))
		return 90;
	if (streq(want->arch, "arm") && variant[0] == 'v' && want->variant[0] == 'v' && variant[1] <= want->variant[1])
		return variant[1] - '0' + 10;
	return !want->variant[0] ? 20 : 0;
}

int index_pick(const char *body, size_t n, const struct platform *want, struct descriptor *ret, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf have = STRBUF_INIT;
	struct json *j = NULL;
	int r = parse_object(&a, body, n, &j, "index", e);
	if (r < 0)
		return r;
	struct json *list = json_get(j, "manifests"), *best = NULL;
	if (!list || list->type != JSON_ARRAY)
		return err_set(e, EBADMSG, "index: no list of manifests");
	if (list->len > INDEX_ENTRIES_MAX)
		return err_set(e, E2BIG, "index: %u entries, more than %d (INDEX_ENTRIES_MAX)", list->len, INDEX_ENTRIES_MAX);
	int best_score = 0;
	for (struct json *m = json_first(list); m; m = m->next) {
		struct json *p = json_get(m, "platform");
		int score = p ? fits(want, p) : list->len == 1 ? 1 : 0;
		if (score > best_score) {
			best = m;
			best_score = score;
		}
		const char *os = json_str(p, "os", "");
		if (p && !streq(os, "unknown") && have.len < 400)
			strbuf_printf(&have, "%s%.30s/%.30s%s%.20s", have.len ? ", " : "", os, json_str(p, "architecture", ""),
				      *json_str(p, "variant", "") ? "/" : "", json_str(p, "variant", ""));
	}
	if (!best)
		return err_set(e, ENOENT, "no image for %s/%s%s%s in the index (it has %s)", want->os, want->arch, want->variant[0] ? "/" : "", want->variant,
			       have.len ? have.s : "none for a platform");
	return descriptor_parse(best, ret, "the entry of the platform", e);
}

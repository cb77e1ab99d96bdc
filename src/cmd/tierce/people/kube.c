/* pod run FILE.yaml: a Kubernetes Pod (or a Deployment of one) with the ConfigMaps, Secrets and claims that its file brings along. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "cmd/tierce/people/kube.h"
#include "sys/fd.h"


int kube_oom(struct err *e) {
	return err_sys(e, -ENOMEM, "read the pod");
}

bool kube_truth(const struct json *o, const char *key) {
	const struct json *j = json_get(o, key);
	return j && j->type == JSON_BOOL && j->boolean;
}

const char *kube_text(struct kube *k, const struct json *j) {
	if (!j || j->type == JSON_NULL)
		return NULL;
	if (j->type == JSON_BOOL)
		return j->boolean ? "true" : "false";
	(void)k;
	return j->type == JSON_STRING || j->type == JSON_NUMBER ? j->text : NULL;
}

const struct json *kube_doc(struct kube *k, const char *kind, const char *name) {
	for (const struct json *d = json_first(k->docs); d; d = d->next)
		if (streq(json_str(d, "kind", ""), kind) && (!name || streq(json_str(json_get(d, "metadata"), "name", ""), name)))
			return d;
	return NULL;
}

int kube_push(struct kube *k, struct opt_list *l, const char *s) {
	const char **v = arena_array(&k->p->arena, l->n + 2, const char *);
	if (!v || !s)
		return kube_oom(k->e);
	if (l->n)
		memcpy(v, l->v, l->n * sizeof(*v));
	v[l->n++] = s;
	l->v = v;
	return 0;
}

static int decode_base64(struct kube *k, const char *s, char **ret, size_t *n) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = arena_alloc(&k->p->arena, strlen(s) * 3 / 4 + 4);
	uint32_t bits = 0;
	unsigned have = 0;
	*n = 0;
	if (!out)
		return kube_oom(k->e);
	for (; *s && *s != '='; s++) {
		const char *at = strchr(alphabet, *s);
		if (*s == '\n' || *s == ' ')
			continue;
		if (!at)
			return err_set(k->e, -EINVAL, "a Secret's data is not base64");
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[(*n)++] = (char)(bits >> have);
		}
	}
	out[*n] = '\0';
	*ret = out;
	return 0;
}

/* Value of a key of a ConfigMap or Secret of this file. */
static int key_value(struct kube *k, const char *kind, const struct json *ref, const char **ret, size_t *ret_n) {
	const char *name = json_str(ref, "name", ""), *key = json_str(ref, "key", "");
	const struct json *doc = kube_doc(k, kind, name), *plain = json_get(json_get(doc, streq(kind, "Secret") ? "stringData" : "data"), key);
	*ret = NULL;
	if (!doc && kube_truth(ref, "optional"))
		return 0;
	if (!doc)
		return err_set(k->e, -ENOENT, "%s %s is not in the file", kind, name);
	if (plain) {
		*ret = kube_text(k, plain);
		*ret_n = *ret ? strlen(*ret) : 0;
		return 0;
	}
	const struct json *coded = json_get(json_get(doc, "data"), key);
	if (streq(kind, "Secret") && coded && coded->type == JSON_STRING) {
		char *out;
		int r = decode_base64(k, coded->text, &out, ret_n);
		*ret = out;
		return r;
	}
	return kube_truth(ref, "optional") ? 0 : err_set(k->e, -ENOENT, "%s %s has no key %s", kind, name, key);
}

/* ---- environment ------------------------------------------------------------------------------------------------------------------------- */

static int env_from(struct kube *k, struct run_opts *o, const struct json *c) {
	int r = 0;
	for (const struct json *m = json_first(json_get(c, "envFrom")); m && r == 0; m = m->next) {
		bool secret = json_get(m, "secretRef") != NULL;
		const struct json *ref = secret ? json_get(m, "secretRef") : json_get(m, "configMapRef"), *doc = kube_doc(k, secret ? "Secret" : "ConfigMap", json_str(ref, "name", ""));
		const char *prefix = json_str(m, "prefix", "");
		if (!doc && !kube_truth(ref, "optional"))
			return err_set(k->e, -ENOENT, "%s %s is not in the file", secret ? "Secret" : "ConfigMap", json_str(ref, "name", ""));
		for (int pass = 0; pass < 2 && doc && r == 0; pass++)
			for (const struct json *x = json_first(json_get(doc, pass ? "stringData" : "data")); x && r == 0; x = x->next) {
				const char *v = kube_text(k, x);
				size_t n;
				char *out;
				if (secret && !pass && v && (r = decode_base64(k, v, &out, &n)) == 0)
					v = out;
				if (v && r == 0)
					r = kube_push(k, &o->env, arena_printf(&k->p->arena, "%s%s=%s", prefix, x->key, v));
			}
	}
	return r;
}

static int environment(struct kube *k, struct run_opts *o, const struct json *c) {
	int r = env_from(k, o, c);
	for (const struct json *m = json_first(json_get(c, "env")); m && r == 0; m = m->next) {
		const char *name = json_str(m, "name", NULL), *value = kube_text(k, json_get(m, "value"));
		const struct json *from = json_get(m, "valueFrom");
		size_t n = 0;
		if (!name)
			return err_set(k->e, -EINVAL, "container %s: an env entry lacks its name", json_str(c, "name", ""));
		if (json_get(from, "configMapKeyRef"))
			r = key_value(k, "ConfigMap", json_get(from, "configMapKeyRef"), &value, &n);
		else if (json_get(from, "secretKeyRef"))
			r = key_value(k, "Secret", json_get(from, "secretKeyRef"), &value, &n);
		else if (json_get(from, "fieldRef")) {
			const char *path = json_str(json_get(from, "fieldRef"), "fieldPath", "");
			value = streq(path, "metadata.name") ? json_str(k->meta, "name", "") : streq(path, "metadata.namespace") ? json_str(k->meta, "namespace", "default") :
				streq(path, "metadata.uid") ? k->pod->id : NULL;
			if (!value)
				return err_set(k->e, -ENOTSUP, "env %s: fieldPath %s is not supported (metadata.name, metadata.namespace, metadata.uid)", name, path);
		} else if (from) {
			return err_set(k->e, -ENOTSUP, "env %s: this kind of valueFrom is not supported (configMapKeyRef, secretKeyRef, fieldRef)", name);
		}
		if (r == 0)
			r = kube_push(k, &o->env, arena_printf(&k->p->arena, "%s=%s", name, value ? value : ""));
	}
	return r;
}

/* ---- volumes ------------------------------------------------------------------------------------------------------------------------------ */

/* Files of a ConfigMap or Secret below the pod's own directory. */
static int write_files(struct kube *k, const char *dir, const char *kind, const struct json *source, const char *name) {
	const struct json *doc = kube_doc(k, kind, name), *items = json_get(source, "items");
	char path[4200];
	if (!doc)
		return kube_truth(source, "optional") ? 0 : err_set(k->e, -ENOENT, "%s %s is not in the file", kind, name);
	for (int pass = 0; pass < 2; pass++)
		for (const struct json *m = json_first(json_get(doc, pass ? "stringData" : "data")); m; m = m->next) {
			const char *file = m->key, *value = kube_text(k, m);
			size_t n = value ? strlen(value) : 0;
			char *out;
			for (const struct json *i = json_first(items); i; i = i->next)
				if (streq(json_str(i, "key", ""), m->key))
					file = json_str(i, "path", m->key);
			if (strchr(file, '/') || streq(file, "..") || !value)
				return err_set(k->e, -EINVAL, "%s %s: key \"%s\" cannot be a file", kind, name, file);
			if (streq(kind, "Secret") && !pass) {
				int r = decode_base64(k, value, &out, &n);
				if (r < 0)
					return r;
				value = out;
			}
			snprintf(path, sizeof(path), "%s/%s", dir, file);
			_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
			if (fd < 0 || fd_write_all(fd, value, n) < 0)
				return err_sys(k->e, errno, "write %s", path);
		}
	return 0;
}

/* Where a volume of the pod lies on the host, or a volume's name; *ro: always read-only. */
static int volume_source(struct kube *k, const char *name, const char **ret, bool *ro) {
	const struct json *v = NULL;
	for (const struct json *m = json_first(json_get(k->spec, "volumes")); m; m = m->next)
		if (streq(json_str(m, "name", ""), name))
			v = m;
	if (!v)
		return err_set(k->e, -EINVAL, "volumeMounts: there is no volume \"%s\"", name);
	*ro = false;
	const struct json *host = json_get(v, "hostPath"), *claim = json_get(v, "persistentVolumeClaim"), *config = json_get(v, "configMap"), *secret = json_get(v, "secret");
	if (host) {
		*ret = json_str(host, "path", "");
		if (str_has_prefix(json_str(host, "type", ""), "DirectoryOrCreate") && mkdir(*ret, 0755) < 0 && errno != EEXIST)
			return err_sys(k->e, errno, "make %s", *ret);
		return 0;
	}
	if (claim) {
		*ret = json_str(claim, "claimName", "");
		*ro = kube_truth(claim, "readOnly");
		return name_ok(*ret) ? 0 : err_set(k->e, -EINVAL, "volume %s: bad claimName", name);
	}
	if (!json_get(v, "emptyDir") && !config && !secret && json_first(v) && v->len > 1)
		return err_set(k->e, -ENOTSUP, "volume %s: only emptyDir, hostPath, configMap, secret and persistentVolumeClaim are supported", name);
	const char *base = arena_printf(&k->p->arena, "%s/volumes", k->pod->dir), *dir = arena_printf(&k->p->arena, "%s/%s", base, name);
	if (!name_ok(name) || !base || !dir)
		return err_set(k->e, -EINVAL, "volume name \"%s\" is invalid", name);
	if ((mkdir(base, 0711) < 0 && errno != EEXIST) || (mkdir(dir, 0777) < 0 && errno != EEXIST) || chmod(dir, 0777) < 0)
		return err_sys(k->e, errno, "make %s", dir);
	*ret = dir;
	if (config || secret)
		*ro = true;
	if (config)
		return write_files(k, dir, "ConfigMap", config, json_str(config, "name", ""));
	return secret ? write_files(k, dir, "Secret", secret, json_str(secret, "secretName", "")) : 0;
}

/*
 * The part of a volume that a container gets. Another container of the pod may write to the volume: a link that it left on the way would lead to the
 * host's files (CVE-2017-1002101). None is followed here, nor when the mount is made (src-nosymlinks).
 */
static int sub_path(struct kube *k, const char **source, const char *sub) {
	char *real = (*source)[0] == '/' && sub[0] != '/' ? realpath(*source, NULL) : NULL;
	if (!real)
		return err_set(k->e, -EINVAL, "subPath \"%s\" cannot be used here", sub);
	const char *base = arena_strdup(&k->p->arena, real);
	free(real);
	_cleanup_close_ int root = base ? open(base, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;
	if (root < 0)
		return err_sys(k->e, errno, "open %s", *source);
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, root, sub, &how, sizeof(how));
	if (fd < 0 && errno == ENOENT && !strchr(sub, '/') && mkdirat(root, sub, 0777) == 0)
		return (*source = arena_printf(&k->p->arena, "%s/%s", base, sub)) ? 0 : kube_oom(k->e);
	if (fd < 0)
		return err_sys(k->e, errno, "subPath \"%s\" of %s (links are not followed)", sub, *source);
	return (*source = arena_printf(&k->p->arena, "%s/%s", base, sub)) ? 0 : kube_oom(k->e);
}

static int mounts(struct kube *k, struct run_opts *o, const struct json *c) {
	int r = 0;
	for (const struct json *m = json_first(json_get(c, "volumeMounts")); m && r == 0; m = m->next) {
		const char *source = NULL, *dest = json_str(m, "mountPath", NULL), *sub = json_str(m, "subPath", NULL);
		bool ro = false;
		if (!dest)
			return err_set(k->e, -EINVAL, "container %s: a volumeMount lacks mountPath", json_str(c, "name", ""));
		r = volume_source(k, json_str(m, "name", ""), &source, &ro);
		if (r == 0 && sub)
			r = sub_path(k, &source, sub);
		if (r == 0)
			r = kube_push(k, &o->volume, arena_printf(&k->p->arena, "%s:%s:%s%s", source, dest, ro || kube_truth(m, "readOnly") ? "ro" : "rw", sub ? ",src-nosymlinks" : ""));
	}
	return r;
}

/* ---- one container --------------------------------------------------------------------------------------------------------------------------- */

/* "500m" -> 0.5, "2" -> 2 */
static const char *cpu_text(struct kube *k, const char *s) {
	size_t n = strlen(s);
	return n && s[n - 1] == 'm' ? arena_printf(&k->p->arena, "%.3f", strtod(s, NULL) / 1000) : s;
}

/* "64Mi" and "64M" -> bytes */
static const char *memory_text(struct kube *k, const char *s) {
	static const struct { const char *unit; double factor; } units[] = { { "Ki", 1024 }, { "Mi", 1048576 }, { "Gi", 1073741824 }, { "Ti", 1099511627776.0 }, { "k", 1e3 }, { "M", 1e6 },
		{ "G", 1e9 }, { "T", 1e12 }, { "", 1 } };
	char *end;
	double v = strtod(s, &end);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (streq(end, units[i].unit))
			return arena_printf(&k->p->arena, "%.0f", v * units[i].factor);
	return s;
}

static const char *json_words(struct kube *k, const struct json *array) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_value(&w, array);
	return arena_strdup(&k->p->arena, strbuf_str(&b));
}

const char *kube_probe_command(struct kube *k, const struct json *c, const char *which) {
	const struct json *p = json_get(c, which);
	const struct json *http = json_get(p, "httpGet"), *tcp = json_get(p, "tcpSocket");
	if (json_get(json_get(p, "exec"), "command")) {
		return json_words(k, json_get(json_get(p, "exec"), "command"));
	} else if (http || tcp) {
		const char *port = kube_text(k, json_get(http ? http : tcp, "port")), *host = json_str(http ? http : tcp, "host", "127.0.0.1");
		uint32_t number;
		if (!port || parse_u32(port, &number) < 0 || strpbrk(host, "'\"\\$` "))
			return err_set(k->e, -ENOTSUP, "container %s: the port of %s must be a number", json_str(c, "name", ""), which), NULL;
		const char *path = json_str(http, "path", "/");
		if (strpbrk(path, "'\"\\$` "))
			return err_set(k->e, -EINVAL, "container %s: the path of %s has characters that cannot be used", json_str(c, "name", ""), which), NULL;
		/* Runs inside the container with what its image has; see docs/limits.md. */
		return http ? arena_printf(&k->p->arena, "u=%s://%s:%u%s; wget -q -O /dev/null $u || curl -fsS -o /dev/null $u", strcasecmp(json_str(http, "scheme", "http"), "https") ? "http" : "https",
			host, number, path) : arena_printf(&k->p->arena, "nc -z %s %u || (exec 3<>/dev/tcp/%s/%u)", host, number, host, number);
	}
	err_set(k->e, -ENOTSUP, "container %s: %s must be exec, httpGet or tcpSocket", json_str(c, "name", ""), which);
	return NULL;
}

int64_t kube_probe_number(struct kube *k, const struct json *p, const char *key, int64_t dflt) {
	const char *n = kube_text(k, json_get(p, key));
	return n ? atoll(n) : dflt;
}

/* livenessProbe is the container's health check, which kills. Until a startupProbe would have given up, failures do not count. */
static int liveness(struct kube *k, struct run_opts *o, const struct json *c) {
	const struct json *p = json_get(c, "livenessProbe"), *startup = json_get(c, "startupProbe");
	const char *n;
	if (!p)
		return 0;
	o->health_cmd = kube_probe_command(k, c, "livenessProbe");
	if (!o->health_cmd)
		return -ENOTSUP;
	o->health_interval = arena_printf(&k->p->arena, "%ss", (n = kube_text(k, json_get(p, "periodSeconds"))) ? n : "10");
	o->health_timeout = arena_printf(&k->p->arena, "%ss", (n = kube_text(k, json_get(p, "timeoutSeconds"))) ? n : "1");
	o->health_retries = (n = kube_text(k, json_get(p, "failureThreshold"))) ? n : "3";
	o->health_start_period = arena_printf(&k->p->arena, "%llds", (long long)(kube_probe_number(k, p, "initialDelaySeconds", 0) +
		(startup ? kube_probe_number(k, startup, "initialDelaySeconds", 0) + kube_probe_number(k, startup, "periodSeconds", 10) * kube_probe_number(k, startup, "failureThreshold", 3) : 0)));
	return kube_push(k, &o->annotation, "dev.tierce.health.on-failure=kill");
}

static int security(struct kube *k, struct run_opts *o, const struct json *c) {
	const struct json *s = json_get(c, "securityContext"), *podwide = json_get(k->spec, "securityContext"), *caps = json_get(s, "capabilities");
	const char *user = kube_text(k, json_get(s, "runAsUser")), *group = kube_text(k, json_get(s, "runAsGroup"));
	int r = 0;
	user = user ? user : kube_text(k, json_get(podwide, "runAsUser"));
	group = group ? group : kube_text(k, json_get(podwide, "runAsGroup"));
	if (user)
		o->user = group ? arena_printf(&k->p->arena, "%s:%s", user, group) : user;
	o->privileged = kube_truth(s, "privileged");
	o->read_only = kube_truth(s, "readOnlyRootFilesystem");
	if (json_get(s, "allowPrivilegeEscalation") && !kube_truth(s, "allowPrivilegeEscalation"))
		r = kube_push(k, &o->security_opt, "no-new-privileges");
	for (const struct json *m = json_first(json_get(caps, "add")); m && r == 0; m = m->next)
		r = kube_push(k, &o->cap_add, kube_text(k, m));
	for (const struct json *m = json_first(json_get(caps, "drop")); m && r == 0; m = m->next)
		r = kube_push(k, &o->cap_drop, kube_text(k, m));
	return r;
}

static int container_options(struct kube *k, const struct json *c, bool init, struct run_opts *o, const char **words, int *n_words) {
	const struct json *limits = json_get(json_get(c, "resources"), "limits"), *args = json_get(c, "args");
	const char *name = json_str(c, "name", NULL), *image = json_str(c, "image", NULL), *policy = json_str(c, "imagePullPolicy", NULL), *restart = json_str(k->spec, "restartPolicy", "Always"), *v;
	if (!name || !image)
		return err_set(k->e, -EINVAL, "a container of the pod lacks its name or image");
	o->pod = k->pod->id;
	o->name = arena_printf(&k->p->arena, "%s-%s", k->pod->name, name);
	o->quiet = k->quiet;
	o->isolation = json_str(json_get(k->meta, "annotations"), "dev.tierce.isolation", NULL);
	o->pull = policy ? (streq(policy, "Always") ? "always" : streq(policy, "Never") ? "never" : "missing") : "missing";
	o->restart = init ? "no" : streq(restart, "Always") ? "always" : streq(restart, "OnFailure") ? "on-failure" : "no";
	o->workdir = json_str(c, "workingDir", NULL);
	o->tty = kube_truth(c, "tty");
	o->interactive = kube_truth(c, "stdin");
	if (json_get(c, "command"))
		o->entrypoint = json_words(k, json_get(c, "command"));
	if ((v = kube_text(k, json_get(limits, "memory"))))
		o->memory = memory_text(k, v);
	if ((v = kube_text(k, json_get(limits, "cpu"))))
		o->cpus = cpu_text(k, v);
	if ((v = kube_text(k, json_get(k->spec, "terminationGracePeriodSeconds"))))
		o->stop_timeout = v;
	if (kube_truth(k->spec, "hostPID"))
		o->pid = "host";
	words[(*n_words)++] = image;
	for (const struct json *m = json_first(args); m; m = m->next)
		if (*n_words < 255 && kube_text(k, m))
			words[(*n_words)++] = kube_text(k, m);
	/* command without args drops the image's own arguments, as Kubernetes says; --entrypoint does that. */
	int r = environment(k, o, c);
	if (r == 0)
		r = mounts(k, o, c);
	if (r == 0)
		r = security(k, o, c);
	return r == 0 && !init ? liveness(k, o, c) : r;
}

int kube_container(struct kube *k, const struct json *c, bool init, struct pctr **ret) {
	struct run_opts *o = arena_new(&k->p->arena, struct run_opts);
	const char **words = arena_array(&k->p->arena, 257, const char *);
	int n = 0;
	if (!o || !words)
		return kube_oom(k->e);
	int r = container_options(k, c, init, o, words, &n);
	return r < 0 ? r : container_new(k->t, k->p, o, n, (char **)(uintptr_t)words, ret, k->e);
}

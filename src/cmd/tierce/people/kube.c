/* pod run FILE.yaml: a Kubernetes Pod (or a Deployment of one) with the ConfigMaps, Secrets and claims that its file brings along. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "cmd/tierce/people/pod.h"
#include "cmd/tierce/people/yaml.h"
#include "sys/fd.h"

struct kube { struct cli *t; struct people *p; struct json *docs; const struct json *spec, *meta; struct pod *pod; struct err *e; bool quiet; };

static int oom(struct err *e) {
	return err_sys(e, -ENOMEM, "read the pod");
}

static bool truth(const struct json *o, const char *key) {
	const struct json *j = json_get(o, key);
	return j && j->type == JSON_BOOL && j->boolean;
}

/* Scalars as text: YAML's numbers and truth values are meant as they were written (env values, labels). */
static const char *text_of(struct kube *k, const struct json *j) {
	if (!j || j->type == JSON_NULL)
		return NULL;
	if (j->type == JSON_BOOL)
		return j->boolean ? "true" : "false";
	(void)k;
	return j->type == JSON_STRING || j->type == JSON_NUMBER ? j->text : NULL;
}

static const struct json *find_doc(struct kube *k, const char *kind, const char *name) {
	for (const struct json *d = json_first(k->docs); d; d = d->next)
		if (streq(json_str(d, "kind", ""), kind) && (!name || streq(json_str(json_get(d, "metadata"), "name", ""), name)))
			return d;
	return NULL;
}

static int push(struct kube *k, struct opt_list *l, const char *s) {
	const char **v = arena_array(&k->p->arena, l->n + 2, const char *);
	if (!v || !s)
		return oom(k->e);
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
		return oom(k->e);
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
	const struct json *doc = find_doc(k, kind, name), *plain = json_get(json_get(doc, streq(kind, "Secret") ? "stringData" : "data"), key);
	*ret = NULL;
	if (!doc && truth(ref, "optional"))
		return 0;
	if (!doc)
		return err_set(k->e, -ENOENT, "%s %s is not in the file", kind, name);
	if (plain) {
		*ret = text_of(k, plain);
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
	return truth(ref, "optional") ? 0 : err_set(k->e, -ENOENT, "%s %s has no key %s", kind, name, key);
}

/* ---- environment ------------------------------------------------------------------------------------------------------------------------- */

static int env_from(struct kube *k, struct run_opts *o, const struct json *c) {
	int r = 0;
	for (const struct json *m = json_first(json_get(c, "envFrom")); m && r == 0; m = m->next) {
		bool secret = json_get(m, "secretRef") != NULL;
		const struct json *ref = secret ? json_get(m, "secretRef") : json_get(m, "configMapRef"), *doc = find_doc(k, secret ? "Secret" : "ConfigMap", json_str(ref, "name", ""));
		const char *prefix = json_str(m, "prefix", "");
		if (!doc && !truth(ref, "optional"))
			return err_set(k->e, -ENOENT, "%s %s is not in the file", secret ? "Secret" : "ConfigMap", json_str(ref, "name", ""));
		for (int pass = 0; pass < 2 && doc && r == 0; pass++)
			for (const struct json *x = json_first(json_get(doc, pass ? "stringData" : "data")); x && r == 0; x = x->next) {
				const char *v = text_of(k, x);
				size_t n;
				char *out;
				if (secret && !pass && v && (r = decode_base64(k, v, &out, &n)) == 0)
					v = out;
				if (v && r == 0)
					r = push(k, &o->env, arena_printf(&k->p->arena, "%s%s=%s", prefix, x->key, v));
			}
	}
	return r;
}

static int environment(struct kube *k, struct run_opts *o, const struct json *c) {
	int r = env_from(k, o, c);
	for (const struct json *m = json_first(json_get(c, "env")); m && r == 0; m = m->next) {
		const char *name = json_str(m, "name", NULL), *value = text_of(k, json_get(m, "value"));
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
			r = push(k, &o->env, arena_printf(&k->p->arena, "%s=%s", name, value ? value : ""));
	}
	return r;
}

/* ---- volumes ------------------------------------------------------------------------------------------------------------------------------ */

/* Files of a ConfigMap or Secret below the pod's own directory. */
static int write_files(struct kube *k, const char *dir, const char *kind, const struct json *source, const char *name) {
	const struct json *doc = find_doc(k, kind, name), *items = json_get(source, "items");
	char path[4200];
	if (!doc)
		return truth(source, "optional") ? 0 : err_set(k->e, -ENOENT, "%s %s is not in the file", kind, name);
	for (int pass = 0; pass < 2; pass++)
		for (const struct json *m = json_first(json_get(doc, pass ? "stringData" : "data")); m; m = m->next) {
			const char *file = m->key, *value = text_of(k, m);
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
		*ro = truth(claim, "readOnly");
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

static int mounts(struct kube *k, struct run_opts *o, const struct json *c) {
	int r = 0;
	for (const struct json *m = json_first(json_get(c, "volumeMounts")); m && r == 0; m = m->next) {
		const char *source = NULL, *dest = json_str(m, "mountPath", NULL), *sub = json_str(m, "subPath", NULL);
		bool ro = false;
		if (!dest)
			return err_set(k->e, -EINVAL, "container %s: a volumeMount lacks mountPath", json_str(c, "name", ""));
		r = volume_source(k, json_str(m, "name", ""), &source, &ro);
		if (r == 0 && sub) {
			if (source[0] != '/' || strstr(sub, ".."))
				return err_set(k->e, -EINVAL, "subPath \"%s\" cannot be used here", sub);
			source = arena_printf(&k->p->arena, "%s/%s", source, sub);
		}
		if (r == 0)
			r = push(k, &o->volume, arena_printf(&k->p->arena, "%s:%s%s", source, dest, ro || truth(m, "readOnly") ? ":ro" : ""));
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

static int probe(struct kube *k, struct run_opts *o, const struct json *c) {
	const struct json *p = json_get(c, "livenessProbe");
	const char *n;
	if (!p)
		return 0;
	const struct json *http = json_get(p, "httpGet"), *tcp = json_get(p, "tcpSocket");
	if (json_get(json_get(p, "exec"), "command")) {
		o->health_cmd = json_words(k, json_get(json_get(p, "exec"), "command"));
	} else if (http || tcp) {
		const char *port = text_of(k, json_get(http ? http : tcp, "port")), *host = json_str(http ? http : tcp, "host", "127.0.0.1");
		uint32_t number;
		if (!port || parse_u32(port, &number) < 0 || strpbrk(host, "'\"\\$` "))
			return err_set(k->e, -ENOTSUP, "container %s: the probe's port must be a number", json_str(c, "name", ""));
		const char *path = json_str(http, "path", "/");
		if (strpbrk(path, "'\"\\$` "))
			return err_set(k->e, -EINVAL, "container %s: the probe's path has characters that cannot be used", json_str(c, "name", ""));
		/* Runs inside the container with what its image has; see docs/limits.md. */
		o->health_cmd = http ? arena_printf(&k->p->arena, "u=%s://%s:%u%s; wget -q -O /dev/null $u || curl -fsS -o /dev/null $u", strcasecmp(json_str(http, "scheme", "http"), "https") ? "http" : "https",
			host, number, path) : arena_printf(&k->p->arena, "nc -z %s %u || (exec 3<>/dev/tcp/%s/%u)", host, number, host, number);
	} else {
		return err_set(k->e, -ENOTSUP, "container %s: livenessProbe must be exec, httpGet or tcpSocket", json_str(c, "name", ""));
	}
	o->health_interval = arena_printf(&k->p->arena, "%ss", (n = text_of(k, json_get(p, "periodSeconds"))) ? n : "10");
	o->health_timeout = arena_printf(&k->p->arena, "%ss", (n = text_of(k, json_get(p, "timeoutSeconds"))) ? n : "1");
	o->health_retries = (n = text_of(k, json_get(p, "failureThreshold"))) ? n : "3";
	o->health_start_period = arena_printf(&k->p->arena, "%ss", (n = text_of(k, json_get(p, "initialDelaySeconds"))) ? n : "0");
	return push(k, &o->annotation, "dev.tierce.health.on-failure=kill");
}

static int security(struct kube *k, struct run_opts *o, const struct json *c) {
	const struct json *s = json_get(c, "securityContext"), *podwide = json_get(k->spec, "securityContext"), *caps = json_get(s, "capabilities");
	const char *user = text_of(k, json_get(s, "runAsUser")), *group = text_of(k, json_get(s, "runAsGroup"));
	int r = 0;
	user = user ? user : text_of(k, json_get(podwide, "runAsUser"));
	group = group ? group : text_of(k, json_get(podwide, "runAsGroup"));
	if (user)
		o->user = group ? arena_printf(&k->p->arena, "%s:%s", user, group) : user;
	o->privileged = truth(s, "privileged");
	o->read_only = truth(s, "readOnlyRootFilesystem");
	if (json_get(s, "allowPrivilegeEscalation") && !truth(s, "allowPrivilegeEscalation"))
		r = push(k, &o->security_opt, "no-new-privileges");
	for (const struct json *m = json_first(json_get(caps, "add")); m && r == 0; m = m->next)
		r = push(k, &o->cap_add, text_of(k, m));
	for (const struct json *m = json_first(json_get(caps, "drop")); m && r == 0; m = m->next)
		r = push(k, &o->cap_drop, text_of(k, m));
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
	o->tty = truth(c, "tty");
	o->interactive = truth(c, "stdin");
	if (json_get(c, "command"))
		o->entrypoint = json_words(k, json_get(c, "command"));
	if ((v = text_of(k, json_get(limits, "memory"))))
		o->memory = memory_text(k, v);
	if ((v = text_of(k, json_get(limits, "cpu"))))
		o->cpus = cpu_text(k, v);
	if ((v = text_of(k, json_get(k->spec, "terminationGracePeriodSeconds"))))
		o->stop_timeout = v;
	if (truth(k->spec, "hostPID"))
		o->pid = "host";
	words[(*n_words)++] = image;
	for (const struct json *m = json_first(args); m; m = m->next)
		if (*n_words < 255 && text_of(k, m))
			words[(*n_words)++] = text_of(k, m);
	/* command without args drops the image's own arguments, as Kubernetes says; --entrypoint does that. */
	int r = environment(k, o, c);
	if (r == 0)
		r = mounts(k, o, c);
	if (r == 0)
		r = security(k, o, c);
	return r == 0 && !init ? probe(k, o, c) : r;
}

static int make_container(struct kube *k, const struct json *c, bool init, struct pctr **ret) {
	struct run_opts *o = arena_new(&k->p->arena, struct run_opts);
	const char **words = arena_array(&k->p->arena, 257, const char *);
	int n = 0;
	if (!o || !words)
		return oom(k->e);
	int r = container_options(k, c, init, o, words, &n);
	return r < 0 ? r : container_new(k->t, k->p, o, n, (char **)(uintptr_t)words, ret, k->e);
}

/* ---- the pod -------------------------------------------------------------------------------------------------------------------------------- */

static int find_pod_spec(struct kube *k) {
	const struct json *d = find_doc(k, "Pod", NULL), *dep = find_doc(k, "Deployment", NULL);
	if (!d && !dep)
		return err_set(k->e, -EINVAL, "the file has no Pod and no Deployment");
	if (d) {
		k->meta = json_get(d, "metadata");
		k->spec = json_get(d, "spec");
	} else {
		const struct json *t = json_get(json_get(dep, "spec"), "template");
		int64_t replicas = 1;
		(void)!json_i64(json_get(json_get(dep, "spec"), "replicas"), &replicas);
		if (replicas != 1)
			return err_set(k->e, -ENOTSUP, "Deployment with %lld replicas: only one is supported here (Kubernetes itself runs more)", (long long)replicas);
		k->meta = json_get(dep, "metadata");
		k->spec = json_get(t, "spec");
	}
	if (!json_str(k->meta, "name", NULL))
		return err_set(k->e, -EINVAL, "metadata.name is missing");
	if (!json_first(json_get(k->spec, "containers")))
		return err_set(k->e, -EINVAL, "spec.containers is missing or empty");
	if (truth(k->spec, "shareProcessNamespace"))
		return err_set(k->e, -ENOTSUP, "shareProcessNamespace is not supported");
	return 0;
}

struct run_pod_opts { bool detach, replace, down, quiet; const char *network, *start; struct opt_list publish; };

static int pod_options(struct kube *k, const struct run_pod_opts *o, struct pod_opts *po) {
	int r = 0;
	*po = (struct pod_opts){ .name = json_str(k->meta, "name", NULL), .hostname = json_str(k->spec, "hostname", NULL), .replace = o->replace, .publish = o->publish };
	if (truth(k->spec, "hostNetwork"))
		r = push(k, &po->network, "host");
	else if (o->network)
		r = push(k, &po->network, o->network);
	for (const struct json *c = json_first(json_get(k->spec, "containers")); c && r == 0; c = c->next)
		for (const struct json *m = json_first(json_get(c, "ports")); m && r == 0; m = m->next) {
			const char *host = text_of(k, json_get(m, "hostPort")), *inside = text_of(k, json_get(m, "containerPort")), *ip = json_str(m, "hostIP", NULL);
			char proto[8];
			snprintf(proto, sizeof(proto), "%s", json_str(m, "protocol", "TCP"));
			for (char *s = proto; *s; s++)
				*s |= 32;
			if (host && inside)
				r = push(k, &po->publish, arena_printf(&k->p->arena, "%s%s%s:%s/%s", ip ? ip : "", ip ? ":" : "", host, inside, proto));
		}
	for (const struct json *m = json_first(json_get(k->spec, "hostAliases")); m && r == 0; m = m->next)
		for (const struct json *h = json_first(json_get(m, "hostnames")); h && r == 0; h = h->next)
			r = push(k, &po->add_host, arena_printf(&k->p->arena, "%s:%s", text_of(k, h), json_str(m, "ip", "")));
	for (const struct json *m = json_first(json_get(k->meta, "labels")); m && r == 0; m = m->next)
		r = push(k, &po->label, arena_printf(&k->p->arena, "%s=%s", m->key, text_of(k, m) ? text_of(k, m) : ""));
	return r;
}

static int run_init(struct kube *k) {
	int r = 0, fd;
	for (const struct json *c = json_first(json_get(k->spec, "initContainers")); c && r == 0; c = c->next) {
		struct pctr *ctr;
		r = make_container(k, c, true, &ctr);
		if (r == 0)
			r = pctr_start(ctr, NULL, &fd, k->e);
		if (r < 0)
			break;
		int code = pctr_wait(ctr, k->e);
		if (code < 0)
			return code;
		if (code != 0)
			return err_set(k->e, -ECHILD, "init container %s ended with %d: see tierce logs %s", json_str(c, "name", ""), code, ctr->name);
	}
	return r;
}

static int bring_up(struct kube *k, const struct run_pod_opts *o) {
	struct pod_opts po;
	int r = pod_options(k, o, &po), fd;
	if (r == 0)
		r = pod_create(k->p, &po, &k->pod, k->e);
	if (r < 0)
		return r;
	r = pod_up(k->pod, k->e);
	if (r == 0)
		r = run_init(k);
	for (const struct json *c = json_first(json_get(k->spec, "containers")); c && r == 0; c = c->next) {
		struct pctr *ctr;
		r = make_container(k, c, false, &ctr);
		if (r == 0)
			r = pctr_start(ctr, NULL, &fd, k->e);
	}
	if (r < 0) {
		/* Half a pod is no pod: nothing stays. */
		(void)!pod_remove(k->pod, true, NULL);
	}
	return r;
}

static void notify(const char *text) {
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (!path || strlen(path) >= sizeof(sa.sun_path))
		return;
	strcpy(sa.sun_path, path);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

/* The foreground: we are the service. Ends on a signal (the pod is stopped) or when every container has ended. */
static int stay(struct kube *k) {
	sigset_t set;
	const char *usec = getenv("WATCHDOG_USEC");
	int watchdog = usec ? (int)(atoll(usec) / 2000) : -1, code = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	_cleanup_close_ int sig = signalfd(-1, &set, SFD_CLOEXEC);
	notify("READY=1\nSTATUS=pod is running");
	for (;;) {
		struct pollfd p = { sig, POLLIN, 0 };
		int wait = watchdog > 0 ? MIN(watchdog, 1000) : 1000;
		if (poll(&p, 1, wait) > 0)
			break;
		struct pctr **v;
		size_t n, alive = 0;
		if (pod_members(k->pod, &v, &n, NULL) == 0) {
			for (size_t i = 0; i < n; i++) {
				alive += v[i]->pid || streq(v[i]->state, "restarting");
				if (!v[i]->pid && v[i]->status.exit_code)
					code = v[i]->status.exit_code;
			}
			if (!alive)
				break;
		}
		if (watchdog > 0)
			notify("WATCHDOG=1");
		code = alive ? 0 : code;
	}
	notify("STOPPING=1");
	int r = pod_remove(k->pod, true, k->e);
	k->t->exit_code = code;
	return r;
}

static const struct opt run_rows[] = {
	{ .name = "detach", .short_name = 'd', .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, detach), .help = "return when it runs" },
	{ .name = "down", .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, down), .help = "remove the pod of this file instead" },
	{ .name = "network", .kind = OPT_STRING, .offset = offsetof(struct run_pod_opts, network), .arg = "NETWORK", .help = "network of the pod" },
	{ .name = "publish", .short_name = 'p', .kind = OPT_LIST, .offset = offsetof(struct run_pod_opts, publish), .arg = "PORT", .help = "publish a port besides those of the file" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, quiet), .help = "no output of pulls" },
	{ .name = "replace", .kind = OPT_FLAG, .offset = offsetof(struct run_pod_opts, replace), .help = "remove a pod of the same name first" },
};

static int c_run(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct run_pod_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = tierce_people(t, &p, e);
	struct kube k = { .t = t, .p = &p, .e = e, .quiet = o->quiet };
	if (r == 0) {
		r = streq(argv[0], "-") ? fd_read_rest(0, &text, YAML_MAX) : file_read_at(AT_FDCWD, argv[0], &text, YAML_MAX);
		if (r < 0)
			err_sys(e, r, "read %s", argv[0]);
	}
	if (r == 0)
		r = yaml_parse(&p.arena, text.s, text.len, &k.docs, e);
	if (r == 0)
		r = find_pod_spec(&k);
	if (r == 0 && o->down) {
		r = pod_find(&p, json_str(k.meta, "name", ""), &k.pod, e);
		if (r == 0)
			r = pod_remove(k.pod, true, e);
	} else if (r == 0) {
		r = bring_up(&k, o);
		if (r == 0 && o->detach)
			puts(k.pod->id);
		else if (r == 0)
			r = stay(&k);
	}
	if (r < 0)
		err_wrap(e, r, "%s", argv[0]);
	people_close(&p);
	return r;
}

const struct command cmd_pod_run = { .name = "pod run", .operands = "FILE.yaml|-", .summary = "Run a Kubernetes Pod from a file", OPTS(run_rows), .min_args = 1, .max_args = 1, .operand_kind = 'f', .run = c_run,
	.description = "Pod, or Deployment of one replica, with ConfigMap, Secret and PersistentVolumeClaim from the same file. In the foreground the command is the service: it tells\n"
		       "systemd when the pod is ready, feeds the watchdog, stops the pod on SIGTERM, and ends when all containers have ended." };

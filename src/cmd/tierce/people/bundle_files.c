/* From options to mounts and devices: volumes, --mount, --tmpfs, --device, secrets, and then the documents config.json and monitor.json. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

static int oom(struct err *e) {
	return err_sys(e, -ENOMEM, "prepare the container");
}

int bundle_add_mount(struct bundle *b, const char *dest, const char *type, const char *source, const char *const *options, struct err *e) {
	if (!dest || dest[0] != '/')
		return err_set(e, -EINVAL, "mount destination \"%s\" is not an absolute path", dest ? dest : "");
	for (size_t i = 0; i < b->n_mounts; i++) {
		if (streq(b->mounts[i].destination, dest)) {
			if (b->by_option && b->asked[i])
				return err_set(e, -EINVAL, "%s: duplicate mount destination", dest);
			b->asked[i] |= b->by_option;
			b->mounts[i] = (struct specgen_mount){ dest, type, source, options };
			return 0;
		}
	}
	if (b->n_mounts == BUNDLE_MOUNTS_MAX)
		return err_set(e, -E2BIG, "more than %d mounts", BUNDLE_MOUNTS_MAX);
	b->asked[b->n_mounts] = b->by_option;
	b->mounts[b->n_mounts++] = (struct specgen_mount){ dest, type, source, options };
	return 0;
}

static const char *const *options_of(struct bundle *b, const char *first, const char *list, const char *const *dflt) {
	size_t max = (list ? strlen(list) : 0) / 2 + 12, n = 0;
	const char **v = arena_array(b->a, max, const char *);
	if (!v)
		return NULL;
	if (first)
		v[n++] = first;
	for (; dflt && *dflt; dflt++)
		v[n++] = *dflt;
	if (list) {
		char *copy = arena_strdup(b->a, list);
		for (char *save = NULL, *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
			/* Words of docker and podman that concern SELinux, ownership (see bind()) or copying and not the mount itself. */
			if (streq(w, "z") || streq(w, "Z") || streq(w, "U") || streq(w, "copy") || streq(w, "nocopy") || streq(w, "delegated") || streq(w, "cached") || streq(w, "consistent"))
				continue;
			v[n++] = w;
		}
	}
	return v;
}

static bool has_word(const char *list, const char *word) {
	size_t n = strlen(word);
	for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
		if (strncmp(p, word, n) == 0 && (p[n] == ',' || !p[n]))
			return true;
	return false;
}

static int bind(struct bundle *b, const char *source, const char *dest, const char *options, bool create, struct err *e) {
	struct stat st;
	char *real = has_word(options, "src-nosymlinks") ? strdup(source) : realpath(source, NULL);
	if (!real && errno == ENOENT && create) {
		/* docker -v makes a missing host directory; podman refuses. podman's rule here: a typing mistake must not make directories. */
		return err_set(e, -ENOENT, "--volume: statfs %s: no such file or directory", source);
	}
	if (!real)
		return err_sys(e, errno, "--volume: %s", source);
	const char *path = arena_strdup(b->a, real);
	free(real);
	if (!path || stat(path, &st) < 0)
		return err_sys(e, errno, "--volume: %s", source);
	if (has_word(options, "U")) {
		int r = volume_chown(path, userns_outside(&b->ids.uids, b->g.uid), userns_outside(&b->ids.gids, b->g.gid), e);
		if (r < 0)
			return r;
	}
	bool propagation = options && (strstr(options, "shared") || strstr(options, "slave") || strstr(options, "private") || strstr(options, "bindable"));
	static const char *const quiet[] = { "rprivate", NULL };
	const char *const *v = options_of(b, has_word(options, "bind") ? NULL : "rbind", options, propagation ? NULL : quiet);
	return v ? bundle_add_mount(b, dest, "bind", path, v, e) : oom(e);
}

static int named_volume(struct bundle *b, const char *name, const char *dest, const char *options, bool copy_up, struct err *e) {
	const char *path;
	int r = volume_ensure(b->c->p, name, false, b->c->id, &path, e);
	if (r == 0 && b->ids.uids.n)
		volume_own(path, userns_outside(&b->ids.uids, 0), userns_outside(&b->ids.gids, 0));
	if (r == 0 && copy_up && !has_word(options, "nocopy"))
		r = volume_copy_up(b->c->p, path, b->rootfs, dest, e);
	return r < 0 ? r : bind(b, path, dest, options, false, e);
}

/* A volume of the container's own for dest: its name is kept in DIR/anonymous-volumes, one line "NAME DEST" each, for rm -v and restarts. */
static int anonymous_volume(struct bundle *b, const char *dest, const char *options, struct err *e) {
	char path[4096], line[4608], name[80];
	const char *found = NULL;
	snprintf(path, sizeof(path), "%s/anonymous-volumes", b->c->dir);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *space = strchr(line, ' ');
		line[strcspn(line, "\n")] = '\0';
		if (space && streq(space + 1, dest)) {
			*space = '\0';
			found = arena_strdup(b->a, line);
		}
	}
	if (f)
		fclose(f);
	if (!found) {
		unsigned h = 5381;
		for (const char *s = dest; *s; s++)
			h = h * 33 + (unsigned char)*s;
		snprintf(name, sizeof(name), "%.48s%08x", b->c->id, h);
		found = arena_strdup(b->a, name);
		f = fopen(path, "ae");
		if (!f || fprintf(f, "%s %s\n", name, dest) < 0 || fclose(f) != 0)
			return err_sys(e, errno, "write %s", path);
	}
	const char *volume;
	int r = volume_ensure(b->c->p, found, true, b->c->id, &volume, e);
	if (r == 0 && b->ids.uids.n)
		volume_own(volume, userns_outside(&b->ids.uids, 0), userns_outside(&b->ids.gids, 0));
	if (r == 0)
		r = volume_copy_up(b->c->p, volume, b->rootfs, dest, e);
	return r < 0 ? r : bind(b, volume, dest, options, false, e);
}

/* [SOURCE:]DEST[:OPTIONS] */
static int volume_word(struct bundle *b, const char *text, struct err *e) {
	char *s = arena_strdup(b->a, text);
	if (!s)
		return oom(e);
	char *first = strchr(s, ':'), *second = first ? strchr(first + 1, ':') : NULL;
	if (!first)
		return anonymous_volume(b, s, NULL, e);
	*first++ = '\0';
	if (second)
		*second++ = '\0';
	if (!*s || !*first)
		return err_set(e, -EINVAL, "--volume \"%s\" is not [SOURCE:]PATH[:OPTIONS]", text);
	if (s[0] == '/' || s[0] == '.' || s[0] == '~')
		return bind(b, s, first, second, true, e);
	return named_volume(b, s, first, second, true, e);
}

/* Another image's files: read-only unless rw is given, and then the changes are the container's own. */
static int image_mount_word(struct bundle *b, const char *image, const char *dest, const char *options, struct err *e) {
	static const char *const ro[] = { "rbind", "ro", "rprivate", NULL }, *const rw[] = { "rbind", "rprivate", NULL };
	const char *path;
	bool write = has_word(options, "rw");
	int r = image_mount(b->c, image, dest, write, &path, e);
	return r < 0 ? err_wrap(e, r, "--mount type=image") : bundle_add_mount(b, dest, "bind", path, write ? rw : ro, e);
}

/* type=bind,source=..,target=..,readonly ... */
static int mount_word(struct bundle *b, const char *text, struct err *e) {
	char *s = arena_strdup(b->a, text);
	const char *type = "volume", *source = NULL, *dest = NULL;
	_cleanup_strbuf_ struct strbuf options = STRBUF_INIT;
	if (!s)
		return oom(e);
	for (char *save = NULL, *w = strtok_r(s, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		char *v = strchr(w, '=');
		if (v)
			*v++ = '\0';
		if (streq(w, "type") && v)
			type = v;
		else if ((streq(w, "source") || streq(w, "src")) && v)
			source = v;
		else if ((streq(w, "target") || streq(w, "destination") || streq(w, "dst")) && v)
			dest = v;
		else if (streq(w, "readonly") || streq(w, "ro"))
			strbuf_puts(&options, !v || streq(v, "true") || streq(v, "1") ? ",ro" : ",rw");
		else if (streq(w, "bind-propagation") && v)
			strbuf_printf(&options, ",%s", v);
		else if (streq(w, "rw") || streq(w, "readwrite"))
			strbuf_puts(&options, !v || streq(v, "true") || streq(v, "1") ? ",rw" : ",ro");
		else if (streq(w, "bind-nonrecursive"))
			strbuf_puts(&options, ",bind");
		else if (streq(w, "tmpfs-size") && v)
			strbuf_printf(&options, ",size=%s", v);
		else if (streq(w, "tmpfs-mode") && v)
			strbuf_printf(&options, ",mode=%s", v);
		else if (streq(w, "U") || streq(w, "chown"))
			strbuf_puts(&options, !v || streq(v, "true") || streq(v, "1") ? ",U" : "");
		else if (streq(w, "relabel") || streq(w, "consistency"))
			continue;
		else if (!v || streq(w, "idmap") || streq(w, "size") || streq(w, "mode"))
			strbuf_printf(&options, v ? ",%s=%s" : ",%s", w, v);
		else
			return err_set(e, -EINVAL, "--mount \"%s\": unknown key \"%s\" (type, source, target, readonly, bind-propagation, tmpfs-size, tmpfs-mode)", text, w);
	}
	const char *list = options.len ? arena_strdup(b->a, options.s + 1) : NULL;
	if (!dest)
		return err_set(e, -EINVAL, "--mount \"%s\" lacks target=PATH", text);
	if (streq(type, "bind"))
		return source ? bind(b, source, dest, list, false, e) : err_set(e, -EINVAL, "--mount \"%s\" lacks source=PATH", text);
	if (streq(type, "volume"))
		return source ? named_volume(b, source, dest, list, true, e) : anonymous_volume(b, dest, list, e);
	if (streq(type, "image"))
		return source ? image_mount_word(b, source, dest, list, e) : err_set(e, -EINVAL, "--mount \"%s\" lacks source=IMAGE", text);
	if (streq(type, "devpts")) {
		const char *const *v = options_of(b, NULL, list, (const char *const[]){ "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", NULL });
		return v ? bundle_add_mount(b, dest, "devpts", "devpts", v, e) : oom(e);
	}
	if (streq(type, "tmpfs") || streq(type, "ramfs")) {
		const char *const *v = options_of(b, NULL, list, (const char *const[]){ "rprivate", "nosuid", "nodev", "tmpcopyup", NULL });
		return v ? bundle_add_mount(b, dest, "tmpfs", "tmpfs", v, e) : oom(e);
	}
	return err_set(e, -EINVAL, "--mount \"%s\": type \"%s\" is not one of bind, volume, tmpfs, image, devpts", text, type);
}

static int tmpfs_word(struct bundle *b, const char *text, struct err *e) {
	char *dest = arena_strdup(b->a, text), *options = dest ? strchr(dest, ':') : NULL;
	static const char *const usual[] = { "rprivate", "nosuid", "nodev", "tmpcopyup", NULL };
	if (options)
		*options++ = '\0';
	const char *const *v = options_of(b, NULL, options, usual);
	return dest && v ? bundle_add_mount(b, dest, "tmpfs", "tmpfs", v, e) : oom(e);
}

static int volumes_from(struct bundle *b, const char *text, struct err *e) {
	struct pctr *other;
	char *who = arena_strdup(b->a, text), *options = strchr(who, ':');
	if (options)
		*options++ = '\0';
	int r = pctr_find(b->c->p, who, &other, e);
	if (r < 0)
		return err_wrap(e, r, "--volumes-from");
	for (size_t i = 0; r == 0 && i < other->opts.volume.n; i++)
		r = strchr(other->opts.volume.v[i], ':') ? volume_word(b, other->opts.volume.v[i], e) : 0;
	char path[4096], line[4608];
	snprintf(path, sizeof(path), "%s/anonymous-volumes", other->dir);
	FILE *f = fopen(path, "re");
	while (f && r == 0 && fgets(line, sizeof(line), f)) {
		char *space = strchr(line, ' ');
		line[strcspn(line, "\n")] = '\0';
		if (!space)
			continue;
		*space = '\0';
		r = named_volume(b, arena_strdup(b->a, line), arena_strdup(b->a, space + 1), options, false, e);
	}
	if (f)
		fclose(f);
	return r;
}

/* ---- devices ------------------------------------------------------------------------------------------------------------------ */

static int add_device(struct bundle *b, const char *host, const char *inside, const char *access, struct err *e) {
	struct stat st;
	if (stat(host, &st) < 0)
		return err_sys(e, errno, "--device %s", host);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, -EINVAL, "--device %s is not a device", host);
	if (b->n_devices == BUNDLE_DEVICES_MAX)
		return err_set(e, -E2BIG, "more than %d devices", BUNDLE_DEVICES_MAX);
	b->devices[b->n_devices++] = (struct specgen_device){ arena_strdup(b->a, inside), S_ISCHR(st.st_mode) ? 'c' : 'b', major(st.st_rdev), minor(st.st_rdev), st.st_mode & 07777,
		st.st_uid, st.st_gid, access };
	return 0;
}

static int device_word(struct bundle *b, const char *text, struct err *e) {
	char *host = arena_strdup(b->a, text);
	char *part[3] = { host, NULL, NULL };
	for (int i = 1; i < 3 && part[i - 1]; i++)
		if ((part[i] = strchr(part[i - 1], ':')))
			*part[i]++ = '\0';
	const char *inside = part[1], *access = part[2] ? part[2] : "rwm";
	/* HOST:rwm is a form of its own. */
	if (inside && inside[0] != '/') {
		access = inside;
		inside = NULL;
	}
	if (!*access || access[strspn(access, "rwm")])
		return err_set(e, -EINVAL, "--device \"%s\": access \"%s\" is not made of r, w and m", text, access);
	struct stat st;
	if (stat(host, &st) == 0 && S_ISDIR(st.st_mode)) {
		DIR *d = opendir(host);
		struct dirent *ent;
		int r = 0;
		while (d && r == 0 && (ent = readdir(d))) {
			const char *path = arena_printf(b->a, "%s/%s", host, ent->d_name);
			if (stat(path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
				r = add_device(b, path, inside ? arena_printf(b->a, "%s/%s", inside, ent->d_name) : path, access, e);
		}
		if (d)
			closedir(d);
		return r;
	}
	return add_device(b, host, inside ? inside : host, access, e);
}

static int all_devices(struct bundle *b, struct err *e) {
	DIR *d = opendir("/dev");
	struct dirent *ent;
	int r = 0;
	static const char *const own[] = { "null", "zero", "full", "tty", "random", "urandom", "console", "ptmx" };
	while (d && r == 0 && (ent = readdir(d))) {
		struct stat st;
		const char *path = arena_printf(b->a, "/dev/%s", ent->d_name);
		bool skip = str_has_prefix(ent->d_name, "tty") && ent->d_name[3];
		for (size_t i = 0; i < ARRAY_SIZE(own); i++)
			skip |= streq(own[i], ent->d_name);
		if (!skip && lstat(path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && b->n_devices < BUNDLE_DEVICES_MAX)
			r = add_device(b, path, path, "rwm", e);
	}
	if (d)
		closedir(d);
	return r;
}

/* ---- secrets -------------------------------------------------------------------------------------------------------------------- */

static int secret_word(struct bundle *b, const char *text, struct err *e) {
	char *name = arena_strdup(b->a, text), *rest = strchr(name, ',');
	const char *type = "mount", *target = NULL, *mode = "0444";
	unsigned uid = 0, gid = 0;
	if (rest)
		*rest++ = '\0';
	for (char *save = NULL, *w = rest ? strtok_r(rest, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
		char *v = strchr(w, '=');
		if (!v)
			return err_set(e, -EINVAL, "--secret \"%s\": \"%s\" is not KEY=VALUE", text, w);
		*v++ = '\0';
		if (streq(w, "type"))
			type = v;
		else if (streq(w, "target"))
			target = v;
		else if (streq(w, "mode"))
			mode = v;
		else if (streq(w, "uid"))
			uid = (unsigned)strtoul(v, NULL, 10);
		else if (streq(w, "gid"))
			gid = (unsigned)strtoul(v, NULL, 10);
		else
			return err_set(e, -EINVAL, "--secret \"%s\": unknown key \"%s\" (type, target, uid, gid, mode)", text, w);
	}
	if (str_has_prefix(name, "source="))
		name += 7;
	_cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
	char path[4096];
	snprintf(path, sizeof(path), "%s/secrets/%s", b->c->p->data_dir, name);
	uint64_t m;
	if (!name_ok(name) || parse_u64_base(mode, 8, &m) < 0)
		return err_set(e, -EINVAL, "--secret \"%s\": bad name or mode", text);
	int r = file_read_at(AT_FDCWD, path, &data, 512 * 1024);
	if (r < 0)
		return err_set(e, r, "no secret with name or id \"%s\": no such secret", name);
	if (streq(type, "env")) {
		const char **v = arena_array(b->a, b->n_env + 2, const char *);
		memcpy(v, b->env, b->n_env * sizeof(*v));
		v[b->n_env++] = arena_printf(b->a, "%s=%s", target ? target : name, strbuf_str(&data));
		b->env = v;
		b->g.env = v;
		return 0;
	}
	if (!streq(type, "mount"))
		return err_set(e, -EINVAL, "--secret \"%s\": type \"%s\" is neither mount nor env", text, type);
	/* A copy of the container's own: later changes of the secret do not reach it (podman's rule), and the owner can be set. */
	snprintf(path, sizeof(path), "%s/secret-%s", b->c->dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || (r = fd_write_all(fd, data.s, data.len)) < 0 || fchmod(fd, (mode_t)m) < 0 || fchown(fd, userns_outside(&b->ids.uids, uid), userns_outside(&b->ids.gids, gid)) < 0)
		return err_sys(e, fd < 0 || r == 0 ? errno : r, "write %s", path);
	const char *dest = !target ? arena_printf(b->a, "/run/secrets/%s", name) : target[0] == '/' ? target : arena_printf(b->a, "/run/secrets/%s", target);
	return bind(b, path, dest, "bind,ro", false, e);
}

int bundle_files(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	int r = net_write_files(b, e);
	for (const struct json *m = json_first(json_get(b->c->image_config, "Volumes")); m && r == 0; m = m->next) {
		const char *how = o->image_volume ? o->image_volume : "anonymous";
		if (streq(how, "tmpfs"))
			r = tmpfs_word(b, m->key, e);
		else if (!streq(how, "ignore"))
			r = anonymous_volume(b, m->key, NULL, e);
	}
	for (size_t i = 0; r == 0 && i < o->volumes_from.n; i++)
		r = volumes_from(b, o->volumes_from.v[i], e);
	b->by_option = true;
	for (size_t i = 0; r == 0 && i < o->volume.n; i++)
		r = volume_word(b, o->volume.v[i], e);
	for (size_t i = 0; r == 0 && i < o->mount.n; i++)
		r = mount_word(b, o->mount.v[i], e);
	for (size_t i = 0; r == 0 && i < o->tmpfs.n; i++)
		r = tmpfs_word(b, o->tmpfs.v[i], e);
	b->by_option = false;
	for (size_t i = 0; r == 0 && i < o->secret.n; i++)
		r = secret_word(b, o->secret.v[i], e);
	if (r == 0 && o->read_only) {
		static const char *const places[] = { "/run", "/tmp", "/var/tmp" };
		bool wanted;
		r = parse_bool("--read-only-tmpfs", o->read_only_tmpfs, true, &wanted, e);
		for (size_t i = 0; r == 0 && wanted && i < ARRAY_SIZE(places); i++) {
			bool taken = false;
			for (size_t k = 0; k < b->n_mounts; k++)
				taken |= streq(b->mounts[k].destination, places[i]);
			if (!taken)
				r = tmpfs_word(b, places[i], e);
		}
	}
	if (r == 0 && o->init) {
		const char *init = o->init_path ? o->init_path : arena_printf(b->a, "%s/tierce-init", b->c->p->libexec);
		r = access(init, X_OK) < 0 ? err_sys(e, errno, "--init: %s", init) : bind(b, init, "/run/.tierce-init", "bind,ro", false, e);
	}
	for (size_t i = 0; r == 0 && i < o->device.n; i++)
		r = device_word(b, o->device.v[i], e);
	if (r == 0 && o->privileged) {
		b->g.all_devices = true;
		r = all_devices(b, e);
	}
	if (o->device_cgroup_rule.n) {
		const char **v = arena_array(b->a, o->device_cgroup_rule.n + 1, const char *);
		if (!v)
			return oom(e);
		memcpy(v, o->device_cgroup_rule.v, o->device_cgroup_rule.n * sizeof(*v));
		b->g.device_cgroup_rules = v;
	}
	return r;
}

/* ---- the documents -------------------------------------------------------------------------------------------------------------- */

static int write_health(struct json_writer *w, struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	const struct json *image = json_get(b->c->image_config, "Healthcheck"), *test = json_get(image, "Test");
	const char *first = json_first(test) && json_first(test)->type == JSON_STRING ? json_first(test)->text : "NONE";
	uint64_t interval = 30000000000u, timeout = 30000000000u, start = 0, n;
	int64_t retries = 3;
	if (o->no_healthcheck || (o->health_cmd && streq(o->health_cmd, "none")) || (!o->health_cmd && streq(first, "NONE")))
		return 0;
	if (!o->health_cmd) {
		if (json_u64(json_get(image, "Interval"), &n) == 0 && n)
			interval = n;
		if (json_u64(json_get(image, "Timeout"), &n) == 0 && n)
			timeout = n;
		if (json_u64(json_get(image, "StartPeriod"), &n) == 0)
			start = n;
		if (json_u64(json_get(image, "Retries"), &n) == 0 && n)
			retries = (int64_t)n;
	}
	int r = 0;
	if (o->health_interval)
		r = streq(o->health_interval, "disable") ? (int)(interval = 0) : parse_duration("--health-interval", o->health_interval, &interval, e);
	if (r == 0 && o->health_timeout)
		r = parse_duration("--health-timeout", o->health_timeout, &timeout, e);
	if (r == 0 && o->health_start_period)
		r = parse_duration("--health-start-period", o->health_start_period, &start, e);
	if (r == 0 && o->health_retries)
		r = parse_number("--health-retries", o->health_retries, 1, 1000, &retries, e);
	if (r < 0)
		return r;
	jw_key(w, "health");
	jw_object(w);
	jw_kv_u64(w, "interval", interval);
	jw_kv_u64(w, "timeout", timeout);
	jw_kv_u64(w, "startPeriod", start);
	jw_kv_i64(w, "retries", retries);
	bool kill = o->health_on_failure && !streq(o->health_on_failure, "none"); /* restart: by the restart policy */
	for (size_t i = 0; i < o->annotation.n; i++)
		kill |= streq(o->annotation.v[i], "dev.tierce.health.on-failure=kill"); /* liveness probes of pods */
	jw_kv_bool(w, "kill", kill);
	jw_key(w, "process");
	jw_object(w);
	jw_key(w, "args");
	jw_array(w);
	if (o->health_cmd && *o->health_cmd == '[') {
		struct json *words;
		r = json_parse(b->a, o->health_cmd, strlen(o->health_cmd), &words, e);
		if (r < 0)
			return err_wrap(e, r, "--health-cmd");
		struct json *m = json_first(words);
		bool shell = m && m->type == JSON_STRING && streq(m->text, "CMD-SHELL");
		if (shell) {
			jw_string(w, "/bin/sh");
			jw_string(w, "-c");
		}
		if (m && m->type == JSON_STRING && (shell || streq(m->text, "CMD")))
			m = m->next;
		for (; m; m = m->next)
			jw_value(w, m);
	} else if (o->health_cmd || streq(first, "CMD-SHELL")) {
		jw_string(w, "/bin/sh");
		jw_string(w, "-c");
		jw_string(w, o->health_cmd ? o->health_cmd : json_first(test)->next ? json_first(test)->next->text : "true");
	} else {
		for (struct json *m = json_first(test)->next; m; m = m->next)
			jw_value(w, m);
	}
	jw_array_end(w);
	jw_key(w, "env");
	jw_array(w);
	for (const char *const *p = b->g.env; *p; p++)
		jw_string(w, *p);
	jw_array_end(w);
	jw_kv_string(w, "cwd", b->g.cwd);
	jw_key(w, "user");
	jw_object(w);
	jw_kv_u64(w, "uid", b->g.uid);
	jw_kv_u64(w, "gid", b->g.gid);
	jw_object_end(w);
	jw_object_end(w);
	jw_object_end(w);
	return 0;
}

static int write_restart(struct json_writer *w, const char *policy, struct err *e) {
	int64_t max = 0;
	char name[24];
	const char *colon = strchr(policy, ':');
	snprintf(name, sizeof(name), "%.*s", colon ? (int)(colon - policy) : (int)sizeof(name) - 1, policy);
	if (!streq(name, "no") && !streq(name, "on-failure") && !streq(name, "always") && !streq(name, "unless-stopped") && *name)
		return err_set(e, -EINVAL, "--restart \"%s\" is not one of no, on-failure[:N], always, unless-stopped", policy);
	if (colon) {
		if (!streq(name, "on-failure"))
			return err_set(e, -EINVAL, "--restart \"%s\": a number goes only with on-failure", policy);
		int r = parse_number("--restart", colon + 1, 0, 1 << 30, &max, e);
		if (r < 0)
			return r;
	}
	jw_key(w, "restart");
	jw_object(w);
	jw_kv_string(w, "policy", *name ? name : "no");
	jw_kv_i64(w, "max", max);
	jw_object_end(w);
	return 0;
}

static int write_log(struct json_writer *w, struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	const char *driver = o->log_driver ? o->log_driver : "k8s-file", *path = arena_printf(b->a, "%s/ctr.log", b->c->dir), *tag = NULL;
	int64_t max_size = 0, max_files = 1;
	int r = 0;
	if (!streq(driver, "k8s-file") && !streq(driver, "json-file") && !streq(driver, "journald") && !streq(driver, "none") && !streq(driver, "passthrough"))
		return err_set(e, -EINVAL, "--log-driver \"%s\" is not one of k8s-file, json-file, journald, none, passthrough", driver);
	for (size_t i = 0; r == 0 && i < o->log_opt.n; i++) {
		const char *s = o->log_opt.v[i];
		if (str_has_prefix(s, "max-size="))
			r = parse_size("--log-opt max-size", s + 9, &max_size, e);
		else if (str_has_prefix(s, "max-file="))
			r = parse_number("--log-opt max-file", s + 9, 1, 1000, &max_files, e);
		else if (str_has_prefix(s, "path="))
			path = s + 5;
		else if (str_has_prefix(s, "tag="))
			tag = s + 4;
		else
			return err_set(e, -EINVAL, "--log-opt \"%s\" is not one of max-size=, max-file=, path=, tag=", s);
	}
	if (r < 0)
		return r;
	jw_key(w, "log");
	jw_object(w);
	jw_kv_string(w, "driver", driver);
	jw_kv_string(w, "path", path);
	jw_kv_i64(w, "maxSize", max_size > 0 ? max_size : 0);
	jw_kv_i64(w, "maxFiles", max_files - 1);
	if (tag)
		jw_kv_string(w, "tag", tag);
	jw_object_end(w);
	return 0;
}

static int write_monitor(struct bundle *b, int dir, struct err *e) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const struct run_opts *o = &b->c->opts;
	struct json_writer w;
	jw_init(&w, &out, 1);
	jw_object(&w);
	jw_kv_string(&w, "id", b->c->id);
	jw_kv_string(&w, "name", b->c->name);
	jw_kv_string(&w, "bundle", b->c->dir);
	jw_kv_bool(&w, "tty", o->tty);
	jw_kv_bool(&w, "stdin", o->interactive);
	jw_kv_bool(&w, "stdinOnce", o->interactive && !o->detach && !o->tty);
	if (o->isolation)
		jw_kv_string(&w, "isolation", o->isolation);
	if (o->pidfile)
		jw_kv_string(&w, "pidFile", o->pidfile);
	if (o->timeout)
		jw_kv_i64(&w, "timeout", atoll(o->timeout));
	if (o->cgroups && streq(o->cgroups, "disabled"))
		jw_kv_bool(&w, "noCgroups", true);
	int r = write_log(&w, b, e);
	if (r == 0)
		r = write_restart(&w, o->restart ? o->restart : "no", e);
	if (r == 0)
		r = write_health(&w, b, e);
	if (r < 0)
		return r;
	jw_key(&w, "dns");
	jw_array(&w);
	for (const struct json *n = json_first(json_get(net_state(b->c), "networks")); n; n = n->next)
		for (const struct json *s = json_first(json_get(n, "dns")); s; s = s->next)
			jw_value(&w, s);
	jw_array_end(&w);
	jw_key(&w, "cleanup");
	jw_array(&w);
	jw_string(&w, b->c->p->self);
	jw_string(&w, "--root");
	jw_string(&w, b->c->p->data_dir);
	jw_string(&w, "--runroot");
	jw_string(&w, b->c->p->run_dir);
	if (b->c->p->cli && b->c->p->cli->global.events_backend) {
		jw_string(&w, "--events-backend");
		jw_string(&w, b->c->p->cli->global.events_backend);
	}
	jw_string(&w, "container-cleanup");
	jw_string(&w, b->c->id);
	jw_array_end(&w);
	jw_object_end(&w);
	r = jw_finish(&w);
	if (r == 0)
		r = file_replace_at(dir, "monitor.json", out.s, out.len, 0600, 0);
	return r < 0 ? err_sys(e, r, "write %s/monitor.json", b->c->dir) : 0;
}

static int fill(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	b->g.rootfs = b->rootfs;
	b->g.privileged = o->privileged;
	b->g.read_only_root = o->read_only;
	b->g.rootless = b->c->p->rootless;
	b->g.seccomp = o->privileged ? SPECGEN_SECCOMP_UNCONFINED : SPECGEN_SECCOMP_DEFAULT;
	b->g.no_default_masks = o->privileged;
	int r = bundle_namespaces(b, e);
	if (r == 0)
		r = bundle_resources(b, e);
	if (r == 0)
		r = bundle_process(b, e);
	return r;
}

int bundle_write(struct pctr *c, const char *rootfs, const char *netns, struct err *e) {
	struct bundle *b = arena_new(&c->p->arena, struct bundle);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (!b)
		return oom(e);
	*b = (struct bundle){ .a = &c->p->arena, .c = c, .rootfs = rootfs, .netns = netns };
	int r = fill(b, e);
	if (r == 0)
		r = bundle_files(b, e);
	if (r == 0)
		r = bundle_extra(b, e);
	if (r < 0)
		return r;
	b->g.mounts = b->mounts;
	b->g.n_mounts = b->n_mounts;
	b->g.devices = b->devices;
	b->g.n_devices = b->n_devices;
	r = specgen_write(&b->g, &out, e);
	if (r < 0)
		return r;
	_cleanup_close_ int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? -errno : file_replace_at(dir, "config.json", out.s, out.len, 0600, 0);
	if (r < 0)
		return err_sys(e, r, "write %s/config.json", c->dir);
	return write_monitor(b, dir, e);
}

/* Everything that can be said about the options without touching the host: parse all of them into a scratch bundle. */
int bundle_check(struct pctr *c, struct err *e) {
	struct bundle *b = arena_new(&c->p->arena, struct bundle);
	struct cni_port *ports = NULL;
	struct net_plan plan;
	_cleanup_strbuf_ struct strbuf scratch = STRBUF_INIT;
	struct json_writer w;
	size_t n = 0;
	int64_t v;
	const struct run_opts *o = &c->opts;
	if (!b)
		return oom(e);
	*b = (struct bundle){ .a = &c->p->arena, .c = c, .rootfs = "/" };
	int r = bundle_resources(b, e);
	for (size_t i = 0; r == 0 && i < o->publish.n; i++)
		r = parse_port(b->a, o->publish.v[i], &ports, &n, e);
	if (r == 0)
		r = net_plan(c, &plan, e);
	if (r == 0)
		r = bundle_extra_check(b, e);
	if (r == 0 && o->stop_signal && oci_signal_number(o->stop_signal) < 0)
		return err_set(e, -EINVAL, "--stop-signal \"%s\" is no signal", o->stop_signal);
	if (r == 0 && o->stop_timeout)
		r = parse_number("--stop-timeout", o->stop_timeout, -1, 1 << 30, &v, e);
	if (r == 0 && o->isolation && !streq(o->isolation, "ns") && !streq(o->isolation, "sentry") && !streq(o->isolation, "vm"))
		return err_set(e, -EINVAL, "--isolation \"%s\" is not one of ns, sentry, vm", o->isolation);
	if (r == 0 && o->rm && o->restart && !streq(o->restart, "no") && *o->restart)
		return err_set(e, -EINVAL, "--rm and --restart cannot be combined");
	for (size_t i = 0; r == 0 && i < o->label.n; i++)
		if (o->label.v[i][0] == '=')
			return err_set(e, -EINVAL, "--label \"%s\" is not KEY=VALUE", o->label.v[i]);
	jw_init(&w, &scratch, 0);
	jw_object(&w);
	if (r == 0)
		r = write_log(&w, b, e);
	if (r == 0)
		r = write_restart(&w, o->restart ? o->restart : "no", e);
	uint64_t ns;
	if (r == 0 && o->health_interval && !streq(o->health_interval, "disable"))
		r = parse_duration("--health-interval", o->health_interval, &ns, e);
	if (r == 0)
		r = capabilities_check(b, e);
	return r;
}

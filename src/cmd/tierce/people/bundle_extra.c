/* From options to a bundle, the smaller ones: time zone, users of /etc/passwd, a system manager as command, block I/O of devices, CDI and GPUs. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cmd/tierce/people/people.h"
#include "cmd/tierce/people/rootless.h"
#include "sys/fd.h"

enum { PASSWD_MAX = 1 << 20, LABEL_FILE_MAX = 1 << 20 };

static int oom(struct err *e) {
	return err_sys(e, -ENOMEM, "prepare the container");
}

/* ---- --tz ---------------------------------------------------------------------------------------------------------------------------- */

static const char *zone_file(struct bundle *b, struct err *e) {
	const char *zone = b->c->opts.timezone;
	char *real = NULL;
	if (streq(zone, "local"))
		real = realpath("/etc/localtime", NULL);
	else if (*zone && !strstr(zone, "..") && zone[0] != '/')
		real = realpath(arena_printf(b->a, "/usr/share/zoneinfo/%s", zone), NULL);
	struct stat st;
	const char *path = real && stat(real, &st) == 0 && S_ISREG(st.st_mode) ? arena_strdup(b->a, real) : NULL;
	free(real);
	if (!path)
		err_set(e, -ENOENT, "--tz %s: unknown time zone (the host's /usr/share/zoneinfo, or local)", zone);
	return path;
}

static int time_zone(struct bundle *b, struct err *e) {
	static const char *const options[] = { "bind", "ro", "rprivate", NULL };
	if (!b->c->opts.timezone)
		return 0;
	const char *path = zone_file(b, e);
	return path ? bundle_add_mount(b, "/etc/localtime", "bind", path, options, e) : -ENOENT;
}

/* ---- /etc/passwd --------------------------------------------------------------------------------------------------------------------- */

/* The image's file, read below its root; NULL: there is none. */
static char *image_passwd(struct bundle *b) {
	struct strbuf text = STRBUF_INIT;
	_cleanup_close_ int root = open(b->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = root < 0 ? -EBADF : open_in_root(root, "/etc/passwd", O_RDONLY, 0);
	char *copy = fd >= 0 && fd_read_rest(fd, &text, PASSWD_MAX) == 0 ? arena_strdup(b->a, strbuf_str(&text)) : NULL;
	strbuf_free(&text);
	return copy;
}

static bool has_user(const char *passwd, const char *name, uint32_t uid) {
	for (const char *line = passwd; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		size_t n = strcspn(line, ":\n");
		const char *id = line[n] == ':' ? strchr(line + n + 1, ':') : NULL;
		if (name ? strlen(name) == n && strncmp(line, name, n) == 0 : id && strtoul(id + 1, NULL, 10) == uid && id[1] >= '0' && id[1] <= '9')
			return true;
	}
	return false;
}

static void add_line(struct strbuf *out, const char *line) {
	if (out->len && out->s[out->len - 1] != '\n')
		strbuf_putc(out, '\n');
	strbuf_printf(out, "%s\n", line);
}

/* podman's form: $USERNAME, $UID, $GID, $NAME and $HOME stand for the user's. */
static void add_entry(struct bundle *b, const char *entry, struct strbuf *out) {
	const struct { const char *key, *value; } vars[] = { { "$USERNAME", "*" }, { "$UID", arena_printf(b->a, "%u", b->g.uid) }, { "$GID", arena_printf(b->a, "%u", b->g.gid) },
		{ "$NAME", "container user" }, { "$HOME", bundle_env(b, "HOME") } };
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	for (const char *s = entry; *s;) {
		size_t k = 0;
		while (k < ARRAY_SIZE(vars) && !str_has_prefix(s, vars[k].key))
			k++;
		if (k < ARRAY_SIZE(vars)) {
			strbuf_puts(&line, vars[k].value ? vars[k].value : "/");
			s += strlen(vars[k].key);
		} else {
			strbuf_putc(&line, *s++);
		}
	}
	add_line(out, strbuf_str(&line));
}

static const struct passwd *host_user(const char *who) {
	uint32_t uid;
	return parse_u32(who, &uid) == 0 ? getpwuid(uid) : getpwnam(who);
}

static int passwd_file(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	static const char *const options[] = { "bind", "rprivate", NULL };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	bool wanted;
	int r = parse_bool("--passwd", o->passwd, true, &wanted, e);
	char *old = r == 0 && wanted ? image_passwd(b) : NULL;
	if (!old)
		return r;
	strbuf_puts(&out, old);
	size_t before = out.len;
	for (size_t i = 0; i < o->hostuser.n; i++) {
		const struct passwd *pw = host_user(o->hostuser.v[i]);
		if (!pw)
			return err_set(e, -ENOENT, "--hostuser %s: no such user on the host", o->hostuser.v[i]);
		if (!has_user(old, pw->pw_name, 0))
			add_line(&out, arena_printf(b->a, "%s:x:%u:%u:%s:%s:%s", pw->pw_name, pw->pw_uid, pw->pw_gid, pw->pw_gecos ? pw->pw_gecos : "", pw->pw_dir, pw->pw_shell));
	}
	if (o->passwd_entry) {
		add_entry(b, o->passwd_entry, &out);
	} else if (b->ids.keep_id && !o->user) {
		const struct passwd *pw = getpwuid(rootless_uid());
		if (!has_user(old, NULL, b->g.uid))
			add_line(&out, arena_printf(b->a, "%s:x:%u:%u:%s:%s:/bin/sh", pw && !has_user(old, pw->pw_name, 0) ? pw->pw_name : "user", b->g.uid, b->g.gid, pw && pw->pw_gecos ? pw->pw_gecos : "",
				bundle_env(b, "HOME") ? bundle_env(b, "HOME") : "/"));
	} else if (b->g.uid && !has_user(old, NULL, b->g.uid) && !has_user(strbuf_str(&out), NULL, b->g.uid)) {
		add_entry(b, "$UID:*:$UID:$GID:$NAME:$HOME:/bin/sh", &out);
	}
	if (out.failed)
		return oom(e);
	if (out.len == before)
		return 0;
	r = bundle_write_file(b, "passwd", &out, e);
	return r < 0 ? r : bundle_add_mount(b, "/etc/passwd", "bind", arena_printf(b->a, "%s/passwd", b->c->dir), options, e);
}

/* ---- --systemd ------------------------------------------------------------------------------------------------------------------------- */

int container_systemd(struct pctr *c, bool *ret, struct err *e) {
	static const char *const inits[] = { "/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init" };
	const char *mode = c->opts.systemd ? c->opts.systemd : "true";
	const struct json *entry = json_first(json_get(c->image_config, "Entrypoint")), *cmd = json_first(json_get(c->image_config, "Cmd"));
	*ret = streq(mode, "always");
	if (*ret)
		return 0;
	bool on;
	int r = parse_bool("--systemd", mode, true, &on, e);
	if (r < 0)
		return err_set(e, -EINVAL, "--systemd \"%s\" is not one of true, false, always", mode);
	if (!on)
		return 0;
	const char *first = c->opts.entrypoint && *c->opts.entrypoint && *c->opts.entrypoint != '[' ? c->opts.entrypoint
		: !c->opts.entrypoint && entry && entry->type == JSON_STRING ? entry->text
		: c->n_command ? c->command[0] : cmd && cmd->type == JSON_STRING ? cmd->text : "";
	const char *base = strrchr(first, '/');
	*ret = str_has_prefix(base ? base + 1 : first, "systemd");
	for (size_t i = 0; i < ARRAY_SIZE(inits); i++)
		*ret |= streq(first, inits[i]);
	return 0;
}

/* What systemd asks of a container manager (systemd's CONTAINER_INTERFACE): tmpfs on /run and friends, a cgroup tree of its own that it may write. */
static int systemd_mounts(struct bundle *b, struct err *e) {
	static const struct { const char *dest, *mode; } places[] = { { "/run", "mode=755" }, { "/run/lock", "mode=755" }, { "/tmp", "mode=1777" }, { "/var/log/journal", "mode=755" } };
	bool on;
	int r = container_systemd(b->c, &on, e);
	for (size_t i = 0; r == 0 && on && i < ARRAY_SIZE(places); i++) {
		bool taken = false;
		for (size_t k = 0; k < b->n_mounts; k++)
			taken |= streq(b->mounts[k].destination, places[i].dest);
		const char **v = arena_array(b->a, 8, const char *);
		if (!v)
			return oom(e);
		v[0] = "nosuid";
		v[1] = "nodev";
		v[2] = "rprivate";
		v[3] = places[i].mode;
		if (!taken)
			r = bundle_add_mount(b, places[i].dest, "tmpfs", "tmpfs", v, e);
	}
	static const char *const cgroup[] = { "nosuid", "noexec", "nodev", "relatime", "rw", NULL };
	if (r == 0 && on && (b->g.new_ns & CLONE_NEWCGROUP))
		r = bundle_add_mount(b, "/sys/fs/cgroup", "cgroup", "cgroup", cgroup, e);
	return r;
}

/* ---- block I/O --------------------------------------------------------------------------------------------------------------------------- */

int bundle_block_io(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	const struct { const char *option, *key; const struct opt_list *l; bool bytes; } kinds[] = {
		{ "--blkio-weight-device", "weightDevice", &o->blkio_weight_device, false }, { "--device-read-bps", "throttleReadBpsDevice", &o->device_read_bps, true },
		{ "--device-write-bps", "throttleWriteBpsDevice", &o->device_write_bps, true }, { "--device-read-iops", "throttleReadIOPSDevice", &o->device_read_iops, false },
		{ "--device-write-iops", "throttleWriteIOPSDevice", &o->device_write_iops, false } };
	size_t max = 0, n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		max += kinds[i].l->n;
	struct specgen_block *v = arena_array(b->a, max + 1, struct specgen_block);
	if (!v)
		return oom(e);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (size_t k = 0; k < kinds[i].l->n; k++) {
			const char *s = kinds[i].l->v[k], *colon = strrchr(s, ':');
			struct stat st;
			int64_t value;
			if (!colon || colon == s)
				return err_set(e, -EINVAL, "%s \"%s\" is not DEVICE:VALUE", kinds[i].option, s);
			const char *device = arena_strndup(b->a, s, (size_t)(colon - s));
			if (!device || stat(device, &st) < 0)
				return err_sys(e, errno, "%s %s", kinds[i].option, s);
			if (!S_ISBLK(st.st_mode))
				return err_set(e, -ENOTBLK, "%s: %s is no block device", kinds[i].option, device);
			int r = kinds[i].bytes ? parse_size(kinds[i].option, colon + 1, &value, e) : parse_number(kinds[i].option, colon + 1, i ? 1 : 10, i ? INT64_MAX : 1000, &value, e);
			if (r < 0)
				return r;
			v[n++] = (struct specgen_block){ kinds[i].key, major(st.st_rdev), minor(st.st_rdev), (uint64_t)value };
		}
	b->g.block = v;
	b->g.n_block = n;
	return 0;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------------------------------- */

int bundle_extra(struct bundle *b, struct err *e) {
	int r = systemd_mounts(b, e);
	if (r == 0)
		r = time_zone(b, e);
	return r < 0 ? r : passwd_file(b, e);
}

static int refuse(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	if (o->gpus)
		return err_set(e, -ENOTSUP, "--gpus is not supported: there is no CDI here; give the devices with --device /dev/...");
	for (size_t i = 0; i < o->device.n; i++)
		if (o->device.v[i][0] != '/' && strchr(o->device.v[i], '='))
			return err_set(e, -ENOTSUP, "--device %s: CDI devices are not supported; give the device files", o->device.v[i]);
	if (o->os && !streq(o->os, "linux"))
		return err_set(e, -ENOTSUP, "--os %s: only linux runs here", o->os);
	return 0;
}

/* Values alone, nothing of the host is changed. */
int bundle_extra_check(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	bool on;
	int64_t v;
	int r = refuse(b, e);
	if (r == 0)
		r = userns_check(o->userns, e);
	if (r == 0)
		r = container_systemd(b->c, &on, e);
	if (r == 0 && o->timezone && !zone_file(b, e))
		r = -ENOENT;
	if (r == 0 && o->timeout)
		r = parse_number("--timeout", o->timeout, 0, INT32_MAX, &v, e);
	if (r == 0)
		r = parse_bool("--passwd", o->passwd, true, &on, e);
	for (size_t i = 0; r == 0 && i < o->hostuser.n; i++)
		if (!host_user(o->hostuser.v[i]))
			r = err_set(e, -ENOENT, "--hostuser %s: no such user on the host", o->hostuser.v[i]);
	static const struct { const char *option; size_t at; const char *words; } sets[] = {
		{ "--sdnotify", offsetof(struct run_opts, sdnotify), " container conmon ignore " }, { "--image-volume", offsetof(struct run_opts, image_volume), " anonymous bind tmpfs ignore " },
		{ "--cgroups", offsetof(struct run_opts, cgroups), " enabled disabled no-conmon " }, { "--health-on-failure", offsetof(struct run_opts, health_on_failure), " none kill restart " } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(sets); i++) {
		const char *value = *(const char *const *)((const char *)o + sets[i].at);
		if (value && (!*value || strchr(value, ' ') || !strstr(sets[i].words, arena_printf(b->a, " %s ", value))))
			r = err_set(e, -EINVAL, "%s \"%s\" is not one of:%.*s", sets[i].option, value, (int)strlen(sets[i].words) - 1, sets[i].words);
	}
	if (r == 0 && o->health_on_failure && streq(o->health_on_failure, "restart") && (!o->restart || streq(o->restart, "no")))
		r = err_set(e, -EINVAL, "--health-on-failure restart needs --restart");
	for (size_t i = 0; r == 0 && i < o->group_add.n; i++)
		if (streq(o->group_add.v[i], "keep-groups") && o->group_add.n > 1)
			r = err_set(e, -EINVAL, "--group-add keep-groups cannot be combined with other groups");
	return r < 0 ? r : bundle_block_io(b, e);
}

int labels_from_files(struct people *p, struct run_opts *o, struct err *e) {
	for (size_t i = 0; i < o->label_file.n; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		int r = file_read_at(AT_FDCWD, o->label_file.v[i], &text, LABEL_FILE_MAX);
		if (r < 0)
			return err_sys(e, r, "--label-file %s", o->label_file.v[i]);
		for (char *save = NULL, *line = text.len ? strtok_r(text.s, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
			line += strspn(line, " \t");
			if (!*line || *line == '#')
				continue;
			const char **v = reallocarray(o->label.v, o->label.n + 1, sizeof(*v));
			if (!v)
				return oom(e);
			/* Before those of the command line, which win. */
			memmove(v + 1, v, o->label.n * sizeof(*v));
			v[0] = arena_strdup(&p->arena, line);
			o->label = (struct opt_list){ v, o->label.n + 1 };
		}
	}
	o->label_file.n = 0;
	return 0;
}

/* Container records on disk: see people.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/people.h"
#include "cmd/tierce/people/rootless.h"
#include "store/store.h"
#include "sys/fd.h"
#include "sys/userns.h"

enum { RECORD_MAX = 4 << 20 }; /* bytes of container.json */

static int make_dirs(const char *base, const char *const *names, mode_t mode, struct err *e) {
	char path[4096];
	for (; *names; names++) {
		snprintf(path, sizeof(path), "%s%s%s", base, **names ? "/" : "", *names);
		if (mkdir(path, mode) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make %s", path);
	}
	return 0;
}

static const char *program_folder(struct people *p) {
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return "/usr/local/libexec/tierce";
	self[n] = '\0';
	p->self = arena_strdup(&p->arena, self);
	char *slash = strrchr(self, '/');
	*slash = '\0';
	/* Installed, the helper programs are in ../libexec/tierce; in the build folder links to all programs lie at its top. */
	static const char *const places[] = { "../libexec/tierce", ".", "../../.." };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const char *monitor = arena_printf(&p->arena, "%s/%s/tierce-monitor", self, places[i]);
		if (monitor && access(monitor, X_OK) == 0)
			return arena_printf(&p->arena, "%s/%s", self, places[i]);
	}
	return arena_printf(&p->arena, "%s/%s", self, places[0]);
}

int people_paths(struct people *p, const char *root, const char *runroot, struct err *e) {
	const char *xdg_data = getenv("XDG_DATA_HOME"), *home = getenv("HOME"), *run = "/run";
	p->rootless = is_rootless();
	if (p->rootless && !(run = rootless_runtime_dir(&p->arena, e)))
		return -EPERM;
	if (root)
		p->data_dir = root[0] == '/' ? root : arena_strdup(&p->arena, realpath(root, NULL) ?: root);
	else if (!p->rootless)
		p->data_dir = "/var/lib/tierce";
	else
		p->data_dir = xdg_data ? arena_printf(&p->arena, "%s/tierce", xdg_data) : arena_printf(&p->arena, "%s/.local/share/tierce", home ? home : "/tmp");
	if (runroot)
		p->run_dir = runroot;
	else if (root)
		/* A store of its own gets a run directory of its own; short, for socket paths have 107 bytes. */
		p->run_dir = arena_printf(&p->arena, "%s/tierce-people.%08x", run, (unsigned)({ unsigned h = 5381; for (const char *s = p->data_dir; *s; s++) h = h * 33 + (unsigned char)*s; h; }));
	else
		p->run_dir = arena_printf(&p->arena, "%s/tierce-people", run);
	return p->data_dir && p->run_dir ? 0 : err_sys(e, -ENOMEM, "start");
}

int people_enter(const char *root, const char *runroot, struct err *e) {
	struct people p = { .arena = ARENA_INIT };
	int r = people_paths(&p, root, runroot, e);
	if (r == 0)
		r = make_dirs(p.run_dir, (const char *const[]){ "", NULL }, 0700, e);
	if (r == 0)
		r = rootless_enter(p.run_dir, e);
	arena_free(&p.arena);
	return r;
}

int people_open(struct people *p, const char *root, const char *runroot, struct err *e) {
	static char engine_root[512];
	int r = people_paths(p, root, runroot, e);
	if (r < 0)
		return r;
	/* parents first: .local/share may be missing */
	char path[4096];
	for (size_t i = 1; p->data_dir[i]; i++) {
		if (p->data_dir[i] != '/')
			continue;
		snprintf(path, sizeof(path), "%.*s", (int)i, p->data_dir);
		mkdir(path, 0755);
	}
	r = make_dirs(p->data_dir, (const char *const[]){ "", "containers", "names", "volumes", "secrets", "networks", "pods", NULL }, 0700, e);
	if (r == 0)
		r = make_dirs(p->run_dir, (const char *const[]){ "", "netns", NULL }, 0700, e);
	if (r < 0)
		return r;
	r = engine_default_root(engine_root, sizeof(engine_root), e);
	if (r < 0)
		return r;
	p->state_root = root || runroot || (p->rootless && !getenv("XDG_RUNTIME_DIR")) ? arena_printf(&p->arena, "%s/engine", p->run_dir) : engine_root;
	p->eng.root = p->state_root;
	p->eng.root_default = p->state_root == engine_root;
	p->eng.rootless = p->rootless;
	p->libexec = program_folder(p);
	p->cni.conf[0] = arena_printf(&p->arena, "%s/networks", p->data_dir);
	p->cni.conf[1] = "/etc/cni/net.d";
	p->cni.cache = arena_printf(&p->arena, "%s/cni", p->run_dir);
	return p->cni.conf[0] && p->cni.cache && p->libexec ? 0 : err_sys(e, -ENOMEM, "start");
}

void people_close(struct people *p) {
	store_close(p->store);
	p->store = NULL;
	arena_free(&p->arena);
}

bool name_ok(const char *name) {
	if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9')))
		return false;
	for (const char *s = name; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("_.-", *s)))
			return false;
	return strlen(name) <= 128;
}

static void random_bytes(void *buf, size_t n) {
	while (getrandom(buf, n, 0) != (ssize_t)n)
		;
}

static const char *random_name(struct arena *a) {
	static const char *const left[] = { "amber", "bold", "brisk", "calm", "clever", "deft", "eager", "fair", "fleet", "gentle", "glad", "hardy", "keen", "kind", "lively", "lucid",
		"merry", "nimble", "noble", "patient", "plain", "proud", "quick", "quiet", "ready", "sharp", "sober", "solid", "steady", "sunny", "tidy", "witty" };
	static const char *const right[] = { "anvil", "badger", "beacon", "birch", "brook", "cedar", "cooper", "crane", "delta", "ember", "falcon", "fjord", "garnet", "harbor", "heron", "iris",
		"juniper", "kestrel", "lantern", "maple", "marten", "mason", "otter", "pier", "quarry", "raven", "rowan", "sable", "tern", "thistle", "weaver", "wren" };
	uint16_t r[3];
	random_bytes(r, sizeof(r));
	return arena_printf(a, "%s_%s%u", left[r[0] % ARRAY_SIZE(left)], right[r[1] % ARRAY_SIZE(right)], r[2] % 1000u);
}

static const char *rfc3339(struct arena *a) {
	struct timespec ts;
	struct tm tm;
	char day[32];
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	return arena_printf(a, "%s.%09ldZ", day, ts.tv_nsec);
}

static int open_dir(const char *path) {
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pctr_save(struct pctr *c, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 1);
	jw_object(&w);
	jw_kv_string(&w, "id", c->id);
	jw_kv_string(&w, "name", c->name);
	jw_kv_string(&w, "created", c->created);
	jw_kv_string(&w, "image", c->image);
	jw_kv_string(&w, "imageId", c->image_id);
	if (c->pod_id)
		jw_kv_string(&w, "pod", c->pod_id);
	jw_key(&w, "options");
	run_opts_write(&w, &c->opts);
	jw_key(&w, "command");
	jw_array(&w);
	for (size_t i = 0; i < c->n_command; i++)
		jw_string(&w, c->command[i]);
	jw_array_end(&w);
	if (c->image_config) {
		jw_key(&w, "imageConfig");
		jw_value(&w, c->image_config);
	}
	jw_object_end(&w);
	int r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write container.json");
	_cleanup_close_ int dir = open_dir(c->dir);
	r = dir < 0 ? dir : file_replace_at(dir, "container.json", b.s, b.len, 0600, 1);
	return r < 0 ? err_sys(e, r, "write %s/container.json", c->dir) : 0;
}

static int take_name(struct people *p, const char *name, const char *id, struct err *e) {
	char link[4096], target[128], old[256];
	snprintf(link, sizeof(link), "%s/names/%s", p->data_dir, name);
	snprintf(target, sizeof(target), "../containers/%s", id);
	for (int tries = 0; tries < 2; tries++) {
		if (symlink(target, link) == 0)
			return 0;
		if (errno != EEXIST)
			return err_sys(e, errno, "take the name %s", name);
		ssize_t n = readlink(link, old, sizeof(old) - 1);
		old[n > 0 ? n : 0] = '\0';
		/* A name whose container is gone is left over from a crash. */
		char record[4352];
		snprintf(record, sizeof(record), "%s/names/%s/container.json", p->data_dir, name);
		if (access(record, F_OK) == 0 || errno != ENOENT)
			break;
		unlink(link);
	}
	const char *owner = strrchr(old, '/');
	return err_set(e, -EEXIST, "the container name \"%s\" is already in use by %.12s. You have to remove (or rename) that container to be able to reuse that name", name,
		owner ? owner + 1 : "another container");
}

int pctr_create(struct people *p, const struct run_opts *o, const char *image, const char *image_id, struct json *image_config, const char *const *command, size_t n_command,
	struct pctr **ret, struct err *e) {
	struct arena *a = &p->arena;
	struct pctr *c = arena_new(a, struct pctr);
	uint8_t raw[32];
	char id[65];
	if (!c)
		return err_sys(e, -ENOMEM, "create container");
	random_bytes(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(id + 2 * i, 3, "%02x", raw[i]);
	*c = (struct pctr){ .p = p, .id = arena_strdup(a, id), .image = image ? image : "", .image_id = image_id ? image_id : "", .opts = *o, .image_config = image_config,
		.command = command, .n_command = n_command, .created = rfc3339(a), .state = "created", .pod_id = o->pod };
	c->dir = arena_printf(a, "%s/containers/%s", p->data_dir, id);
	c->name = o->name;
	if (c->name && !name_ok(c->name))
		return err_set(e, -EINVAL, "invalid container name \"%.80s\" (letters, digits, then also _ . -)", c->name);
	if (mkdir(c->dir, 0700) < 0)
		return err_sys(e, errno, "make %s", c->dir);
	int r;
	do {
		if (!o->name)
			c->name = random_name(a);
		r = take_name(p, c->name, c->id, e);
	} while (r == -EEXIST && !o->name);
	if (r == 0) {
		r = pctr_save(c, e);
		if (r < 0) {
			char link[4096];
			snprintf(link, sizeof(link), "%s/names/%s", p->data_dir, c->name);
			unlink(link);
		}
	}
	if (r < 0) {
		remove_tree(AT_FDCWD, c->dir, NULL);
		return r;
	}
	*ret = c;
	return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------- */

static bool monitor_alive(struct people *p, const char *monitor) {
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s/lock", p->run_dir, monitor);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	/* A shared lock is refused exactly while the monitor holds its exclusive one. */
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

void pctr_refresh(struct pctr *c) {
	_cleanup_close_ int dir = open_dir(c->dir);
	struct ctr *k = NULL;
	if (dir < 0 || monitor_status_read(&c->p->arena, dir, &c->status) < 0)
		c->status = (struct monitor_status){ .state = "created" };
	c->monitored = monitor_alive(c->p, c->pod_id ? c->pod_id : c->id);
	c->pid = 0;
	c->state = c->status.state;
	if (ctr_open(&c->p->eng, c->id, 0, &k, NULL) == 0) {
		enum ctr_status s = ctr_status(k);
		c->pid = ctr_live_pid(k);
		if (s == CTR_RUNNING || s == CTR_PAUSED)
			c->state = s == CTR_PAUSED ? "paused" : "running";
		ctr_free(k);
	}
	if (!c->pid && (streq(c->state, "running") || streq(c->state, "paused") || (streq(c->state, "restarting") && !c->monitored)))
		c->state = "exited";
}

static int load(struct people *p, const char *id, struct pctr **ret, struct err *e) {
	struct arena *a = &p->arena;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct json *j;
	size_t n = 0;
	struct pctr *c = arena_new(a, struct pctr);
	const char *dir = arena_printf(a, "%s/containers/%s", p->data_dir, id);
	if (!c || !dir)
		return err_sys(e, -ENOMEM, "read container");
	_cleanup_close_ int fd = open_dir(dir);
	int r = fd < 0 ? fd : file_read_at(fd, "container.json", &text, RECORD_MAX);
	if (r < 0)
		return r == -ENOENT ? err_set(e, -ENOENT, "no such container %s", id) : err_sys(e, r, "read %s/container.json", dir);
	r = json_parse(a, text.s, text.len, &j, e);
	if (r < 0)
		return err_wrap(e, r, "%s/container.json", dir);
	*c = (struct pctr){ .p = p, .id = json_str(j, "id", id), .name = json_str(j, "name", ""), .image = json_str(j, "image", ""), .image_id = json_str(j, "imageId", ""),
		.created = json_str(j, "created", ""), .dir = dir, .doc = j, .image_config = json_get(j, "imageConfig"), .pod_id = json_str(j, "pod", NULL) };
	const struct json *cmd = json_get(j, "command");
	const char **v = arena_array(a, (cmd ? cmd->len : 0) + 1, const char *);
	for (const struct json *m = json_first(cmd); m && v; m = m->next)
		if (m->type == JSON_STRING)
			v[n++] = m->text;
	c->command = v;
	c->n_command = n;
	r = run_opts_read(a, json_get(j, "options"), &c->opts, e);
	if (r < 0)
		return r;
	pctr_refresh(c);
	*ret = c;
	return 0;
}

int pctr_find(struct people *p, const char *who, struct pctr **ret, struct err *e) {
	char path[4096], target[256];
	if (!*who || strchr(who, '/'))
		return err_set(e, -ENOENT, "no container with name or ID \"%s\" found: no such container", who);
	snprintf(path, sizeof(path), "%s/names/%s", p->data_dir, who);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = '\0';
		const char *id = strrchr(target, '/');
		if (id && load(p, id + 1, ret, NULL) == 0)
			return 0;
	}
	snprintf(path, sizeof(path), "%s/containers", p->data_dir);
	DIR *d = opendir(path);
	struct dirent *ent;
	const char *found = NULL;
	size_t hits = 0;
	while (d && (ent = readdir(d))) {
		if (ent->d_name[0] == '.' || !str_has_prefix(ent->d_name, who))
			continue;
		found = arena_strdup(&p->arena, ent->d_name);
		hits++;
	}
	if (d)
		closedir(d);
	if (hits == 1)
		return load(p, found, ret, e);
	if (hits > 1)
		return err_set(e, -EINVAL, "%s is not unique: %zu containers begin with it", who, hits);
	return err_set(e, -ENOENT, "no container with name or ID \"%s\" found: no such container", who);
}

static int newest_first(const void *a, const void *b) {
	return strcmp((*(struct pctr *const *)b)->created, (*(struct pctr *const *)a)->created);
}

int pctr_list(struct people *p, struct pctr ***ret, size_t *ret_n, struct err *e) {
	char path[4096];
	size_t n = 0, cap = 0;
	struct pctr **v = NULL;
	snprintf(path, sizeof(path), "%s/containers", p->data_dir);
	DIR *d = opendir(path);
	struct dirent *ent;
	if (!d)
		return err_sys(e, errno, "read %s", path);
	while ((ent = readdir(d))) {
		struct pctr *c;
		if (ent->d_name[0] == '.' || load(p, ent->d_name, &c, NULL) < 0)
			continue;
		if (n == cap) {
			struct pctr **w = arena_array(&p->arena, cap = cap ? cap * 2 : 32, struct pctr *);
			if (!w)
				break;
			if (n)
				memcpy(w, v, n * sizeof(*v));
			v = w;
		}
		v[n++] = c;
	}
	closedir(d);
	if (n)
		qsort(v, n, sizeof(*v), newest_first);
	*ret = v;
	*ret_n = n;
	return 0;
}

/* ---- changing ------------------------------------------------------------------------------------------------------------ */

int pctr_rename(struct pctr *c, const char *name, struct err *e) {
	char old[4096];
	if (!name_ok(name))
		return err_set(e, -EINVAL, "invalid container name \"%.80s\" (letters, digits, then also _ . -)", name);
	int r = take_name(c->p, name, c->id, e);
	if (r < 0)
		return r;
	snprintf(old, sizeof(old), "%s/names/%s", c->p->data_dir, c->name);
	c->name = name;
	c->opts.name = name;
	r = pctr_save(c, e);
	unlink(r < 0 ? ({ snprintf(old, sizeof(old), "%s/names/%s", c->p->data_dir, name); old; }) : old);
	return r;
}

int remove_tree(int dirfd, const char *name, struct err *e) {
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "open %s", name);
	DIR *d = fdopendir(fd);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		if (streq(ent->d_name, ".") || streq(ent->d_name, ".."))
			continue;
		if (unlinkat(fd, ent->d_name, 0) == 0)
			continue;
		if (errno == EISDIR || errno == EPERM) {
			int k = remove_tree(fd, ent->d_name, e);
			r = r < 0 ? r : k;
		} else if (errno != ENOENT && r == 0) {
			r = err_sys(e, errno, "remove %s", ent->d_name);
		}
	}
	if (d)
		closedir(d);
	else
		close(fd);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = err_sys(e, errno, "remove %s", name);
	return r;
}

int pctr_forget(struct pctr *c, struct err *e) {
	char path[4096], gone[4096];
	/* First the record's name: from here on the container does not exist; what a crash leaves is an unnamed directory that `system prune` removes. */
	snprintf(path, sizeof(path), "%s/container.json", c->dir);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove %s", path);
	snprintf(path, sizeof(path), "%s/names/%s", c->p->data_dir, c->name);
	unlink(path);
	snprintf(gone, sizeof(gone), "%s/containers/.gone-%s", c->p->data_dir, c->id);
	int r = rename(c->dir, gone) < 0 ? err_sys(e, errno, "remove %s", c->dir) : remove_tree(AT_FDCWD, gone, e);
	snprintf(path, sizeof(path), "%s/%s", c->p->run_dir, c->id);
	remove_tree(AT_FDCWD, path, NULL);
	return r;
}

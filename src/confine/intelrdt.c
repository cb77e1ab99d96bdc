/* Intel RDT through resctrl: see intelrdt.h. Facts: Documentation/arch/x86/resctrl.rst; error texts follow runc. */
#include "confine/intelrdt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys/fd.h"
#include "wire/json.h"

enum { FILE_MAX = 64 * 1024, LINE_MAX_RDT = 4096 };

/* Mount point of resctrl, or -ENOENT. Octal escapes do not matter: nobody mounts it below a name with spaces, and then it is not found. */
static int find_root(struct strbuf *out) {
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[LINE_MAX_RDT], point[LINE_MAX_RDT];
	int r = -ENOENT;
	if (!f)
		return -errno;
	while (r == -ENOENT && fgets(line, sizeof(line), f)) {
		const char *dash = strstr(line, " - resctrl ");
		if (dash && sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1)
			r = strbuf_puts(out, point);
	}
	fclose(f);
	return r;
}

static int open_root(const char *root, struct err *e) {
	_cleanup_strbuf_ struct strbuf found = STRBUF_INIT;
	if (!root && find_root(&found) == 0)
		root = strbuf_str(&found);
	int fd = root ? open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd < 0)
		return err_set(e, -ENODEV, "intelRdt is specified in config, but Intel RDT is not supported or enabled");
	return fd;
}

/* "/" is the default CLOS; otherwise one path component. */
static int check_name(const struct oci_intel_rdt *rdt, const char *id, const char **ret, struct err *e) {
	const char *name = rdt->clos_id ?: id;
	if (rdt->clos_id && streq(name, "/")) {
		*ret = ".";
		return 0;
	}
	if (!*name || streq(name, ".") || streq(name, "..") || strchr(name, '/') || strlen(name) > NAME_MAX)
		return err_set(e, -EINVAL, "invalid intelRdt.ClosID \"%s\"", name);
	/* resctrl's own folders are no CLOS. */
	if (streq(name, "info") || streq(name, "mon_groups") || streq(name, "mon_data"))
		return err_set(e, -EINVAL, "invalid intelRdt.ClosID \"%s\"", name);
	*ret = name;
	return 0;
}

/* The kernel explains a refused write in info/last_cmd_status. */
static int rdt_error(int root, int code, struct err *e, const char *what) {
	_cleanup_strbuf_ struct strbuf status = STRBUF_INIT;
	if (file_read_at(root, "info/last_cmd_status", &status, FILE_MAX) < 0)
		return err_sys(e, code, "intelrdt: %s", what);
	char *nl = strchr(status.s, '\n');
	if (nl)
		*nl = '\0';
	return err_sys(e, code, "intelrdt: %s (last_cmd_status: %s)", what, status.s);
}

static int open_clos(int root, const char *name) {
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool wants_schemata(const struct oci_intel_rdt *r) { return r->l3_cache_schema || r->mem_bw_schema || r->schemata.n; }

/* All lines that are asked for, each with its newline. */
static int wanted(const struct oci_intel_rdt *r, struct strbuf *out) {
	const char *const first[] = { r->l3_cache_schema, r->mem_bw_schema };
	for (size_t i = 0; i < ARRAY_SIZE(first); i++)
		if (first[i])
			strbuf_printf(out, "%s\n", first[i]);
	for (size_t i = 0; i < r->schemata.n; i++)
		strbuf_printf(out, "%s\n", r->schemata.v[i]);
	return out->failed ? -ENOMEM : 0;
}

/* "L3:0=ff;1=f" -> does the line of that resource in `have` say the same for every domain that is named? Blanks around and leading zeros differ. */
static bool line_holds(const char *have, const char *line, size_t n) {
	const char *colon = memchr(line, ':', n);
	if (!colon)
		return false;
	size_t res = (size_t)(colon - line);
	const char *h = have;
	for (; h && *h; h = strchr(h, '\n') ? strchr(h, '\n') + 1 : NULL) {
		h += strspn(h, " \t");
		if (strncmp(h, line, res) == 0 && h[res] == ':')
			break;
	}
	if (!h || !*h)
		return false;
	const char *end = h + strcspn(h, "\n");
	for (const char *d = colon + 1; d < line + n;) {
		size_t len = strcspn(d, ";\n");
		unsigned long dom, got;
		char val[64], old[64];
		bool same = false;
		if (len >= sizeof(val) || sscanf(d, "%lu=%63[^;\n]", &dom, val) != 2)
			return false;
		for (const char *p = h + res + 1; p && p < end; p = strchr(p, ';') && strchr(p, ';') < end ? strchr(p, ';') + 1 : NULL)
			if (sscanf(p, "%lu=%63[^; \n]", &got, old) == 2 && got == dom)
				same = strtoul(old, NULL, 16) == strtoul(val, NULL, 16);
		if (!same)
			return false;
		d += len + 1;
	}
	return true;
}

/* A CLOS that was there already: the spec wants an error when its schemata are other than asked for. */
static int compare(int root, int clos, const struct oci_intel_rdt *rdt, const char *name, struct err *e) {
	_cleanup_strbuf_ struct strbuf have = STRBUF_INIT, want = STRBUF_INIT;
	int r = file_read_at(clos, "schemata", &have, FILE_MAX);
	if (r < 0)
		return rdt_error(root, r, e, "read schemata");
	if (wanted(rdt, &want) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	for (const char *p = strbuf_str(&want); *p; p += strcspn(p, "\n") + 1)
		if (!line_holds(have.s, p, strcspn(p, "\n")))
			return err_set(e, -EEXIST, "intelrdt: closID %s exists with other schemata than \"%.*s\"", name, (int)strcspn(p, "\n"), p);
	return 0;
}

static int write_schemata(int root, int clos, const struct oci_intel_rdt *rdt, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	if (wanted(rdt, &text) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	/* One line a write: a refused line then does not take the others' message with it. */
	for (char *p = text.s; p && *p;) {
		char *end = strchr(p, '\n'), keep = end[1];
		end[1] = '\0';
		int r = file_write_at(clos, "schemata", p);
		if (r < 0)
			return rdt_error(root, r, e, "write schemata");
		end[1] = keep;
		p = end + 1;
	}
	return 0;
}

static bool monitors(const struct oci_intel_rdt *r) { return r->enable_monitoring || r->enable_cmt || r->enable_mbm; }

/* mon_groups/<id>, which counts this container apart from others of a shared CLOS. */
static int make_monitor(int root, int clos, const char *id, struct err *e) {
	char path[NAME_MAX + 16];
	if (snprintf(path, sizeof(path), "mon_groups/%s", id) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "intelrdt: id is too long");
	if (mkdirat(clos, path, 0755) < 0 && errno != EEXIST)
		return rdt_error(root, -errno, e, "create monitoring group");
	return 0;
}

int intelrdt_create(const char *root_path, const struct oci_intel_rdt *rdt, const char *id, bool *ret_created, struct err *e) {
	const char *name;
	*ret_created = false;
	if (!rdt->set)
		return 0;
	_cleanup_close_ int root = open_root(root_path, e);
	if (root < 0)
		return root;
	int r = check_name(rdt, id, &name, e);
	if (r < 0)
		return r;
	bool there = faccessat(root, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (rdt->clos_id && !there && !wants_schemata(rdt))
		return err_set(e, -ENOENT, "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty): %s", name);
	bool made = !there && mkdirat(root, name, 0755) == 0;
	if (!there && !made && errno != EEXIST)
		return rdt_error(root, -errno, e, "create CLOS");
	_cleanup_close_ int clos = open_clos(root, name);
	if (clos < 0)
		r = rdt_error(root, clos, e, "open CLOS");
	else if (there && rdt->clos_id)
		r = compare(root, clos, rdt, name, e);
	else
		r = write_schemata(root, clos, rdt, e);
	if (r == 0 && monitors(rdt))
		r = make_monitor(root, clos, id, e);
	if (r < 0 && made)
		unlinkat(root, name, AT_REMOVEDIR);
	*ret_created = r == 0 && made;
	return r;
}

int intelrdt_join(const char *root_path, const struct oci_intel_rdt *rdt, const char *id, pid_t pid, struct err *e) {
	char task[16], path[NAME_MAX + 24];
	const char *name;
	if (!rdt->set)
		return 0;
	_cleanup_close_ int root = open_root(root_path, e);
	if (root < 0)
		return root;
	int r = check_name(rdt, id, &name, e);
	if (r < 0)
		return r;
	_cleanup_close_ int clos = open_clos(root, name);
	if (clos < 0)
		return rdt_error(root, clos, e, "open CLOS");
	snprintf(task, sizeof(task), "%d\n", (int)pid);
	r = file_write_at(clos, "tasks", task);
	if (r == 0 && monitors(rdt)) {
		snprintf(path, sizeof(path), "mon_groups/%s/tasks", id);
		r = file_write_at(clos, path, task);
	}
	return r < 0 ? rdt_error(root, r, e, "add the process to its CLOS") : 0;
}

int intelrdt_update(const char *root_path, const struct oci_intel_rdt *rdt, const char *id, const char *l3, const char *mb, struct err *e) {
	struct oci_intel_rdt next = { .set = true, .l3_cache_schema = l3, .mem_bw_schema = mb };
	const char *name;
	if (!l3 && !mb)
		return 0;
	if (!rdt->set)
		return err_set(e, -EINVAL, "Intel RDT: the container has no intelRdt section");
	_cleanup_close_ int root = open_root(root_path, e);
	if (root < 0)
		return root;
	int r = check_name(rdt, id, &name, e);
	if (r < 0)
		return r;
	_cleanup_close_ int clos = open_clos(root, name);
	return clos < 0 ? rdt_error(root, clos, e, "open CLOS") : write_schemata(root, clos, &next, e);
}

int intelrdt_delete(const char *root_path, const struct oci_intel_rdt *rdt, const char *id, bool created, struct err *e) {
	char path[NAME_MAX + 16];
	const char *name;
	if (!rdt->set)
		return 0;
	_cleanup_err_ struct err gone = ERR_INIT;
	_cleanup_close_ int root = open_root(root_path, &gone);
	if (root < 0)
		return 0; /* unmounted since: the kernel dropped every group with it */
	int r = check_name(rdt, id, &name, e);
	if (r < 0)
		return r;
	_cleanup_close_ int clos = open_clos(root, name);
	if (clos == -ENOENT)
		return 0;
	if (clos >= 0 && monitors(rdt)) {
		snprintf(path, sizeof(path), "mon_groups/%s", id);
		if (unlinkat(clos, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return rdt_error(root, -errno, e, "remove monitoring group");
	}
	/* A container's own CLOS (no closID) is ours in any case; a named one only when we made it. */
	if ((created || !rdt->clos_id) && !streq(name, ".") && unlinkat(root, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return rdt_error(root, -errno, e, "remove CLOS");
	return 0;
}

/* ---- statistics --------------------------------------------------------------------------------------------------- */

static void put_file(struct json_writer *w, int dir, const char *path, const char *key, bool number) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	uint64_t v;
	if (file_read_at(dir, path, &b, FILE_MAX) < 0 || !b.len)
		return;
	b.s[strcspn(b.s, "\n")] = '\0';
	if (!number)
		jw_kv_string(w, key, b.s);
	else if (parse_u64(b.s, &v) == 0)
		jw_kv_u64(w, key, v);
}

/* The line of one resource. */
static void put_schema(struct json_writer *w, int dir, const char *resource, const char *key) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	if (file_read_at(dir, "schemata", &b, FILE_MAX) < 0)
		return;
	for (char *p = b.s, *next; p && *p; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		p += strspn(p, " \t");
		if (strncmp(p, resource, strlen(resource)) == 0 && p[strlen(resource)] == ':')
			jw_kv_string(w, key, p);
	}
}

static void put_info(struct json_writer *w, int root, const char *folder, const char *key, const char *const *names, const bool *numbers, size_t n) {
	if (faccessat(root, folder, F_OK, 0) < 0)
		return;
	jw_key(w, key);
	jw_object(w);
	for (size_t i = 0; i < n; i++) {
		char path[64];
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		put_file(w, root, path, names[i], numbers[i]);
	}
	jw_object_end(w);
}

/* One object per L3 domain: mon_data/mon_L3_00/... */
static void put_monitor(struct json_writer *w, int dir, const char *key, const char *const *names, size_t n) {
	int fd = openat(dir, "mon_data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	jw_key(w, key);
	jw_array(w);
	while ((ent = readdir(d))) {
		if (!str_has_prefix(ent->d_name, "mon_L3_"))
			continue;
		jw_object(w);
		for (size_t i = 0; i < n; i++) {
			char path[NAME_MAX + 32];
			snprintf(path, sizeof(path), "%s/%s", ent->d_name, names[i]);
			put_file(w, dirfd(d), path, names[i], true);
		}
		jw_object_end(w);
	}
	jw_array_end(w);
	closedir(d);
}

int intelrdt_stats(const char *root_path, const struct oci_intel_rdt *rdt, const char *id, struct json_writer *w, struct err *e) {
	static const char *const l3[] = { "cbm_mask", "min_cbm_bits", "num_closids" }, *const mb[] = { "bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids" };
	static const bool l3_numbers[] = { false, true, true }, mb_numbers[] = { true, true, true, true };
	static const char *const mbm[] = { "mbm_total_bytes", "mbm_local_bytes" }, *const cmt[] = { "llc_occupancy" };
	const char *name;
	if (!rdt->set)
		return 0;
	_cleanup_close_ int root = open_root(root_path, NULL);
	if (root < 0)
		return 0;
	int r = check_name(rdt, id, &name, e);
	if (r < 0)
		return r;
	_cleanup_close_ int clos = open_clos(root, name);
	if (clos < 0)
		return clos == -ENOENT ? 0 : rdt_error(root, clos, e, "open CLOS");
	jw_key(w, "intel_rdt");
	jw_object(w);
	put_info(w, root, "info/L3", "l3_cache_info", l3, l3_numbers, ARRAY_SIZE(l3));
	put_schema(w, root, "L3", "l3_cache_schema_root");
	put_schema(w, clos, "L3", "l3_cache_schema");
	put_info(w, root, "info/MB", "mem_bw_info", mb, mb_numbers, ARRAY_SIZE(mb));
	put_schema(w, root, "MB", "mem_bw_schema_root");
	put_schema(w, clos, "MB", "mem_bw_schema");
	char path[NAME_MAX + 16];
	snprintf(path, sizeof(path), "mon_groups/%s", id);
	_cleanup_close_ int group = monitors(rdt) ? openat(clos, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -EBADF;
	put_monitor(w, group >= 0 ? group : clos, "mbm_stats", mbm, ARRAY_SIZE(mbm));
	put_monitor(w, group >= 0 ? group : clos, "cmt_stats", cmt, ARRAY_SIZE(cmt));
	jw_object_end(w);
	return 0;
}

bool intelrdt_available(const char *root_path) {
	_cleanup_close_ int root = open_root(root_path, NULL);
	return root >= 0;
}

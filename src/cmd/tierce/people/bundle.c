/* From options and image to config.json: the process, the namespaces, the resources, and the monitor's orders. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cmd/tierce/people/people.h"
#include "sys/fd.h"

static int oom(struct err *e) {
	return err_sys(e, -ENOMEM, "prepare the container");
}

/* ---- environment ------------------------------------------------------------------------------------------------------------ */

static int set_env(struct bundle *b, const char *entry, struct err *e) {
	size_t n = strcspn(entry, "=");
	for (size_t i = 0; i < b->n_env; i++) {
		if (strncmp(b->env[i], entry, n) == 0 && b->env[i][n] == '=') {
			b->env[i] = entry;
			return 0;
		}
	}
	const char **v = arena_array(b->a, b->n_env + 2, const char *);
	if (!v || !entry)
		return oom(e);
	if (b->n_env)
		memcpy(v, b->env, b->n_env * sizeof(*v));
	v[b->n_env++] = entry;
	b->env = v;
	return 0;
}

static void unset_env(struct bundle *b, const char *name) {
	size_t n = strlen(name);
	for (size_t i = 0; i < b->n_env; i++) {
		if (strncmp(b->env[i], name, n) == 0 && b->env[i][n] == '=') {
			memmove(&b->env[i], &b->env[i + 1], (b->n_env - i) * sizeof(*b->env));
			b->n_env--;
			return;
		}
	}
}

const char *bundle_env(struct bundle *b, const char *name) {
	size_t n = strlen(name);
	for (size_t i = 0; i < b->n_env; i++)
		if (strncmp(b->env[i], name, n) == 0 && b->env[i][n] == '=')
			return b->env[i] + n + 1;
	return NULL;
}

/* "NAME=VALUE"; "NAME": the host's value if it has one; "PREFIX*": all of the host's that begin so. */
static int env_word(struct bundle *b, const char *word, struct err *e) {
	if (strchr(word, '='))
		return *word == '=' ? err_set(e, -EINVAL, "--env \"%s\" lacks a name", word) : set_env(b, word, e);
	size_t n = strlen(word);
	if (n && word[n - 1] == '*') {
		for (char **p = environ; *p; p++)
			if (strncmp(*p, word, n - 1) == 0 && strchr(*p, '=')) {
				int r = set_env(b, *p, e);
				if (r < 0)
					return r;
			}
		return 0;
	}
	const char *value = getenv(word);
	return value ? set_env(b, arena_printf(b->a, "%s=%s", word, value), e) : 0;
}

enum { ENV_FILE_MAX = 4 << 20 };

static int env_file(struct bundle *b, const char *path, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = file_read_at(AT_FDCWD, path, &text, ENV_FILE_MAX);
	if (r < 0)
		return err_sys(e, r, "--env-file %s", path);
	for (char *line = text.s, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		while (*line == ' ' || *line == '\t')
			line++;
		size_t n = strlen(line);
		if (n && line[n - 1] == '\r')
			line[n - 1] = '\0';
		if (!*line || *line == '#')
			continue;
		r = env_word(b, arena_strdup(b->a, line), e);
		if (r < 0)
			return err_wrap(e, r, "--env-file %s", path);
	}
	return 0;
}

/* "PATH=${PATH}:/more": $NAME and ${NAME} are what the container has so far, nothing when it has none. */
static int merge_env(struct bundle *b, const char *word, struct err *e) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const char *eq = strchr(word, '=');
	char name[256];
	if (!eq || eq == word)
		return err_set(e, -EINVAL, "--env-merge \"%s\" is not NAME=VALUE", word);
	strbuf_printf(&out, "%.*s=", (int)(eq - word), word);
	for (const char *s = eq + 1; *s;) {
		bool brace = s[0] == '$' && s[1] == '{';
		size_t skip = brace ? 2 : 1, n = s[0] == '$' ? strspn(s + skip, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;
		if (!n || n >= sizeof(name) || (brace && s[skip + n] != '}')) {
			strbuf_putc(&out, *s++);
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)n, s + skip);
		strbuf_puts(&out, bundle_env(b, name) ? bundle_env(b, name) : "");
		s += skip + n + brace;
	}
	return out.failed ? oom(e) : set_env(b, arena_strdup(b->a, strbuf_str(&out)), e);
}

static int environment(struct bundle *b, struct err *e) {
	static const char *const proxies[] = { "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY" };
	const struct run_opts *o = &b->c->opts;
	bool proxy;
	int r = parse_bool("--http-proxy", o->http_proxy, true, &proxy, e);
	if (r == 0)
		r = set_env(b, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", e);
	if (r == 0 && o->tty)
		r = set_env(b, "TERM=xterm", e);
	if (r == 0)
		r = set_env(b, "container=tierce", e);
	for (size_t i = 0; r == 0 && proxy && i < ARRAY_SIZE(proxies); i++)
		if (getenv(proxies[i]))
			r = env_word(b, proxies[i], e);
	if (r == 0 && o->env_host)
		for (char **p = environ; *p && r == 0; p++)
			r = set_env(b, *p, e);
	for (const struct json *m = json_first(json_get(b->c->image_config, "Env")); m && r == 0; m = m->next)
		if (m->type == JSON_STRING && strchr(m->text, '=') && m->text[0] != '=')
			r = set_env(b, m->text, e);
	for (size_t i = 0; r == 0 && i < o->env_merge.n; i++)
		r = merge_env(b, o->env_merge.v[i], e);
	for (size_t i = 0; r == 0 && i < o->unsetenv.n; i++)
		unset_env(b, o->unsetenv.v[i]);
	for (size_t i = 0; r == 0 && i < o->env_file.n; i++)
		r = env_file(b, o->env_file.v[i], e);
	for (size_t i = 0; r == 0 && i < o->env.n; i++)
		r = env_word(b, o->env.v[i], e);
	return r;
}

/* ---- command ------------------------------------------------------------------------------------------------------------------ */

static size_t put_words(const char **v, size_t n, const struct json *array) {
	for (const struct json *m = json_first(array); m; m = m->next)
		if (m->type == JSON_STRING)
			v[n++] = m->text;
	return n;
}

/* --entrypoint: a JSON array, or one program name; with it the image's own command is dropped (docker's rule). */
static int command(struct bundle *b, struct err *e) {
	const struct json *entry = json_get(b->c->image_config, "Entrypoint"), *cmd = json_get(b->c->image_config, "Cmd");
	const char *given = b->c->opts.entrypoint;
	struct json *parsed = NULL;
	size_t max = b->c->n_command + (entry ? entry->len : 0) + (cmd ? cmd->len : 0) + 8, n = 0;
	if (given && *given == '[') {
		int r = json_parse(b->a, given, strlen(given), &parsed, e);
		if (r < 0)
			return err_wrap(e, r, "--entrypoint");
		max += parsed->len;
	}
	const char **v = arena_array(b->a, max, const char *);
	if (!v)
		return oom(e);
	if (b->c->opts.init)
		n = put_words(v, n, NULL), v[n++] = "/run/.tierce-init", v[n++] = "--";
	size_t before = n;
	if (parsed)
		n = put_words(v, n, parsed);
	else if (given && *given)
		v[n++] = given;
	else if (!given)
		n = put_words(v, n, entry);
	if (b->c->n_command)
		for (size_t i = 0; i < b->c->n_command; i++)
			v[n++] = b->c->command[i];
	else if (!given)
		n = put_words(v, n, cmd);
	if (n == before)
		return err_set(e, -EINVAL, "no command or entrypoint provided, and no CMD or ENTRYPOINT from image");
	b->g.args = v;
	return 0;
}

/* ---- user, capabilities, limits --------------------------------------------------------------------------------------------- */

static int capability_word(const char *option, const char *word, uint64_t *ret, struct err *e) {
	char name[64];
	if (!strcasecmp(word, "all")) {
		*ret = ~(uint64_t)0;
		return 0;
	}
	snprintf(name, sizeof(name), "%s%s", strncasecmp(word, "CAP_", 4) ? "CAP_" : "", word);
	int n = oci_capability_number(name);
	if (n < 0)
		return err_set(e, -EINVAL, "%s: unknown capability \"%s\" (see capabilities(7))", option, word);
	*ret = (uint64_t)1 << n;
	return 0;
}

static int capabilities(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	uint64_t caps = o->privileged ? ~(uint64_t)0 : specgen_default_caps(), bit = 0, added = 0;
	int r = 0;
	/* ALL first, single ones after it, whatever the order on the command line: podman's rule. */
	for (size_t pass = 0; pass < 2; pass++) {
		for (size_t i = 0; r == 0 && i < o->cap_add.n; i++) {
			r = capability_word("--cap-add", o->cap_add.v[i], &bit, e);
			if (r == 0 && (bit == ~(uint64_t)0) == (pass == 0)) {
				caps |= bit;
				added |= bit;
			}
		}
		for (size_t i = 0; r == 0 && i < o->cap_drop.n; i++) {
			r = capability_word("--cap-drop", o->cap_drop.v[i], &bit, e);
			if (r == 0 && bit == ~(uint64_t)0 && pass == 0)
				caps = added & ~(uint64_t)0;
			else if (r == 0 && bit != ~(uint64_t)0 && pass == 1)
				caps &= ~bit;
		}
	}
	/* --cap-drop ALL --cap-add X leaves X. */
	for (size_t i = 0; r == 0 && i < o->cap_add.n; i++)
		if (capability_word("--cap-add", o->cap_add.v[i], &bit, NULL) == 0 && bit != ~(uint64_t)0) {
			bool dropped = false;
			for (size_t k = 0; k < o->cap_drop.n; k++) {
				uint64_t d = 0;
				dropped |= capability_word("--cap-drop", o->cap_drop.v[k], &d, NULL) == 0 && d == bit;
			}
			if (!dropped)
				caps |= bit;
		}
	b->g.caps = caps;
	b->g.ambient_caps = b->g.uid != 0 && added != ~(uint64_t)0 ? added & caps : 0;
	return r;
}

static int ulimits(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	for (size_t i = 0; i < o->ulimit.n; i++) {
		const char *s = o->ulimit.v[i], *eq = strchr(s, '=');
		char type[48];
		if (streq(s, "host"))
			continue;
		if (!eq || eq - s > 24)
			return err_set(e, -EINVAL, "--ulimit \"%s\" is not NAME=SOFT[:HARD]", s);
		snprintf(type, sizeof(type), "RLIMIT_%.*s", (int)(eq - s), s);
		for (char *p = type; *p; p++)
			*p = *p >= 'a' && *p <= 'z' ? *p - 32 : *p;
		if (oci_rlimit_number(type) < 0)
			return err_set(e, -EINVAL, "--ulimit \"%s\": unknown limit (see getrlimit(2))", s);
		int64_t v[2];
		char *numbers = arena_strdup(b->a, eq + 1), *colon = strchr(numbers, ':');
		if (colon)
			*colon++ = '\0';
		for (int k = 0; k < 2; k++) {
			const char *t = k == 0 || !colon ? numbers : colon;
			if (streq(t, "unlimited"))
				v[k] = -1;
			else if (parse_i64(t, &v[k]) < 0 || v[k] < -1)
				return err_set(e, -EINVAL, "--ulimit \"%s\": \"%s\" is no limit", s, t);
		}
		if (b->g.n_rlimits == ARRAY_SIZE(b->rlimits))
			return err_set(e, -E2BIG, "too many --ulimit options");
		b->rlimits[b->g.n_rlimits++] = (struct specgen_rlimit){ arena_strdup(b->a, type), (uint64_t)v[0], (uint64_t)v[1] };
	}
	b->g.rlimits = b->rlimits;
	return 0;
}

static int security(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	struct oci_map_entry *annotations = arena_array(b->a, o->annotation.n + o->security_opt.n + 4, struct oci_map_entry);
	size_t n = 0;
	if (!annotations)
		return oom(e);
	for (size_t i = 0; i < o->group_add.n; i++)
		if (streq(o->group_add.v[i], "keep-groups"))
			annotations[n++] = (struct oci_map_entry){ "run.oci.keep_original_groups", "1" };
	for (size_t i = 0; i < o->security_opt.n; i++) {
		char *s = arena_strdup(b->a, o->security_opt.v[i]);
		char *eq = s + strcspn(s, "=:");
		char *value = *eq ? eq + 1 : NULL;
		*eq = '\0';
		if (streq(s, "no-new-privileges")) {
			int r = parse_bool("--security-opt no-new-privileges", value, true, &b->g.no_new_privileges, e);
			if (r < 0)
				return r;
		} else if (streq(s, "seccomp") && value) {
			if (streq(value, "unconfined")) {
				b->g.seccomp = SPECGEN_SECCOMP_UNCONFINED;
				continue;
			}
			struct strbuf text = STRBUF_INIT;
			int r = file_read_at(AT_FDCWD, value, &text, OCI_CONFIG_MAX);
			if (r < 0)
				return err_sys(e, r, "--security-opt seccomp=%s", value);
			b->g.seccomp = SPECGEN_SECCOMP_FILE;
			b->g.seccomp_json = arena_strdup(b->a, strbuf_str(&text));
			strbuf_free(&text);
		} else if (streq(s, "apparmor") && value) {
			b->g.apparmor = streq(value, "unconfined") ? NULL : value;
		} else if (streq(s, "label") && value) {
			/* nothing to disable where nothing is on; labels themselves are made by no one here (docs/limits.md) */
			if (!streq(value, "disable"))
				return err_set(e, -ENOTSUP, "--security-opt label=%s: SELinux labels are not supported (label=disable is)", value);
		} else if ((streq(s, "mask") || streq(s, "unmask")) && value) {
			const char **list = arena_array(b->a, strlen(value) / 2 + 2, const char *);
			size_t k = 0;
			if (streq(s, "unmask") && !strcasecmp(value, "all"))
				b->g.no_default_masks = true;
			for (char *save = NULL, *w = strtok_r(value, ":", &save); w && list; w = strtok_r(NULL, ":", &save))
				list[k++] = w;
			if (streq(s, "mask"))
				b->g.extra_masked = list;
			else
				b->g.unmask = list;
		} else if (streq(s, "landlock") && value) {
			annotations[n++] = (struct oci_map_entry){ "dev.tierce.landlock", value };
		} else {
			return err_set(e, -EINVAL, "--security-opt \"%s\" is not known (seccomp, apparmor, label, no-new-privileges, mask, unmask, landlock)", o->security_opt.v[i]);
		}
	}
	for (size_t i = 0; i < o->annotation.n; i++) {
		const char *eq = strchr(o->annotation.v[i], '=');
		if (!eq || eq == o->annotation.v[i])
			return err_set(e, -EINVAL, "--annotation \"%s\" is not KEY=VALUE", o->annotation.v[i]);
		annotations[n++] = (struct oci_map_entry){ arena_strndup(b->a, o->annotation.v[i], (size_t)(eq - o->annotation.v[i])), eq + 1 };
	}
	b->g.annotations = (struct oci_map){ annotations, n };
	return 0;
}

int bundle_process(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	struct user_pick user;
	const char *who = o->user ? o->user : json_str(b->c->image_config, "User", "");
	/* keep-id: the caller's own number, unless a user was named. */
	if (b->ids.keep_id && !o->user)
		who = arena_printf(b->a, "%u:%u", b->ids.uid, b->ids.gid);
	for (size_t i = 0; o->user && i < o->hostuser.n; i++) {
		const struct passwd *pw = streq(o->user, o->hostuser.v[i]) ? getpwnam(o->user) : NULL;
		if (pw)
			who = arena_printf(b->a, "%u:%u", pw->pw_uid, pw->pw_gid);
	}
	int r = environment(b, e);
	if (r == 0)
		r = command(b, e);
	if (r == 0)
		r = user_lookup(b->a, b->rootfs, who, &o->group_add, &user, e);
	if (r < 0)
		return r;
	b->g.uid = user.uid;
	b->g.gid = user.gid;
	b->g.groups = user.groups;
	b->g.n_groups = user.n_groups;
	b->g.umask = 022;
	if (o->umask) {
		uint64_t mask;
		if (parse_u64_base(o->umask, 8, &mask) < 0 || mask > 0777)
			return err_set(e, -EINVAL, "--umask \"%s\" is no octal mask", o->umask);
		b->g.umask = (int64_t)mask;
	}
	if (!bundle_env(b, "HOME") && (r = set_env(b, arena_printf(b->a, "HOME=%s", user.home), e)) < 0)
		return r;
	const char *dir = json_str(b->c->image_config, "WorkingDir", "");
	b->g.cwd = o->workdir ? o->workdir : *dir ? dir : "/";
	if (b->g.cwd[0] != '/')
		return err_set(e, -EINVAL, "--workdir \"%s\" is not absolute", b->g.cwd);
	b->g.terminal = o->tty;
	/* The program may ask for the size before a resize could reach it. */
	struct winsize ws;
	if (o->tty && (ioctl(0, TIOCGWINSZ, &ws) == 0 || ioctl(1, TIOCGWINSZ, &ws) == 0)) {
		b->g.console_rows = ws.ws_row;
		b->g.console_cols = ws.ws_col;
	}
	r = capabilities(b, e);
	if (r == 0)
		r = ulimits(b, e);
	if (r == 0)
		r = security(b, e);
	if (r == 0 && b->g.hostname && !bundle_env(b, "HOSTNAME"))
		r = set_env(b, arena_printf(b->a, "HOSTNAME=%s", b->g.hostname), e);
	b->g.env = b->env;
	return r;
}

/* ---- namespaces --------------------------------------------------------------------------------------------------------------- */

/* "private", "host", "ns:PATH", "container:ID" for one kind. */
static int mode_of(struct bundle *b, const char *option, const char *mode, int flag, const char *proc_name, const char **path, struct err *e) {
	struct pctr *other;
	if (!mode || streq(mode, "private") || streq(mode, "shareable") || !*mode) {
		b->g.new_ns |= flag;
		return 0;
	}
	if (streq(mode, "host"))
		return 0;
	if (str_has_prefix(mode, "ns:")) {
		*path = mode + 3;
		return 0;
	}
	if (str_has_prefix(mode, "container:")) {
		int r = pctr_find(b->c->p, mode + 10, &other, e);
		if (r < 0)
			return err_wrap(e, r, "%s", option);
		if (!other->pid)
			return err_set(e, -ESRCH, "%s: container %s is not running", option, other->name);
		*path = arena_printf(b->a, "/proc/%d/ns/%s", (int)other->pid, proc_name);
		return *path ? 0 : oom(e);
	}
	return err_set(e, -EINVAL, "%s \"%s\" is not one of private, host, container:ID, ns:PATH", option, mode);
}

static int user_namespace(struct bundle *b, struct err *e) {
	struct userns_plan plan;
	int r = userns_plan(b->c, &plan, e);
	if (r < 0)
		return r;
	b->g.user_path = plan.path;
	b->ids = plan;
	if (plan.own) {
		b->g.uid_map = plan.uids.v;
		b->g.n_uid_map = plan.uids.n;
		b->g.gid_map = plan.gids.v;
		b->g.n_gid_map = plan.gids.n;
		/* With a network namespace there is one already, which owns it. */
		const char *made = net_userns_path(b->c);
		if (b->netns && made && access(made, F_OK) == 0)
			b->g.user_path = made;
		else
			b->g.new_ns |= CLONE_NEWUSER;
	}
	return 0;
}

int bundle_namespaces(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	int r = mode_of(b, "--pid", o->pid, CLONE_NEWPID, "pid", &b->g.pid_path, e);
	if (r == 0)
		r = mode_of(b, "--ipc", o->ipc, CLONE_NEWIPC, "ipc", &b->g.ipc_path, e);
	if (r == 0)
		r = mode_of(b, "--uts", o->uts, CLONE_NEWUTS, "uts", &b->g.uts_path, e);
	if (r == 0)
		r = mode_of(b, "--cgroupns", o->cgroupns, CLONE_NEWCGROUP, "cgroup", &b->g.cgroup_path, e);
	if (r == 0)
		r = user_namespace(b, e);
	if (r < 0)
		return r;
	if (b->c->pod_id) {
		const char *ns = arena_printf(b->a, "%s/%s/ns", b->c->p->run_dir, b->c->pod_id);
		b->g.new_ns &= ~(CLONE_NEWIPC | CLONE_NEWUTS);
		b->g.ipc_path = arena_printf(b->a, "%s/ipc", ns);
		b->g.uts_path = arena_printf(b->a, "%s/uts", ns);
		b->g.shm_path = arena_printf(b->a, "%s/shm", ns);
		if (!ns || !b->g.ipc_path || !b->g.uts_path || !b->g.shm_path)
			return oom(e);
	}
	b->g.ipc_host = o->ipc && streq(o->ipc, "host");
	if (b->netns)
		b->g.net_path = b->netns;
	bool own_uts = (b->g.new_ns & CLONE_NEWUTS) != 0;
	if (o->hostname && !own_uts && !b->g.uts_path)
		return err_set(e, -EINVAL, "--hostname needs a UTS namespace of its own (without --uts host)");
	b->g.hostname = own_uts ? (o->hostname ? o->hostname : arena_strndup(b->a, b->c->id, 12)) : NULL;
	b->g.domainname = own_uts ? o->domainname : NULL;
	return 0;
}

/* ---- resources ------------------------------------------------------------------------------------------------------------------ */

static int cpu_resources(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	int64_t v;
	int r = 0;
	if (o->cpus) {
		char *end;
		double n = strtod(o->cpus, &end);
		if (*end || end == o->cpus || !(n > 0) || n > 8192)
			return err_set(e, -EINVAL, "--cpus \"%s\" is no number of CPUs (for instance 1.5)", o->cpus);
		if (o->cpu_quota || o->cpu_period)
			return err_set(e, -EINVAL, "--cpus cannot be combined with --cpu-quota or --cpu-period");
		b->g.cpu_period = 100000;
		b->g.cpu_quota = (int64_t)(n * 100000);
	}
	if (o->cpu_shares && (r = parse_number("--cpu-shares", o->cpu_shares, 0, 262144, &v, e)) == 0)
		b->g.cpu_shares = (uint64_t)v;
	if (r == 0 && o->cpu_period && (r = parse_number("--cpu-period", o->cpu_period, 1000, 1000000, &v, e)) == 0)
		b->g.cpu_period = (uint64_t)v;
	if (r == 0 && o->cpu_quota && (r = parse_number("--cpu-quota", o->cpu_quota, -1, INT64_MAX, &v, e)) == 0)
		b->g.cpu_quota = v;
	b->g.cpuset_cpus = o->cpuset_cpus;
	b->g.cpuset_mems = o->cpuset_mems;
	return r;
}

int bundle_resources(struct bundle *b, struct err *e) {
	const struct run_opts *o = &b->c->opts;
	int64_t v;
	int r = cpu_resources(b, e);
	b->g.memory_swappiness = -1;
	if (r == 0 && o->memory)
		r = parse_size("--memory", o->memory, &b->g.memory, e);
	if (r == 0 && o->memory_swap)
		r = parse_size("--memory-swap", o->memory_swap, &b->g.memory_swap, e);
	if (r == 0 && o->memory_reservation)
		r = parse_size("--memory-reservation", o->memory_reservation, &b->g.memory_reservation, e);
	if (r == 0 && o->memory_swappiness)
		r = parse_number("--memory-swappiness", o->memory_swappiness, -1, 100, &b->g.memory_swappiness, e);
	if (r == 0 && o->kernel_memory)
		return err_set(e, -ENOTSUP, "--kernel-memory: no kernel since 5.16 has this limit; use --memory");
	if (r < 0)
		return r;
	if (b->g.memory > 0 && !o->memory_swap && b->g.memory <= INT64_MAX / 2)
		b->g.memory_swap = b->g.memory * 2;
	if (b->g.memory > 0 && b->g.memory_swap > 0 && b->g.memory_swap < b->g.memory)
		return err_set(e, -EINVAL, "--memory-swap is the sum of memory and swap: it cannot be below --memory");
	b->g.oom_kill_disable = o->oom_kill_disable;
	b->g.pids_limit = 2048;
	if (o->pids_limit && (r = parse_number("--pids-limit", o->pids_limit, -1, 1 << 22, &v, e)) == 0)
		b->g.pids_limit = v == 0 ? -1 : v;
	if (b->c->p->rootless && !o->pids_limit)
		b->g.pids_limit = 0;
	if (r == 0 && o->blkio_weight && (r = parse_number("--blkio-weight", o->blkio_weight, 10, 1000, &v, e)) == 0)
		b->g.blkio_weight = (uint16_t)v;
	if (r == 0)
		r = bundle_block_io(b, e);
	if (r == 0 && o->oom_score_adj && (r = parse_number("--oom-score-adj", o->oom_score_adj, -1000, 1000, &v, e)) == 0) {
		b->g.oom_score_adj = v;
		b->g.oom_score_adj_set = true;
	}
	if (r == 0 && o->shm_size) {
		r = parse_size("--shm-size", o->shm_size, &v, e);
		if (r == 0 && v <= 0)
			return err_set(e, -EINVAL, "--shm-size \"%s\" must be above zero", o->shm_size);
		b->g.shm_size = r == 0 ? (uint64_t)v : 0;
	}
	const struct { const char *option; const struct opt_list *l; struct oci_map *to; } maps[] = {
		{ "--sysctl", &o->sysctl, &b->g.sysctl }, { "--cgroup-conf", &o->cgroup_conf, &b->g.unified } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(maps); i++) {
		struct oci_map_entry *m = arena_array(b->a, maps[i].l->n + 1, struct oci_map_entry);
		if (!m)
			return oom(e);
		for (size_t k = 0; k < maps[i].l->n; k++) {
			const char *s = maps[i].l->v[k], *eq = strchr(s, '=');
			if (!eq || eq == s)
				return err_set(e, -EINVAL, "%s \"%s\" is not KEY=VALUE", maps[i].option, s);
			m[k] = (struct oci_map_entry){ arena_strndup(b->a, s, (size_t)(eq - s)), eq + 1 };
		}
		*maps[i].to = (struct oci_map){ m, maps[i].l->n };
	}
	const char *parent = o->cgroup_parent ? o->cgroup_parent : b->c->p->rootless ? NULL : "/tierce";
	if (parent)
		b->g.cgroups_path = arena_printf(b->a, "%s%s/%s", parent[0] == '/' ? "" : "/", parent, b->c->id);
	return r;
}

int capabilities_check(struct bundle *b, struct err *e) {
	int r = capabilities(b, e);
	return r < 0 ? r : ulimits(b, e);
}

/* Variables of an exec: --env-file, then --env, over what is there. */
int bundle_exec_env(struct bundle *b, const struct opt_list *env, const struct opt_list *files, bool tty, struct err *e) {
	int r = tty && !bundle_env(b, "TERM") ? set_env(b, "TERM=xterm", e) : 0;
	for (size_t i = 0; r == 0 && i < files->n; i++)
		r = env_file(b, files->v[i], e);
	for (size_t i = 0; r == 0 && i < env->n; i++)
		r = env_word(b, env->v[i], e);
	return r;
}

/* Pods: records, namespaces, life. See pod.h. */
#include "cmd/tierce/people/pod.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "net/netns.h"
#include "sys/fd.h"

enum { POD_JSON_MAX = 1 << 20, POD_SHM = 64 << 20 };

static bool monitor_runs(struct people *p, const char *id) {
	char path[4200];
	snprintf(path, sizeof(path), "%s/%s/lock", p->run_dir, id);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int load(struct people *p, const char *id, struct pod **ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct pod *pod = arena_new(&p->arena, struct pod);
	const char *dir = arena_printf(&p->arena, "%s/pods/%s", p->data_dir, id), *path = arena_printf(&p->arena, "%s/pod.json", dir ? dir : "");
	struct json *j;
	if (!pod || !dir || !path)
		return err_sys(e, -ENOMEM, "read pod");
	int r = file_read_at(AT_FDCWD, path, &text, POD_JSON_MAX);
	if (r == -ENOENT)
		return err_set(e, r, "no pod with name or ID %s found: no such pod", id);
	if (r == 0)
		r = json_parse(&p->arena, text.s, text.len, &j, e);
	if (r < 0)
		return err_wrap(e, r, "read %s", path);
	*pod = (struct pod){ .p = p, .id = json_str(j, "id", id), .name = json_str(j, "name", ""), .created = json_str(j, "created", ""), .hostname = json_str(j, "hostname", NULL),
		.restart = json_str(j, "restart", NULL), .dir = dir, .doc = j, .up = monitor_runs(p, id) };
	pod->net = (struct pctr){ .p = p, .id = pod->id, .name = pod->name, .dir = dir, .image = "" };
	r = run_opts_read(&p->arena, json_get(j, "options"), &pod->net.opts, e);
	if (r == 0)
		*ret = pod;
	return r;
}

int pod_find(struct people *p, const char *who, struct pod **ret, struct err *e) {
	char path[4200], target[256];
	const char *found = NULL;
	size_t hits = 0;
	if (!*who || strchr(who, '/'))
		return err_set(e, -ENOENT, "no pod with name or ID %s found: no such pod", who);
	snprintf(path, sizeof(path), "%s/names/%s", p->data_dir, who);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = '\0';
		if (str_has_prefix(target, "../pods/"))
			return load(p, arena_strdup(&p->arena, target + 8), ret, e);
	}
	snprintf(path, sizeof(path), "%s/pods", p->data_dir);
	DIR *d = opendir(path);
	struct dirent *ent;
	while (d && (ent = readdir(d)))
		if (ent->d_name[0] != '.' && str_has_prefix(ent->d_name, who)) {
			found = arena_strdup(&p->arena, ent->d_name);
			hits++;
		}
	if (d)
		closedir(d);
	if (hits == 1)
		return load(p, found, ret, e);
	return err_set(e, hits ? -EINVAL : -ENOENT, hits ? "%s is not unique" : "no pod with name or ID %s found: no such pod", who);
}

static int newest_first(const void *a, const void *b) {
	return strcmp((*(struct pod *const *)b)->created, (*(struct pod *const *)a)->created);
}

int pod_list(struct people *p, struct pod ***ret, size_t *ret_n, struct err *e) {
	char path[4200];
	size_t n = 0, cap = 64;
	struct pod **v = arena_array(&p->arena, cap, struct pod *);
	snprintf(path, sizeof(path), "%s/pods", p->data_dir);
	DIR *d = opendir(path);
	struct dirent *ent;
	if (!d || !v)
		return err_sys(e, errno, "read %s", path);
	while ((ent = readdir(d))) {
		if (ent->d_name[0] == '.')
			continue;
		if (n == cap) {
			struct pod **w = arena_array(&p->arena, cap * 2, struct pod *);
			if (!w)
				break;
			memcpy(w, v, n * sizeof(*v));
			v = w;
			cap *= 2;
		}
		if (load(p, arena_strdup(&p->arena, ent->d_name), &v[n], NULL) == 0)
			n++;
	}
	closedir(d);
	if (n)
		qsort(v, n, sizeof(*v), newest_first);
	*ret = v;
	*ret_n = n;
	return 0;
}

int pod_create(struct people *p, const struct pod_opts *o, struct pod **ret, struct err *e) {
	uint8_t raw[32];
	char id[65], link[4200], target[128];
	struct run_opts opts = { .network = o->network, .publish = o->publish, .label = o->label, .add_host = o->add_host, .dns = o->dns, .dns_search = o->dns_search,
		.dns_option = o->dns_option, .ip = o->ip, .mac_address = o->mac_address };
	struct json_writer w;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct pctr probe = { .p = p, .id = "0", .opts = opts };
	struct net_plan plan;
	struct pod *old;
	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return err_sys(e, errno, "make an id");
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(id + 2 * i, 3, "%02x", raw[i]);
	const char *name = o->name ? o->name : arena_printf(&p->arena, "pod-%.8s", id);
	if (!name_ok(name))
		return err_set(e, -EINVAL, "invalid pod name \"%.80s\" (letters, digits, then also _ . -)", name);
	int r = net_plan(&probe, &plan, e);
	if (r == 0 && o->replace && pod_find(p, name, &old, NULL) == 0)
		r = pod_remove(old, true, e);
	if (r < 0)
		return r;
	const char *dir = arena_printf(&p->arena, "%s/pods/%s", p->data_dir, id);
	snprintf(link, sizeof(link), "%s/names/%s", p->data_dir, name);
	snprintf(target, sizeof(target), "../pods/%s", id);
	if (mkdir(dir, 0700) < 0)
		return err_sys(e, errno, "make %s", dir);
	if (symlink(target, link) < 0) {
		r = errno == EEXIST ? err_set(e, -EEXIST, "error adding pod to state: name \"%s\" is in use: pod already exists", name) : err_sys(e, errno, "take the name %s", name);
		rmdir(dir);
		return r;
	}
	struct timespec ts;
	char day[40];
	clock_gettime(CLOCK_REALTIME, &ts);
	jw_init(&w, &out, 1);
	jw_object(&w);
	jw_kv_string(&w, "id", id);
	jw_kv_string(&w, "name", name);
	jw_kv_string(&w, "created", rfc3339(ts.tv_sec, day));
	jw_kv_string(&w, "hostname", o->hostname ? o->hostname : name);
	if (o->restart)
		jw_kv_string(&w, "restart", o->restart);
	jw_key(&w, "options");
	run_opts_write(&w, &opts);
	jw_object_end(&w);
	r = jw_finish(&w);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0)
		r = fd < 0 ? -errno : file_replace_at(fd, "pod.json", out.s, out.len, 0600, 1);
	if (r < 0) {
		unlink(link);
		remove_tree(AT_FDCWD, dir, NULL);
		return err_sys(e, r, "write %s/pod.json", dir);
	}
	event_write(p, "pod", "create", id, name);
	return load(p, arena_strdup(&p->arena, id), ret, e);
}

int pod_members(struct pod *pod, struct pctr ***ret, size_t *ret_n, struct err *e) {
	struct pctr **all;
	size_t n, k = 0;
	int r = pctr_list(pod->p, &all, &n, e);
	if (r < 0)
		return r;
	struct pctr **v = arena_array(&pod->p->arena, n + 1, struct pctr *);
	if (!v)
		return err_sys(e, -ENOMEM, "list containers");
	/* pctr_list gives the newest first */
	for (size_t i = n; i-- > 0;)
		if (all[i]->pod_id && streq(all[i]->pod_id, pod->id))
			v[k++] = all[i];
	*ret = v;
	*ret_n = k;
	return 0;
}

int pod_up(struct pod *pod, struct err *e) {
	const char *run = arena_printf(&pod->p->arena, "%s/%s", pod->p->run_dir, pod->id), *ns = arena_printf(&pod->p->arena, "%s/ns", run), *net = arena_printf(&pod->p->arena, "%s/net", ns);
	const char *netns;
	struct net_plan plan;
	if (!run || !ns || !net)
		return err_sys(e, -ENOMEM, "start the pod");
	if (access(net, F_OK) == 0 && pod->up)
		return 0;
	/* left over from a crash */
	nsset_remove(ns, NULL);
	(void)!net_down(&pod->net, NULL);
	if ((mkdir(run, 0700) < 0 && errno != EEXIST) || (mkdir(ns, 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "make %s", ns);
	int r = net_plan(&pod->net, &plan, e);
	if (r == 0)
		r = net_up(&pod->net, &netns, e);
	if (r == 0)
		r = nsset_create(ns, CLONE_NEWIPC | CLONE_NEWUTS, pod->hostname, POD_SHM, e);
	/* A link for the containers, whatever the network is; a host network has none. */
	if (r == 0 && netns && *netns && symlink(netns, net) < 0)
		r = err_sys(e, errno, "make %s", net);
	if (r < 0) {
		nsset_remove(ns, NULL);
		unlink(net);
		(void)!net_down(&pod->net, NULL);
	}
	return r;
}

static void end_monitor(struct pod *pod) {
	struct pctr any = { .p = pod->p, .id = pod->id, .name = pod->name, .pod_id = pod->id };
	_cleanup_close_ int fd = pctr_connect(&any, NULL);
	if (fd >= 0)
		(void)!send(fd, "Q", 1, MSG_NOSIGNAL);
	for (int i = 0; i < 1000 && monitor_runs(pod->p, pod->id); i++)
		poll(NULL, 0, 5);
}

int pod_down(struct pod *pod, int64_t timeout_s, struct err *e) {
	struct pctr **v;
	size_t n;
	char path[4200];
	int r = pod_members(pod, &v, &n, e);
	for (size_t i = n; r == 0 && i-- > 0;)
		r = pctr_stop(v[i], timeout_s, true, e);
	if (r < 0)
		return r;
	end_monitor(pod);
	for (size_t i = 0; i < n; i++)
		(void)!pctr_cleanup(v[i], NULL);
	snprintf(path, sizeof(path), "%s/%s/ns/net", pod->p->run_dir, pod->id);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s/ns", pod->p->run_dir, pod->id);
	r = nsset_remove(path, e);
	int k = net_down(&pod->net, r == 0 ? e : NULL);
	event_write(pod->p, "pod", "stop", pod->id, pod->name);
	return r < 0 ? r : k;
}

int pod_remove(struct pod *pod, bool force, struct err *e) {
	struct pctr **v;
	size_t n;
	char path[4200];
	int r = pod_members(pod, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n && !force; i++)
		if (v[i]->pid)
			r = err_set(e, -EBUSY, "pod %s has running containers (%s): use --force", pod->name, v[i]->name);
	if (r == 0)
		r = pod_down(pod, force ? 0 : -1, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = pctr_remove(v[i], true, true, 0, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/names/%s", pod->p->data_dir, pod->name);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", pod->p->run_dir, pod->id);
	remove_tree(AT_FDCWD, path, NULL);
	event_write(pod->p, "pod", "remove", pod->id, pod->name);
	return remove_tree(AT_FDCWD, pod->dir, e);
}

int pod_resolve(struct people *p, struct run_opts *o, struct err *e) {
	struct pod *pod;
	int r;
	if (o->network.n || o->publish.n)
		return err_set(e, -EINVAL, "--network and --publish belong to the pod: give them to `pod create`");
	if (str_has_prefix(o->pod, "new:")) {
		struct pod_opts po = { .name = o->pod + 4 };
		r = pod_create(p, &po, &pod, e);
	} else {
		r = pod_find(p, o->pod, &pod, e);
	}
	if (r == 0)
		o->pod = pod->id;
	return r;
}

/* The guest's config.json. */
#include "tier/vm/guestconf.h"

#include <errno.h>

static bool is_host_namespace(const struct json *ns)
{
	/* The machine has one network, that of the pod; namespaces joined by path are the pod's, whose wall the machine is. */
	return streq(json_str(ns, "type", ""), "network") || json_str(ns, "path", NULL);
}

static void namespaces(struct json_writer *w, const struct json *list)
{
	jw_array(w);
	for (struct json *m = json_first(list); m; m = m->next)
		if (!is_host_namespace(m))
			jw_value(w, m);
	jw_array_end(w);
}

static void seccomp(struct json_writer *w, const struct json *o)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (streq(m->key, "listenerPath") || streq(m->key, "listenerMetadata"))
			continue;
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

static void linux_part(struct json_writer *w, const struct json *o)
{
	static const char *const host_only[] = { "cgroupsPath", "intelRdt", "netDevices", "rootfsPropagation", "mountLabel" };
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		bool skip = false;
		for (size_t i = 0; i < ARRAY_SIZE(host_only); i++)
			skip |= streq(m->key, host_only[i]);
		if (skip)
			continue;
		jw_key(w, m->key);
		if (streq(m->key, "namespaces"))
			namespaces(w, m);
		else if (streq(m->key, "seccomp"))
			seccomp(w, m);
		else
			jw_value(w, m);
	}
	jw_object_end(w);
}

static void process_part(struct json_writer *w, const struct json *o)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (streq(m->key, "apparmorProfile") || streq(m->key, "selinuxLabel") || streq(m->key, "oomScoreAdj"))
			continue; /* labels of the host's policy; the score is the monitor's and QEMU's on the host */
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

int guestconf_write(const struct oci_spec *s, struct strbuf *out, struct err *e)
{
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	for (struct json *m = json_first(s->json); m; m = m->next) {
		if (streq(m->key, "hooks") || streq(m->key, "root") || streq(m->key, "annotations"))
			continue;
		jw_key(&w, m->key);
		if (streq(m->key, "linux"))
			linux_part(&w, m);
		else if (streq(m->key, "process"))
			process_part(&w, m);
		else
			jw_value(&w, m);
	}
	jw_key(&w, "root");
	jw_object(&w);
	jw_key(&w, "path");
	jw_string(&w, "rootfs");
	jw_key(&w, "readonly");
	jw_bool(&w, s->root_readonly);
	jw_object_end(&w);
	jw_object_end(&w);
	return w.failed || out->failed ? err_set(e, ENOMEM, "config for the guest") : 0;
}

/* network connect and disconnect: the options of a container, and its interfaces while it runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cmd/tierce/people/netpriv.h"
#include "sys/fd.h"

static bool names(const char *word, const char *name) {
	size_t n = strlen(name);
	return strncmp(word, name, n) == 0 && (!word[n] || word[n] == ':');
}

/* The networks of a container that has bridges (or none); others cannot be changed. */
static int changeable(struct pctr *c, struct net_plan *plan, struct err *e) {
	int r = net_plan(c, plan, e);
	if (r == 0 && plan->mode != NET_BRIDGE && plan->mode != NET_NONE)
		r = err_set(e, -EINVAL, "\"%s\" is not on a bridge network: its network cannot be changed", c->name);
	return r;
}

/* net.json with one attachment less (skip) or one more (add). */
static int rewrite_state(struct pctr *c, const char *skip, const struct net_added *add, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	const struct json *old = net_state(c);
	jw_init(&w, &b, 1);
	jw_object(&w);
	jw_key(&w, "networks");
	jw_array(&w);
	for (const struct json *m = json_first(json_get(old, "networks")); m; m = m->next)
		if (!skip || !streq(json_str(m, "name", ""), skip))
			jw_value(&w, m);
	if (add)
		net_write_attachment(&w, c, NET_BRIDGE, add->name, add->word, add->ifname, &add->result);
	jw_array_end(&w);
	for (const struct json *m = json_first(old); m; m = m->next)
		if (!streq(m->key, "networks")) {
			jw_key(&w, m->key);
			jw_value(&w, m);
		}
	jw_object_end(&w);
	return net_save_state(c, &w, &b, e);
}

/* The first ethN that no attachment has. */
static const char *free_interface(struct pctr *c) {
	char name[16];
	for (unsigned i = 0;; i++) {
		bool taken = false;
		snprintf(name, sizeof(name), "eth%u", i);
		for (const struct json *m = json_first(json_get(net_state(c), "networks")); m; m = m->next)
			taken |= streq(json_str(m, "interface", ""), name);
		if (!taken)
			return arena_strdup(&c->p->arena, name);
	}
}

int net_connect(struct pctr *c, const char *name, const char *word, struct err *e) {
	struct net_plan plan;
	int r = changeable(c, &plan, e);
	for (size_t i = 0; r == 0 && i < plan.n; i++)
		if (streq(plan.names[i], name))
			return err_set(e, -EEXIST, "container %s is already connected to network \"%s\": network is already connected", c->name, name);
	if (r < 0)
		return r;
	const char **v = arena_array(&c->p->arena, plan.n + 2, const char *);
	size_t n = 0;
	if (!v)
		return err_sys(e, -ENOMEM, "connect the network");
	for (size_t i = 0; i < plan.n; i++)
		v[n++] = i < c->opts.network.n ? c->opts.network.v[i] : plan.names[i];
	v[n++] = word;
	if (c->pid) {
		const char *netns = net_path_of(c);
		struct net_added add = { .name = name, .word = word, .ifname = free_interface(c) };
		r = net_attach(c, netns, &add, e);
		if (r == 0 && (r = rewrite_state(c, NULL, &add, e)) < 0)
			net_detach(c, netns, name, add.ifname, NULL);
	}
	if (r < 0)
		return r;
	c->opts.network = (struct opt_list){ v, n };
	r = pctr_save(c, e);
	net_refresh_hosts(c->p);
	return r;
}

int net_disconnect(struct pctr *c, const char *name, struct err *e) {
	struct net_plan plan;
	int r = changeable(c, &plan, e);
	if (r < 0)
		return r;
	const char **v = arena_array(&c->p->arena, plan.n + 2, const char *);
	size_t n = 0;
	bool found = false;
	if (!v)
		return err_sys(e, -ENOMEM, "disconnect the network");
	for (size_t i = 0; i < plan.n; i++) {
		const char *word = i < c->opts.network.n ? c->opts.network.v[i] : plan.names[i];
		if (streq(plan.names[i], name) || names(word, name))
			found = true;
		else
			v[n++] = word;
	}
	if (!found)
		return err_set(e, -ENOTCONN, "container %s is not connected to network %s: network is not connected", c->name, name);
	if (n == 0)
		v[n++] = "none";
	for (const struct json *m = json_first(json_get(net_state(c), "networks")); m && r == 0; m = m->next)
		if (streq(json_str(m, "name", ""), name))
			r = net_detach(c, net_path_of(c), name, json_str(m, "interface", ""), e);
	if (r == 0 && c->pid)
		r = rewrite_state(c, name, NULL, e);
	if (r < 0)
		return r;
	c->opts.network = (struct opt_list){ v, n };
	r = pctr_save(c, e);
	net_refresh_hosts(c->p);
	return r;
}

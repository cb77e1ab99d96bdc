/* The configuration of a bridge network, and its address ranges: see cni.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "net/cni.h"
#include "sys/fd.h"

/* ---- addresses ---------------------------------------------------------------------------------------------------------------- */

struct address { uint8_t b[16]; size_t n; }; /* n: 4 or 16 bytes */

static bool parse_address(const char *s, size_t len, struct address *ret) {
	char text[INET6_ADDRSTRLEN];
	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	ret->n = memchr(text, ':', len) ? 16 : 4;
	return inet_pton(ret->n == 16 ? AF_INET6 : AF_INET, text, ret->b) == 1;
}

/* "ADDRESS/BITS": first and last address of the range. */
static bool parse_cidr(const char *s, struct address *first, struct address *last) {
	const char *slash = strchr(s, '/');
	uint32_t bits;
	if (!slash || !parse_address(s, (size_t)(slash - s), first) || parse_u32(slash + 1, &bits) < 0 || bits > first->n * 8)
		return false;
	*last = *first;
	for (size_t i = bits; i < first->n * 8; i++) {
		first->b[i / 8] &= (uint8_t)~(0x80 >> i % 8);
		last->b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	}
	return true;
}

struct cni_subnet *cni_subnet_of(struct cni_subnet *v, size_t n, const char *address) {
	struct address a, first, last;
	if (!parse_address(address, strlen(address), &a))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (parse_cidr(v[i].subnet, &first, &last) && first.n == a.n && memcmp(a.b, first.b, a.n) >= 0 && memcmp(a.b, last.b, a.n) <= 0)
			return &v[i];
	return NULL;
}

static const char *address_text(struct arena *a, const struct address *x) {
	char text[INET6_ADDRSTRLEN];
	return arena_strdup(a, inet_ntop(x->n == 16 ? AF_INET6 : AF_INET, x->b, text, sizeof(text)));
}

int cni_range(struct arena *a, const char *text, const char **ret_first, const char **ret_last) {
	struct address first, last;
	const char *dash = strchr(text, '-');
	if (dash) {
		if (!parse_address(text, (size_t)(dash - text), &first) || !parse_address(dash + 1, strlen(dash + 1), &last) || first.n != last.n || memcmp(first.b, last.b, first.n) > 0)
			return -EINVAL;
	} else if (!parse_cidr(text, &first, &last)) {
		return -EINVAL;
	}
	*ret_first = address_text(a, &first);
	*ret_last = address_text(a, &last);
	return *ret_first && *ret_last ? 0 : -ENOMEM;
}

/* ---- the document ---------------------------------------------------------------------------------------------------------------- */

static int check(const struct cni_bridge *b, struct err *e) {
	struct address first, last;
	for (size_t i = 0; i < b->n_subnets; i++)
		if (!parse_cidr(b->subnets[i].subnet, &first, &last))
			return err_set(e, -EINVAL, "subnet \"%s\" is not ADDRESS/BITS", b->subnets[i].subnet);
	for (size_t i = 0; i < b->n_routes; i++)
		if (!parse_cidr(b->routes[i], &first, &last))
			return err_set(e, -EINVAL, "route \"%s\" is not ADDRESS/BITS", b->routes[i]);
	if (strlen(b->bridge) > 15 || !*b->bridge || strpbrk(b->bridge, "/ ")) /* IFNAMSIZ */
		return err_set(e, -EINVAL, "\"%s\" is no name for a network device (at most 15 bytes)", b->bridge);
	return 0;
}

static void write_routes(struct json_writer *w, const struct cni_bridge *b) {
	bool family[2] = { false, false };
	for (size_t i = 0; i < b->n_subnets; i++)
		family[strchr(b->subnets[i].subnet, ':') != NULL] = true;
	jw_key(w, "routes");
	jw_array(w);
	static const char *const all[] = { "0.0.0.0/0", "::/0" };
	for (size_t i = 0; i < 2; i++)
		if (family[i] && !b->internal) {
			jw_object(w);
			jw_kv_string(w, "dst", all[i]);
			jw_object_end(w);
		}
	for (size_t i = 0; i < b->n_routes; i++) {
		jw_object(w);
		jw_kv_string(w, "dst", b->routes[i]);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_ipam(struct json_writer *w, const struct cni_bridge *b) {
	jw_key(w, "ipam");
	jw_object(w);
	jw_kv_string(w, "type", "host-local");
	if (!b->internal || b->n_routes)
		write_routes(w, b);
	jw_key(w, "ranges");
	jw_array(w);
	for (size_t i = 0; i < b->n_subnets; i++) {
		const struct cni_subnet *s = &b->subnets[i];
		jw_array(w);
		jw_object(w);
		jw_kv_string(w, "subnet", s->subnet);
		if (s->first) {
			jw_kv_string(w, "rangeStart", s->first);
			jw_kv_string(w, "rangeEnd", s->last);
		}
		if (s->gateway)
			jw_kv_string(w, "gateway", s->gateway);
		jw_object_end(w);
		jw_array_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
}

static void write_bridge(struct json_writer *w, const struct cni_bridge *b) {
	jw_object(w);
	jw_kv_string(w, "type", "bridge");
	jw_kv_string(w, "bridge", b->bridge);
	jw_kv_bool(w, "isGateway", true);
	jw_kv_bool(w, "ipMasq", !b->internal);
	jw_kv_bool(w, "hairpinMode", true);
	if (b->mtu)
		jw_kv_u64(w, "mtu", b->mtu);
	if (b->vlan)
		jw_kv_u64(w, "vlan", b->vlan);
	jw_key(w, "capabilities");
	jw_object(w);
	jw_kv_bool(w, "ips", true);
	jw_kv_bool(w, "mac", true);
	jw_object_end(w);
	write_ipam(w, b);
	jw_object_end(w);
}

static int write_args(struct json_writer *w, const struct cni_bridge *b, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *labels;
	jw_key(w, "args");
	jw_object(w);
	jw_key(w, "tierce");
	jw_object(w);
	jw_kv_i64(w, "created", (int64_t)time(NULL));
	if (b->no_dns)
		jw_kv_bool(w, "noDns", true);
	jw_object_end(w);
	if (b->labels_json) {
		int r = json_parse(&a, b->labels_json, strlen(b->labels_json), &labels, e);
		if (r < 0)
			return r;
		jw_key(w, "tierce_labels");
		jw_value(w, labels);
	}
	jw_object_end(w);
	return 0;
}

static int document(const struct cni_bridge *b, struct strbuf *out, struct err *e) {
	struct json_writer w;
	jw_init(&w, out, 2);
	jw_object(&w);
	jw_kv_string(&w, "cniVersion", "0.4.0");
	jw_kv_string(&w, "name", b->name);
	int r = write_args(&w, b, e);
	if (r < 0)
		return r;
	jw_key(&w, "plugins");
	jw_array(&w);
	write_bridge(&w, b);
	jw_object(&w);
	jw_kv_string(&w, "type", "portmap");
	jw_key(&w, "capabilities");
	jw_object(&w);
	jw_kv_bool(&w, "portMappings", true);
	jw_object_end(&w);
	jw_object_end(&w);
	jw_object(&w);
	jw_kv_string(&w, "type", "firewall");
	if (b->isolate)
		jw_kv_string(&w, "ingressPolicy", "same-bridge");
	jw_object_end(&w);
	jw_array_end(&w);
	jw_object_end(&w);
	r = jw_finish(&w);
	return r < 0 ? err_sys(e, r, "write network %s", b->name) : 0;
}

int cni_write_bridge(const struct cni_dirs *d, const struct cni_bridge *b, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char file[160];
	int r = cni_name_check(b->name, e);
	if (r == 0)
		r = check(b, e);
	if (r == 0)
		r = document(b, &text, e);
	if (r < 0)
		return r;
	mkdir(d->conf[0], 0755);
	_cleanup_close_ int dir = open(d->conf[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "open %s", d->conf[0]);
	snprintf(file, sizeof(file), "%s.conflist", b->name);
	r = file_replace_at(dir, file, text.s, text.len, 0644, 1);
	return r < 0 ? err_sys(e, r, "write %s/%s", d->conf[0], file) : 0;
}

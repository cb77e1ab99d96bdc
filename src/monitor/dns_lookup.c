/* The names file: see dns.h. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>

#include "monitor/dns.h"

enum { CLIENT_NETWORKS_MAX = 32, DNS_PORT = 53 };

struct lookup {
	const struct dns_query *q;
	struct dns_found *ret;
	const char *client;                        /* as text */
	const char *networks[CLIENT_NETWORKS_MAX]; /* that it is on */
	size_t n_networks;
	uint8_t reverse[16];
	size_t reverse_len;
	bool known; /* the name is one of ours, whatever its type */
};

static bool server_address(const char *text, struct sockaddr_storage *ret) {
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
	*ret = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(DNS_PORT);
		return true;
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(DNS_PORT);
		return true;
	}
	return false;
}

static void add(struct lookup *l, uint16_t type, const char *address, const char *name) {
	struct dns_record *r = &l->ret->v[l->ret->n];
	if (l->ret->n == DNS_RECORDS_MAX)
		return;
	*r = (struct dns_record){ .type = type, .name = name };
	if (type == DNS_PTR || inet_pton(type == DNS_A ? AF_INET : AF_INET6, address, r->addr) == 1)
		l->ret->n++;
}

/* "n NETWORK ADDRESS NAME..." */
static void name_line(struct lookup *l, char **save) {
	const char *network = strtok_r(NULL, " ", save), *address = strtok_r(NULL, " ", save);
	bool mine = false;
	for (size_t i = 0; network && i < l->n_networks; i++)
		mine |= streq(l->networks[i], network);
	if (!mine || !address)
		return;
	bool six = strchr(address, ':');
	uint8_t bytes[16];
	const char *first = NULL;
	for (char *name; (name = strtok_r(NULL, " ", save));) {
		first = first ? first : name;
		if (strcasecmp(name, l->q->name))
			continue;
		l->known = true;
		uint16_t type = six ? DNS_AAAA : DNS_A;
		if (l->q->type == type || l->q->type == DNS_ANY)
			add(l, type, address, NULL);
		return;
	}
	if (l->reverse_len && first && l->reverse_len == (six ? 16u : 4u) && inet_pton(six ? AF_INET6 : AF_INET, address, bytes) == 1 && !memcmp(bytes, l->reverse, l->reverse_len)) {
		l->known = true;
		if (l->q->type == DNS_PTR || l->q->type == DNS_ANY)
			add(l, DNS_PTR, NULL, first);
	}
}

/* Client lines come before the names that they open: the writer's order. */
static void line(struct lookup *l, char *text) {
	char *save = NULL;
	const char *kind = strtok_r(text, " ", &save);
	if (!kind || kind[1])
		return;
	if (*kind == 'n') {
		name_line(l, &save);
		return;
	}
	const char *address = strtok_r(NULL, " ", &save);
	if (!address || !streq(address, l->client))
		return;
	for (char *w; (w = strtok_r(NULL, " ", &save));) {
		if (*kind == 'i' && l->n_networks < CLIENT_NETWORKS_MAX)
			l->networks[l->n_networks++] = w;
		else if (*kind == 'u' && l->ret->n_servers < DNS_SERVERS_MAX && server_address(w, &l->ret->servers[l->ret->n_servers]))
			l->ret->n_servers++;
	}
}

void dns_lookup(char *text, const struct sockaddr_storage *client, const struct dns_query *q, struct dns_found *ret) {
	char address[INET6_ADDRSTRLEN] = "";
	const void *at = client->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)client)->sin6_addr : &((const struct sockaddr_in *)client)->sin_addr;
	struct lookup l = { .q = q, .ret = ret, .client = address };
	*ret = (struct dns_found){ .verdict = DNS_DROP };
	inet_ntop(client->ss_family, at, address, sizeof(address));
	l.reverse_len = dns_reverse_name(q->name, l.reverse);
	char *save = NULL;
	for (char *s = strtok_r(text, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
		line(&l, s);
	if (!l.n_networks)
		return;
	bool internet = q->class == 1;
	if (l.known && internet) {
		ret->verdict = DNS_LOCAL;
		return;
	}
	ret->n = 0;
	if (ret->n_servers) {
		ret->verdict = DNS_FORWARD;
	} else {
		ret->verdict = DNS_LOCAL;
		ret->rcode = DNS_NXDOMAIN;
	}
}

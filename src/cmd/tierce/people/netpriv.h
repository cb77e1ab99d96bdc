/* What the files of a container's network share. */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_NETPRIV_H
#define TIERCE_CMD_TIERCE_PEOPLE_NETPRIV_H

#include "cmd/tierce/people/people.h"

struct net_added { const char *name, *word, *ifname; struct cni_result result; };

const char *net_path_of(struct pctr *c);
/* One network more in a namespace that is there, without ports; result is filled. */
int net_attach(struct pctr *c, const char *netns, struct net_added *a, struct err *e) MUST_CHECK;
int net_detach(struct pctr *c, const char *netns, const char *network, const char *ifname, struct err *e);
/* One attachment as a member of net.json's "networks"; and the end of writing that file. */
void net_write_attachment(struct json_writer *w, struct pctr *c, enum net_mode mode, const char *name, const char *word, const char *ifname, const struct cni_result *result);
int net_save_state(struct pctr *c, struct json_writer *w, struct strbuf *b, struct err *e) MUST_CHECK;

#endif

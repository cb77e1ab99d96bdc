/* Network devices of the host that networks leave behind. */
#ifndef TIERCE_NET_LINK_H
#define TIERCE_NET_LINK_H

/* Delete a device by name; one that is not there is no error. 0 or negative errno. */
int link_delete(const char *name);

#endif

/* User namespaces: id maps. */
#ifndef TIERCE_CONFINE_USERNS_H
#define TIERCE_CONFINE_USERNS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/oci.h"

/*
 * Give a process in a new user namespace its maps; called by the parent. With CAP_SETUID/CAP_SETGID the files are written; otherwise a single
 * map of the caller's own ids is written (setgroups denied, user_namespaces(7)), and anything larger goes through newuidmap/newgidmap
 * (/etc/subuid, /etc/subgid). *ret_setgroups_denied tells whether setgroups(2) is off inside.
 */
int userns_write_maps(pid_t pid, const struct oci_id_maps *uids, const struct oci_id_maps *gids, bool *ret_setgroups_denied, struct err *e) MUST_CHECK;
/*
 * The text behind a mount's "idmap=" (crun's syntax): "uids=0-1000-10#10-5000-1;gids=...", triples of id, id, count. With "@" before a triple its second
 * number is an id of the container, which the container's own maps translate. Kinds that are not named keep what *uids and *gids hold.
 */
int idmap_option_parse(struct arena *a, const char *text, const struct oci_id_maps *container_uids, const struct oci_id_maps *container_gids,
	struct oci_id_maps *uids, struct oci_id_maps *gids, struct err *e) MUST_CHECK;
/* Is the caller in a user namespace that does not map every id, however it got there? Reads /proc/self/uid_map. */
bool userns_nested(void);
/* Host id of a container id, or (uint32_t)-1 when it has no mapping. No maps at all: the id itself. */
uint32_t userns_host_id(const struct oci_id_maps *maps, uint32_t id);

#endif

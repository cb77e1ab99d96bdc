/* Which user namespace is this process in? (user_namespaces(7)) */
#ifndef TIERCE_SYS_USERNS_H
#define TIERCE_SYS_USERNS_H

#include <stdbool.h>
#include <stdint.h>

/* Not in the initial user namespace: the first line of uid_map is "0 0 4294967295" exactly there. */
bool in_user_namespace(void);
/* The id one namespace further out that stands for id here; map is "uid_map" or "gid_map". (uint32_t)-1: not mapped, or unreadable. */
uint32_t outer_id(const char *map, uint32_t id);
/* An ordinary user, or root of a user namespace that such a user made. */
bool is_rootless(void);

#endif

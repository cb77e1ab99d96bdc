/* Credentials of a task: ids, groups, capabilities. Immutable once shared; copy, change, install. */
#ifndef TIERCE_SENTRY_CRED_H
#define TIERCE_SENTRY_CRED_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

struct task;
struct userns;

enum { NGROUPS_MAX_ = 65536 };

struct cred {
	unsigned refs;
	uint32_t uid, euid, suid, fsuid, gid, egid, sgid, fsgid;
	uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
	uint32_t securebits;
	struct userns *user; /* referenced; ids above are global (task/ns.h), capabilities are over this namespace */
	uint32_t *groups; /* owned */
	uint32_t n_groups;
};
#define CAP_ALL_ ((1ull << (CAP_LAST_CAP + 1)) - 1)

struct cred *cred_new_root(void);
struct cred *cred_get(struct cred *c);
void cred_put(struct cred *c);
struct cred *cred_dup(const struct cred *c);           /* NULL: no memory */
void cred_install(struct task *t, struct cred *c);     /* takes the reference */
bool cred_in_group(const struct cred *c, uint32_t gid); /* fsgid or supplementary */
static inline bool cred_cap(const struct cred *c, unsigned cap) { return c->cap_effective >> cap & 1; }
bool capable(const struct task *t, unsigned cap); /* over the sandbox as a whole: never from a user namespace inside */

#endif

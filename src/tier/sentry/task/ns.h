/* Namespaces inside the sandbox: user (ids and capabilities), UTS, IPC, cgroup. The mount namespace hangs on fs_context, pid and network namespace are
 * the sandbox's own and only one.
 *
 * Ids: every uid and gid inside the sentry is an id of the first user namespace ("global"); translation happens where a number goes to the guest or comes
 * from it (ns_to_uid(), ns_from_uid() ...). */
#ifndef TIERCE_SENTRY_NS_H
#define TIERCE_SENTRY_NS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tier/sentry/kernel.h"
#include "tier/sentry/vfs/vfs.h"

struct ipcns;
struct cred;
struct strbuf;

enum { USERNS_DEPTH = 32 /* as Linux's: 33 levels in all */, IDMAP_EXTENTS = 340 /* UID_GID_MAP_MAX_EXTENTS */, OVERFLOW_ID = 65534 };
#define NO_ID ((uint32_t)-1)

struct id_extent { uint32_t first, lower, count; }; /* lower: global */
struct idmap { unsigned n; struct id_extent *v; };
struct userns {
	unsigned refs;
	struct userns *parent;  /* NULL: the first one, where ids are themselves */
	uint32_t owner, group;  /* global ids of the maker */
	uint32_t inum;
	int level;
	struct idmap uid, gid;
	bool setgroups_denied, parent_had_setfcap;
};
extern struct userns init_userns;
struct userns *userns_get(struct userns *u);
void userns_put(struct userns *u);
/* New namespace below the credentials' own; *c becomes its creator inside (all capabilities). -EPERM, -ENOSPC, -ENOMEM. */
int userns_create(struct task *t, struct cred *c);
/* Ids of the namespace to global ones: NO_ID when not mapped. */
uint32_t ns_from_uid(const struct userns *u, uint32_t id);
uint32_t ns_from_gid(const struct userns *u, uint32_t id);
/* Global to the namespace's: NO_ID when not mapped; the _shown forms give the overflow id instead. */
uint32_t ns_to_uid(const struct userns *u, uint32_t id);
uint32_t ns_to_gid(const struct userns *u, uint32_t id);
uint32_t uid_shown(const struct task *t, uint32_t id);
uint32_t gid_shown(const struct task *t, uint32_t id);
/* Is `cap` held over what belongs to namespace u? */
bool ns_capable(const struct task *t, const struct userns *u, unsigned cap);
bool ns_capable_here(const struct task *t, unsigned cap); /* over the task's own namespace */
/* Over a file: held here, and owner and group are mapped here. */
bool capable_over(const struct task *t, unsigned cap, uint32_t uid, uint32_t gid);
/* /proc/PID/{uid_map,gid_map,setgroups}. */
int idmap_show(const struct task *reader, const struct userns *u, bool gid, struct strbuf *b);
ssize_t idmap_store(struct task *writer, struct userns *u, bool gid, const char *buf, size_t n);
ssize_t setgroups_store(struct task *writer, struct userns *u, const char *buf, size_t n);

struct utsns { unsigned refs; uint32_t inum; struct userns *user; char nodename[65], domainname[65]; };
struct cgroupns { unsigned refs; uint32_t inum; struct userns *user; };
struct nsproxy { unsigned refs; struct utsns *uts; struct ipcns *ipc; struct cgroupns *cgroup; };
struct nsproxy *nsproxy_first(void); /* made at start, borrowed */
struct nsproxy *nsproxy_get(struct nsproxy *n);
void nsproxy_put(struct nsproxy *n);
/* A copy in which the namespaces of `flags` (CLONE_NEWUTS ...) are new and belong to `user`. NULL: no memory. */
struct nsproxy *nsproxy_copy(struct nsproxy *o, uint64_t flags, struct userns *user);
uint32_t ns_inum(void);

/* ipc.c */
struct ipcns *ipcns_new(struct userns *user);
void ipcns_put(struct ipcns *n);
struct ipcns *ipcns_get(struct ipcns *n);
uint32_t ipcns_inum(const struct ipcns *n);
struct userns *ipcns_user(const struct ipcns *n);

/* sys_ns.c: what /proc/PID/ns/NAME leads to. */
enum ns_kind { NS_CGROUP, NS_IPC, NS_MNT, NS_NET, NS_PID, NS_USER, NS_UTS, NS_KINDS };
int ns_path(const struct task *of, enum ns_kind kind, struct path *ret);
int ns_name(const struct task *of, enum ns_kind kind, char *buf, size_t size);

#endif

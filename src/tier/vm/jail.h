/* What a hypervisor process loses before its first instruction: the host's file tree, namespaces, user, capabilities, limits. */
#ifndef TIERCE_TIER_VM_JAIL_H
#define TIERCE_TIER_VM_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct jail_path { const char *path; bool writable, optional; }; /* appears at the same place inside; symbolic links are made again */
struct jail {
	const struct jail_path *paths;
	size_t n_paths;
	uint32_t uid, gid;
	const uint32_t *groups; /* supplementary, for device nodes */
	size_t n_groups;
	bool may_write_files;   /* else RLIMIT_FSIZE is 0 */
	bool proc;              /* a procfs of the new pid namespace at /proc */
	uint64_t keep_caps;     /* bits; with uid 0 only */
	unsigned max_files;     /* RLIMIT_NOFILE, 0: 256 */
};

/* New namespaces that the caller must have made with clone3 (CLONE_NEWPID acts on children only): */
#define JAIL_CLONE_FLAGS (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET)

/* In the child. Irrevocable; on failure the caller exits. */
int jail_enter(const struct jail *j, struct err *e) MUST_CHECK;
/* A uid that no account has and that hardly two machines share: one hypervisor may not trace or signal another. */
uint32_t jail_uid(void);

#endif

/* Landlock by annotation `dev.tierce.landlock`: file, port and scope rules that the process cannot shed. */
#ifndef TIERCE_CONFINE_LANDLOCK_H
#define TIERCE_CONFINE_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "spec/oci.h"

/*
 * Syntax (JSON text as the annotation's value; unknown members are an error here, since a misspelt rule is a hole):
 * {
 *   "abi": "best-effort" | "require" | N,  best-effort (default): rights that the kernel does not know are left out, no Landlock at all
 *                                          is allowed; "require": every right named below must be known; N: kernel ABI N or newer
 *   "paths": [ { "path": "/usr" | ["/usr", "/lib"],   inside the container; symlinks are followed there
 *               "access": ["read", "write", "execute", ...],  groups and single rights, see the table in landlock.c
 *               "optional": false } ],                 true: a path that does not exist is skipped
 *   "bind": [80, "8000-8010"], "connect": [443],  TCP ports; a present member handles the right, so [] denies every port. At most 4096 in all.
 *   "scope": ["abstract-unix-socket", "signal"],
 *   "log": { "same-exec": true, "new-exec": false, "subdomains": true }   ABI 7: audit logging
 * }
 * A present "paths" (even []) handles all file rights that the kernel knows; what no rule grants is denied.
 * Groups: "read" (read_file read_dir), "execute" (execute_file + read), "write" (write_file truncate), "create" (make_reg make_dir make_sym make_fifo make_sock
 * remove_file remove_dir refer), "device" (make_char make_block ioctl_dev), "all". On a file, directory rights are left out.
 */
#define LANDLOCK_ANNOTATION "dev.tierce.landlock"

struct landlock_path { const char *path; uint64_t access; bool optional; };
struct landlock_port { uint16_t first, last; uint64_t access; };
struct landlock_policy {
	bool present;
	bool require;           /* refuse to run with fewer rights than named */
	unsigned int min_abi;   /* 0: any */
	uint64_t handled_fs, handled_net, scoped;
	uint64_t named_fs;      /* rights that rules name: what `require` checks against the kernel */
	struct landlock_path *paths;
	size_t n_paths;
	struct landlock_port *ports;
	size_t n_ports;
	uint32_t restrict_flags; /* LANDLOCK_RESTRICT_SELF_* */
};
enum { LANDLOCK_MAX_PATHS = 4096, LANDLOCK_MAX_PORTS = 4096 }; /* a ruleset costs kernel memory before the cgroup's limit is felt */

/* Parse; absent annotation gives present == false. Memory is the arena's. Errors name the annotation and the member. */
int landlock_parse(struct arena *a, const char *text, struct landlock_policy *ret, struct err *e) MUST_CHECK;
int landlock_from_spec(struct arena *a, const struct oci_spec *s, struct landlock_policy *ret, struct err *e) MUST_CHECK;
/* 0 when the kernel can do what the policy demands; to be called before the container is made, so that the error is early. */
int landlock_check(const struct landlock_policy *p, struct err *e) MUST_CHECK;
/*
 * In the child, after pivot and chdir, with no_new_privs or CAP_SYS_ADMIN, before the seccomp filter (Docker's profile allows the calls, others
 * may not) and before capabilities drop when no_new_privs is off (the same point as seccomp_early()). Paths are opened from "/" of the caller.
 */
int landlock_apply(const struct landlock_policy *p, struct err *e) MUST_CHECK;
/* Kernel ABI, 0 when there is none. */
unsigned int landlock_abi(void);

#endif

/* Capability sets and the change of identity, in the one order that keeps what must be kept. Child side; no allocation. */
#ifndef TIERCE_CONFINE_CAPS_H
#define TIERCE_CONFINE_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

/* Highest capability of the running kernel, by PR_CAPBSET_READ (no /proc needed). */
unsigned int caps_last(void);
/* Mask of all capabilities of the running kernel. */
uint64_t caps_all(void);

/*
 * Whole change of identity for a container process; call it once, last before the late seccomp load and execve:
 *   bounding set dropped (needs CAP_SETPCAP) -> securebits keep-caps -> setgroups -> setgid -> setuid -> umask ->
 *   permitted/effective/inheritable -> ambient -> keep-caps cleared.
 * Sets with bits that the kernel does not know are masked. With caps.set == false every set is empty, as with runc and crun.
 */
enum creds_flags {
	CREDS_KEEP_GROUPS = 1 << 0,     /* run.oci.keep_original_groups, or setgroups is denied in this user namespace */
	CREDS_EXEC = 1 << 1,            /* exec into a running container: the inheritable set is emptied (CVE-2022-29162) */
};
int creds_apply(const struct oci_process *p, uint32_t flags, struct err *e) MUST_CHECK;

/* Parts of the above for callers that interleave other steps. */
int caps_drop_bounding(uint64_t keep, struct err *e) MUST_CHECK;
/* PR_SET_KEEPCAPS around setuid(2). */
int caps_keep_on_setuid(bool keep, struct err *e) MUST_CHECK;
/* capset(2) of the three sets, then the ambient set (raised only where permitted and inheritable hold it; others are skipped silently as runc does). */
int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable, uint64_t ambient, struct err *e) MUST_CHECK;
/* No capability in any set, bounding included: for our own helpers. */
int caps_drop_all(struct err *e) MUST_CHECK;
/* Current sets of the calling thread; any pointer may be NULL. */
int caps_get(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable);
bool caps_have(unsigned int cap);

/* One warning line per capability that is unknown to us or to the kernel, appended to out: `ignoring unknown capability "CAP_X"`. 0 or -ENOMEM. */
int caps_warnings(const struct oci_caps *c, struct strbuf *out);

#endif

/* Shared by the files of seccomp.h only. */
#ifndef TIERCE_CONFINE_SECCOMP_INTERNAL_H
#define TIERCE_CONFINE_SECCOMP_INTERNAL_H

#include "confine/seccomp.h"

struct seccomp_mux { uint32_t nr, sub, direct; }; /* multiplexer, its first argument, direct number or 0 */
bool seccomp_muxed(uint32_t arch, const char *name, int pseudo, struct seccomp_mux *ret);
uint32_t seccomp_native_token(void);
uint32_t seccomp_audit_arch(uint32_t token); /* AUDIT_ARCH_* as seccomp_data.arch holds it */
bool seccomp_arch_wide(uint32_t token);      /* arguments have 64 bits */
bool seccomp_is_s390(uint32_t token);
bool seccomp_same_endian(uint32_t token);    /* as this machine: others cannot run here */

/* Cache of compiled programs. key: opaque bytes that determine the program; compared whole, so no collision can swap filters. */
int seccomp_cache_get(int root_fd, const struct strbuf *key, struct bpf_prog *ret);
void seccomp_cache_put(int root_fd, const struct strbuf *key, const struct bpf_prog *p);
/* Key of a section: its document, kernel release, our version. -ENOMEM, or -ENOENT when the section has no document. */
int seccomp_cache_key(const struct oci_seccomp *s, struct strbuf *out);

#endif

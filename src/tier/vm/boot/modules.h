/* Kernel modules for the initramfs: the files of the wanted modules and of what they depend on, in the order of loading. */
#ifndef TIERCE_TIER_VM_BOOT_MODULES_H
#define TIERCE_TIER_VM_BOOT_MODULES_H

#include "base/arena.h"
#include "base/err.h"

struct module { const char *name; const char *path; }; /* path below the tree */
struct modules { struct module *v; size_t n; };

/* Value of "key=" in a module's .modinfo section, NULL when absent. Points into the file's bytes; NUL-terminated there. */
const char *module_info(const void *elf, size_t n, const char *key);
/* Resolve wanted names (NULL-terminated; '-' and '_' are the same, a leading '?' makes one optional) below the directory `tree`
 * (lib/modules/RELEASE). A name that the tree does not have is an error, since built-in modules are listed in modules.builtin. */
int modules_resolve(struct arena *a, const char *tree, const char *const *wanted, struct modules *ret, struct err *e) MUST_CHECK;

#endif

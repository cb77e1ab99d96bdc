/* The runtime's own binary, out of a container's reach (CVE-2019-5736). */
#ifndef TIERCE_CONFINE_EXE_H
#define TIERCE_CONFINE_EXE_H

#include <stdbool.h>

#include "base/err.h"

/*
 * A process that is about to enter a container must not give the container a way to the program file it runs: /proc/PID/exe can be opened
 * from inside, and "#!/proc/self/exe" as the container's program would execute it. Two ways were weighed (figures: exe.c):
 *
 * exe_forget()  in the child, without any exec: the program's mappings are replaced, then the kernel is told that our executable is an empty, sealed
 *               memfd (prctl(PR_SET_MM_MAP), Linux 5.9 for what caps it asks). Nothing of the host is left to open: even executing
 *               /proc/self/exe gives ENOEXEC. Writable segments become anonymous copies. So do the others for an ordinary user; with privileges they
 *               are mapped again from a detached, read-only clone of the mount, since the kernel only asks that nothing is mapped
 *               through the old path (replace_mm_exe_file()): no memory, no copying, and what /proc/PID/map_files could give is read-only.
 * exe_reexec()  at the start of a command: copies the program into a sealed memfd and executes that, for kernels that refuse the first.
 */

/* Whether exe_forget() works here: CONFIG_CHECKPOINT_RESTORE and a kernel that lets us (asks the kernel, changes nothing). */
bool exe_can_forget(void);
/* In the parent: our program opened through a private read-only mount, for exe_forget() to map from in place of copying; -EBADF where that is
 * not to be had (no CAP_SYS_ADMIN). The caller closes it, and *ret_tree, its mount: whose last copy takes a grace period of the kernel to go
 * (namespace_unlock()), so the parent keeps it until it has nothing better to do, and the child lets go of its copy first. */
int exe_share(int *ret_tree);
/* Call in a freshly forked, single-threaded child that holds CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in its user namespace. -ENOTSUP where refused.
 * Already running from a sealed memfd: nothing is done. shared: from exe_share(), -EBADF for copies. */
int exe_forget(int shared, struct err *e) MUST_CHECK;
/* At the start of create, run, exec and restore, before any effect: returns 0 when exe_forget() will do or we run from a sealed memfd;
 * otherwise does not return but executes the program anew. argv as main() got it. */
int exe_reexec(char **argv, struct err *e) MUST_CHECK;

#endif

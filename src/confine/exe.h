/* The runtime's own binary, out of a container's reach (CVE-2019-5736). */
#ifndef TIERCE_CONFINE_EXE_H
#define TIERCE_CONFINE_EXE_H

#include <stdbool.h>

#include "base/err.h"

/*
 * A process that is about to enter a container must not give the container a way to the program file it runs: /proc/PID/exe can be opened
 * from inside, and "#!/proc/self/exe" as the container's program would execute it. Two ways were weighed (figures: exe.c):
 *
 * exe_forget()  in the child, without any exec: the program's mappings are replaced by anonymous copies, then the kernel is told that our executable
 *               is an empty, sealed memfd (prctl(PR_SET_MM_MAP), Linux 5.9 for what caps it asks). Nothing of the host is left to open: even
 *               executing /proc/self/exe gives ENOEXEC.
 * exe_reexec()  at the start of a command: copies the program into a sealed memfd and executes that, for kernels that refuse the first.
 */

/* Whether exe_forget() works here: CONFIG_CHECKPOINT_RESTORE and a kernel that lets us (asks the kernel, changes nothing). */
bool exe_can_forget(void);
/* Call in a freshly forked, single-threaded child that holds CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in its user namespace. -ENOTSUP where refused.
 * Already running from a sealed memfd: nothing is done. */
int exe_forget(struct err *e) MUST_CHECK;
/* At the start of create, run, exec and restore, before any effect: returns 0 when exe_forget() will do or we run from a sealed memfd;
 * otherwise does not return but executes the program anew. argv as main() got it. */
int exe_reexec(char **argv, struct err *e) MUST_CHECK;

#endif

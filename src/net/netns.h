/* Network namespaces that outlive the process that made them: a bind mount on a file. */
#ifndef TIERCE_NET_NETNS_H
#define TIERCE_NET_NETNS_H

#include <sys/types.h>

#include "base/err.h"

/* Make a new network namespace with its loopback device up and bind it to path (a file that must not exist yet; its directory must). On failure nothing
 * is left. 0 or negative errno. userns >= 0: the namespace belongs to that user namespace, which is bound to user_path (-EBADF: to the caller's). */
int netns_create(const char *path, int userns, const char *user_path, struct err *e) MUST_CHECK;
/* The same for several kinds at once (CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS): files dir/net, dir/ipc, dir/uts. hostname: set in the UTS one, NULL: left.
 * shm: when IPC is among them, a tmpfs of that many bytes is mounted at dir/shm (0: none). */
int nsset_create(const char *dir, int flags, const char *hostname, unsigned long long shm, struct err *e) MUST_CHECK;
/* Detach and remove; a path that is not there is no error. */
int netns_remove(const char *path, struct err *e);
int nsset_remove(const char *dir, struct err *e);

#endif

/*
 * Ordinary users. Every command of an ordinary user runs as root of a user namespace (ids from /etc/subuid and /etc/subgid; without them only the
 * user's own) and in a mount namespace that belongs to it, so that what follows mounts, changes owners and makes namespaces as root does.
 *
 * All commands of a user share the pair: who comes first makes it, who follows joins it by the pid of somebody inside. No process stays behind only
 * to hold it: monitors, containers and running commands do. RUN/inside/PID names them (content: start time of the process, and "c" for a container,
 * which has mounts of its own: when it is the only one left, because its monitor was killed, the user namespace is joined and the mounts are new);
 * RUN/inside.lock orders the choice between joining and making. When nobody is left the pair is gone with its mounts, and the next command makes a new one.
 */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_ROOTLESS_H
#define TIERCE_CMD_TIERCE_PEOPLE_ROOTLESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

/* Ids of the user outside, whether the namespace has been entered or not. */
uint32_t rootless_uid(void);
uint32_t rootless_gid(void);
/* A directory of the user's own for run-time files: $XDG_RUNTIME_DIR, /run/user/UID, or /tmp/tierce-UID (refused when somebody else owns it). */
const char *rootless_runtime_dir(struct arena *a, struct err *e);
/* Join or make the namespaces. run_dir exists. The working directory stays. */
int rootless_enter(const char *run_dir, struct err *e) MUST_CHECK;
/* Note that pid (a monitor, a container's init) is inside and keeps the namespaces. */
void rootless_note(const char *run_dir, pid_t pid, bool container);
/* First range of a user in /etc/subuid or /etc/subgid (subuid(5)); name NULL: only by number. -ENOENT without one. */
int rootless_range(const char *file, const char *name, uint32_t id, uint32_t *first, uint32_t *count, struct err *e) MUST_CHECK;

#endif

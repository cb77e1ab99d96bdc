/* AppArmor and SELinux labels, written through a procfs that the caller made and this room checks again. */
#ifndef TIERCE_CONFINE_LSM_H
#define TIERCE_CONFINE_LSM_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

/*
 * proc_fd: directory fd of a procfs root that no container can have mounted over (fsopen/fsmount, subset=pid will do), in the pid
 * namespace of the caller. Every write opens below it with RESOLVE_NO_XDEV|RESOLVE_NO_SYMLINKS beyond "self", and checks the
 * fs magic of the opened file (CVE-2019-16884, CVE-2025-52881).
 */

/* Set both labels of a process for its next execve, in the right order; absent ones are skipped. An AppArmor profile on a kernel without
 * AppArmor is an error (as runc), an SELinux label on a kernel without SELinux likewise. */
int lsm_apply_exec(int proc_fd, const char *apparmor_profile, const char *selinux_label, struct err *e) MUST_CHECK;
/* AppArmor: attr/apparmor/exec, else attr/exec (kernels before 5.8). "unconfined" is written as it is. */
int apparmor_set_exec(int proc_fd, const char *profile, struct err *e) MUST_CHECK;
/* SELinux: attr/exec and, for keyrings made next, attr/keycreate ("" resets). */
int selinux_set_exec(int proc_fd, const char *label, struct err *e) MUST_CHECK;
int selinux_set_keycreate(int proc_fd, const char *label, struct err *e) MUST_CHECK;

/* Host probes; they read the host's /sys and /proc and must be called outside of the container. */
bool apparmor_enabled(void);
bool selinux_enabled(void);

/* Mount data with a label: `data` plus context="label" (type: run.oci.mount_context_type: context, fscontext, defcontext, rootcontext; NULL
 * = context) appended to out. Nothing is added when label is NULL or SELinux is off, or when data names a context already. -EINVAL on a quote in label. */
int selinux_mount_data(const char *data, const char *label, const char *type, struct strbuf *out, struct err *e) MUST_CHECK;

/* Open "<self>/path" below proc_fd for writing with the checks above, thread-self where the kernel has it. Returns fd or negative errno. */
int proc_open_self(int proc_fd, const char *path, int flags, struct err *e) MUST_CHECK;
/* Write value to it in one write(2). */
int proc_write_self(int proc_fd, const char *path, const char *value, struct err *e) MUST_CHECK;

#endif

/* Personality, rlimits, OOM score, session keyring and the prctl(2) flags of a container process: see sched.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "confine/lsm.h"
#include "confine/sched.h"
#include "sys/fd.h"

int personality_apply(const struct oci_spec *s, struct err *e) {
	unsigned long want;
	if (s->personality_set) {
		want = s->personality;
	} else {
		int now = personality(0xffffffff);
		if (now < 0 || !(now & ADDR_NO_RANDOMIZE))
			return 0;
		want = (unsigned long)now & ~(unsigned long)ADDR_NO_RANDOMIZE; /* a debugger's setting must not weaken the container */
	}
	if (personality(want) < 0)
		return err_sys(e, errno, "unable to set personality");
	return 0;
}

int rlimits_apply(pid_t pid, const struct oci_process *p, struct err *e) {
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct oci_rlimit *l = &p->rlimits[i];
		struct rlimit64 v = { .rlim_cur = l->soft, .rlim_max = l->hard };
		if (syscall(SYS_prlimit64, pid, l->resource, &v, NULL) < 0)
			return err_sys(e, errno, "error setting rlimit type %d", l->resource);
	}
	return 0;
}

int oom_score_apply(int proc_fd, const struct oci_process *p, bool in_userns, struct err *e) {
	if (!p->oom_score_adj.set)
		return 0;
	char value[24];
	snprintf(value, sizeof(value), "%lld", (long long)p->oom_score_adj.v);
	int r = proc_write_self(proc_fd, "oom_score_adj", value, e);
	if ((r == -EACCES || r == -EPERM) && in_userns) {
		err_clear(e);
		return 0;
	}
	return r;
}

/* Permission word of the session keyring (joining the ring that we are in yields 0, not its number), from the "type;uid;gid;perm;description" text. */
static int keyring_perm(uint32_t *ret) {
	char text[512];
	long n = syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	text[n < (long)sizeof(text) ? n : (long)sizeof(text) - 1] = '\0';
	char *p = text, *field = NULL;
	for (int i = 0; i < 4 && p; i++)
		field = strsep(&p, ";");
	uint64_t perm;
	if (!field || !p || parse_u64_base(field, 16, &perm) < 0)
		return -EINVAL;
	*ret = (uint32_t)perm;
	return 0;
}

int keyring_apply(int proc_fd, const char *id, const char *selinux_label, bool in_userns, struct err *e) {
	/* KEY_USR_SEARCH for later execs that join by name; in a user namespace the key's owner is seen as "other". */
	enum { USR_SEARCH = 0x00080000, OTH_SEARCH = 0x00000008 };
	_cleanup_free_ char *name = NULL;
	if (selinux_label) {
		int r = selinux_set_keycreate(proc_fd, selinux_label, e);
		if (r < 0)
			return r;
	}
	if (asprintf(&name, "_ses.%s", id) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name, 0, 0, 0);
	int code = ring < 0 ? errno : 0;
	if (selinux_label) {
		int r = selinux_set_keycreate(proc_fd, "", e);
		if (r < 0)
			return r;
	}
	/* ENOSYS: built without keyrings, or filtered. EDQUOT: the keys quota of a busy host's user; containers start all the same. A ring of that name
	 * that belongs to somebody else (EACCES) leaves us with an anonymous one: never with our caller's. */
	if (code == ENOSYS)
		return 0;
	if (code == EACCES) {
		ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
		code = ring < 0 ? errno : 0;
	}
	if (code && in_userns && (code == EDQUOT || code == EPERM))
		return 0;
	if (code)
		return err_sys(e, code, "unable to join session keyring");
	uint32_t perm;
	int r = keyring_perm(&perm);
	if (r == 0 && syscall(SYS_keyctl, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, perm | (in_userns ? OTH_SEARCH : USR_SEARCH), 0, 0) < 0)
		r = -errno;
	/* A ring that was there already may not be ours to change (exec under another uid); joining it was what counts. */
	return r < 0 && r != -EACCES ? err_sys(e, r, "unable to mod keyring permissions") : 0;
}

int no_new_privs_apply(const struct oci_process *p, struct err *e) {
	if (p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "unable to set no_new_privs");
	return 0;
}

int dumpable_set(bool on, struct err *e) {
	if (prctl(PR_SET_DUMPABLE, on ? 1 : 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "unable to set dumpable");
	return 0;
}

int parent_death_signal(int sig, pid_t parent, struct err *e) {
	if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0) < 0)
		return err_sys(e, errno, "unable to set the parent death signal");
	if (parent && getppid() != parent)
		return err_set(e, -ESRCH, "the runtime died while the container was being made");
	return 0;
}

int process_attrs_apply(const struct oci_spec *s, const struct oci_process *p, const struct process_attrs *a, struct err *e) {
	int r = oom_score_apply(a->proc_fd, p, a->in_userns, e);
	if (r < 0)
		return err_wrap(e, r, "process.oomScoreAdj");
	if ((r = sched_apply(&p->scheduler, e)) < 0 || (r = ioprio_apply(p, e)) < 0)
		return r;
	if ((r = mempolicy_apply(&s->memory_policy, e)) < 0 || (r = personality_apply(s, e)) < 0)
		return r;
	if (!a->no_new_keyring)
		r = keyring_apply(a->proc_fd, a->keyring_id, p->selinux_label, a->in_userns, e);
	return r;
}

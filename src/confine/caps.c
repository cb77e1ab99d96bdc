/* Capability sets and identity: see caps.h. Raw system calls only, so that a child of a static program needs no further library. */
#include "confine/caps.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/broken.h"

enum { CAP_BITS = 64, DEFAULT_UMASK = 0022 };

unsigned int caps_last(void) {
	static unsigned int last;
	if (last == 0) {
		/* 0..CAP_LAST_CAP are valid without gaps; PR_CAPBSET_READ gives EINVAL above (prctl(2)). */
		unsigned int n = CAP_LAST_CAP;
		if (prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0)
			while (n + 1 < CAP_BITS && prctl(PR_CAPBSET_READ, n + 1, 0, 0, 0) >= 0)
				n++;
		else
			while (n > 0 && prctl(PR_CAPBSET_READ, n, 0, 0, 0) < 0)
				n--;
		last = n;
	}
	return last;
}

uint64_t caps_all(void) {
	unsigned int last = caps_last();
	return last >= CAP_BITS - 1 ? ~0ULL : (1ULL << (last + 1)) - 1;
}

int caps_get(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	if (effective)
		*effective = d[0].effective | (uint64_t)d[1].effective << 32;
	if (permitted)
		*permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	if (inheritable)
		*inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
	return 0;
}

bool caps_have(unsigned int cap) {
	uint64_t effective;
	return cap < CAP_BITS && caps_get(&effective, NULL, NULL) == 0 && (effective >> cap & 1);
}

int caps_drop_bounding(uint64_t keep, struct err *e) {
	for (unsigned int cap = 0, last = caps_last(); cap <= last; cap++) {
		if (keep >> cap & 1)
			continue;
		/* One that is gone already needs no privilege to stay away. */
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(e, errno, "unable to apply bounding set: drop %s", oci_capability_name(cap) ?: "unknown capability");
	}
	return 0;
}

int caps_keep_on_setuid(bool keep, struct err *e) {
	if (prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "unable to %s keep caps", keep ? "set" : "clear");
	return 0;
}

/* The first capability that is wanted and not to be had, for the message. */
static const char *first_missing(uint64_t want) {
	uint64_t permitted = 0;
	caps_get(NULL, &permitted, NULL);
	uint64_t missing = want & ~permitted;
	return missing ? oci_capability_name((unsigned)__builtin_ctzll(missing)) : NULL;
}

int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable, uint64_t ambient, struct err *e) {
	uint64_t all = caps_all();
	effective &= all, permitted &= all, inheritable &= all;
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32) },
	};
	/* Cleared first: a lowered permitted or inheritable set drops ambient bits silently, but what is kept must be what was asked for.
	 * EINVAL before Linux 4.3. */
	bool have_ambient = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0;
	if (syscall(SYS_capset, &h, d) < 0) {
		int code = errno;
		const char *name = first_missing(permitted | effective);
		return err_sys(e, code, "unable to apply caps%s%s", name ? ": the runtime itself lacks " : "", name ?: "");
	}
	for (uint64_t left = ambient & permitted & inheritable; left && have_ambient; left &= left - 1) {
		int cap = __builtin_ctzll(left);
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_sys(e, errno, "unable to raise ambient %s", oci_capability_name((unsigned)cap) ?: "capability");
	}
	return 0;
}

int caps_drop_all(struct err *e) {
	int r = caps_have(CAP_SETPCAP) ? caps_drop_bounding(0, e) : 0;
	return r < 0 ? r : caps_set(0, 0, 0, 0, e);
}

static int set_groups(const struct oci_user *u, uint32_t flags, struct err *e) {
	if (flags & CREDS_KEEP_GROUPS)
		return 0;
	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "gid lists are passed through");
	if (syscall(SYS_setgroups, u->n_additional_gids, u->additional_gids) == 0)
		return 0;
	/* In a user namespace with "setgroups" denied nothing can be dropped, and the groups grant nothing that the caller did not have. */
	if (errno == EPERM && u->n_additional_gids == 0)
		return 0;
	return err_sys(e, errno, "setgroups");
}

static int set_user(const struct oci_user *u, uint32_t flags, struct err *e) {
	int r = set_groups(u, flags, e);
	if (r < 0)
		return r;
	/* Raw calls: the C library's wrappers signal every thread, and there is one. setres* changes saved ids too. */
	if (syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0)
		return err_sys(e, errno, "setgid %u", u->gid);
	if (syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
		return err_sys(e, errno, "setuid %u", u->uid);
	return 0;
}

int creds_apply(const struct oci_process *p, uint32_t flags, struct err *e) {
	/* No "capabilities" at all means none (runc, crun), not all: the sets of an absent section are empty. */
	static const struct oci_caps none;
	const struct oci_caps *c = p->caps.set ? &p->caps : &none;
	int r = caps_drop_bounding(c->bounding, e);
	if (r == 0)
		r = caps_keep_on_setuid(true, e);
	if (r == 0)
		r = set_user(&p->user, flags, e);
	if (r < 0)
		return r;
	umask(p->user.umask.set ? (mode_t)p->user.umask.v & 0777 : DEFAULT_UMASK);
	/* An inheritable set that is not needed for ambient ones would let file capabilities of the image grow the process (CVE-2022-29162). */
	uint64_t inheritable = flags & CREDS_EXEC && !broken("inheritable") ? c->inheritable & c->ambient : c->inheritable;
	r = caps_set(c->effective, c->permitted, inheritable, c->ambient, e);
	return r < 0 ? r : caps_keep_on_setuid(false, e);
}

static int warn(struct strbuf *out, const char *name) {
	return strbuf_printf(out, "ignoring unknown or unavailable capability \"%s\"\n", name);
}

int caps_warnings(const struct oci_caps *c, struct strbuf *out) {
	for (size_t i = 0; i < c->unknown.n; i++)
		if (warn(out, c->unknown.v[i]) < 0)
			return -ENOMEM;
	uint64_t beyond = (c->bounding | c->effective | c->inheritable | c->permitted | c->ambient) & ~caps_all();
	for (; beyond; beyond &= beyond - 1) {
		const char *name = oci_capability_name((unsigned)__builtin_ctzll(beyond));
		if (name && warn(out, name) < 0)
			return -ENOMEM;
	}
	return 0;
}

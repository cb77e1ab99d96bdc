/* Rootless: whether a child can be cloned into the container's v2 cgroup, and how it gets there when it cannot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

enum { SELF_CGROUP_MAX = 64 << 10 };

/* Both for CLONE_INTO_CGROUP and for a write to cgroup.procs the kernel wants write access to cgroup.procs of the nearest common ancestor of
 * where the process is and where it goes (cgroup-v2.rst, "Delegation Containment"). */
static bool ask(struct cgroup *cg, struct cgroup_hier *v2)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_free_ char *file = NULL;
	size_t root = strlen(v2->dir) - strlen(cg->path), common = 0;

	if (file_read_at(AT_FDCWD, cgroup_host.self_cgroup, &b, SELF_CGROUP_MAX) < 0)
		return true;
	const char *self = str_has_prefix(strbuf_str(&b), "0::") ? b.s + 3 : strstr(strbuf_str(&b), "\n0::");
	if (!self)
		return true;
	self += *self == '\n' ? 4 : 0;
	size_t n = strcspn(self, "\n");
	for (size_t i = 0; i <= n; i++) {
		bool end_a = i == n || self[i] == '/', end_b = !cg->path[i] || cg->path[i] == '/';
		if (end_a && end_b)
			common = i;
		if (i == n || !cg->path[i] || self[i] != cg->path[i])
			break;
	}
	if (asprintf(&file, "%.*s%.*s/cgroup.procs", (int)root, v2->dir, (int)common, cg->path) < 0)
		return file = NULL, true;
	return faccessat(AT_FDCWD, file, W_OK, AT_EACCESS) == 0;
}

bool cgroup_may_enter(struct cgroup *cg)
{
	struct cgroup_hier *v2 = cgroup_v2(cg);

	if (!cg->may_enter)
		cg->may_enter = geteuid() == 0 || !v2 || ask(cg, v2) ? 1 : -1;
	return cg->may_enter > 0;
}

int cgroup_attach(struct cgroup *cg, const char *sub, pid_t pid, struct err *e)
{
	if (!cgroup_active(cg) || !cgroup_v2(cg) || cgroup_may_enter(cg))
		return 0;
	if (cg->manager == CGROUP_MANAGER_SYSTEMD && cg->unit)
		return cgroup_systemd_attach(cg, sub, pid, e);
	return err_set(e, EACCES, "the kernel does not let this user move a process from its own cgroup into %s: start from within the delegated part (systemd-run --user "
		"--scope), or use --systemd-cgroup or --cgroup-manager disabled", cg->path);
}

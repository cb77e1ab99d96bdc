/* The smaller limits: hugetlb, rdma, net_cls, net_prio, and v2's "unified" files as they come. */
#include <errno.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"

/* "2MB", "1GB", "64KB": a file name is made of it. */
static bool is_page_size(const char *s)
{
	size_t n = strspn(s, "0123456789");
	return n > 0 && n < 12 && strchr("KMG", s[n]) && s[n] && s[n + 1] == 'B' && !s[n + 2];
}

static int hugetlb(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	char file[64], value[24];
	int q;

	if (!r->n_hugepages)
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_HUGETLB);
	if (!h)
		return cgroup_no_controller(CGROUP_HUGETLB, "linux.resources.hugepageLimits", e);
	for (size_t i = 0; i < r->n_hugepages; i++) {
		const struct oci_hugepage *p = &r->hugepages[i];
		if (!is_page_size(p->page_size))
			return err_set(e, EINVAL, "linux.resources.hugepageLimits[%zu].pageSize: \"%s\" is no size such as 2MB", i, p->page_size);
		snprintf(value, sizeof(value), "%llu", (unsigned long long)p->limit);
		snprintf(file, sizeof(file), "hugetlb.%s.%s", p->page_size, h->v2 ? "max" : "limit_in_bytes");
		if ((q = cgroup_write_err(h, file, value, e)) < 0)
			return q;
		snprintf(file, sizeof(file), "hugetlb.%s.rsvd.%s", p->page_size, h->v2 ? "max" : "limit_in_bytes");
		q = cgroup_write(h, file, value); /* reservations are counted since Linux 5.7 */
		if (q < 0 && q != -ENOENT)
			return err_sys(e, q, "write \"%s\" to %s/%s", value, h->dir, file);
	}
	return 0;
}

static int rdma(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	char value[256];
	int q;

	if (!r->n_rdma)
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_RDMA);
	if (!h)
		return cgroup_no_controller(CGROUP_RDMA, "linux.resources.rdma", e);
	for (size_t i = 0; i < r->n_rdma; i++) {
		const struct oci_rdma *d = &r->rdma[i];
		if (strlen(d->device) > 128 || strpbrk(d->device, " \n"))
			return err_set(e, EINVAL, "linux.resources.rdma: \"%s\" is no device name", d->device);
		int n = snprintf(value, sizeof(value), "%s", d->device);
		if (d->hca_handles.set)
			n += snprintf(value + n, sizeof(value) - (size_t)n, " hca_handle=%llu", (unsigned long long)d->hca_handles.v);
		if (d->hca_objects.set)
			snprintf(value + n, sizeof(value) - (size_t)n, " hca_object=%llu", (unsigned long long)d->hca_objects.v);
		if ((q = cgroup_write_err(h, "rdma.max", value, e)) < 0)
			return q;
	}
	return 0;
}

static int network(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	char value[64];
	int q;

	if (r->net_class_id.set && r->net_class_id.v) {
		struct cgroup_hier *h = cgroup_hier(cg, CGROUP_NET_CLS);
		if (!h || h->v2)
			return cgroup_no_controller(CGROUP_NET_CLS, "linux.resources.network.classID", e);
		snprintf(value, sizeof(value), "%llu", (unsigned long long)r->net_class_id.v);
		if ((q = cgroup_write_err(h, "net_cls.classid", value, e)) < 0)
			return q;
	}
	for (size_t i = 0; i < r->n_net_priorities; i++) {
		struct cgroup_hier *h = cgroup_hier(cg, CGROUP_NET_PRIO);
		if (!h || h->v2)
			return cgroup_no_controller(CGROUP_NET_PRIO, "linux.resources.network.priorities", e);
		if (strlen(r->net_priorities[i].name) > 15 || strpbrk(r->net_priorities[i].name, " \n"))
			return err_set(e, EINVAL, "linux.resources.network.priorities[%zu].name: \"%s\" is no interface name", i, r->net_priorities[i].name);
		snprintf(value, sizeof(value), "%s %u", r->net_priorities[i].name, r->net_priorities[i].priority);
		if ((q = cgroup_write_err(h, "net_prio.ifpriomap", value, e)) < 0)
			return q;
	}
	return 0;
}

/* One file: its lines are written one by one, as the kernel takes them (io.max of two devices). */
static int unified_one(struct cgroup_hier *h, const struct oci_map_entry *m, struct err *e)
{
	if (!*m->key || strchr(m->key, '/') || !strchr(m->key, '.') || m->key[0] == '.')
		return err_set(e, EINVAL, "linux.resources.unified: \"%s\" is no cgroup file name", m->key);
	for (const char *p = m->value;; ) {
		size_t n = strcspn(p, "\n");
		_cleanup_free_ char *line = strndup(p, n);
		if (!line)
			return err_sys(e, ENOMEM, "linux.resources.unified");
		int r = n || !p[0] ? cgroup_write(h, m->key, line) : 0;
		if (r == -ENOENT) {
			int c = (int)strcspn(m->key, ".");
			return err_set(e, ENOTSUP, "invalid configuration: linux.resources.unified: \"%s\" can't be set: %s has no such file (is controller \"%.*s\" there on cgroup v2?)", m->key, h->dir, c, m->key);
		}
		if (r < 0)
			return err_sys(e, r, "linux.resources.unified: write \"%s\" to %s/%s", line, h->dir, m->key);
		if (!p[n] || !p[n + 1])
			return 0;
		p += n + 1;
	}
}

int cgroup_apply_rest(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	int q;

	if ((q = hugetlb(cg, r, e)) < 0 || (q = rdma(cg, r, e)) < 0 || (q = network(cg, r, e)) < 0)
		return q;
	if (!r->unified.n)
		return 0;
	struct cgroup_hier *v2 = cgroup_v2(cg);
	if (!v2)
		return err_set(e, ENOTSUP, "linux.resources.unified: this host has no cgroup v2");
	for (size_t i = 0; i < r->unified.n; i++)
		if ((q = unified_one(v2, &r->unified.v[i], e)) < 0)
			return q;
	return 0;
}

/* Block I/O limits: weights and throttles on v1 (blkio) and v2 (io), with BFQ's files where the default ones are missing. */
#include <errno.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"

/* blkio.weight 10..1000 -> io.weight 1..10000. */
uint64_t cgroup_blkio_to_io_weight(uint64_t weight)
{
	return weight <= 10 ? 1 : 1 + (weight - 10) * 9999 / 990;
}

/* First file that exists takes the value. */
static int write_first(struct cgroup_hier *h, const char *a, const char *va, const char *b, const char *vb, struct err *e)
{
	int r = cgroup_write(h, a, va);

	if (r == -ENOENT || r == -EOPNOTSUPP) /* EOPNOTSUPP: blkio.weight without a scheduler that knows weights */
		return cgroup_write_err(h, b, vb, e);
	return r < 0 ? err_sys(e, r, "write \"%s\" to %s/%s", va, h->dir, a) : 0;
}

static int weights(struct cgroup_hier *h, const struct oci_resources *r, struct err *e)
{
	char v1[64], v2[64];
	int q;

	if (r->blkio.weight.set && r->blkio.weight.v) {
		uint64_t w = r->blkio.weight.v;
		snprintf(v1, sizeof(v1), "%llu", (unsigned long long)w);
		snprintf(v2, sizeof(v2), "%llu", (unsigned long long)cgroup_blkio_to_io_weight(w));
		/* v2: BFQ's own file has v1's scale; io.weight belongs to io.cost. */
		q = h->v2 ? write_first(h, "io.bfq.weight", v1, "io.weight", v2, e) : write_first(h, "blkio.weight", v1, "blkio.bfq.weight", v1, e);
		if (q < 0)
			return q;
	}
	if (r->blkio.leaf_weight.set && r->blkio.leaf_weight.v) {
		if (h->v2)
			return err_set(e, ENOTSUP, "linux.resources.blockIO.leafWeight: cgroup v2 has no leaf weights");
		snprintf(v1, sizeof(v1), "%llu", (unsigned long long)r->blkio.leaf_weight.v);
		if ((q = cgroup_write_err(h, "blkio.leaf_weight", v1, e)) < 0)
			return q;
	}
	for (size_t i = 0; i < r->blkio.n_weight_device; i++) {
		const struct oci_blkio_device *d = &r->blkio.weight_device[i];
		if (d->weight.set && d->weight.v) {
			snprintf(v1, sizeof(v1), "%lld:%lld %llu", (long long)d->major, (long long)d->minor, (unsigned long long)d->weight.v);
			snprintf(v2, sizeof(v2), "%lld:%lld %llu", (long long)d->major, (long long)d->minor, (unsigned long long)cgroup_blkio_to_io_weight(d->weight.v));
			q = h->v2 ? write_first(h, "io.bfq.weight", v1, "io.weight", v2, e) : write_first(h, "blkio.weight_device", v1, "blkio.bfq.weight_device", v1, e);
			if (q < 0)
				return q;
		}
		if (d->leaf_weight.set && d->leaf_weight.v) {
			if (h->v2)
				return err_set(e, ENOTSUP, "linux.resources.blockIO.weightDevice[%zu].leafWeight: cgroup v2 has no leaf weights", i);
			snprintf(v1, sizeof(v1), "%lld:%lld %llu", (long long)d->major, (long long)d->minor, (unsigned long long)d->leaf_weight.v);
			if ((q = cgroup_write_err(h, "blkio.leaf_weight_device", v1, e)) < 0)
				return q;
		}
	}
	return 0;
}

static int throttles(struct cgroup_hier *h, const struct oci_resources *r, struct err *e)
{
	const struct { const struct oci_throttle *t; const char *v1, *v2; } rows[] = {
		{ &r->blkio.read_bps, "blkio.throttle.read_bps_device", "rbps" },
		{ &r->blkio.write_bps, "blkio.throttle.write_bps_device", "wbps" },
		{ &r->blkio.read_iops, "blkio.throttle.read_iops_device", "riops" },
		{ &r->blkio.write_iops, "blkio.throttle.write_iops_device", "wiops" },
	};
	char v[96];
	int q;

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
		for (size_t i = 0; i < rows[k].t->n; i++) {
			const struct oci_throttle_device *d = &rows[k].t->v[i];
			if (!h->v2)
				snprintf(v, sizeof(v), "%lld:%lld %llu", (long long)d->major, (long long)d->minor, (unsigned long long)d->rate);
			else if (d->rate)
				snprintf(v, sizeof(v), "%lld:%lld %s=%llu", (long long)d->major, (long long)d->minor, rows[k].v2, (unsigned long long)d->rate);
			else /* v1's 0 takes the limit away */
				snprintf(v, sizeof(v), "%lld:%lld %s=max", (long long)d->major, (long long)d->minor, rows[k].v2);
			if ((q = cgroup_write_err(h, h->v2 ? "io.max" : rows[k].v1, v, e)) < 0)
				return q;
		}
	return 0;
}

int cgroup_apply_io(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	int q;

	if (!(cgroup_wanted(r) & 1U << CGROUP_BLKIO) ||
	    !(r->blkio.weight.set || r->blkio.leaf_weight.set || r->blkio.n_weight_device || r->blkio.read_bps.n || r->blkio.write_bps.n || r->blkio.read_iops.n || r->blkio.write_iops.n))
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_BLKIO);
	if (!h)
		return cgroup_no_controller(CGROUP_BLKIO, "linux.resources.blockIO", e);
	q = weights(h, r, e);
	return q < 0 ? q : throttles(h, r, e);
}

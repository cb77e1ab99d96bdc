/* Block I/O statistics: v1's per-operation files and v2's io.stat, as `runc events` names them. */
#include <stdio.h>

#include "confine/cgroup_stats.h"

enum { IO_TEXT = 64 << 10 };

static void one(struct json_writer *w, unsigned long long major, unsigned long long minor, const char *op, uint64_t value)
{
	jw_object(w);
	if (major)
		jw_kv_u64(w, "major", major);
	if (minor)
		jw_kv_u64(w, "minor", minor);
	if (*op)
		jw_kv_string(w, "op", op);
	if (value)
		jw_kv_u64(w, "value", value);
	jw_object_end(w);
}

/* "8:0 Read 4096" or "8:0 4096"; the "Total" without a device is left out. */
static void file_v1(struct json_writer *w, const char *key, const char *text)
{
	bool open = false;

	for (const char *p = text; *p;) {
		unsigned long long major, minor, value;
		char op[32] = "";
		size_t n = strcspn(p, "\n");
		bool ok = sscanf(p, "%llu:%llu %31[A-Za-z] %llu", &major, &minor, op, &value) == 4;
		if (!ok) {
			op[0] = 0;
			ok = sscanf(p, "%llu:%llu %llu", &major, &minor, &value) == 3;
		}
		if (ok) {
			if (!open)
				jw_key(w, key), jw_array(w);
			open = true;
			one(w, major, minor, op, value);
		}
		p += n + (p[n] == '\n');
	}
	if (open)
		jw_array_end(w);
}

static void v1(struct cgroup_hier *h, struct json_writer *w, char *text)
{
	/* BFQ's files when it is the scheduler, else the throttling layer's. */
	static const struct { const char *key, *bfq, *other; } rows[] = {
		{ "ioServiceBytesRecursive", "blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive" },
		{ "ioServicedRecursive", "blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive" },
		{ "ioQueueRecursive", "blkio.bfq.io_queued_recursive", NULL },
		{ "ioServiceTimeRecursive", "blkio.bfq.io_service_time_recursive", NULL },
		{ "ioWaitTimeRecursive", "blkio.bfq.io_wait_time_recursive", NULL },
		{ "ioMergedRecursive", "blkio.bfq.io_merged_recursive", NULL },
		{ "ioTimeRecursive", "blkio.bfq.time_recursive", NULL },
		{ "sectorsRecursive", "blkio.bfq.sectors_recursive", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ssize_t n = cgroup_read(h, rows[i].bfq, text, IO_TEXT);
		if ((n <= 0 || str_has_prefix(text, "Total 0")) && rows[i].other)
			n = cgroup_read(h, rows[i].other, text, IO_TEXT);
		if (n > 0)
			file_v1(w, rows[i].key, text);
	}
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" a line. */
static void v2_array(struct json_writer *w, const char *key, const char *text, const char *const names[3])
{
	static const char *const ops[] = { "Read", "Write", "Discard" };
	bool open = false;

	for (const char *p = text; *p;) {
		unsigned long long major, minor;
		size_t n = strcspn(p, "\n");
		if (sscanf(p, "%llu:%llu", &major, &minor) == 2)
			for (size_t i = 0; i < 3; i++) {
				const char *f = memmem(p, n, names[i], strlen(names[i]));
				if (!f)
					continue;
				if (!open)
					jw_key(w, key), jw_array(w);
				open = true;
				one(w, major, minor, ops[i], strtoull(f + strlen(names[i]), NULL, 10));
			}
		p += n + (p[n] == '\n');
	}
	if (open)
		jw_array_end(w);
}

void cgroup_stats_blkio(struct cgroup *cg, struct json_writer *w)
{
	static const char *const bytes[] = { " rbytes=", " wbytes=", " dbytes=" }, *const ios[] = { " rios=", " wios=", " dios=" };
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_BLKIO);
	_cleanup_free_ char *text = malloc(IO_TEXT);

	jw_key(w, "blkio");
	jw_object(w);
	if (!h || !text)
		return;
	if (!h->v2) {
		v1(h, w, text);
	} else if (cgroup_read(h, "io.stat", text, IO_TEXT) > 0) {
		v2_array(w, "ioServiceBytesRecursive", text, bytes);
		v2_array(w, "ioServicedRecursive", text, ios);
	}
}

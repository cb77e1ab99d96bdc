/* Mount options: names to mount_setattr(2) attributes, mount(2) flags and extensions. */
#include <errno.h>
#include <stdio.h>
#include <linux/mount.h>

#include "base/str.h"
#include "spec/oci.h"
#include "spec/oci_internal.h"

/* mount(2) flags: linux/mount.h and glibc's sys/mount.h cannot be included together, and older headers lack the last. */
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

enum option_kind { OPT_FLAG, OPT_REC, OPT_PROPAGATION, OPT_EXT, OPT_BIND, OPT_NOTHING };

struct option {
	const char *name;
	enum option_kind kind;
	bool clear;
	unsigned long flag; /* MS_*, propagation or extension */
	uint64_t attr;      /* MOUNT_ATTR_* */
};

/* Sorted by name: "features" prints them in this order. */
static const struct option options[] = {
	{ "acl", OPT_FLAG, false, MS_POSIXACL, 0 },
	{ "async", OPT_FLAG, true, MS_SYNCHRONOUS, 0 },
	{ "atime", OPT_FLAG, true, MS_NOATIME, MOUNT_ATTR_NOATIME },
	{ "bind", OPT_BIND, false, MS_BIND, 0 },
	{ "copy-symlink", OPT_EXT, false, OCI_MOUNT_COPY_SYMLINK, 0 },
	{ "defaults", OPT_NOTHING, false, 0, 0 },
	{ "dest-nofollow", OPT_EXT, false, OCI_MOUNT_DEST_NOFOLLOW, 0 },
	{ "dev", OPT_FLAG, true, MS_NODEV, MOUNT_ATTR_NODEV },
	{ "diratime", OPT_FLAG, true, MS_NODIRATIME, MOUNT_ATTR_NODIRATIME },
	{ "dirsync", OPT_FLAG, false, MS_DIRSYNC, 0 },
	{ "exec", OPT_FLAG, true, MS_NOEXEC, MOUNT_ATTR_NOEXEC },
	{ "idmap", OPT_EXT, false, OCI_MOUNT_IDMAP, 0 },
	{ "iversion", OPT_FLAG, false, MS_I_VERSION, 0 },
	{ "lazytime", OPT_FLAG, false, MS_LAZYTIME, 0 },
	{ "loud", OPT_FLAG, true, MS_SILENT, 0 },
	{ "mand", OPT_FLAG, false, MS_MANDLOCK, 0 },
	{ "noacl", OPT_FLAG, true, MS_POSIXACL, 0 },
	{ "noatime", OPT_FLAG, false, MS_NOATIME, MOUNT_ATTR_NOATIME },
	{ "nodev", OPT_FLAG, false, MS_NODEV, MOUNT_ATTR_NODEV },
	{ "nodiratime", OPT_FLAG, false, MS_NODIRATIME, MOUNT_ATTR_NODIRATIME },
	{ "noexec", OPT_FLAG, false, MS_NOEXEC, MOUNT_ATTR_NOEXEC },
	{ "noiversion", OPT_FLAG, true, MS_I_VERSION, 0 },
	{ "nolazytime", OPT_FLAG, true, MS_LAZYTIME, 0 },
	{ "nomand", OPT_FLAG, true, MS_MANDLOCK, 0 },
	{ "norelatime", OPT_FLAG, true, MS_RELATIME, MOUNT_ATTR_RELATIME },
	{ "nostrictatime", OPT_FLAG, true, MS_STRICTATIME, MOUNT_ATTR_STRICTATIME },
	{ "nosuid", OPT_FLAG, false, MS_NOSUID, MOUNT_ATTR_NOSUID },
	{ "nosymfollow", OPT_FLAG, false, MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	{ "private", OPT_PROPAGATION, false, MS_PRIVATE, 0 },
	{ "ratime", OPT_REC, true, 0, MOUNT_ATTR_NOATIME },
	{ "rbind", OPT_BIND, false, MS_BIND | MS_REC, 0 },
	{ "rdev", OPT_REC, true, 0, MOUNT_ATTR_NODEV },
	{ "rdiratime", OPT_REC, true, 0, MOUNT_ATTR_NODIRATIME },
	{ "relatime", OPT_FLAG, false, MS_RELATIME, MOUNT_ATTR_RELATIME },
	{ "remount", OPT_FLAG, false, MS_REMOUNT, 0 },
	{ "rexec", OPT_REC, true, 0, MOUNT_ATTR_NOEXEC },
	{ "ridmap", OPT_EXT, false, OCI_MOUNT_IDMAP | OCI_MOUNT_RIDMAP, 0 },
	{ "rnoatime", OPT_REC, false, 0, MOUNT_ATTR_NOATIME },
	{ "rnodev", OPT_REC, false, 0, MOUNT_ATTR_NODEV },
	{ "rnodiratime", OPT_REC, false, 0, MOUNT_ATTR_NODIRATIME },
	{ "rnoexec", OPT_REC, false, 0, MOUNT_ATTR_NOEXEC },
	{ "rnorelatime", OPT_REC, true, 0, MOUNT_ATTR_RELATIME },
	{ "rnostrictatime", OPT_REC, true, 0, MOUNT_ATTR_STRICTATIME },
	{ "rnosuid", OPT_REC, false, 0, MOUNT_ATTR_NOSUID },
	{ "rnosymfollow", OPT_REC, false, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "ro", OPT_FLAG, false, MS_RDONLY, MOUNT_ATTR_RDONLY },
	{ "rprivate", OPT_PROPAGATION, false, MS_PRIVATE | MS_REC, 0 },
	{ "rrelatime", OPT_REC, false, 0, MOUNT_ATTR_RELATIME },
	{ "rro", OPT_REC, false, 0, MOUNT_ATTR_RDONLY },
	{ "rrw", OPT_REC, true, 0, MOUNT_ATTR_RDONLY },
	{ "rshared", OPT_PROPAGATION, false, MS_SHARED | MS_REC, 0 },
	{ "rslave", OPT_PROPAGATION, false, MS_SLAVE | MS_REC, 0 },
	{ "rstrictatime", OPT_REC, false, 0, MOUNT_ATTR_STRICTATIME },
	{ "rsuid", OPT_REC, true, 0, MOUNT_ATTR_NOSUID },
	{ "rsymfollow", OPT_REC, true, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "runbindable", OPT_PROPAGATION, false, MS_UNBINDABLE | MS_REC, 0 },
	{ "rw", OPT_FLAG, true, MS_RDONLY, MOUNT_ATTR_RDONLY },
	{ "shared", OPT_PROPAGATION, false, MS_SHARED, 0 },
	{ "silent", OPT_FLAG, false, MS_SILENT, 0 },
	{ "slave", OPT_PROPAGATION, false, MS_SLAVE, 0 },
	{ "src-nofollow", OPT_EXT, false, OCI_MOUNT_SRC_NOFOLLOW, 0 },
	{ "src-nosymlinks", OPT_EXT, false, OCI_MOUNT_SRC_NOSYMLINKS, 0 },
	{ "strictatime", OPT_FLAG, false, MS_STRICTATIME, MOUNT_ATTR_STRICTATIME },
	{ "suid", OPT_FLAG, true, MS_NOSUID, MOUNT_ATTR_NOSUID },
	{ "symfollow", OPT_FLAG, true, MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	{ "sync", OPT_FLAG, false, MS_SYNCHRONOUS, 0 },
	{ "tmpcopyup", OPT_EXT, false, OCI_MOUNT_TMPCOPYUP, 0 },
	{ "unbindable", OPT_PROPAGATION, false, MS_UNBINDABLE, 0 },
};

const char *const oci_mount_option_names[] = {
	"acl", "async", "atime", "bind", "copy-symlink", "defaults", "dest-nofollow", "dev", "diratime", "dirsync", "exec", "idmap", "iversion",
	"lazytime", "loud", "mand", "noacl", "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime",
	"nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount", "rexec", "ridmap", "rnoatime",
	"rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw",
	"rshared", "rslave", "rstrictatime", "rsuid", "rsymfollow", "runbindable", "rw", "shared", "silent", "slave", "src-nofollow", "src-nosymlinks", "strictatime",
	"suid", "symfollow", "sync", "tmpcopyup", "unbindable", NULL,
};
_Static_assert(ARRAY_SIZE(oci_mount_option_names) == ARRAY_SIZE(options) + 1, "features lists every option");

/* One attribute into set/clr. The access-time attributes are one field of two bits, RELATIME being zero: mount_setattr(2) wants the whole field
 * in attr_clr whenever any of them changes. */
static void put_attr(uint64_t *set, uint64_t *clr, uint64_t attr, bool clear, bool atime) {
	if (atime) {
		*set &= ~(uint64_t)MOUNT_ATTR__ATIME;
		*clr |= MOUNT_ATTR__ATIME;
		if (!clear)
			*set |= attr;
	} else if (clear) {
		*set &= ~attr;
		*clr |= attr;
	} else {
		*clr &= ~attr;
		*set |= attr;
	}
}

static bool is_atime(const struct option *o) {
	return (o->attr & MOUNT_ATTR__ATIME) || str_has_suffix(o->name, "relatime");
}

static void put_option(struct oci_mount *m, const struct option *o) {
	switch (o->kind) {
	case OPT_FLAG:
		if (o->flag == MS_REMOUNT)
			m->remount = true;
		if (o->clear) {
			m->flags_set &= ~o->flag;
			m->flags_clr |= o->flag;
		} else {
			m->flags_clr &= ~o->flag;
			m->flags_set |= o->flag;
		}
		if (o->attr || is_atime(o))
			put_attr(&m->attr_set, &m->attr_clr, o->attr, o->clear, is_atime(o));
		break;
	case OPT_REC:
		put_attr(&m->rec_attr_set, &m->rec_attr_clr, o->attr, o->clear, is_atime(o));
		break;
	case OPT_PROPAGATION:
		m->propagation = o->flag;
		break;
	case OPT_EXT:
		m->ext |= (uint32_t)o->flag;
		break;
	case OPT_BIND:
		m->bind = true;
		m->recursive_bind |= (o->flag & MS_REC) != 0;
		break;
	case OPT_NOTHING:
		break;
	}
}

static const struct option *find_option(const char *name) {
	size_t lo = 0, hi = ARRAY_SIZE(options);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(name, options[mid].name);
		if (c == 0)
			return &options[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

int oci_mount_decode_options(struct arena *a, struct oci_mount *m, const char *json_path, struct err *e) {
	_cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
	for (size_t i = 0; i < m->options.n; i++) {
		const char *name = m->options.v[i];
		const struct option *o = find_option(name);
		/* As crun writes it: "idmap=uids=0-1000-10;gids=0-1000-10". */
		if (!o && (str_has_prefix(name, "idmap=") || str_has_prefix(name, "ridmap="))) {
			m->ext |= OCI_MOUNT_IDMAP | (name[0] == 'r' ? OCI_MOUNT_RIDMAP : 0);
			m->idmap_option = strchr(name, '=') + 1;
			if (!*m->idmap_option)
				return err_set(e, -EINVAL, "%s: options[%zu]: \"%s\" names no mapping (expected idmap=uids=C-H-N;gids=C-H-N)", json_path, i, name);
			continue;
		}
		if (o)
			put_option(m, o);
		else if (*name)
			strbuf_printf(&data, "%s%s", data.len ? "," : "", name);
	}
	if (m->type && streq(m->type, "bind"))
		m->bind = true;
	m->data = data.failed ? NULL : arena_strdup(a, strbuf_str(&data));
	return m->data ? 0 : err_sys(e, -ENOMEM, "read mount options");
}

int oci_check_id_map(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	const struct oci_id_map *m = obj;
	if (m->size == 0)
		return decode_fail(d, p, "size 0 maps nothing (expected at least 1)");
	if ((uint64_t)m->container_id + m->size > UINT32_MAX || (uint64_t)m->host_id + m->size > UINT32_MAX)
		return decode_fail(d, p, "range of %u ids from %u to %u exceeds 32 bits", m->size, m->container_id, m->host_id);
	return 0;
}

const struct field oci_id_map_fields[] = {
	FIELD_REQ("containerID", FIELD_U32, struct oci_id_map, container_id),
	FIELD_REQ("hostID", FIELD_U32, struct oci_id_map, host_id),
	FIELD_REQ("size", FIELD_U32, struct oci_id_map, size),
	FIELD_END,
};

const struct field oci_mount_fields[] = {
	FIELD_REQ("destination", FIELD_STRING, struct oci_mount, destination),
	FIELD("type", FIELD_TEXT, struct oci_mount, type),
	FIELD("source", FIELD_TEXT, struct oci_mount, source),
	FIELD("options", FIELD_STRINGS, struct oci_mount, options),
	FIELD_ARRAY_FN("uidMappings", struct oci_mount, uid_mappings.v, uid_mappings.n, struct oci_id_map, oci_id_map_fields, oci_check_id_map),
	FIELD_ARRAY_FN("gidMappings", struct oci_mount, gid_mappings.v, gid_mappings.n, struct oci_id_map, oci_id_map_fields, oci_check_id_map),
	FIELD_END,
};

int oci_check_mount(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_mount *m = obj;
	char where[64];
	m->json = j;
	if (!m->options.v) {
		m->options.v = arena_array(d->a, 1, char *);
		if (!m->options.v)
			return decode_oom(d);
	}
	if (!*m->destination)
		return decode_fail(d, p, "destination is empty (expected a path in the container)");
	snprintf(where, sizeof(where), "%s: mounts[%u]", d->document, p->index);
	int r = oci_mount_decode_options(d->a, m, where, d->e);
	if (r < 0)
		return r;
	if ((m->uid_mappings.n == 0) != (m->gid_mappings.n == 0))
		return decode_fail(d, p, "uidMappings and gidMappings must be given together");
	if (!m->bind && !m->type && !m->remount && !(m->ext & OCI_MOUNT_COPY_SYMLINK) && !m->propagation)
		return decode_fail(d, p, "type is required unless the options have bind or rbind");
	return 0;
}

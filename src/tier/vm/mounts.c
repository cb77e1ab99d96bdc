/* Mounts of a running container: host directories are shared with the machine, the agent does the rest. */
#include <errno.h>

#include "sys/fd.h"
#include "tier/vm/control.h"
#include "tier/vm/guestconf.h"
#include "tier/vm/ops_internal.h"

/* A document of its own around the mounts. */
static int document(struct arena *a, const struct tier_container *c, const struct oci_mount *m, size_t n, struct oci_spec *ret, struct err *e)
{
	static const char text[] = "{\"ociVersion\":\"1.3.0\",\"mounts\":[]}";
	*ret = (struct oci_spec){ .mounts = (struct oci_mount *)(uintptr_t)m, .n_mounts = n };
	if (c->spec) {
		ret->uid_mappings = c->spec->uid_mappings;
		ret->gid_mappings = c->spec->gid_mappings;
	}
	return json_parse(a, text, sizeof text - 1, &ret->json, e);
}

static int change(struct tier_container *c, const struct oci_mount *m, size_t n, bool remove, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT;
	_cleanup_shares_ struct guest_shares shares = { 0 };
	struct oci_spec doc;
	int r = document(&a, c, m, n, &doc, e);
	if (r >= 0 && remove) { /* only where it is mounted matters, not what */
		shares.of_mount = calloc(n + 1, sizeof *shares.of_mount);
		for (size_t i = 0; shares.of_mount && i < n; i++)
			shares.of_mount[i] = -1;
		r = shares.of_mount ? 0 : err_set(e, ENOMEM, "mounts");
	} else if (r >= 0) {
		r = guest_shares_open(&doc, c->bundle, &shares, e);
	}
	if (r >= 0 && shares.n) {
		_cleanup_close_ int sock = control_connect(c->state_fd, e);
		uint8_t none;
		r = sock < 0 ? sock : vm_share(sock, &shares, NULL, true, &none, e);
	}
	if (r >= 0)
		r = guestconf_write(&doc, &shares, &config, e);
	if (r < 0)
		return r;
	struct agent_mounts q = { c->id, { config.s, config.len }, remove, shares.n };
	return control_call(c->state_fd, "Mounts", &agent_mounts_desc, &q, NULL, NULL, &a, NULL, e);
}

int vm_mounts_add(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e)
{
	return change(c, m, n, false, e);
}

int vm_mounts_remove(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e)
{
	return change(c, m, n, true, e);
}

/* Options as rows. */
#include "tier/vm/builtin/config.h"

#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <string.h>

#include "base/str.h"
#include "tier/vm/builtin/layout.h"

struct parse { struct vmm_config *c; const char *name, *value; struct err *e; };

static int bad(const struct parse *p, const char *wanted)
{
	return err_set(p->e, EINVAL, "%s=%s: not %s", p->name, p->value, wanted);
}

static int number(const struct parse *p, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v;
	if (parse_u64(p->value, &v) < 0 || v < min || v > max)
		return err_set(p->e, EINVAL, "%s=%s: not a number from %llu to %llu", p->name, p->value, (unsigned long long)min, (unsigned long long)max);
	*ret = v;
	return 0;
}

/* A descriptor that is open; what kind of file it is shows when it is used. */
static int descriptor(const struct parse *p, const char *text, int *ret)
{
	uint32_t v;
	if (parse_u32(text, &v) < 0 || v < 3 || v > INT32_MAX || fcntl((int)v, F_GETFD) < 0)
		return bad(p, "an open file descriptor from 3 on");
	*ret = (int)v;
	return 0;
}

static int set_memory(const struct parse *p)
{
	uint64_t v = 0;
	int r = number(p, VMM_MEMORY_MIN >> 20, VMM_MEMORY_MAX >> 20, &v);
	p->c->memory = v << 20;
	return r;
}

static int set_cpus(const struct parse *p)
{
	uint64_t v = 0;
	int r = number(p, 1, VMM_CPUS_MAX, &v);
	p->c->cpus = (unsigned)v;
	return r;
}

static int set_cmdline(const struct parse *p)
{
	if (strlen(p->value) >= COMMAND_LINE_MAX)
		return err_set(p->e, EINVAL, "%s: longer than the kernel takes (%u bytes)", p->name, COMMAND_LINE_MAX - 1);
	p->c->cmdline = p->value;
	return 0;
}

static int set_kernel(const struct parse *p) { return descriptor(p, p->value, &p->c->kernel); }
static int set_initrd(const struct parse *p) { return descriptor(p, p->value, &p->c->initrd); }
static int set_memory_file(const struct parse *p) { return descriptor(p, p->value, &p->c->memory_file); }
static int set_state(const struct parse *p) { return descriptor(p, p->value, &p->c->state); }
static int set_console(const struct parse *p) { return descriptor(p, p->value, &p->c->console); }
static int set_control(const struct parse *p) { return descriptor(p, p->value, &p->c->control); }

/* NAME:FD; the name lives as long as the process. */
static int named(const struct parse *p, char **ret_name, int *ret_fd)
{
	const char *colon = strrchr(p->value, ':');
	if (!colon || colon == p->value || colon - p->value > 31)
		return bad(p, "NAME:FD");
	_cleanup_free_ char *name = strndup(p->value, (size_t)(colon - p->value));
	int r = name ? descriptor(p, colon + 1, ret_fd) : err_set(p->e, ENOMEM, "configuration");
	if (r >= 0)
		*ret_name = TAKE(name);
	return r;
}

static int set_port(const struct parse *p)
{
	if (p->c->n_ports == CONFIG_PORTS_MAX)
		return err_set(p->e, E2BIG, "more than %d ports", CONFIG_PORTS_MAX);
	struct config_port *port = &p->c->ports[p->c->n_ports++];
	char *name = NULL;
	int r = named(p, &name, &port->fd);
	port->name = name;
	return r;
}

static int set_fs(const struct parse *p)
{
	char *tag = NULL;
	int r = named(p, &tag, &p->c->fs);
	p->c->fs_tag = tag;
	return r;
}

/* FD[:rw] */
static int file(const struct parse *p, int *ret_fd, bool *ret_writable)
{
	char text[32];
	size_t n = strcspn(p->value, ":");
	if (n >= sizeof text || (p->value[n] && !streq(p->value + n, ":rw")))
		return bad(p, "FD or FD:rw");
	memcpy(text, p->value, n);
	text[n] = 0;
	*ret_writable = p->value[n] != 0;
	return descriptor(p, text, ret_fd);
}

static int set_disk(const struct parse *p)
{
	if (p->c->n_disks == CONFIG_DISKS_MAX)
		return err_set(p->e, E2BIG, "more than %d disks", CONFIG_DISKS_MAX);
	struct config_disk *d = &p->c->disks[p->c->n_disks++];
	return file(p, &d->fd, &d->writable);
}

static int set_pmem(const struct parse *p) { return file(p, &p->c->pmem, &p->c->pmem_writable); }

/* CID:FD */
static int set_vsock(const struct parse *p)
{
	_cleanup_free_ char *cid = NULL;
	int r = named(p, &cid, &p->c->vsock);
	if (r < 0)
		return r;
	return parse_u64(cid, &p->c->vsock_cid) < 0 || p->c->vsock_cid < 3 ? bad(p, "CID:FD with a context identifier from 3 on") : 0;
}

static int set_vsock_path(const struct parse *p) { p->c->vsock_path = p->value; return 0; }

/* Limits hold for the disk named before them. */
static int set_disk_rate(const struct parse *p)
{
	if (!p->c->n_disks)
		return err_set(p->e, EINVAL, "%s: no disk before it", p->name);
	return number(p, 1, UINT64_MAX / 2, &p->c->disks[p->c->n_disks - 1].bytes_per_s);
}

static int set_disk_ops(const struct parse *p)
{
	if (!p->c->n_disks)
		return err_set(p->e, EINVAL, "%s: no disk before it", p->name);
	return number(p, 1, UINT64_MAX / 2, &p->c->disks[p->c->n_disks - 1].ops_per_s);
}

static int set_tap(const struct parse *p)
{
	unsigned n = p->c->n_taps;
	if (n == CONFIG_TAPS_MAX)
		return err_set(p->e, E2BIG, "more than %d interfaces", CONFIG_TAPS_MAX);
	p->c->taps[n] = (struct config_tap){ -EBADF, { 0x52, 0x54, 0, 0, 0, (uint8_t)(n + 1) }, 0 };
	p->c->n_taps++;
	return descriptor(p, p->value, &p->c->taps[n].fd);
}

/* What follows is of the interface named before it. */
static int last_tap(const struct parse *p, struct config_tap **ret)
{
	if (!p->c->n_taps)
		return err_set(p->e, EINVAL, "%s: no --tap before it", p->name);
	*ret = &p->c->taps[p->c->n_taps - 1];
	return 0;
}

static int set_net_rate(const struct parse *p)
{
	struct config_tap *t = NULL;
	int r = last_tap(p, &t);
	return r < 0 ? r : number(p, 1, UINT64_MAX / 2, &t->bytes_per_s);
}

static int set_mac(const struct parse *p)
{
	struct config_tap *t = NULL;
	struct ether_addr a;
	int r = last_tap(p, &t);
	if (r < 0)
		return r;
	if (!ether_aton_r(p->value, &a) || a.ether_addr_octet[0] & 1)
		return bad(p, "a unicast hardware address");
	memcpy(t->mac, a.ether_addr_octet, sizeof t->mac);
	return 0;
}

static int set_uid(const struct parse *p)
{
	uint64_t v = 0;
	int r = number(p, 1, UINT32_MAX - 1, &v);
	p->c->uid = p->c->gid = (uint32_t)v;
	p->c->jail = true;
	return r;
}

static int set_balloon(const struct parse *p) { p->c->balloon = true; return 0; }
static int set_rng(const struct parse *p) { p->c->rng = true; return 0; }
static int set_show_filters(const struct parse *p) { p->c->show_filters = true; return 0; }
static int set_probe(const struct parse *p) { p->c->probe = true; return 0; }

static const struct { const char *name, *value, *help; int (*set)(const struct parse *p); } rows[] = {
	{ "--memory", "MIB", "guest memory", set_memory },
	{ "--cpus", "N", "processors, 1 to 64", set_cpus },
	{ "--kernel", "FD", "ELF with a PVH entry point", set_kernel },
	{ "--initrd", "FD", "initial root file system", set_initrd },
	{ "--cmdline", "TEXT", "kernel parameters", set_cmdline },
	{ "--memory-file", "FD", "template's memory; mapped privately", set_memory_file },
	{ "--state", "FD", "template's state of processors and devices", set_state },
	{ "--console", "FD", "takes what the guest's serial line prints", set_console },
	{ "--control", "FD", "socket for pause, resume, snapshot, balloon, stop", set_control },
	{ "--port", "NAME:FD", "virtio-console port on a connected socket", set_port },
	{ "--disk", "FD[:rw]", "virtio-blk over a file, read-only unless :rw", set_disk },
	{ "--disk-rate", "BYTES", "limit of the disk before it, each second", set_disk_rate },
	{ "--disk-ops", "N", "limit of the disk before it, each second", set_disk_ops },
	{ "--tap", "FD", "virtio-net over a tap device", set_tap },
	{ "--mac", "ADDRESS", "hardware address of the interface before it", set_mac },
	{ "--net-rate", "BYTES", "limit of the interface before it in each direction, each second", set_net_rate },
	{ "--balloon", NULL, "virtio-balloon; pages that the guest reports free go back to the host", set_balloon },
	{ "--rng", NULL, "virtio-rng", set_rng },
	{ "--fs", "TAG:FD", "virtio-fs whose FUSE server is at the other end of a stream socket", set_fs },
	{ "--pmem", "FD[:rw]", "virtio-pmem over a file of whole 2 MiB; without :rw what the guest writes stays with the machine", set_pmem },
	{ "--vsock", "CID:FD", "virtio-vsock; the host's programs connect to this listening unix socket", set_vsock },
	{ "--vsock-path", "PATH", "the guest's connections to port P go to the unix socket PATH_P; not with --uid, whose root is empty", set_vsock_path },
	{ "--uid", "N", "jail: this user, an empty root; namespaces are the caller's", set_uid },
	{ "--show-filters", NULL, "print the host calls that each class of threads may make, and why", set_show_filters },
	{ "--probe", NULL, "run a tiny guest: can /dev/kvm run one", set_probe },
};

void config_usage(FILE *out)
{
	fputs("usage: tierce-vmm OPTION[=VALUE]...\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(out, "  %s%s%-*s %s\n", rows[i].name, rows[i].value ? "=" : " ", (int)(24 - strlen(rows[i].name)), rows[i].value ? rows[i].value : "", rows[i].help);
}

static int one(struct vmm_config *c, const char *word, struct err *e)
{
	size_t n = strcspn(word, "=");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strlen(rows[i].name) != n || memcmp(rows[i].name, word, n) != 0)
			continue;
		if (!rows[i].value != !word[n])
			return err_set(e, EINVAL, "%s %s", rows[i].name, rows[i].value ? "needs a value" : "takes no value");
		struct parse p = { c, rows[i].name, word[n] ? word + n + 1 : NULL, e };
		return rows[i].set(&p);
	}
	return err_set(e, EINVAL, "unknown option %s", word);
}

/* What must come together. */
static int whole(const struct vmm_config *c, struct err *e)
{
	if (c->show_filters || c->probe)
		return 0;
	if (!c->memory)
		return err_set(e, EINVAL, "--memory is missing");
	bool restore = c->memory_file >= 0 || c->state >= 0;
	if (restore && (c->memory_file < 0 || c->state < 0))
		return err_set(e, EINVAL, "--memory-file and --state come together");
	if (restore == (c->kernel >= 0))
		return err_set(e, EINVAL, "either --kernel or a template's --memory-file and --state");
	if (c->vsock_path && (!c->vsock_cid || c->jail))
		return err_set(e, EINVAL, "--vsock-path needs --vsock, and goes without --uid");
	if (restore && (c->initrd >= 0 || c->cmdline))
		return err_set(e, EINVAL, "a template has its --initrd and --cmdline inside");
	return 0;
}

int config_parse(int argc, char **argv, struct vmm_config *ret, struct err *e)
{
	struct vmm_config c = { .cpus = 1, .kernel = -EBADF, .initrd = -EBADF, .memory_file = -EBADF, .state = -EBADF, .console = -EBADF, .control = -EBADF, .fs = -EBADF, .vsock = -EBADF, .pmem = -EBADF };
	for (int i = 1; i < argc; i++) {
		int r = one(&c, argv[i], e);
		if (r < 0)
			return r;
	}
	int r = whole(&c, e);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}

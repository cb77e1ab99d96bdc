/* Slots in a fixed order: a template's state is found again by it. */
#include "tier/vm/builtin/devices.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "tier/vm/builtin/ram.h"
#include "tier/vm/builtin/say.h"
#include "tier/vm/virtio/devices.h"
#include "tier/vm/virtio/mmio.h"

enum { REFILL_MS = 1000, PMEM_KVM_SLOT = GUEST_REGIONS_MAX /* behind memory's */ };

/* ---- what devices may ask ---- */

static int host_watch(void *arg, int fd, uint32_t events, void (*cb)(void *ctx, uint32_t events), void *ctx)
{
	struct vmm *m = arg;
	return loop_watch(&m->loop, fd, events, cb, ctx);
}

static void host_unwatch(void *arg, int fd)
{
	struct vmm *m = arg;
	loop_unwatch(&m->loop, fd);
}

static void ring(int fd)
{
	uint64_t one = 1;
	(void)!write(fd, &one, sizeof one);
}

static void host_interrupt(void *arg, unsigned slot)
{
	struct vmm *m = arg;
	ring(m->slot[slot].line_fd);
}

static void host_poke(void *arg, unsigned slot)
{
	struct vmm *m = arg;
	atomic_fetch_or(&m->poked, 1u << slot);
	ring(m->poke_fd);
}

static void host_log(void *arg, const char *line)
{
	(void)arg;
	vmm_say("%s", line);
}

/* ---- what the guest does ---- */

static void on_bell(void *ctx, uint32_t events)
{
	struct doorbell *b = ctx;
	uint64_t n;
	(void)events;
	if (read(b->fd, &n, sizeof n) == sizeof n)
		virtio_device_kick(b->slot->device, b->queue);
}

static void on_poke(void *ctx, uint32_t events)
{
	struct vmm *m = ctx;
	uint64_t n;
	(void)events;
	(void)!read(m->poke_fd, &n, sizeof n);
	uint32_t who = atomic_exchange(&m->poked, 0);
	for (unsigned i = 0; i < m->n_slots; i++)
		if (who >> i & 1)
			virtio_device_run(m->slot[i].device);
}

void devices_mmio(struct vmm *m, bool out, uint64_t gpa, unsigned len, void *data)
{
	uint64_t slot = (gpa - VIRTIO_WINDOWS) / GUEST_PAGE;
	if (gpa < VIRTIO_WINDOWS || slot >= m->n_slots) {
		if (!out)
			memset(data, 0xff, len);
		return;
	}
	struct virtio_device *d = m->slot[slot].device;
	if (out)
		virtio_mmio_write(d, gpa % GUEST_PAGE, len, data);
	else
		virtio_mmio_read(d, gpa % GUEST_PAGE, len, data);
}

/* ---- making ---- */

static int add(struct vmm *m, struct virtio_device *d, struct err *e)
{
	struct vmm_slot *s = &m->slot[m->n_slots];
	uint64_t window = VIRTIO_WINDOWS + m->n_slots * GUEST_PAGE;
	s->device = d;
	s->vmm = m;
	s->line_fd = kvm_line(&m->kvm, VIRTIO_LINE + m->n_slots, e);
	if (s->line_fd < 0)
		return s->line_fd;
	for (unsigned q = 0; q < d->n_queues; q++) {
		struct doorbell *b = &s->bell[q];
		*b = (struct doorbell){ kvm_doorbell(&m->kvm, window + VIRTIO_MMIO_NOTIFY, q, e), q, s };
		int r = b->fd < 0 ? b->fd : loop_watch(&m->loop, b->fd, EPOLLIN, on_bell, b);
		if (r < 0)
			return err_wrap(e, r, "doorbell");
	}
	m->n_slots++;
	return 0;
}

static struct bucket_config each_second(uint64_t n)
{
	return (struct bucket_config){ .size = n, .refill_ms = n ? REFILL_MS : 0 };
}

static int make_console(struct vmm *m, struct virtio_device **ret, struct err *e)
{
	struct virtio_console_port ports[CONFIG_PORTS_MAX];
	for (unsigned i = 0; i < m->c->n_ports; i++)
		ports[i] = (struct virtio_console_port){ m->c->ports[i].name, m->c->ports[i].fd };
	return virtio_console_new(&m->virtio, m->n_slots, ports, m->c->n_ports, ret, e);
}

static int make_disk(struct vmm *m, const struct config_disk *d, struct virtio_device **ret, struct err *e)
{
	struct virtio_blk_options o = { .fd = d->fd, .readonly = !d->writable, .limit = { each_second(d->bytes_per_s), each_second(d->ops_per_s) } };
	return virtio_blk_new(&m->virtio, m->n_slots, &o, ret, e);
}

static int make_net(struct vmm *m, const struct config_tap *t, struct virtio_device **ret, struct err *e)
{
	struct virtio_net_options o = { .fd = t->fd, .rx.bytes = each_second(t->bytes_per_s), .tx.bytes = each_second(t->bytes_per_s) };
	memcpy(o.mac, t->mac, sizeof o.mac);
	return virtio_net_new(&m->virtio, m->n_slots, &o, ret, e);
}

static int make_fs(struct vmm *m, struct virtio_device **ret, struct err *e)
{
	struct virtio_fs_options o = { .tag = m->c->fs_tag, .channel_fd = m->c->fs };
	return virtio_fs_new(&m->virtio, m->n_slots, &o, ret, e);
}

static int make_vsock(struct vmm *m, struct virtio_device **ret, struct err *e)
{
	struct virtio_vsock_options o = { .cid = m->c->vsock_cid, .listen_fd = m->c->vsock, .path = m->c->vsock_path };
	return virtio_vsock_new(&m->virtio, m->n_slots, &o, ret, e);
}

static int make_pmem(struct vmm *m, struct virtio_device **ret, struct err *e)
{
	struct virtio_pmem_options o = { .fd = m->c->pmem };
	int r = ram_map_file(&m->mem, m->c->pmem, m->c->pmem_writable, &o.gpa, &o.size, &m->pmem_at, e);
	if (r >= 0)
		r = kvm_map(&m->kvm, PMEM_KVM_SLOT, o.gpa, o.size, m->pmem_at, e);
	return r < 0 ? r : virtio_pmem_new(&m->virtio, m->n_slots, &o, ret, e);
}

int devices_make(struct vmm *m, struct err *e)
{
	struct virtio_device *d;
	int r = 0;
	m->virtio = (struct virtio_host){ .arg = m, .mem = &m->mem, .watch = host_watch, .unwatch = host_unwatch, .interrupt = host_interrupt, .poke = host_poke,
		.log = host_log };
	m->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->poke_fd < 0)
		return err_sys(e, errno, "eventfd");
	if ((r = loop_watch(&m->loop, m->poke_fd, EPOLLIN, on_poke, m)) < 0)
		return err_sys(e, r, "epoll");
	if (m->c->n_ports && ((r = make_console(m, &d, e)) < 0 || (r = add(m, d, e)) < 0))
		return err_wrap(e, r, "ports");
	for (unsigned i = 0; i < m->c->n_disks; i++)
		if ((r = make_disk(m, &m->c->disks[i], &d, e)) < 0 || (r = add(m, d, e)) < 0)
			return err_wrap(e, r, "disk %u", i);
	for (unsigned i = 0; i < m->c->n_taps; i++)
		if ((r = make_net(m, &m->c->taps[i], &d, e)) < 0 || (r = add(m, d, e)) < 0)
			return err_wrap(e, r, "network interface %u", i);
	struct virtio_balloon_options balloon = { .deflate_on_oom = true, .reporting = true, .stats = true };
	if (m->c->balloon && ((r = virtio_balloon_new(&m->virtio, m->n_slots, &balloon, &m->balloon, e)) < 0 || (r = add(m, m->balloon, e)) < 0))
		return err_wrap(e, r, "balloon");
	if (m->c->rng && ((r = virtio_rng_new(&m->virtio, m->n_slots, NULL, &d, e)) < 0 || (r = add(m, d, e)) < 0))
		return err_wrap(e, r, "random numbers");
	if (m->c->fs_tag && ((r = make_fs(m, &d, e)) < 0 || (r = add(m, d, e)) < 0))
		return err_wrap(e, r, "file system");
	if (m->c->vsock_cid && ((r = make_vsock(m, &d, e)) < 0 || (r = add(m, d, e)) < 0))
		return err_wrap(e, r, "vsock");
	if (m->c->pmem >= 0 && ((r = make_pmem(m, &d, e)) < 0 || (r = add(m, d, e)) < 0))
		return err_wrap(e, r, "persistent memory");
	return 0;
}

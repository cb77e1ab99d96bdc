/* Format: a head, then records of kind, index, length and bytes, each exactly once and in the order in which they are applied. */
#include "tier/vm/builtin/snapshot.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "sys/fd.h"

#define MAGIC 0x314d4d5643524554ull /* "TERCVMM1" */
enum { VERSION = 1, KIND_MACHINE = 1, KIND_CPU, KIND_SERIAL, KIND_DEVICE, CHIPS = 3 };

struct head { uint64_t magic; uint32_t version, cpus; uint64_t memory; uint32_t slots, records; };
struct record { uint32_t kind, index, len, zero; };
struct machine_part { struct kvm_clock_data clock; struct kvm_irqchip chip[CHIPS]; };

static void put(struct strbuf *out, uint32_t kind, uint32_t index, const void *data, size_t len)
{
	struct record r = { kind, index, (uint32_t)len, 0 };
	strbuf_add(out, &r, sizeof r);
	strbuf_add(out, data, len);
}

/* ---- the machine's own part ---- */

static int save_machine(struct vmm *m, struct strbuf *out, struct err *e)
{
	struct machine_part p;
	memset(&p, 0, sizeof p);
	if (ioctl(m->kvm.vm, KVM_GET_CLOCK, &p.clock) < 0)
		return err_sys(e, errno, "snapshot: clock");
	for (uint32_t i = 0; i < CHIPS; i++) {
		p.chip[i].chip_id = i;
		if (ioctl(m->kvm.vm, KVM_GET_IRQCHIP, &p.chip[i]) < 0)
			return err_sys(e, errno, "snapshot: interrupt controllers");
	}
	put(out, KIND_MACHINE, 0, &p, sizeof p);
	return 0;
}

static int load_machine(struct vmm *m, const uint8_t *data, size_t n, struct err *e)
{
	struct machine_part p;
	if (n != sizeof p)
		return err_set(e, EBADMSG, "state: the machine's part has %zu bytes", n);
	memcpy(&p, data, n);
	for (uint32_t i = 0; i < CHIPS; i++)
		if (p.chip[i].chip_id != i || ioctl(m->kvm.vm, KVM_SET_IRQCHIP, &p.chip[i]) < 0)
			return err_set(e, EBADMSG, "state: interrupt controllers");
	/* The guest's clock goes on from where it stood; the agent sets the wall clock. */
	struct kvm_clock_data clock = { .clock = p.clock.clock };
	return ioctl(m->kvm.vm, KVM_SET_CLOCK, &clock) < 0 ? err_sys(e, errno, "state: clock") : 0;
}

static int load_serial(struct vmm *m, const uint8_t *data, size_t n, struct err *e)
{
	if (n != sizeof m->serial.s)
		return err_set(e, EBADMSG, "state: the serial line has %zu bytes", n);
	memcpy(&m->serial.s, data, n);
	return 0;
}

/* ---- saving ---- */

static int save_device(struct vmm *m, unsigned i, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = virtio_device_save(m->slot[i].device, &b);
	if (r < 0)
		return err_sys(e, r, "snapshot: device %u", i);
	put(out, KIND_DEVICE, i, b.s, b.len);
	return 0;
}

int snapshot_save(struct vmm *m, struct strbuf *out, struct err *e)
{
	struct head h = { MAGIC, VERSION, m->c->cpus, m->c->memory, m->n_slots, 1 + m->c->cpus + 1 + m->n_slots };
	strbuf_add(out, &h, sizeof h);
	int r = save_machine(m, out, e);
	for (unsigned i = 0; i < m->c->cpus && r >= 0; i++) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		r = vcpu_save(&m->kvm, &m->cpu[i], &b, e);
		put(out, KIND_CPU, i, b.s, b.len);
	}
	put(out, KIND_SERIAL, 0, &m->serial.s, sizeof m->serial.s);
	for (unsigned i = 0; i < m->n_slots && r >= 0; i++)
		r = save_device(m, i, out, e);
	if (r >= 0 && out->failed)
		r = err_set(e, ENOMEM, "snapshot");
	return r;
}

/* ---- loading ---- */

static int load_record(struct vmm *m, const struct record *r, const uint8_t *data, struct err *e)
{
	switch (r->kind) {
	case KIND_MACHINE:
		return load_machine(m, data, r->len, e);
	case KIND_CPU:
		return vcpu_restore(&m->cpu[r->index], data, r->len, e);
	case KIND_SERIAL:
		return load_serial(m, data, r->len, e);
	case KIND_DEVICE:
		return virtio_device_restore(m->slot[r->index].device, data, r->len, e);
	}
	return err_set(e, EBADMSG, "state: record of kind %u", r->kind);
}

/* What record number i has to be. */
static void expected(const struct vmm *m, unsigned i, uint32_t *kind, uint32_t *index)
{
	*kind = KIND_MACHINE;
	*index = 0;
	if (i > 0 && i <= m->c->cpus) {
		*kind = KIND_CPU;
		*index = i - 1;
	} else if (i == m->c->cpus + 1)
		*kind = KIND_SERIAL;
	else if (i > 0) {
		*kind = KIND_DEVICE;
		*index = i - m->c->cpus - 2;
	}
}

int snapshot_load(struct vmm *m, int fd, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct head h;
	struct record r;
	int x = fd_read_rest(fd, &b, SNAPSHOT_MAX);
	if (x < 0)
		return err_sys(e, x, "state file");
	if (b.len < sizeof h)
		return err_set(e, EBADMSG, "state: %zu bytes", b.len);
	memcpy(&h, b.s, sizeof h);
	if (h.magic != MAGIC || h.version != VERSION)
		return err_set(e, EBADMSG, "state: not of version %d", VERSION);
	if (h.cpus != m->c->cpus || h.memory != m->c->memory || h.slots != m->n_slots || h.records != 2 + h.cpus + h.slots)
		return err_set(e, EBADMSG, "state: of another machine (%u processors, %llu MiB, %u devices)", h.cpus, (unsigned long long)(h.memory >> 20), h.slots);
	size_t at = sizeof h;
	for (unsigned i = 0; i < h.records; i++) {
		uint32_t kind, index;
		if (b.len - at < sizeof r)
			return err_set(e, EBADMSG, "state: cut off");
		memcpy(&r, b.s + at, sizeof r);
		at += sizeof r;
		expected(m, i, &kind, &index);
		if (r.kind != kind || r.index != index || r.len > b.len - at)
			return err_set(e, EBADMSG, "state: record %u is damaged", i);
		x = load_record(m, &r, (const uint8_t *)b.s + at, e);
		if (x < 0)
			return err_wrap(e, x, "state: record %u", i);
		at += r.len;
	}
	return at == b.len ? 0 : err_set(e, EBADMSG, "state: %zu bytes too many", b.len - at);
}

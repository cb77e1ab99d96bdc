/* Building a machine, starting it, stopping it for a while. */
#include "tier/vm/builtin/vmm.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "tier/vm/builtin/acpi.h"
#include "tier/vm/builtin/devices.h"
#include "tier/vm/builtin/filter.h"
#include "tier/vm/builtin/ram.h"
#include "tier/vm/builtin/say.h"
#include "tier/vm/builtin/snapshot.h"

enum { STACK = 64 << 10, I8042_COMMAND = 0x64, I8042_RESET = 0xfe };

/* ---- what processors need ---- */

static void on_io(void *arg, bool out, unsigned port, unsigned len, void *data)
{
	struct vmm *m = arg;
	uint8_t *p = data;
	bool serial = port >= SERIAL_PORT && port < SERIAL_PORT + 8 && len == 1;
	if (serial && out)
		serial_write(&m->serial, port - SERIAL_PORT, *p);
	else if (serial)
		*p = serial_read(&m->serial, port - SERIAL_PORT);
	else if (out && port == I8042_COMMAND && *p == I8042_RESET)
		m->vcpus.ended(m, 0, "the guest has reset its machine");
	else if (!out)
		memset(p, 0xff, len);
}

static void on_mmio(void *arg, bool out, uint64_t gpa, unsigned len, void *data)
{
	devices_mmio(arg, out, gpa, len, data);
}

static bool is_pausing(void *arg)
{
	struct vmm *m = arg;
	return atomic_load_explicit(&m->pausing, memory_order_relaxed);
}

static void parked(void *arg)
{
	struct vmm *m = arg;
	pthread_mutex_lock(&m->lock);
	m->n_parked++;
	pthread_cond_broadcast(&m->changed);
	while (m->pausing)
		pthread_cond_wait(&m->changed, &m->lock);
	m->n_parked--;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static void ended(void *arg, int status, const char *why)
{
	(void)arg;
	vmm_say("%s", why);
	_exit(status);
}

/* ---- building ---- */

static int build_cpus(struct vmm *m, struct err *e)
{
	for (unsigned i = 0; i < m->c->cpus; i++) {
		int r = vcpu_new(&m->kvm, i, m->c->cpus, &m->cpu[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int boot(struct vmm *m, struct err *e)
{
	struct boot_entry entry;
	uint64_t rsdp;
	int r = acpi_write(&m->mem, m->c->cpus, m->n_slots, &rsdp, e);
	if (r >= 0)
		r = loader_boot(&m->mem, m->c->kernel, m->c->initrd, m->c->cmdline ? m->c->cmdline : "", rsdp, &entry, e);
	return r < 0 ? r : vcpu_boot(&m->cpu[0], &entry, e);
}

int vmm_build(struct vmm *m, const struct vmm_config *c, struct err *e)
{
	int line, r;
	m->c = c;
	m->vcpus = (struct vcpu_host){ m, on_io, on_mmio, is_pausing, parked, ended };
	mallopt(M_ARENA_MAX, 1); /* an arena per thread costs address space and pages */
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	m->kvm = (struct kvm)KVM_INIT;
	if ((r = kvm_open(&m->kvm, e)) < 0 || (r = ram_map(c->memory, c->memory_file, &m->mem, e)) < 0 || (r = kvm_memory(&m->kvm, &m->mem, e)) < 0)
		return r;
	if ((line = kvm_line(&m->kvm, SERIAL_LINE, e)) < 0)
		return line;
	serial_init(&m->serial, c->console, line);
	if ((r = loop_init(&m->loop, e)) < 0 || (r = devices_make(m, e)) < 0 || (r = build_cpus(m, e)) < 0)
		return r;
	return c->kernel >= 0 ? boot(m, e) : snapshot_load(m, c->state, e);
}

/* ---- pause ---- */

static void quiesce(void *arg)
{
	struct vmm *m = arg;
	for (unsigned i = 0; i < m->n_slots; i++)
		virtio_device_quiesce(m->slot[i].device);
}

static void unquiesce(void *arg)
{
	struct vmm *m = arg;
	for (unsigned i = 0; i < m->n_slots; i++)
		virtio_device_resume(m->slot[i].device);
}

/* A snapshot's devices stand still. An interrupt may have been on its way when the machine was saved (KVM hands irqfds to a worker): what the guest has not
 * acknowledged is raised again, and one too many does no harm. */
static void revive(void *arg)
{
	struct vmm *m = arg;
	unquiesce(m);
	for (unsigned i = 0; i < m->n_slots; i++)
		if (atomic_load(&m->slot[i].device->isr))
			m->virtio.interrupt(m, i);
	serial_revive(&m->serial);
}

void vmm_pause(struct vmm *m)
{
	if (m->paused)
		return;
	pthread_mutex_lock(&m->lock);
	m->pausing = true;
	for (unsigned i = 0; i < m->c->cpus; i++)
		vcpu_kick(&m->cpu[i]);
	while (m->n_parked < m->c->cpus)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
	loop_call(&m->loop, quiesce, m);
	m->paused = true;
}

void vmm_resume(struct vmm *m)
{
	if (!m->paused)
		return;
	loop_call(&m->loop, unquiesce, m);
	pthread_mutex_lock(&m->lock);
	m->pausing = false;
	pthread_cond_broadcast(&m->changed);
	while (m->n_parked)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
	m->paused = false;
}

/* ---- threads ---- */

static void *device_body(void *arg)
{
	struct vmm *m = arg;
	filter_enter(FILTER_DEVICE);
	loop_run(&m->loop);
}

struct cpu_start { struct vmm *m; struct vcpu *c; };

static void *cpu_body(void *arg)
{
	struct cpu_start s = *(struct cpu_start *)arg;
	free(arg);
	filter_enter(FILTER_VCPU);
	vcpu_run(s.c, &s.m->vcpus);
}

int vmm_start(struct vmm *m, struct err *e)
{
	pthread_attr_t a;
	int r = vcpu_signals(e);
	if (r < 0)
		return r;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, STACK * 4);
	r = pthread_create(&m->device_thread, &a, device_body, m);
	if (!r && m->c->state >= 0)
		loop_call(&m->loop, revive, m);
	for (unsigned i = 0; i < m->c->cpus && !r; i++) {
		struct cpu_start *s = malloc(sizeof *s);
		if (!s)
			return err_set(e, ENOMEM, "processor %u", i);
		*s = (struct cpu_start){ m, &m->cpu[i] };
		r = pthread_create(&m->cpu[i].thread, &a, cpu_body, s);
	}
	pthread_attr_destroy(&a);
	return r ? err_sys(e, r, "start a thread") : 0;
}

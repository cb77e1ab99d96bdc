/* The virtual machine. */
#include "tier/vm/builtin/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "tier/vm/builtin/layout.h"

/* What the monitor cannot do without (all there since Linux 4.5). */
static const struct { int cap; const char *what; } needed[] = {
	{ KVM_CAP_IRQCHIP, "in-kernel interrupt controllers" }, { KVM_CAP_USER_MEMORY, "user memory" }, { KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" }, { KVM_CAP_EXT_CPUID, "CPUID" }, { KVM_CAP_MP_STATE, "processor states" }, { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	{ KVM_CAP_XSAVE, "XSAVE" }, { KVM_CAP_XCRS, "XCRs" }, { KVM_CAP_VCPU_EVENTS, "processor events" }, { KVM_CAP_DEBUGREGS, "debug registers" },
	{ KVM_CAP_ADJUST_CLOCK, "the clock" },
};

int kvm_open(struct kvm *k, struct err *e)
{
	uint64_t map = IDENTITY_MAP;
	k->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (k->fd < 0)
		return err_sys(e, errno, "/dev/kvm");
	if (ioctl(k->fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return err_set(e, EOPNOTSUPP, "/dev/kvm: not version %d of the interface", KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(k->fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_set(e, EOPNOTSUPP, "/dev/kvm: %s missing", needed[i].what);
	int size = ioctl(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	do /* a signal interrupts the making of a machine (it waits for a grace period) */
		k->vm = ioctl(k->fd, KVM_CREATE_VM, 0);
	while (k->vm < 0 && errno == EINTR);
	if (size < 0 || k->vm < 0)
		return err_sys(e, errno, "/dev/kvm: make a virtual machine");
	k->run_size = (size_t)size;
	if (ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &map) < 0 || ioctl(k->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0 || ioctl(k->vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(e, errno, "/dev/kvm: interrupt controllers");
	return 0;
}

int kvm_map(const struct kvm *k, unsigned slot, uint64_t gpa, uint64_t size, void *at, struct err *e)
{
	struct kvm_userspace_memory_region r = { .slot = slot, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (uint64_t)(uintptr_t)at };
	return ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r) < 0 ? err_sys(e, errno, "/dev/kvm: guest memory") : 0;
}

int kvm_memory(const struct kvm *k, const struct guest_mem *m, struct err *e)
{
	int r = 0;
	for (size_t i = 0; i < m->n && r >= 0; i++)
		r = kvm_map(k, (unsigned)i, m->region[i].gpa, m->region[i].size, m->region[i].host, e);
	return r;
}

int kvm_line(const struct kvm *k, unsigned line, struct err *e)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = line };
	if (fd < 0 || ioctl(k->vm, KVM_IRQFD, &q) < 0)
		return err_sys(e, errno, "/dev/kvm: interrupt line %u", line);
	return TAKE_FD(fd);
}

int kvm_doorbell(const struct kvm *k, uint64_t gpa, uint32_t value, struct err *e)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct kvm_ioeventfd q = { .datamatch = value, .addr = gpa, .len = 4, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };
	if (fd < 0 || ioctl(k->vm, KVM_IOEVENTFD, &q) < 0)
		return err_sys(e, errno, "/dev/kvm: doorbell");
	return TAKE_FD(fd);
}

/* A device node is no proof: hosts exist whose /dev/kvm makes machines and then interprets a guest instruction by instruction, a thousand times too slowly,
 * until one that its interpreter lacks. So the guest here is in long mode, computes in SSE registers (every x86-64 processor has SSE2, KVM's interpreter
 * does not compute in it), and must write its result to a port in time. */
#include "tier/vm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/kernel.h"

#if defined __x86_64__
#include <linux/kvm.h>

enum { WAIT_MS = 2000, MEMORY = 0x5000, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x4000, PORT = 0xf4, RESULT = 0x2a, ENTRIES = 256 };

/* movd xmm0, eax (= 0x15); paddd xmm0, xmm0; movd eax, xmm0; out 0xf4, al; hlt */
static const uint8_t code[] = { 0xb8, 0x15, 0, 0, 0, 0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0xfe, 0xc0, 0x66, 0x0f, 0x7e, 0xc0, 0xe6, PORT, 0xf4 };

/* How far it came, as the child's exit status. */
enum stage { DONE, NO_DEVICE, NO_MACHINE, NO_MEMORY, NO_CPU, NO_STATE, NO_RUN, WRONG };
static const char *const reasons[] = { "", "it cannot be opened", "it makes no virtual machine", "it takes no memory", "it makes no processor", "it refuses a processor's state",
	"it cannot run a guest's code", "a guest's result is wrong" };

static void set_64(uint8_t *memory, size_t at, uint64_t v)
{
	memcpy(memory + at, &v, sizeof v);
}

static bool set_cpu(int kvm, int cpu)
{
	static union { struct kvm_cpuid2 h; uint8_t room[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)]; } id;
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = CODE, .rflags = 2 };
	struct kvm_segment g = { .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	id.h.nent = ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &id) < 0 || ioctl(cpu, KVM_SET_CPUID2, &id) < 0 || ioctl(cpu, KVM_GET_SREGS, &s) < 0)
		return false;
	s.cs = g;
	g = (struct kvm_segment){ .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	s.ds = s.es = s.fs = s.gs = s.ss = g;
	s.cr0 = 0x80050033; /* PG WP NE ET MP PE, AM */
	s.cr3 = PML4;
	s.cr4 = 0x620;      /* PAE OSFXSR OSXMMEXCPT */
	s.efer = 0x500;     /* LME LMA */
	return ioctl(cpu, KVM_SET_SREGS, &s) >= 0 && ioctl(cpu, KVM_SET_REGS, &r) >= 0;
}

static enum stage tiny_guest(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return NO_DEVICE;
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return NO_MACHINE;
	uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NO_MEMORY;
	set_64(memory, PML4, PDPT | 3);
	set_64(memory, PDPT, PD | 3);
	set_64(memory, PD, 0x83);
	memcpy(memory + CODE, code, sizeof code);
	struct kvm_userspace_memory_region m = { .memory_size = MEMORY, .userspace_addr = (uint64_t)(uintptr_t)memory };
	/* Intel without unrestricted guests needs room of its own, outside of memory. */
	if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &m) < 0)
		return NO_MEMORY;
	int cpu = ioctl(vm, KVM_CREATE_VCPU, 0), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = cpu < 0 || size < 0 ? MAP_FAILED : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (run == MAP_FAILED)
		return NO_CPU;
	if (!set_cpu(kvm, cpu))
		return NO_STATE;
	if (ioctl(cpu, KVM_RUN, 0) < 0 || run->exit_reason != KVM_EXIT_IO)
		return NO_RUN;
	return run->io.port == PORT && ((uint8_t *)run)[run->io.data_offset] == RESULT ? DONE : WRONG;
}

int kvm_probe(struct err *e)
{
	int pidfd = -1, status = 0;
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		return err_sys(e, errno, "/dev/kvm");
	struct clone_args a = { .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	pid_t pid = sys_clone3(&a);
	if (pid == 0)
		_exit(tiny_guest());
	if (pid < 0)
		return err_sys(e, errno, "/dev/kvm: fork");
	struct pollfd p = { pidfd, POLLIN, 0 };
	int r;
	do
		r = poll(&p, 1, WAIT_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		kill(pid, SIGKILL);
	close(pidfd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r <= 0)
		return err_set(e, ETIMEDOUT, "/dev/kvm: a guest does not come to its end");
	int stage = WIFEXITED(status) ? WEXITSTATUS(status) : NO_RUN;
	if (stage != DONE)
		return err_set(e, EOPNOTSUPP, "/dev/kvm: %s", stage < (int)ARRAY_SIZE(reasons) ? reasons[stage] : "no answer");
	return 0;
}
#else
int kvm_probe(struct err *e)
{
	return err_set(e, EOPNOTSUPP, "/dev/kvm: not used on this architecture yet");
}
#endif

/* Figures of machines on KVM, hypervisors interleaved: `first` from exec to the guest's first instruction, `rows` from start to the agent's answer, cold and restored from a
 * template, with the memory that a restored machine costs. JSON on standard output; medians are the caller's.
 * Usage: bench-vmm first ROUNDS TIERCE-VMM QEMU VMLINUX INITRD
 *        bench-vmm rows ROUNDS CACHE KERNEL [MODULES] */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/boot/kernel.h"
#include "tier/vm/call.h"
#include "tier/vm/agent/chan.h"
#include "tier/vm/machine.h"

enum { FIRST_WAIT_MS = 60000, HELLO_MS = 60000, ROM = 64 << 10, FD_KERNEL = 10, FD_INITRD, FD_CONSOLE };

static double now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static NORETURN void die(const char *what)
{
	fprintf(stderr, "bench-vmm: %s\n", what);
	exit(1);
}

/* ---- first instruction ---- */

/* A copy of the kernel whose entry writes one byte to the serial port: what the monitor does before is the same as with the kernel itself. */
static int marked_kernel(const char *path)
{
	static const uint8_t mark[] = { 0x66, 0xba, 0xf8, 0x03, 0xb0, '!', 0xee, 0xf4 };
	_cleanup_err_ struct err e = ERR_INIT;
	struct kernel_elf k;
	struct stat st;
	Elf64_Ehdr h;
	int fd = open(path, O_RDONLY | O_CLOEXEC), out = memfd_create("kernel", 0);
	if (fd < 0 || out < 0 || fstat(fd, &st) < 0 || ftruncate(out, st.st_size) < 0)
		die(path);
	uint8_t *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
	if (p == MAP_FAILED || fd_read_full(fd, p, (size_t)st.st_size) != st.st_size || kernel_elf_parse(p, (size_t)st.st_size, &k, &e) < 0)
		die("the kernel cannot be read");
	memcpy(&h, p, sizeof h);
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr ph;
		memcpy(&ph, p + h.e_phoff + i * sizeof ph, sizeof ph);
		if (ph.p_type == PT_LOAD && k.pvh_entry >= ph.p_paddr && k.pvh_entry - ph.p_paddr + sizeof mark <= ph.p_filesz) {
			memcpy(p + ph.p_offset + (k.pvh_entry - ph.p_paddr), mark, sizeof mark);
			munmap(p, (size_t)st.st_size);
			close(fd);
			return out;
		}
	}
	die("no segment has the entry point");
}

/* The same in 16-bit code at the reset vector, since firmware comes first there. */
static void marked_rom(char path[32])
{
	static const uint8_t mark[] = { 0xba, 0xf8, 0x03, 0xb0, '!', 0xee, 0xf4 };
	static uint8_t rom[ROM];
	memcpy(rom + ROM - 16, mark, sizeof mark);
	snprintf(path, 32, "/tmp/bench-rom.XXXXXX");
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, rom, sizeof rom) != sizeof rom)
		die("rom");
	close(fd);
}

static double until_byte(char *const argv[], int kernel, int initrd)
{
	int p[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	posix_spawn_file_actions_t a;
	pid_t pid;
	char b;
	if (pipe2(p, O_CLOEXEC) < 0)
		die("pipe");
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, null, 0);
	posix_spawn_file_actions_adddup2(&a, p[1], 1);
	posix_spawn_file_actions_adddup2(&a, p[1], FD_CONSOLE);
	if (kernel >= 0) {
		posix_spawn_file_actions_adddup2(&a, kernel, FD_KERNEL);
		posix_spawn_file_actions_adddup2(&a, initrd, FD_INITRD);
	}
	double t = now_ms();
	if (posix_spawn(&pid, argv[0], &a, NULL, argv, (char *[]){ NULL }) != 0)
		die(argv[0]);
	close(p[1]);
	struct pollfd q = { p[0], POLLIN, 0 };
	bool came = poll(&q, 1, FIRST_WAIT_MS) > 0 && read(p[0], &b, 1) == 1 && b == '!';
	t = now_ms() - t;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	posix_spawn_file_actions_destroy(&a);
	close(p[0]);
	close(null);
	if (!came)
		die("a guest's first instruction did not come");
	return t;
}

#define W(s) ((char *)(uintptr_t)(s))
static void first(int rounds, const char *vmm, const char *qemu, const char *vmlinux, const char *initrd)
{
	char rom[32];
	int kernel = marked_kernel(vmlinux), fd = open(initrd, O_RDONLY | O_CLOEXEC);
	marked_rom(rom);
	if (fd < 0)
		die(initrd);
	char *const ours[] = { W(vmm), W("--memory=128"), W("--cpus=1"), W("--kernel=10"), W("--initrd=11"), W("--console=12"), W("--cmdline=quiet"), W("--balloon"), NULL };
	char *const theirs[] = { W(qemu), W("-nodefaults"), W("-no-user-config"), W("-display"), W("none"), W("-no-reboot"), W("-m"), W("128M"), W("-M"),
		W("microvm,x-option-roms=off"), W("-accel"), W("kvm"), W("-cpu"), W("host"), W("-bios"), rom, W("-kernel"), W(vmlinux), W("-initrd"), W(initrd), W("-append"),
		W("quiet"), W("-serial"), W("stdio"), NULL };
	for (int i = 0; i < rounds; i++) {
		printf("{\"what\":\"first\",\"by\":\"builtin\",\"ms\":%.3f}\n", until_byte(ours, kernel, fd));
		if (qemu[0] != '-')
			printf("{\"what\":\"first\",\"by\":\"qemu\",\"ms\":%.3f}\n", until_byte(theirs, -1, -1));
		fflush(stdout);
	}
	unlink(rom);
}

/* ---- rows ---- */

/* kB of private pages: of the template's memory what the guest has written (pages of the file itself may count as private, too), of the rest all. */
static void memory_of(pid_t pid, long *guest, long *rest)
{
	char path[64], line[512];
	bool is_guest = false;
	long kb;
	snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
	FILE *f = fopen(path, "re");
	*guest = *rest = 0;
	while (f && fgets(line, sizeof line, f)) {
		if (strchr("0123456789abcdef", line[0]) && strchr(line, '-'))
			is_guest = strstr(line, "/template-") && strstr(line, "/mem");
		else if (sscanf(line, "Anonymous: %ld", &kb) == 1 && is_guest)
			*guest += kb;
		else if ((sscanf(line, "Private_Dirty: %ld", &kb) == 1 || sscanf(line, "Private_Clean: %ld", &kb) == 1) && !is_guest)
			*rest += kb;
	}
	if (f)
		fclose(f);
}

/* -1, with the reason on standard error, when the agent did not answer. */
static int one(const struct hypervisor *hv, const struct machine_config *mc, const char *what)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct machine m = MACHINE_INIT;
	struct chan ch = CHAN_INIT;
	struct agent_hello hello;
	long guest = 0, rest = 0;
	double t = now_ms();
	int r = hv->start(mc, &m, &e);
	if (r >= 0) {
		ch.fd = m.ctl_fd;
		r = agent_call(&ch, 1, "Hello", NULL, NULL, &agent_hello_desc, &hello, &a, HELLO_MS, &e);
	}
	t = now_ms() - t;
	if (r < 0) {
		char said[2000];
		ssize_t n = m.console_fd < 0 ? 0 : read(m.console_fd, said, sizeof said);
		fprintf(stderr, "bench-vmm: %s, %s: %s: %.*s\n", hv->name, what, err_msg(&e), (int)MAX(n, 0), said);
		chan_clear(&ch);
		hv->stop(&m);
		return -1;
	}
	if (m.cloned)
		memory_of(m.pid, &guest, &rest);
	printf("{\"what\":\"%s\",\"by\":\"%s\",\"ms\":%.3f,\"guest_kb\":%ld,\"rest_kb\":%ld}\n", what, hv->name, t, guest, rest);
	fflush(stdout);
	chan_clear(&ch);
	hv->stop(&m);
	return 0;
}

static void rows(int rounds, const char *cache, const char *kernel, const char *modules)
{
	static const struct hypervisor *const all[] = { &hypervisor_builtin, &hypervisor_qemu };
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_assets_ struct assets assets = { 0 };
	struct asset_options ao = { .cache = cache, .kernel = kernel, .modules = modules };
	bool usable[ARRAY_SIZE(all)];
	if (assets_prepare(&ao, &assets, &e) < 0)
		die(err_msg(&e));
	struct machine_config mc = { .assets = &assets, .cache = cache, .machine = "microvm", .memory = 128 << 20, .cpus = 1, .tap_fd = -EBADF, .accel = "auto", .confine = true };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		usable[i] = all[i]->probe(NULL) >= 0;
		if (!usable[i])
			continue;
		usable[i] = one(all[i], &mc, "cold") == 0 && all[i]->prepare(&mc, true, &e) >= 0;
	}
	mc.use_template = true;
	for (int n = 0; n < rounds; n++)
		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			if (usable[i] && one(all[i], &mc, "restored") < 0)
				usable[i] = false;
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "first") == 0)
		first(atoi(argv[2]), argv[3], argv[4], argv[5], argv[6]);
	else if ((argc == 5 || argc == 6) && strcmp(argv[1], "rows") == 0)
		rows(atoi(argv[2]), argv[3], argv[4], argc == 6 ? argv[5] : NULL);
	else {
		fprintf(stderr, "usage: bench-vmm first ROUNDS TIERCE-VMM QEMU|- VMLINUX INITRD\n       bench-vmm rows ROUNDS CACHE KERNEL [MODULES]\n");
		return 2;
	}
	return 0;
}

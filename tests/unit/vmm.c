/* The monitor on KVM without KVM: its command line, ACPI tables, loader, memory files, serial line, and state files that lie. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/vm/builtin/acpi.h"
#include "tier/vm/builtin/config.h"
#include "tier/vm/builtin/filter.h"
#include "tier/vm/builtin/layout.h"
#include "tier/vm/builtin/loader.h"
#include "tier/vm/builtin/ram.h"
#include "tier/vm/builtin/serial.h"
#include "tier/vm/builtin/snapshot.h"

enum { MEMORY = 32 << 20 };

static int file_of(const void *p, size_t n)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* ---- command line ---- */

static int parse(struct vmm_config *c, struct err *e, ...)
{
	char *v[16] = { (char *)(uintptr_t)"tierce-vmm" };
	int n = 1;
	va_list ap;
	va_start(ap, e);
	while ((v[n] = va_arg(ap, char *)))
		n++;
	va_end(ap);
	err_clear(e);
	return config_parse(n, v, c, e);
}

static void options(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct vmm_config c;
	char tap[32], kernel[32], disk[32], port[48], closed[32];
	int fd = file_of("x", 1), other = file_of("x", 1);
	snprintf(kernel, sizeof kernel, "--kernel=%d", fd);
	snprintf(tap, sizeof tap, "--tap=%d", fd);
	snprintf(disk, sizeof disk, "--disk=%d:rw", other);
	snprintf(port, sizeof port, "--port=a:b:%d", fd);
	snprintf(closed, sizeof closed, "--initrd=%d", 9999);
	assert_int_equal(parse(&c, &e, "--memory=64", "--cpus=3", kernel, disk, "--disk-rate=1000", port, tap, "--mac=52:54:00:aa:bb:cc", "--cmdline=a b=c", NULL), 0);
	assert_int_equal(c.memory, 64 << 20);
	assert_int_equal(c.cpus, 3);
	assert_int_equal(c.kernel, fd);
	assert_true(c.n_disks == 1 && c.disks[0].fd == other && c.disks[0].writable && c.disks[0].bytes_per_s == 1000);
	assert_string_equal(c.ports[0].name, "a:b");
	assert_true(c.n_taps == 1 && c.taps[0].fd == fd && c.taps[0].mac[5] == 0xcc);
	assert_string_equal(c.cmdline, "a b=c");
	free((char *)(uintptr_t)c.ports[0].name);
	static const struct { const char *word, *says; } wrong[] = {
		{ "--memory=1", "32 to" }, { "--memory=64x", "not a number" }, { "--cpus=0", "1 to 64" }, { "--cpus=65", "1 to 64" }, { "--disk=3:ro", "FD:rw" },
		{ "--disk=2", "descriptor" }, { "--disk=", "descriptor" }, { "--port=7", "NAME:FD" }, { "--port=:7", "NAME:FD" }, { "--mac=02:00:00:00:00:00", "no --tap" },
	 { "--colour=red", "unknown option" }, { "--rng=1", "takes no value" }, { "--memory", "needs a value" }, { "--disk-rate=5", "no disk" },
		{ "--fs=x", "NAME:FD" }, { "--vsock=2:0", "descriptor" }, { "--vsock-path=/x", "needs --vsock" }, { "--pmem=x", "descriptor" }, { "--balloon=1", "takes no value" },
		{ "--uid=0", "1 to" }, { "--net-rate=5", "no --tap" }, { "--state=3", "come together" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_true(parse(&c, &e, kernel, "--memory=64", wrong[i].word, NULL) < 0);
		if (!strstr(err_msg(&e), wrong[i].says))
			fail_msg("%s: %s", wrong[i].word, err_msg(&e));
	}
	assert_true(parse(&c, &e, kernel, "--memory=64", tap, "--mac=01:00:00:00:00:00", NULL) < 0 && strstr(err_msg(&e), "unicast"));
	assert_true(parse(&c, &e, kernel, "--memory=64", tap, tap, tap, tap, tap, NULL) < 0 && strstr(err_msg(&e), "more than 4"));
	assert_true(parse(&c, &e, "--memory=64", kernel, closed, NULL) < 0);
	assert_true(parse(&c, &e, "--memory=64", NULL) < 0);
	assert_true(parse(&c, &e, kernel, NULL) < 0);
	close(fd);
	close(other);
}

/* ---- ACPI ---- */

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t r = 0;
	while (n--)
		r = (uint8_t)(r + *p++);
	return r;
}

static uint64_t get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;
	memcpy(&v, p, n);
	return v;
}

static const uint8_t *table(const struct guest_mem *m, uint64_t at, const char *signature)
{
	const uint8_t *p = guest_ptr(m, at, 36);
	assert_non_null(p);
	assert_memory_equal(p, signature, 4);
	assert_int_equal(sum(p, get(p + 4, 4)), 0);
	return p;
}

static void acpi(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct guest_mem m;
	uint64_t rsdp;
	assert_int_equal(ram_map(MEMORY, -1, &m, &e), 0);
	for (unsigned cpus = 1; cpus <= VMM_CPUS_MAX; cpus += 21) {
		assert_int_equal(acpi_write(&m, cpus, VMM_SLOTS_MAX, &rsdp, &e), 0);
		const uint8_t *r = guest_ptr(&m, rsdp, 36);
		assert_memory_equal(r, "RSD PTR ", 8);
		assert_int_equal(sum(r, 20), 0);
		assert_int_equal(sum(r, 36), 0);
		const uint8_t *x = table(&m, get(r + 24, 8), "XSDT"), *f = table(&m, get(x + 36, 8), "FACP"), *a = table(&m, get(x + 44, 8), "APIC");
		assert_int_equal(get(x + 4, 4), 36 + 16);
		assert_int_equal(get(f + 4, 4), 276);
		assert_true(get(f + 112, 4) >> 20 & 1);
		const uint8_t *d = table(&m, get(f + 140, 8), "DSDT");
		unsigned found = 0;
		for (size_t at = 44; at < get(a + 4, 4); at += a[at + 1]) {
			assert_true(a[at + 1] >= 8);
			if (a[at] == 0)
				assert_int_equal(a[at + 3], found++);
		}
		assert_int_equal(found, cpus);
		/* The scope spans the table; each device's window and line are in it. */
		assert_int_equal(d[36], 0x10);
		assert_int_equal((d[37] & 0xf) | d[38] << 4, get(d + 4, 4) - 37);
		for (uint32_t slot = 0; slot < VMM_SLOTS_MAX; slot++) {
			uint8_t want[] = { 0x86, 9, 0, 1, 0, (uint8_t)(slot << 4), 0, 0xd0, 0, 0x10, 0, 0, 0x89, 6, 0, 3, 1, (uint8_t)(VIRTIO_LINE + slot), 0, 0, 0 };
			assert_non_null(memmem(d, get(d + 4, 4), want, sizeof want));
		}
	}
	munmap(m.region[0].host, MEMORY);
}

/* ---- loader ---- */

struct kernel { Elf64_Ehdr h; Elf64_Phdr p[2]; uint8_t note[20]; uint8_t pad[3904]; uint8_t text[8192]; };

static struct kernel make_kernel(void)
{
	static const uint8_t note[20] = { 4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0, 0x10, 0, 0x10, 0 }; /* PHYS32_ENTRY 0x100010 */
	struct kernel k = { .h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_machine = EM_X86_64, .e_phoff = sizeof k.h,
		.e_phentsize = sizeof *k.p, .e_phnum = 2 } };
	k.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = offsetof(struct kernel, text), .p_paddr = HIGH_RAM + offsetof(struct kernel, text) % 4096, .p_filesz = sizeof k.text,
		.p_memsz = sizeof k.text + 100 };
	k.p[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct kernel, note), .p_filesz = sizeof k.note };
	memcpy(k.note, note, sizeof note);
	memset(k.text, 0x90, sizeof k.text);
	return k;
}

static int boot(struct kernel *k, size_t n, int initrd, struct boot_entry *b, struct guest_mem *m, struct err *e)
{
	int fd = file_of(k, n);
	err_clear(e);
	assert_int_equal(ram_map(MEMORY, -1, m, e), 0);
	int r = loader_boot(m, fd, initrd, "quiet x=y", 0xe0000, b, e);
	close(fd);
	return r;
}

static void loader(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct guest_mem m;
	struct boot_entry b;
	struct kernel k = make_kernel();
	int initrd = file_of("initrd bytes", 12);
	assert_int_equal(boot(&k, sizeof k, initrd, &b, &m, &e), 0);
	assert_int_equal(b.rip, 0x100010);
	assert_memory_equal(guest_ptr(&m, k.p[0].p_paddr, sizeof k.text), k.text, sizeof k.text);
	const uint8_t *i = guest_ptr(&m, b.start_info, 56);
	assert_int_equal(get(i, 4), 0x336ec578);
	assert_int_equal(get(i + 12, 4), 1);
	assert_string_equal(guest_ptr(&m, get(i + 24, 8), 10), "quiet x=y");
	assert_int_equal(get(i + 32, 8), 0xe0000);
	const uint8_t *mod = guest_ptr(&m, get(i + 16, 8), 32);
	assert_int_equal(get(mod + 8, 8), 12);
	assert_memory_equal(guest_ptr(&m, get(mod, 8), 12), "initrd bytes", 12);
	uint64_t ram = 0;
	for (uint64_t n = 0; n < get(i + 48, 4); n++) {
		const uint8_t *r = guest_ptr(&m, get(i + 40, 8) + 24 * n, 24);
		ram += get(r + 16, 4) == 1 ? get(r + 8, 8) : 0;
	}
	assert_int_equal(ram, MEMORY - HIGH_RAM + LOW_RAM_END);
	munmap(m.region[0].host, MEMORY);

	struct kernel bad = make_kernel();
	bad.p[0].p_paddr = 0x1000; /* where the start structures are */
	assert_int_equal(boot(&bad, sizeof bad, -1, &b, &m, &e), -ENOSPC);
	bad.p[0].p_paddr = MEMORY - 4096;
	assert_int_equal(boot(&bad, sizeof bad, -1, &b, &m, &e), -ENOSPC);
	bad.p[0].p_paddr = UINT64_MAX - 4096;
	assert_int_equal(boot(&bad, sizeof bad, -1, &b, &m, &e), -ENOSPC);
	bad = make_kernel();
	bad.note[8] = 17;
	assert_int_equal(boot(&bad, sizeof bad, -1, &b, &m, &e), -EOPNOTSUPP);
	bad = make_kernel();
	bad.note[19] = 0x70; /* entry beyond memory */
	assert_int_equal(boot(&bad, sizeof bad, -1, &b, &m, &e), -EBADMSG);
	for (size_t n = 1; n < 400; n += 7)
		assert_true(boot(&bad, n, -1, &b, &m, &e) < 0);
	bad = make_kernel();
	bad.p[0].p_memsz = MEMORY - (2 << 20);
	int large = memfd_create("large", MFD_CLOEXEC);
	assert_int_equal(ftruncate(large, 8 << 20), 0);
	assert_int_equal(boot(&bad, sizeof bad, large, &b, &m, &e), -ENOSPC); /* no room for it behind the kernel */
	close(large);
	close(initrd);
}

/* ---- memory files ---- */

static void memory(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct guest_mem m, n;
	int fd = memfd_create("mem", MFD_CLOEXEC);
	assert_int_equal(ram_map(MEMORY, -1, &m, &e), 0);
	memcpy(m.region[0].host + 5000, "five thousand", 13);
	m.region[0].host[MEMORY - 1] = 1;
	assert_int_equal(ram_save(&m, fd, &e), -EBADMSG); /* of another size */
	assert_int_equal(ftruncate(fd, MEMORY), 0);
	assert_int_equal(ram_save(&m, fd, &e), 0);
	/* Pages of zeros stay holes: the file begins with data of the second page and has a hole behind it. */
	assert_int_equal(lseek(fd, 0, SEEK_DATA), 4096);
	assert_int_equal(lseek(fd, 4096, SEEK_HOLE), 8192);
	assert_int_equal(ram_map(MEMORY, fd, &n, &e), 0);
	assert_memory_equal(n.region[0].host, m.region[0].host, MEMORY);
	n.region[0].host[5000] = 'F'; /* a clone's writes are its own */
	uint8_t b;
	assert_int_equal(pread(fd, &b, 1, 5000), 1);
	assert_int_equal(b, 'f');
	assert_int_equal(ram_map(MEMORY * 2, fd, &n, &e), -EBADMSG);
	close(fd);
}

/* ---- serial line ---- */

static void serial(void **s)
{
	(void)s;
	struct serial u;
	int p[2], irq = eventfd(0, EFD_NONBLOCK);
	uint64_t n;
	char out[8] = "";
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	serial_init(&u, p[1], irq);
	assert_int_equal(serial_read(&u, 5), 0x60);
	serial_write(&u, 3, 0x83); /* the divisor is not data */
	serial_write(&u, 0, 'x');
	assert_int_equal(serial_read(&u, 0), 'x');
	serial_write(&u, 3, 3);
	serial_write(&u, 0, 'h');
	serial_write(&u, 4, 0x10); /* loopback: nothing goes out */
	serial_write(&u, 0, 'n');
	serial_write(&u, 4, 0);
	serial_write(&u, 0, 'i');
	assert_int_equal(read(p[0], out, sizeof out), 2);
	assert_string_equal(out, "hi");
	assert_int_equal(read(irq, &n, sizeof n), -1);
	serial_write(&u, 1, 2); /* empty already: one interrupt, acknowledged by reading what it was */
	assert_int_equal(read(irq, &n, sizeof n), 8);
	assert_int_equal(serial_read(&u, 2) & 0xf, 2);
	assert_int_equal(serial_read(&u, 2) & 0xf, 1);
	for (int i = 0; i < 100000; i++) /* a reader that sleeps stops nobody */
		serial_write(&u, 0, 'z');
	close(p[0]);
	close(p[1]);
	close(irq);
}

/* ---- state files ---- */

static void states(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	static struct vmm m;
	static const struct vmm_config c = { .memory = MEMORY, .cpus = 1 };
	struct { uint64_t magic; uint32_t version, cpus; uint64_t memory; uint32_t slots, records, kind, index, len, zero; } f =
		{ 0x314d4d5643524554ull, 1, 1, MEMORY, 0, 3, 1, 0, 4, 0 }, x;
	m.c = &c;
	m.kvm = (struct kvm)KVM_INIT;
	static const struct { size_t at; uint8_t to; const char *says; } wrong[] = { { 0, 1, "version" }, { 8, 2, "version" }, { 12, 2, "another machine" }, { 19, 9, "another machine" },
		{ 24, 1, "another machine" }, { 28, 9, "another machine" }, { 32, 2, "damaged" }, { 36, 1, "damaged" }, { 42, 1, "damaged" }, { 40, 0, "0 bytes" } };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		x = f;
		((uint8_t *)&x)[wrong[i].at] = wrong[i].to;
		int fd = file_of(&x, sizeof x);
		err_clear(&e);
		assert_true(snapshot_load(&m, fd, &e) < 0);
		if (!strstr(err_msg(&e), wrong[i].says))
			fail_msg("byte %zu: %s", wrong[i].at, err_msg(&e));
		close(fd);
	}
	for (size_t n = 0; n < sizeof f; n++) {
		int fd = file_of(&f, n);
		assert_true(snapshot_load(&m, fd, NULL) < 0);
		close(fd);
	}
}

static void filters(void **s)
{
	(void)s;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	filter_print(f);
	fclose(f);
	unsigned classes = 0, calls;
	for (const char *p = text; (p = strstr(p, " host calls")); p++) {
		const char *colon = p;
		while (*colon != ':')
			colon--;
		assert_int_equal(sscanf(colon, ": %u", &calls), 1);
		assert_true(calls >= 5 && calls <= 40);
		classes++;
	}
	assert_int_equal(classes, FILTER_CLASSES);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(options), cmocka_unit_test(acpi), cmocka_unit_test(loader), cmocka_unit_test(memory), cmocka_unit_test(serial),
		cmocka_unit_test(states), cmocka_unit_test(filters) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ACPI 6.4: 5.2.5 (RSDP), 5.2.8 (XSDT), 5.2.9 (FADT), 5.2.12 (MADT), 20.2 (AML), 6.4 (resources). */
#include "tier/vm/builtin/acpi.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "tier/vm/builtin/layout.h"

enum {
	HEADER = 36, FADT_SIZE = 276, FADT_REVISION = 6, FADT_BOOT_FLAGS = 109, FADT_FLAGS = 112, FADT_MINOR = 131, FADT_X_DSDT = 140,
	NO_VGA = 1 << 2, NO_CMOS_CLOCK = 1 << 5,             /* boot architecture flags; the 8042's bit is clear */
	WBINVD = 1 << 0, POWER_BUTTON_GENERIC = 1 << 4, SLEEP_BUTTON_GENERIC = 1 << 5, HARDWARE_REDUCED = 1 << 20,
	SCOPE_OP = 0x10, BUFFER_OP = 0x11, NAME_OP = 0x08, STRING_OP = 0x0d, BYTE_OP = 0x0a, DWORD_OP = 0x0c, EXT_OP = 0x5b, DEVICE_OP = 0x82, ROOT_CHAR = '\\',
};

static void put8(struct strbuf *b, unsigned v)
{
	strbuf_putc(b, (char)v);
}

static void put16(struct strbuf *b, unsigned v)
{
	put8(b, v & 0xff);
	put8(b, v >> 8 & 0xff);
}

static void put32(struct strbuf *b, uint32_t v)
{
	put16(b, v & 0xffff);
	put16(b, v >> 16);
}

static void put64(struct strbuf *b, uint64_t v)
{
	put32(b, (uint32_t)v);
	put32(b, (uint32_t)(v >> 32));
}

static void poke32(struct strbuf *b, size_t at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		b->s[at + i] = (char)(v >> 8 * i);
}

static uint8_t sum_to_zero(const char *p, size_t n)
{
	uint8_t s = 0;
	for (size_t i = 0; i < n; i++)
		s = (uint8_t)(s + (uint8_t)p[i]);
	return (uint8_t)(0 - s);
}

static void header(struct strbuf *b, const char *signature, unsigned revision)
{
	strbuf_add(b, signature, 4);
	put32(b, 0); /* length and checksum come with finish() */
	put8(b, revision);
	put8(b, 0);
	strbuf_add(b, "TIERCETIERCEVMM", 6 + 8);
	put32(b, 1);
	strbuf_add(b, "TRCE", 4);
	put32(b, 1);
}

static void finish(struct strbuf *b)
{
	if (b->failed || b->len < HEADER)
		return;
	poke32(b, 4, (uint32_t)b->len);
	b->s[9] = (char)sum_to_zero(b->s, b->len);
}

/* ---- AML ---- */

/* PkgLength counts itself: one byte up to 63, else two, which hold 4095. */
static void package(struct strbuf *out, const struct strbuf *body)
{
	size_t n = body->len + 1;
	if (n < 0x40)
		put8(out, (unsigned)n);
	else {
		n++;
		put8(out, 0x40 | (n & 0xf));
		put8(out, (unsigned)(n >> 4));
	}
	strbuf_add(out, body->s, body->len);
}

static void name(struct strbuf *b, const char *seg)
{
	put8(b, NAME_OP);
	strbuf_add(b, seg, 4);
}

static void resources(struct strbuf *b, const struct strbuf *list)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	name(b, "_CRS");
	put8(b, BUFFER_OP);
	put8(&body, BYTE_OP);
	put8(&body, (unsigned)list->len + 2);
	strbuf_add(&body, list->s, list->len);
	put8(&body, 0x79); /* end tag, checksum not used */
	put8(&body, 0);
	package(b, &body);
	b->failed |= body.failed;
}

/* Edge triggered, active high, not shared: what an irqfd gives. */
static void interrupt(struct strbuf *b, unsigned line)
{
	put8(b, 0x89);
	put16(b, 6);
	put8(b, 0x03);
	put8(b, 1);
	put32(b, line);
}

static void device(struct strbuf *out, const char *seg, const struct strbuf *body)
{
	_cleanup_strbuf_ struct strbuf named = STRBUF_INIT;
	strbuf_add(&named, seg, 4);
	strbuf_add(&named, body->s, body->len);
	put8(out, EXT_OP);
	put8(out, DEVICE_OP);
	package(out, &named);
	out->failed |= named.failed | body->failed;
}

static void virtio_device(struct strbuf *out, unsigned slot)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT, list = STRBUF_INIT;
	char seg[16];
	snprintf(seg, sizeof seg, "VR%02X", slot);
	name(&b, "_HID");
	put8(&b, STRING_OP);
	strbuf_add(&b, "LNRO0005", 9);
	name(&b, "_UID");
	put8(&b, BYTE_OP);
	put8(&b, slot);
	put8(&list, 0x86); /* Memory32Fixed, writable */
	put16(&list, 9);
	put8(&list, 1);
	put32(&list, (uint32_t)(VIRTIO_WINDOWS + slot * GUEST_PAGE));
	put32(&list, (uint32_t)GUEST_PAGE);
	interrupt(&list, VIRTIO_LINE + slot);
	resources(&b, &list);
	b.failed |= list.failed;
	device(out, seg, &b);
}

static void serial_device(struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT, list = STRBUF_INIT;
	name(&b, "_HID");
	put8(&b, DWORD_OP);
	put32(&b, 0x0105d041); /* EISA id PNP0501 */
	name(&b, "_UID");
	put8(&b, BYTE_OP);
	put8(&b, 0);
	put8(&list, 0x47); /* I/O ports, 16-bit decoding */
	put8(&list, 1);
	put16(&list, SERIAL_PORT);
	put16(&list, SERIAL_PORT);
	put8(&list, 1);
	put8(&list, 8);
	interrupt(&list, SERIAL_LINE);
	resources(&b, &list);
	b.failed |= list.failed;
	device(out, "COM1", &b);
}

static void dsdt(struct strbuf *out, unsigned slots)
{
	_cleanup_strbuf_ struct strbuf scope = STRBUF_INIT;
	header(out, "DSDT", 6);
	put8(&scope, ROOT_CHAR);
	strbuf_add(&scope, "_SB_", 4);
	serial_device(&scope);
	for (unsigned i = 0; i < slots; i++)
		virtio_device(&scope, i);
	put8(out, SCOPE_OP);
	package(out, &scope);
	out->failed |= scope.failed;
	finish(out);
}

/* ---- the fixed tables ---- */

static void fadt(struct strbuf *out, uint64_t dsdt_at)
{
	header(out, "FACP", FADT_REVISION);
	while (out->len < FADT_SIZE && !out->failed)
		put8(out, 0);
	if (out->failed)
		return;
	out->s[FADT_BOOT_FLAGS] = NO_VGA | NO_CMOS_CLOCK;
	poke32(out, FADT_FLAGS, WBINVD | POWER_BUTTON_GENERIC | SLEEP_BUTTON_GENERIC | HARDWARE_REDUCED);
	out->s[FADT_MINOR] = 4;
	poke32(out, FADT_X_DSDT, (uint32_t)dsdt_at);
	finish(out);
}

static void madt(struct strbuf *out, unsigned cpus)
{
	header(out, "APIC", 5);
	put32(out, LAPIC_ADDRESS);
	put32(out, 0); /* no 8259 pair to be masked */
	for (unsigned i = 0; i < cpus; i++) {
		put8(out, 0);
		put8(out, 8);
		put8(out, i);
		put8(out, i);
		put32(out, 1);
	}
	put8(out, 1);
	put8(out, 12);
	put8(out, cpus);
	put8(out, 0);
	put32(out, IOAPIC_ADDRESS);
	put32(out, 0);
	finish(out);
}

/* Put a table behind the others. */
static int place(const struct guest_mem *m, const struct strbuf *b, uint64_t *at, uint64_t *ret, struct err *e)
{
	if (b->failed)
		return err_set(e, ENOMEM, "ACPI tables");
	if (*at + b->len > ACPI_TABLES_END || guest_write(m, *at, b->s, b->len) < 0)
		return err_set(e, ENOSPC, "ACPI tables do not fit");
	*ret = *at;
	*at += (b->len + 63) & ~(size_t)63;
	return 0;
}

int acpi_write(const struct guest_mem *m, unsigned cpus, unsigned slots, uint64_t *ret_rsdp, struct err *e)
{
	_cleanup_strbuf_ struct strbuf d = STRBUF_INIT, f = STRBUF_INIT, a = STRBUF_INIT, x = STRBUF_INIT, r = STRBUF_INIT;
	uint64_t at = ACPI_TABLES, dsdt_at = 0, fadt_at = 0, madt_at = 0, xsdt_at = 0;
	int n;
	dsdt(&d, slots);
	if ((n = place(m, &d, &at, &dsdt_at, e)) < 0)
		return n;
	fadt(&f, dsdt_at);
	madt(&a, cpus);
	if ((n = place(m, &f, &at, &fadt_at, e)) < 0 || (n = place(m, &a, &at, &madt_at, e)) < 0)
		return n;
	header(&x, "XSDT", 1);
	put64(&x, fadt_at);
	put64(&x, madt_at);
	finish(&x);
	if ((n = place(m, &x, &at, &xsdt_at, e)) < 0)
		return n;
	strbuf_add(&r, "RSD PTR ", 8);
	put8(&r, 0);
	strbuf_add(&r, "TIERCE", 6);
	put8(&r, 2);
	put32(&r, 0);
	put32(&r, 36);
	put64(&r, xsdt_at);
	put32(&r, 0);
	if (!r.failed) {
		r.s[8] = (char)sum_to_zero(r.s, 20);
		r.s[32] = (char)sum_to_zero(r.s, 36);
	}
	return place(m, &r, &at, ret_rsdp, e);
}

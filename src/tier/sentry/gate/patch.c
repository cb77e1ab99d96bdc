/*
 * Patched call sites (x86-64). A site that trapped often is rewritten so that it enters the gate by a jump instead of by SIGSYS:
 *
 *     site:  mov $n, %eax     ->   jmp trampoline          trampoline:  mov $n, %eax
 *            syscall               syscall                              lea site_end(%rip), %rcx
 *                                                                       jmp *%gs:entry
 *
 * Only the one instruction before `syscall` is replaced (five bytes or more), so the site has no new instruction boundaries, and the `syscall` stays: a thread
 * between the two, a jump to it, a restart (rip - 2) trap as before. The instruction is recognised by its bytes, and where it names the
 * call's number the number that trapped must be the same: what looks like it by chance is not touched.
 *
 * Other threads may be inside the page. It loses its execute permission while it is changed: their instruction fetches fault, patch_race() lets them try
 * again, and the return from the fault synchronises their instruction stream. All of it happens under the map lock, which fork takes too.
 *
 * Patched are private file mappings that are executable and not writable; the page becomes a private copy. Trampolines lie in pages of their own
 * within 2 GiB, which are in no book: mmap, munmap and mprotect ask patch_reserved().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"

enum {
	HOT = 12,            /* traps of a site before it is worth the work (about ten of them) */
	SITES_MAX = 2048,    /* bounds the table of a guest that makes call sites in a loop */
	PAGES_MAX = 16,
	TRAMP = 32, PER_PAGE = PAGE_SIZE_ / TRAMP,
	RACES = 10000,       /* faults of one thread in a row that are taken for a race */
};
#define REACH 0x7ff00000ull

struct site { uint64_t call, tramp, pad; uint16_t hits; uint8_t len, state; uint8_t orig[8]; }; /* call: address of `syscall`, 0: free */
enum { COUNTED, BUSY, PATCHED, REFUSED };
struct page { uint64_t addr; unsigned used; };
struct patches { struct site *v; unsigned n, cap; struct page pages[PAGES_MAX]; unsigned n_pages; };

static const struct { uint8_t n, bytes[4], number; } forms[] = {
	{ 5, { 0xb8 }, 1 },                    /* mov $n, %eax */
	{ 7, { 0x48, 0xc7, 0xc0 }, 3 },        /* mov $n, %rax */
	{ 5, { 0x4c, 0x8b, 0x4c, 0x24 }, 0 },  /* mov 8(%rsp), %r9: syscall(3) of glibc */
	{ 5, { 0x4c, 0x89, 0x5c, 0x24 }, 0 },  /* mov %r11, 8(%rsp): cancellable calls of musl */
};
/*
 * read(2) of glibc is `xor %eax, %eax; syscall; cmp $-4096, %rax; ja ...; ret` and padding: too short for a jump of five bytes, long enough for one of two to the
 * padding, which is never executed behind a return. The jump to the trampoline is there.
 */
static const uint8_t read_tail[] = { 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77 };
enum { NEAR = 112, NOPS_MIN = 5 };

static struct site *find(const struct patches *p, uint64_t call, bool free_too)
{
	if (!p->cap)
		return NULL;
	for (unsigned i = (unsigned)((call >> 1) * 0x9e3779b1u) % p->cap;; i = (i + 1) % p->cap) {
		if (p->v[i].call == call)
			return &p->v[i];
		if (!p->v[i].call)
			return free_too ? &p->v[i] : NULL;
	}
}

static int grow(struct patches *p, unsigned cap)
{
	struct patches n = { .cap = cap, .v = calloc(cap, sizeof(struct site)) };
	if (!n.v)
		return -ENOMEM;
	for (unsigned i = 0; i < p->cap; i++)
		if (p->v[i].call) {
			struct site *to = find(&n, p->v[i].call, true);
			if (to)
				*to = p->v[i];
		}
	free(p->v);
	p->v = n.v;
	p->cap = cap;
	return 0;
}

static struct site *site_get(struct mm *m, uint64_t call)
{
	if (!m->patches && !(m->patches = calloc(1, sizeof(*m->patches))))
		return NULL;
	struct patches *p = m->patches;
	if (p->n * 4 >= p->cap * 3 && (p->cap >= SITES_MAX || grow(p, p->cap ? p->cap * 2 : 32) < 0))
		return find(p, call, false);
	struct site *s = find(p, call, true);
	if (s && !s->call) {
		s->call = call;
		p->n++;
	}
	return s;
}

int patch_dup(struct mm *to, const struct mm *from)
{
	to->patches = NULL;
	if (!from->patches)
		return 0;
	struct patches *p = malloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = *from->patches;
	if (!(p->v = malloc(p->cap * sizeof(*p->v)))) {
		free(p);
		return -ENOMEM;
	}
	memcpy(p->v, from->patches->v, p->cap * sizeof(*p->v));
	to->patches = p;
	return 0;
}

void patch_free(struct mm *m)
{
	if (m->patches)
		free(m->patches->v);
	free(m->patches);
	m->patches = NULL;
}

/* Open addressing: an entry that goes would break the chains behind it, so it is only forgotten as a patch. */
void patch_drop(struct mm *m, uint64_t start, uint64_t end)
{
	const struct patches *p = m->patches;
	for (unsigned i = 0; p && i < p->cap; i++)
		if (p->v[i].call >= start && p->v[i].call < end) {
			p->v[i].state = COUNTED;
			p->v[i].hits = 0;
		}
}

bool patch_reserved(const struct mm *m, uint64_t start, uint64_t end)
{
	const struct patches *p = m->patches;
	for (unsigned i = 0; p && i < p->n_pages; i++)
		if (start < p->pages[i].addr + PAGE_SIZE_ && end > p->pages[i].addr)
			return true;
	return filemap_reserved(m, start, end);
}

uint64_t patch_site_of(const struct mm *m, uint64_t rip)
{
	const struct patches *p = m->patches;
	if (!p || !patch_reserved(m, rip, rip + 1))
		return rip;
	for (unsigned i = 0; i < p->cap; i++)
		if (p->v[i].state == PATCHED && rip - p->v[i].tramp < TRAMP)
			return p->v[i].call - p->v[i].len;
	return rip;
}

bool patch_race(struct task *t, uint64_t addr)
{
	const struct vma *v = mm_find(t->mm, addr);
	if (!t->mm->patches || !((v && (v->prot & PROT_EXEC)) || patch_reserved(t->mm, addr, addr + 1)))
		return false;
	t->races = t->race_at == addr ? t->races + 1 : 0;
	t->race_at = addr;
	if (t->races > RACES || mm_lock(t) < 0)
		return false;
	mm_unlock(t);
	return true;
}

/* ---- the change ------------------------------------------------------------------------------------------------------- */

static int protect(struct task *t, uint64_t start, uint64_t end, int prot)
{
	start = PAGE_DOWN(start);
	return (int)gate_call(t, SYS_mprotect, start, PAGE_UP(end) - start, (uint64_t)prot, 0, 0, 0);
}

/* Bytes into code that may be running: no execution meanwhile. */
static int write_code(struct task *t, uint64_t at, const void *bytes, size_t n, int prot)
{
	int rc = protect(t, at, at + n, PROT_READ | PROT_WRITE);
	if (rc)
		return rc;
	rc = copyout(t, at, bytes, n);
	int back = protect(t, at, at + n, prot);
	return rc ? rc : back;
}

static bool reachable(uint64_t a, uint64_t b) { return a > b ? a - b < REACH : b - a < REACH; }

/* The highest free page of the nearest gap below the site. The book does not change meanwhile: the map lock is ours. */
static long new_page(struct task *t, uint64_t near)
{
	const struct mm *m = t->mm;
	for (unsigned i = m->n; i-- > 0;) { /* gap below v[i] */
		uint64_t lo = i ? m->v[i - 1].end : 0x10000, at = m->v[i].start - PAGE_SIZE_;
		if (m->v[i].start > near || m->v[i].start < lo + PAGE_SIZE_)
			continue;
		if (!reachable(at, near))
			return -ENOMEM;
		if (mm_range_reserved(at, PAGE_SIZE_) || patch_reserved(m, at, at + PAGE_SIZE_))
			continue;
		long r = gate_call(t, SYS_mmap, at, PAGE_SIZE_, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
		if (r == (long)at || r == -EINTR)
			return r;
	}
	return -ENOMEM;
}

static long new_trampoline(struct task *t, uint64_t near)
{
	struct patches *p = t->mm->patches;
	for (unsigned i = 0; i < p->n_pages; i++)
		if (p->pages[i].used < PER_PAGE && reachable(p->pages[i].addr, near))
			return (long)(p->pages[i].addr + p->pages[i].used++ * TRAMP);
	if (p->n_pages == PAGES_MAX)
		return -ENOSPC;
	long at = new_page(t, near);
	if (at < 0)
		return at;
	p->pages[p->n_pages++] = (struct page){ (uint64_t)at, 1 };
	return at;
}

static unsigned nop_length(const uint8_t *b, size_t n)
{
	size_t i = 0;
	while (i < n && b[i] == 0x66)
		i++;
	if (i < n && b[i] == 0x2e)
		i++;
	if (n - i < 5 || b[i] != 0x0f || b[i + 1] != 0x1f)
		return 0;
	size_t body = b[i + 2] == 0x44 ? 5 : b[i + 2] == 0x80 ? 7 : b[i + 2] == 0x84 ? 8 : 0;
	return body && i + body <= n ? (unsigned)(i + body) : 0;
}

/* Padding for a jump of five bytes: the first half or the second of what follows the return, whichever has none yet. */
static int find_padding(struct task *t, uint64_t call, struct site *s)
{
	uint8_t b[2 * NEAR];
	uint64_t base = call - NEAR;
	if (copyin(t, b, base, sizeof(b)) < 0)
		return -ENOEXEC;
	for (size_t i = 0; i + sizeof(read_tail) + 2 + 16 <= sizeof(b); i++) {
		size_t at = i + sizeof(read_tail) + 2;
		if (memcmp(b + i, read_tail, sizeof(read_tail)) != 0 || b[at - 1] != 0xc3)
			continue;
		if (b[at] == 0xe9) /* another site's jump is in the first half */
			at += 5;
		if (nop_length(b + at, sizeof(b) - at) < NOPS_MIN && !(b[at - 5] == 0xe9 && b[at] == 0x90 && b[at + 4] == 0x90))
			continue;
		s->pad = base + at;
		return (int64_t)(s->pad - call) > -NEAR && (int64_t)(s->pad - call) < NEAR ? 0 : -ENOEXEC;
	}
	return -ENOEXEC;
}

static int recognise(struct task *t, uint64_t call, struct site *s)
{
	uint8_t b[9];
	if (copyin(t, b, call - 7, sizeof(b)) < 0 || b[7] != 0x0f || b[8] != 0x05)
		return -ENOEXEC;
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		const uint8_t *at = b + 7 - forms[i].n;
		unsigned fixed = forms[i].number ? forms[i].number : 4;
		uint32_t nr;
		if (memcmp(at, forms[i].bytes, fixed) != 0)
			continue;
		if (forms[i].number) {
			memcpy(&nr, at + forms[i].number, 4);
			if (nr != t->nr)
				continue;
		} else if (at[4] != 8) {
			continue;
		}
		s->len = forms[i].n;
		memcpy(s->orig, at, s->len);
		return 0;
	}
	if (t->nr == 0 && b[5] == 0x31 && b[6] == 0xc0) { /* xor %eax, %eax */
		s->len = 2;
		memcpy(s->orig, b + 5, 2);
		return find_padding(t, call, s);
	}
	return -ENOEXEC;
}

/* How much of the padding the jump takes: ten bytes leave the second half as single NOPs for a second site. */
static size_t nop_room(struct task *t, uint64_t pad)
{
	uint8_t b[16];
	return copyin(t, b, pad, sizeof(b)) == 0 && nop_length(b, sizeof(b)) >= 10 ? 10 : 5;
}

static void put32(uint8_t *p, uint64_t v)
{
	uint32_t x = (uint32_t)v;
	memcpy(p, &x, 4);
}

static int patch(struct task *t, uint64_t call)
{
	struct site s = { .call = call };
	uint8_t code[TRAMP], jump[8];
	const struct vma *v = mm_find(t->mm, call - NEAR);
	if (!v || !v->file || (v->flags & MAP_SHARED) || v->prot != (PROT_READ | PROT_EXEC) || v->end < call + NEAR)
		return -ENOEXEC;
	int rc = recognise(t, call, &s), prot = v->prot;
	if (rc)
		return rc;
	long tramp = new_trampoline(t, call);
	if (tramp < 0)
		return (int)tramp;
	s.tramp = (uint64_t)tramp;
	unsigned n = s.len;
	memset(code, 0xcc, sizeof(code));
	memcpy(code, s.orig, n);
	memcpy(code + n, "\x48\x8d\x0d", 3); /* lea call + 2(%rip), %rcx */
	put32(code + n + 3, call + 2 - (s.tramp + n + 7));
	memcpy(code + n + 7, "\x65\xff\x24\x25", 4); /* jmp *%gs:entry */
	put32(code + n + 11, offsetof(struct mailbox, entry));
	if ((rc = write_code(t, s.tramp, code, sizeof(code), PROT_READ | PROT_EXEC)) < 0)
		return rc;
	memset(jump, 0x90, sizeof(jump));
	jump[0] = 0xe9;
	if (s.pad) {
		uint8_t ten[10];
		size_t fill = nop_room(t, s.pad);
		memset(ten, 0x90, sizeof(ten));
		ten[0] = 0xe9;
		put32(ten + 1, s.tramp - (s.pad + 5));
		if ((rc = write_code(t, s.pad, ten, fill, prot)) < 0)
			return rc;
		jump[0] = 0xeb;
		jump[1] = (uint8_t)(s.pad - call);
	} else {
		put32(jump + 1, s.tramp - (call - n + 5));
	}
	if ((rc = write_code(t, call - n, jump, n, prot)) < 0)
		return rc;
	s.state = PATCHED;
	struct site *to = find(t->mm->patches, call, false);
	if (to)
		*to = s;
	return 0;
}

void patch_note(struct task *t)
{
	uint64_t call = t->regs->rip - 2;
	if (!t->mb->entry || t->nr >= GATE_CALLS || gate_never_fast((unsigned)t->nr))
		return;
	struct site *s = site_get(t->mm, call);
	if (!s || s->state != COUNTED || ++s->hits < HOT)
		return;
	s->state = BUSY;
	if (mm_lock(t) < 0)
		return;
	int rc = patch(t, call);
	mm_unlock(t);
	s = find(t->mm->patches, call, false);
	if (rc && s)
		s->state = REFUSED;
}

int patch_undo(struct task *t, uint64_t start, uint64_t end)
{
	struct patches *p = t->mm->patches;
	for (unsigned i = 0; p && i < p->cap; i++) {
		struct site s = p->v[i];
		if (s.state != PATCHED || s.call < start || s.call >= end)
			continue;
		const struct vma *v = mm_find(t->mm, s.call);
		p->v[i].state = REFUSED;
		int rc = write_code(t, s.call - s.len, s.orig, s.len, v ? v->prot : PROT_READ | PROT_EXEC);
		if (rc)
			return rc;
	}
	return 0;
}

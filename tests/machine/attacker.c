/* A guest that attacks its monitor: no kernel, 32-bit code behind a PVH entry. It drives every virtio-mmio device with drivers that lie: registers, rings, descriptors,
 * lengths, and fields that change while the device reads them. At the end the random number device must still serve an honest driver; then it prints "survived".
 * Command line: "SEED ROUNDS". Everything it says goes to the serial port. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum {
	WINDOWS = 0xd0000000, WINDOW = 0x1000, SLOTS = 16,
	RINGS = 8 << 20, RING = 64 << 10,       /* of queue i: descriptors, available, used at the three quarters */
	BUFFERS = 16 << 20, BUFFERS_SIZE = 8 << 20,
	QUEUES = 16, SIZE = 64,
	MAGIC = 0x00, ID = 0x08, FEATURES = 0x10, FEATURES_SEL = 0x14, ACCEPT = 0x20, ACCEPT_SEL = 0x24, SEL = 0x30, NUM_MAX = 0x34, NUM = 0x38, READY = 0x44, NOTIFY = 0x50,
	ISR = 0x60, ACK = 0x64, STATUS = 0x70, DESC = 0x80, DRIVER = 0x90, DEVICE = 0xa0,
	ID_RNG = 4,
};

/* xen/include/public/arch-x86/hvm/start_info.h: magic, version, flags, nr_modules, modlist, cmdline */
struct start_info { u32 magic, version, flags, nr_modules; u64 modlist, cmdline; };

__attribute__((section(".note.pvh"), used, aligned(4))) static const struct { u32 n, d, t; char name[4]; u32 entry; } note = { 4, 4, 18, "Xen", 0x100000 };

__asm__(".section .text.start,\"ax\"\n.globl start\nstart: movl $0x700000, %esp\npushl %ebx\ncall attack\n1: hlt\njmp 1b\n.text\n");

static u64 state;

static u32 rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (u32)(state >> 16);
}
static u32 below(u32 n) { return rnd() % n; }
static int one_in(u32 n) { return below(n) == 0; }

static void out8(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void say(const char *s) { while (*s) out8(0x3f8, (u8)*s++); }
static void say_number(u32 v)
{
	char b[12], *p = b + 11;
	*p = 0;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	say(p);
}

static volatile u32 *reg(u32 slot, u32 offset) { return (volatile u32 *)(WINDOWS + slot * WINDOW + offset); }
static u32 get(u32 slot, u32 offset) { return *reg(slot, offset); }
static void set(u32 slot, u32 offset, u32 v) { *reg(slot, offset) = v; }

struct desc { u64 addr; u32 len; u16 flags, next; };
static volatile struct desc *descs(u32 q) { return (volatile struct desc *)(RINGS + q * RING); }
static volatile u16 *avail(u32 q) { return (volatile u16 *)(RINGS + q * RING + RING / 4); }
static volatile u16 *used(u32 q) { return (volatile u16 *)(RINGS + q * RING + RING / 2); }

/* An address: in the buffers mostly; else at an edge, in a hole, in a window, or nonsense. */
static u64 address(void)
{
	static const u64 edges[] = { 0, 0x9f000, 0xfffff, 0xc0000000, 0xbffff000, 0xd0000000, 0xfee00000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0xffffffffffffffff, 0xfffffffffffff000, 64 << 20, (64 << 20) - 1 };
	if (!one_in(12))
		return BUFFERS + below(BUFFERS_SIZE - 4096);
	return one_in(2) ? edges[below(sizeof edges / sizeof *edges)] : (u64)rnd() << 32 | rnd();
}

static u32 length(void)
{
	static const u32 sizes[] = { 0, 1, 4, 8, 12, 16, 20, 40, 44, 64, 512, 513, 1536, 4096, 8192, 65536 };
	return one_in(20) ? rnd() : sizes[below(sizeof sizes / sizeof *sizes)];
}

/* Something that a device may take for a request: small numbers, plausible lengths. */
static void fill(u64 at)
{
	if (at < BUFFERS || at > BUFFERS + BUFFERS_SIZE - 64)
		return;
	volatile u32 *p = (volatile u32 *)(u32)at;
	for (u32 i = 0; i < 16; i++)
		p[i] = one_in(3) ? 0 : one_in(2) ? below(64) : one_in(4) ? rnd() : length();
}

static void write_desc(u32 q, u32 i)
{
	volatile struct desc *d = &descs(q)[i];
	u64 at = address();
	d->addr = at;
	d->len = length();
	d->flags = (u16)(one_in(16) ? rnd() : below(8) & (one_in(4) ? 7 : 3));
	d->next = (u16)(one_in(30) ? rnd() : below(SIZE));
	fill(at);
}

/* A chain as an honest driver makes it, with contents that are not. */
static u16 honest_chain(u32 q)
{
	u32 n = 1 + below(4), outs = below(n + 1);
	u16 head = (u16)below(SIZE);
	for (u32 i = 0; i < n; i++) {
		volatile struct desc *d = &descs(q)[(head + i) % SIZE];
		u64 at = BUFFERS + below(BUFFERS_SIZE - (128 << 10));
		d->addr = at;
		d->len = 1 + below(one_in(4) ? 70000 : 600);
		d->flags = (u16)((i + 1 < n ? 1 : 0) | (i < outs ? 0 : 2));
		d->next = (u16)((head + i + 1) % SIZE);
		fill(at);
	}
	return head;
}

static int set_up(u32 slot, int honest)
{
	set(slot, STATUS, 0);
	set(slot, STATUS, 1);
	set(slot, STATUS, 3);
	for (u32 i = 0; i < 2; i++) {
		set(slot, FEATURES_SEL, i);
		u32 f = get(slot, FEATURES);
		set(slot, ACCEPT_SEL, i);
		set(slot, ACCEPT, honest ? (i ? 1 : 0) : (f & rnd()) | (i ? 1 : 0) | (one_in(40) ? rnd() : 0));
	}
	set(slot, STATUS, 11);
	if (!(get(slot, STATUS) & 8))
		return 0;
	for (u32 q = 0; q < QUEUES; q++) {
		set(slot, SEL, q);
		if (!get(slot, NUM_MAX))
			continue;
		for (u32 i = 0; i < RING / 4; i++)
			((volatile u32 *)(RINGS + q * RING))[i] = 0;
		set(slot, NUM, honest || !one_in(30) ? SIZE : rnd());
		u32 at[] = { (u32)descs(q), (u32)avail(q), (u32)used(q) }, to[] = { DESC, DRIVER, DEVICE };
		for (u32 i = 0; i < 3; i++) {
			u64 a = honest || !one_in(40) ? at[i] : address();
			set(slot, to[i], (u32)a);
			set(slot, to[i] + 4, (u32)(a >> 32));
		}
		set(slot, READY, 1);
	}
	set(slot, STATUS, 15);
	return 1;
}

static void any_register(u32 slot)
{
	u32 at = below(0x140);
	if (one_in(8))
		*(volatile u8 *)reg(slot, at) = (u8)rnd();
	else if (one_in(8))
		*(volatile u16 *)reg(slot, at & ~1u) = (u16)rnd();
	else if ((at & ~3u) != STATUS || one_in(10))
		set(slot, at & ~3u, one_in(2) ? below(32) : rnd());
	(void)*(volatile u8 *)reg(slot, below(0x140));
}

static void step(u32 slot, u32 q)
{
	u16 head = 0;
	switch (below(8)) {
	case 0: write_desc(q, below(SIZE)); return;
	case 1: any_register(slot); return;
	case 2: avail(q)[1] = (u16)(avail(q)[1] + (one_in(50) ? rnd() : 1)); break;
	case 3: /* fields that change while the device reads them */
		head = honest_chain(q);
		avail(q)[2 + avail(q)[1] % SIZE] = head;
		avail(q)[1] = (u16)(avail(q)[1] + 1);
		set(slot, NOTIFY, q);
		for (u32 i = 0; i < 400; i++) {
			volatile struct desc *d = &descs(q)[(head + (i & 3)) % SIZE];
			u32 len = d->len;
			d->len = 0xffffff00u + i;
			d->addr ^= 0xffffffff00000000ull;
			d->addr ^= 0xffffffff00000000ull;
			d->len = len;
			fill(d->addr);
		}
		return;
	default:
		head = honest_chain(q);
		if (one_in(10))
			write_desc(q, head);
		avail(q)[2 + avail(q)[1] % SIZE] = (u16)(one_in(60) ? rnd() : head);
		avail(q)[1] = (u16)(avail(q)[1] + 1);
	}
	set(slot, NOTIFY, q);
	if (one_in(6))
		set(slot, ACK, get(slot, ISR));
}

/* An honest driver: 64 random bytes, twice; the second time by a fresh start. */
static int rng_serves(u32 slot)
{
	volatile u32 *b = (volatile u32 *)BUFFERS;
	if (!set_up(slot, 1))
		return 0;
	for (u32 i = 0; i < 16; i++)
		b[i] = 0;
	descs(0)[0].addr = BUFFERS;
	descs(0)[0].len = 64;
	descs(0)[0].flags = 2;
	avail(0)[2] = 0;
	avail(0)[1] = 1;
	set(slot, NOTIFY, 0);
	for (u32 i = 0; i < 2000000000u && used(0)[1] != 1; i++)
		__asm__ volatile("pause");
	u32 any = 0;
	for (u32 i = 0; i < 16; i++)
		any |= b[i];
	return used(0)[1] == 1 && any;
}

static u32 number(const char **p)
{
	u32 v = 0;
	while (**p == ' ')
		(*p)++;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		v = v * 10 + (u32)(**p - '0');
	return v;
}

__attribute__((used)) void attack(const struct start_info *s);
void attack(const struct start_info *s)
{
	const char *words = (const char *)(u32)s->cmdline;
	u32 seed = number(&words), rounds = number(&words), n = 0, rng = SLOTS, seen = 0;
	state = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
	while (n < SLOTS && get(n, MAGIC) == 0x74726976)
		n++;
	for (u32 i = 0; i < n; i++)
		if (get(i, ID) == ID_RNG)
			rng = i;
	for (u32 r = 0; r < rounds; r++) {
		u32 slot = below(n);
		if (!set_up(slot, 0))
			continue;
		seen |= 1u << slot;
		for (u32 i = 0, m = 20 + below(200); i < m; i++)
			step(slot, one_in(20) ? below(QUEUES) : below(4));
	}
	say("attacked ");
	say_number(n);
	say(seen == (1u << n) - 1 ? " devices, all started\n" : " devices, not all started\n");
	say(rng < SLOTS && rng_serves(rng) && rng_serves(rng) ? "survived\n" : "the honest driver was not served\n");
	static const struct { u16 limit; u32 base; } __attribute__((packed)) none = { 0, 0 };
	__asm__ volatile("lidt %0\nint3" : : "m"(none)); /* a triple fault resets the machine */
}

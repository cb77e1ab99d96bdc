/* System call names and architectures -> numbers: libseccomp's tables, plus what is newer than them. See seccomp.h. */
#include <seccomp.h>

#include "confine/seccomp_internal.h"

/* Calls that Debian 12's libseccomp does not know. One number on all architectures since Linux 5.0 (but alpha), so one table does. */
static const struct { const char *name; int nr; } newer[] = {
	{ "cachestat", 451 }, { "fchmodat2", 452 }, { "map_shadow_stack", 453 }, { "futex_wake", 454 }, { "futex_wait", 455 }, { "futex_requeue", 456 },
	{ "statmount", 457 }, { "listmount", 458 }, { "lsm_get_self_attr", 459 }, { "lsm_set_self_attr", 460 }, { "lsm_list_modules", 461 },
	{ "mseal", 462 }, { "setxattrat", 463 }, { "getxattrat", 464 }, { "listxattrat", 465 }, { "removexattrat", 466 }, { "open_tree_attr", 467 },
	{ "file_getattr", 468 }, { "file_setattr", 469 }, { "listns", 470 }, { "rseq_slice_yield", 471 },
};

/* Calls of one architecture that are newer than the library. */
static const struct { uint32_t arch; const char *name; int nr; } newer_of_arch[] = {
	{ SCMP_ARCH_X86_64, "uretprobe", 335 }, { SCMP_ARCH_X86_64, "uprobe", 336 },
	{ SCMP_ARCH_RISCV64, "riscv_hwprobe", 258 }, { SCMP_ARCH_RISCV64, "riscv_flush_icache", 259 },
};

/* Where the numbers of an ABI begin. */
static int number_base(uint32_t arch) {
	switch (arch) {
	case SCMP_ARCH_X32: return 0x40000000;
	case SCMP_ARCH_MIPS: case SCMP_ARCH_MIPSEL: return 4000;
	case SCMP_ARCH_MIPS64: case SCMP_ARCH_MIPSEL64: return 5000;
	case SCMP_ARCH_MIPS64N32: case SCMP_ARCH_MIPSEL64N32: return 6000;
	default: return 0;
	}
}

int seccomp_syscall_number(uint32_t arch, const char *name) {
	int nr = seccomp_syscall_resolve_name_arch(arch, name);
	if (nr != __NR_SCMP_ERROR)
		return nr;
	for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
		if (streq(newer[i].name, name))
			return newer[i].nr + number_base(arch);
	for (size_t i = 0; i < ARRAY_SIZE(newer_of_arch); i++)
		if (newer_of_arch[i].arch == arch && streq(newer_of_arch[i].name, name))
			return newer_of_arch[i].nr;
	return -1;
}

/* "SCMP_ARCH_X86_64": the library's names are the same in lower case, without the prefix. */
uint32_t seccomp_arch_token(const char *name) {
	char lower[16];
	size_t n = 0;
	if (!str_has_prefix(name, "SCMP_ARCH_"))
		return 0;
	for (const char *p = name + strlen("SCMP_ARCH_"); *p; p++) {
		if (n == sizeof(lower) - 1)
			return 0;
		lower[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	}
	lower[n] = '\0';
	return streq(lower, "native") ? seccomp_arch_native() : seccomp_arch_resolve_name(lower);
}

uint32_t seccomp_native_token(void) { return seccomp_arch_native(); }

uint32_t seccomp_audit_arch(uint32_t token) { return token == SCMP_ARCH_X32 ? AUDIT_ARCH_X86_64 : token; }

bool seccomp_arch_wide(uint32_t token) {
	/* n32 carries the 64-bit mark of its ELF class, but its registers hold 32-bit arguments. */
	return token & __AUDIT_ARCH_64BIT && token != SCMP_ARCH_MIPS64N32 && token != SCMP_ARCH_MIPSEL64N32;
}

/* Calls that reach the kernel through socketcall(2) or ipc(2) on some architectures, and their direct numbers there where the kernel has
 * both ways (arch/<a>/kernel/syscalls/syscall.tbl); 0: none. sub is the first argument of the multiplexer. */
static const struct muxed { const char *name; int sub; int x86, s390, ppc, mips; } muxed[] = {
	{ "socket", 1, 359, 359, 326, 183 }, { "bind", 2, 361, 361, 327, 169 }, { "connect", 3, 362, 362, 328, 170 }, { "listen", 4, 363, 363, 329, 174 },
	{ "accept", 5, 0, 0, 330, 168 }, { "getsockname", 6, 367, 367, 331, 172 }, { "getpeername", 7, 368, 368, 332, 171 },
	{ "socketpair", 8, 360, 360, 333, 184 }, { "send", 9, 0, 0, 334, 178 }, { "recv", 10, 0, 0, 336, 175 }, { "sendto", 11, 369, 369, 335, 180 },
	{ "recvfrom", 12, 371, 371, 337, 176 }, { "shutdown", 13, 373, 373, 338, 182 }, { "setsockopt", 14, 366, 366, 339, 181 },
	{ "getsockopt", 15, 365, 365, 340, 173 }, { "sendmsg", 16, 370, 370, 341, 179 }, { "recvmsg", 17, 372, 372, 342, 177 },
	{ "accept4", 18, 364, 364, 344, 334 }, { "recvmmsg", 19, 337, 357, 343, 335 }, { "sendmmsg", 20, 345, 358, 349, 343 },
	{ "semop", 1, 0, 0, 0, 0 }, { "semget", 2, 393, 393, 393, 393 }, { "semctl", 3, 394, 394, 394, 394 }, { "semtimedop", 4, 0, 0, 0, 0 },
	{ "msgsnd", 11, 400, 400, 400, 400 }, { "msgrcv", 12, 401, 401, 401, 401 }, { "msgget", 13, 399, 399, 399, 399 }, { "msgctl", 14, 402, 402, 402, 402 },
	{ "shmat", 21, 397, 397, 397, 397 }, { "shmdt", 22, 398, 398, 398, 398 }, { "shmget", 23, 395, 395, 395, 395 }, { "shmctl", 24, 396, 396, 396, 396 },
};

bool seccomp_muxed(uint32_t arch, const char *name, int pseudo, struct seccomp_mux *ret) {
	/* libseccomp's pseudo numbers: -101..-120 socketcall, -201..-224 ipc; the last two digits are the sub-call. */
	const char *multiplexer = pseudo <= -200 ? "ipc" : "socketcall";
	if (pseudo > -100 || pseudo < -300)
		return false;
	int nr = seccomp_syscall_resolve_name_arch(arch, multiplexer);
	if (nr < 0)
		return false;
	*ret = (struct seccomp_mux){ .nr = (uint32_t)nr, .sub = (uint32_t)(-pseudo % 100), .direct = 0 };
	for (size_t i = 0; i < ARRAY_SIZE(muxed); i++) {
		if (!streq(muxed[i].name, name))
			continue;
		switch (arch) {
		case SCMP_ARCH_X86: ret->direct = (uint32_t)muxed[i].x86; break;
		case SCMP_ARCH_S390: case SCMP_ARCH_S390X: ret->direct = (uint32_t)muxed[i].s390; break;
		case SCMP_ARCH_PPC: case SCMP_ARCH_PPC64: case SCMP_ARCH_PPC64LE: ret->direct = (uint32_t)muxed[i].ppc; break;
		case SCMP_ARCH_MIPS: case SCMP_ARCH_MIPSEL: ret->direct = muxed[i].mips ? (uint32_t)muxed[i].mips + 4000 : 0; break;
		}
		if (streq(name, "semtimedop") && (arch == SCMP_ARCH_S390X || arch == SCMP_ARCH_PPC64 || arch == SCMP_ARCH_PPC64LE))
			ret->direct = 392;
	}
	return true;
}

bool seccomp_is_s390(uint32_t arch) { return arch == SCMP_ARCH_S390 || arch == SCMP_ARCH_S390X; }

bool seccomp_same_endian(uint32_t token) {
	return !!(token & __AUDIT_ARCH_LE) == !!(seccomp_arch_native() & __AUDIT_ARCH_LE) || token == SCMP_ARCH_X32;
}

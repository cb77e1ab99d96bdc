/*
 * The way from _start to main() without asking the processor what it is.
 *
 * A static glibc asks with some twenty CPUID instructions, at every start, in order to choose among variants of memcpy() and the like. In a virtual
 * machine each of them leaves the guest (Intel SDM 26.1.2): 4 to 17 us apiece where this was measured, 0.15 ms of the 0.43 ms that a start took. The commands of this program copy a few kilobytes; the baseline variants, which are chosen when nothing is known, do for them.
 *
 * This is __libc_start_main() of glibc 2.36 (csu/libc-start.c, the part for static programs) less init_cpu_features(): the same calls in the same
 * order. The names are the C library's own and hidden, which within one static link is no obstacle; the build takes this file only for the version
 * that it was compared with (meson.build), everywhere else the program starts as usual. So it does with GLIBC_TUNABLES in the environment.
 */
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>

#define LIBC extern __attribute__((visibility("hidden")))
typedef void init_fn(int, char **, char **);
typedef void fini_fn(void);
typedef int main_fn(int, char **, char **);

LIBC void _dl_aux_init(ElfW(auxv_t) *auxv);
LIBC void __tunables_init(char **env);
LIBC void _dl_relocate_static_pie(void);
LIBC void __libc_setup_tls(void);
LIBC void __libc_early_init(_Bool first);
LIBC init_fn __libc_init_first;
LIBC void __libc_check_standard_fds(void);
LIBC void *_dl_debug_initialize(uintptr_t base, long ns);
LIBC init_fn *const __preinit_array_start[], *const __preinit_array_end[], *const __init_array_start[], *const __init_array_end[];
LIBC fini_fn *const __fini_array_start[], *const __fini_array_end[];
LIBC char **__environ;
LIBC void *__libc_stack_end;
LIBC void *_dl_random;
LIBC int __libc_enable_secure;
LIBC long __x86_shared_non_temporal_threshold, __x86_rep_movsb_stop_threshold;
void _init(void);
void _fini(void);
int __cxa_atexit(void (*fn)(void *), void *arg, void *dso);

int __real___libc_start_main(main_fn *main, int argc, char **argv, fini_fn *init, fini_fn *fini, fini_fn *rtld_fini, void *stack_end);
int __wrap___libc_start_main(main_fn *main, int argc, char **argv, fini_fn *init, fini_fn *fini, fini_fn *rtld_fini, void *stack_end);

/* What dl_init_cacheinfo() makes of an unknown processor: copies beyond three quarters of the cache bypass it, and 1 MiB is assumed of that. */
enum { NON_TEMPORAL = 0xc0000 };

static void call_fini(void *unused) {
	(void)unused;
	for (size_t i = (size_t)(__fini_array_end - __fini_array_start); i-- > 0;)
		__fini_array_start[i]();
	_fini();
}

/* Runs before relocation: nothing here may go through a pointer in the program's data, or call what is chosen by IRELATIVE. */
__attribute__((no_stack_protector)) static int wants_tunables(char *const *env) {
	static const char name[] = "GLIBC_TUNABLES=";
	for (; *env; env++) {
		size_t i = 0;
		while (name[i] && (*env)[i] == name[i])
			i++;
		if (!name[i])
			return 1;
	}
	return 0;
}

__attribute__((no_stack_protector)) int __wrap___libc_start_main(main_fn *main, int argc, char **argv, fini_fn *init, fini_fn *fini, fini_fn *rtld_fini,
	void *stack_end) {
	char **env = argv + argc + 1, **end = env;
	if (wants_tunables(env))
		return __real___libc_start_main(main, argc, argv, init, fini, rtld_fini, stack_end);
	__environ = env;
	__libc_stack_end = stack_end;
	while (*end++)
		;
	_dl_aux_init((ElfW(auxv_t) *)(void *)end);
	__tunables_init(__environ);
	__x86_shared_non_temporal_threshold = __x86_rep_movsb_stop_threshold = NON_TEMPORAL;
	_dl_relocate_static_pie(); /* of a static-pie, IRELATIVE included */
	__libc_setup_tls();
	/* The canary and the mask of saved pointers, where the compiler and setjmp(3) look for them (tcbhead_t). The canary's lowest byte is zero, against strings. */
	const uintptr_t *random = _dl_random;
	__asm__ volatile("movq %0, %%fs:0x28" : : "r"(random[0] & ~(uintptr_t)0xff));
	__asm__ volatile("movq %0, %%fs:0x30" : : "r"(random[1]));
	if (rtld_fini)
		__cxa_atexit((void (*)(void *))(void *)rtld_fini, NULL, NULL);
	__libc_early_init(1);
	__libc_init_first(argc, argv, __environ);
	__cxa_atexit(call_fini, NULL, NULL);
	if (__libc_enable_secure)
		__libc_check_standard_fds();
	for (init_fn *const *f = __preinit_array_start; f < __preinit_array_end; f++)
		(*f)(argc, argv, __environ);
	_init();
	for (init_fn *const *f = __init_array_start; f < __init_array_end; f++)
		(*f)(argc, argv, __environ);
	_dl_debug_initialize(0, 0);
	exit(main(argc, argv, __environ));
}

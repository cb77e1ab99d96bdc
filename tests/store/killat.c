/* Preloaded into a command: kills the process at the Nth call that changes something on disk (KILL_AT=N), or counts them (KILL_COUNT=FILE).
 * KILL_TORN=1: a write at that point goes out by half before. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static long limit;
static int torn;

__attribute__((constructor)) static void start(void) {
	const char *s = getenv("KILL_AT");
	limit = s ? atol(s) : 0;
	torn = getenv("KILL_TORN") != NULL;
}

__attribute__((destructor)) static void stop(void) {
	const char *file = getenv("KILL_COUNT");
	FILE *f = file ? fopen(file, "w") : NULL;
	if (f) {
		fprintf(f, "%ld\n", (long)calls);
		fclose(f);
	}
}

static int due(void) {
	return atomic_fetch_add(&calls, 1) + 1 == limit;
}

static void die(void) {
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

#define REAL(name) ({ static __typeof__(&name) f; if (!f) f = (__typeof__(&name))dlsym(RTLD_NEXT, #name); f; })
#define HOOK(type, name, args, ...) \
	type name args { if (due()) die(); return REAL(name)(__VA_ARGS__); }

ssize_t write(int fd, const void *p, size_t n) {
	if (fd > 2 && due()) {
		if (torn && n > 1)
			REAL(write)(fd, p, n / 2);
		die();
	}
	return REAL(write)(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t off) {
	if (due()) {
		if (torn && n > 1)
			REAL(pwrite)(fd, p, n / 2, off);
		die();
	}
	return REAL(pwrite)(fd, p, n, off);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off) {
	if (due()) {
		if (torn && n > 1)
			REAL(pwrite64)(fd, p, n / 2, off);
		die();
	}
	return REAL(pwrite64)(fd, p, n, off);
}

HOOK(int, fsync, (int fd), fd)
HOOK(int, fdatasync, (int fd), fd)
HOOK(int, rename, (const char *a, const char *b), a, b)
HOOK(int, renameat, (int d, const char *a, int d2, const char *b), d, a, d2, b)
HOOK(int, unlink, (const char *a), a)
HOOK(int, unlinkat, (int d, const char *a, int f), d, a, f)
HOOK(int, ftruncate, (int fd, off_t n), fd, n)
HOOK(int, ftruncate64, (int fd, off64_t n), fd, n)
HOOK(int, mkdirat, (int d, const char *a, mode_t m), d, a, m)
HOOK(int, mkdir, (const char *a, mode_t m), a, m)

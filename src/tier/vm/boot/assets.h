/* What a machine boots from: the guest kernel as an ELF and an initramfs of ours, made once and kept in the cache directory. */
#ifndef TIERCE_TIER_VM_BOOT_ASSETS_H
#define TIERCE_TIER_VM_BOOT_ASSETS_H

#include "base/err.h"
#include "tier/vm/boot/key.h"

#define VM_CACHE_DIR "/var/lib/tierce/vm"

struct asset_options {
	const char *cache;   /* directory, VM_CACHE_DIR by default */
	const char *kernel;  /* vmlinux or bzImage; NULL: Debian's cloud kernel */
	const char *modules; /* lib/modules/RELEASE of that kernel; NULL: beside it or on the host by its release */
	const char *agent;   /* the static tierce-agent; NULL: searched beside our program */
};

struct assets {
	char *vmlinux, *initramfs; /* absolute paths below the cache, owned */
	char *agent;
	char *preload;             /* tierce-qemu.so beside the agent, NULL when it is not there */
	char key[KEY_TEXT];        /* changes when kernel, modules or agent change */
};
#define _cleanup_assets_ CLEANUP(assets_clear)
void assets_clear(struct assets *a);

/* Find or make everything. Takes a lock on the cache while something is made; safe against concurrent starts and crashes, since every file
 * appears by rename. Debian's kernel is taken from the cache, from /boot, or fetched with apt-get download. */
int assets_prepare(const struct asset_options *o, struct assets *ret, struct err *e) MUST_CHECK;
/* Open (making it when needed) and flock a lock file "NAME.lock" in the cache; returns the fd, closing it unlocks. */
int cache_lock(const char *cache, const char *name, struct err *e) MUST_CHECK;
/* Run a program and wait; its output goes to stderr's file or is dropped. 0, or -EIO with the status in e. */
int run_program(const char *const *argv, const char *cwd, struct err *e) MUST_CHECK;
/* mkdir -p with mode 0700 for what is missing. */
int make_dirs(const char *path, struct err *e) MUST_CHECK;

#endif

/* Content keys of cached things (initramfs, root images, templates): SHA-256 (FIPS 180-4) over what went into them. */
#ifndef TIERCE_TIER_VM_BOOT_KEY_H
#define TIERCE_TIER_VM_BOOT_KEY_H

#include <stddef.h>
#include <stdint.h>

struct key {
	uint32_t h[8];
	uint64_t bytes;
	uint8_t block[64];
};
enum { KEY_TEXT = 33 }; /* 32 hex digits (128 bits) and a NUL */

void key_init(struct key *k);
void key_add(struct key *k, const void *data, size_t n);
void key_add_str(struct key *k, const char *s); /* with its NUL, so that neighbours do not run together; NULL counts as "" */
void key_add_u64(struct key *k, uint64_t v);
void key_text(struct key *k, char ret[KEY_TEXT]);

#endif

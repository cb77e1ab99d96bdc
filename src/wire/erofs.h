/* EROFS on-disk format, the uncompressed part (Linux fs/erofs/erofs_fs.h, Documentation/filesystems/erofs.rst): offsets and constants. */
#ifndef TIERCE_WIRE_EROFS_H
#define TIERCE_WIRE_EROFS_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum {
	EROFS_SUPER_OFFSET = 1024,
	EROFS_SUPER_SIZE = 128,
	EROFS_BLKBITS = 12, /* 4096: the one block size that every kernel with EROFS mounts */
	EROFS_BLK = 1 << EROFS_BLKBITS,
	EROFS_SLOT = 32, /* inode numbers count slots from the metadata start */
	EROFS_INODE_COMPACT = 32,
	EROFS_INODE_EXTENDED = 64,
	EROFS_DIRENT = 12,
	EROFS_XATTR_HEADER = 12,
	EROFS_NAME_LEN = 255,

	EROFS_LAYOUT_PLAIN = 0,
	EROFS_LAYOUT_INLINE = 2,
	EROFS_LAYOUT_CHUNK = 4,

	EROFS_CHUNK_BITS_MASK = 0x1f,
	EROFS_CHUNK_INDEXES = 0x20,

	EROFS_COMPAT_SB_CHKSUM = 0x1,
	EROFS_COMPAT_MTIME = 0x2,
	EROFS_INCOMPAT_CHUNKED = 0x4,

	EROFS_XATTR_USER = 1,
	EROFS_XATTR_ACL_ACCESS = 2,
	EROFS_XATTR_ACL_DEFAULT = 3,
	EROFS_XATTR_TRUSTED = 4,
	EROFS_XATTR_SECURITY = 6,
};

#define EROFS_MAGIC 0xE0F5E1E2u
#define EROFS_NULL_ADDR 0xFFFFFFFFu

/* File types in directory entries (linux/fs_types.h FT_*). */
enum erofs_ftype { EROFS_FT_UNKNOWN, EROFS_FT_REG, EROFS_FT_DIR, EROFS_FT_CHR, EROFS_FT_BLK, EROFS_FT_FIFO, EROFS_FT_SOCK, EROFS_FT_LNK };

/* Superblock fields, offsets from EROFS_SUPER_OFFSET. */
enum {
	ESB_MAGIC = 0, ESB_CHECKSUM = 4, ESB_COMPAT = 8, ESB_BLKBITS = 12, ESB_ROOT_NID = 14, ESB_INOS = 16, ESB_TIME = 24, ESB_TIME_NS = 32,
	ESB_BLOCKS = 36, ESB_META_BLK = 40, ESB_XATTR_BLK = 44, ESB_UUID = 48, ESB_VOLUME = 64, ESB_INCOMPAT = 80, ESB_EXTRA_DEVICES = 86,
	ESB_DIRBLKBITS = 90, ESB_XATTR_PREFIXES = 91,
};

/* Inode fields; those below 24 are common to both sizes except SIZE and NLINK. */
enum {
	EI_FORMAT = 0, EI_XATTRS = 2, EI_MODE = 4, EI_U = 16, EI_INO = 20,
	EIC_NLINK = 6, EIC_SIZE = 8, EIC_UID = 24, EIC_GID = 26,
	EIX_SIZE = 8, EIX_UID = 24, EIX_GID = 28, EIX_MTIME = 32, EIX_MTIME_NS = 40, EIX_NLINK = 44,
};

static inline void put16(uint8_t *p, uint16_t v) { v = htole16(v); memcpy(p, &v, 2); }
static inline void put32(uint8_t *p, uint32_t v) { v = htole32(v); memcpy(p, &v, 4); }
static inline void put64(uint8_t *p, uint64_t v) { v = htole64(v); memcpy(p, &v, 8); }
static inline uint16_t get16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return le16toh(v); }
static inline uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return le32toh(v); }
static inline uint64_t get64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return le64toh(v); }

/* CRC-32C (Castagnoli), as the superblock checksum wants it: seed ~0, no final inversion. */
uint32_t erofs_crc32c(uint32_t crc, const void *data, size_t n);

#endif

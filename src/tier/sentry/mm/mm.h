/* Address spaces as the sentry tracks them: what is mapped where, from which file. The host kernel holds the truth about pages; this list feeds
 * /proc/PID/maps, limits, mremap and msync of files, shared futex keys and brk. */
#ifndef TIERCE_SENTRY_MM_H
#define TIERCE_SENTRY_MM_H

#include <stdbool.h>
#include <stdint.h>

#include "tier/sentry/kernel.h"
#include "tier/sentry/mm/usermem.h"

struct file;
struct shm_segment;
struct patches;
struct filemaps;

enum { PAGE_SIZE_ = 4096 };
#define PAGE_DOWN(x) ((x) & ~4095ull)
#define PAGE_UP(x) (((x) + 4095) & ~4095ull)

struct vma {
	uint64_t start, end, off; /* off: file offset of start */
	int prot, flags;          /* PROT_*, MAP_SHARED|MAP_PRIVATE|MAP_ANONYMOUS... */
	struct file *file;        /* owned reference, NULL: anonymous */
	const char *name;         /* static: "[heap]", "[stack]" ... */
	bool locked;
	bool may_write;           /* shared, of a file that was not sealed against writing then */
	struct shm_segment *shm;  /* SysV attachment, sys_ipc */
	const void *shared_id;    /* identity of shared anonymous memory (futex keys survive fork) */
};

struct mm {
	unsigned refs;
	struct vma *v;            /* sorted, not overlapping */
	unsigned n, cap;
	uint64_t brk_start, brk, brk_mapped;
	uint64_t total_pages, locked_pages;
	struct task *map_owner;   /* who changes the map: a sleeping lock, see mm_lock() */
	struct waitq map_wait;
	struct file *exe;         /* /proc/PID/exe */
	char *exe_path;
	uint64_t arg_start, arg_end, env_start, env_end, stack_start;
	uint64_t auxv[64]; unsigned n_auxv;
	uint64_t mlock_future;
	bool dumpable, thp_disabled;
	unsigned membarrier; /* registrations: 1 expedited, 2 with serialisation */
	struct filemaps *filemaps; /* gate/filemap.c */
	struct patches *patches;  /* call sites (gate/patch.c) */
};

struct mm *mm_new(void);
struct mm *mm_dup(struct mm *m);  /* for fork; MADV_DONTFORK ranges are the host's matter */
void mm_put(struct mm *m);
/* Serialises changes; -EINTR when the task is to die. */
int mm_lock(struct task *t) MUST_CHECK;
void mm_unlock(struct task *t);
struct vma *mm_find(struct mm *m, uint64_t addr);       /* the vma that contains addr */
struct vma *mm_find_next(struct mm *m, uint64_t addr);  /* first with end > addr */
/* Book-keeping only (the host call is done by the caller). file reference is taken. -ENOMEM. */
int mm_insert(struct mm *m, uint64_t start, uint64_t end, int prot, int flags, struct file *file, uint64_t off, const char *name);
void mm_remove(struct mm *m, uint64_t start, uint64_t end);
void mm_set_prot(struct mm *m, uint64_t start, uint64_t end, int prot);
long mm_set_locked(struct mm *m, uint64_t start, uint64_t end, bool locked);
bool mm_range_reserved(uint64_t start, uint64_t len);   /* touches gate, arena or beyond the top */

/* Whole operations: host and book. Called with the lock; they take mm_lock themselves. Address or -errno. */
long mm_map(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, struct file *f, uint64_t off);
long mm_unmap(struct task *t, uint64_t addr, uint64_t len);
long mm_map_named(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, const char *name);
/* execve: drop everything but gate and vDSO. */
int mm_clear(struct task *t);

/* ELF loader (mm/elf.c). */
struct elf_image { uint64_t entry, phdr, base, interp_base, brk, start_code, end_code; unsigned phnum; };
int elf_check(struct task *t, struct file *f, char **ret_interp);
int elf_load(struct task *t, struct file *f, struct file *interp, struct elf_image *ret);

/* Futexes (mm/futex.c). */
void futex_wake_addr(struct task *t, uint64_t addr, unsigned n);
void futex_exit(struct task *t); /* robust list and clear_child_tid */

#endif

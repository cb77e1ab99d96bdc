/* The sentry's side of the gate: address spaces as host processes, slots, requests, actions. */
#ifndef TIERCE_SENTRY_GATE_HOST_H
#define TIERCE_SENTRY_GATE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "tier/sentry/task/task.h"

/* One host process. vfork children share memory with the parent's but have one of their own. */
struct host_as {
	unsigned refs;       /* tasks in it */
	int pid;             /* kernel-supplied; 0 before hello */
	bool gone;           /* reaped: pid must not be used any more */
	bool dead_seen;
	struct arena_mem *arena;
	struct list node;    /* all of them, for the reaper */
	uint64_t leader_slot;
};
struct arena_mem {
	unsigned refs;       /* host_as that use it */
	int memfd;
	uint64_t slot_used[GATE_SLOTS / 64];
};

struct gate_layout {
	uint64_t base, arena, end;       /* gate code, arena, end of arena */
	uint64_t vdso_lo, vdso_hi;       /* vvar and vdso; equal when there is none */
	uint64_t vdso;                   /* ELF header, AT_SYSINFO_EHDR; 0: none */
	uint64_t task_size;
	uint64_t fast;                   /* gate_fast in the guest */
	bool fsgsbase;
};
extern struct gate_layout gate_layout;

/* Before the sentry has threads: make the zygote. Then, with threads: take it over. */
int zygote_spawn(struct err *e);
int zygote_adopt(struct err *e);
int notifier_start(struct err *e);
int reaper_start(struct err *e);

/* New address space for `t` by fork of the zygote. The child sits in HELLO with a cleared frame. */
int gate_spawn(struct task *t);
/* t makes `child` by clone in its own address space. kind: GATE_FORK, GATE_VFORK, GATE_THREAD. The child's frame is a copy of t's. */
enum { GATE_FORK, GATE_VFORK, GATE_THREAD };
int gate_prepare(struct task *t, struct task *child, int kind);
int gate_clone(struct task *t, struct task *child, int kind, uint64_t tls, bool set_tls);
void gate_unprepare(struct task *child);

/* Wait for the guest's next request (lock dropped meanwhile). 0, or -EINTR when the task must look at its flags (dying). */
int gate_wait(struct task *t);
/* Let the guest continue at its frame. */
void gate_resume(struct task *t);
/* Answer a fast call. */
void gate_return(struct task *t, long ret);
/* The guest of a fast call comes back with a frame, registers as after the call with this result. 0 or -EINTR. */
int gate_frame(struct task *t, long ret);
/* Fill guest memory that copyout() put into the window now, in the middle of a fast call. 0, -EFAULT, -EINTR. */
int gate_flush(struct task *t);
/* What the gate answers by itself follows the task's ids. */
void gate_publish(struct task *t);
void gate_unpublish(struct task *t);
const struct gate_marshal *gate_marshal_table(void);
bool gate_never_fast(unsigned nr);
/* Make the guest perform one host call; result or -errno as the guest reports it; -EINTR when it died. Lock dropped meanwhile. */
long gate_call(struct task *t, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
/* mmap of a host fd at the guest: grants it for exactly these arguments. */
long gate_mmap_fd(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, int host_fd, uint64_t off);
int gate_set_fs(struct task *t, uint64_t base);
/* Atomic compare-exchange on a guest word: 0 and *old, or -EFAULT. */
int gate_cmpxchg(struct task *t, uint64_t addr, uint32_t expected, uint32_t new_value, uint32_t *old);
/* The guest thread leaves (no answer is awaited). Frees the slot for later reuse. */
void gate_exit_thread(struct task *t);
void gate_release(struct task *t);
/* Make a running guest thread enter its mailbox. */
void gate_kick(struct task *t);
/* Wake the twin out of gate_wait(). */
void gate_poke(struct task *t);
void as_kill(struct host_as *as);
void as_put(struct host_as *as);

/* grants of the notifier: see notify.c */
struct grant;
struct grant *grant_new(struct task *t, int kind, int fd, const uint64_t args[6]);
uint64_t grant_cookie(const struct grant *g);
void grant_drop(struct grant *g);
enum { GRANT_THREAD, GRANT_VFORK, GRANT_FORK, GRANT_MMAP };
void grants_drop_task(struct task *t); /* the task goes: nobody may claim it any more */

/* patch.c: call sites that go to the gate without a trap */
void patch_note(struct task *t);                             /* after a trapped call: counts, patches the hot ones */
uint64_t patch_site_of(const struct mm *m, uint64_t rip);    /* rip inside a trampoline: its site; else rip */
bool patch_race(struct task *t, uint64_t addr);              /* an instruction fetch that failed because of a patch under way: repeat it */
int patch_dup(struct mm *to, const struct mm *from);
void patch_free(struct mm *m);
void patch_drop(struct mm *m, uint64_t start, uint64_t end); /* the range is mapped anew or gone */
int patch_undo(struct task *t, uint64_t start, uint64_t end); /* put the original bytes back (mremap, writable text); map lock held */
bool patch_reserved(const struct mm *m, uint64_t start, uint64_t end); /* touches a trampoline */

/* filemap.c: reads of hot host files by copying from a mapping */
struct file;
struct uio;
ssize_t filemap_read(struct task *t, struct file *f, struct uio *u, int64_t *pos); /* -EAGAIN: read as usual */
void filemap_close(struct task *t, struct file *f);                                /* a descriptor of it goes */
bool filemap_reserved(const struct mm *m, uint64_t start, uint64_t end);
int filemap_dup(struct mm *to, const struct mm *from);
void filemap_free(struct mm *m);

struct arena_mem *gate_arena_new(void);
struct mailbox *slot_map(struct arena_mem *a, unsigned slot);
struct host_as *as_new(struct arena_mem *arena);
extern struct list all_as;

int guest_filter_install(void); /* filter.c; async-signal-safe; the listener fd or -errno */
void guest_filter_prepare(void);
extern int guest_filter_without; /* number of a row that is left out: for the test that every row is needed */
int guest_filter_print(struct strbuf *out);

#endif

/* Hiding the runtime's own binary: see exe.h. */
#include "confine/exe.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/broken.h"
#include "sys/fd.h"
#include "sys/kernel.h"

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif
enum { SEALS = 1 | 2 | 4 | 8 }; /* F_SEAL_SEAL|SHRINK|GROW|WRITE */
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

extern const char __ehdr_start[] __attribute__((visibility("hidden"))); /* the linker's: where the ELF header is mapped */

static int sealed_memfd(void) {
	/* MFD_EXEC: with vm.memfd_noexec=1 the default would be a file without execute permission, which the kernel refuses as an exe (6.3). */
	int fd = memfd_create("tierce", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("tierce", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

static bool exe_is_sealed(void) {
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return fd >= 0 && fcntl(fd, F_GET_SEALS) >= (int)SEALS;
}

bool exe_can_forget(void) {
	unsigned size = 0;
	/* Answered before any capability is looked at (kernel/sys.c, prctl_set_mm). */
	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size == sizeof(struct prctl_mm_map);
}

int exe_share(int *ret_tree) {
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	char link[32];
	_cleanup_close_ int tree = sys_open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 || sys_mount_setattr(tree, "", AT_EMPTY_PATH, &ro) < 0)
		return -EBADF;
	int fd = open(fd_proc_path(tree, link), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -EBADF;
	*ret_tree = TAKE_FD(tree);
	return fd;
}

struct span { uintptr_t from, to; int prot; off_t offset; };
enum { SPANS_MAX = 12 };

static int own_spans(struct span *s, uintptr_t *ret_relro, uintptr_t *ret_relro_end) {
	const ElfW(Phdr) *ph = (const ElfW(Phdr) *)(uintptr_t)getauxval(AT_PHDR); // NOLINT: the kernel's word is an address
	size_t n = getauxval(AT_PHNUM), out = 0;
	uintptr_t page = (uintptr_t)getauxval(AT_PAGESZ) - 1, base = 0;
	*ret_relro = *ret_relro_end = 0;
	/* A static-pie has no PT_PHDR: the segment that starts at offset 0 holds the headers. */
	for (size_t i = 0; i < n; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
			base = (uintptr_t)__ehdr_start - ph[i].p_vaddr;
	for (size_t i = 0; i < n; i++) {
		if (ph[i].p_type == PT_GNU_RELRO) {
			*ret_relro = (base + ph[i].p_vaddr) & ~page;
			*ret_relro_end = (base + ph[i].p_vaddr + ph[i].p_memsz) & ~page;
		}
		if (ph[i].p_type != PT_LOAD || !ph[i].p_filesz)
			continue;
		if (out == SPANS_MAX)
			return -E2BIG;
		s[out].from = (base + ph[i].p_vaddr) & ~page;
		s[out].to = (base + ph[i].p_vaddr + ph[i].p_filesz + page) & ~page;
		s[out].offset = (off_t)(ph[i].p_offset & ~page);
		s[out].prot = ((ph[i].p_flags & PF_R) ? PROT_READ : 0) | ((ph[i].p_flags & PF_W) ? PROT_WRITE : 0) | ((ph[i].p_flags & PF_X) ? PROT_EXEC : 0);
		out++;
	}
	return out ? (int)out : -ENOEXEC;
}

/* A mapping is copied whole, with what lies between its variables: AddressSanitizer would call that an overflow. */
__attribute__((no_sanitize_address)) static void copy_words(void *to, uintptr_t from, size_t len) {
	volatile unsigned long *t = to; /* not to become a call of memcpy, which checks by itself */
	const volatile unsigned long *f = (const void *)from;
	for (size_t i = 0; i < len / sizeof(*t); i++)
		t[i] = f[i];
}

/*
 * Put an anonymous copy in the place of a mapping. mremap(2) swaps it in one step, so it does not matter that the code that runs, or the data that it
 * uses, lies in it; between the copy and the swap nothing of the program's data may be written, hence no call but the raw one in between (errno is
 * thread-local, which lives elsewhere).
 */
static int replace_span(const struct span *s, int shared) {
	size_t len = s->to - s->from;
	/* The same pages of the same file, through another mount: one call swaps the mapping under the code that runs in it. */
	if (shared >= 0 && !(s->prot & PROT_WRITE))
		return mmap((void *)s->from, len, s->prot, MAP_PRIVATE | MAP_FIXED, shared, s->offset) == MAP_FAILED ? -errno : 0;
	void *copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (copy == MAP_FAILED)
		return -errno;
	copy_words(copy, s->from, len);
	if (!(s->prot & PROT_WRITE) && mprotect(copy, len, s->prot) < 0) {
		int r = -errno;
		munmap(copy, len);
		return r;
	}
	if (syscall(SYS_mremap, copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, s->from) < 0) {
		int r = -errno;
		munmap(copy, len);
		return r;
	}
	return 0;
}

/* The linker's own idea of the layout; only the order and the bounds are checked by the kernel (validate_prctl_map_addr). */
static void fill_map(struct prctl_mm_map *m, const struct span *s, int n, int exe_fd) {
	extern char **environ;
	memset(m, 0, sizeof(*m));
	m->start_code = s[0].from;
	m->end_code = s[0].to;
	m->start_data = s[n - 1].from;
	m->end_data = s[n - 1].to;
	/* start_brk is where the heap may shrink to at most: what is in use stays. */
	m->start_brk = m->brk = (uintptr_t)sbrk(0);
	m->start_stack = (uintptr_t)environ;
	/* The command line of the host's runtime is nobody's business inside either: empty. */
	m->arg_start = m->arg_end = m->env_start = m->env_end = (uintptr_t)environ;
	m->exe_fd = (uint32_t)exe_fd;
}

int exe_forget(int shared, struct err *e) {
	struct span s[SPANS_MAX];
	uintptr_t relro, relro_end;
	if (broken("exe"))
		return 0;
	if (!exe_can_forget()) {
		if (exe_is_sealed())
			return 0;
		return err_set(e, ENOTSUP, "the kernel cannot change what /proc/self/exe shows");
	}
	int n = own_spans(s, &relro, &relro_end);
	if (n < 0)
		return err_sys(e, n, "own program headers");
	_cleanup_close_ int fd = sealed_memfd();
	if (fd < 0)
		return err_sys(e, fd, "memfd");
	/* The exe must be executable, which a memfd is from birth; sealed, so that nobody can write a program into it. */
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_sys(e, errno, "seal memfd");
	for (int i = 0; i < n; i++) {
		int r = replace_span(&s[i], shared);
		if (r < 0)
			return err_sys(e, r, "replace own mapping");
	}
	if (relro_end > relro && mprotect((void *)relro, relro_end - relro, PROT_READ) < 0)
		return err_sys(e, errno, "protect own data");
	struct prctl_mm_map m;
	fill_map(&m, s, n, fd);
	if (prctl(PR_SET_MM, PR_SET_MM_MAP, &m, sizeof(m), 0) < 0)
		return errno == EPERM && exe_is_sealed() ? 0 : err_sys(e, errno, "hide /proc/self/exe");
	return 0;
}

int exe_reexec(char **argv, struct err *e) {
	if (exe_can_forget() || exe_is_sealed())
		return 0;
	_cleanup_close_ int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), fd = sealed_memfd();
	struct stat st;
	if (self < 0 || fd < 0 || fstat(self, &st) < 0)
		return err_sys(e, fd < 0 ? fd : errno, "copy own program");
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(fd, self, NULL, (size_t)left);
		if (n <= 0 && errno != EINTR)
			return err_sys(e, n < 0 ? errno : EIO, "copy own program");
		left -= n > 0 ? n : 0;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_sys(e, errno, "seal own program");
	extern char **environ;
	fexecve(fd, argv, environ);
	return err_sys(e, errno, "execute sealed copy of own program");
}

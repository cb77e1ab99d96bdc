/* What tierce-vmm is told: the options of its command line, read and validated whole before anything is touched. */
#ifndef TIERCE_TIER_VM_BUILTIN_CONFIG_H
#define TIERCE_TIER_VM_BUILTIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum { CONFIG_PORTS_MAX = 7, CONFIG_DISKS_MAX = 8, CONFIG_TAPS_MAX = 4, VMM_MEMORY_MIN = 32 << 20 };
#define VMM_MEMORY_MAX (1ull << 40)

/* Files are descriptors that the parent opened: tierce-vmm opens nothing but /dev/kvm. -EBADF: not given. */
struct config_port { const char *name; int fd; };
struct config_disk { int fd; bool writable; uint64_t bytes_per_s, ops_per_s; };
struct config_tap { int fd; uint8_t mac[6]; uint64_t bytes_per_s; };
struct vmm_config {
	uint64_t memory;
	unsigned cpus;
	const char *cmdline;
	int kernel, initrd;             /* ELF with a PVH entry, or bzImage */
	int memory_file, state;         /* of a template: start from there instead of from a kernel */
	int console, control;           /* serial output; stream socket of the protocol in control.h */
	struct config_port ports[CONFIG_PORTS_MAX];
	unsigned n_ports;
	struct config_disk disks[CONFIG_DISKS_MAX];
	unsigned n_disks;
	struct config_tap taps[CONFIG_TAPS_MAX];
	unsigned n_taps;
	bool balloon, rng;
	const char *fs_tag;             /* NULL: no file system */
	int fs;                         /* stream socket to its server */
	uint64_t vsock_cid;             /* 0: none */
	int vsock;                      /* listening unix socket */
	const char *vsock_path;         /* NULL: only the host's programs connect */
	int pmem;
	bool pmem_writable;
	bool jail;
	uint32_t uid, gid;
	bool show_filters, probe;
};

/* Fills c from the words; -EINVAL with a line for people. Strings are argv's. */
int config_parse(int argc, char **argv, struct vmm_config *ret, struct err *e) MUST_CHECK;
void config_usage(FILE *out);

#endif

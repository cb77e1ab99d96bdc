/* How a container's machine shall be: from annotations (dev.tierce.vm.*), the container's limits, and defaults. */
#ifndef TIERCE_TIER_VM_OPTIONS_H
#define TIERCE_TIER_VM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/oci.h"

struct vm_options {
	const char *cache;       /* dev.tierce.vm.cache or TIERCE_VM_CACHE */
	const char *hypervisor;  /* "auto", "qemu", "builtin" */
	const char *machine;     /* "microvm", "q35" */
	const char *accel;       /* "auto", "kvm", "tcg" */
	const char *kernel, *modules, *kernel_args; /* NULL: Debian's cloud kernel */
	bool template_on, template_wait; /* wait: make it first instead of in the background */
	uint64_t memory;         /* bytes of guest memory */
	unsigned cpus;
	bool confine;
	bool root_shared;        /* the root is the host's directory, served like a bind mount, instead of an image with a layer in memory */
	const char *sandbox;     /* id of the container whose machine this one joins, NULL: it has its own */
};

/* Unknown dev.tierce.vm.* keys and malformed values are errors that name the annotation. Strings are the spec's or static. */
int vm_options(const struct oci_spec *s, struct vm_options *ret, struct err *e) MUST_CHECK;

#endif

/* A seccomp section: whatever the spec lets through compiles to a program that the kernel's rules accept, or is refused with a message. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "confine/seccomp.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	struct json *doc;
	struct oci_spec *s;
	char *text = arena_printf(&a, "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":%.*s}}", (int)size, (const char *)data);
	if (json_parse(&a, text, strlen(text), &doc, &e) < 0 || oci_spec_from_json(&a, doc, &s, &e) < 0)
		return 0;
	int r = seccomp_compile(&s->seccomp, &f, &e);
	if (r < 0) {
		if (!*err_msg(&e) || e.code != r)
			__builtin_trap();
		return 0;
	}
	if (f.present && !bpf_check_valid(f.prog.insns, f.prog.n))
		__builtin_trap();
	/* An architecture that nobody listed never gets through, whatever else the section says. */
	struct seccomp_data d = { .nr = 0, .arch = 0x7fff1234 };
	if (f.present && bpf_run(&f.prog, &d) != SECCOMP_RET_KILL_THREAD)
		__builtin_trap();
	return 0;
}

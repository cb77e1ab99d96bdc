/* A raw program as the annotation carries it (base64), and as bytes: the evaluator stays in bounds and ends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "confine/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct seccomp_data d = { .nr = 1, .arch = bpf_native_arch(), .args = { 1, 2, 3, 4, 5, 6 } };
	if (size >= 8 && size <= 4096 * 8) {
		size_t n = size / sizeof(struct sock_filter);
		struct sock_filter *f = malloc(n * sizeof(*f));
		if (!f)
			return 0;
		memcpy(f, data, n * sizeof(*f));
		bpf_simulate(&(struct bpf_prog){ f, n, false }, &d);
		free(f);
	}
	char *text = strndup((const char *)data, size);
	if (!text)
		return 0;
	_cleanup_seccomp_ struct seccomp_filter filter = SECCOMP_FILTER_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_map_entry note[] = { { "run.oci.seccomp_bpf_data", text }, { "run.oci.seccomp.receiver", "/x" } };
	struct oci_spec s = { .annotations = { note, 2 } };
	if (seccomp_prepare(&s, -1, &filter, &e) == 0)
		bpf_simulate(&filter.prog, &d);
	free(text);
	return 0;
}

/* Stands in until the confine room has seccomp: every profile is refused. Not built once confine/seccomp.c exists. */
#include <errno.h>

#include "confine/seccomp.h"

int seccomp_notify_send(const struct seccomp_filter *f, int listener_fd, int pid_fd, pid_t pid, const char *state_json, struct err *e) {
	(void)f, (void)listener_fd, (void)pid_fd, (void)pid, (void)state_json;
	return err_set(e, ENOTSUP, "seccomp is not supported by this build");
}
int seccomp_prepare(const struct oci_spec *spec, int cache_fd, struct seccomp_filter *ret, struct err *e) {
	(void)cache_fd, (void)ret;
	return spec->seccomp.set ? err_set(e, ENOTSUP, "seccomp is not supported by this build") : 0;
}
void seccomp_filter_free(struct seccomp_filter *f) { (void)f; }
int seccomp_load(const struct seccomp_filter *f, struct err *e) {
	(void)f, (void)e;
	return 0;
}
bool seccomp_early(const struct oci_process *p) {
	(void)p;
	return false;
}

/* Decoding tables that the files of spec/ share. */
#ifndef TIERCE_SPEC_OCI_INTERNAL_H
#define TIERCE_SPEC_OCI_INTERNAL_H

#include "spec/decode.h"
#include "spec/oci.h"

extern const struct field oci_id_map_fields[], oci_mount_fields[], oci_process_fields[], oci_resources_fields[], oci_seccomp_fields[],
	oci_linux_fields[];

int oci_check_id_map(struct decoder *d, const struct decode_path *p, struct json *j, void *obj);
int oci_check_mount(struct decoder *d, const struct decode_path *p, struct json *j, void *obj);
int oci_check_process(struct decoder *d, const struct decode_path *p, struct json *j, void *obj);
int oci_check_resources(struct decoder *d, const struct decode_path *p, struct json *j, void *obj);
int oci_check_seccomp(struct decoder *d, const struct decode_path *p, struct json *j, void *obj);
/* Rules across members that need the whole document, such as a hostname without a UTS namespace. */
int oci_check_spec(struct decoder *d, struct oci_spec *s);

#endif

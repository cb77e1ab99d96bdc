/* placeholder to be written */
#include "spec/oci.h"
const char *oci_annotation(const struct oci_spec *s, const char *key) {
	for (size_t i = 0; i < s->annotations.n; i++)
		if (__builtin_strcmp(s->annotations.v[i].key, key) == 0)
			return s->annotations.v[i].value;
	return NULL;
}

/* YAML (by libyaml) as the JSON tree that everything else reads. */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_YAML_H
#define TIERCE_CMD_TIERCE_PEOPLE_YAML_H

#include "wire/json.h"

enum {
	YAML_MAX = 4 << 20,       /* bytes of a file */
	YAML_NODES_MAX = 200000,  /* nodes, aliases counted where they are used: "billion laughs" stops here */
};
/* All documents of a stream, as a JSON array. Plain scalars become null, true, false and numbers by YAML 1.2's core schema, which is also JSON's. */
int yaml_parse(struct arena *a, const char *text, size_t n, struct json **ret, struct err *e) MUST_CHECK;

#endif

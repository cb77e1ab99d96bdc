/* The Landlock annotation and CPU lists: parsed whole or refused with a message that names them; nothing is applied. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "confine/landlock.h"
#include "confine/sched.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct landlock_policy p;
	struct cpu_set_list set;
	char *text = arena_strndup(&a, (const char *)data, size);
	if (!text)
		return 0;
	if (landlock_parse(&a, text, &p, &e) < 0) {
		if (!strstr(err_msg(&e), LANDLOCK_ANNOTATION))
			__builtin_trap();
	} else {
		/* a policy that parses restricts something, and its tables are within their bounds */
		if (!p.present || !(p.handled_fs | p.handled_net | p.scoped) || p.n_paths > LANDLOCK_MAX_PATHS || p.n_ports > LANDLOCK_MAX_PORTS)
			__builtin_trap();
		for (size_t i = 0; i < p.n_ports; i++)
			if (p.ports[i].first > p.ports[i].last)
				__builtin_trap();
	}
	(void)!cpu_list_parse(text, &set);
	return 0;
}

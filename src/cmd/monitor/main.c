/* tierce-monitor: the parent of the containers of one pod. Started by `tierce`; see monitor/monitor.h. */
#include <errno.h>
#include <stdio.h>

#include "cmd/oci/opt.h"
#include "cmd/tierce/people/tiers.h"
#include "engine/engine.h"
#include "monitor/monitor.h"

struct options { const char *data, *run, *state_root, *name; uint32_t ready_fd; bool pod; };
#define AT(m) offsetof(struct options, m)
static const struct opt rows[] = {
	{ .name = "data", .kind = OPT_STRING, .offset = AT(data), .arg = "DIR", .help = "data directory" },
	{ .name = "run", .kind = OPT_STRING, .offset = AT(run), .arg = "DIR", .help = "run directory" },
	{ .name = "state-root", .kind = OPT_STRING, .offset = AT(state_root), .arg = "DIR", .help = "the engine's state root" },
	{ .name = "name", .kind = OPT_STRING, .offset = AT(name), .arg = "ID", .help = "container or pod" },
	{ .name = "ready-fd", .kind = OPT_U32, .offset = AT(ready_fd), .arg = "N", .help = "R is written here when the socket listens" },
	{ .name = "pod", .kind = OPT_FLAG, .offset = AT(pod), .help = "stay without containers until told to end" },
};

int main(int argc, char **argv) {
	_cleanup_err_ struct err e = ERR_INIT;
	struct options o = { 0 };
	struct opt_parse p;
	if (opt_parse(rows, ARRAY_SIZE(rows), &o, false, argc - 1, argv + 1, &p, &e) < 0 || p.argc || !o.data || !o.run || !o.state_root || !o.name) {
		fprintf(stderr, "tierce-monitor: %s\n", e.code ? err_msg(&e) : "started by `tierce`, with --data, --run, --state-root and --name");
		return 125;
	}
	struct engine eng = { .root = o.state_root, .rootless = geteuid() != 0 || engine_is_rootless(), .tiers = tierce_tiers };
	struct podmon_config cfg = { .engine = &eng, .data_dir = o.data, .run_dir = o.run, .name = o.name, .pod = o.pod, .ready_fd = o.ready_fd ? (int)o.ready_fd : -EBADF };
	return podmon_run(&cfg, &e) < 0 ? 1 : 0;
}

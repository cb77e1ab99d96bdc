/* Field numbers of the agent's messages. */
#include "tier/vm/agent/proto.h"

PB_DESC(agent_hello_desc, agent_hello, PB_F(1, PB_U64, struct agent_hello, version), PB_F(2, PB_STR, struct agent_hello, release),
	PB_F(3, PB_STR, struct agent_hello, boot_id), PB_F(4, PB_U64, struct agent_hello, memory), PB_F(5, PB_U64, struct agent_hello, cpus));
PB_DESC(agent_wake_desc, agent_wake, PB_F(1, PB_BYTES, struct agent_wake, seed), PB_F(2, PB_U64, struct agent_wake, realtime_ns),
	PB_F(3, PB_STR, struct agent_wake, machine_id), PB_F(4, PB_STR, struct agent_wake, hostname), PB_F(5, PB_U64, struct agent_wake, vmgen));
PB_DESC(agent_woken_desc, agent_woken, PB_F(1, PB_U64, struct agent_woken, uptime_ns));

PB_DESC_LOCAL(root_desc, agent_root, PB_F(1, PB_STR, struct agent_root, type), PB_F(2, PB_STR, struct agent_root, device),
	PB_F(4, PB_BOOL, struct agent_root, readonly), PB_F(5, PB_U64, struct agent_root, upper_bytes), PB_F(6, PB_U64, struct agent_root, share),
	PB_F(7, PB_BYTES, struct agent_root, layers));
PB_DESC(agent_create_desc, agent_create, PB_F(1, PB_STR, struct agent_create, id), PB_F(2, PB_BYTES, struct agent_create, config),
	PB_M(3, struct agent_create, root, &root_desc), PB_F(4, PB_BOOL, struct agent_create, terminal), PB_F(5, PB_BOOL, struct agent_create, stdin_open),
	PB_F(6, PB_U64, struct agent_create, width), PB_F(7, PB_U64, struct agent_create, height), PB_F(9, PB_U64, struct agent_create, shares));
PB_DESC(agent_pid_desc, agent_pid, PB_F(1, PB_U64, struct agent_pid, pid));
PB_DESC(agent_exec_desc, agent_exec, PB_F(1, PB_STR, struct agent_exec, id), PB_F(2, PB_STR, struct agent_exec, exec_id),
	PB_F(3, PB_BYTES, struct agent_exec, process), PB_F(4, PB_BOOL, struct agent_exec, terminal), PB_F(5, PB_BOOL, struct agent_exec, stdin_open),
	PB_F(6, PB_U64, struct agent_exec, width), PB_F(7, PB_U64, struct agent_exec, height), PB_F(8, PB_BOOL, struct agent_exec, two_phase),
	PB_F(9, PB_STR, struct agent_exec, cgroup_sub));
PB_DESC(agent_ref_desc, agent_ref, PB_F(1, PB_STR, struct agent_ref, id), PB_F(2, PB_STR, struct agent_ref, exec_id));
PB_DESC(agent_signal_desc, agent_signal, PB_F(1, PB_STR, struct agent_signal, id), PB_F(2, PB_STR, struct agent_signal, exec_id),
	PB_F(3, PB_U64, struct agent_signal, signal), PB_F(4, PB_BOOL, struct agent_signal, all));
PB_DESC(agent_resize_desc, agent_resize, PB_F(1, PB_STR, struct agent_resize, id), PB_F(2, PB_STR, struct agent_resize, exec_id),
	PB_F(3, PB_U64, struct agent_resize, width), PB_F(4, PB_U64, struct agent_resize, height));
PB_DESC(agent_update_desc, agent_update, PB_F(1, PB_STR, struct agent_update, id), PB_F(2, PB_BYTES, struct agent_update, resources));
PB_DESC(agent_mounts_desc, agent_mounts, PB_F(1, PB_STR, struct agent_mounts, id), PB_F(2, PB_BYTES, struct agent_mounts, config),
	PB_F(3, PB_BOOL, struct agent_mounts, remove), PB_F(4, PB_U64, struct agent_mounts, shares));
PB_DESC(agent_text_desc, agent_text, PB_F(1, PB_BYTES, struct agent_text, text));

PB_DESC_LOCAL(route_desc, agent_route, PB_F(1, PB_STR, struct agent_route, dest), PB_F(2, PB_STR, struct agent_route, gateway),
	PB_F(3, PB_STR, struct agent_route, source), PB_F(4, PB_U64, struct agent_route, scope), PB_F(5, PB_U64, struct agent_route, flags));
PB_DESC_LOCAL(link_desc, agent_link, PB_F(1, PB_STR, struct agent_link, name), PB_F(2, PB_STR, struct agent_link, mac), PB_F(3, PB_U64, struct agent_link, mtu),
	PB_R(4, PB_STR, struct agent_link, addresses), PB_RM(5, struct agent_link, routes, &route_desc));
PB_DESC(agent_network_desc, agent_network, PB_RM(1, struct agent_network, links, &link_desc), PB_R(2, PB_STR, struct agent_network, sysctls));
PB_DESC(agent_io_desc, agent_io, PB_F(1, PB_U64, struct agent_io, kind), PB_F(2, PB_BYTES, struct agent_io, data), PB_F(3, PB_U64, struct agent_io, n));

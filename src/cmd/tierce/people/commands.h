/* What the files of container commands share. */
#ifndef TIERCE_CMD_TIERCE_COMMANDS_H
#define TIERCE_CMD_TIERCE_COMMANDS_H

#include "cmd/tierce/people/people.h"
#include "cmd/tierce/cli.h"
#include "cmd/tierce/format.h"

/* Image or root directory in argv[0], command behind it: a new container, not started. */
int container_new(struct cli *t, struct people *p, struct run_opts *o, int argc, char **argv, struct pctr **ret, struct err *e) MUST_CHECK;
int tierce_people(struct cli *t, struct people *p, struct err *e) MUST_CHECK;
/* --pod NAME or new:NAME: make it if asked, and put its id into o->pod. */
int pod_resolve(struct people *p, struct run_opts *o, struct err *e) MUST_CHECK;
/* "{{.Name}} {{json .Labels}}\n" over a JSON object: fields by (case-insensitive) path, "json" prints the value as JSON, "table " prefix is dropped by the caller. */
int format_template(const char *tmpl, const struct json *object, struct strbuf *out, struct err *e) MUST_CHECK;
/* Value as text: strings bare, others as JSON. */
void json_text(const struct json *j, struct strbuf *out);
int64_t rfc3339_seconds(const char *s);
/* Ask on standard input, be it a terminal or not; its end is a no. */
bool confirmed(void);
/* Run a program; wait: until it has ended. wait_children(): for all that were not waited for. */
int spawn_wait(const char *const *args, bool wait, struct err *e) MUST_CHECK;
/* Run it without input and output and wait; 0 when it succeeded. */
int spawn_quiet(const char *const *args, struct err *e) MUST_CHECK;
void wait_children(void);
/* The image's document as inspect prints it. */
int inspect_image(struct people *p, const char *name, struct strbuf *out, struct err *e) MUST_CHECK;
void inspect_write(struct json_writer *w, struct pctr *c);
/* Members of the open JSON object: labels of the image and of the options. */
void write_label_members(struct json_writer *w, const struct pctr *c);
/* For commands that know no struct people. */
void image_event(struct cli *t, const char *action, const char *id, const char *name);
/* Every key of the list must match, values of one key are alternatives (docker's rule; of labels all must match). -EINVAL: no such filter. */
int pctr_filter(struct pctr *c, const struct opt_list *l, struct people *p, bool *ret, struct err *e) MUST_CHECK;
/* "2026-01-02T03:04:05Z", "2026-01-02", a Unix time, or a time ago ("10m"): seconds since the epoch. */
int parse_since(const char *option, const char *s, int64_t *ret, struct err *e) MUST_CHECK;
/* Label of the options or of the image, NULL: none. */
const char *pctr_label(const struct pctr *c, const char *key);

extern const struct command
	cmd_check,
	cmd_run,
	cmd_create,
	cmd_start,
	cmd_attach,
	cmd_exec,
	cmd_stop,
	cmd_restart,
	cmd_kill,
	cmd_pause,
	cmd_unpause,
	cmd_rm,
	cmd_wait,
	cmd_rename,
	cmd_update,
	cmd_container_exists,
	cmd_container_prune,
	cmd_container_cleanup,
	cmd_ps,
	cmd_inspect,
	cmd_port,
	cmd_top,
	cmd_logs,
	cmd_events,
	cmd_stats,
	cmd_cp,
	cmd_diff,
	cmd_export,
	cmd_commit,
	cmd_volume_create,
	cmd_volume_ls,
	cmd_volume_rm,
	cmd_volume_prune,
	cmd_volume_inspect,
	cmd_volume_exists,
	cmd_volume_export,
	cmd_volume_import,
	cmd_volume_mount,
	cmd_volume_unmount,
	cmd_network_create,
	cmd_network_ls,
	cmd_network_rm,
	cmd_network_inspect,
	cmd_network_exists,
	cmd_network_connect,
	cmd_network_disconnect,
	cmd_network_prune,
	cmd_secret_create,
	cmd_secret_ls,
	cmd_secret_rm,
	cmd_pod_create,
	cmd_pod_start,
	cmd_pod_stop,
	cmd_pod_restart,
	cmd_pod_kill,
	cmd_pod_rm,
	cmd_pod_ps,
	cmd_pod_inspect,
	cmd_pod_logs,
	cmd_pod_exists,
	cmd_pod_run,
	cmd_kube_play,
	cmd_kube_down,
	cmd_info,
	cmd_system_info,
	cmd_version,
	cmd_generate_systemd;

#endif

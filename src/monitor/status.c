/* status.json: how a container goes, replaced atomically by its monitor, read by everybody. */
#include <errno.h>

#include "monitor/monitor.h"
#include "sys/fd.h"
#include "wire/json.h"

enum { STATUS_MAX = 64 * 1024 }; /* bytes of the file: a damaged one must not make us allocate without bound */

int monitor_status_write(int dir_fd, const struct monitor_status *s) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_object(&w);
	jw_kv_string(&w, "state", s->state);
	jw_kv_i64(&w, "pid", s->pid);
	jw_kv_i64(&w, "exitCode", s->exit_code);
	jw_kv_bool(&w, "oom", s->oom);
	jw_kv_u64(&w, "restarts", s->restarts);
	jw_kv_u64(&w, "started", s->started);
	jw_kv_u64(&w, "finished", s->finished);
	if (s->error)
		jw_kv_string(&w, "error", s->error);
	if (s->health) {
		jw_kv_string(&w, "health", s->health);
		jw_kv_u64(&w, "healthFailing", s->health_failing);
		jw_kv_i64(&w, "healthExit", s->health_exit);
		if (s->health_log)
			jw_kv_string(&w, "healthLog", s->health_log);
	}
	jw_object_end(&w);
	int r = jw_finish(&w);
	return r < 0 ? r : file_replace_at(dir_fd, "status.json", b.s, b.len, 0600, 0);
}

int monitor_status_read(struct arena *a, int dir_fd, struct monitor_status *ret) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json *j;
	int64_t i;
	uint64_t u;
	*ret = (struct monitor_status){ .state = "created" };
	int r = file_read_at(dir_fd, "status.json", &b, STATUS_MAX);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = json_parse(a, b.s, b.len, &j, NULL);
	if (r < 0)
		return r;
	ret->state = json_str(j, "state", "exited");
	ret->pid = json_i64(json_get(j, "pid"), &i) == 0 ? (pid_t)i : 0;
	ret->exit_code = json_i64(json_get(j, "exitCode"), &i) == 0 ? (int)i : 0;
	ret->started = json_u64(json_get(j, "started"), &u) == 0 ? u : 0;
	ret->finished = json_u64(json_get(j, "finished"), &u) == 0 ? u : 0;
	ret->restarts = json_u64(json_get(j, "restarts"), &u) == 0 ? (uint32_t)u : 0;
	ret->health_failing = json_u64(json_get(j, "healthFailing"), &u) == 0 ? (uint32_t)u : 0;
	ret->health_exit = json_i64(json_get(j, "healthExit"), &i) == 0 ? (int)i : 0;
	const struct json *oom = json_get(j, "oom");
	ret->oom = oom && oom->type == JSON_BOOL && oom->boolean;
	ret->error = json_str(j, "error", NULL);
	ret->health = json_str(j, "health", NULL);
	ret->health_log = json_str(j, "healthLog", NULL);
	return 0;
}

/* events.log: one JSON object a line, appended by whoever does something. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"

enum { EVENTS_MAX = 8 << 20 }; /* bytes; then the file is renamed to events.log.1 */

/* One write of a whole line with O_APPEND: lines of several processes do not mix (write(2), regular files). */
static void append(const char *data_dir, const struct strbuf *line)
{
	struct stat st;
	char path[4096], old[4100];
	snprintf(path, sizeof(path), "%s/events.log", data_dir);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > EVENTS_MAX) {
		snprintf(old, sizeof(old), "%s.1", path);
		rename(path, old);
	}
	(void)!write(fd, line->s, line->len);
	close(fd);
}

static void begin(struct json_writer *w, struct strbuf *b, const char *type, const char *action, const char *id, const char *name)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	jw_init(w, b, 0);
	jw_object(w);
	jw_kv_i64(w, "time", ts.tv_sec);
	jw_kv_i64(w, "timeNano", (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec);
	jw_kv_string(w, "Type", type);
	jw_kv_string(w, "Status", action);
	jw_kv_string(w, "ID", id);
	jw_kv_string(w, "Name", name);
}

static bool kept(const struct people *p)
{
	return !p->cli || !p->cli->global.events_backend || !streq(p->cli->global.events_backend, "none");
}

void event_write(struct people *p, const char *type, const char *action, const char *id, const char *name)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	begin(&w, &b, type, action, id, name);
	jw_object_end(&w);
	if (!kept(p) || jw_finish(&w) < 0)
		return;
	strbuf_putc(&b, '\n');
	append(p->data_dir, &b);
}

void event_container(const struct pctr *c, const char *action)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	begin(&w, &b, "container", action, c->id, c->name);
	if (c->image && *c->image)
		jw_kv_string(&w, "Image", c->image);
	if (streq(action, "died"))
		jw_kv_i64(&w, "ContainerExitCode", c->status.exit_code);
	if (c->pod_id)
		jw_kv_string(&w, "PodID", c->pod_id);
	jw_key(&w, "Attributes");
	jw_object(&w);
	write_label_members(&w, c);
	jw_object_end(&w);
	jw_object_end(&w);
	if (!kept(c->p) || jw_finish(&w) < 0)
		return;
	strbuf_putc(&b, '\n');
	append(c->p->data_dir, &b);
}

void image_event(struct cli *t, const char *action, const char *id, const char *name)
{
	struct people p;
	if (tierce_people(t, &p, NULL) < 0)
		return;
	event_write(&p, "image", action, id, name);
	people_close(&p);
}

/* events.log: one JSON object a line, appended by whoever does something. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/people.h"

enum { EVENTS_MAX = 8 << 20 }; /* bytes; then the file is renamed to events.log.1 */

void event_write(struct people *p, const char *type, const char *action, const char *id, const char *name, const char *image, int exit_code) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	struct timespec ts;
	struct stat st;
	char path[4096], old[4100];
	clock_gettime(CLOCK_REALTIME, &ts);
	jw_init(&w, &b, 0);
	jw_object(&w);
	jw_kv_i64(&w, "time", ts.tv_sec);
	jw_kv_i64(&w, "timeNano", (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec);
	jw_kv_string(&w, "Type", type);
	jw_kv_string(&w, "Status", action);
	jw_kv_string(&w, "ID", id);
	jw_kv_string(&w, "Name", name);
	if (image && *image)
		jw_kv_string(&w, "Image", image);
	if (strcmp(action, "died") == 0)
		jw_kv_i64(&w, "ContainerExitCode", exit_code);
	jw_object_end(&w);
	if (jw_finish(&w) < 0)
		return;
	strbuf_putc(&b, '\n');
	snprintf(path, sizeof(path), "%s/events.log", p->data_dir);
	/* Best effort: an event that cannot be written must not fail what it tells about. */
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > EVENTS_MAX) {
		snprintf(old, sizeof(old), "%s.1", path);
		rename(path, old);
	}
	(void)!write(fd, b.s, b.len);
	close(fd);
}

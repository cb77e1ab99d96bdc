/* Records of a container's log: "<RFC3339Nano> stdout|stderr P|F <text>" (CRI's form, monitor/monitor.h). The file may be damaged, or written by a container. */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_LOGREAD_H
#define TIERCE_CMD_TIERCE_PEOPLE_LOGREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_record {
	char stamp[64];
	int64_t when;     /* seconds since the epoch, 0: the time cannot be read */
	bool err;         /* stderr */
	bool partial;     /* the line goes on in the next record of its stream */
	const char *text; /* points into the line, len bytes */
	size_t len;
};

/* One line without its end. False: it is no record. */
bool log_record_parse(const char *line, size_t n, struct log_record *ret);
/* Where the last `want` lines of a text begin (partial records belong to the line that they continue). */
size_t log_tail_offset(const char *s, size_t n, int64_t want);

#endif

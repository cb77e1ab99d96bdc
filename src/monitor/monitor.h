/*
 * The monitor: parent of the containers of one pod (a stand-alone container is a pod of one). It holds their ptys and pipes, writes their logs,
 * records how they ended, restarts them, runs their health checks, and serves attach. It is started by the command line, needs nobody to stay alive,
 * and goes away with its last container.
 *
 * What is where, for a container ID:
 *   <data>/containers/ID/monitor.json   what to do (written by the command line before "start" is sent)
 *   <data>/containers/ID/status.json    how it goes (written by the monitor alone, replaced atomically)
 *   <data>/containers/ID/ctr.log        log, "<RFC3339Nano> stdout|stderr P|F text" (Kubernetes' and podman's k8s-file form)
 *   <run>/ID/stop                       marker: the user stopped it, no restart
 *   <run>/MONITOR/ctl                   the monitor's SOCK_SEQPACKET socket; <run>/MONITOR/lock is flocked while it lives
 *
 * Control protocol, one packet per message, the first byte is the operation:
 *   client: 'A' flags id  attach (flags: enum monitor_attach)      'W' id  tell how it ends     'S' id  start it -> 'k' or 'e'
 *           'i' bytes  stdin      'I'  end of stdin      'z' rows cols (two u16, little-endian)  window size
 *   monitor: 'o' bytes  stdout    'r' bytes  stderr    'x' "<exit code> <reason>"  it has ended for good    'k'  done    'e' text  failed
 * A slow client slows the container's output down (as it does under every peer); a client that is gone is forgotten.
 */
#ifndef TIERCE_MONITOR_MONITOR_H
#define TIERCE_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "engine/engine.h"

enum monitor_attach { MONITOR_STDIN = 1, MONITOR_STDOUT = 2, MONITOR_STDERR = 4 };
enum {
	MONITOR_PACKET_MAX = 16 * 1024 + 1, /* one operation byte and one log line's worth of data */
	MONITOR_CLIENTS_MAX = 64,           /* attached clients and waiters: bounds memory against a loop of connects */
	MONITOR_CONTAINERS_MAX = 64,        /* containers in one pod */
	CLEANUP_LOCK_FD = 3,                /* the cleanup command inherits the monitor's lock here */
	MONITOR_IDLE_MS = 15000,            /* a monitor that nobody tells to start anything goes away */
};

enum monitor_restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_UNLESS_STOPPED };

struct podmon_config {
	struct engine *engine;
	const char *data_dir; /* holds containers/ */
	const char *run_dir;  /* holds <id>/ */
	const char *name;     /* directory of our socket below run_dir: the container's or the pod's id */
	bool pod;             /* stay until told to end ('Q'), even without containers */
	int ready_fd;         /* a byte is written when the socket listens; closed then */
};

/* Run until the last container has ended. Returns 0 or negative errno (already reported through ready_fd when it was open). */
int podmon_run(const struct podmon_config *cfg, struct err *e) MUST_CHECK;

/* ---- log files ---------------------------------------------------------------------------------------------------- */

enum log_driver { LOG_FILE, LOG_JOURNALD, LOG_NONE, LOG_PASSTHROUGH };

struct log {
	enum log_driver driver;
	char *path, *tag, *id, *name;
	int fd;              /* file, or socket of the journal */
	uint64_t size, max_size; /* bytes; max_size 0: unbounded */
	uint32_t max_files;  /* rotated files kept besides the current one: path.1 is the newest */
	struct { char *buf; size_t len; bool partial; } stream[2]; /* an unfinished line of stdout, stderr */
};

enum { LOG_LINE_MAX = 16384 }; /* CRI: longer lines are split, P marks all parts but the last */

int log_open(struct log *l, struct err *e) MUST_CHECK;
/* Bytes as they came; whole lines are written at once, the rest is kept until more comes or log_flush(). stream: 1 or 2. */
int log_write(struct log *l, int stream, const char *data, size_t n);
void log_flush(struct log *l);
int log_reopen(struct log *l);
void log_close(struct log *l);

/* ---- status ------------------------------------------------------------------------------------------------------- */

struct monitor_status {
	const char *state;       /* "running", "exited", "restarting", "error" */
	pid_t pid;
	int exit_code;           /* 128 + signal when killed */
	bool oom;
	uint32_t restarts;
	uint64_t started, finished; /* ns since the epoch, 0: never */
	const char *error;       /* NULL: none */
	const char *health;      /* "starting", "healthy", "unhealthy", NULL: no check */
	uint32_t health_failing; /* failures in a row */
	const char *health_log;  /* end of the last check's output, NULL */
	int health_exit;
};
int monitor_status_write(int dir_fd, const struct monitor_status *s);
int monitor_status_read(struct arena *a, int dir_fd, struct monitor_status *ret);

#endif

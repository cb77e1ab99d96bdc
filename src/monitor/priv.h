/* What the files of the monitor share. */
#ifndef TIERCE_MONITOR_PRIV_H
#define TIERCE_MONITOR_PRIV_H

#include "monitor/dns.h"
#include "monitor/monitor.h"

struct health {
	bool set;
	uint64_t interval, timeout, start_period; /* ns */
	uint32_t retries;
	bool kill;           /* unhealthy: kill the container, its restart policy does the rest */
	char *process;       /* OCI process document */
	pid_t pid;           /* running check, 0: none */
	int out;             /* its output */
	uint64_t next;       /* CLOCK_MONOTONIC ns of the next one */
	char *last;          /* end of the last output */
	const char *state;
	uint32_t failing;
	int exit;
};

enum mctr_state { MCTR_IDLE, MCTR_RUNNING, MCTR_RESTARTING, MCTR_ENDED };

struct mctr {
	char *id, *bundle, *dir, *pid_file, *isolation;
	char **cleanup;
	int dir_fd;
	bool tty, open_stdin, stdin_once, no_cgroups;
	uint64_t timeout, deadline; /* ns, 0: none; CLOCK_MONOTONIC ns, UINT64_MAX: none */
	enum mctr_state state;
	enum monitor_restart restart;
	uint32_t restart_max, restarts;
	uint64_t restart_at, backoff; /* CLOCK_MONOTONIC ns; ns */
	pid_t pid;
	int in, out, err;    /* container's ends that we hold; with a tty in == out */
	uint64_t started, finished, started_mono;
	int exit_code;
	bool oom;
	char *error;
	struct { char *buf; size_t len, off; } stdin_pending;
	struct log log;
	struct health health;
};

struct client {
	int fd;
	struct mctr *c;      /* attached to or waiting for; NULL: not yet */
	uint8_t flags;
	bool watch;
	char *pending;       /* a packet that did not fit into the socket */
	size_t pending_len;
};

struct monitor {
	const struct podmon_config *cfg;
	struct mctr *ctrs[MONITOR_CONTAINERS_MAX];
	size_t n_ctrs;
	struct client clients[MONITOR_CLIENTS_MAX];
	size_t n_clients;
	int listen_fd, signal_fd, lock_fd, run_fd;
	bool ending;
	bool trim;           /* a container was started or removed: give memory back before sleeping */
	uint64_t idle_since;
	struct dns *dns;     /* NULL: no container is on a network with names */
};

uint64_t mono_ns(void);
uint64_t wall_ns(void);

/* ctr.c */
int mctr_load(struct monitor *m, const char *id, struct mctr **ret, struct err *e) MUST_CHECK;
void mctr_free(struct mctr *c);
int mctr_start(struct monitor *m, struct mctr *c, struct err *e) MUST_CHECK;
/* The container's init was reaped with this wait status. */
void mctr_exited(struct monitor *m, struct mctr *c, int wait_status);
void mctr_save(struct mctr *c);
/* Output and stdin. */
void mctr_read(struct monitor *m, struct mctr *c, int stream);
void mctr_drain(struct monitor *m, struct mctr *c);
int mctr_stdin(struct mctr *c, const char *data, size_t n);
void mctr_stdin_flush(struct mctr *c);
void mctr_stdin_close(struct mctr *c);
void mctr_resize(struct mctr *c, uint16_t rows, uint16_t cols);

/* ctl.c */
int ctl_listen(struct monitor *m, struct err *e) MUST_CHECK;
void ctl_accept(struct monitor *m);
/* Returns false when the client is gone (and was removed). */
bool ctl_read(struct monitor *m, size_t i);
void ctl_drop(struct monitor *m, size_t i);
void ctl_output(struct monitor *m, struct mctr *c, int stream, const char *data, size_t n);
void ctl_flush(struct monitor *m, size_t i);
void ctl_ended(struct monitor *m, struct mctr *c);
bool ctl_stalled(const struct monitor *m, const struct mctr *c);

/* health.c */
void health_begin(struct mctr *c);
void health_end(struct mctr *c);
void health_tick(struct monitor *m, struct mctr *c);
void health_read(struct mctr *c);
void health_reaped(struct mctr *c, int wait_status);

#endif

/*
 * tierce-systemd: makes, changes and stops transient scopes over D-Bus. A program of its own, so that only --systemd-cgroup pays for libsystemd.
 *
 *   tierce-systemd --system|--user start UNIT SLICE [NAME=VALUE...]   scope with this process inside; answers, then holds it until end of file
 *   tierce-systemd --system|--user set UNIT [NAME=VALUE...]           properties of a live unit, until reboot
 *   tierce-systemd --system|--user attach UNIT SUBCGROUP PID          a process into a live scope ("/": the scope itself)
 *   tierce-systemd --system|--user stop UNIT                          stop and forget
 *
 * Values are GVariant text. The answer is one line on stdout: "ok [CGROUP]" or "error ERRNO TEXT". A helper that is killed lets go of the scope; systemd
 * then keeps it only as long as the container's processes are inside.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "confine/cgroup_property.h"

enum {
	DEADLINE_MS = 90000, /* for everything: under a burst of starts systemd answers late, yet it answers */
	LOOK_MS = 2000,      /* a lost signal is made good by looking at the unit this often */
	BACKOFF_MS = 20,     /* first wait after a refusal that passes by itself; doubles up to BACKOFF_MAX_MS */
	BACKOFF_MAX_MS = 2000,
};

static const char manager_path[] = "/org/freedesktop/systemd1", manager_name[] = "org.freedesktop.systemd1", manager_iface[] = "org.freedesktop.systemd1.Manager";

struct run {
	sd_bus *bus;
	bool user, direct;      /* direct: systemd's private socket, no dbus-daemon in between */
	int64_t end;            /* CLOCK_MONOTONIC, ms */
	const char *unit, *slice;
	char **props;
	struct arena arena;
	char job[256];          /* object path that we wait for */
	char result[32];        /* of JobRemoved */
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int say(int code, const char *text)
{
	char line[4096];
	int n = code < 0 ? snprintf(line, sizeof(line), "error %d %s", -code, text) : snprintf(line, sizeof(line), "ok %s", text);

	for (int i = 0; i < n && i < (int)sizeof(line); i++)
		if (line[i] == '\n')
			line[i] = ' ';
	n = n > (int)sizeof(line) - 2 ? (int)sizeof(line) - 2 : n;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)n) < 0)
		return EXIT_FAILURE;
	return code < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the connection ---------------------------------------------------------------------------------------------------------- */

static int open_direct(struct run *x)
{
	char address[256];
	const char *dir = getenv("XDG_RUNTIME_DIR");
	sd_bus *bus = NULL;

	if (x->user && !dir)
		return -ENOENT;
	snprintf(address, sizeof(address), "unix:path=%s/systemd/private", x->user ? dir : "/run");
	if (access(address + strlen("unix:path="), F_OK) < 0)
		return -errno;
	int r = sd_bus_new(&bus);
	if (r >= 0 && (r = sd_bus_set_address(bus, address)) >= 0)
		r = sd_bus_start(bus);
	if (r < 0) {
		sd_bus_unref(bus);
		return r;
	}
	x->bus = bus;
	x->direct = true;
	return 0;
}

static int connect_bus(struct run *x)
{
	int r = open_direct(x);

	if (r < 0) {
		x->direct = false;
		r = x->user ? sd_bus_open_user(&x->bus) : sd_bus_open_system(&x->bus);
	}
	if (r >= 0)
		sd_bus_set_method_call_timeout(x->bus, (uint64_t)DEADLINE_MS * 1000);
	return r;
}

/* Refusals that a busy bus or manager takes back. */
static bool passes_by(int r, const sd_bus_error *be)
{
	static const char *const names[] = { SD_BUS_ERROR_LIMITS_EXCEEDED, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT, SD_BUS_ERROR_DISCONNECTED, SD_BUS_ERROR_NO_MEMORY };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (sd_bus_error_has_name(be, names[i]))
			return true;
	return r == -EAGAIN || r == -ETIMEDOUT || r == -ECONNRESET || r == -EPIPE || r == -ENOBUFS || r == -ECONNREFUSED || r == -ENOTCONN || r == -ESTALE;
}

static void back_off(unsigned attempt)
{
	unsigned ms = BACKOFF_MS << (attempt < 7 ? attempt : 7), jitter = 0;
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	if (getrandom(&jitter, sizeof(jitter), GRND_NONBLOCK) == sizeof(jitter))
		ms = ms / 2 + jitter % ms; /* a hundred starters must not come back together */
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

/* ---- properties --------------------------------------------------------------------------------------------------------------- */

static int append_value(sd_bus_message *m, const struct cgroup_value *v)
{
	int r;

	switch (v->sig[0]) {
	case 'b': return sd_bus_message_append(m, "b", v->b);
	case 'y': return sd_bus_message_append(m, "y", (uint8_t)v->u);
	case 'n': return sd_bus_message_append(m, "n", (int)v->i);
	case 'q': return sd_bus_message_append(m, "q", (unsigned)v->u);
	case 'i': return sd_bus_message_append(m, "i", (int32_t)v->i);
	case 'u': return sd_bus_message_append(m, "u", (uint32_t)v->u);
	case 'x': return sd_bus_message_append(m, "x", v->i);
	case 't': return sd_bus_message_append(m, "t", v->u);
	case 'd': return sd_bus_message_append(m, "d", v->d);
	case 's':
	case 'o':
	case 'g': return sd_bus_message_append_basic(m, v->sig[0], v->s);
	}
	char inner[CGROUP_SIG_MAX];
	bool array = v->sig[0] == 'a';
	strcpy(inner, v->sig + 1);
	if (!array)
		inner[strlen(inner) - 1] = 0;
	r = sd_bus_message_open_container(m, array ? 'a' : 'r', inner);
	for (const struct cgroup_value *c = v->first; c && r >= 0; c = c->next)
		r = append_value(m, c);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* "NAME=VALUE" as one (sv) */
static int append_property(struct run *x, sd_bus_message *m, const char *text, struct err *e)
{
	const char *eq = strchr(text, '='), *name;
	struct cgroup_value *v;
	int r;

	if (!eq)
		return err_set(e, EINVAL, "\"%s\" is no NAME=VALUE", text);
	char *key = arena_strndup(&x->arena, text, (size_t)(eq - text));
	if (!key)
		return err_sys(e, ENOMEM, "property");
	if ((r = cgroup_property_parse(&x->arena, key, eq + 1, &name, &v, e)) < 0)
		return r;
	if ((r = sd_bus_message_open_container(m, 'r', "sv")) < 0 || (r = sd_bus_message_append(m, "s", name)) < 0 ||
	    (r = sd_bus_message_open_container(m, 'v', v->sig)) < 0 || (r = append_value(m, v)) < 0 || (r = sd_bus_message_close_container(m)) < 0 ||
	    (r = sd_bus_message_close_container(m)) < 0)
		return err_sys(e, r, "property %s", name);
	return 0;
}

static bool given(struct run *x, const char *name)
{
	size_t n = strlen(name);
	for (char **p = x->props; *p; p++)
		if (strncmp(*p, name, n) == 0 && (*p)[n] == '=')
			return true;
	return false;
}

static int append_start(struct run *x, sd_bus_message *m, struct err *e)
{
	static const char *const accounting[] = { "CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting" };
	char text[512];
	int r;

	if ((r = sd_bus_message_append(m, "ss", x->unit, "fail")) < 0 || (r = sd_bus_message_open_container(m, 'a', "(sv)")) < 0)
		return err_sys(e, r, "message");
	snprintf(text, sizeof(text), "tierce container %s", x->unit);
	if (!given(x, "Description") && (r = sd_bus_message_append(m, "(sv)", "Description", "s", text)) < 0)
		return err_sys(e, r, "message");
	if ((r = sd_bus_message_append(m, "(sv)(sv)(sv)", "Slice", "s", x->slice, "PIDs", "au", 1, (uint32_t)getpid(), "Delegate", "b", true)) < 0)
		return err_sys(e, r, "message");
	if (!given(x, "DefaultDependencies") && (r = sd_bus_message_append(m, "(sv)", "DefaultDependencies", "b", false)) < 0)
		return err_sys(e, r, "message");
	for (size_t i = 0; i < ARRAY_SIZE(accounting); i++)
		if (!given(x, accounting[i]) && (r = sd_bus_message_append(m, "(sv)", accounting[i], "b", true)) < 0)
			return err_sys(e, r, "message");
	for (char **p = x->props; *p; p++)
		if ((r = append_property(x, m, *p, e)) < 0)
			return r;
	if ((r = sd_bus_message_close_container(m)) < 0 || (r = sd_bus_message_append(m, "a(sa(sv))", 0)) < 0)
		return err_sys(e, r, "message");
	return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------------------------------------------ */

static int job_removed(sd_bus_message *m, void *data, sd_bus_error *be)
{
	struct run *x = data;
	const char *path, *unit, *result;
	uint32_t id;

	(void)be;
	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 && x->job[0] && streq(path, x->job))
		snprintf(x->result, sizeof(x->result), "%s", result);
	return 0;
}

static int unit_string(struct run *x, const char *iface, const char *property, char *buf, size_t size)
{
	char *path = NULL, *value = NULL;
	int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", x->unit, &path);

	if (r >= 0)
		r = sd_bus_get_property_string(x->bus, manager_name, path, iface, property, NULL, &value);
	if (r >= 0)
		snprintf(buf, size, "%s", value);
	free(path);
	free(value);
	return r;
}

/* 0 when the job is done, -ECANCELED and the like when it failed. */
static int wait_job(struct run *x, const char *want_state, struct err *e)
{
	char state[32];
	int64_t look = now_ms() + LOOK_MS;

	while (!x->result[0]) {
		int r = sd_bus_process(x->bus, NULL);
		if (r < 0)
			return err_sys(e, r, "bus");
		if (r > 0)
			continue;
		int64_t now = now_ms();
		if (now >= x->end)
			return err_set(e, ETIMEDOUT, "no answer about the job of %s within %d s", x->unit, DEADLINE_MS / 1000);
		if (now >= look) {
			look = now + LOOK_MS;
			if (unit_string(x, "org.freedesktop.systemd1.Unit", "ActiveState", state, sizeof(state)) >= 0 && streq(state, want_state))
				return 0;
		}
		r = sd_bus_wait(x->bus, (uint64_t)(MIN(look, x->end) - now) * 1000);
		if (r < 0 && r != -EINTR)
			return err_sys(e, r, "bus");
	}
	if (streq(x->result, "done") || streq(x->result, "skipped"))
		return 0;
	return err_set(e, streq(x->result, "timeout") ? ETIMEDOUT : ECANCELED, "job of %s: %s", x->unit, x->result);
}

static int simple(struct run *x, const char *method, const char *types, const char *a, const char *b, sd_bus_error *be, sd_bus_message **reply)
{
	return b ? sd_bus_call_method(x->bus, manager_name, manager_path, manager_iface, method, be, reply, types, a, b) :
		sd_bus_call_method(x->bus, manager_name, manager_path, manager_iface, method, be, reply, types, a);
}

static int watch_jobs(struct run *x, struct err *e)
{
	int r = sd_bus_match_signal(x->bus, NULL, x->direct ? NULL : manager_name, manager_path, manager_iface, "JobRemoved", job_removed, x);

	if (r >= 0 && !x->direct)
		r = sd_bus_call_method(x->bus, manager_name, manager_path, manager_iface, "Subscribe", NULL, NULL, "");
	return r < 0 ? err_sys(e, r, "subscribe to systemd") : 0;
}

static int keep_job(struct run *x, sd_bus_message *reply, struct err *e)
{
	const char *path;
	int r = sd_bus_message_read(reply, "o", &path);

	if (r < 0)
		return err_sys(e, r, "answer of systemd");
	snprintf(x->job, sizeof(x->job), "%s", path);
	x->result[0] = 0;
	return 0;
}

/* One message; *again when the refusal passes by itself. */
static int start_once(struct run *x, bool *again, struct err *e)
{
	sd_bus_message *m = NULL, *reply = NULL;
	sd_bus_error be = SD_BUS_ERROR_NULL;
	int r = sd_bus_message_new_method_call(x->bus, &m, manager_name, manager_path, manager_iface, "StartTransientUnit");

	*again = false;
	if (r < 0)
		r = err_sys(e, r, "message");
	else if ((r = append_start(x, m, e)) >= 0) {
		r = sd_bus_call(x->bus, m, 0, &be, &reply);
		if (r < 0) {
			bool exists = sd_bus_error_has_name(&be, "org.freedesktop.systemd1.UnitExists");
			*again = passes_by(r, &be);
			if (exists && simple(x, "ResetFailedUnit", "s", x->unit, NULL, NULL, NULL) >= 0)
				*again = true; /* left over, failed: forgotten now */
			r = err_set(e, exists ? EEXIST : r, "start unit %s: %s", x->unit, be.message ? be.message : strerror(-r));
		} else {
			r = keep_job(x, reply, e);
		}
	}
	sd_bus_message_unref(m);
	sd_bus_message_unref(reply);
	sd_bus_error_free(&be);
	return r;
}

static int connected(struct run *x, struct err *e)
{
	if (x->bus && sd_bus_is_open(x->bus) > 0)
		return 0;
	sd_bus_unref(x->bus);
	x->bus = NULL;
	int r = connect_bus(x);
	return r < 0 ? err_sys(e, r, "connect to the %s bus", x->user ? "user" : "system") : watch_jobs(x, e);
}

static int retry(struct run *x, int (*once)(struct run *, bool *, struct err *), struct err *e)
{
	for (unsigned attempt = 0;; attempt++) {
		bool again = false;
		err_clear(e);
		int r = connected(x, e);
		if (r >= 0)
			r = once(x, &again, e);
		else
			again = passes_by(r, &SD_BUS_ERROR_NULL);
		if (r >= 0 || !again || now_ms() >= x->end || (r == -EEXIST && attempt > 2))
			return r;
		back_off(attempt);
	}
}

static int do_start(struct run *x)
{
	_cleanup_err_ struct err e = ERR_INIT;
	char group[2048] = "", drop[64];
	int r;

	if ((r = retry(x, start_once, &e)) < 0 || (r = wait_job(x, "active", &e)) < 0)
		return say(r, err_msg(&e));
	r = unit_string(x, "org.freedesktop.systemd1.Scope", "ControlGroup", group, sizeof(group));
	sd_bus_flush_close_unref(x->bus);
	x->bus = NULL;
	if (say(0, r < 0 ? "" : group) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	prctl(PR_SET_NAME, "tierce-scope");
	while (read(STDIN_FILENO, drop, sizeof(drop)) > 0)
		;
	return EXIT_SUCCESS;
}

static int set_once(struct run *x, bool *again, struct err *e)
{
	sd_bus_message *m = NULL;
	sd_bus_error be = SD_BUS_ERROR_NULL;
	int r = sd_bus_message_new_method_call(x->bus, &m, manager_name, manager_path, manager_iface, "SetUnitProperties");

	if (r >= 0 && (r = sd_bus_message_append(m, "sb", x->unit, true)) >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r < 0)
		r = err_sys(e, r, "message");
	for (char **p = x->props; *p && r >= 0; p++)
		r = append_property(x, m, *p, e);
	if (r >= 0 && (r = sd_bus_message_close_container(m)) >= 0 && (r = sd_bus_call(x->bus, m, 0, &be, NULL)) < 0) {
		*again = passes_by(r, &be);
		r = err_set(e, r, "set properties of unit %s: %s", x->unit, be.message ? be.message : strerror(-r));
	}
	sd_bus_message_unref(m);
	sd_bus_error_free(&be);
	return r;
}

static int attach_once(struct run *x, bool *again, struct err *e)
{
	sd_bus_error be = SD_BUS_ERROR_NULL;
	uint32_t pid = 0;

	if (!x->props[0] || parse_u32(x->props[0], &pid) < 0)
		return err_set(e, EINVAL, "attach needs a pid");
	int r = sd_bus_call_method(x->bus, manager_name, manager_path, manager_iface, "AttachProcessesToUnit", &be, NULL, "ssau", x->unit, streq(x->slice, "/") ? "" : x->slice, 1, pid);
	if (r < 0) {
		*again = passes_by(r, &be);
		r = err_set(e, r, "attach process %u to unit %s: %s", pid, x->unit, be.message ? be.message : strerror(-r));
	}
	sd_bus_error_free(&be);
	return r;
}

static int stop_once(struct run *x, bool *again, struct err *e)
{
	sd_bus_message *reply = NULL;
	sd_bus_error be = SD_BUS_ERROR_NULL;
	int r = simple(x, "StopUnit", "ss", x->unit, "replace", &be, &reply);

	x->job[0] = 0;
	if (r < 0 && (sd_bus_error_has_name(&be, "org.freedesktop.systemd1.NoSuchUnit") || sd_bus_error_has_name(&be, "org.freedesktop.systemd1.NotLoaded"))) {
		r = 0;
	} else if (r < 0) {
		*again = passes_by(r, &be);
		r = err_set(e, r, "stop unit %s: %s", x->unit, be.message ? be.message : strerror(-r));
	} else {
		r = keep_job(x, reply, e);
	}
	sd_bus_message_unref(reply);
	sd_bus_error_free(&be);
	return r;
}

static int do_set(struct run *x)
{
	_cleanup_err_ struct err e = ERR_INIT;
	int r = retry(x, set_once, &e);
	return say(r, r < 0 ? err_msg(&e) : "");
}

static int do_attach(struct run *x)
{
	_cleanup_err_ struct err e = ERR_INIT;
	int r = retry(x, attach_once, &e);
	return say(r, r < 0 ? err_msg(&e) : "");
}

static int do_stop(struct run *x)
{
	_cleanup_err_ struct err e = ERR_INIT;
	int r = retry(x, stop_once, &e);

	if (r >= 0 && x->job[0])
		r = wait_job(x, "inactive", &e);
	if (r >= 0) /* a unit that failed stays loaded until it is reset; that it is not there is fine */
		(void)simple(x, "ResetFailedUnit", "s", x->unit, NULL, NULL, NULL);
	return say(r, r < 0 ? err_msg(&e) : "");
}

static const struct { const char *verb; int words; int (*f)(struct run *); } verbs[] = { { "start", 2, do_start }, { "set", 1, do_set }, { "attach", 2, do_attach }, { "stop", 1, do_stop } };

int main(int argc, char **argv)
{
	struct run x = { .arena = ARENA_INIT };

	if (argc < 4 || (!streq(argv[1], "--system") && !streq(argv[1], "--user"))) {
		fprintf(stderr, "usage: tierce-systemd --system|--user start UNIT SLICE [NAME=VALUE...] | set UNIT NAME=VALUE... | attach UNIT SUBCGROUP PID | stop UNIT\n");
		return 2;
	}
	x.user = streq(argv[1], "--user");
	x.end = now_ms() + DEADLINE_MS;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!streq(argv[2], verbs[i].verb) || argc < 3 + verbs[i].words)
			continue;
		x.unit = argv[3];
		x.slice = verbs[i].words > 1 ? argv[4] : NULL;
		x.props = argv + 3 + verbs[i].words;
		int r = verbs[i].f(&x);
		sd_bus_unref(x.bus);
		arena_free(&x.arena);
		return r;
	}
	fprintf(stderr, "tierce-systemd: unknown request %s\n", argv[2]);
	return 2;
}

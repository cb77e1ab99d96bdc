/* The monitor: first steps in order, then one poll loop. */
#include "tier/vm/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/call.h"
#include "tier/vm/control.h"
#include "tier/vm/fsd.h"
#include "tier/vm/monitor_internal.h"
#include "tier/vm/rootimg.h"
#include "tier/vm/setup.h"

enum { BOOT_MS = 120000, CLONE_MS = 20000, CALL_MS = 60000, FIRST_STREAM = 1 };

uint32_t monitor_stream(struct monitor *m)
{
	m->next_stream += 2; /* odd numbers are the client's (ttrpc) */
	return m->next_stream;
}

/* ---- coming up ---------------------------------------------------------------------------------------------------- */

static void random_id(char ret[33])
{
	uint8_t b[16];
	if (getrandom(b, sizeof b, 0) != sizeof b)
		memset(b, 0, sizeof b);
	for (unsigned i = 0; i < sizeof b; i++)
		snprintf(ret + 2 * i, 3, "%02x", b[i]);
}

static int wake(struct monitor *m, struct arena *a, int timeout_ms, struct err *e)
{
	uint8_t seed[64];
	char id[33];
	struct timespec ts;
	struct agent_woken woken;
	if (getrandom(seed, sizeof seed, 0) != sizeof seed)
		return err_sys(e, errno, "getrandom");
	random_id(id);
	clock_gettime(CLOCK_REALTIME, &ts);
	struct agent_wake w = { .seed = { seed, sizeof seed }, .realtime_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec, .machine_id = id,
		.hostname = "tierce" };
	int r = agent_call(&m->agent, monitor_stream(m), "Wake", &agent_wake_desc, &w, &agent_woken_desc, &woken, a, timeout_ms, e);
	explicit_bzero(seed, sizeof seed);
	return r;
}

static int create(struct monitor *m, struct arena *a, struct err *e)
{
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT;
	const struct oci_process *p = &m->c->spec->process;
	int r = guestconf_write(m->c->spec, &m->shares, &config, e);
	if (r < 0)
		return r;
	struct agent_root root = { .type = m->root_share ? "share" : "erofs", .device = "vda", .share = m->root_share, .layers = { m->layers, m->n_layers } };
	struct agent_create q = { .id = m->c->id, .config = { config.s, config.len }, .root = &root, .terminal = p->terminal, .stdin_open = true,
		.shares = m->shares.n };
	struct winsize ws;
	if (p->terminal && m->c->stdio[0] >= 0 && ioctl(m->c->stdio[0], TIOCGWINSZ, &ws) == 0) {
		q.width = ws.ws_col;
		q.height = ws.ws_row;
	}
	struct agent_pid pid;
	return agent_call(&m->agent, monitor_stream(m), "Create", &agent_create_desc, &q, &agent_pid_desc, &pid, a, CALL_MS, e);
}

/* A running machine whose agent has answered. A clone that does not come to life costs its template and a cold boot. */
static int boot(struct monitor *m, const char *image, struct arena *a, struct err *e)
{
	struct machine_config mc;
	vm_machine_config(m->c->options, m->c->assets, &mc);
	mc.root_image = image;
	const char *macs[NICS_MAX] = { NULL };
	for (size_t i = 0; i < m->net.n; i++)
		macs[i] = ((const struct agent_link *)m->net.agent.links.v)[i].mac;
	if (m->net.n)
		mc.tap_fd = m->net.tap_fd[0];
	if (m->net.n > 1) {
		mc.use_template = false;
		mc.mac = macs[0];
		mc.more_taps = m->net.tap_fd + 1;
		mc.more_macs = macs + 1;
		mc.n_more_taps = m->net.n - 1;
	}
	for (;;) {
		int r = m->hv->start(&mc, &m->machine, e);
		if (r < 0)
			return r;
		m->agent.fd = m->machine.ctl_fd;
		r = wake(m, a, m->machine.cloned ? CLONE_MS : BOOT_MS, e);
		if (r >= 0 || !m->machine.cloned)
			return r;
		m->hv->stop(&m->machine);
		m->hv->discard(&mc);
		chan_clear(&m->agent);
		mc.use_template = false;
	}
}

static int net_sysctls(struct monitor *m, struct arena *a, struct err *e)
{
	const struct oci_map *s = &m->c->spec->sysctl;
	const char **v = arena_array(a, s->n + 1, const char *);
	size_t n = 0;
	if (!v)
		return err_set(e, ENOMEM, "network");
	for (size_t i = 0; m->c->own_network && i < s->n; i++)
		if (guestconf_net_sysctl(s->v[i].key) && !(v[n++] = arena_printf(a, "%s=%s", s->v[i].key, s->v[i].value)))
			return err_set(e, ENOMEM, "network");
	m->net.agent.sysctls = (struct pb_list){ v, n };
	return 0;
}

/* The largest layer becomes the disk, the others are shared files; what was already written above them is packed, since it may change. */
static int hand_over(struct monitor *m, struct root_layers *l, char **ret_disk, struct err *e)
{
	_cleanup_free_ char *upper = NULL;
	const char *v[ROOT_LAYERS_MAX + 1];
	size_t n = 0, disk = 0;
	off_t largest = -1;
	int r = l->upper ? rootimg_get(m->c->options->cache, l->upper, &upper, e) : 0;
	if (r < 0)
		return r;
	if (upper)
		v[n++] = upper;
	for (size_t i = 0; i < l->n; i++)
		v[n++] = l->image[i];
	for (size_t i = 0; i < n; i++) {
		struct stat st;
		if (stat(v[i], &st) == 0 && st.st_size > largest) {
			largest = st.st_size;
			disk = i;
		}
	}
	struct guest_share *more = realloc(m->shares.v, (m->shares.n + n + 1) * sizeof *more);
	if (!more)
		return err_set(e, ENOMEM, "root filesystem");
	m->shares.v = more;
	for (size_t i = 0; i < n; i++) {
		m->layers[i] = i == disk ? AGENT_DISK : (uint8_t)m->shares.n;
		if (i == disk)
			continue;
		int fd = m->shares.n < AGENT_DISK ? open(v[i], O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			return err_sys(e, m->shares.n < AGENT_DISK ? errno : E2BIG, "root filesystem: layer %s", v[i]);
		m->shares.v[m->shares.n++] = (struct guest_share){ fd, true };
	}
	m->n_layers = n;
	*ret_disk = strdup(v[disk]);
	return *ret_disk ? 0 : err_set(e, ENOMEM, "root filesystem");
}

static int bring_up(struct monitor *m, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_free_ char *image = NULL;
	size_t number = 0;
	struct root_layers layers;
	int r = guest_shares_open(m->c->spec, m->c->bundle, &m->shares, e);
	if (r >= 0 && m->c->options->root_shared) {
		r = guest_shares_root(&m->shares, m->c->rootfs, m->c->spec->root_readonly, &number, e);
		m->root_share = number + 1;
	} else if (r >= 0 && rootlayers_find(&a, m->c->rootfs, &layers))
		r = hand_over(m, &layers, &image, e);
	else if (r >= 0)
		r = rootimg_get(m->c->options->cache, m->c->rootfs, &image, e);
	if (r >= 0 && m->c->own_network)
		r = hostnet_attach(&a, &m->net, e);
	if (r >= 0)
		r = boot(m, image, &a, e);
	if (r >= 0)
		r = net_sysctls(m, &a, e);
	if (r >= 0 && (m->net.agent.links.n || m->net.agent.sysctls.n)) /* loopback is up since the boot */
		r = agent_call(&m->agent, monitor_stream(m), "Network", &agent_network_desc, &m->net.agent, NULL, NULL, &a, CALL_MS, e);
	hostnet_close(&m->net);
	if (r >= 0 && m->shares.n)
		r = fsd_start(&m->shares, m->machine.fuse_fd, &m->fsd, &m->fsd_control, e);
	if (r >= 0)
		r = create(m, &a, e);
	if (r < 0) {
		monitor_console(m);
		if (m->console.len && (r == -ECONNRESET || r == -ETIMEDOUT))
			err_wrap(e, r, "guest console: %.400s", strbuf_str(&m->console) + (m->console.len > 400 ? m->console.len - 400 : 0));
		return r;
	}
	m->init = relay_new(m->c->id, NULL, m->c->stdio, m->c->terminal);
	if (!m->init)
		return err_set(e, ENOMEM, "monitor");
	m->relays = m->init;
	return monitor_attach(m, m->init, e);
}

int monitor_attach(struct monitor *m, struct relay *r, struct err *e)
{
	struct agent_ref ref = { r->id, r->exec_id };
	r->stream = monitor_stream(m);
	int x = ttrpc_put_request(&m->agent.out, r->stream, TTRPC_REMOTE_OPEN, AGENT_SERVICE, "Attach", &agent_ref_desc, &ref);
	return x < 0 ? err_sys(e, x, "attach") : 0;
}

int monitor_share(struct monitor *m, const struct guest_share *v, size_t n, uint8_t *ret_numbers, struct err *e)
{
	static const struct guest_shares none;
	int r = m->fsd > 0 ? 0 : fsd_start(&none, m->machine.fuse_fd, &m->fsd, &m->fsd_control, e);
	return r < 0 ? r : fsd_add(m->fsd_control, v, n, ret_numbers, e);
}

/* What the guest's kernel and agent print; the tail explains a crash. */
void monitor_console(struct monitor *m)
{
	char buf[1024];
	ssize_t n;
	while (m->machine.console_fd >= 0 && (n = read(m->machine.console_fd, buf, sizeof buf)) > 0) {
		if (m->console.len > CONSOLE_KEEP) {
			memmove(m->console.s, m->console.s + m->console.len / 2, m->console.len - m->console.len / 2);
			m->console.len -= m->console.len / 2;
		}
		strbuf_add(&m->console, buf, (size_t)n);
	}
}

static void tell(int fd, int code, const char *text)
{
	char msg[4096];
	int n = snprintf(msg, sizeof msg, "%d\n%s", code, text);
	(void)!write(fd, msg, (size_t)MIN(n, (int)sizeof msg - 1));
	close(fd);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

/* End as the container's init did, so that whoever waits for us sees its status. */
static NORETURN void end_like(int status)
{
	if (WIFSIGNALED(status)) {
		struct rlimit none = { 0, 0 };
		sigset_t set;
		setrlimit(RLIMIT_CORE, &none);
		prctl(PR_SET_DUMPABLE, 0);
		signal(WTERMSIG(status), SIG_DFL);
		sigfillset(&set);
		sigdelset(&set, WTERMSIG(status));
		sigprocmask(SIG_SETMASK, &set, NULL);
		raise(WTERMSIG(status));
		_exit(128 + WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

static void note_reason(struct monitor *m, const char *what)
{
	monitor_console(m);
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t tail = m->console.len > 2000 ? m->console.len - 2000 : 0;
	strbuf_printf(&b, "%s\n%s\n", what, strbuf_str(&m->console) + tail);
	if (!b.failed)
		(void)!file_replace_at(m->c->state_fd, MONITOR_REASON, b.s, b.len, 0600, false);
	char line[512];
	int n = snprintf(line, sizeof line, "tierce: container %.256s: %s\n", m->c->id, what);
	if (m->init && m->init->fds[2] >= 0 && n > 0)
		(void)!relay_write(m->init->fds[2], line, MIN((size_t)n, sizeof line - 1));
}

static NORETURN void finish(struct monitor *m, int status)
{
	m->hv->stop(&m->machine);
	if (m->fsd > 0)
		kill(m->fsd, SIGKILL);
	hostnet_detach(&m->net);
	control_close(m);
	unlinkat(m->c->state_fd, MONITOR_SOCKET, 0);
	end_like(status);
}

/* The machine went away without a word from the agent. */
static NORETURN void machine_died(struct monitor *m)
{
	note_reason(m, "the virtual machine died");
	finish(m, SIGKILL);
}

/* ---- the loop ----------------------------------------------------------------------------------------------------- */

static void agent_data(struct monitor *m, const struct ttrpc_frame *f)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct agent_io io;
	if (pb_decode(&agent_io_desc, &a, f->data, f->n, &io, NULL) < 0)
		return;
	for (struct relay *r = m->relays; r; r = r->next)
		if (r->stream == f->stream) {
			relay_io(r, &io);
			if (r->oom_kills == r->oom_told)
				continue;
			r->oom_told = r->oom_kills;
			if (r == m->init)
				vm_oom_write(m->c->state_fd, r->oom_kills);
			else
				control_oom(m, r);
		}
}

static void agent_frames(struct monitor *m)
{
	struct ttrpc_frame f;
	int r = chan_fill(&m->agent);
	while (r > 0 && (r = chan_next(&m->agent, &f)) > 0) {
		if (f.type == TTRPC_DATA)
			agent_data(m, &f);
		else if (f.type == TTRPC_RESPONSE)
			control_response(m, &f);
	}
	if (r < 0)
		machine_died(m);
}

static void forward_signal(struct monitor *m, int sig)
{
	struct winsize ws;
	if (sig == SIGWINCH && m->init->terminal) {
		if (ioctl(m->init->fds[0], TIOCGWINSZ, &ws) == 0) {
			struct agent_resize q = { m->c->id, NULL, ws.ws_col, ws.ws_row };
			(void)!ttrpc_put_request(&m->agent.out, monitor_stream(m), 0, AGENT_SERVICE, "Resize", &agent_resize_desc, &q);
		}
		return;
	}
	if (sig == SIGCHLD || (sig == SIGWINCH && !m->init->terminal) || (m->init->terminal && (sig == SIGHUP || sig == SIGTTIN || sig == SIGTTOU)))
		return;
	struct agent_signal q = { .id = m->c->id, .signal = (uint64_t)sig };
	(void)!ttrpc_put_request(&m->agent.out, monitor_stream(m), 0, AGENT_SERVICE, "Signal", &agent_signal_desc, &q);
}

static void retire(struct monitor *m)
{
	for (struct relay **at = &m->relays; *at;) {
		struct relay *r = *at;
		if (!relay_done(r)) {
			at = &r->next;
			continue;
		}
		if (r == m->init)
			finish(m, r->status);
		*at = r->next;
		if (!r->exec_id) /* a further container of the pod */
			(void)!ttrpc_put_request(&m->agent.out, monitor_stream(m), 0, AGENT_SERVICE, "Remove", &agent_ref_desc, &(struct agent_ref){ r->id, NULL });
		control_ended(m, r);
		relay_free(r);
	}
}

static void serve(struct monitor *m)
{
	static struct pollfd row[POLL_MAX];
	nfds_t n = 0;
	row[n++] = (struct pollfd){ m->agent.fd, (short)(POLLIN | (chan_pending(&m->agent) ? POLLOUT : 0)), 0 };
	row[n++] = (struct pollfd){ m->sigfd, POLLIN, 0 };
	row[n++] = (struct pollfd){ m->machine.console_fd, POLLIN, 0 };
	row[n++] = (struct pollfd){ m->machine.pidfd, POLLIN, 0 };
	nfds_t first_relay = n;
	bool ending = false;
	for (struct relay *r = m->relays; r && n + RELAY_ROWS < POLL_MAX; r = r->next) {
		n += relay_poll(r, &m->agent, row + n);
		ending |= r->exited;
	}
	nfds_t first_client = n;
	n += control_poll(m, row + n, POLL_MAX - (unsigned)n);
	if (poll(row, n, ending ? 100 : -1) < 0 && errno != EINTR)
		machine_died(m);
	if (row[1].revents & POLLIN) {
		struct signalfd_siginfo si;
		while (read(m->sigfd, &si, sizeof si) == sizeof si)
			forward_signal(m, (int)si.ssi_signo);
	}
	if (row[2].revents & POLLIN)
		monitor_console(m);
	else if (row[2].revents)
		row[2].fd = -1;
	for (struct relay *r = m->relays; r; r = r->next)
		relay_pump(r, &m->agent, row + first_relay, (unsigned)(first_client - first_relay));
	vm_control_serve(m, row + first_client, (unsigned)(n - first_client));
	if (row[0].revents)
		agent_frames(m);
	retire(m);
	if (row[3].revents || chan_flush(&m->agent) < 0)
		machine_died(m);
}

void monitor_run(const struct monitor_config *c)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct monitor m = { .c = c, .machine = MACHINE_INIT, .agent = CHAN_INIT, .sigfd = -EBADF, .next_stream = FIRST_STREAM, .hv = c->hypervisor,
		.net = HOST_NETWORK_INIT, .fsd_control = -EBADF };
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	m.sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	int r = bring_up(&m, &e);
	if (r < 0) {
		tell(c->ready_fd, r, err_msg(&e));
		m.hv->stop(&m.machine);
		hostnet_detach(&m.net);
		unlinkat(c->state_fd, MONITOR_SOCKET, 0);
		_exit(1);
	}
	control_open(&m);
	tell(c->ready_fd, 0, "");
	for (;;)
		serve(&m);
}

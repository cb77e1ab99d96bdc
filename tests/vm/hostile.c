/* The monitor against an agent that fell to its guest: frames of every wrong kind. A hypervisor row of the test's own starts a process in the agent's place.
 * Usage: vm_hostile BUNDLE DIR      (BUNDLE has config.json and rootfs; prints TAP) */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/call.h"
#include "tier/vm/control.h"
#include "tier/vm/monitor.h"

enum { MEMORY_MAX = 96 << 20, PATIENCE_MS = 20000 };

/* ---- the false agent ---------------------------------------------------------------------------------------------------- */

typedef void script(struct chan *c, uint32_t attach);
static script *playing;
static bool honest_start; /* answer Wake and Create before the script plays */
static unsigned seed;

static void flush(struct chan *c)
{
	while (chan_pending(c)) {
		struct pollfd p = { c->fd, POLLOUT, 0 };
		if (poll(&p, 1, 2000) != 1 || chan_flush(c) < 0)
			return;
	}
}

static void raw(struct chan *c, const void *data, size_t n)
{
	strbuf_add(&c->out, data, n);
	flush(c);
}

/* The next request of the monitor: its stream. */
static uint32_t request(struct chan *c, const char *method)
{
	for (;;) {
		struct ttrpc_frame f;
		while (chan_next(c, &f) > 0) {
			_cleanup_arena_ struct arena a = ARENA_INIT;
			struct ttrpc_request q;
			if (f.type == TTRPC_REQUEST && pb_decode(&ttrpc_request_desc, &a, f.data, f.n, &q, NULL) >= 0 && q.method && streq(q.method, method))
				return f.stream;
		}
		struct pollfd p = { c->fd, POLLIN, 0 };
		if (poll(&p, 1, PATIENCE_MS) != 1 || chan_fill(c) < 0)
			_exit(9);
	}
}

static NORETURN void agent(int fd)
{
	struct chan c = CHAN_INIT;
	uint32_t attach = 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	c.fd = fd;
	if (honest_start) {
		struct agent_woken woken = { 1 };
		struct agent_pid pid = { 2 };
		(void)!ttrpc_put_response(&c.out, request(&c, "Wake"), &agent_woken_desc, &woken);
		flush(&c);
		(void)!ttrpc_put_response(&c.out, request(&c, "Create"), &agent_pid_desc, &pid);
		flush(&c);
		attach = request(&c, "Attach");
	}
	playing(&c, attach);
	flush(&c);
	pause();
	_exit(0);
}

static void finish(struct chan *c, uint32_t attach, uint64_t status)
{
	chan_io(c, attach, IO_EXIT, NULL, 0, status);
	flush(c);
}

static void honest(struct chan *c, uint32_t s) { chan_io(c, s, IO_STDOUT, "hello\n", 6, 0); finish(c, s, 7 << 8); }
static void endless(struct chan *c, uint32_t s) { (void)s; raw(c, "\xff\xff\xff\xff\0\0\0\1\2\0", 10); }
static void nonsense(struct chan *c, uint32_t s) { (void)s; raw(c, "\0\0\0\5\0\0\0\3\2\0\xff\xff\xff\xff\xff", 15); }
static void silence(struct chan *c, uint32_t s) { (void)s; close(c->fd); _exit(0); }
static void half(struct chan *c, uint32_t s) { (void)s; raw(c, "\0\0\1\0\0\0\0", 7); close(c->fd); _exit(0); }
static void unknown_streams(struct chan *c, uint32_t s)
{
	for (uint32_t i = 0; i < 20000; i++) {
		chan_io(c, s + 2 + i, IO_STDOUT, "x", 1, i);
		(void)!ttrpc_put(&c->out, s + 4 + i, TTRPC_RESPONSE, 0, "\x12\x03zzz", 5);
		if (i % 256 == 0)
			flush(c);
	}
	finish(c, s, 3 << 8);
}
static void flood(struct chan *c, uint32_t s) /* 128 MiB that nobody acknowledged: more than the monitor may hold */
{
	static char b[AGENT_CHUNK];
	for (unsigned i = 0; i < 4096; i++) {
		chan_io(c, s, i & 1 ? IO_STDOUT : IO_STDERR, b, sizeof b, 0);
		flush(c);
	}
	finish(c, s, 4 << 8);
}
static void acks(struct chan *c, uint32_t s)
{
	chan_io(c, s, IO_ACK_IN, NULL, 0, UINT64_MAX);
	chan_io(c, s, 99, "?", 1, 5);
	chan_io(c, s, 0, NULL, 0, 0);
	chan_io(c, s, IO_OOM, NULL, 0, UINT64_MAX);
	finish(c, s, 5 << 8);
}
static void status(struct chan *c, uint32_t s) { finish(c, s, UINT64_MAX); }
static void requests(struct chan *c, uint32_t s) /* an agent asks nothing of the host */
{
	(void)!ttrpc_put_request(&c->out, 2, 0, "tierce.vm.v1", "Exec", NULL, NULL);
	(void)!ttrpc_put_request(&c->out, 4, 0, AGENT_SERVICE, "Create", NULL, NULL);
	finish(c, s, 6 << 8);
}
static void noise(struct chan *c, uint32_t s)
{
	static uint8_t b[65536];
	srandom(seed);
	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (uint8_t)(random() >> 7);
	for (size_t i = 0; i + 16 < sizeof b; i += 64 + (size_t)(random() % 2000)) { /* believable heads, so that the bodies are looked at */
		uint32_t n = (uint32_t)(random() % 200);
		memcpy(b + i, (uint8_t[10]){ 0, 0, 0, (uint8_t)n, 0, 0, 0, (uint8_t)(random() & 1 ? s : (uint32_t)random()), (uint8_t)(1 + random() % 4), (uint8_t)(random() & 7) }, 10);
	}
	raw(c, b, sizeof b);
	close(c->fd);
	_exit(0);
}

/* ---- a hypervisor that runs it --------------------------------------------------------------------------------------------- */

static int fake_probe(struct err *e) { (void)e; return 0; }
static int fake_start(const struct machine_config *c, struct machine *ret, struct err *e)
{
	int ctl[2], other[2];
	(void)c;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctl) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other) < 0)
		return err_sys(e, errno, "socketpair");
	pid_t pid = fork();
	if (pid == 0) {
		fcntl(ctl[1], F_SETFL, O_NONBLOCK);
		close(ctl[0]);
		agent(ctl[1]);
	}
	close(ctl[1]);
	*ret = (struct machine){ pid, (int)syscall(SYS_pidfd_open, pid, 0), ctl[0], other[0], open("/dev/null", O_RDONLY | O_CLOEXEC), -EBADF, false };
	fcntl(ctl[0], F_SETFL, O_NONBLOCK);
	return 0;
}
static void fake_stop(struct machine *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	*m = (struct machine)MACHINE_INIT;
}
static int fake_prepare(const struct machine_config *c, bool wait, struct err *e) { (void)c, (void)wait, (void)e; return 0; }
static bool fake_prepared(const struct machine_config *c) { (void)c; return true; }
static void fake_discard(const struct machine_config *c) { (void)c; }
static const struct hypervisor fake = { "fake", fake_probe, fake_start, fake_stop, fake_prepare, fake_prepared, fake_discard };

/* ---- one run ------------------------------------------------------------------------------------------------------------------ */

static NORETURN void monitor(const char *bundle, const char *dir, int ready)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct oci_spec *spec;
	struct vm_options o;
	struct assets none = { 0 };
	char rootfs[4096];
	int b = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC), state = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), in = open("/dev/null", O_RDONLY | O_CLOEXEC), out[2];
	snprintf(rootfs, sizeof rootfs, "%s/rootfs", bundle);
	if (b < 0 || state < 0 || pipe2(out, O_CLOEXEC) < 0 || oci_spec_load(&a, b, "config.json", &spec, &e) < 0 || vm_options(spec, &o, &e) < 0) {
		dprintf(2, "%s\n", err_msg(&e));
		_exit(99);
	}
	setrlimit(RLIMIT_AS, &(struct rlimit){ MEMORY_MAX, MEMORY_MAX });
	struct monitor_config c = { .id = "victim", .bundle = bundle, .rootfs = rootfs, .spec = spec, .options = &o, .assets = &none, .hypervisor = &fake, .state_fd = state,
		.listen_fd = control_listen(state, &e), .stdio = { in, out[1], out[1] }, .ready_fd = ready };
	monitor_run(&c);
}

/* Wait status of the monitor, -1: it had to be killed. *ret_said: what it told the runtime. */
static int play(script *s, bool start, const char *bundle, const char *dir, char said[256])
{
	int ready[2], status = -1;
	playing = s;
	honest_start = start;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0)
		monitor(bundle, dir, ready[1]);
	close(ready[1]);
	ssize_t n = read(ready[0], said, 255);
	said[n > 0 ? n : 0] = 0;
	close(ready[0]);
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { fd, POLLIN, 0 };
	bool ended = poll(&p, 1, PATIENCE_MS * 3) == 1;
	if (!ended)
		kill(pid, SIGKILL);
	close(fd);
	waitpid(pid, &status, 0);
	return ended ? status : -1;
}

int main(int argc, char **argv)
{
	enum { ANY = -1, ERROR = -2, DIED = -3 };
	static const struct { const char *what; script *s; bool start; int want; } rows[] = {
		{ "an honest agent: the test can pass", honest, true, 7 << 8 },
		{ "a frame of 4 GiB instead of an answer", endless, false, ERROR }, { "an answer that is no message", nonsense, false, ERROR },
		{ "no answer at all", silence, false, ERROR }, { "half an answer", half, false, ERROR }, { "a frame of 4 GiB from a running container", endless, true, DIED },
		{ "half a frame", half, true, DIED }, { "frames of streams that were never opened", unknown_streams, true, 3 << 8 },
		{ "128 MiB of output that nobody reads", flood, true, 4 << 8 }, { "acknowledgements and kinds that make no sense", acks, true, 5 << 8 },
		{ "an exit status of all ones", status, true, ANY }, { "requests to the host", requests, true, 6 << 8 },
	};
	char said[256];
	unsigned n = 0;
	if (argc != 3)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int st = play(rows[i].s, rows[i].start, argv[1], argv[2], said);
		bool crashed = st < 0 || (WIFSIGNALED(st) && WTERMSIG(st) != SIGKILL && rows[i].want != ANY);
		bool reached = said[0] == (rows[i].start ? '0' : '-') && !strstr(said, "root.lock");
		bool right = !reached ? false : rows[i].want >= 0 ? st == rows[i].want : rows[i].want == ERROR ? said[0] == '-' && WIFEXITED(st) : rows[i].want == DIED ? WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL : true;
		printf("%s %u - hostile agent: %s\n", !crashed && right ? "ok" : "not ok", ++n, rows[i].what);
		if (crashed || !right)
			printf("# status %x, said: %s\n", st, said);
	}
	unsigned bad = 0;
	for (seed = 1; seed <= 60; seed++) {
		int st = play(noise, true, argv[1], argv[2], said);
		if (st < 0 || (WIFSIGNALED(st) && (WTERMSIG(st) == SIGSEGV || WTERMSIG(st) == SIGABRT || WTERMSIG(st) == SIGBUS || WTERMSIG(st) == SIGFPE))) {
			printf("# seed %u: status %x\n", seed, st);
			bad++;
		}
	}
	printf("%s %u - hostile agent: 60 times noise with believable heads\n", bad ? "not ok" : "ok", ++n);
	return 0;
}

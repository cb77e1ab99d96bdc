/* tierce-agent: PID 1 of the guest. Boots, then serves until it is told to power off. Messages go to the console, which the host keeps. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/agent/agent.h"

enum { POLL_MAX = 4096, /* rows of one poll: three per process, one per container */ PORT_TRIES = 500, PORT_NAP_MS = 10 };

/* init must not end: the kernel would panic, which the host could not tell from a crash. */
static NORETURN void give_up(const char *what)
{
	fprintf(stderr, "tierce-agent: %s\n", what);
	sync();
	reboot(RB_AUTOBOOT); /* QEMU runs with -no-reboot; the emulated microvm has no power-off without ACPI */
	_exit(1);
}

static void reap(struct agent *a)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		guest_reaped(a, pid, status);
}

static void serve(struct agent *a)
{
	static struct pollfd row[POLL_MAX];
	nfds_t n = 0;
	row[n++] = (struct pollfd){ a->ctl.fd, (short)(POLLIN | (chan_pending(&a->ctl) ? POLLOUT : 0)), 0 };
	row[n++] = (struct pollfd){ a->sigfd, POLLIN, 0 };
	for (struct guest *g = a->guests; g; g = g->next) {
		if (n < POLL_MAX)
			row[n++] = (struct pollfd){ g->oom.fd, POLLIN, 0 };
		for (struct proc *p = g->procs; p && n + 3 <= POLL_MAX; p = p->next)
			n += proc_poll(a, p, row + n);
	}
	if (poll(row, n, -1) < 0 && errno != EINTR)
		give_up("poll failed");
	if (row[1].revents & POLLIN) {
		struct signalfd_siginfo si;
		(void)!read(a->sigfd, &si, sizeof si);
		reap(a);
	}
	if (row[0].revents & POLLIN) {
		struct ttrpc_frame f;
		int r = chan_fill(&a->ctl);
		while (r > 0 && (r = chan_next(&a->ctl, &f)) > 0)
			service_frame(a, &f);
		if (r < 0 && r != -ECONNRESET)
			give_up("the control channel carries garbage");
	} else if (row[0].revents & (POLLHUP | POLLERR)) {
		/* No host at the other end: between the saving of a template and a clone. The port has no event for its return. */
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	for (struct guest *g = a->guests; g; g = g->next) {
		for (nfds_t i = 2; i < n; i++)
			if (row[i].fd == g->oom.fd && row[i].revents)
				guest_oom(a, g);
		for (struct proc *p = g->procs; p; p = p->next)
			proc_pump(a, p);
	}
	if (chan_flush(&a->ctl) < 0)
		give_up("the control channel broke");
}

int main(void)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct agent a = { .ctl = CHAN_INIT, .sigfd = -EBADF };
	sigset_t set;
	if (getpid() != 1) {
		fprintf(stderr, "tierce-agent is init of a microVM and does nothing elsewhere\n");
		return 1;
	}
	if (boot_modules(&e) < 0 || boot_mounts(&e) < 0 || net_apply(&(struct agent_network){ 0 }, &e) < 0)
		give_up(err_msg(&e));
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	a.sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	for (unsigned i = 0; i < PORT_TRIES && a.ctl.fd < 0; i++) { /* the port comes with a control message after the driver's probe */
		a.ctl.fd = boot_port(AGENT_PORT, O_RDWR | O_NONBLOCK);
		if (a.ctl.fd < 0)
			nanosleep(&(struct timespec){ 0, PORT_NAP_MS * 1000000L }, NULL);
	}
	if (a.ctl.fd < 0 || a.sigfd < 0)
		give_up("no control port");
	while (!a.shutdown)
		serve(&a);
	for (unsigned i = 0; i < 100 && chan_pending(&a.ctl); i++)
		if (chan_flush(&a.ctl) < 0)
			break;
	give_up("shut down");
}

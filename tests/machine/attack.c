/* Runs the attacking guest (attacker.c) in tierce-vmm with one of every device, talks back on the host's side of them, takes snapshots in between, and judges:
 * the monitor ends by the guest's reset, the honest driver was served at last, and the log is bounded. Prints TAP.
 * Usage: attack TIERCE-VMM ATTACKER SEED ROUNDS */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/kernel.h"
#include "tier/vm/builtin/client.h"
#include "tier/vm/jail.h"

enum { CONSOLE = 3, CONTROL, PORT_A, PORT_B, FS, FIRST_FILE, KERNEL = FIRST_FILE, DISK, PMEM, VSOCK, TAP, ENDS, TIMEOUT_S = 400, MEMORY = 64, SNAPSHOT_EVERY = 40, LINES_MAX = 16 * 8 };

static int tests;
static int bad;
static void ok(int good, const char *what)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++tests, what);
	bad |= !good;
}

static int tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -1;
	ifr.ifr_flags = IFF_UP;
	if (ioctl(ctl, SIOCSIFFLAGS, &ifr) < 0)
		return -1;
	close(ctl);
	return fd;
}

static pid_t start(const char *vmm, const int theirs[ENDS], const char *seed, const char *rounds)
{
	struct clone_args ca = { .flags = JAIL_CLONE_FLAGS, .exit_signal = SIGCHLD }; /* the jail empties the root of the namespace that it is in */
	pid_t pid = sys_clone3(&ca);
	if (pid)
		return pid;
	char memory[32], cmdline[64], *argv[] = { (char *)(uintptr_t)vmm, memory, (char[]){ "--console=3" }, (char[]){ "--control=4" }, (char[]){ "--port=a:5" }, (char[]){ "--port=b:6" },
		(char[]){ "--fs=t:7" }, (char[]){ "--kernel=8" }, (char[]){ "--disk=9:rw" }, (char[]){ "--disk-ops=5000" }, (char[]){ "--rng" }, (char[]){ "--balloon" }, cmdline,
		(char[]){ "--uid=1234567" }, (char[]){ "--pmem=10:rw" }, (char[]){ "--vsock=3:11" },
		theirs[TAP] >= 0 ? (char[]){ "--tap=12" } : NULL, NULL };
	snprintf(memory, sizeof memory, "--memory=%d", MEMORY);
	snprintf(cmdline, sizeof cmdline, "--cmdline=%s %s", seed, rounds);
	for (int i = CONSOLE; i < ENDS; i++)
		if (theirs[i] >= 0)
			dup2(fcntl(theirs[i], F_DUPFD, 100), i + 50);
	for (int i = CONSOLE; i < ENDS; i++)
		if (theirs[i] >= 0)
			dup2(i + 50, i);
	close_range(ENDS, ~0U, CLOSE_RANGE_CLOEXEC);
	dup2(CONSOLE, 2);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(vmm, argv);
	_exit(127);
}

/* A pause, a snapshot into a file in memory, and on. 0, or what went wrong. */
static int snapshot(int control, char text[256])
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
	_cleanup_close_ int mem = memfd_create("mem", MFD_CLOEXEC);
	if (mem < 0 || ftruncate(mem, (off_t)MEMORY << 20) < 0)
		return -errno;
	int r = vmm_call(control, VMM_PAUSE, 0, -EBADF, NULL, 60000, &e);
	if (r >= 0)
		r = vmm_call(control, VMM_SNAPSHOT, 0, mem, &state, 60000, &e);
	if (r >= 0)
		r = vmm_call(control, VMM_RESUME, 0, -EBADF, NULL, 60000, &e);
	if (r < 0)
		snprintf(text, 256, "%s", err_msg(&e));
	return r;
}

/* The host's side of a port and of the file system, in a process of its own: also while the monitor saves. */
static void talk_back(int fd, unsigned turn)
{
	static uint8_t junk[65536];
	ssize_t n = recv(fd, junk, sizeof junk, MSG_DONTWAIT);
	uint32_t len = 16 + turn % 100;
	if (n <= 0)
		return;
	if (turn % 3) /* a reply to something, perhaps; else what the guest said itself */
		memcpy(junk, &len, 4);
	(void)!send(fd, junk, turn % 3 ? len : (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A program of the host that connects to the guest, and leaves when the next one comes. */
static void knock(const struct sockaddr *at, socklen_t len)
{
	static int fds[8];
	static unsigned turn;
	int *fd = &fds[turn++ % 8];
	if (*fd > 0)
		close(*fd);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(*fd, at, len) == 0)
		(void)!send(*fd, "CONNECT 5\nhello", 15, MSG_NOSIGNAL);
}

static NORETURN void other_side(int a, int b)
{
	struct pollfd p[] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned turn = 0; poll(p, 2, -1) >= 0; turn++) {
		for (unsigned i = 0; i < 2; i++) {
			talk_back(p[i].fd, turn);
			if (p[i].revents & POLLHUP)
				p[i].fd = -1;
		}
		if (p[0].fd < 0 && p[1].fd < 0)
			break;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int mine[ENDS], theirs[ENDS];
	for (int i = 0; i < ENDS; i++)
		mine[i] = theirs[i] = -1;
	for (int i = CONSOLE; i < FIRST_FILE; i++) {
		int pair[2];
		if (socketpair(AF_UNIX, (i == CONTROL ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, pair) < 0)
			return 2;
		mine[i] = pair[0];
		theirs[i] = pair[1];
	}
	theirs[KERNEL] = open(argv[2], O_RDONLY | O_CLOEXEC);
	theirs[DISK] = memfd_create("disk", MFD_CLOEXEC);
	theirs[PMEM] = memfd_create("pmem", MFD_CLOEXEC);
	theirs[VSOCK] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	theirs[TAP] = tap();
	struct sockaddr_un at = { .sun_family = AF_UNIX }; /* a name by the kernel (unix(7), autobind) */
	socklen_t at_len = sizeof at;
	if (bind(theirs[VSOCK], (struct sockaddr *)&at, sizeof(sa_family_t)) < 0 || listen(theirs[VSOCK], 16) < 0 || getsockname(theirs[VSOCK], (struct sockaddr *)&at, &at_len) < 0 ||
	    ftruncate(theirs[PMEM], 2 << 20) < 0)
		return 2;
	if (theirs[KERNEL] < 0 || ftruncate(theirs[DISK], 1 << 20) < 0)
		return 2;
	pid_t pid = start(argv[1], theirs, argv[3], argv[4]);
	for (int i = CONSOLE; i < FIRST_FILE; i++)
		close(theirs[i]);
	pid_t other = fork();
	if (other == 0)
		other_side(mine[PORT_A], mine[FS]);
	struct strbuf out = STRBUF_INIT;
	time_t began = time(NULL);
	unsigned snapshots = 0, failed = 0, turns = 0;
	char why[256] = "";
	int status = 0;
	bool ended = false;
	while (!ended && time(NULL) - began < TIMEOUT_S) {
		struct pollfd p = { mine[CONSOLE], POLLIN, 0 }; /* nobody reads port B */
		char b[4096];
		poll(&p, 1, 100);
		ssize_t n = recv(mine[CONSOLE], b, sizeof b, MSG_DONTWAIT);
		if (n > 0 && out.len < 1 << 20)
			strbuf_add(&out, b, (size_t)n);
		if (turns % 8 == 0)
			knock((struct sockaddr *)&at, at_len);
		ended = waitpid(pid, &status, WNOHANG) == pid;
		if (!ended && ++turns % SNAPSHOT_EVERY == 0 && !failed) {
			int r = snapshot(mine[CONTROL], why);
			snapshots += r >= 0;
			failed += r < 0 && r != -ECONNRESET; /* the guest may reset the machine just then */
		}
	}
	if (!ended) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	const char *said = strbuf_str(&out);
	unsigned lines = 0;
	for (const char *s = said; (s = strstr(s, "broke the rules")); s++)
		lines++;
	ok(ended && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a hostile guest: the monitor goes on until the guest resets the machine");
	ok(strstr(said, "survived") != NULL, "a hostile guest: an honest driver is served afterwards");
	ok(strstr(said, "all started") && !strstr(said, "not all"), "a hostile guest: every device was attacked");
	ok(lines > 0 && lines <= LINES_MAX, "a hostile guest: what it did is in the log, which is bounded");
	ok(!strstr(said, "not allowed"), "a hostile guest: no host call outside of the filters");
	ok(lseek(theirs[DISK], 0, SEEK_END) == 1 << 20, "a hostile guest: its disk has its size");
	ok(!failed, "a hostile guest: snapshots in between");
	printf("# seed %s, %s rounds, %u snapshots in between, %u lines of the monitor\n", argv[3], argv[4], snapshots, lines);
	if (bad)
		printf("# status %#x, snapshot: %s\n# %.1500s\n", (unsigned)status, why, said);
	return bad;
}

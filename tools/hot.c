/* Which code of a program is executed: single-steps it and its children until they execute another program; prints offsets of touched 16-byte
 * lines within the image, one hexadecimal number a line. Usage: hot OUTPUT PROGRAM [ARG...]   (see tools/hot-order) */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE = 16, IMAGE_MAX = 64 << 20, OPTIONS = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC };
static uint8_t seen[IMAGE_MAX / LINE];
static uint64_t base, end;

/* The image of a static program is the first mapping; its last one with the same file bounds it. */
static int find_image(pid_t pid, const char *program) {
	char path[64], line[4352], real[4096];
	if (!realpath(program, real))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;
		if (sscanf(line, "%lx-%lx", &from, &to) != 2 || !strstr(line, real))
			continue;
		if (!base)
			base = from;
		end = to;
	}
	fclose(f);
	return base ? 0 : -1;
}

static void step(pid_t pid, int sig) {
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(intptr_t)sig) < 0 && errno != ESRCH)
		perror("hot: step");
}

int main(int argc, char **argv) {
	int status, first = 1, rc = 1;
	if (argc < 3)
		return fprintf(stderr, "usage: hot OUTPUT PROGRAM [ARG...]\n"), 2;
	pid_t main_pid = fork();
	if (main_pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	for (;;) {
		pid_t pid = waitpid(-1, &status, __WALL);
		if (pid < 0)
			break;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid != main_pid)
				continue;
			rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
			break; /* a container that waits for start goes on untraced */
		}
		int sig = WSTOPSIG(status), event = status >> 16;
		if (first) {
			first = 0;
			if (find_image(pid, argv[2]) < 0)
				return fprintf(stderr, "hot: no image\n"), 1;
			ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(intptr_t)OPTIONS);
		}
		if (event == PTRACE_EVENT_EXEC) {
			ptrace(PTRACE_DETACH, pid, NULL, NULL);
			continue;
		}
		struct user_regs_struct regs;
		if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0 && regs.rip >= base && regs.rip < end && regs.rip - base < IMAGE_MAX)
			seen[(regs.rip - base) / LINE] = 1;
		step(pid, sig == SIGTRAP || sig == SIGSTOP || event ? 0 : sig);
	}
	FILE *out = fopen(argv[1], "we");
	if (!out)
		return perror(argv[1]), 1;
	for (size_t i = 0; i < sizeof(seen); i++)
		if (seen[i])
			fprintf(out, "%zx\n", i * LINE);
	fclose(out);
	return rc;
}

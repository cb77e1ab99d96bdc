/* Stays until it is told to end. */
#include <signal.h>
#include <unistd.h>

static void end(int sig) {
	(void)sig;
	_exit(0);
}

int main(void) {
	signal(SIGTERM, end);
	signal(SIGINT, end);
	for (;;)
		pause();
}

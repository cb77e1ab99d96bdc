/* Threads: hundreds, mutexes, condition variables, thread-local storage, exec from a thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int total, turn;
static __thread int mine;
static pthread_barrier_t barrier;

static void *work(void *arg)
{
	mine = (int)(long)arg;
	for (int i = 0; i < 50; i++) {
		pthread_mutex_lock(&lock);
		total++;
		pthread_mutex_unlock(&lock);
	}
	return (void *)(long)mine;
}
static void *ping(void *arg)
{
	int me = (int)(long)arg;
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&cond, &lock);
		turn = !me;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}
static void *at_barrier(void *arg) { (void)arg; pthread_barrier_wait(&barrier); return NULL; }
static void *execs(void *arg) { (void)arg; execl("/proc/self/exe", "threads", "child", NULL); return NULL; }

int main(int argc, char **argv)
{
	pthread_t t[200];
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1) {
		printf("exec from a thread: %s, main thread %d\n", argv[1], getpid() == syscall(SYS_gettid));
		return 9;
	}
	int right = 0;
	for (long round = 0; round < 3; round++) {
		for (long i = 0; i < 200; i++)
			if (pthread_create(&t[i], NULL, work, (void *)i))
				printf("create fails at %ld\n", i);
		for (long i = 0; i < 200; i++) {
			void *r;
			pthread_join(t[i], &r);
			right += (long)r == i;
		}
	}
	printf("total %d right %d\n", total, right);
	pthread_create(&t[0], NULL, ping, (void *)0L);
	pthread_create(&t[1], NULL, ping, (void *)1L);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	printf("ping-pong done\n");
	pthread_barrier_init(&barrier, NULL, 21);
	for (int i = 0; i < 20; i++)
		pthread_create(&t[i], NULL, at_barrier, NULL);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 20; i++)
		pthread_join(t[i], NULL);
	printf("barrier passed\n");
	pid_t p = fork();
	if (!p) {
		pthread_create(&t[1], NULL, at_barrier, NULL);
		pthread_create(&t[0], NULL, execs, NULL);
		pthread_join(t[0], NULL);
		_exit(1);
	}
	int st;
	waitpid(p, &st, 0);
	printf("status %x\n", st);
	return 0;
}

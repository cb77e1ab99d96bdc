#include <stdio.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/wait.h>
#include <spawn.h>
extern char **environ;
static void *f(void *p){ return p; }
int main(void){ pthread_t t[100]; for(int i=0;i<100;i++) pthread_create(&t[i],0,f,0); for(int i=0;i<100;i++) pthread_join(t[i],0);
 pid_t p; char *av[]={"echo","spawned",0}; posix_spawnp(&p,"echo",0,0,av,environ); int st; waitpid(p,&st,0); printf("musl %d\n", st); return 0; }

/* A guest that does its worst. Each attack runs in a child, so that the guest can tell afterwards whether its kernel still stands. */
#ifndef SENTRY_ATTACK_H
#define SENTRY_ATTACK_H

#include <stdbool.h>
#include <stdint.h>

/* Runs fn(arg) in a child, kills it after `ms`, reaps it; false when it cannot be reaped. */
bool trial(void (*fn)(unsigned), unsigned arg, unsigned ms);
/* A process, a thread, a pipe and a file still work. */
bool kernel_stands(void);
uint64_t rnd(void);
void rnd_seed(uint64_t s);
void quiet(void); /* no output of this process any more */

int attack_gate(unsigned seed);      /* the gate's instructions with hostile registers, its memory taken away */
int attack_scribble(unsigned seed);  /* random writes over mailboxes and frames while calls are under way */
int attack_race(unsigned seed);      /* what the sentry reads changes under its hands */
int attack_bounds(unsigned seed);    /* every call with arguments at every boundary */
int attack_storm(unsigned seed);     /* forks and execs */
int attack_exhaust(unsigned seed);   /* every table */
int attack_elf(unsigned seed);       /* broken programs */

#endif

/* Deliberately broken builds: tests/escape shows that each attack succeeds when the defence that it aims at is left out, so that "it held" means
 * something. Only a build with -Dbroken=true has the switches, and only the environment of the test turns one; elsewhere broken() is the constant false. */
#ifndef TIERCE_BASE_BROKEN_H
#define TIERCE_BASE_BROKEN_H

#include <stdbool.h>

#ifdef TIERCE_BROKEN
/* TIERCE_BREAK holds what, among names joined by commas. */
bool broken(const char *what);
#else
#define broken(what) false
#endif

#endif

/* Cases that user-mode emulation (qemu-user) cannot run say so one by one: the suite 05-compilers sets TIERCE_EMULATED and shows the reasons. */
#ifndef TIERCE_TEST_EMULATED_H
#define TIERCE_TEST_EMULATED_H

#include <stdlib.h>

#define NOT_EMULATED(reason) do { if (getenv("TIERCE_EMULATED")) { print_message("[  REASON  ] %s: %s\n", __func__, reason); skip(); } } while (0)

#endif

/* A 16550 that only sends: the kernel's console, for its messages and panics. */
#ifndef TIERCE_TIER_VM_BUILTIN_SERIAL_H
#define TIERCE_TIER_VM_BUILTIN_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* What a snapshot holds of it. */
struct serial_state { uint8_t ier, lcr, mcr, scr, fcr, dll, dlm, thr_empty; };

struct serial {
	pthread_mutex_t lock; /* any processor may print */
	int fd;               /* non-blocking; bytes that do not fit are lost */
	int irq_fd;           /* eventfd of the line */
	struct serial_state s;
};

void serial_init(struct serial *s, int fd, int irq_fd);
uint8_t serial_read(struct serial *s, unsigned reg);
void serial_write(struct serial *s, unsigned reg, uint8_t v);
/* After its state was set: raise again what was pending. */
void serial_revive(struct serial *s);

#endif

/* TSC rate against CLOCK_MONOTONIC_RAW. */
#include "tier/vm/boot/tsc.h"

#include <stdint.h>
#include <time.h>
#if defined __x86_64__
#include <x86intrin.h>
#endif

enum { SPAN_NS = 20 * 1000 * 1000 };

#if defined __x86_64__
static uint64_t raw_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A pair (counter, clock) read so close together that no interrupt came between. */
static void sample(uint64_t *tsc, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 8; i++) {
		uint64_t a = __rdtsc(), t = raw_ns(), b = __rdtsc();
		if (b - a < best) {
			best = b - a;
			*tsc = a + (b - a) / 2;
			*ns = t;
		}
	}
}

unsigned long tsc_khz(void)
{
	static unsigned long known;
	uint64_t t0 = 0, n0 = 0, t1 = 0, n1 = 0;
	if (known)
		return known;
	sample(&t0, &n0);
	nanosleep(&(struct timespec){ 0, SPAN_NS }, NULL);
	sample(&t1, &n1);
	uint64_t khz = n1 > n0 ? (t1 - t0) * 1000000 / (n1 - n0) : 0;
	known = (unsigned long)((khz + 500) / 1000 * 1000);
	return known;
}
#else
unsigned long tsc_khz(void)
{
	return 0;
}
#endif

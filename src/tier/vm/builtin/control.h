/* The control socket: what the monitor process may ask of tierce-vmm. A seqpacket socket; one request, one answer, each of a fixed head and at most
 * CONTROL_BYTES_MAX bytes behind it. A request that breaks the rules ends the machine: only the parent has the other end. */
#ifndef TIERCE_TIER_VM_BUILTIN_CONTROL_H
#define TIERCE_TIER_VM_BUILTIN_CONTROL_H

#include <stdint.h>

enum vmm_op {
	VMM_PING = 1,   /* answered when the machine runs */
	VMM_PAUSE,
	VMM_RESUME,
	VMM_SNAPSHOT,   /* of a paused machine; brings the memory file's descriptor (empty, of the memory's size); the state follows in parts */
	VMM_BALLOON,    /* value: bytes that the guest shall give up; the answer's value: bytes that it has given up so far */
	VMM_STOP,
};
struct vmm_request { uint32_t op, zero; uint64_t value; };
/* status: 0 or a negative errno, then the bytes are a text. For VMM_SNAPSHOT value is the state's size and its bytes come as messages of at most VMM_PART. */
struct vmm_answer { int32_t status; uint32_t len; uint64_t value; };
enum { VMM_PART = 32 << 10 };

#endif

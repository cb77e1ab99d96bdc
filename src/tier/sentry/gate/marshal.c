/* Which memory operands the gate copies for a fast call. Strings and buffers follow from the signatures in abi/syscalls.def; structures are listed here.
 * What is not listed goes through process_vm_readv() and process_vm_writev(), to the same effect. */
#include <sys/syscall.h>

#include "base/macro.h"
#include "tier/sentry/abi/abi.h"
#include "tier/sentry/gate/host.h"

static struct gate_marshal table[GATE_CALLS];

static const struct { int nr; struct gate_marshal m; } structs[] = {
#define ROW(name, ...) { SYS_##name, { { __VA_ARGS__ } } }
	ROW(stat, GM(GM_STR, 0, 0), GM(GM_OUT_FIX, 1, 144)),
	ROW(lstat, GM(GM_STR, 0, 0), GM(GM_OUT_FIX, 1, 144)),
	ROW(fstat, GM(GM_OUT_FIX, 1, 144)),
	ROW(newfstatat, GM(GM_STR, 1, 0), GM(GM_OUT_FIX, 2, 144)),
	ROW(statx, GM(GM_STR, 1, 0), GM(GM_OUT_FIX, 4, 256)),
	ROW(poll, GM(GM_INOUT, 0, GM_LEN(1, 8))),
	ROW(ppoll, GM(GM_INOUT, 0, GM_LEN(1, 8)), GM(GM_IN_FIX, 2, 16), GM(GM_IN_FIX, 3, 8)),
	ROW(epoll_wait, GM(GM_OUT, 1, GM_LEN(2, 12))),
	ROW(epoll_pwait, GM(GM_OUT, 1, GM_LEN(2, 12)), GM(GM_IN_FIX, 4, 8)),
	ROW(epoll_ctl, GM(GM_IN_FIX, 3, 12)),
	ROW(readv, GM(GM_IOV_OUT, 1, GM_LEN(2, 16))),
	ROW(writev, GM(GM_IOV_IN, 1, GM_LEN(2, 16))),
	ROW(preadv, GM(GM_IOV_OUT, 1, GM_LEN(2, 16))),
	ROW(pwritev, GM(GM_IOV_IN, 1, GM_LEN(2, 16))),
	ROW(rt_sigprocmask, GM(GM_IN_FIX, 1, 8), GM(GM_OUT_FIX, 2, 8)),
	ROW(rt_sigaction, GM(GM_IN_FIX, 1, 32), GM(GM_OUT_FIX, 2, 32)),
	ROW(clock_gettime, GM(GM_OUT_FIX, 1, 16)),
	ROW(clock_nanosleep, GM(GM_IN_FIX, 2, 16), GM(GM_OUT_FIX, 3, 16)),
	ROW(nanosleep, GM(GM_IN_FIX, 0, 16), GM(GM_OUT_FIX, 1, 16)),
	ROW(gettimeofday, GM(GM_OUT_FIX, 0, 16)),
	ROW(pipe, GM(GM_OUT_FIX, 0, 8)),
	ROW(pipe2, GM(GM_OUT_FIX, 0, 8)),
	ROW(wait4, GM(GM_OUT_FIX, 1, 4), GM(GM_OUT_FIX, 3, 144)),
	ROW(getrusage, GM(GM_OUT_FIX, 1, 144)),
	ROW(accept, GM(GM_OUT_FIX, 1, 16), GM(GM_INOUT_FIX, 2, 4)),
	ROW(accept4, GM(GM_OUT_FIX, 1, 16), GM(GM_INOUT_FIX, 2, 4)),
	ROW(recvfrom, GM(GM_OUT, 1, GM_LEN(2, 1)), GM(GM_INOUT_FIX, 5, 4)),
	ROW(setsockopt, GM(GM_IN, 3, GM_LEN(4, 1))),
	ROW(sendfile, GM(GM_INOUT_FIX, 2, 8)),
	ROW(getcwd, GM(GM_OUT, 0, GM_LEN(1, 1))),
#undef ROW
};

/* Calls that read or change the caller's registers. */
static const int framed[] = { SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_execve, SYS_execveat, SYS_rt_sigreturn, SYS_sigaltstack };

static void from_signature(struct gate_marshal *m, const char *sig)
{
	unsigned n = 0;
	for (unsigned i = 0; sig[i] && i < 6 && n < ARRAY_SIZE(m->op); i++) {
		bool sized = sig[i + 1];
		if (sig[i] == 's')
			m->op[n++] = (uint16_t)GM(GM_STR, i, 0);
		else if (sig[i] == 'b' && sized)
			m->op[n++] = (uint16_t)GM(GM_IN, i, GM_LEN(i + 1, 1));
		else if (sig[i] == 'B' && sized)
			m->op[n++] = (uint16_t)GM(GM_OUT, i, GM_LEN(i + 1, 1));
		else if (sig[i] == 'S' && sized)
			m->op[n++] = (uint16_t)GM(GM_IN, i, GM_LEN(i + 1, 1));
		else if (sig[i] == 't')
			m->op[n++] = (uint16_t)GM(GM_IN_FIX, i, 16);
	}
}

const struct gate_marshal *gate_marshal_table(void)
{
	for (unsigned i = 0; i < GATE_CALLS && i < SYSCALL_MAX; i++)
		if (syscall_table[i].sig)
			from_signature(&table[i], syscall_table[i].sig);
	for (unsigned i = 0; i < ARRAY_SIZE(structs); i++)
		table[structs[i].nr] = structs[i].m;
	for (unsigned i = 0; i < ARRAY_SIZE(framed); i++)
		table[framed[i]] = (struct gate_marshal){ { GM_TRAP } };
	return table;
}

bool gate_never_fast(unsigned nr) { return table[nr].op[0] == GM_TRAP; }

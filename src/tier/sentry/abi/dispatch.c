/* From number to handler: the table that abi/syscalls.def generates, counters, support table. */
#include "tier/sentry/abi/abi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/abi/strace.h"
#include "tier/sentry/task/exit.h"

const struct syscall_row syscall_table[SYSCALL_MAX] = {
#define SYSCALL(nr, name, sig, level, note) [nr] = { #name, sig, sys_##name, LEVEL_##level, 0, note },
#define NOSYS(nr, name, sig, error, note) [nr] = { #name, sig, NULL, LEVEL_NONE, error, note },
#include "tier/sentry/abi/syscalls.def"
#undef SYSCALL
#undef NOSYS
};

static void log_unknown(struct task *t, uint64_t nr)
{
	static uint64_t logged[SYSCALL_MAX / 64];
	if (nr < SYSCALL_MAX) {
		if (logged[nr / 64] & 1ull << nr % 64)
			return;
		logged[nr / 64] |= 1ull << nr % 64;
		klog("%s[%d]: %s is not supported", t->comm, t->tid, syscall_table[nr].name ? syscall_table[nr].name : "unknown call");
	} else {
		K.unknown++;
	}
}

long dispatch(struct task *t)
{
	uint64_t nr = t->nr;
	const struct syscall_row *row = nr < SYSCALL_MAX ? &syscall_table[nr] : NULL;
	long r;
	if (nr < ARRAY_SIZE(K.counts))
		K.counts[nr]++;
	if (K.opt->strace)
		strace_enter(t, row);
	if (t->seccomp_mode && !seccomp_allows(t, &r)) {
		/* answered by the guest's own filter */
	} else if (!row || !row->name) {
		log_unknown(t, nr);
		r = -ENOSYS;
	} else if (!row->fn) {
		if (row->error == ENOSYS)
			log_unknown(t, nr);
		r = -row->error;
	} else {
		r = row->fn(t, t->args);
	}
	if (r < 0 && r > -ERESTARTSYS && nr < ARRAY_SIZE(K.failures))
		K.failures[nr]++;
	if (K.opt->strace)
		strace_leave(t, row, r);
	return r;
}

int syscalls_markdown(struct strbuf *out)
{
	unsigned full = 0, partial = 0, none = 0;
	strbuf_puts(out, "# System calls of the sentry (x86-64)\n\nGenerated from `src/tier/sentry/abi/syscalls.def` by `tierce-sentry --syscalls-md`.\n\n"
		"| number | name | support | note |\n|---|---|---|---|\n");
	for (unsigned i = 0; i < SYSCALL_MAX; i++) {
		const struct syscall_row *r = &syscall_table[i];
		if (!r->name)
			continue;
		const char *what = r->level == LEVEL_FULL ? "yes" : r->level == LEVEL_PARTIAL ? "partial" : "no";
		full += r->level == LEVEL_FULL;
		partial += r->level == LEVEL_PARTIAL;
		none += r->level == LEVEL_NONE;
		strbuf_printf(out, "| %u | %s | %s | ", i, r->name, what);
		if (r->level == LEVEL_NONE)
			strbuf_printf(out, "%s%s", strerrorname_np(r->error), *r->note ? "; " : "");
		strbuf_printf(out, "%s |\n", r->note);
	}
	strbuf_printf(out, "\n%u supported, %u partial, %u refused.\n", full, partial, none);
	return out->failed ? -ENOMEM : 0;
}

/* One call a line: name, support, count, failures, what it gets when it is refused, note. Notes that say "as a kernel ..." are those of features that
 * programs must do without on some Linux systems too. */
int syscalls_stats(struct strbuf *out)
{
	static const char *const words[] = { [LEVEL_NONE] = "no", [LEVEL_PARTIAL] = "partial", [LEVEL_FULL] = "yes" };
	for (unsigned i = 0; i < SYSCALL_MAX; i++) {
		const struct syscall_row *r = &syscall_table[i];
		if (!K.counts[i])
			continue;
		if (r->name)
			strbuf_printf(out, "%s\t%s", r->name, r->level != LEVEL_FULL && str_has_prefix(r->note, "as ") ? "optional" : words[r->level]);
		else
			strbuf_printf(out, "call_%u\tno", i);
		strbuf_printf(out, "\t%llu\t%llu\t%s\t%s\n", (unsigned long long)K.counts[i], (unsigned long long)K.failures[i],
			!r->name ? "ENOSYS" : r->level == LEVEL_NONE ? strerrorname_np(r->error) : "", r->name ? r->note : "not in the table");
	}
	if (K.unknown)
		strbuf_printf(out, "call_%u_and_above\tno\t%llu\t%llu\tENOSYS\tnot in the table\n", SYSCALL_MAX, (unsigned long long)K.unknown, (unsigned long long)K.unknown);
	return out->failed ? -ENOMEM : 0;
}

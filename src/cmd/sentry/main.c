/* tierce-sentry: runs one container behind the user-space kernel. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/err.h"
#include "base/str.h"
#include "sys/fd.h"
#include "tier/sentry/abi/abi.h"
#include "tier/sentry/config.h"
#include "tier/sentry/confine.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/sentry.h"

struct option_row { struct option o; const char *arg, *help; };
enum { OPT_ROOTFS = 256, OPT_STRACE, OPT_STRACE_JSON, OPT_STRACE_FILE, OPT_SHOW_FILTERS, OPT_MD, OPT_HOSTNAME, OPT_CWD, OPT_ENV, OPT_OVERLAY, OPT_USER,
	OPT_UNCONFINED, OPT_CONFIG, OPT_CONTROL, OPT_READY, OPT_STATS, OPT_READONLY, OPT_QUIET, OPT_WITHOUT, OPT_HELP };
static const struct option_row rows[] = {
	{ { "rootfs", 1, NULL, OPT_ROOTFS }, "DIR", "root file system of the container" },
	{ { "overlay", 1, NULL, OPT_OVERLAY }, "memory|self", "changes to the rootfs are dropped at the end; self: large files use its disk" },
	{ { "read-only", 0, NULL, OPT_READONLY }, NULL, "mount the rootfs read-only" },
	{ { "cwd", 1, NULL, OPT_CWD }, "DIR", "working directory inside" },
	{ { "env", 1, NULL, OPT_ENV }, "NAME=VALUE", "environment variable (repeatable)" },
	{ { "user", 1, NULL, OPT_USER }, "UID[:GID]", "run as this user" },
	{ { "hostname", 1, NULL, OPT_HOSTNAME }, "NAME", "host name inside" },
	{ { "strace", 0, NULL, OPT_STRACE }, NULL, "print every system call" },
	{ { "strace-json", 0, NULL, OPT_STRACE_JSON }, NULL, "the same as JSON lines" },
	{ { "strace-file", 1, NULL, OPT_STRACE_FILE }, "FILE", "where to (default: standard error)" },
	{ { "stats", 1, NULL, OPT_STATS }, "FILE", "at the end, write a line per call: name, support, count, failures, what a refused one gets, note" },
	{ { "quiet", 0, NULL, OPT_QUIET }, NULL, "no messages of the sentry itself" },
	{ { "unconfined", 0, NULL, OPT_UNCONFINED }, NULL, "do not confine the sentry itself (debugging)" },
	{ { "config-fd", 1, NULL, OPT_CONFIG }, "FD", "configuration records (used by the runtime)" },
	{ { "control-fd", 1, NULL, OPT_CONTROL }, "FD", "listening control socket (used by the runtime)" },
	{ { "ready-fd", 1, NULL, OPT_READY }, "FD", "where to say that all is prepared (used by the runtime)" },
	{ { "without-rule", 1, NULL, OPT_WITHOUT }, "guest:N|sentry:N", "leave row N of a filter out, to see what needs it" },
	{ { "show-filters", 0, NULL, OPT_SHOW_FILTERS }, NULL, "print the filter tables with reasons and counts" },
	{ { "syscalls-md", 0, NULL, OPT_MD }, NULL, "print docs/syscalls.md" },
	{ { "help", 0, NULL, OPT_HELP }, NULL, "this text" },
};

static void usage(FILE *f)
{
	fprintf(f, "Usage: tierce-sentry --rootfs DIR [OPTION...] -- COMMAND [ARG...]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(f, "  --%-14s %-12s %s\n", rows[i].o.name, rows[i].arg ? rows[i].arg : "", rows[i].help);
}

static int print(int (*fn)(struct strbuf *))
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	fn(&b);
	fputs(strbuf_str(&b), stdout);
	return b.failed;
}

static int show_filters(void)
{
	printf("guest filter:\n");
	print(guest_filter_print);
	printf("sentry filter:\n");
	int rc = print(sentry_filter_print);
	printf("in all: the sentry's and the guest's rt_sigreturn, sigaltstack and mremap\n");
	return rc;
}

static int finish(int status)
{
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* Started by the runtime as pid 1 of the container's namespaces. */
static int run_configured(struct sentry_options *o, int fd)
{
	struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	int status = fd_read_rest(fd, &b, SENTRY_CONFIG_MAX);
	close(fd);
	o->default_mounts = false;
	o->is_init = true;
	o->log_fd = -EBADF; /* the container's standard error is not ours to write to */
	fcntl(o->control_fd, F_SETFD, FD_CLOEXEC);
	fcntl(o->ready_fd, F_SETFD, FD_CLOEXEC);
	if (status >= 0)
		status = sentry_config_parse(&a, b.s, b.len, o, &e);
	if (status >= 0)
		status = sentry_run(o, &e);
	_exit(status < 0 ? 126 : finish(status));
}

int main(int argc, char **argv)
{
	struct option opts[ARRAY_SIZE(rows) + 1] = { 0 };
	struct sentry_options o = { .default_mounts = true, .confine = true, .strace_fd = 2, .log_fd = 2, .stats_fd = -EBADF, .control_fd = -EBADF, .ready_fd = -EBADF };
	char **env = NULL;
	size_t n_env = 0;
	int c, config = -EBADF;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		opts[i] = rows[i].o;
	while ((c = getopt_long(argc, argv, "+", opts, NULL)) != -1) {
		switch (c) {
		case OPT_ROOTFS: o.rootfs = optarg; break;
		case OPT_OVERLAY:
			o.overlay = streq(optarg, "memory") ? OVERLAY_MEMORY : streq(optarg, "self") ? OVERLAY_SELF : OVERLAY_NONE;
			if (!o.overlay) {
				fprintf(stderr, "tierce-sentry: --overlay takes memory or self, not \"%s\"\n", optarg);
				return 125;
			}
			break;
		case OPT_READONLY: o.rootfs_readonly = true; break;
		case OPT_CWD: o.cwd = optarg; break;
		case OPT_ENV: strv_push(&env, &n_env, optarg); break;
		case OPT_HOSTNAME: o.hostname = optarg; break;
		case OPT_USER: {
			char *end;
			o.uid = (uint32_t)strtoul(optarg, &end, 10);
			o.gid = *end == ':' ? (uint32_t)strtoul(end + 1, NULL, 10) : o.uid;
			break;
		}
		case OPT_STRACE: o.strace = 1; break;
		case OPT_STRACE_JSON: o.strace = 2; break;
		case OPT_STRACE_FILE: o.strace_fd = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644); break;
		case OPT_STATS: o.stats_fd = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644); break;
		case OPT_QUIET: o.log_fd = -EBADF; break;
		case OPT_UNCONFINED: o.confine = false; break;
		case OPT_WITHOUT:
			if (sscanf(optarg, "guest:%d", &guest_filter_without) != 1 && sscanf(optarg, "sentry:%d", &sentry_filter_without) != 1) {
				usage(stderr);
				return 125;
			}
			break;
		case OPT_CONFIG: config = atoi(optarg); break;
		case OPT_CONTROL: o.control_fd = atoi(optarg); break;
		case OPT_READY: o.ready_fd = atoi(optarg); break;
		case OPT_SHOW_FILTERS: return show_filters();
		case OPT_MD: return print(syscalls_markdown);
		case OPT_HELP: usage(stdout); return 0;
		default: usage(stderr); return 125;
		}
	}
	if (o.confine && !getenv("GLIBC_TUNABLES")) { /* read by the loader: rseq would be a call more in the filter */
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}
	if (config >= 0)
		return run_configured(&o, config);
	if (!o.rootfs || optind >= argc) {
		usage(stderr);
		return 125;
	}
	if (!env) {
		strv_push(&env, &n_env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
		strv_push(&env, &n_env, "HOME=/root");
		strv_push(&env, &n_env, getenv("TERM") ? "TERM=xterm" : "TERM=dumb");
	}
	o.argv = argv + optind;
	o.envp = env;
	o.terminal = isatty(0);
	_cleanup_err_ struct err e = ERR_INIT;
	int status = sentry_run(&o, &e);
	if (o.stats_fd >= 0) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		if (syscalls_stats(&b) < 0 || write(o.stats_fd, strbuf_str(&b), b.len) < 0)
			fprintf(stderr, "tierce-sentry: cannot write the counters\n");
	}
	if (status < 0) {
		fprintf(stderr, "tierce-sentry: %s\n", err_msg(&e));
		_exit(status == -ENOENT ? 127 : 126);
	}
	fflush(NULL);
	_exit(finish(status));
}

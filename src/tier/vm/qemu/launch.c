/* QEMU's command line (measured variants and what each saves: the notes in docs/vm.md) and its process. */
#include "tier/vm/qemu/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/vm/boot/tsc.h"
#include "tier/vm/jail.h"

#if defined __x86_64__
#define QEMU "qemu-system-x86_64"
#else
#define QEMU "qemu-system-aarch64"
#endif

/* Descriptors that the child finds at fixed numbers; the rest of the table is closed. */
enum { FD_CTL = 3, FD_FUSE, FD_CONSOLE, FD_QMP, FD_STATE, FD_ROOT, FD_TAP, FD_END = FD_TAP + NICS_MAX, FD_PAIRS = FD_STATE };

const char *qemu_program(void)
{
	static const char *const places[] = { "/usr/bin/" QEMU, "/usr/local/bin/" QEMU, "/usr/libexec/qemu-kvm" };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

struct argv { struct arena *a; char **v; size_t n, cap; bool failed; };

static void PRINTF(2, 3) arg(struct argv *x, const char *fmt, ...)
{
	char buf[4096];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	char *s = n < 0 || (size_t)n >= sizeof buf || x->n + 1 >= x->cap ? NULL : arena_strdup(x->a, buf);
	if (!s) {
		x->failed = true;
		return;
	}
	x->v[x->n++] = s;
}

/* Commas separate options of QEMU's arguments and are doubled inside of values. */
static const char *quoted(struct argv *x, const char *s)
{
	char *r = arena_alloc(x->a, 2 * strlen(s) + 1), *o = r;
	if (!r) {
		x->failed = true;
		return "";
	}
	for (; *s; s++) {
		*o++ = *s;
		if (*s == ',')
			*o++ = ',';
	}
	return r;
}

static void machine_args(struct argv *x, const struct machine_config *c, enum qemu_mode mode, const char *memory_file)
{
	bool microvm = strcmp(c->machine, "microvm") == 0;
	arg(x, "-nodefaults");
	arg(x, "-no-user-config");
	arg(x, "-display");
	arg(x, "none");
	arg(x, "-no-reboot");
	arg(x, "-m");
	arg(x, "%lluM", (unsigned long long)(c->memory >> 20));
	arg(x, "-smp");
	arg(x, "%u", c->cpus);
	if (microvm) {
		arg(x, "-bios");
		arg(x, "qboot.rom");
	}
	arg(x, "-accel");
	if (c->kvm)
		arg(x, "kvm");
	else
		arg(x, "tcg,tb-size=%u,thread=%s", 64 * c->cpus, c->cpus > 1 ? "multi" : "single");
	if (c->kvm) {
		arg(x, "-cpu");
		arg(x, "host");
	}
	const char *backend = mode == QEMU_COLD ? "" : ",memory-backend=ram";
	arg(x, "-M");
	arg(x, microvm ? "microvm,x-option-roms=off%s" : "q35,vmport=off%s", backend);
	if (mode != QEMU_COLD) {
		arg(x, "-object");
		arg(x, "memory-backend-file,id=ram,size=%lluM,mem-path=%s,share=%s", (unsigned long long)(c->memory >> 20), quoted(x, memory_file),
			mode == QEMU_TEMPLATE ? "on" : "off");
	}
}

void qemu_kernel_args(const struct machine_config *c, struct strbuf *out)
{
	strbuf_puts(out, "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests lsm=landlock audit=0");
	if (!c->kvm) /* under emulation the TSC is the host's, and calibrating it against emulated timers hangs or costs seconds */
		strbuf_printf(out, " tsc=reliable no_timer_check%s", c->cpus == 1 ? " noreplace-smp" : "");
	if (c->kernel_args)
		strbuf_printf(out, " %s", c->kernel_args);
}

static void kernel_args(struct argv *x, const struct machine_config *c)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	qemu_kernel_args(c, &b);
	arg(x, "-kernel");
	arg(x, "%s", c->assets->vmlinux);
	arg(x, "-initrd");
	arg(x, "%s", c->assets->initramfs);
	arg(x, "-append");
	if (c->kvm)
		arg(x, "%s", strbuf_str(&b));
	else
		arg(x, "%s tsc_early_khz=%lu", strbuf_str(&b), tsc_khz());
}

static void monitor_args(struct argv *x)
{
	arg(x, "-chardev");
	arg(x, "socket,id=qmp,fd=%d", FD_QMP);
	arg(x, "-mon");
	arg(x, "chardev=qmp,mode=control");
}

/* The memory is in place already (memory-backend-file); what comes through FD_STATE is the devices' state. The machine runs once it is in. QEMU reads its
 * monitor byte by byte, so it gets no more than it must, all at once, and nobody waits for the answers: a QEMU that cannot load its state exits. */
static int send_load(int qmp_fd, struct err *e)
{
	char b[320];
	int n = snprintf(b, sizeof b, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":"
		"[{\"capability\":\"x-ignore-shared\",\"state\":true}]}}{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:%d\"}}", FD_STATE);
	int r = fd_write_all(qmp_fd, b, (size_t)n);
	return r < 0 ? err_sys(e, r, "qemu: load the template") : 0;
}

static void nic_args(struct argv *x, const char *bus, unsigned i, bool tap, const char *mac)
{
	arg(x, "-netdev");
	if (tap)
		arg(x, "tap,id=net%u,fd=%u,vhost=off", i, FD_TAP + i);
	else
		arg(x, "hubport,id=net%u,hubid=0", i);
	arg(x, "-device");
	arg(x, "virtio-net-%s,netdev=net%u,mac=%s,csum=off,guest_csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,guest_tso4=off,guest_tso6=off,"
		"guest_ecn=off,guest_ufo=off,mrg_rxbuf=off,ctrl_guest_offloads=off%s", bus, i, mac, strcmp(bus, "pci") == 0 ? ",romfile=" : "");
}

static void device_args(struct argv *x, const struct machine_config *c)
{
	const char *bus = strcmp(c->machine, "microvm") == 0 ? "device" : "pci";
	arg(x, "-chardev");
	arg(x, "socket,id=console,fd=%d", FD_CONSOLE);
	arg(x, "-serial");
	arg(x, "chardev:console");
	arg(x, "-device");
	arg(x, "virtio-serial-%s", bus);
	arg(x, "-chardev");
	arg(x, "socket,id=ctl,fd=%d", FD_CTL);
	arg(x, "-device");
	arg(x, "virtserialport,chardev=ctl,name=tierce.ctl");
	arg(x, "-chardev");
	arg(x, "socket,id=fuse,fd=%d", FD_FUSE);
	arg(x, "-device");
	arg(x, "virtserialport,chardev=fuse,name=tierce.fuse");
	/* A template's disk has no content and the largest size, so that the guest need not look again when a clone brings the real one;
	 * features that depend on the backend are off, since both sides of a migration must offer the same. */
	if (c->root_image) { /* by descriptor: the file need not be readable for the jailed hypervisor's user */
		arg(x, "-add-fd");
		arg(x, "fd=%d,set=1", FD_ROOT);
	}
	arg(x, "-drive");
	if (c->root_image)
		arg(x, "if=none,id=root,format=raw,readonly=on,file.locking=off,file=/dev/fdset/1");
	else
		arg(x, "if=none,id=root,driver=null-co,size=1T,read-zeroes=on,readonly=on");
	arg(x, "-device");
	arg(x, "virtio-blk-%s,drive=root,discard=off,write-zeroes=off,config-wce=off,logical_block_size=512,physical_block_size=512,num-queues=1", bus);
	nic_args(x, bus, 0, c->tap_fd >= 0, c->mac ? c->mac : "52:54:00:00:00:01");
	for (size_t i = 0; i < c->n_more_taps; i++)
		nic_args(x, bus, (unsigned)i + 1, true, c->more_macs[i]);
}

/* Seccomp of its own: no exec, no set*id, no priority games; the process is single in its purpose from here on. */
static void sandbox_args(struct argv *x)
{
	arg(x, "-sandbox");
	arg(x, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

/* QEMU sees its program and libraries, the files of its machine, and three device nodes. */
static int confine(const struct machine_config *c, enum qemu_mode mode, const char *memory_file, struct err *e)
{
	struct jail_path paths[] = {
		{ "/usr", false, false }, { "/lib", false, true }, { "/lib64", false, true }, { "/bin", false, true }, { "/etc/ld.so.cache", false, true },
		{ "/etc/alternatives", false, true }, { "/dev/null", true, false }, { "/dev/urandom", true, false }, { "/dev/kvm", true, true },
		{ c->assets->vmlinux, false, false }, { c->assets->initramfs, false, false }, { c->preload ? c->preload : "/usr", false, false },
		{ NULL, false, false }, { NULL, false, false },
	};
	size_t n = ARRAY_SIZE(paths) - 2;
	if (memory_file)
		paths[n++] = (struct jail_path){ memory_file, mode == QEMU_TEMPLATE, false };
	struct stat st;
	uint32_t kvm = stat("/dev/kvm", &st) == 0 ? st.st_gid : c->gid;
	struct jail j = { .paths = paths, .n_paths = n, .uid = c->uid, .gid = c->gid, .groups = &kvm, .n_groups = c->kvm ? 1 : 0,
		.may_write_files = mode == QEMU_TEMPLATE };
	return jail_enter(&j, e);
}

static NORETURN void child(const struct machine_config *c, enum qemu_mode mode, const char *memory_file, char **argv, const int fds[FD_END], int log_fd, pid_t parent)
{
	sigset_t none;
	int high[FD_END];
	for (int i = FD_CTL; i < FD_END; i++)
		high[i] = fds[i] >= 0 ? fcntl(fds[i], F_DUPFD_CLOEXEC, FD_END + 1) : -EBADF;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, 0);
	dup2(null, 1);
	dup2(log_fd >= 0 ? log_fd : null, 2);
	for (int i = FD_CTL; i < FD_END; i++)
		if (high[i] >= 0)
			dup2(high[i], i);
		else
			close(i);
	cloexec_from(FD_END);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	setsid();
	_cleanup_err_ struct err e = ERR_INIT;
	if (c->confine && confine(c, mode, memory_file, &e) < 0) {
		dprintf(2, "%s\n", err_msg(&e));
		_exit(125);
	}
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* huge pages round every clone's heap and translated code up by megabytes */
	/* Last: a change of user clears it (prctl(2)). The parent may be gone already. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent && getppid() != 0)
		_exit(125);
	char preload[PATH_MAX + 16], readonly[PATH_MAX + 32];
	char *env[] = { preload, readonly, NULL };
	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", mode == QEMU_CLONE && c->preload ? c->preload : "");
	snprintf(readonly, sizeof readonly, "TIERCE_READONLY=%s", memory_file ? memory_file : "");
	execve(argv[0], argv, env);
	dprintf(2, "exec %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int qemu_launch(const struct machine_config *c, enum qemu_mode mode, const char *memory_file, int state_fd, struct machine *ret, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	char *v[128];
	struct argv x = { &a, v, 0, ARRAY_SIZE(v), false };
	int pair[FD_END][2], theirs[FD_END];
	const char *program = qemu_program();
	_cleanup_close_ int root_fd = c->root_image ? open(c->root_image, O_RDONLY | O_CLOEXEC) : -EBADF;
	if (c->root_image && root_fd < 0)
		return err_sys(e, errno, "open %s", c->root_image);
	if (!program)
		return err_set(e, ENOENT, QEMU " is not installed (Debian: qemu-system-x86)");
	arg(&x, "%s", program);
	machine_args(&x, c, mode, memory_file);
	if (mode != QEMU_CLONE)
		kernel_args(&x, c);
	else {
		arg(&x, "-incoming");
		arg(&x, "defer");
	}
	if (mode != QEMU_COLD)
		monitor_args(&x);
	device_args(&x, c);
	sandbox_args(&x);
	if (x.failed)
		return err_set(e, ENOMEM, "qemu's command line");
	v[x.n] = NULL;
	for (int i = FD_CTL; i < FD_PAIRS; i++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair[i]) < 0) {
			int r = err_sys(e, errno, "socketpair");
			while (--i >= FD_CTL) {
				close(pair[i][0]);
				close(pair[i][1]);
			}
			return r;
		}
	for (int i = FD_CTL; i < FD_PAIRS; i++)
		theirs[i] = pair[i][1];
	if (mode == QEMU_COLD)
		for (int i = 0; i < 2; i++) {
			close(pair[FD_QMP][i]);
			pair[FD_QMP][i] = theirs[FD_QMP] = -EBADF;
		}
	theirs[FD_TAP] = c->tap_fd;
	for (size_t i = 1; i < NICS_MAX; i++)
		theirs[FD_TAP + i] = i <= c->n_more_taps ? c->more_taps[i - 1] : -EBADF;
	theirs[FD_STATE] = state_fd;
	theirs[FD_ROOT] = root_fd;
	int pidfd = -EBADF;
	struct clone_args ca = { .flags = CLONE_PIDFD | (c->confine ? JAIL_CLONE_FLAGS : 0), .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	pid_t parent = getpid(), pid = sys_clone3(&ca);
	if (pid == 0)
		child(c, mode, memory_file, v, theirs, pair[FD_CONSOLE][1], parent);
	int saved = errno;
	for (int i = FD_CTL; i < FD_PAIRS; i++)
		if (pair[i][1] >= 0)
			close(pair[i][1]);
	*ret = (struct machine){ pid, pidfd, pair[FD_CTL][0], pair[FD_FUSE][0], pair[FD_CONSOLE][0], pair[FD_QMP][0], false };
	fcntl(ret->ctl_fd, F_SETFL, O_NONBLOCK);
	fcntl(ret->fuse_fd, F_SETFL, O_NONBLOCK);
	fcntl(ret->console_fd, F_SETFL, O_NONBLOCK);
	if (pid < 0) {
		qemu_stop(ret);
		return err_sys(e, saved, "fork");
	}
	int r = mode == QEMU_CLONE ? send_load(ret->qmp_fd, e) : 0;
	if (r < 0)
		qemu_stop(ret);
	return r;
}

void qemu_stop(struct machine *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	int *fds[] = { &m->pidfd, &m->ctl_fd, &m->fuse_fd, &m->console_fd, &m->qmp_fd };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	*m = (struct machine)MACHINE_INIT;
}

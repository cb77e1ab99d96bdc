/* tierce-vmm as a hypervisor row: a clone of a template where there is one, else a cold boot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/fd.h"
#include "tier/vm/agent/chan.h"
#include "tier/vm/builtin/client.h"
#include "tier/vm/builtin/launch.h"
#include "tier/vm/call.h"
#include "tier/vm/jail.h"
#include "tier/vm/machine.h"
#include "tier/vm/probe.h"
#include "tier/vm/templates.h"

enum { LAYOUT = 3 /* raise when the machine's devices or the state's format change */, BOOT_MS = 180000, CALL_MS = 60000 };

static int probe(struct err *e)
{
	return kvm_probe(e);
}

/* What the configuration leaves open. */
static struct machine_config settle(const struct machine_config *c)
{
	struct machine_config mc = *c;
	mc.kvm = true;
	mc.confine = c->confine && geteuid() == 0;
	mc.uid = mc.gid = jail_uid();
	return mc;
}

/* ---- templates ---- */

static int template_key(const struct machine_config *c, struct key *k, struct err *e)
{
	_cleanup_strbuf_ struct strbuf args = STRBUF_INIT;
	_cleanup_free_ char *program = builtin_program(c->assets);
	struct stat st;
	if (!program || stat(program, &st) < 0)
		return err_set(e, ENOENT, "tierce-vmm is not beside tierce-agent");
	builtin_kernel_args(c, &args);
	key_add_str(k, "builtin");
	key_add_u64(k, LAYOUT);
	key_add_u64(k, (uint64_t)st.st_ino);
	key_add_u64(k, (uint64_t)st.st_size);
	key_add_u64(k, (uint64_t)st.st_mtim.tv_sec);
	key_add_u64(k, (uint64_t)st.st_mtim.tv_nsec);
	key_add_str(k, strbuf_str(&args));
	key_add_u64(k, builtin_net());
	return 0;
}

static int save(struct machine *m, int dir, uint64_t size, struct err *e)
{
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
	_cleanup_close_ int mem = openat(dir, "mem", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (mem < 0 || ftruncate(mem, (off_t)size) < 0)
		return err_sys(e, errno, "template: memory file");
	int r = vmm_call(m->qmp_fd, VMM_PAUSE, 0, -EBADF, NULL, CALL_MS, e);
	if (r >= 0)
		r = vmm_call(m->qmp_fd, VMM_SNAPSHOT, 0, mem, &state, CALL_MS, e);
	if (r >= 0 && (r = file_replace_at(dir, "state", state.s, state.len, 0600, false)) < 0)
		return err_sys(e, r, "template: state file");
	return r;
}

static int make(const struct machine_config *c, const char *path, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct machine_config mc = *c;
	struct machine m = MACHINE_INIT;
	struct chan ch = CHAN_INIT;
	struct agent_hello hello;
	if (dir < 0)
		return err_sys(e, errno, "%s", path);
	mc.root_image = NULL;
	mc.tap_fd = -EBADF;
	mc.mac = NULL;
	int r = builtin_launch(&mc, -EBADF, -EBADF, &m, e);
	if (r >= 0) {
		ch.fd = m.ctl_fd;
		r = agent_call(&ch, 1, "Hello", NULL, NULL, &agent_hello_desc, &hello, &a, BOOT_MS, e);
	}
	if (r >= 0)
		r = save(&m, dir, c->memory, e);
	chan_clear(&ch);
	builtin_stop(&m);
	return r;
}

static const struct template_kind kind = { template_key, make };

static int clone_template(const struct machine_config *c, struct machine *ret, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = templates_path(&kind, c, &path, e);
	if (r < 0)
		return r;
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int mem = dir < 0 ? -EBADF : openat(dir, "mem", O_RDONLY | O_CLOEXEC), state = dir < 0 ? -EBADF : openat(dir, "state", O_RDONLY | O_CLOEXEC);
	if (dir < 0 || mem < 0 || state < 0)
		return err_sys(e, errno, "template");
	futimens(dir, NULL);
	return builtin_launch(c, mem, state, ret, e);
}

/* ---- the row ---- */

static int start(const struct machine_config *c, struct machine *ret, struct err *e)
{
	struct machine_config mc = settle(c);
	if (mc.n_more_taps)
		return err_set(e, EOPNOTSUPP, "network of the container: %zu interfaces; the built-in monitor has one (dev.tierce.vm.hypervisor: qemu has more)", mc.n_more_taps + 1);
	if (mc.use_template) {
		_cleanup_err_ struct err why = ERR_INIT;
		int r = clone_template(&mc, ret, &why);
		if (r >= 0) {
			ret->cloned = true;
			return 0;
		}
		if (r != -ENOENT)
			templates_remove(&kind, &mc);
	}
	return builtin_launch(&mc, -EBADF, -EBADF, ret, e);
}

static int prepare(const struct machine_config *c, bool wait, struct err *e)
{
	struct machine_config mc = settle(c);
	return templates_build(&kind, &mc, wait, e);
}

static bool prepared(const struct machine_config *c)
{
	struct machine_config mc = settle(c);
	return templates_there(&kind, &mc);
}

static void discard(const struct machine_config *c)
{
	struct machine_config mc = settle(c);
	templates_remove(&kind, &mc);
}

static int balloon(struct machine *m, uint64_t bytes, struct err *e)
{
	return vmm_call(m->qmp_fd, VMM_BALLOON, bytes, -EBADF, NULL, CALL_MS, e);
}

const struct hypervisor hypervisor_builtin = { "builtin", probe, start, builtin_stop, prepare, prepared, discard, balloon };

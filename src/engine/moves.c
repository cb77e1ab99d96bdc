/* start, pause, resume, update, checkpoint, restore. */
#include "engine/engine.h"

#include <errno.h>
#include <signal.h>

#include "confine/intelrdt.h"
#include "engine/create.h"

int engine_start(struct ctr *c, struct err *e) {
	enum ctr_status s = ctr_status(c);
	if (s == CTR_STOPPED)
		return err_set(e, EPROTO, "cannot start a container that has stopped");
	if (s != CTR_CREATED && !(s == CTR_CREATING && c->locked && c->rec.init_pid && c->tier))
		return err_set(e, EPROTO, s == CTR_CREATING ? "cannot start a container that is being created" : "cannot start an already running container");
	int r = ctr_load_tier(c, c->rec.poststart, e);
	if (r == 0)
		r = ctr_open_pidfd(c, e);
	if (r < 0)
		return r;
	engine_debug(c->eng, "start: %s: init: closing the pipe to signal completion", c->rec.id); /* words that scripts look for */
	r = c->tier->start(&c->tc, e);
	if (r < 0)
		return r;
	/* A program that is through already is stopped by the kernel's word; the record only has to be right for the living. */
	r = ctr_set_status(c, CTR_RUNNING, e);
	if (r < 0)
		return r;
	if (!c->rec.poststart)
		return 0;
	ctr_unlock(c);
	struct err hook = ERR_INIT;
	r = hooks_run(c, c->spec, OCI_HOOK_POSTSTART, "running", c->rec.init_pid, &hook);
	if (r < 0) {
		/* As runc and crun do: the container is stopped and the command fails. */
		(void)engine_kill(c, SIGKILL, false, NULL);
		err_move(e, &hook);
	}
	err_clear(&hook);
	return r;
}

int engine_pause(struct ctr *c, struct err *e) {
	enum ctr_status s = ctr_status(c);
	if (s != CTR_RUNNING && s != CTR_CREATED)
		return err_set(e, EPROTO, s == CTR_PAUSED ? "container not running: it is paused already" : "container not running");
	int r = ctr_load_tier(c, false, e);
	if (r < 0)
		return r;
	if (c->tier->pause)
		r = c->tier->pause(&c->tc, e);
	else if (!cgroup_active(c->cgroup))
		r = err_set(e, ENOTSUP, "cannot pause: the container has no cgroup");
	else
		r = cgroup_freeze(c->cgroup, true, e);
	if (r < 0)
		return r;
	c->rec.paused_from = c->rec.status == CTR_CREATED ? CTR_CREATED : CTR_RUNNING;
	return c->rec.status == CTR_PAUSED ? 0 : ctr_set_status(c, CTR_PAUSED, e);
}

int engine_resume(struct ctr *c, struct err *e) {
	if (ctr_status(c) != CTR_PAUSED)
		return err_set(e, EPROTO, "container not paused");
	int r = ctr_load_tier(c, false, e);
	if (r < 0)
		return r;
	r = c->tier->resume ? c->tier->resume(&c->tc, e) : cgroup_freeze(c->cgroup, false, e);
	if (r < 0 || c->rec.status != CTR_PAUSED)
		return r;
	return ctr_set_status(c, c->rec.paused_from == CTR_CREATED ? CTR_CREATED : CTR_RUNNING, e);
}

int engine_update(struct ctr *c, const struct oci_resources *r, struct err *e) {
	if (ctr_status(c) == CTR_STOPPED)
		return err_set(e, ESRCH, "container not running");
	int rc = ctr_load_tier(c, false, e);
	if (rc < 0)
		return rc;
	if (!cgroup_active(c->cgroup))
		return err_set(e, ENOTSUP, "cannot update: the container has no cgroup");
	rc = cgroup_apply(c->cgroup, r, CGROUP_APPLY_UPDATE, e);
	if (rc == 0 && c->tier->update && !streq(c->tier->name, "ns"))
		rc = c->tier->update(&c->tc, r, e);
	return rc;
}

int engine_update_rdt(struct ctr *c, const char *l3, const char *mb, struct err *e) {
	int r = ctr_load_spec(c, e);
	if (r < 0)
		return r;
	if (!c->spec->intel_rdt.set)
		return err_set(e, ENOTSUP, "intelRdt is not part of the container's configuration");
	return intelrdt_update(NULL, &c->spec->intel_rdt, c->rec.id, l3, mb, e);
}

int engine_checkpoint(struct ctr *c, const struct tier_checkpoint_options *o, struct err *e) {
	enum ctr_status s = ctr_status(c);
	if (s == CTR_CREATED || s == CTR_STOPPED || s == CTR_CREATING)
		return err_set(e, EPROTO, "Container cannot be checkpointed in %s state", ctr_status_names[s]);
	int r = ctr_load_tier(c, true, e);
	if (r == 0)
		r = ctr_open_pidfd(c, e);
	if (r < 0)
		return r;
	if (!c->tier->checkpoint)
		return err_set(e, ENOTSUP, "checkpoint is not supported under isolation %s", c->tier->name);
	c->tc.init_pidfd = c->pidfd;
	r = c->tier->checkpoint(&c->tc, o, e);
	if (r == 0 && !o->leave_running && !o->pre_dump)
		r = engine_delete(c, true, e);
	return r;
}

static int build_by_criu(struct transaction *t, struct err *e) {
	struct restore_options *o = t->arg;
	o->criu.create = &t->tier;
	o->criu.detach = t->o->detach;
	if (!t->c->tier->restore)
		return err_set(e, ENOTSUP, "restore is not supported under isolation %s", t->c->tier->name);
	return t->c->tier->restore(&t->c->tc, &o->criu, e);
}

int engine_restore(struct engine *eng, struct restore_options *o, struct created *ret, struct err *e) {
	struct transaction t = { .o = &o->create, .build = build_by_criu, .arg = o };
	o->create.run = true;
	int r = transaction_run(eng, &t, ret, e);
	if (r < 0)
		return r;
	return ctr_set_status(ret->ctr, CTR_RUNNING, e);
}

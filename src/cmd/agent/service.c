/* The service tierce.agent.v1: a row per method. */
#include <errno.h>
#include <string.h>

#include "cmd/agent/agent.h"

struct call {
	struct agent *a;
	struct arena *arena;
	uint32_t stream;
	void *reply; /* as the row's reply descriptor says */
};

union request {
	struct agent_wake wake;
	struct agent_create create;
	struct agent_exec exec;
	struct agent_ref ref;
	struct agent_signal signal;
	struct agent_resize resize;
	struct agent_update update;
	struct agent_mounts mounts;
	struct agent_network network;
};
union reply { struct agent_hello hello; struct agent_woken woken; struct agent_pid pid; struct agent_text text; };

static int need_id(const char *id, struct err *e)
{
	return id && *id && strlen(id) < 200 && !strchr(id, '/') && id[0] != '.' ? 0 : err_set(e, EINVAL, "malformed container id");
}

static int do_hello(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)q;
	return agent_hello(c->arena, &p->hello, e);
}

static int do_wake(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)c, (void)p;
	return agent_wake(&q->wake, e);
}

static int do_create(struct call *c, const union request *q, union reply *p, struct err *e)
{
	pid_t pid;
	int r = need_id(q->create.id, e);
	if (r >= 0 && (r = guest_create(c->a, &q->create, &pid, e)) >= 0)
		p->pid.pid = (uint64_t)pid;
	return r;
}

static int do_remove(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_remove(c->a, q->ref.id, e);
}

static int do_start(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_start(c->a, &q->ref, e);
}

static int do_exec(struct call *c, const union request *q, union reply *p, struct err *e)
{
	pid_t pid;
	int r = guest_exec(c->a, &q->exec, &pid, e);
	if (r >= 0)
		p->pid.pid = (uint64_t)pid;
	return r;
}

static int do_attach(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	struct proc *proc = guest_proc(c->a, q->ref.id, q->ref.exec_id, e);
	if (!proc)
		return e->code;
	if (proc->stream)
		return err_set(e, EBUSY, "the process is attached already");
	proc->stream = c->stream;
	return 0;
}

static int do_signal(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_signal(c->a, &q->signal, e);
}

static int do_resize(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	struct proc *proc = guest_proc(c->a, q->resize.id, q->resize.exec_id, e);
	return proc ? proc_resize(proc, q->resize.width, q->resize.height, e) : e->code;
}

static int do_update(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_update(c->a, &q->update, e);
}

static int do_mounts(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_mounts(c->a, &q->mounts, e);
}

static int do_freeze(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_freeze(c->a, q->ref.id, true, e);
}

static int do_thaw(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)p;
	return guest_freeze(c->a, q->ref.id, false, e);
}

static int do_stats(struct call *c, const union request *q, union reply *p, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = guest_stats(c->a, q->ref.id, &b, e);
	if (r < 0)
		return r;
	p->text.text = (struct pb_bytes){ arena_strndup(c->arena, strbuf_str(&b), b.len), b.len };
	return p->text.text.p ? 0 : err_set(e, ENOMEM, "stats");
}

static int do_processes(struct call *c, const union request *q, union reply *p, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = guest_processes(c->a, q->ref.id, &b, e);
	if (r < 0)
		return r;
	p->text.text = (struct pb_bytes){ arena_strndup(c->arena, strbuf_str(&b), b.len), b.len };
	return p->text.text.p ? 0 : err_set(e, ENOMEM, "ps");
}

static int do_network(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)c, (void)p;
	return net_apply(&q->network, e);
}

static int do_shutdown(struct call *c, const union request *q, union reply *p, struct err *e)
{
	(void)q, (void)p, (void)e;
	c->a->shutdown = true;
	return 0;
}

static const struct method {
	const char *name;
	const struct pb_desc *request, *reply; /* NULL: empty */
	int (*handler)(struct call *c, const union request *q, union reply *p, struct err *e);
	bool stream; /* no response; data frames follow */
} methods[] = {
	{ "Hello", NULL, &agent_hello_desc, do_hello, false },
	{ "Wake", &agent_wake_desc, &agent_woken_desc, do_wake, false },
	{ "Create", &agent_create_desc, &agent_pid_desc, do_create, false },
	{ "Remove", &agent_ref_desc, NULL, do_remove, false },
	{ "Start", &agent_ref_desc, NULL, do_start, false },
	{ "Exec", &agent_exec_desc, &agent_pid_desc, do_exec, false },
	{ "Attach", &agent_ref_desc, NULL, do_attach, true },
	{ "Signal", &agent_signal_desc, NULL, do_signal, false },
	{ "Resize", &agent_resize_desc, NULL, do_resize, false },
	{ "Update", &agent_update_desc, NULL, do_update, false },
	{ "Mounts", &agent_mounts_desc, NULL, do_mounts, false },
	{ "Freeze", &agent_ref_desc, NULL, do_freeze, false },
	{ "Thaw", &agent_ref_desc, NULL, do_thaw, false },
	{ "Stats", &agent_ref_desc, &agent_text_desc, do_stats, false },
	{ "Processes", &agent_ref_desc, &agent_text_desc, do_processes, false },
	{ "Network", &agent_network_desc, NULL, do_network, false },
	{ "Shutdown", NULL, NULL, do_shutdown, false },
};

static void request(struct agent *a, const struct ttrpc_frame *f)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct ttrpc_request q;
	union request in;
	union reply out;
	const struct method *m = NULL;
	struct call c = { a, &arena, f->stream, &out };
	memset(&in, 0, sizeof in);
	memset(&out, 0, sizeof out);
	int r = pb_decode(&ttrpc_request_desc, &arena, f->data, f->n, &q, &e);
	for (size_t i = 0; r >= 0 && q.method && i < ARRAY_SIZE(methods) && !m; i++)
		if (streq(methods[i].name, q.method))
			m = &methods[i];
	if (r >= 0 && (!q.service || !streq(q.service, AGENT_SERVICE) || !m))
		r = err_set(&e, ENOSYS, "no method %s/%s", q.service ? q.service : "", q.method ? q.method : "");
	if (r >= 0 && m->request)
		r = pb_decode(m->request, &arena, q.payload.p, q.payload.n, &in, &e);
	if (r >= 0)
		r = m->handler(&c, &in, &out, &e);
	if (r < 0)
		r = ttrpc_put_error(&a->ctl.out, f->stream, ttrpc_code_of_errno(r), err_msg(&e));
	else if (!m->stream)
		r = ttrpc_put_response(&a->ctl.out, f->stream, m->reply, &out);
	if (r < 0)
		a->ctl.out.failed = true; /* out of memory: the flush that follows ends us */
}

static void data(struct agent *a, const struct ttrpc_frame *f)
{
	_cleanup_arena_ struct arena arena = ARENA_INIT;
	struct agent_io io;
	if (pb_decode(&agent_io_desc, &arena, f->data, f->n, &io, NULL) < 0)
		return;
	for (struct guest *g = a->guests; g; g = g->next)
		for (struct proc *p = g->procs; p; p = p->next)
			if (p->stream == f->stream)
				proc_io(a, p, &io);
}

void service_frame(struct agent *a, const struct ttrpc_frame *f)
{
	if (f->type == TTRPC_REQUEST)
		request(a, f);
	else if (f->type == TTRPC_DATA)
		data(a, f);
}

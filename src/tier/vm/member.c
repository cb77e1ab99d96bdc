/* A further container of a pod: its root image and bind mounts are shared with the pod's machine, and a process of ours stands for it on the host. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/call.h"
#include "tier/vm/control.h"
#include "tier/vm/fsd.h"
#include "tier/vm/guestconf.h"
#include "tier/vm/monitor.h"
#include "tier/vm/ops_internal.h"
#include "tier/vm/rootimg.h"

/* The container's socket is a link to that of its pod, so that every command finds the machine. */
int vm_member_link(struct tier_container *c, const char *sandbox, struct err *e)
{
	char to[300];
	if (streq(sandbox, c->id) || (size_t)snprintf(to, sizeof to, "../%s/" MONITOR_SOCKET, sandbox) >= sizeof to)
		return err_set(e, EINVAL, "pod %.64s: not a sandbox that %s could join", sandbox, c->id);
	if ((unlinkat(c->state_fd, MONITOR_SOCKET, 0) < 0 && errno != ENOENT) || symlinkat(to, c->state_fd, MONITOR_SOCKET) < 0)
		return err_sys(e, errno, "link to the machine of pod %s", sandbox);
	_cleanup_err_ struct err why = ERR_INIT;
	int fd = control_connect(c->state_fd, &why);
	if (fd < 0)
		return err_set(e, fd, "pod %s has no running machine: its sandbox was not started with --isolation vm, or has ended", sandbox);
	close(fd);
	return 0;
}

/* The first descriptor is the root image; without one the root is among the shares. */
int vm_share(int sock, struct guest_shares *s, const char *image, bool keep, uint8_t *ret_image, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_close_ int fd = image ? open(image, O_RDONLY | O_CLOEXEC) : -EBADF;
	int fds[FSD_BATCH];
	uint8_t readonly[FSD_BATCH] = { 1 };
	struct chan ch = CHAN_INIT;
	struct ttrpc_frame f;
	struct pb_bytes payload;
	struct control_numbers got;
	if (image && fd < 0)
		return err_sys(e, errno, "open %s", image);
	const size_t first = image ? 1 : 0;
	if (s->n + first > FSD_BATCH)
		return err_set(e, E2BIG, "more than %d bind mounts", FSD_BATCH - 1);
	fds[0] = fd;
	for (size_t i = 0; i < s->n; i++) {
		fds[i + first] = s->v[i].fd;
		readonly[i + first] = s->v[i].readonly;
	}
	struct control_shares q = { { readonly, s->n + first }, keep };
	ch.fd = sock;
	int r = control_send(sock, CONTROL_SHARE_STREAM, "Share", &control_shares_desc, &q, fds, s->n + first, e);
	while (r >= 0 && (r = chan_next(&ch, &f)) == 0)
		r = chan_fill(&ch); /* blocking: the monitor's own bound on its file server ends it */
	if (r >= 0)
		r = agent_response(&f, &a, &payload, e);
	if (r >= 0)
		r = pb_decode(&control_numbers_desc, &a, payload.p, payload.n, &got, e);
	if (r >= 0 && (got.numbers.n != s->n + first || !(s->numbers = malloc(s->n + 1))))
		r = err_set(e, EBADMSG, "the machine's monitor answers with nonsense");
	if (r >= 0) {
		if (image)
			*ret_image = ((const uint8_t *)got.numbers.p)[0];
		memcpy(s->numbers, (const uint8_t *)got.numbers.p + first, s->n);
	}
	chan_clear(&ch);
	return r < 0 && !e->code ? err_sys(e, r, "the pod's machine") : r;
}

void vm_member_run(const struct vm_member *m)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT;
	_cleanup_free_ char *image = NULL;
	_cleanup_shares_ struct guest_shares shares = { 0 };
	const struct oci_spec *spec = m->c->spec;
	struct vm_proxy p = { .c = m->c, .sock = -EBADF, .tty = m->terminal ? m->stdio[0] : -EBADF, .ready_fd = m->ready_fd };
	uint8_t number = 0;
	int r = p.sock = control_connect(m->c->state_fd, &e);
	size_t root_at = 0;
	if (r >= 0)
		r = guest_shares_open(spec, m->c->bundle, &shares, &e);
	if (r >= 0)
		r = m->root_shared ? guest_shares_root(&shares, m->c->rootfs, spec->root_readonly, &root_at, &e) : rootimg_get(m->cache, m->c->rootfs, &image, &e);
	if (r >= 0)
		r = vm_share(p.sock, &shares, image, false, &number, &e);
	shares.member = true;
	if (r >= 0)
		r = guestconf_write(spec, &shares, &config, &e);
	if (r < 0)
		vm_proxy_fail(&p, r, &e);
	if (m->root_shared)
		number = shares.numbers[root_at];
	struct agent_root root = { .type = m->root_shared ? "share" : "erofs", .device = "loop", .share = (uint64_t)number + 1 };
	struct agent_create q = { .id = m->c->id, .config = { config.s, config.len }, .root = &root, .terminal = spec->process.terminal, .stdin_open = true,
		.shares = shares.n };
	struct winsize ws;
	if (m->terminal && ioctl(p.tty, TIOCGWINSZ, &ws) == 0) {
		q.width = ws.ws_col;
		q.height = ws.ws_row;
	}
	guest_shares_clear(&shares); /* the file server has its own */
	vm_proxy_serve(&p, "Join", &agent_create_desc, &q, m->stdio);
}

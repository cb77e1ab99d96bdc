/*
 * Terminals. Pseudo terminals are wholly ours: ptmx, devpts, line discipline. A host terminal that was handed in keeps the host's line discipline; sessions,
 * foreground groups and background stops are ours for both.
 */
#include "tier/sentry/fs/ptys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "tier/sentry/confine.h"
#include "tier/sentry/fs/hosttty.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"

struct tty *ptys[PTY_MAX];
static struct tty *host_tty;
static const struct file_ops master_ops, slave_ops;

static const struct termios2 default_tio = { .c_iflag = ICRNL | IXON, .c_oflag = OPOST | ONLCR, .c_cflag = B38400 | CS8 | CREAD,
	.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.c_cc = { [VINTR] = 3, [VQUIT] = 28, [VERASE] = 127, [VKILL] = 21, [VEOF] = 4, [VMIN] = 1, [VSTART] = 17, [VSTOP] = 19, [VSUSP] = 26, [VREPRINT] = 18,
		[VDISCARD] = 15, [VWERASE] = 23, [VLNEXT] = 22 }, .c_ispeed = 38400, .c_ospeed = 38400 };

static void tty_put(struct tty *y)
{
	if (--y->refs)
		return;
	if (y->index >= 0 && ptys[y->index] == y)
		ptys[y->index] = NULL;
	free(y);
}

static int signal_fg(struct tty *y, int sig)
{
	return y->fg ? send_signal_pgrp(y->fg, sig, NULL) : -ESRCH;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------------- */

static void set_controlling(struct tty *y, struct process *p)
{
	y->session = p->pgrp->session;
	y->fg = p->pgrp->pgid;
	p->pgrp->session->tty = y;
}

void tty_session_gone(struct session *s)
{
	struct tty *y = s->tty;
	s->tty = NULL;
	if (!y)
		return;
	signal_fg(y, SIGHUP);
	signal_fg(y, SIGCONT);
	y->session = NULL;
	y->fg = 0;
}

/* Access from a background group: the group is stopped, or the call fails. */
static int check_background(struct task *t, struct tty *y, int sig)
{
	struct process *p = t->proc;
	if (!p->pgrp || p->pgrp->session->tty != y || !y->fg || p->pgrp->pgid == y->fg)
		return 0;
	bool ignored = t->sighand->action[sig - 1].handler == 1 || (t->blocked & SIG_BIT(sig));
	if (ignored)
		return sig == SIGTTIN ? -EIO : 0;
	send_signal_pgrp(p->pgrp->pgid, sig, NULL);
	return -ERESTARTSYS;
}

static long job_ioctl(struct task *t, struct tty *y, unsigned cmd, uint64_t arg)
{
	struct process *p = t->proc;
	struct session *s = p->pgrp->session;
	int v;
	switch (cmd) {
	case TIOCSCTTY:
		if (s->sid != p->pid || (s->tty && s->tty != y))
			return -EPERM;
		if (y->session && y->session != s) {
			if (arg != 1 || !capable(t, CAP_SYS_ADMIN))
				return -EPERM;
			y->session->tty = NULL;
		}
		set_controlling(y, p);
		return 0;
	case TIOCNOTTY:
		if (s->tty != y)
			return -ENOTTY;
		if (s->sid == p->pid)
			tty_session_gone(s);
		return 0;
	case TIOCGPGRP:
		if (s->tty != y)
			return -ENOTTY;
		v = y->fg;
		return copyout(t, arg, &v, 4);
	case TIOCSPGRP: {
		if (copyin(t, &v, arg, 4) < 0)
			return -EFAULT;
		if (s->tty != y)
			return -ENOTTY;
		int rc = check_background(t, y, SIGTTOU);
		if (rc)
			return rc;
		const struct pgrp *g = v > 0 ? pgrp_by_id(v) : NULL;
		if (v < 0)
			return -EINVAL;
		if (!g)
			return -ESRCH;
		if (g->session != s)
			return -EPERM;
		y->fg = v;
		return 0;
	}
	case TIOCGSID:
		if (s->tty != y)
			return -ENOTTY;
		v = s->sid;
		return copyout(t, arg, &v, 4);
	default: return -ENOTTY;
	}
}

/* ---- host terminals ------------------------------------------------------------------------------------------------------ */

int tty_adopt_host(struct task *t, struct file *f)
{
	struct tty *y = calloc(1, sizeof(*y));
	if (!y)
		return -ENOMEM;
	y->refs = 1;
	y->index = -1;
	y->host = f;
	host_tty = y;
	set_controlling(y, t->proc);
	return 0;
}

int hosttty_check(struct task *t, struct file *f, bool write)
{
	(void)f;
	return host_tty && !write ? check_background(t, host_tty, SIGTTIN) : 0;
}

long hosttty_job(struct task *t, unsigned cmd, uint64_t arg) { return host_tty ? job_ioctl(t, host_tty, cmd, arg) : -ENOTTY; }

bool hosttty_signal(int sig, bool from_kernel)
{
	if (!host_tty || !from_kernel || (sig != SIGINT && sig != SIGQUIT && sig != SIGTSTP && sig != SIGWINCH))
		return sig == SIGTSTP || sig == SIGWINCH || sig == SIGTTIN || sig == SIGTTOU;
	signal_fg(host_tty, sig);
	return true;
}

/* ---- line discipline ------------------------------------------------------------------------------------------------------ */

static void out_char(struct tty *y, char c)
{
	if (y->out_n < OUT_MAX)
		y->out[y->out_n++] = c;
}

static void out_processed(struct tty *y, char c)
{
	if ((y->tio.t.c_oflag & OPOST) && (y->tio.t.c_oflag & ONLCR) && c == '\n')
		out_char(y, '\r');
	out_char(y, c);
}

static void echo(struct tty *y, unsigned char c)
{
	if (!(y->tio.t.c_lflag & ECHO) && !(c == '\n' && (y->tio.t.c_lflag & ECHONL)))
		return;
	if ((y->tio.t.c_lflag & ECHOCTL) && (c < 32 || c == 127) && c != '\n' && c != '\t') {
		out_char(y, '^');
		out_char(y, (char)(c ^ 64));
	} else {
		out_processed(y, (char)c);
	}
}

static void erase(struct tty *y)
{
	if (!y->edit)
		return;
	unsigned char c = (unsigned char)y->in[--y->in_n];
	y->edit--;
	if ((y->tio.t.c_lflag & (ECHO | ECHOE)) == (ECHO | ECHOE))
		for (unsigned n = c < 32 || c == 127 ? 2 : 1; n; n--) {
			out_char(y, '\b');
			out_char(y, ' ');
			out_char(y, '\b');
		}
}

static bool is_cc(const struct tty *y, unsigned char c, unsigned i) { return c && y->tio.t.c_cc[i] == c; }

static bool input_signal(struct tty *y, unsigned char c)
{
	int sig = is_cc(y, c, VINTR) ? SIGINT : is_cc(y, c, VQUIT) ? SIGQUIT : is_cc(y, c, VSUSP) ? SIGTSTP : 0;
	if (!(y->tio.t.c_lflag & ISIG) || !sig)
		return false;
	if (!(y->tio.t.c_lflag & NOFLSH))
		y->in_n = y->lines = y->edit = 0;
	echo(y, c);
	signal_fg(y, sig);
	return true;
}

/* One byte typed at the master. */
static void input(struct tty *y, unsigned char c)
{
	tcflag_t i = y->tio.t.c_iflag;
	if (i & ISTRIP)
		c &= 0x7f;
	if (c == '\r') {
		if (i & IGNCR)
			return;
		if (i & ICRNL)
			c = '\n';
	} else if (c == '\n' && (i & INLCR)) {
		c = '\r';
	}
	if (input_signal(y, c))
		return;
	if (y->tio.t.c_lflag & ICANON) {
		if (is_cc(y, c, VERASE)) {
			erase(y);
			return;
		}
		if (is_cc(y, c, VKILL)) {
			while (y->edit)
				erase(y);
			return;
		}
		if (is_cc(y, c, VWERASE) && (y->tio.t.c_lflag & IEXTEN)) {
			while (y->edit && y->in[y->in_n - 1] == ' ')
				erase(y);
			while (y->edit && y->in[y->in_n - 1] != ' ')
				erase(y);
			return;
		}
		bool eof = is_cc(y, c, VEOF);
		if (y->in_n == LINE_MAX_ - 1 && c != '\n' && !eof)
			return;
		if (!eof)
			echo(y, c);
		if (y->in_n < LINE_MAX_) {
			y->in[y->in_n++] = eof ? 0 : (char)c; /* the end of file is a zero mark inside the line buffer */
			y->edit++;
		}
		if (c == '\n' || eof || is_cc(y, c, VEOL) || is_cc(y, c, VEOL2)) {
			y->lines += y->edit;
			y->edit = 0;
		}
		return;
	}
	echo(y, c);
	if (y->in_n < LINE_MAX_)
		y->in[y->in_n++] = (char)c;
}

/* Bytes that a slave read would get now; SIZE_MAX: end of file. */
static size_t available(const struct tty *y, size_t *skip)
{
	*skip = 0;
	if (!(y->tio.t.c_lflag & ICANON))
		return y->in_n >= (y->tio.t.c_cc[VMIN] ? 1 : 0) ? y->in_n : 0;
	for (size_t n = 0; n < y->lines; n++) {
		if (y->in[n] == '\n')
			return n + 1;
		if (!y->in[n]) {
			*skip = 1;
			return n ? n : SIZE_MAX;
		}
	}
	return y->lines;
}

static void consume(struct tty *y, size_t n)
{
	memmove(y->in, y->in + n, y->in_n - n);
	y->in_n -= n;
	y->lines -= MIN(y->lines, n);
}

static int pty_wait(struct task *t, struct file *f, struct waitq *q, int64_t deadline)
{
	struct waiter w;
	if (f->flags & O_NONBLOCK)
		return -EAGAIN;
	waiter_init(&w, t);
	waitq_add(q, &w);
	int rc = task_sleep(t, deadline);
	waitq_del(&w);
	return rc == -EINTR ? -ERESTARTSYS : rc;
}

static ssize_t slave_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct tty *y = f->priv;
	size_t n, skip;
	int rc = check_background(t, y, SIGTTIN);
	(void)pos;
	if (rc)
		return rc;
	while (!(n = available(y, &skip))) {
		bool raw = !(y->tio.t.c_lflag & ICANON);
		if (!y->masters)
			return -EIO;
		if (raw && !y->tio.t.c_cc[VMIN]) {
			if (!y->tio.t.c_cc[VTIME])
				return 0;
			rc = pty_wait(t, f, &y->slave_wq, now_ns(CLOCK_MONOTONIC) + y->tio.t.c_cc[VTIME] * 100000000ll);
			if (rc == -ETIMEDOUT)
				return 0;
		} else {
			rc = pty_wait(t, f, &y->slave_wq, -1);
		}
		if (rc)
			return rc;
	}
	if (n == SIZE_MAX) {
		consume(y, 1);
		return 0;
	}
	ssize_t k = uio_put(u, y->in, MIN(n, u->left));
	if (k > 0)
		consume(y, (size_t)k + ((size_t)k == n ? skip : 0));
	waitq_wake(&y->master_wq, POLLOUT | POLLWRNORM);
	return k;
}

static ssize_t slave_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct tty *y = f->priv;
	size_t total = 0;
	(void)pos;
	if (y->tio.t.c_lflag & TOSTOP) {
		int rc = check_background(t, y, SIGTTOU);
		if (rc)
			return rc;
	}
	while (u->left) {
		char buf[512];
		if (!y->masters)
			return total ? (ssize_t)total : -EIO;
		if (OUT_MAX - y->out_n < 2 * sizeof(buf)) {
			int rc = pty_wait(t, f, &y->slave_wq, -1);
			if (rc)
				return total ? (ssize_t)total : rc;
			continue;
		}
		ssize_t k = uio_get(u, buf, MIN(u->left, sizeof(buf)));
		if (k <= 0)
			return total ? (ssize_t)total : k;
		for (ssize_t i = 0; i < k; i++)
			out_processed(y, buf[i]);
		total += (size_t)k;
		waitq_wake(&y->master_wq, POLLIN | POLLRDNORM);
	}
	return (ssize_t)total;
}

static unsigned slave_poll(struct file *f, struct poll_table *pt)
{
	struct tty *y = f->priv;
	size_t skip;
	poll_wait(pt, &y->slave_wq);
	return (available(y, &skip) ? POLLIN | POLLRDNORM : 0) | (OUT_MAX - y->out_n >= 1024 ? POLLOUT | POLLWRNORM : 0) | (y->masters ? 0 : POLLHUP | POLLERR);
}

static ssize_t master_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct tty *y = f->priv;
	(void)pos;
	while (!y->out_n) {
		if (!y->slaves && y->slave_inode)
			return -EIO; /* everyone who had it open is gone */
		int rc = pty_wait(t, f, &y->master_wq, -1);
		if (rc)
			return rc;
	}
	ssize_t k = uio_put(u, y->out, MIN(u->left, y->out_n));
	if (k > 0) {
		memmove(y->out, y->out + k, y->out_n - (size_t)k);
		y->out_n -= (size_t)k;
		waitq_wake(&y->slave_wq, POLLOUT | POLLWRNORM);
	}
	return k;
}

static ssize_t master_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct tty *y = f->priv;
	size_t total = 0;
	(void)pos;
	while (u->left) {
		unsigned char c;
		if (y->in_n >= LINE_MAX_ - 1 && !(y->tio.t.c_lflag & ICANON)) {
			int rc = pty_wait(t, f, &y->master_wq, -1);
			if (rc)
				return total ? (ssize_t)total : rc;
			continue;
		}
		if (uio_get(u, &c, 1) != 1)
			return total ? (ssize_t)total : -EFAULT;
		input(y, c);
		total++;
	}
	waitq_wake(&y->slave_wq, POLLIN | POLLRDNORM);
	if (y->out_n)
		waitq_wake(&y->master_wq, POLLIN | POLLRDNORM);
	return (ssize_t)total;
}

static unsigned master_poll(struct file *f, struct poll_table *pt)
{
	struct tty *y = f->priv;
	poll_wait(pt, &y->master_wq);
	return (y->out_n ? POLLIN | POLLRDNORM : 0) | POLLOUT | POLLWRNORM | (!y->slaves && y->slave_inode ? POLLHUP : 0);
}

/* ---- ioctls ---------------------------------------------------------------------------------------------------------------- */

static void set_tio(struct tty *y, const struct termios2 *n, size_t size)
{
	bool was = y->tio.t.c_lflag & ICANON;
	memcpy(&y->tio.t, n, size);
	if (was && !(y->tio.t.c_lflag & ICANON))
		y->lines = y->edit = 0;
	else if (!was && (y->tio.t.c_lflag & ICANON))
		y->lines = y->in_n;
	waitq_wake(&y->slave_wq, POLLIN | POLLRDNORM);
}

static long tty_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	struct tty *y = f->priv;
	bool master = f->ops == &master_ops;
	struct termios2 tio;
	struct winsize ws;
	int v, rc;
	size_t skip, n;
	switch (cmd) {
	case TCGETS: return copyout(t, arg, &y->tio.t, sizeof(struct termios));
	case TCGETS2: return copyout(t, arg, &y->tio.t, sizeof(struct termios2));
	case TCSETS: case TCSETSW: case TCSETSF: case TCSETS2: case TCSETSW2: case TCSETSF2:
		n = cmd == TCSETS || cmd == TCSETSW || cmd == TCSETSF ? sizeof(struct termios) : sizeof(struct termios2);
		if (!master && (rc = check_background(t, y, SIGTTOU)) < 0)
			return rc;
		if (copyin(t, &tio, arg, n) < 0)
			return -EFAULT;
		if (cmd == TCSETSF || cmd == TCSETSF2)
			y->in_n = y->lines = y->edit = 0;
		set_tio(y, &tio, n);
		return 0;
	case TIOCGWINSZ: return copyout(t, arg, &y->ws, sizeof(y->ws));
	case TIOCSWINSZ:
		if (copyin(t, &ws, arg, sizeof(ws)) < 0)
			return -EFAULT;
		if (memcmp(&ws, &y->ws, sizeof(ws)) != 0) {
			y->ws = ws;
			signal_fg(y, SIGWINCH);
		}
		return 0;
	case TIOCGPTN:
		v = y->index;
		return master ? copyout(t, arg, &v, 4) : -ENOTTY;
	case TIOCSPTLCK:
		if (!master)
			return -ENOTTY;
		if (copyin(t, &v, arg, 4) < 0)
			return -EFAULT;
		y->locked = v;
		return 0;
	case TIOCGPTLCK:
		v = y->locked;
		return copyout(t, arg, &v, 4);
	case FIONREAD:
		n = master ? y->out_n : available(y, &skip);
		v = n == SIZE_MAX ? 0 : (int)n;
		return copyout(t, arg, &v, 4);
	case TIOCOUTQ:
		v = 0;
		return copyout(t, arg, &v, 4);
	case TCFLSH:
		if (arg != 1)
			y->in_n = y->lines = y->edit = 0;
		if (arg != 0)
			y->out_n = 0;
		return 0;
	case TCSBRK: case TCSBRKP: case TCXONC: case TIOCEXCL: case TIOCNXCL: return 0;
	case TIOCPKT: return 0;
	case TIOCSTI: return -EIO;
	case TIOCGPTPEER: {
		struct file *s;
		rc = tty_open_slave(t, y, (unsigned)arg, &s);
		return rc ? rc : fd_give(t, s, (unsigned)arg);
	}
	case TIOCGPGRP:
		if (master) {
			v = y->fg;
			return copyout(t, arg, &v, 4);
		}
	}
	return job_ioctl(t, y, cmd, arg);
}

static void master_release(struct file *f)
{
	struct tty *y = f->priv;
	if (--y->masters == 0) {
		signal_fg(y, SIGHUP);
		signal_fg(y, SIGCONT);
		if (y->session)
			y->session->tty = NULL;
		y->session = NULL;
		y->fg = 0;
		waitq_wake(&y->slave_wq, 0);
		if (ptys[y->index] == y)
			ptys[y->index] = NULL;
	}
	tty_put(y);
}

static void slave_release(struct file *f)
{
	struct tty *y = f->priv;
	if (--y->slaves == 0)
		waitq_wake(&y->master_wq, 0);
	tty_put(y);
}

static const struct file_ops master_ops = { .read = master_read, .write = master_write, .poll = master_poll, .ioctl = tty_ioctl, .release = master_release };
static const struct file_ops slave_ops = { .read = slave_read, .write = slave_write, .poll = slave_poll, .ioctl = tty_ioctl, .release = slave_release };

/* ---- opening -------------------------------------------------------------------------------------------------------------------- */

int ptmx_open(struct task *t, struct inode *i, struct file *f)
{
	int n = 0;
	(void)i;
	while (n < PTY_MAX && ptys[n])
		n++;
	struct tty *y = n < PTY_MAX ? calloc(1, sizeof(*y)) : NULL;
	if (!y)
		return -ENOSPC;
	y->refs = 1;
	y->index = n;
	y->masters = 1;
	y->locked = true;
	y->tio.t = default_tio;
	y->uid = t->cred->fsuid;
	y->gid = 5;
	waitq_init(&y->slave_wq);
	waitq_init(&y->master_wq);
	ptys[n] = y;
	f->ops = &master_ops;
	f->priv = y;
	f->stream = true;
	return 0;
}

int pty_open_slave(struct task *t, struct tty *y, struct file *f)
{
	struct process *p = t->proc;
	if (y->locked || !y->masters)
		return -EIO;
	y->refs++;
	y->slaves++;
	y->slave_inode = f->inode; /* "was opened once": not dereferenced */
	f->ops = &slave_ops;
	f->priv = y;
	f->stream = true;
	if (!(f->flags & O_NOCTTY) && !f->noctty && p->pgrp->session->sid == p->pid && !p->pgrp->session->tty && !y->session)
		set_controlling(y, p);
	return 0;
}

int pts_open(struct task *t, unsigned n, struct file *f)
{
	return n < PTY_MAX && ptys[n] ? pty_open_slave(t, ptys[n], f) : -ENXIO;
}

int tty_open_current(struct task *t, struct inode *i, struct file *f)
{
	struct tty *y = t->proc->pgrp->session->tty;
	(void)i;
	if (!y)
		return -ENXIO;
	if (y->index >= 0)
		return pty_open_slave(t, y, f);
	return hosttty_reopen(y->host, f);
}

int tty_open_console(struct task *t, struct inode *i, struct file *f)
{
	(void)t, (void)i;
	return host_tty ? hosttty_reopen(host_tty->host, f) : -ENXIO;
}

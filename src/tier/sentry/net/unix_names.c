/* Unix sockets: addresses, connections. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/net/unix.h"
#include "tier/sentry/task/task.h"

enum { BACKLOG_MAX = 4096 };
static struct list abstract = LIST_INIT(abstract);

/* ---- names ------------------------------------------------------------------------------------------------------------- */

static int path_in(const struct sockaddr_storage *a, socklen_t len, char buf[110])
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)a;
	if (len > sizeof(*un) || len < offsetof(struct sockaddr_un, sun_path) + 1 || un->sun_family != AF_UNIX)
		return -EINVAL;
	size_t n = len - offsetof(struct sockaddr_un, sun_path);
	memcpy(buf, un->sun_path, n);
	buf[n] = 0;
	return 0;
}

static struct unix_sock *find_abstract(const struct sockaddr_storage *a, socklen_t len)
{
	struct unix_sock *u;
	list_for_each(u, &abstract, abstract)
		if (u->name_len == len && memcmp(&u->name, a, len) == 0)
			return u;
	return NULL;
}

static int bind_path(struct task *t, struct unix_sock *u, const char *path)
{
	struct path dir;
	char last[256];
	bool slash;
	struct inode *i;
	struct dentry *d;
	int rc = path_parent(t, NULL, path, 0, &dir, last, &slash);
	if (rc)
		return rc;
	if (!*last || (rc = dentry_lookup(dir.d, last, &d)) == 0) {
		if (*last)
			dentry_put(d);
		path_put(&dir);
		return -EADDRINUSE;
	}
	if (rc == -ENOENT && (rc = mnt_want_write(&dir)) == 0 && (rc = inode_permission(t, dir.d->inode, 3)) == 0)
		rc = dir.d->inode->ops->mknod ? dir.d->inode->ops->mknod(t, dir.d->inode, last, S_IFSOCK | (0777 & ~t->fs->umask), 0, &i) : -EPERM;
	if (!rc) {
		d = dentry_add(dir.d, last, i);
		if (d) {
			u->inode = inode_get(d->inode);
			u->inode->sock = u;
			dentry_put(d);
		}
	}
	path_put(&dir);
	return rc;
}

int u_bind(struct task *t, struct sock *s, const struct sockaddr_storage *a, socklen_t len)
{
	struct unix_sock *u = unix_of(s);
	char path[110];
	if (len == 2 && a->ss_family == AF_UNIX) { /* autobind: five hex digits */
		static unsigned next;
		struct sockaddr_storage x = { .ss_family = AF_UNIX };
		char *p = ((struct sockaddr_un *)&x)->sun_path + 1;
		if (u->name_len)
			return 0;
		do
			snprintf(p, 8, "%05x", next++ & 0xfffff);
		while (find_abstract(&x, 8));
		return u_bind(t, s, &x, 8);
	}
	int rc = path_in(a, len, path);
	if (rc)
		return rc;
	if (u->name_len)
		return -EINVAL;
	if (!*path) {
		if (find_abstract(a, len))
			return -EADDRINUSE;
		list_add(&abstract, &u->abstract);
	} else if ((rc = bind_path(t, u, path)) < 0) {
		return rc;
	}
	memcpy(&u->name, a, len);
	u->name_len = *path ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1) : len;
	return 0;
}

int unix_find(struct task *t, const struct sockaddr_storage *a, socklen_t len, int type, struct unix_sock **ret)
{
	char path[110];
	struct path p;
	struct unix_sock *u;
	int rc = path_in(a, len, path);
	if (rc)
		return rc;
	if (!*path) {
		u = find_abstract(a, len);
		if (!u)
			return -ECONNREFUSED;
	} else {
		if ((rc = path_walk(t, NULL, path, WALK_FOLLOW, &p)) < 0)
			return rc;
		rc = inode_permission(t, p.d->inode, 2);
		u = p.d->inode->sock;
		path_put(&p);
		if (rc)
			return rc;
		if (!u)
			return -ECONNREFUSED;
	}
	if (u->type != type)
		return -EPROTOTYPE;
	*ret = u;
	return 0;
}

/* ---- connections --------------------------------------------------------------------------------------------------------- */

int u_listen(struct task *t, struct sock *s, int backlog)
{
	struct unix_sock *u = unix_of(s);
	if (u->type == SOCK_DGRAM)
		return -EOPNOTSUPP;
	if (!u->name_len || u->connected)
		return -EINVAL;
	u->listening = true;
	u->backlog_max = backlog < 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : (unsigned)backlog;
	u->cred = unix_cred(t);
	return 0;
}

void unix_disconnect(struct unix_sock *u)
{
	struct unix_sock *p = u->peer;
	if (!p)
		return;
	u->peer = NULL;
	unix_put(p);
}

int u_connect(struct task *t, struct sock *s, struct file *f, const struct sockaddr_storage *a, socklen_t len)
{
	struct unix_sock *u = unix_of(s), *to = NULL;
	int64_t deadline = 0;
	int rc;
	if (u->type == SOCK_DGRAM) {
		if (a->ss_family == AF_UNSPEC) {
			unix_disconnect(u);
			u->connected = false;
			return 0;
		}
		if ((rc = unix_find(t, a, len, u->type, &to)) < 0)
			return rc;
		unix_disconnect(u);
		u->peer = to;
		to->refs++;
		u->connected = true;
		return 0;
	}
	for (;;) {
		if (u->connected)
			return -EISCONN;
		if (u->listening)
			return -EINVAL;
		if ((rc = unix_find(t, a, len, u->type, &to)) < 0)
			return rc;
		if (!to->listening)
			return -ECONNREFUSED;
		if (to->n_backlog <= to->backlog_max)
			break;
		struct sock *ls = to->s;
		if ((rc = sock_wait(t, ls, f, 0, true, &deadline)) < 0)
			return rc;
	}
	struct unix_sock *e = unix_new(t, u->type);
	if (!e)
		return -ENOMEM;
	e->cred = to->cred;
	e->name = to->name;
	e->name_len = to->name_len;
	u->cred = unix_cred(t);
	unix_join(u, e);
	list_add_tail(&to->backlog, &e->pending_node);
	to->n_backlog++;
	unix_wake(to, POLLIN | POLLRDNORM);
	unix_wake(u, POLLOUT | POLLWRNORM);
	return 0;
}

int u_accept(struct task *t, struct sock *s, struct file *f, struct sock **ret)
{
	struct unix_sock *u = unix_of(s);
	int64_t deadline = 0;
	if (u->type == SOCK_DGRAM)
		return -EOPNOTSUPP;
	if (!u->listening)
		return -EINVAL;
	while (list_empty(&u->backlog)) {
		if (u->rd_shut)
			return -EINVAL;
		int rc = sock_wait(t, s, f, 0, false, &deadline);
		if (rc)
			return rc;
	}
	struct unix_sock *e = list_first(&u->backlog, struct unix_sock, pending_node);
	list_del(&e->pending_node);
	u->n_backlog--;
	unix_wake(u, POLLOUT);
	if (!(*ret = unix_attach(e)))
		return -ENOMEM;
	return 0;
}

int u_name(struct sock *s, bool peer, struct sockaddr_storage *a, socklen_t *len)
{
	const struct unix_sock *u = unix_of(s);
	if (peer && !(u = u->peer))
		return -ENOTCONN;
	memset(a, 0, sizeof(*a));
	a->ss_family = AF_UNIX;
	*len = 2;
	if (u->name_len) {
		memcpy(a, &u->name, u->name_len);
		*len = u->name_len;
	}
	return 0;
}

/* Unix sockets inside the room: unix.c (data) and unix_names.c (addresses, connections). */
#ifndef TIERCE_SENTRY_UNIX_H
#define TIERCE_SENTRY_UNIX_H

#include <sys/un.h>

#include "tier/sentry/net/socket.h"

struct packet {
	struct list node;
	struct file **fds;
	unsigned n_fds;
	struct sock_cred cred;
	struct sockaddr_un from;
	socklen_t from_len;
	size_t len, off;
	uint8_t data[];
};

enum { UNIX_REUSE = 1, UNIX_KEEP = 2 };
struct unix_sock {
	unsigned refs;
	struct list every;          /* all of them: /proc/net/unix */
	struct sock *s;             /* NULL once closed */
	int type;
	struct unix_sock *peer;     /* referenced */
	struct list queue;
	size_t queued;
	struct list backlog, pending_node; /* listener: embryos; embryo: its place there */
	unsigned n_backlog, backlog_max;
	bool listening, connected, rd_shut, wr_shut, peer_closed;
	int error;
	int sndbuf, rcvbuf, linger[2]; /* socket options; the queue's bound is RCVBUF */
	unsigned flags;             /* UNIX_REUSE ... */
	struct sockaddr_un name;
	socklen_t name_len;
	struct inode *inode;        /* bound by path */
	struct list abstract;
	struct sock_cred cred;      /* of the creator, listener or connector: SO_PEERCRED */
	struct waitq *wq;           /* of s, or of the embryo before accept */
	struct waitq own_wq;
};

struct unix_sock *unix_of(struct sock *s);
struct sock_cred unix_cred(const struct task *t);
struct unix_sock *unix_new(struct task *t, int type);
void unix_put(struct unix_sock *u);
void packet_free(struct packet *p);
void unix_wake(struct unix_sock *u, unsigned ev);
struct sock *unix_attach(struct unix_sock *u);
void unix_join(struct unix_sock *a, struct unix_sock *b);
/* The socket that an address names, of this type and writable for t; referenced. */
int unix_find(struct task *t, const struct sockaddr_storage *a, socklen_t len, int type, struct unix_sock **ret);
void unix_disconnect(struct unix_sock *u);
int u_bind(struct task *t, struct sock *s, const struct sockaddr_storage *a, socklen_t len);
int u_listen(struct task *t, struct sock *s, int backlog);
int u_connect(struct task *t, struct sock *s, struct file *f, const struct sockaddr_storage *a, socklen_t len);
int u_accept(struct task *t, struct sock *s, struct file *f, struct sock **ret);
int u_name(struct sock *s, bool peer, struct sockaddr_storage *a, socklen_t *len);

#endif

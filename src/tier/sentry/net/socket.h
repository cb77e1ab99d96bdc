/* Sockets: one file type, a table of operations per family. */
#ifndef TIERCE_SENTRY_SOCKET_H
#define TIERCE_SENTRY_SOCKET_H

#include <sys/socket.h>

#include "tier/sentry/vfs/vfs.h"

enum { SOCK_FDS_MAX = 253 /* SCM_MAX_FD of Linux */, SOCK_OPT_MAX = 4096, SOCK_CONTROL_MAX = 16384 };

struct sock_cred { int32_t pid; uint32_t uid, gid; };

/* One message on its way: data in u, the rest here. */
struct smsg {
	struct uio *u;
	struct sockaddr_storage name;
	socklen_t name_len;       /* send: given; receive: filled in */
	unsigned flags;           /* MSG_* */
	unsigned out_flags;       /* receive: MSG_TRUNC, MSG_EOR, MSG_CTRUNC ... */
	struct file **fds;        /* send: borrowed list; receive: references, owned by the message's end */
	unsigned n_fds;
	bool has_cred, give_cred; /* give_cred: the receiver wants SCM_CREDENTIALS */
	struct sock_cred cred;
	uint8_t *control;         /* host sockets: raw control data */
	size_t control_len, control_cap;
};

struct sock;
struct sock_ops {
	int (*bind)(struct task *t, struct sock *s, const struct sockaddr_storage *a, socklen_t len);
	int (*connect)(struct task *t, struct sock *s, struct file *f, const struct sockaddr_storage *a, socklen_t len);
	int (*listen)(struct task *t, struct sock *s, int backlog);
	int (*accept)(struct task *t, struct sock *s, struct file *f, struct sock **ret);
	int (*name)(struct sock *s, bool peer, struct sockaddr_storage *a, socklen_t *len);
	ssize_t (*send)(struct task *t, struct sock *s, struct file *f, struct smsg *m);
	ssize_t (*recv)(struct task *t, struct sock *s, struct file *f, struct smsg *m);
	int (*shutdown)(struct sock *s, int how);
	int (*setopt)(struct task *t, struct sock *s, int level, int name, const void *val, socklen_t len);
	int (*getopt)(struct task *t, struct sock *s, int level, int name, void *val, socklen_t *len); /* len: in capacity, out length */
	unsigned (*poll)(struct sock *s, struct poll_table *pt);
	long (*ioctl)(struct task *t, struct sock *s, unsigned cmd, uint64_t arg);
	void (*release)(struct sock *s);
};

struct sock {
	const struct sock_ops *ops;
	int domain, type, protocol;
	struct waitq wq;
	int64_t rcvtimeo, sndtimeo; /* ns, 0: none */
	bool passcred;
	uint64_t ino;               /* of its file */
	void *priv;
};

struct sock *sock_new(int domain, int type, int protocol, const struct sock_ops *ops, void *priv);
/* File for a socket; takes it even on failure. */
struct file *sock_file(struct task *t, struct sock *s, unsigned flags);
struct sock *file_sock(struct file *f); /* NULL: no socket */
/* Sleep on s->wq, with the direction's timeout: 0 look again, -EAGAIN (timeout or O_NONBLOCK/MSG_DONTWAIT), -ERESTARTSYS. deadline is kept by the caller, 0 at first. */
int sock_wait(struct task *t, struct sock *s, struct file *f, unsigned msg_flags, bool send, int64_t *deadline);

struct strbuf;
int unix_list(struct strbuf *b); /* /proc/net/unix */
int unix_socket(struct task *t, int type, int protocol, struct sock **ret);
int unix_pair(struct task *t, int type, struct sock *ret[2]);
int host_socket(struct task *t, int domain, int type, int protocol, struct sock **ret);

#endif

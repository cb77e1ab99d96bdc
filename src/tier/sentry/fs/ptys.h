/* Between tty.c (line discipline) and devpts.c (names): the table of pseudo terminals. */
#ifndef TIERCE_SENTRY_PTYS_H
#define TIERCE_SENTRY_PTYS_H

#include <asm/termbits.h>
#include <sys/ioctl.h>

#include "tier/sentry/fs/tty.h"

enum { PTY_MAX = 4096, LINE_MAX_ = 4096, OUT_MAX = 65536 };

struct tty {
	unsigned refs;
	int index;                 /* pts number, -1: host terminal */
	struct session *session;   /* whose controlling terminal it is; not referenced: session_gone clears it */
	int fg;                    /* foreground process group, 0: none */
	struct ktermios_ { struct termios2 t; } tio;
	struct winsize ws;
	bool locked, packet;
	unsigned masters, slaves;
	char in[LINE_MAX_], out[OUT_MAX]; /* to the slave's readers; to the master's */
	size_t in_n, lines, edit, out_n;  /* lines: bytes of complete lines (canonical mode); edit: bytes being edited behind them */
	struct waitq slave_wq, master_wq;
	struct file *host;         /* host terminal's file, not referenced */
	struct inode *slave_inode;
	uint32_t uid, gid;
};
extern struct tty *ptys[PTY_MAX];
int pty_open_slave(struct task *t, struct tty *y, struct file *f);

#endif

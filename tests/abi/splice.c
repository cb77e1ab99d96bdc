/* splice, tee, vmsplice, copy_file_range, inotify. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static void show_events(int fd)
{
	char buf[8192] __attribute__((aligned(8)));
	ssize_t n = read(fd, buf, sizeof(buf));
	if (n < 0) {
		printf("read %s\n", strerrorname_np(errno));
		return;
	}
	for (ssize_t at = 0; at < n;) {
		struct inotify_event *e = (void *)(buf + at);
		printf("  wd %d mask %#x cookie %d %s\n", e->wd, e->mask, e->cookie != 0, e->len ? e->name : "-");
		at += (ssize_t)sizeof(*e) + e->len;
	}
}

int main(void)
{
	char a[] = "/tmp/abi-spliceXXXXXX", b[] = "/tmp/abi-spliceXXXXXX", buf[64] = "";
	int fa = mkstemp(a), fb = mkstemp(b), p[2], q[2];
	loff_t off = 2, out = 0;
	pipe(p);
	pipe(q);
	write(fa, "0123456789", 10);
	SHOW(splice(fa, &off, p[1], NULL, 5, 0));
	printf("off %ld\n", (long)off);
	SHOW(tee(p[0], q[1], 3, 0));
	SHOW(read(q[0], buf, sizeof(buf)));
	printf("%.3s\n", buf);
	SHOW(splice(p[0], NULL, fb, &out, 64, SPLICE_F_NONBLOCK));
	printf("out %ld\n", (long)out);
	SHOW(pread(fb, buf, 64, 0));
	printf("%.5s\n", buf);
	SHOW(splice(p[0], NULL, fb, NULL, 1, SPLICE_F_NONBLOCK));
	SHOW(splice(fa, NULL, fb, NULL, 1, 0));
	SHOW(splice(p[0], &off, fb, NULL, 1, 0));
	SHOW(splice(p[0], NULL, p[1], NULL, 1, 0));
	SHOW(splice(-1, NULL, p[1], NULL, 1, 0));
	SHOW(splice(fa, NULL, p[1], NULL, 0, 0));
	struct iovec v[2] = { { "abc", 3 }, { "de", 2 } };
	SHOW(vmsplice(p[1], v, 2, 0));
	SHOW(read(p[0], buf, 64));
	printf("%.5s\n", buf);
	off = 0;
	out = 20;
	SHOW(copy_file_range(fa, &off, fb, &out, 100, 0));
	printf("off %ld out %ld\n", (long)off, (long)out);
	SHOW(copy_file_range(fa, NULL, p[1], NULL, 1, 0));
	SHOW(copy_file_range(fa, NULL, fb, NULL, 1, 1));
	SHOW(lseek(fa, 0, SEEK_SET));
	SHOW(copy_file_range(fa, NULL, fb, NULL, 4, 0));
	SHOW(lseek(fa, 0, SEEK_CUR));
	SHOW(readahead(fa, 0, 100));
	SHOW(sync_file_range(fa, 0, 10, 2));
	SHOW(sync_file_range(p[0], 0, 10, 2));

	char dir[] = "/tmp/abi-inotifyXXXXXX", f[64], g[64];
	mkdtemp(dir);
	sprintf(f, "%s/f", dir);
	sprintf(g, "%s/g", dir);
	int in = inotify_init1(IN_NONBLOCK), n = 0;
	SHOW(inotify_add_watch(in, dir, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF));
	show_events(in);
	close(open(f, O_CREAT | O_WRONLY, 0600));
	SHOW(inotify_add_watch(in, f, IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF));
	int w = open(f, O_WRONLY);
	write(w, "x", 1);
	write(w, "y", 1);
	close(w);
	chmod(f, 0644);
	rename(f, g);
	SHOW(ioctl(in, FIONREAD, &n));
	show_events(in);
	unlink(g);
	show_events(in);
	SHOW(inotify_add_watch(in, "/nonexistent", IN_CREATE));
	SHOW(inotify_add_watch(in, dir, 0));
	SHOW(inotify_rm_watch(in, 77));
	SHOW(inotify_rm_watch(in, 1));
	show_events(in);
	SHOW(inotify_add_watch(fa, dir, IN_CREATE));
	SHOW(inotify_init1(77));
	rmdir(dir);
	unlink(a);
	unlink(b);
	return 0;
}

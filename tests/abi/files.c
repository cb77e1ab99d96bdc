/* Files and directories below a temporary directory: results and errors. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define T(expr) do { errno = 0; long r_ = (long)(expr); printf("%-44s %ld %s\n", #expr, r_ < 0 ? -1 : r_, r_ < 0 ? strerror(errno) : "-"); } while (0)

int main(void)
{
	char dir[] = "/tmp/abi.XXXXXX", buf[64] = "";
	struct stat st;
	setvbuf(stdout, NULL, _IONBF, 0);
	umask(022);
	if (!mkdtemp(dir) || chdir(dir))
		return 1;
	T(mkdir("d", 0777));
	T(mkdir("d", 0777));
	T(mkdir("x/y", 0777));
	T(mkdir("d/", 0777));
	T(rmdir("."));
	T(unlink("d"));
	T(rmdir("nothing"));
	int fd = open("f", O_CREAT | O_RDWR | O_EXCL, 0666);
	printf("open %d\n", fd >= 0);
	T(open("f", O_CREAT | O_EXCL, 0666));
	T(open("f/", O_RDONLY));
	T(open("f", O_RDONLY | O_DIRECTORY));
	T(open("d", O_WRONLY));
	T(write(fd, "hello world", 11));
	T(lseek(fd, 6, SEEK_SET));
	T(read(fd, buf, 64));
	printf("%s\n", buf);
	T(pread(fd, buf, 5, 0));
	T(pwrite(fd, "J", 1, 0));
	T(ftruncate(fd, 100000));
	T(lseek(fd, 0, SEEK_END));
	T(lseek(fd, -1, SEEK_SET));
	T(lseek(fd, 0, 99));
	T(fstat(fd, &st));
	printf("mode %o size %ld nlink %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
	T(link("f", "g"));
	T(stat("g", &st));
	printf("nlink %ld\n", (long)st.st_nlink);
	T(symlink("f", "s"));
	T(readlink("s", buf, 64));
	T(readlink("f", buf, 64));
	T(lstat("s", &st));
	printf("link %d size %ld\n", S_ISLNK(st.st_mode), (long)st.st_size);
	T(symlink("loop", "loop"));
	T(open("loop", O_RDONLY));
	T(open("s", O_RDONLY | O_NOFOLLOW));
	T(rename("f", "d/f2"));
	T(rename("d", "d/sub"));
	T(rename("d", "g"));
	T(rename("g", "d"));
	T(rmdir("d"));
	T(access("d/f2", R_OK));
	T(access("none", F_OK));
	T(chmod("d/f2", 0640));
	T(stat("d/f2", &st));
	printf("mode %o\n", st.st_mode);
	T(mkfifo("p", 0600));
	T(open("p", O_WRONLY | O_NONBLOCK));
	T(open("", O_RDONLY));
	struct iovec iov[3] = { { buf, 3 }, { NULL, 0 }, { buf + 10, 4 } };
	lseek(fd, 0, SEEK_SET);
	T(readv(fd, iov, 3));
	T(read(fd, (void *)1, 4));
	T(write(99, "x", 1));
	T(close(99));
	char *m = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	printf("map %.5s\n", m);
	memcpy(m + 4096, "mapped", 6);
	T(pread(fd, buf, 6, 4096));
	printf("%.6s\n", buf);
	m[4096] = 'M';
	T(munmap(m, 100000));
	T(fcntl(fd, F_GETFL) & O_ACCMODE);
	T(fcntl(fd, F_DUPFD, 50));
	T(dup2(fd, 60));
	T(dup2(98, 60));
	T(fcntl(60, F_GETFD));
	T(fsync(fd));
	T(fallocate(fd, 0, 0, 200000));
	T(fstat(fd, &st));
	printf("size %ld\n", (long)st.st_size);
	DIR *d = opendir(".");
	int n = 0;
	while (readdir(d))
		n++;
	closedir(d);
	printf("entries %d\n", n);
	T(chdir("f"));
	T(chdir("nothing"));
	int dd = open("d", O_RDONLY | O_DIRECTORY);
	T(openat(dd, "f2", O_RDONLY) >= 0);
	T(openat(fd, "f2", O_RDONLY));
	T(unlinkat(dd, "f2", 0));
	T(unlinkat(dd, "f2", 0));
	T(truncate("g", 5));
	T(truncate("d", 5));
	T(umask(077));
	return 0;
}

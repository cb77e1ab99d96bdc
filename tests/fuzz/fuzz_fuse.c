/* FUSE requests of a hostile guest: several per input, each behind a 2-byte length. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tier/vm/fuse/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static const struct { struct fuse_in_header h; struct fuse_init_in in; } init = { { .len = sizeof init, .opcode = FUSE_INIT, .unique = 1 }, { .major = 7, .minor = 31 } };
	struct strbuf out = STRBUF_INIT;
	bool reply;
	if (fd < 0) {
		char dir[] = "/tmp/tierce-fuzz-fuse.XXXXXX";
		if (!mkdtemp(dir))
			abort();
		fd = open(dir, O_PATH | O_DIRECTORY);
		mkdirat(fd, "d", 0755);
		close(openat(fd, "f", O_WRONLY | O_CREAT, 0644));
	}
	/* read-only: inputs must not depend on what earlier ones left behind, and none may fill the disk */
	struct fuse_server *s = fuse_server_new(&(struct fuse_share){ fd, true }, 1);
	if (!s || fuse_server_handle(s, &init, sizeof init, &out, &reply) < 0)
		abort();
	while (size >= 2) {
		size_t n = (size_t)data[0] | (size_t)data[1] << 8;
		data += 2;
		size -= 2;
		n = n < size ? n : size;
		uint8_t *copy = malloc(n + sizeof(struct fuse_in_header));
		memcpy(copy, data, n);
		if (n >= sizeof(struct fuse_in_header)) { /* the length is checked elsewhere: let more inputs through */
			uint32_t len = (uint32_t)n;
			memcpy(copy, &len, sizeof len);
		}
		strbuf_clear(&out);
		(void)!fuse_server_handle(s, copy, n, &out, &reply);
		free(copy);
		data += n;
		size -= n;
	}
	fuse_server_free(s);
	strbuf_free(&out);
	return 0;
}

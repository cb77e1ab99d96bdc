/* spec: a config.json to begin with. */
#include <errno.h>
#include <fcntl.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"

struct spec_cmd { const char *bundle, *config; bool rootless; };
OPTION_FITS(struct spec_cmd);
#define AT(m) offsetof(struct spec_cmd, m)
static const struct opt opts_[] = {
	{ "bundle", 'b', OPT_STRING, 0, COMPLETE_DIR, AT(bundle), "DIR", "path to the root of the bundle directory", NULL },
	{ "config", 'f', OPT_STRING, 0, COMPLETE_FILE, AT(config), "FILE", "name of the file, defaults to config.json", NULL },
	{ "rootless", 0, OPT_FLAG, 0, 0, AT(rootless), NULL, "generate a configuration for a rootless container", NULL },
};

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)cli;
	(void)argc;
	(void)argv;
	const struct spec_cmd *o = opts;
	const char *name = o->config ? o->config : "config.json";
	_cleanup_close_ int dir = open(o->bundle ? o->bundle : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "chdir %s", o->bundle);
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = oci_spec_write_default(&b, o->rootless, geteuid(), getegid());
	if (r < 0)
		return err_sys(e, r, "write specification");
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, EEXIST, "File %s exists. Remove it first", name);
	if (fd < 0)
		return err_sys(e, errno, "create %s", name);
	r = fd_write_all(fd, b.s, b.len);
	return r < 0 ? err_sys(e, r, "write %s", name) : 0;
}

const struct command cmd_spec = { "spec", "", "create a new specification file",
	"Writes config.json for a shell in rootfs/ of the bundle; an existing file is not touched.", opts_, ARRAY_SIZE(opts_), 0, 0, 0, 0, run };

/* tierce save, load, import */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cmd/tierce/people/commands.h"
#include "store/edit.h"
#include "store/push.h"

struct save_options {
	const char *output, *format;
	bool quiet, compress, multi;
};

static const struct opt save_opts_table[] = {
	{ "output", 'o', OPT_STRING, 0, COMPLETE_FILE, offsetof(struct save_options, output), "FILE", "where to write, defaults to standard output", NULL },
	{ "format", 0, OPT_STRING, 0, COMPLETE_WORDS, offsetof(struct save_options, format), "docker-archive|oci-archive|oci-dir", "kind of archive, defaults to docker-archive", NULL },
	{ "compress", 0, OPT_FLAG, 0, 0, offsetof(struct save_options, compress), NULL, "pack layers (oci formats)", NULL },
	{ "multi-image-archive", 'm', OPT_FLAG, OPT_ACCEPTED, 0, offsetof(struct save_options, multi), NULL, "several images are always allowed", NULL },
	{ "quiet", 'q', OPT_FLAG, 0, 0, offsetof(struct save_options, quiet), NULL, "say nothing", NULL },
};

static int save(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	static const struct {
		const char *word;
		enum archive_format format;
	} formats[] = { { "docker-archive", ARCHIVE_DOCKER }, { "oci-archive", ARCHIVE_OCI }, { "oci-dir", ARCHIVE_OCI_DIR } };
	const struct save_options *o = opts;
	struct save_opts so = { .format = ARCHIVE_DOCKER, .compress = o->compress, .dir = o->output };
	struct store *s;
	bool found = !o->format;
	for (size_t i = 0; !found && i < ARRAY_SIZE(formats); i++)
		if (streq(formats[i].word, o->format)) {
			so.format = formats[i].format;
			found = true;
		}
	if (!found)
		return err_set(e, EINVAL, "--format %s: want docker-archive, oci-archive or oci-dir", o->format);
	if (so.format == ARCHIVE_OCI_DIR && !o->output)
		return err_set(e, EINVAL, "--format oci-dir: name the folder with --output");
	if (!o->output && isatty(1))
		return err_set(e, EINVAL, "an archive does not go to a terminal: use --output or a pipe");
	int r = cli_store(cli, &s, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = so.format == ARCHIVE_OCI_DIR ? -EBADF : !o->output ? fcntl(1, F_DUPFD_CLOEXEC, 3)
		: open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 && so.format != ARCHIVE_OCI_DIR)
		return err_sys(e, errno, "%s", o->output ? o->output : "standard output");
	r = store_save(s, argv, (size_t)argc, fd, &so, e);
	struct stat st;
	if (r < 0 && o->output && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		unlink(o->output); /* half an archive helps nobody */
	for (int i = 0; r >= 0 && i < argc; i++)
		image_event(cli, "save", argv[i], o->output ? o->output : "-");
	return r;
}

struct load_options {
	const char *input;
	bool quiet;
};

static const struct opt load_opts[] = {
	{ "input", 'i', OPT_STRING, 0, COMPLETE_FILE, offsetof(struct load_options, input), "FILE", "archive or OCI folder, defaults to standard input", NULL },
	{ "quiet", 'q', OPT_FLAG, 0, 0, offsetof(struct load_options, quiet), NULL, "say nothing", NULL },
};

static int loaded(void *ctx, const char *name, const char *id) {
	const struct load_options *o = ctx;
	if (!o->quiet)
		printf("Loaded image: %s\n", name ? name : id);
	return 0;
}

static int load(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct load_options o = *(const struct load_options *)opts;
	struct store *s;
	struct stat st;
	(void)argc;
	(void)argv;
	if (!o.input && isatty(0))
		return err_set(e, EINVAL, "an archive does not come from a terminal: use --input or a pipe");
	int r = cli_store(cli, &s, e);
	if (r < 0)
		return r;
	if (o.input && stat(o.input, &st) == 0 && S_ISDIR(st.st_mode))
		return store_load(s, -EBADF, o.input, loaded, &o, e);
	_cleanup_close_ int fd = o.input ? open(o.input, O_RDONLY | O_CLOEXEC) : fcntl(0, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, errno, "%s", o.input ? o.input : "standard input");
	r = store_load(s, fd, NULL, loaded, &o, e);
	if (r >= 0)
		image_event(cli, "loadfromarchive", "", o.input ? o.input : "-");
	return r;
}

struct import_options {
	struct opt_list change;
	const char *message, *platform;
	bool quiet;
};

static const struct opt import_opts[] = {
	{ "change", 'c', OPT_LIST, 0, 0, offsetof(struct import_options, change), "INSTRUCTION", "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR", NULL },
	{ "message", 'm', OPT_STRING, 0, 0, offsetof(struct import_options, message), "TEXT", "comment in the history", NULL },
	{ "platform", 0, OPT_STRING, 0, 0, offsetof(struct import_options, platform), "OS/ARCH[/VARIANT]", "what the image is for, defaults to this machine", NULL },
	{ "quiet", 'q', OPT_FLAG, 0, 0, offsetof(struct import_options, quiet), NULL, "say nothing but the id", NULL },
};

struct import_source {
	int fd;
	uint8_t buf[256 * 1024];
};

static ssize_t import_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct import_source *in = ctx;
	ssize_t n;
	do
		n = read(in->fd, in->buf, sizeof(in->buf));
	while (n < 0 && errno == EINTR);
	*ret = in->buf;
	return n < 0 ? err_sys(e, errno, "read archive") : n;
}

static int import_open(void *ctx, struct layer_source *src, struct err *e) {
	(void)e;
	*src = (struct layer_source){ .fill = import_fill, .ctx = ctx };
	return 0;
}

static void import_close(void *ctx, bool failed) {
	(void)ctx;
	(void)failed;
}

static int import_image(struct store *s, const struct import_options *o, struct import_source *in, const char *what, const char *name, char id[DIGEST_MAX],
			struct err *e) {
	struct layer_input li = { import_open, import_close, in, NULL, NULL, NULL, NULL };
	struct layer_row row;
	struct platform pl;
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT, manifest = STRBUF_INIT;
	char **changes = NULL;
	size_t n = 0;
	int r = 0;
	platform_host(&pl);
	if (o->platform)
		r = platform_parse(o->platform, &pl, e);
	for (size_t i = 0; r >= 0 && i < o->change.n; i++)
		if (strv_push(&changes, &n, o->change.v[i]) < 0)
			r = err_set(e, ENOMEM, "out of memory");
	struct config_edit ed = { .changes = changes, .message = o->message ? o->message : what, .created_by = "tierce import", .platform = &pl };
	if (r >= 0) { /* wrong changes show before a large archive was read */
		r = config_edit(&ed, &config, e);
		strbuf_clear(&config);
	}
	if (r >= 0)
		r = store_add_layer(s, &li, &row, e);
	ed.diffid = row.diffid;
	if (r >= 0)
		r = config_edit(&ed, &config, e);
	if (r >= 0)
		r = manifest_build(config.s, config.len, &row, 1, &manifest, e);
	if (r >= 0)
		r = store_add_image(s, config.s, config.len, manifest.s, manifest.len, &row, 1, name, NULL, id, e);
	strv_free(changes);
	return r;
}

static int import(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct store *s;
	char id[DIGEST_MAX], name[REF_MAX] = "";
	if (strstr(argv[0], "://"))
		return err_set(e, EOPNOTSUPP, "import takes no addresses: curl -L %s | tierce import -", argv[0]);
	int r = cli_store(cli, &s, e);
	if (r >= 0 && argc > 1)
		r = ref_local_name(argv[1], name, e);
	struct import_source *in = r < 0 ? NULL : malloc(sizeof(*in));
	if (r < 0)
		return r;
	if (!in)
		return err_set(e, ENOMEM, "out of memory");
	in->fd = streq(argv[0], "-") ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(argv[0], O_RDONLY | O_CLOEXEC);
	r = in->fd < 0 ? err_sys(e, errno, "%s", argv[0]) : import_image(s, opts, in, argv[0], name[0] ? name : NULL, id, e);
	cleanup_close(&in->fd);
	free(in);
	if (r >= 0)
		printf("%s\n", id);
	return r;
}

const struct command cmd_save = { .name = "save", .operands = "IMAGE [IMAGE...]", .summary = "Write images into an archive", OPTS(save_opts_table), .min_args = 1, .max_args = -1, .run = save };
const struct command cmd_load = { .name = "load", .operands = "", .summary = "Bring images from an archive", OPTS(load_opts), .min_args = 0, .max_args = 0, .run = load,
	.description = "Docker archives and OCI layouts (as a tar or as a folder), plain, gzip or zstd." };
const struct command cmd_import = { .name = "import", .operands = "FILE|- [NAME]", .summary = "Make an image from a tar of a root file system", OPTS(import_opts), .min_args = 1, .max_args = 2, .run = import };

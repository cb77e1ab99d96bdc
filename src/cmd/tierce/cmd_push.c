/* tierce push */
#include <errno.h>

#include "cmd/tierce/people/commands.h"
#include "cmd/tierce/remote.h"
#include "store/push.h"
#include "sys/fd.h"

#include <fcntl.h>

struct push_options {
	struct remote_options remote;
	const char *progress, *digestfile;
	uint32_t level;
	bool quiet, recompress;
};
OPTION_FITS(struct push_options);

#define AT(m) offsetof(struct push_options, m)
static const struct opt opts[] = {
	REMOTE_OPTS(struct push_options, remote),
	{ "quiet", 'q', OPT_FLAG, 0, 0, AT(quiet), NULL, "no progress", NULL },
	{ "progress", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(progress), "auto|tty|plain|json|none", "how progress is shown", NULL },
	{ "digestfile", 0, OPT_STRING, 0, COMPLETE_FILE, AT(digestfile), "FILE", "write the manifest's digest there", NULL },
	{ "compression-level", 0, OPT_U32, 0, 0, AT(level), "1-3", "of layers that are packed anew, defaults to 1", NULL },
	{ "force-compression", 0, OPT_FLAG, 0, 0, AT(recompress), NULL, "pack and send layers that the registry has", NULL },
};

static int run(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	const struct push_options *o = opts_;
	char digest[DIGEST_MAX] = "";
	struct push_opts p = { .level = o->level, .recompress = o->recompress, .ret_digest = digest };
	struct progress pr;
	struct store *s;
	if (o->level > 3)
		return err_set(e, EINVAL, "--compression-level %u: want 1 to 3", o->level);
	int r = cli_store(cli, &s, e);
	if (r >= 0)
		r = remote_setup(cli, &o->remote, &p.registry, e);
	if (r >= 0)
		r = progress_init(&pr, o->progress, o->quiet, e);
	if (r < 0)
		return r;
	p.progress.event = progress_event;
	p.progress.ctx = &pr;
	/* docker://HOST/NAME as podman's users write it */
	const char *to = argc > 1 ? argv[1] : NULL;
	if (to && str_has_prefix(to, "docker://"))
		to += strlen("docker://");
	r = store_push(s, argv[0], to, &p, e);
	progress_end(&pr);
	if (r < 0)
		return err_wrap(e, r, "push %s", argv[0]);
	image_event(cli, "push", argv[0], argc > 1 ? argv[1] : argv[0]);
	if (o->digestfile && (r = file_replace_at(AT_FDCWD, o->digestfile, digest, strlen(digest), 0644, 0)) < 0)
		return err_sys(e, r, "%s", o->digestfile);
	return 0;
}

const struct command cmd_push = { .name = "push", .operands = "IMAGE [DESTINATION]", .summary = "Send an image to a registry", OPTS(opts), .min_args = 1, .max_args = 2,
	.description = "Layers that the registry has are not sent; from another repository of the same registry they are taken over there.", .run = run };

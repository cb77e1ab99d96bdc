/* tierce pull */
#include <errno.h>
#include <malloc.h>

#include "cmd/tierce/people/commands.h"
#include "cmd/tierce/remote.h"
#include "store/http.h"
#include "store/pull.h"

struct pull_options {
	struct remote_options remote;
	const char *platform, *arch, *os, *variant, *progress, *policy;
	bool quiet, all_tags;
	uint32_t jobs;
};
OPTION_FITS(struct pull_options);

#define AT(m) offsetof(struct pull_options, m)
static const struct opt opts[] = {
	REMOTE_OPTS(struct pull_options, remote),
	{ "quiet", 'q', OPT_FLAG, 0, 0, AT(quiet), NULL, "print the image's id only", NULL },
	{ "progress", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(progress), "auto|tty|plain|json|none", "how progress is shown", NULL },
	{ "platform", 0, OPT_STRING, 0, 0, AT(platform), "OS/ARCH[/VARIANT]", "which image of an index, defaults to this machine's", NULL },
	{ "arch", 0, OPT_STRING, 0, 0, AT(arch), "ARCH", "the architecture alone", NULL },
	{ "os", 0, OPT_STRING, 0, 0, AT(os), "OS", "the operating system alone", NULL },
	{ "variant", 0, OPT_STRING, 0, 0, AT(variant), "VARIANT", "the variant alone", NULL },
	{ "policy", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(policy), "always|missing|never|newer", "when to pull, defaults to always", NULL },
	{ "jobs", 0, OPT_U32, 0, 0, AT(jobs), "N", "layers at once, defaults to 3", NULL },
	{ "all-tags", 'a', OPT_FLAG, 0, 0, AT(all_tags), NULL, "every tag of the repository", NULL },
};

static int pull_one(struct cli *cli, struct store *s, const struct pull_options *o, const char *what, struct err *e) {
	struct pull_opts p = { .platform = o->platform, .parallel = o->jobs };
	char platform[128];
	if (!o->platform && (o->arch || o->os || o->variant)) {
		struct platform here;
		platform_host(&here);
		snprintf(platform, sizeof(platform), "%.40s/%.40s%s%.40s", o->os ? o->os : here.os, o->arch ? o->arch : here.arch, o->variant ? "/" : "", o->variant ? o->variant : "");
		p.platform = platform;
	}
	struct progress pr;
	char id[DIGEST_MAX];
	struct image_row row;
	if (o->policy && !streq(o->policy, "always") && !streq(o->policy, "newer")) {
		bool never = streq(o->policy, "never");
		if (!never && !streq(o->policy, "missing"))
			return err_set(e, EINVAL, "--policy %s: want always, missing, never or newer", o->policy);
		int r = index_find(s, what, &row, NULL, e);
		if (r >= 0) {
			printf("%s\n", digest_hex(row.id));
			image_row_clear(&row);
			return 0;
		}
		if (never || r != -ENOENT)
			return r;
		err_clear(e);
	}
	int r = remote_setup(cli, &o->remote, &p.registry, e);
	if (r >= 0)
		r = progress_init(&pr, o->progress, o->quiet, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf say = STRBUF_INIT;
	strbuf_printf(&say, "Trying to pull %s...", what);
	progress_say(&pr, strbuf_str(&say));
	p.progress.event = progress_event;
	p.progress.ctx = &pr;
	r = store_pull(s, what, &p, id, e);
	progress_end(&pr);
	if (r < 0)
		return err_wrap(e, r, "pull %s", what);
	image_event(cli, "pull", digest_hex(id), what);
	printf("%s\n", digest_hex(id));
	return 0;
}

static int pull_tags(struct cli *cli, struct store *s, const struct pull_options *o, const char *what, struct err *e) {
	struct registry_opts ro = { 0 };
	struct registry *reg = NULL;
	struct ref ref;
	char **v = NULL;
	const char *last = strrchr(what, '/');
	int r = ref_parse(what, &ref, e);
	if (r >= 0 && (ref.digest[0] || strchr(last ? last : what, ':')))
		r = err_set(e, EINVAL, "pull --all-tags: %s has a tag already", what);
	if (r >= 0)
		r = remote_setup(cli, &o->remote, &ro, e);
	struct http *h = r < 0 ? NULL : http_new();
	if (r >= 0)
		r = h ? registry_open(&ro, ref.host, &reg, e) : err_set(e, ENOMEM, "out of memory");
	if (r >= 0)
		r = registry_tags(reg, h, ref.path, &v, e);
	http_free(h);
	registry_close(reg);
	for (size_t i = 0; r >= 0 && v && v[i]; i++) {
		char name[REF_MAX];
		snprintf(name, sizeof(name), "%s/%s:%.128s", ref.host, ref.path, v[i]);
		r = pull_one(cli, s, o, name, e);
	}
	strv_free(v);
	return MIN(r, 0);
}

static int run(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	const struct pull_options *o = opts_;
	struct store *s;
	/* Buffers go back to the system when they are freed, and threads share two heaps: the promise is less than 64 MB at the peak. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	mallopt(M_ARENA_MAX, 2);
	int r = cli_store(cli, &s, e);
	for (int i = 0; r >= 0 && i < argc; i++)
		r = o->all_tags ? pull_tags(cli, s, o, argv[i], e) : pull_one(cli, s, o, argv[i], e);
	return r;
}

const struct command cmd_pull = { .name = "pull", .operands = "IMAGE [IMAGE...]", .summary = "Bring images from a registry", OPTS(opts), .min_args = 1, .max_args = -1,
	.description = "IMAGE is [HOST[:PORT]/]NAME[:TAG][@DIGEST]; without a host it is looked for on docker.io, without a tag 'latest' is meant.\n"
		       "Layers are verified, unpacked and written in one go. The image's id is printed at the end.",
	.run = run };

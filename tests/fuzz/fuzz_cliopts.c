/* The option parser: any words against the tables of a few commands. */
#include "cmd/oci/opt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct values { const char *s, *t; struct opt_list l; uint32_t n; bool f, g; };
static const struct opt opts[] = {
	{ "string", 's', OPT_STRING, 0, 0, offsetof(struct values, s), "S", "", "alias" },
	{ "optional", 0, OPT_OPTSTR, 0, 0, offsetof(struct values, t), "T", "", NULL },
	{ "list", 'l', OPT_LIST, 0, 0, offsetof(struct values, l), "L", "", NULL },
	{ "number", 'n', OPT_U32, 0, 0, offsetof(struct values, n), "N", "", NULL },
	{ "flag", 'f', OPT_FLAG, 0, 0, offsetof(struct values, f), NULL, "", NULL },
	{ "other", 'g', OPT_FLAG, 0, 0, offsetof(struct values, g), NULL, "", NULL },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	enum { WORDS = 32 };
	char *argv[WORDS + 1], *text = malloc(size + 1);
	int argc = 0;
	if (!text || size == 0) {
		free(text);
		return 0;
	}
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	for (char *p = text, *end = text + size - 1; p <= end && argc < WORDS; p += strlen(p) + 1)
		argv[argc++] = p;
	argv[argc] = NULL;
	struct values v = { 0 };
	struct opt_parse p;
	struct err e = ERR_INIT;
	if (opt_parse(opts, sizeof(opts) / sizeof(opts[0]), &v, data[0] & 1, argc, argv, &p, &e) == 0)
		if (p.argc < 0 || p.argc > argc || argv[p.argc] != NULL)
			abort();
	opt_release(opts, sizeof(opts) / sizeof(opts[0]), &v);
	err_clear(&e);
	free(text);
	return 0;
}

/* --filter of images: see imagefilter.h. */
#include "cmd/tierce/imagefilter.h"

#include <errno.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "store/pull.h"
#include "store/snapshot.h"

static int has_label(struct store *s, const struct image_row *r, const char *want, struct err *e) {
	struct image_config c = { .arena = ARENA_INIT };
	size_t n = strcspn(want, "=");
	int k = image_config_load(s, r->id, &c, e), yes = 0;
	for (size_t i = 0; k >= 0 && !yes && c.label_keys && c.label_keys[i]; i++)
		yes = strlen(c.label_keys[i]) == n && strncmp(c.label_keys[i], want, n) == 0 && (!want[n] || streq(c.label_values[i], want + n + 1));
	image_config_free(&c);
	return k < 0 ? k : yes;
}

static int older(const struct image_row *r, const char *text, struct err *e) {
	uint64_t ago;
	int64_t when = parse_rfc3339(text);
	if (!when && strlen(text) == 10 && text[4] == '-') { /* a date alone */
		char whole[40];
		snprintf(whole, sizeof(whole), "%sT00:00:00Z", text);
		when = parse_rfc3339(whole);
	}
	if (!when) {
		int k = parse_duration("--filter until", text, &ago, e);
		if (k < 0)
			return k;
		when = (int64_t)time(NULL) - (int64_t)(ago / 1000000000u);
	}
	return r->created <= when;
}

int image_filter(struct store *s, const struct image_row *r, const char *filter, struct err *e) {
	if (str_has_prefix(filter, "label="))
		return has_label(s, r, filter + 6, e);
	if (str_has_prefix(filter, "label!=")) {
		int k = has_label(s, r, filter + 7, e);
		return k < 0 ? k : !k;
	}
	if (str_has_prefix(filter, "until="))
		return older(r, filter + 6, e);
	return -ENOENT;
}

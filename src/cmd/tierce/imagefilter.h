/* --filter of image lists and prunes. */
#ifndef TIERCE_CMD_TIERCE_IMAGEFILTER_H
#define TIERCE_CMD_TIERCE_IMAGEFILTER_H

#include "store/store.h"

/* "label=KEY[=VALUE]", "label!=..", "until=TIME" (a date, seconds, or a time ago such as 24h): 1 yes, 0 no, -ENOENT another key, -EINVAL. */
int image_filter(struct store *s, const struct image_row *r, const char *filter, struct err *e);

#endif

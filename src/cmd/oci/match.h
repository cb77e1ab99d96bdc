/* A small regular expression matcher. */
#ifndef TIERCE_CMD_OCI_MATCH_H
#define TIERCE_CMD_OCI_MATCH_H

#include <stdbool.h>

/* 0, or -EINVAL when the pattern is malformed. */
int match_check(const char *pattern);
/* Is the (checked) pattern found anywhere in text? A pattern that backtracks without end does not match. */
bool match(const char *pattern, const char *text);

#endif

/* Documents of `inspect`, for the commands that show them. */
#ifndef TIERCE_CMD_TIERCE_INSPECT_H
#define TIERCE_CMD_TIERCE_INSPECT_H

#include "base/err.h"
#include "base/str.h"

struct store;

/* Appends the JSON object of an image. -ENOENT when there is none. */
int image_document(struct store *s, const char *what, struct strbuf *out, unsigned indent, struct err *e);
/* A Go-like template over a JSON text: {{.A.B}}, {{json .A}}, \n and \t. A newline is added. */
int inspect_format(const char *text, size_t len, const char *template, struct strbuf *out, struct err *e);

#endif

/* The merged view of an image's layers without mounting them, and helpers over upper directories; shared by diff and commit. */
#ifndef TIERCE_STORE_LOWER_H
#define TIERCE_STORE_LOWER_H

#include "store/snapshot.h"
#include "wire/erofs_read.h"

struct lower;
int lower_open(struct store *s, const struct layer_row *layers, size_t n, struct lower **ret, struct err *e);
void lower_close(struct lower *l);
/* path without a slash in front. */
bool lower_has(const struct lower *l, const char *path, struct erofs_inode *ret);

bool upper_is_opaque(int dirfd);
int sorted_names(int dirfd, char ***ret, struct err *e);
/* The image of a container ("" for none). */
int snapshot_image(struct store *s, const char *id, char image[DIGEST_MAX], struct err *e);

#endif

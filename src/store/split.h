/* The recipe that restores a tar from an image: raw bytes, and references to files. A zstd stream of records. */
#ifndef TIERCE_STORE_SPLIT_H
#define TIERCE_STORE_SPLIT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "wire/tar.h"

struct split_writer;
struct split_writer *split_writer_new(int fd);
int split_raw(struct split_writer *w, const void *data, size_t n);
/* The payload of a file follows here; extents when sparse. */
int split_file(struct split_writer *w, uint64_t nid, uint64_t len, const struct tar_extent *ext, size_t n_ext);
int split_finish(struct split_writer *w);
void split_writer_free(struct split_writer *w);

enum split_kind { SPLIT_END, SPLIT_RAW, SPLIT_FILE };
struct split_reader;
struct split_reader *split_reader_new(int fd);
/* Next record: for SPLIT_RAW *ret_len bytes are to be fetched by split_read(); for SPLIT_FILE a piece of a file. */
int split_next(struct split_reader *r, uint64_t *ret_nid, uint64_t *ret_off, uint64_t *ret_len, struct err *e);
ssize_t split_read(struct split_reader *r, void *buf, size_t n, struct err *e);
void split_reader_free(struct split_reader *r);

#endif

/*
 * The file of an archive: written through a temporary name, compressed or not,
 * hashed before compression; and read back.
 */
#ifndef ENGINE_ARCHIVE_IO_H
#define ENGINE_ARCHIVE_IO_H

#include <stddef.h>
#include <sys/types.h>

#include "base/digest.h"

struct archive_out;
int archive_out_open(const char *file, struct archive_out **ret,
		     struct error **errp);
int archive_out_write(struct archive_out *a, const void *p, size_t n,
		      struct error **errp);
/* Flush, fsync, rename. */
int archive_out_commit(struct archive_out *a, struct digest *ret_tar,
		       struct error **errp);
/* The version of the zstd library, NULL where nothing is compressed. */
const char *archive_out_compressor(const struct archive_out *a, int *ret_level);
/* Without a commit the temporary file is removed. */
void archive_out_free(struct archive_out *a);

struct archive_in;
int archive_in_open(const char *file, struct archive_in **ret,
		    struct error **errp);
/* Count, 0 at the end. Matches tar_reader_new()'s callback. */
int archive_in_read(void *archive_in, void *buf, size_t n, struct error **errp);
void archive_in_free(struct archive_in *a);

#endif

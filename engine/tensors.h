/*
 * Where the tensors of a weight file lie: read from its header, safetensors or
 * GGUF. It says what to fetch together, and nothing else: no byte is believed
 * because of it.
 *
 * Hostile input welcome. Threads: any; a table does not change.
 */
#ifndef ENGINE_TENSORS_H
#define ENGINE_TENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TENSORS_HEAD_MAX (4u << 20) /* bytes of a header */
#define TENSORS_MAX      100000u

enum weights { WEIGHTS_NONE, WEIGHTS_SAFETENSORS, WEIGHTS_GGUF };

/* By the suffix of a file's name. */
enum weights weights_of_name(const char *name, size_t n);

/* Bytes [from, to) of the file. */
struct tensor {
	uint64_t from, to;
};

struct tensors {
	uint32_t n;
	struct tensor v[]; /* none is empty; in order, and apart */
};

/*
 * Read the header at the beginning of a file of @size bytes, of which @p has
 * the first @n. *@ret is malloc()ed.
 *
 * -EAGAIN: the header is longer; *@ret_need says how many bytes to come with,
 * more than @n and no more than @size or TENSORS_HEAD_MAX. -EBADMSG: it is no
 * such header, or says what cannot be. -EFBIG: it is longer than we read.
 * -ENOMEM.
 */
int tensors_parse(enum weights format, const void *p, size_t n, uint64_t size,
		  struct tensors **ret, size_t *ret_need, struct error **errp);

/* The number of the tensor that has byte @off, or -1. */
int64_t tensors_at(const struct tensors *t, uint64_t off);

#endif

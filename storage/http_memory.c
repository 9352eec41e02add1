/*
 * libcurl's memory. It composes requests, with their Authorization, and takes
 * answers, with their tokens, in buffers of its own, which it frees as they
 * are. What it frees is overwritten here.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/http_internal.h"

/* Heads, and documents that hold tokens, are smaller; the rest of a greater
 * buffer was never touched, or is content. */
#define WIPE_MAX ((size_t)64 << 10)

static void wipe_and_free(void *p)
{
	if (p)
		explicit_bzero(p, MIN(malloc_usable_size(p), WIPE_MAX));
	free(p);
}

/* realloc() would leave a copy where it was. */
static void *grow(void *p, size_t size)
{
	size_t had = p ? malloc_usable_size(p) : 0;
	void *more = malloc(size);

	if (!more)
		return NULL;
	if (p)
		memcpy(more, p, MIN(had, size));
	wipe_and_free(p);
	return more;
}

void http_memory_init(void)
{
	curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, grow,
			     strdup, calloc);
}

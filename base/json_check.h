/*
 * The strict front of base/json.h, for json.c alone: one pass over the bytes
 * that accepts RFC 8259 and nothing more, before cJSON builds the tree.
 */
#ifndef BASE_JSON_CHECK_H
#define BASE_JSON_CHECK_H

#include <stddef.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/json.h"

/* Where the numbers of a document stand, in document order. */
struct json_numbers {
	struct json_number {
		const char *p; /* into the text */
		size_t n;
	} * v;
	size_t n, cap;
};

static inline void json_numbers_release(struct json_numbers *numbers)
{
	free(numbers->v);
}
#define cleanup_json_numbers __attribute__((cleanup(json_numbers_release)))

/* 0 or -EINVAL; @numbers is empty on entry and the caller's in either case. */
int json_check(const char *s, size_t n, const struct json_limits *lim,
	       struct json_numbers *numbers, struct error **errp);

#endif

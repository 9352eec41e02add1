/*
 * What the tests of object stores share: a store with its clients, and the
 * cases that are not in the suite since they need a store's own sizes and keys.
 */
#ifndef TESTS_STORES_H
#define TESTS_STORES_H

#include "storage/http.h"
#include "tests/conformance/conformance.h"

/* Parts are made from this size on, and are this big. */
#define STORES_WHOLE_MAX ((uint64_t)8 << 20)
#define STORES_PART_SIZE ((uint64_t)5 << 20)

extern const struct retry_times stores_times;

struct store_stack {
	struct http_client *client, *metadata;
	struct object_store *store;
};
/* The clients; the test makes the store. @ca may be NULL. */
void store_stack_open(struct store_stack *st, const char *ca);
void store_stack_close(struct store_stack *st);

/* With the text of a URI. */
int store_stat(struct store_stack *st, const char *uri, struct object_info *ret,
	       struct error **errp);
int store_put(struct store_stack *st, const char *uri, const char *p, size_t n,
	      struct error **errp);

/* Every byte that a key may have, below @base. */
void stores_take_odd_keys(struct conformance *c, struct store_stack *st,
			  const char *base);
/* Fails in the middle; the next put of the same sends only what is missing. */
void stores_go_on(struct conformance *c, struct store_stack *st,
		  const char *uri);
/* Wrong in the last byte of many parts: nothing is there. */
void stores_keep_no_wrong_parts(struct conformance *c, struct store_stack *st,
				const char *uri);
/* One stat() that ends with @want, without a canary in its message. */
void stores_check_stat(struct conformance *c, struct store_stack *st,
		       const char *uri, const char *name, int want);

#endif

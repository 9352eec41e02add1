/*
 * A secret that a store shows with its requests, fetched when first needed and
 * renewed ahead of its end: a thread of its own does that once 80 % of the
 * lifetime are over, so that no read waits for it. Secrets without an end have
 * no thread; they are fetched anew when a server refuses them, as files
 * and variables of long-lived keys change, too.
 *
 * Threads: any; who asks while one is being fetched waits for that one.
 */
#ifndef STORAGE_KEEPER_H
#define STORAGE_KEEPER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"
#include "base/op.h"

#define SECRET_NEVER_ENDS INT64_MAX

/* Immutable once handed out; counted. Members may be NULL. */
struct secret {
	atomic_uint refs;
	char *id;
	char *key;
	char *token;
	int64_t ends_s;     /* wall clock, or SECRET_NEVER_ENDS */
	const char *origin; /* static: where it came from, for messages */
};
struct secret *secret_new(void);
void secret_unref(struct secret *s);
static inline void secret_unrefp(struct secret **s)
{
	secret_unref(*s);
	*s = 0;
}
#define cleanup_secret_ref __attribute__((cleanup(secret_unrefp)))

struct keeper;

/* Fetch one: 1 with *@ret set, 0 there is none, or -errno. */
typedef int (*keeper_fetch)(void *ctx, struct secret **ret, const struct op *op,
			    struct error **errp);

/* @ctx outlives the keeper. */
struct keeper *keeper_new(keeper_fetch fetch, void *ctx);
/* Not while anyone asks; ends a fetch of the thread. */
void keeper_free(struct keeper *k);

/* 1 with a reference in *@ret, 0 none, or -errno. */
int keeper_get(struct keeper *k, struct secret **ret, const struct op *op,
	       struct error **errp);
/* A server refused @s (NULL: our having none): true when another one can be
 * had at once. */
bool keeper_replace(struct keeper *k, const struct secret *s,
		    const struct op *op);

#endif

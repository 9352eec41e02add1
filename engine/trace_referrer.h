/*
 * Traces at a registry: attached to a bundle's manifest as OCI referrers, which
 * leaves its digest as it is (docs/format.md, "Beside it").
 *
 * Threads: any.
 */
#ifndef ENGINE_TRACE_REFERRER_H
#define ENGINE_TRACE_REFERRER_H

#include "engine/bundle.h"

/* Of more, those with the smallest digests are taken. */
#define TRACES_MAX 8

/* Put trace @text, which was checked, beside manifest @subject of @repo, and
 * say which manifest it is. The same trace twice is one. */
int trace_attach(struct registry *r, const char *repo,
		 const struct descriptor *subject, const char *text, size_t n,
		 struct digest *ret, const struct op *op, struct error **errp);

/*
 * Call @fn with the text of each trace of @b, by digest: a NUL stands behind it,
 * and its digest is right, but it may be no trace. What cannot be had is passed
 * over, unless nothing can; so is what @fn calls -EINVAL or -EFBIG. Returns how
 * many @fn took, or the first failure when that is none.
 */
int trace_each_attached(struct bundle *b,
			int (*fn)(void *ctx, const char *text, size_t n,
				  struct error **errp),
			void *ctx, const struct op *op, struct error **errp);

#endif

/*
 * What a mount says about itself.
 *
 * Threads: any.
 */
#ifndef FS_REPORT_H
#define FS_REPORT_H

#include "base/json.h"
#include "base/strbuf.h"
#include "engine/prefetch.h"
#include "fs/mount.h"

/* One JSON object; stable names (docs/operations.md). */
void report_status(struct mount *m, struct strbuf *out);
/* How far a prefetch is: a member @key of an object, or, NULL, one for itself. */
void report_prefetch(const struct prefetch_report *r, const char *key,
		     struct json_writer *w);
/* The counters, in the text format of Prometheus. */
void report_metrics(struct mount *m, struct strbuf *out);
/* What `mopsfs mount --json` prints. */
void report_ready(struct mount *m, struct strbuf *out);

#endif

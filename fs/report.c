#include "fs/report.h"

#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/time.h"
#include "fs/open.h"
#include "fs/parking.h"

static void put_count(struct json_writer *w, const char *key, uint64_t v)
{
	json_put_int(w, key, (int64_t)MIN(v, (uint64_t)INT64_MAX));
}

static void put_sites(struct mount *m, struct json_writer *w)
{
	json_begin_array(w, "errors");
	for (int s = 1; s < SITE_END; s++) {
		uint64_t n = fs_errors_count(&m->errors, s);

		if (!n)
			continue;
		json_begin_object(w, NULL);
		put_count(w, "count", n);
		json_put_str(w, "name", fs_site_info(s)->name);
		json_put_int(w, "site", s);
		json_end_object(w);
	}
	json_end_array(w);
}

/* In byte order of the names. */
static void put_requests(struct mount *m, struct json_writer *w)
{
	static const enum fs_op order[] = {
		OP_GETATTR, OP_GETXATTR, OP_LISTXATTR, OP_LOOKUP,  OP_OPEN,
		OP_READ,    OP_READDIR,  OP_READLINK,  OP_REFUSED, OP_STATFS,
	};

	static_assert(ARRAY_SIZE(order) == OP_END, "each of them is named");
	json_begin_object(w, "requests");
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		put_count(w, fs_op_names[order[i]],
			  stat_get(&m->stats->ops[order[i]]));
	json_end_object(w);
}

static void put_fetch(const struct fetch_stats *f, struct json_writer *w)
{
	json_begin_object(w, "fetch");
	put_count(w, "bytes_cache", f->bytes_cache);
	put_count(w, "bytes_network", f->bytes_network);
	put_count(w, "chunks_bad", f->chunks_bad);
	put_count(w, "failures", f->failures);
	put_count(w, "hedged", f->hedged);
	put_count(w, "hedged_won", f->hedged_won);
	put_count(w, "in_flight", f->in_flight);
	put_count(w, "requests", f->requests);
	put_count(w, "tensors", f->tensors);
	put_count(w, "waits", f->waits);
	json_end_object(w);
}

static void put_filled(const struct fs_stats *s, struct json_writer *w)
{
	json_begin_object(w, "filled");
	put_count(w, "bytes", stat_get(&s->filled_bytes));
	put_count(w, "files", stat_get(&s->filled_files));
	json_end_object(w);
}

static void put_path(struct mount *m, struct json_writer *w)
{
	struct opens_report r;

	opens_get_report(m->opens, &r);
	json_begin_object(w, "data_path");
	put_count(w, "backing_ids", r.backing);
	put_count(w, "cached_opens", stat_get(&m->stats->cached_opens));
	if (r.why_not)
		json_put_str(w, "declined", r.why_not);
	json_put_str(w, "mode", r.passthrough ? "passthrough" : "cached");
	put_count(w, "passthrough_opens",
		  stat_get(&m->stats->passthrough_opens));
	json_put_str(w, "why", r.why);
	json_end_object(w);
}

static void put_worker(struct mount *m, struct json_writer *w)
{
	const struct handover_table *t = m->handover->table;

	json_begin_object(w, "worker");
	json_put_str(w, "last_end", t->last_end);
	json_put_bool(w, "resends", handover_can_resend(t));
	json_put_int(w, "restarts", t->restarts);
	json_put_bool(w, "survives", handover_can_go_on(t));
	json_end_object(w);
}

void report_prefetch(const struct prefetch_report *r, const char *key,
		     struct json_writer *w)
{
	json_begin_object(w, key);
	put_count(w, "bytes", r->bytes);
	put_count(w, "bytes_left", r->left);
	put_count(w, "files", r->files);
	put_count(w, "skipped", r->skipped);
	json_put_str(w, "state", prefetch_state_names[r->state]);
	if (*r->why)
		json_put_str(w, "why", r->why);
	json_end_object(w);
}

/* What came by prefetch, if it is asked for. */
static void put_prefetch(struct mount *m, struct json_writer *w)
{
	struct prefetch_report r;

	if (!m->prefetch)
		return;
	prefetch_look(m->prefetch, &r);
	report_prefetch(&r, "prefetch", w);
}

static void put_record(struct mount *m, struct json_writer *w)
{
	const struct record_table *t = &m->handover->table->record;

	if (!m->recorder)
		return;
	json_begin_object(w, "record");
	put_count(w, "bytes", atomic_load(&t->len));
	json_put_str(w, "file", m->options->record);
	json_put_bool(w, "full", atomic_load(&t->full));
	json_end_object(w);
}

static void put_sandbox(struct mount *m, struct json_writer *w)
{
	const struct sandbox_state *s = &m->sandbox;

	json_begin_object(w, "sandbox");
	if (s->lacks)
		json_put_str(w, "lacks", s->lacks);
	json_put_bool(w, "on", s->on);
	json_end_object(w);
}

void report_status(struct mount *m, struct strbuf *out)
{
	cleanup_free char *ref = reference_str(&m->bundle->ref);
	struct fetch_stats f;
	struct json_writer w;

	fetcher_stats(m->fetcher, &f);
	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	put_count(&w, "bytes_read", stat_get(&m->stats->bytes));
	put_path(m, &w);
	json_put_str(&w, "digest", digest_to_str(&m->bundle->digest).str);
	put_sites(m, &w);
	put_fetch(&f, &w);
	put_filled(m->stats, &w);
	put_count(&w, "interrupted", stat_get(&m->stats->interrupted));
	put_count(&w, "misses", stat_get(&m->stats->misses));
	json_put_str(&w, "mountpoint", m->mountpoint);
	put_count(&w, "parked", parking_count(m->parking));
	json_put_int(&w, "pid", getpid());
	put_prefetch(m, &w);
	put_record(m, &w);
	json_put_str(&w, "reference", ref);
	put_requests(m, &w);
	json_put_str(&w, "role", m->view->role->name);
	put_sandbox(m, &w);
	json_put_int(&w, "supervisor_pid", getppid());
	json_put_int(&w, "uptime",
		     time_wall_s() - m->handover->table->started_wall_s);
	json_put_str(&w, "version", MOPS_VERSION);
	put_worker(m, &w);
	json_end_object(&w);
}

/* @help: with the first of a name, else NULL. */
static void metric(struct strbuf *out, const char *name, const char *help,
		   const char *labels, uint64_t v)
{
	const char *end = strrchr(name, '_');

	if (help)
		strbuf_addf(out, "# HELP mopsfs_%s %s\n# TYPE mopsfs_%s %s\n",
			    name, help, name,
			    end && !strcmp(end, "_total") ? "counter"
							  : "gauge");
	strbuf_addf(out, "mopsfs_%s%s %llu\n", name, labels,
		    (unsigned long long)v);
}

static void metrics_latency(struct mount *m, struct strbuf *out)
{
	uint64_t sum = 0;

	strbuf_adds(out, "# HELP mopsfs_read_seconds From a read to its "
			 "answer.\n# TYPE mopsfs_read_seconds histogram\n");
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		sum += stat_get(&m->stats->latency[i]);
		strbuf_adds(out, "mopsfs_read_seconds_bucket{le=\"");
		if (i + 1 < LATENCY_BUCKETS)
			strbuf_addf(out, "%.6f", 16e-6 * (double)(1u << i));
		else
			strbuf_adds(out, "+Inf");
		strbuf_addf(out, "\"} %llu\n", (unsigned long long)sum);
	}
	strbuf_addf(out,
		    "mopsfs_read_seconds_sum %.6f\n"
		    "mopsfs_read_seconds_count %llu\n",
		    (double)stat_get(&m->stats->read_ns) / 1e9,
		    (unsigned long long)sum);
}

static void metrics_fetch(struct mount *m, struct strbuf *out)
{
	struct fetch_stats f;

	fetcher_stats(m->fetcher, &f);
	metric(out, "fetch_requests_total", "Requests to stores.", "",
	       f.requests);
	metric(out, "fetch_hedged_total",
	       "Of them, hedged ones: the first one stalled.", "", f.hedged);
	metric(out, "fetch_bytes_total", "Verified bytes from stores.", "",
	       f.bytes_network);
	metric(out, "fetch_bad_chunks_total", "Chunks that arrived wrong.", "",
	       f.chunks_bad);
	metric(out, "fetch_in_flight", "Runs of chunks under way.", "",
	       f.in_flight);
}

void report_metrics(struct mount *m, struct strbuf *out)
{
	const struct fs_stats *s = m->stats;
	char labels[64];

	for (int i = 0; i < OP_END; i++) {
		snprintf(labels, sizeof(labels), "{op=\"%s\"}", fs_op_names[i]);
		metric(out, "requests_total",
		       i ? NULL : "Requests of the kernel.", labels,
		       stat_get(&s->ops[i]));
	}
	for (int i = 1; i < SITE_END; i++) {
		snprintf(labels, sizeof(labels), "{site=\"%s\"}",
			 fs_site_info(i)->name);
		metric(out, "errors_total",
		       i > 1 ? NULL : "Failures, by where they happen.", labels,
		       fs_errors_count(&m->errors, i));
	}
	metric(out, "read_bytes_total", "Bytes answered to reads.", "",
	       stat_get(&s->bytes));
	metric(out, "filled_bytes_total",
	       "Bytes given to the kernel before they were read.", "",
	       stat_get(&s->filled_bytes));
	metric(out, "misses_total", "Reads that had to wait for bytes.", "",
	       stat_get(&s->misses));
	metric(out, "interrupted_total", "Waiting reads whose process died.",
	       "", stat_get(&s->interrupted));
	metric(out, "parked", "Reads that wait now.", "",
	       parking_count(m->parking));
	metrics_fetch(m, out);
	metric(out, "worker_restarts_total", "Workers that took over.", "",
	       m->handover->table->restarts);
	metrics_latency(m, out);
}

void report_ready(struct mount *m, struct strbuf *out)
{
	cleanup_free char *ref = reference_str(&m->bundle->ref);
	struct opens_report r;
	struct json_writer w;

	opens_get_report(m->opens, &r);
	json_writer_init(&w, out);
	json_begin_object(&w, NULL);
	put_count(&w, "bytes", m->bytes);
	json_put_str(&w, "data_path", r.passthrough ? "passthrough" : "cached");
	json_put_str(&w, "digest", digest_to_str(&m->bundle->digest).str);
	json_put_str(&w, "mountpoint", m->mountpoint);
	json_put_int(&w, "nodes", tree_nodes(m->tree));
	json_put_int(&w, "pid", getpid());
	json_put_str(&w, "reference", ref);
	json_put_str(&w, "role", m->view->role->name);
	json_end_object(&w);
}

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
	put_count(w, "in_flight", f->in_flight);
	put_count(w, "reissued", f->reissued);
	put_count(w, "reissued_won", f->reissued_won);
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

static void metric(struct strbuf *out, const char *name, const char *type,
		   const char *labels, uint64_t v)
{
	if (type)
		strbuf_addf(out, "# TYPE mopsfs_%s %s\n", name, type);
	strbuf_addf(out, "mopsfs_%s%s %llu\n", name, labels,
		    (unsigned long long)v);
}

static void metrics_latency(struct mount *m, struct strbuf *out)
{
	uint64_t sum = 0;

	strbuf_adds(out, "# TYPE mopsfs_read_seconds histogram\n");
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		sum += stat_get(&m->stats->latency[i]);
		if (i + 1 < LATENCY_BUCKETS)
			strbuf_addf(out,
				    "mopsfs_read_seconds_bucket{le=\"%.6f\"} "
				    "%llu\n",
				    16e-6 * (double)(1u << i),
				    (unsigned long long)sum);
		else
			strbuf_addf(out,
				    "mopsfs_read_seconds_bucket{le=\"+Inf\"} "
				    "%llu\nmopsfs_read_seconds_count %llu\n",
				    (unsigned long long)sum,
				    (unsigned long long)sum);
	}
}

void report_metrics(struct mount *m, struct strbuf *out)
{
	struct fetch_stats f;
	char labels[64];

	fetcher_stats(m->fetcher, &f);
	for (int i = 0; i < OP_END; i++) {
		snprintf(labels, sizeof(labels), "{op=\"%s\"}", fs_op_names[i]);
		metric(out, "requests_total", i ? NULL : "counter", labels,
		       stat_get(&m->stats->ops[i]));
	}
	for (int s = 1; s < SITE_END; s++) {
		snprintf(labels, sizeof(labels), "{site=\"%s\"}",
			 fs_site_info(s)->name);
		metric(out, "errors_total", s > 1 ? NULL : "counter", labels,
		       fs_errors_count(&m->errors, s));
	}
	metric(out, "read_bytes_total", "counter", "",
	       stat_get(&m->stats->bytes));
	metric(out, "filled_bytes_total", "counter", "",
	       stat_get(&m->stats->filled_bytes));
	metric(out, "misses_total", "counter", "", stat_get(&m->stats->misses));
	metric(out, "interrupted_total", "counter", "",
	       stat_get(&m->stats->interrupted));
	metric(out, "parked", "gauge", "", parking_count(m->parking));
	metric(out, "fetch_requests_total", "counter", "", f.requests);
	metric(out, "fetch_reissued_total", "counter", "", f.reissued);
	metric(out, "fetch_bytes_total", "counter", "", f.bytes_network);
	metric(out, "fetch_in_flight", "gauge", "", f.in_flight);
	metric(out, "worker_restarts_total", "counter", "",
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

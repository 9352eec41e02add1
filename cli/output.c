#include "cli/output.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/escape.h"

int output_exit_status(const struct error *err)
{
	return err ? (int)err->kind : ERROR_DOWNLOAD;
}

static void put_details(struct json_writer *w, char *const *details)
{
	json_begin_array(w, "details");
	for (; *details; details++) {
		cleanup_free char *line = escape_str(*details);

		json_put_str(w, NULL, line);
	}
	json_end_array(w);
}

static void error_json(const struct error *err, const struct error_more *more)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	cleanup_free char *message = escape_str(err->message);
	cleanup_free char *hint = err->hint ? escape_str(err->hint) : NULL;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	if (more && more->details)
		put_details(&w, more->details);
	json_put_str(&w, "error", error_kind_name(err->kind));
	json_put_int(&w, "exit_code", output_exit_status(err));
	if (more && more->findings)
		json_put_raw(&w, "findings", more->findings);
	if (hint)
		json_put_str(&w, "hint", hint);
	json_put_str(&w, "message", message);
	json_end_object(&w);
	output_json(&doc);
	fflush(stdout);
}

void output_error(const char *name, bool json, const struct error *err,
		  const struct error_more *more)
{
	if (json) {
		error_json(err, more);
		return;
	}
	print_line(stderr, "%s: %s", name, err->message);
	if (err->hint)
		print_line(stderr, "%s", err->hint);
}

void output_put_text(struct json_writer *w, const char *key, const char *text)
{
	cleanup_free char *escaped = escape_str(text);

	json_put_str(w, key, escaped);
}

#define PART (64u << 10)

/* Also what another program made: the worker of a mount may be anybody's. */
static void write_json(const struct strbuf *doc)
{
	cleanup_strbuf struct strbuf safe = STRBUF_INIT;

	escape_add_json(&safe, strbuf_str(doc), doc->len);
	fwrite(strbuf_str(&safe), 1, safe.len, stdout);
}

void output_json_part(struct strbuf *doc)
{
	if (doc->len < PART)
		return;
	write_json(doc);
	strbuf_reset(doc);
}

void output_json(const struct strbuf *doc)
{
	write_json(doc);
	fputc('\n', stdout);
}

struct size_text output_size(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB",
					    "TiB", "PiB", "EiB"};
	struct size_text t;
	double v = (double)bytes / 1024;
	size_t u = 0;

	if (bytes < 1024) {
		snprintf(t.str, sizeof(t.str), "%u B", (unsigned)bytes);
		return t;
	}
	for (; v >= 1023.95 && u + 1 < ARRAY_SIZE(units); u++)
		v /= 1024;
	snprintf(t.str, sizeof(t.str), "%.1f %s", v, units[u]);
	return t;
}

int output_flush(struct error **errp)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return error_set_errno(errp, errno ? errno : EIO,
				       "writing to standard output");
	return 0;
}

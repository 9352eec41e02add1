#include "cli/findings.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "cli/output.h"

static const char *const state_names[FINDING_STATES] = {
	[FINDING_OK] = "ok",
	[FINDING_NOTE] = "note",
	[FINDING_WARNING] = "warning",
	[FINDING_FAILED] = "failed",
};

void findings_release(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].check);
		free(f->v[i].detail);
		free(f->v[i].remedy);
	}
	free(f->v);
	*f = (struct findings){0};
}

static void add(struct findings *f, const struct finding *one)
{
	assert(!one->remedy == (one->state == FINDING_OK));
	ARRAY_GROW(f->v, f->n, f->cap);
	f->v[f->n++] = *one;
}

void finding_ok(struct findings *f, const char *check, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(f, &(struct finding){
		       .check = xstrdup(check),
		       .detail = xvasprintf(fmt, ap),
	       });
	va_end(ap);
}

void finding_bad(struct findings *f, enum finding_state state,
		 const char *check, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(f, &(struct finding){
		       .check = xstrdup(check),
		       .state = state,
		       .detail = xvasprintf(fmt, ap),
		       .remedy = xstrdup(remedy),
		       .exit_status = ERROR_DOWNLOAD,
	       });
	va_end(ap);
}

void finding_error(struct findings *f, const char *check,
		   const struct error *err, const char *remedy)
{
	finding_bad(f, FINDING_FAILED, check, err->hint ? err->hint : remedy,
		    "%s", err->message);
	f->v[f->n - 1].exit_status = output_exit_status(err);
}

size_t findings_count(const struct findings *f, enum finding_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->v[i].state == state;
	return n;
}

int findings_exit_status(const struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].state == FINDING_FAILED)
			return f->v[i].exit_status;
	return 0;
}

void findings_print(const struct findings *f, bool quiet)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *one = &f->v[i];

		if (quiet && one->state == FINDING_OK)
			continue;
		print_line(stdout, "%-7s  %-17s %s%s%s",
			   state_names[one->state], one->check, one->detail,
			   one->remedy ? "; mend: " : "",
			   one->remedy ? one->remedy : "");
	}
}

void findings_put(const struct findings *f, struct json_writer *w)
{
	json_begin_array(w, "checks");
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *one = &f->v[i];

		json_begin_object(w, NULL);
		json_put_str(w, "check", one->check);
		output_put_text(w, "detail", one->detail);
		if (one->state == FINDING_FAILED)
			json_put_int(w, "exit_code", one->exit_status);
		if (one->remedy)
			output_put_text(w, "remedy", one->remedy);
		json_put_str(w, "state", state_names[one->state]);
		json_end_object(w);
	}
	json_end_array(w);
}

void findings_print_json(const struct findings *f,
			 void (*put_more)(const void *ctx,
					  struct json_writer *w),
			 const void *ctx)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	findings_put(f, &w);
	json_put_int(&w, "failed", (int64_t)findings_count(f, FINDING_FAILED));
	if (put_more)
		put_more(ctx, &w);
	json_put_str(&w, "version", MOPS_VERSION);
	json_put_int(&w, "warnings",
		     (int64_t)findings_count(f, FINDING_WARNING));
	json_end_object(&w);
	output_json(&doc);
}

static int take_one(struct findings *f, const struct json *j,
		    struct error **errp)
{
	const char *check, *detail, *state, *remedy;
	struct finding one = {0};
	int64_t status = 0;
	int r = json_need_str(j, "check", &check, errp);

	if (r == 0)
		r = json_need_str(j, "detail", &detail, errp);
	if (r == 0)
		r = json_need_str(j, "state", &state, errp);
	if (r < 0)
		return r;
	while (one.state < FINDING_STATES &&
	       strcmp(state, state_names[one.state]))
		one.state++;
	remedy = json_str(json_get(j, "remedy"));
	json_int(json_get(j, "exit_code"), &status);
	if (one.state == FINDING_STATES ||
	    !remedy != (one.state == FINDING_OK) || status < 0 ||
	    status > 255 || !status != (one.state != FINDING_FAILED))
		return error_set(errp, EINVAL, "check '%s' makes no sense",
				 check);
	one.check = xstrdup(check);
	one.detail = xstrdup(detail);
	one.remedy = remedy ? xstrdup(remedy) : NULL;
	one.exit_status = (int)status;
	add(f, &one);
	return 0;
}

int findings_take(struct findings *f, const struct json *checks,
		  struct error **errp)
{
	int r = 0;

	for (const struct json *j = json_first(checks); j && r == 0;
	     j = json_next(j))
		r = take_one(f, j, errp);
	return r;
}

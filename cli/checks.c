#include "cli/checks.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/escape.h"
#include "cli/output.h"

static const char *const state_names[CHECK_STATES] = {
	[CHECK_OK] = "ok",
	[CHECK_NOTE] = "note",
	[CHECK_WARNING] = "warning",
	[CHECK_FAILED] = "failed",
};

void checks_release(struct checks *k)
{
	for (size_t i = 0; i < k->n; i++) {
		free(k->v[i].name);
		free(k->v[i].detail);
		free(k->v[i].remedy);
	}
	free(k->v);
	*k = (struct checks){0};
}

static void add(struct checks *k, const struct check *one)
{
	assert(!one->remedy == (one->state == CHECK_OK));
	ARRAY_GROW(k->v, k->n, k->cap);
	k->v[k->n++] = *one;
}

void check_ok(struct checks *k, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(k, &(struct check){
		       .name = xstrdup(name),
		       .detail = xvasprintf(fmt, ap),
	       });
	va_end(ap);
}

void check_bad(struct checks *k, enum check_state state, const char *name,
	       const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(k, &(struct check){
		       .name = xstrdup(name),
		       .state = state,
		       .detail = xvasprintf(fmt, ap),
		       .remedy = xstrdup(remedy),
		       .exit_status = ERROR_DOWNLOAD,
	       });
	va_end(ap);
}

void check_error(struct checks *k, const char *name, const struct error *err,
		 const char *remedy)
{
	check_bad(k, CHECK_FAILED, name, err->hint ? err->hint : remedy, "%s",
		  err->message);
	k->v[k->n - 1].exit_status = output_exit_status(err);
}

size_t checks_count(const struct checks *k, enum check_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < k->n; i++)
		n += k->v[i].state == state;
	return n;
}

int checks_exit_status(const struct checks *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].state == CHECK_FAILED)
			return k->v[i].exit_status;
	return 0;
}

void checks_print(const struct checks *k, bool quiet)
{
	for (size_t i = 0; i < k->n; i++) {
		const struct check *one = &k->v[i];

		if (quiet && one->state == CHECK_OK)
			continue;
		print_line(stdout, "%-7s  %-17s %s%s%s",
			   state_names[one->state], one->name, one->detail,
			   one->remedy ? "; mend: " : "",
			   one->remedy ? one->remedy : "");
	}
}

void checks_put(const struct checks *k, struct json_writer *w)
{
	json_begin_array(w, "checks");
	for (size_t i = 0; i < k->n; i++) {
		const struct check *one = &k->v[i];

		json_begin_object(w, NULL);
		json_put_str(w, "check", one->name);
		output_put_text(w, "detail", one->detail);
		if (one->state == CHECK_FAILED)
			json_put_int(w, "exit_code", one->exit_status);
		if (one->remedy)
			output_put_text(w, "remedy", one->remedy);
		json_put_str(w, "state", state_names[one->state]);
		json_end_object(w);
	}
	json_end_array(w);
}

void checks_print_json(const struct checks *k,
		       void (*put_more)(const void *ctx, struct json_writer *w),
		       const void *ctx)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	checks_put(k, &w);
	json_put_int(&w, "failed", (int64_t)checks_count(k, CHECK_FAILED));
	if (put_more)
		put_more(ctx, &w);
	json_put_str(&w, "version", MOPS_VERSION);
	json_put_int(&w, "warnings", (int64_t)checks_count(k, CHECK_WARNING));
	json_end_object(&w);
	output_json(&doc);
}

static int take_one(struct checks *k, const struct json *j, struct error **errp)
{
	const char *name, *detail, *state, *remedy;
	struct check one = {0};
	int64_t status = 0;
	int r = json_need_str(j, "check", &name, errp);

	if (r == 0)
		r = json_need_str(j, "detail", &detail, errp);
	if (r == 0)
		r = json_need_str(j, "state", &state, errp);
	if (r < 0)
		return r;
	while (one.state < CHECK_STATES &&
	       strcmp(state, state_names[one.state]))
		one.state++;
	remedy = json_str(json_get(j, "remedy"));
	json_int(json_get(j, "exit_code"), &status);
	if (one.state == CHECK_STATES || !remedy != (one.state == CHECK_OK) ||
	    status < 0 || status > 255 ||
	    !status != (one.state != CHECK_FAILED))
		return error_set(errp, EINVAL, "check '%s' makes no sense",
				 name);
	one.name = xstrdup(name);
	one.detail = xstrdup(detail);
	one.remedy = remedy ? xstrdup(remedy) : NULL;
	one.exit_status = (int)status;
	add(k, &one);
	return 0;
}

int checks_take(struct checks *k, const struct json *checks,
		struct error **errp)
{
	int r = 0;

	for (const struct json *j = json_first(checks); j && r == 0;
	     j = json_next(j))
		r = take_one(k, j, errp);
	return r;
}

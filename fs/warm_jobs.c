#include "fs/warm_jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/time.h"
#include "engine/prefetch.h"
#include "fs/report.h"

#define JOBS_MAX 16

struct warm_job {
	char *path;
	struct prefetch *prefetch;
	int64_t asked_ns;
};

struct warm_jobs {
	struct mount *m;
	struct warm_job jobs[JOBS_MAX];
	size_t n;
};

struct warm_jobs *warm_jobs_new(struct mount *m)
{
	struct warm_jobs *w = xcalloc(1, sizeof(*w));

	w->m = m;
	return w;
}

static void job_end(struct warm_jobs *w, size_t i)
{
	prefetch_stop(w->jobs[i].prefetch);
	free(w->jobs[i].path);
	w->jobs[i] = w->jobs[--w->n];
}

void warm_jobs_free(struct warm_jobs *w)
{
	while (w->n)
		job_end(w, 0);
	free(w);
}

int warm_jobs_look(struct warm_jobs *w)
{
	int64_t oldest = time_mono_ns() - WARM_PATIENCE_MS * NS_PER_MS;

	for (size_t i = 0; i < w->n;)
		if (w->jobs[i].asked_ns < oldest)
			job_end(w, i);
		else
			i++;
	return w->n ? WARM_PATIENCE_MS : -1;
}

static int start(struct warm_jobs *w, const char *path, struct error **errp)
{
	struct warm_job *job = &w->jobs[w->n];
	uint32_t node;
	int r = tree_find(w->m->tree, path, &node, errp);

	if (r < 0)
		return r;
	if (w->n == JOBS_MAX)
		return error_set(errp, EBUSY, "%d others warm this mount now",
				 JOBS_MAX);
	job->prefetch = prefetch_start(
		w->m->view, &(struct prefetch_spec){.what = PREFETCH_FILES,
						    .beneath = path});
	if (!job->prefetch)
		return error_set_errno(errp, EAGAIN, "starting a thread");
	job->path = xstrdup(path);
	w->n++;
	return 0;
}

static struct warm_job *find(struct warm_jobs *w, const char *path)
{
	for (size_t i = 0; i < w->n; i++)
		if (!strcmp(w->jobs[i].path, path))
			return &w->jobs[i];
	return NULL;
}

void warm_jobs_answer(struct warm_jobs *w, const char *path, struct strbuf *out)
{
	cleanup_error struct error *err = NULL;
	struct prefetch_report rep = {.state = PREFETCH_FAILED};
	struct warm_job *job = find(w, path);
	struct json_writer json;

	if (!job) {
		(void)start(w, path, &err);
		job = find(w, path);
	}
	if (job) {
		job->asked_ns = time_mono_ns();
		prefetch_look(job->prefetch, &rep);
		/* Told once: who asks again wants it done again. */
		if (rep.state == PREFETCH_DONE || rep.state == PREFETCH_FAILED)
			job_end(w, (size_t)(job - w->jobs));
	} else {
		snprintf(rep.why, sizeof(rep.why), "%s", err->message);
	}
	json_writer_init(&json, out);
	report_prefetch(&rep, NULL, &json);
}

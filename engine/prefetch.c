#include "engine/prefetch.h"

#include <errno.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cache/cache.h"
#include "engine/file_list.h"
#include "engine/replay.h"
#include "engine/trace.h"
#include "engine/trace_referrer.h"

/* Sources asked for at once: one that cannot be had delays so many. */
#define GROUP 32

#define PAUSE_MIN_NS (5 * NS_PER_S)
#define PAUSE_MAX_NS (300 * NS_PER_S)

const char *const prefetch_state_names[PREFETCH_STATES] = {
	[PREFETCH_RUNNING] = "running", [PREFETCH_PAUSED] = "paused",
	[PREFETCH_WAITING] = "waiting", [PREFETCH_FAILED] = "failed",
	[PREFETCH_DONE] = "done",
};

struct prefetch {
	struct role_view *view;
	struct fetcher *fetcher;
	struct prefetch_spec spec;
	pthread_t thread;
	atomic_bool halted; /* stopping or paused */

	struct mutex lock;
	struct cond changed;
	bool stopping, paused;
	/* What to bring: both NULL until that is known. */
	struct source_set *set;
	struct replay *replay;
	struct prefetch_report report;
};

/*
 * What to bring.
 */

int prefetch_check(enum prefetch_what what, const char *text, size_t n,
		   struct error **errp)
{
	if (what == PREFETCH_LIST)
		return file_list_check(text, n, errp);
	return what == PREFETCH_TRACE ? trace_check(text, n, errp) : 0;
}

static int choose(struct prefetch *p, struct source_set *set,
		  struct file_list_counts *ret, const struct op *op,
		  struct error **errp)
{
	struct file_choice which = {.beneath = p->spec.beneath,
				    .externals = true};
	struct file_counts c = {0};
	int r;

	if (p->spec.what == PREFETCH_LIST)
		return file_list_add(p->spec.text, p->spec.text_len, set, ret,
				     op, errp);
	r = source_set_add_files(set, &which, &c, errp);
	if (r == 0)
		*ret = (struct file_list_counts){.files = c.files,
						 .bytes = c.bytes};
	return r;
}

static int collect_set(struct prefetch *p, struct source_set **ret_set,
		       struct prefetch_report *ret, const struct op *op,
		       struct error **errp)
{
	cleanup_source_set struct source_set *set = source_set_new(p->view);
	struct file_list_counts c = {0};
	int r = choose(p, set, &c, op, errp);

	if (r < 0)
		return r;
	*ret_set = steal_ptr(&set);
	ret->files = c.files;
	ret->bytes = c.bytes;
	ret->skipped = c.skipped;
	return 0;
}

struct adding {
	struct replay *replay;
	const struct op *op;
};

static int add_trace(void *ctx, const char *text, size_t n, struct error **errp)
{
	struct adding *a = ctx;

	int r = trace_check(text, n, errp); /* all of it or nothing */

	return r < 0 ? r : replay_add(a->replay, text, n, a->op, errp);
}

static int add_attached(struct prefetch *p, struct replay *replay,
			const struct op *op, struct error **errp)
{
	struct adding a = {replay, op};
	int n = trace_each_attached(p->view->bundle, add_trace, &a, op, errp);

	if (n == 0)
		return error_set(errp, ENOENT,
				 "no trace is attached to the bundle");
	return MIN(n, 0);
}

static int collect_rows(struct prefetch *p, struct replay **ret_replay,
			struct prefetch_report *ret, const struct op *op,
			struct error **errp)
{
	cleanup_replay struct replay *replay = replay_new(p->view);
	struct replay_counts c;
	int r = p->spec.what == PREFETCH_ATTACHED
			? add_attached(p, replay, op, errp)
			: replay_add(replay, p->spec.text, p->spec.text_len, op,
				     errp);

	if (r < 0)
		return r;
	replay_count(replay, &c);
	*ret_replay = steal_ptr(&replay);
	ret->files = c.files;
	ret->bytes = c.bytes;
	ret->skipped = c.skipped;
	return 0;
}

/* prefetch_look() sees either once it is whole. */
static int collect(struct prefetch *p, const struct op *op, struct error **errp)
{
	struct source_set *set = NULL;
	struct replay *replay = NULL;
	struct prefetch_report rep = {0};
	int r = p->spec.what >= PREFETCH_TRACE
			? collect_rows(p, &replay, &rep, op, errp)
			: collect_set(p, &set, &rep, op, errp);

	if (r < 0)
		return r;
	mutex_lock(&p->lock);
	p->set = set;
	p->replay = replay;
	p->report.files = rep.files;
	p->report.bytes = rep.bytes;
	p->report.skipped = rep.skipped;
	mutex_unlock(&p->lock);
	return 0;
}

/*
 * Bringing it.
 */

/* What can be had of [first, first + n): the first failure. */
static int fetch_some(struct prefetch *p, size_t first, size_t n,
		      const struct op *op, struct error **errp)
{
	struct fetch_source *s[GROUP] = {0};
	cleanup_error struct error *err = NULL;
	int r;

	for (size_t i = 0; i < n; i++)
		s[i] = source_set_at(p->set, first + i);
	r = fetch_whole(p->fetcher, s, n, op, &err);
	if (n > 1 && r < 0 && !cache_is_unwritable(r))
		for (size_t i = 0; i < n && !op_cancelled(op); i++)
			(void)fetch_some(p, first + i, 1, op, NULL);
	return error_propagate(errp, &err, r);
}

/* One round over all. */
static int fetch_round(struct prefetch *p, const struct op *op,
		       struct error **errp)
{
	size_t count = source_set_count(p->set);
	int ret = 0;

	for (size_t i = 0; i < count && !op_cancelled(op); i += GROUP) {
		cleanup_error struct error *err = NULL;
		int r = fetch_some(p, i, MIN(count - i, (size_t)GROUP), op,
				   &err);

		if (r < 0 && ret == 0)
			ret = error_propagate(errp, &err, r);
		if (cache_is_unwritable(r))
			break;
	}
	return ret;
}

static void set_state(struct prefetch *p, enum prefetch_state state, int r,
		      const struct error *err)
{
	struct prefetch_report *rep = &p->report;

	mutex_lock(&p->lock);
	rep->state = state;
	snprintf(rep->why, sizeof(rep->why), "%s",
		 r < 0 && err ? err->message : "");
	cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
}

/* True: go on. */
static bool pause_for(struct prefetch *p, int64_t ns)
{
	int64_t until = time_mono_ns() + ns;
	bool go_on;

	mutex_lock(&p->lock);
	while (!p->stopping && !p->paused &&
	       cond_wait_until(&p->changed, &p->lock, until))
		;
	go_on = !p->stopping;
	mutex_unlock(&p->lock);
	return go_on;
}

/* Until somebody says so. True: go on. */
static bool wait_while_paused(struct prefetch *p)
{
	bool go_on;

	mutex_lock(&p->lock);
	while (p->paused && !p->stopping) {
		p->report.state = PREFETCH_PAUSED;
		cond_wait(&p->changed, &p->lock);
	}
	p->report.state = PREFETCH_RUNNING;
	go_on = !p->stopping;
	mutex_unlock(&p->lock);
	return go_on;
}

static int run_once(struct prefetch *p, struct error **errp)
{
	struct op op = OP_INIT;
	int r = 0;

	op.cancelled = &p->halted;
	if (!p->set && !p->replay)
		r = collect(p, &op, errp);
	if (r < 0)
		return r;
	r = p->replay ? replay_run(p->replay, p->fetcher, &op, errp)
		      : fetch_round(p, &op, errp);
	/* A round that was cut short may have seen no failure. */
	return r < 0 ? r : op_go_on(&op, errp);
}

/* Not worth another try: what was read is no trace, or there is none. */
static bool is_final(const struct prefetch *p, int r)
{
	return !p->set && !p->replay &&
	       (r == -EINVAL || r == -EFBIG ||
		(r == -ENOENT && p->spec.what == PREFETCH_ATTACHED));
}

static void *prefetch_thread(void *arg)
{
	struct prefetch *p = arg;
	int64_t pause_ns = PAUSE_MIN_NS;

	while (wait_while_paused(p)) {
		cleanup_error struct error *err = NULL;
		int r = run_once(p, &err);

		if (r < 0 && atomic_load(&p->halted))
			continue;
		if (r >= 0 || !p->spec.persistent || is_final(p, r)) {
			set_state(p, r < 0 ? PREFETCH_FAILED : PREFETCH_DONE, r,
				  err);
			break;
		}
		log_warn("prefetch: %s; trying again in %lld s",
			 err ? err->message : strerror(-r),
			 (long long)(pause_ns / NS_PER_S));
		set_state(p, PREFETCH_WAITING, r, err);
		if (!pause_for(p, pause_ns))
			break;
		pause_ns = MIN(2 * pause_ns, PAUSE_MAX_NS);
	}
	return NULL;
}

static void prefetch_free(struct prefetch *p)
{
	if (p->set)
		source_set_free(p->set);
	replay_freep(&p->replay);
	cond_destroy(&p->changed);
	mutex_destroy(&p->lock);
	free((char *)p->spec.beneath);
	free((char *)p->spec.text);
	free(p);
}

struct prefetch *prefetch_start(struct role_view *v,
				const struct prefetch_spec *spec)
{
	struct prefetch *p = xcalloc(1, sizeof(*p));

	p->view = v;
	p->spec = *spec;
	p->spec.beneath = spec->beneath ? xstrdup(spec->beneath) : NULL;
	p->spec.text =
		spec->text ? xmemdup(spec->text, spec->text_len + 1) : NULL;
	p->paused = spec->paused;
	atomic_store(&p->halted, spec->paused);
	mutex_init(&p->lock, LOCK_PREFETCH);
	cond_init(&p->changed);
	if (session_fetcher(v->bundle->session, &p->fetcher, NULL) < 0 ||
	    thread_start(&p->thread, "prefetch", prefetch_thread, p) < 0) {
		prefetch_free(p);
		return NULL;
	}
	return p;
}

static void tell(struct prefetch *p, bool stopping, bool paused)
{
	mutex_lock(&p->lock);
	p->stopping = stopping;
	p->paused = paused;
	atomic_store(&p->halted, stopping || paused);
	if (paused && (p->report.state == PREFETCH_RUNNING ||
		       p->report.state == PREFETCH_WAITING))
		p->report.state = PREFETCH_PAUSED;
	cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
}

void prefetch_pause(struct prefetch *p, bool paused)
{
	tell(p, false, paused);
}

void prefetch_look(struct prefetch *p, struct prefetch_report *ret)
{
	const struct source_set *set;
	const struct replay *replay;

	mutex_lock(&p->lock);
	*ret = p->report;
	set = p->set;
	replay = p->replay;
	mutex_unlock(&p->lock);
	ret->left = 0;
	if (ret->state != PREFETCH_DONE && set)
		ret->left = source_set_missing(set);
	if (ret->state != PREFETCH_DONE && replay)
		ret->left = replay_missing(replay);
}

void prefetch_stop(struct prefetch *p)
{
	if (!p)
		return;
	tell(p, true, false);
	pthread_join(p->thread, NULL);
	prefetch_free(p);
}

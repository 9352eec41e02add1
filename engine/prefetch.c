#include "engine/prefetch.h"

#include <errno.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cache/cache.h"

/* Sources asked for at once: one that cannot be had delays so many. */
#define GROUP 32

#define PAUSE_MIN_NS (5 * NS_PER_S)
#define PAUSE_MAX_NS (300 * NS_PER_S)

const char *const prefetch_state_names[PREFETCH_STATES] = {
	[PREFETCH_RUNNING] = "running",
	[PREFETCH_WAITING] = "waiting",
	[PREFETCH_FAILED] = "failed",
	[PREFETCH_DONE] = "done",
};

struct prefetch {
	struct role_view *view;
	struct fetcher *fetcher;
	char *beneath; /* or NULL */
	bool persistent;
	pthread_t thread;
	atomic_bool stopping;

	struct mutex lock;
	struct cond changed;
	struct source_set *set; /* NULL until the tree was walked */
	struct prefetch_report report;
};

static int collect(struct prefetch *p, struct error **errp)
{
	cleanup_source_set struct source_set *set = source_set_new(p->view);
	struct file_choice which = {.beneath = p->beneath, .externals = true};
	uint64_t files, bytes;
	int r = source_set_add_files(set, &which, &files, &bytes, errp);

	if (r < 0)
		return r;
	mutex_lock(&p->lock);
	p->set = steal_ptr(&set);
	p->report.files = files;
	p->report.bytes = bytes;
	mutex_unlock(&p->lock);
	return 0;
}

/* What can be had of [first, first + n): the first failure. */
static int fetch_some(struct prefetch *p, size_t first, size_t n,
		      struct error **errp)
{
	struct fetch_source *s[GROUP] = {0};
	cleanup_error struct error *err = NULL;
	struct op op = OP_INIT;
	int r;

	op.cancelled = &p->stopping;
	for (size_t i = 0; i < n; i++)
		s[i] = source_set_at(p->set, first + i);
	r = fetch_whole(p->fetcher, s, n, &op, &err);
	if (n > 1 && r < 0 && !cache_is_unwritable(r))
		for (size_t i = 0; i < n && !atomic_load(&p->stopping); i++)
			(void)fetch_some(p, first + i, 1, NULL);
	return error_propagate(errp, &err, r);
}

/* One round over all. */
static int fetch_round(struct prefetch *p, struct error **errp)
{
	size_t count = source_set_count(p->set);
	int ret = 0;

	for (size_t i = 0; i < count && !atomic_load(&p->stopping);
	     i += GROUP) {
		cleanup_error struct error *err = NULL;
		int r = fetch_some(p, i, MIN(count - i, (size_t)GROUP), &err);

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

static void pause_for(struct prefetch *p, int64_t ns)
{
	int64_t until = time_mono_ns() + ns;

	mutex_lock(&p->lock);
	while (!atomic_load(&p->stopping) &&
	       cond_wait_until(&p->changed, &p->lock, until))
		;
	mutex_unlock(&p->lock);
}

static int run_once(struct prefetch *p, struct error **errp)
{
	int r = p->set ? 0 : collect(p, errp);

	return r < 0 ? r : fetch_round(p, errp);
}

static void *prefetch_thread(void *arg)
{
	struct prefetch *p = arg;
	int64_t pause_ns = PAUSE_MIN_NS;

	while (!atomic_load(&p->stopping)) {
		cleanup_error struct error *err = NULL;
		int r = run_once(p, &err);

		if (r >= 0 || !p->persistent) {
			set_state(p, r < 0 ? PREFETCH_FAILED : PREFETCH_DONE, r,
				  err);
			break;
		}
		if (atomic_load(&p->stopping))
			break;
		log_warn("prefetch: %s; trying again in %lld s",
			 err ? err->message : strerror(-r),
			 (long long)(pause_ns / NS_PER_S));
		set_state(p, PREFETCH_WAITING, r, err);
		pause_for(p, pause_ns);
		pause_ns = MIN(2 * pause_ns, PAUSE_MAX_NS);
		set_state(p, PREFETCH_RUNNING, r, err);
	}
	return NULL;
}

static void prefetch_free(struct prefetch *p)
{
	if (p->set)
		source_set_free(p->set);
	cond_destroy(&p->changed);
	mutex_destroy(&p->lock);
	free(p->beneath);
	free(p);
}

struct prefetch *prefetch_start(struct role_view *v, const char *beneath,
				bool persistent)
{
	struct prefetch *p = xcalloc(1, sizeof(*p));

	p->view = v;
	p->beneath = beneath ? xstrdup(beneath) : NULL;
	p->persistent = persistent;
	mutex_init(&p->lock, LOCK_PREFETCH);
	cond_init(&p->changed);
	if (session_fetcher(v->bundle->session, &p->fetcher, NULL) < 0 ||
	    thread_start(&p->thread, "prefetch", prefetch_thread, p) < 0) {
		prefetch_free(p);
		return NULL;
	}
	return p;
}

void prefetch_look(struct prefetch *p, struct prefetch_report *ret)
{
	const struct source_set *set;

	mutex_lock(&p->lock);
	*ret = p->report;
	set = p->set;
	mutex_unlock(&p->lock);
	ret->left = ret->state == PREFETCH_DONE || !set
			    ? 0
			    : source_set_missing(set);
}

void prefetch_stop(struct prefetch *p)
{
	if (!p)
		return;
	mutex_lock(&p->lock);
	atomic_store(&p->stopping, true);
	cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	prefetch_free(p);
}

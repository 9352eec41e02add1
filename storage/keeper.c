/*
 *   state of the current secret      keeper_get()         the thread
 *   none fetched, ended, refused     fetches, or waits    –
 *   good                             hands it out         sleeps
 *   good, 80 % of its life over      hands it out         fetches
 *   "there is none"                  0, for a while       –
 */
#include "storage/keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/thread.h"

#define NONE_HOLDS_MS  30000
#define REFETCH_MIN_MS 1000 /* a refused secret is not asked for more often */
#define FETCH_MS       30000
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS   60000
#define WAIT_SLICE_MS  20

struct keeper {
	keeper_fetch fetch;
	void *ctx;
	atomic_bool stop;

	struct mutex lock; /* LOCK_KEEPER: all below */
	struct cond cond;
	struct secret *current;
	bool fetching;
	bool none; /* the last fetch found none */
	int64_t fetched_ns;
	int64_t renew_ns; /* TIME_NEVER: no need */
	bool has_thread;
	pthread_t thread;
};

struct secret *secret_new(void)
{
	struct secret *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->ends_s = SECRET_NEVER_ENDS;
	s->origin = "";
	return s;
}

void secret_unref(struct secret *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	wipe_str(&s->id);
	wipe_str(&s->key);
	wipe_str(&s->token);
	free(s);
}

static struct secret *secret_ref(struct secret *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
	if (!a || !b)
		return a == b;
	return same_text(a->id, b->id) && same_text(a->key, b->key) &&
	       same_text(a->token, b->token);
}

static bool is_good(const struct secret *s)
{
	return s->ends_s == SECRET_NEVER_ENDS || time_wall_s() < s->ends_s;
}

/* When 80 % of the life of @s are over, counted from now. */
static int64_t renew_at(const struct secret *s)
{
	int64_t left_s;

	if (s->ends_s == SECRET_NEVER_ENDS)
		return TIME_NEVER;
	left_s = s->ends_s - time_wall_s();
	return time_deadline_ms(MAX(left_s, (int64_t)1) * 800);
}

static void *renew_thread(void *arg);

static void adopt_locked(struct keeper *k, int r, struct secret *take_s)
	REQUIRES(&k->lock)
{
	k->fetched_ns = time_mono_ns();
	k->none = r == 0;
	if (r < 0)
		return;
	secret_unref(k->current);
	k->current = take_s;
	k->renew_ns = take_s ? renew_at(take_s) : TIME_NEVER;
	if (k->renew_ns != TIME_NEVER && !k->has_thread)
		k->has_thread = thread_start(&k->thread, "mops-secret",
					     renew_thread, k) == 0;
}

/* Fetch without the lock; who waits is told. */
static int fetch_now(struct keeper *k, const struct op *op, struct error **errp)
{
	struct secret *s = NULL;
	int r = k->fetch(k->ctx, &s, op, errp);

	mutex_lock(&k->lock);
	adopt_locked(k, r, s);
	k->fetching = false;
	cond_broadcast(&k->cond);
	mutex_unlock(&k->lock);
	return r;
}

/* Sleep until it is time; false: the keeper ends. */
static bool wait_for_turn(struct keeper *k)
{
	bool go = false;

	mutex_lock(&k->lock);
	while (!go && !atomic_load(&k->stop)) {
		bool due = k->renew_ns != TIME_NEVER &&
			   time_mono_ns() >= k->renew_ns;

		if (due && !k->fetching)
			go = k->fetching = true;
		else if (k->renew_ns == TIME_NEVER || due)
			cond_wait(&k->cond, &k->lock);
		else
			cond_wait_until(&k->cond, &k->lock, k->renew_ns);
	}
	mutex_unlock(&k->lock);
	return go;
}

static void *renew_thread(void *arg)
{
	struct keeper *k = arg;
	int64_t pause = RETRY_FIRST_MS;

	while (wait_for_turn(k)) {
		cleanup_error struct error *err = NULL;
		const struct op op = {
			.deadline_ns = time_deadline_ms(FETCH_MS),
			.cancelled = &k->stop,
		};

		if (fetch_now(k, &op, &err) >= 0) {
			pause = RETRY_FIRST_MS;
			continue;
		}
		log_debug("renewing a credential: %s",
			  err ? err->message : "failed");
		mutex_lock(&k->lock);
		k->renew_ns = time_deadline_ms(pause);
		mutex_unlock(&k->lock);
		pause = MIN(2 * pause, (int64_t)RETRY_MAX_MS);
	}
	return NULL;
}

struct keeper *keeper_new(keeper_fetch fetch, void *ctx)
{
	struct keeper *k = xcalloc(1, sizeof(*k));

	k->fetch = fetch;
	k->ctx = ctx;
	k->renew_ns = TIME_NEVER;
	mutex_init(&k->lock, LOCK_KEEPER);
	cond_init(&k->cond);
	return k;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	mutex_lock(&k->lock);
	atomic_store(&k->stop, true);
	cond_broadcast(&k->cond);
	mutex_unlock(&k->lock);
	if (k->has_thread)
		pthread_join(k->thread, NULL);
	secret_unref(k->current);
	cond_destroy(&k->cond);
	mutex_destroy(&k->lock);
	free(k);
}

static bool none_holds_locked(const struct keeper *k) REQUIRES(&k->lock)
{
	return k->none && !k->current &&
	       time_mono_ns() - k->fetched_ns < NONE_HOLDS_MS * NS_PER_MS;
}

/* 1: *@ret is set or there is none for now; 0: the caller is to fetch. */
static int settle_locked(struct keeper *k, struct secret **ret,
			 const struct op *op, struct error **errp)
	REQUIRES(&k->lock)
{
	for (;;) {
		int r = op_go_on(op, errp);

		if (r < 0)
			return r;
		if (k->current && is_good(k->current)) {
			*ret = secret_ref(k->current);
			return 1;
		}
		if (none_holds_locked(k))
			return 1;
		if (!k->fetching) {
			k->fetching = true;
			return 0;
		}
		cond_wait_until(&k->cond, &k->lock,
				time_deadline_ms(WAIT_SLICE_MS));
	}
}

int keeper_get(struct keeper *k, struct secret **ret, const struct op *op,
	       struct error **errp)
{
	struct secret *s = NULL;
	int r;

	mutex_lock(&k->lock);
	r = settle_locked(k, &s, op, errp);
	mutex_unlock(&k->lock);
	if (r == 0) {
		r = fetch_now(k, op, errp);
		if (r < 0)
			return r;
		mutex_lock(&k->lock);
		if (k->current)
			s = secret_ref(k->current);
		mutex_unlock(&k->lock);
	}
	if (r < 0)
		return r;
	if (!s)
		return 0;
	*ret = s;
	return 1;
}

bool keeper_replace(struct keeper *k, const struct secret *s,
		    const struct op *op)
{
	bool fetch, other;

	mutex_lock(&k->lock);
	fetch = !k->fetching && same_secret(k->current, s) &&
		time_mono_ns() - k->fetched_ns >= REFETCH_MIN_MS * NS_PER_MS;
	k->fetching = k->fetching || fetch;
	mutex_unlock(&k->lock);
	if (fetch)
		fetch_now(k, op, NULL);
	mutex_lock(&k->lock);
	other = k->current && !same_secret(k->current, s);
	mutex_unlock(&k->lock);
	return other;
}

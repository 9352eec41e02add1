/*
 * Chores of a source, off the path of readers: make durable what was put, in
 * groups, hash ahead what is wanted whole, and seal what is.
 */
#include <errno.h>

#include "base/log.h"
#include "engine/fetch_internal.h"

void fetch_chore_add_locked(struct fetch_source *s)
{
	struct fetcher *f = s->fetcher;

	if (s->chore != FETCH_CHORE_NONE || time_mono_ns() < s->seal_at_ns)
		return;
	s->chore = FETCH_CHORE_QUEUED;
	fetch_source_ref_locked(s);
	TAILQ_INSERT_TAIL(&f->chores, s, chore_link);
	cond_signal(&f->work);
}

void fetch_dirty_locked(struct fetch_source *s)
{
	struct fetcher *f = s->fetcher;

	if (!s->dirty) {
		s->dirty = true;
		TAILQ_INSERT_TAIL(&f->dirty, s, dirty_link);
	}
	cond_signal(&f->timer);
}

/* Is it worth while to hash on? */
static bool hash_is_due(const struct fetch_source *s)
{
	return !TAILQ_EMPTY(&s->wholes) && s->unhashed >= FETCH_HASH_BYTES;
}

static bool sync_is_due(const struct fetch_source *s)
{
	return s->unsynced >= FETCH_SYNC_BYTES ||
	       (s->unsynced &&
		time_mono_ns() - s->unsynced_since_ns >= FETCH_SYNC_NS);
}

void fetch_put_noted_locked(struct fetch_source *s, uint32_t len)
{
	if (!s->unsynced)
		s->unsynced_since_ns = time_mono_ns();
	s->unsynced += len;
	s->unhashed += len;
	if (!s->dirty)
		fetch_dirty_locked(s);
	if (sync_is_due(s) || hash_is_due(s))
		fetch_chore_add_locked(s);
}

/* Another process is sealing, or chunks went: look again in a moment. */
static void seal_later_locked(struct fetch_source *s)
{
	s->seal_pause_ns = s->seal_pause_ns
				   ? MIN(s->seal_pause_ns * 2, 200 * NS_PER_MS)
				   : 5 * NS_PER_MS;
	s->seal_at_ns = time_mono_ns() + s->seal_pause_ns;
	fetch_dirty_locked(s);
}

static void sealed_locked(struct fetch_source *s, int r, struct error *err)
{
	s->want_seal = false;
	s->seal_at_ns = s->seal_pause_ns = 0;
	if (r >= 0) {
		s->sealed = true;
		s->unsynced = 0; /* sealing makes all of it durable */
		return;
	}
	log_debug("sealing '%s': %s", digest_to_str(&s->digest).str,
		  err ? err->message : "failed");
	s->seal_failed = true;
	if (r == -EBADMSG && !s->fault)
		s->fault = error_copy(err);
	fetch_whole_finish_locked(s, r, err);
}

static int seal(struct fetch_source *s)
{
	struct fetcher *f = s->fetcher;
	cleanup_error struct error *err = NULL;
	int r = content_seal(s->content, &err);

	fetcher_lock(f);
	if (r == -EAGAIN)
		seal_later_locked(s);
	else
		sealed_locked(s, r, err);
	fetcher_unlock(f);
	return r;
}

static void sync_put(struct fetch_source *s, uint64_t n)
{
	struct fetcher *f = s->fetcher;
	cleanup_error struct error *err = NULL;
	int r = content_sync(s->content, &err);

	/* What could not be flushed is not marked durable: it is fetched again
	 * after a reboot. */
	if (r < 0)
		log_debug("flushing '%s': %s", digest_to_str(&s->digest).str,
			  err ? err->message : "failed");
	fetcher_lock(f);
	s->unsynced -= MIN(n, s->unsynced);
	s->unsynced_since_ns = time_mono_ns();
	fetcher_unlock(f);
}

void fetch_chore_run(struct fetch_source *s)
{
	struct fetcher *f = s->fetcher;

	fetcher_lock(f);
	bool want_seal = s->want_seal;
	bool hash = hash_is_due(s);
	uint64_t n = hash && !sync_is_due(s) ? 0 : s->unsynced;
	if (hash)
		s->unhashed = 0;
	fetcher_unlock(f);

	if (!want_seal || seal(s) < 0) {
		if (n)
			sync_put(s, n);
		if (hash)
			content_hash_ahead(s->content);
	}

	fetcher_lock(f);
	s->chore = FETCH_CHORE_NONE;
	if (s->unsynced || s->want_seal) {
		cond_signal(&f->timer);
	} else if (s->dirty) {
		TAILQ_REMOVE(&f->dirty, s, dirty_link);
		s->dirty = false;
	}
	fetch_source_advance_locked(s);
	fetch_source_unref_locked(s);
	fetcher_unlock(f);
}

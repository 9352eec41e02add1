#include "fs/sources.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/map.h"

/* Each may hold a descriptor or two in the cache. */
#define MAX_IDLE 256

struct entry {
	uint32_t index;
	unsigned held;
	struct fetch_source *source;
	struct entry *prev, *next; /* while idle: in the list of the unused */
};

struct sources {
	struct bundle *bundle;
	const struct tree *tree;
	struct mutex lock;
	struct map by_index;
	struct entry idle; /* ring; idle.next was unused longest */
	size_t n_idle;
};

struct sources *sources_new(struct bundle *b, const struct tree *t)
{
	struct sources *s = xcalloc(1, sizeof(*s));

	s->bundle = b;
	s->tree = t;
	s->idle.prev = s->idle.next = &s->idle;
	mutex_init(&s->lock, LOCK_MOUNT);
	return s;
}

static void idle_remove_locked(struct sources *s, struct entry *e)
	REQUIRES(s->lock);
static void idle_remove_locked(struct sources *s, struct entry *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->prev = e->next = NULL;
	s->n_idle--;
}

static void idle_add_locked(struct sources *s, struct entry *e)
	REQUIRES(s->lock);
static void idle_add_locked(struct sources *s, struct entry *e)
{
	e->next = &s->idle;
	e->prev = s->idle.prev;
	e->prev->next = e;
	s->idle.prev = e;
	s->n_idle++;
}

static struct entry *hold_locked(struct sources *s, uint32_t index)
	REQUIRES(s->lock);
static struct entry *hold_locked(struct sources *s, uint32_t index)
{
	struct entry *e = map_get(&s->by_index, &index, sizeof(index));

	if (e && e->held++ == 0)
		idle_remove_locked(s, e);
	return e;
}

/* Add what was just opened; when another thread was first, its entry counts
 * and @take_source stays with the caller. */
static struct fetch_source *add_locked(struct sources *s, uint32_t index,
				       struct fetch_source **take_source)
	REQUIRES(s->lock);
static struct fetch_source *add_locked(struct sources *s, uint32_t index,
				       struct fetch_source **take_source)
{
	struct entry *e = hold_locked(s, index);

	if (!e) {
		e = xcalloc(1, sizeof(*e));
		e->index = index;
		e->held = 1;
		e->source = steal_ptr(take_source);
		map_put(&s->by_index, &index, sizeof(index), e);
	}
	return e->source;
}

int sources_get(struct sources *s, uint32_t index, struct fetch_source **ret,
		struct error **errp)
{
	struct fetch_source *fresh = NULL;
	struct entry *e;
	int r;

	mutex_lock(&s->lock);
	e = hold_locked(s, index);
	mutex_unlock(&s->lock);
	if (e) {
		*ret = e->source;
		return 0;
	}

	r = bundle_source(s->bundle, s->tree, index, &fresh, errp);
	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	*ret = add_locked(s, index, &fresh);
	mutex_unlock(&s->lock);
	if (fresh)
		fetch_source_close(fresh);
	return 0;
}

/* Unused now; returns the entry that has to make room, or NULL. */
static struct entry *put_locked(struct sources *s, uint32_t index)
	REQUIRES(s->lock);
static struct entry *put_locked(struct sources *s, uint32_t index)
{
	struct entry *e = map_get(&s->by_index, &index, sizeof(index));
	struct entry *old;

	if (--e->held > 0)
		return NULL;
	idle_add_locked(s, e);
	if (s->n_idle <= MAX_IDLE)
		return NULL;
	old = s->idle.next;
	idle_remove_locked(s, old);
	map_del(&s->by_index, &old->index, sizeof(old->index));
	return old;
}

static void entry_free(struct entry *e)
{
	if (!e)
		return;
	fetch_source_close(e->source);
	free(e);
}

void sources_put(struct sources *s, uint32_t index)
{
	struct entry *old;

	mutex_lock(&s->lock);
	old = put_locked(s, index);
	mutex_unlock(&s->lock);
	entry_free(old);
}

void sources_free(struct sources *s)
{
	size_t pos = 0;
	void *e;

	if (!s)
		return;
	while (map_next(&s->by_index, &pos, NULL, NULL, &e))
		entry_free(e);
	map_release(&s->by_index);
	mutex_destroy(&s->lock);
	free(s);
}

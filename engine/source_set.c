#include "engine/source_set.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/progress.h"
#include "base/thread.h"

#define LOOK_NS (100 * NS_PER_MS)

struct source_entry {
	struct fetch_source *source;
	uint32_t index;
};

struct source_set {
	struct role_view *v;
	struct map by_index; /* index → its place, plus one */
	struct source_entry *entries;
	size_t n, cap;
};

struct source_set *source_set_new(struct role_view *v)
{
	struct source_set *s = xcalloc(1, sizeof(*s));

	s->v = v;
	return s;
}

void source_set_free(struct source_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		fetch_source_close(s->entries[i].source);
	free(s->entries);
	map_release(&s->by_index);
	free(s);
}

int source_set_add(struct source_set *s, uint32_t index, struct error **errp)
{
	struct fetch_source *src = NULL;
	int r;

	if (map_get(&s->by_index, &index, sizeof(index)))
		return 0;
	r = bundle_source(s->v->bundle, s->v->tree, index, &src, errp);
	if (r < 0)
		return r;
	ARRAY_GROW(s->entries, s->n, s->cap);
	s->entries[s->n++] = (struct source_entry){src, index};
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): a place, not a pointer */
	map_put(&s->by_index, &index, sizeof(index), (void *)(uintptr_t)s->n);
	return 0;
}

struct add_files {
	struct source_set *set;
	const struct file_choice *which;
	struct file_counts counts;
};

static bool is_chosen(const struct file_choice *which,
		      const struct tree_node *n, const char *path)
{
	return n->kind == TREE_FILE &&
	       (!which->glob || glob_match(which->glob, path, strlen(path)));
}

static int add_file(void *ctx, uint32_t node, const struct tree_node *n,
		    const char *path, struct error **errp)
{
	struct add_files *a = ctx;
	struct tree_source src;
	int r;

	if (!is_chosen(a->which, n, path))
		return 0;
	a->counts.chosen++;
	if (a->which->before && chunk_set_add(a->which->before, 0, node,
					      tree_nodes(a->set->v->tree)) == 0)
		return 0;
	if (n->source != TREE_NONE) {
		r = tree_source(a->set->v->tree, n->source, &src, errp);
		if (r < 0)
			return r;
		if (src.kind == TREE_SOURCE_EXTERNAL && !a->which->externals)
			return 0;
		r = source_set_add(a->set, n->source, errp);
		if (r < 0)
			return r;
	}
	a->counts.files++;
	a->counts.bytes += n->size;
	return 0;
}

/* What is not there has no files. */
static int add_beneath(struct add_files *a, struct error **errp)
{
	const struct tree *t = a->set->v->tree;
	struct tree_node n;
	uint32_t node;
	int r;

	if (tree_find(t, a->which->beneath, &node, NULL) < 0)
		return 0;
	r = tree_node(t, node, &n, errp);
	if (r < 0)
		return r;
	return n.kind == TREE_DIR
		       ? tree_walk(t, node, add_file, a, errp)
		       : add_file(a, node, &n, a->which->beneath, errp);
}

int source_set_add_files(struct source_set *s, const struct file_choice *which,
			 struct file_counts *ret, struct error **errp)
{
	struct add_files a = {.set = s, .which = which};
	int r = which->beneath
			? add_beneath(&a, errp)
			: tree_walk(s->v->tree, TREE_ROOT, add_file, &a, errp);

	if (r >= 0)
		*ret = a.counts;
	return r;
}

size_t source_set_count(const struct source_set *s)
{
	return s->n;
}

struct fetch_source *source_set_at(const struct source_set *s, size_t i)
{
	return s->entries[i].source;
}

struct fetch_source *source_set_get(const struct source_set *s, uint32_t index)
{
	uintptr_t at = (uintptr_t)map_get(&s->by_index, &index, sizeof(index));

	assert(at);
	return s->entries[at - 1].source;
}

uint64_t source_set_missing(const struct source_set *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct content *ct = fetch_source_content(s->entries[i].source);
		uint64_t size = content_size(ct);
		uint64_t have = (uint64_t)content_have(ct) * CHUNK_SIZE;

		if (!content_sealed(ct) && have < size &&
		    __builtin_add_overflow(sum, size - have, &sum))
			return UINT64_MAX;
	}
	return sum;
}

/* A thread that moves what the network brought to the progress line. */
struct watch {
	struct fetcher *f;
	struct progress *progress;
	struct mutex lock;
	struct cond cond;
	bool ended;
};

static void *watch_thread(void *arg)
{
	struct watch *w = arg;
	struct fetch_stats st;
	uint64_t seen;

	fetcher_stats(w->f, &st);
	seen = st.bytes_network;
	mutex_lock(&w->lock);
	while (!w->ended) {
		cond_wait_until(&w->cond, &w->lock, time_mono_ns() + LOOK_NS);
		mutex_unlock(&w->lock);
		fetcher_stats(w->f, &st);
		progress_add(w->progress, 0, st.bytes_network - seen);
		seen = st.bytes_network;
		mutex_lock(&w->lock);
	}
	mutex_unlock(&w->lock);
	return NULL;
}

static int fetch_all(struct source_set *s, struct fetcher *f,
		     const struct op *op, struct error **errp)
{
	struct fetch_source **all = malloc((s->n + 1) * sizeof(void *));
	int r;

	if (!all)
		return error_set_errno(errp, ENOMEM, "%zu sources", s->n);
	for (size_t i = 0; i < s->n; i++)
		all[i] = s->entries[i].source;
	r = fetch_whole(f, all, s->n, op, errp);
	free(all);
	return r;
}

static int fetch_watched(struct source_set *s, struct watch *w,
			 const struct op *op, struct error **errp)
{
	pthread_t thread;
	bool watched = thread_start(&thread, "progress", watch_thread, w) >= 0;
	int r = fetch_all(s, w->f, op, errp);

	mutex_lock(&w->lock);
	w->ended = true;
	cond_signal(&w->cond);
	mutex_unlock(&w->lock);
	if (watched)
		pthread_join(thread, NULL);
	return r;
}

int source_set_fetch(struct source_set *s, const char *verb, int show_progress,
		     uint64_t *ret_bytes_network, const struct op *op,
		     struct error **errp)
{
	struct fetch_stats before, after;
	struct watch w = {0};
	int r = session_fetcher(s->v->bundle->session, &w.f, errp);

	if (r < 0)
		return r;
	fetcher_stats(w.f, &before);
	mutex_init(&w.lock, LOCK_EACH);
	cond_init(&w.cond);
	w.progress = progress_new(verb, show_progress);
	progress_total(w.progress, 0, source_set_missing(s));
	r = show_progress ? fetch_watched(s, &w, op, errp)
			  : fetch_all(s, w.f, op, errp);
	progress_free(w.progress);
	cond_destroy(&w.cond);
	mutex_destroy(&w.lock);
	fetcher_stats(w.f, &after);
	*ret_bytes_network = after.bytes_network - before.bytes_network;
	return r;
}

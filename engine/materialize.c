#include "engine/materialize.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/thread.h"
#include "engine/materialize_internal.h"

void materialize_result_release(struct materialize_result *r)
{
	strv_free(r->conflicts);
	*r = (struct materialize_result){0};
}

/*
 * Space. Many names may share one range of a pack, so what is going to be
 * written says nothing about what was downloaded.
 */

/* May a file be a hardlink or reflink of a blob, which takes no room? */
static bool shares_room(const struct mat *m, const struct tree_node *n,
			const struct tree_source *src, bool same_fs)
{
	if (!same_fs || src->kind == TREE_SOURCE_PACK ||
	    m->o->link == LINK_COPY)
		return false;
	return m->o->link == LINK_REFLINK ||
	       (!n->executable && !m->o->writable);
}

static int sum_needed(struct mat *m, bool same_fs, uint64_t *ret,
		      uint64_t *ret_names, struct error **errp)
{
	uint64_t sum = same_fs ? source_set_missing(m->set) : 0;
	uint64_t names = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct mat_entry *e = &m->entries[i];
		struct tree_source src;
		struct tree_node n;
		int r;

		if (!mat_writes(e))
			continue;
		names++;
		if (e->kind != MAT_FILE)
			continue;
		r = tree_node(m->v->tree, e->node, &n, errp);
		if (r >= 0)
			r = mat_node_source(m, &n, &src, errp);
		if (r < 0)
			return r;
		if (!shares_room(m, &n, &src, same_fs) &&
		    __builtin_add_overflow(sum, n.size, &sum))
			sum = UINT64_MAX;
		if (sum == UINT64_MAX)
			break;
	}
	*ret = sum;
	*ret_names = names;
	return 0;
}

static int check_space(struct mat *m, struct error **errp)
{
	struct stat dest, cache;
	struct statvfs fs;
	uint64_t need = 0, names = 0, avail;
	int r;

	if (fstat(m->dest, &dest) < 0 || fstatvfs(m->dest, &fs) < 0 ||
	    fstat(cache_dirfd(m->cache), &cache) < 0)
		return error_set_errno(errp, errno, "looking at '%s'",
				       m->o->dest);
	r = sum_needed(m, dest.st_dev == cache.st_dev, &need, &names, errp);
	if (r < 0)
		return r;
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize,
				   &avail))
		avail = UINT64_MAX;
	if (need > avail)
		return error_set(errp, ENOSPC,
				 "'%s' needs %" PRIu64 " bytes, and %" PRIu64
				 " are free",
				 m->o->dest, need, avail);
	if (fs.f_files && names > fs.f_favail)
		return error_set(errp, ENOSPC,
				 "'%s' needs %" PRIu64 " files, and %" PRIu64
				 " are free",
				 m->o->dest, names, (uint64_t)fs.f_favail);
	return 0;
}

/*
 * Sources of what is to be written.
 */

static int collect_sources(struct mat *m, struct error **errp)
{
	source_set_freep(&m->set);
	m->set = source_set_new(m->v);
	for (size_t i = 0; i < m->n; i++) {
		const struct mat_entry *e = &m->entries[i];
		struct tree_node n;
		int r;

		if (e->kind != MAT_FILE || !mat_writes(e))
			continue;
		r = tree_node(m->v->tree, e->node, &n, errp);
		if (r >= 0 && n.source != TREE_NONE)
			r = source_set_add(m->set, n.source, errp);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A cache that is full is no reason to fail: the bytes go past it. */
static int fetch_sources(struct mat *m, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	int r = source_set_fetch(m->set, "pulling", m->o->show_progress,
				 &m->out->bytes_network, m->op, &err);

	if (cache_is_unwritable(r)) {
		m->stream = true;
		return 0;
	}
	return error_propagate(errp, &err, r);
}

/*
 * The order of things.
 */

static int open_dest(struct mat *m, bool make, struct error **errp)
{
	int r;

	if (m->dest >= 0)
		return 0;
	r = make ? io_mkdirs(m->o->dest, 0755) : 0;
	if (r >= 0) {
		m->dest = open(m->o->dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = m->dest < 0 ? -errno : 0;
	}
	if (r == -ENOENT && !make)
		return 0;
	if (r == -ENOTDIR)
		return error_set_kind(errp, ERROR_CONFLICT, ENOTDIR,
				      "'%s' is not a folder", m->o->dest);
	return r < 0 ? error_set_errno(errp, -r, "opening '%s'", m->o->dest)
		     : 0;
}

static int conflicts(struct mat *m, struct error **errp)
{
	const struct materialize_result *o = m->out;

	if (!o->n_conflicts)
		return 0;
	error_set_kind(errp, ERROR_CONFLICT, EEXIST,
		       "%" PRIu64 " %s in '%s' would be overwritten: '%s'%s",
		       o->n_conflicts, o->n_conflicts == 1 ? "path" : "paths",
		       m->o->dest, o->conflicts[0],
		       o->n_conflicts > 1 ? ", …" : "");
	return error_hint(errp, -EEXIST,
			  "--overwrite replaces files; folders that are not "
			  "empty stay");
}

static bool any_work(const struct mat *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (mat_writes(&m->entries[i]))
			return true;
	return false;
}

static int stage_one(void *ctx, size_t i, struct error **errp)
{
	return mat_stage_entry(ctx, i, errp);
}

static int stage_all(struct mat *m, struct error **errp)
{
	int r;

	m->progress = progress_new("writing", m->o->show_progress);
	progress_total(m->progress, m->out->created + m->out->replaced, 0);
	r = pool_for_each(m->pool, m->n, stage_one, m, errp);
	progress_free(m->progress);
	m->progress = NULL;
	m->out->linked = atomic_load(&m->linked);
	m->out->reflinked = atomic_load(&m->reflinked);
	m->out->copied = atomic_load(&m->copied);
	return r;
}

/* Who waited for another run finds its work done: plan anew under the lock. */
static int lock_and_plan(struct mat *m, struct error **errp)
{
	int r = open_dest(m, true, errp);

	if (r >= 0)
		r = mat_lock(m, true, errp);
	if (r >= 0)
		r = mat_plan(m, errp);
	return r < 0 ? r : conflicts(m, errp);
}

static int write_all(struct mat *m, struct error **errp)
{
	int r = 0;

	if (m->lock < 0)
		r = lock_and_plan(m, errp);
	if (r >= 0)
		r = collect_sources(m, errp);
	if (r >= 0)
		r = check_space(m, errp);
	if (r >= 0)
		r = fetch_sources(m, errp);
	if (r >= 0)
		r = mat_stage_open(m, errp);
	if (r >= 0)
		r = stage_all(m, errp);
	return r < 0 ? r : mat_place(m, errp);
}

static int run(struct mat *m, struct error **errp)
{
	int r = open_dest(m, false, errp);

	if (r >= 0 && m->dest >= 0)
		r = mat_lock(m, false, errp);
	if (r >= 0)
		r = mat_plan(m, errp);
	if (r >= 0 && m->glob && !m->out->files)
		r = error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				   "no file of role '%s' matches '%s'",
				   m->v->role->name, m->o->glob);
	if (r >= 0)
		r = conflicts(m, errp);
	if (r < 0 || !any_work(m))
		return r;
	return write_all(m, errp);
}

static int prepare(struct mat *m, struct error **errp)
{
	struct session *s = m->v->bundle->session;
	int r = session_cache(s, &m->cache, errp);

	if (r >= 0)
		r = session_fetcher(s, &m->fetcher, errp);
	if (r >= 0 && m->o->glob)
		r = glob_compile(m->o->glob, &m->glob, errp);
	if (r >= 0)
		m->pool = pool_new("materialize", cpu_count());
	return r;
}

int materialize(struct role_view *v, const struct materialize_options *o,
		struct materialize_result *ret, const struct op *op,
		struct error **errp)
{
	struct materialize_result out = {0};
	struct mat m = {
		.v = v,
		.o = o,
		.out = &out,
		.op = op,
		.dest = -1,
		.lock = -1,
		.stage = -1,
	};
	int r = prepare(&m, errp);

	if (r >= 0)
		r = run(&m, errp);
	mat_stage_close(&m);
	pool_freep(&m.pool);
	glob_freep(&m.glob);
	source_set_freep(&m.set);
	free(m.entries);
	if (r < 0 && !out.n_conflicts) {
		materialize_result_release(&out);
		return r;
	}
	*ret = out; /* conflicts are listed too */
	return r;
}

#include "engine/tree_builder.h"

#include <errno.h>

#include "engine/tree_build.h"
#include "engine/tree_format.h"

struct tree_merger {
	struct tree_builder *b;
	const struct tree *t; /* the layer that is added */
	const char *const *names;
	uint16_t layer;    /* its number; how many there were before */
	uint32_t *handles; /* source of @t → of @b, TREE_NONE: not yet */
};

/* One source has one chunk list and one list of parts, whoever says so. */
static bool same_lists(const struct tree_builder *b, uint32_t i,
		       const struct tree_source_spec *s)
{
	const struct build_source *have = &b->sources[i];

	if (have->n_parts != s->n_parts)
		return false;
	if (s->n_chunks && memcmp(b->chunks + have->chunks, s->chunks,
				  s->n_chunks * sizeof(*s->chunks)) != 0)
		return false;
	return !s->n_parts || !memcmp(b->parts + have->parts, s->parts,
				      s->n_parts * sizeof(*s->parts));
}
_Static_assert(sizeof(struct tree_part) == DIGEST_SIZE + 8, "no padding");

static int read_parts(const struct tree *t, uint32_t i, uint32_t n,
		      struct tree_part **ret, struct error **errp)
{
	cleanup_free struct tree_part *parts = NULL;
	int r;

	parts = malloc(MAX(n, 1u) * sizeof(*parts));
	if (!parts) {
		error_set_errno(errp, ENOMEM, "parts of source %u", i);
		return -ENOMEM;
	}
	for (uint32_t k = 0; k < n; k++) {
		r = tree_source_part(t, i, k, &parts[k].digest, &parts[k].size,
				     errp);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(&parts);
	return 0;
}

static int merge_source(struct tree_merger *m, uint32_t i, uint32_t *ret,
			struct error **errp)
{
	cleanup_free struct tree_part *parts = NULL;
	cleanup_free char *uri = NULL;
	struct tree_source_spec spec;
	struct tree_source s;
	int r;

	r = tree_source(m->t, i, &s, errp);
	if (r < 0)
		return r;
	r = read_parts(m->t, i, s.n_parts, &parts, errp);
	if (r < 0)
		return r;
	if (s.uri)
		uri = xstrndup(s.uri, s.uri_len);
	spec = (struct tree_source_spec){
		.kind = s.kind,
		.tier = s.tier,
		.digest = s.digest,
		.size = s.size,
		.chunks = s.chunks,
		.n_chunks = s.n_chunks,
		.parts = parts,
		.n_parts = s.n_parts,
		.uri = uri,
	};
	*ret = tree_builder_source(m->b, &spec);
	if (!same_lists(m->b, *ret, &spec))
		return error_set(errp, EBADMSG,
				 "source %u: two layers' trees disagree on its "
				 "chunks",
				 i);
	return 0;
}

static int merge_handle(struct tree_merger *m, uint32_t source, uint32_t *ret,
			struct error **errp)
{
	int r;

	if (source == TREE_NONE) {
		*ret = TREE_NONE;
		return 0;
	}
	if (m->handles[source] == TREE_NONE) {
		r = merge_source(m, source, &m->handles[source], errp);
		if (r < 0) {
			m->handles[source] = TREE_NONE;
			return r;
		}
	}
	*ret = m->handles[source];
	return 0;
}

static bool same_entry(const struct tree_builder *b, const struct build_node *x,
		       const struct tree_node *y)
{
	if (x->kind != y->kind)
		return false;
	switch (y->kind) {
	case TREE_DIR:
		return true;
	case TREE_FILE:
		return x->executable == y->executable && x->size == y->size &&
		       digest_equal(&x->digest, y->digest);
	case TREE_SYMLINK:
		return b->strings.strings[x->target].len == y->target_len &&
		       !memcmp(intern_str(&b->strings, x->target), y->target,
			       y->target_len);
	}
	return false;
}

static int disagree(const struct tree_merger *m, const char *path,
		    const struct build_node *have, struct error **errp)
{
	return error_set_kind(errp, ERROR_ROLE, EEXIST,
			      "layers '%s' and '%s' disagree on '%s'",
			      m->names[have->layer], m->names[m->layer], path);
}

static int merge_add(struct tree_merger *m, const char *path,
		     const struct tree_node *n, struct error **errp)
{
	cleanup_free char *target = NULL;
	struct tree_file f = {.layer = m->layer};
	int r;

	switch (n->kind) {
	case TREE_DIR:
		return tree_builder_add_dir(m->b, path, m->layer, errp);
	case TREE_SYMLINK:
		target = xstrndup(n->target, n->target_len);
		return tree_builder_add_symlink(m->b, path, target, m->layer,
						errp);
	case TREE_FILE:
		break;
	}
	f.executable = n->executable;
	f.size = n->size;
	f.digest = *n->digest;
	f.offset = n->offset;
	r = merge_handle(m, n->source, &f.source, errp);
	if (r < 0)
		return r;
	return tree_builder_add_file(m->b, path, &f, errp);
}

static int merge_node(void *ctx, uint32_t node, const struct tree_node *n,
		      const char *path, struct error **errp)
{
	cleanup_error struct error *err = NULL;
	struct tree_merger *m = ctx;
	const struct build_node *have;
	int r;

	if (n->layer)
		return error_set(errp, EBADMSG,
				 "tree: node %u: a layer's own tree has no "
				 "layer numbers",
				 node);
	r = merge_add(m, path, n, &err);
	if (r != -EEXIST && r != -ENOTDIR)
		return error_propagate(errp, &err, r);
	have = &m->b->nodes[build_find(m->b, path)];
	if (r == -EEXIST && same_entry(m->b, have, n))
		return 0;
	return disagree(m, path, have, errp);
}

struct tree_merger *tree_merger_new(const char *const *names)
{
	struct tree_merger *m = xcalloc(1, sizeof(*m));

	m->b = tree_builder_new();
	m->names = names;
	return m;
}

void tree_merger_free(struct tree_merger *m)
{
	if (!m)
		return;
	tree_builder_free(m->b);
	free(m->handles);
	free(m);
}

int tree_merger_add(struct tree_merger *m, const struct tree *layer,
		    struct error **errp)
{
	size_t n = tree_source_records(layer);
	int r;

	if (m->layer == UINT16_MAX)
		return error_set(errp, EOVERFLOW, "too many layers");
	free(m->handles);
	m->handles = malloc(MAX(n, (size_t)1) * sizeof(*m->handles));
	if (!m->handles)
		return error_set_errno(errp, ENOMEM, "merging trees");
	memset(m->handles, 0xff, n * sizeof(*m->handles));
	m->t = layer;
	r = tree_walk(layer, TREE_ROOT, merge_node, m, errp);
	error_prefix(errp, r, "layer '%s'", m->names[m->layer]);
	m->layer++;
	return r;
}

int tree_merger_finish(struct tree_merger *m, void **ret, size_t *ret_len,
		       struct error **errp)
{
	return tree_builder_finish(m->b, ret, ret_len, errp);
}

int tree_merge(struct tree *const *layers, const char *const *names, size_t n,
	       void **ret, size_t *ret_len, struct error **errp)
{
	cleanup_tree_merger struct tree_merger *m = tree_merger_new(names);

	for (size_t i = 0; i < n; i++) {
		int r = tree_merger_add(m, layers[i], errp);

		if (r < 0)
			return r;
	}
	return tree_merger_finish(m, ret, ret_len, errp);
}

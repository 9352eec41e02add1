/*
 * Paths and walks. Nothing here allocates: a path has at most PATH_DEPTH_MAX
 * components and PATH_BYTES_MAX bytes, which tree_node() holds every node to.
 */
#include "engine/tree.h"

#include <assert.h>
#include <errno.h>

#include "base/path.h"
#include "engine/tree_format.h"

int tree_find(const struct tree *t, const char *path, uint32_t *ret,
	      struct error **errp)
{
	uint32_t at = TREE_ROOT;
	int r;

	if (!*path || !strcmp(path, ".")) {
		*ret = TREE_ROOT;
		return 0;
	}
	for (;;) {
		size_t n = strcspn(path, "/");

		r = tree_lookup(t, at, path, n, &at, errp);
		if (r < 0)
			return r;
		if (!path[n])
			break;
		path += n + 1;
	}
	*ret = at;
	return 0;
}

int tree_path(const struct tree *t, uint32_t i, struct strbuf *out,
	      struct error **errp)
{
	struct {
		const char *name;
		size_t len;
	} up[PATH_DEPTH_MAX];
	struct tree_node n;
	size_t depth = 0;
	int r;

	while (i != TREE_ROOT) {
		r = tree_node(t, i, &n, errp);
		if (r < 0)
			return r;
		assert(depth < PATH_DEPTH_MAX);
		up[depth].name = n.name;
		up[depth++].len = n.name_len;
		i = n.parent;
	}
	while (depth--) {
		strbuf_add(out, up[depth].name, up[depth].len);
		if (depth)
			strbuf_addc(out, '/');
	}
	return 0;
}

/* One directory being visited. */
struct walk_level {
	uint32_t dir;
	uint32_t next, end; /* children still to come */
	size_t len;         /* of the path that its children's names follow */
};

struct walk {
	struct walk_level at[PATH_DEPTH_MAX + 1];
	unsigned depth;
	char path[PATH_BYTES_MAX + 2]; /* a slash and a NUL */
};

static void walk_enter(struct walk *w, unsigned level, uint32_t dir,
		       const struct tree_node *n, size_t len)
{
	if (len)
		w->path[len++] = '/';
	w->at[level] = (struct walk_level){
		.dir = dir,
		.next = n->first,
		.end = n->first + n->count,
		.len = len,
	};
	w->depth = level;
}

static int walk_start(struct walk *w, const struct tree *t, uint32_t i,
		      struct tree_node *n, struct error **errp)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	int r;

	r = tree_node(t, i, n, errp);
	if (r < 0)
		return r;
	r = tree_path(t, i, &path, errp);
	if (r < 0)
		return r;
	memcpy(w->path, strbuf_str(&path), path.len);
	if (n->kind == TREE_DIR)
		walk_enter(w, 0, i, n, path.len);
	return 0;
}

int tree_walk(const struct tree *t, uint32_t i,
	      int (*fn)(void *ctx, uint32_t node, const struct tree_node *n,
			const char *path, struct error **errp),
	      void *ctx, struct error **errp)
{
	struct tree_node n;
	struct walk w;
	int r;

	r = walk_start(&w, t, i, &n, errp);
	if (r < 0 || n.kind != TREE_DIR)
		return r;
	for (;;) {
		struct walk_level *l = &w.at[w.depth];
		uint32_t c;

		if (l->next == l->end) {
			if (!w.depth)
				return 0;
			w.depth--;
			continue;
		}
		c = l->next++;
		r = tree_node(t, c, &n, errp);
		if (r < 0)
			return r;
		if (n.parent != l->dir)
			return error_set(errp, EBADMSG,
					 "tree: node %u is held twice", c);
		memcpy(w.path + l->len, n.name, n.name_len);
		w.path[l->len + n.name_len] = '\0';
		r = fn(ctx, c, &n, w.path, errp);
		if (r)
			return r;
		if (n.kind == TREE_DIR)
			walk_enter(&w, w.depth + 1, c, &n, l->len + n.name_len);
	}
}

#include "engine/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread.h"
#include "engine/glob.h"
#include "engine/source_set.h"

/*
 * layers/<hex>/ in the cache: the layer's big files as symlinks.
 */

struct layer_fill {
	struct tree *tree;
	int dirfd;
	const char *to_blobs;
};

static bool own_blob(const struct tree *t, const struct tree_node *n)
{
	struct tree_source src;

	return n->kind == TREE_FILE && n->source != TREE_NONE &&
	       tree_source(t, n->source, &src, NULL) >= 0 &&
	       (src.kind == TREE_SOURCE_BLOB || src.kind == TREE_SOURCE_RUN);
}

static int link_file(struct layer_fill *lf, const struct tree_node *n,
		     const char *path)
{
	struct digest_hex hex = digest_to_hex(n->digest);
	const char *name = strrchr(path, '/');
	cleanup_free char *dir =
		xstrndup(path, name ? (size_t)(name - path) : 0);
	cleanup_strbuf struct strbuf to = STRBUF_INIT;
	cleanup_fd int fd = -1;
	int r;

	name = name ? name + 1 : path;
	for (const char *p = dir; *p; p++)
		if (*p == '/')
			strbuf_adds(&to, "../");
	if (*dir)
		strbuf_adds(&to, "../");
	strbuf_addf(&to, "%ssha256/%.2s/%s", lf->to_blobs, hex.str, hex.str);
	r = *dir ? io_mkdirs_beneath(lf->dirfd, dir, 0755) : 0;
	if (r < 0)
		return r;
	fd = io_open_beneath(lf->dirfd, *dir ? dir : ".", O_PATH | O_DIRECTORY,
			     0);
	if (fd < 0)
		return fd;
	return symlinkat(strbuf_str(&to), fd, name) < 0 ? -errno : 0;
}

static int link_node(void *ctx, uint32_t node, const struct tree_node *n,
		     const char *path, struct error **errp)
{
	struct layer_fill *lf = ctx;
	int r;

	if (!own_blob(lf->tree, n))
		return 0;
	r = link_file(lf, n, path);
	return r < 0 ? error_set_errno(errp, -r, "linking '%s'", path) : 0;
}

static int fill_layer(void *ctx, int dirfd, const char *to_blobs,
		      struct error **errp)
{
	struct layer_fill *lf = ctx;

	lf->dirfd = dirfd;
	lf->to_blobs = to_blobs;
	return tree_walk(lf->tree, TREE_ROOT, link_node, lf, errp);
}

static int build_layer(struct role_view *v, struct cache *c, uint32_t layer,
		       const struct op *op, struct error **errp)
{
	struct bundle *b = v->bundle;
	cleanup_tree struct tree *t = NULL;
	struct layer_fill lf = {0};
	int r = bundle_layer_tree(b, layer, op, &t, errp);

	if (r < 0)
		return r;
	lf.tree = t;
	return cache_layer_build(c, &b->root.layers[layer].tree.digest,
				 fill_layer, &lf, errp);
}

static int record(struct role_view *v, const struct op *op, struct error **errp)
{
	const struct root_role *role = v->role;
	struct bundle *b = v->bundle;
	cleanup_free struct digest *trees =
		xcalloc(role->n_layers + 1, sizeof(*trees));
	struct cache *c;
	int r = session_cache(b->session, &c, errp);

	for (size_t i = 0; i < role->n_layers && r >= 0; i++) {
		trees[i] = b->root.layers[role->layers[i]].tree.digest;
		r = build_layer(v, c, role->layers[i], op, errp);
	}
	if (r < 0)
		return r;
	return cache_bundle_record(c, &b->digest, &b->root_digest, trees,
				   role->n_layers, errp);
}

/* Opening went on without its tree in the cache, when that took no more. */
static int keep_tree(struct role_view *v, struct cache *c, const struct op *op,
		     struct error **errp)
{
	const struct tree_ref *t = &v->role->tree;
	struct role_view *again = NULL;
	int r;

	if (cache_blob_keep(c, &t->digest, t->size) == 0)
		return 0;
	r = role_view_open(v->bundle, v->role, op, &again, errp);
	if (r < 0)
		return r;
	role_view_close(again);
	if (cache_blob_keep(c, &t->digest, t->size) == 0)
		return 0;
	return error_set_errno(errp, EIO, "cannot keep the tree of role '%s'",
			       v->role->name);
}

/* What the caller is told is here, is, without the registry too, and survives a
 * power cut. */
static int make_durable(struct role_view *v, const struct op *op,
			struct error **errp)
{
	struct cache *c;
	int r = session_cache(v->bundle->session, &c, errp);

	if (r >= 0)
		r = bundle_keep_documents(v->bundle, op, errp);
	if (r >= 0)
		r = keep_tree(v, c, op, errp);
	return r < 0 ? r : cache_sync(c, errp);
}

int pull(struct role_view *v, const char *glob, bool externals,
	 int show_progress, struct pull_result *ret, const struct op *op,
	 struct error **errp)
{
	struct pull_result out = {0};
	cleanup_source_set struct source_set *set = source_set_new(v);
	cleanup_glob struct glob *g = NULL;
	struct file_choice which = {.externals = externals};
	struct file_counts c = {0};
	int r = 0;

	if (glob)
		r = glob_compile(glob, &g, errp);
	which.glob = g;
	if (r >= 0)
		r = source_set_add_files(set, &which, &c, errp);
	out.files = c.files;
	out.bytes = c.bytes;
	if (r >= 0)
		r = source_set_fetch(set, "pulling", show_progress,
				     &out.bytes_network, op, errp);
	if (r < 0)
		return r;
	if (glob && !out.files)
		return error_set_kind(errp, ERROR_NOT_FOUND, ENOENT,
				      "no file of role '%s' matches '%s'",
				      v->role->name, glob);
	r = make_durable(v, op, errp);
	/* A layer's folder promises all its big files. */
	if (r >= 0 && !glob)
		r = record(v, op, errp);
	if (r >= 0)
		*ret = out;
	return r;
}

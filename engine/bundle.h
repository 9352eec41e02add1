/*
 * A bundle that was resolved: manifest and root, checked against the digest,
 * and from there the tree of a role and its sources.
 *
 * Threads: opened by one thread; a role view is immutable and shared after.
 */
#ifndef ENGINE_BUNDLE_H
#define ENGINE_BUNDLE_H

#include "engine/fetch.h"
#include "engine/root.h"
#include "engine/session.h"
#include "engine/tree.h"

struct bundle {
	struct session *session;
	struct reference ref; /* as asked */
	struct digest digest; /* the identity */
	bool tag_from_cache;  /* offline: as last resolved, and trusted */
	struct manifest manifest;
	struct root root;
	struct digest root_digest;
	struct registry *registry; /* NULL when offline; owned by the session */
	struct remote remote;
	struct lease *lease; /* NULL when the cache cannot be written */
};

/*
 * Reference → digest (once) → manifest → root. Online: the tag is asked, and
 * remembered in the cache's refs; documents come from the cache when they are
 * there. Offline: refs and cached documents only (-ENOENT, kind
 * ERROR_DOWNLOAD). With require_digest a reference without one is -EINVAL. A
 * named bundle, tag or digest that does not exist is ERROR_NOT_FOUND. An OCI
 * layout folder is local and works offline.
 *
 * While it is open, gc leaves its documents and trees in the cache.
 */
int bundle_open(struct session *s, const struct reference *ref,
		const struct op *op, struct bundle **ret, struct error **errp);
void bundle_close(struct bundle *b);
static inline void bundle_closep(struct bundle **b)
{
	if (*b)
		bundle_close(*b);
	*b = 0;
}
#define cleanup_bundle __attribute__((cleanup(bundle_closep)))

/* From here on gc leaves its content there, too. Call it before anything is
 * relied on that could be collected. */
int bundle_keep_content(struct bundle *b, struct error **errp);

/*
 * What opening it put into the cache is there: the tag's digest, the manifest,
 * the root. Opening goes on without a cache that takes them; who promises that
 * the bundle is here asks. What is missing is fetched and put once more.
 */
int bundle_keep_documents(struct bundle *b, const struct op *op,
			  struct error **errp);

/*
 * For gc_options.expand, with the struct cache as @ctx: what a bundle needs, as
 * far as the cache itself can tell. With @content -ENOENT when it has lost the
 * bundle's documents: then nobody knows which blobs are its.
 */
struct digest_set;
int bundle_needs(void *ctx, const struct digest *manifest, bool content,
		 struct digest_set *needed, struct error **errp);

/*
 * Role choice: @role > settings role (--role, MOPS_ROLE) > "default" >
 * ERROR_ROLE naming the roles there are.
 */
int bundle_choose_role(const struct bundle *b, const char *role,
		       const struct root_role **ret, struct error **errp);

/* A role's tree, a copy that was hashed while it was made, with its sources. */
struct role_view {
	struct bundle *bundle;
	const struct root_role *role;
	struct tree *tree;
};
int role_view_open(struct bundle *b, const struct root_role *role,
		   const struct op *op, struct role_view **ret,
		   struct error **errp);
void role_view_close(struct role_view *v);
static inline void role_view_closep(struct role_view **v)
{
	if (*v)
		role_view_close(*v);
	*v = 0;
}
#define cleanup_role_view __attribute__((cleanup(role_view_closep)))

/* The tree of one layer (for export checks, layers/ and --deep). */
int bundle_layer_tree(struct bundle *b, size_t layer, const struct op *op,
		      struct tree **ret, struct error **errp);

/*
 * The fetchable source @index of a tree: its blobs and parts must be in the
 * manifest with the same size (-EBADMSG). A new reference.
 */
int bundle_source(struct bundle *b, const struct tree *t, uint32_t index,
		  struct fetch_source **ret, struct error **errp);

/* The range of a file node [@off, @off + @len) as the fetcher takes it;
 * @n is a TREE_FILE with a source. */
void file_range(const struct tree_node *n, struct fetch_source *src,
		uint64_t off, size_t len, struct fetch_range *ret);

/* Everything of the role, externals included, is local and sealed? Else -ENOENT
 * naming what is missing (kind ERROR_DOWNLOAD). For --offline. */
int role_view_complete(struct role_view *v, struct error **errp);

#endif

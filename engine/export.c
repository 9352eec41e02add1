#include <errno.h>

#include "base/io.h"
#include "engine/archive_members.h"
#include "engine/pointer.h"
#include "engine/pull.h"
#include "engine/workspace.h"

static void add_parents(struct archive_members *m, const char *path)
{
	cleanup_free char *dir = xstrdup(path);
	char *slash;

	for (slash = strchr(dir, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		archive_add(m, dir, TAR_DIR);
		*slash = '/';
	}
}

/*
 * A role.
 */

struct role_export {
	struct role_view *v;
	const struct op *op;
	bool include_external;
	struct archive_members members;
	struct export_result *out;
	struct fetcher *fetcher;
	/* The source of the member before: packs follow each other. */
	struct fetch_source *source;
	uint32_t source_index;
};

static int add_pointer(struct role_export *x, const struct tree_node *n,
		       const struct tree_source *s, const char *path)
{
	static const char *const tiers[] = {"", "hot", "cool", "archive"};
	const struct root *root = &x->v->bundle->root;
	cleanup_free char *at = pointer_path(path);
	cleanup_free char *uri = xstrndup(s->uri, s->uri_len);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	uint32_t layer = x->v->role->layers[n->layer];
	struct pointer p = {
		.original_path = (char *)path,
		.layer = root->layers[layer].name,
		.uri = uri,
		.tier = (char *)tiers[s->tier],
		.sha256 = *n->digest,
		.size = n->size,
	};
	struct archive_member *m;

	pointer_write(&p, &doc);
	add_parents(&x->members, at);
	m = archive_add(&x->members, at, TAR_FILE);
	m->entry.size = doc.len;
	m->owned_len = doc.len;
	m->owned = strbuf_steal(&doc);
	x->out->pointers++;
	return 0;
}

static int add_node(void *ctx, uint32_t i, const struct tree_node *n,
		    const char *path, struct error **errp)
{
	struct role_export *x = ctx;
	struct tree_source s;
	struct archive_member *m;
	int r;

	if (n->kind == TREE_DIR) {
		archive_add(&x->members, path, TAR_DIR);
		return 0;
	}
	if (n->kind == TREE_SYMLINK) {
		m = archive_add(&x->members, path, TAR_SYMLINK);
		m->owned = xstrndup(n->target, n->target_len);
		m->entry.target = m->owned;
		return 0;
	}
	x->out->files++;
	x->out->bytes += n->size;
	if (n->source != TREE_NONE) {
		r = tree_source(x->v->tree, n->source, &s, errp);
		if (r < 0)
			return r;
		if (s.kind == TREE_SOURCE_EXTERNAL && !x->include_external)
			return add_pointer(x, n, &s, path);
	}
	m = archive_add(&x->members, path, TAR_FILE);
	m->node = i;
	m->entry.size = n->size;
	m->entry.executable = n->executable;
	return 0;
}

static int use_source(struct role_export *x, uint32_t index,
		      struct error **errp)
{
	if (x->source && x->source_index == index)
		return 0;
	if (x->source)
		fetch_source_close(steal_ptr(&x->source));
	x->source_index = index;
	return bundle_source(x->v->bundle, x->v->tree, index, &x->source, errp);
}

static int copy_node(void *ctx, const struct archive_member *m,
		     struct archive_out *out, struct error **errp)
{
	struct role_export *x = ctx;
	cleanup_hasher struct hasher *h = hasher_new();
	cleanup_free char *buf = NULL;
	struct digest digest;
	struct tree_node n;
	uint64_t off = 0;
	int r;

	if (m->owned)
		return archive_out_write(out, m->owned, m->owned_len, errp);
	r = tree_node(x->v->tree, m->node, &n, errp);
	if (r == 0)
		r = use_source(x, n.source, errp);
	if (r < 0)
		return r;
	buf = xmalloc(CHUNK_SIZE);
	while (r == 0 && off < n.size) {
		struct fetch_range range;
		size_t want = MIN(n.size - off, CHUNK_SIZE);
		ssize_t got;

		file_range(&n, x->source, off, want, &range);
		got = fetch_read(x->fetcher, &range, buf, x->op, errp);
		if (got < 0)
			return error_prefix(errp, (int)got, "'%s'", m->path);
		hasher_update(h, buf, want);
		r = archive_out_write(out, buf, want, errp);
		off += want;
	}
	if (r < 0)
		return r;
	/* Right chunks do not make a file that is what the tree says. */
	digest = hasher_final(h);
	if (!digest_equal(&digest, n.digest))
		return error_set(errp, EBADMSG,
				 "the bytes of '%s' are not what the tree says",
				 m->path);
	return 0;
}

int export_role(struct role_view *v, const char *file, bool include_external,
		bool show_progress, struct export_result *ret,
		const struct op *op, struct error **errp)
{
	struct export_result out = {0};
	struct role_export x = {
		.v = v,
		.op = op,
		.include_external = include_external,
		.out = &out,
	};
	cleanup_archive_members struct archive_members members = {0};
	struct pull_result pulled;
	int r = pull(v, NULL, include_external, show_progress, &pulled, op,
		     errp);

	if (r == 0)
		r = session_fetcher(v->bundle->session, &x.fetcher, errp);
	if (r == 0)
		r = tree_walk(v->tree, TREE_ROOT, add_node, &x, errp);
	members = x.members;
	if (r == 0)
		r = archive_write(file, &members, copy_node, &x, &out, errp);
	if (x.source)
		fetch_source_close(x.source);
	if (r < 0)
		return error_prefix(errp, r, "exporting to '%s'", file);
	*ret = out;
	return 0;
}

/*
 * A folder.
 */

static int copy_file(void *ctx, const struct archive_member *m,
		     struct archive_out *out, struct error **errp)
{
	const struct inventory *inv = ctx;
	const struct inv_entry *e = m->of;
	cleanup_fd int fd = inventory_open(inv, e, errp);
	cleanup_hasher struct hasher *h = hasher_new();
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	uint64_t off = 0;
	struct digest now;

	if (fd < 0)
		return fd;
	while (off < m->entry.size) {
		size_t want = MIN(m->entry.size - off, CHUNK_SIZE);
		ssize_t got = io_pread_full(fd, buf, want, off);
		int r;

		if (got < 0)
			return error_set_errno(errp, (int)-got, "reading '%s'",
					       m->path);
		if ((size_t)got < want)
			break;
		hasher_update(h, buf, want);
		r = archive_out_write(out, buf, want, errp);
		if (r < 0)
			return r;
		off += want;
	}
	now = hasher_final(h);
	if (off < m->entry.size || !digest_equal(&now, &e->digest))
		return error_set_kind(errp, ERROR_VALIDATION, ESTALE,
				      "'%s' changed since it was scanned",
				      m->path);
	return 0;
}

static void add_inventory(struct archive_members *m,
			  const struct inventory *inv,
			  struct export_result *out)
{
	static const enum tar_kind kinds[] = {
		[TREE_DIR] = TAR_DIR,
		[TREE_FILE] = TAR_FILE,
		[TREE_SYMLINK] = TAR_SYMLINK,
	};

	for (size_t i = 0; i < inv->n; i++) {
		const struct inv_entry *e = &inv->entries[i];
		struct archive_member *x;

		add_parents(m, e->path);
		x = archive_add(m, e->path, kinds[e->kind]);
		x->of = e;
		x->entry.executable = e->executable;
		x->entry.target = e->target;
		if (e->kind != TREE_FILE)
			continue;
		x->entry.size = e->size;
		out->files++;
		out->bytes += e->size;
	}
}

int export_folder(struct session *s, const char *dir, const char *file,
		  struct export_result *ret, const struct op *op,
		  struct error **errp)
{
	cleanup_workspace struct workspace ws = WORKSPACE_INIT;
	cleanup_archive_members struct archive_members members = {0};
	struct workspace_options wo = {.op = op};
	struct export_result out = {0};
	int r = workspace_open(s, dir, &wo, &ws, errp);

	if (r == 0) {
		add_inventory(&members, &ws.inv, &out);
		r = archive_write(file, &members, copy_file, &ws.inv, &out,
				  errp);
	}
	if (r < 0)
		return error_prefix(errp, r, "exporting '%s'", dir);
	*ret = out;
	return 0;
}

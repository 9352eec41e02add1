#include "fs/synthetic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/strbuf.h"
#include "engine/pointer.h"

#define INO_DIR      SYNTHETIC_INO
#define INO_MANIFEST (SYNTHETIC_INO + 1)
#define BASE_FOLDER  (SYNTHETIC_INO + (1ull << 40))
#define BASE_POINTER (SYNTHETIC_INO + (1ull << 41))
#define INO_PTR      (BASE_FOLDER + TREE_ROOT)

#define MANIFEST_NAME ".mops-manifest.json"
#define PTR_NAME      "ptr"
#define SUFFIX        ".json"

struct synthetic {
	struct mount *m;
	struct strbuf manifest;
	struct mutex lock;
	uint8_t *folders; /* a bit per node, when known */
	bool known;
};

static bool is_folder(fuse_ino_t ino)
{
	return ino >= BASE_FOLDER && ino < BASE_POINTER;
}

static bool is_pointer(fuse_ino_t ino)
{
	return ino >= BASE_POINTER;
}

static uint64_t node_of(fuse_ino_t ino)
{
	return ino - (is_pointer(ino) ? BASE_POINTER : BASE_FOLDER);
}

struct synthetic *synthetic_new(struct mount *m)
{
	struct synthetic *s = xcalloc(1, sizeof(*s));

	s->m = m;
	mutex_init(&s->lock, LOCK_MOUNT);
	provenance_write(m->bundle, m->view->role, &s->manifest);
	return s;
}

void synthetic_free(struct synthetic *s)
{
	if (!s)
		return;
	strbuf_release(&s->manifest);
	mutex_destroy(&s->lock);
	free(s->folders);
	free(s);
}

static bool is_external(struct synthetic *s, const struct tree_node *n)
{
	struct tree_source src;

	return n->kind == TREE_FILE && n->source != TREE_NONE &&
	       tree_source(s->m->tree, n->source, &src, NULL) == 0 &&
	       src.kind == TREE_SOURCE_EXTERNAL;
}

static bool any_external(const struct tree *t)
{
	struct tree_source src;

	for (uint32_t i = 0; i < tree_source_records(t);
	     i = tree_next_source(t, i))
		if (tree_source(t, i, &src, NULL) == 0 &&
		    src.kind == TREE_SOURCE_EXTERNAL)
			return true;
	return false;
}

static bool bit_get(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] & (1u << i % 8);
}

/* Mark a folder and those above it, up to one that is marked already. */
static void mark_folders(const struct tree *t, uint8_t *bits, uint32_t i)
{
	struct tree_node n;

	while (!bit_get(bits, i)) {
		bits[i / 8] |= (uint8_t)(1u << i % 8);
		if (i == TREE_ROOT || tree_node(t, i, &n, NULL) < 0)
			return;
		i = n.parent;
	}
}

static uint8_t *find_folders(struct synthetic *s)
{
	const struct tree *t = s->m->tree;
	uint32_t nodes = tree_nodes(t);
	uint8_t *bits;

	if (!any_external(t))
		return NULL;
	bits = calloc(nodes / 8 + 1, 1);
	for (uint32_t i = 0; bits && i < nodes; i++) {
		struct tree_node n;

		if (tree_node(t, i, &n, NULL) == 0 && is_external(s, &n))
			mark_folders(t, bits, n.parent);
	}
	return bits;
}

static bool folder_has(struct synthetic *s, uint64_t node)
{
	uint8_t *bits = NULL;
	bool known;

	mutex_lock(&s->lock);
	known = s->known;
	mutex_unlock(&s->lock);
	if (!known) {
		bits = find_folders(s);
		mutex_lock(&s->lock);
		if (!s->known) {
			s->folders = bits;
			bits = NULL;
			s->known = true;
		}
		mutex_unlock(&s->lock);
		free(bits); /* someone else was first */
	}
	/* Immutable from here on. */
	return s->folders && node < tree_nodes(s->m->tree) &&
	       bit_get(s->folders, (uint32_t)node);
}

static int pointer_text(struct synthetic *s, uint64_t node, struct strbuf *out,
			struct error **errp)
{
	static const char *const tiers[] = {"", "hot", "cool", "archive"};
	const struct mount *m = s->m;
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	cleanup_free char *uri = NULL;
	const struct root_role *role = m->view->role;
	struct tree_source src;
	struct tree_node n;
	int r = tree_node(m->tree, (uint32_t)node, &n, errp);

	if (r == 0)
		r = tree_source(m->tree, n.source, &src, errp);
	if (r == 0)
		r = tree_path(m->tree, (uint32_t)node, &path, errp);
	if (r < 0)
		return r;
	if (n.layer >= role->n_layers)
		return error_set(errp, EBADMSG,
				 "the tree names layer %u of %zu", n.layer,
				 role->n_layers);
	uri = xstrndup(src.uri, src.uri_len);
	pointer_write(
		&(struct pointer){
			.original_path = path.buf,
			.layer = m->bundle->root.layers[role->layers[n.layer]]
					 .name,
			.uri = uri,
			.tier = (char *)tiers[src.tier],
			.sha256 = *n.digest,
			.size = n.size,
		},
		out);
	return 0;
}

/* The bytes of a synthetic file; 0 or an errno. */
static int document(struct synthetic *s, fuse_ino_t ino, struct strbuf *out)
{
	cleanup_error struct error *err = NULL;
	struct tree_node n;

	if (ino == INO_MANIFEST) {
		strbuf_add(out, s->manifest.buf, s->manifest.len);
		return 0;
	}
	if (!is_pointer(ino) || node_of(ino) >= tree_nodes(s->m->tree) ||
	    tree_node(s->m->tree, (uint32_t)node_of(ino), &n, NULL) < 0 ||
	    !is_external(s, &n))
		return ENOENT;
	if (pointer_text(s, node_of(ino), out, &err) < 0)
		return fs_errors_report(&s->m->errors, SITE_SYNTHETIC, ino,
					"a pointer", err->message);
	return 0;
}

int synthetic_stat(struct synthetic *s, fuse_ino_t ino, struct stat *ret)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	int code;

	ret->st_mode = S_IFDIR | 0755;
	if (ino == INO_DIR || (is_folder(ino) && folder_has(s, node_of(ino))))
		return 0;
	code = document(s, ino, &doc);
	ret->st_mode = S_IFREG | 0444;
	ret->st_size = (off_t)doc.len;
	return code;
}

/* "x.json" in the ptr/ folder of @node: the folder x.json, or the pointer of
 * the external x. (No bundle has both.) */
static int lookup_in_folder(struct synthetic *s, uint32_t node,
			    const char *name, fuse_ino_t *ret)
{
	const struct tree *t = s->m->tree;
	size_t len = strlen(name), cut = strlen(SUFFIX);
	struct tree_node n;
	uint32_t child;

	if (tree_lookup(t, node, name, len, &child, NULL) == 0 &&
	    tree_node(t, child, &n, NULL) == 0 && n.kind == TREE_DIR &&
	    folder_has(s, child)) {
		*ret = BASE_FOLDER + child;
		return 0;
	}
	if (len > cut && !strcmp(name + len - cut, SUFFIX) &&
	    tree_lookup(t, node, name, len - cut, &child, NULL) == 0 &&
	    tree_node(t, child, &n, NULL) == 0 && is_external(s, &n)) {
		*ret = BASE_POINTER + child;
		return 0;
	}
	return ENOENT;
}

int synthetic_lookup(struct synthetic *s, fuse_ino_t dir, const char *name,
		     fuse_ino_t *ret)
{
	if (is_folder(dir) && folder_has(s, node_of(dir)))
		return lookup_in_folder(s, (uint32_t)node_of(dir), name, ret);
	if (dir != INO_DIR)
		return ENOTDIR;
	if (!strcmp(name, MANIFEST_NAME))
		*ret = INO_MANIFEST;
	else if (!strcmp(name, PTR_NAME) && folder_has(s, TREE_ROOT))
		*ret = INO_PTR;
	else
		return ENOENT;
	return 0;
}

fuse_ino_t synthetic_parent(struct synthetic *s, fuse_ino_t dir)
{
	struct tree_node n;

	if (dir == INO_DIR)
		return FUSE_ROOT_ID;
	if (dir == INO_PTR || !is_folder(dir) ||
	    tree_node(s->m->tree, (uint32_t)node_of(dir), &n, NULL) < 0)
		return INO_DIR;
	return BASE_FOLDER + n.parent;
}

/* What the ptr/ folder shows of one child of the tree's folder. */
static bool entry_of_child(struct synthetic *s, uint32_t child,
			   char name[NAME_MAX + 1], fuse_ino_t *ret)
{
	struct tree_node n;

	if (tree_node(s->m->tree, child, &n, NULL) < 0)
		return false;
	if (n.kind == TREE_DIR && folder_has(s, child)) {
		snprintf(name, NAME_MAX + 1, "%.*s", n.name_len, n.name);
		*ret = BASE_FOLDER + child;
		return true;
	}
	if (!is_external(s, &n))
		return false;
	snprintf(name, NAME_MAX + 1, "%.*s" SUFFIX, n.name_len, n.name);
	*ret = BASE_POINTER + child;
	return true;
}

static bool next_in_folder(struct synthetic *s, uint32_t node, uint64_t *pos,
			   char name[NAME_MAX + 1], fuse_ino_t *ret)
{
	struct tree_node n;

	if (tree_node(s->m->tree, node, &n, NULL) < 0 || n.kind != TREE_DIR)
		return false;
	while (*pos < n.count)
		if (entry_of_child(s, n.first + (uint32_t)(*pos)++, name, ret))
			return true;
	return false;
}

bool synthetic_next(struct synthetic *s, fuse_ino_t dir, uint64_t *pos,
		    char name[NAME_MAX + 1], fuse_ino_t *ret)
{
	if (is_folder(dir))
		return next_in_folder(s, (uint32_t)node_of(dir), pos, name,
				      ret);
	if (dir != INO_DIR)
		return false;
	if (*pos == 0) {
		memcpy(name, MANIFEST_NAME, sizeof(MANIFEST_NAME));
		*ret = INO_MANIFEST;
	} else if (*pos == 1 && folder_has(s, TREE_ROOT)) {
		memcpy(name, PTR_NAME, sizeof(PTR_NAME));
		*ret = INO_PTR;
	} else {
		return false;
	}
	(*pos)++;
	return true;
}

void synthetic_read(struct synthetic *s, fuse_req_t req, fuse_ino_t ino,
		    size_t size, off_t off)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	int code = document(s, ino, &doc);

	if (code)
		fuse_reply_err(req, code == ENOENT ? EISDIR : code);
	else if (off < 0 || (uint64_t)off >= doc.len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, doc.buf + off,
			       MIN(size, doc.len - (size_t)off));
}

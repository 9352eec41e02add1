/*
 * Extended attributes: what the mount knows of a file, for getfattr.
 *
 * Names outside "user." are EOPNOTSUPP, which the kernel remembers for the
 * whole mount: coreutils ask for security.selinux and the ACLs of each file.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "cache/content.h"
#include "fs/mount.h"
#include "fs/sources.h"
#include "fs/synthetic.h"

#define PREFIX "user."
#define OURS   "user.mops."

/* What an attribute is asked of. */
struct subject {
	struct mount *m;
	fuse_ino_t ino;
	struct tree_node node;
};

/* Writes the value; false: this inode has no such attribute. */
typedef bool (*value_fn)(const struct subject *s, struct strbuf *out);

static bool is_file(const struct subject *s)
{
	return s->node.kind == TREE_FILE;
}

static bool is_root(const struct subject *s)
{
	return s->ino == FUSE_ROOT_ID;
}

static bool value_digest(const struct subject *s, struct strbuf *out)
{
	if (!is_file(s))
		return false;
	strbuf_adds(out, digest_to_str(s->node.digest).str);
	return true;
}

static bool value_layer(const struct subject *s, struct strbuf *out)
{
	const struct root_role *role = s->m->view->role;

	if (!is_file(s) || s->node.layer >= role->n_layers)
		return false;
	strbuf_adds(
		out,
		s->m->bundle->root.layers[role->layers[s->node.layer]].name);
	return true;
}

static bool value_source(const struct subject *s, struct strbuf *out)
{
	static const char *const kinds[] = {
		[TREE_SOURCE_BLOB] = "blob",
		[TREE_SOURCE_RUN] = "run",
		[TREE_SOURCE_PACK] = "pack",
		[TREE_SOURCE_EXTERNAL] = "external",
	};
	struct tree_source src;

	if (!is_file(s))
		return false;
	if (s->node.source == TREE_NONE) {
		strbuf_adds(out, "empty");
		return true;
	}
	if (tree_source(s->m->tree, s->node.source, &src, NULL) < 0)
		return false;
	strbuf_addf(out, "%s ", kinds[src.kind]);
	if (src.kind == TREE_SOURCE_EXTERNAL)
		strbuf_add(out, src.uri, src.uri_len);
	else
		strbuf_adds(out, digest_to_str(&src.digest).str);
	return true;
}

/* How many of the chunks that hold the file are local. */
static uint32_t chunks_have(struct content *ct, uint64_t first, uint64_t last)
{
	uint32_t have = 0;

	if (first == 0 && last + 1 == chunk_count(content_size(ct)))
		return content_have(ct);
	for (uint64_t i = first; i <= last; i++)
		have += content_has(ct, (uint32_t)i);
	return have;
}

static void add_state(struct content *ct, uint64_t off, uint64_t size,
		      struct strbuf *out)
{
	uint64_t first = off / CHUNK_SIZE, last = (off + size - 1) / CHUNK_SIZE;
	uint64_t all = last - first + 1;
	uint64_t have = content_sealed(ct) ? all : chunks_have(ct, first, last);

	if (have == all)
		strbuf_adds(out, "complete");
	else if (have == 0)
		strbuf_adds(out, "absent");
	else
		strbuf_addf(out, "partial %llu/%llu", (unsigned long long)have,
			    (unsigned long long)all);
}

static bool value_state(const struct subject *s, struct strbuf *out)
{
	struct fetch_source *src;

	if (!is_file(s))
		return false;
	if (s->node.source == TREE_NONE) {
		strbuf_adds(out, "complete");
		return true;
	}
	if (sources_get(s->m->sources, s->node.source, &src, NULL) < 0)
		return false;
	add_state(fetch_source_content(src), s->node.offset, s->node.size, out);
	sources_put(s->m->sources, s->node.source);
	return true;
}

static bool value_error(const struct subject *s, struct strbuf *out)
{
	return fs_errors_last(&s->m->errors, s->ino, out);
}

static bool value_manifest(const struct subject *s, struct strbuf *out)
{
	if (!is_root(s))
		return false;
	strbuf_adds(out, digest_to_str(&s->m->bundle->digest).str);
	return true;
}

static bool value_reference(const struct subject *s, struct strbuf *out)
{
	cleanup_free char *ref = NULL;

	if (!is_root(s))
		return false;
	ref = reference_str(&s->m->bundle->ref);
	strbuf_adds(out, ref);
	return true;
}

static bool value_role(const struct subject *s, struct strbuf *out)
{
	if (!is_root(s))
		return false;
	strbuf_adds(out, s->m->view->role->name);
	return true;
}

static const struct {
	const char *name;
	value_fn value;
} attributes[] = {
	{OURS "digest", value_digest},       {OURS "layer", value_layer},
	{OURS "source", value_source},       {OURS "state", value_state},
	{OURS "error", value_error},         {OURS "manifest", value_manifest},
	{OURS "reference", value_reference}, {OURS "role", value_role},
};

static void reply_value(fuse_req_t req, const struct strbuf *value, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, value->len);
	else if (value->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, strbuf_str(value), value->len);
}

static int subject_of(fuse_req_t req, fuse_ino_t ino, struct subject *ret)
{
	ret->m = mount_of(req);
	ret->ino = ino;
	return ino_is_synthetic(ino) ? ENODATA
				     : mount_node(ret->m, ino, &ret->node);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	cleanup_strbuf struct strbuf value = STRBUF_INIT;
	struct subject s;
	int code;

	stat_add(&mount_of(req)->stats->ops[OP_GETXATTR], 1);
	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	code = subject_of(req, ino, &s);
	if (code) {
		fuse_reply_err(req, code);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		if (!strcmp(name, attributes[i].name) &&
		    attributes[i].value(&s, &value)) {
			reply_value(req, &value, size);
			return;
		}
	}
	fuse_reply_err(req, ENODATA);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	cleanup_strbuf struct strbuf names = STRBUF_INIT;
	struct subject s;
	int code = subject_of(req, ino, &s);

	stat_add(&mount_of(req)->stats->ops[OP_LISTXATTR], 1);
	if (code && code != ENODATA) {
		fuse_reply_err(req, code);
		return;
	}
	for (size_t i = 0; !code && i < ARRAY_SIZE(attributes); i++) {
		cleanup_strbuf struct strbuf value = STRBUF_INIT;

		if (attributes[i].value(&s, &value))
			strbuf_add(&names, attributes[i].name,
				   strlen(attributes[i].name) + 1);
	}
	reply_value(req, &names, size);
}

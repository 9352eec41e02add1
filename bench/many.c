/*
 * bench-many LAYOUT N: puts a bundle "many@1" of N files into an OCI layout
 * folder. Only a thousand of them differ, so that the tree is big and its
 * content small: for measuring mounts and listings.
 */
#include <stdio.h>

#include "base/escape.h"
#include "cache/content.h"
#include "engine/root.h"
#include "engine/tar.h"
#include "engine/tree_builder.h"
#include "storage/registry.h"

#define FILES_PER_DIR 100
#define CONTENTS      1000
#define FILE_SIZE     64

struct made {
	struct tree_ref tree;
	void *mem;
	struct strbuf pack;
	struct digest pack_digest;
	struct digest contents[CONTENTS];
	uint64_t offsets[CONTENTS];
};

static char *path_of(unsigned long i)
{
	unsigned long dir = i / FILES_PER_DIR;

	return xasprintf("d%03lu/d%03lu/file-%07lu.bin", dir / 100, dir % 100,
			 i);
}

/* The first thousand files, one tar entry each. */
static void make_pack(struct made *m)
{
	static const char zeros[TAR_RECORD];

	for (unsigned long i = 0; i < CONTENTS; i++) {
		cleanup_free char *path = path_of(i);
		struct tar_entry e = {
			.kind = TAR_FILE, .path = path, .size = FILE_SIZE};
		char content[FILE_SIZE + 1];

		snprintf(content, sizeof(content), "%0*lu", FILE_SIZE, i);
		tar_header(&m->pack, &e);
		m->offsets[i] = m->pack.len;
		m->contents[i] = digest_of_buf(content, FILE_SIZE);
		strbuf_add(&m->pack, content, FILE_SIZE);
		strbuf_add(&m->pack, zeros, tar_padding(FILE_SIZE));
	}
	strbuf_add(&m->pack, zeros, tar_trailer(m->pack.len));
	m->pack_digest = digest_of_buf(m->pack.buf, m->pack.len);
}

static struct digest *chunks_of(const void *p, size_t n, uint32_t *ret_n)
{
	struct digest *chunks = NULL;

	*ret_n = n > CHUNK_SIZE ? chunk_count(n) : 0;
	if (*ret_n)
		chunks = xcalloc(*ret_n, sizeof(*chunks));
	for (uint32_t i = 0; i < *ret_n; i++)
		chunks[i] =
			digest_of_buf((const char *)p + (size_t)i * CHUNK_SIZE,
				      chunk_len(n, i));
	return chunks;
}

static int build_tree(struct made *m, unsigned long n, struct error **errp)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	cleanup_free struct digest *chunks = NULL;
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_PACK,
		.digest = m->pack_digest,
		.size = m->pack.len,
	};
	uint32_t source;
	size_t len;
	int r = 0;

	chunks = chunks_of(m->pack.buf, m->pack.len, &s.n_chunks);
	s.chunks = chunks;
	source = tree_builder_source(b, &s);
	for (unsigned long i = 0; r == 0 && i < n; i++) {
		cleanup_free char *path = path_of(i);
		struct tree_file f = {
			.size = FILE_SIZE,
			.digest = m->contents[i % CONTENTS],
			.source = source,
			.offset = m->offsets[i % CONTENTS],
		};

		r = tree_builder_add_file(b, path, &f, errp);
	}
	if (r == 0)
		r = tree_builder_finish(b, &m->mem, &len, errp);
	if (r < 0)
		return r;
	m->tree.size = len;
	m->tree.digest = digest_of_buf(m->mem, len);
	m->tree.chunks = chunks_of(m->mem, len, &m->tree.n_chunks);
	return 0;
}

static int put(struct registry *reg, const struct digest *d, const void *p,
	       size_t n, struct error **errp)
{
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	return reg->ops->put_blob(reg, "many", d, &feed.feed, NULL, errp);
}

static void write_root(const struct made *m, unsigned long n,
		       struct strbuf *out)
{
	uint32_t zero = 0;
	struct root_layer layer = {.name = (char *)"data",
				   .tree = m->tree,
				   .files = n,
				   .bytes = n * FILE_SIZE,
				   .bytes_pack = n * FILE_SIZE};
	struct root_role role = {.name = (char *)"default",
				 .layers = &zero,
				 .n_layers = 1,
				 .tree = m->tree};
	struct root root = {.plan_version = 1,
			    .layers = &layer,
			    .n_layers = 1,
			    .roles = &role,
			    .n_roles = 1,
			    .files = n,
			    .bytes = n * FILE_SIZE};

	root_write(&root, out);
}

static void write_manifest(const struct made *m, struct strbuf *root,
			   struct strbuf *out, struct digest *ret_root)
{
	struct descriptor layers[] = {
		{.media_type = (char *)MEDIA_TYPE_TREE,
		 .digest = m->tree.digest,
		 .size = m->tree.size},
		{.media_type = (char *)MEDIA_TYPE_PACK,
		 .digest = m->pack_digest,
		 .size = m->pack.len},
	};
	struct manifest man = {
		.config = {.media_type = (char *)MEDIA_TYPE_ROOT,
			   .digest = digest_of_buf(root->buf, root->len),
			   .size = root->len,
			   .data = root->len <= ROOT_INLINE_MAX ? root->buf
								: NULL},
		.layers = layers,
		.n_layers = ARRAY_SIZE(layers),
	};

	manifest_write(&man, out);
	*ret_root = man.config.digest;
}

static int push(struct registry *reg, const struct made *m, unsigned long n,
		struct error **errp)
{
	cleanup_strbuf struct strbuf root = STRBUF_INIT;
	cleanup_strbuf struct strbuf bytes = STRBUF_INIT;
	struct digest root_digest;
	int r;

	write_root(m, n, &root);
	write_manifest(m, &root, &bytes, &root_digest);
	r = put(reg, &m->tree.digest, m->mem, m->tree.size, errp);
	if (r == 0)
		r = put(reg, &m->pack_digest, m->pack.buf, m->pack.len, errp);
	if (r == 0)
		r = put(reg, &root_digest, root.buf, root.len, errp);
	if (r == 0)
		r = reg->ops->put_manifest(reg, "many", "1",
					   MEDIA_TYPE_MANIFEST, bytes.buf,
					   bytes.len, NULL, errp);
	return r;
}

int main(int argc, char **argv)
{
	cleanup_error struct error *err = NULL;
	cleanup_registry struct registry *reg = NULL;
	unsigned long n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct made m = {0};
	int r;

	if (n == 0) {
		fprintf(stderr, "usage: bench-many LAYOUT N\n");
		return 2;
	}
	reg = registry_layout_new(argv[1]);
	make_pack(&m);
	r = build_tree(&m, n, &err);
	if (r == 0)
		r = push(reg, &m, n, &err);
	free(m.mem);
	free(m.tree.chunks);
	strbuf_release(&m.pack);
	if (r < 0) {
		print_line(stderr, "bench-many: %s",
			   err ? err->message : "failed");
		return 3;
	}
	printf("%lu files, tree of %llu bytes\n", n,
	       (unsigned long long)m.tree.size);
	return 0;
}

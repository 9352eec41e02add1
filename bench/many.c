/*
 * bench-many LAYOUT N: puts a bundle "many@1" of N files into an OCI layout
 * folder, tree, root and manifest alone: the packs that the tree names are not
 * there. For measuring mounts and listings of big trees.
 */
#include <stdio.h>

#include "base/escape.h"
#include "cache/content.h"
#include "engine/root.h"
#include "engine/tree_builder.h"
#include "storage/registry.h"

#define FILES_PER_DIR  100
#define FILES_PER_PACK 10000
#define FILE_SIZE      4096u

struct made {
	struct tree_ref tree;
	void *mem;
	struct descriptor *packs;
	size_t n_packs;
};

static struct digest digest_of_number(const char *what, unsigned long n)
{
	cleanup_free char *s = xasprintf("%s %lu", what, n);

	return digest_of_str(s);
}

static uint32_t add_pack(struct made *m, struct tree_builder *b, size_t n)
{
	uint64_t size = (uint64_t)FILES_PER_PACK * FILE_SIZE;
	uint32_t n_chunks = chunk_count(size);
	cleanup_free struct digest *chunks = xcalloc(n_chunks, sizeof(*chunks));
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_PACK,
		.digest = digest_of_number("pack", n),
		.size = size,
		.chunks = chunks,
		.n_chunks = n_chunks,
	};

	for (uint32_t i = 0; i < n_chunks; i++)
		chunks[i] = digest_of_number("chunk", n * 1000 + i);
	m->packs[m->n_packs++] = (struct descriptor){
		.media_type = (char *)MEDIA_TYPE_PACK,
		.digest = s.digest,
		.size = size,
	};
	return tree_builder_source(b, &s);
}

static int add_files(struct made *m, struct tree_builder *b, unsigned long n,
		     struct error **errp)
{
	uint32_t pack = TREE_NONE;
	int r = 0;

	for (unsigned long i = 0; r == 0 && i < n; i++) {
		unsigned long dir = i / FILES_PER_DIR;
		cleanup_free char *path =
			xasprintf("d%03lu/d%03lu/file-%07lu.bin", dir / 100,
				  dir % 100, i);
		struct tree_file f = {
			.size = FILE_SIZE,
			.digest = digest_of_number("file", i),
			.offset = i % FILES_PER_PACK * FILE_SIZE,
		};

		if (i % FILES_PER_PACK == 0)
			pack = add_pack(m, b, i / FILES_PER_PACK);
		f.source = pack;
		r = tree_builder_add_file(b, path, &f, errp);
	}
	return r;
}

static int build_tree(struct made *m, unsigned long n, struct error **errp)
{
	cleanup_tree_builder struct tree_builder *b = tree_builder_new();
	size_t len;
	int r;

	m->packs = xcalloc(n / FILES_PER_PACK + 1, sizeof(*m->packs));
	r = add_files(m, b, n, errp);
	if (r == 0)
		r = tree_builder_finish(b, &m->mem, &len, errp);
	if (r < 0)
		return r;
	m->tree.size = len;
	m->tree.digest = digest_of_buf(m->mem, len);
	if (len <= CHUNK_SIZE)
		return 0;
	m->tree.n_chunks = chunk_count(len);
	m->tree.chunks = xcalloc(m->tree.n_chunks, sizeof(struct digest));
	for (uint32_t i = 0; i < m->tree.n_chunks; i++)
		m->tree.chunks[i] =
			digest_of_buf((char *)m->mem + (size_t)i * CHUNK_SIZE,
				      chunk_len(len, i));
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
	struct root root = {.plan_version = PLAN_VERSION,
			    .layers = &layer,
			    .n_layers = 1,
			    .roles = &role,
			    .n_roles = 1,
			    .files = n,
			    .bytes = n * FILE_SIZE};

	root_write(&root, out);
}

static void write_manifest(const struct made *m, const struct strbuf *root,
			   struct manifest *man, struct strbuf *out)
{
	man->config = (struct descriptor){
		.media_type = (char *)MEDIA_TYPE_ROOT,
		.digest = digest_of_buf(root->buf, root->len),
		.size = root->len,
		.data = root->len <= ROOT_INLINE_MAX ? root->buf : NULL,
	};
	man->n_layers = m->n_packs + 1;
	man->layers = xcalloc(man->n_layers, sizeof(*man->layers));
	man->layers[0] = (struct descriptor){
		.media_type = (char *)MEDIA_TYPE_TREE,
		.digest = m->tree.digest,
		.size = m->tree.size,
	};
	for (size_t i = 0; i < m->n_packs; i++)
		man->layers[i + 1] = m->packs[i];
	manifest_write(man, out);
	free(man->layers);
}

static int push(struct registry *reg, const struct made *m, unsigned long n,
		struct error **errp)
{
	cleanup_strbuf struct strbuf root = STRBUF_INIT;
	cleanup_strbuf struct strbuf bytes = STRBUF_INIT;
	struct manifest man = {0};
	int r;

	write_root(m, n, &root);
	write_manifest(m, &root, &man, &bytes);
	r = put(reg, &m->tree.digest, m->mem, m->tree.size, errp);
	if (r == 0)
		r = put(reg, &man.config.digest, root.buf, root.len, errp);
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
	r = build_tree(&m, n, &err);
	if (r == 0)
		r = push(reg, &m, n, &err);
	free(m.mem);
	free(m.tree.chunks);
	free(m.packs);
	if (r < 0) {
		print_line(stderr, "bench-many: %s",
			   err ? err->message : "failed");
		return 3;
	}
	printf("%lu files, tree of %llu bytes\n", n,
	       (unsigned long long)m.tree.size);
	return 0;
}

#include "trees.h"

#include <assert.h>

#include "cache/cache.h"

struct made_tree make_tree(struct tree_builder *b)
{
	struct made_tree m = {0};

	if (tree_builder_finish(b, &m.buf, &m.len, NULL) < 0 ||
	    tree_open_mem(m.buf, m.len, &m.tree, NULL) < 0)
		abort();
	tree_builder_free(b);
	return m;
}

void made_tree_release(struct made_tree *m)
{
	tree_close(m->tree);
	free(m->buf);
	*m = (struct made_tree){0};
}

static struct digest *made_up_chunks(const char *what, uint64_t size,
				     uint32_t *ret_n)
{
	struct digest *chunks;

	*ret_n =
		size > CHUNK_SIZE ? (uint32_t)((size - 1) / CHUNK_SIZE + 1) : 0;
	chunks = xcalloc(*ret_n + 1, sizeof(*chunks));
	for (uint32_t i = 0; i < *ret_n; i++) {
		cleanup_free char *s = xasprintf("%s chunk %u", what, i);

		chunks[i] = digest_of_str(s);
	}
	return chunks;
}

static void add_from(struct tree_builder *b, const char *path,
		     struct tree_source_spec *s, uint64_t offset, uint64_t size)
{
	struct digest_hex what = digest_to_hex(&s->digest);
	cleanup_free struct digest *chunks =
		made_up_chunks(what.str, s->size, &s->n_chunks);
	struct tree_file f = {
		.size = size,
		.digest = digest_of_str(path),
		.offset = offset,
	};

	s->chunks = chunks;
	f.source = tree_builder_source(b, s);
	if (tree_builder_add_file(b, path, &f, NULL) < 0)
		abort();
}

void add_blob(struct tree_builder *b, const char *path, uint64_t size)
{
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_BLOB,
		.digest = digest_of_str(path),
		.size = size,
	};

	add_from(b, path, &s, 0, size);
}

void add_packed(struct tree_builder *b, const char *path, const char *pack,
		uint64_t pack_size, uint64_t offset, uint64_t size)
{
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_PACK,
		.digest = digest_of_str(pack),
		.size = pack_size,
	};

	add_from(b, path, &s, offset, size);
}

void add_external(struct tree_builder *b, const char *path, const char *uri,
		  enum tree_tier tier, uint64_t size)
{
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_EXTERNAL,
		.tier = tier,
		.digest = digest_of_str(path),
		.size = size,
		.uri = uri,
	};

	add_from(b, path, &s, 0, size);
}

void add_run(struct tree_builder *b, const char *path, uint64_t size,
	     uint64_t part_size)
{
	uint32_t n = (uint32_t)((size - 1) / part_size + 1);
	cleanup_free struct tree_part *parts = xcalloc(n, sizeof(*parts));
	struct tree_source_spec s = {
		.kind = TREE_SOURCE_RUN,
		.digest = digest_of_str(path),
		.size = size,
		.parts = parts,
		.n_parts = n,
	};

	for (uint32_t i = 0; i < n; i++) {
		cleanup_free char *what = xasprintf("%s part %u", path, i);

		parts[i].digest = digest_of_str(what);
		parts[i].size = MIN(part_size, size - i * part_size);
	}
	add_from(b, path, &s, 0, size);
}

void add_empty(struct tree_builder *b, const char *path)
{
	struct tree_file f = {.source = TREE_NONE, .digest = DIGEST_EMPTY};

	if (tree_builder_add_file(b, path, &f, NULL) < 0)
		abort();
}

struct made_tree make_rich_tree(void)
{
	struct tree_builder *b = tree_builder_new();
	struct tree_file f;

	add_packed(b, "a/one", "pack", 4096, 512, 100);
	add_packed(b, "a/two", "pack", 4096, 1536, 5);
	add_packed(b, "a-b", "pack", 4096, 2048, 600);
	add_blob(b, "big.bin", 3u << 20);
	add_external(b, "data/fit.parquet", "s3://bucket/key%20with/x",
		     TREE_TIER_COOL, (2u << 20) + 1);
	add_external(b, "data/x", "gs://bucket/x", TREE_TIER_NONE, 7);
	add_run(b, "weights/huge", (5ull << 30) + 9, 5ull << 30);
	add_empty(b, "a/empty");
	if (tree_builder_add_dir(b, "void/inner", 0, NULL) < 0 ||
	    tree_builder_add_symlink(b, "data/latest", "../a/one", 0, NULL) < 0)
		abort();
	f = (struct tree_file){
		.executable = true,
		.size = 1,
		.digest = digest_of_str("run.sh"),
		.source = tree_builder_source(
			b, &(struct tree_source_spec){.kind = TREE_SOURCE_BLOB,
						      .digest = digest_of_str(
							      "run.sh"),
						      .size = 1}),
	};
	if (tree_builder_add_file(b, "run.sh", &f, NULL) < 0)
		abort();
	return make_tree(b);
}

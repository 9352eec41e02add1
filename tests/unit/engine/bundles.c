#include "bundles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "engine/pack.h"
#include "engine/tree_builder.h"
#include "storage/retry.h"
#include "tests/fakes/fakes.h"
#include "tests/lib/tmpdir.h"

#define MIB (1u << 20)

enum place { PACKED, OWN, EXTERNAL, EMPTY, FOLDER, LINK };

static const struct {
	const char *path;
	unsigned layer;
	enum place place;
	size_t size;
	bool executable;
} files[] = {
	{"README.md", 0, PACKED, 321, false},
	{"bin/run", 0, PACKED, 77, true},
	{"hollow", 0, FOLDER, 0, false},
	{"link", 0, LINK, 0, false},
	{"src/a.py", 0, PACKED, 5000, false},
	{"src/b/c.py", 0, PACKED, 1, false},
	{"src/empty", 0, EMPTY, 0, false},
	{"data/big.bin", 1, OWN, 3 * MIB + 77, false},
	{"data/ext.bin", 1, EXTERNAL, 2 * MIB + 5, false},
	{"data/large.txt", 1, PACKED, MIB + 1000, false},
	{"data/tool", 1, OWN, MIB + 1, true},
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bundles: %s\n", what);
	abort();
}

char *bundle_content(const char *path, size_t *ret_len)
{
	struct digest seed = digest_of_str(path);
	size_t n = 0;
	char *p;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(files[i].path, path))
			n = files[i].size;
	p = xmalloc(n + 1);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(seed.b[i % DIGEST_SIZE] ^ (i >> 5) ^ (i >> 13));
	*ret_len = n;
	return p;
}

static struct digest put(struct made_bundle *m, const void *p, size_t n)
{
	struct digest d = digest_of_buf(p, n);
	struct feed_mem feed;

	feed_mem_init(&feed, p, n);
	must(m->inner->ops->put_blob(m->inner, BUNDLE_REPO, &d, &feed.feed,
				     NULL, NULL) == 0,
	     "put");
	return d;
}

/* What a manifest and a root are made of, on the way. */
struct making {
	struct made_bundle *m;
	struct tree_builder *builders[2];
	struct manifest manifest;
	struct root root;
	struct pack_item items[16];
	size_t n_items;
};

static void list_blob(struct making *k, const char *type, struct digest d,
		      uint64_t size)
{
	struct manifest *mf = &k->manifest;

	mf->layers =
		xrealloc(mf->layers, mf->n_layers + 1, sizeof(*mf->layers));
	mf->layers[mf->n_layers++] = (struct descriptor){
		.media_type = xstrdup(type), .digest = d, .size = size};
}

static struct digest *chunks_of(const char *p, size_t n, uint32_t *ret_n)
{
	uint32_t k = n > CHUNK_SIZE ? chunk_count(n) : 0;
	struct digest *c = xcalloc(k + 1, sizeof(*c));

	for (uint32_t i = 0; i < k; i++)
		c[i] = digest_of_buf(p + (size_t)i * CHUNK_SIZE,
				     chunk_len(n, i));
	*ret_n = k;
	return c;
}

static void add_file(struct making *k, size_t i, const struct digest *d,
		     uint32_t source, uint64_t offset)
{
	struct tree_file f = {
		.executable = files[i].executable,
		.size = files[i].size,
		.digest = *d,
		.source = source,
		.offset = offset,
	};

	if (k->m->forged && !strcmp(k->m->forged, files[i].path))
		f.digest.b[0] ^= 1;
	must(tree_builder_add_file(k->builders[files[i].layer], files[i].path,
				   &f, NULL) == 0,
	     "add");
}

static uint32_t source_of(struct making *k, unsigned layer,
			  enum tree_source_kind kind, const char *p, size_t n,
			  const char *uri)
{
	struct tree_source_spec s = {
		.kind = kind, .digest = digest_of_buf(p, n), .size = n};
	cleanup_free struct digest *chunks = chunks_of(p, n, &s.n_chunks);

	s.chunks = s.n_chunks ? chunks : NULL;
	s.uri = uri;
	return tree_builder_source(k->builders[layer], &s);
}

static void add_own(struct making *k, size_t i, const char *p, size_t n)
{
	struct digest d = put(k->m, p, n);

	list_blob(k, MEDIA_TYPE_FILE, d, n);
	if (!strcmp(files[i].path, "data/big.bin"))
		k->m->big = d;
	add_file(k, i, &d,
		 source_of(k, files[i].layer, TREE_SOURCE_BLOB, p, n, NULL), 0);
}

static void add_external(struct making *k, size_t i, const char *p, size_t n)
{
	cleanup_free char *uri = xasprintf("file://%s", k->m->external);
	struct digest d = digest_of_buf(p, n);

	must(io_write_file_atomic(AT_FDCWD, k->m->external, p, n, 0644) == 0,
	     "external");
	add_file(k, i, &d,
		 source_of(k, files[i].layer, TREE_SOURCE_EXTERNAL, p, n, uri),
		 0);
}

static int open_item(void *ctx, const struct pack_item *it, struct error **errp)
{
	cleanup_free char *p = NULL;
	size_t n;
	int fd = memfd_create("item", MFD_CLOEXEC);

	(void)ctx;
	(void)errp;
	p = bundle_content(it->path, &n);
	must(fd >= 0 && io_pwrite_full(fd, p, n, 0) == 0, "memfd");
	return fd;
}

static void add_pack(struct making *k, unsigned layer)
{
	struct pack *pk = pack_new(k->items, k->n_items, open_item, NULL);
	struct feed *feed = pack_feed(pk);
	cleanup_free char *p = xmalloc(feed->size);
	struct digest d;

	must(feed->pread(feed, p, feed->size, 0, NULL) == 0, "pack");
	d = put(k->m, p, feed->size);
	if (!layer)
		k->m->pack_of_code = d;
	list_blob(k, MEDIA_TYPE_PACK, d, feed->size);
	uint32_t src =
		source_of(k, layer, TREE_SOURCE_PACK, p, feed->size, NULL);
	for (size_t i = 0; i < k->n_items; i++)
		add_file(k, (size_t)(uintptr_t)k->items[i].user,
			 &k->items[i].digest, src, k->items[i].offset);
	pack_free(pk);
}

static void collect_item(struct making *k, size_t i, const char *p, size_t n)
{
	k->items[k->n_items++] = (struct pack_item){
		.path = files[i].path,
		.executable = files[i].executable,
		.size = n,
		.digest = digest_of_buf(p, n),
		.user = (void *)(uintptr_t)i,
	};
}

static void add_one(struct making *k, size_t i)
{
	struct tree_builder *b = k->builders[files[i].layer];
	cleanup_free char *p = NULL;
	size_t n;

	p = bundle_content(files[i].path, &n);
	if (files[i].place == PACKED)
		collect_item(k, i, p, n);
	else if (files[i].place == OWN)
		add_own(k, i, p, n);
	else if (files[i].place == EXTERNAL)
		add_external(k, i, p, n);
	else if (files[i].place == EMPTY)
		add_file(k, i, &DIGEST_EMPTY, TREE_NONE, 0);
	else if (files[i].place == FOLDER)
		must(tree_builder_add_dir(b, files[i].path, 0, NULL) == 0,
		     "dir");
	else
		must(tree_builder_add_symlink(b, files[i].path, "src/a.py", 0,
					      NULL) == 0,
		     "link");
}

static void put_tree(struct making *k, const void *p, size_t n,
		     struct tree_ref *ret)
{
	ret->digest = put(k->m, p, n);
	ret->size = n;
	must(n <= CHUNK_SIZE, "small tree");
	list_blob(k, MEDIA_TYPE_TREE, ret->digest, n);
}

static void make_layer(struct making *k, unsigned layer, const char *name,
		       void **ret, size_t *ret_len)
{
	k->builders[layer] = tree_builder_new();
	k->n_items = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].layer == layer)
			add_one(k, i);
	add_pack(k, layer);
	must(tree_builder_finish(k->builders[layer], ret, ret_len, NULL) == 0,
	     "tree");
	tree_builder_free(k->builders[layer]);
	k->root.layers[layer].name = xstrdup(name);
	put_tree(k, *ret, *ret_len, &k->root.layers[layer].tree);
}

static void make_role(struct making *k, size_t i, const char *name,
		      uint32_t n_layers, void *const *trees, const size_t *lens)
{
	struct root_role *r = &k->root.roles[i];
	struct tree *t[2];
	static const char *const names[] = {"code", "data"};
	cleanup_free void *buf = NULL;
	size_t len;

	r->name = xstrdup(name);
	r->n_layers = n_layers;
	r->layers = xcalloc(n_layers, sizeof(*r->layers));
	for (uint32_t l = 0; l < n_layers; l++)
		r->layers[l] = l;
	if (n_layers == 1) {
		r->tree = k->root.layers[0].tree;
		return;
	}
	for (uint32_t l = 0; l < n_layers; l++)
		must(tree_open_mem(trees[l], lens[l], &t[l], NULL) == 0,
		     "tree");
	must(tree_merge(t, names, n_layers, &buf, &len, NULL) == 0, "merge");
	put_tree(k, buf, len, &r->tree);
	tree_close(t[0]);
	tree_close(t[1]);
}

static void put_manifest(struct making *k)
{
	cleanup_strbuf struct strbuf root = STRBUF_INIT;
	cleanup_strbuf struct strbuf mf = STRBUF_INIT;
	struct registry *reg = k->m->inner;

	root_write(&k->root, &root);
	k->manifest.config.media_type = xstrdup(MEDIA_TYPE_ROOT);
	k->manifest.config.digest = put(k->m, root.buf, root.len);
	k->manifest.config.size = root.len;
	k->manifest.config.data = xmemdup(root.buf, root.len);
	manifest_write(&k->manifest, &mf);
	k->m->digest = digest_of_buf(mf.buf, mf.len);
	must(reg->ops->put_manifest(reg, BUNDLE_REPO, "1.0",
				    MEDIA_TYPE_MANIFEST, mf.buf, mf.len, NULL,
				    NULL) == 0,
	     "manifest");
}

static void make(struct made_bundle *m)
{
	struct making k = {.m = m};
	void *trees[2];
	size_t lens[2];

	k.root.plan_version = 1;
	k.root.n_layers = 2;
	k.root.layers = xcalloc(2, sizeof(*k.root.layers));
	k.root.n_roles = 2;
	k.root.roles = xcalloc(2, sizeof(*k.root.roles));
	make_layer(&k, 0, "code", &trees[0], &lens[0]);
	make_layer(&k, 1, "data", &trees[1], &lens[1]);
	make_role(&k, 0, "default", 2, trees, lens);
	make_role(&k, 1, "small", 1, trees, lens);
	put_manifest(&k);
	free(trees[0]);
	free(trees[1]);
	manifest_release(&k.manifest);
	root_release(&k.root);
}

static void begin(struct made_bundle *m)
{
	must(session_new(&m->settings, &m->session, NULL) == 0, "session");
	if (!m->settings.offline)
		session_override_registry(m->session, m->registry);
}

static void make_all(struct made_bundle *m, const struct fault *fault)
{
	m->dir = tmpdir_new();
	m->external = xasprintf("%s/store/ext.bin", m->dir);
	m->roots[0] = xasprintf("%s/store", m->dir);
	must(io_mkdirs(m->roots[0], 0755) == 0, "store");
	m->settings.cache_dir = xasprintf("%s/cache", m->dir);
	m->settings.file_roots = m->roots;
	m->settings.concurrency = 4;
	m->settings.times = RETRY_TIMES_DEFAULT;
	m->inner = registry_fake_new();
	make(m);
	m->registry = registry_fault_new(m->inner, fault);
	must(reference_parse("reg.example/" BUNDLE_REPO ":1.0", "reg.example",
			     &m->ref, NULL) == 0,
	     "reference");
	begin(m);
}

void bundle_make(struct made_bundle *m, const struct fault *fault)
{
	memset(m, 0, sizeof(*m));
	make_all(m, fault);
}

void bundle_make_forged(struct made_bundle *m, const char *path)
{
	memset(m, 0, sizeof(*m));
	m->forged = path;
	make_all(m, NULL);
}

void bundle_restart(struct made_bundle *m)
{
	session_free(m->session);
	begin(m);
}

void bundle_restart_offline(struct made_bundle *m)
{
	m->settings.offline = true;
	bundle_restart(m);
}

void bundle_release(struct made_bundle *m)
{
	session_free(m->session);
	registry_free(m->registry);
	reference_release(&m->ref);
	free(m->settings.cache_dir);
	free(m->roots[0]);
	free(m->external);
	tmpdir_remove(m->dir);
}

struct role_view *bundle_view(struct made_bundle *m, const char *role,
			      struct bundle **ret)
{
	cleanup_error struct error *err = NULL;
	const struct root_role *rr;
	struct role_view *v = NULL;
	int r = bundle_open(m->session, &m->ref, NULL, ret, &err);

	if (r >= 0)
		r = bundle_choose_role(*ret, role, &rr, &err);
	if (r >= 0)
		r = role_view_open(*ret, rr, NULL, &v, &err);
	must(r >= 0, err ? err->message : "view");
	return v;
}

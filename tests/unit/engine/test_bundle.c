#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "bundles.h"
#include "cache/internal.h"
#include "engine/pull.h"
#include "tests/fakes/fakes.h"

static int open_quietly(struct made_bundle *m, struct error **errp)
{
	cleanup_bundle struct bundle *b = NULL;

	return bundle_open(m->session, &m->ref, NULL, &b, errp);
}

Test(bundle, is_resolved_once_and_read_once)
{
	cleanup_made_bundle struct made_bundle m;
	struct registry_counts n;

	bundle_make(&m, NULL);
	for (int i = 0; i < 3; i++)
		cr_assert(eq(int, open_quietly(&m, NULL), 0));
	n = registry_fault_counts(m.registry);
	cr_expect(eq(uint, n.resolve, 3), "the tag once for each open");
	cr_expect(eq(uint, n.get_manifest, 1));
	cr_expect(eq(uint, n.read_blob, 0), "the root is in the manifest");
}

Test(bundle, knows_its_identity_and_root)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;

	bundle_make(&m, NULL);
	cr_assert(eq(int, bundle_open(m.session, &m.ref, NULL, &b, NULL), 0));
	cr_expect(digest_equal(&b->digest, &m.digest));
	cr_expect(eq(sz, b->root.n_layers, 2));
	cr_expect(not(b->tag_from_cache));
}

/* The cache's file of the manifest, or of the tag; heap. */
static char *kept_path(struct made_bundle *m, bool tag)
{
	cleanup_free char *key = reference_cache_key(&m->ref);
	struct digest of_key = digest_of_str(key);
	struct cache *c;

	cr_assert(eq(int, session_cache(m->session, &c, NULL), 0));
	return tag ? xasprintf("%s/refs/%s", cache_path(c),
			       digest_to_hex(&of_key).str)
		   : xasprintf("%s/blobs/sha256/%s", cache_path(c),
			       shard_name(&m->digest).str);
}

Test(bundle, what_a_pull_says_is_here_is_here)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	cleanup_free char *tag = NULL, *manifest = NULL;
	struct pull_result out;

	bundle_make(&m, NULL);
	v = bundle_view(&m, "small", &b);
	tag = kept_path(&m, true);
	manifest = kept_path(&m, false);
	/* As if the cache had not taken them when the bundle was opened. */
	cr_assert(eq(int, unlink(tag), 0));
	cr_assert(eq(int, unlink(manifest), 0));
	cr_assert(eq(int, pull(v, NULL, false, 0, &out, NULL, NULL), 0));
	cr_expect(eq(int, access(manifest, F_OK), 0));
	cr_expect(eq(int, access(tag, F_OK), 0));
}

Test(bundle, a_pull_that_cannot_keep_its_tag_fails)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	cleanup_error struct error *err = NULL;
	cleanup_free char *tag = NULL;
	struct pull_result out;

	bundle_make(&m, NULL);
	v = bundle_view(&m, "small", &b);
	tag = kept_path(&m, true);
	cr_assert(eq(int, unlink(tag), 0));
	cr_assert(eq(int, mkdir(tag, 0700), 0), "a name that is taken");
	cr_expect(lt(int, pull(v, NULL, false, 0, &out, NULL, &err), 0));
	cr_expect(ne(ptr, err, NULL));
}

Test(bundle, a_tag_that_is_not_there_is_not_found)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;

	bundle_make(&m, NULL);
	free(m.ref.tag);
	m.ref.tag = xstrdup("9.9");
	cr_assert(eq(int, open_quietly(&m, &err), -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_NOT_FOUND));
}

Test(bundle, a_digest_that_is_not_there_is_not_found)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;

	bundle_make(&m, NULL);
	m.ref.has_digest = true;
	m.ref.digest = digest_of_str("no such bundle");
	cr_assert(eq(int, open_quietly(&m, &err), -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_NOT_FOUND));
}

Test(bundle, a_wrong_manifest_is_read_again_and_then_refused)
{
	struct fault once = {.action = FAULT_CORRUPT, .nth = 1, .arg = 40};
	struct fault always = {
		.action = FAULT_CORRUPT, .nth = 1, .every = true, .arg = 40};
	cleanup_error struct error *err = NULL;
	struct made_bundle m;

	bundle_make(&m, &once);
	m.ref.has_digest = true;
	m.ref.digest = m.digest;
	cr_expect(eq(int, open_quietly(&m, NULL), 0));
	bundle_release(&m);

	bundle_make(&m, &always);
	m.ref.has_digest = true;
	m.ref.digest = m.digest;
	cr_expect(eq(int, open_quietly(&m, &err), -EBADMSG));
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	bundle_release(&m);
}

Test(bundle, require_digest_refuses_tags)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;

	bundle_make(&m, NULL);
	m.settings.require_digest = true;
	cr_assert(eq(int, open_quietly(&m, &err), -EINVAL));
	cr_expect(eq(uint, registry_fault_counts(m.registry).resolve, 0));
	m.ref.has_digest = true;
	m.ref.digest = m.digest;
	cr_expect(eq(int, open_quietly(&m, NULL), 0));
}

Test(bundle, roles_are_chosen_in_order)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	cleanup_error struct error *err = NULL;
	const struct root_role *r = NULL;

	bundle_make(&m, NULL);
	cr_assert(eq(int, bundle_open(m.session, &m.ref, NULL, &b, NULL), 0));
	cr_assert(eq(int, bundle_choose_role(b, NULL, &r, NULL), 0));
	cr_expect(eq(str, r->name, "default"));
	m.settings.role = "small";
	cr_assert(eq(int, bundle_choose_role(b, NULL, &r, NULL), 0));
	cr_expect(eq(str, r->name, "small"));
	cr_assert(eq(int, bundle_choose_role(b, "default", &r, NULL), 0));
	cr_expect(eq(str, r->name, "default"));
	cr_assert(lt(int, bundle_choose_role(b, "none", &r, &err), 0));
	cr_expect(eq(int, err->kind, ERROR_ROLE));
	cr_expect(strstr(err->hint, "'default', 'small'") != NULL);
}

Test(bundle, offline_needs_what_was_pulled)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_error struct error *err = NULL;
	cleanup_bundle struct bundle *b = NULL;
	struct pull_result res;

	bundle_make(&m, NULL);
	bundle_restart_offline(&m);
	cr_assert(eq(int, open_quietly(&m, &err), -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_DOWNLOAD));

	m.settings.offline = false;
	bundle_restart(&m);
	struct role_view *v = bundle_view(&m, NULL, &b);
	cr_assert(eq(int, pull(v, NULL, true, 0, &res, NULL, NULL), 0));
	cr_expect(eq(u64, res.files, 9));
	role_view_close(v);
	bundle_close(steal_ptr(&b));

	bundle_restart_offline(&m);
	v = bundle_view(&m, NULL, &b);
	cr_expect(b->tag_from_cache);
	cr_expect(eq(int, role_view_complete(v, NULL), 0));
	role_view_close(v);
}

Test(bundle, says_what_offline_lacks)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	cleanup_error struct error *err = NULL;
	struct pull_result res;

	bundle_make(&m, NULL);
	struct role_view *v = bundle_view(&m, NULL, &b);
	cr_assert(eq(int, pull(v, NULL, false, 0, &res, NULL, NULL), 0));
	cr_assert(eq(int, role_view_complete(v, &err), -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_DOWNLOAD));
	cr_expect(strstr(err->message, "data/ext.bin") != NULL);
	role_view_close(v);
}

Test(bundle, pull_links_the_big_files_of_each_layer)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	struct pull_result res;
	struct stat st;

	bundle_make(&m, NULL);
	struct role_view *v = bundle_view(&m, NULL, &b);
	cr_assert(eq(int, pull(v, NULL, false, 0, &res, NULL, NULL), 0));

	cleanup_free char *p =
		xasprintf("%s/layers/%s/data/big.bin", m.settings.cache_dir,
			  digest_to_hex(&b->root.layers[1].tree.digest).str);
	cr_assert(eq(int, stat(p, &st), 0), "%s", p);
	cr_expect(eq(i64, st.st_size, 3 * (1 << 20) + 77));
	cleanup_free char *q =
		xasprintf("%s/bundles/%s/layers/%s/data/tool",
			  m.settings.cache_dir, digest_to_hex(&m.digest).str,
			  digest_to_hex(&b->root.layers[1].tree.digest).str);
	cr_expect(eq(int, stat(q, &st), 0), "%s", q);
	role_view_close(v);
}

Test(bundle, pull_of_a_glob_takes_what_it_needs)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	cleanup_error struct error *err = NULL;
	struct pull_result res;

	bundle_make(&m, NULL);
	struct role_view *v = bundle_view(&m, NULL, &b);
	cr_assert(eq(int, pull(v, "src/**", false, 0, &res, NULL, NULL), 0));
	cr_expect(eq(u64, res.files, 3));
	cr_expect(lt(u64, res.bytes_network, 1 << 20));
	cr_expect(eq(int, pull(v, "nothing/*", false, 0, &res, NULL, &err),
		     -ENOENT));
	cr_expect(eq(int, err->kind, ERROR_NOT_FOUND));
	role_view_close(v);
}

Test(bundle, sources_must_be_in_the_manifest)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	struct fetch_source *s = NULL;
	uint32_t i = 0;

	bundle_make(&m, NULL);
	struct role_view *v = bundle_view(&m, NULL, &b);
	map_del(b->manifest.by_digest, m.big.b, DIGEST_SIZE);
	while (i < tree_source_records(v->tree)) {
		struct tree_source src;

		cr_assert(eq(int, tree_source(v->tree, i, &src, NULL), 0));
		int r = bundle_source(b, v->tree, i, &s, NULL);
		if (digest_equal(&src.digest, &m.big))
			cr_expect(eq(int, r, -EBADMSG));
		else
			cr_expect(eq(int, r, 0));
		if (r == 0)
			fetch_source_close(s);
		i = tree_next_source(v->tree, i);
	}
	role_view_close(v);
}

Test(bundle, a_tree_is_had_without_a_cache_that_can_be_written)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	struct cache *c;

	bundle_make(&m, NULL);
	cr_assert(eq(int, session_cache(m.session, &c, NULL), 0));
	cleanup_free char *tmp = xasprintf("%s/tmp", m.settings.cache_dir);
	cr_assert(eq(int, rmdir(tmp), 0));
	const struct root_role *role;
	struct role_view *v = NULL;
	cr_assert(eq(int, bundle_open(m.session, &m.ref, NULL, &b, NULL), 0));
	cr_assert(eq(int, bundle_choose_role(b, NULL, &role, NULL), 0));
	cleanup_error struct error *err = NULL;
	cr_expect(eq(int, role_view_open(b, role, NULL, &v, &err), 0), "%s",
		  err ? err->message : "");
	if (v)
		role_view_close(v);
}

static int count_node(void *ctx, uint32_t node, const struct tree_node *n,
		      const char *path, struct error **errp)
{
	(*(unsigned *)ctx)++;
	return 0;
}

static char *blob_of(struct made_bundle *m, const struct digest *d)
{
	struct digest_hex hex = digest_to_hex(d);

	return xasprintf("%s/blobs/sha256/%.2s/%s", m->settings.cache_dir,
			 hex.str, hex.str);
}

/* Whoever may write to the cache cuts a tree off, or forges a digest in it,
 * while it is in use. */
Test(bundle, a_tree_in_use_does_not_change_with_its_file)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	cleanup_free char *forged = xcalloc(1, 1 << 20);
	struct tree_node before, after;
	unsigned n = 0, was = 0;
	struct digest digest;
	uint32_t node;

	bundle_make(&m, NULL);
	v = bundle_view(&m, NULL, &b);
	cr_assert(eq(int, tree_find(v->tree, "README.md", &node, NULL), 0));
	cr_assert(eq(int, tree_node(v->tree, node, &before, NULL), 0));
	digest = *before.digest;
	cr_assert(eq(int, tree_walk(v->tree, TREE_ROOT, count_node, &was, NULL),
		     0));

	cleanup_free char *file = blob_of(&m, &v->role->tree.digest);
	cr_assert(eq(int, chmod(file, 0600), 0));
	cleanup_fd int fd = open(file, O_RDWR);
	cr_assert(ge(int, fd, 0), "%s", file);
	cr_assert(
		eq(int, io_pwrite_full(fd, forged, v->role->tree.size, 0), 0));
	cr_assert(eq(int, tree_node(v->tree, node, &after, NULL), 0));
	cr_expect(digest_equal(after.digest, &digest));
	cr_assert(eq(int, ftruncate(fd, 0), 0));
	cr_assert(eq(int, tree_walk(v->tree, TREE_ROOT, count_node, &n, NULL),
		     0));
	cr_expect(eq(uint, n, was));
}

/* A disk that decays below an unchanged stat. */
Test(bundle, a_tree_is_hashed_whatever_its_stat_says)
{
	cleanup_made_bundle struct made_bundle m;
	cleanup_bundle struct bundle *b = NULL, *again = NULL;
	struct role_view *v, *healed;
	struct cache *c;
	struct stat st;
	uint32_t node;

	bundle_make(&m, NULL);
	v = bundle_view(&m, NULL, &b);
	struct digest d = v->role->tree.digest;
	role_view_close(v);
	bundle_closep(&b);
	bundle_restart(&m);

	cleanup_free char *file = blob_of(&m, &d);
	cr_assert(eq(int, chmod(file, 0600), 0));
	cleanup_fd int fd = open(file, O_RDWR);
	cr_assert(eq(int, io_pwrite_full(fd, "?", 1, 136 + 6), 0));
	cr_assert(eq(int, fchmod(fd, 0444), 0));
	cr_assert(eq(int, fstat(fd, &st), 0));
	cr_assert(eq(int, session_cache(m.session, &c, NULL), 0));
	statindex_put(c, &d, &st, time_wall_ns() + NS_PER_S);

	healed = bundle_view(&m, NULL, &again);
	cr_expect(
		eq(int, tree_find(healed->tree, "README.md", &node, NULL), 0));
	role_view_close(healed);
}

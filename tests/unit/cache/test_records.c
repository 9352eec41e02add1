#include "cache/internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sys/file.h>

#include "base/io.h"

#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

TestSuite(docs, .init = setup, .fini = teardown);
TestSuite(refs, .init = setup, .fini = teardown);
TestSuite(bundles, .init = setup, .fini = teardown);
TestSuite(layers, .init = setup, .fini = teardown);
TestSuite(lease, .init = setup, .fini = teardown);
TestSuite(claim, .init = setup, .fini = teardown);

static int get(const struct digest *d, const char *want)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r = cache_doc_get(f.c, d, 4096, &text, &len, NULL);

	if (r < 0)
		return r;
	return len == strlen(want) && !strcmp(text, want) ? 0 : -1000;
}

Test(docs, come_back_as_they_were)
{
	struct digest d = digest_of_str("{}");

	cr_expect(eq(int, get(&d, "{}"), -ENOENT));
	cr_assert(eq(int, cache_doc_put(f.c, &d, "{}", 2, NULL), 0));
	cr_assert(eq(int, cache_doc_put(f.c, &d, "{}", 2, NULL), 0));
	cr_expect(eq(int, get(&d, "{}"), 0));
	cr_expect(eq(int, cache_doc_put(f.c, &d, "[]", 2, NULL), -EBADMSG));
}

Test(docs, are_hashed_at_each_load)
{
	struct digest d = digest_of_str("{\"a\":1}");
	cleanup_free char *path = blob_path(&f, &d);

	for (long i = 0; i < 7; i++) {
		cr_assert(eq(int, cache_doc_put(f.c, &d, "{\"a\":1}", 7, NULL),
			     0));
		flip_byte(path, i);
		cr_expect(eq(int, get(&d, "{\"a\":1}"), -ENOENT));
	}
	cr_expect(eq(u32, count_files(&f, "quarantine"), 7));
}

Test(docs, that_are_damaged_are_replaced_by_a_put)
{
	struct digest d = digest_of_str("{\"a\":1}");
	cleanup_free char *path = blob_path(&f, &d);

	cr_assert(eq(int, cache_doc_put(f.c, &d, "{\"a\":1}", 7, NULL), 0));
	flip_byte(path, 3);
	cr_assert(eq(int, cache_doc_put(f.c, &d, "{\"a\":1}", 7, NULL), 0));
	cr_expect(eq(int, get(&d, "{\"a\":1}"), 0));
}

Test(docs, larger_than_allowed_are_not_read)
{
	struct digest d = digest_of_str("{\"a\":1}");
	cleanup_free char *text = NULL;
	size_t len;

	cr_assert(eq(int, cache_doc_put(f.c, &d, "{\"a\":1}", 7, NULL), 0));
	cr_expect(
		eq(int, cache_doc_get(f.c, &d, 6, &text, &len, NULL), -EFBIG));
}

#define KEY "registry.example/epi-sir:1.3.2"

static char *ref_path(void)
{
	struct digest name = digest_of_str(KEY);

	return xasprintf("%s/refs/%s", cache_path(f.c),
			 digest_to_hex(&name).str);
}

Test(refs, remember_what_a_tag_was)
{
	struct digest a = digest_of_str("a"), b = digest_of_str("b");
	struct digest got;

	cr_expect(eq(int, cache_ref_get(f.c, KEY, &got, NULL), -ENOENT));
	cr_assert(eq(int, cache_ref_put(f.c, KEY, &a, NULL), 0));
	cr_assert(eq(int, cache_ref_put(f.c, KEY, &b, NULL), 0));
	fixture_reopen(&f);
	cr_assert(eq(int, cache_ref_get(f.c, KEY, &got, NULL), 0));
	cr_expect(digest_equal(&got, &b));
	cr_expect(eq(int, cache_ref_get(f.c, KEY "x", &got, NULL), -ENOENT));
	cache_ref_forget(f.c, KEY "x");
	cr_expect(eq(int, cache_ref_get(f.c, KEY, &got, NULL), 0));
	cache_ref_forget(f.c, KEY);
	cr_expect(eq(int, cache_ref_get(f.c, KEY, &got, NULL), -ENOENT));
}

Test(refs, with_any_byte_flipped_are_gone)
{
	struct digest a = digest_of_str("a"), got;
	cleanup_free char *path = ref_path();
	long size;

	cr_assert(eq(int, cache_ref_put(f.c, KEY, &a, NULL), 0));
	size = file_size(path);
	for (long i = 0; i < size; i++) {
		cr_assert(eq(int, cache_ref_put(f.c, KEY, &a, NULL), 0));
		flip_byte(path, i);
		cr_expect(
			eq(int, cache_ref_get(f.c, KEY, &got, NULL), -ENOENT));
	}
	cr_expect(eq(u32, count_files(&f, "refs"), 0));
}

static int never(void *ctx, const char *key, const struct digest *d)
{
	cr_fail("'%s' is told of", key);
	return 0;
}

static int collect_key(void *ctx, const char *key, const struct digest *d)
{
	strv_append(ctx, xasprintf("%s %.15s", key, digest_to_str(d).str));
	return 0;
}

Test(refs, can_be_listed)
{
	struct digest a = digest_of_str("a");
	cleanup_strv char **keys = NULL;

	cr_assert(eq(int, cache_ref_each(f.c, never, NULL, NULL), 0));
	cr_assert(eq(int, cache_ref_put(f.c, KEY, &a, NULL), 0));
	cr_assert(eq(int, cache_ref_put(f.c, "", &a, NULL), 0));
	cr_assert(eq(int, cache_ref_each(f.c, collect_key, &keys, NULL), 0));
	cr_assert(eq(sz, strv_len(keys), 2));
	cr_expect(eq(str, keys[*keys[0] == ' '], KEY " sha256:ca978112"));
}

Test(refs, of_another_key_are_refused)
{
	struct digest a = digest_of_str("a"), got;
	struct digest name = digest_of_str("other");
	cleanup_free char *path = ref_path();
	cleanup_free char *other = xasprintf("%s/refs/%s", cache_path(f.c),
					     digest_to_hex(&name).str);
	cleanup_free char *text = NULL;
	const char *key;
	size_t len, key_len;

	cr_assert(eq(int, cache_ref_put(f.c, KEY, &a, NULL), 0));
	cr_assert(ge(int, io_read_file(AT_FDCWD, path, 4096, &text, &len), 0));
	cr_assert(eq(int, rename(path, other), 0));
	cr_expect(eq(int, cache_ref_each(f.c, never, NULL, NULL), 0));
	cr_expect(eq(int, cache_ref_get(f.c, "other", &got, NULL), -ENOENT));
	cr_expect(eq(u32, count_files(&f, "refs"), 0));
	cr_expect(eq(int, ref_parse(text, len, &got, &key, &key_len), 0));
	cr_expect(eq(str, (char *)key, KEY));
	cr_expect(eq(sz, key_len, strlen(KEY)));
	cr_expect(eq(int, ref_parse(text, len - 1, &got, &key, &key_len),
		     -EBADMSG));
	cr_expect(eq(int, ref_parse("", 0, &got, &key, &key_len), -EBADMSG));
}

static char *read_link(const char *path)
{
	cleanup_free char *full = xasprintf("%s/%s", cache_path(f.c), path);
	char buf[4096];
	ssize_t n = readlink(full, buf, sizeof(buf));

	return n < 0 ? NULL : xstrndup(buf, (size_t)n);
}

Test(bundles, point_to_their_documents_and_layers)
{
	struct digest m = digest_of_str("m"), r = digest_of_str("r");
	struct digest trees[2] = {digest_of_str("1"), digest_of_str("2")};
	struct digest_hex hex = digest_to_hex(&m);
	cleanup_free char *doc = xasprintf("bundles/%s/manifest", hex.str);
	cleanup_free char *used =
		xasprintf("%s/bundles/%s/used", cache_path(f.c), hex.str);
	cleanup_free char *follow = xasprintf("%s/%s", cache_path(f.c), doc);
	cleanup_free char *to = NULL;

	cr_assert(eq(int, cache_doc_put(f.c, &m, "m", 1, NULL), 0));
	cr_assert(eq(int, cache_bundle_record(f.c, &m, &r, trees, 2, NULL), 0));
	cr_assert(eq(int, cache_bundle_record(f.c, &m, &r, trees, 2, NULL), 0));
	to = read_link(doc);
	cr_assert(ne(ptr, to, NULL));
	cr_expect(eq(long, file_size(follow), 1), "the link leads there");
	cr_expect(eq(long, file_size(used), 0));
}

Test(bundles, note_their_last_use)
{
	struct digest m = digest_of_str("m"), r = digest_of_str("r");
	struct digest_hex hex = digest_to_hex(&m);
	cleanup_free char *used =
		xasprintf("%s/bundles/%s/used", cache_path(f.c), hex.str);
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct stat st;

	cache_bundle_touch(f.c, &m); /* unknown: nothing happens */
	cr_assert(eq(int, cache_bundle_record(f.c, &m, &r, NULL, 0, NULL), 0));
	cr_assert(eq(int, utimensat(AT_FDCWD, used, old, 0), 0));
	cache_bundle_touch(f.c, &m);
	cr_assert(eq(int, stat(used, &st), 0));
	cr_expect(gt(long, st.st_mtime, 1000));
}

static int fill_count;

static int fill(void *ctx, int dirfd, const char *to_blobs, struct error **errp)
{
	cleanup_free char *to =
		xasprintf("%ssha256/%s", to_blobs, shard_name(ctx).str);

	fill_count++;
	if (mkdirat(dirfd, "sub", 0700) < 0 ||
	    symlinkat(to, dirfd, "model.bin") < 0)
		return error_set_errno(errp, errno, "filling");
	return 0;
}

static int fill_badly(void *ctx, int dirfd, const char *to_blobs,
		      struct error **errp)
{
	(void)mkdirat(dirfd, "half", 0700);
	return error_set(errp, EIO, "no");
}

Test(layers, are_built_once_and_lead_to_the_blobs)
{
	struct digest tree = digest_of_str("tree"), d = digest_of_str("data");
	struct digest_hex hex = digest_to_hex(&tree);
	cleanup_free char *path =
		xasprintf("%s/layers/%s/model.bin", cache_path(f.c), hex.str);

	cr_assert(eq(int, cache_doc_put(f.c, &d, "data", 4, NULL), 0));
	cr_assert(eq(int, cache_layer_build(f.c, &tree, fill, &d, NULL), 0));
	cr_assert(eq(int, cache_layer_build(f.c, &tree, fill, &d, NULL), 0));
	cr_expect(eq(int, fill_count, 1));
	cr_expect(eq(long, file_size(path), 4));
}

Test(layers, that_fail_leave_nothing)
{
	struct digest tree = digest_of_str("tree");
	cleanup_free char *layers = xasprintf("%s/layers", cache_path(f.c));
	cleanup_free char *tmp = xasprintf("%s/tmp", cache_path(f.c));

	cr_expect(eq(int, cache_layer_build(f.c, &tree, fill_badly, NULL, NULL),
		     -EIO));
	/* Only an empty folder can be removed. */
	cr_expect(eq(int, rmdir(layers), 0));
	cr_expect(eq(int, rmdir(tmp), 0));
}

static char *lease_path(void)
{
	cleanup_free char *dir = xasprintf("%s/leases", cache_path(f.c));
	cleanup_free char *cmd = xasprintf("%s/*", dir);
	char *found = NULL;
	FILE *p;
	char line[4096];
	cleanup_free char *sh = xasprintf("ls -d %s", cmd);

	p = popen(sh, "r");
	if (p && fgets(line, sizeof(line), p)) {
		line[strcspn(line, "\n")] = '\0';
		found = xstrdup(line);
	}
	if (p)
		pclose(p);
	return found;
}

Test(lease, is_locked_while_held_and_gone_afterwards)
{
	struct digest m = digest_of_str("m"), got;
	cleanup_free char *text = NULL;
	cleanup_free char *path = NULL;
	struct lease *l = NULL;
	bool content = false;
	size_t len;
	int fd;

	cr_assert(eq(int, lease_take(f.c, &m, true, &l, NULL), 0));
	path = lease_path();
	cr_assert(ne(ptr, path, NULL));
	cr_assert(ge(int, io_read_file(AT_FDCWD, path, 4096, &text, &len), 0));
	cr_assert(eq(int, lease_parse(text, len, &got, &content), 0));
	cr_expect(digest_equal(&got, &m));
	cr_expect(content);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_expect(eq(int, flock(fd, LOCK_EX | LOCK_NB), -1));
	lease_release(l);
	cr_expect(eq(int, flock(fd, LOCK_EX | LOCK_NB), 0));
	close(fd);
	cr_expect(eq(u32, count_files(&f, "leases"), 0));
}

Test(lease, with_any_byte_flipped_is_refused_or_names_another)
{
	struct digest m = digest_of_str("m"), got;
	char text[256];
	bool content;
	int n = snprintf(text, sizeof(text), "mopslease1 %s meta\n",
			 digest_to_str(&m).str);

	cr_assert(eq(int, lease_parse(text, (size_t)n, &got, &content), 0));
	cr_expect(not(content));
	for (int i = 0; i < n; i++) {
		text[i] ^= (char)0xff;
		cr_expect(eq(int, lease_parse(text, (size_t)n, &got, &content),
			     -EBADMSG));
		text[i] ^= (char)0xff;
	}
	for (int i = 0; i < n; i++)
		cr_expect(eq(int, lease_parse(text, (size_t)i, &got, &content),
			     -EBADMSG));
}

Test(claim, excludes_another_process_until_released)
{
	struct digest d = digest_of_str("x"), e = digest_of_str("y");
	struct cache *other = NULL;
	struct claim *a = NULL, *b = NULL;

	cr_assert(eq(int, cache_open(cache_path(f.c), &other, NULL), 0));
	cr_assert(eq(int, claim_take(f.c, &d, TIME_NEVER, &a), 0));
	cr_expect(eq(int, claim_take(other, &d, time_deadline_ms(20), &b),
		     -ETIMEDOUT));
	cr_expect(eq(int, claim_take(other, &e, 0, &b), 0), "another digest");
	claim_releasep(&b);
	claim_releasep(&a);
	cr_expect(eq(int, claim_take(other, &d, 0, &b), 0));
	claim_releasep(&b);
	cache_close(other);
}

Test(claim, excludes_a_second_claim_of_this_process)
{
	struct digest d = digest_of_str("x");
	struct claim *a = NULL, *b = NULL;

	cr_assert(eq(int, claim_take(f.c, &d, TIME_NEVER, &a), 0));
	cr_expect(eq(int, claim_take(f.c, &d, time_deadline_ms(20), &b),
		     -ETIMEDOUT));
	claim_releasep(&a);
	cr_expect(eq(int, claim_take(f.c, &d, 0, &b), 0));
	claim_releasep(&b);
}

#include "engine/plan.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

#define MIB ((uint64_t)1 << 20)

/* An inventory without a folder behind it. */
struct made {
	struct inventory inv;
	struct bundle_file bf;
	size_t cap;
};

static void made_init(struct made *m, const char *bundle)
{
	*m = (struct made){.inv = INVENTORY_INIT};
	cr_assert(
		eq(int,
		   bundle_file_parse(bundle, strlen(bundle), "f", &m->bf, NULL),
		   0));
}

static void made_release(struct made *m)
{
	inventory_release(&m->inv);
	bundle_file_release(&m->bf);
}
#define cleanup_made __attribute__((cleanup(made_release)))

static struct inv_entry *add(struct made *m, const char *path,
			     enum tree_kind kind)
{
	struct inv_entry *e;

	ARRAY_GROW(m->inv.entries, m->inv.n, m->cap);
	e = &m->inv.entries[m->inv.n++];
	*e = (struct inv_entry){.path = xstrdup(path), .kind = kind};
	e->fs_path = e->path;
	return e;
}

/* @content names the bytes: equal for equal files. */
static struct inv_entry *add_file(struct made *m, const char *path,
				  uint64_t size, const char *content)
{
	struct inv_entry *e = add(m, path, TREE_FILE);

	e->size = size;
	e->digest = size ? digest_of_str(content) : DIGEST_EMPTY;
	return e;
}

static int compare(const void *a, const void *b)
{
	const struct inv_entry *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static int plan_of(struct made *m, const struct plan_options *o,
		   struct plan *ret, struct error **errp)
{
	static const struct plan_options none = {0};

	qsort(m->inv.entries, m->inv.n, sizeof(*m->inv.entries), compare);
	return plan_make(&m->inv, &m->bf, o ? o : &none, ret, errp);
}

static void must_plan(struct made *m, const struct plan_options *o,
		      struct plan *ret)
{
	cleanup_error struct error *err = NULL;
	int r = plan_of(m, o, ret, &err);

	cr_assert(r == 0, "%s", err ? err->message : "");
}

static void expect_refusal(struct made *m, const struct plan_options *o,
			   const char *message, const char *hint)
{
	cleanup_plan struct plan p = {0};
	cleanup_error struct error *err = NULL;
	int r = plan_of(m, o, &p, &err);

	cr_assert(r == -EINVAL, "%d", r);
	cr_expect(eq(int, err->kind, ERROR_VALIDATION));
	cr_expect(strstr(err->message, message) != NULL, "'%s' without '%s'",
		  err->message, message);
	if (hint)
		cr_expect(err->hint && strstr(err->hint, hint),
			  "'%s' without '%s'", err->hint, hint);
	cr_expect(eq(ptr, p.entries, NULL));
}

static const struct plan_entry *entry(const struct plan *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->entries[i].inv->path, path) == 0)
			return &p->entries[i];
	cr_assert(false, "no entry '%s'", path);
	return NULL;
}

static enum plan_place place(const struct plan *p, const char *path)
{
	return entry(p, path)->place;
}

#define ONE_LAYER "bundle: {name: x}\n"

Test(plan, places_by_kind_and_size)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};

	made_init(&m, ONE_LAYER);
	add(&m, "dir", TREE_DIR);
	add(&m, "link", TREE_SYMLINK)->target = xstrdup("x");
	add_file(&m, "empty", 0, "");
	add_file(&m, "small", 1, "s");
	add_file(&m, "under", MIB - 1, "u");
	add_file(&m, "exact", MIB, "e");
	add_file(&m, "big", 100 * MIB, "b");
	must_plan(&m, NULL, &p);
	cr_expect(eq(int, place(&p, "dir"), PLACE_NONE));
	cr_expect(eq(int, place(&p, "link"), PLACE_NONE));
	cr_expect(eq(int, place(&p, "empty"), PLACE_NONE));
	cr_expect(eq(int, place(&p, "small"), PLACE_PACK));
	cr_expect(eq(int, place(&p, "under"), PLACE_PACK));
	cr_expect(eq(int, place(&p, "exact"), PLACE_BLOB));
	cr_expect(eq(int, place(&p, "big"), PLACE_BLOB));
	cr_expect(eq(sz, p.n_packs, 1));
	cr_expect(eq(sz, p.n_blob_descriptors, 2));
	cr_expect(eq(sz, p.n_trees, 1));
	for (size_t i = 0; i < p.n; i++) {
		cr_expect(p.entries[i].reason != NULL);
		cr_expect(eq(ptr, (void *)p.entries[i].inv, &m.inv.entries[i]));
	}
}

Test(plan, ranks_by_size_then_digest_and_stops_when_full)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	size_t blobs = 0;

	made_init(&m, ONE_LAYER);
	for (int i = 0; i < 300; i++) {
		cleanup_free char *path = xasprintf("f%03d", i);

		/* 200 rising sizes, then 100 that only digests tell apart */
		add_file(&m, path, i < 200 ? 2 * MIB + (uint64_t)i : MIB, path);
	}
	must_plan(&m, NULL, &p);
	for (size_t i = 0; i < p.n; i++) {
		const struct plan_entry *e = &p.entries[i];
		size_t before = 0;

		for (size_t k = 0; k < p.n; k++) {
			const struct inv_entry *o = p.entries[k].inv;

			before += o->size > e->inv->size ||
				  (o->size == e->inv->size &&
				   digest_cmp(&o->digest, &e->inv->digest) < 0);
		}
		blobs += e->place == PLACE_BLOB;
		cr_expect(e->place == (before < 256 ? PLACE_BLOB : PLACE_PACK),
			  "%s at rank %zu", e->inv->path, before);
	}
	cr_expect(eq(sz, blobs, 256));
	cr_expect(eq(sz, p.n_blob_descriptors, 256));
}

Test(plan, a_content_has_one_rank_wherever_it_is)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};

	made_init(&m, ONE_LAYER);
	for (int i = 0; i < 256; i++) {
		cleanup_free char *path = xasprintf("f%03d", i);
		cleanup_free char *copy = xasprintf("copy/f%03d", i);

		add_file(&m, path, 2 * MIB, path);
		add_file(&m, copy, 2 * MIB, path);
	}
	add_file(&m, "last", MIB, "last");
	must_plan(&m, NULL, &p);
	cr_expect(eq(sz, p.n_blob_descriptors, 256));
	for (size_t i = 0; i < p.n; i++)
		cr_expect(eq(int, p.entries[i].place,
			     p.entries[i].inv->size == MIB ? PLACE_PACK
							   : PLACE_BLOB));
}

Test(plan, a_file_weighs_its_parts)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	struct plan_options o = {.part_size = 2 * MIB};

	made_init(&m, ONE_LAYER);
	add_file(&m, "a", 400 * MIB, "a");     /* 200 parts */
	add_file(&m, "b", 100 * MIB + 1, "b"); /* 51 */
	add_file(&m, "c", 8 * MIB, "c");       /* 4: 255 so far */
	add_file(&m, "d", 2 * MIB, "d");       /* 1: 256 */
	add_file(&m, "e", MIB, "e");           /* too many, but fits a pack */
	must_plan(&m, &o, &p);
	cr_expect(eq(sz, p.n_blob_descriptors, 256));
	cr_expect(eq(int, place(&p, "d"), PLACE_BLOB));
	cr_expect(eq(int, place(&p, "e"), PLACE_PACK));
}

Test(plan, the_first_that_does_not_fit_ends_the_ranking)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	struct plan_options o = {.part_size = 2 * MIB};

	made_init(&m, ONE_LAYER);
	add_file(&m, "a", 508 * MIB, "a"); /* 254 parts */
	add_file(&m, "b", 2 * MIB, "b");   /* 255 */
	add_file(&m, "c", 2 * MIB, "c");   /* 256 */
	add_file(&m, "d", 2 * MIB, "d");   /* no room */
	add_file(&m, "e", MIB, "e");
	must_plan(&m, &o, &p);
	cr_expect(eq(sz, p.n_blob_descriptors, 256));
	cr_expect(eq(int, place(&p, "e"), PLACE_PACK));
}

Test(plan, a_file_over_the_part_size_must_fit)
{
	cleanup_made struct made m;
	struct plan_options o = {.part_size = 2 * MIB};

	made_init(&m, ONE_LAYER);
	add_file(&m, "a", 510 * MIB, "a"); /* 255 parts */
	add_file(&m, "b", 3 * MIB, "b");   /* two more */
	expect_refusal(&m, &o, "'b'", "external_storage");
}

Test(plan, packs_each_content_once_per_layer_under_its_first_path)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};

	made_init(&m, "bundle: {layers: [{name: one, paths: [a*]},"
		      " {name: two, paths: ['**']}]}\n");
	add_file(&m, "a1", 10, "same")->executable = true;
	add_file(&m, "a2", 10, "same");
	add_file(&m, "a3", 10, "other");
	add_file(&m, "b1", 10, "same")->layer = 1;
	add_file(&m, "b0", 10, "same")->layer = 1;
	add_file(&m, "b-0", 5, "x")->layer = 1;
	must_plan(&m, NULL, &p);
	cr_assert(eq(sz, p.n_packs, 2));
	cr_assert(eq(sz, p.packs[0].n, 2));
	cr_expect(eq(uint, p.packs[0].layer, 0));
	cr_expect(eq(uint, p.packs[0].number, 0));
	cr_expect(eq(str, (char *)p.packs[0].items[0].path, "a1"));
	cr_expect(p.packs[0].items[0].executable, "the first file's mode");
	cr_expect(eq(str, (char *)p.packs[0].items[1].path, "a3"));
	cr_assert(eq(sz, p.packs[1].n, 2));
	cr_expect(eq(uint, p.packs[1].layer, 1));
	cr_expect(eq(uint, p.packs[1].number, 0));
	cr_expect(eq(str, (char *)p.packs[1].items[0].path, "b-0"));
	cr_expect(eq(str, (char *)p.packs[1].items[1].path, "b0"));
	cr_expect(eq(uint, entry(&p, "a2")->pack, 0));
	cr_expect(eq(uint, entry(&p, "a2")->pack_item, 0));
	cr_expect(eq(uint, entry(&p, "b1")->pack, 1));
	cr_expect(eq(uint, entry(&p, "b1")->pack_item, 1));
	cr_expect(eq(ptr, p.packs[1].items[1].user,
		     (void *)entry(&p, "b0")->inv));
}

static void add_many(struct made *m, int n, uint64_t size)
{
	for (int i = 0; i < n; i++) {
		cleanup_free char *path = xasprintf("d%02d/f%05d", i % 37, i);

		add_file(m, path, size + (uint64_t)(i * 7919 % 1000), path);
	}
}

Test(plan, every_packed_file_is_found_where_it_was_put)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	size_t seen = 0;

	made_init(&m, ONE_LAYER);
	add_many(&m, 5000, 20000);
	must_plan(&m, NULL, &p);
	cr_expect(ge(sz, p.n_packs, 2));
	for (size_t i = 0; i < p.n; i++) {
		const struct plan_entry *e = &p.entries[i];
		const struct plan_pack *k = &p.packs[e->pack];

		cr_assert(lt(sz, e->pack_item, k->n));
		cr_expect(k->items[e->pack_item].user == (void *)e->inv);
	}
	for (size_t i = 0; i < p.n_packs; i++) {
		cr_expect(eq(uint, p.packs[i].number, (unsigned)i));
		for (size_t k = 0; k + 1 < p.packs[i].n; k++)
			cr_expect(strcmp(p.packs[i].items[k].path,
					 p.packs[i].items[k + 1].path) < 0);
		seen += p.packs[i].n;
	}
	cr_expect(eq(sz, seen, 5000));
}

Test(plan, depends_on_its_input_alone)
{
	cleanup_made struct made a, b;
	cleanup_plan struct plan pa = {0}, pb = {0};

	made_init(&a, ONE_LAYER);
	made_init(&b, ONE_LAYER);
	add_many(&a, 2000, 30000);
	add_many(&b, 2000, 30000);
	must_plan(&a, NULL, &pa);
	/* the same files, handed over in another order */
	for (size_t i = 0; i < b.inv.n / 2; i++) {
		struct inv_entry t = b.inv.entries[i];

		b.inv.entries[i] = b.inv.entries[b.inv.n - 1 - i];
		b.inv.entries[b.inv.n - 1 - i] = t;
	}
	must_plan(&b, NULL, &pb);
	cr_assert(eq(sz, pa.n_packs, pb.n_packs));
	for (size_t i = 0; i < pa.n; i++) {
		cr_expect(eq(uint, pa.entries[i].pack, pb.entries[i].pack));
		cr_expect(eq(uint, pa.entries[i].pack_item,
			     pb.entries[i].pack_item));
	}
}

#define EXTERNALS                                                            \
	"external_storage:\n"                                                \
	"  - {pattern: \"fit/**\", storage: \"s3://bbb/p/\", tier: cool}\n"  \
	"  - {pattern: \"**/*.bin\", min_size: 10, storage: \"gs://ccc\"}\n" \
	"  - {min_size: 50MB, storage: \"az://account/container\"}\n"

Test(plan, external_rules_match_in_order)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	struct digest_hex hex;
	cleanup_free char *uri = NULL;

	made_init(&m, EXTERNALS);
	add_file(&m, "fit/a.bin", 100, "a");
	add_file(&m, "fit/empty", 0, "");
	add_file(&m, "x/b.bin", 10, "b");
	add_file(&m, "x/c.bin", 9, "c");
	add_file(&m, "x/d", 50000000, "d");
	add_file(&m, "x/e", 49999999, "e");
	add(&m, "fit/link", TREE_SYMLINK)->target = xstrdup("a.bin");
	must_plan(&m, NULL, &p);
	hex = digest_to_hex(&entry(&p, "fit/a.bin")->inv->digest);
	uri = xasprintf("s3://bbb/p/sha256/%.2s/%s", hex.str, hex.str);
	cr_expect(eq(str, entry(&p, "fit/a.bin")->uri, uri));
	cr_expect(eq(int, entry(&p, "fit/a.bin")->tier, TREE_TIER_COOL));
	cr_expect(not(entry(&p, "fit/a.bin")->registered));
	cr_expect(eq(int, place(&p, "fit/empty"), PLACE_NONE));
	cr_expect(eq(int, place(&p, "fit/link"), PLACE_NONE));
	cr_expect(strncmp(entry(&p, "x/b.bin")->uri, "gs://ccc/sha256/", 16) ==
		  0);
	cr_expect(eq(int, entry(&p, "x/b.bin")->tier, TREE_TIER_NONE));
	cr_expect(eq(int, place(&p, "x/c.bin"), PLACE_PACK));
	cr_expect(strncmp(entry(&p, "x/d")->uri, "az://account/container/sha",
			  26) == 0);
	cr_expect(eq(int, place(&p, "x/e"), PLACE_BLOB));
	cr_expect(eq(sz, p.n_blob_descriptors, 1));
}

Test(plan, registered_externals_come_before_rules)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	struct plan_external x[] = {{"fit/a", "s3://zzz/it's here"},
				    {"e\xcc\x81", "file:///data/x"}};
	struct plan_options o = {.externals = x, .n_externals = 2};

	made_init(&m, EXTERNALS);
	add_file(&m, "fit/a", 100, "a");
	add_file(&m, "\xc3\xa9", 100, "b");
	add_file(&m, "x", 1, "x");
	must_plan(&m, &o, &p);
	cr_expect(eq(str, entry(&p, "fit/a")->uri, "s3://zzz/it%27s%20here"));
	cr_expect(entry(&p, "fit/a")->registered);
	cr_expect(eq(int, entry(&p, "fit/a")->tier, TREE_TIER_NONE));
	cr_expect(eq(str, entry(&p, "\xc3\xa9")->uri, "file:///data/x"));
}

Test(plan, refuses_registrations_that_make_no_sense)
{
	static const struct plan_external bad[] = {
		{"missing", "s3://bbb/k"}, {"empty", "s3://bbb/k"},
		{"dir", "s3://bbb/k"},     {"link", "s3://bbb/k"},
		{"a", "http://host/k"},    {"a", "s3://bbb"},
		{"a", "s3://bbb/k?x=1"},   {"\xff", "s3://bbb/k"},
		{"", "s3://bbb/k"},
	};
	static const struct plan_external twice[] = {{"a", "s3://bbb/k"},
						     {"a", "s3://bbb/l"}};

	for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
		cleanup_made struct made m;
		cleanup_plan struct plan p = {0};
		struct plan_options o = {.externals = &bad[i],
					 .n_externals = 1};

		if (i == ARRAY_SIZE(bad))
			o = (struct plan_options){.externals = twice,
						  .n_externals = 2};
		made_init(&m, ONE_LAYER);
		add_file(&m, "a", 1, "a");
		add_file(&m, "empty", 0, "");
		add(&m, "dir", TREE_DIR);
		add(&m, "link", TREE_SYMLINK)->target = xstrdup("a");
		cr_expect(plan_of(&m, &o, &p, NULL) == -EINVAL, "case %zu", i);
	}
}

Test(plan, external_content_takes_no_rank)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};

	made_init(&m, EXTERNALS);
	add_file(&m, "fit/a", 2 * MIB, "same");
	add_file(&m, "b", 2 * MIB, "same");
	must_plan(&m, NULL, &p);
	cr_expect(eq(int, place(&p, "fit/a"), PLACE_EXTERNAL));
	cr_expect(eq(int, place(&p, "b"), PLACE_BLOB), "not all are external");
	cr_expect(eq(sz, p.n_blob_descriptors, 1));
}

Test(plan, leaves_room_for_the_names_of_pointers)
{
	char name[5 + 252] = "fit/";

	for (size_t n = 250; n <= 251; n++) {
		cleanup_made struct made m;
		cleanup_plan struct plan p = {0};

		made_init(&m, EXTERNALS);
		memset(name + 4, 'n', n);
		name[4 + n] = '\0';
		add_file(&m, name, 10, "a");
		if (n == 250)
			must_plan(&m, NULL, &p);
		else
			expect_refusal(&m, NULL, "250", NULL);
	}
}

Test(plan, pointers_do_not_collide)
{
	cleanup_made struct made m;

	made_init(&m, EXTERNALS);
	add_file(&m, "fit/x", 10, "a");
	add_file(&m, "fit/x.json/y/z", 10, "b");
	expect_refusal(&m, NULL, "'fit/x' and 'fit/x.json/y/z'", NULL);
}

Test(plan, a_pointer_and_what_is_no_external_do_not_collide)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};

	made_init(&m, "external_storage: [{pattern: x, storage: s3://bbb},"
		      " {pattern: x.json, storage: s3://bbb}]\n");
	add_file(&m, "x", 10, "a");
	add_file(&m, "x.json", 10, "c");
	add_file(&m, "x.jsonl/y", 10, "b");
	must_plan(&m, NULL, &p);
	cr_expect(eq(int, place(&p, "x.jsonl/y"), PLACE_PACK));
}

static char *many_roles(int layers, int roles)
{
	char *text = xstrdup("bundle:\n  layers:\n");

	for (int i = 0; i < layers; i++) {
		char *more = xasprintf("%s    - {name: l%d, paths: [p%d]}\n",
				       text, i, i);

		free(text);
		text = more;
	}
	for (int i = 0; i < roles; i++) {
		char *more =
			xasprintf("%s%s    r%d: [l%d, l%d]\n", text,
				  i ? "" : "  roles:\n", i, i % 6, 6 + i / 6);

		free(text);
		text = more;
	}
	return text;
}

Test(plan, counts_distinct_trees)
{
	static const struct {
		const char *roles;
		size_t want;
	} cases[] = {
		{"{a: [l0]}", 3},
		{"{a: [l0, l1]}", 4},
		{"{a: [l0, l1], b: [l1, l0]}", 4},
		{"{a: [l0, l1], b: [l1, l2], c: [l2]}", 5},
		{"{a: [l0, l1, l2], b: [l0, l1]}", 5},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_made struct made m;
		cleanup_plan struct plan p = {0};
		cleanup_free char *text =
			xasprintf("bundle: {layers: [{name: l0, paths: [a]},"
				  " {name: l1, paths: [b]},"
				  " {name: l2, paths: [c]}], roles: %s}\n",
				  cases[i].roles);

		made_init(&m, text);
		add_file(&m, "a", 1, "a");
		must_plan(&m, NULL, &p);
		cr_expect(p.n_trees == cases[i].want, "%s: %zu", cases[i].roles,
			  p.n_trees);
	}
}

Test(plan, holds_32_trees_and_no_more)
{
	for (int roles = 20; roles <= 21; roles++) {
		cleanup_free char *text = many_roles(12, roles);
		cleanup_made struct made m;
		cleanup_plan struct plan p = {0};

		made_init(&m, text);
		add_file(&m, "p0", 1, "a");
		if (roles == 20)
			must_plan(&m, NULL, &p);
		else
			expect_refusal(&m, NULL, "32 trees", "roles");
	}
}

Test(plan, holds_400_descriptors_and_no_more)
{
	/* Files so large that each ends a pack, whatever the step. */
	for (int n = 399; n <= 400; n++) {
		cleanup_made struct made m;
		cleanup_plan struct plan p = {0};

		made_init(&m, ONE_LAYER);
		for (int i = 0; i < 256; i++) {
			cleanup_free char *path = xasprintf("own%d", i);

			add_file(&m, path, 4096 * MIB, path);
		}
		for (int i = 256; i < n; i++) {
			cleanup_free char *path = xasprintf("pack%d", i);

			add_file(&m, path, 1024 * MIB, path);
		}
		if (n == 399)
			must_plan(&m, NULL, &p);
		else
			expect_refusal(&m, NULL, "401 blobs",
				       "external_storage");
	}
}

Test(plan, refuses_paths_that_clash)
{
	static const char *const clashes[][3] = {
		{"a", "a/b", "x"},
		{"a", "a-b", "a/b"},
		{"a/b", "a/b/c/d", "a/b-c"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(clashes); i++) {
		cleanup_made struct made m;
		cleanup_plan struct plan p = {0};
		cleanup_error struct error *err = NULL;

		made_init(&m, ONE_LAYER);
		for (int k = 0; k < 3; k++)
			add_file(&m, clashes[i][k], 1, "x");
		cr_assert(eq(int, plan_of(&m, NULL, &p, &err), -EEXIST));
		cr_expect(eq(int, err->kind, ERROR_ROLE));
	}
}

Test(plan, takes_neighbours_for_what_they_are)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};

	made_init(&m, ONE_LAYER);
	add_file(&m, "a", 1, "x");
	add_file(&m, "a-b/c", 1, "x");
	add_file(&m, "a.d", 1, "x");
	add_file(&m, "ab/c", 1, "x");
	must_plan(&m, NULL, &p);
}

Test(plan, packs_nothing_when_told)
{
	cleanup_made struct made m;
	cleanup_plan struct plan p = {0};
	struct plan_options o = {.pack_nothing = true};

	made_init(&m, ONE_LAYER);
	for (int i = 0; i < 500; i++) {
		cleanup_free char *path = xasprintf("f%d", i);

		add_file(&m, path, 1, path);
	}
	must_plan(&m, &o, &p);
	cr_expect(eq(sz, p.n_packs, 0));
	cr_expect(eq(sz, p.n_blob_descriptors, 500));
}

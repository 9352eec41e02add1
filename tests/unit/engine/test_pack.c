#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "cache/cache.h"
#include "engine/pack.h"
#include "engine/tar.h"

/* Files whose content is a letter repeated, in memory. */
struct file {
	char *content;
	size_t size;
	int opens;
};

static int open_file(void *ctx, const struct pack_item *it, struct error **errp)
{
	struct file *f = it->user;
	int fd = memfd_create("file", MFD_CLOEXEC);

	f->opens++;
	if (fd < 0 || write(fd, f->content, f->size) != (ssize_t)f->size)
		abort();
	return fd;
}

static int open_nothing(void *ctx, const struct pack_item *it,
			struct error **errp)
{
	return error_set(errp, ENOENT, "'%s' is gone", it->path);
}

struct fixture {
	struct file files[5];
	struct pack_item items[5];
};

static void fixture_init(struct fixture *x)
{
	static const struct {
		const char *path;
		size_t size;
	} in[] = {{"a-b", 1},
		  {"a/big", 2 * CHUNK_SIZE + 5},
		  {"a/c/d", 512},
		  {"a/one-chunk", CHUNK_SIZE},
		  {"z", 513}};

	for (size_t i = 0; i < 5; i++) {
		char *p = xmalloc(in[i].size);

		for (size_t k = 0; k < in[i].size; k++)
			p[k] = (char)('a' + (k * 7 + i + k / 1000) % 26);
		x->files[i] = (struct file){p, in[i].size, 0};
		x->items[i] = (struct pack_item){
			.path = in[i].path,
			.size = in[i].size,
			.digest = digest_of_buf(p, in[i].size),
			.user = &x->files[i],
			.executable = i == 2,
		};
	}
}

static void fixture_release(struct fixture *x)
{
	for (size_t i = 0; i < 5; i++)
		free(x->files[i].content);
}

/* The same archive, made by hand. */
static void expected(const struct fixture *x, struct strbuf *out)
{
	static const struct {
		const char *dir;
		int item;
	} order[] = {{"a", -1}, {NULL, 0}, {NULL, 1}, {"a/c", -1},
		     {NULL, 2}, {NULL, 3}, {NULL, 4}};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		struct tar_entry e = {.kind = TAR_DIR, .path = order[i].dir};
		const struct pack_item *it;

		if (!e.path) {
			it = &x->items[order[i].item];
			e = (struct tar_entry){.kind = TAR_FILE,
					       .path = it->path,
					       .executable = it->executable,
					       .size = it->size};
		}
		tar_header(out, &e);
		if (e.kind == TAR_FILE)
			strbuf_add(out, x->files[order[i].item].content,
				   e.size);
		while (out->len % TAR_BLOCK)
			strbuf_addc(out, '\0');
	}
	for (uint64_t n = tar_trailer(out->len); n; n--)
		strbuf_addc(out, '\0');
}

Test(pack, is_a_tar_of_the_files_and_their_folders)
{
	cleanup_strbuf struct strbuf want = STRBUF_INIT;
	cleanup_free char *got = NULL;
	struct fixture x;
	struct pack *p;
	struct feed *f;

	fixture_init(&x);
	p = pack_new(x.items, 5, open_file, NULL);
	expected(&x, &want);
	cr_assert(eq(u64, pack_size(p), want.len));
	f = pack_feed(p);
	cr_assert(eq(u64, f->size, want.len));
	got = xmalloc(want.len);
	cr_assert(eq(int, f->pread(f, got, want.len, 0, NULL), 0));
	cr_expect(eq(int, memcmp(got, want.buf, want.len), 0));
	for (size_t i = 0; i < 5; i++)
		cr_expect(eq(int,
			     memcmp(got + x.items[i].offset, x.files[i].content,
				    x.files[i].size),
			     0),
			  "%s", x.items[i].path);
	pack_free(p);
	fixture_release(&x);
}

Test(pack, can_be_read_anywhere_in_any_bites)
{
	static const size_t steps[] = {1777, 512, 100003, CHUNK_SIZE};
	cleanup_strbuf struct strbuf want = STRBUF_INIT;
	cleanup_free char *got = NULL;
	struct fixture x;
	struct feed *f;
	struct pack *p;

	fixture_init(&x);
	p = pack_new(x.items, 5, open_file, NULL);
	f = pack_feed(p);
	expected(&x, &want);
	got = xmalloc(CHUNK_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		/* Backwards, so that nothing is sequential. */
		for (size_t off = want.len / steps[i] * steps[i];;
		     off -= steps[i]) {
			size_t n = MIN(steps[i], want.len - off);

			cr_assert(eq(int, f->pread(f, got, n, off, NULL), 0));
			cr_assert(eq(int, memcmp(got, want.buf + off, n), 0),
				  "%zu at %zu", n, off);
			if (!off)
				break;
		}
	pack_free(p);
	fixture_release(&x);
}

Test(pack, hashes_itself_and_its_chunks_and_reads_each_file_once)
{
	cleanup_strbuf struct strbuf want = STRBUF_INIT;
	cleanup_free struct digest *chunks = NULL;
	struct digest d, whole;
	struct fixture x;
	struct pack *p;
	uint32_t n = 0;

	fixture_init(&x);
	p = pack_new(x.items, 5, open_file, NULL);
	cr_assert(eq(int, pack_hash(p, &d, &chunks, &n, NULL), 0));
	expected(&x, &want);
	whole = digest_of_buf(want.buf, want.len);
	cr_expect(digest_equal(&d, &whole));
	cr_assert(eq(u32, n, (want.len - 1) / CHUNK_SIZE + 1));
	for (uint32_t i = 0; i < n; i++) {
		size_t off = (size_t)i * CHUNK_SIZE;

		d = digest_of_buf(want.buf + off,
				  MIN(CHUNK_SIZE, want.len - off));
		cr_expect(digest_equal(&d, &chunks[i]), "chunk %u", i);
	}
	for (size_t i = 0; i < 5; i++)
		cr_expect(eq(int, x.files[i].opens, 1));
	pack_free(p);
	fixture_release(&x);
}

Test(pack, a_small_pack_has_no_chunk_list)
{
	struct digest *chunks = NULL, d;
	struct fixture x;
	struct pack *p;
	uint32_t n = 7;

	fixture_init(&x);
	p = pack_new(x.items, 1, open_file, NULL);
	cr_assert(eq(int, pack_hash(p, &d, &chunks, &n, NULL), 0));
	cr_expect(eq(u32, n, 0));
	cr_expect(eq(ptr, chunks, NULL));
	cr_expect(eq(u64, pack_size(p), TAR_RECORD));
	pack_free(p);
	fixture_release(&x);
}

Test(pack, names_a_file_that_changed_since_it_was_scanned)
{
	for (size_t i = 0; i < 5; i++)
		for (int how = 0; how < 3; how++) {
			cleanup_error struct error *err = NULL;
			struct digest *chunks = NULL, d;
			struct fixture x;
			struct pack *p;
			uint32_t n;

			fixture_init(&x);
			p = pack_new(x.items, 5, open_file, NULL);
			if (how == 0)
				x.files[i].content[x.files[i].size - 1] ^= 1;
			if (how == 1)
				x.files[i].size--;
			if (how == 2) {
				x.files[i].content =
					xrealloc(x.files[i].content,
						 x.files[i].size + 1, 1);
				x.files[i].content[x.files[i].size++] = 'x';
			}
			cr_expect(eq(int, pack_hash(p, &d, &chunks, &n, &err),
				     -ESTALE));
			cr_assert(ne(ptr, err, NULL));
			cr_expect(eq(int, err->kind, ERROR_VALIDATION));
			cr_expect(ne(ptr, strstr(err->message, x.items[i].path),
				     NULL));
			pack_free(p);
			fixture_release(&x);
		}
}

Test(pack, passes_on_why_a_file_cannot_be_opened)
{
	cleanup_error struct error *err = NULL;
	struct digest *chunks = NULL, d;
	struct fixture x;
	struct pack *p;
	uint32_t n;

	fixture_init(&x);
	p = pack_new(x.items, 5, open_nothing, NULL);
	cr_expect(eq(int, pack_hash(p, &d, &chunks, &n, &err), -ENOENT));
	cr_expect(eq(str, err->message, "'a-b' is gone"));
	pack_free(p);
	fixture_release(&x);
}

/* @n items of @size bytes; digest i is that of "<seed>-<i>". */
static struct pack_item *many(size_t n, uint64_t size, int seed)
{
	struct pack_item *items = xcalloc(n, sizeof(*items));

	for (size_t i = 0; i < n; i++) {
		char text[64];

		snprintf(text, sizeof(text), "%d-%zu", seed, i);
		items[i].path = "x";
		items[i].size = size;
		items[i].digest = digest_of_str(text);
	}
	return items;
}

static uint64_t weight(const struct pack_item *items, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += 512 + (items[i].size + 511) / 512 * 512;
	return sum;
}

Test(pack_cut, keeps_a_pack_between_8_and_64_mib)
{
	static const uint64_t sizes[] = {4000, 100000, 1000000, 9000000};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
		for (unsigned k = 0; k <= 4; k++) {
			size_t n = (size_t)(300000000ull / (sizes[s] + 1000));
			cleanup_free struct pack_item *items =
				many(n, sizes[s], (int)k);

			for (size_t i = 0; i < n;) {
				size_t got = pack_cut(items + i, n - i, k);
				uint64_t sum = weight(items + i, got);

				cr_assert(gt(sz, got, 0));
				if (i + got < n)
					cr_expect(
						ge(u64, sum, 8ull << 20 << k));
				/* The last file may pass the limit. */
				cr_expect(
					lt(u64,
					   sum - weight(items + i + got - 1, 1),
					   64ull << 20 << k));
				i += got;
			}
		}
}

Test(pack_cut, cuts_where_the_rule_says)
{
	cleanup_free struct pack_item *items = many(20000, 4096 - 512, 1);
	uint64_t sum = 0;
	size_t i;

	/* The rule again, as format.md words it. */
	for (i = 0; i < 20000; i++) {
		uint64_t h = 0;

		for (int b = 0; b < 8; b++)
			h = h << 8 | items[i].digest.b[b];
		sum += 4096;
		if (sum >= 64u << 20 || (sum >= 8u << 20 && h >> 40 < 4096))
			break;
	}
	cr_assert(lt(sz, i, 16384));
	cr_expect(eq(sz, pack_cut(items, 20000, 0), i + 1));
}

Test(pack_cut, resynchronises_after_a_change)
{
	size_t n = 40000, same = 0, packs = 0;
	cleanup_free struct pack_item *a = many(n, 3000, 5);
	cleanup_free struct pack_item *b = xmalloc((n + 1) * sizeof(*b));
	cleanup_free bool *cut = xcalloc(n + 1, sizeof(*cut));

	/* One new file in the middle. */
	memcpy(b, a, 10000 * sizeof(*b));
	b[10000] = a[0];
	memcpy(b + 10001, a + 10000, (n - 10000) * sizeof(*b));
	for (size_t i = 0; i < n;) {
		i += pack_cut(a + i, n - i, 0);
		cut[i] = true;
		packs++;
	}
	for (size_t i = 0; i < n + 1;) {
		i += pack_cut(b + i, n + 1 - i, 0);
		same += cut[i < 10000 ? i : i - 1];
	}
	cr_assert(gt(sz, packs, 4));
	cr_expect(ge(sz, same + 2, packs), "%zu of %zu", same, packs);
}

Test(pack_step, doubles_until_112_packs_suffice)
{
	size_t n = 3000;
	cleanup_free struct pack_item *items = many(n, 1u << 20, 3);
	struct pack_layer l[2] = {{items, 10}, {items, 10}};

	cr_expect(eq(u32, pack_step(l, 2), 0));
	cr_expect(eq(u32, pack_step(NULL, 0), 0));
	l[0].n = l[1].n = n;
	unsigned k = pack_step(l, 2);

	cr_assert(gt(u32, k, 0));
	for (unsigned s = k - 1; s <= k; s++) {
		size_t packs = 0;

		for (size_t i = 0; i < n; packs += 2)
			i += pack_cut(items + i, n - i, s);
		cr_expect(eq(int, packs <= 112, s == k), "step %u", s);
	}
}

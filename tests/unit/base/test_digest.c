#include "base/digest.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/io.h"

#define ABC_HEX \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static int parse(const char *s, size_t n)
{
	struct digest d = {{0}};

	return digest_parse(s, n, &d, NULL);
}

Test(digest, hashes_the_published_vectors)
{
	struct digest d = digest_of_str("abc");

	cr_assert(eq(str, digest_to_hex(&d).str, ABC_HEX));
	cr_assert(eq(str, digest_to_str(&d).str, "sha256:" ABC_HEX));
	d = digest_of_buf(NULL, 0);
	cr_assert(digest_equal(&d, &DIGEST_EMPTY));
	cr_assert(eq(u64, digest_prefix64(&d), 0xe3b0c44298fc1c14));
}

Test(digest, parses_what_it_prints)
{
	struct digest d = digest_of_str("x"), back, hex;
	struct digest_str s = digest_to_str(&d);

	cr_assert(eq(int, digest_parse(s.str, DIGEST_STR_LEN, &back, NULL), 0));
	cr_assert(digest_equal(&d, &back));
	cr_assert(eq(int, digest_parse_hex(s.str + 7, 64, &hex, NULL), 0));
	cr_assert(digest_equal(&d, &hex));
}

Test(digest, orders_by_bytes)
{
	struct digest a = {{0x01, 0xff}}, b = {{0x02}};

	cr_assert(lt(int, digest_cmp(&a, &b), 0));
	cr_assert(gt(int, digest_cmp(&b, &a), 0));
	cr_assert(eq(int, digest_cmp(&a, &a), 0));
}

/* Each byte of a good digest replaced by each byte that may not stand there. */
Test(digest, refuses_every_wrong_byte_at_every_place)
{
	const char good[] = "sha256:" ABC_HEX;

	cr_assert(eq(int, parse(good, DIGEST_STR_LEN), 0));
	for (size_t at = 7; at < DIGEST_STR_LEN; at++) {
		for (int c = 0; c < 256; c++) {
			char s[sizeof(good)];

			if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
				continue;
			memcpy(s, good, sizeof(good));
			s[at] = (char)c;
			cr_assert(eq(int, parse(s, DIGEST_STR_LEN), -EINVAL),
				  "byte %d at %zu", c, at);
		}
	}
}

Test(digest, refuses_every_other_length)
{
	char s[200];

	memset(s, 'a', sizeof(s));
	memcpy(s, "sha256:", 7);
	for (size_t n = 0; n <= sizeof(s); n++)
		cr_assert(eq(int, parse(s, n),
			     n == DIGEST_STR_LEN ? 0 : -EINVAL),
			  "length %zu", n);
}

Test(digest, refuses_what_once_became_a_path)
{
	static const char *const bad[] = {
		"",
		":",
		"sha256",
		"sha256:",
		":" ABC_HEX,
		ABC_HEX,
		" sha256:" ABC_HEX,
		"sha256 :" ABC_HEX,
		"sha256: " ABC_HEX,
		"sha256:" ABC_HEX " ",
		"sha256:" ABC_HEX "\n",
		"sha256:" ABC_HEX "/",
		"sha256:0x7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff6"
		"1f20015ad",
		"SHA256:" ABC_HEX,
		"Sha256:" ABC_HEX,
		"sha-256:" ABC_HEX "/..",
		"sha256-" ABC_HEX,
		"sha256/" ABC_HEX,
		"sha256::" ABC_HEX,
		"sha256:sha256:" ABC_HEX,
		"../sha256:" ABC_HEX,
		"sha256:../../../../../../../../../../../../../../../../../../"
		"../etc/passwd",
		"sha256:/"
		"a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f"
		"20015ad",
		"sha256:.."
		"7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f"
		"20015ad",
		"sha256:%61%"
		"37816bf8f01cfea414140de5dae2223b00361a396177a9cb410f1",
		"/etc/passwd",
		"..",
		"sha512",
		"sha512:",
		"+sha512:aa",
		"sha512+:aa",
		"sha..512:aa",
		"sha512:a/b",
		"sha512:a b",
		"sha512:..",
		"a:\x80",
		"sh\xc3\xa4:aa",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(eq(int, parse(bad[i], strlen(bad[i])), -EINVAL),
			  "'%s'", bad[i]);
}

Test(digest, refuses_an_embedded_nul)
{
	char s[DIGEST_STR_LEN + 1] = "sha256:" ABC_HEX;

	s[40] = '\0';
	cr_assert(eq(int, parse(s, DIGEST_STR_LEN), -EINVAL));
	cr_assert(eq(int, parse("sha256\0:", 8), -EINVAL));
	cr_assert(eq(int, parse("sha512:a\0", 9), -EINVAL));
}

Test(digest, says_of_another_algorithm_that_it_is_not_supported)
{
	static const char *const other[] = {
		"sha512:" ABC_HEX ABC_HEX,
		"md5:d41d8cd98f00b204e9800998ecf8427e",
		"blake3:" ABC_HEX,
		"multihash+base58:QmRZxt2b1FVZPNqd8h",
		"sha256+b64u:LCa0a2j_xo_5",
		"sha-256:" ABC_HEX,
	};

	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		cleanup_error struct error *err = NULL;
		struct digest d;
		int r = digest_parse(other[i], strlen(other[i]), &d, &err);

		cr_expect(eq(int, r, -EPROTONOSUPPORT), "'%s'", other[i]);
		cr_expect(err && err->kind == ERROR_MEDIA_TYPE);
	}
}

Test(digest, hasher_starts_anew_after_its_end)
{
	cleanup_hasher struct hasher *h = hasher_new();
	struct digest abc = digest_of_str("abc"), d;

	hasher_update(h, "a", 1);
	hasher_update(h, "", 0);
	hasher_update(h, "bc", 2);
	d = hasher_final(h);
	cr_assert(digest_equal(&d, &abc));
	d = hasher_final(h);
	cr_assert(digest_equal(&d, &DIGEST_EMPTY));
}

static int memory_file(const unsigned char *p, size_t n)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, io_pwrite_full(fd, p, n, 0), 0));
	return fd;
}

static unsigned char *noise(size_t n)
{
	unsigned char *p = xmalloc(n);
	uint32_t x = 12345;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (unsigned char)(x >> 24);
	}
	return p;
}

Test(digest, hashes_a_range_of_a_file_and_leaves_its_offset)
{
	cleanup_free unsigned char *p = noise(1000000);
	cleanup_fd int fd = memory_file(p, 1000000);
	struct digest want = digest_of_buf(p + 7, 600001), got;

	lseek(fd, 3, SEEK_SET);
	cr_assert(eq(int, digest_of_fd(fd, 7, 600001, &got, NULL), 0));
	cr_assert(digest_equal(&want, &got));
	cr_assert(eq(int, (int)lseek(fd, 0, SEEK_CUR), 3));
	cr_assert(eq(int, digest_of_fd(fd, 5, 0, &got, NULL), 0));
	cr_assert(digest_equal(&got, &DIGEST_EMPTY));
}

Test(digest, an_early_end_is_an_error_and_sets_nothing)
{
	cleanup_free unsigned char *p = noise(9 << 20);
	cleanup_fd int fd = memory_file(p, 9 << 20);
	struct digest got = {{1}}, was = got, *list = (void *)p;
	size_t n = 99;

	cr_assert(eq(int, digest_of_fd(fd, 1, 9 << 20, &got, NULL), -EIO));
	cr_assert(eq(int,
		     digest_of_fd_chunked(fd, 0, (9 << 20) + 1, 1 << 20, &got,
					  &list, &n, NULL),
		     -EIO));
	cr_assert(eq(int, digest_of_fd(fd, INT64_MAX, 2, &got, NULL),
		     -EOVERFLOW));
	cr_assert(digest_equal(&got, &was));
	cr_assert(eq(ptr, list, p));
	cr_assert(eq(sz, n, 99));
}

/* Sizes around a chunk, a block and the size where a second thread comes in. */
Test(digest, chunks_agree_with_hashing_each_by_itself)
{
	static const size_t sizes[] = {
		1,      4095,    4096,    4097,    8192,    262143,  262144,
		262145, 1 << 20, 4194303, 4194304, 4194305, 5000000, 10000019,
	};
	static const uint32_t chunks[] = {1000, 4096, 1 << 20, 3000001};
	cleanup_free unsigned char *p = noise(10000030);
	cleanup_fd int fd = memory_file(p, 10000030);

	for (size_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(chunks); i++) {
		size_t size = sizes[i / ARRAY_SIZE(chunks)], n = 0;
		uint32_t chunk = chunks[i % ARRAY_SIZE(chunks)];
		struct digest whole = digest_of_buf(p + 11, size), got;
		cleanup_free struct digest *list = NULL;

		cr_assert(eq(int,
			     digest_of_fd_chunked(fd, 11, size, chunk, &got,
						  &list, &n, NULL),
			     0));
		cr_assert(digest_equal(&got, &whole));
		if (size <= chunk) {
			cr_assert(eq(ptr, list, NULL));
			continue;
		}
		cr_assert(eq(sz, n, (size + chunk - 1) / chunk));
		for (size_t k = 0; k < n; k++) {
			size_t off = k * chunk;
			struct digest want = digest_of_buf(
				p + 11 + off, MIN((size_t)chunk, size - off));

			cr_assert(digest_equal(&list[k], &want),
				  "chunk %zu of %zu by %u", k, size, chunk);
		}
	}
}

/*
 * What other processes left in the cache. The first byte chooses the parser.
 * Each input is tried as it is, and with its checksum put right, or nothing
 * behind the checksum would ever be reached.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/time.h"
#include "cache/content.h"
#include "cache/content_map.h"
#include "cache/internal.h"
#include "cache/verify_internal.h"
#include "tests/fuzz/fuzz.h"

static void put64(uint8_t *at, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

/* A header that is accepted is written as itself. */
static void try_map(const uint8_t *p, size_t n)
{
	struct map_info info = {0};
	uint8_t back[MAP_HEADER_SIZE];
	int fd;

	if (chunk_map_header_parse(p, n, &info) < 0)
		return;
	assert(info.size <= CONTENT_SIZE_MAX);
	assert(info.n == chunk_count(info.size));
	if (info.n > 1000)
		return;
	fd = memfd_create("map", MFD_CLOEXEC);
	struct digest *list = xcalloc(info.n + 1, sizeof(*list));
	assert(fd >= 0 && chunk_map_write(fd, &info, list, NULL) == 0);
	assert(chunk_map_read(fd, &info) == 0);
	assert(chunk_map_count(fd, info.n, 0, info.n) == 0);
	assert(io_pread_full(fd, back, sizeof(back), 0) == sizeof(back));
	assert(memcmp(back, p, sizeof(back)) == 0);
	free(list);
	closep(&fd);
}

static void fuzz_map(uint8_t *p, size_t n)
{
	try_map(p, n);
	if (n >= MAP_HEADER_SIZE) {
		put64(p + 152, XXH3_64bits(p, 152));
		try_map(p, n);
	}
}

static void fuzz_stat(uint8_t *p, size_t n)
{
	struct digest d = {{0}};
	struct stat st;
	int64_t at;

	if (n >= 8 + DIGEST_SIZE)
		memcpy(d.b, p + 8, DIGEST_SIZE);
	(void)statindex_parse(p, n, &d, &st, &at);
	if (n == STATINDEX_RECORD) {
		put64(p + 96, XXH3_64bits(p, 96));
		if (statindex_parse(p, n, &d, &st, &at)) {
			assert(stat_same(&st, &st));
			(void)time_is_racy(&st.st_mtim, at, NS_PER_S);
		}
	}
}

static void fuzz_ref(uint8_t *p, size_t n)
{
	struct digest d;
	const char *key;
	size_t len;
	char hex[17];

	(void)ref_parse(p, n, &d, &key, &len);
	if (n < 26)
		return;
	snprintf(hex, sizeof(hex), "%016llx",
		 (unsigned long long)XXH3_64bits(p + 26, n - 26));
	memcpy(p + 9, hex, 16);
	if (ref_parse(p, n, &d, &key, &len) == 0)
		assert(key + len == (const char *)p + n &&
		       !memchr(key, 0, len));
}

static void fuzz_lease(uint8_t *p, size_t n)
{
	struct digest d;
	bool content;

	(void)lease_parse(p, n, &d, &content);
}

static void try_hashes(const uint8_t *p, size_t n)
{
	struct map m = MAP_INIT;
	const void *key;
	void *value;
	size_t pos = 0;
	size_t len;

	if (hashes_parse(p, n, &m) < 0) {
		assert(map_count(&m) == 0);
		return;
	}
	while (map_next(&m, &pos, &key, &len, &value)) {
		assert(len > 0 && len < n);
		free(value);
	}
	map_release(&m);
}

static void fuzz_hashes(uint8_t *p, size_t n)
{
	try_hashes(p, n);
	if (n >= 16) {
		put64(p + 8, XXH3_64bits(p + 16, n - 16));
		try_hashes(p, n);
	}
}

static void try_note(const uint8_t *p, size_t n)
{
	struct note note;

	if (note_parse(p, n, &note) == 0)
		assert(note.begun_ns >= 0 && note.sound >= NOTE_HEADER &&
		       note.sound <= n && note.n <= n / NOTE_RECORD);
	note_release(&note);
}

static void fuzz_note(uint8_t *p, size_t n)
{
	try_note(p, n);
	if (n < NOTE_HEADER)
		return;
	put64(p + 24, XXH3_64bits(p, 24));
	for (size_t at = NOTE_HEADER; n - at >= NOTE_RECORD; at += NOTE_RECORD)
		put64(p + at + NOTE_RECORD - 8,
		      XXH3_64bits(p + at, NOTE_RECORD - 8));
	try_note(p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(uint8_t * p, size_t n) = {
		fuzz_map,   fuzz_stat,   fuzz_ref,
		fuzz_lease, fuzz_hashes, fuzz_note,
	};
	uint8_t *copy;

	if (size == 0 || data[0] >= ARRAY_SIZE(parsers))
		return 0;
	copy = xmalloc(size); /* the sanitizer sees a read behind its end */
	memcpy(copy, data + 1, size - 1);
	parsers[data[0]](copy, size - 1);
	free(copy);
	return 0;
}

#include "cache/content_internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <signal.h>
#include <sys/resource.h>

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

TestSuite(heal, .init = setup, .fini = teardown);
TestSuite(left_behind, .init = setup, .fini = teardown);

#define BIG (3u * CHUNK_SIZE + 12345)

/* Whatever is on the disk, a fetch of everything must end well. */
static void completes(const struct source *s)
{
	struct content *ct = content_of(&f, s);

	cr_expect(eq(int, put_all(ct, s), 0));
	cr_expect(eq(u32, content_have(ct), s->n));
	cr_expect(eq(int, content_seal(ct, NULL), 0));
	cr_expect(eq(int, cache_sync(f.c, NULL), 0));
	for (uint32_t i = 0; i < s->n; i++)
		cr_expect(eq(int, read_back(ct, s, i), 0));
	cr_expect(content_sealed(ct));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "partial"), 0));
	cr_expect(eq(u32, count_files(&f, "blobs"), 1));
}

Test(heal, a_flipped_byte_in_a_sealed_blob)
{
	cleanup_source struct source s;
	cleanup_free char *path = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	path = blob_path(&f, &s.spec.digest);
	ct = content_of(&f, &s);
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	flip_byte(path, CHUNK_SIZE + 10);
	cr_expect(eq(int, read_back(ct, &s, 0), 0), "that chunk is right");
	cr_expect(eq(int, read_back(ct, &s, 1), -ENOENT));
	cr_expect(eq(u32, count_files(&f, "quarantine"), 1));
	cr_expect(not(content_sealed(ct)));
	cr_expect(eq(u32, content_have(ct), 0));
	content_close(ct);
	completes(&s);
}

Test(heal, a_flipped_byte_in_a_sealed_blob_of_one_chunk)
{
	cleanup_source struct source s;
	cleanup_free char *path = NULL;
	struct content *ct;

	source_init(&s, 1000, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	path = blob_path(&f, &s.spec.digest);
	flip_byte(path, 10);
	ct = content_of(&f, &s);
	cr_expect(eq(int, read_back(ct, &s, 0), -ENOENT));
	content_close(ct);
	completes(&s);
}

Test(heal, a_sealed_blob_that_another_reader_found_damaged)
{
	cleanup_source struct source s;
	cleanup_free char *path = NULL;
	struct content *ct;

	source_init(&s, CHUNK_SIZE / 2, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	path = blob_path(&f, &s.spec.digest);
	ct = content_of(&f, &s);
	cr_expect(content_sealed(ct));
	flip_byte(path, 10);
	cr_expect(eq(int,
		     cache_blob_open(f.c, &s.spec.digest, s.spec.size, NULL),
		     -ENOENT));
	cr_expect(not(content_sealed(ct)), "its name is gone");
	content_close(ct);
	completes(&s);
}

Test(heal, a_sealed_blob_that_was_cut_short)
{
	cleanup_source struct source s;
	cleanup_free char *path = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	path = blob_path(&f, &s.spec.digest);
	ct = content_of(&f, &s);
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	cr_assert(eq(int, chmod(path, 0600), 0));
	cr_assert(eq(int, truncate(path, 100), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), -ENOENT));
	content_close(ct);
	completes(&s);
}

Test(heal, blames_the_bundle_when_the_blob_is_right)
{
	cleanup_source struct source s, lie;
	struct content *ct;

	source_init(&s, BIG, 1);
	source_init(&lie, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	lie.chunks[2].b[0] ^= 1;
	ct = content_of(&f, &lie);
	cr_expect(eq(int, read_back(ct, &lie, 0), 0), "this one is right");
	cr_expect(eq(int, read_back(ct, &lie, 2), -EBADMSG));
	cr_expect(eq(int, read_back(ct, &lie, 0), -EBADMSG), "remembered");
	cr_expect(eq(int, content_seal(ct, NULL), -EBADMSG));
	content_close(ct);
	cr_expect(cache_blob_exists(f.c, &s.spec.digest, BIG), "it stays");
	cr_expect(eq(u32, count_files(&f, "quarantine"), 0));

	ct = content_of(&f, &s);
	cr_expect(eq(int, read_back(ct, &s, 2), 0), "others are not harmed");
	content_close(ct);
	fixture_reopen(&f);
	ct = content_of(&f, &lie);
	cr_expect(eq(int, read_back(ct, &lie, 0), -EBADMSG), "on disk too");
	content_close(ct);
}

Test(heal, believes_no_damaged_note_about_a_bundle)
{
	cleanup_source struct source s, lie;
	cleanup_free char *bad = NULL;
	struct content *ct;
	long size;

	source_init(&s, BIG, 1);
	source_init(&lie, BIG, 1);
	cr_assert(eq(int, seal_all(&f, &s), 0));
	lie.chunks[2].b[0] ^= 1;
	ct = content_of(&f, &lie);
	cr_expect(eq(int, read_back(ct, &lie, 2), -EBADMSG));
	content_close(ct);
	bad = partial_path(&f, ".bad");
	size = file_size(bad);
	for (long i = 0; i < size; i++) {
		flip_byte(bad, i);
		ct = content_of(&f, &lie);
		cr_expect(eq(int, read_back(ct, &lie, 0), 0));
		content_close(ct);
		flip_byte(bad, i);
	}
}

Test(heal, any_flipped_byte_of_a_partial)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_assert(eq(int, content_sync(ct, NULL), 0));
	part = partial_path(&f, ".part");
	flip_byte(part, 0);
	flip_byte(part, 2 * CHUNK_SIZE - 1);
	cr_expect(eq(int, read_back(ct, &s, 0), -ENOENT));
	cr_expect(not(content_has(ct, 0)));
	cr_expect(eq(int, read_back(ct, &s, 2), 0));
	/* Nobody has read chunk 1: sealing finds it. */
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(not(content_has(ct, 1)));
	cr_expect(content_has(ct, 2));
	content_close(ct);
	completes(&s);
}

Test(heal, a_partial_that_was_cut_short)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_all(ct, &s), 0));
	part = partial_path(&f, ".part");
	cr_assert(eq(int, truncate(part, CHUNK_SIZE + 5), 0));
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), -ENOENT));
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	content_close(ct);
	completes(&s);
}

Test(heal, a_map_that_is_flipped_or_cut_anywhere)
{
	cleanup_source struct source s;

	source_init(&s, BIG, 1);
	for (long i = 0; i < (long)chunk_map_file_size(4); i++) {
		cleanup_free char *map = NULL;
		struct content *ct = content_of(&f, &s);

		cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
		content_close(ct);
		map = partial_path(&f, ".map");
		if (i % 2)
			flip_byte(map, i);
		else
			cr_assert(eq(int, truncate(map, i), 0));
		ct = content_of(&f, &s);
		for (uint32_t k = 0; k < s.n; k++) {
			int r = read_back(ct, &s, k);

			cr_expect(r == 0 || r == -ENOENT, "never wrong bytes");
		}
		cr_expect(eq(int, put_chunk(ct, &s, 1), 0));
		cr_expect(eq(int, read_back(ct, &s, 1), 0));
		content_close(ct);
	}
	completes(&s);
}

Test(heal, reads_on_when_its_files_are_deleted_by_hand)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL, *map = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_all(ct, &s), 0));
	part = partial_path(&f, ".part");
	map = partial_path(&f, ".map");
	cr_assert(eq(int, unlink(part), 0));
	cr_assert(eq(int, unlink(map), 0));
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	/* A file without a name cannot be linked: it is fetched again. */
	cr_expect(eq(int, content_seal(ct, NULL), -EAGAIN));
	cr_expect(eq(u32, count_files(&f, "blobs"), 0));
	cr_expect(eq(u32, content_have(ct), 0));
	completes(&s);
	content_close(ct);
}

/* Another partial has taken the place of ours, with other bytes in it. */
Test(heal, never_gives_the_final_name_to_another_file)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_all(ct, &s), 0));
	part = partial_path(&f, ".part");
	write_text(part, "forged");
	(void)content_seal(ct, NULL);
	content_close(ct);
	ct = content_of(&f, &s);
	for (uint32_t i = 0; i < s.n; i++) {
		int r = read_back(ct, &s, i);

		cr_expect(r == 0 || r == -ENOENT);
	}
	content_close(ct);
	completes(&s);
}

Test(heal, a_chunk_that_did_not_fit_stays_absent)
{
	struct rlimit lim = {.rlim_max = RLIM_INFINITY};
	cleanup_source struct source s;
	struct content *ct;

	signal(SIGXFSZ, SIG_IGN);
	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	lim.rlim_cur = 2 * CHUNK_SIZE + 1000;
	cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &lim), 0));
	cr_expect(eq(int, put_chunk(ct, &s, 2), -EFBIG), "half of it fits");
	cr_expect(not(content_has(ct, 2)));
	cr_expect(eq(int, read_back(ct, &s, 2), -ENOENT));
	cr_expect(eq(int, put_chunk(ct, &s, 1), 0));
	lim.rlim_cur = RLIM_INFINITY;
	cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &lim), 0));
	content_close(ct);
	completes(&s);
}

/*
 * What a kill leaves behind, step by step.
 */

/* All chunks put, the content closed. */
static void fill(const struct source *s)
{
	struct content *ct = content_of(&f, s);

	cr_assert(eq(int, put_all(ct, s), 0));
	content_close(ct);
}

Test(left_behind, data_without_a_map)
{
	cleanup_source struct source s;
	cleanup_free char *map = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	fill(&s);
	map = partial_path(&f, ".map");
	cr_assert(eq(int, unlink(map), 0));
	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 0));
	content_close(ct);
	completes(&s);
}

Test(left_behind, a_map_without_data)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	fill(&s);
	part = partial_path(&f, ".part");
	cr_assert(eq(int, unlink(part), 0));
	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 0));
	content_close(ct);
	completes(&s);
}

Test(left_behind, a_map_of_other_data)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL, *copy = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	fill(&s);
	part = partial_path(&f, ".part");
	copy = xasprintf("%s/copy", f.dir);
	cr_assert(eq(int, rename(part, copy), 0));
	write_text(part, "");
	cr_assert(eq(int, truncate(part, BIG), 0));
	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 0), "thrown away together");
	content_close(ct);
	completes(&s);
}

/* Root is not held up by modes. Begins with a new cache. */
static void become_a_plain_user(void)
{
	cleanup_free char *dir = xasprintf("%s/cache", f.dir);

	if (geteuid() != 0)
		return;
	cache_closep(&f.c);
	cr_assert(eq(int, io_remove_tree(AT_FDCWD, f.dir), 0));
	cr_assert(eq(int, mkdir(f.dir, 0700), 0));
	cr_assert(eq(int, chown(f.dir, 65534, 65534), 0));
	cr_assert(eq(int, seteuid(65534), 0));
	cr_assert(eq(int, cache_open(dir, &f.c, NULL), 0));
}

Test(left_behind, a_partial_made_read_only)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;

	source_init(&s, BIG, 1);
	become_a_plain_user();
	fill(&s);
	part = partial_path(&f, ".part");
	cr_assert(eq(int, chmod(part, 0444), 0));
	completes(&s);
}

Test(left_behind, a_partial_that_another_process_is_sealing_can_be_read)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	struct cache *other = NULL;
	struct content *sealer, *ct;

	source_init(&s, BIG, 1);
	become_a_plain_user();
	cr_assert(eq(int, cache_open(cache_path(f.c), &other, NULL), 0));
	cr_assert(eq(int, content_open(other, &s.spec, &sealer, NULL), 0));
	cr_assert(eq(int, put_all(sealer, &s), 0));
	cr_assert(eq(int, gate_close(sealer), 0));
	part = partial_path(&f, ".part");
	cr_assert(eq(int, chmod(part, 0444), 0));

	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), s.n));
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	cr_expect(eq(int, put_chunk(ct, &s, 1), 0), "it is there");
	flip_byte(part, CHUNK_SIZE);
	cr_expect(eq(int, read_back(ct, &s, 1), -ENOENT));
	cr_expect(eq(int, put_chunk(ct, &s, 1), -EAGAIN), "not ours to write");
	gate_open(sealer);
	content_close(sealer);
	cache_close(other);
	cr_expect(eq(int, put_chunk(ct, &s, 1), 0), "the sealer gave up");
	cr_expect(eq(int, read_back(ct, &s, 1), 0));
	content_close(ct);
	completes(&s);
}

Test(left_behind, a_blob_whose_partial_still_has_its_name)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL;
	cleanup_free char *blob = NULL;
	cleanup_free char *dir = NULL;
	struct content *ct;

	source_init(&s, BIG, 1);
	fill(&s);
	part = partial_path(&f, ".part");
	blob = blob_path(&f, &s.spec.digest);
	dir = xstrndup(blob, strlen(blob) - DIGEST_HEX_LEN - 1);
	cr_assert(eq(int, mkdir(dir, 0700), 0));
	cr_assert(eq(int, chmod(part, 0444), 0));
	cr_assert(eq(int, link(part, blob), 0));
	ct = content_of(&f, &s);
	cr_expect(content_sealed(ct));
	cr_expect(eq(int, read_back(ct, &s, 0), 0));
	content_close(ct);
	cr_expect(eq(u32, count_files(&f, "partial"), 0), "cleaned up");
	completes(&s);
}

static void map_in_state(enum map_state state, bool with_part)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL, *map = NULL;
	int fd;

	source_init(&s, BIG, 1);
	fill(&s);
	part = partial_path(&f, ".part");
	map = partial_path(&f, ".map");
	fd = open(map, O_RDWR | O_CLOEXEC);
	chunk_map_set_state(fd, state);
	close(fd);
	if (!with_part)
		cr_assert(eq(int, unlink(part), 0));
	completes(&s);
}

Test(left_behind, a_map_marked_sealed)
{
	map_in_state(MAP_SEALED, false);
}

Test(left_behind, a_map_marked_sealed_and_its_data)
{
	map_in_state(MAP_SEALED, true);
}

Test(left_behind, a_map_marked_deleted)
{
	map_in_state(MAP_DEAD, true);
}

Test(left_behind, symlinks_and_folders_under_the_names_of_a_partial)
{
	cleanup_source struct source s;
	cleanup_free char *part = NULL, *map = NULL;

	source_init(&s, BIG, 1);
	fill(&s);
	part = partial_path(&f, ".part");
	map = partial_path(&f, ".map");
	cr_assert(eq(int, unlink(part), 0));
	cr_assert(eq(int, symlink("/etc/passwd", part), 0));
	completes(&s);

	cleanup_free char *blob = blob_path(&f, &s.spec.digest);
	cr_assert(eq(int, unlink(blob), 0));
	fill(&s);
	cr_assert(eq(int, unlink(map), 0));
	cr_assert(eq(int, mkdir(map, 0700), 0));
	completes(&s);
}

/*
 * Another boot.
 */

/* Make the map look as if it was written before a reboot. */
static void reboot(void)
{
	cleanup_free char *map = partial_path(&f, ".map");
	cleanup_free uint8_t *states = NULL;
	struct digest list[8];
	struct map_info info;
	int fd = open(map, O_RDWR | O_CLOEXEC);

	cr_assert(eq(int, chunk_map_read(fd, &info), 0));
	cr_assert(eq(int, chunk_map_read_list(fd, info.n, list), 0));
	cr_assert(eq(int, chunk_map_snapshot(fd, info.n, &states), 0));
	snprintf(info.boot_id, sizeof(info.boot_id), "another boot");
	cr_assert(eq(int, chunk_map_write(fd, &info, list, states), 0));
	close(fd);
}

Test(left_behind, after_a_reboot_only_durable_chunks_count)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_chunk(ct, &s, 0), 0));
	cr_assert(eq(int, put_chunk(ct, &s, 3), 0));
	cr_assert(eq(int, content_sync(ct, NULL), 0));
	cr_assert(eq(int, put_chunk(ct, &s, 1), 0));
	content_close(ct);
	reboot();
	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 2));
	cr_expect(content_has(ct, 0));
	cr_expect(not(content_has(ct, 1)));
	cr_expect(content_has(ct, 3));
	cr_assert(eq(int, put_chunk(ct, &s, 2), 0));
	content_close(ct);
	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 3), "the new map is of this boot");
	content_close(ct);
	completes(&s);
}

Test(left_behind, after_a_reboot_a_sync_of_nothing_new_keeps_the_marks)
{
	cleanup_source struct source s;
	struct content *ct;

	source_init(&s, BIG, 1);
	ct = content_of(&f, &s);
	cr_assert(eq(int, put_all(ct, &s), 0));
	cr_assert(eq(int, content_sync(ct, NULL), 0));
	cr_assert(eq(int, content_sync(ct, NULL), 0));
	content_close(ct);
	reboot();
	ct = content_of(&f, &s);
	cr_expect(eq(u32, content_have(ct), 4));
	cr_expect(eq(int, content_seal(ct, NULL), 0));
	content_close(ct);
}

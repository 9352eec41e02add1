#include "fs/record.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "cache/content.h"
#include "tests/lib/tmpdir.h"
#include "tests/unit/engine/trees.h"

#define MIB CHUNK_SIZE

static struct made_tree tree;
static struct record_table *table;
static struct recorder *recorder;

static void set_up(void)
{
	struct tree_builder *b = tree_builder_new();

	add_blob(b, "big.bin", 200 * MIB + 1);
	add_packed(b, "small/a b", "pack", 3 * MIB, MIB - 100, 200);
	add_blob(b, "small/c", 10);
	tree = make_tree(b);
	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert(table != MAP_FAILED);
	recorder = recorder_new(tree.tree, table);
}

static void clean_up(void)
{
	recorder_free(recorder);
	munmap(table, sizeof(*table));
	made_tree_release(&tree);
}

TestSuite(record, .init = set_up, .fini = clean_up);

static void note(const char *path, uint64_t off, uint64_t len)
{
	struct tree_node n;
	uint32_t node;

	cr_assert(tree_find(tree.tree, path, &node, NULL) == 0);
	cr_assert(tree_node(tree.tree, node, &n, NULL) == 0);
	recorder_note(recorder, node, &n, off, len);
}

static void expect(const char *lines)
{
	cleanup_free char *want = xasprintf("%s%s", TRACE_HEAD, lines);

	cr_expect(table->len == strlen(want) &&
			  !memcmp(table->text, want, strlen(want)),
		  "%.*s", (int)table->len, table->text);
	cr_expect(trace_check(table->text, table->len, NULL) == 0);
}

/* As a worker that is killed, and the next one. */
static void be_replaced(void)
{
	recorder_free(recorder);
	recorder = recorder_new(tree.tree, table);
}

Test(record, has_each_chunk_once_in_the_order_of_first_demand)
{
	note("big.bin", 5 * MIB, 4096);
	note("small/c", 0, 10);
	note("big.bin", 5 * MIB + 4096, 4096);
	note("small/a b", 0, 200);
	note("big.bin", 0, 1);
	note("small/c", 3, 7);
	recorder_flush(recorder);
	expect("5 1 big.bin\n0 1 small/c\n0 1 small/a b\n0 1 big.bin\n");
}

Test(record, makes_one_row_of_what_goes_on)
{
	for (uint64_t off = 0; off < 4 * MIB; off += 65536)
		note("big.bin", off, 65536);
	note("big.bin", 4 * MIB - 1, 2);
	note("big.bin", 200 * MIB, 1);
	note("big.bin", 4 * MIB, 3 * MIB);
	recorder_flush(recorder);
	expect("0 5 big.bin\n200 1 big.bin\n5 2 big.bin\n");
}

Test(record, ends_a_long_row)
{
	note("big.bin", 0, 150 * MIB);
	expect("0 64 big.bin\n64 64 big.bin\n");
	recorder_flush(recorder);
	expect("0 64 big.bin\n64 64 big.bin\n128 22 big.bin\n");
}

Test(record, goes_on_where_a_killed_worker_was)
{
	note("small/c", 0, 1);
	note("big.bin", 0, 2 * MIB);
	be_replaced();
	note("small/c", 0, 1);
	note("big.bin", MIB, MIB);
	note("big.bin", 2 * MIB, MIB);
	recorder_flush(recorder);
	be_replaced();
	note("big.bin", 0, MIB);
	recorder_flush(recorder);
	expect("0 1 small/c\n0 3 big.bin\n");
}

Test(record, ends_with_what_is_no_trace)
{
	note("small/c", 0, 1);
	note("big.bin", 0, 1);
	table->text[3] = '?';
	be_replaced();
	cr_expect(table->full);
	note("big.bin", 9 * MIB, 1);
	recorder_flush(recorder);
	cr_expect(eq(u64, table->len, strlen(TRACE_HEAD "0 1 small/c\n")));
}

Test(record, believes_no_row_longer_than_its_own)
{
	static const char left[] = TRACE_HEAD "0 4294967295 big.bin\n";

	recorder_free(recorder);
	memcpy(table->text, left, strlen(left));
	table->len = strlen(left);
	recorder = recorder_new(tree.tree, table);
	note("big.bin", 63 * MIB, 2 * MIB);
	recorder_flush(recorder);
	expect("0 4294967295 big.bin\n64 1 big.bin\n");
}

Test(record, believes_no_length)
{
	recorder_free(recorder);
	table->len = UINT32_MAX;
	recorder = recorder_new(tree.tree, table);
	cr_expect(table->full);
}

Test(record, believes_no_length_that_changes)
{
	note("small/c", 0, 1);
	note("big.bin", 0, 1);
	for (size_t i = 0; i < 3; i++) {
		table->len =
			(uint32_t[]){UINT32_MAX, sizeof(table->text) + 1, 0}[i];
		note("big.bin", (9 - i) * MIB, 1);
	}
	recorder_flush(recorder);
	expect("0 1 small/c\n0 1 big.bin\n9 1 big.bin\n8 1 big.bin\n"
	       "7 1 big.bin\n");
}

Test(record, believes_no_first_length)
{
	const uint32_t bad[] = {UINT32_MAX, sizeof(table->text) + 1, 3, 0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		be_replaced();
		note("small/c", 0, 1);
		table->len = bad[i];
		recorder_flush(recorder);
		cr_expect(table->full);
		cr_expect(eq(u64, table->len, bad[i]));
		memset(table, 0, offsetof(struct record_table, text));
	}
}

Test(record, ends_when_it_is_as_long_as_a_trace_may_be)
{
	size_t left = sizeof(table->text) - table->len;

	/* Room for one line, and half of another. */
	memset(table->text + table->len, 'x', left);
	table->len += left - 18;
	note("small/c", 0, 1);
	note("big.bin", 0, 1);
	recorder_flush(recorder);
	cr_expect(table->full);
	cr_expect(eq(u64, table->len, sizeof(table->text) - 6));
	cr_expect(memcmp(table->text + table->len - 12, "0 1 small/c\n", 12) ==
		  0);
}

Test(record, replaces_the_file_whole)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/trace", dir);
	cleanup_free char *got = NULL;
	size_t n = 0;

	cr_expect(eq(int, record_check(path, NULL), 0));
	note("small/c", 0, 1);
	cr_expect(eq(int, record_publish(table, path), 0));
	recorder_flush(recorder);
	cr_expect(eq(int, record_publish(table, path), 0));
	cr_assert(io_read_file(AT_FDCWD, path, 1000, &got, &n) == 0);
	cr_expect(eq(str, got, (char *)TRACE_HEAD "0 1 small/c\n"));
	cr_expect(eq(int, record_check(path, NULL), 0));
	cr_expect(eq(int, record_check(dir, NULL), -EISDIR));
	cr_expect(eq(int, record_check("/nowhere/at/all", NULL), -ENOENT));
}

/* In a folder of several users a name that can be foreseen can be taken. */
Test(record, needs_no_name_that_another_may_have_taken)
{
	cleanup_tmpdir char *dir = tmpdir_new();
	cleanup_free char *path = xasprintf("%s/trace", dir);
	cleanup_free char *taken = xasprintf("%s/.trace.mops-tmp", dir);
	cleanup_free char *got = NULL;
	size_t n;

	note("small/c", 0, 1);
	recorder_flush(recorder);
	cr_assert(eq(int, mkdir(taken, 0700), 0));
	cr_assert(eq(int, record_publish(table, path), 0));
	cr_assert(io_read_file(AT_FDCWD, path, 1000, &got, &n) == 0);
	cr_expect(eq(str, got, (char *)TRACE_HEAD "0 1 small/c\n"));
	cr_assert(eq(int, rmdir(taken), 0));
	cr_assert(eq(int, unlink(path), 0));
	cr_expect(eq(int, rmdir(dir), 0), "nothing is left beside it");
	cr_assert(eq(int, mkdir(dir, 0700), 0));
}

Test(record, writes_nothing_when_there_is_nothing)
{
	table->len = 0;
	cr_expect(eq(int, record_publish(table, "/nowhere/at/all"), 0));
}

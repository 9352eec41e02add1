#include "storage/sink.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"

static int write_to(struct sink_mem *s, const char *text)
{
	return s->sink.write(&s->sink, text, strlen(text), NULL);
}

Test(sink_mem, collects_up_to_its_limit)
{
	struct sink_mem s;

	sink_mem_init(&s, 10);
	cr_expect(eq(int, write_to(&s, "hello"), 0));
	cr_expect(eq(int, write_to(&s, "world"), 0));
	cr_expect(eq(int, write_to(&s, "!"), -EFBIG));
	cr_expect(eq(sz, s.len, 10));
	cr_expect(eq(str, s.buf, "helloworld"));
	free(s.buf);
}

Test(sink_mem, grows_over_many_writes)
{
	struct sink_mem s;

	sink_mem_init(&s, 1 << 20);
	for (int i = 0; i < 100000; i++)
		cr_assert(eq(int, write_to(&s, "0123456789"), 0));
	cr_expect(eq(sz, s.len, 1000000));
	for (size_t i = 0; i < s.len; i++)
		cr_assert(eq(int, s.buf[i], '0' + (int)(i % 10)));
	free(s.buf);
}

Test(feed, memory_is_read_at_any_offset_and_not_beyond)
{
	struct feed_mem f;
	char buf[4] = "";

	feed_mem_init(&f, "abcdef", 6);
	cr_expect(eq(u64, f.feed.size, 6));
	cr_expect(eq(int, f.feed.pread(&f.feed, buf, 3, 2, NULL), 0));
	cr_expect(eq(str, buf, "cde"));
	cr_expect(eq(int, f.feed.pread(&f.feed, buf, 3, 4, NULL), -EIO));
	cr_expect(
		eq(int, f.feed.pread(&f.feed, buf, 1, UINT64_MAX, NULL), -EIO));
	cr_expect(eq(int, f.feed.pread(&f.feed, buf, 0, 6, NULL), 0));
}

Test(feed, a_file_that_became_shorter_is_an_error)
{
	cleanup_fd int fd = memfd_create("feed", MFD_CLOEXEC);
	struct feed_fd f;
	char buf[4] = "";

	cr_assert(eq(int, (int)write(fd, "0123456789", 10), 10));
	feed_fd_init(&f, fd, 4, 6);
	cr_expect(eq(int, f.feed.pread(&f.feed, buf, 3, 1, NULL), 0));
	cr_expect(eq(str, buf, "567"));
	cr_expect(eq(int, f.feed.pread(&f.feed, buf, 3, 4, NULL), -EIO));
	cr_assert(eq(int, ftruncate(fd, 6), 0));
	cr_expect(eq(int, f.feed.pread(&f.feed, buf, 3, 1, NULL), -EIO));
}

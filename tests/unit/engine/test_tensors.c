#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <endian.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "engine/tensors.h"

static void add_u32(struct strbuf *b, uint32_t v)
{
	v = htole32(v);
	strbuf_add(b, &v, sizeof(v));
}

static void add_u64(struct strbuf *b, uint64_t v)
{
	v = htole64(v);
	strbuf_add(b, &v, sizeof(v));
}

static void add_str(struct strbuf *b, const char *s)
{
	add_u64(b, strlen(s));
	strbuf_adds(b, s);
}

static void safetensors(struct strbuf *b, const char *doc)
{
	add_u64(b, strlen(doc));
	strbuf_adds(b, doc);
}

static int parse(enum weights format, const struct strbuf *b, size_t n,
		 uint64_t size, struct tensors **ret, size_t *ret_need)
{
	return tensors_parse(format, b->buf, n, size, ret, ret_need, NULL);
}

Test(tensors, are_known_by_their_suffix)
{
	cr_expect(eq(int, weights_of_name("a.safetensors", 13),
		     WEIGHTS_SAFETENSORS));
	cr_expect(eq(int, weights_of_name("A.GGUF", 6), WEIGHTS_GGUF));
	cr_expect(eq(int, weights_of_name("a.ggufx", 7), WEIGHTS_NONE));
	cr_expect(eq(int, weights_of_name(".gguf", 5), WEIGHTS_NONE));
	cr_expect(eq(int, weights_of_name("gguf", 4), WEIGHTS_NONE));
}

Test(tensors, of_safetensors_lie_behind_the_header)
{
	static const char doc[] = "{\"__metadata__\":{\"format\":\"pt\"},"
				  "\"b\":{\"dtype\":\"U8\",\"shape\":[9],"
				  "\"data_offsets\":[1,10]},"
				  "\"none\":{\"dtype\":\"U8\",\"shape\":[0],"
				  "\"data_offsets\":[4,4]},"
				  "\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
				  "\"data_offsets\":[0,1]}}";
	cleanup_strbuf struct strbuf b = STRBUF_INIT;
	cleanup_free struct tensors *t = NULL;
	uint64_t data = 8 + sizeof(doc) - 1;
	size_t need = 0;

	safetensors(&b, doc);
	cr_assert(
		eq(int,
		   parse(WEIGHTS_SAFETENSORS, &b, b.len, data + 12, &t, &need),
		   0));
	cr_assert(eq(u32, t->n, 2));
	cr_expect(eq(u64, t->v[0].from, data));
	cr_expect(eq(u64, t->v[0].to, data + 1));
	cr_expect(eq(u64, t->v[1].to, data + 10));
	cr_expect(eq(i64, tensors_at(t, data - 1), -1));
	cr_expect(eq(i64, tensors_at(t, data), 0));
	cr_expect(eq(i64, tensors_at(t, data + 9), 1));
	cr_expect(eq(i64, tensors_at(t, data + 10), -1));
}

Test(tensors, a_reader_with_less_is_told_how_much_to_bring)
{
	cleanup_strbuf struct strbuf b = STRBUF_INIT;
	cleanup_free struct tensors *t = NULL;
	size_t need = 0;

	safetensors(&b, "{}       ");
	cr_expect(eq(int, parse(WEIGHTS_SAFETENSORS, &b, 3, 100, &t, &need),
		     -EAGAIN));
	cr_expect(eq(sz, need, 8));
	cr_expect(eq(int, parse(WEIGHTS_SAFETENSORS, &b, 8, 100, &t, &need),
		     -EAGAIN));
	cr_expect(eq(sz, need, 17));
	cr_expect(
		eq(int, parse(WEIGHTS_SAFETENSORS, &b, 17, 100, &t, &need), 0));
}

Test(tensors, that_cannot_be_are_refused)
{
	static const struct {
		const char *doc;
		int code;
	} cases[] = {
		{"[]", -EBADMSG},
		{"{\"a\":1}", -EBADMSG},
		{"{\"a\":{}}", -EBADMSG},
		{"{\"a\":{\"data_offsets\":[0,101]}}", -EBADMSG},
		{"{\"a\":{\"data_offsets\":[2,1]}}", -EBADMSG},
		{"{\"a\":{\"data_offsets\":[-1,1]}}", -EBADMSG},
		{"{\"a\":{\"data_offsets\":[0.5,1]}}", -EBADMSG},
		{"{\"a\":{\"data_offsets\":[0,1,2]}}", -EBADMSG},
		{"{\"a\":{\"data_offsets\":[0,2]},"
		 "\"b\":{\"data_offsets\":[1,3]}}",
		 -EBADMSG},
		{"{\"a\":{\"data_offsets\":[0,2]},\"a\":{}}", -EBADMSG},
		{"{", -EBADMSG},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_strbuf struct strbuf b = STRBUF_INIT;
		struct tensors *t = NULL;
		size_t need;

		safetensors(&b, cases[i].doc);
		cr_expect(eq(int,
			     parse(WEIGHTS_SAFETENSORS, &b, b.len, b.len + 100,
				   &t, &need),
			     cases[i].code),
			  "%s", cases[i].doc);
	}
}

Test(tensors, headers_are_bounded)
{
	cleanup_strbuf struct strbuf b = STRBUF_INIT, c = STRBUF_INIT;
	struct tensors *t = NULL;
	size_t need;

	add_u64(&b, TENSORS_HEAD_MAX);
	cr_expect(eq(int,
		     parse(WEIGHTS_SAFETENSORS, &b, b.len, UINT64_C(1) << 40,
			   &t, &need),
		     -EFBIG));
	cr_expect(eq(int,
		     parse(WEIGHTS_SAFETENSORS, &b, b.len, 1000, &t, &need),
		     -EBADMSG));
	strbuf_adds(&c, "GGUF");
	add_u32(&c, 3);
	add_u64(&c, TENSORS_MAX + 1);
	add_u64(&c, 0);
	cr_expect(
		eq(int,
		   parse(WEIGHTS_GGUF, &c, c.len, UINT64_C(1) << 40, &t, &need),
		   -EFBIG));
}

static void gguf(struct strbuf *b, uint32_t version)
{
	strbuf_adds(b, "GGUF");
	add_u32(b, version);
	add_u64(b, 3); /* tensors */
	add_u64(b, 3); /* keys */
	add_str(b, "general.alignment");
	add_u32(b, 4);
	add_u32(b, 64);
	add_str(b, "tokens");
	add_u32(b, 9);
	add_u32(b, 8);
	add_u64(b, 2);
	add_str(b, "<s>");
	add_str(b, "");
	add_str(b, "scores");
	add_u32(b, 9);
	add_u32(b, 6);
	add_u64(b, 3);
	strbuf_add(b, "............", 12);
	for (unsigned i = 0; i < 3; i++) {
		add_str(b, "tensor");
		add_u32(b, 1);
		add_u64(b, 10);
		add_u32(b, 0);
		add_u64(b, (2 - i) * 64); /* the last one first */
	}
}

Test(tensors, of_gguf_end_where_the_next_one_begins)
{
	cleanup_strbuf struct strbuf b = STRBUF_INIT;
	cleanup_free struct tensors *t = NULL;
	size_t need = 0;

	gguf(&b, 3);
	uint64_t data = (b.len + 63) / 64 * 64;
	cr_assert(eq(int, parse(WEIGHTS_GGUF, &b, b.len, data + 200, &t, &need),
		     0));
	cr_assert(eq(u32, t->n, 3));
	cr_expect(eq(u64, t->v[0].from, data));
	cr_expect(eq(u64, t->v[1].from, data + 64));
	cr_expect(eq(u64, t->v[1].to, data + 128));
	cr_expect(eq(u64, t->v[2].to, data + 200));
}

Test(tensors, gguf_is_read_as_it_comes)
{
	cleanup_strbuf struct strbuf b = STRBUF_INIT;

	gguf(&b, 2);
	for (size_t n = 0; n < b.len; n++) {
		struct tensors *t = NULL;
		size_t need = 0;

		cr_assert(eq(int, parse(WEIGHTS_GGUF, &b, n, 5000, &t, &need),
			     -EAGAIN));
		cr_assert(gt(sz, need, n));
		if (n >= 24) /* behind the counts */
			cr_assert(ge(sz, need, 2 * n));
	}
}

Test(tensors, a_table_takes_what_it_holds)
{
	cleanup_strbuf struct strbuf b = STRBUF_INIT, doc = STRBUF_INIT;
	cleanup_free struct tensors *t = NULL;
	size_t need;

	strbuf_adds(&doc, "{\"a\":{\"data_offsets\":[0,1]}");
	for (unsigned i = 0; i < 10000; i++)
		strbuf_addf(&doc, ",\"%u\":{\"data_offsets\":[1,1]}", i);
	strbuf_adds(&doc, "}");
	safetensors(&b, strbuf_str(&doc));
	cr_assert(
		eq(int,
		   parse(WEIGHTS_SAFETENSORS, &b, b.len, b.len + 1, &t, &need),
		   0));
	cr_expect(eq(u32, t->n, 1));
	cr_expect(lt(sz, malloc_usable_size(t), 1000));
}

Test(tensors, gguf_of_other_versions_or_beyond_the_file_is_refused)
{
	cleanup_strbuf struct strbuf b = STRBUF_INIT, c = STRBUF_INIT;
	struct tensors *t = NULL;
	size_t need;

	gguf(&b, 1);
	cr_expect(eq(int, parse(WEIGHTS_GGUF, &b, b.len, 5000, &t, &need),
		     -EBADMSG));
	gguf(&c, 3);
	cr_expect(eq(int,
		     parse(WEIGHTS_GGUF, &c, c.len, c.len + 100, &t, &need),
		     -EBADMSG));
}

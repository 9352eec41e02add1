#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

static const struct {
	const char *plain, *text;
} vectors[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/"},
};

Test(base64, encodes_the_vectors_of_rfc_4648)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		cleanup_strbuf struct strbuf sb = STRBUF_INIT;

		base64_encode(&sb, vectors[i].plain, strlen(vectors[i].plain));
		cr_expect(eq(str, strbuf_str(&sb), vectors[i].text));
	}
}

Test(base64, decodes_them)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		cleanup_free void *p = NULL;
		size_t n = 99;

		cr_assert(
			eq(int,
			   base64_decode(vectors[i].text,
					 strlen(vectors[i].text), 100, &p, &n),
			   0));
		cr_expect(eq(str, (char *)p, vectors[i].plain));
		cr_expect(eq(sz, n, strlen(vectors[i].plain)));
	}
}

Test(base64, all_bytes_and_lengths_come_back)
{
	unsigned char in[300];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 7);
	for (size_t n = 0; n <= sizeof(in); n++) {
		cleanup_strbuf struct strbuf sb = STRBUF_INIT;
		cleanup_free void *p = NULL;
		size_t len;

		base64_encode(&sb, in, n);
		cr_assert(
			eq(int,
			   base64_decode(strbuf_str(&sb), sb.len, n, &p, &len),
			   0));
		cr_assert(eq(sz, len, n));
		cr_assert(eq(int, memcmp(p, in, n), 0));
	}
}

Test(base64, refuses_every_other_spelling)
{
	static const char *const bad[] = {
		"Z",         "Zg",    "Zg=",      "Zg===",      "=",
		"==",        "====",  "Z===",     "=Zg=",       "Zg==Zg==",
		"Zm8=Zm9v",  "Zm9v=", "Zm9v====", "Zh==",       "Zm9=",
		"Zm9v\n",    " Zm9v", "Zm9 ",     "Zm9-",       "Zm9_",
		"Zm\n9v===", "Zg=a",  "Zm9\x80",  "Z\xc3\xa4g",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		void *p = NULL;
		size_t n = 0;

		cr_expect(eq(int,
			     base64_decode(bad[i], strlen(bad[i]), 100, &p, &n),
			     -EINVAL),
			  "'%s'", bad[i]);
		cr_expect(eq(ptr, p, NULL));
	}
	cr_expect(
		eq(int,
		   base64_decode("Zm9\0", 4, 9, &(void *){NULL}, &(size_t){0}),
		   -EINVAL));
}

Test(base64, looks_at_the_limit_before_it_allocates)
{
	void *p = NULL;
	size_t n;

	cr_assert(eq(int, base64_decode("Zm9v", 4, 2, &p, &n), -EFBIG));
	cr_assert(eq(int, base64_decode("Zm8=", 4, 2, &p, &n), 0));
	free(p);
}

/*
 * The signatures that the stores' own manuals print for their examples, and
 * cases of the published Signature Version 4 test suite that need neither
 * normalised paths nor a second encoding.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "storage/aws_sign.h"

#define SECRET   "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SECRET_2 "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

/* 2013-05-24 00:00:00 and 2015-08-30 12:36:00, UTC */
#define THEN   1369353600
#define THEN_2 1440938160

static const struct sign_scope s3 = {
	.dialect = &SIGN_AWS4,
	.id = "AKIAIOSFODNN7EXAMPLE",
	.secret = SECRET,
	.time = THEN,
	.region = "us-east-1",
	.service = "s3",
};

static const struct sign_scope suite = {
	.dialect = &SIGN_AWS4,
	.id = "AKIDEXAMPLE",
	.secret = SECRET_2,
	.time = THEN_2,
	.region = "us-east-1",
	.service = "service",
};

static char *nothing(void)
{
	return xstrdup(digest_to_hex(&DIGEST_EMPTY).str);
}

static void check_signature(const struct sign_request *rq,
			    const struct sign_scope *scope, const char *want)
{
	cleanup_free char *got = aws_sign_header(rq, scope);
	const char *sig = strstr(got, "Signature=");

	cr_assert(sig != NULL);
	cr_expect(eq(str, (char *)sig + 10, (char *)want));
}

Test(aws_sign, get_of_a_range)
{
	cleanup_free char *empty = nothing();
	const struct sign_pair headers[] = {
		{"Host", "examplebucket.s3.amazonaws.com"},
		{"Range", "bytes=0-9"},
		{"x-amz-content-sha256", empty},
		{"x-amz-date", "20130524T000000Z"},
	};
	const struct sign_request rq = {
		.method = "GET",
		.path = "/test.txt",
		.headers = headers,
		.n_headers = ARRAY_SIZE(headers),
		.payload = empty,
	};
	cleanup_free char *got = aws_sign_header(&rq, &s3);

	cr_expect(eq(
		str, got,
		"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
		"us-east-1/s3/aws4_request,SignedHeaders=host;range;"
		"x-amz-content-sha256;x-amz-date,Signature="
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bd"
		"b41"));
}

Test(aws_sign, put_of_a_key_that_needs_encoding)
{
	struct digest d = digest_of_str("Welcome to Amazon S3.");
	cleanup_free char *payload = xstrdup(digest_to_hex(&d).str);
	const struct sign_pair headers[] = {
		{"x-amz-storage-class", "REDUCED_REDUNDANCY"},
		{"x-amz-content-sha256", payload},
		{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
		{"host", "examplebucket.s3.amazonaws.com"},
		{"x-amz-date", "20130524T000000Z"},
	};
	const struct sign_request rq = {
		.method = "PUT",
		.path = "/test$file.text",
		.headers = headers,
		.n_headers = ARRAY_SIZE(headers),
		.payload = payload,
	};

	check_signature(&rq, &s3,
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971a"
			"f0ece108bd");
}

static void check_bucket_query(const struct sign_pair *query, size_t n,
			       const char *want)
{
	cleanup_free char *empty = nothing();
	const struct sign_pair headers[] = {
		{"host", "examplebucket.s3.amazonaws.com"},
		{"x-amz-content-sha256", empty},
		{"x-amz-date", "20130524T000000Z"},
	};
	const struct sign_request rq = {
		.method = "GET",
		.path = "/",
		.query = query,
		.n_query = n,
		.headers = headers,
		.n_headers = ARRAY_SIZE(headers),
		.payload = empty,
	};

	check_signature(&rq, &s3, want);
}

Test(aws_sign, query_without_a_value)
{
	const struct sign_pair query[] = {{"lifecycle", ""}};

	check_bucket_query(query, 1,
			   "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a"
			   "200a0136783543");
}

Test(aws_sign, query_is_sorted)
{
	const struct sign_pair query[] = {{"prefix", "J"}, {"max-keys", "2"}};

	check_bucket_query(query, 2,
			   "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670e"
			   "d5711ef69dc6f7");
}

Test(aws_sign, presigned_url)
{
	const struct sign_pair headers[] = {
		{"host", "examplebucket.s3.amazonaws.com"}};
	const struct sign_request rq = {
		.method = "GET",
		.path = "/test.txt",
		.headers = headers,
		.n_headers = 1,
		.payload = SIGN_UNSIGNED_PAYLOAD,
	};
	cleanup_free char *got = aws_sign_query(&rq, &s3, 86400);

	cr_expect(eq(
		str, got,
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
		"AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
		"aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
		"&X-Amz-SignedHeaders=host&X-Amz-Signature="
		"aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d"
		"404"));
}

static void check_suite(const struct sign_pair *query, size_t n_query,
			const struct sign_pair *headers, size_t n_headers,
			const char *want)
{
	cleanup_free char *empty = nothing();
	const struct sign_request rq = {
		.method = "GET",
		.path = "/",
		.query = query,
		.n_query = n_query,
		.headers = headers,
		.n_headers = n_headers,
		.payload = empty,
	};

	check_signature(&rq, &suite, want);
}

static const struct sign_pair plain[] = {
	{"Host", "example.amazonaws.com"},
	{"X-Amz-Date", "20150830T123600Z"},
};

Test(aws_sign, suite_plain)
{
	check_suite(NULL, 0, plain, 2,
		    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d7"
		    "63fbf31");
}

Test(aws_sign, suite_query_order)
{
	const struct sign_pair query[] = {{"Param2", "value2"},
					  {"Param1", "value1"}};

	check_suite(query, 2, plain, 2,
		    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94"
		    "cdf2500");
}

/* Blanks fold, repeated fields are joined in their order. */
Test(aws_sign, field_values_are_folded)
{
	const struct sign_pair one[] = {
		{"Host", "example.amazonaws.com"},
		{"My-Header1", "  a   b\t c "},
		{"X-Amz-Date", "20150830T123600Z"},
		{"My-Header1", "d"},
	};
	const struct sign_pair two[] = {
		{"Host", "example.amazonaws.com"},
		{"X-Amz-Date", "20150830T123600Z"},
		{"my-header1", "a b c,d"},
	};
	cleanup_free char *empty = nothing();
	struct sign_request rq = {.method = "GET",
				  .path = "/",
				  .headers = one,
				  .n_headers = 4,
				  .payload = empty};
	cleanup_free char *a = aws_sign_header(&rq, &suite);
	cleanup_free char *b = NULL;

	rq.headers = two;
	rq.n_headers = 3;
	b = aws_sign_header(&rq, &suite);
	cr_expect(eq(str, a, b));
}

/* Dots and empty steps are part of a key. */
Test(aws_sign, path_is_encoded_once_and_not_normalised)
{
	cleanup_free char *p = aws_encode_path("/b//a/../x%2F y+\xc3\xa9~");

	cr_expect(eq(str, p, "/b//a/../x%252F%20y%2B%C3%A9~"));
}

Test(aws_sign, google_differs_in_its_words)
{
	const struct sign_pair headers[] = {{"host", "storage.googleapis.com"}};
	const struct sign_scope scope = {
		.dialect = &SIGN_GOOG4,
		.id = "GOOGEXAMPLE",
		.secret = "secret",
		.time = THEN,
		.region = "auto",
		.service = "storage",
	};
	const struct sign_request rq = {
		.method = "GET",
		.path = "/b/o",
		.headers = headers,
		.n_headers = 1,
		.payload = SIGN_UNSIGNED_PAYLOAD,
	};
	cleanup_free char *got = aws_sign_query(&rq, &scope, 60);

	/* Computed by a second implementation. */
	cr_expect(
		eq(str, got,
		   "X-Goog-Algorithm=GOOG4-HMAC-SHA256&X-Goog-Credential="
		   "GOOGEXAMPLE%2F20130524%2Fauto%2Fstorage%2Fgoog4_request"
		   "&X-Goog-Date=20130524T000000Z&X-Goog-Expires=60"
		   "&X-Goog-SignedHeaders=host&X-Goog-Signature=720f99fa"
		   "3ec22c81cb0b81f437d9d45d07002256edaf0335319c0f82b0e98fba"));
}

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "storage/azure_internal.h"

static void check_good(const char *text, const char *name, const char *host,
		       unsigned port, const char *path)
{
	cleanup_azure_account struct azure_account a = {0};
	cleanup_error struct error *err = NULL;

	cr_assert(eq(int, azure_account_parse(text, &a, &err), 0), "%s",
		  err ? err->message : "");
	cr_expect(eq(str, a.name, (char *)name));
	cr_expect(eq(str, a.endpoint.host, (char *)host));
	cr_expect(eq(u32, a.endpoint.port, port));
	cr_expect(eq(str, a.endpoint.path, (char *)path));
}

Test(azure_account, says_where_an_account_is)
{
	check_good("DefaultEndpointsProtocol=https;AccountName=abc;"
		   "AccountKey=a2V5;EndpointSuffix=core.windows.net",
		   "abc", "abc.blob.core.windows.net", 443, "");
	check_good("AccountName=abc;AccountKey=a2V5;BlobEndpoint="
		   "http://127.0.0.1:10000/abc/;",
		   "abc", "127.0.0.1", 10000, "/abc");
	check_good("BlobEndpoint=https://abc.blob.core.chinacloudapi.cn;"
		   "SharedAccessSignature=sv=2020&sig=x%3D",
		   "abc", "abc.blob.core.chinacloudapi.cn", 443, "");
	check_good("UseDevelopmentStorage=true", "devstoreaccount1",
		   "127.0.0.1", 10000, "/devstoreaccount1");
}

Test(azure_account, keeps_equal_signs_of_values)
{
	cleanup_azure_account struct azure_account a = {0};

	cr_assert(eq(int,
		     azure_account_parse("AccountName=abc;AccountKey=YQ==;"
					 "SharedAccessSignature=?sv=1&sig=a=b",
					 &a, NULL),
		     0));
	cr_expect(eq(sz, a.key_len, 1));
	cr_expect(eq(chr, a.key[0], 'a'));
	cr_expect(eq(str, a.sas, "sv=1&sig=a=b"));
}

Test(azure_account, refuses_what_makes_no_sense)
{
	static const char *const bad[] = {
		"",
		"AccountKey=a2V5",
		"AccountName=abc;AccountKey=!",
		"AccountName=abc;AccountKey=",
		"AccountName=Not.A.Name",
		"AccountName=abc;BlobEndpoint=ftp://x",
		"AccountName=abc;BlobEndpoint=http://x/?q",
		"AccountName=abc;SharedAccessSignature=a b",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_azure_account struct azure_account a = {0};
		cleanup_error struct error *err = NULL;

		cr_expect(eq(int, azure_account_parse(bad[i], &a, &err),
			     -EINVAL),
			  "%s", bad[i]);
		cr_expect(eq(ptr, a.name, NULL));
	}
}

/* What a second implementation, in the tests' own client, computes. */
Test(azure_account, signs_with_the_key)
{
	const struct sign_pair headers[] = {
		{"x-ms-version", "2023-11-03"},
		{"range", "bytes=0-9"},
		{"x-ms-date", "Mon, 23 Nov 2026 06:00:00 GMT"},
	};
	const struct sign_pair query[] = {{"comp", "block"},
					  {"blockid", "QUJD"}};
	struct azure_account a = {.name = "abc", .key = "canary", .key_len = 6};
	cleanup_free char *got = azure_shared_key(&a, "PUT", "/abc/c/k%20x",
						  query, 2, headers, 3, 12);

	cr_expect(eq(str, got,
		     "SharedKey abc:"
		     "8fVxgizFEPJ133B9jMzyW+iqcQRY1oYGcEGnqmzcIs4="));
}

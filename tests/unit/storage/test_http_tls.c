#include "storage/http_tls.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"
#include "tests/lib/tmpdir.h"

static char *folder;

static void set_up(void)
{
	folder = tmpdir_new();
}

static void tear_down(void)
{
	tmpdir_remove(folder);
}

TestSuite(http_tls, .init = set_up, .fini = tear_down);

static void put(const char *dir, const char *name, const char *text)
{
	cleanup_free char *at = xasprintf("%s/%s", folder, dir);
	cleanup_free char *path = xasprintf("%s/%s", at, name);

	cr_assert(eq(int, io_mkdirs(at, 0755), 0));
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, path, text, strlen(text),
					  0644),
		     0));
}

/* With @ca below the folder, and roots "a" and "b" in it. */
static int load(const char *ca, const char *host, uint16_t port,
		struct http_tls **ret)
{
	cleanup_free char *at = ca ? xasprintf("%s/%s", folder, ca) : NULL;
	cleanup_free char *a = xasprintf("%s/a", folder);
	cleanup_free char *b = xasprintf("%s/b", folder);
	const char *roots[] = {a, b, NULL};

	return http_tls_load(at, roots, host, port, ret, NULL);
}

static void expect(const char *ca, const char *host, uint16_t port,
		   const char *pem, const char *cert)
{
	cleanup_free char *path = xasprintf("%s/%s", folder, cert);
	struct http_tls *t = NULL;

	cr_assert(eq(int, load(ca, host, port, &t), 0));
	cr_expect(eq(str, t->ca ? t->ca : "", pem), "%s", host);
	cr_expect(eq(sz, t->ca_len, strlen(pem)));
	cr_expect(eq(int, t->ca_alone, ca != NULL));
	if (*cert)
		cr_expect(eq(str, t->cert_file, path));
	else
		cr_expect(eq(ptr, t->cert_file, NULL));
	cr_expect(eq(int, !t->key_file, !t->cert_file));
	http_tls_unref(t);
}

Test(http_tls, trusts_the_system_without_files)
{
	expect(NULL, "h", 443, "", "");
}

Test(http_tls, takes_a_file_or_a_folder)
{
	put("ca", "one.pem", "1");
	put("ca", "two.crt", "2");
	put("ca", "README", "3");
	put("ca", ".hidden.pem", "4");
	expect("ca/one.pem", "h", 443, "1\n", "");
	expect("ca", "h", 443, "1\n2\n", "");
}

Test(http_tls, takes_what_certs_d_has_for_the_host)
{
	put("a/h:5000", "x.crt", "x");
	put("a/h:5000", "client.cert", "c");
	put("a/h:5000", "client.key", "k");
	put("a/h:5000", "other.cert", "no key, not looked at");
	put("a/h:5000", "y.pem", "not for trust");
	put("b/h:5000", "z.crt", "a later root");
	put("b/h", "w.crt", "w");
	put("b/[::1]:5000", "v.crt", "v");
	expect(NULL, "h", 5000, "x\n", "a/h:5000/client.cert");
	expect(NULL, "h", 443, "w\n", "");
	expect(NULL, "h", 80, "", "");
	expect(NULL, "g", 5000, "", "");
	expect(NULL, "::1", 5000, "v\n", "");
	put("ca", "one.pem", "1");
	expect("ca", "h", 5000, "1\nx\n", "a/h:5000/client.cert");
}

Test(http_tls, says_what_is_wrong_with_files)
{
	struct http_tls *t = NULL;
	cleanup_free char *big = xcalloc(1, TLS_FILE_MAX + 2);

	memset(big, 'x', TLS_FILE_MAX + 1);
	cr_expect(eq(int, load("nothing", "h", 443, &t), -EIO));
	put("empty", "README", "");
	cr_expect(eq(int, load("empty", "h", 443, &t), -EIO));
	put("a/keyless", "client.cert", "c");
	cr_expect(eq(int, load(NULL, "keyless", 443, &t), -EIO));
	put("a/big", "big.crt", big);
	cr_expect(eq(int, load(NULL, "big", 443, &t), -EIO));
	cr_expect(eq(ptr, t, NULL));
}

#include "base/digest.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "base/alloc.h"

const struct digest DIGEST_EMPTY = {
	{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
	 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
	 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55}};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse_hex(const char *s, size_t len, struct digest *ret,
		     struct error **errp)
{
	struct digest d;

	if (len != DIGEST_HEX_LEN)
		return error_set(errp, EINVAL,
				 "a SHA-256 has 64 hex digits, not %zu", len);
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int hi = hex_value(s[2 * i]), lo = hex_value(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return error_set(errp, EINVAL,
					 "a SHA-256 has lower-case hex digits "
					 "only");
		d.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = d;
	return 0;
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* algorithm ":" encoded, as the image specification writes both. */
static bool well_formed(const char *s, size_t len)
{
	const char *colon = memchr(s, ':', len), *end = s + len;
	bool sep = true; /* a separator, or the start: a letter must follow */

	if (!colon || colon + 1 == end)
		return false;
	for (const char *p = s; p < colon; p++) {
		if (is_lower_alnum(*p))
			sep = false;
		else if (sep || !is_one_of(*p, "+._-"))
			return false;
		else
			sep = true;
	}
	for (const char *p = colon + 1; p < end; p++)
		if (!is_lower_alnum(*p) && !(*p >= 'A' && *p <= 'Z') &&
		    !is_one_of(*p, "=_-"))
			return false;
	return !sep;
}

int digest_parse(const char *s, size_t len, struct digest *ret,
		 struct error **errp)
{
	if (len >= 7 && memcmp(s, "sha256:", 7) == 0)
		return digest_parse_hex(s + 7, len - 7, ret, errp);
	if (len <= 256 && well_formed(s, len))
		return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
				      "digest algorithm '%.*s' is not "
				      "supported, only sha256",
				      (int)((char *)memchr(s, ':', len) - s),
				      s);
	return error_set(errp, EINVAL,
			 "not a digest: 'sha256:' and 64 hex digits expected");
}

struct digest_hex digest_to_hex(const struct digest *d)
{
	static const char digits[] = "0123456789abcdef";
	struct digest_hex hex;

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		hex.str[2 * i] = digits[d->b[i] >> 4];
		hex.str[2 * i + 1] = digits[d->b[i] & 15];
	}
	hex.str[DIGEST_HEX_LEN] = '\0';
	return hex;
}

struct digest_str digest_to_str(const struct digest *d)
{
	struct digest_hex hex = digest_to_hex(d);
	struct digest_str str = {"sha256:"};

	memcpy(str.str + 7, hex.str, sizeof(hex.str));
	return str;
}

uint64_t digest_prefix64(const struct digest *d)
{
	uint64_t v = 0;

	for (size_t i = 0; i < 8; i++)
		v = v << 8 | d->b[i];
	return v;
}

/* Fetched once: looking an algorithm up costs more than hashing a name. */
static EVP_MD *sha256;

static void sha256_fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/*
 * Hashing cannot go on when the library has no SHA-256 or no memory, and no
 * caller could: nothing may be used unverified.
 */
static void must(bool ok)
{
	if (!ok)
		abort();
}

static const EVP_MD *sha256_get(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, sha256_fetch);
	must(sha256);
	return sha256;
}

struct digest digest_of_buf(const void *p, size_t n)
{
	struct digest d;

	must(EVP_Digest(p, n, d.b, NULL, sha256_get(), NULL) == 1);
	return d;
}

struct digest digest_of_str(const char *s)
{
	return digest_of_buf(s, strlen(s));
}

struct hasher {
	EVP_MD_CTX *ctx;
};

static void hasher_restart(struct hasher *h)
{
	must(EVP_DigestInit_ex2(h->ctx, sha256_get(), NULL) == 1);
}

struct hasher *hasher_new(void)
{
	struct hasher *h = xmalloc(sizeof(*h));

	h->ctx = EVP_MD_CTX_new();
	must(h->ctx);
	hasher_restart(h);
	return h;
}

void hasher_update(struct hasher *h, const void *p, size_t n)
{
	must(EVP_DigestUpdate(h->ctx, p, n) == 1);
}

struct digest hasher_final(struct hasher *h)
{
	struct digest d;

	must(EVP_DigestFinal_ex(h->ctx, d.b, NULL) == 1);
	hasher_restart(h);
	return d;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "storage/gcs_internal.h"

#define LIFE_S  3600
#define SIG_MAX 1024 /* of a key of 8,192 bits */

/* base64 in the alphabet of URLs, without padding. */
static void add_base64url(struct strbuf *sb, const void *p, size_t n)
{
	size_t at = sb->len;

	base64_encode(sb, p, n);
	while (sb->len > at && sb->buf[sb->len - 1] == '=')
		strbuf_truncate(sb, sb->len - 1);
	for (; at < sb->len; at++) {
		if (sb->buf[at] == '+')
			sb->buf[at] = '-';
		else if (sb->buf[at] == '/')
			sb->buf[at] = '_';
	}
}

static void add_claims(struct strbuf *out, const char *email,
		       const char *audience, const char *scope, int64_t now_s)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &sb);
	json_begin_object(&w, NULL);
	json_put_str(&w, "aud", audience);
	json_put_int(&w, "exp", now_s + LIFE_S);
	json_put_int(&w, "iat", now_s);
	json_put_str(&w, "iss", email);
	json_put_str(&w, "scope", scope);
	json_end_object(&w);
	add_base64url(out, sb.buf, sb.len);
}

static void add_head(struct strbuf *out, const char *key_id)
{
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &sb);
	json_begin_object(&w, NULL);
	json_put_str(&w, "alg", "RS256");
	if (key_id)
		json_put_str(&w, "kid", key_id);
	json_put_str(&w, "typ", "JWT");
	json_end_object(&w);
	add_base64url(out, sb.buf, sb.len);
}

static EVP_PKEY *read_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = NULL;

	if (bio)
		/* No pass phrase is asked for. */
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	BIO_free(bio);
	return key;
}

static bool sign(EVP_PKEY *key, const struct strbuf *text,
		 unsigned char sig[SIG_MAX], size_t *ret_n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = SIG_MAX;
	bool good =
		ctx && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
		EVP_PKEY_get_size(key) <= SIG_MAX &&
		EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(ctx, sig, &n, (const unsigned char *)text->buf,
			       text->len) == 1;

	EVP_MD_CTX_free(ctx);
	*ret_n = n;
	return good;
}

int google_jwt(const char *email, const char *key_id, const char *key,
	       const char *audience, const char *scope, int64_t now_s,
	       char **ret, struct error **errp)
{
	EVP_PKEY *pkey = read_key(key);
	struct strbuf sb = STRBUF_INIT;
	unsigned char sig[SIG_MAX];
	size_t n = 0;
	bool good;

	add_head(&sb, key_id);
	strbuf_addc(&sb, '.');
	add_claims(&sb, email, audience, scope, now_s);
	good = pkey && sign(pkey, &sb, sig, &n);
	EVP_PKEY_free(pkey);
	if (!good) {
		strbuf_release(&sb);
		return error_set(errp, EINVAL,
				 "'private_key' is no RSA key in PEM");
	}
	strbuf_addc(&sb, '.');
	add_base64url(&sb, sig, n);
	explicit_bzero(sig, sizeof(sig));
	*ret = strbuf_steal(&sb);
	return 0;
}

#include "storage/aws_sign.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/secret.h"
#include "base/uri.h"

const struct sign_dialect SIGN_AWS4 = {
	"AWS4-HMAC-SHA256",
	"AWS4",
	"aws4_request",
	"X-Amz-",
};
const struct sign_dialect SIGN_GOOG4 = {
	"GOOG4-HMAC-SHA256",
	"GOOG4",
	"goog4_request",
	"X-Goog-",
};

/* One item of a canonical list, in the form that is signed. */
struct item {
	char *name;
	char *value;
	size_t place; /* keeps repeated headers in their order */
};

static char *encoded(const char *s)
{
	struct strbuf sb = STRBUF_INIT;

	uri_encode(&sb, s, strlen(s), false);
	return strbuf_steal(&sb);
}

/* A field value: no blanks around it, one where there were several. */
static char *folded(const char *s)
{
	struct strbuf sb = STRBUF_INIT;

	s += strspn(s, " \t");
	for (; *s; s++) {
		bool blank = *s == ' ' || *s == '\t';

		if (!blank)
			strbuf_addc(&sb, *s);
		else if (s[1] && s[1] != ' ' && s[1] != '\t')
			strbuf_addc(&sb, ' ');
	}
	return strbuf_steal(&sb);
}

static char *lowered(const char *s)
{
	char *copy = xstrdup(s);

	for (char *p = copy; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	return copy;
}

static int by_name(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : (x->place > y->place) - (x->place < y->place);
}

static int by_name_and_value(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : strcmp(x->value, y->value);
}

static struct item *items_of(const struct sign_pair *pairs, size_t n,
			     char *(*name)(const char *),
			     char *(*value)(const char *),
			     int (*order)(const void *, const void *))
{
	struct item *v = xcalloc(n + 1, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = (struct item){name(pairs[i].name), value(pairs[i].value),
				     i};
	qsort(v, n, sizeof(*v), order);
	return v;
}

static void items_free(struct item *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].name);
		wipe_str(&v[i].value);
	}
	free(v);
}

char *aws_encode_path(const char *path)
{
	struct strbuf sb = STRBUF_INIT;

	uri_encode(&sb, path, strlen(path), true);
	return strbuf_steal(&sb);
}

char *aws_encode_query(const struct sign_pair *query, size_t n)
{
	struct item *v =
		items_of(query, n, encoded, encoded, by_name_and_value);
	struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < n; i++)
		strbuf_addf(&sb, "%s%s=%s", i ? "&" : "", v[i].name,
			    v[i].value);
	items_free(v, n);
	return strbuf_steal(&sb);
}

/* The header block of the canonical request, and the list of its names. */
static void add_headers(const struct sign_request *rq, struct strbuf *block,
			struct strbuf *names)
{
	struct item *v =
		items_of(rq->headers, rq->n_headers, lowered, folded, by_name);

	for (size_t i = 0; i < rq->n_headers; i++) {
		bool again = i && strcmp(v[i].name, v[i - 1].name) == 0;

		if (again) {
			strbuf_truncate(block, block->len - 1);
			strbuf_addf(block, ",%s\n", v[i].value);
			continue;
		}
		strbuf_addf(block, "%s:%s\n", v[i].name, v[i].value);
		strbuf_addf(names, "%s%s", i ? ";" : "", v[i].name);
	}
	items_free(v, rq->n_headers);
}

static struct digest canonical_digest(const struct sign_request *rq,
				      const char *query,
				      const struct strbuf *block,
				      const struct strbuf *names)
{
	cleanup_secret_strbuf struct strbuf sb = STRBUF_INIT;
	cleanup_free char *path = aws_encode_path(rq->path);

	strbuf_addf(&sb, "%s\n%s\n%s\n%s\n%s\n%s", rq->method, path, query,
		    strbuf_str(block), strbuf_str(names), rq->payload);
	return digest_of_buf(sb.buf, sb.len);
}

static struct digest hmac(const void *key, size_t n, const char *text)
{
	struct digest d;
	unsigned len = 0;

	if (!HMAC(EVP_sha256(), key, (int)n, (const unsigned char *)text,
		  strlen(text), d.b, &len))
		abort();
	assert(len == DIGEST_SIZE);
	return d;
}

/* The key of a day, a region and a service. */
static struct digest derived_key(const struct sign_scope *s, const char *date)
{
	cleanup_secret char *first =
		xasprintf("%s%s", s->dialect->key_prefix, s->secret);
	struct digest k = hmac(first, strlen(first), date);

	k = hmac(k.b, sizeof(k.b), s->region);
	k = hmac(k.b, sizeof(k.b), s->service);
	return hmac(k.b, sizeof(k.b), s->dialect->terminator);
}

struct sign_time aws_sign_time(int64_t t)
{
	struct sign_time st = {""};
	time_t at = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&at, &tm) ||
	    strftime(st.str, sizeof(st.str), "%Y%m%dT%H%M%SZ", &tm) != 16)
		memcpy(st.str, "19700101T000000Z", sizeof(st.str));
	return st;
}

static char *scope_text(const struct sign_scope *s)
{
	return xasprintf("%.8s/%s/%s/%s", aws_sign_time(s->time).str, s->region,
			 s->service, s->dialect->terminator);
}

static struct digest_hex signature(const struct sign_scope *s,
				   const struct digest *canonical)
{
	struct sign_time when = aws_sign_time(s->time);
	cleanup_free char *scope = scope_text(s);
	cleanup_free char *date = xstrndup(when.str, 8);
	cleanup_free char *text =
		xasprintf("%s\n%s\n%s\n%s", s->dialect->algorithm, when.str,
			  scope, digest_to_hex(canonical).str);
	struct digest key = derived_key(s, date);
	struct digest sig = hmac(key.b, sizeof(key.b), text);

	explicit_bzero(&key, sizeof(key));
	return digest_to_hex(&sig);
}

char *aws_sign_header(const struct sign_request *rq,
		      const struct sign_scope *scope)
{
	cleanup_secret_strbuf struct strbuf block = STRBUF_INIT;
	cleanup_strbuf struct strbuf names = STRBUF_INIT;
	cleanup_free char *query = aws_encode_query(rq->query, rq->n_query);
	cleanup_free char *text = scope_text(scope);
	struct digest canonical;

	add_headers(rq, &block, &names);
	canonical = canonical_digest(rq, query, &block, &names);
	return xasprintf("%s Credential=%s/%s,SignedHeaders=%s,Signature=%s",
			 scope->dialect->algorithm, scope->id, text,
			 strbuf_str(&names), signature(scope, &canonical).str);
}

char *aws_sign_query(const struct sign_request *rq,
		     const struct sign_scope *scope, unsigned expires)
{
	const char *p = scope->dialect->parameter;
	cleanup_secret_strbuf struct strbuf block = STRBUF_INIT;
	cleanup_strbuf struct strbuf names = STRBUF_INIT;
	cleanup_free char *text = scope_text(scope);
	cleanup_free char *credential = xasprintf("%s/%s", scope->id, text);
	cleanup_free char *seconds = xasprintf("%u", expires);
	cleanup_free char *n_algorithm = xasprintf("%sAlgorithm", p);
	cleanup_free char *n_credential = xasprintf("%sCredential", p);
	cleanup_free char *n_date = xasprintf("%sDate", p);
	cleanup_free char *n_expires = xasprintf("%sExpires", p);
	cleanup_free char *n_signed = xasprintf("%sSignedHeaders", p);
	struct sign_time when = aws_sign_time(scope->time);
	cleanup_free struct sign_pair *all =
		xcalloc(rq->n_query + 5, sizeof(*all));
	cleanup_secret char *query = NULL;
	size_t n = rq->n_query;
	struct digest canonical;

	add_headers(rq, &block, &names);
	for (size_t i = 0; i < n; i++)
		all[i] = rq->query[i];
	all[n++] = (struct sign_pair){n_algorithm, scope->dialect->algorithm};
	all[n++] = (struct sign_pair){n_credential, credential};
	all[n++] = (struct sign_pair){n_date, when.str};
	all[n++] = (struct sign_pair){n_expires, seconds};
	all[n++] = (struct sign_pair){n_signed, strbuf_str(&names)};
	query = aws_encode_query(all, n);
	canonical = canonical_digest(rq, query, &block, &names);
	return xasprintf("%s&%sSignature=%s", query, p,
			 signature(scope, &canonical).str);
}

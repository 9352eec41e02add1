/*
 * What goes on the wire: address, fields, and one of key, signature, token.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "storage/azure_internal.h"

#define API_VERSION "2023-11-03"

static const char *field(const struct sign_pair *headers, size_t n,
			 const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(headers[i].name, name) == 0)
			return headers[i].value;
	return "";
}

static int by_name(const void *a, const void *b)
{
	const struct sign_pair *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* "name:value" lines, sorted; names are lower case and appear once. */
static void add_sorted(struct strbuf *sb, const struct sign_pair *pairs,
		       size_t n, const char *prefix, const char *before,
		       const char *after)
{
	cleanup_free struct sign_pair *v = xcalloc(n + 1, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = pairs[i];
	qsort(v, n, sizeof(*v), by_name);
	for (size_t i = 0; i < n; i++)
		if (strncmp(v[i].name, prefix, strlen(prefix)) == 0)
			strbuf_addf(sb, "%s%s:%s%s", before, v[i].name,
				    v[i].value, after);
}

char *azure_shared_key(const struct azure_account *a, const char *method,
		       const char *path, const struct sign_pair *query,
		       size_t n_query, const struct sign_pair *headers,
		       size_t n_headers, uint64_t body_size)
{
	static const char *const slots[] = {
		"content-encoding",
		"content-language",
	};
	static const char *const rest[] = {
		"content-md5",         "content-type", "date",
		"if-modified-since",   "if-match",     "if-none-match",
		"if-unmodified-since", "range",
	};
	cleanup_strbuf struct strbuf sb = STRBUF_INIT;
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	strbuf_addf(&sb, "%s\n", method);
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		strbuf_addf(&sb, "%s\n", field(headers, n_headers, slots[i]));
	if (body_size)
		strbuf_addf(&sb, "%llu", (unsigned long long)body_size);
	strbuf_addc(&sb, '\n');
	for (size_t i = 0; i < ARRAY_SIZE(rest); i++)
		strbuf_addf(&sb, "%s\n", field(headers, n_headers, rest[i]));
	add_sorted(&sb, headers, n_headers, "x-ms-", "", "\n");
	strbuf_addf(&sb, "/%s%s", a->name, path);
	add_sorted(&sb, query, n_query, "", "\n", "");
	if (!HMAC(EVP_sha256(), a->key, (int)a->key_len,
		  (const unsigned char *)sb.buf, sb.len, mac, &len))
		abort();
	strbuf_addf(&out, "SharedKey %s:", a->name);
	base64_encode(&out, mac, len);
	return strbuf_steal(&out);
}

static int configure(struct azure *az, struct error **errp)
{
	int r = 0;

	mutex_lock(&az->lock);
	if (!az->configured) {
		r = azure_account_load(&az->account, errp);
		az->configured = r == 0;
	}
	mutex_unlock(&az->lock);
	return r;
}

/* @ret's scheme, host, port; and the path, encoded, heap. */
static char *address(const struct azure_account *ours, const char *account,
		     const struct object_call *c, struct http_url *ret)
{
	cleanup_free char *raw =
		c->bucket ? xasprintf("/%s", c->uri->container)
			  : xasprintf("/%s/%s", c->uri->container, c->uri->key);
	cleanup_free char *path = aws_encode_path(raw);

	if (ours && ours->has_endpoint) {
		*ret = (struct http_url){
			.tls = ours->endpoint.tls,
			.host = xstrdup(ours->endpoint.host),
			.port = ours->endpoint.port,
		};
		return xasprintf("%s%s", ours->endpoint.path, path);
	}
	*ret = (struct http_url){
		.tls = true,
		.host = xasprintf("%s.blob.core.windows.net", account),
		.port = 443,
	};
	return steal_ptr(&path);
}

/* "Mon, 23 Nov 2026 06:00:00 GMT" */
static void http_date(int64_t t, char ret[48])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t at = (time_t)t;
	struct tm tm = {0};

	gmtime_r(&at, &tm);
	snprintf(ret, 48, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
		 days + 3 * (tm.tm_wday % 7), tm.tm_mday % 100,
		 months + 3 * (tm.tm_mon % 12), (tm.tm_year + 1900) % 10000,
		 tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
}

/* A token, for accounts whose key or signature we have not. */
static int show_token(struct azure *az, struct object_wire *w,
		      const struct op *op, struct error **errp)
{
	int r = az->keeper ? keeper_get(az->keeper, &w->secret, op, errp) : 0;

	/* In the clear it goes nowhere but where the user said. */
	if (r == 1 && (w->url.tls || w->user_host))
		w->authorization = xasprintf("Bearer %s", w->secret->token);
	return r < 0 ? r : 0;
}

int azure_compose(struct object_http *h, const struct object_call *c,
		  struct object_wire *ret, const struct op *op,
		  struct error **errp)
{
	struct azure *az = azure_of(h);
	struct object_pairs headers = {.n = 0};
	const struct azure_account *ours;
	cleanup_free char *path = NULL;
	char date[48];
	int r = configure(az, errp);

	if (r < 0)
		return r;
	ours = az->account.name &&
			       strcmp(az->account.name, c->uri->account) == 0
		       ? &az->account
		       : NULL;
	path = address(ours, c->uri->account, c, &ret->url);
	ret->url.path = xstrdup(path);
	ret->user_host = ours && ours->has_endpoint;
	ret->url.query =
		c->n_query ? aws_encode_query(c->query, c->n_query) : NULL;
	ret->time_s = object_clock(h);
	http_date(ret->time_s, date);
	object_pair(&headers, "content-type", c->content_type);
	for (size_t i = 0; i < c->n_headers; i++)
		object_pair(&headers, c->headers[i].name, c->headers[i].value);
	object_pair(&headers, "x-ms-date", date);
	object_pair(&headers, "x-ms-version", API_VERSION);
	object_wire_fields(ret, &headers);
	if (!az->keeper)
		return 0; /* anonymous */
	if (ours && ours->key) {
		ret->authorization =
			azure_shared_key(ours, object_method(c->method),
					 ret->url.path, c->query, c->n_query,
					 headers.v, headers.n,
					 c->body ? c->body->size : 0);
		return 0;
	}
	if (ours && ours->sas) {
		char *query = ret->url.query;

		ret->url.query = query ? xasprintf("%s&%s", query, ours->sas)
				       : xstrdup(ours->sas);
		free(query);
		return 0;
	}
	return show_token(az, ret, op, errp);
}

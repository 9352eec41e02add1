/*
 * Application default credentials; the first that is there counts:
 *
 *   the file that GOOGLE_APPLICATION_CREDENTIALS names
 *   application_default_credentials.json of gcloud
 *   the metadata server, unless NO_GCE_CHECK is true
 *
 * Files are a service account's key, an authorized user, or an external
 * account. They are read each time.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "storage/gcs_internal.h"
#include "storage/provider.h"

#define TOKEN_URL  "https://oauth2.googleapis.com/token"
#define METADATA   "169.254.169.254"
#define TOKEN_PATH "/computeMetadata/v1/instance/service-accounts/default/token"
#define TRY_MS     10000
#define PROBE_MS   3000
#define TRIES      3
#define FILE_MAX   65536

static const struct json_limits file_limits = {
	.max_bytes = FILE_MAX,
	.max_values = 1000,
};

int google_check_url(const char *text, struct error **errp)
{
	cleanup_http_url struct http_url url = {0};
	int r = http_url_parse(text, &url, NULL);

	if (r == 0 && (url.tls || address_host_is_loopback(url.host)))
		return 0;
	return error_set(errp, EINVAL,
			 "the address of its token service is not https");
}

static int ask_token(struct google_identity *id, const char *url,
		     struct strbuf *form, const char *origin,
		     struct secret **ret, const struct op *op,
		     struct error **errp)
{
	const struct provider_request rq = {
		.name = "Google's token service",
		.method = HTTP_POST,
		.url = url,
		.form = strbuf_str(form),
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	cleanup_secret_json struct json *doc = NULL;
	int r = google_check_url(url, errp);

	if (r == 0)
		r = provider_ask_json(id->client, &rq, &doc, op, errp);
	if (r == 0)
		r = provider_token(doc, rq.name, ret, errp);
	if (r == 1)
		(*ret)->origin = origin;
	return r;
}

static int service_account(struct google_identity *id, const struct json *doc,
			   struct secret **ret, const struct op *op,
			   struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	const char *url = json_str(json_get(doc, "token_uri"));
	const char *email, *key;
	cleanup_secret char *jwt = NULL;
	int r = json_need_str(doc, "client_email", &email, errp);

	if (r == 0)
		r = json_need_str(doc, "private_key", &key, errp);
	if (r < 0)
		return r;
	url = url ? url : TOKEN_URL;
	r = google_jwt(email, json_str(json_get(doc, "private_key_id")), key,
		       url, GOOGLE_SCOPE, time_wall_s(), &jwt, errp);
	if (r < 0)
		return r;
	provider_form_add(&form, "grant_type",
			  "urn:ietf:params:oauth:grant-type:jwt-bearer");
	provider_form_add(&form, "assertion", jwt);
	return ask_token(id, url, &form, "service account", ret, op, errp);
}

static int authorized_user(struct google_identity *id, const struct json *doc,
			   struct secret **ret, const struct op *op,
			   struct error **errp)
{
	static const char *const keys[] = {"client_id", "client_secret",
					   "refresh_token"};
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	const char *url = json_str(json_get(doc, "token_uri"));

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *v;
		int r = json_need_str(doc, keys[i], &v, errp);

		if (r < 0)
			return r;
		provider_form_add(&form, keys[i], v);
	}
	provider_form_add(&form, "grant_type", "refresh_token");
	return ask_token(id, url ? url : TOKEN_URL, &form, "authorized user",
			 ret, op, errp);
}

static int by_type(struct google_identity *id, const struct json *doc,
		   struct secret **ret, const struct op *op,
		   struct error **errp)
{
	const char *type;
	int r = json_need_str(doc, "type", &type, errp);

	if (r < 0)
		return r;
	if (strcmp(type, "service_account") == 0)
		return service_account(id, doc, ret, op, errp);
	if (strcmp(type, "authorized_user") == 0)
		return authorized_user(id, doc, ret, op, errp);
	if (strcmp(type, "external_account") == 0)
		return google_external(id, doc, ret, op, errp);
	return error_set(errp, EACCES,
			 "credentials of type '%s' are not "
			 "supported",
			 type);
}

/* 0: no such file. */
static int from_file(struct google_identity *id, const char *path, bool said,
		     struct secret **ret, const struct op *op,
		     struct error **errp)
{
	cleanup_secret_json struct json *doc = NULL;
	char *text = NULL;
	size_t n = 0;
	int r = io_read_file(AT_FDCWD, path, FILE_MAX, &text, &n);

	if ((r == -ENOENT || r == -ENOTDIR) && !said)
		return 0;
	if (r < 0)
		return error_set_errno(errp, -r, "cannot read '%s'", path);
	r = json_parse(text, n, &file_limits, &doc, errp);
	wipe_free(text, n);
	if (r == 0)
		r = by_type(id, doc, ret, op, errp);
	return error_prefix(errp, r, "'%s'", path);
}

static char *gcloud_file(void)
{
	const char *dir = provider_env("CLOUDSDK_CONFIG");
	const char *home = provider_env("HOME");
	const char *name = "application_default_credentials.json";

	if (dir)
		return xasprintf("%s/%s", dir, name);
	return home ? xasprintf("%s/.config/gcloud/%s", home, name) : NULL;
}

static bool is_google(const struct http_response *r)
{
	const char *s = http_response_header(r, "metadata-flavor");

	return s && strcmp(s, "Google") == 0;
}

/* No such server, or somebody else's: no credentials. */
static int from_metadata(struct google_identity *id, struct secret **ret,
			 const struct op *op, struct error **errp)
{
	static const char *const headers[] = {"Metadata-Flavor: Google", NULL};
	const char *off = provider_env("NO_GCE_CHECK");
	const char *said = provider_env("GCE_METADATA_HOST");
	cleanup_free char *url =
		xasprintf("http://%s" TOKEN_PATH, said ? said : METADATA);
	const struct provider_request rq = {
		.name = "the metadata server",
		.url = url,
		.headers = headers,
		.try_ms = PROBE_MS,
		.tries = said ? TRIES : 1,
	};
	cleanup_secret_json struct json *doc = NULL;
	cleanup_error struct error *err = NULL;
	struct http_response answer = {.retry_after_ms = -1};
	int r;

	if (off && strcasecmp(off, "true") == 0)
		return 0;
	r = provider_ask(id->metadata, &rq, &answer, op, &err);
	if (r < 0)
		return said ? error_propagate(errp, &err, r)
			    : op_go_on(op, errp);
	r = is_google(&answer) ? provider_parse(&answer, rq.name, &doc, errp)
			       : 1;
	provider_release(&answer);
	if (r != 0)
		return r < 0 ? r : 0;
	r = provider_token(doc, rq.name, ret, errp);
	if (r == 1)
		(*ret)->origin = "metadata server";
	return r;
}

int google_identity_fetch(void *ctx, struct secret **ret, const struct op *op,
			  struct error **errp)
{
	const char *said = provider_env("GOOGLE_APPLICATION_CREDENTIALS");
	cleanup_free char *file = said ? xstrdup(said) : gcloud_file();
	struct google_identity *id = ctx;
	int r = 0;

	if (file)
		r = from_file(id, file, said != NULL, ret, op, errp);
	if (r == 0)
		r = from_metadata(id, ret, op, errp);
	return error_prefix(errp, r, "Google credentials");
}

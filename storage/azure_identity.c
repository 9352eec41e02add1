/*
 * Who we are to Microsoft's identity platform; the first that is set wins:
 *
 *   AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET
 *   workload identity: AZURE_FEDERATED_TOKEN_FILE with tenant and client
 *   managed identity: IDENTITY_ENDPOINT, else the instance's metadata
 *
 * AZURE_TOKEN_CREDENTIALS narrows it as it does for other tools: "prod" is all
 * of these, "dev" none, or one class name.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "storage/azure_internal.h"
#include "storage/provider.h"

#define AUTHORITY    "https://login.microsoftonline.com"
#define INSTANCE     "http://169.254.169.254"
#define SCOPE        "https://storage.azure.com/.default"
#define RESOURCE     "https%3A%2F%2Fstorage.azure.com%2F"
#define ASSERTION    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define TRY_MS       10000
#define TRIES        3
#define PROBE_MS     1000
#define UPDATE_TRIES 6 /* while the metadata service is being updated */

static bool wanted(const char *class)
{
	const char *which = provider_env("AZURE_TOKEN_CREDENTIALS");

	return !which || strcasecmp(which, "prod") == 0 ||
	       strcasecmp(which, class) == 0;
}

/* A tenant or client is an id or a domain: nothing that changes a path. */
static bool is_plain(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
			    "YZ0123456789.-_",
			    *p))
			return false;
	return *s && strlen(s) < 256;
}

static int ask_token(struct http_client *client,
		     const struct provider_request *rq, const char *origin,
		     struct secret **ret, const struct op *op,
		     struct error **errp)
{
	cleanup_secret_json struct json *doc = NULL;
	int r = provider_ask_json(client, rq, &doc, op, errp);

	if (r == 0)
		r = provider_token(doc, rq->name, ret, errp);
	if (r == 1)
		(*ret)->origin = origin;
	return r;
}

static int from_directory(struct azure_identity *id, struct strbuf *form,
			  const char *origin, struct secret **ret,
			  const struct op *op, struct error **errp)
{
	const char *host = provider_env("AZURE_AUTHORITY_HOST");
	const char *tenant = provider_env("AZURE_TENANT_ID");
	cleanup_free char *url = NULL;
	struct provider_request rq = {
		.name = "Microsoft's token service",
		.method = HTTP_POST,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	size_t n;

	if (!is_plain(tenant))
		return error_set(errp, EINVAL, "AZURE_TENANT_ID is malformed");
	host = host ? host : AUTHORITY;
	n = strlen(host);
	while (n && host[n - 1] == '/')
		n--;
	url = xasprintf("%.*s/%s/oauth2/v2.0/token", (int)n, host, tenant);
	provider_form_add(form, "client_id", provider_env("AZURE_CLIENT_ID"));
	provider_form_add(form, "scope", SCOPE);
	provider_form_add(form, "grant_type", "client_credentials");
	rq.url = url;
	rq.form = strbuf_str(form);
	return ask_token(id->client, &rq, origin, ret, op, errp);
}

static int client_secret(struct azure_identity *id, struct secret **ret,
			 const struct op *op, struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	const char *secret = provider_env("AZURE_CLIENT_SECRET");

	if (!secret || !provider_env("AZURE_TENANT_ID") ||
	    !provider_env("AZURE_CLIENT_ID") ||
	    !wanted("EnvironmentCredential"))
		return 0;
	provider_form_add(&form, "client_secret", secret);
	return from_directory(id, &form, "client secret", ret, op, errp);
}

static int workload(struct azure_identity *id, struct secret **ret,
		    const struct op *op, struct error **errp)
{
	cleanup_secret_strbuf struct strbuf form = STRBUF_INIT;
	const char *file = provider_env("AZURE_FEDERATED_TOKEN_FILE");
	cleanup_secret char *token = NULL;
	int r;

	if (!file || !provider_env("AZURE_TENANT_ID") ||
	    !provider_env("AZURE_CLIENT_ID") ||
	    !wanted("WorkloadIdentityCredential"))
		return 0;
	r = provider_read_file(file, &token, errp);
	if (r < 0)
		return r;
	provider_form_add(&form, "client_assertion_type", ASSERTION);
	provider_form_add(&form, "client_assertion", token);
	return from_directory(id, &form, "workload identity", ret, op, errp);
}

static char *with_client(char *take_url)
{
	const char *client = provider_env("AZURE_CLIENT_ID");
	char *url;

	if (!client || !is_plain(client))
		return take_url;
	url = xasprintf("%s&client_id=%s", take_url, client);
	free(take_url);
	return url;
}

static int app_service(struct azure_identity *id, const char *endpoint,
		       struct secret **ret, const struct op *op,
		       struct error **errp)
{
	const char *proof = provider_env("IDENTITY_HEADER");
	cleanup_secret char *header =
		xasprintf("X-IDENTITY-HEADER: %s", proof ? proof : "");
	const char *const headers[] = {header, NULL};
	cleanup_free char *url = with_client(xasprintf(
		"%s?api-version=2019-08-01&resource=%s", endpoint, RESOURCE));
	const struct provider_request rq = {
		.name = "the managed identity's endpoint",
		.url = url,
		.headers = headers,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};

	if (proof && strpbrk(proof, "\r\n"))
		return error_set(errp, EINVAL, "IDENTITY_HEADER: a line break");
	return ask_token(id->metadata, &rq, "managed identity", ret, op, errp);
}

/* No such service: not an Azure machine, or one without an identity. */
static int instance(struct azure_identity *id, struct secret **ret,
		    const struct op *op, struct error **errp)
{
	static const char *const headers[] = {"Metadata: true", NULL};
	const char *host = provider_env("AZURE_POD_IDENTITY_AUTHORITY_HOST");
	cleanup_free char *url = with_client(
		xasprintf("%s/metadata/identity/oauth2/token?api-version="
			  "2018-02-01&resource=%s",
			  host ? host : INSTANCE, RESOURCE));
	struct provider_request rq = {
		.name = "the instance's metadata",
		.url = url,
		.headers = headers,
		.try_ms = PROBE_MS,
		.tries = 1,
	};
	struct error *err = NULL;
	int r = ask_token(id->metadata, &rq, "managed identity", ret, op, &err);

	if (r == -ENOTCONN || r == -EACCES || r == -EPROTO) {
		error_free(err); /* somebody else's service, or nobody's */
		return op_go_on(op, errp);
	}
	if (r == -ENOENT || r == -ETIMEDOUT) { /* being updated */
		error_free(steal_ptr(&err));
		rq.try_ms = TRY_MS;
		rq.tries = UPDATE_TRIES;
		rq.wait_gone = true;
		r = ask_token(id->metadata, &rq, "managed identity", ret, op,
			      &err);
	}
	return error_propagate(errp, &err, r);
}

int azure_identity_fetch(void *ctx, struct secret **ret, const struct op *op,
			 struct error **errp)
{
	const char *endpoint = provider_env("IDENTITY_ENDPOINT");
	struct azure_identity *id = ctx;
	int r = client_secret(id, ret, op, errp);

	if (r == 0)
		r = workload(id, ret, op, errp);
	if (r == 0 && wanted("ManagedIdentityCredential"))
		r = endpoint ? app_service(id, endpoint, ret, op, errp)
			     : instance(id, ret, op, errp);
	return error_prefix(errp, r, "Azure credentials");
}

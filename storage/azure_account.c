#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "storage/azure_internal.h"
#include "storage/provider.h"

#define KEY_MAX 512
#define SUFFIX  "core.windows.net"

/* The emulator's account, which its makers publish for everyone. */
#define DEV_NAME "devstoreaccount1"
#define DEV_KEY                                       \
	"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ" \
	"6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define DEV_ENDPOINT "http://127.0.0.1:10000/" DEV_NAME

static int set_key(struct azure_account *a, const char *text,
		   struct error **errp)
{
	if (base64_decode(text, strlen(text), KEY_MAX, (void **)&a->key,
			  &a->key_len) < 0 ||
	    !a->key_len)
		return error_set(errp, EINVAL,
				 "the key of the storage account is no base64");
	return 0;
}

static int set_endpoint(struct azure_account *a, const char *text,
			struct error **errp)
{
	size_t n;

	if (http_url_parse(text, &a->endpoint, NULL) < 0)
		return error_set(errp, EINVAL,
				 "the Azure endpoint is no http(s) URL");
	n = strlen(a->endpoint.path);
	if (a->endpoint.path[n - 1] == '/')
		a->endpoint.path[n - 1] = '\0';
	if (a->endpoint.query) {
		http_url_release(&a->endpoint);
		return error_set(errp, EINVAL,
				 "the Azure endpoint has a query");
	}
	a->has_endpoint = true;
	return 0;
}

static void set_sas(struct azure_account *a, const char *text)
{
	wipe_str(&a->sas);
	a->sas = xstrdup(text + (*text == '?'));
}

static bool name_valid(const char *s)
{
	size_t n = strlen(s);

	return n >= 3 && n <= 24 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789") == n;
}

static bool query_valid(const char *s)
{
	for (; *s; s++)
		if (*s < 0x21 || *s > 0x7e || *s == '#' || *s == '?')
			return false;
	return true;
}

/* "a=b;c=d": the value of @name, heap, or NULL. Names are matched as they are
 * written by the portal. */
static char *member(const char *s, const char *name)
{
	size_t n = strlen(name);

	while (*s) {
		size_t len = strcspn(s, ";");

		if (len > n && strncmp(s, name, n) == 0 && s[n] == '=')
			return xstrndup(s + n + 1, len - n - 1);
		s += len + (s[len] == ';');
	}
	return NULL;
}

static int set_developer(struct azure_account *a, struct error **errp)
{
	int r = set_key(a, DEV_KEY, errp);

	a->name = xstrdup(DEV_NAME);
	return r < 0 ? r : set_endpoint(a, DEV_ENDPOINT, errp);
}

/* Where the account is when not even a connection string says it in full. */
static int set_default_endpoint(struct azure_account *a, const char *s,
				struct error **errp)
{
	cleanup_free char *suffix = member(s, "EndpointSuffix");
	cleanup_free char *protocol = member(s, "DefaultEndpointsProtocol");
	cleanup_free char *url = NULL;

	if (!a->name || (!suffix && !protocol))
		return 0;
	url = xasprintf("%s://%s.blob.%s", protocol ? protocol : "https",
			a->name, suffix ? suffix : SUFFIX);
	return set_endpoint(a, url, errp);
}

/* "https://NAME.blob.…": the name, where nothing else says it. */
static void name_of_endpoint(struct azure_account *a)
{
	cleanup_free char *name = NULL;

	if (a->name || !a->has_endpoint)
		return;
	name = xstrndup(a->endpoint.host, strcspn(a->endpoint.host, "."));
	if (name_valid(name) && strchr(a->endpoint.host, '.'))
		a->name = steal_ptr(&name);
}

static int parse(const char *s, struct azure_account *a, struct error **errp)
{
	cleanup_secret char *key = member(s, "AccountKey");
	cleanup_secret char *sas = member(s, "SharedAccessSignature");
	cleanup_free char *endpoint = member(s, "BlobEndpoint");
	cleanup_free char *dev = member(s, "UseDevelopmentStorage");
	int r = 0;

	if (dev && strcmp(dev, "true") == 0)
		return set_developer(a, errp);
	a->name = member(s, "AccountName");
	if (key)
		r = set_key(a, key, errp);
	if (r == 0 && sas)
		set_sas(a, sas);
	if (r == 0)
		r = endpoint ? set_endpoint(a, endpoint, errp)
			     : set_default_endpoint(a, s, errp);
	if (r < 0)
		return r;
	name_of_endpoint(a);
	if (!a->name)
		return error_set(errp, EINVAL, "it names no account");
	return 0;
}

static int check(const struct azure_account *a, struct error **errp)
{
	if (a->name && !name_valid(a->name))
		return error_set(errp, EINVAL, "not a storage account's name");
	if (a->sas && !query_valid(a->sas))
		return error_set(errp, EINVAL,
				 "the shared access signature is malformed");
	return 0;
}

int azure_account_parse(const char *connection_string, struct azure_account *a,
			struct error **errp)
{
	int r;

	*a = (struct azure_account){0};
	r = parse(connection_string, a, errp);
	if (r == 0)
		r = check(a, errp);
	if (r < 0) {
		azure_account_release(a);
		return error_prefix(errp, r, "Azure connection string");
	}
	return 0;
}

static int from_variables(struct azure_account *a, struct error **errp)
{
	const char *name = provider_env("AZURE_STORAGE_ACCOUNT");
	const char *key = provider_env("AZURE_STORAGE_KEY");
	const char *sas = provider_env("AZURE_STORAGE_SAS_TOKEN");
	const char *endpoint = provider_env("AZURE_STORAGE_BLOB_ENDPOINT");
	int r = 0;

	if (!key)
		key = provider_env("AZURE_STORAGE_ACCESS_KEY");
	if (!name && (key || sas || endpoint))
		return error_set(errp, EINVAL,
				 "AZURE_STORAGE_ACCOUNT says for which account "
				 "the other variables are");
	a->name = name ? xstrdup(name) : NULL;
	if (key)
		r = set_key(a, key, errp);
	if (sas)
		set_sas(a, sas);
	if (r == 0 && endpoint)
		r = set_endpoint(a, endpoint, errp);
	return r < 0 ? r : check(a, errp);
}

int azure_account_load(struct azure_account *a, struct error **errp)
{
	const char *s = provider_env("AZURE_STORAGE_CONNECTION_STRING");
	int r;

	*a = (struct azure_account){0};
	if (s)
		return azure_account_parse(s, a, errp);
	r = from_variables(a, errp);
	if (r < 0)
		azure_account_release(a);
	return r;
}

void azure_account_release(struct azure_account *a)
{
	free(a->name);
	wipe_free(a->key, a->key_len);
	wipe_str(&a->sas);
	http_url_release(&a->endpoint);
	*a = (struct azure_account){0};
}

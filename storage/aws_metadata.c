/*
 * Keys from the machine that this runs on: a container's agent, or the
 * instance's metadata service (version 2: a session token first).
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "storage/aws_credentials.h"
#include "storage/provider.h"

#define TRY_MS          2000
#define INSTANCE_TRY_MS 1000
#define TRIES           3
#define ROLE_MAX        256
#define AGENT           "http://169.254.170.2"
#define INSTANCE        "http://169.254.169.254"

/* A place that keys may be asked for at: encrypted, or on this machine. */
static bool agent_allowed(const char *text)
{
	static const char *const hosts[] = {"169.254.170.2", "169.254.170.23",
					    "fd00:ec2::23"};
	cleanup_http_url struct http_url url = {0};

	if (http_url_parse(text, &url, NULL) < 0)
		return false;
	if (url.tls || address_host_is_loopback(url.host))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		if (strcmp(url.host, hosts[i]) == 0)
			return true;
	return false;
}

static int agent_token(char **ret, struct error **errp)
{
	const char *file =
		provider_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *text = provider_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");

	if (file)
		return provider_read_file(file, ret, errp);
	if (text && strpbrk(text, "\r\n"))
		return error_set(errp, EINVAL,
				 "AWS_CONTAINER_AUTHORIZATION_TOKEN: a line "
				 "break");
	*ret = text ? xstrdup(text) : NULL;
	return 0;
}

int aws_container(struct aws_chain *c, struct secret **ret, const struct op *op,
		  struct error **errp)
{
	const char *path =
		provider_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = provider_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	cleanup_secret_json struct json *doc = NULL;
	cleanup_secret char *token = NULL;
	cleanup_free char *url = NULL;
	struct provider_request rq = {
		.name = "the container's credential service",
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	int r;

	if (!path && !full)
		return 0;
	url = path ? xasprintf(AGENT "%s", path) : xstrdup(full);
	if (!agent_allowed(url))
		return error_set(errp, EACCES,
				 "AWS_CONTAINER_CREDENTIALS_FULL_URI is "
				 "neither https nor on this machine");
	r = agent_token(&token, errp);
	if (r < 0)
		return r;
	rq.url = url;
	rq.authorization = token;
	r = provider_ask_json(c->metadata, &rq, &doc, op, errp);
	return r < 0 ? r : aws_keys_of(doc, "Token", "container", ret, errp);
}

static char *instance_url(const char *path)
{
	const char *said = provider_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	size_t n;

	if (!said)
		said = INSTANCE;
	n = strlen(said);
	while (n && said[n - 1] == '/')
		n--;
	return xasprintf("%.*s%s", (int)n, said, path);
}

static bool text_is_clean(const char *s, size_t max)
{
	size_t n = s ? strlen(s) : 0;

	if (!n || n > max)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] < 0x21 || s[i] > 0x7e)
			return false;
	return true;
}

/* The token that every question has to carry. */
static int session_token(struct aws_chain *c, char **ret, const struct op *op,
			 struct error **errp)
{
	static const char *const headers[] = {
		"x-aws-ec2-metadata-token-ttl-seconds: 21600", NULL};
	cleanup_free char *url = instance_url("/latest/api/token");
	const struct provider_request rq = {
		.name = "the instance's metadata",
		.method = HTTP_PUT,
		.url = url,
		.headers = headers,
		.try_ms = INSTANCE_TRY_MS,
		.tries = 1,
	};
	struct http_response answer = {.retry_after_ms = -1};
	int r = provider_ask(c->metadata, &rq, &answer, op, errp);

	if (r < 0)
		return r;
	if (text_is_clean(answer.body, 4096))
		*ret = xasprintf("x-aws-ec2-metadata-token: %s", answer.body);
	else
		r = error_set(errp, EPROTO,
			      "the instance's metadata: no token");
	provider_release(&answer);
	return r;
}

static int role_name(struct aws_chain *c, const char *const *headers,
		     char **ret, const struct op *op, struct error **errp)
{
	cleanup_free char *url =
		instance_url("/latest/meta-data/iam/security-credentials/");
	const struct provider_request rq = {
		.name = "the instance's metadata",
		.url = url,
		.headers = headers,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	struct http_response answer = {.retry_after_ms = -1};
	struct strbuf sb = STRBUF_INIT;
	int r = provider_ask(c->metadata, &rq, &answer, op, errp);

	if (r < 0)
		return r;
	if (answer.body)
		answer.body[strcspn(answer.body, "\r\n")] = '\0';
	if (text_is_clean(answer.body, ROLE_MAX)) {
		uri_encode(&sb, answer.body, strlen(answer.body), false);
		*ret = strbuf_steal(&sb);
	} else {
		r = error_set(errp, EPROTO, "the instance's metadata: no role");
	}
	http_response_release(&answer);
	return r;
}

static int instance_keys(struct aws_chain *c, const char *const *headers,
			 struct secret **ret, const struct op *op,
			 struct error **errp)
{
	cleanup_secret_json struct json *doc = NULL;
	cleanup_free char *role = NULL;
	cleanup_free char *path = NULL;
	cleanup_free char *url = NULL;
	struct provider_request rq = {
		.name = "the instance's metadata",
		.headers = headers,
		.try_ms = TRY_MS,
		.tries = TRIES,
	};
	int r = role_name(c, headers, &role, op, errp);

	if (r < 0)
		return r;
	path = xasprintf("/latest/meta-data/iam/security-credentials/%s", role);
	url = instance_url(path);
	rq.url = url;
	r = provider_ask_json(c->metadata, &rq, &doc, op, errp);
	return r < 0 ? r : aws_keys_of(doc, "Token", "instance", ret, errp);
}

/* A machine without such a service, or an instance without a role, has none:
 * that is no error. */
int aws_instance(struct aws_chain *c, struct secret **ret, const struct op *op,
		 struct error **errp)
{
	const char *off = provider_env("AWS_EC2_METADATA_DISABLED");
	cleanup_secret char *token = NULL;
	cleanup_error struct error *err = NULL;
	const char *headers[] = {NULL, NULL};
	int r;

	if (off && strcasecmp(off, "true") == 0)
		return 0;
	r = session_token(c, &token, op, &err);
	if (r == 0) {
		headers[0] = token;
		r = instance_keys(c, headers, ret, op, &err);
	}
	if (r == -ENOTCONN || r == -ENOENT || (r < 0 && !token))
		return op_cancelled(op) ? error_propagate(errp, &err, r) : 0;
	return error_propagate(errp, &err, r);
}

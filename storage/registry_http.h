/*
 * The OCI distribution protocol over HTTP (distribution specification 1.1).
 */
#ifndef STORAGE_REGISTRY_HTTP_H
#define STORAGE_REGISTRY_HTTP_H

#include "storage/credentials.h"
#include "storage/http.h"
#include "storage/registry.h"

struct registry_http_options {
	const char *host; /* host[:port] as in the reference */
	bool plain_http;  /* else only for loopback names, addresses */
	bool tls;         /* not even for these */
	struct retry_times times;
	struct credentials *credentials; /* not owned; may be NULL: anonymous */
	/* Hosts ("host" or "host:port") that may see the login although the
	 * registry is on another site. NULL-ended or NULL. */
	char *const *token_realms;
	/* Where uploads in progress are noted (storage/upload_record.h), so
	 * that another process can go on; NULL: nowhere. */
	const char *uploads;
	/* It is a mirror of that host, which it is told (`ns=`); NULL: it is
	 * none. A mirror sees no client certificate, and what it lacks is not
	 * asked for twice. */
	const char *mirror_of;
};

/* @client is not owned and outlives the registry. */
int registry_http_new(struct http_client *client,
		      const struct registry_http_options *o,
		      struct registry **ret, struct error **errp);

/* Is it a host, "host[:port]"? -EINVAL. */
int registry_http_check_host(const char *host, struct error **errp);

/* Does it accept the credentials that it was made with? -EACCES. *@ret_asked
 * is false when it wants none, and so says nothing about them. */
int registry_http_try_login(struct registry *r, bool *ret_asked,
			    const struct op *op, struct error **errp);

#endif

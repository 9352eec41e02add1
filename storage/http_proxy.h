/*
 * Proxies as the environment names them: https_proxy, http_proxy, all_proxy
 * and no_proxy; upper case counts too, but for HTTP_PROXY, which a CGI program
 * gets from its client.
 *
 * Threads: any; made once.
 */
#ifndef STORAGE_HTTP_PROXY_H
#define STORAGE_HTTP_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uri.h"

struct http_proxies {
	char *https; /* URLs; they may hold a login */
	char *http;
	char *none_for;
};

/* What the environment says now. -EINVAL for a value that is no proxy; it is
 * not quoted. */
int http_proxies_load(struct http_proxies *ret, struct error **errp);
void http_proxies_release(struct http_proxies *p);

/* Of @p, or NULL: go there directly. Hosts of this machine always are. */
const char *http_proxy_for(const struct http_proxies *p,
			   const struct http_url *u);

/*
 * Is a host on the list? Separated by commas or blanks: "*"; names, with or
 * without a dot in front, which stand for what is below them, too; addresses;
 * networks ("10.0.0.0/8", "fd00::/8"); each but the networks with ":port".
 */
bool no_proxy_has(const char *list, const char *host, uint16_t port);

#endif

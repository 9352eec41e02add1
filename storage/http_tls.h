/*
 * Whom TLS trusts and what it shows, from files:
 *
 *   a CA file or folder   trusted in place of the system's
 *   certs.d/<host:port>/  `*.crt` trusted for that host as well; the first
 *                         `*.cert` with its `*.key` shown to that host
 *
 * certs.d folders are those of docker and of podman; the first root that has
 * one for the host counts. On port 443 its name may lack the port.
 *
 * Threads: any.
 */
#ifndef STORAGE_HTTP_TLS_H
#define STORAGE_HTTP_TLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TLS_FILE_MAX  (1u << 20)
#define TLS_CA_MAX    (8u << 20) /* of all files together */
#define TLS_FILES_MAX 1024       /* looked at in one folder */

struct http_tls {
	atomic_uint refs;
	char *ca; /* PEM, or NULL: the system's alone */
	size_t ca_len;
	bool ca_alone; /* not the system's as well */
	char *cert_file;
	char *key_file; /* NULL together with the other */
};

/* @ca may be NULL; @roots is NULL-ended or NULL. Fails when a file that should
 * count cannot be read or is too large, and for a folder without any. */
int http_tls_load(const char *ca, const char *const *roots, const char *host,
		  uint16_t port, struct http_tls **ret, struct error **errp);
void http_tls_unref(struct http_tls *t);

/* The certs.d folders of this user and this machine, as the environment is
 * now. NULL-ended, heap. */
char **http_tls_roots(void);

#endif

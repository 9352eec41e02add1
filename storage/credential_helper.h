/*
 * Programs that keep credentials: docker-credential-<suffix>, asked with
 * "get", "store" or "erase", and what that is about on standard input.
 *
 * Threads: any that may wait: never one that serves a mount, since the program
 * may touch it.
 */
#ifndef STORAGE_CREDENTIAL_HELPER_H
#define STORAGE_CREDENTIAL_HELPER_H

#include <stddef.h>

#include "base/error.h"
#include "base/op.h"
#include "storage/login.h"

/* 1 found, 0 it has none for @server, or -errno: -EINVAL for a suffix that no
 * helper has, -EIO when it is not installed or fails, -ETIMEDOUT, -ECANCELED.
 * It runs as storage/program.h says. */
int credential_helper_get(const char *suffix, const char *server,
			  struct login *ret, const struct op *op,
			  struct error **errp);

/* Have it keep @login for @server, or forget what it has: 0, or 1 when that was
 * nothing; -errno as above. */
int credential_helper_store(const char *suffix, const char *server,
			    const struct login *login, const struct op *op,
			    struct error **errp);
int credential_helper_erase(const char *suffix, const char *server,
			    const struct op *op, struct error **errp);

/* What such a program prints: {"Username":…,"Secret":…}. 1 or -EINVAL. */
int credential_helper_parse(const char *buf, size_t n, struct login *ret,
			    struct error **errp);

#endif

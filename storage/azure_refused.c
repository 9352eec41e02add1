#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/azure_internal.h"

#define ARCHIVE_HINT                                                     \
	"bring it back first: az storage blob set-tier --tier Hot …, " \
	"which takes hours"

static bool cure(struct azure *az, const struct object_wire *w,
		 const struct http_response *r, struct object_cures *cures,
		 const struct op *op)
{
	if (r->status != 401 && r->status != 403)
		return false;
	if (object_cure_clock(&az->http, w, r, cures))
		return true;
	if (cures->secret || !w->secret)
		return false;
	cures->secret = true;
	return keeper_replace(az->keeper, w->secret, op);
}

/* 409 is many things here; only one of them means that a blob is there. */
static enum attempt conflict(const struct object_call *c,
			     const struct http_response *r,
			     const struct object_said *said,
			     struct error **errp)
{
	enum attempt a;

	if (strcmp(said->code, "BlobArchived") == 0 ||
	    strcmp(said->code, "BlobBeingRehydrated") == 0)
		return object_archived(c, ARCHIVE_HINT, errp);
	a = object_refuse(c, r, said, errp);
	if (strcmp(said->code, "BlobAlreadyExists") == 0)
		return a;
	if (strcmp(said->code, "PublicAccessNotPermitted") == 0)
		a = ATTEMPT_FORBIDDEN;
	if (*errp)
		(*errp)->code = a == ATTEMPT_FORBIDDEN ? EACCES : EIO;
	return a;
}

enum attempt azure_refused(struct object_http *h, const struct object_call *c,
			   const struct object_wire *w,
			   const struct http_response *r,
			   struct object_cures *cures, bool *ret_again,
			   const struct op *op, struct error **errp)
{
	struct azure *az = azure_of(h);
	const char *code = http_response_header(r, "x-ms-error-code");
	struct object_said said;
	enum attempt a;

	object_said_xml(r, &said);
	if (code)
		snprintf(said.code, sizeof(said.code), "%s", code);
	*ret_again = cure(az, w, r, cures, op);
	if (r->status == 409)
		return conflict(c, r, &said, errp);
	a = object_refuse(c, r, &said, errp);
	if (strcmp(said.code, "Md5Mismatch") == 0 && *errp) {
		(*errp)->code = EBADMSG;
		error_kind(errp, -EBADMSG, ERROR_VALIDATION);
	}
	if ((r->status == 401 || r->status == 403) && az->keeper &&
	    !w->authorization && !az->account.sas)
		error_hint(errp, -EACCES,
			   "no Azure credentials were found for account '%s': "
			   "set AZURE_STORAGE_CONNECTION_STRING, or a client's "
			   "AZURE_TENANT_ID, AZURE_CLIENT_ID and secret",
			   c->uri->account);
	return a;
}

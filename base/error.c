#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

static enum error_kind kind_of_code(int code)
{
	switch (code) {
	case EINVAL:
	case EBADMSG:
	case ERANGE:
	case EOVERFLOW:
	case ENAMETOOLONG:
	case ELOOP:
		return ERROR_VALIDATION;
	default:
		return ERROR_DOWNLOAD;
	}
}

static struct error *error_new(enum error_kind kind, int code,
			       char *take_message)
{
	struct error *err = xmalloc(sizeof(*err));

	*err = (struct error){
		.code = code, .kind = kind, .message = take_message};
	return err;
}

/* Of any message; @fmt and @ap as in vprintf(). */
static int set(struct error **errp, enum error_kind kind, int code,
	       const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

static int set(struct error **errp, enum error_kind kind, int code,
	       const char *fmt, va_list ap)
{
	assert(code > 0);
	if (!errp)
		return -code;
	assert(!*errp);
	*errp = error_new(kind, code, xvasprintf(fmt, ap));
	return -code;
}

int error_set(struct error **errp, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(errp, kind_of_code(code), code, fmt, ap);
	va_end(ap);
	return -code;
}

int error_set_kind(struct error **errp, enum error_kind kind, int code,
		   const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(errp, kind, code, fmt, ap);
	va_end(ap);
	return -code;
}

int error_set_errno(struct error **errp, int code, const char *fmt, ...)
{
	char text[128], *message;
	va_list ap;

	va_start(ap, fmt);
	set(errp, kind_of_code(code), code, fmt, ap);
	va_end(ap);
	if (!errp)
		return -code;
	message = xasprintf("%s: %s", (*errp)->message,
			    strerror_r(code, text, sizeof(text)));
	free((*errp)->message);
	(*errp)->message = message;
	return -code;
}

int error_prefix(struct error **errp, int r, const char *fmt, ...)
{
	cleanup_free char *context = NULL;
	char *joined;
	va_list ap;

	if (!errp || !*errp)
		return r;
	va_start(ap, fmt);
	context = xvasprintf(fmt, ap);
	va_end(ap);
	joined = xasprintf("%s: %s", context, (*errp)->message);
	free((*errp)->message);
	(*errp)->message = joined;
	return r;
}

int error_hint(struct error **errp, int r, const char *fmt, ...)
{
	va_list ap;

	if (!errp || !*errp || (*errp)->hint)
		return r;
	va_start(ap, fmt);
	(*errp)->hint = xvasprintf(fmt, ap);
	va_end(ap);
	return r;
}

int error_kind(struct error **errp, int r, enum error_kind kind)
{
	if (errp && *errp)
		(*errp)->kind = kind;
	return r;
}

int error_propagate(struct error **errp, struct error **take_err, int r)
{
	struct error *err = steal_ptr(take_err);

	if (!errp) {
		error_free(err);
		return r;
	}
	assert(!*errp || !err);
	if (err)
		*errp = err;
	return r;
}

const char *error_kind_name(enum error_kind kind)
{
	switch (kind) {
	case ERROR_NOT_FOUND:
		return "BundleNotFound";
	case ERROR_VALIDATION:
		return "ValidationError";
	case ERROR_DOWNLOAD:
		return "DownloadError";
	case ERROR_MEDIA_TYPE:
		return "UnsupportedMediaType";
	case ERROR_ROLE:
		return "RoleLayerMismatch";
	case ERROR_CONFLICT:
		return "WorkdirConflict";
	}
	return "DownloadError";
}

struct error *error_copy(const struct error *err)
{
	struct error *copy;

	if (!err)
		return NULL;
	copy = error_new(err->kind, err->code, xstrdup(err->message));
	if (err->hint)
		copy->hint = xstrdup(err->hint);
	return copy;
}

void error_free(struct error *err)
{
	if (!err)
		return;
	free(err->message);
	free(err->hint);
	free(err);
}

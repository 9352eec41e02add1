/*
 * What went wrong, said once, with context gathered on the way up.
 *
 * A function that can fail returns 0, a count or -errno, and takes a last
 * argument `struct error **errp`. @errp may be NULL; *errp is NULL on entry,
 * is untouched on success, and is never read to decide anything.
 *
 * An error has an errno-style code (what a caller may branch on), a kind (what
 * the process's exit status and the JSON field "error" are made from), one line
 * of message and an optional line of advice. EBADMSG is a wrong digest.
 *
 * Threads: an error belongs to whoever holds the pointer.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

/* The project's exit codes; docs and scripts rely on the numbers. */
enum error_kind {
	ERROR_NOT_FOUND = 1,   /* BundleNotFound */
	ERROR_VALIDATION = 2,  /* ValidationError */
	ERROR_DOWNLOAD = 3,    /* DownloadError; local I/O failure as well */
	ERROR_MEDIA_TYPE = 10, /* UnsupportedMediaType */
	ERROR_ROLE = 11,       /* RoleLayerMismatch */
	ERROR_CONFLICT = 12,   /* WorkdirConflict */
};

struct error {
	int code; /* errno value, > 0 */
	enum error_kind
		kind;  /* derived from @code unless error_kind() set it */
	char *message; /* one line, not escaped: escape when printing */
	char *hint;    /* NULL, or one line: what to do about it */
};

/*
 * Start a message. Returns -@code. The kind follows the code: EINVAL, EBADMSG,
 * ERANGE, EOVERFLOW, ENAMETOOLONG and ELOOP are ERROR_VALIDATION, all else is
 * ERROR_DOWNLOAD.
 */
int error_set(struct error **errp, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set(), with ": strerror(code)" at the end. */
int error_set_errno(struct error **errp, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set(), with the kind said. */
int error_set_kind(struct error **errp, enum error_kind kind, int code,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Put "context: " in front of the message. Returns @r. */
int error_prefix(struct error **errp, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Give an error that has none yet a line of advice. Returns @r. */
int error_hint(struct error **errp, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Change the kind of an error already set. Returns @r. */
int error_kind(struct error **errp, int r, enum error_kind kind);

/* Hand @err on: it becomes *@errp, or is freed when @errp is NULL. Leaves @err
 * NULL. Returns @r. */
int error_propagate(struct error **errp, struct error **take_err, int r);

/* "BundleNotFound", "ValidationError", …: the stable name of a kind. */
const char *error_kind_name(enum error_kind kind);

struct error *error_copy(const struct error *err);
void error_free(struct error *err);

static inline void error_freep(struct error **errp)
{
	error_free(*errp);
	*errp = 0;
}
#define cleanup_error __attribute__((cleanup(error_freep)))

#endif

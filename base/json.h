/*
 * Strict JSON in, canonical JSON out.
 *
 * Reading: a validator runs over the bytes before cJSON sees them and refuses
 * what cJSON would silently change: invalid UTF-8, "\u0000", lone surrogates,
 * duplicate keys, bytes after the value, numbers that are not exact int64 where
 * an integer is asked for, depth > 32, more values than allowed, more bytes
 * than allowed. All refusals are -EINVAL with line and column.
 *
 * Writing: one writer, canonical: UTF-8, keys in byte order (asserted), no
 * insignificant space, exact decimal int64, only the escapes that RFC 8259
 * section 7 requires (quote, backslash and C0 controls; the short forms where
 * there is one).
 *
 * Threads: a document belongs to one thread at a time.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define JSON_MAX_DEPTH      32
#define JSON_MAX_DOC        (4u << 20) /* manifests, indexes, roots */
#define JSON_MAX_VALUES     20000u     /* in manifests and roots */
#define JSON_MAX_VALUES_BIG 200000u    /* elsewhere */

struct json; /* a value; children belong to the document's root */

struct json_limits {
	size_t max_bytes;
	size_t max_values;
};
extern const struct json_limits JSON_LIMITS_DOC; /* the two small limits */
extern const struct json_limits JSON_LIMITS_BIG; /* 64 MiB, BIG values */

int json_parse(const void *p, size_t n, const struct json_limits *lim,
	       struct json **ret, struct error **errp);
void json_free(struct json *root);
static inline void json_freep(struct json **j)
{
	json_free(*j);
	*j = 0;
}
#define cleanup_json __attribute__((cleanup(json_freep)))

/* Overwrite every string value below @v, so that a secret does not outlive its
 * document. They read as "" from here on. */
void json_wipe(const struct json *v);

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};
/* JSON_NULL for NULL. */
enum json_type json_type(const struct json *v);

/* Member of an object; NULL when absent or when @obj is no object. */
const struct json *json_get(const struct json *obj, const char *key);
/* Elements of an array or members of an object, in document order. */
const struct json *json_first(const struct json *container);
const struct json *json_next(const struct json *elem);
/* The key of an object's member. */
const char *json_key(const struct json *member);
size_t json_count(const struct json *container);

/* NULL / false / the default when @v is absent or of another type. */
const char *json_str(const struct json *v);
bool json_bool(const struct json *v, bool dflt);
/* -EINVAL unless @v is an integer (written without fraction and exponent) that
 * int64 holds exactly. */
int json_int(const struct json *v, int64_t *ret);
/* A number as it was written; NULL for anything else. */
const char *json_number_text(const struct json *v);

/*
 * Required members with an error that names the key. json_need_size() wants
 * 0 ≤ value ≤ INT64_MAX.
 */
int json_need_str(const struct json *obj, const char *key, const char **ret,
		  struct error **errp);
int json_need_size(const struct json *obj, const char *key, uint64_t *ret,
		   struct error **errp);
int json_need_array(const struct json *obj, const char *key,
		    const struct json **ret, struct error **errp);
int json_need_object(const struct json *obj, const char *key,
		     const struct json **ret, struct error **errp);

/*
 * The writer. Calls nest as the document does; a key is given exactly for
 * members of an object (NULL inside arrays and at the top). Keys out of byte
 * order, or an unbalanced end, are assertion failures. Strings must be valid
 * UTF-8 (asserted: they come from checked data). A writer is left only when the
 * document is whole.
 *
 * @ascii, set after the init, escapes DEL and all that is not ASCII as well:
 * not canonical, but safe to print on a terminal.
 */
#define JSON_WRITER_DEPTH (2 * JSON_MAX_DEPTH) /* a parsed value inside ours */
struct json_writer {
	struct strbuf *out;
	bool ascii;
	int depth;
	struct {
		bool is_object;
		bool any;
		char *last_key;
	} stack[JSON_WRITER_DEPTH];
};

void json_writer_init(struct json_writer *w, struct strbuf *out);
void json_begin_object(struct json_writer *w, const char *key);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w, const char *key);
void json_end_array(struct json_writer *w);
void json_put_str(struct json_writer *w, const char *key, const char *s);
void json_put_int(struct json_writer *w, const char *key, int64_t v);
void json_put_bool(struct json_writer *w, const char *key, bool v);
void json_put_null(struct json_writer *w, const char *key);
/* A value that a writer of its own made. */
void json_put_raw(struct json_writer *w, const char *key, const char *text);
/* Bytes as standard base64 with padding. */
void json_put_base64(struct json_writer *w, const char *key, const void *p,
		     size_t n);
/* A parsed value, made canonical (members sorted). A number that is no int64
 * stays as it was written. */
void json_put_value(struct json_writer *w, const char *key,
		    const struct json *v);

/*
 * Standard base64, strict: padding required, unused bits zero, no other bytes.
 * *@ret is malloc()ed, with a NUL after its *@ret_len bytes. -EINVAL when
 * malformed, -EFBIG when more than @max bytes would come out, -ENOMEM.
 */
int base64_decode(const char *s, size_t n, size_t max, void **ret,
		  size_t *ret_len);
void base64_encode(struct strbuf *out, const void *p, size_t n);

#endif

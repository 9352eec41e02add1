/*
 * A value is a cJSON item under another name. cJSON keeps a number as a double
 * only, so each number's text is put beside it, into the string slot that
 * numbers leave unused.
 */
#include "base/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_check.h"

const struct json_limits JSON_LIMITS_DOC = {JSON_MAX_DOC, JSON_MAX_VALUES};
const struct json_limits JSON_LIMITS_BIG = {(size_t)64 << 20,
					    JSON_MAX_VALUES_BIG};

/* Give the numbers below @v their text; they come in document order. */
static void keep_numbers(cJSON *v, const struct json_numbers *numbers,
			 size_t *next)
{
	if (cJSON_IsNumber(v)) {
		assert(*next < numbers->n);
		v->valuestring =
			xstrndup(numbers->v[*next].p, numbers->v[*next].n);
		(*next)++;
	}
	for (cJSON *child = v->child; child; child = child->next)
		keep_numbers(child, numbers, next);
}

int json_parse(const void *p, size_t n, const struct json_limits *lim,
	       struct json **ret, struct error **errp)
{
	cleanup_json_numbers struct json_numbers numbers = {0};
	const char *text = n ? p : ""; /* NULL is fine for no bytes */
	size_t kept = 0;
	cJSON *root;
	int r = json_check(text, n, lim, &numbers, errp);

	if (r < 0)
		return r;
	root = cJSON_ParseWithLengthOpts(text, n, NULL, false);
	if (!root)
		return error_set_errno(errp, ENOMEM, "reading JSON");
	keep_numbers(root, &numbers, &kept);
	assert(kept == numbers.n);
	*ret = (struct json *)root;
	return 0;
}

void json_free(struct json *root)
{
	cJSON_Delete((cJSON *)root);
}

static const cJSON *item(const struct json *v)
{
	return (const cJSON *)v;
}

enum json_type json_type(const struct json *v)
{
	if (!v)
		return JSON_NULL;
	switch (item(v)->type & 0xff) {
	case cJSON_False:
	case cJSON_True:
		return JSON_BOOL;
	case cJSON_Number:
		return JSON_NUMBER;
	case cJSON_String:
		return JSON_STRING;
	case cJSON_Array:
		return JSON_ARRAY;
	case cJSON_Object:
		return JSON_OBJECT;
	default:
		return JSON_NULL;
	}
}

static bool is_container(const struct json *v)
{
	return v && (cJSON_IsObject(item(v)) || cJSON_IsArray(item(v)));
}

const struct json *json_get(const struct json *obj, const char *key)
{
	if (!obj || !cJSON_IsObject(item(obj)))
		return NULL;
	return (const struct json *)cJSON_GetObjectItemCaseSensitive(item(obj),
								     key);
}

const struct json *json_first(const struct json *container)
{
	if (!is_container(container))
		return NULL;
	return (const struct json *)item(container)->child;
}

const struct json *json_next(const struct json *elem)
{
	return (const struct json *)item(elem)->next;
}

const char *json_key(const struct json *member)
{
	return item(member)->string;
}

size_t json_count(const struct json *container)
{
	size_t n = 0;

	for (const struct json *v = json_first(container); v; v = json_next(v))
		n++;
	return n;
}

const char *json_str(const struct json *v)
{
	return v && cJSON_IsString(item(v)) ? item(v)->valuestring : NULL;
}

bool json_bool(const struct json *v, bool dflt)
{
	return v && cJSON_IsBool(item(v)) ? cJSON_IsTrue(item(v)) : dflt;
}

int json_int(const struct json *v, int64_t *ret)
{
	const char *text;
	long long value;
	char *end;

	if (!v || !cJSON_IsNumber(item(v)))
		return -EINVAL;
	text = item(v)->valuestring;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || *end)
		return -EINVAL;
	*ret = value;
	return 0;
}

const char *json_number_text(const struct json *v)
{
	return v && cJSON_IsNumber(item(v)) ? item(v)->valuestring : NULL;
}

static int need(const struct json *obj, const char *key,
		const struct json **ret, struct error **errp)
{
	*ret = json_get(obj, key);
	if (!*ret)
		return error_set(errp, EINVAL, "'%s' is missing", key);
	return 0;
}

int json_need_str(const struct json *obj, const char *key, const char **ret,
		  struct error **errp)
{
	const struct json *v;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (!json_str(v))
		return error_set(errp, EINVAL, "'%s' is not a string", key);
	*ret = json_str(v);
	return 0;
}

int json_need_size(const struct json *obj, const char *key, uint64_t *ret,
		   struct error **errp)
{
	const struct json *v;
	int64_t size;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (json_int(v, &size) < 0 || size < 0)
		return error_set(errp, EINVAL,
				 "'%s' is not an integer from 0 to 2^63-1",
				 key);
	*ret = (uint64_t)size;
	return 0;
}

int json_need_array(const struct json *obj, const char *key,
		    const struct json **ret, struct error **errp)
{
	const struct json *v;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (json_type(v) != JSON_ARRAY)
		return error_set(errp, EINVAL, "'%s' is not an array", key);
	*ret = v;
	return 0;
}

int json_need_object(const struct json *obj, const char *key,
		     const struct json **ret, struct error **errp)
{
	const struct json *v;
	int r = need(obj, key, &v, errp);

	if (r < 0)
		return r;
	if (json_type(v) != JSON_OBJECT)
		return error_set(errp, EINVAL, "'%s' is not an object", key);
	*ret = v;
	return 0;
}

void json_wipe(const struct json *v)
{
	char *s = (char *)json_str(v);

	if (s)
		explicit_bzero(s, strlen(s));
	for (v = json_first(v); v; v = json_next(v))
		json_wipe(v);
}

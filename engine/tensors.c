#include "engine/tensors.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"

#define GGUF_KEYS_MAX      65536u
#define GGUF_DIMS_MAX      8u
#define GGUF_DEPTH_MAX     4 /* of arrays in arrays */
#define GGUF_ALIGNMENT     32u
#define GGUF_ALIGNMENT_MAX (1u << 20)

static const struct json_limits SAFETENSORS_LIMITS = {
	.max_bytes = TENSORS_HEAD_MAX,
	.max_values = JSON_MAX_VALUES_BIG,
};

static bool ends_with(const char *s, size_t n, const char *suffix)
{
	size_t m = strlen(suffix);

	return n > m && !strncasecmp(s + n - m, suffix, m);
}

enum weights weights_of_name(const char *name, size_t n)
{
	if (ends_with(name, n, ".safetensors"))
		return WEIGHTS_SAFETENSORS;
	return ends_with(name, n, ".gguf") ? WEIGHTS_GGUF : WEIGHTS_NONE;
}

/*
 * The bytes that are there, and those that should be.
 */

struct head {
	const unsigned char *p;
	size_t n, at;
	uint64_t size;
	size_t need;
};

/* Are the next @len bytes there? */
static int want(struct head *h, uint64_t len, struct error **errp)
{
	if (len > h->size - h->at)
		return error_set(errp, EBADMSG,
				 "its header goes beyond its end");
	if (len > TENSORS_HEAD_MAX - h->at)
		return error_set(errp, EFBIG,
				 "its header is longer than %u MiB",
				 TENSORS_HEAD_MAX >> 20);
	if (len <= h->n - h->at)
		return 0;
	h->need = h->at + (size_t)len;
	return error_set(errp, EAGAIN, "its header is longer");
}

static int get(struct head *h, void *ret, size_t len, struct error **errp)
{
	int r = want(h, len, errp);

	if (r < 0)
		return r;
	memcpy(ret, h->p + h->at, len);
	h->at += len;
	return 0;
}

static int get_u32(struct head *h, uint32_t *ret, struct error **errp)
{
	int r = get(h, ret, sizeof(*ret), errp);

	*ret = le32toh(*ret);
	return r;
}

static int get_u64(struct head *h, uint64_t *ret, struct error **errp)
{
	int r = get(h, ret, sizeof(*ret), errp);

	*ret = le64toh(*ret);
	return r;
}

static int skip(struct head *h, uint64_t len, struct error **errp)
{
	int r = want(h, len, errp);

	if (r == 0)
		h->at += (size_t)len;
	return r;
}

/*
 * The table.
 */

static struct tensors *table_new(uint64_t n)
{
	struct tensors *t = malloc(sizeof(*t) + n * sizeof(t->v[0]));

	if (t)
		t->n = 0;
	return t;
}

/* Room was made for all that the header counts. */
static void table_fit(struct tensors **t)
{
	struct tensors *fit =
		realloc(*t, sizeof(*fit) + (*t)->n * sizeof(fit->v[0]));

	if (fit)
		*t = fit;
}

static int by_place(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to > y->to) - (x->to < y->to);
}

int64_t tensors_at(const struct tensors *t, uint64_t off)
{
	uint32_t lo = 0, hi = t->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->v[mid].to <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->n && t->v[lo].from <= off ? (int64_t)lo : -1;
}

/*
 * safetensors: the length of a JSON object in 8 bytes, the object, the data. A
 * member for each tensor says where in the data it begins and ends.
 */

static int read_offsets(const struct json *v, uint64_t data, uint64_t size,
			struct tensor *ret, struct error **errp)
{
	const struct json *pair, *first;
	int64_t from, to;

	if (json_need_array(v, "data_offsets", &pair, errp) < 0)
		return -EBADMSG;
	first = json_first(pair);
	if (json_count(pair) != 2 || json_int(first, &from) < 0 ||
	    json_int(json_next(first), &to) < 0 || from < 0 || to < from ||
	    (uint64_t)to > size - data)
		return error_set(errp, EBADMSG, "its tensor '%s' is nowhere",
				 json_key(v));
	*ret = (struct tensor){data + (uint64_t)from, data + (uint64_t)to};
	return 0;
}

static int read_object(const struct json *doc, uint64_t data, uint64_t size,
		       struct tensors *t, struct error **errp)
{
	for (const struct json *v = json_first(doc); v; v = json_next(v)) {
		struct tensor one;

		if (!strcmp(json_key(v), "__metadata__"))
			continue;
		int r = read_offsets(v, data, size, &one, errp);
		if (r < 0)
			return r;
		if (one.from < one.to)
			t->v[t->n++] = one;
	}
	qsort(t->v, t->n, sizeof(t->v[0]), by_place);
	for (uint32_t i = 1; i < t->n; i++)
		if (t->v[i].from < t->v[i - 1].to)
			return error_set(errp, EBADMSG,
					 "two of its tensors share bytes");
	return 0;
}

static int read_json(struct head *h, size_t len, struct tensors **ret,
		     struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	cleanup_free struct tensors *t = NULL;
	int r = json_parse(h->p + h->at, len, &SAFETENSORS_LIMITS, &doc, errp);

	if (r < 0)
		return r == -EINVAL ? -EBADMSG : r;
	if (json_type(doc) != JSON_OBJECT)
		return error_set(errp, EBADMSG, "its header is no object");
	if (json_count(doc) > TENSORS_MAX)
		return error_set(errp, EFBIG, "it has more than %u tensors",
				 TENSORS_MAX);
	t = table_new(json_count(doc));
	if (!t)
		return error_set_errno(errp, ENOMEM, "a table of tensors");
	r = read_object(doc, h->at + len, h->size, t, errp);
	if (r == 0)
		*ret = steal_ptr(&t);
	return r;
}

static int read_safetensors(struct head *h, struct tensors **ret,
			    struct error **errp)
{
	uint64_t len = 0;
	int r = get_u64(h, &len, errp);

	if (r == 0)
		r = want(h, len, errp);
	return r < 0 ? r : read_json(h, (size_t)len, ret, errp);
}

/*
 * GGUF: magic, version, two counts; keys with values; for each tensor its name,
 * shape, type and place in the data; the data, aligned.
 */

enum gguf_type { GGUF_U32 = 4, GGUF_STRING = 8, GGUF_ARRAY = 9 };

/* What a value of a type takes; 0: no such type, or none of one size. */
static unsigned size_of_type(uint32_t type)
{
	static const unsigned char sizes[] = {1, 1, 2, 2, 4, 4, 4,
					      1, 0, 0, 8, 8, 8};

	return type < sizeof(sizes) ? sizes[type] : 0;
}

static int skip_string(struct head *h, struct error **errp)
{
	uint64_t len = 0;
	int r = get_u64(h, &len, errp);

	return r < 0 ? r : skip(h, len, errp);
}

static int skip_value(struct head *h, uint32_t type, int depth,
		      struct error **errp);

static int skip_array(struct head *h, int depth, struct error **errp)
{
	uint32_t type = 0;
	uint64_t n = 0;
	int r = get_u32(h, &type, errp);

	if (r == 0)
		r = get_u64(h, &n, errp);
	if (r < 0)
		return r;
	if (depth >= GGUF_DEPTH_MAX)
		return error_set(errp, EBADMSG, "its arrays lie too deep");
	if (size_of_type(type)) {
		if (n > TENSORS_HEAD_MAX)
			return error_set(errp, EFBIG,
					 "an array of %" PRIu64 " values", n);
		return skip(h, n * size_of_type(type), errp);
	}
	while (r == 0 && n--) /* each takes bytes, or is an error */
		r = skip_value(h, type, depth + 1, errp);
	return r;
}

static int skip_value(struct head *h, uint32_t type, int depth,
		      struct error **errp)
{
	if (size_of_type(type))
		return skip(h, size_of_type(type), errp);
	if (type == GGUF_STRING)
		return skip_string(h, errp);
	if (type == GGUF_ARRAY)
		return skip_array(h, depth, errp);
	return error_set(errp, EBADMSG, "a value of unknown type %" PRIu32,
			 type);
}

/* A key and its value, of which one says something to us. */
static int read_key(struct head *h, uint32_t *alignment, struct error **errp)
{
	static const char name[] = "general.alignment";
	uint64_t len = 0;
	uint32_t type = 0;
	int r = get_u64(h, &len, errp);

	if (r == 0)
		r = want(h, len, errp);
	if (r < 0)
		return r;
	bool is_alignment = len == sizeof(name) - 1 &&
			    !memcmp(h->p + h->at, name, sizeof(name) - 1);
	h->at += (size_t)len;
	r = get_u32(h, &type, errp);
	if (r < 0)
		return r;
	if (!is_alignment || type != GGUF_U32)
		return skip_value(h, type, 0, errp);
	r = get_u32(h, alignment, errp);
	if (r == 0 && (!*alignment || *alignment > GGUF_ALIGNMENT_MAX ||
		       (*alignment & (*alignment - 1))))
		r = error_set(errp, EBADMSG, "its data is aligned to %" PRIu32,
			      *alignment);
	return r;
}

/* Its place in the data. */
static int read_info(struct head *h, struct tensor *ret, struct error **errp)
{
	uint32_t dims = 0;
	int r = skip_string(h, errp);

	*ret = (struct tensor){0}; /* to where: see place() */
	if (r == 0)
		r = get_u32(h, &dims, errp);
	if (r < 0)
		return r;
	if (dims > GGUF_DIMS_MAX)
		return error_set(errp, EBADMSG,
				 "a tensor of %" PRIu32 " dimensions", dims);
	r = skip(h, dims * sizeof(uint64_t) + sizeof(uint32_t), errp);
	return r < 0 ? r : get_u64(h, &ret->from, errp);
}

/* How long a tensor is depends on its type; that it ends where the next one
 * begins does not. */
static int place(const struct head *h, uint32_t alignment, struct tensors *t,
		 struct error **errp)
{
	uint64_t data = (h->at + alignment - 1) & ~(uint64_t)(alignment - 1);
	uint64_t end = h->size;
	uint32_t kept = t->n;

	qsort(t->v, t->n, sizeof(t->v[0]), by_place);
	for (uint32_t i = t->n; i-- > 0;) {
		struct tensor *one = &t->v[i];

		if (data > h->size || one->from > h->size - data)
			return error_set(errp, EBADMSG,
					 "a tensor lies beyond its end");
		one->from += data;
		one->to = end;
		end = one->from;
		if (one->from < one->to)
			t->v[--kept] = *one;
	}
	t->n -= kept;
	memmove(t->v, t->v + kept, t->n * sizeof(t->v[0]));
	return 0;
}

static int read_counts(struct head *h, uint64_t *ret_tensors,
		       uint64_t *ret_keys, struct error **errp)
{
	uint32_t magic = 0, version = 0;
	int r = get_u32(h, &magic, errp);

	if (r == 0)
		r = get_u32(h, &version, errp);
	if (r == 0)
		r = get_u64(h, ret_tensors, errp);
	if (r == 0)
		r = get_u64(h, ret_keys, errp);
	if (r < 0)
		return r;
	if (magic != 0x46554747 || version < 2 || version > 3)
		return error_set(errp, EBADMSG, "it is no GGUF 2 or 3");
	if (*ret_tensors > TENSORS_MAX || *ret_keys > GGUF_KEYS_MAX)
		return error_set(errp, EFBIG,
				 "it has %" PRIu64 " tensors, %" PRIu64 " keys",
				 *ret_tensors, *ret_keys);
	return 0;
}

static int read_gguf(struct head *h, struct tensors **ret, struct error **errp)
{
	cleanup_free struct tensors *t = NULL;
	uint32_t alignment = GGUF_ALIGNMENT;
	uint64_t n = 0, keys = 0;
	int r = read_counts(h, &n, &keys, errp);

	if (r < 0)
		return r;
	t = table_new(n);
	if (!t)
		return error_set_errno(errp, ENOMEM, "a table of tensors");
	while (r == 0 && keys--)
		r = read_key(h, &alignment, errp);
	while (r == 0 && t->n < n)
		r = read_info(h, &t->v[t->n++], errp);
	if (r == 0)
		r = place(h, alignment, t, errp);
	if (r == 0)
		*ret = steal_ptr(&t);
	/* Nothing says how long it is: twice as much, so that few rounds do. */
	if (r == -EAGAIN)
		h->need = MAX(h->need,
			      (size_t)MIN(MIN(h->size, 2 * (uint64_t)h->n),
					  (uint64_t)TENSORS_HEAD_MAX));
	return r;
}

int tensors_parse(enum weights format, const void *p, size_t n, uint64_t size,
		  struct tensors **ret, size_t *ret_need, struct error **errp)
{
	struct head h = {
		.p = p,
		.n = MIN(n, (size_t)TENSORS_HEAD_MAX),
		.size = size,
	};
	int r = format == WEIGHTS_GGUF ? read_gguf(&h, ret, errp)
				       : read_safetensors(&h, ret, errp);

	if (r == 0)
		table_fit(ret);
	if (r == -EAGAIN)
		*ret_need = h.need;
	return r;
}

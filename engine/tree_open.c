#include "engine/tree.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/tree_format.h"

static bool all_zero(const uint8_t *p, uint64_t n)
{
	uint8_t seen = 0;

	for (uint64_t i = 0; i < n; i++)
		seen |= p[i];
	return !seen;
}

/* Where one section lies: right behind the one before, zero padded. */
static int section_check(const struct tree *t,
			 const struct tree_disk_section *s, uint64_t *end,
			 struct error **errp)
{
	uint64_t off = le64toh(s->offset), len = le64toh(s->length);
	uint32_t type = le32toh(s->type);

	if (s->zero || off != *end)
		return error_set(errp, EBADMSG,
				 "tree: section %u is out of place", type);
	if (len > t->len - off || tree_align(len) > t->len - off)
		return error_set(errp, EBADMSG,
				 "tree: section %u passes the end", type);
	if (!all_zero(t->p + off + len, tree_align(len) - len))
		return error_set(errp, EBADMSG,
				 "tree: section %u is not padded with zeros",
				 type);
	*end = off + tree_align(len);
	return 0;
}

/* The record count of a section, when it is whole and within @max. */
static int section_count(const struct tree_disk_section *s, size_t record,
			 uint64_t max, uint64_t *ret, struct error **errp)
{
	uint64_t len = le64toh(s->length);

	if (len % record || len / record > max)
		return error_set(errp, EBADMSG,
				 "tree: section %u has an impossible length",
				 le32toh(s->type));
	*ret = len / record;
	return 0;
}

/* Who opens many sources keeps their lists: shared ones would be there for each
 * of them. */
static int lists_check(const struct tree *t, struct error **errp)
{
	uint64_t left = t->n_chunks;

	for (uint32_t i = 0; i < t->n_sources; i++) {
		uint64_t n = tree_chunks_of(le64toh(t->sources[i].size));

		if (t->sources[i].kind == TREE_SOURCE_PART)
			continue;
		if (n > left)
			return error_set(errp, EBADMSG,
					 "tree: sources share chunk lists");
		left -= n;
	}
	return 0;
}

static int sections_use(struct tree *t, const struct tree_disk_section *s,
			struct error **errp)
{
	uint64_t nodes = 0, sources = 0;
	int r;

	r = section_count(&s[0], sizeof(*t->nodes), TREE_NONE - 1, &nodes,
			  errp);
	if (r < 0)
		return r;
	r = section_count(&s[1], 1, UINT32_MAX, &t->names_len, errp);
	if (r < 0)
		return r;
	r = section_count(&s[2], sizeof(*t->sources), TREE_NONE - 1, &sources,
			  errp);
	if (r < 0)
		return r;
	r = section_count(&s[3], sizeof(*t->chunks), UINT64_MAX, &t->n_chunks,
			  errp);
	if (r < 0)
		return r;
	if (!nodes)
		return error_set(errp, EBADMSG, "tree: there is no root");
	t->n_nodes = (uint32_t)nodes;
	t->n_sources = (uint32_t)sources;
	t->nodes = (const void *)(t->p + le64toh(s[0].offset));
	t->names = (const void *)(t->p + le64toh(s[1].offset));
	t->sources = (const void *)(t->p + le64toh(s[2].offset));
	t->chunks = (const void *)(t->p + le64toh(s[3].offset));
	return lists_check(t, errp);
}

/*
 * The four known sections come first, in order of type; any others follow it,
 * rising, and only in a tree that announces a compatible feature.
 */
static int sections_check(struct tree *t, uint32_t n, struct error **errp)
{
	const struct tree_disk_section *s =
		(const void *)(t->p + sizeof(struct tree_disk_header));
	uint64_t end = sizeof(struct tree_disk_header) + n * sizeof(*s);
	uint32_t last = 0;
	int r;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t type = le32toh(s[i].type);

		if (i < TREE_SECTIONS ? type != i + 1 : type <= last)
			return error_set(errp, EBADMSG,
					 "tree: section %u has no place here",
					 type);
		last = type;
		r = section_check(t, &s[i], &end, errp);
		if (r < 0)
			return r;
	}
	if (end != t->len)
		return error_set(errp, EBADMSG,
				 "tree: bytes follow the last section");
	return sections_use(t, s, errp);
}

static int tree_check(struct tree *t, struct error **errp)
{
	const struct tree_disk_header *h = (const void *)t->p;
	uint32_t n;

	if (t->len < sizeof(*h) || memcmp(h->magic, TREE_MAGIC, 8) != 0)
		return error_set(errp, EBADMSG, "this is not a tree");
	if (le32toh(h->version) != TREE_VERSION)
		return error_set_kind(errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
				      "tree: version %u is not known here",
				      le32toh(h->version));
	if (h->incompatible)
		return error_set_kind(
			errp, ERROR_MEDIA_TYPE, EPROTONOSUPPORT,
			"tree: features %#llx are not known here",
			(unsigned long long)le64toh(h->incompatible));
	if (le32toh(h->node_size) != sizeof(struct tree_disk_node) || h->zero)
		return error_set(errp, EBADMSG, "tree: the header is damaged");
	n = le32toh(h->n_sections);
	if (n < TREE_SECTIONS || n > TREE_MAX_SECTIONS ||
	    (n > TREE_SECTIONS && !h->compatible) ||
	    t->len < sizeof(*h) + n * sizeof(struct tree_disk_section))
		return error_set(errp, EBADMSG,
				 "tree: the section table is damaged");
	return sections_check(t, n, errp);
}

int tree_open_mem(const void *p, size_t n, struct tree **ret,
		  struct error **errp)
{
	cleanup_tree struct tree *t = xcalloc(1, sizeof(*t));
	int r;

	if ((uintptr_t)p % 8)
		return error_set(errp, EINVAL, "tree: memory is not aligned");
	t->p = p;
	t->len = n;
	t->n_layers = UINT16_MAX + 1;
	r = tree_check(t, errp);
	if (r < 0)
		return r;
	*ret = steal_ptr(&t);
	return 0;
}

int tree_open_fd(int fd, uint64_t size, struct tree **ret, struct error **errp)
{
	struct stat st;
	void *map;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set_errno(errp, errno, "tree: cannot stat");
	/* Touching a mapping beyond the file's end would be SIGBUS. */
	if (st.st_size < 0 || (uint64_t)st.st_size < size || size > SIZE_MAX)
		return error_set(errp, EBADMSG, "tree: the file is too short");
	if (!size)
		return error_set(errp, EBADMSG, "this is not a tree");
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return error_set_errno(errp, errno, "tree: cannot map");
	r = tree_open_mem(map, size, ret, errp);
	if (r < 0) {
		munmap(map, size);
		return r;
	}
	(*ret)->map = map;
	return 0;
}

void tree_limit_layers(struct tree *t, uint32_t n)
{
	t->n_layers = n;
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	if (t->map)
		munmap(t->map, t->len);
	free(t);
}

#include "engine/layout_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "engine/archive_io.h"
#include "engine/tar_format.h"
#include "storage/layout_folder.h"

#define INDEX     "index.json"
#define INDEX_MAX (4u << 20)
#define BLOBS     LAYOUT_BLOBS "/"

enum member { MEMBER_DIR, MEMBER_VERSION, MEMBER_INDEX, MEMBER_BLOB };

struct unpacker {
	struct archive_in *in;
	int dirfd;
	bool has_version, has_index;
	struct import_result *out;
	const struct op *op;
};

static int bad(struct error **errp, const char *what)
{
	return error_set(errp, EINVAL, "archive: %s", what);
}

/* Exactly @n bytes. */
static int read_full(struct unpacker *u, void *buf, size_t n,
		     struct error **errp)
{
	for (size_t got = 0; got < n;) {
		int k = archive_in_read(u->in, (char *)buf + got, n - got,
					errp);

		if (k < 0)
			return k;
		if (k == 0)
			return bad(errp, "it ends too early");
		got += (size_t)k;
	}
	return 0;
}

/*
 * Headers.
 */

/* Digits, perhaps behind blanks, up to a blank, a NUL or the field's end. */
static bool get_octal(const char *field, size_t n, uint64_t *ret)
{
	size_t i = 0, first;
	uint64_t v = 0;

	while (i < n && field[i] == ' ')
		i++;
	for (first = i; i < n && field[i] >= '0' && field[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(field[i] - '0');
	*ret = v;
	return i > first && (i == n || field[i] == ' ' || field[i] == '\0');
}

/* As if its own field were blanks. */
static bool checksum_holds(const struct tar_block *b)
{
	const unsigned char *p = (const unsigned char *)b;
	uint64_t want, sum = sizeof(b->checksum) * ' ';

	for (size_t i = 0; i < sizeof(*b); i++)
		if (i < offsetof(struct tar_block, checksum) ||
		    i >= offsetof(struct tar_block, type))
			sum += p[i];
	return get_octal(b->checksum, sizeof(b->checksum), &want) &&
	       sum == want;
}

/* Without "./" and the slash of a folder. */
static void take_name(const struct tar_block *b, char *ret)
{
	size_t n = strnlen(b->name, sizeof(b->name)), skip = 0;

	if (n >= 2 && memcmp(b->name, "./", 2) == 0)
		skip = 2;
	memcpy(ret, b->name + skip, n - skip);
	n -= skip;
	while (n && ret[n - 1] == '/')
		n--;
	ret[n] = '\0';
}

static bool is_dir_of_layout(const char *name)
{
	return !*name || !strcmp(name, ".") || !strcmp(name, "blobs") ||
	       !strcmp(name, LAYOUT_BLOBS);
}

static int classify(const struct tar_block *b, const char *name,
		    enum member *ret, struct digest *ret_digest,
		    struct error **errp)
{
	/* What stands behind the magic word is a name's beginning alone in
	 * USTAR; a name of ours needs none. */
	bool ustar = memcmp(b->magic, "ustar\0", 6) == 0;
	bool file = b->type == TAR_TYPE_FILE || b->type == '\0';

	*ret = MEMBER_DIR;
	if (ustar && b->prefix[0])
		return bad(errp, "a name that no image layout has");
	if (b->type == TAR_TYPE_DIR && is_dir_of_layout(name))
		return 0;
	if (file && !strcmp(name, LAYOUT_VERSION_FILE))
		*ret = MEMBER_VERSION;
	else if (file && !strcmp(name, INDEX))
		*ret = MEMBER_INDEX;
	else if (file && !strncmp(name, BLOBS, strlen(BLOBS)) &&
		 digest_parse_hex(name + strlen(BLOBS),
				  strlen(name + strlen(BLOBS)), ret_digest,
				  NULL) == 0)
		*ret = MEMBER_BLOB;
	else
		return error_set(errp, EINVAL,
				 "archive: '%s' does not belong into an image "
				 "layout",
				 name);
	return 0;
}

/*
 * Content.
 */

static int copy_content(struct unpacker *u, int fd, uint64_t size,
			struct digest *ret, struct error **errp)
{
	cleanup_hasher struct hasher *h = hasher_new();
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	char padding[TAR_BLOCK];

	for (uint64_t left = size; left;) {
		size_t n = MIN(left, CHUNK_SIZE);
		int r = read_full(u, buf, n, errp);

		if (r == 0)
			r = op_go_on(u->op, errp);
		if (r < 0)
			return r;
		hasher_update(h, buf, n);
		r = io_write_full(fd, buf, n);
		if (r < 0)
			return error_set_errno(errp, -r, "writing");
		left -= n;
	}
	*ret = hasher_final(h);
	return read_full(u, padding, tar_padding(size), errp);
}

static int unpack_file(struct unpacker *u, const char *name, uint64_t size,
		       struct digest *ret, struct error **errp)
{
	cleanup_fd int fd = io_open_beneath(
		u->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	int r;

	if (fd == -EEXIST)
		return error_set(errp, EINVAL, "archive: '%s' is there twice",
				 name);
	if (fd < 0)
		return error_set_errno(errp, -fd, "creating '%s'", name);
	r = copy_content(u, fd, size, ret, errp);
	if (r == 0 && fchmod(fd, 0644) < 0)
		r = error_set_errno(errp, errno, "mode");
	return error_prefix(errp, r, "'%s'", name);
}

static int unpack_blob(struct unpacker *u, const char *name, uint64_t size,
		       const struct digest *want, struct error **errp)
{
	struct digest got;
	int r = unpack_file(u, name, size, &got, errp);

	if (r < 0)
		return r;
	if (!digest_equal(&got, want))
		return error_set(errp, EBADMSG,
				 "archive: '%s' has other bytes than its name "
				 "says",
				 name);
	u->out->files++;
	u->out->bytes += size;
	return 0;
}

static int unpack_entry(struct unpacker *u, const struct tar_block *b,
			bool *ret_sure, struct error **errp)
{
	char name[sizeof(b->name) + 1];
	struct digest digest;
	enum member what;
	uint64_t size;
	int r;

	if (!checksum_holds(b) || memcmp(b->magic, "ustar", 5) != 0)
		return bad(errp, "a header that is none");
	take_name(b, name);
	r = classify(b, name, &what, &digest, errp);
	if (r < 0 || what == MEMBER_DIR)
		return r;
	*ret_sure = true;
	u->has_version |= what == MEMBER_VERSION;
	u->has_index |= what == MEMBER_INDEX;
	if (!get_octal(b->size, sizeof(b->size), &size))
		return error_set(errp, EINVAL,
				 "archive: '%s' has a size that cannot be",
				 name);
	if (what == MEMBER_BLOB)
		return unpack_blob(u, name, size, &digest, errp);
	if (size > INDEX_MAX)
		return error_set(errp, EINVAL, "archive: '%s' is too large",
				 name);
	return unpack_file(u, name, size, &digest, errp);
}

static bool all_zero(const struct tar_block *b)
{
	static const struct tar_block zero;

	return memcmp(b, &zero, sizeof(zero)) == 0;
}

/* Writers end with two empty blocks and fill up with as many as they like. */
static int unpack_entries(struct unpacker *u, bool *ret_sure,
			  struct error **errp)
{
	struct tar_block b;
	int r;

	for (;;) {
		r = read_full(u, &b, sizeof(b), errp);
		if (r < 0)
			return r;
		if (all_zero(&b))
			break;
		r = unpack_entry(u, &b, ret_sure, errp);
		if (r < 0)
			return r;
	}
	if (!u->has_version || !u->has_index)
		return bad(errp, "an image layout has both " LAYOUT_VERSION_FILE
				 " and " INDEX);
	if (syncfs(u->dirfd) < 0)
		return error_set_errno(errp, errno, "flushing");
	return 0;
}

int layout_unpack(const char *file, int dirfd, struct import_result *ret,
		  bool *ret_sure, const struct op *op, struct error **errp)
{
	struct import_result out = {.is_layout = true};
	struct unpacker u = {.dirfd = dirfd, .out = &out, .op = op};
	int r;

	*ret_sure = false;
	r = io_mkdirs_beneath(dirfd, LAYOUT_BLOBS, 0755);
	if (r < 0)
		return error_set_errno(errp, -r, "creating '" LAYOUT_BLOBS "'");
	r = archive_in_open(file, &u.in, errp);
	if (r < 0)
		return r;
	r = unpack_entries(&u, ret_sure, errp);
	archive_in_free(u.in);
	if (r == 0)
		*ret = out;
	return r;
}

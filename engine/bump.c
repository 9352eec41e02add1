#include "engine/bump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "engine/bundle_file.h"
#include "engine/yaml_events.h"

#define NUMBERS 3

/* A number as semantic versions write it; what follows it, or NULL. */
static const char *read_number(const char *s, uint64_t *ret)
{
	const char *p = s;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (v > UINT32_MAX)
			return NULL;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	if (p == s || (*s == '0' && p > s + 1))
		return NULL;
	*ret = v;
	return p;
}

static bool read_version(const char *s, uint64_t ret[NUMBERS])
{
	for (int i = 0; i < NUMBERS; i++) {
		s = read_number(s, &ret[i]);
		if (!s || *s != (i < NUMBERS - 1 ? '.' : '\0'))
			return false;
		s++;
	}
	return true;
}

int version_bump(const char *version, const char *part, char **ret,
		 struct error **errp)
{
	static const char *const parts[NUMBERS] = {"major", "minor", "patch"};
	uint64_t v[NUMBERS];
	int at = 0;

	while (at < NUMBERS && strcmp(parts[at], part) != 0)
		at++;
	if (at == NUMBERS)
		return error_hint(errp,
				  error_set(errp, EINVAL,
					    "a version has no part '%s'", part),
				  "it is major, minor or patch");
	if (!read_version(version, v))
		return error_hint(
			errp,
			error_set(errp, EINVAL,
				  "version '%s' is not MAJOR.MINOR.PATCH",
				  version),
			"write the next one into the bundle file");
	v[at]++;
	while (++at < NUMBERS)
		v[at] = 0;
	*ret = xasprintf("%" PRIu64 ".%" PRIu64 ".%" PRIu64, v[0], v[1], v[2]);
	return 0;
}

/*
 * The file.
 */

/* The byte at @line and @col; a column is a character, not a byte. */
static size_t offset_of(const char *buf, size_t n, unsigned line, unsigned col)
{
	size_t at = 0;

	for (; at < n && line > 1; at++)
		line -= buf[at] == '\n';
	for (; at < n && col > 1; col--)
		do
			at++;
		while (at < n && ((unsigned char)buf[at] & 0xc0) == 0x80);
	return at;
}

static int says(const char *buf, size_t n, const char *version,
		struct bundle_file *ret, struct error **errp)
{
	int r = bundle_file_parse(buf, n, BUNDLE_FILE_NAME, ret, errp);

	if (r < 0)
		return r;
	if (ret->version && !strcmp(ret->version, version))
		return 0;
	return error_set(errp, EINVAL, "%s does not say version '%s'",
			 BUNDLE_FILE_NAME, version);
}

int bundle_file_reversion(const char *buf, size_t n, const char *from,
			  const char *to, char **ret, size_t *ret_len,
			  struct error **errp)
{
	cleanup_bundle_file struct bundle_file was = {0}, is = {0};
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	size_t at, len = strlen(from);
	int r = says(buf, n, from, &was, errp);

	if (r < 0)
		return r;
	at = offset_of(buf, n, was.version_line, was.version_col);
	if (at < n && (buf[at] == '"' || buf[at] == '\''))
		at++;
	if (n - at < len || memcmp(buf + at, from, len) != 0)
		return error_set(errp, EINVAL,
				 "the version in %s is not written as it is",
				 BUNDLE_FILE_NAME);
	strbuf_add(&out, buf, at);
	strbuf_adds(&out, to);
	strbuf_add(&out, buf + at + len, n - at - len);
	r = says(out.buf, out.len, to, &is, errp);
	if (r < 0)
		return r;
	*ret_len = out.len;
	*ret = strbuf_steal(&out);
	return 0;
}

static int replace(int dirfd, const char *from, const char *to,
		   struct error **errp)
{
	cleanup_free char *buf = NULL, *next = NULL;
	struct stat st;
	size_t n = 0, next_len = 0;
	int r = io_read_file(dirfd, BUNDLE_FILE_NAME, YAML_MAX_BYTES, &buf, &n);

	if (r == 0 && fstatat(dirfd, BUNDLE_FILE_NAME, &st, 0) < 0)
		r = -errno;
	if (r < 0)
		return error_set_errno(errp, -r, "reading it");
	r = bundle_file_reversion(buf, n, from, to, &next, &next_len, errp);
	if (r < 0)
		return r;
	r = io_write_file_atomic(dirfd, BUNDLE_FILE_NAME, next, next_len,
				 st.st_mode & 07777);
	return r < 0 ? error_set_errno(errp, -r, "writing it") : 0;
}

int bundle_file_bump(const char *dir, const char *from, const char *to,
		     struct error **errp)
{
	cleanup_fd int dirfd = bundle_folder_open(dir, errp);
	int r = dirfd < 0 ? dirfd : replace(dirfd, from, to, errp);

	if (r < 0 && dirfd >= 0)
		error_prefix(errp, r, "version '%s' is pushed, but '%s/%s'", to,
			     dir, BUNDLE_FILE_NAME);
	return r;
}

#include "base/path.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "base/alloc.h"

/* Bytes of @s that are ASCII, counted from the start. */
static size_t ascii_prefix(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && !((unsigned char)s[i] & 0x80))
		i++;
	return i;
}

bool utf8_valid(const char *s, size_t n)
{
	for (size_t i = ascii_prefix(s, n); i < n;) {
		int32_t cp;
		ssize_t len = utf8proc_iterate((const uint8_t *)s + i,
					       (ssize_t)(n - i), &cp);

		if (len <= 0)
			return false;
		i += (size_t)len;
	}
	return true;
}

/* C1 controls are U+0080–U+009F: 0xc2 and one more byte in valid UTF-8. */
static bool has_control(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0)
			return true;
	}
	return false;
}

bool path_is_dotgit(const char *s, size_t n)
{
	return n == 4 && strncasecmp(s, ".git", 4) == 0;
}

bool path_reserved_at_top(const char *s, size_t n)
{
	return n >= 5 && memcmp(s, ".mops", 5) == 0;
}

const char *path_component_flaw(const char *s, size_t n)
{
	if (!n)
		return "a name is empty";
	if (n > PATH_COMPONENT_MAX)
		return "a name is longer than 255 bytes";
	if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
		return "a name is '.' or '..'";
	if (memchr(s, '/', n))
		return "a name has a slash in it";
	if (memchr(s, '\\', n))
		return "a name has a backslash in it";
	if (!utf8_valid(s, n))
		return "a name is not UTF-8";
	if (has_control(s, n))
		return "a name has a control character in it";
	if (path_is_dotgit(s, n))
		return "'.git' cannot be part of a bundle";
	return NULL;
}

/* The components of @s, which may already be @depth deep. */
static const char *components_flaw(const char *s, size_t n, unsigned depth)
{
	for (;;) {
		const char *slash = memchr(s, '/', n);
		size_t len = slash ? (size_t)(slash - s) : n;
		const char *flaw = path_component_flaw(s, len);

		if (flaw)
			return flaw;
		if (++depth > PATH_DEPTH_MAX)
			return "deeper than 64 names";
		if (!slash)
			return NULL;
		s += len + 1;
		n -= len + 1;
	}
}

const char *path_flaw(const char *s, size_t n)
{
	if (!n)
		return "the path is empty";
	if (n > PATH_BYTES_MAX)
		return "longer than 2,048 bytes";
	if (s[0] == '/')
		return "the path is absolute";
	if (path_reserved_at_top(s, n))
		return "names that begin with '.mops' are reserved at the top";
	return components_flaw(s, n, 0);
}

const char *link_target_flaw(const char *s, size_t n, unsigned depth)
{
	if (!n)
		return "the target is empty";
	if (n > LINK_TARGET_MAX)
		return "the target is longer than 1,024 bytes";
	if (s[0] == '/')
		return "the target is absolute";
	while (n >= 2 && s[0] == '.' && s[1] == '.' &&
	       (n == 2 || s[2] == '/')) {
		if (!depth)
			return "the target is outside the bundle";
		depth--;
		if (n == 2)
			return NULL;
		s += 3;
		n -= 3;
	}
	return components_flaw(s, n, depth);
}

static int normalize(const char *s, size_t n, int extra, char **ret,
		     struct error **errp)
{
	utf8proc_uint8_t *out = NULL;
	utf8proc_ssize_t len;

	if (memchr(s, '\0', n))
		return error_set(errp, EINVAL, "a NUL in a name");
	len = utf8proc_map((const uint8_t *)s, (ssize_t)n, &out,
			   (utf8proc_option_t)(UTF8PROC_STABLE |
					       UTF8PROC_COMPOSE | extra));
	if (len >= 0) {
		*ret = (char *)out;
		return 0;
	}
	switch (len) {
	case UTF8PROC_ERROR_INVALIDUTF8:
		return error_set(errp, EINVAL, "not UTF-8");
	case UTF8PROC_ERROR_NOTASSIGNED:
		return error_set(errp, EINVAL,
				 "a code point that Unicode %s does not assign",
				 utf8proc_unicode_version());
	default:
		return error_set(errp, ENOMEM, "%s", utf8proc_errmsg(len));
	}
}

int path_to_nfc(const char *s, size_t n, char **ret, struct error **errp)
{
	if (ascii_prefix(s, n) == n && !memchr(s, '\0', n)) {
		*ret = xstrndup(s, n);
		return 0;
	}
	return normalize(s, n, UTF8PROC_REJECTNA, ret, errp);
}

int path_casefold(const char *s, size_t n, char **ret, struct error **errp)
{
	return normalize(s, n, UTF8PROC_CASEFOLD, ret, errp);
}

bool layer_name_valid(const char *s)
{
	size_t n = strnlen(s, 64);

	if (n < 1 || n > 63 || strchr("._-", s[0]))
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct strbuf *out, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (; n; b += MIN(n, (size_t)3), n -= MIN(n, (size_t)3)) {
		uint32_t v = (uint32_t)b[0] << 16 |
			     (n > 1 ? (uint32_t)b[1] << 8 : 0) |
			     (n > 2 ? b[2] : 0);
		char quad[4] = {
			alphabet[v >> 18],
			alphabet[v >> 12 & 63],
			n > 1 ? alphabet[v >> 6 & 63] : '=',
			n > 2 ? alphabet[v & 63] : '=',
		};

		strbuf_add(out, quad, sizeof(quad));
	}
}

/* 0–63, or -1. */
static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The @n (1–3) bytes of one group; false when it is malformed. */
static bool decode_quad(const char *s, size_t n, unsigned char *out)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int x = i <= n ? sextet(s[i]) : s[i] == '=' ? 0 : -1;

		if (x < 0)
			return false;
		v = v << 6 | (uint32_t)x;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)(v >> (16 - 8 * i));
	/* What is left over must be zero, or two texts would mean the same. */
	return !(v & (0xffffffu >> 8 * n));
}

int base64_decode(const char *s, size_t n, size_t max, void **ret,
		  size_t *ret_len)
{
	cleanup_free unsigned char *buf = NULL;
	size_t pad = 0, len;

	if (n % 4)
		return -EINVAL;
	if (n)
		pad = s[n - 1] != '=' ? 0 : s[n - 2] != '=' ? 1 : 2;
	len = n / 4 * 3 - pad;
	if (len > max)
		return -EFBIG;
	buf = try_realloc(NULL, len + 1, 1);
	if (!buf)
		return -ENOMEM;
	for (size_t at = 0; at < len; at += 3, s += 4)
		if (!decode_quad(s, MIN(len - at, (size_t)3), buf + at))
			return -EINVAL;
	buf[len] = '\0';
	*ret = steal_ptr(&buf);
	*ret_len = len;
	return 0;
}

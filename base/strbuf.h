/*
 * A growing byte string that is always NUL-terminated. Aborts when memory is
 * out: callers bound what they append.
 */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stddef.h>
#include <stdint.h>

struct strbuf {
	char *buf; /* NULL while empty and unallocated; see strbuf_str() */
	size_t len;
	size_t cap;
};

#define STRBUF_INIT \
	{           \
		0   \
	}

void strbuf_release(struct strbuf *sb);
#define cleanup_strbuf __attribute__((cleanup(strbuf_release)))

/* The string, "" while empty; valid until the next change. */
const char *strbuf_str(const struct strbuf *sb);
/* The string on the heap; leaves @sb empty. */
char *strbuf_steal(struct strbuf *sb);
void strbuf_reset(struct strbuf *sb);
void strbuf_truncate(struct strbuf *sb, size_t len);
void strbuf_add(struct strbuf *sb, const void *p, size_t n);
void strbuf_addc(struct strbuf *sb, char c);
void strbuf_adds(struct strbuf *sb, const char *s);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* "999 B", "1.2 kB", "34.5 MB": powers of 1,000, for people. */
void strbuf_add_size(struct strbuf *sb, uint64_t bytes);

#endif

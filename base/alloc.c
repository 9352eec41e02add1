#include "base/alloc.h"

#include <stdint.h>
#include <string.h>

static void *or_abort(void *p)
{
	static const char said[] = "out of memory\n";

	if (!p) {
		/* Nothing that allocates may be called any more. */
		if (write(STDERR_FILENO, said, sizeof(said) - 1) < 0)
			abort();
		abort();
	}
	return p;
}

void *xmalloc(size_t size)
{
	return or_abort(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return or_abort(n && size ? calloc(n, size) : calloc(1, 1));
}

void *try_realloc(void *p, size_t n, size_t size)
{
	/* realloc(p, 0) frees; a pointer that can be freed is wanted here. */
	if (!n || !size)
		n = size = 1;
	return reallocarray(p, n, size);
}

void *xrealloc(void *p, size_t n, size_t size)
{
	return or_abort(try_realloc(p, n, size));
}

char *xstrdup(const char *s)
{
	return or_abort(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return or_abort(strndup(s, n));
}

void *xmemdup(const void *p, size_t n)
{
	void *copy = xmalloc(n);

	if (n)
		memcpy(copy, p, n);
	return copy;
}

/* vasprintf() grows its buffer and leaves what it had, secrets too, behind. */
char *xvasprintf(const char *fmt, va_list ap)
{
	va_list again;
	char *s;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	s = or_abort(n < 0 ? NULL : malloc((size_t)n + 1));
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	return s;
}

void strv_free(char **v)
{
	if (!v)
		return;
	for (char **p = v; *p; p++)
		free(*p);
	free(v);
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

void strv_append(char ***v, char *take_s)
{
	size_t n = strv_len(*v);

	*v = xrealloc(*v, n + 2, sizeof(**v));
	(*v)[n] = take_s;
	(*v)[n + 1] = NULL;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(char **v)
{
	if (v)
		qsort(v, strv_len(v), sizeof(*v), compare);
}

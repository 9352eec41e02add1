/*
 * Memory and descriptors: allocation that gives up, and cleanup attributes.
 *
 * x*() abort when memory is out: for small sizes that our own code chose. A
 * size that came from a manifest, a header or the network is checked against a
 * limit and then allocated with malloc() or try_realloc(), whose failure is
 * -ENOMEM.
 *
 * A cleanup variable is initialised where it is declared. A function uses
 * either cleanup attributes or goto, never both.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <dirent.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
/* reallocarray() that aborts, on overflow too. */
void *xrealloc(void *p, size_t n, size_t size);
/* reallocarray(), NULL on overflow too; of no elements it is still freeable. */
void *try_realloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap)
	__attribute__((format(printf, 1, 0)));

static inline void freep(void *p)
{
	void **pp = (void **)p;

	free(*pp);
	*pp = NULL;
}
#define cleanup_free __attribute__((cleanup(freep)))

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
#define cleanup_fd __attribute__((cleanup(closep)))

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
	*f = NULL;
}
#define cleanup_file __attribute__((cleanup(fclosep)))

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
	*d = NULL;
}
#define cleanup_dir __attribute__((cleanup(closedirp)))

/* A NULL-ended list of strings, each on the heap. */
void strv_free(char **v);
size_t strv_len(char *const *v);
/* Append @take_s (heap) to *@v, which may be NULL. */
void strv_append(char ***v, char *take_s);
/* By bytes; NULL is fine. */
void strv_sort(char **v);
static inline void strv_freep(char ***v)
{
	strv_free(*v);
	*v = NULL;
}
#define cleanup_strv __attribute__((cleanup(strv_freep)))

/* The pointer's value; leaves the variable NULL. */
#define steal_ptr(pp)                                   \
	({                                              \
		__typeof__(pp) steal_pp_ = (pp);        \
		__typeof__(*(pp)) stolen_ = *steal_pp_; \
		*steal_pp_ = NULL;                      \
		stolen_;                                \
	})

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

/* Make room for one more element of a growing array. */
#define ARRAY_GROW(ptr, n, cap)                                            \
	do {                                                               \
		if ((n) == (cap)) {                                        \
			(cap) = (cap) ? (cap)*2 : 16;                      \
			(ptr) = (__typeof__(ptr))xrealloc((ptr), (cap),    \
							  sizeof(*(ptr))); \
		}                                                          \
	} while (0)

#endif

#include "cached.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/pull.h"

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "cached: %s\n", what);
	abort();
}

void cached_open(struct cached *s)
{
	struct role_view *v;
	struct bundle *b;
	struct pull_result p;

	memset(s, 0, sizeof(*s));
	bundle_make(&s->m, NULL);
	v = bundle_view(&s->m, "default", &b);
	must(pull(v, NULL, true, 0, &p, NULL, NULL) == 0, "pull");
	role_view_close(v);
	bundle_close(b);
	must(session_cache(s->m.session, &s->f.c, NULL) == 0, "cache");
}

void cached_close(struct cached *s)
{
	verify_cache_release(&s->res);
	error_freep(&s->err);
	bundle_release(&s->m);
}

int cached_verify(struct cached *s, bool repair, struct registry *registry)
{
	const struct verify_cache_options o = {.repair = repair};

	verify_cache_release(&s->res);
	error_freep(&s->err);
	bundle_restart(&s->m);
	if (registry)
		session_override_registry(s->m.session, registry);
	must(session_cache(s->m.session, &s->f.c, NULL) == 0, "cache");
	return verify_cache(s->m.session, &o, &s->res, NULL, &s->err);
}

void cached_damage(struct cached *s, const struct digest *d, long at)
{
	cleanup_free char *path = blob_path(&s->f, d);

	flip_byte(path, at);
}

struct digest cached_stray(struct cached *s)
{
	struct digest d = digest_of_str("stray");
	cleanup_free char *path = blob_path(&s->f, &d);
	char *slash = strrchr(path, '/');

	*slash = '\0';
	must(io_mkdirs(path, 0755) == 0, "shard");
	*slash = '/';
	write_text(path, "other");
	return d;
}

void cached_source(struct cached *s, const char *path, struct source *ret)
{
	cleanup_free char *blob = NULL;
	cleanup_free char *p = NULL;
	size_t n;

	p = bundle_content(path, &n);
	source_init(ret, n, 0);
	memcpy(ret->data, p, n);
	source_rehash(ret);
	blob = blob_path(&s->f, &ret->spec.digest);
	must(unlink(blob) == 0, blob);
}

#include "engine/push_trace.h"

#include <errno.h>
#include <fcntl.h>

#include "base/io.h"
#include "engine/trace.h"
#include "engine/trace_referrer.h"

int push_trace_read(const char *path, char **ret, size_t *ret_len,
		    struct error **errp)
{
	cleanup_free char *text = NULL;
	size_t n = 0;
	int r = io_read_file(AT_FDCWD, path, TRACE_BYTES_MAX, &text, &n);

	if (r < 0)
		return error_kind(errp,
				  error_set_errno(errp, -r, "trace '%s'", path),
				  ERROR_VALIDATION);
	r = trace_check(text, n, errp);
	if (r < 0)
		return error_prefix(errp, r, "'%s'", path);
	*ret = steal_ptr(&text);
	*ret_len = n;
	return 0;
}

void push_trace_compare(const struct push_trace *t, const struct inventory *inv,
			char ***warnings)
{
	struct trace_reader reader;
	struct trace_record rec;
	uint64_t unknown = 0;

	if (trace_begin(&reader, t->text, t->len, NULL) < 0)
		return;
	while (trace_next(&reader, &rec, NULL) > 0) {
		cleanup_free char *path = xstrndup(rec.path, rec.path_len);

		unknown += !inventory_find(inv, path);
	}
	if (unknown)
		strv_append(warnings,
			    xasprintf("%llu lines of the trace name no file of "
				      "this bundle",
				      (unsigned long long)unknown));
}

int push_trace_attach(const struct push_trace *t, struct digest *ret,
		      const struct op *op, struct error **errp)
{
	struct descriptor subject = {
		.media_type = (char *)MEDIA_TYPE_MANIFEST,
		.digest = digest_of_buf(t->manifest->buf, t->manifest->len),
		.size = t->manifest->len,
	};
	int r = t->registry->ops->put_manifest(t->registry, t->repo, NULL,
					       MEDIA_TYPE_MANIFEST,
					       t->manifest->buf,
					       t->manifest->len, op, errp);

	return r < 0 ? r
		     : trace_attach(t->registry, t->repo, &subject, t->text,
				    t->len, ret, op, errp);
}

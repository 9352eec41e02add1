#include <assert.h>
#include <errno.h>

#include "base/io.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "engine/trim.h"

static int copy_out(struct run *run, struct bundle *b, struct role_view *v,
		    const struct tree_node *n, struct error **errp)
{
	cleanup_free char *buf = xmalloc(CHUNK_SIZE);
	struct fetch_source *src;
	struct fetcher *f;
	uint64_t off = 0;
	int r = session_fetcher(run->session, &f, errp);

	if (r == 0)
		r = bundle_source(b, v->tree, n->source, &src, errp);
	if (r < 0)
		return r;
	while (r == 0 && off < n->size) {
		struct fetch_range range;
		size_t want = MIN(n->size - off, CHUNK_SIZE);
		ssize_t got;

		file_range(n, src, off, want, &range);
		got = fetch_read(f, &range, buf, &run->op, errp);
		r = got < 0 ? (int)got
			    : io_write_full(STDOUT_FILENO, buf, want);
		if (r < 0 && got >= 0)
			error_set_errno(errp, -r, "writing");
		off += want;
	}
	fetch_source_close(src);
	return r;
}

int verb_cat(struct cli *cli, struct error **errp)
{
	cleanup_run struct run run = {0};
	cleanup_bundle struct bundle *b = NULL;
	cleanup_role_view struct role_view *v = NULL;
	const char *path = cli->args[1];
	struct tree_node n;
	uint32_t i;
	int r;

	if (cli->json)
		return error_set(errp, EINVAL,
				 "cat prints bytes: --json is for the others");
	r = run_begin(cli, &run, errp);
	if (r == 0)
		r = run_role(&run, cli->args[0], &b, &v, errp);
	if (r < 0)
		return r;
	assert(v);
	r = tree_find(v->tree, path, &i, errp);
	if (r == -ENOENT || r == -ENOTDIR)
		return error_kind(errp, r, ERROR_NOT_FOUND);
	if (r == 0)
		r = tree_node(v->tree, i, &n, errp);
	if (r < 0)
		return r;
	if (n.kind != TREE_FILE)
		return error_set(errp, EINVAL, "'%s' is not a file", path);
	if (n.size == 0)
		return 0;
	r = copy_out(&run, b, v, &n, errp);
	trim(run.session, &run.op);
	return r < 0 ? error_prefix(errp, r, "reading '%s'", path) : 0;
}

#include "cli/page/sections.h"

#include "base/alloc.h"
#include "cli/output.h"
#include "cli/page/html.h"

/* Of what a hostile bundle could have many. */
#define ROWS           100
#define PATH_MAX_SHOWN 400

static const char *const place_classes[] = {
	[IN_BLOB] = "blob", [IN_PACK] = "pack", [IN_EXTERNAL] = "external"};

static void add_more(struct strbuf *out, size_t n, size_t shown,
		     const char *what)
{
	if (n > shown)
		strbuf_addf(out,
			    "<tr><td colspan=\"9\">and %zu more %s</td></tr>\n",
			    n - shown, what);
}

/*
 * Header.
 */

static void put_name(struct strbuf *out, const struct reference *ref)
{
	html_str(out, ref->repo ? ref->repo : "a bundle");
}

int section_title(struct strbuf *out, const struct facts *f,
		  struct error **errp)
{
	const struct reference *ref = &f->bundle->ref;

	put_name(out, ref);
	if (ref->tag) {
		strbuf_adds(out, " ");
		html_str(out, ref->tag);
	}
	return 0;
}

/* By name and digest: it stays the same when the tag moves. */
static char *pinned(const struct facts *f)
{
	struct reference ref = f->bundle->ref;

	ref.has_digest = true;
	ref.digest = f->bundle->digest;
	return reference_str(&ref);
}

int section_head(struct strbuf *out, const struct facts *f, struct error **errp)
{
	const struct reference *ref = &f->bundle->ref;
	cleanup_free char *pin = pinned(f);

	strbuf_adds(out, "<h1><bdi>");
	put_name(out, ref);
	strbuf_adds(out, "</bdi>");
	if (ref->tag) {
		strbuf_adds(out, " <span class=\"version\">");
		html_str(out, ref->tag);
		strbuf_adds(out, "</span>");
	}
	strbuf_adds(out, "</h1>\n<dl class=\"pins\">\n<dt>Digest</dt><dd "
			 "id=\"digest\">");
	html_digest(out, &f->bundle->digest);
	strbuf_adds(out, "</dd>\n<dt>Reference</dt><dd>");
	html_copy(out, pin);
	strbuf_adds(out, "</dd>\n</dl>\n");
	return 0;
}

/*
 * Totals.
 */

static uint64_t registry_bytes(const struct manifest *m)
{
	uint64_t sum = m->config.size;

	for (size_t i = 0; i < m->n_layers; i++)
		if (__builtin_add_overflow(sum, m->layers[i].size, &sum))
			return UINT64_MAX;
	return sum;
}

static void begin_tile(struct strbuf *out, const char *name)
{
	strbuf_addf(out, "<div><dt>%s</dt><dd>", name);
}

static void end_tile(struct strbuf *out)
{
	strbuf_adds(out, "</dd></div>\n");
}

int section_totals(struct strbuf *out, const struct facts *f,
		   struct error **errp)
{
	const struct manifest *m = &f->bundle->manifest;

	begin_tile(out, "Files");
	strbuf_addf(out, "<data id=\"files\" value=\"%llu\">",
		    (unsigned long long)f->all.files);
	html_count(out, f->all.files);
	strbuf_adds(out, "</data>");
	end_tile(out);
	begin_tile(out, "Size");
	html_bytes(out, "bytes", f->all.bytes);
	end_tile(out);
	begin_tile(out, "Cached here");
	html_percent(out, f->all.cached, f->all.bytes);
	end_tile(out);
	begin_tile(out, "In the registry");
	html_bytes(out, "registry", registry_bytes(m));
	strbuf_addf(out, " <small>%zu blobs</small>", m->n_layers + 1);
	end_tile(out);
	if (f->all.in[IN_EXTERNAL]) {
		begin_tile(out, "External");
		html_bytes(out, "external", f->all.in[IN_EXTERNAL]);
		end_tile(out);
	}
	return 0;
}

/*
 * Treemap.
 */

int section_treemap(struct strbuf *out, const struct facts *f,
		    struct error **errp)
{
	if (!f->map.cells) {
		strbuf_adds(out, "<p class=\"note\">Nothing in it has any "
				 "bytes.</p>\n");
		return 0;
	}
	strbuf_addf(out,
		    "<svg id=\"map\" width=\"100%%\" height=\"%d\" "
		    "role=\"img\" aria-label=\"Sizes of files and folders\">\n",
		    TREEMAP_HEIGHT);
	strbuf_add(out, f->cells.buf, f->cells.len);
	strbuf_adds(out, "</svg>\n<p class=\"note\">");
	html_count(out, f->map.shown);
	strbuf_adds(out, " files have a cell of their own");
	if (f->map.folded) {
		strbuf_adds(out, ", <b id=\"folded\">");
		html_count(out, f->map.folded);
		strbuf_adds(out, "</b> are folded into cells of their folders");
	}
	strbuf_adds(out, ".</p>\n");
	return 0;
}

/*
 * Layers and roles.
 */

static void put_bar(struct strbuf *out, const struct weight *w, uint64_t most)
{
	double at = 0, all = (double)MAX(most, 1);

	strbuf_adds(out, "<svg class=\"bar\" width=\"100%\" height=\"18\" "
			 "aria-hidden=\"true\">");
	for (int i = 0; i < PLACES; i++) {
		double part = (double)w->in[i] * 100 / all;

		if (!w->in[i])
			continue;
		strbuf_addf(out,
			    "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" "
			    "height=\"18\"/>",
			    place_classes[i], at, part);
		at += part;
	}
	if (w->cached)
		strbuf_addf(out,
			    "<rect class=\"here\" y=\"14\" width=\"%.2f%%\" "
			    "height=\"3\"/>",
			    (double)w->cached * 100 / all);
	strbuf_adds(out, "</svg>");
}

static void put_number_cell(struct strbuf *out, uint64_t n)
{
	strbuf_adds(out, "<td class=\"n\">");
	html_count(out, n);
	strbuf_adds(out, "</td>");
}

static void put_bytes_cell(struct strbuf *out, const char *class,
			   uint64_t bytes)
{
	strbuf_adds(out, "<td class=\"n\">");
	if (bytes || !strcmp(class, "bytes"))
		html_bytes(out, class, bytes);
	else
		strbuf_addf(out, "<data class=\"%s\" value=\"0\">–</data>",
			    class);
	strbuf_adds(out, "</td>");
}

static void put_percent_cell(struct strbuf *out, const struct weight *w)
{
	strbuf_adds(out, "<td class=\"n\">");
	html_percent(out, w->cached, w->bytes);
	strbuf_adds(out, "</td>");
}

static void put_digest_cell(struct strbuf *out, const struct digest *d)
{
	strbuf_adds(out, "<td class=\"d\">");
	html_digest(out, d);
	strbuf_adds(out, "</td></tr>\n");
}

static uint64_t heaviest(const struct facts *f)
{
	uint64_t most = 0;

	for (size_t i = 0; i < f->bundle->root.n_layers; i++)
		most = MAX(most, f->layers[i].bytes);
	return most;
}

int section_layers(struct strbuf *out, const struct facts *f,
		   struct error **errp)
{
	const struct root *root = &f->bundle->root;
	uint64_t most = heaviest(f);

	for (size_t i = 0; i < MIN(root->n_layers, ROWS); i++) {
		const struct weight *w = &f->layers[i];

		strbuf_adds(out, "<tr><th scope=\"row\">");
		html_str(out, root->layers[i].name);
		strbuf_adds(out, "</th><td class=\"wide\">");
		put_bar(out, w, most);
		strbuf_adds(out, "</td>");
		put_number_cell(out, w->files);
		put_bytes_cell(out, "bytes", w->bytes);
		for (int p = 0; p < PLACES; p++)
			put_bytes_cell(out, place_classes[p], w->in[p]);
		put_percent_cell(out, w);
		put_digest_cell(out, &root->layers[i].tree.digest);
	}
	add_more(out, root->n_layers, ROWS, "layers");
	return 0;
}

int section_roles(struct strbuf *out, const struct facts *f,
		  struct error **errp)
{
	const struct root *root = &f->bundle->root;

	for (size_t i = 0; i < MIN(root->n_roles, ROWS); i++) {
		const struct root_role *role = &root->roles[i];

		strbuf_adds(out, "<tr><th scope=\"row\">");
		html_str(out, role->name);
		strbuf_adds(out, "</th><td class=\"wide\">");
		for (size_t k = 0; k < MIN(role->n_layers, ROWS); k++) {
			strbuf_adds(out, "<span class=\"chip\">");
			html_str(out, root->layers[role->layers[k]].name);
			strbuf_adds(out, "</span> ");
		}
		strbuf_adds(out, "</td>");
		put_number_cell(out, f->roles[i].files);
		put_bytes_cell(out, "bytes", f->roles[i].bytes);
		put_percent_cell(out, &f->roles[i]);
		put_digest_cell(out, &role->tree.digest);
	}
	add_more(out, root->n_roles, ROWS, "roles");
	return 0;
}

/*
 * Files and blobs.
 */

int section_file(struct strbuf *out, const char *layer,
		 const struct measured *m, uint32_t i, struct error **errp)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_source s;
	struct tree_node n;
	struct weight w;
	int r = tree_path(m->tree, i, &path, errp);

	if (r == 0)
		r = tree_node(m->tree, i, &n, errp);
	if (r == 0)
		r = tree_source(m->tree, n.source, &s, errp);
	if (r < 0)
		return r;
	measured_node(m, i, &n, &w);
	strbuf_adds(out, "<tr><th scope=\"row\" class=\"wide path\"><bdi>");
	html_tail(out, path.buf, path.len, PATH_MAX_SHOWN);
	strbuf_adds(out, "</bdi>");
	if (s.kind == TREE_SOURCE_EXTERNAL) {
		strbuf_adds(out, "<br><small>");
		html_tail(out, s.uri, s.uri_len, PATH_MAX_SHOWN);
		strbuf_adds(out, "</small>");
	}
	strbuf_adds(out, "</th><td>");
	html_str(out, layer);
	strbuf_addf(out, "</td><td><i class=\"%s\"></i>%s</td>",
		    place_classes[weight_place(&w)],
		    place_classes[weight_place(&w)]);
	put_bytes_cell(out, "bytes", n.size);
	put_percent_cell(out, &w);
	put_digest_cell(out, n.digest);
	return 0;
}

int section_largest(struct strbuf *out, const struct facts *f,
		    struct error **errp)
{
	for (size_t i = 0; i < f->largest.n; i++)
		strbuf_add(out, f->rows[i].buf, f->rows[i].len);
	return 0;
}

static void put_blob(struct strbuf *out, const struct descriptor *d,
		     const char *title)
{
	strbuf_adds(out, "<tr><th scope=\"row\" class=\"wide path\"><bdi>");
	if (title)
		html_tail(out, title, strlen(title), PATH_MAX_SHOWN);
	strbuf_adds(out, "</bdi></th>");
	put_bytes_cell(out, "bytes", d->size);
	put_digest_cell(out, &d->digest);
}

int section_blobs(struct strbuf *out, const struct facts *f,
		  struct error **errp)
{
	const struct manifest *m = &f->bundle->manifest;
	size_t n = MIN(m->n_layers, MAX_LAYER_DESCRIPTORS);

	put_blob(out, &m->config, "the root: layers and roles");
	for (size_t i = 0; i < n; i++)
		put_blob(out, &m->layers[i],
			 descriptor_annotation(&m->layers[i],
					       ANNOTATION_TITLE));
	add_more(out, m->n_layers, n, "blobs");
	return 0;
}

int section_foot(struct strbuf *out, const struct facts *f, struct error **errp)
{
	strbuf_addf(out, "mops %s, plan version %u", MOPS_VERSION,
		    f->bundle->root.plan_version);
	return 0;
}

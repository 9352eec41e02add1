#include "cli/page/treemap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "cli/page/html.h"

/* The width is that of the page, whatever it is: cells are laid out for this
 * one, and then given in percent of it. */
#define WIDTH  1200.0
#define HEIGHT ((double)TREEMAP_HEIGHT)
#define STRIP  20.0 /* the name of a folder, above what is in it */

#define CELLS       400  /* in all, but for */
#define CELLS_MOST  900  /* what deep trees come to */
#define CELLS_LEAST 6    /* fewer say less of a folder than its name does */
#define CELL_AREA   30.0 /* smaller ones are not seen */

struct rect {
	double x, y, w, h;
};

/* What has a place of its own in its folder. */
struct part {
	uint32_t node; /* TREE_NONE: all that is left of the folder */
	bool is_dir;
	bool top; /* its strip is the one that names the layer */
	struct weight w;
	struct rect r;
};

struct parts {
	struct part *v;
	size_t n;
};

struct drawing {
	struct treemap *map;
	const char *layer;
	const struct measured *m;
	struct strbuf *out;
};

/*
 * Layout: rows along the shorter side, each as long as the worst of its cells
 * gets squarer (Bruls, Huizing and van Wijk, 2000).
 */

/* How far from a square the worst cell of a row is: areas @max to @min, @sum in
 * all, along @side. */
static double worst(double max, double min, double sum, double side)
{
	double a = side * side * max / (sum * sum);
	double b = sum * sum / (side * side * min);

	return MAX(a, b);
}

static size_t choose_row(const struct part *v, size_t n, double scale,
			 double side, double *ret_area)
{
	double max = (double)v[0].w.bytes * scale, sum = max;
	double now = worst(max, max, sum, side);
	size_t k = 1;

	for (; k < n; k++) {
		double area = (double)v[k].w.bytes * scale;
		double then = worst(max, area, sum + area, side);

		if (then > now)
			break;
		now = then;
		sum += area;
	}
	*ret_area = sum;
	return k;
}

/* Cells side by side, as thick as their areas want; @r is what is left. */
static void lay_row(struct part *v, size_t n, double scale, double area,
		    struct rect *r)
{
	bool upright = r->w >= r->h;
	double side = upright ? r->h : r->w, thick = area / side, at = 0;

	for (size_t i = 0; i < n; i++) {
		double len = (double)v[i].w.bytes * scale / thick;

		v[i].r = upright ? (struct rect){r->x, r->y + at, thick, len}
				 : (struct rect){r->x + at, r->y, len, thick};
		at += len;
	}
	if (upright) {
		r->x += thick;
		r->w = MAX(r->w - thick, 0);
	} else {
		r->y += thick;
		r->h = MAX(r->h - thick, 0);
	}
}

static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->w.bytes != y->w.bytes)
		return x->w.bytes > y->w.bytes ? -1 : 1;
	return (x->node > y->node) - (x->node < y->node);
}

static void lay_out(struct parts *p, struct rect r)
{
	double sum = 0, scale;
	size_t i = 0;

	qsort(p->v, p->n, sizeof(*p->v), compare_parts);
	for (size_t k = 0; k < p->n; k++)
		sum += (double)p->v[k].w.bytes;
	scale = r.w * r.h / sum;
	while (i < p->n && r.w > 0.01 && r.h > 0.01) {
		double area;
		size_t n = choose_row(p->v + i, p->n - i, scale, MIN(r.w, r.h),
				      &area);

		lay_row(p->v + i, n, scale, area, &r);
		i += n;
	}
}

/*
 * What of a folder is shown.
 */

/* The largest children, as many as @max, each of some area; and the rest. */
static int choose_parts(const struct drawing *d, const struct part *of,
			size_t max, struct parts *ret, struct error **errp)
{
	const struct measured *m = d->m;
	double area_per_byte = WIDTH * HEIGHT / (double)d->map->bytes;
	struct weight rest = of->w, w;
	cleanup_top struct top top;
	struct tree_node dir, n;
	int r = tree_node(m->tree, of->node, &dir, errp);

	top_init(&top, max);
	for (uint32_t k = 0; r == 0 && k < dir.count; k++) {
		r = tree_node(m->tree, dir.first + k, &n, errp);
		if (r < 0)
			break;
		measured_node(m, dir.first + k, &n, &w);
		if ((double)w.bytes * area_per_byte >= CELL_AREA)
			top_offer(&top, &(struct top_item){w.bytes, 0,
							   dir.first + k});
	}
	if (r < 0)
		return r;
	top_sort(&top);
	ret->v = xcalloc(top.n + 1, sizeof(*ret->v));
	for (; ret->n < top.n; ret->n++) {
		struct part *p = &ret->v[ret->n];

		p->node = top.v[ret->n].node;
		r = tree_node(m->tree, p->node, &n, errp);
		if (r < 0)
			return r;
		p->is_dir = n.kind == TREE_DIR;
		measured_node(m, p->node, &n, &p->w);
		weight_take(&rest, &p->w);
	}
	if (!rest.bytes)
		d->map->folded += rest.files; /* empty ones */
	else
		ret->v[ret->n++] = (struct part){.node = TREE_NONE, .w = rest};
	return 0;
}

/*
 * Drawing.
 */

static void open_svg(struct strbuf *out, const char *class,
		     const struct rect *r)
{
	strbuf_addf(out,
		    "<svg class=\"%s\" x=\"%.2f%%\" y=\"%.1f\" "
		    "width=\"%.2f%%\" height=\"%.1f\">",
		    class, r->x * 100 / WIDTH, r->y, r->w * 100 / WIDTH, r->h);
}

/* Two lines: what it is; how much, where, and how much of it is here. */
static void add_details(const struct drawing *d, const struct part *p)
{
	static const char *const places[] = {
		[IN_BLOB] = "in blobs of their own",
		[IN_PACK] = "in packs",
		[IN_EXTERNAL] = "external",
	};

	strbuf_addf(d->out, "\n%s", output_size(p->w.bytes).str);
	if (p->is_dir || p->node == TREE_NONE) {
		strbuf_adds(d->out, " in ");
		html_count(d->out, p->w.files);
		strbuf_adds(d->out, " files");
	}
	for (int i = 0; i < PLACES; i++) {
		if (!p->w.in[i])
			continue;
		strbuf_adds(d->out, ", ");
		if (p->w.in[i] < p->w.bytes)
			strbuf_addf(d->out, "%s ", output_size(p->w.in[i]).str);
		strbuf_adds(d->out,
			    i == IN_BLOB && !p->is_dir && p->node != TREE_NONE
				    ? "a blob of its own"
				    : places[i]);
	}
	strbuf_adds(d->out, ", ");
	html_percent(d->out, p->w.cached, p->w.bytes);
	strbuf_adds(d->out, " cached, layer ");
	html_str(d->out, d->layer);
}

static int add_title(const struct drawing *d, const struct part *p,
		     const struct part *folder, struct error **errp)
{
	const struct part *named = p->node == TREE_NONE ? folder : p;
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	int r = tree_path(d->m->tree, named->node, &path, errp);

	if (r < 0)
		return r;
	strbuf_adds(d->out, "<title>");
	if (p->node == TREE_NONE)
		strbuf_adds(d->out, "the rest of ");
	html_tail(d->out, strbuf_str(&path), path.len, 160);
	if (named->is_dir)
		strbuf_adds(d->out, "/");
	add_details(d, p);
	strbuf_adds(d->out, "</title>");
	return 0;
}

/* On a strip the whole way there, in a cell the name alone. */
static int add_name(const struct drawing *d, const struct part *p, bool whole,
		    struct error **errp)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	const char *slash;
	int r;

	if (p->node == TREE_NONE) {
		html_count(d->out, p->w.files);
		strbuf_adds(d->out, " more");
		return 0;
	}
	if (p->node == TREE_ROOT) {
		html_str(d->out, d->layer);
		return 0;
	}
	r = tree_path(d->m->tree, p->node, &path, errp);
	if (r < 0)
		return r;
	slash = whole ? NULL : strrchr(strbuf_str(&path), '/');
	html_str(d->out, slash ? slash + 1 : strbuf_str(&path));
	if (p->is_dir)
		strbuf_adds(d->out, "/");
	return 0;
}

static int add_label(const struct drawing *d, const struct part *p,
		     struct error **errp)
{
	int r;

	if (p->r.w < 36 || p->r.h < 17)
		return 0;
	strbuf_adds(d->out, "<text x=\"5\" y=\"14\">");
	r = add_name(d, p, false, errp);
	strbuf_adds(d->out, "</text>");
	if (p->r.h >= 36)
		strbuf_addf(d->out,
			    "<text class=\"size\" x=\"5\" y=\"29\">%s</text>",
			    output_size(p->w.bytes).str);
	return r;
}

static int draw_cell(struct drawing *d, const struct part *p,
		     const struct part *folder, struct error **errp)
{
	static const char *const classes[] = {[IN_BLOB] = "blob",
					      [IN_PACK] = "pack",
					      [IN_EXTERNAL] = "external"};
	bool many = p->is_dir || p->node == TREE_NONE;
	char class[32];
	int r;

	snprintf(class, sizeof(class), "cell %s%s",
		 classes[weight_place(&p->w)], many ? " many" : "");
	d->map->cells++;
	if (many)
		d->map->folded += p->w.files;
	else
		d->map->shown++;
	open_svg(d->out, class, &p->r);
	r = add_title(d, p, folder, errp);
	if (r < 0)
		return r;
	strbuf_adds(d->out, "<rect width=\"100%\" height=\"100%\"/>");
	if (p->w.cached)
		strbuf_addf(d->out,
			    "<rect class=\"here\" y=\"%.1f\" width=\"%.1f%%\" "
			    "height=\"3\"/>",
			    MAX(p->r.h - 5, 0),
			    (double)p->w.cached * 100 / (double)p->w.bytes);
	r = add_label(d, p, errp);
	strbuf_adds(d->out, "</svg>\n");
	return r;
}

static int draw_strip(struct drawing *d, const struct part *p,
		      struct error **errp)
{
	struct rect strip = {p->r.x, p->r.y, p->r.w, STRIP};
	int r = 0;

	open_svg(d->out, "strip", &strip);
	strbuf_adds(d->out, "<rect width=\"100%\" height=\"100%\"/>"
			    "<text x=\"5\" y=\"14\">");
	if (p->top) {
		strbuf_adds(d->out, "<tspan class=\"layer\">");
		html_str(d->out, d->layer);
		strbuf_adds(d->out, "</tspan> ");
	}
	if (p->node != TREE_ROOT)
		r = add_name(d, p, true, errp);
	strbuf_addf(d->out, " <tspan class=\"size\">%s</tspan></text></svg>\n",
		    output_size(p->w.bytes).str);
	return r;
}

static int draw_folder(struct drawing *d, const struct part *folder,
		       size_t budget, struct error **errp);

static int draw_part(struct drawing *d, const struct part *p,
		     const struct part *folder, size_t budget,
		     struct error **errp)
{
	bool open = p->is_dir && budget >= CELLS_LEAST && p->r.w >= 60 &&
		    p->r.h >= STRIP + 36 && d->map->cells < CELLS_MOST;

	return open ? draw_folder(d, p, budget, errp)
		    : draw_cell(d, p, folder, errp);
}

/* Nothing but another folder: one strip says both. */
static bool is_on_the_way(const struct parts *p)
{
	return p->n == 1 && p->v[0].is_dir;
}

/* Of @budget cells each part gets as many as it has bytes. */
static int draw_parts(struct drawing *d, const struct part *folder,
		      struct parts *parts, size_t budget, struct error **errp)
{
	struct rect inside = folder->r;
	int r = 0;

	if (is_on_the_way(parts)) {
		parts->v[0].top = folder->top;
	} else {
		inside.y += STRIP;
		inside.h -= STRIP;
		r = draw_strip(d, folder, errp);
	}
	lay_out(parts, inside);
	for (size_t i = 0; r == 0 && i < parts->n; i++) {
		const struct part *p = &parts->v[i];
		double share = (double)p->w.bytes / (double)folder->w.bytes;

		r = draw_part(d, p, folder, (size_t)((double)budget * share),
			      errp);
	}
	return r;
}

static int draw_folder(struct drawing *d, const struct part *folder,
		       size_t budget, struct error **errp)
{
	struct parts parts = {0};
	int r = choose_parts(d, folder, budget, &parts, errp);

	if (r == 0)
		r = draw_parts(d, folder, &parts, budget, errp);
	free(parts.v);
	return r;
}

void treemap_init(struct treemap *t, const struct weight *layers, size_t n)
{
	struct parts parts = {.v = xcalloc(n, sizeof(*parts.v))};

	*t = (struct treemap){.parts = parts.v};
	for (size_t i = 0; i < n; i++) {
		t->bytes += MIN(layers[i].bytes, UINT64_MAX - t->bytes);
		if (layers[i].bytes)
			parts.v[parts.n++] = (struct part){.node = (uint32_t)i,
							   .w = layers[i]};
		else
			t->folded += layers[i].files;
	}
	t->n = parts.n;
	lay_out(&parts, (struct rect){0, 0, WIDTH, HEIGHT});
}

void treemap_release(struct treemap *t)
{
	free(t->parts);
	*t = (struct treemap){0};
}

int treemap_draw(struct treemap *t, size_t i, const char *name,
		 const struct measured *m, struct strbuf *out,
		 struct error **errp)
{
	struct drawing d = {.map = t, .layer = name, .m = m, .out = out};

	for (size_t k = 0; k < t->n; k++) {
		struct part p = t->parts[k];
		double share = (double)p.w.bytes / (double)t->bytes;

		if (p.node != i)
			continue;
		p.node = TREE_ROOT;
		p.is_dir = true;
		p.top = true;
		return draw_part(&d, &p, &p, (size_t)(CELLS * share), errp);
	}
	return 0;
}

#include "cli/page/page.h"

#include <assert.h>
#include <string.h>

#include "cli/page/facts.h"
#include "cli/page/html.h"
#include "cli/page/sections.h"
#include "engine/archive_io.h"

static const unsigned char template[] = {
#include "page.html.inc"
};
static const unsigned char style[] = {
#include "page.css.inc"
};
static const unsigned char script[] = {
#include "page.js.inc"
};

/* What a browser compares an element's text with before it uses it. */
static void put_hash(struct strbuf *out, const void *text, size_t n)
{
	struct digest d = digest_of_buf(text, n);

	strbuf_adds(out, "'sha256-");
	base64_encode(out, d.b, sizeof(d.b));
	strbuf_addc(out, '\'');
}

static int put_style(struct strbuf *out, const struct facts *f,
		     struct error **errp)
{
	strbuf_add(out, style, sizeof(style));
	return 0;
}

static int put_script(struct strbuf *out, const struct facts *f,
		      struct error **errp)
{
	strbuf_add(out, script, sizeof(script));
	return 0;
}

static int put_style_hash(struct strbuf *out, const struct facts *f,
			  struct error **errp)
{
	put_hash(out, style, sizeof(style));
	return 0;
}

static int put_script_hash(struct strbuf *out, const struct facts *f,
			   struct error **errp)
{
	put_hash(out, script, sizeof(script));
	return 0;
}

/* What the template names between two pairs of braces. */
static const struct slot {
	const char *name;
	int (*put)(struct strbuf *out, const struct facts *f,
		   struct error **errp);
} slots[] = {
	{"style", put_style},         {"style-hash", put_style_hash},
	{"script", put_script},       {"script-hash", put_script_hash},
	{"title", section_title},     {"head", section_head},
	{"totals", section_totals},   {"treemap", section_treemap},
	{"layers", section_layers},   {"roles", section_roles},
	{"largest", section_largest}, {"blobs", section_blobs},
	{"foot", section_foot},
};

static int fill(struct strbuf *out, const char *name, size_t n,
		const struct facts *f, struct error **errp)
{
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		if (strlen(slots[i].name) == n &&
		    memcmp(slots[i].name, name, n) == 0)
			return slots[i].put(out, f, errp);
	assert(!"a slot of the template that nothing fills");
	return 0;
}

static int expand(struct strbuf *out, const struct facts *f,
		  struct error **errp)
{
	const char *p = (const char *)template, *slot;
	const char *end = p + sizeof(template);
	int r = 0;

	while (r == 0 && (slot = memmem(p, (size_t)(end - p), "{{", 2))) {
		const char *close;

		strbuf_add(out, p, (size_t)(slot - p));
		slot += 2;
		close = memmem(slot, (size_t)(end - slot), "}}", 2);
		assert(close);
		r = fill(out, slot, (size_t)(close - slot), f, errp);
		p = close + 2;
	}
	strbuf_add(out, p, (size_t)(end - p));
	return r;
}

static int write_file(const char *file, const struct strbuf *page,
		      struct error **errp)
{
	struct archive_out *out;
	struct digest written;
	int r = archive_out_open(file, &out, errp);

	if (r < 0)
		return r;
	r = archive_out_write(out, page->buf, page->len, errp);
	if (r == 0)
		r = archive_out_commit(out, &written, errp);
	archive_out_free(out);
	return r;
}

int page_write(struct run *run, struct bundle *b, const char *file,
	       struct error **errp)
{
	cleanup_strbuf struct strbuf page = STRBUF_INIT;
	cleanup_facts struct facts f = {0};
	int r = facts_gather(run, b, &f, errp);

	if (r == 0)
		r = expand(&page, &f, errp);
	return r < 0 ? r : write_file(file, &page, errp);
}

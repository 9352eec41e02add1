#include "engine/yaml_events.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <yaml.h>

#include "base/alloc.h"
#include "base/map.h"

struct reader {
	yaml_parser_t parser;
	const char *file;
	const char *buf;
	size_t n;
	unsigned nodes;
	unsigned depth;
	unsigned mappings;
	struct map keys; /* of (mapping number, key) → its node */
};

static int refuse_atv(const char *file, size_t line, size_t col,
		      struct error **errp, const char *fmt, va_list ap)
	__attribute__((format(printf, 5, 0)));
static int refuse_at(const char *file, size_t line, size_t col,
		     struct error **errp, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static int refuse_atv(const char *file, size_t line, size_t col,
		      struct error **errp, const char *fmt, va_list ap)
{
	cleanup_free char *what = xvasprintf(fmt, ap);

	return error_set(errp, EINVAL, "%s:%zu:%zu: %s", file, line, col, what);
}

static int refuse_at(const char *file, size_t line, size_t col,
		     struct error **errp, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = refuse_atv(file, line, col, errp, fmt, ap);
	va_end(ap);
	return r;
}

/* A byte that is no character has an offset, but no mark. */
static int refuse_bytes(struct reader *r, struct error **errp)
{
	size_t at = MIN(r->parser.problem_offset, r->n), line = 1, col = 1;

	for (size_t i = 0; i < at; i++) {
		col++;
		if (r->buf[i] == '\n') {
			line++;
			col = 1;
		}
	}
	return refuse_at(r->file, line, col, errp, "not valid UTF-8 text");
}

static int refuse_syntax(struct reader *r, struct error **errp)
{
	const yaml_parser_t *p = &r->parser;
	const char *what = p->problem ? p->problem : "not valid YAML";

	if (p->error == YAML_MEMORY_ERROR)
		return error_set(errp, ENOMEM, "%s: out of memory", r->file);
	if (p->error == YAML_READER_ERROR)
		return refuse_bytes(r, errp);
	if (!p->context)
		return refuse_at(r->file, p->problem_mark.line + 1,
				 p->problem_mark.column + 1, errp, "%s", what);
	return refuse_at(r->file, p->problem_mark.line + 1,
			 p->problem_mark.column + 1, errp, "%s (%s)", what,
			 p->context);
}

static int next_event(struct reader *r, yaml_event_t *ret, struct error **errp)
{
	if (!yaml_parser_parse(&r->parser, ret))
		return refuse_syntax(r, errp);
	return 0;
}

static int refuse_event(struct reader *r, const yaml_event_t *ev,
			struct error **errp, const char *what)
{
	return refuse_at(r->file, ev->start_mark.line + 1,
			 ev->start_mark.column + 1, errp, "%s", what);
}

/* What an event brings that is not taken; NULL: nothing. */
static const char *event_flaw(const struct reader *r, const yaml_event_t *ev)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return "aliases are not taken";
	case YAML_SCALAR_EVENT:
		anchor = ev->data.scalar.anchor;
		tag = ev->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
		break;
	default:
		return "a value is missing";
	}
	if (anchor)
		return "anchors are not taken";
	if (tag)
		return "tags are not taken";
	if (r->nodes >= YAML_MAX_NODES)
		return "more than 10,000 values";
	if (ev->type == YAML_SCALAR_EVENT &&
	    memchr(ev->data.scalar.value, 0, ev->data.scalar.length))
		return "a NUL character";
	if (ev->type != YAML_SCALAR_EVENT && r->depth >= YAML_MAX_DEPTH)
		return "nested more than 16 deep";
	return NULL;
}

static bool scalar_is_null(const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;

	return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0 ||
		strcmp(s, "Null") == 0 || strcmp(s, "NULL") == 0);
}

static void node_free(struct yaml_node *n)
{
	while (n) {
		struct yaml_node *next = n->next;

		node_free(n->first); /* ≤ YAML_MAX_DEPTH deep */
		free(n->text);
		free(n->key);
		free(n);
		n = next;
	}
}

static int read_node(struct reader *r, const yaml_event_t *ev,
		     struct yaml_node **ret, struct error **errp);

/* Elements up to the end event, onto the list at @tail. */
static int read_sequence(struct reader *r, struct yaml_node **tail,
			 struct error **errp)
{
	for (;;) {
		yaml_event_t ev;
		int ret = next_event(r, &ev, errp);

		if (ret < 0)
			return ret;
		if (ev.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&ev);
			return 0;
		}
		ret = read_node(r, &ev, tail, errp);
		yaml_event_delete(&ev);
		if (ret < 0)
			return ret;
		tail = &(*tail)->next;
	}
}

static int take_key(struct reader *r, const yaml_event_t *ev, unsigned mapping,
		    struct error **errp)
{
	cleanup_free char *in_mapping = NULL;
	const char *flaw = event_flaw(r, ev);

	if (!flaw && ev->type != YAML_SCALAR_EVENT)
		flaw = "a key must be plain text";
	if (flaw)
		return refuse_event(r, ev, errp, flaw);
	r->nodes++;
	in_mapping = xasprintf("%u %s", mapping, ev->data.scalar.value);
	if (map_put_str(&r->keys, in_mapping, r))
		return refuse_at(r->file, ev->start_mark.line + 1,
				 ev->start_mark.column + 1, errp,
				 "'%s' is there twice", ev->data.scalar.value);
	return 0;
}

static int read_value(struct reader *r, const yaml_event_t *key,
		      struct yaml_node **ret, struct error **errp)
{
	yaml_event_t ev;
	int res = next_event(r, &ev, errp);

	if (res < 0)
		return res;
	res = read_node(r, &ev, ret, errp);
	yaml_event_delete(&ev);
	if (res < 0)
		return res;
	(*ret)->key = xstrdup((const char *)key->data.scalar.value);
	(*ret)->key_line = (unsigned)key->start_mark.line + 1;
	(*ret)->key_col = (unsigned)key->start_mark.column + 1;
	return 0;
}

static int read_mapping(struct reader *r, struct yaml_node **tail,
			struct error **errp)
{
	unsigned mapping = r->mappings++;

	for (;;) {
		yaml_event_t key;
		int ret = next_event(r, &key, errp);

		if (ret < 0)
			return ret;
		if (key.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&key);
			return 0;
		}
		ret = take_key(r, &key, mapping, errp);
		if (ret == 0)
			ret = read_value(r, &key, tail, errp);
		yaml_event_delete(&key);
		if (ret < 0)
			return ret;
		tail = &(*tail)->next;
	}
}

/* On failure *@ret may hold the part that was read; it is the tree's. */
static int read_node(struct reader *r, const yaml_event_t *ev,
		     struct yaml_node **ret, struct error **errp)
{
	const char *flaw = event_flaw(r, ev);
	struct yaml_node *n;
	int res = 0;

	if (flaw)
		return refuse_event(r, ev, errp, flaw);
	r->nodes++;
	n = xcalloc(1, sizeof(*n));
	n->line = (unsigned)ev->start_mark.line + 1;
	n->col = (unsigned)ev->start_mark.column + 1;
	*ret = n;
	if (ev->type == YAML_SCALAR_EVENT) {
		n->kind = NODE_SCALAR;
		n->text = xstrdup((const char *)ev->data.scalar.value);
		n->is_null = scalar_is_null(ev);
		return 0;
	}
	r->depth++;
	if (ev->type == YAML_SEQUENCE_START_EVENT) {
		n->kind = NODE_SEQUENCE;
		res = read_sequence(r, &n->first, errp);
	} else {
		n->kind = NODE_MAPPING;
		res = read_mapping(r, &n->first, errp);
	}
	r->depth--;
	return res;
}

static int expect(struct reader *r, yaml_event_type_t type, const char *flaw,
		  struct error **errp)
{
	yaml_event_t ev;
	int ret = next_event(r, &ev, errp);

	if (ret < 0)
		return ret;
	if (ev.type != type)
		ret = refuse_event(r, &ev, errp, flaw);
	yaml_event_delete(&ev);
	return ret;
}

static int read_content(struct reader *r, struct yaml_node **ret,
			struct error **errp)
{
	yaml_event_t ev;
	int res = next_event(r, &ev, errp);

	if (res < 0)
		return res;
	res = read_node(r, &ev, ret, errp);
	yaml_event_delete(&ev);
	if (res < 0)
		return res;
	res = expect(r, YAML_DOCUMENT_END_EVENT, "one document expected", errp);
	if (res < 0)
		return res;
	return expect(r, YAML_STREAM_END_EVENT, "a second document in the file",
		      errp);
}

static int read_document(struct reader *r, struct yaml_node **ret,
			 struct error **errp)
{
	yaml_event_t ev;
	bool end, directives;
	int res = expect(r, YAML_STREAM_START_EVENT, "not YAML", errp);

	if (res == 0)
		res = next_event(r, &ev, errp);
	if (res < 0)
		return res;
	end = ev.type == YAML_STREAM_END_EVENT;
	directives =
		!end && (ev.data.document_start.version_directive ||
			 ev.data.document_start.tag_directives.start !=
				 ev.data.document_start.tag_directives.end);
	if (directives)
		res = refuse_event(r, &ev, errp, "directives are not taken");
	yaml_event_delete(&ev);
	if (res < 0 || end)
		return res;
	return read_content(r, ret, errp);
}

int yaml_doc_parse(const char *buf, size_t n, const char *file,
		   struct yaml_doc *ret, struct error **errp)
{
	struct reader r = {.file = file, .buf = buf, .n = n};
	cleanup_yaml_doc struct yaml_doc doc = {0};
	int res;

	if (n > YAML_MAX_BYTES)
		return refuse_at(file, 1, 1, errp, "the file is over 1 MiB");
	if (!yaml_parser_initialize(&r.parser))
		return error_set(errp, ENOMEM, "%s: out of memory", file);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)buf, n);
	res = read_document(&r, &doc.root, errp);
	yaml_parser_delete(&r.parser);
	map_release(&r.keys);
	if (res < 0)
		return res;
	ret->file = xstrdup(file);
	ret->root = steal_ptr(&doc.root);
	return 0;
}

void yaml_doc_release(struct yaml_doc *d)
{
	node_free(d->root);
	free(d->file);
	*d = (struct yaml_doc){0};
}

int yaml_error(const struct yaml_doc *d, const struct yaml_node *n,
	       struct error **errp, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = refuse_atv(d->file, n->line, n->col, errp, fmt, ap);
	va_end(ap);
	return r;
}

int yaml_key_error(const struct yaml_doc *d, const struct yaml_node *n,
		   struct error **errp, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = refuse_atv(d->file, n->key_line, n->key_col, errp, fmt, ap);
	va_end(ap);
	return r;
}

int yaml_need_text(const struct yaml_doc *d, const struct yaml_node *n,
		   const char *what, const char **ret, struct error **errp)
{
	if (n->kind != NODE_SCALAR)
		return yaml_error(d, n, errp, "%s must be one text", what);
	if (n->is_null || !*n->text)
		return yaml_error(d, n, errp, "%s is empty", what);
	*ret = n->text;
	return 0;
}

static int need_filled(const struct yaml_doc *d, const struct yaml_node *n,
		       enum yaml_node_kind kind, const char *what,
		       const char *kind_name, struct error **errp)
{
	if (n->kind == NODE_SCALAR && n->is_null)
		return yaml_error(d, n, errp, "%s is empty", what);
	if (n->kind != kind)
		return yaml_error(d, n, errp, "%s must be a %s", what,
				  kind_name);
	if (!n->first)
		return yaml_error(d, n, errp, "%s is empty", what);
	return 0;
}

int yaml_need_mapping(const struct yaml_doc *d, const struct yaml_node *n,
		      const char *what, struct error **errp)
{
	return need_filled(d, n, NODE_MAPPING, what, "mapping (key: value)",
			   errp);
}

int yaml_need_sequence(const struct yaml_doc *d, const struct yaml_node *n,
		       const char *what, struct error **errp)
{
	return need_filled(d, n, NODE_SEQUENCE, what, "list", errp);
}

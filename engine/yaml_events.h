/*
 * Strict YAML: what the bundle file and the settings files are read with.
 *
 * libyaml's event API, and of YAML only what such files need: one document,
 * mappings with scalar keys, sequences, scalars. Aliases, anchors, tags and
 * directives are refused, so the result is never larger than the input. Bounds:
 * 1 MiB, depth 16, 10,000 nodes. A key twice in a mapping is refused.
 *
 * Every refusal is -EINVAL and says "file:line:column: ".
 */
#ifndef ENGINE_YAML_EVENTS_H
#define ENGINE_YAML_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define YAML_MAX_BYTES ((size_t)1 << 20)
#define YAML_MAX_DEPTH 16
#define YAML_MAX_NODES 10000u

enum yaml_node_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct yaml_node {
	enum yaml_node_kind kind;
	unsigned line, col; /* from 1 */
	char *text;         /* NODE_SCALAR: without NUL bytes */
	bool is_null;       /* NODE_SCALAR: unquoted and empty, "~" or "null" */
	struct yaml_node *first; /* elements, or values of a mapping */
	struct yaml_node *next;
	/* A mapping's value: */
	char *key;
	unsigned key_line, key_col;
};

struct yaml_doc {
	char *file;             /* for messages */
	struct yaml_node *root; /* NULL: no document in the file */
};

int yaml_doc_parse(const char *buf, size_t n, const char *file,
		   struct yaml_doc *ret, struct error **errp);
void yaml_doc_release(struct yaml_doc *d);
#define cleanup_yaml_doc __attribute__((cleanup(yaml_doc_release)))

/* -EINVAL with the place of @n in front. */
int yaml_error(const struct yaml_doc *d, const struct yaml_node *n,
	       struct error **errp, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same with the place of @n's key. */
int yaml_key_error(const struct yaml_doc *d, const struct yaml_node *n,
		   struct error **errp, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Is @n what the program wants? @what names it in the message. An empty one
 * is refused too. */
int yaml_need_text(const struct yaml_doc *d, const struct yaml_node *n,
		   const char *what, const char **ret, struct error **errp);
int yaml_need_mapping(const struct yaml_doc *d, const struct yaml_node *n,
		      const char *what, struct error **errp);
int yaml_need_sequence(const struct yaml_doc *d, const struct yaml_node *n,
		       const char *what, struct error **errp);

#endif

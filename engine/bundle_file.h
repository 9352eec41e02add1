/*
 * .mops-bundle.yaml (docs/format.md, "What a user writes"), read with libyaml's
 * event API: no aliases, anchors or tags, one document, depth ≤ 16, ≤ 10,000
 * nodes, ≤ 1 MiB. Every error says file, line and column.
 */
#ifndef ENGINE_BUNDLE_FILE_H
#define ENGINE_BUNDLE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/tree.h"
#include "engine/units.h" /* parse_size() */

#define BUNDLE_FILE_NAME ".mops-bundle.yaml"

struct bf_layer {
	char *name;
	char **paths;       /* globs, NFC, NULL-ended */
	char **ignore;      /* NULL-ended, may be NULL */
	unsigned line, col; /* in the file, from 1; 0: not from a file */
};

struct bf_role {
	char *name;
	char **layers; /* names, in the bundle file's layer order */
};

struct bf_external {
	char *pattern;     /* NULL: any path */
	uint64_t min_size; /* 0: any size */
	char *storage;     /* URI prefix, normal form, ends with '/' */
	enum tree_tier tier;
};

struct bundle_file {
	char *file;    /* for messages; NULL: there is none */
	char *name;    /* NULL when absent */
	char *version; /* NULL when absent */
	unsigned version_line, version_col; /* where it stands, from 1 */
	struct bf_layer *layers;
	size_t n_layers;
	struct bf_role *roles; /* sorted by name */
	size_t n_roles;
	struct bf_external *externals;
	size_t n_externals;
};

/* @file is for messages. */
int bundle_file_parse(const char *buf, size_t n, const char *file,
		      struct bundle_file *ret, struct error **errp);
/* A descriptor of the folder @dir; ERROR_NOT_FOUND when there is none. */
int bundle_folder_open(const char *dir, struct error **errp);
/* Read it from folder @dir; when there is none: one layer `data` with
 * everything and role `default`, without name and version. */
int bundle_file_load(const char *dir, struct bundle_file *ret,
		     struct error **errp);
const struct bf_role *bundle_file_role(const struct bundle_file *b,
				       const char *name);
/* -EINVAL with the place of layer @i in front, when it has one. */
int bundle_file_layer_error(const struct bundle_file *b, size_t i,
			    struct error **errp, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void bundle_file_release(struct bundle_file *b);
#define cleanup_bundle_file __attribute__((cleanup(bundle_file_release)))

#endif

#include "cli/describe.h"

#include <stdio.h>

#include "base/escape.h"
#include "cli/output.h"

static void write_blob(struct json_writer *w, const struct descriptor *d)
{
	const char *title = descriptor_annotation(d, ANNOTATION_TITLE);

	json_begin_object(w, NULL);
	json_put_str(w, "digest", digest_to_str(&d->digest).str);
	json_put_str(w, "media_type", d->media_type);
	json_put_int(w, "size", (int64_t)d->size);
	if (title)
		json_put_str(w, "title", title);
	json_end_object(w);
}

static void write_layer(struct json_writer *w, const struct root_layer *l)
{
	json_begin_object(w, NULL);
	json_put_int(w, "bytes", (int64_t)l->bytes);
	json_put_int(w, "bytes_blob", (int64_t)l->bytes_blob);
	json_put_int(w, "bytes_external", (int64_t)l->bytes_external);
	json_put_int(w, "bytes_pack", (int64_t)l->bytes_pack);
	json_put_int(w, "files", (int64_t)l->files);
	json_put_str(w, "name", l->name);
	json_put_str(w, "tree", digest_to_str(&l->tree.digest).str);
	json_end_object(w);
}

static void write_role(struct json_writer *w, const struct root *root,
		       const struct root_role *r)
{
	json_begin_object(w, NULL);
	json_begin_array(w, "layers");
	for (size_t i = 0; i < r->n_layers; i++)
		json_put_str(w, NULL, root->layers[r->layers[i]].name);
	json_end_array(w);
	json_put_str(w, "name", r->name);
	json_put_str(w, "tree", digest_to_str(&r->tree.digest).str);
	json_end_object(w);
}

void describe_json(const struct bundle *b, bool blobs)
{
	cleanup_free char *ref = reference_str(&b->ref);
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;
	struct json_writer w;

	json_writer_init(&w, &doc);
	json_begin_object(&w, NULL);
	if (blobs) {
		json_begin_array(&w, "blobs");
		for (size_t i = 0; i < b->manifest.n_layers; i++)
			write_blob(&w, &b->manifest.layers[i]);
		json_end_array(&w);
	}
	json_put_int(&w, "bytes", (int64_t)b->root.bytes);
	json_put_str(&w, "digest", digest_to_str(&b->digest).str);
	json_put_int(&w, "files", (int64_t)b->root.files);
	json_begin_array(&w, "layers");
	for (size_t i = 0; i < b->root.n_layers; i++)
		write_layer(&w, &b->root.layers[i]);
	json_end_array(&w);
	json_put_int(&w, "plan_version", b->root.plan_version);
	output_put_text(&w, "reference", ref);
	json_begin_array(&w, "roles");
	for (size_t i = 0; i < b->root.n_roles; i++)
		write_role(&w, &b->root, &b->root.roles[i]);
	json_end_array(&w);
	json_end_object(&w);
	output_json(&doc);
}

static void print_role(const struct root *root, const struct root_role *r)
{
	cleanup_strbuf struct strbuf line = STRBUF_INIT;

	for (size_t i = 0; i < r->n_layers; i++)
		strbuf_addf(&line, "%s%s", i ? ", " : "",
			    root->layers[r->layers[i]].name);
	print_line(stdout, "role %s: %s", r->name, strbuf_str(&line));
}

void describe_text(const struct bundle *b, bool blobs)
{
	cleanup_free char *ref = reference_str(&b->ref);

	print_line(stdout, "%s", digest_to_str(&b->digest).str);
	print_line(stdout, "%s: %llu files, %s", ref,
		   (unsigned long long)b->root.files,
		   output_size(b->root.bytes).str);
	for (size_t i = 0; i < b->root.n_layers; i++) {
		const struct root_layer *l = &b->root.layers[i];

		print_line(stdout,
			   "layer %s: %llu files, %s (%s packed, %s in blobs, "
			   "%s external)",
			   l->name, (unsigned long long)l->files,
			   output_size(l->bytes).str,
			   output_size(l->bytes_pack).str,
			   output_size(l->bytes_blob).str,
			   output_size(l->bytes_external).str);
	}
	for (size_t i = 0; i < b->root.n_roles; i++)
		print_role(&b->root, &b->root.roles[i]);
	for (size_t i = 0; blobs && i < b->manifest.n_layers; i++) {
		const struct descriptor *d = &b->manifest.layers[i];
		const char *title = descriptor_annotation(d, ANNOTATION_TITLE);

		print_line(stdout, "blob %s %10s  %s",
			   digest_to_str(&d->digest).str,
			   output_size(d->size).str, title ? title : "");
	}
}

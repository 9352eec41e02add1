/*
 * A configuration file with one login more or less. All else that it says
 * stays; its members come out sorted, as docker writes them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/secret.h"
#include "storage/docker_config.h"

/* Text that is counted when @buf is NULL, and else written. */
struct out {
	char *buf;
	size_t n;
};

static void put(struct out *o, char c)
{
	if (o->buf)
		o->buf[o->n] = c;
	o->n++;
}

static void new_line(struct out *o, unsigned depth)
{
	put(o, '\n');
	while (depth--)
		put(o, '\t');
}

/* Canonical JSON, a member on each line, for who edits such files by hand. */
static void indent(const char *s, struct out *o)
{
	unsigned depth = 0;
	bool quoted = false;

	for (; *s; s++) {
		bool opens = !quoted && (*s == '{' || *s == '[');
		bool closes = !quoted && (*s == '}' || *s == ']');
		bool empty = opens && (s[1] == '}' || s[1] == ']');

		if (closes)
			new_line(o, --depth);
		put(o, *s);
		if (empty || (quoted && *s == '\\'))
			put(o, *++s);
		else if (*s == '"')
			quoted = !quoted;
		else if (opens)
			new_line(o, ++depth);
		else if (!quoted && *s == ',')
			new_line(o, depth);
		else if (!quoted && *s == ':')
			put(o, ' ');
	}
	put(o, '\n');
}

/* A member of an object that is written: an old value, or our entry. */
struct entry {
	const char *key;
	const struct json *value; /* NULL: ours */
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->key,
		      ((const struct entry *)b)->key);
}

static void put_login(struct json_writer *w, const char *key,
		      const struct login *l)
{
	json_begin_object(w, key);
	if (l) {
		cleanup_secret char *plain =
			xasprintf("%s:%s", l->user, l->secret);

		json_put_base64(w, "auth", plain, strlen(plain));
	}
	json_end_object(w);
}

/* `auths` without what it has of @e->host, and with ours. */
static void put_auths(struct json_writer *w, const struct json *auths,
		      const struct docker_config_edit *e)
{
	const char *key = docker_config_server(e->host);
	struct entry *entries =
		xcalloc(json_count(auths) + 1, sizeof(*entries));
	size_t n = 0;

	for (const struct json *v = json_first(auths); v; v = json_next(v))
		if (!docker_config_is_key_of(json_key(v), e->host))
			entries[n++] = (struct entry){json_key(v), v};
	if (!e->remove)
		entries[n++] = (struct entry){key, NULL};
	qsort(entries, n, sizeof(*entries), by_key);
	json_begin_object(w, "auths");
	for (size_t i = 0; i < n; i++)
		if (entries[i].value)
			json_put_value(w, entries[i].key, entries[i].value);
		else
			put_login(w, entries[i].key, e->login);
	json_end_object(w);
	free(entries);
}

static void put_document(struct json_writer *w, const struct json *doc,
			 const struct docker_config_edit *e)
{
	const struct json *auths = json_get(doc, "auths");
	struct entry *entries = xcalloc(json_count(doc) + 1, sizeof(*entries));
	size_t n = 0;

	for (const struct json *v = json_first(doc); v; v = json_next(v))
		if (v != auths)
			entries[n++] = (struct entry){json_key(v), v};
	entries[n++] = (struct entry){"auths", NULL};
	qsort(entries, n, sizeof(*entries), by_key);
	json_begin_object(w, NULL);
	for (size_t i = 0; i < n; i++)
		if (entries[i].value)
			json_put_value(w, entries[i].key, entries[i].value);
		else
			put_auths(w, auths, e);
	json_end_object(w);
	free(entries);
}

static bool has_entry(const struct json *auths, const char *host)
{
	for (const struct json *v = json_first(auths); v; v = json_next(v))
		if (docker_config_is_key_of(json_key(v), host))
			return true;
	return false;
}

static int check(const struct json *doc, struct error **errp)
{
	const struct json *auths = json_get(doc, "auths");

	if (json_type(doc) != JSON_OBJECT)
		return error_set(errp, EINVAL, "it is no object");
	if (json_type(auths) != JSON_NULL && json_type(auths) != JSON_OBJECT)
		return error_set(errp, EINVAL, "its 'auths' is no object");
	return 0;
}

static size_t room_for(size_t n, const struct docker_config_edit *e)
{
	size_t secret =
		e->login ? strlen(e->login->user) + strlen(e->login->secret)
			 : 0;

	/* Escapes and base64 make at most six bytes of one. */
	return 6 * (n + secret + strlen(e->host)) + 4096;
}

static char *write_text(const struct json *doc,
			const struct docker_config_edit *e, size_t room)
{
	cleanup_secret_strbuf struct strbuf flat = STRBUF_INIT;
	struct out out = {0};
	struct json_writer w;

	/* Before the first secret goes in: growing leaves copies behind. */
	strbuf_make_room(&flat, room);
	json_writer_init(&w, &flat);
	put_document(&w, doc, e);
	indent(strbuf_str(&flat), &out);
	out = (struct out){.buf = xcalloc(out.n + 1, 1)};
	indent(strbuf_str(&flat), &out);
	return out.buf;
}

int docker_config_edit(const char *text, size_t n,
		       const struct docker_config_edit *e, char **ret,
		       bool *ret_had, struct error **errp)
{
	cleanup_json struct json *doc = NULL;
	int r;

	if (!n) {
		text = "{}";
		n = 2;
	}
	r = json_parse(text, n, &JSON_LIMITS_BIG, &doc, errp);
	if (r == 0)
		r = check(doc, errp);
	if (r == 0) {
		*ret_had = has_entry(json_get(doc, "auths"), e->host);
		*ret = write_text(doc, e, room_for(n, e));
	}
	json_wipe(doc);
	return r;
}

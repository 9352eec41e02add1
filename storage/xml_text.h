/*
 * Text of elements in the small XML documents of object stores. No parser of
 * XML: it finds "<Name>text</Name>", and knows neither attributes with '>' nor
 * entities beyond the five; what it does not understand it does not find.
 *
 * Threads: any.
 */
#ifndef STORAGE_XML_TEXT_H
#define STORAGE_XML_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct xml_span {
	const char *p;
	size_t n;
};

/* The first element @name within @in: what stands between its tags. On success
 * *@ret_rest, if not NULL, is what follows it. */
bool xml_find(struct xml_span in, const char *name, struct xml_span *ret,
	      struct xml_span *ret_rest);
/* Its text, entities decoded, cut at @cap - 1 bytes, NUL-ended. False when it
 * is not there, has elements inside, or NUL bytes. */
bool xml_text(struct xml_span in, const char *name, char *ret, size_t cap);

#endif

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"
#include "base/time.h"
#include "storage/xml_text.h"

static void check_text(const char *doc, const char *name, const char *want)
{
	const struct xml_span in = {doc, strlen(doc)};
	char got[16] = "";
	bool found = xml_text(in, name, got, sizeof(got));

	cr_expect(eq(int, found, want != NULL), "%s", doc);
	if (want)
		cr_expect(eq(str, got, (char *)want));
}

Test(xml_text, finds_text)
{
	check_text("<?xml version='1.0'?><E><Code>No</Code></E>", "Code", "No");
	check_text("<E a='b'>t</E>", "E", "t");
	check_text("<E></E>", "E", "");
	check_text("<Codes>x</Codes><Code>y</Code>", "Code", "y");
}

Test(xml_text, decodes_entities)
{
	check_text("<E>&quot;a&amp;b&lt;&gt;&apos;&#34;&x;</E>", "E",
		   "\"a&b<>'\"&x;");
}

Test(xml_text, cuts_long_text)
{
	check_text("<E>0123456789abcdefgh</E>", "E", "0123456789abcde");
}

Test(xml_text, misses_what_is_not_text)
{
	check_text("", "E", NULL);
	check_text("<E>open", "E", NULL);
	check_text("<E/>", "E", NULL);
	check_text("<E", "E", NULL);
	check_text("<E><F>x</F></E>", "E", NULL);
	check_text("</E><E", "E", NULL);
}

Test(xml_text, walks_through_elements_of_one_name)
{
	const char *doc = "<L><P>1</P><P>2</P><P/></L>";
	struct xml_span rest = {doc, strlen(doc)}, one;
	unsigned n = 0;

	while (rest.n && xml_find(rest, "P", &one, &rest))
		n++;
	cr_expect(eq(u32, n, 2));
}

/* A store that means harm: a document of @n bytes that repeats @piece, and then
 * ends in @end. */
static void expect_nothing_soon(const char *piece, size_t n, const char *end)
{
	char *doc = xmalloc(n);
	size_t len = strlen(piece);
	struct xml_span one;
	int64_t began;

	for (size_t i = 0; i < n; i++)
		doc[i] = piece[i % len];
	memcpy(doc + n - strlen(end), end, strlen(end));
	began = time_mono_ns();
	cr_expect(not(xml_find((struct xml_span){doc, n}, "Part", &one, NULL)));
	cr_expect(time_mono_ns() - began < 2 * NS_PER_S, "'%s'", piece);
	free(doc);
}

Test(xml_text, takes_no_longer_than_a_document_is_long)
{
	expect_nothing_soon("<", (size_t)4 << 20, ">");
	expect_nothing_soon("<Part ", (size_t)4 << 20, "/>");
	expect_nothing_soon("<Part />", (size_t)4 << 20, "/>");
	expect_nothing_soon("<Part>", (size_t)4 << 20, "</Par>");
}

/*
 * The classes of addresses: a literal in its strict form gets the class of the
 * bytes that inet_pton() reads, and an IPv4 address gets the same one in every
 * IPv6 dress.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/http_address.h"
#include "tests/fuzz/fuzz.h"

static enum address_class class_of(const char *s)
{
	enum address_class class;

	if (!address_class_literal(s, &class))
		abort();
	return class;
}

static void dresses(const uint8_t ip[4])
{
	static const char *const forms[] = {
		"%u.%u.%u.%u",          "::ffff:%u.%u.%u.%u",   "::%u.%u.%u.%u",
		"64:ff9b::%u.%u.%u.%u", "::ffff:0:%u.%u.%u.%u",
	};
	enum address_class want;
	char s[64];

	snprintf(s, sizeof(s), "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
	want = class_of(s);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (strcmp(forms[i], "::%u.%u.%u.%u") == 0 && !ip[0] &&
		    !ip[1] && !ip[2])
			continue; /* :: and ::1 have meanings of their own */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(s, sizeof(s), forms[i], ip[0], ip[1], ip[2], ip[3]);
#pragma GCC diagnostic pop
		assert(class_of(s) == want);
	}
	snprintf(s, sizeof(s), "%u",
		 (unsigned)ip[0] << 24 | (unsigned)ip[1] << 16 |
			 (unsigned)ip[2] << 8 | ip[3]);
	assert(class_of(s) == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *host = xstrndup((const char *)data, size);
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	enum address_class class;

	address_host_is_metadata(host);
	if (address_host_is_loopback(host) &&
	    address_class_literal(host, &class))
		assert(class == ADDRESS_LOOPBACK);
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
		assert(class_of(host) == address_class((struct sockaddr *)&in));
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		assert(class_of(host) ==
		       address_class((struct sockaddr *)&in6));
	if (size >= 4)
		dresses(data);
	return 0;
}

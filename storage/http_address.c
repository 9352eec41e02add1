#include "storage/http_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

struct range4 {
	uint32_t net;
	uint8_t bits;
	enum address_class class;
};

/* The IANA special-purpose registry for IPv4 and what clouds put beside it;
 * first match counts, the rest is public. */
static const struct range4 ranges4[] = {
	{0x00000000, 8, ADDRESS_NEVER},    /* 0.0.0.0/8: this network */
	{0x7f000000, 8, ADDRESS_LOOPBACK}, /* 127.0.0.0/8 */
	{0xa9fe0000, 16, ADDRESS_NEVER},   /* 169.254.0.0/16: link-local */
	{0x646464c8, 32, ADDRESS_NEVER},   /* 100.100.100.200: metadata */
	{0xa83f8110, 32, ADDRESS_NEVER},   /* 168.63.129.16: platform */
	{0x0a000000, 8, ADDRESS_PRIVATE},  /* 10.0.0.0/8 */
	{0xac100000, 12, ADDRESS_PRIVATE}, /* 172.16.0.0/12 */
	{0xc0a80000, 16, ADDRESS_PRIVATE}, /* 192.168.0.0/16 */
	{0x64400000, 10, ADDRESS_PRIVATE}, /* 100.64.0.0/10: shared */
	{0xc0000000, 24, ADDRESS_NEVER},   /* 192.0.0.0/24: protocols */
	{0xc0000200, 24, ADDRESS_PRIVATE}, /* 192.0.2.0/24: examples */
	{0xc6120000, 15, ADDRESS_PRIVATE}, /* 198.18.0.0/15: benchmarks */
	{0xc6336400, 24, ADDRESS_PRIVATE}, /* 198.51.100.0/24: examples */
	{0xcb007100, 24, ADDRESS_PRIVATE}, /* 203.0.113.0/24: examples */
	{0xe0000000, 4, ADDRESS_NEVER},    /* 224.0.0.0/4: multicast */
	{0xf0000000, 4, ADDRESS_NEVER},    /* 240.0.0.0/4, broadcast */
};

static enum address_class class4(uint32_t ip)
{
	for (size_t i = 0; i < ARRAY_SIZE(ranges4); i++)
		if (((ip ^ ranges4[i].net) >> (32 - ranges4[i].bits)) == 0)
			return ranges4[i].class;
	return ADDRESS_PUBLIC;
}

struct range6 {
	uint8_t net[16];
	uint8_t bits;
	enum address_class class;
};

static const struct range6 ranges6[] = {
	{{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54},
	 128,
	 ADDRESS_NEVER}, /* metadata */
	{{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54},
	 128,
	 ADDRESS_NEVER},                                 /* metadata */
	{{0xfe, 0x80}, 10, ADDRESS_NEVER},               /* link-local */
	{{0xff}, 8, ADDRESS_NEVER},                      /* multicast */
	{{0x01, 0x00}, 64, ADDRESS_NEVER},               /* discard */
	{{0xfc}, 7, ADDRESS_PRIVATE},                    /* unique local */
	{{0xfe, 0xc0}, 10, ADDRESS_PRIVATE},             /* site-local */
	{{0x20, 0x01, 0x0d, 0xb8}, 32, ADDRESS_PRIVATE}, /* examples */
	{{0x3f, 0xff}, 20, ADDRESS_PRIVATE},             /* examples */
	{{0x5f, 0x00}, 16, ADDRESS_PRIVATE},             /* SRv6 SIDs */
};

static bool prefix_matches(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return !rest || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static const uint8_t zeros[16];

/* True when packets to @a end up at an IPv4 address: its class in *@ret. */
static bool class_embedded(const uint8_t a[16], enum address_class *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
	static const uint8_t translated[12] = {[8] = 0xff, 0xff};
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	static const uint8_t nat64_local[6] = {0x00, 0x64, 0xff,
					       0x9b, 0x00, 0x01};
	enum address_class server;

	if (memcmp(a, mapped, 12) == 0 || memcmp(a, translated, 12) == 0 ||
	    memcmp(a, zeros, 12) == 0 || memcmp(a, nat64, 12) == 0) {
		*ret = class4(be32(a + 12));
		return true;
	}
	if (memcmp(a, nat64_local, 6) == 0) { /* RFC 8215 */
		*ret = MAX(class4(be32(a + 12)), ADDRESS_PRIVATE);
		return true;
	}
	if (a[0] == 0x20 && a[1] == 0x02) { /* 6to4 */
		*ret = class4(be32(a + 2));
		return true;
	}
	if (be32(a) == 0x20010000) { /* Teredo: server, inverted client */
		server = class4(be32(a + 4));
		*ret = MAX(class4(~be32(a + 12)), server);
		return true;
	}
	if ((be32(a + 8) & ~0x02000000u) == 0x00005efe) { /* ISATAP */
		*ret = class4(be32(a + 12));
		return true;
	}
	return false;
}

static enum address_class class6(const uint8_t a[16])
{
	enum address_class in4 = ADDRESS_PUBLIC;

	if (memcmp(a, zeros, 15) == 0 && a[15] <= 1)
		return a[15] ? ADDRESS_LOOPBACK : ADDRESS_NEVER;
	class_embedded(a, &in4);
	for (size_t i = 0; i < ARRAY_SIZE(ranges6); i++)
		if (prefix_matches(a, ranges6[i].net, ranges6[i].bits))
			return MAX(in4, ranges6[i].class);
	return in4;
}

enum address_class address_class(const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&in, sa, sizeof(in));
		return class4(ntohl(in.sin_addr.s_addr));
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		return class6(in6.sin6_addr.s6_addr);
	default:
		return ADDRESS_NEVER;
	}
}

bool address_class_literal(const char *host, enum address_class *ret)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST,
		.ai_socktype = SOCK_STREAM,
	};
	size_t n = strlen(host);
	cleanup_free char *bare = NULL;
	struct addrinfo *ai = NULL;

	/* "10.0.0.1." is a name to us, and the address to most proxies. */
	while (n && host[n - 1] == '.')
		n--;
	bare = xstrndup(host, n);
	if (getaddrinfo(bare, NULL, &hints, &ai) != 0)
		return false;
	*ret = address_class(ai->ai_addr);
	freeaddrinfo(ai);
	return true;
}

/* @host is @name or ends in ".@name"; one dot at the end is the DNS root. */
static bool host_is_or_below(const char *host, const char *name)
{
	size_t n = strlen(host), m = strlen(name);

	if (n && host[n - 1] == '.')
		n--;
	if (n < m || strncasecmp(host + n - m, name, m) != 0)
		return false;
	return n == m || host[n - m - 1] == '.';
}

bool address_host_is_loopback(const char *host)
{
	enum address_class class;

	/* With a dot at its end it is looked up, wherever that leads. */
	if (address_class_literal(host, &class))
		return class == ADDRESS_LOOPBACK &&
		       host[strlen(host) - 1] != '.';
	return host_is_or_below(host, "localhost");
}

bool address_host_is_metadata(const char *host)
{
	static const char *const names[] = {
		"metadata",
		"metadata.google.internal",
		"metadata.goog",
		"instance-data",
		"instance-data.ec2.internal",
		"metadata.azure.internal",
		"metadata.tencentyun.com",
		"metadata.platformequinix.com",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t m = strlen(names[i]);

		if (strncasecmp(host, names[i], m) == 0 &&
		    (!host[m] || strcmp(host + m, ".") == 0))
			return true;
	}
	return false;
}

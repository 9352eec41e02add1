/*
 * Which network addresses a server may send us to.
 *
 * The classes are ordered from the outside in. A host that the user named may
 * be anything but ADDRESS_NEVER; where a foreign answer sends us (a redirect,
 * an upload Location, a token realm) may be no further inward than that host.
 *
 * Threads: any.
 */
#ifndef STORAGE_HTTP_ADDRESS_H
#define STORAGE_HTTP_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

enum address_class {
	ADDRESS_PUBLIC,
	ADDRESS_PRIVATE,  /* RFC 1918, ULA, shared and special-use ranges */
	ADDRESS_LOOPBACK, /* this machine */
	ADDRESS_NEVER,    /* link-local, metadata, unspecified, multicast */
};

/* IPv4 embedded in IPv6 (mapped, compatible, NAT64, 6to4, Teredo, ISATAP)
 * counts as what it leads to. A family other than the two is NEVER. */
enum address_class address_class(const struct sockaddr *sa);

/* The class of a literal address in any spelling that a resolver accepts
 * ("127.1", "0x7f000001", "::ffff:10.0.0.1"), or a proxy ("127.0.0.1.");
 * false: @host is a name. */
bool address_class_literal(const char *host, enum address_class *ret);

/* "localhost", "*.localhost" or a literal loopback address. */
bool address_host_is_loopback(const char *host);

/* A name under which clouds serve credentials to whoever asks. */
bool address_host_is_metadata(const char *host);

#endif

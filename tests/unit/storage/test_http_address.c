#include "storage/http_address.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/alloc.h"

#define NAME ((enum address_class) - 1) /* no literal */

static const struct {
	const char *host;
	enum address_class class;
} spellings[] = {
	/* loopback, in every way of writing 127.0.0.1 */
	{"127.0.0.1", ADDRESS_LOOPBACK},
	{"127.1", ADDRESS_LOOPBACK},
	{"127.0.1", ADDRESS_LOOPBACK},
	{"2130706433", ADDRESS_LOOPBACK},
	{"0x7f000001", ADDRESS_LOOPBACK},
	{"0X7F000001", ADDRESS_LOOPBACK},
	{"017700000001", ADDRESS_LOOPBACK},
	{"0177.0.0.1", ADDRESS_LOOPBACK},
	{"0x7f.0.0.1", ADDRESS_LOOPBACK},
	{"0x7f.1", ADDRESS_LOOPBACK},
	{"0177.0x0.0.01", ADDRESS_LOOPBACK},
	{"127.255.255.254", ADDRESS_LOOPBACK},
	{"127.0.0.0", ADDRESS_LOOPBACK},
	{"::1", ADDRESS_LOOPBACK},
	{"0:0:0:0:0:0:0:1", ADDRESS_LOOPBACK},
	{"0000::0001", ADDRESS_LOOPBACK},
	{"::0.0.0.1", ADDRESS_LOOPBACK},
	{"::ffff:127.0.0.1", ADDRESS_LOOPBACK},
	{"::ffff:7f00:1", ADDRESS_LOOPBACK},
	{"::FFFF:7F00:0001", ADDRESS_LOOPBACK},
	{"0:0:0:0:0:ffff:127.0.0.1", ADDRESS_LOOPBACK},
	{"::ffff:0:127.0.0.1", ADDRESS_LOOPBACK},
	{"::127.0.0.1", ADDRESS_LOOPBACK},
	{"64:ff9b::127.0.0.1", ADDRESS_LOOPBACK},
	{"64:ff9b::7f00:1", ADDRESS_LOOPBACK},
	{"64:ff9b:1::127.0.0.1", ADDRESS_LOOPBACK},
	{"2002:7f00:0001::", ADDRESS_LOOPBACK},
	{"2002:7f00:1::1", ADDRESS_LOOPBACK},
	{"2001:0:808:808::80ff:fffe", ADDRESS_LOOPBACK},
	{"2001:0:7f00:1::f7f7:f7f7", ADDRESS_LOOPBACK},
	{"2606:4700::5efe:127.0.0.1", ADDRESS_LOOPBACK},
	{"2606:4700::200:5efe:127.0.0.1", ADDRESS_LOOPBACK},

	/* link-local and metadata */
	{"169.254.169.254", ADDRESS_NEVER},
	{"169.254.0.0", ADDRESS_NEVER},
	{"169.254.255.255", ADDRESS_NEVER},
	{"169.254.170.2", ADDRESS_NEVER},
	{"2852039166", ADDRESS_NEVER},
	{"0xa9fea9fe", ADDRESS_NEVER},
	{"0xa9.0xfe.0xa9.0xfe", ADDRESS_NEVER},
	{"025177524776", ADDRESS_NEVER},
	{"0251.0376.0251.0376", ADDRESS_NEVER},
	{"169.254.43518", ADDRESS_NEVER},
	{"169.16689662", ADDRESS_NEVER},
	{"::ffff:169.254.169.254", ADDRESS_NEVER},
	{"::ffff:a9fe:a9fe", ADDRESS_NEVER},
	{"::169.254.169.254", ADDRESS_NEVER},
	{"64:ff9b::a9fe:a9fe", ADDRESS_NEVER},
	{"64:ff9b:1::a9fe:a9fe", ADDRESS_NEVER},
	{"2002:a9fe:a9fe::1", ADDRESS_NEVER},
	{"2001:0:808:808::5601:5601", ADDRESS_NEVER},
	{"fe80::1", ADDRESS_NEVER},
	{"fe80::a9fe:a9fe", ADDRESS_NEVER},
	{"febf:ffff::1", ADDRESS_NEVER},
	{"FE80::1", ADDRESS_NEVER},
	{"fe80::5efe:8.8.8.8", ADDRESS_NEVER},
	{"fd00:ec2::254", ADDRESS_NEVER},
	{"fd00:0ec2:0::0254", ADDRESS_NEVER},
	{"fd20:ce::254", ADDRESS_NEVER},
	{"100.100.100.200", ADDRESS_NEVER},
	{"::ffff:100.100.100.200", ADDRESS_NEVER},
	{"168.63.129.16", ADDRESS_NEVER},
	{"192.0.0.192", ADDRESS_NEVER},

	/* unspecified, multicast, reserved, broadcast */
	{"0.0.0.0", ADDRESS_NEVER},
	{"0", ADDRESS_NEVER},
	{"0x0", ADDRESS_NEVER},
	{"0.0.0.1", ADDRESS_NEVER},
	{"0.255.255.255", ADDRESS_NEVER},
	{"::", ADDRESS_NEVER},
	{"::0", ADDRESS_NEVER},
	{"0:0:0:0:0:0:0:0", ADDRESS_NEVER},
	{"::0.0.0.0", ADDRESS_NEVER},
	{"::ffff:0.0.0.0", ADDRESS_NEVER},
	{"::2", ADDRESS_NEVER},
	{"64:ff9b::", ADDRESS_NEVER},
	{"224.0.0.1", ADDRESS_NEVER},
	{"239.255.255.255", ADDRESS_NEVER},
	{"240.0.0.1", ADDRESS_NEVER},
	{"255.255.255.255", ADDRESS_NEVER},
	{"4294967295", ADDRESS_NEVER},
	{"0xffffffff", ADDRESS_NEVER},
	{"ff02::1", ADDRESS_NEVER},
	{"ff0e::1", ADDRESS_NEVER},
	{"100::1", ADDRESS_NEVER},

	/* private and special use */
	{"10.0.0.0", ADDRESS_PRIVATE},
	{"10.255.255.255", ADDRESS_PRIVATE},
	{"10.1", ADDRESS_PRIVATE},
	{"0xa.0.0.1", ADDRESS_PRIVATE},
	{"012.0.0.1", ADDRESS_PRIVATE},
	{"167772161", ADDRESS_PRIVATE},
	{"172.16.0.1", ADDRESS_PRIVATE},
	{"172.31.255.255", ADDRESS_PRIVATE},
	{"192.168.0.1", ADDRESS_PRIVATE},
	{"192.168.257", ADDRESS_PRIVATE},
	{"3232235521", ADDRESS_PRIVATE},
	{"0xc0a80001", ADDRESS_PRIVATE},
	{"100.64.0.1", ADDRESS_PRIVATE},
	{"100.127.255.255", ADDRESS_PRIVATE},
	{"192.0.2.1", ADDRESS_PRIVATE},
	{"198.18.0.1", ADDRESS_PRIVATE},
	{"198.19.255.255", ADDRESS_PRIVATE},
	{"198.51.100.7", ADDRESS_PRIVATE},
	{"203.0.113.9", ADDRESS_PRIVATE},
	{"::ffff:10.0.0.1", ADDRESS_PRIVATE},
	{"::ffff:c0a8:1", ADDRESS_PRIVATE},
	{"::10.0.0.1", ADDRESS_PRIVATE},
	{"64:ff9b::10.0.0.1", ADDRESS_PRIVATE},
	{"64:ff9b:1::8.8.8.8", ADDRESS_PRIVATE},
	{"2002:a00:1::1", ADDRESS_PRIVATE},
	{"2002:c0a8:101::1", ADDRESS_PRIVATE},
	{"2001:0:a00:1::f7f7:f7f7", ADDRESS_PRIVATE},
	{"fc00::1", ADDRESS_PRIVATE},
	{"fd12:3456:789a::1", ADDRESS_PRIVATE},
	{"fdff:ffff::1", ADDRESS_PRIVATE},
	{"fec0::1", ADDRESS_PRIVATE},
	{"2001:db8::1", ADDRESS_PRIVATE},
	{"3fff::1", ADDRESS_PRIVATE},
	{"5f00::1", ADDRESS_PRIVATE},

	/* public, some of them just outside a range */
	{"8.8.8.8", ADDRESS_PUBLIC},
	{"134744072", ADDRESS_PUBLIC},
	{"0x08080808", ADDRESS_PUBLIC},
	{"1.0.0.0", ADDRESS_PUBLIC},
	{"9.255.255.255", ADDRESS_PUBLIC},
	{"11.0.0.0", ADDRESS_PUBLIC},
	{"126.255.255.255", ADDRESS_PUBLIC},
	{"128.0.0.0", ADDRESS_PUBLIC},
	{"100.63.255.255", ADDRESS_PUBLIC},
	{"100.128.0.0", ADDRESS_PUBLIC},
	{"169.253.255.255", ADDRESS_PUBLIC},
	{"169.255.0.0", ADDRESS_PUBLIC},
	{"172.15.255.255", ADDRESS_PUBLIC},
	{"172.32.0.0", ADDRESS_PUBLIC},
	{"192.167.255.255", ADDRESS_PUBLIC},
	{"192.169.0.0", ADDRESS_PUBLIC},
	{"198.17.255.255", ADDRESS_PUBLIC},
	{"198.20.0.0", ADDRESS_PUBLIC},
	{"223.255.255.255", ADDRESS_PUBLIC},
	{"::ffff:8.8.8.8", ADDRESS_PUBLIC},
	{"64:ff9b::8.8.8.8", ADDRESS_PUBLIC},
	{"2002:808:808::1", ADDRESS_PUBLIC},
	{"2606:4700:4700::1111", ADDRESS_PUBLIC},
	{"2a00:1450:4001::200e", ADDRESS_PUBLIC},
	{"2001:4860:4860::8888", ADDRESS_PUBLIC},

	/* as a proxy may read them */
	{"127.0.0.1.", ADDRESS_LOOPBACK},
	{"10.1.", ADDRESS_PRIVATE},
	{"0xa9fea9fe.", ADDRESS_NEVER},
	{"169.254.169.254.", ADDRESS_NEVER},

	/* no addresses at all */
	{".", NAME},
	{"localhost", NAME},
	{"example.org", NAME},
	{"127.0.0.1.example.org", NAME},
	{"256.0.0.1", NAME},
	{"1.2.3.4.5", NAME},
	{"4294967296", NAME},
	{"0x", NAME},
	{"08.0.0.1", NAME},
	{"127.0.0.1 ", NAME},
	{"[::1]", NAME},
	{":::1", NAME},
	{"1::2::3", NAME},
	{"12345::", NAME},
	{"::1.2.3", NAME},
	{"", NAME},
	{"a", NAME},
};

Test(http_address, knows_every_spelling)
{
	cr_assert(ge(sz, ARRAY_SIZE(spellings), 120));
	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
		enum address_class got = NAME;

		if (!address_class_literal(spellings[i].host, &got))
			got = NAME;
		cr_expect(eq(int, (int)got, (int)spellings[i].class), "%s",
			  spellings[i].host);
	}
}

Test(http_address, refuses_families_that_are_no_network)
{
	struct sockaddr sa = {.sa_family = AF_UNIX};

	cr_assert(eq(int, address_class(&sa), ADDRESS_NEVER));
}

Test(http_address, knows_names_of_this_machine)
{
	static const char *const yes[] = {
		"localhost",     "LOCALHOST", "localhost.", "a.localhost",
		"a.b.LocalHost", "127.0.0.1", "127.9.9.9",  "::1",
	};
	static const char *const no[] = {
		"localhost.example.org",
		"notlocalhost",
		"10.0.0.1",
		"8.8.8.8",
		"127.0.0.1.example.org",
		"",
		".",
		"0.0.0.0",
		"127.0.0.1.",
		"local",
	};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		cr_expect(address_host_is_loopback(yes[i]), "%s", yes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		cr_expect(not(address_host_is_loopback(no[i])), "%s", no[i]);
}

Test(http_address, knows_names_of_metadata_services)
{
	cr_expect(address_host_is_metadata("metadata.google.internal"));
	cr_expect(address_host_is_metadata("METADATA.google.internal."));
	cr_expect(address_host_is_metadata("metadata"));
	cr_expect(address_host_is_metadata("instance-data"));
	cr_expect(not(address_host_is_metadata("metadata.example.org")));
	cr_expect(not(address_host_is_metadata("metadata2")));
	cr_expect(not(address_host_is_metadata("")));
}

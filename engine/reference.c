#include "engine/reference.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/uri.h"
#include "storage/registry.h"

#define REFERENCE_MAX 8192
#define TAG_MAX       128
/* Registries and their clients agree on this for host and repository. */
#define HOST_REPO_MAX 255

struct span {
	const char *s;
	size_t n;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool span_is(struct span a, const char *s)
{
	return a.n == strlen(s) && memcmp(a.s, s, a.n) == 0;
}

static char *span_dup(struct span a)
{
	return xstrndup(a.s, a.n);
}

/* @s as a string in @buf; NULL when it does not fit. */
static const char *span_text(struct span a, char *buf, size_t size)
{
	if (a.n >= size)
		return NULL;
	memcpy(buf, a.s, a.n);
	buf[a.n] = '\0';
	return buf;
}

static const char *repo_flaw(struct span repo)
{
	char buf[HOST_REPO_MAX + 1];
	const char *text = span_text(repo, buf, sizeof(buf));

	if (!repo.n)
		return "the name is empty";
	if (!text)
		return "the name is longer than 255 bytes";
	if (!repo_name_valid(text))
		return "a name has lower-case letters and digits with single "
		       "'.', '_', '__', dashes or '/' between them";
	return NULL;
}

static const char *tag_flaw(struct span tag)
{
	char buf[TAG_MAX + 1];
	const char *text = span_text(tag, buf, sizeof(buf));

	if (!tag.n)
		return "the version is empty";
	if (!text)
		return "the version is longer than 128 bytes";
	if (!tag_valid(text))
		return "a version has letters, digits, '_', '.' and '-' only "
		       "and begins with none of '.' and '-'";
	return NULL;
}

static const char *label_flaw(struct span label)
{
	static const char flaw[] = "the host is not a host name";

	if (!label.n || label.n > 63 || *label.s == '-' ||
	    label.s[label.n - 1] == '-')
		return flaw;
	for (size_t i = 0; i < label.n; i++)
		if (!is_alnum(label.s[i]) && label.s[i] != '-')
			return flaw;
	return NULL;
}

static const char *port_flaw(struct span port)
{
	unsigned v = 0;

	if (!port.n || port.n > 5 || *port.s == '0')
		return "the host's port is not a number from 1 to 65535";
	for (size_t i = 0; i < port.n; i++) {
		if (!is_digit(port.s[i]))
			return "the host's port is not a number from 1 to "
			       "65535";
		v = v * 10 + (unsigned)(port.s[i] - '0');
	}
	return v > 65535 ? "the host's port is over 65535" : NULL;
}

/* "[v6 address]"; *@ret_n is its length with the brackets. */
static const char *bracket_flaw(struct span host, size_t *ret_n)
{
	const char *close = memchr(host.s, ']', host.n);
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	size_t n;

	if (!close)
		return "the host's '[' has no ']'";
	n = (size_t)(close - host.s - 1);
	if (n >= sizeof(text))
		return "the host is not an IPv6 address";
	memcpy(text, host.s + 1, n);
	text[n] = '\0';
	if (inet_pton(AF_INET6, text, &addr) != 1)
		return "the host is not an IPv6 address";
	*ret_n = n + 2;
	return NULL;
}

static const char *labels_flaw(struct span name)
{
	const char *end = name.s + name.n;

	for (const char *p = name.s;; p++) {
		const char *dot = memchr(p, '.', (size_t)(end - p));
		const char *to = dot ? dot : end;
		const char *flaw =
			label_flaw((struct span){p, (size_t)(to - p)});

		if (flaw || !dot)
			return flaw;
		p = dot;
	}
}

static const char *host_flaw(struct span host)
{
	const char *colon, *flaw;
	struct span name = host;

	if (host.n && *host.s == '[') {
		flaw = bracket_flaw(host, &name.n);
		if (!flaw && name.n < host.n && host.s[name.n] != ':')
			flaw = "the host is not a host name";
	} else {
		colon = memchr(host.s, ':', host.n);
		if (colon)
			name.n = (size_t)(colon - host.s);
		flaw = labels_flaw(name);
	}
	if (flaw || name.n == host.n)
		return flaw;
	return port_flaw(
		(struct span){host.s + name.n + 1, host.n - name.n - 1});
}

static const char *folder_flaw(struct span folder)
{
	if (!folder.n)
		return "'oci:' is not followed by a folder";
	if (folder.n >= PATH_MAX)
		return "the folder's path is too long";
	if (memchr(folder.s, ':', folder.n) || memchr(folder.s, '@', folder.n))
		return "a layout folder's path has no ':' and no '@'";
	return NULL;
}

/* A bare name, as opposed to one behind a host. */
static const char *bare_flaw(struct span name)
{
	const char *slash = memchr(name.s, '/', name.n);
	struct span first = {name.s, slash ? (size_t)(slash - name.s) : name.n};

	if (span_is(name, "oci"))
		return "the name 'oci' is reserved";
	if (memchr(first.s, '.', first.n))
		return "a bundle's name has no dot before its first slash";
	if (slash && span_is(first, "localhost"))
		return "'localhost/' is a host, not part of a bundle's name";
	return repo_flaw(name);
}

const char *bundle_name_flaw(const char *name)
{
	return bare_flaw((struct span){name, strlen(name)});
}

const char *bundle_version_flaw(const char *version)
{
	return tag_flaw((struct span){version, strlen(version)});
}

/* Where a reference leads, before its name: views into the texts. */
struct place {
	bool layout;
	struct span registry;
	struct span prefix; /* of the repository; n 0: none */
};

static const char *place_of_registry(const char *s, struct place *ret)
{
	struct span host = {s, strlen(s)};
	struct place p = {0};
	const char *flaw, *slash;

	if (strncmp(s, "oci:", 4) == 0) {
		p.layout = true;
		p.registry = (struct span){s + 4, host.n - 4};
		*ret = p;
		return folder_flaw(p.registry);
	}
	if (strstr(s, "://"))
		return "a registry has no scheme: host[:port][/prefix] or "
		       "oci:<folder>";
	slash = strchr(s, '/');
	if (slash) {
		host.n = (size_t)(slash - s);
		p.prefix = (struct span){slash + 1, strlen(slash + 1)};
		flaw = repo_flaw(p.prefix);
		if (flaw)
			return flaw;
	}
	p.registry = host;
	*ret = p;
	return host_flaw(host);
}

const char *registry_flaw(const char *registry)
{
	struct place p;

	return place_of_registry(registry, &p);
}

bool reference_is_path(const char *s)
{
	return *s == '/' || strncmp(s, "./", 2) == 0 ||
	       strncmp(s, "../", 3) == 0 || strcmp(s, ".") == 0 ||
	       strcmp(s, "..") == 0;
}

/* As an error quotes it: "user:password@host" looks like a reference to two
 * versions. Heap. */
static char *quotable(const char *s)
{
	const char *at = strchr(s, '@');
	bool secret = at && memchr(s, ':', (size_t)(at - s)) &&
		      strncmp(s, "oci:", 4) != 0 &&
		      strncmp(at, "@sha256:", 8) != 0;

	return secret ? uri_without_secrets(s) : xstrdup(s);
}

static int refuse(struct error **errp, const char *s, const char *flaw)
{
	cleanup_free char *text = quotable(s);
	int r = error_set(errp, EINVAL, "'%s' is not a reference: %s", text,
			  flaw);

	return error_hint(errp, r,
			  "write name, name@version, name@sha256:<digest>, "
			  "host/name:version or oci:<folder>:name:version");
}

/* Secrets hide in URLs: refused before anything of the text is quoted. */
static int refuse_secrets(const char *s, struct error **errp)
{
	const char *slash = strchr(s, '/');
	const char *at = strchr(s, '@');
	int r;

	if (strstr(s, "://")) {
		r = error_set(errp, EINVAL, "a reference is not a URL");
		return error_hint(errp, r,
				  "leave the part up to '://' away: "
				  "host[:port]/name:version");
	}
	if (strncmp(s, "oci:", 4) != 0 && at && slash && at < slash) {
		r = error_set(errp, EINVAL,
			      "a reference has no '@' before its host");
		return error_hint(errp, r,
				  "credentials come from 'mops login', never "
				  "from a reference");
	}
	return 0;
}

/* "name[:version][@version|@digest]", or "@digest" alone in a layout. */
struct spec {
	struct span name;
	struct span tag;    /* s NULL: none */
	struct span digest; /* s NULL: none */
};

static const char *spec_split(struct span text, struct spec *ret)
{
	struct spec p = {.name = text};
	const char *at = memchr(text.s, '@', text.n);
	const char *colon;

	if (at) {
		struct span after = {at + 1,
				     text.n - (size_t)(at + 1 - text.s)};

		p.name.n = (size_t)(at - text.s);
		if (memchr(after.s, ':', after.n))
			p.digest = after;
		else
			p.tag = after;
	}
	colon = memchr(p.name.s, ':', p.name.n);
	if (colon) {
		if (p.tag.s)
			return "it names two versions";
		p.tag.s = colon + 1;
		p.tag.n = p.name.n - (size_t)(colon + 1 - p.name.s);
		p.name.n = (size_t)(colon - p.name.s);
	}
	*ret = p;
	return p.tag.s ? tag_flaw(p.tag) : NULL;
}

/* "oci:<folder>:spec" or "oci:<folder>@digest". */
static const char *split_layout(const char *s, struct place *place,
				struct spec *spec)
{
	const char *folder = s + 4;
	size_t n = strcspn(folder, ":@");
	const char *rest = folder + n, *flaw;

	place->layout = true;
	place->registry = (struct span){folder, n};
	flaw = folder_flaw(place->registry);
	if (flaw)
		return flaw;
	if (!*rest)
		return "it names a layout folder, but no bundle in it";
	if (*rest == '@') {
		*spec = (struct spec){.digest = {rest + 1, strlen(rest + 1)}};
		return NULL;
	}
	rest++;
	flaw = spec_split((struct span){rest, strlen(rest)}, spec);
	return flaw ? flaw : bare_flaw(spec->name);
}

static bool is_host(struct span first)
{
	return memchr(first.s, '.', first.n) || memchr(first.s, ':', first.n) ||
	       span_is(first, "localhost");
}

static const char *split_remote(const char *s, const char *default_registry,
				struct place *place, struct spec *spec)
{
	const char *slash = strchr(s, '/'), *flaw;
	struct span first = {s, slash ? (size_t)(slash - s) : 0};

	if (slash && is_host(first)) {
		place->registry = first;
		flaw = host_flaw(first);
		if (!flaw)
			flaw = spec_split((struct span){slash + 1,
							strlen(slash + 1)},
					  spec);
		return flaw ? flaw : repo_flaw(spec->name);
	}
	flaw = spec_split((struct span){s, strlen(s)}, spec);
	if (!flaw)
		flaw = bare_flaw(spec->name);
	if (flaw)
		return flaw;
	if (!default_registry)
		return "it names no registry, and none is set";
	return place_of_registry(default_registry, place);
}

static char *join_repo(const struct place *place, const struct spec *spec)
{
	if (!spec->name.s)
		return NULL;
	if (!place->prefix.n)
		return span_dup(spec->name);
	return xasprintf("%.*s/%.*s", (int)place->prefix.n, place->prefix.s,
			 (int)spec->name.n, spec->name.s);
}

/* Host names are the same in any case: one spelling in keys. */
static char *host_dup(const struct place *place)
{
	char *host = span_dup(place->registry);

	if (!place->layout)
		for (char *p = host; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p - 'A' + 'a');
	return host;
}

int reference_parse(const char *s, const char *default_registry,
		    struct reference *ret, struct error **errp)
{
	cleanup_reference struct reference ref = {0};
	struct place place = {0};
	struct spec spec = {0};
	const char *flaw;
	int r;

	if (strlen(s) > REFERENCE_MAX)
		return error_set(errp, EINVAL, "a reference of %zu bytes",
				 strlen(s));
	r = refuse_secrets(s, errp);
	if (r < 0)
		return r;
	if (reference_is_path(s))
		return refuse(errp, s, "it is a folder");
	if (strncmp(s, "oci:", 4) == 0)
		flaw = split_layout(s, &place, &spec);
	else
		flaw = split_remote(s, default_registry, &place, &spec);
	if (flaw)
		return refuse(errp, s, flaw);
	if (spec.digest.s) {
		r = digest_parse(spec.digest.s, spec.digest.n, &ref.digest,
				 errp);
		if (r < 0) {
			cleanup_free char *text = quotable(s);

			return error_prefix(errp, r, "'%s'", text);
		}
		ref.has_digest = true;
	}
	ref.layout = place.layout;
	ref.registry = host_dup(&place);
	ref.repo = join_repo(&place, &spec);
	if (ref.repo && !ref.layout &&
	    strlen(ref.registry) + 1 + strlen(ref.repo) > HOST_REPO_MAX)
		return refuse(errp, s,
			      "host and name together are longer than 255 "
			      "bytes");
	if (spec.tag.s)
		ref.tag = span_dup(spec.tag);
	else if (!ref.has_digest)
		ref.tag = xstrdup("latest");
	ref.text = xstrdup(s);
	*ret = ref;
	ref = (struct reference){0};
	return 0;
}

static void add_name(struct strbuf *sb, const struct reference *r,
		     const char *registry)
{
	strbuf_addf(sb, "%s%s", r->layout ? "oci:" : "", registry);
	if (r->repo)
		strbuf_addf(sb, "%c%s", r->layout ? ':' : '/', r->repo);
	if (r->tag)
		strbuf_addf(sb, ":%s", r->tag);
}

char *reference_str(const struct reference *r)
{
	struct strbuf sb = STRBUF_INIT;

	add_name(&sb, r, r->registry);
	if (r->has_digest)
		strbuf_addf(&sb, "@%s", digest_to_str(&r->digest).str);
	return strbuf_steal(&sb);
}

static char *absolute(const char *folder)
{
	char *real = realpath(folder, NULL);
	cleanup_free char *cwd = NULL;

	if (real || *folder == '/')
		return real ? real : xstrdup(folder);
	cwd = getcwd(NULL, 0);
	return xasprintf("%s/%s", cwd ? cwd : "", folder);
}

char *reference_cache_key(const struct reference *r)
{
	cleanup_free char *folder = NULL;
	struct strbuf sb = STRBUF_INIT;

	if (!r->tag)
		return NULL;
	if (r->layout)
		folder = absolute(r->registry);
	add_name(&sb, r, folder ? folder : r->registry);
	return strbuf_steal(&sb);
}

char *reference_digest_key(const struct reference *r, const struct digest *d)
{
	struct digest_str text = digest_to_str(d);
	cleanup_free char *folder = NULL;

	/* A folder's blobs belong to no repository of it. */
	if (r->layout) {
		folder = absolute(r->registry);
		return xasprintf("oci:%s@%s", folder, text.str);
	}
	return r->repo ? xasprintf("%s/%s@%s", r->registry, r->repo, text.str)
		       : NULL;
}

void reference_release(struct reference *r)
{
	free(r->registry);
	free(r->repo);
	free(r->tag);
	free(r->text);
	*r = (struct reference){0};
}

/*
 * The registry over HTTP against one that does everything in its own way.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "storage/registry_http.h"
#include "tests/lib/server.h"
#include "tests/lib/tap.h"
#include "tests/lib/tmpdir.h"

#define SIZE 300000

static struct server server;
static struct http_client *client;
static struct credentials *credentials;
static struct registry *reg;
static char blob[SIZE + 32];
static struct digest blob_digest;
static char *config_dir;

static const struct retry_times quick = {
	.connect_ms = 1000,
	.stall_ms = 1000,
	.io_ms = 1500,
};

/* What the server saw since the last look. */
static char *seen(void)
{
	struct http_response r;
	struct http_request rq = {.max_body = 16 << 20, .user_host = true};
	cleanup_free char *url = xasprintf("http://127.0.0.1:%s/_log",
					   server_value(&server, "a"));
	char *text;

	if (http_url_parse(url, &rq.url, NULL) < 0)
		abort();
	http_request(client, &rq, &r, NULL, NULL, NULL, NULL);
	text = xstrdup(r.body ? r.body : "");
	http_response_release(&r);
	http_url_release(&rq.url);
	return text;
}

static unsigned seen_of(const char *what)
{
	cleanup_free char *log = seen();

	return server_saw(log, what);
}

static void forget(void)
{
	free(seen());
}

/* A read of [@off, @off + @len) and whether it was exactly that. */
struct reading {
	int code;
	bool right;
	size_t got;
	struct error *err;
	int64_t ms;
};

static struct reading read_at(const char *repo, uint64_t off, uint64_t len)
{
	int64_t began = time_mono_ns();
	struct reading x = {0};
	struct sink_mem s;

	sink_mem_init(&s, SIZE + 1);
	x.code = reg->ops->read_blob(reg, repo, &blob_digest, SIZE, off, len,
				     &s.sink, NULL, &x.err);
	x.got = s.len;
	x.right = s.len <= len && (!s.len || !memcmp(s.buf, blob + off, s.len));
	x.ms = (time_mono_ns() - began) / NS_PER_MS;
	free(s.buf);
	return x;
}

static void reads_right(const char *repo, uint64_t off, uint64_t len)
{
	struct reading x = read_at(repo, off, len);

	if (!ok(x.code == 0 && x.right && x.got == len,
		"'%s': %llu+%llu arrive", repo, (unsigned long long)off,
		(unsigned long long)len))
		printf("# %d: %s\n", x.code, x.err ? x.err->message : "-");
	error_free(x.err);
}

static void read_fails(const char *repo, uint64_t off, uint64_t len, int code)
{
	struct reading x = read_at(repo, off, len);

	if (!ok(x.code == code && x.right && x.err && x.err->message,
		"'%s': reading fails with %s", repo, strerror(-code)))
		printf("# %d, %zu bytes: %s\n", x.code, x.got,
		       x.err ? x.err->message : "-");
	error_free(x.err);
}

static void test_ranges(void)
{
	static const char *const fine[] = {"plain",       "norange",
					   "range-short", "range-star",
					   "range-200",   "cl-none"};
	static const char *const cured[] = {"range-none", "range-shifted",
					    "range-long", "range-multi"};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		reads_right(fine[i], 0, SIZE);
		reads_right(fine[i], 0, 1);
		reads_right(fine[i], 12345, 100000);
		reads_right(fine[i], SIZE - 1, 1);
		reads_right(fine[i], 1, SIZE - 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cured); i++) {
		forget();
		reads_right(cured[i], 1000, 5000);
		is_int(seen_of("range=None"), 1,
		       "by one request without a range");
		reads_right(cured[i], 0, SIZE);
	}
	read_fails("range-total", 1000, 5000, -EPROTO);
	read_fails("r204", 0, SIZE, -EPROTO);
	read_fails("r204", 5, 5, -EPROTO);
	read_fails("cl-wrong", 0, SIZE, -EPROTO);
	read_fails("lacks", 0, SIZE, -ENOENT);
	read_fails("forbidden", 0, SIZE, -EACCES);
	forget();
	read_fails("r416", 1000, 5000, -EPROTO);
	is_int(seen_of("r416"), 1, "416 is asked for once");
}

static void test_resuming(void)
{
	cleanup_free char *log = NULL;

	forget();
	reads_right("cut-reset", 0, SIZE);
	log = seen();
	is_int(server_saw(log, "cut-reset"), 5,
	       "a read goes on where it broke");
	ok(strstr(log, "range=bytes=70000-299999") &&
		   strstr(log, "range=bytes=280000-299999"),
	   "at the first byte not delivered");
	reads_right("cut-short", 5, SIZE - 5);
	reads_right("lost-once", 0, SIZE);
	reads_right("busy-once", 0, SIZE);
	struct reading x = read_at("cut-never", 0, SIZE);

	ok(x.code == -ETIMEDOUT && x.ms >= 1000 && x.ms < 4000,
	   "a server that never gets on is given up (%lld ms)",
	   (long long)x.ms);
	error_free(x.err);
}

static void test_targets(void)
{
	cleanup_free char *log = NULL;

	forget();
	for (int i = 0; i < 6; i++)
		reads_right("to-b", (uint64_t)i * 1000, 1000);
	log = seen();
	/* Each place is good for two requests, the third is refused there. */
	is_int(server_saw(log, "a GET /v2/to-b"), 3,
	       "a redirect is remembered until it expires");
	is_int(server_saw(log, "b GET /good"), 8, "and then asked for again");
	ok(server_saw(log, "b GET") ==
		   server_saw(log, "auth=None") - server_saw(log, "a GET"),
	   "without the registry's credentials");
	forget();
	read_fails("to-dead", 0, 100, -EACCES);
	is_int(seen_of("b GET /dead"), 3,
	       "a place that always refuses is tried three times");
	read_fails("to-metadata", 0, 100, -EIO);
	read_fails("to-file", 0, 100, -EPROTO);
	struct reading x = read_at("to-gone", 0, 100);

	ok(x.code == -ETIMEDOUT, "a place that is not there");
	ok(x.err && !strstr(x.err->message, "canary"),
	   "no query in the message");
	error_free(x.err);
}

static int has(const char *repo, uint64_t *size)
{
	cleanup_error struct error *err = NULL;

	return reg->ops->has_blob(reg, repo, &blob_digest, size, NULL, &err);
}

static void test_presence(void)
{
	static const char *const yes[] = {"plain", "head405", "head403",
					  "head-lengthless", "to-b"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		uint64_t size = 0;

		is_int(has(yes[i], &size), 1, "'%s': the blob is there",
		       yes[i]);
		is_int(size, SIZE, "and its size is known");
	}
	is_int(has("lacks", NULL), 0, "a missing one is missing");
	is_int(has("r204", NULL), -EPROTO, "a success of no meaning is none");
	is_int(has("forbidden", NULL), -EACCES,
	       "one that we may not see is neither");
}

static void resolves(const char *repo, int code)
{
	cleanup_error struct error *err = NULL;
	struct digest d = {0};
	int r = reg->ops->resolve(reg, repo, "v1", &d, NULL, &err);

	if (!ok(r == code, "'%s': resolving gives %d", repo, code))
		printf("# %d %s\n", r, err ? err->message : "");
}

static void gets(const char *repo, const char *tag_repo, int code,
		 const char *type)
{
	cleanup_manifest_bytes struct manifest_bytes m = {0};
	cleanup_error struct error *err = NULL;
	struct digest d = {0};
	int r;

	reg->ops->resolve(reg, tag_repo, "v1", &d, NULL, NULL);
	r = reg->ops->get_manifest(reg, repo, &d, &m, NULL, &err);
	if (!ok(r == code && (r < 0 || strcmp(m.media_type, type) == 0),
		"'%s': getting the manifest gives %d", repo, code))
		printf("# %d %s %s\n", r, m.media_type ? m.media_type : "-",
		       err ? err->message : "");
}

static void test_manifests(void)
{
	static const char *const told[] = {"plain", "m-unsaid", "m-sha512",
					   "m-head405", "m-generic"};
	struct digest d;
	cleanup_error struct error *err = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(told); i++)
		resolves(told[i], 0);
	resolves("m-lie", -EBADMSG);
	gets("plain", "plain", 0, MEDIA_TYPE_MANIFEST);
	gets("m-generic", "plain", 0, MEDIA_TYPE_MANIFEST);
	gets("m-parameter", "plain", 0, MEDIA_TYPE_MANIFEST);
	gets("m-typeless", "plain", 0, MEDIA_TYPE_MANIFEST);
	gets("m-untyped", "m-untyped", 0, MEDIA_TYPE_MANIFEST);
	gets("m-wrong-once", "plain", 0, MEDIA_TYPE_MANIFEST);
	gets("m-wrong", "plain", -EBADMSG, NULL);
	gets("m-confused", "plain", -EPROTO, NULL);
	gets("m-both", "m-both", -EPROTO, NULL);
	gets("m-shapeless", "m-shapeless", -EPROTO, NULL);
	gets("m-inject", "m-inject", -EPROTO, NULL);
	gets("m-huge", "plain", -EFBIG, NULL);
	gets("m-html", "plain", -EIO, NULL);
	gets("m-warned", "plain", 0, MEDIA_TYPE_MANIFEST);
	is_int(reg->ops->resolve(reg, "plain", "v2", &d, NULL, &err), -ENOENT,
	       "a tag that is not there");
	ok(err && err->kind == ERROR_NOT_FOUND, "is a name that is not there");
}

static int put_text(const char *repo, const char *text, struct error **errp)
{
	return reg->ops->put_manifest(reg, repo, "t", MEDIA_TYPE_MANIFEST, text,
				      strlen(text), NULL, errp);
}

static void test_storing_manifests(void)
{
	cleanup_free char *text = xasprintf(
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\","
		"\"digest\":\"%s\",\"size\":%d},\"layers\":[]}",
		digest_to_str(&blob_digest).str, SIZE);
	cleanup_free char *with_subject = xasprintf(
		"{\"schemaVersion\":2,\"artifactType\":\"application/x.s\","
		"\"config\":{\"mediaType\":\"a/b\",\"digest\":\"%s\","
		"\"size\":%d},\"layers\":[],\"subject\":{\"mediaType\":\"a/b\","
		"\"digest\":\"%s\",\"size\":1}}",
		digest_to_str(&blob_digest).str, SIZE,
		digest_to_str(&blob_digest).str);
	struct descriptor *v = NULL;
	size_t n = 0;

	is_int(put_text("plain", text, NULL), 0, "a manifest is stored");
	is_int(put_text("m-racy", text, NULL), 0,
	       "also when the registry doubts it for a moment");
	is_int(put_text("m-moved", text, NULL), 0, "or sends us on");
	is_int(put_text("m-other", text, NULL), -EPROTO,
	       "not under another digest");
	is_int(reg->ops->put_manifest(reg, "plain", "t", "a/b\r\nX: y", text,
				      strlen(text), NULL, NULL),
	       -EINVAL, "not under a type that is none");
	is_int(put_text("m-413", text, NULL), -EFBIG, "not when too large");
	forget();
	is_int(put_text("m-subject", with_subject, NULL), 0,
	       "one with a subject");
	is_int(seen_of("PUT"), 1, "is the registry's affair");
	is_int(put_text("plain", with_subject, NULL), 0,
	       "or ours, where it does not know subjects");
	is_int(reg->ops->referrers(reg, "plain", &blob_digest, NULL, &v, &n,
				   NULL, NULL),
	       0, "then the stand-in tag");
	ok(n == 1 && v[0].artifact_type &&
		   strcmp(v[0].artifact_type, "application/x.s") == 0,
	   "lists it");
	descriptors_free(v, n);
}

static void puts_blob(const char *repo, int code)
{
	cleanup_error struct error *err = NULL;
	struct digest d;
	struct feed_mem f;
	int r;

	blob[0]++; /* bytes that nobody has yet */
	d = digest_of_buf(blob, SIZE);
	feed_mem_init(&f, blob, SIZE);
	r = reg->ops->put_blob(reg, repo, &d, &f.feed, NULL, &err);
	blob[0]--;
	if (!ok(r == code, "'%s': an upload gives %d", repo, code))
		printf("# %d %s\n", r, err ? err->message : "");
}

static void test_uploads(void)
{
	static const char *const fine[] = {"plain",       "up-relative",
					   "up-absolute", "up-portless",
					   "up-foreign",  "up-moved",
					   "up-busy",     "up-lost",
					   "up-reset",    "up-post-moved"};
	struct digest d = digest_of_str("other");
	struct feed_mem f;

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		puts_blob(fine[i], 0);
	puts_blob("up-nowhere", -EPROTO);
	puts_blob("up-metadata", -EIO);
	puts_blob("up-refused", -EACCES);
	puts_blob("up-loop", -EPROTO);
	forget();
	feed_mem_init(&f, blob, SIZE);
	is_int(reg->ops->put_blob(reg, "plain", &d, &f.feed, NULL, NULL),
	       -EBADMSG, "bytes of another digest are refused");
	is_int(seen_of("a PUT"), 1, "and not sent again");
}

#define BIG (5u << 20)

static void puts_big(struct registry *r, const char *repo, int code)
{
	cleanup_error struct error *err = NULL;
	cleanup_free char *bytes = xmalloc(BIG);
	struct digest d;
	struct feed_mem f;
	int rc;

	for (size_t i = 0; i < BIG; i++)
		bytes[i] = (char)(i * 31 + i / 4099 + (unsigned char)repo[3]);
	d = digest_of_buf(bytes, BIG);
	feed_mem_init(&f, bytes, BIG);
	rc = r->ops->put_blob(r, repo, &d, &f.feed, NULL, &err);
	if (!ok(rc == code, "'%s': a large upload gives %d", repo, code))
		printf("# %d %s\n", rc, err ? err->message : "");
}

static void test_pieces(void)
{
	/* 4 MiB are still too much for all of them */
	static const struct {
		const char *repo;
		unsigned patches;
	} chunks[] = {{"ch-413", 1 + 5},
		      {"ch-min", 1 + 4},
		      {"ch-201", 1 + 5},
		      {"ch-cut", 2 + 5}};
	cleanup_free char *kept = NULL;
	cleanup_free char *lost = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
		forget();
		puts_big(reg, chunks[i].repo, 0);
		is_int(seen_of("a PATCH"), chunks[i].patches, "in chunks");
	}
	forget();
	puts_big(reg, "ch-keep", 0);
	kept = seen();
	ok(server_saw(kept, "a PATCH") == 1 && server_saw(kept, "a POST") == 1,
	   "what a session has is not sent again");
	puts_big(reg, "ch-416", 0);
	puts_big(reg, "ch-short", 0);
	forget();
	puts_big(reg, "ch-lost", 0);
	lost = seen();
	is_int(server_saw(lost, "a PUT"), 1,
	       "an upload whose answer was lost is not done again");
}

static void test_mounts(void)
{
	cleanup_free char *log = NULL;

	is_int(reg->ops->mount_blob(reg, "mount-yes", "other/repo",
				    &blob_digest, NULL, NULL),
	       1, "a blob is mounted");
	forget();
	is_int(reg->ops->mount_blob(reg, "mount-no", "other/repo", &blob_digest,
				    NULL, NULL),
	       0, "or not");
	log = seen();
	is_int(server_saw(log, "a DELETE /v2/mount-no/blobs/uploads/m"), 1,
	       "then the session is closed");
	ok(strstr(log, "from=other%2Frepo"), "the source is named");
	is_int(reg->ops->mount_blob(reg, "mount-never", "other/repo",
				    &blob_digest, NULL, NULL),
	       0, "or not at all");
}

static int list(const char *repo, size_t *n)
{
	cleanup_strv char **tags = NULL;
	int r = reg->ops->list_tags(reg, repo, &tags, NULL, NULL);

	*n = strv_len(tags);
	return r;
}

static void test_lists(void)
{
	static const struct {
		const char *repo;
		int code;
		size_t n;
	} cases[] = {
		{"tags-relative", 0, 8},     {"tags-absolute", 0, 8},
		{"tags-null", 0, 0},         {"tags-mixed", 0, 2},
		{"tags-broken", -EINVAL, 0}, {"tags-foreign", -EPROTO, 0},
	};
	cleanup_strv char **repos = NULL;
	int64_t began;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		is_int(list(cases[i].repo, &n), cases[i].code, "'%s'",
		       cases[i].repo);
		is_int(n, cases[i].n, "with its tags");
	}
	forget();
	is_int(list("tags-endless", &n), -EPROTO, "pages without end");
	ok(seen_of("b GET") == 0, "a foreign page is not fetched");
	began = time_mono_ns();
	is_int(list("tags-flood", &n), -EPROTO, "full pages without end");
	ok(time_mono_ns() - began < 30 * NS_PER_S,
	   "are not read for ever (%lld ms)",
	   (long long)((time_mono_ns() - began) / NS_PER_MS));
	is_int(reg->ops->list_repos(reg, &repos, NULL, NULL), 0, "the catalog");
	is_int(strv_len(repos), 2, "lists repositories");
}

static void test_referrers(void)
{
	static const char *const none[] = {"plain/none", "ref-html", "ref-303"};
	struct descriptor *v = NULL;
	size_t n = 0;

	is_int(reg->ops->referrers(reg, "ref-api", &blob_digest, NULL, &v, &n,
				   NULL, NULL),
	       0, "the referrers API");
	is_int(n, 6, "over pages, each once");
	descriptors_free(v, n);
	is_int(reg->ops->referrers(reg, "ref-api", &blob_digest,
				   "application/x.a", &v, &n, NULL, NULL),
	       0, "filtered here");
	is_int(n, 3, "where the registry does not filter");
	descriptors_free(v, n);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		is_int(reg->ops->referrers(reg, none[i], &blob_digest, NULL, &v,
					   &n, NULL, NULL),
		       0, "'%s': without one", none[i]);
		is_int(n, 0, "nobody refers to it");
		descriptors_free(v, n);
	}
}

static void test_removal(void)
{
	struct digest d = blob_digest;

	is_int(reg->ops->remove(reg, "plain", NULL, &d, NULL, NULL), 0,
	       "a manifest is removed");
	is_int(reg->ops->remove(reg, "plain", "v1", &d, NULL, NULL),
	       -EOPNOTSUPP, "a tag is not, here");
}

/* @entry: the members of the host's entry in the config file; "": anonymous. */
static struct registry *open_with(const char *entry)
{
	cleanup_free char *host =
		xasprintf("127.0.0.1:%s", server_value(&server, "a"));
	cleanup_free char *path = xasprintf("%s/config.json", config_dir);
	cleanup_free char *text =
		xasprintf("{\"auths\":{\"%s\":{%s}}}", host, entry);
	const struct registry_http_options o = {
		.host = host,
		.times = quick,
		.credentials = *entry ? credentials : NULL,
	};
	struct registry *r = NULL;

	if (io_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600) <
		    0 ||
	    registry_http_new(client, &o, &r, NULL) < 0)
		abort();
	return r;
}

static struct registry *open_as(const char *auth)
{
	cleanup_free char *entry = xasprintf("\"auth\":\"%s\"", auth);

	return open_with(*auth ? entry : "");
}

static int resolve_as(const char *auth, const char *repo, struct error **errp)
{
	cleanup_registry struct registry *r = open_as(auth);
	struct digest d;

	return r->ops->resolve(r, repo, "v1", &d, NULL, errp);
}

static void test_auth(void)
{
	/* alice:won:der and alice:wrong */
	static const char *const good = "YWxpY2U6d29uOmRlcg==";
	static const char *const bad = "YWxpY2U6d3Jvbmc=";
	static const char *const repos[] = {"auth-basic", "auth-many",
					    "auth-silent"};
	cleanup_error struct error *anonymous = NULL, *wrong = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(repos); i++)
		is_int(resolve_as(good, repos[i], NULL), 0,
		       "'%s': we show who we are", repos[i]);
	is_int(resolve_as("", "auth-basic", &anonymous), -EACCES,
	       "nobody may not come in");
	ok(anonymous && anonymous->hint &&
		   strstr(anonymous->hint, "mops login 127.0.0.1"),
	   "and is told what to do");
	forget();
	is_int(resolve_as(bad, "auth-basic", &wrong), -EACCES,
	       "nor the wrong one");
	ok(seen_of("auth=Basic") <= 2, "who does not insist");
	ok(wrong && !strstr(wrong->message, bad), "no secret in the message");
	is_int(resolve_as(good, "auth-unknown", NULL), -EACCES,
	       "a scheme that we do not know is not answered");
	is_int(resolve_as(good, "auth-broken", NULL), 0,
	       "a broken challenge is looked up at the base");
	forget();
	resolve_as(good, "plain", NULL);
	is_int(seen_of("auth=Basic"), 0, "who is not asked shows nothing");
	cleanup_registry struct registry *r = open_as(good);
	struct sink_mem s;

	forget();
	sink_mem_init(&s, SIZE);
	struct digest d;

	r->ops->resolve(r, "auth-basic", "v1", &d, NULL, NULL);
	is_int(r->ops->read_blob(r, "to-b", &blob_digest, SIZE, 0, SIZE,
				 &s.sink, NULL, NULL),
	       0, "a redirect away from a registry that knows us");
	cleanup_free char *log = seen();

	ok(strstr(log, "a GET /v2/to-b/blobs") && strstr(log, "auth=Basic") &&
		   !strstr(log, "b GET /good/1 auth=Basic"),
	   "leaves what we showed it behind");
	for (const char *p = log; (p = strstr(p, "\"b ")); p++)
		ok(strncmp(strstr(p, "auth="), "auth=None", 9) == 0,
		   "at the foreign host");
	free(s.buf);
}

/* Of what was seen, each request with @what in its path: how many there are, and
 * whether none of them says who we are. */
static void shows_nothing(const char *what, unsigned at_least)
{
	cleanup_free char *log = seen();
	unsigned n = 0, told = 0;

	for (const char *p = log; (p = strstr(p, what)); p++, n++)
		told += strncmp(strstr(p, "auth="), "auth=None", 9) != 0;
	ok(n >= at_least && !told, "'%s': %u requests, %u with our name", what,
	   n, told);
}

static void reads_led_back(struct registry *r)
{
	struct sink_mem s;

	sink_mem_init(&s, SIZE);
	forget();
	for (unsigned i = 0; i < 3; i++)
		is_int(r->ops->read_blob(r, "to-back", &blob_digest, SIZE,
					 i * 1000, 1000, &s.sink, NULL, NULL),
		       0, "a read that is led away and back");
	ok(memcmp(s.buf, blob, 3000) == 0, "arrives");
	free(s.buf);
	shows_nothing("?back=1", 3);
}

static void uploads_led_back(struct registry *r)
{
	struct digest d = digest_of_str("strayed");
	struct feed_mem f;

	feed_mem_init(&f, "strayed", 7);
	forget();
	is_int(r->ops->put_blob(r, "up-stray", &d, &f.feed, NULL, NULL), 0,
	       "an upload whose session a foreign host opened arrives");
	shows_nothing("uploads/strayed", 1);
}

static void pages_led_back(struct registry *r)
{
	cleanup_strv char **tags = NULL;

	forget();
	is_int(r->ops->list_tags(r, "tags-away", &tags, NULL, NULL), -EPROTO,
	       "a foreign host does not say what the next page is");
	shows_nothing("led=1", 0);
}

/* A foreign host that leads back must not choose what our name is used for. */
static void test_credentials_do_not_come_back(void)
{
	cleanup_registry struct registry *r = open_as("YWxpY2U6d29uOmRlcg==");
	cleanup_free char *log = NULL;
	const char *back;
	struct feed_mem f;
	struct digest d;

	r->ops->resolve(r, "auth-basic", "v1", &d, NULL, NULL);
	d = digest_of_str("bounced");
	feed_mem_init(&f, "bounced", 7);
	forget();
	is_int(r->ops->put_blob(r, "up-bounce", &d, &f.feed, NULL, NULL), 0,
	       "an upload that leads away and back arrives");
	log = seen();
	back = strstr(log, "/v2/plain/blobs/uploads/bounced");
	ok(strstr(log, "auth=Basic"), "the registry itself knows who pushes");
	ok(back && strncmp(strstr(back, "auth="), "auth=None", 9) == 0,
	   "what a foreign host leads to does not");
	reads_led_back(r);
	uploads_led_back(r);
	pages_led_back(r);
}

/* base64 of alice:won:der */
#define GOOD "\"auth\":\"YWxpY2U6d29uOmRlcg==\""
#define BAD  "\"auth\":\"YWxpY2U6d3Jvbmc=\""

static int resolve_with(const char *entry, const char *repo,
			struct error **errp)
{
	cleanup_registry struct registry *r = open_with(entry);
	struct digest d;

	return r->ops->resolve(r, repo, "v1", &d, NULL, errp);
}

static void token_works(const char *entry, const char *repo)
{
	cleanup_error struct error *err = NULL;
	int r = resolve_with(entry, repo, &err);

	if (!ok(r == 0, "'%s': a token is got and shown", repo))
		printf("# %d %s\n", r, err ? err->message : "");
}

static void token_fails(const char *entry, const char *repo, int code,
			const char *hint)
{
	cleanup_error struct error *err = NULL;
	int r = resolve_with(entry, repo, &err);

	if (!ok(r == code && (!hint || (err->hint && strstr(err->hint, hint))),
		"'%s': no token, %s", repo, strerror(-code)))
		printf("# %d %s (%s)\n", r, err ? err->message : "",
		       err && err->hint ? err->hint : "");
	ok(!err || !strstr(err->message, "won:der"),
	   "no secret in its message");
}

static void test_token_requests(void)
{
	forget();
	token_works(GOOD, "tok-basic/some/repo");
	cleanup_free char *log = seen();

	ok(strstr(log,
		  "GET /token/tok-basic?x=1&service=odd%2C%20service&scope="
		  "repository%3Atok-basic%2Fsome%2Frepo%3Apull&account="
		  "alice auth=Basic"),
	   "by a request as the protocol has it");
	token_works(GOOD, "tok-post");
	token_works("\"identitytoken\":\"identity+/=1\"", "tok-identity");
	token_works("", "tok-anon");
	token_works(GOOD, "tok-busy");
	token_works(GOOD, "tok-scope");
	token_fails(BAD, "tok-basic", -EACCES, "--anonymous");
	token_fails("", "tok-basic", -EACCES, "mops login 127.0.0.1");
	token_fails("\"registrytoken\":\"ready\"", "tok-basic", -EACCES, NULL);
	forget();
	token_fails("\"registrytoken\":\"a\\r\\nX-Injected: yes\"", "tok-basic",
		    -EINVAL, NULL);
	is_int(seen_of("auth=Bearer"), 0, "a token of two lines is not sent");
	token_fails(GOOD, "tok-html", -EPROTO, NULL);
	token_fails(GOOD, "tok-inject", -EPROTO, NULL);
	token_fails(GOOD, "tok-huge", -EFBIG, NULL);
	token_fails(GOOD, "tok-http", -EPROTO, NULL);
	token_fails(GOOD, "tok-realmless", -EPROTO, NULL);
	forget();
	token_fails(GOOD, "tok-moved", -EPROTO, NULL);
	is_int(seen_of("b GET"), 0,
	       "a service that sends us on is not followed");
}

static int read_some(struct registry *r, const char *repo)
{
	struct sink_mem s;
	int rc;

	sink_mem_init(&s, SIZE);
	rc = r->ops->read_blob(r, repo, &blob_digest, SIZE, 10, 1000, &s.sink,
			       NULL, NULL);
	if (rc == 0 && memcmp(s.buf, blob + 10, 1000) != 0)
		rc = -EBADMSG;
	free(s.buf);
	return rc;
}

static void test_token_lives(void)
{
	cleanup_registry struct registry *r = open_with(GOOD);
	int64_t end;
	int failed = 0, reads = 0;

	forget();
	for (int i = 0; i < 10; i++)
		failed += read_some(r, "tok-basic") != 0;
	is_int(failed, 0, "reads go on");
	is_int(seen_of("/token/"), 1, "with one token");
	for (int i = 0; i < 7; i++)
		failed += read_some(r, "tok-lying") != 0;
	is_int(failed, 0, "a token that ends early is replaced");
	/* the first one by the service that the other repository named */
	is_int(seen_of("/token/"), 5, "each time");
	end = time_deadline_ms(2500);
	for (; time_mono_ns() < end; reads++)
		failed += read_some(r, "tok-short") != 0;
	is_int(failed, 0, "a short life of tokens is no trouble");
	cleanup_free char *log = seen();
	unsigned asked = server_saw(log, "/token/");

	ok(reads > 20 && asked >= 3 && asked <= 5,
	   "%d reads, %u tokens in 2.5 s", reads, asked);
	is_int(server_saw(log, "auth=None range=bytes"), 0,
	       "renewed before they end");
	for (int i = 0; i < 3; i++)
		failed += read_some(r, "tok-renewing") != 0;
	forget();
	failed += read_some(r, "tok-renewing/other") != 0;
	is_int(failed, 0, "a service's own refresh token");
	is_int(seen_of("POST /token/"), 1, "is used for the next");
}

struct flight {
	struct registry *r;
	int code;
};

static void *fly(void *arg)
{
	struct flight *f = arg;

	f->code = read_some(f->r, "tok-flight");
	return NULL;
}

static void test_token_flight(void)
{
	cleanup_registry struct registry *r = open_with(GOOD);
	struct flight f[8];
	pthread_t t[8];
	int failed = 0;

	forget();
	for (int i = 0; i < 8; i++) {
		f[i] = (struct flight){.r = r};
		pthread_create(&t[i], NULL, fly, &f[i]);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		failed += f[i].code != 0;
	}
	is_int(failed, 0, "eight threads read");
	is_int(seen_of("/token/"), 1, "one of them gets the token for all");
}

static void test_hosts(void)
{
	static const char *const bad[] = {"",    "a/b", "a?b",     "a b",
					  "u@h", "h:x", "h:99999", "h\r\nX: y"};
	struct registry_http_options o = {.times = quick};
	struct registry *r = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		o.host = bad[i];
		is_int(registry_http_new(client, &o, &r, NULL), -EINVAL,
		       "'%s' is no host", i == 7 ? "(a header)" : bad[i]);
	}
}

int main(void)
{
	const char *const argv[] = {"odd_registry.py", NULL};
	const struct http_client_options o = {.times = quick};

	if (!server_start(&server, argv))
		tap_skip_all(server.ready);
	config_dir = tmpdir_new();
	setenv("DOCKER_CONFIG", config_dir, 1);
	for (unsigned i = 0; i * DIGEST_SIZE < SIZE; i++) {
		cleanup_free char *s = xasprintf("%u", i);
		struct digest d = digest_of_str(s);

		memcpy(blob + (size_t)i * DIGEST_SIZE, d.b, DIGEST_SIZE);
	}
	blob_digest = digest_of_buf(blob, SIZE);
	if (http_client_new(&o, &client, NULL) < 0)
		abort();
	credentials = credentials_new();
	reg = open_as("");

	test_ranges();
	test_resuming();
	test_targets();
	test_presence();
	test_manifests();
	test_storing_manifests();
	test_uploads();
	test_pieces();
	test_mounts();
	test_lists();
	test_referrers();
	test_removal();
	test_auth();
	test_credentials_do_not_come_back();
	test_token_requests();
	test_token_lives();
	test_token_flight();
	test_hosts();

	registry_free(reg);
	credentials_free(credentials);
	http_client_free(client);
	server_stop(&server);
	tmpdir_remove(config_dir);
	return tap_done();
}

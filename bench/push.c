/*
 * bench-push DIR REF pack|one: pushes DIR to REF with small files in packs, or
 * each as a blob of its own, which is more than the format holds: such a bundle
 * is not readable. Prints "SECONDS BLOBS BYTES".
 */
#include <stdio.h>

#include "base/escape.h"
#include "engine/push.h"

static int run(const char *dir, const char *to, bool one,
	       struct push_result *ret, struct error **errp)
{
	cleanup_settings struct settings settings = {0};
	cleanup_session struct session *s = NULL;
	struct push_options o = {.dir = dir, .to = to, .pack_nothing = one};
	int r = settings_load(NULL, 0, &settings, errp);

	if (r == 0)
		r = session_new(&settings, &s, errp);
	return r < 0 ? r : push(s, &o, ret, NULL, errp);
}

int main(int argc, char **argv)
{
	cleanup_error struct error *err = NULL;
	cleanup_push_result struct push_result p = {0};
	int64_t start = time_mono_ns();

	if (argc != 4) {
		fprintf(stderr, "usage: bench-push DIR REF pack|one\n");
		return 2;
	}
	if (run(argv[1], argv[2], !strcmp(argv[3], "one"), &p, &err) < 0) {
		print_line(stderr, "bench-push: %s",
			   err ? err->message : "failed");
		return 3;
	}
	printf("%.3f %llu %llu\n", (double)(time_mono_ns() - start) / NS_PER_S,
	       (unsigned long long)p.blobs_sent,
	       (unsigned long long)p.bytes_sent);
	return 0;
}

/*
 * A settings file is refused with its place, or every value is in its bounds.
 */
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/path.h"
#include "engine/reference.h"
#include "engine/settings.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct settings *s)
{
	const struct setting_info *info;

	assert(!registry_flaw(s->registry));
	assert(s->cache_dir[0] == '/');
	assert(!s->role || layer_name_valid(s->role));
	assert(s->concurrency >= 1 && s->concurrency <= 256);
	assert(s->limit_rate <= INT64_MAX);
	assert(s->times.connect_ms > 0 && s->times.connect_ms < INT64_MAX);
	assert(s->times.stall_ms > 0 && s->times.stall_ms < INT64_MAX);
	assert(s->times.io_ms > 0);
	for (char **root = s->file_roots; root && *root; root++)
		assert((*root)[0] == '/');
	for (size_t i = 0; (info = settings_info(i)); i++) {
		const char *origin = NULL;
		cleanup_free char *v = settings_value(s, info->name, &origin);

		assert(v && origin);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_settings struct settings s = {0};
	cleanup_error struct error *err = NULL;
	cleanup_fd int fd = memfd_create("settings", MFD_CLOEXEC);
	cleanup_free char *path = xasprintf("/proc/self/fd/%d", fd);

	if (fd < 0 || io_pwrite_full(fd, data, size, 0) < 0)
		abort();
	/* The user's own file and environment stay out of it. */
	clearenv();
	if (settings_load_from(path, NULL, 0, &s, &err) < 0) {
		assert(err && strncmp(err->message, path, strlen(path)) == 0);
		return 0;
	}
	check(&s);
	return 0;
}

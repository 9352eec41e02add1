#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/io.h"

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		abort(); /* only for a clock that does not exist */
	return timespec_ns(&ts);
}

int64_t time_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t time_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t time_wall_s(void)
{
	return time_wall_ns() / NS_PER_S;
}

int64_t time_deadline_ms(int64_t ms)
{
	int64_t ns, deadline;

	if (__builtin_mul_overflow(ms, NS_PER_MS, &ns) ||
	    __builtin_add_overflow(time_mono_ns(), ns, &deadline))
		return ms < 0 ? 0 : TIME_NEVER;
	return deadline;
}

void time_sleep_ms(int64_t ms)
{
	struct timespec ts = {
		.tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000 * NS_PER_MS),
	};

	if (ms <= 0)
		return;
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

static char boot_id[37];

static void boot_id_read(void)
{
	cleanup_fd int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || io_read_full(fd, boot_id, 36) != 36)
		memset(boot_id, 0, sizeof(boot_id));
}

const char *time_boot_id(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, boot_id_read);
	return boot_id;
}

#include "fs/control.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "tests/lib/tmpdir.h"

/* A device that no mount has. */
#define MAJOR 4000
#define MINOR 1

static char *top, *folder;
static int listener;

/* Answers one client, whatever it asks. */
static void *impostor(void *arg)
{
	int fd = accept(listener, NULL, NULL);
	char line[64];

	(void)arg;
	if (fd >= 0) {
		cr_expect(gt(i64, recv(fd, line, sizeof(line), 0), 0));
		cr_expect(gt(i64, send(fd, "{\"pid\":1}\n", 10, MSG_NOSIGNAL),
			     0));
		close(fd);
	}
	return NULL;
}

static void setup(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	top = tmpdir_new();
	folder = xasprintf("%s/mopsfs", top);
	cr_assert(eq(int, mkdir(folder, 0700), 0));
	setenv("XDG_RUNTIME_DIR", top, 1);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%d-%d.sock", folder,
		 MAJOR, MINOR);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, bind(listener, (void *)&addr, sizeof(addr)), 0));
	cr_assert(eq(int, listen(listener, 1), 0));
}

static void teardown(void)
{
	shutdown(listener, SHUT_RDWR);
	close(listener);
	tmpdir_remove(top);
	free(folder);
}

TestSuite(control, .init = setup, .fini = teardown, .timeout = 20);

static int ask(void)
{
	cleanup_strbuf struct strbuf answer = STRBUF_INIT;

	return control_ask(MAJOR, MINOR, "status", 5, &answer);
}

Test(control, the_owner_of_the_folder_is_believed)
{
	pthread_t th;

	cr_assert(eq(int, thread_start(&th, "impostor", impostor, NULL), 0));
	cr_expect(eq(int, ask(), 0));
	pthread_join(th, NULL);
}

Test(control, a_socket_where_others_can_write_is_not_asked)
{
	pthread_t th;

	cr_assert(eq(int, chmod(folder, 0777), 0));
	cr_assert(eq(int, thread_start(&th, "impostor", impostor, NULL), 0));
	cr_expect(eq(int, ask(), -ENOENT));
	shutdown(listener, SHUT_RDWR);
	pthread_join(th, NULL);
}

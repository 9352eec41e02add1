#include "fs/publisher.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/time.h"
#include "tests/lib/tmpdir.h"

static struct record_table *table;
static struct publisher p;
static char *dir, *path;

static void say(const char *text)
{
	strcpy(table->text, text);
	table->len = strlen(text);
}

static void set_up(void)
{
	dir = tmpdir_new();
	path = xasprintf("%s/there/trace", dir);
	p = (struct publisher){.path = path};
	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert(table != MAP_FAILED);
	say(TRACE_HEAD);
}

static void clean_up(void)
{
	munmap(table, sizeof(*table));
	free(path);
	tmpdir_remove(dir);
}

TestSuite(publisher, .init = set_up, .fini = clean_up);

static void make_folder(void)
{
	cleanup_free char *folder = xasprintf("%s/there", dir);

	cr_assert(eq(int, mkdir(folder, 0755), 0));
}

static void wait_for_it(void)
{
	int status;
	pid_t pid = waitpid(p.pid, &status, 0);

	cr_assert(pid > 0 && pid == p.pid);
	cr_assert(publisher_died(&p, pid, status));
}

static void expect_file(const char *want)
{
	cleanup_free char *got = NULL;
	size_t n;

	cr_assert(eq(int, io_read_file(AT_FDCWD, path, 1000, &got, &n), 0));
	cr_expect(eq(str, got, (char *)want));
}

Test(publisher, writes_what_is_new)
{
	make_folder();
	publisher_look(&p, table, 1);
	wait_for_it();
	expect_file(TRACE_HEAD);
	publisher_look(&p, table, 100 * NS_PER_S);
	cr_expect(eq(int, p.pid, 0));
	say(TRACE_HEAD "0 1 a\n");
	publisher_look(&p, table, 2);
	cr_expect(eq(int, p.pid, 0), "too soon");
	publisher_look(&p, table, 200 * NS_PER_S);
	wait_for_it();
	expect_file(TRACE_HEAD "0 1 a\n");
}

Test(publisher, tries_again_what_failed)
{
	publisher_look(&p, table, 1);
	wait_for_it();
	cr_expect(eq(str, p.complaint, "No such file or directory"));
	make_folder();
	publisher_look(&p, table, 100 * NS_PER_S);
	wait_for_it();
	cr_expect(eq(str, p.complaint, ""));
	expect_file(TRACE_HEAD);
}

static void expect_file_soon(const char *want)
{
	struct stat st;

	for (int i = 0; stat(path, &st) < 0 && i < 2000; i++)
		time_sleep_ms(10);
	expect_file(want);
}

/* In place of one that writes. */
static void let_another_hang(void)
{
	p.pid = fork();
	if (p.pid == 0)
		for (;;)
			pause();
	cr_assert(p.pid > 0);
}

Test(publisher, tries_again_when_it_was_killed)
{
	make_folder();
	p.writing = strlen(TRACE_HEAD);
	let_another_hang();
	publisher_look(&p, table, 100 * NS_PER_S);
	kill(p.pid, SIGKILL);
	wait_for_it();
	cr_expect(eq(str, p.complaint, "ended by signal 9"));
	publisher_look(&p, table, 200 * NS_PER_S);
	wait_for_it();
	expect_file(TRACE_HEAD);
}

Test(publisher, writes_all_in_the_end)
{
	make_folder();
	publisher_look(&p, table, 1);
	say(TRACE_HEAD "0 1 a\n");
	publisher_end(&p, table, 10000);
	expect_file(TRACE_HEAD "0 1 a\n");
}

Test(publisher, does_not_wait_for_ever_for_one_that_hangs, .timeout = 30)
{
	make_folder();
	let_another_hang();
	publisher_end(&p, table, 500);
	expect_file_soon(TRACE_HEAD);
}

/* What is not waited for is written all the same. */
Test(publisher, is_patient_for_so_long)
{
	make_folder();
	publisher_end(&p, table, 0);
	expect_file_soon(TRACE_HEAD);
}

/*
 * A server of tests/servers/ that runs beside a test program. It prints one
 * line "ready KEY=VALUE …" when it listens, and ends when its standard input
 * does, so that it cannot outlive the test.
 */
#ifndef TESTS_SERVER_H
#define TESTS_SERVER_H

#include <sys/types.h>

struct server {
	pid_t pid;
	int stdin_fd;
	char ready[512]; /* the line */
};

/* @argv: script name in tests/servers/, arguments, NULL. Returns false when
 * it cannot run here; its reason is in s->ready. */
int server_start(struct server *s, const char *const *argv);
/* The value of @key in the ready line, in a static buffer; "" if absent. */
const char *server_value(const struct server *s, const char *key);
void server_stop(struct server *s);
/* How often @what stands in what a server says that it saw. */
unsigned server_saw(const char *log, const char *what);

#endif

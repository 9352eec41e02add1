#include "tests/lib/server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 16

__attribute__((noreturn)) static void run(const char *const *argv,
					  const int in[2], const int out[2])
{
	const char *args[ARGS_MAX + 3] = {"python3"};
	char script[4096];
	const char *root = getenv("MOPS_SOURCE_ROOT");

	snprintf(script, sizeof(script), "%s/tests/servers/%s",
		 root ? root : ".", argv[0]);
	args[1] = script;
	for (int i = 1; argv[i] && i < ARGS_MAX; i++)
		args[i + 1] = argv[i];
	dup2(in[0], 0);
	dup2(out[1], 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	execv("/usr/bin/python3", (char *const *)args);
	_exit(127);
}

int server_start(struct server *s, const char *const *argv)
{
	int in[2], out[2];
	size_t n = 0;

	memset(s, 0, sizeof(*s));
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		abort();
	s->pid = fork();
	if (s->pid < 0)
		abort();
	if (s->pid == 0)
		run(argv, in, out);
	close(in[0]);
	close(out[1]);
	s->stdin_fd = in[1];
	while (n < sizeof(s->ready) - 1 && read(out[0], s->ready + n, 1) == 1 &&
	       s->ready[n] != '\n')
		n++;
	s->ready[n] = '\0';
	close(out[0]);
	return strncmp(s->ready, "ready ", 6) == 0;
}

const char *server_value(const struct server *s, const char *key)
{
	static char value[512];
	size_t n = strlen(key);
	const char *p = s->ready;

	while ((p = strchr(p, ' '))) {
		p++;
		if (strncmp(p, key, n) == 0 && p[n] == '=') {
			snprintf(value, sizeof(value), "%s", p + n + 1);
			value[strcspn(value, " ")] = '\0';
			return value;
		}
	}
	return "";
}

void server_stop(struct server *s)
{
	if (s->pid <= 0)
		return;
	close(s->stdin_fd);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

unsigned server_saw(const char *log, const char *what)
{
	unsigned n = 0;

	while ((log = strstr(log, what))) {
		n++;
		log += strlen(what);
	}
	return n;
}

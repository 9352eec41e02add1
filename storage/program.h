/*
 * Other programs that print an answer (credential helpers; mopsfs, which doctor
 * asks): found in PATH, run without a shell, in "/", with no descriptor of ours
 * but their own three (standard error goes nowhere), for PROGRAM_TIME_MS and
 * PROGRAM_OUTPUT_MAX bytes at most. One that takes longer, or is cancelled, gets
 * SIGTERM, and SIGKILL when it then does not end.
 *
 * Threads: any that may wait: never one that serves a mount, since the program
 * may touch it.
 */
#ifndef STORAGE_PROGRAM_H
#define STORAGE_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/op.h"

#define PROGRAM_OUTPUT_MAX 65536
#define PROGRAM_TIME_MS    30000

/* Where @name is below an absolute folder of PATH, heap; NULL: nowhere. */
char *program_find(const char *name);

/*
 * Run @argv, whose first is a path, with @input on its standard input. 0: it
 * ended, *@ret_status is as wait() has it and *@ret what it printed, ended by
 * a NUL. Or -errno: -EINVAL it printed too much, -ETIMEDOUT, -ECANCELED, or
 * what kept it from starting.
 */
int program_run(char *const *argv, const char *input, char **ret,
		int *ret_status, const struct op *op, struct error **errp);
/* Wipes. NULL is fine. */
void program_output_free(char *buf);
static inline void program_output_freep(char **buf)
{
	program_output_free(*buf);
	*buf = 0;
}
#define cleanup_program_output __attribute__((cleanup(program_output_freep)))

/*
 * For a process that may start no program: have another one do it. @start gets
 * the words, standard input and standard output, and returns a descriptor, or
 * -errno: the int that is read from it is the status; its end, without one,
 * says that the program did not start. When it is closed the program is killed.
 * Before the first thread.
 */
void program_run_with(int (*start)(char *const *argv, int in, int out));
/* For that other process: start it, as the leader of its own group. */
int program_spawn(char *const *argv, int in, int out, pid_t *ret);
/* Is @argv a credential helper of PATH that is asked for a login, or the
 * `credential_process` of the AWS profile that is in use? */
bool program_is_configured(char *const *argv);

/* A status that is no success, in words; -@code. */
int program_failed(int status, int code, struct error **errp);

#endif

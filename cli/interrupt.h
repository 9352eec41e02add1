/*
 * SIGINT and SIGTERM: the first cancels the operation, which cleans up and
 * returns; a second one ends the process at once.
 *
 * Threads: interrupt_catch() from one, before others start.
 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdatomic.h>
#include <stdbool.h>

void interrupt_catch(void);
/* Set once a signal came: for struct op. */
const atomic_bool *interrupt_flag(void);
/* The signal that came, or 0. */
int interrupt_signal(void);

#endif

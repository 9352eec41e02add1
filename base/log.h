/*
 * The log. Below cli/ and fs/ only debug lines are written; the edge prints
 * each error once. Every line is escaped.
 *
 * Threads: any.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/error.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE,
};

/* Lines above @level are dropped. Default: LOG_LEVEL_WARN. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Prefix of lines on stderr ("mops", "mopsfs"); default none. */
void log_set_name(const char *name);

/*
 * Where lines go: NULL or "stderr", "syslog", "journal" (its native socket;
 * falls back to syslog), or a path (appended to, 0640, timestamps in UTC).
 */
int log_open(const char *target, struct error **errp);

void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif

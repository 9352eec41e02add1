#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "fs/link.h"
#include "fs/report.h"
#include "fs/warm_jobs.h"

#define REQUEST_MAX  8192
#define ANSWER_MAX   (1u << 20)
#define CLIENT_MS    1000
#define NO_CLIENT_MS 100
/* A client whose worker dies asks the next one. */
#define MAX_ASKS 10

struct control {
	struct mount *m;
	struct warm_jobs *warm;
	pthread_t thread;
	bool serving;
	int listener, stop; /* eventfd */
	struct stat own;    /* the listener's name */
	int link;           /* to the supervisor */
};

/*
 * Folders where sockets are looked for, the place for new ones first. Only
 * folders that nobody else can write to are used.
 */
static char **socket_folders(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char **v = NULL;

	if (runtime && *runtime == '/')
		strv_append(&v, xasprintf("%s/mopsfs", runtime));
	if (geteuid() == 0) {
		strv_append(&v, xstrdup("/run/mopsfs"));
		return v;
	}
	strv_append(&v, xasprintf("/run/user/%u/mopsfs", geteuid()));
	strv_append(&v, xasprintf("/tmp/mopsfs-%u", geteuid()));
	return v;
}

static bool folder_is_ours(const char *folder)
{
	struct stat st;

	return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) &&
	       st.st_uid == geteuid() && !(st.st_mode & 022);
}

static char *socket_path(const char *folder, unsigned major, unsigned minor)
{
	return xasprintf("%s/%u-%u.sock", folder, major, minor);
}

static int address_of(const char *path, struct sockaddr_un *ret)
{
	size_t n = strlen(path) + 1;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (n > sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, n);
	return 0;
}

/*
 * The server.
 */

static int listen_at(const char *path)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	int r = address_of(path, &a);

	if (fd < 0 || r < 0)
		return fd < 0 ? -errno : r;
	/* Left by a mount whose number we have now. */
	unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    chmod(path, 0600) < 0 || listen(fd, 8) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* In the first folder that will have it. */
static int make_socket(struct control *c)
{
	cleanup_strv char **folders = socket_folders();
	int r = -ENOENT;

	/* A received mount on a kernel that does not say which it is. */
	if (!c->m->major && !c->m->minor)
		return -ENXIO;
	for (size_t i = 0; i < strv_len(folders); i++) {
		cleanup_free char *path =
			socket_path(folders[i], c->m->major, c->m->minor);

		if (mkdir(folders[i], 0700) < 0 && errno != EEXIST)
			continue;
		if (!folder_is_ours(folders[i]))
			continue;
		r = listen_at(path);
		if (r >= 0)
			return r;
	}
	return r;
}

/* The first line, without its end. False: nothing in time. */
static bool read_line(int fd, char *buf, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;

		if (poll(&p, 1, CLIENT_MS) <= 0)
			return false;
		got = recv(fd, buf + n, size - 1 - n, 0);
		if (got <= 0)
			return false;
		n += (size_t)got;
		buf[n] = '\0';
		if (memchr(buf, '\n', n))
			break;
	}
	buf[strcspn(buf, "\r\n")] = '\0';
	return true;
}

/* What follows "@word " in the line; NULL when it begins otherwise. */
static const char *has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	return !strncmp(line, word, n) && line[n] == ' ' ? line + n + 1 : NULL;
}

/* "pause" or "resume": what the prefetch is then, or why there is none. */
static void answer_prefetch(struct mount *m, const char *word,
			    struct strbuf *out)
{
	bool pause = !strcmp(word, "pause");
	struct prefetch_report r;
	struct json_writer w;

	json_writer_init(&w, out);
	if (m->prefetch && (pause || !strcmp(word, "resume"))) {
		atomic_store(&m->handover->table->prefetch_paused, pause);
		prefetch_pause(m->prefetch, pause);
		prefetch_look(m->prefetch, &r);
		report_prefetch(&r, NULL, &w);
		return;
	}
	json_begin_object(&w, NULL);
	json_put_str(&w, "why", "this mount prefetches nothing");
	json_end_object(&w);
}

static void answer(struct control *c, const char *line, struct strbuf *out)
{
	bool http = !strncmp(line, "GET /metrics HTTP/1.", 20);
	const char *path = has_word(line, "warm");
	const char *word = has_word(line, "prefetch");

	if (http)
		strbuf_adds(out, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; "
				 "version=0.0.4\r\n\r\n");
	if (http || !strcmp(line, "metrics"))
		report_metrics(c->m, out);
	else if (!strcmp(line, "status"))
		report_status(c->m, out);
	else if (path)
		warm_jobs_answer(c->warm, path, out);
	else if (word)
		answer_prefetch(c->m, word, out);
}

/* False: not that. The supervisor answers the client, which may outlive us. */
static bool pass_on(struct control *c, const char *line, int fd)
{
	const char *program = has_word(line, "upgrade");

	return program &&
	       link_send(c->link, LINK_UPGRADE, program, &fd, 1) == 0;
}

static void serve_client(struct control *c, int fd)
{
	struct timeval patience = {.tv_sec = CLIENT_MS / 1000};
	cleanup_strbuf struct strbuf out = STRBUF_INIT;
	char line[REQUEST_MAX];

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!read_line(fd, line, sizeof(line)))
		return;
	if (pass_on(c, line, fd))
		return;
	answer(c, line, &out);
	for (size_t n = 0; n < out.len;) {
		ssize_t sent = send(fd, out.buf + n, out.len - n, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		n += (size_t)sent;
	}
}

static void *serve(void *arg)
{
	struct control *c = arg;

	for (;;) {
		struct pollfd p[] = {{.fd = c->listener, .events = POLLIN},
				     {.fd = c->stop, .events = POLLIN}};
		cleanup_fd int fd = -1;

		if (poll(p, ARRAY_SIZE(p), warm_jobs_look(c->warm)) < 0 &&
		    errno != EINTR)
			return NULL;
		if (p[1].revents)
			return NULL;
		if (p[0].revents)
			fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
		if (p[0].revents && fd < 0) /* no descriptor: not in a loop */
			time_sleep_ms(NO_CLIENT_MS);
		if (fd >= 0)
			serve_client(c, fd);
	}
}

static void control_free(struct control *c)
{
	closep(&c->listener);
	closep(&c->stop);
	warm_jobs_free(c->warm);
	free(c);
}

struct control *control_open(struct mount *m, int link, int listener)
{
	struct control *c = xcalloc(1, sizeof(*c));

	c->m = m;
	c->warm = warm_jobs_new(m);
	c->stop = eventfd(0, EFD_CLOEXEC);
	c->link = link;
	c->listener = listener >= 0 ? listener : make_socket(c);
	control_look(c->listener, &c->own);
	if (c->listener >= 0 && c->stop >= 0)
		return c;
	log_warn("this mount has no status socket: %s",
		 strerror(c->listener < 0 ? -c->listener : EMFILE));
	control_free(c);
	return NULL;
}

void control_serve(struct control *c)
{
	int r;

	if (!c)
		return;
	r = thread_start(&c->thread, "control", serve, c);
	c->serving = r == 0;
	if (r < 0)
		log_warn("nobody answers at this mount's status socket: %s",
			 strerror(-r));
}

int control_listener(const struct control *c)
{
	return c ? c->listener : -1;
}

char *control_path(int listener)
{
	struct sockaddr_un a = {0};
	socklen_t n = sizeof(a) - 1;

	return getsockname(listener, (struct sockaddr *)&a, &n) == 0 &&
			       a.sun_path[0] == '/'
		       ? xstrdup(a.sun_path)
		       : NULL;
}

/* While the socket is open, no other file gets its number. */
void control_look(int listener, struct stat *ret)
{
	cleanup_free char *path = control_path(listener);

	if (!path || lstat(path, ret) < 0)
		*ret = (struct stat){0};
}

void control_remove(int listener, const struct stat *own)
{
	cleanup_free char *path = control_path(listener);
	struct stat there;

	control_look(listener, &there);
	if (path && there.st_dev == own->st_dev && there.st_ino == own->st_ino)
		unlink(path);
}

void control_stop(struct control *c)
{
	uint64_t one = 1;

	if (!c)
		return;
	control_remove(c->listener, &c->own);
	if (c->serving) {
		io_write_full(c->stop, &one, sizeof(one));
		pthread_join(c->thread, NULL);
	}
	control_free(c);
}

/*
 * The client.
 */

static int connect_to(const char *path, unsigned patience_s)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = patience_s};
	struct sockaddr_un a;
	int r = address_of(path, &a);

	if (fd < 0 || r < 0)
		return fd < 0 ? -errno : r;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int ask_at(const char *path, const char *what, unsigned patience_s,
		  struct strbuf *ret)
{
	cleanup_fd int fd = connect_to(path, patience_s);
	cleanup_free char *line = xasprintf("%s\n", what);
	char buf[4096];
	ssize_t n;

	if (fd < 0)
		return fd;
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		return errno == EPIPE ? -ECONNRESET : -errno;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		strbuf_add(ret, buf, (size_t)n);
		if (ret->len > ANSWER_MAX)
			return -EPROTO;
	}
	if (n < 0)
		return -errno;
	return ret->len ? 0 : -ECONNRESET;
}

/* While workers change, the socket stays, but an answer may be cut off. */
static int ask_patiently(const char *path, const char *what,
			 unsigned patience_s, struct strbuf *ret)
{
	int r = -ECONNRESET;

	for (int i = 0; i < MAX_ASKS && r == -ECONNRESET; i++) {
		strbuf_reset(ret);
		r = ask_at(path, what, patience_s, ret);
	}
	return r;
}

int control_ask(unsigned major, unsigned minor, const char *what,
		unsigned patience_s, struct strbuf *ret)
{
	cleanup_strv char **folders = socket_folders();
	int r = -ENOENT;

	for (size_t i = 0; i < strv_len(folders); i++) {
		cleanup_free char *path = socket_path(folders[i], major, minor);

		/* In another user's folder anybody may answer. */
		if (!folder_is_ours(folders[i]))
			continue;
		r = ask_patiently(path, what, patience_s, ret);
		if (r != -ENOENT)
			return r;
	}
	return r;
}

/*
 * bench-link HOST-PORT MS MBIT: a slow network in front of a server on loopback.
 * Prints the port it listens on and relays every connection to 127.0.0.1:PORT.
 * What is sent arrives half of MS milliseconds later on either way; MBIT (0: no
 * limit) is shared by all connections, each way for itself. Ends with its
 * standard input.
 *
 * One thread for each way of a connection receives and another sends when it is
 * time; a queue of at most QUEUE_MAX bytes lies between them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK     (256u << 10)
#define QUEUE_MAX (64u << 20)
#define NS_PER_S  1000000000LL

struct block {
	STAILQ_ENTRY(block) link;
	int64_t due_ns;
	size_t n; /* 0: the end */
	char data[];
};

/* One way of a connection. */
struct way {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	STAILQ_HEAD(, block) queue;
	size_t queued;
	bool broken;
	int from, to;
	_Atomic int64_t *free_ns; /* when the line is free again */
	struct connection *c;
};

struct connection {
	struct way ways[2];
	atomic_int threads;
};

static int64_t delay_ns, ns_per_byte_x1000;
static uint16_t target;
static _Atomic int64_t line_free[2];

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "bench-link: %s: %s\n", what, strerror(errno));
	exit(3);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void sleep_until(int64_t ns)
{
	struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) ==
	       EINTR)
		;
}

/* When @n bytes that came now have gone down the line. */
static int64_t through_line(struct way *w, size_t n)
{
	int64_t cost = (int64_t)n * ns_per_byte_x1000 / 1000;
	int64_t was = atomic_load(w->free_ns), then;

	do {
		int64_t now = now_ns();

		then = (was > now ? was : now) + cost;
	} while (!atomic_compare_exchange_weak(w->free_ns, &was, then));
	return then;
}

static void connection_unref(struct connection *c)
{
	if (atomic_fetch_sub(&c->threads, 1) > 1)
		return;
	close(c->ways[0].from);
	close(c->ways[0].to);
	free(c);
}

/* False when the other thread has given up. */
static bool enqueue(struct way *w, struct block *b)
{
	bool ok;

	pthread_mutex_lock(&w->lock);
	while (w->queued >= QUEUE_MAX && !w->broken)
		pthread_cond_wait(&w->changed, &w->lock);
	ok = !w->broken;
	if (ok) {
		STAILQ_INSERT_TAIL(&w->queue, b, link);
		w->queued += b->n;
	}
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (!ok)
		free(b);
	return ok;
}

static struct block *dequeue(struct way *w)
{
	struct block *b;

	pthread_mutex_lock(&w->lock);
	while (!(b = STAILQ_FIRST(&w->queue)))
		pthread_cond_wait(&w->changed, &w->lock);
	STAILQ_REMOVE_HEAD(&w->queue, link);
	w->queued -= b->n;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return b;
}

static void *receive(void *arg)
{
	struct way *w = arg;
	bool more = true;

	while (more) {
		struct block *b = malloc(sizeof(*b) + BLOCK);
		ssize_t n;

		if (!b)
			die("memory");
		n = recv(w->from, b->data, BLOCK, 0);
		b->n = n > 0 ? (size_t)n : 0;
		b->due_ns = through_line(w, b->n) + delay_ns;
		more = enqueue(w, b) && n > 0;
	}
	connection_unref(w->c);
	return NULL;
}

static void give_up(struct way *w)
{
	pthread_mutex_lock(&w->lock);
	w->broken = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	shutdown(w->from, SHUT_RD);
}

static void *deliver(void *arg)
{
	struct way *w = arg;
	bool end = false;

	while (!end) {
		struct block *b = dequeue(w);
		ssize_t n = 1;

		sleep_until(b->due_ns);
		for (size_t at = 0; at < b->n && n > 0; at += (size_t)n)
			n = send(w->to, b->data + at, b->n - at, MSG_NOSIGNAL);
		end = !b->n || n <= 0;
		if (n <= 0)
			give_up(w);
		free(b);
	}
	shutdown(w->to, SHUT_WR);
	connection_unref(w->c);
	return NULL;
}

static void start(void *(*fn)(void *), struct way *w)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, fn, w))
		die("a thread");
	pthread_attr_destroy(&attr);
}

static void relay(int client)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(target),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct connection *c = calloc(1, sizeof(*c));
	int on = 1;

	if (!c || server < 0)
		die("a connection");
	if (connect(server, (struct sockaddr *)&at, sizeof(at)) < 0) {
		close(client);
		close(server);
		free(c);
		return;
	}
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	atomic_init(&c->threads, 4);
	for (int i = 0; i < 2; i++) {
		struct way *w = &c->ways[i];

		pthread_mutex_init(&w->lock, NULL);
		pthread_cond_init(&w->changed, NULL);
		STAILQ_INIT(&w->queue);
		w->from = i ? server : client;
		w->to = i ? client : server;
		w->free_ns = &line_free[i];
		w->c = c;
	}
	for (int i = 0; i < 2; i++) {
		start(receive, &c->ways[i]);
		start(deliver, &c->ways[i]);
	}
}

static void *end_with_stdin(void *arg)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	exit(0);
	return arg;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	double ms, mbit;
	int s;

	if (argc != 4) {
		fprintf(stderr, "usage: bench-link PORT MS MBIT\n");
		return 2;
	}
	target = (uint16_t)strtoul(argv[1], NULL, 10);
	ms = strtod(argv[2], NULL);
	mbit = strtod(argv[3], NULL);
	delay_ns = (int64_t)(ms * 1e6 / 2);
	ns_per_byte_x1000 = mbit > 0 ? (int64_t)(8e6 / mbit) : 0;
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(s, 128) < 0 ||
	    getsockname(s, (struct sockaddr *)&at, &len) < 0)
		die("listening");
	printf("%u\n", ntohs(at.sin_port));
	fflush(stdout);
	start(end_with_stdin, NULL);
	for (;;) {
		int client = accept4(s, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			die("accept");
		relay(client);
	}
}

#include "fs/parking.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/time.h"
#include "fs/read.h"
#include "fs/signals.h"
#include "fs/sources.h"

#define MAX_ASKS 3
/* Grace over the fetcher's own deadline, which has the better message. */
#define GRACE_MS 2000
/* When a parked request's caller is looked at first, and then how often. */
#define LOOK_FIRST_MS 30
#define LOOK_AGAIN_MS 30
#define TICK_MS       10
/* A caller that was freed comes back at once when its read was buffered (the
 * kernel tries the one page again): its next requests are looked at at once. */
#define FREED_KEPT_MS 1000
#define FREED_KEPT    32

struct parked {
	struct mount *m;
	fuse_req_t req;
	uint64_t id;
	fuse_ino_t ino;
	pid_t pid;
	struct fetch_range range;
	uint32_t source;
	int64_t since_ns;
	/* With the lock. */
	int64_t look_ns, deadline_ns;
	uint64_t ticket;
	unsigned asks;
	unsigned refs; /* the asking thread, and the callback to come */
	bool ready;    /* may be answered */
	bool interrupted;
	bool answered; /* and out of the list */
	struct parked *prev, *next;
};

struct parking {
	struct mount *m;
	struct watcher *watcher;
	int64_t budget_ms; /* INT64_MAX: for ever */
	struct mutex lock;
	struct cond changed;
	struct parked list; /* ring, oldest first */
	size_t n_listed, n_live;
	uint64_t last_id;
	bool look_now, stopping;
	struct {
		pid_t pid;
		int64_t until_ns;
	} freed[FREED_KEPT];
	unsigned next_freed;
};

/*
 * The life of a parked request.
 */

static void list_add_locked(struct parking *p, struct parked *k)
	REQUIRES(p->lock);
static void list_add_locked(struct parking *p, struct parked *k)
{
	k->next = &p->list;
	k->prev = p->list.prev;
	k->prev->next = k;
	p->list.prev = k;
	p->n_listed++;
	p->n_live++;
}

/* True: the caller, and nobody else, answers. */
static bool take_locked(struct parking *p, struct parked *k) REQUIRES(p->lock);
static bool take_locked(struct parking *p, struct parked *k)
{
	if (k->answered || !k->ready)
		return false;
	k->answered = true;
	k->prev->next = k->next;
	k->next->prev = k->prev;
	p->n_listed--;
	return true;
}

static bool parked_take(struct parked *k)
{
	struct parking *p = k->m->parking;
	bool mine;

	mutex_lock(&p->lock);
	mine = take_locked(p, k);
	mutex_unlock(&p->lock);
	return mine;
}

static void parked_unref(struct parked *k)
{
	struct parking *p = k->m->parking;
	unsigned refs;

	mutex_lock(&p->lock);
	refs = --k->refs;
	mutex_unlock(&p->lock);
	if (refs)
		return;
	sources_put(k->m->sources, k->source);
	free(k);
	mutex_lock(&p->lock);
	if (--p->n_live == 0)
		cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
}

static void parked_fail(struct parked *k, enum fs_site site,
			const struct error *err)
{
	if (parked_take(k)) {
		read_count_latency(k->m, k->since_ns);
		read_reply_failure(k->m, k->req, k->ino, site, err);
	}
}

static void parked_ask(struct parked *k);

/* The bytes are there: hand them over. False: they are gone again, ask. */
static bool parked_read(struct parked *k)
{
	cleanup_error struct error *err = NULL;
	char *buf = read_buffer_get(k->range.len);
	ssize_t n;

	if (!buf) {
		parked_fail(k, SITE_MEMORY, NULL);
		return true;
	}
	n = fetch_try_read(k->m->fetcher, &k->range, buf, &err);
	if (n == -EAGAIN && k->asks < MAX_ASKS)
		return false;
	if (n == -EAGAIN)
		parked_fail(k, SITE_LOST, NULL);
	else if (n < 0)
		parked_fail(k, fs_site_of((int)-n, true), err);
	else if (parked_take(k))
		read_reply(k->m, k->req, k->ino, buf, (size_t)n, k->since_ns);
	return true;
}

static void parked_done(void *ctx, int result, const struct error *err)
{
	struct parked *k = ctx;
	struct parking *p = k->m->parking;
	bool wanted;

	mutex_lock(&p->lock);
	wanted = !k->answered;
	mutex_unlock(&p->lock);

	if (wanted && result == 0 && !parked_read(k)) {
		parked_ask(k); /* which takes over our reference */
		return;
	}
	if (wanted && result == -ECANCELED)
		parked_fail(k, SITE_STOPPING, err);
	else if (wanted && result < 0)
		parked_fail(k, fs_site_of(-result, false), err);
	parked_unref(k);
}

/* Owns one reference, which it hands to the callback. */
static void parked_ask(struct parked *k)
{
	struct parking *p = k->m->parking;
	uint64_t ticket;
	unsigned ask;
	bool cancel;

	mutex_lock(&p->lock);
	ask = ++k->asks;
	k->refs++; /* ours, while fetch_ask() may already call back */
	mutex_unlock(&p->lock);

	ticket = fetch_ask(k->m->fetcher, &k->range, parked_done, k);

	mutex_lock(&p->lock);
	if (k->asks == ask)
		k->ticket = ticket;
	cancel = k->answered && ticket;
	mutex_unlock(&p->lock);
	if (cancel)
		fetch_cancel(k->m->fetcher, ticket);
	parked_unref(k);
}

/* libfuse calls this with the request's own lock held: note it and go. The id
 * is not a pointer, since the request may be answered meanwhile. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct parking *p = mount_of(req)->parking;
	uint64_t id = (uintptr_t)data;

	mutex_lock(&p->lock);
	for (struct parked *k = p->list.next; k != &p->list; k = k->next) {
		if (k->id == id) {
			k->interrupted = true;
			k->look_ns = 0;
			p->look_now = true;
			cond_broadcast(&p->changed);
			break;
		}
	}
	mutex_unlock(&p->lock);
}

static bool was_freed_locked(struct parking *p, pid_t pid, int64_t now)
	REQUIRES(p->lock);
static bool was_freed_locked(struct parking *p, pid_t pid, int64_t now)
{
	for (size_t i = 0; pid && i < FREED_KEPT; i++)
		if (p->freed[i].pid == pid && p->freed[i].until_ns > now)
			return true;
	return false;
}

/* False: the mount is being taken down. */
static bool enlist(struct parking *p, struct parked *k)
{
	int64_t now = time_mono_ns();

	mutex_lock(&p->lock);
	if (p->stopping) {
		mutex_unlock(&p->lock);
		return false;
	}
	k->id = ++p->last_id;
	k->deadline_ns = time_deadline_ms(p->budget_ms);
	k->look_ns = now + LOOK_FIRST_MS * NS_PER_MS;
	if (was_freed_locked(p, k->pid, now)) {
		k->look_ns = 0;
		p->look_now = true;
	}
	list_add_locked(p, k);
	mutex_unlock(&p->lock);

	fuse_req_interrupt_func(k->req, on_interrupt, (void *)(uintptr_t)k->id);

	mutex_lock(&p->lock);
	k->ready = true;
	cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
	return true;
}

void park(struct mount *m, fuse_req_t req, fuse_ino_t ino,
	  const struct fetch_range *range, uint32_t source, int64_t since_ns)
{
	struct parked *k = xcalloc(1, sizeof(*k));

	k->m = m;
	k->req = req;
	k->ino = ino;
	k->pid = fuse_req_ctx(req)->pid;
	k->range = *range;
	k->source = source;
	k->since_ns = since_ns;
	k->refs = 1;
	stat_add(&m->stats->misses, 1);
	if (enlist(m->parking, k)) {
		parked_ask(k);
		return;
	}
	read_reply_failure(m, req, ino, SITE_STOPPING, NULL);
	sources_put(m->sources, source);
	free(k);
}

/*
 * For the watcher.
 */

size_t parking_count(struct parking *p)
{
	size_t n;

	mutex_lock(&p->lock);
	n = p->n_listed;
	mutex_unlock(&p->lock);
	return n;
}

size_t parking_due(struct parking *p, int64_t now_ns, struct parked_view *ret,
		   size_t max)
{
	size_t n = 0;

	mutex_lock(&p->lock);
	for (struct parked *k = p->list.next; k != &p->list && n < max;
	     k = k->next) {
		bool overdue = k->deadline_ns <= now_ns;

		if (!k->ready || (k->look_ns > now_ns && !overdue))
			continue;
		k->look_ns = now_ns + LOOK_AGAIN_MS * NS_PER_MS;
		ret[n++] = (struct parked_view){.id = k->id,
						.pid = k->pid,
						.interrupted = k->interrupted,
						.overdue = overdue};
	}
	p->look_now = false;
	mutex_unlock(&p->lock);
	return n;
}

bool parking_wait(struct parking *p)
{
	bool go_on;

	mutex_lock(&p->lock);
	while (!p->stopping && p->n_listed == 0)
		cond_wait(&p->changed, &p->lock);
	if (!p->stopping && !p->look_now) {
		int64_t until = time_deadline_ms(TICK_MS);

		while (!p->stopping && !p->look_now &&
		       cond_wait_until(&p->changed, &p->lock, until))
			;
	}
	go_on = !p->stopping;
	mutex_unlock(&p->lock);
	return go_on;
}

/* The request with @id, if it was still there to be answered; then the caller
 * answers it, and cancels *@ret_ticket. It holds a reference for that. */
static struct parked *take_by_id(struct parking *p, uint64_t id,
				 uint64_t *ret_ticket)
{
	struct parked *found = NULL;

	mutex_lock(&p->lock);
	for (struct parked *k = p->list.next; k != &p->list; k = k->next) {
		if (k->id == id) {
			found = k;
			break;
		}
	}
	if (found && take_locked(p, found)) {
		found->refs++;
		*ret_ticket = found->ticket;
	} else {
		found = NULL;
	}
	mutex_unlock(&p->lock);
	return found;
}

static void let_go(struct parked *k, uint64_t ticket)
{
	if (ticket)
		fetch_cancel(k->m->fetcher, ticket);
	parked_unref(k);
}

static void note_freed(struct parking *p, pid_t pid)
{
	mutex_lock(&p->lock);
	p->freed[p->next_freed].pid = pid;
	p->freed[p->next_freed].until_ns = time_deadline_ms(FREED_KEPT_MS);
	p->next_freed = (p->next_freed + 1) % FREED_KEPT;
	mutex_unlock(&p->lock);
}

void parking_interrupt(struct parking *p, uint64_t id, pid_t pid)
{
	uint64_t ticket;
	struct parked *k = take_by_id(p, id, &ticket);

	if (!k)
		return;
	note_freed(p, pid);
	stat_add(&p->m->stats->interrupted, 1);
	fuse_reply_err(k->req, EINTR);
	let_go(k, ticket);
}

static void fail_by_id(struct parking *p, uint64_t id, enum fs_site site)
{
	uint64_t ticket;
	struct parked *k = take_by_id(p, id, &ticket);

	if (!k)
		return;
	read_reply_failure(k->m, k->req, k->ino, site, NULL);
	let_go(k, ticket);
}

void parking_expire(struct parking *p, uint64_t id)
{
	fail_by_id(p, id, SITE_TIMEOUT);
}

/*
 * Set-up and end.
 */

/* The kernel aborts a whole mount whose daemon leaves one request unanswered
 * for longer than this; 0 or absent: it does not. */
static int64_t kernel_request_limit_ms(void)
{
	cleanup_free char *text = NULL;
	size_t n;

	if (io_read_file(AT_FDCWD, "/proc/sys/fs/fuse/max_request_timeout", 64,
			 &text, &n) < 0)
		return 0;
	return strtoll(text, NULL, 10) * 1000;
}

static int64_t read_budget_ms(const struct mount *m)
{
	int64_t io = session_settings(m->session)->times.io_ms;
	int64_t limit = kernel_request_limit_ms();
	int64_t ms = io > INT64_MAX - GRACE_MS ? INT64_MAX : io + GRACE_MS;

	/* The kernel looks every 15 s or so: stay well below. */
	if (limit > 0)
		ms = MIN(ms, limit > 4000 ? limit - 2000 : limit / 2);
	return ms;
}

struct parking *parking_new(struct mount *m)
{
	struct parking *p = xcalloc(1, sizeof(*p));

	p->m = m;
	p->budget_ms = read_budget_ms(m);
	p->list.prev = p->list.next = &p->list;
	mutex_init(&p->lock, LOCK_MOUNT);
	cond_init(&p->changed);
	p->watcher = watcher_start(p);
	return p;
}

static uint64_t oldest_id(struct parking *p)
{
	uint64_t id = 0;

	mutex_lock(&p->lock);
	for (struct parked *k = p->list.next; k != &p->list && !id; k = k->next)
		if (k->ready)
			id = k->id;
	mutex_unlock(&p->lock);
	return id;
}

static void stop_watcher(struct parking *p)
{
	mutex_lock(&p->lock);
	p->stopping = true;
	cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
	watcher_join(p->watcher);
	p->watcher = NULL;
}

bool parking_stop(struct parking *p, int64_t ms)
{
	int64_t until = time_deadline_ms(ms);
	uint64_t id;
	bool empty;

	stop_watcher(p);
	while ((id = oldest_id(p)))
		fail_by_id(p, id, SITE_STOPPING);
	mutex_lock(&p->lock);
	while (p->n_live > 0 && cond_wait_until(&p->changed, &p->lock, until))
		;
	empty = p->n_live == 0;
	mutex_unlock(&p->lock);
	return empty;
}

void parking_free(struct parking *p)
{
	if (!p)
		return;
	cond_destroy(&p->changed);
	mutex_destroy(&p->lock);
	free(p);
}

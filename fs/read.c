#include "fs/read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/time.h"
#include "fs/signals.h"
#include "fs/sources.h"
#include "fs/synthetic.h"

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
 * A buffer per thread, as large as the largest read it saw.
 */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

struct read_buffer {
	size_t cap;
	char bytes[];
};

static void make_buffer_key(void)
{
	if (pthread_key_create(&buffer_key, free) != 0)
		abort();
}

static char *thread_buffer(size_t n)
{
	struct read_buffer *b;

	pthread_once(&buffer_once, make_buffer_key);
	b = pthread_getspecific(buffer_key);
	if (!b || b->cap < n) {
		free(b);
		b = malloc(sizeof(*b) + n);
		pthread_setspecific(buffer_key, b);
		if (!b)
			return NULL;
		b->cap = n;
	}
	return b->bytes;
}

/*
 * Answers.
 */

static void count_latency(struct mount *m, int64_t since_ns)
{
	uint64_t t = (uint64_t)(time_mono_ns() - since_ns) / 16000;
	unsigned i = t ? 64 - (unsigned)__builtin_clzll(t) : 0;

	stat_add(&m->stats.latency[MIN(i, LATENCY_BUCKETS - 1u)], 1);
}

static void reply_bytes(struct mount *m, fuse_req_t req, fuse_ino_t ino,
			const char *buf, size_t n, int64_t since_ns)
{
	stat_add(&m->stats.bytes, n);
	count_latency(m, since_ns);
	fs_errors_clear(&m->errors, ino);
	fuse_reply_buf(req, buf, n);
}

/* "blob 'sha256:…' of '<path>'": what a log line is about. */
static char *describe(struct mount *m, fuse_ino_t ino)
{
	cleanup_strbuf struct strbuf path = STRBUF_INIT;
	struct tree_node n;

	if (tree_node(m->tree, (uint32_t)(ino - 1), &n, NULL) < 0 ||
	    n.kind != TREE_FILE)
		return xasprintf("inode %llu", (unsigned long long)ino);
	if (tree_path(m->tree, (uint32_t)(ino - 1), &path, NULL) < 0)
		strbuf_adds(&path, "?");
	return xasprintf("'%s' of '%s'", digest_to_str(n.digest).str,
			 strbuf_str(&path));
}

static void reply_failure(struct mount *m, fuse_req_t req, fuse_ino_t ino,
			  enum fs_site site, const struct error *err)
{
	cleanup_free char *what = describe(m, ino);

	fuse_reply_err(req, fs_errors_report(&m->errors, site, ino, what,
					     err ? err->message : NULL));
}

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
		count_latency(k->m, k->since_ns);
		reply_failure(k->m, k->req, k->ino, site, err);
	}
}

static void parked_ask(struct parked *k);

/* The bytes are there: hand them over. False: they are gone again, ask. */
static bool parked_read(struct parked *k)
{
	cleanup_error struct error *err = NULL;
	char *buf = thread_buffer(k->range.len);
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
		reply_bytes(k->m, k->req, k->ino, buf, (size_t)n, k->since_ns);
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

/* Takes over the hold on the source. */
static void park(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		 const struct fetch_range *range, uint32_t source,
		 int64_t since_ns)
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
	stat_add(&m->stats.misses, 1);
	if (enlist(m->parking, k)) {
		parked_ask(k);
		return;
	}
	reply_failure(m, req, ino, SITE_STOPPING, NULL);
	sources_put(m->sources, source);
	free(k);
}

/*
 * The operation.
 */

static void read_file(struct mount *m, fuse_req_t req, fuse_ino_t ino,
		      const struct tree_node *n, size_t len, uint64_t off)
{
	cleanup_error struct error *err = NULL;
	int64_t since = time_mono_ns();
	char *buf = thread_buffer(len);
	struct fetch_source *src;
	struct fetch_range range;
	ssize_t got;

	if (!buf) {
		reply_failure(m, req, ino, SITE_MEMORY, NULL);
		return;
	}
	if (sources_get(m->sources, n->source, &src, &err) < 0) {
		reply_failure(m, req, ino, SITE_SOURCE, err);
		return;
	}
	file_range(n, src, off, len, &range);
	got = fetch_try_read(m->fetcher, &range, buf, &err);
	if (got == -EAGAIN) {
		park(m, req, ino, &range, n->source, since);
		return;
	}
	if (got < 0)
		reply_failure(m, req, ino, fs_site_of((int)-got, true), err);
	else
		reply_bytes(m, req, ino, buf, (size_t)got, since);
	sources_put(m->sources, n->source);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct tree_node n;
	int code;

	stat_add(&m->stats.ops[OP_READ], 1);
	if (ino_is_synthetic(ino)) {
		synthetic_read(m->synthetic, req, ino, size, off);
		return;
	}
	code = mount_node(m, ino, &n);
	if (!code && n.kind != TREE_FILE)
		code = n.kind == TREE_DIR ? EISDIR : EINVAL;
	if (code)
		fuse_reply_err(req, code);
	else if (off < 0 || (uint64_t)off >= n.size)
		fuse_reply_buf(req, NULL, 0);
	else
		read_file(m, req, ino, &n, MIN(size, n.size - (uint64_t)off),
			  (uint64_t)off);
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
	stat_add(&p->m->stats.interrupted, 1);
	fuse_reply_err(k->req, EINTR);
	let_go(k, ticket);
}

static void fail_by_id(struct parking *p, uint64_t id, enum fs_site site)
{
	uint64_t ticket;
	struct parked *k = take_by_id(p, id, &ticket);

	if (!k)
		return;
	reply_failure(k->m, k->req, k->ino, site, NULL);
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

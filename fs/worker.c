/*
 * The worker: the process that holds the mount.
 *
 *   set up ──▶ mounted ───▶ ready (reported) ──▶ serving ──▶ ended
 *     │    └▶ prepared ──told to begin──▲          │
 *     └ signal ───┴──────── torn down ◀────────────┴ signal
 *
 * The lower way is a successor's (supervisor.c), which mounts nothing.
 *
 * The main thread sets up, waits for the end, and tears down; a thread waits
 * for signals; the loop's threads serve the kernel until it says that the mount
 * is gone.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "cli/output.h"
#include "engine/file_list.h"
#include "engine/prefetch.h"
#include "engine/trace.h"
#include "engine/trim.h"
#include "fs/attach.h"
#include "fs/control.h"
#include "fs/filler.h"
#include "fs/job.h"
#include "fs/link.h"
#include "fs/notifier.h"
#include "fs/open.h"
#include "fs/outside.h"
#include "fs/parking.h"
#include "fs/received.h"
#include "fs/report.h"
#include "fs/sources.h"
#include "fs/synthetic.h"
#include "fs/unmount.h"

#define MIN_LOOPS 4u
#define MAX_LOOPS HANDOVER_LOOPS
/* How long the end may take: users of a detached mount get this long. */
#define END_MS 5000

struct worker {
	struct mount_job *job;
	struct handover *handover;
	int link; /* to the supervisor */
	struct mount mount;
	struct control *control;
	char *prefetch_text; /* the list or trace; NULL */
	size_t prefetch_len;

	struct mutex lock;
	struct cond changed;
	atomic_bool cancelled; /* ends the set-up early */
	int signal;            /* that asked us to end; 0: none yet */
	unsigned loops;        /* threads that serve */
	unsigned next_loop;    /* a number for each */
	bool mounted;
	int null; /* until it takes the place of the caller's descriptors */
	pthread_t threads[MAX_LOOPS];
	unsigned n_threads;
};

/*
 * Signals.
 */

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static void *wait_for_signals(void *arg)
{
	struct worker *w = arg;
	sigset_t set;
	int sig;

	ending_signals(&set);
	while (sigwait(&set, &sig) == 0) {
		atomic_store(&w->cancelled, true);
		mutex_lock(&w->lock);
		w->signal = sig;
		cond_broadcast(&w->changed);
		mutex_unlock(&w->lock);
	}
	return NULL;
}

static int exit_status_of(int sig)
{
	return sig == SIGINT ? EXIT_STATUS_SIGINT : EXIT_STATUS_SIGTERM;
}

/*
 * Set-up.
 */

/* Online, what is collected can be fetched again; and what is here can be read
 * while nothing can be written. */
static int keep_content(struct worker *w, struct error **errp)
{
	struct bundle *b = w->mount.bundle;
	cleanup_error struct error *err = NULL;
	int r = w->job->settings->offline ? bundle_keep_content(b, &err) : 0;

	if (r < 0 && !cache_is_unwritable(r))
		return error_propagate(errp, &err, r);
	if (r < 0 || !b->lease)
		log_warn("without a lease 'mops cache gc' may remove what this "
			 "mount uses: %s",
			 err ? err->message : "the cache cannot be written");
	return 0;
}

/* A successor shows what its predecessor showed, whatever became of the tag. */
static int open_reference(struct worker *w, const struct op *op,
			  struct error **errp)
{
	struct mount *m = &w->mount;
	struct handover_table *t = w->handover->table;
	struct reference ref = *w->job->reference;
	int r;

	if (w->handover->successor) {
		ref.has_digest = true;
		ref.digest = t->manifest;
	}
	r = bundle_open(m->session, &ref, op, &m->bundle, errp);
	if (r < 0)
		return r;
	t->manifest = m->bundle->digest;
	/* What is reported is what was asked for. */
	m->bundle->ref.has_digest = w->job->reference->has_digest;
	return 0;
}

/* Mounting is what needs more. So a successor does it before it reads anything
 * that is not ours; the first worker when it has mounted, in all the threads
 * that are there by then. */
static void give_up_rights(struct worker *w)
{
	const struct reference *ref = w->job->reference;

	if (w->job->options->no_sandbox)
		return;
	sandbox_enter(
		&(struct sandbox_rules){
			.settings = w->job->settings,
			.cache = cache_path(w->mount.cache),
			.layout = ref->layout ? ref->registry : NULL,
			.keep_admin = w->handover->passthrough,
		},
		&w->mount.sandbox);
}

static int open_bundle(struct worker *w, const struct op *op,
		       struct error **errp)
{
	const struct settings *s = w->job->settings;
	struct mount *m = &w->mount;
	const struct root_role *role;
	int r = session_new(s, &m->session, errp);

	if (r == 0)
		r = session_cache(m->session, &m->cache, errp);
	if (r == 0 && w->handover->successor)
		give_up_rights(w);
	if (r == 0)
		r = session_fetcher(m->session, &m->fetcher, errp);
	if (r == 0)
		fetcher_count_in(m->fetcher, &w->handover->table->fetch);
	if (r == 0)
		r = open_reference(w, op, errp);
	if (r == 0)
		r = bundle_choose_role(m->bundle, NULL, &role, errp);
	if (r == 0)
		r = keep_content(w, errp);
	if (r == 0)
		r = role_view_open(m->bundle, role, op, &m->view, errp);
	if (r == 0 && s->offline)
		r = role_view_complete(m->view, errp);
	return r;
}

static uint64_t role_bytes(const struct mount *m)
{
	const struct root_role *role = m->view->role;
	uint64_t bytes = 0;

	for (size_t i = 0; i < role->n_layers; i++)
		bytes += m->bundle->root.layers[role->layers[i]].bytes;
	return bytes;
}

static void make_mount(struct worker *w)
{
	struct handover_table *t = w->handover->table;
	struct mount *m = &w->mount;

	if (!t->started_wall_s)
		t->started_wall_s = time_wall_s();
	m->tree = m->view->tree;
	m->handover = w->handover;
	m->mountpoint = xstrdup(w->job->mountpoint);
	m->options = w->job->options;
	m->uid = getuid();
	m->gid = getgid();
	m->bytes = role_bytes(m);
	m->stats = &t->stats;
	fs_errors_init(&m->errors, t->stats.failures);
	m->sources = sources_new(m->bundle, m->tree);
	m->synthetic = synthetic_new(m);
	m->opens = opens_new(m);
	m->parking = parking_new(m);
	if (m->options->record)
		m->recorder = recorder_new(m->tree, &t->record);
}

static void *loop(void *arg)
{
	struct worker *w = arg;
	struct fuse_session *se = w->mount.se;
	struct fuse_buf buf = {0};
	unsigned number;

	mutex_lock(&w->lock);
	number = w->next_loop++;
	mutex_unlock(&w->lock);
	while (!fuse_session_exited(se)) {
		int r = fuse_session_receive_buf(se, &buf);

		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		handover_begin(w->handover, number, buf.mem);
		fuse_session_process_buf(se, &buf);
		handover_end(w->handover, number);
	}
	free(buf.mem);
	mutex_lock(&w->lock);
	w->loops--;
	cond_broadcast(&w->changed);
	mutex_unlock(&w->lock);
	return NULL;
}

/* None of them ever waits for the network: a few do. */
static int start_loops(struct worker *w, struct error **errp)
{
	unsigned n = MIN(MAX(2 * cpu_count(), MIN_LOOPS), MAX_LOOPS);

	for (unsigned i = 0; i < n; i++) {
		int r;

		mutex_lock(&w->lock);
		w->loops++;
		mutex_unlock(&w->lock);
		r = thread_start(&w->threads[i], "fuse", loop, w);
		if (r < 0) {
			mutex_lock(&w->lock);
			w->loops--;
			mutex_unlock(&w->lock);
			return error_set_errno(errp, -r, "starting a thread");
		}
		w->n_threads++;
	}
	return 0;
}

static void raise_descriptor_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* The supervisor keeps what the next worker, and the time between, need. */
static int hand_in(struct worker *w, struct error **errp)
{
	const struct lease *lease = w->mount.bundle->lease;
	cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cleanup_fd int device = w->handover->device;
	int fds[LINK_FDS] = {
		device >= 0 ? device : fuse_session_fd(w->mount.se),
		lease ? lease_fd(lease) : null,
		control_listener(w->control),
	};
	int r = link_send(w->link, LINK_MOUNTED, NULL, fds,
			  fds[2] >= 0 ? LINK_FDS : LINK_FDS - 1);

	w->handover->device = -1;
	return r < 0 ? error_set_errno(errp, -r, "telling the supervisor") : 0;
}

static int begin(struct worker *w, struct error **errp)
{
	struct mount *m = &w->mount;
	const struct mount_job *job = w->job;
	int r = job->received ? attach_received(m, job->device, errp)
			      : attach_mount(m, errp);

	/* The caller's process group until now: it may be that of systemd, or
	 * of another that mounts by need, and whose processes alone do not wait
	 * at an automount point for themselves. */
	setsid();
	w->mounted = r == 0;
	if (r == 0)
		outside_tell(&w->handover->table->identity);
	if (r == 0)
		r = attach_serve_init(m, errp);
	if (r == 0)
		m->filler = filler_start(m, fuse_session_fd(m->se));
	if (r == 0)
		r = start_loops(w, errp);
	if (r == 0 && !job->received)
		r = attach_check(m, errp);
	if (r < 0)
		return r;
	attach_set_readahead(m);
	w->control = control_open(m, w->link, -1);
	return hand_in(w, errp);
}

/* Up to LINK_PREPARED our predecessor may still serve. */
static int take_over(struct worker *w, struct error **errp)
{
	struct mount *m = &w->mount;
	struct link_message go = {0};
	int r = attach_take_over(m, errp);

	if (r == 0)
		r = attach_replay_init(m, errp);
	if (r < 0)
		return r;
	link_send(w->link, LINK_PREPARED, NULL, NULL, 0);
	if (!link_receive(w->link, &go) || go.word != LINK_BEGIN)
		return error_set(errp, EPIPE, "the supervisor is gone");
	w->mounted = true;
	r = attach_make_blocking(m, errp);
	if (r < 0)
		return r;
	opens_adopt(m->opens);
	m->filler = filler_start(m, w->handover->device);
	r = start_loops(w, errp);
	if (r == 0 && handover_can_resend(w->handover->table))
		r = handover_resend(w->handover->device);
	if (r < 0)
		return error_set_errno(errp, -r, "going on with the mount");
	w->control = control_open(m, w->link, w->handover->listener);
	link_send(w->link, LINK_SERVING, NULL, NULL, 0);
	return 0;
}

/* A list has a limit of its own, which its parser knows. */
static_assert(FILE_LIST_BYTES_MAX <= TRACE_BYTES_MAX, "a list can be read");

static int read_text(struct worker *w, struct error **errp)
{
	const char *path = w->job->options->prefetch_file;
	int r = io_read_file(AT_FDCWD, path, TRACE_BYTES_MAX, &w->prefetch_text,
			     &w->prefetch_len);

	return r < 0 ? error_set_errno(errp, -r, "'%s'", path) : 0;
}

/* While files can be read. What a successor reads is parsed when it is in its
 * sandbox; and that it finds nothing is no reason to end the mount. */
static int load_prefetch(struct worker *w, struct error **errp)
{
	const struct mount_options *o = w->job->options;
	cleanup_error struct error *err = NULL;
	int r = o->prefetch_file ? read_text(w, &err) : 0;

	if (r < 0 && w->handover->successor) {
		log_warn("nothing is prefetched any more: %s", err->message);
		return 0;
	}
	if (r == 0 && o->prefetch_file && !w->handover->successor)
		r = prefetch_check(o->prefetch, w->prefetch_text,
				   w->prefetch_len, &err);
	if (r < 0)
		error_prefix(&err, error_kind(&err, r, ERROR_VALIDATION),
			     "prefetch");
	return error_propagate(errp, &err, r);
}

static void start_prefetch(struct worker *w)
{
	struct prefetch_spec spec = {
		.what = w->job->options->prefetch,
		.text = w->prefetch_text,
		.text_len = w->prefetch_len,
		.persistent = true,
		.paused = atomic_load(&w->handover->table->prefetch_paused),
	};

	if (spec.what == PREFETCH_NOTHING)
		return;
	if (w->job->settings->offline)
		log_warn("nothing is prefetched: the mount is offline");
	else if (!w->job->options->prefetch_file || spec.text)
		w->mount.prefetch = prefetch_start(w->mount.view, &spec);
	freep(&w->prefetch_text);
}

static void let_go(void *opens)
{
	opens_let_go(opens);
}

static int set_up(struct worker *w, struct error **errp)
{
	struct op op = OP_INIT;
	int r;

	op.cancelled = &w->cancelled;
	r = load_prefetch(w, errp);
	if (r == 0)
		r = open_bundle(w, &op, errp);
	if (r < 0)
		return r;
	make_mount(w);
	r = attach_open(&w->mount, errp);
	if (r < 0)
		return r;
	r = w->handover->successor ? take_over(w, errp) : begin(w, errp);
	if (r < 0)
		return r;
	if (!w->handover->successor)
		give_up_rights(w);
	w->mount.trimmer =
		trimmer_start(w->mount.session, let_go, w->mount.opens);
	start_prefetch(w);
	control_serve(w->control);
	return 0;
}

/*
 * The end.
 */

static bool loops_ended(struct worker *w, int64_t ms)
{
	int64_t until = time_deadline_ms(ms);
	bool ended;

	mutex_lock(&w->lock);
	while (w->loops > 0 && cond_wait_until(&w->changed, &w->lock, until))
		;
	ended = w->loops == 0;
	mutex_unlock(&w->lock);
	return ended;
}

static void wait_for_end(struct worker *w)
{
	mutex_lock(&w->lock);
	while (w->loops > 0 && !w->signal)
		cond_wait(&w->changed, &w->lock);
	mutex_unlock(&w->lock);
}

/* Through the supervisor; without it, the outside; without both, ourselves. */
static bool unmount(struct worker *w)
{
	const char *dir = w->job->mountpoint;

	if (received_number(dir) >= 0)
		return false; /* it lies where we cannot see it */
	return link_ask_unmount(w->link) >= 0 || outside_unmount() >= 0 ||
	       unmount_own(dir, &w->handover->table->identity) >= 0;
}

/* False: users of a detached mount, or the fetcher, did not let go in time. */
static bool end_serving(struct worker *w)
{
	struct mount *m = &w->mount;
	int64_t patience = END_MS;
	bool ended;

	/* What we may not unmount ends when our descriptor closes. */
	if (w->mounted && !(w->n_threads && loops_ended(w, 0)) && !unmount(w) &&
	    w->job->received)
		patience = 0;
	/* Whoever waits for bytes would keep the mount busy. */
	ended = !m->parking || parking_stop(m->parking, END_MS);
	ended = loops_ended(w, patience) && ended;
	/* Else it is a predecessor's, which goes on. */
	if (w->mounted)
		recorder_flush(m->recorder);
	control_stop(w->control);
	filler_stop(m->filler);
	prefetch_stop(m->prefetch);
	trimmer_stop(m->trimmer);
	return ended;
}

static void release(struct worker *w)
{
	struct mount *m = &w->mount;

	for (unsigned i = 0; i < w->n_threads; i++)
		pthread_join(w->threads[i], NULL);
	if (m->se)
		fuse_session_destroy(m->se);
	filler_free(m->filler);
	opens_free(m->opens);
	synthetic_free(m->synthetic);
	sources_free(m->sources);
	parking_free(m->parking);
	recorder_free(m->recorder);
	sandbox_state_release(&m->sandbox);
	role_view_closep(&m->view);
	bundle_closep(&m->bundle);
	session_freep(&m->session);
	free(m->mountpoint);
}

static int tear_down(struct worker *w, int status)
{
	if (!end_serving(w)) {
		/* The kernel ends what is left when our descriptor closes. */
		log_warn("'%s' %s", w->job->mountpoint,
			 w->job->received ? "is left to who mounted it"
					  : "was still in use");
		return status;
	}
	release(w);
	return status;
}

static void let_go_of_caller(struct worker *w)
{
	for (int fd = 0; fd <= 2; fd++)
		if (!w->job->foreground || fd == 0)
			dup2(w->null, fd);
	closep(&w->null);
}

static int serve(struct worker *w)
{
	cleanup_strbuf struct strbuf doc = STRBUF_INIT;

	report_ready(&w->mount, &doc);
	let_go_of_caller(w);
	if (!w->handover->successor) {
		job_report_ready(w->job, &doc);
		link_send(w->link, LINK_REPORTED, NULL, NULL, 0);
	}
	log_info("%s on '%s': %s",
		 w->handover->successor ? "going on" : "mounted",
		 w->job->mountpoint, strbuf_str(&doc));
	wait_for_end(w);
	link_send(w->link, LINK_ENDING, NULL, NULL, 0);
	log_info("'%s' ends", w->job->mountpoint);
	return tear_down(w, w->signal ? exit_status_of(w->signal) : 0);
}

static int fail(struct worker *w, const struct error *err)
{
	int status =
		w->signal ? exit_status_of(w->signal) : output_exit_status(err);

	if (w->handover->successor)
		link_send(w->link, LINK_FAILED, err->message, NULL, 0);
	else
		job_report_failed(w->job, err);
	return tear_down(w, status);
}

/* Before anything is read that is not ours, and before the first thread. */
static int start_outside(const struct mount_job *job, const struct handover *h,
			 struct error **errp)
{
	int r;

	if (job->options->no_sandbox)
		return 0;
	sandbox_prepare();
	r = outside_start(job->mountpoint, &h->identity);
	return r < 0 ? error_set_errno(errp, -r, "starting a process") : 0;
}

/* When it is needed there may be no descriptor left, and whoever reads what the
 * caller writes, to its end, would wait as long as the mount lives. */
static int reserve_null(struct worker *w, struct error **errp)
{
	w->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	return w->null < 0 ? error_set_errno(errp, errno, "/dev/null") : 0;
}

int worker_run(struct mount_job *job, struct handover *h, int link)
{
	/* Lives as long as the process: its threads are not all joined. */
	struct worker *w = xcalloc(1, sizeof(*w));
	cleanup_error struct error *err = NULL;
	pthread_t signals;
	int r;

	w->job = job;
	w->handover = h;
	w->link = link;
	mutex_init(&w->lock, LOCK_MOUNT);
	cond_init(&w->changed);
	r = start_outside(job, h, &err);
	notifier_begin(); /* without it nothing is filled */
	if (r == 0)
		r = log_open(job->log, &err);
	raise_descriptor_limit();
	if (r == 0)
		r = reserve_null(w, &err);
	if (r == 0)
		r = thread_start(&signals, "signals", wait_for_signals, w);
	if (r == 0)
		r = set_up(w, &err);
	if (r < 0 && !err)
		error_set_errno(&err, -r, "starting the mount");
	return r < 0 ? fail(w, err) : serve(w);
}

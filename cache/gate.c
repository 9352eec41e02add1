#include "cache/content_internal.h"

#include <errno.h>

#include "base/time.h"

#define GATE_WAIT_MS 2000
/* What sealing reads in a millisecond, at the least, on a slow disk. */
#define SEAL_BYTES_PER_MS 100000

uint64_t gate_offset(const struct content *ct)
{
	return digest_prefix64(&ct->key) >> 2;
}

/*
 * Another process has the gate. One that was stopped, or that lies, has it for
 * ever: after a time in which an honest one would have sealed, go on without.
 */
static bool patience_is_over_locked(struct content *ct) REQUIRES(ct->lock);
static bool patience_is_over_locked(struct content *ct)
{
	int64_t now = time_mono_ns();
	int64_t ms = ct->c->gate_patience_ms +
		     (int64_t)(ct->size / SEAL_BYTES_PER_MS);

	if (!ct->gate_busy_since_ns)
		ct->gate_busy_since_ns = now;
	return now - ct->gate_busy_since_ns >= ms * NS_PER_MS;
}

static int gate_enter_locked(struct content *ct) REQUIRES(ct->lock);
static int gate_enter_locked(struct content *ct)
{
	int r;

	if (ct->sealing)
		return -EAGAIN;
	if (ct->writers == 0) {
		r = ofd_try_lock(ct->c->gate_fd, LOCK_SHARED, gate_offset(ct),
				 1);
		if (r == -EAGAIN && !patience_is_over_locked(ct))
			return r;
		if (r != -EAGAIN)
			ct->gate_busy_since_ns = 0;
		ct->gate_shared = r == 0;
	}
	ct->writers++;
	return 0;
}

int gate_enter(struct content *ct)
{
	int r;

	mutex_lock(&ct->lock);
	r = gate_enter_locked(ct);
	mutex_unlock(&ct->lock);
	return r;
}

void gate_leave(struct content *ct)
{
	mutex_lock(&ct->lock);
	if (--ct->writers == 0) {
		if (ct->gate_shared)
			ofd_unlock(ct->c->gate_fd, gate_offset(ct), 1);
		ct->gate_shared = false;
		cond_broadcast(&ct->changed);
	}
	mutex_unlock(&ct->lock);
}

/* Become the one thread that seals, when the writers of this process left. */
static int become_sealer(struct content *ct, int64_t deadline_ns)
{
	int r = 0;

	mutex_lock(&ct->lock);
	if (ct->sealing) {
		mutex_unlock(&ct->lock);
		return -EAGAIN;
	}
	ct->sealing = true; /* no new writers from here on */
	while (r == 0 && ct->writers > 0)
		if (!cond_wait_until(&ct->changed, &ct->lock, deadline_ns))
			r = -EAGAIN;
	if (r < 0)
		ct->sealing = false;
	mutex_unlock(&ct->lock);
	return r;
}

static void stop_sealing(struct content *ct)
{
	mutex_lock(&ct->lock);
	ct->sealing = false;
	cond_broadcast(&ct->changed);
	mutex_unlock(&ct->lock);
}

static int lock_alone(struct content *ct, int64_t deadline_ns)
{
	int r = ofd_lock_until(ct->c->gate_fd, LOCK_EXCLUSIVE, gate_offset(ct),
			       1, deadline_ns);

	mutex_lock(&ct->lock);
	if (r != -ETIMEDOUT)
		ct->gate_busy_since_ns = 0;
	else if (patience_is_over_locked(ct))
		r = 0;
	mutex_unlock(&ct->lock);
	return r;
}

int gate_close(struct content *ct)
{
	int64_t deadline_ns = time_deadline_ms(GATE_WAIT_MS);
	int r = become_sealer(ct, deadline_ns);

	if (r < 0)
		return r;
	if (lock_alone(ct, deadline_ns) == -ETIMEDOUT) {
		stop_sealing(ct);
		return -EAGAIN;
	}
	return 0; /* locked, or no locks here */
}

void gate_open(struct content *ct)
{
	ofd_unlock(ct->c->gate_fd, gate_offset(ct), 1);
	stop_sealing(ct);
}

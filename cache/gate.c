#include "cache/content_internal.h"

#include <errno.h>

#include "base/time.h"

#define GATE_WAIT_MS 2000

uint64_t gate_offset(const struct content *ct)
{
	return digest_prefix64(&ct->key) >> 2;
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
		if (r == -EAGAIN)
			return r;
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

int gate_close(struct content *ct)
{
	int64_t deadline_ns = time_deadline_ms(GATE_WAIT_MS);
	int r = become_sealer(ct, deadline_ns);

	if (r < 0)
		return r;
	r = ofd_lock_until(ct->c->gate_fd, LOCK_EXCLUSIVE, gate_offset(ct), 1,
			   deadline_ns);
	if (r == -ETIMEDOUT) {
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

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Callbacks that answer later. The token is armed before the callback runs, because another thread may be faster than
 * its return. While one is waited for, no message is handled that could lead to a second.
 */
#include "vhi_slave.h"

uint64_t vhi_later_arm(struct vhi_later *l)
{
	uint64_t token;

	pthread_mutex_lock(&l->lock);
	token = l->token = ++l->last;
	l->answered = false;
	pthread_mutex_unlock(&l->lock);
	return token;
}

void vhi_later_disarm(struct vhi_later *l)
{
	pthread_mutex_lock(&l->lock);
	l->token = 0;
	pthread_mutex_unlock(&l->lock);
}

int32_t vhi_later_result(struct vhi_later *l, int32_t rc)
{
	pthread_mutex_lock(&l->lock);
	if (rc == -EINPROGRESS && l->answered)
		rc = l->rc;
	if (rc != -EINPROGRESS)
		l->token = 0;
	pthread_mutex_unlock(&l->lock);
	return rc;
}

vh_rc vh_slave_finish(struct vh_slave *s, uint64_t later, vh_rc rc)
{
	bool stale;

	if (!s || !later)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_finish: slave is NULL or later is 0");
	if (rc > 0 || rc == -EINPROGRESS)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_slave_finish: rc is %d; it can be 0 or a negative errno value, not EINPROGRESS",
				rc);
	pthread_mutex_lock(&s->later.lock);
	stale = s->later.token != later || s->later.answered;
	if (!stale) {
		s->later.answered = true;
		s->later.rc = rc;
		/* Under the lock, because after it the handle may be gone. */
		vhi_eventfd_signal(s->wake_fd);
	}
	pthread_mutex_unlock(&s->later.lock);
	return stale ? vhi_fail(-ESTALE, VH_ERROR_STATE, 0, "vh_slave_finish: nobody waits for this answer any more")
		     : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What was missed in an IOTLB: who waits for it, who is asked, and what came of that. */
#include "vhi_iotlb_own.h"

#include <inttypes.h>

void vhi_iotlb_join(struct vh_iotlb *t, struct vhi_iotlb_user *user)
{
	pthread_mutex_lock(&t->lock);
	user->next = t->users;
	user->waits = false;
	t->users = user;
	pthread_mutex_unlock(&t->lock);
}

void vhi_iotlb_leave(struct vh_iotlb *t, struct vhi_iotlb_user *user)
{
	struct vhi_iotlb_user **at;

	pthread_mutex_lock(&t->lock);
	for (at = &t->users; *at && *at != user; at = &(*at)->next)
		;
	if (*at)
		*at = user->next;
	pthread_mutex_unlock(&t->lock);
}

/* The lock is held, here and below, where it is not said otherwise. */
void vhi_misses_wake(struct vh_iotlb *t)
{
	for (struct vhi_iotlb_user *u = t->users; u; u = u->next) {
		if (u->waits)
			u->wake(u->ctx);
		u->waits = false;
	}
}

static void miss_remove(struct vh_iotlb *t, uint32_t i)
{
	t->n_misses--;
	memmove(&t->misses[i], &t->misses[i + 1], (t->n_misses - i) * sizeof(t->misses[0]));
}

void vhi_misses_settle(struct vh_iotlb *t, uint64_t first, uint64_t last, bool known)
{
	for (uint32_t i = t->n_misses; i--;)
		if (t->misses[i].iova >= first && t->misses[i].iova <= last &&
		    (known || t->misses[i].state == MISS_DENIED))
			miss_remove(t, i);
}

static struct vhi_miss *miss_find(struct vh_iotlb *t, uint64_t iova, uint32_t perm)
{
	for (uint32_t i = 0; i < t->n_misses; i++)
		if (t->misses[i].iova == iova && (t->misses[i].perm & perm) == perm)
			return &t->misses[i];
	return NULL;
}

static void tell(struct vh_iotlb *t)
{
	if (t->fd >= 0)
		vhi_eventfd_signal(t->fd);
}

/* Who was told no may be gone, and never come back for that. Others are not to wait because of it. */
static void forget_denied(struct vh_iotlb *t)
{
	for (uint32_t i = 0; i < t->n_misses; i++)
		if (t->misses[i].state == MISS_DENIED) {
			miss_remove(t, i);
			return;
		}
}

static int post(struct vh_iotlb *t, uint64_t iova, uint32_t perm)
{
	struct vhi_miss *m = miss_find(t, iova, perm);

	if (m && m->state == MISS_DENIED) {
		miss_remove(t, (uint32_t)(m - t->misses));
		return VHI_FAULT;
	}
	if (m)
		return 0;
	if (t->n_misses == VH_IOTLB_MAX_MISSES)
		forget_denied(t);
	if (t->n_misses == VH_IOTLB_MAX_MISSES) {
		t->stats.dropped++;
		return 0;
	}
	t->misses[t->n_misses++] = (struct vhi_miss){.iova = iova, .perm = perm, .deadline_ns = UINT64_MAX};
	t->stats.misses++;
	tell(t);
	return 1;
}

int vhi_iotlb_miss(struct vh_iotlb *t, struct vhi_iotlb_user *user, const struct vhi_tlb *table, uint64_t iova,
		   uint32_t perm)
{
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (table->number == t->number)
		rc = post(t, iova, perm);
	user->waits = rc >= 0;
	/* It looked in an old table: in the present one it may be. */
	if (table->number != t->number)
		vhi_misses_wake(t);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

bool vhi_iotlb_wait(struct vh_iotlb *t, struct vhi_iotlb_user *user, const struct vhi_tlb *table)
{
	bool waits;

	pthread_mutex_lock(&t->lock);
	/* Who was woken since he missed something has to look again: it may have been a no, which changes no table. */
	waits = user->waits && table->number == t->number;
	pthread_mutex_unlock(&t->lock);
	return waits;
}

bool vhi_iotlb_ask(struct vh_iotlb *t, uint64_t deadline_ns, struct vh_iotlb_miss *out)
{
	bool found = false;

	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->n_misses && !found; i++) {
		struct vhi_miss *m = &t->misses[i];

		if (m->state != MISS_NEW)
			continue;
		m->state = MISS_ASKED;
		m->deadline_ns = deadline_ns;
		*out = (struct vh_iotlb_miss){.size = sizeof(*out), .iova = m->iova, .perm = m->perm};
		found = true;
	}
	if (!found && t->fd >= 0)
		vhi_eventfd_drain(t->fd);
	pthread_mutex_unlock(&t->lock);
	return found;
}

void vhi_iotlb_ask_again(struct vh_iotlb *t, uint64_t iova, uint32_t perm)
{
	struct vhi_miss *m;

	pthread_mutex_lock(&t->lock);
	m = miss_find(t, iova, perm);
	if (m && m->state == MISS_ASKED)
		m->state = MISS_NEW;
	pthread_mutex_unlock(&t->lock);
}

void vhi_iotlb_ask_all_again(struct vh_iotlb *t)
{
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->n_misses; i++)
		if (t->misses[i].state == MISS_ASKED)
			t->misses[i].state = MISS_NEW;
	pthread_mutex_unlock(&t->lock);
}

uint64_t vhi_iotlb_deadline(struct vh_iotlb *t)
{
	uint64_t at = UINT64_MAX;

	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->n_misses; i++)
		at = VHI_MIN(at, t->misses[i].deadline_ns);
	pthread_mutex_unlock(&t->lock);
	return at;
}

bool vhi_iotlb_expire(struct vh_iotlb *t, uint64_t now, struct vh_iotlb_miss *out)
{
	bool found = false;

	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->n_misses && !found; i++) {
		const struct vhi_miss *m = &t->misses[i];

		if (m->deadline_ns > now)
			continue;
		*out = (struct vh_iotlb_miss){.size = sizeof(*out), .iova = m->iova, .perm = m->perm};
		miss_remove(t, i);
		t->stats.timed_out++;
		found = true;
	}
	if (found)
		vhi_misses_wake(t);
	pthread_mutex_unlock(&t->lock);
	return found;
}

vh_fd vh_iotlb_fd(struct vh_iotlb *t)
{
	int fd;

	if (!t)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_fd: the IOTLB is NULL");
	pthread_mutex_lock(&t->lock);
	if (t->fd < 0) {
		fd = vhi_eventfd();
		t->fd = fd < 0 ? -1 : fd;
		for (uint32_t i = 0; i < t->n_misses; i++)
			if (t->misses[i].state == MISS_NEW)
				tell(t);
	} else {
		fd = t->fd;
	}
	pthread_mutex_unlock(&t->lock);
	return fd < 0 ? vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_iotlb_fd: %s", vh_error_name(fd)) : fd;
}

vh_count vh_iotlb_next_miss(struct vh_iotlb *t, struct vh_iotlb_miss *out)
{
	struct vh_iotlb_miss miss;
	int rc;

	if (!t)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_next_miss: the IOTLB is NULL");
	rc = vhi_out_check(out, "vh_iotlb_next_miss");
	if (rc || !vhi_iotlb_ask(t, UINT64_MAX, &miss))
		return rc;
	rc = vhi_out_fill(out, &miss, sizeof(miss), "vh_iotlb_next_miss");
	return rc ? rc : 1;
}

vh_rc vh_iotlb_deny(struct vh_iotlb *t, vh_iova iova)
{
	bool found = false;

	if (!t)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_deny: the IOTLB is NULL");
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->n_misses; i++) {
		struct vhi_miss *m = &t->misses[i];

		if (m->iova != iova || m->state == MISS_DENIED)
			continue;
		m->state = MISS_DENIED;
		m->deadline_ns = UINT64_MAX;
		found = true;
	}
	if (found)
		vhi_misses_wake(t);
	pthread_mutex_unlock(&t->lock);
	return found ? 0 : vhi_fail(-ENOENT, VH_ERROR_STATE, 0, "vh_iotlb_deny: nobody waits for 0x%" PRIx64, iova);
}

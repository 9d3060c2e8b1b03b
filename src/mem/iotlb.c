/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* An IOTLB: the table that is known now, what was missed, and who waits for it. */
#include "vhi_iotlb.h"

#include <inttypes.h>
#include <pthread.h>

#include "vhi_mem_sites.h"

#define DEFAULT_ENTRIES 2048u
#define PERMS		(VH_MEM_READ | VH_MEM_WRITE)

enum { MISS_NEW, MISS_ASKED, MISS_DENIED };

struct miss {
	uint64_t iova;
	uint64_t deadline_ns; /* asked; UINT64_MAX = none */
	uint32_t perm;
	uint32_t state;
};

struct vh_iotlb {
	uint32_t refs;	 /* atomic */
	uint32_t number; /* atomic: of the present table */
	struct vh_mem *mem;
	bool by_uva, evict;
	uint32_t max;
	pthread_mutex_t lock; /* of all that follows; nothing slow happens under it */
	struct vhi_tlb *now;
	struct vhi_iotlb_user *users;
	struct miss misses[VH_IOTLB_MAX_MISSES]; /* oldest first */
	uint32_t n_misses;
	uint32_t dice;
	int fd; /* atomic: -1 = nobody asked for it */
	struct vh_iotlb_stats stats;
};

vh_rc vh_iotlb_new(const struct vh_iotlb_opts *opts, struct vh_mem *mem, struct vh_iotlb **out)
{
	struct vh_iotlb_opts o;
	struct vh_iotlb *t;
	int rc;

	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_new: out is NULL");
	rc = vhi_opts_in(&o, sizeof(o), opts, "vh_iotlb_opts");
	if (rc)
		return rc;
	if (o.flags & ~(VH_IOTLB_USER_ADDR | VH_IOTLB_EVICT) || o.max_entries > VH_IOTLB_MAX_ENTRIES || o.reserved)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_iotlb_opts: flags are VH_IOTLB_*, max_entries at most %d, reserved is 0",
				VH_IOTLB_MAX_ENTRIES);
	t = vhi_calloc(1, sizeof(*t));
	if (t)
		t->now = vhi_tlb_copy(NULL, 0);
	if (!t || !t->now) {
		vhi_free(t);
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_iotlb_new: no memory");
	}
	t->refs = 1;
	t->number = t->now->number = 1;
	t->now->snap = mem ? vhi_mem_snapshot(mem) : NULL;
	t->mem = vhi_mem_get(mem);
	t->by_uva = o.flags & VH_IOTLB_USER_ADDR;
	t->evict = o.flags & VH_IOTLB_EVICT;
	t->max = o.max_entries ? o.max_entries : DEFAULT_ENTRIES;
	t->fd = -1;
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return 0;
}

struct vh_iotlb *vhi_iotlb_get(struct vh_iotlb *t)
{
	if (t)
		__atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void vhi_iotlb_put(struct vh_iotlb *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_tlb_put(t->now);
	vh_mem_free(t->mem);
	vhi_fd_close(&t->fd);
	pthread_mutex_destroy(&t->lock);
	vhi_free(t);
}

void vh_iotlb_free(struct vh_iotlb *t)
{
	vhi_iotlb_put(t);
}

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
static void wake_users(struct vh_iotlb *t)
{
	for (struct vhi_iotlb_user *u = t->users; u; u = u->next) {
		if (u->waits)
			u->wake(u->ctx);
		u->waits = false;
	}
}

static uint64_t span_len(const struct vhi_tlb_span *s)
{
	return s->last - s->iova + 1;
}

/* Where a range of what entries mean is in this process; 0 when it is not inside one region. */
static uint64_t host_of(const struct vh_iotlb *t, const struct vh_snapshot *snap, uint64_t addr, uint64_t len)
{
	struct vhi_gpa gpa = {addr};

	if (t->by_uva && !vhi_uva_to_gpa(snap, (struct vhi_uva){addr}, len, &gpa))
		return 0;
	return (uintptr_t)vhi_translate_one(snap, gpa, len);
}

/* A table to change: the present one if nobody looks at it, or a copy. NULL: no memory. */
static struct vhi_tlb *writable(struct vh_iotlb *t)
{
	const uint32_t need = t->now->n + 2; /* an update may cut one in two, and is one itself */

	if (need <= t->now->room && __atomic_load_n(&t->now->refs, __ATOMIC_ACQUIRE) == 1)
		return t->now;
	return vhi_tlb_copy(t->now, VHI_MIN(need + need / 2 + 6, t->max + 2));
}

static void publish(struct vh_iotlb *t, struct vhi_tlb *next)
{
	next->number++;
	if (next != t->now) {
		vhi_tlb_put(t->now);
		t->now = next;
	}
	__atomic_store_n(&t->number, next->number, __ATOMIC_RELEASE);
	wake_users(t);
}

/* Everything in the new memory; what is not there any more is left out. */
static int follow_memory(struct vh_iotlb *t)
{
	struct vh_snapshot *snap = t->mem ? vhi_mem_snapshot(t->mem) : NULL;
	struct vhi_tlb *next;
	uint32_t kept = 0;

	if (snap == t->now->snap) {
		vhi_snapshot_put(snap);
		return 0;
	}
	next = writable(t);
	if (!next) {
		vhi_snapshot_put(snap);
		return -ENOMEM;
	}
	vhi_snapshot_put(next->snap);
	next->snap = snap;
	for (uint32_t i = 0; i < next->n; i++) {
		struct vhi_tlb_span s = next->spans[i];

		s.host = host_of(t, snap, s.addr, span_len(&s));
		if (s.host)
			next->spans[kept++] = s;
	}
	next->n = kept;
	next->cuts++;
	publish(t, next);
	return 0;
}

int vhi_iotlb_rebase(struct vh_iotlb *t)
{
	int rc;

	pthread_mutex_lock(&t->lock);
	rc = follow_memory(t);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static void miss_remove(struct vh_iotlb *t, uint32_t i)
{
	t->n_misses--;
	memmove(&t->misses[i], &t->misses[i + 1], (t->n_misses - i) * sizeof(t->misses[0]));
}

/* What was missed is known now, or what was denied may be asked for again. */
static void misses_settle(struct vh_iotlb *t, uint64_t first, uint64_t last, bool known)
{
	for (uint32_t i = t->n_misses; i--;)
		if (t->misses[i].iova >= first && t->misses[i].iova <= last &&
		    (known || t->misses[i].state == MISS_DENIED))
			miss_remove(t, i);
}

/* Does it say the same as before of all that was known? */
static bool agrees(const struct vhi_tlb *t, const struct vhi_tlb_span *span)
{
	for (uint32_t i = vhi_tlb_find(t, span->iova); i < t->n && t->spans[i].iova <= span->last; i++) {
		const struct vhi_tlb_span *s = &t->spans[i];

		if (s->addr - s->iova != span->addr - span->iova || s->perm & ~span->perm)
			return false;
	}
	return true;
}

/* Another one makes room. Which one is chance, so that no pattern of use always loses. */
static void evict_one(struct vh_iotlb *t, struct vhi_tlb *next, uint32_t not_this)
{
	uint32_t at;

	t->dice = t->dice * 1664525u + 1013904223u;
	at = (uint32_t)((uint64_t)t->dice * (next->n - 1) >> 32);
	vhi_tlb_remove(next, at + (at >= not_this));
	next->lossy = true;
	t->stats.evicted++;
}

/* The most that a table can have after the update. */
static bool is_full(const struct vh_iotlb *t, const struct vhi_tlb_span *span)
{
	const struct vhi_tlb *now = t->now;
	const uint32_t lo = vhi_tlb_find(now, span->iova);
	uint32_t n = now->n + 1;

	for (uint32_t i = lo; i < now->n && now->spans[i].iova <= span->last; i++)
		n = n - 1 + (now->spans[i].iova < span->iova) + (now->spans[i].last > span->last);
	return n > t->max;
}

static int update(struct vh_iotlb *t, struct vhi_tlb_span *span)
{
	struct vhi_tlb *next;
	uint32_t at;
	int rc = follow_memory(t);

	if (rc)
		return rc;
	if (t->mem)
		span->host = host_of(t, t->now->snap, span->addr, span_len(span));
	if (VHI_REFUSE(VHI_SITE_MEM_IOTLB_RANGE, t->mem && !span->host))
		return -EFAULT;
	if (!t->evict && is_full(t, span))
		return -ENOSPC;
	next = writable(t);
	if (!next)
		return -ENOMEM;
	next->cuts += !agrees(next, span);
	vhi_tlb_cut(next, span->iova, span->last);
	at = vhi_tlb_insert(next, span, t->by_uva);
	while (next->n > t->max) {
		evict_one(t, next, at);
		at = vhi_tlb_find(next, span->iova);
	}
	t->stats.updates++;
	misses_settle(t, span->iova, span->last, true);
	publish(t, next);
	return 0;
}

vh_rc vh_iotlb_update(struct vh_iotlb *t, const struct vh_iotlb_entry *e)
{
	struct vhi_tlb_span span;
	int rc;

	if (!t || !e || !e->len || !e->perm || e->perm & ~PERMS || e->flags)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_iotlb_update: give an IOTLB, and an entry with len above 0, perm of VH_MEM_*, flags 0");
	if (e->len - 1 > UINT64_MAX - e->iova || e->len - 1 > UINT64_MAX - e->addr)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_update: 0x%" PRIx64 " + 0x%" PRIx64 " wraps",
				e->iova, e->len);
	span = (struct vhi_tlb_span){.iova = e->iova, .last = e->iova + (e->len - 1), .addr = e->addr, .perm = e->perm};
	pthread_mutex_lock(&t->lock);
	rc = update(t, &span);
	pthread_mutex_unlock(&t->lock);
	if (rc == -EFAULT)
		return vhi_fail(rc, VH_ERROR_MEMORY, VHI_SITE_MEM_IOTLB_RANGE,
				"vh_iotlb_update: 0x%" PRIx64 " + 0x%" PRIx64 " is not inside one region", e->addr,
				e->len);
	if (rc)
		return vhi_fail(rc, VH_ERROR_MEMORY, 0, "vh_iotlb_update: %s",
				rc == -ENOSPC ? "it has all the entries that it may have" : "no memory");
	return 0;
}

/* Is it the middle of one entry, of which two would be left? */
static bool splits(const struct vhi_tlb *t, uint64_t first, uint64_t last)
{
	const uint32_t at = vhi_tlb_find(t, first);

	return at < t->n && t->spans[at].iova < first && t->spans[at].last > last;
}

static int invalidate(struct vh_iotlb *t, uint64_t first, uint64_t last)
{
	struct vhi_tlb *next;

	if (!t->evict && t->now->n == t->max && splits(t->now, first, last))
		return -ENOSPC;
	next = writable(t);
	if (!next)
		return -ENOMEM;
	vhi_tlb_cut(next, first, last);
	next->cuts++;
	if (next->n > t->max)
		evict_one(t, next, next->n);
	next->lossy &= next->n > 0;
	t->stats.invalidations++;
	misses_settle(t, first, last, false);
	publish(t, next);
	return 0;
}

int vhi_iotlb_clear(struct vh_iotlb *t)
{
	int rc;

	pthread_mutex_lock(&t->lock);
	t->n_misses = 0;
	rc = invalidate(t, 0, UINT64_MAX);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

vh_rc vh_iotlb_invalidate(struct vh_iotlb *t, vh_iova iova, uint64_t len)
{
	int rc = 0;

	if (!t)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_invalidate: the IOTLB is NULL");
	if (!len)
		return 0;
	pthread_mutex_lock(&t->lock);
	rc = invalidate(t, iova, len - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + (len - 1));
	pthread_mutex_unlock(&t->lock);
	return rc ? vhi_fail(rc, VH_ERROR_MEMORY, 0, "vh_iotlb_invalidate: %s",
			     rc == -ENOSPC ? "it has all the entries that it may have, and one would become two"
					   : "no memory")
		  : 0;
}

bool vhi_iotlb_newer(const struct vh_iotlb *t, const struct vhi_tlb *than)
{
	return __atomic_load_n(&t->number, __ATOMIC_ACQUIRE) != than->number;
}

struct vhi_tlb *vhi_iotlb_table(struct vh_iotlb *t)
{
	struct vhi_tlb *now;

	pthread_mutex_lock(&t->lock);
	follow_memory(t); /* or not, when there is no memory for that: then the old one goes on */
	now = vhi_tlb_get(t->now);
	pthread_mutex_unlock(&t->lock);
	return now;
}

vh_count vh_iotlb_translate(struct vh_iotlb *t, vh_iova iova, uint64_t len, uint32_t perm, struct vh_seg *segs,
			    uint32_t max)
{
	struct vhi_tlb *now;
	uint64_t at = iova;
	int n;

	if (!t || !t->mem || !segs || !len || !perm || perm & ~PERMS)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_iotlb_translate: give an IOTLB with a memory, segs, len above 0 and perm of VH_MEM_*");
	now = vhi_iotlb_table(t);
	n = vhi_tlb_translate(now, (struct vhi_iova){iova}, len, perm, segs, max, &at);
	vhi_tlb_put(now);
	if (n > 0)
		return n;
	if (n == -ENOSPC)
		return vhi_fail(n, VH_ERROR_ARGUMENT, 0, "vh_iotlb_translate: more than %" PRIu32 " segments", max);
	return vhi_fail(n, VH_ERROR_MEMORY, 0, "I/O address 0x%" PRIx64 " %s", at,
			n == VHI_MISS ? "is not known" : "may not be accessed so");
}

bool vhi_iotlb_by_uva(const struct vh_iotlb *t)
{
	return t->by_uva;
}

bool vhi_iotlb_lookup(struct vh_iotlb *t, uint64_t iova, struct vh_iotlb_entry *out)
{
	return vh_iotlb_entries(t, iova, out, 1) > 0 && out->iova <= iova;
}

vh_count vh_iotlb_entries(struct vh_iotlb *t, vh_iova from, struct vh_iotlb_entry *out, uint32_t max)
{
	struct vhi_tlb *now;
	uint32_t lo, n;

	if (!t || (!out && max))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_iotlb_entries: give an IOTLB, and room for max entries at out");
	now = vhi_iotlb_table(t);
	lo = vhi_tlb_find(now, from);
	n = now->n - lo;
	for (uint32_t i = 0; i < VHI_MIN(n, max); i++) {
		const struct vhi_tlb_span *s = &now->spans[lo + i];

		out[i] = (struct vh_iotlb_entry){.iova = s->iova, .len = span_len(s), .addr = s->addr, .perm = s->perm};
	}
	vhi_tlb_put(now);
	return (vh_count)n;
}

static struct miss *miss_find(struct vh_iotlb *t, uint64_t iova, uint32_t perm)
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
	struct miss *m = miss_find(t, iova, perm);

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
	t->misses[t->n_misses++] = (struct miss){.iova = iova, .perm = perm, .deadline_ns = UINT64_MAX};
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
		wake_users(t);
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
		struct miss *m = &t->misses[i];

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
	struct miss *m;

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
		const struct miss *m = &t->misses[i];

		if (m->deadline_ns > now)
			continue;
		*out = (struct vh_iotlb_miss){.size = sizeof(*out), .iova = m->iova, .perm = m->perm};
		miss_remove(t, i);
		t->stats.timed_out++;
		found = true;
	}
	if (found)
		wake_users(t);
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
		struct miss *m = &t->misses[i];

		if (m->iova != iova || m->state == MISS_DENIED)
			continue;
		m->state = MISS_DENIED;
		m->deadline_ns = UINT64_MAX;
		found = true;
	}
	if (found)
		wake_users(t);
	pthread_mutex_unlock(&t->lock);
	return found ? 0 : vhi_fail(-ENOENT, VH_ERROR_STATE, 0, "vh_iotlb_deny: nobody waits for 0x%" PRIx64, iova);
}

vh_rc vh_iotlb_get_stats(struct vh_iotlb *t, struct vh_iotlb_stats *out)
{
	struct vh_iotlb_stats s;

	if (!t)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_iotlb_get_stats: the IOTLB is NULL");
	pthread_mutex_lock(&t->lock);
	s = t->stats;
	s.size = sizeof(s);
	s.entries = t->now->n;
	s.max_entries = t->max;
	s.waiting = t->n_misses;
	pthread_mutex_unlock(&t->lock);
	return vhi_out_fill(out, &s, sizeof(s), "vh_iotlb_get_stats");
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* An IOTLB: the table that is known now, and how it changes. */
#include "vhi_iotlb_own.h"

#include <inttypes.h>

#include "vhi_mem_sites.h"

#define DEFAULT_ENTRIES 2048u
#define PERMS		(VH_MEM_READ | VH_MEM_WRITE)

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

/* The lock is held from here on, where it is not said otherwise. */
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
	vhi_misses_wake(t);
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
	vhi_misses_settle(t, span->iova, span->last, true);
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
	vhi_misses_settle(t, first, last, false);
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

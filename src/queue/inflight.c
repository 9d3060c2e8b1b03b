/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Inflight records: the file, and what a tracked queue does beside what every queue does. */
#include "vhi_inflight.h"

#include <inttypes.h>

#include "vhi_track.h"

/* Each ring's part begins on a cache line; so do the ones of other back-ends, which may have made the file. */
#define PART_ALIGN 64u

static const struct vhi_tracker *tracker_of(uint64_t features)
{
	return features & VHI_BIT(VH_F_RING_PACKED) ? &vhi_packed_tracker : &vhi_split_tracker;
}

uint64_t vhi_inflight_stride(uint32_t queue_size, uint64_t features)
{
	const struct vhi_tracker *t = tracker_of(features);
	const uint64_t words = t->head_words + (uint64_t)t->entry_words * queue_size;

	return (words * sizeof(uint64_t) + PART_ALIGN - 1) & ~(uint64_t)(PART_ALIGN - 1);
}

int vhi_inflight_make(struct vh_inflight *in, uint64_t features, int *fd)
{
	in->mmap_offset = 0;
	in->mmap_size = in->num_queues * vhi_inflight_stride(in->queue_size, features);
	return vhi_memfd_make(in->mmap_size, 0, fd);
}

vh_rc vh_inflight_make(uint32_t num_queues, uint32_t queue_size, uint64_t features, struct vh_inflight *out, vh_fd *fd)
{
	struct vh_inflight made = {.size = sizeof(made), .num_queues = num_queues, .queue_size = queue_size};
	int rc, own;

	if (!out || !fd || !num_queues || num_queues > UINT16_MAX || !queue_size || queue_size > VH_QUEUE_MAX_SIZE)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_inflight_make: %u queues of %u entries; 1 to 65535 of 1 to %u can be, and out and "
				"fd must not be NULL",
				num_queues, queue_size, VH_QUEUE_MAX_SIZE);
	rc = vhi_inflight_make(&made, features, &own);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_inflight_make: memfd of 0x%" PRIx64 " bytes: %s",
				made.mmap_size, vh_error_name(rc));
	rc = vhi_out_fill(out, &made, sizeof(made), "vh_inflight_make");
	if (rc)
		vhi_fd_close(&own);
	else
		*fd = own;
	return rc;
}

int vhi_inflight_open(const struct vh_inflight *in, int fd, bool require_seal, struct vhi_inflight **out)
{
	struct vhi_inflight *f;
	int rc;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_ALIGN, in->mmap_offset & (sizeof(uint64_t) - 1)))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_QUEUE_INFLIGHT_ALIGN,
				"inflight records at byte 0x%" PRIx64 " of their file; they need a multiple of 8",
				in->mmap_offset);
	f = vhi_calloc(1, sizeof(*f));
	if (!f)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for inflight records");
	rc = vhi_file_map(fd, in->mmap_offset, in->mmap_size, require_seal, &f->region);
	if (rc) {
		vhi_free(f);
		return rc;
	}
	f->refs = 1;
	f->num_queues = in->num_queues;
	f->queue_size = in->queue_size;
	*out = f;
	return 0;
}

struct vhi_inflight *vhi_inflight_get(struct vhi_inflight *f)
{
	if (f)
		__atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
	return f;
}

void vhi_inflight_put(struct vhi_inflight *f)
{
	if (!f || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_region_put(f->region);
	vhi_free(f);
}

static bool truncated(const struct vhi_track *t)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&t->file->region->broken, __ATOMIC_RELAXED);
}

/* Pieces of one allocation, the ones with the largest fields first. */
static void *carve(char *base, size_t *at, size_t n, size_t size)
{
	void *p = base ? base + *at : NULL;

	*at += n * size;
	return p;
}

/* Called twice: with base NULL for the length. */
static size_t lay_out(struct vhi_track *t, char *base, uint32_t num, bool packed)
{
	size_t at = (sizeof(*t) + 7) & ~(size_t)7;

	t->again = carve(base, &at, num, sizeof(*t->again));
	t->chains = (uint64_t VHI_SHM *)(uintptr_t)carve(base, &at, packed ? num : 0, 2 * sizeof(uint64_t));
	t->place = carve(base, &at, num, sizeof(uint16_t));
	t->next = carve(base, &at, t->n, sizeof(uint16_t));
	t->slot = carve(base, &at, packed ? num : 0, sizeof(uint16_t));
	t->last = carve(base, &at, packed ? t->n : 0, sizeof(uint16_t));
	t->num = carve(base, &at, packed ? t->n : 0, sizeof(uint16_t));
	t->live = carve(base, &at, packed ? t->n : 0, sizeof(uint8_t));
	return at;
}

static void track_free(struct vhi_track *t)
{
	if (!t)
		return;
	vhi_inflight_put(t->file);
	vhi_free(t);
}

/* Takes no reference when it fails. */
static int track_new(const struct vh_queue *q, const struct vhi_ring *ring, struct vhi_track **out)
{
	const bool packed = ring->features & VHI_BIT(VH_F_RING_PACKED);
	const uint64_t stride = vhi_inflight_stride(ring->inflight->queue_size, ring->features);
	struct vhi_track t = {.n = ring->inflight->queue_size}, *made;
	struct vhi_inflight *f = ring->inflight;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_ROOM, ring->num > f->queue_size || q->index >= f->num_queues ||
							     (q->index + UINT64_C(1)) * stride > f->region->len))
		return VHI_SITE_QUEUE_INFLIGHT_ROOM;
	made = vhi_calloc(1, lay_out(&t, NULL, ring->num, packed));
	if (!made)
		return -ENOMEM;
	*made = t;
	lay_out(made, (char *)made, ring->num, packed);
	made->file = vhi_inflight_get(f);
	made->head = (uint64_t VHI_SHM *)(uintptr_t)(f->region->host + q->index * stride);
	made->entries = made->head + tracker_of(ring->features)->head_words;
	*out = made;
	return 0;
}

static int recover(struct vh_queue *q, const struct vhi_ring *ring, void VHI_SHM *const area[], uint32_t *base)
{
	struct vhi_track *t;
	int rc = track_new(q, ring, &t);

	if (rc)
		return rc;
	q->track = t;
	rc = tracker_of(ring->features)->recover(q, ring, area, base);
	/* What was read may not be what had been written, and what was written may not be there. */
	if (!rc && VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_GONE, truncated(t)))
		rc = VHI_SITE_QUEUE_INFLIGHT_GONE;
	if (rc) {
		track_free(t);
		q->track = NULL;
	}
	return rc;
}

int vhi_track_start(struct vh_queue *q, const struct vhi_ring *ring, void VHI_SHM *const area[], uint32_t *base)
{
	int rc;

	__atomic_store_n(&q->track_lost, false, __ATOMIC_RELAXED);
	if (!ring->inflight)
		return 0;
	rc = recover(q, ring, area, base);
	if (rc < 0)
		return vhi_fail_at(rc, VH_ERROR_SYSTEM, 0, q->index, VH_ERROR_NONE,
				   "queue %u: no memory for its inflight records", q->index);
	if (rc)
		return vhi_fail_at(-EINVAL, VH_ERROR_QUEUE, (uint32_t)rc, q->index, VH_ERROR_NONE,
				   "queue %u can't start: %s", q->index, vhi_queue_site_text((uint32_t)rc));
	q->flags |= VHI_QF_TRACKED;
	__atomic_store_n(&q->resubmits, q->track->n_again, __ATOMIC_RELEASE);
	return 0;
}

void vhi_track_stop(struct vh_queue *q)
{
	q->flags &= ~VHI_QF_TRACKED;
	track_free(q->track);
	q->track = NULL;
	__atomic_store_n(&q->resubmits, 0, __ATOMIC_RELEASE);
}

/*
 * The front-end truncated the file. I/O goes on without records, as it would if the file had never been there; what is to
 * be done again and was not popped yet is in private memory and still comes.
 */
static void check_lost(struct vh_queue *q)
{
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_LOST, !q->track_lost && truncated(q->track))) {
		__atomic_store_n(&q->track_lost, true, __ATOMIC_RELEASE);
		q->after |= VHI_AFTER_WAKE;
	}
}

/* @recorded: they are in the file, unless they came from there. */
static int32_t give_back(struct vh_queue *q, uint32_t n, bool recorded)
{
	const struct vhi_tracker *ops = q->layout->tracker;
	int32_t rc = q->layout->give_back(q, n);

	for (uint32_t i = n; !rc && i--;) {
		const uint32_t slot = ops->given(q, i);

		if (q->track->place[slot])
			q->track->at_again--;
		else if (recorded)
			ops->given_back(q, slot);
	}
	return rc;
}

int32_t vhi_track_give_back(struct vh_queue *q, uint32_t n)
{
	return give_back(q, n, true);
}

int32_t vhi_track_take(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	const struct vhi_tracker *ops = q->layout->tracker;
	const bool again = vhi_again_left(q->track);
	const uint16_t from = q->next_avail;
	int32_t n = (again ? ops->take : q->layout->take)(q, reqs, max);

	if (n <= 0)
		return n;
	for (int32_t i = 0; i < n && !again; i++)
		q->track->place[(uint32_t)reqs[i].token] = 0;
	if (vhi_poisoned(q)) {
		give_back(q, (uint32_t)n, false);
		return vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED);
	}
	if (!again)
		ops->taken(q, reqs, (uint32_t)n, from);
	check_lost(q);
	return n;
}

bool vhi_track_more(const struct vh_queue *q)
{
	return vhi_again_left(q->track);
}

uint32_t vhi_track_base(const struct vh_queue *q)
{
	return q->layout->tracker->base(q);
}

uint16_t vhi_track_used(const struct vh_queue *q)
{
	return q->track->used;
}

int vhi_track_publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	const struct vhi_tracker *ops = q->layout->tracker;
	int rc;

	ops->completing(q, cpls, n);
	rc = q->layout->publish(q, cpls, n);
	if (!rc)
		ops->completed(q, cpls, n);
	check_lost(q);
	return rc;
}

static bool comes_before(const struct vhi_again *a, const struct vhi_again *b)
{
	return a->counter != b->counter ? a->counter < b->counter : a->entry < b->entry;
}

static void sift(struct vhi_again *a, uint32_t at, uint32_t n)
{
	const struct vhi_again top = a[at];

	for (uint32_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
		if (child + 1 < n && comes_before(&a[child], &a[child + 1]))
			child++;
		if (!comes_before(&top, &a[child]))
			break;
		a[at] = a[child];
		at = child;
	}
	a[at] = top;
}

/* A heap: libc's sort allocates behind our back, and whoever wrote the counters may want the worst case. */
void vhi_again_sort(struct vhi_again *again, uint32_t n)
{
	for (uint32_t i = n / 2; i--;)
		sift(again, i, n);
	for (uint32_t i = n; i-- > 1;) {
		const struct vhi_again last = again[i];

		again[i] = again[0];
		again[0] = last;
		sift(again, 0, i);
	}
}

uint32_t vhi_queue_resubmits(struct vh_queue *q)
{
	return __atomic_load_n(&q->resubmits, __ATOMIC_ACQUIRE);
}

bool vhi_queue_inflight_lost(struct vh_queue *q)
{
	return __atomic_load_n(&q->track_lost, __ATOMIC_ACQUIRE);
}

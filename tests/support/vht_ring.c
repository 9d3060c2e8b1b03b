/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vht_mem.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

uint64_t vht_layout;
int vht_failed;

void *vht_host(struct vht_ring *r, uint64_t gpa)
{
	void *at = vht_at(r->mem, gpa);

	assert_non_null(at);
	return at;
}

void vht_ring_prepare(struct vht_ring *r, uint32_t num, uint64_t features)
{
	memset(r, 0, sizeof(*r));
	r->kick = r->call = -1;
	assert_int_equal(vh_mem_new(NULL, &r->mem), 0);
	assert_int_equal(vh_mem_alloc(r->mem, VHT_BASE, VHT_SIZE, 0), 0);
	r->opts = (struct vh_queue_opts){
		.size = sizeof(r->opts),
		.role = VH_QUEUE_DEVICE,
		.num = num,
		.features = features | vht_layout | UINT64_C(1) << VH_F_VERSION_1,
		.desc = VHT_BASE,
		.driver = VHT_BASE + 0x80000,
		.device = VHT_BASE + 0xa0000,
		.base = vht_layout ? VHT_WRAP | VHT_WRAP << 16 : 0,
	};
}

static bool is_packed(const struct vht_ring *r)
{
	return r->opts.features & VHT_PACKED;
}

void vht_ring_look(struct vht_ring *r)
{
	r->avail = vht_host(r, r->opts.driver);
	r->used = vht_host(r, r->opts.device);
	if (is_packed(r))
		r->packed.ring = vht_host(r, r->opts.desc);
	else
		r->desc = vht_host(r, r->opts.desc);
}

static void free_packed(struct vht_ring *r)
{
	if (!r->packed.ring)
		return;
	free(r->desc);
	free(r->packed.n_desc);
	free(r->packed.log);
	r->packed.ring = NULL;
}

static void make_packed(struct vht_ring *r)
{
	free_packed(r);
	r->desc = calloc(r->opts.num, sizeof(*r->desc));
	r->packed = (struct vht_packed){.done = (uint16_t)(r->opts.base >> 16),
					.n_desc = calloc(UINT16_MAX + 1u, sizeof(*r->packed.n_desc)),
					.log = calloc(UINT16_MAX + 1u, sizeof(*r->packed.log))};
	assert_true(r->desc && r->packed.n_desc && r->packed.log);
}

vh_rc vht_ring_open(struct vht_ring *r)
{
	vh_rc rc = vh_queue_open(r->mem, &r->opts, r->kick, r->call, &r->q);

	if (rc)
		return rc;
	if (is_packed(r))
		make_packed(r);
	vht_ring_look(r);
	r->next = (uint16_t)r->opts.base;
	r->offered = 0;
	return 0;
}

void vht_ring_init(struct vht_ring *r, uint32_t num, uint64_t features)
{
	vht_ring_prepare(r, num, features);
	assert_int_equal(vht_ring_open(r), 0);
}

void vht_ring_init_fds(struct vht_ring *r, uint32_t num, uint64_t features)
{
	vht_ring_prepare(r, num, features);
	r->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(r->kick >= 0 && r->call >= 0);
	assert_int_equal(vht_ring_open(r), 0);
}

struct vhi_ring vht_geometry(const struct vht_ring *r)
{
	return (struct vhi_ring){.num = r->opts.num,
				 .features = r->opts.features,
				 .desc = {r->opts.desc},
				 .driver = {r->opts.driver},
				 .device = {r->opts.device},
				 .base = r->opts.base};
}

void vht_ring_reset(struct vht_ring *r)
{
	r->next = (uint16_t)r->opts.base;
	r->offered = 0;
	if (is_packed(r)) {
		r->packed.done = (uint16_t)(r->opts.base >> 16);
		r->packed.n_used = 0;
		memset(r->packed.ring, 0, r->opts.num * sizeof(*r->packed.ring));
	} else {
		r->avail->v[1] = r->used->v[1] = r->next;
	}
}

static uint16_t on(const struct vht_ring *r, uint16_t pos, uint32_t n)
{
	const uint32_t lap = 2 * r->opts.num, at = pos & ~VHT_WRAP;
	/* Over two turns: the first is the one with the wrap counter set. */
	const uint32_t sum = ((pos & VHT_WRAP ? at : at + r->opts.num) + n) % lap;

	return (uint16_t)(sum < r->opts.num ? sum | VHT_WRAP : sum - r->opts.num);
}

uint32_t vht_base(const struct vht_ring *r, uint32_t n)
{
	const uint16_t pos = on(r, (uint16_t)r->opts.base, n);

	return is_packed(r) ? pos | (uint32_t)pos << 16 : (uint16_t)(r->opts.base + n);
}

void vht_ring_free(struct vht_ring *r)
{
	vh_queue_free(r->q);
	free_packed(r);
	vh_mem_free(r->mem);
	if (r->kick >= 0)
		close(r->kick);
	if (r->call >= 0)
		close(r->call);
}

void vht_desc_set(struct vht_desc *d, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	*d = (struct vht_desc){.addr = addr, .len = len, .flags = (uint16_t)flags, .next = (uint16_t)next};
}

void vht_put(struct vht_ring *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	vht_desc_set(&r->desc[i], addr, len, flags, next);
}

void vht_table_set(struct vht_desc *d, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	const struct vht_pdesc packed = {.addr = addr, .len = len, .id = (uint16_t)~next, .flags = (uint16_t)flags};

	vht_desc_set(d, addr, len, flags, next);
	if (vht_layout)
		memcpy(d, &packed, sizeof(packed));
}

/*
 * The two words of a descriptor, each loaded and stored at once as the library does: ThreadSanitizer pairs a release with
 * an acquire by address.
 */
static uint64_t *words(struct vht_pdesc *d)
{
	return (uint64_t *)(void *)d;
}

/* A descriptor that was used has both marks as the wrap counter says; a length counts with WRITE only. */
static void collect(struct vht_ring *r)
{
	struct vht_packed *p = &r->packed;

	while (p->n_used < r->offered) {
		const uint64_t word = le64toh(
			__atomic_load_n(&words(&p->ring[p->done & ~VHT_WRAP])[1], __ATOMIC_ACQUIRE));
		const uint16_t flags = (uint16_t)(word >> 48), id = (uint16_t)(word >> 32), both = VHT_AVAIL | VHT_USED;

		if ((flags & both) != (p->done & VHT_WRAP ? both : 0))
			return;
		p->log[(uint16_t)p->n_used++] = (struct vht_cpl){id, flags & VHT_WRITE ? (uint32_t)word : 0};
		p->done = on(r, p->done, p->n_desc[id]);
	}
}

static void offer_packed(struct vht_ring *r, uint32_t head)
{
	const struct vht_desc lone = {.addr = VHT_DATA, .len = 64};
	const struct vht_desc *d = head < r->opts.num ? &r->desc[head] : &lone;
	uint64_t first = 0, *first_at = NULL;
	uint32_t n = 0;

	collect(r); /* before it is overwritten */
	for (;;) {
		uint64_t *to = words(&r->packed.ring[r->next & ~VHT_WRAP]), word;
		const uint32_t mine = VHT_AVAIL | VHT_USED, marks = r->next & VHT_WRAP ? VHT_AVAIL : VHT_USED;

		word = d->len | (uint64_t)(uint16_t)head << 32 | (uint64_t)((d->flags & ~mine) | marks) << 48;
		word = htole64(word);
		__atomic_store_n(&to[0], htole64(d->addr), __ATOMIC_RELAXED);
		if (first_at) {
			__atomic_store_n(&to[1], word, __ATOMIC_RELAXED);
		} else {
			first_at = &to[1];
			first = word;
		}
		r->next = on(r, r->next, 1);
		n++;
		if (!(d->flags & VHT_NEXT) || n == r->opts.num)
			break;
		d = &r->desc[d->next % r->opts.num];
	}
	r->packed.n_desc[(uint16_t)head] = (uint16_t)n;
	__atomic_store_n(first_at, first, __ATOMIC_RELEASE);
}

void vht_offer(struct vht_ring *r, uint32_t head)
{
	r->offered++;
	if (is_packed(r)) {
		offer_packed(r, head);
		return;
	}
	r->avail->v[2 + r->next % r->opts.num] = (uint16_t)head;
	r->next++;
	vht_store16(r->avail, 1, r->next);
}

void vht_stage(struct vht_ring *r, uint32_t head, uint32_t n, uint32_t m)
{
	for (uint32_t i = 0; i < n + m; i++)
		vht_put(r, head + i, VHT_DATA + 64 * (head + i), 64,
			(i >= n ? VHT_WRITE : 0) | (i + 1 < n + m ? VHT_NEXT : 0), head + i + 1);
}

void vht_chain(struct vht_ring *r, uint32_t head, uint32_t n, uint32_t m)
{
	vht_stage(r, head, n, m);
	vht_offer(r, head);
}

uint16_t vht_used_idx(struct vht_ring *r)
{
	if (!is_packed(r))
		return vht_load16(r->used, 1);
	collect(r);
	return (uint16_t)r->packed.n_used;
}

/* An element is aligned to 4 bytes, as the ring is. */
static struct vht_u32s *element(struct vht_ring *r, uint32_t i)
{
	return (struct vht_u32s *)(void *)((char *)r->used + 4 + 8 * (size_t)(i % r->opts.num));
}

void vht_set_used(struct vht_ring *r, uint32_t i, uint32_t id, uint32_t len)
{
	*element(r, i) = (struct vht_u32s){{id, len}};
}

uint32_t vht_used_id(struct vht_ring *r, uint32_t i)
{
	if (!is_packed(r))
		return element(r, i)->v[0];
	collect(r);
	return r->packed.log[(uint16_t)i].id;
}

uint32_t vht_used_len(struct vht_ring *r, uint32_t i)
{
	if (!is_packed(r))
		return element(r, i)->v[1];
	collect(r);
	return r->packed.log[(uint16_t)i].len;
}

void vht_want_calls(struct vht_ring *r, bool on)
{
	r->avail->v[is_packed(r)] = on ? 0 : 1; /* the second of two words, or the first of many */
}

bool vht_wants_kicks(struct vht_ring *r)
{
	return !r->used->v[is_packed(r)];
}

struct vht_u16s *vht_used_event(struct vht_ring *r)
{
	return (struct vht_u16s *)(void *)((char *)r->avail + 2 * (2 + (size_t)r->opts.num));
}

struct vht_u16s *vht_avail_event(struct vht_ring *r)
{
	return (struct vht_u16s *)(void *)((char *)r->used + 2 * (2 + 4 * (size_t)r->opts.num));
}

bool vht_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

uint64_t vht_drain(int fd)
{
	uint64_t count = 0;

	if (!vht_readable(fd) || read(fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

struct vh_req vht_pop1(struct vht_ring *r)
{
	struct vh_req req;

	memset(&req, 0xee, sizeof(req));
	assert_int_equal(vh_queue_pop(r->q, &req, 1), 1);
	return req;
}

void vht_push1(struct vht_ring *r, const struct vh_req *req, uint32_t written)
{
	struct vh_cpl cpl = {.token = req->token, .written = written};

	assert_int_equal(vh_queue_push(r->q, &cpl, 1), 0);
}

uint32_t vht_ring_site(void)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(vh_error_get(&e), 0);
	return e.site;
}

void vht_expect_break(struct vht_ring *r, int32_t code, uint32_t site)
{
	struct vh_req reqs[4];
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	assert_int_equal(vh_queue_pop(r->q, reqs, 4), code);
	assert_int_equal(vht_ring_site(), site);
	assert_int_equal(vh_queue_state(r->q), VH_QUEUE_BROKEN);
	assert_int_equal(vh_queue_get_stats(r->q, &stats), 0);
	assert_int_equal(stats.broken_site, site);
	assert_int_equal(stats.errors, 1);
	/* It stays so. */
	assert_int_equal(vh_queue_pop(r->q, reqs, 4), code);
	assert_int_equal(vht_ring_site(), site);
}

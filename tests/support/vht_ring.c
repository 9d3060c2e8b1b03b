/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vht_mem.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
		.features = features | UINT64_C(1) << VH_F_VERSION_1,
		.desc = VHT_BASE,
		.driver = VHT_BASE + 0x80000,
		.device = VHT_BASE + 0xa0000,
	};
}

vh_rc vht_ring_open(struct vht_ring *r)
{
	vh_rc rc = vh_queue_open(r->mem, &r->opts, r->kick, r->call, &r->q);

	if (rc)
		return rc;
	r->desc = vht_host(r, r->opts.desc);
	r->avail = vht_host(r, r->opts.driver);
	r->used = vht_host(r, r->opts.device);
	r->next = (uint16_t)r->opts.base;
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

void vht_ring_free(struct vht_ring *r)
{
	vh_queue_free(r->q);
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

void vht_offer(struct vht_ring *r, uint32_t head)
{
	r->avail[2 + r->next % r->opts.num] = (uint16_t)head;
	r->next++;
	__atomic_store_n(&r->avail[1], r->next, __ATOMIC_RELEASE);
}

void vht_chain(struct vht_ring *r, uint32_t head, uint32_t n, uint32_t m)
{
	for (uint32_t i = 0; i < n + m; i++)
		vht_put(r, head + i, VHT_DATA + 64 * (head + i), 64,
			(i >= n ? VHT_WRITE : 0) | (i + 1 < n + m ? VHT_NEXT : 0), head + i + 1);
	vht_offer(r, head);
}

uint16_t vht_used_idx(struct vht_ring *r)
{
	return __atomic_load_n(&r->used[1], __ATOMIC_ACQUIRE);
}

static uint32_t used_word(struct vht_ring *r, uint32_t i, uint32_t word)
{
	uint32_t v;

	memcpy(&v, &r->used[2 + 4 * (i % r->opts.num) + 2 * word], sizeof(v));
	return v;
}

uint32_t vht_used_id(struct vht_ring *r, uint32_t i)
{
	return used_word(r, i, 0);
}

uint32_t vht_used_len(struct vht_ring *r, uint32_t i)
{
	return used_word(r, i, 1);
}

uint16_t *vht_used_event(struct vht_ring *r)
{
	return &r->avail[2 + r->opts.num];
}

uint16_t *vht_avail_event(struct vht_ring *r)
{
	return &r->used[2 + 4 * r->opts.num];
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

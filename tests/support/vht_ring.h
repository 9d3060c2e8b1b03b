/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A ring driven by hand: the test is the driver, writes descriptors as it likes, and the queue under test is the device.
 * It shares no code with the library's own driver side.
 *
 * Most tests run over both layouts. Chains are put into a table of linked descriptors and then offered: in a split ring
 * that is the ring's own table; in a packed one it is private, and offering a chain copies it into the ring, with its
 * head as its buffer id. What the device used is collected, so that it can be looked at like a split ring's.
 */
#ifndef VHT_RING_H
#define VHT_RING_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vh/vh.h"
#include "vhi_queue.h"

#define VHT_NEXT     1
#define VHT_WRITE    2
#define VHT_INDIRECT 4

#define VHT_PACKED    (UINT64_C(1) << VH_F_RING_PACKED)
#define VHT_EVENT_IDX (UINT64_C(1) << VH_F_RING_EVENT_IDX)
#define VHT_IND_DESC  (UINT64_C(1) << VH_F_RING_INDIRECT_DESC)

/* Guest addresses: rings at VHT_BASE, buffers from VHT_DATA on, both in one region of VHT_SIZE bytes. */
#define VHT_BASE UINT64_C(0x100000)
#define VHT_DATA UINT64_C(0x200000)
#define VHT_SIZE UINT64_C(0x400000)

/*
 * What lies in a ring is little-endian. A big-endian machine's compiler is told so; the address of such a field can't be taken,
 * so what is to be stored at once goes through vht_store16() and words of htole64().
 */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define VHT_LE __attribute__((scalar_storage_order("little-endian")))
#pragma GCC diagnostic ignored \
	"-Wscalar-storage-order" /* what they are made of has no order: memory of a ring, or of calloc() */
#else
#define VHT_LE
#endif

struct vht_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
} VHT_LE;

/* A descriptor in a packed ring. */
struct vht_pdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
} VHT_LE;

/* The available or used ring, or an event area: as many as there are. */
struct vht_u16s {
	uint16_t v[5 + 4 * 32768];
} VHT_LE;

struct vht_u32s {
	uint32_t v[2];
} VHT_LE;

static inline void vht_store16(struct vht_u16s *to, size_t i, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)to + i, htole16(v), __ATOMIC_RELEASE);
}

static inline uint16_t vht_load16(const struct vht_u16s *from, size_t i)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)from + i, __ATOMIC_ACQUIRE));
}

#define VHT_AVAIL 0x80
#define VHT_USED  0x8000
#define VHT_WRAP  0x8000u

/* What the driver knows of a packed ring. */
struct vht_packed {
	struct vht_pdesc *ring; /* address in this process */
	uint16_t done;		/* position of the next used descriptor */
	uint32_t n_used;	/* that were collected */
	uint16_t *n_desc;	/* by buffer id */
	struct vht_cpl {
		uint32_t id, len;
	} * log; /* by n_used, 16 bits */
};

struct vht_ring {
	struct vh_mem *mem;
	struct vh_queue_opts opts;
	struct vh_queue *q;
	struct vht_desc *desc; /* addresses in this process */
	struct vht_u16s *avail;
	struct vht_u16s *used;
	uint16_t next; /* split: available index to publish next; packed: position */
	uint32_t offered;
	int kick; /* eventfds of the test, -1 = none */
	int call;
	struct vht_packed packed;
};

/* 0, or VHT_PACKED: goes into the features of every ring that is prepared from now on. */
extern uint64_t vht_layout;

extern int vht_failed; /* tests of the first group */

/* Run a group of tests over both. */
#define vht_run_layouts(tests)                                                                   \
	(vht_layout = 0, vht_failed = cmocka_run_group_tests_name("split", (tests), NULL, NULL), \
	 vht_layout = VHT_PACKED, vht_failed + cmocka_run_group_tests_name("packed", (tests), NULL, NULL))

/* The one of a split ring, or the one of a packed one. */
static inline uint32_t vht_either(uint32_t split, uint32_t packed)
{
	return vht_layout ? packed : split;
}

/* Memory with a ring at base 0 and a device-side queue on it, no fds. */
void vht_ring_init(struct vht_ring *r, uint32_t num, uint64_t features);
/* The same with non-blocking eventfds. */
void vht_ring_init_fds(struct vht_ring *r, uint32_t num, uint64_t features);
/* Only memory and opts: the test opens the queue. */
void vht_ring_prepare(struct vht_ring *r, uint32_t num, uint64_t features);
/* Open the queue with r->opts and look the areas up. */
vh_rc vht_ring_open(struct vht_ring *r);
/* Only the second of it: memory changed. */
void vht_ring_look(struct vht_ring *r);
/* The ring as its driver would make it anew. */
void vht_ring_reset(struct vht_ring *r);
/* Where the ring is, for a queue that is started by hand. */
struct vhi_ring vht_geometry(const struct vht_ring *r);
/* The base of a ring that began at r->opts.base, after so many descriptors. */
uint32_t vht_base(const struct vht_ring *r, uint32_t n);
void vht_ring_free(struct vht_ring *r);

/* Address in this process of a guest address. */
void *vht_host(struct vht_ring *r, uint64_t gpa);

void vht_desc_set(struct vht_desc *d, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
/* The same in an indirect table of this layout, where a packed one has no links, and what stands there means nothing. */
void vht_table_set(struct vht_desc *d, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
/* Descriptor i of the table that chains are put into. */
void vht_put(struct vht_ring *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
/* Make a head available. One outside of the table is a single descriptor in a packed ring. */
void vht_offer(struct vht_ring *r, uint32_t head);
/* A chain of n readable descriptors and then m writable ones from head on, 64 bytes each at VHT_DATA. */
void vht_stage(struct vht_ring *r, uint32_t head, uint32_t n, uint32_t m);
/* The same, offered. */
void vht_chain(struct vht_ring *r, uint32_t head, uint32_t n, uint32_t m);

uint16_t vht_used_idx(struct vht_ring *r);
uint32_t vht_used_id(struct vht_ring *r, uint32_t i);
uint32_t vht_used_len(struct vht_ring *r, uint32_t i);
/* The driver wants to be told, or not; and does the device? Without event index. */
void vht_want_calls(struct vht_ring *r, bool on);
bool vht_wants_kicks(struct vht_ring *r);
struct vht_u16s *vht_used_event(struct vht_ring *r);
struct vht_u16s *vht_avail_event(struct vht_ring *r);
/* One element of a split ring's used ring. */
void vht_set_used(struct vht_ring *r, uint32_t i, uint32_t id, uint32_t len);
/* Read an eventfd: its count, 0 when there is none. */
uint64_t vht_drain(int fd);
bool vht_readable(int fd);

/* One request must be there; it is returned. */
struct vh_req vht_pop1(struct vht_ring *r);
void vht_push1(struct vht_ring *r, const struct vh_req *req, uint32_t written);
/* The next pop must break the queue at this site. */
void vht_expect_break(struct vht_ring *r, int32_t code, uint32_t site);
uint32_t vht_ring_site(void); /* site of the last error */

#endif

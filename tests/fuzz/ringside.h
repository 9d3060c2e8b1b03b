/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Guest memory with a ring in it, written by hand, for the targets that attack one side of a ring. */
#ifndef FUZZ_RINGSIDE_H
#define FUZZ_RINGSIDE_H

#include "input.h"
#include "kernel.h"
#include "vh/vh.h"

/* Guest addresses. Rings and tables lie in the first region, whatever the layout is. */
#define GUEST	      UINT64_C(0x100000)
#define GUEST_LEN     0x20000u
#define GUEST_DESC    (GUEST)
#define GUEST_AVAIL   (GUEST + 0x800)
#define GUEST_USED    (GUEST + 0x1000)
#define GUEST_TABLES  (GUEST + 0x1800)
#define GUEST_DATA    (GUEST + 0x4000)
#define GUEST_LAYOUTS 4
#define GUEST_MAX_NUM 128u

#define D_NEXT	   1u
#define D_WRITE	   2u
#define D_INDIRECT 4u
#define D_AVAIL	   0x80u /* packed */
#define D_USED	   0x8000u

struct guest {
	struct vh_mem *mem;
	int files[3];
	uint32_t layout;
	uint32_t num;
	bool packed;
	uint16_t next; /* index to publish next in the available ring; packed: position, bit 15 is the wrap counter */
};

/* Sizes that a packed ring has in these targets. */
uint32_t guest_packed_num(uint32_t pick);
/* One position on. */
uint16_t guest_step(const struct guest *g, uint16_t pos);
/* The marks of what is new at a position, from the driver or the device. */
uint16_t guest_marks(uint16_t pos, bool used);

void guest_open(struct guest *g, uint32_t layout, uint32_t num, bool packed);
void guest_close(struct guest *g);
/* The harness's view of n bytes, or NULL when they are not in one region. */
uint8_t *guest_at(struct guest *g, uint64_t gpa, uint64_t n);
void guest_write(struct guest *g, uint64_t gpa, const void *bytes, size_t n); /* if they are there */
uint16_t guest_u16(struct guest *g, uint64_t gpa);
uint32_t guest_u32(struct guest *g, uint64_t gpa);
/* Take a region away, or put it back: 0 or what the library says. The first stays. */
int guest_toggle(struct guest *g, uint32_t region);

/* Packed: next is the buffer id. */
void guest_desc(struct guest *g, uint64_t table, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags,
		uint32_t next);
void guest_offer(struct guest *g, uint16_t head); /* and publish */
/* Address, length and flags mostly such as can be right. */
void guest_desc_from(struct guest *g, uint64_t table, uint32_t i, struct input *in);
/* A chain of up to 31 descriptors, linked or in an indirect table, and offered. */
void guest_chain_from(struct guest *g, struct input *in);
/* Bytes anywhere in the ring areas. */
void guest_poke_from(struct guest *g, struct input *in);

#endif

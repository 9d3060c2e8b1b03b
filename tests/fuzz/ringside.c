/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "ringside.h"

#include "vhi_mem.h"

#define MAX_REGIONS 9

/* Offsets from GUEST, and into a file. */
static const struct part {
	uint32_t at, len, file, offset;
} layouts[GUEST_LAYOUTS][MAX_REGIONS] = {
	{{0, 0x20000, 0, 0}},
	{{0, 0x4000, 0, 0}, {0x4000, 0x4000, 1, 0x1000}, {0x8000, 0x8000, 0, 0x8000}},
	{{0, 0x4000, 0, 0}, {0x5000, 0x1800, 1, 0}, {0x6800, 0x810, 1, 0x2800}, {0x9010, 0x1000, 2, 0x10}},
	{{0, 0x4000, 0, 0},
	 {0x4000, 0x400, 1, 0},
	 {0x4400, 0x400, 2, 0x400},
	 {0x4800, 0x10, 1, 0x800},
	 {0x4810, 0x7f0, 2, 0x1010},
	 {0x5000, 0x100, 1, 0x2000},
	 {0x5400, 0x400, 1, 0x3000},
	 {0x5800, 0x400, 2, 0x3400},
	 {0x5c00, 0x4000, 1, 0x4000}},
};

static struct vh_region region_of(const struct part *p)
{
	return (struct vh_region){.gpa = GUEST + p->at, .uva = GUEST + p->at, .len = p->len, .offset = p->offset};
}

uint32_t guest_packed_num(uint32_t pick)
{
	static const uint8_t nums[] = {1, 2, 3, 5, 7, 16, 33, GUEST_MAX_NUM};

	return nums[pick & 7];
}

uint16_t guest_step(const struct guest *g, uint16_t pos)
{
	return (uint16_t)((pos & 0x7fffu) + 1 < g->num ? pos + 1u : ~pos & 0x8000u);
}

uint16_t guest_marks(uint16_t pos, bool used)
{
	const bool wrap = pos & 0x8000u;

	return (uint16_t)((wrap ? D_AVAIL : 0) | (wrap == used ? D_USED : 0));
}

void guest_open(struct guest *g, uint32_t layout, uint32_t num, bool packed)
{
	const struct part *parts = layouts[layout];
	struct vh_region regions[MAX_REGIONS];
	int fds[MAX_REGIONS];
	uint32_t n = 0;

	memset(g, 0, sizeof(*g));
	g->layout = layout;
	g->num = num;
	g->packed = packed;
	g->next = packed ? 0x8000u : 0;
	CHECK(!vh_mem_new(NULL, &g->mem));
	for (int i = 0; i < 3; i++)
		g->files[i] = kern_open(KERN_MEMFD, KERN_FILE_MAX);
	for (; n < MAX_REGIONS && parts[n].len; n++) {
		regions[n] = region_of(&parts[n]);
		fds[n] = g->files[parts[n].file];
	}
	CHECK(!vhi_mem_replace(g->mem, regions, fds, n));
}

void guest_close(struct guest *g)
{
	vh_mem_free(g->mem);
	for (int i = 0; i < 3; i++)
		kern_close(g->files[i]);
	kern_check_clean();
}

uint8_t *guest_at(struct guest *g, uint64_t gpa, uint64_t n)
{
	const struct part *parts = layouts[g->layout];
	uint64_t at = gpa - GUEST;

	for (uint32_t i = 0; i < MAX_REGIONS && parts[i].len; i++)
		if (at >= parts[i].at && at - parts[i].at < parts[i].len && n <= parts[i].len - (at - parts[i].at))
			return kern_view(g->files[parts[i].file]) + parts[i].offset + (at - parts[i].at);
	return NULL;
}

void guest_write(struct guest *g, uint64_t gpa, const void *bytes, size_t n)
{
	uint8_t *p = guest_at(g, gpa, n);

	if (p)
		memcpy(p, bytes, n);
}

uint16_t guest_u16(struct guest *g, uint64_t gpa)
{
	uint16_t v;

	memcpy(&v, guest_at(g, gpa, sizeof(v)), sizeof(v));
	return v;
}

uint32_t guest_u32(struct guest *g, uint64_t gpa)
{
	uint32_t v;

	memcpy(&v, guest_at(g, gpa, sizeof(v)), sizeof(v));
	return v;
}

int guest_toggle(struct guest *g, uint32_t region)
{
	const struct part *part = &layouts[g->layout][1 + region % (MAX_REGIONS - 1)];
	struct vh_region r = region_of(part);
	int rc;

	if (!part->len)
		return 0;
	rc = vh_mem_remove(g->mem, &r);
	return rc ? vh_mem_add_fd(g->mem, g->files[part->file], &r) : 0;
}

void guest_desc(struct guest *g, uint64_t table, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	const uint16_t tail[2] = {(uint16_t)(g->packed ? next : flags), (uint16_t)(g->packed ? flags : next)};
	uint8_t d[16];

	memcpy(d, &addr, 8);
	memcpy(d + 8, &len, 4);
	memcpy(d + 12, tail, 4);
	guest_write(g, table + 16u * i, d, sizeof(d));
}

/* What lies at the position is made available, whatever it is, with this id. */
static void offer_packed(struct guest *g, uint16_t id)
{
	const uint64_t at = GUEST_DESC + 16u * (g->next & 0x7fffu);
	const uint16_t flags = guest_u16(g, at + 14) & (D_NEXT | D_WRITE | D_INDIRECT);
	const uint16_t tail[2] = {id, (uint16_t)(flags | guest_marks(g->next, false))};

	guest_write(g, at + 12, tail, sizeof(tail));
	g->next = guest_step(g, g->next);
}

void guest_offer(struct guest *g, uint16_t head)
{
	if (g->packed) {
		offer_packed(g, head);
		return;
	}
	guest_write(g, GUEST_AVAIL + 4 + 2 * (g->next % g->num), &head, 2);
	g->next++;
	guest_write(g, GUEST_AVAIL + 2, &g->next, 2);
}

static uint64_t addr_from(struct input *in)
{
	uint16_t v = in_u16(in);

	/* The last 256 values: anything, or an end of the address space. */
	if (v < 0xff00)
		return GUEST + ((uint64_t)v << 1);
	return v & 1 ? UINT64_MAX - in_u8(in) : in_u64(in);
}

static uint32_t len_from(struct input *in)
{
	uint16_t v = in_u16(in);

	return v < 0xff00 ? v : v & 1 ? UINT32_MAX - in_u8(in) : in_u32(in);
}

void guest_desc_from(struct guest *g, uint64_t table, uint32_t i, struct input *in)
{
	uint64_t addr = addr_from(in);
	uint32_t len = len_from(in);
	uint8_t flags = in_u8(in), next = in_u8(in);

	guest_desc(g, table, i, addr, len,
		   (flags & 7u) | (g->packed && flags & 8 ? D_AVAIL : 0) | (g->packed && flags & 16 ? D_USED : 0),
		   flags & 128 ? 0xff00u | next : next);
}

void guest_chain_from(struct guest *g, struct input *in)
{
	uint8_t head = in_u8(in), shape = in_u8(in), writable = in_u8(in);
	bool indirect = shape & 32,
	     big = indirect && writable & 128; /* one table for all of these, that fills its place */
	uint32_t n = (shape & 31u) << (big ? 4 : 0), at = GUEST_DATA - GUEST, len = 0, first;
	uint64_t table = big ? GUEST_TABLES : indirect ? GUEST_TABLES + 0x200u * (head % 16u) : GUEST_DESC;

	head = (uint8_t)(head % g->num);
	first = g->packed ? g->next & 0x7fffu : head;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t self = indirect ? i : (first + i) % g->num, link = indirect ? i + 1 : (first + i + 1) % g->num;

		if (!big || !i)
			len = (uint32_t)in_u8(in) << (shape & 64 ? 6 : 0);
		guest_desc(g, table, self, GUEST + at, len,
			   (i + 1 < n ? D_NEXT : 0) | (i >= (writable & 127u) ? D_WRITE : 0), g->packed ? head : link);
		at += big ? 0 : len + (shape & 128 ? 0x400 : 0);
	}
	if (indirect)
		guest_desc(g, GUEST_DESC, first, table, 16 * n, D_INDIRECT, 0);
	for (uint32_t i = 0; i < (g->packed && !indirect ? n : 1); i++)
		guest_offer(g, head);
}

void guest_poke_from(struct guest *g, struct input *in)
{
	uint16_t at = in_u16(in);
	uint8_t bytes[32], n = in_u8(in) % 33;

	in_bytes(in, bytes, n);
	guest_write(g, GUEST + at, bytes, n);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A queue's part of an inflight file: what the layouts of a ring share. The fields of the file are named as in the
 * specification; here they are words, because several of them change in one store.
 */
#ifndef VHI_TRACK_H
#define VHI_TRACK_H

#include "vhi_inflight.h"
#include "vhi_vring.h"

/* The file's own version; 0 is a file that nobody has used yet. */
#define VHI_INFLIGHT_VERSION 1u

/* A request to be done again. */
struct vhi_again {
	uint64_t counter; /* order of the first pop */
	uint16_t entry;	  /* split: the head of its chain */
	uint16_t n_desc;  /* packed: of its chain */
	uint32_t first;	  /* packed: where in chains it begins */
};

/* All zero in the file and here: nothing in flight. */
struct vhi_track {
	struct vhi_inflight *file; /* a reference */
	uint64_t VHI_SHM *head;	   /* this ring's part; entries follow the head */
	uint64_t VHI_SHM *entries;
	uint32_t n; /* entries */
	uint64_t counter;
	uint16_t used; /* a position of the ring */

	/* What was found when the ring started. */
	struct vhi_again *again;
	uint32_t n_again, at_again; /* of these, how many were popped */
	uint16_t *place;	    /* by slot: where in again it comes from, + 1; 0: from the ring */

	uint16_t last_batch_head; /* split */
	uint16_t *next;		  /* by entry: of the list that it is in */

	uint16_t free;		  /* packed: first free entry */
	uint16_t *slot;		  /* packed, by slot: the entry of its first descriptor */
	uint16_t *last;		  /* packed, by first entry: the last one, */
	uint16_t *num;		  /* and how many there are */
	uint8_t *live;		  /* packed: it is the first entry of a request */
	uint64_t VHI_SHM *chains; /* packed: descriptors of the requests in again, private, but as they lie in a ring */
};

/* What a layout does; all of it by the owner of the gate. */
struct vhi_tracker {
	uint32_t head_words, entry_words;
	/* At start: read what is there, put it in order. *base is what the ring starts from. 0, a site, or -ENOMEM. */
	int (*recover)(struct vh_queue *q, const struct vhi_ring *ring, void VHI_SHM *const area[], uint32_t *base);
	/* The newest n requests were taken from the ring; @from is next_avail before. */
	void (*taken)(struct vh_queue *q, const struct vh_req *reqs, uint32_t n, uint16_t from);
	uint32_t (*base)(const struct vh_queue *q);	       /* see vhi_track_base() */
	void (*given_back)(struct vh_queue *q, uint32_t slot); /* one that came from the ring; newest first */
	uint32_t (*given)(const struct vh_queue *q,
			  uint32_t i); /* slot of the i-th that was given back, oldest first */
	void (*completing)(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n); /* before they are published */
	void (*completed)(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n);  /* after */
	/* Pop from again, as take does from the ring. */
	int32_t (*take)(struct vh_queue *q, struct vh_req *reqs, uint32_t max);
};

/*
 * A word of the file, as if its fields lay from the lowest bit on: bit i of @ends says that one ends with byte i. Each is in
 * the machine's byte order, in which other back-ends of this machine write it.
 */
static inline uint64_t vhi_track_word(uint64_t word, uint32_t ends)
{
	uint64_t to = 0;
	uint32_t first = 0;

	if (__BYTE_ORDER == __LITTLE_ENDIAN)
		return word;
	for (uint32_t i = 0; i < 8; i++) {
		if (!(ends >> i & 1))
			continue;
		for (uint32_t k = first; k <= i; k++)
			to |= (word >> 8 * k & 0xff) << 8 * (i - (k - first));
		first = i + 1;
	}
	return to;
}

#define VHI_TRACK_16   0xaau /* four of 16 bits; or fewer, behind a byte and another of no meaning: */
#define VHI_TRACK_8_16 0xabu
#define VHI_TRACK_WRAP 0xfau /* two of 16 bits, then bytes */
#define VHI_TRACK_DESC 0x8au /* two of 16 bits, one of 32 */
#define VHI_TRACK_64   0x80u

static inline uint64_t vhi_track_load(const uint64_t VHI_SHM *at, uint32_t ends)
{
	return vhi_track_word(vhi_shm_load64(at), ends);
}

static inline void vhi_track_store(uint64_t VHI_SHM *at, uint64_t word, uint32_t ends)
{
	vhi_shm_store64_release(at, vhi_track_word(word, ends));
}

extern const struct vhi_tracker vhi_split_tracker, vhi_packed_tracker;

/* By ascending counter, then entry: a total order, whatever the counters are. */
void vhi_again_sort(struct vhi_again *again, uint32_t n);

static inline bool vhi_again_left(const struct vhi_track *t)
{
	return t->at_again < t->n_again;
}

#endif

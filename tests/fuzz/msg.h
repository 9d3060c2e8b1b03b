/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhost-user messages as an input describes them. */
#ifndef FUZZ_MSG_H
#define FUZZ_MSG_H

#include "input.h"
#include "kernel.h"
#include "vhi_wire.h"

#define MSG_MAX_PAYLOAD 4200u /* a little more than there may be */
#define MSG_MAX_FDS	12u

struct msg {
	uint32_t id, flags, size; /* as the header says; size need not be true */
	uint32_t len;		  /* bytes at payload */
	uint8_t payload[MSG_MAX_PAYLOAD];
	uint32_t n_fds;
	int fds[MSG_MAX_FDS];
};

/* Where the memory of a well-behaved session lies: one memfd with two regions, a ring in each page of the first. */
#define AREA_GPA   UINT64_C(0x100000)
#define AREA_UVA   UINT64_C(0x7f0000000000)
#define AREA_LEN   UINT64_C(0x10000)
#define AREA_GPA_2 UINT64_C(0x200000)
#define AREA_UVA_2 UINT64_C(0x7f0000100000)
#define AREA_LEN_2 UINT64_C(0x8000)
#define RING_NUM   16u
#define RING_AVAIL 0x200u
#define RING_USED  0x400u
#define RING_AT(i) ((i)*0x1000u)

void msg_begin(struct msg *m, uint32_t id, uint32_t flags);
void msg_put(struct msg *m, const void *bytes, size_t n); /* and into the size */
void msg_put_u64(struct msg *m, uint64_t v);
void msg_put_state(struct msg *m, uint32_t index, uint32_t num);
void msg_put_region(struct msg *m, uint64_t gpa, uint64_t uva, uint64_t len, uint64_t offset);
void msg_put_addr(struct msg *m, uint32_t index, uint32_t flags, uint64_t desc, uint64_t avail, uint64_t used);

/*
 * From the input: any message with any payload; or one of a table with a payload of its kind, whose fields are mostly
 * such as can be right. Descriptors are opened; mem and channel (-1 = none) are among those that an input can name.
 */
void msg_raw(struct msg *m, struct input *in, int mem, int channel);
void msg_typed(struct msg *m, struct input *in, enum vhi_wire_side side, int mem, int channel);

/* Send it and close its descriptors. */
void msg_send(struct msg *m, int fd);
/* What was read of a message that is not complete. All zero: nothing. */
struct stream {
	uint32_t have;
	uint32_t head[3];
	uint8_t payload[VHI_WIRE_MAX_PAYLOAD];
	int fds[VHI_WIRE_MAX_FDS]; /* of the message; closed with the next one */
	uint32_t n_fds;
};
/* The next whole message at fd, whose header must be sane; false when there is none. */
bool msg_next(int fd, struct stream *s);
void msg_drain(int fd, struct stream *s);
void msg_stream_end(struct stream *s); /* nothing more will come */

/* A line of JSON for every message, as a trace would make it. */
extern const struct vh_trace_ops msg_trace;

#endif

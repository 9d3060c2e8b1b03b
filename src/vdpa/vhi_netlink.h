/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Generic netlink, as much of it as the vdpa family needs: a request, and every answer to it. */
#ifndef VHI_NETLINK_H
#define VHI_NETLINK_H

#include "vhi_base.h"

#define VHI_NL_REQUEST 1024u
#define VHI_NL_ANSWER  32768u /* what the kernel puts into one datagram of a dump at most */

struct vhi_netlink {
	int fd; /* -1: none yet */
	uint32_t seq;
	uint32_t timeout_ms;
	uint16_t family; /* 0: not known yet */
	uint8_t in[VHI_NL_ANSWER] __attribute__((aligned(8)));
};

struct vhi_nl_request {
	uint32_t len;
	bool full;	    /* something did not fit */
	bool warnings_fail; /* where the kernel says that it did nothing, and no error */
	uint8_t bytes[VHI_NL_REQUEST] __attribute__((aligned(8)));
};

struct vhi_nl_attr {
	uint16_t type;
	uint32_t len;
	const uint8_t *data;
};

/* Attributes that follow each other. */
struct vhi_nl_attrs {
	const uint8_t *at;
	uint32_t left;
};

/* Where an attribute goes in a struct. */
enum vhi_nl_kind {
	VHI_NL_U32, /* a number of 1, 2 or 4 bytes, into a uint32_t */
	VHI_NL_U64, /* of 8 bytes */
	VHI_NL_BYTES,
	VHI_NL_TEXT
};

struct vhi_nl_field {
	uint16_t type;
	uint16_t kind;	 /* enum vhi_nl_kind */
	uint16_t width;	 /* bytes on the wire; of a text: room, with its end */
	uint16_t offset; /* in the struct */
	uint32_t device; /* only of devices of this virtio type, 0 = of any */
};

int vhi_nl_open(struct vhi_netlink *nl, int fd);
void vhi_nl_close(struct vhi_netlink *nl);

/* A request of the family, and its attributes. */
void vhi_nl_begin(struct vhi_nl_request *r, uint8_t cmd, bool dump);
void vhi_nl_put(struct vhi_nl_request *r, uint16_t type, const void *data, size_t len);
void vhi_nl_put_text(struct vhi_nl_request *r, uint16_t type, const char *text);

/*
 * Send it, and hand every answer to @answer until the kernel says that this is all. What @answer returns ends the call
 * only after the last of them. -EAGAIN: what was listed changed meanwhile.
 */
typedef int vhi_nl_answer(void *ctx, struct vhi_nl_attrs attrs);
int vhi_nl_call(struct vhi_netlink *nl, struct vhi_nl_request *r, const char *who, vhi_nl_answer *answer, void *ctx);

/* 1 and the next one, 0 at the end, -EPROTO. */
int vhi_nl_next(struct vhi_nl_attrs *a, struct vhi_nl_attr *attr);
/* Fill a struct by a table. @has: bit n for attribute n that was there. Others are passed over. */
int vhi_nl_fill(struct vhi_nl_attrs a, const struct vhi_nl_field *fields, size_t n, uint32_t device, void *out,
		uint64_t *has);

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Just enough of io_uring for file I/O, by its two system calls: prepare operations, submit them together, take results.
 * The same operations can be run at once by plain system calls.
 */
#ifndef VHI_URING_H
#define VHI_URING_H

#include "vhi_base.h"

#define VHI_FILE_IOVS 128 /* most pieces of one operation; a request with more takes several */

enum vhi_file_code { VHI_FILE_READ, VHI_FILE_WRITE, VHI_FILE_SYNC, VHI_FILE_ALLOCATE, VHI_FILE_CANCEL };

struct vhi_file_op {
	enum vhi_file_code code;
	int fd;
	int mode;	   /* of fallocate */
	uint32_t n_iov;	   /* read, write */
	struct iovec *iov; /* room for VHI_FILE_IOVS */
	uint64_t off;
	uint64_t len;	 /* of fallocate */
	uint64_t target; /* cancel: data of the operation that is to go */
};

struct vhi_uring {
	int fd;
	uint32_t depth;	    /* results that there is room for */
	uint32_t tail;	    /* operations prepared since the start, modulo 2^32 */
	uint32_t submitted; /* of these, told to the kernel */
	uint32_t sq_entries, sq_mask, cq_mask;
	uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
	struct io_uring_cqe *cqes;
	struct io_uring_sqe *sqes;
	struct iovec *iovs; /* VHI_FILE_IOVS for each entry */
	void *map;
	size_t map_len, sqes_len;
};

/* 0, or -errno when there is no io_uring here that does what we need: that is an answer, no failure. */
int vhi_uring_open(struct vhi_uring *r, uint32_t entries, uint32_t depth);
void vhi_uring_close(struct vhi_uring *r); /* also after a failed open */

/* Where the iovecs of the operation that is prepared next must lie; NULL when the ring is full: submit first. */
struct iovec *vhi_uring_room(struct vhi_uring *r);
void vhi_uring_prepare(struct vhi_uring *r, const struct vhi_file_op *op, uint64_t data);
void vhi_uring_submit(struct vhi_uring *r);
/* After a submit: the newest operation that the kernel did not take is ours again. */
bool vhi_uring_take_back(struct vhi_uring *r, uint64_t *data);
bool vhi_uring_next(struct vhi_uring *r, uint64_t *data, int32_t *res);
/* Wait until vhi_uring_next() has something: 0, -ETIMEDOUT or -errno. */
int vhi_uring_wait(struct vhi_uring *r, int timeout_ms);

/* Run it here and now. The result is what io_uring would report: bytes, 0, or -errno. */
int32_t vhi_file_run(const struct vhi_file_op *op);

#endif

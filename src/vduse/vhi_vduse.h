/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * VDUSE inside. vduse.c: life of the handle and its public calls; node.c: the two device files; loop.c: one round of dispatch;
 * messages.c: what the kernel asks, one message at a time; rings.c: queues that start and stop; memory.c: what the driver's
 * addresses mean; umem.c: bounce pages of our own.
 */
#ifndef VHI_VDUSE_H
#define VHI_VDUSE_H

#include "vh/vduse.h"
#include "vhi_base.h"
#include "vhi_device.h"
#include "vhi_events.h"
#include "vhi_gate.h"
#include "vhi_inflight.h"
#include "vhi_iotlb.h"
#include "vhi_log.h"
#include "vhi_mem.h"
#include "vhi_metrics.h"
#include "vhi_queue.h"
#include "vhi_serve.h"
#include "vhi_vduse_uapi.h"

enum vhi_vduse_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

#define VHI_VDUSE_CONFIG_SIZE 256u

/* Device status bits (virtio 1.2 section 2.1). */
#define VHI_STATUS_DRIVER_OK   4u
#define VHI_STATUS_FEATURES_OK 8u

enum vhi_vduse_ring_state {
	VHI_VDUSE_STOPPED,
	VHI_VDUSE_RUNNING,
	VHI_VDUSE_DRAINING, /* takes nothing new, waits for the requests in flight */
	VHI_VDUSE_BROKEN,
};

struct vhi_vduse_ring {
	struct vh_queue *q;
	struct vhi_serve serve;
	uint32_t state; /* enum vhi_vduse_ring_state */
	uint32_t space; /* of its group, while it runs */
	uint32_t told;	/* VHI_TELL_* that wait */
	bool watched;	/* the kick fd is in our epoll set */
	bool busy;	/* is to start, but its queue is not yet left */
	bool lost;	/* it was told that its inflight records are */
	bool fresh;	/* it was not told yet what they had */
};

/* What I/O addresses mean. A region has them as its guest addresses. */
struct vhi_vduse_space {
	struct vh_mem *mem;
	struct vh_iotlb *iotlb;
	int umem;	   /* the file of our own bounce pages, -1 = the kernel has none of ours */
	int32_t umem_rc;   /* why not, until the driver resets */
	uint64_t umem_len; /* bytes of it */
};

enum vhi_vduse_outcome { VHI_VDUSE_OK, VHI_VDUSE_FAILED, VHI_VDUSE_PENDING };

typedef enum vhi_vduse_outcome vhi_vduse_step(struct vh_vduse *v);

/* The one message that is being answered: the kernel asks one after the other. */
struct vhi_vduse_job {
	vhi_vduse_step *step; /* NULL = none */
	struct vhi_vduse_dev_request req;
	struct vhi_vduse_dev_response rsp;
	uint64_t deadline_ns;
	uint64_t features; /* that the driver wants */
	uint64_t later;	   /* token of the device's callback */
	int32_t rc;	   /* what it said */
	bool holds_iotlb;  /* nothing is to be mapped before the answer */
	bool overdue;
};

struct vh_vduse {
	struct vhi_gate gate;
	uint32_t stopping;	/* atomic */
	uint32_t device_failed; /* atomic: some ring's device_rc is to be told */
	struct vhi_log log;
	struct vh_vduse_opts opts; /* defaults filled in */
	char name[VHI_VDUSE_NAME_MAX];
	struct vh_device *dev;
	uint64_t features; /* offered */
	struct vhi_events events;
	struct vhi_inflight *records; /* NULL = none */

	pid_t pid;
	int fd, epfd, wake_fd, timer_fd;
	uint64_t timer_ns; /* what timer_fd is set to, 0 = off */
	bool dispatching, destroying;
	bool woken;	/* inside of a round */
	bool more;	/* the last round left something to do */
	bool listening; /* for messages */
	int32_t dead;	/* why the kernel gave it up, 0 = it did not */
	uint32_t site;	/* of the check that it did not pass then, 0 = none */

	struct vhi_vduse_ring *rings;
	uint32_t n_queues;
	struct vhi_vduse_space *spaces;
	uint32_t n_spaces;
	uint32_t *asids;	       /* space of each group */
	struct vhi_unmapped *unmapped; /* what the invalidation that is owed took back */

	struct vhi_vduse_job job;
	uint64_t acked;
	uint8_t status;
	bool features_told; /* the device knows of the driver's choice */
	struct vh_vduse_info stats;
	struct vhi_show *show; /* NULL = nobody looks */
};

/* show.c. Only with a .show: a round begins, and has ended. */
void vhi_vduse_show_inside(struct vh_vduse *v, uint64_t now);
void vhi_vduse_show_round(struct vh_vduse *v, uint64_t now);
vh_rc vhi_vduse_show_on(struct vh_vduse *v, struct vh_metrics *m, const char *name);

/* vduse.c */
void vhi_vduse_wake(void *v); /* from any thread: there is something to do */
const char *vhi_vduse_site_text(uint32_t site);

/* loop.c: sources in the epoll set. */
enum vhi_vduse_source {
	VHI_VDUSE_FROM_WAKE,
	VHI_VDUSE_FROM_TIMER,
	VHI_VDUSE_FROM_KERNEL,
	VHI_VDUSE_FROM_DEVICE,
	VHI_VDUSE_FROM_KICK,
};
int vhi_vduse_watch(struct vh_vduse *v, int op, int fd, enum vhi_vduse_source source, uint32_t index, uint32_t events);
int vhi_vduse_round(struct vh_vduse *v, int timeout_ms); /* 1, 0 or -errno */

/* node.c. 0 or what the ioctl returned; -errno without a last error. */
int vhi_vduse_ioctl(const struct vh_vduse *v, uint32_t request, void *arg);
vh_rc vhi_vduse_open(struct vh_vduse *v); /* make or take up; .stats.taken_up says which */
vh_rc vhi_vduse_config(struct vh_vduse *v, void *config);
bool vhi_vduse_driver_runs(struct vh_vduse *v); /* of a device that was taken up */

/* messages.c */
bool vhi_vduse_receive(struct vh_vduse *v);  /* some messages; true = there may be more */
bool vhi_vduse_step_job(struct vh_vduse *v); /* true when it was answered */
int vhi_vduse_take_up(struct vh_vduse *v);

/* rings.c */
void vhi_vduse_start_all(struct vh_vduse *v);
void vhi_vduse_kicked(struct vh_vduse *v, uint32_t i);
void vhi_vduse_drain(struct vh_vduse *v, uint32_t i);
bool vhi_vduse_stopped(struct vh_vduse *v, uint32_t i);	 /* after a drain */
uint32_t vhi_vduse_base(struct vh_vduse *v, uint32_t i); /* of a queue at rest */
void vhi_vduse_restart(struct vh_vduse *v, uint32_t i, uint32_t base);
void vhi_vduse_abort_all(struct vh_vduse *v);
void vhi_vduse_woken(struct vh_vduse *v);   /* some queue changed */
bool vhi_vduse_run_all(struct vh_vduse *v); /* a batch of each that is to be looked at; true = some are still */
void vhi_vduse_interrupts(struct vh_vduse *v);

/* memory.c */
int vhi_vduse_spaces_new(struct vh_vduse *v);
void vhi_vduse_spaces_free(struct vh_vduse *v);
void vhi_vduse_forget(struct vh_vduse *v); /* everything */
void vhi_vduse_map_missed(struct vh_vduse *v);
/* Nothing is known of a range any more; and then, when no request uses it, it is unmapped. */
int vhi_vduse_unmap_begin(struct vh_vduse *v, uint32_t space, uint64_t first, uint64_t last);
bool vhi_vduse_unmap_waits(struct vh_vduse *v, uint32_t space);
void vhi_vduse_unmap_end(struct vh_vduse *v, uint32_t space, uint64_t first, uint64_t last);
uint32_t vhi_vduse_regions(const struct vh_vduse *v);

/* umem.c */
vh_rc vhi_vduse_umem_probe(const struct vh_vduse *v);
int vhi_vduse_umem(
	struct vh_vduse *v, uint32_t space,
	const struct vhi_vduse_iotlb_entry *e); /* the fd to map in place of the kernel's, borrowed; -1 = none */
void vhi_vduse_umem_end(struct vh_vduse *v);
void vhi_vduse_umem_info(const struct vh_vduse *v, struct vh_vduse_info *info);

#endif

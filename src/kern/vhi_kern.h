/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The kernel's vhost devices inside. Who does what:
 *
 *	kern.c		the handle
 *	calls.c		one call for each ioctl
 *	kinds.c		those that start rings
 *	hints.c		what a failure means
 *	probe.c		which of them there are
 *	iotlb.c		messages through the device file
 *	backend_ops.c	the table of intents
 */
#ifndef VHI_KERN_H
#define VHI_KERN_H

#include "vh/kern.h"
#include "vh/kern_ioctl.h"
#include "vhi_backend.h"
#include "vhi_base.h"
#include "vhi_dirty.h"
#include "vhi_gate.h"
#include "vhi_iotlb.h"
#include "vhi_mem.h"
#include "vhi_together.h"
#include "vhi_vhost_uapi.h"

enum vhi_kern_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

#define VHI_KERN_NET_RINGS  2u /* a file has one pair */
#define VHI_KERN_MAX_MISSES 64u

struct vh_kern {
	struct vhi_gate gate;
	const char *who; /* the public call that is inside */
	pid_t pid;	 /* that it is of: a child of fork() has only a copy */
	int fd;
	struct vh_kern_opts opts; /* kind filled in */
	bool adopted, owned;
	char node[64]; /* for people */
	struct vh_backend backend;

	uint64_t backend_features;
	bool behind;		  /* ACCESS_PLATFORM is acked */
	struct vh_snapshot *mem;  /* what the kernel has been given; NULL = nothing */
	struct vh_dirty *log;	  /* the same; NULL = none */
	struct vh_dirty *logging; /* what a session logs into, whose rings begin so */

	/* What has to be undone before memory may go. */
	bool attached[VHI_KERN_NET_RINGS];
	bool running;
	bool endpoint;
	struct vhi_vhost_scsi_target shown; /* the endpoint */

	/* What a session needs to know. */
	int net[VHI_KERN_NET_RINGS];
	struct vhi_vhost_scsi_target target; /* its name empty: none */
	uint64_t cid;			     /* 0 = not set */
	uint8_t config[VH_KERN_MAX_CONFIG];
	uint32_t config_len;

	/* backend_ops.c */
	uint64_t acked;
	uint8_t status;
	uint32_t max_rings;	 /* 0 = not known yet */
	struct vhi_together all; /* network rings run one by one */

	/* iotlb.c */
	struct vh_iotlb *map;
	struct vh_iotlb_miss misses[VHI_KERN_MAX_MISSES]; /* a ring */
	uint32_t first_miss, n_misses;
};

extern const struct vhi_backend_ops vhi_kern_backend_ops;

/* kern.c. Around every public call. */
int vhi_kern_enter(struct vh_kern *k, const char *who);
int32_t vhi_kern_leave(struct vh_kern *k, int32_t rc);
uint32_t vhi_kern_node(const struct vh_kern *k); /* VHI_NODE_* */
const char *vhi_kern_site_text(uint32_t site);
/* Does the log, if there is one, have bits for all of this memory? Both may be NULL. */
int vhi_kern_log_covers(const struct vh_kern *k, const struct vh_snapshot *mem, const struct vh_dirty *log);

/* hints.c. The failure of an ioctl, as a last error; returns -errno. @queue: or VH_ERROR_NONE. */
int vhi_kern_failed(const struct vh_kern *k, uint32_t request, int err, uint32_t queue);

/* calls.c, inside. 0 or -errno. */
int vhi_kern_ioctl(struct vh_kern *k, uint32_t request, void *arg, uint32_t queue);
int vhi_kern_state(struct vh_kern *k, uint32_t request, uint32_t queue, uint32_t num);
int vhi_kern_file(struct vh_kern *k, uint32_t request, uint32_t queue, int fd);
int vhi_kern_features(struct vh_kern *k, uint64_t *out);
int vhi_kern_ack(struct vh_kern *k, uint64_t features);
int vhi_kern_ack_backend(struct vh_kern *k, uint64_t features);
int vhi_kern_own(struct vh_kern *k);
int vhi_kern_share(struct vh_kern *k, struct vh_mem *mem);
int vhi_kern_log(struct vh_kern *k, struct vh_dirty *log);
int vhi_kern_base(struct vh_kern *k, uint32_t queue, uint32_t *base);

/* kinds.c, inside */
int vhi_kern_net(struct vh_kern *k, uint32_t queue, int fd);
int vhi_kern_run(struct vh_kern *k, bool on);
int vhi_kern_show(struct vh_kern *k, const struct vhi_vhost_scsi_target *target);
int vhi_kern_hide(struct vh_kern *k, const struct vhi_vhost_scsi_target *target);
void vhi_kern_halt(struct vh_kern *k); /* whatever runs; what fails is not told */

/* iotlb.c, inside */
int vhi_kern_map(struct vh_kern *k, const struct vh_iotlb_entry *e);
int vhi_kern_unmap(struct vh_kern *k, uint64_t iova, uint64_t len);
int vhi_kern_invalidate(struct vh_kern *k, uint64_t iova, uint64_t len);
int vhi_kern_serve(struct vh_kern *k); /* as vh_kern_dispatch() */
/* Tell what the map knows of an I/O address, before it is missed: which range that was. Nothing when it knows nothing. */
int vhi_kern_preload(struct vh_kern *k, uint64_t iova, uint64_t *first, uint64_t *len);

#endif

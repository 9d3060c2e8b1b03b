/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A vDPA device inside. vdpa.c: the handle, status, config space; vrings.c: calls about rings; maps.c: what I/O addresses
 * mean; hints.c: what a failure means; backend_ops.c: the table of intents.
 */
#ifndef VHI_VDPA_H
#define VHI_VDPA_H

#include "vh/vdpa.h"
#include "vhi_backend.h"
#include "vhi_base.h"
#include "vhi_gate.h"
#include "vhi_mem.h"
#include "vhi_together.h"
#include "vhi_vhost_uapi.h"

/* A range of I/O addresses that the kernel knows. */
struct vhi_vdpa_map {
	uint64_t iova, len, host;
};

/* A struct vhi_vhost_vdpa_config with room. */
struct vhi_vdpa_config {
	uint32_t off, len;
	uint8_t buf[VH_VDPA_MAX_CONFIG];
};

struct vh_vdpa {
	struct vhi_gate gate;
	const char *who; /* the public call that is inside */
	pid_t pid;	 /* that it is of: a child of fork() has only a copy */
	int fd;
	bool adopted, owned;
	struct vh_vdpa_opts opts;
	char node[256]; /* for people */
	struct vh_backend backend;

	uint32_t status; /* as it was set or read last */
	uint32_t device_id;
	uint32_t max_num;     /* entries of a ring, read after the last reset; 0 = not yet */
	uint32_t config_size; /* which stays the same; 0 = not read yet */
	uint64_t backend_features;
	uint64_t first, last; /* I/O addresses */
	bool has_range;	      /* and they are known */

	/* maps.c: what is mapped for mem; after a reset the device may have forgotten it, and the kernel has not. */
	struct vh_snapshot *mem;
	struct vhi_vdpa_map *maps;
	uint32_t n_maps;
	bool stale;

	/* backend_ops.c */
	uint64_t acked;
	bool running; /* rings have been set up, and DRIVER_OK */
	bool forgets; /* it does not say where its rings are */
	struct vhi_together all;
	struct vhi_ring_intent intents[VHI_TOGETHER_RINGS]; /* what a session wants of rings */

	struct vhi_vdpa_config config, again;
};

extern const struct vhi_backend_ops vhi_vdpa_backend_ops;

/* vdpa.c. Around every public call. */
int vhi_vdpa_enter(struct vh_vdpa *v, const char *who);
int vhi_vdpa_leave(struct vh_vdpa *v, int rc);
int vhi_vdpa_own(struct vh_vdpa *v); /* if nobody did yet */
int vhi_vdpa_set_status(struct vh_vdpa *v, uint32_t status);
int vhi_vdpa_ack_backend(struct vh_vdpa *v, uint64_t features);
int vhi_vdpa_config(struct vh_vdpa *v, bool write, uint32_t offset, void *buf, uint32_t len);

/* hints.c. The failure of an ioctl, as a last error; returns -errno. @queue: or VH_ERROR_NONE. */
int vhi_vdpa_failed(const struct vh_vdpa *v, uint32_t request, int err, uint32_t queue);

/* vrings.c, inside. 0 or -errno. */
int vhi_vdpa_ioctl(struct vh_vdpa *v, uint32_t request, void *arg, uint32_t queue);
int vhi_vdpa_state(struct vh_vdpa *v, uint32_t request, uint32_t queue, uint32_t num);
int vhi_vdpa_state_out(struct vh_vdpa *v, uint32_t request, uint32_t queue, uint32_t *num);
int vhi_vdpa_file(struct vh_vdpa *v, uint32_t request, uint32_t queue, int fd);
int vhi_vdpa_num(struct vh_vdpa *v, uint32_t queue, uint32_t num); /* SET_VRING_NUM, within its limit */

/* maps.c, inside */
int vhi_vdpa_share(struct vh_vdpa *v, struct vh_snapshot *mem); /* NULL: nothing */
int vhi_vdpa_refresh(struct vh_vdpa *v);			/* after a reset */

#endif

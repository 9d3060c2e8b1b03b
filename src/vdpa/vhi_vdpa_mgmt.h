/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The handle of vDPA management. mgmt.c: what goes over netlink; places.c: what sysfs says and does. */
#ifndef VHI_VDPA_MGMT_H
#define VHI_VDPA_MGMT_H

#include "vh/vdpa_mgmt.h"
#include "vhi_gate.h"
#include "vhi_netlink.h"

#define VHI_VDPA_ROOT_SIZE 256u
#define VHI_VDPA_PATH_SIZE 1024u
#define VHI_VDPA_MAX_LIST  16384u

/* A list that grows while it is read. */
struct vhi_vdpa_list {
	size_t item; /* bytes */
	uint32_t n, room;
	uint8_t *items;
};

struct vh_vdpa_mgmt {
	struct vhi_gate gate;
	struct vhi_vdpa_list mgmtdevs, devs, stats, places;
	char root[VHI_VDPA_ROOT_SIZE];
	struct vhi_netlink nl;
};

/* Room for one more, zeroed. -ENOMEM, -ENOSPC. */
int vhi_vdpa_list_add(struct vhi_vdpa_list *l, const char *who, void **item);

int vhi_vdpa_mgmt_enter(struct vh_vdpa_mgmt *m, const char *who);
int vhi_vdpa_mgmt_leave(struct vh_vdpa_mgmt *m, int rc);
/* One of a list, for the caller. */
int vhi_vdpa_mgmt_item(struct vh_vdpa_mgmt *m, struct vhi_vdpa_list *l, uint32_t index, void *out, const char *who);
/* Inside: the name of the only device that this management device made. */
bool vhi_vdpa_mgmt_made_by(struct vh_vdpa_mgmt *m, const char *mgmtdev, char name[VH_VDPA_NAME_SIZE]);

#endif

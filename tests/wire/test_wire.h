/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One payload, seen as any struct of the wire, and the shortest way to have it checked. */
#ifndef TEST_WIRE_H
#define TEST_WIRE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vh/protocol.h"
#include "vhi_wire.h"

#define XEN VHI_BIT(VH_PF_XEN_MMAP)

static const struct vhi_wire_features everything = {
	.offered = UINT64_MAX, .acked = ~VHI_BIT(VH_F_RING_PACKED), .pf_offered = UINT64_MAX, .pf_acked = ~XEN};

static union {
	uint8_t bytes[VHI_WIRE_MAX_PAYLOAD];
	uint64_t u64;
	struct vhi_wire_vring_state state;
	struct vh_vring_addr addr;
	struct vhi_wire_mem_table table;
	struct vhi_wire_mem_reg reg;
	struct vhi_wire_log log;
	struct vhi_wire_iotlb iotlb;
	struct vhi_wire_config config;
	struct vhi_wire_vring_area area;
	struct vhi_wire_inflight inflight;
	struct vhi_wire_device_state device_state;
	struct vhi_wire_mmap mmap;
	struct vhi_wire_shmem_config shmem;
} p;

static inline uint32_t request(enum vhi_wire_side side, uint32_t id, uint32_t size, uint32_t n_fds,
			       const struct vhi_wire_features *f)
{
	struct vhi_wire_header h = {.request = id, .flags = VHI_WIRE_VERSION, .size = size};

	return vhi_wire_check_request(side, &h, &p, n_fds, f);
}

static inline uint32_t fe(uint32_t id, uint32_t size, uint32_t n_fds)
{
	return request(VHI_WIRE_FRONT_END, id, size, n_fds, &everything);
}

static inline uint32_t be(uint32_t id, uint32_t size, uint32_t n_fds)
{
	return request(VHI_WIRE_BACK_END, id, size, n_fds, &everything);
}

static inline void clear(void)
{
	memset(&p, 0, sizeof(p));
}

#endif

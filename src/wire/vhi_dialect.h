/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Peers with other numbers: VH_DIALECT_*. In: theirs to ours; out: ours to theirs. */
#ifndef VHI_DIALECT_H
#define VHI_DIALECT_H

#include "vhi_wire.h"

bool vhi_dialect_known(uint32_t dialect);
/* The id of a message on a channel with requests of @side, its replies' too. */
uint32_t vhi_dialect_id_in(uint32_t dialect, enum vhi_wire_side side, uint32_t id);
uint32_t vhi_dialect_id_out(uint32_t dialect, enum vhi_wire_side side, uint32_t id);
/* Protocol features. Those that the other side does not know are dropped. */
uint64_t vhi_dialect_pf_in(uint32_t dialect, uint64_t bits);
uint64_t vhi_dialect_pf_out(uint32_t dialect, uint64_t bits);
/* Is the payload of this message on the main channel such bits? */
bool vhi_dialect_has_pf(const struct vhi_wire_header *h);

#endif

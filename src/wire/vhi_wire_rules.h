/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Field rules of single messages, called after the columns of the table have passed. Only for wire.c. */
#ifndef VHI_WIRE_RULES_H
#define VHI_WIRE_RULES_H

#include "vhi_wire.h"

uint32_t vhi_wire_request_rules(enum vhi_wire_side side, const struct vhi_wire_header *h, const void *payload,
				uint32_t n_fds, const struct vhi_wire_features *f);
uint32_t vhi_wire_reply_rules(enum vhi_wire_side side, const struct vhi_wire_msg *request,
			      const struct vhi_wire_header *h, const void *payload, uint32_t n_fds);

#endif

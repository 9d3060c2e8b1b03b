/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Message ids, VHI_FE_<NAME> and VHI_BE_<NAME>, and the numbers of this folder's checks. */
#ifndef VHI_WIRE_IDS_H
#define VHI_WIRE_IDS_H

#include "vhi_site.h"

enum vhi_fe_id {
#define VHI_FE(name, id, ...) VHI_FE_##name = (id),
#define VHI_BE(name, id, ...)
#include "messages.def"
#undef VHI_FE
#undef VHI_BE
};

enum vhi_be_id {
#define VHI_FE(name, id, ...)
#define VHI_BE(name, id, ...) VHI_BE_##name = (id),
#include "messages.def"
#undef VHI_FE
#undef VHI_BE
#define VHI_DIALECT(name, number)
#define VHI_DRIFT_PF(dialect, name, bit)
#define VHI_DRIFT_BE(dialect, name, id)
#define VHI_LEGACY(name, id, ...) VHI_BE_##name = (id),
#include "dialects.def"
#undef VHI_DIALECT
#undef VHI_DRIFT_PF
#undef VHI_DRIFT_BE
#undef VHI_LEGACY
};

enum vhi_wire_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

#endif

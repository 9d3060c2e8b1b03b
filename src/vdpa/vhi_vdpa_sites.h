/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#ifndef VHI_VDPA_SITES_H
#define VHI_VDPA_SITES_H

#include "vhi_site.h"

enum vhi_vdpa_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

#endif

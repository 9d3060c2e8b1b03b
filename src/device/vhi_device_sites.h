/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#ifndef VHI_DEVICE_SITES_H
#define VHI_DEVICE_SITES_H

#include "vhi_site.h"

#define VHI_SITE VHI_SITE_ENUM
enum vhi_device_site {
#include "sites.def"
};
#undef VHI_SITE

#endif

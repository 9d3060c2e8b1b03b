/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Numbered rejections. Every check that refuses something a peer (or the memory it shares) did has a number, listed in
 * the sites.def of its folder, used once, and wrapped in VHI_REFUSE:
 *
 *	if (VHI_REFUSE(VHI_SITE_WIRE_VERSION, (flags & 3) != 1))
 *		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_WIRE_VERSION, "...");
 *
 * The number reaches the user in vh_error.site. A build with VHI_MUTATE can switch one check off (environment
 * VH_MUTATE_SITE), which must turn the test suite red, and counts how often each check fired (VH_SITE_LOG).
 */
#ifndef VHI_SITE_H
#define VHI_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef VHI_MUTATE
bool vhi_site_live(uint32_t site);
#define VHI_REFUSE(site, cond) (__builtin_expect(!!(cond), 0) && vhi_site_live(site))
#else
#define VHI_REFUSE(site, cond) (__builtin_expect(!!(cond), 0))
#endif

/*
 * Ranges: wire 100, sock 200, mem 300, queue 400, device 500, slave 600, master 700, driver 800, gpu 900, kern 1000, vdpa 1100,
 * vduse 1200, metrics 1300; 99 numbers each.
 */
#define VHI_SITE_ENUM(name, number, text) VHI_SITE_##name = (number),

/* The words of a folder's checks: an array of these, made from its sites.def with VHI_SITE_TEXT. */
struct vhi_site_text {
	uint32_t site;
	const char *text;
};
#define VHI_SITE_TEXT(name, number, text) {(number), (text)},
/* NULL when the number is none of them. */
const char *vhi_site_text(const struct vhi_site_text *texts, size_t n, uint32_t site);

#endif

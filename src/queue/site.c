/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhi_vring.h"

static const struct {
	uint32_t site;
	const char *text;
} texts[] = {
#define VHI_SITE(name, number, text) {number, text},
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_queue_site_text(uint32_t site)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(texts); i++)
		if (texts[i].site == site)
			return texts[i].text;
	return NULL;
}

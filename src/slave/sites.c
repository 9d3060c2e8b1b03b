/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the numbers of checks mean. */
#include "vhi_slave.h"

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_slave_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

const char *vhi_slave_any_site_text(uint32_t site)
{
	static const char *(*const folders[])(uint32_t) = {vhi_wire_site_text, vhi_sock_site_text, vhi_mem_site_text,
							   vhi_queue_site_text, vhi_slave_site_text};
	const char *text = NULL;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(folders) && !text; i++)
		text = folders[i](site);
	return text;
}

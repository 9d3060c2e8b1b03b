/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the numbers of checks mean. */
#include "vhi_slave.h"

static const struct {
	uint32_t site;
	const char *text;
} site_texts[] = {
#define VHI_SITE(name, number, text) {VHI_SITE_##name, text},
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_slave_site_text(uint32_t site)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(site_texts); i++)
		if (site_texts[i].site == site)
			return site_texts[i].text;
	return NULL;
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

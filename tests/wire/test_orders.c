/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What known front-ends send, in the order in which they send it, passes with no refusal. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vht_paths.h"
#include "vh/log.h"
#include "vhi_wire.h"

struct order {
	const char *name;
	uint32_t line;
	struct vhi_wire_features f;
	struct vhi_wire_header h;
	uint32_t n_fds;
	uint8_t payload[VHI_WIRE_MAX_PAYLOAD];
};

static uint32_t id_of(const struct order *o, const char *name)
{
	size_t n;
	const struct vhi_wire_msg *m = vhi_wire_table(VHI_WIRE_FRONT_END, &n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(m[i].name, name))
			return m[i].id;
	fail_msg("%s:%u: no message %s", o->name, o->line, name);
	return 0;
}

static void put(struct order *o, const void *bytes, size_t n)
{
	assert_true(o->h.size + n <= sizeof(o->payload));
	memcpy(o->payload + o->h.size, bytes, n);
	o->h.size += (uint32_t)n;
}

static void take_word(struct order *o, const char *word)
{
	static const uint8_t zeros[512];
	uint64_t v = strchr(word, ':') ? strtoull(strchr(word, ':') + 1, NULL, 0) : 0;
	uint32_t v32 = (uint32_t)v;

	if (!strcmp(word, "need_reply"))
		o->h.flags |= VHI_WIRE_NEED_REPLY;
	else if (!strncmp(word, "fds=", 4))
		o->n_fds = (uint32_t)strtoul(word + 4, NULL, 10);
	else if (!strncmp(word, "u32:", 4))
		put(o, &v32, sizeof(v32));
	else if (!strncmp(word, "u64:", 4))
		put(o, &v, sizeof(v));
	else if (!strncmp(word, "zero:", 5))
		put(o, zeros, v);
	else
		fail_msg("%s:%u: '%s'", o->name, o->line, word);
}

static void run_line(struct order *o, char *line)
{
	char *name = strsep(&line, " "), *word;
	uint32_t site;
	uint64_t value = 0;

	if (!strcmp(name, "offer")) {
		o->f.offered = strtoull(strsep(&line, " "), NULL, 0);
		o->f.pf_offered = strtoull(line, NULL, 0);
		return;
	}
	o->h = (struct vhi_wire_header){.request = id_of(o, name), .flags = VHI_WIRE_VERSION};
	o->n_fds = 0;
	while ((word = strsep(&line, " ")))
		take_word(o, word);
	assert_int_equal(vhi_wire_check_header(&o->h, false), 0);
	site = vhi_wire_check_request(VHI_WIRE_FRONT_END, &o->h, o->payload, o->n_fds, &o->f);
	if (site)
		fail_msg("%s:%u: %s is refused: %s", o->name, o->line, name, vhi_wire_site_text(site));
	memcpy(&value, o->payload, sizeof(value));
	if (o->h.request == VHI_FE_SET_FEATURES)
		o->f.acked = value;
	if (o->h.request == VHI_FE_SET_PROTOCOL_FEATURES)
		o->f.pf_acked = value;
}

static void run(const char *name)
{
	struct order o = {.name = name};
	char path[512], line[1024];
	uint32_t messages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/data/orders/%s.txt", vht_source_dir, name);
	f = fopen(path, "re");
	if (!f)
		fail_msg("%s is missing", path);
	while (fgets(line, sizeof(line), f)) {
		o.line++;
		line[strcspn(line, "\n")] = 0;
		if (!*line || *line == '#')
			continue;
		run_line(&o, line);
		messages++;
	}
	fclose(f);
	assert_true(messages > 10);
	/* Bits that were not offered don't get acked, so that the data stays honest. */
	assert_false(o.f.pf_acked & ~o.f.pf_offered);
	assert_false(o.f.acked & ~o.f.offered);
}

#define ORDER(test, file)              \
	static void test(void **state) \
	{                              \
		(void)state;           \
		run(file);             \
	}

ORDER(qemu_7_blk_is_not_refused, "qemu-7.2-blk")
ORDER(qemu_10_blk_is_not_refused, "qemu-10-blk")
ORDER(qemu_7_net_is_not_refused, "qemu-7.2-net")
ORDER(libblkio_is_not_refused, "libblkio")
ORDER(spdk_initiator_is_not_refused, "spdk-initiator")
ORDER(dpdk_virtio_user_is_not_refused, "dpdk-virtio-user")

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_7_blk_is_not_refused),	 cmocka_unit_test(qemu_10_blk_is_not_refused),
		cmocka_unit_test(qemu_7_net_is_not_refused),	 cmocka_unit_test(libblkio_is_not_refused),
		cmocka_unit_test(spdk_initiator_is_not_refused), cmocka_unit_test(dpdk_virtio_user_is_not_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl probe: what a back-end says of itself. */
#include "vhctl.h"

#include <inttypes.h>
#include <string.h>

/* Protocol features that the questions below need, and that the library works with. */
#define PROBE_PF                                                                                  \
	(UINT64_C(1) << VH_PF_MQ | UINT64_C(1) << VH_PF_REPLY_ACK | UINT64_C(1) << VH_PF_CONFIG | \
	 UINT64_C(1) << VH_PF_CONFIGURE_MEM_SLOTS)

struct report {
	const char *target;
	uint32_t type; /* virtio device id, 0 = not said */
	bool type_assumed;
	uint64_t features;
	bool has_pf, has_queues, has_slots, has_config;
	uint64_t pf;
	uint32_t queues, slots, config_len;
	uint8_t config[VH_CONFIG_MAX];
};

/* Fields of config space by device type: offset and width in bytes (virtio 1.2 sections 5.1.4 and 5.2.4). */
struct field {
	const char *name;
	uint32_t type;
	uint8_t offset, width;
};
static const struct field fields[] = {
	{"capacity_sectors", VH_TYPE_BLK, 0, 8},
	{"size_max", VH_TYPE_BLK, 8, 4},
	{"seg_max", VH_TYPE_BLK, 12, 4},
	{"cylinders", VH_TYPE_BLK, 16, 2},
	{"heads", VH_TYPE_BLK, 18, 1},
	{"sectors", VH_TYPE_BLK, 19, 1},
	{"block_size", VH_TYPE_BLK, 20, 4},
	{"physical_block_exp", VH_TYPE_BLK, 24, 1},
	{"alignment_offset", VH_TYPE_BLK, 25, 1},
	{"min_io_size", VH_TYPE_BLK, 26, 2},
	{"opt_io_size", VH_TYPE_BLK, 28, 4},
	{"writeback", VH_TYPE_BLK, 32, 1},
	{"num_queues", VH_TYPE_BLK, 34, 2},
	{"max_discard_sectors", VH_TYPE_BLK, 36, 4},
	{"max_discard_seg", VH_TYPE_BLK, 40, 4},
	{"discard_sector_alignment", VH_TYPE_BLK, 44, 4},
	{"max_write_zeroes_sectors", VH_TYPE_BLK, 48, 4},
	{"max_write_zeroes_seg", VH_TYPE_BLK, 52, 4},
	{"write_zeroes_may_unmap", VH_TYPE_BLK, 56, 1},
	{"status", VH_TYPE_NET, 6, 2},
	{"max_virtqueue_pairs", VH_TYPE_NET, 8, 2},
	{"mtu", VH_TYPE_NET, 10, 2},
};
/* How much of config space to ask for: what a device of this type has, not more (some back-ends end the connection). */
#define BLK_CONFIG_LEN 60u
#define NET_CONFIG_LEN 12u

static uint64_t field_value(const uint8_t *config, const struct field *f)
{
	uint64_t v = 0;

	for (unsigned i = f->width; i--;)
		v = v << 8 | config[f->offset + i];
	return v;
}

uint32_t config_length(uint32_t type)
{
	return type == VH_TYPE_BLK ? BLK_CONFIG_LEN : type == VH_TYPE_NET ? NET_CONFIG_LEN : 0;
}

/* An exit code; a question that the back-end's features do not cover is left out of the report. */
static int ask(struct vh_master *m, struct report *r)
{
	int32_t rc = vh_master_get_features(m, &r->features);

	if (!rc && r->features >> VH_F_PROTOCOL_FEATURES & 1) {
		r->has_pf = true;
		rc = vh_master_get_protocol_features(m, &r->pf);
		if (!rc)
			rc = vh_master_set_protocol_features(m, r->pf & PROBE_PF);
	}
	if (!rc && r->pf >> VH_PF_MQ & 1) {
		r->has_queues = true;
		rc = vh_master_get_queue_num(m, &r->queues);
	}
	if (!rc && r->pf >> VH_PF_CONFIGURE_MEM_SLOTS & 1) {
		r->has_slots = true;
		rc = vh_master_get_max_mem_slots(m, &r->slots);
	}
	r->config_len = config_length(r->type);
	if (!rc && r->pf >> VH_PF_CONFIG & 1 && r->config_len) {
		r->has_config = true;
		rc = vh_master_get_config(m, 0, r->config, r->config_len);
	}
	return rc ? (say_vh(rc, r->target), EXIT_WRONG) : EXIT_DONE;
}

void print_bits(uint64_t bits, uint32_t space)
{
	for (uint32_t b = 0; b < 64; b++) {
		const char *name = vh_feature_name(space, b);

		if (!(bits >> b & 1))
			continue;
		if (name)
			printf("    %2u %s\n", b, name);
		else
			printf("    %2u (unknown)\n", b);
	}
}

void print_config(uint32_t type, const uint8_t *config)
{
	printf("config\n");
	if (type == VH_TYPE_BLK)
		printf("    %-26s %" PRIu64 "\n", "capacity_bytes", field_value(config, &fields[0]) * VH_BLK_SECTOR);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].type == type)
			printf("    %-26s %" PRIu64 "\n", fields[i].name, field_value(config, &fields[i]));
}

static void print_table(const struct report *r)
{
	printf("target            %s\n", r->target);
	printf("kind              vhost-user back-end\n");
	printf("type              %s%s\n", r->type ? (r->type == VH_TYPE_BLK ? "blk" : "net") : "none",
	       r->type_assumed ? " (assumed; vhost-user does not tell)" : "");
	printf("features          0x%" PRIx64 "\n", r->features);
	print_bits(r->features, r->type ? r->type : VH_TYPE_BLK);
	if (r->has_pf) {
		printf("protocol features 0x%" PRIx64 "\n", r->pf);
		print_bits(r->pf, 0);
	}
	if (r->has_queues)
		printf("queues            %u\n", r->queues);
	if (r->has_slots)
		printf("memory slots      %u\n", r->slots);
	if (r->has_config)
		print_config(r->type, r->config);
}

void json_bits(struct json *j, const char *key, uint64_t bits, uint32_t space)
{
	json_object(j, key);
	json_hex(j, "raw", bits);
	json_array(j, "names");
	for (uint32_t b = 0; b < 64; b++)
		if (bits >> b & 1 && vh_feature_name(space, b))
			json_text(j, NULL, vh_feature_name(space, b));
	json_close(j, ']');
	json_array(j, "unknown_bits");
	for (uint32_t b = 0; b < 64; b++)
		if (bits >> b & 1 && !vh_feature_name(space, b))
			json_u64(j, NULL, b);
	json_close(j, ']');
	json_close(j, '}');
}

void json_config(struct json *j, uint32_t type, const uint8_t *config, uint32_t len)
{
	char hex[2 * VH_CONFIG_MAX + 1];

	json_object(j, "config");
	for (uint32_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", config[i]);
	json_text(j, "raw", hex);
	if (type == VH_TYPE_BLK)
		json_u64(j, "capacity_bytes", field_value(config, &fields[0]) * VH_BLK_SECTOR);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].type == type)
			json_u64(j, fields[i].name, field_value(config, &fields[i]));
	json_close(j, '}');
}

static void print_json(const struct report *r)
{
	struct json j;

	json_begin(&j, stdout);
	json_text(&j, "target", r->target);
	json_text(&j, "kind", "vhost-user");
	json_text(&j, "type", r->type ? (r->type == VH_TYPE_BLK ? "blk" : "net") : "none");
	json_bool(&j, "type_assumed", r->type_assumed);
	json_bits(&j, "features", r->features, r->type ? r->type : VH_TYPE_BLK);
	if (r->has_pf)
		json_bits(&j, "protocol_features", r->pf, 0);
	if (r->has_queues)
		json_u64(&j, "queues", r->queues);
	if (r->has_slots)
		json_u64(&j, "memory_slots", r->slots);
	if (r->has_config)
		json_config(&j, r->type, r->config, r->config_len);
	json_end(&j);
}

int cmd_probe(int argc, char **argv)
{
	const char *type = NULL;
	bool as_json = false;
	uint64_t timeout = 5000;
	const struct opt opts[] = {
		{"json", OPT_FLAG, &as_json, 0, NULL},
		{"type", OPT_TEXT, &type, 0, NULL},
		{"timeout", OPT_NUMBER, &timeout, 3600000, NULL},
	};
	struct report r = {.type = VH_TYPE_BLK, .type_assumed = true};
	struct target t;
	size_t n;
	int rc = parse_options(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), &r.target, 1, &n);

	if (rc)
		return rc;
	if (n != 1)
		return usage("probe what? vhctl probe PATH, /dev/vhost-net, /dev/vhost-vdpa-0 or vdpa:NAME");
	if (type) {
		r.type_assumed = false;
		r.type = !strcmp(type, "blk") ? VH_TYPE_BLK : !strcmp(type, "net") ? VH_TYPE_NET : 0;
		if (!r.type && strcmp(type, "none"))
			return usage("--type: '%s' is not blk, net or none", type);
	}
	if (is_device(r.target))
		return probe_device(r.target, as_json);
	say(0, "note: a probe is a connection, and uses up a back-end that serves only one");
	rc = target_connect(&t, r.target, &(struct target_opts){.timeout_ms = (uint32_t)timeout});
	if (!rc)
		rc = ask(t.master, &r);
	if (!rc)
		(as_json ? print_json : print_table)(&r);
	target_close(&t);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl probe of device files: the kernel's vhost devices, and vDPA. */
#include "vhctl.h"

#include <inttypes.h>
#include <string.h>

#define MAX_IOCTLS 64

/* A line of the table, or a key of the JSON. */
struct told {
	struct json j;
	bool as_json, began;
};

static void tell_text(struct told *t, const char *key, const char *value)
{
	if (t->as_json)
		json_text(&t->j, key, value);
	else
		printf("%-17s %s\n", key, value);
}

static void tell_number(struct told *t, const char *key, uint64_t value)
{
	if (t->as_json)
		json_u64(&t->j, key, value);
	else
		printf("%-17s %" PRIu64 "\n", key, value);
}

static void tell_hex(struct told *t, const char *key, uint64_t value)
{
	if (t->as_json)
		json_hex(&t->j, key, value);
	else
		printf("%-17s 0x%" PRIx64 "\n", key, value);
}

static void tell_bits(struct told *t, const char *key, uint64_t bits, uint32_t space)
{
	if (t->as_json) {
		json_bits(&t->j, key, bits, space);
	} else {
		printf("%-17s 0x%" PRIx64 "\n", key, bits);
		print_bits(bits, space);
	}
}

/* It is there: before that nothing goes to stdout. */
static void begin(struct told *t, const char *name, const char *kind)
{
	if (t->as_json)
		json_begin(&t->j, stdout);
	t->began = true;
	tell_text(t, "target", name);
	tell_text(t, "kind", kind);
}

static const char *type_name(uint32_t type)
{
	return type == VH_TYPE_BLK ? "blk" : type == VH_TYPE_NET ? "net" : "none";
}

static int tell_vdpa(struct told *t, const char *name)
{
	struct vh_vdpa_info info = {.size = sizeof(info)};
	uint8_t config[VH_CONFIG_MAX];
	struct vh_vdpa *v;
	uint32_t len;
	int rc = vh_vdpa_open(vdpa_key(name), NULL, &v);

	if (rc)
		return say_vh(rc, name);
	rc = vh_vdpa_get_info(v, &info);
	if (rc)
		goto out;
	begin(t, name, "vhost-vdpa");
	tell_text(t, "type", type_name(info.device_id));
	tell_number(t, "device_id", info.device_id);
	tell_bits(t, "features", info.features, info.device_id);
	tell_hex(t, "backend_features", info.backend_features);
	tell_hex(t, "first_iova", info.first_iova);
	tell_hex(t, "last_iova", info.last_iova);
	tell_number(t, "max_queue_size", info.max_vring_num);
	tell_number(t, "queues", info.num_vrings);
	tell_number(t, "groups", info.num_groups);
	tell_number(t, "address_spaces", info.num_asids);
	len = config_length(info.device_id);
	len = info.config_size && info.config_size < len ? info.config_size : len;
	if (len)
		rc = vh_vdpa_get_config(v, 0, config, len);
	if (!rc && len && t->as_json)
		json_config(&t->j, info.device_id, config, len);
	else if (!rc && len)
		print_config(info.device_id, config);
out:
	vh_vdpa_free(v);
	return rc ? say_vh(rc, name) : EXIT_DONE;
}

static void tell_ioctls(struct told *t, struct vh_kern *k)
{
	static const char *const states[] = {"no", "yes", "unknown"};
	struct vh_kern_ioctl all[MAX_IOCTLS];
	int n = vh_kern_probe(k, all, MAX_IOCTLS);

	if (t->as_json)
		json_object(&t->j, "ioctls");
	for (int i = 0; i < n && i < MAX_IOCTLS; i++) {
		const char *name = vh_kern_ioctl_name(all[i].request);
		const char *state = all[i].state < 3 ? states[all[i].state] : "?";

		if (t->as_json)
			json_text(&t->j, name, state);
		else
			printf("    %-34s %s\n", name, state);
	}
	if (t->as_json)
		json_close(&t->j, '}');
}

static int tell_kern(struct told *t, const char *name)
{
	static const char *const kinds[] = {"none", "net", "vsock", "scsi"};
	static const uint32_t types[] = {0, VH_TYPE_NET, 19, 8};
	uint64_t features, backend = 0;
	struct vh_kern *k;
	uint32_t kind;
	int rc = vh_kern_open(name, NULL, &k);

	if (rc)
		return say_vh(rc, name);
	kind = vh_kern_kind(k) & 3;
	rc = vh_kern_get_features(k, &features);
	if (!rc) {
		begin(t, name, "vhost-kernel");
		tell_text(t, "type", kinds[kind]);
		tell_bits(t, "features", features, types[kind]);
		/* Not every kind has such. */
		if (!vh_kern_get_backend_features(k, &backend))
			tell_hex(t, "backend_features", backend);
		tell_ioctls(t, k);
	}
	vh_kern_free(k);
	return rc ? say_vh(rc, name) : EXIT_DONE;
}

int probe_device(const char *name, bool as_json)
{
	struct told t = {.as_json = as_json};
	int rc;

	rc = vdpa_key(name) ? tell_vdpa(&t, name) : tell_kern(&t, name);
	if (as_json && t.began)
		json_end(&t.j);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl vdpa: make, change, show, bind and delete vDPA devices. */
#include "vhctl.h"

#include <inttypes.h>
#include <string.h>

struct request {
	const char *words[3];
	size_t n;
	const char *root, *maker, *driver, *mac;
	uint64_t mtu, max_vqp, features, stats, timeout_ms;
	bool with_mtu, with_vqp, with_features, with_stats, as_json;
	struct vh_vdpa_mgmt *m;
};

static const struct {
	unsigned id;
	const char *name;
} classes[] = {{1, "net"}, {2, "blk"}, {26, "fs"}};

void vdpa_classes(uint64_t bits, FILE *to)
{
	const char *comma = "";

	for (unsigned b = 0; b < 64; b++) {
		const char *name = NULL;

		if (!(bits >> b & 1))
			continue;
		for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
			if (classes[i].id == b)
				name = classes[i].name;
		if (name)
			fprintf(to, "%s%s", comma, name);
		else
			fprintf(to, "%stype %u", comma, b);
		comma = " ";
	}
}

void vdpa_place_json(struct json *j, const struct vh_vdpa_place *p)
{
	json_text(j, "name", p->name);
	json_text(j, "driver", p->driver);
	json_text(j, "node", p->path);
	json_text(j, "virtio", p->virtio);
	json_text(j, "parent_bus", p->parent_bus);
	json_text(j, "parent", p->parent);
}

void vdpa_maker_json(struct json *j, const struct vh_vdpa_mgmtdev *d)
{
	json_text(j, "bus", d->bus);
	json_text(j, "name", d->name);
	json_hex(j, "classes", d->classes);
	json_hex(j, "features", d->features);
	json_u64(j, "max_queues", d->max_vqs);
}

static int print_place(const struct request *r, const struct vh_vdpa_place *p)
{
	struct json j;

	if (r->as_json) {
		json_begin(&j, stdout);
		vdpa_place_json(&j, p);
		json_end(&j);
	} else {
		printf("%s %s %s\n", p->name, p->driver[0] ? p->driver : "no driver",
		       p->path[0]     ? p->path
		       : p->virtio[0] ? p->virtio
				      : "-");
	}
	return EXIT_DONE;
}

static int attrs_of(const struct request *r, struct vh_vdpa_attrs *a)
{
	*a = (struct vh_vdpa_attrs){.size = sizeof(*a)};
	if (r->mac) {
		a->has |= UINT64_C(1) << VH_VDPA_HAS_MAC;
		if (!parse_mac(r->mac, a->mac))
			return usage("--mac: '%s' is not like 52:54:00:12:34:56", r->mac);
	}
	if (r->with_mtu) {
		a->has |= UINT64_C(1) << VH_VDPA_HAS_MTU;
		a->mtu = (uint32_t)r->mtu;
	}
	if (r->with_vqp) {
		a->has |= UINT64_C(1) << VH_VDPA_HAS_MAX_VQP;
		a->max_vqp = (uint32_t)r->max_vqp;
	}
	if (r->with_features) {
		a->has |= UINT64_C(1) << VH_VDPA_HAS_FEATURES;
		a->features = r->features;
	}
	return 0;
}

static int add(struct request *r)
{
	struct vh_vdpa_place place = {.size = sizeof(place)};
	struct vh_vdpa_attrs attrs;
	int rc = attrs_of(r, &attrs);

	if (rc)
		return rc;
	if (!r->maker)
		return usage("who is to make it? --mgmtdev NAME; vhctl ls tells them");
	rc = vh_vdpa_mgmt_add_dev(r->m, r->maker, r->words[1], attrs.has ? &attrs : NULL);
	if (rc)
		return say_vh(rc, r->words[1]);
	rc = r->driver ? vh_vdpa_mgmt_bind(r->m, r->words[1], r->driver, &place)
		       : vh_vdpa_mgmt_find_place(r->m, r->words[1], &place);
	return rc ? say_vh(rc, r->words[1]) : print_place(r, &place);
}

static int del(struct request *r)
{
	int rc = vh_vdpa_mgmt_del_dev(r->m, r->words[1]);

	return rc ? say_vh(rc, r->words[1]) : EXIT_DONE;
}

static int set(struct request *r)
{
	struct vh_vdpa_attrs attrs;
	int rc = attrs_of(r, &attrs);

	if (rc)
		return rc;
	if (!attrs.has)
		return usage("set what? --mac MAC");
	rc = vh_vdpa_mgmt_set_dev(r->m, r->words[1], &attrs);
	return rc ? say_vh(rc, r->words[1]) : EXIT_DONE;
}

static int bind_to(struct request *r)
{
	struct vh_vdpa_place place = {.size = sizeof(place)};
	const char *driver = strcmp(r->words[2], "none") ? r->words[2] : NULL;
	int rc = vh_vdpa_mgmt_bind(r->m, r->words[1], driver, &place);

	return rc ? say_vh(rc, r->words[1]) : print_place(r, &place);
}

/* What management may say of a device, and where it lies in the struct. */
#define SAID(bit, label, member)                                                   \
	{                                                                          \
		VH_VDPA_HAS_##bit, label, offsetof(struct vh_vdpa_config, member), \
			sizeof(((struct vh_vdpa_config *)0)->member)               \
	}
static const struct {
	unsigned bit;
	const char *name;
	size_t at, size;
} said[] = {
	SAID(FEATURES, "features", features),
	SAID(NEGOTIATED, "negotiated_features", negotiated),
	SAID(NET_STATUS, "status", net_status),
	SAID(MAX_VQP, "max_vq_pairs", max_vqp),
	SAID(MTU, "mtu", mtu),
	SAID(CAPACITY, "capacity_sectors", capacity),
	SAID(SIZE_MAX, "size_max", size_max),
	SAID(BLK_SIZE, "block_size", blk_size),
	SAID(SEG_MAX, "seg_max", seg_max),
	SAID(NUM_QUEUES, "num_queues", num_queues),
	SAID(PHYS_BLOCK_EXP, "physical_block_exp", phys_block_exp),
	SAID(ALIGN_OFFSET, "alignment_offset", align_offset),
	SAID(MIN_IO, "min_io_size", min_io),
	SAID(OPT_IO, "opt_io_size", opt_io),
	SAID(MAX_DISCARD, "max_discard_sectors", max_discard),
	SAID(MAX_DISCARD_SEG, "max_discard_seg", max_discard_seg),
	SAID(DISCARD_ALIGN, "discard_sector_alignment", discard_align),
	SAID(MAX_WRITE_ZEROES, "max_write_zeroes_sectors", max_write_zeroes),
	SAID(MAX_WRITE_ZEROES_SEG, "max_write_zeroes_seg", max_write_zeroes_seg),
	SAID(READ_ONLY, "read_only", read_only),
	SAID(FLUSH, "flush", flush),
};

static uint64_t said_value(const struct vh_vdpa_config *c, size_t i)
{
	uint32_t v32;
	uint64_t v64;

	if (said[i].size == sizeof(v64)) {
		memcpy(&v64, (const char *)c + said[i].at, sizeof(v64));
		return v64;
	}
	memcpy(&v32, (const char *)c + said[i].at, sizeof(v32));
	return v32;
}

static void mac_text(const uint8_t mac[6], char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void json_device(const struct request *r, struct json *j, const struct vh_vdpa_dev *d)
{
	struct vh_vdpa_place place = {.size = sizeof(place)};
	struct vh_vdpa_config c = {.size = sizeof(c)};
	char mac[18];

	if (!vh_vdpa_mgmt_find_place(r->m, d->name, &place))
		vdpa_place_json(j, &place);
	else
		json_text(j, "name", d->name);
	json_u64(j, "device_id", d->device_id);
	json_u64(j, "vendor_id", d->vendor_id);
	json_u64(j, "max_queues", d->max_vqs);
	json_u64(j, "max_queue_size", d->max_vq_size);
	json_u64(j, "min_queue_size", d->min_vq_size);
	if (vh_vdpa_mgmt_get_config(r->m, d->name, &c))
		return; /* the kernel tells it of some kinds only */
	json_object(j, "config");
	if (c.has >> VH_VDPA_HAS_MAC & 1) {
		mac_text(c.mac, mac);
		json_text(j, "mac", mac);
	}
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (c.has >> said[i].bit & 1)
			(i < 2 ? json_hex : json_u64)(j, said[i].name, said_value(&c, i));
	json_close(j, '}');
}

static void print_device(const struct request *r, const struct vh_vdpa_dev *d)
{
	struct vh_vdpa_place place = {.size = sizeof(place)};
	struct vh_vdpa_config c = {.size = sizeof(c)};
	char mac[18];

	printf("%s: ", d->name);
	vdpa_classes(UINT64_C(1) << (d->device_id & 63), stdout);
	printf(", made by %s%s%s, %u queues of up to %u", d->mgmt_bus, d->mgmt_bus[0] ? "/" : "", d->mgmt_name,
	       d->max_vqs, d->max_vq_size);
	if (!vh_vdpa_mgmt_find_place(r->m, d->name, &place))
		printf(", %s%s%s", place.driver[0] ? place.driver : "no driver", place.path[0] ? " " : "", place.path);
	printf("\n");
	if (vh_vdpa_mgmt_get_config(r->m, d->name, &c))
		return;
	if (c.has >> VH_VDPA_HAS_MAC & 1) {
		mac_text(c.mac, mac);
		printf("    %-26s %s\n", "mac", mac);
	}
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (c.has >> said[i].bit & 1)
			printf(i < 2 ? "    %-26s 0x%" PRIx64 "\n" : "    %-26s %" PRIu64 "\n", said[i].name,
			       said_value(&c, i));
}

static int show_stats(struct request *r)
{
	struct vh_vdpa_stat s = {.size = sizeof(s)};
	int n = vh_vdpa_mgmt_list_stats(r->m, r->words[1], (uint32_t)r->stats);
	struct json j;

	if (n < 0)
		return say_vh(n, r->words[1]);
	if (r->as_json)
		json_begin(&j, stdout);
	for (int i = 0; i < n && !vh_vdpa_mgmt_get_stat(r->m, (uint32_t)i, &s); i++) {
		if (r->as_json)
			json_u64(&j, s.name, s.value);
		else
			printf("%-30s %" PRIu64 "\n", s.name, s.value);
	}
	if (r->as_json)
		json_end(&j);
	return EXIT_DONE;
}

static int show(struct request *r)
{
	struct vh_vdpa_dev d = {.size = sizeof(d)};
	struct json j;
	int n = 0, rc;

	if (r->with_stats)
		return r->n > 1 ? show_stats(r) : usage("--stats QUEUE of which device? vhctl vdpa show NAME");
	rc = r->n > 1 ? vh_vdpa_mgmt_find_dev(r->m, r->words[1], &d) : (n = vh_vdpa_mgmt_list_devs(r->m));
	if (rc < 0)
		return say_vh(rc, r->n > 1 ? r->words[1] : "vDPA devices");
	if (r->as_json) {
		json_begin(&j, stdout);
		json_array(&j, "devices");
	}
	for (int i = 0; i < (r->n > 1 ? 1 : n); i++) {
		if (r->n == 1 && vh_vdpa_mgmt_get_dev(r->m, (uint32_t)i, &d))
			break;
		if (r->as_json) {
			json_object(&j, NULL);
			json_device(r, &j, &d);
			json_close(&j, '}');
		} else {
			print_device(r, &d);
		}
	}
	if (r->as_json) {
		json_close(&j, ']');
		json_end(&j);
	}
	return EXIT_DONE;
}

static const struct {
	const char *name;
	size_t least, most; /* words, its own name among them */
	const char *how;
	int (*run)(struct request *r);
} verbs[] = {
	{"add", 2, 2, "vdpa add NAME --mgmtdev MAKER", add},
	{"del", 2, 2, "vdpa del NAME", del},
	{"set", 2, 2, "vdpa set NAME --mac MAC", set},
	{"show", 1, 2, "vdpa show [NAME]", show},
	{"bind", 3, 3, "vdpa bind NAME vhost_vdpa|virtio_vdpa|none", bind_to},
};

int cmd_vdpa(int argc, char **argv)
{
	struct request r = {.root = ""};
	const struct opt opts[] = {
		{"mgmtdev", OPT_TEXT, &r.maker, 0, NULL},
		{"driver", OPT_TEXT, &r.driver, 0, NULL},
		{"mac", OPT_TEXT, &r.mac, 0, NULL},
		{"mtu", OPT_NUMBER, &r.mtu, 65535, &r.with_mtu},
		{"max-vqp", OPT_NUMBER, &r.max_vqp, 65535, &r.with_vqp},
		{"features", OPT_NUMBER, &r.features, 0, &r.with_features},
		{"stats", OPT_NUMBER, &r.stats, 65535, &r.with_stats},
		{"timeout", OPT_NUMBER, &r.timeout_ms, 3600000, NULL},
		{"root", OPT_TEXT, &r.root, 0, NULL},
		{"json", OPT_FLAG, &r.as_json, 0, NULL},
	};
	struct vh_vdpa_mgmt_opts mo = {.size = sizeof(mo)};
	int rc = parse_options(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), r.words, 3, &r.n);

	if (rc)
		return rc;
	if (!r.n)
		return usage("vdpa add, del, set, show or bind; see vhctl --help");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(r.words[0], verbs[i].name))
			continue;
		if (r.n < verbs[i].least || r.n > verbs[i].most)
			return usage("it is: vhctl %s", verbs[i].how);
		mo.timeout_ms = (uint32_t)r.timeout_ms;
		rc = vh_vdpa_mgmt_new(&mo, r.root, -1, &r.m);
		rc = rc ? say_vh(rc, "vDPA") : verbs[i].run(&r);
		vh_vdpa_mgmt_free(r.m);
		return rc;
	}
	return usage("'vdpa %s' is none of add, del, set, show, bind", r.words[0]);
}

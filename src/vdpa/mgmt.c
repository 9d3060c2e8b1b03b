/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vDPA management over netlink: the handle, its lists, and the commands of the family. */
#include "vhi_vdpa_mgmt.h"

#include "vhi_vdpa_sites.h"
#include "vhi_vdpa_uapi.h"

#define DEFAULT_TIMEOUT_MS 5000u
#define MTU_MIN		   68u

#define FIELD(type, kind, width, s, member)                      \
	{                                                        \
		type, kind, width, offsetof(struct s, member), 0 \
	}
#define FIELD_OF(device, type, kind, width, member)                                \
	{                                                                          \
		type, kind, width, offsetof(struct vh_vdpa_config, member), device \
	}

static const struct vhi_nl_field mgmtdev_fields[] = {
	FIELD(VHI_VDPA_ATTR_MGMTDEV_BUS_NAME, VHI_NL_TEXT, VH_VDPA_TEXT_SIZE, vh_vdpa_mgmtdev, bus),
	FIELD(VHI_VDPA_ATTR_MGMTDEV_DEV_NAME, VHI_NL_TEXT, VH_VDPA_NAME_SIZE, vh_vdpa_mgmtdev, name),
	FIELD(VHI_VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES, VHI_NL_U64, 8, vh_vdpa_mgmtdev, classes),
	FIELD(VHI_VDPA_ATTR_DEV_MGMTDEV_MAX_VQS, VHI_NL_U32, 4, vh_vdpa_mgmtdev, max_vqs),
	FIELD(VHI_VDPA_ATTR_DEV_SUPPORTED_FEATURES, VHI_NL_U64, 8, vh_vdpa_mgmtdev, features),
};

static const struct vhi_nl_field dev_fields[] = {
	FIELD(VHI_VDPA_ATTR_DEV_NAME, VHI_NL_TEXT, VH_VDPA_NAME_SIZE, vh_vdpa_dev, name),
	FIELD(VHI_VDPA_ATTR_MGMTDEV_BUS_NAME, VHI_NL_TEXT, VH_VDPA_TEXT_SIZE, vh_vdpa_dev, mgmt_bus),
	FIELD(VHI_VDPA_ATTR_MGMTDEV_DEV_NAME, VHI_NL_TEXT, VH_VDPA_NAME_SIZE, vh_vdpa_dev, mgmt_name),
	FIELD(VHI_VDPA_ATTR_DEV_ID, VHI_NL_U32, 4, vh_vdpa_dev, device_id),
	FIELD(VHI_VDPA_ATTR_DEV_VENDOR_ID, VHI_NL_U32, 4, vh_vdpa_dev, vendor_id),
	FIELD(VHI_VDPA_ATTR_DEV_MAX_VQS, VHI_NL_U32, 4, vh_vdpa_dev, max_vqs),
	FIELD(VHI_VDPA_ATTR_DEV_MAX_VQ_SIZE, VHI_NL_U32, 2, vh_vdpa_dev, max_vq_size),
	FIELD(VHI_VDPA_ATTR_DEV_MIN_VQ_SIZE, VHI_NL_U32, 2, vh_vdpa_dev, min_vq_size),
};

static const struct vhi_nl_field id_field[] = {FIELD(VHI_VDPA_ATTR_DEV_ID, VHI_NL_U32, 4, vh_vdpa_config, device_id)};

static const struct vhi_nl_field config_fields[] = {
	FIELD_OF(0, VH_VDPA_HAS_NEGOTIATED, VHI_NL_U64, 8, negotiated),
	FIELD_OF(0, VH_VDPA_HAS_FEATURES, VHI_NL_U64, 8, features),
	FIELD_OF(VH_TYPE_NET, VHI_VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES, VHI_NL_U64, 8, features),
	FIELD_OF(VH_TYPE_NET, VH_VDPA_HAS_MAC, VHI_NL_BYTES, 6, mac),
	FIELD_OF(VH_TYPE_NET, VH_VDPA_HAS_NET_STATUS, VHI_NL_U32, 2, net_status),
	FIELD_OF(VH_TYPE_NET, VH_VDPA_HAS_MAX_VQP, VHI_NL_U32, 2, max_vqp),
	FIELD_OF(VH_TYPE_NET, VH_VDPA_HAS_MTU, VHI_NL_U32, 2, mtu),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_CAPACITY, VHI_NL_U64, 8, capacity),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_SIZE_MAX, VHI_NL_U32, 4, size_max),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_BLK_SIZE, VHI_NL_U32, 4, blk_size),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_SEG_MAX, VHI_NL_U32, 4, seg_max),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_NUM_QUEUES, VHI_NL_U32, 2, num_queues),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_PHYS_BLOCK_EXP, VHI_NL_U32, 1, phys_block_exp),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_ALIGN_OFFSET, VHI_NL_U32, 1, align_offset),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_MIN_IO, VHI_NL_U32, 2, min_io),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_OPT_IO, VHI_NL_U32, 4, opt_io),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_MAX_DISCARD, VHI_NL_U32, 4, max_discard),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_MAX_DISCARD_SEG, VHI_NL_U32, 4, max_discard_seg),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_DISCARD_ALIGN, VHI_NL_U32, 4, discard_align),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_MAX_WRITE_ZEROES, VHI_NL_U32, 4, max_write_zeroes),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_MAX_WRITE_ZEROES_SEG, VHI_NL_U32, 4, max_write_zeroes_seg),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_READ_ONLY, VHI_NL_U32, 1, read_only),
	FIELD_OF(VH_TYPE_BLK, VH_VDPA_HAS_FLUSH, VHI_NL_U32, 1, flush),
};

#define FILL(attrs, fields, device, out, has) vhi_nl_fill(attrs, fields, VHI_ARRAY_SIZE(fields), device, out, has)

int vhi_vdpa_list_add(struct vhi_vdpa_list *l, const char *who, void **item)
{
	uint8_t *more;

	if (l->n == VHI_VDPA_MAX_LIST)
		return vhi_fail(-ENOSPC, VH_ERROR_SYSTEM, 0, "%s: more than %u of them", who, VHI_VDPA_MAX_LIST);
	if (l->n == l->room) {
		more = vhi_calloc(l->room ? l->room * 2 : 8, l->item);
		if (!more)
			return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", who);
		if (l->n)
			memcpy(more, l->items, l->n * l->item);
		vhi_free(l->items);
		l->items = more;
		l->room = l->room ? l->room * 2 : 8;
	}
	*item = l->items + l->n++ * l->item;
	memset(*item, 0, l->item);
	return 0;
}

static int take_opts(struct vh_vdpa_mgmt *m, const struct vh_vdpa_mgmt_opts *opts, const char *root)
{
	struct vh_vdpa_mgmt_opts o;
	int rc = vhi_opts_in(&o, sizeof(o), opts, "vh_vdpa_mgmt_opts");

	if (rc)
		return rc;
	if (root && strlen(root) >= sizeof(m->root))
		return vhi_fail(-ENAMETOOLONG, VH_ERROR_ARGUMENT, 0, "vh_vdpa_mgmt_new: root has more than %u bytes",
				VHI_VDPA_ROOT_SIZE - 1);
	if (root)
		memcpy(m->root, root, strlen(root) + 1);
	m->nl.timeout_ms = o.timeout_ms ? VHI_MIN(o.timeout_ms, (uint32_t)INT32_MAX) : DEFAULT_TIMEOUT_MS;
	m->mgmtdevs.item = sizeof(struct vh_vdpa_mgmtdev);
	m->devs.item = sizeof(struct vh_vdpa_dev);
	m->stats.item = sizeof(struct vh_vdpa_stat);
	m->places.item = sizeof(struct vh_vdpa_place);
	return 0;
}

vh_rc vh_vdpa_mgmt_new(const struct vh_vdpa_mgmt_opts *opts, const char *root, vh_fd fd, struct vh_vdpa_mgmt **out)
{
	struct vh_vdpa_mgmt *m;
	int rc;

	if (!out || fd < -1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_mgmt_new: out is NULL, or fd is below -1");
	m = vhi_calloc(1, sizeof(*m));
	rc = m ? vhi_gate_init(&m->gate) : -ENOMEM;
	if (rc) {
		vhi_free(m);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vdpa_mgmt_new: no memory");
	}
	m->nl.fd = -1;
	rc = take_opts(m, opts, root);
	if (!rc && fd >= 0) {
		rc = vhi_nl_open(&m->nl, fd);
		rc = rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vdpa_mgmt_new: fd %d: %s", fd, vh_error_name(rc)) : 0;
	}
	if (rc) {
		vh_vdpa_mgmt_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void vh_vdpa_mgmt_free(struct vh_vdpa_mgmt *m)
{
	if (!m)
		return;
	vhi_nl_close(&m->nl);
	vhi_free(m->mgmtdevs.items);
	vhi_free(m->devs.items);
	vhi_free(m->stats.items);
	vhi_free(m->places.items);
	vhi_gate_destroy(&m->gate);
	vhi_free(m);
}

int vhi_vdpa_mgmt_enter(struct vh_vdpa_mgmt *m, const char *who)
{
	if (!m)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: the handle is NULL", who);
	if (vhi_gate_enter(&m->gate))
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "%s: another thread is inside", who);
	return 0;
}

int vhi_vdpa_mgmt_leave(struct vh_vdpa_mgmt *m, int rc)
{
	vhi_gate_leave(&m->gate);
	return rc;
}

int vhi_vdpa_mgmt_item(struct vh_vdpa_mgmt *m, struct vhi_vdpa_list *l, uint32_t index, void *out, const char *who)
{
	int rc = vhi_out_check(out, who);

	if (rc)
		return rc;
	rc = vhi_vdpa_mgmt_enter(m, who);
	if (rc)
		return rc;
	if (index < l->n)
		rc = vhi_out_fill(out, l->items + index * l->item, l->item, who);
	else
		rc = vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "%s: %u of %u; take the list first, and count from 0", who,
			      index, l->n);
	return vhi_vdpa_mgmt_leave(m, rc);
}

/* A name as it goes into a request. */
static int check_name(const char *name, const char *who)
{
	if (name && *name && strlen(name) < VH_VDPA_NAME_SIZE)
		return 0;
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: a name of 1 to %u bytes is wanted", who,
			VH_VDPA_NAME_SIZE - 1);
}

/* A management device as it is written: bus/name, or name. */
static void put_mgmtdev(struct vhi_nl_request *r, const char *mgmtdev)
{
	const char *slash = strchr(mgmtdev, '/');
	char bus[VH_VDPA_NAME_SIZE] = "";

	if (slash) {
		memcpy(bus, mgmtdev, (size_t)(slash - mgmtdev));
		vhi_nl_put_text(r, VHI_VDPA_ATTR_MGMTDEV_BUS_NAME, bus);
	}
	vhi_nl_put_text(r, VHI_VDPA_ATTR_MGMTDEV_DEV_NAME, slash ? slash + 1 : mgmtdev);
}

static int expect(bool there, const char *what)
{
	if (!VHI_REFUSE(VHI_SITE_VDPA_NL_MISSING, !there))
		return 0;
	return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_MISSING, "vdpa netlink: an answer without %s", what);
}

static int take_mgmtdev(void *ctx, struct vhi_nl_attrs attrs)
{
	struct vh_vdpa_mgmtdev *d;
	uint64_t has = 0;
	void *item;
	int rc = vhi_vdpa_list_add(ctx, "vh_vdpa_mgmt_list_mgmtdevs", &item);

	if (rc)
		return rc;
	d = item;
	rc = FILL(attrs, mgmtdev_fields, 0, d, &has);
	return rc ? rc : expect(*d->name, "the name of a management device");
}

static int take_dev(void *ctx, struct vhi_nl_attrs attrs)
{
	struct vh_vdpa_dev *d;
	uint64_t has = 0;
	void *item;
	int rc = vhi_vdpa_list_add(ctx, "vh_vdpa_mgmt_list_devs", &item);

	if (rc)
		return rc;
	d = item;
	rc = FILL(attrs, dev_fields, 0, d, &has);
	return rc ? rc : expect(*d->name, "the name of a device");
}

/* Pairs of a name and a value, among attributes that say which queue it is. */
static int take_stats(void *ctx, struct vhi_nl_attrs attrs)
{
	static const struct vhi_nl_field name = {VHI_VDPA_ATTR_DEV_VENDOR_ATTR_NAME, VHI_NL_TEXT, VH_VDPA_TEXT_SIZE,
						 offsetof(struct vh_vdpa_stat, name), 0};
	static const struct vhi_nl_field value = {VHI_VDPA_ATTR_DEV_VENDOR_ATTR_VALUE, VHI_NL_U64, 8,
						  offsetof(struct vh_vdpa_stat, value), 0};
	struct vhi_vdpa_list *l = ctx;
	struct vhi_nl_attrs one;
	struct vhi_nl_attr attr = {0};
	uint64_t has = 0;
	void *item = NULL;
	int rc;

	for (one = attrs; (rc = vhi_nl_next(&attrs, &attr)) > 0; one = attrs) {
		one.left -= attrs.left;
		rc = attr.type == VHI_VDPA_ATTR_DEV_VENDOR_ATTR_NAME
			     ? vhi_vdpa_list_add(l, "vh_vdpa_mgmt_list_stats", &item)
			     : 0;
		if (!rc && item && attr.type == VHI_VDPA_ATTR_DEV_VENDOR_ATTR_NAME)
			rc = vhi_nl_fill(one, &name, 1, 0, item, &has);
		if (!rc && item && attr.type == VHI_VDPA_ATTR_DEV_VENDOR_ATTR_VALUE)
			rc = vhi_nl_fill(one, &value, 1, 0, item, &has);
		if (rc)
			return rc;
	}
	return rc;
}

static int take_config(void *ctx, struct vhi_nl_attrs attrs)
{
	struct vh_vdpa_config *c = ctx;
	uint64_t unused = 0;
	int rc = FILL(attrs, id_field, 0, c, &unused);

	if (rc)
		return rc;
	rc = FILL(attrs, config_fields, c->device_id, c, &c->has);
	if (c->device_id == VH_TYPE_NET && c->has & VHI_BIT(VHI_VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES))
		c->has = (c->has & ~VHI_BIT(VHI_VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES)) | VHI_BIT(VH_VDPA_HAS_FEATURES);
	return rc;
}

/* A list of everything. What changes while it is read is read again, a few times. */
static int list_inside(struct vh_vdpa_mgmt *m, struct vhi_vdpa_list *l, uint8_t cmd, vhi_nl_answer *take,
		       const char *who)
{
	struct vhi_nl_request r;
	int rc = 0;

	for (int tries = 0; !tries || (rc == -EAGAIN && tries < 4); tries++) {
		l->n = 0;
		vhi_nl_begin(&r, cmd, true);
		rc = vhi_nl_call(&m->nl, &r, who, take, l);
	}
	l->n = rc ? 0 : l->n;
	return rc ? rc : (int)l->n;
}

static int list(struct vh_vdpa_mgmt *m, struct vhi_vdpa_list *l, uint8_t cmd, vhi_nl_answer *take, const char *who)
{
	int rc = vhi_vdpa_mgmt_enter(m, who);

	return rc ? rc : vhi_vdpa_mgmt_leave(m, list_inside(m, l, cmd, take, who));
}

bool vhi_vdpa_mgmt_made_by(struct vh_vdpa_mgmt *m, const char *mgmtdev, char name[VH_VDPA_NAME_SIZE])
{
	struct vhi_vdpa_list devs = {.item = sizeof(struct vh_vdpa_dev)};
	const char *slash = strchr(mgmtdev, '/');
	const size_t bus = slash ? (size_t)(slash - mgmtdev) : 0;
	const struct vh_vdpa_dev *d;
	int found = 0, n = list_inside(m, &devs, VHI_VDPA_CMD_DEV_GET, take_dev, "vh_vdpa_mgmt_find_place");

	for (int i = 0; i < n; i++) {
		d = (const struct vh_vdpa_dev *)(const void *)devs.items + i;
		if (strlen(d->mgmt_bus) != bus || strncmp(d->mgmt_bus, mgmtdev, bus) ||
		    strcmp(d->mgmt_name, slash ? slash + 1 : mgmtdev))
			continue;
		found++;
		memcpy(name, d->name, sizeof(d->name));
	}
	vhi_free(devs.items);
	return found == 1;
}

/* A request about one device, that may have more attributes. */
static int about(struct vh_vdpa_mgmt *m, const char *name, struct vhi_nl_request *r, uint8_t cmd, const char *who)
{
	int rc = check_name(name, who);

	if (rc)
		return rc;
	rc = vhi_vdpa_mgmt_enter(m, who);
	if (rc)
		return rc;
	vhi_nl_begin(r, cmd, false);
	vhi_nl_put_text(r, VHI_VDPA_ATTR_DEV_NAME, name);
	return 0;
}

/* What a kernel's number means here: the text gets what to try. */
static const struct {
	uint8_t cmd; /* 0: any */
	int code;
	const char *hint;
} hints[] = {
	{VHI_VDPA_CMD_DEV_NEW, -ENODEV,
	 "there is no such management device; see `vdpa mgmtdev show`, or load its module"},
	{VHI_VDPA_CMD_DEV_NEW, -EEXIST, "a device of this name is there already"},
	{VHI_VDPA_CMD_DEV_NEW, -EOPNOTSUPP, "the management device can't do with one of these attributes"},
	{VHI_VDPA_CMD_DEV_NEW, -ENOSPC, "the management device has made as many as it can"},
	{VHI_VDPA_CMD_DEV_NEW, -EINVAL,
	 "attributes of a network device need one that makes network devices only; a device of a "
	 "VDUSE back-end has its name, and every queue set up"},
	{VHI_VDPA_CMD_DEV_VSTATS_GET, -EAGAIN, "its driver has not set FEATURES_OK yet"},
	{VHI_VDPA_CMD_DEV_VSTATS_GET, -ERANGE, "it has no such queue"},
	{VHI_VDPA_CMD_DEV_VSTATS_GET, -EOPNOTSUPP, "its driver has no counters"},
	{VHI_VDPA_CMD_DEV_CONFIG_GET, -EOPNOTSUPP, "the kernel tells it of network and block devices only"},
	{VHI_VDPA_CMD_DEV_ATTR_SET, -EOPNOTSUPP, "the device, or a kernel before 6.12, can't change it"},
	{0, -ENODEV, "there is no device of this name"},
	{0, -EPERM, "it needs CAP_NET_ADMIN in the initial user namespace"},
	{0, -EINVAL, "was it made by a management device?"},
};

static int ask_inside(struct vh_vdpa_mgmt *m, struct vhi_nl_request *r, uint8_t cmd, vhi_nl_answer *take, void *ctx,
		      const char *who)
{
	struct vh_error e = {.size = sizeof(e)};
	int rc = vhi_nl_call(&m->nl, r, who, take, ctx);

	for (size_t i = 0; rc < 0 && i < VHI_ARRAY_SIZE(hints); i++) {
		if ((hints[i].cmd && hints[i].cmd != cmd) || hints[i].code != rc)
			continue;
		vh_error_get(&e);
		if (e.domain == VH_ERROR_SYSTEM)
			vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%.150s (%s)", e.text, hints[i].hint);
		break;
	}
	return rc;
}

static int ask(struct vh_vdpa_mgmt *m, struct vhi_nl_request *r, uint8_t cmd, vhi_nl_answer *take, void *ctx,
	       const char *who)
{
	return vhi_vdpa_mgmt_leave(m, ask_inside(m, r, cmd, take, ctx, who));
}

vh_count vh_vdpa_mgmt_list_mgmtdevs(struct vh_vdpa_mgmt *m)
{
	return list(m, m ? &m->mgmtdevs : NULL, VHI_VDPA_CMD_MGMTDEV_GET, take_mgmtdev, "vh_vdpa_mgmt_list_mgmtdevs");
}

vh_rc vh_vdpa_mgmt_get_mgmtdev(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_mgmtdev *out)
{
	return vhi_vdpa_mgmt_item(m, m ? &m->mgmtdevs : NULL, index, out, "vh_vdpa_mgmt_get_mgmtdev");
}

vh_count vh_vdpa_mgmt_list_devs(struct vh_vdpa_mgmt *m)
{
	return list(m, m ? &m->devs : NULL, VHI_VDPA_CMD_DEV_GET, take_dev, "vh_vdpa_mgmt_list_devs");
}

vh_rc vh_vdpa_mgmt_get_dev(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_dev *out)
{
	return vhi_vdpa_mgmt_item(m, m ? &m->devs : NULL, index, out, "vh_vdpa_mgmt_get_dev");
}

vh_rc vh_vdpa_mgmt_find_dev(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_dev *out)
{
	static const char who[] = "vh_vdpa_mgmt_find_dev";
	struct vhi_vdpa_list one = {.item = sizeof(struct vh_vdpa_dev)};
	struct vhi_nl_request r;
	int rc = vhi_out_check(out, who);

	rc = rc ? rc : about(m, name, &r, VHI_VDPA_CMD_DEV_GET, who);
	if (rc)
		return rc;
	rc = ask(m, &r, VHI_VDPA_CMD_DEV_GET, take_dev, &one, who);
	rc = rc ? rc : expect(one.n, "the device that was asked for");
	if (!rc && one.n)
		rc = vhi_out_fill(out, one.items, one.item, who);
	vhi_free(one.items);
	return rc;
}

static int put_attrs(struct vhi_nl_request *r, const struct vh_vdpa_attrs *attrs, const char *who)
{
	const uint64_t known = VHI_BIT(VH_VDPA_HAS_MAC) | VHI_BIT(VH_VDPA_HAS_MTU) | VHI_BIT(VH_VDPA_HAS_MAX_VQP) |
			       VHI_BIT(VH_VDPA_HAS_FEATURES);
	const uint16_t mtu = (uint16_t)attrs->mtu, pairs = (uint16_t)attrs->max_vqp;

	if (attrs->has & ~known ||
	    memcmp(attrs->reserved, (const uint8_t[sizeof(attrs->reserved)]){0}, sizeof(attrs->reserved)))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: has is 0x%llx; MAC, MTU, MAX_VQP and FEATURES can be set", who,
				(unsigned long long)attrs->has);
	if ((attrs->has & VHI_BIT(VH_VDPA_HAS_MTU) && (attrs->mtu < MTU_MIN || attrs->mtu > UINT16_MAX)) ||
	    (attrs->has & VHI_BIT(VH_VDPA_HAS_MAX_VQP) && (!attrs->max_vqp || attrs->max_vqp > UINT16_MAX)))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: an MTU is 68 to 65535, pairs of queues are 1 to 65535; these are %u and %u", who,
				attrs->mtu, attrs->max_vqp);
	if (attrs->has & VHI_BIT(VH_VDPA_HAS_MAC))
		vhi_nl_put(r, VH_VDPA_HAS_MAC, attrs->mac, sizeof(attrs->mac));
	if (attrs->has & VHI_BIT(VH_VDPA_HAS_MTU))
		vhi_nl_put(r, VH_VDPA_HAS_MTU, &mtu, sizeof(mtu));
	if (attrs->has & VHI_BIT(VH_VDPA_HAS_MAX_VQP))
		vhi_nl_put(r, VH_VDPA_HAS_MAX_VQP, &pairs, sizeof(pairs));
	if (attrs->has & VHI_BIT(VH_VDPA_HAS_FEATURES))
		vhi_nl_put(r, VH_VDPA_HAS_FEATURES, &attrs->features, sizeof(attrs->features));
	return 0;
}

vh_rc vh_vdpa_mgmt_add_dev(struct vh_vdpa_mgmt *m, const char *mgmtdev, const char *name,
			   const struct vh_vdpa_attrs *attrs)
{
	static const char who[] = "vh_vdpa_mgmt_add_dev";
	struct vh_vdpa_attrs a;
	struct vhi_nl_request r;
	int rc = vhi_opts_in(&a, sizeof(a), attrs, "vh_vdpa_attrs");

	rc = rc ? rc : check_name(mgmtdev, who);
	rc = rc ? rc : about(m, name, &r, VHI_VDPA_CMD_DEV_NEW, who);
	if (rc)
		return rc;
	put_mgmtdev(&r, mgmtdev);
	rc = put_attrs(&r, &a, who);
	return rc ? vhi_vdpa_mgmt_leave(m, rc) : ask(m, &r, VHI_VDPA_CMD_DEV_NEW, NULL, NULL, who);
}

vh_rc vh_vdpa_mgmt_set_dev(struct vh_vdpa_mgmt *m, const char *name, const struct vh_vdpa_attrs *attrs)
{
	static const char who[] = "vh_vdpa_mgmt_set_dev";
	struct vh_vdpa_attrs a;
	struct vhi_nl_request r;
	int rc = vhi_opts_in(&a, sizeof(a), attrs, "vh_vdpa_attrs");

	if (!rc && a.has != VHI_BIT(VH_VDPA_HAS_MAC))
		rc = vhi_fail(a.has ? -EOPNOTSUPP : -EINVAL, VH_ERROR_ARGUMENT, 0,
			      "%s: the kernel changes the MAC address of a device, and nothing else", who);
	rc = rc ? rc : about(m, name, &r, VHI_VDPA_CMD_DEV_ATTR_SET, who);
	if (rc)
		return rc;
	/* Of a device that is none of a network Linux 6.12 says so, with the error 0. */
	r.warnings_fail = true;
	rc = put_attrs(&r, &a, who);
	return rc ? vhi_vdpa_mgmt_leave(m, rc) : ask(m, &r, VHI_VDPA_CMD_DEV_ATTR_SET, NULL, NULL, who);
}

vh_rc vh_vdpa_mgmt_del_dev(struct vh_vdpa_mgmt *m, const char *name)
{
	static const char who[] = "vh_vdpa_mgmt_del_dev";
	struct vhi_nl_request r;
	int rc = about(m, name, &r, VHI_VDPA_CMD_DEV_DEL, who);

	return rc ? rc : ask(m, &r, VHI_VDPA_CMD_DEV_DEL, NULL, NULL, who);
}

vh_rc vh_vdpa_mgmt_get_config(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_config *out)
{
	static const char who[] = "vh_vdpa_mgmt_get_config";
	struct vh_vdpa_config c = {.size = sizeof(c)};
	struct vhi_nl_request r;
	int rc = vhi_out_check(out, who);

	rc = rc ? rc : about(m, name, &r, VHI_VDPA_CMD_DEV_CONFIG_GET, who);
	rc = rc ? rc : ask(m, &r, VHI_VDPA_CMD_DEV_CONFIG_GET, take_config, &c, who);
	rc = rc ? rc : expect(c.device_id, "the type of the device");
	return rc ? rc : vhi_out_fill(out, &c, sizeof(c), who);
}

vh_count vh_vdpa_mgmt_list_stats(struct vh_vdpa_mgmt *m, const char *name, uint32_t queue)
{
	static const char who[] = "vh_vdpa_mgmt_list_stats";
	struct vh_vdpa_stat *s;
	struct vhi_nl_request r;
	int rc = about(m, name, &r, VHI_VDPA_CMD_DEV_VSTATS_GET, who);

	if (rc)
		return rc;
	m->stats.n = 0;
	vhi_nl_put(&r, VHI_VDPA_ATTR_DEV_QUEUE_INDEX, &queue, sizeof(queue));
	rc = ask_inside(m, &r, VHI_VDPA_CMD_DEV_VSTATS_GET, take_stats, &m->stats, who);
	for (uint32_t i = 0; i < m->stats.n; i++) {
		s = (struct vh_vdpa_stat *)(void *)m->stats.items + i;
		s->queue = queue;
	}
	m->stats.n = rc ? 0 : m->stats.n;
	return vhi_vdpa_mgmt_leave(m, rc ? rc : (int)m->stats.n);
}

vh_rc vh_vdpa_mgmt_get_stat(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_stat *out)
{
	return vhi_vdpa_mgmt_item(m, m ? &m->stats : NULL, index, out, "vh_vdpa_mgmt_get_stat");
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A vDPA device: the handle, its status and its config space. */
#include "vhi_vdpa.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "vh/vdpa_mgmt.h"

#define CONFIG_TRIES	 8
#define ALL_BACKEND_BITS 0x1feu

int vhi_vdpa_enter(struct vh_vdpa *v, const char *who)
{
	int rc;

	if (!v)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL device", who);
	rc = vhi_gate_enter(&v->gate);
	if (rc)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: another thread is inside; use it from one at a time", who);
	v->who = who;
	return 0;
}

int vhi_vdpa_leave(struct vh_vdpa *v, int rc)
{
	vhi_gate_leave(&v->gate);
	return rc;
}

static void destroy(struct vh_vdpa *v)
{
	vhi_fd_close(&v->fd);
	vhi_snapshot_put(v->mem);
	vhi_free(v->maps);
	vhi_gate_destroy(&v->gate);
	vhi_free(v);
}

static int make(const struct vh_vdpa_opts *opts, const char *who, struct vh_vdpa **out)
{
	struct vh_vdpa *v = vhi_calloc(1, sizeof(*v));
	int rc = v ? vhi_gate_init(&v->gate) : -ENOMEM;

	if (rc) {
		vhi_free(v);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: no memory", who);
	}
	v->fd = -1;
	v->pid = getpid();
	v->who = who;
	v->last = UINT64_MAX;
	v->backend = (struct vh_backend){.ops = &vhi_vdpa_backend_ops, .ctx = v};
	rc = vhi_opts_in(&v->opts, sizeof(v->opts), opts, "vh_vdpa_opts");
	if (!rc && v->opts.flags)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: unknown flags 0x%x", who, v->opts.flags);
	if (rc) {
		destroy(v);
		return rc;
	}
	*out = v;
	return 0;
}

/* Is it a vDPA device at all, and in which state? */
static int look(struct vh_vdpa *v)
{
	uint8_t status = 0;
	int rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_DEVICE_ID, &v->device_id, VH_ERROR_NONE);

	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_STATUS, &status, VH_ERROR_NONE);
	v->status = status;
	return rc;
}

/* The path of a node, as it is or by any other name of its device. */
static int find_node(const char *where, char *path, size_t room)
{
	struct vh_vdpa_place p = {.size = sizeof(p)};
	struct vh_vdpa_mgmt *m;
	int rc = -ENAMETOOLONG;

	if (*where == '/') {
		if (strlen(where) >= room)
			return vhi_fail(rc, VH_ERROR_ARGUMENT, 0, "vh_vdpa_open: a path of more than %zu bytes",
					room - 1);
		memcpy(path, where, strlen(where) + 1);
		return 0;
	}
	rc = vh_vdpa_mgmt_new(NULL, NULL, -1, &m);
	if (rc)
		return rc;
	rc = vh_vdpa_mgmt_find_place(m, where, &p);
	vh_vdpa_mgmt_free(m);
	if (!rc && !*p.path)
		rc = vhi_fail(-ENODEV, VH_ERROR_STATE, 0,
			      "vh_vdpa_open: %.100s has no node: vhost_vdpa has not taken it (%.40s has); see "
			      "vh_vdpa_mgmt_bind()",
			      p.name, *p.driver ? p.driver : "no driver");
	if (!rc)
		memcpy(path, p.path, strlen(p.path) + 1);
	return rc;
}

static int open_failed(const char *path, int err)
{
	static const struct {
		int err;
		const char *hint;
	} reasons[] = {
		{EBUSY, "another process has it open"},
		{ENOENT, "there is no such node; see vh_vdpa_mgmt_list_places()"},
		{EACCES, "its permissions forbid it"},
		{EPERM, "the process may not"},
		{ENODEV, "the device went away"},
		{ENXIO, "the device went away"},
		{VHI_ENOTSUPP, "the device needs an IOMMU, and the kernel found none: boot with one switched on"},
	};
	const char *hint = "";

	for (size_t i = 0; i < VHI_ARRAY_SIZE(reasons); i++)
		if (reasons[i].err == err)
			hint = reasons[i].hint;
	return vhi_fail(err == VHI_ENOTSUPP ? -EOPNOTSUPP : -err, VH_ERROR_SYSTEM, 0, "vh_vdpa_open: %.100s: %s%s%s",
			path, vh_error_name(err), *hint ? ": " : "", hint);
}

vh_rc vh_vdpa_open(const char *where, const struct vh_vdpa_opts *opts, struct vh_vdpa **out)
{
	struct vh_vdpa *v;
	int rc;

	if (!where || !*where || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_open: no path and no name, or out is NULL");
	rc = make(opts, "vh_vdpa_open", &v);
	if (rc)
		return rc;
	rc = find_node(where, v->node, sizeof(v->node));
	if (!rc) {
		v->fd = vhi_sys.open(v->node, O_RDWR | O_CLOEXEC);
		rc = v->fd < 0 ? open_failed(v->node, errno) : look(v);
	}
	if (rc) {
		destroy(v);
		return rc;
	}
	*out = v;
	return 0;
}

vh_rc vh_vdpa_adopt(vh_fd fd, const struct vh_vdpa_opts *opts, struct vh_vdpa **out)
{
	struct vh_vdpa *v;
	int rc;

	if (fd < 0 || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_adopt: no fd, or out is NULL");
	rc = make(opts, "vh_vdpa_adopt", &v);
	if (rc)
		return rc;
	snprintf(v->node, sizeof(v->node), "fd %d", fd);
	v->adopted = true;
	v->fd = vhi_fd_dup(fd);
	rc = v->fd < 0 ? vhi_fail(v->fd, VH_ERROR_SYSTEM, 0, "vh_vdpa_adopt: fd %d: %s", fd, vh_error_name(v->fd))
		       : look(v);
	if (rc) {
		destroy(v);
		return rc;
	}
	*out = v;
	return 0;
}

/* Nobody else resets an adopted one, whose file stays open: its memory is about to go. */
static void end(struct vh_vdpa *v)
{
	uint8_t reset = 0;

	if (v->status || v->n_maps)
		(void)vhi_sys.ioctl(v->fd, VHI_VHOST_VDPA_SET_STATUS, &reset);
	vhi_error_mute(true);
	if (v->adopted && v->n_maps)
		(void)vhi_vdpa_share(v, NULL);
	vhi_error_mute(false);
}

void vh_vdpa_free(struct vh_vdpa *v)
{
	if (!v)
		return;
	/* In a child of fork() it is the parent who uses the device. */
	if (v->pid == getpid())
		end(v);
	destroy(v);
}

vh_rc vh_vdpa_backend(struct vh_vdpa *v, struct vh_backend **out)
{
	if (!v || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_backend: NULL argument");
	*out = &v->backend;
	return 0;
}

/* A question that a kernel may not know: then the answer stays what it is. */
static void ask(struct vh_vdpa *v, uint32_t request, void *out)
{
	vhi_error_mute(true);
	(void)vhi_vdpa_ioctl(v, request, out, VH_ERROR_NONE);
	vhi_error_mute(false);
}

static int info(struct vh_vdpa *v, struct vh_vdpa_info *i)
{
	struct vhi_vhost_vdpa_iova_range range = {0, UINT64_MAX};
	uint16_t num = 0;
	uint8_t status = 0;
	int rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_STATUS, &status, VH_ERROR_NONE);

	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_GET_FEATURES, &i->features, VH_ERROR_NONE);
	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_VRING_NUM, &num, VH_ERROR_NONE);
	if (rc)
		return rc;
	ask(v, VHI_VHOST_GET_BACKEND_FEATURES, &i->backend_features);
	ask(v, VHI_VHOST_VDPA_GET_IOVA_RANGE, &range);
	ask(v, VHI_VHOST_VDPA_GET_VQS_COUNT, &i->num_vrings);
	ask(v, VHI_VHOST_VDPA_GET_GROUP_NUM, &i->num_groups);
	ask(v, VHI_VHOST_VDPA_GET_AS_NUM, &i->num_asids);
	ask(v, VHI_VHOST_VDPA_GET_CONFIG_SIZE, &i->config_size);
	i->device_id = v->device_id;
	i->status = v->status = status;
	i->max_vring_num = num;
	i->first_iova = range.first;
	i->last_iova = range.last;
	return 0;
}

vh_rc vh_vdpa_get_info(struct vh_vdpa *v, struct vh_vdpa_info *out)
{
	struct vh_vdpa_info i = {.size = sizeof(i)};
	int rc = vhi_out_check(out, "vh_vdpa_get_info");

	rc = rc ? rc : vhi_vdpa_enter(v, "vh_vdpa_get_info");
	if (rc)
		return rc;
	rc = vhi_vdpa_leave(v, info(v, &i));
	return rc ? rc : vhi_out_fill(out, &i, sizeof(i), "vh_vdpa_get_info");
}

static int set_owner(struct vh_vdpa *v)
{
	int rc = vhi_vdpa_ioctl(v, VHI_VHOST_SET_OWNER, NULL, VH_ERROR_NONE);

	v->owned |= !rc;
	return rc;
}

/* A file that was adopted may have been made this process's before; if not, the first call about a ring says so. */
int vhi_vdpa_own(struct vh_vdpa *v)
{
	int rc = v->owned ? 0 : set_owner(v);

	if (rc != -EBUSY || !v->adopted)
		return rc;
	v->owned = true;
	return 0;
}

vh_rc vh_vdpa_set_owner(struct vh_vdpa *v)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_owner");

	return rc ? rc : vhi_vdpa_leave(v, set_owner(v));
}

int vhi_vdpa_ack_backend(struct vh_vdpa *v, uint64_t features)
{
	int rc = vhi_vdpa_ioctl(v, VHI_VHOST_SET_BACKEND_FEATURES, &features, VH_ERROR_NONE);

	v->backend_features = rc ? v->backend_features : features;
	return rc;
}

vh_rc vh_vdpa_set_backend_features(struct vh_vdpa *v, uint64_t features)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_backend_features");

	if (!rc && features & ~(uint64_t)ALL_BACKEND_BITS)
		rc = vhi_vdpa_leave(v, vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: bits 0x%llx are not known here",
						v->who, (unsigned long long)features));
	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_ack_backend(v, features));
}

vh_rc vh_vdpa_set_features(struct vh_vdpa *v, uint64_t features)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_features");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_ioctl(v, VHI_VHOST_SET_FEATURES, &features, VH_ERROR_NONE));
}

vh_rc vh_vdpa_get_status(struct vh_vdpa *v, uint32_t *out)
{
	uint8_t status = 0;
	int rc = out ? vhi_vdpa_enter(v, "vh_vdpa_get_status")
		     : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_get_status: out is NULL");

	if (rc)
		return rc;
	rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_STATUS, &status, VH_ERROR_NONE);
	if (!rc)
		*out = v->status = status;
	return vhi_vdpa_leave(v, rc);
}

/* Each bit needs the ones before it. */
static int check_status(const struct vh_vdpa *v, uint32_t status)
{
	static const uint32_t steps[] = {VH_VDPA_S_ACKNOWLEDGE, VH_VDPA_S_DRIVER, VH_VDPA_S_FEATURES_OK,
					 VH_VDPA_S_DRIVER_OK};
	const uint32_t now = v->status & ~(uint32_t)VH_VDPA_S_NEEDS_RESET;
	uint32_t known = VH_VDPA_S_FAILED | VH_VDPA_S_NEEDS_RESET;
	bool gap = false, wrong = false;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(steps); i++) {
		known |= steps[i];
		wrong |= gap && status & steps[i];
		gap |= !(status & steps[i]);
	}
	if (!status || (!wrong && !(status & ~known) && !(now & ~status)))
		return 0;
	return vhi_fail(
		-EINVAL, VH_ERROR_STATE, 0,
		"%s: status 0x%x after 0x%x; the order is ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, and only 0 "
		"clears bits",
		v->who, status, v->status);
}

int vhi_vdpa_set_status(struct vh_vdpa *v, uint32_t status)
{
	uint8_t byte = (uint8_t)status, now = 0;
	int rc = check_status(v, status);

	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_SET_STATUS, &byte, VH_ERROR_NONE);
	if (rc)
		return rc;
	if (!status) {
		v->max_num = 0;
		v->stale = v->n_maps && !(v->backend_features & VHI_BIT(VH_VDPA_BF_PERSIST));
	}
	v->status = status;
	if (!(status & VH_VDPA_S_FEATURES_OK) || status & VH_VDPA_S_DRIVER_OK)
		return 0;
	rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_STATUS, &now, VH_ERROR_NONE);
	v->status = rc ? v->status : now;
	if (rc || now & VH_VDPA_S_FEATURES_OK)
		return rc;
	return vhi_fail(-ENOTSUP, VH_ERROR_DEVICE, 0, "%s: %.80s refused the features; reset it, and take others",
			v->who, v->node);
}

vh_rc vh_vdpa_set_status(struct vh_vdpa *v, uint32_t status)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_status");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_set_status(v, status));
}

/* What is read twice the same was not being changed. */
static int read_config(struct vh_vdpa *v, uint32_t offset, uint32_t len)
{
	int rc = 0;

	for (int tries = 0; !rc && tries < CONFIG_TRIES; tries++) {
		v->config.off = v->again.off = offset;
		v->config.len = v->again.len = len;
		rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_CONFIG, &v->config, VH_ERROR_NONE);
		if (!rc)
			rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_CONFIG, &v->again, VH_ERROR_NONE);
		if (!rc && !memcmp(v->config.buf, v->again.buf, len))
			return 0;
	}
	return rc ? rc
		  : vhi_fail(-EAGAIN, VH_ERROR_DEVICE, 0, "%s: the config space of %.80s changes all the time", v->who,
			     v->node);
}

/* Kernels before 5.17 added offset and length in 32 bits before they looked (CVE-2022-0998). */
static int check_config(struct vh_vdpa *v, uint32_t offset, const void *buf, uint32_t len)
{
	if (!buf || !len || len > VH_VDPA_MAX_CONFIG)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: give 1 to %u bytes", v->who, VH_VDPA_MAX_CONFIG);
	if (!v->config_size) {
		v->config_size = VH_VDPA_MAX_CONFIG; /* of a kernel that does not say */
		ask(v, VHI_VHOST_VDPA_GET_CONFIG_SIZE, &v->config_size);
	}
	if (offset > v->config_size || len > v->config_size - offset)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: %u bytes at %u are not inside the config space of %.60s, which has %u: see "
				"vh_vdpa_info.config_size",
				v->who, len, offset, v->node, v->config_size);
	return 0;
}

int vhi_vdpa_config(struct vh_vdpa *v, bool write, uint32_t offset, void *buf, uint32_t len)
{
	int rc = check_config(v, offset, buf, len);

	if (rc)
		return rc;
	if (!write) {
		rc = read_config(v, offset, len);
		if (!rc)
			memcpy(buf, v->config.buf, len);
		return rc;
	}
	v->config.off = offset;
	v->config.len = len;
	memcpy(v->config.buf, buf, len);
	return vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_SET_CONFIG, &v->config, VH_ERROR_NONE);
}

vh_rc vh_vdpa_get_config(struct vh_vdpa *v, uint32_t offset, void *buf, uint32_t len)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_get_config");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_config(v, false, offset, buf, len));
}

vh_rc vh_vdpa_set_config(struct vh_vdpa *v, uint32_t offset, const void *buf, uint32_t len)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_config");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_config(v, true, offset, (void *)(uintptr_t)buf, len));
}

vh_rc vh_vdpa_set_config_call(struct vh_vdpa *v, vh_fd fd)
{
	int32_t given = fd < 0 ? VHI_VHOST_FILE_UNBIND : fd;
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_config_call");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_SET_CONFIG_CALL, &given, VH_ERROR_NONE));
}

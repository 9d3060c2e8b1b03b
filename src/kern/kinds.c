/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What starts and stops the rings of a network, socket or SCSI device. */
#include "vhi_kern.h"

/* To another kind the number would be the index of a ring. */
static int wrong_kind(const struct vh_kern *k, uint32_t kind, const char *which)
{
	if (k->opts.kind == kind)
		return 0;
	return vhi_fail(-ENOTTY, VH_ERROR_ARGUMENT, 0, "%s: %s is no %s device", k->who, k->node, which);
}

int vhi_kern_net(struct vh_kern *k, uint32_t queue, int fd)
{
	int rc = vhi_kern_file(k, VHI_VHOST_NET_SET_BACKEND, queue, fd);

	if (!rc && queue < VHI_KERN_NET_RINGS)
		k->attached[queue] = fd >= 0;
	return rc;
}

vh_rc vh_kern_net_set_backend(struct vh_kern *k, uint32_t queue, vh_fd fd)
{
	int rc = vhi_kern_enter(k, "vh_kern_net_set_backend");

	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_NET, "network");
	return vhi_kern_leave(k, rc ? rc : vhi_kern_net(k, queue, fd));
}

vh_rc vh_kern_attach(struct vh_kern *k, uint32_t queue, vh_fd fd)
{
	int dup = -1, rc = vhi_kern_enter(k, "vh_kern_attach");

	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_NET, "network");
	if (!rc && queue >= VHI_KERN_NET_RINGS)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
			      "vh_kern_attach: ring %u; a device file has one pair: 0 receives, 1 sends", queue);
	if (!rc && fd >= 0) {
		dup = vhi_fd_dup(fd);
		if (dup < 0)
			rc = vhi_fail(dup, VH_ERROR_SYSTEM, 0, "vh_kern_attach: fd %d: %s", fd, vh_error_name(dup));
	}
	if (!rc) {
		vhi_fd_close(&k->net[queue]);
		k->net[queue] = dup;
	}
	return vhi_kern_leave(k, rc);
}

vh_rc vh_kern_vsock_set_cid(struct vh_kern *k, uint64_t cid)
{
	int rc = vhi_kern_enter(k, "vh_kern_vsock_set_cid");

	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_VSOCK, "socket");
	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_VSOCK_SET_GUEST_CID, &cid, VH_ERROR_NONE);
	if (!rc)
		k->cid = cid;
	return vhi_kern_leave(k, rc);
}

int vhi_kern_run(struct vh_kern *k, bool on)
{
	int32_t v = on;
	int rc = vhi_kern_ioctl(k, VHI_VHOST_VSOCK_SET_RUNNING, &v, VH_ERROR_NONE);

	if (!rc)
		k->running = on;
	return rc;
}

vh_rc vh_kern_vsock_set_running(struct vh_kern *k, uint32_t on)
{
	int rc;

	if (on > 1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_vsock_set_running: 0 or 1, not %u", on);
	rc = vhi_kern_enter(k, "vh_kern_vsock_set_running");
	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_VSOCK, "socket");
	return vhi_kern_leave(k, rc ? rc : vhi_kern_run(k, on));
}

static int target_of(const char *wwpn, uint32_t tpgt, const char *who, struct vhi_vhost_scsi_target *out)
{
	const size_t len = wwpn ? strnlen(wwpn, VH_KERN_WWPN_MAX) : 0;

	if (!len || len >= VH_KERN_WWPN_MAX || tpgt > UINT16_MAX)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: a name of 1 to %u bytes, and a portal group up to 65535", who,
				VH_KERN_WWPN_MAX - 1);
	*out = (struct vhi_vhost_scsi_target){.abi_version = VHI_VHOST_SCSI_ABI_VERSION, .vhost_tpgt = (uint16_t)tpgt};
	memcpy(out->vhost_wwpn, wwpn, len);
	return 0;
}

int vhi_kern_show(struct vh_kern *k, const struct vhi_vhost_scsi_target *target)
{
	struct vhi_vhost_scsi_target t = *target;
	int rc = vhi_kern_ioctl(k, VHI_VHOST_SCSI_SET_ENDPOINT, &t, VH_ERROR_NONE);

	if (!rc) {
		k->endpoint = true;
		k->shown = *target;
	}
	return rc;
}

int vhi_kern_hide(struct vh_kern *k, const struct vhi_vhost_scsi_target *target)
{
	struct vhi_vhost_scsi_target t = *target;
	int rc = vhi_kern_ioctl(k, VHI_VHOST_SCSI_CLEAR_ENDPOINT, &t, VH_ERROR_NONE);

	if (!rc)
		k->endpoint = false;
	return rc;
}

static vh_rc endpoint(struct vh_kern *k, const char *who, const char *wwpn, uint32_t tpgt,
		      int (*call)(struct vh_kern *, const struct vhi_vhost_scsi_target *))
{
	struct vhi_vhost_scsi_target t;
	int rc = target_of(wwpn, tpgt, who, &t);

	if (!rc)
		rc = vhi_kern_enter(k, who);
	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_SCSI, "SCSI");
	return vhi_kern_leave(k, rc ? rc : call(k, &t));
}

vh_rc vh_kern_scsi_set_endpoint(struct vh_kern *k, const char *wwpn, uint32_t tpgt)
{
	return endpoint(k, "vh_kern_scsi_set_endpoint", wwpn, tpgt, vhi_kern_show);
}

vh_rc vh_kern_scsi_clear_endpoint(struct vh_kern *k, const char *wwpn, uint32_t tpgt)
{
	return endpoint(k, "vh_kern_scsi_clear_endpoint", wwpn, tpgt, vhi_kern_hide);
}

vh_rc vh_kern_scsi_set_target(struct vh_kern *k, const char *wwpn, uint32_t tpgt)
{
	struct vhi_vhost_scsi_target t = {0};
	int rc = wwpn ? target_of(wwpn, tpgt, "vh_kern_scsi_set_target", &t) : 0;

	if (!rc)
		rc = vhi_kern_enter(k, "vh_kern_scsi_set_target");
	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_SCSI, "SCSI");
	if (!rc)
		k->target = t;
	return vhi_kern_leave(k, rc);
}

/* A word, whichever way it goes. */
static vh_rc word(struct vh_kern *k, const char *who, uint32_t request, uint32_t *v)
{
	int rc = vhi_kern_enter(k, who);

	if (rc)
		return rc;
	rc = wrong_kind(k, VH_KERN_SCSI, "SCSI");
	return vhi_kern_leave(k, rc ? rc : vhi_kern_ioctl(k, request, v, VH_ERROR_NONE));
}

static vh_rc word_out(struct vh_kern *k, const char *who, uint32_t request, uint32_t *out)
{
	uint32_t v = 0;
	int rc = out ? word(k, who, request, &v) : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL argument", who);

	if (!rc)
		*out = v;
	return rc;
}

vh_rc vh_kern_scsi_get_abi_version(struct vh_kern *k, int32_t *version)
{
	return word_out(k, "vh_kern_scsi_get_abi_version", VHI_VHOST_SCSI_GET_ABI_VERSION, (uint32_t *)version);
}

vh_rc vh_kern_scsi_set_events_missed(struct vh_kern *k, uint32_t missed)
{
	return word(k, "vh_kern_scsi_set_events_missed", VHI_VHOST_SCSI_SET_EVENTS_MISSED, &missed);
}

vh_rc vh_kern_scsi_get_events_missed(struct vh_kern *k, uint32_t *missed)
{
	return word_out(k, "vh_kern_scsi_get_events_missed", VHI_VHOST_SCSI_GET_EVENTS_MISSED, missed);
}

void vhi_kern_halt(struct vh_kern *k)
{
	vhi_error_mute(true);
	for (uint32_t i = 0; i < VHI_KERN_NET_RINGS; i++)
		if (k->attached[i])
			vhi_kern_net(k, i, -1);
	if (k->running)
		vhi_kern_run(k, false);
	if (k->endpoint)
		vhi_kern_hide(k, &k->shown);
	vhi_error_mute(false);
}

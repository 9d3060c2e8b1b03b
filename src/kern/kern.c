/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A device file of the kernel's: the handle. */
#include "vhi_kern.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
	uint32_t kind, node;
	const char *name; /* as a device file ends */
	const char *module;
} kinds[] = {
	{VH_KERN_NET, VHI_NODE_NET, "vhost-net", "vhost_net"},
	{VH_KERN_VSOCK, VHI_NODE_VSOCK, "vhost-vsock", "vhost_vsock"},
	{VH_KERN_SCSI, VHI_NODE_SCSI, "vhost-scsi", "vhost_scsi"},
};

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_kern_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

uint32_t vhi_kern_node(const struct vh_kern *k)
{
	return kinds[k->opts.kind - 1].node;
}

static uint32_t kind_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	for (size_t i = 0; i < VHI_ARRAY_SIZE(kinds); i++)
		if (!strcmp(slash ? slash + 1 : path, kinds[i].name))
			return kinds[i].kind;
	return 0;
}

int vhi_kern_enter(struct vh_kern *k, const char *who)
{
	int rc;

	if (!k)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL device", who);
	rc = vhi_gate_enter(&k->gate);
	if (rc)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: another thread is inside; use it from one at a time", who);
	k->who = who;
	return 0;
}

int32_t vhi_kern_leave(struct vh_kern *k, int32_t rc)
{
	vhi_gate_leave(&k->gate);
	return rc;
}

int vhi_kern_log_covers(const struct vh_kern *k, const struct vh_snapshot *mem, const struct vh_dirty *log)
{
	if (!mem || !log || mem->base + mem->span <= vhi_dirty_end(log))
		return 0;
	return vhi_fail(-ERANGE, VH_ERROR_MEMORY, 0,
			"%s: the log ends at 0x%llx and memory at 0x%llx, and the kernel would write beyond; make it "
			"longer",
			k->who, (unsigned long long)vhi_dirty_end(log), (unsigned long long)(mem->base + mem->span));
}

static int take_opts(struct vh_kern *k, const struct vh_kern_opts *opts, const char *path, const char *who)
{
	struct vh_kern_opts *o = &k->opts;
	int rc = vhi_opts_in(o, sizeof(*o), opts, "vh_kern_opts");

	if (rc)
		return rc;
	if (!o->kind && path)
		o->kind = kind_of(path);
	if (!o->kind || o->kind > VHI_ARRAY_SIZE(kinds))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: say the kind of device: VH_KERN_NET, VH_KERN_VSOCK or VH_KERN_SCSI", who);
	if (o->flags & ~VH_KERN_NET_HDR || o->reserved || (o->flags && o->kind != VH_KERN_NET))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: flags are VH_KERN_NET_HDR, of a network device; reserved is 0", who);
	return 0;
}

static void destroy(struct vh_kern *k)
{
	vhi_fd_close(&k->fd);
	for (uint32_t i = 0; i < VHI_KERN_NET_RINGS; i++)
		vhi_fd_close(&k->net[i]);
	vhi_snapshot_put(k->mem);
	vhi_dirty_put(k->log);
	vhi_dirty_put(k->logging);
	vhi_iotlb_put(k->map);
	vhi_gate_destroy(&k->gate);
	vhi_free(k);
}

static int make(const struct vh_kern_opts *opts, const char *path, const char *who, struct vh_kern **out)
{
	struct vh_kern *k = vhi_calloc(1, sizeof(*k));
	int rc = k ? vhi_gate_init(&k->gate) : -ENOMEM;

	if (rc) {
		vhi_free(k);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: no memory", who);
	}
	k->fd = -1;
	k->pid = getpid();
	for (uint32_t i = 0; i < VHI_KERN_NET_RINGS; i++)
		k->net[i] = -1;
	k->who = who;
	k->backend = (struct vh_backend){.ops = &vhi_kern_backend_ops, .ctx = k};
	rc = take_opts(k, opts, path, who);
	if (rc) {
		destroy(k);
		return rc;
	}
	*out = k;
	return 0;
}

/* Whatever it is: every device of this family answers this one. */
static int look(struct vh_kern *k, struct vh_kern **out)
{
	uint64_t offered;
	int rc = vhi_kern_features(k, &offered);

	if (rc) {
		destroy(k);
		return rc;
	}
	*out = k;
	return 0;
}

static int not_opened(const struct vh_kern *k, const char *path, int err)
{
	const char *module = kinds[k->opts.kind - 1].module;

	if (err == ENOENT || err == ENODEV || err == ENXIO)
		return vhi_fail(-err, VH_ERROR_SYSTEM, 0,
				"vh_kern_open: %s: %s; load the module: modprobe %s (in a container also: pass the "
				"device in)",
				path, vh_error_name(err), module);
	return vhi_fail(-err, VH_ERROR_SYSTEM, 0, "vh_kern_open: %s: %s%s", path, vh_error_name(err),
			err == EACCES || err == EPERM ? "; its group is often kvm, and root always may"
			: err == EBUSY		      ? "; somebody else has it"
						      : "");
}

vh_rc vh_kern_open(const char *path, const struct vh_kern_opts *opts, struct vh_kern **out)
{
	struct vh_kern *k;
	int rc;

	if (!path || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_open: NULL path or NULL out");
	rc = make(opts, path, "vh_kern_open", &k);
	if (rc)
		return rc;
	snprintf(k->node, sizeof(k->node), "%s", path);
	k->fd = vhi_sys.open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (k->fd < 0) {
		rc = not_opened(k, path, errno);
		destroy(k);
		return rc;
	}
	return look(k, out);
}

vh_rc vh_kern_adopt(vh_fd fd, const struct vh_kern_opts *opts, struct vh_kern **out)
{
	struct vh_kern *k;
	int rc;

	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_adopt: NULL out");
	rc = make(opts, NULL, "vh_kern_adopt", &k);
	if (rc)
		return rc;
	snprintf(k->node, sizeof(k->node), "fd %d (%s)", fd, kinds[k->opts.kind - 1].name);
	k->adopted = true;
	k->fd = vhi_fd_dup(fd);
	if (k->fd < 0) {
		rc = vhi_fail(k->fd, VH_ERROR_SYSTEM, 0, "vh_kern_adopt: fd %d: %s", fd, vh_error_name(k->fd));
		destroy(k);
		return rc;
	}
	return look(k, out);
}

void vh_kern_free(struct vh_kern *k)
{
	if (!k)
		return;
	/* Somebody else may have the file open, too: to close it stops nothing then. In a child of fork() it is the parent. */
	if (k->pid == getpid())
		vhi_kern_halt(k);
	destroy(k);
}

vh_rc vh_kern_dup_fd(struct vh_kern *k, vh_fd *out)
{
	int fd;

	if (!k || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_dup_fd: NULL argument");
	fd = vhi_fd_dup(k->fd);
	if (fd < 0)
		return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_kern_dup_fd: %s", vh_error_name(fd));
	*out = fd;
	return 0;
}

uint32_t vh_kern_kind(const struct vh_kern *k)
{
	return k ? k->opts.kind : 0;
}

vh_rc vh_kern_backend(struct vh_kern *k, struct vh_backend **out)
{
	if (!k || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_backend: NULL argument");
	*out = &k->backend;
	return 0;
}

vh_rc vh_kern_set_config(struct vh_kern *k, const void *buf, uint32_t len)
{
	int rc = vhi_kern_enter(k, "vh_kern_set_config");

	if (rc)
		return rc;
	if (len > VH_KERN_MAX_CONFIG || (len && !buf))
		return vhi_kern_leave(k,
				      vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
					       "vh_kern_set_config: up to %u bytes, and not NULL", VH_KERN_MAX_CONFIG));
	if (len)
		memcpy(k->config, buf, len);
	k->config_len = len;
	return vhi_kern_leave(k, 0);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* /dev/vduse/control makes devices and forgets them; /dev/vduse/NAME is one. */
#include "vhi_vduse.h"

#include <fcntl.h>
#include <stdio.h>

#define CONTROL	 "/dev/vduse/control"
#define VQ_ALIGN 4096u

/* Configuration space holds them too, whoever reads it. */
struct config_arg {
	union {
		struct vhi_vduse_dev_config head;
		uint8_t bytes[sizeof(struct vhi_vduse_dev_config) + VHI_VDUSE_CONFIG_SIZE];
	};
};

static int call(int fd, uint32_t request, void *arg)
{
	int rc = vhi_sys.ioctl(fd, request, arg);

	return rc < 0 ? -errno : rc;
}

int vhi_vduse_ioctl(const struct vh_vduse *v, uint32_t request, void *arg)
{
	return call(v->fd, request, arg);
}

static int open_file(const char *path, int flags)
{
	int fd = vhi_sys.open(path, O_RDWR | O_CLOEXEC | flags);

	return fd < 0 ? -errno : fd;
}

static int open_control(const char *who)
{
	int fd = open_file(CONTROL, 0);

	if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
		return vhi_fail(-ENOENT, VH_ERROR_SYSTEM, 0,
				"%s: there is no " CONTROL "; load the kernel's module vduse (modprobe vduse)", who);
	return fd < 0 ? vhi_fail(fd, VH_ERROR_SYSTEM, 0, "%s: " CONTROL ": %s", who, vh_error_name(fd)) : fd;
}

vh_rc vhi_vduse_config(struct vh_vduse *v, void *config)
{
	const struct vh_device_ops *ops = &v->dev->ops;
	int rc;

	memset(config, 0, VHI_VDUSE_CONFIG_SIZE);
	if (!ops->get_config)
		return 0;
	rc = ops->get_config(v->dev->ctx, 0, config, VHI_VDUSE_CONFIG_SIZE, 0);
	return rc ? vhi_fail(rc < 0 ? rc : -EIO, VH_ERROR_STATE, 0,
			     "the device did not say what its configuration space is, at once")
		  : 0;
}

/* A newer kernel that is only asked for its version takes that for the choice of it, so the choice is always made. */
static int choose_api(struct vh_vduse *v, int control)
{
	uint64_t version = 0;
	int rc = call(control, VHI_VDUSE_GET_API_VERSION, &version);

	if (rc < 0)
		return rc;
	version = VHI_MIN(version, VHI_VDUSE_API_VERSION_1);
	v->stats.api_version = (uint32_t)version;
	return call(control, VHI_VDUSE_SET_API_VERSION, &version);
}

static const char *advice(int rc)
{
	static const struct {
		int rc;
		const char *text;
	} texts[] = {
		{-EINVAL, "the kernel takes block and network devices, and not every feature of these"},
		{-EPERM, "a network device needs CAP_NET_ADMIN"},
		{-EEXIST, "there is one of that name"},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(texts); i++)
		if (texts[i].rc == rc)
			return texts[i].text;
	return vh_error_name(rc);
}

static vh_rc create(struct vh_vduse *v, int control)
{
	struct config_arg arg;
	struct vhi_vduse_dev_config *c = &arg.head;
	int rc;

	memset(&arg, 0, sizeof(arg));
	rc = vhi_vduse_config(v, arg.bytes + offsetof(struct vhi_vduse_dev_config, config));
	if (rc)
		return rc;
	memcpy(c->name, v->name, sizeof(c->name));
	c->vendor_id = v->opts.vendor_id;
	c->device_id = v->dev->opts.type;
	c->features = v->features;
	c->vq_num = v->n_queues;
	c->vq_align = VQ_ALIGN;
	c->ngroups = v->stats.api_version ? v->opts.groups : 0;
	c->nas = v->stats.api_version ? v->n_spaces : 0;
	c->config_size = VHI_VDUSE_CONFIG_SIZE;
	rc = call(control, VHI_VDUSE_CREATE_DEV, &arg);
	return rc < 0 ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vduse_new: the kernel does not make the device %s: %s",
				 v->name, advice(rc))
		      : 0;
}

static vh_rc setup_queues(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_queues; i++) {
		struct vhi_vduse_vq_config c = {
			.index = i,
			.max_size = (uint16_t)v->dev->opts.max_queue_size,
			.group = v->stats.api_version ? i % v->opts.groups : 0,
		};
		int rc = vhi_vduse_ioctl(v, VHI_VDUSE_VQ_SETUP, &c);

		if (rc < 0)
			return vhi_fail_at(rc, VH_ERROR_SYSTEM, 0, i, VH_ERROR_NONE, "vh_vduse_new: queue %u: %s", i,
					   vh_error_name(rc));
	}
	return 0;
}

/* A running driver's queues were set up by who made the device. */
static vh_rc set_up(struct vh_vduse *v, bool runs)
{
	vh_rc rc = vhi_vduse_umem_probe(v);

	return rc || runs ? rc : setup_queues(v);
}

static int open_device(struct vh_vduse *v)
{
	char path[sizeof("/dev/vduse/") + VHI_VDUSE_NAME_MAX];

	snprintf(path, sizeof(path), "/dev/vduse/%s", v->name);
	return open_file(path, O_NONBLOCK);
}

static vh_rc forget(int control, const char *name)
{
	char whole[VHI_VDUSE_NAME_MAX] = "";

	memcpy(whole, name, strlen(name));
	return call(control, VHI_VDUSE_DESTROY_DEV, whole);
}

static vh_rc make(struct vh_vduse *v, int control)
{
	int rc;

	if (!v->stats.api_version && (v->opts.groups > 1 || v->n_spaces > 1))
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_vduse_new: this kernel's VDUSE has one group of queues and one address space");
	rc = create(v, control);
	if (rc)
		return rc;
	v->fd = open_device(v);
	rc = v->fd < 0 ? vhi_fail(v->fd, VH_ERROR_SYSTEM, 0, "vh_vduse_new: /dev/vduse/%s: %s", v->name,
				  vh_error_name(v->fd))
		       : set_up(v, false);
	if (rc) {
		vhi_fd_close(&v->fd);
		forget(control, v->name);
	}
	return rc;
}

static bool is_absent(int rc)
{
	return rc == -ENOENT || rc == -ENODEV || rc == -ENXIO;
}

vh_rc vhi_vduse_open(struct vh_vduse *v)
{
	int control = open_control("vh_vduse_new"), rc;

	if (control < 0)
		return control;
	rc = choose_api(v, control);
	if (rc < 0) {
		vhi_fd_close(&control);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vduse_new: " CONTROL ": %s", vh_error_name(rc));
	}
	v->fd = v->opts.flags & VH_VDUSE_MAKE ? -ENODEV : open_device(v);
	v->stats.taken_up = v->fd >= 0;
	/* Whoever made it may have died before its queues were set up, and nobody can add its vDPA device until they are. */
	if (v->fd >= 0)
		rc = set_up(v, vhi_vduse_driver_runs(v));
	else if (is_absent(v->fd) && !(v->opts.flags & VH_VDUSE_TAKE_UP))
		rc = make(v, control);
	else
		rc = vhi_fail(is_absent(v->fd) ? -ENODEV : v->fd, VH_ERROR_SYSTEM, 0, "vh_vduse_new: /dev/vduse/%s: %s",
			      v->name, v->fd == -EBUSY ? "somebody has it open" : vh_error_name(v->fd));
	vhi_fd_close(&control);
	return rc;
}

/* Nobody says what the status is; but the driver can be told of a change, which is harmless, only when it runs. */
bool vhi_vduse_driver_runs(struct vh_vduse *v)
{
	return vhi_vduse_ioctl(v, VHI_VDUSE_DEV_INJECT_CONFIG_IRQ, NULL) >= 0;
}

vh_rc vh_vduse_remove(const char *name)
{
	int control, rc;

	if (!name || !*name || strlen(name) >= VHI_VDUSE_NAME_MAX)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_remove: the name has to have 1 to 255 bytes");
	control = open_control("vh_vduse_remove");
	if (control < 0)
		return control;
	rc = forget(control, name);
	vhi_fd_close(&control);
	if (rc == -EINVAL)
		return vhi_fail(-ENODEV, VH_ERROR_SYSTEM, 0, "vh_vduse_remove: there is no device %s", name);
	return rc < 0 ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vduse_remove: %s: %s", name,
				 rc == -EBUSY ? "somebody has it open, or its vDPA device is still there"
					      : vh_error_name(rc))
		      : 0;
}

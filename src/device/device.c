/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device handle: a set of callbacks, who owns it, and when it goes. */
#include "vhi_device.h"

#include <unistd.h>

#include "vh/queue.h"

static int device_check(const struct vh_device_opts *opts, const struct vh_device_ops *ops, struct vh_device **out)
{
	if (!opts)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_device_new: opts is NULL; say what the device offers");
	if (!ops)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_new: ops is NULL; pass the callbacks");
	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_new: out is NULL");
	return 0;
}

static int device_fill(struct vh_device *dev, const struct vh_device_opts *opts, const struct vh_device_ops *ops)
{
	struct vh_device_opts *o = &dev->opts;
	int rc;

	rc = vhi_opts_in(o, sizeof(*o), opts, "struct vh_device_opts");
	if (rc)
		return rc;
	rc = vhi_opts_in(&dev->ops, sizeof(dev->ops), ops, "struct vh_device_ops");
	if (rc)
		return rc;
	o->max_queues = o->max_queues ? o->max_queues : 1;
	o->max_queue_size = o->max_queue_size ? o->max_queue_size : VH_QUEUE_MAX_SIZE;
	if (o->max_queues > VHI_DEVICE_MAX_QUEUES)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_new: max_queues is %u; it can be 1 to %u",
				o->max_queues, VHI_DEVICE_MAX_QUEUES);
	if (o->max_queue_size > VH_QUEUE_MAX_SIZE)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_new: max_queue_size is %u; it can be 1 to %u",
				o->max_queue_size, VH_QUEUE_MAX_SIZE);
	if (dev->ops.flags & ~(VH_DEVICE_MANUAL_QUEUES | VH_DEVICE_NO_REPEAT))
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_device_new: ops.flags is %#x; VH_DEVICE_MANUAL_QUEUES and VH_DEVICE_NO_REPEAT are known",
			dev->ops.flags);
	if (!dev->ops.poll_fd != !dev->ops.on_poll)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_device_new: ops.%s is NULL; poll_fd and on_poll need each other",
				dev->ops.poll_fd ? "on_poll" : "poll_fd");
	return 0;
}

vh_rc vh_device_new(const struct vh_device_opts *opts, const struct vh_device_ops *ops, void *ctx,
		    struct vh_device **out)
{
	struct vh_device *dev = NULL;
	int rc = device_check(opts, ops, out);

	if (!rc) {
		dev = vhi_calloc(1, sizeof(*dev));
		rc = dev ? device_fill(dev, opts, ops)
			 : vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_device_new: no memory");
	}
	if (!rc && pthread_mutex_init(&dev->lock, NULL))
		rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_device_new: no memory for a lock");
	if (rc) {
		vhi_free(dev);
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	dev->ctx = ctx;
	*out = dev;
	return 0;
}

static void device_destroy(struct vh_device *dev)
{
	void (*destroy)(void *) = dev->ops.destroy;
	void *ctx = dev->ctx;

	pthread_mutex_destroy(&dev->lock);
	vhi_free(dev->shmem);
	vhi_free(dev->more_laters);
	vhi_free(dev);
	if (destroy)
		destroy(ctx);
}

void vh_device_free(struct vh_device *dev)
{
	bool attached;

	if (!dev)
		return;
	pthread_mutex_lock(&dev->lock);
	attached = dev->carrier;
	dev->free_later = attached;
	pthread_mutex_unlock(&dev->lock);
	if (!attached)
		device_destroy(dev);
}

static int set_shmem(struct vh_device *dev, uint32_t shmid, uint64_t len)
{
	if (dev->carrier)
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0,
				"vh_device_set_shmem: a slave has the device; say it before vh_slave_new()");
	if (!dev->shmem)
		dev->shmem = vhi_calloc(VH_SHMEM_MAX, sizeof(*dev->shmem));
	if (!dev->shmem)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_device_set_shmem: no memory");
	dev->shmem[shmid] = len;
	return 0;
}

vh_rc vh_device_set_shmem(struct vh_device *dev, uint32_t shmid, uint64_t len)
{
	int rc;

	if (!dev || shmid >= VH_SHMEM_MAX || len % (uint64_t)sysconf(_SC_PAGESIZE))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_device_set_shmem: dev is NULL, region %u is not below %u, or its size is no "
				"multiple of the page size",
				shmid, VH_SHMEM_MAX);
	pthread_mutex_lock(&dev->lock);
	rc = set_shmem(dev, shmid, len);
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

bool vhi_device_has_shmem(const struct vh_device *dev)
{
	uint32_t i = 0;

	while (dev->shmem && i < VH_SHMEM_MAX && !dev->shmem[i])
		i++;
	return dev->shmem && i < VH_SHMEM_MAX;
}

int vhi_device_attach(struct vh_device *dev, const struct vhi_carrier *carrier, void *ctx)
{
	bool busy;

	pthread_mutex_lock(&dev->lock);
	busy = dev->carrier;
	if (!busy) {
		dev->carrier = carrier;
		dev->carrier_ctx = ctx;
	}
	pthread_mutex_unlock(&dev->lock);
	return busy ? vhi_fail(-EBUSY, VH_ERROR_STATE, 0,
			       "vh_slave_new: the device is attached to another slave; make one device for each")
		    : 0;
}

void vhi_device_detach(struct vh_device *dev)
{
	bool gone;

	vhi_later_disarm(dev);
	pthread_mutex_lock(&dev->lock);
	gone = dev->free_later;
	dev->carrier = NULL;
	pthread_mutex_unlock(&dev->lock);
	if (gone)
		device_destroy(dev);
}

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_device_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

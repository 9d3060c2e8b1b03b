/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Callbacks that answer later, and news of the device's own. */
#include "vhi_device.h"

uint64_t vhi_later_arm(struct vh_device *dev)
{
	struct vhi_later *l = &dev->later;
	uint64_t token;

	pthread_mutex_lock(&dev->lock);
	token = l->token = ++l->last;
	l->answered = false;
	pthread_mutex_unlock(&dev->lock);
	return token;
}

void vhi_later_disarm(struct vh_device *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->later.token = 0;
	pthread_mutex_unlock(&dev->lock);
}

int32_t vhi_later_result(struct vh_device *dev, int32_t rc)
{
	struct vhi_later *l = &dev->later;

	pthread_mutex_lock(&dev->lock);
	if (rc == -EINPROGRESS && l->answered)
		rc = l->rc;
	if (rc != -EINPROGRESS)
		l->token = 0;
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

vh_rc vh_device_finish(struct vh_device *dev, uint64_t later, vh_rc rc)
{
	bool stale;

	if (!dev || !later)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_finish: dev is NULL or later is 0");
	if (rc > 0 || rc == -EINPROGRESS)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_device_finish: rc is %d; it can be 0 or a negative errno value, not EINPROGRESS",
				rc);
	pthread_mutex_lock(&dev->lock);
	stale = dev->later.token != later || dev->later.answered;
	if (!stale) {
		dev->later.answered = true;
		dev->later.rc = rc;
		/* Under the lock, because after it the transport may be gone. */
		dev->carrier->wake(dev->carrier_ctx);
	}
	pthread_mutex_unlock(&dev->lock);
	return stale ? vhi_fail(-ESTALE, VH_ERROR_STATE, 0, "vh_device_finish: nobody waits for this answer any more")
		     : 0;
}

vh_rc vh_device_config_changed(struct vh_device *dev)
{
	const struct vhi_carrier *carrier;
	void *ctx;

	if (!dev)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_config_changed: dev is NULL");
	pthread_mutex_lock(&dev->lock);
	carrier = dev->carrier;
	ctx = dev->carrier_ctx;
	pthread_mutex_unlock(&dev->lock);
	if (!carrier)
		return vhi_fail(-ENOTCONN, VH_ERROR_STATE, 0,
				"vh_device_config_changed: no slave has the device; pass it to vh_slave_new()");
	return carrier->config_changed(ctx);
}

vh_rc vh_device_error(struct vh_device *dev, uint32_t queue, vh_rc rc)
{
	if (!dev || rc >= 0 || queue >= dev->opts.max_queues)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_device_error: dev is NULL, queue %u is not one of the device's, or rc is %d and not a "
			"negative errno value",
			queue, rc);
	pthread_mutex_lock(&dev->lock);
	if (dev->carrier)
		dev->carrier->failed(dev->carrier_ctx, queue, rc);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

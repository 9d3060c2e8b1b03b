/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Callbacks that answer later, and news of the device's own. */
#include "vhi_device.h"

/* The place of a token is in its low bits, so that a late answer finds it without a search. */
#define PLACE(token) ((token) % VHI_DEVICE_LATERS)

static struct vhi_later *place_of(struct vh_device *dev, uint64_t token)
{
	const uint64_t at = PLACE(token);

	if (at < VHI_DEVICE_FIRST_LATERS)
		return &dev->first_laters[at];
	return dev->more_laters ? &dev->more_laters[at - VHI_DEVICE_FIRST_LATERS] : NULL;
}

static void forget(struct vhi_later *l)
{
	vhi_free(l->buf);
	vhi_fd_close(&l->fd);
	*l = (struct vhi_later){.fd = -1};
}

/* One that was never given out, with that place. */
static uint64_t next_token(struct vh_device *dev, uint32_t at)
{
	uint64_t token = dev->last_later - PLACE(dev->last_later) + at;

	if (token <= dev->last_later)
		token += VHI_DEVICE_LATERS;
	dev->last_later = token;
	return token;
}

static uint64_t arm(struct vh_device *dev, uint32_t len, bool at_most)
{
	uint64_t token = 0;

	pthread_mutex_lock(&dev->lock);
	for (uint32_t at = 0; at < VHI_DEVICE_LATERS && !token; at++) {
		struct vhi_later *l;

		if (at == VHI_DEVICE_FIRST_LATERS && !dev->more_laters)
			dev->more_laters = vhi_calloc(VHI_DEVICE_LATERS - at, sizeof(*l));
		l = place_of(dev, at);
		if (!l || l->token)
			continue;
		token = next_token(dev, at);
		*l = (struct vhi_later){.token = token, .len = len, .at_most = at_most, .fd = -1};
	}
	pthread_mutex_unlock(&dev->lock);
	return token;
}

uint64_t vhi_later_arm(struct vh_device *dev, uint32_t len)
{
	return arm(dev, len, false);
}

uint64_t vhi_later_arm_at_most(struct vh_device *dev, uint32_t len)
{
	return arm(dev, len, true);
}

void vhi_later_disarm(struct vh_device *dev)
{
	pthread_mutex_lock(&dev->lock);
	for (uint32_t at = 0; at < VHI_DEVICE_LATERS; at++) {
		struct vhi_later *l = place_of(dev, at);

		if (l && l->token)
			forget(l);
	}
	pthread_mutex_unlock(&dev->lock);
}

int32_t vhi_later_result(struct vh_device *dev, uint64_t token, int32_t rc, void *buf, int *fd)
{
	struct vhi_later *l;

	pthread_mutex_lock(&dev->lock);
	l = place_of(dev, token);
	if (!l) {
		pthread_mutex_unlock(&dev->lock);
		return rc;
	}
	if (rc == -EINPROGRESS && l->token == token && l->answered) {
		rc = l->rc;
		if (!rc && l->buf)
			memcpy(buf, l->buf, l->len);
		if (!rc && fd) {
			*fd = l->fd;
			l->fd = -1;
		}
		if (!rc && l->at_most)
			rc = (int32_t)l->len;
	}
	if (rc != -EINPROGRESS && l->token == token && token)
		forget(l);
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

/* Under the lock; what is given is taken if somebody waits for it. */
static int answer(struct vh_device *dev, const char *who, const struct vhi_later *given)
{
	struct vhi_later *l = place_of(dev, given->token);
	bool at_most;

	if (!l || l->token != given->token || l->answered)
		return vhi_fail(-ESTALE, VH_ERROR_STATE, 0, "%s: nobody waits for this answer any more", who);
	if (!given->rc && (l->at_most ? given->len > l->len : given->len != l->len))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: an answer of %u bytes, where the callback says %u; vh_device_finish() gives 0 "
				"bytes, vh_device_reply() some",
				who, given->len, l->len);
	at_most = l->at_most;
	*l = *given;
	l->at_most = at_most;
	l->answered = true;
	/* Under the lock, because after it the transport may be gone. */
	dev->carrier->wake(dev->carrier_ctx);
	return 0;
}

vh_rc vh_device_finish(struct vh_device *dev, uint64_t later, vh_rc rc)
{
	const struct vhi_later given = {.token = later, .rc = rc, .fd = -1};

	if (!dev || !later)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_device_finish: dev is NULL or later is 0");
	if (rc > 0 || rc == -EINPROGRESS)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_device_finish: rc is %d; it can be 0 or a negative errno value, not EINPROGRESS",
				rc);
	pthread_mutex_lock(&dev->lock);
	rc = answer(dev, "vh_device_finish", &given);
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

vh_rc vh_device_reply(struct vh_device *dev, uint64_t later, const void *buf, uint32_t len, vh_fd fd)
{
	struct vhi_later given = {.token = later, .len = len, .fd = -1};
	vh_rc rc;

	if (!dev || !later || (len && !buf) || len > VHI_DEVICE_REPLY_MAX || fd < -1)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_device_reply: dev or buf is NULL, later is 0, fd is %d, or %u bytes are more than %u", fd,
			len, VHI_DEVICE_REPLY_MAX);
	given.fd = fd < 0 ? -1 : vhi_fd_dup(fd);
	if (given.fd < 0 && fd >= 0)
		return vhi_fail(given.fd, VH_ERROR_ARGUMENT, 0, "vh_device_reply: fd %d can't be duplicated: %s", fd,
				vh_error_name(given.fd));
	given.buf = len ? vhi_calloc(1, len) : NULL;
	if (len && given.buf)
		memcpy(given.buf, buf, len);
	pthread_mutex_lock(&dev->lock);
	rc = len && !given.buf ? vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_device_reply: no memory")
			       : answer(dev, "vh_device_reply", &given);
	pthread_mutex_unlock(&dev->lock);
	if (rc)
		forget(&given);
	return rc;
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

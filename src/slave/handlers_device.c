/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages about the device and the session. */
#include "vhi_handlers.h"

static uint64_t payload_u64(const struct vhi_msg *m)
{
	uint64_t value;

	memcpy(&value, m->payload, sizeof(value));
	return value;
}

enum vhi_outcome vhi_handle_nothing(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)s;
	(void)m;
	(void)job;
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_get_features(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	return vhi_reply_u64(job, s->conn.f.offered);
}

static enum vhi_outcome features_refused(struct vh_slave *s, struct vhi_job *job, uint32_t site)
{
	s->conn.features_refused = true;
	s->conn.status &= (uint8_t)~VHI_STATUS_FEATURES_OK;
	job->site = site;
	return VHI_REFUSED;
}

static enum vhi_outcome features_step(struct vh_slave *s, struct vhi_job *job)
{
	int32_t rc = vhi_later_result(s->dev, job->later, job->rc, NULL, NULL);

	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_FEATURES_DEVICE, rc))
		return features_refused(s, job, VHI_SITE_SLAVE_FEATURES_DEVICE);
	s->conn.f.acked = job->value;
	s->conn.features_refused = false;
	vhi_vring_relog_all(s);
	if (!(job->value & VHI_BIT(VH_F_PROTOCOL_FEATURES)))
		for (uint32_t i = 0; i < s->n_queues; i++)
			vhi_vring_enable(s, i, true);
	vhi_events_raise(&s->events, VH_EVENT_NEGOTIATED, VH_ERROR_NONE, 0, job->value);
	return vhi_job_start(s, job, vhi_step_settled);
}

enum vhi_outcome vhi_handle_set_features(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	uint64_t changed;

	job->value = payload_u64(m);
	changed = job->value ^ s->conn.f.acked;
	if (VHI_REFUSE(VHI_SITE_SLAVE_FEATURES, job->value & ~s->conn.f.offered))
		return features_refused(s, job, VHI_SITE_SLAVE_FEATURES);
	/* Migration switches logging on and off; nothing else changes under a driver's feet. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_FEATURES_RUNNING, vhi_vring_any_started(s) && changed & ~VHI_BIT(VH_F_LOG_ALL)))
		return features_refused(s, job, VHI_SITE_SLAVE_FEATURES_RUNNING);
	/* The log is the library's; a device hears nothing of it. */
	if (ops->set_features && changed != VHI_BIT(VH_F_LOG_ALL)) {
		job->later = vhi_later_arm(s->dev, 0);
		job->rc = ops->set_features(s->dev->ctx, job->value & ~VHI_BIT(VH_F_LOG_ALL), job->later);
	}
	s->conn.features_told = true;
	return vhi_job_start(s, job, features_step);
}

enum vhi_outcome vhi_handle_get_protocol_features(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	return vhi_reply_u64(job, s->conn.f.pf_offered);
}

enum vhi_outcome vhi_handle_set_protocol_features(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	uint64_t bits = payload_u64(m);

	if (VHI_REFUSE(VHI_SITE_SLAVE_PF, bits & ~s->conn.f.pf_offered)) {
		job->site = VHI_SITE_SLAVE_PF;
		return VHI_REFUSED;
	}
	/* The specification wants this to end the connection. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_INBAND,
		       bits & VHI_BIT(VH_PF_INBAND_NOTIFICATIONS) && vhi_wire_pf_closure(bits) != bits)) {
		job->site = VHI_SITE_SLAVE_INBAND;
		vhi_conn_fail(s, -EPROTO);
		return VHI_REFUSED;
	}
	s->conn.f.pf_acked = bits;
	return VHI_DONE;
}

/* Network front-ends count in pairs of queues. */
enum vhi_outcome vhi_handle_get_queue_num(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	return vhi_reply_u64(job, s->dev->opts.type == VH_TYPE_NET ? s->n_queues / 2 : s->n_queues);
}

enum vhi_outcome vhi_handle_set_backend_req_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	job->site = vhi_back_set(s, m->fds[0]);
	return job->site ? VHI_REFUSED : VHI_DONE;
}

#define CONFIG_HEAD offsetof(struct vhi_wire_config, data)

static enum vhi_outcome read_step(struct vh_slave *s, struct vhi_job *job)
{
	int32_t rc = vhi_later_result(s->dev, job->later, job->rc, job->reply + CONFIG_HEAD, NULL);

	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_CONFIG_READ, rc < 0)) {
		job->site = VHI_SITE_SLAVE_CONFIG_READ;
		return VHI_REFUSED;
	}
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_get_config(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	struct vhi_wire_config c;

	memcpy(&c, m->payload, CONFIG_HEAD);
	memcpy(job->reply, m->payload, CONFIG_HEAD);
	memset(job->reply + CONFIG_HEAD, 0, c.size);
	job->reply_size = (uint32_t)CONFIG_HEAD + c.size;
	job->rc = -EOPNOTSUPP;
	if (ops->get_config) {
		job->later = vhi_later_arm(s->dev, c.size);
		job->rc = ops->get_config(s->dev->ctx, c.offset, job->reply + CONFIG_HEAD, c.size, job->later);
	}
	return vhi_job_start(s, job, read_step);
}

static enum vhi_outcome config_step(struct vh_slave *s, struct vhi_job *job)
{
	int32_t rc = vhi_later_result(s->dev, job->later, job->rc, NULL, NULL);

	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_CONFIG_WRITE, rc)) {
		job->site = VHI_SITE_SLAVE_CONFIG_WRITE;
		return VHI_REFUSED;
	}
	vhi_events_raise(&s->events, VH_EVENT_CONFIG_WRITTEN, VH_ERROR_NONE, 0, 0);
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_set_config(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	struct vhi_wire_config c = {0};

	memcpy(&c, m->payload, VHI_MIN(m->header.size, sizeof(c)));
	job->rc = -EPERM;
	if (ops->set_config) {
		job->later = vhi_later_arm(s->dev, 0);
		job->rc = ops->set_config(s->dev->ctx, c.offset, c.data, c.size, c.flags, job->later);
	}
	return vhi_job_start(s, job, config_step);
}

/* RESET_OWNER and RESET_DEVICE: drain and stop, then the device, then the rings are as they were at first. */
enum { PHASE_DRAIN, PHASE_DEVICE };

static bool all_stopped(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_vring_event(s, i, VHI_VRING_DRAINED);
	return !vhi_vring_any_started(s);
}

static enum vhi_outcome reset_step(struct vh_slave *s, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	int32_t rc;

	if (job->phase == PHASE_DRAIN) {
		if (!all_stopped(s))
			return VHI_PENDING;
		job->phase = PHASE_DEVICE;
		job->later = ops->reset ? vhi_later_arm(s->dev, 0) : 0;
		job->rc = ops->reset ? ops->reset(s->dev->ctx, job->later) : 0;
	}
	rc = vhi_later_result(s->dev, job->later, job->rc, NULL, NULL);
	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_vring_initial(s, i);
	/* The records are of rings that are no more; the front-end gets new ones, or none. */
	vhi_slave_set_inflight(s, NULL);
	s->conn.status = 0;
	vhi_events_raise(&s->events, VH_EVENT_RESET, VH_ERROR_NONE, rc, 0);
	if (VHI_REFUSE(VHI_SITE_SLAVE_RESET, rc)) {
		job->site = VHI_SITE_SLAVE_RESET;
		return VHI_REFUSED;
	}
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_reset(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	vhi_state_end(s, -ECANCELED);
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_vring_event(s, i, VHI_VRING_STOP);
	job->phase = PHASE_DRAIN;
	return vhi_job_start(s, job, reset_step);
}

enum vhi_outcome vhi_handle_set_status(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	uint8_t status = (uint8_t)payload_u64(m);

	(void)job;
	/* That the device needs a reset is the device's to say, and only a reset takes it back. */
	if (status)
		status |= s->conn.status & VHI_STATUS_NEEDS_RESET;
	if (s->conn.features_refused)
		status &= (uint8_t)~VHI_STATUS_FEATURES_OK;
	s->conn.status = status;
	vhi_events_raise(&s->events, VH_EVENT_STATUS, VH_ERROR_NONE, 0, status);
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_get_status(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	return vhi_reply_u64(job, s->conn.status);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages for devices of one kind: network, crypto, gpu. The device's callback answers them, or nobody does. */
#include "vhi_handlers.h"

static enum vhi_outcome device_step(struct vh_slave *s, struct vhi_job *job)
{
	int32_t rc = vhi_later_result(s->dev, job->later, job->rc, NULL, NULL);

	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_DEVICE, rc)) {
		job->site = VHI_SITE_SLAVE_DEVICE;
		return VHI_REFUSED;
	}
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_send_rarp(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;

	job->rc = -EOPNOTSUPP;
	if (ops->send_rarp) {
		job->later = vhi_later_arm(s->dev, 0);
		job->rc = ops->send_rarp(s->dev->ctx, m->payload, VH_MAC_LEN, job->later);
	}
	return vhi_job_start(s, job, device_step);
}

enum vhi_outcome vhi_handle_set_mtu(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	uint64_t mtu;

	memcpy(&mtu, m->payload, sizeof(mtu));
	job->rc = -EOPNOTSUPP;
	if (ops->set_mtu) {
		job->later = vhi_later_arm(s->dev, 0);
		job->rc = ops->set_mtu(s->dev->ctx, (uint32_t)mtu, job->later);
	}
	return vhi_job_start(s, job, device_step);
}

static struct vh_crypto_session symmetric(const struct vhi_wire_crypto_sym *w)
{
	return (struct vh_crypto_session){
		.size = sizeof(struct vh_crypto_session),
		.algo = w->cipher_alg,
		.op_code = w->op_code,
		.key = (uint64_t)(uintptr_t)w->key,
		.auth_key = (uint64_t)(uintptr_t)w->auth_key,
		.key_len = w->key_len,
		.auth_key_len = w->auth_key_len,
		.hash_alg = w->hash_alg,
		.hash_result_len = w->hash_result_len,
		.add_len = w->add_len,
		.op_type = w->op_type,
		.direction = w->direction,
		.hash_mode = w->hash_mode,
		.alg_chain_order = w->alg_chain_order,
	};
}

static struct vh_crypto_session asymmetric(const struct vhi_wire_crypto_asym *w)
{
	return (struct vh_crypto_session){
		.size = sizeof(struct vh_crypto_session),
		.algo = w->algo,
		.op_code = w->op_code,
		.key = (uint64_t)(uintptr_t)w->key,
		.key_len = w->key_len,
		.key_type = w->key_type,
		.rsa_padding_algo = w->rsa_padding_algo,
		.rsa_hash_algo = w->rsa_hash_algo,
	};
}

static enum vhi_outcome create_step(struct vh_slave *s, struct vhi_job *job)
{
	int64_t id = job->rc;
	int32_t rc = vhi_later_result(s->dev, job->later, job->rc, &id, NULL);

	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_SESSION, rc < 0 || id < 0)) {
		job->site = VHI_SITE_SLAVE_SESSION;
		return VHI_REFUSED;
	}
	memcpy(job->reply + VHI_WIRE_CRYPTO_ID, &id, sizeof(id));
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_create_crypto_session(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	struct vhi_wire_crypto_sym sym;
	struct vhi_wire_crypto_asym asym;
	struct vh_crypto_session session;

	memcpy(&sym, m->payload, sizeof(sym));
	memcpy(&asym, m->payload, sizeof(asym));
	session = sym.op_code == VHI_WIRE_CRYPTO_ASYM ? asymmetric(&asym) : symmetric(&sym);
	memcpy(job->reply, m->payload, VHI_WIRE_CRYPTO_SIZE);
	job->reply_size = VHI_WIRE_CRYPTO_SIZE;
	job->rc = -EOPNOTSUPP;
	if (ops->create_crypto_session) {
		job->later = vhi_later_arm(s->dev, sizeof(int64_t));
		job->rc = ops->create_crypto_session(s->dev->ctx, &session, job->later);
	}
	return vhi_job_start(s, job, create_step);
}

enum vhi_outcome vhi_handle_close_crypto_session(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	int64_t id;

	memcpy(&id, m->payload, sizeof(id));
	job->rc = -EOPNOTSUPP;
	if (ops->close_crypto_session) {
		job->later = vhi_later_arm(s->dev, 0);
		job->rc = ops->close_crypto_session(s->dev->ctx, id, job->later);
	}
	return vhi_job_start(s, job, device_step);
}

enum vhi_outcome vhi_handle_gpu_set_socket(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	bool listening = false;
	int own = vhi_sock_adopt(m->fds[0], &listening);

	if (VHI_REFUSE(VHI_SITE_SLAVE_GPU_KIND, own < 0 || listening)) {
		vhi_fd_close(&own);
		job->site = VHI_SITE_SLAVE_GPU_KIND;
		return VHI_REFUSED;
	}
	job->rc = -EOPNOTSUPP;
	if (ops->set_gpu_socket) {
		job->later = vhi_later_arm(s->dev, 0);
		job->rc = ops->set_gpu_socket(s->dev->ctx, own, job->later);
	}
	vhi_fd_close(&own);
	return vhi_job_start(s, job, device_step);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Requests for devices of one kind: network, crypto, gpu. */
#include "vhi_master.h"

#define MTU_LEAST 68u
#define MTU_MOST  65535u

vh_rc vh_master_send_rarp(struct vh_master *m, const void *mac, uint32_t len)
{
	uint8_t p[sizeof(uint64_t)] = {0};

	if (m && (!mac || len != VH_MAC_LEN))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_master_send_rarp: mac is NULL, or %u bytes; it has %u", len, VH_MAC_LEN);
	if (m)
		memcpy(p, mac, VH_MAC_LEN);
	return vhi_master_request(m, "vh_master_send_rarp",
				  &(struct vhi_request){.id = VHI_FE_SEND_RARP, .payload = p, .size = sizeof(p)});
}

vh_rc vh_master_set_mtu(struct vh_master *m, uint32_t mtu)
{
	uint64_t p = mtu;

	if (m && (mtu < MTU_LEAST || mtu > MTU_MOST))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_set_mtu: %u; it can be %u to %u", mtu,
				MTU_LEAST, MTU_MOST);
	return vhi_master_request(m, "vh_master_set_mtu",
				  &(struct vhi_request){.id = VHI_FE_NET_SET_MTU, .payload = &p, .size = sizeof(p)});
}

vh_rc vh_master_set_gpu_socket(struct vh_master *m, vh_fd fd)
{
	return vhi_master_request(m, "vh_master_set_gpu_socket",
				  &(struct vhi_request){.id = VHI_FE_GPU_SET_SOCKET, .fds = &fd, .n_fds = 1});
}

/* True when what a session says of its keys can be sent; what is at the addresses is the caller's word. */
static bool session_fits(const struct vh_crypto_session *s, bool asymmetric)
{
	const uint32_t key_max = asymmetric ? sizeof(((struct vhi_wire_crypto_asym *)0)->key)
					    : sizeof(((struct vhi_wire_crypto_sym *)0)->key);
	const uint32_t auth_max = asymmetric ? 0 : sizeof(((struct vhi_wire_crypto_sym *)0)->auth_key);

	return s->key_len <= key_max && s->auth_key_len <= auth_max && (s->key || !s->key_len) &&
	       (s->auth_key || !s->auth_key_len) && s->op_type <= 0xff && s->direction <= 0xff &&
	       s->hash_mode <= 0xff && s->alg_chain_order <= 0xff;
}

static void put_symmetric(const struct vh_crypto_session *s, uint8_t *payload)
{
	struct vhi_wire_crypto_sym w = {
		.op_code = s->op_code,
		.cipher_alg = s->algo,
		.key_len = s->key_len,
		.hash_alg = s->hash_alg,
		.hash_result_len = s->hash_result_len,
		.auth_key_len = s->auth_key_len,
		.add_len = s->add_len,
		.op_type = (uint8_t)s->op_type,
		.direction = (uint8_t)s->direction,
		.hash_mode = (uint8_t)s->hash_mode,
		.alg_chain_order = (uint8_t)s->alg_chain_order,
	};

	if (s->key_len)
		memcpy(w.key, (const void *)(uintptr_t)s->key, s->key_len);
	if (s->auth_key_len)
		memcpy(w.auth_key, (const void *)(uintptr_t)s->auth_key, s->auth_key_len);
	memcpy(payload, &w, sizeof(w));
}

static void put_asymmetric(const struct vh_crypto_session *s, uint8_t *payload)
{
	struct vhi_wire_crypto_asym w = {
		.op_code = s->op_code,
		.algo = s->algo,
		.key_type = s->key_type,
		.key_len = s->key_len,
		.rsa_padding_algo = s->rsa_padding_algo,
		.rsa_hash_algo = s->rsa_hash_algo,
	};

	if (s->key_len)
		memcpy(w.key, (const void *)(uintptr_t)s->key, s->key_len);
	memcpy(payload, &w, sizeof(w));
}

static int create_session(struct vh_master *m, const struct vhi_request *rq, int64_t *id)
{
	struct vhi_ticket *t;
	int64_t got;
	int rc = vhi_master_call(m, rq, &t);

	if (rc)
		return rc;
	memcpy(&got, t->payload + VHI_WIRE_CRYPTO_ID, sizeof(got));
	vhi_ticket_free(m, t);
	if (got < 0)
		return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq->id,
				   "the back-end gave no session (%lld)", (long long)got);
	*id = got;
	return 0;
}

vh_rc vh_master_create_crypto_session(struct vh_master *m, const struct vh_crypto_session *session, int64_t *id)
{
	const char *who = "vh_master_create_crypto_session";
	uint8_t payload[VHI_WIRE_CRYPTO_SIZE] = {0};
	struct vh_crypto_session in;
	bool asymmetric;
	int rc;

	if (m && (!session || !id))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: session or id is NULL", who);
	rc = m ? vhi_opts_in(&in, sizeof(in), session, "vh_crypto_session") : 0;
	if (rc)
		return rc;
	asymmetric = m && in.op_code == VHI_WIRE_CRYPTO_ASYM;
	if (m && !session_fits(&in, asymmetric))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: a key is NULL or longer than its field, or a small number is beyond 255", who);
	if (m)
		(asymmetric ? put_asymmetric : put_symmetric)(&in, payload);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = create_session(
		m,
		&(struct vhi_request){.id = VHI_FE_CREATE_CRYPTO_SESSION, .payload = payload, .size = sizeof(payload)},
		id);
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_close_crypto_session(struct vh_master *m, int64_t id)
{
	return vhi_master_request(
		m, "vh_master_close_crypto_session",
		&(struct vhi_request){.id = VHI_FE_CLOSE_CRYPTO_SESSION, .payload = &id, .size = sizeof(id)});
}

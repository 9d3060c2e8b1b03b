/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Which message goes where, and what handlers share. Messages of the protocol that are not in here are refused. */
#include "vhi_handlers.h"

static const struct vhi_handler handlers[] = {
	[VHI_FE_GET_FEATURES] = {vhi_handle_get_features, true},
	[VHI_FE_SET_FEATURES] = {vhi_handle_set_features, false},
	[VHI_FE_SET_OWNER] = {vhi_handle_nothing, false},
	[VHI_FE_RESET_OWNER] = {vhi_handle_reset, false},
	[VHI_FE_SET_MEM_TABLE] = {vhi_handle_set_mem_table, false},
	[VHI_FE_SET_LOG_BASE] = {vhi_handle_set_log_base, false},
	[VHI_FE_SET_LOG_FD] = {vhi_handle_set_log_fd, false},
	[VHI_FE_SET_VRING_NUM] = {vhi_handle_set_vring_num, false},
	[VHI_FE_SET_VRING_ADDR] = {vhi_handle_set_vring_addr, false},
	[VHI_FE_SET_VRING_BASE] = {vhi_handle_set_vring_base, false},
	[VHI_FE_GET_VRING_BASE] = {vhi_handle_get_vring_base, false},
	[VHI_FE_SET_VRING_KICK] = {vhi_handle_set_vring_kick, false},
	[VHI_FE_SET_VRING_CALL] = {vhi_handle_set_vring_call, false},
	[VHI_FE_SET_VRING_ERR] = {vhi_handle_set_vring_err, false},
	[VHI_FE_GET_PROTOCOL_FEATURES] = {vhi_handle_get_protocol_features, true},
	[VHI_FE_SET_PROTOCOL_FEATURES] = {vhi_handle_set_protocol_features, false},
	[VHI_FE_GET_QUEUE_NUM] = {vhi_handle_get_queue_num, true},
	[VHI_FE_SET_VRING_ENABLE] = {vhi_handle_set_vring_enable, false},
	[VHI_FE_SEND_RARP] = {vhi_handle_send_rarp, false},
	[VHI_FE_NET_SET_MTU] = {vhi_handle_set_mtu, false},
	[VHI_FE_SET_VRING_ENDIAN] = {vhi_handle_set_vring_endian, false},
	[VHI_FE_SET_BACKEND_REQ_FD] = {vhi_handle_set_backend_req_fd, false},
	[VHI_FE_IOTLB_MSG] = {vhi_handle_iotlb_msg, false},
	[VHI_FE_GET_CONFIG] = {vhi_handle_get_config, true},
	[VHI_FE_SET_CONFIG] = {vhi_handle_set_config, false},
	[VHI_FE_CREATE_CRYPTO_SESSION] = {vhi_handle_create_crypto_session, false},
	[VHI_FE_CLOSE_CRYPTO_SESSION] = {vhi_handle_close_crypto_session, false},
	[VHI_FE_GET_INFLIGHT_FD] = {vhi_handle_get_inflight_fd, true},
	[VHI_FE_SET_INFLIGHT_FD] = {vhi_handle_set_inflight_fd, false},
	[VHI_FE_GPU_SET_SOCKET] = {vhi_handle_gpu_set_socket, false},
	[VHI_FE_POSTCOPY_ADVISE] = {vhi_handle_postcopy_advise, false},
	[VHI_FE_POSTCOPY_LISTEN] = {vhi_handle_postcopy_listen, false},
	[VHI_FE_POSTCOPY_END] = {vhi_handle_postcopy_end, false},
	[VHI_FE_RESET_DEVICE] = {vhi_handle_reset, false},
	[VHI_FE_VRING_KICK] = {vhi_handle_vring_kick, false},
	[VHI_FE_GET_MAX_MEM_SLOTS] = {vhi_handle_get_max_mem_slots, true},
	[VHI_FE_ADD_MEM_REG] = {vhi_handle_add_mem_reg, false},
	[VHI_FE_REM_MEM_REG] = {vhi_handle_rem_mem_reg, false},
	[VHI_FE_SET_STATUS] = {vhi_handle_set_status, false},
	[VHI_FE_GET_STATUS] = {vhi_handle_get_status, true},
	[VHI_FE_SET_DEVICE_STATE_FD] = {vhi_handle_set_device_state_fd, false},
	[VHI_FE_CHECK_DEVICE_STATE] = {vhi_handle_check_device_state, false},
	[VHI_FE_GET_SHARED_OBJECT] = {vhi_handle_get_shared_object, true},
	[VHI_FE_GET_SHMEM_CONFIG] = {vhi_handle_get_shmem_config, true},
	[VHI_FE_GET_VRING_BASE_SKIP_DRAIN] = {vhi_handle_get_vring_base_skip_drain, false},
};

const struct vhi_handler *vhi_handler_find(uint32_t id)
{
	return id < VHI_ARRAY_SIZE(handlers) && handlers[id].run ? &handlers[id] : NULL;
}

enum vhi_outcome vhi_reply(struct vhi_job *job, const void *payload, uint32_t size)
{
	memcpy(job->reply, payload, size);
	job->reply_size = size;
	return VHI_DONE;
}

enum vhi_outcome vhi_reply_u64(struct vhi_job *job, uint64_t value)
{
	return vhi_reply(job, &value, sizeof(value));
}

enum vhi_outcome vhi_job_start(struct vh_slave *s, struct vhi_job *job, vhi_step *step)
{
	job->step = step;
	return step(s, job);
}

/* What was changed is in force once no queue has a call in progress that began before. */
enum vhi_outcome vhi_step_settled(struct vh_slave *s, struct vhi_job *job)
{
	(void)job;
	return vhi_vring_settled(s) ? VHI_DONE : VHI_PENDING;
}

uint32_t vhi_failed_site(int32_t rc)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	return e.code == rc ? e.site : 0;
}

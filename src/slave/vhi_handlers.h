/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the handlers share. The message table's checks stand before every handler: sizes, fd counts, feature gates. */
#ifndef VHI_HANDLERS_H
#define VHI_HANDLERS_H

#include "vhi_slave.h"

typedef enum vhi_outcome vhi_handle(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job);

/* Fill the reply; both return VHI_DONE. */
enum vhi_outcome vhi_reply(struct vhi_job *job, const void *payload, uint32_t size);
enum vhi_outcome vhi_reply_u64(struct vhi_job *job, uint64_t value);
/* The rest of the work is @step's: taken now, and again until it is through. */
enum vhi_outcome vhi_job_start(struct vh_slave *s, struct vhi_job *job, vhi_step *step);
enum vhi_outcome vhi_step_settled(struct vh_slave *s, struct vhi_job *job);
/* The check that made an internal call return @rc just now, 0 when it was the system. */
uint32_t vhi_failed_site(int32_t rc);

vhi_handle vhi_handle_nothing;
vhi_handle vhi_handle_get_features, vhi_handle_set_features;
vhi_handle vhi_handle_get_protocol_features, vhi_handle_set_protocol_features;
vhi_handle vhi_handle_get_queue_num, vhi_handle_set_backend_req_fd;
vhi_handle vhi_handle_get_config, vhi_handle_set_config;
vhi_handle vhi_handle_send_rarp, vhi_handle_set_mtu, vhi_handle_gpu_set_socket;
vhi_handle vhi_handle_create_crypto_session, vhi_handle_close_crypto_session;
vhi_handle vhi_handle_get_shared_object, vhi_handle_get_shmem_config;
vhi_handle vhi_handle_reset, vhi_handle_set_status, vhi_handle_get_status;

vhi_handle vhi_handle_set_mem_table, vhi_handle_add_mem_reg, vhi_handle_rem_mem_reg, vhi_handle_get_max_mem_slots;

vhi_handle vhi_handle_iotlb_msg;

vhi_handle vhi_handle_set_log_base, vhi_handle_set_log_fd;

vhi_handle vhi_handle_postcopy_advise, vhi_handle_postcopy_listen, vhi_handle_postcopy_end;
vhi_handle vhi_handle_set_device_state_fd, vhi_handle_check_device_state;
vhi_handle vhi_handle_get_inflight_fd, vhi_handle_set_inflight_fd;

vhi_handle vhi_handle_set_vring_num, vhi_handle_set_vring_addr, vhi_handle_set_vring_base, vhi_handle_get_vring_base;
vhi_handle vhi_handle_get_vring_base_skip_drain, vhi_handle_vring_kick;
vhi_handle vhi_handle_set_vring_kick, vhi_handle_set_vring_call, vhi_handle_set_vring_err;
vhi_handle vhi_handle_set_vring_enable, vhi_handle_set_vring_endian;

#endif

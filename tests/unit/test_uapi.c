/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Request numbers and sizes as they are on x86, arm64, riscv and s390x, written out: the gate `uapi` compares with what is
 * installed, which does not have the newest. On other architectures only the table is looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "vhi_vduse_uapi.h"
#include "vhi_vhost_uapi.h"

static const struct {
	const char *name;
	uint32_t request;
} expected[] = {
	{"VHOST_GET_FEATURES", 0x8008af00},
	{"VHOST_SET_FEATURES", 0x4008af00},
	{"VHOST_SET_OWNER", 0x0000af01},
	{"VHOST_RESET_OWNER", 0x0000af02},
	{"VHOST_SET_MEM_TABLE", 0x4008af03},
	{"VHOST_SET_LOG_BASE", 0x4008af04},
	{"VHOST_SET_LOG_FD", 0x4004af07},
	{"VHOST_NEW_WORKER", 0x8004af08},
	{"VHOST_FREE_WORKER", 0x4004af09},
	{"VHOST_SET_VRING_NUM", 0x4008af10},
	{"VHOST_SET_VRING_ADDR", 0x4028af11},
	{"VHOST_SET_VRING_BASE", 0x4008af12},
	{"VHOST_GET_VRING_BASE", 0xc008af12},
	{"VHOST_SET_VRING_ENDIAN", 0x4008af13},
	{"VHOST_GET_VRING_ENDIAN", 0x4008af14},
	{"VHOST_ATTACH_VRING_WORKER", 0x4008af15},
	{"VHOST_GET_VRING_WORKER", 0xc008af16},
	{"VHOST_SET_VRING_KICK", 0x4008af20},
	{"VHOST_SET_VRING_CALL", 0x4008af21},
	{"VHOST_SET_VRING_ERR", 0x4008af22},
	{"VHOST_SET_VRING_BUSYLOOP_TIMEOUT", 0x4008af23},
	{"VHOST_GET_VRING_BUSYLOOP_TIMEOUT", 0x4008af24},
	{"VHOST_SET_BACKEND_FEATURES", 0x4008af25},
	{"VHOST_GET_BACKEND_FEATURES", 0x8008af26},
	{"VHOST_NET_SET_BACKEND", 0x4008af30},
	{"VHOST_GET_FEATURES_ARRAY", 0x8008af83},
	{"VHOST_SET_FEATURES_ARRAY", 0x4008af83},
	{"VHOST_SCSI_SET_ENDPOINT", 0x40e8af40},
	{"VHOST_SCSI_CLEAR_ENDPOINT", 0x40e8af41},
	{"VHOST_SCSI_GET_ABI_VERSION", 0x4004af42},
	{"VHOST_SCSI_SET_EVENTS_MISSED", 0x4004af43},
	{"VHOST_SCSI_GET_EVENTS_MISSED", 0x4004af44},
	{"VHOST_VSOCK_SET_GUEST_CID", 0x4008af60},
	{"VHOST_VSOCK_SET_RUNNING", 0x4004af61},
	{"VHOST_VDPA_GET_DEVICE_ID", 0x8004af70},
	{"VHOST_VDPA_GET_STATUS", 0x8001af71},
	{"VHOST_VDPA_SET_STATUS", 0x4001af72},
	{"VHOST_VDPA_GET_CONFIG", 0x8008af73},
	{"VHOST_VDPA_SET_CONFIG", 0x4008af74},
	{"VHOST_VDPA_SET_VRING_ENABLE", 0x4008af75},
	{"VHOST_VDPA_GET_VRING_NUM", 0x8002af76},
	{"VHOST_VDPA_SET_CONFIG_CALL", 0x4004af77},
	{"VHOST_VDPA_GET_IOVA_RANGE", 0x8010af78},
	{"VHOST_VDPA_GET_CONFIG_SIZE", 0x8004af79},
	{"VHOST_VDPA_GET_AS_NUM", 0x8004af7a},
	{"VHOST_VDPA_GET_VRING_GROUP", 0xc008af7b},
	{"VHOST_VDPA_SET_GROUP_ASID", 0x4008af7c},
	{"VHOST_VDPA_SUSPEND", 0x0000af7d},
	{"VHOST_VDPA_RESUME", 0x0000af7e},
	{"VHOST_VDPA_GET_VRING_DESC_GROUP", 0xc008af7f},
	{"VHOST_VDPA_GET_VQS_COUNT", 0x8004af80},
	{"VHOST_VDPA_GET_GROUP_NUM", 0x8004af81},
	{"VHOST_VDPA_GET_VRING_SIZE", 0xc008af82},
	{"VHOST_SET_FORK_FROM_OWNER", 0x4001af84},
	{"VHOST_GET_FORK_FROM_OWNER", 0x8001af85},
	{"VDUSE_GET_API_VERSION", 0x80088100},
	{"VDUSE_SET_API_VERSION", 0x40088101},
	{"VDUSE_CREATE_DEV", 0x41508102},
	{"VDUSE_DESTROY_DEV", 0x41008103},
	{"VDUSE_IOTLB_GET_FD", 0xc0208110},
	{"VDUSE_DEV_GET_FEATURES", 0x80088111},
	{"VDUSE_DEV_SET_CONFIG", 0x40088112},
	{"VDUSE_DEV_INJECT_CONFIG_IRQ", 0x00008113},
	{"VDUSE_VQ_SETUP", 0x40208114},
	{"VDUSE_VQ_GET_INFO", 0xc0308115},
	{"VDUSE_VQ_SETUP_KICKFD", 0x40088116},
	{"VDUSE_VQ_INJECT_IRQ", 0x40048117},
	{"VDUSE_IOTLB_REG_UMEM", 0x40308118},
	{"VDUSE_IOTLB_DEREG_UMEM", 0x40308119},
	{"VDUSE_IOTLB_GET_INFO", 0xc030811a},
	{"VDUSE_IOTLB_GET_FD2", 0xc050811b},
};

static const struct {
	const char *name;
	size_t have, want;
} sizes[] = {
#define SIZE(type, bytes)                               \
	{                                               \
#type, sizeof(struct vhi_##type), bytes \
	}
	SIZE(vhost_vring_state, 8),
	SIZE(vhost_vring_file, 8),
	SIZE(vhost_worker_state, 4),
	SIZE(vhost_vring_worker, 8),
	SIZE(vhost_iotlb_msg, 32),
	SIZE(vhost_msg, 72),
	SIZE(vhost_msg_v2, 72),
	SIZE(vhost_features_array, 8),
	SIZE(vhost_memory_region, 32),
	SIZE(vhost_memory, 8),
	SIZE(vhost_scsi_target, 232),
	SIZE(vhost_vdpa_config, 8),
	SIZE(vhost_vdpa_iova_range, 16),
	SIZE(vduse_dev_config, 336),
	SIZE(vduse_iotlb_entry, 32),
	SIZE(vduse_iotlb_entry_v2, 80),
	SIZE(vduse_config_data, 8),
	SIZE(vduse_vq_config, 32),
	SIZE(vduse_vq_state_split, 2),
	SIZE(vduse_vq_state_packed, 8),
	SIZE(vduse_vq_group_asid, 8),
	SIZE(vduse_vq_info, 48),
	SIZE(vduse_vq_eventfd, 8),
	SIZE(vduse_iova_umem, 48),
	SIZE(vduse_iova_info, 48),
	SIZE(vduse_vq_state, 12),
	SIZE(vduse_dev_status, 1),
	SIZE(vduse_iova_range, 16),
	SIZE(vduse_iova_range_v2, 24),
	SIZE(vduse_dev_request, 152),
	SIZE(vduse_dev_response, 152),
#undef SIZE
#define AT(type, field, bytes)                                              \
	{                                                                   \
#type "." #field, offsetof(struct vhi_##type, field), bytes \
	}
	AT(vhost_msg_v2, iotlb, 8),
	AT(vduse_dev_config, ngroups, 280),
	AT(vduse_dev_config, nas, 284),
	AT(vduse_dev_config, config_size, 332),
	AT(vduse_iotlb_entry_v2, asid, 32),
	AT(vduse_vq_config, group, 8),
	AT(vduse_vq_info, ready, 40),
	AT(vduse_iova_umem, asid, 24),
	AT(vduse_iova_info, asid, 24),
	AT(vduse_iova_range_v2, asid, 16),
#undef AT
};

static const struct vhi_ioctl_row *by_name(const char *name)
{
	for (uint32_t i = 0; i < vhi_n_ioctls; i++)
		if (!strcmp(vhi_ioctls[i].name, name))
			return &vhi_ioctls[i];
	return NULL;
}

static void numbers(void **state)
{
	(void)state;
	assert_int_equal(vhi_n_ioctls, sizeof(expected) / sizeof(expected[0]));
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct vhi_ioctl_row *row = by_name(expected[i].name);

		if (!row)
			fail_msg("%s is not in the table", expected[i].name);
		if (VHI_IOC_DIR_SHIFT == 30 && VHI_IOC_READ == 2 && row->request != expected[i].request)
			fail_msg("%s is 0x%x, not 0x%x", row->name, row->request, expected[i].request);
	}
}

static void sizes_and_offsets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].have != sizes[i].want)
			fail_msg("%s: %zu, not %zu", sizes[i].name, sizes[i].have, sizes[i].want);
}

/* A number names one ioctl, so an error can name it. */
static void a_number_names_one(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < vhi_n_ioctls; i++) {
		assert_ptr_equal(vhi_ioctl_find(vhi_ioctls[i].request), &vhi_ioctls[i]);
		assert_int_not_equal(vhi_ioctls[i].nodes, 0);
	}
	assert_null(vhi_ioctl_find(VHI_IO(VHI_VHOST_VIRTIO, 0xff)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(sizes_and_offsets),
		cmocka_unit_test(a_number_names_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

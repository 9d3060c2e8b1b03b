/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the device shares: requests of ours, and what the front-end asks of it. */
#include "vhi_handlers.h"

#include <unistd.h>

#include "vh/channel.h"

static vh_rc ask_payload(struct vh_slave *s, const char *who, uint32_t id, const void *payload, uint32_t size,
			 const vh_fd *fd, uint64_t *ticket)
{
	const struct vhi_ask ask = {
		.id = id, .payload = payload, .size = size, .fds = fd, .n_fds = fd && *fd >= 0 ? 1 : 0};

	return vhi_back_request(s, who, &ask, ticket);
}

vh_rc vh_slave_set_host_notifier(struct vh_slave *s, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len,
				 uint64_t *ticket)
{
	const char *who = "vh_slave_set_host_notifier";
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct vhi_wire_vring_area area = {
		.u64 = queue | (fd < 0 ? VHI_WIRE_VRING_NOFD : 0), .size = len, .offset = offset};

	if (s && (queue >= s->n_queues || (fd >= 0 && (len != page || offset % page || vhi_range_wraps(offset, len)))))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: queue %u of a device with %u, or not a page at a page's boundary", who, queue,
				s->n_queues);
	return ask_payload(s, who, VHI_BE_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), &fd, ticket);
}

static vh_rc ask_object(struct vh_slave *s, const char *who, uint32_t id, const void *uuid, uint32_t len,
			uint64_t *ticket)
{
	static const uint8_t nil[VH_UUID_LEN];

	if (s && (!uuid || len != VH_UUID_LEN || !memcmp(uuid, nil, sizeof(nil))))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: uuid is NULL or all zeroes, or has %u bytes and not %u", who, len, VH_UUID_LEN);
	return ask_payload(s, who, id, uuid, len, NULL, ticket);
}

vh_rc vh_slave_object_add(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket)
{
	return ask_object(s, "vh_slave_object_add", VHI_BE_SHARED_OBJECT_ADD, uuid, len, ticket);
}

vh_rc vh_slave_object_remove(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket)
{
	return ask_object(s, "vh_slave_object_remove", VHI_BE_SHARED_OBJECT_REMOVE, uuid, len, ticket);
}

vh_rc vh_slave_object_lookup(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket)
{
	return ask_object(s, "vh_slave_object_lookup", VHI_BE_SHARED_OBJECT_LOOKUP, uuid, len, ticket);
}

/* In a region of the device's, and all of it pages. */
static bool map_fits(const struct vh_slave *s, const struct vh_shmem_map *map)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t room = s->dev->shmem && map->shmid < VH_SHMEM_MAX ? s->dev->shmem[map->shmid] : 0;

	return map->len && map->len <= room && map->shm_offset <= room - map->len &&
	       !((map->fd_offset | map->shm_offset | map->len) % page) && !(map->flags & ~VH_SHMEM_WRITABLE) &&
	       !vhi_range_wraps(map->fd_offset, map->len);
}

static vh_rc ask_map(struct vh_slave *s, const char *who, uint32_t id, const struct vh_shmem_map *map, const vh_fd *fd,
		     uint64_t *ticket)
{
	struct vhi_wire_mmap msg = {0};
	struct vh_shmem_map in;
	int rc = 0;

	if (s)
		rc = map ? vhi_opts_in(&in, sizeof(in), map, "vh_shmem_map")
			 : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: map is NULL", who);
	if (rc)
		return rc;
	if (s && !fd)
		in.fd_offset = in.flags = 0;
	if (s && !map_fits(s, &in))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: not inside of a region that vh_device_set_shmem() made, not a multiple of the "
				"page size, or unknown flags",
				who);
	if (s)
		msg = (struct vhi_wire_mmap){.shmid = (uint8_t)in.shmid,
					     .fd_offset = in.fd_offset,
					     .shm_offset = in.shm_offset,
					     .len = in.len,
					     .flags = in.flags};
	return ask_payload(s, who, id, &msg, sizeof(msg), fd, ticket);
}

vh_rc vh_slave_shmem_map(struct vh_slave *s, const struct vh_shmem_map *map, vh_fd fd, uint64_t *ticket)
{
	return ask_map(s, "vh_slave_shmem_map", VHI_BE_SHMEM_MAP, map, &fd, ticket);
}

vh_rc vh_slave_shmem_unmap(struct vh_slave *s, const struct vh_shmem_map *map, uint64_t *ticket)
{
	return ask_map(s, "vh_slave_shmem_unmap", VHI_BE_SHMEM_UNMAP, map, NULL, ticket);
}

vh_rc vh_slave_fs_request(struct vh_slave *s, uint32_t op, const struct vh_fs_range *ranges, uint32_t n, vh_fd fd,
			  uint64_t *ticket)
{
	const char *who = "vh_slave_fs_request";
	struct vhi_wire_fs msg = {0};
	bool bad = op < VHI_BE_FS_MAP || op > VHI_BE_FS_IO || !ranges || !n || n > VH_FS_MAX_RANGES;

	for (uint32_t i = 0; s && !bad && i < n; i++) {
		msg.fd_offset[i] = ranges[i].fd_offset;
		msg.cache_offset[i] = ranges[i].cache_offset;
		msg.len[i] = ranges[i].len;
		msg.flags[i] = ranges[i].flags;
		bad = !ranges[i].len || ranges[i].flags & ~(uint64_t)(VH_FS_READ | VH_FS_WRITE) ||
		      vhi_range_wraps(ranges[i].fd_offset, ranges[i].len) ||
		      vhi_range_wraps(ranges[i].cache_offset, ranges[i].len);
	}
	if (s && bad)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: op %u is no VH_FS_ value, there are %u ranges and not 1 to %u, or one is empty, "
				"wraps or has unknown flags",
				who, op, n, VH_FS_MAX_RANGES);
	return ask_payload(s, who, op, &msg, sizeof(msg), &fd, ticket);
}

enum vhi_outcome vhi_handle_get_shmem_config(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_shmem_config config = {0};

	(void)m;
	for (uint32_t i = 0; s->dev->shmem && i < VH_SHMEM_MAX; i++) {
		config.sizes[i] = s->dev->shmem[i];
		config.n += config.sizes[i] != 0;
	}
	return vhi_reply(job, &config, sizeof(config));
}

static enum vhi_outcome object_step(struct vh_slave *s, struct vhi_job *job)
{
	int32_t rc = vhi_later_result(s->dev, job->later, job->rc, NULL, &job->reply_fd);

	if (rc == -EINPROGRESS)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_OBJECT, rc < 0 || job->reply_fd < 0)) {
		job->site = VHI_SITE_SLAVE_OBJECT;
		return VHI_REFUSED;
	}
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_get_shared_object(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vh_device_ops *ops = &s->dev->ops;

	/* As QEMU 10 sends it. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_OBJECT_NAME, m->header.size != VH_UUID_LEN)) {
		job->site = VHI_SITE_SLAVE_OBJECT_NAME;
		return VHI_REFUSED;
	}
	if (!ops->get_shared_object) /* the protocol feature is there because of messages by hand */
		return vhi_handle_by_hand(s, m, job);
	memcpy(job->reply, m->payload, VH_UUID_LEN);
	job->reply_size = VH_UUID_LEN;
	job->later = vhi_later_arm(s->dev, 0);
	job->rc = ops->get_shared_object(s->dev->ctx, m->payload, VH_UUID_LEN, job->later);
	if (job->rc >= 0) {
		job->reply_fd = vhi_fd_dup(job->rc);
		job->rc = 0;
	}
	return vhi_job_start(s, job, object_step);
}

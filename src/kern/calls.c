/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One call for each ioctl that all of these devices have. */
#include "vhi_kern.h"

int vhi_kern_ioctl(struct vh_kern *k, uint32_t request, void *arg, uint32_t queue)
{
	return vhi_sys.ioctl(k->fd, request, arg) < 0 ? vhi_kern_failed(k, request, errno, queue) : 0;
}

int vhi_kern_state(struct vh_kern *k, uint32_t request, uint32_t queue, uint32_t num)
{
	struct vhi_vhost_vring_state s = {.index = queue, .num = num};

	return vhi_kern_ioctl(k, request, &s, queue);
}

int vhi_kern_file(struct vh_kern *k, uint32_t request, uint32_t queue, int fd)
{
	struct vhi_vhost_vring_file f = {.index = queue, .fd = fd < 0 ? VHI_VHOST_FILE_UNBIND : fd};

	return vhi_kern_ioctl(k, request, &f, queue);
}

static int null_out(const char *who)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL argument", who);
}

/* All of a public call. */
static vh_rc set(struct vh_kern *k, const char *who, uint32_t request, void *arg)
{
	int rc = vhi_kern_enter(k, who);

	return rc ? rc : vhi_kern_leave(k, vhi_kern_ioctl(k, request, arg, VH_ERROR_NONE));
}

static vh_rc set_state(struct vh_kern *k, const char *who, uint32_t request, uint32_t queue, uint32_t num)
{
	int rc = vhi_kern_enter(k, who);

	return rc ? rc : vhi_kern_leave(k, vhi_kern_state(k, request, queue, num));
}

static vh_rc set_file(struct vh_kern *k, const char *who, uint32_t request, uint32_t queue, int fd)
{
	int rc = vhi_kern_enter(k, who);

	return rc ? rc : vhi_kern_leave(k, vhi_kern_file(k, request, queue, fd));
}

/* A pair of numbers, the second of which comes back. */
static vh_rc get_state(struct vh_kern *k, const char *who, uint32_t request, uint32_t queue, uint32_t *out)
{
	struct vhi_vhost_vring_state s = {.index = queue};
	int rc = out ? vhi_kern_enter(k, who) : null_out(who);

	if (rc)
		return rc;
	rc = vhi_kern_leave(k, vhi_kern_ioctl(k, request, &s, queue));
	if (!rc)
		*out = s.num;
	return rc;
}

static vh_rc get_u64(struct vh_kern *k, const char *who, uint32_t request, uint64_t *out)
{
	uint64_t v = 0;
	int rc = out ? set(k, who, request, &v) : null_out(who);

	if (!rc)
		*out = v;
	return rc;
}

int vhi_kern_features(struct vh_kern *k, uint64_t *out)
{
	return vhi_kern_ioctl(k, VHI_VHOST_GET_FEATURES, out, VH_ERROR_NONE);
}

vh_rc vh_kern_get_features(struct vh_kern *k, uint64_t *out)
{
	return get_u64(k, "vh_kern_get_features", VHI_VHOST_GET_FEATURES, out);
}

/* Without a log the kernel would take address 0 for it. */
static int log_is_there(const struct vh_kern *k, uint64_t features)
{
	if (!(features & VHI_BIT(VH_F_LOG_ALL)) || k->log)
		return 0;
	return vhi_fail(-EINVAL, VH_ERROR_STATE, 0, "%s: LOG_ALL needs a log: vh_kern_set_log_base() first", k->who);
}

int vhi_kern_ack(struct vh_kern *k, uint64_t features)
{
	int rc = log_is_there(k, features);

	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_SET_FEATURES, &features, VH_ERROR_NONE);
	if (!rc)
		k->behind = features & VHI_BIT(VH_F_ACCESS_PLATFORM);
	return rc;
}

vh_rc vh_kern_set_features(struct vh_kern *k, uint64_t features)
{
	int rc = vhi_kern_enter(k, "vh_kern_set_features");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_ack(k, features));
}

/* As the kernel has it: a number of words, and the words. */
struct words {
	uint64_t count;
	uint64_t words[VH_KERN_MAX_FEATURES];
};

static int words_enter(struct vh_kern *k, const char *who, const void *words, uint32_t n)
{
	if (!words || !n || n > VH_KERN_MAX_FEATURES)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: give 1 to %u words", who, VH_KERN_MAX_FEATURES);
	return vhi_kern_enter(k, who);
}

vh_rc vh_kern_get_features_array(struct vh_kern *k, uint64_t *out, uint32_t n)
{
	struct words w = {.count = n};
	int rc = words_enter(k, "vh_kern_get_features_array", out, n);

	if (rc)
		return rc;
	rc = vhi_kern_leave(k, vhi_kern_ioctl(k, VHI_VHOST_GET_FEATURES_ARRAY, &w, VH_ERROR_NONE));
	if (!rc)
		memcpy(out, w.words, n * sizeof(*out));
	return rc;
}

vh_rc vh_kern_set_features_array(struct vh_kern *k, const uint64_t *features, uint32_t n)
{
	struct words w = {.count = n};
	int rc = words_enter(k, "vh_kern_set_features_array", features, n);

	if (rc)
		return rc;
	memcpy(w.words, features, n * sizeof(*features));
	rc = log_is_there(k, features[0]);
	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_SET_FEATURES_ARRAY, &w, VH_ERROR_NONE);
	if (!rc)
		k->behind = features[0] & VHI_BIT(VH_F_ACCESS_PLATFORM);
	return vhi_kern_leave(k, rc);
}

vh_rc vh_kern_get_backend_features(struct vh_kern *k, uint64_t *out)
{
	return get_u64(k, "vh_kern_get_backend_features", VHI_VHOST_GET_BACKEND_FEATURES, out);
}

int vhi_kern_ack_backend(struct vh_kern *k, uint64_t features)
{
	int rc = vhi_kern_ioctl(k, VHI_VHOST_SET_BACKEND_FEATURES, &features, VH_ERROR_NONE);

	if (!rc)
		k->backend_features = features;
	return rc;
}

vh_rc vh_kern_set_backend_features(struct vh_kern *k, uint64_t features)
{
	int rc = vhi_kern_enter(k, "vh_kern_set_backend_features");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_ack_backend(k, features));
}

int vhi_kern_own(struct vh_kern *k)
{
	int rc = vhi_kern_ioctl(k, VHI_VHOST_SET_OWNER, NULL, VH_ERROR_NONE);

	if (!rc)
		k->owned = true;
	return rc;
}

vh_rc vh_kern_set_owner(struct vh_kern *k)
{
	int rc = vhi_kern_enter(k, "vh_kern_set_owner");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_own(k));
}

vh_rc vh_kern_reset_owner(struct vh_kern *k)
{
	int rc = vhi_kern_enter(k, "vh_kern_reset_owner");

	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_RESET_OWNER, NULL, VH_ERROR_NONE);
	else
		return rc;
	if (!rc) {
		k->owned = k->behind = false;
		memset(k->attached, 0, sizeof(k->attached));
		vhi_snapshot_put(k->mem);
		vhi_dirty_put(k->log);
		k->mem = NULL;
		k->log = NULL;
	}
	return vhi_kern_leave(k, rc);
}

vh_rc vh_kern_get_fork_from_owner(struct vh_kern *k, uint32_t *out)
{
	/* A byte; a kernel that does not have it takes four of them for the index of a ring, which is not to be one. */
	uint8_t v[sizeof(uint32_t)] = {0xff, 0xff, 0xff, 0xff};
	int rc = out ? set(k, "vh_kern_get_fork_from_owner", VHI_VHOST_GET_FORK_FROM_OWNER, v)
		     : null_out("vh_kern_get_fork_from_owner");

	if (!rc)
		*out = v[0];
	return rc;
}

vh_rc vh_kern_set_fork_from_owner(struct vh_kern *k, uint32_t on)
{
	uint8_t v[sizeof(uint32_t)] = {(uint8_t)on, 0xff, 0xff, 0xff};

	if (on > 1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_set_fork_from_owner: 0 or 1, not %u", on);
	return set(k, "vh_kern_set_fork_from_owner", VHI_VHOST_SET_FORK_FROM_OWNER, v);
}

int vhi_kern_share(struct vh_kern *k, struct vh_mem *mem)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(mem);
	struct vhi_vhost_memory *table = NULL;
	int rc = vhi_kern_log_covers(k, snap, k->log);

	if (!rc) {
		table = vhi_calloc(1, sizeof(*table) + snap->n * sizeof(table->regions[0]));
		rc = table ? 0 : vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", k->who);
	}
	for (uint32_t i = 0; !rc && i < snap->n; i++)
		table->regions[i] = (struct vhi_vhost_memory_region){
			.guest_phys_addr = snap->regions[i]->gpa.v,
			.memory_size = snap->regions[i]->len,
			.userspace_addr = (uintptr_t)snap->regions[i]->host};
	if (!rc) {
		table->nregions = snap->n;
		rc = vhi_kern_ioctl(k, VHI_VHOST_SET_MEM_TABLE, table, VH_ERROR_NONE);
	}
	vhi_free(table);
	/* The kernel has the new one now, and the old one no more; or the other way round. */
	if (!rc) {
		struct vh_snapshot *before = k->mem;

		k->mem = snap;
		snap = before;
	}
	vhi_snapshot_put(snap);
	return rc;
}

vh_rc vh_kern_set_mem(struct vh_kern *k, struct vh_mem *mem)
{
	int rc = mem ? vhi_kern_enter(k, "vh_kern_set_mem") : null_out("vh_kern_set_mem");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_share(k, mem));
}

int vhi_kern_log(struct vh_kern *k, struct vh_dirty *log)
{
	uint64_t at = (uintptr_t)log->words;
	int rc = vhi_kern_log_covers(k, k->mem, log);

	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_SET_LOG_BASE, &at, VH_ERROR_NONE);
	if (rc)
		return rc;
	vhi_dirty_get(log);
	vhi_dirty_put(k->log);
	k->log = log;
	return 0;
}

vh_rc vh_kern_set_log_base(struct vh_kern *k, struct vh_dirty *log)
{
	int rc = log ? vhi_kern_enter(k, "vh_kern_set_log_base") : null_out("vh_kern_set_log_base");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_log(k, log));
}

vh_rc vh_kern_set_log_fd(struct vh_kern *k, vh_fd fd)
{
	int32_t v = fd < 0 ? VHI_VHOST_FILE_UNBIND : fd;

	return set(k, "vh_kern_set_log_fd", VHI_VHOST_SET_LOG_FD, &v);
}

vh_rc vh_kern_set_vring_num(struct vh_kern *k, uint32_t queue, uint32_t num)
{
	return set_state(k, "vh_kern_set_vring_num", VHI_VHOST_SET_VRING_NUM, queue, num);
}

vh_rc vh_kern_set_vring_addr(struct vh_kern *k, const struct vh_vring_addr *addr)
{
	struct vh_vring_addr copy;
	int rc = addr ? vhi_kern_enter(k, "vh_kern_set_vring_addr") : null_out("vh_kern_set_vring_addr");

	if (rc)
		return rc;
	copy = *addr;
	return vhi_kern_leave(k, vhi_kern_ioctl(k, VHI_VHOST_SET_VRING_ADDR, &copy, addr->index));
}

vh_rc vh_kern_set_vring_base(struct vh_kern *k, uint32_t queue, uint32_t base)
{
	return set_state(k, "vh_kern_set_vring_base", VHI_VHOST_SET_VRING_BASE, queue, base);
}

int vhi_kern_base(struct vh_kern *k, uint32_t queue, uint32_t *base)
{
	struct vhi_vhost_vring_state s = {.index = queue};
	int rc = vhi_kern_ioctl(k, VHI_VHOST_GET_VRING_BASE, &s, queue);

	if (!rc && VHI_REFUSE(VHI_SITE_KERN_BASE, s.num > UINT16_MAX))
		rc = vhi_fail_at(-EPROTO, VH_ERROR_PEER, VHI_SITE_KERN_BASE, queue, VH_ERROR_NONE, "%s: %s: %s: 0x%x",
				 k->who, k->node, vhi_kern_site_text(VHI_SITE_KERN_BASE), s.num);
	if (!rc)
		*base = s.num;
	return rc;
}

vh_rc vh_kern_get_vring_base(struct vh_kern *k, uint32_t queue, uint32_t *base)
{
	int rc = base ? vhi_kern_enter(k, "vh_kern_get_vring_base") : null_out("vh_kern_get_vring_base");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_base(k, queue, base));
}

vh_rc vh_kern_set_vring_kick(struct vh_kern *k, uint32_t queue, vh_fd fd)
{
	return set_file(k, "vh_kern_set_vring_kick", VHI_VHOST_SET_VRING_KICK, queue, fd);
}

vh_rc vh_kern_set_vring_call(struct vh_kern *k, uint32_t queue, vh_fd fd)
{
	return set_file(k, "vh_kern_set_vring_call", VHI_VHOST_SET_VRING_CALL, queue, fd);
}

vh_rc vh_kern_set_vring_err(struct vh_kern *k, uint32_t queue, vh_fd fd)
{
	return set_file(k, "vh_kern_set_vring_err", VHI_VHOST_SET_VRING_ERR, queue, fd);
}

vh_rc vh_kern_set_vring_endian(struct vh_kern *k, uint32_t queue, uint32_t endian)
{
	return set_state(k, "vh_kern_set_vring_endian", VHI_VHOST_SET_VRING_ENDIAN, queue, endian);
}

vh_rc vh_kern_get_vring_endian(struct vh_kern *k, uint32_t queue, uint32_t *endian)
{
	return get_state(k, "vh_kern_get_vring_endian", VHI_VHOST_GET_VRING_ENDIAN, queue, endian);
}

vh_rc vh_kern_set_vring_busyloop(struct vh_kern *k, uint32_t queue, uint32_t us)
{
	return set_state(k, "vh_kern_set_vring_busyloop", VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT, queue, us);
}

vh_rc vh_kern_get_vring_busyloop(struct vh_kern *k, uint32_t queue, uint32_t *us)
{
	return get_state(k, "vh_kern_get_vring_busyloop", VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT, queue, us);
}

/* Workers. An id alone is an index of four bytes to a kernel that has none. */
vh_rc vh_kern_new_worker(struct vh_kern *k, uint32_t *id)
{
	struct vhi_vhost_worker_state s = {.worker_id = UINT32_MAX};
	int rc = id ? set(k, "vh_kern_new_worker", VHI_VHOST_NEW_WORKER, &s) : null_out("vh_kern_new_worker");

	if (!rc)
		*id = s.worker_id;
	return rc;
}

vh_rc vh_kern_free_worker(struct vh_kern *k, uint32_t id)
{
	struct vhi_vhost_worker_state s = {.worker_id = id};

	return set(k, "vh_kern_free_worker", VHI_VHOST_FREE_WORKER, &s);
}

vh_rc vh_kern_attach_vring_worker(struct vh_kern *k, uint32_t queue, uint32_t id)
{
	return set_state(k, "vh_kern_attach_vring_worker", VHI_VHOST_ATTACH_VRING_WORKER, queue, id);
}

vh_rc vh_kern_get_vring_worker(struct vh_kern *k, uint32_t queue, uint32_t *id)
{
	return get_state(k, "vh_kern_get_vring_worker", VHI_VHOST_GET_VRING_WORKER, queue, id);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A guest memory: the current snapshot, and how one follows another. */
#include "vhi_region.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct vh_mem {
	uint32_t refs;		   /* atomic: an IOTLB keeps one */
	pthread_mutex_t lock;	   /* of now, for as long as it takes to count a reference */
	struct vh_snapshot *now;   /* never NULL */
	struct vh_snapshot *empty; /* so that to forget everything can't fail */
	uint32_t last_number;
	uint32_t max_regions;
	bool require_seal;
	int uffd; /* see vhi_mem_watch(), -1 = none */
};

vh_rc vh_mem_new(const struct vh_mem_opts *opts, struct vh_mem **out)
{
	struct vh_mem_opts o;
	struct vh_mem *mem;
	int rc;

	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_mem_new: out is NULL");
	rc = vhi_opts_in(&o, sizeof(o), opts, "vh_mem_opts");
	if (rc)
		return rc;
	if (o.flags || o.max_regions > VH_MEM_MAX_REGIONS || o.require_seal > 1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_mem_opts: flags is 0, max_regions at most %d, require_seal 0 or 1",
				VH_MEM_MAX_REGIONS);
	mem = vhi_calloc(1, sizeof(*mem));
	if (!mem)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_mem_new: no memory");
	mem->refs = 1;
	mem->last_number = 1;
	mem->empty = vhi_snapshot_new(0, mem->last_number);
	if (!mem->empty) {
		vhi_free(mem);
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_mem_new: no memory");
	}
	pthread_mutex_init(&mem->lock, NULL);
	mem->now = vhi_snapshot_get(mem->empty);
	mem->max_regions = o.max_regions ? o.max_regions : VH_MEM_MAX_REGIONS;
	mem->require_seal = o.require_seal;
	mem->uffd = -1;
	*out = mem;
	return 0;
}

struct vh_mem *vhi_mem_get(struct vh_mem *mem)
{
	if (mem)
		__atomic_fetch_add(&mem->refs, 1, __ATOMIC_RELAXED);
	return mem;
}

void vh_mem_free(struct vh_mem *mem)
{
	if (!mem || __atomic_sub_fetch(&mem->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_snapshot_put(mem->now);
	vhi_snapshot_put(mem->empty);
	pthread_mutex_destroy(&mem->lock);
	vhi_free(mem);
}

struct vh_snapshot *vhi_mem_snapshot(struct vh_mem *mem)
{
	struct vh_snapshot *s;

	pthread_mutex_lock(&mem->lock);
	s = vhi_snapshot_get(mem->now);
	pthread_mutex_unlock(&mem->lock);
	return s;
}

static bool holds(const struct vh_snapshot *s, const struct vhi_region *r)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->regions[i] == r)
			return true;
	return false;
}

/* Whoever still has what @next has not is not to wait for pages that nobody brings any more. */
static void unwatch(struct vh_mem *mem, const struct vh_snapshot *last, const struct vh_snapshot *next)
{
	for (uint32_t i = 0; i < last->n && mem->uffd >= 0; i++)
		if (!next || !holds(next, last->regions[i]))
			vhi_region_unwatch(last->regions[i], mem->uffd);
}

void vhi_mem_watch(struct vh_mem *mem, int uffd)
{
	if (uffd < 0)
		unwatch(mem, mem->now, NULL);
	mem->uffd = uffd;
}

void vhi_mem_commit(struct vh_mem *mem, struct vh_snapshot *next)
{
	struct vh_snapshot *last;

	unwatch(mem, mem->now, next);
	pthread_mutex_lock(&mem->lock);
	last = mem->now;
	mem->now = next;
	pthread_mutex_unlock(&mem->lock);
	vhi_snapshot_put(last);
}

void vhi_mem_clear(struct vh_mem *mem)
{
	vhi_mem_commit(mem, vhi_snapshot_get(mem->empty));
}

/* Only the handle's thread gets here, so now doesn't change meanwhile. */
static int prepare_new(struct vh_mem *mem, uint32_t n, struct vh_snapshot **out)
{
	if (VHI_REFUSE(VHI_SITE_MEM_SLOTS, n > mem->max_regions))
		return vhi_fail(-ENOSPC, VH_ERROR_MEMORY, VHI_SITE_MEM_SLOTS,
				"%" PRIu32 " regions of memory, and there is room for %" PRIu32, n, mem->max_regions);
	*out = vhi_snapshot_new(n, mem->last_number + 1);
	if (!*out)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for a memory snapshot");
	mem->last_number++;
	return 0;
}

/* All regions are there. Those that are not mapped yet are mapped once the whole table is known to make sense. */
static int prepare_finish(struct vh_mem *mem, struct vh_snapshot *s, struct vh_snapshot **out)
{
	int rc = vhi_snapshot_order(s);

	for (uint32_t i = 0; i < s->n && !rc; i++)
		if (!s->regions[i]->map) {
			rc = vhi_region_map(s->regions[i], mem->require_seal);
			if (!rc && mem->uffd >= 0)
				rc = vhi_region_watch(s->regions[i], mem->uffd);
		}
	if (!rc)
		rc = vhi_snapshot_finish(s);
	if (rc)
		vhi_snapshot_put(s);
	else
		*out = s;
	return rc;
}

int vhi_mem_prepare_replace(struct vh_mem *mem, const struct vh_region *regions, const int *fds, uint32_t n,
			    struct vh_snapshot **out)
{
	struct vh_snapshot *s;
	int rc = prepare_new(mem, n, &s);

	if (rc)
		return rc;
	for (; s->n < n; s->n++) {
		rc = vhi_region_new(&regions[s->n], fds[s->n], &s->regions[s->n]);
		if (rc) {
			vhi_snapshot_put(s);
			return rc;
		}
	}
	return prepare_finish(mem, s, out);
}

int vhi_mem_prepare_add(struct vh_mem *mem, const struct vh_region *region, int fd, struct vh_snapshot **out)
{
	struct vh_snapshot *s;
	int rc = prepare_new(mem, mem->now->n + 1, &s);

	if (rc)
		return rc;
	for (; s->n < mem->now->n; s->n++)
		s->regions[s->n] = vhi_region_get(mem->now->regions[s->n]);
	rc = vhi_region_new(region, fd, &s->regions[s->n]);
	if (rc) {
		vhi_snapshot_put(s);
		return rc;
	}
	s->n++;
	return prepare_finish(mem, s, out);
}

int vhi_mem_prepare_remove(struct vh_mem *mem, const struct vh_region *region, struct vh_snapshot **out)
{
	const struct vh_snapshot *now = mem->now;
	struct vh_snapshot *s;
	uint32_t at = 0;
	int rc;

	while (at < now->n && (now->regions[at]->gpa.v != region->gpa || now->regions[at]->uva.v != region->uva ||
			       now->regions[at]->len != region->len))
		at++;
	if (VHI_REFUSE(VHI_SITE_MEM_UNKNOWN, at == now->n))
		return vhi_fail(-ENOENT, VH_ERROR_MEMORY, VHI_SITE_MEM_UNKNOWN,
				"no region has guest address 0x%" PRIx64 ", user address 0x%" PRIx64 " and 0x%" PRIx64
				" bytes",
				region->gpa, region->uva, region->len);
	rc = prepare_new(mem, now->n - 1, &s);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < now->n; i++)
		if (i != at)
			s->regions[s->n++] = vhi_region_get(now->regions[i]);
	return prepare_finish(mem, s, out);
}

int vhi_mem_replace(struct vh_mem *mem, const struct vh_region *regions, const int *fds, uint32_t n)
{
	struct vh_snapshot *next;
	int rc = vhi_mem_prepare_replace(mem, regions, fds, n, &next);

	if (!rc)
		vhi_mem_commit(mem, next);
	return rc;
}

/* What means nothing yet must be 0, so that it can mean something one day. */
static int check_unused(const struct vh_region *region, const char *call)
{
	if (!(region->flags & ~(VH_REGION_HUGE | VH_REGION_SEALED | VH_REGION_BROKEN)))
		return 0;
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: vh_region.flags must be 0 or what vh_mem_regions() reports",
			call);
}

vh_rc vh_mem_add_fd(struct vh_mem *mem, int32_t fd, const struct vh_region *region)
{
	struct vh_snapshot *next;
	int rc;

	if (!mem || !region || fd < 0)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_mem_add_fd: give a memory, a region and the fd of its file");
	rc = check_unused(region, "vh_mem_add_fd");
	if (!rc)
		rc = vhi_mem_prepare_add(mem, region, fd, &next);
	if (!rc)
		vhi_mem_commit(mem, next);
	return rc;
}

vh_rc vh_mem_remove(struct vh_mem *mem, const struct vh_region *region)
{
	struct vh_snapshot *next;
	int rc;

	if (!mem || !region)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_mem_remove: give a memory and a region");
	rc = check_unused(region, "vh_mem_remove");
	if (!rc)
		rc = vhi_mem_prepare_remove(mem, region, &next);
	if (!rc)
		vhi_mem_commit(mem, next);
	return rc;
}

vh_count vh_mem_regions(struct vh_mem *mem, struct vh_region *out, uint32_t max)
{
	struct vh_snapshot *s;
	vh_count n;

	if (!mem || (!out && max))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_mem_regions: give a memory, and room for max regions at out");
	s = vhi_mem_snapshot(mem);
	n = vh_snapshot_regions(s, out, max);
	vhi_snapshot_put(s);
	return n;
}

vh_rc vh_mem_dup_fd(struct vh_mem *mem, uint32_t index, int32_t *out)
{
	struct vh_snapshot *s;
	int fd;

	if (!mem || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_mem_dup_fd: mem or out is NULL");
	s = vhi_mem_snapshot(mem);
	fd = index < s->n ? vhi_fd_dup(vhi_snapshot_fd(s, index)) : -ENOENT;
	vhi_snapshot_put(s);
	if (fd == -ENOENT)
		return vhi_fail(fd, VH_ERROR_ARGUMENT, 0, "vh_mem_dup_fd: there is no region %" PRIu32, index);
	if (fd < 0)
		return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_mem_dup_fd: %s", vh_error_name(fd));
	*out = fd;
	return 0;
}

vh_rc vh_mem_dup_snapshot(struct vh_mem *mem, struct vh_snapshot **out)
{
	if (!mem || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_mem_dup_snapshot: mem or out is NULL");
	*out = vhi_mem_snapshot(mem);
	return 0;
}

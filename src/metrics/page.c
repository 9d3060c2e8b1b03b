/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The page, and how its rows are written. */
#include "vhi_metrics.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_ROWS	    1024u
#define DEFAULT_INTERVAL_MS 100u
#define PAGE		    4096u

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

_Static_assert(sizeof(struct vhi_metrics_head) == 128, "the layout is documented");
_Static_assert(sizeof(struct vhi_metrics_slot) == 768, "the layout is documented");

const char *vhi_metrics_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

static void VHI_SHM *at(const struct vh_metrics *st, size_t offset)
{
	return (uint8_t VHI_SHM *)st->base + offset;
}

static size_t slot_at(uint32_t row)
{
	return sizeof(struct vhi_metrics_head) + (size_t)row * sizeof(struct vhi_metrics_slot);
}

#define IN_HEAD(st, member)	 at(st, offsetof(struct vhi_metrics_head, member))
#define IN_SLOT(st, row, member) at(st, slot_at(row) + offsetof(struct vhi_metrics_slot, member))

static int opts_in(struct vh_metrics_opts *o, const struct vh_metrics_opts *opts, const char *name)
{
	int rc = vhi_opts_in(o, sizeof(*o), opts, "vh_metrics_opts");

	if (rc)
		return rc;
	if (o->max_rows > VHI_METRICS_MAX_ROWS || o->reserved)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_metrics_new: max_rows is at most %u, and reserved must be 0", VHI_METRICS_MAX_ROWS);
	if (name && strlen(name) >= VH_METRICS_NAME_SIZE)
		return vhi_fail(-ENAMETOOLONG, VH_ERROR_ARGUMENT, 0, "vh_metrics_new: name has more than %u bytes",
				VH_METRICS_NAME_SIZE - 1);
	o->max_rows = o->max_rows ? o->max_rows : DEFAULT_ROWS;
	o->interval_ms = o->interval_ms ? o->interval_ms : DEFAULT_INTERVAL_MS;
	return 0;
}

/*
 * Nobody may make it smaller while others look at it, and nobody but this mapping may write it. Kernels before 5.1 don't know
 * the second seal; there the file is as safe as the process that has it open.
 */
static int make_file(struct vh_metrics *st)
{
	void *p;

	st->fd = vhi_sys.memfd_create(VHI_METRICS_MEMFD, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (st->fd < 0 || vhi_sys.ftruncate(st->fd, (off_t)st->len))
		return -errno;
	p = vhi_sys.mmap(NULL, st->len, PROT_READ | PROT_WRITE, MAP_SHARED, st->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	st->base = (void VHI_SHM *)p;
	if (vhi_sys.fcntl(st->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return -errno;
	vhi_sys.fcntl(st->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
	return 0;
}

/* What a child of fork() has of this page is zero: it finds out by a load, on the data path too. */
static void mark_parent(struct vh_metrics *st)
{
	uint32_t *p = vhi_sys.mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	if (vhi_sys.madvise(p, PAGE, MADV_WIPEONFORK)) {
		vhi_sys.munmap(p, PAGE);
		return;
	}
	*p = 1;
	st->parent = p;
}

static bool is_ours(const struct vh_metrics *st)
{
	return st->parent ? *st->parent : st->pid == getpid();
}

static void write_head(struct vh_metrics *st, const char *name)
{
	vhi_shm_store32(IN_HEAD(st, version), VHI_METRICS_VERSION);
	vhi_shm_store32(IN_HEAD(st, head_bytes), sizeof(struct vhi_metrics_head));
	vhi_shm_store32(IN_HEAD(st, row_bytes), sizeof(struct vhi_metrics_slot));
	vhi_shm_store32(IN_HEAD(st, max_rows), st->max_rows);
	vhi_shm_store32(IN_HEAD(st, pid), (uint32_t)st->pid);
	vhi_shm_store32(IN_HEAD(st, interval_ms), st->interval_ms);
	vhi_shm_store64(IN_HEAD(st, made_ns), vhi_now_ns());
	if (name)
		vhi_shm_copy_out(IN_HEAD(st, name), name, strlen(name) + 1);
	/* Who sees this sees the rest. */
	vhi_shm_store64_release(IN_HEAD(st, magic), VHI_METRICS_MAGIC);
}

vh_rc vh_metrics_new(const struct vh_metrics_opts *opts, const char *name, struct vh_metrics **out)
{
	struct vh_metrics_opts o;
	struct vh_metrics *st;
	int rc = out ? opts_in(&o, opts, name) : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_metrics_new: out is NULL");

	if (rc)
		return rc;
	st = vhi_calloc(1, sizeof(*st) + o.max_rows);
	if (!st)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_metrics_new: no memory");
	st->refs = 1;
	st->pid = getpid();
	st->max_rows = o.max_rows;
	st->interval_ms = o.interval_ms;
	st->len = (slot_at(o.max_rows) + PAGE - 1) / PAGE * PAGE;
	st->fd = -1;
	pthread_mutex_init(&st->lock, NULL);
	rc = make_file(st);
	if (rc) {
		vhi_metrics_put(st);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_metrics_new: %s", vh_error_name(rc));
	}
	mark_parent(st);
	write_head(st, name);
	*out = st;
	return 0;
}

struct vh_metrics *vhi_metrics_get(struct vh_metrics *st)
{
	__atomic_fetch_add(&st->refs, 1, __ATOMIC_RELAXED);
	return st;
}

void vhi_metrics_put(struct vh_metrics *st)
{
	if (!st || __atomic_sub_fetch(&st->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (st->base)
		vhi_sys.munmap(VHI_SHM_RAW(void, st->base), st->len);
	if (st->parent)
		vhi_sys.munmap((void *)(uintptr_t)st->parent, PAGE);
	vhi_fd_close(&st->fd);
	pthread_mutex_destroy(&st->lock);
	vhi_free(st);
}

void vh_metrics_free(struct vh_metrics *st)
{
	vhi_metrics_put(st);
}

vh_rc vh_metrics_dup_fd(struct vh_metrics *st, vh_fd *out)
{
	int fd;

	if (!st || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_metrics_dup_fd: state or out is NULL");
	fd = vhi_fd_dup(st->fd);
	if (fd < 0)
		return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_metrics_dup_fd: %s", vh_error_name(fd));
	*out = fd;
	return 0;
}

/* Odd from here on; only the row's writer changes it. */
static uint32_t begin(struct vh_metrics *st, uint32_t row)
{
	const uint32_t seq = vhi_shm_load32(IN_SLOT(st, row, seq)) | 1;

	vhi_shm_store32(IN_SLOT(st, row, seq), seq);
	vhi_full_fence();
	return seq;
}

static void end(struct vh_metrics *st, uint32_t row, uint32_t seq)
{
	vhi_shm_store32_release(IN_SLOT(st, row, seq), seq + 1);
}

static void put_text(struct vh_metrics *st, uint32_t row, size_t member, size_t room, const char *text)
{
	const size_t n = strnlen(text, room - 1);

	vhi_shm_copy_out(at(st, slot_at(row) + member), text, n);
	vhi_shm_zero(at(st, slot_at(row) + member + n), room - n);
}

static void clear(struct vh_metrics *st, uint32_t row, uint32_t kind, uint32_t connection)
{
	const size_t body = offsetof(struct vhi_metrics_slot, n_values);
	const uint32_t seq = begin(st, row);

	vhi_shm_store32(IN_SLOT(st, row, kind), kind);
	vhi_shm_store32(IN_SLOT(st, row, connection), connection);
	vhi_shm_zero(at(st, slot_at(row) + body), sizeof(struct vhi_metrics_slot) - body);
	end(st, row, seq);
}

int vhi_metrics_take(struct vh_metrics *st, uint32_t kind, uint32_t connection, uint32_t *row)
{
	uint32_t i;

	pthread_mutex_lock(&st->lock);
	for (i = st->hint; i < st->max_rows && st->used[i]; i++)
		;
	if (i < st->max_rows) {
		st->used[i] = 1;
		st->hint = i + 1;
	}
	pthread_mutex_unlock(&st->lock);
	if (i == st->max_rows)
		return -ENOSPC;
	if (is_ours(st))
		clear(st, i, kind, connection == UINT32_MAX ? i : connection);
	*row = i;
	return 0;
}

void vhi_metrics_give(struct vh_metrics *st, uint32_t row)
{
	if (is_ours(st))
		clear(st, row, 0, 0);
	pthread_mutex_lock(&st->lock);
	st->used[row] = 0;
	st->hint = VHI_MIN(st->hint, row);
	pthread_mutex_unlock(&st->lock);
}

void vhi_metrics_write(struct vh_metrics *st, uint32_t row, const uint64_t *values, uint32_t n, const char *name,
		       const char *address)
{
	uint32_t seq;

	if (!is_ours(st))
		return;
	seq = begin(st, row);
	if (values)
		vhi_shm_store32(IN_SLOT(st, row, n_values), n);
	for (uint32_t i = 0; i < n; i++)
		vhi_shm_store64((uint64_t VHI_SHM *)IN_SLOT(st, row, values) + i, values[i]);
	if (name)
		put_text(st, row, offsetof(struct vhi_metrics_slot, name), VH_METRICS_NAME_SIZE, name);
	if (address)
		put_text(st, row, offsetof(struct vhi_metrics_slot, address), VH_METRICS_ADDRESS_SIZE, address);
	end(st, row, seq);
}

void vhi_metrics_put_value(struct vh_metrics *st, uint32_t row, uint32_t index, uint64_t value)
{
	if (VHI_LIKELY(is_ours(st)))
		vhi_shm_store64((uint64_t VHI_SHM *)IN_SLOT(st, row, values) + index, value);
}

uint64_t vhi_metrics_get_value(struct vh_metrics *st, uint32_t row, uint32_t index)
{
	return vhi_shm_load64((uint64_t VHI_SHM *)IN_SLOT(st, row, values) + index);
}

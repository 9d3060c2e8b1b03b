/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The dirty log: a region like any other, whose file the front-end gives, and atomic bits in it. */
#include "vhi_dirty.h"

#include <inttypes.h>

#include "vhi_region.h"

#define PAGE_SHIFT 12
#define WORD_BITS  64u

_Static_assert(VH_DIRTY_PAGE == 1 << PAGE_SHIFT, "a page is a page");

struct vh_dirty *vhi_dirty_get(struct vh_dirty *d)
{
	if (d)
		__atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
	return d;
}

void vhi_dirty_put(struct vh_dirty *d)
{
	if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_region_put(d->region);
	vhi_fd_close(&d->call);
	vhi_free(d);
}

/* Takes the reference of the region over, also when it fails. */
static int dirty_make(struct vhi_region *region, struct vh_dirty **out)
{
	struct vh_dirty *d = vhi_calloc(1, sizeof(*d));

	if (!d) {
		vhi_region_put(region);
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for a dirty log");
	}
	d->refs = 1;
	d->call = -1;
	d->region = region;
	d->words = (uint64_t VHI_SHM *)(uintptr_t)region->host;
	d->pages = region->len * 8;
	*out = d;
	return 0;
}

int vhi_dirty_open(int fd, uint64_t offset, uint64_t len, bool require_seal, struct vh_dirty **out)
{
	struct vhi_region *region;
	int rc;

	if (VHI_REFUSE(VHI_SITE_MEM_DIRTY_ALIGN, offset & 7))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_DIRTY_ALIGN,
				"a dirty log at byte 0x%" PRIx64 " of its file; its words need a multiple of 8",
				offset);
	rc = vhi_file_map(fd, offset, len, require_seal, &region);
	return rc ? rc : dirty_make(region, out);
}

int vhi_dirty_with_call(struct vh_dirty *d, int call, struct vh_dirty **out)
{
	int mine = call < 0 ? -1 : vhi_fd_dup(call);
	int rc;

	if (mine < -1)
		return vhi_fail(mine, VH_ERROR_SYSTEM, 0, "the dirty log's fd can't be duplicated: %s",
				vh_error_name(mine));
	rc = dirty_make(vhi_region_get(d->region), out);
	if (rc)
		vhi_fd_close(&mine);
	else
		(*out)->call = mine;
	return rc;
}

uint64_t vhi_dirty_end(const struct vh_dirty *d)
{
	return d->pages > UINT64_MAX >> PAGE_SHIFT ? UINT64_MAX : d->pages << PAGE_SHIFT;
}

bool vhi_dirty_incomplete(const struct vh_dirty *d)
{
	return __atomic_load_n(&d->lost, __ATOMIC_RELAXED) || __atomic_load_n(&d->region->broken, __ATOMIC_RELAXED);
}

/*
 * Never left out because the bit is set already: it may be seen set from before while our write can't be seen yet, and
 * whoever takes it meanwhile copies the page without that write.
 */
static void word_set(struct vh_dirty *d, uint64_t word, uint64_t bits)
{
	__atomic_fetch_or(VHI_SHM_RAW(uint64_t, d->words + word), htole64(bits), __ATOMIC_RELEASE);
}

static void cache_add(struct vh_dirty *d, struct vhi_dirty_cache *c, uint64_t word, uint64_t bits)
{
	const uint32_t at = word % VHI_DIRTY_CACHE;

	if (c->used & 1u << at) {
		if (c->entries[at].word == word) {
			c->entries[at].bits |= bits;
			return;
		}
		word_set(d, c->entries[at].word, c->entries[at].bits);
	}
	c->used |= 1u << at;
	c->entries[at].word = word;
	c->entries[at].bits = bits;
}

void vhi_dirty_lose(struct vh_dirty *d)
{
	__atomic_fetch_add(&d->lost, 1, __ATOMIC_RELAXED);
}

void vhi_dirty_mark(struct vh_dirty *d, struct vhi_dirty_cache *c, uint64_t gpa, uint64_t len)
{
	uint64_t last, page = gpa >> PAGE_SHIFT;

	if (!len)
		return;
	last = (len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1) >> PAGE_SHIFT;
	if (VHI_REFUSE(VHI_SITE_MEM_DIRTY_RANGE, last >= d->pages)) {
		vhi_dirty_lose(d);
		if (page >= d->pages)
			return;
		last = d->pages - 1;
	}
	while (page <= last) {
		const uint64_t first = page % WORD_BITS, n = VHI_MIN(last - page + 1, WORD_BITS - first);

		cache_add(d, c, page / WORD_BITS, UINT64_MAX >> (WORD_BITS - n) << first);
		page += n;
	}
}

void vhi_dirty_flush(struct vh_dirty *d, struct vhi_dirty_cache *c)
{
	const bool any = c->used;

	for (; c->used; c->used &= c->used - 1) {
		const uint32_t at = (uint32_t)__builtin_ctz(c->used);

		word_set(d, c->entries[at].word, c->entries[at].bits);
	}
	if (any && d->call >= 0 && vhi_poll_now(d->call, POLLOUT) & POLLOUT)
		vhi_eventfd_signal(d->call);
}

vh_rc vh_dirty_new(uint64_t end, struct vh_dirty **out)
{
	/* Whole words. */
	const uint64_t pages = (end >> PAGE_SHIFT) + !!(end & (VH_DIRTY_PAGE - 1));
	const uint64_t len = (pages + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);
	int fd, rc;

	if (!end || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_dirty_new: out is NULL, or end is 0");
	rc = vhi_memfd_make(len, 0, &fd);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_dirty_new: memfd of 0x%" PRIx64 " bytes: %s", len,
				vh_error_name(rc));
	rc = vhi_dirty_open(fd, 0, len, false, out);
	vhi_fd_close(&fd);
	return rc;
}

vh_rc vh_dirty_open(vh_fd fd, uint64_t offset, uint64_t len, struct vh_dirty **out)
{
	if (fd < 0 || !len || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_dirty_open: give the fd of a file, len above 0 and out");
	return vhi_dirty_open(fd, offset, len, false, out);
}

static int check_whole(const struct vh_dirty *d, const char *who)
{
	return __atomic_load_n(&d->region->broken, __ATOMIC_RELAXED)
		       ? vhi_fail(-EFAULT, VH_ERROR_MEMORY, 0,
				  "%s: the log's file was truncated; copy all of the memory once more", who)
		       : 0;
}

vh_rc vh_dirty_mark(struct vh_dirty *d, vh_gpa gpa, uint64_t len)
{
	struct vhi_dirty_cache c = {0};

	if (!d || !len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_dirty_mark: give a log, and len above 0");
	vhi_dirty_mark(d, &c, gpa, len);
	vhi_dirty_flush(d, &c);
	if (len > vhi_dirty_end(d) || gpa > vhi_dirty_end(d) - len)
		return vhi_fail(-ERANGE, VH_ERROR_MEMORY, 0,
				"vh_dirty_mark: 0x%" PRIx64 " + 0x%" PRIx64
				" ends beyond the log, which ends at 0x%" PRIx64,
				gpa, len, vhi_dirty_end(d));
	return check_whole(d, "vh_dirty_mark");
}

/* Of a word, the pages from @page on, at most @max of them: cleared in the log, and told. */
static uint32_t word_take(struct vh_dirty *d, uint64_t page, vh_gpa *out, uint32_t max)
{
	uint64_t VHI_SHM *at = d->words + page / WORD_BITS;
	const uint64_t left = d->pages - page / WORD_BITS * WORD_BITS;
	uint64_t all = vhi_shm_load64(at) >> page % WORD_BITS << page % WORD_BITS, bits = 0;
	uint32_t n = 0;

	/* The last bytes of a log need not be a word; what is behind them is not ours. */
	if (left < WORD_BITS)
		all &= VHI_BIT(left) - 1;
	for (; all && n < max; n++, all &= all - 1)
		bits |= all & -all;
	if (!bits)
		return 0;
	/* What was set meanwhile, beside these, stays. */
	__atomic_fetch_and(VHI_SHM_RAW(uint64_t, at), htole64(~bits), __ATOMIC_ACQ_REL);
	for (n = 0; bits; n++, bits &= bits - 1)
		out[n] = (page / WORD_BITS * WORD_BITS + (uint64_t)__builtin_ctzll(bits)) << PAGE_SHIFT;
	return n;
}

vh_count vh_dirty_take(struct vh_dirty *d, vh_gpa from, vh_gpa *pages, uint32_t max)
{
	uint32_t n = 0;
	int rc;

	if (!d || !pages || max > INT32_MAX)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_dirty_take: give a log, and room for max pages");
	for (uint64_t page = from >> PAGE_SHIFT; page < d->pages && n < max; page = (page / WORD_BITS + 1) * WORD_BITS)
		n += word_take(d, page, pages + n, max - n);
	rc = check_whole(d, "vh_dirty_take");
	return rc ? rc : (vh_count)n;
}

vh_rc vh_dirty_dup_fd(struct vh_dirty *d, vh_fd *out)
{
	int fd;

	if (!d || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_dirty_dup_fd: the log and out must not be NULL");
	fd = vhi_fd_dup(d->region->fd);
	if (fd < 0)
		return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_dirty_dup_fd: %s", vh_error_name(fd));
	*out = fd;
	return 0;
}

vh_rc vh_dirty_get_info(struct vh_dirty *d, struct vh_dirty_info *out)
{
	struct vh_dirty_info info = {.size = sizeof(info)};

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_dirty_get_info: the log is NULL");
	info.broken = __atomic_load_n(&d->region->broken, __ATOMIC_RELAXED);
	info.offset = d->region->offset;
	info.len = d->region->len;
	info.pages = d->pages;
	info.lost = __atomic_load_n(&d->lost, __ATOMIC_RELAXED);
	return vhi_out_fill(out, &info, sizeof(info), "vh_dirty_get_info");
}

void vh_dirty_free(struct vh_dirty *d)
{
	vhi_dirty_put(d);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Looking at the page of another process, which may be anything: each word is loaded once, and checked. */
#include "vhi_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mman.h>

#define LINK	"/memfd:" VHI_METRICS_MEMFD
#define TRIES	1000u /* a row is written in less than a microsecond */
#define MAX_LEN (UINT64_C(1) << 32)

struct vh_metrics_reader {
	const void VHI_SHM *base;
	size_t len;
	uint32_t head_bytes, row_bytes, max_rows;
	struct vh_metrics_info info;
};

static const void VHI_SHM *at(const struct vh_metrics_reader *r, size_t offset)
{
	return (const uint8_t VHI_SHM *)r->base + offset;
}

#define IN_HEAD(r, member) at(r, offsetof(struct vhi_metrics_head, member))

/* What is shown on somebody's terminal is no business of who wrote it. */
static void printable(char *text, size_t room)
{
	text[room - 1] = 0;
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static int wrong(uint32_t site)
{
	return vhi_fail(-EPROTO, VH_ERROR_PEER, site, "a page of metrics: %s", vhi_metrics_site_text(site));
}

static int read_head(struct vh_metrics_reader *r)
{
	struct vh_metrics_info *info = &r->info;
	uint64_t rows_end;

	if (VHI_REFUSE(VHI_SITE_METRICS_SMALL, r->len < sizeof(struct vhi_metrics_head)))
		return wrong(VHI_SITE_METRICS_SMALL);
	if (VHI_REFUSE(VHI_SITE_METRICS_MAGIC, vhi_shm_load64_acquire(IN_HEAD(r, magic)) != VHI_METRICS_MAGIC))
		return wrong(VHI_SITE_METRICS_MAGIC);
	info->version = vhi_shm_load32(IN_HEAD(r, version));
	if (VHI_REFUSE(VHI_SITE_METRICS_VERSION, info->version != VHI_METRICS_VERSION))
		return wrong(VHI_SITE_METRICS_VERSION);
	r->head_bytes = vhi_shm_load32(IN_HEAD(r, head_bytes));
	r->row_bytes = vhi_shm_load32(IN_HEAD(r, row_bytes));
	r->max_rows = vhi_shm_load32(IN_HEAD(r, max_rows));
	rows_end = r->head_bytes + (uint64_t)r->row_bytes * r->max_rows;
	if (VHI_REFUSE(VHI_SITE_METRICS_SHAPE, r->head_bytes < sizeof(struct vhi_metrics_head) || r->head_bytes % 8 ||
						       r->row_bytes < sizeof(struct vhi_metrics_slot) ||
						       r->row_bytes % 8 || r->max_rows > VHI_METRICS_MAX_ROWS ||
						       rows_end > r->len))
		return wrong(VHI_SITE_METRICS_SHAPE);
	info->max_rows = r->max_rows;
	info->pid = vhi_shm_load32(IN_HEAD(r, pid));
	info->interval_ms = vhi_shm_load32(IN_HEAD(r, interval_ms));
	info->made_ns = vhi_shm_load64(IN_HEAD(r, made_ns));
	vhi_shm_copy_in(info->name, IN_HEAD(r, name), sizeof(info->name));
	printable(info->name, sizeof(info->name));
	return 0;
}

/*
 * Only a file that can't be cut is looked at: to read behind its end would end this process. So would a hole of a file in
 * huge pages when there is none left to fill it with; pages of other memory are made as they are read.
 */
static bool stays_whole(int fd)
{
	const int seals = vhi_sys.fcntl(fd, F_GET_SEALS, 0);
	struct statfs fs;

	return seals >= 0 && seals & F_SEAL_SHRINK && !vhi_sys.fstatfs(fd, &fs) &&
	       (uint32_t)fs.f_type != HUGETLBFS_MAGIC;
}

static int map(struct vh_metrics_reader *r, int fd)
{
	struct stat st;
	void *p;

	if (VHI_REFUSE(VHI_SITE_METRICS_SEALS, !stays_whole(fd)))
		return vhi_fail(-EPERM, VH_ERROR_PEER, VHI_SITE_METRICS_SEALS, "a page of metrics: %s",
				vhi_metrics_site_text(VHI_SITE_METRICS_SEALS));
	if (vhi_sys.fstat(fd, &st))
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "a page of metrics: fstat failed");
	if (st.st_size <= 0 || (uint64_t)st.st_size > MAX_LEN)
		return wrong(VHI_SITE_METRICS_SMALL);
	p = vhi_sys.mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "a page of metrics can't be mapped");
	r->base = (const void VHI_SHM *)p;
	r->len = (size_t)st.st_size;
	return 0;
}

void vh_metrics_reader_free(struct vh_metrics_reader *r)
{
	if (!r)
		return;
	if (r->base)
		vhi_sys.munmap(VHI_SHM_RAW(void, r->base), r->len);
	vhi_free(r);
}

static int open_page(int fd, struct vh_metrics_reader **out)
{
	struct vh_metrics_reader *r = vhi_calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_metrics_reader: no memory");
	rc = map(r, fd);
	if (!rc)
		rc = read_head(r);
	if (rc)
		vh_metrics_reader_free(r);
	else
		*out = r;
	return rc;
}

vh_rc vh_metrics_reader_adopt(vh_fd fd, struct vh_metrics_reader **out)
{
	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_metrics_reader_adopt: out is NULL");
	if (vhi_sys.fcntl(fd, F_GETFD, 0) < 0)
		return vhi_fail(-EBADF, VH_ERROR_ARGUMENT, 0, "vh_metrics_reader_adopt: fd %d is not open", fd);
	return open_page(fd, out);
}

/* An fd of the nth link of the folder that leads to a page, or -errno. */
static int find_page(int dir, const char *path, uint32_t nth)
{
	char buf[4096] __attribute__((aligned(8)));
	char link[64], to[sizeof(LINK)];
	ssize_t n;

	while ((n = vhi_sys.getdents64(dir, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(buf + at);

			at += d->d_reclen;
			snprintf(link, sizeof(link), "%s/%.20s", path, d->d_name);
			if (vhi_sys.readlink(link, to, sizeof(to)) != (ssize_t)sizeof(to) ||
			    memcmp(to, LINK " ", sizeof(to)) || nth--)
				continue;
			dir = vhi_sys.open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* whatever it leads to by now */
			return dir < 0 ? -errno : dir;
		}
	}
	return n < 0 ? -errno : -ENOENT;
}

vh_rc vh_metrics_reader_open(uint32_t pid, uint32_t nth, struct vh_metrics_reader **out)
{
	char path[32];
	int dir, fd, rc;

	if (!out || !pid)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_metrics_reader_open: pid is 0 or out is NULL");
	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	dir = vhi_sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		rc = errno == ENOENT ? -ESRCH : -errno;
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: %s", path, vh_error_name(rc));
	}
	fd = find_page(dir, path, nth);
	vhi_fd_close(&dir);
	if (fd == -ENOENT)
		return vhi_fail(
			fd, VH_ERROR_STATE, 0,
			"process %u shows no metrics; a program with libvh does so when it calls vh_metrics_new()",
			pid);
	if (fd < 0)
		return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "a page of process %u: %s", pid, vh_error_name(fd));
	rc = open_page(fd, out);
	vhi_fd_close(&fd);
	return rc;
}

vh_rc vh_metrics_reader_get_info(struct vh_metrics_reader *r, struct vh_metrics_info *out)
{
	if (!r)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_metrics_reader_get_info: reader is NULL");
	return vhi_out_fill(out, &r->info, sizeof(r->info), "vh_metrics_reader_get_info");
}

static size_t slot_at(const struct vh_metrics_reader *r, uint32_t row)
{
	return r->head_bytes + (size_t)row * r->row_bytes;
}

#define IN_SLOT(r, row, member) at(r, slot_at(r, row) + offsetof(struct vhi_metrics_slot, member))

static uint32_t kind_of(const struct vh_metrics_reader *r, uint32_t row)
{
	return vhi_shm_load32(IN_SLOT(r, row, kind));
}

static void copy_slot(const struct vh_metrics_reader *r, uint32_t row, struct vh_metrics_row *out)
{
	out->kind = kind_of(r, row);
	out->connection = vhi_shm_load32(IN_SLOT(r, row, connection));
	out->n_values = vhi_shm_load32(IN_SLOT(r, row, n_values));
	for (uint32_t i = 0; i < VH_METRICS_MAX_PROPS; i++)
		out->values[i] = vhi_shm_load64((const uint64_t VHI_SHM *)IN_SLOT(r, row, values) + i);
	vhi_shm_copy_in(out->name, IN_SLOT(r, row, name), sizeof(out->name));
	vhi_shm_copy_in(out->address, IN_SLOT(r, row, address), sizeof(out->address));
}

static bool try_slot(const struct vh_metrics_reader *r, uint32_t row, struct vh_metrics_row *out)
{
	for (uint32_t i = 0; i < TRIES; i++) {
		const uint32_t seq = vhi_shm_load32(IN_SLOT(r, row, seq));

		vhi_full_fence();
		if (seq & 1) {
			vhi_relax();
			continue;
		}
		copy_slot(r, row, out);
		vhi_full_fence();
		if (vhi_shm_load32(IN_SLOT(r, row, seq)) == seq)
			return true;
	}
	return false;
}

/* False: it is being written, all the time. @left: milliseconds to wait for writers, of which it takes what it needs. */
static bool read_slot(const struct vh_metrics_reader *r, uint32_t row, uint32_t *left, struct vh_metrics_row *out)
{
	while (!try_slot(r, row, out)) {
		if (!*left)
			return false;
		vhi_sys.poll(NULL, 0, 1);
		--*left;
	}
	return true;
}

static int check_row(const struct vh_metrics_reader *r, struct vh_metrics_row *out)
{
	if (VHI_REFUSE(VHI_SITE_METRICS_OWNER, out->connection >= r->max_rows))
		return wrong(VHI_SITE_METRICS_OWNER);
	if (VHI_REFUSE(VHI_SITE_METRICS_VALUES, out->n_values > VH_METRICS_MAX_PROPS))
		return wrong(VHI_SITE_METRICS_VALUES);
	memset(out->values + out->n_values, 0, (VH_METRICS_MAX_PROPS - out->n_values) * sizeof(out->values[0]));
	printable(out->name, sizeof(out->name));
	printable(out->address, sizeof(out->address));
	return 0;
}

vh_count vhi_metrics_next(struct vh_metrics_reader *r, uint32_t kind, uint32_t from, uint32_t *left,
			  struct vh_metrics_row *out)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	int rc = vhi_out_check(out, "vh_metrics_reader_next");
	uint32_t n;

	if (rc)
		return rc;
	if (!r || !vhi_props(kind, &n))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_metrics_reader_next: reader is NULL, or there is no such kind of row");
	for (; from < r->max_rows; from++) {
		if (kind_of(r, from) != kind || !read_slot(r, from, left, &row) || row.kind != kind)
			continue;
		rc = check_row(r, &row);
		if (rc)
			return rc;
		row.row = from;
		row.now_ns = vhi_now_ns();
		rc = vhi_out_fill(out, &row, sizeof(row), "vh_metrics_reader_next");
		return rc ? rc : 1;
	}
	return 0;
}

vh_count vh_metrics_reader_next(struct vh_metrics_reader *r, uint32_t kind, uint32_t from, struct vh_metrics_row *out)
{
	uint32_t left = VHI_METRICS_WAIT_MS;

	return vhi_metrics_next(r, kind, from, &left, out);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Memory of another Xen domain, without Xen: the rules for mapping flags, and exactly what is asked of its devices. The
 * system calls are this program's; a memfd stands for what the hypervisor would map.
 */
#include "test_mem.h"

#include <errno.h>
#include <linux/ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

/* The header as it is installed needs two types that are not. */
typedef uint16_t domid_t;
typedef uint32_t grant_ref_t;
#include <xen/gntdev.h>

/* The same of xen/privcmd.h, written down from it once more. */
struct batch_v2 {
	unsigned int num;
	domid_t dom;
	uint64_t addr;
	const unsigned long *arr;
	int *err;
};
#define MMAPBATCH_V2 ((unsigned long)(sizeof(struct batch_v2) << 16 | 'P' << 8 | 4))

#define PAGE	UINT64_C(4096)
#define FOREIGN VH_MAP_XEN_FOREIGN
#define GRANT	VH_MAP_XEN_GRANT

static struct {
	unsigned batches, maps, unmaps;
	uint64_t first, next; /* frame or reference: of the first, and after the last one */
	uint64_t addr;	      /* of the first frame */
	uint32_t domain;
	int fails;	 /* errno value */
	int bad_frame;	 /* what one of the frames fails with */
	off_t mapped_at; /* of the last mmap */
	unsigned held;	 /* mappings */
	bool unmapped_first;
} xen;

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	if (xen.fails && request != IOCTL_GNTDEV_UNMAP_GRANT_REF) {
		errno = xen.fails;
		return -1;
	}
	if (request == MMAPBATCH_V2) {
		const struct batch_v2 *b = arg;

		if (!xen.batches++) {
			xen.first = xen.next = b->arr[0];
			xen.addr = b->addr;
		}
		assert_int_equal(b->addr, xen.addr + (xen.next - xen.first) * PAGE);
		for (unsigned i = 0; i < b->num; i++)
			assert_int_equal(b->arr[i], xen.next++);
		xen.domain = b->dom;
		b->err[b->num - 1] = xen.bad_frame;
	} else if (request == IOCTL_GNTDEV_MAP_GRANT_REF) {
		struct ioctl_gntdev_map_grant_ref *m = arg;
		const struct ioctl_gntdev_grant_ref *refs = m->refs;

		xen.maps++;
		xen.first = refs[0].ref;
		for (uint32_t i = 0; i < m->count; i++)
			assert_int_equal(refs[i].ref, xen.first + i);
		xen.next = xen.first + m->count;
		xen.domain = refs[m->count - 1].domid;
		m->index = 0x5000;
	} else {
		const struct ioctl_gntdev_unmap_grant_ref *u = arg;

		assert_int_equal(request, IOCTL_GNTDEV_UNMAP_GRANT_REF);
		assert_int_equal(u->index, 0x5000);
		assert_int_equal(u->count, xen.next - xen.first);
		xen.unmaps++;
		xen.unmapped_first = !xen.held;
	}
	return 0;
}

static void *fake_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	assert_int_equal(prot, PROT_READ | PROT_WRITE);
	assert_int_equal(flags, MAP_SHARED);
	xen.mapped_at = off;
	xen.held++;
	return mmap(addr, len, prot, flags, fd, 0);
}

static int fake_munmap(void *addr, size_t len)
{
	xen.held--;
	return munmap(addr, len);
}

static int fake_fcntl(int fd, int cmd, uintptr_t arg)
{
	return fcntl(fd, cmd, arg);
}

static int fake_fstatfs(int fd, struct statfs *st)
{
	return fstatfs(fd, st);
}

const struct vhi_sys vhi_sys = {
	.calloc = calloc,
	.free = free,
	.close = close,
	.fcntl = fake_fcntl,
	.fstat = fstat,
	.fstatfs = fake_fstatfs,
	.ftruncate = ftruncate,
	.ioctl = fake_ioctl,
	.mmap = fake_mmap,
	.munmap = fake_munmap,
	.madvise = madvise,
	.memfd_create = memfd_create,
	.sigaction = sigaction,
	.raise = raise,
};

static struct vh_region xen_region(uint64_t gpa, uint64_t len, uint32_t flags, uint32_t domain)
{
	struct vh_region r = region(gpa, 0x10000000, len, 0);

	r.map_flags = flags;
	r.map_domain = domain;
	return r;
}

static int fd;

static int set_up(void **state)
{
	(void)state;
	memset(&xen, 0, sizeof(xen));
	fd = file_new(16 * MIB);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fd_close(fd);
	return xen.held;
}

static void foreign_pages_are_mapped_by_frame_number(void **state)
{
	const struct vh_region r = xen_region(0x40000000, 1300 * PAGE, FOREIGN, 5);
	struct vh_mem *mem = mem_new();
	struct vh_region out;

	(void)state;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
	assert_int_equal(xen.batches, 3); /* of 512 */
	assert_int_equal(xen.first, 0x40000);
	assert_int_equal(xen.next, 0x40000 + 1300);
	assert_int_equal(xen.domain, 5);
	assert_int_equal(xen.mapped_at, 0);
	assert_int_equal(vh_mem_regions(mem, &out, 1), 1);
	assert_int_equal(out.host, xen.addr);
	assert_int_equal(out.map_flags, FOREIGN);
	assert_int_equal(out.map_domain, 5);
	assert_int_equal(out.page_size, PAGE);
	*(volatile uint8_t *)(uintptr_t)out.host = 1;
	/* As it was described it may be given on. */
	assert_int_equal(vh_mem_remove(mem, &out), 0);
	xen.batches = 0;
	assert_int_equal(vh_mem_add_fd(mem, fd, &out), 0);
	vh_mem_free(mem);
	assert_int_equal(xen.unmaps, 0);
}

static void granted_pages_are_mapped_by_reference_and_given_back(void **state)
{
	const struct vh_region r = xen_region(UINT64_C(1) << 63 | 0x123000, 3 * PAGE, GRANT, 7);
	struct vh_mem *mem = mem_new();

	(void)state;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
	assert_int_equal(xen.maps, 1);
	assert_int_equal(xen.first, 0x123);
	assert_int_equal(xen.next, 0x126);
	assert_int_equal(xen.domain, 7);
	assert_int_equal(xen.mapped_at, 0x5000);
	assert_int_equal(xen.unmaps, 0);
	vh_mem_free(mem);
	assert_int_equal(xen.unmaps, 1);
	assert_true(xen.unmapped_first);
}

static void what_the_hypervisor_refuses_is_told(void **state)
{
	const struct vh_region foreign = xen_region(0, 2 * PAGE, FOREIGN, 1), grant = xen_region(0, 2 * PAGE, GRANT, 1);
	struct vh_mem *mem = mem_new();
	struct vh_error e = {.size = sizeof(e)};

	(void)state;
	/* A file that is no device of Xen's says so. */
	xen.fails = ENOTTY;
	assert_int_equal(vh_mem_add_fd(mem, fd, &foreign), -ENOTTY);
	assert_int_equal(last_site(), VHI_SITE_MEM_XEN_MAP);
	assert_int_equal(vh_error_get(&e), 0);
	assert_non_null(strstr(e.text, "/dev/xen/privcmd"));
	assert_int_equal(vh_mem_add_fd(mem, fd, &grant), -ENOTTY);
	assert_int_equal(vh_error_get(&e), 0);
	assert_non_null(strstr(e.text, "/dev/xen/gntdev"));
	xen.fails = 0;
	xen.bad_frame = -ENOENT;
	assert_int_equal(vh_mem_add_fd(mem, fd, &foreign), -ENOENT);
	assert_int_equal(last_site(), VHI_SITE_MEM_XEN_MAP);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	assert_int_equal(xen.unmaps, 0);
	assert_int_equal(xen.held, 0);
	vh_mem_free(mem);
}

static void flags_that_make_no_sense_are_refused_before_anything_is_asked(void **state)
{
	const struct {
		struct vh_region r;
		int rc;
		uint32_t site;
	} rows[] = {
		{xen_region(0, PAGE, FOREIGN | GRANT, 1), -EINVAL, VHI_SITE_MEM_XEN_FLAGS},
		{xen_region(0, PAGE, 4, 1), -EINVAL, VHI_SITE_MEM_XEN_FLAGS},
		{xen_region(0, PAGE, 8, 1), -EINVAL, VHI_SITE_MEM_XEN_FLAGS},
		{xen_region(0, PAGE, 1u << 31, 1), -EINVAL, VHI_SITE_MEM_XEN_FLAGS},
		{xen_region(0, PAGE, VH_MAP_ON_DEMAND, 1), -EOPNOTSUPP, VHI_SITE_MEM_XEN_DEMAND},
		{xen_region(0, PAGE, GRANT | VH_MAP_ON_DEMAND, 1), -EOPNOTSUPP, VHI_SITE_MEM_XEN_DEMAND},
		{xen_region(0x800, PAGE, FOREIGN, 1), -EINVAL, VHI_SITE_MEM_XEN_PAGES},
		{xen_region(0, PAGE + 16, FOREIGN, 1), -EINVAL, VHI_SITE_MEM_XEN_PAGES},
		{xen_region(0x10, 2 * PAGE, GRANT, 1), -EINVAL, VHI_SITE_MEM_XEN_PAGES},
		{xen_region(0, PAGE, FOREIGN, 0x7ff0), -EINVAL, VHI_SITE_MEM_XEN_DOMAIN},
		{xen_region(0, PAGE, GRANT, 0x10000), -EINVAL, VHI_SITE_MEM_XEN_DOMAIN},
		{xen_region(0, 65537 * PAGE, GRANT, 1), -EINVAL, VHI_SITE_MEM_XEN_GRANTS},
		{xen_region(UINT64_C(0xffffffff) << 12, 2 * PAGE, GRANT, 1), -EINVAL, VHI_SITE_MEM_XEN_GRANTS},
	};
	struct vh_mem *mem = mem_new();

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(rows); i++) {
		assert_int_equal(vh_mem_add_fd(mem, fd, &rows[i].r), rows[i].rc);
		assert_int_equal(last_site(), rows[i].site);
	}
	assert_int_equal(xen.batches + xen.maps, 0);
	vh_mem_free(mem);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(foreign_pages_are_mapped_by_frame_number),
		T(granted_pages_are_mapped_by_reference_and_given_back),
		T(what_the_hypervisor_refuses_is_told),
		T(flags_that_make_no_sense_are_refused_before_anything_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

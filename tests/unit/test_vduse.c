// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * VDUSE without a kernel that has it: the system calls of this program are the kernel, and the driver. A device that echoes is
 * behind it: what a request reads is written back, one higher.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The real ones, of which some are replaced. */
#define vhi_sys vhi_real_sys
#include "../../src/base/sys.c"
#undef vhi_sys

#include <poll.h>

#include "vh/vh.h"
#include "vhi_vduse_uapi.h"

/* Written by a constructor, before anybody looks. */
struct vhi_real_sys vhi_sys;

#include "vhi_metrics.h"

#define NUM	 16u
#define QUEUES	 2u
#define FEATURES (UINT64_C(1) << VH_F_VERSION_1 | UINT64_C(1) << VH_F_ACCESS_PLATFORM)
#define MEM_SIZE 0x40000u
#define IOVA	 UINT64_C(0x100000000) /* of the memory */
#define DESC(q)	 (IOVA + (q)*0x4000u)
#define DATA	 0x20000u /* offset of a buffer of the driver */
#define RUNS	 15u
#define BOUNCE	 0x4000u /* bytes of the bounce buffer of an address space */
#define SPACES	 3u

enum {
	SITE_REQUEST = 1200,
	SITE_KIND,
	SITE_FEATURES,
	SITE_DEVICE,
	SITE_QUEUE,
	SITE_GROUP,
	SITE_RANGE,
	SITE_NUM,
	SITE_ENTRY,
	SITE_RUNNING
};

/* What the kernel knows. */
static struct kernel {
	bool exists, absent, busy, broken;
	int control, mine, theirs; /* mine: the kernel's end of the device's fd */
	uint64_t api, features;
	uint32_t status, groups, nas, device_id;
	struct vhi_vduse_vq_info info[QUEUES];
	uint16_t max_size[QUEUES];
	uint32_t group[QUEUES];
	int kick[QUEUES];
	uint32_t interrupts[QUEUES], config_irqs, config_sets, maps, maps2;
	uint8_t config[256];
	uint64_t offered;
	int mem;
	uint8_t *at;
	bool lie; /* of what it maps */
	bool unmappable;
	uint64_t piece; /* of the data: mapped in pieces of so many bytes, 0 = all at once */
	uint32_t fail;	/* request number of an ioctl that fails */
	int fail_errno;
	uint32_t next_id;
	/* Linux drivers' data is bounced, from address 0 on; rings are not. */
	bool bounces, others; /* others: memory that is no bounce buffer has that address */
	int bounce;	      /* the kernel's pages, in a row for each space */
	uint8_t *pages;
	uint8_t *umem[SPACES]; /* what it has of the process's in place of them */
	uint32_t regs, deregs, infos;
} k;

static int refuse_with(int e)
{
	errno = e;
	return -1;
}

static int control_ioctl(uint32_t request, void *arg)
{
	struct vhi_vduse_dev_config *c = arg;

	switch (request) {
	case VHI_VDUSE_GET_API_VERSION:
		*(uint64_t *)arg = k.api;
		return 0;
	case VHI_VDUSE_SET_API_VERSION:
		assert_true(*(uint64_t *)arg <= k.api);
		return 0;
	case VHI_VDUSE_CREATE_DEV:
		if (k.exists)
			return refuse_with(EEXIST);
		k.exists = true;
		k.offered = c->features;
		k.device_id = c->device_id;
		k.groups = c->ngroups;
		k.nas = c->nas;
		assert_int_equal(c->vq_num, QUEUES);
		assert_int_equal(c->config_size, sizeof(k.config));
		memcpy(k.config, c->config, sizeof(k.config));
		return 0;
	case VHI_VDUSE_DESTROY_DEV:
		if (!k.exists)
			return refuse_with(EINVAL);
		k.exists = false;
		return 0;
	}
	return refuse_with(ENOTTY);
}

/* A driver's data. */
static uint8_t *bounced(uint32_t space)
{
	return k.umem[space] ? k.umem[space] : k.pages + space * BOUNCE;
}

static int register_umem(const struct vhi_vduse_iova_umem *u)
{
	void *pages = (void *)(uintptr_t)u->uaddr;

	if (!k.bounces || k.others || u->iova || u->size != BOUNCE || u->uaddr % 4096 || u->asid >= SPACES)
		return refuse_with(EINVAL);
	if (k.umem[u->asid])
		return refuse_with(EEXIST);
	/* Another mapping of the same pages, whatever becomes of that one. */
	pages = mremap(pages, 0, BOUNCE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(pages, MAP_FAILED);
	memcpy(pages, bounced(u->asid), BOUNCE);
	k.umem[u->asid] = pages;
	k.regs++;
	return 0;
}

static void take_pages_back(uint32_t space)
{
	memcpy(k.pages + space * BOUNCE, k.umem[space], BOUNCE);
	munmap(k.umem[space], BOUNCE);
	k.umem[space] = NULL;
}

static int deregister_umem(const struct vhi_vduse_iova_umem *u)
{
	if (u->iova || u->size != BOUNCE || u->asid >= SPACES)
		return refuse_with(EINVAL);
	if (!k.umem[u->asid])
		return refuse_with(ENOENT);
	take_pages_back(u->asid);
	k.deregs++;
	return 0;
}

static int iova_info(struct vhi_vduse_iova_info *i)
{
	k.infos++;
	if (i->asid >= SPACES || !k.bounces || i->start >= BOUNCE)
		return refuse_with(EINVAL);
	i->start = 0;
	i->last = BOUNCE - 1;
	i->capability = k.others ? 0 : VHI_VDUSE_IOVA_CAP_UMEM;
	return 0;
}

static int map(uint64_t start, uint64_t *first, uint64_t *last, uint64_t *offset, uint8_t *perm)
{
	if (k.bounces && start < BOUNCE) {
		*first = 0;
		*last = BOUNCE - 1;
		*offset = 0;
		*perm = VHI_VDUSE_ACCESS_RW;
		k.maps++;
		return dup(k.bounce);
	}
	if (start < IOVA || start >= IOVA + MEM_SIZE)
		return refuse_with(EINVAL);
	*first = k.lie ? IOVA + MEM_SIZE : IOVA;
	*last = IOVA + MEM_SIZE - 1 + (k.lie ? MEM_SIZE : 0);
	if (k.piece && start >= IOVA + DATA) {
		*first = start - (start - IOVA - DATA) % k.piece;
		*last = *first + k.piece - 1;
	} else if (k.piece) {
		*last = IOVA + DATA - 1;
	}
	*offset = k.lie ? 0 : *first - IOVA;
	*perm = VHI_VDUSE_ACCESS_RW;
	k.maps++;
	return k.unmappable ? eventfd(0, EFD_CLOEXEC) : dup(k.mem);
}

static int device_ioctl(uint32_t request, void *arg)
{
	struct vhi_vduse_iotlb_entry *e = arg;
	struct vhi_vduse_iotlb_entry_v2 *e2 = arg;
	struct vhi_vduse_vq_config *setup = arg;
	struct vhi_vduse_config_data *config = arg;
	struct vhi_vduse_vq_eventfd *kick = arg;
	struct vhi_vduse_vq_info *info = arg;

	if (k.broken)
		return refuse_with(EPERM);
	switch (request) {
	case VHI_VDUSE_IOTLB_GET_FD:
		return map(e->start, &e->start, &e->last, &e->offset, &e->perm);
	case VHI_VDUSE_IOTLB_GET_FD2:
		k.maps2 += e2->asid;
		return map(e2->start, &e2->start, &e2->last, &e2->offset, &e2->perm);
	case VHI_VDUSE_IOTLB_GET_INFO:
		return iova_info(arg);
	case VHI_VDUSE_IOTLB_REG_UMEM:
		return register_umem(arg);
	case VHI_VDUSE_IOTLB_DEREG_UMEM:
		return deregister_umem(arg);
	case VHI_VDUSE_DEV_GET_FEATURES:
		*(uint64_t *)arg = k.features;
		return 0;
	case VHI_VDUSE_DEV_SET_CONFIG:
		memcpy(k.config + config->offset, config->buffer, config->length);
		k.config_sets++;
		return 0;
	case VHI_VDUSE_DEV_INJECT_CONFIG_IRQ:
		k.config_irqs++;
		return k.status & 4 ? 0 : refuse_with(EINVAL);
	case VHI_VDUSE_VQ_SETUP:
		k.max_size[setup->index] = setup->max_size;
		k.group[setup->index] = setup->group;
		return 0;
	case VHI_VDUSE_VQ_GET_INFO:
		*info = k.info[info->index];
		return 0;
	case VHI_VDUSE_VQ_SETUP_KICKFD:
		if (k.kick[kick->index] >= 0)
			close(k.kick[kick->index]);
		k.kick[kick->index] = kick->fd < 0 ? -1 : dup(kick->fd);
		return 0;
	case VHI_VDUSE_VQ_INJECT_IRQ:
		k.interrupts[*(uint32_t *)arg]++;
		return 0;
	}
	return refuse_with(ENOTTY);
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	if (fd != k.control && fd != k.theirs)
		return vhi_real_sys.ioctl(fd, request, arg);
	if (k.fail && k.fail == (uint32_t)request)
		return refuse_with(k.fail_errno);
	return fd == k.control ? control_ioctl((uint32_t)request, arg) : device_ioctl((uint32_t)request, arg);
}

static int fake_open(const char *path, int flags)
{
	int ends[2];

	if (strncmp(path, "/dev/vduse/", 11))
		return vhi_real_sys.open(path, flags);
	if (k.absent)
		return refuse_with(ENOENT);
	if (!strcmp(path + 11, "control"))
		return k.control = memfd_create("control", MFD_CLOEXEC);
	assert_string_equal(path, "/dev/vduse/test");
	assert_true(flags & O_NONBLOCK);
	if (!k.exists || k.busy)
		return refuse_with(k.busy ? EBUSY : ENODEV);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	k.mine = ends[1];
	return k.theirs = ends[0];
}

static int fake_close(int fd)
{
	if (fd == k.control)
		k.control = -1;
	if (fd == k.theirs) {
		k.theirs = -1;
		close(k.mine);
		k.mine = -1;
		for (uint32_t i = 0; i < SPACES; i++)
			if (k.umem[i])
				take_pages_back(i);
	}
	return close(fd);
}

__attribute__((constructor)) static void replace(void)
{
	vhi_sys = vhi_real_sys;
	vhi_sys.open = fake_open;
	vhi_sys.close = fake_close;
	vhi_sys.ioctl = fake_ioctl;
}

/* The device. */
static struct echo {
	uint64_t features, features_seen;
	int32_t features_rc;
	uint32_t resets, started, stopped, resubmitted;
	bool hold; /* requests stay in flight */
	uint64_t held[NUM];
	uint32_t n_held;
	struct vh_queue *of[NUM];
	uint8_t config;
} echo;

static int32_t get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	(void)ctx;
	(void)later;
	assert_int_equal(offset, 0);
	memset(buf, echo.config, len);
	return 0;
}

static int32_t set_features(void *ctx, uint64_t features, uint64_t later)
{
	(void)ctx;
	(void)later;
	echo.features_seen = features;
	return later ? echo.features_rc : 0;
}

static int32_t reset(void *ctx, uint64_t later)
{
	(void)ctx;
	(void)later;
	echo.resets++;
	return 0;
}

static void queue_started(void *ctx, struct vh_queue *q, uint32_t index)
{
	(void)ctx;
	(void)q;
	(void)index;
	echo.started++;
}

static void queue_stopped(void *ctx, struct vh_queue *q, uint32_t index)
{
	(void)ctx;
	(void)q;
	(void)index;
	echo.stopped++;
}

static int32_t on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vh_req reqs[4];
	int32_t n;

	(void)ctx;
	(void)index;
	(void)budget;
	while ((n = vh_queue_pop(q, reqs, 4)) > 0)
		for (int32_t i = 0; i < n; i++) {
			struct vh_cpl cpl = {.token = reqs[i].token, .written = 1};
			const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)reqs[i].segs;

			echo.resubmitted += !!(reqs[i].flags & VH_REQ_RESUBMITTED);
			*(uint8_t *)(uintptr_t)segs[1].addr = (uint8_t)(*(const uint8_t *)(uintptr_t)segs[0].addr + 1);
			if (echo.hold) {
				echo.of[echo.n_held] = q;
				echo.held[echo.n_held++] = cpl.token;
			} else {
				assert_int_equal(vh_queue_push(q, &cpl, 1), 0);
			}
		}
	return n;
}

static void let_go(void)
{
	for (uint32_t i = 0; i < echo.n_held; i++) {
		struct vh_cpl cpl = {.token = echo.held[i], .written = 1};

		vh_queue_push(echo.of[i], &cpl, 1);
	}
	echo.n_held = 0;
}

static struct vh_device *device_of(uint32_t type, uint64_t features)
{
	const struct vh_device_opts opts = {.size = sizeof(opts),
					    .type = type,
					    .features = FEATURES | features,
					    .max_queues = QUEUES,
					    .max_queue_size = NUM};
	const struct vh_device_ops ops = {.size = sizeof(ops),
					  .get_config = get_config,
					  .set_features = set_features,
					  .reset = reset,
					  .queue_started = queue_started,
					  .queue_stopped = queue_stopped,
					  .on_batch = on_batch};
	struct vh_device *dev;

	assert_int_equal(vh_device_new(&opts, &ops, NULL, &dev), 0);
	return dev;
}

static struct vh_device *device_new(void)
{
	return device_of(VH_TYPE_BLK, UINT64_C(1) << 11 | UINT64_C(1) << 9);
}

/* The fixture: a device, and what the kernel and the driver do. */
static struct vh_device *dev;
static struct vh_vduse *v;
static int records;

static uint32_t data_at = DATA; /* of a request, less its number */

static int setup(void **state)
{
	(void)state;
	k = (struct kernel){.control = -1, .mine = -1, .theirs = -1, .kick = {-1, -1}, .features = FEATURES};
	data_at = DATA;
	k.mem = memfd_create("memory", MFD_CLOEXEC);
	assert_int_equal(ftruncate(k.mem, MEM_SIZE), 0);
	k.at = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, k.mem, 0);
	assert_ptr_not_equal(k.at, MAP_FAILED);
	k.bounce = memfd_create("bounce", MFD_CLOEXEC);
	assert_int_equal(ftruncate(k.bounce, SPACES * BOUNCE), 0);
	k.pages = mmap(NULL, SPACES * BOUNCE, PROT_READ | PROT_WRITE, MAP_SHARED, k.bounce, 0);
	assert_ptr_not_equal(k.pages, MAP_FAILED);
	for (uint32_t i = 0; i < QUEUES; i++)
		k.info[i] = (struct vhi_vduse_vq_info){.index = i,
						       .num = NUM,
						       .desc_addr = DESC(i),
						       .driver_addr = DESC(i) + 0x1000,
						       .device_addr = DESC(i) + 0x2000,
						       .ready = 1};
	memset(&echo, 0, sizeof(echo));
	records = memfd_create("records", MFD_CLOEXEC);
	dev = device_new();
	v = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vh_vduse_free(v);
	vh_device_free(dev);
	munmap(k.at, MEM_SIZE);
	close(k.mem);
	munmap(k.pages, SPACES * BOUNCE);
	close(k.bounce);
	close(records);
	for (uint32_t i = 0; i < QUEUES; i++)
		if (k.kick[i] >= 0)
			close(k.kick[i]);
	return 0;
}

static void open_with(const struct vh_vduse_opts *opts)
{
	assert_int_equal(vh_vduse_new(opts, "test", dev, records, &v), 0);
}

static struct vh_vduse_info info(void)
{
	struct vh_vduse_info i = {.size = sizeof(i)};

	assert_int_equal(vh_vduse_get_info(v, &i), 0);
	return i;
}

/* Until there is nothing to do any more. */
static void serve(void)
{
	struct pollfd p = {.fd = vh_vduse_fd(v), .events = POLLIN};

	while (vh_vduse_dispatch(v) == 1 || poll(&p, 1, 0) > 0)
		;
}

static uint32_t send_message(struct vhi_vduse_dev_request *req)
{
	req->request_id = ++k.next_id;
	assert_int_equal(write(k.mine, req, sizeof(*req)), sizeof(*req));
	serve();
	return req->request_id;
}

/* The answer to a message; false: none yet. */
static bool answered(uint32_t id, struct vhi_vduse_dev_response *rsp)
{
	ssize_t n = read(k.mine, rsp, sizeof(*rsp));

	if (n < 0)
		return false;
	assert_int_equal(n, sizeof(*rsp));
	assert_int_equal(rsp->request_id, id);
	return true;
}

/* A message whose answer comes at once: its result. */
static uint32_t ask(struct vhi_vduse_dev_request req)
{
	struct vhi_vduse_dev_response rsp;

	assert_true(answered(send_message(&req), &rsp));
	return rsp.result;
}

static uint32_t set_status(uint8_t status)
{
	uint32_t failed = ask((struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_SET_STATUS, .s.status = status});

	k.status = failed ? k.status : status;
	return failed;
}

static void run_driver(void)
{
	assert_int_equal(set_status(3), 0);
	assert_int_equal(set_status(11), 0);
	k.status = RUNS; /* the kernel sets it before it asks */
	assert_int_equal(set_status(RUNS), 0);
}

static uint16_t *u16_at(uint32_t q, uint32_t offset)
{
	return (uint16_t *)(k.at + q * 0x4000u + offset);
}

/* A request of two descriptors: a byte to read, and one to write. */
static void request(uint32_t q, uint8_t byte)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} *desc = (void *)(k.at + q * 0x4000u);
	uint16_t *avail = u16_at(q, 0x1000), idx = avail[1];
	const uint16_t head = (uint16_t)(2 * idx % NUM);
	const uint64_t base = k.bounces ? 0 : IOVA + data_at;
	uint8_t *data = k.bounces ? bounced(0) : k.at + data_at;

	data[head] = byte;
	data[head + 1u] = 0;
	desc[head].addr = base + head;
	desc[head].len = 1;
	desc[head].flags = 1;
	desc[head].next = (uint16_t)(head + 1);
	desc[head + 1].addr = base + head + 1u;
	desc[head + 1].len = 1;
	desc[head + 1].flags = 2;
	avail[2 + idx % NUM] = head;
	__atomic_store_n(&avail[1], (uint16_t)(idx + 1), __ATOMIC_RELEASE);
	if (k.kick[q] >= 0) {
		const uint64_t one = 1;

		assert_int_equal(write(k.kick[q], &one, sizeof(one)), sizeof(one));
	}
}

static uint16_t used(uint32_t q)
{
	return __atomic_load_n(u16_at(q, 0x2002), __ATOMIC_ACQUIRE);
}

static bool event_of(uint32_t kind, struct vh_event *e)
{
	*e = (struct vh_event){.size = sizeof(*e)};
	while (vh_vduse_next_event(v, e) == 1)
		if (e->kind == kind)
			return true;
	return false;
}

static void a_device_is_made(void **state)
{
	(void)state;
	echo.config = 7;
	open_with(NULL);
	assert_int_equal(k.device_id, VH_TYPE_BLK);
	assert_int_equal(k.config[255], 7);
	assert_int_equal(k.max_size[1], NUM);
	assert_true(k.offered & UINT64_C(1) << VH_F_ACCESS_PLATFORM);
	assert_true(k.offered & UINT64_C(1) << 9);
	assert_false(k.offered & UINT64_C(1) << 11); /* CONFIG_WCE */
	assert_false(k.offered & UINT64_C(1) << VH_F_RING_RESET);
	assert_int_equal(k.groups, 0);
	assert_int_equal(info().offered, k.offered);
	assert_int_equal(info().taken_up, 0);
	vh_vduse_free(v);
	v = NULL;
	assert_true(k.exists);
	assert_int_equal(vh_vduse_remove("test"), 0);
	assert_int_equal(vh_vduse_remove("test"), -ENODEV);
}

/* The kernel takes none that its driver configures by a queue; so there is no queue beside those of the device. */
static void case_236_a_network_device_has_no_control_queue(void **state)
{
	const uint64_t control = UINT64_C(0x7f) << 17; /* CTRL_VQ, what hangs on it, MQ */

	(void)state;
	vh_device_free(dev);
	dev = device_of(VH_TYPE_NET, control | 1u << 5);
	open_with(NULL);
	assert_int_equal(k.device_id, VH_TYPE_NET);
	assert_int_equal(k.offered & control, 0);
	assert_true(k.offered & 1u << 5);
	assert_int_equal(info().n_queues, QUEUES);
}

static void a_driver_comes_and_goes(void **state)
{
	struct vh_event e;

	(void)state;
	open_with(NULL);
	run_driver();
	assert_int_equal(info().features, FEATURES);
	assert_int_equal(info().running, QUEUES);
	assert_int_equal(echo.features_seen, FEATURES);
	for (uint8_t n = 1; n <= 40; n++) {
		request(n & 1, n);
		serve();
	}
	assert_int_equal(used(0) + used(1), 40);
	assert_int_equal(k.interrupts[0] + k.interrupts[1], 40);
	assert_int_equal(info().interrupts, 40);
	assert_int_equal(k.maps, 1); /* all of it at once, when it was missed */
	assert_int_equal(k.at[DATA + 2 * 19 % NUM + 1], 41);
	assert_true(event_of(VH_EVENT_STARTED, &e));
	assert_int_equal(e.reason, VH_START_DRIVER_OK);
	assert_int_equal(set_status(0), 0);
	assert_int_equal(echo.resets, 1);
	assert_int_equal(echo.stopped, QUEUES);
	assert_int_equal(info().regions, 0);
	assert_int_equal(info().features, 0);
	/* And again, from the beginning of its rings. */
	memset(k.at, 0, MEM_SIZE);
	run_driver();
	request(0, 5);
	serve();
	assert_int_equal(used(0), 1);
	assert_int_equal(k.maps, 2);
}

static void features_are_checked(void **state)
{
	(void)state;
	open_with(NULL);
	assert_int_equal(set_status(3), 0);
	k.features |= UINT64_C(1) << 33 | UINT64_C(1) << 11;
	assert_int_equal(set_status(11), VHI_VDUSE_REQ_RESULT_FAILED);
	k.features = FEATURES;
	echo.features_rc = -EINVAL;
	assert_int_equal(set_status(11), VHI_VDUSE_REQ_RESULT_FAILED);
	echo.features_rc = 0;
	k.fail = VHI_VDUSE_DEV_GET_FEATURES;
	k.fail_errno = EIO;
	assert_int_equal(set_status(11), VHI_VDUSE_REQ_RESULT_FAILED);
	k.fail = 0;
	assert_int_equal(info().status, 3);
	assert_int_equal(info().refused, 3);
	assert_int_equal(set_status(11), 0);
}

static void nonsense_is_refused(void **state)
{
	struct vhi_vduse_dev_request req = {.type = 17};

	struct vh_error e = {.size = sizeof(e)};

	(void)state;
	open_with(NULL);
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	req.type = UINT32_MAX;
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	req = (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_GET_VQ_STATE, .vq_state.index = QUEUES};
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	req = (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_SET_VQ_GROUP_ASID, .vq_group_asid.group = 1};
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	req = (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_SET_VQ_GROUP_ASID, .vq_group_asid.asid = 1};
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	req = (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_UPDATE_IOTLB, .iova_v2 = {.start = 2, .last = 1}};
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	req = (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_UPDATE_IOTLB, .iova_v2 = {.last = 1, .asid = 1}};
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED);
	assert_int_equal(info().refused, 7);
	/* It is served all the same. */
	run_driver();
	request(0, 1);
	serve();
	assert_int_equal(used(0), 1);
	assert_int_equal(write(k.mine, "short", 5), 5);
	assert_int_equal(vh_vduse_dispatch(v), -EPROTO);
	vh_error_get(&e);
	assert_int_equal(e.site, SITE_REQUEST);
	assert_non_null(strstr(e.text, "not whole"));
	assert_int_equal(vh_vduse_dispatch(v), -EPROTO);
}

static void a_ring_that_is_too_large_does_not_start(void **state)
{
	struct vh_event e;

	(void)state;
	open_with(NULL);
	k.info[0].num = 2 * NUM;
	run_driver();
	assert_int_equal(info().running, 1);
	assert_true(event_of(VH_EVENT_BROKEN, &e));
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.value, SITE_NUM);
}

/* vhost-vdpa may make a queue ready after DRIVER_OK, without a word. */
static void a_queue_that_gets_ready_late_starts_with_its_kick(void **state)
{
	(void)state;
	open_with(NULL);
	k.info[1].ready = 0;
	run_driver();
	assert_int_equal(info().running, 1);
	k.info[1].ready = 1;
	request(1, 3);
	serve();
	assert_int_equal(info().running, 2);
	assert_int_equal(used(1), 1);
}

static void memory_that_is_not_what_was_asked_for_breaks_the_queue(void **state)
{
	struct vh_event e;

	(void)state;
	open_with(NULL);
	k.lie = true;
	run_driver();
	request(0, 1);
	serve();
	assert_true(event_of(VH_EVENT_BROKEN, &e));
	assert_int_equal(e.reason, -EFAULT);
	assert_int_equal(used(0), 0);
	assert_int_equal(info().regions, 0);
	assert_int_equal(set_status(0), 0);
	while (event_of(VH_EVENT_IOTLB_FAULT, &e))
		;
	k.lie = false;
	run_driver();
	serve();
	assert_int_equal(used(0), 1);
	/* An address that nobody has. */
	*(uint64_t *)(k.at + 2 * 16) = 1;
	u16_at(0, 0x1000)[2 + 1] = 2;
	*(uint32_t *)(k.at + 2 * 16 + 8) = 1;
	u16_at(0, 0x1000)[1]++;
	assert_int_equal(write(k.kick[0], &(uint64_t){1}, 8), 8);
	serve();
	assert_true(event_of(VH_EVENT_IOTLB_FAULT, &e));
	assert_int_equal(e.value, 1);
}

static void memory_that_can_not_be_mapped_breaks_the_queue(void **state)
{
	struct vh_event e;

	(void)state;
	open_with(NULL);
	k.unmappable = true;
	run_driver();
	request(0, 1);
	serve();
	assert_true(event_of(VH_EVENT_BROKEN, &e));
	assert_int_equal(used(0), 0);
}

/* The kernel makes its pieces as it likes, and there may be more of them than are mapped at a time. */
static void memory_comes_in_pieces(void **state)
{
	(void)state;
	open_with(NULL);
	k.piece = 64;
	run_driver();
	for (uint32_t i = 0; i < 600; i++) {
		data_at = DATA + 64 * i;
		request(0, (uint8_t)i);
		serve();
		assert_int_equal(used(0), i + 1);
	}
	assert_true(k.maps > 600);
	assert_true(info().regions <= VH_MEM_MAX_REGIONS);
	/* Without a word they are others. */
	k.piece = 4096;
	data_at = DATA + 64 * 700;
	request(0, 1);
	serve();
	data_at = DATA + 64 * 599;
	request(0, 1);
	serve();
	data_at = DATA + 64 * 589 + 48;
	request(0, 1);
	serve();
	assert_int_equal(used(0), 603);
	assert_int_equal(info().running, QUEUES);
}

static struct vhi_vduse_dev_request update_all(void)
{
	return (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_UPDATE_IOTLB, .iova_v2 = {.last = UINT64_MAX}};
}

static void taking_memory_back_waits_for_requests(void **state)
{
	struct vhi_vduse_dev_request req = update_all();
	struct vhi_vduse_dev_response rsp;
	uint32_t id;

	(void)state;
	open_with(NULL);
	run_driver();
	assert_int_equal(ask(update_all()), 0);
	assert_int_equal(k.maps, 2); /* rings are looked for at once */
	echo.hold = true;
	request(0, 1);
	serve();
	assert_int_equal(echo.n_held, 1);
	id = send_message(&req);
	assert_false(answered(id, &rsp));
	assert_int_equal(info().owed, 1);
	request(0, 2); /* comes only with new memory, which is not asked for yet */
	serve();
	assert_int_equal(echo.n_held, 1);
	assert_int_equal(k.maps, 2);
	let_go();
	serve();
	assert_true(answered(id, &rsp));
	assert_int_equal(rsp.result, 0);
	assert_int_equal(k.maps, 3);
	assert_int_equal(echo.n_held, 1);
	let_go();
	serve();
	assert_int_equal(used(0), 2);
}

static void who_does_not_let_go_in_time_loses_its_queue(void **state)
{
	const struct vh_vduse_opts opts = {.size = sizeof(opts), .drain_timeout_ms = 1};
	struct vhi_vduse_dev_request req = update_all();
	struct vhi_vduse_dev_response rsp;
	struct vh_event e;
	uint32_t id;

	(void)state;
	open_with(&opts);
	run_driver();
	echo.hold = true;
	request(0, 1);
	serve();
	id = send_message(&req);
	while (!answered(id, &rsp))
		assert_true(vh_vduse_wait(v, 1000) >= 0);
	serve();
	assert_true(event_of(VH_EVENT_BROKEN, &e));
	assert_int_equal(e.reason, -ETIMEDOUT);
	/* The same for a reset. */
	req = (struct vhi_vduse_dev_request){.type = VHI_VDUSE_MSG_SET_STATUS};
	id = send_message(&req);
	while (!answered(id, &rsp))
		assert_true(vh_vduse_wait(v, 1000) >= 0);
	assert_int_equal(rsp.result, 0);
	assert_int_equal(info().running, 0);
	let_go();
	assert_int_equal(used(0), 0);
}

static void a_reset_waits_for_requests(void **state)
{
	struct vhi_vduse_dev_request req = {.type = VHI_VDUSE_MSG_SET_STATUS};
	struct vhi_vduse_dev_response rsp;
	uint32_t id;

	(void)state;
	open_with(NULL);
	run_driver();
	echo.hold = true;
	request(1, 1);
	serve();
	id = send_message(&req);
	assert_false(answered(id, &rsp));
	let_go();
	serve();
	assert_true(answered(id, &rsp));
	assert_int_equal(rsp.result, 0);
	assert_int_equal(used(1), 1);
	assert_int_equal(echo.resets, 1);
}

static void where_a_queue_stands(void **state)
{
	struct vhi_vduse_dev_request req = {.type = VHI_VDUSE_MSG_GET_VQ_STATE};
	struct vhi_vduse_dev_response rsp;
	uint32_t id;

	(void)state;
	open_with(NULL);
	k.info[0].split.avail_index = 7;
	id = send_message(&req);
	assert_true(answered(id, &rsp));
	assert_int_equal(rsp.vq_state.split.avail_index, 7); /* where it shall begin */
	k.info[0].split.avail_index = 0;
	run_driver();
	for (uint8_t n = 0; n < 3; n++)
		request(0, n);
	serve();
	id = send_message(&req);
	assert_true(answered(id, &rsp));
	assert_int_equal(rsp.vq_state.split.avail_index, 3);
	/* And it goes on. */
	request(0, 9);
	serve();
	assert_int_equal(used(0), 4);
	echo.hold = true;
	request(0, 9);
	serve();
	id = send_message(&req);
	assert_false(answered(id, &rsp));
	let_go();
	serve();
	assert_true(answered(id, &rsp));
	assert_int_equal(rsp.vq_state.split.avail_index, 5);
}

static void requests_in_flight_are_done_by_the_next(void **state)
{
	struct vh_event e;

	(void)state;
	open_with(NULL);
	run_driver();
	request(0, 1);
	serve();
	echo.hold = true;
	request(0, 2);
	request(0, 3);
	request(1, 4);
	serve();
	assert_int_equal(echo.n_held, 3);
	/* As if it had died: what it would push now is lost. */
	vh_vduse_free(v);
	v = NULL;
	echo.n_held = 0;
	vh_device_free(dev);
	dev = device_new();
	assert_int_equal(used(0), 1);
	echo.hold = false;
	request(0, 5);
	memset(k.interrupts, 0, sizeof(k.interrupts));
	assert_int_equal(vh_vduse_new(NULL, "test", dev, -1, &v), -ENODATA);
	k.features |= UINT64_C(1) << 11;
	assert_int_equal(vh_vduse_new(NULL, "test", dev, records, &v), -EINVAL);
	k.features = FEATURES;
	open_with(NULL);
	assert_int_equal(info().taken_up, 1);
	assert_int_equal(info().status, RUNS);
	serve();
	assert_int_equal(echo.resubmitted, 3);
	assert_int_equal(used(0), 4);
	assert_int_equal(used(1), 1);
	assert_true(k.interrupts[0] && k.interrupts[1]);
	assert_true(event_of(VH_EVENT_RESUBMITTED, &e));
	/* A driver that begins anew finds nothing of that. */
	assert_int_equal(set_status(0), 0);
	memset(k.at, 0, MEM_SIZE);
	run_driver();
	request(0, 1);
	serve();
	assert_int_equal(used(0), 1);
	assert_int_equal(echo.resubmitted, 3);
}

static void what_can_not_be_opened(void **state)
{
	const struct vh_vduse_opts make = {.size = sizeof(make), .flags = VH_VDUSE_MAKE};
	const struct vh_vduse_opts take = {.size = sizeof(take), .flags = VH_VDUSE_TAKE_UP};
	const struct vh_vduse_opts spaces = {.size = sizeof(spaces), .address_spaces = 2};
	const struct vh_vduse_opts both = {.size = sizeof(both), .flags = 3};
	const uint32_t asked[] = {VHI_VDUSE_GET_API_VERSION, VHI_VDUSE_SET_API_VERSION, VHI_VDUSE_CREATE_DEV,
				  VHI_VDUSE_VQ_SETUP};

	(void)state;
	k.absent = true;
	assert_int_equal(vh_vduse_new(NULL, "test", dev, -1, &v), -ENOENT);
	assert_int_equal(vh_vduse_remove("test"), -ENOENT);
	k.absent = false;
	assert_int_equal(vh_vduse_new(&take, "test", dev, -1, &v), -ENODEV);
	assert_int_equal(vh_vduse_new(&both, "test", dev, -1, &v), -EINVAL);
	assert_int_equal(vh_vduse_new(&spaces, "test", dev, -1, &v), -ENOTSUP);
	assert_int_equal(vh_vduse_new(NULL, "", dev, -1, &v), -EINVAL);
	assert_int_equal(vh_vduse_new(NULL, "a/b", dev, -1, &v), -EINVAL);
	assert_int_equal(vh_vduse_new(NULL, "control", dev, -1, &v), -EINVAL);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		k.fail = asked[i];
		k.fail_errno = EPERM;
		assert_int_equal(vh_vduse_new(NULL, "test", dev, -1, &v), -EPERM);
		assert_false(k.exists);
		assert_int_equal(k.theirs, -1);
		assert_int_equal(k.control, -1);
	}
	k.fail = 0;
	k.exists = true;
	assert_int_equal(vh_vduse_new(&make, "test", dev, -1, &v), -EEXIST);
	k.busy = true;
	assert_int_equal(vh_vduse_new(NULL, "test", dev, -1, &v), -EBUSY);
	k.busy = false;
	/* Made by somebody who died before its queues were set up. */
	memset(k.max_size, 0, sizeof(k.max_size));
	open_with(&take);
	assert_true(k.max_size[0] && k.max_size[QUEUES - 1]);
	assert_int_equal(vh_vduse_new(NULL, "test", dev, -1, &(struct vh_vduse *){NULL}), -EBUSY);
}

/* While a driver is served; what was refused is left out, and the next driver finds all well. */
static void case_227_every_ioctl_fails(void **state)
{
	static const uint32_t asked[] = {VHI_VDUSE_VQ_GET_INFO,		 VHI_VDUSE_VQ_SETUP_KICKFD,
					 VHI_VDUSE_IOTLB_GET_FD,	 VHI_VDUSE_VQ_INJECT_IRQ,
					 VHI_VDUSE_DEV_SET_CONFIG,	 VHI_VDUSE_DEV_GET_FEATURES,
					 VHI_VDUSE_DEV_INJECT_CONFIG_IRQ};
	static const int errors[] = {EINTR, EFAULT, ENOTTY, EBUSY, EINVAL, ENODEV, ENOMEM};

	(void)state;
	open_with(NULL);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		for (size_t n = 0; n < sizeof(errors) / sizeof(errors[0]); n++) {
			const bool told = asked[i] == VHI_VDUSE_DEV_SET_CONFIG ||
					  asked[i] == VHI_VDUSE_DEV_INJECT_CONFIG_IRQ;

			memset(k.at, 0, MEM_SIZE);
			k.fail = asked[i];
			k.fail_errno = errors[n];
			assert_int_equal(set_status(3), 0);
			assert_int_equal(set_status(11), asked[i] == VHI_VDUSE_DEV_GET_FEATURES);
			if (asked[i] != VHI_VDUSE_DEV_GET_FEATURES) {
				k.status = RUNS;
				assert_int_equal(set_status(RUNS), 0);
				request(0, 1);
				serve();
				assert_int_equal(vh_device_config_changed(dev), told ? -errors[n] : 0);
			}
			assert_int_equal(set_status(0), 0);
			k.fail = 0;
			memset(k.at, 0, MEM_SIZE);
			run_driver();
			request(0, 1);
			serve();
			assert_int_equal(used(0), 1);
			assert_int_equal(set_status(0), 0);
		}
}

static void configuration_that_changes_is_told(void **state)
{
	(void)state;
	open_with(NULL);
	echo.config = 3;
	assert_int_equal(vh_device_config_changed(dev), 0);
	assert_int_equal(k.config[9], 3);
	assert_int_equal(k.config_irqs, 0);
	run_driver();
	echo.config = 4;
	assert_int_equal(vh_device_config_changed(dev), 0);
	assert_int_equal(k.config[9], 4);
	assert_int_equal(k.config_irqs, 1);
}

static void groups_are_put_into_address_spaces(void **state)
{
	const struct vh_vduse_opts opts = {.size = sizeof(opts), .groups = 2, .address_spaces = 3};
	struct vhi_vduse_dev_request req = {.type = VHI_VDUSE_MSG_SET_VQ_GROUP_ASID, .vq_group_asid = {1, 2}};

	(void)state;
	k.api = 1;
	open_with(&opts);
	assert_int_equal(k.groups, 2);
	assert_int_equal(k.nas, 3);
	assert_int_equal(k.group[1], 1);
	assert_int_equal(ask(req), 0);
	run_driver();
	request(0, 1);
	request(1, 1);
	serve();
	assert_int_equal(used(0) + used(1), 2);
	assert_int_equal(k.maps, 2);
	assert_int_equal(k.maps2, 2);
	assert_int_equal(info().regions, 2);
	req.vq_group_asid.asid = 1;
	assert_int_equal(ask(req), VHI_VDUSE_REQ_RESULT_FAILED); /* its queue runs */
	req = update_all();
	req.iova_v2.asid = 2;
	assert_int_equal(ask(req), 0);
	assert_int_equal(k.maps2, 4); /* once more, and in this address space alone */
	assert_int_equal(k.maps, 3);
}

static void the_kernel_may_give_it_up(void **state)
{
	(void)state;
	open_with(NULL);
	k.broken = true;
	close(k.mine);
	k.mine = dup(0);
	assert_int_equal(vh_vduse_dispatch(v), -EPROTO); /* the end of a socket, here */
	assert_int_equal(vh_vduse_dispatch(v), -EPROTO);
	assert_int_equal(vh_vduse_stop(v), 0);
	assert_int_equal(vh_vduse_dispatch(v), -ESHUTDOWN);
}

/* The driver's request, and whether it found its answer. */
static bool echoes(uint8_t byte)
{
	const uint16_t before = used(0), at = (uint16_t)(2 * u16_at(0, 0x1000)[1] % NUM + 1);

	request(0, byte);
	serve();
	return used(0) == before + 1 && bounced(0)[at] == byte + 1;
}

static void driver_again(void)
{
	assert_int_equal(set_status(0), 0);
	memset(k.at, 0, MEM_SIZE);
	run_driver();
}

static const struct vh_vduse_opts with_umem = {.size = sizeof(with_umem), .flags = VH_VDUSE_UMEM};

static void a_driver_is_bounced_through_our_pages(void **state)
{
	(void)state;
	k.bounces = true;
	open_with(&with_umem);
	run_driver();
	assert_int_equal(k.regs, 0); /* there is nothing to be replaced yet */
	assert_int_equal(info().umem, 0);
	for (uint8_t n = 1; n <= 40; n++)
		assert_true(echoes(n));
	assert_int_equal(k.regs, 1);
	assert_int_equal(info().umem, BOUNCE);
	assert_int_equal(info().umem_rc, 0);
	assert_int_equal(k.pages[1], 0); /* the kernel's have what they had when they were replaced */
	/* The next driver finds the same. */
	for (uint8_t n = 1; n <= 3; n++) {
		driver_again();
		assert_true(echoes(n));
		assert_int_equal(k.regs, 1);
		assert_int_equal(info().umem, BOUNCE);
	}
	/* Somebody else goes on: with pages of his own. */
	vh_vduse_free(v);
	assert_int_equal(k.deregs, 1);
	assert_null(k.umem[0]);
	open_with(&with_umem);
	assert_int_equal(info().taken_up, 1);
	assert_true(echoes(7));
	assert_int_equal(k.regs, 2);
	assert_int_equal(info().umem, BOUNCE);
}

/* Nobody asked for it. */
static void the_kernels_pages_are_the_default(void **state)
{
	(void)state;
	k.bounces = true;
	open_with(NULL);
	run_driver();
	assert_true(echoes(1));
	assert_int_equal(k.infos + k.regs, 0);
	assert_int_equal(info().umem, 0);
}

/* Behind vhost-vdpa a driver brings its memory, at whatever address. */
static void memory_of_a_driver_is_not_replaced(void **state)
{
	(void)state;
	k.bounces = k.others = true;
	open_with(&with_umem);
	run_driver();
	assert_true(echoes(1));
	assert_int_equal(k.regs, 0);
	assert_int_equal(info().umem, 0);
	assert_int_equal(info().umem_rc, 0);
}

static char said[256];

static void keep_line(void *ctx, uint32_t level, const char *line)
{
	(void)ctx;
	if (level == VH_LOG_WARNING)
		snprintf(said, sizeof(said), "%s", line);
}

static void what_can_not_be_replaced_is_said_and_used(void **state)
{
	static const struct {
		uint32_t request;
		int e;
	} faults[] = {
		{VHI_VDUSE_IOTLB_GET_INFO, EPERM},  {VHI_VDUSE_IOTLB_GET_INFO, EINVAL},
		{VHI_VDUSE_IOTLB_REG_UMEM, EPERM},  {VHI_VDUSE_IOTLB_REG_UMEM, EFAULT},
		{VHI_VDUSE_IOTLB_REG_UMEM, EINVAL}, {VHI_VDUSE_IOTLB_REG_UMEM, EEXIST},
		{VHI_VDUSE_IOTLB_REG_UMEM, ENOMEM},
	};
	const struct vh_logger_ops logger = {.size = sizeof(logger), .line = keep_line};

	(void)state;
	k.bounces = true;
	open_with(&with_umem);
	assert_int_equal(vh_vduse_set_logger(v, &logger, NULL), 0);
	run_driver();
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		said[0] = 0;
		k.fail = faults[i].request;
		k.fail_errno = faults[i].e;
		assert_true(echoes((uint8_t)i));
		assert_int_equal(info().umem_rc, -faults[i].e);
		assert_int_equal(info().umem, 0);
		assert_non_null(strstr(said, vh_error_name(-faults[i].e)));
		assert_int_equal(!!strstr(said, "RLIMIT_MEMLOCK"), faults[i].e == ENOMEM);
		/* What was begun in the kernel's pages ends there, also when these are asked for again. */
		k.fail = 0;
		assert_int_equal(ask(update_all()), 0);
		assert_true(echoes(9));
		assert_int_equal(k.regs, 0);
		assert_int_equal(info().umem_rc, -faults[i].e);
		driver_again();
	}
	assert_true(echoes(1));
	assert_int_equal(info().umem_rc, 0);
	assert_int_equal(info().umem, BOUNCE);
}

static int no_memfd(const char *name, unsigned flags)
{
	(void)name;
	(void)flags;
	return refuse_with(EMFILE);
}

/* Our pages, for the kernel; the next mapping of them is where they are served. */
static void *no_map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (len != BOUNCE)
		return vhi_real_sys.mmap(addr, len, prot, flags, fd, off);
	vhi_sys.mmap = vhi_real_sys.mmap;
	errno = ENOMEM;
	return MAP_FAILED;
}

static void our_own_pages_may_not_be_had(void **state)
{
	(void)state;
	k.bounces = true;
	open_with(&with_umem);
	run_driver();
	vhi_sys.memfd_create = no_memfd;
	assert_true(echoes(1));
	vhi_sys.memfd_create = vhi_real_sys.memfd_create;
	assert_int_equal(info().umem_rc, -EMFILE);
	driver_again();
	vhi_sys.mmap = no_map;
	assert_int_equal(info().umem_rc, 0);
	assert_true(echoes(1));
	assert_int_equal(info().umem_rc, -ENOMEM);
	assert_int_equal(k.regs, 0);
	driver_again();
	assert_true(echoes(1));
	assert_int_equal(info().umem, BOUNCE);
}

static void a_kernel_that_lacks_it_is_told_apart(void **state)
{
	const struct vh_vduse_opts both = {.size = sizeof(both),
					   .flags = VH_VDUSE_UMEM | VH_VDUSE_MAKE | VH_VDUSE_TAKE_UP};
	const struct vh_vduse_opts more = {.size = sizeof(more), .flags = VH_VDUSE_UMEM << 1};
	const struct vh_vduse_opts made = {.size = sizeof(made), .flags = VH_VDUSE_UMEM | VH_VDUSE_MAKE};

	(void)state;
	assert_int_equal(vh_vduse_new(&both, "test", dev, -1, &v), -EINVAL);
	assert_int_equal(vh_vduse_new(&more, "test", dev, -1, &v), -EINVAL);
	k.fail = VHI_VDUSE_IOTLB_GET_INFO;
	k.fail_errno = ENOTTY;
	assert_int_equal(vh_vduse_new(&made, "test", dev, -1, &v), -ENOTSUP);
	assert_false(k.exists);
	k.fail = 0;
	open_with(&made);
	vh_vduse_free(v);
	v = NULL;
	k.fail = VHI_VDUSE_IOTLB_GET_INFO;
	assert_int_equal(vh_vduse_new(&with_umem, "test", dev, -1, &v), -ENOTSUP);
	assert_true(k.exists); /* it is not ours to be taken away */
}

/* A child of fork has the same device, and is not to take its parent's pages away. */
static void a_child_takes_no_pages_away(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	k.bounces = true;
	open_with(&with_umem);
	run_driver();
	assert_true(echoes(1));
	pid = fork();
	if (pid == 0) {
		vh_vduse_free(v);
		_exit(k.deregs ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(echoes(2));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* What others see of it. */
static void a_device_is_looked_at(void **state)
{
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .interval_ms = 1};
	struct vh_metrics_row row = {.size = sizeof(row)};
	struct vh_metrics_reader *reader;
	struct vh_metrics *m;

	(void)state;
	assert_int_equal(vh_metrics_new(&opts, NULL, &m), 0);
	open_with(NULL);
	assert_int_equal(vh_vduse_set_metrics(v, m, "disk"), 0);
	assert_int_equal(vh_metrics_reader_open((uint32_t)getpid(), 0, &reader), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 1);
	assert_string_equal(row.address, "/dev/vduse/test");
	assert_int_equal(row.values[VHI_CONNECTION_ROLE], VHI_ROLE_VDUSE);
	assert_int_equal(row.values[VHI_CONNECTION_STATE], VHI_IS_LISTENING);
	assert_int_equal(row.values[VHI_CONNECTION_OFFERED], k.offered);

	run_driver();
	request(0, 5);
	serve();
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 1);
	assert_int_equal(row.values[VHI_CONNECTION_STATE], VHI_IS_CONNECTED);
	assert_int_equal(row.values[VHI_CONNECTION_STATUS], RUNS);
	assert_int_equal(row.values[VHI_CONNECTION_MESSAGES_IN], info().messages);
	/* Its timer sees to it that what was counted since is written too. */
	for (int i = 0; i < 1000; i++) {
		struct pollfd p = {.fd = vh_vduse_fd(v), .events = POLLIN};

		assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row), 1);
		if (row.values[VHI_QUEUE_COMPLETED] == 1)
			break;
		assert_int_equal(poll(&p, 1, 5000), 1);
		assert_true(vh_vduse_dispatch(v) >= 0);
	}
	assert_int_equal(row.values[VHI_QUEUE_COMPLETED], 1);
	assert_int_equal(row.values[VHI_QUEUE_STATE], VH_QUEUE_RUNNING);
	assert_int_equal(vh_vduse_set_metrics(v, NULL, NULL), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 0);
	vh_metrics_reader_free(reader);
	vh_metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_device_is_made),
		TEST(a_driver_comes_and_goes),
		TEST(case_236_a_network_device_has_no_control_queue),
		TEST(a_device_is_looked_at),
		TEST(features_are_checked),
		TEST(nonsense_is_refused),
		TEST(a_ring_that_is_too_large_does_not_start),
		TEST(a_queue_that_gets_ready_late_starts_with_its_kick),
		TEST(memory_that_is_not_what_was_asked_for_breaks_the_queue),
		TEST(memory_that_can_not_be_mapped_breaks_the_queue),
		TEST(memory_comes_in_pieces),
		TEST(taking_memory_back_waits_for_requests),
		TEST(who_does_not_let_go_in_time_loses_its_queue),
		TEST(a_reset_waits_for_requests),
		TEST(where_a_queue_stands),
		TEST(requests_in_flight_are_done_by_the_next),
		TEST(what_can_not_be_opened),
		TEST(case_227_every_ioctl_fails),
		TEST(configuration_that_changes_is_told),
		TEST(groups_are_put_into_address_spaces),
		TEST(the_kernel_may_give_it_up),
		TEST(a_driver_is_bounced_through_our_pages),
		TEST(the_kernels_pages_are_the_default),
		TEST(memory_of_a_driver_is_not_replaced),
		TEST(what_can_not_be_replaced_is_said_and_used),
		TEST(our_own_pages_may_not_be_had),
		TEST(a_kernel_that_lacks_it_is_told_apart),
		TEST(a_child_takes_no_pages_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

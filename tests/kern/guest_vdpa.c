// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* vDPA on a kernel: management, the simulators' devices by hand, and sessions that move data through them. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "vh/vh.h"

#define LEN	  4096u
#define PLATFORM  (UINT64_C(1) << VH_F_ACCESS_PLATFORM)
#define VERSION_1 (UINT64_C(1) << VH_F_VERSION_1)
#define BLK	  "vdpa-guest-blk"
#define NET	  "vdpa-guest-net"

/* A call of the library, with what it says itself. */
static void must(int64_t rc, const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	if (rc >= 0)
		return;
	vh_error_get(&e);
	guest_fail("%s: %s", what, e.text);
}
#define MUST(call) must((int64_t)(call), #call)

static struct vh_vdpa_mgmt *mgmt(void)
{
	struct vh_vdpa_mgmt *m;

	MUST(vh_vdpa_mgmt_new(NULL, NULL, -1, &m));
	return m;
}

static struct vh_vdpa_place made(struct vh_vdpa_mgmt *m, const char *maker, const char *name,
				 const struct vh_vdpa_attrs *attrs)
{
	struct vh_vdpa_place p = {.size = sizeof(p)};

	int rc;

	(void)vh_vdpa_mgmt_del_dev(m, name);
	rc = vh_vdpa_mgmt_add_dev(m, maker, name, attrs);
	if (rc == -ENODEV)
		guest_skip("no simulators");
	must(rc, "vh_vdpa_mgmt_add_dev");
	MUST(vh_vdpa_mgmt_bind(m, name, "vhost_vdpa", &p));
	printf("# %s is %s, device %u:%u\n", p.name, p.path, p.major, p.minor);
	return p;
}

static void makers(void)
{
	struct vh_vdpa_mgmtdev d = {.size = sizeof(d)};
	struct vh_vdpa_mgmt *m = mgmt();
	bool net = false, blk = false, vduse = false;
	int n = vh_vdpa_mgmt_list_mgmtdevs(m);

	MUST(n);
	for (int i = 0; i < n; i++) {
		MUST(vh_vdpa_mgmt_get_mgmtdev(m, (uint32_t)i, &d));
		net |= !strcmp(d.name, "vdpasim_net");
		blk |= !strcmp(d.name, "vdpasim_blk");
		vduse |= !strcmp(d.name, "vduse");
	}
	vh_vdpa_mgmt_free(m);
	guest_check(vduse);
	if (!net || !blk)
		guest_skip("no simulators");
}

static void a_network_device(void)
{
	struct vh_vdpa_attrs a = {.size = sizeof(a),
				  .has = UINT64_C(1) << VH_VDPA_HAS_MAC | UINT64_C(1) << VH_VDPA_HAS_MTU,
				  .mac = {0x52, 0x54, 0, 1, 2, 3},
				  .mtu = 1400};
	struct vh_vdpa_config c = {.size = sizeof(c)};
	struct vh_vdpa_dev d = {.size = sizeof(d)};
	struct vh_vdpa_place p = {.size = sizeof(p)};
	struct vh_vdpa_mgmt *m = mgmt();

	made(m, "vdpasim_net", NET, &a);
	MUST(vh_vdpa_mgmt_find_dev(m, NET, &d));
	guest_check(d.device_id == VH_TYPE_NET && d.max_vqs >= 2 && !strcmp(d.mgmt_name, "vdpasim_net"));
	MUST(vh_vdpa_mgmt_get_config(m, NET, &c));
	guest_check(!memcmp(c.mac, a.mac, 6) && c.mtu == 1400);
	a.has = UINT64_C(1) << VH_VDPA_HAS_MAC;
	a.mac[5] = 4;
	MUST(vh_vdpa_mgmt_set_dev(m, NET, &a));
	MUST(vh_vdpa_mgmt_get_config(m, NET, &c));
	guest_check(c.mac[5] == 4);
	MUST(vh_vdpa_mgmt_find_place(m, NET, &p));
	guest_check(!strcmp(p.driver, "vhost_vdpa") && p.node >= 0);
	MUST(vh_vdpa_mgmt_find_place(m, p.path, &p));
	guest_check(!strcmp(p.name, NET));
	guest_check(vh_vdpa_mgmt_list_stats(m, NET, 0) == -EAGAIN);
	MUST(vh_vdpa_mgmt_del_dev(m, NET));
	guest_check(vh_vdpa_mgmt_find_dev(m, NET, &d) == -ENODEV);
	guest_check(vh_vdpa_mgmt_del_dev(m, NET) == -ENODEV);
	vh_vdpa_mgmt_free(m);
}

static void what_the_kernel_only_says_in_words(void)
{
	struct vh_vdpa_attrs a = {.size = sizeof(a), .has = UINT64_C(1) << VH_VDPA_HAS_MAC, .mac = {2}};
	struct vh_vdpa_mgmt *m = mgmt();

	made(m, "vdpasim_blk", BLK, NULL);
	guest_check(vh_vdpa_mgmt_set_dev(m, BLK, &a) == -EOPNOTSUPP);
	guest_check(vh_vdpa_mgmt_add_dev(m, "vdpasim_blk", BLK, NULL) == -EEXIST);
	guest_check(vh_vdpa_mgmt_add_dev(m, "nothing", "x", NULL) == -ENODEV);
	MUST(vh_vdpa_mgmt_del_dev(m, BLK));
	vh_vdpa_mgmt_free(m);
}

static void from_driver_to_driver(void)
{
	struct vh_vdpa_place p = {.size = sizeof(p)};
	struct vh_vdpa_mgmt *m = mgmt();

	made(m, "vdpasim_blk", BLK, NULL);
	MUST(vh_vdpa_mgmt_bind(m, BLK, "virtio_vdpa", &p));
	guest_check(p.node < 0 && !strncmp(p.virtio, "virtio", 6));
	MUST(vh_vdpa_mgmt_bind(m, BLK, "vhost_vdpa", &p));
	guest_check(p.node >= 0 && access(p.path, R_OK | W_OK) == 0);
	MUST(vh_vdpa_mgmt_bind(m, BLK, NULL, &p));
	guest_check(!*p.driver);
	MUST(vh_vdpa_mgmt_del_dev(m, BLK));
	vh_vdpa_mgmt_free(m);
}

#define MAKER_SIZE (VH_VDPA_TEXT_SIZE + VH_VDPA_NAME_SIZE + 1)

/* The management device that stands for the @nth PCI device of this type; the machine has them for vp_vdpa. */
static void pci_maker(struct vh_vdpa_mgmt *m, uint32_t type, unsigned nth, char maker[MAKER_SIZE])
{
	struct vh_vdpa_mgmtdev d = {.size = sizeof(d)};
	int n = vh_vdpa_mgmt_list_mgmtdevs(m);

	MUST(n);
	for (int i = 0; i < n; i++) {
		MUST(vh_vdpa_mgmt_get_mgmtdev(m, (uint32_t)i, &d));
		if (strcmp(d.bus, "pci") || !(d.classes & UINT64_C(1) << type) || nth--)
			continue;
		snprintf(maker, MAKER_SIZE, "%s/%s", d.bus, d.name);
		return;
	}
	guest_skip("no simulators");
}

static struct vh_vdpa *opened(struct vh_vdpa_mgmt *m, const char *maker, const char *name)
{
	struct vh_vdpa *v;

	made(m, maker, name, NULL);
	MUST(vh_vdpa_open(name, NULL, &v));
	return v;
}

/* The request's end, which is waited for; false: it did not come. */
static bool ended(struct vh_blk *blk, int32_t timeout_ms)
{
	struct vh_blk_done done = {0};

	if (vh_blk_wait(blk, 0, timeout_ms))
		return false;
	return vh_blk_reap(blk, 0, &done, 1) == 1 && done.user == 1 && done.rc == 0;
}

/* A block is written through one session and read through the next, with a stop in between. */
static void drive_blocks(struct vh_vdpa_mgmt *m, const char *maker)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .queue_size = 64};
	struct vh_vdpa *v = opened(m, maker, BLK);
	struct vh_blk_io io = {0};
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_blk *blk;
	uint64_t addr;
	uint8_t *bytes;

	MUST(vh_vdpa_backend(v, &b));
	MUST(vh_driver_new(&opts, b, NULL, &d));
	MUST(vh_blk_new(d, &blk));
	MUST(vh_driver_alloc(d, LEN, &addr));
	bytes = (uint8_t *)(uintptr_t)addr;
	MUST(vh_driver_start(d));
	for (int round = 0; round < 3; round++) {
		memset(bytes, 0x40 + round, LEN);
		io = (struct vh_blk_io){
			.op = VH_BLK_WRITE, .offset = 8192u * (unsigned)round, .len = LEN, .addr = addr, .user = 1};
		guest_check(vh_blk_submit(blk, 0, &io, 1) == 1);
		guest_check(ended(blk, 20000));
		MUST(vh_driver_stop(d, 0, 0));
		MUST(vh_driver_start(d));
		memset(bytes, 0, LEN);
		io.op = VH_BLK_READ;
		guest_check(vh_blk_submit(blk, 0, &io, 1) == 1);
		guest_check(ended(blk, 20000));
		for (unsigned i = 0; i < LEN; i++)
			guest_check(bytes[i] == 0x40 + round);
	}
	vh_blk_free(blk);
	vh_driver_free(d);
	vh_vdpa_free(v);
	MUST(vh_vdpa_mgmt_del_dev(m, BLK));
}

static void a_block_device(void)
{
	struct vh_vdpa_mgmt *m = mgmt();

	drive_blocks(m, "vdpasim_blk");
	vh_vdpa_mgmt_free(m);
}

/* A disk of the machine's, by vp_vdpa, which can't say where rings are. */
static void a_pci_disk(void)
{
	struct vh_vdpa_mgmt *m = mgmt();
	char maker[MAKER_SIZE];

	pci_maker(m, VH_TYPE_BLK, 0, maker);
	drive_blocks(m, maker);
	vh_vdpa_mgmt_free(m);
}

/* One of two network cards at the ends of a cable. */
struct card {
	struct vh_vdpa *v;
	struct vh_driver *d;
	struct vh_net *net;
};

static void plug(struct vh_vdpa_mgmt *m, unsigned nth, const char *name, struct card *c)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_NET, .queue_size = 16};
	struct vh_backend *b;
	char maker[MAKER_SIZE];

	pci_maker(m, VH_TYPE_NET, nth, maker);
	c->v = opened(m, maker, name);
	MUST(vh_vdpa_backend(c->v, &b));
	MUST(vh_driver_new(&opts, b, NULL, &c->d));
	MUST(vh_net_new(NULL, c->d, &c->net));
	MUST(vh_driver_start(c->d));
	guest_check(vh_net_receive(c->net, 0, &(struct vh_net_frame){0}, 1) == 0);
}

static void unplug(struct vh_vdpa_mgmt *m, const char *name, struct card *c)
{
	vh_net_free(c->net);
	vh_driver_free(c->d);
	vh_vdpa_free(c->v);
	MUST(vh_vdpa_mgmt_del_dev(m, name));
}

static void send_number(struct card *c, uint8_t number)
{
	uint8_t bytes[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, number};
	const struct vh_net_frame f = {.data = (uintptr_t)bytes, .len = sizeof(bytes)};

	MUST(vh_net_wait(c->net, 0, VH_NET_SEND, 20000));
	guest_check(vh_net_send(c->net, 0, &f, 1) == 1);
}

static void receive_number(struct card *c, uint8_t number)
{
	uint8_t bytes[2000];
	struct vh_net_frame f = {.data = (uintptr_t)bytes, .room = sizeof(bytes)};

	MUST(vh_net_wait(c->net, 0, VH_NET_RECEIVE, 20000));
	guest_check(vh_net_receive(c->net, 0, &f, 1) == 1);
	guest_check(f.len == 60 && bytes[12] == 0x88 && bytes[13] == 0xb5 && bytes[14] == number);
}

/* Both stop and start in between, with buffers that wait for frames, and with frames that nobody has taken yet. */
static void pci_network_cards(void)
{
	struct vh_vdpa_mgmt *m = mgmt();
	struct card a = {0}, b = {0};

	plug(m, 0, NET, &a);
	plug(m, 1, NET "-b", &b);
	for (uint8_t round = 0; round < 40; round++) {
		send_number(&a, round);
		if (round % 4 == 3) {
			/* It lies there while the card begins anew. */
			MUST(vh_net_wait(b.net, 0, VH_NET_RECEIVE, 20000));
			MUST(vh_driver_stop(b.d, 0, 0));
			MUST(vh_driver_start(b.d));
		}
		receive_number(&b, round);
		send_number(&b, (uint8_t)(100 + round));
		receive_number(&a, (uint8_t)(100 + round));
		if (round % 8 == 5) {
			MUST(vh_driver_stop(a.d, 0, 0));
			MUST(vh_driver_start(a.d));
		}
	}
	unplug(m, NET "-b", &b);
	unplug(m, NET, &a);
	vh_vdpa_mgmt_free(m);
}

/* What is sent to everybody comes back: the simulator is a cable whose ends meet. */
static void frames(void)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_NET, .queue_size = 64};
	struct vh_net_frame f = {.flags = 0};
	struct vh_vdpa_mgmt *m = mgmt();
	struct vh_vdpa *v = opened(m, "vdpasim_net", NET);
	uint8_t sent[100], got[2000];
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_net *net;

	MUST(vh_vdpa_backend(v, &b));
	MUST(vh_driver_new(&opts, b, NULL, &d));
	MUST(vh_net_new(NULL, d, &net));
	MUST(vh_driver_start(d));
	guest_check(vh_net_receive(net, 0, &(struct vh_net_frame){.data = (uintptr_t)got, .room = sizeof(got)}, 1) ==
		    0);
	for (unsigned round = 0; round < 20; round++) {
		memset(sent, (int)round, sizeof(sent));
		memset(sent, 0xff, 6);
		f = (struct vh_net_frame){.data = (uintptr_t)sent, .len = sizeof(sent)};
		guest_check(vh_net_send(net, 0, &f, 1) == 1);
		MUST(vh_net_wait(net, 0, VH_NET_RECEIVE, 20000));
		f = (struct vh_net_frame){.data = (uintptr_t)got, .room = sizeof(got)};
		guest_check(vh_net_receive(net, 0, &f, 1) == 1);
		guest_check(f.len == sizeof(sent) && !memcmp(sent, got, sizeof(sent)));
		if (round == 9) {
			MUST(vh_driver_stop(d, 0, 0));
			MUST(vh_driver_start(d));
		}
	}
	vh_net_free(net);
	vh_driver_free(d);
	vh_vdpa_free(v);
	MUST(vh_vdpa_mgmt_del_dev(m, NET));
	vh_vdpa_mgmt_free(m);
}

/* Up to FEATURES_OK, as a driver would. */
static void chosen(struct vh_vdpa *v)
{
	struct vh_vdpa_info i = {.size = sizeof(i)};

	MUST(vh_vdpa_get_info(v, &i));
	printf("# features 0x%llx, of the file 0x%llx, %u rings of %u, %u groups, %u address spaces, config space of "
	       "%u\n",
	       (unsigned long long)i.features, (unsigned long long)i.backend_features, i.num_vrings, i.max_vring_num,
	       i.num_groups, i.num_asids, i.config_size);
	MUST(vh_vdpa_set_owner(v));
	MUST(vh_vdpa_set_backend_features(v, i.backend_features & 0x1e));
	MUST(vh_vdpa_set_status(v, VH_VDPA_S_ACKNOWLEDGE));
	MUST(vh_vdpa_set_status(v, VH_VDPA_S_ACKNOWLEDGE | VH_VDPA_S_DRIVER));
	guest_check(vh_vdpa_set_features(v, VERSION_1) < 0); /* the simulators want ACCESS_PLATFORM */
	MUST(vh_vdpa_set_features(v, (i.features & VERSION_1) | PLATFORM));
	MUST(vh_vdpa_set_status(v, VH_VDPA_S_ACKNOWLEDGE | VH_VDPA_S_DRIVER | VH_VDPA_S_FEATURES_OK));
}

static void address_spaces_and_batches(void)
{
	struct vh_vdpa_mgmt *m = mgmt();
	struct vh_vdpa *v = opened(m, "vdpasim_net", NET);
	struct vh_vdpa *second = NULL;
	void *memory = mmap(NULL, 16 * LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t group = 99;
	int rc;

	guest_check(memory != MAP_FAILED);
	guest_check(vh_vdpa_open(NET, NULL, &second) == -EBUSY);
	chosen(v);
	MUST(vh_vdpa_get_vring_group(v, 0, &group));
	guest_check(group == 0);
	MUST(vh_vdpa_get_vring_group(v, 2, &group)); /* the control queue is apart */
	guest_check(group == 1);
	MUST(vh_vdpa_set_group_asid(v, 1, 1));
	guest_check(vh_vdpa_set_group_asid(v, 7, 0) < 0);
	for (uint32_t asid = 0; asid < 2; asid++) {
		MUST(vh_vdpa_batch(v, asid, 1));
		for (unsigned i = 0; i < 8; i++)
			MUST(vh_vdpa_map(v, asid, 0x100000 + i * 2 * LEN, LEN, (uintptr_t)memory + i * LEN,
					 VH_MEM_READ | VH_MEM_WRITE));
		MUST(vh_vdpa_batch(v, asid, 0));
	}
	rc = vh_vdpa_map(v, 0, 0x100000, LEN, (uintptr_t)memory, VH_MEM_READ); /* overlaps */
	guest_check(rc == -EFAULT);
	MUST(vh_vdpa_unmap(v, 1, 0x100000, 16 * LEN));
	MUST(vh_vdpa_map(v, 1, 0x100000, LEN, (uintptr_t)memory, VH_MEM_READ));
	guest_check(vh_vdpa_set_vring_num(v, 0, 32768) == -EINVAL);
	guest_check(vh_vdpa_set_vring_num(v, 50, 64) == -ENOBUFS);
	MUST(vh_vdpa_set_vring_num(v, 0, 64));
	vh_vdpa_free(v);
	munmap(memory, 16 * LEN);
	MUST(vh_vdpa_mgmt_del_dev(m, NET));
	vh_vdpa_mgmt_free(m);
}

static void suspended_and_resumed(void)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .queue_size = 64};
	struct vh_vdpa_mgmt *m = mgmt();
	struct vh_vdpa *v = opened(m, "vdpasim_blk", BLK);
	struct vh_vdpa_info i = {.size = sizeof(i)};
	struct vh_blk_io io;
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_blk *blk;
	uint32_t base = 99;
	uint64_t addr;

	MUST(vh_vdpa_get_info(v, &i));
	if (!(i.backend_features & UINT64_C(1) << VH_VDPA_BF_RESUME))
		guest_skip("this device can't be resumed");
	MUST(vh_vdpa_backend(v, &b));
	MUST(vh_driver_new(&opts, b, NULL, &d));
	MUST(vh_blk_new(d, &blk));
	MUST(vh_driver_alloc(d, LEN, &addr));
	MUST(vh_driver_start(d));
	MUST(vh_vdpa_suspend(v));
	io = (struct vh_blk_io){.op = VH_BLK_WRITE, .len = LEN, .addr = addr, .user = 1};
	guest_check(vh_blk_submit(blk, 0, &io, 1) == 1);
	guest_check(!ended(blk, 300));
	MUST(vh_vdpa_get_vring_base(v, 0, &base));
	MUST(vh_vdpa_resume(v));
	guest_check(ended(blk, 20000));
	vh_blk_free(blk);
	vh_driver_free(d);
	vh_vdpa_free(v);
	MUST(vh_vdpa_mgmt_del_dev(m, BLK));
	vh_vdpa_mgmt_free(m);
}

static void no_doorbell(void)
{
	struct vh_vdpa_mgmt *m = mgmt();
	struct vh_vdpa *v = opened(m, "vdpasim_blk", BLK);
	uint8_t config[8];
	uint64_t addr = 0, sectors = 0;

	guest_check(vh_vdpa_map_doorbell(v, 0, &addr) == -EOPNOTSUPP && !addr);
	MUST(vh_vdpa_get_config(v, 0, config, sizeof(config)));
	for (int i = 7; i >= 0; i--)
		sectors = sectors << 8 | config[i];
	guest_check(sectors > 0);
	guest_check(vh_vdpa_get_config(v, 0xffff, config, 8) == -EINVAL);
	vh_vdpa_free(v);
	MUST(vh_vdpa_mgmt_del_dev(m, BLK));
	vh_vdpa_mgmt_free(m);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"makers", makers},
		{"a-network-device", a_network_device},
		{"only-in-words", what_the_kernel_only_says_in_words},
		{"from-driver-to-driver", from_driver_to_driver},
		{"a-block-device", a_block_device},
		{"a-pci-disk", a_pci_disk},
		{"pci-network-cards", pci_network_cards},
		{"frames", frames},
		{"address-spaces-and-batches", address_spaces_and_batches},
		{"suspended-and-resumed", suspended_and_resumed},
		{"no-doorbell", no_doorbell},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}

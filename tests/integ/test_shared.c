/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a device shares: shared memory, shared objects, doorbells. Both sides are the library, in one thread; and a
 * back-end by hand for what only a hostile one sends (catalogue N 216 and 218).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"

#define BIT(n) (UINT64_C(1) << (n))
#define PAGE   4096u
#define TURNS  100000

static const uint8_t uuid[VH_UUID_LEN] = {1, 2, 3}, unknown[VH_UUID_LEN] = {9};

/* What the callbacks of either side saw, and what they say. */
struct fix {
	struct vh_master *m;
	struct vh_device *dev;
	struct vh_slave *s;
	struct vh_driver *d;
	struct vht_backend b; /* instead of the slave */
	int fd;		      /* its channel */
	int file;	      /* a memfd of 4 pages */
	unsigned calls, fds_before;
	struct vh_shmem_map map;
	uint32_t queue;
	uint64_t token;
	bool with_fd, later;
	uint8_t name, first; /* first bytes of a uuid, of a file */
	int32_t rc;
	uint64_t finish; /* a later callback of the device */
};

/* Callbacks of a device come on the slave's thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int32_t said(struct fix *f, uint64_t token)
{
	int32_t rc;

	pthread_mutex_lock(&lock);
	f->calls++;
	f->token = token;
	rc = f->later ? -EINPROGRESS : f->rc;
	pthread_mutex_unlock(&lock);
	return rc;
}

/* The token of the call that an answer is due to; 0: it has not come yet. */
static uint64_t asked(struct fix *f)
{
	uint64_t token;

	pthread_mutex_lock(&lock);
	token = f->calls ? f->token : 0;
	pthread_mutex_unlock(&lock);
	return token;
}

static vh_rc on_map(void *ctx, const struct vh_shmem_map *map, vh_fd fd, uint64_t token)
{
	struct fix *f = ctx;

	f->map = *map;
	f->with_fd = fd >= 0;
	assert_int_equal(pread(fd, &f->first, 1, (off_t)map->fd_offset), 1);
	return said(f, token);
}

static vh_rc on_unmap(void *ctx, const struct vh_shmem_map *map, uint64_t token)
{
	((struct fix *)ctx)->map = *map;
	return said(ctx, token);
}

static vh_rc on_notifier(void *ctx, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len, uint64_t token)
{
	struct fix *f = ctx;

	f->queue = queue;
	f->with_fd = fd >= 0;
	f->map.fd_offset = offset;
	f->map.len = len;
	return said(f, token);
}

static vh_rc on_object(void *ctx, const void *name, uint32_t len, uint64_t token)
{
	assert_int_equal(len, VH_UUID_LEN);
	((struct fix *)ctx)->name = *(const uint8_t *)name;
	return said(ctx, token);
}

/* The fd is lent. */
static vh_fd on_wanted(void *ctx, const void *name, uint32_t len, uint64_t token)
{
	struct fix *f = ctx;
	int32_t rc = on_object(ctx, name, len, token);

	return rc ? rc : f->name == uuid[0] ? f->file : -ENOENT;
}

static vh_fd on_get_object(void *ctx, const void *name, uint32_t len, uint64_t later)
{
	return on_wanted(ctx, name, len, later);
}

static vh_count on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	(void)ctx;
	(void)q;
	(void)index;
	(void)budget;
	return 0;
}

static struct vh_master *front_end(struct fix *f)
{
	const struct vh_master_ops ops = {.size = sizeof(ops),
					  .shmem_map = on_map,
					  .shmem_unmap = on_unmap,
					  .host_notifier = on_notifier,
					  .object_added = on_object,
					  .object_removed = on_object,
					  .object_wanted = on_wanted};
	const struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 5000};
	struct vh_master *m;

	assert_int_equal(vh_master_new(&opts, &ops, f, &m), 0);
	return m;
}

/* It is inside the handle only for as long as there is something to do. */
static void *serve(void *arg)
{
	struct fix *f = arg;
	int rc;

	do {
		poll(&(struct pollfd){.fd = vh_slave_fd(f->s), .events = POLLIN}, 1, 100);
		rc = vh_slave_dispatch(f->s);
	} while (rc >= 0 || rc == -EBUSY);
	return NULL;
}

static pthread_t server;
static struct fix fix;

/* The slave's thread serves; what is asked on it comes from that thread too, so the tests stop it first. */
static void start_serving(struct fix *f)
{
	assert_int_equal(pthread_create(&server, NULL, serve, f), 0);
}

static int set_up(void **state)
{
	struct fix *f = &fix;

	memset(f, 0, sizeof(*f));
	f->fds_before = vht_open_fds();
	f->fd = -1;
	f->file = memfd_create("shared", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->file, 4 * PAGE), 0);
	assert_int_equal(pwrite(f->file, "abcd", 4, PAGE), 4);
	f->m = front_end(f);
	vht_backend_init(&f->b);
	f->b.fd = f->b.channel = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_master_disconnect(f->m); /* nobody serves any more */
	vh_driver_free(f->d);
	vh_master_free(f->m);
	vh_slave_free(f->s);
	vh_device_free(f->dev);
	vht_backend_stop(&f->b);
	close(f->file);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

/* A slave in a thread of its own as long as the front-end's calls wait; after that both take turns in this one. */
static void pair_up(struct fix *f)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .type = 26, .max_queues = 2};
	const struct vh_device_ops ops = {
		.size = sizeof(ops), .on_batch = on_batch, .get_shared_object = on_get_object};
	const struct vh_slave_opts opts = {.size = sizeof(opts), .more_protocol_features = BIT(VH_PF_HOST_NOTIFIER)};
	const struct vh_driver_opts driver = {.size = sizeof(driver), .n_queues = 1};
	struct vh_backend *backend;
	vh_fd peer;

	assert_int_equal(vh_device_new(&dev, &ops, f, &f->dev), 0);
	assert_int_equal(vh_device_set_shmem(f->dev, 3, 4 * PAGE), 0);
	assert_int_equal(vh_device_set_shmem(f->dev, 255, PAGE), 0);
	assert_int_equal(vh_slave_new(&opts, f->dev, NULL, NULL, &f->s), 0);
	assert_int_equal(vh_master_socketpair(f->m, &peer), 0);
	assert_int_equal(vh_slave_adopt(f->s, peer), 0);
	close(peer);
	start_serving(f);
	assert_int_equal(vh_master_backend(f->m, &backend), 0);
	assert_int_equal(vh_driver_new(&driver, backend, NULL, &f->d), 0);
	assert_int_equal(vh_driver_start(f->d), 0);
}

/* Dispatch the front-end until the ticket is finished; the slave's thread does the rest. */
static int result(struct fix *f, uint64_t ticket, int32_t *fd)
{
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	uint64_t value;
	int rc = -EINPROGRESS;

	assert_int_not_equal(ticket, 0);
	for (int i = 0; i < TURNS && (rc == -EINPROGRESS || rc == -EBUSY); i++) {
		assert_true(vh_master_dispatch(f->m) >= 0);
		rc = fd ? vh_slave_finish(f->s, ticket, &value, sizeof(value), fd, 1, &reply)
			: vh_slave_finish(f->s, ticket, NULL, 0, NULL, 0, NULL);
		poll(&(struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN}, 1, rc == -EINPROGRESS ? 1 : 0);
	}
	return rc;
}

/* A call on the slave while its thread may be inside. */
#define ON_SLAVE(call)                 \
	({                             \
		int rc_;               \
		do                     \
			rc_ = (call);  \
		while (rc_ == -EBUSY); \
		rc_;                   \
	})

static void scenario_backend_requests(void **state)
{
	struct fix *f = *state;
	struct vh_shmem_map map = {
		.size = sizeof(map), .shmid = 3, .fd_offset = PAGE, .shm_offset = 2 * PAGE, .len = PAGE};
	uint64_t sizes[300], ticket;
	int32_t fd = -1;

	pair_up(f);
	/* Regions. */
	assert_int_equal(vh_master_get_shmem(f->m, sizes, 300), 2);
	assert_int_equal(sizes[3], 4 * PAGE);
	assert_int_equal(sizes[255], PAGE);
	assert_int_equal(sizes[0], 0);
	assert_int_equal(sizes[299], 0);
	assert_int_equal(vh_master_get_shmem(f->m, NULL, 0), 2);
	/* Mapped, seen, unmapped. */
	assert_int_equal(ON_SLAVE(vh_slave_shmem_map(f->s, &map, f->file, &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), 0);
	assert_int_equal(f->map.shmid, 3);
	assert_int_equal(f->map.fd_offset, PAGE);
	assert_int_equal(f->map.shm_offset, 2 * PAGE);
	assert_int_equal(f->map.len, PAGE);
	assert_int_equal(f->map.flags, 0);
	assert_int_equal(f->first, 'a');
	assert_int_equal(ON_SLAVE(vh_slave_shmem_map(f->s, &map, f->file, &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), -EREMOTEIO); /* taken */
	assert_int_equal(ON_SLAVE(vh_slave_shmem_unmap(f->s, &map, &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), 0);
	assert_int_equal(ON_SLAVE(vh_slave_shmem_unmap(f->s, &map, &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), -EREMOTEIO);
	assert_int_equal(f->calls, 2);
	/* Objects, from either side. */
	assert_int_equal(ON_SLAVE(vh_slave_object_add(f->s, uuid, sizeof(uuid), &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), 0);
	assert_int_equal(f->name, 1);
	assert_int_equal(ON_SLAVE(vh_slave_object_lookup(f->s, uuid, sizeof(uuid), &ticket)), 0);
	assert_int_equal(result(f, ticket, &fd), 0);
	assert_int_equal(pread(fd, &f->first, 1, PAGE + 3), 1);
	assert_int_equal(f->first, 'd');
	close(fd);
	assert_int_equal(ON_SLAVE(vh_slave_object_lookup(f->s, unknown, sizeof(uuid), &ticket)), 0);
	assert_int_equal(result(f, ticket, &fd), -EREMOTEIO);
	assert_int_equal(vh_master_get_shared_object(f->m, uuid, sizeof(uuid), &fd), 0);
	assert_int_equal(pread(fd, &f->first, 1, PAGE + 1), 1);
	assert_int_equal(f->first, 'b');
	close(fd);
	assert_int_equal(vh_master_get_shared_object(f->m, unknown, sizeof(uuid), &fd), -EREMOTEIO);
	assert_int_equal(ON_SLAVE(vh_slave_object_remove(f->s, uuid, sizeof(uuid), &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), 0);
	/* A doorbell, there and gone. */
	assert_int_equal(ON_SLAVE(vh_slave_set_host_notifier(f->s, 1, f->file, PAGE, PAGE, &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), 0);
	assert_true(f->with_fd);
	assert_int_equal(f->queue, 1);
	assert_int_equal(f->map.fd_offset, PAGE);
	assert_int_equal(ON_SLAVE(vh_slave_set_host_notifier(f->s, 1, -1, 0, 0, &ticket)), 0);
	assert_int_equal(result(f, ticket, NULL), 0);
	assert_false(f->with_fd);
	vh_slave_stop(f->s);
	pthread_join(server, NULL);
}

static void what_the_device_gives_later_arrives(void **state)
{
	struct fix *f = *state;
	struct vh_msg msg = {
		.size = sizeof(msg), .request = 41, .payload = (uint64_t)(uintptr_t)uuid, .payload_size = sizeof(uuid)};
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	uint8_t buf[16];
	uint64_t ticket;
	int32_t fd;

	pair_up(f);
	/* With an fd, with none, and refused. */
	for (int i = 0; i < 3; i++) {
		int rc = -EINPROGRESS;

		pthread_mutex_lock(&lock);
		f->later = true;
		f->calls = 0;
		pthread_mutex_unlock(&lock);
		assert_int_equal(vh_master_submit(f->m, &msg, NULL, &ticket), 0);
		while (!asked(f))
			poll(NULL, 0, 1);
		if (i == 0)
			assert_int_equal(vh_device_reply(f->dev, asked(f), NULL, 0, f->file), 0);
		else
			assert_int_equal(vh_device_finish(f->dev, asked(f), i == 1 ? 0 : -ENOENT), 0);
		for (int k = 0; k < TURNS && rc == -EINPROGRESS; k++) {
			poll(&(struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN}, 1, 100);
			assert_true(vh_master_dispatch(f->m) >= 0);
			rc = vh_master_finish(f->m, ticket, buf, sizeof(buf), &fd, 1, &reply);
		}
		assert_int_equal(rc, 0);
		assert_int_equal(reply.n_fds, i == 0);
		assert_int_equal(reply.payload_size, i == 0 ? VH_UUID_LEN : 0);
		if (!i)
			close(fd);
	}
	vh_slave_stop(f->s);
	pthread_join(server, NULL);
}

static void arguments_are_looked_at_before_anything_is_sent(void **state)
{
	struct fix *f = *state;
	const struct vh_shmem_map good = {.size = sizeof(good), .shmid = 3, .len = PAGE};
	struct vh_shmem_map bad[9];
	static const uint8_t nil[VH_UUID_LEN];
	uint64_t ticket;
	int32_t fd;

	pair_up(f);
	vh_slave_stop(f->s); /* only its thread, whose handle the next one replaces */
	pthread_join(server, NULL);
	for (unsigned i = 0; i < 9; i++)
		bad[i] = good;
	bad[0].shmid = 4;
	bad[1].shmid = 256;
	bad[2].len = 0;
	bad[3].len = 5 * PAGE;
	bad[4].shm_offset = 4 * PAGE;
	bad[5].shm_offset = 1;
	bad[6].fd_offset = 1;
	bad[7].flags = 2;
	bad[8].fd_offset = UINT64_MAX - PAGE + 1;
	vh_slave_free(f->s);
	assert_int_equal(vh_device_set_shmem(f->dev, 256, PAGE), -EINVAL);
	assert_int_equal(vh_device_set_shmem(NULL, 0, PAGE), -EINVAL);
	assert_int_equal(vh_device_set_shmem(f->dev, 0, PAGE + 1), -EINVAL);
	assert_int_equal(vh_slave_new(NULL, f->dev, NULL, NULL, &f->s), 0);
	assert_int_equal(vh_device_set_shmem(f->dev, 0, PAGE), -EBUSY);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(vh_slave_shmem_map(f->s, &bad[i], f->file, &ticket), -EINVAL);
	assert_int_equal(vh_slave_shmem_map(f->s, NULL, f->file, &ticket), -EINVAL);
	assert_int_equal(vh_slave_shmem_map(NULL, &good, f->file, &ticket), -EINVAL);
	assert_int_equal(vh_slave_shmem_unmap(f->s, &bad[5], &ticket), -EINVAL);
	assert_int_equal(vh_slave_shmem_map(f->s, &good, f->file, &ticket), -ENOTCONN);
	assert_int_equal(vh_slave_set_host_notifier(f->s, 2, f->file, 0, PAGE, &ticket), -EINVAL);
	assert_int_equal(vh_slave_set_host_notifier(f->s, 1, f->file, 1, PAGE, &ticket), -EINVAL);
	assert_int_equal(vh_slave_set_host_notifier(f->s, 1, f->file, 0, 2 * PAGE, &ticket), -EINVAL);
	assert_int_equal(vh_slave_set_host_notifier(NULL, 1, f->file, 0, PAGE, &ticket), -EINVAL);
	assert_int_equal(vh_slave_object_add(f->s, nil, sizeof(nil), &ticket), -EINVAL);
	assert_int_equal(vh_slave_object_add(f->s, uuid, 15, &ticket), -EINVAL);
	assert_int_equal(vh_slave_object_remove(f->s, NULL, 16, &ticket), -EINVAL);
	assert_int_equal(vh_slave_object_lookup(NULL, uuid, 16, &ticket), -EINVAL);
	assert_int_equal(vh_master_get_shared_object(f->m, uuid, 15, &fd), -EINVAL);
	assert_int_equal(vh_master_get_shared_object(f->m, NULL, 16, &fd), -EINVAL);
	assert_int_equal(vh_master_get_shared_object(f->m, uuid, 16, NULL), -EINVAL);
	assert_int_equal(vh_master_get_shmem(f->m, NULL, 1), -EINVAL);
	assert_int_equal(vh_master_get_shmem(NULL, NULL, 0), -EINVAL);
}

/* --- a back-end by hand --- */

static uint64_t config[257]; /* of GET_SHMEM_CONFIG */

static bool answer_config(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != 44)
		return false;
	vht_send(b->fd, 44, 5, config, sizeof(config), NULL, 0);
	return true;
}

static void by_hand(struct fix *f)
{
	memset(config, 0, sizeof(config));
	config[0] = VHT_PAIR(1, 0);
	config[1 + 3] = 4 * PAGE;
	vht_backend_init(&f->b);
	f->b.protocol_features |= BIT(VH_PF_BACKEND_SEND_FD) | BIT(VH_PF_HOST_NOTIFIER) | BIT(VH_PF_SHARED_OBJECT) |
				  BIT(VH_PF_SHMEM);
	f->b.queue_num = 2;
	f->b.script = answer_config;
	vht_backend_start(&f->b, vht_master_pair(f->m));
	assert_int_equal(vh_master_negotiate(f->m, BIT(32), NULL), 0);
	f->fd = f->b.channel;
	assert_int_equal(vht_last_event(f->m).kind, VH_EVENT_CONNECTED);
}

static void dispatch_once(struct fix *f)
{
	assert_int_equal(poll(&(struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN}, 1, VHT_WAIT_MS), 1);
	assert_true(vh_master_dispatch(f->m) >= 0);
}

static uint64_t status_of(struct fix *f, uint32_t id)
{
	struct vht_msg m;

	assert_int_equal(vht_recv(f->fd, &m), 1);
	assert_int_equal(m.request, id);
	assert_int_equal(m.flags, 5);
	assert_int_equal(m.size, 8);
	vht_close_fds(&m);
	return vht_u64(&m, 0);
}

static uint64_t ask(struct fix *f, uint32_t id, const void *payload, uint32_t size, bool fd)
{
	vht_send(f->fd, id, 9, payload, size, &f->file, fd);
	dispatch_once(f);
	return status_of(f, id);
}

static uint64_t ask_map(struct fix *f, uint64_t shmid, uint64_t fd_offset, uint64_t shm_offset, uint64_t len)
{
	return ask(f, 9, (uint64_t[5]){htole64(shmid), fd_offset, shm_offset, len, 1}, 40, true);
}

static uint64_t ask_unmap(struct fix *f, uint64_t shmid, uint64_t shm_offset, uint64_t len)
{
	return ask(f, 10, (uint64_t[5]){htole64(shmid), 0, shm_offset, len, 0}, 40, false);
}

static void mappings_do_not_overlap_and_go_as_they_came(void **state)
{
	struct fix *f = *state;
	unsigned fds;

	by_hand(f);
	fds = vht_open_fds();
	assert_int_equal(ask_map(f, 3, 0, PAGE, 2 * PAGE), 0);
	assert_int_equal(f->map.flags, VH_SHMEM_WRITABLE);
	/* Overlaps in every way, and the neighbours. */
	for (uint64_t at = 0; at < 4; at++)
		assert_int_equal(ask_map(f, 3, 0, at * PAGE, PAGE), at == 1 || at == 2);
	assert_int_equal(ask_map(f, 3, 0, 0, 4 * PAGE), 1);
	assert_int_equal(f->calls, 3);
	/* No region, beyond it, not pages, a file that wraps, nothing. */
	assert_int_equal(ask_map(f, 0, 0, 0, PAGE), 1);
	assert_int_equal(ask_map(f, 255, 0, 0, PAGE), 1);
	assert_int_equal(ask_unmap(f, 3, 3 * PAGE, PAGE), 0);
	assert_int_equal(ask_map(f, 3, 0, 3 * PAGE, 2 * PAGE), 1);
	assert_int_equal(ask_map(f, 3, 0, 4 * PAGE, PAGE), 1);
	assert_int_equal(ask_map(f, 3, 0, UINT64_MAX - PAGE + 1, PAGE), 1);
	assert_int_equal(ask_map(f, 3, 1, 3 * PAGE, PAGE), 1);
	assert_int_equal(ask_map(f, 3, 0, 3 * PAGE, 1), 1);
	assert_int_equal(ask_map(f, 3, UINT64_MAX - PAGE + 1, 3 * PAGE, PAGE), 1);
	assert_int_equal(ask_map(f, 3, 0, 3 * PAGE, 0), 1);
	assert_int_equal(f->calls, 4);
	/* Only just as it was mapped. */
	assert_int_equal(ask_unmap(f, 3, PAGE, PAGE), 1);
	assert_int_equal(ask_unmap(f, 3, 2 * PAGE, PAGE), 1);
	assert_int_equal(ask_unmap(f, 2, PAGE, 2 * PAGE), 1);
	assert_int_equal(f->calls, 4);
	assert_int_equal(ask_unmap(f, 3, PAGE, 2 * PAGE), 0);
	assert_int_equal(ask_unmap(f, 3, PAGE, 2 * PAGE), 1);
	assert_int_equal(f->calls, 5);
	assert_int_equal(vht_open_fds(), fds);
}

static void a_refusal_leaves_things_as_they_were_also_when_it_comes_later(void **state)
{
	struct fix *f = *state;
	const uint64_t map[5] = {htole64(3), 0, 0, PAGE, 0};
	unsigned calls;

	by_hand(f);
	f->rc = -ENOMEM;
	assert_int_equal(ask_map(f, 3, 0, 0, PAGE), 1);
	f->rc = 0;
	f->later = true;
	vht_send(f->fd, 9, 9, map, sizeof(map), &f->file, 1);
	dispatch_once(f);
	/* The place is taken until the answer says no. */
	f->later = false;
	vht_send(f->fd, 9, 9, map, sizeof(map), &f->file, 1);
	dispatch_once(f);
	assert_int_equal(vh_master_answer(f->m, f->token, -EIO, NULL, 0, NULL, 0), 0);
	assert_int_equal(status_of(f, 9), 1);
	assert_int_equal(status_of(f, 9), 1);
	assert_int_equal(ask_map(f, 3, 0, 0, PAGE), 0);
	f->rc = -EBUSY;
	assert_int_equal(ask_unmap(f, 3, 0, PAGE), 1);
	f->rc = 0;
	f->later = true;
	vht_send(f->fd, 10, 9, map, sizeof(map), NULL, 0);
	dispatch_once(f);
	/* It goes once: who unmaps is not asked again, and what comes to that place meanwhile is refused. */
	calls = f->calls;
	vht_send(f->fd, 10, 9, map, sizeof(map), NULL, 0);
	dispatch_once(f);
	vht_send(f->fd, 9, 9, map, sizeof(map), &f->file, 1);
	dispatch_once(f);
	assert_int_equal(f->calls, calls);
	assert_int_equal(vh_master_answer(f->m, f->token, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(status_of(f, 10), 0);
	assert_int_equal(status_of(f, 10), 1);
	assert_int_equal(status_of(f, 9), 1);
	f->later = false;
	/* One that nobody asks about. */
	vht_send(f->fd, 9, 1, map, sizeof(map), &f->file, 1);
	dispatch_once(f);
	assert_int_equal(f->token, 0);
	assert_int_equal(ask_map(f, 3, 0, 0, PAGE), 1);
	assert_int_equal(ask_unmap(f, 3, 0, PAGE), 0);
}

static void mappings_are_bounded_and_end_with_the_device(void **state)
{
	struct fix *f = *state;
	struct vh_event e;
	uint64_t status = 0;
	unsigned n = 0;

	by_hand(f);
	assert_int_equal(ask_map(f, 3, 0, 0, PAGE), 0);
	assert_int_equal(ask_map(f, 3, 0, PAGE, PAGE), 0);
	assert_int_equal(vh_master_reset_device(f->m), 0);
	e = vht_last_event(f->m);
	assert_int_equal(e.kind, VH_EVENT_SHMEM_RESET);
	assert_int_equal(e.value, 2);
	assert_int_equal(ask_map(f, 3, 0, 0, PAGE), 0);
	/* A device status of 0 is a reset as well, any other is not. */
	assert_int_equal(vh_master_set_status(f->m, 15), 0);
	assert_int_equal(ask_map(f, 3, 0, 0, PAGE), 1);
	assert_int_equal(vh_master_set_status(f->m, (uint32_t)status), 0);
	assert_int_equal(vht_last_event(f->m).kind, VH_EVENT_SHMEM_RESET);
	/* More regions than mappings are kept. */
	config[0] = VHT_PAIR(1, 0);
	config[1 + 3] = UINT64_C(4096) * PAGE;
	assert_int_equal(vh_master_get_shmem(f->m, NULL, 0), 1);
	while (n < 4096 && !ask_map(f, 3, 0, (uint64_t)n * PAGE, PAGE))
		n++;
	assert_int_equal(n, 1024);
	/* And all end with the channel. */
	shutdown(f->fd, SHUT_RDWR);
	dispatch_once(f);
	e = vht_last_event(f->m);
	assert_int_equal(e.kind, VH_EVENT_CHANNEL_ENDED);
	assert_int_equal(vh_master_get_shmem(f->m, NULL, 0), 1);
}

static void sizes_that_can_not_be_are_refused(void **state)
{
	struct fix *f = *state;

	by_hand(f);
	config[1 + 3] = PAGE + 1;
	assert_int_equal(vh_master_get_shmem(f->m, NULL, 0), -EPROTO);
	assert_int_equal(vht_site(), 748);
}

static void case_216_notifiers_are_checked(void **state)
{
	struct fix *f = *state;
	static const uint64_t wrong[][3] = {
		{5, PAGE, 0}, {255, PAGE, 0}, {0, 2 * PAGE, 0},
		{0, 0, 0},    {0, PAGE, 1},   {0, PAGE, UINT64_MAX - PAGE + 1},
	};
	unsigned fds;

	by_hand(f);
	fds = vht_open_fds();
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(ask(f, 3, wrong[i], 24, true), 1);
	/* An fd, or bit 8. */
	assert_int_equal(ask(f, 3, (uint64_t[3]){0, PAGE, 0}, 24, false), 1);
	assert_int_equal(ask(f, 3, (uint64_t[3]){0x100, PAGE, 0}, 24, true), 1);
	assert_int_equal(f->calls, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(ask(f, 3, (uint64_t[3]){4, PAGE, PAGE}, 24, true), 0);
	assert_int_equal(ask(f, 3, (uint64_t[3]){0x104, 0, 0}, 24, false), 0);
	assert_int_equal(f->calls, 1001);
	assert_int_equal(vht_open_fds(), fds);
}

static void case_218_objects_are_the_users_to_give_and_to_refuse(void **state)
{
	struct fix *f = *state;
	unsigned fds;

	by_hand(f);
	fds = vht_open_fds();
	f->rc = -EEXIST; /* another device's */
	assert_int_equal(ask(f, 6, uuid, 16, false), 1);
	assert_int_equal(ask(f, 7, uuid, 16, false), 1);
	assert_int_equal(ask(f, 8, uuid, 16, false), 1);
	f->rc = 0;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(ask(f, 8, uuid, 16, false), 0);
		assert_int_equal(ask(f, 8, unknown, 16, false), 1);
	}
	/* Later, with the answer that vh_master_answer() takes. */
	f->later = true;
	vht_send(f->fd, 8, 1, uuid, 16, NULL, 0);
	dispatch_once(f);
	assert_int_equal(vh_master_answer(f->m, f->token, 0, &(uint64_t){0}, 8, &f->file, 1), 0);
	assert_int_equal(status_of(f, 8), 0);
	assert_int_equal(vht_open_fds(), fds);
}

static void features_follow_the_callbacks(void **state)
{
	struct fix *f = *state;
	const struct vh_master_ops ops = {.size = sizeof(ops), .shmem_map = on_map, .object_added = on_object};

	vh_master_free(f->m);
	assert_int_equal(vh_master_new(NULL, &ops, f, &f->m), 0);
	by_hand(f);
	assert_int_equal(f->b.pf_acked & (BIT(VH_PF_BACKEND_SEND_FD) | BIT(VH_PF_HOST_NOTIFIER) |
					  BIT(VH_PF_SHARED_OBJECT) | BIT(VH_PF_SHMEM)),
			 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(scenario_backend_requests),
		T(what_the_device_gives_later_arrives),
		T(arguments_are_looked_at_before_anything_is_sent),
		T(mappings_do_not_overlap_and_go_as_they_came),
		T(a_refusal_leaves_things_as_they_were_also_when_it_comes_later),
		T(mappings_are_bounded_and_end_with_the_device),
		T(sizes_that_can_not_be_are_refused),
		T(case_216_notifiers_are_checked),
		T(case_218_objects_are_the_users_to_give_and_to_refuse),
		T(features_follow_the_callbacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

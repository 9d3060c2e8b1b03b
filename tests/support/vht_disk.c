/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_disk.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH	   16
#define MAX_HELD   1024
#define CONFIG_LEN 60
#define NO_STATUS  (-1)

struct held {
	struct vh_queue *q;
	struct vh_req req;
};

struct vht_disk {
	uint8_t *data;
	uint64_t bytes;
	uint8_t config[CONFIG_LEN];
	int fd;
	int hold, status, refuse;   /* atomic */
	unsigned n_held, most_segs; /* atomic */
	struct held held[MAX_HELD];
};

static void disk_destroy(void *ctx)
{
	struct vht_disk *d = ctx;

	close(d->fd);
	free(d->data);
	free(d);
}

static int32_t disk_get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	struct vht_disk *d = ctx;

	(void)later;
	memset(buf, 0, len);
	for (uint32_t i = 0; offset < CONFIG_LEN && i < len && i < CONFIG_LEN - offset; i++)
		((uint8_t *)buf)[i] = __atomic_load_n(&d->config[offset + i], __ATOMIC_RELAXED);
	return 0;
}

static int32_t disk_set_features(void *ctx, uint64_t features, uint64_t later)
{
	struct vht_disk *d = ctx;

	(void)features;
	(void)later;
	return __atomic_load_n(&d->refuse, __ATOMIC_ACQUIRE);
}

/* Bytes between a run of segments and a flat buffer. */
static uint64_t copy(const struct vh_seg *segs, uint32_t n, uint8_t *flat, uint64_t len, bool to_segs)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < n && done < len; i++) {
		const uint64_t part = segs[i].len < len - done ? segs[i].len : len - done;
		void *p = (void *)(uintptr_t)segs[i].addr;

		if (to_segs)
			memcpy(p, flat + done, part);
		else
			memcpy(flat + done, p, part);
		done += part;
	}
	return done;
}

static uint8_t carry_out(struct vht_disk *d, const struct vh_req *req, const uint8_t *in, uint8_t *out, uint64_t *n)
{
	const uint64_t room = req->wr_len - 1, sent = req->rd_len - 16;
	uint32_t type;
	uint64_t sector;

	memcpy(&type, in, 4);
	memcpy(&sector, in + 8, 8);
	type = le32toh(type);
	sector = le64toh(sector);
	*n = 0;
	if (type == VH_BLK_READ && sector * 512 + room <= d->bytes) {
		memcpy(out, d->data + sector * 512, room);
		*n = room;
		return 0;
	}
	if (type == VH_BLK_WRITE && sector * 512 + sent <= d->bytes) {
		memcpy(d->data + sector * 512, in + 16, sent);
		return 0;
	}
	return type == VH_BLK_FLUSH ? 0 : 2;
}

static struct vh_cpl handle(struct vht_disk *d, const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	const int forced = __atomic_load_n(&d->status, __ATOMIC_ACQUIRE);
	uint8_t *in = calloc(1, req->rd_len + 16), *out = calloc(1, req->wr_len + 1);
	const unsigned data = req->n_rd + req->n_wr - 2;
	uint64_t n = 0;

	if (data > __atomic_load_n(&d->most_segs, __ATOMIC_RELAXED))
		__atomic_store_n(&d->most_segs, data, __ATOMIC_RELAXED);
	copy(segs, req->n_rd, in, req->rd_len, false);
	if (forced == NO_STATUS)
		out[req->wr_len - 1] = carry_out(d, req, in, out, &n);
	else
		out[req->wr_len - 1] = (uint8_t)forced;
	if (n == req->wr_len - 1)
		copy(segs + req->n_rd, req->n_wr, out, req->wr_len, true);
	else /* no data: only the status byte, which is the last one */
		*(uint8_t *)(uintptr_t)(segs[req->n_rd + req->n_wr - 1].addr + segs[req->n_rd + req->n_wr - 1].len -
					1) = out[req->wr_len - 1];
	free(in);
	free(out);
	return (struct vh_cpl){.token = req->token, .written = (uint32_t)req->wr_len};
}

static int32_t disk_on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vht_disk *d = ctx;
	struct vh_req reqs[BATCH];
	struct vh_cpl cpls[BATCH];
	uint32_t n_cpls = 0, max = budget < BATCH ? budget : BATCH;
	int32_t n = vh_queue_pop(q, reqs, max);

	(void)index;
	for (int32_t i = n - 1; i >= 0; i--) { /* newest first: the driver must not rely on order */
		if (__atomic_load_n(&d->hold, __ATOMIC_ACQUIRE) && d->n_held < MAX_HELD) {
			d->held[d->n_held] = (struct held){q, reqs[i]};
			__atomic_add_fetch(&d->n_held, 1, __ATOMIC_RELEASE);
		} else {
			cpls[n_cpls++] = handle(d, &reqs[i]);
		}
	}
	if (n_cpls)
		vh_queue_push(q, cpls, n_cpls);
	return n == (int32_t)max ? 1 : (n < 0 ? n : 0);
}

static void disk_queue_stopped(void *ctx, struct vh_queue *q, uint32_t index)
{
	(void)q;
	struct vht_disk *d = ctx;
	unsigned kept = 0;

	for (unsigned i = 0; i < d->n_held; i++)
		if (d->held[i].req.queue != index)
			d->held[kept++] = d->held[i];
	__atomic_store_n(&d->n_held, kept, __ATOMIC_RELEASE);
}

static int32_t disk_poll_fd(void *ctx)
{
	return ((struct vht_disk *)ctx)->fd;
}

static int32_t disk_on_poll(void *ctx)
{
	struct vht_disk *d = ctx;
	uint64_t n;

	if (read(d->fd, &n, sizeof(n)) != sizeof(n) || __atomic_load_n(&d->hold, __ATOMIC_ACQUIRE))
		return 0;
	while (d->n_held) {
		struct held *h = &d->held[d->n_held - 1];
		struct vh_cpl cpl = handle(d, &h->req);

		vh_queue_push(h->q, &cpl, 1);
		__atomic_sub_fetch(&d->n_held, 1, __ATOMIC_RELEASE);
	}
	return 0;
}

struct vht_disk *vht_disk_new(uint64_t bytes, uint64_t features, uint32_t queues, struct vh_device **dev)
{
	static const struct vh_device_ops ops = {
		.size = sizeof(ops),
		.destroy = disk_destroy,
		.get_config = disk_get_config,
		.set_features = disk_set_features,
		.queue_stopped = disk_queue_stopped,
		.on_batch = disk_on_batch,
		.poll_fd = disk_poll_fd,
		.on_poll = disk_on_poll,
	};
	const struct vh_device_opts opts = {
		.size = sizeof(opts), .type = VH_TYPE_BLK, .features = features, .max_queues = queues};
	struct vht_disk *d = calloc(1, sizeof(*d));
	const uint64_t sectors = htole64(bytes / 512);

	if (!d || !(d->data = calloc(1, bytes)))
		abort();
	d->bytes = bytes;
	d->status = NO_STATUS;
	d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memcpy(d->config, &sectors, sizeof(sectors));
	if (vh_device_new(&opts, &ops, d, dev))
		abort();
	return d;
}

void vht_disk_config(struct vht_disk *d, uint32_t offset, const void *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		__atomic_store_n(&d->config[offset + i], ((const uint8_t *)bytes)[i], __ATOMIC_RELAXED);
}

void vht_disk_hold(struct vht_disk *d, bool on)
{
	const uint64_t one = 1;

	__atomic_store_n(&d->hold, on, __ATOMIC_RELEASE);
	if (!on && write(d->fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

unsigned vht_disk_held(struct vht_disk *d)
{
	return __atomic_load_n(&d->n_held, __ATOMIC_ACQUIRE);
}

void vht_disk_status(struct vht_disk *d, int status)
{
	__atomic_store_n(&d->status, status, __ATOMIC_RELEASE);
}

unsigned vht_disk_most_segs(struct vht_disk *d)
{
	return __atomic_load_n(&d->most_segs, __ATOMIC_RELAXED);
}

void vht_disk_refuse_features(struct vht_disk *d, int rc)
{
	__atomic_store_n(&d->refuse, rc, __ATOMIC_RELEASE);
}

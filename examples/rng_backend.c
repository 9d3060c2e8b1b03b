/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* An entropy device (virtio 1.2 section 5.4) on a vhost-user socket: each buffer is filled with random bytes. */
#include <stdio.h>
#include <sys/random.h>
#include <vh/vh.h>

#define RNG   4 /* the type, of those that virtio has */
#define BATCH 32

/* As many bytes as the system gives at once are enough: the driver asks again for the rest. */
static uint32_t fill(const struct vh_req *req)
{
	const struct vh_seg *seg = (const struct vh_seg *)(uintptr_t)req->segs + req->n_rd;
	size_t room = req->n_wr ? (size_t)seg->len : 0;
	ssize_t n = getrandom((void *)(uintptr_t)(req->n_wr ? seg->addr : 0), room < 256 ? room : 256, 0);

	return n > 0 ? (uint32_t)n : 0;
}

static vh_count on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	const uint32_t max = budget < BATCH ? budget : BATCH;
	struct vh_req reqs[BATCH];
	struct vh_cpl cpls[BATCH];
	vh_count n = vh_queue_pop(q, reqs, max);
	vh_rc rc;

	(void)ctx, (void)index;
	if (n <= 0)
		return n;
	for (vh_count i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = fill(&reqs[i])};
	rc = vh_queue_push(q, cpls, (uint32_t)n);
	return rc ? rc : (uint32_t)n == max;
}

int main(int argc, char **argv)
{
	const struct vh_device_opts opts = {.size = sizeof(opts), .type = RNG};
	const struct vh_device_ops ops = {.size = sizeof(ops), .on_batch = on_batch};
	struct vh_error why = {.size = sizeof(why)};
	struct vh_device *dev = NULL;
	struct vh_slave *s = NULL;

	if (argc != 2)
		return fprintf(stderr, "usage: rng_backend SOCKET\n"), 2;
	if (!vh_device_new(&opts, &ops, NULL, &dev) && !vh_slave_new(NULL, dev, NULL, NULL, &s) &&
	    !vh_slave_listen(s, argv[1]))
		while (vh_slave_wait(s, -1) >= 0)
			;
	vh_error_get(&why);
	fprintf(stderr, "%s\n", why.text);
	vh_slave_free(s);
	vh_device_free(dev);
	return 1;
}

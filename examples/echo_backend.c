/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The least device of a kind of one's own, on a vhost-user socket: it answers each request with the request. */
#include <stdio.h>
#include <string.h>
#include <vh/vh.h>

#define KIND 63 /* none of virtio's; a driver has to know it */

/* A request is a list of pieces to read, then a list of pieces to write; where they begin and end says nothing. */
static uint32_t echo(const struct vh_req *req)
{
	const struct vh_seg *from = (const struct vh_seg *)(uintptr_t)req->segs, *to = from + req->n_rd;
	const struct vh_seg *from_end = to, *to_end = to + req->n_wr;
	uint64_t read = 0, wrote = 0, n, done = 0;

	while (from < from_end && to < to_end) {
		n = from->len - read < to->len - wrote ? from->len - read : to->len - wrote;
		memcpy((void *)(uintptr_t)(to->addr + wrote), (const void *)(uintptr_t)(from->addr + read), (size_t)n);
		done += n;
		read += n;
		wrote += n;
		if (read == from->len)
			from++, read = 0;
		if (wrote == to->len)
			to++, wrote = 0;
	}
	return (uint32_t)done;
}

static vh_count on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vh_req req;
	vh_count n = 0;
	vh_rc rc = 0;

	(void)ctx, (void)index;
	for (; !rc && budget && (n = vh_queue_pop(q, &req, 1)) == 1; budget--)
		rc = vh_queue_push(q, &(struct vh_cpl){.token = req.token, .written = echo(&req)}, 1);
	return rc ? rc : n;
}

int main(int argc, char **argv)
{
	const struct vh_device_opts opts = {.size = sizeof(opts), .type = KIND};
	const struct vh_device_ops ops = {.size = sizeof(ops), .on_batch = on_batch};
	struct vh_error why = {.size = sizeof(why)};
	struct vh_device *dev = NULL;
	struct vh_slave *s = NULL;

	if (argc != 2)
		return fprintf(stderr, "usage: echo_backend SOCKET\n"), 2;
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

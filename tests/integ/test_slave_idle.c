/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a back-end takes from the heap and how many fds it has open while its ring is started and nothing happens:
 * thousands of them are to fit into one process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "vht_peer.h"

#define PEERS 8

/* A little more than it is; tables of queues are mapped, and cost pages when they are used. */
#define MOST_BYTES 4300u
/* Of these the front-end by hand in this process has five: connection, memory, kick, call and error. */
#define MOST_FDS 13u

static struct vht_peer peers[PEERS];

static uint32_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void begin(struct vht_peer *p)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .max_queues = 1};

	vht_peer_init(p, NULL, &dev, 0);
	vht_negotiate(p, VHT_VERSION | VHT_BIT30);
	vht_send_mem(p);
	vht_ring_up(p, 0);
	assert_int_equal(vh_queue_state(p->echo.queues[0]), VH_QUEUE_RUNNING);
}

static void an_idle_device_is_small(void **state)
{
	size_t bytes;
	uint32_t fds;

	(void)state;
	begin(&peers[0]); /* and what is there once */
	bytes = mallinfo2().uordblks;
	fds = open_fds();
	for (int i = 1; i < PEERS; i++)
		begin(&peers[i]);
	bytes = (mallinfo2().uordblks - bytes) / (PEERS - 1);
	fds = (open_fds() - fds) / (PEERS - 1);
	print_message("%zu bytes of heap and %u fds for a device and its front-end by hand\n", bytes, fds);
	assert_in_range(bytes, 0, MOST_BYTES);
	assert_in_range(fds, 0, MOST_FDS);
	for (int i = 0; i < PEERS; i++)
		vht_peer_free(&peers[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_device_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "vht_master.h"

struct vh_master *vht_master_new(uint32_t timeout_ms)
{
	struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = timeout_ms};
	struct vh_master *m = NULL;

	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), 0);
	return m;
}

int vht_master_pair(struct vh_master *m)
{
	int32_t peer = -1;

	assert_int_equal(vh_master_socketpair(m, &peer), 0);
	return peer;
}

struct vh_master *vht_master_with(struct vht_backend *b, uint32_t timeout_ms)
{
	struct vh_master *m = vht_master_new(timeout_ms);

	vht_backend_start(b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, UINT64_C(1) << VH_F_VERSION_1, NULL), 0);
	return m;
}

int vht_submit(struct vh_master *m, uint32_t request, uint32_t reply, const void *payload, uint32_t size,
	       uint64_t *ticket)
{
	struct vh_msg msg = {.size = sizeof(msg),
			     .request = request,
			     .reply = reply,
			     .payload = (uint64_t)(uintptr_t)payload,
			     .payload_size = size};

	return vh_master_submit(m, &msg, NULL, ticket);
}

static void dispatch(struct vh_master *m, int *rc)
{
	struct pollfd p = {.fd = vh_master_fd(m), .events = POLLIN};

	if (poll(&p, 1, VHT_WAIT_MS) != 1)
		fail_msg("the front-end's fd does not become readable");
	*rc = vh_master_dispatch(m);
}

int vht_finish(struct vh_master *m, uint64_t ticket, void *payload, uint32_t cap, uint32_t *size)
{
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	int rc;

	while ((rc = vh_master_finish(m, ticket, payload, cap, NULL, 0, &reply)) == -EINPROGRESS) {
		int unused;

		dispatch(m, &unused);
	}
	if (!rc && size)
		*size = reply.payload_size;
	return rc;
}

int vht_until_failed(struct vh_master *m)
{
	int rc;

	do
		dispatch(m, &rc);
	while (rc >= 0);
	return rc;
}

static void answer_by_hand(struct vh_master *m, int fd, uint32_t request, const uint64_t *payload, uint64_t value)
{
	uint64_t ticket;
	struct vht_msg msg;

	assert_int_equal(vht_submit(m, request, VH_REPLY_TABLE, payload, payload ? 8 : 0, &ticket), 0);
	assert_int_equal(vht_recv(fd, &msg), 1);
	assert_int_equal(msg.request, request);
	if (!ticket)
		return;
	vht_send_u64(fd, request, 5, value);
	assert_int_equal(vht_finish(m, ticket, &value, sizeof(value), NULL), 0);
}

void vht_negotiate_by_hand(struct vh_master *m, int fd, uint64_t features, uint64_t protocol_features)
{
	answer_by_hand(m, fd, 1, NULL, features);
	answer_by_hand(m, fd, 15, NULL, protocol_features);
	answer_by_hand(m, fd, 16, &protocol_features, 0);
	answer_by_hand(m, fd, 2, &features, 0);
}

struct vh_event vht_last_event(struct vh_master *m)
{
	struct vh_event e = {.size = sizeof(e)};

	assert_int_equal(vh_master_next_event(m, &e), 1);
	while (vh_master_next_event(m, &e))
		;
	return e;
}

static struct vh_error last;

uint32_t vht_site(void)
{
	last.size = sizeof(last);
	assert_int_equal(vh_error_get(&last), 0);
	return last.site;
}

const char *vht_text(void)
{
	vht_site();
	return last.text;
}

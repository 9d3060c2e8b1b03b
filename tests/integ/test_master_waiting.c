/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The callback waiting(): asked by calls that wait, whether they shall go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "vht_master.h"

struct asked {
	struct vh_master *m;
	int fd;		/* the back-end's end */
	unsigned times; /* that it was asked */
	unsigned yes;	/* times that it says so */
	bool reply;	/* the back-end replies when it is asked the second time */
	bool disconnect;
	vh_rc inside; /* of a call that waits */
};

static vh_rc waiting(void *ctx)
{
	struct asked *a = ctx;
	uint64_t v;

	a->times++;
	a->inside = vh_master_get_features(a->m, &v);
	if (a->reply && a->times == 2)
		vht_send_u64(a->fd, 1, 5, 41);
	if (a->disconnect)
		assert_int_equal(vh_master_disconnect(a->m), 0);
	return a->times > a->yes ? -EINTR : 0;
}

static void master(struct asked *a)
{
	const struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 20000};
	const struct vh_master_ops ops = {.size = sizeof(ops), .waiting = waiting};

	assert_int_equal(vh_master_new(&opts, &ops, a, &a->m), 0);
}

static void ended(struct asked *a)
{
	vh_master_free(a->m);
	if (a->fd >= 0)
		close(a->fd);
}

static void nobody(int sig)
{
	(void)sig;
}

static void alarms_every(int us)
{
	struct sigaction sa = {.sa_handler = nobody};
	struct itimerval it = {.it_interval = {.tv_usec = us}, .it_value = {.tv_usec = us}};

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static void a_wait_that_nothing_disturbs_asks_and_ends_when_told(void **state)
{
	struct asked a = {.yes = 1};
	struct vht_msg msg;
	uint64_t v = 3;

	(void)state;
	master(&a);
	a.fd = vht_master_pair(a.m);
	assert_int_equal(vh_master_get_features(a.m, &v), -EINTR);
	assert_int_equal(v, 3);
	assert_int_equal(a.times, 2);
	assert_int_equal(a.inside, -EDEADLK);
	/* The connection is whole. */
	a.yes = 1000;
	vht_recv(a.fd, &msg);
	vht_send_u64(a.fd, 1, 5, 41);
	assert_int_equal(vh_master_resume(a.m), 0);
	ended(&a);
}

static void signals_do_not_end_a_wait_that_is_to_go_on(void **state)
{
	struct asked a = {.yes = 1000000, .reply = true};
	uint64_t v = 0;

	(void)state;
	master(&a);
	a.fd = vht_master_pair(a.m);
	alarms_every(5000);
	assert_int_equal(vh_master_get_features(a.m, &v), 0);
	alarms_every(0);
	assert_int_equal(v, 41);
	assert_true(a.times >= 2);
	ended(&a);
}

static void an_accept_asks_too(void **state)
{
	struct asked a = {.yes = 1, .fd = -1};
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vht-waiting-%d", (int)getpid());
	master(&a);
	assert_int_equal(vh_master_listen(a.m, path), 0);
	assert_int_equal(vh_master_accept(a.m), -EINTR);
	assert_int_equal(a.times, 2);
	ended(&a);
}

static void the_connection_may_be_ended_from_there(void **state)
{
	struct asked a = {.yes = 1000, .disconnect = true};
	uint64_t v;

	(void)state;
	master(&a);
	a.fd = vht_master_pair(a.m);
	assert_int_equal(vh_master_get_features(a.m, &v), -ECONNRESET);
	assert_int_equal(a.times, 1);
	ended(&a);
}

static void dispatch_does_not_ask(void **state)
{
	struct asked a = {.yes = 0};

	(void)state;
	master(&a);
	a.fd = vht_master_pair(a.m);
	for (int i = 0; i < 3; i++)
		assert_int_equal(vh_master_dispatch(a.m), 0);
	assert_int_equal(a.times, 0);
	ended(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_that_nothing_disturbs_asks_and_ends_when_told),
		cmocka_unit_test(signals_do_not_end_a_wait_that_is_to_go_on),
		cmocka_unit_test(an_accept_asks_too),
		cmocka_unit_test(the_connection_may_be_ended_from_there),
		cmocka_unit_test(dispatch_does_not_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

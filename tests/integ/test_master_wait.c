/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Waiting: deadlines, signals, cancel, stop, peers that don't read, ends of connections and the next one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vhi_master.h"
#include "vht_master.h"

#define BIT(n) (UINT64_C(1) << (n))
#define SHORT  60 /* ms: a deadline that is meant to pass */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void a_passed_deadline_fails_the_connection_and_the_handle_can_begin_another(void **state)
{
	unsigned before = vht_open_fds();
	struct vh_master *m = vht_master_new(SHORT);
	struct vh_event e = {.size = sizeof(e)};
	int fd = vht_master_pair(m);
	double t = now();
	uint64_t v = 3;

	(void)state;
	assert_int_equal(vh_master_get_features(m, &v), -ETIMEDOUT);
	assert_true(now() - t >= SHORT / 1e3);
	assert_int_equal(v, 3);
	assert_non_null(strstr(vht_text(), "GET_FEATURES"));
	assert_int_equal(vh_master_get_features(m, &v), -ENOTCONN);
	assert_non_null(strstr(vht_text(), "did not answer GET_FEATURES"));
	assert_int_equal(vh_master_dispatch(m), -ENOTCONN);
	e = vht_last_event(m);
	assert_int_equal(e.kind, VH_EVENT_DISCONNECTED);
	assert_int_equal(e.reason, -ETIMEDOUT);
	assert_int_equal(vh_master_next_event(m, &e), 0);
	assert_int_equal(vh_master_next_event(m, NULL), -EINVAL);
	close(fd);

	/* The late reply of the first connection can't reach the second. */
	fd = vht_master_pair(m);
	vht_negotiate_by_hand(m, fd, BIT(32) | BIT(30), BIT(3));
	close(fd);
	vh_master_free(m);
	assert_int_equal(vht_open_fds(), before);
}

static void the_fd_becomes_readable_when_a_deadline_passes(void **state)
{
	struct vh_master *m = vht_master_new(SHORT);
	int fd = vht_master_pair(m);
	uint64_t t;

	(void)state;
	assert_int_equal(vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, &t), 0);
	assert_int_equal(vh_master_dispatch(m), 0);
	assert_int_equal(vht_until_failed(m), -ETIMEDOUT);
	assert_int_equal(vh_master_finish(m, t, NULL, 0, NULL, 0, NULL), -ETIMEDOUT);
	vh_master_free(m);
	close(fd);
}

static void a_message_that_does_not_end_fails_the_connection(void **state)
{
	struct vh_master *m = vht_master_new(SHORT);
	int fd = vht_master_pair(m);

	(void)state;
	assert_int_equal(write(fd, "\1\0\0", 3), 3);
	assert_int_equal(vht_until_failed(m), -ETIMEDOUT);
	assert_int_equal(vht_site(), 202);
	vh_master_free(m);
	close(fd);
}

static bool slow_base(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != 11 && m->request != 45)
		return false;
	usleep(SHORT * 4000);
	if (m->request == 45)
		vht_send_u64(b->fd, 45, 5, VHT_PAIR(vht_u32(m, 0), 7));
	return m->request == 45;
}

static void get_vring_base_has_ten_times_the_deadline(void **state)
{
	const uint64_t pf = UINT64_C(1) << VH_PF_GET_VRING_BASE_SKIP_DRAIN |
			    UINT64_C(1) << VH_PF_GET_VRING_BASE_INFLIGHT | UINT64_C(1) << VH_PF_INFLIGHT_SHMFD;
	const struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = SHORT, .more_protocol_features = pf};
	struct vht_backend b;
	struct vh_master *m;
	uint64_t acked;
	uint32_t base = 0;

	(void)state;
	vht_backend_init(&b);
	b.protocol_features |= pf;
	b.script = slow_base;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), 0);
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, UINT64_C(1) << 32, &acked), 0);
	assert_int_equal(vh_master_get_vring_base(m, 1, &base), 0);
	assert_int_equal(base, 101);
	/* What is left in the records is still the device's for a while. */
	assert_int_equal(vh_master_get_vring_base_skip_drain(m, 1, &base), 0);
	assert_int_equal(base, 7);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void a_request_behind_a_slow_one_is_as_patient(void **state)
{
	struct vh_master *m = vht_master_new(SHORT);
	int fd = vht_master_pair(m);
	const uint32_t ring[2] = {0, 0};
	struct pollfd p = {.fd = vh_master_fd(m), .events = POLLIN};
	uint64_t t[2];

	(void)state;
	assert_int_equal(vht_submit(m, 11, VH_REPLY_TABLE, ring, 8, &t[0]), 0);
	assert_int_equal(vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, &t[1]), 0);
	assert_int_equal(poll(&p, 1, SHORT * 3), 0);
	vht_send_u64(fd, 11, 5, 0);
	vht_send_u64(fd, 1, 5, 0);
	assert_int_equal(vht_finish(m, t[1], &(uint64_t){0}, 8, NULL), 0);
	vh_master_free(m);
	close(fd);
}

static struct vh_master *to_cancel;

static void on_alarm(int sig)
{
	(void)sig;
	if (to_cancel)
		vh_master_cancel(to_cancel);
}

/* A signal in so many ms, and after as many again until alarms_end(): on a busy machine one comes before its wait begins. */
static void alarms(unsigned ms)
{
	const struct timeval t = {.tv_usec = (suseconds_t)ms * 1000};
	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &(struct itimerval){.it_interval = t, .it_value = t}, NULL);
}

static void alarms_end(void)
{
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0}}, NULL);
}

#define assert_interrupted(call)                \
	do {                                    \
		to_cancel = NULL;               \
		alarms(20);                     \
		assert_int_equal(call, -EINTR); \
		alarms_end();                   \
	} while (0)

static void a_signal_ends_the_wait_and_leaves_the_connection_whole(void **state)
{
	struct vh_master *m = vht_master_new(3000);
	int fd = vht_master_pair(m);
	struct vht_msg msg;
	uint64_t v = 0;

	(void)state;
	assert_interrupted(vh_master_get_features(m, &v));
	assert_non_null(strstr(vht_text(), "vh_master_resume"));
	assert_interrupted(vh_master_resume(m));
	vht_recv(fd, &msg);
	vht_send_u64(fd, 1, 5, 41);
	assert_int_equal(vh_master_resume(m), 0);
	/* The reply that nobody waited for is gone: the next request gets its own. */
	assert_interrupted(vh_master_get_features(m, &v));
	vht_recv(fd, &msg);
	vht_send_u64(fd, 1, 5, 42);
	vht_send_u64(fd, 1, 5, 43);
	assert_int_equal(vh_master_get_features(m, &v), 0);
	assert_int_equal(v, 43);
	vh_master_free(m);
	close(fd);
}

static void resume_gives_the_result_of_the_interrupted_call_once(void **state)
{
	static const struct {
		uint64_t status;
		int rc;
	} cases[] = {{0, 0}, {1, -EREMOTEIO}};
	struct vh_master *m = vht_master_new(3000);
	int fd = vht_master_pair(m);
	struct vht_msg msg;
	uint64_t v = 0;

	(void)state;
	vht_negotiate_by_hand(m, fd, BIT(30), BIT(3));
	for (unsigned taken = 0; taken < 2; taken++)
		for (unsigned i = 0; i < 2; i++) {
			assert_interrupted(vh_master_set_vring_num(m, 0, 4));
			vht_recv(fd, &msg);
			vht_send_u64(fd, 8, 5, cases[i].status);
			/* Also when another call has taken the reply in. */
			if (taken)
				assert_int_equal(vh_master_dispatch(m), 0);
			assert_int_equal(vh_master_resume(m), cases[i].rc);
			if (cases[i].rc)
				assert_non_null(strstr(vht_text(), "refused SET_VRING_NUM"));
			assert_int_equal(vh_master_resume(m), 0);
		}
	/* A request that nobody waits for is none that was interrupted. */
	assert_int_equal(vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, NULL), 0);
	vht_recv(fd, &msg);
	assert_int_equal(vh_master_resume(m), 0);
	vht_send_u64(fd, 1, 5, 0);
	/* Features that were refused after the signal are not acked. */
	assert_int_equal(vh_master_dispatch(m), 0);
	assert_interrupted(vh_master_set_features(m, 0));
	vht_recv(fd, &msg);
	vht_send_u64(fd, 2, 5, 1);
	assert_int_equal(vh_master_resume(m), -EREMOTEIO);
	assert_int_equal(m->features.acked, BIT(30));
	/* The connection ends instead of an answer, and another call hears of it first. */
	assert_interrupted(vh_master_set_vring_num(m, 0, 4));
	close(fd);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	assert_int_equal(vh_master_resume(m), -ECONNRESET);
	assert_int_equal(vh_master_resume(m), 0);
	assert_int_equal(vh_master_get_features(m, &v), -ENOTCONN);
	vh_master_free(m);
}

static void a_signal_before_a_message_could_be_sent_is_told(void **state)
{
	struct vh_master *m = vht_master_new(3000);
	int fd = vht_master_pair(m);
	uint8_t big[4000] = {0};

	(void)state;
	while (vht_submit(m, 5000, VH_REPLY_NONE, big, sizeof(big), NULL) == 0)
		;
	/* Small ones until there is no room for them either. */
	while (vht_submit(m, 5000, VH_REPLY_NONE, NULL, 0, NULL) == 0)
		;
	assert_interrupted(vh_master_set_owner(m));
	assert_int_equal(vh_master_resume(m), -EAGAIN);
	assert_non_null(strstr(vht_text(), "SET_OWNER was not sent"));
	assert_int_equal(vh_master_resume(m), 0);
	vh_master_free(m);
	close(fd);
}

static void of_two_refusals_in_a_row_the_first_state_is_left(void **state)
{
	struct vh_master *m = vht_master_new(3000);
	int fd = vht_master_pair(m);
	uint64_t t[2];

	(void)state;
	vht_negotiate_by_hand(m, fd, BIT(30) | BIT(32), BIT(3));
	assert_int_equal(vht_submit(m, 2, VH_REPLY_TABLE, &(uint64_t){BIT(30)}, 8, &t[0]), 0);
	assert_int_equal(vht_submit(m, 2, VH_REPLY_TABLE, &(uint64_t){BIT(32)}, 8, &t[1]), 0);
	vht_send_u64(fd, 2, 5, 1);
	assert_int_equal(vht_finish(m, t[0], NULL, 0, NULL), -EREMOTEIO);
	assert_int_equal(m->features.acked, BIT(32));
	vht_send_u64(fd, 2, 5, 1);
	assert_int_equal(vht_finish(m, t[1], NULL, 0, NULL), -EREMOTEIO);
	assert_int_equal(m->features.acked, BIT(30) | BIT(32));
	/* Protocol features alike. */
	assert_int_equal(vht_submit(m, 16, VH_REPLY_ACK, &(uint64_t){0}, 8, &t[0]), 0);
	vht_send_u64(fd, 16, 5, 1);
	assert_int_equal(vht_finish(m, t[0], NULL, 0, NULL), -EREMOTEIO);
	assert_int_equal(m->features.pf_acked, BIT(3));
	vh_master_free(m);
	close(fd);
}

static void cancel_in_a_signal_handler_ends_the_wait_and_the_connection(void **state)
{
	struct vh_master *m = vht_master_new(3000);
	int fd = vht_master_pair(m);
	uint64_t v;

	(void)state;
	to_cancel = m;
	alarms(20);
	assert_int_equal(vh_master_get_features(m, &v), -ECANCELED);
	alarms_end();
	to_cancel = NULL;
	assert_int_equal(vh_master_get_features(m, &v), -ENOTCONN);
	assert_int_equal(vh_master_cancel(NULL), -EINVAL);
	close(fd);
	/* A cancel does not outlive its connection. */
	assert_int_equal(vh_master_cancel(m), 0);
	fd = vht_master_pair(m);
	vht_negotiate_by_hand(m, fd, BIT(30), 0);
	/* One that comes between waits ends the next. */
	assert_int_equal(vh_master_cancel(m), 0);
	assert_int_equal(vh_master_get_features(m, &v), -ECANCELED);
	vh_master_free(m);
	close(fd);
}

struct helper {
	struct vh_master *m;
	int (*call)(struct vh_master *m);
	int rc;
	double took;
};

static void *help(void *arg)
{
	struct helper *h = arg;
	double t = now();

	usleep(30000);
	t = now();
	h->rc = h->call(h->m);
	h->took = now() - t;
	return NULL;
}

static void cancel_from_another_thread(void **state)
{
	struct vh_master *m = vht_master_new(3000);
	struct helper h = {.m = m, .call = vh_master_cancel};
	int fd = vht_master_pair(m);
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, help, &h);
	assert_int_equal(vh_master_set_vring_num(m, 0, 1), 0); /* no reply is expected */
	assert_int_equal(vh_master_get_features(m, &(uint64_t){0}), -ECANCELED);
	pthread_join(thread, NULL);
	assert_int_equal(h.rc, 0);
	vh_master_free(m);
	close(fd);
}

static void stop_from_another_thread_ends_every_wait_at_once(void **state)
{
	char path[] = "/tmp/vht-stop-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(path));
	for (int i = 0; i < 2; i++) {
		struct vh_master *m = vht_master_new(20000);
		struct helper h = {.m = m, .call = vh_master_stop};
		char sock[64];
		pthread_t thread;
		int fd = -1;

		snprintf(sock, sizeof(sock), "%s/s", path);
		if (i)
			assert_int_equal(vh_master_listen(m, sock), 0);
		else
			fd = vht_master_pair(m);
		pthread_create(&thread, NULL, help, &h);
		if (i)
			assert_int_equal(vh_master_accept(m), -ESHUTDOWN);
		else
			assert_int_equal(vh_master_get_features(m, &(uint64_t){0}), -ESHUTDOWN);
		pthread_join(thread, NULL);
		assert_int_equal(h.rc, 0);
		assert_true(h.took < 1);
		assert_int_equal(vh_master_dispatch(m), -ESHUTDOWN);
		assert_int_equal(vh_master_set_owner(m), -ESHUTDOWN);
		vh_master_free(m);
		close(fd);
	}
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(vh_master_stop(NULL), -EINVAL);
}

static int get_features(struct vh_master *m)
{
	return vh_master_get_features(m, &(uint64_t){0});
}

static int next_event(struct vh_master *m)
{
	return vh_master_next_event(m, &(struct vh_event){.size = sizeof(struct vh_event)});
}

static int get_stats(struct vh_master *m)
{
	return vh_master_get_stats(m, &(struct vh_master_stats){.size = sizeof(struct vh_master_stats)});
}

static int submit(struct vh_master *m)
{
	return vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, NULL);
}

static int finish(struct vh_master *m)
{
	return vh_master_finish(m, 1, NULL, 0, NULL, 0, NULL);
}

static int answer(struct vh_master *m)
{
	return vh_master_answer(m, 1, 0, NULL, 0, NULL, 0);
}

static int adopt(struct vh_master *m)
{
	return vh_master_adopt(m, 0);
}

static int no_log(struct vh_master *m)
{
	return vh_master_set_logger(m, NULL, NULL);
}

static int no_trace(struct vh_master *m)
{
	return vh_master_set_trace(m, NULL, NULL);
}

static int every_call_is_busy(struct vh_master *m)
{
	static int (*const calls[])(struct vh_master * m) = {
		get_features,
		vh_master_set_owner,
		vh_master_dispatch,
		vh_master_resume,
		submit,
		finish,
		answer,
		vh_master_disconnect,
		vh_master_accept,
		next_event,
		get_stats,
		adopt,
		no_log,
		no_trace,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct vh_error e = {.size = sizeof(e)};

		vh_master_fd(NULL); /* another error before it */
		if (calls[i](m) != -EBUSY || vh_error_get(&e) || e.code != -EBUSY || !strstr(e.text, "another thread"))
			return (int)i + 1;
	}
	return -EBUSY;
}

static void a_second_thread_is_sent_away_and_told_why(void **state)
{
	struct vh_master *m = vht_master_new(400);
	struct helper h = {.m = m, .call = every_call_is_busy};
	int fd = vht_master_pair(m);
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, help, &h);
	assert_int_equal(get_features(m), -ETIMEDOUT);
	pthread_join(thread, NULL);
	assert_int_equal(h.rc, -EBUSY);
	vh_master_free(m);
	close(fd);
}

static void a_back_end_that_never_reads_is_given_up(void **state)
{
	struct vh_master *m = vht_master_new(SHORT);
	int rc, fd = vht_master_pair(m);
	uint8_t big[4000] = {0};
	unsigned n = 0;

	(void)state;
	while (!(rc = vht_submit(m, 5000, VH_REPLY_NONE, big, sizeof(big), NULL)))
		assert_true(n++ < 1000);
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(vht_until_failed(m), -ETIMEDOUT);
	assert_non_null(strstr(vht_text(), "read nothing"));
	close(fd);

	/* A waiting call waits for room first. */
	fd = vht_master_pair(m);
	do
		rc = vh_master_set_owner(m);
	while (!rc);
	assert_int_equal(rc, -ETIMEDOUT);
	vh_master_free(m);
	close(fd);
}

static void *drain(void *arg)
{
	char buf[65536];
	ssize_t n, all = 0;

	usleep(30000);
	while ((n = read(*(int *)arg, buf, sizeof(buf))) > 0)
		all += n;
	return (void *)all;
}

static void a_back_end_that_reads_late_loses_nothing(void **state)
{
	struct vh_master *m = vht_master_new(3000);
	int fd = vht_master_pair(m);
	uint8_t big[4000] = {0};
	pthread_t thread;
	ssize_t n = 0;
	void *all;

	(void)state;
	while (vht_submit(m, 5000, VH_REPLY_NONE, big, sizeof(big), NULL) == 0)
		n += 4012;
	pthread_create(&thread, NULL, drain, &fd);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(vh_master_set_owner(m), 0);
	n += 12 * 1000;
	/* What is still queued leaves when the fd says so. */
	for (struct vh_master_stats s = {.size = sizeof(s)}; s.bytes_out < (uint64_t)n;) {
		struct pollfd p = {.fd = vh_master_fd(m), .events = POLLIN};

		assert_int_equal(vh_master_dispatch(m), 0);
		assert_int_equal(vh_master_get_stats(m, &s), 0);
		if (s.bytes_out < (uint64_t)n)
			assert_int_equal(poll(&p, 1, VHT_WAIT_MS), 1);
	}
	vh_master_free(m);
	pthread_join(thread, &all);
	assert_int_equal((ssize_t)all, n);
	close(fd);
}

static bool close_at_config(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request == 24)
		shutdown(b->fd, SHUT_RDWR);
	return m->request == 24;
}

static bool close_at_num(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request == 8)
		shutdown(b->fd, SHUT_RDWR);
	return m->request == 8;
}

static void the_end_of_a_connection_is_explained(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	uint8_t buf[8];
	int fd;

	(void)state;
	vht_backend_init(&b);
	b.script = close_at_config;
	m = vht_master_with(&b, 2000);
	assert_int_equal(vh_master_get_config(m, 0, buf, 8), -ECONNRESET);
	assert_non_null(strstr(vht_text(), "closed the connection during GET_CONFIG"));
	vht_backend_stop(&b);

	/* Nothing was awaited: the next call finds out. */
	vht_backend_init(&b);
	b.script = close_at_num;
	b.protocol_features = 0;
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, BIT(32), NULL), 0);
	assert_int_equal(vh_master_set_vring_num(m, 0, 2), 0);
	assert_int_equal(vh_master_get_features(m, &(uint64_t){0}), -ECONNRESET);
	vht_backend_stop(&b);

	/* The only hint is what it did not offer. */
	fd = vht_master_pair(m);
	vht_negotiate_by_hand(m, fd, BIT(30), 0);
	assert_int_equal(vht_submit(m, 16, VH_REPLY_TABLE, &(uint64_t){BIT(VH_PF_CONFIG)}, 8, NULL), 0);
	assert_int_equal(vht_submit(m, 24, VH_REPLY_TABLE, (uint32_t[3]){0, 0, 0}, 12, &(uint64_t){0}), 0);
	close(fd);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	assert_non_null(strstr(vht_text(), "during GET_CONFIG (it did not offer CONFIG)"));

	fd = vht_master_pair(m);
	assert_int_equal(write(fd, "\1\0\0\0\5", 5), 5);
	close(fd);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	assert_non_null(strstr(vht_text(), "middle of a message"));
	assert_int_equal(vht_site(), 203);
	fd = vht_master_pair(m);
	close(fd);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	assert_non_null(strstr(vht_text(), "before the first request"));
	vh_master_free(m);
}

static void what_the_back_end_said_before_it_closed_is_heard(void **state)
{
	struct vh_master *m = vht_master_new(2000);
	int fd = vht_master_pair(m);
	uint64_t t[2];

	(void)state;
	assert_int_equal(vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, &t[0]), 0);
	vht_send_u64(fd, 1, 5, 9);
	close(fd);
	/* The pipe is broken when this is sent; the reply to the first is there all the same. */
	assert_int_equal(vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, &t[1]), -ECONNRESET);
	assert_int_equal(vh_master_finish(m, t[0], NULL, 0, NULL, 0, NULL), 0);
	vh_master_free(m);
}

static int client(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int server(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void connects_to_a_path_and_again_after_a_failure(void **state)
{
	unsigned before = vht_open_fds();
	char dir[] = "/tmp/vht-conn-XXXXXX", path[64], url[80];
	struct vh_master *m = vht_master_new(1000);
	int listener;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(url, sizeof(url), "unix:%s", path);
	assert_int_equal(vh_master_connect(m, path), -ENOENT);
	assert_int_equal(vh_master_connect(m, NULL), -EINVAL);
	assert_int_equal(vh_master_connect(m, ""), -EINVAL);
	listener = server(path);
	for (int i = 0; i < 200; i++) {
		int fd;

		assert_int_equal(vh_master_connect(m, i & 1 ? path : url), 0);
		assert_int_equal(vh_master_connect(m, path), -EISCONN);
		fd = accept(listener, NULL, NULL);
		vht_negotiate_by_hand(m, fd, BIT(32) | BIT(30), BIT(3));
		close(fd);
		assert_int_equal(vht_until_failed(m), -ECONNRESET);
	}
	close(listener);
	assert_int_equal(vh_master_connect(m, path), -ECONNREFUSED);
	unlink(path);
	rmdir(dir);
	vh_master_free(m);
	assert_int_equal(vht_open_fds(), before);
}

static void server_mode_takes_one_back_end_after_the_other(void **state)
{
	unsigned before = vht_open_fds();
	char dir[] = "/tmp/vht-serv-XXXXXX", path[64];
	struct vh_master *m = vht_master_new(SHORT);
	struct vh_event e = {.size = sizeof(e)};
	int first, second;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(vh_master_accept(m), -EINVAL);
	assert_int_equal(vh_master_listen(m, path), 0);
	assert_int_equal(vh_master_listen(m, path), -EISCONN);
	assert_int_equal(vh_master_accept(m), -ETIMEDOUT);
	vh_master_free(m);
	m = vht_master_new(3000);
	assert_int_equal(vh_master_listen(m, path), 0);
	assert_interrupted(vh_master_accept(m));
	first = client(path);
	assert_int_equal(vh_master_accept(m), 0);
	assert_int_equal(vh_master_accept(m), -EISCONN);
	assert_int_equal(vh_master_next_event(m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_CONNECTED);
	/* The second waits, and keeps nobody busy. */
	second = client(path);
	assert_int_equal(vh_master_dispatch(m), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_master_fd(m), .events = POLLIN}, 1, 10), 0);
	vht_negotiate_by_hand(m, first, BIT(30), 0);
	close(first);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	/* Its turn comes without vh_master_accept() too, by dispatch. */
	assert_int_equal(vh_master_dispatch(m), 0);
	assert_int_equal(vh_master_next_event(m, &e), 1);
	assert_int_equal(vh_master_next_event(m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_CONNECTED);
	vht_negotiate_by_hand(m, second, BIT(30), 0);
	close(second);
	vh_master_free(m);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(vht_open_fds(), before);
}

static void expect_end(struct vh_master *m, int32_t reason)
{
	struct vh_event e = vht_last_event(m);

	assert_int_equal(e.kind, VH_EVENT_DISCONNECTED);
	assert_int_equal(e.reason, reason);
}

static void the_reason_of_an_end_is_negative_or_0_when_the_peer_closed_between_messages(void **state)
{
	struct vh_master *m = vht_master_new(2000);
	uint64_t ticket;
	int fd;

	(void)state;
	for (int awaited = 0; awaited < 2; awaited++) {
		fd = vht_master_pair(m);
		assert_int_equal(vht_last_event(m).kind, VH_EVENT_CONNECTED);
		if (awaited)
			assert_int_equal(vht_submit(m, 1, VH_REPLY_TABLE, NULL, 0, &ticket), 0);
		close(fd);
		assert_int_equal(vht_until_failed(m), -ECONNRESET);
		expect_end(m, 0);
	}
	/* Found out by a send. */
	fd = vht_master_pair(m);
	assert_int_equal(shutdown(fd, SHUT_RD), 0);
	assert_int_equal(vh_master_set_owner(m), -ECONNRESET);
	close(fd);
	expect_end(m, 0);
	fd = vht_master_pair(m);
	assert_int_equal(write(fd, "\1\0\0", 3), 3);
	close(fd);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	expect_end(m, -ECONNRESET);
	fd = vht_master_pair(m);
	assert_int_equal(vh_master_disconnect(m), 0);
	expect_end(m, -ECANCELED);
	close(fd);
	fd = vht_master_pair(m);
	assert_int_equal(vh_master_cancel(m), 0);
	assert_int_equal(vh_master_get_features(m, &ticket), -ECANCELED);
	expect_end(m, -ECANCELED);
	close(fd);
	vh_master_free(m);
}

static void after_an_end_and_another_beginning_the_last_event_is_connected(void **state)
{
	char dir[] = "/tmp/vht-news-XXXXXX", path[64];
	struct vh_master *m = vht_master_new(2000);
	struct vh_event e = {.size = sizeof(e)};
	int fd[2];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(vh_master_listen(m, path), 0);
	fd[0] = client(path);
	assert_int_equal(vh_master_accept(m), 0);
	close(fd[0]);
	assert_int_equal(vht_until_failed(m), -ECONNRESET);
	fd[1] = client(path);
	assert_int_equal(vh_master_accept(m), 0);
	assert_int_equal(vh_master_next_event(m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_DISCONNECTED);
	assert_int_equal(e.count, 1);
	assert_int_equal(vh_master_next_event(m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_CONNECTED);
	assert_int_equal(e.count, 2);
	assert_int_equal(vh_master_next_event(m, &e), 0);
	vh_master_free(m);
	close(fd[1]);
	assert_int_equal(rmdir(dir), 0);
}

static void cancel_ends_an_accept(void **state)
{
	char dir[] = "/tmp/vht-canc-XXXXXX", path[64];
	struct vh_master *m = vht_master_new(3000);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(vh_master_listen(m, path), 0);
	to_cancel = m;
	alarms(20);
	assert_int_equal(vh_master_accept(m), -ECANCELED);
	alarms_end();
	to_cancel = NULL;
	vh_master_free(m);
	assert_int_equal(rmdir(dir), 0);
}

static void adopts_connected_sockets_only(void **state)
{
	struct vh_master *m = vht_master_new(1000);
	int pair[2], listener = socket(AF_UNIX, SOCK_STREAM, 0), p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(listen(listener, 1), -1);
	assert_int_equal(
		bind(listener, (struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}, sizeof(sa_family_t)),
		0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(vh_master_adopt(m, listener), -EINVAL);
	assert_int_equal(vh_master_adopt(m, p[0]), -ENOTSOCK);
	assert_int_equal(vh_master_adopt(m, -1), -EBADF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(vh_master_adopt(m, pair[0]), 0);
	assert_int_equal(vh_master_adopt(m, pair[0]), -EISCONN);
	vht_negotiate_by_hand(m, pair[1], BIT(30), 0);
	/* The caller's copy stays open: closing ours must take it out of the epoll set all the same. */
	assert_int_equal(vh_master_disconnect(m), 0);
	vht_send_u64(pair[1], 1, 5, 0);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_master_fd(m), .events = POLLIN}, 1, 20), 0);
	vh_master_free(m);
	close(pair[0]);
	close(pair[1]);
	close(listener);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_passed_deadline_fails_the_connection_and_the_handle_can_begin_another),
		cmocka_unit_test(the_fd_becomes_readable_when_a_deadline_passes),
		cmocka_unit_test(a_message_that_does_not_end_fails_the_connection),
		cmocka_unit_test(get_vring_base_has_ten_times_the_deadline),
		cmocka_unit_test(a_request_behind_a_slow_one_is_as_patient),
		cmocka_unit_test(a_signal_ends_the_wait_and_leaves_the_connection_whole),
		cmocka_unit_test(resume_gives_the_result_of_the_interrupted_call_once),
		cmocka_unit_test(a_signal_before_a_message_could_be_sent_is_told),
		cmocka_unit_test(of_two_refusals_in_a_row_the_first_state_is_left),
		cmocka_unit_test(cancel_in_a_signal_handler_ends_the_wait_and_the_connection),
		cmocka_unit_test(cancel_from_another_thread),
		cmocka_unit_test(stop_from_another_thread_ends_every_wait_at_once),
		cmocka_unit_test(a_second_thread_is_sent_away_and_told_why),
		cmocka_unit_test(a_back_end_that_never_reads_is_given_up),
		cmocka_unit_test(a_back_end_that_reads_late_loses_nothing),
		cmocka_unit_test(the_end_of_a_connection_is_explained),
		cmocka_unit_test(what_the_back_end_said_before_it_closed_is_heard),
		cmocka_unit_test(connects_to_a_path_and_again_after_a_failure),
		cmocka_unit_test(server_mode_takes_one_back_end_after_the_other),
		cmocka_unit_test(the_reason_of_an_end_is_negative_or_0_when_the_peer_closed_between_messages),
		cmocka_unit_test(after_an_end_and_another_beginning_the_last_event_is_connected),
		cmocka_unit_test(cancel_ends_an_accept),
		cmocka_unit_test(adopts_connected_sockets_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

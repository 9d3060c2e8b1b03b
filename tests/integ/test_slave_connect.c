/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A back-end that connects to a front-end which listens, once or by a policy; and the kinds of addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vht_peer.h"

/* Short, so that tests are; the order of things does not depend on it. */
static const struct vh_reconnect quick = {.size = sizeof(quick), .max_tries = 3, .first_ms = 1, .max_ms = 4};

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static char dir[64], path[96];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/vht-connect-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	vht_peer_prepare(p, NULL, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	unlink(path);
	return rmdir(dir);
}

/* A front-end by hand. */
static int listener(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

/* Serve until there is such an event; others are taken on the way. */
static struct vh_event await_event(struct vh_slave *s, uint32_t kind)
{
	struct vh_event e = {.size = sizeof(e)};

	for (int i = 0; i < 1000; i++) {
		while (vh_slave_next_event(s, &e) == 1)
			if (e.kind == kind)
				return e;
		assert_true(vh_slave_wait(s, 5000) >= 0);
	}
	fail_msg("no event %s", vh_event_name(kind));
	return e;
}

static void serve_until_accepted(struct vh_master *m, struct vh_slave *s)
{
	struct vh_master_stats st = {.size = sizeof(st)};

	for (int i = 0; i < 100000; i++) {
		assert_true(vh_slave_dispatch(s) >= 0);
		assert_true(vh_master_dispatch(m) >= 0);
		assert_int_equal(vh_master_get_stats(m, &st), 0);
		if (st.connected)
			return;
		assert_true(vh_slave_wait(s, 1) >= 0);
	}
	fail_msg("nobody connected");
}

/* One message there and back. */
static void ask(struct vh_master *m, struct vh_slave *s)
{
	const struct vh_msg msg = {.size = sizeof(msg), .request = M_GET_FEATURES};
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	uint64_t ticket, features = 0;
	int rc = -EINPROGRESS;

	assert_int_equal(vh_master_submit(m, &msg, NULL, &ticket), 0);
	for (int i = 0; rc == -EINPROGRESS && i < 100000; i++) {
		assert_true(vh_slave_dispatch(s) >= 0);
		assert_true(vh_master_dispatch(m) >= 0);
		rc = vh_master_finish(m, ticket, &features, sizeof(features), NULL, 0, &reply);
	}
	assert_int_equal(rc, 0);
	assert_true(features & VHT_VERSION);
}

static void scenario_slave_connects(void **state)
{
	struct vh_master *m;
	struct vh_event e;

	(void)state;
	/* Nobody is there yet; then a front-end comes. */
	assert_int_equal(vh_slave_connect(p->s, path, &(struct vh_reconnect){.size = sizeof(quick), .first_ms = 1}), 0);
	e = await_event(p->s, VH_EVENT_RECONNECTING);
	assert_int_equal(e.reason, -ENOENT);
	assert_int_equal(vh_master_new(NULL, NULL, NULL, &m), 0);
	assert_int_equal(vh_master_listen(m, path), 0);
	serve_until_accepted(m, p->s);
	await_event(p->s, VH_EVENT_CONNECTED);
	ask(m, p->s);
	/* It goes, and the next one is served as well. */
	vh_master_free(m);
	e = await_event(p->s, VH_EVENT_DISCONNECTED);
	assert_int_equal(e.reason, 0);
	await_event(p->s, VH_EVENT_RECONNECTING);
	assert_int_equal(vh_master_new(NULL, NULL, NULL, &m), 0);
	assert_int_equal(vh_master_listen(m, path), 0);
	serve_until_accepted(m, p->s);
	ask(m, p->s);
	assert_int_equal(vht_slave_stats(p).connections, 2);
	vh_master_free(m);
}

static void it_gives_up_after_so_many_failures_and_is_free_again(void **state)
{
	struct vh_event e;
	int l;

	(void)state;
	assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
	assert_int_equal(vh_slave_connect(p->s, path, &quick), -EBUSY);
	assert_int_equal(vh_slave_listen(p->s, path), -EBUSY);
	e = await_event(p->s, VH_EVENT_GAVE_UP);
	assert_int_equal(e.reason, -ENOENT);
	assert_int_equal(e.value, 3);
	assert_int_equal(vh_slave_wait(p->s, 20), 0);
	assert_true(vht_no_event(p, VH_EVENT_RECONNECTING));
	l = listener();
	assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
	await_event(p->s, VH_EVENT_CONNECTED);
	close(l);
}

/* One that accepts and hangs up would else be connected to for ever, as fast as it can. */
static void a_connection_without_a_message_is_a_failure(void **state)
{
	struct vh_event e;
	int l = listener();

	(void)state;
	assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
	for (int i = 0; i < 3; i++) {
		await_event(p->s, VH_EVENT_CONNECTED);
		close(accept(l, NULL, NULL));
	}
	e = await_event(p->s, VH_EVENT_GAVE_UP);
	assert_int_equal(e.reason, -ECONNRESET);
	assert_int_equal(e.value, 3);
	assert_int_equal(vht_slave_stats(p).connections, 3);
	close(l);
}

static void a_message_ends_the_row_of_failures(void **state)
{
	int l = listener();

	(void)state;
	assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
	for (int i = 0; i < 6; i++) {
		await_event(p->s, VH_EVENT_CONNECTED);
		p->fd = accept(l, NULL, NULL);
		assert_true(p->fd >= 0);
		vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect(p, M_GET_FEATURES);
		close(p->fd);
		p->fd = -1;
		assert_int_equal(await_event(p->s, VH_EVENT_RECONNECTING).reason, 0);
	}
	close(l);
}

/* Also the end that comes from here leads to the next connection. */
static void a_disconnect_is_followed_by_the_next_try(void **state)
{
	int l = listener();

	(void)state;
	assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
	await_event(p->s, VH_EVENT_CONNECTED);
	assert_int_equal(vh_slave_disconnect(p->s), 0);
	assert_int_equal(await_event(p->s, VH_EVENT_RECONNECTING).reason, -ECANCELED);
	await_event(p->s, VH_EVENT_CONNECTED);
	close(l);
}

static void a_full_backlog_is_a_failure_and_blocks_nobody(void **state)
{
	struct vht_peer other = {.fd = -1};
	int l = listener();

	(void)state;
	assert_int_equal(listen(l, 0), 0);
	vht_peer_prepare(&other, NULL, NULL, 0);
	assert_int_equal(vh_slave_connect(other.s, path, NULL), 0);
	assert_int_equal(vh_slave_connect(p->s, path, NULL), -ETIMEDOUT);
	assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
	assert_int_equal(await_event(p->s, VH_EVENT_GAVE_UP).reason, -ETIMEDOUT);
	vht_peer_free(&other);
	close(l);
}

static void without_a_policy_it_connects_once(void **state)
{
	int l, fd;

	(void)state;
	assert_int_equal(vh_slave_connect(p->s, path, NULL), -ENOENT);
	l = listener();
	assert_int_equal(vh_slave_connect(p->s, path, NULL), 0);
	await_event(p->s, VH_EVENT_CONNECTED);
	fd = accept(l, NULL, NULL);
	close(fd);
	await_event(p->s, VH_EVENT_DISCONNECTED);
	assert_true(vht_no_event(p, VH_EVENT_RECONNECTING));
	assert_true(vht_no_event(p, VH_EVENT_GAVE_UP));
	assert_int_equal(vh_slave_connect(p->s, path, NULL), 0);
	close(l);
}

static void arguments_are_checked(void **state)
{
	const struct vh_reconnect bad = {.size = sizeof(bad), .jitter = 101};
	char fd[16];
	int sv[2];

	(void)state;
	assert_int_equal(vh_slave_connect(NULL, path, &quick), -EINVAL);
	assert_int_equal(vh_slave_connect(p->s, NULL, &quick), -EINVAL);
	assert_int_equal(vh_slave_connect(p->s, "", &quick), -EINVAL);
	assert_int_equal(vh_slave_connect(p->s, "vsock:3", &quick), -EINVAL);
	assert_int_equal(vh_slave_connect(p->s, path, &bad), -EINVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	snprintf(fd, sizeof(fd), "fd:%d", sv[0]);
	/* One that is open already can be used, and not be connected again. */
	assert_int_equal(vh_slave_connect(p->s, fd, &quick), -EINVAL);
	assert_int_equal(vh_slave_connect(p->s, fd, NULL), 0);
	close(sv[0]);
	close(sv[1]);
}

static void a_pause_holds_it_back(void **state)
{
	int l;

	(void)state;
	assert_int_equal(vh_slave_connect(p->s, path, &(struct vh_reconnect){.size = sizeof(quick), .first_ms = 1}), 0);
	await_event(p->s, VH_EVENT_RECONNECTING);
	assert_int_equal(vh_slave_pause(p->s), 0);
	l = listener();
	for (int i = 0; i < 3; i++)
		assert_int_equal(vh_slave_wait(p->s, 20), 0);
	assert_int_equal(vht_slave_stats(p).connections, 0);
	assert_int_equal(vh_slave_resume(p->s), 0);
	await_event(p->s, VH_EVENT_CONNECTED);
	close(l);
}

/* @s is paused; the successor has its state. */
static void hand_over(struct vh_slave *from, struct vh_slave *to)
{
	uint8_t state[8192];
	vh_fd fds[64];
	uint32_t n_fds;
	vh_count n = vh_slave_export(from, state, sizeof(state), fds, 64, &n_fds);

	assert_in_range(n, 1, sizeof(state));
	assert_int_equal(vh_slave_import(to, state, (uint32_t)n, fds, n_fds), 0);
	while (n_fds)
		close(fds[--n_fds]);
}

static void a_successor_goes_on_connecting(void **state)
{
	struct vht_peer next = {.fd = -1};
	int l;

	(void)state;
	for (int connected = 0; connected < 2; connected++) {
		l = connected ? listener() : -1;
		assert_int_equal(vh_slave_connect(p->s, path, &quick), 0);
		await_event(p->s, connected ? VH_EVENT_CONNECTED : VH_EVENT_RECONNECTING);
		if (connected)
			p->fd = accept(l, NULL, NULL);
		assert_int_equal(vh_slave_pause(p->s), 0);
		vht_peer_prepare(&next, NULL, NULL, 0);
		hand_over(p->s, next.s);
		next.fd = p->fd;
		p->fd = -1;
		vht_peer_free(p);
		if (!connected) {
			l = listener();
			await_event(next.s, VH_EVENT_CONNECTED);
			next.fd = accept(l, NULL, NULL);
		}
		vht_msg(&next, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect(&next, M_GET_FEATURES);
		/* And to the next front-end after that. */
		close(next.fd);
		next.fd = -1;
		await_event(next.s, VH_EVENT_RECONNECTING);
		await_event(next.s, VH_EVENT_CONNECTED);
		close(l);
		unlink(path);
		vht_peer_free(&next);
		vht_peer_prepare(p, NULL, NULL, 0);
	}
}

/* A front-end at @at, and a message over it. */
static void meet(const char *at, struct vh_slave *s)
{
	struct vh_master *m;

	assert_int_equal(vh_master_new(NULL, NULL, NULL, &m), 0);
	assert_int_equal(vh_master_connect(m, at), 0);
	ask(m, s);
	vh_master_free(m);
}

static void scenario_addresses(void **state)
{
	char name[64], unix_name[80], fd[16], names[64] = "";
	int l = listener();

	(void)state;
	snprintf(name, sizeof(name), "@vht-connect-%d", getpid());
	snprintf(unix_name, sizeof(unix_name), "unix:%s", name);
	assert_int_equal(vh_slave_listen(p->s, name), 0);
	meet(unix_name, p->s);
	vht_peer_free(p);

	/* A socket that is open already, by its number, and by a name as systemd gives it. */
	vht_peer_prepare(p, NULL, NULL, 0);
	snprintf(fd, sizeof(fd), "fd:%d", l);
	assert_int_equal(vh_slave_listen(p->s, fd), 0);
	meet(path, p->s);
	vht_peer_free(p);
	assert_int_equal(access(path, F_OK), 0);

	vht_peer_prepare(p, NULL, NULL, 0);
	for (int i = 3; i < l; i++)
		strcat(names, ":");
	strcat(names, "disk");
	snprintf(fd, sizeof(fd), "%d", l - 2);
	setenv("LISTEN_FDS", fd, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	snprintf(fd, sizeof(fd), "%d", getpid());
	setenv("LISTEN_PID", fd, 1);
	assert_int_equal(vh_slave_listen(p->s, "systemd:tape"), -EINVAL);
	assert_int_equal(vh_slave_listen(p->s, "systemd:disk"), 0);
	meet(path, p->s);
	unsetenv("LISTEN_PID");
	close(l);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(scenario_slave_connects),
		T(it_gives_up_after_so_many_failures_and_is_free_again),
		T(a_connection_without_a_message_is_a_failure),
		T(a_message_ends_the_row_of_failures),
		T(a_disconnect_is_followed_by_the_next_try),
		T(a_full_backlog_is_a_failure_and_blocks_nobody),
		T(without_a_policy_it_connects_once),
		T(arguments_are_checked),
		T(a_pause_holds_it_back),
		T(a_successor_goes_on_connecting),
		T(scenario_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

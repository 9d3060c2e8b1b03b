/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Unix sockets: paths, adopted fds, control data. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhi_sock.h"

static char dir[64];
static char path[100];
static int fds_before;
static struct vhi_sock_file made; /* of the last listener */

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/vh-unix-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	fds_before = count_fds();
	return 0;
}

static int teardown(void **state)
{
	int leaked = count_fds() - fds_before;

	(void)state;
	unlink(path);
	rmdir(dir);
	if (leaked)
		print_error("%d fds leaked\n", leaked);
	return leaked;
}

static void assert_error(int32_t code, const char *says)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, says))
		fail_msg("'%s' does not say '%s'", e.text, says);
}

static struct sockaddr_un address(const char *at)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", at);
	return a;
}

static int bound_socket(int type)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static uint64_t soon(void)
{
	return vhi_now_ns() + 2000000000u;
}

static void a_listener_takes_clients_and_has_its_mode(void **state)
{
	mode_t old = umask(0077);
	int l = vhi_sock_listen(path, 0660, &made), c, s;
	struct stat st;

	(void)state;
	umask(old);
	assert_true(l >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(vhi_sock_accept(l), -EAGAIN);
	c = vhi_sock_connect(path, soon());
	assert_true(c >= 0);
	s = vhi_sock_accept(l);
	assert_true(s >= 0);
	assert_int_equal(vhi_sock_accept(l), -EAGAIN);
	for (int i = 0; i < 3; i++) {
		int fd = i == 0 ? l : i == 1 ? c : s;

		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		close(fd);
	}
}

static void a_leading_unix_is_not_part_of_the_path(void **state)
{
	char prefixed[160];
	int l, c;

	(void)state;
	snprintf(prefixed, sizeof(prefixed), "unix:%s", path);
	l = vhi_sock_listen(prefixed, 0600, &made);
	assert_true(l >= 0);
	c = vhi_sock_connect(prefixed, soon());
	assert_true(c >= 0);
	assert_string_equal(made.path, path);
	vhi_sock_remove(&made);
	assert_int_equal(access(path, F_OK), -1);
	assert_string_equal(made.path, "");
	close(c);
	close(l);
}

static void a_stale_socket_is_replaced(void **state)
{
	int fd = bound_socket(SOCK_STREAM), l;

	(void)state;
	close(fd);
	l = vhi_sock_listen(path, 0600, &made);
	assert_true(l >= 0);
	close(l);
	/* Bound and not listening yet: nobody there either. */
	unlink(path);
	fd = bound_socket(SOCK_STREAM);
	l = vhi_sock_listen(path, 0600, &made);
	assert_true(l >= 0);
	close(l);
	close(fd);
}

static void a_socket_in_use_stays(void **state)
{
	int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(types); i++) {
		int fd = bound_socket(types[i]);
		struct stat before, after;

		if (types[i] != SOCK_DGRAM)
			assert_int_equal(listen(fd, 0), 0);
		assert_int_equal(stat(path, &before), 0);
		assert_int_equal(vhi_sock_listen(path, 0600, &made), -EADDRINUSE);
		assert_error(-EADDRINUSE, "in use");
		/* Again, now with a full backlog. */
		assert_int_equal(vhi_sock_listen(path, 0600, &made), -EADDRINUSE);
		assert_int_equal(stat(path, &after), 0);
		assert_true(before.st_ino == after.st_ino);
		close(fd);
		unlink(path);
	}
}

static void what_is_not_a_socket_stays(void **state)
{
	struct stat st;
	char target[160];
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)state;
	close(fd);
	assert_int_equal(vhi_sock_listen(path, 0600, &made), -EEXIST);
	assert_error(-EEXIST, "not a socket");
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(path);
	/* A link is not followed, whatever it points to. */
	snprintf(target, sizeof(target), "%s/none", dir);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(vhi_sock_listen(path, 0600, &made), -EEXIST);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(access(target, F_OK), -1);
}

static void paths_that_can_t_be_are_refused(void **state)
{
	static const char *const other_kinds[] = {"vsock:3:1234", "tcp:x", "unix:fd:4", "unixx:a"};
	char longest[108 + 1];
	char none[160];
	int l;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, dir, strlen(dir));
	longest[strlen(dir)] = '/';
	longest[108] = 0;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(other_kinds); i++) {
		assert_int_equal(vhi_sock_listen(other_kinds[i], 0600, &made), -EINVAL);
		assert_error(-EINVAL, "./");
		assert_int_equal(vhi_sock_connect(other_kinds[i], soon()), -EINVAL);
	}
	assert_int_equal(vhi_sock_connect("unix:./vsock:3", soon()), -ENOENT);
	assert_int_equal(vhi_sock_listen(longest, 0600, &made), -ENAMETOOLONG);
	assert_error(-ENAMETOOLONG, "107");
	assert_int_equal(vhi_sock_connect(longest, soon()), -ENAMETOOLONG);
	longest[107] = 0;
	l = vhi_sock_listen(longest, 0600, &made);
	assert_true(l >= 0);
	close(l);
	unlink(longest);
	assert_int_equal(vhi_sock_listen("", 0600, &made), -EINVAL);
	assert_int_equal(vhi_sock_listen(NULL, 0600, &made), -EINVAL);
	assert_int_equal(vhi_sock_connect("unix:", soon()), -EINVAL);
	snprintf(none, sizeof(none), "%s/none/s", dir);
	assert_int_equal(vhi_sock_listen(none, 0600, &made), -ENOENT);
	assert_error(-ENOENT, none);
}

static void nobody_there_is_an_error_at_once(void **state)
{
	uint64_t start = vhi_now_ns();
	int fd;

	(void)state;
	assert_int_equal(vhi_sock_connect(path, start + 60000000000u), -ENOENT);
	fd = bound_socket(SOCK_STREAM);
	assert_int_equal(vhi_sock_connect(path, start + 60000000000u), -ECONNREFUSED);
	assert_error(-ECONNREFUSED, "listening");
	close(fd);
	assert_true(vhi_now_ns() - start < 30000000000u);
}

static void a_full_backlog_is_waited_for_until_the_deadline(void **state)
{
	int l = bound_socket(SOCK_STREAM), held[64], n = 0, fd = -1, s;
	uint64_t start = vhi_now_ns();

	(void)state;
	assert_int_equal(listen(l, 0), 0);
	while (n < 64 && (fd = vhi_sock_connect(path, start + 50000000u)) >= 0)
		held[n++] = fd;
	assert_int_equal(fd, -ETIMEDOUT);
	assert_true(vhi_now_ns() >= start + 50000000u);
	s = accept(l, NULL, NULL);
	fd = vhi_sock_connect(path, soon());
	assert_true(fd >= 0);
	close(fd);
	close(s);
	while (n)
		close(held[--n]);
	close(l);
}

static void only_the_socket_that_we_made_is_removed(void **state)
{
	struct vhi_sock_file first;
	int l = vhi_sock_listen(path, 0600, &first), other;
	char kept[160];

	(void)state;
	snprintf(kept, sizeof(kept), "%s/kept", dir);
	assert_int_equal(rename(path, kept), 0);
	other = vhi_sock_listen(path, 0600, &made);
	assert_true(other >= 0);
	vhi_sock_remove(&first);
	assert_int_equal(access(path, F_OK), 0);
	vhi_sock_remove(&made);
	assert_int_equal(access(path, F_OK), -1);
	vhi_sock_remove(&made);
	unlink(kept);
	close(l);
	close(other);
}

/* A file that is no socket may have come in its place, or a link to one. */
static void what_is_no_socket_is_not_removed(void **state)
{
	int l = vhi_sock_listen(path, 0600, &made);
	char kept[160];

	(void)state;
	snprintf(kept, sizeof(kept), "%s/kept", dir);
	assert_int_equal(rename(path, kept), 0);
	assert_int_equal(symlink(kept, path), 0);
	vhi_sock_remove(&made);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unlink(kept), 0);
	close(l);
}

static void fds_of_another_kind_are_not_adopted(void **state)
{
	int sv[2], pipes[2], fd;
	bool listening = true;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(vhi_sock_adopt(sv[0], &listening), -EPROTOTYPE);
	close(sv[0]);
	close(sv[1]);
	assert_int_equal(vhi_sock_adopt(sv[0], &listening), -EBADF);
	assert_int_equal(vhi_sock_adopt(-1, &listening), -EBADF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(vhi_sock_adopt(sv[0], &listening), -EPROTOTYPE);
	close(sv[0]);
	close(sv[1]);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(vhi_sock_adopt(fd, &listening), -EPROTOTYPE);
	close(fd);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(vhi_sock_adopt(pipes[0], &listening), -ENOTSOCK);
	assert_error(-ENOTSOCK, "not a socket");
	close(pipes[0]);
	close(pipes[1]);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(vhi_sock_adopt(fd, &listening), -ENOTCONN);
	close(fd);
	assert_true(listening);
}

static void adopted_fds_are_duplicates_told_apart(void **state)
{
	int sv[2], l = bound_socket(SOCK_STREAM), d;
	bool listening = true;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(write(sv[1], "x", 1), 1);
	d = vhi_sock_adopt(sv[0], &listening);
	assert_true(d >= 0 && d != sv[0]);
	assert_false(listening);
	assert_true(fcntl(d, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(sv[0], F_GETFL) & O_NONBLOCK); /* the caller's mode is the caller's */
	close(d);
	assert_int_equal(listen(l, 1), 0);
	d = vhi_sock_adopt(l, &listening);
	assert_true(d >= 0);
	assert_true(listening);
	assert_int_equal(vhi_sock_accept(d), -EAGAIN);
	close(d);
	close(l);
	close(sv[0]);
	close(sv[1]);
}

static void a_peer_is_gone_when_it_closed(void **state)
{
	int peer, fd = vhi_sock_pair(&peer);

	(void)state;
	assert_false(fcntl(peer, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(peer, F_GETFD) & FD_CLOEXEC);
	assert_false(vhi_sock_peer_gone(fd));
	assert_int_equal(write(peer, "abc", 3), 3);
	assert_false(vhi_sock_peer_gone(fd));
	assert_int_equal(shutdown(peer, SHUT_WR), 0);
	assert_false(vhi_sock_peer_gone(fd)); /* there is still something to read, and somebody to answer */
	close(peer);
	assert_true(vhi_sock_peer_gone(fd));
	close(fd);
	assert_true(vhi_sock_peer_gone(fd));
}

static void end_of_stream_is_gone_too(void **state)
{
	int peer, fd = vhi_sock_pair(&peer);

	(void)state;
	assert_int_equal(shutdown(peer, SHUT_WR), 0);
	assert_true(vhi_sock_peer_gone(fd));
	close(peer);
	close(fd);
}

static struct vhi_transport transport_pair(int *peer)
{
	struct vhi_transport t;

	vhi_sock_transport(vhi_sock_pair(peer), &t);
	return t;
}

/* One sendmsg with blocks of @counts fds each. */
static void send_blocks(int fd, const uint32_t *counts, uint32_t blocks)
{
	static union {
		char bytes[4096];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = "0123456789ab", .iov_len = 12};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
	char *at = control.bytes;

	for (uint32_t b = 0; b < blocks; b++) {
		struct cmsghdr *cm = (struct cmsghdr *)(void *)at;

		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(counts[b] * sizeof(int));
		for (uint32_t i = 0; i < counts[b]; i++)
			memcpy(CMSG_DATA(cm) + i * sizeof(int), &(int){0}, sizeof(int));
		at += CMSG_SPACE(counts[b] * sizeof(int));
	}
	msg.msg_controllen = blocks ? (size_t)(at - control.bytes) : 0;
	assert_int_equal(sendmsg(fd, &msg, 0), 12);
}

static void received_fds_are_counted_and_close_on_exec(void **state)
{
	int peer, fds[8];
	struct vhi_transport t = transport_pair(&peer);
	uint32_t n_fds;
	char buf[12];

	(void)state;
	for (uint32_t n = 0; n <= 8; n++) {
		send_blocks(peer, &n, n ? 1 : 0);
		assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), 12);
		assert_int_equal(n_fds, n);
		for (uint32_t i = 0; i < n; i++) {
			assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
			close(fds[i]);
		}
	}
	send_blocks(peer, (uint32_t[]){2, 3}, 2);
	assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), 12);
	assert_int_equal(n_fds, 5);
	while (n_fds)
		close(fds[--n_fds]);
	assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), -EAGAIN);
	t.ops->close(t.t);
	close(peer);
}

static void fds_beyond_what_a_message_carries_are_closed(void **state)
{
	static const uint32_t counts[] = {9, 16, 30, 64, 253};
	int peer, fds[8], before = count_fds();
	struct vhi_transport t = transport_pair(&peer);
	uint32_t n_fds;
	char buf[12];

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(counts); i++) {
		send_blocks(peer, &counts[i], 1);
		assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), -EMSGSIZE);
		assert_int_equal(n_fds, 0);
		assert_int_equal(count_fds(), before + 2);
	}
	send_blocks(peer, (uint32_t[]){5, 5}, 2);
	assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), -EMSGSIZE);
	t.ops->close(t.t);
	close(peer);
}

static void other_control_data_is_not_taken_for_fds(void **state)
{
	int peer, fds[8], on = 1;
	struct vhi_transport t = transport_pair(&peer);
	uint32_t n_fds;
	char buf[12];

	(void)state;
	assert_int_equal(setsockopt(t.ops->fd(t.t), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(t.ops->fd(t.t), SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)), 0);
	send_blocks(peer, (uint32_t[]){8}, 1);
	assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), 12);
	assert_int_equal(n_fds, 8);
	while (n_fds)
		close(fds[--n_fds]);
	send_blocks(peer, NULL, 0);
	assert_int_equal(t.ops->recv(t.t, buf, 12, fds, 8, &n_fds), 12);
	assert_int_equal(n_fds, 0);
	t.ops->close(t.t);
	close(peer);
}

static void fds_that_the_process_has_no_room_for_are_noticed(void **state)
{
	int peer, fds[8], before = count_fds();
	struct vhi_transport t = transport_pair(&peer);
	struct rlimit old, few;
	uint32_t n_fds;
	char buf[12];
	ssize_t got;
	int next = dup(0);

	(void)state;
	close(next);
	send_blocks(peer, (uint32_t[]){8}, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)next + 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	got = t.ops->recv(t.t, buf, 12, fds, 8, &n_fds);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(got, -EMSGSIZE);
	assert_int_equal(count_fds(), before + 2);
	t.ops->close(t.t);
	close(peer);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Signals without SA_RESTART all the time; the sockets are non-blocking, so none may be lost or doubled either. */
static void signals_don_t_disturb(void **state)
{
	struct sigaction act = {.sa_handler = on_alarm}, old;
	struct itimerval fast = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
	int peer, fds[8];
	struct vhi_transport t = transport_pair(&peer), p;
	uint32_t n_fds;

	(void)state;
	vhi_sock_transport(peer, &p);
	sigaction(SIGALRM, &act, &old);
	setitimer(ITIMER_REAL, &fast, NULL);
	for (uint32_t i = 0; i < 50000; i++) {
		struct iovec iov = {.iov_base = &i, .iov_len = sizeof(i)};
		uint32_t got;

		assert_int_equal(p.ops->send(p.t, &iov, 1, NULL, 0), sizeof(i));
		assert_int_equal(t.ops->recv(t.t, &got, sizeof(got), fds, 8, &n_fds), sizeof(got));
		assert_int_equal(got, i);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	t.ops->close(t.t);
	p.ops->close(p.t);
}

static void site_numbers_have_texts(void **state)
{
	(void)state;
	for (uint32_t site = VHI_SITE_SOCK_CONTROL; site <= VHI_SITE_SOCK_QUEUE; site++)
		assert_non_null(vhi_sock_site_text(site));
	assert_null(vhi_sock_site_text(100));
	assert_null(vhi_sock_site_text(0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_listener_takes_clients_and_has_its_mode),
		TEST(a_leading_unix_is_not_part_of_the_path),
		TEST(a_stale_socket_is_replaced),
		TEST(a_socket_in_use_stays),
		TEST(what_is_not_a_socket_stays),
		TEST(paths_that_can_t_be_are_refused),
		TEST(nobody_there_is_an_error_at_once),
		TEST(a_full_backlog_is_waited_for_until_the_deadline),
		TEST(only_the_socket_that_we_made_is_removed),
		TEST(what_is_no_socket_is_not_removed),
		TEST(fds_of_another_kind_are_not_adopted),
		TEST(adopted_fds_are_duplicates_told_apart),
		TEST(a_peer_is_gone_when_it_closed),
		TEST(end_of_stream_is_gone_too),
		TEST(received_fds_are_counted_and_close_on_exec),
		TEST(fds_beyond_what_a_message_carries_are_closed),
		TEST(other_control_data_is_not_taken_for_fds),
		TEST(fds_that_the_process_has_no_room_for_are_noticed),
		TEST(signals_don_t_disturb),
		TEST(site_numbers_have_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

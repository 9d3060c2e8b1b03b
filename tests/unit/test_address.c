/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Addresses: each kind of them, what is refused, and sockets that a program was started with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vhi_address.h"
#include "vhi_sock.h"

static struct vhi_address parsed(const char *text)
{
	struct vhi_address a;

	assert_int_equal(vhi_address_parse(text, &a), 0);
	return a;
}

static void expect_error(const char *text, int code, const char *says)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vhi_address a;

	assert_int_equal(vhi_address_parse(text, &a), code);
	assert_int_equal(vh_error_get(&e), 0);
	if (!strstr(e.text, says))
		fail_msg("'%s' does not say '%s'", e.text, says);
}

static void paths(void **state)
{
	static const struct {
		const char *text, *path;
	} rows[] = {{"/tmp/x", "/tmp/x"}, {"x", "x"},		{"unix:x", "x"},  {"unix:/a b:c", "/a b:c"},
		    {"./@x", "./@x"},	  {"./fd:3", "./fd:3"}, {"Fd:3", "Fd:3"}, {"unix:./unix:", "./unix:"}};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(rows); i++) {
		struct vhi_address a = parsed(rows[i].text);

		assert_int_equal(a.kind, VHI_ADDRESS_PATH);
		assert_string_equal(a.un.sun_path, rows[i].path);
		assert_string_equal(vhi_address_name(&a), rows[i].path);
	}
}

static void abstract_names(void **state)
{
	static const char *const rows[] = {"@name", "unix:@name", "abstract:name"};
	char longest[1 + 108 + 1];

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(rows); i++) {
		struct vhi_address a = parsed(rows[i]);

		assert_int_equal(a.kind, VHI_ADDRESS_ABSTRACT);
		assert_memory_equal(a.un.sun_path, "\0name", 6);
		assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + 5);
		assert_string_equal(vhi_address_name(&a), "name");
	}
	memset(longest, 'x', sizeof(longest));
	longest[0] = '@';
	longest[109] = 0;
	expect_error(longest, -ENAMETOOLONG, "107");
	longest[108] = 0;
	assert_int_equal(parsed(longest).len, sizeof(struct sockaddr_un));
	{
		struct vhi_address a = parsed(longest);

		assert_int_equal(strlen(vhi_address_name(&a)), 107);
	}
}

static void what_is_no_address(void **state)
{
	static const char *const empty[] = {"", "unix:", "@", "unix:@", "abstract:"};
	static const char *const others[] = {"vsock:3:1234", "tcp:x", "unix:fd:4", "unix:unix:x", "unixx:a"};
	static const char *const numbers[] = {"fd:",	"fd:-1",	 "fd: 3",	  "fd:3x",
					      "fd:0x3", "fd:2147483648", "fd:99999999999"};

	(void)state;
	expect_error(NULL, -EINVAL, "empty");
	for (size_t i = 0; i < VHI_ARRAY_SIZE(empty); i++)
		expect_error(empty[i], -EINVAL, "empty");
	for (size_t i = 0; i < VHI_ARRAY_SIZE(others); i++)
		expect_error(others[i], -EINVAL, "./");
	for (size_t i = 0; i < VHI_ARRAY_SIZE(numbers); i++)
		expect_error(numbers[i], -EINVAL, "number");
	assert_int_equal(parsed("fd:0").fd, 0);
	assert_int_equal(parsed("fd:0017").fd, 17);
}

static void started_with(const char *pid, const char *fds, const char *names)
{
	const char *const env[][2] = {{"LISTEN_PID", pid}, {"LISTEN_FDS", fds}, {"LISTEN_FDNAMES", names}};
	char own[16];

	snprintf(own, sizeof(own), "%d", getpid());
	for (size_t i = 0; i < VHI_ARRAY_SIZE(env); i++) {
		const char *value = env[i][1] && !strcmp(env[i][1], "own") ? own : env[i][1];

		if (value)
			setenv(env[i][0], value, 1);
		else
			unsetenv(env[i][0]);
	}
}

static void sockets_that_the_program_was_started_with(void **state)
{
	(void)state;
	started_with("own", "1", NULL);
	assert_int_equal(parsed("systemd:").fd, 3);
	assert_int_equal(parsed("systemd:").kind, VHI_ADDRESS_FD);
	expect_error("systemd:disk", -EINVAL, "LISTEN_FDNAMES");
	started_with("own", "3", "net:disk:disk2");
	assert_int_equal(parsed("systemd:net").fd, 3);
	assert_int_equal(parsed("systemd:disk").fd, 4);
	assert_int_equal(parsed("systemd:disk2").fd, 5);
	expect_error("systemd:", -EINVAL, "say which");
	expect_error("systemd:dis", -EINVAL, "has this name");
	expect_error("systemd:net:disk", -EINVAL, "has this name");
	started_with("own", "2", "disk:disk");
	expect_error("systemd:disk", -EINVAL, "several");
	/* More names than sockets: the last ones are of nothing. More sockets than names: nor can they be asked for. */
	started_with("own", "1", "a:b");
	expect_error("systemd:b", -EINVAL, "has this name");
	started_with("own", "2000000000", "a");
	expect_error("systemd:b", -EINVAL, "has this name");
	assert_int_equal(parsed("systemd:a").fd, 3);
	started_with(NULL, NULL, NULL);
}

static void sockets_that_are_not_for_this_process(void **state)
{
	static const char *const rows[][2] = {{NULL, "1"},  {"own", NULL}, {"1", "1"},
					      {"own", "0"}, {"own", ""},   {"own", "x"},
					      {"", "1"},    {"own", "-1"}, {"own", "99999999999999999999"}};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(rows); i++) {
		started_with(rows[i][0], rows[i][1], "disk");
		expect_error("systemd:", -EINVAL, "LISTEN_PID");
		expect_error("systemd:disk", -EINVAL, "LISTEN_PID");
	}
	started_with(NULL, NULL, NULL);
}

static uint64_t soon(void)
{
	return vhi_now_ns() + UINT64_C(10000000000);
}

static void an_abstract_name_is_listened_on_and_connected_to(void **state)
{
	struct vhi_sock_file file = {.path = "?"};
	char name[64];
	int l, c, s;

	(void)state;
	snprintf(name, sizeof(name), "@vh-address-%d", getpid());
	assert_int_equal(vhi_sock_connect(name, soon()), -ECONNREFUSED);
	l = vhi_sock_listen(name, 0600, &file);
	assert_true(l >= 0);
	assert_string_equal(file.path, "");
	assert_int_equal(vhi_sock_listen(name, 0600, &file), -EADDRINUSE);
	c = vhi_sock_connect(name, soon());
	assert_true(c >= 0);
	s = vhi_sock_accept(l);
	assert_true(s >= 0);
	close(l);
	close(c);
	close(s);
	assert_int_equal(access(name, F_OK), -1);
}

static void an_fd_is_duplicated_and_has_to_be_of_the_right_kind(void **state)
{
	char name[64], listener[16], connection[16], closed[16];
	struct vhi_sock_file file;
	int l, c, s, dup;

	(void)state;
	snprintf(name, sizeof(name), "@vh-address-%d", getpid());
	l = vhi_sock_listen(name, 0600, &file);
	c = vhi_sock_connect(name, soon());
	s = vhi_sock_accept(l);
	assert_true(s >= 0);
	snprintf(listener, sizeof(listener), "fd:%d", l);
	snprintf(connection, sizeof(connection), "fd:%d", s);
	snprintf(closed, sizeof(closed), "fd:%d", 1000);

	assert_int_equal(vhi_sock_listen(connection, 0600, &file), -EINVAL);
	assert_int_equal(vhi_sock_connect(listener, soon()), -EINVAL);
	assert_int_equal(vhi_sock_listen(closed, 0600, &file), -EBADF);
	dup = vhi_sock_listen(listener, 0600, &file);
	assert_true(dup >= 0 && dup != l);
	assert_true(fcntl(dup, F_GETFD) & FD_CLOEXEC);
	assert_string_equal(file.path, "");
	close(dup);
	dup = vhi_sock_connect(connection, soon());
	assert_true(dup >= 0 && dup != s);
	close(dup);
	assert_false(vhi_sock_peer_gone(c));
	close(s);
	close(c);
	close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(abstract_names),
		cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(sockets_that_the_program_was_started_with),
		cmocka_unit_test(sockets_that_are_not_for_this_process),
		cmocka_unit_test(an_abstract_name_is_listened_on_and_connected_to),
		cmocka_unit_test(an_fd_is_duplicated_and_has_to_be_of_the_right_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

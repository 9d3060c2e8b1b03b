/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The control plane, by a front-end that shares no code with any library: what it measures is the back-end.
 *
 *	wire_bench pingpong SECONDS		a bare unix socket: 12 bytes there, 20 back, no protocol at all
 *	wire_bench features SOCKET SECONDS	GET_FEATURES, one after the other
 *	wire_bench first SOCKET COUNT		from connect to the first completed read of 4 KiB
 *	wire_bench idle PREFIX COUNT		connect PREFIX0, PREFIX1, ... with one ring each, and hold them until stdin ends
 *
 * Each prints one line of JSON.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GUEST	    0x100000u
#define MEMORY	    (1u << 20)
#define NUM	    64u
#define MAX_SAMPLES (1u << 20)

enum { DESC = 0, AVAIL = 0x1000, USED = 0x2000, HEADER = 0x3000, STATUS = 0x3100, DATA = 0x4000 };
enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
};
#define F_PROTOCOL UINT64_C(1) << 30
#define F_VERSION1 UINT64_C(1) << 32

struct header {
	uint32_t request, flags, size;
};

struct peer {
	int fd, memfd, kick, call;
	uint8_t *mem;
};

static uint32_t samples[MAX_SAMPLES];
static uint32_t n_samples;

static void fail(const char *what)
{
	fprintf(stderr, "wire_bench: %s: %s\n", what, errno ? strerror(errno) : "unexpected end");
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void add_sample(uint64_t ns)
{
	if (n_samples < MAX_SAMPLES)
		samples[n_samples++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(double per_s)
{
	qsort(samples, n_samples, sizeof(samples[0]), compare);
	printf("{\"per_s\": %.0f, \"min_us\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", per_s, samples[0] / 1e3,
	       samples[n_samples / 2] / 1e3, samples[(uint64_t)n_samples * 99 / 100] / 1e3);
}

static void send_all(int fd, uint32_t request, const void *payload, uint32_t size, const int *fds, size_t n_fds)
{
	struct header h = {request, 1, size};
	struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)payload, size}};
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * 8)];
	} control = {.room = {0}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};

	if (n_fds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, sizeof(int) * n_fds);
	}
	if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)(sizeof(h) + size))
		fail("send");
}

static uint64_t ask(int fd, uint32_t request)
{
	uint8_t reply[20];
	uint64_t value;

	errno = 0;
	send_all(fd, request, NULL, 0, NULL, 0);
	if (recv(fd, reply, sizeof(reply), MSG_WAITALL) != (ssize_t)sizeof(reply))
		fail("reply");
	memcpy(&value, reply + 12, sizeof(value));
	return value;
}

static void tell_u64(int fd, uint32_t request, uint64_t v)
{
	send_all(fd, request, &v, sizeof(v), NULL, 0);
}

static void tell_state(int fd, uint32_t request, uint32_t num)
{
	send_all(fd, request, (uint32_t[2]){0, num}, 8, NULL, 0);
}

static int dial(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		fail("socket");
	memcpy(a.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		fail(path);
	return fd;
}

/* What can be got ready before there is anybody to talk to. */
static void prepare(struct peer *p)
{
	p->memfd = memfd_create("wire_bench", MFD_CLOEXEC);
	if (p->memfd < 0 || ftruncate(p->memfd, MEMORY))
		fail("memfd");
	p->mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, p->memfd, 0);
	p->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->mem == MAP_FAILED || p->kick < 0 || p->call < 0)
		fail("resources");
}

static void release(struct peer *p)
{
	munmap(p->mem, MEMORY);
	close(p->memfd);
	close(p->kick);
	close(p->call);
	close(p->fd);
}

/* Negotiation, memory and one enabled ring. */
static void set_up(struct peer *p)
{
	const uint64_t here = (uint64_t)(uintptr_t)p->mem;
	const uint64_t table[] = {1, GUEST, MEMORY, here, 0};
	const uint64_t addr[] = {0, here + DESC, here + USED, here + AVAIL, 0};
	uint64_t features = ask(p->fd, GET_FEATURES);

	send_all(p->fd, SET_OWNER, NULL, 0, NULL, 0);
	if (features & (F_PROTOCOL)) {
		ask(p->fd, GET_PROTOCOL_FEATURES);
		tell_u64(p->fd, SET_PROTOCOL_FEATURES, 0);
	}
	tell_u64(p->fd, SET_FEATURES, features & (F_PROTOCOL | F_VERSION1));
	send_all(p->fd, SET_MEM_TABLE, table, sizeof(table), &p->memfd, 1);
	tell_state(p->fd, SET_VRING_NUM, NUM);
	tell_state(p->fd, SET_VRING_BASE, 0);
	send_all(p->fd, SET_VRING_ADDR, addr, sizeof(addr), NULL, 0);
	send_all(p->fd, SET_VRING_CALL, &(uint64_t){0}, 8, &p->call, 1);
	send_all(p->fd, SET_VRING_KICK, &(uint64_t){0}, 8, &p->kick, 1);
	if (features & (F_PROTOCOL))
		tell_state(p->fd, SET_VRING_ENABLE, 1);
}

static void put_desc(struct peer *p, unsigned i, uint64_t at, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *d = p->mem + DESC + 16 * (size_t)i;
	const uint64_t addr = GUEST + at;

	memcpy(d, &addr, 8);
	memcpy(d + 8, &len, 4);
	memcpy(d + 12, &flags, 2);
	memcpy(d + 14, &next, 2);
}

/* A read of the first 4 KiB; its end is waited for. */
static void first_read(struct peer *p)
{
	struct pollfd pfd = {.fd = p->call, .events = POLLIN};
	const uint64_t one = 1;
	uint64_t count;

	put_desc(p, 0, HEADER, 16, 1, 1);
	put_desc(p, 1, DATA, 4096, 3, 2);
	put_desc(p, 2, STATUS, 1, 2, 0);
	p->mem[STATUS] = 0xff;
	__atomic_store_n((uint16_t *)(void *)(p->mem + AVAIL + 2), 1, __ATOMIC_RELEASE);
	if (write(p->kick, &one, sizeof(one)) != (ssize_t)sizeof(one))
		fail("kick");
	while (!__atomic_load_n((uint16_t *)(void *)(p->mem + USED + 2), __ATOMIC_ACQUIRE)) {
		errno = 0;
		if (poll(&pfd, 1, 10000) != 1)
			fail("no completion");
		if (read(p->call, &count, sizeof(count)) < 0 && errno != EAGAIN)
			fail("call");
	}
	if (p->mem[STATUS])
		fail("the request failed");
}

static void echo(int fd)
{
	uint8_t buf[20] = {0};

	while (recv(fd, buf, 12, MSG_WAITALL) == 12)
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) < 0)
			break;
	_exit(0);
}

static void features(int fd, double seconds)
{
	const uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9);
	uint64_t last = begin, n = 0;

	while (last < end) {
		uint64_t now;

		ask(fd, GET_FEATURES);
		now = now_ns();
		add_sample(now - last);
		last = now;
		n++;
	}
	report((double)n / ((double)(last - begin) / 1e9));
}

static void pingpong(double seconds)
{
	int fd[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		fail("socketpair");
	child = fork();
	if (!child) {
		close(fd[0]);
		echo(fd[1]);
	}
	close(fd[1]);
	features(fd[0], seconds);
	close(fd[0]);
	waitpid(child, NULL, 0);
}

static void first(const char *path, long count)
{
	uint64_t all = 0;

	for (long i = 0; i < count; i++) {
		struct peer p;
		uint64_t begin, took;

		prepare(&p);
		begin = now_ns();
		p.fd = dial(path);
		set_up(&p);
		first_read(&p);
		took = now_ns() - begin;
		add_sample(took);
		all += took;
		release(&p);
	}
	report((double)count / ((double)all / 1e9));
}

static void idle(const char *prefix, long count)
{
	const uint64_t begin = now_ns();
	char path[108];
	uint64_t value = 0;

	for (long i = 0; i < count; i++) {
		struct peer p;

		prepare(&p);
		snprintf(path, sizeof(path), "%s%ld", prefix, i);
		p.fd = dial(path);
		set_up(&p);
		/* It has handled everything up to here. */
		value |= ask(p.fd, GET_FEATURES);
		/* The memory stays mapped, and touched where a guest would: those pages are not the back-end's alone. */
		memset(p.mem, 0, HEADER);
		close(p.memfd);
		close(p.kick);
		close(p.call);
	}
	printf("{\"connected\": %ld, \"seconds\": %.6f, \"features\": %llu}\n", count, (double)(now_ns() - begin) / 1e9,
	       (unsigned long long)value);
	fflush(stdout);
	while (read(0, path, sizeof(path)) > 0)
		continue;
}

int main(int argc, char **argv)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (argc == 3 && !strcmp(argv[1], "pingpong"))
		pingpong(atof(argv[2]));
	else if (argc == 4 && !strcmp(argv[1], "features"))
		features(dial(argv[2]), atof(argv[3]));
	else if (argc == 4 && !strcmp(argv[1], "first"))
		first(argv[2], atol(argv[3]));
	else if (argc == 4 && !strcmp(argv[1], "idle"))
		idle(argv[2], atol(argv[3]));
	else
		return 2;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * serve --handover PATH: one vhctl takes the place of another, and front-ends notice nothing. The one that serves listens
 * at PATH; its successor connects, gets the state and the files in pieces, and says that it serves.
 */
#include "vhctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS	    30000  /* for requests in flight, and for who waits for them */
#define SUCCESSOR_S 5	   /* for a successor, while nobody serves */
#define PIECE	    16384u /* bytes in a message */
#define PIECE_FILES 64u
#define MAX_BYTES   (1u << 20)
#define MAX_FILES   4096u

struct head {
	uint32_t n_bytes, n_files;
};

struct state {
	uint8_t *bytes;
	vh_fd *files;
	struct head n;
};

static void drop(struct state *st)
{
	for (uint32_t i = 0; st->files && i < st->n.n_files; i++)
		if (st->files[i] >= 0)
			close(st->files[i]);
	free(st->files);
	free(st->bytes);
}

static bool make_room(struct state *st)
{
	st->bytes = calloc(1, st->n.n_bytes + 1);
	st->files = calloc(st->n.n_files + 1, sizeof(vh_fd));
	for (uint32_t i = 0; st->files && i < st->n.n_files; i++)
		st->files[i] = -1;
	return st->bytes && st->files;
}

static int address(const char *path, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a->sun_path))
		return usage("--handover: %s is too long for the path of a socket", path);
	memcpy(a->sun_path, path, strlen(path));
	return 0;
}

/* Of a connection: one that was accepted has not got it from the socket that listens. */
static void limit(int fd, int seconds)
{
	const struct timeval most = {.tv_sec = seconds};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
}

/* One message with its files; the number of bytes that came, or -1. */

static ssize_t send_piece(int fd, const void *data, size_t n, const vh_fd *files, uint32_t n_files)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PIECE_FILES * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_files) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n_files * sizeof(int));
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_files * sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), files, n_files * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static ssize_t receive_piece(int fd, void *data, size_t n, vh_fd *files, uint32_t room, uint32_t *n_files)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PIECE_FILES * sizeof(int))];
	struct iovec iov = {.iov_base = data, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

	*n_files = 0;
	for (struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		const uint32_t n_here = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		int here[PIECE_FILES];

		memcpy(here, CMSG_DATA(c), n_here * sizeof(int));
		for (uint32_t i = 0; i < n_here; i++) {
			if (*n_files < room)
				files[(*n_files)++] = here[i];
			else
				close(here[i]);
		}
	}
	return m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -1 : got;
}

static bool send_state(int fd, const struct state *st)
{
	uint32_t at = 0, file = 0;

	if (send_piece(fd, &st->n, sizeof(st->n), NULL, 0) < 0)
		return false;
	while (at < st->n.n_bytes || file < st->n.n_files) {
		const uint32_t n = st->n.n_bytes - at < PIECE ? st->n.n_bytes - at : PIECE;
		const uint32_t f = st->n.n_files - file < PIECE_FILES ? st->n.n_files - file : PIECE_FILES;
		const char none = 0; /* files travel with at least a byte */

		if (send_piece(fd, n ? (const void *)(st->bytes + at) : &none, n ? n : 1, st->files + file, f) < 0)
			return false;
		at += n;
		file += f;
	}
	return true;
}

static bool receive_state(int fd, struct state *st)
{
	uint32_t at = 0, file = 0, f;
	uint8_t piece[PIECE];

	if (receive_piece(fd, &st->n, sizeof(st->n), NULL, 0, &f) != sizeof(st->n) || st->n.n_bytes > MAX_BYTES ||
	    st->n.n_files > MAX_FILES || !make_room(st))
		return false;
	while (at < st->n.n_bytes || file < st->n.n_files) {
		ssize_t n = receive_piece(fd, piece, sizeof(piece), st->files + file, st->n.n_files - file, &f);
		const uint32_t take = n > 0 && (uint32_t)n < st->n.n_bytes - at ? (uint32_t)n : st->n.n_bytes - at;

		if (n <= 0 || (!take && !f))
			return false;
		memcpy(st->bytes + at, piece, take);
		at += take;
		file += f;
	}
	return true;
}

static int32_t export(struct vh_slave *s, struct state *st)
{
	int32_t n = vh_slave_export(s, NULL, 0, NULL, 0, &st->n.n_files);

	if (n < 0)
		return n;
	st->n.n_bytes = (uint32_t)n;
	if (!make_room(st))
		return -ENOMEM;
	return vh_slave_export(s, st->bytes, st->n.n_bytes, st->files, st->n.n_files, &st->n.n_files);
}

/* Which file the path has to be still, to be removed at the end. */
static struct stat ours;

/* Who takes over gets the memory of guests: nobody but this user may, from before anybody can. */
static bool listen_at(int fd, const char *path, const struct sockaddr_un *a)
{
	return !bind(fd, (const struct sockaddr *)a, sizeof(*a)) && !lstat(path, &ours) && !chmod(path, 0600) &&
	       !listen(fd, 1);
}

int handover_listen(const char *path)
{
	struct sockaddr_un a;
	struct stat there;
	int fd, rc = address(path, &a);

	if (rc)
		return -1;
	/* Nobody was there to take over from. */
	if (!lstat(path, &there)) {
		if (!S_ISSOCK(there.st_mode))
			return usage("--handover %s: it is there and is not a socket; choose another path", path), -1;
		unlink(path);
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && listen_at(fd, path, &a))
		return fd;
	say(0, "--handover %s: %s", path, strerror(errno));
	handover_end(path, fd);
	return -1;
}

void handover_end(const char *path, int listener)
{
	struct stat there;

	if (ours.st_ino && !lstat(path, &there) && there.st_ino == ours.st_ino && there.st_dev == ours.st_dev)
		unlink(path);
	if (listener >= 0)
		close(listener);
}

bool handover_give(int listener, struct vh_slave *s)
{
	struct state st = {0};
	bool given = false;
	char yes = 0;
	int32_t rc;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	limit(fd, SUCCESSOR_S);
	while ((rc = vh_slave_pause(s)) == -EINPROGRESS && (rc = vh_slave_wait(s, WAIT_MS)) >= 0)
		;
	if (!rc)
		rc = export(s, &st);
	if (rc < 0)
		say_vh(rc, "--handover");
	else
		given = send_state(fd, &st) && recv(fd, &yes, 1, 0) == 1 && yes;
	if (!given) {
		say(0, "the successor does not serve; this one goes on");
		vh_slave_resume(s);
	}
	drop(&st);
	close(fd);
	if (given)
		ours.st_ino = 0; /* the path is the successor's */
	return given;
}

/* 1 = taken over, 0 = there is nobody, -1 = it failed and was said. */
int handover_take(const char *path, struct vh_slave *s)
{
	struct state st = {0};
	struct sockaddr_un a;
	int fd, rc = -1;
	int32_t why;

	if (address(path, &a))
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	limit(fd, WAIT_MS / 1000 + SUCCESSOR_S);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		if (!receive_state(fd, &st))
			say(0, "--handover %s: what serves there does not give its state", path);
		else if ((why = vh_slave_import(s, st.bytes, st.n.n_bytes, st.files, st.n.n_files)) != 0)
			say_vh(why, "--handover");
		else
			rc = send(fd, "y", 1, MSG_NOSIGNAL) == 1 ? 1 : -1;
	} else if (errno == ENOENT || errno == ECONNREFUSED) {
		rc = 0;
	} else {
		say(0, "--handover %s: %s", path, strerror(errno));
	}
	drop(&st);
	if (fd >= 0)
		close(fd);
	return rc;
}

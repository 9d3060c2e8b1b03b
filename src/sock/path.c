/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Listen, connect, accept, and whose file it is. */
#include "vhi_address.h"
#include "vhi_sock.h"

#include "vh/error.h"

#define BACKLOG	    8
#define RETRY_MS    5
#define NS_PER_MS   1000000u
#define SOCKET_TYPE (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

static int new_socket(void)
{
	int fd = vhi_sys.socket(AF_UNIX, SOCKET_TYPE, 0);

	return fd < 0 ? vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "no socket could be made: %s", vh_error_name(errno)) : fd;
}

static int connect_once(int fd, const struct vhi_address *at)
{
	int rc;

	do
		rc = vhi_sys.connect(fd, (const struct sockaddr *)&at->un, at->len);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

/* What is at @path: 0 = a socket, -EEXIST = something else. */
static int identify(const char *path, struct vhi_sock_file *file)
{
	struct stat st;

	if (vhi_sys.lstat(path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	memcpy(file->path, path, VHI_MIN(strlen(path) + 1, sizeof(file->path)));
	return 0;
}

void vhi_sock_remove(struct vhi_sock_file *file)
{
	struct vhi_sock_file now;

	if (file->path[0] && !identify(file->path, &now) && now.dev == file->dev && now.ino == file->ino)
		vhi_sys.unlink(file->path);
	file->path[0] = '\0';
}

/* Nothing at the path, or a socket that nobody listens on, which is removed. Everything else stays. */
static int make_room(const struct vhi_address *at)
{
	const char *path = at->un.sun_path;
	struct vhi_sock_file stale;
	int fd, rc = identify(path, &stale);

	if (rc == -ENOENT)
		return 0;
	if (rc == -EEXIST)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s is there and is not a socket; choose another path", path);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: %s", path, vh_error_name(rc));
	fd = new_socket();
	if (fd < 0)
		return fd;
	rc = connect_once(fd, at);
	vhi_fd_close(&fd);
	if (rc != -ECONNREFUSED && rc != -ENOENT)
		return vhi_fail(-EADDRINUSE, VH_ERROR_SYSTEM, 0,
				"%s is in use; stop the program that listens there, or choose another path", path);
	vhi_sock_remove(&stale);
	return 0;
}

/*
 * Until listen() nobody can connect, so the mode is in force before it matters. An abstract name has neither mode nor
 * file.
 */
static int open_for(int fd, const struct vhi_address *at, uint32_t mode, struct vhi_sock_file *file)
{
	int rc;

	if (at->kind == VHI_ADDRESS_PATH) {
		rc = identify(at->un.sun_path, file);
		if (rc)
			return rc;
		if (vhi_sys.chmod(at->un.sun_path, (mode_t)(mode & 0777)) < 0)
			return -errno;
	}
	return vhi_sys.listen(fd, BACKLOG) < 0 ? -errno : 0;
}

static int listen_at(const struct vhi_address *at, uint32_t mode, struct vhi_sock_file *file)
{
	const char *name = vhi_address_name(at);
	int fd, rc = at->kind == VHI_ADDRESS_PATH ? make_room(at) : 0;

	if (rc)
		return rc;
	fd = new_socket();
	if (fd < 0)
		return fd;
	if (vhi_sys.bind(fd, (const struct sockaddr *)&at->un, at->len) < 0) {
		rc = -errno;
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s can't be made: %s", name, vh_error_name(rc));
	}
	rc = open_for(fd, at, mode, file);
	if (rc) {
		vhi_sock_remove(file);
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s can't be listened on: %s", name, vh_error_name(rc));
	}
	return fd;
}

static const char *advice(int rc)
{
	static const struct {
		int rc;
		const char *text;
	} texts[] = {
		{-ENOENT, "; is the other side listening there?"},
		{-ECONNREFUSED, "; is the other side listening there?"},
		{-EACCES, "; its mode and its folders don't let this user"},
		{-EPERM, "; its mode and its folders don't let this user"},
		{-EPROTOTYPE, "; the socket there is of another type"},
		{-ETIMEDOUT, "; who listens there accepts nobody"},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(texts); i++)
		if (texts[i].rc == rc)
			return texts[i].text;
	return "";
}

/* An fd that is open already has to be what the call is about. */
static int adopt(const struct vhi_address *at, bool want_listening)
{
	bool listening;
	int fd = vhi_sock_adopt(at->fd, &listening);

	if (fd < 0 || listening == want_listening)
		return fd;
	vhi_fd_close(&fd);
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
			want_listening ? "fd %d is a connection; pass a socket that listens"
				       : "fd %d listens; pass a socket that is connected",
			at->fd);
}

int vhi_sock_listen(const char *address, uint32_t mode, struct vhi_sock_file *file)
{
	struct vhi_address at;
	int rc = vhi_address_parse(address, &at);

	file->path[0] = '\0';
	if (rc)
		return rc;
	return at.kind == VHI_ADDRESS_FD ? adopt(&at, true) : listen_at(&at, mode, file);
}

/* A full backlog is no failure yet: wait a little, and say when there is no time left. */
static int wait_to_retry(uint64_t deadline_ns)
{
	uint64_t now = vhi_now_ns();

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	return vhi_sys.poll(NULL, 0, (int)VHI_MIN((deadline_ns - now) / NS_PER_MS + 1, (uint64_t)RETRY_MS)) < 0 ? -errno
														: 0;
}

int vhi_sock_connect(const char *address, uint64_t deadline_ns)
{
	struct vhi_address at;
	int fd, rc = vhi_address_parse(address, &at);

	if (rc)
		return rc;
	if (at.kind == VHI_ADDRESS_FD)
		return adopt(&at, false);
	fd = new_socket();
	if (fd < 0)
		return fd;
	do {
		rc = connect_once(fd, &at);
		if (rc != -EAGAIN)
			break;
		rc = wait_to_retry(deadline_ns);
	} while (!rc);
	if (rc) {
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "can't connect to %s: %s%s", vhi_address_name(&at),
				vh_error_name(rc), advice(rc));
	}
	return fd;
}

int vhi_sock_accept(int listen_fd)
{
	int fd;

	do
		fd = vhi_sys.accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd >= 0)
		return fd;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return -EAGAIN;
	return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "a client can't be accepted: %s", vh_error_name(errno));
}

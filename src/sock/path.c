/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Socket paths: listen, connect, accept, and whose file it is. */
#include "vhi_sock.h"

#include <sys/un.h>

#include "vh/error.h"

#define BACKLOG	    8
#define RETRY_MS    5
#define NS_PER_MS   1000000u
#define SOCKET_TYPE (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

const char *vhi_sock_path(const char *path)
{
	return path && !strncmp(path, "unix:", 5) ? path + 5 : path;
}

/* "@name", "vsock:3:1234": other kinds of address, which must not become files of that name. */
static bool is_other_kind(const char *path)
{
	size_t word = strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789+-");

	return path[0] == '@' || (word && path[word] == ':');
}

static int path_address(const char *path, struct sockaddr_un *addr)
{
	size_t len = path ? strlen(path) : 0;

	if (!len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "the socket path is empty");
	if (is_other_kind(path))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"'%s' is no kind of address that is known here; for a file of that name write ./%s",
				path, path);
	if (len >= sizeof(addr->sun_path))
		return vhi_fail(-ENAMETOOLONG, VH_ERROR_ARGUMENT, 0,
				"the socket path has %zu bytes, the system allows %zu; use a shorter one", len,
				sizeof(addr->sun_path) - 1);
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	memcpy(addr->sun_path, path, len);
	return 0;
}

static int new_socket(void)
{
	int fd = vhi_sys.socket(AF_UNIX, SOCKET_TYPE, 0);

	return fd < 0 ? vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "no socket could be made: %s", vh_error_name(errno)) : fd;
}

static int connect_once(int fd, const struct sockaddr_un *addr)
{
	int rc;

	do
		rc = vhi_sys.connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int vhi_sock_identify(const char *path, struct vhi_sock_id *id)
{
	struct stat st;

	if (vhi_sys.lstat(vhi_sock_path(path), &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	id->dev = st.st_dev;
	id->ino = st.st_ino;
	return 0;
}

void vhi_sock_remove(const char *path, const struct vhi_sock_id *id)
{
	struct vhi_sock_id now;

	if (!vhi_sock_identify(path, &now) && now.dev == id->dev && now.ino == id->ino)
		vhi_sys.unlink(vhi_sock_path(path));
}

/* Nothing at the path, or a socket that nobody listens on, which is removed. Everything else stays. */
static int make_room(const struct sockaddr_un *addr)
{
	struct vhi_sock_id id;
	int fd, rc = vhi_sock_identify(addr->sun_path, &id);

	if (rc == -ENOENT)
		return 0;
	if (rc == -EEXIST)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s is there and is not a socket; choose another path",
				addr->sun_path);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: %s", addr->sun_path, vh_error_name(rc));
	fd = new_socket();
	if (fd < 0)
		return fd;
	rc = connect_once(fd, addr);
	vhi_fd_close(&fd);
	if (rc != -ECONNREFUSED && rc != -ENOENT)
		return vhi_fail(-EADDRINUSE, VH_ERROR_SYSTEM, 0,
				"%s is in use; stop the program that listens there, or choose another path",
				addr->sun_path);
	vhi_sock_remove(addr->sun_path, &id);
	return 0;
}

/* Until listen() nobody can connect, so the mode is in force before it matters. */
static int open_for(int fd, const struct sockaddr_un *addr, uint32_t mode)
{
	if (vhi_sys.chmod(addr->sun_path, (mode_t)(mode & 0777)) < 0)
		return -errno;
	return vhi_sys.listen(fd, BACKLOG) < 0 ? -errno : 0;
}

int vhi_sock_listen(const char *path, uint32_t mode)
{
	struct sockaddr_un addr;
	struct vhi_sock_id id;
	int fd, rc = path_address(vhi_sock_path(path), &addr);

	if (rc)
		return rc;
	rc = make_room(&addr);
	if (rc)
		return rc;
	fd = new_socket();
	if (fd < 0)
		return fd;
	if (vhi_sys.bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		rc = -errno;
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s can't be made: %s", addr.sun_path, vh_error_name(rc));
	}
	rc = vhi_sock_identify(addr.sun_path, &id);
	if (!rc) {
		rc = open_for(fd, &addr, mode);
		if (rc)
			vhi_sock_remove(addr.sun_path, &id);
	}
	if (rc) {
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s can't be listened on: %s", addr.sun_path,
				vh_error_name(rc));
	}
	return fd;
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

int vhi_sock_connect(const char *path, uint64_t deadline_ns)
{
	struct sockaddr_un addr;
	int fd, rc = path_address(vhi_sock_path(path), &addr);

	if (rc)
		return rc;
	fd = new_socket();
	if (fd < 0)
		return fd;
	do {
		rc = connect_once(fd, &addr);
		if (rc != -EAGAIN)
			break;
		rc = wait_to_retry(deadline_ns);
	} while (!rc);
	if (rc) {
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "can't connect to %s: %s; is a back-end listening there?",
				addr.sun_path, vh_error_name(rc));
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

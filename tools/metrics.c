/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * vhctl serve --openmetrics: a thread that reads this process's own page, as any other process could, and gives it as
 * OpenMetrics to whoever asks by HTTP; or writes it into a file each second.
 */
#include "vhctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FILE_EVERY_MS 1000
#define NO_FD_MS      100  /* until the next try when there is no fd for a client */
#define BUSY_MS	      20   /* between two tries to get a port that is in use */
#define REQUEST_MS    2000 /* a client has so long to ask, and as long again to take the answer */
#define CONTENT_TYPE  "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define REQUEST_MAX   4096

static struct {
	struct vh_metrics_reader *reader;
	const char *file; /* NULL: a socket */
	const char *unix_path;
	int listener, end;
	pthread_t thread;
	bool runs;
} metrics = {.listener = -1, .end = -1};

char *openmetrics_text(struct vh_metrics_reader *r)
{
	uint32_t room = 0;
	char *text = NULL;

	for (;;) {
		const int32_t n = vh_metrics_reader_openmetrics(r, text, room);

		if (n >= 0 && (uint32_t)n < room)
			return text;
		free(text);
		if (n < 0)
			return NULL;
		room = (uint32_t)n + 4096;
		text = malloc(room);
		if (!text)
			return NULL;
	}
}

/* Whole, or not at all: who reads it meanwhile has the one before. */
static void write_file(void)
{
	char *text = openmetrics_text(metrics.reader);
	char name[4096 + 16];
	FILE *f;

	snprintf(name, sizeof(name), "%s.new", metrics.file);
	f = text ? fopen(name, "we") : NULL;
	if (f) {
		const bool good = fputs(text, f) >= 0;

		if (fclose(f) || !good || rename(name, metrics.file))
			unlink(name);
	}
	free(text);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* In time, and before vhctl is to end. */
static bool ready(int fd, short events, uint64_t deadline)
{
	struct pollfd p[] = {{.fd = metrics.end, .events = POLLIN}, {.fd = fd, .events = events}};
	const uint64_t now = now_ms();

	return now < deadline && poll(p, 2, (int)(deadline - now)) > 0 && !p[0].revents;
}

static void put(int fd, const char *text, size_t n, uint64_t deadline)
{
	while (n && ready(fd, POLLOUT, deadline)) {
		const ssize_t sent = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0)
			return;
		text += sent;
		n -= (size_t)sent;
	}
}

static void answer(int fd, const char *status, const char *type, const char *body)
{
	const uint64_t deadline = now_ms() + REQUEST_MS;
	char head[256];
	const int n = snprintf(head, sizeof(head),
			       "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			       status, type, strlen(body));

	put(fd, head, (size_t)n, deadline);
	put(fd, body, strlen(body), deadline);
}

/* One request for a connection, and no body. */
static void serve_client(int fd)
{
	const uint64_t deadline = now_ms() + REQUEST_MS;
	char request[REQUEST_MAX + 1];
	size_t len = 0;
	char *text;

	request[0] = 0;
	while (!strstr(request, "\r\n\r\n") && len < REQUEST_MAX && ready(fd, POLLIN, deadline)) {
		const ssize_t n = recv(fd, request + len, REQUEST_MAX - len, MSG_DONTWAIT);

		if (n <= 0)
			return;
		len += (size_t)n;
		request[len] = 0;
	}
	if (strncmp(request, "GET ", 4)) {
		answer(fd, "405 Method Not Allowed", "text/plain", "only GET\n");
		return;
	}
	if (strncmp(request + 4, "/metrics ", 9) && strncmp(request + 4, "/ ", 2)) {
		answer(fd, "404 Not Found", "text/plain", "it is at /metrics\n");
		return;
	}
	text = openmetrics_text(metrics.reader);
	answer(fd, text ? "200 OK" : "500 Internal Server Error", text ? CONTENT_TYPE : "text/plain",
	       text ? text : "what is counted can't be read\n");
	free(text);
}

static void accept_client(struct pollfd *end)
{
	const int fd = accept4(metrics.listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		serve_client(fd);
		close(fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* It waits in the backlog, and the listener stays readable. */
		poll(end, 1, NO_FD_MS);
	}
}

static void *run(void *unused)
{
	struct pollfd p[] = {{.fd = metrics.end, .events = POLLIN}, {.fd = metrics.listener, .events = POLLIN}};

	(void)unused;
	for (;;) {
		if (metrics.file)
			write_file();
		if (poll(p, 2, metrics.file ? FILE_EVERY_MS : -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		if (p[1].revents)
			accept_client(&p[0]);
		p[1].revents = 0;
	}
}

static int listen_at(const struct sockaddr *at, socklen_t len)
{
	const int on = 1;

	metrics.listener = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (metrics.listener < 0)
		return -1;
	setsockopt(metrics.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(metrics.listener, at, len) || listen(metrics.listener, 16) ? -1 : 0;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct stat st;

	if (strlen(path) >= sizeof(at.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(at.sun_path, path);
	/* One that is left from the last time. Nobody who serves is replaced: there connecting works. */
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) {
		const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (probe >= 0 && connect(probe, (struct sockaddr *)&at, sizeof(at)) && errno == ECONNREFUSED)
			unlink(path);
		if (probe >= 0)
			close(probe);
	}
	if (listen_at((struct sockaddr *)&at, sizeof(at)))
		return -1;
	metrics.unix_path = path;
	return 0;
}

/* PORT, ADDRESS:PORT, [ADDRESS]:PORT; without an address this machine only. False: it is none of these. */
static bool parse_inet(const char *text, struct sockaddr_storage *out, socklen_t *len)
{
	struct sockaddr_in *v4 = (void *)out;
	struct sockaddr_in6 *v6 = (void *)out;
	const char *colon = strrchr(text, ':');
	char host[64] = "127.0.0.1";
	unsigned long port;
	char *end;

	port = strtoul(colon ? colon + 1 : text, &end, 10);
	if (*end || end == (colon ? colon + 1 : text) || port > 65535)
		return false;
	if (colon && colon != text)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	memset(out, 0, sizeof(*out));
	if (!strcmp(host, "localhost"))
		strcpy(host, "127.0.0.1");
	if (*host == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = 0;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*len = sizeof(*v6);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*len = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

/* Port 0 is any that is free: say which. */
void metrics_say(const char *where)
{
	struct sockaddr_in at = {0};
	socklen_t len = sizeof(at);

	if (!where || !metrics.runs)
		return;
	if (metrics.listener >= 0 && !metrics.unix_path && !getsockname(metrics.listener, (struct sockaddr *)&at, &len))
		say(0, "metrics on port %u", ntohs(at.sin_port));
	else
		say(0, "metrics at %s", where);
}

/* It is replaced, so it has to be a file, if it is there, and files can be made beside it. */
static int file_target(const char *path)
{
	char name[4096 + 16];
	struct stat st;
	FILE *f;

	if (strlen(path) > 4096) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL; /* a device would be replaced by a file */
		return -1;
	}
	if (!access(path, F_OK) && access(path, W_OK))
		return -1;
	snprintf(name, sizeof(name), "%s.new", path);
	f = fopen(name, "we");
	if (!f)
		return -1;
	fclose(f);
	unlink(name);
	metrics.file = path;
	return 0;
}

/* Ends like a port, and is no path: "70000", "somewhere.example:9100". */
static bool meant_as_port(const char *where)
{
	const char *colon = strrchr(where, ':');
	const char *port = colon ? colon + 1 : where;

	return *port && !port[strspn(port, "0123456789")] && !strchr(where, '/');
}

static int open_target(const char *where, uint32_t wait_ms)
{
	const uint64_t deadline = now_ms() + wait_ms;
	struct sockaddr_storage at;
	socklen_t len;
	const char *what = "";
	int rc, why;

	for (;;) {
		if (!strncmp(where, "unix:", 5))
			rc = listen_unix(where + 5);
		else if (parse_inet(where, &at, &len))
			rc = listen_at((struct sockaddr *)&at, len);
		else if (meant_as_port(where))
			return usage("--openmetrics %s: it is no port, and no address with a port; ./%s is a file",
				     where, where);
		else {
			rc = file_target(where);
			what = "it can't be written: ";
		}
		if (!rc)
			return 0;
		why = errno;
		if (metrics.listener >= 0)
			close(metrics.listener);
		metrics.listener = -1;
		if (why != EADDRINUSE || now_ms() >= deadline)
			return say(EXIT_USAGE, "--openmetrics %s: %s%s", where, what, strerror(why));
		poll(NULL, 0, BUSY_MS);
	}
}

int metrics_begin(struct vh_metrics *m, const char *where, uint32_t wait_ms)
{
	sigset_t all, before;
	int fd, rc;

	rc = vh_metrics_dup_fd(m, &fd);
	if (!rc) {
		rc = vh_metrics_reader_adopt(fd, &metrics.reader);
		close(fd);
	}
	if (rc)
		return say_vh(rc, "--openmetrics");
	rc = open_target(where, wait_ms);
	if (rc)
		return rc;
	metrics.end = eventfd(0, EFD_CLOEXEC);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	metrics.runs = metrics.end >= 0 && !pthread_create(&metrics.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!metrics.runs)
		return say(EXIT_WRONG, "--openmetrics: no thread for it");
	return 0;
}

void metrics_end(void)
{
	const uint64_t one = 1;

	if (metrics.runs && write(metrics.end, &one, sizeof(one)) == sizeof(one))
		pthread_join(metrics.thread, NULL);
	/* In this order: as long as somebody listens, a successor leaves the path alone. */
	if (metrics.unix_path)
		unlink(metrics.unix_path);
	if (metrics.listener >= 0)
		close(metrics.listener);
	if (metrics.end >= 0)
		close(metrics.end);
	if (metrics.file)
		unlink(metrics.file);
	vh_metrics_reader_free(metrics.reader);
}

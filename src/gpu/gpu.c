/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A GPU's socket: the handle of either end, and bytes in and out. */
#include "vhi_gpu.h"

#define DEFAULT_TIMEOUT_MS 10000u
#define DEFAULT_MAX_DATA   (UINT64_C(64) << 20)
#define LARGEST_MAX_DATA   (UINT64_C(1) << 30)
#define NS_PER_MS	   UINT64_C(1000000)

static int set_defaults(struct vh_gpu *g, const struct vh_gpu_opts *opts, const char *who)
{
	struct vh_gpu_opts *o = &g->opts;
	int rc = vhi_opts_in(o, sizeof(*o), opts, "vh_gpu_opts");

	if (rc)
		return rc;
	if (o->features & ~(g->display ? VHI_GPU_FEATURES : 0) || o->max_data > LARGEST_MAX_DATA)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: a display may offer EDID and DMABUF2, a device nothing; max_data is at most 1 GiB",
				who);
	o->timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
	o->max_data = o->max_data ? o->max_data : DEFAULT_MAX_DATA;
	return 0;
}

static void destroy(struct vh_gpu *g)
{
	if (g->transport.ops)
		g->transport.ops->close(g->transport.t);
	vhi_fd_close(&g->in_fd);
	vhi_free(g->payload);
	vhi_gate_destroy(&g->gate);
	vhi_free(g);
}

static int make(const struct vh_gpu_opts *opts, int fd, bool display, struct vh_gpu **out, const char *who)
{
	bool listening = false;
	struct vh_gpu *g;
	int rc;

	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: out is NULL", who);
	g = vhi_calloc(1, sizeof(*g));
	rc = g ? vhi_gate_init(&g->gate) : -ENOMEM;
	if (rc) {
		vhi_free(g);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: no memory", who);
	}
	g->display = display;
	g->in_fd = -1;
	rc = set_defaults(g, opts, who);
	g->fd = rc ? rc : vhi_sock_adopt(fd, &listening);
	if (listening) {
		vhi_fd_close(&g->fd);
		g->fd = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: fd %d listens; pass a connected socket", who, fd);
	}
	if (g->fd < 0) {
		rc = g->fd;
		destroy(g);
		return rc;
	}
	vhi_sock_transport(g->fd, &g->transport);
	*out = g;
	return 0;
}

vh_rc vh_gpu_new_device(const struct vh_gpu_opts *opts, vh_fd fd, struct vh_gpu **out)
{
	return make(opts, fd, false, out, "vh_gpu_new_device");
}

vh_rc vh_gpu_new_display(const struct vh_gpu_opts *opts, vh_fd fd, struct vh_gpu **out)
{
	return make(opts, fd, true, out, "vh_gpu_new_display");
}

void vh_gpu_free(struct vh_gpu *g)
{
	if (g)
		destroy(g);
}

vh_fd vh_gpu_fd(struct vh_gpu *g)
{
	return g ? g->fd : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_gpu_fd: gpu is NULL");
}

vh_rc vhi_gpu_enter(struct vh_gpu *g, const char *who, bool display)
{
	int rc;

	if (!g || g->display != display)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: %s", who,
				!g	  ? "gpu is NULL"
				: display ? "this is the device's end; only a display can do it"
					  : "this is the display's end; only a device can do it");
	rc = vhi_gate_enter(&g->gate);
	if (rc)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: another thread is inside; use it from one at a time", who);
	if (!g->failure.code)
		return 0;
	vhi_gate_leave(&g->gate);
	return vhi_fail_at(-ENOTCONN, g->failure.domain, g->failure.site, VH_ERROR_NONE, g->failure.request,
			   "%s: the connection has ended: %s", who, g->failure.text);
}

vh_count vhi_gpu_leave(struct vh_gpu *g, vh_count rc)
{
	vhi_gate_leave(&g->gate);
	return rc;
}

int vhi_gpu_fail(struct vh_gpu *g, int code, uint32_t site, const char *why)
{
	static const struct vhi_site_text texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
	};
	const char *text = site ? vhi_site_text(texts, VHI_ARRAY_SIZE(texts), site) : why;

	vhi_sys.shutdown(g->fd, SHUT_RDWR);
	vhi_fd_close(&g->in_fd);
	vhi_failure_set(&g->failure, code, VH_ERROR_PEER, site, "%s", text ? text : why);
	g->failure.request = g->got >= sizeof(g->head) ? g->head.request : VH_ERROR_NONE;
	return vhi_failure_raise(&g->failure);
}

int vhi_gpu_wait(const struct vh_gpu *g, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = g->fd, .events = events};

	for (;;) {
		const uint64_t now = vhi_now_ns();
		int n;

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		n = vhi_sys.poll(&p, 1, (int)VHI_MIN((deadline_ns - now) / NS_PER_MS + 1, (uint64_t)INT32_MAX));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* The rest of a message that was sent in part: what is left of these pieces. */
static int skip(struct iovec *iov, int n, size_t sent)
{
	int first = 0;

	while (first < n && sent >= iov[first].iov_len)
		sent -= iov[first++].iov_len;
	if (first < n) {
		iov[first].iov_base = (uint8_t *)iov[first].iov_base + sent;
		iov[first].iov_len -= sent;
	}
	return first;
}

int vhi_gpu_send_all(struct vh_gpu *g, const struct vhi_gpu_header *head, const void *fixed, uint32_t n_fixed,
		     const void *data, uint64_t n_data, int fd, uint64_t deadline_ns)
{
	struct iovec iov[] = {{.iov_base = (void *)(uintptr_t)head, .iov_len = sizeof(*head)},
			      {.iov_base = (void *)(uintptr_t)fixed, .iov_len = n_fixed},
			      {.iov_base = (void *)(uintptr_t)data, .iov_len = (size_t)n_data}};
	int first = 0, rc;

	while (first < (int)VHI_ARRAY_SIZE(iov)) {
		ssize_t n = g->transport.ops->send(g->transport.t, iov + first, (int)VHI_ARRAY_SIZE(iov) - first, &fd,
						   fd >= 0);

		if (n >= 0) {
			first += skip(iov + first, (int)VHI_ARRAY_SIZE(iov) - first, (size_t)n);
			fd = -1;
			continue;
		}
		if (n != -EAGAIN)
			return vhi_gpu_fail(g, (int)n, 0, "the other end is gone");
		if (VHI_REFUSE(VHI_SITE_GPU_QUEUE, !deadline_ns))
			return vhi_gpu_fail(g, -EPROTO, VHI_SITE_GPU_QUEUE, "");
		rc = vhi_gpu_wait(g, POLLOUT, deadline_ns);
		if (rc)
			return vhi_gpu_fail(g, rc, 0, "the display did not read in time");
	}
	return 0;
}

/* An fd belongs to a message with whose first byte it comes. */
static int take_fd(struct vh_gpu *g, int fd)
{
	if (fd < 0)
		return 0;
	if (VHI_REFUSE(VHI_SITE_GPU_LATE_FD, g->got)) {
		vhi_fd_close(&fd);
		return vhi_gpu_fail(g, -EPROTO, VHI_SITE_GPU_LATE_FD, "");
	}
	vhi_fd_close(&g->in_fd);
	g->in_fd = fd;
	return 0;
}

/* Some bytes more. 1, 0 = there are none yet, -errno. */
static int read_some(struct vh_gpu *g, void *to, size_t n)
{
	uint32_t n_fds;
	int fd = -1, rc;
	ssize_t got = g->transport.ops->recv(g->transport.t, to, n, &fd, 1, &n_fds);

	if (got == -EAGAIN)
		return 0;
	if (got == -EMSGSIZE)
		return vhi_gpu_fail(g, -EPROTO, VHI_SITE_SOCK_CONTROL, "");
	if (got <= 0 && VHI_REFUSE(VHI_SITE_GPU_CUT, g->got))
		return vhi_gpu_fail(g, -ECONNRESET, VHI_SITE_GPU_CUT, "");
	if (got <= 0)
		return vhi_gpu_fail(g, got ? (int)got : -ECONNRESET, 0, "the other end closed the connection");
	rc = take_fd(g, n_fds ? fd : -1);
	if (rc)
		return rc;
	if (!g->got)
		g->deadline_ns = vhi_now_ns() + g->opts.timeout_ms * NS_PER_MS;
	g->got += (uint64_t)got;
	return 1;
}

static int make_room(struct vh_gpu *g)
{
	if (g->head.size <= g->room && g->payload)
		return 0;
	vhi_free(g->payload);
	/* Never without a byte: fields are read from where there are none. */
	g->room = VHI_MAX(g->head.size, VHI_GPU_MAX_FIXED);
	g->payload = vhi_calloc(1, (size_t)g->room);
	return g->payload ? 0 : vhi_gpu_fail(g, -ENOMEM, 0, "no memory for a message");
}

static int next_part(struct vh_gpu *g)
{
	const uint64_t head = sizeof(g->head);
	uint32_t site;
	int rc;

	if (g->got < head) {
		rc = read_some(g, (uint8_t *)&g->head + g->got, (size_t)(head - g->got));
		if (rc <= 0 || g->got < head)
			return rc;
		site = vhi_gpu_check_head(g);
		if (site)
			return vhi_gpu_fail(g, -EPROTO, site, "");
		rc = make_room(g);
		return rc ? rc : 1;
	}
	return read_some(g, g->payload + (g->got - head), (size_t)(head + g->head.size - g->got));
}

int vhi_gpu_receive(struct vh_gpu *g)
{
	int rc;

	if (g->got == sizeof(g->head) + (uint64_t)g->head.size) {
		g->got = 0;
		vhi_fd_close(&g->in_fd);
	}
	do {
		rc = next_part(g);
		if (rc > 0 && g->got >= sizeof(g->head) && g->got == sizeof(g->head) + (uint64_t)g->head.size)
			return 1;
	} while (rc > 0);
	if (!rc && VHI_REFUSE(VHI_SITE_GPU_DEADLINE, g->got && vhi_now_ns() >= g->deadline_ns))
		return vhi_gpu_fail(g, -ETIMEDOUT, VHI_SITE_GPU_DEADLINE, "");
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* From the name of a target to running queues. */
#include "vhctl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_MS   10000 /* as the library has it */
#define RECONNECT_MS 30000 /* for a back-end to come back */

static bool is_socket(const char *path)
{
	struct stat there;

	return !stat(path, &there) && S_ISSOCK(there.st_mode);
}

const char *vdpa_key(const char *name)
{
	if (!strncmp(name, "vdpa:", 5))
		return name + 5;
	return strncmp(name, "/dev/vhost-vdpa-", 16) ? NULL : name;
}

bool is_device(const char *name)
{
	return vdpa_key(name) || (!strncmp(name, "/dev/", 5) && strncmp(name, "/dev/shm/", 9) && !is_socket(name));
}

/* The library's addresses, less the files of the current folder that are not there: a word alone is a mistake more often. */
static bool is_address(const char *name)
{
	return !is_device(name) && (name[0] == '@' || strpbrk(name, ":/") || is_socket(name));
}

static int vdpa_open(struct target *t)
{
	int32_t rc = vh_vdpa_open(vdpa_key(t->name), NULL, &t->vdpa);

	return rc ? say_vh(rc, t->name) : EXIT_DONE;
}

int target_connect(struct target *t, const char *name, const struct target_opts *opts)
{
	struct vh_master_opts mo = {.size = sizeof(mo), .timeout_ms = opts->timeout_ms};
	int32_t rc;

	memset(t, 0, sizeof(*t));
	t->name = name;
	t->timeout_ms = opts->timeout_ms ? (int32_t)opts->timeout_ms : DEFAULT_MS;
	if (opts->reconnect && t->timeout_ms < RECONNECT_MS)
		t->timeout_ms = RECONNECT_MS;
	if (vdpa_key(name))
		return vdpa_open(t);
	if (!is_address(name))
		return usage("target '%s' is neither a socket, PATH or @NAME, nor /dev/vhost-vdpa-N or vdpa:NAME",
			     name);
	rc = vh_master_new(&mo, NULL, NULL, &t->master);
	if (rc)
		return say_vh(rc, name);
	if (tracer())
		vh_master_set_trace(t->master, tracer(), NULL);
	vh_master_set_logger(t->master, stderr_log(VH_LOG_WARNING), NULL);
	rc = vh_master_connect(t->master, name);
	if (rc) {
		say_vh(rc, name);
		return rc == -EINVAL ? EXIT_USAGE : EXIT_UNREACHABLE;
	}
	return EXIT_DONE;
}

/* The library's error of the step that failed, 0 when it runs. */
static int32_t start(struct target *t, const struct target_opts *opts)
{
	struct vh_driver_opts d = {.size = sizeof(d),
				   .type = VH_TYPE_BLK,
				   .n_queues = opts->queues,
				   .queue_size = opts->queue_size,
				   .poll_us = opts->poll_us,
				   .mask_features = opts->packed ? 0 : UINT64_C(1) << VH_F_RING_PACKED};
	const struct vh_reconnect policy = {.size = sizeof(policy)};
	struct vh_vdpa_info info = {.size = sizeof(info)};
	struct vh_backend *backend;
	int32_t rc = t->vdpa ? vh_vdpa_backend(t->vdpa, &backend) : vh_master_backend(t->master, &backend);

	if (!rc && t->vdpa)
		rc = vh_vdpa_get_info(t->vdpa, &info);
	if (!rc && t->vdpa && !opts->queue_size_fixed && d.queue_size > info.max_vring_num)
		d.queue_size = info.max_vring_num;

	if (!rc)
		rc = vh_driver_new(&d, backend, NULL, &t->driver);
	if (!rc)
		rc = vh_blk_new(t->driver, &t->blk);
	if (!rc && opts->reconnect)
		rc = vh_driver_set_reconnect(t->driver, &policy);
	if (!rc)
		rc = vh_driver_start(t->driver);
	t->info.size = sizeof(t->info);
	if (!rc)
		rc = vh_blk_get_info(t->blk, &t->info);
	return rc;
}

#define SET_VRING_NUM 8 /* the message's id */

static bool ring_too_large(int32_t rc)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	return rc == -EREMOTEIO && e.code == rc && e.request == SET_VRING_NUM;
}

int target_open(struct target *t, const char *name, const struct target_opts *opts)
{
	struct target_opts o = *opts;

	/* vhost-user can't be asked how large a ring may be: unless the user said, smaller ones are tried. */
	for (;;) {
		int exit_code = target_connect(t, name, &o);
		int32_t rc;

		if (exit_code)
			return exit_code;
		rc = start(t, &o);
		if (!rc)
			return EXIT_DONE;
		if (!ring_too_large(rc) || o.queue_size_fixed || o.queue_size <= 2) {
			say_vh(rc, name);
			if (ring_too_large(rc))
				say(0, "%s: try a smaller --queue-size than %u", name, o.queue_size);
			return EXIT_WRONG;
		}
		target_close(t);
		o.queue_size /= 2;
	}
}

int target_silent(struct target *t)
{
	t->silent = true;
	return say(EXIT_WRONG, "%s: no request was done for %d ms", t->name, t->timeout_ms);
}

int target_wait(struct target *t)
{
	const int32_t rc = vh_blk_wait(t->blk, 0, t->timeout_ms);

	if (rc == -ETIMEDOUT)
		return target_silent(t);
	return rc && rc != -EINTR ? say_vh(rc, t->name) : 0;
}

void target_close(struct target *t)
{
	/* Who keeps a request does not answer that its queue stops. */
	if (t->silent && t->master)
		vh_master_disconnect(t->master);
	vh_blk_free(t->blk);
	vh_driver_free(t->driver);
	vh_master_free(t->master);
	vh_vdpa_free(t->vdpa);
	memset(t, 0, sizeof(*t));
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Where vDPA devices are found, by sysfs: /sys/bus/vdpa/devices has a link for each, to a folder below what it was made
 * from; in it are the link "driver", and "vhost-vdpa-N" or "virtioN", by which driver took it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "vhi_vdpa_mgmt.h"
#include "vhi_vdpa_sites.h"

#define DEVICES	   "/sys/bus/vdpa/devices"
#define DRIVERS	   "/sys/bus/vdpa/drivers"
#define NODE	   "vhost-vdpa-"
#define VIRTIO	   "virtio"
#define VHOST_VDPA "vhost_vdpa"
#define LOOK_MS	   10

/* A path below the root. What does not fit is no path of sysfs. */
__attribute__((format(printf, 3, 4))) static int path_of(const struct vh_vdpa_mgmt *m, char *path, const char *fmt, ...)
{
	va_list ap;
	size_t n = strlen(m->root);
	int more;

	memcpy(path, m->root, n);
	va_start(ap, fmt);
	more = vsnprintf(path + n, VHI_VDPA_PATH_SIZE - n, fmt, ap);
	va_end(ap);
	if (more >= 0 && (size_t)more < VHI_VDPA_PATH_SIZE - n)
		return 0;
	return vhi_fail(-ENAMETOOLONG, VH_ERROR_SYSTEM, 0, "vdpa: a path of more than %u bytes below %s",
			VHI_VDPA_PATH_SIZE, *m->root ? m->root : "/");
}

static int cannot(const char *what, const char *path)
{
	const int code = -errno;

	return vhi_fail(code, VH_ERROR_SYSTEM, 0, "vdpa: %s %.150s: %s", what, path, vh_error_name(code));
}

/* Every name of a folder, until @each gives something else than 0. */
static int each_name(const char *path, int (*each)(void *ctx, const char *name), void *ctx)
{
	char buf[4096] __attribute__((aligned(8)));
	int fd = vhi_sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	ssize_t n = 0;

	if (fd < 0)
		return cannot("opening", path);
	while (!rc && (n = vhi_sys.getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; !rc && at < n;) {
			const struct dirent64 *d = (const void *)(buf + at);

			rc = *d->d_name == '.' ? 0 : each(ctx, d->d_name);
			at += d->d_reclen;
		}
	}
	if (!rc && n < 0)
		rc = cannot("reading", path);
	vhi_fd_close(&fd);
	return rc;
}

/* Target of a link; 0 bytes when there is none. */
static int link_of(const char *path, char *to, size_t room)
{
	ssize_t n = vhi_sys.readlink(path, to, room - 1);

	if (n < 0 && (errno == ENOENT || errno == EINVAL))
		n = 0;
	to[n < 0 ? 0 : n] = 0;
	return n < 0 ? cannot("reading", path) : 0;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void put_text(char *to, size_t room, const char *from)
{
	const size_t n = strnlen(from, room - 1);

	memcpy(to, from, n);
	to[n] = 0;
}

/* Decimal digits up to the end. */
static bool number_of(const char *text, const char *end, uint32_t *out)
{
	uint64_t n = 0;

	if (text == end)
		return false;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > INT32_MAX)
			return false;
	}
	*out = (uint32_t)n;
	return true;
}

/* N of a name prefix + N. */
static bool suffix_of(const char *name, const char *prefix, uint32_t *out)
{
	const size_t n = strlen(prefix);

	return !strncmp(name, prefix, n) && number_of(name + n, name + strlen(name), out);
}

/* A file of one short line. */
static int line_of(const char *path, char *to, size_t room)
{
	int fd = vhi_sys.open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return cannot("opening", path);
	n = vhi_sys.read(fd, to, room - 1);
	if (n < 0) {
		n = cannot("reading", path);
		vhi_fd_close(&fd);
		return (int)n;
	}
	vhi_fd_close(&fd);
	to[n] = 0;
	to[strcspn(to, "\n")] = 0;
	return 0;
}

/* What is looked at of one device's folder. */
struct look {
	struct vh_vdpa_mgmt *m;
	struct vh_vdpa_place *place;
};

static int look_at_entry(void *ctx, const char *name)
{
	struct look *l = ctx;
	uint32_t n;

	if (!strncmp(name, NODE, strlen(NODE))) {
		if (VHI_REFUSE(VHI_SITE_VDPA_SYS_NODE, !suffix_of(name, NODE, &n)))
			return vhi_fail(-EPROTO, VH_ERROR_SYSTEM, VHI_SITE_VDPA_SYS_NODE, "vdpa: %.100s has no number",
					name);
		l->place->node = (int32_t)n;
	} else if (suffix_of(name, VIRTIO, &n)) {
		put_text(l->place->virtio, sizeof(l->place->virtio), name);
	}
	return 0;
}

static int look_at_node(struct vh_vdpa_mgmt *m, struct vh_vdpa_place *p)
{
	char path[VHI_VDPA_PATH_SIZE], line[64];
	const char *colon;
	int rc = path_of(m, path, DEVICES "/%s/" NODE "%d/dev", p->name, p->node);

	rc = rc ? rc : line_of(path, line, sizeof(line));
	if (rc)
		return rc;
	colon = strchr(line, ':');
	if (VHI_REFUSE(VHI_SITE_VDPA_SYS_DEV, !colon || !number_of(line, colon, &p->major) ||
						      !number_of(colon + 1, line + strlen(line), &p->minor)))
		return vhi_fail(-EPROTO, VH_ERROR_SYSTEM, VHI_SITE_VDPA_SYS_DEV, "vdpa: %.100s says \"%s\"", path,
				line);
	rc = snprintf(p->path, sizeof(p->path), "%s/dev/" NODE "%d", m->root, p->node);
	return rc < (int)sizeof(p->path) ? 0
					 : vhi_fail(-ENAMETOOLONG, VH_ERROR_ARGUMENT, 0,
						    "vdpa: the root is too long for the path of a node");
}

/* The folder that the device's own is in, and its bus. */
static int look_at_parent(struct vh_vdpa_mgmt *m, struct vh_vdpa_place *p, char *target)
{
	char path[VHI_VDPA_PATH_SIZE], bus[VHI_VDPA_PATH_SIZE];
	char *slash = strrchr(target, '/');
	int rc;

	if (slash)
		*slash = 0;
	/* A simulator's stand in no other device's folder. */
	put_text(p->parent, sizeof(p->parent), slash && strcmp(base_of(target), "devices") ? base_of(target) : "");
	rc = path_of(m, path, DEVICES "/%s/../subsystem", p->name);
	rc = rc ? rc : link_of(path, bus, sizeof(bus));
	put_text(p->parent_bus, sizeof(p->parent_bus), base_of(bus));
	return rc;
}

static int look_at(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_place *p)
{
	char path[VHI_VDPA_PATH_SIZE], target[VHI_VDPA_PATH_SIZE];
	struct look l = {m, p};
	int rc;

	*p = (struct vh_vdpa_place){.node = -1};
	put_text(p->name, sizeof(p->name), name);
	rc = path_of(m, path, DEVICES "/%s/driver", name);
	rc = rc ? rc : link_of(path, target, sizeof(target));
	if (!rc)
		put_text(p->driver, sizeof(p->driver), base_of(target));
	rc = rc ? rc : path_of(m, path, DEVICES "/%s", name);
	rc = rc ? rc : each_name(path, look_at_entry, &l);
	rc = rc ? rc : link_of(path, target, sizeof(target));
	rc = rc ? rc : look_at_parent(m, p, target);
	return rc || p->node < 0 ? rc : look_at_node(m, p);
}

/* One that goes away meanwhile was not there. */
static int add_place(void *ctx, const char *name)
{
	struct vh_vdpa_mgmt *m = ctx;
	void *item;
	int rc = vhi_vdpa_list_add(&m->places, "vh_vdpa_mgmt_list_places", &item);

	rc = rc ? rc : look_at(m, name, item);
	if (rc != -ENOENT && rc != -ENODEV)
		return rc;
	m->places.n--;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct vh_vdpa_place *)a)->name, ((const struct vh_vdpa_place *)b)->name);
}

static int take_places(struct vh_vdpa_mgmt *m)
{
	char path[VHI_VDPA_PATH_SIZE];
	int rc = path_of(m, path, "%s", DEVICES);

	m->places.n = 0;
	rc = rc ? rc : each_name(path, add_place, m);
	if (rc == -ENOENT)
		rc = vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vdpa: there is no %.150s: load the module vdpa, and vhost_vdpa",
			      path);
	if (rc)
		m->places.n = 0;
	else if (m->places.n)
		qsort(m->places.items, m->places.n, m->places.item, by_name);
	return rc ? rc : (int)m->places.n;
}

vh_count vh_vdpa_mgmt_list_places(struct vh_vdpa_mgmt *m)
{
	int rc = vhi_vdpa_mgmt_enter(m, "vh_vdpa_mgmt_list_places");

	return rc ? rc : vhi_vdpa_mgmt_leave(m, take_places(m));
}

vh_rc vh_vdpa_mgmt_get_place(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_place *out)
{
	return vhi_vdpa_mgmt_item(m, m ? &m->places : NULL, index, out, "vh_vdpa_mgmt_get_place");
}

/* Is one of the folders on the way to it called so? A function below a function counts for both. */
static bool lies_below(struct vh_vdpa_mgmt *m, const struct vh_vdpa_place *p, const char *name)
{
	char path[VHI_VDPA_PATH_SIZE], target[VHI_VDPA_PATH_SIZE], *save = NULL;

	if (path_of(m, path, DEVICES "/%s", p->name) || link_of(path, target, sizeof(target)))
		return false;
	for (char *part = strtok_r(target, "/", &save); part; part = strtok_r(NULL, "/", &save))
		if (!strcmp(part, name) && strcmp(part, p->name) && strcmp(part, "..") && strcmp(part, "devices"))
			return true;
	return false;
}

static bool is_made_from(struct vh_vdpa_mgmt *m, const struct vh_vdpa_place *p, const char *key)
{
	const char *slash = strchr(key, '/');

	if (!slash)
		return lies_below(m, p, key);
	if (strlen(p->parent_bus) == (size_t)(slash - key) && !strncmp(p->parent_bus, key, strlen(p->parent_bus)))
		return !strcmp(p->parent, slash + 1);
	/* What is made from a function on the auxiliary bus lies below the PCI function. */
	return !strncmp(key, "pci/", 4) && lies_below(m, p, slash + 1);
}

/* What netlink knows besides: which management device made it. Who can't ask there goes without. */
static const struct vh_vdpa_place *find_made_by(struct vh_vdpa_mgmt *m, const char *key)
{
	const struct vh_vdpa_place *all = (const void *)m->places.items, *found = NULL;
	char name[VH_VDPA_NAME_SIZE] = "";
	bool one;

	vhi_error_mute(true);
	one = vhi_vdpa_mgmt_made_by(m, key, name);
	vhi_error_mute(false);
	for (uint32_t i = 0; one && i < m->places.n; i++)
		if (!strcmp(all[i].name, name))
			found = &all[i];
	return found;
}

static int find(struct vh_vdpa_mgmt *m, const char *key, struct vh_vdpa_place *out, const char *who)
{
	const struct vh_vdpa_place *all, *found = NULL;
	uint32_t node = 0;
	const bool by_node = suffix_of(base_of(key), NODE, &node);
	int n = take_places(m);

	all = (const void *)m->places.items;
	for (int i = 0; i < n; i++) {
		if (by_node ? all[i].node == (int32_t)node : !strcmp(all[i].name, key)) {
			*out = all[i];
			return 0;
		}
	}
	for (int i = 0; i < n && !by_node; i++) {
		if (!is_made_from(m, &all[i], key))
			continue;
		if (found)
			return vhi_fail(-ENOTUNIQ, VH_ERROR_ARGUMENT, 0,
					"%s: %.60s and %.60s are both of %.60s; use a name", who, found->name,
					all[i].name, key);
		found = &all[i];
	}
	if (n < 0)
		return n;
	if (!found)
		found = by_node ? NULL : find_made_by(m, key);
	if (!found)
		return vhi_fail(-ENODEV, VH_ERROR_ARGUMENT, 0, "%s: there is no vDPA device %.100s", who, key);
	*out = *found;
	return 0;
}

static int find_enter(struct vh_vdpa_mgmt *m, const char *key, struct vh_vdpa_place *out, const char *who)
{
	int rc = vhi_vdpa_mgmt_enter(m, who);

	if (rc)
		return rc;
	if (!key || !*key)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: no key; use the name of a device, or of its node",
			      who);
	rc = rc ? rc : find(m, key, out, who);
	return rc ? vhi_vdpa_mgmt_leave(m, rc) : 0;
}

vh_rc vh_vdpa_mgmt_find_place(struct vh_vdpa_mgmt *m, const char *key, struct vh_vdpa_place *out)
{
	static const char who[] = "vh_vdpa_mgmt_find_place";
	struct vh_vdpa_place p;
	int rc = vhi_out_check(out, who);

	rc = rc ? rc : find_enter(m, key, &p, who);
	return rc ? rc : vhi_vdpa_mgmt_leave(m, vhi_out_fill(out, &p, sizeof(p), who));
}

static int put_line(const char *path, const char *line)
{
	int fd = vhi_sys.open(path, O_WRONLY | O_CLOEXEC), rc = 0;
	const size_t len = strlen(line);

	if (fd < 0)
		return cannot("opening", path);
	if (vhi_sys.write(fd, line, len) != (ssize_t)len)
		rc = cannot("writing", path);
	vhi_fd_close(&fd);
	return rc;
}

/* A device that has such a file goes to that driver only, also when it is probed anew; an empty line: to any. */
static int override(struct vh_vdpa_mgmt *m, const struct vh_vdpa_place *p, const char *driver)
{
	char path[VHI_VDPA_PATH_SIZE];
	int rc = path_of(m, path, DEVICES "/%s/driver_override", p->name);

	if (rc)
		return rc;
	vhi_error_mute(true);
	rc = put_line(path, driver ? driver : "\n");
	vhi_error_mute(false);
	if (!rc || rc == -ENOENT)
		return 0;
	errno = -rc;
	return cannot("writing", path);
}

static int take_away(struct vh_vdpa_mgmt *m, const struct vh_vdpa_place *p)
{
	char path[VHI_VDPA_PATH_SIZE];
	int rc = path_of(m, path, DRIVERS "/%s/unbind", p->driver);

	return rc ? rc : put_line(path, p->name);
}

static int give_to(struct vh_vdpa_mgmt *m, const struct vh_vdpa_place *p, const char *driver)
{
	char path[VHI_VDPA_PATH_SIZE];
	int rc = path_of(m, path, DRIVERS "/%s/bind", driver);

	rc = rc ? rc : put_line(path, p->name);
	if (rc == -ENOENT)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0,
				"vh_vdpa_mgmt_bind: no driver %.40s (ENOENT): load the module %.40s", driver, driver);
	if (rc == -ENODEV)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0,
				"vh_vdpa_mgmt_bind: %.40s does not take %.60s (ENODEV); the kernel's log says why",
				driver, p->name);
	return rc;
}

/* The node is made by someone else (devtmpfs, udev), so it may come later than the device. */
static bool node_is_there(struct vh_vdpa_mgmt *m, const struct vh_vdpa_place *p)
{
	struct stat st;

	(void)m;
	if (vhi_sys.lstat(p->path, &st))
		return false;
	return !S_ISCHR(st.st_mode) || (major(st.st_rdev) == p->major && minor(st.st_rdev) == p->minor);
}

static int wait_for(struct vh_vdpa_mgmt *m, const char *driver, struct vh_vdpa_place *p)
{
	const uint64_t end = vhi_now_ns() + m->nl.timeout_ms * UINT64_C(1000000);
	char name[VH_VDPA_NAME_SIZE];
	bool there;
	int rc;

	put_text(name, sizeof(name), p->name);
	for (;;) {
		rc = look_at(m, name, p);
		if (rc && rc != -ENOENT)
			return rc;
		there = !rc && !strcmp(p->driver, driver) && (strcmp(driver, VHOST_VDPA) || p->node >= 0);
		if (there && (p->node < 0 || node_is_there(m, p)))
			return 0;
		if (vhi_now_ns() >= end)
			break;
		vhi_sys.poll(NULL, 0, LOOK_MS);
	}
	if (there)
		return vhi_fail(
			-ETIMEDOUT, VH_ERROR_SYSTEM, 0,
			"vh_vdpa_mgmt_bind: no %.100s for device %u:%u within %u ms; is devtmpfs mounted there?",
			p->path, p->major, p->minor, m->nl.timeout_ms);
	return vhi_fail(-ETIMEDOUT, VH_ERROR_SYSTEM, 0, "vh_vdpa_mgmt_bind: %.100s is not with %.40s after %u ms", name,
			*driver ? driver : "no driver", m->nl.timeout_ms);
}

/* Before the device is taken away from another one. */
static int driver_is_there(struct vh_vdpa_mgmt *m, const char *driver)
{
	char path[VHI_VDPA_PATH_SIZE];
	struct stat st;
	int rc = path_of(m, path, DRIVERS "/%s", driver);

	if (rc || !vhi_sys.lstat(path, &st))
		return rc;
	if (errno != ENOENT)
		return cannot("looking at", path);
	return vhi_fail(-ENOENT, VH_ERROR_SYSTEM, 0,
			"vh_vdpa_mgmt_bind: no driver %.40s (ENOENT): load the module %.40s", driver, driver);
}

static int rebind(struct vh_vdpa_mgmt *m, const char *driver, struct vh_vdpa_place *p)
{
	int rc;

	if (*driver && (strlen(driver) >= sizeof(p->driver) || !strcmp(driver, ".") || !strcmp(driver, "..") ||
			strpbrk(driver, "/\n")))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_mgmt_bind: %.60s is no name of a driver",
				driver);
	rc = *driver ? driver_is_there(m, driver) : 0;
	rc = rc ? rc : override(m, p, *driver ? driver : NULL);
	if (!rc && *p->driver && strcmp(p->driver, driver))
		rc = take_away(m, p);
	if (!rc && *driver && strcmp(p->driver, driver))
		rc = give_to(m, p, driver);
	return rc ? rc : wait_for(m, driver, p);
}

vh_rc vh_vdpa_mgmt_bind(struct vh_vdpa_mgmt *m, const char *key, const char *driver, struct vh_vdpa_place *out)
{
	static const char who[] = "vh_vdpa_mgmt_bind";
	struct vh_vdpa_place p;
	int rc = out ? vhi_out_check(out, who) : 0;

	rc = rc ? rc : find_enter(m, key, &p, who);
	if (rc)
		return rc;
	rc = rebind(m, driver ? driver : "", &p);
	if (!rc && out)
		rc = vhi_out_fill(out, &p, sizeof(p), who);
	return vhi_vdpa_mgmt_leave(m, rc);
}

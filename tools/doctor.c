/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl doctor: what is missing on this host, and the command that mends it. */
#include "vhctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What a check finds. A part that is missing matters where its subject was asked for. */
enum state { FINE, MISSING };
struct finding {
	enum state state;
	char said[192];
	char mend[192];
};

struct check {
	const char *subject, *name;
	void (*look)(const struct check *c, struct finding *f);
	const char *path, *module; /* of a node, a folder or a setting */
	bool optional;		   /* never a reason to fail */
};

static const char *root; /* stands before /dev, /sys, /proc and /lib */

__attribute__((format(printf, 2, 3))) static void mend(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->mend, sizeof(f->mend), fmt, ap);
	va_end(ap);
	f->state = MISSING;
}

static void below(char *out, size_t size, const char *path)
{
	snprintf(out, size, "%s%s", root, path);
}

/* The first number of a file, or -1. */
static int64_t number_of(const char *path)
{
	char full[512];
	long long v = -1;
	FILE *file;

	below(full, sizeof(full), path);
	file = fopen(full, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%lld", &v) != 1)
		v = -1;
	fclose(file);
	return v;
}

static bool has_line(const char *path, const char *word)
{
	char full[512], line[1024];
	bool found = false;
	FILE *file;

	below(full, sizeof(full), path);
	file = fopen(full, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, word);
	if (file)
		fclose(file);
	return found;
}

/* Whether the kernel that runs has it at all: as a file to load, or built in. */
static bool kernel_has(const char *module)
{
	struct utsname u;
	char path[256], word[80];

	uname(&u);
	snprintf(word, sizeof(word), "/%s.ko", module);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", u.release);
	if (has_line(path, word))
		return true;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", u.release);
	return has_line(path, word);
}

static void mend_module(struct finding *f, const char *module)
{
	struct utsname u;

	uname(&u);
	if (kernel_has(module))
		mend(f, "modprobe %s", module);
	else
		mend(f,
		     "boot a kernel that has the module %s; %s has not (Debian 12: linux-image-amd64 of "
		     "bookworm-backports)",
		     module, u.release);
}

static void look_node(const struct check *c, struct finding *f)
{
	char full[512];

	below(full, sizeof(full), c->path);
	if (access(full, F_OK)) {
		snprintf(f->said, sizeof(f->said), "there is no %s", c->path);
		mend_module(f, c->module);
	} else if (access(full, R_OK | W_OK)) {
		snprintf(f->said, sizeof(f->said), "%s is there, and not for this user", c->path);
		mend(f, "setfacl -m u:%u:rw %s", getuid(), c->path);
	} else {
		snprintf(f->said, sizeof(f->said), "%s can be opened", c->path);
	}
}

static void look_folder(const struct check *c, struct finding *f)
{
	char full[512];

	below(full, sizeof(full), c->path);
	if (!access(full, F_OK)) {
		snprintf(f->said, sizeof(f->said), "%s is loaded", c->module);
		return;
	}
	snprintf(f->said, sizeof(f->said), "%s is not loaded", c->module);
	mend_module(f, c->module);
}

static void look_memfd(const struct check *c, struct finding *f)
{
	int fd = memfd_create("vhctl doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)c;
	if (fd >= 0 && !ftruncate(fd, 4096) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		snprintf(f->said, sizeof(f->said), "memory can be shared by memfd, sealed against shrinking");
	} else {
		snprintf(f->said, sizeof(f->said), "no sealed memfd: %s", strerror(errno));
		mend(f, "allow memfd_create() and F_ADD_SEALS in this container's seccomp profile");
	}
	if (fd >= 0)
		close(fd);
}

#define SHM_LEAST (UINT64_C(64) << 20)
static void look_shm(const struct check *c, struct finding *f)
{
	struct statvfs v;
	char full[512];
	uint64_t room;

	below(full, sizeof(full), c->path);
	if (statvfs(full, &v)) {
		snprintf(f->said, sizeof(f->said), "there is no %s", c->path);
		mend(f, "mount -t tmpfs -o size=1G tmpfs %s", c->path);
		return;
	}
	room = (uint64_t)v.f_bavail * v.f_frsize;
	snprintf(f->said, sizeof(f->said), "%s has %" PRIu64 " MiB free", c->path, room >> 20);
	if (room < SHM_LEAST)
		mend(f, "mount -o remount,size=1G %s", c->path);
}

static void look_files(const struct check *c, struct finding *f)
{
	struct rlimit l = {0};

	(void)c;
	getrlimit(RLIMIT_NOFILE, &l);
	snprintf(f->said, sizeof(f->said), "%" PRIu64 " files may be open in a process", (uint64_t)l.rlim_cur);
	if (l.rlim_cur < 1024)
		mend(f, "ulimit -n 65536");
}

static void look_uring(const struct check *c, struct finding *f)
{
	int64_t off = number_of(c->path);
	int fd = (int)syscall(SYS_io_uring_setup, 0, NULL);

	if (fd < 0 && errno == EFAULT && off <= 0) {
		snprintf(f->said, sizeof(f->said), "files are served through io_uring");
		return;
	}
	snprintf(f->said, sizeof(f->said), "no io_uring: files are served by preadv, one request at a time");
	mend(f, off > 0 ? "sysctl -w kernel.io_uring_disabled=0"
			: "allow io_uring_setup() in this container's seccomp profile");
}

static void look_userfault(const struct check *c, struct finding *f)
{
	int64_t open_to_all = number_of(c->path);

	if (!geteuid() || open_to_all == 1) {
		snprintf(f->said, sizeof(f->said), "postcopy can use userfaultfd");
		return;
	}
	snprintf(f->said, sizeof(f->said), "no userfaultfd for this user: no postcopy");
	mend(f, "sysctl -w vm.unprivileged_userfaultfd=1");
}

static void look_huge(const struct check *c, struct finding *f)
{
	int64_t n = number_of(c->path);

	snprintf(f->said, sizeof(f->said), "%" PRId64 " huge pages are set aside", n < 0 ? 0 : n);
	if (n <= 0)
		mend(f, "sysctl -w vm.nr_hugepages=128");
}

/* Devices that translate by their own means pin all guest memory. */
static void look_locked(const struct check *c, struct finding *f)
{
	struct rlimit l = {0};

	(void)c;
	getrlimit(RLIMIT_MEMLOCK, &l);
	if (l.rlim_cur == RLIM_INFINITY || !geteuid()) {
		snprintf(f->said, sizeof(f->said), "guest memory may be pinned");
		return;
	}
	snprintf(f->said, sizeof(f->said), "%" PRIu64 " KiB of memory may be pinned", (uint64_t)l.rlim_cur >> 10);
	if (l.rlim_cur < SHM_LEAST)
		mend(f, "ulimit -l unlimited");
}

static const struct check checks[] = {
	{"vhost-user", "memory", look_memfd, NULL, NULL, false},
	{"vhost-user", "shared-memory", look_shm, "/dev/shm", NULL, false},
	{"vhost-user", "open-files", look_files, NULL, NULL, false},
	{"vhost-user", "io_uring", look_uring, "/proc/sys/kernel/io_uring_disabled", NULL, true},
	{"vhost-user", "userfaultfd", look_userfault, "/proc/sys/vm/unprivileged_userfaultfd", NULL, true},
	{"vhost-user", "huge-pages", look_huge, "/proc/sys/vm/nr_hugepages", NULL, true},
	{"kernel", "net", look_node, "/dev/vhost-net", "vhost_net", false},
	{"kernel", "vsock", look_node, "/dev/vhost-vsock", "vhost_vsock", false},
	{"kernel", "scsi", look_node, "/dev/vhost-scsi", "vhost_scsi", false},
	{"kernel", "tap", look_node, "/dev/net/tun", "tun", false},
	{"vdpa", "bus", look_folder, "/sys/bus/vdpa", "vdpa", false},
	{"vdpa", "user-space", look_folder, "/sys/bus/vdpa/drivers/vhost_vdpa", "vhost_vdpa", false},
	{"vdpa", "this-kernel", look_folder, "/sys/bus/vdpa/drivers/virtio_vdpa", "virtio_vdpa", true},
	{"vdpa", "pinned-memory", look_locked, NULL, NULL, false},
	{"vduse", "control", look_node, "/dev/vduse/control", "vduse", false},
	{"vduse", "bus", look_folder, "/sys/bus/vdpa", "vdpa", false},
};
#define N_CHECKS (sizeof(checks) / sizeof(checks[0]))

static bool asked(const char *subject, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i], subject))
			return true;
	return !n;
}

static bool known(const char *subject)
{
	for (size_t i = 0; i < N_CHECKS; i++)
		if (!strcmp(checks[i].subject, subject))
			return true;
	return false;
}

static void print_line(const struct check *c, const struct finding *f)
{
	printf("%-7s %-10s %-14s %s\n",
	       f->state == FINE ? "ok"
	       : c->optional	? "note"
				: "missing",
	       c->subject, c->name, f->said);
	if (f->state == MISSING)
		printf("%34s%s\n", "", f->mend);
}

static void json_line(struct json *j, const struct check *c, const struct finding *f)
{
	json_object(j, NULL);
	json_text(j, "subject", c->subject);
	json_text(j, "name", c->name);
	json_text(j, "state", f->state == FINE ? "ok" : c->optional ? "note" : "missing");
	json_text(j, "text", f->said);
	if (f->state == MISSING)
		json_text(j, "mend", f->mend);
	json_close(j, '}');
}

int cmd_doctor(int argc, char **argv)
{
	const char *words[4];
	bool as_json = false, wrong = false;
	const struct opt opts[] = {{"json", OPT_FLAG, &as_json, 0, NULL}, {"root", OPT_TEXT, &root, 0, NULL}};
	struct json j;
	size_t n;
	int rc;

	root = "";
	rc = parse_options(argc, argv, opts, 2, words, 4, &n);
	for (size_t i = 0; !rc && i < n; i++)
		if (!known(words[i]))
			rc = usage("'%s' is not vhost-user, kernel, vdpa or vduse", words[i]);
	if (rc)
		return rc;
	if (as_json) {
		json_begin(&j, stdout);
		json_array(&j, "checks");
	}
	for (size_t i = 0; i < N_CHECKS; i++) {
		const struct check *c = &checks[i];
		struct finding f = {0};

		if (!asked(c->subject, words, n))
			continue;
		c->look(c, &f);
		/* What nobody named is told, and no reason to fail, but for sockets, which are what libvh is for. */
		wrong |= f.state == MISSING && !c->optional && (n || !strcmp(c->subject, "vhost-user"));
		if (as_json)
			json_line(&j, c, &f);
		else
			print_line(c, &f);
	}
	if (as_json) {
		json_close(&j, ']');
		json_end(&j);
	}
	return wrong ? EXIT_WRONG : EXIT_DONE;
}

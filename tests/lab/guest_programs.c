// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * The init of a guest that runs the programs of /tests one after the other, each with a deadline and no other processes around.
 * Says "@@ run NAME" and "@@ end NAME CODE", CODE being the exit code or 128 and the signal's number, and what the kernel had to
 * say meanwhile.
 */
#include "guest.h"

#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define SECONDS 200

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("# %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Every virtio device of the machine becomes a vDPA one, when the kernel has the driver for it. */
static void give_to_vp_vdpa(void)
{
	struct dirent **list;
	int n = scandir("/sys/bus/pci/devices", &list, NULL, alphasort);

	if (access("/sys/bus/pci/drivers/vp-vdpa", F_OK) != 0)
		return;
	for (int i = 0; i < n; i++) {
		char path[300], vendor[16] = "";
		int fd;

		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", list[i]->d_name);
		fd = list[i]->d_name[0] == '.' || chdir(path) != 0 ? -1 : open("vendor", O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, vendor, sizeof(vendor) - 1) <= 0 || strncmp(vendor, "0x1af4", 6) != 0)
			continue;
		close(fd);
		write_file(path, "driver_override", "vp-vdpa");
		write_file(path, "driver/unbind", list[i]->d_name);
		write_file("/sys/bus/pci/drivers/vp-vdpa", "bind", list[i]->d_name);
	}
	if (chdir("/") != 0)
		fail("/");
}

static void prepare(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}; /* vhost-vdpa pins what it is given */
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) != 0)
		fail("lo");
	close(fd);
	if (setrlimit(RLIMIT_MEMLOCK, &all) != 0)
		fail("RLIMIT_MEMLOCK");
	mkdir("/dev/shm", 0755);
	mkdir("/dev/pts", 0755);
	mkdir("/tmp", 0755);
	mount("shm", "/dev/shm", "tmpfs", 0, NULL);
	mount("pts", "/dev/pts", "devpts", 0, NULL);
	mount("tmp", "/tmp", "tmpfs", 0, NULL);
	mount("config", "/sys/kernel/config", "configfs", 0, NULL);
	setenv("LD_LIBRARY_PATH", "/lib", 1);
	setenv("PATH", "/bin", 1);
	setenv("TMPDIR", "/tmp", 1);
	give_to_vp_vdpa();
}

/* What the kernel logged since the last call: warnings and worse. */
static void kernel_log(int fd)
{
	char record[1024];
	ssize_t n;

	while ((n = read(fd, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		char *text;

		if (n < 0)
			continue;
		record[n] = 0;
		text = strchr(record, ';');
		if (text && (atoi(record) & 7) <= 4)
			printf("# kernel: %.*s\n", (int)strcspn(text + 1, "\n"), text + 1);
	}
}

static int run(const char *path)
{
	struct timespec patience = {.tv_sec = SECONDS};
	sigset_t child;
	pid_t pid;
	int status = 0;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_UNBLOCK, &child, NULL);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	/* Orphans end up here too. */
	while (waitpid(pid, &status, WNOHANG) == 0)
		if (sigtimedwait(&child, NULL, &patience) < 0 && errno == EAGAIN) {
			printf("# no end after %d s\n", SECONDS);
			kill(pid, SIGKILL);
		}
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	struct dirent **list;
	char line[2048];
	int log, n;

	begin(line, sizeof(line));
	prepare();
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	kernel_log(log);
	n = scandir("/tests", &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char path[300];
		int code;

		if (list[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/tests/%s", list[i]->d_name);
		printf("@@ run %s\n", list[i]->d_name);
		code = run(path);
		kernel_log(log);
		printf("@@ end %s %d\n", list[i]->d_name, code);
	}
	end(GUEST_OK);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Who is looked at: a process by its number, or by the socket that it listens on, which nobody connects to. */
#include "vhctl.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LISTENS 0x10000 /* among the flags in /proc/net/unix */

struct sockets {
	unsigned long *inodes;
	size_t n, room;
	bool listen;
	char name[sizeof(((struct looked *)0)->address)]; /* what they are bound to */
};

/* Whoever listens hides who is connected: each of its connections has the same name. */
static bool add_socket(struct sockets *s, unsigned long inode, bool listens)
{
	if (s->listen && !listens)
		return true;
	if (listens && !s->listen)
		s->n = 0;
	s->listen = listens;
	if (s->n == s->room) {
		unsigned long *more = realloc(s->inodes, (s->room + 64) * sizeof(*more));

		if (!more)
			return false;
		s->inodes = more;
		s->room += 64;
	}
	s->inodes[s->n++] = inode;
	return true;
}

/* The sockets of this name, from /proc/net/unix: the listening ones, else all. */
static struct sockets sockets_named(const char *name)
{
	FILE *f = fopen("/proc/net/unix", "re");
	struct sockets s = {0};
	bool good = true;
	char line[512];

	while (f && good && fgets(line, sizeof(line), f)) {
		unsigned long inode, flags;
		int at = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%*s %*s %*s %lx %*s %*s %lu %n", &flags, &inode, &at) == 2 && at &&
		    !strcmp(line + at, name))
			good = add_socket(&s, inode, flags & LISTENS);
	}
	if (f)
		fclose(f);
	return s;
}

static bool has_socket(unsigned pid, const struct sockets *s)
{
	char path[64], link[320], to[64];
	unsigned long inode;
	bool found = false;
	struct dirent *e;
	ssize_t len;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	fds = opendir(path);
	while (fds && !found && (e = readdir(fds))) {
		snprintf(link, sizeof(link), "%s/%s", path, e->d_name);
		len = readlink(link, to, sizeof(to) - 1);
		to[len < 0 ? 0 : len] = 0;
		if (sscanf(to, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < s->n && !found; i++)
			found = s->inodes[i] == inode;
	}
	if (fds)
		closedir(fds);
	return found;
}

/* Whether it is of that file, whatever path it was bound by and whoever's directory that began in; then it is added. */
static bool add_if_at(struct sockets *s, const struct nlmsghdr *h, const struct stat *at)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	const struct rtattr *a = (const struct rtattr *)(m + 1);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	const struct rtattr *name = NULL;
	struct unix_diag_vfs vfs = {0};

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == UNIX_DIAG_NAME)
			name = a;
		else if (a->rta_type == UNIX_DIAG_VFS && RTA_PAYLOAD(a) >= sizeof(vfs))
			memcpy(&vfs, RTA_DATA(a), sizeof(vfs));
	}
	/* The kernel's own form of a device's number, and the lower half of the file's. */
	if (!name || vfs.udiag_vfs_ino != (uint32_t)at->st_ino ||
	    vfs.udiag_vfs_dev != (major(at->st_dev) << 20 | minor(at->st_dev)))
		return true;
	snprintf(s->name, sizeof(s->name), "%.*s", (int)RTA_PAYLOAD(name), (const char *)RTA_DATA(name));
	return add_socket(s, m->udiag_ino, m->udiag_state == TCP_LISTEN);
}

/* The sockets of a file, from the kernel; none where it does not tell. */
static struct sockets sockets_at(const struct stat *at)
{
	const struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} ask = {.h = {.nlmsg_len = sizeof(ask),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		 .r = {.sdiag_family = AF_UNIX,
		       .udiag_states = UINT32_MAX,
		       .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS}};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(struct nlmsghdr) char buf[32768];
	bool more = fd >= 0 && send(fd, &ask, sizeof(ask), 0) == sizeof(ask);
	struct sockets s = {0};

	while (more) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		const struct nlmsghdr *h = (const struct nlmsghdr *)buf;

		more = n > 0;
		for (; more && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			more = h->nlmsg_type == SOCK_DIAG_BY_FAMILY && add_if_at(&s, h, at);
	}
	if (fd >= 0)
		close(fd);
	return s;
}

/* The first process with one of the sockets that shows something; else the first one. 0 = there is none. */
static unsigned holder_of(const struct sockets *s)
{
	struct vh_metrics_reader *r;
	unsigned first = 0, shows = 0;
	struct dirent *e;
	DIR *all = opendir("/proc");

	while (all && !shows && (e = readdir(all))) {
		const unsigned pid = (unsigned)strtoul(e->d_name, NULL, 10);

		if (!pid || !has_socket(pid, s))
			continue;
		first = first ? first : pid;
		if (!vh_metrics_reader_open(pid, 0, &r)) {
			vh_metrics_reader_free(r);
			shows = pid;
		}
	}
	if (all)
		closedir(all);
	return shows ? shows : first;
}

static int by_socket(const char *target, struct looked *out)
{
	const char *path = target;
	struct sockets s = {0};
	struct stat at;
	char full[512];

	if (!strncmp(path, "unix:", 5))
		path += 5;
	if (!strncmp(path, "abstract:", 9)) {
		snprintf(full, sizeof(full), "@%s", path + 9);
		path = full;
	}
	if (!stat(path, &at))
		s = sockets_at(&at);
	if (!s.n)
		s = sockets_named(path);
	snprintf(out->address, sizeof(out->address), "%s", *s.name ? s.name : path);
	out->pid = s.n ? holder_of(&s) : 0;
	free(s.inodes);
	if (!s.n)
		return say(EXIT_UNREACHABLE, "%s: no socket of this name in this network namespace", target);
	return out->pid
		       ? EXIT_DONE
		       : say(EXIT_UNREACHABLE, "%s: none of your processes has this socket; root may see more", target);
}

/* Whose it is, from what anybody may read; the owner of /proc/PID is root where a process hides itself. */
static int not_yours(const char *target, unsigned pid)
{
	unsigned uid = geteuid();
	const struct passwd *user;
	char name[64], line[256];
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%u/status", pid);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Uid: %*u %u", &uid) != 1)
		;
	if (f)
		fclose(f);
	if (uid == geteuid())
		return say(EXIT_UNREACHABLE, "%s: process %u lets no other one look into it; root may", target, pid);
	user = getpwuid(uid);
	snprintf(name, sizeof(name), "%u", uid);
	return say(EXIT_UNREACHABLE, "%s: process %u belongs to user %s; run this as that user or as root", target, pid,
		   user ? user->pw_name : name);
}

int looked_at(const char *target, struct looked *out)
{
	char *end;
	unsigned long pid = strtoul(target, &end, 10);
	char path[64];
	FILE *f;
	int rc = EXIT_DONE;

	memset(out, 0, sizeof(*out));
	if (*target >= '0' && *target <= '9' && !*end)
		out->pid = pid <= INT32_MAX ? (unsigned)pid : 0;
	else
		rc = by_socket(target, out);
	if (rc)
		return rc;
	if (!out->pid)
		return usage("'%s' is no number that a process has", target);
	rc = vh_metrics_reader_open(out->pid, 0, &out->reader);
	if (rc == -EACCES)
		return not_yours(target, out->pid);
	if (rc) {
		say_vh(rc, target);
		return EXIT_UNREACHABLE;
	}
	snprintf(path, sizeof(path), "/proc/%u/comm", out->pid);
	f = fopen(path, "re");
	if (f && fgets(out->command, sizeof(out->command), f))
		out->command[strcspn(out->command, "\n")] = 0;
	/* It calls itself what it likes, and a terminal obeys. */
	for (char *c = out->command; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	if (f)
		fclose(f);
	return EXIT_DONE;
}

bool looked_for(const struct looked *l, const struct vh_metrics_row *connection)
{
	return !*l->address || !strcmp(l->address, connection->address);
}

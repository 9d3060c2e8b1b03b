/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Addresses as text: the one place that knows their kinds. */
#include "vhi_address.h"

#include <unistd.h>

#include "vh/error.h"

#define FIRST_ACTIVATED 3 /* what the program was started with begins after stdin, stdout and stderr */

static int bad(const char *text, const char *why)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "address '%s': %s", text, why);
}

/* All of @text is a number that an fd can have. */
static bool number_of(const char *text, int *out)
{
	int n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > (INT32_MAX - 9) / 10)
			return false;
		n = n * 10 + (*text - '0');
	}
	*out = n;
	return true;
}

/* @skip: bytes of sun_path before the name, 0 = it is a path, whose end is a NUL byte. */
static int fill(struct vhi_address *a, const char *text, const char *name, size_t skip)
{
	const size_t len = strlen(name), room = sizeof(a->un.sun_path) - 1;

	if (!len)
		return bad(text, "the socket path is empty");
	if (len > room)
		return vhi_fail(-ENAMETOOLONG, VH_ERROR_ARGUMENT, 0,
				"the socket path has %zu bytes, the system allows %zu; use a shorter one", len, room);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path + skip, name, len);
	a->len = (socklen_t)(skip ? offsetof(struct sockaddr_un, sun_path) + skip + len : sizeof(a->un));
	return 0;
}

static int take_abstract(struct vhi_address *a, const char *text, const char *rest)
{
	a->kind = VHI_ADDRESS_ABSTRACT;
	return fill(a, text, rest, 1);
}

/* Words before a colon are kinds of address, also ones that are not known yet: none may become a file of that name. */
static int take_path(struct vhi_address *a, const char *text, const char *rest)
{
	size_t word = strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789+-");

	if (rest[0] == '@')
		return take_abstract(a, text, rest + 1);
	if (word && rest[word] == ':')
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"'%s' is no kind of address that is known here; for a file of that name write ./%s",
				rest, rest);
	a->kind = VHI_ADDRESS_PATH;
	return fill(a, text, rest, 0);
}

static int take_fd(struct vhi_address *a, const char *text, const char *rest)
{
	a->kind = VHI_ADDRESS_FD;
	return number_of(rest, &a->fd) ? 0 : bad(text, "after fd: stands the number of an open file descriptor");
}

/* How many sockets this process was started with; they are meant for it only if the pid is its own. */
static int count_activated(void)
{
	const char *pid = vhi_sys.getenv("LISTEN_PID"), *n = vhi_sys.getenv("LISTEN_FDS");
	int number, count;

	if (!pid || !n || !number_of(pid, &number) || number != getpid() || !number_of(n, &count))
		return 0;
	return count;
}

/* The name that the socket with this index has in "first:second:third", and how long it is; NULL = it has none. */
static const char *name_at(const char *names, int index, size_t *len)
{
	for (; names && index; index--) {
		names = strchr(names, ':');
		names = names ? names + 1 : NULL;
	}
	*len = names ? strcspn(names, ":") : 0;
	return names;
}

static int take_systemd(struct vhi_address *a, const char *text, const char *rest)
{
	const char *names = vhi_sys.getenv("LISTEN_FDNAMES");
	const int count = count_activated();
	int found = 0;

	a->kind = VHI_ADDRESS_FD;
	if (!count)
		return bad(text, "no socket was passed to this process (LISTEN_PID, LISTEN_FDS)");
	for (int i = 0; i < count; i++) {
		size_t len;
		const char *name = name_at(names, i, &len);

		/* Beyond the last name no other one can match, so this ends whatever the count claims. */
		if (*rest && !name)
			break;
		if (*rest && (len != strlen(rest) || memcmp(name, rest, len) != 0))
			continue;
		a->fd = FIRST_ACTIVATED + i;
		if (++found > 1)
			return bad(text, *rest ? "several sockets that were passed have this name"
					       : "several sockets were passed; say which one: systemd:NAME");
	}
	return found ? 0 : bad(text, "no socket that was passed has this name (LISTEN_FDNAMES)");
}

int vhi_address_parse(const char *text, struct vhi_address *out)
{
	static const struct {
		const char *scheme;
		int (*take)(struct vhi_address *a, const char *text, const char *rest);
	} schemes[] = {
		{"unix:", take_path}, {"@", take_abstract},	  {"abstract:", take_abstract},
		{"fd:", take_fd},     {"systemd:", take_systemd}, {"", take_path},
	};
	size_t i = 0;

	if (!text || !*text)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "the socket path is empty");
	while (strncmp(text, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
		i++;
	memset(out, 0, sizeof(*out));
	out->fd = -1;
	return schemes[i].take(out, text, text + strlen(schemes[i].scheme));
}

const char *vhi_address_name(const struct vhi_address *a)
{
	return a->kind == VHI_ADDRESS_ABSTRACT ? a->un.sun_path + 1 : a->un.sun_path;
}

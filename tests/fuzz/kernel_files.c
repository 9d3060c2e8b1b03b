/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Open files and the descriptors that name them. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#define FIRST_FD 100 /* the process has descriptors of its own below */
#define MAX_FDS	 512

struct kern_file kern_files[KERN_FILES];
uint64_t kern_time;
static struct kern_file *table[MAX_FDS];
static uint32_t next_ino;
static uint32_t high; /* no file was opened from here on */

struct kern_file *kern_file(int fd)
{
	if (fd >= FIRST_FD && fd < FIRST_FD + MAX_FDS && table[fd - FIRST_FD])
		return table[fd - FIRST_FD];
	errno = EBADF;
	return NULL;
}

bool kern_is_open(int fd)
{
	return kern_file(fd);
}

struct kern_file *kern_file_new(enum kern_kind kind)
{
	struct kern_file *f = NULL;

	for (uint32_t i = 0; i < KERN_FILES && !f; i++)
		if (!kern_files[i].refs)
			f = &kern_files[i];
	CHECK(f);
	if (high <= f - kern_files)
		high = (uint32_t)(f - kern_files) + 1;
	memset(f, 0, sizeof(*f));
	f->kind = kind;
	f->refs = 1;
	f->ino = ++next_ino;
	f->flags = O_RDWR;
	f->slot = -1;
	f->tail = &f->head;
	f->room = 212992;
	return f;
}

/* The registrations of a file that is closed for good go with it. */
static void forget(const struct kern_file *gone)
{
	for (uint32_t i = 0; i < high; i++) {
		struct kern_file *f = &kern_files[i];
		uint32_t n = 0;

		if (!f->refs || f->kind != KERN_EPOLL)
			continue;
		for (uint32_t j = 0; j < f->n_items; j++)
			if (f->items[j].file != gone)
				f->items[n++] = f->items[j];
		f->n_items = n;
	}
}

void kern_file_put(struct kern_file *f)
{
	if (--f->refs)
		return;
	f->refs = 1; /* it must not be used again before all is dropped */
	forget(f);
	kern_sock_drop(f);
	if (f->slot >= 0)
		kern_slot_put(f->slot);
	f->refs = 0;
}

int kern_fd_new(struct kern_file *f)
{
	for (int i = 0; i < MAX_FDS; i++) {
		if (table[i])
			continue;
		table[i] = f;
		return FIRST_FD + i;
	}
	kern_file_put(f);
	errno = EMFILE;
	return -1;
}

void kern_close(int fd)
{
	struct kern_file *f = kern_file(fd);

	CHECK(f);
	table[fd - FIRST_FD] = NULL;
	kern_file_put(f);
}

int kern_dup(int fd)
{
	struct kern_file *f = kern_file(fd);

	if (!f)
		return -1;
	f->refs++;
	return kern_fd_new(f);
}

static bool is_memory(enum kern_kind kind)
{
	return kind >= KERN_MEMFD && kind <= KERN_MEM_DEVICE;
}

int kern_open(enum kern_kind kind, uint64_t size)
{
	struct kern_file *f;

	if (kind == KERN_NONE)
		return -1;
	f = kern_file_new(kind);
	if (is_memory(kind)) {
		f->slot = kern_slot_take(KERN_FILE_MAX);
		if (f->slot < 0) {
			kern_file_put(f);
			return -1;
		}
		f->size = size < KERN_FILE_MAX ? size : KERN_FILE_MAX;
		f->seals = kind == KERN_MEMFD ? F_SEAL_SHRINK : 0;
		if (kind == KERN_MEMFD_READ)
			f->flags = O_RDONLY;
	}
	if (kind == KERN_EVENTFD)
		f->flags |= O_NONBLOCK;
	if (kind == KERN_EVENTFD_FULL)
		f->count = UINT64_MAX - 1;
	return kern_fd_new(f);
}

uint8_t *kern_view(int fd)
{
	const struct kern_file *f = kern_file(fd);

	return f && f->slot >= 0 ? kern_slot_view(f->slot) : NULL;
}

uint64_t kern_take(int fd)
{
	struct kern_file *f = kern_file(fd);
	uint64_t count = f->count;

	f->count = 0;
	return count;
}

void kern_signal(int fd)
{
	struct kern_file *f = kern_file(fd);

	if (!f || f->kind < KERN_EVENTFD || f->kind > KERN_EVENTFD_SEM || f->count >= UINT64_MAX - 1)
		return;
	f->count++;
	f->version++;
}

static uint32_t eventfd_ready(const struct kern_file *f)
{
	return (f->count ? POLLIN : 0u) | (f->count < UINT64_MAX - 1 ? POLLOUT : 0u);
}

static uint32_t socket_ready(const struct kern_file *f)
{
	bool gone = f->kind != KERN_LISTENER && !f->peer;
	bool room = f->peer && f->peer->waiting < f->peer->room;

	return (f->head || f->n_backlog || gone ? POLLIN : 0u) | (room || gone ? POLLOUT : 0u) | (gone ? POLLHUP : 0u);
}

/* Nobody makes a ring of sets here, so this ends. */
static uint32_t epoll_ready(const struct kern_file *ep)
{
	for (uint32_t i = 0; i < ep->n_items; i++)
		if (kern_item_ready(&ep->items[i]))
			return POLLIN;
	return 0;
}

uint32_t kern_item_ready(const struct kern_epitem *item)
{
	uint32_t ready = kern_ready(item->file) & (item->events | EPOLLHUP | EPOLLERR);

	return item->events & EPOLLET && item->seen == item->file->version ? 0 : ready;
}

uint32_t kern_ready(const struct kern_file *f)
{
	switch (f->kind) {
	case KERN_EVENTFD:
	case KERN_EVENTFD_BLOCK:
	case KERN_EVENTFD_FULL:
	case KERN_EVENTFD_SEM:
		return eventfd_ready(f);
	case KERN_EPOLL:
		return epoll_ready(f);
	case KERN_TIMER:
		return f->count && kern_time >= f->count ? POLLIN : 0;
	case KERN_SOCKET:
	case KERN_SOCKET_DGRAM:
	case KERN_LISTENER:
		return socket_ready(f);
	default:
		return POLLIN | POLLOUT;
	}
}

void kern_reset(void)
{
	memset(table, 0, sizeof(table));
	for (uint32_t i = 0; i < high; i++)
		if (kern_files[i].refs)
			kern_sock_drop(&kern_files[i]);
	for (uint32_t i = 0; i < high; i++)
		kern_files[i].refs = 0;
	high = 0;
	kern_mem_reset();
	kern_time = UINT64_C(1000000000000);
	kern_idle = NULL;
	next_ino = 0;
}

void kern_check_clean(void)
{
	for (int i = 0; i < MAX_FDS; i++) {
		if (table[i])
			fprintf(stderr, "descriptor %d of kind %d was left open\n", FIRST_FD + i, (int)table[i]->kind);
		CHECK(!table[i]);
	}
	kern_mem_check_clean();
}

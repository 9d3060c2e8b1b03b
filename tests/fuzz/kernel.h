/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * As much of a kernel as libvh needs, in memory: its table of system calls (vhi_sys) is this one. Descriptors are
 * numbers of our own, time passes only when somebody waits, and nothing ever blocks: a call that would is a bug and
 * aborts. The same input gives the same run, a thousand times faster than with sockets.
 *
 * Memory files are real ones, each mapped a few times before the first input; mapping one lends such a window, whose
 * other bytes AddressSanitizer then guards, and which it guards as a whole once it is unmapped.
 */
#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

#define KERN_FILE_MAX 131072u /* bytes of a memory file */
#define KERN_PAGE     4096u

/* What a descriptor of a peer can be. */
enum kern_kind {
	KERN_NONE,
	KERN_MEMFD,	  /* sealed against shrinking */
	KERN_MEMFD_PLAIN, /* not sealed */
	KERN_MEMFD_READ,  /* can't be mapped for writing */
	KERN_MEMFD_HUGE,  /* of a file system with large pages */
	KERN_MEM_DEVICE,  /* can be mapped and has no size */
	KERN_EVENTFD,
	KERN_EVENTFD_BLOCK, /* not O_NONBLOCK */
	KERN_EVENTFD_FULL,  /* its counter is at its end */
	KERN_EVENTFD_SEM,   /* EFD_SEMAPHORE */
	KERN_PIPE,
	KERN_TIMER,
	KERN_EPOLL,
	KERN_SOCKET,
	KERN_SOCKET_DGRAM,
	KERN_LISTENER,
	KERN_KINDS
};

void kern_reset(void);	     /* before each input; frees what the last one left */
void kern_check_clean(void); /* every descriptor, mapping and allocation is gone */

int kern_open(enum kern_kind kind, uint64_t size);
int kern_dup(int fd);
void kern_close(int fd);
bool kern_is_open(int fd);
/* The harness's own view of a memory file: KERN_FILE_MAX bytes. NULL when it is something else. */
uint8_t *kern_view(int fd);
/* Count of an eventfd, set to 0. */
uint64_t kern_take(int fd);
void kern_signal(int fd);

void kern_pair(int fds[2]);
int kern_connect(int listener); /* our end of a connection */
void kern_write(int fd, const void *bytes, size_t n, const int *fds, uint32_t n_fds);
/* What there is, up to n bytes and not past a set of descriptors. -1 = end of stream. fds may be NULL: closed. */
long kern_read(int fd, void *bytes, size_t n, int *fds, uint32_t *n_fds);
bool kern_readable(int fd);
/* How many bytes may wait in this socket to be read before its peer's sends are cut. */
void kern_set_room(int fd, size_t bytes);

uint64_t kern_now(void);
void kern_advance(uint64_t ns);
/* Called when a call is about to sleep. True: something was done, look again. NULL = nobody. */
extern bool (*kern_idle)(void);

/* kernel_files.c, for kernel.c */
struct msghdr;
struct kern_epitem {
	int fd;
	struct kern_file *file;
	uint32_t events;
	uint64_t data;
	uint64_t seen;
};

#define KERN_EPITEMS 64

struct kern_file {
	enum kern_kind kind;
	uint32_t refs;
	uint32_t ino;
	int flags;	  /* O_NONBLOCK, and the access mode */
	uint64_t version; /* counts what makes it readable */
	/* memory */
	int slot;
	uint64_t size;
	uint32_t seals;
	/* eventfd; timer: when it expires */
	uint64_t count;
	/* epoll */
	struct kern_epitem items[KERN_EPITEMS];
	uint32_t n_items;
	/* sockets */
	struct kern_file *peer;
	uint32_t name; /* the listener's that it was accepted from, 0 = none */
	struct kern_piece *head, **tail;
	struct kern_file *backlog[8];
	uint32_t n_backlog;
	size_t waiting, room;
};

struct kern_file *kern_file(int fd); /* NULL and EBADF */
struct kern_file *kern_file_new(enum kern_kind kind);
void kern_file_put(struct kern_file *f);
int kern_fd_new(struct kern_file *f); /* takes a reference over; -1 and EMFILE */
uint32_t kern_ready(const struct kern_file *f);
uint32_t kern_item_ready(const struct kern_epitem *item); /* what epoll_wait would report */
extern struct kern_file kern_files[];
extern uint64_t kern_time;
#define KERN_FILES 1024

/* kernel_mem.c */
int kern_slot_take(uint64_t len); /* -1: none is free */
void kern_slot_put(int slot);
uint8_t *kern_slot_view(int slot);
void *kern_mmap(void *addr, size_t len, int prot, int flags, int fd, long off);
int kern_munmap(void *addr, size_t len);
void *kern_calloc(size_t n, size_t size);
void kern_free(void *p);
void kern_mem_reset(void);
void kern_mem_check_clean(void);

/* kernel_sock.c */
void kern_sock_drop(struct kern_file *f);
long kern_sock_send(struct kern_file *f, const struct iovec *iov, size_t n, struct kern_file *const *files,
		    uint32_t n_files);
long kern_recvmsg(int fd, struct msghdr *msg, int flags);
long kern_sendmsg(int fd, const struct msghdr *msg, int flags);

#endif

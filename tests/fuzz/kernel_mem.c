/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Memory files, what is mapped of them, and allocations. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS	18
#define BIG	16 /* slots from here on are for a driver's memory: large, sparse and not guarded */
#define BIG_LEN (UINT64_C(32) << 20)
#define WINDOWS 9 /* the first is the harness's */
#define ANONS	64
#define SMALL	65536u

static struct slot {
	int fd; /* a real one */
	uint8_t *windows[WINDOWS];
	struct kern_file *used[WINDOWS]; /* by whose mapping */
	bool taken;
} slots[SLOTS];

/* Anonymous memory: small pieces from the heap, where every byte beyond is guarded. */
static struct anon {
	void *at;
	size_t len;
} anons[ANONS];

static int64_t n_allocs, n_maps;

static uint64_t slot_len(int slot)
{
	return slot < BIG ? KERN_FILE_MAX : BIG_LEN;
}

static void guard(int slot, int window)
{
	if (slot < BIG)
		ASAN_POISON_MEMORY_REGION(slots[slot].windows[window], KERN_FILE_MAX);
}

static void slots_init(void)
{
	if (slots[0].windows[0])
		return;
	for (int i = 0; i < SLOTS; i++) {
		int fd = memfd_create("fuzz", MFD_CLOEXEC);

		CHECK(fd >= 0 && !ftruncate(fd, (off_t)slot_len(i)));
		slots[i].fd = fd;
		for (int w = 0; w < WINDOWS; w++) {
			void *p = mmap(NULL, slot_len(i), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

			CHECK(p != MAP_FAILED);
			slots[i].windows[w] = p;
			if (w)
				guard(i, w);
		}
	}
}

int kern_slot_take(uint64_t len)
{
	slots_init();
	for (int i = len <= KERN_FILE_MAX ? 0 : BIG; i < SLOTS && len <= slot_len(i); i++) {
		if (slots[i].taken)
			continue;
		slots[i].taken = true;
		if (i < BIG)
			memset(slots[i].windows[0], 0, KERN_FILE_MAX);
		else
			CHECK(!fallocate(slots[i].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)BIG_LEN));
		return i;
	}
	return -1;
}

void kern_slot_put(int slot)
{
	slots[slot].taken = false;
}

uint8_t *kern_slot_view(int slot)
{
	return slots[slot].windows[0];
}

static void *fail(int error)
{
	errno = error;
	return MAP_FAILED;
}

static void *map_file(struct kern_file *f, size_t len, int prot, uint64_t off)
{
	uint64_t page = f->kind == KERN_MEMFD_HUGE ? 65536 : KERN_PAGE;
	uint64_t end = f->kind == KERN_MEM_DEVICE ? KERN_FILE_MAX : (f->size + page - 1) & ~(page - 1);

	if (f->slot < 0)
		return fail(ENODEV);
	if (!len || off % page)
		return fail(EINVAL);
	if (prot & PROT_WRITE && (f->flags & O_ACCMODE) != O_RDWR)
		return fail(EACCES);
	if (len > slot_len(f->slot) || off > slot_len(f->slot) - len)
		return fail(ENOMEM);
	for (int w = 1; w < WINDOWS; w++) {
		struct slot *s = &slots[f->slot];

		if (s->used[w])
			continue;
		s->used[w] = f;
		f->refs++;
		n_maps++;
		/* What lies beyond the end of the file is a SIGBUS. */
		if (off < end)
			ASAN_UNPOISON_MEMORY_REGION(s->windows[w] + off, off + len < end ? len : end - off);
		return s->windows[w] + off;
	}
	return fail(ENOMEM);
}

static void *map_anonymous(size_t len)
{
	for (int i = 0; i < ANONS; i++) {
		if (anons[i].at)
			continue;
		if (len <= SMALL)
			anons[i].at = calloc(1, len);
		else
			anons[i].at = mmap(NULL, len, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		CHECK(anons[i].at && anons[i].at != MAP_FAILED);
		anons[i].len = len;
		n_maps++;
		return anons[i].at;
	}
	return fail(ENOMEM);
}

void *kern_mmap(void *addr, size_t len, int prot, int flags, int fd, long off)
{
	struct kern_file *f;

	CHECK(!addr && !(flags & MAP_FIXED));
	if (flags & MAP_ANONYMOUS)
		return len && len < (UINT64_C(1) << 32) ? map_anonymous(len) : fail(ENOMEM);
	f = kern_file(fd);
	return f ? map_file(f, len, prot, (uint64_t)off) : MAP_FAILED;
}

static bool unmap_file(uint8_t *p)
{
	for (int i = 0; i < SLOTS; i++) {
		for (int w = 1; w < WINDOWS; w++) {
			uint8_t *window = slots[i].windows[w];

			if (!slots[i].used[w] || p < window || p >= window + slot_len(i))
				continue;
			guard(i, w);
			kern_file_put(slots[i].used[w]);
			slots[i].used[w] = NULL;
			return true;
		}
	}
	return false;
}

static void anon_drop(struct anon *a)
{
	if (a->len <= SMALL)
		free(a->at);
	else
		munmap(a->at, a->len);
	a->at = NULL;
}

int kern_munmap(void *addr, size_t len)
{
	n_maps--;
	if (unmap_file(addr))
		return 0;
	for (int i = 0; i < ANONS; i++) {
		if (anons[i].at != addr)
			continue;
		CHECK(anons[i].len == len);
		anon_drop(&anons[i]);
		return 0;
	}
	fprintf(stderr, "munmap of what is not mapped\n");
	abort();
}

void *kern_calloc(size_t n, size_t size)
{
	n_allocs++;
	return calloc(n, size);
}

void kern_free(void *p)
{
	n_allocs -= p ? 1 : 0;
	free(p);
}

/* What is left over is a leak that was reported already. */
void kern_mem_reset(void)
{
	slots_init();
	for (int i = 0; i < SLOTS; i++) {
		for (int w = 1; w < WINDOWS; w++) {
			if (slots[i].used[w])
				guard(i, w);
			slots[i].used[w] = NULL;
		}
		slots[i].taken = false;
	}
	for (int i = 0; i < ANONS; i++)
		if (anons[i].at)
			anon_drop(&anons[i]);
	n_allocs = n_maps = 0;
}

void kern_mem_check_clean(void)
{
	CHECK(n_allocs == 0);
	CHECK(n_maps == 0);
}

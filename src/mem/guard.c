/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The SIGBUS guard: a peer that truncates the file of a mapping must not end the process. Each mapping is in a registry
 * that a signal handler can walk; the handler puts private memory over what is gone, marks the region, and lets the
 * access go on. This file holds the only state of the library that is shared by the whole process, but for the last
 * error of each thread: the registry, the handler that was there before, and a count of faults.
 */
#include "vhi_region.h"

#include <pthread.h>
#include <sys/mman.h>

/*
 * One mapping. A thread that faults in a region holds it, so its own slot stands still; slots of others may change
 * under the handler, which reads each like a seqlock. The low bits of seq are the state, the others a generation.
 */
enum { SLOT_FREE, SLOT_FILLING, SLOT_LIVE, SLOT_STATES = 4 };

struct vhi_guard_slot {
	uint32_t seq;
	uintptr_t start;
	uintptr_t len;
	struct vhi_region *region;
};

/* Blocks are only ever added: freeing one would need to know that no handler walks it. The first costs nothing. */
struct block {
	struct block *next;
	uint32_t n;
	struct vhi_guard_slot *slots;
};

static struct vhi_guard_slot first_slots[256];
static struct block blocks = {.n = VHI_ARRAY_SIZE(first_slots), .slots = first_slots};
uint32_t vhi_guard_faults;

static struct vhi_guard_slot *slot_claim(struct block *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct vhi_guard_slot *slot = &b->slots[i];
		uint32_t seq = __atomic_load_n(&slot->seq, __ATOMIC_RELAXED);

		if (seq % SLOT_STATES == SLOT_FREE &&
		    __atomic_compare_exchange_n(&slot->seq, &seq, seq + SLOT_FILLING, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return slot;
	}
	return NULL;
}

/* Another block behind b, as large as all before together; a second thread may have been faster. */
static struct block *block_add(struct block *b, uint32_t n)
{
	struct block *next = vhi_calloc(1, sizeof(*next) + n * sizeof(*next->slots)), *none = NULL;

	if (!next)
		return NULL;
	next->n = n;
	next->slots = (struct vhi_guard_slot *)(next + 1);
	if (__atomic_compare_exchange_n(&b->next, &none, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return next;
	vhi_free(next);
	return none;
}

int vhi_guard_register(struct vhi_region *r)
{
	struct vhi_guard_slot *slot = NULL;
	uint32_t n = 0;

	for (struct block *b = &blocks; !(slot = slot_claim(b));) {
		struct block *next = __atomic_load_n(&b->next, __ATOMIC_ACQUIRE);

		n += b->n;
		b = next ? next : block_add(b, n);
		if (!b)
			return -ENOMEM;
	}
	/* Releases, so that who sees a new value also sees that the slot was taken before. */
	__atomic_store_n(&slot->start, (uintptr_t)r->map, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->len, r->map_len, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->region, r, __ATOMIC_RELEASE);
	__atomic_fetch_add(&slot->seq, SLOT_LIVE - SLOT_FILLING, __ATOMIC_RELEASE);
	r->slot = slot;
	return 0;
}

void vhi_guard_unregister(struct vhi_region *r)
{
	if (r->slot)
		__atomic_fetch_add(&r->slot->seq, SLOT_STATES - SLOT_LIVE, __ATOMIC_RELEASE);
	r->slot = NULL;
}

/* Order matters: who sees the count sees the mark. */
void vhi_guard_poison(struct vhi_region *r)
{
	__atomic_store_n(&r->broken, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&vhi_guard_faults, 1, __ATOMIC_RELEASE);
}

static struct vhi_region *registry_find(uintptr_t addr)
{
	for (struct block *b = &blocks; b; b = __atomic_load_n(&b->next, __ATOMIC_ACQUIRE)) {
		for (uint32_t i = 0; i < b->n; i++) {
			struct vhi_guard_slot *slot = &b->slots[i];
			uint32_t seq = __atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE);
			uintptr_t start = __atomic_load_n(&slot->start, __ATOMIC_ACQUIRE);
			uintptr_t len = __atomic_load_n(&slot->len, __ATOMIC_ACQUIRE);
			struct vhi_region *r = __atomic_load_n(&slot->region, __ATOMIC_ACQUIRE);

			if (seq % SLOT_STATES == SLOT_LIVE && addr - start < len &&
			    __atomic_load_n(&slot->seq, __ATOMIC_RELAXED) == seq)
				return r;
		}
	}
	return NULL;
}

/*
 * ThreadSanitizer takes a mapping for a write by this thread to all of it. It isn't: the threads that go on to use
 * this memory had their race with the peer that took the file away.
 */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define UNDER_TSAN 0
#endif
#if UNDER_TSAN
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define MAPPING_BEGIN() AnnotateIgnoreWritesBegin(__FILE__, __LINE__)
#define MAPPING_END()	AnnotateIgnoreWritesEnd(__FILE__, __LINE__)
#else
#define MAPPING_BEGIN() ((void)0)
#define MAPPING_END()	((void)0)
#endif

/*
 * Private memory over the page that faulted and all behind it: a file that ends before this page has none of the
 * others, what it may get back later must not show among what is left of before, and a peer can't use up the
 * process's memory map entries by one hole after the other. Ordinary pages do for huge ones too, from a huge page's
 * border. If there is too little memory for a large rest, the page alone must do.
 */
static bool cover(const struct vhi_region *r, uintptr_t addr)
{
	const uintptr_t end = (uintptr_t)r->map + r->map_len, page = (uintptr_t)r->page_size;
	const uintptr_t at = addr & ~(page - 1);
	const size_t lengths[] = {end - at, page};
	bool done = false;

	MAPPING_BEGIN();
	for (size_t i = 0; i < VHI_ARRAY_SIZE(lengths) && !done; i++)
		done = vhi_sys.mmap((void *)at, lengths[i], PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
	MAPPING_END();
	return done;
}

/* The handler that was there before, in words that another thread's handler may read at any time. */
static struct {
	void (*handler)(int);
	void (*action)(int, siginfo_t *, void *);
	int flags;
} before;

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;

static void before_set(const struct sigaction *sa)
{
	bool info = sa->sa_flags & SA_SIGINFO;

	__atomic_store_n(&before.action, info ? sa->sa_sigaction : NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&before.handler, info ? SIG_DFL : sa->sa_handler, __ATOMIC_RELAXED);
	__atomic_store_n(&before.flags, sa->sa_flags, __ATOMIC_RELEASE);
}

/*
 * Not ours. The default is to die of it: by the same access again, or by the signal again when no access raised it.
 * An ignored signal is ignored, but the kernel doesn't let a process ignore its own faults, and neither do we.
 */
static void chain(int sig, siginfo_t *info, void *context)
{
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	bool own_fault = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
	int flags = __atomic_load_n(&before.flags, __ATOMIC_ACQUIRE);
	void (*action)(int, siginfo_t *, void *) = __atomic_load_n(&before.action, __ATOMIC_RELAXED);
	void (*handler)(int) = __atomic_load_n(&before.handler, __ATOMIC_RELAXED);

	if (flags & SA_RESETHAND)
		before_set(&dfl);
	if (action) {
		action(sig, info, context);
	} else if (handler != SIG_DFL && handler != SIG_IGN) {
		handler(sig);
	} else if (handler == SIG_DFL || own_fault) {
		vhi_sys.sigaction(sig, &dfl, NULL);
		if (!own_fault)
			vhi_sys.raise(sig);
	}
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	struct vhi_region *r = NULL;

	if (info->si_code == BUS_ADRERR)
		r = registry_find((uintptr_t)info->si_addr);
	if (r && cover(r, (uintptr_t)info->si_addr))
		vhi_guard_poison(r);
	else
		chain(sig, info, context);
	errno = saved;
}

static bool is_ours(const struct sigaction *sa)
{
	return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == on_sigbus;
}

/*
 * Called with the lock. Our handler runs with the signal mask of the one before it, for which it stands in, and on the
 * alternate stack, which languages with small stacks insist on. What was there is noted before ours is in force.
 */
static int guard_install(void)
{
	struct sigaction old, sa = {.sa_sigaction = on_sigbus};

	if (vhi_sys.sigaction(SIGBUS, NULL, &old) < 0)
		return -errno;
	/* Somebody who was on top put it back after it was removed: what comes next is known, and isn't itself. */
	if (is_ours(&old))
		return 0;
	before_set(&old);
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK | (old.sa_flags & (SA_NODEFER | SA_RESTART));
	sa.sa_mask = old.sa_mask;
	return vhi_sys.sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

/* Called with the lock. */
static int guard_remove(void)
{
	struct sigaction sa;

	if (vhi_sys.sigaction(SIGBUS, NULL, &sa) < 0)
		return -errno;
	if (!is_ours(&sa))
		return -EBUSY;
	/* The mask is the same. */
	sa.sa_flags = __atomic_load_n(&before.flags, __ATOMIC_ACQUIRE);
	if (sa.sa_flags & SA_SIGINFO)
		sa.sa_sigaction = __atomic_load_n(&before.action, __ATOMIC_RELAXED);
	else
		sa.sa_handler = __atomic_load_n(&before.handler, __ATOMIC_RELAXED);
	return vhi_sys.sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

vh_rc vh_mem_guard_install(void)
{
	int rc;

	pthread_mutex_lock(&install_lock);
	rc = installed ? 0 : guard_install();
	installed = installed || !rc;
	pthread_mutex_unlock(&install_lock);
	return rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "can't install a SIGBUS handler: %s", vh_error_name(rc)) : 0;
}

vh_rc vh_mem_guard_remove(void)
{
	int rc;

	pthread_mutex_lock(&install_lock);
	rc = installed ? guard_remove() : -ENOENT;
	installed = installed && rc;
	pthread_mutex_unlock(&install_lock);
	if (rc == -ENOENT)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "the SIGBUS guard is not installed");
	if (rc == -EBUSY)
		return vhi_fail(rc, VH_ERROR_STATE, 0,
				"another SIGBUS handler was installed after the guard; remove that first");
	return rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "can't restore the SIGBUS handler: %s", vh_error_name(rc)) : 0;
}

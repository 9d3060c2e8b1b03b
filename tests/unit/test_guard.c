/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The SIGBUS guard: a file truncated under a mapping breaks a region and nothing else; other faults are not ours. */
#include "test_mem.h"

#include <pthread.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* A memory of one region at 0 that its owner can still truncate. */
struct fixture {
	struct vh_mem *mem;
	struct vh_snapshot *s;
	volatile uint8_t *host;
	size_t page, len;
	int fd;
	uint32_t seen;
};

static void fixture_new(struct fixture *f, size_t pages)
{
	f->page = page_size();
	f->len = pages * f->page;
	f->fd = file_new(f->len);
	f->mem = mem_new();
	add(f->mem, f->fd, 0, GIB, f->len, 0);
	f->s = vhi_mem_snapshot(f->mem);
	f->host = host_of(f->s, 0);
	f->seen = 0;
	assert_false(vhi_snapshot_broken(f->s, &f->seen));
}

static void fixture_free(struct fixture *f)
{
	vhi_snapshot_put(f->s);
	vh_mem_free(f->mem);
	fd_close(f->fd);
}

static void truncate_to(struct fixture *f, size_t len)
{
	assert_int_equal(ftruncate(f->fd, (off_t)len), 0);
}

static uint32_t flags_of(struct fixture *f)
{
	struct vh_region r;

	assert_true(vh_mem_regions(f->mem, &r, 1) >= 1);
	return r.flags;
}

/* In a child, since most of what it does ends it. The child's exit status is what run returns. */
static int in_child(int (*run)(void))
{
	const struct rlimit none = {0};
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &none);
		sigaction(SIGBUS, &dfl, NULL); /* a sanitizer may have put its own there */
		_exit(run());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define DIED_OF_SIGBUS(status) (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
#define EXITED(status, code)   (WIFEXITED(status) && WEXITSTATUS(status) == (code))

/* A mapping that is none of ours, of a file that is gone. */
static volatile uint8_t *foreign_map(void)
{
	int fd = file_new(page_size());
	void *p = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), 0);
	fd_close(fd);
	return p;
}

static void a_truncated_file_breaks_its_region_and_the_process_lives(void **state)
{
	struct fixture f, other;

	(void)state;
	fixture_new(&f, 4);
	fixture_new(&other, 1);
	f.host[0] = 1;
	f.host[f.page] = 2;
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, f.page);
	assert_int_equal(f.host[0], 1); /* still there */
	assert_int_equal(flags_of(&f), 0);
	assert_int_equal(f.host[f.page], 0); /* gone */
	f.host[f.page] = 3;
	assert_int_equal(f.host[f.page], 3);
	assert_int_equal(f.host[0], 1);
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
	assert_false(vhi_snapshot_broken(other.s, &other.seen));
	assert_int_equal(other.seen, __atomic_load_n(&vhi_guard_faults, __ATOMIC_RELAXED));
	assert_int_equal(flags_of(&other), 0);
	fixture_free(&f);
	fixture_free(&other);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void writing_to_what_is_gone_works_as_reading_does(void **state)
{
	struct fixture f;

	(void)state;
	fixture_new(&f, 2);
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, 0);
	memset((void *)(uintptr_t)f.host, 0x11, f.len);
	assert_int_equal(f.host[f.len - 1], 0x11);
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_file_that_grows_again_does_not_heal_its_region(void **state)
{
	struct fixture f;
	struct vh_region r;

	(void)state;
	fixture_new(&f, 8);
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, 0);
	assert_int_equal(f.host[f.page], 0);
	truncate_to(&f, f.len);
	for (size_t at = 0; at < f.len; at += f.page)
		assert_int_equal(pwrite(f.fd, "\x55", 1, (off_t)at), 1);
	for (size_t at = f.page; at < f.len; at += f.page)
		assert_int_equal(f.host[at], 0); /* none of the new bytes */
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	/* Beside it, a region can be added; the snapshot stays broken. A new table is a new start. */
	assert_int_equal(vh_mem_alloc(f.mem, GIB, 4096, 0), 0);
	assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
	r = region(0, GIB, f.len, 0);
	assert_int_equal(vhi_mem_replace(f.mem, &r, &f.fd, 1), 0);
	assert_int_equal(flags_of(&f), 0);
	vhi_snapshot_put(f.s);
	f.s = vhi_mem_snapshot(f.mem);
	f.seen = 0;
	assert_false(vhi_snapshot_broken(f.s, &f.seen));
	assert_int_equal(*host_of(f.s, f.page), 0x55);
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static unsigned count_all_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	assert_non_null(file);
	while ((c = fgetc(file)) != EOF)
		n += c == '\n';
	fclose(file);
	return n;
}

static void faults_can_not_use_up_the_memory_map(void **state)
{
	struct fixture f;
	unsigned before, i;

	(void)state;
	fixture_new(&f, 4096);
	assert_int_equal(vh_mem_guard_install(), 0);
	for (size_t at = 0; at < f.len; at += f.page)
		f.host[at] = 1;
	before = count_all_maps();
	/* From the end, one page less each time: as many faults as can be, each the first beyond the end. */
	for (i = 1; i <= 1000; i++) {
		truncate_to(&f, f.len - 2 * i * f.page);
		assert_int_equal(f.host[f.len - 2 * i * f.page], 0);
		assert_int_equal(f.host[f.len - (2 * i + 1) * f.page], 1);
	}
	assert_true(count_all_maps() < before + 20);
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_mapping_is_guarded_though_the_handler_came_later_or_the_registry_grew(void **state)
{
	enum { N = VH_MEM_MAX_REGIONS };
	struct vh_mem *mem = mem_new();
	int fd = file_new(page_size()), fds[N];
	struct vh_region table[N];
	struct vh_snapshot *s;
	uint32_t seen = 0;

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		table[i] = region(i * GIB, i * GIB, page_size(), 0);
		fds[i] = fd;
	}
	assert_int_equal(vhi_mem_replace(mem, table, fds, N), 0);
	assert_int_equal(vhi_mem_replace(mem, table, fds, N), 0);
	s = vhi_mem_snapshot(mem);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	for (uint32_t i = 0; i < N; i += 100) {
		assert_int_equal(*(volatile uint8_t *)host_of(s, i * GIB), 0);
		assert_int_equal(s->regions[i]->broken, 1);
		assert_int_equal(s->regions[i + 1]->broken, 0);
	}
	assert_true(vhi_snapshot_broken(s, &seen));
	vhi_snapshot_put(s);
	fd_close(fd);
	vh_mem_free(mem);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

struct racer {
	struct fixture *f;
	pthread_t thread;
	pthread_barrier_t *barrier;
	unsigned first;
};

static void *racer_run(void *arg)
{
	struct racer *r = arg;
	uintptr_t sum = 0;

	pthread_barrier_wait(r->barrier);
	for (size_t i = 0; i < r->f->len; i += r->f->page)
		sum += __atomic_load_n(&r->f->host[(i + r->first * r->f->page) % r->f->len], __ATOMIC_RELAXED);
	return (void *)sum;
}

static void all_threads_that_fault_at_once_go_on(void **state)
{
	struct fixture f;
	pthread_barrier_t barrier;
	struct racer racers[8];

	(void)state;
	fixture_new(&f, 64);
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, 0);
	pthread_barrier_init(&barrier, NULL, VHI_ARRAY_SIZE(racers));
	for (unsigned i = 0; i < VHI_ARRAY_SIZE(racers); i++) {
		racers[i] = (struct racer){.f = &f, .barrier = &barrier, .first = i * 8};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, racer_run, &racers[i]), 0);
	}
	for (unsigned i = 0; i < VHI_ARRAY_SIZE(racers); i++) {
		void *sum = &f;

		assert_int_equal(pthread_join(racers[i].thread, &sum), 0);
		assert_null(sum);
	}
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	pthread_barrier_destroy(&barrier);
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

/* Regions come and go while the handler walks the registry. */
static void *churn_run(void *arg)
{
	uint32_t *stop = arg;
	struct vh_mem *mem = NULL;
	struct vh_region r = region(0, 0, 4096, 0);
	int fd = memfd_create("vh-test", MFD_CLOEXEC);

	if (vh_mem_new(NULL, &mem) || ftruncate(fd, 4096))
		return "set-up";
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		if (vh_mem_add_fd(mem, fd, &r) || vh_mem_remove(mem, &r))
			return "change";
	}
	vh_mem_free(mem);
	close(fd);
	return NULL;
}

static void faults_find_their_region_while_others_come_and_go(void **state)
{
	uint32_t stop = 0;
	pthread_t churn[2];

	(void)state;
	assert_int_equal(vh_mem_guard_install(), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&churn[i], NULL, churn_run, &stop), 0);
	for (unsigned i = 0; i < 500; i++) {
		struct fixture f;

		fixture_new(&f, 2);
		truncate_to(&f, 0);
		assert_int_equal(f.host[f.page], 0);
		assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
		fixture_free(&f);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++) {
		void *what = "not joined";

		assert_int_equal(pthread_join(churn[i], &what), 0);
		assert_null(what);
	}
	assert_int_equal(vh_mem_guard_remove(), 0);
}

/* --- EFAULT of system calls --- */

static void a_system_call_that_fails_breaks_the_region_too(void **state)
{
	struct fixture f;
	struct iovec iov;
	int other = file_new(4096);

	(void)state;
	fixture_new(&f, 2);
	truncate_to(&f, f.page);
	iov = (struct iovec){.iov_base = (void *)(uintptr_t)(f.host + f.page), .iov_len = 16};
	assert_int_equal(preadv(other, &iov, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_false(vhi_snapshot_broken(f.s, &f.seen));
	vhi_snapshot_mark_broken(f.s, &f); /* of no region: no consequence */
	assert_false(vhi_snapshot_broken(f.s, &f.seen));
	vhi_snapshot_mark_broken(f.s, iov.iov_base);
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
	fixture_free(&f);
	fd_close(other);
}

/* --- what is not ours --- */

static volatile sig_atomic_t caught, caught_code;
static void *volatile caught_at;
static sigjmp_buf back;

static void catch_info(int sig, siginfo_t *info, void *context)
{
	(void)context;
	caught = sig;
	caught_code = info->si_code;
	caught_at = info->si_addr;
	if (info->si_code == BUS_ADRERR)
		siglongjmp(back, 1);
}

static void catch_plain(int sig)
{
	caught = sig;
	siglongjmp(back, 1);
}

static void handler_is(struct sigaction *sa)
{
	assert_int_equal(sigaction(SIGBUS, NULL, sa), 0);
}

/* Reads the byte; true when a handler jumped out of it. */
static bool jumped_out_of(volatile uint8_t *p)
{
	caught = 0;
	if (sigsetjmp(back, 1))
		return true;
	(void)*p;
	return false;
}

static void a_foreign_fault_reaches_a_handler_with_siginfo(void **state)
{
	struct sigaction sa = {.sa_sigaction = catch_info, .sa_flags = SA_SIGINFO}, old, now;
	volatile uint8_t *foreign = foreign_map();
	struct fixture f;

	(void)state;
	sigaddset(&sa.sa_mask, SIGUSR1);
	assert_int_equal(sigaction(SIGBUS, &sa, &old), 0);
	fixture_new(&f, 1);
	assert_int_equal(vh_mem_guard_install(), 0);
	handler_is(&now);
	assert_int_equal(sigismember(&now.sa_mask, SIGUSR1), 1);
	truncate_to(&f, 0);
	assert_false(jumped_out_of(f.host)); /* ours: the other never hears of it */
	assert_int_equal(caught, 0);
	assert_true(jumped_out_of(foreign));
	assert_int_equal(caught, SIGBUS);
	assert_int_equal(caught_code, BUS_ADRERR);
	assert_ptr_equal(caught_at, (void *)(uintptr_t)foreign);
	caught = 0;
	assert_int_equal(raise(SIGBUS), 0); /* sent, not raised by an access */
	assert_int_equal(caught, SIGBUS);
	assert_int_equal(vh_mem_guard_remove(), 0);
	handler_is(&now);
	assert_ptr_equal(now.sa_sigaction, catch_info);
	assert_int_equal(now.sa_flags & (SA_SIGINFO | SA_ONSTACK), SA_SIGINFO);
	assert_int_equal(sigismember(&now.sa_mask, SIGUSR1), 1);
	assert_int_equal(sigaction(SIGBUS, &old, NULL), 0);
	fixture_free(&f);
	munmap((void *)(uintptr_t)foreign, page_size());
}

static void a_foreign_fault_reaches_a_plain_handler(void **state)
{
	struct sigaction sa = {.sa_handler = catch_plain}, old, now;
	volatile uint8_t *foreign = foreign_map();

	(void)state;
	assert_int_equal(sigaction(SIGBUS, &sa, &old), 0);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_true(jumped_out_of(foreign));
	assert_true(jumped_out_of(foreign));
	assert_int_equal(caught, SIGBUS);
	assert_int_equal(vh_mem_guard_remove(), 0);
	handler_is(&now);
	assert_ptr_equal(now.sa_handler, catch_plain);
	assert_int_equal(sigaction(SIGBUS, &old, NULL), 0);
	munmap((void *)(uintptr_t)foreign, page_size());
}

/* The address of a region that went away may be anybody's next. */
static void what_is_mapped_where_a_region_was_is_foreign(void **state)
{
	struct sigaction sa = {.sa_handler = catch_plain}, old;
	int fd = file_new(page_size());
	struct fixture f;
	void *p;

	(void)state;
	assert_int_equal(sigaction(SIGBUS, &sa, &old), 0);
	assert_int_equal(vh_mem_guard_install(), 0);
	fixture_new(&f, 1);
	fixture_free(&f);
	p = mmap((void *)(uintptr_t)f.host, page_size(), PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	assert_ptr_equal(p, (void *)(uintptr_t)f.host);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_true(jumped_out_of(p));
	assert_int_equal(caught, SIGBUS);
	munmap(p, page_size());
	fd_close(fd);
	assert_int_equal(vh_mem_guard_remove(), 0);
	assert_int_equal(sigaction(SIGBUS, &old, NULL), 0);
}

static int access_under_guard(void)
{
	if (vh_mem_guard_install())
		return 1;
	return *foreign_map() + 2;
}

static int raise_under_guard(void)
{
	if (vh_mem_guard_install())
		return 1;
	raise(SIGBUS);
	return 2;
}

static int ignore_then(int (*next)(void))
{
	signal(SIGBUS, SIG_IGN);
	return next();
}

static int access_ignored(void)
{
	return ignore_then(access_under_guard);
}

static int raise_ignored(void)
{
	return ignore_then(raise_under_guard);
}

static void exit_with_3(int sig)
{
	(void)sig;
	_exit(3);
}

static int raise_one_shot(void)
{
	struct sigaction sa = {.sa_sigaction = catch_info, .sa_flags = SA_SIGINFO | (int)SA_RESETHAND};

	if (sigaction(SIGBUS, &sa, NULL) || vh_mem_guard_install())
		return 1;
	raise(SIGBUS);
	if (caught != SIGBUS)
		return 2;
	raise(SIGBUS); /* the second time nobody is there */
	return 4;
}

static int access_after_default_handler_changed(void)
{
	signal(SIGBUS, exit_with_3);
	return access_under_guard();
}

static int access_after_remove(void)
{
	if (vh_mem_guard_install() || vh_mem_guard_remove())
		return 1;
	return *foreign_map() + 2;
}

static void without_another_handler_a_foreign_fault_is_fatal_as_ever(void **state)
{
	(void)state;
	assert_true(DIED_OF_SIGBUS(in_child(access_under_guard)));
	assert_true(DIED_OF_SIGBUS(in_child(raise_under_guard)));
	assert_true(DIED_OF_SIGBUS(in_child(access_ignored))); /* nobody can ignore those */
	assert_true(EXITED(in_child(raise_ignored), 2));
	assert_true(DIED_OF_SIGBUS(in_child(raise_one_shot)));
	assert_true(EXITED(in_child(access_after_default_handler_changed), 3));
	assert_true(DIED_OF_SIGBUS(in_child(access_after_remove)));
}

static int access_own_unguarded(void)
{
	struct fixture f;

	fixture_new(&f, 1);
	truncate_to(&f, 0);
	return *f.host + 2;
}

static int access_own_in_grandchild(void)
{
	struct fixture f;
	pid_t pid;
	int status;

	fixture_new(&f, 1);
	if (vh_mem_guard_install())
		return 1;
	pid = fork();
	truncate_to(&f, 0);
	if (!pid)
		_exit(*f.host + 5);
	return waitpid(pid, &status, 0) == pid && EXITED(status, 5) && *f.host == 0 ? 6 : 2;
}

static void the_guard_is_opt_in_and_passes_to_children(void **state)
{
	(void)state;
	assert_true(DIED_OF_SIGBUS(in_child(access_own_unguarded)));
	assert_true(EXITED(in_child(access_own_in_grandchild), 6));
}

/* --- install and remove --- */

static struct sigaction below;

static void on_top(int sig, siginfo_t *info, void *context)
{
	caught = sig;
	below.sa_sigaction(sig, info, context);
}

static void two_installs_are_one_and_another_on_top_is_left_alone(void **state)
{
	struct sigaction sa = {.sa_sigaction = on_top, .sa_flags = SA_SIGINFO}, old, now;
	struct fixture f;

	(void)state;
	handler_is(&old);
	assert_int_equal(vh_mem_guard_remove(), -ENOENT);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(sigaction(SIGBUS, &sa, &below), 0);
	assert_true(below.sa_flags & SA_ONSTACK);
	assert_int_equal(vh_mem_guard_install(), 0);
	handler_is(&now);
	assert_ptr_equal(now.sa_sigaction, on_top);
	assert_int_equal(vh_mem_guard_remove(), -EBUSY);
	caught = 0;
	fixture_new(&f, 1);
	truncate_to(&f, 0);
	assert_int_equal(*f.host, 0); /* through the one on top to ours */
	assert_int_equal(caught, SIGBUS);
	fixture_free(&f);
	assert_int_equal(sigaction(SIGBUS, &below, NULL), 0);
	assert_int_equal(vh_mem_guard_remove(), 0);
	assert_int_equal(vh_mem_guard_remove(), -ENOENT);
	handler_is(&now);
	assert_ptr_equal(now.sa_sigaction, old.sa_sigaction);

	/* Put back by who saved it before it was removed: still no handler of its own predecessor. */
	assert_int_equal(sigaction(SIGBUS, &below, NULL), 0);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(vh_mem_guard_remove(), 0);
	handler_is(&now);
	assert_ptr_equal(now.sa_sigaction, old.sa_sigaction);
}

/* --- huge pages --- */

static void a_huge_page_that_is_gone_is_replaced_whole(void **state)
{
	int fd = memfd_create("vh-huge", MFD_CLOEXEC | MFD_HUGETLB);
	const unsigned maps = count_maps();
	struct vh_mem *mem = mem_new();
	struct vh_snapshot *s;
	struct vh_region r;
	volatile uint8_t *p;
	struct stat st;
	uint32_t seen = 0;

	(void)state;
	if (fd < 0 || fstat(fd, &st) || ftruncate(fd, 2 * st.st_blksize) ||
	    (r = region(0, 0, 2 * (uint64_t)st.st_blksize, 0), vh_mem_add_fd(mem, fd, &r))) {
		if (fd >= 0)
			fd_close(fd);
		vh_mem_free(mem);
		print_message("no two huge pages on this machine (vm.nr_hugepages)\n");
		skip();
	}
	s = vhi_mem_snapshot(mem);
	p = host_of(s, 0);
	*p = 1;
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(fd, st.st_blksize), 0);
	assert_int_equal(p[st.st_blksize + 12345], 0);
	p[2 * st.st_blksize - 1] = 4;
	assert_int_equal(*p, 1);
	assert_true(vhi_snapshot_broken(s, &seen));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(p[1], 0);
	vhi_snapshot_put(s);
	vh_mem_free(mem);
	assert_int_equal(count_maps(), maps);
	fd_close(fd);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_truncated_file_breaks_its_region_and_the_process_lives),
		cmocka_unit_test(writing_to_what_is_gone_works_as_reading_does),
		cmocka_unit_test(a_file_that_grows_again_does_not_heal_its_region),
		cmocka_unit_test(faults_can_not_use_up_the_memory_map),
		cmocka_unit_test(a_mapping_is_guarded_though_the_handler_came_later_or_the_registry_grew),
		cmocka_unit_test(all_threads_that_fault_at_once_go_on),
		cmocka_unit_test(faults_find_their_region_while_others_come_and_go),
		cmocka_unit_test(a_system_call_that_fails_breaks_the_region_too),
		cmocka_unit_test(a_foreign_fault_reaches_a_handler_with_siginfo),
		cmocka_unit_test(a_foreign_fault_reaches_a_plain_handler),
		cmocka_unit_test(what_is_mapped_where_a_region_was_is_foreign),
		cmocka_unit_test(without_another_handler_a_foreign_fault_is_fatal_as_ever),
		cmocka_unit_test(the_guard_is_opt_in_and_passes_to_children),
		cmocka_unit_test(two_installs_are_one_and_another_on_top_is_left_alone),
		cmocka_unit_test(a_huge_page_that_is_gone_is_replaced_whole),
	};

	many_fds();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

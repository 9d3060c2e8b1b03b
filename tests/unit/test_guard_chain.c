/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The SIGBUS guard and the others in the process: faults that are not its own, handlers before it and on top of it. */
#include "test_guard.h"

#include <sys/wait.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_foreign_fault_reaches_a_handler_with_siginfo),
		cmocka_unit_test(a_foreign_fault_reaches_a_plain_handler),
		cmocka_unit_test(what_is_mapped_where_a_region_was_is_foreign),
		cmocka_unit_test(without_another_handler_a_foreign_fault_is_fatal_as_ever),
		cmocka_unit_test(the_guard_is_opt_in_and_passes_to_children),
		cmocka_unit_test(two_installs_are_one_and_another_on_top_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

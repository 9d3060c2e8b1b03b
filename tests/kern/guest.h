// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * What the programs tests/kern/guest_*.c share. Each is a table of cases, run as root in a guest whose kernel has the vhost, vDPA
 * and VDUSE drivers. The names are told first, so that a case that never came back is missed by name.
 */
#ifndef VHT_GUEST_H
#define VHT_GUEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct guest_case {
	const char *name;
	void (*run)(void);
};

static jmp_buf guest_way_out;

/* End the case that runs: with a failure, or because this kernel lacks something. */
__attribute__((noreturn, format(printf, 2, 3), unused)) static void guest_end(int how, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%s", how == 1 ? "# why: " : "# skip: ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	longjmp(guest_way_out, how);
}

#define guest_fail(...) guest_end(1, __VA_ARGS__)
#define guest_skip(...) guest_end(2, __VA_ARGS__)
/* The condition holds, else the case fails with the line and errno. */
#define guest_check(cond)                                                                          \
	do {                                                                                       \
		errno = 0;                                                                         \
		if (!(cond))                                                                       \
			guest_fail("%s:%d: %s (errno %d)", __FILE_NAME__, __LINE__, #cond, errno); \
	} while (0)
/* The same for a call of the library, which returns zero or a negative errno. */
#define guest_ok(call)                                                                             \
	do {                                                                                       \
		int guest_rc = (int)(call);                                                        \
		if (guest_rc < 0)                                                                  \
			guest_fail("%s:%d: %s: %d (%s)", __FILE_NAME__, __LINE__, #call, guest_rc, \
				   strerror(-guest_rc));                                           \
	} while (0)

/* 0: it went well; 1: it failed; 2: this kernel lacks something. */
static int guest_case_run(const struct guest_case *c)
{
	int how = setjmp(guest_way_out);

	if (how == 0)
		c->run();
	return how;
}

/* The exit code for main(). */
static int guest_run(const struct guest_case *cases, size_t n)
{
	static const char *const words[] = {"ok", "not ok", "skip"};
	int bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < n; i++)
		printf("case %s\n", cases[i].name);
	for (size_t i = 0; i < n; i++) {
		int how = guest_case_run(&cases[i]);

		printf("%s %s\n", words[how], cases[i].name);
		bad |= how == 1;
	}
	return bad;
}

#endif

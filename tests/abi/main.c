/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Everything that the model says of libvh.so.1, done through libffi. This program sees no header of the library:
 *
 *     LD_LIBRARY_PATH=BUILD abi [GROUP...]     of layout, sweep, session, destroy; none: all
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dyn.h"

#define SONAME	"libvh.so.1"
#define SECONDS 120 /* then something hangs */

unsigned check_count, check_failures;

static void every_function_was_called(void)
{
	unsigned n;
	struct dyn_call *calls = dyn_calls(&n);

	for (unsigned i = 0; i < n; i++)
		CHECK(calls[i].times || dyn_is_callback(&calls[i]), "%s was never called", calls[i].name);
}

static const struct test last_tests[] = {
	{"every_function_was_called", every_function_was_called},
	{NULL, NULL},
};

static const struct {
	const char *name;
	const struct test *tests;
} groups[] = {
	{"layout", layout_tests},   {"sweep", sweep_tests}, {"session", session_tests},
	{"destroy", destroy_tests}, {"", last_tests}, /* of a run of all groups */
};

void check_failed(const char *file, int line, const char *format, ...)
{
	const char *name = strrchr(file, '/');
	va_list args;

	check_failures++;
	va_start(args, format);
	printf("%s:%d: ", name ? name + 1 : file, line);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	if (getenv("VH_ONE_IS_ENOUGH")) /* for the gate of mutants */
		_exit(1);
}

static bool asked_for(const char *group, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], group))
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	unsigned red = 0, done = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(SECONDS);
	if (!dyn_load(SONAME))
		return 1;
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
		for (const struct test *t = groups[g].tests; t->name && asked_for(groups[g].name, argc, argv); t++) {
			const unsigned before = check_failures;

			t->run();
			done++;
			red += check_failures != before;
			printf("[ %s ] %s\n", check_failures == before ? "      OK" : " FAILED ", t->name);
		}
	printf("%u tests, %u checks, %u failed\n", done, check_count, check_failures);
	return red || !done;
}

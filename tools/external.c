/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The commands that are modules of the Python package `vh`: python3 -m MODULE [WORD] ARGUMENTS. */
#include "vhctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	const char *module;
	const char *word; /* what comes before the arguments, NULL = nothing: one module can have several commands */
	const char *help; /* for vhctl --help, without "vhctl" */
} externals[] = {
	{"trace", "vh.trace", NULL,
	 "trace --listen ADDRESS --connect ADDRESS [--once] [--rings] [--jsonl FILE] [--pcapng FILE] [--strict]"},
	{"replay", "vh.trace.replay", NULL, "replay FILE ADDRESS [--conn N] [--json]"},
	{"decode", "vh.trace.decode", NULL, "decode FILE [--json]"},
	{"run", "vh.launch", "run", "run [--type T] [--name NAME] [--socket PATH] [--json] [-- COMMAND ... {socket}]"},
	{"caps", "vh.launch", "caps", "caps [--type T] [--json] [-- COMMAND]"},
	{"wait", "vh.launch", "wait", "wait PATH [--timeout MS]"},
	{"check", "vh.check", NULL, "check TARGET [--known NAME|FILE] [--only GLOB] [--json] [--junit FILE] ..."},
	{NULL, NULL, NULL, NULL},
};

void external_help(FILE *to)
{
	for (size_t i = 0; externals[i].name; i++)
		fprintf(to, "       vhctl %s\n", externals[i].help);
}

bool external(int argc, char **argv, int *exit_code)
{
	const char *python = getenv("VHCTL_PYTHON");
	const char **args;
	size_t row = 0;
	size_t n = 0;

	while (externals[row].name && strcmp(externals[row].name, argv[0]))
		row++;
	if (!externals[row].name)
		return false;
	if (!python || !*python)
		python = "python3";
	args = calloc((size_t)argc + 5, sizeof(*args));
	if (!args) {
		*exit_code = say(EXIT_WRONG, "out of memory");
		return true;
	}
	args[n++] = python;
	args[n++] = "-m";
	args[n++] = externals[row].module;
	if (externals[row].word)
		args[n++] = externals[row].word;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	execvp(python, (char **)args);
	*exit_code = say(EXIT_USAGE,
			 "'%s' needs the Python package vh, and %s can't be started: %s; VHCTL_PYTHON names another",
			 argv[0], python, strerror(errno));
	free(args);
	return true;
}

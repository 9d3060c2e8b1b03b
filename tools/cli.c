/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages and options. */
#include "vhctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void line(const char *fmt, va_list ap)
{
	fputs("vhctl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int say(int exit_code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
	return exit_code;
}

int usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

/* Nobody answers at the address, as opposed to somebody who answers wrongly. */
static bool unreachable(int32_t rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -EACCES || rc == -ENOTDIR || rc == -EPERM;
}

int say_vh(int32_t rc, const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	if (e.code == rc && e.text[0])
		say(0, "%s: %s (%s)", what, e.text, vh_error_name(rc));
	else
		say(0, "%s: %s", what, vh_error_name(rc));
	if (rc == -EINVAL || rc == -ENAMETOOLONG)
		return EXIT_USAGE;
	return unreachable(rc) ? EXIT_UNREACHABLE : EXIT_WRONG;
}

bool parse_size(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	char *end;
	const char *unit;
	uint64_t n;
	unsigned shift = 0;
	char upper;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text)
		return false;
	if (*end) {
		upper = (char)(*end & ~0x20);
		unit = upper ? strchr(units, upper) : NULL; /* strchr() finds the end, too */
		if (!unit || (end[1] && strcmp(end + 1, "iB") && strcmp(end + 1, "B")))
			return false;
		shift = 10u * (unsigned)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return false;
	*out = n << shift;
	return true;
}

bool parse_mac(const char *text, uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdefABCDEF";
	char *end;

	for (int i = 0; i < 6; i++, text = end + 1) {
		if (strspn(text, digits) < 1 || strspn(text, digits) > 2)
			return false;
		mac[i] = (uint8_t)strtoul(text, &end, 16);
		if (*end != (i < 5 ? ':' : 0))
			return false;
	}
	return true;
}

static int set_option(const struct opt *o, const char *value)
{
	uint64_t n;

	if (o->seen)
		*o->seen = true;
	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->to = true;
		return 0;
	case OPT_SWITCH:
		if (strcmp(value, "on") && strcmp(value, "off"))
			return usage("--%s: '%s' is not on or off", o->name, value);
		*(bool *)o->to = !strcmp(value, "on");
		return 0;
	case OPT_TEXT:
		*(const char **)o->to = value;
		return 0;
	case OPT_SIZE:
	case OPT_NUMBER:
		if (!parse_size(value, &n) || (o->kind == OPT_NUMBER && strpbrk(value, "KMGTkmgt")))
			return usage("--%s: '%s' is not %s", o->name, value,
				     o->kind == OPT_SIZE ? "a size such as 4096, 64K, 1M or 2G" : "a number");
		if (o->max && n > o->max)
			return usage("--%s: %s is too large, at most %llu", o->name, value, (unsigned long long)o->max);
		*(uint64_t *)o->to = n;
		return 0;
	}
	return EXIT_USAGE;
}

int parse_options(int argc, char **argv, const struct opt *opts, size_t n_opts, const char **words, size_t max_words,
		  size_t *n_words)
{
	size_t words_seen = 0;

	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i], *eq, *value = NULL;
		const struct opt *o = NULL;
		size_t len;
		int rc;

		if (arg[0] != '-' || !arg[1]) {
			if (words_seen == max_words)
				return usage("'%s' is one word too many; see vhctl --help", arg);
			words[words_seen++] = arg;
			continue;
		}
		arg += arg[1] == '-' ? 2 : 1;
		eq = strchr(arg, '=');
		len = eq ? (size_t)(eq - arg) : strlen(arg);
		for (size_t k = 0; k < n_opts && !o; k++)
			if (strlen(opts[k].name) == len && !memcmp(opts[k].name, arg, len))
				o = &opts[k];
		if (!o)
			return usage("unknown option '%s'; see vhctl --help", argv[i]);
		if (o->kind == OPT_FLAG && eq)
			return usage("--%s takes no value", o->name);
		if (o->kind != OPT_FLAG) {
			value = eq ? eq + 1 : ++i < argc ? argv[i] : NULL;
			if (!value || !*value)
				return usage("--%s needs a value", o->name);
		}
		rc = set_option(o, value);
		if (rc)
			return rc;
	}
	*n_words = words_seen;
	return 0;
}

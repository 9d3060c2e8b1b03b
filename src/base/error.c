/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhi_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vhi_base.h"
#include "vhi_probe.h"

static __thread struct vhi_failure last;
static __thread bool muted;

void vhi_error_mute(bool on)
{
	muted = on;
}

static void fill(struct vhi_failure *f, int32_t code, uint32_t domain, uint32_t site, uint32_t queue, uint32_t request,
		 const char *fmt, va_list ap)
{
	f->code = code;
	f->domain = domain;
	f->site = site;
	f->queue = queue;
	f->request = request;
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
}

/* The thread's last one, unless it is not to be noted. */
static void note(int32_t code, uint32_t domain, uint32_t site, uint32_t queue, uint32_t request, const char *fmt,
		 va_list ap)
{
	if (site)
		VHI_PROBE2(refused, site, (int64_t)code);
	if (!muted)
		fill(&last, code, domain, site, queue, request, fmt, ap);
}

int32_t vhi_fail(int32_t code, uint32_t domain, uint32_t site, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(code, domain, site, VH_ERROR_NONE, VH_ERROR_NONE, fmt, ap);
	va_end(ap);
	return code;
}

int32_t vhi_fail_at(int32_t code, uint32_t domain, uint32_t site, uint32_t queue, uint32_t request, const char *fmt,
		    ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(code, domain, site, queue, request, fmt, ap);
	va_end(ap);
	return code;
}

int32_t vhi_failure_set(struct vhi_failure *f, int32_t code, uint32_t domain, uint32_t site, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(f, code, domain, site, VH_ERROR_NONE, VH_ERROR_NONE, fmt, ap);
	va_end(ap);
	return code;
}

void vhi_failure_last(struct vhi_failure *out)
{
	*out = last;
}

int32_t vhi_failure_raise(const struct vhi_failure *f)
{
	if (f != &last && !muted)
		last = *f;
	return f->code;
}

vh_rc vh_error_get(struct vh_error *out)
{
	struct vh_error e = {.size = sizeof(e)};

	/* No vhi_fail() in here: asking for the details must not overwrite them. */
	if (!out || out->size < 2 * sizeof(uint32_t))
		return -EINVAL;
	e.code = last.code;
	e.domain = last.domain;
	e.queue = last.code ? last.queue : VH_ERROR_NONE;
	e.request = last.code ? last.request : VH_ERROR_NONE;
	e.site = last.site;
	memcpy(e.text, last.text, sizeof(e.text));
	return vhi_out_fill(out, &e, sizeof(e), "vh_error_get");
}

const char *vh_error_name(int32_t code)
{
	const char *name;
	int e = code < 0 ? -code : code;

	/* Kernel-internal values that reach user space all the same. */
	if (e == 524)
		return "ENOTSUPP";
	if (e == 512)
		return "ERESTARTSYS";
	name = strerrorname_np(e);
	return name ? name : "E?";
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the values of a row are: the table of props.def, and the words for choices. */
#include "vhi_metrics.h"

static const char *const roles[] = {"slave", "driver", "vduse", NULL};
static const char *const states[] = {"idle", "listening", "connecting", "connected", "paused", NULL};
static const char *const queue_states[] = {"stopped", "running", "draining", "broken", NULL};
static const char *const layouts[] = {"split", "packed", NULL};
static const char *const answers[] = {"no", "yes", NULL};

#define VHI_METRICS_ROW(type, name, unit, space, flags, choices, help) \
	{VH_METRICS_##type, space, flags, name, unit, help, choices},
#define VHI_PROP(kind, id, ...) VHI_METRICS_IN_##kind(__VA_ARGS__)

static const struct vhi_prop connection_props[] = {
#define VHI_METRICS_IN_CONNECTION VHI_METRICS_ROW
#define VHI_METRICS_IN_QUEUE(...)
#include "props.def"
#undef VHI_METRICS_IN_CONNECTION
#undef VHI_METRICS_IN_QUEUE
};

static const struct vhi_prop queue_props[] = {
#define VHI_METRICS_IN_CONNECTION(...)
#define VHI_METRICS_IN_QUEUE VHI_METRICS_ROW
#include "props.def"
};

_Static_assert(VHI_ARRAY_SIZE(connection_props) == VHI_CONNECTION_PROPS, "one row for each index");
_Static_assert(VHI_ARRAY_SIZE(queue_props) == VHI_QUEUE_PROPS, "one row for each index");
_Static_assert(VHI_CONNECTION_PROPS <= VH_METRICS_MAX_PROPS && VHI_QUEUE_PROPS <= VH_METRICS_MAX_PROPS, "they fit");

const struct vhi_prop *vhi_props(uint32_t kind, uint32_t *n)
{
	*n = kind == VH_METRICS_CONNECTION ? VHI_CONNECTION_PROPS : kind == VH_METRICS_QUEUE ? VHI_QUEUE_PROPS : 0;
	return kind == VH_METRICS_CONNECTION ? connection_props : kind == VH_METRICS_QUEUE ? queue_props : NULL;
}

static void put(char *to, size_t room, const char *text)
{
	const size_t n = strnlen(text, room - 1);

	memcpy(to, text, n);
	memset(to + n, 0, room - n);
}

vh_rc vh_metrics_get_prop(uint32_t kind, uint32_t index, struct vh_metrics_prop *out)
{
	struct vh_metrics_prop prop = {0};
	const struct vhi_prop *props;
	uint32_t n;

	props = vhi_props(kind, &n);
	if (!props)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_metrics_get_prop: there is no kind %u", kind);
	if (index >= n)
		return vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "vh_metrics_get_prop: kind %u has %u properties", kind,
				n);
	prop.type = props[index].type;
	prop.space = props[index].space;
	prop.flags = props[index].flags;
	put(prop.name, sizeof(prop.name), props[index].name);
	put(prop.unit, sizeof(prop.unit), props[index].unit);
	put(prop.help, sizeof(prop.help), props[index].help);
	return vhi_out_fill(out, &prop, sizeof(prop), "vh_metrics_get_prop");
}

const char *vh_metrics_choice(uint32_t kind, uint32_t index, uint64_t value)
{
	uint32_t n;
	const struct vhi_prop *props = vhi_props(kind, &n);
	const char *const *choices = props && index < n ? props[index].choices : NULL;

	if (!choices)
		return NULL;
	while (value && *choices)
		choices++, value--;
	return *choices;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A page as OpenMetrics text: a family for each property, with a sample for each row. Bits, ids and texts become labels of
 * one "info" family for each kind.
 */
#include "vhi_metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct rows {
	struct vh_metrics_row *rows;
	uint32_t n;
};

struct page {
	struct rows of[VH_METRICS_QUEUE + 1];
};

struct text {
	char *buf;
	size_t cap, len; /* len goes on counting where there is no room */
};

static const char *const kind_names[] = {[VH_METRICS_CONNECTION] = "connection", [VH_METRICS_QUEUE] = "queue"};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	const size_t room = t->len < t->cap ? t->cap - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(room ? t->buf + t->len : NULL, room, fmt, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

/* Texts of a row are printable; what is left are the two characters that a label escapes. */
static void add_label(struct text *t, const char *name, const char *value)
{
	add(t, "%s=\"", name);
	for (; *value; value++)
		add(t, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	add(t, "\"");
}

static const struct vh_metrics_row *connection_of(const struct page *p, const struct vh_metrics_row *row)
{
	const struct rows *all = &p->of[VH_METRICS_CONNECTION];
	uint32_t from = 0, to = all->n;

	/* They were read in the order of their numbers. */
	while (from < to) {
		const uint32_t mid = from + (to - from) / 2;

		if (all->rows[mid].row == row->connection)
			return &all->rows[mid];
		if (all->rows[mid].row < row->connection)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

/* What names a row: the number of its connection, what that is called, and the queue. */
static void add_labels(struct text *t, const struct page *p, const struct vh_metrics_row *row)
{
	const struct vh_metrics_row *c = connection_of(p, row);

	add(t, "{connection=\"%u\",", row->connection);
	add_label(t, "name", c ? c->name : "");
	if (row->kind == VH_METRICS_QUEUE)
		add(t, ",queue=\"%" PRIu64 "\"", row->values[VHI_QUEUE_INDEX]);
}

static void add_help(struct text *t, const char *kind, const struct vhi_prop *prop, const char *type)
{
	add(t, "# TYPE libvh_%s_%s%s %s\n", kind, prop->name, prop->type == VH_METRICS_TIME ? "_seconds" : "", type);
	if (*prop->unit)
		add(t, "# UNIT libvh_%s_%s%s %s\n", kind, prop->name, prop->type == VH_METRICS_TIME ? "_seconds" : "",
		    prop->unit);
	add(t, "# HELP libvh_%s_%s%s %s\n", kind, prop->name, prop->type == VH_METRICS_TIME ? "_seconds" : "",
	    prop->help);
}

static void add_time(struct text *t, const struct vh_metrics_row *row, uint64_t since)
{
	const uint64_t age = since && row->now_ns > since ? row->now_ns - since : 0;

	add(t, " %" PRIu64 ".%09" PRIu64 "\n", age / 1000000000, age % 1000000000);
}

static void add_choice(struct text *t, const struct page *p, const struct vh_metrics_row *row, const char *family,
		       uint32_t index)
{
	const char *choice;

	for (uint64_t v = 0; (choice = vh_metrics_choice(row->kind, index, v)); v++) {
		add(t, "%s", family);
		add_labels(t, p, row);
		add(t, ",%s=\"%s\"} %d\n", family, choice, row->values[index] == v);
	}
}

static void add_family(struct text *t, const struct page *p, uint32_t kind, uint32_t index, const struct vhi_prop *prop)
{
	static const char *const types[] = {[VH_METRICS_NUMBER] = "gauge",
					    [VH_METRICS_COUNTER] = "counter",
					    [VH_METRICS_TIME] = "gauge",
					    [VH_METRICS_CHOICE] = "stateset"};
	static const char *const suffixes[] = {[VH_METRICS_NUMBER] = "",
					       [VH_METRICS_COUNTER] = "_total",
					       [VH_METRICS_TIME] = "_seconds",
					       [VH_METRICS_CHOICE] = ""};
	const struct rows *all = &p->of[kind];
	char family[2 * VH_METRICS_NAME_SIZE];

	snprintf(family, sizeof(family), "libvh_%s_%s%s", kind_names[kind], prop->name, suffixes[prop->type]);
	add_help(t, kind_names[kind], prop, types[prop->type]);
	for (uint32_t i = 0; i < all->n; i++) {
		const struct vh_metrics_row *row = &all->rows[i];
		const uint64_t value = row->values[index];

		/* A row that was never written does not even say which queue it is. */
		if (value == VH_METRICS_UNKNOWN || index >= row->n_values)
			continue;
		if (prop->type == VH_METRICS_CHOICE) {
			add_choice(t, p, row, family, index);
			continue;
		}
		add(t, "%s", family);
		add_labels(t, p, row);
		add(t, "}");
		if (prop->type == VH_METRICS_TIME)
			add_time(t, row, value);
		else
			add(t, " %" PRIu64 "\n", value);
	}
}

static void add_info(struct text *t, const struct page *p, uint32_t kind, const struct vhi_prop *props, uint32_t n)
{
	const struct rows *all = &p->of[kind];

	add(t, "# TYPE libvh_%s info\n# HELP libvh_%s What does not change with each request.\n", kind_names[kind],
	    kind_names[kind]);
	for (uint32_t i = 0; i < all->n; i++) {
		const struct vh_metrics_row *row = &all->rows[i];

		add(t, "libvh_%s_info", kind_names[kind]);
		add_labels(t, p, row);
		for (uint32_t k = 0; k < n; k++) {
			if (props[k].type == VH_METRICS_BITS || props[k].type == VH_METRICS_REQUEST)
				add(t, ",%s=\"0x%" PRIx64 "\"", props[k].name, row->values[k]);
			if (props[k].type == VH_METRICS_TEXT && props[k].space) {
				add(t, ",");
				add_label(t, props[k].name, row->address);
			}
		}
		add(t, "} 1\n");
	}
}

static void add_kind(struct text *t, const struct page *p, uint32_t kind)
{
	uint32_t n;
	const struct vhi_prop *props = vhi_props(kind, &n);

	if (kind == VH_METRICS_CONNECTION)
		add_info(t, p, kind, props, n);
	for (uint32_t i = 0; i < n; i++)
		if (props[i].type <= VH_METRICS_CHOICE && !(kind == VH_METRICS_QUEUE && i == VHI_QUEUE_INDEX))
			add_family(t, p, kind, i, &props[i]);
}

static int read_rows(struct vh_metrics_reader *r, uint32_t kind, uint32_t max, uint32_t *left, struct rows *out)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	vh_count rc;

	/* Twice: to count them, and to keep them. */
	for (uint32_t from = 0, n = 0; (rc = vhi_metrics_next(r, kind, from, left, &row)) == 1 && n < max; n++) {
		from = row.row + 1;
		if (!out->rows) {
			out->n++;
			continue;
		}
		if (n == out->n)
			break;
		out->rows[n] = row;
	}
	return rc < 0 ? rc : 0;
}

static int read_kind(struct vh_metrics_reader *r, uint32_t kind, uint32_t max, uint32_t *left, struct rows *out)
{
	int rc = read_rows(r, kind, max, left, out);
	uint32_t counted = out->n;

	if (rc || !counted)
		return rc;
	out->rows = vhi_calloc(counted, sizeof(*out->rows));
	if (!out->rows)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_metrics_reader_openmetrics: no memory");
	rc = read_rows(r, kind, max, left, out);
	/* Some may have gone meanwhile. */
	while (out->n && !out->rows[out->n - 1].kind)
		out->n--;
	return rc;
}

vh_count vh_metrics_reader_openmetrics(struct vh_metrics_reader *r, char *buf, uint32_t cap)
{
	struct text t = {.buf = buf, .cap = buf ? cap : 0};
	struct vh_metrics_info info = {.size = sizeof(info)};
	struct page p = {0};
	uint32_t left = VHI_METRICS_WAIT_MS;
	int rc = vh_metrics_reader_get_info(r, &info);

	for (uint32_t kind = VH_METRICS_CONNECTION; !rc && kind <= VH_METRICS_QUEUE; kind++)
		rc = read_kind(r, kind, info.max_rows, &left, &p.of[kind]);
	if (!rc) {
		for (uint32_t kind = VH_METRICS_CONNECTION; kind <= VH_METRICS_QUEUE; kind++)
			add_kind(&t, &p, kind);
		add(&t, "# EOF\n");
	}
	for (uint32_t kind = VH_METRICS_CONNECTION; kind <= VH_METRICS_QUEUE; kind++)
		vhi_free(p.of[kind].rows);
	return rc ? rc : (vh_count)t.len;
}

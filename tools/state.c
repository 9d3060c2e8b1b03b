/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl state and vhctl top: what a process with libvh is doing, from the page that it shows. */
#include "vhctl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_COLUMNS VH_METRICS_MAX_PROPS
#define CELL	    48

struct props {
	struct vh_metrics_prop of[VH_METRICS_MAX_PROPS];
	uint32_t n;
};

static void get_props(uint32_t kind, struct props *p)
{
	for (p->n = 0; p->n < VH_METRICS_MAX_PROPS; p->n++) {
		p->of[p->n].size = sizeof(p->of[0]);
		if (vh_metrics_get_prop(kind, p->n, &p->of[p->n]))
			break;
	}
}

/* Every row of a kind; the caller frees. */
static struct vh_metrics_row *get_rows(struct vh_metrics_reader *r, uint32_t kind, uint32_t *n)
{
	struct vh_metrics_row row = {.size = sizeof(row)}, *all = NULL;
	uint32_t room = 0;

	*n = 0;
	for (uint32_t from = 0; vh_metrics_reader_next(r, kind, from, &row) == 1; from = row.row + 1) {
		if (*n == room) {
			struct vh_metrics_row *more;

			room = room ? room * 2 : 16;
			more = realloc(all, room * sizeof(*all));
			if (!more)
				break;
			all = more;
		}
		all[(*n)++] = row;
	}
	return all;
}

static double age_of(const struct vh_metrics_row *row, uint64_t since)
{
	return since && row->now_ns > since ? (double)(row->now_ns - since) / 1e9 : 0;
}

static uint32_t space_of(const struct vh_metrics_prop *p, const struct vh_metrics_row *row)
{
	struct props props;

	if (p->space != VH_METRICS_SPACE_DEVICE)
		return p->space;
	get_props(VH_METRICS_CONNECTION, &props);
	for (uint32_t i = 0; i < props.n; i++)
		if (!strcmp(props.of[i].name, "device_type"))
			return (uint32_t)row->values[i] ? (uint32_t)row->values[i] : UINT32_MAX - 1;
	return UINT32_MAX - 1; /* only the bits that all devices have */
}

static const char *text_of(const struct vh_metrics_prop *p, const struct vh_metrics_row *row)
{
	return p->space ? row->address : row->name;
}

/* A place in a packed ring, with the driver's or device's turn: for people these are two numbers. */
static bool is_place(const struct vh_metrics_prop *p, const struct vh_metrics_row *row)
{
	struct props props;

	if (strcmp(p->name, "avail_index") && strcmp(p->name, "used_index"))
		return false;
	get_props(VH_METRICS_QUEUE, &props);
	for (uint32_t i = 0; i < props.n; i++)
		if (!strcmp(props.of[i].name, "layout"))
			return row->values[i] == 1;
	return false;
}

static void cell_of(const struct vh_metrics_prop *p, const struct vh_metrics_row *row, uint32_t i, char out[CELL])
{
	const uint64_t v = row->values[i];
	const char *choice;

	if (p->type == VH_METRICS_TEXT) {
		snprintf(out, CELL, "%.*s", CELL - 1, text_of(p, row));
	} else if (v == VH_METRICS_UNKNOWN || i >= row->n_values) {
		snprintf(out, CELL, "-");
	} else if (p->type == VH_METRICS_TIME) {
		snprintf(out, CELL, v ? "%.3f s" : "-", age_of(row, v));
	} else if (p->type == VH_METRICS_CHOICE) {
		choice = vh_metrics_choice(row->kind, i, v);
		snprintf(out, CELL, "%s", choice ? choice : "?");
	} else if (p->type == VH_METRICS_BITS) {
		snprintf(out, CELL, "0x%" PRIx64, v);
	} else if (p->type == VH_METRICS_REQUEST) {
		snprintf(out, CELL, "%s", v ? vh_msg_name(VH_MSG_CHANNEL_MAIN, (uint32_t)v) : "-");
	} else if (is_place(p, row)) {
		snprintf(out, CELL, "%" PRIu64 " (wrap %" PRIu64 ")", v & 0x7fff, v >> 15);
	} else {
		snprintf(out, CELL, "%" PRIu64, v);
	}
}

/* A table whose columns are as wide as they have to be: numbers to the right. */
struct table {
	uint32_t columns, rows;
	char (*cells)[CELL]; /* row by row, the first one is the head */
};

static void table_begin(struct table *t, uint32_t columns, uint32_t rows)
{
	t->columns = columns;
	t->rows = rows;
	t->cells = calloc((size_t)columns * rows, sizeof(*t->cells));
}

static char *table_cell(struct table *t, uint32_t row, uint32_t column)
{
	return t->cells[(size_t)row * t->columns + column];
}

static void table_print(struct table *t)
{
	int widths[MAX_COLUMNS + 1] = {0};

	for (uint32_t r = 0; r < t->rows; r++)
		for (uint32_t c = 0; c < t->columns; c++) {
			const int len = (int)strlen(table_cell(t, r, c));

			widths[c] = len > widths[c] ? len : widths[c];
		}
	for (uint32_t r = 0; r < t->rows; r++) {
		for (uint32_t c = 0; c < t->columns; c++)
			printf("%s%*s", c ? "  " : "", widths[c], table_cell(t, r, c));
		printf("\n");
	}
	free(t->cells);
}

static void print_connection(const struct vh_metrics_row *row, const struct props *props)
{
	char cell[CELL];

	printf("connection %u\n", row->row);
	for (uint32_t i = 0; i < props->n; i++) {
		const struct vh_metrics_prop *p = &props->of[i];

		if (p->type == VH_METRICS_TEXT) {
			printf("  %-20s %s\n", p->name, text_of(p, row));
			continue;
		}
		cell_of(p, row, i, cell);
		printf("  %-20s %s\n", p->name, cell);
		if (p->type == VH_METRICS_BITS)
			print_bits(row->values[i], space_of(p, row));
	}
}

static uint32_t brief_columns(const struct props *props, uint32_t columns[MAX_COLUMNS])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < props->n; i++)
		if (props->of[i].flags & VH_METRICS_BRIEF)
			columns[n++] = i;
	return n;
}

static uint32_t queues_of(const struct vh_metrics_row *queues, uint32_t n, uint32_t connection)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < n; i++)
		found += queues[i].connection == connection;
	return found;
}

static void print_queues(const struct vh_metrics_row *queues, uint32_t n, uint32_t connection,
			 const struct props *props)
{
	uint32_t columns[MAX_COLUMNS], n_columns = brief_columns(props, columns), row = 0;
	struct table t;

	table_begin(&t, n_columns, 1 + queues_of(queues, n, connection));
	for (uint32_t c = 0; t.cells && c < n_columns; c++)
		snprintf(table_cell(&t, 0, c), CELL, "%s", props->of[columns[c]].name);
	for (uint32_t i = 0; t.cells && i < n; i++) {
		if (queues[i].connection != connection)
			continue;
		row++;
		for (uint32_t c = 0; c < n_columns; c++)
			cell_of(&props->of[columns[c]], &queues[i], columns[c], table_cell(&t, row, c));
	}
	if (t.cells && row)
		table_print(&t);
}

static void json_value(struct json *j, const struct vh_metrics_prop *p, const struct vh_metrics_row *row, uint32_t i)
{
	const uint64_t v = row->values[i];
	char cell[CELL];

	if (p->type == VH_METRICS_TEXT)
		json_text(j, p->name, text_of(p, row));
	else if (v == VH_METRICS_UNKNOWN || i >= row->n_values)
		return;
	else if (p->type == VH_METRICS_NUMBER || p->type == VH_METRICS_COUNTER)
		json_u64(j, p->name, v);
	else if (p->type == VH_METRICS_TIME)
		json_real(j, p->name, age_of(row, v));
	else if (p->type == VH_METRICS_BITS)
		json_bits(j, p->name, v, space_of(p, row));
	else {
		cell_of(p, row, i, cell);
		json_text(j, p->name, cell);
	}
}

struct seen {
	struct props of_connection, of_queue;
	struct vh_metrics_row *connections, *queues;
	uint32_t n_connections, n_queues;
};

static void look(const struct looked *l, struct seen *s)
{
	get_props(VH_METRICS_CONNECTION, &s->of_connection);
	get_props(VH_METRICS_QUEUE, &s->of_queue);
	s->connections = get_rows(l->reader, VH_METRICS_CONNECTION, &s->n_connections);
	s->queues = get_rows(l->reader, VH_METRICS_QUEUE, &s->n_queues);
}

static void look_away(struct seen *s)
{
	free(s->connections);
	free(s->queues);
}

static void print_json(const struct looked *l, const struct seen *s, const struct vh_metrics_info *info)
{
	struct json j;

	json_begin(&j, stdout);
	json_u64(&j, "pid", l->pid);
	json_text(&j, "command", l->command);
	json_text(&j, "name", info->name);
	json_array(&j, "connections");
	for (uint32_t i = 0; i < s->n_connections; i++) {
		const struct vh_metrics_row *c = &s->connections[i];

		if (!looked_for(l, c))
			continue;
		json_object(&j, NULL);
		json_u64(&j, "connection", c->row);
		for (uint32_t k = 0; k < s->of_connection.n; k++)
			json_value(&j, &s->of_connection.of[k], c, k);
		json_array(&j, "rings");
		for (uint32_t q = 0; q < s->n_queues; q++) {
			if (s->queues[q].connection != c->row)
				continue;
			json_object(&j, NULL);
			for (uint32_t k = 0; k < s->of_queue.n; k++)
				json_value(&j, &s->of_queue.of[k], &s->queues[q], k);
			json_close(&j, '}');
		}
		json_close(&j, ']');
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_end(&j);
}

static void print_text(const struct looked *l, const struct seen *s, const struct vh_metrics_info *info)
{
	printf("process %u (%s)%s%s\n", l->pid, l->command, *info->name ? ": " : "", info->name);
	for (uint32_t i = 0; i < s->n_connections; i++) {
		if (!looked_for(l, &s->connections[i]))
			continue;
		print_connection(&s->connections[i], &s->of_connection);
		print_queues(s->queues, s->n_queues, s->connections[i].row, &s->of_queue);
	}
}

static int print_openmetrics(struct vh_metrics_reader *r)
{
	char *text = openmetrics_text(r);

	if (!text)
		return say(EXIT_WRONG, "what it counts can't be read");
	fputs(text, stdout);
	free(text);
	return EXIT_DONE;
}

int cmd_state(int argc, char **argv)
{
	bool as_json = false, as_metrics = false;
	const struct opt opts[] = {{.name = "json", .kind = OPT_FLAG, .to = &as_json},
				   {.name = "openmetrics", .kind = OPT_FLAG, .to = &as_metrics}};
	struct vh_metrics_info info = {.size = sizeof(info)};
	const char *target[1];
	struct looked l;
	struct seen s;
	size_t n;
	int rc = parse_options(argc, argv, opts, 2, target, 1, &n);

	if (rc)
		return rc;
	if (n != 1)
		return usage("state of what? vhctl state PID|ADDRESS");
	rc = looked_at(target[0], &l);
	if (rc)
		return rc;
	vh_metrics_reader_get_info(l.reader, &info);
	if (as_metrics) {
		rc = print_openmetrics(l.reader);
	} else {
		look(&l, &s);
		(as_json ? print_json : print_text)(&l, &s, &info);
		look_away(&s);
	}
	vh_metrics_reader_free(l.reader);
	return rc;
}

/* top */

static const struct vh_metrics_row *same_row(const struct seen *before, const struct vh_metrics_row *row)
{
	for (uint32_t i = 0; i < before->n_queues; i++)
		if (before->queues[i].row == row->row)
			return &before->queues[i];
	return NULL;
}

static const struct vh_metrics_row *connection_of(const struct seen *s, const struct vh_metrics_row *queue)
{
	for (uint32_t i = 0; i < s->n_connections; i++)
		if (s->connections[i].row == queue->connection)
			return &s->connections[i];
	return NULL;
}

/* What is counted is told as a rate between two moments at which the process wrote. */
static void rate_of(const struct vh_metrics_row *now, const struct vh_metrics_row *before, uint32_t i, bool bytes,
		    char out[CELL])
{
	const double seconds = before && now->now_ns > before->now_ns ? (double)(now->now_ns - before->now_ns) / 1e9
								      : 0;
	const uint64_t more = before && now->values[i] > before->values[i] ? now->values[i] - before->values[i] : 0;
	const double rate = seconds > 0 ? (double)more / seconds : 0;

	if (!before)
		snprintf(out, CELL, "-");
	else if (bytes)
		snprintf(out, CELL, "%.1f", rate / 1048576);
	else
		snprintf(out, CELL, "%.0f", rate);
}

static void print_top(const struct looked *l, const struct seen *now, const struct seen *before)
{
	const struct props *props = &now->of_queue;
	uint32_t columns[MAX_COLUMNS], n_columns = 0, row = 0;
	struct table t;

	for (uint32_t i = 0; i < props->n; i++)
		if (props->of[i].flags & VH_METRICS_BRIEF ||
		    (props->of[i].type == VH_METRICS_COUNTER && *props->of[i].unit))
			columns[n_columns++] = i;
	table_begin(&t, n_columns + 1, 1 + now->n_queues);
	if (!t.cells)
		return;
	snprintf(table_cell(&t, 0, 0), CELL, "connection");
	for (uint32_t c = 0; c < n_columns; c++) {
		const struct vh_metrics_prop *p = &props->of[columns[c]];

		if (p->type == VH_METRICS_COUNTER && *p->unit)
			snprintf(table_cell(&t, 0, c + 1), CELL, "%.*s MiB/s", (int)strcspn(p->name, "_"), p->name);
		else
			snprintf(table_cell(&t, 0, c + 1), CELL, "%.40s%s", p->name,
				 p->type == VH_METRICS_COUNTER ? "/s" : "");
	}
	for (uint32_t q = 0; q < now->n_queues; q++) {
		const struct vh_metrics_row *queue = &now->queues[q], *connection = connection_of(now, queue);

		if (!connection || !looked_for(l, connection))
			continue;
		row++;
		snprintf(table_cell(&t, row, 0), CELL, "%.46s",
			 *connection->name ? connection->name : connection->address);
		for (uint32_t c = 0; c < n_columns; c++) {
			const struct vh_metrics_prop *p = &props->of[columns[c]];

			if (p->type == VH_METRICS_COUNTER)
				rate_of(queue, same_row(before, queue), columns[c], *p->unit,
					table_cell(&t, row, c + 1));
			else
				cell_of(p, queue, columns[c], table_cell(&t, row, c + 1));
		}
	}
	t.rows = row + 1;
	table_print(&t);
}

static bool is_alive(const struct looked *l)
{
	return !kill((pid_t)l->pid, 0) || errno == EPERM;
}

static void nap(uint64_t ms)
{
	const struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

int cmd_top(int argc, char **argv)
{
	bool once = false;
	uint64_t interval = 1000;
	const struct opt opts[] = {{.name = "once", .kind = OPT_FLAG, .to = &once},
				   {.name = "interval", .kind = OPT_NUMBER, .to = &interval, .max = 3600000}};
	const bool redraw = isatty(STDOUT_FILENO);
	const char *target[1];
	struct seen now, before;
	struct looked l;
	size_t n;
	int rc = parse_options(argc, argv, opts, 2, target, 1, &n);

	if (rc)
		return rc;
	if (n != 1)
		return usage("top of what? vhctl top PID|ADDRESS");
	rc = looked_at(target[0], &l);
	if (rc)
		return rc;
	serve_catch_signals();
	look(&l, &before);
	do {
		nap(interval ? interval : 1000);
		if (!is_alive(&l)) {
			rc = say(EXIT_UNREACHABLE, "process %u has ended", l.pid);
			break;
		}
		look(&l, &now);
		if (redraw && !once)
			printf("\033[H\033[2J");
		printf("process %u (%s)\n", l.pid, l.command);
		print_top(&l, &now, &before);
		fflush(stdout);
		look_away(&before);
		before = now;
	} while (!once && !serve_told_to_end() && !ferror(stdout));
	look_away(&before);
	vh_metrics_reader_free(l.reader);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Log lines and the trace: what may be done inside of their callbacks. Master and slave share what is under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "vhi_slave.h"
#include "vht_peer.h"

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static struct {
	uint32_t lines, messages, destroyed, destroyed_inside, depth;
	int32_t rc;
	int replace; /* set it to nothing, to itself, to something else; 3: free the handle */
} seen;

static int setup(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	vht_peer_init(p, NULL, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static void on_destroy(void *ctx)
{
	(void)ctx;
	seen.destroyed++;
	seen.destroyed_inside += seen.depth != 0;
}

static void other_line(void *ctx, uint32_t level, const char *text)
{
	(void)ctx;
	(void)level;
	(void)text;
}

static void replacing_line(void *ctx, uint32_t level, const char *text)
{
	const struct vh_logger_ops other = {.size = sizeof(other), .line = other_line};

	(void)ctx;
	(void)level;
	(void)text;
	seen.lines++;
	seen.depth++;
	if (seen.replace == 3)
		vh_slave_free(p->s);
	else
		seen.rc = vh_slave_set_logger(p->s, seen.replace ? &other : NULL, NULL);
	seen.depth--;
}

static const struct vh_logger_ops logger_ops = {
	.size = sizeof(logger_ops), .destroy = on_destroy, .line = replacing_line};

/* Between the line that tells of dropped ones and the line behind it, a callback of the user's runs. */
static void the_log_is_not_replaced_under_its_own_callback(void **state)
{
	struct vh_error e = {.size = sizeof(e)};

	(void)state;
	for (seen.replace = 0; seen.replace < 2; seen.replace++) {
		seen.lines = seen.destroyed = 0;
		assert_int_equal(vh_slave_set_logger(p->s, &logger_ops, NULL), 0);
		p->s->log.dropped = 7;
		p->s->log.window_ns = 0;
		vhi_log_line(&p->s->log, VH_LOG_WARNING, "hello");
		assert_int_equal(seen.lines, 2);
		assert_int_equal(seen.rc, -EBUSY);
		assert_int_equal(vh_error_get(&e), 0);
		assert_int_equal(e.code, -EBUSY);
		assert_int_equal(seen.destroyed, 0);
		/* Outside of it, it can. */
		assert_int_equal(vh_slave_set_logger(p->s, NULL, NULL), 0);
		assert_int_equal(seen.destroyed, 1);
	}
	assert_int_equal(seen.destroyed_inside, 0);
}

static void ops_that_are_refused_are_destroyed_once(void **state)
{
	(void)state;
	vhi_log_set(&p->s->log, &logger_ops, NULL);
	p->s->log.inside = 1;
	assert_int_equal(vh_slave_set_logger(p->s, &logger_ops, NULL), -EBUSY);
	assert_int_equal(seen.destroyed, 1);
	p->s->log.inside = 0;
	assert_int_equal(vh_slave_set_logger(p->s, NULL, NULL), 0);
	assert_int_equal(seen.destroyed, 2);
}

static void a_handle_freed_in_a_log_line_goes_after_it(void **state)
{
	(void)state;
	seen.replace = 3;
	assert_int_equal(vh_slave_set_logger(p->s, &logger_ops, NULL), 0);
	vht_msg_state(p, M_SET_VRING_NUM, F_REQUEST, 99, 16);
	assert_int_equal(vh_slave_dispatch(p->s), -ESHUTDOWN);
	p->s = NULL;
	assert_int_equal(seen.destroyed, 1);
	assert_int_equal(seen.destroyed_inside, 0);
}

static void replacing_message(void *ctx, const struct vh_msg_info *info)
{
	(void)ctx;
	(void)info;
	seen.messages++;
	seen.depth++;
	seen.rc = vh_slave_set_trace(p->s, NULL, NULL);
	seen.depth--;
}

static void the_trace_is_not_replaced_under_its_own_callback(void **state)
{
	const struct vh_trace_ops trace = {.size = sizeof(trace), .destroy = on_destroy, .message = replacing_message};

	(void)state;
	assert_int_equal(vh_slave_set_trace(p->s, &trace, NULL), 0);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	assert_int_equal(seen.messages, 2);
	assert_int_equal(seen.rc, -EBUSY);
	assert_int_equal(seen.destroyed, 0);
	assert_int_equal(vh_slave_set_trace(p->s, NULL, NULL), 0);
	assert_int_equal(seen.destroyed, 1);
	assert_int_equal(seen.destroyed_inside, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_log_is_not_replaced_under_its_own_callback),
		T(ops_that_are_refused_are_destroyed_once),
		T(a_handle_freed_in_a_log_line_goes_after_it),
		T(the_trace_is_not_replaced_under_its_own_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vhi_metrics.h"
#include "vht_metrics.h"

struct vh_metrics_row vht_connection_row(struct vh_metrics_reader *reader)
{
	struct vh_metrics_row row = {.size = sizeof(row)};

	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 1);
	assert_int_equal(row.n_values, VHI_CONNECTION_PROPS);
	return row;
}

struct vh_metrics_row vht_queue_row(struct vh_metrics_reader *reader, uint32_t index)
{
	struct vh_metrics_row row = {.size = sizeof(row)};

	for (uint32_t from = 0; vh_metrics_reader_next(reader, VH_METRICS_QUEUE, from, &row) == 1; from = row.row + 1)
		if (row.values[VHI_QUEUE_INDEX] == index)
			return row;
	fail_msg("no row of queue %u", index);
	return row;
}

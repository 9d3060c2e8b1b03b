/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Rows of a page of metrics, as tests look for them. */
#ifndef VHT_METRICS_H
#define VHT_METRICS_H

#include "vh/metrics.h"

/* The first connection; the test fails without one. */
struct vh_metrics_row vht_connection_row(struct vh_metrics_reader *reader);
/* The queue of that index, of whichever connection; the test fails without one. */
struct vh_metrics_row vht_queue_row(struct vh_metrics_reader *reader, uint32_t index);

#endif

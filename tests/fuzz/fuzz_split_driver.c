/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "ring_targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return ring_driver_target(data, size, false);
}

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Targets that are the same for both layouts of a ring. */
#ifndef FUZZ_RING_TARGETS_H
#define FUZZ_RING_TARGETS_H

#include "input.h"

int ring_device_target(const uint8_t *data, size_t size, bool packed);
int ring_driver_target(const uint8_t *data, size_t size, bool packed);

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The version of the library.
 */
#ifndef VH_VERSION_H
#define VH_VERSION_H

#include "vh/types.h"

#define VH_VERSION_MAJOR 0
#define VH_VERSION_MINOR 1
#define VH_VERSION_PATCH 0

VH_BEGIN_DECLS

/**
 * vh_version() - the version of the loaded library
 *
 * @since: VH_1.0
 * @thread: signal
 * @blocks: no
 * @errors: none
 *
 * Return: (major << 16) | (minor << 8) | patch.
 */
VH_API uint32_t vh_version(void);

VH_END_DECLS
#endif

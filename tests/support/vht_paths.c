/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_paths.h"

const char vht_source_dir[] = VH_SOURCE_DIR;
const char vht_binary_dir[] = VH_BINARY_DIR;

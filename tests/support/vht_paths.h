/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Where the sources and the build folder are. In one object, so that a compiler cache can serve all others to every clone. */
#ifndef VHT_PATHS_H
#define VHT_PATHS_H

extern const char vht_source_dir[], vht_binary_dir[];

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* MemorySanitizer does not see what a system call writes that is made by hand. */
#ifndef VHT_MSAN_H
#define VHT_MSAN_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define vht_written(at, bytes) __msan_unpoison((at), (bytes))
#endif
#endif
#ifndef vht_written
#define vht_written(at, bytes) ((void)(at), (void)(bytes))
#endif

#endif

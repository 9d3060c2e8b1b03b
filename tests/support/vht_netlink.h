/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The kernel's end of a generic netlink socket: what it once said to such a request (tests/data/vdpa_netlink.tsv). */
#ifndef VHT_NETLINK_H
#define VHT_NETLINK_H

#include <stddef.h>
#include <stdint.h>

/* Of several recordings of the same request, that one; NULL: the first. */
void vht_netlink_prefer(const char *name);
/* Send the recorded answers to a request into a socket. 0 when there is no recording of it. */
int vht_netlink_answer(int fd, const void *request, size_t len);

#endif

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Where a socket is, as users write it:
 *
 *	PATH, unix:PATH				a socket in the file system
 *	@NAME, unix:@NAME, abstract:NAME	an abstract name of this network namespace
 *	fd:N					a socket that is open here
 *	systemd:, systemd:NAME			the only socket that this process was started with, or the one of that name
 *
 * "word:" of any other word is refused, so that a kind which comes later was never a file. The public header says the same.
 */
#ifndef VHI_ADDRESS_H
#define VHI_ADDRESS_H

#include <sys/un.h>

#include "vhi_base.h"

enum vhi_address_kind { VHI_ADDRESS_PATH, VHI_ADDRESS_ABSTRACT, VHI_ADDRESS_FD };

struct vhi_address {
	enum vhi_address_kind kind;
	int fd;		       /* of VHI_ADDRESS_FD, borrowed and not looked at yet; else -1 */
	socklen_t len;	       /* of the others */
	struct sockaddr_un un; /* zero-filled behind the name, */
	char end;	       /* and 0 is here when it fills all of that */
};

/* 0, or -EINVAL, -ENAMETOOLONG with the last error. Looks at text and environment only. */
int vhi_address_parse(const char *text, struct vhi_address *out);
/* For messages, of those that have one: a text that ends. */
const char *vhi_address_name(const struct vhi_address *a);

#endif

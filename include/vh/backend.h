/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: A device to drive, whatever it is reached through.
 *
 * A borrowed handle from vh_master_backend() (and, later, the kernel's vhost
 * devices and vDPA). A driver is written once against it.
 */
#ifndef VH_BACKEND_H
#define VH_BACKEND_H

#include "vh/types.h"

VH_BEGIN_DECLS

/**
 * vh_backend_kind() - what is behind it
 * @b: the back-end
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) static string, "vhost-user" for a vh_master.
 */
VH_API const char *vh_backend_kind(const struct vh_backend *b);

/**
 * vh_backend_get_features() - device feature bits offered
 * @b: the back-end
 * @out: (out) without transport bits (LOG_ALL, PROTOCOL_FEATURES)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_backend_get_features(struct vh_backend *b, uint64_t *out);

/**
 * vh_backend_get_config() - read config space
 * @b: the back-end
 * @offset: first byte
 * @buf: (out) (array len) the bytes
 * @len: bytes, > 0
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_backend_get_config(struct vh_backend *b, uint32_t offset, void *buf, uint32_t len);

/**
 * vh_backend_set_config() - write config space
 * @b: the back-end
 * @offset: first byte
 * @buf: (array len) the bytes to write
 * @len: bytes, > 0
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_backend_set_config(struct vh_backend *b, uint32_t offset, const void *buf, uint32_t len);

VH_END_DECLS
#endif

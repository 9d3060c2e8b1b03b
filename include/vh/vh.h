/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: All of libvh.
 */
#ifndef VH_VH_H
#define VH_VH_H

#include "vh/types.h"
#include "vh/vduse.h"
#include "vh/version.h"
#include "vh/error.h"
#include "vh/log.h"
#include "vh/event.h"
#include "vh/metrics.h"
#include "vh/reconnect.h"
#include "vh/protocol.h"
#include "vh/message.h"
#include "vh/mem.h"
#include "vh/dirty.h"
#include "vh/iotlb.h"
#include "vh/queue.h"
#include "vh/inflight.h"
#include "vh/device.h"
#include "vh/netdev.h"
#include "vh/gpu.h"
#include "vh/backend.h"
#include "vh/slave.h"
#include "vh/channel.h"
#include "vh/master.h"
#include "vh/vdpa.h"
#include "vh/vdpa_mgmt.h"
#include "vh/request.h"
#include "vh/migrate.h"
#include "vh/kern.h"
#include "vh/kern_ioctl.h"
#include "vh/driver.h"
#include "vh/blk.h"
#include "vh/net.h"

#endif

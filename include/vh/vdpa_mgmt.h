/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: vDPA management: which devices there are, and where they are found.
 *
 * A management device (a NIC's function, "vdpasim_net", "vduse") makes vDPA devices by name. A driver of the vdpa bus then
 * takes such a device: vhost_vdpa gives it a node /dev/vhost-vdpa-N for user space, virtio_vdpa makes it a virtio device
 * of this kernel. The first half is generic netlink, which has to be spoken in the initial network namespace; the
 * second is sysfs. A key names one device: its name, "/dev/vhost-vdpa-N", "vhost-vdpa-N", or what it was made from
 * ("vdpasim_net", "pci/0000:01:00.2", "0000:01:00.2") when it is the only one of that.
 *
 * Lists are taken whole and kept in the handle: a call that says how many there are, then one of them by its index.
 */
#ifndef VH_VDPA_MGMT_H
#define VH_VDPA_MGMT_H

#include "vh/types.h"

VH_BEGIN_DECLS

#define VH_VDPA_NAME_SIZE 256 /* of names, with the NUL at their end */
#define VH_VDPA_TEXT_SIZE 64  /* of names of buses, drivers, nodes and counters */

/* vh_vdpa_config.has and vh_vdpa_attrs.has: what is said, as bit numbers, which are those of the netlink attributes. */
#define VH_VDPA_HAS_MAC			 10
#define VH_VDPA_HAS_NET_STATUS		 11
#define VH_VDPA_HAS_MAX_VQP		 12
#define VH_VDPA_HAS_MTU			 13
#define VH_VDPA_HAS_NEGOTIATED		 14
#define VH_VDPA_HAS_FEATURES		 20
#define VH_VDPA_HAS_CAPACITY		 21
#define VH_VDPA_HAS_SIZE_MAX		 22
#define VH_VDPA_HAS_BLK_SIZE		 23
#define VH_VDPA_HAS_SEG_MAX		 24
#define VH_VDPA_HAS_NUM_QUEUES		 25
#define VH_VDPA_HAS_PHYS_BLOCK_EXP	 26
#define VH_VDPA_HAS_ALIGN_OFFSET	 27
#define VH_VDPA_HAS_MIN_IO		 28
#define VH_VDPA_HAS_OPT_IO		 29
#define VH_VDPA_HAS_MAX_DISCARD		 30
#define VH_VDPA_HAS_MAX_DISCARD_SEG	 31
#define VH_VDPA_HAS_DISCARD_ALIGN	 32
#define VH_VDPA_HAS_MAX_WRITE_ZEROES	 33
#define VH_VDPA_HAS_MAX_WRITE_ZEROES_SEG 34
#define VH_VDPA_HAS_READ_ONLY		 35
#define VH_VDPA_HAS_FLUSH		 36

/** struct vh_vdpa_mgmt_opts - options of vh_vdpa_mgmt_new(). Sized, zero means default. */
struct vh_vdpa_mgmt_opts {
	uint32_t size;	     /* sizeof(struct vh_vdpa_mgmt_opts) */
	uint32_t timeout_ms; /* of an answer, and of a node that is to appear; 0 = 5 s */
};

/** struct vh_vdpa_mgmtdev - a management device: what makes vDPA devices. Size-first out struct. */
struct vh_vdpa_mgmtdev {
	uint32_t size;
	uint32_t max_vqs;	      /* queues that a device of it may have; 0 = not said */
	uint64_t classes;	      /* kinds that it makes: bit n = virtio device type n */
	uint64_t features;	      /* feature bits that they may have */
	char bus[VH_VDPA_TEXT_SIZE];  /* "pci"; "" for one without a bus, as a simulator */
	char name[VH_VDPA_NAME_SIZE]; /* "0000:01:00.2", "vdpasim_net", "vduse" */
};

/** struct vh_vdpa_dev - a vDPA device, as its maker sees it. Size-first out struct. */
struct vh_vdpa_dev {
	uint32_t size;
	uint32_t device_id; /* virtio device type */
	uint32_t vendor_id;
	uint32_t max_vqs;
	uint32_t max_vq_size;
	uint32_t min_vq_size;
	char name[VH_VDPA_NAME_SIZE];
	char mgmt_bus[VH_VDPA_TEXT_SIZE];  /* of its management device */
	char mgmt_name[VH_VDPA_NAME_SIZE]; /* of its management device */
};

/** struct vh_vdpa_attrs - what a vDPA device is made with, or is to have from now on. Sized. */
struct vh_vdpa_attrs {
	uint32_t size; /* sizeof(struct vh_vdpa_attrs) */
	uint32_t mtu;
	uint64_t has;	   /* which of these count: bits VH_VDPA_HAS_MAC, _MTU, _MAX_VQP, _FEATURES */
	uint64_t features; /* feature bits that it is to offer */
	uint32_t max_vqp;  /* pairs of queues */
	uint8_t mac[6];
	uint8_t reserved[6]; /* must be 0 */
};

/** struct vh_vdpa_config - what the management side knows of a device's configuration. Size-first out struct. */
struct vh_vdpa_config {
	uint32_t size;
	uint32_t device_id;  /* virtio device type: only what belongs to it is ever said */
	uint64_t has;	     /* which of these are known: bit numbers VH_VDPA_HAS_* */
	uint64_t features;   /* that it offers */
	uint64_t negotiated; /* that its driver took; known after FEATURES_OK */
	uint64_t capacity;   /* 512-byte sectors */
	uint32_t net_status;
	uint32_t max_vqp;
	uint32_t mtu;
	uint32_t size_max;
	uint32_t blk_size;
	uint32_t seg_max;
	uint32_t num_queues;
	uint32_t phys_block_exp;
	uint32_t align_offset;
	uint32_t min_io;
	uint32_t opt_io;
	uint32_t max_discard;
	uint32_t max_discard_seg;
	uint32_t discard_align;
	uint32_t max_write_zeroes;
	uint32_t max_write_zeroes_seg;
	uint32_t read_only; /* 0 or 1 */
	uint32_t flush;	    /* 0 or 1 */
	uint8_t mac[6];
	uint8_t reserved[2];
};

/** struct vh_vdpa_stat - a counter that a vendor has for a queue. Size-first out struct. */
struct vh_vdpa_stat {
	uint32_t size;
	uint32_t queue;
	uint64_t value;
	char name[VH_VDPA_TEXT_SIZE];
};

/** struct vh_vdpa_place - where a vDPA device is found. Size-first out struct. */
struct vh_vdpa_place {
	uint32_t size;
	int32_t node;			    /* N of vhost-vdpa-N, -1 = vhost_vdpa has not taken it */
	uint32_t major;			    /* of the node */
	uint32_t minor;			    /* of the node */
	char name[VH_VDPA_NAME_SIZE];	    /* of the device */
	char driver[VH_VDPA_TEXT_SIZE];	    /* "vhost_vdpa", "virtio_vdpa"; "" = none has taken it */
	char parent_bus[VH_VDPA_TEXT_SIZE]; /* "pci"; "" where there is none */
	char parent[VH_VDPA_NAME_SIZE];	    /* what it was made from: "0000:01:00.2", "vdpasim_net" */
	char path[VH_VDPA_NAME_SIZE];	    /* of the node, "/dev/vhost-vdpa-0"; "" = there is none */
	char virtio[VH_VDPA_TEXT_SIZE];	    /* of the virtio device that virtio_vdpa made, "virtio3"; or "" */
};

/**
 * vh_vdpa_mgmt_new() - a handle for management
 * @opts: (nullable)
 * @root: (nullable) what stands before /sys and /dev, for a container that has the host's somewhere else; NULL = nothing
 * @fd: (borrowed) a generic netlink socket to use, as one from the initial network namespace; duplicated. -1 = one is made
 *   when it is needed
 * @out: (out) (owned) free with vh_vdpa_mgmt_free()
 *
 * Nothing is asked yet: without a socket it works for what sysfs knows.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE EBADF ENAMETOOLONG
 */
VH_API vh_rc vh_vdpa_mgmt_new(const struct vh_vdpa_mgmt_opts *opts, const char *root, vh_fd fd,
			      struct vh_vdpa_mgmt **out);

/**
 * vh_vdpa_mgmt_free() - give it up
 * @m: (nullable)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_vdpa_mgmt_free(struct vh_vdpa_mgmt *m);

/**
 * vh_vdpa_mgmt_list_mgmtdevs() - take the list of management devices
 * @m: the handle
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENOENT EPERM EACCES EPROTO EAGAIN ETIMEDOUT ENOMEM ENOBUFS EMFILE ENOSPC EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 *
 * Return: how many; vh_vdpa_mgmt_get_mgmtdev() gives each. -ENOENT: this kernel has no vDPA, or its module is not loaded.
 */
VH_API vh_count vh_vdpa_mgmt_list_mgmtdevs(struct vh_vdpa_mgmt *m);

/**
 * vh_vdpa_mgmt_get_mgmtdev() - one of the list of management devices
 * @m: the handle
 * @index: from 0 on
 * @out: (out) the device
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOENT
 */
VH_API vh_rc vh_vdpa_mgmt_get_mgmtdev(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_mgmtdev *out);

/**
 * vh_vdpa_mgmt_list_devs() - take the list of vDPA devices
 * @m: the handle
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENOENT EPERM EACCES EPROTO EAGAIN ETIMEDOUT ENOMEM ENOBUFS EMFILE ENOSPC EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 *
 * Return: how many; vh_vdpa_mgmt_get_dev() gives each.
 */
VH_API vh_count vh_vdpa_mgmt_list_devs(struct vh_vdpa_mgmt *m);

/**
 * vh_vdpa_mgmt_get_dev() - one of the list of vDPA devices
 * @m: the handle
 * @index: from 0 on
 * @out: (out) the device
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOENT
 */
VH_API vh_rc vh_vdpa_mgmt_get_dev(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_dev *out);

/**
 * vh_vdpa_mgmt_find_dev() - the vDPA device of that name
 * @m: the handle
 * @name: of the device
 * @out: (out) the device
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV ENOENT EPERM EACCES EPROTO ETIMEDOUT ENOMEM ENOBUFS EMFILE EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 */
VH_API vh_rc vh_vdpa_mgmt_find_dev(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_dev *out);

/**
 * vh_vdpa_mgmt_add_dev() - have a management device make a vDPA device
 * @m: the handle
 * @mgmtdev: the management device: "vdpasim_net", "pci/0000:01:00.2"
 * @name: for the new device
 * @attrs: (nullable) what it is to have; NULL: what its maker gives it
 *
 * Needs CAP_NET_ADMIN. A device of a vduse back-end has the back-end's name.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV EEXIST EOPNOTSUPP EPERM ENOENT EACCES EPROTO ETIMEDOUT ENOMEM ENOSPC ENOBUFS EMFILE EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 *
 * Return: 0; -ENODEV: there is no such management device; -EEXIST: the name is in use; -EOPNOTSUPP: it can't do with one of
 * the attributes.
 */
VH_API vh_rc vh_vdpa_mgmt_add_dev(struct vh_vdpa_mgmt *m, const char *mgmtdev, const char *name,
				  const struct vh_vdpa_attrs *attrs);

/**
 * vh_vdpa_mgmt_set_dev() - change a vDPA device
 * @m: the handle
 * @name: of the device
 * @attrs: what it is to have from now on; kernels let the MAC address be changed (6.12), and nothing else
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV EOPNOTSUPP EPERM ENOENT EACCES EPROTO ETIMEDOUT ENOMEM ENOBUFS EMFILE EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 */
VH_API vh_rc vh_vdpa_mgmt_set_dev(struct vh_vdpa_mgmt *m, const char *name, const struct vh_vdpa_attrs *attrs);

/**
 * vh_vdpa_mgmt_del_dev() - take a vDPA device away
 * @m: the handle
 * @name: of the device
 *
 * Waits while its node is open.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV EOPNOTSUPP EPERM ENOENT EACCES EPROTO ETIMEDOUT ENOMEM ENOBUFS EMFILE EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 */
VH_API vh_rc vh_vdpa_mgmt_del_dev(struct vh_vdpa_mgmt *m, const char *name);

/**
 * vh_vdpa_mgmt_get_config() - what the management side knows of a device's configuration
 * @m: the handle
 * @name: of the device
 * @out: (out) the configuration
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV EOPNOTSUPP EMSGSIZE EPERM ENOENT EACCES EPROTO ETIMEDOUT ENOMEM ENOBUFS EMFILE EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 *
 * Return: 0; -EOPNOTSUPP: the kernel tells it of network and block devices only.
 */
VH_API vh_rc vh_vdpa_mgmt_get_config(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_config *out);

/**
 * vh_vdpa_mgmt_list_stats() - take the vendor's counters of a queue
 * @m: the handle
 * @name: of the device
 * @queue: queue index
 *
 * Needs CAP_NET_ADMIN.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV EAGAIN ERANGE EOPNOTSUPP EPERM ENOENT EACCES EPROTO ETIMEDOUT ENOMEM ENOBUFS EMFILE ENOSPC EAFNOSUPPORT EPROTONOSUPPORT ECONNRESET
 *
 * Return: how many; vh_vdpa_mgmt_get_stat() gives each. -EAGAIN: its driver has not set FEATURES_OK yet; -ERANGE: there is
 * no such queue; -EOPNOTSUPP: this device counts nothing.
 */
VH_API vh_count vh_vdpa_mgmt_list_stats(struct vh_vdpa_mgmt *m, const char *name, uint32_t queue);

/**
 * vh_vdpa_mgmt_get_stat() - one of the list of counters
 * @m: the handle
 * @index: from 0 on
 * @out: (out) the counter
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOENT
 */
VH_API vh_rc vh_vdpa_mgmt_get_stat(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_stat *out);

/**
 * vh_vdpa_mgmt_list_places() - take the list of where vDPA devices are found
 * @m: the handle
 *
 * By sysfs, which needs no privilege and no network namespace.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOENT EPERM EACCES ENOMEM EMFILE ENOSPC EPROTO ENAMETOOLONG EIO
 *
 * Return: how many, by name; vh_vdpa_mgmt_get_place() gives each. -ENOENT: this kernel has no vdpa bus, or it is not loaded.
 */
VH_API vh_count vh_vdpa_mgmt_list_places(struct vh_vdpa_mgmt *m);

/**
 * vh_vdpa_mgmt_get_place() - one of the list of places
 * @m: the handle
 * @index: from 0 on
 * @out: (out) the place
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOENT
 */
VH_API vh_rc vh_vdpa_mgmt_get_place(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_place *out);

/**
 * vh_vdpa_mgmt_find_place() - where a device is found
 * @m: the handle
 * @key: see above
 * @out: (out) the place
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENODEV ENOTUNIQ ENOENT EPERM EACCES ENOMEM EMFILE ENOSPC EPROTO ENAMETOOLONG EIO
 *
 * Return: 0; -ENODEV: there is no such device; -ENOTUNIQ: the key names several.
 */
VH_API vh_rc vh_vdpa_mgmt_find_place(struct vh_vdpa_mgmt *m, const char *key, struct vh_vdpa_place *out);

/**
 * vh_vdpa_mgmt_bind() - give a device to another driver of the vdpa bus
 * @m: the handle
 * @key: see above
 * @driver: (nullable) "vhost_vdpa", "virtio_vdpa", another one; NULL: take it away from the driver that has it
 * @out: (nullable) (out) where it is found then; for vhost_vdpa with its node, which is waited for
 *
 * A device that this driver has already stays as it is. Needs root. A node that is open keeps vhost_vdpa from letting go:
 * the kernel waits.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENODEV ENOTUNIQ ENOENT EPERM EACCES EROFS ETIMEDOUT ENOMEM EMFILE ENOSPC EPROTO ENAMETOOLONG EIO
 *
 * Return: 0; -ENOENT: there is no such driver, load its module; -ETIMEDOUT: it took the device, and no node appeared in time.
 */
VH_API vh_rc vh_vdpa_mgmt_bind(struct vh_vdpa_mgmt *m, const char *key, const char *driver, struct vh_vdpa_place *out);

VH_END_DECLS
#endif

/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Numbers and structs of the vhost-user protocol that both sides use.
 */
#ifndef VH_PROTOCOL_H
#define VH_PROTOCOL_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* Largest message: file descriptors, and bytes of payload that any message can have. */
#define VH_MSG_MAX_FDS	   32 /* that a message may bring: some peers send more than the specification has */
#define VH_MSG_SEND_FDS	   8  /* that can be sent */
#define VH_MSG_MAX_PAYLOAD 4096

/* Largest config space, bytes. */
#define VH_CONFIG_MAX 256

/* Flags of SET_CONFIG. */
#define VH_CONFIG_WRITE	    0 /* written by the guest's driver */
#define VH_CONFIG_MIGRATION 1 /* restored by live migration */

/* vhost-user protocol feature bits, as bit numbers ("Protocol features"). */
#define VH_PF_MQ			0
#define VH_PF_LOG_SHMFD			1
#define VH_PF_RARP			2
#define VH_PF_REPLY_ACK			3
#define VH_PF_MTU			4
#define VH_PF_BACKEND_REQ		5
#define VH_PF_CROSS_ENDIAN		6
#define VH_PF_CRYPTO_SESSION		7
#define VH_PF_PAGEFAULT			8
#define VH_PF_CONFIG			9
#define VH_PF_BACKEND_SEND_FD		10
#define VH_PF_HOST_NOTIFIER		11
#define VH_PF_INFLIGHT_SHMFD		12
#define VH_PF_RESET_DEVICE		13
#define VH_PF_INBAND_NOTIFICATIONS	14
#define VH_PF_CONFIGURE_MEM_SLOTS	15
#define VH_PF_STATUS			16
#define VH_PF_XEN_MMAP			17
#define VH_PF_SHARED_OBJECT		18
#define VH_PF_DEVICE_STATE		19
#define VH_PF_GET_VRING_BASE_INFLIGHT	20
#define VH_PF_GPA_ADDRESSES		21
#define VH_PF_SHMEM			22
#define VH_PF_GET_VRING_BASE_SKIP_DRAIN 23

/* vh_vring_addr.flags */
#define VH_VRING_LOG 1u /* writes to the used ring are logged at log */

/** struct vh_vring_addr - SET_VRING_ADDR: addresses as the back-end is to see them. @frozen, 40 bytes. */
struct vh_vring_addr {
	uint32_t index;
	uint32_t flags; /* 0 or VH_VRING_LOG */
	uint64_t desc;	/* vh_uva, or vh_iova with ACCESS_PLATFORM */
	uint64_t used;
	uint64_t avail;
	uint64_t log; /* vh_gpa at which writes to the used ring are logged */
};

/** struct vh_crypto_session - CREATE_CRYPTO_SESSION: parameters of a session (virtio 1.2 section 5.9.7.2). Sized. */
struct vh_crypto_session {
	uint32_t size;	       /* sizeof(struct vh_crypto_session) */
	uint32_t algo;	       /* of the cipher, or of the asymmetric session */
	uint64_t op_code;      /* VIRTIO_CRYPTO_*_CREATE_SESSION; 0x404 says that it is asymmetric */
	uint64_t key;	       /* address of the key; (borrowed) during the call */
	uint64_t auth_key;     /* symmetric: address of the authentication key; (borrowed) during the call */
	uint32_t key_len;      /* bytes, at most 64, asymmetric 1024 */
	uint32_t auth_key_len; /* bytes, at most 512 */
	/* Symmetric sessions. */
	uint32_t hash_alg;
	uint32_t hash_result_len;
	uint32_t add_len;
	uint32_t op_type;   /* 0 to 255, like the three below */
	uint32_t direction; /* 1 encrypt, 2 decrypt */
	uint32_t hash_mode;
	uint32_t alg_chain_order;
	/* Asymmetric sessions. */
	uint32_t key_type; /* 1 public, 2 private */
	uint32_t rsa_padding_algo;
	uint32_t rsa_hash_algo;
};

/* Bytes of the name of a shared object, in the order of RFC 4122. */
#define VH_UUID_LEN 16

/* Regions of shared memory that a device can have, by number. */
#define VH_SHMEM_MAX 256

/* vh_shmem_map.flags */
#define VH_SHMEM_WRITABLE 1u /* else for reading only */

/** struct vh_shmem_map - SHMEM_MAP and SHMEM_UNMAP: a part of a file in a device's shared memory. Sized. */
struct vh_shmem_map {
	uint32_t size;	     /* sizeof(struct vh_shmem_map) */
	uint32_t shmid;	     /* region, below VH_SHMEM_MAX */
	uint64_t fd_offset;  /* where the part begins in the file */
	uint64_t shm_offset; /* and where in the region */
	uint64_t len;	     /* bytes */
	uint64_t flags;	     /* 0 or VH_SHMEM_WRITABLE */
};

/*
 * vh_slave_opts.dialect, vh_master_opts.dialect: peers that have other numbers than the specification. Everything here has
 * the specification's, whatever goes over the socket.
 */
#define VH_DIALECT_SPEC	     0
#define VH_DIALECT_RUST_VMM  1 /* the crate vhost of rust-vmm before 0.17: SHMEM has bit 21 */
#define VH_DIALECT_VIRTIO_FS 2 /* drafts of virtio-fs and what followed them: the requests of VH_FS_*, numbers 6 to 9 */
#define VH_DIALECT_CROSVM    3 /* crosvm: the same, numbers 1002 to 1005 */

/* Requests of a virtio-fs back-end for its cache, which dialects have; their ids here. */
#define VH_FS_MAP   1002 /* map parts of the file into the cache */
#define VH_FS_UNMAP 1003
#define VH_FS_SYNC  1004 /* write back what was changed there */
#define VH_FS_IO    1005 /* read or write between the file and guest memory */

/* Ranges of one such request. */
#define VH_FS_MAX_RANGES 8

/* vh_fs_range.flags */
#define VH_FS_READ  1u /* mapped for reading; IO: read from the file */
#define VH_FS_WRITE 2u

/** struct vh_fs_range - one range of a virtio-fs request. @frozen, 32 bytes. */
struct vh_fs_range {
	uint64_t fd_offset;    /* in the file */
	uint64_t cache_offset; /* in the cache; IO: guest physical address */
	uint64_t len;	       /* bytes, > 0 */
	uint64_t flags;	       /* VH_FS_READ, VH_FS_WRITE */
};

/* Bytes of a hardware address, for SEND_RARP. */
#define VH_MAC_LEN 6

VH_END_DECLS
#endif

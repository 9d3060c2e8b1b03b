/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The vhost-user codec: the message table and what is decided from it. Pure functions: no fds (only their number), no
 * system calls, no state. Parser, sender, logger, tests and the Python kit all read the one table in messages.def.
 */
#ifndef VHI_WIRE_H
#define VHI_WIRE_H

#include "vh/protocol.h"
#include "vhi_base.h"

#define VHI_WIRE_HEADER	      12u
#define VHI_WIRE_MAX_PAYLOAD  4096u
#define VHI_WIRE_MAX_FDS      32u /* that we take: rust-vmm and crosvm send so many */
#define VHI_WIRE_SEND_FDS     8u
#define VHI_WIRE_VERSION      1u
#define VHI_WIRE_REPLY	      4u
#define VHI_WIRE_NEED_REPLY   8u
#define VHI_WIRE_MAX_REGIONS  32u /* of a memory table that we take */
#define VHI_WIRE_SEND_REGIONS 8u
#define VHI_WIRE_VRING_INDEX  0xffu /* in the u64 of KICK, CALL, ERR */
#define VHI_WIRE_VRING_NOFD   0x100u

/* Message ids, VHI_FE_<NAME> and VHI_BE_<NAME> (without BACKEND_), and site numbers. */
#include "vhi_wire_ids.h"

struct vhi_wire_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

/* Payloads, native byte order, exactly as on the wire. */
struct vhi_wire_vring_state {
	uint32_t index;
	uint32_t num;
};
struct vhi_wire_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset;
};
/* Behind each region, once XEN_MMAP is acked. */
struct vhi_wire_xen {
	uint32_t flags; /* VH_MAP_* */
	uint32_t domain;
};
struct vhi_wire_mem_table {
	uint32_t n;
	uint32_t padding;
	struct vhi_wire_region regions[VHI_WIRE_MAX_REGIONS];
};
struct vhi_wire_mem_reg {
	uint64_t padding;
	struct vhi_wire_region region;
};
struct vhi_wire_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[256];
};
/* SET_VRING_ADDR is struct vh_vring_addr of vh/protocol.h. */
struct vhi_wire_log {
	uint64_t mmap_size;
	uint64_t mmap_offset;
};
struct vhi_wire_iotlb {
	uint64_t iova;
	uint64_t size;
	uint64_t uva;
	uint8_t perm; /* 1 read, 2 write, 3 both */
	uint8_t type; /* 1 miss, 2 update, 3 invalidate, 4 access fail */
	uint8_t padding[6];
};
struct vhi_wire_vring_area {
	uint64_t u64; /* VHI_WIRE_VRING_INDEX, VHI_WIRE_VRING_NOFD */
	uint64_t size;
	uint64_t offset;
};
struct vhi_wire_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint8_t padding[4];
};
struct vhi_wire_device_state {
	uint32_t direction; /* 0 save, 1 load */
	uint32_t phase;	    /* 0 stopped */
};
struct vhi_wire_mmap {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags; /* bit 0: writable */
};
/* The requests of virtio-fs that only dialects have: what has no length is not there. */
struct vhi_wire_fs {
	uint64_t fd_offset[8];
	uint64_t cache_offset[8];
	uint64_t len[8];
	uint64_t flags[8]; /* bit 0: readable, bit 1: writable */
};
struct vhi_wire_shmem_config {
	uint32_t n; /* of non-zero sizes */
	uint32_t padding;
	uint64_t sizes[256];
};

/*
 * CREATE_CRYPTO_SESSION: QEMU's own struct, with pointers that mean nothing here. Symmetric and asymmetric parameters
 * lie over each other.
 */
#define VHI_WIRE_CRYPTO_SIZE 1072u
#define VHI_WIRE_CRYPTO_ID   1064u  /* place of the session's number */
#define VHI_WIRE_CRYPTO_ASYM 0x404u /* the operation that creates an asymmetric session */
struct vhi_wire_crypto_sym {
	uint64_t op_code;
	uint32_t cipher_alg, key_len, hash_alg, hash_result_len, auth_key_len, add_len;
	uint8_t op_type, direction, hash_mode, alg_chain_order, padding[4];
	uint64_t pointers[2];
	uint8_t key[64], auth_key[512];
};
struct vhi_wire_crypto_asym {
	uint64_t op_code;
	uint32_t algo, key_type, key_len, padding;
	uint64_t pointer;
	uint32_t rsa_padding_algo, rsa_hash_algo;
	uint8_t key[1024];
};

/* Who sends requests on a channel: the front-end on the main socket, the back-end on its own. */
enum vhi_wire_side { VHI_WIRE_FRONT_END, VHI_WIRE_BACK_END };

/* Reply rules. */
enum vhi_wire_reply {
	VHI_REPLY_RULE_ACK,	/* u64 status, only if need_reply is set and REPLY_ACK was negotiated */
	VHI_REPLY_RULE_OWN,	/* always exactly one reply of its own */
	VHI_REPLY_RULE_OWN_LOG, /* own with LOG_SHMFD, else ACK (SET_LOG_BASE) */
};

/* Ring-state rules. */
enum vhi_wire_ring {
	VHI_RING_ANY,
	VHI_RING_STOPPED,	 /* the ring that it names must be stopped */
	VHI_RING_STOPPED_OR_LOG, /* or only the log flag changes (SET_VRING_ADDR) */
	VHI_RING_STARTS,
	VHI_RING_STOPS,
	VHI_RING_ALL_STOPPED,	/* the whole device suspended */
	VHI_RING_NOT_SUSPENDED, /* back-end requests */
};

/* How a message is refused: in the table, the form of a reply of its own; see vhi_wire_refusal(). */
enum vhi_wire_refusal {
	VHI_REFUSAL_STATUS,	/* u64 1 */
	VHI_REFUSAL_CLOSE,	/* no error form: close */
	VHI_REFUSAL_EMPTY,	/* reply of size 0 (GET_CONFIG) */
	VHI_REFUSAL_MMAP_0,	/* echo with mmap_size 0, no fd (GET_INFLIGHT_FD) */
	VHI_REFUSAL_U64_101,	/* u64 0x101, no fd (SET_DEVICE_STATE_FD) */
	VHI_REFUSAL_U64_1,	/* u64 1 (IOTLB_MSG, CHECK_DEVICE_STATE, ...) */
	VHI_REFUSAL_NO_FD,	/* the reply without its fd (GET_SHARED_OBJECT, POSTCOPY_ADVISE) */
	VHI_REFUSAL_NO_SESSION, /* echo with session -1 (CREATE_CRYPTO_SESSION) */
};

/* Payload kinds: size rule, logger and Python kit go by them. */
enum vhi_wire_payload {
	VHI_P_NONE,
	VHI_P_U64,
	VHI_P_VRING_FD,
	VHI_P_VRING_STATE,
	VHI_P_VRING_ADDR,
	VHI_P_MEM_TABLE,
	VHI_P_MEM_REG,
	VHI_P_LOG,
	VHI_P_IOTLB,
	VHI_P_CONFIG,
	VHI_P_VRING_AREA,
	VHI_P_INFLIGHT,
	VHI_P_UUID,
	VHI_P_DEVICE_STATE,
	VHI_P_MMAP,
	VHI_P_SHMEM_CONFIG,
	VHI_P_CRYPTO,
	VHI_P_FS,
	VHI_P_COUNT
};

/*
 * One row of the table. The strict columns say what we may send (the specification), the lenient ones what we accept
 * (what the peers of the lab do): a feature counts as there when it was offered, not necessarily acked.
 */
struct vhi_wire_msg {
	const char *name; /* without VHOST_USER_ */
	uint16_t id;
	uint16_t min, max; /* payload bytes that we send */
	uint16_t accept_min, accept_max;
	uint8_t fd_min, fd_max; /* that we send */
	uint8_t accept_fd_min, accept_fd_max;
	uint8_t payload;	       /* enum vhi_wire_payload */
	uint8_t reply;		       /* enum vhi_wire_reply */
	uint8_t reply_payload;	       /* enum vhi_wire_payload of an own reply */
	uint16_t reply_min, reply_max; /* bytes that we accept in an own reply */
	uint8_t reply_fd_max;
	uint8_t refusal;    /* enum vhi_wire_refusal */
	uint8_t ring;	    /* enum vhi_wire_ring */
	uint64_t pf;	    /* protocol feature bits: all must be acked to send, all offered to accept */
	uint64_t vf_send;   /* feature bits that must be acked to send */
	uint64_t vf_accept; /* feature bits that must have been offered to send or accept */
	uint32_t dialects;  /* bits: the only ones that have it, 0 = all have it */
};

/* NULL when there is no such message. One that only some dialects have is found as well. */
const struct vhi_wire_msg *vhi_wire_find(enum vhi_wire_side side, uint32_t id);
/* All rows of a side, in the order of ids. */
const struct vhi_wire_msg *vhi_wire_table(enum vhi_wire_side side, size_t *n);

/* Has this dialect the request @id of the back-end's, which not all have? */
bool vhi_wire_in_dialect(uint32_t id, uint32_t dialect);

/* What a connection has offered and acked; the facts that gates are decided on. */
struct vhi_wire_features {
	uint64_t offered; /* GET_FEATURES reply */
	uint64_t acked;	  /* SET_FEATURES */
	uint64_t pf_offered;
	uint64_t pf_acked;
	uint32_t dialect; /* VH_DIALECT_* */
};

/*
 * Receiving. First the header alone, before a byte of payload is read: everything that decides whether the stream can
 * still be followed. A failure here ends the connection. @reply: a reply is expected, not a request.
 * Returns 0 or a site number.
 */
uint32_t vhi_wire_check_header(const struct vhi_wire_header *h, bool reply);

/*
 * Then a whole request: size, fd count, feature gate and the field rules that need no state. Not checked here: ring
 * indexes and sizes (the queue's), regions and addresses (memory's), bits that were not offered, anything that depends
 * on what came before. A back-end request must fit what was acked, not only offered: its sender knows that for sure.
 * Returns 0 or a site number; the caller refuses in the form that vhi_wire_refusal() says.
 * @payload has h->size bytes, any alignment.
 */
uint32_t vhi_wire_check_request(enum vhi_wire_side side, const struct vhi_wire_header *h, const void *payload,
				uint32_t n_fds, const struct vhi_wire_features *f);

/*
 * A reply to @request, a request of @side: id, size, fds and field rules. @own: of its own, else a status. The
 * header has passed vhi_wire_check_header(). Returns 0 or a site number.
 */
uint32_t vhi_wire_check_reply(enum vhi_wire_side side, const struct vhi_wire_msg *request, bool own,
			      const struct vhi_wire_header *h, const void *payload, uint32_t n_fds);

/* Sending: the strict column. Returns 0 or a site number. */
uint32_t vhi_wire_check_send(const struct vhi_wire_msg *msg, uint32_t size, uint32_t n_fds,
			     const struct vhi_wire_features *f);

/* Does this request get a reply, and of which kind? need_reply counts only with REPLY_ACK acked. */
enum vhi_wire_answer { VHI_ANSWER_NONE, VHI_ANSWER_STATUS, VHI_ANSWER_OWN };
/* It has a reply of its own, and there are back-ends that send that only when they are asked to. */
static inline bool vhi_wire_begs(const struct vhi_wire_msg *msg, enum vhi_wire_side side)
{
	return msg && side == VHI_WIRE_FRONT_END && msg->id == VHI_FE_IOTLB_MSG;
}
enum vhi_wire_answer vhi_wire_answer(const struct vhi_wire_msg *msg, uint32_t flags, const struct vhi_wire_features *f);
/*
 * The form in which a request with these header flags is refused: its own where it has a reply of its own, STATUS where
 * a status is due, CLOSE where nothing is. @msg NULL: an unknown id.
 */
enum vhi_wire_refusal vhi_wire_refusal(const struct vhi_wire_msg *msg, uint32_t flags,
				       const struct vhi_wire_features *f);

/* Protocol feature bits whose dependencies are in @bits too; bits without them are dropped. */
uint64_t vhi_wire_pf_closure(uint64_t bits);

/* Bytes of struct vhi_wire_xen behind each region: all of it, or none. */
static inline uint32_t vhi_wire_xen_size(const struct vhi_wire_features *f)
{
	return f->pf_acked & VHI_BIT(VH_PF_XEN_MMAP) ? (uint32_t)sizeof(struct vhi_wire_xen) : 0;
}

/* The text of a site number of this folder, NULL for another. */
const char *vhi_wire_site_text(uint32_t site);

#endif

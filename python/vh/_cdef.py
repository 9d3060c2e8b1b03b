# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
# Made from include/vh/*.h by ./run regen; do not edit.
"""The C side as cffi reads it: declarations, callbacks, and which threads may call what."""

CDEF = """
typedef int32_t vh_rc;
typedef int32_t vh_count;
typedef int32_t vh_fd;
typedef uint64_t vh_gpa;
typedef uint64_t vh_uva;
typedef uint64_t vh_iova;
struct vh_mem;
struct vh_snapshot;
struct vh_dirty;
struct vh_iotlb;
struct vh_queue;
struct vh_device;
struct vh_slave;
struct vh_vduse;
struct vh_master;
struct vh_backend;
struct vh_driver;
struct vh_blk;
struct vh_net;
struct vh_gpu;
struct vh_postcopy;
struct vh_kern;
struct vh_vdpa;
struct vh_vdpa_mgmt;
struct vh_metrics;
struct vh_metrics_reader;
struct vh_vduse_opts {
    uint32_t size;
    uint32_t flags;
    uint32_t drain_timeout_ms;
    uint32_t budget;
    uint32_t coalesce;
    uint32_t vendor_id;
    uint32_t groups;
    uint32_t address_spaces;
    uint64_t more_features;
    uint64_t mask_features;
};
struct vh_vduse_info {
    uint32_t size;
    uint32_t status;
    uint64_t offered;
    uint64_t features;
    uint32_t api_version;
    uint32_t taken_up;
    uint32_t n_queues;
    uint32_t running;
    uint32_t owed;
    uint32_t regions;
    uint64_t messages;
    uint64_t refused;
    uint64_t interrupts;
    uint64_t umem;
    int32_t umem_rc;
    uint32_t reserved;
};
struct vh_error {
    uint32_t size;
    int32_t code;
    uint32_t domain;
    uint32_t queue;
    uint32_t request;
    uint32_t site;
    char text[232];
};
struct vh_logger_ops {
    uint32_t size;
    uint32_t level;
    void (*destroy)(void *ctx);
    void (*line)(void *ctx, uint32_t level, const char *text);
};
struct vh_msg_info {
    uint32_t size;
    uint32_t direction;
    uint32_t channel;
    uint32_t request;
    uint32_t flags;
    uint32_t payload_size;
    uint32_t n_fds;
    uint32_t verdict;
    uint64_t time_ns;
    uint64_t payload;
};
struct vh_trace_ops {
    uint32_t size;
    uint32_t flags;
    void (*destroy)(void *ctx);
    void (*message)(void *ctx, const struct vh_msg_info *info);
};
struct vh_event {
    uint32_t size;
    uint32_t kind;
    uint32_t queue;
    int32_t reason;
    uint64_t value;
    uint64_t count;
};
struct vh_metrics_opts {
    uint32_t size;
    uint32_t max_rows;
    uint32_t interval_ms;
    uint32_t reserved;
};
struct vh_metrics_prop {
    uint32_t size;
    uint32_t type;
    uint32_t space;
    uint32_t flags;
    char name[64];
    char unit[64];
    char help[128];
};
struct vh_metrics_row {
    uint32_t size;
    uint32_t kind;
    uint32_t row;
    uint32_t connection;
    uint32_t n_values;
    uint32_t reserved;
    uint64_t now_ns;
    uint64_t values[64];
    char name[64];
    char address[128];
};
struct vh_metrics_info {
    uint32_t size;
    uint32_t version;
    uint32_t pid;
    uint32_t max_rows;
    uint32_t interval_ms;
    uint32_t reserved;
    uint64_t made_ns;
    char name[64];
};
struct vh_reconnect {
    uint32_t size;
    uint32_t max_tries;
    uint32_t first_ms;
    uint32_t max_ms;
    uint32_t jitter;
    uint32_t flags;
};
struct vh_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};
struct vh_crypto_session {
    uint32_t size;
    uint32_t algo;
    uint64_t op_code;
    uint64_t key;
    uint64_t auth_key;
    uint32_t key_len;
    uint32_t auth_key_len;
    uint32_t hash_alg;
    uint32_t hash_result_len;
    uint32_t add_len;
    uint32_t op_type;
    uint32_t direction;
    uint32_t hash_mode;
    uint32_t alg_chain_order;
    uint32_t key_type;
    uint32_t rsa_padding_algo;
    uint32_t rsa_hash_algo;
};
struct vh_shmem_map {
    uint32_t size;
    uint32_t shmid;
    uint64_t fd_offset;
    uint64_t shm_offset;
    uint64_t len;
    uint64_t flags;
};
struct vh_fs_range {
    uint64_t fd_offset;
    uint64_t cache_offset;
    uint64_t len;
    uint64_t flags;
};
struct vh_msg {
    uint32_t size;
    uint32_t request;
    uint32_t reply;
    uint32_t payload_size;
    uint64_t payload;
    uint32_t n_fds;
    uint32_t reserved;
};
struct vh_msg_reply {
    uint32_t size;
    uint32_t request;
    uint32_t flags;
    uint32_t payload_size;
    uint32_t n_fds;
    uint32_t reserved;
};
struct vh_msg_request {
    uint32_t size;
    uint32_t request;
    uint32_t payload_size;
    uint32_t n_fds;
    uint64_t payload;
    uint64_t fds;
    uint64_t token;
};
struct vh_region {
    vh_gpa gpa;
    vh_uva uva;
    uint64_t len;
    uint64_t offset;
    uint64_t host;
    uint64_t page_size;
    uint32_t flags;
    uint32_t number;
    uint32_t map_flags;
    uint32_t map_domain;
};
struct vh_seg {
    uint64_t addr;
    uint64_t len;
};
struct vh_mem_opts {
    uint32_t size;
    uint32_t flags;
    uint32_t max_regions;
    uint32_t require_seal;
};
struct vh_dirty_info {
    uint32_t size;
    uint32_t broken;
    uint64_t offset;
    uint64_t len;
    uint64_t pages;
    uint64_t lost;
};
struct vh_iotlb_opts {
    uint32_t size;
    uint32_t flags;
    uint32_t max_entries;
    uint32_t reserved;
};
struct vh_iotlb_entry {
    vh_iova iova;
    uint64_t len;
    uint64_t addr;
    uint32_t perm;
    uint32_t flags;
};
struct vh_iotlb_miss {
    uint32_t size;
    uint32_t perm;
    vh_iova iova;
};
struct vh_iotlb_stats {
    uint32_t size;
    uint32_t entries;
    uint32_t max_entries;
    uint32_t waiting;
    uint64_t updates;
    uint64_t invalidations;
    uint64_t evicted;
    uint64_t misses;
    uint64_t dropped;
    uint64_t timed_out;
};
struct vh_req {
    uint64_t token;
    uint64_t segs;
    uint64_t user;
    uint64_t rd_len;
    uint64_t wr_len;
    uint32_t n_rd;
    uint32_t n_wr;
    uint32_t seq;
    uint16_t queue;
    uint16_t flags;
    uint32_t mem;
    uint32_t reserved;
};
struct vh_cpl {
    uint64_t token;
    uint32_t written;
    uint32_t flags;
};
struct vh_queue_opts {
    uint32_t size;
    uint32_t role;
    uint32_t num;
    uint32_t index;
    uint64_t features;
    vh_gpa desc;
    vh_gpa driver;
    vh_gpa device;
    uint32_t base;
    uint32_t max_segs;
    vh_gpa indirect;
    uint32_t max_indirect;
    uint32_t flags;
};
struct vh_queue_stats {
    uint32_t size;
    uint32_t state;
    uint64_t requests;
    uint64_t completed;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t kicks;
    uint64_t calls;
    uint64_t errors;
    uint64_t seg_waits;
    uint32_t in_flight;
    uint32_t broken_site;
    uint64_t oldest_in_flight_ns;
    uint64_t failed;
    uint64_t iotlb_misses;
};
struct vh_inflight {
    uint32_t size;
    uint32_t num_queues;
    uint32_t queue_size;
    uint32_t reserved;
    uint64_t mmap_size;
    uint64_t mmap_offset;
};
struct vh_device_ops {
    uint32_t size;
    uint32_t flags;
    void (*destroy)(void *ctx);
    vh_rc (*get_config)(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later);
    vh_rc (*set_config)(void *ctx, uint32_t offset, const void *buf, uint32_t len, uint32_t flags, uint64_t later);
    vh_rc (*set_features)(void *ctx, uint64_t features, uint64_t later);
    vh_rc (*reset)(void *ctx, uint64_t later);
    void (*queue_started)(void *ctx, struct vh_queue *q, uint32_t index);
    void (*queue_stopped)(void *ctx, struct vh_queue *q, uint32_t index);
    vh_count (*on_batch)(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget);
    vh_fd (*poll_fd)(void *ctx);
    vh_rc (*on_poll)(void *ctx);
    vh_rc (*send_rarp)(void *ctx, const void *mac, uint32_t len, uint64_t later);
    vh_rc (*set_mtu)(void *ctx, uint32_t mtu, uint64_t later);
    vh_count (*create_crypto_session)(void *ctx, const struct vh_crypto_session *session, uint64_t later);
    vh_rc (*close_crypto_session)(void *ctx, int64_t id, uint64_t later);
    vh_rc (*set_gpu_socket)(void *ctx, vh_fd fd, uint64_t later);
    vh_count (*save_state)(void *ctx, uint64_t offset, void *buf, uint32_t cap, uint64_t later);
    vh_rc (*load_state)(void *ctx, uint64_t offset, const void *buf, uint32_t len, uint64_t later);
    vh_fd (*get_shared_object)(void *ctx, const void *uuid, uint32_t len, uint64_t later);
};
struct vh_device_opts {
    uint32_t size;
    uint32_t type;
    uint64_t features;
    uint32_t max_queues;
    uint32_t max_queue_size;
};
struct vh_blkdev_opts {
    uint32_t size;
    uint32_t kind;
    uint64_t capacity;
    uint32_t flags;
    uint32_t max_queues;
    uint32_t max_queue_size;
    uint32_t block_size;
    char serial[20];
    uint32_t reserved;
};
struct vh_net_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
};
struct vh_netdev_opts {
    uint32_t size;
    uint32_t kind;
    uint32_t pairs;
    uint32_t max_queue_size;
    uint32_t mtu;
    uint32_t frame;
    uint8_t mac[6];
    uint16_t reserved;
};
struct vh_gpu_opts {
    uint32_t size;
    uint32_t timeout_ms;
    uint64_t features;
    uint64_t max_data;
};
struct vh_gpu_msg {
    uint32_t size;
    uint32_t request;
    uint32_t scanout_id;
    uint32_t x;
    uint32_t y;
    uint32_t width;
    uint32_t height;
    uint32_t hot_x;
    uint32_t hot_y;
    uint32_t fd_width;
    uint32_t fd_height;
    uint32_t fd_stride;
    uint32_t fd_flags;
    uint32_t fd_fourcc;
    uint64_t modifier;
    uint64_t data;
    uint64_t data_size;
};
struct vh_gpu_mode {
    uint32_t x;
    uint32_t y;
    uint32_t width;
    uint32_t height;
    uint32_t enabled;
    uint32_t flags;
};
struct vh_slave_opts {
    uint32_t size;
    uint32_t message_timeout_ms;
    uint32_t drain_timeout_ms;
    uint32_t budget;
    uint64_t more_features;
    uint64_t mask_features;
    uint64_t mask_protocol_features;
    uint32_t require_seal;
    uint32_t socket_mode;
    uint64_t max_state_bytes;
    uint64_t more_protocol_features;
    uint32_t dialect;
    uint32_t postcopy;
    uint32_t poll_us;
    uint32_t coalesce;
};
struct vh_slave_ops {
    uint32_t size;
    uint32_t flags;
    void (*destroy)(void *ctx);
    vh_rc (*request)(void *ctx, const struct vh_msg_request *req);
};
struct vh_slave_stats {
    uint32_t size;
    uint32_t connected;
    uint64_t connections;
    uint64_t refused;
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t rejected;
    uint64_t errors;
    uint32_t owed;
    uint32_t n_queues;
    uint64_t oldest_owed_ns;
    uint64_t conn_messages_in;
    uint64_t conn_messages_out;
    uint64_t conn_bytes_in;
    uint64_t conn_bytes_out;
    uint64_t conn_rejected;
    uint64_t queue_requests;
    uint64_t queue_completed;
    uint64_t queue_failed;
    uint64_t queue_bytes_in;
    uint64_t queue_bytes_out;
    uint64_t queue_kicks;
    uint64_t queue_calls;
    uint64_t queue_errors;
    uint64_t queue_in_flight;
    uint64_t oldest_in_flight_ns;
};
struct vh_master_opts {
    uint32_t size;
    uint32_t timeout_ms;
    uint64_t mask_protocol_features;
    uint64_t mask_features;
    uint64_t more_protocol_features;
    uint32_t dialect;
    uint32_t reserved;
};
struct vh_master_ops {
    uint32_t size;
    uint32_t flags;
    void (*destroy)(void *ctx);
    vh_rc (*backend_request)(void *ctx, const struct vh_msg_request *req);
    vh_rc (*iotlb_miss)(void *ctx, vh_iova iova, uint32_t perm);
    vh_rc (*waiting)(void *ctx);
    vh_rc (*shmem_map)(void *ctx, const struct vh_shmem_map *map, vh_fd fd, uint64_t token);
    vh_rc (*shmem_unmap)(void *ctx, const struct vh_shmem_map *map, uint64_t token);
    vh_rc (*host_notifier)(void *ctx, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len, uint64_t token);
    vh_rc (*object_added)(void *ctx, const void *uuid, uint32_t len, uint64_t token);
    vh_rc (*object_removed)(void *ctx, const void *uuid, uint32_t len, uint64_t token);
    vh_fd (*object_wanted)(void *ctx, const void *uuid, uint32_t len, uint64_t token);
    vh_rc (*fs_request)(void *ctx, uint32_t op, const struct vh_fs_range *ranges, uint32_t n, vh_fd fd, uint64_t token);
};
struct vh_master_stats {
    uint32_t size;
    uint32_t connected;
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t rejected;
    uint64_t backend_requests;
    uint32_t tickets;
    uint32_t reserved;
    uint64_t oldest_ticket_ns;
};
struct vh_vdpa_opts {
    uint32_t size;
    uint32_t flags;
    uint64_t mask_features;
};
struct vh_vdpa_info {
    uint32_t size;
    uint32_t device_id;
    uint64_t features;
    uint64_t backend_features;
    uint64_t first_iova;
    uint64_t last_iova;
    uint32_t max_vring_num;
    uint32_t num_vrings;
    uint32_t num_groups;
    uint32_t num_asids;
    uint32_t config_size;
    uint32_t status;
};
struct vh_vdpa_mgmt_opts {
    uint32_t size;
    uint32_t timeout_ms;
};
struct vh_vdpa_mgmtdev {
    uint32_t size;
    uint32_t max_vqs;
    uint64_t classes;
    uint64_t features;
    char bus[64];
    char name[256];
};
struct vh_vdpa_dev {
    uint32_t size;
    uint32_t device_id;
    uint32_t vendor_id;
    uint32_t max_vqs;
    uint32_t max_vq_size;
    uint32_t min_vq_size;
    char name[256];
    char mgmt_bus[64];
    char mgmt_name[256];
};
struct vh_vdpa_attrs {
    uint32_t size;
    uint32_t mtu;
    uint64_t has;
    uint64_t features;
    uint32_t max_vqp;
    uint8_t mac[6];
    uint8_t reserved[6];
};
struct vh_vdpa_config {
    uint32_t size;
    uint32_t device_id;
    uint64_t has;
    uint64_t features;
    uint64_t negotiated;
    uint64_t capacity;
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
    uint32_t read_only;
    uint32_t flush;
    uint8_t mac[6];
    uint8_t reserved[2];
};
struct vh_vdpa_stat {
    uint32_t size;
    uint32_t queue;
    uint64_t value;
    char name[64];
};
struct vh_vdpa_place {
    uint32_t size;
    int32_t node;
    uint32_t major;
    uint32_t minor;
    char name[256];
    char driver[64];
    char parent_bus[64];
    char parent[256];
    char path[256];
    char virtio[64];
};
struct vh_state_opts {
    uint32_t size;
    uint32_t timeout_ms;
    uint64_t max_bytes;
};
struct vh_postcopy_fault {
    uint32_t size;
    uint32_t flags;
    uint64_t gpa;
    uint64_t address;
    uint64_t page_size;
};
struct vh_kern_opts {
    uint32_t size;
    uint32_t kind;
    uint32_t flags;
    uint32_t reserved;
    uint64_t mask_features;
    uint64_t more_features;
};
struct vh_kern_ioctl {
    uint32_t request;
    uint32_t state;
};
struct vh_driver_opts {
    uint32_t size;
    uint32_t n_queues;
    uint32_t queue_size;
    uint32_t type;
    uint64_t features;
    uint64_t mask_features;
    uint64_t iova_offset;
    uint32_t flags;
    uint32_t poll_us;
};
struct vh_driver_ring {
    uint32_t size;
    uint32_t num;
    uint64_t desc;
    uint64_t driver;
    uint64_t device;
    uint32_t base;
    uint32_t flags;
};
struct vh_blk_io {
    uint32_t op;
    uint32_t flags;
    uint64_t offset;
    uint64_t addr;
    uint64_t len;
    uint64_t user;
    uint64_t reserved;
};
struct vh_blk_done {
    uint64_t user;
    int32_t rc;
    uint32_t reserved;
};
struct vh_blk_info {
    uint32_t size;
    uint32_t block_size;
    uint64_t capacity;
    uint64_t features;
    uint32_t read_only;
    uint32_t n_queues;
    uint32_t max_queues;
    uint32_t seg_max;
    uint32_t max_discard;
    uint32_t max_write_zeroes;
    uint32_t write_cache;
    uint32_t max_bytes;
};
struct vh_net_frame {
    uint64_t data;
    uint64_t room;
    uint32_t len;
    uint32_t flags;
    uint32_t reserved;
    uint8_t hdr_flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
};
struct vh_net_opts {
    uint32_t size;
    uint32_t frame_max;
};
struct vh_net_info {
    uint32_t size;
    uint32_t n_pairs;
    uint64_t features;
    uint32_t frame_max;
    uint32_t mtu;
    uint32_t max_pairs;
    uint32_t link_up;
    uint8_t mac[6];
    uint16_t reserved;
};
#define VH_F_NOTIFY_ON_EMPTY 24
#define VH_F_LOG_ALL 26
#define VH_F_ANY_LAYOUT 27
#define VH_F_RING_INDIRECT_DESC 28
#define VH_F_RING_EVENT_IDX 29
#define VH_F_PROTOCOL_FEATURES 30
#define VH_F_VERSION_1 32
#define VH_F_ACCESS_PLATFORM 33
#define VH_F_RING_PACKED 34
#define VH_F_IN_ORDER 35
#define VH_F_ORDER_PLATFORM 36
#define VH_F_NOTIFICATION_DATA 38
#define VH_F_RING_RESET 40
#define VH_TYPE_NET 1
#define VH_TYPE_BLK 2
#define VH_POLL_ALWAYS 4294967295
#define VH_VDUSE_MAKE 1
#define VH_VDUSE_TAKE_UP 2
#define VH_VDUSE_UMEM 4
#define VH_VERSION_MAJOR 0
#define VH_VERSION_MINOR 1
#define VH_VERSION_PATCH 0
#define VH_ERROR_ARGUMENT 1
#define VH_ERROR_SYSTEM 2
#define VH_ERROR_PEER 3
#define VH_ERROR_MEMORY 4
#define VH_ERROR_QUEUE 5
#define VH_ERROR_DEVICE 6
#define VH_ERROR_STATE 7
#define VH_ERROR_NONE 4294967295
#define VH_ERROR_TEXT_SIZE 232
#define VH_LOG_ERROR 1
#define VH_LOG_WARNING 2
#define VH_LOG_INFO 3
#define VH_LOG_DEBUG 4
#define VH_MSG_SENT 0
#define VH_MSG_RECEIVED 1
#define VH_MSG_CHANNEL_MAIN 0
#define VH_MSG_CHANNEL_BACKEND 1
#define VH_EVENT_CONNECTED 1
#define VH_EVENT_DISCONNECTED 2
#define VH_EVENT_CHANNEL_ENDED 24
#define VH_EVENT_REFUSED 3
#define VH_EVENT_STARTED 4
#define VH_EVENT_STOPPED 5
#define VH_EVENT_ENABLED 6
#define VH_EVENT_DISABLED 7
#define VH_EVENT_DRAINING 8
#define VH_EVENT_BROKEN 9
#define VH_EVENT_MEMORY_CHANGED 10
#define VH_EVENT_CONFIG_WRITTEN 11
#define VH_EVENT_RESET 12
#define VH_EVENT_STATUS 13
#define VH_EVENT_NEGOTIATED 14
#define VH_EVENT_DEVICE_ERROR 15
#define VH_EVENT_PAUSED 16
#define VH_EVENT_DIRTY_LOST 17
#define VH_EVENT_INFLIGHT_LOST 18
#define VH_EVENT_RESUBMITTED 19
#define VH_EVENT_IOTLB_TIMEOUT 20
#define VH_EVENT_IOTLB_FAULT 21
#define VH_EVENT_STATE 22
#define VH_EVENT_POSTCOPY 23
#define VH_EVENT_RECONNECTING 32
#define VH_EVENT_GAVE_UP 33
#define VH_POSTCOPY_OFF 0
#define VH_POSTCOPY_ADVISED 1
#define VH_POSTCOPY_LISTENS 2
#define VH_POSTCOPY_SHARED 3
#define VH_EVENT_CONFIG_CHANGED 64
#define VH_EVENT_BACKEND_REQUEST 65
#define VH_EVENT_SHMEM_RESET 66
#define VH_EVENT_STATE_MOVED 70
#define VH_EVENT_NEEDS_RESET 96
#define VH_EVENT_SESSION_RUNNING 97
#define VH_START_KICK_FD 1
#define VH_START_COMPLETED 2
#define VH_START_KICK 3
#define VH_START_DRIVER_OK 4
#define VH_METRICS_CONNECTION 1
#define VH_METRICS_QUEUE 2
#define VH_METRICS_NUMBER 1
#define VH_METRICS_COUNTER 2
#define VH_METRICS_TIME 3
#define VH_METRICS_CHOICE 4
#define VH_METRICS_BITS 5
#define VH_METRICS_REQUEST 6
#define VH_METRICS_TEXT 7
#define VH_METRICS_BRIEF 1
#define VH_METRICS_SPACE_DEVICE 4294967295
#define VH_METRICS_MAX_PROPS 64
#define VH_METRICS_NAME_SIZE 64
#define VH_METRICS_ADDRESS_SIZE 128
#define VH_METRICS_HELP_SIZE 128
#define VH_METRICS_UNKNOWN 18446744073709551615
#define VH_MSG_MAX_FDS 32
#define VH_MSG_SEND_FDS 8
#define VH_MSG_MAX_PAYLOAD 4096
#define VH_CONFIG_MAX 256
#define VH_CONFIG_WRITE 0
#define VH_CONFIG_MIGRATION 1
#define VH_PF_MQ 0
#define VH_PF_LOG_SHMFD 1
#define VH_PF_RARP 2
#define VH_PF_REPLY_ACK 3
#define VH_PF_MTU 4
#define VH_PF_BACKEND_REQ 5
#define VH_PF_CROSS_ENDIAN 6
#define VH_PF_CRYPTO_SESSION 7
#define VH_PF_PAGEFAULT 8
#define VH_PF_CONFIG 9
#define VH_PF_BACKEND_SEND_FD 10
#define VH_PF_HOST_NOTIFIER 11
#define VH_PF_INFLIGHT_SHMFD 12
#define VH_PF_RESET_DEVICE 13
#define VH_PF_INBAND_NOTIFICATIONS 14
#define VH_PF_CONFIGURE_MEM_SLOTS 15
#define VH_PF_STATUS 16
#define VH_PF_XEN_MMAP 17
#define VH_PF_SHARED_OBJECT 18
#define VH_PF_DEVICE_STATE 19
#define VH_PF_GET_VRING_BASE_INFLIGHT 20
#define VH_PF_GPA_ADDRESSES 21
#define VH_PF_SHMEM 22
#define VH_PF_GET_VRING_BASE_SKIP_DRAIN 23
#define VH_VRING_LOG 1
#define VH_UUID_LEN 16
#define VH_SHMEM_MAX 256
#define VH_SHMEM_WRITABLE 1
#define VH_DIALECT_SPEC 0
#define VH_DIALECT_RUST_VMM 1
#define VH_DIALECT_VIRTIO_FS 2
#define VH_DIALECT_CROSVM 3
#define VH_FS_MAP 1002
#define VH_FS_UNMAP 1003
#define VH_FS_SYNC 1004
#define VH_FS_IO 1005
#define VH_FS_MAX_RANGES 8
#define VH_FS_READ 1
#define VH_FS_WRITE 2
#define VH_MAC_LEN 6
#define VH_REPLY_TABLE 0
#define VH_REPLY_NONE 1
#define VH_REPLY_ACK 2
#define VH_REPLY_OWN 3
#define VH_MEM_MAX_REGIONS 509
#define VH_MEM_READ 1
#define VH_MEM_WRITE 2
#define VH_REGION_HUGE 1
#define VH_REGION_SEALED 2
#define VH_REGION_BROKEN 4
#define VH_MAP_XEN_FOREIGN 1
#define VH_MAP_XEN_GRANT 2
#define VH_MAP_ON_DEMAND 256
#define VH_DIRTY_PAGE 4096
#define VH_IOTLB_USER_ADDR 1
#define VH_IOTLB_EVICT 2
#define VH_IOTLB_MAX_ENTRIES 65536
#define VH_IOTLB_MAX_MISSES 64
#define VH_QUEUE_MAX_SIZE 32768
#define VH_QUEUE_PACKED_BASE 2147516416
#define VH_QUEUE_DEVICE 1
#define VH_QUEUE_DRIVER 2
#define VH_REQ_RESUBMITTED 1
#define VH_REQ_LAST 2
#define VH_QUEUE_HOLD 1
#define VH_QUEUE_STOPPED 0
#define VH_QUEUE_RUNNING 1
#define VH_QUEUE_DRAINING 2
#define VH_QUEUE_BROKEN 3
#define VH_QUEUE_SLEEP 0
#define VH_QUEUE_MORE 1
#define VH_QUEUE_LOG_USED 1
#define VH_DEVICE_MANUAL_QUEUES 1
#define VH_DEVICE_NO_REPEAT 2
#define VH_BLKDEV_NULL 1
#define VH_BLKDEV_RAM 2
#define VH_BLKDEV_FILE 3
#define VH_BLKDEV_READONLY 1
#define VH_BLKDEV_NO_URING 2
#define VH_NET_F_CSUM 0
#define VH_NET_F_GUEST_CSUM 1
#define VH_NET_F_MTU 3
#define VH_NET_F_MAC 5
#define VH_NET_F_GUEST_TSO4 7
#define VH_NET_F_GUEST_TSO6 8
#define VH_NET_F_GUEST_ECN 9
#define VH_NET_F_GUEST_UFO 10
#define VH_NET_F_HOST_TSO4 11
#define VH_NET_F_HOST_TSO6 12
#define VH_NET_F_HOST_ECN 13
#define VH_NET_F_HOST_UFO 14
#define VH_NET_F_MRG_RXBUF 15
#define VH_NET_F_STATUS 16
#define VH_NET_F_CTRL_VQ 17
#define VH_NET_F_CTRL_RX 18
#define VH_NET_F_CTRL_VLAN 19
#define VH_NET_F_GUEST_ANNOUNCE 21
#define VH_NET_F_MQ 22
#define VH_NET_F_CTRL_MAC_ADDR 23
#define VH_NET_HDR_SIZE 12
#define VH_NET_FRAME_MIN 14
#define VH_NET_FRAME_MAX 65553
#define VH_NETDEV_LOOPBACK 1
#define VH_NETDEV_TAP 2
#define VH_NETDEV_SINK 3
#define VH_NETDEV_SOURCE 4
#define VH_GPU_GET_PROTOCOL_FEATURES 1
#define VH_GPU_SET_PROTOCOL_FEATURES 2
#define VH_GPU_GET_DISPLAY_INFO 3
#define VH_GPU_CURSOR_POS 4
#define VH_GPU_CURSOR_POS_HIDE 5
#define VH_GPU_CURSOR_UPDATE 6
#define VH_GPU_SCANOUT 7
#define VH_GPU_UPDATE 8
#define VH_GPU_DMABUF_SCANOUT 9
#define VH_GPU_DMABUF_UPDATE 10
#define VH_GPU_GET_EDID 11
#define VH_GPU_DMABUF_SCANOUT2 12
#define VH_GPU_PF_EDID 0
#define VH_GPU_PF_DMABUF2 1
#define VH_GPU_MAX_SCANOUTS 16
#define VH_GPU_CURSOR_BYTES 16384
#define VH_GPU_EDID_MAX 1024
#define VH_VDPA_S_ACKNOWLEDGE 1
#define VH_VDPA_S_DRIVER 2
#define VH_VDPA_S_DRIVER_OK 4
#define VH_VDPA_S_FEATURES_OK 8
#define VH_VDPA_S_NEEDS_RESET 64
#define VH_VDPA_S_FAILED 128
#define VH_VDPA_BF_MSG_V2 1
#define VH_VDPA_BF_BATCH 2
#define VH_VDPA_BF_ASID 3
#define VH_VDPA_BF_SUSPEND 4
#define VH_VDPA_BF_RESUME 5
#define VH_VDPA_BF_ENABLE_AFTER_DRIVER_OK 6
#define VH_VDPA_BF_DESC_ASID 7
#define VH_VDPA_BF_PERSIST 8
#define VH_VDPA_MAX_CONFIG 4096
#define VH_VDPA_NAME_SIZE 256
#define VH_VDPA_TEXT_SIZE 64
#define VH_VDPA_HAS_MAC 10
#define VH_VDPA_HAS_NET_STATUS 11
#define VH_VDPA_HAS_MAX_VQP 12
#define VH_VDPA_HAS_MTU 13
#define VH_VDPA_HAS_NEGOTIATED 14
#define VH_VDPA_HAS_FEATURES 20
#define VH_VDPA_HAS_CAPACITY 21
#define VH_VDPA_HAS_SIZE_MAX 22
#define VH_VDPA_HAS_BLK_SIZE 23
#define VH_VDPA_HAS_SEG_MAX 24
#define VH_VDPA_HAS_NUM_QUEUES 25
#define VH_VDPA_HAS_PHYS_BLOCK_EXP 26
#define VH_VDPA_HAS_ALIGN_OFFSET 27
#define VH_VDPA_HAS_MIN_IO 28
#define VH_VDPA_HAS_OPT_IO 29
#define VH_VDPA_HAS_MAX_DISCARD 30
#define VH_VDPA_HAS_MAX_DISCARD_SEG 31
#define VH_VDPA_HAS_DISCARD_ALIGN 32
#define VH_VDPA_HAS_MAX_WRITE_ZEROES 33
#define VH_VDPA_HAS_MAX_WRITE_ZEROES_SEG 34
#define VH_VDPA_HAS_READ_ONLY 35
#define VH_VDPA_HAS_FLUSH 36
#define VH_STATE_SAVE 0
#define VH_STATE_LOAD 1
#define VH_STATE_STOPPED 0
#define VH_POSTCOPY_WRITE 1
#define VH_KERN_NET 1
#define VH_KERN_VSOCK 2
#define VH_KERN_SCSI 3
#define VH_KERN_NET_HDR 1
#define VH_KERN_IOCTL_NO 0
#define VH_KERN_IOCTL_YES 1
#define VH_KERN_IOCTL_UNKNOWN 2
#define VH_KERN_MAX_CONFIG 256
#define VH_KERN_MAX_FEATURES 64
#define VH_KERN_WWPN_MAX 224
#define VH_KERN_BF_IOTLB_MSG_V2 1
#define VH_KERN_LITTLE_ENDIAN 0
#define VH_KERN_BIG_ENDIAN 1
#define VH_DRIVER_STOP_DROP 1
#define VH_DRIVER_IOMMU 1
#define VH_DRIVER_RING_OFF 1
#define VH_DRIVER_RING_NEEDS_RESET 2
#define VH_BLK_SECTOR 512
#define VH_BLK_ID_SIZE 20
#define VH_BLK_READ 0
#define VH_BLK_WRITE 1
#define VH_BLK_FLUSH 4
#define VH_BLK_GET_ID 8
#define VH_BLK_DISCARD 11
#define VH_BLK_WRITE_ZEROES 13
#define VH_BLK_UNMAP 1
#define VH_BLK_F_SIZE_MAX 1
#define VH_BLK_F_SEG_MAX 2
#define VH_BLK_F_GEOMETRY 4
#define VH_BLK_F_RO 5
#define VH_BLK_F_BLK_SIZE 6
#define VH_BLK_F_FLUSH 9
#define VH_BLK_F_TOPOLOGY 10
#define VH_BLK_F_CONFIG_WCE 11
#define VH_BLK_F_MQ 12
#define VH_BLK_F_DISCARD 13
#define VH_BLK_F_WRITE_ZEROES 14
#define VH_BLK_F_LIFETIME 15
#define VH_BLK_F_SECURE_ERASE 16
#define VH_BLK_F_ZONED 17
#define VH_NET_TRUNCATED 1
#define VH_NET_RECEIVE 0
#define VH_NET_SEND 1
vh_rc vh_vduse_new(const struct vh_vduse_opts *opts, const char *name, struct vh_device *dev, vh_fd records,
        struct vh_vduse **out);
vh_fd vh_vduse_fd(struct vh_vduse *v);
vh_count vh_vduse_dispatch(struct vh_vduse *v);
vh_count vh_vduse_wait(struct vh_vduse *v, int32_t timeout_ms);
vh_rc vh_vduse_stop(struct vh_vduse *v);
vh_count vh_vduse_next_event(struct vh_vduse *v, struct vh_event *out);
vh_rc vh_vduse_queue(struct vh_vduse *v, uint32_t index, struct vh_queue **out);
vh_rc vh_vduse_get_info(struct vh_vduse *v, struct vh_vduse_info *out);
vh_rc vh_vduse_set_logger(struct vh_vduse *v, const struct vh_logger_ops *ops, void *ctx);
void vh_vduse_free(struct vh_vduse *v);
vh_rc vh_vduse_remove(const char *name);
uint32_t vh_version(void);
vh_rc vh_error_get(struct vh_error *out);
const char *vh_error_name(int32_t code);
vh_count vh_msg_json(const struct vh_msg_info *info, char *buf, size_t cap);
const char *vh_msg_name(uint32_t channel, uint32_t request);
const char *vh_feature_name(uint32_t space, uint32_t bit);
const char *vh_event_name(uint32_t kind);
vh_rc vh_metrics_new(const struct vh_metrics_opts *opts, const char *name, struct vh_metrics **out);
void vh_metrics_free(struct vh_metrics *st);
vh_rc vh_metrics_dup_fd(struct vh_metrics *st, vh_fd *out);
vh_rc vh_metrics_get_prop(uint32_t kind, uint32_t index, struct vh_metrics_prop *out);
const char *vh_metrics_choice(uint32_t kind, uint32_t index, uint64_t value);
vh_rc vh_metrics_reader_open(uint32_t pid, uint32_t nth, struct vh_metrics_reader **out);
vh_rc vh_metrics_reader_adopt(vh_fd fd, struct vh_metrics_reader **out);
void vh_metrics_reader_free(struct vh_metrics_reader *r);
vh_rc vh_metrics_reader_get_info(struct vh_metrics_reader *r, struct vh_metrics_info *out);
vh_count vh_metrics_reader_next(struct vh_metrics_reader *r, uint32_t kind, uint32_t from,
        struct vh_metrics_row *out);
vh_count vh_metrics_reader_openmetrics(struct vh_metrics_reader *r, char *buf, uint32_t cap);
vh_rc vh_slave_set_metrics(struct vh_slave *s, struct vh_metrics *st, const char *name);
vh_rc vh_vduse_set_metrics(struct vh_vduse *v, struct vh_metrics *m, const char *name);
vh_rc vh_driver_set_metrics(struct vh_driver *d, struct vh_metrics *m, const char *name);
vh_rc vh_mem_new(const struct vh_mem_opts *opts, struct vh_mem **out);
void vh_mem_free(struct vh_mem *mem);
vh_rc vh_mem_alloc(struct vh_mem *mem, vh_gpa gpa, uint64_t len, uint32_t flags);
vh_rc vh_mem_add_fd(struct vh_mem *mem, vh_fd fd, const struct vh_region *region);
vh_rc vh_mem_remove(struct vh_mem *mem, const struct vh_region *region);
vh_count vh_mem_regions(struct vh_mem *mem, struct vh_region *out, uint32_t max);
vh_rc vh_mem_dup_fd(struct vh_mem *mem, uint32_t index, vh_fd *out);
vh_rc vh_mem_dup_snapshot(struct vh_mem *mem, struct vh_snapshot **out);
uint32_t vh_snapshot_number(const struct vh_snapshot *snap);
vh_count vh_snapshot_regions(const struct vh_snapshot *snap, struct vh_region *out, uint32_t max);
vh_count vh_snapshot_translate(const struct vh_snapshot *snap, vh_gpa gpa, uint64_t len, uint32_t perm,
        struct vh_seg *segs, uint32_t max);
void vh_snapshot_free(struct vh_snapshot *snap);
vh_rc vh_mem_guard_install(void);
vh_rc vh_mem_guard_remove(void);
vh_rc vh_dirty_new(uint64_t end, struct vh_dirty **out);
vh_rc vh_dirty_open(vh_fd fd, uint64_t offset, uint64_t len, struct vh_dirty **out);
vh_rc vh_dirty_mark(struct vh_dirty *d, vh_gpa gpa, uint64_t len);
vh_count vh_dirty_take(struct vh_dirty *d, vh_gpa from, vh_gpa *pages, uint32_t max);
vh_rc vh_dirty_dup_fd(struct vh_dirty *d, vh_fd *out);
vh_rc vh_dirty_get_info(struct vh_dirty *d, struct vh_dirty_info *out);
void vh_dirty_free(struct vh_dirty *d);
vh_rc vh_iotlb_new(const struct vh_iotlb_opts *opts, struct vh_mem *mem, struct vh_iotlb **out);
vh_rc vh_iotlb_update(struct vh_iotlb *t, const struct vh_iotlb_entry *entry);
vh_rc vh_iotlb_invalidate(struct vh_iotlb *t, vh_iova iova, uint64_t len);
vh_count vh_iotlb_translate(struct vh_iotlb *t, vh_iova iova, uint64_t len, uint32_t perm, struct vh_seg *segs,
        uint32_t max);
vh_count vh_iotlb_entries(struct vh_iotlb *t, vh_iova from, struct vh_iotlb_entry *out, uint32_t max);
vh_fd vh_iotlb_fd(struct vh_iotlb *t);
vh_count vh_iotlb_next_miss(struct vh_iotlb *t, struct vh_iotlb_miss *out);
vh_rc vh_iotlb_deny(struct vh_iotlb *t, vh_iova iova);
vh_rc vh_iotlb_get_stats(struct vh_iotlb *t, struct vh_iotlb_stats *out);
void vh_iotlb_free(struct vh_iotlb *t);
vh_rc vh_queue_open(struct vh_mem *mem, const struct vh_queue_opts *opts, vh_fd kick_fd, vh_fd call_fd,
        struct vh_queue **out);
void vh_queue_free(struct vh_queue *q);
vh_count vh_queue_pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max);
vh_rc vh_queue_push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n);
vh_rc vh_queue_unpop(struct vh_queue *q, uint32_t n);
vh_count vh_queue_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n);
vh_count vh_queue_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max);
vh_count vh_queue_arm(struct vh_queue *q);
vh_count vh_queue_look(struct vh_queue *q);
vh_rc vh_queue_disarm(struct vh_queue *q);
vh_rc vh_queue_set_coalescing(struct vh_queue *q, uint32_t completions);
vh_count vh_queue_doorbell(struct vh_queue *q, uint32_t *data);
vh_fd vh_queue_fd(struct vh_queue *q);
vh_count vh_queue_state(struct vh_queue *q);
vh_rc vh_queue_stop(struct vh_queue *q, uint32_t *base);
vh_rc vh_queue_start(struct vh_queue *q);
vh_rc vh_queue_set_inflight(struct vh_queue *q, const struct vh_inflight *inflight, vh_fd fd);
vh_rc vh_queue_set_iotlb(struct vh_queue *q, struct vh_iotlb *t);
vh_rc vh_queue_get_stats(struct vh_queue *q, struct vh_queue_stats *out);
vh_rc vh_queue_dup_snapshot(struct vh_queue *q, struct vh_snapshot **out);
vh_rc vh_queue_set_dirty(struct vh_queue *q, struct vh_dirty *log, uint32_t flags, vh_gpa used);
vh_rc vh_queue_mark(struct vh_queue *q, uint64_t addr, uint64_t len);
vh_rc vh_inflight_make(uint32_t num_queues, uint32_t queue_size, uint64_t features, struct vh_inflight *out,
        vh_fd *fd);
vh_rc vh_device_new(const struct vh_device_opts *opts, const struct vh_device_ops *ops, void *ctx,
        struct vh_device **out);
vh_rc vh_device_set_shmem(struct vh_device *dev, uint32_t shmid, uint64_t len);
vh_rc vh_device_finish(struct vh_device *dev, uint64_t later, vh_rc rc);
vh_rc vh_device_reply(struct vh_device *dev, uint64_t later, const void *buf, uint32_t len, vh_fd fd);
vh_rc vh_device_config_changed(struct vh_device *dev);
vh_rc vh_device_error(struct vh_device *dev, uint32_t queue, vh_rc rc);
vh_rc vh_blkdev_new(const struct vh_blkdev_opts *opts, vh_fd fd, struct vh_device **out);
void vh_device_free(struct vh_device *dev);
vh_rc vh_netdev_new(const struct vh_netdev_opts *opts, vh_fd fd, struct vh_device **out);
vh_rc vh_gpu_new_device(const struct vh_gpu_opts *opts, vh_fd fd, struct vh_gpu **out);
vh_rc vh_gpu_new_display(const struct vh_gpu_opts *opts, vh_fd fd, struct vh_gpu **out);
void vh_gpu_free(struct vh_gpu *g);
vh_fd vh_gpu_fd(struct vh_gpu *g);
vh_rc vh_gpu_negotiate(struct vh_gpu *g, uint64_t wanted, uint64_t *acked);
vh_rc vh_gpu_send(struct vh_gpu *g, const struct vh_gpu_msg *msg, vh_fd fd);
vh_count vh_gpu_get_modes(struct vh_gpu *g, struct vh_gpu_mode *out, uint32_t max);
vh_count vh_gpu_get_edid(struct vh_gpu *g, uint32_t scanout_id, void *buf, uint32_t cap);
vh_count vh_gpu_recv(struct vh_gpu *g, struct vh_gpu_msg *out, vh_fd *fd);
vh_rc vh_gpu_reply_modes(struct vh_gpu *g, const struct vh_gpu_mode *modes, uint32_t n);
vh_rc vh_gpu_reply_edid(struct vh_gpu *g, const void *edid, uint32_t len);
vh_rc vh_gpu_reply_shown(struct vh_gpu *g);
const char *vh_backend_kind(const struct vh_backend *b);
vh_rc vh_backend_get_features(struct vh_backend *b, uint64_t *out);
vh_rc vh_backend_get_config(struct vh_backend *b, uint32_t offset, void *buf, uint32_t len);
vh_rc vh_backend_set_config(struct vh_backend *b, uint32_t offset, const void *buf, uint32_t len);
vh_rc vh_slave_new(const struct vh_slave_opts *opts, struct vh_device *dev, const struct vh_slave_ops *ops,
        void *ctx, struct vh_slave **out);
vh_rc vh_slave_listen(struct vh_slave *s, const char *path);
vh_rc vh_slave_connect(struct vh_slave *s, const char *path, const struct vh_reconnect *policy);
vh_rc vh_slave_adopt(struct vh_slave *s, vh_fd fd);
vh_fd vh_slave_fd(struct vh_slave *s);
vh_count vh_slave_dispatch(struct vh_slave *s);
vh_count vh_slave_wait(struct vh_slave *s, int32_t timeout_ms);
vh_rc vh_slave_wake(struct vh_slave *s);
vh_count vh_slave_next_event(struct vh_slave *s, struct vh_event *out);
vh_rc vh_slave_queue(struct vh_slave *s, uint32_t index, struct vh_queue **out);
vh_rc vh_slave_dup_snapshot(struct vh_slave *s, struct vh_snapshot **out);
vh_rc vh_slave_submit(struct vh_slave *s, const struct vh_msg *msg, const vh_fd *fds, uint64_t *ticket);
vh_rc vh_slave_finish(struct vh_slave *s, uint64_t ticket, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
        struct vh_msg_reply *out);
vh_rc vh_slave_answer(struct vh_slave *s, uint64_t token, vh_rc rc, const void *payload, uint32_t payload_size,
        const vh_fd *fds, uint32_t n_fds);
vh_rc vh_slave_disconnect(struct vh_slave *s);
vh_rc vh_slave_pause(struct vh_slave *s);
vh_rc vh_slave_resume(struct vh_slave *s);
vh_count vh_slave_export(struct vh_slave *s, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
        uint32_t *n_fds);
vh_rc vh_slave_import(struct vh_slave *s, const void *buf, uint32_t len, const vh_fd *fds, uint32_t n_fds);
vh_rc vh_slave_get_stats(struct vh_slave *s, struct vh_slave_stats *out);
vh_rc vh_slave_set_logger(struct vh_slave *s, const struct vh_logger_ops *ops, void *ctx);
vh_rc vh_slave_set_trace(struct vh_slave *s, const struct vh_trace_ops *ops, void *ctx);
vh_rc vh_slave_stop(struct vh_slave *s);
void vh_slave_free(struct vh_slave *s);
vh_rc vh_slave_set_host_notifier(struct vh_slave *s, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len,
        uint64_t *ticket);
vh_rc vh_slave_object_add(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket);
vh_rc vh_slave_object_remove(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket);
vh_rc vh_slave_object_lookup(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket);
vh_rc vh_slave_shmem_map(struct vh_slave *s, const struct vh_shmem_map *map, vh_fd fd, uint64_t *ticket);
vh_rc vh_slave_shmem_unmap(struct vh_slave *s, const struct vh_shmem_map *map, uint64_t *ticket);
vh_rc vh_slave_fs_request(struct vh_slave *s, uint32_t op, const struct vh_fs_range *ranges, uint32_t n, vh_fd fd,
        uint64_t *ticket);
vh_rc vh_master_new(const struct vh_master_opts *opts, const struct vh_master_ops *ops, void *ctx,
        struct vh_master **out);
vh_rc vh_master_connect(struct vh_master *m, const char *path);
vh_rc vh_master_listen(struct vh_master *m, const char *path);
vh_rc vh_master_accept(struct vh_master *m);
vh_rc vh_master_adopt(struct vh_master *m, vh_fd fd);
vh_rc vh_master_socketpair(struct vh_master *m, vh_fd *peer_fd);
vh_rc vh_master_disconnect(struct vh_master *m);
vh_fd vh_master_fd(struct vh_master *m);
vh_count vh_master_dispatch(struct vh_master *m);
vh_rc vh_master_submit(struct vh_master *m, const struct vh_msg *msg, const vh_fd *fds, uint64_t *ticket);
vh_rc vh_master_finish(struct vh_master *m, uint64_t ticket, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
        struct vh_msg_reply *out);
vh_rc vh_master_answer(struct vh_master *m, uint64_t token, vh_rc rc, const void *payload, uint32_t payload_size,
        const vh_fd *fds, uint32_t n_fds);
vh_rc vh_master_resume(struct vh_master *m);
vh_rc vh_master_cancel(struct vh_master *m);
vh_count vh_master_next_event(struct vh_master *m, struct vh_event *out);
vh_rc vh_master_negotiate(struct vh_master *m, uint64_t features, uint64_t *acked);
vh_rc vh_master_set_iotlb(struct vh_master *m, struct vh_iotlb *map);
vh_rc vh_master_backend(struct vh_master *m, struct vh_backend **out);
vh_rc vh_master_get_stats(struct vh_master *m, struct vh_master_stats *out);
vh_rc vh_master_set_logger(struct vh_master *m, const struct vh_logger_ops *ops, void *ctx);
vh_rc vh_master_set_trace(struct vh_master *m, const struct vh_trace_ops *ops, void *ctx);
vh_rc vh_master_stop(struct vh_master *m);
void vh_master_free(struct vh_master *m);
vh_rc vh_vdpa_open(const char *where, const struct vh_vdpa_opts *opts, struct vh_vdpa **out);
vh_rc vh_vdpa_adopt(vh_fd fd, const struct vh_vdpa_opts *opts, struct vh_vdpa **out);
void vh_vdpa_free(struct vh_vdpa *v);
vh_rc vh_vdpa_backend(struct vh_vdpa *v, struct vh_backend **out);
vh_rc vh_vdpa_get_info(struct vh_vdpa *v, struct vh_vdpa_info *out);
vh_rc vh_vdpa_set_owner(struct vh_vdpa *v);
vh_rc vh_vdpa_set_backend_features(struct vh_vdpa *v, uint64_t features);
vh_rc vh_vdpa_set_features(struct vh_vdpa *v, uint64_t features);
vh_rc vh_vdpa_get_status(struct vh_vdpa *v, uint32_t *out);
vh_rc vh_vdpa_set_status(struct vh_vdpa *v, uint32_t status);
vh_rc vh_vdpa_get_config(struct vh_vdpa *v, uint32_t offset, void *buf, uint32_t len);
vh_rc vh_vdpa_set_config(struct vh_vdpa *v, uint32_t offset, const void *buf, uint32_t len);
vh_rc vh_vdpa_set_config_call(struct vh_vdpa *v, vh_fd fd);
vh_rc vh_vdpa_set_vring_num(struct vh_vdpa *v, uint32_t queue, uint32_t num);
vh_rc vh_vdpa_set_vring_addr(struct vh_vdpa *v, const struct vh_vring_addr *addr);
vh_rc vh_vdpa_set_vring_base(struct vh_vdpa *v, uint32_t queue, uint32_t base);
vh_rc vh_vdpa_get_vring_base(struct vh_vdpa *v, uint32_t queue, uint32_t *out);
vh_rc vh_vdpa_set_vring_kick(struct vh_vdpa *v, uint32_t queue, vh_fd fd);
vh_rc vh_vdpa_set_vring_call(struct vh_vdpa *v, uint32_t queue, vh_fd fd);
vh_rc vh_vdpa_set_vring_err(struct vh_vdpa *v, uint32_t queue, vh_fd fd);
vh_rc vh_vdpa_set_vring_enable(struct vh_vdpa *v, uint32_t queue, uint32_t on);
vh_rc vh_vdpa_get_vring_size(struct vh_vdpa *v, uint32_t queue, uint32_t *out);
vh_rc vh_vdpa_get_vring_group(struct vh_vdpa *v, uint32_t queue, uint32_t *out);
vh_rc vh_vdpa_get_desc_group(struct vh_vdpa *v, uint32_t queue, uint32_t *out);
vh_rc vh_vdpa_set_group_asid(struct vh_vdpa *v, uint32_t group, uint32_t asid);
vh_rc vh_vdpa_map(struct vh_vdpa *v, uint32_t asid, vh_iova iova, uint64_t len, uint64_t host, uint32_t perm);
vh_rc vh_vdpa_unmap(struct vh_vdpa *v, uint32_t asid, vh_iova iova, uint64_t len);
vh_rc vh_vdpa_batch(struct vh_vdpa *v, uint32_t asid, uint32_t on);
vh_rc vh_vdpa_set_mem(struct vh_vdpa *v, struct vh_mem *mem);
vh_rc vh_vdpa_suspend(struct vh_vdpa *v);
vh_rc vh_vdpa_resume(struct vh_vdpa *v);
vh_rc vh_vdpa_map_doorbell(struct vh_vdpa *v, uint32_t queue, uint64_t *addr);
vh_rc vh_vdpa_unmap_doorbell(struct vh_vdpa *v, uint64_t addr);
vh_rc vh_vdpa_mgmt_new(const struct vh_vdpa_mgmt_opts *opts, const char *root, vh_fd fd, struct vh_vdpa_mgmt **out);
void vh_vdpa_mgmt_free(struct vh_vdpa_mgmt *m);
vh_count vh_vdpa_mgmt_list_mgmtdevs(struct vh_vdpa_mgmt *m);
vh_rc vh_vdpa_mgmt_get_mgmtdev(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_mgmtdev *out);
vh_count vh_vdpa_mgmt_list_devs(struct vh_vdpa_mgmt *m);
vh_rc vh_vdpa_mgmt_get_dev(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_dev *out);
vh_rc vh_vdpa_mgmt_find_dev(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_dev *out);
vh_rc vh_vdpa_mgmt_add_dev(struct vh_vdpa_mgmt *m, const char *mgmtdev, const char *name,
        const struct vh_vdpa_attrs *attrs);
vh_rc vh_vdpa_mgmt_set_dev(struct vh_vdpa_mgmt *m, const char *name, const struct vh_vdpa_attrs *attrs);
vh_rc vh_vdpa_mgmt_del_dev(struct vh_vdpa_mgmt *m, const char *name);
vh_rc vh_vdpa_mgmt_get_config(struct vh_vdpa_mgmt *m, const char *name, struct vh_vdpa_config *out);
vh_count vh_vdpa_mgmt_list_stats(struct vh_vdpa_mgmt *m, const char *name, uint32_t queue);
vh_rc vh_vdpa_mgmt_get_stat(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_stat *out);
vh_count vh_vdpa_mgmt_list_places(struct vh_vdpa_mgmt *m);
vh_rc vh_vdpa_mgmt_get_place(struct vh_vdpa_mgmt *m, uint32_t index, struct vh_vdpa_place *out);
vh_rc vh_vdpa_mgmt_find_place(struct vh_vdpa_mgmt *m, const char *key, struct vh_vdpa_place *out);
vh_rc vh_vdpa_mgmt_bind(struct vh_vdpa_mgmt *m, const char *key, const char *driver, struct vh_vdpa_place *out);
vh_rc vh_master_get_features(struct vh_master *m, uint64_t *out);
vh_rc vh_master_set_features(struct vh_master *m, uint64_t features);
vh_rc vh_master_get_protocol_features(struct vh_master *m, uint64_t *out);
vh_rc vh_master_set_protocol_features(struct vh_master *m, uint64_t features);
vh_rc vh_master_set_owner(struct vh_master *m);
vh_rc vh_master_get_queue_num(struct vh_master *m, uint32_t *out);
vh_rc vh_master_get_max_mem_slots(struct vh_master *m, uint32_t *out);
vh_rc vh_master_get_config(struct vh_master *m, uint32_t offset, void *buf, uint32_t len);
vh_rc vh_master_set_config(struct vh_master *m, uint32_t offset, const void *buf, uint32_t len, uint32_t flags);
vh_rc vh_master_set_mem(struct vh_master *m, struct vh_mem *mem);
vh_rc vh_master_add_mem_region(struct vh_master *m, struct vh_mem *mem, uint32_t index);
vh_rc vh_master_remove_mem_region(struct vh_master *m, const struct vh_region *region);
vh_rc vh_master_set_vring_num(struct vh_master *m, uint32_t queue, uint32_t num);
vh_rc vh_master_set_vring_addr(struct vh_master *m, const struct vh_vring_addr *addr);
vh_rc vh_master_set_vring_base(struct vh_master *m, uint32_t queue, uint32_t base);
vh_rc vh_master_get_vring_base(struct vh_master *m, uint32_t queue, uint32_t *base);
vh_rc vh_master_set_log_base(struct vh_master *m, vh_fd fd, uint64_t offset, uint64_t len);
vh_rc vh_master_set_log_fd(struct vh_master *m, vh_fd fd);
vh_rc vh_master_set_vring_kick(struct vh_master *m, uint32_t queue, vh_fd fd);
vh_rc vh_master_set_vring_call(struct vh_master *m, uint32_t queue, vh_fd fd);
vh_rc vh_master_set_vring_err(struct vh_master *m, uint32_t queue, vh_fd fd);
vh_rc vh_master_set_vring_enable(struct vh_master *m, uint32_t queue, uint32_t on);
vh_rc vh_master_get_vring_base_skip_drain(struct vh_master *m, uint32_t queue, uint32_t *base);
vh_rc vh_master_vring_kick(struct vh_master *m, uint32_t queue);
vh_rc vh_master_get_inflight(struct vh_master *m, uint32_t num_queues, uint32_t queue_size, struct vh_inflight *out,
        vh_fd *fd);
vh_rc vh_master_set_inflight(struct vh_master *m, const struct vh_inflight *inflight, vh_fd fd);
vh_rc vh_master_iotlb_update(struct vh_master *m, const struct vh_iotlb_entry *entry);
vh_rc vh_master_iotlb_invalidate(struct vh_master *m, vh_iova iova, uint64_t len);
vh_rc vh_master_reset_device(struct vh_master *m);
vh_rc vh_master_set_status(struct vh_master *m, uint32_t status);
vh_rc vh_master_get_status(struct vh_master *m, uint32_t *out);
vh_rc vh_master_reset_owner(struct vh_master *m);
vh_rc vh_master_send_rarp(struct vh_master *m, const void *mac, uint32_t len);
vh_rc vh_master_set_mtu(struct vh_master *m, uint32_t mtu);
vh_rc vh_master_set_vring_endian(struct vh_master *m, uint32_t queue, uint32_t big);
vh_rc vh_master_create_crypto_session(struct vh_master *m, const struct vh_crypto_session *session, int64_t *id);
vh_rc vh_master_close_crypto_session(struct vh_master *m, int64_t id);
vh_rc vh_master_set_gpu_socket(struct vh_master *m, vh_fd fd);
vh_rc vh_master_get_shared_object(struct vh_master *m, const void *uuid, uint32_t len, vh_fd *fd);
vh_count vh_master_get_shmem(struct vh_master *m, uint64_t *sizes, uint32_t n);
vh_rc vh_master_set_device_state_fd(struct vh_master *m, uint32_t direction, uint32_t phase, vh_fd fd,
        vh_fd *out_fd);
vh_rc vh_master_check_device_state(struct vh_master *m);
vh_rc vh_master_save_state(struct vh_master *m, const struct vh_state_opts *opts, vh_fd to, uint64_t *bytes);
vh_rc vh_master_load_state(struct vh_master *m, const struct vh_state_opts *opts, vh_fd from, uint64_t *bytes);
vh_rc vh_master_postcopy_advise(struct vh_master *m, struct vh_postcopy **out);
vh_rc vh_master_postcopy_listen(struct vh_master *m);
vh_rc vh_master_postcopy_end(struct vh_master *m);
vh_fd vh_postcopy_fd(struct vh_postcopy *p);
vh_count vh_postcopy_next(struct vh_postcopy *p, struct vh_postcopy_fault *out);
vh_rc vh_postcopy_place(struct vh_postcopy *p, vh_gpa gpa, const void *buf, uint32_t len);
vh_rc vh_postcopy_wake(struct vh_postcopy *p, vh_gpa gpa, uint64_t len);
void vh_postcopy_free(struct vh_postcopy *p);
vh_rc vh_kern_open(const char *path, const struct vh_kern_opts *opts, struct vh_kern **out);
vh_rc vh_kern_adopt(vh_fd fd, const struct vh_kern_opts *opts, struct vh_kern **out);
void vh_kern_free(struct vh_kern *k);
vh_rc vh_kern_dup_fd(struct vh_kern *k, vh_fd *out);
uint32_t vh_kern_kind(const struct vh_kern *k);
vh_rc vh_kern_backend(struct vh_kern *k, struct vh_backend **out);
vh_rc vh_kern_attach(struct vh_kern *k, uint32_t queue, vh_fd fd);
vh_rc vh_kern_set_config(struct vh_kern *k, const void *buf, uint32_t len);
vh_rc vh_kern_scsi_set_target(struct vh_kern *k, const char *wwpn, uint32_t tpgt);
vh_count vh_kern_probe(struct vh_kern *k, struct vh_kern_ioctl *out, uint32_t max);
const char *vh_kern_ioctl_name(uint32_t request);
vh_rc vh_kern_set_iotlb(struct vh_kern *k, struct vh_iotlb *map);
vh_rc vh_kern_iotlb_update(struct vh_kern *k, const struct vh_iotlb_entry *entry);
vh_rc vh_kern_iotlb_invalidate(struct vh_kern *k, vh_iova iova, uint64_t len);
vh_fd vh_kern_fd(struct vh_kern *k);
vh_count vh_kern_dispatch(struct vh_kern *k);
vh_count vh_kern_next_miss(struct vh_kern *k, struct vh_iotlb_miss *out);
vh_rc vh_kern_get_features(struct vh_kern *k, uint64_t *out);
vh_rc vh_kern_set_features(struct vh_kern *k, uint64_t features);
vh_rc vh_kern_get_features_array(struct vh_kern *k, uint64_t *out, uint32_t n);
vh_rc vh_kern_set_features_array(struct vh_kern *k, const uint64_t *features, uint32_t n);
vh_rc vh_kern_get_backend_features(struct vh_kern *k, uint64_t *out);
vh_rc vh_kern_set_backend_features(struct vh_kern *k, uint64_t features);
vh_rc vh_kern_set_owner(struct vh_kern *k);
vh_rc vh_kern_reset_owner(struct vh_kern *k);
vh_rc vh_kern_get_fork_from_owner(struct vh_kern *k, uint32_t *out);
vh_rc vh_kern_set_fork_from_owner(struct vh_kern *k, uint32_t on);
vh_rc vh_kern_set_mem(struct vh_kern *k, struct vh_mem *mem);
vh_rc vh_kern_set_log_base(struct vh_kern *k, struct vh_dirty *log);
vh_rc vh_kern_set_log_fd(struct vh_kern *k, vh_fd fd);
vh_rc vh_kern_set_vring_num(struct vh_kern *k, uint32_t queue, uint32_t num);
vh_rc vh_kern_set_vring_addr(struct vh_kern *k, const struct vh_vring_addr *addr);
vh_rc vh_kern_set_vring_base(struct vh_kern *k, uint32_t queue, uint32_t base);
vh_rc vh_kern_get_vring_base(struct vh_kern *k, uint32_t queue, uint32_t *base);
vh_rc vh_kern_set_vring_kick(struct vh_kern *k, uint32_t queue, vh_fd fd);
vh_rc vh_kern_set_vring_call(struct vh_kern *k, uint32_t queue, vh_fd fd);
vh_rc vh_kern_set_vring_err(struct vh_kern *k, uint32_t queue, vh_fd fd);
vh_rc vh_kern_set_vring_endian(struct vh_kern *k, uint32_t queue, uint32_t endian);
vh_rc vh_kern_get_vring_endian(struct vh_kern *k, uint32_t queue, uint32_t *endian);
vh_rc vh_kern_set_vring_busyloop(struct vh_kern *k, uint32_t queue, uint32_t us);
vh_rc vh_kern_get_vring_busyloop(struct vh_kern *k, uint32_t queue, uint32_t *us);
vh_rc vh_kern_new_worker(struct vh_kern *k, uint32_t *id);
vh_rc vh_kern_free_worker(struct vh_kern *k, uint32_t id);
vh_rc vh_kern_attach_vring_worker(struct vh_kern *k, uint32_t queue, uint32_t id);
vh_rc vh_kern_get_vring_worker(struct vh_kern *k, uint32_t queue, uint32_t *id);
vh_rc vh_kern_net_set_backend(struct vh_kern *k, uint32_t queue, vh_fd fd);
vh_rc vh_kern_vsock_set_cid(struct vh_kern *k, uint64_t cid);
vh_rc vh_kern_vsock_set_running(struct vh_kern *k, uint32_t on);
vh_rc vh_kern_scsi_set_endpoint(struct vh_kern *k, const char *wwpn, uint32_t tpgt);
vh_rc vh_kern_scsi_clear_endpoint(struct vh_kern *k, const char *wwpn, uint32_t tpgt);
vh_rc vh_kern_scsi_get_abi_version(struct vh_kern *k, int32_t *version);
vh_rc vh_kern_scsi_set_events_missed(struct vh_kern *k, uint32_t missed);
vh_rc vh_kern_scsi_get_events_missed(struct vh_kern *k, uint32_t *missed);
vh_rc vh_driver_new(const struct vh_driver_opts *opts, struct vh_backend *b, struct vh_mem *mem,
        struct vh_driver **out);
void vh_driver_free(struct vh_driver *d);
vh_rc vh_driver_features(struct vh_driver *d, uint64_t *out);
vh_rc vh_driver_alloc(struct vh_driver *d, uint64_t len, uint64_t *addr);
vh_rc vh_driver_dup_snapshot(struct vh_driver *d, struct vh_snapshot **out);
vh_rc vh_driver_set_ring(struct vh_driver *d, uint32_t index, const struct vh_driver_ring *ring, vh_fd kick_fd,
        vh_fd call_fd);
vh_rc vh_driver_get_ring(struct vh_driver *d, uint32_t index, struct vh_driver_ring *out);
vh_rc vh_driver_enable(struct vh_driver *d, uint32_t index, uint32_t on);
vh_rc vh_driver_share(struct vh_driver *d);
vh_rc vh_driver_start(struct vh_driver *d);
vh_rc vh_driver_stop(struct vh_driver *d, uint32_t flags, uint32_t timeout_ms);
vh_rc vh_driver_reset_queue(struct vh_driver *d, uint32_t index);
vh_fd vh_driver_fd(struct vh_driver *d);
vh_count vh_driver_dispatch(struct vh_driver *d);
vh_count vh_driver_next_event(struct vh_driver *d, struct vh_event *out);
vh_rc vh_driver_set_reconnect(struct vh_driver *d, const struct vh_reconnect *policy);
vh_rc vh_driver_queue(struct vh_driver *d, uint32_t index, struct vh_queue **out);
vh_rc vh_driver_set_dirty(struct vh_driver *d, struct vh_dirty *log);
vh_rc vh_blk_new(struct vh_driver *d, struct vh_blk **out);
void vh_blk_free(struct vh_blk *b);
vh_rc vh_blk_get_info(struct vh_blk *b, struct vh_blk_info *out);
vh_count vh_blk_submit(struct vh_blk *b, uint32_t queue, const struct vh_blk_io *ios, uint32_t n);
vh_count vh_blk_reap(struct vh_blk *b, uint32_t queue, struct vh_blk_done *done, uint32_t max);
vh_rc vh_blk_wait(struct vh_blk *b, uint32_t queue, int32_t timeout_ms);
vh_rc vh_net_new(const struct vh_net_opts *opts, struct vh_driver *d, struct vh_net **out);
void vh_net_free(struct vh_net *n);
vh_rc vh_net_get_info(struct vh_net *n, struct vh_net_info *out);
vh_count vh_net_send(struct vh_net *n, uint32_t pair, const struct vh_net_frame *frames, uint32_t count);
vh_count vh_net_receive(struct vh_net *n, uint32_t pair, struct vh_net_frame *frames, uint32_t max);
vh_rc vh_net_wait(struct vh_net *n, uint32_t pair, uint32_t what, int32_t timeout_ms);
"""

# In compiled mode cffi makes these functions; they run what Python binds to them.
CALLBACK_CDEF = """
extern "Python" {
void vhpy_logger_destroy(void *ctx);
void vhpy_logger_line(void *ctx, uint32_t level, const char *text);
void vhpy_trace_destroy(void *ctx);
void vhpy_trace_message(void *ctx, const struct vh_msg_info *info);
void vhpy_device_destroy(void *ctx);
vh_rc vhpy_device_get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later);
vh_rc vhpy_device_set_config(void *ctx, uint32_t offset, const void *buf, uint32_t len, uint32_t flags,
        uint64_t later);
vh_rc vhpy_device_set_features(void *ctx, uint64_t features, uint64_t later);
vh_rc vhpy_device_reset(void *ctx, uint64_t later);
void vhpy_device_queue_started(void *ctx, struct vh_queue *q, uint32_t index);
void vhpy_device_queue_stopped(void *ctx, struct vh_queue *q, uint32_t index);
vh_count vhpy_device_on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget);
vh_fd vhpy_device_poll_fd(void *ctx);
vh_rc vhpy_device_on_poll(void *ctx);
vh_rc vhpy_device_send_rarp(void *ctx, const void *mac, uint32_t len, uint64_t later);
vh_rc vhpy_device_set_mtu(void *ctx, uint32_t mtu, uint64_t later);
vh_count vhpy_device_create_crypto_session(void *ctx, const struct vh_crypto_session *session, uint64_t later);
vh_rc vhpy_device_close_crypto_session(void *ctx, int64_t id, uint64_t later);
vh_rc vhpy_device_set_gpu_socket(void *ctx, vh_fd fd, uint64_t later);
vh_count vhpy_device_save_state(void *ctx, uint64_t offset, void *buf, uint32_t cap, uint64_t later);
vh_rc vhpy_device_load_state(void *ctx, uint64_t offset, const void *buf, uint32_t len, uint64_t later);
vh_fd vhpy_device_get_shared_object(void *ctx, const void *uuid, uint32_t len, uint64_t later);
void vhpy_slave_destroy(void *ctx);
vh_rc vhpy_slave_request(void *ctx, const struct vh_msg_request *req);
void vhpy_master_destroy(void *ctx);
vh_rc vhpy_master_backend_request(void *ctx, const struct vh_msg_request *req);
vh_rc vhpy_master_iotlb_miss(void *ctx, vh_iova iova, uint32_t perm);
vh_rc vhpy_master_waiting(void *ctx);
vh_rc vhpy_master_shmem_map(void *ctx, const struct vh_shmem_map *map, vh_fd fd, uint64_t token);
vh_rc vhpy_master_shmem_unmap(void *ctx, const struct vh_shmem_map *map, uint64_t token);
vh_rc vhpy_master_host_notifier(void *ctx, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len, uint64_t token);
vh_rc vhpy_master_object_added(void *ctx, const void *uuid, uint32_t len, uint64_t token);
vh_rc vhpy_master_object_removed(void *ctx, const void *uuid, uint32_t len, uint64_t token);
vh_fd vhpy_master_object_wanted(void *ctx, const void *uuid, uint32_t len, uint64_t token);
vh_rc vhpy_master_fs_request(void *ctx, uint32_t op, const struct vh_fs_range *ranges, uint32_t n, vh_fd fd,
        uint64_t token);
}
"""

# And this one: a batch is pushed without a step of the interpreter for each request.
HELPER_CDEF = "vh_rc vhpy_push(struct vh_queue *q, const struct vh_req *reqs, struct vh_cpl *cpls, uint32_t n);"

HELPER_C = """
#include <string.h>
#include <vh/vh.h>

static vh_rc vhpy_push(struct vh_queue *q, const struct vh_req *reqs, struct vh_cpl *cpls, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        cpls[i].token = reqs[i].token;
    return vh_queue_push(q, cpls, n);
}
"""

# In dlopen mode they are closures of these types.
CALLBACK_TYPES = {
    "vhpy_logger_destroy":
        "void(*)(void *)",
    "vhpy_logger_line":
        "void(*)(void *, uint32_t, const char *)",
    "vhpy_trace_destroy":
        "void(*)(void *)",
    "vhpy_trace_message":
        "void(*)(void *, const struct vh_msg_info *)",
    "vhpy_device_destroy":
        "void(*)(void *)",
    "vhpy_device_get_config":
        "vh_rc(*)(void *, uint32_t, void *, uint32_t, uint64_t)",
    "vhpy_device_set_config":
        "vh_rc(*)(void *, uint32_t, const void *, uint32_t, uint32_t, uint64_t)",
    "vhpy_device_set_features":
        "vh_rc(*)(void *, uint64_t, uint64_t)",
    "vhpy_device_reset":
        "vh_rc(*)(void *, uint64_t)",
    "vhpy_device_queue_started":
        "void(*)(void *, struct vh_queue *, uint32_t)",
    "vhpy_device_queue_stopped":
        "void(*)(void *, struct vh_queue *, uint32_t)",
    "vhpy_device_on_batch":
        "vh_count(*)(void *, struct vh_queue *, uint32_t, uint32_t)",
    "vhpy_device_poll_fd":
        "vh_fd(*)(void *)",
    "vhpy_device_on_poll":
        "vh_rc(*)(void *)",
    "vhpy_device_send_rarp":
        "vh_rc(*)(void *, const void *, uint32_t, uint64_t)",
    "vhpy_device_set_mtu":
        "vh_rc(*)(void *, uint32_t, uint64_t)",
    "vhpy_device_create_crypto_session":
        "vh_count(*)(void *, const struct vh_crypto_session *, uint64_t)",
    "vhpy_device_close_crypto_session":
        "vh_rc(*)(void *, int64_t, uint64_t)",
    "vhpy_device_set_gpu_socket":
        "vh_rc(*)(void *, vh_fd, uint64_t)",
    "vhpy_device_save_state":
        "vh_count(*)(void *, uint64_t, void *, uint32_t, uint64_t)",
    "vhpy_device_load_state":
        "vh_rc(*)(void *, uint64_t, const void *, uint32_t, uint64_t)",
    "vhpy_device_get_shared_object":
        "vh_fd(*)(void *, const void *, uint32_t, uint64_t)",
    "vhpy_slave_destroy":
        "void(*)(void *)",
    "vhpy_slave_request":
        "vh_rc(*)(void *, const struct vh_msg_request *)",
    "vhpy_master_destroy":
        "void(*)(void *)",
    "vhpy_master_backend_request":
        "vh_rc(*)(void *, const struct vh_msg_request *)",
    "vhpy_master_iotlb_miss":
        "vh_rc(*)(void *, vh_iova, uint32_t)",
    "vhpy_master_waiting":
        "vh_rc(*)(void *)",
    "vhpy_master_shmem_map":
        "vh_rc(*)(void *, const struct vh_shmem_map *, vh_fd, uint64_t)",
    "vhpy_master_shmem_unmap":
        "vh_rc(*)(void *, const struct vh_shmem_map *, uint64_t)",
    "vhpy_master_host_notifier":
        "vh_rc(*)(void *, uint32_t, vh_fd, uint64_t, uint64_t, uint64_t)",
    "vhpy_master_object_added":
        "vh_rc(*)(void *, const void *, uint32_t, uint64_t)",
    "vhpy_master_object_removed":
        "vh_rc(*)(void *, const void *, uint32_t, uint64_t)",
    "vhpy_master_object_wanted":
        "vh_fd(*)(void *, const void *, uint32_t, uint64_t)",
    "vhpy_master_fs_request":
        "vh_rc(*)(void *, uint32_t, const struct vh_fs_range *, uint32_t, vh_fd, uint64_t)",
}

# Function -> its @thread tag.
THREAD = {
    "vh_vduse_new": "any",
    "vh_vduse_fd": "any",
    "vh_vduse_dispatch": "handle",
    "vh_vduse_wait": "handle",
    "vh_vduse_stop": "any",
    "vh_vduse_next_event": "handle",
    "vh_vduse_queue": "any",
    "vh_vduse_get_info": "handle",
    "vh_vduse_set_logger": "handle",
    "vh_vduse_free": "handle",
    "vh_vduse_remove": "any",
    "vh_version": "signal",
    "vh_error_get": "any",
    "vh_error_name": "any",
    "vh_msg_json": "any",
    "vh_msg_name": "any",
    "vh_feature_name": "any",
    "vh_event_name": "any",
    "vh_metrics_new": "any",
    "vh_metrics_free": "any",
    "vh_metrics_dup_fd": "any",
    "vh_metrics_get_prop": "any",
    "vh_metrics_choice": "any",
    "vh_metrics_reader_open": "any",
    "vh_metrics_reader_adopt": "any",
    "vh_metrics_reader_free": "handle",
    "vh_metrics_reader_get_info": "any",
    "vh_metrics_reader_next": "any",
    "vh_metrics_reader_openmetrics": "any",
    "vh_slave_set_metrics": "handle",
    "vh_vduse_set_metrics": "handle",
    "vh_driver_set_metrics": "handle",
    "vh_mem_new": "any",
    "vh_mem_free": "handle",
    "vh_mem_alloc": "handle",
    "vh_mem_add_fd": "handle",
    "vh_mem_remove": "handle",
    "vh_mem_regions": "any",
    "vh_mem_dup_fd": "any",
    "vh_mem_dup_snapshot": "any",
    "vh_snapshot_number": "any",
    "vh_snapshot_regions": "any",
    "vh_snapshot_translate": "any",
    "vh_snapshot_free": "any",
    "vh_mem_guard_install": "any",
    "vh_mem_guard_remove": "any",
    "vh_dirty_new": "any",
    "vh_dirty_open": "any",
    "vh_dirty_mark": "any",
    "vh_dirty_take": "any",
    "vh_dirty_dup_fd": "any",
    "vh_dirty_get_info": "any",
    "vh_dirty_free": "any",
    "vh_iotlb_new": "any",
    "vh_iotlb_update": "any",
    "vh_iotlb_invalidate": "any",
    "vh_iotlb_translate": "any",
    "vh_iotlb_entries": "any",
    "vh_iotlb_fd": "any",
    "vh_iotlb_next_miss": "any",
    "vh_iotlb_deny": "any",
    "vh_iotlb_get_stats": "any",
    "vh_iotlb_free": "any",
    "vh_queue_open": "any",
    "vh_queue_free": "queue",
    "vh_queue_pop": "queue",
    "vh_queue_push": "queue",
    "vh_queue_unpop": "queue",
    "vh_queue_submit": "queue",
    "vh_queue_reap": "queue",
    "vh_queue_arm": "queue",
    "vh_queue_look": "queue",
    "vh_queue_disarm": "queue",
    "vh_queue_set_coalescing": "queue",
    "vh_queue_doorbell": "queue",
    "vh_queue_fd": "any",
    "vh_queue_state": "any",
    "vh_queue_stop": "queue",
    "vh_queue_start": "queue",
    "vh_queue_set_inflight": "queue",
    "vh_queue_set_iotlb": "queue",
    "vh_queue_get_stats": "any",
    "vh_queue_dup_snapshot": "any",
    "vh_queue_set_dirty": "any",
    "vh_queue_mark": "queue",
    "vh_inflight_make": "any",
    "vh_device_new": "any",
    "vh_device_set_shmem": "any",
    "vh_device_finish": "any",
    "vh_device_reply": "any",
    "vh_device_config_changed": "handle",
    "vh_device_error": "any",
    "vh_blkdev_new": "any",
    "vh_device_free": "handle",
    "vh_netdev_new": "any",
    "vh_gpu_new_device": "any",
    "vh_gpu_new_display": "any",
    "vh_gpu_free": "handle",
    "vh_gpu_fd": "any",
    "vh_gpu_negotiate": "handle",
    "vh_gpu_send": "handle",
    "vh_gpu_get_modes": "handle",
    "vh_gpu_get_edid": "handle",
    "vh_gpu_recv": "handle",
    "vh_gpu_reply_modes": "handle",
    "vh_gpu_reply_edid": "handle",
    "vh_gpu_reply_shown": "handle",
    "vh_backend_kind": "any",
    "vh_backend_get_features": "handle",
    "vh_backend_get_config": "handle",
    "vh_backend_set_config": "handle",
    "vh_slave_new": "any",
    "vh_slave_listen": "handle",
    "vh_slave_connect": "handle",
    "vh_slave_adopt": "handle",
    "vh_slave_fd": "any",
    "vh_slave_dispatch": "handle",
    "vh_slave_wait": "handle",
    "vh_slave_wake": "any",
    "vh_slave_next_event": "handle",
    "vh_slave_queue": "any",
    "vh_slave_dup_snapshot": "any",
    "vh_slave_submit": "handle",
    "vh_slave_finish": "handle",
    "vh_slave_answer": "handle",
    "vh_slave_disconnect": "handle",
    "vh_slave_pause": "handle",
    "vh_slave_resume": "handle",
    "vh_slave_export": "handle",
    "vh_slave_import": "handle",
    "vh_slave_get_stats": "handle",
    "vh_slave_set_logger": "handle",
    "vh_slave_set_trace": "handle",
    "vh_slave_stop": "any",
    "vh_slave_free": "handle",
    "vh_slave_set_host_notifier": "handle",
    "vh_slave_object_add": "handle",
    "vh_slave_object_remove": "handle",
    "vh_slave_object_lookup": "handle",
    "vh_slave_shmem_map": "handle",
    "vh_slave_shmem_unmap": "handle",
    "vh_slave_fs_request": "handle",
    "vh_master_new": "any",
    "vh_master_connect": "handle",
    "vh_master_listen": "handle",
    "vh_master_accept": "handle",
    "vh_master_adopt": "handle",
    "vh_master_socketpair": "handle",
    "vh_master_disconnect": "handle",
    "vh_master_fd": "any",
    "vh_master_dispatch": "handle",
    "vh_master_submit": "handle",
    "vh_master_finish": "handle",
    "vh_master_answer": "handle",
    "vh_master_resume": "handle",
    "vh_master_cancel": "signal",
    "vh_master_next_event": "handle",
    "vh_master_negotiate": "handle",
    "vh_master_set_iotlb": "handle",
    "vh_master_backend": "any",
    "vh_master_get_stats": "handle",
    "vh_master_set_logger": "handle",
    "vh_master_set_trace": "handle",
    "vh_master_stop": "any",
    "vh_master_free": "handle",
    "vh_vdpa_open": "any",
    "vh_vdpa_adopt": "any",
    "vh_vdpa_free": "handle",
    "vh_vdpa_backend": "any",
    "vh_vdpa_get_info": "handle",
    "vh_vdpa_set_owner": "handle",
    "vh_vdpa_set_backend_features": "handle",
    "vh_vdpa_set_features": "handle",
    "vh_vdpa_get_status": "handle",
    "vh_vdpa_set_status": "handle",
    "vh_vdpa_get_config": "handle",
    "vh_vdpa_set_config": "handle",
    "vh_vdpa_set_config_call": "handle",
    "vh_vdpa_set_vring_num": "handle",
    "vh_vdpa_set_vring_addr": "handle",
    "vh_vdpa_set_vring_base": "handle",
    "vh_vdpa_get_vring_base": "handle",
    "vh_vdpa_set_vring_kick": "handle",
    "vh_vdpa_set_vring_call": "handle",
    "vh_vdpa_set_vring_err": "handle",
    "vh_vdpa_set_vring_enable": "handle",
    "vh_vdpa_get_vring_size": "handle",
    "vh_vdpa_get_vring_group": "handle",
    "vh_vdpa_get_desc_group": "handle",
    "vh_vdpa_set_group_asid": "handle",
    "vh_vdpa_map": "handle",
    "vh_vdpa_unmap": "handle",
    "vh_vdpa_batch": "handle",
    "vh_vdpa_set_mem": "handle",
    "vh_vdpa_suspend": "handle",
    "vh_vdpa_resume": "handle",
    "vh_vdpa_map_doorbell": "handle",
    "vh_vdpa_unmap_doorbell": "handle",
    "vh_vdpa_mgmt_new": "any",
    "vh_vdpa_mgmt_free": "handle",
    "vh_vdpa_mgmt_list_mgmtdevs": "handle",
    "vh_vdpa_mgmt_get_mgmtdev": "handle",
    "vh_vdpa_mgmt_list_devs": "handle",
    "vh_vdpa_mgmt_get_dev": "handle",
    "vh_vdpa_mgmt_find_dev": "handle",
    "vh_vdpa_mgmt_add_dev": "handle",
    "vh_vdpa_mgmt_set_dev": "handle",
    "vh_vdpa_mgmt_del_dev": "handle",
    "vh_vdpa_mgmt_get_config": "handle",
    "vh_vdpa_mgmt_list_stats": "handle",
    "vh_vdpa_mgmt_get_stat": "handle",
    "vh_vdpa_mgmt_list_places": "handle",
    "vh_vdpa_mgmt_get_place": "handle",
    "vh_vdpa_mgmt_find_place": "handle",
    "vh_vdpa_mgmt_bind": "handle",
    "vh_master_get_features": "handle",
    "vh_master_set_features": "handle",
    "vh_master_get_protocol_features": "handle",
    "vh_master_set_protocol_features": "handle",
    "vh_master_set_owner": "handle",
    "vh_master_get_queue_num": "handle",
    "vh_master_get_max_mem_slots": "handle",
    "vh_master_get_config": "handle",
    "vh_master_set_config": "handle",
    "vh_master_set_mem": "handle",
    "vh_master_add_mem_region": "handle",
    "vh_master_remove_mem_region": "handle",
    "vh_master_set_vring_num": "handle",
    "vh_master_set_vring_addr": "handle",
    "vh_master_set_vring_base": "handle",
    "vh_master_get_vring_base": "handle",
    "vh_master_set_log_base": "handle",
    "vh_master_set_log_fd": "handle",
    "vh_master_set_vring_kick": "handle",
    "vh_master_set_vring_call": "handle",
    "vh_master_set_vring_err": "handle",
    "vh_master_set_vring_enable": "handle",
    "vh_master_get_vring_base_skip_drain": "handle",
    "vh_master_vring_kick": "handle",
    "vh_master_get_inflight": "handle",
    "vh_master_set_inflight": "handle",
    "vh_master_iotlb_update": "handle",
    "vh_master_iotlb_invalidate": "handle",
    "vh_master_reset_device": "handle",
    "vh_master_set_status": "handle",
    "vh_master_get_status": "handle",
    "vh_master_reset_owner": "handle",
    "vh_master_send_rarp": "handle",
    "vh_master_set_mtu": "handle",
    "vh_master_set_vring_endian": "handle",
    "vh_master_create_crypto_session": "handle",
    "vh_master_close_crypto_session": "handle",
    "vh_master_set_gpu_socket": "handle",
    "vh_master_get_shared_object": "handle",
    "vh_master_get_shmem": "handle",
    "vh_master_set_device_state_fd": "handle",
    "vh_master_check_device_state": "handle",
    "vh_master_save_state": "handle",
    "vh_master_load_state": "handle",
    "vh_master_postcopy_advise": "handle",
    "vh_master_postcopy_listen": "handle",
    "vh_master_postcopy_end": "handle",
    "vh_postcopy_fd": "any",
    "vh_postcopy_next": "any",
    "vh_postcopy_place": "any",
    "vh_postcopy_wake": "any",
    "vh_postcopy_free": "any",
    "vh_kern_open": "any",
    "vh_kern_adopt": "any",
    "vh_kern_free": "handle",
    "vh_kern_dup_fd": "any",
    "vh_kern_kind": "any",
    "vh_kern_backend": "any",
    "vh_kern_attach": "handle",
    "vh_kern_set_config": "handle",
    "vh_kern_scsi_set_target": "handle",
    "vh_kern_probe": "handle",
    "vh_kern_ioctl_name": "any",
    "vh_kern_set_iotlb": "handle",
    "vh_kern_iotlb_update": "handle",
    "vh_kern_iotlb_invalidate": "handle",
    "vh_kern_fd": "any",
    "vh_kern_dispatch": "handle",
    "vh_kern_next_miss": "handle",
    "vh_kern_get_features": "handle",
    "vh_kern_set_features": "handle",
    "vh_kern_get_features_array": "handle",
    "vh_kern_set_features_array": "handle",
    "vh_kern_get_backend_features": "handle",
    "vh_kern_set_backend_features": "handle",
    "vh_kern_set_owner": "handle",
    "vh_kern_reset_owner": "handle",
    "vh_kern_get_fork_from_owner": "handle",
    "vh_kern_set_fork_from_owner": "handle",
    "vh_kern_set_mem": "handle",
    "vh_kern_set_log_base": "handle",
    "vh_kern_set_log_fd": "handle",
    "vh_kern_set_vring_num": "handle",
    "vh_kern_set_vring_addr": "handle",
    "vh_kern_set_vring_base": "handle",
    "vh_kern_get_vring_base": "handle",
    "vh_kern_set_vring_kick": "handle",
    "vh_kern_set_vring_call": "handle",
    "vh_kern_set_vring_err": "handle",
    "vh_kern_set_vring_endian": "handle",
    "vh_kern_get_vring_endian": "handle",
    "vh_kern_set_vring_busyloop": "handle",
    "vh_kern_get_vring_busyloop": "handle",
    "vh_kern_new_worker": "handle",
    "vh_kern_free_worker": "handle",
    "vh_kern_attach_vring_worker": "handle",
    "vh_kern_get_vring_worker": "handle",
    "vh_kern_net_set_backend": "handle",
    "vh_kern_vsock_set_cid": "handle",
    "vh_kern_vsock_set_running": "handle",
    "vh_kern_scsi_set_endpoint": "handle",
    "vh_kern_scsi_clear_endpoint": "handle",
    "vh_kern_scsi_get_abi_version": "handle",
    "vh_kern_scsi_set_events_missed": "handle",
    "vh_kern_scsi_get_events_missed": "handle",
    "vh_driver_new": "any",
    "vh_driver_free": "handle",
    "vh_driver_features": "any",
    "vh_driver_alloc": "handle",
    "vh_driver_dup_snapshot": "any",
    "vh_driver_set_ring": "handle",
    "vh_driver_get_ring": "handle",
    "vh_driver_enable": "handle",
    "vh_driver_share": "handle",
    "vh_driver_start": "handle",
    "vh_driver_stop": "handle",
    "vh_driver_reset_queue": "handle",
    "vh_driver_fd": "any",
    "vh_driver_dispatch": "any",
    "vh_driver_next_event": "any",
    "vh_driver_set_reconnect": "handle",
    "vh_driver_queue": "any",
    "vh_driver_set_dirty": "handle",
    "vh_blk_new": "any",
    "vh_blk_free": "handle",
    "vh_blk_get_info": "any",
    "vh_blk_submit": "queue",
    "vh_blk_reap": "queue",
    "vh_blk_wait": "queue",
    "vh_net_new": "any",
    "vh_net_free": "handle",
    "vh_net_get_info": "any",
    "vh_net_send": "queue",
    "vh_net_receive": "queue",
    "vh_net_wait": "queue",
}

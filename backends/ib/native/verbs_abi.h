// The part of libibverbs.so.1 that this package uses, declared here so that it builds without libibverbs' headers.
//
// Names, order and types of fields are those of <infiniband/verbs.h>; the library keeps them for as long as its soname
// stays. A test compares sizes and offsets with the header of the distribution.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hal_ib::abi {

struct Device;
struct Context;
struct Cq;
struct Qp;
struct SendRequest;
struct ReceiveRequest;
struct Completion;

using Unused = void*;

struct ContextOps {
  Unused queries_and_regions[11];
  int (*poll_cq)(Cq*, int, Completion*);
  Unused req_notify_cq;
  Unused cq_and_srq[7];
  Unused post_srq_recv;
  Unused qp[4];
  int (*post_send)(Qp*, SendRequest*, SendRequest**);
  int (*post_recv)(Qp*, ReceiveRequest*, ReceiveRequest**);
  Unused others[5];
};

struct Context {
  Device* device;
  ContextOps ops;
};

struct Pd {
  Context* context;
  uint32_t handle;
};

struct Mr {
  Context* context;
  Pd* pd;
  void* addr;
  size_t length;
  uint32_t handle;
  uint32_t lkey;
  uint32_t rkey;
};

struct Cq {
  Context* context;
};

struct Qp {
  Context* context;
  void* qp_context;
  Pd* pd;
  Cq* send_cq;
  Cq* recv_cq;
  void* srq;
  uint32_t handle;
  uint32_t qp_num;
};

struct Sge {
  uint64_t addr;
  uint32_t length;
  uint32_t lkey;
};

enum Opcode : int { kRdmaWrite = 0, kRdmaRead = 4, kFetchAndAdd = 6 };
enum SendFlag : unsigned { kFence = 1, kSignaled = 2, kInline = 8 };

struct SendRequest {
  uint64_t wr_id;
  SendRequest* next;
  Sge* sg_list;
  int num_sge;
  int opcode;
  unsigned send_flags;
  uint32_t imm_data;
  union {
    struct {
      uint64_t remote_addr;
      uint32_t rkey;
    } rdma;
    struct {
      uint64_t remote_addr;
      uint64_t compare_add;
      uint64_t swap;
      uint32_t rkey;
    } atomic;
  } wr;
  uint32_t xrc;
  uint64_t bind_or_tso[6];
};

struct Completion {
  uint64_t wr_id;
  int status;
  int opcode;
  uint32_t vendor_err;
  uint32_t byte_len;
  uint32_t imm_data;
  uint32_t qp_num;
  uint32_t src_qp;
  unsigned wc_flags;
  uint16_t pkey_index;
  uint16_t slid;
  uint8_t sl;
  uint8_t dlid_path_bits;
};

struct DeviceAttributes {
  char fw_ver[64];
  uint64_t guids[2];
  uint64_t max_mr_size;
  uint64_t page_size_cap;
  uint32_t ids[3];
  int max_qp;
  int max_qp_wr;
  unsigned device_cap_flags;
  int max_sge;
  int max_sge_rd;
  int max_cq;
  int max_cqe;
  int max_mr;
  int max_pd;
  int max_qp_rd_atom;
  int max_ee_rd_atom;
  int max_res_rd_atom;
  int max_qp_init_rd_atom;
  int max_ee_init_rd_atom;
  int atomic_cap;
  int others[14];
  uint16_t max_pkeys;
  uint8_t local_ca_ack_delay;
  uint8_t phys_port_cnt;
};

struct PortAttributes {
  int state;
  int max_mtu;
  int active_mtu;
  int gid_tbl_len;
  uint32_t port_cap_flags;
  uint32_t max_msg_sz;
  uint32_t counters[2];
  uint16_t pkey_tbl_len;
  uint16_t lid;
  uint16_t sm_lid;
  uint8_t lmc[8];
  uint8_t link_layer;
  uint8_t flags;
  uint16_t port_cap_flags2;
};

struct QpCapacity {
  uint32_t max_send_wr;
  uint32_t max_recv_wr;
  uint32_t max_send_sge;
  uint32_t max_recv_sge;
  uint32_t max_inline_data;
};

constexpr int kReliableConnection = 2;

struct QpInitAttributes {
  void* qp_context;
  Cq* send_cq;
  Cq* recv_cq;
  void* srq;
  QpCapacity cap;
  int qp_type;
  int sq_sig_all;
};

struct AddressAttributes {
  struct {
    uint8_t dgid[16];
    uint32_t flow_label;
    uint8_t sgid_index;
    uint8_t hop_limit;
    uint8_t traffic_class;
    alignas(8) uint8_t end[0];
  } grh;
  uint16_t dlid;
  uint8_t sl;
  uint8_t src_path_bits;
  uint8_t static_rate;
  uint8_t is_global;
  uint8_t port_num;
};

enum QpState : int { kReset = 0, kInit = 1, kReadyToReceive = 2, kReadyToSend = 3, kError = 6 };

enum QpMask : int {
  kState = 1 << 0,
  kAccessFlags = 1 << 3,
  kPkeyIndex = 1 << 4,
  kPort = 1 << 5,
  kAddress = 1 << 7,
  kPathMtu = 1 << 8,
  kTimeout = 1 << 9,
  kRetryCount = 1 << 10,
  kRnrRetry = 1 << 11,
  kRqPsn = 1 << 12,
  kMaxRdAtomic = 1 << 13,
  kMinRnrTimer = 1 << 15,
  kSqPsn = 1 << 16,
  kMaxDestRdAtomic = 1 << 17,
  kDestQpn = 1 << 20,
};

struct QpAttributes {
  int qp_state;
  int cur_qp_state;
  int path_mtu;
  int path_mig_state;
  uint32_t qkey;
  uint32_t rq_psn;
  uint32_t sq_psn;
  uint32_t dest_qp_num;
  unsigned qp_access_flags;
  QpCapacity cap;
  AddressAttributes ah_attr;
  AddressAttributes alt_ah_attr;
  uint16_t pkey_index;
  uint16_t alt_pkey_index;
  uint8_t en_sqd_async_notify;
  uint8_t sq_draining;
  uint8_t max_rd_atomic;
  uint8_t max_dest_rd_atomic;
  uint8_t min_rnr_timer;
  uint8_t port_num;
  uint8_t timeout;
  uint8_t retry_cnt;
  uint8_t rnr_retry;
  uint8_t alt_port_num;
  uint8_t alt_timeout;
  uint32_t rate_limit;
};

enum Access : int { kLocalWrite = 1, kRemoteWrite = 2, kRemoteRead = 4, kRemoteAtomic = 8 };

}  // namespace hal_ib::abi

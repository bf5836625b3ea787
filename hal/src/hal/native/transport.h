/* The native door of a transport: how executors post on a connection without Python and without the GIL.
 *
 * `Connection.native()` (hal.interface.transport) returns the address of a `hal_connection`, which lives as long as the
 * connection is open. All functions may be called from any thread at any time while it is open. They return 0, or
 * HAL_TRANSPORT_AGAIN where the queue is full (call `progress` and repeat), or a negative number for a failure, after
 * which `error` gives the reason and the connection cannot be used.
 *
 * Order is that of the Transport facet: what is posted on one connection takes effect at the peer in the order of
 * posting. Local memory is busy until the operation is completed. Handles are those of `Connection.resolve` (remote)
 * and `Registration.handle` (local). */
#ifndef HAL_NATIVE_TRANSPORT_H
#define HAL_NATIVE_TRANSPORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAL_TRANSPORT_ABI 1
#define HAL_TRANSPORT_AGAIN 1
#define HAL_TRANSPORT_FAILED (-1)    /* the connection or the peer failed */
#define HAL_TRANSPORT_BAD_RANGE (-2) /* nothing was posted: a handle that is not known, or a range outside of its memory */
#define HAL_TRANSPORT_UNSUPPORTED (-3)

typedef struct hal_connection hal_connection;

struct hal_connection {
  uint32_t abi;  /* HAL_TRANSPORT_ABI; a caller refuses another */
  uint32_t size; /* sizeof(hal_connection) of the implementation; later fields are added at the end */

  int (*put)(hal_connection* self, uint64_t remote_handle, uint64_t remote_offset, uint64_t local_handle,
             uint64_t local_offset, uint64_t nbytes);
  /* Store one 64-bit value at an offset that is a multiple of 8: whole, and with release order after all earlier puts.
   * The value is taken at once. */
  int (*put_value)(hal_connection* self, uint64_t remote_handle, uint64_t remote_offset, uint64_t value);
  int (*get)(hal_connection* self, uint64_t remote_handle, uint64_t remote_offset, uint64_t local_handle,
             uint64_t local_offset, uint64_t nbytes);
  int (*atomic_add)(hal_connection* self, uint64_t remote_handle, uint64_t remote_offset, uint64_t value);

  /* Do what can be done now, without blocking. Needed for operations to go on, unless `notifies`. */
  int (*progress)(hal_connection* self);
  /* How many operations have been posted, and how many of those, the first ones, are complete: the local memory may be
   * reused and the peer has the data. What was posted is flushed once `completed` reaches what `posted` was. */
  uint64_t (*posted)(hal_connection* self);
  uint64_t (*completed)(hal_connection* self);
  /* Why the connection failed, as text that stays valid while it is open; NULL while it works. */
  const char* (*error)(hal_connection* self);

  /* Call `notify(context)` whenever something arrived, completed or failed, from any thread; it must return at once and
   * call nothing here. NULL ends it: after the return it is not called any more. */
  int (*set_notify)(hal_connection* self, void (*notify)(void*), void* context);
  uint32_t notifies; /* 1 where operations go on without `progress` and notify is called; else poll */
  uint32_t reserved;
};

#ifdef __cplusplus
}
#endif
#endif

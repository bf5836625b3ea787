/* The native door of a connection, used from C as executors use it: posting, a stream of puts, and ping-pong.
 * Times are in seconds; a negative one is a failure. All wait by polling, as perftest's programs do. */
#include <stdint.h>
#include <time.h>

#include "hal/native/transport.h"

typedef struct {
  hal_connection* connection;
  uint64_t remote, local; /* handles; messages go from offset `from` to the peer's offset `to` */
  uint64_t from, to;
  double patience;
} place;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int put(const place* p, uint64_t nbytes) {
  hal_connection* c = p->connection;
  int status;
  double end = 0;
  while ((status = c->put(c, p->remote, p->to, p->local, p->from, nbytes)) == HAL_TRANSPORT_AGAIN) {
    if (end == 0) end = now() + p->patience;
    if (now() > end || c->progress(c) < 0) return -1;
  }
  return status;
}

static int drain(const place* p) {
  hal_connection* c = p->connection;
  uint64_t posted = c->posted(c);
  double end = now() + p->patience;
  while (c->completed(c) < posted) {
    if (c->error(c) != 0 || now() > end) return -1;
  }
  return 0;
}

/* Seconds that posting `count` puts takes, which all fit into the queue. They are complete on return. */
double hal_loop_post(const place* p, uint64_t nbytes, int count) {
  double start = now();
  for (int i = 0; i < count; i++) {
    if (put(p, nbytes) != 0) return -1;
  }
  double took = now() - start;
  return drain(p) == 0 ? took : -1;
}

/* Seconds from the first of `count` puts until all are complete. */
double hal_loop_stream(const place* p, uint64_t nbytes, int count) {
  double start = now();
  for (int i = 0; i < count; i++) {
    if (put(p, nbytes) != 0) return -1;
  }
  return drain(p) == 0 ? now() - start : -1;
}

/* Messages to and fro, `count` each way, whose last byte tells that they have come. `times` gets half of each round trip
 * of the side that goes `first`, in seconds. */
double hal_loop_ping_pong(const place* p, uint8_t* memory, uint64_t nbytes, int count, int first, double* times) {
  volatile uint8_t* mine = memory + p->from + nbytes - 1;
  volatile uint8_t* theirs = memory + p->to + nbytes - 1;
  double begin = now(), last = begin;
  for (int i = 0; i < count; i++) {
    uint8_t turn = (uint8_t)(i + 1);
    for (int half = 0; half < 2; half++) {
      if ((half == 0) == (first != 0)) {
        *mine = turn;
        if (put(p, nbytes) != 0) return -1;
      } else {
        double end = 0;
        for (long spins = 1; *theirs != turn; spins++) {
          if (spins % 1000 != 0) continue;
          if (end == 0) end = now() + p->patience;
          if (now() > end) return -1;
        }
      }
    }
    double here = now();
    times[i] = (here - last) / 2;
    last = here;
  }
  return drain(p) == 0 ? now() - begin : -1;
}

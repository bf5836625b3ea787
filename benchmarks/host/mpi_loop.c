/* Calls of MPI from C, for what its Python binding costs: one call, or a timed batch of calls made in turn.
 *
 * A shared library that mpi_from_c.py loads into a rank whose MPI is up already. */
#include <mpi.h>
#include <stddef.h>
#include <time.h>

enum { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, BROADCAST, REDUCE, ALL_TO_ALL, SEND, RECV, BARRIER };

struct call {
  int what, in_place, peer, count; /* peer: the root, or the other end of a message; count: as MPI's call has it */
  float *source, *target;
};

int mpi_loop_call(const struct call *c) {
  MPI_Comm comm = MPI_COMM_WORLD;
  const void *given = c->in_place ? MPI_IN_PLACE : (const void *)c->source;
  int rank;
  switch (c->what) {
    case ALL_REDUCE: return MPI_Allreduce(given, c->target, c->count, MPI_FLOAT, MPI_SUM, comm);
    case ALL_GATHER: return MPI_Allgather(given, c->count, MPI_FLOAT, c->target, c->count, MPI_FLOAT, comm);
    case REDUCE_SCATTER:
      return MPI_Reduce_scatter_block(given, c->in_place ? c->source : c->target, c->count, MPI_FLOAT, MPI_SUM, comm);
    case BROADCAST: return MPI_Bcast(c->source, c->count, MPI_FLOAT, c->peer, comm);
    case REDUCE:
      MPI_Comm_rank(comm, &rank);
      if (rank == c->peer) return MPI_Reduce(given, c->target, c->count, MPI_FLOAT, MPI_SUM, c->peer, comm);
      return MPI_Reduce(c->source, NULL, c->count, MPI_FLOAT, MPI_SUM, c->peer, comm);
    case ALL_TO_ALL: return MPI_Alltoall(given, c->count, MPI_FLOAT, c->target, c->count, MPI_FLOAT, comm);
    case SEND: return MPI_Send(c->source, c->count, MPI_FLOAT, c->peer, 0, comm);
    case RECV: return MPI_Recv(c->target, c->count, MPI_FLOAT, c->peer, 0, comm, MPI_STATUS_IGNORE);
    case BARRIER: return MPI_Barrier(comm);
  }
  return MPI_ERR_ARG;
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fill(float *to, long count) {
  for (long i = 0; i < count; i++) to[i] = 1.0f;
  __asm__ volatile("" : : "r"(to) : "memory"); /* the stores must happen */
}

/* As rank.py does it: nanoseconds of the whole batch to times[0], of refilling alone to times[1]. */
int mpi_loop_batch(const struct call *calls, int turns, float *source, long elements, int dirty, long iterations,
                   long warmup, long long *times) {
  int status = MPI_SUCCESS;
  for (long i = 0; i < warmup; i++) status |= mpi_loop_call(&calls[i % turns]);
  times[1] = 0;
  if (dirty) {
    MPI_Barrier(MPI_COMM_WORLD);
    long long start = now();
    for (long i = 0; i < iterations; i++) fill(source, elements);
    times[1] = now() - start;
  }
  MPI_Barrier(MPI_COMM_WORLD);
  long long start = now();
  for (long i = 0; i < iterations; i++) {
    if (dirty) fill(source, elements);
    status |= mpi_loop_call(&calls[(warmup + i) % turns]);
  }
  times[0] = now() - start;
  return status;
}

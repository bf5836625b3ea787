/* What memory and cores can do, as JSON on standard output.
 *
 *   memory_limits THREADS SECONDS SIZE...
 *
 * For each size: bytes a second that each of THREADS threads copies, all at the same time, each bound to a core and
 * between buffers of its own. With two threads or more also the time in which a word goes from one core to another and
 * back, and that of filling 256 KiB again which another core has read, and which it has read and written to. Each number
 * is the median of short repetitions. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 64, MAX_REPETITIONS = 200, ROUND_TRIPS = 1000, REFILLED = 256 << 10, LINE = 64 };

static int threads;
static double seconds;
static pthread_barrier_t barrier;
static double times[MAX_THREADS][MAX_REPETITIONS];
static int repetitions;
static _Alignas(128) atomic_uint ping;
static _Alignas(128) atomic_uint pong;

/* What spinning threads do between two looks. */
static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int count) {
  qsort(values, count, sizeof *values, by_value);
  return values[count / 2];
}

static cpu_set_t allowed; /* what this process may use: a thread that is bound hands on its one core alone */

/* The index-th core this process may use. */
static void bind_to(int index) {
  cpu_set_t one;
  int wanted = index % CPU_COUNT(&allowed);
  for (int core = 0; core < CPU_SETSIZE; core++)
    if (CPU_ISSET(core, &allowed) && wanted-- == 0) {
      CPU_ZERO(&one);
      CPU_SET(core, &one);
      pthread_setaffinity_np(pthread_self(), sizeof one, &one);
      return;
    }
}

struct copy {
  int thread;
  size_t size;
};

static void *copy_thread(void *argument) {
  struct copy *copy = argument;
  bind_to(copy->thread);
  char *from = aligned_alloc(4096, (copy->size + 4095) / 4096 * 4096);
  char *to = aligned_alloc(4096, (copy->size + 4095) / 4096 * 4096);
  if (!from || !to) abort();
  memset(from, 1, copy->size);
  memset(to, 2, copy->size);
  /* many copies between two looks at the clock, where one is short */
  int inner = copy->size < (1 << 20) ? (int)((1 << 20) / copy->size) : 1;
  for (int r = 0; r < repetitions; r++) {
    pthread_barrier_wait(&barrier);
    double start = now();
    for (int i = 0; i < inner; i++) {
      memcpy(to, from, copy->size);
      __asm__ volatile("" : : "r"(to) : "memory"); /* the copy must happen */
    }
    times[copy->thread][r] = (now() - start) / inner;
  }
  free(from);
  free(to);
  return NULL;
}

static double run_copies(size_t size) {
  pthread_t ids[MAX_THREADS];
  struct copy copies[MAX_THREADS];
  for (int t = 0; t < threads; t++) {
    copies[t] = (struct copy){t, size};
    if (pthread_create(&ids[t], NULL, copy_thread, &copies[t])) abort();
  }
  for (int t = 0; t < threads; t++) pthread_join(ids[t], NULL);
  double slowest[MAX_REPETITIONS];
  for (int r = 0; r < repetitions; r++) {
    slowest[r] = 0;
    for (int t = 0; t < threads; t++)
      if (times[t][r] > slowest[r]) slowest[r] = times[t][r];
  }
  return median(slowest, repetitions);
}

static void *answer(void *unused) {
  (void)unused;
  bind_to(1);
  for (unsigned i = 1; i <= (unsigned)repetitions * ROUND_TRIPS; i++) {
    while (atomic_load_explicit(&ping, memory_order_acquire) < i) relax();
    atomic_store_explicit(&pong, i, memory_order_release);
  }
  return NULL;
}

static double round_trip(void) {
  pthread_t id;
  double each[MAX_REPETITIONS];
  unsigned i = 0;
  if (pthread_create(&id, NULL, answer, NULL)) abort();
  bind_to(0);
  for (int r = 0; r < repetitions; r++) {
    double start = now();
    for (int k = 0; k < ROUND_TRIPS; k++) {
      atomic_store_explicit(&ping, ++i, memory_order_release);
      while (atomic_load_explicit(&pong, memory_order_acquire) < i) relax();
    }
    each[r] = (now() - start) / ROUND_TRIPS;
  }
  pthread_join(id, NULL);
  return median(each, repetitions);
}

static _Alignas(4096) uint64_t refilled[REFILLED / sizeof(uint64_t)], copied[REFILLED / sizeof(uint64_t)];
static _Alignas(128) atomic_uint filled;
static _Alignas(128) atomic_uint taken;

/* Read what was filled; a claim writes a byte of each line back. */
static void *take(void *claim) {
  bind_to(1);
  for (unsigned i = 1; i <= (unsigned)repetitions; i++) {
    while (atomic_load_explicit(&filled, memory_order_acquire) < i) relax();
    memcpy(copied, refilled, REFILLED);
    __asm__ volatile("" : : "r"(copied) : "memory"); /* the copy must happen */
    if (claim)
      for (size_t at = 0; at < REFILLED; at += LINE) {
        volatile char *byte = (char *)refilled + at;
        *byte = *byte;
      }
    atomic_store_explicit(&taken, i, memory_order_release);
  }
  return NULL;
}

static double refill(int claim) {
  pthread_t id;
  double each[MAX_REPETITIONS];
  atomic_store(&filled, 0);
  atomic_store(&taken, 0);
  if (pthread_create(&id, NULL, take, claim ? refilled : NULL)) abort();
  bind_to(0);
  for (unsigned i = 1; i <= (unsigned)repetitions; i++) {
    double start = now();
    for (size_t k = 0; k < REFILLED / sizeof(uint64_t); k++) refilled[k] = i;
    __asm__ volatile("" : : "r"(refilled) : "memory");
    each[i - 1] = now() - start;
    atomic_store_explicit(&filled, i, memory_order_release);
    while (atomic_load_explicit(&taken, memory_order_acquire) < i) relax();
  }
  pthread_join(id, NULL);
  return median(each, repetitions);
}

int main(int argc, char **argv) {
  if (argc < 4 || (threads = atoi(argv[1])) < 1 || threads > MAX_THREADS || (seconds = atof(argv[2])) <= 0) {
    fprintf(stderr, "usage: memory_limits THREADS(1..%d) SECONDS SIZE...\n", MAX_THREADS);
    return 2;
  }
  sched_getaffinity(0, sizeof allowed, &allowed);
  pthread_barrier_init(&barrier, NULL, threads);
  printf("{\"threads\": %d, \"copies\": [", threads);
  for (int i = 3; i < argc; i++) {
    size_t size = strtoull(argv[i], NULL, 10);
    repetitions = 3;
    double once = run_copies(size) * (size < (1 << 20) ? (double)(1 << 20) / size : 1);
    double wanted = seconds / once;
    repetitions = wanted < 5 ? 5 : wanted > MAX_REPETITIONS ? MAX_REPETITIONS : (int)wanted;
    printf("%s{\"size\": %zu, \"seconds\": %.4g}", i > 3 ? ", " : "", size, run_copies(size));
  }
  printf("]");
  if (threads > 1) {
    repetitions = MAX_REPETITIONS;
    printf(", \"round_trip\": %.4g", round_trip());
    double read = refill(0);
    printf(", \"refill_read\": %.4g, \"refill_claimed\": %.4g", read, refill(1));
  }
  printf("}\n");
  return 0;
}

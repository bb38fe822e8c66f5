// Sorts SIZE random numbers of 64 bits: each thread sorts a part, then the parts are merged in pairs, each by the
// thread of its left half. kernel.h has the command line.
#include <string.h>

#include "kernel.h"

static struct Kernel kernel;
static uint64_t *numbers, *scratch;
static pthread_barrier_t merged;

static void merge(uint64_t* into, const uint64_t* left, size_t left_count, const uint64_t* right, size_t right_count) {
  const uint64_t *const left_end = left + left_count, *const right_end = right + right_count;
  while (left != left_end && right != right_end) *into++ = *right < *left ? *right++ : *left++;
  memcpy(into, left, (size_t)(left_end - left) * sizeof *left);
  memcpy(into + (left_end - left), right, (size_t)(right_end - right) * sizeof *right);
}

static void insertion_sort(uint64_t* part, size_t count) {
  for (size_t i = 1; i < count; ++i) {
    const uint64_t value = part[i];
    size_t at = i;
    for (; at > 0 && value < part[at - 1]; --at) part[at] = part[at - 1];
    part[at] = value;
  }
}

static void merge_sort(uint64_t* part, uint64_t* beside, size_t count) {
  if (count <= 32) {
    insertion_sort(part, count);
    return;
  }
  const size_t half = count / 2;
  merge_sort(part, beside, half);
  merge_sort(part + half, beside + half, count - half);
  merge(beside, part, half, part + half, count - half);
  memcpy(part, beside, count * sizeof *part);
}

static void* sort_part(void* argument) {
  const size_t n = kernel.size, index = (uintptr_t)argument, threads = kernel.threads;
  const size_t first = kernel_part(&kernel, n, index);
  merge_sort(numbers + first, scratch + first, kernel_part(&kernel, n, index + 1) - first);
  for (size_t width = 1; width < threads; width *= 2) {
    pthread_barrier_wait(&merged);
    if (index % (2 * width) != 0 || index + width >= threads) continue;
    const size_t middle = kernel_part(&kernel, n, index + width);
    const size_t last = index + 2 * width < threads ? index + 2 * width : threads;
    const size_t end = kernel_part(&kernel, n, last);
    merge(scratch + first, numbers + first, middle - first, numbers + middle, end - middle);
    memcpy(numbers + first, scratch + first, (end - first) * sizeof *numbers);
  }
  return NULL;
}

int main(int count, char** arguments) {
  kernel = kernel_arguments(count, arguments);
  const size_t n = kernel.size;
  numbers = kernel_memory(n * sizeof *numbers), scratch = kernel_memory(n * sizeof *scratch);
  uint64_t random = 4141;
  for (size_t i = 0; i < n; ++i) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    numbers[i] = random;
  }
  pthread_barrier_init(&merged, NULL, kernel.threads);
  kernel_run(&kernel, sort_part);
  uint64_t digest = n;
  for (size_t i = 0; i < n; ++i) {
    if (i > 0 && numbers[i] < numbers[i - 1]) {
      fprintf(stderr, "sort: number %zu is less than the one before it\n", i);
      return 1;
    }
    digest = kernel_mix(digest, numbers[i]);
  }
  printf("digest=%016llx\n", (unsigned long long)digest);
  return 0;
}

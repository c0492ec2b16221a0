// Moves the machine's clock for the program that this is loaded before: by CLOCK_OFFSET seconds, and by the seconds in the file
// CLOCK_DIR/<program> (8 bytes), which a test writes over while the program runs.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const long *moved;

__attribute__((constructor)) static void find_file(void) {
  char program[4096] = {0}, path[8192];
  const char *folder = getenv("CLOCK_DIR");
  if (!folder || readlink("/proc/self/exe", program, sizeof program - 1) < 0) return;
  const char *name = strrchr(program, '/');
  snprintf(path, sizeof path, "%s/%s", folder, name ? name + 1 : program);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *bytes = mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (bytes != MAP_FAILED) moved = bytes;
}

int clock_gettime(clockid_t id, struct timespec *at) {
  int result = (int)syscall(SYS_clock_gettime, id, at);
  if (result != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return result;
  const char *offset = getenv("CLOCK_OFFSET");
  if (offset) at->tv_sec += atol(offset);
  if (moved) at->tv_sec += *moved;
  return result;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

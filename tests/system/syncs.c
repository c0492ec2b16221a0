// Counts in the file SYNC_COUNT (8 bytes) how often the program that this is loaded before syncs a write-ahead log of SQLite.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static long *count;

__attribute__((constructor)) static void find_file(void) {
  const char *path = getenv("SYNC_COUNT");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *bytes = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (bytes != MAP_FAILED) count = bytes;
}

static int synced(long call, int file) {
  int result = (int)syscall(call, file);
  char link[64], path[4096] = {0};
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (result == 0 && count && length > 4 && !strcmp(path + length - 4, "-wal")) __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
  return result;
}

int fdatasync(int file) { return synced(SYS_fdatasync, file); }
int fsync(int file) { return synced(SYS_fsync, file); }

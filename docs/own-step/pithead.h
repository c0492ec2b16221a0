/* Interface 1 of a vendor's own step, for C. Apache-2.0.
 *
 * clang --target=wasm32 -O2 -mbulk-memory -nostdlib -Wl,--no-entry -Wl,-z,stack-size=65536 -Wl,--strip-all -o step.wasm step.c
 *
 * A run has an instance of its own: memory begins as the file says, and nothing need be freed. */
#ifndef PITHEAD_H
#define PITHEAD_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

enum { FP32 = 1, UINT8 = 2, INT8, UINT16, INT16, INT32, INT64, BYTES, BOOL, FP16, FP64, UINT32, UINT64 };

/* Places are in bytes from the beginning of the message. */
typedef struct {
  u32 name, name_bytes, datatype, rank;
  i64 dims[8];
  u32 data, data_bytes, zero[2];
} tensor;

typedef struct {
  char magic[4]; /* PHT1 */
  u32 count, zero[2];
  tensor tensors[];
} message;

#define EXPORT(name) __attribute__((export_name(#name)))

__attribute__((import_module("pithead"), import_name("log"))) void pithead_log(const char *text, u32 bytes);

EXPORT(pithead_abi) int pithead_abi(void) { return 1; }

/* Takes memory from the end of the module's own, and more of it where that is not enough. */
extern u8 __heap_base;
static u8 *heap = &__heap_base;

EXPORT(alloc) void *alloc(u32 bytes) {
  u8 *at = (u8 *)(((u32)heap + 15) & ~15u);
  heap = at + bytes;
  u32 have = __builtin_wasm_memory_size(0) * 65536u;
  if ((u32)heap > have) __builtin_wasm_memory_grow(0, ((u32)heap - have + 65535u) / 65536u);
  return at;
}

/* Data of the n-th tensor that was given. */
static inline const void *data_of(const message *given, u32 n) { return (const u8 *)given + given->tensors[n].data; }

/* An answer of one FP32 tensor [rows, columns], or [rows] where there are no columns. */
static u64 answer(const char *name, u32 name_bytes, const float *numbers, u32 rows, u32 columns) {
  u32 bytes = rows * (columns ? columns : 1) * 4, data = sizeof(message) + sizeof(tensor) + 32;
  u8 *block = alloc(data + bytes);
  message *told = (message *)block;
  __builtin_memset(block, 0, data);
  __builtin_memcpy(told->magic, "PHT1", 4);
  told->count = 1;
  tensor *t = told->tensors;
  t->name = sizeof(message) + sizeof(tensor);
  t->name_bytes = name_bytes;
  t->datatype = FP32;
  t->rank = columns ? 2 : 1;
  t->dims[0] = rows;
  t->dims[1] = columns;
  t->data = data;
  t->data_bytes = bytes;
  __builtin_memcpy(block + t->name, name, name_bytes);
  __builtin_memcpy(block + data, numbers, bytes);
  return (u64)(u32)block << 32 | (data + bytes);
}

#define LOG(text) pithead_log(text, sizeof(text) - 1)

#endif

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

enum { ENTRIES = 2, NAMES = sizeof(message) + ENTRIES * sizeof(tensor) };

static void entry(message *told, const char *name, u32 name_bytes, u32 datatype, u32 rows, u32 columns, u32 data, u32 data_bytes) {
  tensor *t = told->tensors + told->count;
  t->name = NAMES + told->count++ * 16;
  t->name_bytes = name_bytes;
  t->datatype = datatype;
  t->rank = columns ? 2 : 1;
  t->dims[0] = rows;
  t->dims[1] = columns;
  t->data = data;
  t->data_bytes = data_bytes;
  __builtin_memcpy((u8 *)told + t->name, name, name_bytes);
}

/* An answer of one FP32 tensor [rows, columns], or [rows] where there are no columns. Its name has at most 16 bytes. */
static u64 answer(const char *name, u32 name_bytes, const float *numbers, u32 rows, u32 columns) {
  u32 bytes = rows * (columns ? columns : 1) * 4, data = NAMES + ENTRIES * 16;
  u8 *block = alloc(data + bytes);
  __builtin_memset(block, 0, data);
  __builtin_memcpy(block, "PHT1", 4);
  __builtin_memcpy(block + data, numbers, bytes);
  entry((message *)block, name, name_bytes, FP32, rows, columns, data, bytes);
  return (u64)(u32)block << 32 | (data + bytes);
}

/* The last answer with these bytes beside it, which the run on the next frame is given as `state`. */
static u64 keeping(u64 answered, const void *state, u32 bytes) {
  u8 *block = (u8 *)(u32)(answered >> 32), *at = alloc(bytes);
  __builtin_memcpy(at, state, bytes);
  entry((message *)block, "state", 5, UINT8, bytes, 0, at - block, bytes);
  return answered >> 32 << 32 | (u32)(at - block + bytes);
}

#define LOG(text) pithead_log(text, sizeof(text) - 1)

#endif

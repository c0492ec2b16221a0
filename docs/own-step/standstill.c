/* For how many seconds nothing has moved in the picture: a belt that stands, a camera that hangs. Apache-2.0.
 *
 * in: [frame, time, state], out: values. */
#include "pithead.h"

enum { ACROSS = 16, DOWN = 9, CELLS = ACROSS * DOWN, NOISE = 8 };
typedef struct { double since; u8 cells[CELLS]; } kept;

EXPORT(run) u64 run(const message *given, u32 bytes) {
  const u8 *pixel = data_of(given, 0);
  u32 height = given->tensors[0].dims[0], width = given->tensors[0].dims[1];
  u32 sums[CELLS] = {0}, counts[CELLS] = {0};
  for (u32 y = 0; y < height; y++)
    for (u32 x = 0; x < width; x++, pixel += 3) {
      u32 cell = y * DOWN / height * ACROSS + x * ACROSS / width;
      sums[cell] += pixel[1];
      counts[cell]++;
    }
  double now = *(const double *)data_of(given, 1);
  /* Empty at the first frame, and after a gap. */
  const kept *before = given->tensors[2].data_bytes == sizeof(kept) ? data_of(given, 2) : 0;
  kept next = {before ? before->since : now, {0}};
  for (u32 cell = 0; cell < CELLS; cell++) {
    next.cells[cell] = counts[cell] ? sums[cell] / counts[cell] : 0;
    int change = before ? next.cells[cell] - before->cells[cell] : 0;
    if (change > NOISE || change < -NOISE) next.since = now;
  }
  float still = now - next.since;
  return keeping(answer("values", 6, &still, 1, 0), &next, sizeof next);
}

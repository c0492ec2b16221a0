/* How many people wear no helmet: those with no helmet in the upper third of their box. Apache-2.0.
 *
 * in: [objects], out: values. Label 0 is person, label 1 helmet, as the step before has them. */
#include "pithead.h"

enum { PERSON, HELMET };
typedef struct { float label, score, x, y, w, h; } object;

EXPORT(run) u64 run(const message *given, u32 bytes) {
  const object *all = data_of(given, 0);
  u32 count = given->tensors[0].dims[0];
  float bare = 0;
  for (u32 i = 0; i < count; i++) {
    if (all[i].label != PERSON) continue;
    u32 helmets = 0;
    for (u32 j = 0; j < count; j++) {
      float x = all[j].x + all[j].w / 2 - all[i].x, y = all[j].y + all[j].h / 2 - all[i].y;
      helmets += all[j].label == HELMET && x > 0 && x < all[i].w && y > 0 && y < all[i].h / 3;
    }
    bare += helmets == 0;
  }
  if (bare > 0) LOG("somebody wears no helmet");
  return answer("values", 6, &bare, 1, 0);
}

/* PicoDet as it is exported without NMS: 4 x scores [1, n, labels] after sigmoid, then 4 x distances [1, n, 4 x 8], strides 8, 16, 32, 64.
 * Apache-2.0; the rule is that of PaddleDetection and of rapid-layout 1.2.1 (Apache-2.0), model_handler/pp/post_process.py.
 *
 * in: [tensors], out: objects, unit: pixels. WIDTH and HEIGHT are those of the model's picture. */
#include "pithead.h"

#ifndef WIDTH
#define WIDTH 608
#define HEIGHT 800
#endif
#define LEAST 0.4f  /* score */
#define IOU 0.5f
#define BINS 8      /* reg_max + 1 */
#define CANDIDATES 200
#define MOST 300

typedef struct { float label, score, x, y, w, h; } object;
typedef struct { float left, top, right, bottom, area; } box;
typedef struct { float score; u32 level, cell; } candidate;

static const float *scores[4], *distances[4];
static object found[MOST];
static u32 count;

/* e^x for x <= 0: 2^k times a polynomial on -0.5..0.5 of ln 2. */
static float exp_(float x) {
  if (x < -80) return 0;
  int k = (int)(x * 1.44269504f - 0.5f);
  float r = x - (float)k * 0.69314718f;
  float p = 1 + r * (1 + r * (0.5f + r * (0.16666667f + r * (0.041666667f + r * (0.0083333333f + r * 0.0013888889f)))));
  union { u32 bits; float value; } power = {(u32)(k + 127) << 23};
  return p * power.value;
}

static float between(float x, float most) { return x < 0 ? 0 : x > most ? most : x; }

/* A side's distance is the mean of its bins, weighed by their softmax. */
static float distance(const float *bins) {
  float most = bins[0], sum = 0, weighed = 0;
  for (int i = 1; i < BINS; i++) most = bins[i] > most ? bins[i] : most;
  for (int i = 0; i < BINS; i++) {
    float e = exp_(bins[i] - most);
    sum += e;
    weighed += e * (float)i;
  }
  return weighed / sum;
}

static box box_of(candidate c) {
  float stride = (float)(8u << c.level);
  u32 columns = (WIDTH + (8u << c.level) - 1) / (8u << c.level);
  float x = ((float)(c.cell % columns) + 0.5f) * stride, y = ((float)(c.cell / columns) + 0.5f) * stride;
  const float *bins = distances[c.level] + c.cell * 4 * BINS;
  box b = {x - distance(bins) * stride, y - distance(bins + BINS) * stride, x + distance(bins + 2 * BINS) * stride,
           y + distance(bins + 3 * BINS) * stride, 0};
  b.area = (b.right - b.left) * (b.bottom - b.top);
  return b;
}

static float overlap(const box *a, const box *b) {
  float w = (a->right < b->right ? a->right : b->right) - (a->left > b->left ? a->left : b->left);
  float h = (a->bottom < b->bottom ? a->bottom : b->bottom) - (a->top > b->top ? a->top : b->top);
  float both = w > 0 && h > 0 ? w * h : 0;
  return both / (a->area + b->area - both + 1e-5f);
}

/* The best of a label over all levels, then non-maximum suppression. */
static void of_label(const message *given, u32 label, u32 labels) {
  static candidate best[CANDIDATES];
  static box kept[CANDIDATES];
  u32 n = 0, keeps = 0;
  for (u32 level = 0; level < 4; level++) {
    u32 cells = given->tensors[level].dims[1];
    for (u32 cell = 0; cell < cells; cell++) {
      float score = scores[level][cell * labels + label];
      if (!(score > LEAST) || (n == CANDIDATES && score <= best[n - 1].score)) continue;
      u32 at = n < CANDIDATES ? n++ : n - 1;
      for (; at > 0 && best[at - 1].score < score; at--) best[at] = best[at - 1];
      best[at] = (candidate){score, level, cell};
    }
  }
  for (u32 i = 0; i < n && count < MOST; i++) {
    box b = box_of(best[i]);
    u32 free = 1;
    for (u32 j = 0; j < keeps && free; j++) free = overlap(&b, &kept[j]) <= IOU;
    if (!free) continue;
    kept[keeps++] = b;
    float x = between(b.left, WIDTH), y = between(b.top, HEIGHT);
    found[count++] = (object){(float)label, best[i].score, x, y, between(b.right, WIDTH) - x, between(b.bottom, HEIGHT) - y};
  }
}

EXPORT(run) u64 run(const message *given, u32 bytes) {
  if (given->count != 8) {
    LOG("eight outputs are needed: four of scores, then four of distances");
    __builtin_trap();
  }
  u32 labels = given->tensors[0].dims[2];
  for (u32 level = 0; level < 4; level++) {
    u32 stride = 8u << level, cells = ((WIDTH + stride - 1) / stride) * ((HEIGHT + stride - 1) / stride);
    const tensor *s = &given->tensors[level], *d = &given->tensors[level + 4];
    if (s->datatype != FP32 || d->datatype != FP32 || s->rank != 3 || d->rank != 3 || s->dims[1] != cells || d->dims[1] != cells ||
        s->dims[2] != labels || d->dims[2] != 4 * BINS) {
      LOG("an output has another shape than WIDTH, HEIGHT and BINS say");
      __builtin_trap();
    }
    scores[level] = data_of(given, level);
    distances[level] = data_of(given, level + 4);
  }
  for (u32 label = 0; label < labels; label++) of_label(given, label, labels);
  return answer("objects", 7, (const float *)found, count, 6);
}

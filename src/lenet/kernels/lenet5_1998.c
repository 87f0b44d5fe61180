// The LeNet-5 of 1998 (LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86(11), Section II-B and Appendices A and C), forward,
// loss, gradient and second derivatives of one image after another, and the optimizer's steps.
//
//            what                             output      lanes of a vector    weights, biases, coefficients
//   C1       convolution 5×5, 6 maps          6×28×28     columns                    150 +   6
//   S2       sums of 2×2, 6 coefficients      6×14×14     columns                      6 +   6
//   C3       convolution 5×5 of some of S2    16×10×10    maps                     1,500 +  16
//   S4       sums of 2×2, 16 coefficients     16×5×5      maps                        16 +  16
//   C5       120 units over all of S4         120         units                   48,000 + 120
//   F6       84 units                         84          units                   10,080 +  84
//   output   distances to 10 fixed bitmaps    10          classes                      0
//
// Every ingredient can be exchanged: all of S2 for C3, mean or maximum for the trainable sums, a linear output, another
// squashing. One image is too small for a lane each, so the sixteen lanes are what a layer has sixteen of: columns of C1
// and S2, C3's sixteen maps, units of C5 and F6, classes. C3's missing connections are weights of zero that stay zero.
//
// Weights, their gradients and their second derivatives have one form, `Weights`, in the order in which they are used;
// `load` and `store` change it for torch's order. All sums are taken in one order wherever this runs.
#include "activations.h"
#include "optimizers.h"
#include <stdlib.h>

enum { KERNEL = 5, WINDOW = KERNEL * KERNEL };
enum { SIDE = 32, C1 = 28, S2 = 14, C3 = 10, S4 = 5 };  // of the input and the maps
enum { MAPS1 = 6, MAPS3 = 16, INPUTS5 = MAPS3 * S4 * S4, UNITS5 = 120, UNITS6 = 84 };
enum { VECS5 = 8, VECS6 = 6 };  // that hold the units of C5 and F6
enum Subsampling { AVERAGE, MAXIMUM, TRAINABLE };
enum Loss { RBF_MEAN, RBF_MAP, CROSS_ENTROPY };
enum { SDLM = ADAMW + 1 };  // one more kind of optimizer

#ifdef __AVX512F__  // 32 registers of 16 floats
enum { C1_MAPS = 6, C3_COLUMNS = 10, C3_TAPS = WINDOW };
#else
enum { C1_MAPS = 3, C3_COLUMNS = 5, C3_TAPS = KERNEL };
#endif

typedef struct {
  float c1[160], c1_bias[LANES], s2_scale[LANES], s2_bias[LANES];  // [map][ky][kx]; of a map
  vec c3[MAPS1][WINDOW], c3_bias, s4_scale, s4_bias;
  vec c5[INPUTS5][VECS5], c5_bias[VECS5], f6[UNITS5][VECS6], f6_bias[VECS6], output[UNITS6], output_bias;
} Weights;
enum { FLOATS = sizeof(Weights) / sizeof(float) };

typedef struct {
  int32_t activation, subsampling, is_rbf, loss, classes;
  int32_t height, width;         // of an image: 32 at most, and in the middle of the input
  float penalty;                 // j of the MAP loss
  const float *pixels;           // [256] what each byte is to the network; byte 0 is the margin
  const uint8_t *connected;      // [16][6] which maps of S2 each map of C3 takes
  const float *centres;          // [classes][84] of the distances
  float *weights;                // all of them, in the order of torch's `parameters()`
} Network;

typedef struct {
  const uint8_t *images;   // [.][height][width]
  const int64_t *labels;   // [count]
  const int64_t *order;    // [count] which images, in their order
  const int64_t *offsets;  // [count][2] from 0 to 2 · shift: where the window is cut, down and across
  int64_t count;
  int32_t shift, batch_size;
  float smoothing;          // of the labels of the cross entropy
  const float *rates;       // [steps]
  int64_t first_step;
  Optimizer optimizer;
  float damping;            // mu of SDLM, and
  const float *curvature;   // [FLOATS] its second derivatives
  int64_t *answers;         // [count] results: classes of the highest output,
  double loss;              // summed over the images,
  int32_t is_finite;        // whether all weights are
} Training;

// What a layer puts out, or gradients at it.
typedef struct {
  float input[SIDE][SIDE + LANES];  // with zeros beside it, for whole vectors
  vec c1[MAPS1][C1][2], s2[MAPS1][S2], c3[C3][C3], s4[S4][S4], c5[VECS5], f6[VECS6], output;
  vec s2_sum[MAPS1][S2], s4_sum[S4][S4];  // of four, before their coefficient
} Units;

typedef struct {
  const Network *net;
  vec centres[UNITS6];  // lanes: classes
  mask connected[MAPS1];  // lanes: maps of C3
  Weights weights, gradient, squares;
  Units units, inputs, d;  // `inputs`: what weights are multiplied with: units, or their squares
} Context;

INLINE vec at(const float *from) {
  vec v;
  memcpy(&v, from, sizeof v);
  return v;
}

#define EVERY_SECOND 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define THE_OTHERS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
INLINE vec even(vec a, vec b) { return __builtin_shufflevector(a, b, EVERY_SECOND); }
INLINE vec odd(vec a, vec b) { return __builtin_shufflevector(a, b, THE_OTHERS); }
INLINE vec zip_low(vec a, vec b) { return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
INLINE vec zip_high(vec a, vec b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// The sums over the lanes of sixteen vectors, each in the order of `total`: halves are added onto each other.
INLINE vec totals(const vec *v) {
  vec a[8], b[4], c[2];
  UNROLL for (int i = 0; i < 8; i++)
    a[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(v[2 * i], v[2 * i + 1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  UNROLL for (int i = 0; i < 4; i++)
    b[i] = __builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           __builtin_shufflevector(a[2 * i], a[2 * i + 1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  UNROLL for (int i = 0; i < 2; i++)
    c[i] = __builtin_shufflevector(b[2 * i], b[2 * i + 1], 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
           __builtin_shufflevector(b[2 * i], b[2 * i + 1], 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
  return even(c[0], c[1]) + odd(c[0], c[1]);
}

// ------------------------------------------------------------------------------------------------- weights, as torch has

// Call VISIT(number in torch's order, place in `Weights`) for every weight.
#define FOR_WEIGHTS(net, w, VISIT) \
  { \
    int n = 0; \
    for (int i = 0; i < MAPS1 * WINDOW; i++) VISIT(n++, (w)->c1[i]); \
    for (int i = 0; i < MAPS1; i++) VISIT(n++, (w)->c1_bias[i]); \
    if ((net)->subsampling == TRAINABLE) { \
      for (int i = 0; i < MAPS1; i++) VISIT(n++, (w)->s2_scale[i]); \
      for (int i = 0; i < MAPS1; i++) VISIT(n++, (w)->s2_bias[i]); \
    } \
    for (int m = 0; m < MAPS3; m++) \
      for (int c = 0; c < MAPS1; c++) \
        if ((net)->connected[m * MAPS1 + c]) \
          for (int k = 0; k < WINDOW; k++) VISIT(n++, (w)->c3[c][k][m]); \
    for (int i = 0; i < MAPS3; i++) VISIT(n++, (w)->c3_bias[i]); \
    if ((net)->subsampling == TRAINABLE) { \
      for (int i = 0; i < MAPS3; i++) VISIT(n++, (w)->s4_scale[i]); \
      for (int i = 0; i < MAPS3; i++) VISIT(n++, (w)->s4_bias[i]); \
    } \
    for (int u = 0; u < UNITS5; u++) \
      for (int m = 0; m < MAPS3; m++) \
        for (int i = 0; i < S4 * S4; i++) VISIT(n++, ((float *)(w)->c5[i * MAPS3 + m])[u]); \
    for (int u = 0; u < UNITS5; u++) VISIT(n++, ((float *)(w)->c5_bias)[u]); \
    for (int u = 0; u < UNITS6; u++) \
      for (int i = 0; i < UNITS5; i++) VISIT(n++, ((float *)(w)->f6[i])[u]); \
    for (int u = 0; u < UNITS6; u++) VISIT(n++, ((float *)(w)->f6_bias)[u]); \
    if (!(net)->is_rbf) { \
      for (int u = 0; u < (net)->classes; u++) \
        for (int i = 0; i < UNITS6; i++) VISIT(n++, ((float *)(w)->output)[i * LANES + u]); \
      for (int u = 0; u < (net)->classes; u++) VISIT(n++, ((float *)&(w)->output_bias)[u]); \
    } \
  }

static void load(const Network *net, Weights *w) {
  memset(w, 0, sizeof *w);
#define VISIT(number, place) place = net->weights[number]
  FOR_WEIGHTS(net, w, VISIT)
#undef VISIT
}

static void store(const Network *net, const Weights *w, float *into) {
#define VISIT(number, place) into[number] = place
  FOR_WEIGHTS(net, w, VISIT)
#undef VISIT
}

// ------------------------------------------------------------------------------------------------------------- forward

static void read_image(const Network *net, Units *u, const uint8_t *image, int down, int right) {
  int height = net->height, width = net->width, top = (SIDE - height) / 2 + down, left = (SIDE - width) / 2 + right;
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++) u->input[y][x] = net->pixels[0];
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      if (y + top >= 0 && y + top < SIDE && x + left >= 0 && x + left < SIDE)
        u->input[y + top][x + left] = net->pixels[image[y * width + x]];
}

INLINE void squash_as(int kind, vec *units, int n) {
  vec slope;
  for (int i = 0; i < n; i++) units[i] = activation(kind, units[i], &slope);
}
static void squash(int kind, vec *units, int n) {
#define CALL(KIND) squash_as(KIND, units, n)
  FOR_ACTIVATION(kind, CALL)
#undef CALL
}

static void to_c1(const Weights *w, Units *u) {
  for (int map = 0; map < MAPS1; map += C1_MAPS)
    for (int y = 0; y < C1; y++) {
      vec sum[6][2];
      UNROLL for (int m = 0; m < C1_MAPS; m++) sum[m][0] = sum[m][1] = splat(w->c1_bias[map + m]);
      for (int ky = 0; ky < KERNEL; ky++)
        UNROLL for (int kx = 0; kx < KERNEL; kx++) {
          vec left = at(&u->input[y + ky][kx]), right = at(&u->input[y + ky][kx + LANES]);
          UNROLL for (int m = 0; m < C1_MAPS; m++) {
            vec k = splat(w->c1[(map + m) * WINDOW + ky * KERNEL + kx]);
            sum[m][0] = multiply_add(left, k, sum[m][0]);
            sum[m][1] = multiply_add(right, k, sum[m][1]);
          }
        }
      UNROLL for (int m = 0; m < C1_MAPS; m++) u->c1[map + m][y][0] = sum[m][0], u->c1[map + m][y][1] = sum[m][1];
    }
}

// The sum of two by two, or their mean or maximum, before a squashing.
INLINE vec subsample(int kind, vec a, vec b, vec c, vec d, vec scale, vec bias, vec *sum) {
  *sum = (a + b) + (c + d);
  if (kind == TRAINABLE) return multiply_add(*sum, scale, bias);
  return kind == AVERAGE ? splat(.25f) * *sum : maximum(maximum(a, b), maximum(c, d));
}

static void to_s2(const Network *net, const Weights *w, Units *u) {
  for (int m = 0; m < MAPS1; m++)
    for (int y = 0; y < S2; y++) {
      const vec *top = u->c1[m][2 * y], *low = u->c1[m][2 * y + 1];
      u->s2[m][y] = subsample(net->subsampling, even(top[0], top[1]), odd(top[0], top[1]), even(low[0], low[1]),
                              odd(low[0], low[1]), splat(w->s2_scale[m]), splat(w->s2_bias[m]), &u->s2_sum[m][y]);
    }
  if (net->subsampling == TRAINABLE) squash(net->activation, (vec *)u->s2, MAPS1 * S2);
}

static void to_c3(const Weights *w, Units *u) {
  for (int y = 0; y < C3; y++)
    for (int x = 0; x < C3; x += C3_COLUMNS) {
      vec sum[10];
      UNROLL for (int j = 0; j < C3_COLUMNS; j++) sum[j] = w->c3_bias;
      for (int c = 0; c < MAPS1; c++)
        for (int ky = 0; ky < KERNEL; ky++) {
          const float *row = (const float *)&u->s2[c][y + ky] + x;
          UNROLL for (int kx = 0; kx < KERNEL; kx++) {
            vec k = w->c3[c][ky * KERNEL + kx];
            UNROLL for (int j = 0; j < C3_COLUMNS; j++) sum[j] = multiply_add(splat(row[j + kx]), k, sum[j]);
          }
        }
      UNROLL for (int j = 0; j < C3_COLUMNS; j++) u->c3[y][x + j] = sum[j];
    }
}

static void to_s4(const Network *net, const Weights *w, Units *u) {
  for (int y = 0; y < S4; y++)
    for (int x = 0; x < S4; x++) {
      const vec *top = &u->c3[2 * y][2 * x], *low = &u->c3[2 * y + 1][2 * x];
      u->s4[y][x] = subsample(net->subsampling, top[0], top[1], low[0], low[1], w->s4_scale, w->s4_bias, &u->s4_sum[y][x]);
    }
  if (net->subsampling == TRAINABLE) squash(net->activation, (vec *)u->s4, S4 * S4);
}

// out[unit] = bias[unit] + sum over i of in[i] · weight[i][unit], in VECS vectors of units
INLINE void connect(const float *in, int inputs, const vec *weight, const vec *bias, vec *out, const int VECS) {
  vec sum[VECS5];
  UNROLL for (int k = 0; k < VECS; k++) sum[k] = bias[k];
  for (int i = 0; i < inputs; i++)
    UNROLL for (int k = 0; k < VECS; k++) sum[k] = multiply_add(splat(in[i]), weight[i * VECS + k], sum[k]);
  UNROLL for (int k = 0; k < VECS; k++) out[k] = sum[k];
}

// From the input to the logits: the outputs of a linear layer, or the distances from the bitmaps, with a minus.
static void forward(Context *c) {
  const Network *net = c->net;
  const Weights *w = &c->weights;
  Units *u = &c->units;
  to_c1(w, u);
  squash(net->activation, (vec *)u->c1, MAPS1 * C1 * 2);
  to_s2(net, w, u);
  to_c3(w, u);
  squash(net->activation, (vec *)u->c3, C3 * C3);
  to_s4(net, w, u);
  connect((float *)u->s4, INPUTS5, (vec *)w->c5, w->c5_bias, u->c5, VECS5);
  squash(net->activation, u->c5, VECS5);
  connect((float *)u->c5, UNITS5, (vec *)w->f6, w->f6_bias, u->f6, VECS6);
  squash(net->activation, u->f6, VECS6);
  const float *f6 = (const float *)u->f6;
  if (net->is_rbf) {
    vec sum = splat(0.f);
    for (int i = 0; i < UNITS6; i++) {
      vec distance = splat(f6[i]) - c->centres[i];
      sum = multiply_add(distance, distance, sum);
    }
    u->output = -sum;
  } else {
    connect(f6, UNITS6, w->output, &w->output_bias, &u->output, 1);
  }
}

// ---------------------------------------------------------------------------------------------------------------- loss

static int highest(const Network *net, vec logits) {
  int answer = 0;
  for (int k = 1; k < net->classes; k++)
    if (logits[k] > logits[answer]) answer = k;
  return answer;
}

// exp(logit - top) of each class, `top` the highest logit or, in the MAP loss, -j if that is higher; `all` is the sum of
// these, with exp(-j - top) of the MAP loss: the class of what is no digit.
static vec powers(const Network *net, int loss, vec logits, float *top, float *all) {
  mask is_class;
  for (int k = 0; k < LANES; k++) is_class[k] = k < net->classes ? -1 : 0;
  *top = logits[highest(net, logits)];
  if (loss == RBF_MAP && -net->penalty > *top) *top = -net->penalty;
  vec p = choose(is_class, exp_vec(logits - splat(*top)), splat(0.f));
  *all = total(p);
  if (loss == RBF_MAP) *all += exp_vec(splat(-net->penalty - *top))[0];
  return p;
}

// The loss of an image, in nats where it is a logarithm (equations 8 and 9).
static double loss_of(const Network *net, int loss, vec logits, int label, float smoothing) {
  if (loss == RBF_MEAN) return -logits[label];
  float top, all;
  powers(net, loss, logits, &top, &all);
  double log_all = (double)top + log_vec(splat(all))[0], other = 0;
  if (smoothing == 0) return log_all - logits[label];
  for (int k = 0; k < net->classes; k++) other += logits[k];
  return log_all - (1 - smoothing) * (double)logits[label] - smoothing / net->classes * other;
}

// The gradient at F6, after its squashing, or the second derivatives there (`is_second`); a linear output has its own.
static void from_loss(Context *c, int label, float smoothing, int is_second) {
  const Network *net = c->net;
  Units *u = &c->units, *d = &c->d;
  float top, all;
  vec p = splat(0.f);
  if (net->loss != RBF_MEAN) p = powers(net, net->loss, u->output, &top, &all) / splat(all);
  if (!net->is_rbf) {
    float other = smoothing / (float)net->classes;
    for (int k = 0; k < LANES; k++) {
      float target = k >= net->classes ? 0 : k == label ? 1 - smoothing + other : other;
      d->output[k] = is_second ? p[k] * (1 - p[k]) : p[k] - target;
    }
    return;
  }
  const float *f6 = (const float *)u->f6;
  float shared = 1 - total(p);  // what the loss's second derivative has of the distances' own
  memset(d->f6, 0, sizeof d->f6);
  for (int from = 0; from < VECS6; from++) {
    vec first[LANES], second[LANES], own;
    for (int i = 0; i < LANES; i++) {
      int unit = from * LANES + i;
      vec distance = unit < UNITS6 ? splat(f6[unit]) - c->centres[unit] : splat(0.f);
      first[i] = p * distance;
      second[i] = first[i] * distance;
      own[i] = distance[label];
    }
    vec mean = totals(first);
    d->f6[from] = is_second ? splat(2 * shared) + splat(4.f) * (totals(second) - mean * mean) : splat(2.f) * (own - mean);
  }
  if (is_second) for (int i = UNITS6; i < VECS6 * LANES; i++) ((float *)d->f6)[i] = 0;
}

// ------------------------------------------------------------------------------------------------------------ backward

// Gradients before a squashing from those after it; for second derivatives the slope counts twice (Appendix C).
INLINE void through_as(int kind, const vec *units, vec *d, int n, int is_second) {
  for (int i = 0; i < n; i++) {
    d[i] = through(kind, units[i], &d[i], d[i]);
    if (is_second) d[i] = through(kind, units[i], &d[i], d[i]);
  }
}
static void squash_backward(int kind, const vec *units, vec *d, int n, int is_second) {
#define CALL(KIND) through_as(KIND, units, d, n, is_second)
  FOR_ACTIVATION(kind, CALL)
#undef CALL
}

// d_in[i] = sum over units of d_out[unit] · weight[i][unit], and gradient[i][unit] += in[i] · d_out[unit]
INLINE void connect_backward(const float *in, int inputs, const vec *weight, const vec *d_out, vec *d_in, vec *gradient,
                             const int VECS) {
  for (int from = 0; from < inputs; from += LANES) {
    vec sums[LANES];
    for (int j = 0; j < LANES; j++) {
      int i = from + j;
      sums[j] = splat(0.f);
      if (i >= inputs) continue;
      UNROLL for (int k = 0; k < VECS; k++) {
        sums[j] = multiply_add(weight[i * VECS + k], d_out[k], sums[j]);
        gradient[i * VECS + k] = multiply_add(splat(in[i]), d_out[k], gradient[i * VECS + k]);
      }
    }
    d_in[from / LANES] = totals(sums);
  }
}

// The gradients of the four under a unit of a subsampling; of equals, the first has the maximum's.
INLINE void subsample_backward(int kind, int is_second, const vec unit[4], vec out, vec scale, vec d_out, vec d[4]) {
  vec share = kind == TRAINABLE ? d_out * scale : kind == AVERAGE ? d_out * splat(is_second ? .0625f : .25f) : d_out;
  UNROLL for (int k = 0; k < 4; k++) {
    d[k] = share;
    if (kind == MAXIMUM) {
      mask is_largest = unit[k] == out;
      d[k] = choose(is_largest, share, splat(0.f));
      share = choose(is_largest, splat(0.f), share);
    }
  }
}

static void back_to_c3(Context *c, const Weights *w, int is_second) {
  const Network *net = c->net;
  Units *u = &c->units, *x = &c->inputs, *d = &c->d;
  Weights *g = &c->gradient;
  if (net->subsampling == TRAINABLE) squash_backward(net->activation, (vec *)u->s4, (vec *)d->s4, S4 * S4, is_second);
  for (int y = 0; y < S4; y++)
    for (int i = 0; i < S4; i++) {
      const vec unit[4] = {u->c3[2 * y][2 * i], u->c3[2 * y][2 * i + 1], u->c3[2 * y + 1][2 * i], u->c3[2 * y + 1][2 * i + 1]};
      vec four[4], d_out = d->s4[y][i];
      subsample_backward(net->subsampling, is_second, unit, u->s4[y][i], w->s4_scale, d_out, four);
      g->s4_scale = multiply_add(x->s4_sum[y][i], d_out, g->s4_scale);
      g->s4_bias += d_out;
      d->c3[2 * y][2 * i] = four[0], d->c3[2 * y][2 * i + 1] = four[1];
      d->c3[2 * y + 1][2 * i] = four[2], d->c3[2 * y + 1][2 * i + 1] = four[3];
    }
  squash_backward(net->activation, (vec *)u->c3, (vec *)d->c3, C3 * C3, is_second);
}

static void back_to_s2(Context *c, const Weights *w) {
  Units *x = &c->inputs, *d = &c->d;
  Weights *g = &c->gradient;
  for (int y = 0; y < C3; y++)
    for (int i = 0; i < C3; i++) g->c3_bias += d->c3[y][i];
  for (int m = 0; m < MAPS1; m++)
    for (int tap = 0; tap < WINDOW; tap += C3_TAPS) {
      vec sum[WINDOW];
      UNROLL for (int k = 0; k < C3_TAPS; k++) sum[k] = splat(0.f);
      for (int y = 0; y < C3; y++)
        for (int i = 0; i < C3; i++) {
          vec here = d->c3[y][i];
          UNROLL for (int k = 0; k < C3_TAPS; k++) {
            const float *row = (const float *)&x->s2[m][y + (tap + k) / KERNEL];
            sum[k] = multiply_add(splat(row[i + (tap + k) % KERNEL]), here, sum[k]);
          }
        }
      UNROLL for (int k = 0; k < C3_TAPS; k++) g->c3[m][tap + k] += choose(c->connected[m], sum[k], splat(0.f));
    }
  for (int m = 0; m < MAPS1; m++)
    for (int y = 0; y < S2; y++) {
      vec sums[LANES];
      int first_ky = y >= C3 ? y - C3 + 1 : 0, last_ky = y < KERNEL ? y : KERNEL - 1;
      for (int i = 0; i < LANES; i++) {
        vec sum = splat(0.f);
        int first_kx = i >= C3 ? i - C3 + 1 : 0, last_kx = i < KERNEL ? i : KERNEL - 1;
        for (int ky = first_ky; ky <= last_ky; ky++)
          for (int kx = first_kx; kx <= last_kx; kx++)
            sum = multiply_add(w->c3[m][ky * KERNEL + kx], d->c3[y - ky][i - kx], sum);
        sums[i] = sum;
      }
      d->s2[m][y] = totals(sums);
    }
}

static void back_to_c1(Context *c, const Weights *w, int is_second) {
  const Network *net = c->net;
  Units *u = &c->units, *x = &c->inputs, *d = &c->d;
  Weights *g = &c->gradient;
  if (net->subsampling == TRAINABLE) squash_backward(net->activation, (vec *)u->s2, (vec *)d->s2, MAPS1 * S2, is_second);
  for (int m = 0; m < MAPS1; m++) {
    vec scale = splat(0.f), bias = splat(0.f);
    for (int y = 0; y < S2; y++) {
      const vec *top = u->c1[m][2 * y], *low = u->c1[m][2 * y + 1];
      const vec unit[4] = {even(top[0], top[1]), odd(top[0], top[1]), even(low[0], low[1]), odd(low[0], low[1])};
      vec four[4], d_out = d->s2[m][y];
      subsample_backward(net->subsampling, is_second, unit, u->s2[m][y], splat(w->s2_scale[m]), d_out, four);
      scale = multiply_add(x->s2_sum[m][y], d_out, scale);
      bias += d_out;
      d->c1[m][2 * y][0] = zip_low(four[0], four[1]), d->c1[m][2 * y][1] = zip_high(four[0], four[1]);
      d->c1[m][2 * y + 1][0] = zip_low(four[2], four[3]), d->c1[m][2 * y + 1][1] = zip_high(four[2], four[3]);
    }
    g->s2_scale[m] += total(scale);
    g->s2_bias[m] += total(bias);
  }
  squash_backward(net->activation, (vec *)u->c1, (vec *)d->c1, MAPS1 * C1 * 2, is_second);
}

static void back_to_input(Context *c) {
  Units *x = &c->inputs, *d = &c->d;
  Weights *g = &c->gradient;
  vec sums[160];
  memset(sums, 0, sizeof sums);
  for (int map = 0; map < MAPS1; map += 3)
    for (int ky = 0; ky < KERNEL; ky++) {
      vec sum[3][KERNEL];
      UNROLL for (int m = 0; m < 3; m++) UNROLL for (int kx = 0; kx < KERNEL; kx++) sum[m][kx] = splat(0.f);
      for (int y = 0; y < C1; y++)
        UNROLL for (int half = 0; half < 2; half++)
          UNROLL for (int kx = 0; kx < KERNEL; kx++) {
            vec pixels = at(&x->input[y + ky][kx + half * LANES]);
            UNROLL for (int m = 0; m < 3; m++) sum[m][kx] = multiply_add(pixels, d->c1[map + m][y][half], sum[m][kx]);
          }
      UNROLL for (int m = 0; m < 3; m++) UNROLL for (int kx = 0; kx < KERNEL; kx++)
        sums[(map + m) * WINDOW + ky * KERNEL + kx] = sum[m][kx];
    }
  for (int i = 0; i < 160; i += LANES) {
    vec s = totals(sums + i) + at(g->c1 + i);
    memcpy(g->c1 + i, &s, sizeof s);
  }
  for (int m = 0; m < MAPS1; m++) {
    vec bias = splat(0.f);
    for (int y = 0; y < C1; y++) bias += d->c1[m][y][0] + d->c1[m][y][1];
    g->c1_bias[m] += total(bias);
  }
}

static void square(float *to, const float *from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i] * from[i];
}

// Add the gradient of the image in `units`, or, with `is_second`, its second derivatives by the Gauss-Newton
// approximation of Appendix C: the same way back, with the squares of weights and inputs, and slopes that count twice.
// A shared weight has the sum over its uses.
static void backward(Context *c, int label, float smoothing, int is_second) {
  const Network *net = c->net;
  const Weights *w = is_second ? &c->squares : &c->weights;
  Units *u = &c->units, *x = &c->inputs, *d = &c->d;
  Weights *g = &c->gradient;
  if (is_second) square((float *)x, (const float *)u, sizeof(Units) / sizeof(float));
  else memcpy(x, u, sizeof *x);
  from_loss(c, label, smoothing, is_second);
  if (!net->is_rbf) {
    connect_backward((float *)x->f6, UNITS6, w->output, &d->output, d->f6, g->output, 1);
    g->output_bias += d->output;
  }
  squash_backward(net->activation, u->f6, d->f6, VECS6, is_second);
  connect_backward((float *)x->c5, UNITS5, (vec *)w->f6, d->f6, d->c5, (vec *)g->f6, VECS6);
  squash_backward(net->activation, u->c5, d->c5, VECS5, is_second);
  connect_backward((float *)x->s4, INPUTS5, (vec *)w->c5, d->c5, (vec *)d->s4, (vec *)g->c5, VECS5);
  for (int k = 0; k < VECS6; k++) g->f6_bias[k] += d->f6[k];
  for (int k = 0; k < VECS5; k++) g->c5_bias[k] += d->c5[k];
  back_to_c3(c, w, is_second);
  back_to_s2(c, w);
  back_to_c1(c, w, is_second);
  back_to_input(c);
}

// --------------------------------------------------------------------------------------------------------------- steps

static Context *begin(const Network *net) {
  size_t bytes = (sizeof(Context) + sizeof(vec) - 1) / sizeof(vec) * sizeof(vec);
  Context *c = aligned_alloc(sizeof(vec), bytes);
  if (!c) return NULL;
  memset(c, 0, bytes);
  c->net = net;
  for (int k = 0; k < net->classes; k++)
    for (int i = 0; net->centres && i < UNITS6; i++) c->centres[i][k] = net->centres[k * UNITS6 + i];
  for (int m = 0; m < MAPS3; m++)
    for (int i = 0; i < MAPS1; i++) c->connected[i][m] = net->connected[m * MAPS1 + i] ? -1 : 0;
  load(net, &c->weights);
  return c;
}

static void show(Context *c, const Training *job, int64_t number) {
  const int64_t *offsets = job->offsets + 2 * number;
  const uint8_t *image = job->images + job->order[number] * c->net->height * c->net->width;
  read_image(c->net, &c->units, image, job->shift - (int)offsets[0], job->shift - (int)offsets[1]);
  forward(c);
}

// One step with the gradient summed over `images`. `faster` is 1 / (mu + second derivative) of SDLM.
static void step(Context *c, const Training *job, int images, float rate, int64_t number, const float *faster) {
  const Optimizer *o = &job->optimizer;
  float *w = (float *)&c->weights, *g = (float *)&c->gradient, factor = 1.f / (float)images;
  if (o->clip > 0) {
    double norm = 0;
    for (int i = 0; i < FLOATS; i++) norm += (double)(g[i] * factor) * (g[i] * factor);
    double most = o->clip / (sqrt(norm) + 1e-6);  // as torch.nn.utils.clip_grad_norm_
    factor *= most < 1 ? (float)most : 1;
  }
  if (o->kind == SDLM)
    for (int i = 0; i < FLOATS; i++) w[i] -= rate * faster[i] * (g[i] * factor);
  else
    optimizer_step(o, w, g, factor, rate, number, 0, FLOATS);
}

// Take the optimizer steps of a chunk of mini-batches. Returns 0, or 1 where there is no memory for it.
int lenet5_1998_train(const Network *net, Training *job) {
  Context *c = begin(net);
  float *faster = malloc(sizeof(Weights));
  if (!c || !faster) return free(c), free(faster), 1;
  for (int i = 0; i < FLOATS; i++) faster[i] = job->curvature ? 1 / (job->damping + job->curvature[i]) : 0;
  job->loss = 0;
  for (int64_t first = 0, number = 0; first < job->count; first += job->batch_size, number++) {
    int64_t end = first + job->batch_size < job->count ? first + job->batch_size : job->count;
    memset(&c->gradient, 0, sizeof c->gradient);
    for (int64_t i = first; i < end; i++) {
      show(c, job, i);
      int label = (int)job->labels[i];
      job->loss += loss_of(net, net->loss, c->units.output, label, job->smoothing);
      job->answers[i] = highest(net, c->units.output);
      backward(c, label, job->smoothing, 0);
    }
    step(c, job, (int)(end - first), job->rates[number], job->first_step + number + 1, faster);
  }
  float zero = 0;
  for (int i = 0; i < FLOATS; i++) zero += ((float *)&c->weights)[i] * 0;
  job->is_finite = zero == 0;
  store(net, &c->weights, net->weights);
  free(c), free(faster);
  return 0;
}

// The mean second derivatives of a chunk's images, [FLOATS] in the form of `Weights`. Returns as above.
int lenet5_1998_curvature(const Network *net, const Training *job, float *curvature) {
  Context *c = begin(net);
  if (!c) return 1;
  square((float *)&c->squares, (const float *)&c->weights, FLOATS);
  for (int64_t i = 0; i < job->count; i++) {
    show(c, job, i);
    backward(c, (int)job->labels[i], 0, 1);
  }
  for (int i = 0; i < FLOATS; i++) curvature[i] = ((float *)&c->gradient)[i] / (float)job->count;
  free(c);
  return 0;
}

// The logits [count][classes] of images; with labels, also their cross entropy, summed. Returns as above.
int lenet5_1998_read(const Network *net, const uint8_t *images, const int64_t *labels, int64_t count, float *logits,
                     double *loss) {
  Context *c = begin(net);
  if (!c) return 1;
  *loss = 0;
  for (int64_t i = 0; i < count; i++) {
    read_image(net, &c->units, images + i * net->height * net->width, 0, 0);
    forward(c);
    for (int k = 0; k < net->classes; k++) logits[i * net->classes + k] = c->units.output[k];
    if (labels) *loss += loss_of(net, CROSS_ENTROPY, c->units.output, (int)labels[i], 0);
  }
  free(c);
  return 0;
}

// A vector in the form of `Weights`, such as second derivatives, in torch's order.
void lenet5_1998_in_order(const Network *net, const Weights *w, float *into) { store(net, w, into); }

int32_t lenet5_1998_floats(void) { return FLOATS; }
int32_t lenet5_1998_network_bytes(void) { return sizeof(Network); }
int32_t lenet5_1998_training_bytes(void) { return sizeof(Training); }

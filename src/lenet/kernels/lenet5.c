// LeNet-5, forward, loss, backward and optimizer step, for images of one channel on the network's 32×32 input.
//
//            what                             output      weights + biases
//   C1       convolution 5×5, 6 maps          6×28×28          150 +   6
//   S2       mean or maximum of 2×2           6×14×14
//   C3       convolution 5×5, all of S2       16×10×10       2,400 +  16
//   S4       mean or maximum of 2×2           16×5×5
//   F5       120 units over all of S4         120           48,000 + 120
//   F6       84 units                         84            10,080 +  84
//   output   a unit a class                   10               840 +  10
//
// C1, C3, F5 and F6 are squashed; batch normalisation may stand before the squashing of C1 and C3.
//
// A **tile** is sixteen images that go through the network together, one in each lane of a vector. A unit of the network
// is one vector, so every line of arithmetic below reads as if it were for one image:
//
//        image 0    1    2         15
//            ┌────┬────┬────┬─ ─ ┬────┐
//   c1[0][0][0]   │    │    │    │    │   the first unit of C1's first map, of sixteen images
//            ├────┼────┼────┼─ ─ ┼────┤
//   c1[0][0][1]   │    │    │    │    │   its neighbour to the right
//            └────┴────┴────┴─ ─ ┴────┘
//
// All units of a tile and their gradients are 1 MB or less, and stay in the processor's cache from the pixels to the
// gradient. The gradient of a convolution's weight is summed over the pixels in each lane, and over the lanes at the end.
// The weights of F5, F6 and the output are too many for that: there, units are turned into a row an image, and the sixteen
// lanes are sixteen inputs of the layer.
//
// A **part** is two tiles, 32 images of a mini-batch. A **share** is every n-th part, n of them in all, 32 at most; it has
// a gradient of its own, and is computed by one thread. Parts, shares, and the order in which gradients are added depend
// on the number of images alone: any number of threads gives the same weights to the last bit.
#include "layers.h"
#include "optimizers.h"
#include "threads.h"
#include <stddef.h>
#include <stdlib.h>

enum { SIDE = 32, PIXELS = SIDE * SIDE };  // of the input
enum { C1 = 28, S2 = 14, C3 = 10, S4 = 5 };  // sides of the maps
enum { MAPS1 = 6, MAPS3 = 16, INPUTS5 = MAPS3 * S4 * S4, UNITS5 = 120, UNITS6 = 84, MAX_CLASSES = 32 };
enum { ROW5 = 128, ROW6 = 96 };  // floats of a row of F5 and F6: whole vectors
enum { PART = 2 * LANES, MAX_SHARES = 32 };
enum { BLOCK = 1024 };  // weights whose part of the gradient's norm is summed at once

#define VARIANCE_ADDED 1e-5f  // by batch normalisation, and
#define NEW_SHARE 0.1f        // how much of its running statistics is the newest mini-batch's: torch's defaults

// ---------------------------------------------------------------------------------------------------- what is given

typedef struct {
  int32_t activation, pooling, normalized, classes;
  int32_t height, width;  // of an image: 32 at most, and in the middle of the input
  const float *pixels;    // [256] what each byte is to the network; byte 0 is the margin
  float *weights;         // all of them, in the order of torch's `parameters()`
  float *running_mean[2], *running_variance[2];  // of the batch normalisation after C1 and C3
} Network;

typedef struct {
  const uint8_t *images;   // [.][height][width]
  const int64_t *labels;   // [count]
  const int64_t *order;    // [count] which images, in their order
  const int64_t *offsets;  // [count][2] from 0 to 2 · shift: where the window is cut, down and across
  int64_t count;
  int32_t shift, batch_size, accumulate;  // `accumulate` mini-batches are one step
  float smoothing;                        // of the labels
  const float *rates;                     // [steps] learning rates
  int64_t first_step;                     // steps taken before
  Optimizer optimizer;
  int32_t threads;
  // Results:
  int64_t *answers;   // [count] classes of the highest output
  double loss;        // summed over the images
  int32_t is_finite;  // whether all weights are
} Training;

// ------------------------------------------------------------------------------------------------- where things are

// Of each layer's weights among all: weights and biases, and scale and shift of a batch normalisation.
typedef struct {
  int c1, c1_bias, c1_scale, c1_shift, c3, c3_bias, c3_scale, c3_shift, f5, f5_bias, f6, f6_bias, output, output_bias, all;
} Places;

static Places places(const Network *net) {
  Places at;
  int next = 0, normal1 = net->normalized ? MAPS1 : 0, normal3 = net->normalized ? MAPS3 : 0;
#define PLACE(name, size) at.name = next, next += size
  PLACE(c1, MAPS1 * WINDOW), PLACE(c1_bias, MAPS1), PLACE(c1_scale, normal1), PLACE(c1_shift, normal1);
  PLACE(c3, MAPS3 * MAPS1 * WINDOW), PLACE(c3_bias, MAPS3), PLACE(c3_scale, normal3), PLACE(c3_shift, normal3);
  PLACE(f5, UNITS5 * INPUTS5), PLACE(f5_bias, UNITS5), PLACE(f6, UNITS6 * UNITS5), PLACE(f6_bias, UNITS6);
  PLACE(output, net->classes * UNITS6), PLACE(output_bias, net->classes);
#undef PLACE
  at.all = next;
  return at;
}

typedef struct {
  int images;     // that it has, 16 or fewer
  mask is_image;  // -1 in the lanes that have one
  vec input[SIDE][SIDE];
  vec c1[MAPS1][C1][C1], s2[MAPS1][S2][S2], c3[MAPS3][C3][C3], s4[INPUTS5], f5[UNITS5], f6[UNITS6], output[MAX_CLASSES];
  // Gradients. Those of C1 and C3 take the place of the units.
  vec d_s2[MAPS1][S2][S2], d_s4[INPUTS5], d_f5[UNITS5], d_f6[UNITS6], d_output[MAX_CLASSES];
  // Slopes of SiLU and GELU, and units normalised to mean 0 and variance 1: not touched where they are not needed.
  vec c1_slope[MAPS1][C1][C1], c3_slope[MAPS3][C3][C3], f5_slope[UNITS5], f6_slope[UNITS6];
  vec c1_normal[MAPS1][C1][C1], c3_normal[MAPS3][C3][C3];
  // Of each map: mean and summed squares of the distances from it; summed gradient, and that times the normalised unit.
  float mean1[MAPS1], squares1[MAPS1], mean3[MAPS3], squares3[MAPS3];
  float sum1[MAPS1], product1[MAPS1], sum3[MAPS3], product3[MAPS3];
} Tile;

typedef struct {
  vec d_c1[MAPS1 * WINDOW], d_c1_bias[MAPS1], d_c3[MAPS3 * MAPS1 * WINDOW], d_c3_bias[MAPS3];
  vec d_f5_bias[UNITS5], d_f6_bias[UNITS6], d_output_bias[MAX_CLASSES];
  float s4[PART * INPUTS5], f5[PART * ROW5], f6[PART * ROW6];  // rows of the part at hand
  float d_f5[PART * UNITS5], d_f6[PART * UNITS6], d_output[PART * MAX_CLASSES];
  float *gradient;
  double loss;
} Share;

typedef struct {
  const Network *net;
  Training *training;
  Places at;
  int padded;      // weights, up to whole cache lines: the distance of two shares' gradients
  Tile *tiles;     // one a thread, or, with batch normalisation, one for each tile of a mini-batch
  Share *shares;
  double *norms;   // [blocks] of the gradient, squared
  atomic_int is_wrong;  // some weight is not finite
} Context;

// One mini-batch, and how its images are divided.
typedef struct {
  int64_t first;  // its first image's number in the chunk
  int count, parts, shares;
  float scale;  // of an image's gradient: one over the images of the optimizer step
} Batch;

// ------------------------------------------------------------------------------------------------------------ forward

// Sixteen images, or fewer, into the tile's input; each `down` and `right` of the middle as its offsets say.
static void read_images(const Network *net, Tile *t, const uint8_t *images, const int64_t *order, const int64_t *offsets,
                        int shift, int count) {
  float *input = (float *)t->input;
  vec margin = splat(net->pixels[0]);
  for (int i = 0; i < PIXELS; i++) ((vec *)t->input)[i] = margin;
  t->images = count;
  for (int lane = 0; lane < LANES; lane++) t->is_image[lane] = lane < count ? -1 : 0;
  int height = net->height, width = net->width;
  for (int lane = 0; lane < count; lane++) {
    const uint8_t *image = images + (order ? order[lane] : lane) * height * width;
    int top = (SIDE - height) / 2, left = (SIDE - width) / 2;
    if (offsets) top += shift - (int)offsets[2 * lane], left += shift - (int)offsets[2 * lane + 1];
    int begin = left < 0 ? -left : 0, end = left + width > SIDE ? SIDE - left : width;
    for (int y = 0; y < height; y++)
      if (y + top >= 0 && y + top < SIDE)
        for (int x = begin; x < end; x++)
          input[((y + top) * SIDE + x + left) * LANES + lane] = net->pixels[image[y * width + x]];
  }
}

static void to_c1(const Context *c, Tile *t) {
  const float *w = c->net->weights;
  convolve((vec *)t->input, 1, SIDE, w + c->at.c1, w + c->at.c1_bias, (vec *)t->c1, MAPS1, C1_MAPS, C1_COLUMNS);
}

static void to_s2_and_c3(const Context *c, Tile *t) {
  const float *w = c->net->weights;
  squash(c->net->activation, (vec *)t->c1, (vec *)t->c1_slope, MAPS1 * C1 * C1);
  subsample(c->net->pooling, (vec *)t->c1, (vec *)t->s2, MAPS1, S2);
  convolve((vec *)t->s2, MAPS1, S2, w + c->at.c3, w + c->at.c3_bias, (vec *)t->c3, MAPS3, C3_MAPS, C3_COLUMNS);
}

static void to_output(const Context *c, Tile *t) {
  const float *w = c->net->weights;
  const Places *at = &c->at;
  squash(c->net->activation, (vec *)t->c3, (vec *)t->c3_slope, MAPS3 * C3 * C3);
  subsample(c->net->pooling, (vec *)t->c3, t->s4, MAPS3, S4);
  connect(t->s4, INPUTS5, w + at->f5, w + at->f5_bias, t->f5, UNITS5, UNITS);
  squash(c->net->activation, t->f5, t->f5_slope, UNITS5);
  connect(t->f5, UNITS5, w + at->f6, w + at->f6_bias, t->f6, UNITS6, UNITS);
  squash(c->net->activation, t->f6, t->f6_slope, UNITS6);
  connect(t->f6, UNITS6, w + at->output, w + at->output_bias, t->output, c->net->classes, 1);
}

// Cross entropy with smoothed labels, and its gradient at the output: softmax less the label, times `scale`.
static void to_loss(int classes, Tile *t, const int64_t *labels, float smoothing, float scale, double *loss, int64_t *answers) {
  mask label = {0}, answer = {0};
  for (int lane = 0; lane < t->images; lane++) label[lane] = (int32_t)labels[lane];
  vec top = t->output[0], at_label = splat(0.f), sum = splat(0.f), powers = splat(0.f);
  for (int k = 1; k < classes; k++) {
    mask is_higher = t->output[k] > top;
    top = choose(is_higher, t->output[k], top);
    answer = (is_higher & k) | (~is_higher & answer);
  }
  for (int k = 0; k < classes; k++) {
    vec z = t->output[k] - top;
    at_label = choose(label == k, z, at_label);
    sum += z;
    powers += t->d_output[k] = exp_vec(z);
  }
  float other = smoothing / (float)classes, own = 1 - smoothing + other;
  for (int k = 0; k < classes; k++) {
    vec target = choose(label == k, splat(own), splat(other));
    t->d_output[k] = choose(t->is_image, (t->d_output[k] / powers - target) * splat(scale), splat(0.f));
  }
  vec each = log_vec(powers) - splat(1 - smoothing) * at_label - splat(other) * sum;  // not a number if an output is not
  for (int lane = 0; lane < t->images; lane++) {
    *loss += each[lane];
    if (answers) answers[lane] = answer[lane];
  }
}

// ------------------------------------------------------------------------------------------------ batch normalisation

// Sums over a map are sums of its rows: one of 784 units loses a digit more.

// Mean, and summed squares of the distances from it, of each map of a tile's images.
static void moments(const Tile *t, const vec *units, int maps, int side, float *mean, float *squares) {
  for (int map = 0; map < maps; map++, units += side * side) {
    vec sum = splat(0.f), square = splat(0.f);
    for (int y = 0; y < side; y++) {
      vec row = splat(0.f);
      for (int x = 0; x < side; x++) row += units[y * side + x];
      sum += row;
    }
    mean[map] = total(choose(t->is_image, sum, splat(0.f))) / (float)(t->images * side * side);
    for (int y = 0; y < side; y++) {
      vec row = splat(0.f);
      for (int x = 0; x < side; x++) {
        vec distance = units[y * side + x] - splat(mean[map]);
        row = multiply_add(distance, distance, row);
      }
      square += row;
    }
    squares[map] = total(choose(t->is_image, square, splat(0.f)));
  }
}

// Summed gradient of each map, and that times the normalised unit.
static void gradient_sums(const Tile *t, const vec *d_units, const vec *normal, int maps, int side, float *sums, float *products) {
  for (int map = 0; map < maps; map++, d_units += side * side, normal += side * side) {
    vec sum = splat(0.f), product = splat(0.f);
    for (int y = 0; y < side; y++) {
      vec row = splat(0.f), products_of_row = splat(0.f);
      for (int i = y * side; i < (y + 1) * side; i++) {
        row += d_units[i];
        products_of_row = multiply_add(d_units[i], normal[i], products_of_row);
      }
      sum += row;
      product += products_of_row;
    }
    sums[map] = total(choose(t->is_image, sum, splat(0.f)));
    products[map] = total(choose(t->is_image, product, splat(0.f)));
  }
}

typedef struct { float mean[MAPS3], inverse[MAPS3]; } Normal;  // inverse: one over the standard deviation

// Statistics of the whole mini-batch from those of its tiles, in their order (Chan, Golub and LeVeque 1979).
static Normal statistics(const Context *c, const Batch *batch, int layer, int is_first) {
  int maps = layer ? MAPS3 : MAPS1, n = layer ? C3 * C3 : C1 * C1, tiles = (batch->count + LANES - 1) / LANES;
  Normal found;
  for (int map = 0; map < maps; map++) {
    double sum = 0, squares = 0, all = (double)batch->count * n;
    for (int i = 0; i < tiles; i++) sum += (double)(layer ? c->tiles[i].mean3 : c->tiles[i].mean1)[map] * c->tiles[i].images;
    double mean = sum / batch->count;
    for (int i = 0; i < tiles; i++) {
      double from = (layer ? c->tiles[i].mean3 : c->tiles[i].mean1)[map] - mean;
      squares += (layer ? c->tiles[i].squares3 : c->tiles[i].squares1)[map] + from * from * c->tiles[i].images * n;
    }
    found.mean[map] = (float)mean;
    found.inverse[map] = 1.f / sqrtf((float)(squares / all) + VARIANCE_ADDED);
    if (is_first) {  // one thread keeps the running statistics
      float *running = c->net->running_mean[layer] + map, *variance = c->net->running_variance[layer] + map;
      *running = (1 - NEW_SHARE) * *running + NEW_SHARE * (float)mean;
      *variance = (1 - NEW_SHARE) * *variance + NEW_SHARE * (float)(squares / (all > 1 ? all - 1 : 1));
    }
  }
  return found;
}

static Normal running_statistics(const Network *net, int layer) {
  Normal found;
  for (int map = 0; map < (layer ? MAPS3 : MAPS1); map++) {
    found.mean[map] = net->running_mean[layer][map];
    found.inverse[map] = 1.f / sqrtf(net->running_variance[layer][map] + VARIANCE_ADDED);
  }
  return found;
}

// Units to mean 0 and variance 1, kept in `normal`, and then to the learned scale and shift.
static void normalize(vec *units, vec *normal, int maps, int n, const Normal *found, const float *scale, const float *shift) {
  for (int map = 0; map < maps; map++, units += n, normal += n)
    for (int i = 0; i < n; i++) {
      normal[i] = (units[i] - splat(found->mean[map])) * splat(found->inverse[map]);
      units[i] = multiply_add(normal[i], splat(scale[map]), splat(shift[map]));
    }
}

// The gradients before a normalisation from those after it, in place (Ioffe and Szegedy 2015, Section 3), and, by one
// thread, those of scale and shift.
static void normalize_backward(const Context *c, const Batch *batch, Tile *t, int layer, const Normal *found) {
  int maps = layer ? MAPS3 : MAPS1, n = layer ? C3 * C3 : C1 * C1, tiles = (batch->count + LANES - 1) / LANES;
  const float *scale = c->net->weights + (layer ? c->at.c3_scale : c->at.c1_scale);
  vec *d_units = layer ? (vec *)t->c3 : (vec *)t->c1, *normal = layer ? (vec *)t->c3_normal : (vec *)t->c1_normal;
  for (int map = 0; map < maps; map++, d_units += n, normal += n) {
    double sum = 0, product = 0, all = (double)batch->count * n;
    for (int i = 0; i < tiles; i++) {
      sum += (layer ? c->tiles[i].sum3 : c->tiles[i].sum1)[map];
      product += (layer ? c->tiles[i].product3 : c->tiles[i].product1)[map];
    }
    if (t == c->tiles) {  // the first tile is always there, and its share the first
      c->shares[0].gradient[(layer ? c->at.c3_shift : c->at.c1_shift) + map] += (float)sum;
      c->shares[0].gradient[(layer ? c->at.c3_scale : c->at.c1_scale) + map] += (float)product;
    }
    vec mean = splat((float)(sum / all)), slope = splat((float)(product / all));
    vec factor = splat(scale[map] * found->inverse[map]);
    for (int i = 0; i < n; i++)
      d_units[i] = choose(t->is_image, factor * (d_units[i] - mean - normal[i] * slope), splat(0.f));
  }
}

// ----------------------------------------------------------------------------------------------------------- backward

// From the output to S4; biases are summed, and units and gradients of F5, F6 and output become rows of the part.
static void back_to_s4(const Context *c, Tile *t, Share *s, int row) {
  const float *w = c->net->weights;
  int classes = c->net->classes, kind = c->net->activation;
  connect_backward(t->d_output, classes, w + c->at.output, t->d_f6, UNITS6, INPUTS);
  for (int i = 0; i < UNITS6; i++) t->d_f6[i] = through(kind, t->f6[i], t->f6_slope + i, t->d_f6[i]);
  connect_backward(t->d_f6, UNITS6, w + c->at.f6, t->d_f5, UNITS5, INPUTS);
  for (int i = 0; i < UNITS5; i++) t->d_f5[i] = through(kind, t->f5[i], t->f5_slope + i, t->d_f5[i]);
  connect_backward(t->d_f5, UNITS5, w + c->at.f5, t->d_s4, INPUTS5, 10);
  for (int i = 0; i < classes; i++) s->d_output_bias[i] += t->d_output[i];
  for (int i = 0; i < UNITS6; i++) s->d_f6_bias[i] += t->d_f6[i];
  for (int i = 0; i < UNITS5; i++) s->d_f5_bias[i] += t->d_f5[i];
  as_rows(t->s4, INPUTS5, s->s4 + row * INPUTS5, INPUTS5);
  as_rows(t->f5, UNITS5, s->f5 + row * ROW5, ROW5);
  as_rows(t->f6, UNITS6, s->f6 + row * ROW6, ROW6);
  as_rows(t->d_f5, UNITS5, s->d_f5 + row * UNITS5, UNITS5);
  as_rows(t->d_f6, UNITS6, s->d_f6 + row * UNITS6, UNITS6);
  as_rows(t->d_output, classes, s->d_output + row * classes, classes);
}

// The weights of F5, F6 and output, by a part's rows.
static void full_gradients(const Context *c, Share *s, int rows) {
  outer_product(s->d_f5, UNITS5, s->s4, INPUTS5, INPUTS5, rows, s->gradient + c->at.f5, 4, 5);
  outer_product(s->d_f6, UNITS6, s->f5, ROW5, UNITS5, rows, s->gradient + c->at.f6, 4, 4);
  outer_product(s->d_output, c->net->classes, s->f6, ROW6, UNITS6, rows, s->gradient + c->at.output, 1, 3);
}

static void back_to_c3(const Context *c, Tile *t) {
  subsample_backward(c->net->activation, c->net->pooling, (vec *)t->c3, (vec *)t->c3_slope, t->s4, t->d_s4, MAPS3, S4);
}

static void back_to_c1(const Context *c, Tile *t, Share *s) {
  const float *w = c->net->weights + c->at.c3;
  const vec *d = (vec *)t->c3;
  convolve_backward_bias(d, s->d_c3_bias, MAPS3, C3 * C3);
  convolve_backward_weight((vec *)t->s2, MAPS1, S2, d, s->d_c3, MAPS3, C3_MAPS);
  for (int y = 0; y < S2; y++) {
#ifdef __AVX512F__
    for (int map = 0; map < MAPS1; map += 2) convolve_backward_row(d, MAPS3, w, MAPS1, (vec *)t->d_s2, S2, map, y, 2, 0, 14);
#else
    for (int map = 0; map < MAPS1; map++) {
      convolve_backward_row(d, MAPS3, w, MAPS1, (vec *)t->d_s2, S2, map, y, 1, 0, 7);
      convolve_backward_row(d, MAPS3, w, MAPS1, (vec *)t->d_s2, S2, map, y, 1, 7, 7);
    }
#endif
  }
  subsample_backward(c->net->activation, c->net->pooling, (vec *)t->c1, (vec *)t->c1_slope, (vec *)t->s2, (vec *)t->d_s2,
                     MAPS1, S2);
}

static void back_to_input(Tile *t, Share *s) {
  convolve_backward_bias((vec *)t->c1, s->d_c1_bias, MAPS1, C1 * C1);
  convolve_backward_weight((vec *)t->input, 1, SIDE, (vec *)t->c1, s->d_c1, MAPS1, 3);
}

// Add what a share has summed in lanes to its gradient.
static void add_lanes(const vec *sums, int n, float *gradient) {
  for (int i = 0; i < n; i++) gradient[i] += total(sums[i]);
}
static void close_share(const Context *c, Share *s) {
  add_lanes(s->d_c1, MAPS1 * WINDOW, s->gradient + c->at.c1);
  add_lanes(s->d_c1_bias, MAPS1, s->gradient + c->at.c1_bias);
  add_lanes(s->d_c3, MAPS3 * MAPS1 * WINDOW, s->gradient + c->at.c3);
  add_lanes(s->d_c3_bias, MAPS3, s->gradient + c->at.c3_bias);
  add_lanes(s->d_f5_bias, UNITS5, s->gradient + c->at.f5_bias);
  add_lanes(s->d_f6_bias, UNITS6, s->gradient + c->at.f6_bias);
  add_lanes(s->d_output_bias, c->net->classes, s->gradient + c->at.output_bias);
}

// --------------------------------------------------------------------------------------------------------- mini-batch

enum Stage { ALL_OF_IT, FORWARD_C1, FORWARD_C3, OUTPUT, BACK_TO_C1, BACK_TO_INPUT };

// One stage for one tile. Without batch normalisation ALL_OF_IT is all there is; with it the stages before a
// normalisation, of all tiles, come before those after it.
static void run_stage(const Context *c, const Batch *batch, enum Stage stage, Tile *t, int number, Share *s,
                      const Normal *normal1, const Normal *normal3) {
  const Network *net = c->net;
  const Training *job = c->training;
  const float *w = net->weights;
  int is_normalized = net->normalized, is_all = stage == ALL_OF_IT;
  int64_t first = batch->first + (int64_t)number * LANES;
  if (is_all || stage == FORWARD_C1) {
    int left = batch->count - number * LANES;
    read_images(net, t, job->images, job->order + first, job->offsets ? job->offsets + 2 * first : NULL, job->shift,
                left < LANES ? left : LANES);
    to_c1(c, t);
    if (is_normalized) moments(t, (vec *)t->c1, MAPS1, C1, t->mean1, t->squares1);
  }
  if (is_all || stage == FORWARD_C3) {
    if (is_normalized)
      normalize((vec *)t->c1, (vec *)t->c1_normal, MAPS1, C1 * C1, normal1, w + c->at.c1_scale, w + c->at.c1_shift);
    to_s2_and_c3(c, t);
    if (is_normalized) moments(t, (vec *)t->c3, MAPS3, C3, t->mean3, t->squares3);
  }
  if (is_all || stage == OUTPUT) {
    if (is_normalized)
      normalize((vec *)t->c3, (vec *)t->c3_normal, MAPS3, C3 * C3, normal3, w + c->at.c3_scale, w + c->at.c3_shift);
    to_output(c, t);
    to_loss(net->classes, t, job->labels + first, job->smoothing, batch->scale, &s->loss, job->answers + first);
    back_to_s4(c, t, s, number % 2 * LANES);
    back_to_c3(c, t);
    if (is_normalized) gradient_sums(t, (vec *)t->c3, (vec *)t->c3_normal, MAPS3, C3, t->sum3, t->product3);
  }
  if (is_all || stage == BACK_TO_C1) {
    if (is_normalized) normalize_backward(c, batch, t, 1, normal3);
    back_to_c1(c, t, s);
    if (is_normalized) gradient_sums(t, (vec *)t->c1, (vec *)t->c1_normal, MAPS1, C1, t->sum1, t->product1);
  }
  if (is_all || stage == BACK_TO_INPUT) {
    if (is_normalized) normalize_backward(c, batch, t, 0, normal1);
    back_to_input(t, s);
  }
}

// One stage for the shares of a thread: share by share, part by part.
static void run_shares(const Context *c, const Batch *batch, enum Stage stage, const Team *team, int rank,
                       const Normal *normal1, const Normal *normal3) {
  int is_first = stage == ALL_OF_IT || stage == FORWARD_C1, is_last = stage == ALL_OF_IT || stage == BACK_TO_INPUT;
  for (int share = rank; share < batch->shares; share += team->size) {
    Share *s = c->shares + share;
    if (is_first) memset(s, 0, offsetof(Share, s4)), s->loss = 0;
    for (int part = share; part < batch->parts; part += batch->shares) {
      int begin = part * 2, tiles = batch->count - part * PART > LANES ? 2 : 1;
      for (int number = begin; number < begin + tiles; number++)
        run_stage(c, batch, stage, c->tiles + (c->net->normalized ? number : rank), number, s, normal1, normal3);
      if (stage == ALL_OF_IT || stage == OUTPUT) full_gradients(c, s, tiles * LANES);
    }
    if (is_last) close_share(c, s);
  }
}

static void add_gradient(const Context *c, const Batch *batch, Team *team, int rank) {
  Normal normal1, normal3;
  if (!c->net->normalized) {
    run_shares(c, batch, ALL_OF_IT, team, rank, NULL, NULL);
  } else {
    run_shares(c, batch, FORWARD_C1, team, rank, NULL, NULL);
    meet(team);
    normal1 = statistics(c, batch, 0, rank == 0);
    run_shares(c, batch, FORWARD_C3, team, rank, &normal1, NULL);
    meet(team);
    normal3 = statistics(c, batch, 1, rank == 0);
    run_shares(c, batch, OUTPUT, team, rank, NULL, &normal3);
    meet(team);
    run_shares(c, batch, BACK_TO_C1, team, rank, NULL, &normal3);
    meet(team);
    run_shares(c, batch, BACK_TO_INPUT, team, rank, &normal1, NULL);
  }
  meet(team);
}

// ----------------------------------------------------------------------------------------------------- optimizer step

// Sum the shares' gradients into the first, in their order, and step: each thread a range of the weights.
static void step(Context *c, int shares, Team *team, int rank, float rate, int64_t number) {
  const Optimizer *o = &c->training->optimizer;
  float *gradient = c->shares[0].gradient, *w = c->net->weights, factor = 1;
  int blocks = (c->at.all + BLOCK - 1) / BLOCK, own = (blocks + team->size - 1) / team->size;
  int begin = rank * own * BLOCK, end = begin + own * BLOCK;
  if (begin > c->at.all) begin = c->at.all;
  if (end > c->at.all) end = c->at.all;
  for (int share = 1; share < shares; share++) {
    const float *other = c->shares[share].gradient;
    for (int i = begin; i < end; i++) gradient[i] += other[i];
  }
  if (o->clip > 0) {
    for (int from = begin; from < end; from += BLOCK) {
      double norm = 0;
      for (int i = from; i < end && i < from + BLOCK; i++) norm += (double)gradient[i] * gradient[i];
      c->norms[from / BLOCK] = norm;
    }
    meet(team);
    double norm = 0;
    for (int i = 0; i < blocks; i++) norm += c->norms[i];
    double most = o->clip / (sqrt(norm) + 1e-6);  // as torch.nn.utils.clip_grad_norm_
    factor = most < 1 ? (float)most : 1;
  }
  optimizer_step(o, w, gradient, factor, rate, number, begin, end);
  float zero = 0;
  for (int i = begin; i < end; i++) zero += w[i] * 0;  // not a number if a weight is not finite
  if (zero != 0) atomic_store(&c->is_wrong, 1);
  meet(team);
}

static int parts_of(int64_t count) { return (int)((count + PART - 1) / PART); }
static int shares_of(int parts) { return parts < MAX_SHARES ? parts : MAX_SHARES; }

static void train_as_team(void *context, Team *team, int rank) {
  Context *c = context;
  Training *job = c->training;
  int64_t images_a_step = (int64_t)job->batch_size * job->accumulate;
  for (int64_t begin = 0, number = 0; begin < job->count; begin += images_a_step, number++) {
    int64_t end = begin + images_a_step < job->count ? begin + images_a_step : job->count;
    int shares = shares_of(parts_of(end - begin < job->batch_size ? end - begin : job->batch_size));
    for (int share = rank; share < shares; share += team->size)
      memset(c->shares[share].gradient, 0, sizeof(float) * c->padded);
    for (int64_t first = begin; first < end; first += job->batch_size) {
      int count = (int)(first + job->batch_size < end ? job->batch_size : end - first), parts = parts_of(count);
      Batch batch = {first, count, parts, shares_of(parts), 1.f / (float)(end - begin)};
      add_gradient(c, &batch, team, rank);
      if (rank == 0)
        for (int share = 0; share < batch.shares; share++) job->loss += c->shares[share].loss;
      if (first + job->batch_size < end) meet(team);  // the next mini-batch's shares begin anew
    }
    step(c, shares, team, rank, job->rates[number], job->first_step + number + 1);
  }
}

static void *aligned(size_t bytes) {
  return aligned_alloc(sizeof(vec), (bytes + sizeof(vec) - 1) / sizeof(vec) * sizeof(vec));
}

// -------------------------------------------------------------------------------------------------------- entry points

// Take the optimizer steps of a chunk of mini-batches. Returns 0, or 1 where there is no memory for it.
int lenet5_train(const Network *net, Training *job) {
  Context c = {.net = net, .training = job, .at = places(net)};
  int64_t most = job->count < job->batch_size ? job->count : job->batch_size;
  int parts = parts_of(most), shares = shares_of(parts), threads = job->threads < shares ? job->threads : shares;
  c.padded = (c.at.all + LANES - 1) / LANES * LANES;
  c.tiles = aligned(sizeof(Tile) * (net->normalized ? 2 * parts : threads));
  c.shares = aligned(sizeof(Share) * shares);
  c.norms = aligned(sizeof(double) * (c.at.all / BLOCK + 1));
  float *gradients = aligned(sizeof(float) * c.padded * shares);
  int is_full = !c.tiles || !c.shares || !c.norms || !gradients;
  if (!is_full) {
    memset(c.shares, 0, sizeof(Share) * shares);  // rows are read to their end
    for (int share = 0; share < shares; share++) c.shares[share].gradient = gradients + (size_t)share * c.padded;
    job->loss = 0;
    run_together(threads, train_as_team, &c);
    job->is_finite = !c.is_wrong;
  }
  free(c.tiles), free(c.shares), free(c.norms), free(gradients);
  return is_full;
}

typedef struct {
  Context context;
  const uint8_t *images;
  const int64_t *labels;
  int64_t count;
  float *logits;
  double *losses;  // [tiles]
} Reading;

static void read_as_team(void *context, Team *team, int rank) {
  Reading *r = context;
  const Network *net = r->context.net;
  Tile *t = r->context.tiles + rank;
  const Places *at = &r->context.at;
  Normal normal1, normal3;
  if (net->normalized) normal1 = running_statistics(net, 0), normal3 = running_statistics(net, 1);
  for (int64_t tile = rank; tile * LANES < r->count; tile += team->size) {
    int64_t first = tile * LANES, left = r->count - first;
    read_images(net, t, r->images + first * net->height * net->width, NULL, NULL, 0, left < LANES ? (int)left : LANES);
    to_c1(&r->context, t);
    if (net->normalized)
      normalize((vec *)t->c1, (vec *)t->c1_normal, MAPS1, C1 * C1, &normal1, net->weights + at->c1_scale, net->weights + at->c1_shift);
    to_s2_and_c3(&r->context, t);
    if (net->normalized)
      normalize((vec *)t->c3, (vec *)t->c3_normal, MAPS3, C3 * C3, &normal3, net->weights + at->c3_scale, net->weights + at->c3_shift);
    to_output(&r->context, t);
    for (int lane = 0; lane < t->images; lane++)
      for (int k = 0; k < net->classes; k++) r->logits[(first + lane) * net->classes + k] = t->output[k][lane];
    if (r->labels) {
      r->losses[tile] = 0;
      to_loss(net->classes, t, r->labels + first, 0.f, 0.f, r->losses + tile, NULL);
    }
  }
}

// The logits [count][classes] of images; with labels, also their cross entropy, summed. Returns as above.
int lenet5_read(const Network *net, const uint8_t *images, const int64_t *labels, int64_t count, int32_t threads,
                float *logits, double *loss) {
  int64_t tiles = (count + LANES - 1) / LANES;
  if (threads > tiles) threads = (int32_t)tiles;
  Reading r = {.context = {.net = net, .at = places(net)}, .images = images, .labels = labels, .count = count, .logits = logits};
  r.context.tiles = aligned(sizeof(Tile) * (threads < 1 ? 1 : threads));
  r.losses = aligned(sizeof(double) * (tiles + 1));
  int is_full = !r.context.tiles || !r.losses;
  if (!is_full) {
    run_together(threads, read_as_team, &r);
    *loss = 0;
    for (int64_t tile = 0; labels && tile < tiles; tile++) *loss += r.losses[tile];
  }
  free(r.context.tiles), free(r.losses);
  return is_full;
}

// Sizes by which a caller sees that both sides mean the same structures.
int32_t lenet5_network_bytes(void) { return sizeof(Network); }
int32_t lenet5_training_bytes(void) { return sizeof(Training); }

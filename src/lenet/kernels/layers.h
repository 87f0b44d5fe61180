// The layers of LeNet-5, forward and backward, for sixteen images at a time: convolution 5×5, subsampling 2×2, and full
// connection. Loops over filters and columns are unrolled in blocks, so that a block's sums stay in registers; each sum
// is taken in the same order whatever the block, which therefore can fit the processor.
#pragma once
#include "activations.h"

enum { KERNEL = 5, WINDOW = KERNEL * KERNEL };
enum Pooling { AVERAGE, MAXIMUM };

#ifdef __AVX512F__  // 32 registers of 16 floats
enum { C1_MAPS = 6, C1_COLUMNS = 4, C3_MAPS = 4, C3_COLUMNS = 5, UNITS = 12, INPUTS = 12 };
#else  // 16 registers of 8, or 32 of 4
enum { C1_MAPS = 3, C1_COLUMNS = 2, C3_MAPS = 2, C3_COLUMNS = 2, UNITS = 4, INPUTS = 4 };
#endif

// out[map][y][x] = bias[map] + sum over c, ky, kx of in[c][y + ky][x + kx] · weight[map][c][ky][kx]
INLINE void convolve(const vec *in, int channels, int side, const float *weight, const float *bias, vec *out, int maps,
                     const int MAPS, const int COLUMNS) {
  const int n = side - KERNEL + 1;
  for (int map = 0; map < maps; map += MAPS)
    for (int y = 0; y < n; y++)
      for (int x = 0; x < n; x += COLUMNS) {
        vec sum[6][5];
        UNROLL for (int m = 0; m < MAPS; m++) UNROLL for (int j = 0; j < COLUMNS; j++) sum[m][j] = splat(bias[map + m]);
        for (int c = 0; c < channels; c++)
          for (int ky = 0; ky < KERNEL; ky++) {
            const vec *row = in + (c * side + y + ky) * side + x;
            const float *w = weight + (map * channels + c) * WINDOW + ky * KERNEL;
            UNROLL for (int kx = 0; kx < KERNEL; kx++) UNROLL for (int m = 0; m < MAPS; m++) {
              vec k = splat(w[m * channels * WINDOW + kx]);
              UNROLL for (int j = 0; j < COLUMNS; j++) sum[m][j] = multiply_add(row[kx + j], k, sum[m][j]);
            }
          }
        UNROLL for (int m = 0; m < MAPS; m++) UNROLL for (int j = 0; j < COLUMNS; j++)
          out[((map + m) * n + y) * n + x + j] = sum[m][j];
      }
}

// d_weight[map][c][ky][kx] += sum over y, x of in[c][y + ky][x + kx] · d_out[map][y][x], in each lane for itself
INLINE void convolve_backward_weight(const vec *in, int channels, int side, const vec *d_out, vec *d_weight, int maps,
                                     const int MAPS) {
  const int n = side - KERNEL + 1;
  for (int map = 0; map < maps; map += MAPS)
    for (int c = 0; c < channels; c++)
      for (int ky = 0; ky < KERNEL; ky++) {
        vec sum[4][KERNEL], *to = d_weight + (map * channels + c) * WINDOW + ky * KERNEL;
        UNROLL for (int m = 0; m < MAPS; m++) UNROLL for (int kx = 0; kx < KERNEL; kx++)
          sum[m][kx] = to[m * channels * WINDOW + kx];
        for (int y = 0; y < n; y++)
          for (int x = 0; x < n; x++) {
            vec d[4];
            UNROLL for (int m = 0; m < MAPS; m++) d[m] = d_out[((map + m) * n + y) * n + x];
            UNROLL for (int kx = 0; kx < KERNEL; kx++) {
              vec pixel = in[(c * side + y + ky) * side + x + kx];
              UNROLL for (int m = 0; m < MAPS; m++) sum[m][kx] = multiply_add(pixel, d[m], sum[m][kx]);
            }
          }
        UNROLL for (int m = 0; m < MAPS; m++) UNROLL for (int kx = 0; kx < KERNEL; kx++)
          to[m * channels * WINDOW + kx] = sum[m][kx];
      }
}

// d_bias[map] += sum over y, x of d_out[map][y][x], in each lane for itself
INLINE void convolve_backward_bias(const vec *d_out, vec *d_bias, int maps, int units) {
  for (int map = 0; map < maps; map++) {
    vec sum = d_bias[map];
    for (int i = 0; i < units; i++) sum += d_out[map * units + i];
    d_bias[map] = sum;
  }
}

// COLUMNS pixels from column FIRST on, of CHANNELS channels, of a row of
// d_in[c][y][x] = sum over ky, map, kx of d_out[map][y - ky][x - kx] · weight[map][c][ky][kx]
INLINE void convolve_backward_row(const vec *d_out, int maps, const float *weight, int channels, vec *d_in, const int SIDE,
                                  int c, int y, const int CHANNELS, const int FIRST, const int COLUMNS) {
  const int N = SIDE - KERNEL + 1;
  vec sum[2][14];
  UNROLL for (int p = 0; p < CHANNELS; p++) UNROLL for (int j = 0; j < COLUMNS; j++) sum[p][j] = splat(0.f);
  int first_ky = y >= N ? y - N + 1 : 0, last_ky = y < KERNEL ? y : KERNEL - 1;
  for (int ky = first_ky; ky <= last_ky; ky++)
    for (int map = 0; map < maps; map++) {
      const vec *d = d_out + (map * N + y - ky) * N;
      const float *w = weight + (map * channels + c) * WINDOW + ky * KERNEL;
      UNROLL for (int kx = 0; kx < KERNEL; kx++) UNROLL for (int p = 0; p < CHANNELS; p++) {
        vec k = splat(w[p * WINDOW + kx]);
        UNROLL for (int j = 0; j < COLUMNS; j++) {
          const int from = FIRST + j - kx;
          if (from >= 0 && from < N) sum[p][j] = multiply_add(d[from], k, sum[p][j]);
        }
      }
    }
  UNROLL for (int p = 0; p < CHANNELS; p++) UNROLL for (int j = 0; j < COLUMNS; j++)
    d_in[((c + p) * SIDE + y) * SIDE + FIRST + j] = sum[p][j];
}

// Squash every unit in place; where the slope cannot be told from the output it is kept beside.
INLINE void squash_as(int kind, vec *units, vec *slope, int n) {
  for (int i = 0; i < n; i++) units[i] = activation(kind, units[i], slope + i);
}
static void squash(int kind, vec *units, vec *slope, int n) {
#define CALL(KIND) squash_as(KIND, units, slope, n)
  FOR_ACTIVATION(kind, CALL)
#undef CALL
}

// Halve each map: the mean, or the largest, of two by two. `n` is the side of the halved map.
static void subsample(int kind, const vec *in, vec *out, int maps, int n) {
  for (int i = 0; i < maps * n; i++) {
    const vec *top = in + 4 * n * i, *low = top + 2 * n;
    for (int x = 0; x < n; x++) {
      vec a = top[2 * x], b = top[2 * x + 1], c = low[2 * x], d = low[2 * x + 1];
      out[i * n + x] = kind == AVERAGE ? splat(.25f) * ((a + b) + (c + d)) : maximum(maximum(a, b), maximum(c, d));
    }
  }
}

// The gradients of the units under a subsampling, before their squashing, in place of the units. Of equals, the first
// in the order of reading has the maximum's gradient.
INLINE void subsample_backward_as(int kind, int pooling, vec *units, const vec *slope, const vec *out, const vec *d_out,
                                  int maps, int n) {
  for (int i = 0; i < maps * n; i++)
    for (int x = 0; x < n; x++) {
      int first = 4 * n * i + 2 * x;
      const int at[4] = {first, first + 1, first + 2 * n, first + 2 * n + 1};
      vec left = d_out[i * n + x], largest = out[i * n + x];
      if (pooling == AVERAGE) left = splat(.25f) * left;
      UNROLL for (int k = 0; k < 4; k++) {
        vec unit = units[at[k]], share = left;
        if (pooling == MAXIMUM) {
          mask is_largest = unit == largest;
          share = choose(is_largest, left, splat(0.f));
          left = choose(is_largest, splat(0.f), left);
        }
        units[at[k]] = through(kind, unit, slope + at[k], share);
      }
    }
}
static void subsample_backward(int kind, int pooling, vec *units, const vec *slope, const vec *out, const vec *d_out,
                               int maps, int n) {
#define CALL(KIND) \
  if (pooling == AVERAGE) subsample_backward_as(KIND, AVERAGE, units, slope, out, d_out, maps, n); \
  else subsample_backward_as(KIND, MAXIMUM, units, slope, out, d_out, maps, n)
  FOR_ACTIVATION(kind, CALL)
#undef CALL
}

// out[unit] = bias[unit] + sum over i of in[i] · weight[unit][i]
INLINE void connect(const vec *in, int inputs, const float *weight, const float *bias, vec *out, int units, const int BLOCK) {
  for (int u = 0; u < units; u += BLOCK) {
    vec sum[12];
    UNROLL for (int j = 0; j < BLOCK; j++) sum[j] = splat(bias[u + j]);
    for (int i = 0; i < inputs; i++) {
      vec x = in[i];
      UNROLL for (int j = 0; j < BLOCK; j++) sum[j] = multiply_add(x, splat(weight[(u + j) * inputs + i]), sum[j]);
    }
    UNROLL for (int j = 0; j < BLOCK; j++) out[u + j] = sum[j];
  }
}

// d_in[i] = sum over units of d_out[unit] · weight[unit][i]
INLINE void connect_backward(const vec *d_out, int units, const float *weight, vec *d_in, int inputs, const int BLOCK) {
  for (int i = 0; i < inputs; i += BLOCK) {
    vec sum[12];
    UNROLL for (int j = 0; j < BLOCK; j++) sum[j] = splat(0.f);
    for (int u = 0; u < units; u++) {
      vec d = d_out[u];
      UNROLL for (int j = 0; j < BLOCK; j++) sum[j] = multiply_add(d, splat(weight[u * inputs + i + j]), sum[j]);
    }
    UNROLL for (int j = 0; j < BLOCK; j++) d_in[i + j] = sum[j];
  }
}

// d_weight[unit][i] += sum over images of d_out[image][unit] · in[image][i]: a row an image, `units` and `row` floats
// long, so that here the sixteen lanes are inputs. Rows of `in` reach to the next multiple of sixteen.
INLINE void outer_product(const float *d_out, int units, const float *in, int row, int inputs, int images, float *d_weight,
                          const int BLOCK, const int VECTORS) {
  for (int u = 0; u < units; u += BLOCK)
    for (int i = 0; i < inputs; i += VECTORS * LANES) {
      vec sum[4][5];
      UNROLL for (int p = 0; p < BLOCK; p++) UNROLL for (int q = 0; q < VECTORS; q++) sum[p][q] = splat(0.f);
      for (int image = 0; image < images; image++) {
        vec x[5];
        UNROLL for (int q = 0; q < VECTORS; q++) memcpy(&x[q], in + image * row + i + q * LANES, sizeof x[q]);
        UNROLL for (int p = 0; p < BLOCK; p++) {
          vec d = splat(d_out[image * units + u + p]);
          UNROLL for (int q = 0; q < VECTORS; q++) sum[p][q] = multiply_add(x[q], d, sum[p][q]);
        }
      }
      UNROLL for (int p = 0; p < BLOCK; p++) {
        float s[5 * LANES], *to = d_weight + (u + p) * inputs + i;
        memcpy(s, sum[p], VECTORS * sizeof(vec));
        for (int k = 0; k < VECTORS * LANES && i + k < inputs; k++) to[k] += s[k];
      }
    }
}

// Units [n] of sixteen images as rows, an image each.
INLINE void as_rows(const vec *units, int n, float *rows, int row) {
  const float *from = (const float *)units;
  for (int lane = 0; lane < LANES; lane++)
    for (int i = 0; i < n; i++) rows[lane * row + i] = from[i * LANES + lane];
}

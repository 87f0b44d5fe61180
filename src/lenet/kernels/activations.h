// The squashing functions, by the names of conf/model, and their slopes.
#pragma once
#include "vectors.h"

enum Activation { TANH, SCALED_TANH, SIGMOID, RELU, SILU, GELU };

#define AMPLITUDE 1.7159f        // of the scaled tanh 1.7159 tanh(2x/3) (LeCun et al. 1998, Appendix A)
#define STRETCH (2.f / 3.f)
#define SQRT_HALF .707106781186547524f
#define DENSITY_AT_0 .398942280401432678f  // of the normal distribution: 1 / sqrt(2 pi)

// Whether the slope cannot be told from the output: SiLU and GELU fall before they rise.
INLINE int keeps_slope(int kind) { return kind == SILU || kind == GELU; }

// The normal distribution's share below x (Abramowitz and Stegun 7.1.26, to 1e-7), and its density there.
INLINE vec normal(vec x, vec *density) {
  static const float P[5] = {1.061405429f, -1.453152027f, 1.421413741f, -.284496736f, .254829592f};
  vec far = maximum(x, -x) * splat(SQRT_HALF);
  vec bell = exp_vec(-far * far);
  vec t = splat(1.f) / multiply_add(splat(.3275911f), far, splat(1.f));
  vec tail = splat(.5f) * polynomial(P, 5, t) * t * bell;  // the share beyond |x|
  *density = splat(DENSITY_AT_0) * bell;
  return choose(x > splat(0.f), splat(1.f) - tail, tail);
}

// f(x), and its slope where `keeps_slope`.
INLINE vec activation(int kind, vec x, vec *slope) {
  if (kind == TANH) return tanh_vec(x);
  if (kind == SCALED_TANH) return splat(AMPLITUDE) * tanh_vec(splat(STRETCH) * x);
  if (kind == SIGMOID) return sigmoid_vec(x);
  if (kind == RELU) return maximum(x, splat(0.f));
  vec share, density;
  if (kind == SILU) {
    share = sigmoid_vec(x);
    *slope = share * multiply_add(x, splat(1.f) - share, splat(1.f));
  } else {
    share = normal(x, &density);
    *slope = multiply_add(x, density, share);
  }
  return x * share;
}

// The gradient before a squashing function from that after it.
INLINE vec through(int kind, vec output, const vec *slope, vec gradient) {
  if (kind == TANH) return gradient * (splat(1.f) - output * output);
  if (kind == SCALED_TANH)
    return gradient * multiply_add(output * output, splat(-STRETCH / AMPLITUDE), splat(AMPLITUDE * STRETCH));
  if (kind == SIGMOID) return gradient * (output - output * output);
  if (kind == RELU) return choose(output > splat(0.f), gradient, splat(0.f));
  return gradient * *slope;
}

// CALL(kind) with the kind as a constant, so that a loop inside has no branch.
#define FOR_ACTIVATION(kind, CALL) \
  switch (kind) { \
    case TANH: CALL(TANH); break; \
    case SCALED_TANH: CALL(SCALED_TANH); break; \
    case SIGMOID: CALL(SIGMOID); break; \
    case RELU: CALL(RELU); break; \
    case SILU: CALL(SILU); break; \
    default: CALL(GELU); \
  }

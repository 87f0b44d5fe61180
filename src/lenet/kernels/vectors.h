// Sixteen floats at a time, and the functions of them that a network needs.
//
// Every operation here gives the same bits on every processor: additions, multiplications, divisions and square roots
// are those of IEEE 754, a fused multiply-add is written as one and never made by the compiler (-ffp-contract=off), the
// exponential, the logarithm and the hyperbolic tangent are polynomials of our own instead of a C library's, and sums
// over the sixteen are taken in one order. A processor with shorter vectors takes two or four instructions for each.
#pragma once
#include <stdint.h>
#include <string.h>

enum { LANES = 16 };
typedef float vec __attribute__((vector_size(64), aligned(64)));
typedef int32_t mask __attribute__((vector_size(64), aligned(64)));  // whole numbers; a comparison gives 0 or -1

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

INLINE vec splat(float x) { return (vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE vec multiply_add(vec a, vec b, vec c) { return __builtin_elementwise_fma(a, b, c); }
INLINE vec choose(mask where, vec a, vec b) { return (vec)((where & (mask)a) | (~where & (mask)b)); }
INLINE vec maximum(vec a, vec b) { return choose(a > b, a, b); }
INLINE vec between(vec x, float low, float high) { return maximum(splat(low), -maximum(-x, splat(-high))); }

// The sum over the lanes: each half onto the other, in one order.
INLINE float total(vec v) {
  float s[LANES];
  memcpy(s, &v, sizeof s);
  for (int half = LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) s[i] += s[i + half];
  return s[0];
}

// a[0] x^(n-1) + … + a[n-1], by Horner's rule.
INLINE vec polynomial(const float *a, int n, vec x) {
  vec sum = splat(a[0]);
  UNROLL for (int k = 1; k < n; k++) sum = multiply_add(sum, x, splat(a[k]));
  return sum;
}

// exp(x) for x <= 0, to 1e-7 of itself (the polynomial of Cephes' expf): 2^n · exp(what is left).
INLINE vec exp_vec(vec x) {
  static const float P[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  x = maximum(x, splat(-87.f));
  vec n = __builtin_elementwise_floor(multiply_add(x, splat(1.44269504088896341f), splat(.5f)));
  x = multiply_add(n, splat(-.693359375f), x);
  x = multiply_add(n, splat(2.12194440e-4f), x);
  vec p = multiply_add(polynomial(P, 6, x), x * x, x + splat(1.f));
  mask power = (__builtin_convertvector(n, mask) + 127) << 23;
  return p * (vec)power;
}

// The natural logarithm of x >= 1, to 1e-7 (the polynomial of Cephes' logf).
INLINE vec log_vec(vec x) {
  static const float P[9] = {7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                             -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  mask bits = (mask)x;
  vec m = (vec)((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
  vec e = __builtin_convertvector((bits >> 23) - 126, vec);
  mask small = m < splat(.707106781186547524f);
  e = choose(small, e - splat(1.f), e);
  m = choose(small, m + m, m) - splat(1.f);
  vec square = m * m;
  vec y = polynomial(P, 9, m) * m * square;
  y = multiply_add(e, splat(-2.12194440e-4f), y);
  y = multiply_add(square, splat(-.5f), y);
  return multiply_add(e, splat(.693359375f), m + y);
}

// tanh(x), to 3e-7: a quotient of two polynomials, flat beyond 7.9 where a float cannot tell it from 1.
INLINE vec tanh_vec(vec x) {
  static const float P[7] = {-2.76076847742355e-16f, 2.00018790482477e-13f, -8.60467152213735e-11f, 5.12229709037114e-08f,
                             1.48572235717979e-05f, 6.37261928875436e-04f, 4.89352455891786e-03f};
  static const float Q[4] = {1.19825839466702e-06f, 1.18534705686654e-04f, 2.26843463243900e-03f, 4.89352518554385e-03f};
  x = between(x, -7.90531110763549805f, 7.90531110763549805f);
  vec square = x * x;
  return polynomial(P, 7, square) * x / polynomial(Q, 4, square);
}

INLINE vec sigmoid_vec(vec x) { return multiply_add(splat(.5f), tanh_vec(splat(.5f) * x), splat(.5f)); }

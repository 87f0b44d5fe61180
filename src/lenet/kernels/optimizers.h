// One step of SGD, Adam or AdamW, as torch.optim has them, on the weights from `begin` to `end`.
#pragma once
#include <math.h>
#include <stdint.h>

enum OptimizerKind { SGD, ADAM, ADAMW };

typedef struct {
  int32_t kind, nesterov;
  float momentum;      // of SGD
  float beta1, beta2;  // of Adam
  double exact_beta1, exact_beta2;
  float decay;            // weight decay: added to the gradient, or, AdamW, taken from the weight
  float clip;             // largest norm of the whole gradient; 0: any
  float *first, *second;  // momentum; mean gradient and mean square
} Optimizer;

#define EPSILON 1e-8f  // of Adam

// beta^n by squaring: a C library's pow may round otherwise elsewhere.
static double power(double beta, int64_t n) {
  double result = 1;
  for (; n; n /= 2, beta *= beta)
    if (n % 2) result *= beta;
  return result;
}

// `number` is the step's, from 1; the gradient is multiplied with `factor` first.
static void optimizer_step(const Optimizer *o, float *restrict w, const float *restrict gradient, float factor, float rate,
                           int64_t number, int begin, int end) {
  float *restrict m = o->first, *restrict v = o->second;
  if (o->kind == SGD) {
    for (int i = begin; i < end; i++) {
      float g = gradient[i] * factor + o->decay * w[i];
      if (m) {
        m[i] = o->momentum * m[i] + g;
        g = o->nesterov ? g + o->momentum * m[i] : m[i];
      }
      w[i] -= rate * g;
    }
    return;
  }
  float b1 = o->beta1, b2 = o->beta2, rest1 = (float)(1 - o->exact_beta1), rest2 = (float)(1 - o->exact_beta2);
  float size = (float)(rate / (1 - power(o->exact_beta1, number)));
  float root = (float)sqrt(1 - power(o->exact_beta2, number));
  float added = o->kind == ADAM ? o->decay : 0, kept = o->kind == ADAMW ? 1 - rate * o->decay : 1;
  for (int i = begin; i < end; i++) {
    float g = gradient[i] * factor + added * w[i];
    m[i] = b1 * m[i] + rest1 * g;
    v[i] = b2 * v[i] + rest2 * (g * g);
    w[i] = kept * w[i] - size * m[i] / (sqrtf(v[i]) / root + EPSILON);
  }
}

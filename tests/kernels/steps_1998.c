// Steps of 1998's network in several forms, on noise; prints digests of weights, second derivatives and logits, which
// test_processors.py compares between processors. Includes the kernel, so that one program is all there is to run.
#include "../../src/lenet/kernels/lenet5_1998.c"
#include "noise.h"
#include <stdio.h>

enum { IMAGES = 30, COUNT = 24, MOST = 70000 };

static float weights[MOST], pixels[256], centres[10 * UNITS6], logits[IMAGES * 10], rates[COUNT];
static float curvature[FLOATS], first[FLOATS], second[FLOATS];
static uint8_t images[IMAGES * 784], sparse[MAPS3 * MAPS1], full[MAPS3 * MAPS1];
static int64_t labels[COUNT], order[COUNT], offsets[COUNT * 2], answers[COUNT];

static void train(int activation, int subsampling, int is_rbf, int loss, int is_sparse, int kind) {
  Network net = {activation, subsampling, is_rbf, loss, 10, 28, 28, 1.f, pixels, is_sparse ? sparse : full, centres, weights};
  for (int i = 0; i < MOST; i++) weights[i] = ((float)(draw() >> 8) / (1 << 24) - 0.5f) * 0.2f;
  for (int i = 0; i < FLOATS; i++) first[i] = second[i] = 0;
  Optimizer optimizer = {.kind = kind, .nesterov = 1, .momentum = 0.9f, .beta1 = 0.9f, .beta2 = 0.99f, .exact_beta1 = 0.9,
                         .exact_beta2 = 0.99, .first = first, .second = second};
  Training job = {images, labels, order, offsets, COUNT, 1, kind == SDLM ? 1 : 5, 0.f, rates, 0, optimizer, 0.5f, curvature, answers};
  double read;
  if (lenet5_1998_curvature(&net, &job, curvature) || lenet5_1998_train(&net, &job)) exit(1);
  if (lenet5_1998_read(&net, images, 0, IMAGES, logits, &read)) exit(1);
  printf("%d %d %d %d %d %d %016llx %016llx %016llx\n", activation, subsampling, is_rbf, loss, is_sparse, kind,
         (unsigned long long)digest(weights, MOST), (unsigned long long)digest(curvature, FLOATS),
         (unsigned long long)digest(logits, IMAGES * 10));
}

int main(void) {
  for (int i = 0; i < 256; i++) pixels[i] = -0.1f + 1.275f * (float)i / 255.f;
  for (int i = 0; i < IMAGES * 784; i++) images[i] = (uint8_t)(draw() >> 24);
  for (int i = 0; i < 10 * UNITS6; i++) centres[i] = draw() % 2 ? 1.f : -1.f;
  for (int i = 0; i < MAPS3 * MAPS1; i++) full[i] = 1, sparse[i] = draw() % 2;
  for (int i = 0; i < COUNT; i++) labels[i] = draw() % 10, order[i] = draw() % IMAGES, rates[i] = 0.0005f;
  for (int i = 0; i < COUNT * 2; i++) offsets[i] = draw() % 3;
  for (int activation = TANH; activation <= RELU; activation++)
    for (int subsampling = AVERAGE; subsampling <= TRAINABLE; subsampling++)
      for (int form = 0; form < 4; form++)
        train(activation, subsampling, form < 3, form < 3 ? form : CROSS_ENTROPY, form % 2, form % 2 ? SDLM : ADAM);
  return 0;
}

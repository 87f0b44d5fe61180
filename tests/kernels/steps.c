// Twelve steps of each network with Adam, and of one with SGD, on noise; prints a digest of the weights after each, which
// test_processors.py compares between processors. Includes the kernel, so that one program is all there is to run.
#include "../../src/lenet/kernels/lenet5.c"
#include "noise.h"
#include <stdio.h>

enum { IMAGES = 200, COUNT = 150, STEPS = 12, BATCH = 50, MOST = 70000 };

static float weights[MOST], first[MOST], second[MOST], pixels[256], mean[2][MAPS3], variance[2][MAPS3], logits[IMAGES * 10];
static uint8_t images[IMAGES * 784];
static int64_t labels[COUNT], order[COUNT], offsets[COUNT * 2], answers[COUNT];

static void train(int activation, int pooling, int normalized, int kind) {
  Network net = {activation, pooling, normalized, 10, 28, 28, pixels, weights, {mean[0], mean[1]}, {variance[0], variance[1]}};
  int n = places(&net).all;
  float rates[STEPS / 4];
  for (int i = 0; i < n; i++) weights[i] = ((float)(draw() >> 8) / (1 << 24) - 0.5f) * 0.2f, first[i] = second[i] = 0;
  for (int i = 0; i < 2 * MAPS3; i++) mean[i / MAPS3][i % MAPS3] = 0, variance[i / MAPS3][i % MAPS3] = 1;
  for (int i = 0; i < STEPS / 4; i++) rates[i] = kind ? 0.004f / (float)(i + 1) : 0.05f;
  Optimizer optimizer = {.kind = kind, .nesterov = 1, .momentum = 0.9f, .beta1 = 0.9f, .beta2 = 0.99f, .exact_beta1 = 0.9,
                         .exact_beta2 = 0.99, .decay = 1e-4f, .clip = 1.f, .first = first, .second = second};
  double loss = 0;
  for (int chunk = 0; chunk < 4; chunk++) {
    Training job = {images, labels, order, offsets, COUNT, 1, BATCH, 1, 0.05f, rates, chunk * (STEPS / 4), optimizer, 2, answers};
    if (lenet5_train(&net, &job)) exit(1);
    loss = job.loss;
  }
  if (lenet5_read(&net, images, 0, IMAGES, 2, logits, &loss)) exit(1);
  printf("%d %d %d %d %016llx %016llx\n", activation, pooling, normalized, kind, (unsigned long long)digest(weights, n),
         (unsigned long long)digest(logits, IMAGES * 10));
}

int main(void) {
  for (int i = 0; i < 256; i++) pixels[i] = ((float)i / 255.f - 0.1307f) / 0.3081f;
  for (int i = 0; i < IMAGES * 784; i++) images[i] = (uint8_t)(draw() >> 24);
  for (int i = 0; i < COUNT; i++) labels[i] = draw() % 10, order[i] = draw() % IMAGES;
  for (int i = 0; i < COUNT * 2; i++) offsets[i] = draw() % 3;
  for (int activation = 0; activation < 6; activation++)
    for (int form = 0; form < 4; form++) train(activation, form & 1, form >> 1, 1);
  train(0, 0, 0, 0);
  return 0;
}

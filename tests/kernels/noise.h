// Noise for the programs that test_processors.py runs on several processors, and a digest of what comes of it.
#include <stdint.h>

static uint64_t state = 1998;

static uint32_t draw(void) {  // Knuth's MMIX
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 32);
}

static uint64_t digest(const float *values, int n) {  // FNV-1a over their bytes
  uint64_t found = 14695981039346656037u;
  const uint8_t *bytes = (const uint8_t *)values;
  for (int i = 0; i < n * 4; i++) found = (found ^ bytes[i]) * 1099511628211u;
  return found;
}

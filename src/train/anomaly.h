/* Where synthetic anomalies go (JIMS 3.3): binarised Perlin noise. */
#ifndef BLEMISH_ANOMALY_H
#define BLEMISH_ANOMALY_H

#include "base/base.h"

/* Perlin noise (K. Perlin, "Improving noise", 2002: fade 6t^5 - 15t^4 + 10t^3) of height x width with cells_y x cells_x
 * cells, unit gradients in random directions, times sqrt(2). Height and width are multiples of the cell counts. */
void perlin_noise(Random *random, size_t height, size_t width, size_t cells_y, size_t cells_x, float *out);

/* Working memory of anomaly_mask, floats. */
size_t anomaly_scratch(size_t h, size_t w);
/* noise_mask (h, w): Perlin noise on the next powers of two with 2^i x 2^j cells, i and j uniform in 0..5 (at most one
 * cell a pixel), resized to (h, w), 1 above the threshold - and never on a real defect (mask, or NULL). One time in
 * two it stays empty. */
void anomaly_mask(Random *random, size_t h, size_t w, double threshold, const uint8_t *mask, float *scratch,
                  uint8_t *noise_mask);
/* The mask without Perlin noise, as SimpleNet has it: 1 wherever there is no real defect (mask, or NULL). */
void anomaly_everywhere(size_t pixels, const uint8_t *mask, uint8_t *noise_mask);

#endif

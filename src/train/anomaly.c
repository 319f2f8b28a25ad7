#include "train/anomaly.h"

#include "image/image.h"

#include <math.h>
#include <string.h>

enum { CELLS_LOG2_MAX = 5, CORNERS_MAX = (1 << CELLS_LOG2_MAX) + 1 };

static float fade(float t) {
    return t * t * t * (t * (t * 6.0f - 15.0f) + 10.0f);
}

static float mix(float a, float b, float t) {
    return a + t * (b - a);
}

void perlin_noise(Random *random, size_t height, size_t width, size_t cells_y, size_t cells_x, float *out) {
    float gy[CORNERS_MAX][CORNERS_MAX], gx[CORNERS_MAX][CORNERS_MAX];
    for (size_t i = 0; i <= cells_y; i++)
        for (size_t j = 0; j <= cells_x; j++) {
            const float angle = 6.28318530718f * random_float(random);
            gy[i][j] = cosf(angle);
            gx[i][j] = sinf(angle);
        }
    const size_t cell_h = height / cells_y, cell_w = width / cells_x;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const size_t i = y / cell_h, j = x / cell_w;
            const float v = (float)(y % cell_h) / (float)cell_h, u = (float)(x % cell_w) / (float)cell_w;
            const float n00 = gy[i][j] * v + gx[i][j] * u, n10 = gy[i + 1][j] * (v - 1) + gx[i + 1][j] * u;
            const float n01 = gy[i][j + 1] * v + gx[i][j + 1] * (u - 1);
            const float n11 = gy[i + 1][j + 1] * (v - 1) + gx[i + 1][j + 1] * (u - 1);
            const float t = fade(v);
            out[y * width + x] = 1.41421356237f * mix(mix(n00, n10, t), mix(n01, n11, t), fade(u));
        }
}

static size_t power_of_two(size_t n) {
    size_t p = 1;
    while (p < n) p *= 2;
    return p;
}

size_t anomaly_scratch(size_t h, size_t w) {
    return power_of_two(h) * power_of_two(w) + h * w;
}

static size_t draw_cells(Random *random, size_t pixels) {
    const size_t cells = (size_t)1 << random_below(random, CELLS_LOG2_MAX + 1);
    return cells < pixels ? cells : pixels;
}

void anomaly_mask(Random *random, size_t h, size_t w, double threshold, const uint8_t *mask, float *scratch,
                  uint8_t *noise_mask) {
    const size_t height = power_of_two(h), width = power_of_two(w);
    float *noise = scratch, *resized = scratch + height * width;
    if (random_below(random, 2)) {
        memset(noise_mask, 0, h * w);
        return;
    }
    const size_t cells_y = draw_cells(random, height), cells_x = draw_cells(random, width);
    perlin_noise(random, height, width, cells_y, cells_x, noise);
    plane_resize_bilinear(noise, height, width, resized, h, w);
    for (size_t i = 0; i < h * w; i++) noise_mask[i] = (double)resized[i] > threshold && !(mask && mask[i]);
}

void anomaly_everywhere(size_t pixels, const uint8_t *mask, uint8_t *noise_mask) {
    for (size_t i = 0; i < pixels; i++) noise_mask[i] = !(mask && mask[i]);
}

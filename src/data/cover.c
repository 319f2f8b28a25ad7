#include "data/synth.h"

#include <math.h>

size_t pixel_before(float v, size_t limit) {
    return v <= 0 ? 0 : v >= (float)limit ? limit : (size_t)v;
}

void cover_stroke(float *plane, size_t width, size_t height, Point a, Point b, float strength) {
    float reach = fmaxf(a.half_width, b.half_width) + 1, dx = b.x - a.x, dy = b.y - a.y;
    float squared = fmaxf(dx * dx + dy * dy, 1e-12f);
    size_t bottom = pixel_before(fmaxf(a.y, b.y) + reach + 1, height);
    size_t right = pixel_before(fmaxf(a.x, b.x) + reach + 1, width);
    for (size_t y = pixel_before(fminf(a.y, b.y) - reach, height); y < bottom; y++)
        for (size_t x = pixel_before(fminf(a.x, b.x) - reach, width); x < right; x++) {
            float px = (float)x - a.x, py = (float)y - a.y, t = clamp01((px * dx + py * dy) / squared);
            float distance = hypotf(px - t * dx, py - t * dy);
            float cover = strength * clamp01(a.half_width + t * (b.half_width - a.half_width) + 0.5f - distance);
            float *p = plane + y * width + x;
            if (cover > *p) *p = cover;
        }
}

float blob_depth(uint32_t seed, float radius, float roughness, float dx, float dy) {
    float distance = hypotf(dx, dy), inverse = 1 / fmaxf(distance, 1e-3f);
    float wobble = noise_fractal(seed, 0.7f * dx * inverse + 7, 0.7f * dy * inverse + 7, 2);
    return radius * (1 + roughness * wobble) - distance;
}

#include "data/synth.h"

#include <math.h>

static uint32_t lattice_hash(uint32_t seed, int x, int y) {
    return (uint32_t)mix64(((uint64_t)(uint32_t)x << 32 | (uint32_t)y) ^ (uint64_t)seed * 0x9e3779b97f4a7c15ull);
}

float lattice_random(uint32_t seed, int x, int y) {
    return (float)(lattice_hash(seed, x, y) >> 8) * 0x1p-24f;
}

static float corner(uint32_t seed, int x, int y, float dx, float dy) {
    uint32_t bits = lattice_hash(seed, x, y);
    float gx = (float)(bits & 0xffff) * 0x1p-15f - 1, gy = (float)(bits >> 16) * 0x1p-15f - 1;
    return gx * dx + gy * dy;
}

static float fade(float t) {
    return t * t * t * (t * (t * 6 - 15) + 10);
}

float noise_gradient(uint32_t seed, float x, float y) {
    float fx = floorf(x), fy = floorf(y), dx = x - fx, dy = y - fy, sx = fade(dx), sy = fade(dy);
    int ix = (int)fx, iy = (int)fy;
    float top = corner(seed, ix, iy, dx, dy), top_right = corner(seed, ix + 1, iy, dx - 1, dy);
    float low = corner(seed, ix, iy + 1, dx, dy - 1), low_right = corner(seed, ix + 1, iy + 1, dx - 1, dy - 1);
    top += sx * (top_right - top);
    low += sx * (low_right - low);
    return 1.7f * (top + sy * (low - top));
}

float noise_fractal(uint32_t seed, float x, float y, int octaves) {
    float sum = 0, strength = 0.6f;
    for (int i = 0; i < octaves; i++) {
        sum += strength * noise_gradient(seed + (uint32_t)i, x, y);
        x *= 2;
        y *= 2;
        strength /= 2;
    }
    return sum;
}

Cell noise_cell(uint32_t seed, float x, float y) {
    int ix = (int)floorf(x), iy = (int)floorf(y);
    Cell cell = {.nearest = 9, .second = 9};
    for (int v = iy - 1; v <= iy + 1; v++)
        for (int u = ix - 1; u <= ix + 1; u++) {
            float dx = (float)u + lattice_random(seed, u, v) - x, dy = (float)v + lattice_random(seed + 1, u, v) - y;
            float distance = sqrtf(dx * dx + dy * dy);
            if (distance < cell.nearest) {
                cell.second = cell.nearest;
                cell.nearest = distance;
                cell.id = lattice_hash(seed + 2, u, v);
            } else if (distance < cell.second) {
                cell.second = distance;
            }
        }
    return cell;
}

/* surface_math: noise, cells and shapes as pure functions of a point, written so that loops over them become vector
 * code: no calls, no branches, 32-bit integers. Without contraction into fused multiply-adds (CMakeLists.txt) every
 * instruction set gives the same bits. Only src/data/surface_*.c includes it. */
#ifndef BLEMISH_SURFACE_MATH_H
#define BLEMISH_SURFACE_MATH_H

#include "data/surfaces.h"

#include <math.h>

/* The function once per instruction set, chosen when the program starts. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTOR_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define VECTOR_CLONES
#endif
/* Before a short loop inside a vector loop. */
#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Defines the SurfaceField `name` from name_at(knobs, key, u, v), which gives one point's texel. The clones are static:
 * GCC exports others from the shared library, hidden or not. */
#define SURFACE_ROWS(name)                                                                                             \
    VECTOR_CLONES                                                                                                      \
    static void name##_rows(const SurfaceKnobs *knobs, uint32_t key, const SurfaceRow *row) {                          \
        const SurfaceKnobs k = *knobs;                                                                                 \
        const float *u = row->u, *v = row->v;                                                                          \
        float *tone = row->tone, *tint = row->tint, *relief = row->relief;                                             \
        const size_t n = row->n;                                                                                       \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) {                                                           \
            const Texel t = name##_at(&k, key, u[i], v[i]);                                                            \
            tone[i] = t.tone;                                                                                          \
            tint[i] = t.tint;                                                                                          \
            relief[i] = t.relief;                                                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    void name(const SurfaceKnobs *knobs, uint32_t key, const SurfaceRow *row) {                                        \
        name##_rows(knobs, key, row);                                                                                  \
    }

typedef struct Texel {
    float tone, tint, relief;
} Texel;

INLINE float least(float a, float b) {
    return a < b ? a : b;
}
INLINE float most(float a, float b) {
    return a > b ? a : b;
}
INLINE float unit_clamp(float v) {
    return least(most(v, 0), 1);
}
INLINE float mix(float a, float b, float t) {
    return a + t * (b - a);
}
INLINE float magnitude(float v) {
    return v < 0 ? -v : v;
}
INLINE float step_soft(float low, float high, float v) {
    const float t = unit_clamp((v - low) / (high - low));
    return t * t * (3 - 2 * t);
}
/* 1 inside (d < 0), 0 outside, over one unit. */
INLINE float inside_of(float d) {
    return unit_clamp(0.5f - d);
}

INLINE int32_t whole(float x) {
    const int32_t i = (int32_t)x;
    return i - (x < (float)i);
}
INLINE float fraction(float x) {
    return x - (float)whole(x);
}

/* sin(2 pi t) within 0.001 (a parabola, corrected once). */
INLINE float wave(float t) {
    const float x = 2 * (t - (float)whole(t + 0.5f)), y = 4 * x * (1 - magnitude(x));
    return 0.225f * (y * magnitude(y) - y) + y;
}
INLINE float cowave(float t) {
    return wave(t + 0.25f);
}
/* 0 at whole t, 1 half-way. */
INLINE float ridge_wave(float t) {
    return 1 - magnitude(2 * fraction(t) - 1);
}
/* Nearly tanh. */
INLINE float saturate(float x) {
    x = least(most(x, -3), 3);
    return x * (27 + x * x) / (27 + 9 * x * x);
}

INLINE uint32_t lattice_bits(uint32_t key, int32_t x, int32_t y) {
    uint32_t h = key + (uint32_t)x * 0x9E3779B1u + (uint32_t)y * 0x85EBCA77u;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 13) * 0x297A2D39u;
    return h ^ h >> 16;
}
/* Two independent numbers in [0, 1) of one hash, and a third less so. */
INLINE float low_unit(uint32_t h) {
    return (float)(int32_t)(h & 0xffff) * 0x1p-16f;
}
INLINE float high_unit(uint32_t h) {
    return (float)(int32_t)(h >> 16) * 0x1p-16f;
}
INLINE float other_unit(uint32_t h) {
    return (float)(int32_t)((h * 0x9E3779B1u) >> 16) * 0x1p-16f;
}

INLINE float gradient_dot(uint32_t h, float dx, float dy) {
    return (low_unit(h) - 0.5f) * dx + (high_unit(h) - 0.5f) * dy;
}
INLINE float fade_in(float t) {
    return t * t * t * (t * (t * 6 - 15) + 10);
}

/* Gradient noise (Perlin 2002) of standard deviation about 0.5, features of size 1. */
INLINE float perlin(uint32_t key, float x, float y) {
    const int32_t ix = whole(x), iy = whole(y);
    const float dx = x - (float)ix, dy = y - (float)iy, sx = fade_in(dx);
    const float a = gradient_dot(lattice_bits(key, ix, iy), dx, dy);
    const float b = gradient_dot(lattice_bits(key, ix + 1, iy), dx - 1, dy);
    const float c = gradient_dot(lattice_bits(key, ix, iy + 1), dx, dy - 1);
    const float d = gradient_dot(lattice_bits(key, ix + 1, iy + 1), dx - 1, dy - 1);
    return 3.6f * mix(mix(a, b, sx), mix(c, d, sx), fade_in(dy));
}
/* The same along a line: value noise in [-1, 1]. */
INLINE float jitter(uint32_t key, float x) {
    const int32_t i = whole(x);
    return 2 * mix(low_unit(lattice_bits(key, i, 0)), low_unit(lattice_bits(key, i + 1, 0)), fade_in(x - (float)i)) - 1;
}
/* Octaves of half the size and `gain` of the strength, the sum about as strong as one octave; `octaves` is a constant
 * of the caller. */
INLINE float fbm(uint32_t key, float x, float y, int octaves, float gain) {
    float sum = 0, strength = 1, square = 0;
    UNROLLED
    for (int i = 0; i < octaves; i++) {
        sum += strength * perlin(key + (uint32_t)i * 77, x, y);
        square += strength * strength;
        strength *= gain;
        const float t = 1.6f * x - 1.2f * y; /* turned, so that the lattices do not align */
        y = 1.2f * x + 1.6f * y;
        x = t;
    }
    return sum / sqrtf(square);
}
/* Uncorrelated from pixel to pixel, about normal with deviation 1. */
INLINE float grain(uint32_t h) {
    const int32_t sum = (int32_t)(h & 0xff) + (int32_t)(h >> 8 & 0xff) + (int32_t)(h >> 16 & 0xff) + (int32_t)(h >> 24);
    return ((float)sum - 510) * 0.00677f;
}

/* The cell of jittered points, one per unit square, that a point is in. */
typedef struct Voronoi {
    float nearest, second; /* distances */
    float dx, dy;          /* from the cell's point */
    uint32_t id;
} Voronoi;

INLINE void voronoi_try(Voronoi *c, uint32_t key, int32_t ix, int32_t iy, float x, float y, float jitter_of_points) {
    const uint32_t h = lattice_bits(key, ix, iy);
    const float dx = x - (float)ix - 0.5f - jitter_of_points * (low_unit(h) - 0.5f);
    const float dy = y - (float)iy - 0.5f - jitter_of_points * (high_unit(h) - 0.5f);
    const float d = dx * dx + dy * dy;
    const int closer = d < c->nearest;
    c->second = closer ? c->nearest : least(d, c->second);
    c->nearest = closer ? d : c->nearest;
    c->dx = closer ? dx : c->dx;
    c->dy = closer ? dy : c->dy;
    c->id = closer ? h : c->id;
}

INLINE Voronoi voronoi(uint32_t key, float x, float y, float jitter_of_points) {
    const int32_t ix = whole(x), iy = whole(y);
    Voronoi c = {.nearest = 9, .second = 9};
    UNROLLED
    for (int32_t v = -1; v <= 1; v++) {
        voronoi_try(&c, key, ix - 1, iy + v, x, y, jitter_of_points);
        voronoi_try(&c, key, ix, iy + v, x, y, jitter_of_points);
        voronoi_try(&c, key, ix + 1, iy + v, x, y, jitter_of_points);
    }
    c.nearest = sqrtf(c.nearest);
    c.second = sqrtf(c.second);
    return c;
}

/* Signed distances, negative inside. */
INLINE float length_of(float x, float y) {
    return sqrtf(x * x + y * y);
}
INLINE float box_distance(float x, float y, float half_width, float half_height) {
    const float dx = magnitude(x) - half_width, dy = magnitude(y) - half_height;
    return length_of(most(dx, 0), most(dy, 0)) + least(most(dx, dy), 0);
}
/* A regular hexagon of apothem r. */
INLINE float hexagon_distance(float x, float y, float r) {
    x = magnitude(x);
    y = magnitude(y);
    return most(0.8660254f * x + 0.5f * y, y) - r;
}
/* Height of a dome over a signed distance d: rises as a quarter circle over `width`. */
INLINE float dome(float d, float width) {
    const float t = unit_clamp(-d / width);
    return width * sqrtf(t * (2 - t));
}

#endif

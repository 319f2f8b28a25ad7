/* synth: procedural surfaces and defects. Only src/data includes it. Colours are linear RGB in about [0, 1]; lengths
 * are in units of 1/256 of the shorter side, so that a surface looks the same at every size. */
#ifndef BLEMISH_SYNTH_H
#define BLEMISH_SYNTH_H

#include "data/data.h"

typedef struct Canvas {
    size_t width, height;
    float unit;           /* pixels per unit of length */
    float *rgb;           /* (height, width, 3) */
    float *core, *rim;    /* (height, width): a defect's body and its lit edge, 0 to 1, scratch space */
    uint8_t *mask;        /* (height, width): 255 on the defect */
} Canvas;

/* ---- noise.c -------------------------------------------------------------------------------------------- */
/* Uniform in [0, 1), a function of the arguments. */
float lattice_random(uint32_t seed, int x, int y);
/* Gradient noise, about [-1, 1], features of size 1. */
float noise_gradient(uint32_t seed, float x, float y);
/* Sum of `octaves` of it, each of half the size and half the strength. */
float noise_fractal(uint32_t seed, float x, float y, int octaves);
/* The cell (one point per unit square) that (x, y) is in: its random number and the distances to the two nearest
 * points. */
typedef struct Cell {
    uint32_t id;
    float nearest, second;
} Cell;
Cell noise_cell(uint32_t seed, float x, float y);

/* ---- surface.c ------------------------------------------------------------------------------------------ */
/* Paints the sound surface that `seed` chooses; r varies it from image to image. */
void surface_paint(Canvas *canvas, uint64_t seed, Random *r);
/* Light falling unevenly and the sensor's noise, after the defects. */
void surface_light(Canvas *canvas, Random *r);

/* ---- cover.c: shapes of defects ------------------------------------------------------------------------- */
typedef struct Point {
    float x, y, half_width; /* pixels */
} Point;
/* Raises a (height, width) plane to `strength` along a tapered stroke from a to b, anti-aliased, clipped. */
void cover_stroke(float *plane, size_t width, size_t height, Point a, Point b, float strength);
/* How far inside a blob a point is, in pixels: (dx, dy) from its middle, the radius varies with the angle. */
float blob_depth(uint32_t seed, float radius, float roughness, float dx, float dy);
/* The first whole pixel from v on, within [0, limit]. */
size_t pixel_before(float v, size_t limit);

/* ---- defect.c ------------------------------------------------------------------------------------------- */
enum { DEFECT_TYPES = 4 };
extern const char *const defect_names[DEFECT_TYPES];
/* The unit of length at which a defect of a type is about `pixels` long. */
float defect_unit(size_t type, size_t pixels);
/* Paints one image's defect of a type and its exact mask, which is never empty. */
void defect_paint(Canvas *canvas, size_t type, Random *r);

/* Uniform in [low, high). */
static inline float random_between(Random *r, float low, float high) { return low + (high - low) * random_float(r); }
static inline float clamp01(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }
static inline float smooth_step(float low, float high, float v) {
    float t = clamp01((v - low) / (high - low));
    return t * t * (3 - 2 * t);
}

#endif

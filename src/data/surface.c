#include "data/synth.h"

#include <math.h>

/* What one data set's seed fixes and one image's position on the endless surface. */
typedef struct Surface {
    uint32_t seed;
    float dark[3], light[3]; /* colours of height 0 and 1 */
    float period;            /* of threads, grains or rings, in units of length */
    bool twill;
} Surface;

/* The surface's reflectance, about 0 to 1, at (u, v) units of length. */
typedef float (*SurfaceFn)(const Surface *s, float u, float v);

static float brushed_metal(const Surface *s, float u, float v) {
    float fine = noise_gradient(s->seed, u * 0.02f, v * 0.85f), hair = noise_gradient(s->seed + 1, u * 0.09f, v * 1.6f);
    float coarse = noise_gradient(s->seed + 2, u * 0.012f, v * 0.3f),
          broad = noise_fractal(s->seed + 3, u * 0.006f, v * 0.02f, 3);
    return 0.55f + 0.16f * fine + 0.10f * hair + 0.08f * coarse + 0.10f * broad;
}

static float woven_fabric(const Surface *s, float u, float v) {
    float a = u / s->period + 0.35f * noise_fractal(s->seed, u * 0.02f, v * 0.02f, 2);
    float b = v / s->period + 0.35f * noise_fractal(s->seed + 4, u * 0.02f, v * 0.02f, 2);
    int column = (int)floorf(a), row = (int)floorf(b);
    float across = cosf(3.14159265f * (a - (float)column - 0.5f)), along = cosf(3.14159265f * (b - (float)row - 0.5f));
    bool warp = s->twill ? ((column + row) % 3 + 3) % 3 != 0 : ((column + row) & 1) != 0;
    float ridge = warp ? across : along, bow = warp ? along : across;
    float thread = warp ? lattice_random(s->seed + 6, column, 0) : lattice_random(s->seed + 7, 0, row);
    float fibre =
        warp ? noise_gradient(s->seed + 8, u * 1.3f, v * 0.3f) : noise_gradient(s->seed + 9, u * 0.3f, v * 1.3f);
    float height = sqrtf(ridge) * (0.55f + 0.45f * bow) * (warp ? 1 : 0.86f);
    return 0.12f + 0.62f * height + 0.16f * (thread - 0.5f) + 0.13f * fibre;
}

static float cast_grains(const Surface *s, float u, float v) {
    float x = u / s->period + 0.25f * noise_fractal(s->seed + 10, u * 0.06f, v * 0.06f, 2);
    float y = v / s->period + 0.25f * noise_fractal(s->seed + 11, u * 0.06f, v * 0.06f, 2);
    Cell cell = noise_cell(s->seed, x, y);
    float shade = (float)(cell.id & 0xff) / 255, angle = (float)(cell.id >> 8 & 0xff) * 0.0245f;
    float lamella = sinf((cosf(angle) * x + sinf(angle) * y) * 17 + (float)(cell.id >> 16 & 0xff));
    float border = 1 - smooth_step(0.0f, 0.11f, cell.second - cell.nearest);
    return 0.36f + 0.30f * shade + 0.035f * lamella - 0.16f * border +
           0.09f * noise_fractal(s->seed + 12, u * 0.25f, v * 0.25f, 3);
}

static float sawn_wood(const Surface *s, float u, float v) {
    float x = v / s->period + 1.6f * noise_fractal(s->seed, u * 0.0035f, v * 0.011f, 3);
    float ring = x - floorf(x);
    float late = ring * ring * ring * (1 - smooth_step(0.88f, 1, ring)); /* slowly darker, then a new year */
    float fibre = noise_gradient(s->seed + 13, u * 0.03f, v * 0.9f),
          grain = noise_gradient(s->seed + 14, u * 0.07f, v * 1.7f);
    float pore = smooth_step(0.42f, 0.75f, noise_gradient(s->seed + 15, u * 0.06f, v * 0.7f));
    float year = lattice_random(s->seed + 16, (int)floorf(x), 0) - 0.5f;
    return 0.66f - 0.42f * late + 0.10f * year * (1 - smooth_step(0.9f, 1, ring)) + 0.07f * fibre + 0.06f * grain -
           0.22f * pore;
}

typedef struct Family {
    SurfaceFn reflectance;
    float period_low, period_high;
    float colours[3][2][3]; /* three choices of a dark and a light colour */
} Family;

static const Family families[] = {
    {woven_fabric,
     6.0f,
     9.0f,
     {{{0.07f, 0.10f, 0.19f}, {0.50f, 0.60f, 0.74f}},
      {{0.24f, 0.20f, 0.14f}, {0.88f, 0.82f, 0.70f}},
      {{0.13f, 0.15f, 0.13f}, {0.62f, 0.67f, 0.60f}}}},
    {brushed_metal,
     1,
     1,
     {{{0.16f, 0.17f, 0.19f}, {0.86f, 0.88f, 0.90f}},
      {{0.23f, 0.20f, 0.15f}, {0.92f, 0.87f, 0.76f}},
      {{0.14f, 0.14f, 0.15f}, {0.74f, 0.75f, 0.76f}}}},
    {cast_grains,
     11,
     17,
     {{{0.20f, 0.22f, 0.24f}, {0.84f, 0.88f, 0.92f}},
      {{0.26f, 0.22f, 0.20f}, {0.88f, 0.82f, 0.78f}},
      {{0.16f, 0.18f, 0.18f}, {0.70f, 0.74f, 0.72f}}}},
    {sawn_wood,
     13,
     20,
     {{{0.24f, 0.12f, 0.06f}, {0.86f, 0.66f, 0.43f}},
      {{0.17f, 0.09f, 0.06f}, {0.60f, 0.41f, 0.28f}},
      {{0.36f, 0.25f, 0.14f}, {0.93f, 0.82f, 0.62f}}}},
};
enum { FAMILIES = sizeof families / sizeof *families };

void surface_paint(Canvas *canvas, uint64_t seed, Random *r) {
    const Family *family = &families[seed % FAMILIES];
    Random fixed = random_new(seed, 0);
    Surface s = {.seed = random_u32(&fixed),
                 .period = random_between(&fixed, family->period_low, family->period_high),
                 .twill = random_below(&fixed, 2)};
    uint32_t colours = random_below(&fixed, 3);
    float slant = random_between(&fixed, -0.25f, 0.25f) + random_between(r, -0.03f, 0.03f);
    float left = random_between(r, -4000, 4000), top = random_between(r, -4000, 4000);
    float lift = random_between(r, -0.025f, 0.025f), contrast = random_between(r, 0.92f, 1.08f);
    float c = cosf(slant) / canvas->unit, d = sinf(slant) / canvas->unit;
    for (size_t y = 0, i = 0; y < canvas->height; y++)
        for (size_t x = 0; x < canvas->width; x++, i++) {
            float u = c * (float)x + d * (float)y + left, v = c * (float)y - d * (float)x + top;
            float t = clamp01(0.5f + lift + contrast * (family->reflectance(&s, u, v) - 0.5f));
            for (size_t k = 0; k < 3; k++) {
                float dark = family->colours[colours][0][k], light = family->colours[colours][1][k];
                canvas->rgb[3 * i + k] = dark + t * (light - dark);
            }
        }
}

void surface_light(Canvas *canvas, Random *r) {
    float angle = random_between(r, 0, 6.2831853f), slope = random_between(r, 0.05f, 0.16f);
    float level = random_between(r, 0.95f, 1.05f), vignette = random_between(r, 0.03f, 0.09f);
    float gx = slope * cosf(angle), gy = slope * sinf(angle);
    for (size_t y = 0, i = 0; y < canvas->height; y++)
        for (size_t x = 0; x < canvas->width; x++, i++) {
            float u = 2 * (float)x / (float)canvas->width - 1, v = 2 * (float)y / (float)canvas->height - 1;
            float light = level * (1 + gx * u + gy * v - vignette * (u * u + v * v));
            float *rgb = canvas->rgb + 3 * i, brightness = light * (rgb[0] + rgb[1] + rgb[2]) / 3;
            /* Photons arrive at random: the noise grows with the root of the light. */
            float noise = random_normal(r) * (0.006f + 0.012f * sqrtf(clamp01(brightness)));
            for (size_t k = 0; k < 3; k++) rgb[k] = light * rgb[k] + noise;
        }
}

/* Families made of noise: metals, stone, wood, paper. */
#include "data/surface_math.h"

/* Streaks along u: length and width of a streak, strength of fine hairs, of broad bands. */
INLINE Texel surface_brushed_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[1];
    const float streak = perlin(key, x, y), hair = perlin(key + 1, 2.3f * x, 2.1f * y);
    const float broad = perlin(key + 2, 0.2f * x, 0.11f * y) + 0.6f * perlin(key + 3, 0.02f * u, 0.17f * v);
    const float tone = 0.5f + 0.30f * streak + 0.3f * s->k[2] * hair + s->k[3] * broad;
    return (Texel){tone, 0.5f, 0.5f * (streak + s->k[2] * hair)};
}
SURFACE_ROWS(surface_brushed)

/* Size of the fibres' flocks, strength of the fine grain, density and curl of fibres. */
INLINE Texel surface_paper_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[0];
    const float flock = fbm(key, x, y, 3, 0.7f), fine = perlin(key + 5, u * 0.45f, v * 0.45f);
    float fibre = 0;
    UNROLLED
    for (int i = 0; i < 3; i++) {
        const float c = i == 0 ? 1 : i == 1 ? 0.36f : -0.62f, d = i == 0 ? 0.1f : i == 1 ? 0.93f : 0.78f;
        const float along = c * u + d * v, across = c * v - d * u;
        const float n = perlin(key + 9 + (uint32_t)i, along * 0.02f * s->k[3], across * 0.09f);
        fibre = most(fibre, 1 - magnitude(n) * 9);
    }
    fibre *= s->k[2];
    return (Texel){0.6f + 0.17f * flock + s->k[1] * fine - 0.35f * fibre, 0.5f + 0.2f * flock,
                   0.5f * flock + 0.4f * fine + fibre};
}
SURFACE_ROWS(surface_paper)

/* Size and roughness (gain of octaves), density and size of pores. */
INLINE Texel surface_concrete_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float n = fbm(key, u / s->k[0], v / s->k[0], 5, s->k[1]);
    const Voronoi pore = voronoi(key + 3, u / s->k[3], v / s->k[3], 1);
    const float radius = 0.32f * s->k[2] * high_unit(pore.id) * high_unit(pore.id);
    const float hole = step_soft(radius, radius * 0.6f - 0.02f, pore.nearest);
    return (Texel){0.6f + 0.24f * n - 0.5f * hole, 0.5f + 0.2f * n, 0.9f * n - 2.5f * hole};
}
SURFACE_ROWS(surface_concrete)

/* Size, strength of warping, sharpness of veins, size of the grain. */
INLINE Texel surface_marble_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[0];
    const float a = fbm(key, x, y, 3, 0.5f), b = fbm(key + 11, x + 3.1f, y, 3, 0.5f);
    const float n = fbm(key + 5, x + s->k[1] * a, y + s->k[1] * b, 4, 0.55f);
    const float vein = 1 / (1 + s->k[2] * n * n);
    const float tone =
        0.68f + 0.2f * a - 0.55f * vein * unit_clamp(0.6f + b) + s->k[3] * perlin(key, u * 0.4f, v * 0.4f);
    return (Texel){tone, 0.5f + 0.3f * b, 0};
}
SURFACE_ROWS(surface_marble)

/* Width of a year, waviness, strength of fibres, of pores, length of fibres. */
INLINE Texel surface_wood_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = v / s->k[0] + s->k[1] * fbm(key, u * 0.004f, v * 0.012f, 3, 0.5f);
    const float ring = fraction(x), year = low_unit(lattice_bits(key + 5, whole(x), 0)) - 0.5f;
    const float late = ring * ring * ring * (1 - step_soft(0.86f, 1, ring));
    const float stretch = 1 / s->k[4];
    const float fibre = perlin(key + 1, u * stretch, v * 0.5f) + 0.7f * perlin(key + 2, u * 1.7f * stretch, v * 0.27f);
    const float pore = step_soft(0.35f, 0.8f, perlin(key + 3, u * 1.5f * stretch, v * 0.38f));
    const float tone = 0.72f - 0.55f * late + 0.16f * year + s->k[2] * fibre - s->k[3] * pore;
    return (Texel){tone, 0.5f + year, -1.2f * pore + 0.5f * fibre};
}
SURFACE_ROWS(surface_wood)

/* Size of the grains, share of dark ones, of coloured ones, roughness. */
INLINE Texel surface_granite_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[0];
    const float wx = x + 0.5f * perlin(key + 7, x * 1.3f, y * 1.3f),
                wy = y + 0.5f * perlin(key + 8, x * 1.3f, y * 1.3f);
    const Voronoi big = voronoi(key, wx, wy, 1);
    const float small = perlin(key + 2, 2.7f * wx, 2.7f * wy);
    const float dark = high_unit(big.id) < s->k[1] ? 1.0f : 0.0f;
    const float coloured = other_unit(big.id) < s->k[2] ? 1.0f : 0.0f;
    const float fleck = step_soft(0.3f, 0.5f, small);
    const float tone = 0.75f - 0.6f * dark - 0.45f * (1 - dark) * fleck + 0.2f * (low_unit(big.id) - 0.5f) +
                       s->k[3] * perlin(key + 4, u * 0.5f, v * 0.5f);
    return (Texel){tone, 0.5f + 0.5f * coloured * (1 - dark), 0.3f * small};
}
SURFACE_ROWS(surface_granite)

/* Size, share of the corroded part, sharpness of its border, roughness of it. */
INLINE Texel surface_patina_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float n = fbm(key, u / s->k[0], v / s->k[0], 5, 0.6f);
    const float rough = fbm(key + 6, u * 0.21f, v * 0.21f, 3, 0.7f), sheen = perlin(key + 7, u * 0.02f, v * 0.5f);
    const float part = 0.5f + 0.5f * saturate(s->k[2] * (n + s->k[1]));
    const float tone = mix(0.75f + 0.12f * sheen, 0.35f + s->k[3] * rough, part);
    return (Texel){tone, mix(0.35f, 0.9f + 0.2f * rough, part), part * rough * 1.2f + part};
}
SURFACE_ROWS(surface_patina)

INLINE Texel surface_border_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float n = fbm(key, u / s->k[0], v / s->k[0], 3, 0.5f);
    return (Texel){0.5f + 0.5f * saturate(s->k[1] * (n + s->k[2])), 0, 0};
}
SURFACE_ROWS(surface_border)

/* Coherent light on a rough surface: size of the speckles along u and v, contrast, broad unevenness. */
INLINE Texel surface_speckle_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[1];
    const float a = perlin(key, x, y), b = perlin(key + 3, x, y), c = perlin(key + 5, u * 0.02f, v * 0.02f);
    const float intensity = a * a + b * b;
    return (Texel){0.15f + s->k[2] * intensity + s->k[3] * c, 0.5f, 0.8f * intensity};
}
SURFACE_ROWS(surface_speckle)

/* Rolled strip: spacing and strength of roll lines along u, size and strength of mottling, of scale. */
INLINE Texel surface_rolled_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float line = jitter(key, v / s->k[0]) + 0.7f * jitter(key + 1, v / (3.1f * s->k[0]));
    const float mottle = fbm(key + 2, u / s->k[2], v / (0.6f * s->k[2]), 3, 0.6f);
    const float scale = step_soft(0.3f, 0.9f, fbm(key + 6, u * 0.05f, v * 0.12f, 2, 0.6f));
    const float tone = 0.55f + s->k[1] * line * (1 + 0.5f * mottle) + s->k[3] * mottle - s->k[4] * scale;
    return (Texel){tone, 0.5f, 0.4f * mottle};
}
SURFACE_ROWS(surface_rolled)

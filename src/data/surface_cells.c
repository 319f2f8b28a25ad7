/* Families of cells and scattered shapes: leather, grains, foam, leaves, fibres. */
#include "data/surface_math.h"

/* Wrinkles between pebbles: size, depth, sharpness of the wrinkles, fine pores, unevenness. */
INLINE Texel surface_leather_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float wx = perlin(key + 5, u * 0.05f, v * 0.05f), wy = perlin(key + 6, u * 0.05f, v * 0.05f);
    const float x = u / s->k[0] + 0.5f * wx, y = v / s->k[0] + 0.5f * wy;
    const Voronoi big = voronoi(key, x, y, 1), small = voronoi(key + 1, 2.3f * x, 2.3f * y, 1);
    const float crease = unit_clamp((big.second - big.nearest) * s->k[2]);
    const float fold = unit_clamp((small.second - small.nearest) * s->k[2]);
    const float height = sqrtf(crease) + 0.5f * sqrtf(fold), pore = perlin(key + 3, u * 0.5f, v * 0.5f);
    return (Texel){0.3f + s->k[1] * height + s->k[3] * pore + s->k[4] * wx, 0.5f,
                   0.25f * s->k[0] * height + pore * s->k[3]};
}
SURFACE_ROWS(surface_leather)

/* Crystals of a metal: size, spread of brightness, strength of lamellae, width and depth of borders, warping. */
INLINE Texel surface_grains_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0] + s->k[4] * fbm(key + 5, u * 0.03f, v * 0.03f, 2, 0.5f);
    const float y = v / s->k[0] + s->k[4] * fbm(key + 8, u * 0.03f, v * 0.03f, 2, 0.5f);
    const Voronoi c = voronoi(key, x, y, 1);
    const float turn = other_unit(c.id), border = 1 - unit_clamp((c.second - c.nearest) * s->k[3]);
    const float lamella = wave((cowave(turn) * u + wave(turn) * v) / (2.6f + 4 * low_unit(c.id)));
    return (Texel){0.5f + s->k[1] * (high_unit(c.id) - 0.5f) + s->k[2] * lamella - 0.4f * border,
                   0.5f + 0.3f * (turn - 0.5f), (cowave(turn) * c.dx + wave(turn) * c.dy) * 2 - border};
}
SURFACE_ROWS(surface_grains)

/* Bubbles: size, thickness of the walls, depth, share of closed ones. */
INLINE Texel surface_foam_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0] + 0.2f * perlin(key + 5, u * 0.04f, v * 0.04f), y = v / s->k[0];
    const Voronoi c = voronoi(key, x, y, 0.85f);
    const float depth = unit_clamp((c.second - c.nearest) / s->k[1] - 0.25f),
                closed = high_unit(c.id) < s->k[3] ? 1.0f : 0.0f;
    const float hollow = depth * (2 - depth) * (1 - 0.75f * closed), fine = perlin(key + 2, u * 0.4f, v * 0.4f);
    return (Texel){0.8f - s->k[2] * hollow + 0.05f * fine, 0.5f, -0.35f * s->k[0] * hollow};
}
SURFACE_ROWS(surface_foam)

/* Stones in a binder: size, share of binder, spread of colours, roundness, grain of the stones. */
INLINE Texel surface_pebbles_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0] + 0.15f * perlin(key + 5, u * 0.1f, v * 0.1f), y = v / s->k[0];
    const Voronoi c = voronoi(key, x, y, 1);
    const float size = 0.75f - 0.4f * s->k[1] * (0.5f + low_unit(c.id));
    const float d = most(c.nearest - size, 0.06f - 0.5f * (c.second - c.nearest)) * s->k[0];
    const float stone = inside_of(d), fine = fbm(key + 2, u * 0.12f, v * 0.12f, 3, 0.7f);
    return (Texel){mix(0.3f + 0.1f * fine, 0.6f + s->k[2] * (high_unit(c.id) - 0.5f) + s->k[4] * fine, stone),
                   mix(0.5f, other_unit(c.id), stone * s->k[2]), dome(d, s->k[3] * s->k[0]) + 0.4f * fine};
}
SURFACE_ROWS(surface_pebbles)

/* Dead leaves (Matheron 1968): shapes that lie on each other, the nearest layer first. Size, ratio of the largest to
 * the smallest, elongation, 0 round to 1 rectangular, spread of colour, thickness, texture. */
INLINE Texel surface_leaves_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    enum { LAYERS = 14 };
    Texel t = {0.25f + 0.1f * perlin(key + 99, u * 0.1f, v * 0.1f), 0.5f, 0};
    float open = 1; /* still to be covered */
    const float texture = s->k[6] * perlin(key + 98, u * 0.3f, v * 0.3f);
    UNROLLED
    for (int i = 0; i < LAYERS; i++) {
        const float size = s->k[0] * (1 + (s->k[1] - 1) * (float)(i * 5 % LAYERS) / LAYERS);
        const float turn = 0.137f * (float)i, c = cowave(turn), d = wave(turn);
        const float x = (c * u + d * v) / size + 0.31f * (float)i, y = (c * v - d * u) / size + 0.77f * (float)i;
        const int32_t ix = whole(x), iy = whole(y);
        const uint32_t h = lattice_bits(key + (uint32_t)i, ix, iy);
        const float angle = other_unit(h), ca = cowave(angle), sa = wave(angle);
        const float px = x - (float)ix - 0.5f + 0.2f * (low_unit(h) - 0.5f), py = y - (float)iy - 0.5f;
        const float along = (ca * px + sa * py) * s->k[2], across = ca * py - sa * px;
        const float radius = 0.30f + 0.1f * high_unit(h);
        const float round = length_of(along, across) - radius;
        const float square = most(magnitude(along), magnitude(across)) - 0.8f * radius;
        const float distance = size * mix(round, square, s->k[3]);
        const float cover = open * inside_of(distance);
        t.tone = mix(t.tone, 0.5f + s->k[4] * (low_unit(h) - 0.5f) + texture, cover);
        t.tint = mix(t.tint, mix(0.5f, high_unit(h), s->k[4]), cover);
        t.relief = mix(t.relief, s->k[5] * dome(distance, 3) + (float)(LAYERS - i) * 0.4f * s->k[5], cover);
        open -= cover;
    }
    return t;
}
SURFACE_ROWS(surface_leaves)

/* Felt: threads in random directions. Width, curl, spread of brightness, order (1: all threads nearly parallel). */
INLINE Texel surface_fibres_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    enum { LAYERS = 7 };
    Texel t = {0.2f, 0.5f, 0};
    UNROLLED
    for (int i = 0; i < LAYERS; i++) {
        const float turn = (1 - s->k[3]) * 0.0714f * (float)(i * 3 % LAYERS), c = cowave(turn), d = wave(turn);
        const float along = c * u + d * v, across = c * v - d * u;
        const float bend = s->k[1] * perlin(key + (uint32_t)i, along * 0.025f, across * 0.012f + 7 * (float)i);
        const float y = across / (2.2f * s->k[0]) + bend;
        const uint32_t id =
            lattice_bits(key + 50 + (uint32_t)i, whole(y), whole(along * 0.012f + 0.37f * (float)whole(y)));
        const float a = 2 * fraction(y) - 1, there = low_unit(id) < 0.5f ? 1.0f : 0.0f;
        const float round = most(1 - 1.2f * a * a, 0) * there;
        t.tone = mix(t.tone, 0.5f + s->k[2] * (high_unit(id) - 0.5f) + 0.2f * (round - 0.5f), unit_clamp(3 * round));
        t.tint = mix(t.tint, other_unit(id), unit_clamp(3 * round) * s->k[2]);
        t.relief = most(t.relief * 0.9f, s->k[0] * (round + 0.15f * (float)i));
    }
    return t;
}
SURFACE_ROWS(surface_fibres)

/* Pressed chips: length, width, order, spread of brightness. */
INLINE Texel surface_chips_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    enum { LAYERS = 9 };
    Texel t = {0.3f, 0.5f, 0};
    float open = 1;
    UNROLLED
    for (int i = 0; i < LAYERS; i++) {
        const float turn = (1 - s->k[2]) * 0.0555f * (float)(i * 4 % LAYERS), c = cowave(turn), d = wave(turn);
        const float y = (c * v - d * u) / s->k[1];
        const int32_t iy = whole(y);
        const float x = (c * u + d * v) / s->k[0] + low_unit(lattice_bits(key + 90, iy, i));
        const int32_t ix = whole(x);
        const uint32_t h = lattice_bits(key + (uint32_t)i, ix, iy);
        const float a = x - (float)ix, b = y - (float)iy, there = low_unit(h) < 0.55f ? 1.0f : 0.0f;
        const float edge = least(least(a, 1 - a) * s->k[0], least(b, 1 - b) * s->k[1] * (0.4f + 0.6f * high_unit(h)));
        const float cover = open * there * unit_clamp(edge - 0.3f);
        const float fibre = perlin(key + 70 + (uint32_t)i, x * 3, y * 5);
        t.tone = mix(t.tone, 0.55f + s->k[3] * (high_unit(h) - 0.5f) + 0.12f * fibre, cover);
        t.tint = mix(t.tint, other_unit(h), cover * s->k[3]);
        t.relief = mix(t.relief, 0.5f * (float)(LAYERS - i) + 0.5f * fibre, cover);
        open -= cover;
    }
    return t;
}
SURFACE_ROWS(surface_chips)

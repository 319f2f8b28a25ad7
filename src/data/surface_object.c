/* Families that show things: one in the middle of the picture, or many scattered. */
#include "data/surface_math.h"

/* What lies under an object: tone below 0.3, its shadow included. distance is the object's. */
INLINE Texel ground(uint32_t key, float u, float v, float distance, float texture) {
    const float n = fbm(key + 60, u * 0.03f, v * 0.03f, 4, 0.6f);
    const float shadow = unit_clamp(1 - most(distance, 0) / 7);
    return (Texel){0.2f + texture * n - 0.15f * shadow * shadow, 0.5f, 0};
}

INLINE Texel over(Texel under, Texel object, float distance) {
    const float cover = inside_of(distance);
    return (Texel){mix(under.tone, object.tone, cover), mix(under.tint, object.tint, cover),
                   mix(under.relief, object.relief, cover)};
}

/* A capsule or tablet: length, radius, where its halves meet, how much they differ, a printed line, texture of the
 * ground. */
INLINE Texel surface_capsule_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float d = length_of(most(magnitude(u) - s->k[0], 0), v) - s->k[1];
    const float half = step_soft(-0.5f, 0.5f, u - s->k[2] * s->k[0]);
    const float seam = most(1 - magnitude(u - s->k[2] * s->k[0]), 0), fine = perlin(key, u * 0.2f, v * 0.2f);
    const float print = s->k[4] * inside_of(box_distance(u + 0.5f * s->k[0], v, 0.3f * s->k[0], 0.12f * s->k[1]));
    const Texel body = {0.65f + s->k[3] * (half - 0.5f) - 0.2f * seam - 0.4f * print + 0.03f * fine,
                        mix(0.2f, 0.9f, half), dome(d, s->k[1]) - seam};
    return over(ground(key, u, v, d, s->k[5]), body, d);
}
SURFACE_ROWS(surface_capsule)

/* A screw: length, radius of the shank, pitch, depth of the thread, radius of the head, texture of the ground. */
INLINE Texel surface_screw_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float thread = s->k[3] * ridge_wave((u + 0.25f * v) / s->k[2]);
    const float tip = unit_clamp((s->k[0] - u) / (1.6f * s->k[1]));
    const float shank = most(magnitude(v) - s->k[1] * tip - thread * tip, magnitude(u) - s->k[0]);
    const float head = box_distance(u + s->k[0] + 0.4f * s->k[4], v, 0.4f * s->k[4] - 2, s->k[4] - 2) - 2;
    const float d = least(shank, head), fine = perlin(key, u * 0.3f, v * 0.08f);
    const float round =
        head < shank ? dome(magnitude(v) - s->k[4], s->k[4]) : dome(magnitude(v) - s->k[1] - thread, s->k[1]);
    const float slot = inside_of(head) * inside_of(magnitude(v) - 1.5f);
    const Texel body = {0.66f + 0.08f * fine + 0.05f * thread - 0.3f * slot, 0.5f, 0.8f * round};
    return over(ground(key, u, v, d, s->k[5]), body, d);
}
SURFACE_ROWS(surface_screw)

/* A nut: apothem, radius of the hole, of the bevel, roundness (0: hexagon, 1: washer), brushing, texture of the ground.
 */
INLINE Texel surface_nut_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float r = length_of(u, v), hole = s->k[1] * s->k[0] - r;
    const float outer = mix(hexagon_distance(u, v, s->k[0]), r - s->k[0], s->k[3]);
    const float d = most(outer, hole), bevel = most(r - s->k[2] * s->k[0], 0);
    const float thread = unit_clamp(5 + hole) * ridge_wave(r * 0.6f), brush = perlin(key, u * 0.03f, v * 0.5f);
    const Texel body = {0.66f + s->k[4] * brush - 0.15f * thread, 0.5f, dome(d, 3) - 0.35f * bevel + 0.8f * thread};
    const float deep = step_soft(0, 6, hole);
    Texel under = ground(key, u, v, d, s->k[5]);
    under.tone *= 1 - 0.5f * deep;
    return over(under, body, d);
}
SURFACE_ROWS(surface_nut)

/* A cast disc: radius, radii of hub, of bore and of groove, number of holes, their size, roughness, texture of the
 * ground. */
INLINE Texel surface_casting_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    enum { HOLES = 8 };
    const float r = length_of(u, v), d = r - s->k[0], bore = s->k[2] * s->k[0] - r;
    float holes = 99;
    UNROLLED
    for (int i = 0; i < HOLES; i++) {
        const float turn = (float)i / (float)whole(s->k[4]), far = 0.5f * (1 + s->k[1]) * s->k[0];
        const float there = turn < 0.99f ? 0.0f : 99.0f;
        holes = least(holes, length_of(u - far * cowave(turn), v - far * wave(turn)) - s->k[5] * s->k[0] + there);
    }
    const float hub = step_soft(2, -2, r - s->k[1] * s->k[0]),
                groove = step_soft(3, 0, magnitude(r - s->k[3] * s->k[0]));
    const float rough = fbm(key, u * 0.1f, v * 0.1f, 3, 0.7f), turned = jitter(key + 3, r * 0.5f);
    const float open = inside_of(bore) * inside_of(-holes);
    const Texel body = {0.6f + 0.12f * hub + s->k[6] * mix(rough, turned, hub), 0.5f,
                        dome(d, 4) + 3 * hub - 2 * groove + 2 * s->k[6] * rough - 3 * (1 - open)};
    const Texel under = ground(key, u, v, d, s->k[7]);
    Texel t = over(under, body, d);
    t.tone *= 0.25f + 0.75f * open;
    return t;
}
SURFACE_ROWS(surface_casting)

/* A bottle's mouth or a cap seen from above: radius, number and depth of rings, their sharpness, ribs of the edge,
 * transparency, texture of the ground. */
INLINE Texel surface_cap_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float r = length_of(u, v) + 1e-3f, c = u / r, e = v / r;
    const float c2 = c * c - e * e, e2 = 2 * c * e, c4 = c2 * c2 - e2 * e2, c8 = 2 * c4 * c4 - 1, c16 = 2 * c8 * c8 - 1;
    const float d = r - s->k[0] * (1 + 0.02f * s->k[4] * c16);
    const float ring = saturate(s->k[3] * wave(s->k[1] * r / s->k[0])),
                lobe = perlin(key, 2 * c + 5, 2 * e + r * 0.03f);
    const float fine = perlin(key + 1, u * 0.25f, v * 0.25f);
    const Texel under = ground(key, u, v, d, s->k[6]);
    const Texel body = {0.6f + 0.25f * s->k[2] * ring + 0.14f * lobe + 0.02f * fine, 0.5f + 0.2f * ring,
                        dome(d, 6) + 2 * s->k[2] * ring};
    const Texel seen = {mix(body.tone, under.tone + 0.3f * ring, s->k[5]), body.tint, body.relief};
    return over(under, seen, d);
}
SURFACE_ROWS(surface_cap)

/* Small parts on a belt: spacing, length and radius in spacings, order (1: all aligned), share of empty places, spread
 * of colours. */
INLINE Texel surface_scatter_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[0];
    const int32_t ix = whole(x), iy = whole(y);
    const uint32_t h = lattice_bits(key, ix, iy);
    const float turn = (1 - s->k[3]) * other_unit(h), c = cowave(turn), e = wave(turn), free = 0.5f - s->k[1] - s->k[2];
    const float px = x - (float)ix - 0.5f + 1.6f * free * (low_unit(h) - 0.5f),
                py = y - (float)iy - 0.5f + 1.6f * free * (high_unit(h) - 0.5f);
    const float a = c * px + e * py, b = c * py - e * px;
    const float there = low_unit(lattice_bits(key + 1, ix, iy)) < s->k[4] ? 9.0f : 0.0f;
    const float d = s->k[0] * (length_of(most(magnitude(a) - s->k[1], 0), b) - s->k[2] + there);
    const float fine = perlin(key + 2, u * 0.3f, v * 0.3f);
    const Texel body = {0.65f + s->k[5] * (low_unit(h) - 0.5f) + 0.04f * fine, mix(0.8f, high_unit(h), s->k[5]),
                        dome(d, s->k[2] * s->k[0])};
    return over(ground(key, u, v, d, 0.05f), body, d);
}
SURFACE_ROWS(surface_scatter)

/* A gear: radius, depth of the teeth, sharpness, radius of the bore, of the recess, texture of the ground. Sixteen
 * teeth, or eight. */
INLINE Texel surface_gear_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float r = length_of(u, v) + 1e-3f, c = u / r, e = v / r;
    const float c2 = c * c - e * e, e2 = 2 * c * e, c4 = c2 * c2 - e2 * e2, c8 = 2 * c4 * c4 - 1, c16 = 2 * c8 * c8 - 1;
    const float tooth = saturate(s->k[2] * (s->k[6] < 0.5f ? c8 : c16));
    const float outer = r - s->k[0] * (1 + s->k[1] * tooth), bore = s->k[3] * s->k[0] - r, d = most(outer, bore);
    const float recess = step_soft(-2, 2, s->k[4] * s->k[0] - r), turned = jitter(key, r * 0.7f),
                rough = perlin(key + 2, u * 0.2f, v * 0.2f);
    const Texel body = {0.66f + 0.05f * turned + 0.04f * rough - 0.12f * recess, 0.5f, dome(d, 2.5f) - 2.5f * recess};
    return over(ground(key, u, v, d, s->k[5]), body, d);
}
SURFACE_ROWS(surface_gear)

/* A kernel, fruit or stone: radius, length over width, lumps, size and strength of its texture, streaks along it,
 * texture of the ground. */
INLINE Texel surface_kernel_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[1], r = length_of(x, v) + 1e-3f, c = x / r, e = v / r;
    const float lump = perlin(key, 1.3f * c + 3, 1.3f * e + 3) + 0.4f * perlin(key + 1, 3 * c + 9, 3 * e + 9);
    const float d = r - s->k[0] * (1 + s->k[2] * lump);
    const float rough = fbm(key + 2, u / s->k[3], v / s->k[3], 4, 0.6f), streak = perlin(key + 7, 6 * e, u * 0.015f);
    const Texel body = {0.62f + s->k[4] * rough + s->k[5] * streak, 0.6f + 0.5f * rough,
                        dome(d, 0.9f * s->k[0]) + 6 * s->k[4] * rough};
    return over(ground(key, u, v, d, s->k[6]), body, d);
}
SURFACE_ROWS(surface_kernel)

/* A cable cut across: radius, thickness of its skin, radius of a core, of its copper, size of a strand, texture of the
 * ground. Three cores of different colours. */
INLINE Texel surface_cable_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float r = length_of(u, v), d = r - s->k[0], inner = d + s->k[1], fine = perlin(key + 3, u * 0.3f, v * 0.3f);
    Texel t = {0.5f + 0.05f * fine, 0.5f, dome(d, 3)};
    t = over(t, (Texel){0.35f + 0.08f * fine, 0.5f, -2}, inner);
    const Voronoi strand = voronoi(key + 4, u / s->k[4], v / s->k[4], 0.6f);
    const float round = most(1 - 1.4f * strand.nearest, 0);
    UNROLLED
    for (int i = 0; i < 3; i++) {
        const float turn = (float)i / 3 + 0.02f * low_unit(lattice_bits(key, i, 0)), far = 0.5f * (s->k[0] - s->k[1]);
        const float core = length_of(u - far * cowave(turn), v - far * wave(turn)) - s->k[2] * s->k[0];
        const float copper = core + (1 - s->k[3]) * s->k[2] * s->k[0];
        t = over(t, (Texel){0.7f - 0.15f * (float)i, 0.15f + 0.35f * (float)i, dome(core, 2)}, core);
        t = over(t, (Texel){0.55f + 0.45f * round, 0.9f, 0.6f * s->k[4] * round}, copper);
    }
    return over(ground(key, u, v, d, s->k[5]), t, d);
}
SURFACE_ROWS(surface_cable)

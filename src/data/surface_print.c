/* Families with a drawn pattern: labyrinths, prints, boards, machining marks. */
#include "data/surface_math.h"

/* A reaction-diffusion pattern as its linear instability makes it: plane waves of one length in random directions,
 * saturated. Wavelength, anisotropy (1: all directions), bias towards spots, sharpness, wavelength's spread. */
INLINE Texel surface_labyrinth_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    enum { WAVES = 11 };
    float sum = 0;
    const float wu = u + 3 * perlin(key + 77, u * 0.03f, v * 0.03f),
                wv = v + 3 * perlin(key + 78, u * 0.03f, v * 0.03f);
    UNROLLED
    for (int i = 0; i < WAVES; i++) {
        const uint32_t h = lattice_bits(key, i, 0);
        const float turn = 0.5f * s->k[1] * ((float)i + low_unit(h)) / WAVES;
        const float rate = (1 + s->k[4] * (high_unit(h) - 0.5f)) / s->k[0];
        sum += wave((cowave(turn) * wu + wave(turn) * wv) * rate + other_unit(h));
    }
    const float two = saturate(s->k[3] * (0.43f * sum + s->k[2])), fine = perlin(key + 79, u * 0.35f, v * 0.35f);
    return (Texel){0.5f + 0.35f * two + 0.04f * fine, 0.5f + 0.3f * two, 0.12f * s->k[0] * two};
}
SURFACE_ROWS(surface_labyrinth)

/* Flowers, stars and dots on a lattice: spacing, size, strength of 3, 4, 5 and 6 petals, share of empty places, slip of
 * the second colour. */
INLINE Texel surface_motifs_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float y = v / s->k[0];
    const int32_t row = whole(y);
    const float x = u / s->k[0] + 0.5f * (float)(row & 1);
    const int32_t column = whole(x);
    const uint32_t h = lattice_bits(key, column, row);
    const float dx = x - (float)column - 0.5f, dy = y - (float)row - 0.5f, r = length_of(dx, dy) + 1e-6f;
    const float c = dx / r, d = dy / r, c2 = c * c - d * d, d2 = 2 * c * d; /* the angle's cosine, doubled, ... */
    const float c3 = c2 * c - d2 * d, c4 = c2 * c2 - d2 * d2, d3 = d2 * c + c2 * d, c5 = c3 * c2 - d3 * d2,
                c6 = c3 * c3 - d3 * d3;
    const float edge = s->k[1] * (1 + s->k[2] * c3 + s->k[3] * c4 + s->k[4] * c5 + s->k[5] * c6);
    const float there = low_unit(h) < s->k[6] ? 0.0f : 1.0f, fine = perlin(key + 1, u * 0.4f, v * 0.4f);
    const float outer = inside_of((r - edge) * s->k[0]) * there;
    const float inner = inside_of((length_of(dx - s->k[7], dy) - 0.45f * s->k[1]) * s->k[0]) * there;
    const float tone = mix(mix(0.85f, 0.3f, outer), 0.6f, inner) + 0.04f * fine;
    return (Texel){tone, mix(mix(0.5f, 0.15f, outer), 0.9f, inner), 0.3f * fine};
}
SURFACE_ROWS(surface_motifs)

/* Lines of marks like print: height of a line, width of a mark in heights, share of strokes, gap between lines, weight.
 */
INLINE Texel surface_text_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float y = v / s->k[0];
    const int32_t row = whole(y);
    const float wide = s->k[0] * s->k[1], x = u / wide + high_unit(lattice_bits(key + 4, row, 1));
    const int32_t column = whole(x);
    const uint32_t h = lattice_bits(key, column, row);
    const float a = (x - (float)column) * 2,
                b = (y - (float)row - s->k[3]) / (1 - s->k[3]) * 3; /* 2 x 3 nodes a mark */
    const float unit_x = 0.5f * wide, unit_y = s->k[0] * (1 - s->k[3]) / 3;
    float ink = 0;
    UNROLLED
    for (int i = 0; i < 7; i++) { /* the seven segments */
        const float lit = (float)(h >> (uint32_t)(3 * i) & 7u) < 8 * s->k[2] ? 1.0f : 0.0f;
        const float cx = i < 3   ? 0.9f
                         : i & 1 ? 0.45f
                                 : 1.35f,
                    cy = i < 3   ? 0.4f + 1.1f * (float)i
                         : i < 5 ? 0.95f
                                 : 2.05f;
        const float half_x = i < 3 ? 0.45f : 0, half_y = i < 3 ? 0 : 0.55f;
        const float d = box_distance((a - cx) * unit_x, (b - cy) * unit_y, half_x * unit_x, half_y * unit_y);
        ink = most(ink, lit * inside_of(d - s->k[4]));
    }
    const float word = low_unit(lattice_bits(key + 3, column, row)) < 0.8f ? 1.0f : 0.0f;
    ink *= b > 0 ? word : 0;
    const float fine = perlin(key + 1, u * 0.4f, v * 0.4f), broad = fbm(key + 2, u * 0.02f, v * 0.02f, 2, 0.5f);
    return (Texel){mix(0.85f + 0.05f * broad, 0.15f, ink) + 0.03f * fine, mix(0.5f, 0.3f, ink), 0.4f * fine};
}
SURFACE_ROWS(surface_text)

/* Halftone: spacing of dots, angle of the second screen, size of the printed shapes, contrast. */
INLINE Texel surface_halftone_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float n = fbm(key, u / s->k[2], v / s->k[2], 2, 0.5f), m = fbm(key + 4, u / s->k[2], v / s->k[2], 2, 0.5f);
    const float c = cowave(s->k[1]), d = wave(s->k[1]), x = (c * u + d * v) / s->k[0], y = (c * v - d * u) / s->k[0];
    const float one = unit_clamp(0.5f + 1.4f * (0.5f * (cowave(u / s->k[0]) + cowave(v / s->k[0])) + 1.1f * n));
    const float two = unit_clamp(0.5f + 1.4f * (0.5f * (cowave(x) + cowave(y)) + 1.1f * m));
    const float fine = perlin(key + 1, u * 0.4f, v * 0.4f);
    return (Texel){0.9f - s->k[3] * (0.5f * one + 0.4f * two) + 0.03f * fine, 0.5f + 0.45f * (one - two), 0.2f * fine};
}
SURFACE_ROWS(surface_halftone)

/* Distance to the wires of a lattice whose edges are there by chance; *node: distance to a node with a pad. */
INLINE float wires(uint32_t key, float u, float v, float size, float share, float *node) {
    const float x = u / size, y = v / size;
    const int32_t ix = whole(x), iy = whole(y);
    const float a = x - (float)ix - 0.5f, b = y - (float)iy - 0.5f;
    const float right = high_unit(lattice_bits(key, ix, iy)), left = high_unit(lattice_bits(key, ix - 1, iy));
    const float down = low_unit(lattice_bits(key, ix, iy)), up = low_unit(lattice_bits(key, ix, iy - 1));
    const float slant = other_unit(lattice_bits(key + 1, ix, iy));
    float d = 9;
    d = least(d, right < share ? length_of(least(a, 0), b) : 9);
    d = least(d, left < share ? length_of(most(a, 0), b) : 9);
    d = least(d, down < share ? length_of(a, least(b, 0)) : 9);
    d = least(d, up < share ? length_of(a, most(b, 0)) : 9);
    *node = slant < 0.35f ? size * length_of(a, b) : 99;
    return size * d;
}

/* A printed board: spacing of traces, their width, share of edges, radius of pads, size of parts, share of parts,
 * strength of weave. */
INLINE Texel surface_board_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    float pad, via;
    const float trace = wires(key, u, v, s->k[0], s->k[2], &pad) - s->k[1];
    const float lower = wires(key + 9, u + 0.37f * s->k[0], v, 1.7f * s->k[0], 0.5f, &via) - 1.6f * s->k[1];
    const float x = u / s->k[4], y = v / s->k[4];
    const uint32_t h = lattice_bits(key + 5, whole(x), whole(y));
    const float part = box_distance((fraction(x) - 0.5f) * s->k[4], (fraction(y) - 0.5f) * s->k[4],
                                    s->k[4] * (0.15f + 0.2f * low_unit(h)), s->k[4] * (0.12f + 0.16f * high_unit(h)));
    const float there = other_unit(h) < s->k[5] ? 1.0f : 0.0f, body = inside_of(part) * there;
    const float legs =
        inside_of(part - 3) * there * (1 - body) * (cowave(u * 0.2f) + cowave(v * 0.2f) > 0.4f ? 1.0f : 0.0f);
    const float glass = s->k[6] * (wave(u * 0.19f) * wave(v * 0.19f)), fine = perlin(key + 7, u * 0.3f, v * 0.3f);
    const float copper = inside_of(trace), ring = inside_of(pad - s->k[3]), hole = inside_of(pad - 0.45f * s->k[3]);
    float tone = 0.30f + glass + 0.02f * fine + 0.10f * inside_of(lower);
    tone = mix(tone, 0.50f, copper);
    tone = mix(tone, 0.90f, most(ring, legs));
    tone = mix(tone, 0.03f, hole * ring);
    tone = mix(tone, 0.10f + 0.02f * fine, body);
    const float tint = mix(mix(mix(0.5f, 0.45f, copper), 0.95f, most(ring, legs)), 0.5f, most(body, hole * ring));
    return (Texel){tone, tint, copper + ring + 2 * legs + 3 * body - 2 * hole * ring};
}
SURFACE_ROWS(surface_board)

/* Turned on a lathe: distance of the centre, spacing of grooves, their strength, chatter, strength of the bow tie that
 * such grooves reflect, scratches across. */
INLINE Texel surface_turned_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u + s->k[0], y = v, r = length_of(x, y) + 1e-3f;
    const float c = x / r, d = y / r;
    const float groove = jitter(key, r / s->k[1]) + 0.6f * jitter(key + 1, r / (0.37f * s->k[1]));
    const float broad = jitter(key + 2, r * 0.06f), bow = c * c - d * d;
    const float shake = s->k[3] * wave(r / s->k[1] + 3 * c * d) * perlin(key + 3, x * 0.03f, y * 0.03f);
    const float fine = perlin(key + 4, x * 0.4f, y * 0.4f);
    const float tone = 0.5f + s->k[2] * groove + shake + 0.1f * broad + s->k[4] * bow * bow * bow + s->k[5] * fine;
    return (Texel){tone, 0.5f, 0.6f * groove};
}
SURFACE_ROWS(surface_turned)

/* Face-milled: radius of the cutter, feed, depth of the arcs, strength of the arcs going back, grain. */
INLINE Texel surface_milled_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float lane = 1.5f * s->k[0], row = (float)whole(v / lane), y = (v / lane - row - 0.5f) * lane;
    const float arc = sqrtf(s->k[0] * s->k[0] - y * y);
    const float there = (u - arc) / s->k[1], back = (u + arc) / s->k[1] + 0.3f;
    const float each = low_unit(lattice_bits(key, whole(there), (int32_t)row)) - 0.5f;
    const float cut = fraction(there), other = fraction(back), fine = perlin(key + 2, u * 0.35f, v * 0.35f);
    const float height = cut * (1 - step_soft(0.8f, 1, cut)) + s->k[3] * other * (1 - step_soft(0.8f, 1, other));
    return (Texel){0.4f + s->k[2] * (height + 0.5f * each) + s->k[4] * fine, 0.5f, 0.3f * s->k[1] * height};
}
SURFACE_ROWS(surface_milled)

/* Stripes of several widths and colours: period, sharpness, share of fine ones, waviness, ground's grain. */
INLINE Texel surface_stripes_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float y = (v + s->k[3] * perlin(key, u * 0.02f, v * 0.02f)) / s->k[0];
    const int32_t i = whole(6 * fraction(y)); /* six bands a period, neighbours may be alike */
    const float f = fraction(6 * fraction(y)), soft = step_soft(0, s->k[1], f);
    const uint32_t h = lattice_bits(key + 1, i, 0), before = lattice_bits(key + 1, (i + 5) % 6, 0);
    const float line = s->k[2] * (0.5f + 0.5f * wave(24 * y)) * (other_unit(h) > 0.5f ? 1.0f : 0.0f);
    const float fine = perlin(key + 2, u * 0.45f, v * 0.2f);
    return (Texel){mix(low_unit(before), low_unit(h), soft) * (1 - line) + s->k[4] * fine,
                   mix(high_unit(before), high_unit(h), soft), 0.5f * fine};
}
SURFACE_ROWS(surface_stripes)

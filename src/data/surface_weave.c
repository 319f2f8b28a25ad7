/* Periodic families: woven, knitted and ribbed cloth, meshes, tiles. */
#include "data/surface_math.h"

/* One thread of a weave: its profile across (t in -1 to 1) and how high it lies along the other thread. */
INLINE float thread_height(float across, float along) {
    return sqrtf(most(1 - across * across, 0)) * (0.6f + 0.4f * cowave(0.25f * along));
}

/* Spacing of the warp, its ratio to the weft's, threads a float spans (1 plain, 2 and 3 twills), unevenness, strength
 * of fibres, colour difference of warp and weft, spread of threads' colours. */
INLINE Texel surface_weave_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0] + s->k[3] * perlin(key, u * 0.03f, v * 0.03f);
    const float y = v / (s->k[0] * s->k[1]) + s->k[3] * perlin(key + 1, u * 0.03f, v * 0.03f);
    const int32_t column = whole(x), row = whole(y), period = whole(s->k[2]) + 1;
    const float a = 2 * (x - (float)column) - 1, b = 2 * (y - (float)row) - 1;
    const float turn = (float)(column + row) / (float)period;
    const int warp = turn - (float)whole(turn) > 0.01f ? 1 : 0;
    const float across = warp ? a : b, along = warp ? b : a;
    const uint32_t id = lattice_bits(key + 2, warp ? column : row, warp);
    const float fibre = perlin(key + 3, u * (warp ? 0.6f : 0.15f), v * (warp ? 0.15f : 0.6f));
    const float height = thread_height(across, along);
    const float tone =
        0.2f + 0.5f * height + s->k[5] * ((float)warp - 0.5f) + s->k[6] * (low_unit(id) - 0.5f) + s->k[4] * fibre;
    return (Texel){tone, 0.5f + 0.6f * s->k[6] * (high_unit(id) - 0.5f) + 0.5f * s->k[5] * ((float)warp - 0.5f),
                   0.3f * s->k[0] * height + 0.6f * fibre};
}
SURFACE_ROWS(surface_weave)

/* Width and height of a stitch, unevenness, strength of fibres, colour of rows. */
INLINE Texel surface_knit_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0] + s->k[2] * perlin(key, u * 0.03f, v * 0.03f);
    const float half = fraction(x) - 0.5f, lean = magnitude(half);
    const float y = v / (s->k[0] * s->k[1]) + 1.1f * lean + s->k[2] * perlin(key + 1, u * 0.03f, v * 0.03f);
    const float across = 2 * fraction(y) - 1, along = 4 * lean - 1; /* a leg of the V runs from middle to edge */
    const float height = sqrtf(most(1 - across * across, 0)) * (1 - 0.6f * along * along);
    const uint32_t id = lattice_bits(key + 2, whole(y), 0);
    const float fibre = perlin(key + 3, u * 0.4f, v * 0.4f);
    const float band = low_unit(id) - 0.5f;
    return (Texel){0.15f + 0.6f * height + s->k[3] * fibre + s->k[4] * band, 0.5f + s->k[4] * band,
                   0.3f * s->k[0] * height + 0.5f * fibre};
}
SURFACE_ROWS(surface_knit)

/* Spacing of the ribs, roundness, waviness, unevenness from rib to rib, strength of grain. */
INLINE Texel surface_ribs_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float y = v / s->k[0] + s->k[2] * perlin(key, u * 0.012f, v * 0.02f);
    const float phase = ridge_wave(y), rib = step_soft(0.5f - s->k[1], 0.5f + s->k[1], phase);
    const float each = low_unit(lattice_bits(key + 1, whole(y), 0)) - 0.5f;
    const float fine = perlin(key + 2, u * 0.4f, v * 0.5f), slub = perlin(key + 3, u * 0.05f, v / s->k[0]);
    return (Texel){0.25f + 0.5f * rib + s->k[3] * (each + 0.5f * slub) + s->k[4] * fine, 0.5f + 0.5f * s->k[3] * each,
                   0.25f * s->k[0] * rib + 0.5f * fine};
}
SURFACE_ROWS(surface_ribs)

/* Wires over a dark ground: spacing, ratio of the two, width of a wire, slant, unevenness, 0 straight to 1 interlaced.
 */
INLINE Texel surface_mesh_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float wobble = s->k[4] * perlin(key, u * 0.02f, v * 0.02f);
    const float x = (u + s->k[3] * v) / s->k[0] + wobble, y = (v - s->k[3] * u) / (s->k[0] * s->k[1]) + wobble;
    const int32_t column = whole(x), row = whole(y);
    const float a = (x - (float)column - 0.5f) * s->k[0], b = (y - (float)row - 0.5f) * s->k[0] * s->k[1];
    const float half = 0.5f * s->k[2] * s->k[0];
    const float over = (float)((column + row) & 1) * 2 - 1;
    const float first = dome(magnitude(a) - half, half), second = dome(magnitude(b) - half, half);
    const float lift = s->k[5] * over * half * 0.8f;
    const float height = most(first > 0 ? first + lift : 0, second > 0 ? second - lift : 0);
    const float wire = most(inside_of(magnitude(a) - half), inside_of(magnitude(b) - half));
    const float ground = 0.16f + 0.10f * fbm(key + 2, u * 0.06f, v * 0.06f, 3, 0.6f);
    const float fine = perlin(key + 7, u * 0.5f, v * 0.5f);
    return (Texel){mix(ground, 0.62f + 0.2f * (height / half - 0.5f) + 0.06f * fine, wire), mix(0.5f, 0.6f, wire),
                   0.8f * height};
}
SURFACE_ROWS(surface_mesh)

/* Bricks: length of a tile, its height in lengths, shift from row to row, width of the joint, spread of colours,
 * roughness, roundness of edges. */
INLINE Texel surface_tiles_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float high = s->k[0] * s->k[1], y = v / high;
    const int32_t row = whole(y);
    const float x = u / s->k[0] + s->k[2] * (float)row;
    const int32_t column = whole(x);
    const float a = (fraction(x) - 0.5f) * s->k[0], b = (y - (float)row - 0.5f) * high;
    const float rough = fbm(key, u * 0.07f, v * 0.07f, 4, 0.65f);
    const float d = box_distance(a, b, 0.5f * (s->k[0] - s->k[3]), 0.5f * (high - s->k[3])) + 0.5f * rough;
    const uint32_t id = lattice_bits(key + 2, column, row);
    const float tile = inside_of(d), each = low_unit(id) - 0.5f;
    return (Texel){mix(0.15f + 0.1f * rough, 0.66f + s->k[4] * each + s->k[5] * rough, tile),
                   mix(0.3f, 0.5f + s->k[4] * (high_unit(id) - 0.5f), tile),
                   1.5f * tile + dome(d, s->k[6]) + 1.5f * s->k[5] * rough};
}
SURFACE_ROWS(surface_tiles)

/* Tufts: size, depth of the gaps, unevenness of colour, share of tufts of another colour. */
INLINE Texel surface_carpet_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float x = u / s->k[0], y = v / s->k[0];
    const Voronoi tuft = voronoi(key, x, y, 0.9f);
    const float curl = perlin(key + 2, u * 0.55f, v * 0.55f), broad = perlin(key + 3, u * 0.03f, v * 0.03f);
    const float height = most(1 - 1.3f * tuft.nearest, 0), other = high_unit(tuft.id) < s->k[3] ? 1.0f : 0.0f;
    return (Texel){0.28f + s->k[1] * height + 0.16f * curl + s->k[2] * (low_unit(tuft.id) - 0.5f) + 0.06f * broad,
                   0.4f + 0.6f * other, 0.6f * s->k[0] * height + curl};
}
SURFACE_ROWS(surface_carpet)

/* Holes in a plate: spacing, radius in spacings, 0 square to 1 staggered rows, depth of the rim, streaks. */
INLINE Texel surface_perforated_at(const SurfaceKnobs *s, uint32_t key, float u, float v) {
    const float y = v / s->k[0];
    const int32_t row = whole(y);
    const float x = u / s->k[0] + 0.5f * (s->k[2] > 0.5f ? 1.0f : 0.0f) * (float)(row & 1);
    const float d = s->k[0] * (length_of(fraction(x) - 0.5f, y - (float)row - 0.5f) - s->k[1]);
    const float hole = inside_of(d);
    const float streak = perlin(key, u * 0.02f, v * 0.6f), fine = perlin(key + 1, u * 0.3f, v * 0.3f);
    const float plate = 0.7f + s->k[4] * streak + 0.05f * fine;
    return (Texel){mix(plate, 0.08f + 0.05f * fine, hole), 0.5f, s->k[3] * (inside_of(d * 0.5f - 1) - hole) - 2 * hole};
}
SURFACE_ROWS(surface_perforated)

/* Defects on samples: each draws where it is and says what it does there. */
#include "data/surfaces.h"
#include "data/synth.h"

#include <math.h>

static const float pi = 3.14159265f;

/* The part of the picture that a defect's shape covers is drawn between these, by its logarithm. */
static const float area_least = 0.0005f, area_most = 0.1f;

/* What the draw functions work on. No two numbers are drawn in one expression: C leaves open which comes first. */
typedef struct Draft {
    float *cover;
    size_t width, height;
    float x, y;     /* the defect's middle */
    float area;     /* pixels */
    float strength; /* 0 to 1 */
    bool object;
    float bump;
} Draft;

static const Flaw nothing = {.multiply = {1, 1, 1}};

static float either(Random *r) {
    return random_below(r, 2) ? 1.0f : -1.0f;
}

/* ---- covers ----------------------------------------------------------------------------------------------- */

typedef struct Blob {
    float x, y, radius, stretch, angle; /* stretch: length over width */
    float roughness, edge;              /* of the outline; width of its ramp */
    bool dome, box;                     /* cover falls towards the rim; rectangle instead of ellipse */
} Blob;

static void cover_blob(const Draft *d, Blob b, Random *r) {
    const float longer = b.radius * sqrtf(b.stretch), reach = 2 * longer + b.edge + 2, c = cosf(b.angle),
                s = sinf(b.angle);
    const uint32_t key = random_u32(r);
    const size_t bottom = pixel_before(b.y + reach, d->height), right = pixel_before(b.x + reach, d->width);
    for (size_t y = pixel_before(b.y - reach, d->height); y < bottom; y++)
        for (size_t x = pixel_before(b.x - reach, d->width); x < right; x++) {
            const float px = (float)x + 0.5f - b.x, py = (float)y + 0.5f - b.y;
            const float along = (c * px + s * py) / sqrtf(b.stretch), across = (c * py - s * px) * sqrtf(b.stretch);
            const float depth = b.box ? 0.886f * b.radius - fmaxf(fabsf(along), fabsf(across))
                                      : blob_depth(key, b.radius, b.roughness, along, across);
            float cover = smooth_step(-0.5f * b.edge, 0.5f * b.edge, depth);
            if (b.dome) {
                const float t = clamp01(depth / b.radius);
                cover *= t * (2 - t);
            }
            float *p = d->cover + y * d->width + x;
            *p = fmaxf(*p, cover);
        }
}

static void cover_line(const Draft *d, Point a, Point b, float strength) {
    cover_stroke(d->cover, d->width, d->height, a, b, strength);
}

/* A random walk that keeps its rough direction, thins out and branches. */
static void cover_walk(const Draft *d, Point at, float heading, float length, int branches, Random *r) {
    const float step = 3, main_heading = heading, half_width = at.half_width;
    const int steps = 1 + (int)(length / step);
    for (int i = 0; i < steps; i++) {
        heading += 0.45f * random_normal(r) + 0.2f * (main_heading - heading);
        const float left = 1 - (float)i / (float)steps;
        const Point next = {at.x + step * cosf(heading), at.y + step * sinf(heading),
                            fmaxf(half_width * (0.4f + 0.6f * left), 0.4f)};
        cover_line(d, at, next, 1);
        at = next;
        if (branches > 0 && random_below(r, (uint32_t)steps) < 2) {
            const float side = either(r), turn = random_between(r, 0.5f, 1.1f);
            cover_walk(d, at, heading + side * turn, 0.5f * length * left, branches - 1, r);
        }
    }
}

static Blob blob_at(const Draft *d, float area, Random *r) {
    Blob b = {.x = d->x, .y = d->y, .radius = sqrtf(area / pi), .edge = 1};
    b.stretch = random_between(r, 1, 2.5f);
    b.angle = random_between(r, 0, pi);
    b.roughness = random_between(r, 0.1f, 0.6f);
    return b;
}

/* ---- families --------------------------------------------------------------------------------------------- */

/* One long groove with a wobble, or a few near each other. */
static Flaw draw_scratch(const Draft *d, Random *r) {
    enum { SEGMENTS = 20 };
    const float diagonal = hypotf((float)d->width, (float)d->height), angle = random_between(r, 0, 2 * pi);
    const float half_width = random_between(r, 0.5f, 1.3f) * fmaxf(1, sqrtf(diagonal / 400));
    const uint32_t lines = 1 + random_below(r, 3);
    const float length = fminf(d->area / (2 * half_width * (float)lines), 0.7f * diagonal);
    for (uint32_t n = 0; n < lines; n++) {
        const float bow = random_between(r, -0.1f, 0.1f), turn = angle + random_between(r, -0.08f, 0.08f);
        const float off = n ? random_between(r, -9, 9) : 0, wobble = random_between(r, 0, 0.8f);
        Point last = {0};
        for (int i = 0; i <= SEGMENTS; i++) {
            const float t = 2 * (float)i / SEGMENTS - 1, along = 0.5f * length * t;
            const float side = off + length * bow * (1 - t * t) + wobble * random_normal(r);
            const Point p = {d->x + cosf(turn) * along - sinf(turn) * side,
                             d->y + sinf(turn) * along + cosf(turn) * side,
                             fmaxf(half_width * (1 - t * t * t * t), 0.4f)};
            if (i) cover_line(d, last, p, 1);
            last = p;
        }
    }
    Flaw f = nothing;
    f.add = either(r) * (0.04f + 0.5f * d->strength);
    f.height = -2 * d->strength;
    f.flatten = 0.5f;
    return f;
}

static Flaw draw_crack(const Draft *d, Random *r) {
    const float diagonal = hypotf((float)d->width, (float)d->height), heading = random_between(r, 0, 2 * pi);
    const Point start = {d->x, d->y, random_between(r, 0.5f, 1.4f) * fmaxf(1, sqrtf(diagonal / 400))};
    const float length = fminf(0.14f * d->area / start.half_width, 0.45f * diagonal);
    cover_walk(d, start, heading, length, 2, r);
    cover_walk(d, start, heading + pi, length * random_between(r, 0.2f, 1), 1, r);
    Flaw f = nothing;
    for (int k = 0; k < 3; k++) f.multiply[k] = 1 - 0.1f - 0.75f * d->strength;
    f.height = -3 * d->strength;
    return f;
}

/* A cluster of small hollows. */
static Flaw draw_pit(const Draft *d, Random *r) {
    const uint32_t n = 1 + random_below(r, 4);
    for (uint32_t i = 0; i < n; i++) {
        Blob b = blob_at(d, d->area / (float)n * random_between(r, 0.6f, 1.4f), r);
        const float spread = i ? 3 * b.radius + 4 : 0;
        b.x += random_between(r, -spread, spread);
        b.y += random_between(r, -spread, spread);
        b.stretch = random_between(r, 1, 1.5f);
        b.dome = true;
        cover_blob(d, b, r);
    }
    Flaw f = nothing;
    for (int k = 0; k < 3; k++) f.multiply[k] = 1 - 0.75f * d->strength;
    f.height = -d->strength * fminf(sqrtf(d->area), 8) / d->bump;
    return f;
}

/* Nothing but the shading of a smooth hollow or bump. */
static Flaw draw_dent(const Draft *d, Random *r) {
    Blob b = blob_at(d, 1.5f * d->area, r);
    b.roughness = 0.1f;
    b.edge = 0.8f * b.radius;
    b.dome = true;
    cover_blob(d, b, r);
    Flaw f = nothing;
    f.height = either(r) * (0.1f + 0.9f * d->strength) * 0.5f * b.radius / d->bump;
    return f;
}

static Flaw draw_stain(const Draft *d, Random *r) {
    Blob b = blob_at(d, d->area, r);
    b.edge = random_between(r, 0.1f, 0.8f) * b.radius + 1;
    cover_blob(d, b, r);
    if (random_below(r, 2)) /* a ring, as a drop dries */
        for (size_t i = 0; i < d->width * d->height; i++) d->cover[i] *= 1 - 0.6f * d->cover[i];
    const float sign = random_below(r, 3) ? 1.0f : -1.0f;
    Flaw f = nothing;
    for (int k = 0; k < 3; k++) f.multiply[k] = 1 - sign * d->strength * random_between(r, 0.25f, 0.85f);
    return f;
}

/* Threads or grain displaced. */
static Flaw draw_fray(const Draft *d, Random *r) {
    Blob b = blob_at(d, d->area, r);
    b.stretch = random_between(r, 1, 6);
    b.edge = 2;
    cover_blob(d, b, r);
    Flaw f = nothing;
    f.fray = 2 + 10 * d->strength;
    f.key = random_u32(r);
    return f;
}

/* A part of the pattern is out of place. */
static Flaw draw_misprint(const Draft *d, Random *r) {
    Blob b = blob_at(d, d->area, r);
    b.box = random_below(r, 2);
    b.edge = 0.01f; /* what lies in between is not shifted half-way */
    cover_blob(d, b, r);
    const float angle = random_between(r, 0, 2 * pi), far = 2 + 14 * d->strength;
    Flaw f = nothing;
    f.shift_x = far * cosf(angle);
    f.shift_y = far * sinf(angle);
    return f;
}

/* A part of an object is broken off; a part of a surface is worn flat. */
static Flaw draw_missing(const Draft *d, Random *r) {
    Blob b = blob_at(d, d->area, r);
    b.box = random_below(r, 3) == 0;
    b.edge = d->object ? 0.01f : 1;
    cover_blob(d, b, r);
    Flaw f = nothing;
    if (d->object) {
        f.shift_x = 500;
        f.shift_y = random_between(r, -500, 500);
        return f;
    }
    f.replace = 0.25f + 0.75f * d->strength;
    f.flatten = f.replace;
    f.tone = random_between(r, 0.1f, 0.9f);
    f.tint = 0.5f;
    return f;
}

/* A crumb, a chip or a hair that does not belong there. */
static Flaw draw_foreign(const Draft *d, Random *r) {
    Flaw f = nothing;
    if (random_below(r, 3) == 0) {
        Point at = {d->x, d->y, random_between(r, 0.6f, 1.5f)};
        float heading = random_between(r, 0, 2 * pi);
        const float bend = random_between(r, -0.25f, 0.25f);
        const int steps = 1 + (int)fminf(d->area / (6 * at.half_width), 60);
        for (int i = 0; i < steps; i++) {
            heading += bend + 0.1f * random_normal(r);
            const Point next = {at.x + 3 * cosf(heading), at.y + 3 * sinf(heading), at.half_width};
            cover_line(d, at, next, 1);
            at = next;
        }
        f.height = 2;
    } else {
        Blob b = blob_at(d, d->area, r);
        b.box = random_below(r, 3) == 0;
        b.dome = random_below(r, 2);
        cover_blob(d, b, r);
        f.height = 0.3f * b.radius / d->bump;
    }
    f.replace = 0.3f + 0.7f * d->strength;
    f.flatten = f.replace;
    f.tone = random_float(r);
    f.tint = random_float(r);
    const float colour = 0.6f * d->strength;
    for (int k = 0; k < 3; k++) f.multiply[k] = 1 - colour * random_float(r);
    return f;
}

/* Rubbed: many short fine lines of about one direction. */
static Flaw draw_scuff(const Draft *d, Random *r) {
    const float angle = random_between(r, 0, pi), radius = sqrtf(d->area / pi) + 1;
    const int lines = 3 + (int)fminf(d->area / 60, 60);
    for (int i = 0; i < lines; i++) {
        const float turn = angle + 0.15f * random_normal(r), half = radius * random_between(r, 0.2f, 0.8f);
        const float x = d->x + radius * random_between(r, -0.8f, 0.8f),
                    y = d->y + radius * random_between(r, -0.8f, 0.8f);
        const Point a = {x - half * cosf(turn), y - half * sinf(turn), 0.4f},
                    b = {x + half * cosf(turn), y + half * sinf(turn), 0.6f};
        cover_line(d, a, b, random_between(r, 0.5f, 1));
    }
    Flaw f = nothing;
    f.add = either(r) * (0.04f + 0.35f * d->strength);
    f.flatten = 0.5f * d->strength;
    return f;
}

typedef struct FlawFamily {
    const char *name;
    Flaw (*draw)(const Draft *d, Random *r);
} FlawFamily;

static const FlawFamily families[FLAW_FAMILIES] = {
    {"crack", draw_crack},       {"dent", draw_dent},       {"foreign", draw_foreign}, {"fray", draw_fray},
    {"misprint", draw_misprint}, {"missing", draw_missing}, {"pit", draw_pit},         {"scratch", draw_scratch},
    {"scuff", draw_scuff},       {"stain", draw_stain},
};

const char *flaw_name(size_t flaw) {
    return flaw < FLAW_FAMILIES ? families[flaw].name : NULL;
}

/* ---- painting --------------------------------------------------------------------------------------------- */

static Flaw draw_flaw(SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, size_t family, float louder,
                      Random r) {
    const float middle = p->family->object ? 0.45f : 0.8f, pixels = (float)c->width * (float)c->height;
    for (size_t i = 0; i < c->width * c->height; i++) c->cover[i] = 0;
    Draft d = {.cover = c->cover, .width = c->width, .height = c->height, .object = p->family->object, .bump = s->bump};
    d.x = (0.5f + middle * random_between(&r, -0.5f, 0.5f)) * (float)c->width;
    d.y = (0.5f + middle * random_between(&r, -0.5f, 0.5f)) * (float)c->height;
    d.area = fmaxf(pixels * area_least * powf(area_most / area_least, random_float(&r)), 1);
    const float t = random_float(&r);
    d.strength = fminf(louder * (0.08f + 0.92f * t * sqrtf(t)), 1);
    const Flaw f = families[family].draw(&d, &r);
    /* Even one that is thinner than a pixel, or fell outside, has a middle. */
    c->cover[(size_t)d.y * c->width + (size_t)d.x] = 1;
    return f;
}

/* How many pixels differ between c->good and rgb, marked in mask; *covered: how many should. */
static size_t mark_differences(const SurfaceCanvas *c, const uint8_t *rgb, uint8_t *mask, size_t *covered) {
    size_t differ = 0;
    *covered = 0;
    for (size_t i = 0; i < c->width * c->height; i++) {
        int most = 0;
        for (size_t k = 0; k < 3; k++) {
            const int difference = rgb[3 * i + k] - c->good[3 * i + k],
                      size = difference < 0 ? -difference : difference;
            if (size > most) most = size;
        }
        mask[i] = most >= FLAW_DIFFERENCE ? 255 : 0;
        differ += mask[i] != 0;
        *covered += c->cover[i] > 0.5f;
    }
    return differ;
}

void surface_paint_flawed(SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, size_t flaw,
                          uint64_t sample, uint8_t *rgb, uint8_t *mask) {
    const Random r = random_new(mix64(p->seed + 1 + flaw), sample);
    size_t covered;
    surface_paint_sample(c, p, s, NULL, c->good);
    float louder = 1;
    for (int attempt = 0; attempt < 3; attempt++, louder *= 3) { /* until it shows on most of its area */
        const Flaw f = draw_flaw(c, p, s, flaw, louder, r);
        surface_paint_sample(c, p, s, &f, rgb);
        const size_t differ = mark_differences(c, rgb, mask, &covered);
        if (differ > covered / 2 || (attempt == 2 && differ > 0)) return;
    }
    /* A pattern shifted where there is none: a spot in its place. */
    Flaw f = nothing;
    const size_t middle = c->width * (c->height / 2) + c->width / 2;
    for (size_t i = 0; i < c->width * c->height; i++) c->cover[i] = i == middle;
    f.add = c->good[3 * middle + 1] < 128 ? 1.5f : -1.5f;
    surface_paint_sample(c, p, s, &f, rgb);
    mark_differences(c, rgb, mask, &covered);
}

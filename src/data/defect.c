#include "data/synth.h"

#include <math.h>
#include <string.h>

const char *const defect_names[DEFECT_TYPES] = {"crack", "pit", "scratch", "stain"};

/* How a defect changes a colour: body pixels become multiply * colour + add, lit edges gain `edge`. */
typedef struct Paint {
    float multiply[3], add, edge;
} Paint;

/* A line thinner than this could miss every pixel centre. */
static const float half_width_min = 0.75f;

static float length_in(const Canvas *c, float units, float least_pixels) {
    return fmaxf(units * c->unit, least_pixels);
}

/* A stroke with the edge that faces the light, which comes from the upper left. */
static void cover_groove(const Canvas *c, Point a, Point b, float strength) {
    cover_stroke(c->core, c->width, c->height, a, b, strength);
    float shift = 0.5f + 0.5f * a.half_width;
    a.x += shift, a.y += shift, b.x += shift, b.y += shift;
    cover_stroke(c->rim, c->width, c->height, a, b, 1);
}

static bool inside(const Canvas *c, Point p) {
    return p.x >= 0 && p.y >= 0 && p.x <= (float)(c->width - 1) && p.y <= (float)(c->height - 1);
}

/* A point away from the borders. */
static Point random_point(const Canvas *c, Random *r, float margin) {
    return (Point){.x = random_between(r, margin, 1 - margin) * (float)(c->width - 1),
                   .y = random_between(r, margin, 1 - margin) * (float)(c->height - 1)};
}

/* A random walk that keeps its rough direction, thins out and sometimes branches. */
static void cover_crack(const Canvas *c, Point at, float heading, float units, float half_width, int branches,
                        Random *r) {
    float step = length_in(c, 2.5f, 1), main_heading = heading;
    int steps = (int)(units * c->unit / step) + 2;
    at.half_width = fmaxf(half_width, half_width_min);
    for (int i = 0; i < steps && inside(c, at); i++) {
        heading += 0.40f * random_normal(r) + 0.22f * (main_heading - heading);
        float left = 1 - (float)i / (float)steps;
        Point next = {.x = at.x + step * cosf(heading),
                      .y = at.y + step * sinf(heading),
                      .half_width = fmaxf(half_width * left * random_between(r, 0.75f, 1.15f), 0.45f)};
        cover_groove(c, at, next, 1);
        at = next;
        if (branches > 0 && random_below(r, (uint32_t)steps) < 2) {
            float turn = random_between(r, 0.5f, 1.1f) * (random_below(r, 2) ? 1.0f : -1.0f);
            cover_crack(c, at, heading + turn, 0.6f * units * left, 0.8f * half_width * left, branches - 1, r);
        }
    }
}

static Paint paint_crack(const Canvas *c, Random *r) {
    Point start = random_point(c, r, 0.25f);
    float heading = random_between(r, 0, 6.2831853f), half_width = length_in(c, random_between(r, 0.7f, 1.5f), 0);
    cover_crack(c, start, heading, random_between(r, 35, 90), half_width, 1, r);
    cover_crack(c, start, heading + 3.14159265f + random_between(r, -0.5f, 0.5f), random_between(r, 20, 60), half_width,
                1, r);
    float dark = random_between(r, 0.22f, 0.42f);
    return (Paint){.multiply = {dark, dark, dark}, .edge = random_between(r, 0.04f, 0.10f)};
}

static Paint paint_scratch(const Canvas *c, Random *r) {
    enum { SEGMENTS = 24 };
    Point middle = random_point(c, r, 0.25f);
    float heading = random_between(r, 0, 6.2831853f), bow = random_between(r, -0.12f, 0.12f);
    for (uint32_t n = 1 + random_below(r, 3); n > 0; n--) { /* a dragged grain leaves several near-parallel lines */
        float half = length_in(c, random_between(r, 22, 70), 4),
              half_width = length_in(c, random_between(r, 0.7f, 1.3f), 0);
        float strength = random_between(r, 0.75f, 1);
        Point last = {0};
        for (int i = 0; i <= SEGMENTS; i++) {
            float t = 2 * (float)i / SEGMENTS - 1, along = half * t, side = half * bow * (1 - t * t);
            Point p = {.x = middle.x + cosf(heading) * along - sinf(heading) * side,
                       .y = middle.y + sinf(heading) * along + cosf(heading) * side,
                       .half_width =
                           fmaxf(half_width * (1 - t * t * t * t), i == SEGMENTS / 2 ? half_width_min : 0.4f)};
            if (i > 0) cover_groove(c, last, p, strength);
            last = p;
        }
        heading += random_between(r, -0.06f, 0.06f);
        middle.x += length_in(c, random_between(r, -7, 7), 0) * -sinf(heading);
        middle.y += length_in(c, random_between(r, -7, 7), 0) * cosf(heading);
    }
    if (random_below(r, 3) == 0) return (Paint){.multiply = {0.45f, 0.45f, 0.45f}, .edge = 0.10f};
    float add = random_between(r, 0.46f, 0.54f);
    return (Paint){.multiply = {0.48f, 0.48f, 0.48f}, .add = add, .edge = -0.12f};
}

static Paint paint_pit(const Canvas *c, Random *r) {
    Point cluster = random_point(c, r, 0.2f);
    for (uint32_t n = 1 + random_below(r, 4), i = 0; i < n; i++) {
        float radius = length_in(c, random_between(r, 2.2f, i ? 4.5f : 7.5f), 1.5f), reach = 2 * radius + 3;
        float spread = length_in(c, i ? 26 : 0, 0);
        float cx = cluster.x + spread * random_between(r, -1, 1), cy = cluster.y + spread * random_between(r, -1, 1);
        uint32_t seed = random_u32(r);
        size_t bottom = pixel_before(cy + reach, c->height), right = pixel_before(cx + reach, c->width);
        for (size_t y = pixel_before(cy - reach, c->height); y < bottom; y++)
            for (size_t x = pixel_before(cx - reach, c->width); x < right; x++) {
                float dx = (float)x - cx, dy = (float)y - cy, depth = blob_depth(seed, radius, 0.4f, dx, dy);
                float lit = (dx + dy) / (1.42f * radius); /* the far wall of the hollow faces the light */
                float core = clamp01(depth + 0.5f) * clamp01(0.85f - 0.25f * lit);
                float rim = clamp01(depth + 1.8f) * clamp01(1.3f * lit - 0.2f) * clamp01(0.5f - depth);
                float *p = c->core + y * c->width + x, *q = c->rim + y * c->width + x;
                if (core > *p) *p = core;
                if (rim > *q) *q = rim;
            }
    }
    float dark = random_between(r, 0.25f, 0.5f);
    return (Paint){.multiply = {dark, dark, dark}, .edge = random_between(r, 0.10f, 0.22f)};
}

static Paint paint_stain(const Canvas *c, Random *r) {
    Point centre = random_point(c, r, 0.2f);
    float radius = length_in(c, random_between(r, 12, 32), 3), edge = length_in(c, random_between(r, 1.5f, 4), 1);
    float stretch = random_between(r, 0.65f, 1), angle = random_between(r, 0, 3.14159265f);
    float ring = random_between(r, 0.1f, 0.5f), ca = cosf(angle), sa = sinf(angle);
    uint32_t seed = random_u32(r);
    for (size_t y = 0; y < c->height; y++)
        for (size_t x = 0; x < c->width; x++) {
            float dx = (float)x - centre.x, dy = (float)y - centre.y;
            float depth = blob_depth(seed, radius, 0.5f, ca * dx + sa * dy, (ca * dy - sa * dx) / stretch);
            float body = smooth_step(-edge, edge, depth);
            /* Liquid dries with a dark border and a patchy middle. */
            float border = 1 - smooth_step(edge, 4 * edge, depth);
            float patches = 0.12f * noise_fractal(seed + 9, dx / radius * 2.5f, dy / radius * 2.5f, 3);
            c->core[y * c->width + x] = body * clamp01(1 - ring * (1 - border) + patches);
        }
    float dark = random_between(r, 0.58f, 0.74f), warm = random_between(r, 0, 0.14f);
    return (Paint){.multiply = {dark + 0.06f, dark - 0.2f * warm, dark - warm}};
}

float defect_unit(size_t type, size_t pixels) {
    static const float typical[DEFECT_TYPES] = {90, 30, 90, 44}; /* units from end to end */
    return (float)pixels / typical[type];
}

void defect_paint(Canvas *canvas, size_t type, Random *r) {
    static Paint (*const painters[DEFECT_TYPES])(const Canvas *, Random *) = {paint_crack, paint_pit, paint_scratch,
                                                                              paint_stain};
    size_t pixels = canvas->width * canvas->height;
    memset(canvas->core, 0, pixels * sizeof *canvas->core);
    memset(canvas->rim, 0, pixels * sizeof *canvas->rim);
    Paint paint = painters[type](canvas, r);
    for (size_t i = 0; i < pixels; i++) {
        float core = canvas->core[i], rim = canvas->rim[i] * (1 - core);
        for (size_t k = 0; k < 3; k++) {
            float *v = &canvas->rgb[3 * i + k];
            *v = *v * (1 - core * (1 - paint.multiply[k])) + core * paint.add + rim * paint.edge;
        }
        canvas->mask[i] = core > 0.4f || rim > 0.5f ? 255 : 0;
    }
}

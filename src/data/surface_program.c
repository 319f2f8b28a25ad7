/* Draws programs and samples without the C library's functions, whose last bit differs between versions. */
#include "data/surface_math.h"
#include "data/synth.h"

/* e^x for |x| < 40. */
static float exponential(float x) {
    double sum = 1, term = 1;
    for (int i = 1; i < 14; i++) {
        term *= (double)x / 32 / i;
        sum += term;
    }
    for (int i = 0; i < 5; i++) sum *= sum;
    return (float)sum;
}

/* The natural logarithm of the ratio of a range's ends, by Newton's method. */
static float logarithm(float ratio) {
    float x = 1;
    for (int i = 0; i < 12; i++) x += ratio / exponential(x) - 1;
    return x;
}

/* Uniform; by the logarithm where the range spans a factor of 4 or more. */
static float draw_range(Random *r, const SurfaceRange *range) {
    const float t = random_float(r);
    if (range->low > 0 && range->high >= 4 * range->low)
        return range->low * exponential(t * logarithm(range->high / range->low));
    return range->low + t * (range->high - range->low);
}

static SurfaceKnobs draw_knobs(const SurfaceFamily *family, Random *r) {
    SurfaceKnobs knobs = {0};
    for (size_t i = 0; family->ranges[i].name; i++) knobs.k[i] = draw_range(r, &family->ranges[i]);
    return knobs;
}

static SurfaceColour colour_of(float hue, float saturation, float value) {
    SurfaceColour c;
    for (int i = 0; i < 3; i++) {
        const float t = 6 * (hue + (float)(5 - 2 * i) / 6), k = t - 6 * (float)whole(t / 6);
        c.rgb[i] = value - value * saturation * clamp01(least(k, 4 - k));
    }
    return c;
}

/* Four colours from dark to light (or back), of neighbouring hues. */
static void draw_palette(SurfaceProgram *p, Random *r) {
    static const float most_saturated[] = {0.75f, 0.14f, 0.6f, 0.25f};
    const SurfaceColours kind = p->family->colours;
    const bool grey = random_float(r) < 0.25f;
    const float hue = kind == COLOURS_EARTH && random_below(r, 4) ? random_between(r, 0.02f, 0.12f) : random_float(r);
    const float saturation = grey ? 0 : most_saturated[kind] * random_float(r);
    const float middle = kind == COLOURS_PALE ? random_between(r, 0.5f, 0.8f) : random_between(r, 0.35f, 0.7f);
    const float span = random_between(r, 0.15f, 1), turn = random_between(r, -0.12f, 0.12f);
    const bool inverse = (kind == COLOURS_ANY || p->family->object) && random_below(r, 3) == 0;
    for (int i = 0; i < 4; i++) {
        const float t = (float)(inverse ? 3 - i : i) / 3 - 0.5f + random_between(r, -0.07f, 0.07f);
        p->palette[i] = colour_of(hue + turn * t, saturation * random_between(r, 0.7f, 1.2f),
                                  least(most(middle + span * t, 0.03f), 0.9f));
    }
    const SurfaceColour other = colour_of(random_float(r), grey ? 0 : 0.8f, 0.5f);
    const float strength = grey ? 0 : random_between(r, 0, kind == COLOURS_METAL ? 0.25f : 1.2f);
    for (int k = 0; k < 3; k++) p->tint.rgb[k] = strength * (other.rgb[k] - 0.4f);
}

/* The index-th of the bits that are set. */
static size_t nth_bit(uint64_t bits, uint64_t index) {
    while (index--) bits &= bits - 1;
    return (size_t)__builtin_ctzll(bits);
}

SurfaceProgram surface_program(uint64_t seed, uint64_t families, uint64_t program) {
    const size_t family = nth_bit(families, program % (uint64_t)__builtin_popcountll(families));
    SurfaceProgram p = {.family = &surface_families[family]};
    p.seed = mix64(mix64(seed) + 0x9e3779b97f4a7c15ull * (program + 1) + family);
    Random r = random_new(p.seed, 0);
    p.key = random_u32(&r);
    p.knobs = draw_knobs(p.family, &r);
    for (size_t part = 0; p.family->field == surface_border && part < 2; part++) {
        do p.parts[part] = &surface_families[random_below(&r, SURFACE_FAMILIES)];
        while (p.parts[part]->object || p.parts[part]->field == surface_border);
        p.part_knobs[part] = draw_knobs(p.parts[part], &r);
    }
    draw_palette(&p, &r);
    p.angle = random_below(&r, 2) ? 0.25f * (float)random_below(&r, 4) : random_float(&r);
    p.bump = most(p.family->relief * random_between(&r, 0.15f, 1), 0.1f);
    p.gloss = random_below(&r, 2) ? random_between(&r, 0, 0.5f) : 0;
    p.light = random_float(&r);
    p.slope = random_between(&r, 0, 0.2f);
    p.vignette = random_below(&r, 2) ? random_between(&r, 0, 0.15f) : 0;
    p.noise = random_between(&r, 0.2f, 3.5f);
    p.noise *= p.noise * 0.0025f;
    p.blur = random_between(&r, 0, 0.2f);
    p.patchy = random_between(&r, 0, 0.12f);
    return p;
}

SurfaceSample surface_sample(const SurfaceProgram *p, uint64_t sample, float nuisance, size_t width, size_t height) {
    Random r = random_new(p->seed, sample + 1);
    const size_t shorter = width < height ? width : height;
    const float spread = p->family->object ? 3.0f : 3000.0f;
    const float scale =
        (p->family->object ? 128 / (float)shorter : 1) * exponential(nuisance * random_between(&r, -0.08f, 0.08f));
    const float angle = p->angle + nuisance * random_between(&r, -0.013f, 0.013f);
    SurfaceSample s = {.cosine = scale * cowave(angle), .sine = scale * wave(angle)};
    s.bump = p->bump * (p->family->object ? (float)shorter / 128 : 1);
    s.left = random_between(&r, -spread, spread);
    s.top = random_between(&r, -spread, spread);
    s.level = 1 + nuisance * random_between(&r, -0.15f, 0.15f);
    s.contrast = 1 + nuisance * random_between(&r, -0.12f, 0.12f);
    for (int k = 0; k < 3; k++) s.colour[k] = 1 + nuisance * random_between(&r, -0.04f, 0.04f);
    const float light = p->light + nuisance * random_between(&r, -0.05f, 0.05f);
    s.light_x = 0.7071f * cowave(light);
    s.light_y = 0.7071f * wave(light);
    s.light_z = 0.7071f;
    const float slope = p->slope * (1 + nuisance * random_between(&r, -0.5f, 0.5f));
    const float fall = light + nuisance * random_between(&r, -0.1f, 0.1f);
    s.slope_x = slope * cowave(fall);
    s.slope_y = slope * wave(fall);
    s.vignette = p->vignette * (1 + nuisance * random_between(&r, -0.3f, 0.3f));
    s.blur = least(p->blur * (1 + nuisance * random_between(&r, -0.5f, 0.5f)), 0.25f);
    s.noise = p->noise * (1 + nuisance * random_between(&r, -0.3f, 0.3f));
    s.key = random_u32(&r);
    return s;
}

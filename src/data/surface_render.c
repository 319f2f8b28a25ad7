/* From a family's tone and relief to pixels: palette, light, blur, the sensor. */
#include "data/surface_math.h"

#include <string.h>

BlemishStatus surface_canvas_open(SurfaceCanvas *c, size_t width, size_t height, Error *e) {
    size_t pixels;
    *c = (SurfaceCanvas){.width = width, .height = height};
    if (!size_mul(width, height, &pixels)) return error_set(e, BLEMISH_ERROR_MEMORY, "size: too large");
    c->rows = array_new(width, 8 * sizeof *c->rows, e);
    float **const planes[] = {&c->tone, &c->tint, &c->relief, &c->red, &c->green, &c->blue, &c->cover};
    bool whole_canvas = c->rows != NULL;
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++)
        whole_canvas = whole_canvas && (*planes[i] = array_new(pixels, sizeof(float), e)) != NULL;
    c->good = whole_canvas ? array_new(pixels, 3, e) : NULL;
    c->mask = c->good ? array_new(pixels, 1, e) : NULL;
    if (c->mask) return BLEMISH_OK;
    surface_canvas_close(c);
    return e->status;
}

void surface_canvas_close(SurfaceCanvas *c) {
    float *const planes[] = {c->rows, c->tone, c->tint, c->relief, c->red, c->green, c->blue, c->cover};
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++) array_free(planes[i]);
    array_free(c->good);
    array_free(c->mask);
    *c = (SurfaceCanvas){0};
}

/* Row y's points of the material, displaced by a flaw where its cover is. */
VECTOR_CLONES
static void place_row(const SurfaceCanvas *c, const SurfaceSample *s, const Flaw *flaw, size_t y) {
    const float dy = (float)y + 0.5f - 0.5f * (float)c->height, half = 0.5f * (float)c->width - 0.5f;
    const float u0 = s->left + s->sine * dy - s->cosine * half, v0 = s->top + s->cosine * dy + s->sine * half;
    const float cosine = s->cosine, sine = s->sine;
    float *u = c->rows, *v = c->rows + c->width;
    const size_t n = c->width;
#pragma omp simd
    for (size_t x = 0; x < n; x++) {
        u[x] = u0 + cosine * (float)(int32_t)x;
        v[x] = v0 - sine * (float)(int32_t)x;
    }
    if (flaw == NULL || (flaw->shift_x == 0 && flaw->shift_y == 0 && flaw->fray == 0)) return;
    const float *cover = c->cover + y * n, shift_x = flaw->shift_x, shift_y = flaw->shift_y, fray = flaw->fray;
    const uint32_t key = flaw->key;
#pragma omp simd
    for (size_t x = 0; x < n; x++) {
        const float px = (float)(int32_t)x * 0.13f, py = dy * 0.13f, du = perlin(key, px, py),
                    dv = perlin(key + 1, px, py);
        u[x] += cover[x] * (shift_x + fray * du);
        v[x] += cover[x] * (shift_y + fray * dv);
    }
}

VECTOR_CLONES
static void change_material(const SurfaceCanvas *c, const Flaw *flaw) {
    const size_t n = c->width * c->height;
    float *tone = c->tone, *tint = c->tint, *relief = c->relief;
    const float *cover = c->cover;
    const Flaw f = *flaw;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        tone[i] = mix(tone[i], f.tone, f.replace * cover[i]);
        tint[i] = mix(tint[i], f.tint, f.replace * cover[i]);
        relief[i] = relief[i] * (1 - f.flatten * cover[i]) + f.height * cover[i];
    }
}

VECTOR_CLONES
static void blend_row(const SurfaceRow *into, const SurfaceRow *other, const float *share) {
    float *tone = into->tone, *tint = into->tint, *relief = into->relief;
    const size_t n = into->n;
#pragma omp simd
    for (size_t x = 0; x < n; x++) {
        tone[x] = mix(tone[x], other->tone[x], share[x]);
        tint[x] = mix(tint[x], other->tint[x], share[x]);
        relief[x] = mix(relief[x], other->relief[x], share[x]);
    }
}

/* What the family says of row y, whose points are placed. */
static void material_row(const SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, size_t y) {
    const size_t n = c->width;
    float *u = c->rows, *v = u + n;
    const SurfaceRow row = {u, v, c->tone + y * n, c->tint + y * n, c->relief + y * n, n};
    const SurfaceRow border = {u, v, u + 2 * n, u + 3 * n, u + 4 * n, n},
                     other = {u, v, u + 5 * n, u + 6 * n, u + 7 * n, n};
    if (p->parts[0]) {
        p->family->field(&p->knobs, p->key, &border);
        p->parts[0]->field(&p->part_knobs[0], p->key + 1000, &row);
        p->parts[1]->field(&p->part_knobs[1], p->key + 2000, &other);
        blend_row(&row, &other, border.tone);
        return;
    }
    /* Every object is another piece, every patch of a plane is of the same one. */
    p->family->field(&p->knobs, p->family->object ? s->key : p->key, &row);
}

/* Row y's light: Lambert and a highlight on the relief's slopes (into `shade` and `shine`), unevenness of the lamp. */
VECTOR_CLONES
static void shade_row(const SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, size_t y, float *shade,
                      float *shine) {
    const size_t n = c->width, up = y > 0 ? y - 1 : 0, down = y + 1 < c->height ? y + 1 : y;
    const float *above = c->relief + up * n, *below = c->relief + down * n, *here = c->relief + y * n;
    const float bump = 0.5f * s->bump, lx = s->light_x, ly = s->light_y, lz = s->light_z, gloss = p->gloss;
    const float level = s->level, vignette = s->vignette, slope_x = s->slope_x;
    const float step = 2 / (float)c->width, b = ((float)y + 0.5f) * 2 / (float)c->height - 1, base = 1 + s->slope_y * b;
    const float hx = lx * 0.5412f, hy = ly * 0.5412f, hz = (1 + lz) * 0.5412f; /* half-way to the camera above */
    shade[0] = here[n > 1 ? 1 : 0] - here[0];
    shade[n - 1] = here[n - 1] - here[n > 1 ? n - 2 : 0];
#pragma omp simd
    for (size_t x = 1; x < n - 1; x++) shade[x] = here[x + 1] - here[x - 1];
#pragma omp simd
    for (size_t x = 0; x < n; x++) {
        const float gx = -bump * shade[x], gy = -bump * (below[x] - above[x]);
        const float scale = 1 / sqrtf(1 + gx * gx + gy * gy);
        const float lambert = most((gx * lx + gy * ly + lz) * scale, 0) / lz,
                    half = most((gx * hx + gy * hy + hz) * scale, 0);
        const float h2 = half * half, h4 = h2 * h2, h8 = h4 * h4, h16 = h8 * h8;
        const float a = ((float)(int32_t)x + 0.5f) * step - 1;
        const float lamp = level * (base + slope_x * a - vignette * (a * a + b * b));
        shade[x] = lamp * (0.3f + 0.7f * least(lambert, 1.6f));
        shine[x] = lamp * gloss * h16 * h16;
    }
}

VECTOR_CLONES
static void colour_row(const SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, const Flaw *flaw,
                       size_t y) {
    const size_t n = c->width;
    float *shade = c->rows + 2 * n, *shine = c->rows + 3 * n, *patch = c->rows + 4 * n;
    const float *tone = c->tone + y * n, *tint = c->tint + y * n, *cover = c->cover + y * n, *u = c->rows,
                *v = c->rows + n;
    const float patchy = p->patchy;
    const uint32_t key = p->key + 500;
    shade_row(c, p, s, y, shade, shine);
#pragma omp simd
    for (size_t x = 0; x < n; x++) patch[x] = patchy * perlin(key, u[x] * 0.013f, v[x] * 0.013f);
    for (int k = 0; k < 3; k++) {
        float *out = (k == 0 ? c->red : k == 1 ? c->green : c->blue) + y * n;
        const float c0 = p->palette[0].rgb[k], c1 = p->palette[1].rgb[k] - c0,
                    c2 = p->palette[2].rgb[k] - p->palette[1].rgb[k];
        const float c3 = p->palette[3].rgb[k] - p->palette[2].rgb[k], by_tint = p->tint.rgb[k], gain = s->colour[k];
        const float contrast = s->contrast, multiply = flaw ? flaw->multiply[k] - 1 : 0, add = flaw ? flaw->add : 0;
#pragma omp simd
        for (size_t x = 0; x < n; x++) {
            const float t = 3 * (0.5f + contrast * (tone[x] + patch[x] - 0.5f));
            const float colour =
                c0 + c1 * unit_clamp(t) + c2 * unit_clamp(t - 1) + c3 * unit_clamp(t - 2) + by_tint * (tint[x] - 0.5f);
            out[x] = gain * shade[x] * ((1 + multiply * cover[x]) * colour + add * cover[x]) + shine[x];
        }
    }
}

/* Three taps along rows, then along columns; `row` and `above` are scratch. */
VECTOR_CLONES
static void blur_plane(float *plane, size_t width, size_t height, float weight, float *row, float *above) {
    if (width == 0) return;
    for (size_t y = 0; y < height; y++) {
        float *p = plane + y * width;
        memcpy(row, p, width * sizeof *row);
#pragma omp simd
        for (size_t x = 1; x < width - 1; x++) p[x] = row[x] + weight * (row[x - 1] + row[x + 1] - 2 * row[x]);
    }
    memcpy(above, plane, width * sizeof *above);
    for (size_t y = 1; y + 1 < height; y++) {
        float *p = plane + y * width;
        const float *below = p + width;
#pragma omp simd
        for (size_t x = 0; x < width; x++) {
            const float here = p[x];
            p[x] = here + weight * (above[x] + below[x] - 2 * here);
            above[x] = here;
        }
    }
}

/* Photons arrive at random: the noise grows with the root of the light. */
VECTOR_CLONES
static void expose_row(const SurfaceCanvas *c, const SurfaceSample *s, size_t y, uint8_t *rgb) {
    const size_t n = c->width;
    const float *red = c->red + y * n, *green = c->green + y * n, *blue = c->blue + y * n, noise = s->noise;
    const uint32_t key = s->key;
    float *grains = c->rows;
#pragma omp simd
    for (size_t x = 0; x < n; x++) {
        const float light = unit_clamp(green[x]);
        grains[x] = 255 * noise * (0.4f + sqrtf(light)) * grain(lattice_bits(key, (int32_t)x, (int32_t)y)) + 0.5f;
    }
    for (size_t x = 0; x < n; x++) {
        rgb[3 * x] = (uint8_t)(int32_t)least(most(255 * red[x] + grains[x], 0), 255);
        rgb[3 * x + 1] = (uint8_t)(int32_t)least(most(255 * green[x] + grains[x], 0), 255);
        rgb[3 * x + 2] = (uint8_t)(int32_t)least(most(255 * blue[x] + grains[x], 0), 255);
    }
}

void surface_paint_sample(SurfaceCanvas *c, const SurfaceProgram *p, const SurfaceSample *s, const Flaw *flaw,
                          uint8_t *rgb) {
    const size_t n = c->width;
    for (size_t y = 0; y < c->height; y++) {
        place_row(c, s, flaw, y);
        material_row(c, p, s, y);
    }
    if (flaw) change_material(c, flaw);
    for (size_t y = 0; y < c->height; y++) {
        place_row(c, s, NULL, y);
        colour_row(c, p, s, flaw, y);
    }
    blur_plane(c->red, n, c->height, s->blur, c->rows, c->rows + n);
    blur_plane(c->green, n, c->height, s->blur, c->rows, c->rows + n);
    blur_plane(c->blue, n, c->height, s->blur, c->rows, c->rows + n);
    for (size_t y = 0; y < c->height; y++) expose_row(c, s, y, rgb + 3 * y * n);
}

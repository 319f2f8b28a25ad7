#include "train/targets.h"

#include "image/image.h"

#include <string.h>

static void flip_bytes(const uint8_t *in, size_t height, size_t width, Flip flip, uint8_t *out) {
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            out[y * width + x] =
                in[(flip & FLIP_VERTICAL ? height - 1 - y : y) * width + (flip & FLIP_HORIZONTAL ? width - 1 - x : x)];
}

/* Buffers at network resolution. */
typedef struct Scratch {
    uint8_t *mask, *flipped, *dilated;
    float *plane, *small;
} Scratch;

/* *any is false, and out left alone, where the mask has no pixel. */
static BlemishStatus read_mask(MaskReader *reader, const Sample *sample, const Geometry *g, uint8_t *out, bool *any,
                               Error *e) {
    BlemishImage image;
    *any = false;
    if (sample->mask_path == NULL) return BLEMISH_OK;
    if (mask_read(reader, sample->mask_path, sample->path, &image, e)) return e->status;
    if (image.data == NULL) return BLEMISH_OK;
    *any = true;
    mask_resize_nearest(image.data, image.height, image.width, out, g->height, g->width);
    image_free(&image);
    return BLEMISH_OK;
}

/* One flip of the mask in s->mask: dilated, weighted, brought to feature resolution. */
static BlemishStatus make_target(const Scratch *s, const Geometry *g, const Recipe *recipe, Flip flip, uint8_t *mask,
                                 float *weights, Error *e) {
    const size_t n = g->height * g->width;
    flip_bytes(s->mask, g->height, g->width, flip, s->flipped);
    if (mask_dilate_square(s->flipped, g->height, g->width, recipe->dilate, s->dilated, e)) return e->status;
    for (size_t i = 0; i < n; i++) s->plane[i] = s->dilated[i];
    plane_resize_bilinear_corners(s->plane, g->height, g->width, s->small, g->h, g->w);
    for (size_t i = 0; i < g->h * g->w; i++) mask[i] = s->small[i] >= 0.5f;
    if (weights == NULL) return BLEMISH_OK;
    if (mask_distance_weights(s->dilated, g->height, g->width, s->plane, e)) return e->status;
    plane_resize_bilinear_corners(s->plane, g->height, g->width, weights, g->h, g->w);
    return BLEMISH_OK;
}

static BlemishStatus make_all(Targets *t, const Scratch *s, const Sample *const *samples, size_t count,
                              const Geometry *g, const Recipe *recipe, Error *e) {
    MaskReader reader = {0};
    BlemishStatus status = BLEMISH_OK;
    for (size_t i = 0; i < count && status == BLEMISH_OK; i++) {
        const size_t first = i * t->flips * t->pixels;
        bool any;
        if (t->weights)
            for (size_t k = 0; k < t->flips * t->pixels; k++) t->weights[first + k] = 1.0f;
        status = read_mask(&reader, samples[i], g, s->mask, &any, e);
        for (size_t f = 0; f < t->flips && any && status == BLEMISH_OK; f++) {
            const size_t at = first + f * t->pixels;
            status = make_target(s, g, recipe, (Flip)f, t->masks + at, t->weights ? t->weights + at : NULL, e);
        }
        /* What is too small to survive the way to feature resolution would teach that defects are good. */
        t->segmented[i] = any && memchr(t->masks + first, 1, t->flips * t->pixels) != NULL;
    }
    mask_reader_close(&reader);
    return status;
}

BlemishStatus targets_open(Targets *t, const Sample *const *samples, size_t count, const Geometry *g,
                           const Recipe *recipe, Error *e) {
    const size_t n = g->height * g->width;
    *t = (Targets){.pixels = g->h * g->w, .flips = recipe->flips ? 4 : 1};
    e->status = BLEMISH_OK;
    if (count == 0) return BLEMISH_OK;
    Scratch s = {array_new(n, 1, e), array_new(n, 1, e), array_new(n, 1, e), array_new(n, sizeof(float), e),
                 array_new(t->pixels, sizeof(float), e)};
    t->masks = array_new(count, t->flips * t->pixels, e);
    t->segmented = array_new(count, 1, e);
    if (recipe->distance_weights) t->weights = array_new(count, t->flips * t->pixels * sizeof(float), e);
    if (e->status == BLEMISH_OK) make_all(t, &s, samples, count, g, recipe, e);
    array_free(s.mask), array_free(s.flipped), array_free(s.dilated), array_free(s.plane), array_free(s.small);
    if (e->status != BLEMISH_OK) targets_close(t);
    return e->status;
}

void targets_close(Targets *t) {
    array_free(t->masks);
    array_free(t->weights);
    array_free(t->segmented);
    *t = (Targets){0};
}

static size_t target_at(const Targets *t, size_t image, Flip flip) {
    return (image * t->flips + (t->flips == 1 ? 0 : (size_t)flip)) * t->pixels;
}

const uint8_t *targets_mask(const Targets *t, size_t image, Flip flip) {
    return t->masks + target_at(t, image, flip);
}

const float *targets_weights(const Targets *t, size_t image, Flip flip) {
    return t->weights ? t->weights + target_at(t, image, flip) : NULL;
}

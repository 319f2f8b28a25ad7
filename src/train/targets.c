#include "train/targets.h"

#include "image/image.h"
#include "train/pieces.h"

#include <string.h>

/* ---- one entry ------------------------------------------------------------------------------------------- */

/* The view of a turned mask: shifted, flipped, dilated, weighted, brought to feature resolution. */
static BlemishStatus make_target(Targets *t, size_t entry, const uint8_t *turned, Augmentation *view, Error *e) {
    const Geometry *g = t->g;
    const TargetScratch *s = &t->scratch;
    const size_t n = g->height * g->width;
    uint8_t *mask = t->masks + entry * t->pixels;
    augment_keep_defect(view, turned, g->height, g->width);
    memcpy(s->mask, turned, n);
    augment_mask(view, s->mask, g->height, g->width);
    if (mask_dilate_square(s->mask, g->height, g->width, t->dilate, s->dilated, e)) return e->status;
    for (size_t i = 0; i < n; i++) s->plane[i] = s->dilated[i];
    plane_resize_bilinear_corners(s->plane, g->height, g->width, s->small, g->h, g->w);
    for (size_t i = 0; i < t->pixels; i++) mask[i] = s->small[i] >= 0.5f;
    if (t->weights == NULL) return BLEMISH_OK;
    if (mask_distance_weights(s->dilated, g->height, g->width, s->plane, e)) return e->status;
    plane_resize_bilinear_corners(s->plane, g->height, g->width, t->weights + entry * t->pixels, g->h, g->w);
    return BLEMISH_OK;
}

/* Of an image without a mask. */
static void make_empty(Targets *t, size_t entry) {
    memset(t->masks + entry * t->pixels, 0, t->pixels);
    for (size_t k = 0; t->weights && k < t->pixels; k++) t->weights[entry * t->pixels + k] = 1.0f;
}

/* What is too small to survive the way to feature resolution would teach that defects are good. */
static bool has_defect(const Targets *t, size_t entry, size_t entries) {
    return memchr(t->masks + entry * t->pixels, 1, entries * t->pixels) != NULL;
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

/* Every view of one image. */
static BlemishStatus make_views(Targets *t, size_t first, const BlemishImage *mask, Augmentation *views, size_t count,
                                Error *e) {
    uint8_t *turned = t->scratch.turned;
    for (size_t v = 0; v < count; v++) {
        if (mask->data == NULL) {
            make_empty(t, first + v);
            continue;
        }
        if ((v == 0 || views[v].turn != views[v - 1].turn) &&
            augment_turn_mask(views[v].turn, mask, t->g->height, t->g->width, turned, e))
            return e->status;
        if (make_target(t, first + v, turned, &views[v], e)) return e->status;
    }
    memset(t->segmented + first, has_defect(t, first, count), count);
    return BLEMISH_OK;
}

static BlemishStatus keep_turned(Targets *t, size_t image, const BlemishImage *mask, Error *e) {
    const Geometry *g = t->g;
    t->known[image] = mask->data != NULL;
    for (unsigned turn = 0; turn < t->turns && mask->data; turn++)
        if (augment_turn_mask(turn, mask, g->height, g->width,
                              t->turned + (image * t->turns + turn) * g->height * g->width, e))
            return e->status;
    return BLEMISH_OK;
}

static BlemishStatus open_entries(Targets *t, const Geometry *g, const Recipe *recipe, size_t entries, Error *e) {
    const size_t n = g->height * g->width;
    e->status = BLEMISH_OK;
    *t = (Targets){.g = g, .dilate = recipe->dilate, .pixels = g->h * g->w, .turns = recipe->rotate ? 4 : 1};
    if (entries == 0) return BLEMISH_OK;
    t->scratch = (TargetScratch){array_new(n, 1, e), array_new(n, 1, e), array_new(n, 1, e),
                                 array_new(n, sizeof(float), e), array_new(t->pixels, sizeof(float), e)};
    t->masks = array_new(entries, t->pixels, e);
    t->segmented = array_new(entries, 1, e);
    if (recipe->distance_weights) t->weights = array_new(entries, t->pixels * sizeof(float), e);
    return e->status;
}

static void scratch_close(TargetScratch *s) {
    array_free(s->turned), array_free(s->mask), array_free(s->dilated), array_free(s->plane), array_free(s->small);
    *s = (TargetScratch){0};
}

BlemishStatus targets_open(Targets *t, const Sample *const *samples, size_t count, const Geometry *g,
                           const Recipe *recipe, Augmentation *views, size_t per_image, Error *e) {
    PieceMasks masks = {0};
    BlemishStatus status = open_entries(t, g, recipe, count * per_image, e);
    for (size_t i = 0; i < count && status == BLEMISH_OK; i++) {
        BlemishImage mask;
        status = piece_mask(&masks, samples[i], g->height, g->width, &mask, e);
        if (status == BLEMISH_OK) status = make_views(t, i * per_image, &mask, views + i * per_image, per_image, e);
        image_free(&mask);
    }
    piece_masks_close(&masks);
    scratch_close(&t->scratch);
    if (status != BLEMISH_OK) targets_close(t);
    return status;
}

BlemishStatus targets_open_empty(Targets *t, const Sample *const *samples, size_t count, const Geometry *g,
                                 const Recipe *recipe, size_t entries, Error *e) {
    PieceMasks masks = {0};
    BlemishStatus status = open_entries(t, g, recipe, count ? entries : 0, e);
    if (status == BLEMISH_OK && count) {
        t->turned = array_new(count, t->turns * g->height * g->width, e);
        t->known = array_new(count, 1, e);
        status = e->status;
    }
    for (size_t i = 0; i < count && status == BLEMISH_OK; i++) {
        BlemishImage mask;
        status = piece_mask(&masks, samples[i], g->height, g->width, &mask, e);
        if (status == BLEMISH_OK) status = keep_turned(t, i, &mask, e);
        image_free(&mask);
    }
    piece_masks_close(&masks);
    if (status != BLEMISH_OK) targets_close(t);
    return status;
}

BlemishStatus targets_renew(Targets *t, size_t entry, size_t image, Augmentation *view, Error *e) {
    const size_t n = t->g->height * t->g->width;
    if (!t->known[image])
        make_empty(t, entry);
    else if (make_target(t, entry, t->turned + (image * t->turns + view->turn) * n, view, e))
        return e->status;
    t->segmented[entry] = has_defect(t, entry, 1);
    return BLEMISH_OK;
}

void targets_close(Targets *t) {
    array_free(t->masks);
    array_free(t->weights);
    array_free(t->segmented);
    array_free(t->turned);
    array_free(t->known);
    scratch_close(&t->scratch);
    *t = (Targets){0};
}

const uint8_t *targets_mask(const Targets *t, size_t entry) {
    return t->masks + entry * t->pixels;
}

const float *targets_weights(const Targets *t, size_t entry) {
    return t->weights ? t->weights + entry * t->pixels : NULL;
}

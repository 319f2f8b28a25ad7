#include "infer/infer.h"

#include <math.h>
#include <string.h>

enum { BATCH_MAX = 1024 };

/* ---- opening --------------------------------------------------------------------------------------------- */

static BlemishStatus check_settings(const BlemishSessionSettings *s, Error *e) {
    if (s->batch < 1 || s->batch > BATCH_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "batch: found %zu, expected 1 to %d", s->batch, BATCH_MAX);
    if ((unsigned)s->precision > BLEMISH_PRECISION_INT8)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "precision: found %d, expected one of BlemishPrecision",
                         (int)s->precision);
    if ((unsigned)s->tiles > BLEMISH_TILES_ON)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "tiles: found %d, expected one of BlemishTiles", (int)s->tiles);
    return BLEMISH_OK;
}

/* What the backbone and the heads' products compute in. */
static BlemishStatus choose_type(BlemishPrecision precision, bool quantised, Element *type, Error *e) {
    if (precision == BLEMISH_PRECISION_AUTO && quantised && engine_has_int8()) precision = BLEMISH_PRECISION_INT8;
    *type = precision == BLEMISH_PRECISION_BF16   ? ELEMENT_BF16
            : precision == BLEMISH_PRECISION_INT8 ? ELEMENT_U8
                                                  : ELEMENT_F32;
    if (precision == BLEMISH_PRECISION_INT8 && !quantised)
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED,
                         "precision: found int8, expected fp32 or bf16: the model is not "
                         "quantised");
    if (precision == BLEMISH_PRECISION_INT8 && !engine_has_int8())
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED,
                         "precision: found int8, expected fp32: this processor has no "
                         "exact 8-bit products (VNNI)");
    if (precision == BLEMISH_PRECISION_BF16 && !engine_has_bf16())
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED,
                         "precision: found bf16, expected fp32: this processor has no "
                         "bfloat16 products");
    return BLEMISH_OK;
}

/* batch x a x b x c floats. */
static float *floats_new(size_t batch, size_t a, size_t b, size_t c, Error *e) {
    size_t n;
    if (!size_mul(batch, a, &n) || !size_mul(n, b, &n) || !size_mul(n, c, &n)) {
        error_set(e, BLEMISH_ERROR_MEMORY, "session: %zu x %zu x %zu x %zu floats are larger than memory", batch, a, b,
                  c);
        return NULL;
    }
    return array_new(n, sizeof(float), e);
}

/* A tile is a piece of the image at any place. */
static BlemishStatus check_tiles(const Model *m, Error *e) {
    if (m->roi == NULL) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_ARGUMENT,
                     "tiles: found a model with a region of interest, which is of whole images");
}

static BlemishStatus open_parts(Session *s, const BlemishSessionSettings *settings, Error *e) {
    const Model *m = s->model;
    const Geometry *g = &m->geometry;
    s->batch = settings->batch;
    if (backbone_open(&s->backbone, s->engine, &m->trunk, s->type, s->batch, g->height, g->width, e)) return e->status;
    if (head_runner_open(&s->heads, s->engine, &m->heads, g, m->align_corners, s->type, e)) return e->status;
    if (smooth_open(&s->smooth, g->h, g->w, g->height, g->width, e)) return e->status;
    if ((s->logits = floats_new(1, g->h, g->w, 1, e)) == NULL) return e->status;
    if ((s->maps = floats_new(s->batch, g->height, g->width, 1, e)) == NULL) return e->status;
    const bool tiles = settings->tiles == BLEMISH_TILES_AUTO ? m->tiles : settings->tiles == BLEMISH_TILES_ON;
    if (tiles && check_tiles(m, e)) return e->status;
    return tiles ? tiling_open(&s->tiling, s->batch, g, m->tiles ? m->tile_overlap : TILE_OVERLAP, e) : BLEMISH_OK;
}

BlemishStatus session_open(Session *s, const Model *model, const BlemishSessionSettings *settings, Error *e) {
    *s = (Session){.model = model};
    if (check_settings(settings, e) || choose_type(settings->precision, model->quantised, &s->type, e) ||
        engine_open(&s->engine, settings->threads, e))
        return e->status;
    int before = engine_enter(s->engine);
    BlemishStatus status = open_parts(s, settings, e);
    engine_leave(before);
    if (status != BLEMISH_OK) session_close(s);
    return status;
}

void session_close(Session *s) {
    backbone_close(s->backbone);
    backbone_close(s->single);
    head_runner_close(s->heads);
    smooth_close(&s->smooth);
    tiling_close(&s->tiling, s->batch);
    array_free(s->logits);
    array_free(s->maps);
    array_free(s->large);
    regions_close(&s->regions);
    engine_close(s->engine);
    *s = (Session){0};
}

/* ---- running --------------------------------------------------------------------------------------------- */

static BlemishStatus check_image(const BlemishImage *image, size_t index, Error *e) {
    size_t row, bytes;
    if (image->data == NULL || image->width == 0 || image->height == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "image %zu: found %zux%zu pixels at %p, expected some", index,
                         image->width, image->height, (const void *)image->data);
    if (image->channels != 1 && image->channels != 3)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "image %zu: channels: found %d, expected 1 or 3", index,
                         image->channels);
    if (!size_mul(image->width, (size_t)image->channels, &row) || image->stride < row ||
        !size_mul(image->stride, image->height, &bytes))
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "image %zu: stride: found %zu, expected %d bytes for each of %zu pixels or more", index,
                         image->stride, image->channels, image->width);
    return BLEMISH_OK;
}

static Roi roi_of(const Model *m) {
    return (Roi){m->roi, m->geometry.height, m->geometry.width};
}

/* Whether the border leaves a pixel of the map that the model's region of interest has, where it has one. */
static bool leaves_roi(const Model *m, size_t side_y, size_t side_x) {
    const size_t height = m->geometry.height, width = m->geometry.width;
    if (m->roi == NULL) return true;
    for (size_t y = side_y; y + side_y < height; y++)
        if (memchr(m->roi + y * width + side_x, 1, width - 2 * side_x)) return true;
    return false;
}

/* A border that leaves nothing would call every image good. */
static BlemishStatus check_border(const Session *s, const BlemishImage *image, size_t index, Error *e) {
    const size_t border = s->model->border;
    const size_t height = s->tiling.on ? image->height : s->model->geometry.height;
    const size_t width = s->tiling.on ? image->width : s->model->geometry.width;
    const size_t side_y = border_pixels(border, height, image->height);
    const size_t side_x = border_pixels(border, width, image->width);
    if (border == 0 || (2 * border < image->height && 2 * border < image->width && 2 * side_y < height &&
                        2 * side_x < width && leaves_roi(s->model, side_y, side_x)))
        return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_ARGUMENT,
                     "image %zu: border: found %zu pixels, which leave nothing of %s%zux%zu (width x height)", index,
                     border, s->model->roi ? "the region of interest in " : "", image->width, image->height);
}

/* A product of weights that are each finite can still overflow; "not a number" must not pass as good. */
static bool all_finite(const float *values, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += 0.0f * values[i];
    return sum == 0.0f;
}

/* Heads and post-processing of the image at `index` of a run, from its features. */
static BlemishStatus finish(Session *s, size_t index, const void *f2, const void *f3, const BlemishImage *image,
                            BlemishResult *result, Error *e) {
    const Geometry *g = &s->model->geometry;
    float *map = s->maps + index * g->height * g->width, score;
    if (head_runner_run(s->heads, f2, f3, s->logits, &score, e)) return e->status;
    if (!isfinite(score) || !all_finite(s->logits, g->h * g->w))
        return error_set(e, BLEMISH_ERROR_INTERNAL, "image %zu: the network's output is not finite", index);
    float map_max = smooth_run(&s->smooth, s->logits, map);
    profile_work(engine_profile(s->engine), s->smooth.work.gmac, s->smooth.work.gb, BLEMISH_PRECISION_AUTO);
    engine_lap(s->engine, "smooth");
    *result = (BlemishResult){.score = s->model->heads.map_score ? map_max : 1.0f / (1.0f + expf(-score)),
                              .map_max = map_max,
                              .map = map,
                              .map_width = g->width,
                              .map_height = g->height,
                              .image_width = image->width,
                              .image_height = image->height};
    return BLEMISH_OK;
}

/* Decoded pixels to one image of the network's input. */
static void preprocess(const Session *s, const BlemishImage *image, float *input) {
    const Geometry *g = &s->model->geometry;
    const size_t pixels = image->height * image->width * (size_t)image->channels, floats = g->height * g->width * 3;
    image_to_input(image, g->height, g->width, input);
    if (s->model->roi) roi_fill(s->model->roi, g->height * g->width, input);
    profile_work(engine_profile(s->engine), 0, 1e-9 * (double)(pixels + floats * sizeof(float)),
                 BLEMISH_PRECISION_AUTO);
    engine_lap(s->engine, "preprocess");
}

static BlemishStatus run_batch(Session *s, const BlemishImage *images, BlemishResult *results, Error *e) {
    const Geometry *g = &s->model->geometry;
    float *input = backbone_input(s->backbone);
    for (size_t i = 0; i < s->batch; i++) preprocess(s, &images[i], input + i * g->height * g->width * 3);
    const void *f2, *f3;
    if (backbone_run(s->backbone, &f2, &f3, e)) return e->status;
    const size_t element = element_size(s->type);
    const size_t size2 = g->h2 * g->w2 * g->c2 * element, size3 = g->h3 * g->w3 * g->c3 * element;
    for (size_t i = 0; i < s->batch; i++)
        if (finish(s, i, (const uint8_t *)f2 + i * size2, (const uint8_t *)f3 + i * size3, &images[i], &results[i], e))
            return e->status;
    return BLEMISH_OK;
}

/* Fewer images than a batch go one by one: padding a batch would cost the whole batch's time. */
static BlemishStatus run_singly(Session *s, const BlemishImage *images, size_t count, BlemishResult *results,
                                Error *e) {
    const Geometry *g = &s->model->geometry;
    if (s->single == NULL &&
        backbone_open(&s->single, s->engine, &s->model->trunk, s->type, 1, g->height, g->width, e) != BLEMISH_OK)
        return e->status;
    for (size_t i = 0; i < count; i++) {
        preprocess(s, &images[i], backbone_input(s->single));
        const void *f2, *f3;
        if (backbone_run(s->single, &f2, &f3, e)) return e->status;
        if (finish(s, i, f2, f3, &images[i], &results[i], e)) return e->status;
    }
    return BLEMISH_OK;
}

BlemishStatus session_forward(Session *s, const BlemishImage *images, size_t count, BlemishResult *results, Error *e) {
    return count == s->batch ? run_batch(s, images, results, e) : run_singly(s, images, count, results, e);
}

/* Within the model's border and outside its region of interest the map of the image at `index` does not count. */
static void ignore_rest(Session *s, size_t index, BlemishResult *result) {
    const size_t border = s->model->border, height = result->map_height, width = result->map_width;
    float *map = s->tiling.on ? s->tiling.maps[index] : s->maps + index * height * width;
    const Roi roi = roi_of(s->model);
    if (border)
        result->map_max = border_clear(map, height, width, border_pixels(border, height, result->image_height),
                                       border_pixels(border, width, result->image_width));
    if (roi.mask) result->map_max = roi_clear(&roi, map, height, width);
    if (s->model->heads.map_score) result->score = result->map_max;
}

/* From the network's score to the verdict. */
static void judge(const Session *s, BlemishResult *result) {
    const Calibration *c = &s->model->calibration;
    result->score = calibration_value(c, result->score, result->map_max);
    result->probability = calibration_probability(c, result->score);
    result->defect = result->score >= s->model->threshold;
}

BlemishStatus session_run(Session *s, const BlemishImage *images, size_t count, BlemishResult *results, Error *e) {
    if (count < 1 || count > s->batch)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "count: found %zu images, expected 1 to %zu", count, s->batch);
    if (s->tiling.on && check_tiles(s->model, e)) return e->status; /* the model may have got it since */
    for (size_t i = 0; i < count; i++)
        if (check_image(&images[i], i, e) || check_border(s, &images[i], i, e)) return e->status;
    int before = engine_enter(s->engine);
    profile_start(engine_profile(s->engine));
    BlemishStatus status = BLEMISH_OK;
    if (!s->tiling.on) status = session_forward(s, images, count, results, e);
    for (size_t i = 0; i < count && s->tiling.on && status == BLEMISH_OK; i++)
        status = tiling_run(s, &images[i], i, &results[i], e);
    engine_leave(before);
    for (size_t i = 0; i < count && status == BLEMISH_OK; i++) {
        if (s->model->border || s->model->roi) ignore_rest(s, i, &results[i]);
        judge(s, &results[i]);
    }
    return status;
}

/* ---- what is made of a result ---------------------------------------------------------------------------- */

static BlemishStatus check_result(const Session *s, const BlemishResult *result, Error *e) {
    const Geometry *g = &s->model->geometry;
    const size_t height = s->tiling.on ? result->image_height : g->height;
    const size_t width = s->tiling.on ? result->image_width : g->width;
    if (result->map == NULL || result->map_width != width || result->map_height != height)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "result: map: found %zux%zu, expected %zux%zu from this session",
                         result->map_height, result->map_width, height, width);
    return BLEMISH_OK;
}

BlemishStatus session_large_map(Session *s, const BlemishResult *result, float *map, Error *e) {
    if (check_result(s, result, e)) return e->status;
    plane_resize_bilinear(result->map, result->map_height, result->map_width, map, result->image_height,
                          result->image_width);
    /* Blends with what counts reach into what does not. */
    const Roi roi = roi_of(s->model);
    if (roi.mask) roi_clear(&roi, map, result->image_height, result->image_width);
    if (s->model->border)
        border_clear(map, result->image_height, result->image_width, s->model->border, s->model->border);
    return BLEMISH_OK;
}

static RegionRules rules(const Model *m) {
    return (RegionRules){m->pixel_threshold, m->min_area, m->border, roi_of(m)};
}

/* Room for the map at image size in s->large. */
static BlemishStatus reserve_large(Session *s, const BlemishResult *result, Error *e) {
    size_t pixels;
    if (!size_mul(result->image_width, result->image_height, &pixels) || pixels == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "result: image: found %zux%zu pixels", result->image_height,
                         result->image_width);
    if (pixels > s->large_pixels) {
        array_free(s->large);
        s->large_pixels = 0;
        if ((s->large = array_new(pixels, sizeof(float), e)) == NULL) return e->status;
        s->large_pixels = pixels;
    }
    return BLEMISH_OK;
}

/* The map at image size: by tiles the result's own, else in s->large. NULL after an error. */
static const float *large_map(Session *s, const BlemishResult *result, Error *e) {
    if (check_result(s, result, e)) return NULL;
    if (s->tiling.on) return result->map;
    if (reserve_large(s, result, e) || session_large_map(s, result, s->large, e)) return NULL;
    return s->large;
}

BlemishStatus session_regions(Session *s, const BlemishResult *result, Regions *regions, Error *e) {
    if (check_result(s, result, e)) return e->status;
    if (s->tiling.on)
        return regions_find(regions, result->map, result->image_height, result->image_width, rules(s->model), e);
    if (reserve_large(s, result, e)) return e->status;
    return regions_find_resized(regions, result->map, result->map_height, result->map_width, s->large,
                                result->image_height, result->image_width, rules(s->model), e);
}

BlemishStatus session_write_map(Session *s, const BlemishResult *result, const char *path, Error *e) {
    const float *map = large_map(s, result, e);
    return map ? image_write_tiff_f32(map, result->image_width, result->image_height, path, e) : e->status;
}

BlemishStatus session_overlay(Session *s, const BlemishImage *image, const BlemishResult *result, BlemishImage *out,
                              Error *e) {
    if (check_image(image, 0, e)) return e->status;
    if (image->width != result->image_width || image->height != result->image_height)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "image: found %zux%zu, expected the result's %zux%zu",
                         image->height, image->width, result->image_height, result->image_width);
    Regions regions = {0}; /* not s->regions: the caller may still be reading that list */
    const float *map = large_map(s, result, e);
    if (map == NULL) return e->status;
    BlemishStatus status = regions_find(&regions, map, image->height, image->width, rules(s->model), e);
    if (status == BLEMISH_OK) status = overlay_draw(out, image, map, &regions, roi_of(s->model), e);
    regions_close(&regions);
    return status;
}

void session_set_profile(Session *s, bool on) {
    if (on) s->profile = (Profile){0};
    engine_set_profile(s->engine, on ? &s->profile : NULL);
}

/* ---- cost ------------------------------------------------------------------------------------------------ */

BlemishSessionCost session_cost(const Session *s) {
    const Geometry *g = &s->model->geometry;
    double backbone = backbone_gmac(s->backbone), c = (double)g->c, hidden = (double)s->model->heads.params.hidden;
    /* Adaptor, segmentation head and, where there is one, the 5x5 convolution at every pixel of the feature resolution.
     */
    double pixel = c * c + hidden * (c + 1);
    if (!s->model->heads.map_score) pixel += CLS_TAPS * (c + 1) * CLS_CHANNELS;
    return (BlemishSessionCost){.gmac = backbone + head_runner_gmac(s->heads),
                                .gmac_published = backbone + 1e-9 * pixel * (double)(g->h * g->w),
                                .precision = s->type == ELEMENT_BF16 ? "bf16"
                                             : s->type == ELEMENT_U8 ? "int8"
                                                                     : "fp32",
                                .threads = engine_threads(s->engine)};
}

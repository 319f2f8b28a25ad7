/* Post-training quantisation: what ranges each map takes on the calibration images, then the rounding. */
#include "api/api.h"

#include <math.h>
#include <string.h>

BLEMISH_API void blemish_quantise_defaults(BlemishQuantiseSettings *settings) {
    if (settings) *settings = (BlemishQuantiseSettings){.images = 128};
}

typedef struct Quantisation {
    Model *model;
    const Manifest *manifest;
    const BlemishQuantiseSettings *settings;
    uint8_t *scratch; /* (height, width, 3): a tile that reaches beyond its image */
    Statistics statistics;
} Quantisation;

static BlemishStatus report(const BlemishQuantiseSettings *s, size_t done, size_t total, Error *e) {
    const BlemishProgress p = {.stage = "calibrate", .done = done, .total = total, .loss = NAN, .seconds_left = -1};
    if (s->progress == NULL || s->progress(s->progress_user, &p) == 0) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_INTERRUPTED, "stopped while calibrating");
}

/* One tile of an image, each time another. */
static BlemishImage tile_of(const Model *m, const BlemishImage *image, size_t turn, uint8_t *scratch) {
    const Geometry *g = &m->geometry;
    const TileGrid grid = tile_grid(image->height, image->width, g->height, g->width, m->tile_overlap);
    return tile_window(&grid, turn % grid.count, image, scratch);
}

/* The training images, every k-th of them where there are more than wanted. */
static BlemishStatus run_images(Quantisation *c, Engine *engine, Backbone *backbone, Error *e) {
    const Geometry *g = &c->model->geometry;
    size_t total = 0, seen = 0, done = 0;
    for (size_t i = 0; i < c->manifest->count; i++) total += c->manifest->samples[i].split == BLEMISH_SPLIT_TRAIN;
    if (total == 0) return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found no training image to calibrate on");
    const size_t wanted = c->settings->images < total ? c->settings->images : total;
    for (size_t i = 0; i < c->manifest->count; i++) {
        const Sample *s = &c->manifest->samples[i];
        BlemishImage image;
        if (s->split != BLEMISH_SPLIT_TRAIN) continue;
        seen++;
        if (seen * wanted / total == (seen - 1) * wanted / total) continue;
        if (report(c->settings, done++, wanted, e) || image_decode(&image, s->path, e)) return e->status;
        const BlemishImage shown = c->model->tiles ? tile_of(c->model, &image, done, c->scratch) : image;
        image_to_input(&shown, g->height, g->width, backbone_input(backbone));
        if (c->model->roi) roi_fill(c->model->roi, g->height * g->width, backbone_input(backbone));
        image_free(&image);
        if (statistics_add(&c->statistics, engine, &c->model->trunk, backbone, g, e)) return e->status;
    }
    return report(c->settings, wanted, wanted, e);
}

static BlemishStatus measure(Quantisation *c, Engine *engine, Error *e) {
    const Geometry *g = &c->model->geometry;
    Backbone *backbone;
    if (backbone_open(&backbone, engine, &c->model->trunk, ELEMENT_F32, 1, g->height, g->width, e)) return e->status;
    const int before = engine_enter(engine);
    const BlemishStatus status = run_images(c, engine, backbone, e);
    engine_leave(before);
    backbone_close(backbone);
    return status;
}

static BlemishStatus check(BlemishModel *m, const BlemishDataset *dataset, const BlemishQuantiseSettings *s, Error *e) {
    if (!m->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "model: found one that failed to open");
    if (dataset == NULL || !dataset->open)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    if (s->images < 1) return error_set(e, BLEMISH_ERROR_ARGUMENT, "images: found 0, expected 1 or more");
    if (m->model.quantised)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "model: found a quantised one, expected one of fp32");
    if (m->model.heads.icpr)
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED, "model: variant: found icpr, expected jims to quantise");
    return BLEMISH_OK;
}

/* Once this began the model is changed: what fails leaves none. */
static BlemishStatus round_model(Model *m, Engine *engine, const Quantisation *c, Error *e) {
    const int before = engine_enter(engine);
    BlemishStatus status = trunk_quantise(&m->trunk, &c->statistics, e);
    if (status == BLEMISH_OK) status = heads_quantise(&m->heads, engine, &m->trunk, &c->statistics, e);
    engine_leave(before);
    return status;
}

BLEMISH_API BlemishStatus blemish_model_quantise(BlemishModel *m, const BlemishDataset *dataset,
                                                 const BlemishQuantiseSettings *settings) {
    if (m == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&m->error);
    BlemishQuantiseSettings s;
    blemish_quantise_defaults(&s);
    if (settings) s = *settings;
    if (check(m, dataset, &s, e) || trunk_fetch(&m->model.trunk, e)) return e->status;
    Engine *engine;
    if (engine_open(&engine, s.threads, e)) return e->status;
    Quantisation c = {.model = &m->model, .manifest = &dataset->manifest, .settings = &s};
    c.scratch = array_new(m->model.geometry.height * m->model.geometry.width, 3, e);
    BlemishStatus status = c.scratch ? statistics_open(&c.statistics, &m->model.trunk, e) : e->status;
    if (status == BLEMISH_OK) status = measure(&c, engine, e);
    if (status == BLEMISH_OK) {
        status = round_model(&m->model, engine, &c, e);
        m->model.quantised = m->open = status == BLEMISH_OK;
    }
    array_free(c.scratch);
    statistics_close(&c.statistics);
    engine_close(engine);
    return status ? status : model_header(&m->model, e);
}

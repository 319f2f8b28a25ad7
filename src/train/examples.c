#include "train/examples.h"

/* Features are divided by their mean channel deviation over this: docs/results.md tells how it was found. */
#define REFERENCE_DEVIATION 0.04

static bool endless(const Examples *x) {
    return x->views.list == NULL;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

/* The views' entries, or where `views` is NULL the normals as they are. */
static BlemishStatus compute_features(Features *f, const Examples *x, const Views *views, Engine *engine,
                                      const Trunk *trunk, const Geometry *g, const Recipe *recipe,
                                      const BlemishTrainSettings *s, Error *e) {
    const size_t count = views ? views->count : x->normals;
    const FeatureSettings settings = {s->cache_mb, s->cache_dir, s->progress, s->progress_user, recipe->bf16 != 0};
    FeatureSource *sources = array_new(count, sizeof *sources, e);
    if (sources == NULL) return e->status;
    for (size_t i = 0; i < count; i++) {
        const Sample *sample = x->samples[views ? views_image(views, i) : i];
        sources[i] = (FeatureSource){sample->path, views ? views->list[i] : AUGMENT_NONE, sample->tile};
    }
    features_open(f, engine, trunk, g, sources, count, &settings, e);
    array_free(sources);
    return e->status;
}

static BlemishStatus measure_scale(const Features *f, size_t normals, const Geometry *g, float *scale, Error *e) {
    double deviation;
    if (features_deviation(f, normals, g, &deviation, e)) return e->status;
    if (!(deviation >= 1e-6 && deviation <= 1e4)) /* within what a model file may hold, with room to spare */
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "features: found a standard deviation of %g over the good images, expected 1e-6 to 1e4",
                         deviation);
    *scale = (float)(deviation / REFERENCE_DEVIATION);
    return BLEMISH_OK;
}

/* The list's first entries are the normals as they are where nothing is changed; otherwise they are computed for this
 * alone, and not while the others take up memory. */
static BlemishStatus open_features(Examples *x, Engine *engine, const Trunk *trunk, const Geometry *g,
                                   const Recipe *recipe, size_t batch, const BlemishTrainSettings *settings,
                                   float *scale, Error *e) {
    const bool measured = !(recipe->feature_scale > 0), plain = views_plain(&x->views);
    if (!measured) *scale = (float)recipe->feature_scale;
    if (measured && !plain) {
        Features normals;
        if (compute_features(&normals, x, NULL, engine, trunk, g, recipe, settings, e)) return e->status;
        measure_scale(&normals, x->normals, g, scale, e);
        features_close(&normals);
        if (e->status != BLEMISH_OK) return e->status;
    }
    if (endless(x)) return features_open_empty(&x->features, engine, trunk, g, batch, recipe->bf16 != 0, e);
    if (compute_features(&x->features, x, &x->views, engine, trunk, g, recipe, settings, e)) return e->status;
    return measured && plain ? measure_scale(&x->features, x->normals, g, scale, e) : BLEMISH_OK;
}

BlemishStatus examples_open(Examples *x, const Sample *const *samples, size_t normals, size_t anomalies, Engine *engine,
                            const Trunk *trunk, const Geometry *g, const Recipe *recipe, size_t batch,
                            const BlemishTrainSettings *settings, float *scale, Error *e) {
    e->status = BLEMISH_OK;
    *x = (Examples){.samples = samples, .normals = normals};
    x->entries = array_new(batch, sizeof *x->entries, e);
    x->sources = array_new(batch, sizeof *x->sources, e);
    if (e->status != BLEMISH_OK || views_open(&x->views, recipe, normals, anomalies, e)) return e->status;
    /* Targets first: masks have a say in how far an image is shifted. */
    if (endless(x))
        targets_open_empty(&x->targets, samples + normals, anomalies, g, recipe, batch, e);
    else
        targets_open(&x->targets, samples + normals, anomalies, g, recipe, x->views.list + x->views.first,
                     views_per_anomaly(&x->views), e);
    if (e->status != BLEMISH_OK) return e->status;
    return open_features(x, engine, trunk, g, recipe, batch, settings, scale, e);
}

void examples_close(Examples *x) {
    views_close(&x->views);
    features_close(&x->features);
    targets_close(&x->targets);
    array_free(x->entries);
    array_free(x->sources);
    *x = (Examples){0};
}

/* ---- showing --------------------------------------------------------------------------------------------- */

BlemishStatus examples_show(Examples *x, const Draw *draws, size_t images, uint64_t step, Error *e) {
    for (size_t i = 0; i < images; i++) {
        Showing s = views_show(&x->views, draws[i], step, i);
        const size_t image = draws[i].sample;
        x->entries[i] = s.entry;
        if (!endless(x)) continue;
        if (image >= x->normals && targets_renew(&x->targets, i, image - x->normals, &s.view, e)) return e->status;
        x->sources[i] = (FeatureSource){x->samples[image]->path, s.view, x->samples[image]->tile};
    }
    return endless(x) ? features_renew(&x->features, x->sources, images, e) : BLEMISH_OK;
}

void examples_features(const Examples *x, size_t place, float scale, float *f2, float *f3) {
    features_get(&x->features, x->entries[place], scale, f2, f3);
}

size_t examples_target(const Examples *x, size_t place) {
    return x->entries[place] - x->views.first;
}

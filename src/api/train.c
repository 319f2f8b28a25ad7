#include "api/api.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

BLEMISH_API void blemish_train_defaults(BlemishTrainSettings *settings) {
    if (settings) *settings = (BlemishTrainSettings){.backbone = "builtin", .checkpoint_every = 10, .cache_mb = 4096};
}

BlemishStatus train_trunk(Trunk *trunk, char sha256[65], const BlemishTrainSettings *s, Recipe *recipe, Error *e) {
    TensorFile file;
    if (weights_open(&file, s->backbone, s->weights, sha256, e)) return e->status;
    const BlemishStatus status = trunk_load(trunk, s->backbone, &file, e);
    tensor_file_close(&file);
    /* Features of torchvision's published files have the scale that the paper's noise is for. */
    if (recipe->feature_scale < 0 && weights_published(sha256)) recipe->feature_scale = 1;
    return status;
}

BlemishStatus train_settle(Recipe *recipe, const Manifest *manifest, Error *e) {
    size_t good = count_labelled(manifest, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_GOOD);
    size_t defects = count_labelled(manifest, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT);
    recipe_resolve(recipe, defects > 0);
    if (good == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "data set: found no training image that is labelled good, expected some");
    if (recipe->regime == REGIME_SUPERVISED && defects == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "recipe: train.regime: found supervised, but no training image is labelled defective");
    if (recipe->regime == REGIME_UNSUPERVISED && recipe->mask == MASK_NONE)
        return error_set(
            e, BLEMISH_ERROR_ARGUMENT,
            "recipe: anomaly.mask: found none, but without labelled defects there is nothing else to learn "
            "from");
    if (!recipe->segmentation && !recipe->classification)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "recipe: loss.segmentation: found 0, expected 1 where model.classification is 0");
    return BLEMISH_OK;
}

/* What a model needs besides its trunk and heads. */
static BlemishStatus describe(Model *m, const Recipe *recipe, Error *e) {
    Text t = {0};
    recipe_json(recipe, &t);
    if (t.failed) {
        text_free(&t);
        return error_set(e, BLEMISH_ERROR_MEMORY, "recipe: out of memory");
    }
    m->recipe_json = t.data;
    m->align_corners = recipe->align_corners != 0;
    snprintf(m->regime, sizeof m->regime, "%s", recipe->regime == REGIME_SUPERVISED ? "supervised" : "unsupervised");
    return BLEMISH_OK;
}

/* How images become the network's input. */
static BlemishStatus settle_input(Model *m, const Recipe *recipe, const BlemishImage *roi, Error *e) {
    bool changed;
    m->tiles = recipe->tiles != 0;
    m->tile_overlap = m->tiles ? (float)recipe->tile_overlap : 0;
    if (geometry_make(&m->geometry, recipe->height, recipe->width, m->trunk.c2, m->trunk.c3, e)) return e->status;
    if (!recipe->upscale) geometry_at_layer2(&m->geometry);
    return model_set_roi(m, roi, &changed, e);
}

BlemishStatus train_heads(Model *m, const Manifest *manifest, Recipe *recipe, const BlemishTrainSettings *settings,
                          Error *e) {
    if (settle_input(m, recipe, settings->roi, e)) return e->status;
    const BlemishImage roi = {m->roi, m->geometry.width, m->geometry.height, m->geometry.width, 1};
    BlemishTrainSettings inside = *settings;
    inside.roi = m->roi ? &roi : NULL;
    if (train_run(&m->heads, &m->trunk, manifest, m->fingerprint, recipe, &inside, e)) return e->status;
    return describe(m, recipe, e);
}

static BlemishStatus train(Model *m, const Manifest *manifest, Recipe recipe, const BlemishTrainSettings *settings,
                           Error *e) {
    model_start(m);
    if (train_settle(&recipe, manifest, e) || train_trunk(&m->trunk, m->weights_sha256, settings, &recipe, e))
        return e->status;
    if (manifest_fingerprint(manifest, m->fingerprint, e)) return e->status;
    if (train_heads(m, manifest, &recipe, settings, e) || train_thresholds(m, manifest, settings, e)) return e->status;
    return model_header(m, e);
}

BLEMISH_API BlemishStatus blemish_train(BlemishModel **out, const BlemishDataset *dataset, const BlemishRecipe *recipe,
                                        const BlemishTrainSettings *settings) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishModel *m = *out = handle_new(sizeof *m);
    if (m == NULL) return BLEMISH_ERROR_MEMORY;
    Error *e = &m->error;
    if (dataset == NULL || !dataset->open)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    if (recipe == NULL) return error_null(e, "recipe");
    BlemishTrainSettings s;
    blemish_train_defaults(&s);
    if (settings) s = *settings;
    if (s.backbone == NULL) return error_null(e, "backbone");
    BlemishStatus status = train(&m->model, &dataset->manifest, recipe->recipe, &s, e);
    m->open = status == BLEMISH_OK;
    if (!m->open) model_close(&m->model);
    return status;
}

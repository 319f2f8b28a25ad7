#include "api/api.h"

#include <stdlib.h>

BLEMISH_API BlemishStatus blemish_model_open(BlemishModel **out, const char *path) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishModel *m = *out = handle_new(sizeof *m);
    if (m == NULL) return BLEMISH_ERROR_MEMORY;
    if (path == NULL) return error_null(&m->error, "path");
    BlemishStatus status = model_read(&m->model, path, &m->error);
    m->open = status == BLEMISH_OK;
    return status;
}

/* The trunk and heads of an untrained model; file NULL: test values. */
static BlemishStatus make_untrained(Model *m, const char *backbone, const TensorFile *file, size_t height, size_t width,
                                    Error *e) {
    enum { HIDDEN = 1024 };
    if (trunk_load(&m->trunk, backbone, file, e)) return e->status;
    if (geometry_make(&m->geometry, height, width, m->trunk.c2, m->trunk.c3, e)) return e->status;
    if (heads_open(&m->heads, m->geometry.c, HIDDEN, e)) return e->status;
    if (file ? heads_initialise(&m->heads, 0, e) : heads_fill(&m->heads, e)) return e->status;
    return model_header(m, e);
}

BLEMISH_API BlemishStatus blemish_model_untrained(BlemishModel **out, const char *backbone, const char *weights,
                                                  size_t height, size_t width) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishModel *m = *out = handle_new(sizeof *m);
    if (m == NULL) return BLEMISH_ERROR_MEMORY;
    if (backbone == NULL) return error_null(&m->error, "backbone");
    TensorFile file;
    const bool given = weights || weights_embedded(backbone);
    model_start(&m->model);
    if (given && weights_open(&file, backbone, weights, m->model.weights_sha256, &m->error)) return m->error.status;
    BlemishStatus status = make_untrained(&m->model, backbone, given ? &file : NULL, height, width, &m->error);
    if (given) tensor_file_close(&file);
    m->open = status == BLEMISH_OK;
    if (!m->open) model_close(&m->model);
    return status;
}

static BlemishStatus not_open(BlemishModel *m) {
    return error_set(&m->error, BLEMISH_ERROR_ARGUMENT, "model: found one that failed to open");
}

BLEMISH_API BlemishStatus blemish_model_save(BlemishModel *m, const char *path) {
    if (m == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&m->error);
    if (path == NULL) return error_null(e, "path");
    return m->open ? model_write(&m->model, path, e) : not_open(m);
}

BLEMISH_API BlemishModelInfo blemish_model_info(const BlemishModel *m) {
    if (m == NULL || !m->open)
        return (BlemishModelInfo){.backbone = "", .variant = "", .regime = "", .header_json = "{}"};
    const Model *model = &m->model;
    return (BlemishModelInfo){
        .backbone = model->trunk.backbone,
        .variant = model->heads.icpr ? "icpr" : "jims",
        .regime = model->regime,
        .height = model->geometry.height,
        .width = model->geometry.width,
        .map_height = model->geometry.h,
        .map_width = model->geometry.w,
        .threshold = model->threshold,
        .pixel_threshold = model->pixel_threshold,
        .min_area = model->min_area,
        .border = model->border,
        .roi = {model->roi, model->geometry.width, model->geometry.height, model->geometry.width, 1},
        .roi_share = model_roi_share(model),
        .tiles = model->tiles,
        .tile_overlap = model->tile_overlap,
        .header_json = model->header_json};
}

BLEMISH_API BlemishStatus blemish_model_set_thresholds(BlemishModel *m, float threshold, float pixel_threshold) {
    if (m == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&m->error);
    if (!m->open) return not_open(m);
    const float values[2] = {threshold, pixel_threshold};
    for (int i = 0; i < 2; i++)
        if (!(values[i] >= 0 && values[i] <= 1))
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found %g, expected a number from 0 to 1",
                             i ? "pixel_threshold" : "threshold", (double)values[i]);
    if (calibration_set_by_hand(&m->model.calibration, e)) return e->status;
    m->model.threshold = threshold;
    m->model.pixel_threshold = pixel_threshold;
    return model_header(&m->model, e);
}

static void drop_metrics(Model *m) {
    free(m->metrics_json);
    m->metrics_json = NULL;
}

BLEMISH_API BlemishStatus blemish_model_set_regions(BlemishModel *m, size_t min_area, size_t border) {
    if (m == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&m->error);
    if (!m->open) return not_open(m);
    if (min_area > BLEMISH_MIN_AREA_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "min_area: found %zu, expected 0 to %d pixels", min_area,
                         BLEMISH_MIN_AREA_MAX);
    if (border > BLEMISH_BORDER_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "border: found %zu, expected 0 to %d pixels", border,
                         BLEMISH_BORDER_MAX);
    if (border != m->model.border) {
        if (calibration_set_maps_stale(&m->model.calibration, m->model.heads.map_score, e)) return e->status;
        drop_metrics(&m->model);
    }
    m->model.min_area = min_area;
    m->model.border = border;
    return model_header(&m->model, e);
}

BLEMISH_API BlemishStatus blemish_model_set_roi(BlemishModel *m, const BlemishImage *mask) {
    if (m == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&m->error);
    if (!m->open) return not_open(m);
    bool changed;
    if (model_set_roi(&m->model, mask, &changed, e)) return e->status;
    if (!changed) return BLEMISH_OK;
    if (calibration_set_stale(&m->model.calibration, e)) return e->status;
    drop_metrics(&m->model);
    return model_header(&m->model, e);
}

BLEMISH_API BlemishStatus blemish_model_set_metrics(BlemishModel *m, const BlemishMetrics *v) {
    if (m == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&m->error);
    if (!m->open) return not_open(m);
    if (v == NULL) return error_null(e, "metrics");
    const struct {
        const char *name;
        double value;
    } fields[] = {{"i_auroc", v->i_auroc},
                  {"ap_det", v->ap_det},
                  {"seg_i_auroc", v->seg_i_auroc},
                  {"seg_ap_det", v->seg_ap_det},
                  {"p_auroc", v->p_auroc},
                  {"ap_loc", v->ap_loc},
                  {"aupro", v->aupro},
                  {"best_f1", v->best_f1},
                  {"best_f1_threshold", v->best_f1_threshold},
                  {"pixel_best_f1", v->pixel_best_f1},
                  {"pixel_best_f1_threshold", v->pixel_best_f1_threshold},
                  {"seconds_per_image", v->seconds_per_image}};
    Text t = {0};
    text_format(&t, "{\"images\":%zu,\"defects\":%zu,\"masks\":%zu", v->images, v->defects, v->masks);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        text_format(&t, ",\"%s\":", fields[i].name);
        text_json_number(&t, fields[i].value);
    }
    text_append(&t, "}", 1);
    if (t.failed) {
        text_free(&t);
        return error_set(e, BLEMISH_ERROR_MEMORY, "metrics: out of memory");
    }
    free(m->model.metrics_json);
    m->model.metrics_json = t.data;
    return model_header(&m->model, e);
}

BLEMISH_API const char *blemish_model_error(const BlemishModel *m) {
    return m ? m->error.text : "out of memory";
}

BLEMISH_API void blemish_model_close(BlemishModel *m) {
    if (m == NULL) return;
    model_close(&m->model);
    array_free(m);
}

#include "api/api.h"

BLEMISH_API void blemish_session_defaults(BlemishSessionSettings *settings) {
    if (settings) *settings = (BlemishSessionSettings){.precision = BLEMISH_PRECISION_AUTO, .batch = 1};
}

BLEMISH_API int blemish_threads_default(void) {
    return engine_threads_default();
}

BLEMISH_API BlemishStatus blemish_session_open(BlemishSession **out, const BlemishModel *model,
                                               const BlemishSessionSettings *settings) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishSession *s = *out = handle_new(sizeof *s);
    if (s == NULL) return BLEMISH_ERROR_MEMORY;
    if (model == NULL) return error_null(&s->error, "model");
    if (!model->open)
        return error_set(&s->error, BLEMISH_ERROR_ARGUMENT, "session: model: found one that failed to open");
    BlemishSessionSettings defaults;
    blemish_session_defaults(&defaults);
    BlemishStatus status = session_open(&s->session, &model->model, settings ? settings : &defaults, &s->error);
    s->open = status == BLEMISH_OK;
    return status;
}

/* What every call on a session starts with: is it open, and are these pointers (named in order) there? */
static BlemishStatus begin(BlemishSession *s, const void *a, const char *a_name, const void *b, const char *b_name) {
    if (s == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&s->error);
    if (!s->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "session: found one that failed to open");
    if (a == NULL) return error_null(e, a_name);
    return b ? BLEMISH_OK : error_null(e, b_name);
}

BLEMISH_API BlemishStatus blemish_session_run(BlemishSession *s, const BlemishImage *images, size_t count,
                                              BlemishResult *results) {
    BlemishStatus status = begin(s, images, "images", results, "results");
    return status ? status : session_run(&s->session, images, count, results, &s->error);
}

BLEMISH_API BlemishStatus blemish_session_run_file(BlemishSession *s, const char *path, BlemishResult *result) {
    BlemishStatus status = begin(s, path, "path", result, "result");
    BlemishImage image;
    if (status || (status = image_decode(&image, path, &s->error))) return status;
    status = session_run(&s->session, &image, 1, result, &s->error);
    image_free(&image);
    return status;
}

BLEMISH_API BlemishStatus blemish_session_map_at_image_size(BlemishSession *s, const BlemishResult *result,
                                                            float *map) {
    BlemishStatus status = begin(s, result, "result", map, "map");
    return status ? status : session_large_map(&s->session, result, map, &s->error);
}

BLEMISH_API BlemishStatus blemish_session_regions(BlemishSession *s, const BlemishResult *result,
                                                  const BlemishRegion **regions, size_t *count) {
    BlemishStatus status = begin(s, result, "result", regions, "regions");
    if (status) return status;
    if (count == NULL) return error_null(&s->error, "count");
    Regions *found = &s->session.regions;
    status = session_regions(&s->session, result, found, &s->error);
    *regions = status ? NULL : found->list;
    *count = status ? 0 : found->count;
    return status;
}

BLEMISH_API BlemishStatus blemish_session_write_overlay(BlemishSession *s, const BlemishImage *image,
                                                        const BlemishResult *result, const char *path) {
    BlemishStatus status = begin(s, image, "image", result, "result");
    if (status) return status;
    if (path == NULL) return error_null(&s->error, "path");
    BlemishImage overlay;
    status = session_overlay(&s->session, image, result, &overlay, &s->error);
    if (status) return status;
    status = image_write_png(&overlay, path, &s->error);
    image_free(&overlay);
    return status;
}

BLEMISH_API BlemishStatus blemish_session_write_map(BlemishSession *s, const BlemishResult *result, const char *path) {
    BlemishStatus status = begin(s, result, "result", path, "path");
    return status ? status : session_write_map(&s->session, result, path, &s->error);
}

BLEMISH_API const char *blemish_session_error(const BlemishSession *s) {
    return s ? s->error.text : "out of memory";
}

BLEMISH_API void blemish_session_close(BlemishSession *s) {
    if (s == NULL) return;
    session_close(&s->session);
    for (int i = 0; i < BLEMISH_CURVES; i++) curve_close(&s->curves[i]);
    array_free(s->pixels_resampled);
    array_free(s);
}

BLEMISH_API BlemishStatus blemish_session_set_profile(BlemishSession *s, int on) {
    BlemishStatus status = begin(s, s, "session", s, "session");
    if (status == BLEMISH_OK) session_set_profile(&s->session, on != 0);
    return status;
}

BLEMISH_API size_t blemish_session_profile(const BlemishSession *s, const BlemishStage **stages) {
    const bool open = s && s->open;
    if (stages) *stages = open ? s->session.profile.stages : NULL;
    return open ? s->session.profile.count : 0;
}

BLEMISH_API BlemishStatus blemish_peak_measure(int threads, BlemishPeak *peak, char *error) {
    Error e = {0};
    if (peak == NULL)
        error_null(&e, "peak");
    else
        peak_measure(threads, peak, &e);
    return error_report(&e, error);
}

BLEMISH_API BlemishSessionCost blemish_session_cost(const BlemishSession *s) {
    return s && s->open ? session_cost(&s->session) : (BlemishSessionCost){.precision = ""};
}

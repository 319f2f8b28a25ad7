#include "api/api.h"

BLEMISH_API void blemish_surface_defaults(BlemishSurfaceSettings *settings) {
    if (settings) *settings = (BlemishSurfaceSettings){.seed = 1, .width = 128, .height = 128, .nuisance = 1};
}

BLEMISH_API const char *blemish_surface_family(size_t index) {
    return index < SURFACE_FAMILIES ? surface_families[index].name : NULL;
}

BLEMISH_API const char *blemish_surface_defect(size_t index) {
    return flaw_name(index);
}

/* The caller's settings or the defaults, checked. */
static BlemishStatus settle(BlemishSurfaceSettings *to, const BlemishSurfaceSettings *from, Error *e) {
    blemish_surface_defaults(to);
    if (from) *to = *from;
    if (surface_settings_check(to, e) != BLEMISH_OK) return e->status;
    if (to->threads == 0) to->threads = engine_threads_default();
    return BLEMISH_OK;
}

BLEMISH_API BlemishStatus blemish_surface_images(const BlemishSurfaceSettings *settings, size_t count,
                                                 const uint64_t *programs, const uint64_t *samples,
                                                 const int32_t *defects, uint8_t *rgb, uint8_t *masks, char *error) {
    Error e = {0};
    BlemishSurfaceSettings s;
    if (count > 0 && (programs == NULL || samples == NULL || rgb == NULL))
        error_null(&e, programs == NULL ? "programs" : samples == NULL ? "samples" : "rgb");
    else if (settle(&s, settings, &e) == BLEMISH_OK)
        surface_images(&s, count, programs, samples, defects, rgb, masks, &e);
    return error_report(&e, error);
}

BLEMISH_API BlemishStatus blemish_surface_sheet(const BlemishSurfaceSettings *settings, const char *path, char *error) {
    Error e = {0};
    BlemishSurfaceSettings s;
    if (path == NULL)
        error_null(&e, "path");
    else if (settle(&s, settings, &e) == BLEMISH_OK)
        surface_sheet(&s, path, &e);
    return error_report(&e, error);
}

#include "api/api.h"

BLEMISH_API BlemishStatus blemish_gallery_new(BlemishGallery **out, size_t tile_pixels, size_t columns) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishGallery *g = *out = handle_new(sizeof *g);
    if (g == NULL) return BLEMISH_ERROR_MEMORY;
    BlemishStatus status = gallery_open(&g->gallery, tile_pixels, columns, &g->error);
    g->open = status == BLEMISH_OK;
    return status;
}

static BlemishStatus begin(BlemishGallery *g, const void *argument, const char *name) {
    if (g == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&g->error);
    if (!g->open) return error_set(e, BLEMISH_ERROR_ARGUMENT, "gallery: found one that failed to open");
    return argument ? BLEMISH_OK : error_null(e, name);
}

BLEMISH_API BlemishStatus blemish_gallery_add(BlemishGallery *g, const BlemishEvaluated *evaluated) {
    BlemishStatus status = begin(g, evaluated, "evaluated");
    return status ? status : gallery_add(&g->gallery, evaluated, &g->error);
}

BLEMISH_API BlemishStatus blemish_gallery_write(BlemishGallery *g, const char *png_path) {
    BlemishStatus status = begin(g, png_path, "png_path");
    return status ? status : gallery_write(&g->gallery, png_path, &g->error);
}

BLEMISH_API const char *blemish_gallery_error(const BlemishGallery *g) {
    return g ? g->error.text : "out of memory";
}

BLEMISH_API void blemish_gallery_close(BlemishGallery *g) {
    if (g == NULL) return;
    gallery_close(&g->gallery);
    array_free(g);
}

/* Many pictures at once, spread over threads: each depends on its own numbers only. */
#include "data/surfaces.h"

#include <omp.h>
#include <string.h>

enum { SIDE_MAX = 8192, THREADS_MAX = 1024 };

BlemishStatus surface_settings_check(BlemishSurfaceSettings *s, Error *e) {
    if (s->width < 1 || s->height < 1 || s->width > SIDE_MAX || s->height > SIDE_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "size: found %zu x %zu, expected 1 to %d pixels a side", s->width,
                         s->height, SIDE_MAX);
    if (s->families & ~SURFACE_ALL)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "families: found bits %#llx, expected none above the first %d",
                         (unsigned long long)s->families, SURFACE_FAMILIES);
    if (!(s->nuisance >= 0 && s->nuisance <= 1))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "nuisance: found %g, expected 0 to 1", (double)s->nuisance);
    if (s->threads < 0 || s->threads > THREADS_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "threads: found %d, expected 0 to %d", s->threads, THREADS_MAX);
    if (s->families == 0) s->families = SURFACE_ALL;
    return BLEMISH_OK;
}

static void paint(SurfaceCanvas *c, const BlemishSurfaceSettings *s, uint64_t program, uint64_t sample, int32_t defect,
                  uint8_t *rgb, uint8_t *mask) {
    const SurfaceProgram p = surface_program(s->seed, s->families, program);
    const SurfaceSample one = surface_sample(&p, sample, s->nuisance, s->width, s->height);
    if (defect >= 0) {
        surface_paint_flawed(c, &p, &one, (size_t)defect, sample, rgb, mask ? mask : c->mask);
        return;
    }
    surface_paint_sample(c, &p, &one, NULL, rgb);
    if (mask) memset(mask, 0, s->width * s->height);
}

BlemishStatus surface_images(const BlemishSurfaceSettings *s, size_t count, const uint64_t *programs,
                             const uint64_t *samples, const int32_t *defects, uint8_t *rgb, uint8_t *masks, Error *e) {
    for (size_t i = 0; defects && i < count; i++)
        if (defects[i] >= FLAW_FAMILIES)
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "defects[%zu]: found %d, expected at most %d", i,
                             (int)defects[i], FLAW_FAMILIES - 1);
    if (count == 0) return BLEMISH_OK;
    const size_t threads = (size_t)s->threads < count ? (size_t)s->threads : count, pixels = s->width * s->height;
    SurfaceCanvas *canvases = array_new(threads, sizeof *canvases, e);
    if (canvases == NULL) return e->status;
    for (size_t i = 0; e->status == BLEMISH_OK && i < threads; i++)
        surface_canvas_open(&canvases[i], s->width, s->height, e);
    if (e->status == BLEMISH_OK) {
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
        for (size_t i = 0; i < count; i++)
            paint(&canvases[omp_get_thread_num()], s, programs[i], samples[i], defects ? defects[i] : -1,
                  rgb + 3 * pixels * i, masks ? masks + pixels * i : NULL);
    }
    for (size_t i = 0; i < threads; i++) surface_canvas_close(&canvases[i]);
    array_free(canvases);
    return e->status;
}

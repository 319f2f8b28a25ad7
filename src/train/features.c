#include "train/features.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BACKBONE_BATCH = 8 };

/* ---- storage --------------------------------------------------------------------------------------------- */

/* The space is reserved at once, so that a full disk is an error here and not a signal later. */
static BlemishStatus map_file(Features *f, const char *dir, Error *e) {
    char path[4096];
    if (dir == NULL) dir = getenv("TMPDIR");
    if (dir == NULL || dir[0] == '\0') dir = "/tmp";
    snprintf(path, sizeof path, "%s/blemish-features-XXXXXX", dir);
    const int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return error_errno(e, "%s: cannot create the feature cache in this folder", dir);
    unlink(path);
    const int failed = posix_fallocate(fd, 0, (off_t)f->mapped_bytes);
    if (failed) {
        close(fd);
        errno = failed;
        return error_errno(e, "%s: cannot reserve %zu MB for the feature cache in this folder", dir,
                           f->mapped_bytes >> 20);
    }
    void *p = mmap(NULL, f->mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        error_errno(e, "%s: cannot map the feature cache in this folder", dir);
    else
        f->mapped = p;
    close(fd);
    return f->mapped ? BLEMISH_OK : e->status;
}

static BlemishStatus reserve(Features *f, const FeatureSettings *settings, Error *e) {
    const size_t entry = (f->size2 + f->size3) * sizeof(uint16_t);
    size_t bytes;
    if (!size_mul(entry, f->count, &bytes))
        return error_set(e, BLEMISH_ERROR_MEMORY, "the feature cache: %zu entries of %zu bytes are too large", f->count,
                         entry);
    f->in_memory = settings->cache_mb > bytes >> 20 ? f->count : (settings->cache_mb << 20) / entry;
    if (f->in_memory) {
        f->memory = array_new(f->in_memory, entry, e);
        if (f->memory == NULL) return e->status;
    }
    f->mapped_bytes = (f->count - f->in_memory) * entry;
    return f->mapped_bytes ? map_file(f, settings->cache_dir, e) : BLEMISH_OK;
}

static uint16_t *entry_at(const Features *f, size_t i) {
    const size_t size = f->size2 + f->size3;
    return i < f->in_memory ? f->memory + i * size : f->mapped + (i - f->in_memory) * size;
}

static void close_backbone(Features *f) {
    backbone_close(f->backbone);
    f->backbone = NULL;
    image_free(&f->image);
    f->path = NULL;
    array_free(f->scratch);
    f->scratch = NULL;
}

void features_close(Features *f) {
    close_backbone(f);
    array_free(f->memory);
    if (f->mapped) munmap(f->mapped, f->mapped_bytes);
    *f = (Features){0};
}

/* ---- filling --------------------------------------------------------------------------------------------- */

/* Decodes the image of the first source for it and those after it that show the same one. */
static BlemishStatus load_views(const Features *f, const FeatureSource *sources, size_t n, float *input, Error *e) {
    const size_t size = f->height * f->width * 3;
    BlemishImage image;
    if (image_decode(&image, sources->path, e)) return e->status;
    for (size_t k = 0; k < n && strcmp(sources[k].path, sources->path) == 0; k++)
        if (augment_image(&sources[k].view, &image, f->roi, f->height, f->width, input + k * size, e)) break;
    image_free(&image);
    return e->status;
}

static BlemishStatus hold_image(Features *f, const char *path, Error *e) {
    if (f->path && strcmp(f->path, path) == 0) return BLEMISH_OK;
    image_free(&f->image);
    f->path = NULL;
    if (image_decode(&f->image, path, e)) return e->status;
    f->path = path;
    return BLEMISH_OK;
}

/* The tiles of an image follow one another: it is decoded for the first of them. */
static BlemishStatus load_tile(Features *f, const FeatureSource *source, float *input, Error *e) {
    const Tile *tile = &source->tile;
    if (hold_image(f, source->path, e)) return e->status;
    if (tile->y >= f->image.height || tile->x >= f->image.width)
        return error_set(e, BLEMISH_ERROR_IO, "%s: found %zux%zu pixels, fewer than when it was read first",
                         source->path, f->image.height, f->image.width);
    if (f->scratch == NULL && (f->scratch = array_new(f->height * f->width, 3, e)) == NULL) return e->status;
    const BlemishImage window = image_window(&f->image, tile->y, tile->x, f->height, f->width, f->scratch);
    return augment_image(&source->view, &window, NULL, f->height, f->width, input, e);
}

/* The batch's inputs, whole images side by side; the error is that of the first one that fails, whatever the threads.
 */
static BlemishStatus load_batch(Features *f, const FeatureSource *sources, size_t n, Error *e) {
    const size_t size = f->height * f->width * 3;
    float *input = backbone_input(f->backbone);
    Error errors[BACKBONE_BATCH] = {0};
#pragma omp parallel for schedule(dynamic)
    for (size_t k = 0; k < n; k++)
        if (!sources[k].tile.cut && (k == 0 || strcmp(sources[k - 1].path, sources[k].path)))
            load_views(f, sources + k, n - k, input + k * size, &errors[k]);
    for (size_t k = 0; k < n; k++) {
        if (sources[k].tile.cut) load_tile(f, &sources[k], input + k * size, &errors[k]);
        if (errors[k].status == BLEMISH_OK) continue;
        *e = errors[k];
        return e->status;
    }
    return BLEMISH_OK;
}

/* One map of an entry, which the backbone made in fp32 or in bfloat16. */
static void keep(const Features *f, const void *maps, size_t k, size_t size, uint16_t *entry) {
    if (f->type == ELEMENT_BF16)
        memcpy(entry, (const uint16_t *)maps + k * size, size * sizeof *entry);
    else
        kernels()->to_bf16((const float *)maps + k * size, size, entry);
}

/* Entries first to first + n - 1, at most a batch. */
static BlemishStatus compute(Features *f, size_t first, size_t n, const FeatureSource *sources, Error *e) {
    if (load_batch(f, sources, n, e)) return e->status;
    engine_lap(f->engine, "decode");
    const void *f2, *f3;
    if (backbone_run(f->backbone, &f2, &f3, e)) return e->status;
    for (size_t k = 0; k < n; k++) {
        keep(f, f2, k, f->size2, entry_at(f, first + k));
        keep(f, f3, k, f->size3, entry_at(f, first + k) + f->size2);
    }
    engine_lap(f->engine, "keep features");
    return BLEMISH_OK;
}

static BlemishStatus report(const FeatureSettings *settings, size_t done, size_t total, double start, Error *e) {
    if (settings->progress == NULL) return BLEMISH_OK;
    const double seconds = now_seconds() - start, rate = seconds > 0 ? (double)done / seconds : 0;
    const BlemishProgress p = {.stage = "features",
                               .done = done,
                               .total = total,
                               .loss = NAN,
                               .items_per_second = rate,
                               .seconds_left = rate > 0 ? (double)(total - done) / rate : -1};
    if (settings->progress(settings->progress_user, &p) == 0) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_INTERRUPTED, "stopped while computing features");
}

static BlemishStatus fill(Features *f, const FeatureSource *sources, const FeatureSettings *settings, Error *e) {
    const double start = now_seconds();
    for (size_t i = 0; i < f->count; i += BACKBONE_BATCH) {
        const size_t n = f->count - i < BACKBONE_BATCH ? f->count - i : BACKBONE_BATCH;
        if (report(settings, i, f->count, start, e) || compute(f, i, n, sources + i, e)) return e->status;
    }
    return report(settings, f->count, f->count, start, e);
}

static BlemishStatus open_empty(Features *f, Engine *engine, const Trunk *trunk, const Geometry *g, size_t count,
                                const FeatureSettings *settings, Error *e) {
    e->status = BLEMISH_OK;
    *f = (Features){.count = count,
                    .engine = engine,
                    .type = settings->bf16 ? ELEMENT_BF16 : ELEMENT_F32,
                    .size2 = g->h2 * g->w2 * g->c2,
                    .size3 = g->h3 * g->w3 * g->c3,
                    .height = g->height,
                    .width = g->width,
                    .roi = settings->roi};
    if (reserve(f, settings, e)) return e->status;
    backbone_open(&f->backbone, engine, trunk, f->type, BACKBONE_BATCH, g->height, g->width, e);
    engine_lap(engine, "open backbone");
    return e->status;
}

BlemishStatus features_open(Features *f, Engine *engine, const Trunk *trunk, const Geometry *g,
                            const FeatureSource *sources, size_t count, const FeatureSettings *settings, Error *e) {
    if (open_empty(f, engine, trunk, g, count, settings, e) == BLEMISH_OK) fill(f, sources, settings, e);
    close_backbone(f);
    if (e->status != BLEMISH_OK) features_close(f);
    return e->status;
}

BlemishStatus features_open_empty(Features *f, Engine *engine, const Trunk *trunk, const Geometry *g, size_t count,
                                  bool bf16, const BlemishImage *roi, Error *e) {
    const FeatureSettings in_memory = {.cache_mb = SIZE_MAX, .bf16 = bf16, .roi = roi};
    if (open_empty(f, engine, trunk, g, count, &in_memory, e)) features_close(f);
    return e->status;
}

BlemishStatus features_renew(Features *f, const FeatureSource *sources, size_t count, Error *e) {
    for (size_t i = 0; i < count; i += BACKBONE_BATCH)
        if (compute(f, i, count - i < BACKBONE_BATCH ? count - i : BACKBONE_BATCH, sources + i, e)) return e->status;
    return BLEMISH_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------- */

void features_get(const Features *f, size_t i, float scale, float *f2, float *f3) {
    const uint16_t *entry = entry_at(f, i);
    kernels()->from_bf16(entry, f->size2, f2);
    kernels()->from_bf16(entry + f->size2, f->size3, f3);
    for (size_t k = 0; k < f->size2; k++) f2[k] *= scale;
    for (size_t k = 0; k < f->size3; k++) f3[k] *= scale;
}

/* Adds to sum and square (channels each) over (pixels, channels). */
static void add_moments(const float *values, size_t pixels, size_t channels, double *sum, double *square) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < channels; c++) {
            const double v = (double)values[i * channels + c];
            sum[c] += v;
            square[c] += v * v;
        }
}

static double deviation(double sum, double square, size_t n) {
    const double mean = sum / (double)n;
    return sqrt(fmax(square / (double)n - mean * mean, 0.0));
}

BlemishStatus features_deviation(const Features *f, size_t count, const Geometry *g, double *out, Error *e) {
    const size_t n2 = g->h2 * g->w2, n3 = g->h3 * g->w3;
    e->status = BLEMISH_OK;
    float *f2 = array_new(f->size2, sizeof *f2, e), *f3 = array_new(f->size3, sizeof *f3, e);
    double *moments = array_new(2 * g->c, sizeof *moments, e), *square = moments ? moments + g->c : NULL;
    if (f2 && f3 && moments) {
        for (size_t i = 0; i < count; i++) {
            features_get(f, i, 1.0f, f2, f3);
            add_moments(f2, n2, g->c2, moments, square);
            add_moments(f3, n3, g->c3, moments + g->c2, square + g->c2);
        }
        *out = 0;
        for (size_t c = 0; c < g->c; c++)
            *out += deviation(moments[c], square[c], count * (c < g->c2 ? n2 : n3)) / (double)g->c;
    }
    array_free(f2), array_free(f3), array_free(moments);
    return e->status;
}

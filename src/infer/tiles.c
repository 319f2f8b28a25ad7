#include "infer/infer.h"

#include <string.h>

BlemishStatus tiling_open(Tiling *t, size_t batch, const Geometry *g, float overlap, Error *e) {
    *t = (Tiling){.on = true, .overlap = overlap};
    e->status = BLEMISH_OK;
    t->windows = array_new(batch, sizeof *t->windows, e);
    t->results = array_new(batch, sizeof *t->results, e);
    t->weight_y = array_new(g->height, sizeof *t->weight_y, e);
    t->weight_x = array_new(g->width, sizeof *t->weight_x, e);
    t->maps = array_new(batch, sizeof *t->maps, e);
    t->map_pixels = array_new(batch, sizeof *t->map_pixels, e);
    return e->status;
}

void tiling_close(Tiling *t, size_t batch) {
    for (size_t i = 0; t->maps && i < batch; i++) array_free(t->maps[i]);
    array_free(t->windows), array_free(t->results), array_free(t->scratch), array_free(t->weight_y);
    array_free(t->weight_x), array_free(t->maps), array_free(t->map_pixels);
    *t = (Tiling){0};
}

/* The place of an image's map, of zeros. */
static float *blank_map(Tiling *t, size_t index, const BlemishImage *image, Error *e) {
    size_t pixels;
    if (!size_mul(image->height, image->width, &pixels) || pixels > UINT32_MAX) {
        error_set(e, BLEMISH_ERROR_MEMORY, "image %zu: found %zux%zu, expected fewer than 2^32 pixels", index,
                  image->height, image->width);
        return NULL;
    }
    if (pixels > t->map_pixels[index]) {
        array_free(t->maps[index]);
        t->map_pixels[index] = 0;
        t->maps[index] = array_new(pixels, sizeof(float), e);
        t->map_pixels[index] = t->maps[index] ? pixels : 0;
    } else {
        memset(t->maps[index], 0, pixels * sizeof(float));
    }
    return t->maps[index];
}

/* The tiles from number `first` on, in raster order, as images. */
static BlemishStatus cut(Session *s, const BlemishImage *image, const TileGrid *grid, size_t first, size_t count,
                         Error *e) {
    Tiling *t = &s->tiling;
    const size_t height = grid->y.tile, width = grid->x.tile,
                 bytes = height * width * 3; /* times the batch: as many as the maps' floats, which fit */
    if (t->scratch == NULL && (image->height < height || image->width < width) &&
        (t->scratch = array_new(s->batch, bytes, e)) == NULL)
        return e->status;
    for (size_t i = 0; i < count; i++)
        t->windows[i] = tile_window(grid, first + i, image, t->scratch ? t->scratch + i * bytes : NULL);
    return BLEMISH_OK;
}

/* Adds a tile's map to the image's. */
static void blend(Tiling *t, const TileGrid *grid, size_t tile, const float *from, float *map) {
    const TileAxis *ys = &grid->y, *xs = &grid->x;
    size_t top, left;
    tile_place(grid, tile, &top, &left);
    const size_t height = ys->length < ys->tile ? ys->length : ys->tile;
    const size_t width = xs->length < xs->tile ? xs->length : xs->tile;
    tile_weights(ys, tile / xs->count, t->weight_y);
    tile_weights(xs, tile % xs->count, t->weight_x);
#pragma omp parallel for schedule(static)
    for (size_t y = 0; y < height; y++) {
        float *restrict row = map + (top + y) * xs->length + left;
        const float *restrict value = from + y * xs->tile, *restrict weight = t->weight_x, down = t->weight_y[y];
        for (size_t x = 0; x < width; x++) row[x] += down * weight[x] * value[x];
    }
}

/* The largest value; those that rounding has brought above 1 become 1. */
static float finish(float *map, size_t pixels) {
    float largest = 0;
#pragma omp parallel for schedule(static) reduction(max : largest)
    for (size_t i = 0; i < pixels; i++) {
        map[i] = map[i] > 1 ? 1 : map[i];
        largest = map[i] > largest ? map[i] : largest;
    }
    return largest;
}

BlemishStatus tiling_run(Session *s, const BlemishImage *image, size_t index, BlemishResult *result, Error *e) {
    Tiling *t = &s->tiling;
    const Geometry *g = &s->model->geometry;
    const TileGrid grid = tile_grid(image->height, image->width, g->height, g->width, t->overlap);
    float *map = blank_map(t, index, image, e), score = 0;
    if (map == NULL) return e->status;
    for (size_t first = 0; first < grid.count; first += s->batch) {
        const size_t count = grid.count - first < s->batch ? grid.count - first : s->batch;
        if (cut(s, image, &grid, first, count, e) || session_forward(s, t->windows, count, t->results, e))
            return e->status;
        for (size_t i = 0; i < count; i++) {
            blend(t, &grid, first + i, t->results[i].map, map);
            score = t->results[i].score > score ? t->results[i].score : score;
        }
        engine_lap(s->engine, "blend tiles");
    }
    const float map_max = finish(map, image->height * image->width);
    *result = (BlemishResult){.score = s->model->heads.map_score ? map_max : score,
                              .map_max = map_max,
                              .map = map,
                              .map_width = image->width,
                              .map_height = image->height,
                              .image_width = image->width,
                              .image_height = image->height};
    return BLEMISH_OK;
}

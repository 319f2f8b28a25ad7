#include "infer/infer.h"

#include <string.h>

enum { PARTS = 3, GAP = 4, TILE_MIN = 16, TILE_MAX = 2048, COLUMNS_MAX = 64 };

static const uint8_t white[3] = {255, 255, 255}, right[3] = {40, 160, 60}, wrong[3] = {220, 30, 30};

BlemishStatus gallery_open(Gallery *g, size_t tile, size_t columns, Error *e) {
    *g = (Gallery){.tile = tile, .columns = columns};
    if (tile < TILE_MIN || tile > TILE_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "gallery: tile: found %zu pixels, expected %d to %d", tile,
                         TILE_MIN, TILE_MAX);
    if (columns < 1 || columns > COLUMNS_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "gallery: columns: found %zu, expected 1 to %d", columns,
                         COLUMNS_MAX);
    return BLEMISH_OK;
}

/* ---- one row --------------------------------------------------------------------------------------------- */

static BlemishStatus blank(BlemishImage *out, size_t width, size_t height, Error *e) {
    if (image_new(out, width, height, 3, e)) return e->status;
    memset(image_pixels(out), 255, out->stride * height);
    return BLEMISH_OK;
}

/* The evaluated image, its mask and its map in one size: the largest that fits a tile in the image's shape. */
typedef struct Tile {
    size_t width, height;
    BlemishImage image, truth, heat;
    uint8_t *mask;
    float *map;
} Tile;

static void tile_close(Tile *t) {
    image_free(&t->image);
    image_free(&t->truth);
    image_free(&t->heat);
    array_free(t->mask);
    array_free(t->map);
}

static void fit(Tile *t, size_t tile, size_t width, size_t height) {
    double scale = (double)tile / (double)(width > height ? width : height);
    t->width = (size_t)((double)width * scale + 0.5);
    t->height = (size_t)((double)height * scale + 0.5);
    if (t->width < 1) t->width = 1;
    if (t->height < 1) t->height = 1;
}

/* White where defective, black elsewhere. A defect whose place nobody marked leaves the tile empty. */
static BlemishStatus draw_truth(Tile *t, const BlemishEvaluated *v, Error *e) {
    bool unmarked = v->mask == NULL && v->sample.label != BLEMISH_LABEL_GOOD;
    if (blank(&t->truth, t->width, t->height, e)) return e->status;
    if (unmarked) return BLEMISH_OK;
    for (size_t y = 0; y < t->height; y++)
        for (size_t x = 0; x < t->width; x++)
            memset(image_pixels(&t->truth) + y * t->truth.stride + 3 * x, t->mask[y * t->width + x] ? 255 : 0, 3);
    return BLEMISH_OK;
}

static BlemishStatus tile_open(Tile *t, size_t side, const BlemishEvaluated *v, Error *e) {
    const BlemishResult *r = &v->result;
    *t = (Tile){0};
    fit(t, side, v->image.width, v->image.height);
    t->mask = array_new(t->width * t->height, sizeof *t->mask, e);
    t->map = array_new(t->width * t->height, sizeof *t->map, e);
    if (t->mask == NULL || t->map == NULL) return e->status;
    if (v->mask) mask_resize_nearest(v->mask, r->map_height, r->map_width, t->mask, t->height, t->width);
    plane_resize_bilinear(r->map, r->map_height, r->map_width, t->map, t->height, t->width);
    if (image_resize(&v->image, t->width, t->height, &t->image, e) || draw_truth(t, v, e)) return e->status;
    Regions none = {0};
    if (overlay_draw(&t->heat, &t->image, t->map, &none, roi_of_evaluated(v), e)) return e->status;
    if (v->mask) draw_contour(&t->heat, t->mask, white);
    if (v->sample.label != BLEMISH_LABEL_UNKNOWN) { /* the frame says whether the verdict was right */
        bool agrees = (v->sample.label == BLEMISH_LABEL_DEFECT) == (r->defect != 0);
        draw_rectangle(&t->heat, 0, 0, t->width, t->height, 1 + side / 64, agrees ? right : wrong);
    }
    return BLEMISH_OK;
}

static BlemishStatus reserve_row(Gallery *g, Error *e) {
    if (g->count < g->capacity) return BLEMISH_OK;
    size_t capacity = g->capacity ? 2 * g->capacity : 16;
    BlemishImage *rows = array_new(capacity, sizeof *rows, e);
    if (rows == NULL) return e->status;
    if (g->count) memcpy(rows, g->rows, g->count * sizeof *rows);
    array_free(g->rows);
    g->rows = rows;
    g->capacity = capacity;
    return BLEMISH_OK;
}

BlemishStatus gallery_add(Gallery *g, const BlemishEvaluated *evaluated, Error *e) {
    Tile t;
    if (reserve_row(g, e)) return e->status;
    BlemishImage *row = &g->rows[g->count];
    BlemishStatus status = tile_open(&t, g->tile, evaluated, e);
    if (status == BLEMISH_OK) status = blank(row, PARTS * g->tile + (PARTS - 1) * GAP, g->tile, e);
    if (status == BLEMISH_OK) {
        const BlemishImage *parts[PARTS] = {&t.image, &t.truth, &t.heat};
        for (size_t i = 0; i < PARTS; i++)
            draw_image(row, parts[i], i * (g->tile + GAP) + (g->tile - t.width) / 2, (g->tile - t.height) / 2);
        g->count++;
    }
    tile_close(&t);
    return status;
}

/* ---- the picture ----------------------------------------------------------------------------------------- */

BlemishStatus gallery_write(const Gallery *g, const char *path, Error *e) {
    if (g->count == 0) return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: gallery: found no image to write", path);
    size_t columns = g->columns < g->count ? g->columns : g->count, rows = (g->count + columns - 1) / columns;
    size_t step_x = g->rows[0].width + 4 * GAP, step_y = g->tile + GAP;
    if (rows > IMAGE_SIDE_MAX / step_y || columns > IMAGE_SIDE_MAX / step_x ||
        rows * step_y > IMAGE_PIXELS_MAX / (columns * step_x))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: gallery: found %zu images, expected fewer or smaller tiles",
                         path, g->count);
    BlemishImage picture;
    if (blank(&picture, columns * step_x, rows * step_y, e)) return e->status;
    for (size_t i = 0; i < g->count; i++)
        draw_image(&picture, &g->rows[i], 2 * GAP + i % columns * step_x, GAP / 2 + i / columns * step_y);
    BlemishStatus status = image_write_png(&picture, path, e);
    image_free(&picture);
    return status;
}

void gallery_close(Gallery *g) {
    for (size_t i = 0; i < g->count; i++) image_free(&g->rows[i]);
    array_free(g->rows);
    *g = (Gallery){0};
}

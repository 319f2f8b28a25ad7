#include "train/pieces.h"

#include <string.h>

/* ---- masks ----------------------------------------------------------------------------------------------- */

void piece_masks_close(PieceMasks *m) {
    mask_reader_close(&m->reader);
    image_free(&m->whole);
    m->path = NULL;
}

/* m->whole becomes the sample's mask at its image's size. */
static BlemishStatus load_whole(PieceMasks *m, const Sample *sample, Error *e) {
    size_t width, height;
    BlemishImage mask;
    if (m->path == sample->mask_path) return BLEMISH_OK;
    image_free(&m->whole);
    m->path = NULL;
    if (mask_read(&m->reader, sample->mask_path, sample->path, &mask, e)) return e->status;
    if (mask.data && image_probe(sample->path, &width, &height, e) == BLEMISH_OK &&
        image_new(&m->whole, width, height, 1, e) == BLEMISH_OK)
        mask_resize_nearest(mask.data, mask.height, mask.width, image_pixels(&m->whole), height, width);
    const bool failed = mask.data && m->whole.data == NULL;
    image_free(&mask);
    if (failed) return e->status;
    m->path = sample->mask_path;
    return BLEMISH_OK;
}

BlemishStatus piece_mask(PieceMasks *m, const Sample *sample, size_t height, size_t width, BlemishImage *mask,
                         Error *e) {
    *mask = (BlemishImage){0};
    if (sample->mask_path == NULL) return BLEMISH_OK;
    if (!sample->tile.cut) return mask_read(&m->reader, sample->mask_path, sample->path, mask, e);
    if (load_whole(m, sample, e) || m->whole.data == NULL || image_new(mask, width, height, 1, e)) return e->status;
    const BlemishImage window =
        image_window(&m->whole, sample->tile.y, sample->tile.x, height, width, image_pixels(mask));
    for (size_t y = 0; y < height && window.data != mask->data; y++)
        memcpy(image_pixels(mask) + y * width, window.data + y * window.stride, width);
    return BLEMISH_OK;
}

/* ---- tiles ----------------------------------------------------------------------------------------------- */

static BlemishStatus grid_make(TileGrid *grid, const Sample *sample, const Geometry *g, const Recipe *recipe,
                               Error *e) {
    size_t width, height;
    if (image_probe(sample->path, &width, &height, e)) return e->status;
    *grid = tile_grid(height, width, g->height, g->width, (float)recipe->tile_overlap);
    return BLEMISH_OK;
}

/* From where to where tile i reaches on its axis; `inside`: up to the margin from the edges that are not the image's.
 */
static void span(const TileAxis *a, size_t i, size_t overlap, bool inside, size_t *first, size_t *end) {
    const size_t half = overlap / 2, margin = inside ? (half < TILE_MARGIN ? half : TILE_MARGIN) : 0;
    const size_t last = tile_first(a, i) + a->tile;
    *first = tile_first(a, i) + (i ? margin : 0);
    *end = last < a->length ? last - margin : a->length;
}

/* Whether a pixel of the mask is set in the tile, so far inside. */
static bool is_marked(const BlemishImage *mask, const TileGrid *grid, size_t tile, bool inside) {
    size_t y, bottom, x, right;
    span(&grid->y, tile / grid->x.count, grid->overlap_y, inside, &y, &bottom);
    span(&grid->x, tile % grid->x.count, grid->overlap_x, inside, &x, &right);
    for (; y < bottom; y++)
        if (memchr(mask->data + y * mask->stride + x, 1, right - x)) return true;
    return false;
}

/* Makes room for `more` tiles. */
static BlemishStatus reserve(Pieces *p, size_t *capacity, size_t more, Error *e) {
    const size_t count = p->normals + p->anomalies;
    size_t needed;
    if (!size_add(count, more, &needed)) return error_set(e, BLEMISH_ERROR_MEMORY, "tiles: found more than memory");
    if (needed <= *capacity) return BLEMISH_OK;
    Sample *larger = array_new(needed + needed / 2, sizeof *larger, e);
    if (larger == NULL) return e->status;
    if (count) memcpy(larger, p->owned, count * sizeof *larger);
    array_free(p->owned);
    p->owned = larger;
    *capacity = needed + needed / 2;
    return BLEMISH_OK;
}

/* Adds the tiles of one image, whose place in p->owned does not depend on their label yet. */
static BlemishStatus add_tiles(Pieces *p, size_t *capacity, PieceMasks *masks, const Sample *sample, const Geometry *g,
                               const Recipe *recipe, Error *e) {
    TileGrid grid;
    const bool good = sample->label == BLEMISH_LABEL_GOOD;
    if (!good && sample->mask_path == NULL) return BLEMISH_OK;
    if (!good && (load_whole(masks, sample, e) || masks->whole.data == NULL)) return e->status;
    if (grid_make(&grid, sample, g, recipe, e) || reserve(p, capacity, grid.count, e)) return e->status;
    for (size_t i = 0; i < grid.count; i++) {
        const bool clean = good || !is_marked(&masks->whole, &grid, i, false);
        if (!clean && !is_marked(&masks->whole, &grid, i, true)) continue;
        Sample *piece = &p->owned[p->normals + p->anomalies];
        *piece = *sample;
        piece->tile.cut = true;
        tile_place(&grid, i, &piece->tile.y, &piece->tile.x);
        piece->label = clean ? BLEMISH_LABEL_GOOD : BLEMISH_LABEL_DEFECT;
        (*(clean ? &p->normals : &p->anomalies))++;
    }
    return BLEMISH_OK;
}

static bool is_used(const Sample *s, const Recipe *recipe) {
    return s->split == BLEMISH_SPLIT_TRAIN && (s->label == BLEMISH_LABEL_GOOD || (s->label == BLEMISH_LABEL_DEFECT &&
                                                                                  recipe->regime == REGIME_SUPERVISED));
}

static BlemishStatus cut_all(Pieces *p, const Manifest *manifest, const Geometry *g, const Recipe *recipe, Error *e) {
    PieceMasks masks = {0};
    size_t capacity = 0;
    e->status = BLEMISH_OK;
    for (size_t i = 0; i < manifest->count && e->status == BLEMISH_OK; i++)
        if (is_used(&manifest->samples[i], recipe))
            add_tiles(p, &capacity, &masks, &manifest->samples[i], g, recipe, e);
    piece_masks_close(&masks);
    if (e->status == BLEMISH_OK && recipe->regime == REGIME_SUPERVISED && p->anomalies == 0)
        error_set(e, BLEMISH_ERROR_ARGUMENT,
                  "data set: found no training image with a mask that marks its defect, expected some to train on "
                  "tiles, supervised");
    return e->status;
}

/* ---- the list -------------------------------------------------------------------------------------------- */

/* Sorts `count` samples by label into p->samples, each label in the order given. */
static BlemishStatus list(Pieces *p, const Sample *samples, size_t count, const Recipe *recipe, Error *e) {
    if (count == 0) return error_set(e, BLEMISH_ERROR_ARGUMENT, "training images: found none, expected some");
    if ((p->samples = array_new(count, sizeof *p->samples, e)) == NULL) return e->status;
    p->normals = p->anomalies = 0;
    for (int label = BLEMISH_LABEL_GOOD; label <= BLEMISH_LABEL_DEFECT; label++)
        for (size_t i = 0; i < count; i++) {
            if ((int)samples[i].label != label || !is_used(&samples[i], recipe)) continue;
            p->samples[p->normals + p->anomalies] = &samples[i];
            (*(label == BLEMISH_LABEL_GOOD ? &p->normals : &p->anomalies))++;
        }
    return BLEMISH_OK;
}

BlemishStatus pieces_open(Pieces *p, const Manifest *manifest, const Geometry *g, const Recipe *recipe, Error *e) {
    *p = (Pieces){0};
    if (!recipe->tiles) return list(p, manifest->samples, manifest->count, recipe, e);
    if (cut_all(p, manifest, g, recipe, e)) return e->status;
    return list(p, p->owned, p->normals + p->anomalies, recipe, e);
}

void pieces_close(Pieces *p) {
    array_free(p->owned);
    array_free((void *)p->samples);
    *p = (Pieces){0};
}

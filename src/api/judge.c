#include "api/api.h"

#include <math.h>
#include <string.h>

size_t count_labelled(const Manifest *manifest, BlemishSplit split, BlemishLabel label) {
    size_t n = 0;
    for (size_t i = 0; i < manifest->count; i++)
        n += manifest->samples[i].split == split && manifest->samples[i].label == label;
    return n;
}

/* ---- what pixel metrics are of --------------------------------------------------------------------------- */

/* How many squares of side k cover n pixels. */
static size_t squares(size_t n, size_t k) {
    return (n + k - 1) / k;
}

/* The side of the smallest squares of which a map has at most PIXELS_JUDGED. */
static size_t square_of(size_t height, size_t width) {
    size_t k = 1;
    while (squares(height, k) * squares(width, k) > PIXELS_JUDGED) k++;
    return k;
}

BlemishStatus judge_extent(const Geometry *g, bool tiles, const Manifest *manifest, BlemishSplit split, Extent *extent,
                           Error *e) {
    size_t height = g->height, width = g->width;
    for (size_t i = 0; i < manifest->count; i++) {
        const Sample *s = &manifest->samples[i];
        if (s->split != split || s->label == BLEMISH_LABEL_UNKNOWN) continue;
        if (tiles && image_probe(s->path, &width, &height, e)) return e->status;
        const size_t k = tiles ? square_of(height, width) : 1;
        const size_t pixels = squares(height, k) * squares(width, k);
        if (!size_add(extent->total, pixels, &extent->total))
            return error_set(e, BLEMISH_ERROR_MEMORY, "data set: found more pixels than memory");
        if (pixels > extent->most) extent->most = pixels;
    }
    return BLEMISH_OK;
}

/* The largest values of the map's and the mask's squares into map (and mask, or NULL). */
static void shrink(const Judged *j, float *map, uint8_t *mask) {
    const size_t width = j->result.map_width;
    for (size_t y = 0; y < j->result.map_height; y++)
        for (size_t x = 0; x < width; x++) {
            const size_t from = y * width + x, to = y / j->square * j->width + x / j->square;
            map[to] = fmaxf(map[to], j->result.map[from]);
            if (mask) mask[to] |= j->mask[from];
        }
}

/* Fills in what pixel metrics are of; *map and *mask are the caller's to free. */
static BlemishStatus measure(Judged *j, bool tiles, float **map, uint8_t **mask, Error *e) {
    const BlemishResult *r = &j->result;
    const size_t k = j->square = tiles ? square_of(r->map_height, r->map_width) : 1;
    j->height = squares(r->map_height, k);
    j->width = squares(r->map_width, k);
    j->map = r->map;
    j->map_mask = j->mask;
    if (k == 1) return BLEMISH_OK;
    if ((*map = array_new(j->height * j->width, sizeof **map, e)) == NULL) return e->status;
    if (j->mask && (*mask = array_new(j->height * j->width, sizeof **mask, e)) == NULL) return e->status;
    shrink(j, *map, *mask);
    j->map = *map;
    j->map_mask = *mask;
    return BLEMISH_OK;
}

/* ---- judging --------------------------------------------------------------------------------------------- */

static BlemishStatus load_mask(MaskReader *reader, Judged *j, Error *e) {
    const size_t height = j->result.map_height, width = j->result.map_width;
    BlemishImage mask;
    if (j->sample->mask_path == NULL) return BLEMISH_OK;
    if (mask_read(reader, j->sample->mask_path, j->sample->path, &mask, e)) return e->status;
    if (mask.data == NULL) return BLEMISH_OK;
    size_t marked = 0;
    for (size_t i = 0; i < mask.height * mask.width; i++) marked += mask.data[i];
    if (marked) j->defect_area = (double)marked / (double)mask.height / (double)mask.width;
    if ((j->mask = array_new(height * width, sizeof *j->mask, e)) != NULL)
        mask_resize_nearest(mask.data, mask.height, mask.width, j->mask, height, width);
    image_free(&mask);
    if (j->mask == NULL) return e->status;
    if (memchr(j->mask, 1, height * width) == NULL) { /* too small for the map: as if there were none */
        array_free(j->mask);
        j->mask = NULL;
    }
    return BLEMISH_OK;
}

static BlemishStatus judge(Session *session, MaskReader *reader, const Sample *sample, JudgedFn each, void *user,
                           Error *e) {
    Judged j = {.sample = sample, .defect_area = NAN};
    float *map = NULL;
    uint8_t *mask = NULL;
    double start = now_seconds();
    if (image_decode(&j.image, sample->path, e)) return e->status;
    BlemishStatus status = session_run(session, &j.image, 1, &j.result, e);
    j.seconds = now_seconds() - start;
    if (status == BLEMISH_OK) status = load_mask(reader, &j, e);
    if (status == BLEMISH_OK) status = measure(&j, session->tiling.on, &map, &mask, e);
    if (status == BLEMISH_OK) status = each(user, &j, e);
    array_free(map);
    array_free(mask);
    array_free(j.mask);
    image_free(&j.image);
    return status;
}

BlemishStatus judge_split(Session *session, const Manifest *manifest, BlemishSplit split, JudgedFn each, void *user,
                          BlemishProgressFn progress, void *progress_user, Error *e) {
    BlemishProgress p = {.stage = "evaluate", .loss = NAN, .seconds_left = -1};
    for (size_t i = 0; i < manifest->count; i++) p.total += manifest->samples[i].split == split;
    if (p.total == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found no %s image",
                         split == BLEMISH_SPLIT_TEST ? "test" : "training");
    double start = now_seconds();
    MaskReader reader = {0};
    BlemishStatus status = BLEMISH_OK;
    for (size_t i = 0; i < manifest->count && status == BLEMISH_OK; i++) {
        if (manifest->samples[i].split != split) continue;
        status = judge(session, &reader, &manifest->samples[i], each, user, e);
        if (status != BLEMISH_OK) break;
        p.done++;
        double seconds = now_seconds() - start;
        p.items_per_second = seconds > 0 ? (double)p.done / seconds : 0;
        p.seconds_left = seconds * (double)(p.total - p.done) / (double)p.done;
        if (progress && progress(progress_user, &p))
            status =
                error_set(e, BLEMISH_ERROR_INTERRUPTED, "evaluation: stopped after %zu of %zu images", p.done, p.total);
    }
    mask_reader_close(&reader);
    return status;
}

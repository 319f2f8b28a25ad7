#include "metric/pixels.h"
#include "image/image.h"
#include "metric/ranking.h"

#include <string.h>

/* Makes room for `more` behind `count` elements of an array. */
static BlemishStatus grow(void **array, size_t count, size_t more, size_t *capacity, size_t size, Error *e) {
    size_t needed, doubled;
    if (!size_add(count, more, &needed) || !size_mul(needed, 2, &doubled))
        return error_set(e, BLEMISH_ERROR_MEMORY, "maps: found more pixels than memory");
    if (needed <= *capacity) return BLEMISH_OK;
    void *larger = array_new(doubled, size, e);
    if (larger == NULL) return e->status;
    if (*array) memcpy(larger, *array, count * size);
    array_free(*array);
    *array = larger;
    *capacity = doubled;
    return BLEMISH_OK;
}

BlemishStatus pixel_ranking_open(PixelRanking *r, size_t maps, size_t room, size_t largest, Error *e) {
    *r = (PixelRanking){.room = room, .largest = largest};
    if (room > UINT32_MAX) /* region numbers have 32 bits, and 2 P N below 64 */
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "maps: found %zu pixels, expected fewer than 2^32", room);
    if (room == 0) return BLEMISH_OK;
    r->most = maps;
    r->sound = array_new(room, sizeof *r->sound, e);
    r->ends = array_new(maps, sizeof *r->ends, e);
    r->keys = array_new(largest, sizeof *r->keys, e);
    r->numbers = array_new(largest, sizeof *r->numbers, e);
    if (r->sound && r->ends && r->keys && r->numbers) return BLEMISH_OK;
    pixel_ranking_close(r);
    return e->status;
}

void pixel_ranking_close(PixelRanking *r) {
    array_free(r->sound);
    array_free(r->defects);
    array_free(r->weights);
    array_free(r->ends);
    array_free(r->keys);
    array_free(r->numbers);
    *r = (PixelRanking){0};
}

/* Appends the pixels of `found` regions (r->numbers) and weighs these. */
static BlemishStatus add_defective(PixelRanking *r, size_t pixels, uint32_t found, Error *e) {
    const size_t first = r->regions + 1;
    size_t defective = 0;
    for (size_t i = 0; i < pixels; i++) defective += r->numbers[i] != 0;
    if (grow((void **)&r->defects, r->positives, defective, &r->defect_capacity, sizeof *r->defects, e) ||
        grow((void **)&r->weights, first, found, &r->weight_capacity, sizeof *r->weights, e))
        return e->status;
    for (size_t i = 0; i < pixels; i++) {
        if (r->numbers[i] == 0) {
            r->sound[r->negatives++] = r->keys[i];
            continue;
        }
        const uint32_t region = (uint32_t)r->regions + r->numbers[i];
        r->defects[r->positives++] = item_make(r->keys[i], region);
        r->weights[region] += 1;
    }
    r->regions += found;
    for (size_t k = first; k <= r->regions; k++) r->weights[k] = 1 / r->weights[k];
    return BLEMISH_OK;
}

BlemishStatus pixel_ranking_add(PixelRanking *r, const float *map, const uint8_t *mask, size_t height, size_t width,
                                Error *e) {
    uint32_t found = 0;
    const size_t pixels = height * width;
    if (r->room == 0) return BLEMISH_OK;
    if (r->maps == r->most || pixels > r->largest || pixels > r->room - r->negatives - r->positives)
        return error_set(e, BLEMISH_ERROR_INTERNAL, "maps: found one more, or a larger one");
    if (!keys_make(map, pixels, r->keys))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "map %zu: found a value that is no number, expected finite ones",
                         r->maps);
    if (mask && mask_components(mask, height, width, r->numbers, &found, e)) return e->status;
    if (found) {
        if (add_defective(r, pixels, found, e)) return e->status;
    } else {
        memcpy(r->sound + r->negatives, r->keys, pixels * sizeof *r->keys);
        r->negatives += pixels;
    }
    r->ends[r->maps++] = (PixelEnds){.sound = r->negatives, .defects = r->positives};
    return BLEMISH_OK;
}

PixelMetrics pixel_ranking_metrics(PixelRanking *r) {
    keys_sort(r->sound, r->negatives);
    items_sort(r->defects, r->positives);
    Sweep s = sweep(r->sound, r->negatives, r->defects, r->positives, r->weights, r->regions);
    return (PixelMetrics){
        .p_auroc = s.auroc, .ap_loc = s.ap, .aupro = s.aupro, .best_f1 = s.f1, .best_f1_threshold = s.threshold};
}

BlemishStatus metric_pixels(const float *const *maps, const uint8_t *const *masks, size_t n, size_t height,
                            size_t width, PixelMetrics *out, Error *e) {
    PixelRanking r;
    size_t pixels, room;
    if (!size_mul(height, width, &pixels) || !size_mul(pixels, n, &room))
        return error_set(e, BLEMISH_ERROR_MEMORY, "%zu maps of %zu x %zu are larger than memory", n, height, width);
    BlemishStatus status = pixel_ranking_open(&r, n, room, pixels, e);
    for (size_t i = 0; i < n && status == BLEMISH_OK; i++)
        status = pixel_ranking_add(&r, maps[i], masks[i], height, width, e);
    if (status == BLEMISH_OK) *out = pixel_ranking_metrics(&r);
    pixel_ranking_close(&r);
    return status;
}

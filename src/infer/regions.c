#include "infer/infer.h"

#include <stdlib.h>
#include <string.h>

static BlemishStatus reserve_pixels(Regions *r, size_t pixels, Error *e) {
    if (pixels <= r->pixels) return BLEMISH_OK;
    array_free(r->mask);
    array_free(r->labels);
    r->pixels = 0;
    r->mask = array_new(pixels, sizeof *r->mask, e);
    r->labels = array_new(pixels, sizeof *r->labels, e);
    if (r->mask == NULL || r->labels == NULL) return e->status;
    r->pixels = pixels;
    return BLEMISH_OK;
}

static BlemishStatus reserve_list(Regions *r, size_t count, Error *e) {
    if (count <= r->capacity) return BLEMISH_OK;
    array_free(r->list);
    r->capacity = 0;
    if ((r->list = array_new(count, sizeof *r->list, e)) == NULL) return e->status;
    r->capacity = count;
    return BLEMISH_OK;
}

/* Grows each component's box, area, peak and centroid. While counting, width and height hold the last column and row,
 * and the centroid sums, which are exact. */
static void measure(Regions *r, const float *map, size_t height, size_t width) {
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            size_t i = y * width + x;
            if (r->labels[i] == 0) continue;
            BlemishRegion *region = &r->list[r->labels[i] - 1];
            if (region->area++ == 0) *region = (BlemishRegion){.x = x, .y = y, .width = x, .area = 1, .peak = map[i]};
            if (x < region->x) region->x = x;
            if (x > region->width) region->width = x;
            region->height = y;
            if (map[i] > region->peak) region->peak = map[i];
            region->centroid_x += (double)x;
            region->centroid_y += (double)y;
        }
    for (size_t k = 0; k < r->count; k++) {
        r->list[k].width -= r->list[k].x - 1;
        r->list[k].height -= r->list[k].y - 1;
        r->list[k].centroid_x /= (double)r->list[k].area;
        r->list[k].centroid_y /= (double)r->list[k].area;
    }
}

/* Merge sort, because equal peaks keep their raster order and qsort promises nothing about them. */
static void sort_by_peak(BlemishRegion *list, size_t n, BlemishRegion *scratch) {
    if (n < 2) return;
    size_t half = n / 2, i = 0, j = half;
    sort_by_peak(list, half, scratch);
    sort_by_peak(list + half, n - half, scratch);
    memcpy(scratch, list, n * sizeof *list);
    for (size_t k = 0; k < n; k++)
        list[k] = j == n || (i < half && scratch[i].peak >= scratch[j].peak) ? scratch[i++] : scratch[j++];
}

static void drop_small(Regions *r, size_t min_area) {
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].area >= min_area) r->list[kept++] = r->list[i];
    r->count = kept;
}

/* How many values at each end of row y lie in a border of side_y rows and side_x columns. */
static size_t border_columns(size_t y, size_t height, size_t width, size_t side_y, size_t side_x) {
    const bool inside = y >= side_y && height - 1 - y >= side_y;
    return inside && side_x < width ? side_x : width;
}

/* Zeroes n of a row's values, of `size` bytes, at each end. */
static void clear_ends(void *row, size_t size, size_t width, size_t n) {
    memset(row, 0, n * size);
    memset((uint8_t *)row + (width - n) * size, 0, n * size);
}

/* Of the rows from `top` to `bottom`, outside of which nothing reaches the threshold. */
static BlemishStatus find_rows(Regions *r, const float *map, size_t height, size_t width, size_t top, size_t bottom,
                               RegionRules rules, Error *e) {
    const size_t rows = bottom - top, pixels = rows * width;
    map += top * width;
    if (reserve_pixels(r, pixels, e)) return e->status;
    for (size_t i = 0; i < pixels; i++) r->mask[i] = map[i] >= rules.threshold;
    for (size_t y = 0; y < rows && rules.border; y++)
        clear_ends(r->mask + y * width, 1, width, border_columns(y + top, height, width, rules.border, rules.border));
    for (size_t i = 0; i < pixels && rules.roi.mask; i++)
        if (r->mask[i]) r->mask[i] = roi_has(&rules.roi, height, width, top + i / width, i % width);
    uint32_t count;
    if (mask_components(r->mask, rows, width, r->labels, &count, e)) return e->status;
    if (reserve_list(r, 2 * (size_t)count, e)) return e->status; /* the second half is the sort's scratch */
    r->count = count;
    if (count == 0) return BLEMISH_OK;
    memset(r->list, 0, count * sizeof *r->list);
    measure(r, map, rows, width);
    drop_small(r, rules.min_area);
    sort_by_peak(r->list, r->count, r->list + r->count);
    for (size_t i = 0; i < r->count; i++) {
        r->list[i].y += top;
        r->list[i].centroid_y += (double)top;
    }
    return BLEMISH_OK;
}

BlemishStatus regions_find(Regions *r, const float *map, size_t height, size_t width, RegionRules rules, Error *e) {
    r->count = 0;
    size_t pixels;
    if (!size_mul(height, width, &pixels) || pixels > UINT32_MAX)
        return error_set(e, BLEMISH_ERROR_MEMORY, "map: found %zux%zu, expected fewer than 2^32 pixels", height, width);
    return find_rows(r, map, height, width, 0, height, rules, e);
}

/* No blend of two values exceeds both by more than rounding. */
static bool row_reaches(const float *row, size_t width, float threshold) {
    float most = 0;
    for (size_t x = 0; x < width; x++) most = row[x] > most ? row[x] : most;
    return most * (1 + 1e-6f) >= threshold;
}

BlemishStatus regions_find_resized(Regions *r, const float *map, size_t map_height, size_t map_width, float *large,
                                   size_t height, size_t width, RegionRules rules, Error *e) {
    size_t first = 0, end = map_height;
    while (first < end && !row_reaches(map + first * map_width, map_width, rules.threshold)) first++;
    while (first < end && !row_reaches(map + (end - 1) * map_width, map_width, rules.threshold)) end--;
    r->count = 0;
    if (first == end) return BLEMISH_OK;
    /* A row of the map has a share in the rows of the image less than one row of the map away from it. */
    const double scale = (double)height / (double)map_height;
    const double from = ((double)first - 0.5) * scale - 1, to = ((double)end + 0.5) * scale + 1;
    const size_t top = from > 0 ? (size_t)from : 0, bottom = to < (double)height ? (size_t)to : height;
    plane_resize_bilinear_rows(map, map_height, map_width, large, height, width, top, bottom);
    return find_rows(r, large, height, width, top, bottom, rules, e);
}

size_t border_pixels(size_t border, size_t map_side, size_t image_side) {
    size_t n = 0;
    while (n < map_side && (2 * n + 1) * image_side < 2 * border * map_side) n++;
    return n;
}

float border_clear(float *map, size_t height, size_t width, size_t side_y, size_t side_x) {
    float most = 0;
    for (size_t y = 0; y < height; y++) {
        float *row = map + y * width;
        const size_t side = border_columns(y, height, width, side_y, side_x);
        clear_ends(row, sizeof *row, width, side);
        for (size_t x = side; x + side < width; x++) most = row[x] > most ? row[x] : most;
    }
    return most;
}

float roi_clear(const Roi *roi, float *map, size_t height, size_t width) {
    const bool same = height == roi->height && width == roi->width; /* spares the divisions */
    float most = 0;
    for (size_t i = 0; i < height * width; i++) {
        map[i] = (same ? roi->mask[i] : roi_has(roi, height, width, i / width, i % width)) ? map[i] : 0;
        most = map[i] > most ? map[i] : most;
    }
    return most;
}

void regions_close(Regions *r) {
    array_free(r->list);
    array_free(r->mask);
    array_free(r->labels);
    *r = (Regions){0};
}

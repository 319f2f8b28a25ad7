#include "infer/infer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

/* ---- the plain twin: flood fill with a stack of every pixel ---------------------------------------------- */

static bool counts(const float *map, size_t h, size_t w, RegionRules rules, size_t i) {
    const long y = (long)(i / w), x = (long)(i % w), b = (long)rules.border;
    return map[i] >= rules.threshold && y >= b && x >= b && y < (long)h - b && x < (long)w - b;
}

static size_t flood(const float *map, size_t h, size_t w, RegionRules rules, uint8_t *seen, size_t start, size_t *stack,
                    BlemishRegion *out) {
    size_t x0 = w, y0 = h, x1 = 0, y1 = 0, area = 0, top = 0, sum_x = 0, sum_y = 0;
    float peak = -INFINITY;
    stack[top++] = start;
    seen[start] = 1;
    while (top) {
        size_t i = stack[--top], y = i / w, x = i % w;
        area++;
        sum_x += x, sum_y += y;
        peak = fmaxf(peak, map[i]);
        x0 = x < x0 ? x : x0, x1 = x > x1 ? x : x1, y0 = y < y0 ? y : y0, y1 = y > y1 ? y : y1;
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                long ny = (long)y + dy, nx = (long)x + dx;
                if (ny < 0 || nx < 0 || ny >= (long)h || nx >= (long)w) continue;
                size_t n = (size_t)ny * w + (size_t)nx;
                if (seen[n] || !counts(map, h, w, rules, n)) continue;
                seen[n] = 1;
                stack[top++] = n;
            }
    }
    *out = (BlemishRegion){
        x0, y0, x1 - x0 + 1, y1 - y0 + 1, area, peak, (double)sum_x / (double)area, (double)sum_y / (double)area};
    return area;
}

/* Insertion in order of peak; a later region goes behind its equals. */
static size_t plain_regions(const float *map, size_t h, size_t w, RegionRules rules, BlemishRegion *out) {
    Error e = {0};
    uint8_t *seen = array_new(h * w, 1, &e);
    size_t *stack = array_new(h * w, sizeof *stack, &e), n = 0;
    for (size_t i = 0; i < h * w; i++) {
        if (seen[i] || !counts(map, h, w, rules, i)) continue;
        BlemishRegion r;
        if (flood(map, h, w, rules, seen, i, stack, &r) < rules.min_area) continue;
        size_t at = n++;
        for (; at > 0 && out[at - 1].peak < r.peak; at--) out[at] = out[at - 1];
        out[at] = r;
    }
    array_free(seen);
    array_free(stack);
    return n;
}

static void assert_regions_by(Regions *found, const float *map, size_t h, size_t w, RegionRules rules) {
    Error e = {0};
    BlemishRegion *expected = array_new(h * w, sizeof *expected, &e);
    size_t n = plain_regions(map, h, w, rules, expected);
    assert_int_equal(regions_find(found, map, h, w, rules, &e), BLEMISH_OK);
    assert_int_equal(found->count, n);
    for (size_t i = 0; i < n; i++) {
        const BlemishRegion *a = &found->list[i], *b = &expected[i];
        assert_int_equal(a->x, b->x);
        assert_int_equal(a->y, b->y);
        assert_int_equal(a->width, b->width);
        assert_int_equal(a->height, b->height);
        assert_int_equal(a->area, b->area);
        assert_true(a->peak == b->peak);
        assert_true(a->centroid_x == b->centroid_x && a->centroid_y == b->centroid_y); /* both sums are exact */
    }
    array_free(expected);
}

static void assert_regions(Regions *found, const float *map, size_t h, size_t w, float threshold) {
    assert_regions_by(found, map, h, w, (RegionRules){.threshold = threshold});
}

/* Few distinct values, so that peaks tie; one Regions for all sizes, so that its scratch is reused. */
static void regions_equal_flood_fill(void **state) {
    (void)state;
    Regions found = {0};
    Random r = random_new(5, 0);
    float map[61 * 47];
    for (int round = 0; round < 400; round++) {
        size_t h = 1 + random_below(&r, 61), w = 1 + random_below(&r, 47);
        uint32_t levels = 2 + random_below(&r, 9);
        float threshold = (float)(1 + random_below(&r, levels)) / (float)levels;
        for (size_t i = 0; i < h * w; i++) map[i] = (float)random_below(&r, levels + 1) / (float)levels;
        assert_regions(&found, map, h, w, threshold);
        /* Up to a border that leaves nothing, or is wider than the map. */
        assert_regions_by(&found, map, h, w,
                          (RegionRules){threshold, random_below(&r, 12), random_below(&r, round % 2 ? 4 : 70)});
    }
    regions_close(&found);
}

/* Rows that are left out hold what would be a region if they were looked at. */
static void a_resized_map_has_the_same_regions(void **state) {
    (void)state;
    enum { MOST = 70 };
    Error e = {0};
    Regions found = {0}, want = {0};
    Random r = random_new(6, 0);
    float map[MOST * MOST], whole[MOST * MOST], large[MOST * MOST];
    size_t none = 0;
    for (int round = 0; round < 2000; round++) {
        const size_t mh = 1 + random_below(&r, MOST), mw = 1 + random_below(&r, MOST);
        const size_t h = 1 + random_below(&r, MOST), w = 1 + random_below(&r, MOST);
        for (size_t i = 0; i < mh * mw; i++) map[i] = 0.4f * random_float(&r);
        for (size_t i = random_below(&r, 4); i > 0; i--) map[random_below(&r, (uint32_t)(mh * mw))] = 0.9f;
        for (size_t i = 0; i < h * w; i++) large[i] = 1;
        const float threshold = round % 3 ? 0.5f : 0.9f; /* the second is reached only where a peak is hit */
        const RegionRules rules = {threshold, random_below(&r, 6), round % 4 ? 0 : random_below(&r, 12)};
        plane_resize_bilinear(map, mh, mw, whole, h, w);
        assert_int_equal(regions_find(&want, whole, h, w, rules, &e), BLEMISH_OK);
        assert_int_equal(regions_find_resized(&found, map, mh, mw, large, h, w, rules, &e), BLEMISH_OK);
        assert_int_equal(found.count, want.count);
        for (size_t i = 0; i < found.count; i++) {
            const BlemishRegion *a = &found.list[i], *b = &want.list[i];
            assert_true(a->x == b->x && a->y == b->y && a->width == b->width && a->height == b->height);
            assert_true(a->area == b->area && a->peak == b->peak);
            /* rows are counted from where the crop starts, so the sums are divided before it is added */
            assert_true(a->centroid_x == b->centroid_x && fabs(a->centroid_y - b->centroid_y) < 1e-12);
        }
        none += found.count == 0;
    }
    assert_true(none > 200 && none < 1800);
    regions_close(&found);
    regions_close(&want);
}

static void shapes_that_mislead(void **state) {
    (void)state;
    enum { H = 33, W = 29 };
    Regions found = {0};
    float map[H * W] = {0};
    assert_regions(&found, map, H, W, 0.5f); /* nothing */
    assert_int_equal(found.count, 0);
    assert_regions(&found, map, H, W, 0.0f); /* everything */
    assert_int_equal(found.count, 1);
    assert_int_equal(found.list[0].area, H * W);

    for (size_t i = 0; i < H * W; i++) map[i] = (i / W + i % W) % 2 ? 0.0f : 0.75f; /* diagonals touch */
    assert_regions(&found, map, H, W, 0.5f);
    assert_int_equal(found.count, 1);

    for (size_t i = 0; i < H * W; i++) map[i] = (i / W) % 2 || (i % W) % 2 ? 0.0f : 0.75f; /* single pixels */
    assert_regions(&found, map, H, W, 0.5f);
    assert_int_equal(found.count, 17 * 15);
    for (size_t i = 1; i < found.count; i++) { /* all peaks tie: raster order */
        const BlemishRegion *a = &found.list[i - 1], *b = &found.list[i];
        assert_true(a->y < b->y || (a->y == b->y && a->x < b->x));
    }

    /* A spiral: one region whose arms meet only at the far end. */
    memset(map, 0, sizeof map);
    size_t left = 0, right = W - 1, top = 0, bottom = H - 1;
    while (left + 2 < right && top + 2 < bottom) {
        for (size_t x = left; x <= right; x++) map[top * W + x] = 0.9f;
        for (size_t y = top; y <= bottom; y++) map[y * W + right] = 0.9f;
        for (size_t x = left; x <= right; x++) map[bottom * W + x] = 0.9f;
        for (size_t y = top + 2; y <= bottom; y++) map[y * W + left] = 0.9f;
        map[(top + 2) * W + left + 1] = 0.9f;
        left += 2, right -= 2, top += 2, bottom -= 2;
    }
    assert_regions(&found, map, H, W, 0.5f);
    assert_int_equal(found.count, 1);

    float one = 0.5f;
    assert_regions(&found, &one, 1, 1, 0.5f); /* at the threshold counts */
    assert_int_equal(found.count, 1);
    regions_close(&found);
}

static void a_border_is_measured_at_pixel_centres(void **state) {
    (void)state;
    Random r = random_new(8, 0);
    for (int round = 0; round < 4000; round++) {
        const size_t map = 1 + random_below(&r, 90), image = 1 + random_below(&r, 300);
        const size_t border = random_below(&r, 1 + (uint32_t)image);
        size_t n = 0; /* twice the centre times the map's side is a whole number: exact */
        for (size_t i = 0; i < map; i++) n += (double)(2 * i + 1) * (double)image < 2.0 * (double)border * (double)map;
        assert_int_equal(border_pixels(border, map, image), n);
        if (map == image) assert_int_equal(n, border);
    }
    assert_int_equal(border_pixels(1, 256, 1024), 0); /* the first centre is at 2 */
    assert_int_equal(border_pixels(2, 256, 1024), 0);
    assert_int_equal(border_pixels(3, 256, 1024), 1);
}

static void clearing_a_border_leaves_the_rest(void **state) {
    (void)state;
    float before[23 * 19], after[23 * 19];
    Random r = random_new(9, 0);
    for (int round = 0; round < 1000; round++) {
        const size_t h = 1 + random_below(&r, 23), w = 1 + random_below(&r, 19);
        const size_t sy = random_below(&r, 14), sx = random_below(&r, 24);
        float most = 0;
        for (size_t i = 0; i < h * w; i++) before[i] = after[i] = random_float(&r);
        const float found = border_clear(after, h, w, sy, sx);
        for (size_t i = 0; i < h * w; i++) {
            const size_t y = i / w, x = i % w;
            const bool inside = y >= sy && y + sy < h && x >= sx && x + sx < w;
            assert_true(after[i] == (inside ? before[i] : 0.0f));
            if (inside) most = fmaxf(most, before[i]);
        }
        assert_true(found == most);
    }
}

static void hopeless_sizes_are_refused(void **state) {
    (void)state;
    Error e = {0};
    Regions found = {0};
    float one = 1;
    assert_int_equal(regions_find(&found, &one, SIZE_MAX, 2, (RegionRules){.threshold = 0.5f}, &e),
                     BLEMISH_ERROR_MEMORY);
    assert_int_equal(regions_find(&found, &one, (size_t)1 << 20, (size_t)1 << 20, (RegionRules){.threshold = 0.5f}, &e),
                     BLEMISH_ERROR_MEMORY);
    assert_int_equal(found.count, 0);
    regions_close(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_equal_flood_fill),
        cmocka_unit_test(a_resized_map_has_the_same_regions),
        cmocka_unit_test(shapes_that_mislead),
        cmocka_unit_test(a_border_is_measured_at_pixel_centres),
        cmocka_unit_test(clearing_a_border_leaves_the_rest),
        cmocka_unit_test(hopeless_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

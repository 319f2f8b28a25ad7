/* Training targets against the published chain, step by step in its plainest form. */
#include "train/targets.h"
#include "helper_folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum Shape { SHAPE_EMPTY, SHAPE_BLOBS, SHAPE_SPECKLE, SHAPE_FULL, SHAPE_EDGES, SHAPES } Shape;

static uint8_t pixel_of(Shape shape, Random *r, size_t x, size_t y, size_t width, size_t height) {
    const bool edge = x == 0 || y == 0 || x == width - 1 || y == height - 1;
    switch (shape) {
    case SHAPE_BLOBS:
        return (x > width / 8 && x < width / 3 && y > height / 4 && y < height / 2) ||
               (x + y > width && x < width * 3 / 4 && y < height - 3);
    case SHAPE_SPECKLE:
        return random_below(r, 25) == 0;
    case SHAPE_EDGES:
        return edge && random_below(r, 3) == 0;
    default:
        return shape == SHAPE_FULL;
    }
}

/* Writes a mask of that shape, any value but 0 for a defect; returns its pixels as 0 and 1, malloc-owned. */
static uint8_t *write_mask(const char *path, Shape shape, size_t width, size_t height, uint64_t seed) {
    Error e = {0};
    BlemishImage image;
    Random r = random_new(seed, shape);
    uint8_t *mask = malloc(width * height);
    assert_non_null(mask);
    assert_ok(image_new(&image, width, height, 1, &e), e.text);
    for (size_t i = 0; i < width * height; i++) {
        mask[i] = pixel_of(shape, &r, i % width, i / width, width, height);
        image_pixels(&image)[i / width * image.stride + i % width] = mask[i] ? (uint8_t)(1 + random_below(&r, 255)) : 0;
    }
    assert_ok(image_write_png(&image, path, &e), e.text);
    image_free(&image);
    return mask;
}

/* ---- the plain chain ------------------------------------------------------------------------------------- */

typedef struct Plane {
    size_t height, width;
    double *at;
} Plane;

static Plane plane_new(size_t height, size_t width) {
    Plane p = {height, width, calloc(height * width, sizeof *p.at)};
    assert_non_null(p.at);
    return p;
}

/* Nearest neighbour to the network's size, then flipped, then dilated. */
static Plane prepare(const uint8_t *mask, size_t width, size_t height, const Geometry *g, Flip flip, size_t dilate) {
    Plane small = plane_new(g->height, g->width), out = plane_new(g->height, g->width);
    for (size_t y = 0; y < g->height; y++)
        for (size_t x = 0; x < g->width; x++) {
            const size_t to_y = flip == FLIP_VERTICAL || flip == FLIP_BOTH ? g->height - 1 - y : y;
            const size_t to_x = flip == FLIP_HORIZONTAL || flip == FLIP_BOTH ? g->width - 1 - x : x;
            small.at[to_y * g->width + to_x] = mask[y * height / g->height * width + x * width / g->width];
        }
    const ptrdiff_t reach = (ptrdiff_t)dilate / 2, h = (ptrdiff_t)g->height, w = (ptrdiff_t)g->width;
    for (ptrdiff_t y = 0; y < h; y++)
        for (ptrdiff_t x = 0; x < w; x++)
            for (ptrdiff_t v = y - reach; v <= y + reach; v++)
                for (ptrdiff_t u = x - reach; u <= x + reach; u++)
                    if (v >= 0 && u >= 0 && v < h && u < w && small.at[v * w + u] > 0) out.at[y * w + x] = 1;
    free(small.at);
    return out;
}

static double nearest_outside(const Plane *mask, size_t at) {
    double best = INFINITY;
    for (size_t i = 0; i < mask->height * mask->width; i++) {
        if (mask->at[i] > 0) continue;
        const double dy = (double)(i / mask->width) - (double)(at / mask->width);
        const double dx = (double)(i % mask->width) - (double)(at % mask->width);
        best = fmin(best, sqrt(dy * dy + dx * dx));
    }
    return isinf(best) ? 1 : best; /* no outside: all pixels are equally far from it */
}

/* Each pixel's largest distance in its component, found by spreading the largest until nothing changes. */
static Plane weigh(const Plane *mask) {
    const size_t n = mask->height * mask->width, w = mask->width;
    Plane distance = plane_new(mask->height, w), most = plane_new(mask->height, w);
    for (size_t i = 0; i < n; i++)
        if (mask->at[i] > 0) most.at[i] = distance.at[i] = nearest_outside(mask, i);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < n && mask->at[i] > 0; k++) {
                const size_t dy = i / w > k / w ? i / w - k / w : k / w - i / w;
                const size_t dx = i % w > k % w ? i % w - k % w : k % w - i % w;
                if (dy > 1 || dx > 1 || most.at[k] <= most.at[i]) continue;
                most.at[i] = most.at[k];
                changed = true;
            }
    }
    for (size_t i = 0; i < n; i++) distance.at[i] = mask->at[i] > 0 ? 3 * pow(distance.at[i] / most.at[i], 2) : 1;
    free(most.at);
    return distance;
}

static double aligned(const Plane *p, const Geometry *g, size_t y, size_t x) {
    const double at_y = (double)y * (double)(p->height - 1) / (double)(g->h - 1);
    const double at_x = (double)x * (double)(p->width - 1) / (double)(g->w - 1);
    double sum = 0;
    for (size_t i = 0; i < p->height; i++)
        for (size_t j = 0; j < p->width; j++)
            sum += fmax(0, 1 - fabs(at_y - (double)i)) * fmax(0, 1 - fabs(at_x - (double)j)) * p->at[i * p->width + j];
    return sum;
}

/* A handful of float operations on values up to 3. */
#define TOLERANCE (16 * 3 * 0x1p-24)

static void check_target(const Plane *mask, const Geometry *g, const uint8_t *got, const float *weights) {
    Plane d = weigh(mask);
    for (size_t i = 0; i < g->h * g->w; i++) {
        const double v = aligned(mask, g, i / g->w, i % g->w), weight = aligned(&d, g, i / g->w, i % g->w);
        if (fabs(v - 0.5) > TOLERANCE) assert_int_equal(got[i], v >= 0.5); /* a tie may round either way */
        if (weights && !(fabs((double)weights[i] - weight) < TOLERANCE))
            fail_msg("weight %zu: found %g, expected %g", i, (double)weights[i], weight);
    }
    free(d.at);
}

/* ---- tests ----------------------------------------------------------------------------------------------- */

static Recipe recipe_new(size_t dilate, int distance_weights, int flips) {
    Recipe r;
    recipe_defaults(&r);
    r.dilate = dilate;
    r.distance_weights = distance_weights;
    r.flips = flips;
    return r;
}

/* targets_open on the flips of the recipe. */
static BlemishStatus open_flips(Targets *t, const Sample *const *list, size_t count, const Geometry *g,
                                const Recipe *recipe, Error *e) {
    Augmentation views[4 * SHAPES];
    const size_t flips = recipe->flips ? 4 : 1;
    for (size_t i = 0; i < count * flips; i++) {
        views[i] = AUGMENT_NONE;
        views[i].flip = (Flip)(i % flips);
    }
    return targets_open(t, list, count, g, recipe, views, flips, NULL, e);
}

static void check_all(size_t height, size_t width, size_t mask_height, size_t mask_width, const Recipe *recipe) {
    Error e = {0};
    Geometry g;
    Targets t;
    char paths[SHAPES][PATH_SIZE];
    uint8_t *masks[SHAPES];
    Sample samples[SHAPES] = {0};
    const Sample *list[SHAPES];
    assert_ok(geometry_make(&g, height, width, 1, 1, &e), e.text);
    for (size_t i = 0; i < SHAPES; i++) {
        snprintf(paths[i], PATH_SIZE, "%.400s/%zu.png", folder, i);
        masks[i] = write_mask(paths[i], (Shape)i, mask_width, mask_height, height + i);
        samples[i] = (Sample){.mask_path = paths[i], .label = BLEMISH_LABEL_DEFECT};
        list[i] = &samples[i];
    }
    const size_t flips = recipe->flips ? 4 : 1;
    assert_ok(open_flips(&t, list, SHAPES, &g, recipe, &e), e.text);
    assert_true(t.pixels == g.h * g.w);
    for (size_t i = 0; i < SHAPES; i++) {
        bool any = false; /* an empty mask says nothing of where the defect is: it counts as none */
        for (size_t k = 0; k < mask_width * mask_height; k++) any |= masks[i][k];
        for (Flip flip = FLIP_NONE; flip < (Flip)flips; flip++) {
            const size_t entry = i * flips + flip;
            Plane mask = prepare(masks[i], mask_width, mask_height, &g, flip, recipe->dilate);
            assert_int_equal(t.segmented[entry], any);
            assert_true((targets_weights(&t, entry) != NULL) == (recipe->distance_weights != 0));
            check_target(&mask, &g, targets_mask(&t, entry), targets_weights(&t, entry));
            free(mask.at);
        }
        free(masks[i]);
    }
    targets_close(&t);
}

static void targets_are_their_definition(void **state) {
    (void)state;
    const Recipe usual = recipe_new(7, 1, 1), plain = recipe_new(1, 1, 1), even = recipe_new(3, 0, 0);
    check_all(32, 39, 57, 43, &usual);
    check_all(37, 32, 20, 90, &plain);
    check_all(32, 32, 32, 32, &even);
}

static void an_image_without_mask_has_no_segmentation(void **state) {
    (void)state;
    Error e = {0};
    Geometry g;
    Targets t;
    char path[PATH_SIZE];
    const Recipe recipe = recipe_new(7, 1, 1);
    free(write_mask(path_in(path, folder, "some.png"), SHAPE_FULL, 32, 32, 1));
    const Sample with = {.mask_path = path}, without = {0}, *list[3] = {&without, &with, &without};
    assert_ok(geometry_make(&g, 32, 32, 1, 1, &e), e.text);
    assert_ok(open_flips(&t, list, 3, &g, &recipe, &e), e.text);
    for (size_t image = 0; image < 3; image++) {
        for (size_t entry = 4 * image; entry < 4 * image + 4; entry++) {
            assert_int_equal(t.segmented[entry], image == 1);
            for (size_t i = 0; i < t.pixels; i++) {
                assert_int_equal(targets_mask(&t, entry)[i], image == 1);
                assert_true(targets_weights(&t, entry)[i] == (image == 1 ? 3.0f : 1.0f));
            }
        }
    }
    targets_close(&t);
    assert_ok(open_flips(&t, NULL, 0, &g, &recipe, &e), e.text);
    targets_close(&t);
}

static void an_unreadable_mask_is_named(void **state) {
    (void)state;
    Error e = {0};
    Geometry g;
    Targets t;
    char good[PATH_SIZE], path[PATH_SIZE];
    const Recipe recipe = recipe_new(7, 1, 1);
    free(write_mask(path_in(good, folder, "good.png"), SHAPE_BLOBS, 32, 32, 1));
    assert_ok(geometry_make(&g, 32, 32, 1, 1, &e), e.text);
    const Sample first = {.mask_path = good}, bad = {.mask_path = path}, *list[2] = {&first, &bad};
    for (int absent = 0; absent < 2; absent++) {
        path_in(path, folder, absent ? "absent.png" : "bad.png");
        if (!absent) assert_ok(atomic_write_file(path, "\x89PNG\r\n\x1a\n????????????", 20, &e), e.text);
        assert_true(open_flips(&t, list, 2, &g, &recipe, &e) != BLEMISH_OK);
        assert_non_null(strstr(e.text, path));
        assert_null(strchr(e.text, '\n'));
        assert_true(t.masks == NULL && t.weights == NULL && t.segmented == NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_their_definition),
        cmocka_unit_test(an_image_without_mask_has_no_segmentation),
        cmocka_unit_test(an_unreadable_mask_is_named),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

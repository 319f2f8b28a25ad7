/* Training by tiles: which parts of which images are learned from, as what, and that they are learned from as if each
 * were an image of its own. */
#include "helper_train.h"
#include "train/features.h"
#include "train/pieces.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[PATH_SIZE];
static Geometry g;

static int open_folder(void **state) {
    (void)state;
    Error e = {0};
    folder_make(folder);
    assert_ok(geometry_make(&g, TRAIN_SIDE, TRAIN_SIDE, 128, 256, &e), e.text);
    return 0;
}

static int close_folder(void **state) {
    (void)state;
    folder_remove(folder);
    return 0;
}

static size_t uniform(Random *r, size_t low, size_t high) {
    return low + random_below(r, (uint32_t)(high - low + 1));
}

/* Lists a picture; a mask of up to three rectangles, perhaps of another size, belongs to a defect. */
static void add_picture(Manifest *m, const char *name, size_t width, size_t height, bool defect, Random *r) {
    Error e = {0};
    char path[PATH_SIZE], mask_name[64];
    BlemishImage image, mask;
    picture_make(&image, width, height, 3, random_u32(r));
    assert_ok(image_write_png(&image, path_in(path, folder, name), &e), e.text);
    image_free(&image);
    snprintf(mask_name, sizeof mask_name, "mask-%s", name);
    if (defect) {
        const size_t w = random_below(r, 3) ? width : uniform(r, 1, 2 * width), h = w == width ? height : 2 * height;
        assert_ok(image_new(&mask, w, h, 1, &e), e.text);
        for (size_t n = uniform(r, 1, 3); n > 0; n--) {
            const size_t x = random_below(r, (uint32_t)w), y = random_below(r, (uint32_t)h), side = uniform(r, 1, 9);
            for (size_t v = y; v < h && v < y + side; v++)
                for (size_t u = x; u < w && u < x + side; u++) image_pixels(&mask)[v * w + u] = 255;
        }
        assert_ok(image_write_png(&mask, path_in(path, folder, mask_name), &e), e.text);
        image_free(&mask);
    }
    train_list(m, folder, name, defect ? mask_name : NULL, defect ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD,
               BLEMISH_SPLIT_TRAIN);
}

static Recipe tiled_recipe(Regime regime, double overlap) {
    Recipe r = train_recipe(regime, VARIANT_JIMS);
    r.tiles = 1;
    r.tile_overlap = overlap;
    return r;
}

/* ---- labels ---------------------------------------------------------------------------------------------- */

/* The sample's mask at its image's size; zeros for a good one. */
static uint8_t *whole_mask(const Sample *s, size_t *width, size_t *height) {
    Error e = {0};
    MaskReader reader = {0};
    BlemishImage mask = {0};
    assert_ok(image_probe(s->path, width, height, &e), e.text);
    uint8_t *out = array_new(*width * *height, 1, &e);
    if (s->mask_path) assert_ok(mask_read(&reader, s->mask_path, s->path, &mask, &e), e.text);
    if (mask.data) mask_resize_nearest(mask.data, mask.height, mask.width, out, *height, *width);
    mask_reader_close(&reader);
    image_free(&mask);
    return out;
}

/* By the distance of every marked pixel to the tile's edges inside the image. */
static BlemishLabel label_by_hand(const uint8_t *mask, size_t width, size_t height, size_t top, size_t left,
                                  size_t margin) {
    size_t marked = 0, inside = 0;
    for (size_t y = top; y < height && y < top + TRAIN_SIDE; y++)
        for (size_t x = left; x < width && x < left + TRAIN_SIDE; x++) {
            const bool clear = (top == 0 || y - top >= margin) && (left == 0 || x - left >= margin) &&
                               (top + TRAIN_SIDE >= height || top + TRAIN_SIDE - 1 - y >= margin) &&
                               (left + TRAIN_SIDE >= width || left + TRAIN_SIDE - 1 - x >= margin);
            marked += mask[y * width + x];
            inside += mask[y * width + x] && clear;
        }
    return marked == 0 ? BLEMISH_LABEL_GOOD : inside ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_UNKNOWN;
}

static const Sample *find(const Pieces *p, const Sample *image, size_t y, size_t x) {
    for (size_t i = 0; i < p->normals + p->anomalies; i++)
        if (p->samples[i]->path == image->path && p->samples[i]->tile.y == y && p->samples[i]->tile.x == x)
            return p->samples[i];
    return NULL;
}

static void check_tiles(const Pieces *p, const Sample *image, double overlap, size_t *total) {
    size_t width, height;
    Error e = {0};
    PieceMasks masks = {0};
    uint8_t *mask = whole_mask(image, &width, &height);
    const size_t shared = (size_t)(overlap * TRAIN_SIDE + 0.5), margin = shared / 2 < 8 ? shared / 2 : 8;
    const TileAxis ys = tile_axis(height, TRAIN_SIDE, shared), xs = tile_axis(width, TRAIN_SIDE, shared);
    uint8_t *seen = array_new(width * height, 1, &e); /* in a tile that is learned as defective */
    for (size_t i = 0; i < ys.count * xs.count; i++) {
        const size_t top = tile_first(&ys, i / xs.count), left = tile_first(&xs, i % xs.count);
        const BlemishLabel label = label_by_hand(mask, width, height, top, left, margin);
        const Sample *s = find(p, image, top, left);
        assert_true((s == NULL) == (label == BLEMISH_LABEL_UNKNOWN));
        if (s == NULL) continue;
        (*total)++;
        assert_true(s->label == label && s->tile.cut && s->mask_path == image->mask_path);
        if (label == BLEMISH_LABEL_GOOD) continue;
        BlemishImage part;
        uint8_t scratch[TRAIN_SIDE * TRAIN_SIDE];
        const BlemishImage whole = {mask, width, height, width, 1};
        const BlemishImage window = image_window(&whole, top, left, TRAIN_SIDE, TRAIN_SIDE, scratch);
        assert_ok(piece_mask(&masks, s, TRAIN_SIDE, TRAIN_SIDE, &part, &e), e.text);
        for (size_t y = 0; y < TRAIN_SIDE; y++)
            assert_memory_equal(part.data + y * part.stride, window.data + y * window.stride, TRAIN_SIDE);
        image_free(&part);
        for (size_t y = top; y < height && y < top + TRAIN_SIDE; y++)
            for (size_t x = left; x < width && x < left + TRAIN_SIDE; x++) seen[y * width + x] = 1;
    }
    for (size_t i = 0; i < width * height; i++) assert_true(!mask[i] || seen[i]); /* no defect is lost */
    piece_masks_close(&masks);
    array_free(mask);
    array_free(seen);
}

static void tiles_are_labelled_by_their_masks(void **state) {
    (void)state;
    Random r = random_new(4, 0);
    Manifest m = {.layout = "test"};
    for (size_t i = 0; i < 24; i++) {
        char name[32];
        snprintf(name, sizeof name, "p%zu.png", i);
        add_picture(&m, name, uniform(&r, 1, i % 4 ? 140 : 31), uniform(&r, 1, 140), i % 3 != 0, &r);
    }
    static const double overlaps[] = {0.25, 0.5, 0, 0.1};
    for (int k = 0; k < 4; k++) {
        Error e = {0};
        Pieces p;
        const Recipe recipe = tiled_recipe(REGIME_SUPERVISED, overlaps[k]);
        assert_ok(pieces_open(&p, &m, &g, &recipe, &e), e.text);
        size_t total = 0;
        for (size_t i = 0; i < m.count; i++) check_tiles(&p, &m.samples[i], overlaps[k], &total);
        assert_int_equal(total, p.normals + p.anomalies);
        for (size_t i = 0; i < total; i++)
            assert_true(p.samples[i]->label == (i < p.normals ? BLEMISH_LABEL_GOOD : BLEMISH_LABEL_DEFECT));
        assert_true(p.anomalies > 0);
        pieces_close(&p);
    }
    manifest_close(&m);
}

static void what_cannot_be_told_is_left_out(void **state) {
    (void)state;
    Error e = {0};
    Manifest m;
    Pieces p;
    train_manifest(&m, folder, 2, 3, 1);
    const Recipe recipe = tiled_recipe(REGIME_SUPERVISED, 0.25), good_only = tiled_recipe(REGIME_UNSUPERVISED, 0.25);
    assert_ok(pieces_open(&p, &m, &g, &recipe, &e), e.text);
    for (size_t i = 0; i < p.normals + p.anomalies; i++) assert_true(p.samples[i]->path != m.samples[4].path);
    pieces_close(&p);
    assert_ok(pieces_open(&p, &m, &g, &good_only, &e), e.text);
    assert_int_equal(p.normals, 4); /* 40 x 32: two tiles each */
    assert_int_equal(p.anomalies, 0);
    pieces_close(&p);
    manifest_close(&m);
    train_manifest(&m, folder, 2, 3, 3);
    assert_int_equal(pieces_open(&p, &m, &g, &recipe, &e), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(e.text, "data set: found no training image with a mask that marks its defect, expected some to "
                                "train on tiles, supervised");
    pieces_close(&p);
    manifest_close(&m);
}

/* ---- features and training ------------------------------------------------------------------------------- */

/* A tile's features are those of a file that holds just its pixels. */
static void a_tile_is_an_image_of_its_own(void **state) {
    (void)state;
    Error e = {0};
    Trunk trunk;
    Engine *engine;
    Features f;
    char path[PATH_SIZE], crop[3][PATH_SIZE];
    static const Tile tiles[3] = {{true, 7, 50}, {true, 0, 3}, {true, 13, 0}};
    const FeatureSettings settings = {.cache_mb = 64};
    FeatureSource sources[6];
    uint8_t scratch[TRAIN_SIDE * TRAIN_SIDE * 3];
    BlemishImage image, copy;
    picture_make(&image, 90, 45, 3, 6);
    assert_ok(image_write_png(&image, path_in(path, folder, "whole.png"), &e), e.text);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "crop%d.png", i);
        copy = image_window(&image, tiles[i].y, tiles[i].x, TRAIN_SIDE, TRAIN_SIDE, scratch);
        assert_ok(image_write_png(&copy, path_in(crop[i], folder, name), &e), e.text);
        Augmentation view = AUGMENT_NONE;
        view.flip = (Flip)i;
        view.turn = (unsigned)i;
        sources[i] = (FeatureSource){path, view, tiles[i]};
        sources[3 + i] = (FeatureSource){crop[i], view, {0}};
    }
    image_free(&image);
    assert_ok(trunk_load(&trunk, "resnet18", NULL, &e), e.text);
    assert_ok(engine_open(&engine, 1, &e), e.text);
    assert_ok(features_open(&f, engine, &trunk, &g, sources, 6, &settings, &e), e.text);
    const size_t size = f.size2 + f.size3;
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(f.memory + i * size, f.memory + (3 + i) * size, size * sizeof *f.memory);
    assert_true(memcmp(f.memory, f.memory + size, size * sizeof *f.memory) != 0);
    features_close(&f);
    sources[0].tile.y = 45;
    assert_int_equal(features_open(&f, engine, &trunk, &g, sources, 6, &settings, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "whole.png: found 45x90 pixels, fewer than when it was read first"));
    engine_close(engine);
    trunk_close(&trunk);
}

static void train(Heads *heads, const Manifest *m, Recipe recipe, const BlemishTrainSettings *settings,
                  BlemishStatus expected) {
    Error e = {0};
    Trunk trunk;
    assert_ok(trunk_load(&trunk, "resnet18", NULL, &e), e.text);
    const BlemishStatus status = train_run(heads, &trunk, m, "data", &recipe, settings, &e);
    if (status != expected) fail_msg("%d: %s", status, e.text);
    trunk_close(&trunk);
}

static void a_stopped_training_goes_on_to_the_same_bits(void **state) {
    (void)state;
    Manifest m;
    Heads whole, resumed;
    char path[PATH_SIZE];
    BlemishTrainSettings settings = train_settings();
    train_manifest(&m, folder, 3, 2, 0);
    for (int variants = 0; variants <= 2; variants += 2) { /* kept views, and ones that are drawn at every showing */
        Recipe recipe = tiled_recipe(REGIME_SUPERVISED, 0.25);
        recipe.shift = 0.1;
        recipe.variants = (size_t)variants;
        settings.checkpoint = NULL;
        settings.progress = NULL;
        train(&whole, &m, recipe, &settings, BLEMISH_OK);
        Stop stop = {.stage = "train", .at = 4};
        settings.checkpoint = path_in(path, folder, "run.checkpoint");
        settings.progress = train_stop;
        settings.progress_user = &stop;
        train(&resumed, &m, recipe, &settings, BLEMISH_ERROR_INTERRUPTED);
        stop.stage = NULL;
        settings.resume = 1;
        train(&resumed, &m, recipe, &settings, BLEMISH_OK);
        settings.resume = 0;
        assert_true(heads_equal(&whole, &resumed));
        heads_close(&whole);
        heads_close(&resumed);
        unlink(path);
    }
    manifest_close(&m);
}

/* Images of just the tile's size are learned from alike. */
static void one_tile_an_image_is_no_tiles(void **state) {
    (void)state;
    Manifest m = {.layout = "test"};
    Random r = random_new(9, 0);
    Heads tiled, plain;
    const BlemishTrainSettings settings = train_settings();
    char name[32];
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "s%zu.png", i);
        add_picture(&m, name, TRAIN_SIDE, TRAIN_SIDE, i >= 3, &r);
    }
    Recipe recipe = tiled_recipe(REGIME_SUPERVISED, 0.5);
    train(&tiled, &m, recipe, &settings, BLEMISH_OK);
    recipe.tiles = 0;
    train(&plain, &m, recipe, &settings, BLEMISH_OK);
    assert_true(heads_equal(&tiled, &plain));
    heads_close(&tiled);
    heads_close(&plain);
    manifest_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_labelled_by_their_masks),
        cmocka_unit_test(what_cannot_be_told_is_left_out),
        cmocka_unit_test(a_tile_is_an_image_of_its_own),
        cmocka_unit_test(a_stopped_training_goes_on_to_the_same_bits),
        cmocka_unit_test(one_tile_an_image_is_no_tiles),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

/* Training with a region of interest: what is outside has no say in what is learned. */
#include "helper_folder.h"
#include "helper_train.h"

#include <stdio.h>
#include <string.h>

/* Changes every pixel that is not used by anything at all. */
static void change_outside(BlemishImage *image, const uint8_t *used, uint64_t seed) {
    Random r = random_new(seed, 9);
    for (size_t i = 0; i < image->height * image->width; i++)
        for (size_t c = 0; c < 3 && !used[i]; c++) image_pixels(image)[3 * i + c] = (uint8_t)random_below(&r, 256);
}

/* Two data sets that differ outside the region alone, and in marked defects there, give the same heads. */
static void training_sees_nothing_outside(void **state) {
    (void)state;
    enum { GOOD = 6, DEFECTS = 3, SIDE = TRAIN_SIDE };
    Error e = {0};
    Trunk trunk;
    uint8_t inside[SIDE * SIDE] = {0};
    const BlemishImage roi = {inside, SIDE, SIDE, SIDE, 1};
    for (size_t y = 5; y < 27; y++) memset(inside + y * SIDE + 9, 1, 20);
    assert_ok(trunk_load(&trunk, "resnet18", NULL, &e), e.text);
    Manifest m[2] = {{.layout = "test"}, {.layout = "test"}};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < GOOD + DEFECTS; i++) {
            const bool defect = i >= GOOD;
            char name[32], mask_name[32], path[PATH_SIZE];
            BlemishImage image, mask;
            picture_make(&image, SIDE, SIDE, 3, i);
            assert_ok(image_new(&mask, SIDE, SIDE, 1, &e), e.text);
            for (size_t y = 10; defect && y < 20; y++) memset(image_pixels(&mask) + y * SIDE + 12 + i % 3, 255, 8);
            if (k) change_outside(&image, inside, 100 + i);
            for (size_t p = 0; k && p < SIDE * SIDE; p++)
                if (!inside[p]) image_pixels(&mask)[p] = defect && p % 3 ? 255 : 0;
            snprintf(name, sizeof name, "%zu-%zu.png", k, i);
            snprintf(mask_name, sizeof mask_name, "%zu-%zu-mask.png", k, i);
            assert_ok(image_write_png(&image, path_in(path, folder, name), &e), e.text);
            assert_ok(image_write_png(&mask, path_in(path, folder, mask_name), &e), e.text);
            train_list(&m[k], folder, name, defect ? mask_name : NULL,
                       defect ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TRAIN);
            image_free(&image), image_free(&mask);
        }
    /* A defect of which nothing is inside is left out. */
    char path[PATH_SIZE];
    BlemishImage mask;
    assert_ok(image_new(&mask, SIDE, SIDE, 1, &e), e.text);
    memset(image_pixels(&mask), 255, 4 * SIDE);
    assert_ok(image_write_png(&mask, path_in(path, folder, "outside-mask.png"), &e), e.text);
    image_free(&mask);
    train_list(&m[1], folder, "1-0.png", "outside-mask.png", BLEMISH_LABEL_DEFECT, BLEMISH_SPLIT_TRAIN);
    static const Regime regimes[] = {REGIME_UNSUPERVISED, REGIME_SUPERVISED, REGIME_SUPERVISED};
    for (int round = 0; round < 3; round++) {
        Recipe recipe = train_recipe(regimes[round], VARIANT_JIMS);
        recipe.epochs = 2;
        if (round == 2) {
            recipe.rotate = 1;
            recipe.brightness = recipe.contrast = 0.3, recipe.shift = 0.1;
            recipe.variants = 0;
        }
        BlemishTrainSettings settings = train_settings();
        Heads heads[3];
        const int runs = round ? 2 : 3; /* once without the region: it makes a difference */
        for (int k = 0; k < runs; k++) {
            Recipe copy = recipe;
            settings.roi = k < 2 ? &roi : NULL;
            assert_ok(train_run(&heads[k], &trunk, &m[k % 2], "data", &copy, &settings, &e), e.text);
        }
        assert_true(heads_equal(&heads[0], &heads[1]));
        if (round == 0) assert_false(heads_equal(&heads[0], &heads[2]));
        for (int k = 0; k < runs; k++) heads_close(&heads[k]);
    }
    /* A checkpoint is of one region. */
    Recipe recipe = train_recipe(REGIME_UNSUPERVISED, VARIANT_JIMS), copy = recipe;
    BlemishTrainSettings settings = train_settings();
    Stop stop = {.stage = "train", .at = 1};
    Heads heads;
    settings.checkpoint = path_in(path, folder, "roi.checkpoint");
    settings.resume = 1;
    settings.roi = &roi;
    settings.progress = train_stop, settings.progress_user = &stop;
    assert_int_equal(train_run(&heads, &trunk, &m[0], "data", &copy, &settings, &e), BLEMISH_ERROR_INTERRUPTED);
    settings.progress = NULL;
    settings.roi = NULL;
    copy = recipe;
    assert_int_equal(train_run(&heads, &trunk, &m[0], "data", &copy, &settings, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "data, region of interest "));
    /* Nothing marked inside is nothing to learn from. */
    memset(inside, 0, sizeof inside);
    inside[SIDE * SIDE - 1] = 1;
    settings = train_settings();
    settings.roi = &roi;
    copy = train_recipe(REGIME_SUPERVISED, VARIANT_JIMS);
    assert_int_equal(train_run(&heads, &trunk, &m[0], "data", &copy, &settings, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "found no defect marked inside"));
    for (int k = 0; k < 2; k++) manifest_close(&m[k]);
    trunk_close(&trunk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(training_sees_nothing_outside, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How a region of interest is learned from good images. */
#include "api/api.h"
#include "helper_folder.h"
#include "helper_train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One image of a round object with a texture of its own on a background, noise of so many grey levels over all. */
typedef struct Scene {
    double radius, wander; /* parts of the shorter side; radius 0: background alone, 9: object alone */
    double noise, drift;   /* grey levels; drift: of the light from the first image to the last */
    bool plain;            /* the object's middle is as constant as the background */
} Scene;

static void scene_write(const Scene *s, const char *path, size_t width, size_t height, size_t number, size_t count) {
    Error e = {0};
    Random r = random_new(77, number);
    BlemishImage image;
    assert_ok(image_new(&image, width, height, 3, &e), e.text);
    const double side = (double)(width < height ? width : height);
    const double cy = (double)height / 2 + side * s->wander * (2 * (double)random_float(&r) - 1);
    const double cx = (double)width / 2 + side * s->wander * (2 * (double)random_float(&r) - 1);
    const double phase = 6 * (double)random_float(&r), light = s->drift * (double)number / (double)count;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const double v = ((double)y - cy) / side, u = ((double)x - cx) / side, d = sqrt(u * u + v * v);
            const bool object = d < s->radius;
            const double texture = s->plain && d < 0.9 * s->radius ? 0 : 30 * sin(60 * u + phase) * cos(45 * v - phase);
            for (size_t c = 0; c < 3; c++) {
                const double value = (object ? 150 + texture : 60) + light + s->noise * (double)random_normal(&r);
                image_pixels(&image)[y * image.stride + 3 * x + c] = (uint8_t)fmin(fmax(value + 0.5, 0), 255);
            }
        }
    assert_ok(image_write_png(&image, path, &e), e.text);
    image_free(&image);
}

enum { SCENE = 96, IMAGES = 16 };

/* Learns from so many scenes; sizes differ where asked for. */
static BlemishStatus learn(const Scene *s, size_t images, bool sizes, BlemishImage *mask, BlemishRoi *found,
                           char *error) {
    BlemishDataset data = {.manifest = {.layout = "test"}, .open = true};
    for (size_t i = 0; i < images; i++) {
        char name[32], path[PATH_SIZE];
        const size_t scale = sizes ? 1 + i % 2 : 1;
        snprintf(name, sizeof name, "scene-%03zu.png", i);
        scene_write(s, path_in(path, folder, name), SCENE * scale, SCENE * scale, i, images);
        train_list(&data.manifest, folder, name, NULL, BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TRAIN);
    }
    train_list(&data.manifest, folder, "not-read.png", NULL, BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TEST);
    train_list(&data.manifest, folder, "not-read.png", NULL, BLEMISH_LABEL_DEFECT, BLEMISH_SPLIT_TRAIN);
    const BlemishStatus status = blemish_roi_learn(&data, SCENE, SCENE, mask, found, NULL, NULL, error);
    manifest_close(&data.manifest);
    return status;
}

/* Everything the object reaches is inside, and all that is `far` (a part of the side) from it is outside. */
static void assert_learned(const Scene *s, bool sizes, double far) {
    char error[BLEMISH_ERROR_SIZE] = "";
    BlemishImage mask;
    BlemishRoi found;
    size_t inside = 0;
    assert_ok(learn(s, IMAGES, sizes, &mask, &found, error), error);
    if (found.whole) fail_msg("found all of the image: %s (%g, %g)", found.whole, found.still, found.moving);
    assert_true(mask.width == SCENE && mask.height == SCENE && found.images == IMAGES);
    assert_true(found.moving >= 3 * found.still);
    for (size_t y = 0; y < SCENE; y++)
        for (size_t x = 0; x < SCENE; x++) {
            const double v = (double)y / SCENE - 0.5, u = (double)x / SCENE - 0.5, d = sqrt(u * u + v * v);
            const uint8_t is = mask.data[y * SCENE + x];
            inside += is;
            if (d < s->radius && !is) fail_msg("a pixel of the object is outside, at (%zu, %zu)", x, y);
            if (d > s->radius + s->wander * 1.5 + far && is) fail_msg("background is inside, at (%zu, %zu)", x, y);
        }
    assert_true(found.share == (double)inside / (SCENE * SCENE));
    image_free(&mask);
}

static void objects_are_told_from_a_still_background(void **state) {
    (void)state;
    /* far: the margin of 1/32 of the side and a pixel, to the corner of its square, and what closing and noise add. */
    assert_learned(&(Scene){.radius = 0.25, .noise = 0}, false, 0.09);
    assert_learned(&(Scene){.radius = 0.25, .noise = 2}, false, 0.09);
    assert_learned(&(Scene){.radius = 0.3, .noise = 2, .drift = 20}, false, 0.09);
    assert_learned(&(Scene){.radius = 0.25, .noise = 2, .wander = 0.08}, false, 0.09);
    assert_learned(&(Scene){.radius = 0.3, .noise = 1, .plain = true}, false, 0.09); /* enclosed, so inside */
    assert_learned(&(Scene){.radius = 0.25, .noise = 2}, true, 0.12);
}

static void assert_whole(const Scene *s, const char *why) {
    char error[BLEMISH_ERROR_SIZE] = "";
    BlemishImage mask;
    BlemishRoi found;
    assert_ok(learn(s, IMAGES, false, &mask, &found, error), error);
    assert_non_null(found.whole);
    assert_non_null(strstr(found.whole, why));
    assert_true(found.share == 1);
    for (size_t i = 0; i < SCENE * SCENE; i++) assert_int_equal(mask.data[i], 1);
    image_free(&mask);
}

static void what_has_no_two_parts_is_whole(void **state) {
    (void)state;
    assert_whole(&(Scene){.radius = 0, .noise = 5}, "no part of the image is much stiller");
    assert_whole(&(Scene){.radius = 9, .noise = 2}, "no part of the image is much stiller");
    assert_whole(&(Scene){.radius = 0, .noise = 0}, "the images are all the same");
    assert_whole(&(Scene){.radius = 0, .noise = 0, .drift = 100}, "no p"); /* the light alone changes */
}

static void learning_refuses(void **state) {
    (void)state;
    char error[BLEMISH_ERROR_SIZE];
    BlemishImage mask;
    BlemishRoi found;
    const Scene s = {.radius = 0.25, .noise = 2};
    for (size_t images = 0; images < 8; images += 7) {
        assert_int_equal(learn(&s, images, false, &mask, &found, error), BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(error, "good training images, expected 8 or more to learn from"));
        assert_null(mask.data);
    }
    assert_ok(learn(&s, 8, false, &mask, &found, error), error);
    assert_int_equal(found.images, 8);
    image_free(&mask);
    BlemishDataset data = {.manifest = {.layout = "test"}, .open = true};
    for (int i = 0; i < 8; i++)
        train_list(&data.manifest, folder, i < 7 ? "scene-000.png" : "gone.png", NULL, BLEMISH_LABEL_GOOD,
                   BLEMISH_SPLIT_TRAIN);
    assert_int_equal(blemish_roi_learn(&data, 32, 32, &mask, &found, NULL, NULL, error), BLEMISH_ERROR_IO);
    assert_non_null(strstr(error, "gone.png"));
    assert_int_equal(blemish_roi_learn(&data, 32, 5000, &mask, &found, NULL, NULL, error), BLEMISH_ERROR_ARGUMENT);
    Stop stop = {.stage = "learn region", .at = 2};
    assert_int_equal(blemish_roi_learn(&data, 32, 32, &mask, &found, train_stop, &stop, error),
                     BLEMISH_ERROR_INTERRUPTED);
    manifest_close(&data.manifest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_told_from_a_still_background),
        cmocka_unit_test(what_has_no_two_parts_is_whole),
        cmocka_unit_test(learning_refuses),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

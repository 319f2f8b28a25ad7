/* The pictures of a report: decoded again they are what was evaluated. */
#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spng.h>

enum { SIDE = 20 };
static float map[SIDE * SIDE];
static uint8_t mask[SIDE * SIDE];

static BlemishEvaluated evaluated(const BlemishImage *image) {
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        map[i] = (float)i / (SIDE * SIDE - 1);
        mask[i] = i / SIDE >= 4 && i / SIDE < 12 && i % SIDE >= 4 && i % SIDE < 9;
    }
    return (BlemishEvaluated){.sample = {.path = "x.png", .type = "t", .label = BLEMISH_LABEL_DEFECT},
                              .image = *image,
                              .mask = mask,
                              .result = {.map = map, .map_width = SIDE, .map_height = SIDE}};
}

/* The four bytes of every pixel. */
static uint8_t *decode_png(const uint8_t *bytes, size_t size, size_t *width, size_t *height) {
    spng_ctx *png = spng_ctx_new(0);
    struct spng_ihdr header;
    size_t length;
    assert_int_equal(spng_set_png_buffer(png, bytes, size), 0);
    assert_int_equal(spng_get_ihdr(png, &header), 0);
    assert_int_equal(spng_decoded_image_size(png, SPNG_FMT_RGBA8, &length), 0);
    uint8_t *pixels = malloc(length);
    assert_int_equal(spng_decode_image(png, pixels, length, SPNG_FMT_RGBA8, SPNG_DECODE_TRNS), 0);
    spng_ctx_free(png);
    *width = header.width, *height = header.height;
    return pixels;
}

static void test_planes(void **state) {
    (void)state;
    Error e = {0};
    BlemishImage image;
    assert_int_equal(image_new(&image, 30, 10, 3, &e), BLEMISH_OK);
    const BlemishEvaluated v = evaluated(&image);
    for (int kind = BLEMISH_PICTURE_TRUTH; kind < BLEMISH_PICTURES; kind++) {
        uint8_t *bytes;
        size_t size, width, height;
        assert_int_equal(blemish_picture(&v, (BlemishPictureKind)kind, 64, &bytes, &size, NULL), BLEMISH_OK);
        uint8_t *pixels = decode_png(bytes, size, &width, &height);
        assert_true(width == SIDE && height == SIDE);
        for (size_t i = 0; i < SIDE * SIDE; i++) {
            const uint8_t *p = pixels + 4 * i;
            const size_t y = i / SIDE, x = i % SIDE;
            const bool edge = mask[i] && (y == 4 || y == 11 || x == 4 || x == 8);
            uint8_t colour[3];
            colour_turbo(roundf(255 * map[i]) / 255, colour);
            if (kind == BLEMISH_PICTURE_TRUTH) assert_true(p[0] == 255 * mask[i] && p[3] == 255);
            if (kind == BLEMISH_PICTURE_OUTLINE) assert_true(p[3] == (edge ? 255 : 0));
            if (kind == BLEMISH_PICTURE_MAP) assert_memory_equal(p, colour, 3);
            if (kind == BLEMISH_PICTURE_MAP && i) assert_true(p[3] >= p[-1]); // the map rises, and so does its weight
        }
        free(pixels);
        blemish_bytes_free(bytes);
    }
    image_free(&image);
}

/* Stripes of one pixel, which average to one grey; plain sampling would give black or white. */
static void test_image_is_averaged(void **state) {
    (void)state;
    Error e = {0};
    const size_t shapes[][4] = {{1000, 500, 100, 50}, {37, 300, 12, 100}, {90, 40, 90, 40}, {3, 900, 1, 100}};
    char path[] = "/tmp/blemish-test-XXXXXX";
    close(mkstemp(path));
    for (size_t s = 0; s < 4; s++) {
        BlemishImage image, back;
        uint8_t *bytes;
        size_t size;
        assert_int_equal(image_new(&image, shapes[s][0], shapes[s][1], 1, &e), BLEMISH_OK);
        for (size_t i = 0; i < image.stride * image.height; i++) {
            image_pixels(&image)[i] = image.width > 100 ? (i % image.stride % 2 ? 255 : 0) : 60;
        }
        const BlemishEvaluated v = evaluated(&image);
        assert_int_equal(blemish_picture(&v, BLEMISH_PICTURE_IMAGE, 100, &bytes, &size, NULL), BLEMISH_OK);
        FILE *file = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        fclose(file);
        assert_int_equal(image_decode(&back, path, &e), BLEMISH_OK);
        assert_true(back.width == shapes[s][2] && back.height == shapes[s][3]);
        const int wanted = image.width > 100 ? 128 : 60;
        for (size_t i = 0; i < back.stride * back.height; i++) assert_in_range(back.data[i] + 3, wanted, wanted + 6);
        image_free(&back);
        image_free(&image);
        blemish_bytes_free(bytes);
    }
    unlink(path);
}

/* The right half counts; JPEG blurs up to a block of 8 pixels across the edge. */
static void test_image_is_dark_outside(void **state) {
    (void)state;
    enum { WIDTH = 96, HEIGHT = 40 };
    Error e = {0};
    BlemishImage image, back;
    uint8_t *bytes, roi[SIDE * SIDE];
    size_t size;
    char path[] = "/tmp/blemish-test-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < SIDE * SIDE; i++) roi[i] = i % SIDE >= SIDE / 2;
    for (int channels = 1; channels <= 3; channels += 2)
        for (size_t side = WIDTH; side >= WIDTH / 2; side -= WIDTH / 2) {
            assert_int_equal(image_new(&image, WIDTH, HEIGHT, channels, &e), BLEMISH_OK);
            memset(image_pixels(&image), 210, image.stride * HEIGHT);
            BlemishEvaluated v = evaluated(&image);
            v.roi = roi;
            assert_int_equal(blemish_picture(&v, BLEMISH_PICTURE_IMAGE, side, &bytes, &size, NULL), BLEMISH_OK);
            FILE *file = fopen(path, "wb");
            assert_int_equal(fwrite(bytes, 1, size, file), size);
            fclose(file);
            assert_int_equal(image_decode(&back, path, &e), BLEMISH_OK);
            assert_int_equal(back.width, side);
            for (size_t x = 0; x < side; x++) {
                if (x + 8 >= side / 2 && x < side / 2 + 8) continue;
                const int wanted = x < side / 2 ? 210 / 3 : 210;
                for (size_t c = 0; c < 3; c++)
                    assert_in_range(back.data[3 * x + c] + 3, wanted, wanted + 6); /* JPEG's rounding */
            }
            image_free(&back);
            image_free(&image);
            blemish_bytes_free(bytes);
        }
    unlink(path);
}

static void test_refusals(void **state) {
    (void)state;
    Error e = {0};
    BlemishImage image;
    char error[BLEMISH_ERROR_SIZE];
    uint8_t *bytes;
    size_t size;
    assert_int_equal(image_new(&image, 8, 8, 3, &e), BLEMISH_OK);
    BlemishEvaluated v = evaluated(&image);
    assert_int_equal(blemish_picture(NULL, BLEMISH_PICTURE_MAP, 64, &bytes, &size, error), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_picture(&v, BLEMISH_PICTURES, 64, &bytes, &size, error), BLEMISH_ERROR_ARGUMENT);
    assert_null(bytes);
    assert_int_equal(blemish_picture(&v, BLEMISH_PICTURE_MAP, 15, &bytes, &size, error), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(error, "picture: side: found 15 pixels, expected 16 to 4096");
    v.mask = NULL;
    assert_int_equal(blemish_picture(&v, BLEMISH_PICTURE_TRUTH, 64, &bytes, &size, error), BLEMISH_OK);
    assert_null(bytes);
    assert_int_equal(blemish_picture(&v, BLEMISH_PICTURE_OUTLINE, 64, &bytes, &size, error), BLEMISH_OK);
    assert_null(bytes);
    image_free(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planes), cmocka_unit_test(test_image_is_averaged),
                                       cmocka_unit_test(test_image_is_dark_outside), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Writing pictures and maps, and drawing on them. */
#include "helper_image.h"
#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tiffio.h>

static char folder[64], path[96];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/blemish-test-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/image", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails, and the test with it, where a temporary file was left */
}

static void png_round_trip(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(51, 0);
    const size_t sizes[][2] = {{1, 1}, {37, 29}, {1, 300}, {300, 1}, {257, 130}};
    for (int i = 0; i < 10; i++) {
        size_t width = sizes[i / 2][0], height = sizes[i / 2][1], channels = i % 2 ? 3 : 1,
               stride = width * channels + 7;
        uint8_t *memory = malloc(stride * height);
        assert_non_null(memory);
        for (size_t k = 0; k < stride * height; k++) memory[k] = (uint8_t)random_u32(&r);
        BlemishImage image = {memory, width, height, stride, (int)channels}, back;
        assert_int_equal(image_write_png(&image, path, &e), BLEMISH_OK);
        assert_int_equal(image_decode(&back, path, &e), BLEMISH_OK);
        assert_true(back.width == width && back.height == height);
        for (size_t y = 0; y < height; y++)
            for (size_t x = 0; x < 3 * width; x++)
                assert_int_equal(back.data[y * back.stride + x], memory[y * stride + (channels == 3 ? x : x / 3)]);
        image_free(&back);
        free(memory);
    }
}

static void tiff_holds_the_same_bits(void **state) {
    (void)state;
    Error e = {0};
    const size_t sizes[][2] = {{1, 1}, {37, 29}, {5000, 3}, {3, 5000}};
    Random r = random_new(52, 0);
    for (int i = 0; i < 4; i++) {
        size_t width = sizes[i][0], height = sizes[i][1];
        float *values = malloc(width * height * sizeof *values), *back = malloc(width * sizeof *back);
        assert_true(values && back);
        for (size_t k = 0; k < width * height; k++) values[k] = random_normal(&r);
        values[0] = NAN;
        values[width * height - 1] = INFINITY;
        assert_int_equal(image_write_tiff_f32(values, width, height, path, &e), BLEMISH_OK);
        TIFF *tif = TIFFOpen(path, "r");
        assert_non_null(tif);
        uint32_t w, h;
        uint16_t bits, samples, format, photometric;
        TIFFGetField(tif, TIFFTAG_IMAGEWIDTH, &w);
        TIFFGetField(tif, TIFFTAG_IMAGELENGTH, &h);
        TIFFGetField(tif, TIFFTAG_BITSPERSAMPLE, &bits);
        TIFFGetField(tif, TIFFTAG_SAMPLESPERPIXEL, &samples);
        TIFFGetField(tif, TIFFTAG_SAMPLEFORMAT, &format);
        TIFFGetField(tif, TIFFTAG_PHOTOMETRIC, &photometric);
        assert_true(w == width && h == height && bits == 32 && samples == 1);
        assert_true(format == SAMPLEFORMAT_IEEEFP && photometric == PHOTOMETRIC_MINISBLACK);
        for (uint32_t y = 0; y < h; y++) {
            assert_int_equal(TIFFReadScanline(tif, back, y, 0), 1);
            assert_memory_equal(back, values + y * width, width * sizeof *back);
        }
        TIFFClose(tif);
        free(values);
        free(back);
    }
}

static void failed_writes_leave_the_old_file(void **state) {
    (void)state;
    Error e = {0};
    const size_t side = 300;
    BlemishImage image;
    float *values = calloc(side * side, sizeof *values);
    assert_non_null(values);
    assert_int_equal(image_new(&image, side, side, 3, &e), BLEMISH_OK);
    Random r = random_new(53, 0);
    for (size_t i = 0; i < side * side * 3; i++) image_pixels(&image)[i] = (uint8_t)random_u32(&r);
    file_write(path, "old", 3);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    /* A disk that is full from the start, in the middle, and (for the TIFF) when only the directory is left. */
    const size_t limits[] = {0, 10000, side * side * sizeof *values + 8};
    BlemishStatus png[3], tiff[3];
    char png_text[BLEMISH_ERROR_SIZE], tiff_text[BLEMISH_ERROR_SIZE];
    for (int i = 0; i < 3; i++) {
        limit = before;
        limit.rlim_cur = limits[i];
        setrlimit(RLIMIT_FSIZE, &limit);
        png[i] = i < 2 ? image_write_png(&image, path, &e) : BLEMISH_ERROR_IO;
        strcpy(png_text, e.text);
        tiff[i] = image_write_tiff_f32(values, side, side, path, &e);
        strcpy(tiff_text, e.text);
        setrlimit(RLIMIT_FSIZE, &before);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(png[i], BLEMISH_ERROR_IO);
        assert_int_equal(tiff[i], BLEMISH_ERROR_IO);
    }
    assert_ptr_equal(strstr(png_text, path), png_text);
    assert_ptr_equal(strstr(tiff_text, path), tiff_text);
    size_t size;
    uint8_t *old = file_read(path, &size);
    assert_int_equal(size, 3);
    free(old);
    char missing[128];
    snprintf(missing, sizeof missing, "%s/none/image", folder);
    assert_int_equal(image_write_png(&image, missing, &e), BLEMISH_ERROR_IO);
    assert_int_equal(image_write_tiff_f32(values, side, side, missing, &e), BLEMISH_ERROR_IO);
    assert_int_equal(image_write_tiff_f32(values, 0, side, path, &e), BLEMISH_ERROR_ARGUMENT);
    image_free(&image);
    free(values);
}

/* Three colours of the published 256-entry table (entries 0, 128, 255). The polynomial leaves the table most at the
 * dark end, by 0.125 in blue. */
static void turbo_is_turbo(void **state) {
    (void)state;
    const struct {
        float v;
        double rgb[3];
    } known[] = {{0, {0.18995, 0.07176, 0.23217}},
                 {128 / 255.0f, {0.64362, 0.98999, 0.23356}},
                 {1, {0.47960, 0.01583, 0.01055}}};
    for (size_t i = 0; i < 3; i++) {
        uint8_t rgb[3];
        colour_turbo(known[i].v, rgb);
        for (int c = 0; c < 3; c++) assert_true(fabs(rgb[c] / 255.0 - known[i].rgb[c]) < 0.13);
    }
    uint8_t low[3], high[3], found[3];
    colour_turbo(0, low);
    colour_turbo(1, high);
    const float outside[] = {-1, -INFINITY, NAN, 2, INFINITY};
    for (int i = 0; i < 5; i++) {
        colour_turbo(outside[i], found);
        assert_memory_equal(found, i < 3 ? low : high, 3);
    }
}

static BlemishImage grey_square(size_t side) {
    Error e = {0};
    BlemishImage image;
    assert_int_equal(image_new(&image, side, side, 3, &e), BLEMISH_OK);
    memset(image_pixels(&image), 100, 3 * side * side);
    return image;
}

static const uint8_t red[3] = {255, 0, 0};
static bool is_red(const BlemishImage *image, size_t x, size_t y) {
    return memcmp(image->data + y * image->stride + 3 * x, red, 3) == 0;
}

static void heat_grows_with_the_map(void **state) {
    (void)state;
    BlemishImage image = grey_square(16);
    float map[256];
    for (int i = 0; i < 256; i++) map[i] = (float)i / 255;
    draw_heatmap(&image, map);
    assert_int_equal(image.data[0], 100); /* value 0 leaves the surface as it is */
    assert_int_equal(image.data[1], 100);
    for (size_t i = 0; i < 256; i++) {
        uint8_t colour[3];
        colour_turbo(map[i], colour);
        double alpha = 0;
        for (int c = 0; c < 3; c++) /* every channel lies between the surface and the colour */
            assert_true(image.data[3 * i + (size_t)c] >= (colour[c] < 100 ? colour[c] : 100) &&
                        image.data[3 * i + (size_t)c] <= (colour[c] < 100 ? 100 : colour[c]));
        for (int c = 0; c < 3; c++)
            if (abs(colour[c] - 100) > 40) alpha = (image.data[3 * i + (size_t)c] - 100.0) / (colour[c] - 100.0);
        if (alpha != 0) assert_true(fabs(alpha - 0.8 * (double)map[i]) < 1.0 / 40); /* a rounding step of 40 or more */
    }
    image_free(&image);
}

static void shapes_are_where_they_should_be(void **state) {
    (void)state;
    const size_t n = 20;
    const size_t boxes[][5] = {{3, 4, 10, 9, 1},
                               {0, 0, 20, 20, 3},
                               {15, 2, 30, 5, 2},
                               {5, 5, 4, 4, 9},
                               {19, 19, 1, 1, 1},
                               {40, 40, 5, 5, 1},
                               {2, 2, SIZE_MAX, SIZE_MAX, 1},
                               {3, 3, 0, 5, 1}};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        const size_t *b = boxes[i];
        BlemishImage image = grey_square(n);
        draw_rectangle(&image, b[0], b[1], b[2], b[3], b[4], red);
        for (size_t y = 0; y < n; y++)
            for (size_t x = 0; x < n; x++) {
                bool inside = x >= b[0] && x - b[0] < b[2] && y >= b[1] && y - b[1] < b[3];
                bool edge = inside && (x - b[0] < b[4] || b[2] - (x - b[0]) <= b[4] || y - b[1] < b[4] ||
                                       b[3] - (y - b[1]) <= b[4]);
                assert_int_equal(is_red(&image, x, y), edge);
            }
        image_free(&image);
    }
    Random r = random_new(54, 0);
    uint8_t mask[400];
    for (size_t i = 0; i < 400; i++) mask[i] = random_below(&r, 5) > 0;
    BlemishImage image = grey_square(n);
    draw_contour(&image, mask, red);
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++) {
            bool left = x > 0 && mask[y * n + x - 1], right = x < n - 1 && mask[y * n + x + 1];
            bool up = y > 0 && mask[(y - 1) * n + x], down = y < n - 1 && mask[(y + 1) * n + x];
            assert_int_equal(is_red(&image, x, y), mask[y * n + x] && !(left && right && up && down));
        }
    BlemishImage small = grey_square(7);
    uint8_t grey[4] = {200, 201, 202, 203};
    BlemishImage tile = {grey, 2, 2, 2, 1};
    draw_image(&small, &tile, 6, 5); /* clipped to one column */
    draw_image(&small, &tile, 7, 0);
    draw_image(&small, &tile, 0, SIZE_MAX);
    for (size_t i = 0; i < 49; i++) {
        int expected = i == 5 * 7 + 6 ? 200 : i == 6 * 7 + 6 ? 202 : 100;
        for (size_t c = 0; c < 3; c++) assert_int_equal(small.data[3 * i + c], expected);
    }
    draw_image(&image, &small, 3, 2);
    assert_memory_equal(image.data + 2 * image.stride + 9, small.data, 21);
    image_free(&small);
    image_free(&image);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(png_round_trip), TEST(tiff_holds_the_same_bits), TEST(failed_writes_leave_the_old_file),
        TEST(turbo_is_turbo), TEST(heat_grows_with_the_map),  TEST(shapes_are_where_they_should_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

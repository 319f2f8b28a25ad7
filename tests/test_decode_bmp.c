/* Bitmaps: fixtures/bmp.txt, written by fixtures/make_bmp.py, holds files of every kind and what Pillow makes of them;
 * then files that are cut, damaged or hostile. */
#include "helper_image.h"
#include "helper_model.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MOST = 8192, FILE_MOST = TEXT_MOST / 2 };

typedef struct Bitmap {
    char kind[32];
    size_t width, height, size;
    int tolerance;
    uint8_t file[FILE_MOST], rgb[FILE_MOST];
} Bitmap;

static char folder[PATH_SIZE], path[PATH_SIZE];
static FILE *fixture;

static int set_up(void **state) {
    (void)state;
    folder_make(folder);
    path_in(path, folder, "image");
    fixture = fopen(TEST_DIR "/fixtures/bmp.txt", "r");
    return fixture == NULL;
}

static int tear_down(void **state) {
    (void)state;
    folder_remove(folder);
    return fixture == NULL || fclose(fixture);
}

static size_t from_hex(const char *text, uint8_t out[FILE_MOST]) {
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        char *end;
        out[i] = (uint8_t)strtoul(digits, &end, 16);
        assert_true(*end == 0);
    }
    return n;
}

static bool next_bitmap(Bitmap *b) {
    char file[TEXT_MOST + 1], rgb[TEXT_MOST + 1];
    *b = (Bitmap){0};
    if (fscanf(fixture, "%31s %zu %zu %d %8192s %8192s", b->kind, &b->width, &b->height, &b->tolerance, file, rgb) != 6)
        return false;
    b->size = from_hex(file, b->file);
    assert_int_equal(from_hex(rgb, b->rgb), 3 * b->width * b->height);
    return true;
}

static Bitmap bitmap_named(const char *kind) {
    Bitmap b;
    rewind(fixture);
    while (next_bitmap(&b))
        if (strcmp(b.kind, kind) == 0 && b.width == 13) return b;
    fail_msg("no bitmap %s", kind);
    return b;
}

static void assert_decodes(const Bitmap *b) {
    Error e = {0};
    BlemishImage image, mask;
    size_t width, height;
    file_write(path, b->file, b->size);
    assert_ok(image_decode(&image, path, &e), e.text);
    assert_ok(image_decode_mask(&mask, path, &e), e.text);
    assert_ok(image_probe(path, &width, &height, &e), e.text);
    assert_true(image.width == b->width && image.height == b->height && image.channels == 3);
    assert_true(mask.width == b->width && mask.height == b->height && mask.channels == 1);
    assert_true(width == b->width && height == b->height);
    for (size_t i = 0; i < 3 * width * height; i++)
        if (abs(image.data[i] - b->rgb[i]) > b->tolerance)
            fail_msg("%s, %zu wide, component %zu: found %d, expected %d", b->kind, width, i, image.data[i], b->rgb[i]);
    for (size_t i = 0; i < width * height; i++) {
        const uint8_t *rgb = image.data + 3 * i; /* no kind here has a component that rounds to 0 */
        assert_int_equal(mask.data[i], rgb[0] || rgb[1] || rgb[2]);
    }
    image_free(&image);
    image_free(&mask);
}

static void assert_refused(const uint8_t *bytes, size_t size, BlemishStatus status, const char *part) {
    Error e = {0};
    BlemishImage image;
    file_write(path, bytes, size);
    assert_int_equal(image_decode(&image, path, &e), status);
    assert_null(image.data);
    assert_ptr_equal(strstr(e.text, path), e.text);
    assert_null(strchr(e.text, '\n'));
    if (strstr(e.text, part) == NULL) fail_msg("\"%s\" does not hold \"%s\"", e.text, part);
    assert_int_equal(image_decode_mask(&image, path, &e), status);
}

static void as_pillow_reads_them(void **state) {
    (void)state;
    Bitmap b;
    size_t read = 0;
    rewind(fixture);
    for (; next_bitmap(&b); read++) assert_decodes(&b);
    assert_true(feof(fixture) && read > 60);
}

static void every_cut_is_refused(void **state) {
    (void)state;
    Bitmap b;
    rewind(fixture);
    while (next_bitmap(&b))
        for (size_t cut = 0; cut < b.size; cut++) assert_refused(b.file, cut, BLEMISH_ERROR_FORMAT, "found");
}

/* There is no checksum: whatever comes back is a whole image or one line. Sanitizers watch the rest. */
static void flipped_bits_do_no_harm(void **state) {
    (void)state;
    static const char *const kinds[] = {"palette1",  "palette4-core", "palette8-top", "rgb16-565",
                                        "rgb24-top", "rgb32-v4",      "pillow-P"};
    Random r = random_new(51, 0);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        Bitmap b = bitmap_named(kinds[k]);
        size_t refused = 0, headers = b.size < 140 ? b.size : 140;
        for (size_t i = 0; i < 8 * headers + 500; i++) { /* every bit of the headers, then three anywhere */
            uint8_t damaged[FILE_MOST];
            memcpy(damaged, b.file, b.size);
            if (i < 8 * headers)
                damaged[i / 8] ^= (uint8_t)(1 << i % 8);
            else
                for (int n = 0; n < 3; n++)
                    damaged[random_below(&r, (uint32_t)b.size)] ^= (uint8_t)(1 << random_below(&r, 8));
            Error e = {0};
            BlemishImage image;
            file_write(path, damaged, b.size);
            if (image_decode(&image, path, &e) == BLEMISH_OK) {
                assert_true(image.width * image.height * 32 <= 32 * 8 * b.size);
                image_free(&image);
            } else {
                refused++;
                assert_ptr_equal(strstr(e.text, path), e.text);
                assert_null(strchr(e.text, '\n'));
                assert_null(image.data);
            }
        }
        assert_true(refused > 50);
    }
}

static void put(uint8_t *at, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> 8 * i);
}

/* Offsets in the file: 10 where the pixels begin, 14 the header's length, 18 width, 22 height, 28 bits a pixel, 30
 * compression, 46 colours, 54 bit masks. */
static void wrong_fields_are_named(void **state) {
    (void)state;
    static const struct {
        const char *kind;
        size_t at;
        int bytes;
        uint32_t value;
        BlemishStatus status;
        const char *part;
    } bad[] = {
        {"palette8", 30, 4, 1, BLEMISH_ERROR_UNSUPPORTED, "BMP compression: found 1 (run lengths) at 8 bits"},
        {"palette4", 30, 4, 2, BLEMISH_ERROR_UNSUPPORTED, "BMP compression: found 2 (run lengths) at 4 bits"},
        {"rgb24", 30, 4, 4, BLEMISH_ERROR_UNSUPPORTED, "BMP compression: found 4 at 24 bits"},
        {"rgb24", 30, 4, 3, BLEMISH_ERROR_UNSUPPORTED, "BMP compression: found 3 at 24 bits"},
        {"rgb24", 14, 4, 39, BLEMISH_ERROR_FORMAT, "BMP header: found a length of 39, expected 12 or 40 to 124"},
        {"rgb24", 14, 4, 0xffffffff, BLEMISH_ERROR_FORMAT, "BMP header: found a length of 4294967295"},
        {"rgb24", 28, 2, 48, BLEMISH_ERROR_FORMAT, "BMP bits per pixel: found 48, expected 1, 2, 4, 8, 16, 24 or 32"},
        {"rgb24", 28, 2, 0, BLEMISH_ERROR_FORMAT, "BMP bits per pixel: found 0"},
        {"rgb24", 18, 4, 0, BLEMISH_ERROR_FORMAT, "size: found 0 x 3"},
        {"rgb24", 18, 4, 0xffffffff, BLEMISH_ERROR_FORMAT, "size: found 4294967295 x 3"},
        {"rgb24", 22, 4, 0x80000000, BLEMISH_ERROR_FORMAT, "size: found 13 x 2147483648"},
        {"rgb24", 22, 4, 4, BLEMISH_ERROR_FORMAT, "size: found 13 x 4 pixels, more than a file of its length"},
        {"rgb24", 10, 4, 0xffffff00, BLEMISH_ERROR_FORMAT, "size: found 13 x 3 pixels, more than a file"},
        {"rgb24", 10, 4, 20, BLEMISH_ERROR_FORMAT, "BMP pixels: found them from byte 20, within the header"},
        {"palette8", 10, 4, 50, BLEMISH_ERROR_FORMAT, "BMP palette: found 11 colours and pixels from byte 50"},
        {"palette8", 46, 4, 257, BLEMISH_ERROR_FORMAT, "BMP palette: found 257 colours"},
        {"palette8", 46, 4, 1, BLEMISH_ERROR_FORMAT, "expected a palette's 0 to 0"},
        {"rgb16-565", 54, 4, 0, BLEMISH_ERROR_FORMAT, "BMP bit masks: found 0x0, expected bits in a row of 16"},
        {"rgb16-565", 58, 4, 0x5, BLEMISH_ERROR_FORMAT, "BMP bit masks: found 0x5"},
        {"rgb16-565", 62, 4, 0x10000, BLEMISH_ERROR_FORMAT, "BMP bit masks: found 0x10000, expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Bitmap b = bitmap_named(bad[i].kind);
        put(b.file + bad[i].at, bad[i].value, bad[i].bytes);
        assert_refused(b.file, b.size, bad[i].status, bad[i].part);
    }
}

/* 10 bits a component, as some cameras have: rounded for pictures, but no faint mask is lost. */
static void masks_keep_faint_values(void **state) {
    (void)state;
    Error e = {0};
    Bitmap b = bitmap_named("rgb32-masks");
    BlemishImage image, mask;
    for (int c = 0; c < 3; c++) put(b.file + 54 + 4 * c, 0x3ffu << 10 * (2 - c), 4);
    uint8_t *pixels = b.file + b.size - 4 * 13 * 3;
    put(pixels, 1, 4);
    put(pixels + 4, 0xc0000000, 4); /* outside every component */
    put(pixels + 8, 0x3ff, 4);
    put(pixels + 12, 514, 4);
    file_write(path, b.file, b.size);
    assert_ok(image_decode(&image, path, &e), e.text);
    assert_ok(image_decode_mask(&mask, path, &e), e.text);
    const uint8_t *row = image.data + 2 * image.stride; /* the lowest row is the first in the file */
    assert_memory_equal(row, "\0\0\0\0\0\0\0\0\xff\0\0\x80", 12);
    assert_memory_equal(mask.data + 2 * 13, "\1\0\1\1", 4);
    image_free(&image);
    image_free(&mask);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_pillow_reads_them),    cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(flipped_bits_do_no_harm), cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(masks_keep_faint_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* The short way to read plain PNG files: every filter and number of samples against the definition, and nothing taken
 * that is not whole. */
#include "image/decode_png.h"
#include "helper_image.h"
#include "helper_model.h"

#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>

enum { SIDE = 41, FILE_MOST = 4 * SIDE * SIDE * 4 + 4096 };

typedef struct Png {
    uint8_t bytes[FILE_MOST];
    size_t size;
} Png;

static void put_number(uint8_t *to, size_t n) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(n >> (24 - 8 * i));
}

static void put_chunk(Png *png, const char *type, const uint8_t *body, size_t size) {
    uint8_t *chunk = png->bytes + png->size;
    assert_true(png->size + size + 12 <= FILE_MOST);
    put_number(chunk, size);
    memcpy(chunk + 4, type, 4);
    if (size) memcpy(chunk + 8, body, size);
    put_number(chunk + 8 + size, libdeflate_crc32(0, chunk + 4, size + 4));
    png->size += size + 12;
}

/* What a filter takes away (the PNG specification, section 9.2). */
static uint8_t predicted(int filter, int left, int up, int corner) {
    const int p = left + up - corner, pa = abs(p - left), pb = abs(p - up), pc = abs(p - corner);
    const int paeth = pa <= pb && pa <= pc ? left : pb <= pc ? up : corner;
    const int by[5] = {0, left, up, (left + up) / 2, paeth};
    return (uint8_t)by[filter % 5];
}

typedef struct Shape {
    size_t width, height, samples;
    int filter;        /* of all rows; -1: a random one each */
    size_t piece;      /* largest IDAT */
    ptrdiff_t surplus; /* bytes of data more than the picture needs */
    bool split;        /* another chunk between two IDATs */
} Shape;

static void make(Png *png, const Shape *s, const uint8_t *pixels, Random *r) {
    static const uint8_t types[5] = {0, 0, 4, 2, 6};
    const size_t row = s->width * s->samples, size = (row + 1) * s->height;
    uint8_t header[13] = {0}, *data = calloc(size + 8, 1), packed[FILE_MOST];
    assert_non_null(data);
    for (size_t y = 0; y < s->height; y++) {
        const int filter = s->filter < 0 ? (int)random_below(r, 5) : s->filter;
        data[y * (row + 1)] = (uint8_t)filter;
        for (size_t i = 0; i < row; i++) {
            const uint8_t *at = pixels + y * row + i;
            const int left = i >= s->samples ? at[-(ptrdiff_t)s->samples] : 0, up = y ? at[-(ptrdiff_t)row] : 0;
            const int corner = i >= s->samples && y ? at[-(ptrdiff_t)(row + s->samples)] : 0;
            data[y * (row + 1) + 1 + i] = (uint8_t)(*at - predicted(filter, left, up, corner));
        }
    }
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    const size_t n = libdeflate_zlib_compress(c, data, (size_t)((ptrdiff_t)size + s->surplus), packed, sizeof packed);
    libdeflate_free_compressor(c);
    assert_true(n > 0);
    memcpy(png->bytes, "\x89PNG\r\n\x1a\n", 8);
    png->size = 8;
    put_number(header, s->width);
    put_number(header + 4, s->height);
    header[8] = 8;
    header[9] = types[s->samples];
    put_chunk(png, "IHDR", header, sizeof header);
    put_chunk(png, "tEXt", (const uint8_t *)"Title\0surface", 13);
    for (size_t at = 0; at < n; at += s->piece) {
        if (s->split && at) put_chunk(png, "tEXt", (const uint8_t *)"Title\0surface", 13);
        put_chunk(png, "IDAT", packed + at, n - at < s->piece ? n - at : s->piece);
    }
    put_chunk(png, "IEND", NULL, 0);
    free(data);
}

static uint8_t *random_pixels(const Shape *s, Random *r) {
    const size_t n = s->width * s->height * s->samples;
    uint8_t *pixels = malloc(n);
    assert_non_null(pixels);
    for (size_t i = 0; i < n; i++) pixels[i] = (uint8_t)random_below(r, 256);
    return pixels;
}

/* An exact copy, so that a sanitizer sees every byte read too many. */
static bool decode(const Png *png, size_t size, const Shape *s, BlemishImage *out) {
    Error e = {0};
    uint8_t *bytes = malloc(size ? size : 1);
    assert_non_null(bytes);
    memcpy(bytes, png->bytes, size);
    assert_int_equal(image_new(out, s->width, s->height, 3, &e), BLEMISH_OK);
    const Encoded file = {"a.png", bytes, size};
    const bool done = png_decode_plain(&file, s->samples, out);
    free(bytes);
    return done;
}

static bool takes(const Png *png, size_t size, const Shape *s) {
    BlemishImage image;
    const bool done = decode(png, size, s, &image);
    image_free(&image);
    return done;
}

static void every_filter_is_taken_back(void **state) {
    (void)state;
    Random r = random_new(3, 0);
    Png png;
    for (int round = 0; round < 400; round++) {
        const Shape s = {.width = 1 + random_below(&r, SIDE),
                         .height = 1 + random_below(&r, SIDE),
                         .samples = 1 + (size_t)round % 4,
                         .filter = round / 4 % 6 - 1,
                         .piece = 16 + random_below(&r, round % 8 < 4 ? 40 : FILE_MOST)};
        uint8_t *pixels = random_pixels(&s, &r);
        BlemishImage image;
        make(&png, &s, pixels, &r);
        assert_true(decode(&png, png.size, &s, &image));
        for (size_t i = 0; i < s.width * s.height; i++)
            for (size_t c = 0; c < 3; c++)
                assert_int_equal(image.data[3 * i + c], pixels[i * s.samples + (s.samples < 3 ? 0 : c)]);
        image_free(&image);
        free(pixels);
    }
}

static void nothing_is_taken_that_is_not_whole(void **state) {
    (void)state;
    Random r = random_new(4, 0);
    Png png;
    const Shape s = {17, 13, 3, -1, 100, 0, false};
    uint8_t *pixels = random_pixels(&s, &r);
    make(&png, &s, pixels, &r);
    assert_true(takes(&png, png.size, &s));
    for (size_t size = 8; size < png.size; size++) assert_false(takes(&png, size, &s));
    for (size_t bit = 8 * 8; bit < 8 * png.size; bit++) { /* from the first chunk on: a checksum is wrong */
        png.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(takes(&png, png.size, &s));
        png.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    Shape other = s;
    for (other.surplus = -3; other.surplus <= 3; other.surplus++) {
        make(&png, &other, pixels, &r);
        assert_true(takes(&png, png.size, &other) == (other.surplus == 0));
    }
    other = s, other.split = true;
    make(&png, &other, pixels, &r);
    assert_false(takes(&png, png.size, &other));
    other = s, other.filter = 5; /* there is none */
    make(&png, &other, pixels, &r);
    assert_false(takes(&png, png.size, &other));
    free(pixels);
}

/* Such files end as they would have without it: whole ones are read, others refused, by either reader. */
static void files_are_read_or_refused(void **state) {
    (void)state;
    Random r = random_new(5, 0);
    Png png;
    Error e = {0};
    char folder[PATH_SIZE], path[PATH_SIZE];
    folder_make(folder);
    path_in(path, folder, "a.png");
    for (size_t samples = 1; samples <= 4; samples++) {
        const Shape s = {9, 7, samples, -1, 64, 0, false};
        uint8_t *pixels = random_pixels(&s, &r);
        BlemishImage image;
        make(&png, &s, pixels, &r);
        file_write(path, png.bytes, png.size);
        assert_int_equal(image_decode(&image, path, &e), BLEMISH_OK);
        assert_int_equal(image.data[3 * 62], pixels[62 * samples]);
        image_free(&image);
        file_write(path, png.bytes, png.size - 13); /* into the last chunk of data */
        assert_int_equal(image_decode(&image, path, &e), BLEMISH_ERROR_FORMAT);
        free(pixels);
    }
    folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_filter_is_taken_back),
        cmocka_unit_test(nothing_is_taken_that_is_not_whole),
        cmocka_unit_test(files_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
